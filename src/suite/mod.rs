//! Policy tests, run: each case asked of the same `decide` that serves, and what came of it laid beside what was expected.
//!
//! Alike on every machine: no key set is fetched, no state read, no clock asked. Never writes anything and never decides.

pub mod coverage;
mod got;

use crate::clock::Now;
use crate::config::{Case, Expected, Outcome};
use crate::explain::{self, Asked, Read};
use crate::gate::decide::World;
use crate::gate::reply::Code;
use crate::persona::Assumed;
use crate::rollout::{self, Algorithm, Current, Percent, Person, Side, Why};
use crate::snapshot::Snapshot;

pub use got::Got;

/// 2026-01-01T00:00:00Z: the time of a test that names none.
pub const DEFAULT_TIME: i64 = 1_767_225_600_000;

/// What one case came to.
#[derive(Debug)]
pub struct Judged {
    /// Of each arm that the person may be in: mostly one.
    pub runs: Vec<Run>,
    /// The run that is told: the first that failed, else the first.
    told: usize,
}

/// A case in one arm.
#[derive(Debug)]
pub struct Run {
    /// The arm that was tried; `None` where the config says which one it is.
    pub arm: Option<Side>,
    pub got: Got,
    pub differences: Vec<Difference>,
}

/// One thing that came out otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub what: String,
    pub expected: String,
    pub got: String,
}

impl Judged {
    pub fn passed(&self) -> bool {
        self.runs.iter().all(|run| run.differences.is_empty())
    }

    pub fn told(&self) -> Option<&Run> {
        self.runs.get(self.told)
    }

    /// It holds in one arm and not in the other, and which arm it is hangs on a secret.
    pub fn depends_on_the_bucket(&self) -> bool {
        let failed = self.runs.iter().filter(|run| !run.differences.is_empty()).count();
        failed > 0 && failed < self.runs.len()
    }
}

/// The codes of answers that a decision can end in: what a test may expect.
pub fn answers() -> Vec<&'static str> {
    const DECIDED: [Code; 25] = [
        Code::BadRequest,
        Code::BadPath,
        Code::BadHeader,
        Code::IdentityConflict,
        Code::NoCredential,
        Code::ClerkExpired,
        Code::ClerkInvalid,
        Code::LegacyInvalid,
        Code::LegacySealed,
        Code::Invalid,
        Code::StepUpClerk,
        Code::NoRoute,
        Code::Forbidden,
        Code::Reverification,
        Code::UnmappedPrincipal,
        Code::Csrf,
        Code::BadMethod,
        Code::TooLarge,
        Code::UriTooLong,
        Code::BadExpect,
        Code::BadAuthority,
        Code::HeadersTooLarge,
        Code::ClerkOutage,
        Code::LegacyOutage,
        Code::StaleKeys,
    ];
    DECIDED.map(Code::as_str).to_vec()
}

/// Runs cases against one config.
#[derive(Debug)]
pub struct Suite<'a> {
    snapshot: &'a Snapshot,
    rollout: Option<Current>,
    /// For cases that name no time.
    now: Now,
    /// Nothing is waited for on it: who has no credential is asked about by nobody.
    runtime: tokio::runtime::Runtime,
}

