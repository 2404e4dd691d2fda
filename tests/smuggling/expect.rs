//! What a case expects, and how it is compared with what came.

use super::recorder::Seen;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Status and code.
    Is(u16, String),
    /// The end of the connection instead.
    Close,
    /// HTTP/2: `RST_STREAM`, `GOAWAY` or the end of the connection.
    Reset,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Expectation {
    pub(crate) answers: Vec<Answer>,
    pub(crate) closing: bool,
    pub(crate) open: bool,
    pub(crate) upstream: Vec<Upstream>,
    pub(crate) cut: bool,
    pub(crate) split: bool,
}

/// A request as it must reach the API.
#[derive(Debug, Clone, Default)]
pub(crate) struct Upstream {
    pub(crate) line: String,
    pub(crate) present: Vec<(String, Vec<u8>)>,
    pub(crate) absent: Vec<String>,
    pub(crate) body: Vec<u8>,
}

/// Compares what reached the API with what a case says.
pub(crate) fn compare(expected: &[Upstream], seen: &[Seen]) -> Result<(), String> {
    let lines = |all: Vec<String>| all.join(", ");
    if expected.len() != seen.len() {
        let seen = lines(seen.iter().map(Seen::line).collect());
        return Err(format!("{} requests at the API instead of {}: [{seen}]", lines_count(&seen), expected.len()));
    }
    for (expected, seen) in expected.iter().zip(seen) {
        if expected.line != seen.line() {
            return Err(format!("at the API: {} instead of {}", seen.line(), expected.line));
        }
        for (name, value) in &expected.present {
            let values = seen.values(name);
            if values.len() != 1 || values[0] != *value {
                let shown: Vec<String> = values.iter().map(|value| value.escape_ascii().to_string()).collect();
                return Err(format!("at the API, {name} is {shown:?} instead of {}", value.escape_ascii()));
            }
        }
        for name in &expected.absent {
            if let Some(line) = seen.twin(name) {
                return Err(format!("at the API stands {line}"));
            }
        }
        if expected.body != seen.body {
            let (body, wanted) = (seen.body.escape_ascii(), expected.body.escape_ascii());
            return Err(format!("at the API the body is {body} instead of {wanted}"));
        }
    }
    Ok(())
}

fn lines_count(lines: &str) -> usize {
    if lines.is_empty() { 0 } else { lines.split(", ").count() }
}
