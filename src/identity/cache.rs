//! Verified tokens (main author).
