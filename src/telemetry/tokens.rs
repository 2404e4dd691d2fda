//! How often tokens for the API were signed, and how often one that was signed before did.
//!
//! All series are there from the start, so that a rate over them never begins with a gap. Their labels are words of the code.

use prometheus::{IntCounter, IntCounterVec};

/// The two kinds, as labels name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    Minted,
    Assertion,
}

const RESULTS: [&str; 4] = ["kept", "renewed", "signed", "failed"];

/// `crossgate_tokens_total`.
#[derive(Debug)]
pub(super) struct TokenSeries([[(&'static str, IntCounter); RESULTS.len()]; 2]);

impl TokenSeries {
    pub(super) fn new(counters: &IntCounterVec) -> Self {
        let of = |kind: &str| RESULTS.map(|result| (result, counters.with_label_values(&[kind, result])));
        Self([of("minted"), of("assertion")])
    }

    pub(super) fn count(&self, kind: TokenKind, result: &str) {
        let [minted, assertion] = &self.0;
        let row = match kind {
            TokenKind::Minted => minted,
            TokenKind::Assertion => assertion,
        };
        if let Some((_, counter)) = row.iter().find(|(known, _)| *known == result) {
            counter.inc();
        }
    }
}
