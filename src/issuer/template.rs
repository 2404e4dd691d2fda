//! Templates of claims: literals as they are, `{…}` for facts of the person.
//!
//! Compiled at load, so that a field that does not exist is told there. `{name}` must be known of the person, `{name?}`
//! leaves its claim out where it is not, `{name:int}` writes a number. A list stands alone and becomes an array.
//! `{claims.…}` is what the verified credential itself says: alone it keeps its type, beside other text it must be text.
//! `{issued_at}`, `{expires_at}` and `{jti}` are of the token and not of the person: see [`Fresh`].
//! Never invents a fact: what a person lacks, the template lacks.

use serde_json::{Map, Value};

use super::Roles;
use super::fresh::{Form, Fresh, Time};
use crate::braces::{self, Piece};
use crate::identity::{Facts, Login, Workspaces};

/// The claims of a token, without those that depend on the time.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims(Vec<(String, Node)>);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Literal(Value),
    Text(Vec<Part>),
    List(Use),
    Integer(Use),
    /// A number.
    Fresh(Fresh),
    Claim(Claim),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Field(Use),
    Claim(Claim),
    Fresh(Fresh),
}

/// A claim of the credential, by its path.
#[derive(Debug, Clone, PartialEq)]
struct Claim {
    path: Vec<String>,
    is_optional: bool,
}

impl Claim {
    /// Null and no text are as good as absent: Clerk's templates write them where a user has no such value.
    fn of<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let (first, rest) = self.path.split_first()?;
        let value = rest.iter().try_fold(claims.get(first)?, |value, name| value.get(name))?;
        Some(value).filter(|value| !value.is_null() && value.as_str() != Some(""))
    }

    fn text_of<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a str> {
        self.of(claims)?.as_str()
    }
}

/// How a claim of the credential is called where somebody lacks it.
const CLAIM: &str = "claim";
/// Deeper than Clerk's claims go.
const MAX_PATH: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Use {
    field: Field,
    is_optional: bool,
}

/// What a `{…}` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Subject,
    LegacyUser,
    ClerkUser,
    Org,
    OrgSlug,
    LegacyOrg,
    Role,
    ClerkRole,
    Session,
    Actor,
    Workspaces,
    Permissions,
}

impl Field {
    const ALL: [Self; 12] = [
        Self::Subject,
        Self::LegacyUser,
        Self::ClerkUser,
        Self::Org,
        Self::OrgSlug,
        Self::LegacyOrg,
        Self::Role,
        Self::ClerkRole,
        Self::Session,
        Self::Actor,
        Self::Workspaces,
        Self::Permissions,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::LegacyUser => "legacy_user",
            Self::ClerkUser => "clerk_user",
            Self::Org => "org",
            Self::OrgSlug => "org_slug",
            Self::LegacyOrg => "legacy_org",
            Self::Role => "role",
            Self::ClerkRole => "clerk_role",
            Self::Session => "session",
            Self::Actor => "actor",
            Self::Workspaces => "workspaces",
            Self::Permissions => "permissions",
        }
    }

    const fn is_list(self) -> bool {
        matches!(self, Self::Workspaces | Self::Permissions)
    }
}

/// A person as templates see them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Person<'a> {
    pub(super) facts: &'a Facts,
    pub(super) roles: &'a Roles,
}

