//! The tamper table: every change of a trail is found, at its file, its line and its entry.

use std::fs;
use std::path::{Path, PathBuf};

use crossgate::audit::entry::Seal;
use crossgate::audit::read::Place;
use crossgate::audit::verify::{Report, Trust, Trusted, verify};
use proptest::prelude::*;
use tempfile::TempDir;

use super::trail::{Trail, new_key, whole};

fn check(folder: &Path) -> Report {
    verify(&Place::find(folder).unwrap(), &Trust::default()).unwrap()
}

/// File, line and seq of the first problem, and what it says.
fn first(report: &Report) -> (String, Option<u64>, Option<u64>, String) {
    let problem = report.problems.first().unwrap_or_else(|| panic!("nothing was found: {report:?}"));
    (problem.file.clone(), problem.line, problem.seq, problem.broken.to_string())
}

fn place_of(report: &Report) -> (String, Option<u64>, Option<u64>) {
    let (file, line, seq, _) = first(report);
    (file, line, seq)
}

const FIRST: &str = "audit-00000000000000000001.jsonl";

fn trail() -> (TempDir, Trail) {
    let folder = TempDir::new().unwrap();
    let trail = whole(&folder.path().join("audit"));
    (folder, trail)
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn put(path: &Path, lines: &[String]) {
    fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The segments in order: path, first seq, entries.
fn segments(trail: &Trail) -> Vec<(PathBuf, u64, usize)> {
    let mut found: Vec<PathBuf> = fs::read_dir(&trail.folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
        .collect();
    found.sort();
    let mut seq = 1;
    found
        .into_iter()
        .map(|path| {
            let count = lines(&path).len();
            let first = seq;
            seq += count as u64;
            (path, first, count)
        })
        .collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn an_untouched_trail_passes() {
    let (_folder, trail) = trail();
    let report = check(&trail.folder);
    assert!(report.ok(), "{report:#?}");
    assert_eq!((report.entries, report.segments.len(), report.open), (trail.link.seq, 3, 3));
    assert_eq!(report.signed.as_ref().unwrap().seq, trail.link.seq);
    // One of them of before the first entry.
    assert_eq!(report.checkpoints, 7);
    assert!(report.segments[0].sealed && report.segments[1].sealed && !report.segments[2].sealed);
    let by_file = verify(&Place::find(&trail.active()).unwrap(), &Trust::default()).unwrap();
    assert!(by_file.ok());
}

#[test]
fn every_flipped_bit_is_found_at_its_line() {
    let (_folder, trail) = trail();
    for (path, first_seq, count) in segments(&trail) {
        let whole = fs::read(&path).unwrap();
        let mut line = 0_u64;
        // Every byte of one segment, each seventh of the others; each time another bit.
        let step = if first_seq == 1 { 1 } else { 7 };
        for at in 0..whole.len() {
            let here = line;
            line += u64::from(whole[at] == b'\n');
            if at % step != 0 {
                continue;
            }
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, &bytes).unwrap();
            let report = check(&trail.folder);
            let (file, at_line, seq, told) = first(&report);
            let expected = (name(&path), Some(here + 1), Some(first_seq + here));
            assert_eq!((file, at_line, seq), expected, "byte {at} of {count} lines: {told}");
        }
        fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn lines_that_go_come_or_change_places_are_found() {
    type Change = fn(&mut Vec<String>, usize);
    let table: [(&str, Change, i64, i64); 4] = [
        // Where it is found, from the changed line, and which entry stands there.
        ("delete", |lines, at| drop(lines.remove(at)), 0, 1),
        ("insert", |lines, at| lines.insert(at, lines[at - 2].clone()), 0, -2),
        ("swap", |lines, at| lines.swap(at, at + 1), 0, 1),
        ("duplicate", |lines, at| lines.insert(at + 1, lines[at].clone()), 1, 0),
    ];
    let (_folder, trail) = trail();
    for (path, first_seq, count) in segments(&trail) {
        let whole = lines(&path);
        for (what, change, line, seq) in table {
            for at in 2..count - 2 {
                let mut changed = whole.clone();
                change(&mut changed, at);
                put(&path, &changed);
                let report = check(&trail.folder);
                let expected = (
                    name(&path),
                    Some((at as i64 + 1 + line) as u64),
                    Some((first_seq as i64 + at as i64 + seq) as u64),
                );
                assert_eq!(place_of(&report), expected, "{what} at line {}: {:#?}", at + 1, report.problems);
                let most = if what == "swap" { 2 } else { 1 };
                assert!(report.problems.len() <= most, "{what}: {:#?}", report.problems);
            }
        }
        put(&path, &whole);
    }
}

#[test]
fn the_first_line_of_a_segment_is_missed() {
    let (_folder, trail) = trail();
    for (path, first_seq, _) in segments(&trail) {
        let whole = lines(&path);
        put(&path, &whole[1..]);
        let report = check(&trail.folder);
        assert_eq!(place_of(&report), (name(&path), Some(1), Some(first_seq + 1)), "{:#?}", report.problems);
        put(&path, &whole);
    }
}

#[test]
fn an_end_that_was_cut_is_found_at_every_byte() {
    let (_folder, trail) = trail();
    let whole = fs::read(trail.active()).unwrap();
    let mut ends: Vec<usize> = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    let total = ends.len() as u64;
    let from = ends[ends.len() - 4] + 1;
    ends.retain(|end| *end >= from);
    for length in from..whole.len() {
        fs::write(trail.active(), &whole[..length]).unwrap();
        let lost = ends.iter().filter(|end| length <= **end).count() as u64;
        let report = check(&trail.folder);
        let (file, line, seq, told) = first(&report);
        let expected = ("audit.jsonl".to_owned(), Some(total - lost + 1), Some(trail.link.seq - lost + 1));
        assert_eq!((file, line, seq), expected, "cut at {length}: {told}");
        assert!(told.contains("the trail ends here"), "{told}");
    }
}

#[test]
fn a_dropped_segment_is_found() {
    let (_folder, trail) = trail();
    let all = segments(&trail);
    let saved = trail.folder.with_extension("saved");
    copy(&trail.folder, &saved);
    let table = [
        ("the oldest", 0, (name(&all[1].0), Some(1), Some(all[1].1)), "trail.retire"),
        ("a middle one", 1, ("audit.jsonl".to_owned(), Some(1), Some(all[1].1)), "are missing"),
        ("the newest", 2, ("audit.jsonl".to_owned(), None, Some(all[2].1)), "not there"),
    ];
    for (what, index, expected, word) in table {
        for with_checkpoints in [true, false] {
            fs::remove_file(&all[index].0).unwrap();
            let signs = trail.folder.join(format!("audit-{:020}.checkpoints", all[index].1));
            if with_checkpoints {
                fs::remove_file(&signs).unwrap();
            }
            let report = check(&trail.folder);
            let found = report.problems.iter().find(|problem| problem.broken.to_string().contains(word));
            let found = found.unwrap_or_else(|| panic!("{what}: {:#?}", report.problems));
            assert_eq!((found.file.clone(), found.line, found.seq), expected, "{what}: {:#?}", report.problems);
            copy(&saved, &trail.folder);
        }
    }
}

#[test]
fn an_older_copy_is_found_by_what_was_kept_elsewhere() {
    let folder = TempDir::new().unwrap();
    let mut trail = whole(&folder.path().join("audit"));
    let old = folder.path().join("old");
    copy(&trail.folder, &old);
    let seq = trail.link.seq;
    trail.action("user_7", true);
    trail.close();
    let place = Place::find(&old).unwrap();
    assert!(verify(&place, &Trust::default()).unwrap().ok(), "by itself an old copy is whole");
    let trust = Trust { keys: Vec::new(), witnesses: vec![("kept".to_owned(), trail.signed_line().into_bytes())] };
    let report = verify(&place, &trust).unwrap();
    let lines = lines(&old.join("audit.jsonl")).len() as u64;
    assert_eq!(place_of(&report), ("audit.jsonl".to_owned(), Some(lines + 1), Some(seq + 1)));
    assert!(first(&report).3.contains("kept covers entry"), "{:?}", report.problems);
    assert!(verify(&Place::find(&trail.folder).unwrap(), &trust).unwrap().ok(), "the trail itself has it");
}

#[test]
fn a_trail_of_another_key_is_found_by_the_key() {
    let folder = TempDir::new().unwrap();
    let ours = whole(&folder.path().join("ours"));
    let forged = Trail::with_key(&folder.path().join("forged"), new_key());
    let forged = {
        let mut forged = forged;
        forged.action("somebody", true);
        forged.close();
        forged
    };
    assert!(check(&forged.folder).ok(), "its own key makes it whole");
    let keys = Trusted::read(&ours.folder.join("audit.pub")).unwrap();
    let trust = Trust { keys, witnesses: Vec::new() };
    let report = verify(&Place::find(&forged.folder).unwrap(), &trust).unwrap();
    let told: Vec<_> =
        report.problems.iter().map(|problem| (problem.file.as_str(), problem.broken.to_string())).collect();
    assert!(told.iter().any(|(file, text)| *file == "audit.pub" && text.contains("not the trusted one")), "{told:?}");
    assert!(
        told.iter().any(|(file, text)| file.ends_with(".checkpoints") && text.contains("signed with key")),
        "{told:?}"
    );
}

/// Whoever can hash can write a new chain; what was signed of the old one stays.
#[test]
fn history_that_was_written_anew_is_found_at_the_first_signed_entry() {
    let folder = TempDir::new().unwrap();
    let real = whole(&folder.path().join("real"));
    let mut forged = Trail::with_key(&folder.path().join("forged"), real.key.clone());
    forged.action("nobody", true);
    for user in ["user_2", "user_3"] {
        forged.action(user, true);
    }
    let path = real.folder.join(FIRST);
    let before = lines(&path).len();
    let mut made = lines(&forged.active());
    made.truncate(before);
    put(&path, &made);
    let report = check(&real.folder);
    assert_eq!(place_of(&report), (FIRST.to_owned(), Some(6), Some(6)), "{:#?}", report.problems);
    assert!(first(&report).3.contains("covers another entry"), "{:?}", first(&report));
}

#[test]
fn an_edited_seal_is_found() {
    for (count, seal, word) in [
        (9, None, "count"),
        (0, Some(Seal { first: 2, last: 12 }), "first"),
        (0, Some(Seal { first: 1, last: 99 }), "last"),
    ] {
        let folder = TempDir::new().unwrap();
        let mut trail = Trail::begin(folder.path());
        trail.action("user_1", true);
        let (lines, span) = (trail.link.seq, Seal { first: 1, last: trail.link.seq });
        // As somebody who can hash, and sign, would write it.
        trail.system("trail.seal", |entry| {
            entry.count = Some(if count == 0 { lines } else { count });
            entry.seal = Some(seal.unwrap_or(span));
        });
        trail.sign();
        fs::rename(trail.active(), trail.segment(1)).unwrap();
        trail.open("rotated");
        trail.close();
        let report = check(folder.path());
        assert_eq!(place_of(&report), (FIRST.to_owned(), Some(5), Some(5)));
        assert!(first(&report).3.contains(word), "{:?}", first(&report));
    }
}

#[test]
fn deleted_checkpoints_are_missed() {
    let (_folder, trail) = trail();
    for (path, first_seq, count) in segments(&trail) {
        let signs = trail.folder.join(format!("audit-{first_seq:020}.checkpoints"));
        let whole = fs::read(&signs).unwrap();
        fs::remove_file(&signs).unwrap();
        let report = check(&trail.folder);
        let last = first_seq + count as u64 - 1;
        if last == trail.link.seq {
            assert_eq!(place_of(&report), (name(&path), Some(count as u64), Some(last)), "{:#?}", report.problems);
        } else {
            // A crash leaves it like this, and the later ones prove what stands before them.
            let note = format!("{}: no checkpoint at its end, entry {last}; a later one covers it", name(&path));
            assert!(report.ok() && report.notes.contains(&note), "{:?}{:#?}", report.notes, report.problems);
        }
        fs::write(&signs, whole).unwrap();
    }
    let key = trail.folder.join("audit.pub");
    fs::remove_file(&key).unwrap();
    assert!(first(&check(&trail.folder)).3.contains("no public key"));
}

#[test]
fn an_edited_checkpoint_is_found_at_its_line() {
    let (_folder, trail) = trail();
    let signs = trail.folder.join("audit-00000000000000000001.checkpoints");
    let whole = fs::read(&signs).unwrap();
    let end = whole.iter().position(|byte| *byte == b'\n').unwrap();
    for at in 0..end {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 7);
        fs::write(&signs, &bytes).unwrap();
        let report = check(&trail.folder);
        assert_eq!(first(&report).0, name(&signs), "byte {at}: {:#?}", report.problems);
        assert_eq!(first(&report).1, Some(1), "byte {at}");
    }
}

#[test]
fn later_breaks_show_as_well() {
    let (_folder, trail) = trail();
    for (path, _, _) in segments(&trail) {
        let mut changed = lines(&path);
        changed[3] = changed[3].replace("user_", "User_").replace("\"ok\"", "\"no\"");
        changed.remove(6);
        put(&path, &changed);
    }
    let report = check(&trail.folder);
    let places: Vec<_> = report.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(places, [4, 7, 4, 7, 4, 7].map(Some), "{:#?}", report.problems);
}

#[test]
fn what_retention_took_is_no_break() {
    let folder = TempDir::new().unwrap();
    let mut trail = Trail::begin(folder.path());
    trail.action("user_1", true);
    trail.rotate();
    trail.action("user_1", true);
    trail.rotate();
    trail.retire(Seal { first: 1, last: 5 });
    let report = check(folder.path());
    assert!(report.ok(), "{:#?}", report.problems);
    assert_eq!(report.first.unwrap().seq, 6);
}

#[test]
fn what_a_failed_disk_left_behind_is_a_note() {
    let folder = TempDir::new().unwrap();
    let mut trail = Trail::begin(folder.path());
    trail.action("user_1", true);
    let (link, acknowledged) = (trail.link, fs::read(trail.active()).unwrap());
    trail.action("user_2", true);
    trail.write(b"{\"seq\":7,\"prev");
    fs::rename(trail.active(), trail.segment(1)).unwrap();
    trail.link = link;
    trail.open("recovered");
    trail.close();
    let report = check(folder.path());
    assert!(report.ok(), "{:#?}", report.problems);
    assert!(
        report.notes.iter().any(|note| note.contains("3 lines at its end were never acknowledged")),
        "{:?}",
        report.notes
    );
    assert_eq!(report.entries, trail.link.seq);
    // The same lines are a break when nothing says that the disk failed.
    drop(acknowledged);
}

#[test]
fn a_line_that_is_being_written_is_a_note() {
    let folder = TempDir::new().unwrap();
    let mut trail = Trail::begin(folder.path());
    trail.action("user_1", true);
    trail.sign();
    trail.write(b"{\"seq\":5,\"pre");
    let report = check(folder.path());
    assert!(report.ok(), "{:#?}", report.problems);
    assert!(report.notes.iter().any(|note| note.contains("unfinished line of 13 bytes")), "{:?}", report.notes);
}

#[test]
fn a_writer_beside_it_causes_no_alarm() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_owned();
    let mut trail = Trail::begin(&path);
    let writer = std::thread::spawn(move || {
        let mut kept = std::collections::VecDeque::new();
        for _ in 0..150 {
            let first = trail.first;
            for _ in 0..20 {
                trail.action("user_1", true);
            }
            trail.sign();
            trail.rotate();
            kept.push_back(Seal { first, last: trail.link.seq - 1 });
            if kept.len() > 3 {
                trail.retire(kept.pop_front().unwrap());
            }
        }
    });
    let mut rounds = 0;
    while !writer.is_finished() {
        let report = check(&path);
        assert!(report.ok(), "{:#?} {:#?}", report.problems, report.segments);
        rounds += 1;
    }
    writer.join().unwrap();
    assert!(check(&path).ok());
    assert!(rounds > 3, "{rounds}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever bytes are written over a piece of the trail: it is found, or the trail reads as before.
    #[test]
    fn any_change_is_found_or_changes_nothing(file in 0_usize..6, at in 0.0..1.0_f64, cut in 0_usize..300, put in prop::collection::vec(any::<u8>(), 0..300)) {
        let (_folder, trail) = trail();
        let before = check(&trail.folder);
        let mut files: Vec<_> = segments(&trail).into_iter().flat_map(|(path, first, _)| {
            let signs = trail.folder.join(format!("audit-{first:020}.checkpoints"));
            [path, signs]
        }).collect();
        let path = files.swap_remove(file);
        let whole = fs::read(&path).unwrap();
        let at = (whole.len() as f64 * at) as usize;
        let end = (at + cut).min(whole.len());
        let changed = [&whole[..at], &put, &whole[end..]].concat();
        fs::write(&path, &changed).unwrap();
        let after = check(&trail.folder);
        if path.extension().is_some_and(|ending| ending == "jsonl") {
            prop_assert!(!after.ok() || changed == whole || changed.starts_with(&whole), "{:?}", changed);
        }
        if after.ok() {
            prop_assert_eq!(after.entries, before.entries);
            prop_assert_eq!(&after.last, &before.last);
        }
    }
}
