//! Legacy credentials that are left to the API, on routes where people sign in and in report mode: looked at without waiting.
//!
//! A refresh or a handoff brings what the API itself will judge: an expired token, one that nobody here can read. So each
//! carrier is judged by itself, only to learn whose arm it is and whether the map has ended it; what cannot be told now
//! is not told. What is spelled so that the API could read another token in it stays here. Never pauses, never refuses.

use super::owner;
use super::{Answers, Judged, Judgment, Kind, LegacyVerifier, Pause, Question, Sent, Verdict};
use crate::clock::Now;
use crate::identity::Carrier;
use crate::identity::clerk::Attempt;
use crate::request::credential::Authorization;
use crate::request::loose;

/// What a glance tells.
#[derive(Debug, Clone, Default)]
pub struct Glance {
    /// The verdict about one person: of those who are proven the header's first.
    pub judged: Judged,
    /// The API may get the header's credential as it came; the same of the cookie.
    pub header_passes: bool,
    pub cookie_passes: bool,
    /// A signature was checked and did not hold, of either.
    pub is_forged: bool,
}

impl LegacyVerifier {
    /// What is known of a request's credentials here and now.
    pub fn glance(&self, question: &Question<'_>, now: Now, attempt: Attempt) -> Glance {
        let attempt = match &self.kind {
            // Whatever the address has spent: whoever has a sealed person's token could spend it on purpose and have the
            // token pass unchecked. Checking it asks nobody, and costs less than sending the request on.
            Kind::Jwt(_) => Attempt::Last,
            Kind::Asked(_) | Kind::Passthrough => attempt,
        };
        let in_header = self.header(question, now);
        let opaque = self.own_opaque(question, now);
        let took_authorization = self.takes_bearer() && (!matches!(in_header, Sent::Nothing) || opaque.is_some());
        let (in_cookie, is_ambiguous) = match self.cookie(question, now) {
            Ok(cookie) => (cookie, false),
            // Which of the two the API would read cannot be told, and neither can whose that is.
            Err(_) => (Sent::Nothing, true),
        };
        // What servers said of it is not waited for here.
        let question = &Question { answers: &Answers::default(), ..*question };
        let judge = |sent, carrier| match sent {
            Sent::Nothing => Judgment::Absent,
            Sent::Malformed => Judgment::Invalid(super::Reason::Malformed),
            Sent::Token(token, known) => self.judge((token, known), carrier, question, now, attempt),
        };
        let is_unclear = self.is_unclear(&in_header) || opaque.is_some_and(|token| self.is_respelled(token));
        let is_cookie_unclear = is_ambiguous || self.is_unclear(&in_cookie);
        let (header, cookie) = (judge(in_header, Carrier::Header), judge(in_cookie, Carrier::Cookie));
        let header_passes = !is_ended(&header) && !is_unclear;
        let cookie_passes = !is_ended(&cookie) && !is_cookie_unclear;
        let is_forged = [&header, &cookie].iter().any(|judgment| is_forgery(judgment));
        let proves = |judgment: &Judgment| matches!(judgment, Judgment::Valid(_)) && !is_ended(judgment);
        let is_cookies = !proves(&header) && proves(&cookie) || matches!(header, Judgment::Absent);
        let (judgment, carrier) = if is_cookies { (cookie, Carrier::Cookie) } else { (header, Carrier::Header) };
        let verdict = match judgment.verdict(carrier, Attempt::Last) {
            Ok(verdict) => verdict,
            Err(Pause::NeedKeys { .. } | Pause::NeedLookup(_) | Pause::Ambiguous | Pause::Unchecked) => {
                Verdict::Unverifiable { carrier }
            }
        };
        Glance {
            judged: Judged { verdict, took_authorization, cookie_agrees: false },
            header_passes,
            cookie_passes,
            is_forged,
        }
    }

    /// Whether an API could read in it what crossgate does not.
    fn is_unclear(&self, sent: &Sent<'_>) -> bool {
        match sent {
            Sent::Nothing => false,
            Sent::Malformed => matches!(self.kind, Kind::Jwt(_)),
            Sent::Token(token, _) => self.is_respelled(token),
        }
    }

    /// Of a server, or of the API alone, to judge, tokens have whatever form it likes, and one that is good must not be lost
    /// on the way to its own login.
    fn is_respelled(&self, token: &str) -> bool {
        matches!(self.kind, Kind::Jwt(_)) && loose::is_respelled(token)
    }

    /// A bearer token without the form of anybody's: here it is the API's own, as refresh tokens are.
    fn own_opaque<'a>(&self, question: &Question<'a>, now: Now) -> Option<&'a str> {
        match &question.credentials.authorization {
            Authorization::Bearer(token) if self.takes_bearer() && !question.foreign.is_in(token) => {
                Some(&**token).filter(|token| !question.clerk.knows(token, now) && owner::is_formless(token))
            }
            Authorization::Bearer(_) | Authorization::Absent | Authorization::Malformed => None,
        }
    }
}

fn is_forgery(judgment: &Judgment) -> bool {
    matches!(judgment, Judgment::Invalid(reason) if reason.is_forgery())
}

/// Verified, of somebody whose legacy side proves nothing any more.
fn is_ended(judgment: &Judgment) -> bool {
    matches!(judgment, Judgment::Valid(identity) if !identity.facts.link.legacy_proves())
}
