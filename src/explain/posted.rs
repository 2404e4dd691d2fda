//! The question as a program posts it: read strictly, each problem with the field that it is in. Echoes no value.

use serde_json::{Map, Value};

use super::Asked;
use crate::clock::Now;
use crate::identity::json::{self, JsonProblem};
use crate::misfit::strictly;
use crate::persona::{Assumed, Beside, Persona};
use crate::snapshot::Snapshot;

/// What was asked.
#[derive(Debug)]
pub struct Posted {
    pub asked: Asked,
    pub person: Option<Assumed>,
    pub at: Option<Now>,
}

/// Why it makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Senseless {
    /// `None`: the body as a whole.
    pub field: Option<&'static str>,
    pub problem: String,
}

fn senseless<T>(field: &'static str, problem: impl Into<String>) -> Result<T, Senseless> {
    Err(Senseless { field: Some(field), problem: problem.into() })
}

const FIELDS: [&str; 5] = ["method", "url", "headers", "as", "at"];

impl Posted {
    /// `{"method":"GET","url":"/x","headers":{"name":"value"},"as":{…},"at":"2026-01-31T12:00:00Z"}`; all but `url` may be
    /// left out, and then it is a GET of nobody's, now.
    ///
    /// # Errors
    /// [`Senseless`].
    pub fn parse(body: &[u8], snapshot: &Snapshot) -> Result<Self, Senseless> {
        let mut body = json::parse_object(body).map_err(|problem| Senseless {
            field: None,
            problem: match problem {
                JsonProblem::Malformed => "the body is no JSON",
                JsonProblem::Duplicate => "the body names something twice",
                JsonProblem::NotAnObject => "the body is an object, as in {\"method\":\"GET\",\"url\":\"/x\"}",
            }
            .to_owned(),
        })?;
        if body.keys().any(|key| !FIELDS.contains(&key.as_str())) {
            let problem = format!("the body has an unknown field: there is {}", FIELDS.join(", "));
            return Err(Senseless { field: None, problem });
        }
        let method = text(&mut body, "method")?.unwrap_or_else(|| "GET".to_owned());
        let Some(url) = text(&mut body, "url")? else { return senseless("url", "it is missing") };
        let lines = lines(body.remove("headers"))?;
        let lines = lines.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let asked = Asked::new(&method, &url, lines).or_else(|misfit| senseless(misfit.field, misfit.problem))?;
        let person = match body.remove("as") {
            None => None,
            Some(person @ Value::Object(_)) => {
                let persona: Persona = strictly(person).or_else(|problem| senseless("as", problem))?;
                Some(persona.assume(Beside::of(snapshot)).or_else(|misfit| senseless("as", misfit.to_string()))?)
            }
            Some(_) => return senseless("as", "a person is an object, as in {\"user\":\"u1\",\"org\":\"acme\"}"),
        };
        let at = match text(&mut body, "at")? {
            None => None,
            Some(text) => Some(instant(&text).or_else(|problem| senseless("at", problem))?),
        };
        Ok(Self { asked, person, at })
    }
}

/// A time as people write it.
///
/// # Errors
/// A sentence about what was expected.
pub fn instant(text: &str) -> Result<Now, &'static str> {
    let time: jiff::Timestamp = text.parse().map_err(|_| "expected a time such as 2026-01-31T12:00:00Z")?;
    Ok(Now::as_if(time.as_millisecond()))
}

fn text(body: &mut Map<String, Value>, field: &'static str) -> Result<Option<String>, Senseless> {
    match body.remove(field) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => senseless(field, "expected a text"),
    }
}

fn lines(headers: Option<Value>) -> Result<Vec<(String, String)>, Senseless> {
    const SHAPE: &str = "expected names with a text or a list of texts, as in {\"accept\":\"*/*\"}";
    let headers = match headers {
        None => return Ok(Vec::new()),
        Some(Value::Object(headers)) => headers,
        Some(_) => return senseless("headers", SHAPE),
    };
    let mut lines = Vec::new();
    for (name, value) in headers {
        match value {
            Value::String(value) => lines.push((name, value)),
            Value::Array(values) => {
                for value in values {
                    let Value::String(value) = value else { return senseless("headers", SHAPE) };
                    lines.push((name.clone(), value));
                }
            }
            _ => return senseless("headers", SHAPE),
        }
    }
    Ok(lines)
}
