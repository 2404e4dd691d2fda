//! `crossgate demo`: what it prints is pasted from top to bottom, and gives what it announces.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use super::bed::{Process, crossgate, reserve, until};
use super::wire::{Address, Call, Wire};

/// A printed line, and what stands above it.
struct Line {
    /// `403 forbidden`, `exit 0`, `exit 1 frozen`.
    expected: String,
    /// `x-crossgate-arm: legacy`, as the comment promises it of the API's echo or of the answer.
    facts: Vec<String>,
    command: String,
}

impl Line {
    fn is_curl(&self) -> bool {
        self.command.starts_with("curl ")
    }

    /// Judges what came of the line, by either means.
    fn judge(&self, outcome: &str, said: &str) {
        assert_eq!(outcome, self.expected, "{}: {said}", self.command);
        assert!(!said.contains("user_evil"), "a forged identity got through: {}", self.command);
        for fact in &self.facts {
            // A header line of the answer, one in the echo's JSON, or a member of crossgate's own.
            let (name, value) = fact.split_once(": ").unwrap();
            let members = [format!("\"{fact}\""), format!("\"{name}\":\"{value}\""), format!("\"{name}\":{value}")];
            let is_there = said.lines().any(|line| line.trim() == fact) || members.iter().any(|it| said.contains(it));
            assert!(is_there, "{fact} is not there after {}: {said}", self.command);
        }
    }

    fn run(&self) -> (Option<i32>, String) {
        let output = Command::new("sh").arg("-c").arg(&self.command).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }

    /// A `crossgate` line in a shell: its exit code, and the reason where one is announced.
    fn run_command(&self) {
        let (code, said) = self.run();
        let reason = self.expected.split(' ').nth(2);
        let told = reason.filter(|reason| said.contains(&format!(" {reason})")));
        let reason = told.map(|reason| format!(" {reason}")).unwrap_or_default();
        self.judge(&format!("exit {}{reason}", code.unwrap()), &said);
    }

    /// What `curl` would send, sent without it.
    fn send(&self) {
        let answer = call(&self.settled()).send();
        let headers: String = answer.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        // An exchange is refused in the words of RFC 6749.
        let refused = if answer.status == 400 { answer.json()["error"].as_str().map(str::to_owned) } else { None };
        let outcome = refused.map_or_else(|| answer.outcome(), |error| format!("400 {error}"));
        self.judge(&outcome, &format!("{headers}\n{}", answer.text()));
    }

    /// The line with its inner one, `$(curl … | sed …)`, run: the token that an exchange gives.
    fn settled(&self) -> String {
        let Some((before, rest)) = self.command.split_once("$(") else { return self.command.clone() };
        let (inner, after) = rest.split_once(" | sed ").unwrap();
        let (_, after) = after.split_once("')\"").unwrap();
        let token = call(inner).send().json()["access_token"].as_str().unwrap().to_owned();
        // As for the other headers: single quotes.
        format!("{before}{token}\"{after}").replace('"', "'")
    }

    fn run_curl(&self) {
        let (code, said) = self.run();
        assert_eq!(code, Some(0), "{}: {said}", self.command);
        let status = said.split(' ').nth(1).unwrap_or_default();
        let coded = said.split("\"code\":\"").nth(1).or_else(|| said.split("\"error\":\"").nth(1));
        let code = coded.and_then(|rest| rest.split('"').next()).unwrap_or("ok");
        self.judge(&format!("{status} {code}"), &said);
    }
}

/// The demo's lines: a comment with what to expect, then the command.
fn lines(printed: &str) -> Vec<Line> {
    let mut comment: Option<&str> = None;
    let mut found = Vec::new();
    for line in printed.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            comment = Some(text);
        } else if let Some(text) = comment.take() {
            let words: Vec<&str> = text.split(' ').collect();
            let members = ["action:", "degraded:", "scope:"];
            let is_fact =
                |word: &str| word.starts_with("x-crossgate-") || word.starts_with("token-") || members.contains(&word);
            let facts = words.windows(2).filter(|pair| is_fact(pair[0]) && pair[0].ends_with(':'));
            found.push(Line {
                expected: text.split(':').next().unwrap().to_owned(),
                facts: facts.map(|pair| format!("{} {}", pair[0], pair[1].trim_end_matches([';', ',']))).collect(),
                command: line.to_owned(),
            });
        } else {
            let is_command = line.starts_with("curl ") || line.starts_with(env!("CARGO_BIN_EXE_crossgate"));
            assert!(!is_command, "a comment above each line: {line}");
        }
    }
    found
}

/// Splits as a shell does, with single quotes only.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in command.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// What this `curl` line would send.
fn call(command: &str) -> Call {
    let mut method = None;
    let (mut headers, mut body, mut url, mut socket) = (Vec::new(), None::<String>, None, None);
    // What is filtered for people is looked at whole here.
    let words = words(command.split(" | ").next().unwrap());
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-sS" | "-i" | "--path-as-is" => {}
            "-X" => method = words.next().cloned(),
            "-d" => {
                let more = words.next().unwrap();
                body = Some(body.map_or_else(|| more.clone(), |body| format!("{body}&{more}")));
            }
            "--unix-socket" => socket = words.next().map(|path| Address::Unix(path.into())),
            "-H" => headers.push(words.next().unwrap().clone()),
            other if other.starts_with("http://") => url = Some(other.to_owned()),
            other => panic!("curl {other}"),
        }
    }
    let url = url.expect("a URL");
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_at(rest.find('/').unwrap());
    let method = method.unwrap_or_else(|| if body.is_some() { "POST" } else { "GET" }.to_owned());
    let mut call = Call::new(&socket.unwrap_or_else(|| Address::Tcp(host.parse().unwrap())), &method, path);
    for header in headers {
        let (name, value) = header.split_once(": ").unwrap();
        call = call.header(name, value);
    }
    if let Some(body) = body {
        call = call.header("content-type", "application/x-www-form-urlencoded").body(body);
    }
    call
}

