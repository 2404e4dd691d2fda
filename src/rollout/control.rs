//! The rollout of this process: one record that all threads read, and one way to change it.
//!
//! A change is written down, then made durable, then shown, in this order and one at a time; whoever reads pays one
//! atomic load. What cannot be read or proven at start never moves anybody up: the rollout is frozen, and says why.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard as Loaded};

use super::arm::Assignment;
use super::cookie::ArmCookies;
use super::plan::Plan;
use super::state::{By, Dealing, Limits, Move, Record, Refusal, Source, Terms};
use super::store::{self, Found, KEY_BYTES, Store, Unsaved};
use super::{Algorithm, Bucketing, Guard, Percent, Side};

/// What requests go by.
#[derive(Debug)]
pub struct Current {
    pub record: Record,
    /// Deals people as the record says.
    pub assignment: Assignment,
    pub source: Source,
    pub limits: Limits,
    /// How the config wants people dealt, when that is not how they are: an edit re-deals nobody.
    pub pending: Option<Dealing>,
    /// Why the rollout was found frozen at start.
    pub problem: Option<Arc<str>>,
    /// Why a restart could forget what serves.
    pub unkept: Option<Arc<str>>,
    /// Signs the cookie of a login; `None` without a key.
    pub cookies: Option<Arc<ArmCookies>>,
    /// Requests since this record: legacy, Clerk.
    counts: Arc<[AtomicU64; 2]>,
}

impl Current {
    /// Counts one request that was decided in this arm.
    pub fn count(&self, arm: Side) {
        let [legacy, clerk] = &*self.counts;
        match arm {
            Side::Legacy => legacy,
            Side::Clerk => clerk,
        }
        .fetch_add(1, Ordering::Relaxed);
    }

    /// The shares of legacy and Clerk among the requests since the last change; `None` before the first one.
    #[expect(clippy::cast_precision_loss, reason = "a share for a gauge")]
    pub fn shares(&self) -> Option<(f64, f64)> {
        let [legacy, clerk] = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed) as f64);
        let all = legacy + clerk;
        (all > 0.0).then(|| (legacy / all, clerk / all))
    }

    /// One sentence about dealings that wait for a reshuffle.
    pub fn pending_detail(&self) -> Option<String> {
        let pending = self.pending.as_ref()?;
        let used = &self.record.dealing;
        let mut parts = Vec::new();
        if pending.algorithm != used.algorithm {
            parts.push(format!("algorithm {}, not {}", used.algorithm.as_str(), pending.algorithm.as_str()));
        }
        if pending.unit != used.unit {
            parts.push(format!("unit {}, not {}", used.unit.as_str(), pending.unit.as_str()));
        }
        if pending.salt != used.salt {
            parts.push("the former salt".to_owned());
        }
        if pending.key_id != used.key_id && pending.algorithm == used.algorithm {
            parts.push("another key_file".to_owned());
        }
        Some(format!(
            "people are still dealt by {}: an edit moves nobody; freeze, then `crossgate rollout set PERCENT --reshuffle`",
            parts.join(", ")
        ))
    }
}

/// A change that is about to take effect.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// `rollout.set`, `rollout.freeze` …; `rollout.start` for the first record of all.
    pub action: &'static str,
    /// `None` at the first start.
    pub old: Option<&'a Record>,
    pub new: &'a Record,
    pub reason: Option<&'a str>,
    /// [`Move::is_brake`].
    pub is_brake: bool,
}

