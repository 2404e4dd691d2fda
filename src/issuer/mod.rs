//! Tokens that crossgate makes for the API: in the API's own legacy format ([`Mint`]), and signed assertions about who is
//! calling ([`Assertion`]).
//!
//! Owns signing keys, claim templates, the ring of published keys and the caches of what was signed. Says only what a
//! verified identity says; never asks who may have a token (that is `policy` and the gate), never shows a private key.

mod assertion;
mod key;
mod mint;
mod ring;
mod template;
mod tokens;

pub use assertion::{Assertion, AssertionSpec};
pub use key::{Algorithm, KeyProblem, SigningKey};
pub use mint::{Mint, MintSpec, Roles};
pub use ring::{Ring, RingKey, RingProblem, Schedule, Stage};
pub use template::{Claims, TemplateProblem};
pub use tokens::{NotSigned, Token};
