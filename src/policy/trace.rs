//! Who listens to a decision while it is made: nobody on the hot path, `explain` and the policy tests elsewhere.
//!
//! Called by `rule` for each predicate. Never changes an outcome.

use super::tri::Tri;

/// Told of every predicate in the order of evaluation. `detail` says what was asked and what the caller has; it
/// is built only by those who want it, and never holds a token.
pub trait Trace {
    fn note(&mut self, predicate: &'static str, outcome: Tri, detail: impl FnOnce() -> String);

    /// What is noted up to the next [`close`](Self::close) is put together by `any`, `all` or `not`.
    fn open(&mut self, _predicate: &'static str) {}

    /// What was put together holds so.
    fn close(&mut self, predicate: &'static str, outcome: Tri, detail: impl FnOnce() -> String) {
        self.note(predicate, outcome, detail);
    }
}

/// Nobody.
impl Trace for () {
    fn note(&mut self, _predicate: &'static str, _outcome: Tri, _detail: impl FnOnce() -> String) {}
}
