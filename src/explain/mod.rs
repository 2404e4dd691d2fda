//! One request, decided by the same code that serves, with every step written down.
//!
//! Behind `crossgate explain`, `crossgate test` and `POST /v1/explain`. Reads no config file and fetches no key set: whoever asks
//! brings the snapshot and, where credentials are to be verified, its keys.

mod asked;
pub mod show;
pub mod steps;

use http::{HeaderMap, HeaderValue, Version};
use serde_json::{Map, Value, json};

use crate::clock::Now;
use crate::gate::decide::{Caller, Decided, Decision, Refusal, Tries, Wait, World, decide};
use crate::identity::clerk::Attempt;
use crate::identity::legacy::Answers;
use crate::inject::{self, Context, Issued, Own};
use crate::persona::Assumed;
use crate::request::credential::Line;
use crate::request::{self, Authorization, Edits, Head, Peer, Request, Sanitized, View};
use crate::rollout::Side;
use crate::route;
use crate::snapshot::Snapshot;

pub use asked::Asked;
use steps::{Recorder, Step};

/// A request that was read, before it is decided.
#[derive(Debug)]
pub struct Question {
    request: Box<Request>,
    headers: HeaderMap,
    recorder: Recorder,
}

/// What became of a request, and everything that led to it.
#[derive(Debug)]
pub struct Explained {
    pub decision: Decision,
    /// `None` when it could not even be read.
    pub request: Option<Box<Request>>,
    /// The identity headers that the API would get.
    pub headers: Map<String, Value>,
    pub steps: Vec<Step>,
    /// Whether the person was written down rather than proved.
    pub assumed: bool,
}

/// A request as far as it can be read.
#[derive(Debug)]
pub enum Read {
    Question(Question),
    /// Refused before any route was looked for.
    Refused(Explained),
    /// `OPTIONS *`: crossgate answers it itself.
    OfTheServer,
}

/// Reads a request as the data listener would: limits, Host, one canonical path, credentials.
pub fn read(asked: Asked, snapshot: &Snapshot) -> Read {
    let Asked { method, target, mut headers } = asked;
    let head = Head {
        method: &method,
        target: target.as_bytes(),
        authority: None,
        version: Version::HTTP_11,
        headers: &headers,
        peer: Peer::Ip(std::net::Ipv4Addr::LOCALHOST.into()),
        tls: false,
    };
    let mut recorder = Recorder::default();
    let (request, edits) = match request::sanitize(&head, &snapshot.request, &|| [0; 16]) {
        Ok(Sanitized::Request(request, edits)) => (request, edits),
        Ok(Sanitized::Server(_)) => return Read::OfTheServer,
        Err(refusal) => {
            recorder.add("request", "refused", refusal.reason().to_owned());
            return Read::Refused(Explained {
                decision: Decision::of(None, Err(Refusal::Request(refusal))),
                request: None,
                headers: Map::new(),
                steps: recorder.steps,
                assumed: false,
            });
        }
    };
    recorder.add("request", "accepted", request.path.as_str().to_owned());
    apply(edits, &mut headers);
    let view = View { request: &request, headers: &headers };
    snapshot.routes.candidates(&view, &mut |route, why| {
        recorder.add("candidate", "passed over", format!("{}: {why}", route.id));
    });
    Read::Question(Question { request, headers, recorder })
}

fn apply(edits: Edits, headers: &mut HeaderMap) {
    for name in &edits.remove {
        headers.remove(name);
    }
    for (name, value) in edits.insert {
        headers.insert(name, value);
    }
}

impl Question {
    /// Whether key sets have a say: a credential travels, or it is a login, where it is asked of everybody whether Clerk is out.
    pub fn needs_keys(&self, snapshot: &Snapshot) -> bool {
        let credentials = &self.request.credentials;
        let view = View { request: &self.request, headers: &self.headers };
        credentials.authorization != Authorization::Absent
            || credentials.line != Line::Absent
            || !credentials.cookies.is_empty()
            || snapshot.routes.find(&view).is_ok_and(|found| found.route.access == route::Access::Login)
    }

    /// Decides about somebody who is taken as given.
    ///
    /// # Errors
    /// Never in practice: nobody assumed has a credential that anything could be fetched for.
    pub fn assume(mut self, world: World<'_>, person: &Assumed, now: Now) -> Result<Explained, String> {
        self.note_rollout(world);
        let view = View { request: &self.request, headers: &self.headers };
        match decide(world, &view, Caller::Assumed(&person.identity, person.arm), now, &mut self.recorder) {
            Decided::Done(decision) => Ok(self.explained(decision, world.snapshot, true)),
            Decided::Wait(_) => Err("a decision about somebody assumed waits for keys".to_owned()),
        }
    }

    /// Decides about whoever the credentials prove, with the keys that are there; servers are asked as the gate asks them.
    pub async fn ask(mut self, world: World<'_>, now: Now) -> Explained {
        self.note_rollout(world);
        let (mut legacy, mut answers) = (Attempt::First, Answers::default());
        loop {
            // What is missing stays missing; what is left to chance is told as such, and not drawn.
            let tries = Tries {
                clerk: Attempt::Last,
                legacy,
                answers: &answers,
                draw: || None,
                checks: crate::identity::checks::Checks::NOBODY,
            };
            let mut steps = Recorder::default();
            let view = View { request: &self.request, headers: &self.headers };
            match decide(world, &view, Caller::Credentials(tries), now, &mut steps) {
                Decided::Done(decision) => {
                    self.recorder.steps.append(&mut steps.steps);
                    return self.explained(decision, world.snapshot, false);
                }
                Decided::Wait(Wait::Lookups(lookups)) => answers = Answers::fetch(lookups).await,
                Decided::Wait(Wait::Legacy { .. } | Wait::Clerk { .. }) => {}
            }
            legacy = Attempt::Last;
        }
    }

    fn note_rollout(&mut self, world: World<'_>) {
        if let Some(problem) = world.rollout.and_then(|rollout| rollout.problem.as_deref()) {
            self.recorder.add("rollout", "unknown", problem.to_owned());
        }
    }

    fn explained(self, decision: Decision, snapshot: &Snapshot, assumed: bool) -> Explained {
        let headers = injected(snapshot, &decision, &self.request, self.headers);
        Explained { decision, request: Some(self.request), headers, steps: self.recorder.steps, assumed }
    }
}

/// The identity headers that the API would get.
fn injected(snapshot: &Snapshot, decision: &Decision, request: &Request, mut headers: HeaderMap) -> Map<String, Value> {
    let Ok(permit) = &decision.outcome else { return Map::new() };
    let context = Context {
        names: &snapshot.headers,
        route: snapshot.routes.get(permit.route_index()).map_or("", |route| &route.id),
        arm: decision.side.map_or("none", Side::as_str),
        request_id: &request.client.request_id,
        own: Own::NONE,
        // Tokens are good for whoever reads them; the steps say that there is one.
        issued: &Issued::default(),
    };
    inject::inject(permit, &context, &mut headers);
    let text = |value: &HeaderValue| json!(String::from_utf8_lossy(value.as_bytes()));
    snapshot
        .headers
        .all()
        .filter_map(|name| headers.get(name).map(|value| (name.as_str().to_owned(), text(value))))
        .collect()
}
