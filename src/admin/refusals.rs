//! Refusals of the admin listener in the trail: who guesses tokens here, and who tries what their token is not for.
//!
//! Rolled up as the gate's denials are, so that a scraper with an old token writes one line a minute. Decides nothing, and
//! writes no token: a name where one is known, else the peer.

use pingora::protocols::http::ServerSession;

use super::Admin;
use crate::audit::{Actor, Entry, Event, EventClass, Id, Policy, Request, Text};
use crate::clock;
use crate::request::Peer;

/// What was refused.
#[derive(Debug)]
pub(super) struct Refusal<'a> {
    /// The token's name, or `unix`; `None` where nobody proved to be anybody.
    pub who: Option<&'a str>,
    pub action: &'static str,
    /// Nothing that only the client says.
    pub resource: Option<String>,
    pub code: &'static str,
    pub reason: String,
}

/// Writes it down, the first of a kind before the answer. The answer stands whether that could be done or not: it lets
/// nobody do anything.
pub(super) async fn record(admin: &Admin, session: &ServerSession, refusal: &Refusal<'_>) {
    let snapshot = admin.live.load_full();
    if !snapshot.audit.events.has(EventClass::Denied) {
        return;
    }
    let peer = peer(session);
    let made = || {
        let id = Id::random();
        let request_id = id.to_string();
        let peer = peer.to_string();
        let head = session.req_header();
        let mut entry = Entry::new(id, clock::unix_micros(), Event::Denied);
        entry.decision = Some("deny");
        entry.code = Some(refusal.code);
        entry.reason = Some(Text(&refusal.reason));
        entry.action = Some(Text(refusal.action));
        entry.resource = refusal.resource.as_deref().map(Text);
        entry.actor = Some(Actor {
            subject: refusal.who.map(Text),
            method: Some(if refusal.who == Some("unix") { "unix" } else { "admin" }),
            ..Actor::default()
        });
        entry.policy = Some(Policy { snapshot: Text(&snapshot.id), file: None, line: None });
        entry.request = Some(Request {
            id: Text(&request_id),
            trace: None,
            method: Text(head.method.as_str()),
            host: None,
            path: Text(head.uri.path()),
            client: Text(&peer),
            peer: Text(&peer),
        });
        (Event::Denied, entry.body())
    };
    let caller = ("admin", refusal.who, if refusal.who.is_none() { peer.neighbourhood() } else { None });
    let kind = (refusal.action, refusal.code);
    let _ = admin.ledger.denial(&caller, &kind, refusal.who.is_some(), refusal.code, made).await;
}

fn peer(session: &ServerSession) -> Peer {
    match session.client_addr().and_then(|address| address.as_inet()) {
        Some(address) => Peer::Ip(address.ip().to_canonical()),
        None => Peer::Unix,
    }
}
