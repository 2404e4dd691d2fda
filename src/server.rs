//! server (to come)
