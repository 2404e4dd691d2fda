//! Keys that come and go, by the clock.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::{KEPT, Ring, Schedule, Stage};
use crate::clock::Now;
use crate::issuer::Algorithm;

const OVERLAP: u64 = 900;
const ROTATE: u64 = 86_400;
const TTL: u64 = 60;

const SCHEDULE: Schedule = Schedule {
    algorithm: Algorithm::Es256,
    rotate: Some(Duration::from_secs(ROTATE)),
    overlap: Duration::from_secs(OVERLAP),
    ttl: Duration::from_secs(TTL),
};

fn at(seconds: u64) -> Now {
    Now::at_unix_ms(1_700_000_000_000 + i64::try_from(seconds).unwrap() * 1000)
}

fn stages(ring: &Ring, now: Now) -> Vec<Stage> {
    ring.stages(SCHEDULE, now).into_iter().map(|(_, stage)| stage).collect()
}

#[test]
fn a_key_is_known_before_it_signs_and_after() {
    use Stage::{Gone, Leaving, Signing, Waiting};
    let folder = tempfile::tempdir().unwrap();
    let ring = Ring::new(folder.path().join("keys"));
    ring.tend(SCHEDULE, at(0)).unwrap();
    assert_eq!(stages(&ring, at(0)), [Signing], "the first one at once: nobody holds a set without it");
    ring.tend(SCHEDULE, at(ROTATE - 1)).unwrap();
    assert_eq!(stages(&ring, at(ROTATE - 1)), [Signing]);
    ring.tend(SCHEDULE, at(ROTATE)).unwrap();
    ring.tend(SCHEDULE, at(ROTATE)).unwrap();
    let table = [
        (ROTATE, vec![Signing, Waiting]),
        (ROTATE + OVERLAP - 1, vec![Signing, Waiting]),
        (ROTATE + OVERLAP, vec![Leaving, Signing]),
        (ROTATE + 2 * OVERLAP + TTL - 1, vec![Leaving, Signing]),
        (ROTATE + 2 * OVERLAP + TTL, vec![Gone, Signing]),
    ];
    for (seconds, expected) in table {
        assert_eq!(stages(&ring, at(seconds)), expected, "{seconds}");
    }
    // Another process, started later, sees the same.
    let other = Ring::new(folder.path().join("keys"));
    other.read(at(ROTATE + OVERLAP)).unwrap();
    assert_eq!(stages(&other, at(ROTATE + OVERLAP)), [Leaving, Signing]);
    let kids = |ring: &Ring| ring.stages(SCHEDULE, at(0)).iter().map(|(key, _)| key.kid().clone()).collect::<Vec<_>>();
    assert_eq!(kids(&ring), kids(&other));
}

#[test]
fn a_file_goes_only_when_its_key_has_been_gone_for_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let ring = Ring::new(folder.path().to_owned());
    let schedule = Schedule { rotate: None, ..SCHEDULE };
    let files = || fs::read_dir(folder.path()).unwrap().count();
    // The clocks apart: seconds on the wall, and of this process.
    let start = at(0).mono;
    let tend = |ring: &Ring, wall: u64, mono: u64| {
        ring.tend(schedule, Now { mono: start + Duration::from_secs(mono), ..at(wall) }).unwrap();
        files()
    };
    tend(&ring, 0, 0);
    let second = ring.rotate(schedule, at(100)).unwrap();
    let written = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_100);
    fs::File::options().write(true).open(&second.path).unwrap().set_modified(written).unwrap();
    let day = KEPT.as_secs();
    assert_eq!(tend(&ring, 50_000_000, 200), 2, "a clock that is years ahead, while the successor waits");
    assert_eq!(tend(&ring, 200, 300), 2, "and back");
    assert_eq!(stages(&ring, at(200)), [Stage::Signing, Stage::Waiting]);
    let late = 100 + 2 * OVERLAP + TTL;
    assert_eq!(tend(&ring, late, late), 2, "gone");
    assert_eq!(tend(&ring, late + day, late + day - 1), 2, "not for long enough by this process's clock");
    let other = Ring::new(folder.path().to_owned());
    assert_eq!(tend(&other, 50_000_000, 9 * day), 2, "never at the first look");
    assert_eq!(tend(&ring, late - 1, late + day), 2, "the clock went back: it is published again");
    assert_eq!(tend(&ring, late + day, late + day + 1), 2, "from the beginning then");
    assert_eq!(tend(&ring, 99 + day, late + 2 * day + 1), 2, "the successor is younger than that");
    assert_eq!(tend(&ring, late + 2 * day, late + 2 * day + 1), 1);
    assert_eq!(ring.signer(schedule, at(late + 2 * day).unix_ms).unwrap().kid(), second.kid());
}

