//! Who somebody is by one credential that stands for itself, at the bar of a privileged route.
//!
//! For the token exchange: the same verification, the same table and the same guard as for a request that brought the
//! credential explicitly, so that an exchange is no way around any of them. Decides nothing about what they may do.

use std::sync::Arc;

use super::resolve::{self, Moment};
use super::verify::{self, Pause};
use super::{Caller, Refusal, Steps, Tries, Wait, World, follow};
use crate::clock::Now;
use crate::identity::{self, Carrier, Identity};
use crate::request::View;
use crate::rollout::Side;
use crate::route::{Access, Definition, Mode, Pattern, Place, Route, WebSocket};

/// What one credential proves.
#[derive(Debug)]
pub struct Proof {
    pub arm: Option<Side>,
    pub outcome: Result<(Arc<Identity>, Carrier), Refusal>,
    /// Who was verified, also where it was not enough.
    pub verified: Option<(Arc<Identity>, Carrier)>,
    /// Worth fetching, but not worth waiting for.
    pub refetch: Option<Wait>,
}

/// A proof, or what has to come first.
#[derive(Debug)]
pub enum Proved {
    Done(Box<Proof>),
    Wait(Wait),
}

/// The person whom the credentials of `view` name, if a privileged action may be theirs.
pub fn prove(world: World<'_>, view: &View<'_>, tries: Tries<'_>, now: Now, steps: &mut impl Steps) -> Proved {
    let refused =
        |refusal| Proved::Done(Box::new(Proof { arm: None, outcome: Err(refusal), verified: None, refetch: None }));
    // INVARIANT: a literal path is a pattern; were it none, nothing would be proved.
    let Ok(pattern) = Pattern::parse("/token") else {
        return refused(Refusal::Route(crate::route::Refusal::NoRoute));
    };
    let route = stand_in(pattern);
    let verdicts = match verify::verify(world.snapshot, view, route.access, tries, now) {
        Ok(verdicts) => verdicts,
        Err(Pause::Wait(wait)) => return Proved::Wait(wait),
        Err(Pause::Refused(refusal)) => return refused(refusal),
    };
    follow(&verdicts, Caller::Credentials(tries), world.snapshot, steps);
    let moment = Moment { now, assumed: None, stand: None, takes_unproven: false };
    let resolution = resolve::resolve(&verdicts, &route, view, world, moment);
    let outcome = resolution.outcome.and_then(|standing| standing.person.ok_or(identity::Refusal::NoCredential));
    let verified = match &outcome {
        Ok((person, carrier)) => Some((Arc::clone(person), *carrier)),
        Err(_) => resolution.verified,
    };
    Proved::Done(Box::new(Proof {
        arm: Some(resolution.side).filter(|_| resolution.is_of_somebody),
        outcome: outcome.map_err(Refusal::Identity),
        verified,
        refetch: verdicts.refetch,
    }))
}

/// What the table asks of a route.
fn stand_in(pattern: Pattern) -> Route {
    let definition = Definition {
        id: "token.exchange".into(),
        place: Place { file: "".into(), line: 0 },
        pattern,
        methods: Vec::new(),
        host: None,
        headers: Vec::new(),
        query: Vec::new(),
        access: Access::Privileged,
        mode: Mode::Enforce,
        timeout: None,
        websocket: WebSocket::default(),
        private: false,
        upstream: usize::MAX,
        names_upstream: true,
        exact_paths: true,
        tolerates: crate::request::Oddities::NONE,
    };
    Route { index: usize::MAX, definition }
}
