//! What the gate writes into: the trail, with the rules on what is written when.
//!
//! An attempt is durable before [`Ledger::attempt`] returns, and has exactly one outcome, whatever becomes of the request:
//! a task that is cancelled or panics drops its [`Attempt`], which says so. Of denials the first of a kind is durable
//! before its answer. Everything else goes on its way and is durable a moment later. Never decides whether a request goes
//! on.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::crowd::Who;
use super::entry::{Entry, Event, Id, Text};
use super::queue::Kind;
use super::rollup::{Budget, Due, Noted, Rollup};
use super::sample::Sample;
use super::trail::{Late, Trail, Unavailable};
use crate::clock;

/// At two lines of a kilobyte each and 7.5 GiB of segments (the defaults), strangers who do nothing else would need more
/// than three months to write the history away; people, who can be told apart and stopped, six weeks.
const OF_STRANGERS: Budget = Budget { burst: 512, gap: Duration::from_secs(2) };
const OF_PEOPLE: Budget = Budget { burst: 2048, gap: Duration::from_secs(1) };
/// Of what is only worth knowing a tenth: on some routes everybody who has two logins gives rise to one.
const OF_NOTICES: Budget = Budget { burst: 256, gap: Duration::from_secs(10) };

/// The trail and what is known of its latest entries; cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    trail: Trail,
    /// Of people who proved who they are.
    people: Rollup,
    /// Of everybody else: kept apart, so that strangers, of whom there may be any number, cannot crowd a person's denial out.
    strangers: Rollup,
    /// Of what refused nobody: apart from both, so that it crowds no denial out.
    notices: Rollup,
    sessions: Sample,
    /// Keyed at random: nobody outside can choose callers that are taken for one another.
    kinds: RandomState,
}

impl Ledger {
    pub fn new(trail: Trail) -> Self {
        let (people, strangers) = (Rollup::new(OF_PEOPLE), Rollup::new(OF_STRANGERS));
        let (notices, sessions, kinds) = (Rollup::new(OF_NOTICES), Sample::default(), RandomState::new());
        Self(Arc::new(Inner { trail, people, strangers, notices, sessions, kinds }))
    }

    pub fn trail(&self) -> &Trail {
        &self.0.trail
    }

    /// Writes down what is about to be done. With `Ok` it is durable.
    ///
    /// # Errors
    /// [`Unavailable`]: it is not, and must not be done.
    pub async fn attempt(&self, entry: &Entry<'_>) -> Result<Attempt, Unavailable> {
        // Of a task that is cancelled while it waits, the trail itself says that nothing was sent.
        self.0.trail.commit(Kind::Attempt(entry.id), Event::Attempt, entry.body()).await?;
        Ok(Attempt { ledger: self.clone(), id: entry.id, is_open: true, late: None })
    }

    /// The same for what is done whether it is durable in time or not: see [`Attempt::is_late`].
    ///
    /// # Errors
    /// [`Unavailable`]: it is not written down at all.
    pub async fn attempt_or_late(&self, entry: &Entry<'_>) -> Result<Attempt, Unavailable> {
        let late = self.0.trail.commit_or_late(Kind::Attempt(entry.id), Event::Attempt, entry.body()).await?;
        Ok(Attempt { ledger: self.clone(), id: entry.id, is_open: true, late })
    }

