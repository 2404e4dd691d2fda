//! One YAML document becomes values and their places, or problems.
//!
//! YAML can do much that a configuration has no use for and that turns a small file into a large or an ambiguous
//! one: aliases (a billion laughs in ten lines), tags, several documents, keys that are lists, duplicate keys of
//! which somebody wins. All are refused here, with their place. `${…}` is replaced here too, since only here a
//! quoted scalar and a plain one are still two things: the plain one is typed after substitution.

use std::borrow::Cow;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};
use serde_yaml::{Mapping, Number, Value};

use super::codes;
use super::env::{self, Env};
use super::places::{Entry, Inner, Mark, Span};
use super::report::{MAX_PROBLEMS, Problem, has_secret};
use super::source::Source;

/// Deeper than any rule that people can read, shallow enough for every recursion over it.
const MAX_DEPTH: usize = 48;
/// How many lines before a place an open brace is looked for.
const BRACE_BEFORE: usize = 5;
/// Bounds the memory that 8 MiB of `[,,,,` can take.
const MAX_VALUES: usize = 500_000;

/// A document's values and, in the same shape, their places.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) value: Value,
    pub(crate) mark: Mark,
}

/// Takes a file apart. `None` when it cannot be read at all; smaller problems leave the rest usable.
pub(crate) fn read(source: &Arc<Source>, env: Env<'_>, problems: &mut Vec<Problem>) -> Option<Document> {
    let mut builder = Builder { source, env, problems, open: Vec::new(), root: None, values: 0 };
    let mut documents = 0;
    for event in Parser::new_from_str(&source.text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let problem = syntax(source, &error);
                // `{org}/x` was told as a mapping before it turned out to be none.
                let is_half = |told: &Problem| told.code == codes::BAD_TEMPLATE.id && told.line == problem.line;
                if builder.problems.last().is_some_and(is_half) {
                    builder.problems.pop();
                }
                builder.problems.push(problem);
                return None;
            }
        };
        let place = place(&span);
        if matches!(event, Event::DocumentStart(_)) {
            documents += 1;
            if documents > 1 {
                builder.problems.push(Problem::at_span(
                    codes::DOCUMENTS,
                    source,
                    place,
                    "a second document begins here",
                ));
                return None;
            }
        }
        if builder.take(event, place).is_err() {
            return None;
        }
    }
    let empty = || {
        (Value::Null, Mark { span: Span { line: 1, column: 1, width: 1 }, substituted: false, inner: Inner::Scalar })
    };
    let (value, mark) = builder.root.unwrap_or_else(empty);
    Some(Document { value, mark })
}

/// The document cannot be read on; the problem has been told.
struct Stop;

struct Builder<'a> {
    source: &'a Arc<Source>,
    env: Env<'a>,
    problems: &'a mut Vec<Problem>,
    open: Vec<Open>,
    root: Option<(Value, Mark)>,
    values: usize,
}