/// Whoever writes changes down.
pub trait Observer: Send + Sync + std::fmt::Debug {
    /// Called before the change takes effect, which it only does when this is `Ok`. May block.
    ///
    /// # Errors
    /// Why it could not be recorded.
    fn record(&self, change: &Change<'_>) -> Result<(), String>;

    /// What was recorded did not happen after all: it could not be made durable.
    fn undone(&self, change: &Change<'_>, why: &str);
}

/// What the caller believes the record to be (`If-Match`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    pub generation: u64,
    /// `None`: any change within the generation will do.
    pub revision: Option<u64>,
}

/// The handle that gate, admin and reload share.
#[derive(Debug)]
pub struct Rollout {
    current: ArcSwap<Current>,
    keeper: Mutex<Keeper>,
}

/// A change that is not durable.
enum Unkept {
    /// Nor made.
    Undone(Refusal),
    Serves(Refusal),
}

impl Unkept {
    const fn refusal(&self) -> &Refusal {
        match self {
            Self::Undone(refusal) | Self::Serves(refusal) => refusal,
        }
    }
}

/// What a change needs, in the hands of one at a time.
struct Keeper {
    plan: Plan,
    terms: Terms,
    store: Result<Store, String>,
    /// Of `key_file`, read at start.
    key: Result<[u8; KEY_BYTES], String>,
    cookies: Option<Arc<ArmCookies>>,
    observer: Box<dyn Observer>,
    /// Why the last step towards the file's percentage was not made; said once.
    stuck: Option<String>,
}

impl Rollout {
    /// Takes up the record that was kept, or makes the first one. Never fails: what cannot be read, proven or kept
    /// freezes the rollout at the last percentage that can be proven, else at 0. Blocks on the disk.
    pub fn open(plan: &Plan, state_dir: &Path, observer: Box<dyn Observer>, now: i64) -> Self {
        // Also for algorithms without a secret: the config may ask for one later, and it must be no other then.
        let key = store::secret(&plan.key_file);
        let terms = terms(plan, &key);
        let cookies = cookies(&key);
        if let (Err(why), Algorithm::Unleash | Algorithm::Flagd2) = (&key, plan.algorithm) {
            // Where people are dealt by the key, its loss freezes the rollout and says so.
            tracing::error!(
                why,
                "no arm cookie can be signed: whoever signs in as nobody yet goes to the legacy login"
            );
        }
        let store = Store::open(state_dir);
        let keeper = Keeper { plan: plan.clone(), terms, store, key, cookies, observer, stuck: None };
        let (record, problem) = keeper.begin(now);
        if let Some(problem) = &problem {
            tracing::error!(problem, percent = %record.assigned, "the rollout is frozen");
        }
        let held = problem.is_some();
        let current = keeper.current(record, problem.map(Arc::from), None, Arc::default());
        let rollout = Self { current: ArcSwap::from_pointee(current), keeper: Mutex::new(keeper) };
        // What the file says by now; it raises nothing while frozen, and must not hide what is wrong.
        if !held {
            rollout.follow(plan, now);
        }
        rollout
    }

    /// What requests go by: one atomic load.
    pub fn current(&self) -> Loaded<Arc<Current>> {
        self.current.load()
    }

    /// Makes a move. Blocks on the trail and on the disk; returns once the change is durable.
    ///
    /// # Errors
    /// Why it was not made.
    pub fn apply(
        &self,
        asked: Move,
        by: &By,
        reason: Option<&str>,
        expected: Option<Expected>,
    ) -> Result<Arc<Current>, Refusal> {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        self.change(&mut keeper, asked, by, reason, expected)
    }

