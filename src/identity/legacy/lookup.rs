//! Credentials that only a server can judge: remembered answers, one flight per credential, bounded and broken off.
//!
//! `verify` reads memory and says what has to be looked up; [`Answers::fetch`] awaits it and keeps what came for the
//! request that asked, so that what may not be remembered needs no second question. A flight is found by the whole
//! credential and carries it, so that no request ever gets the answer about another one (Traefik CVE-2026-71326). It is
//! a task of its own: a client that goes away takes nobody's answer along. What one credential makes the server do is
//! nobody else's loss: see `breaker`. Of changes of state the log has one each [`TELL_EACH`] at most.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};

use super::Judgment;
use super::ask::{Asker, Said};
use super::breaker::{Breaker, Next};
use super::exchange::{Exchange, ExchangeProblem, Incoming, Outgoing, TOTAL};
use super::jwt::identity;
use super::memory::{Memory, Told};
use super::reason::Reason;
use crate::clock::Now;
use crate::identity::cache::weigh;
use crate::identity::checks::{self, About, Checks};
use crate::identity::clerk::Attempt;
use crate::identity::clerk::token::MAX_TOKEN;
use crate::identity::headers::{self, HeaderNames};
use crate::identity::{Carrier, Identity, Linking};

/// Questions on their way at once; further ones wait for their turn.
const MAX_ASKED: usize = 64;
/// Further turns for credentials that were good before, which no stranger's can take.
const MAX_KNOWN_ASKED: usize = 16;
/// Of those, so many may ask a server that does not answer; the others are told at once.
const MAX_KNOWN_TRIALS: usize = 4;
/// Flights at once, those that wait for their turn included.
const MAX_FLIGHTS: usize = 10_000;
/// Longest wait for a turn.
const TURN_WAIT: Duration = TOTAL;
/// Longest wait of a request for a flight: more than one may take, so that only a missing task hits it.
const FLIGHT_WAIT: Duration = Duration::from_secs(5);
/// Shortest time between two lines of the log: a stranger may hold a credential that the server chokes on.
const TELL_EACH: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Lookups {
    asker: Asker,
    headers: HeaderNames,
    linking: Arc<Linking>,
    cache_for: Duration,
    network: Arc<dyn Exchange>,
    clock: fn() -> Now,
    in_header: Memory,
    in_cookie: Memory,
    flights: Mutex<HashMap<Asked, watch::Receiver<Option<Outcome>>>>,
    turns: Semaphore,
    known_turns: Semaphore,
    known_trials: Semaphore,
    breaker: Breaker,
    state: Mutex<State>,
    answered: AtomicU64,
    failed: AtomicU64,
}

/// How the latest question fared, and what the log has of it.
#[derive(Debug, Default)]
struct State {
    failure: Option<String>,
    told: Option<String>,
    told_at: Option<Instant>,
}

impl State {
    /// Keeps how the latest question fared, and says what to tell. What is not told for now is told later, if it still
    /// holds then.
    fn take(&mut self, failure: Option<String>, now: Now) -> Option<Option<String>> {
        self.failure = failure;
        let is_told = self.failure == self.told;
        if is_told || self.told_at.is_some_and(|at| now.mono.saturating_duration_since(at) < TELL_EACH) {
            return None;
        }
        self.told_at = Some(now.mono);
        self.told.clone_from(&self.failure);
        Some(self.told.clone())
    }
}

/// One credential, in the place where it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asked {
    carrier: Carrier,
    token: Box<str>,
}

/// What became of a flight.
#[derive(Debug, Clone)]
enum Outcome {
    Good(Arc<Identity>),
    Bad(Reason),
    CannotTell,
}

/// Something to look up, for [`Answers::fetch`].
#[derive(Debug)]
pub struct Lookup {
    lookups: Arc<Lookups>,
    asked: Asked,
    was_good: bool,
}

impl Lookup {
    /// Whether the server called this credential good before: then nobody made it up.
    pub const fn was_good(&self) -> bool {
        self.was_good
    }
}

/// What was looked up for one request.
#[derive(Debug, Default)]
pub struct Answers(Vec<(Asked, Outcome)>);

/// How the server that is asked fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskStats {
    pub answered: u64,
    pub failed: u64,
    /// Nothing is asked at the moment, since the server does not answer.
    pub broken: bool,
    /// Why the latest question had no answer, if it had none.
    pub last_failure: Option<String>,
}

