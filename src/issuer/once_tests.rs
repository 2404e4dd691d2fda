use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use super::{GRACE_MS, MOST_OF_ONE, Once, Spent, Unreserved};

const NOW: i64 = 1_700_000_000_000;

fn spent(number: u8, until_ms: i64) -> Spent {
    Spent { names: vec![[number; 32]], person: [number; 16], until_ms }
}

fn is_used<T>(reserved: &Result<T, Unreserved>) -> bool {
    matches!(reserved, Err(Unreserved::Used))
}

#[test]
fn once_and_never_again_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/converted");
    let once = Arc::new(Once::new(path.clone()));
    once.reserve(spent(1, NOW + 1000), NOW).unwrap().keep(NOW).unwrap();
    assert!(is_used(&once.reserve(spent(1, NOW + 1000), NOW)));
    once.reserve(spent(2, NOW + 1000), NOW).unwrap().keep(NOW).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let again = Arc::new(Once::new(path.clone()));
    assert!(is_used(&again.reserve(spent(1, NOW + 1000), NOW)));
    assert!(is_used(&again.reserve(spent(2, NOW + 1000), NOW)));
    again.reserve(spent(3, NOW + 1000), NOW).unwrap();
    // Long over: the credential itself is refused by then, and its line is gone.
    let later = Arc::new(Once::new(path.clone()));
    later.open(NOW + 1000 + GRACE_MS).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
}

#[test]
fn a_reservation_excludes_and_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let once = Arc::new(Once::new(folder.path().join("converted")));
    let held = once.reserve(spent(1, NOW + 1000), NOW).unwrap();
    assert!(is_used(&once.reserve(spent(1, NOW + 1000), NOW)));
    drop(held);
    once.reserve(spent(1, NOW + 1000), NOW).unwrap().keep(NOW).unwrap();
}

#[test]
fn of_many_at_once_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let once = Arc::new(Once::new(folder.path().join("converted")));
    let won = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| match once.reserve(spent(9, NOW + 1000), NOW) {
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
    once.reserve(spent(1, NOW + 1000), NOW).unwrap().keep(NOW).unwrap();
    let whole = std::fs::read(&path).unwrap();
    // The beginning of a second line: never acknowledged.
    std::fs::write(&path, [&*whole, b"0202"].concat()).unwrap();
    let again = Arc::new(Once::new(path.clone()));
    assert!(is_used(&again.reserve(spent(1, NOW + 1000), NOW)));
    again.reserve(spent(2, NOW + 1000), NOW).unwrap().keep(NOW).unwrap();
    assert_eq!(std::fs::read(&path).unwrap().len(), whole.len() * 2);
    // A file that is none of ours: nothing is exchanged rather than exchanged twice.
    std::fs::write(&path, "hello\n").unwrap();
    let broken = Arc::new(Once::new(path));
    assert!(matches!(broken.reserve(spent(1, NOW + 1000), NOW), Err(Unreserved::Disk(_))));
}

#[test]
fn two_processes_on_one_file_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("converted");
    let (one, other) = (Arc::new(Once::new(path.clone())), Arc::new(Once::new(path.clone())));
    one.open(NOW).unwrap();
    other.open(NOW).unwrap();
    one.reserve(spent(1, NOW + 1000), NOW).unwrap().keep(NOW).unwrap();
    assert!(is_used(&other.reserve(spent(1, NOW + 1000), NOW)));
    // Both reserve, and one is faster.
    let (first, second) = (one.reserve(spent(2, NOW + 1000), NOW), other.reserve(spent(2, NOW + 1000), NOW));
    second.unwrap().keep(NOW).unwrap();
    assert!(is_used(&first.unwrap().keep(NOW)));
    // One writes it anew, without what is over.
    other.reserve(spent(3, NOW + 1_000_000_000), NOW).unwrap().keep(NOW).unwrap();
    let later = NOW + 1000 + GRACE_MS;
    one.open(later).unwrap();
    other.reserve(spent(4, NOW + 1_000_000_000), later).unwrap().keep(later).unwrap();
    assert!(is_used(&one.reserve(spent(4, NOW + 1_000_000_000), later)));
    assert!(is_used(&one.reserve(spent(3, NOW + 1_000_000_000), later)));
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
}

#[test]
fn a_file_that_is_taken_away_is_not_forgotten_by_who_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("converted");
    let once = Arc::new(Once::new(path.clone()));
    once.reserve(spent(1, NOW + 1000), NOW).unwrap().keep(NOW).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(is_used(&once.reserve(spent(1, NOW + 1000), NOW)));
    once.reserve(spent(2, NOW + 1000), NOW).unwrap().keep(NOW).unwrap();
}

