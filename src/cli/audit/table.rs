//! Entries as people read them: a row each, or the line as it stands.
//!
//! Values were chosen by whoever was recorded. What is not a letter, a digit or visible ASCII is written as an escape, so
//! that no row moves a cursor, hides its neighbour or turns its direction.

use std::io::{self, BufWriter, StdoutLock, Write};

use super::super::{Format, complain};
use super::filter::{Filter, Shown};
use crate::hidden::is_hidden;

/// Notes on lines that do not parse, before they are only counted.
const NOTES: u64 = 10;

/// Columns and their least widths; a longer value moves what follows it rather than be cut.
const COLUMNS: [(&str, usize); 9] = [
    ("time", 27),
    ("seq", 8),
    ("event", 18),
    ("decision", 16),
    ("actor", 24),
    ("org", 12),
    ("route action", 28),
    ("resource", 24),
    ("status", 6),
];

/// Writes what is asked for to stdout.
pub(super) struct Rows {
    filter: Filter,
    json: bool,
    out: BufWriter<StdoutLock<'static>>,
    skipped: u64,
}

/// Nobody reads any more: the quiet end of `| head`.
pub(super) enum Stop {
    Gone,
    Failed(io::Error),
}

impl From<io::Error> for Stop {
    fn from(problem: io::Error) -> Self {
        if problem.kind() == io::ErrorKind::BrokenPipe { Self::Gone } else { Self::Failed(problem) }
    }
}

impl Rows {
    pub(super) fn new(filter: Filter, format: Option<Format>) -> Self {
        let out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
        Self { filter, json: format == Some(Format::Json), out, skipped: 0 }
    }

    /// Whether an entry is asked for; a line that is none is noted and is not.
    pub(super) fn wants(&mut self, file: &str, number: u64, line: &[u8]) -> bool {
        // Every line of the trail is visible ASCII: other bytes are somebody else's, and could be a terminal's orders.
        let is_ours = line.iter().all(|byte| (b' '..=b'~').contains(byte));
        is_ours.then(|| self.filter.matches(line)).and_then(Result::ok).unwrap_or_else(|| {
            self.skip(file, number);
            false
        })
    }

    pub(super) fn skip(&mut self, file: &str, number: u64) {
        self.skipped += 1;
        if self.skipped <= NOTES {
            complain(&format!("{}:{number}: no entry, passed over\n", escape(file)));
        }
    }

    pub(super) fn header(&mut self) -> Result<(), Stop> {
        if self.json {
            return Ok(());
        }
        let titles = COLUMNS.map(|(title, _)| title.to_owned());
        Ok(self.out.write_all(row(&titles, "attempt").as_bytes())?)
    }

    pub(super) fn write(&mut self, line: &[u8]) -> Result<(), Stop> {
        if self.json {
            self.out.write_all(line)?;
            return Ok(self.out.write_all(b"\n")?);
        }
        // Whatever has the head of a line and is no JSON behind it: as it stands, and harmless.
        let text = match serde_json::from_slice(line) {
            Ok(shown) => entry(&shown),
            Err(_) => format!("{}\n", escape(&String::from_utf8_lossy(line))),
        };
        Ok(self.out.write_all(text.as_bytes())?)
    }

    pub(super) fn flush(&mut self) -> Result<(), Stop> {
        Ok(self.out.flush()?)
    }

    pub(super) fn end(mut self) -> Result<(), Stop> {
        self.flush()?;
        if self.skipped > 0 {
            complain(&format!("{} lines are no entries; crossgate audit verify tells more\n", self.skipped));
        }
        Ok(())
    }
}

fn entry(shown: &Shown) -> String {
    let actor = &shown.actor;
    let who = [&actor.subject, &actor.clerk_user, &actor.legacy_user].into_iter().find(|id| !id.is_empty());
    let mut who = who.cloned().unwrap_or_default();
    if !actor.impersonator.is_empty() {
        who.push_str(&format!(" by {}", actor.impersonator));
    }
    let joined = |parts: [&str; 2]| parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let why = if shown.code.is_empty() { &shown.reason } else { &shown.code };
    let status = match (&shown.outcome, shown.count) {
        (Some(outcome), _) => outcome.status.to_string(),
        (None, Some(count)) => format!("x{count}"),
        (None, None) => String::new(),
    };
    // The eight digits that an attempt and its outcome share.
    let attempt = if shown.attempt.is_empty() { &shown.id } else { &shown.attempt };
    let of_action = shown.event.starts_with("privileged.");
    let attempt = attempt.chars().take(8).filter(|_| of_action).collect::<String>();
    let cells = [
        shown.time.clone(),
        shown.seq.to_string(),
        shown.event.clone(),
        joined([&shown.decision, why]),
        who,
        shown.org.clone(),
        joined([&shown.route, &shown.action]),
        shown.resource.clone(),
        status,
    ];
    row(&cells, &attempt)
}

fn row(cells: &[String; COLUMNS.len()], last: &str) -> String {
    let mut text = String::with_capacity(200);
    for (cell, (_, width)) in cells.iter().zip(COLUMNS) {
        let cell = if cell.is_empty() { "-".to_owned() } else { escape(cell) };
        text.push_str(&format!("{cell:width$}  "));
    }
    text.push_str(&escape(last));
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Text that a terminal shows as it stands, in one line.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if (' '..='~').contains(&letter) && letter != '\\'
            || (!letter.is_ascii() && letter.is_alphanumeric() && !is_hidden(letter))
            || letter == '\u{2026}'
        {
            safe.push(letter);
        } else {
            safe.extend(letter.escape_default());
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn nothing_reaches_the_terminal_that_moves_it() {
        for (text, expected) in [
            ("user_1 a@b.c", "user_1 a@b.c"),
            ("é ü 名", "é ü 名"),
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\r\nb\t", "a\\r\\nb\\t"),
            ("\u{202e}cod", "\\u{202e}cod"),
            ("a\u{3164}b", "a\\u{3164}b"),
            ("\u{9b}31m\u{7f}\u{0}", "\\u{9b}31m\\u{7f}\\u{0}"),
            ("\u{200b}\u{feff}\u{2028}", "\\u{200b}\\u{feff}\\u{2028}"),
            ("a\\u{1b}", "a\\\\u{1b}"),
        ] {
            assert_eq!(escape(text), expected);
        }
    }
}