impl<'a> Person<'a> {
    fn text(&self, field: Field) -> Option<&'a str> {
        let facts = self.facts;
        let org = facts.org.as_ref();
        let text = match field {
            Field::Subject => Some(facts.subject.as_str()),
            Field::LegacyUser => facts.legacy_user.as_deref(),
            Field::ClerkUser => facts.clerk_user.as_deref(),
            Field::Org => org.map(|org| org.id.as_str()),
            Field::OrgSlug => org.and_then(|org| org.slug.as_deref()),
            Field::LegacyOrg => facts.legacy_org.as_deref(),
            // Of a runner whose token a legacy credential was exchanged for.
            Field::Role if facts.method.login() == Login::Legacy => facts.legacy_roles.first().map(String::as_str),
            Field::Role => {
                let role = org.and_then(|org| org.role.as_deref())?;
                self.roles.get(role).and_then(|legacy| legacy.first()).map(|role| &**role)
            }
            Field::ClerkRole => org.and_then(|org| org.role.as_deref()),
            Field::Session => facts.session.as_deref(),
            Field::Actor => facts.actor.as_deref(),
            Field::Workspaces | Field::Permissions => None,
        };
        text.filter(|text| !text.is_empty())
    }

    /// `None` where nothing says it, which is not the same as none.
    fn list(&self, field: Field) -> Option<Vec<Value>> {
        match field {
            Field::Workspaces => match &self.facts.workspaces {
                Workspaces::Known(list) => Some(list.iter().map(|one| one.id.as_str().into()).collect()),
                Workspaces::Missing | Workspaces::Unreadable => None,
            },
            Field::Permissions => {
                let permissions = self.facts.org.as_ref()?.permissions.as_ref()?;
                Some(permissions.iter().map(|one| one.as_str().into()).collect())
            }
            _ => None,
        }
    }
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateProblem {
    /// A `{` without its `}`, or the other way round.
    Unbalanced,
    UnknownField(String),
    UnknownKind(String),
    /// `{jti:…}`.
    NoKinds(&'static str),
    /// A list or a number beside other text.
    NotAlone(&'static str),
    ListAsNumber(&'static str),
    TooDeep,
}

impl TemplateProblem {
    /// All fields, for hints.
    pub fn fields() -> Vec<&'static str> {
        let fresh = Time::ALL.map(Time::as_str).into_iter().chain([Fresh::Id.name()]);
        Field::ALL.map(Field::as_str).into_iter().chain(fresh).collect()
    }
}

impl std::fmt::Display for TemplateProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unbalanced => f.write_str("a brace of this template has no partner"),
            Self::UnknownField(name) => write!(f, "nothing of a person is named `{name}`"),
            Self::UnknownKind(name) => write!(f, "`{name}` is no kind of value"),
            Self::NoKinds(name) => write!(f, "`{{{name}}}` is text, and nothing else"),
            Self::NotAlone(name) => write!(f, "`{{{name}}}` is no text, so that it stands alone"),
            Self::ListAsNumber(name) => write!(f, "`{name}` is a list, and no number"),
            Self::TooDeep => f.write_str("claims nest too deeply"),
        }
    }
}

impl std::error::Error for TemplateProblem {}

/// Deeper than this nobody writes claims by hand.
const MAX_DEPTH: usize = 8;

/// A fact that a template needs and the person lacks.
type Lacks = &'static str;

impl Claims {
    /// Compiles one claim after the other; `problem` is told those that cannot be.
    pub fn compile(raw: Vec<(String, Value)>, mut problem: impl FnMut(usize, TemplateProblem)) -> Self {
        let mut claims = Vec::with_capacity(raw.len());
        for (index, (name, value)) in raw.into_iter().enumerate() {
            match node(value, MAX_DEPTH) {
                Ok(node) => claims.push((name, node)),
                Err(why) => problem(index, why),
            }
        }
        claims.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self(claims)
    }

    /// Adds a literal claim.
    pub(super) fn literal(&mut self, name: &str, value: Value) {
        self.0.push((name.to_owned(), Node::Literal(value)));
        self.0.sort_by(|(one, _), (other, _)| one.cmp(other));
    }

