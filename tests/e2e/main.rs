//! End to end: every test starts the real binary ([`bed::Bed`]) between a recording API ([`origin::Origin`]) and a
//! stand-in Clerk under control ([`issuer::Issuer`]), sends it bytes, and looks at what came back and what went
//! through. No test sleeps for a fixed time: what takes time is polled, with a deadline.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot set up its world has failed"
)]

mod bed;
mod issuer;
mod legacy_server;
mod origin;
mod wire;

mod audit;
mod cli;
mod conditions;
mod cookies;
mod cors;
mod crossed;
mod demo;
mod diff;
mod editor;
mod explained;
mod faults;
mod floods;
mod grpc;
mod headers;
mod issued;
mod keys;
mod legacy;
mod linking;
mod map;
mod memory;
mod outage;
mod outcomes;
mod policy;
mod policy_tests;
mod recipes;
mod reload;
mod report;
mod restart;
mod rollout;
mod rotation;
mod runner;
mod running;
mod samples;
mod sanitize;
mod secrets;
mod status;
mod story;
mod streams;
mod tls;
mod tolerate;
mod two_logins;
mod upstreams;
mod websocket;