    /// Writes down a refusal: the first of a kind now, what repeats it as a count. `entry` is asked only when its words
    /// are needed. `is_person`: who is refused has proved who they are.
    ///
    /// # Errors
    /// [`Unavailable`]: it is the first of its kind and not durable.
    pub async fn denial(
        &self,
        caller: &(impl Hash + Sync),
        kind: &(impl Hash + Sync),
        is_person: bool,
        code: &'static str,
        entry: impl FnOnce() -> (Event, Vec<u8>) + Send,
    ) -> Result<(), Unavailable> {
        let (caller, now) = (self.0.kinds.hash_one(caller), Instant::now());
        let kind = self.0.kinds.hash_one((caller, kind));
        let denials = if is_person { &self.0.people } else { &self.0.strangers };
        match denials.note(caller, kind, now) {
            Noted::First => {
                let (event, body) = entry();
                let durable = self.0.trail.commit(Kind::Other, event, body.clone()).await;
                if durable.is_err() {
                    denials.failed(kind, body);
                }
                durable
            }
            Noted::Second => {
                denials.keep(kind, entry().1);
                Ok(())
            }
            Noted::Repeat => Ok(()),
            // Of a stranger's address there is no name to tell.
            Noted::Swarm if is_person => {
                denials.crowd_of(caller, code, now, || entry().1);
                Ok(())
            }
            Noted::Crowded | Noted::Swarm => {
                denials.crowd(code, now);
                Ok(())
            }
        }
    }

    /// Sends what somebody did on its way: the first of a kind, and what repeats it as a count. Nobody waits for it, and
    /// without room it is dropped. `what` names it where there are too many to be told apart.
    pub fn notice(
        &self,
        caller: &impl Hash,
        kind: &impl Hash,
        what: &'static str,
        entry: impl FnOnce() -> (Event, Vec<u8>),
    ) {
        let (caller, now) = (self.0.kinds.hash_one(caller), Instant::now());
        let kind = self.0.kinds.hash_one((caller, kind));
        match self.0.notices.note(caller, kind, now) {
            Noted::First => {
                let (event, body) = entry();
                self.0.trail.post(Kind::Other, event, body);
            }
            Noted::Second => self.0.notices.keep(kind, entry().1),
            Noted::Repeat => {}
            Noted::Swarm => self.0.notices.crowd_of(caller, what, now, || entry().1),
            Noted::Crowded => self.0.notices.crowd(what, now),
        }
    }

    /// Writes down a change of the rollout. With `Ok` it is durable.
    ///
    /// # Errors
    /// [`Unavailable`]: it is not, within `patience`.
    pub async fn change(&self, entry: &Entry<'_>, patience: Duration) -> Result<(), Unavailable> {
        self.0.trail.commit_within(patience, Kind::Other, entry.event, entry.body()).await
    }

    /// Whether a session has not been written down lately.
    pub fn is_news(&self, session: &impl Hash) -> bool {
        self.0.sessions.is_news(self.0.kinds.hash_one(session), Instant::now())
    }

    /// Sends an entry on its way.
    pub fn post(&self, entry: &Entry<'_>) {
        self.0.trail.post(Kind::Other, entry.event, entry.body());
    }

    /// Writes down the repeats whose minute is over; all of them at the end.
    pub fn roll_up(&self, is_end: bool) {
        let (now, time) = (Instant::now(), clock::unix_micros());
        let due = |rollup: &Rollup| rollup.due((!is_end).then_some(now), time);
        for due in due(&self.0.notices) {
            match due {
                Due::Repeats(body) => self.0.trail.post(Kind::Other, Event::System, body),
                Due::Crowd(crowd) => {
                    let mut entry = Entry::new(Id::random(), time, Event::System);
                    entry.action = Some(Text(crowd.code));
                    entry.reason = Some(Text("more than can be told apart"));
                    entry.actor = crowd.who.as_ref().map(Who::actor);
                    entry.count = Some(crowd.count);
                    self.post(&entry);
                }
            }
        }
        for due in due(&self.0.people).into_iter().chain(due(&self.0.strangers)) {
            match due {
                Due::Repeats(body) => self.0.trail.post(Kind::Other, Event::Denied, body),
                Due::Crowd(crowd) => {
                    let mut entry = Entry::new(Id::random(), time, Event::Denied);
                    entry.decision = Some("deny");
                    entry.code = Some(crowd.code);
                    entry.reason = Some(Text("more refusals than can be told apart"));
                    entry.actor = crowd.who.as_ref().map(Who::actor);
                    entry.count = Some(crowd.count);
                    self.post(&entry);
                }
            }
        }
    }