impl Answers {
    /// Looks all of them up, side by side.
    pub async fn fetch(lookups: Vec<Lookup>) -> Self {
        // Header and cookie at most: each flies by itself, so that waiting for one after the other is no longer.
        let flights: Vec<_> = lookups.into_iter().map(|lookup| (lookup.lookups.board(&lookup.asked), lookup)).collect();
        let mut answers = Vec::with_capacity(flights.len());
        for (flight, Lookup { asked, .. }) in flights {
            let outcome = match flight {
                Some(flight) => land(flight).await,
                None => Outcome::CannotTell,
            };
            answers.push((asked, outcome));
        }
        Self(answers)
    }

    /// Asks once about each, for whoever explains: nothing is remembered, counted or held against the server.
    pub async fn ask_aside(lookups: Vec<Lookup>) -> Self {
        let mut answers = Vec::with_capacity(lookups.len());
        for Lookup { lookups, asked, .. } in lookups {
            let outcome = lookups.ask_aside(&asked).await;
            answers.push((asked, outcome));
        }
        Self(answers)
    }

    /// How many the server called bad.
    pub fn refused(&self) -> usize {
        self.0.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Bad(_))).count()
    }

    fn find(&self, token: &str, carrier: Carrier) -> Option<&Outcome> {
        self.0.iter().find(|(asked, _)| asked.carrier == carrier && *asked.token == *token).map(|(_, outcome)| outcome)
    }
}

async fn land(mut flight: watch::Receiver<Option<Outcome>>) -> Outcome {
    let landed = tokio::time::timeout(FLIGHT_WAIT, flight.wait_for(Option::is_some)).await;
    match landed {
        Ok(Ok(outcome)) => outcome.clone().unwrap_or(Outcome::CannotTell),
        // It took too long, or its task died.
        Ok(Err(_)) | Err(_) => Outcome::CannotTell,
    }
}

/// The judgment about one credential, from what is known by now.
pub(super) fn judge(
    lookups: &Arc<Lookups>,
    token: &str,
    carrier: Carrier,
    answers: &Answers,
    now: Now,
    attempt: Attempt,
    told: Checks<'_>,
) -> Judgment {
    let answer = |passed, said: &str, whence: &str| {
        told.note(About::Legacy, checks::ANSWER, passed, || format!("{said}{whence}"));
    };
    match answers.find(token, carrier) {
        Some(Outcome::Good(identity)) => {
            answer(true, "the server says good", "");
            return Judgment::Valid(Arc::clone(identity));
        }
        Some(Outcome::Bad(reason)) => {
            answer(false, reason.as_str(), "");
            return Judgment::Invalid(*reason);
        }
        Some(Outcome::CannotTell) => {
            answer(false, "the server cannot be asked now", "");
            return Judgment::Unverifiable;
        }
        None => {}
    }
    const REMEMBERED: &str = ", as is remembered";
    match lookups.memory(carrier).find(token, now) {
        Some(Told::Good(identity)) => {
            answer(true, "the server says good", REMEMBERED);
            return Judgment::Valid(identity);
        }
        Some(Told::Bad(reason)) => {
            answer(false, reason.as_str(), REMEMBERED);
            return Judgment::Invalid(reason);
        }
        Some(Told::Nothing) => {
            answer(false, "the server cannot be asked now", REMEMBERED);
            return Judgment::Unverifiable;
        }
        None => {}
    }
    // Nothing that is longer, or no visible ASCII, is sent anywhere.
    let is_sendable = token.len() <= MAX_TOKEN && token.bytes().all(|byte| byte.is_ascii_graphic());
    told.note(About::Legacy, checks::FORM, is_sendable, || "opaque here: a server is asked".to_owned());
    if !is_sendable {
        return Judgment::Invalid(Reason::Malformed);
    }
    // One that was good is nobody's invention: its owner is not to pay for what else comes from the same address.
    let was_good = lookups.memory(carrier).was_good(token);
    if attempt == Attempt::KnownOnly && !was_good {
        return Judgment::Unchecked;
    }
    if !was_good && !lookups.breaker.would_let_ask(now) {
        answer(false, "the server does not answer, and is not asked now", "");
        return Judgment::Unverifiable;
    }
    let asked = Asked { carrier, token: token.into() };
    Judgment::NeedLookup(Lookup { lookups: Arc::clone(lookups), asked, was_good })
}

