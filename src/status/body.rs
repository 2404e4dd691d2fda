//! A body that an operator makes: a tree as it is to be answered, with `{…}` for what is true.
//!
//! Compiled at load, so that a field that does not exist is told there. Text that is nothing but one field keeps that
//! field's type, and is null where there is nothing to say; beside other text it is text, and empty there. Of a flag,
//! `{authenticated?yes:no}` writes one of two words. Never fails at a request, and knows no field that could be a secret.

use serde_json::{Map, Value};

use super::{Field, Status};
use crate::braces::{self, Piece};

/// Deeper than this nobody writes bodies by hand.
const MAX_DEPTH: usize = 8;

/// A compiled body.
#[derive(Debug, Clone, PartialEq)]
pub struct Body(Node);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Literal(Value),
    Field(Field),
    Text(Vec<Part>),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Field(Field),
    Choice(Field, [String; 2]),
}

/// One step into a body, to where its problem is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

/// Why a body cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyProblem {
    /// A `{` without its `}`, or the other way round.
    Unbalanced,
    UnknownField(String),
    /// `{method?a:b}`: only flags choose between two.
    NoFlag(&'static str),
    /// `{degraded?a}`: one of the two words is missing.
    OneWord(&'static str),
    TooDeep,
}

impl BodyProblem {
    /// All fields, for hints.
    pub fn fields() -> [&'static str; 14] {
        Field::ALL.map(Field::as_str)
    }
}

impl std::fmt::Display for BodyProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unbalanced => f.write_str("a brace of this text has no partner"),
            Self::UnknownField(name) => write!(f, "the status has no field `{name}`"),
            Self::NoFlag(name) => write!(f, "`{name}` is not true or false, so that it cannot choose a word"),
            Self::OneWord(name) => write!(f, "`{{{name}?…}}` needs two words"),
            Self::TooDeep => f.write_str("this body nests too deeply"),
        }
    }
}

impl std::error::Error for BodyProblem {}

impl Body {
    /// Compiles a tree; `problem` is told each text that cannot be used, and the way to it.
    pub fn compile(raw: Value, problem: &mut impl FnMut(&[Step], BodyProblem)) -> Self {
        Self(node(raw, &mut Vec::new(), problem))
    }

    /// The tree, filled in.
    pub fn render(&self, status: &Status) -> Value {
        fill(&self.0, status)
    }
}

fn node(raw: Value, way: &mut Vec<Step>, problem: &mut impl FnMut(&[Step], BodyProblem)) -> Node {
    if way.len() >= MAX_DEPTH {
        problem(way, BodyProblem::TooDeep);
        return Node::Literal(Value::Null);
    }
    let mut below = |step: Step, raw: Value| {
        way.push(step);
        let made = node(raw, way, problem);
        way.pop();
        made
    };
    match raw {
        Value::Array(items) => {
            let items = items.into_iter().enumerate();
            Node::Array(items.map(|(index, item)| below(Step::Index(index), item)).collect())
        }
        Value::Object(members) => {
            let members = members.into_iter();
            Node::Object(members.map(|(name, raw)| (name.clone(), below(Step::Key(name), raw))).collect())
        }
        Value::String(text) => match template(&text) {
            Ok(node) => node,
            Err(why) => {
                problem(way, why);
                Node::Literal(Value::Null)
            }
        },
        literal => Node::Literal(literal),
    }
}

fn template(text: &str) -> Result<Node, BodyProblem> {
    let pieces = braces::read(text).map_err(|braces::Unbalanced| BodyProblem::Unbalanced)?;
    let part = |piece| match piece {
        Piece::Text(literal) => Ok(Part::Text(literal)),
        Piece::Field(inside) => part(inside),
    };
    let parts: Vec<_> = pieces.into_iter().map(part).collect::<Result<_, _>>()?;
    Ok(match parts.as_slice() {
        [] => Node::Literal(Value::String(String::new())),
        [Part::Text(text)] => Node::Literal(Value::String(text.clone())),
        [Part::Field(field)] => Node::Field(*field),
        _ => Node::Text(parts),
    })
}

fn part(inside: &str) -> Result<Part, BodyProblem> {
    let (name, words) = inside.split_once('?').map_or((inside, None), |(name, words)| (name, Some(words)));
    let known = Field::ALL.into_iter().find(|field| field.as_str() == name);
    let field = known.ok_or_else(|| BodyProblem::UnknownField(name.to_owned()))?;
    let Some(words) = words else { return Ok(Part::Field(field)) };
    if !field.is_flag() {
        return Err(BodyProblem::NoFlag(field.as_str()));
    }
    let (yes, no) = words.split_once(':').ok_or(BodyProblem::OneWord(field.as_str()))?;
    Ok(Part::Choice(field, [yes.to_owned(), no.to_owned()]))
}

fn fill(node: &Node, status: &Status) -> Value {
    match node {
        Node::Literal(value) => value.clone(),
        Node::Field(field) => status.field(*field),
        Node::Text(parts) => Value::String(parts.iter().map(|part| text(part, status)).collect()),
        Node::Array(items) => items.iter().map(|item| fill(item, status)).collect(),
        Node::Object(members) => {
            let members = members.iter().map(|(name, node)| (name.clone(), fill(node, status)));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

fn text(part: &Part, status: &Status) -> String {
    match part {
        Part::Text(literal) => literal.clone(),
        Part::Choice(field, [yes, no]) => {
            if status.field(*field) == Value::Bool(true) {
                yes.clone()
            } else {
                no.clone()
            }
        }
        Part::Field(field) => match status.field(*field) {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        },
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
