//! `claim` predicates: a value in the token's payload, compared by type and value.
//!
//! A claim that is missing or has another type than the policy asks for is unknown, not unequal: a policy that says
//! `not: { claim: { suspended: true } }` must not let in whoever carries `"suspended": "yes"`.

use std::fmt;

use serde_json::{Map, Number, Value};

use super::tri::{Cause, Tri};

/// Where a claim is: names from the outside in. A name with dots in it is quoted: `"https://example.com/staff".level`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath {
    text: Box<str>,
    names: Vec<Box<str>>,
}

/// What is wrong with a claim's path, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimPathProblem {
    pub at: usize,
    pub kind: ClaimPathProblemKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimPathProblemKind {
    EmptyName,
    Quote,
}

impl fmt::Display for ClaimPathProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyName => "a claim's name is missing",
            Self::Quote => "a quoted name ends with a quote, followed by a dot or nothing",
        })
    }
}

/// A value that a policy asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimValue {
    Text(Box<str>),
    Number(Number),
    Bool(bool),
}

/// The claim at `path` is one of `any_of`; of a claim that is a list, one of its elements is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRule {
    pub path: ClaimPath,
    pub any_of: Vec<ClaimValue>,
}

impl ClaimPath {
    /// The member of the payload in which it lies.
    pub(super) fn first(&self) -> Option<&str> {
        self.names.first().map(|name| &**name)
    }

    /// From the outside in.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// Reads a path as people write it.
    ///
    /// # Errors
    /// [`ClaimPathProblem`] with the place of the first mistake.
    pub fn parse(text: &str) -> Result<Self, ClaimPathProblem> {
        let mut names = Vec::new();
        let mut rest = text;
        loop {
            let at = text.len() - rest.len();
            let problem = |kind| ClaimPathProblem { at, kind };
            let (name, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').ok_or(problem(ClaimPathProblemKind::Quote))?,
                None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
            };
            if name.is_empty() {
                return Err(problem(ClaimPathProblemKind::EmptyName));
            }
            names.push(name.into());
            if after.is_empty() {
                return Ok(Self { text: text.into(), names });
            }
            rest = after.strip_prefix('.').ok_or(problem(ClaimPathProblemKind::Quote))?;
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn find<'c>(&self, claims: &'c Map<String, Value>) -> Result<&'c Value, Cause> {
        let (first, inner) = self.names.split_first().ok_or(Cause::MissingClaim)?;
        let mut value = claims.get(&**first).ok_or(Cause::MissingClaim)?;
        for name in inner {
            value = match value {
                Value::Object(members) => members.get(&**name).ok_or(Cause::MissingClaim)?,
                Value::Null => return Err(Cause::MissingClaim),
                _ => return Err(Cause::OtherType),
            };
        }
        // What stands there as null says as little as what does not stand there.
        if value.is_null() { Err(Cause::MissingClaim) } else { Ok(value) }
    }
}

impl ClaimValue {
    /// Strings, numbers and booleans; `None` for the rest, which no policy can ask for.
    pub fn new(value: Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text.into_boxed_str())),
            Value::Number(number) => Some(Self::Number(number)),
            Value::Bool(flag) => Some(Self::Bool(flag)),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn equals(&self, value: &Value) -> Tri {
        match (self, value) {
            (Self::Text(asked), Value::String(text)) => Tri::from(**asked == **text),
            (Self::Number(asked), Value::Number(number)) => Tri::from(same_number(asked, number)),
            (Self::Bool(asked), Value::Bool(flag)) => Tri::from(asked == flag),
            _ => Tri::Unknown(Cause::OtherType),
        }
    }
}

impl fmt::Display for ClaimValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number(number) => number.fmt(f),
            Self::Bool(flag) => flag.fmt(f),
        }
    }
}

impl ClaimRule {
    pub(super) fn holds(&self, claims: &Map<String, Value>) -> Tri {
        match self.path.find(claims) {
            Ok(Value::Array(elements)) => Tri::any(elements.iter().map(|element| self.one_of(element))),
            Ok(value) => self.one_of(value),
            Err(cause) => Tri::Unknown(cause),
        }
    }

    /// A value whose type is asked for at all is equal or not; only one of another type cannot be compared.
    fn one_of(&self, value: &Value) -> Tri {
        let mut found = Tri::Unknown(Cause::OtherType);
        for asked in &self.any_of {
            match asked.equals(value) {
                Tri::True => return Tri::True,
                Tri::False => found = Tri::False,
                Tri::Unknown(_) => {}
            }
        }
        found
    }

    /// What the claim says, for `explain`.
    pub(super) fn shown(&self, claims: &Map<String, Value>) -> String {
        self.path.find(claims).map_or_else(|cause| cause.as_str().to_owned(), ToString::to_string)
    }
}

/// JSON has one kind of number: 3 and 3.0 are equal, and no integer is rounded to become equal.
fn same_number(one: &Number, other: &Number) -> bool {
    let integer = |number: &Number| {
        number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)).or_else(|| {
            // Beyond 2^53 a float stands for many integers.
            let float = number.as_f64()?;
            #[expect(clippy::cast_possible_truncation, reason = "whole and within ±2^53, so the cast is exact")]
            (float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0).then_some(float as i128)
        })
    };
    match (integer(one), integer(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one.as_f64() == other.as_f64(),
        _ => false,
    }
}

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
