//! One request, decided by the same code that serves, with every step written down.
//!
//! Behind `crossgate explain`, `crossgate test` and `POST /v1/explain`. Reads no config file and fetches no key set: whoever asks
//! brings the snapshot and, where credentials are to be verified, its keys.

mod asked;
mod checks;
mod found;
mod onward;
mod posted;
pub mod show;
pub mod steps;

use http::{HeaderMap, Version};
use serde_json::{Map, Value};

use crate::clock::Now;
use crate::gate::decide::{Caller, Decided, Decision, Refusal, Tries, Wait, World, decide};
use crate::gate::{Whose, strayed, whose};
use crate::identity::checks::Checks;
use crate::identity::clerk::Attempt;
use crate::identity::legacy::Answers;
use crate::persona::Assumed;
use crate::request::credential::Line;
use crate::request::{self, Authorization, Edits, Head, Peer, Request, Sanitized, View};
use crate::route;
use crate::snapshot::Snapshot;

pub use asked::{Asked, NoRequest};
use checks::Heard;
pub use posted::{Posted, Senseless, instant};
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
    /// `OPTIONS *`, and crossgate's own endpoints: it answers them itself.
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
            let why = match refusal {
                request::Refusal::Path(problem) => problem.to_string(),
                other => other.reason().to_owned(),
            };
            recorder.add("request", "refused", why);
            return refused(Refusal::Request(refusal), None, recorder);
        }
    };
    let host = request.host.as_deref().unwrap_or("no host");
    recorder.add("request", "accepted", format!("{} {} on {host}", request.method, request.path.as_str()));
    if let Some(asked) = &request.preflight {
        recorder.add("request", "preflight", format!("of a {asked}: it belongs to that one's route"));
    }
    found::edits(&edits, &target, &request, snapshot, &mut recorder);
    apply(edits, &mut headers);
    if let Some(refusal) = strayed(snapshot, &request) {
        recorder.add("request", "refused", refusal.reason().to_owned());
        return refused(Refusal::Request(refusal), Some(request), recorder);
    }
    match whose(snapshot, &View { request: &request, headers: &headers }) {
        Whose::Apis => {}
        Whose::Own => return Read::OfTheServer,
        Whose::Nobodys => {
            recorder.add("route", "refused", "nothing below endpoints.prefix is ever proxied".to_owned());
            return refused(Refusal::Route(route::Refusal::NoRoute), Some(request), recorder);
        }
    }
    found::candidates(&View { request: &request, headers: &headers }, snapshot, &mut recorder);
    Read::Question(Question { request, headers, recorder })
}

fn refused(refusal: Refusal, request: Option<Box<Request>>, recorder: Recorder) -> Read {
    Read::Refused(Explained {
        decision: Decision::of(None, Err(refusal)),
        request,
        headers: Map::new(),
        steps: recorder.steps,
        assumed: false,
    })
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

    /// Decides about whoever the credentials prove, with the keys that are there: none is fetched, and a token whose key is
    /// not there is judged as after a fetch that brought nothing new. A legacy server is asked once about each credential,
    /// for at most two seconds. Nothing is remembered, counted or written down.
    pub async fn ask(mut self, world: World<'_>, now: Now) -> Explained {
        self.note_rollout(world);
        found::credentials(&self.request, world.snapshot, &mut self.recorder);
        let (mut legacy, mut answers) = (Attempt::First, Answers::default());
        loop {
            let heard = Heard::default();
            // What is missing stays missing; what is left to chance is told as such, and not drawn.
            let tries = Tries {
                clerk: Attempt::Last,
                legacy,
                answers: &answers,
                draw: || None,
                checks: Checks::told_to(&heard),
            };
            let mut steps = Recorder::default();
            let view = View { request: &self.request, headers: &self.headers };
            let decided = decide(world, &view, Caller::Credentials(tries), now, &mut steps);
            match decided {
                Decided::Done(decision) => {
                    self.recorder.steps.append(&mut heard.among(steps.steps));
                    return self.explained(decision, world.snapshot, false);
                }
                Decided::Wait(Wait::Lookups(lookups)) => answers = Answers::ask_aside(lookups).await,
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

    fn explained(mut self, decision: Decision, snapshot: &Snapshot, assumed: bool) -> Explained {
        let headers = onward::tell(snapshot, &decision, &self.request, &self.headers, &mut self.recorder);
        Explained { decision, request: Some(self.request), headers, steps: self.recorder.steps, assumed }
    }
}
