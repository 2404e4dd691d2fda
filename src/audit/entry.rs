//! One entry of the trail, and how it becomes a line.
//!
//! Owns the names and the order of the fields, and the bounds that keep any entry within
//! [`MAX_LINE`](super::chain::MAX_LINE) whatever a client wrote into it. Never holds a token, a cookie, a query or a body: of a token there is a keyed hash at most.

use serde::{Serialize, Serializer};

use super::text::Ascii;
pub use super::text::Text;
use crate::rollout::Percent;

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// Decided, and about to go upstream.
    Attempt,
    /// What became of an attempt.
    Outcome,
    Denied,
    Authentication,
    Rollout,
    Config,
    /// About the trail itself, or about what two logins would have meant ([`WIDENING`]).
    System,
}

impl Event {
    pub const ALL: [Self; 7] =
        [Self::Attempt, Self::Outcome, Self::Denied, Self::Authentication, Self::Rollout, Self::Config, Self::System];

    /// As `event` names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attempt => "privileged.attempt",
            Self::Outcome => "privileged.outcome",
            Self::Denied => "denied",
            Self::Authentication => "authentication",
            Self::Rollout => "rollout",
            Self::Config => "config",
            Self::System => "system",
        }
    }
}

/// The action of an entry that is about no action: Clerk's login alone would be let through by a privileged route's rule,
/// the same person's legacy one alone would not (`rollout.shadow`).
pub const WIDENING: &str = "shadow.widening";

/// 128 random bits: what an outcome refers to its attempt by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub u128);

impl Id {
    /// A new one. Without randomness from the system there would be no TLS either; then it is zero, and the chain's
    /// `seq` still tells entries apart.
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        Self(u128::from_be_bytes(bytes))
    }

    /// Reads 32 hex digits.
    pub fn parse(hex: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(hex).ok().filter(|text| text.len() == 32)?;
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An entry but for its place in the chain. Fields stand in the order of the line; an absent fact is an absent field.
#[derive(Debug, Clone, Serialize)]
pub struct Entry<'a> {
    pub id: Id,
    /// Microseconds since the epoch.
    #[serde(serialize_with = "rfc3339")]
    pub time: i64,
    #[serde(serialize_with = "event")]
    pub event: Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text<'a, 128>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Text<'a, 128>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Text<'a, 128>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<Text<'a, 256>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<Text<'a, 96>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Text<'a, 96>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Text<'a, 64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arm: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutPart>,
    /// Of a change of the rollout, which has no request: what it is now and was before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Shift>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Request<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome<'a>>,
    /// Of an outcome: its attempt.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Id>,
    /// Rolled-up repeats; of entries about the trail, what their action says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Of a seal or a retired segment: the entries that it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seal: Option<Seal>,
    /// Attempts that a new segment takes over.
    #[serde(skip_serializing_if = "<[Id]>::is_empty")]
    pub refs: &'a [Id],
}

/// Who: as on the identity headers.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Actor<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Text<'a, 128>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clerk_user: Option<Text<'a, 96>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legacy_user: Option<Text<'a, 96>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Text<'a, 96>>,
    /// Class of the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<&'static str>,
    /// First 32 hex digits of HMAC-SHA256 over the token, keyed with this installation's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_hash: Option<Text<'a, 32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonator: Option<Text<'a, 96>>,
}

/// How far the rollout had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RolloutPart {
    pub generation: u64,
    /// The effective one: 0 after a rollback. The one number of an entry that may have decimals, four at most; it is
    /// written from parts per million, so that it is exact.
    pub percent: Percent,
}

/// What became of the rollout beside its percentage and generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Shift {
    pub state: &'static str,
    /// What was asked for, as far as limits let it come about.
    pub desired: Percent,
    /// `None` at the first start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
}

/// What the rollout was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Before {
    pub generation: u64,
    pub percent: Percent,
    pub state: &'static str,
    pub desired: Percent,
}