/// A list or mapping that has begun.
enum Open {
    List {
        span: Span,
        values: Vec<Value>,
        marks: Vec<Mark>,
        gaps: bool,
    },
    Map {
        span: Span,
        values: Mapping,
        entries: Vec<Entry>,
        dropped: Vec<String>,
        key: Option<(String, Span)>,
        /// It was meant as a template, which has been told.
        unquoted: bool,
    },
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
            Event::Alias(_) => self.stop(codes::ANCHOR, span, "aliases are not allowed"),
            Event::Scalar(_, _, anchor, ref tag) => {
                self.check(anchor, tag.is_some(), span)?;
                self.scalar(event, span)
            }
            Event::SequenceStart(anchor, tag) => {
                self.check(anchor, tag.is_some(), span)?;
                self.begin(Open::List { span: head(span), values: Vec::new(), marks: Vec::new(), gaps: false }, span)
            }
            Event::MappingStart(anchor, tag) => {
                self.check(anchor, tag.is_some(), span)?;
                let (values, entries, dropped) = (Mapping::new(), Vec::new(), Vec::new());
                self.begin(Open::Map { span: head(span), values, entries, dropped, key: None, unquoted: false }, span)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { span, values, marks, gaps }) => {
                    let mark = Mark { span, substituted: false, inner: Inner::List { items: marks, gaps } };
                    self.put(Value::Sequence(values), mark)
                }
                Some(Open::Map { unquoted: true, .. }) => {
                    self.drop_value();
                    Ok(())
                }
                Some(Open::Map { span, values, entries, dropped, key: _, unquoted: false }) => {
                    let mark = Mark { span, substituted: false, inner: Inner::Map { entries, dropped } };
                    self.put(Value::Mapping(values), mark)
                }
                None => Ok(()),
            },
        }
    }

    fn check(&mut self, anchor: usize, tagged: bool, span: Span) -> Result<(), Stop> {
        self.values += 1;
        if anchor > 0 {
            return self.stop(codes::ANCHOR, span, "anchors are not allowed");
        }
        if tagged {
            return self.stop(codes::TAG, span, "tags are not allowed");
        }
        if self.values > MAX_VALUES {
            return self.stop(codes::TOO_MUCH, span, "the file holds more than 500,000 values");
        }
        Ok(())
    }

    fn stop(&mut self, code: codes::Code, span: Span, message: &str) -> Result<(), Stop> {
        self.problems.push(Problem::at_span(code, self.source, span, message));
        Err(Stop)
    }

    fn begin(&mut self, open: Open, span: Span) -> Result<(), Stop> {
        if matches!(self.open.last(), Some(Open::Map { key: None, .. })) {
            let help = "fill in the {{ … }} of a template language first; quote a text that begins with a brace";
            let problem = Problem::at_span(codes::KEY_NOT_TEXT, self.source, span, "a key must be plain text");
            self.problems.push(problem.help(help));
            return Err(Stop);
        }
        if self.open.len() >= MAX_DEPTH {
            return self.stop(codes::TOO_MUCH, span, "the file nests more than 48 levels deep");
        }
        self.open.push(open);
        Ok(())
    }

    fn scalar(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let Event::Scalar(text, style, _, _) = event else { return Ok(()) };
        if let Some(Open::Map { key: key @ None, .. }) = self.open.last_mut() {
            *key = Some((text.into_owned(), span));
            return Ok(());
        }
        let span = match style {
            ScalarStyle::Literal | ScalarStyle::Folded => self.block_sign().unwrap_or(span),
            _ => span,
        };
        let expanded = match env::expand(&text, self.env) {
            Ok(expanded) => expanded,
            Err(failure) => {
                self.not_expanded(&failure, span);
                self.drop_value();
                return Ok(());
            }
        };
        let substituted = matches!(expanded, Cow::Owned(_));
        let value = match style {
            ScalarStyle::Plain => typed(&expanded),
            _ => Value::String(expanded.into_owned()),
        };
        if matches!(value, Value::Null) && !self.open.is_empty() && (text.is_empty() || substituted || !self.is_drop())
        {
            return self.empty(&text, substituted, span);
        }
        self.put(value, Mark { span, substituted, inner: Inner::Scalar })
    }

    /// Where null says something: in `identity.headers` that a fact travels under no name, of `endpoints.status` that
    /// there is none, in its body what JSON makes of it, and in a test that a header or claim is not there.
    fn is_drop(&self) -> bool {
        let keys = self.open.iter().map(|open| match open {
            Open::Map { key: Some((name, _)), .. } => name.as_str(),
            Open::Map { key: None, .. } | Open::List { .. } => "",
        });
        if keys.clone().next() == Some("tests") {
            let keys: Vec<&str> = keys.skip(2).collect();
            return matches!(
                keys.as_slice(),
                ["expect", "headers", _] | ["expect", "allow", "headers", _] | ["as", "claims", _, ..]
            );
        }
        match self.open.len() {
            3 => keys.take(2).eq(["identity", "headers"]),
            2 => keys.eq(["endpoints", "status"]),
            4.. => keys.take(3).eq(["endpoints", "status", "body"]),
            _ => false,
        }
    }

    /// A key without a value would read as an absent one: `role: ${ROLE}` would ask for no role at all.
    fn empty(&mut self, text: &str, substituted: bool, span: Span) -> Result<(), Stop> {
        let named = |open: &Open| match open {
            Open::Map { key: Some((name, at)), .. } => Some((name.clone(), *at)),
            Open::Map { key: None, .. } | Open::List { .. } => None,
        };
        if let Some(template) = self.template_without_quotes(text) {
            self.not_quoted(template);
            return Ok(());
        }
        let in_list = matches!(self.open.last(), Some(Open::List { .. }));
        let (what, remove, span) = match self.open.iter().rev().find_map(named) {
            Some((name, _)) if in_list => (format!("an item of `{name}`"), "item", span),
            Some((name, key)) => (format!("`{name}`"), "key", if text.is_empty() { key } else { span }),
            None => ("an item of the list".to_owned(), "item", span),
        };
        let (when, help) = if substituted {
            let help = format!("set the variable, give a default as in ${{NAME:-value}}, or remove the {remove}");
            (" once the environment is put in", help)
        } else {
            ("", format!("remove the {remove} or write a value"))
        };
        let message = format!("{what} is empty{when}");
        self.problems.push(Problem::at_span(codes::EMPTY, self.source, span, message).help(help));
        self.drop_value();
        // A file of nothing but dashes.
        if self.problems.len() > MAX_PROBLEMS { Err(Stop) } else { Ok(()) }
    }

    /// `org: {org}`: to YAML a mapping, whose key `org` has no value. The place from brace to brace.
    fn template_without_quotes(&self, text: &str) -> Option<Span> {
        let Some(Open::Map { key: Some((name, at)), span, values, .. }) = self.open.last() else { return None };
        let reads_so = self.source.line(at.line)?.chars().skip(at.column.checked_sub(2)?);
        let written: String = reads_so.take(name.chars().count() + 2).collect();
        let is_template = text.is_empty() && values.is_empty() && written == format!("{{{name}}}");
        // Only now: a key that goes over several lines is as wide as can be.
        is_template.then(|| Span { width: at.width.saturating_add(2), column: at.column.saturating_sub(1), ..*span })
    }

    fn not_quoted(&mut self, span: Span) {
        let Some(Open::Map { key, unquoted, .. }) = self.open.last_mut() else { return };
        let name = key.take().map(|(name, _)| name).unwrap_or_default();
        *unquoted = true;
        let message = format!("`{{{name}}}` is not quoted, so that YAML reads it as a mapping");
        self.problems.push(
            Problem::at_span(codes::BAD_TEMPLATE, self.source, span, message).help(format!("write \"{{{name}}}\"")),
        );
    }

    /// A block of text is shown by the `|` or `>` behind its key: its lines may be a key that nobody should see.
    fn block_sign(&self) -> Option<Span> {
        let Some(Open::Map { key: Some((_, key)), .. }) = self.open.last() else { return None };
        let behind_key = key.column.saturating_sub(1).saturating_add(key.width);
        let at = self.source.line(key.line)?.chars().skip(behind_key).position(|c| matches!(c, '|' | '>'))?;
        Some(Span { line: key.line, column: behind_key + at + 1, width: 1 })
    }

    fn not_expanded(&mut self, failure: &env::Failure, span: Span) {
        let (code, text, message, help) = match failure {
            env::Failure::Unset { name } => (
                codes::UNSET,
                format!("${{{name}"),
                format!("environment variable {name} is not set"),
                format!("set it, or give a default: ${{{name}:-value}}"),
            ),
            env::Failure::Malformed { text } => (
                codes::BAD_SUBSTITUTION,
                format!("${{{text}"),
                "this is neither ${NAME} nor ${NAME:-default}".to_owned(),
                "write $${ for a literal ${".to_owned(),
            ),
        };
        let span = reference_place(self.source, span, &text).unwrap_or(span);
        self.problems.push(Problem::at_span(code, self.source, span, message).help(help));
    }

    /// The value that comes next is left out, so that no second problem is told about it.
    fn drop_value(&mut self) {
        match self.open.last_mut() {
            Some(Open::Map { key, dropped, .. }) => dropped.extend(key.take().map(|(name, _)| name)),
            Some(Open::List { gaps, .. }) => *gaps = true,
            None => {}
        }
    }

    /// A finished value goes into whatever is open.
    fn put(&mut self, value: Value, mark: Mark) -> Result<(), Stop> {
        match self.open.last_mut() {
            None => self.root = Some((value, mark)),
            Some(Open::List { values, marks, .. }) => {
                values.push(value);
                marks.push(mark);
            }
            Some(Open::Map { values, entries, key, .. }) => {
                let Some((name, at)) = key.take() else { return Ok(()) };
                let text = Value::String(name.clone());
                if values.contains_key(&text) {
                    let first = entries.iter().find(|entry| entry.name == name).map_or(0, |entry| entry.key.line);
                    let message = format!("key `{name}` stands twice; the first is on line {first}");
                    let help = "keep one, or put both into one mapping, in which all keys count";
                    self.problems.push(Problem::at_span(codes::DUPLICATE_KEY, self.source, at, message).help(help));
                    if self.problems.len() > MAX_PROBLEMS {
                        return Err(Stop);
                    }
                    return Ok(());
                }
                values.insert(text, value);
                entries.push(Entry { name, key: at, value: mark });
            }
        }
        Ok(())
    }
}

