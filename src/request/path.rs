//! The canonical path. (helper C)
