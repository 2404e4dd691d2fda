//! What operators see of a running gate: metrics, the access log, the program's own log.
//!
//! Never a token, a cookie, a query string or a body; never a client's bytes as a metric label.

pub mod access;
mod config;
pub mod copies;
mod forget;
pub mod log;
pub mod metrics;
mod rollout;
mod routes;
pub mod shadow;
pub mod tally;
pub mod tokens;
pub mod trail;
mod upstreams;
