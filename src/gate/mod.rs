//! gate (to come)
