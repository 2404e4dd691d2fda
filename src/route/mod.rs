//! Routes. (helper C)
