//! What `audit verify` tells whoever has to act on it, for each kind of tampering: `told.expected`, which
//! `UPDATE=1 cargo test --test audit told` rewrites.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::trail::{Trail, new_key, whole};

fn lines(trail: &Trail, change: impl FnOnce(&mut Vec<String>)) {
    let text = fs::read_to_string(trail.active()).unwrap();
    let mut lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
    change(&mut lines);
    fs::write(trail.active(), lines.concat()).unwrap();
}

fn checkpoints(trail: &Trail) -> impl Iterator<Item = PathBuf> {
    let files = fs::read_dir(&trail.folder).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|ending| ending == "checkpoints"))
}

/// The findings, with what differs from run to run taken out.
fn told(trail: &Trail, kept: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossgate"));
    command.env_remove("CROSSGATE_CONFIG").args(["audit", "verify"]).arg(&trail.folder).arg("--checkpoint").arg(kept);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap().replace(kept.parent().unwrap().to_str().unwrap(), "…");
    let findings = text.split("\n\n").skip(2).collect::<Vec<_>>().join("\n");
    let keys = fs::read_to_string(trail.folder.join("audit.pub")).unwrap_or_default();
    assert!(!findings.contains(keys.trim()) || keys.is_empty());
    let mut plain = String::new();
    // Ids of keys are random.
    for word in findings.split_inclusive([' ', '\n']) {
        let id = word.trim_matches(|letter: char| !letter.is_ascii_hexdigit());
        let is_id = id.len() == 16 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
        plain.push_str(&if is_id { word.replace(id, "KEY") } else { word.to_owned() });
    }
    plain
}

#[test]
fn each_kind_of_tampering_is_told_in_words_that_say_what_to_do() {
    type Harm = fn(&mut Trail);
    let table: [(&str, Harm); 15] = [
        ("a byte was changed", |trail| lines(trail, |lines| lines[4] = lines[4].replace("user_", "User_"))),
        ("a line was deleted", |trail| lines(trail, |lines| drop(lines.remove(4)))),
        ("a line was doubled", |trail| lines(trail, |lines| lines.insert(5, lines[4].clone()))),
        ("two lines changed places", |trail| lines(trail, |lines| lines.swap(4, 5))),
        ("something else was written into the file", |trail| lines(trail, |lines| lines.insert(4, "x\n".to_owned()))),
        ("the end was cut off", |trail| lines(trail, |lines| lines.truncate(6))),
        ("the oldest segment was dropped", |trail| fs::remove_file(trail.segment(1)).unwrap()),
        ("a middle segment was dropped", |trail| fs::remove_file(trail.segment(13)).unwrap()),
        ("the newest segment was dropped", |trail| fs::remove_file(trail.active()).unwrap()),
        ("a checkpoint was edited", |trail| {
            let path = trail.folder.join("audit-00000000000000000001.checkpoints");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(path, text.replacen("node-1", "node-2", 1)).unwrap();
        }),
        ("checkpoints changed places", |trail| {
            let path = trail.folder.join("audit-00000000000000000001.checkpoints");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(path, text.split_inclusive('\n').rev().collect::<String>()).unwrap();
        }),
        ("the public key was deleted", |trail| fs::remove_file(trail.folder.join("audit.pub")).unwrap()),
        ("another key was put there", |trail| {
            let other = TempDir::new().unwrap();
            let other = Trail::with_key(other.path(), new_key());
            fs::copy(other.folder.join("audit.pub"), trail.folder.join("audit.pub")).unwrap();
        }),
        ("lines were added to a closed trail", |trail| {
            trail.action("user_9", true);
        }),
        ("all checkpoints were deleted", |trail| {
            checkpoints(trail).for_each(|path| fs::remove_file(path).unwrap());
        }),
    ];
    let mut all = String::new();
    for (what, harm) in table {
        let folder = TempDir::new().unwrap();
        let mut trail = whole(&folder.path().join("audit"));
        // Closed as the writer closes it.
        trail.end();
        let kept = folder.path().join("kept.checkpoint");
        // Without a word from elsewhere where there is none to be had.
        let last = if what.contains("all checkpoints") { String::new() } else { trail.ended_line() };
        fs::write(&kept, last).unwrap();
        harm(&mut trail);
        let _ = write!(all, "# {what}\n\n{}\n", told(&trail, &kept));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit/told.expected");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &all).unwrap();
    }
    assert_eq!(all, fs::read_to_string(&path).unwrap());
}