impl<'a> Suite<'a> {
    /// # Errors
    /// The system has no resources left.
    pub fn new(snapshot: &'a Snapshot, unix_ms: i64) -> Result<Self, std::io::Error> {
        let rollout = snapshot.rollout.as_ref().map(|plan| rollout::control::configured(plan, unix_ms));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { snapshot, rollout, now: Now::at_unix_ms(unix_ms), runtime })
    }

    /// # Errors
    /// Why there is no answer, in words for whoever wrote the test.
    pub fn judge(&self, case: &Case) -> Result<Judged, String> {
        let arms = match case.person.as_ref().filter(|person| self.is_dealt(person)) {
            Some(_) => vec![Some(Side::Legacy), Some(Side::Clerk)],
            None => vec![None],
        };
        let mut runs = Vec::with_capacity(arms.len());
        for arm in arms {
            let got = self.ask(case, arm)?;
            let differences = differences(&case.expected, &got);
            runs.push(Run { arm, got, differences });
        }
        let told = runs.iter().position(|run| !run.differences.is_empty()).unwrap_or(0);
        Ok(Judged { runs, told })
    }

    /// Whether the arm of this person hangs on a key that no test reads.
    fn is_dealt(&self, person: &Assumed) -> bool {
        let Some(rollout) = &self.rollout else { return false };
        let percent = rollout.record.assigned;
        let has_both = self.snapshot.legacy.is_some() && !self.snapshot.instances.is_empty();
        if person.arm.is_some() || !has_both || rollout.record.dealing.algorithm != Algorithm::Crossgate1 {
            return false;
        }
        if percent == Percent::ZERO || percent == Percent::ALL {
            return false;
        }
        let facts = &person.identity.facts;
        let unit = Person { user: &facts.subject, org: facts.canonical_org.as_deref(), link: facts.link };
        matches!(rollout.assignment.choose(&unit, percent).why, Why::Bucket { .. })
    }

    fn ask(&self, case: &Case, arm: Option<Side>) -> Result<Got, String> {
        let snapshot = self.snapshot;
        let lines = case.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let asked = Asked::new(&case.method, &case.url, lines)?;
        let now = case.at_ms.map_or(self.now, Now::at_unix_ms);
        let world = World { snapshot, rollout: self.rollout.as_ref() };
        let headers = asked.headers.clone();
        let explained = match explain::read(asked, snapshot) {
            Read::Refused(explained) => explained,
            Read::OfTheServer => return Err("crossgate answers this itself: no route is asked".to_owned()),
            Read::Question(question) => match &case.person {
                None => self.runtime.block_on(question.ask(world, now)),
                Some(person) => {
                    let person = Assumed { arm: arm.or(person.arm), ..person.clone() };
                    question.assume(world, &person, now)?
                }
            },
        };
        Ok(Got::of(explained, &headers, snapshot))
    }
}

/// Where the decision itself is another one, nothing else is told: it follows from that.
fn differences(expected: &Expected, got: &Got) -> Vec<Difference> {
    let (is_allow, word) = match &expected.outcome {
        Outcome::Allow(word) => (true, word.as_deref()),
        Outcome::Deny(word) => (false, word.as_deref()),
    };
    let mut found = Vec::new();
    let mut differ = |what: &str, expected: String, got: String| {
        if expected != got {
            found.push(Difference { what: what.to_owned(), expected, got });
        }
    };
    let came = got.refusal.as_ref().map(|named| named.word(word));
    if is_allow != got.is_allowed {
        let shown = |is_allowed: bool, word: Option<&str>| match (is_allowed, word) {
            (true, None) => "allow".to_owned(),
            (true, Some(word)) => format!("allow, reported: {word}"),
            (false, None) => "deny".to_owned(),
            (false, Some(word)) => format!("deny: {word}"),
        };
        differ("decision", shown(is_allow, word), shown(got.is_allowed, came));
        return found;
    }
    let nothing = || "nothing".to_owned();
    if let Some(word) = word {
        let what = if is_allow { "reported" } else { "deny" };
        differ(what, word.to_owned(), came.map_or_else(nothing, str::to_owned));
    }
    if let Some(status) = expected.status {
        differ("status", status.to_string(), got.status.to_string());
    }
    if let Some(route) = &expected.route {
        differ("route", route.clone(), got.route.as_deref().map_or_else(nothing, str::to_owned));
    }
    if let Some(arm) = expected.arm {
        differ("arm", arm.as_str().to_owned(), got.arm.as_str().to_owned());
    }
    if let Some(upstream) = &expected.upstream {
        differ("upstream", upstream.clone(), got.upstream.clone().unwrap_or_else(nothing));
    }
    for (name, value) in &expected.headers {
        let came = got.headers.get(name.as_str()).and_then(|value| value.as_str());
        let shown = |value: Option<&str>| value.map_or_else(nothing, str::to_owned);
        differ(name.as_str(), shown(value.as_deref()), shown(came));
    }
    found
}
