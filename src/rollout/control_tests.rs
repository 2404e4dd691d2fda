use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Change, Expected, Observer, Rollout};
use crate::rollout::plan::Plan;
use crate::rollout::state::{By, Limits, Move, Refusal, Source};
use crate::rollout::{Algorithm, Guard, Percent, Side, Unit};

#[derive(Debug, Clone, Default)]
struct Book {
    lines: Arc<Mutex<Vec<String>>>,
    closed: Arc<AtomicBool>,
}

impl Observer for Book {
    fn record(&self, change: &Change<'_>) -> Result<(), String> {
        if self.closed.load(Ordering::Relaxed) {
            return Err("the disk is full".to_owned());
        }
        let old = change.old.map_or("none".to_owned(), |old| old.effective().to_string());
        self.lines.lock().unwrap().push(format!("{} {old} {}", change.action, change.new.effective()));
        Ok(())
    }

    fn undone(&self, change: &Change<'_>, _why: &str) {
        self.lines.lock().unwrap().push(format!("undone {}", change.action));
    }
}

fn percent(text: &str) -> Percent {
    text.parse().unwrap()
}

fn plan(folder: &Path, source: Source, at: &str) -> Plan {
    Plan {
        name: "auth".into(),
        source,
        percent: percent(at),
        unit: Unit::Org,
        salt: "s".into(),
        algorithm: Algorithm::Crossgate1,
        key_file: folder.join("bucket.key"),
        limits: Limits { min_dwell: Duration::from_secs(60), ..Limits::default() },
        lists: Default::default(),
        upstreams: Default::default(),
        is_shadowed: true,
    }
}

fn open(plan: &Plan, folder: &Path) -> Rollout {
    Rollout::open(plan, folder, Box::new(Book::default()), 0)
}

fn by(at: i64) -> By {
    By { actor: "ci".into(), at }
}

fn stand(rollout: &Rollout) -> (Guard, String, bool) {
    let current = rollout.current();
    (current.record.guard, current.record.assigned.to_string(), current.problem.is_some())
}

#[test]
fn a_restart_finds_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path(), Source::Api, "10");
    let rollout = open(&plan, folder.path());
    assert_eq!(stand(&rollout), (Guard::Normal, "10".into(), false));
    rollout.apply(Move::Set(percent("30")), &by(60_000), None, None).unwrap();
    rollout.apply(Move::Rollback, &by(60_001), None, None).unwrap();
    let record = rollout.current().record.clone();
    drop(rollout);
    let again = open(&Plan { percent: percent("99"), ..plan }, folder.path());
    assert_eq!(again.current().record.guard, Guard::RolledAuto, "a restart never forgets a trip");
    assert_eq!(again.current().record.assigned, record.assigned, "the config's value is the first start's only");
}

#[test]
fn a_change_that_cannot_be_recorded_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let book = Book::default();
    let plan = plan(folder.path(), Source::Api, "10");
    let rollout = Rollout::open(&plan, folder.path(), Box::new(book.clone()), 0);
    book.closed.store(true, Ordering::Relaxed);
    let refused = rollout.apply(Move::Freeze, &by(1), None, None).unwrap_err();
    assert_eq!(refused, Refusal::Unrecorded("the disk is full".into()));
    assert_eq!(stand(&rollout).0, Guard::Normal);
    assert_eq!(open(&plan, folder.path()).current().record.guard, Guard::Normal, "nor after a restart");
    book.closed.store(false, Ordering::Relaxed);
    rollout.apply(Move::Freeze, &by(1), None, None).unwrap();
    rollout.apply(Move::Freeze, &by(2), None, None).unwrap();
    assert_eq!(*book.lines.lock().unwrap(), ["rollout.start none 10", "rollout.freeze 10 10"], "no change, no entry");
}

#[test]
fn a_change_that_cannot_be_kept_is_not_made_and_said_to_be_undone() {
    let folder = tempfile::tempdir().unwrap();
    let book = Book::default();
    let plan = plan(folder.path(), Source::Api, "10");
    let rollout = Rollout::open(&plan, folder.path(), Box::new(book.clone()), 0);
    // A folder in the place of the temporary file: it can be neither removed nor made.
    fs::create_dir(folder.path().join("rollout.tmp")).unwrap();
    let refused = rollout.apply(Move::Set(percent("0")), &by(1), None, None).unwrap_err();
    assert_eq!(refused.code(), "storage");
    assert_eq!(stand(&rollout), (Guard::Normal, "10".into(), false));
    assert_eq!(book.lines.lock().unwrap().last().unwrap(), "undone rollout.set");
}

