//! Values become raw types, and every misfit a problem.
//!
//! Serde stops at the first error of a document. So a misfit is told with its path, taken out of the values and of
//! their places, and the rest is decoded again, until it fits. Raw types therefore have no required fields: what
//! is missing is told by `compile`, which knows what was taken out here.

mod slips;

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment, Track};
use serde_yaml::Value;

use super::codes;
use super::places::{Mark, Span, Step};
use super::report::{MAX_PROBLEMS, Problem};
use super::source::Source;
use super::yaml::Document;
pub(crate) use crate::misfit::near;
use crate::misfit::{mismatch, unknown};

/// Separates message from help in the errors of our own scalars.
pub(crate) const HELP: &str = "\nhelp: ";

/// Decodes what fits; the document is left with exactly that. `None` when it is no mapping at all, or nothing but
/// problems.
pub(crate) fn decode<T: DeserializeOwned + Default>(
    document: &mut Document,
    source: &Arc<Source>,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    // An empty file, or one of comments: what it lacks is told later.
    if matches!(document.value, Value::Null) {
        return Some(T::default());
    }
    for _ in 0..MAX_PROBLEMS {
        let mut track = Track::new();
        let deserializer = serde_path_to_error::Deserializer::new(&document.value, &mut track);
        let error = match T::deserialize(deserializer) {
            Ok(decoded) => return Some(decoded),
            Err(error) => error.to_string(),
        };
        let steps = steps(&track.path(), &document.value);
        problems.push(describe(&error, &steps, document, source));
        if steps.is_empty() {
            return None;
        }
        remove(document, &steps);
    }
    let span = Span { line: 1, column: 1, width: 1 };
    problems.push(Problem::at_span(codes::AND_MORE, source, span, "too many problems: the rest is not listed"));
    None
}

/// The path as far as the values go: an unknown word of an enumeration belongs to the value that holds it.
fn steps(path: &Path, value: &Value) -> Vec<Step> {
    let mut here = Some(value);
    let mut steps = Vec::new();
    for segment in path.iter() {
        let step = match segment {
            Segment::Map { key } => Step::Key(key.clone()),
            Segment::Seq { index } => Step::Index(*index),
            Segment::Enum { .. } | Segment::Unknown => break,
        };
        here = here.and_then(|value| child(value, &step));
        if here.is_none() {
            break;
        }
        steps.push(step);
    }
    steps
}

fn child<'v>(value: &'v Value, step: &Step) -> Option<&'v Value> {
    match step {
        Step::Key(key) => value.get(key.as_str()),
        Step::Index(index) => value.get(*index),
    }
}

/// Takes one value out of the values and of their places.
fn remove(document: &mut Document, steps: &[Step]) {
    let Some((last, parents)) = steps.split_last() else { return };
    let mut value = Some(&mut document.value);
    let mut mark = Some(&mut document.mark);
    for step in parents {
        value = value.and_then(|value| match step {
            Step::Key(key) => value.get_mut(key.as_str()),
            Step::Index(index) => value.get_mut(*index),
        });
        mark = mark.and_then(|mark| mark.step_mut(step));
    }
    match (value, last) {
        (Some(Value::Mapping(map)), Step::Key(key)) => {
            map.shift_remove(key.as_str());
        }
        (Some(Value::Sequence(list)), Step::Index(index)) if *index < list.len() => {
            list.remove(*index);
        }
        _ => {}
    }
    if let Some(mark) = mark {
        mark.remove(last);
    }
}

/// The places of a value and of its key, and whether the value must not be shown.
fn locate(mark: &Mark, steps: &[Step]) -> (Span, Span, bool) {
    let mut here = mark;
    let mut key = mark.span;
    for step in steps {
        match step {
            Step::Key(name) => {
                let Some(entry) = here.entry(name) else { break };
                key = entry.key;
                here = &entry.value;
            }
            Step::Index(index) => {
                let Some(item) = here.item(*index) else { break };
                key = item.span;
                here = item;
            }
        }
    }
    (here.span, key, here.substituted)
}

fn describe(error: &str, steps: &[Step], document: &Document, source: &Arc<Source>) -> Problem {
    let (value, key, substituted) = locate(&document.mark, steps);
    let at = |code, span, message: String| Problem::at_span(code, source, span, message);
    if let Some((name, known)) = unknown(error, "unknown field `") {
        let message = format!("unknown key `{name}`{}", context(steps, &document.value));
        let help = slips::belongs(&name, &known).unwrap_or_else(|| near_or_all("known keys", &name, &known));
        return at(codes::UNKNOWN_KEY, key, message).help(help);
    }
    if let Some((word, known)) = unknown(error, "unknown variant `") {
        let shown = if substituted { String::new() } else { format!(" `{word}`") };
        let message = format!("unknown value{shown}{}", of_key(steps));
        return at(codes::UNKNOWN_WORD, value, message).help(near_or_all("known values", &word, &known));
    }
    let (message, help) = match error.split_once(HELP) {
        Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
        None => mismatch(error),
    };
    let help = help.or_else(|| slips::help(&message, steps, &document.value, substituted));
    at(codes::BAD_VALUE, value, message).maybe_help(help)
}

/// Of what the key is: "in `require` of route `invoice.read`".
fn context(steps: &[Step], value: &Value) -> String {
    let mut parents = steps.iter().rev().skip(1);
    let parent = parents.find_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    let route = match steps {
        [Step::Key(routes), Step::Index(index), ..] if routes == "routes" => value
            .get("routes")
            .and_then(|list| list.get(*index))
            .and_then(|route| route.get("id"))
            .and_then(Value::as_str),
        _ => None,
    };
    match (parent, route) {
        (Some("routes") | None, Some(id)) => format!(" in route `{id}`"),
        (Some("routes"), None) => " in a route".to_owned(),
        (Some(parent), Some(id)) => format!(" in `{parent}` of route `{id}`"),
        (Some(parent), None) => format!(" in `{parent}`"),
        (None, None) => String::new(),
    }
}

fn of_key(steps: &[Step]) -> String {
    let key = steps.iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(key),
        Step::Index(_) => None,
    });
    key.map(|key| format!(" for `{key}`")).unwrap_or_default()
}

fn near_or_all(what: &str, name: &str, known: &[String]) -> String {
    match near(name, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "nothing may stand here".to_owned(),
        None => format!("{what}: {}", known.join(", ")),
    }
}
