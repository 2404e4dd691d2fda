//! Which of the request's own credentials the API gets: those of the person who goes upstream, of the sides that the
//! upstream is to have (`credentials.forward`). All others are taken out, whatever they are worth.

use crate::identity::Carrier;
use crate::identity::legacy::HeaderCarrier;
use crate::inject::{LegacyCookie, Ours, Own, Proven, Stays};
use crate::policy::Permit;
use crate::request::credential::Line;
use crate::request::{Authorization, Request};
use crate::rollout::Side;
use crate::snapshot::Snapshot;
use crate::upstream::TokenPlace;

/// Says what stays; tells ours by their content.
pub(crate) fn own<'a>(
    snapshot: &'a Snapshot,
    permit: &Permit,
    request: &Request,
    (proven, whose): (Proven, Option<Side>),
    ours: &'a dyn Ours,
) -> Own<'a> {
    let upstream = snapshot.upstreams.get(permit.upstream());
    let forward = upstream.map(|upstream| upstream.forward).unwrap_or_default();
    let stays = |does: bool| if does { Stays::Kept } else { Stays::Removed };
    let legacy_header = stays(proven.legacy_header && forward.legacy);
    let clerk = |carrier| stays(proven.clerk == Some(carrier) && forward.clerk);
    let bearer = match (&request.credentials.authorization, whose) {
        (Authorization::Absent, _) => Stays::Untouched,
        (_, Some(Side::Legacy)) => legacy_header,
        (_, Some(Side::Clerk) | None) => clerk(Carrier::Header),
    };
    let carriers = snapshot.legacy.as_ref().map(|legacy| legacy.carriers());
    let line = match carriers.and_then(|carriers| carriers.header.as_ref()) {
        Some(HeaderCarrier::Own(line)) => match request.credentials.line {
            Line::Absent => Some((&line.header, Stays::Untouched)),
            Line::Token(_) | Line::Malformed => Some((&line.header, legacy_header)),
        },
        Some(HeaderCarrier::Bearer) | None => None,
    };
    let cookie = carriers.and_then(|carriers| carriers.cookie.as_deref());
    let keeps_cookie = stays(proven.legacy_cookie && forward.legacy);
    let legacy_cookie = cookie.map(|name| LegacyCookie { name, stays: keeps_cookie });
    let ours = (snapshot.legacy.is_some() || snapshot.runner.is_some()).then_some(ours);
    // The legacy side's own cookie is told by its content.
    let token_cookie = upstream.and_then(|upstream| match &upstream.puts.legacy_token {
        Some(TokenPlace::Cookie(name)) => Some(&**name).filter(|name| Some(*name) != cookie),
        Some(TokenPlace::Header(_)) | None => None,
    });
    Own { bearer, line, clerk_cookies: clerk(Carrier::Cookie), legacy_cookie, ours, token_cookie }
}

/// Tells by content, with the verifiers of a snapshot.
#[derive(Debug)]
pub(crate) struct ByContent<'a>(pub(crate) &'a Snapshot);

impl Ours for ByContent<'_> {
    fn is_legacy_cookie(&self, value: &str) -> bool {
        let Some(legacy) = &self.0.legacy else { return false };
        let Some(name) = legacy.carriers().cookie.as_deref() else { return false };
        legacy.owns_cookie(name, value, &super::decide::verifier(self.0), crate::clock::now())
    }

    fn is_token(&self, text: &str) -> bool {
        self.0.legacy.as_ref().is_some_and(|legacy| legacy.owns_token(text, &super::decide::verifier(self.0)))
            || self.0.runner.as_ref().is_some_and(|runner| runner.owns(text))
    }

    fn is_runner_in(&self, text: &[u8]) -> bool {
        super::decide::holds_runner_token(self.0, text)
    }
}