    fn change(
        &self,
        keeper: &mut Keeper,
        asked: Move,
        by: &By,
        reason: Option<&str>,
        expected: Option<Expected>,
    ) -> Result<Arc<Current>, Refusal> {
        let now = self.current.load_full();
        let old = &now.record;
        let is_as_expected = expected.is_none_or(|expected| {
            expected.generation == old.generation && expected.revision.is_none_or(|revision| revision == old.revision)
        });
        if !is_as_expected {
            return Err(Refusal::Generation(old.generation));
        }
        let new = old.after(asked, &keeper.terms, by)?;
        if new == *old {
            return Ok(now);
        }
        if let Some(why) = keeper.cannot_deal(&new) {
            return Err(Refusal::Key(why));
        }
        let change = Change { action: asked.as_str(), old: Some(old), new: &new, reason, is_brake: asked.is_brake() };
        keeper.observer.record(&change).map_err(Refusal::Unrecorded)?;
        if now.problem.is_some()
            && let Ok(store) = &keeper.store
        {
            store.put_aside();
        }
        let kept = keeper.keep(&change);
        // What is in its place already a restart would find: then it also serves. So does a brake that could not be
        // kept: a full disk must not hold people where an operator has just found them harmed.
        if let Err(Unkept::Undone(refusal)) = kept {
            return Err(refusal);
        }
        let unkept = kept.as_ref().err().map(|why| Arc::from(why.refusal().to_string()));
        tracing::info!(
            action = change.action,
            by = &*new.changed_by,
            state = new.guard.as_str(),
            percent = %new.effective(),
            generation = new.generation,
            "the rollout has changed"
        );
        // Whoever resumes or reshuffles has seen what was wrong.
        let problem = now.problem.clone().filter(|_| new.generation == old.generation);
        let current = Arc::new(keeper.current(new, problem, unkept, Arc::default()));
        self.current.store(Arc::clone(&current));
        kept.map(|()| current).map_err(|why| why.refusal().clone())
    }

    /// Takes up a new config: lists and limits at once, its percentage as far as `source` and limits let it, and how
    /// people are dealt not at all.
    pub fn configure(&self, plan: &Plan, now: i64) {
        {
            let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
            keeper.terms = terms(plan, &keeper.key);
            keeper.plan = plan.clone();
            keeper.stuck = None;
            let was = self.current.load_full();
            let current =
                keeper.current(was.record.clone(), was.problem.clone(), was.unkept.clone(), Arc::clone(&was.counts));
            if let Some(detail) = current.pending_detail().filter(|_| current.pending != was.pending) {
                tracing::warn!(detail, "rollout.algorithm, unit or salt changed");
            }
            self.current.store(Arc::new(current));
        }
        self.follow(plan, now);
    }

    fn follow(&self, plan: &Plan, now: i64) {
        if plan.source == Source::File {
            self.step(Move::File(plan.percent), now);
        }
    }

    /// The next step towards the file's percentage, when its time has come. Called every second or so; blocks only
    /// when there is one.
    pub fn advance(&self, now: i64) {
        if self.current.load().unkept.is_some() {
            self.keep_again();
        }
        let is_due = {
            let current = self.current.load();
            let record = &current.record;
            current.source == Source::File && record.guard == Guard::Normal && record.desired > record.assigned
        };
        if is_due {
            self.step(Move::Advance, now);
        }
    }

    /// What serves and could not be kept: tried until it is.
    fn keep_again(&self) {
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let was = self.current.load_full();
        let Ok(store) = &keeper.store else { return };
        if was.unkept.is_none() || store.save(&was.record).is_err() {
            return;
        }
        tracing::info!("the state of the rollout is kept again");
        self.current.store(Arc::new(keeper.current(
            was.record.clone(),
            was.problem.clone(),
            None,
            Arc::clone(&was.counts),
        )));
    }

    fn step(&self, asked: Move, now: i64) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let by = By { actor: Arc::from("config"), at: now };
        match self.change(&mut keeper, asked, &by, None, None) {
            Ok(_) => keeper.stuck = None,
            Err(refusal) => {
                let why = refusal.to_string();
                if keeper.stuck.as_ref() != Some(&why) {
                    tracing::warn!(why, "the rollout does not follow the config");
                    keeper.stuck = Some(why);
                }
            }
        }
    }
}

