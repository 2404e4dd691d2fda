use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Found, Store, Unsaved, secret};
use crate::rollout::state::{Dealing, Record};
use crate::rollout::{Algorithm, Guard, Percent, Unit};

fn record(revision: u64, guard: Guard, ppm: u32) -> Record {
    Record {
        rollout: "auth".into(),
        generation: 4,
        revision,
        guard,
        desired: Percent::from_ppm(ppm).unwrap(),
        assigned: Percent::from_ppm(ppm).unwrap(),
        dealing: Dealing {
            algorithm: Algorithm::Flagd2,
            unit: Unit::Org,
            salt: "a \"salt\" \u{1f600}\n".into(),
            key_id: "".into(),
        },
        changed_at: 1_700_000_000_123,
        changed_by: "ci".into(),
        dwell_since: -5,
    }
}

fn open(folder: &Path) -> Store {
    Store::open(folder).unwrap()
}

fn good(found: Found) -> Record {
    match found {
        Found::Good(record) => record,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_saved_is_loaded_again_and_is_nobody_elses_to_read() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(open(folder.path()).load(), Found::Nothing));
    for (revision, guard) in [Guard::Normal, Guard::Frozen, Guard::RolledAuto, Guard::RolledOp].into_iter().enumerate()
    {
        let kept = record(revision as u64, guard, 123_456);
        open(folder.path()).save(&kept).unwrap();
        assert_eq!(good(open(folder.path()).load()), kept);
    }
    for name in ["rollout.json", "rollout.json.last", "rollout.key"] {
        let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

/// A crash at each moment of a save: what is there afterwards is the record before or the record after, whole.
#[test]
fn a_crash_at_any_moment_leaves_the_old_record_or_the_new_one() {
    let (old, new) = (record(1, Guard::Normal, 100_000), record(2, Guard::RolledAuto, 100_000));
    let mut left = Vec::new();
    for crash in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        store.save(&old).unwrap();
        let mut steps = 0;
        let told = store.save_until(&new, &mut |_| {
            steps += 1;
            if steps > crash { Err(io::Error::other("crash")) } else { Ok(()) }
        });
        let after = good(open(folder.path()).load());
        match told {
            Err(Unsaved::Before(_)) => assert_eq!(after, old, "after {crash} steps"),
            Err(Unsaved::Uncertain(_)) => assert_eq!(after, new, "after {crash} steps"),
            Ok(()) => panic!("the crash did not happen"),
        }
        left.push(after.revision);
        // The next save is not hindered by what the crash left.
        open(folder.path()).save(&record(9, Guard::Normal, 0)).unwrap();
        assert_eq!(good(open(folder.path()).load()).revision, 9);
    }
    assert_eq!(left, [1, 1, 2, 2, 2, 2, 2, 2]);
}

/// Without the order of rename and sync, a disk may show any prefix.
#[test]
fn a_file_cut_anywhere_or_with_any_byte_changed_is_never_believed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let kept = record(3, Guard::RolledOp, 250_000);
    store.save(&kept).unwrap();
    let (main, last) = (store.path(), store.last());
    let whole = fs::read(&main).unwrap();
    let mut broken: Vec<Vec<u8>> = (0..whole.len() - 1).map(|length| whole[..length].to_vec()).collect();
    broken.extend((0..whole.len() - 1).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    }));
    broken.push(vec![0; whole.len()]);
    broken.push(b"{}".to_vec());
    broken.push([&*whole, &*whole].concat());
    for bytes in broken {
        fs::write(&main, &bytes).unwrap();
        fs::write(&last, &whole).unwrap();
        match store.load() {
            Found::Broken(Some(proven), _) => assert_eq!(proven, kept),
            // A hex digit of the MAC in the other case is the same MAC.
            Found::Good(same) => {
                assert!(bytes.eq_ignore_ascii_case(&whole), "{}", String::from_utf8_lossy(&bytes));
                assert_eq!(same, kept);
            }
            other => panic!("{other:?}: {}", String::from_utf8_lossy(&bytes)),
        }
        fs::write(&last, &bytes).unwrap();
        assert!(!matches!(store.load(), Found::Nothing | Found::Broken(Some(_), _)));
    }
}

#[test]
fn what_another_key_has_signed_proves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).save(&record(1, Guard::Normal, 500_000)).unwrap();
    fs::remove_file(folder.path().join("rollout.key")).unwrap();
    assert!(matches!(open(folder.path()).load(), Found::Broken(None, _)));
}

#[test]
fn an_older_record_put_back_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.save(&record(1, Guard::Normal, 500_000)).unwrap();
    let before = fs::read(store.path()).unwrap();
    store.save(&record(2, Guard::RolledAuto, 500_000)).unwrap();
    fs::write(store.path(), before).unwrap();
    match store.load() {
        Found::Broken(Some(last), _) => assert_eq!(last.guard, Guard::RolledAuto),
        other => panic!("{other:?}"),
    }
    fs::remove_file(store.path()).unwrap();
    assert!(matches!(store.load(), Found::Broken(Some(_), _)), "nor is a missing one a first start");
    fs::remove_file(store.last()).unwrap();
    assert!(matches!(store.load(), Found::Broken(None, _)), "not even when both are gone");
}

#[test]
fn a_secret_is_made_once_and_must_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/bucket.key");
    let first = secret(&path).unwrap();
    assert_eq!(secret(&path).unwrap(), first);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o622)).unwrap();
    assert!(secret(&path).unwrap_err().contains("others may write"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    for bytes in [vec![], vec![1; 31], vec![1; 33]] {
        fs::write(&path, &bytes).unwrap();
        assert!(secret(&path).unwrap_err().contains("32 bytes"));
    }
    assert_ne!(secret(&folder.path().join("other.key")).unwrap(), first);
}
