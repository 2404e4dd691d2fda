//! crossgate: a sidecar that moves a live API from its legacy login to Clerk without changing the API.
//!
//! The way of a request, which is also the reading order of this crate:
//!
//! ```text
//! guard ─ request ─ route ─ identity ─ policy ─ inject ─ upstream
//!   bytes   sanitize   find    verify   authorize   headers   the API
//! ```
//!
//! [`gate::decide`] tells that story once; the proxy, `crossgate explain` and the benches all call it.
//! Everything else is a noun with its types, its refusals and its tests.
//!
//! Two worlds never mix. The config world ([`config`]) turns text into a [`snapshot::Snapshot`] and may
//! fail at leisure; the request world takes one snapshot per request and parses nothing.
//!
//! Two rules make the product safe by type. Only [`policy`] makes a [`policy::Permit`], and [`inject`]
//! asks for one. A denial is a value (each step has its own refusal enum), and [`gate::reply`] is the one
//! table that turns refusals into answers.

// The story, in the order in which a request meets it.
pub mod audit;
pub mod identity;
pub mod inject;
pub mod issuer;
pub mod policy;
pub mod request;
pub mod rollout;
pub mod route;

// What the story runs on.
pub mod braces;
pub mod certificate;
pub mod clock;
pub mod gate;
pub mod guard;
mod hidden;
mod misfit;
pub mod snapshot;
pub mod status;
pub mod telemetry;
pub mod tls;
pub mod upstream;

// The config world.
pub mod config;
pub mod reload;

// What runs and what people call.
pub mod admin;
pub mod cli;
pub mod diff;
pub mod drain;
pub mod explain;
pub mod persona;
pub mod server;
pub mod suite;