/// A demo that serves, with what it printed.
fn start() -> (Process, String) {
    let held = reserve();
    let port = held.local_addr().unwrap().port();
    drop(held);
    let mut command = crossgate();
    command
        .args(["demo", "--port", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let process = Process::spawn(command);
    let gate = Address::Tcp(([127, 0, 0, 1], port).into());
    let printed = until("the printed lines", || {
        let printed = process.stdout.text();
        printed.ends_with("\n\n").then_some(printed).filter(|printed| !lines(printed).is_empty())
    });
    until("the demo's gate", || {
        let mut wire = Wire::try_connect(&gate).ok()?;
        wire.write(&Call::new(&gate, "GET", "/public/hello").bytes());
        wire.response("GET").filter(|answer| answer.status == 200)
    });
    (process, printed)
}

#[test]
fn each_line_of_the_demo_gives_what_it_announces() {
    let (process, printed) = start();
    let lines = lines(&printed);
    let shown: BTreeSet<&str> = lines.iter().map(|line| line.expected.as_str()).collect();
    for wanted in [
        "200 ok",
        "400 bad_path",
        "400 identity_conflict",
        "400 invalid_scope",
        "401 no_credential",
        "401 clerk_expired",
        "401 clerk_invalid",
        "401 legacy_invalid",
        "401 legacy_sealed",
        "401 step_up_clerk",
        "403 forbidden",
        "403 no_route",
        "403 unmapped_principal",
        "503 clerk_outage",
        "503 jwks_stale_privileged",
        "exit 0",
        "exit 1 frozen",
    ] {
        assert!(shown.contains(wanted), "{wanted} is not shown: {shown:?}");
    }
    for wanted in ["rollout status", "set 50", "set 100", "freeze", "rollback", "confirm", "resume", "audit verify"] {
        assert!(lines.iter().any(|line| line.command.contains(wanted)), "{wanted} is not shown");
    }
    // To an interactive zsh a comment is a command that it does not know: a quote in it would swallow the next lines.
    for comment in printed.lines().filter(|line| line.starts_with('#')) {
        assert!(
            !comment.contains(['\'', '"', '`', ';', '&', '|', '(', ')', '<', '>', '$', '!', '*', '?']),
            "{comment}"
        );
    }
    let facts: usize = lines.iter().map(|line| line.facts.len()).sum();
    assert!(facts >= 10, "{facts} of what the API or the client is told");
    let page = include_str!("../../README.md");
    let promised: Vec<&str> = page.lines().filter(|line| line.starts_with("# ") && line.contains(':')).collect();
    assert!(promised.len() >= 3, "the README shows some of it: {promised:?}");
    for comment in promised {
        assert!(printed.lines().any(|line| line == comment), "the README shows `{comment}`");
    }
    for line in &lines {
        if line.is_curl() { line.send() } else { line.run_command() }
    }
    // Once more, as somebody pastes it: the story ends where it began.
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        for line in &lines {
            if line.is_curl() { line.run_curl() } else { line.run_command() }
        }
    }
    let folder = std::env::temp_dir().join(format!("crossgate-demo-{}", process.id()));
    assert!(folder.is_dir());
    process.signal("INT");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(!folder.exists(), "the demo leaves nothing behind");
}

#[test]
fn the_demos_stand_ins_mint_tokens_that_the_gate_takes() {
    let (process, printed) = start();
    let address = |name: &str| {
        let line = printed.lines().find(|line| line.starts_with(name)).unwrap();
        let address = line.split("http://").nth(1).unwrap().split(' ').next().unwrap();
        Address::Tcp(address.parse().unwrap())
    };
    let gate = address("gate ");
    for (name, target, member) in [
        ("login ", "/mint?sub=41&org=acme&role=admin", "token"),
        ("clerk ", "/mint?sub=user_ada&org=org_acme&role=org:admin", "jwt"),
    ] {
        assert!(printed.contains(target), "{target} is told");
        let minted = Call::new(&address(name), "GET", target).send().json();
        let token = minted[member].as_str().unwrap().to_owned();
        let answer = Call::new(&gate, "GET", "/api/orgs/acme/invoices").bearer(&token).send();
        assert_eq!(answer.outcome(), "200 ok", "{name}");
        assert!(answer.text().contains("\"x-crossgate-subject: 41\""), "{name}: {}", answer.text());
    }
    process.signal("TERM");
    let ended = process.wait();
    assert_eq!(ended.status.code(), Some(0));
    assert!(!ended.stderr.contains("watches"), "its folder goes without a word: {}", ended.stderr);
}

#[test]
fn the_demo_says_when_its_port_is_taken() {
    let taken = reserve();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = crossgate().args(["demo", "--port", &port]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(told.contains("--port"), "{told}");
}
