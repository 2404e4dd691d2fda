use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use super::{GRACE_MS, Once, Unreserved};

const NOW: i64 = 1_700_000_000_000;

fn digest(number: u8) -> [u8; 32] {
    [number; 32]
}

fn is_used<T>(reserved: &Result<T, Unreserved>) -> bool {
    matches!(reserved, Err(Unreserved::Used))
}

#[test]
fn once_and_never_again_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/converted");
    let once = Arc::new(Once::new(path.clone()));
    once.reserve(digest(1), NOW + 1000, NOW).unwrap().keep(NOW).unwrap();
    assert!(is_used(&once.reserve(digest(1), NOW + 1000, NOW)));
    once.reserve(digest(2), NOW + 1000, NOW).unwrap().keep(NOW).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let again = Arc::new(Once::new(path.clone()));
    assert!(is_used(&again.reserve(digest(1), NOW + 1000, NOW)));
    assert!(is_used(&again.reserve(digest(2), NOW + 1000, NOW)));
    again.reserve(digest(3), NOW + 1000, NOW).unwrap();
    // Long over: the credential itself is refused by then, and its line is gone.
    let later = Arc::new(Once::new(path.clone()));
    later.open(NOW + 1000 + GRACE_MS).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
}

#[test]
fn a_reservation_excludes_and_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let once = Arc::new(Once::new(folder.path().join("converted")));
    let held = once.reserve(digest(1), NOW + 1000, NOW).unwrap();
    assert!(is_used(&once.reserve(digest(1), NOW + 1000, NOW)));
    drop(held);
    once.reserve(digest(1), NOW + 1000, NOW).unwrap().keep(NOW).unwrap();
}

#[test]
fn of_many_at_once_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let once = Arc::new(Once::new(folder.path().join("converted")));
    let won = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| match once.reserve(digest(9), NOW + 1000, NOW) {
                    Ok(reservation) => reservation.keep(NOW).is_ok(),
                    Err(_) => false,
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).filter(|won| *won).count()
    });
    assert_eq!(won, 1);
}

#[test]
fn what_a_power_cut_leaves_and_what_somebody_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("converted");
    let once = Arc::new(Once::new(path.clone()));
    once.reserve(digest(1), NOW + 1000, NOW).unwrap().keep(NOW).unwrap();
    let whole = std::fs::read(&path).unwrap();
    // The beginning of a second line: never acknowledged.
    std::fs::write(&path, [&*whole, b"0202"].concat()).unwrap();
    let again = Arc::new(Once::new(path.clone()));
    assert!(is_used(&again.reserve(digest(1), NOW + 1000, NOW)));
    again.reserve(digest(2), NOW + 1000, NOW).unwrap().keep(NOW).unwrap();
    assert_eq!(std::fs::read(&path).unwrap().len(), whole.len() * 2);
    // A file that is none of ours: nothing is exchanged rather than exchanged twice.
    std::fs::write(&path, "hello\n").unwrap();
    let broken = Arc::new(Once::new(path));
    assert!(matches!(broken.reserve(digest(1), NOW + 1000, NOW), Err(Unreserved::Disk(_))));
}

#[test]
fn two_processes_on_one_file_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("converted");
    let (one, other) = (Arc::new(Once::new(path.clone())), Arc::new(Once::new(path.clone())));
    one.open(NOW).unwrap();
    other.open(NOW).unwrap();
    one.reserve(digest(1), NOW + 1000, NOW).unwrap().keep(NOW).unwrap();
    assert!(is_used(&other.reserve(digest(1), NOW + 1000, NOW)));
    // Both reserve, and one is faster.
    let (first, second) = (one.reserve(digest(2), NOW + 1000, NOW), other.reserve(digest(2), NOW + 1000, NOW));
    second.unwrap().keep(NOW).unwrap();
    assert!(is_used(&first.unwrap().keep(NOW)));
    // One writes it anew, without what is over.
    other.reserve(digest(3), NOW + 1_000_000_000, NOW).unwrap().keep(NOW).unwrap();
    let later = NOW + 1000 + GRACE_MS;
    one.open(later).unwrap();
    other.reserve(digest(4), NOW + 1_000_000_000, later).unwrap().keep(later).unwrap();
    assert!(is_used(&one.reserve(digest(4), NOW + 1_000_000_000, later)));
    assert!(is_used(&one.reserve(digest(3), NOW + 1_000_000_000, later)));
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
}

#[test]
fn a_file_that_is_taken_away_is_not_forgotten_by_who_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("converted");
    let once = Arc::new(Once::new(path.clone()));
    once.reserve(digest(1), NOW + 1000, NOW).unwrap().keep(NOW).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(is_used(&once.reserve(digest(1), NOW + 1000, NOW)));
    once.reserve(digest(2), NOW + 1000, NOW).unwrap().keep(NOW).unwrap();
}