/// Where `${NAME` stands within the scalar that begins at `span`.
fn reference_place(source: &Source, span: Span, text: &str) -> Option<Span> {
    let mut skip = span.column.saturating_sub(1);
    // A scalar of many lines: the reference is on one of the next ones.
    for line in span.line..span.line.saturating_add(200) {
        let rest: String = source.line(line)?.chars().skip(skip).collect();
        if let Some((before, after)) = rest.split_once(text) {
            let closing = after.chars().position(|c| c == '}').map_or(0, |at| at + 1);
            let width = text.chars().count() + closing;
            return Some(Span { line, column: skip + before.chars().count() + 1, width });
        }
        skip = 0;
    }
    None
}

fn place(span: &saphyr_parser::Span) -> Span {
    let one_line = span.start.line() == span.end.line();
    let width = if one_line { span.end.col().saturating_sub(span.start.col()) } else { usize::MAX };
    Span { line: span.start.line(), column: span.start.col() + 1, width: width.max(1) }
}

/// A list or mapping is shown by its first character.
fn head(span: Span) -> Span {
    Span { width: 1, ..span }
}

fn syntax(source: &Arc<Source>, error: &ScanError) -> Problem {
    let marker = error.marker();
    let span = Span { line: marker.line(), column: marker.col() + 1, width: 1 };
    let line = source.line(span.line).unwrap_or_default();
    let info = error.info();
    let indent = line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t');
    // A brace that is not closed is noticed some lines later.
    let lines = (span.line.saturating_sub(BRACE_BEFORE)..=span.line).rev();
    let brace = || lines.into_iter().find_map(|number| Some((number, unquoted_brace(source.line(number)?)?)));
    let help = if line.contains("${") {
        Some("quote a ${…} that stands within [ ] or { }".to_owned())
    } else if indent {
        Some("indent with spaces: YAML does not allow tabs there".to_owned())
    } else if let Some((number, brace)) = brace() {
        let place = if number == span.line { String::new() } else { format!(" on line {number}") };
        let shown = if has_secret(source.line(number).unwrap_or_default()) { "…" } else { &brace };
        Some(format!("quote a value that begins with a brace{place}: \"{shown}\""))
    } else if let Some(sign) = unquoted_sign(line) {
        Some(format!("quote a value that begins with {sign}"))
    } else if line.contains('\t') {
        Some("indent with spaces: YAML does not allow tabs there".to_owned())
    } else if info.contains("did not find expected ','") {
        Some("close the [ or {, and quote a value that holds braces, as in path: \"/orgs/{org}\"".to_owned())
    } else if info.contains("mapping values are not allowed") {
        Some("quote a value that has a colon and a space, and look at the indentation".to_owned())
    } else if info.contains("parsing a block") || info.contains("indentation") {
        Some("look at the indentation: keys of one mapping, and dashes of one list, stand in one column".to_owned())
    } else {
        None
    };
    Problem::at_span(codes::SYNTAX, source, span, format!("not YAML: {info}")).maybe_help(help)
}

