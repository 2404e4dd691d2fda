//! `when`: a condition in CEL, over the caller's claims, the caller and the request.
//!
//! The text is parsed by the crate `cel` and read into a tree of our own at load; `eval` walks that tree for each request.
//! The crate's own interpreter is not used: it calls values of two types unequal where this product says that they cannot be
//! compared, copies whatever it could not compare into its errors, and has no limit of cost. The tests hold the two side by
//! side. Nothing here decides by itself: what cannot be evaluated is unknown, and unknown denies.

mod eval;
mod read;
mod shape;
mod syntax;
mod tree;
mod value;
mod words;

use std::borrow::Cow;
use std::fmt;

use http::HeaderName;

use super::has::RoleName;
use super::possible::Can;
use super::rule::OrgName;
use super::template::Source;
use super::tri::Tri;
use crate::identity::Facts;
use crate::request::credential;
use eval::Inputs;
use tree::{Asked, Fact, Node};
use value::{List, Value};

/// What a condition is read against.
pub struct ConditionScope<'a> {
    /// The namespace of `identity.org`.
    pub org_name: OrgName,
    /// What `identity.role == "…"` compares.
    pub role: &'a dyn Fn(&str) -> RoleName,
}

impl fmt::Debug for ConditionScope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConditionScope").field("org_name", &self.org_name).finish_non_exhaustive()
    }
}

/// A compiled condition.
#[derive(Debug, Clone)]
pub struct Condition {
    text: Box<str>,
    root: Node,
    /// Each header that it reads, and at which byte of the text.
    headers: Vec<(HeaderName, usize)>,
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root
    }
}

/// What is wrong, and at which byte of the condition's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionProblem {
    pub at: usize,
    pub kind: ConditionProblemKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConditionProblemKind {
    Empty,
    Syntax(String),
    /// `=` where `==` is meant.
    Assignment,
    /// Bytes of text.
    TooLong {
        limit: usize,
    },
    /// Words and signs.
    TooMany {
        limit: usize,
    },
    TooDeep {
        limit: usize,
    },
    /// A comprehension within another, or over another's result.
    Nested,
    TooManyLists {
        limit: usize,
    },
    /// A variable, a member or a function that there is not.
    Unknown {
        what: &'static str,
        name: String,
        known: Vec<String>,
    },
    /// Something with members, without the name of one.
    Whole(&'static str),
    Arguments {
        name: String,
        wanted: &'static str,
    },
    /// Regular expressions.
    Matches,
    NotOffered(&'static str),
    BadName(&'static str),
    UpperCase(String),
    /// An element would hide a variable of this name.
    Shadows(String),
    /// Two types that never go together.
    Mismatch(&'static str, &'static str),
    NoComparison(&'static str),
    /// The whole is of this type, so that it never holds.
    NoAnswer(&'static str),
}

impl fmt::Display for ConditionProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a condition is missing"),
            Self::Syntax(why) if why.is_empty() => f.write_str("this condition cannot be read"),
            Self::Syntax(why) => write!(f, "this condition cannot be read: {why}"),
            Self::Assignment => f.write_str("`=` compares nothing"),
            Self::TooLong { limit } => write!(f, "a condition has at most {limit} bytes"),
            Self::TooMany { limit } => write!(f, "a condition has at most {limit} words and signs"),
            Self::TooDeep { limit } => write!(f, "a condition is nested at most {limit} deep"),
            Self::Nested => f.write_str("a loop over a list cannot stand within another, or run over its result"),
            Self::TooManyLists { limit } => write!(f, "a condition loops over at most {limit} lists"),
            Self::Unknown { what: what @ ("variable" | "function"), name, .. } => {
                write!(f, "there is no {what} `{name}`")
            }
            Self::Unknown { what, name, .. } => write!(f, "`{what}` has no `{name}`"),
            Self::Whole(base) => write!(f, "`{base}` is read by the names of its members, written out"),
            Self::Arguments { name, .. } => write!(f, "`{name}` is called with other arguments than it takes"),
            Self::Matches => f.write_str("regular expressions are not offered: their cost has no bound"),
            Self::NotOffered(what) => write!(f, "conditions have no {what}"),
            Self::BadName(what) => write!(f, "{what} cannot have this name"),
            Self::UpperCase(_) => f.write_str("headers are named in lower case"),
            Self::Shadows(name) => write!(f, "an element called `{name}` would hide the variable"),
            Self::Mismatch(one, other) => write!(f, "{one} stands where {other} is needed, so that this never holds"),
            Self::NoComparison(what) => write!(f, "{what} cannot be compared"),
            Self::NoAnswer(what) => write!(f, "a condition is true or false, and this is {what}"),
        }
    }
}

impl Condition {
    /// Reads a condition as people write it.
    ///
    /// # Errors
    /// Every [`ConditionProblem`]; of those of syntax the first.
    pub fn parse(text: &str, scope: &ConditionScope<'_>) -> Result<Self, Vec<ConditionProblem>> {
        let read::Read { root, headers } = read::read(text, scope)?;
        Ok(Self { text: text.into(), root, headers })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same text for two that are read alike, however they are written.
    pub fn meaning(&self) -> String {
        format!("{:?}", self.root)
    }

    /// One that comes to what this claim says, true or false, and is written like this one.
    #[must_use]
    pub fn stood_in_by(&self, claim: &str) -> Self {
        Self { text: self.text.clone(), root: Node::Claim(claim.into()), headers: Vec::new() }
    }

    /// What it always comes to, where it reads nothing of caller and request.
    pub fn constant(&self) -> Option<Tri> {
        let mut reads = false;
        self.root.visit(&mut |node| reads |= node.reads_request() || node.reads_caller());
        (!reads).then(|| Inputs::new(&Facts::default(), None).tri(&self.root))
    }

    /// The headers that it reads, and where in its text.
    pub fn headers(&self) -> impl Iterator<Item = (&HeaderName, usize)> {
        self.headers.iter().map(|(name, at)| (name, *at))
    }

    /// First members of the claims that it reads: all of them, since none can be named by what a request says.
    pub fn claims(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.root.visit(&mut |node| {
            if let Node::Claim(name) = node {
                found.push(&**name);
            }
        });
        found
    }

    pub(super) fn holds<'a>(&'a self, facts: &'a Facts, source: &'a Source<'a, 'a>) -> Tri {
        Inputs::new(facts, Some(source)).tri(&self.root)
    }

    /// What it could come to, over all requests.
    pub(super) fn could(&self, facts: &Facts) -> Can {
        could(&self.root, facts)
    }

    /// Its text and the values that it reads, for `explain` alone.
    pub(super) fn shown<'a>(&'a self, facts: &'a Facts, source: &'a Source<'a, 'a>) -> String {
        let mut reads: Vec<String> = Vec::new();
        show(&self.root, &Inputs::new(facts, Some(source)), &mut reads);
        reads.dedup();
        let text: String = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        if reads.is_empty() { text } else { format!("{text}; {}", reads.join(", ")) }
    }
}

fn could(node: &Node, facts: &Facts) -> Can {
    match node {
        Node::And(pair) => {
            let (one, other) = (could(&pair.0, facts), could(&pair.1, facts));
            Can { hold: one.hold && other.hold, fail: one.fail || other.fail }
        }
        Node::Or(pair) => {
            let (one, other) = (could(&pair.0, facts), could(&pair.1, facts));
            Can { hold: one.hold || other.hold, fail: one.fail && other.fail }
        }
        Node::Not(node) => {
            let Can { hold, fail } = could(node, facts);
            Can { hold: fail, fail: hold }
        }
        _ => {
            let mut reads_request = false;
            node.visit(&mut |node| reads_request |= node.reads_request());
            match Inputs::new(facts, None).tri(node) {
                Tri::Unknown(_) if reads_request => Can { hold: true, fail: true },
                value => value.into(),
            }
        }
    }
}

/// The values of what is read, each as it is written.
fn show<'a>(node: &'a Node, inputs: &Inputs<'a>, reads: &mut Vec<String>) {
    if let Some(name) = name_of(node) {
        let value = match inputs.value(node, None) {
            Ok(_) if is_secret(node) => "not shown".to_owned(),
            Ok(value) => readable(&value),
            Err(cause) => cause.as_str().to_owned(),
        };
        reads.push(format!("{name} is {value}"));
        return;
    }
    for child in node.children() {
        show(child, inputs, reads);
    }
}

