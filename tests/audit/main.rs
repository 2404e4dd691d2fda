//! The audit trail on disk, proved and read: what was done to it is found where it was done, and what was not passes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot set up its world has failed"
)]

mod trail;

mod book;
mod commands;
mod tamper;
mod told;
