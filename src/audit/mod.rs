//! The trail: every privileged action written down before it happens, in a chain that proves its own completeness.
//!
//! ```text
//! entry ─ Trail ─ writer ─ segments, checkpoints
//!  line    queue   thread   on disk
//! ```
//!
//! Asked by `gate` with entries; answers when one is durable, or that it is not. Decides nothing about a request: that an
//! action does not go on unrecorded is the gate's rule. Never waits on a thread that serves requests.

pub mod chain;
pub mod checkpoint;
mod crowd;
mod disk;
pub mod entry;
mod journal;
pub mod keys;
pub mod ledger;
mod lines;
pub mod moves;
pub mod names;
mod queue;
pub mod read;
mod recover;
pub mod regular;
mod rollup;
pub mod rules;
mod sample;
mod site;
pub mod status;
mod system;
mod text;
pub mod trail;
pub mod verify;
mod witness;
mod writer;

pub use entry::{Actor, Before, Entry, Event, Id, Outcome, Policy, Request, RolloutPart, Shift, Text, WIDENING};
pub use ledger::{Attempt, Ledger};
pub use moves::Moves;
pub use queue::Kind;
pub use rules::{EventClass, Events, Labels, OnFailure, RouteRules, Rules};
pub use status::Status;
pub use trail::{Options, Trail, Unavailable};

#[cfg(test)]
mod faults_tests;
#[cfg(test)]
mod power_tests;
#[cfg(test)]
mod recover_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod trail_tests;
#[cfg(test)]
mod writer_tests;