/// A value such as `{org}/x` or `{org` without quotes.
fn unquoted_brace(line: &str) -> Option<String> {
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('{') {
        let begins_value = before.trim_end().ends_with([':', '-', '[', ',']);
        let name: String =
            after.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '*' | '.')).collect();
        let next = after.get(name.len()..).unwrap_or_default();
        // `{ a: 1 }` is a mapping, and `{a}` closed one that was told when its value was missing.
        let is_cut = next.starts_with('}')
            && !next.get(1..).unwrap_or_default().trim_start().starts_with([',', '}', ']', '#'])
            && !next.get(1..).unwrap_or_default().trim().is_empty();
        let is_open = next.trim().is_empty() || (next.trim_start().starts_with('}') && next.starts_with(' '));
        if begins_value && !name.is_empty() && is_cut {
            let tail: String = next.chars().take_while(|c| !c.is_whitespace() && !matches!(c, ',' | ']')).collect();
            return Some(format!("{{{name}{tail}"));
        }
        if begins_value && !name.is_empty() && is_open {
            return Some(format!("{{{name}}}"));
        }
        rest = after;
    }
    None
}

/// Signs that begin something else in YAML.
fn unquoted_sign(line: &str) -> Option<char> {
    let line = line.trim_start();
    let begins = |sign: &char| {
        let opened = [format!(": {sign}"), format!("- {sign}"), format!("[{sign}"), format!(", {sign}")];
        line.starts_with(*sign) || opened.iter().any(|opened| line.contains(opened.as_str()))
    };
    ['*', '%', '@', '`', '!', '&'].into_iter().find(begins)
}

