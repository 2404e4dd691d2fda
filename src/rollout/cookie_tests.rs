use std::sync::Arc;

use super::{ArmCookies, LIFETIME, SKEW, Unusable};
use crate::rollout::{Algorithm, Dealing, Guard, Percent, Record, Side, Unit};

const NOW: i64 = 1_800_000_000_000;
const LIFE: i64 = LIFETIME.as_secs() as i64 * 1000;

fn record(name: &str, generation: u64) -> Record {
    let key_id = Arc::from("");
    Record {
        rollout: name.into(),
        generation,
        revision: 1,
        guard: Guard::Normal,
        desired: Percent::ZERO,
        assigned: Percent::ZERO,
        dealing: Dealing { algorithm: Algorithm::Crossgate1, unit: Unit::Org, salt: "s".into(), key_id },
        changed_at: 0,
        changed_by: "test".into(),
        dwell_since: 0,
    }
}

fn cookies() -> ArmCookies {
    ArmCookies::new(&[7; 32])
}

fn open(value: &str) -> Result<Option<Side>, Unusable> {
    cookies().read([value].into_iter(), &record("auth", 3), NOW)
}

#[test]
fn what_is_sealed_is_read_by_every_replica_with_the_key() {
    for side in [Side::Legacy, Side::Clerk] {
        let value = cookies().seal(&record("auth", 3), side, NOW);
        assert_eq!(open(&value), Ok(Some(side)));
        assert!(value.starts_with(&format!("v1.auth.3.{}.1800000900.", side.as_str())), "{value}");
        assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)), "{value}");
    }
    assert_eq!(cookies().read(std::iter::empty(), &record("auth", 3), NOW), Ok(None));
}

#[test]
fn no_byte_of_it_can_be_changed() {
    let value = cookies().seal(&record("auth", 3), Side::Clerk, NOW);
    for at in 0..value.len() {
        for with in *b"0a_.-=A \x00" {
            let mut bytes = value.clone().into_bytes();
            if bytes[at] == with {
                continue;
            }
            bytes[at] = with;
            let text = String::from_utf8(bytes).unwrap();
            assert!(matches!(open(&text), Err(Unusable::Forged | Unusable::Malformed)), "{text}");
        }
        let (head, tail) = value.split_at(at);
        for text in [head.to_owned(), tail[1..].to_owned(), format!("{head}x{tail}"), format!("{head}{}", &tail[1..])] {
            assert!(open(&text).is_err(), "{text}");
        }
    }
}

#[test]
fn what_is_not_believed() {
    let seal = |record: &Record, now| cookies().seal(record, Side::Clerk, now);
    let good = seal(&record("auth", 3), NOW);
    let (text, mac) = good.rsplit_once('.').unwrap();
    let other_key = ArmCookies::new(&[8; 32]).seal(&record("auth", 3), Side::Clerk, NOW);
    let table = [
        ("another key", other_key, Unusable::Forged),
        ("another rollout", seal(&record("other", 3), NOW), Unusable::OtherRollout),
        ("a later generation", seal(&record("auth", 4), NOW), Unusable::LaterGeneration),
        ("over by its last second", seal(&record("auth", 3), NOW - LIFE), Unusable::Over),
        ("of a clock far ahead", seal(&record("auth", 3), NOW + (SKEW as i64 + 1) * 1000), Unusable::Over),
        ("nothing", String::new(), Unusable::Malformed),
        ("dots", "......".to_owned(), Unusable::Malformed),
        ("another version", good.replacen("v1", "v2", 1), Unusable::Malformed),
        ("one part more", format!("{text}.x.{mac}"), Unusable::Malformed),
        ("another arm", good.replacen("clerk", "legacy", 1), Unusable::Forged),
        ("longer", good.replacen("1800000900", "1900000900", 1), Unusable::Forged),
        ("padded", format!("{good}="), Unusable::Malformed),
        ("a short signature", format!("{text}.AAAA"), Unusable::Forged),
        ("no signature", format!("{text}."), Unusable::Forged),
        ("too long", format!("v1.{}.3.clerk.1800000900.{mac}", "a".repeat(300)), Unusable::Malformed),
    ];
    for (name, value, why) in table {
        assert_eq!(open(&value), Err(why), "{name}: {value}");
    }
    let twice = cookies().read([good.as_str(), good.as_str()].into_iter(), &record("auth", 3), NOW);
    assert_eq!(twice, Err(Unusable::Twice), "both are ignored");
}

#[test]
fn what_is_believed_all_the_same() {
    let table = [
        ("an earlier generation: the login began before a resume", record("auth", 1), NOW),
        ("its last second", record("auth", 3), NOW - LIFE + 1000),
        ("of a clock a little ahead", record("auth", 3), NOW + SKEW as i64 * 1000),
    ];
    for (name, record, at) in table {
        assert_eq!(open(&cookies().seal(&record, Side::Clerk, at)), Ok(Some(Side::Clerk)), "{name}");
    }
}

#[test]
fn any_text_is_read_without_a_panic() {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let pieces = ["v1", ".", "auth", "3", "clerk", "18446744073709551616", "-1", "\u{fffd}", "AAAA", "=", " ", "%", ""];
    for _ in 0..20_000 {
        let text: String = (0..next() % 14).map(|_| pieces[next() % pieces.len()]).collect();
        assert!(open(&text).is_err(), "{text}");
    }
}
