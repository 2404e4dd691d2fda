//! What is wrong with a configuration, for people and for programs.
//!
//! A [`Problem`] carries its place and the source line, so that it can be shown when the file is gone. Values
//! of keys whose name speaks of secrets are masked, as are tokens wherever they stand: reports end up in CI
//! logs. Never decides what is a problem.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::codes::Code;
use super::decode::near;
use super::places::{At, Span};
use super::source::{Source, Unreadable};

/// Most problems that are listed of one file.
pub(crate) const MAX_PROBLEMS: usize = 100;
/// Longer lines were made by programs and are not shown: each would be searched for secrets, for each problem.
const MAX_LINE: usize = 4096;
/// Longest message or help, in characters.
const MAX_MESSAGE: usize = 400;
/// Longest piece of a source line that is shown.
const MAX_SHOWN: usize = 160;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong, or worth a second look.
#[derive(Debug, Clone)]
pub struct Problem {
    pub code: &'static str,
    pub severity: Severity,
    pub file: Arc<str>,
    /// From 1; 0 when the problem is the file as a whole.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Lower case, no period.
    pub message: String,
    pub help: Option<String>,
    /// Why this warning is meant, where the files waive it.
    pub waived: Option<Arc<str>>,
    shown: Shown,
}

/// The piece of the file that is shown. Cutting it out costs a walk through the line, so that it waits until it is
/// known which problems are told.
#[derive(Debug, Clone)]
enum Shown {
    Nothing,
    Later(Arc<Source>, Span),
    Now(Excerpt),
}

/// The source line, masked and cut, with the part that is meant.
#[derive(Debug, Clone)]
struct Excerpt {
    text: String,
    /// Characters before the marks.
    indent: usize,
    width: usize,
}

impl Problem {
    /// About a file as a whole.
    pub(crate) fn of_file(unreadable: &Unreadable, path: &Path) -> Self {
        let (line, column) = unreadable.place.unwrap_or((0, 0));
        Self {
            code: unreadable.code.id,
            severity: Severity::Error,
            file: path.display().to_string().into(),
            line,
            column,
            message: tidy(&unreadable.message),
            help: None,
            waived: None,
            shown: Shown::Nothing,
        }
    }

    /// About a piece of a file.
    pub(crate) fn at_span(code: Code, source: &Arc<Source>, span: Span, message: impl Into<String>) -> Self {
        Self {
            code: code.id,
            severity: Severity::Error,
            file: source.name.clone(),
            line: span.line,
            column: span.column,
            message: tidy(&message.into()),
            help: None,
            waived: None,
            shown: Shown::Later(Arc::clone(source), span),
        }
    }

    /// About a value.
    pub(crate) fn at(code: Code, at: At<'_>, message: impl Into<String>) -> Self {
        Self::at_span(code, at.source, at.span(), message)
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(tidy(&help.into()));
        self
    }

    #[must_use]
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        if let Some(help) = help {
            self.help = Some(tidy(&help));
        }
        self
    }

    #[must_use]
    pub(crate) fn without_excerpt(mut self) -> Self {
        self.shown = Shown::Nothing;
        self
    }

    #[must_use]
    pub(crate) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Keeps what is shown of the file instead of the file.
    pub(crate) fn settle(&mut self) {
        if let Shown::Later(source, span) = &self.shown {
            let line = source.line(span.line).filter(|line| line.len() <= MAX_LINE);
            self.shown = line.map_or(Shown::Nothing, |line| Shown::Now(Excerpt::cut(line, *span)));
        }
    }

    /// Whether both say the same about the same place.
    pub(crate) fn repeats(&self, other: &Self) -> bool {
        let key = |problem: &Self| (problem.code, problem.line, problem.column);
        key(self) == key(other) && self.file == other.file && self.message == other.message
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// For people: place, code and message, the line with its marks, the help; each line with its end.
    pub fn render(&self) -> String {
        let mut text = format!("{self}\n");
        if let Shown::Now(excerpt) = &self.shown {
            let number = self.line.to_string();
            let gutter = " ".repeat(number.len());
            let marks = excerpt.marks();
            text.push_str(&format!(" {number} | {}\n {gutter} | {marks}\n", excerpt.text));
        }
        if let Some(help) = &self.help {
            text.push_str(&format!("help: {help}\n"));
        }
        text
    }

    /// `file:line:column`, or the file alone.
    pub fn place(&self) -> String {
        match self.line {
            0 => self.file.to_string(),
            line => format!("{}:{line}:{}", self.file, self.column),
        }
    }

    /// The line of the file, and the marks below it, cut to `width` characters.
    pub fn excerpt(&self, width: Option<usize>) -> Option<(String, String)> {
        let Shown::Now(excerpt) = &self.shown else { return None };
        let excerpt = match width {
            Some(width) => excerpt.narrowed(width.max(8)),
            None => excerpt.clone(),
        };
        let marks = excerpt.marks();
        Some((excerpt.text, marks))
    }

    /// One JSON object: code, severity, file, line, column, `end_column` (behind the last character that is meant),
    /// message, help, and the reason where it is waived.
    pub fn to_json(&self) -> serde_json::Value {
        let end = match &self.shown {
            Shown::Now(excerpt) => Some(self.column.saturating_add(excerpt.width)),
            Shown::Nothing | Shown::Later(..) => None,
        };
        serde_json::json!({
            "code": self.code,
            "severity": self.severity.as_str(),
            "file": &*self.file,
            "line": self.line,
            "column": self.column,
            "end_column": end,
            "message": self.message,
            "help": self.help,
            "waived": self.waived.as_deref(),
        })
    }
}