/// Values of queries, and of headers that carry credentials, are nobody's to see.
fn is_secret(node: &Node) -> bool {
    match node {
        Node::Query(_) => true,
        Node::Header(name) => credential::carries(name),
        Node::Member(of, _) => is_secret(of),
        Node::Index(pair) => is_secret(&pair.0),
        _ => false,
    }
}

fn name_of(node: &Node) -> Option<String> {
    let member = |of: &str, name: &str| {
        let is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if is_plain { format!("{of}.{name}") } else { format!("{of}[{name:?}]") }
    };
    Some(match node {
        Node::Claim(name) => member("claims", name),
        Node::Member(of, name) => member(&name_of(of)?, name),
        Node::Index(pair) => match &pair.1 {
            Node::Int(index) => format!("{}[{index}]", name_of(&pair.0)?),
            _ => return None,
        },
        Node::Query(name) => member("request.query", name),
        Node::Header(name) => member("request.headers", name.as_str()),
        Node::RoleIs(_) => "identity.role".to_owned(),
        Node::PermissionIs(_) => "identity.permissions".to_owned(),
        Node::Fact(fact) => member(
            "identity",
            match fact {
                Fact::Subject => "subject",
                Fact::Org(_) => "org",
                Fact::Role => "role",
                Fact::Permissions => "permissions",
                Fact::Workspaces => "workspaces",
                Fact::Token => "token",
                Fact::Method => "method",
            },
        ),
        Node::Asked(asked) => member(
            "request",
            match asked {
                Asked::Method => "method",
                Asked::Path => "path",
                Asked::Host => "host",
                Asked::Segments => "segments",
                Asked::Client => "client",
            },
        ),
        _ => return None,
    })
}

/// A value as one short line of text, whoever wrote it.
fn readable(value: &Value<'_>) -> String {
    /// Characters.
    const SHOWN: usize = 60;
    let cut = |text: Cow<'_, str>| {
        let mut short: String = text.chars().take(SHOWN).collect();
        if short.len() < text.len() {
            short.push('…');
        }
        short
    };
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => value.to_string(),
        Value::Text(text) => format!("{:?}", cut(Cow::Borrowed(text))),
        Value::Map(members) => format!("an object of {}", members.len()),
        Value::List(list) if list.len() <= 8 => {
            let shown: Vec<String> = list
                .elements()
                .map(|element| match element {
                    Value::List(_) => "a list".to_owned(),
                    element => readable(&element),
                })
                .collect();
            format!("[{}]", cut(Cow::Owned(shown.join(", "))))
        }
        Value::List(list) => format!("a list of {}", List::len(list)),
    }
}

#[cfg(test)]
mod tests;