/// By which rules.
#[derive(Debug, Clone, Serialize)]
pub struct Policy<'a> {
    pub snapshot: Text<'a, 16>,
    /// Where the route is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Text<'a, 128>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// What was asked for.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Request<'a> {
    pub id: Text<'a, 128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Text<'a, 32>>,
    pub method: Text<'a, 16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Text<'a, 128>>,
    /// Canonical, without the query.
    pub path: Text<'a, 1024>,
    pub client: Text<'a, 45>,
    pub peer: Text<'a, 45>,
}

/// What became of it.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome<'a> {
    /// Of the answer that the client got; 0 for none.
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Text<'a, 64>>,
    pub duration_us: u64,
    /// Of the answer's body.
    pub bytes: u64,
}

/// The entries of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Seal {
    pub first: u64,
    pub last: u64,
}

impl<'a> Entry<'a> {
    /// An entry that says only what it is about.
    pub fn new(id: Id, time_us: i64, event: Event) -> Self {
        Self {
            id,
            time: time_us,
            event,
            decision: None,
            code: None,
            reason: None,
            route: None,
            access: None,
            action: None,
            resource: None,
            actor: None,
            org: None,
            workspace: None,
            role: None,
            arm: None,
            rollout: None,
            change: None,
            policy: None,
            request: None,
            outcome: None,
            attempt: None,
            count: None,
            seal: None,
            refs: &[],
        }
    }

    /// The line from `"id"` on, as [`super::chain::Link::append`] takes it.
    pub fn body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        // Plain data into memory: nothing in it fails to be written.
        let _ = self.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Ascii));
        // Its place in the chain comes before it, in the same object.
        out.drain(..1.min(out.len()));
        out
    }
}

fn event<S: Serializer>(event: &Event, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(event.as_str())
}

fn rfc3339<S: Serializer>(micros: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&timestamp(*micros))
}

/// RFC 3339 in UTC with microseconds.
pub fn timestamp(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros).map_or_else(|_| "-".to_owned(), |time| format!("{time:.6}"))
}

#[cfg(test)]
mod tests {
    use super::{Actor, Before, Entry, Event, Id, Outcome, Policy, Request, RolloutPart, Seal, Shift, Text};
    use crate::audit::chain::{Hash, Link, MAX_LINE};
    use crate::rollout::Percent;

    fn line(entry: &Entry<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        let _ = Link { seq: u64::MAX - 1, hash: Hash([255; 32]) }.append(&entry.body(), &mut out);
        out
    }

