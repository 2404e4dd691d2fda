//! What is beyond telling apart: counted by code, and where one person is the cause, by that person.
//!
//! Owns how many of those there are at a time, and what is remembered of the person. A caller who finds more kinds of
//! refusals than have a place each is worth a name: it is what trying every door looks like.

use std::collections::HashMap;
use std::time::Instant;

use serde::Deserialize;

use super::entry::{Actor, Text};
use super::rollup::WINDOW;

/// Crowds of one caller each, at a time; of more callers the rest is counted by code alone.
const MAX_NAMED: usize = 512;

/// Whose refusals were too many.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Who {
    subject: Option<String>,
    clerk_user: Option<String>,
    legacy_user: Option<String>,
    impersonator: Option<String>,
}

impl Who {
    /// That of a line's body.
    pub(super) fn of(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Line {
            actor: Option<Who>,
        }
        serde_json::from_slice::<Line>(&[b"{", body].concat()).ok()?.actor
    }

    /// As it stands in an entry. What was too long was cut when it was first written, and is not cut again.
    pub(super) fn actor(&self) -> Actor<'_> {
        Actor {
            subject: self.subject.as_deref().map(Text),
            clerk_user: self.clerk_user.as_deref().map(Text),
            legacy_user: self.legacy_user.as_deref().map(Text),
            impersonator: self.impersonator.as_deref().map(Text),
            ..Actor::default()
        }
    }
}

/// A minute's refusals of one code.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Crowd {
    pub(super) code: &'static str,
    pub(super) count: u64,
    /// None: of more than one, or of nobody in particular.
    pub(super) who: Option<Who>,
}

#[derive(Debug)]
struct Counted {
    ends: Instant,
    count: u64,
    who: Option<Who>,
}

/// Those of the last minute.
#[derive(Debug, Default)]
pub(super) struct Crowds(HashMap<(Option<u64>, &'static str), Counted>);

impl Crowds {
    /// One more, of `caller` where it is one alone. True: whose they are is not known yet, and [`Self::name`] is to tell.
    pub(super) fn count(&mut self, caller: Option<u64>, code: &'static str, now: Instant) -> bool {
        let has_place = self.0.len() < MAX_NAMED || self.0.contains_key(&(caller, code));
        let caller = caller.filter(|_| has_place);
        let fresh = Counted { ends: now + WINDOW, count: 0, who: None };
        let counted = self.0.entry((caller, code)).or_insert(fresh);
        counted.count += 1;
        caller.is_some() && counted.count == 1
    }

    pub(super) fn name(&mut self, caller: u64, code: &'static str, who: Option<Who>) {
        if let Some(counted) = self.0.get_mut(&(Some(caller), code)) {
            counted.who = who;
        }
    }

    /// Takes out what is over.
    pub(super) fn due(&mut self, is_over: impl Fn(Instant) -> bool) -> Vec<Crowd> {
        let over = self.0.extract_if(|_, counted| is_over(counted.ends));
        over.map(|((_, code), Counted { count, who, .. })| Crowd { code, count, who }).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Crowd, Crowds, MAX_NAMED, Who};
    use crate::audit::entry::{Actor, Entry, Event, Id, Text};

    #[test]
    fn who_it_was_is_read_back_as_it_was_written() {
        let mut entry = Entry::new(Id(1), 0, Event::Denied);
        let long = "\u{1f980}".repeat(200);
        entry.actor = Some(Actor { subject: Some(Text(&long)), clerk_user: Some(Text("user_1")), ..Actor::default() });
        let who = Who::of(&entry.body()).unwrap();
        let mut again = Entry::new(Id(1), 0, Event::Denied);
        again.actor = Some(who.actor());
        assert_eq!(again.body(), entry.body());
        assert_eq!(Who::of(&Entry::new(Id(1), 0, Event::Denied).body()), None);
    }

    #[test]
    fn callers_beyond_the_bound_are_counted_together() {
        let (mut crowds, now) = (Crowds::default(), Instant::now());
        for caller in 0..MAX_NAMED as u64 {
            assert!(crowds.count(Some(caller), "forbidden", now));
            crowds.name(caller, "forbidden", Some(Who::default()));
        }
        assert!(!crowds.count(Some(u64::MAX), "forbidden", now));
        assert!(!crowds.count(Some(0), "forbidden", now), "known already");
        let due = crowds.due(|_| true);
        assert_eq!(due.len(), MAX_NAMED + 1);
        assert!(due.contains(&Crowd { code: "forbidden", count: 1, who: None }));
        assert!(due.contains(&Crowd { code: "forbidden", count: 2, who: Some(Who::default()) }));
    }
}