#[test]
fn files_that_are_kept_end_no_start() {
    let folder = tempfile::tempdir().unwrap();
    let ring = Ring::new(folder.path().to_owned());
    for number in 0..40 {
        ring.rotate(SCHEDULE, at(number * 4 * OVERLAP)).unwrap();
    }
    let start = at(40 * 4 * OVERLAP + 30 * 3600);
    let ring = Ring::new(folder.path().to_owned());
    ring.tend(SCHEDULE, start).unwrap();
    assert!(ring.published(SCHEDULE, start).len() <= 3, "what is long over is not published again");
}

#[test]
fn a_key_that_comes_late_waits_from_when_it_was_seen() {
    let folder = tempfile::tempdir().unwrap();
    let ring = Ring::new(folder.path().to_owned());
    ring.tend(SCHEDULE, at(0)).unwrap();
    // Made by the command at 100, seen by this process at 5,000 only.
    let command = Ring::new(folder.path().to_owned());
    command.rotate(SCHEDULE, at(1000)).unwrap();
    ring.read(at(5000)).unwrap();
    assert_eq!(stages(&ring, at(5000)), [Stage::Signing, Stage::Waiting]);
    assert_eq!(stages(&ring, at(5000 + OVERLAP)), [Stage::Leaving, Stage::Signing]);
}

/// A start with a longer `overlap` once signed again with a key that others published no more.
#[test]
fn who_signs_is_in_the_files_and_not_in_the_overlap_of_today() {
    let folder = tempfile::tempdir().unwrap();
    let ring = Ring::new(folder.path().to_owned());
    ring.tend(SCHEDULE, at(0)).unwrap();
    let second = ring.rotate(SCHEDULE, at(5000)).unwrap();
    let overlap = |seconds| Schedule { overlap: Duration::from_secs(seconds), ..SCHEDULE };
    for seconds in [5000, 4999 + OVERLAP, 5000 + OVERLAP, 5001 + 2 * OVERLAP + TTL, 5000 + 3 * 86_400] {
        let expected = ring.signer(SCHEDULE, at(seconds).unix_ms).unwrap();
        assert_eq!(expected.kid() == second.kid(), seconds >= 5000 + OVERLAP, "{seconds}");
        for schedule in [overlap(1), overlap(20 * OVERLAP), overlap(7 * 86_400)] {
            let other = Ring::new(folder.path().to_owned());
            other.read(at(seconds)).unwrap();
            let signer = other.signer(schedule, at(seconds).unix_ms).unwrap();
            assert_eq!(signer.kid(), expected.kid(), "{seconds} {:?}", schedule.overlap);
        }
    }
    // A key that does not say it, as those of before: the schedule of whoever looks.
    let text = fs::read_to_string(&second.path).unwrap();
    let (line, pem) = text.split_once('\n').unwrap();
    assert_eq!(line, "signs-after-seconds: 900");
    fs::write(&second.path, pem).unwrap();
    let signer = |schedule: Schedule| {
        let ring = Ring::new(folder.path().to_owned());
        ring.read(at(6000)).unwrap();
        ring.signer(schedule, at(6000).unix_ms).unwrap().kid().clone()
    };
    assert_eq!(signer(SCHEDULE), *second.kid());
    assert_ne!(signer(overlap(20 * OVERLAP)), *second.kid());
    for odd in ["soon", "", "-1", "99999999999", "9 0"] {
        fs::write(&second.path, format!("signs-after-seconds: {odd}\n{pem}")).unwrap();
        let problem = Ring::new(folder.path().to_owned()).read(at(6000)).unwrap_err();
        assert_eq!(
            problem.to_string(),
            format!("{}: `signs-after-seconds:` is not followed by seconds", second.path.display())
        );
    }
}

