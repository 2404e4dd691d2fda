//! config (to come)
