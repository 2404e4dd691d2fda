//! identity/clerk (to come)
