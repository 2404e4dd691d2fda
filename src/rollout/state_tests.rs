use std::time::Duration;

use super::{By, Dealing, Limits, Move, Record, Refusal, Source, Terms};
use crate::rollout::{Algorithm, Guard, Percent, Unit};

fn percent(text: &str) -> Percent {
    text.parse().unwrap()
}

fn dealing(salt: &str) -> Dealing {
    Dealing { algorithm: Algorithm::Crossgate1, unit: Unit::Org, salt: salt.into(), key_id: "k".into() }
}

fn terms(source: Source) -> Terms {
    let limits = Limits { max_percent: percent("80"), max_step: percent("25"), min_dwell: Duration::from_secs(60) };
    Terms { source, limits, dealing: dealing("a") }
}

fn record(guard: Guard, assigned: &str) -> Record {
    Record {
        rollout: "auth".into(),
        generation: 7,
        revision: 3,
        guard,
        desired: percent(assigned),
        assigned: percent(assigned),
        dealing: dealing("a"),
        changed_at: 0,
        changed_by: "x".into(),
        dwell_since: 0,
    }
}

fn by(seconds: i64) -> By {
    By { actor: "ci".into(), at: seconds * 1000 }
}

#[test]
fn api_moves() {
    use Guard::{Frozen, Normal, RolledAuto, RolledOp};
    type Want = Result<(Guard, &'static str, u64), &'static str>;
    let set = |text: &str| Move::Set(percent(text));
    let back = |text: &str| Move::Resume(Some(percent(text)));
    let table: Vec<(Guard, &str, Move, i64, Want)> = vec![
        (Normal, "10", set("35"), 60, Ok((Normal, "35", 7))),
        (Normal, "10", set("35.0001"), 60, Err("max_step")),
        (Normal, "70", set("81"), 60, Err("max_percent")),
        (Normal, "10", set("11"), 59, Err("min_dwell")),
        // Lowering is never limited.
        (Normal, "10", set("9.9999"), 1, Ok((Normal, "9.9999", 7))),
        (Normal, "100", set("0"), 0, Ok((Normal, "0", 7))),
        (Frozen, "10", set("11"), 60, Err("frozen")),
        (Frozen, "10", set("3"), 0, Ok((Frozen, "3", 7))),
        (RolledAuto, "10", set("11"), 60, Err("rolled_back")),
        (RolledOp, "10", set("11"), 60, Err("rolled_back")),
        (RolledAuto, "10", set("3"), 0, Ok((RolledAuto, "3", 7))),
        (Normal, "10", Move::Freeze, 0, Ok((Frozen, "10", 7))),
        (Frozen, "10", Move::Freeze, 0, Ok((Frozen, "10", 7))),
        (RolledAuto, "10", Move::Freeze, 0, Err("state")),
        (RolledOp, "10", Move::Freeze, 0, Err("state")),
        (Normal, "10", Move::Resume(None), 0, Err("state")),
        (Frozen, "10", Move::Resume(None), 0, Ok((Normal, "10", 8))),
        (Frozen, "10", back("5"), 0, Ok((Normal, "5", 8))),
        (Frozen, "10", back("12"), 0, Err("min_dwell")),
        (Frozen, "10", back("12"), 60, Ok((Normal, "12", 8))),
        (Frozen, "10", back("36"), 60, Err("max_step")),
        // The first step again.
        (RolledAuto, "70", Move::Resume(None), 0, Ok((Normal, "25", 8))),
        (RolledOp, "10", Move::Resume(None), 0, Ok((Normal, "10", 8))),
        (RolledOp, "70", back("26"), 99, Err("max_step")),
        (RolledOp, "70", back("20"), 0, Ok((Normal, "20", 8))),
        (Normal, "10", Move::Rollback, 0, Ok((RolledAuto, "10", 7))),
        (Frozen, "10", Move::Rollback, 0, Ok((RolledAuto, "10", 7))),
        (RolledAuto, "10", Move::Rollback, 0, Ok((RolledAuto, "10", 7))),
        // A second rollback does not take back what was confirmed.
        (RolledOp, "10", Move::Rollback, 0, Ok((RolledOp, "10", 7))),
        (Normal, "10", Move::Confirm, 0, Err("state")),
        (Frozen, "10", Move::Confirm, 0, Err("state")),
        (RolledAuto, "10", Move::Confirm, 0, Ok((RolledOp, "10", 7))),
        (RolledOp, "10", Move::Confirm, 0, Ok((RolledOp, "10", 7))),
        (Normal, "10", Move::File(percent("5")), 99, Err("source")),
    ];
    for (guard, from, asked, seconds, want) in table {
        let told = record(guard, from).after(asked, &terms(Source::Api), &by(seconds));
        let got = told.as_ref().map(|next| (next.guard, next.assigned, next.generation)).map_err(Refusal::code);
        let want = want.map(|(guard, text, generation)| (guard, percent(text), generation));
        assert_eq!(got, want, "{guard:?} at {from}: {asked:?} after {seconds} s");
    }
}

#[test]
fn every_change_is_a_revision_and_none_is_none() {
    let before = record(Guard::Frozen, "10");
    assert_eq!(before.after(Move::Freeze, &terms(Source::Api), &by(5)).unwrap(), before);
    let next = before.after(Move::Rollback, &terms(Source::Api), &by(5)).unwrap();
    assert_eq!((next.revision, next.changed_at, &*next.changed_by, next.dwell_since), (4, 5_000, "ci", 0));
    assert_eq!((next.effective(), next.assigned), (Percent::ZERO, percent("10")));
}

#[test]
fn a_files_jump_is_approached_step_by_step() {
    let terms = terms(Source::File);
    let mut now = record(Guard::Normal, "10").after(Move::File(percent("90")), &terms, &by(60)).unwrap();
    let mut steps = vec![now.assigned.to_string()];
    for seconds in 61..400 {
        let next = now.after(Move::Advance, &terms, &by(seconds)).unwrap();
        if next != now {
            assert!(next.dwell_since - now.dwell_since >= 60_000, "each rests");
            steps.push(next.assigned.to_string());
        }
        now = next;
    }
    assert_eq!(steps, ["35", "60", "80"], "as far as max_percent lets it");
    assert_eq!(now.desired, percent("90"));
    let down = now.after(Move::File(percent("1")), &terms, &by(400)).unwrap();
    assert_eq!((down.assigned, down.desired), (percent("1"), percent("1")), "down at once");
}

#[test]
fn a_file_raises_nothing_that_is_frozen_or_rolled_back() {
    for guard in [Guard::Frozen, Guard::RolledAuto, Guard::RolledOp] {
        let at = record(guard, "10");
        let next = at.after(Move::File(percent("20")), &terms(Source::File), &by(999)).unwrap();
        assert_eq!((next.guard, next.assigned, next.desired), (guard, percent("10"), percent("20")));
        assert_eq!(next.after(Move::Advance, &terms(Source::File), &by(9999)).unwrap(), next);
    }
}

#[test]
fn the_percentage_has_one_writer() {
    let file = terms(Source::File);
    let at = record(Guard::Frozen, "10");
    for asked in [Move::Set(percent("1")), Move::Resume(Some(percent("1")))] {
        assert_eq!(at.after(asked, &file, &by(0)), Err(Refusal::Source(Source::File)), "{asked:?}");
    }
    assert!(at.after(Move::Resume(None), &file, &by(0)).is_ok(), "whatever the source is");
    assert_eq!(at.after(Move::Advance, &terms(Source::Api), &by(999)).unwrap(), at);
}

#[test]
fn a_reshuffle_needs_a_frozen_rollout_and_raises_nothing() {
    let mut terms = terms(Source::Api);
    let frozen = record(Guard::Frozen, "10");
    let code = |at: &Record, to: &str, terms: &Terms| {
        at.after(Move::Reshuffle(percent(to)), terms, &by(99)).map_err(|refusal| refusal.code())
    };
    assert_eq!(code(&frozen, "10", &terms), Err("same_dealing"));
    terms.dealing = dealing("b");
    for guard in [Guard::Normal, Guard::RolledAuto, Guard::RolledOp] {
        assert_eq!(code(&record(guard, "10"), "10", &terms), Err("not_frozen"));
    }
    assert_eq!(code(&frozen, "11", &terms), Err("frozen"));
    let next = code(&frozen, "4", &terms).unwrap();
    assert_eq!((next.generation, next.guard, next.assigned), (8, Guard::Frozen, percent("4")));
    assert_eq!(next.dealing, dealing("b"));
    terms.source = Source::File;
    assert_eq!(code(&frozen, "4", &terms), Err("source"));
    assert!(code(&frozen, "10", &terms).is_ok());
}

/// Whatever is asked in whatever order, one call never raises by more than a step, never above the maximum, and never
/// while the guard says no.
#[test]
fn no_sequence_of_moves_jumps() {
    use proptest::prelude::*;
    let moves = prop_oneof![
        (0..=1_000_000_u32).prop_map(|ppm| Move::Set(Percent::from_ppm(ppm).unwrap())),
        (0..=1_000_000_u32).prop_map(|ppm| Move::File(Percent::from_ppm(ppm).unwrap())),
        (0..=1_000_000_u32).prop_map(|ppm| Move::Resume(Percent::from_ppm(ppm))),
        Just(Move::Resume(None)),
        Just(Move::Freeze),
        Just(Move::Rollback),
        Just(Move::Confirm),
        Just(Move::Advance),
    ];
    proptest!(|(moves in prop::collection::vec((moves, 0..90_i64), 1..40), file in any::<bool>())| {
        let terms = terms(if file { Source::File } else { Source::Api });
        let (mut at, mut now) = (record(Guard::Normal, "10"), 0);
        for (asked, wait) in moves {
            now += wait;
            let Ok(next) = at.after(asked, &terms, &by(now)) else { continue };
            let rise = next.effective().ppm().saturating_sub(at.effective().ppm());
            prop_assert!(rise <= terms.limits.max_step.ppm());
            if rise > 0 {
                prop_assert!(next.effective() <= terms.limits.max_percent);
                prop_assert!(at.guard == Guard::Normal || matches!(asked, Move::Resume(_)));
            }
            prop_assert!(next.generation >= at.generation && next.revision >= at.revision);
            at = next;
        }
    });
}
