//! Tokens that crossgate makes: for the API in its own legacy format ([`Mint`]) and as signed assertions about who is
//! calling ([`Assertion`]); for local runners, in exchange for a person's credential ([`Runner`]).
//!
//! Owns signing keys, claim templates, the ring of published keys and the caches of what was signed. Says only what a
//! verified identity says; never asks who may have a token (that is `policy` and the gate), never shows a private key.

mod assertion;
mod fresh;
mod key;
mod mint;
mod once;
mod ring;
mod runner;
mod template;
mod tokens;

pub use assertion::{Assertion, AssertionSpec};
pub use fresh::Time;
pub use key::{Algorithm, KeyProblem, SigningKey};
pub use mint::{Mint, MintSpec, Roles, is_minted};
pub use once::{Once, Reservation, Spent, Unreserved, folded, plain};
pub use ring::{Ring, RingKey, RingProblem, Schedule, Stage};
pub use runner::{Grant, Judged, KeyFolder, NotGranted, Runner, RunnerSpec};
pub use template::{Claims, TemplateProblem};
pub use tokens::{Given, How, NotSigned, Token};
