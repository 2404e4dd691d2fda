//! Clerk's session tokens, verified as Clerk's own SDK does it, and more strictly where that leaves a hole.
//!
//! ```text
//! cookies ─ cache ─ token ─ jwks ─ claims
//!  choose    known?   parts   signature  facts
//! ```
//!
//! [`Verifier::verify`] is the one entry for requests. It never waits: where a key is missing it says so
//! ([`Pause`]), the caller awaits [`Keys::refetch`] and asks again. `refresh` and `probe` are the only parts that use the
//! network, `store` the only one that touches files.

pub(super) mod claims;
mod cookies;
pub mod fetch;
mod instance;
mod judge;
mod jwks;
mod keys;
mod organization;
mod pem;
pub mod probe;
mod publishable_key;
mod reason;
pub mod refresh;
mod store;
#[cfg(test)]
pub(super) mod testing;
pub(super) mod token;

pub(crate) use claims::is_hidden;
pub use instance::{
    Checks, CookieRules, Csrf, Instance, InstanceSpec, Instances, InstancesProblem, KeySource, KeyUrl, MissingAzp,
    PendingSessions,
};
pub use judge::{Attempt, Pause, Verifier};
pub(super) use jwks::Key;
pub use jwks::{KeyAlgorithm, KeySet, KeySetProblem, MAX_SET_BYTES, SetKind};
pub(super) use keys::Unknown;
pub use keys::{Health, KeyStats, Keys, REFETCH_GAP, Refetch};
pub use probe::{Issuance, Probe, ProbeSpec};
pub use publishable_key::{InstanceKind, PublishableKey, PublishableKeyProblem, cookie_suffix};
pub use reason::Reason;
