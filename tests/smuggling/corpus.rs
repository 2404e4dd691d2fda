//! The form of the corpus, read.
//!
//! A file holds sections. A section begins with `== what it is about`; its lines begin with what they are:
//!
//! ```text
//! > a line to send                        CRLF is added, unless the line ends with `\`; escapes as in `text`
//! < 400 bad_request                       the client's answers in order: status and code (`ok` for the API's)
//! < close                                 the connection ends without an answer
//! < reset                                 HTTP/2: the stream or the connection is reset
//! < closing                               the last answer says `connection: close`
//! < open                                  the same connection serves a further request
//! ^ GET /public/{id} HTTP/1.1             what reaches the API, each with:
//! + name: value                             this header line, once
//! - name                                    no line of this name in any spelling
//! = text                                    this body (none is an empty one)
//! ~ cut                                   a message that never ends may reach the API
//! ~ split                                 also sent byte by byte, and in two pieces at each place
//! * H-06 plus-sign | +3                   a case: its rule, its name, and values for `{1}`, `{2}` …
//! ```
//!
//! `{id}` is the case's own name, `{token}` a good session token. Lines `<`, `^`, `+`, `-`, `=`, `~` behind a case are
//! that case's alone and replace all of the section's.

use std::path::Path;

use super::expect::{Answer, Expectation, Upstream};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Http1,
    Http2,
}

/// One case.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    /// File and line.
    pub(crate) place: String,
    pub(crate) id: String,
    pub(crate) rule: String,
    /// Lines to send, with what stood for values filled in, escapes as written.
    pub(crate) send: Vec<String>,
    pub(crate) expect: Expectation,
}

impl Case {
    pub(crate) fn with_token(&self, token: &str) -> Self {
        let mut case = self.clone();
        case.send.iter_mut().for_each(|line| *line = line.replace("{token}", token));
        case
    }

    /// The bytes of an HTTP/1 case.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in &self.send {
            // An escaped backslash at the end is one; a single one is the mark.
            match line.strip_suffix('\\').filter(|rest| !rest.ends_with('\\')) {
                Some(rest) => bytes.extend(super::text::bytes(rest)),
                None => {
                    bytes.extend(super::text::bytes(line));
                    bytes.extend_from_slice(b"\r\n");
                }
            }
        }
        bytes
    }
}

/// All cases of a kind, in the order of their files.
pub(crate) fn read(kind: Kind) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smuggling/corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for path in files {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let of = if stem.starts_with("h2-") { Kind::Http2 } else { Kind::Http1 };
        if of == kind {
            file(kind, &stem, &std::fs::read_to_string(&path).unwrap(), &mut cases);
        }
    }
    let mut ids: Vec<&str> = cases.iter().map(|case| &*case.id).collect();
    ids.sort_unstable();
    let twice: Vec<_> = ids.windows(2).filter(|two| two[0] == two[1]).map(|two| two[0]).collect();
    assert!(twice.is_empty(), "names that stand for two cases: {twice:?}");
    cases
}

#[derive(Default)]
struct Section {
    send: Vec<String>,
    expect: Vec<String>,
    rows: Vec<Row>,
}

struct Row {
    place: String,
    rule: String,
    name: String,
    values: Vec<String>,
    expect: Vec<String>,
}

fn file(kind: Kind, stem: &str, text: &str, cases: &mut Vec<Case>) {
    let mut section = Section::default();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{stem}.txt:{}", number + 1);
        let Some((mark, rest)) = line.split_at_checked(1) else { continue };
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match mark {
            "#" => {}
            "=" if line.starts_with("==") => {
                finish(kind, stem, std::mem::take(&mut section), cases);
            }
            ">" => section.send.push(rest.to_owned()),
            "*" => {
                // Editors strip spaces at the end, so that an empty last column ends with its bar.
                let mut columns = rest.split(" |").map(|column| column.strip_prefix(' ').unwrap_or(column));
                let (rule, name) = columns
                    .next()
                    .unwrap()
                    .trim()
                    .split_once(' ')
                    .unwrap_or_else(|| panic!("{place}: a rule and a name"));
                section.rows.push(Row {
                    place,
                    rule: rule.to_owned(),
                    name: name.trim().to_owned(),
                    values: columns.map(str::to_owned).collect(),
                    expect: Vec::new(),
                });
            }
            "<" | "^" | "+" | "-" | "=" | "~" => {
                let lines = section.rows.last_mut().map_or(&mut section.expect, |row| &mut row.expect);
                lines.push(line.to_owned());
            }
            _ => panic!("{place}: a line that begins with {mark}"),
        }
    }
    finish(kind, stem, section, cases);
}

fn finish(kind: Kind, stem: &str, section: Section, cases: &mut Vec<Case>) {
    for row in section.rows {
        let id = format!("{stem}-{}-{}", row.rule.replace("-", "").to_lowercase(), row.name);
        let fill = |line: &String| {
            let mut line = line.replace("{id}", &id);
            for (index, value) in row.values.iter().enumerate() {
                line = line.replace(&format!("{{{}}}", index + 1), value);
            }
            line.replace("{id}", &id)
        };
        let expect = if row.expect.is_empty() { &section.expect } else { &row.expect };
        let expect: Vec<String> = expect.iter().map(fill).collect();
        let expect = expectation(&expect).unwrap_or_else(|problem| panic!("{}: {problem}", row.place));
        let send = section.send.iter().map(fill).collect();
        cases.push(Case { kind, place: row.place, id, rule: row.rule, send, expect });
    }
}

fn expectation(lines: &[String]) -> Result<Expectation, String> {
    let mut expect = Expectation::default();
    for line in lines {
        let (mark, rest) = line.split_at(1);
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let last = || "stands before any `^`".to_owned();
        match (mark, rest) {
            ("<", "close") => expect.answers.push(Answer::Close),
            ("<", "reset") => expect.answers.push(Answer::Reset),
            ("<", "closing") => expect.closing = true,
            ("<", "open") => expect.open = true,
            ("<", answer) => {
                let (status, code) = answer.split_once(' ').ok_or("an answer has a status and a code")?;
                let status = status.parse().map_err(|_| format!("{status} is no status"))?;
                expect.answers.push(Answer::Is(status, code.to_owned()));
            }
            ("^", line) => {
                let line = String::from_utf8(super::text::bytes(line)).map_err(|_| "a request line is ASCII")?;
                expect.upstream.push(Upstream { line, ..Upstream::default() });
            }
            ("+", line) => {
                let (name, value) = line.split_once(':').ok_or("a header has a name and a value")?;
                let upstream = expect.upstream.last_mut().ok_or_else(last)?;
                upstream.present.push((name.to_owned(), super::text::bytes(value).trim_ascii().to_vec()));
            }
            ("-", name) => expect.upstream.last_mut().ok_or_else(last)?.absent.push(name.to_owned()),
            ("=", body) => expect.upstream.last_mut().ok_or_else(last)?.body = super::text::bytes(body),
            ("~", "cut") => expect.cut = true,
            ("~", "split") => expect.split = true,
            (mark, rest) => return Err(format!("what is `{mark} {rest}`?")),
        }
    }
    if expect.answers.is_empty() {
        return Err("no answer is expected".to_owned());
    }
    let passes = expect.answers.iter().any(|answer| matches!(answer, Answer::Is(_, code) if code == "ok"));
    if passes
        && expect.upstream.is_empty()
        && !lines.iter().any(|line| line.starts_with("< 204") || line.starts_with("< 200 own"))
    {
        return Err("an answer of the API without a request to it".to_owned());
    }
    Ok(expect)
}
