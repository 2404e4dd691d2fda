//! What unknown tokens cost, fairly: who sends bad ones soon pays for them alone.
//!
//! Checking a token that was never seen costs a thousand times what a known one costs, and anybody can make tokens up.
//! So each address has a budget of checks that failed, and all together have another. Over its budget, an address has its
//! unknown tokens answered with 503 unchecked; tokens that were verified before go on being accepted. When the budget of
//! all is used up, only addresses with a failure behind them are held back: a flood from many does not lock out those
//! that never sent a bad token. How many checks run at once is bounded by the worker threads, since they run on those.
//!
//! Legacy credentials that a server must judge (`introspection`, `forward_auth`) have budgets of their own, smaller ones,
//! since a question costs that server more than a check costs here: of those that the server refused, and of questions
//! under way at once (`turns`). Expired logins of one office hence cost nobody a Clerk token.
//!
//! The address is the derived one (`trusted_proxies`). Behind a balancer that is not trusted all clients share one: then a
//! flood among them lets new tokens of the others through only now and then, until a second after it ends.

mod turns;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::decide::Steps;
use crate::guard;
use crate::policy;
use crate::request::Peer;
use turns::{Turn, Turns};

/// Failed checks: those of one address take half a percent of a core, after 50 ms; those of all less than a tenth of a
/// core. A check takes some 25 µs.
const CHECKS: Budgets =
    Budgets { each: Budget { rate: 200.0, burst: 2000.0 }, all: Budget { rate: 3000.0, burst: 6000.0 } };
/// Questions that a server answered with no.
const QUESTIONS: Budgets =
    Budgets { each: Budget { rate: 20.0, burst: 200.0 }, all: Budget { rate: 200.0, burst: 1000.0 } };
/// After so long without a failure no address has a debt: longer than a burst takes at its rate.
const PAID: Duration = Duration::from_secs(11);
/// Addresses that are remembered; more are not held back, which costs no more than it did.
const MOST: usize = 65_536;

/// Failures of one address, and of all addresses together.
#[derive(Debug, Clone, Copy)]
struct Budgets {
    each: Budget,
    all: Budget,
}

/// Failures per second, and at once.
#[derive(Debug, Clone, Copy)]
struct Budget {
    rate: f64,
    burst: f64,
}

/// Failures that are not paid for yet.
#[derive(Debug, Clone, Copy)]
struct Debt {
    failures: f64,
    at: Instant,
}

impl Debt {
    fn at(self, now: Instant, budget: Budget) -> f64 {
        (self.failures - now.saturating_duration_since(self.at).as_secs_f64() * budget.rate).max(0.0)
    }

    fn charge(&mut self, now: Instant, budget: Budget) {
        // Not above the burst by more than one: a flood is over when it ends.
        *self = Self { failures: (self.at(now, budget) + 1.0).min(budget.burst + 1.0), at: now };
    }
}

#[derive(Debug, Default)]
struct Debts {
    by_address: HashMap<Option<IpAddr>, Debt>,
    all: Option<Debt>,
}

/// Who owes what under one pair of budgets.
#[derive(Debug)]
struct Accounts {
    budgets: Budgets,
    debts: Mutex<Debts>,
    /// Size of the map: while it is empty, and it mostly is, nobody takes the lock.
    debtors: AtomicUsize,
}

impl Accounts {
    fn new(budgets: Budgets) -> Self {
        Self { budgets, debts: Mutex::default(), debtors: AtomicUsize::new(0) }
    }

    fn admits(&self, address: Option<IpAddr>, now: Instant) -> bool {
        if self.debtors.load(Ordering::Relaxed) == 0 {
            return true;
        }
        let mut debts = self.debts();
        if debts.all.is_none_or(|all| now.saturating_duration_since(all.at) > PAID) {
            // Everybody's debt is paid: back to the state in which nobody takes the lock.
            debts.by_address = HashMap::new();
            self.debtors.store(0, Ordering::Relaxed);
            return true;
        }
        let Some(debt) = debts.by_address.get(&address) else { return true };
        let Budgets { each, all } = self.budgets;
        let own = debt.at(now, each);
        let together = debts.all.map_or(0.0, |debt| debt.at(now, all));
        own < each.burst && (own == 0.0 || together < all.burst)
    }

    fn charge(&self, address: Option<IpAddr>, now: Instant) {
        let Budgets { each, all } = self.budgets;
        let mut debts = self.debts();
        let new = Debt { failures: 0.0, at: now };
        debts.all.get_or_insert(new).charge(now, all);
        if !debts.by_address.contains_key(&address) && debts.by_address.len() >= MOST {
            debts.by_address.retain(|_, debt| debt.at(now, each) > 0.0);
        }
        if debts.by_address.len() < MOST || debts.by_address.contains_key(&address) {
            debts.by_address.entry(address).or_insert(new).charge(now, each);
        }
        self.debtors.store(debts.by_address.len(), Ordering::Relaxed);
    }

    fn debts(&self) -> MutexGuard<'_, Debts> {
        self.debts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who may have unknown tokens checked.
#[derive(Debug)]
pub struct Fairness {
    checks: Accounts,
    questions: Accounts,
    turns: Turns,
}

impl Default for Fairness {
    fn default() -> Self {
        Self { checks: Accounts::new(CHECKS), questions: Accounts::new(QUESTIONS), turns: Turns::default() }
    }
}

/// Leave to ask a server about a client's unknown credentials; to be held until it has answered.
#[derive(Debug)]
pub(super) struct Leave<'a> {
    fairness: &'a Fairness,
    address: Option<IpAddr>,
    _turn: Turn<'a>,
}

