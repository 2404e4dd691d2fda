//! telemetry (to come)