    fn full(text: &str) -> Entry<'_> {
        let mut entry = Entry::new(Id(u128::MAX), 253_402_207_200_000_000, Event::Outcome);
        entry.decision = Some("allow");
        entry.code = Some("jwks_stale_privileged");
        entry.reason = Some(Text(text));
        entry.route = Some(Text(text));
        entry.access = Some("privileged");
        entry.action = Some(Text(text));
        entry.resource = Some(Text(text));
        entry.actor = Some(Actor {
            subject: Some(Text(text)),
            clerk_user: Some(Text(text)),
            legacy_user: Some(Text(text)),
            session: Some(Text(text)),
            token: Some("session"),
            token_hash: Some(Text(text)),
            method: Some("legacy"),
            impersonator: Some(Text(text)),
        });
        entry.org = Some(Text(text));
        entry.workspace = Some(Text(text));
        entry.role = Some(Text(text));
        entry.arm = Some("legacy");
        let (generation, percent) = (u64::MAX, Percent::from_ppm(999_999).unwrap());
        entry.rollout = Some(RolloutPart { generation, percent });
        entry.policy = Some(Policy { snapshot: Text(text), file: Some(Text(text)), line: Some(u32::MAX) });
        entry.request = Some(Request {
            id: Text(text),
            trace: Some(Text(text)),
            method: Text(text),
            host: Some(Text(text)),
            path: Text(text),
            client: Text(text),
            peer: Text(text),
        });
        let upstream = Some(Text(text));
        entry.outcome = Some(Outcome { status: u16::MAX, upstream, duration_us: u64::MAX, bytes: u64::MAX });
        entry.attempt = Some(Id(u128::MAX));
        entry.count = Some(u64::MAX);
        entry
    }

    #[test]
    fn whatever_is_written_into_it_a_line_is_bounded_and_one_json_object() {
        for text in ["a", "\"", "\\", "\n", "\u{0}", "\u{7f}", "\u{9b}", "\u{2028}", "é", "\u{10ffff}", "\u{1b}[2J"] {
            let text = text.repeat(2000);
            let line = line(&full(&text));
            assert!(line.len() <= MAX_LINE, "{} bytes", line.len());
            assert!(line[..line.len() - 1].iter().all(|byte| (b' '..=b'~').contains(byte)));
            let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
            let path = read["request"]["path"].as_str().unwrap();
            let (head, mark) = path.rsplit_once('\u{2026}').unwrap();
            assert!(text.starts_with(head) && mark.len() == 16, "{path}");
        }
    }

    #[test]
    fn what_fits_is_had_back_byte_for_byte() {
        for text in ["plain", "\"quotes\" and \\", "a\r\nb", "\u{0}\u{1b}[31m\u{7f}\u{9b}", "é\u{2028}\u{1f600}", ""] {
            let mut entry = full("");
            entry.reason = Some(Text(text));
            let read: serde_json::Value = serde_json::from_slice(&line(&entry)).unwrap();
            assert_eq!(read["reason"], text);
        }
    }

    /// Consumers that keep decimals read what was meant; no percentage is rounded on its way.
    #[test]
    fn a_percentage_is_written_exactly() {
        for (ppm, text) in [(0, "0"), (1, "0.0001"), (125_000, "12.5"), (333_333, "33.3333"), (1_000_000, "100")] {
            let mut entry = full("x");
            entry.rollout = Some(RolloutPart { generation: 7, percent: Percent::from_ppm(ppm).unwrap() });
            let line = String::from_utf8(line(&entry)).unwrap();
            let part = format!("\"arm\":\"legacy\",\"rollout\":{{\"generation\":7,\"percent\":{text}}},\"policy\":");
            assert!(line.contains(&part), "{line}");
        }
    }

    #[test]
    fn long_values_that_differ_at_their_end_stay_two() {
        let (one, two) = (format!("{}1", "a".repeat(500)), format!("{}2", "a".repeat(500)));
        assert_ne!(
            serde_json::to_string(&Text::<96>(&one)).unwrap(),
            serde_json::to_string(&Text::<96>(&two)).unwrap()
        );
    }

    #[test]
    fn a_value_of_exactly_its_bound_is_whole() {
        let text = "a".repeat(96);
        assert_eq!(serde_json::to_string(&Text::<96>(&text)).unwrap().len(), 98);
        let text = "é".repeat(16);
        assert_eq!(serde_json::to_value(Text::<96>(&text)).unwrap(), text);
    }

    #[test]
    fn fields_stand_in_the_order_of_the_contract() {
        let mut entry = full("x");
        let part = RolloutPart { generation: 2, percent: Percent::ALL };
        let before = Before { generation: 1, percent: Percent::ZERO, state: "frozen", desired: Percent::ZERO };
        (entry.rollout, entry.change) =
            (Some(part), Some(Shift { state: "normal", desired: Percent::ALL, before: Some(before) }));
        entry.seal = Some(Seal { first: 1, last: 2 });
        let refs = [Id(1)];
        entry.refs = &refs;
        let text = String::from_utf8(line(&entry)).unwrap();
        let order = [
            "seq",
            "prev",
            "hash",
            "id",
            "time",
            "event",
            "decision",
            "code",
            "reason",
            "route",
            "access",
            "action",
            "resource",
            "actor",
            "org",
            "workspace",
            "role",
            "arm",
            "rollout",
            "change",
            "policy",
            "request",
            "outcome",
            "ref",
            "count",
            "seal",
            "refs",
        ];
        let mut at = 0;
        for name in order {
            let key = format!("\"{name}\":");
            at += text[at..].find(&key).unwrap_or_else(|| panic!("{name} is missing or out of order in {text}"));
        }
        assert!(text.contains("\"time\":\"9999-12-30T22:00:00.000000Z\""), "{text}");
    }
}
