//! `crossgate audit`, as people and programs call it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::trail::{START, Trail, whole};
use crossgate::audit::entry::{Actor, Text};
use crossgate::audit::{Entry, Event, Id};

fn crossgate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossgate"));
    command.env_remove("CROSSGATE_CONFIG").env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    crossgate().arg("audit").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn trail() -> (TempDir, Trail, String) {
    let folder = TempDir::new().unwrap();
    let trail = whole(&folder.path().join("audit"));
    let path = trail.folder.display().to_string();
    (folder, trail, path)
}

#[test]
fn verify_says_what_it_proved() {
    let (_folder, trail, path) = trail();
    let output = run(&["verify", &path]);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.ends_with(&format!("audit.jsonl: ok, {} entries\n", trail.link.seq)), "{told}");
    for part in ["audit.pub", "sealed, 2 checkpoints", "9 privileged.outcome", "3 without an outcome", "checkpoints 7"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    let output = run(&["verify", &path, "--format", "json"]);
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(read["ok"], true);
    assert_eq!(read["entries"], trail.link.seq);
    assert_eq!(read["segments"].as_array().unwrap().len(), 3);
    assert_eq!(read["problems"], serde_json::json!([]));
}

#[test]
fn verify_says_where_it_breaks_what_that_may_be_and_what_to_do() {
    let (_folder, trail, path) = trail();
    let text_of = fs::read_to_string(trail.active()).unwrap();
    fs::write(trail.active(), text_of.replacen("user_2", "user_9", 1)).unwrap();
    let output = run(&["verify", &path]);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for part in
        ["audit.jsonl:5: entry ", "its hash is not that of its bytes", "means: a byte was changed", "next: keep"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    let output = run(&["verify", &path, "--format", "json"]);
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&read["ok"], &read["problems"][0]["line"]), (&false.into(), &5.into()));
}

