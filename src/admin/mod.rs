//! admin (to come)