    /// The end of its life that a token says under this name, unless a template says it.
    pub(super) fn time(&mut self, name: &str, time: Time) {
        if !self.0.iter().any(|(known, _)| known == name) {
            self.0.push((name.to_owned(), Node::Fresh(Fresh::Time(time, Form::Seconds))));
            self.0.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
    }

    /// The end of a token's life that this value of a claim is, and nothing else.
    pub fn is_time(value: &Value) -> Option<Time> {
        match template(value.as_str()?).ok()? {
            Node::Fresh(Fresh::Time(time, _)) => Some(time),
            Node::Text(parts) => match parts.as_slice() {
                [Part::Fresh(Fresh::Time(time, _))] => Some(*time),
                _ => None,
            },
            _ => None,
        }
    }

    /// The claims of the credential that the templates name, by the first word of their paths.
    pub fn named(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.0.iter().for_each(|(_, node)| named(node, &mut found));
        found
    }

    /// Whether a claim needs this field of everybody.
    pub fn needs(&self, field: &str) -> bool {
        self.0.iter().any(|(_, node)| needs(node, field))
    }

    /// What the templates ask for and the person lacks.
    pub(super) fn lacks(&self, person: Person<'_>) -> Option<&'static str> {
        self.0.iter().find_map(|(_, node)| lacks(node, person))
    }

    /// The claims as one JSON object, the same text for the same facts: with placeholders for what is anew in each token.
    pub(super) fn render(&self, person: Person<'_>) -> Result<String, Lacks> {
        let mut text = String::with_capacity(256);
        object(&self.0, person, &mut text)?;
        Ok(text)
    }
}

fn node(value: Value, depth: usize) -> Result<Node, TemplateProblem> {
    let depth = depth.checked_sub(1).ok_or(TemplateProblem::TooDeep)?;
    Ok(match value {
        Value::String(text) => template(&text)?,
        Value::Array(items) => Node::Array(items.into_iter().map(|item| node(item, depth)).collect::<Result<_, _>>()?),
        Value::Object(members) => {
            let nodes = members.into_iter().map(|(name, value)| node(value, depth).map(|node| (name, node)));
            Node::Object(nodes.collect::<Result<_, _>>()?)
        }
        literal => Node::Literal(literal),
    })
}

fn template(text: &str) -> Result<Node, TemplateProblem> {
    let mut integer = None;
    let mut parts = Vec::new();
    for piece in braces::read(text).map_err(|braces::Unbalanced| TemplateProblem::Unbalanced)? {
        parts.push(match piece {
            Piece::Text(literal) => Part::Text(literal),
            Piece::Field(inside) => match inside.strip_prefix("claims.") {
                Some(path) => Part::Claim(claim(path, inside)?),
                None => match field(inside)? {
                    Named::Field(used, Kind::Text) => Part::Field(used),
                    Named::Field(used, Kind::Integer) => {
                        integer = Some(used);
                        Part::Field(used)
                    }
                    Named::Fresh(fresh) => Part::Fresh(fresh),
                },
            },
        });
    }
    if let [Part::Claim(claim)] = parts.as_slice() {
        return Ok(Node::Claim(claim.clone()));
    }
    if let [Part::Fresh(fresh)] = parts.as_slice()
        && fresh.is_number()
    {
        return Ok(Node::Fresh(*fresh));
    }
    if let [Part::Field(used)] = parts.as_slice() {
        match integer {
            Some(used) => return Ok(Node::Integer(used)),
            None if used.field.is_list() => return Ok(Node::List(*used)),
            None => {}
        }
    }
    let odd = parts.iter().find_map(|part| match part {
        Part::Field(used) if used.field.is_list() => Some(used.field.as_str()),
        Part::Fresh(fresh) if fresh.is_number() => Some(fresh.name()),
        Part::Field(_) | Part::Text(_) | Part::Claim(_) | Part::Fresh(_) => None,
    });
    match odd.or(integer.map(|used| used.field.as_str())) {
        Some(name) => Err(TemplateProblem::NotAlone(name)),
        None if parts.iter().any(|part| !matches!(part, Part::Text(_))) => Ok(Node::Text(parts)),
        None => {
            let text = parts.into_iter().map(|part| match part {
                Part::Text(text) => text,
                Part::Field(_) | Part::Claim(_) | Part::Fresh(_) => String::new(),
            });
            Ok(Node::Literal(Value::String(text.collect())))
        }
    }
}

/// What stands between braces, but for claims of the credential.
enum Named {
    Field(Use, Kind),
    Fresh(Fresh),
}

enum Kind {
    Text,
    Integer,
}

fn field(inside: &str) -> Result<Named, TemplateProblem> {
    let (name, is_optional) = inside.strip_suffix('?').map_or((inside, false), |name| (name, true));
    let (name, kind) = name.split_once(':').map_or((name, None), |(name, kind)| (name, Some(kind)));
    let unknown_kind = |kind: &str| TemplateProblem::UnknownKind(kind.to_owned());
    if let Some(time) = Time::ALL.into_iter().find(|time| time.as_str() == name) {
        let form = match kind {
            None => Form::Text,
            Some("int") => Form::Seconds,
            Some("ms") => Form::Milliseconds,
            Some(kind) => return Err(unknown_kind(kind)),
        };
        return Ok(Named::Fresh(Fresh::Time(time, form)));
    }
    if name == Fresh::Id.name() {
        return kind.map_or(Ok(Named::Fresh(Fresh::Id)), |_| Err(TemplateProblem::NoKinds(Fresh::Id.name())));
    }
    let known = Field::ALL.into_iter().find(|field| field.as_str() == name);
    let field = known.ok_or_else(|| TemplateProblem::UnknownField(name.to_owned()))?;
    let kind = match kind {
        None => Kind::Text,
        Some("int") if field.is_list() => return Err(TemplateProblem::ListAsNumber(field.as_str())),
        Some("int") => Kind::Integer,
        Some(kind) => return Err(unknown_kind(kind)),
    };
    Ok(Named::Field(Use { field, is_optional }, kind))
}

fn claim(path: &str, whole: &str) -> Result<Claim, TemplateProblem> {
    let (path, is_optional) = path.strip_suffix('?').map_or((path, false), |path| (path, true));
    let path: Vec<String> = path.split('.').map(str::to_owned).collect();
    // A kind would be one of a text: what a claim is, it says itself.
    let is_odd = |name: &String| name.is_empty() || name.contains(':');
    if path.len() > MAX_PATH || path.iter().any(is_odd) {
        return Err(TemplateProblem::UnknownField(whole.to_owned()));
    }
    Ok(Claim { path, is_optional })
}

fn named<'a>(node: &'a Node, found: &mut Vec<&'a str>) {
    match node {
        Node::Literal(_) | Node::List(_) | Node::Integer(_) | Node::Fresh(_) => {}
        Node::Claim(claim) => found.extend(claim.path.first().map(String::as_str)),
        Node::Text(parts) => found.extend(parts.iter().filter_map(|part| match part {
            Part::Claim(claim) => claim.path.first().map(String::as_str),
            Part::Field(_) | Part::Text(_) | Part::Fresh(_) => None,
        })),
        Node::Array(nodes) => nodes.iter().for_each(|node| named(node, found)),
        Node::Object(members) => members.iter().for_each(|(_, node)| named(node, found)),
    }
}

fn needs(node: &Node, name: &str) -> bool {
    let is_it = |used: &Use| !used.is_optional && used.field.as_str() == name;
    match node {
        Node::Literal(_) | Node::Claim(_) | Node::Fresh(_) => false,
        Node::Text(parts) => parts.iter().any(|part| matches!(part, Part::Field(used) if is_it(used))),
        Node::List(used) | Node::Integer(used) => is_it(used),
        Node::Array(nodes) => nodes.iter().any(|node| needs(node, name)),
        Node::Object(members) => members.iter().any(|(_, node)| needs(node, name)),
    }
}

fn has(used: Use, person: Person<'_>) -> bool {
    if used.field.is_list() { person.list(used.field).is_some() } else { person.text(used.field).is_some() }
}

fn integer(used: Use, person: Person<'_>) -> Option<i64> {
    person.text(used.field)?.parse().ok()
}

fn lacks(node: &Node, person: Person<'_>) -> Option<&'static str> {
    let missing = |used: &Use| (!used.is_optional && !has(*used, person)).then_some(used.field.as_str());
    match node {
        Node::Literal(_) | Node::Fresh(_) => None,
        Node::Text(parts) => parts.iter().find_map(|part| match part {
            Part::Field(used) => missing(used),
            Part::Claim(claim) => {
                (!claim.is_optional && claim.text_of(&person.facts.claims).is_none()).then_some(CLAIM)
            }
            Part::Text(_) | Part::Fresh(_) => None,
        }),
        Node::Claim(claim) => (!claim.is_optional && claim.of(&person.facts.claims).is_none()).then_some(CLAIM),
        Node::List(used) => missing(used),
        // What is no number cannot be written as one, whether it may be left out or not.
        Node::Integer(used) => match has(*used, person) {
            true => integer(*used, person).is_none().then_some(used.field.as_str()),
            false => missing(used),
        },
        Node::Array(nodes) => nodes.iter().find_map(|node| lacks(node, person)),
        Node::Object(members) => members.iter().find_map(|(_, node)| lacks(node, person)),
    }
}

/// Whether something optional in it is not there.
fn is_left_out(node: &Node, person: Person<'_>) -> bool {
    let absent = |used: &Use| used.is_optional && !has(*used, person);
    match node {
        Node::Text(parts) => parts.iter().any(|part| match part {
            Part::Field(used) => absent(used),
            Part::Claim(claim) => claim.is_optional && claim.text_of(&person.facts.claims).is_none(),
            Part::Text(_) | Part::Fresh(_) => false,
        }),
        Node::Claim(claim) => claim.is_optional && claim.of(&person.facts.claims).is_none(),
        Node::List(used) | Node::Integer(used) => absent(used),
        Node::Literal(_) | Node::Fresh(_) | Node::Array(_) | Node::Object(_) => false,
    }
}

fn object(members: &[(String, Node)], person: Person<'_>, out: &mut String) -> Result<(), Lacks> {
    out.push('{');
    let mut is_first = true;
    for (name, node) in members.iter().filter(|(_, node)| !is_left_out(node, person)) {
        if !std::mem::take(&mut is_first) {
            out.push(',');
        }
        quote(name, out);
        out.push(':');
        write(node, person, out)?;
    }
    out.push('}');
    Ok(())
}

fn write(node: &Node, person: Person<'_>, out: &mut String) -> Result<(), Lacks> {
    match node {
        Node::Literal(value) => out.push_str(&value.to_string()),
        Node::Text(parts) => {
            out.push('"');
            for part in parts {
                match part {
                    Part::Text(literal) => escape(literal, out),
                    Part::Field(used) => escape(person.text(used.field).ok_or(used.field.as_str())?, out),
                    Part::Claim(claim) => escape(claim.text_of(&person.facts.claims).ok_or(CLAIM)?, out),
                    Part::Fresh(fresh) => fresh.placeholder(out),
                }
            }
            out.push('"');
        }
        Node::Fresh(fresh) => fresh.placeholder(out),
        Node::List(used) => {
            let list = person.list(used.field).ok_or(used.field.as_str())?;
            out.push_str(&Value::Array(list).to_string());
        }
        Node::Integer(used) => out.push_str(&integer(*used, person).ok_or(used.field.as_str())?.to_string()),
        Node::Claim(claim) => out.push_str(&claim.of(&person.facts.claims).ok_or(CLAIM)?.to_string()),
        Node::Array(nodes) => {
            out.push('[');
            let mut is_first = true;
            for node in nodes.iter().filter(|node| !is_left_out(node, person)) {
                if !std::mem::take(&mut is_first) {
                    out.push(',');
                }
                write(node, person, out)?;
            }
            out.push(']');
        }
        Node::Object(members) => object(members, person, out)?,
    }
    Ok(())
}

/// A JSON string.
pub(super) fn quote(text: &str, out: &mut String) {
    out.push('"');
    escape(text, out);
    out.push('"');
}

/// What is in a JSON string.
fn escape(text: &str, out: &mut String) {
    let is_plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(is_plain) {
        out.push_str(text);
    } else {
        let quoted = Value::from(text).to_string();
        out.push_str(quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default());
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