/// A full disk must not hold people on a side that harms them; and once there is room, nothing is forgotten.
#[test]
fn a_brake_that_cannot_be_kept_serves_and_is_kept_as_soon_as_that_works() {
    for (brake, guard) in [(Move::Rollback, Guard::RolledAuto), (Move::Freeze, Guard::Frozen)] {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::default();
        let plan = plan(folder.path(), Source::Api, "10");
        let rollout = Rollout::open(&plan, folder.path(), Box::new(book.clone()), 0);
        fs::create_dir(folder.path().join("rollout.tmp")).unwrap();
        let told = rollout.apply(brake, &by(1), None, None).unwrap_err();
        assert!(told.code() == "storage" && told.to_string().contains("it serves"), "{told}");
        assert_eq!(stand(&rollout).0, guard);
        assert!(rollout.current().unkept.is_some());
        assert!(!book.lines.lock().unwrap().last().unwrap().starts_with("undone"));
        rollout.advance(2);
        assert!(rollout.current().unkept.is_some(), "there is still no room");
        assert_eq!(open(&plan, folder.path()).current().record.guard, Guard::Normal, "a restart would forget it");
        fs::remove_dir(folder.path().join("rollout.tmp")).unwrap();
        rollout.advance(3);
        assert!(rollout.current().unkept.is_none());
        assert_eq!(open(&plan, folder.path()).current().record.guard, guard);
    }
}

fn replace(folder: &Path, put: fn(&Path)) {
    let path = folder.join("rollout.json");
    fs::remove_file(&path).unwrap();
    put(&path);
}

fn fifo(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Where the older file came from does not matter: a backup, or somebody who wants a percentage back.
#[test]
fn an_older_valid_file_does_not_undo_a_rollback() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path(), Source::Api, "25");
    let rollout = open(&plan, folder.path());
    let older = fs::read(folder.path().join("rollout.json")).unwrap();
    rollout.apply(Move::Rollback, &by(1), None, None).unwrap();
    rollout.apply(Move::Confirm, &by(2), None, None).unwrap();
    drop(rollout);
    fs::write(folder.path().join("rollout.json"), older).unwrap();
    let rollout = open(&plan, folder.path());
    assert_eq!(stand(&rollout), (Guard::RolledOp, "25".to_owned(), true));
    assert_eq!(rollout.current().record.effective(), Percent::ZERO);
}

#[test]
fn what_is_wrong_with_the_copy_alone_holds_nobody() {
    type Put = fn(&Path);
    let table: &[(&str, Put)] = &[
        ("gone", |_| {}),
        ("cut", |path| fs::write(path, "{").unwrap()),
        ("a FIFO", fifo),
        ("a link to a device", |path| symlink("/dev/zero", path).unwrap()),
    ];
    for (what, put) in table {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(folder.path(), Source::Api, "25");
        drop(open(&plan, folder.path()));
        let last = folder.path().join("rollout.json.last");
        fs::remove_file(&last).unwrap();
        put(&last);
        let rollout = open(&plan, folder.path());
        assert_eq!(stand(&rollout), (Guard::Normal, "25".to_owned(), false), "{what}");
        rollout.apply(Move::Freeze, &by(1), None, None).unwrap();
        assert!(fs::symlink_metadata(&last).unwrap().is_file(), "{what}: made anew");
    }
}

#[test]
fn without_a_place_for_its_state_it_is_frozen_at_zero_and_only_brakes_work() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, state) = (plan(folder.path(), Source::Api, "25"), folder.path().join("state"));
    fs::write(&state, "no folder").unwrap();
    let rollout = open(&plan, &state);
    assert_eq!(stand(&rollout), (Guard::Frozen, "0".to_owned(), true));
    assert_eq!(rollout.apply(Move::Resume(None), &by(1), None, None).unwrap_err().code(), "storage");
    assert_eq!(stand(&rollout), (Guard::Frozen, "0".to_owned(), true));
    assert_eq!(rollout.apply(Move::Rollback, &by(1), None, None).unwrap_err().code(), "storage");
    assert_eq!(stand(&rollout).0, Guard::RolledAuto);
}

