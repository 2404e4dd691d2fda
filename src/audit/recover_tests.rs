//! The start: what it finds, what it says of it, and that the chain goes on.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::chain::{Hash, Line, Link};
use super::entry::{Id, Seal};
use super::names::Names;
use super::read::Place;
use super::system;
use super::testing::{Bed, Chain, Desk, Wrong};
use super::trail::Trail;
use super::verify::{Trust, verify};

const SIZE: u64 = 1 << 20;

/// A trail of some entries, ended as by a crash.
fn crashed(bed: &Bed, size: u64, batches: usize) -> Vec<Id> {
    let mut desk = start(bed, size);
    (0..batches).flat_map(|_| desk.commit(2)).collect()
}

fn start(bed: &Bed, size: u64) -> Desk {
    Desk::open(Arc::new(bed.disk()), bed.options(size, 1000)).unwrap()
}

/// Starts, and gives what the trail says then. That does not depend on how often it is started.
fn restarted(bed: &Bed, size: u64) -> Chain {
    drop(start(bed, size));
    let chain = bed.chain();
    assert!(chain.open_attempts().is_empty());
    drop(start(bed, size));
    assert_eq!(bed.chain().openings(), chain.openings());
    bed.chain()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Of a copied `state_dir`: the witness is named after where the trail lies.
fn move_witness(from: &Bed, to: &Bed) {
    let witness = |bed: &Bed| Names::of(&bed.active()).unwrap().witness(&bed.path("state"));
    fs::rename(to.path("state").join(witness(from).file_name().unwrap()), witness(to)).unwrap();
}

#[test]
fn a_tail_torn_at_any_byte_of_the_last_two_lines_is_cut_and_kept() {
    let whole = Bed::new();
    crashed(&whole, SIZE, 5);
    let bytes = fs::read(whole.active()).unwrap();
    let feeds: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').collect();
    let last_two = feeds[feeds.len() - 3] + 1;
    for end in last_two..bytes.len() {
        let bed = Bed::new();
        copy(&whole.folder(), &bed.folder());
        copy(&whole.path("state"), &bed.path("state"));
        fs::write(bed.active(), &bytes[..end]).unwrap();
        drop(start(&bed, SIZE));
        let chain = bed.chain();
        let good = bytes[..end].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        assert!(fs::read(bed.active()).unwrap().starts_with(&bytes[..good]));
        let torn = bed.files().into_iter().find(|name| name.ends_with(".torn"));
        assert_eq!(torn.is_some(), good < end, "cut at {end}");
        if let Some(torn) = torn {
            assert_eq!(fs::read(bed.folder().join(&torn)).unwrap(), &bytes[good..end]);
            let said = chain.find("trail.torn").unwrap();
            assert_eq!((&said["resource"], &said["count"]), (&torn.into(), &(end - good).into()));
        }
        assert_eq!(chain.find("trail.broken"), None);
        assert!(chain.open_attempts().is_empty());
    }
}

#[test]
fn zeros_and_what_stands_behind_them_are_a_torn_tail() {
    let bed = Bed::new();
    crashed(&bed, SIZE, 3);
    let mut bytes = fs::read(bed.active()).unwrap();
    let end = bytes.len();
    bytes[end - 500..end - 400].fill(0);
    bytes.extend([0; 5000]);
    fs::write(bed.active(), &bytes).unwrap();
    let chain = restarted(&bed, SIZE);
    assert_eq!(chain.actions().iter().filter(|action| **action == "trail.torn").count(), 1);
}

#[test]
fn what_a_checkpoint_covers_is_not_cut_but_broken() {
    for (name, harm) in [
        ("flipped", &(|bytes: &mut Vec<u8>| bytes[700] ^= 1) as &dyn Fn(&mut Vec<u8>)),
        ("cut", &|bytes| bytes.truncate(900)),
        ("cut at a line", &|bytes| bytes.truncate(bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1)),
        ("emptied", &Vec::clear),
        ("overwritten", &|bytes| bytes.fill(b'x')),
    ] {
        let bed = Bed::new();
        crashed(&bed, SIZE, 3);
        // The second start's checkpoint covers all of it.
        drop(start(&bed, SIZE));
        let mut bytes = fs::read(bed.active()).unwrap();
        harm(&mut bytes);
        fs::write(bed.active(), &bytes).unwrap();
        drop(start(&bed, SIZE));
        let fresh = Chain::read(&[bed.active()]).unwrap();
        assert_eq!(fresh.openings(), ["broken"], "{name}");
        let said = fresh.find("trail.broken").unwrap();
        assert!(said["reason"].as_str().unwrap().contains("a checkpoint covers entry"), "{name}: {said}");
        let evidence = bed.folder().join(said["resource"].as_str().unwrap());
        assert_eq!(fs::read(evidence).unwrap(), bytes, "{name}: evidence stays as it is");
        // Said once; from there the trail is whole again.
        drop(start(&bed, SIZE));
        let again = Chain::read(&[bed.active()]).unwrap();
        assert_eq!(again.actions().iter().filter(|action| **action == "trail.broken").count(), 1, "{name}");
        assert!(again.actions().ends_with(&["trail.start"]), "{name}");
    }
}

#[test]
fn an_older_copy_of_the_folder_is_found_by_the_checkpoint_that_is_not_in_it() {
    let (bed, old) = (Bed::new(), Bed::new());
    crashed(&bed, SIZE, 3);
    copy(&bed.folder(), &old.folder());
    drop(start(&bed, SIZE));
    fs::remove_dir_all(bed.folder()).unwrap();
    copy(&old.folder(), &bed.folder());
    drop(start(&bed, SIZE));
    assert_eq!(Chain::read(&[bed.active()]).unwrap().openings(), ["broken"]);
}

#[test]
fn another_chain_of_the_same_length_is_not_the_one_that_was_covered() {
    let (bed, other) = (Bed::new(), Bed::new());
    for bed in [&bed, &other] {
        crashed(bed, SIZE, 3);
        drop(start(bed, SIZE));
    }
    drop(other.options(SIZE, 1));
    fs::copy(other.active(), bed.active()).unwrap();
    drop(start(&bed, SIZE));
    let chain = Chain::read(&[bed.active()]).unwrap();
    assert!(chain.find("trail.broken").unwrap()["reason"].as_str().unwrap().contains("is not the one"));
}

#[test]
fn a_folder_that_lost_everything_says_so() {
    let bed = Bed::new();
    crashed(&bed, SIZE, 1);
    fs::remove_dir_all(bed.folder()).unwrap();
    drop(start(&bed, SIZE));
    // The key beside the trail went too, and the one in `state_dir` still vouches for the checkpoint.
    assert_eq!(bed.chain().openings(), ["broken"]);
}

#[test]
fn a_rotation_that_a_crash_cut_short_is_finished() {
    for step in ["sealed", "renamed", "laid"] {
        let bed = Bed::new();
        let acknowledged = crashed(&bed, 8 << 10, 20);
        // Back to where the last rotation had just sealed.
        let last = bed.segments().len() - 2;
        let sealed = bed.segments()[last].clone();
        let fresh = fs::read(bed.active()).unwrap();
        let lost = Chain::read(&[bed.active()]).unwrap();
        match step {
            "sealed" => fs::rename(&sealed, bed.active()).unwrap(),
            "renamed" => fs::remove_file(bed.active()).unwrap(),
            _ => {
                fs::rename(&sealed, bed.active()).unwrap();
                let line = fresh.iter().position(|byte| *byte == b'\n').unwrap();
                fs::write(bed.folder().join("audit.jsonl.new"), &fresh[..line / 2]).unwrap();
            }
        }
        let chain = restarted(&bed, 8 << 10);
        assert_eq!(chain.openings().last(), Some(&if step == "renamed" { "restarted" } else { "rotated" }), "{step}");
        assert_eq!(chain.find("trail.broken"), None, "{step}");
        let missing = acknowledged.iter().filter(|id| !chain.attempts.contains_key(*id));
        assert!(missing.into_iter().all(|id| lost.attempts.contains_key(id)), "{step}");
        assert!(!bed.files().contains(&"audit.jsonl.new".to_owned()), "{step}");
    }
}

#[test]
fn a_lost_key_is_replaced_and_its_checkpoints_still_count() {
    let bed = Bed::new();
    crashed(&bed, SIZE, 2);
    let key = |chain: &Chain| chain.find("trail.start").unwrap()["resource"].clone();
    fs::remove_file(bed.path("state/audit.key")).unwrap();
    drop(start(&bed, SIZE));
    let chain = bed.chain();
    assert_eq!(chain.find("trail.broken"), None);
    let public = super::keys::PublicKey::all(&fs::read_to_string(bed.folder().join("audit.pub")).unwrap());
    assert_eq!((public.len(), key(&chain)), (2, public[1].id().into()));
    // Signed by the key that is gone, in the file that the trail was cut behind.
    fs::remove_file(bed.path("state/audit.key")).unwrap();
    fs::write(bed.active(), "").unwrap();
    drop(start(&bed, SIZE));
    assert_eq!(Chain::read(&[bed.active()]).unwrap().openings(), ["broken"]);
}

#[test]
fn an_empty_file_that_was_put_there_is_the_beginning() {
    let bed = Bed::new();
    fs::create_dir(bed.folder()).unwrap();
    fs::write(bed.active(), "").unwrap();
    assert_eq!(restarted(&bed, SIZE).openings(), ["first"]);
}

#[test]
fn half_a_checkpoint_does_not_spoil_the_next_one() {
    let bed = Bed::new();
    crashed(&bed, SIZE, 1);
    let path = bed.folder().join("audit-00000000000000000001.checkpoints");
    let mut text = fs::read(&path).unwrap();
    text.extend(b"{\"node\":\"half");
    fs::write(&path, &text).unwrap();
    drop(start(&bed, SIZE));
    let text = fs::read_to_string(&path).unwrap();
    // Before the first entry, and of both starts.
    assert_eq!(text.lines().count(), 3);
    assert!(text.lines().all(|line| super::checkpoint::Checkpoint::parse(line.as_bytes()).is_some()));
}

/// Somebody wrote a line into the live file and the process was killed: what it had acknowledged behind that line is no
/// torn tail.
#[test]
fn whole_entries_behind_a_foreign_line_are_evidence_and_no_torn_tail() {
    let bed = Bed::new();
    crashed(&bed, SIZE, 3);
    let text = fs::read_to_string(bed.active()).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.insert(lines.len() - 3, "x");
    let bytes = lines.join("\n") + "\n";
    fs::write(bed.active(), &bytes).unwrap();
    // No checkpoint covers them: only the start's was made.
    drop(start(&bed, SIZE));
    let fresh = Chain::read(&[bed.active()]).unwrap();
    assert_eq!(fresh.openings(), ["broken"]);
    let said = fresh.find("trail.broken").unwrap();
    assert_eq!(fs::read(bed.folder().join(said["resource"].as_str().unwrap())).unwrap(), bytes.as_bytes());
}

/// Retention goes by what files hold, not by what they are called.
#[test]
fn files_that_only_look_like_segments_push_none_out() {
    let bed = Bed::new();
    let small = 64 << 10;
    let options = bed.options(small, 3);
    let mut desk = Desk::open(Arc::new(bed.disk()), options).unwrap();
    desk.commit(2);
    for number in 0..20 {
        let alien = bed.folder().join(format!("audit-{:020}.jsonl", 1_000_000_000 + number));
        fs::write(alien, vec![b'x'; 64 << 10]).unwrap();
    }
    while bed
        .files()
        .iter()
        .filter(|name| name.starts_with("audit-0000000000000000") && name.ends_with(".jsonl"))
        .count()
        < 2
    {
        desk.commit(50);
    }
    drop(desk);
    let retired = bed.files().iter().any(|name| *name == format!("audit-{:020}.jsonl", 1));
    assert!(retired, "the first segment is still there: {:?}", bed.files());
}

/// A trail that was ended in order, with the last entry that it has then.
fn closed(bed: &Bed) -> Link {
    let trail = Trail::open(bed.options(SIZE, 1000)).unwrap();
    trail.finish(Duration::from_secs(20));
    let bytes = fs::read(bed.active()).unwrap();
    let last = bytes.strip_suffix(b"\n").unwrap().rsplit(|byte| *byte == b'\n').next().unwrap();
    let line = Line::read(last).unwrap();
    Link { seq: line.seq, hash: line.hash }
}

/// Lines of somebody who can hash and has no key.
fn forged(link: Link, count: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let retire = system::retire("audit-00000000000000000001.jsonl", Seal { first: 1, last: 2 });
    (0..count).fold(link, |link, _| link.append(&retire.body, &mut bytes));
    bytes
}

fn verified(bed: &Bed) -> Vec<String> {
    let place = Place::find(&bed.active()).unwrap();
    let report = verify(&place, &Trust::default()).unwrap();
    report.problems.iter().map(|problem| problem.broken.to_string()).collect()
}

#[test]
fn lines_behind_a_signed_end_are_foreign_and_never_built_upon() {
    for (what, tail) in [("lines", true), ("half a line", false)] {
        let bed = Bed::new();
        let end = closed(&bed);
        assert_eq!(verified(&bed), [""; 0], "{what}");
        let mut bytes = forged(end, 3);
        if !tail {
            bytes.truncate(100);
        }
        let whole = fs::read(bed.active()).unwrap();
        fs::write(bed.active(), [whole.clone(), bytes.clone()].concat()).unwrap();
        let told = verified(&bed);
        assert!(told.len() == 1 && told[0].contains(&format!("closed with entry {}", end.seq)), "{what}: {told:?}");
        drop(start(&bed, SIZE));
        let chain = bed.chain();
        assert_eq!(chain.find("trail.retire"), None, "{what}");
        assert_eq!(chain.find("trail.torn"), None, "{what}");
        let said = chain.find("trail.broken").unwrap();
        assert!(fs::read(bed.active()).unwrap().starts_with(&whole), "{what}");
        let name = said["resource"].as_str().unwrap();
        assert_eq!(name, format!("audit-{:020}.foreign", end.seq + 1));
        assert_eq!(fs::read(bed.folder().join(name)).unwrap(), bytes, "{what}: kept as evidence");
        let told = verified(&bed);
        assert!(told.len() == 1 && told[0].contains("ended and signed"), "{what}: {told:?}");
        // Once is enough, and the trail goes on.
        drop(start(&bed, SIZE));
        assert_eq!(bed.chain().actions().iter().filter(|action| **action == "trail.broken").count(), 1, "{what}");
    }
}

#[test]
fn whole_files_behind_a_signed_end_are_foreign_as_well() {
    let bed = Bed::new();
    let end = closed(&bed);
    let sealed = bed.folder().join(format!("audit-{:020}.jsonl", 1));
    fs::rename(bed.active(), &sealed).unwrap();
    // And a tail behind the sealed one, which wants the same name.
    fs::write(&sealed, [fs::read(&sealed).unwrap(), forged(end, 1)].concat()).unwrap();
    for (path, from) in [
        (bed.folder().join(format!("audit-{:020}.jsonl", end.seq + 1)), end),
        (bed.active(), Link { seq: end.seq + 4, hash: Hash([1; 32]) }),
    ] {
        fs::write(path, forged(from, 4)).unwrap();
    }
    drop(start(&bed, SIZE));
    let chain = bed.chain();
    assert_eq!((chain.openings(), chain.find("trail.retire")), (vec!["first", "restarted"], None));
    let told = |bed: &Bed| bed.chain().actions().iter().filter(|action| **action == "trail.broken").count();
    assert_eq!(told(&bed), 3);
    let evidence = bed.files().iter().filter(|name| name.ends_with(".foreign")).count();
    assert_eq!(evidence, 3, "{:?}", bed.files());
    drop(start(&bed, SIZE));
    assert_eq!(told(&bed), 3, "once is enough");
}

/// A start that was killed between putting foreign lines aside and saying so.
#[test]
fn foreign_lines_that_were_put_aside_and_not_told_are_told_by_the_next_start() {
    let bed = Bed::new();
    let end = closed(&bed);
    fs::write(bed.folder().join(format!("audit-{:020}.foreign", end.seq + 1)), forged(end, 1)).unwrap();
    drop(start(&bed, SIZE));
    assert!(bed.chain().find("trail.broken").is_some());
}

/// The first entry of the start that put it aside may be durable without the one that tells it.
#[test]
fn foreign_lines_are_told_also_when_the_start_that_found_them_wrote_and_was_killed() {
    let whole = Bed::new();
    let end = closed(&whole);
    let sealed = whole.folder().join(format!("audit-{:020}.jsonl", 1));
    fs::rename(whole.active(), &sealed).unwrap();
    fs::write(whole.active(), forged(end, 4)).unwrap();
    for call in 1.. {
        let bed = Bed::new();
        copy(&whole.folder(), &bed.folder());
        copy(&whole.path("state"), &bed.path("state"));
        move_witness(&whole, &bed);
        let disk = bed.disk();
        disk.at_sync(call, Wrong::Io);
        let _ = Desk::open(Arc::new(disk.clone()), bed.options(SIZE, 1000));
        drop(start(&bed, SIZE));
        let (chain, files) = (bed.chain(), bed.files());
        assert!(chain.find("trail.broken").is_some(), "call {call}: {files:?}");
        assert_eq!(chain.find("trail.retire"), None, "call {call}");
        if !disk.was_hit() {
            assert!(call > 4, "{call}");
            return;
        }
    }
}

/// `state_dir` came back from a backup, and the segment in use was begun less than a minute ago: what it holds was
/// acknowledged.
#[test]
fn an_old_end_in_state_dir_makes_no_stranger_of_what_was_written_since() {
    let bed = Bed::new();
    let small = 64 << 10;
    closed(&bed);
    let kept = bed.path("kept");
    copy(&bed.path("state"), &kept);
    let mut desk = Desk::open(Arc::new(bed.disk()), bed.options(small, 1000)).unwrap();
    while bed.older().len() < 3 {
        desk.commit(20);
    }
    desk.commit(3);
    let last = bed.chain().last;
    drop(desk);
    let bytes = fs::read(bed.active()).unwrap();
    let first = Line::read(bytes.split(|byte| *byte == b'\n').next().unwrap()).unwrap().seq;
    // As within its first minute.
    let _ = fs::remove_file(bed.folder().join(format!("audit-{first:020}.checkpoints")));
    copy(&kept, &bed.path("state"));
    drop(start(&bed, small));
    assert!(!bed.files().iter().any(|name| name.ends_with(".foreign")), "{:?}", bed.files());
    let chain = bed.chain();
    assert!(chain.last > last);
    assert_eq!((chain.find("trail.broken"), verified(&bed)), (None, Vec::new()));
}

/// Somebody who may write to the trail's folder alone: a key and a checkpoint of their own, and a folder in the way of the next one.
#[test]
fn what_is_written_behind_an_end_that_was_made_to_look_broken_stays_ours() {
    let bed = Bed::new();
    let end = closed(&bed);
    let other = Bed::new();
    closed(&other);
    let theirs = |name: &str| other.folder().join(name);
    let public = bed.folder().join("audit.pub");
    let keys = [fs::read(&public).unwrap(), fs::read(theirs("audit.pub")).unwrap()].concat();
    fs::write(&public, keys).unwrap();
    // A longer trail of theirs, whose checkpoint covers what is not here.
    closed(&other);
    closed(&other);
    let checkpoints = format!("audit-{:020}.checkpoints", 1);
    let mut file = fs::OpenOptions::new().append(true).open(bed.folder().join(&checkpoints)).unwrap();
    std::io::Write::write_all(&mut file, &fs::read(theirs(&checkpoints)).unwrap()).unwrap();
    fs::create_dir(bed.folder().join(format!("audit-{:020}.checkpoints", end.seq + 1))).unwrap();
    let mut desk = start(&bed, SIZE);
    desk.commit(3);
    drop(desk);
    let last = Chain::read(&[bed.active()]).unwrap().last;
    drop(start(&bed, SIZE));
    assert!(!bed.files().iter().any(|name| name.ends_with(".foreign")), "{:?}", bed.files());
    assert!(Chain::read(&[bed.active()]).unwrap().last > last);
}

/// Nothing that a kill leaves is called tampered, whenever it comes: here behind an end, in the middle of a start.
#[test]
fn a_start_that_is_killed_at_any_call_behind_a_signed_end_leaves_no_foreign_lines() {
    let whole = Bed::new();
    let end = closed(&whole);
    for call in 1.. {
        let bed = Bed::new();
        copy(&whole.folder(), &bed.folder());
        copy(&whole.path("state"), &bed.path("state"));
        move_witness(&whole, &bed);
        let disk = bed.disk();
        disk.at_sync(call, Wrong::Io);
        let _ = Desk::open(Arc::new(disk.clone()), bed.options(SIZE, 1000));
        drop(start(&bed, SIZE));
        let chain = bed.chain();
        assert_eq!(chain.find("trail.broken"), None, "call {call}");
        assert!(chain.last > end.seq);
        assert_eq!(verified(&bed), [""; 0], "call {call}");
        if !disk.was_hit() {
            assert!(call > 4, "{call}");
            return;
        }
    }
}

#[test]
fn a_trail_whose_checkpoints_were_all_deleted_does_not_pass() {
    let bed = Bed::new();
    crashed(&bed, SIZE, 3);
    assert_eq!(verified(&bed), [""; 0]);
    for name in bed.files().iter().filter(|name| name.ends_with(".checkpoints")) {
        fs::remove_file(bed.folder().join(name)).unwrap();
    }
    let told = verified(&bed);
    assert!(told.len() == 1 && told[0].starts_with("nothing signed covers any entry"), "{told:?}");
}

/// The first checkpoint is there before the first entry: a kill in between leaves a trail that verifies.
#[test]
fn a_first_start_that_is_killed_at_any_call_leaves_a_trail_that_holds() {
    for call in 1.. {
        let bed = Bed::new();
        let disk = bed.disk();
        disk.at_sync(call, Wrong::Io);
        let _ = Desk::open(Arc::new(disk.clone()), bed.options(SIZE, 1000));
        if bed.active().exists() {
            assert_eq!(verified(&bed), [""; 0], "call {call}");
        }
        drop(start(&bed, SIZE));
        assert_eq!(bed.chain().find("trail.broken"), None, "call {call}");
        if !disk.was_hit() {
            return;
        }
    }
}

/// Named like the newest segment and none: the trail must not begin anew behind it.
#[test]
fn a_file_that_only_looks_like_the_newest_segment_does_not_make_the_trail_begin_anew() {
    let bed = Bed::new();
    let end = closed(&bed);
    fs::rename(bed.active(), bed.folder().join(format!("audit-{:020}.jsonl", 1))).unwrap();
    fs::write(bed.folder().join(format!("audit-{:020}.jsonl", 1_000_000)), "x\n").unwrap();
    drop(start(&bed, SIZE));
    assert_eq!(Chain::read(&[bed.active()]).unwrap().find("trail.open").unwrap()["seq"], end.seq + 1);
}

/// A slip in the config must not cost another file, and as root not even a device.
#[test]
fn what_is_no_trail_is_not_taken_for_one_and_nothing_is_laid_beside_it() {
    let pipe = |path: &Path| {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    };
    for (make, why) in [
        (&pipe as &dyn Fn(&Path), "is no regular file"),
        (&|path| std::os::unix::fs::symlink("/dev/null", path).unwrap(), "is no regular file"),
        (&|path| fs::create_dir(path).unwrap(), "is no regular file"),
        (&|path| fs::write(path, "{\"keys\":[]}\n").unwrap(), "no audit trail"),
    ] {
        let bed = Bed::new();
        fs::create_dir(bed.folder()).unwrap();
        make(&bed.active());
        let error = Trail::open(bed.options(SIZE, 3)).err().unwrap();
        assert!(error.contains("audit.jsonl") && error.contains(why), "{error}");
        assert_eq!(bed.files(), ["audit.jsonl"], "{error}");
    }
}

#[test]
fn a_folder_that_was_made_anew_has_the_public_key() {
    let bed = Bed::new();
    let mut desk = start(&bed, SIZE);
    let key = fs::read(bed.folder().join("audit.pub")).unwrap();
    fs::remove_dir_all(bed.folder()).unwrap();
    desk.commit(1);
    desk.wait(Duration::from_secs(1));
    desk.turn();
    assert!(desk.is_open());
    assert_eq!(fs::read(bed.folder().join("audit.pub")).unwrap(), key);
}

/// Killed between a seal, or the last word, and its checkpoint: nobody deleted one.
#[test]
fn an_end_that_a_kill_left_unsigned_is_no_deleted_checkpoint() {
    let bed = Bed::new();
    crashed(&bed, 8 << 10, 20);
    let sealed = bed.segments()[bed.segments().len() - 2].clone();
    // Back to where it was just sealed: under its first name, and not yet signed.
    let first: u64 = bed.older().last().copied().unwrap();
    fs::rename(sealed, bed.active()).unwrap();
    fs::remove_file(bed.folder().join(format!("audit-{first:020}.checkpoints"))).unwrap();
    let told = verified(&bed);
    assert_eq!(told, [""; 0], "{told:?}");

    let bed = Bed::new();
    closed(&bed);
    let path = bed.folder().join("audit-00000000000000000001.checkpoints");
    let text = fs::read_to_string(&path).unwrap();
    let (end, before) = text
        .split_inclusive('\n')
        .collect::<Vec<_>>()
        .split_last()
        .map(|(end, before)| (end.to_string(), before.concat()))
        .unwrap();
    assert!(end.contains("\"end\":true"));
    fs::write(&path, before).unwrap();
    assert_eq!(verified(&bed), [""; 0]);
}