impl Lookups {
    pub(super) fn new(
        asker: Asker,
        headers: HeaderNames,
        linking: Arc<Linking>,
        cache_for: Duration,
        network: Arc<dyn Exchange>,
        clock: fn() -> Now,
    ) -> Self {
        Self {
            asker,
            headers,
            linking,
            cache_for,
            network,
            clock,
            in_header: Memory::default(),
            in_cookie: Memory::default(),
            flights: Mutex::default(),
            turns: Semaphore::new(MAX_ASKED),
            known_turns: Semaphore::new(MAX_KNOWN_ASKED),
            known_trials: Semaphore::new(MAX_KNOWN_TRIALS),
            breaker: Breaker::default(),
            state: Mutex::default(),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Whether identities are made by these links and rendered with these names.
    pub(super) fn makes_the_same(&self, headers: &HeaderNames, linking: &Linking) -> bool {
        self.linking.is_same(linking) && self.has_names(headers)
    }

    fn has_names(&self, headers: &HeaderNames) -> bool {
        self.headers.all().eq(headers.all())
            && headers::Fact::ALL.iter().all(|fact| self.headers.name(*fact) == headers.name(*fact))
    }

    pub(super) fn knows(&self, token: &str) -> bool {
        self.in_header.was_good(token) || self.in_cookie.was_good(token)
    }

    pub(super) fn stats(&self, _: Now) -> AskStats {
        AskStats {
            answered: self.answered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            broken: self.breaker.is_open(),
            last_failure: self.state().failure.clone(),
        }
    }

    const fn memory(&self, carrier: Carrier) -> &Memory {
        match carrier {
            Carrier::Header => &self.in_header,
            Carrier::Cookie => &self.in_cookie,
        }
    }

    fn flights(&self) -> std::sync::MutexGuard<'_, HashMap<Asked, watch::Receiver<Option<Outcome>>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The flight about this credential: the one that is under way, or a new one. `None`: too many are.
    fn board(self: &Arc<Self>, asked: &Asked) -> Option<watch::Receiver<Option<Outcome>>> {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(asked) {
            return Some(flight.clone());
        }
        if flights.len() >= MAX_FLIGHTS {
            return None;
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(asked.clone(), receiver.clone());
        let landing = Landing { lookups: Arc::clone(self), asked: asked.clone() };
        tokio::spawn(async move {
            let outcome = landing.lookups.fly(&landing.asked).await;
            // Memory was written before: whoever comes after the flight is gone finds the answer there.
            drop(landing);
            sender.send_replace(Some(outcome));
        });
        Some(receiver)
    }

    async fn fly(self: &Arc<Self>, asked: &Asked) -> Outcome {
        let Ok(question) = self.asker.question(&asked.token, asked.carrier) else {
            return Outcome::Bad(Reason::Malformed);
        };
        let was_good = self.memory(asked.carrier).was_good(&asked.token);
        let is_let = !self.breaker.is_open() || self.breaker.lets_ask((self.clock)());
        // Nobody's invention, so that its answer closes the breaker whatever strangers ask at the same time.
        let trial = if is_let || !was_good { None } else { self.known_trials.try_acquire().ok() };
        if !is_let && trial.is_none() {
            return Outcome::CannotTell;
        }
        // A row of questions that is too long is crossgate's doing, or a flood's: it says nothing of the server.
        let turns = if was_good { &self.known_turns } else { &self.turns };
        let Ok(turn) = tokio::time::timeout(TURN_WAIT, turns.acquire()).await else {
            return self.cannot_tell("more questions at once than are asked".to_owned());
        };
        let answer = self.exchange(question).await;
        drop((turn, trial));
        let now = (self.clock)();
        if is_there(&answer) {
            self.breaker.answered(now);
        } else {
            if took_its_time(&answer) {
                self.memory(asked.carrier).keep_nothing(&asked.token, now);
            }
            if self.breaker.failed(now) {
                tokio::spawn(probe(Arc::downgrade(self)));
            }
        }
        match answer.map(|answer| self.asker.read(&answer, now)) {
            Ok(Ok(said)) => self.conclude(asked, said, now),
            Ok(Err(useless)) => self.cannot_tell(useless.to_string()),
            Err(problem) => self.cannot_tell(problem.to_string()),
        }
    }

    async fn exchange(&self, question: Outgoing) -> Result<Incoming, ExchangeProblem> {
        let exchange = self.network.exchange(question);
        tokio::time::timeout(TOTAL, exchange).await.unwrap_or(Err(ExchangeProblem::Timeout))
    }

    /// One question, whose answer nobody else gets.
    async fn ask_aside(&self, asked: &Asked) -> Outcome {
        let Ok(question) = self.asker.question(&asked.token, asked.carrier) else {
            return Outcome::Bad(Reason::Malformed);
        };
        if self.breaker.is_open() {
            return Outcome::CannotTell;
        }
        match self.exchange(question).await.map(|answer| self.asker.read(&answer, (self.clock)())) {
            Ok(Ok(said)) => match self.person(asked, said) {
                Ok((identity, ..)) => Outcome::Good(identity),
                Err(reason) => Outcome::Bad(reason),
            },
            Ok(Err(_)) | Err(_) => Outcome::CannotTell,
        }
    }

    /// Who it is by the server's word, until when, and how much memory that takes.
    fn person(&self, asked: &Asked, said: Said) -> Result<(Arc<Identity>, Option<i64>, u64), Reason> {
        let (facts, validity) = match said {
            Said::Good(facts, validity) => (self.linking.of_legacy(*facts), validity),
            Said::Bad(reason) => return Err(reason),
        };
        let facts = facts.map_err(|_| Reason::ClerksId)?;
        let rendered = headers::render(&self.headers, &facts).map_err(|_| Reason::IdentityTooLarge)?;
        let bytes = weigh(&asked.token, &facts, rendered.len());
        Ok((identity(&asked.token, facts, rendered), validity.until_ms, bytes))
    }

    fn conclude(&self, asked: &Asked, said: Said, now: Now) -> Outcome {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.fares(None);
        let memory = self.memory(asked.carrier);
        match self.person(asked, said) {
            Ok((identity, until_ms, bytes)) => {
                memory.keep_good(&asked.token, &identity, until_ms, self.cache_for, bytes, now);
                Outcome::Good(identity)
            }
            Err(reason) => {
                memory.keep_bad(&asked.token, reason, self.cache_for, now);
                Outcome::Bad(reason)
            }
        }
    }

    fn cannot_tell(&self, problem: String) -> Outcome {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.fares(Some(problem));
        Outcome::CannotTell
    }

    fn fares(&self, failure: Option<String>) {
        let name = self.asker.name();
        let news = self.state().take(failure, (self.clock)());
        match news {
            None => {}
            Some(Some(problem)) => tracing::warn!("legacy {name} cannot tell: {problem}"),
            Some(None) => tracing::info!("legacy {name} answers again"),
        }
    }
}

/// Whether somebody is there to answer. What stands in front of a server says by 502 to 504 that nobody is, and by 429
/// that it had enough; every other status is the server's word.
fn is_there(answer: &Result<Incoming, ExchangeProblem>) -> bool {
    match answer {
        Ok(answer) => !matches!(answer.status, 429 | 502..=504),
        Err(ExchangeProblem::TooLarge) => true,
        Err(ExchangeProblem::Timeout | ExchangeProblem::Network(_) | ExchangeProblem::Client(_)) => false,
    }
}

/// Whether the same question again would hold a turn as long, or come too early.
fn took_its_time(answer: &Result<Incoming, ExchangeProblem>) -> bool {
    match answer {
        Ok(answer) => matches!(answer.status, 429 | 504),
        Err(problem) => *problem == ExchangeProblem::Timeout,
    }
}

/// Asks about a credential of nobody's until there is an answer of any kind, or nobody to ask for.
async fn probe(lookups: Weak<Lookups>) {
    loop {
        let Some(held) = lookups.upgrade() else { return };
        // Chosen anew each time: no cache on the way answers for the server.
        let token = format!("crossgate-probe-{:016x}", RandomState::new().hash_one(0));
        let Ok(question) = held.asker.probe(&token) else { return };
        let answer = held.exchange(question).await;
        let next = held.breaker.probed(is_there(&answer), (held.clock)());
        drop(held);
        match next {
            Next::ProbeAfter(pause) => tokio::time::sleep(pause).await,
            Next::Done => return,
        }
    }
}

/// Takes a flight off the board when it ends, also by a panic.
struct Landing {
    lookups: Arc<Lookups>,
    asked: Asked,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.lookups.flights().remove(&self.asked);
    }
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
