//! inject (to come)