#[test]
fn a_key_that_leaked_is_replaced_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let ring = Ring::new(folder.path().to_owned());
    ring.tend(SCHEDULE, at(0)).unwrap();
    ring.rotate(SCHEDULE, at(5000)).unwrap();
    // Also while a key waits, also when one is dated in the future, and where another process does it.
    Ring::new(folder.path().to_owned()).rotate(SCHEDULE, at(50_000_000)).unwrap();
    ring.read(at(5005)).unwrap();
    let made = Ring::new(folder.path().to_owned()).replace(SCHEDULE, at(5010)).unwrap();
    ring.tend(SCHEDULE, at(5030)).unwrap();
    let published = ring.published(SCHEDULE, at(5030));
    assert_eq!(published.iter().map(|key| key.kid()).collect::<Vec<_>>(), [made.kid()]);
    assert_eq!(ring.signer(SCHEDULE, at(5030).unix_ms).unwrap().kid(), made.kid());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // The next one is a rotation like any other.
    ring.rotate(SCHEDULE, at(6000)).unwrap();
    assert_eq!(stages(&ring, at(6000)), [Stage::Signing, Stage::Waiting]);
    // Where nothing is yet.
    let empty = tempfile::tempdir().unwrap();
    let made = Ring::new(empty.path().join("keys")).replace(SCHEDULE, at(0)).unwrap();
    let ring = Ring::new(empty.path().join("keys"));
    ring.tend(SCHEDULE, at(1)).unwrap();
    assert_eq!(ring.signer(SCHEDULE, at(1).unix_ms).unwrap().kid(), made.kid());
}

#[test]
fn one_rotation_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let ring = Ring::new(folder.path().to_owned());
    ring.rotate(SCHEDULE, at(0)).unwrap();
    ring.rotate(SCHEDULE, at(0)).unwrap();
    assert_eq!(stages(&ring, at(0)), [Stage::Signing, Stage::Waiting], "in the second of the first one");
    assert!(ring.rotate(SCHEDULE, at(0)).is_err());
    ring.rotate(SCHEDULE, at(10_000)).unwrap();
    let refused = ring.rotate(SCHEDULE, at(10_100)).unwrap_err();
    assert_eq!(refused.what, "a new key is there already and signs in 801 seconds");
    ring.rotate(SCHEDULE, at(10_000 + OVERLAP)).unwrap();
}

#[test]
fn another_algorithm_is_a_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let ring = Ring::new(folder.path().to_owned());
    ring.tend(SCHEDULE, at(0)).unwrap();
    let rsa = Schedule { algorithm: Algorithm::Rs256, ..SCHEDULE };
    ring.tend(rsa, at(1000)).unwrap();
    let signer = |now: Now| ring.signer(rsa, now.unix_ms).unwrap().algorithm();
    assert_eq!(signer(at(1000)), Algorithm::Es256);
    assert_eq!(signer(at(1000 + OVERLAP)), Algorithm::Rs256);
}

#[test]
fn a_folder_that_cannot_be_used_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let ring = Ring::new(folder.path().to_owned());
    ring.tend(SCHEDULE, at(0)).unwrap();
    let pem = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::metadata(&pem).unwrap().permissions().mode() & 0o777, 0o600);
    let name = |name: &str| folder.path().join(name);
    let table: [(&str, &[u8]); 4] = [
        ("1700000001-es256.pem", b"-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n"),
        ("1700000001-es256.pem", b""),
        ("1700000001-hs256.pem", b"x"),
        ("mine.pem", b"x"),
    ];
    for (file, bytes) in table {
        fs::write(name(file), bytes).unwrap();
        let problem = ring.tend(SCHEDULE, at(10)).unwrap_err();
        assert_eq!(problem.path, name(file), "{problem}");
        assert_eq!(stages(&ring, at(10)), [Stage::Signing], "{file}");
        fs::remove_file(name(file)).unwrap();
    }
    // Half-written ones are nobody's business.
    fs::write(name("1700000001-es256.half-7"), b"x").unwrap();
    ring.tend(SCHEDULE, at(10)).unwrap();
    // RSA under a name of the other kind.
    fs::copy(&pem, name("1700000002-rs256.pem")).unwrap();
    assert!(ring.read(at(10)).is_err());
    fs::remove_file(name("1700000002-rs256.pem")).unwrap();
}

