//! A head has come: the request that it is, or why it is none.
//!
//! Nothing can be answered yet. What is refused is kept in the passage, with whom it came from.

use pingora::Result;
use pingora_proxy::Session;

use super::Gate;
use super::decide::Refusal;
use super::failure::broken_body;
use super::passage::Passage;
use super::{bodiless, exchange, wire};
use crate::guard;
use crate::request::{Request, Sanitized};

/// # Errors
/// The client is gone, or sent no end of a body without bytes.
pub(super) async fn read(gate: &Gate, session: &mut Session, passage: &mut Passage) -> Result<()> {
    if guard::is_broken(session.as_downstream().stream()) {
        refuse(session, passage, Some(broken_body()));
        return Ok(());
    }
    let awaited = bodiless::await_end(session, &passage.snapshot.request).await;
    if !matches!(awaited, Ok(Ok(()))) {
        // Its sender is named also where the client is gone by now.
        refuse(session, passage, None);
        passage.refusal = awaited?.err().map(Refusal::Request);
        return Ok(());
    }
    let rules = exchange::rules(&passage.snapshot, session);
    match wire::sanitize(session, &rules) {
        Ok(Sanitized::Request(request, edits)) => {
            wire::apply(edits, session)?;
            if request.client.dropped {
                note_dropped_forwarding(gate, &request);
            }
            passage.request = Some(request);
        }
        Ok(Sanitized::Server(client)) => {
            passage.sender = Some(client);
            passage.is_about_server = true;
        }
        Err(refusal) => refuse(session, passage, Some(Refusal::Request(refusal))),
    }
    Ok(())
}

fn refuse(session: &Session, passage: &mut Passage, refusal: Option<Refusal>) {
    passage.sender = Some(Box::new(wire::sender(session, &passage.snapshot.request)));
    passage.refusal = refusal;
}

fn note_dropped_forwarding(gate: &Gate, request: &Request) {
    let counter = gate.metrics.forwarded_dropped();
    if counter.get() == 0 {
        tracing::warn!(
            peer = %request.client.peer,
            "forwarding headers dropped: the peer is not in trusted_proxies; further ones are only counted"
        );
    }
    counter.inc();
}