impl Leave<'_> {
    /// The server answered, and refused so many.
    pub(super) fn refused(self, refusals: usize, now: Instant) {
        for _ in 0..refusals {
            self.fairness.questions.charge(self.address, now);
        }
    }
}

impl Fairness {
    /// Whether unknown tokens of this client are checked now.
    pub(super) fn admits(&self, client: Peer, now: Instant) -> bool {
        self.checks.admits(key(client), now)
    }

    /// A check failed.
    pub(super) fn failed(&self, client: Peer, now: Instant) {
        self.checks.charge(key(client), now);
    }

    /// Whether a server is asked about unknown credentials of this client now. Waits while as many questions of its
    /// address are under way as may be, for at most 2 s.
    pub(super) async fn may_ask(&self, client: Peer, now: Instant) -> Option<Leave<'_>> {
        let address = key(client);
        if !self.questions.admits(address, now) {
            return None;
        }
        let turn = self.turns.take(address).await?;
        Some(Leave { fairness: self, address, _turn: turn })
    }
}

/// All clients of a unix socket are one.
fn key(client: Peer) -> Option<IpAddr> {
    match client {
        Peer::Ip(address) => Some(guard::subscriber(address)),
        Peer::Unix => None,
    }
}

/// Follows a decision for the one thing that has a price.
#[derive(Debug, Default)]
pub(super) struct Spent {
    pub(super) failed: bool,
}

impl policy::Trace for Spent {
    fn note(&mut self, _: &'static str, _: policy::Tri, _: impl FnOnce() -> String) {}
}

impl Steps for Spent {
    fn step(&mut self, _: &'static str, _: &'static str, _: impl FnOnce() -> String) {}

    fn failed_check(&mut self) {
        self.failed = true;
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{CHECKS, Fairness, MOST, QUESTIONS};
    use crate::request::Peer;

    fn peer(text: &str) -> Peer {
        Peer::Ip(text.parse().unwrap())
    }

    #[test]
    fn a_flood_is_its_senders_own_trouble_and_soon_forgotten() {
        let (fairness, now) = (Fairness::default(), Instant::now());
        let (flood, other) = (peer("192.0.2.1"), peer("192.0.2.2"));
        for _ in 0..CHECKS.each.burst as usize {
            assert!(fairness.admits(flood, now));
            fairness.failed(flood, now);
        }
        assert!(!fairness.admits(flood, now));
        assert!(fairness.admits(other, now));
        for _ in 0..10_000 {
            fairness.failed(flood, now);
        }
        assert!(fairness.admits(flood, now + Duration::from_secs(1)), "a second later there is some budget again");
        assert!(fairness.admits(other, now + Duration::from_secs(12)));
        assert!(fairness.checks.debts().by_address.is_empty(), "and nothing is left of it");
    }

    #[test]
    fn one_subscriber_of_ipv6_has_one_budget() {
        let (fairness, now) = (Fairness::default(), Instant::now());
        for index in 0..CHECKS.each.burst as u32 {
            fairness.failed(peer(&format!("2001:db8:0:1::{index:x}")), now);
        }
        assert!(!fairness.admits(peer("2001:db8:0:1:ffff::"), now));
        assert!(fairness.admits(peer("2001:db8:0:2::"), now));
    }

    #[test]
    fn a_flood_from_many_holds_back_only_those_who_took_part() {
        let (fairness, now) = (Fairness::default(), Instant::now());
        let bots: Vec<Peer> = (0..100).map(|index| peer(&format!("198.51.100.{index}"))).collect();
        for _ in 0..CHECKS.all.burst as usize / bots.len() {
            bots.iter().for_each(|bot| fairness.failed(*bot, now));
        }
        assert!(bots.iter().all(|bot| !fairness.admits(*bot, now)), "each is far below its own budget");
        assert!(fairness.admits(peer("203.0.113.1"), now));
    }

    #[test]
    fn memory_is_bounded() {
        let (fairness, now) = (Fairness::default(), Instant::now());
        for index in 0..MOST as u32 + 1000 {
            fairness.failed(Peer::Ip(std::net::Ipv4Addr::from(index).into()), now);
        }
        assert_eq!(fairness.checks.debts().by_address.len(), MOST);
        fairness.failed(peer("203.0.113.1"), now + Duration::from_secs(60));
        assert_eq!(fairness.checks.debts().by_address.len(), 1, "those who have paid are forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn questions_that_end_in_no_are_paid_for_apart_from_checks() {
        let (fairness, now) = (Fairness::default(), Instant::now());
        let (flood, other) = (peer("192.0.2.1"), peer("192.0.2.2"));
        for _ in 0..QUESTIONS.each.burst as usize {
            fairness.may_ask(flood, now).await.unwrap().refused(1, now);
        }
        assert!(fairness.may_ask(flood, now).await.is_none());
        assert!(fairness.may_ask(other, now).await.is_some());
        assert!(fairness.admits(flood, now), "its signatures are checked");
        assert!(fairness.may_ask(flood, now + Duration::from_secs(1)).await.is_some());
        for _ in 0..10_000 {
            fairness.may_ask(other, now).await.unwrap().refused(0, now);
        }
        assert!(fairness.may_ask(other, now).await.is_some(), "a good credential costs nothing");
        for _ in 0..CHECKS.each.burst as usize {
            fairness.failed(other, now);
        }
        assert!(!fairness.admits(other, now));
    }
}
