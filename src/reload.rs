//! reload (to come)