#[test]
fn no_trail_and_an_empty_one_are_said() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().display().to_string();
    let output = run(&["verify", &path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no audit trail here"), "{}", text(&output.stderr));
    let whole = Trail::begin(folder.path());
    fs::write(whole.active(), "").unwrap();
    let output = run(&["verify", &path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("has no entries"), "{}", text(&output.stdout));
    assert_eq!(run(&["verify", "--nonsense"]).status.code(), Some(2));
}

#[test]
fn verify_takes_key_and_witness_from_the_config() {
    let (folder, mut trail, _) = trail();
    let config = folder.path().join("crossgate.yaml");
    fs::create_dir(folder.path().join("state")).unwrap();
    fs::write(
        &config,
        "listeners: [{ address: 127.0.0.1:8080 }]\nupstreams: { app: { endpoints: [127.0.0.1:3000] } }\nclerk: [{ issuer: https://clerk.example.com, jwks: { url: https://clerk.example.com/keys }, authorized_parties: [https://app.example.com] }]\npolicies: [all.yaml]\nstate_dir: state\naudit: { file: audit/audit.jsonl }\n",
    )
    .unwrap();
    fs::write(folder.path().join("all.yaml"), "routes: [{ id: all, match: { path: '/{*rest}' }, access: public }]\n")
        .unwrap();
    fs::write(folder.path().join("state/audit.key"), &trail.key).unwrap();
    let witness = crossgate::audit::names::Names::of(&folder.path().join("audit/audit.jsonl")).unwrap();
    let witness = witness.witness(&folder.path().join("state"));
    fs::write(&witness, trail.signed_line()).unwrap();
    let config = config.display().to_string();
    let output = run(&["verify", "-c", &config]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("state/audit.key"), "{}", text(&output.stdout));
    // Rolled back: the witness knows more.
    trail.action("user_7", true);
    fs::write(&witness, trail.signed_line()).unwrap();
    let kept = fs::read_to_string(trail.active()).unwrap();
    let old: Vec<&str> = kept.lines().collect();
    fs::write(trail.active(), old[..old.len() - 2].iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let output = run(&["verify", "-c", &config]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("rolled back"), "{}", text(&output.stdout));
}

fn seqs(arguments: &[&str]) -> Vec<u64> {
    let output = run(&[&["show"], arguments, &["--format", "json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines = text(&output.stdout);
    lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()).collect()
}

#[test]
fn show_filters_by_who_where_what_and_when() {
    let (_folder, trail, path) = trail();
    let all = trail.link.seq as usize;
    let path = path.as_str();
    let request = "req-user_2-4";
    for (arguments, count) in [
        (vec![path], all),
        (vec![path, "--actor", "user_2"], 3),
        (vec![path, "--actor", "user_"], 0),
        (vec![path, "--actor", "user_6"], 3),
        (vec![path, "--org", "org_1"], 12),
        (vec![path, "--route", "invoice.write"], 6),
        (vec![path, "--action", "execution.start"], 12),
        (vec![path, "--decision", "deny"], 6),
        (vec![path, "--decision", "allow", "--actor", "user_1"], 3),
        (vec![path, "--event", "privileged.outcome"], 9),
        (vec![path, "--request", request], 1),
        (vec![path, "--limit", "5"], 5),
        (vec![path, "--since", "2026-11-27T04:00:05Z", "--until", "2026-11-27T04:00:10Z"], 5),
        (vec![path, "--since", "2026-11-27T06:00:05+02:00", "--until", "2026-11-27T04:00:10Z"], 5),
        (vec![path, "--until", "36500d"], 0),
    ] {
        let found = seqs(&arguments);
        assert_eq!(found.len(), count, "{arguments:?}: {found:?}");
        assert!(found.is_sorted());
    }
    for wrong in [["--since", "yesterday"], ["--event", "nothing"], ["--decision", "maybe"], ["--token", "x"]] {
        let output = run(&[&["show", path], &wrong[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", text(&output.stderr));
    }
}

#[test]
fn show_has_lines_as_they_stand_and_rows_that_move_no_terminal() {
    let folder = TempDir::new().unwrap();
    let mut trail = Trail::begin(folder.path());
    let hostile = "user\u{1b}[2J\u{202e}\r\nx";
    let mut entry = Entry::new(Id(7), START, Event::Denied);
    entry.decision = Some("deny");
    entry.actor =
        Some(Actor { subject: Some(Text(hostile)), impersonator: Some(Text("\u{9b}31m")), ..Actor::default() });
    trail.append(&entry);
    trail.write(b"nonsense\n");
    trail.write(&vec![b'x'; 10_000]);
    trail.write(b"\n");
    let path = folder.path().display().to_string();
    let output = run(&["show", &path]);
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output.stdout);
    assert!(shown.chars().all(|letter| letter == '\n' || !letter.is_control()), "{shown:?}");
    assert!(shown.contains("user\\u{1b}[2J\\u{202e}\\r\\nx by \\u{9b}31m"), "{shown}");
    assert_eq!(shown.lines().count(), 4);
    assert!(text(&output.stderr).contains("2 lines are no entries"), "{}", text(&output.stderr));
    assert_eq!(seqs(&[&path, "--actor", hostile]), [3]);
    let output = run(&["show", &path, "--format", "json"]);
    let first = text(&output.stdout).lines().next().unwrap().to_owned();
    assert!(fs::read_to_string(trail.active()).unwrap().starts_with(&first));
}

#[test]
fn show_finds_a_token_and_never_says_it() {
    let folder = TempDir::new().unwrap();
    let mut trail = Trail::begin(folder.path());
    let key = folder.path().join("token.key");
    fs::write(&key, [7; 32]).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"secret-token");
    let tag =
        aws_lc_rs::hmac::sign(&aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[7; 32]), digest.as_ref());
    let hash: String = tag.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let mut entry = Entry::new(Id(7), START, Event::Authentication);
    entry.actor = Some(Actor { token_hash: Some(Text(&hash)), ..Actor::default() });
    trail.append(&entry);
    trail.action("user_1", true);
    let mut child = crossgate()
        .args(["audit", "show", "--format", "json", "--token", "-", "--key"])
        .args([&key, folder.path()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"secret-token\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let (shown, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(shown.lines().count(), 1, "{shown}{told}");
    assert!(shown.starts_with("{\"seq\":3,") && !shown.contains("secret-token") && !told.contains("secret-token"));
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let folder = TempDir::new().unwrap();
    let mut trail = Trail::begin(folder.path());
    for _ in 0..500 {
        trail.action("user_1", true);
    }
    let mut child = crossgate()
        .args(["audit", "show"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn tail_shows_the_last_and_follows_over_rotations() {
    let (_folder, mut trail, path) = trail();
    let output = run(&["tail", &path, "-n", "15", "--format", "json"]);
    let shown = text(&output.stdout);
    let read = |line: &str| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap();
    let last = trail.link.seq;
    assert_eq!(shown.lines().map(read).collect::<Vec<_>>(), (last - 14..=last).collect::<Vec<_>>());
    let mut child = crossgate()
        .args(["audit", "tail", "-f", "-n", "1", "--format", "json", &path])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(read(&lines.next().unwrap().unwrap()), last);
    for round in 0..3 {
        trail.action("user_8", true);
        trail.rotate();
        if round == 1 {
            // A restart in the middle of a line.
            trail.write(b"{\"seq\"");
            let whole = fs::read(trail.active()).unwrap();
            fs::write(trail.active(), &whole[..whole.len() - 6]).unwrap();
        }
        trail.action("user_9", false);
    }
    let expected = last + 1..=trail.link.seq;
    for seq in expected {
        assert_eq!(read(&lines.next().unwrap().unwrap()), seq);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What somebody may have put into a folder that is proved elsewhere: a reader that opens it must neither wait nor fill up.
#[test]
fn pipes_devices_loops_and_files_without_end_hang_nothing() {
    type Put = fn(&Path);
    let table: [(&str, Put); 5] = [
        ("a pipe", |path| {
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        }),
        ("a device", |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap()),
        ("a loop", |path| std::os::unix::fs::symlink(path, path).unwrap()),
        ("a folder", |path| fs::create_dir(path).unwrap()),
        ("a file without end", |path| fs::File::create(path).unwrap().set_len(1 << 38).unwrap()),
    ];
    let names = [
        "audit.jsonl",
        "audit-00000000000000000001.jsonl",
        "audit-00000000000000000001.checkpoints",
        "audit.pub",
        "audit-00000000000000000099.jsonl",
    ];
    for (what, put) in table {
        for name in names {
            let (_folder, trail, path) = trail();
            let there = trail.folder.join(name);
            if there.exists() {
                fs::remove_file(&there).unwrap();
            }
            put(&there);
            for command in ["verify", "show", "tail"] {
                let mut child = crossgate();
                child.args(["audit", command, &path]).stdout(Stdio::null()).stderr(Stdio::null());
                let mut child = child.spawn().unwrap();
                let deadline = Instant::now() + Duration::from_secs(60);
                let status = loop {
                    if let Some(status) = child.try_wait().unwrap() {
                        break status;
                    }
                    if Instant::now() > deadline {
                        let _ = child.kill();
                        panic!("{command} hangs: {what} as {name}");
                    }
                    std::thread::sleep(Duration::from_millis(5));
                };
                if command == "verify" {
                    assert_eq!(status.code(), Some(1), "{what} as {name}");
                }
            }
        }
    }
}

/// More than a line may have, and no end to it.
#[test]
fn bytes_without_an_end_behind_a_sealed_segment_are_found() {
    for bytes in [100, 5_000, 300_000] {
        let (_folder, trail, path) = trail();
        let sealed = trail.segment(1);
        let mut whole = fs::read(&sealed).unwrap();
        whole.extend(vec![b'x'; bytes]);
        fs::write(&sealed, whole).unwrap();
        let output = run(&["verify", &path]);
        assert_eq!(output.status.code(), Some(1), "{bytes}");
        assert!(text(&output.stdout).contains("the line has no end"), "{bytes}: {}", text(&output.stdout));
    }
}

#[test]
fn help_has_an_example() {
    for command in ["verify", "show", "tail"] {
        let output = run(&[command, "--help"]);
        assert!(text(&output.stdout).contains(&format!("crossgate audit {command}")), "{command}");
    }
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/audit.md").exists());
}
