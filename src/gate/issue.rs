//! Which tokens of crossgate's own go upstream with a request: those of its person, as its upstream says.
//!
//! Nobody gets one who was not named: no token for anonymous requests, preflights, or credentials that only the API can
//! verify. Whether a person has what a minted token has to say was decided before, by `decide`.

use std::sync::Arc;

use crate::clock::Now;
use crate::inject::Issued;
use crate::issuer::{Given, NotSigned, Token};
use crate::policy::Permit;
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::tokens::TokenKind;
use crate::upstream::{InAuthorization, TokenPlace};

/// The tokens of the person that is permitted.
///
/// # Errors
/// [`NotSigned`]: without its token, the API would take the person for nobody.
pub(super) fn issue(snapshot: &Snapshot, permit: &Permit, now: Now, metrics: &Metrics) -> Result<Issued, NotSigned> {
    let mut issued = Issued::default();
    let Some(identity) = permit.identity() else { return Ok(issued) };
    let facts = &identity.facts;
    let Some(puts) = snapshot.upstreams.get(permit.upstream()).map(|upstream| &upstream.puts) else {
        return Ok(issued);
    };
    if let Some(assertion) = &snapshot.assertion {
        let token = counted(assertion.token(facts, now), TokenKind::Assertion, metrics)?;
        issued.assertion = Some(token.bare.clone());
        if puts.authorization == InAuthorization::Assertion {
            issued.authorization = Some(token.bearer.clone());
        }
    }
    let Some(mint) = snapshot.mint.as_ref().filter(|_| puts.legacy_tokens()) else { return Ok(issued) };
    let Some(given) = mint.token(facts, now).transpose() else { return Ok(issued) };
    let token = counted(given, TokenKind::Minted, metrics)?;
    if puts.authorization == InAuthorization::LegacyToken {
        issued.authorization = Some(token.bearer.clone());
    }
    match &puts.legacy_token {
        Some(TokenPlace::Header(name)) => issued.header = Some((name.clone(), token.bare.clone())),
        Some(TokenPlace::Cookie(name)) => issued.cookie = Some((name.clone(), token.bare.clone())),
        None => {}
    }
    Ok(issued)
}

fn counted(given: Result<Given, NotSigned>, kind: TokenKind, metrics: &Metrics) -> Result<Arc<Token>, NotSigned> {
    metrics.token(kind, given.as_ref().map_or("failed", |given| given.how.as_str()));
    given.map(|given| given.token)
}