/// The type of a plain scalar by the YAML 1.2 core schema; `yes`, `012` and `1:30` are text.
pub(crate) fn typed(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if let Some(hex) = digits.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().filter(|_| digits == text).map(Number::from);
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        // Leading zeros are how people write ids, not numbers.
        if digits.len() > 1 && digits.starts_with('0') {
            return None;
        }
        let text = text.strip_prefix('+').unwrap_or(text);
        return text.parse::<u64>().map(Number::from).or_else(|_| text.parse::<i64>().map(Number::from)).ok();
    }
    let floating = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && digits.bytes().any(|b| b.is_ascii_digit());
    floating.then(|| text.parse::<f64>().ok()).flatten().filter(|n| n.is_finite()).map(Number::from)
}

#[cfg(test)]
mod tests {
    use serde_yaml::Value;

    use super::typed;

    #[test]
    fn plain_scalars_are_typed_by_the_core_schema() {
        let text = |text: &str| Value::String(text.to_owned());
        let table = [
            ("", Value::Null),
            ("~", Value::Null),
            ("true", Value::Bool(true)),
            ("yes", text("yes")),
            ("12", Value::from(12)),
            ("-3", Value::from(-3)),
            ("+3", Value::from(3)),
            ("0x1f", Value::from(31)),
            ("012", text("012")),
            ("1.5", Value::from(1.5)),
            ("1e3", Value::from(1000.0)),
            ("1.2.3", text("1.2.3")),
            ("5s", text("5s")),
            ("127.0.0.1:80", text("127.0.0.1:80")),
            ("99999999999999999999", text("99999999999999999999")),
            (".", text(".")),
            ("-", text("-")),
            (".inf", text(".inf")),
        ];
        for (plain, expected) in table {
            assert_eq!(typed(plain), expected, "{plain:?}");
        }
    }
}
