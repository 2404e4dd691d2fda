//! whichever call of the disk fails, and however: nothing is acknowledged that is not there, and nothing is missing
//! between what is.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::entry::Id;
use super::testing::{Bed, Chain, Desk, Faulty, Wrong};

const CALLS: usize = 200;

#[test]
fn whichever_write_fails_nothing_is_acknowledged_that_is_not_there() {
    for wrong in [Wrong::Short, Wrong::Interrupted, Wrong::Io, Wrong::Space] {
        for nth in 1..=CALLS {
            fail(&format!("write {nth}: {wrong:?}"), |disk| disk.at_write(nth, wrong));
        }
    }
}

#[test]
fn whichever_sync_fails_nothing_is_acknowledged_that_is_not_there() {
    for wrong in [Wrong::Interrupted, Wrong::Io, Wrong::Space] {
        for nth in 1..=CALLS {
            fail(&format!("sync {nth}: {wrong:?}"), |disk| disk.at_sync(nth, wrong));
        }
    }
}

#[test]
fn a_second_fault_while_the_first_is_mended_changes_nothing() {
    for between in 1..=12 {
        for wrong in [Wrong::Io, Wrong::Space] {
            fail(&format!("then {between}: {wrong:?}"), |disk| {
                disk.at_write(20, Wrong::Io);
                disk.at_sync(20 + between, wrong);
            });
            fail(&format!("and then {between}: {wrong:?}"), |disk| {
                disk.at_sync(20, Wrong::Io);
                disk.at_write(20 + between, wrong);
            });
        }
    }
}

fn fail(name: &str, plan: impl Fn(&Faulty)) {
    let bed = Bed::new();
    let disk = bed.disk();
    plan(&disk);
    // Small enough that seals, new segments and their checkpoints are among the calls that fail.
    let options = || bed.options(8 << 10, 1000);
    let mut desk = match Desk::open(Arc::new(disk.clone()), options()) {
        Ok(desk) => desk,
        // A start that fails says why, and the next one works.
        Err(sentence) => {
            assert!(disk.was_hit() && sentence.contains(": "), "{name}: {sentence}");
            Desk::open(Arc::new(disk.clone()), options()).unwrap()
        }
    };
    let mut acknowledged = HashSet::new();
    let (mut rest, mut turns) = (5, 0);
    while rest > 0 {
        turns += 1;
        assert!(turns < 2 * CALLS, "{name}: the fault never came");
        let durable = desk.commit(1 + turns % 3);
        // At once, whatever comes later; that it is in its place is looked at once, below.
        let older = bed.segments();
        let there: String = older.iter().rev().take(2).map(|path| std::fs::read_to_string(path).unwrap()).collect();
        for id in &durable {
            assert!(there.contains(&id.to_string()), "{name}: {id} was acknowledged and is not there");
        }
        acknowledged.extend(durable);
        if !desk.is_open() {
            // Closed until the next try, and nobody gets in.
            assert!(desk.commit(1).is_empty(), "{name}");
            desk.wait(Duration::from_millis(500));
            desk.turn();
        }
        if disk.was_hit() {
            rest -= 1;
        }
    }
    assert!(desk.is_open(), "{name}");
    drop(desk);
    holds(&bed, &acknowledged, name);
    drop(Desk::open(Arc::new(bed.disk()), options()).unwrap());
    let chain = holds(&bed, &acknowledged, name);
    assert!(chain.open_attempts().is_empty() && chain.find("trail.broken").is_none(), "{name}");
    assert!(chain.outcomes.values().all(|count| *count == 1), "{name}: each attempt has one outcome");
    assert!(!bed.files().contains(&"audit.jsonl.new".to_owned()), "{name}");
}

fn holds(bed: &Bed, acknowledged: &HashSet<Id>, name: &str) -> Chain {
    let chain = Chain::read(&bed.segments()).unwrap_or_else(|problem| panic!("{name}: {problem}"));
    let missing: Vec<_> = acknowledged.iter().filter(|id| !chain.attempts.contains_key(*id)).collect();
    assert!(missing.is_empty(), "{name}: {missing:?}");
    chain
}
