//! Values while a condition is evaluated, borrowed wherever they can be, and how they compare.
//!
//! Stricter than CEL where it has to be: values of two types are neither equal nor unequal, they cannot be told apart, as in
//! `claim`. CEL itself calls `"yes" != true` true, and `not: …suspended == true` would let in who carries `"yes"`.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Map, Value as Json};

use crate::identity::Workspace;
use crate::policy::Cause;
use crate::request::CanonicalPath;

#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// Only what is above every `Int`.
    Uint(u64),
    /// Never NaN, never infinite.
    Double(f64),
    Text(Cow<'a, str>),
    List(List<'a>),
    Map(&'a Map<String, Json>),
}

#[derive(Debug, Clone)]
pub(super) enum List<'a> {
    Json(&'a [Json]),
    Texts(&'a [String]),
    Workspaces(&'a [Workspace]),
    Segments(&'a CanonicalPath),
    Keys(&'a Map<String, Json>),
    Made(Vec<Value<'a>>),
}

impl<'a> Value<'a> {
    pub(super) fn of_json(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(value), ..) => Self::Int(value),
                (None, Some(value), _) => Self::Uint(value),
                (None, None, Some(value)) if value.is_finite() => Self::Double(value),
                // What no number here can hold is nobody's value.
                _ => Self::Null,
            },
            Json::String(text) => Self::Text(Cow::Borrowed(text)),
            Json::Array(values) => Self::List(List::Json(values)),
            Json::Object(members) => Self::Map(members),
        }
    }

    pub(super) const fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    pub(super) fn uint(value: u64) -> Self {
        i64::try_from(value).map_or(Self::Uint(value), Self::Int)
    }

    pub(super) fn double(value: f64) -> Result<Self, Cause> {
        if value.is_finite() { Ok(Self::Double(value)) } else { Err(Cause::NoNumber) }
    }

    const fn number(&self) -> Option<Number> {
        match self {
            Self::Int(value) => Some(Number::Whole(*value as i128)),
            Self::Uint(value) => Some(Number::Whole(*value as i128)),
            Self::Double(value) => Some(Number::Double(*value)),
            _ => None,
        }
    }

    /// Whether two values of one type are equal.
    ///
    /// # Errors
    /// They are of two types, of one that has no equality, or null, which says as little as what is not there.
    pub(super) fn equals(&self, other: &Value<'_>) -> Result<bool, Cause> {
        match (self, other) {
            (Self::Null, _) | (_, Value::Null) => Err(Cause::MissingClaim),
            (Self::Bool(one), Value::Bool(other)) => Ok(one == other),
            (Self::Text(one), Value::Text(other)) => Ok(one == other),
            _ => match (self.number(), other.number()) {
                (Some(one), Some(other)) => Ok(one.order(other) == Some(Ordering::Equal)),
                _ => Err(Cause::OtherType),
            },
        }
    }

    /// The order of two numbers, or of two texts by their code points.
    ///
    /// # Errors
    /// They are neither.
    pub(super) fn order(&self, other: &Value<'_>) -> Result<Ordering, Cause> {
        match (self, other) {
            (Self::Null, _) | (_, Value::Null) => Err(Cause::MissingClaim),
            (Self::Text(one), Value::Text(other)) => Ok(one.cmp(other)),
            _ => match (self.number(), other.number()) {
                (Some(one), Some(other)) => one.order(other).ok_or(Cause::NoNumber),
                _ => Err(Cause::OtherType),
            },
        }
    }
}

impl<'a> List<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Json(values) => values.len(),
            Self::Texts(texts) => texts.len(),
            Self::Workspaces(workspaces) => workspaces.len(),
            Self::Segments(path) => path.segments().count(),
            Self::Keys(members) => members.len(),
            Self::Made(values) => values.len(),
        }
    }

    /// The element at a place, from 0.
    pub(super) fn at(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Self::Json(values) => values.get(index).map(Value::of_json),
            Self::Texts(texts) => texts.get(index).map(|text| Value::text(text)),
            Self::Workspaces(workspaces) => workspaces.get(index).map(|workspace| Value::text(&workspace.id)),
            Self::Segments(path) => path.segments().nth(index).and_then(segment),
            Self::Keys(members) => members.keys().nth(index).map(|key| Value::text(key)),
            Self::Made(values) => values.get(index).cloned(),
        }
    }

    /// All elements in turn.
    pub(super) fn elements(&self) -> Elements<'_, 'a> {
        match self {
            Self::Json(values) => Box::new(values.iter().map(Value::of_json)),
            Self::Texts(texts) => Box::new(texts.iter().map(|text| Value::text(text))),
            Self::Workspaces(workspaces) => Box::new(workspaces.iter().map(|workspace| Value::text(&workspace.id))),
            Self::Segments(path) => Box::new(path.segments().filter_map(segment)),
            Self::Keys(members) => Box::new(members.keys().map(|key| Value::text(key))),
            Self::Made(values) => Box::new(values.iter().cloned()),
        }
    }
}

pub(super) type Elements<'l, 'a> = Box<dyn Iterator<Item = Value<'a>> + 'l>;

/// A canonical path holds nothing but ASCII and escapes of UTF-8.
fn segment(segment: crate::request::path::Segment<'_>) -> Option<Value<'_>> {
    match segment.decoded() {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Value::text),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(|text| Value::Text(Cow::Owned(text))),
    }
}

#[derive(Clone, Copy)]
enum Number {
    Whole(i128),
    Double(f64),
}

impl Number {
    /// Exact: no whole number is rounded to become equal.
    fn order(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => Some(one.cmp(&other)),
            (Self::Double(one), Self::Double(other)) => one.partial_cmp(&other),
            (Self::Whole(one), Self::Double(other)) => whole_to_double(one, other),
            (Self::Double(one), Self::Whole(other)) => whole_to_double(other, one).map(Ordering::reverse),
        }
    }
}

fn whole_to_double(whole: i128, double: f64) -> Option<Ordering> {
    /// Beyond every `i64` and `u64`.
    const BEYOND: f64 = 1e20;
    if double.is_nan() {
        return None;
    }
    if double.abs() >= BEYOND {
        return Some(if double > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and within ±1e20, so the cast is exact")]
    let floor = double.floor() as i128;
    Some(whole.cmp(&floor).then(if double.fract() == 0.0 { Ordering::Equal } else { Ordering::Less }))
}