#[test]
fn an_emptied_folder_takes_no_key_away_that_verifiers_trust() {
    let folder = tempfile::tempdir().unwrap();
    let ring = Ring::new(folder.path().to_owned());
    ring.tend(SCHEDULE, at(0)).unwrap();
    let pem = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let elsewhere = tempfile::tempdir().unwrap();
    let kept = elsewhere.path().join("kept");
    fs::rename(&pem, &kept).unwrap();
    // Not even when it is old: a new one beside nothing would sign at once.
    for now in [at(10), at(ROTATE)] {
        ring.read(now).unwrap();
        assert!(ring.problem().is_some(), "it is told");
        assert!(ring.tend(SCHEDULE, now).is_err());
        assert_eq!(stages(&ring, now), [Stage::Signing]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
    fs::rename(&kept, &pem).unwrap();
    ring.tend(SCHEDULE, at(ROTATE)).unwrap();
    assert!(ring.problem().is_none());
    assert_eq!(stages(&ring, at(ROTATE)), [Stage::Signing, Stage::Waiting]);
    // The command begins again: a key that leaked and its successor are out of use at once.
    for file in fs::read_dir(folder.path()).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    let made = Ring::new(folder.path().to_owned()).rotate(SCHEDULE, at(ROTATE + 20)).unwrap();
    ring.tend(SCHEDULE, at(ROTATE + 30)).unwrap();
    let left = ring.stages(SCHEDULE, at(ROTATE + 30));
    assert_eq!(left.iter().map(|(key, _)| key.kid()).collect::<Vec<_>>(), [made.kid()]);
}

#[test]
fn a_longer_overlap_calls_no_key_back_that_nobody_holds() {
    let folder = tempfile::tempdir().unwrap();
    let ring = Ring::new(folder.path().to_owned());
    ring.tend(SCHEDULE, at(0)).unwrap();
    let second = ring.rotate(SCHEDULE, at(100)).unwrap();
    let late = at(100 + 2 * OVERLAP + TTL);
    ring.tend(SCHEDULE, late).unwrap();
    let longer = Schedule { overlap: Duration::from_secs(20 * OVERLAP), ..SCHEDULE };
    ring.tend(longer, late).unwrap();
    assert_eq!(ring.signer(longer, late.unix_ms).unwrap().kid(), second.kid());
}

#[test]
fn a_key_from_the_future_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let ring = Ring::new(folder.path().to_owned());
    ring.tend(SCHEDULE, at(0)).unwrap();
    let year = 365 * 86_400;
    let ahead = Ring::new(folder.path().to_owned()).rotate(SCHEDULE, at(year)).unwrap();
    ring.tend(SCHEDULE, at(2000)).unwrap();
    assert_eq!(ring.ahead(SCHEDULE, at(2000)).unwrap().path, ahead.path);
    let made = ring.rotate(SCHEDULE, at(2010)).unwrap();
    assert_eq!(made.created(), at(2010).unix_seconds());
    assert!(ring.rotate(SCHEDULE, at(2020)).is_err(), "the new one waits");
    let late = at(2010 + OVERLAP);
    assert_eq!(ring.signer(SCHEDULE, late.unix_ms).unwrap().kid(), made.kid());
    // By the clock, too.
    ring.tend(SCHEDULE, at(2010 + ROTATE)).unwrap();
    assert_eq!(ring.stages(SCHEDULE, at(2010 + ROTATE)).len(), 4);
    // Where it is the only one, it signs until its successor has waited.
    for file in fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).filter(|path| *path != ahead.path)
    {
        fs::remove_file(file).unwrap();
    }
    let alone = Ring::new(folder.path().to_owned());
    alone.tend(SCHEDULE, at(5000)).unwrap();
    let signer = |seconds: u64| alone.signer(SCHEDULE, at(seconds).unix_ms).unwrap().kid().clone();
    assert_eq!(signer(5000), *ahead.kid());
    assert_eq!(signer(4999 + OVERLAP), *ahead.kid());
    assert_ne!(signer(5000 + OVERLAP), *ahead.kid());
    // No time at all.
    let name = folder.path().join("9223372036854775807-es256.pem");
    fs::copy(&ahead.path, &name).unwrap();
    assert_eq!(alone.tend(SCHEDULE, at(6000)).unwrap_err().path, name);
}

#[test]
fn an_emptied_folder_names_the_command_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let ring = Ring::of_runner(folder.path().to_owned());
    ring.tend(SCHEDULE, at(0)).unwrap();
    fs::remove_file(&ring.keys.load()[0].path).unwrap();
    assert!(ring.tend(SCHEDULE, at(1)).unwrap_err().what.contains("`crossgate keys rotate --of runner`"));
}