fn terms(plan: &Plan, key: &Result<[u8; KEY_BYTES], String>) -> Terms {
    let key_id = match (plan.algorithm, key) {
        (Algorithm::Crossgate1, Ok(key)) => store::key_id(key),
        (Algorithm::Crossgate1, Err(_)) | (Algorithm::Unleash | Algorithm::Flagd2, _) => String::new(),
    };
    let salt = Arc::clone(&plan.salt);
    let dealing = Dealing { algorithm: plan.algorithm, unit: plan.unit, salt, key_id: key_id.into() };
    Terms { source: plan.source, limits: plan.limits, dealing }
}

impl Keeper {
    /// The record to start with, and what is wrong, if anything is.
    fn begin(&self, now: i64) -> (Record, Option<String>) {
        let found = match &self.store {
            Ok(store) => store.load(),
            Err(why) => Found::Broken(None, why.clone()),
        };
        let (mut record, mut problem) = match found {
            Found::Good(record) => (record, None),
            Found::Broken(Some(last), why) => (last, Some(why)),
            Found::Broken(None, why) => (self.first(Percent::ZERO, now), Some(why)),
            Found::Nothing => self.first_start(now),
        };
        if let Some(why) = self.cannot_deal(&record) {
            // Whom the old key put where can no longer be told. Nobody is moved up; the record on the disk is left as
            // it is, so that putting the key back brings everything back.
            record.assigned = Percent::ZERO;
            problem.get_or_insert(why);
        }
        if problem.is_some() && record.guard == Guard::Normal {
            record.guard = Guard::Frozen;
        }
        record.rollout = Arc::clone(&self.plan.name);
        // A clock that was ahead must not keep the rollout from rising for as long as it was.
        record.dwell_since = record.dwell_since.min(now);
        (record, problem)
    }

    fn first(&self, percent: Percent, now: i64) -> Record {
        Record {
            rollout: Arc::clone(&self.plan.name),
            generation: 1,
            revision: 1,
            guard: Guard::Normal,
            desired: percent,
            assigned: percent,
            dealing: self.terms.dealing.clone(),
            changed_at: now,
            changed_by: Arc::from("config"),
            dwell_since: now,
        }
    }

    fn first_start(&self, now: i64) -> (Record, Option<String>) {
        let first = self.first(self.plan.percent, now);
        let change = Change { action: "rollout.start", old: None, new: &first, reason: None, is_brake: false };
        let begun = match (&self.key, self.plan.algorithm) {
            (Err(why), Algorithm::Crossgate1) => Err(why.clone()),
            _ => {
                self.observer.record(&change).and_then(|()| self.keep(&change).map_err(|why| why.refusal().to_string()))
            }
        };
        match begun {
            Ok(()) => (first, None),
            Err(why) => (self.first(Percent::ZERO, now), Some(why)),
        }
    }

    /// Why people cannot be dealt as the record says.
    fn cannot_deal(&self, record: &Record) -> Option<String> {
        let dealt = &record.dealing;
        // Where nobody or everybody is meant, no key is asked; but nobody is dealt anew by none.
        let by_bucket = ![Percent::ZERO, Percent::ALL].contains(&record.assigned) || dealt.key_id.is_empty();
        if dealt.algorithm != Algorithm::Crossgate1 || !by_bucket {
            return None;
        }
        let path = self.plan.key_file.display();
        let key = match &self.key {
            Ok(key) => store::key_id(key),
            Err(why) => return Some(why.clone()),
        };
        (*key != *dealt.key_id).then(|| {
            format!("{path} is not the key by which people were dealt: put that one back and restart, or reshuffle")
        })
    }

    fn keep(&self, change: &Change<'_>) -> Result<(), Unkept> {
        let unsaved = match &self.store {
            Ok(store) => match store.save(change.new) {
                Ok(()) => return Ok(()),
                Err(unsaved) => unsaved,
            },
            Err(why) => Unsaved::Before(std::io::Error::other(why.clone())),
        };
        match unsaved {
            Unsaved::Before(why) if change.is_brake => {
                let told = format!("it serves, but until the state can be written a restart would take it back: {why}");
                Err(Unkept::Serves(Refusal::Storage(told)))
            }
            Unsaved::Before(why) => {
                self.observer.undone(change, &why.to_string());
                Err(Unkept::Undone(Refusal::Storage(why.to_string())))
            }
            Unsaved::Uncertain(why) => {
                let told = format!("it serves, but a power cut could take it back: {why}");
                Err(Unkept::Serves(Refusal::Storage(told)))
            }
        }
    }

