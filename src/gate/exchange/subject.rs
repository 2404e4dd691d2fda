//! Whom the subject token of an exchange names.
//!
//! It is verified as if it had come alone in a request for something privileged: by both logins' verifiers, by the table,
//! within what the client's address may have checked. Tokens that crossgate made itself are refused: a runner must not
//! renew its own, and an API must not make one of what it was sent.

use std::sync::Arc;

use http::{HeaderMap, Method};

use super::Denied;
use super::form::{Asked, Error, INVALID_SUBJECT, Told};
use crate::clock;
use crate::gate::Gate;
use crate::gate::ask::fetch_aside;
use crate::gate::decide::{self, Proof, Proved, Refusal, prove};
use crate::gate::passage::Passage;
use crate::identity::legacy;
use crate::identity::{Identity, Refusal as Unauthenticated, runner};
use crate::issuer;
use crate::request::{CanonicalPath, Client, Credentials, Oddities, Peer, Request, TrustedProxies, View};
use crate::snapshot::Snapshot;

/// The person, who also becomes that of the passage.
pub(super) async fn person(gate: &Gate, passage: &mut Passage, asked: &Asked) -> Result<Arc<Identity>, Denied> {
    let snapshot = Arc::clone(&passage.snapshot);
    let token = asked.subject.as_str();
    if is_made_here(&snapshot, token) {
        return Err(wrong_class());
    }
    let client = passage.request.as_ref().map_or(Peer::Unix, |request| request.client.address);
    let Some(request) = alone(&snapshot, token, client) else {
        return Err(Denied { told: INVALID_SUBJECT, why: Refusal::Identity(Unauthenticated::NoCredential) });
    };
    let headers = HeaderMap::new();
    let view = View { request: &request, headers: &headers };
    let Proof { arm, outcome, verified, refetch } = gate
        .ask(passage, client, |tries, spent| match prove(passage.world(), &view, tries, clock::now(), spent) {
            Proved::Done(proof) => Ok(*proof),
            Proved::Wait(wait) => Err(wait),
        })
        .await;
    fetch_aside(refetch);
    passage.arm = arm;
    passage.identity = verified;
    outcome.map(|(person, _)| person).map_err(denied)
}

/// Of minted ones also those of another replica, another configuration and before a restart: the key is the login's.
fn is_made_here(snapshot: &Snapshot, token: &str) -> bool {
    issuer::is_minted(token)
        || snapshot.runner.as_ref().is_some_and(|runner| runner.owns(token) || runner.ring().made(token))
        || snapshot.assertion.as_ref().is_some_and(|assertion| assertion.ring().made(token))
}

fn wrong_class() -> Denied {
    let told = (Error::InvalidRequest, "the subject token is not of a kind that can be exchanged");
    Denied { told, why: Refusal::Identity(Unauthenticated::Runner(runner::Reason::WrongClass)) }
}

/// A request that brings this token and nothing else, where the login looks whose it is.
fn alone(snapshot: &Snapshot, token: &str, peer: Peer) -> Option<Request> {
    let credentials = match &snapshot.legacy {
        Some(legacy) => legacy.carrying(token, &decide::verifier(snapshot)),
        None => Credentials::bearer(token),
    };
    let client = Client::read(&HeaderMap::new(), None, peer, false, &TrustedProxies::default(), &|| [0; 16]);
    Some(Request {
        method: Method::POST,
        host: None,
        authority: None,
        path: CanonicalPath::parse(b"/token").ok()?,
        query: None,
        client,
        credentials,
        preflight: None,
        handshake: None,
        oddities: Oddities::NONE,
    })
}

/// What the client is told of a credential that is not enough: no more than what a stranger may know.
fn denied(why: Refusal) -> Denied {
    const EXPIRED: Told = (Error::InvalidRequest, "the subject token has expired");
    const STEP_UP: Told = (Error::InvalidRequest, "sign in with Clerk, and exchange that session");
    let told = match &why {
        Refusal::Identity(refusal) => match refusal {
            Unauthenticated::Expired | Unauthenticated::LegacyInvalid { reason: legacy::Reason::Expired, .. } => {
                EXPIRED
            }
            Unauthenticated::StepUp | Unauthenticated::LegacySealed => STEP_UP,
            Unauthenticated::Unverifiable { .. } | Unauthenticated::StaleKeys | Unauthenticated::LegacyUnverifiable => {
                return Denied::later(why);
            }
            Unauthenticated::NoCredential
            | Unauthenticated::Invalid { .. }
            | Unauthenticated::LegacyInvalid { .. }
            | Unauthenticated::Conflict
            | Unauthenticated::Ambiguous
            | Unauthenticated::CrossSite
            | Unauthenticated::Runner(_) => INVALID_SUBJECT,
        },
        Refusal::Request(_) | Refusal::Route(_) | Refusal::Policy(_) => INVALID_SUBJECT,
        Refusal::Overloaded | Refusal::Unchecked | Refusal::Audit | Refusal::Upstream(_) => return Denied::later(why),
    };
    Denied { told, why }
}