/// Place, code and message, in one line.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_error() { "" } else { "warning: " };
        write!(f, "{}: {} {kind}{}", self.place(), self.code, self.message)
    }
}

impl Excerpt {
    fn cut(line: &str, span: Span) -> Self {
        let (line, masked_from) = mask(line);
        let before = span.column.saturating_sub(1);
        let total = line.chars().count();
        // What is masked has no width that anybody should know.
        let width =
            if masked_from.is_some_and(|from| before.saturating_add(span.width) > from) { 1 } else { span.width };
        let skip = if before > MAX_SHOWN / 2 && total > MAX_SHOWN { before - MAX_SHOWN / 2 } else { 0 };
        let shown: String = line.chars().skip(skip).take(MAX_SHOWN).map(printable).collect();
        let indent = before.saturating_sub(skip).min(MAX_SHOWN);
        let left = shown.chars().count().saturating_sub(indent);
        let (head, tail) = (if skip > 0 { "…" } else { "" }, if total > skip + MAX_SHOWN { "…" } else { "" });
        Self {
            text: format!("{head}{shown}{tail}"),
            indent: indent + head.chars().count(),
            width: width.min(left).max(1),
        }
    }

    /// The piece around the marks that fits.
    fn narrowed(&self, width: usize) -> Self {
        let total = self.text.chars().count();
        if total <= width {
            return self.clone();
        }
        // As much as possible from the start; else the marks in the middle.
        let fits = self.indent + self.width < width;
        let skip = if fits { 0 } else { self.indent.saturating_sub(width / 2).min(total.saturating_sub(width - 1)) };
        let head = if skip > 0 { "…" } else { "" };
        let tail = total - skip + head.chars().count() > width;
        let take = width - head.chars().count() - usize::from(tail);
        let middle: String = self.text.chars().skip(skip).take(take).collect();
        let indent = self.indent - skip + head.chars().count();
        let shown = head.chars().count() + middle.chars().count();
        Self {
            text: format!("{head}{middle}{}", if tail { "…" } else { "" }),
            indent,
            width: self.width.min(shown.saturating_sub(indent)).max(1),
        }
    }

    /// Tabs stay tabs, so that the marks stand under what they mean.
    fn marks(&self) -> String {
        let mut marks: String = self
            .text
            .chars()
            .chain(std::iter::repeat(' '))
            .take(self.indent)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        marks.extend(std::iter::repeat_n('^', self.width));
        marks
    }
}

/// A terminal must not be driven by a file that somebody checks.
fn printable(c: char) -> char {
    if crate::hidden::is_hidden(c) && c != '\t' { '\u{fffd}' } else { c }
}

/// Whether something of this line must not be shown.
pub(crate) fn has_secret(line: &str) -> bool {
    mask(line).1.is_some()
}

/// The line with the value of a secret key replaced, and from which character on; tokens are replaced anywhere.
fn mask(line: &str) -> (String, Option<usize>) {
    let mut search = 0;
    while let Some(found) = line.get(search..).and_then(|rest| rest.find(':')) {
        let colon = search + found;
        let (head, tail) = line.split_at(colon);
        let name = head.trim_end_matches(['"', '\'', ' ']);
        let name = name.rsplit(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).next().unwrap_or_default();
        let value = tail.get(1..).unwrap_or_default();
        if is_secret_name(name) && !is_harmless(name, value) {
            let shown = format!("{head}: ***");
            let from = head.chars().count() + 2;
            return (shown, Some(from));
        }
        search = colon + 1;
    }
    match without_tokens(line) {
        Some(head) => (format!("{head}***"), Some(head.chars().count())),
        None => (line.to_owned(), None),
    }
}

/// What stands before the first thing that looks like a token or a key.
fn without_tokens(text: &str) -> Option<&str> {
    let signs = ["eyJ", "sk_live_", "sk_test_", "whsec_", "-----BEGIN"];
    let first = signs.into_iter().filter_map(|sign| text.find(sign)).min()?;
    text.get(..first)
}