    fn current(
        &self,
        record: Record,
        problem: Option<Arc<str>>,
        unkept: Option<Arc<str>>,
        counts: Arc<[AtomicU64; 2]>,
    ) -> Current {
        let dealing = &record.dealing;
        let bucketing = match dealing.algorithm {
            // Without a key nobody is in by bucket: the percentage is 0 or 100 then.
            Algorithm::Crossgate1 => Bucketing::crossgate(&dealing.salt, self.key.as_ref().unwrap_or(&[0; KEY_BYTES])),
            Algorithm::Unleash => Bucketing::unleash(&dealing.salt),
            Algorithm::Flagd2 => Bucketing::flagd(&dealing.salt),
        };
        let assignment = Assignment { unit: dealing.unit, lists: self.plan.lists.clone(), bucketing };
        let pending = (*dealing != self.terms.dealing).then(|| self.terms.dealing.clone());
        Current {
            record,
            assignment,
            source: self.terms.source,
            limits: self.terms.limits,
            pending,
            problem,
            unkept,
            cookies: self.cookies.clone(),
            counts,
        }
    }
}

fn cookies(key: &Result<[u8; KEY_BYTES], String>) -> Option<Arc<ArmCookies>> {
    key.as_ref().ok().map(|key| Arc::new(ArmCookies::new(key)))
}

/// What would be in force if the product were started on this state now. Reads only: for `explain`.
pub fn peek(plan: &Plan, state_dir: &Path, now: i64) -> Current {
    let missing = |path: &Path| format!("{} does not exist yet: it is made at the first start", path.display());
    let proof = state_dir.join(store::KEY_FILE);
    let has_state = proof.exists();
    let key = if plan.key_file.exists() { store::secret(&plan.key_file) } else { Err(missing(&plan.key_file)) };
    let store = if has_state { Store::open(state_dir) } else { Err(missing(&proof)) };
    let terms = terms(plan, &key);
    let cookies = cookies(&key);
    let keeper = Keeper { plan: plan.clone(), terms, store, key, cookies, observer: Box::new(Nobody), stuck: None };
    let is_first = match &keeper.store {
        Ok(store) => matches!(store.load(), Found::Nothing),
        Err(_) => !has_state,
    };
    let (record, problem) = if is_first { (keeper.first(plan.percent, now), None) } else { keeper.begin(now) };
    let problem = problem.or_else(|| keeper.cannot_deal(&record));
    keeper.current(record, problem.map(Arc::from), None, Arc::default())
}

/// What the config alone says, whatever was kept and without the key: for policy tests, which come out alike everywhere. Where
/// people are dealt by the key, the buckets are nobody's.
pub fn configured(plan: &Plan, now: i64) -> Current {
    let unread = || "not read for a test".to_owned();
    let key = Err(unread());
    let terms = terms(plan, &key);
    let observer = Box::new(Nobody);
    let keeper = Keeper { plan: plan.clone(), terms, store: Err(unread()), key, cookies: None, observer, stuck: None };
    keeper.current(keeper.first(plan.percent, now), None, None, Arc::default())
}

/// Nothing is changed, so that there is nothing to write down.
#[derive(Debug)]
struct Nobody;

impl Observer for Nobody {
    fn record(&self, _: &Change<'_>) -> Result<(), String> {
        Err("nothing is changed here".to_owned())
    }

    fn undone(&self, _: &Change<'_>, _: &str) {}
}

/// Without the keys.
impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("plan", &self.plan).field("store", &self.store).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