#[test]
fn nobody_fills_it_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("converted");
    let one_of = |person: u8, number: usize, until_ms: i64| {
        let mut name = [person; 32];
        name[..8].copy_from_slice(&number.to_be_bytes());
        // What it is called elsewhere is the same credential.
        let mut other = name;
        other[31] ^= 1;
        Spent { names: vec![name, other], person: [person; 16], until_ms }
    };
    let is_too_many = |once: &Arc<Once>, person, now| {
        let reserved = once.reserve(one_of(person, MOST_OF_ONE, now + 1000), now);
        matches!(reserved.map(drop), Err(Unreserved::TooMany))
    };
    let once = Arc::new(Once::new(path.clone()));
    let kept: usize = 10;
    for number in 0..kept {
        once.reserve(one_of(1, number, NOW + 1000), NOW).unwrap().keep(NOW).unwrap();
    }
    let held: Vec<_> =
        (kept..MOST_OF_ONE).map(|number| once.reserve(one_of(1, number, NOW + 1000), NOW).unwrap()).collect();
    assert!(is_too_many(&once, 1, NOW), "those that are on their way count");
    assert!(!is_too_many(&once, 2, NOW), "somebody else has their own");
    drop(held);
    assert!(!is_too_many(&once, 1, NOW));
    // A process that reads it, also twice, counts the same.
    let text: String =
        (kept..MOST_OF_ONE).map(|number| format!("{number:064x} {} {}\n", NOW + 1000, "01".repeat(16))).collect();
    std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + &text).unwrap();
    let again = Arc::new(Once::new(path.clone()));
    assert!(is_too_many(&again, 1, NOW));
    std::fs::write(path.with_extension("other"), std::fs::read(&path).unwrap()).unwrap();
    std::fs::rename(path.with_extension("other"), &path).unwrap();
    assert!(is_too_many(&once, 1, NOW) && is_too_many(&again, 1, NOW));
    assert!(is_used(&again.reserve(one_of(1, 0, NOW + 1000), NOW)), "before anything else");
    // What is over makes room.
    let later = NOW + 1000 + GRACE_MS;
    assert!(!is_too_many(&once, 1, later));
    assert!(!is_too_many(&again, 1, later));
}

#[test]
fn lines_without_a_person_are_read_and_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("converted");
    let old = format!("{} {}\n{} {}\n", "01".repeat(32), NOW + 1000, "02".repeat(32), NOW + 1_000_000_000);
    std::fs::write(&path, &old).unwrap();
    let once = Arc::new(Once::new(path.clone()));
    assert!(is_used(&once.reserve(spent(1, NOW + 1000), NOW)));
    once.reserve(spent(3, NOW + 1_000_000_000), NOW).unwrap().keep(NOW).unwrap();
    once.open(NOW + 1000 + GRACE_MS).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let person = "03".repeat(16);
    let until = NOW + 1_000_000_000;
    assert_eq!(lines, [format!("{} {until}", "02".repeat(32)), format!("{} {until} {person}", "03".repeat(32))]);
    for bad in ["01", "01 x", "", "zz"] {
        std::fs::write(&path, format!("{} {until} {bad}\n", "01".repeat(32))).unwrap();
        let broken = Arc::new(Once::new(path.clone()));
        assert!(matches!(broken.open(NOW), Err(problem) if problem.kind() == std::io::ErrorKind::InvalidData), "{bad}");
    }
}

#[test]
fn one_name_for_all_spellings_of_a_credential() {
    let spelling = |credential: &str| super::folded(&super::plain(credential));
    let name = spelling("Ab3-_z9QKxYtBv71NmPq");
    for other in [
        "ab3-_Z9qkxytbv71nmpq",
        "Ab3%2D_z9QKxYtBv71NmPq",
        "%2541b3-_z9QKxYtBv71NmPq",
        "\"Ab3-_z9QKxYtBv71NmPq\"",
        "Ab3+/z9QKxYtBv71NmPq==",
        "Ab3%2B%2Fz9QKxYtBv71NmPq%3D",
        " Ab3-_z9QKxYtBv71NmPq",
    ] {
        assert_eq!(spelling(other), name, "{other}");
    }
    for other in ["Ab3-_z9QKxYtBv71NmPr", "Ab3-_z9QKxYtBv71NmP", "Ab3-_z9QKxYtBv71NmPq.x"] {
        assert_ne!(spelling(other), name, "{other}");
    }
    assert_ne!(spelling("s1A"), spelling("s1a"), "counters have short names");
    assert_eq!(spelling("%zz%"), "%zz%");
}

/// Found by a reviewer: what was signed was looked for in the escaped text, and not found there.
#[test]
fn a_token_that_travels_escaped_is_the_token() {
    for other in ["h%2Ep.s", "%68.p.s", "%22h.p.s%22", "\"h.p.s\"", "%2568.p.s"] {
        assert_eq!(super::plain(other), "h.p.s", "{other}");
    }
}