/// Words out of a file within a sentence of ours: bounded, printable, without tokens.
fn tidy(text: &str) -> String {
    let (text, masked) = without_tokens(text).map_or((text, ""), |head| (head, "***"));
    let mut out: String = text.chars().take(MAX_MESSAGE).map(printable).collect();
    if out.len() < text.len() && text.chars().nth(MAX_MESSAGE).is_some() {
        out.push('…');
    }
    out.push_str(masked);
    out
}

/// Clerk's publishable key is printed on every page of its owner; `key_file` and the like only say where.
fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let speaks = ["secret", "token", "password", "passwd", "key", "pem"].iter().any(|word| name.contains(word));
    speaks
        && name != "publishable_key"
        && !name.ends_with("_file")
        && !name.ends_with("_dir")
        && !name.contains("keepalive")
}

/// Nothing, or kinds of tokens as policies name them, well or badly spelt.
fn is_harmless(name: &str, value: &str) -> bool {
    const KINDS: [&str; 7] = ["session", "legacy", "runner", "m2m", "oauth", "api_key", "template"];
    let value = value.trim();
    if value.is_empty() {
        return true;
    }
    let words = match value.strip_prefix('[') {
        Some(list) => list.split(']').next(),
        None => value.split([',', '}', '#']).next(),
    };
    let mut words = words.unwrap_or_default().split([',', ' ', '"', '\'']).filter(|word| !word.is_empty());
    name == "token" && words.all(|word| near(word, KINDS).is_some())
}

#[cfg(test)]
mod tests {
    use super::{Excerpt, mask, tidy};
    use crate::config::places::Span;

    /// Found by fuzzing: the sum of column and width overflowed.
    #[test]
    fn a_span_to_the_end_of_a_line_with_a_secret_is_shown_without_its_width() {
        let excerpt = Excerpt::cut("  token: aB3d5", Span { line: 1, column: 3, width: usize::MAX });
        assert_eq!((&*excerpt.text, excerpt.width), ("  token: ***", 1));
    }

    #[test]
    fn secrets_are_masked_and_words_are_not() {
        let table = [
            ("plain", "a: b", "a: b"),
            ("secret", "  client_secret: hunter2", "  client_secret: ***"),
            ("in a flow mapping", "x: { name: ci, token: aB3d5 }", "x: { name: ci, token: ***"),
            ("a quoted key", "{ \"token\": \"aB3d5\" }", "{ \"token\": ***"),
            ("a word", "token: [session]", "token: [session]"),
            ("among others", "{ token: [m2m], plan: [] }", "{ token: [m2m], plan: [] }"),
            ("a password of letters", "password: hunter", "password: ***"),
            ("publishable", "publishable_key: pk_live_abc", "publishable_key: pk_live_abc"),
            ("a file", "secret_key_file: /run/x1", "secret_key_file: /run/x1"),
            ("jwt anywhere", "note: eyJhbGciOiJ", "note: ***"),
            ("clerk secret anywhere", "- sk_live_abc", "- ***"),
            ("only the key", "token:", "token:"),
        ];
        for (name, line, expected) in table {
            assert_eq!(mask(line).0, expected, "{name}");
        }
    }

    #[test]
    fn messages_do_not_carry_what_a_file_says_to_a_terminal() {
        let table = [
            ("plain", "unknown key `a`", "unknown key `a`"),
            ("escape sequence", "unknown key `\u{1b}[31m`", "unknown key `\u{fffd}[31m`"),
            ("token", "unknown value `eyJhbGciOiJ`", "unknown value `***"),
        ];
        for (name, text, expected) in table {
            assert_eq!(tidy(text), expected, "{name}");
        }
        assert_eq!(tidy(&"é".repeat(1_000)).chars().count(), 401);
    }

    #[test]
    fn narrow_screens_show_the_piece_around_the_marks() {
        for length in [10, 40, 60, 61, 100, 160] {
            for column in [1, 5, 30, 60, 99, 160] {
                for marked in [1, 10, 200] {
                    let line: String = (0..length).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
                    let excerpt = Excerpt::cut(&line, Span { line: 1, column: column.min(length), width: marked });
                    let narrow = excerpt.narrowed(60);
                    let case = format!("{length} {column} {marked}: {narrow:?}");
                    assert!(narrow.text.chars().count() <= 60 && narrow.marks().len() <= 60, "{case}");
                    let first = |excerpt: &Excerpt| excerpt.text.chars().nth(excerpt.indent);
                    assert_eq!(first(&narrow), first(&excerpt), "{case}");
                }
            }
        }
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let line = "x".repeat(1_000);
        let excerpt = Excerpt::cut(&line, Span { line: 1, column: 500, width: 900 });
        assert_eq!(excerpt.text.chars().count(), 162);
        assert_eq!(excerpt.marks().find('^'), Some(81));
        assert_eq!(excerpt.marks().len(), 161);
    }
}