    /// Writes what is left and ends the trail.
    pub fn finish(&self, limit: Duration) {
        self.roll_up(true);
        self.0.trail.finish(limit);
    }
}

/// An action that is written down and may be under way.
#[derive(Debug)]
pub struct Attempt {
    ledger: Ledger,
    id: Id,
    is_open: bool,
    late: Option<Late>,
}

impl Attempt {
    /// Whether it was under way before it was durable.
    pub const fn is_late(&self) -> bool {
        self.late.is_some()
    }

    /// Writes down what became of it; `entry` is given its event and its reference.
    pub fn close(mut self, entry: Entry<'_>) {
        self.end(entry);
    }

    fn end(&mut self, mut entry: Entry<'_>) {
        self.is_open = false;
        // Nothing to refer to.
        if self.late.as_mut().is_some_and(Late::is_lost) {
            return;
        }
        entry.event = Event::Outcome;
        entry.attempt = Some(self.id);
        self.ledger.0.trail.post(Kind::Outcome(self.id), Event::Outcome, entry.body());
    }
}

/// Nobody was left to say what became of it.
impl Drop for Attempt {
    fn drop(&mut self) {
        if self.is_open {
            let mut entry = Entry::new(Id::random(), clock::unix_micros(), Event::Outcome);
            entry.reason = Some(Text("unknown"));
            self.end(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::entry::{Actor, Entry, Event, Id, Text};
    use super::super::testing::{Bed, denied};
    use super::super::trail::Trail;
    use super::Ledger;

    /// Who tries every door is counted, and the count says who it was.
    #[tokio::test]
    async fn a_person_with_more_kinds_of_refusals_than_are_told_apart_is_named_by_the_count() {
        let bed = Bed::new();
        let ledger = Ledger::new(Trail::open(bed.options(16 << 20, 3)).unwrap());
        let refused = || {
            let mut entry = Entry::new(Id::random(), 1, Event::Denied);
            entry.actor = Some(Actor { subject: Some(Text("user_1")), session: Some(Text("s")), ..Actor::default() });
            (Event::Denied, entry.body())
        };
        for door in 0..200 {
            ledger.denial(&"user_1", &door, true, "forbidden", refused).await.unwrap();
        }
        for door in 0..200 {
            ledger.denial(&"192.0.2.1", &door, false, "no_credential", || (Event::Denied, denied())).await.unwrap();
        }
        ledger.finish(Duration::from_secs(20));
        let text = String::from_utf8(bed.bytes()).unwrap();
        let counts: Vec<&str> = text.lines().filter(|line| line.contains("more refusals than")).collect();
        let [one, other] = counts.as_slice() else { panic!("{counts:?}") };
        let (person, stranger) = if one.contains("forbidden") { (one, other) } else { (other, one) };
        assert!(person.contains(r#""actor":{"subject":"user_1"},"count":72}"#), "{person}");
        assert!(!stranger.contains("actor") && stranger.contains(r#""count":72}"#), "{stranger}");
    }

    /// On a route for one login everybody who has both gives rise to a notice.
    #[tokio::test]
    async fn no_crowd_of_notices_takes_a_denials_place() {
        let bed = Bed::new();
        let ledger = Ledger::new(Trail::open(bed.options(16 << 20, 3)).unwrap());
        for person in 0..5_000 {
            ledger.notice(&person, &"route", "shadow.widening", || (Event::System, denied()));
        }
        ledger.denial(&"victim", &"route", true, "forbidden", || (Event::Denied, denied())).await.unwrap();
        assert_eq!(bed.chain().events("denied"), 1 + 256, "the first, and what was noticed");
        ledger.finish(Duration::from_secs(20));
        assert!(bed.chain().actions().contains(&"shadow.widening"), "the rest is counted");
    }
}