#[test]
fn shares_are_counted_since_the_last_change() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path(), Source::Api, "25");
    let rollout = open(&plan, folder.path());
    assert_eq!(rollout.current().shares(), None, "nobody came yet");
    for side in [Side::Legacy, Side::Legacy, Side::Clerk, Side::Legacy] {
        rollout.current().count(side);
    }
    assert_eq!(rollout.current().shares(), Some((0.75, 0.25)));
    rollout.configure(&plan, 1);
    assert_eq!(rollout.current().shares(), Some((0.75, 0.25)), "a reload that changes nothing");
    rollout.apply(Move::Set(Percent::ZERO), &by(2), None, None).unwrap();
    assert_eq!(rollout.current().shares(), None);
}

#[test]
fn a_state_that_is_broken_or_gone_freezes_where_it_was_proven() {
    type Break = fn(&Path);
    let table: &[(&str, Break, &str)] = &[
        ("cut", |at| fs::write(at.join("rollout.json"), "{\"rec").unwrap(), "25"),
        ("gone", |at| fs::remove_file(at.join("rollout.json")).unwrap(), "25"),
        (
            "both cut",
            |at| {
                fs::write(at.join("rollout.json"), "").unwrap();
                fs::write(at.join("rollout.json.last"), "").unwrap();
            },
            "0",
        ),
        (
            "both gone",
            |at| {
                fs::remove_file(at.join("rollout.json")).unwrap();
                fs::remove_file(at.join("rollout.json.last")).unwrap();
            },
            "0",
        ),
        ("another key", |at| fs::write(at.join("rollout.key"), [7; 32]).unwrap(), "0"),
        ("no key", |at| fs::remove_file(at.join("rollout.key")).unwrap(), "0"),
        (
            "one bit",
            |at| {
                let mut bytes = fs::read(at.join("rollout.json")).unwrap();
                let at_ppm = String::from_utf8_lossy(&bytes).find("250000").unwrap();
                bytes[at_ppm] ^= 1;
                fs::write(at.join("rollout.json"), bytes).unwrap();
            },
            "25",
        ),
        (
            "huge",
            |at| fs::File::options().write(true).open(at.join("rollout.json")).unwrap().set_len(1 << 40).unwrap(),
            "25",
        ),
        ("a folder", |at| replace(at, |path| fs::create_dir(path).unwrap()), "25"),
        ("a FIFO", |at| replace(at, fifo), "25"),
        ("a link to a device", |at| replace(at, |path| symlink("/dev/zero", path).unwrap()), "25"),
        ("a link to somewhere else", |at| replace(at, |path| symlink("/etc/passwd", path).unwrap()), "25"),
        ("a link to nothing", |at| replace(at, |path| symlink("nothing", path).unwrap()), "25"),
        ("a link to itself", |at| replace(at, |path| symlink("rollout.json", path).unwrap()), "25"),
    ];
    for &(what, break_it, expected) in table {
        for source in [Source::Api, Source::File] {
            let folder = tempfile::tempdir().unwrap();
            let plan = plan(folder.path(), source, "25");
            drop(open(&plan, folder.path()));
            break_it(folder.path());
            let rollout = open(&plan, folder.path());
            assert_eq!(stand(&rollout), (Guard::Frozen, expected.to_owned(), true), "{what}");
            rollout.advance(9_000_000);
            assert_eq!(stand(&rollout).1, expected, "{what}: nor does it rise by itself");
            rollout.apply(Move::Resume(None), &by(1), None, None).unwrap();
            assert!(!stand(&rollout).2);
            assert_eq!(stand(&open(&plan, folder.path())).0, Guard::Normal, "{what}: good again");
        }
    }
}

