//! What report mode lets through is counted for whoever asks later: by route, by reason, and whose it was.
//!
//! Changes and delays nothing. A route that is enforced costs a look at its index.

use super::passage::Passage;
use super::reply;
use crate::clock;
use crate::policy::Reported;

/// The decision is made. A preflight is no request of anybody's yet: the one that it announces is counted when it comes.
pub(super) fn count(passage: &Passage) {
    let Some(route) = passage.route else { return };
    if passage.request.as_ref().is_some_and(|request| request.preflight.is_some()) {
        return;
    }
    let Some(seen) = passage.snapshot.tallies.see(route) else { return };
    let Some(reported) = passage.permit.as_ref().and_then(|permit| permit.reported()) else { return };
    let predicate = match reported {
        Reported::Unauthenticated(_) => None,
        Reported::Refused(refusal) => Some(refusal.predicate()),
    };
    let subject = passage.identity.as_ref().map(|(identity, _)| identity.facts.subject.as_str());
    seen.would_be_refused(reply::reported_code(reported), predicate, subject, clock::now().unix_ms);
}
