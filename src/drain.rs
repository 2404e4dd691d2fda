//! drain (to come)