#[test]
fn another_bucket_key_moves_nobody_up_and_the_old_one_brings_everything_back() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path(), Source::Api, "25");
    drop(open(&plan, folder.path()));
    let key = fs::read(&plan.key_file).unwrap();
    for bytes in [&[1_u8; 32][..], &[1; 5]] {
        fs::write(&plan.key_file, bytes).unwrap();
        let rollout = open(&plan, folder.path());
        assert_eq!(stand(&rollout), (Guard::Frozen, "0".into(), true));
        let refused = rollout.apply(Move::Resume(Some(percent("20"))), &by(99_000), None, None).unwrap_err();
        assert_eq!(refused.code(), "key_file", "nobody is dealt by a key that is not theirs");
    }
    fs::write(&plan.key_file, key).unwrap();
    assert_eq!(stand(&open(&plan, folder.path())), (Guard::Normal, "25".into(), false));
}

#[test]
fn an_edit_re_deals_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path(), Source::Api, "25");
    let rollout = open(&plan, folder.path());
    let in_clerk = |rollout: &Rollout| -> Vec<bool> {
        let current = rollout.current();
        let bucketing = &current.assignment.bucketing;
        (0..200).map(|id| bucketing.is_in(&id.to_string(), current.record.assigned)).collect()
    };
    let before = in_clerk(&rollout);
    let edited = Plan { salt: "other".into(), unit: Unit::User, algorithm: Algorithm::Unleash, ..plan };
    rollout.configure(&edited, 5);
    assert_eq!(in_clerk(&rollout), before);
    assert!(rollout.current().pending_detail().unwrap().contains("unit org, not user"));
    let again = open(&edited, folder.path());
    assert_eq!(in_clerk(&again), before, "nor does a restart");
    let reshuffle = Move::Reshuffle(percent("25"));
    assert_eq!(again.apply(reshuffle, &by(6), None, None).unwrap_err(), Refusal::NotFrozen);
    again.apply(Move::Freeze, &by(6), None, None).unwrap();
    again.apply(reshuffle, &by(6), None, None).unwrap();
    assert_ne!(in_clerk(&again), before);
    let current = again.current();
    assert_eq!((current.pending.is_none(), current.record.generation, current.assignment.unit), (true, 2, Unit::User));
}

#[test]
fn a_file_is_followed_step_by_step_and_down_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path(), Source::File, "10");
    let rollout = open(&plan, folder.path());
    rollout.configure(&Plan { percent: percent("60"), ..plan.clone() }, 0);
    let mut seen = Vec::new();
    for second in [0, 59, 60, 61, 119, 120, 180, 240] {
        rollout.advance(second * 1000);
        seen.push(stand(&rollout).1);
    }
    assert_eq!(seen, ["10", "10", "35", "35", "35", "60", "60", "60"]);
    rollout.configure(&Plan { percent: percent("2"), ..plan }, 240_000);
    assert_eq!(stand(&rollout).1, "2");
    let refused = rollout.apply(Move::Set(percent("1")), &by(0), None, None).unwrap_err();
    assert_eq!(refused, Refusal::Source(Source::File));
}

#[test]
fn who_was_slower_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let rollout = open(&plan(folder.path(), Source::Api, "10"), folder.path());
    let set = |to: &str, generation, revision| {
        let expected = Some(Expected { generation, revision });
        rollout.apply(Move::Set(percent(to)), &by(0), None, expected).map(|_| ()).map_err(|refusal| refusal.code())
    };
    assert_eq!(set("9", 2, None), Err("generation"));
    assert_eq!(set("9", 1, Some(1)), Ok(()));
    assert_eq!(set("8", 1, Some(1)), Err("generation"));
    assert_eq!(set("8", 1, None), Ok(()));
}

/// Of changes that race, one after the other is made, and the last that was acknowledged is what a restart finds.
#[test]
fn changes_are_made_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path(), Source::Api, "100");
    let plan =
        Plan { limits: Limits { max_percent: percent("100"), max_step: percent("100"), ..Limits::default() }, ..plan };
    let rollout = open(&plan, folder.path());
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let rollout = &rollout;
            scope.spawn(move || {
                for turn in 0..10_u32 {
                    let to = Percent::from_ppm(thread * 100 + turn + 1).unwrap();
                    rollout.apply(Move::Set(to), &by(0), None, None).unwrap();
                }
            });
        }
    });
    let last = rollout.current().record.clone();
    assert_eq!(last.revision, 41);
    assert_eq!(open(&plan, folder.path()).current().record, last);
}
