//! Asking who somebody is, until there is an answer.
//!
//! What is asked is a pure function that may say what it needs first ([`Wait`]): that is fetched, at most once for each side,
//! and it is asked again. Whoever asks pays here for what strangers' junk costs (`fairness`), whatever it is asked for.

use std::time::Instant;

use pingora_proxy::Session;

use super::decide::{self, Caller, Decided, Tries, Wait};
use super::fairness::Spent;
use super::passage::Passage;
use super::{Gate, shadow, tally, wire};
use crate::clock;
use crate::identity::checks::Checks;
use crate::identity::clerk::Attempt;
use crate::identity::legacy::{Answers, Lookup};
use crate::request::{Peer, View};

impl Gate {
    /// Runs the story; waits at most once for each side.
    pub(super) async fn decide(&self, session: &Session, passage: &mut Passage) {
        let Some(request) = passage.request.as_deref() else { return };
        let view = View { request, headers: &session.req_header().headers };
        let client = request.client.address;
        let mut decision = self
            .ask(passage, client, |tries, spent| {
                match decide::decide(passage.world(), &view, Caller::Credentials(tries), clock::now(), spent) {
                    Decided::Done(decision) => Ok(decision),
                    Decided::Wait(wait) => Err(wait),
                }
            })
            .await;
        fetch_aside(decision.refetch.take());
        let shadow = decision.shadow.take();
        passage.take(decision, &self.metrics);
        tally::count(passage);
        if let Some(shadow) = &shadow {
            shadow::observe(self, session, passage, shadow);
        }
    }

    /// The answer to `question` for the request of this passage.
    pub(super) async fn ask<T>(
        &self,
        passage: &Passage,
        client: Peer,
        mut question: impl FnMut(Tries<'_>, &mut Spent) -> Result<T, Wait>,
    ) -> T {
        let may_check = self.fairness.admits(client, passage.started);
        let attempt = if may_check { Attempt::First } else { Attempt::KnownOnly };
        let (mut clerk, mut legacy, mut answers) = (attempt, attempt, Answers::default());
        let mut spent = Spent::default();
        let answer = loop {
            let tries = Tries { clerk, legacy, answers: &answers, draw: wire::draw, checks: Checks::NOBODY };
            let wait = match question(tries, &mut spent) {
                Ok(answer) => break answer,
                Err(wait) => wait,
            };
            // Whether it brought what was missing is seen by asking again.
            match wait {
                Wait::Clerk { instance, kid } => {
                    let _ = instance.keys.refetch(kid.as_deref(), clock::now()).await;
                    clerk = Attempt::Last;
                }
                Wait::Legacy { keys, kid } => {
                    let _ = keys.refetch(kid.as_deref(), clock::now()).await;
                    legacy = Attempt::Last;
                }
                Wait::Lookups(lookups) => {
                    // A credential that was good before is nobody's invention: its owner pays for nobody else's.
                    let are_known = lookups.iter().all(Lookup::was_good);
                    let leave = if are_known { None } else { self.fairness.may_ask(client, passage.started).await };
                    if are_known || leave.is_some() {
                        answers = Answers::fetch(lookups).await;
                        if let Some(leave) = leave {
                            leave.refused(answers.refused(), Instant::now());
                        }
                        legacy = Attempt::Last;
                    } else {
                        // Over its budget: only those that were good before are asked about, which comes to an end above.
                        legacy = Attempt::KnownOnly;
                    }
                }
            }
        };
        if spent.failed {
            self.fairness.failed(client, passage.started);
        }
        answer
    }
}

/// Fetches what nobody waits for.
pub(super) fn fetch_aside(wait: Option<Wait>) {
    if let Some(Wait::Clerk { instance, kid }) = wait {
        // One flight for all who ask, at most every half minute: nobody can make this many tasks.
        tokio::spawn(async move {
            let _ = instance.keys.refetch(kid.as_deref(), clock::now()).await;
        });
    }
}
