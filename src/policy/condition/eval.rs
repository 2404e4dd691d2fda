//! A condition on one request: each node to a value, or to the cause why it cannot be told.
//!
//! Every step costs from one budget, so that no tree over no claim and no request takes longer than that. Nothing here
//! panics, recurses beyond the depth that `read` allows, or builds a text longer than [`MAX_TEXT`].

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Ordering;

use super::tree::{Asked, Comparison, Conversion, Fact, Node, Operator, Quantifier, Search};
use super::value::{List, Value};
use crate::identity::{Facts, Login, Workspaces};
use crate::policy::rule::{has_org, named};
use crate::policy::template::Source;
use crate::policy::{Cause, OrgName, Tri, has};
use crate::request::{Oddities, Oddity, Peer, QueryValue, query_value};

/// Steps that one evaluation may take: a node, an element of a list, or 64 bytes of text each.
const BUDGET: u32 = 20_000;
/// Most elements of a list that a comprehension looks at; a longer one is unknown.
const MAX_ELEMENTS: usize = 1_000;
/// Longest text that `+` makes, in bytes.
const MAX_TEXT: usize = 4_096;

/// What a condition is evaluated on.
pub(super) struct Inputs<'a> {
    facts: &'a Facts,
    /// `None` before there is a request: whatever reads it is unknown.
    source: Option<&'a Source<'a, 'a>>,
    left: Cell<u32>,
}

type Outcome<'a> = Result<Value<'a>, Cause>;

impl<'a> Inputs<'a> {
    pub(super) const fn new(facts: &'a Facts, source: Option<&'a Source<'a, 'a>>) -> Self {
        Self { facts, source, left: Cell::new(BUDGET) }
    }

    fn spend(&self, steps: usize) -> Result<(), Cause> {
        let left = u32::try_from(steps).ok().and_then(|steps| self.left.get().checked_sub(steps));
        self.left.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(Cause::TooLarge)
    }

    /// True, false, or why neither.
    pub(super) fn tri(&self, node: &'a Node) -> Tri {
        match self.truth(node, None) {
            Ok(value) => Tri::from(value),
            Err(cause) => Tri::Unknown(cause),
        }
    }

    fn truth(&self, node: &'a Node, item: Option<&Value<'a>>) -> Result<bool, Cause> {
        match self.value(node, item)? {
            Value::Bool(value) => Ok(value),
            Value::Null => Err(Cause::MissingClaim),
            _ => Err(Cause::OtherType),
        }
    }

    pub(super) fn value(&self, node: &'a Node, item: Option<&Value<'a>>) -> Outcome<'a> {
        self.spend(1)?;
        let of = |node| self.value(node, item);
        Ok(match node {
            Node::Null => Value::Null,
            Node::Bool(value) => Value::Bool(*value),
            Node::Int(value) => Value::Int(*value),
            Node::Uint(value) => Value::uint(*value),
            Node::Double(value) => Value::double(*value)?,
            Node::Text(text) => Value::text(text),
            Node::List(nodes) => Value::List(List::Made(nodes.iter().map(of).collect::<Result<_, _>>()?)),
            Node::Claim(name) => Value::of_json(self.facts.claims.get(&**name).ok_or(Cause::MissingClaim)?),
            Node::Fact(fact) => self.fact(*fact)?,
            Node::Asked(asked) => self.asked(*asked)?,
            Node::Query(name) => match query_value(self.source()?.query, name) {
                QueryValue::One(value) => Value::Text(Cow::Owned(value)),
                QueryValue::Absent => return Err(Cause::MissingValue),
                QueryValue::Unreadable => return Err(Cause::AmbiguousValue),
            },
            Node::Header(name) => {
                let mut lines = self.source()?.headers.get_all(name).iter();
                match (lines.next(), lines.next()) {
                    // A byte above ASCII means what its reader takes it for.
                    (Some(line), None) => Value::text(line.to_str().map_err(|_| Cause::AmbiguousValue)?),
                    (None, _) => return Err(Cause::MissingValue),
                    (Some(_), Some(_)) => return Err(Cause::AmbiguousValue),
                }
            }
            // INVARIANT: `read` makes it only within a comprehension.
            Node::Item => item.cloned().ok_or(Cause::MissingValue)?,
            Node::Member(node, name) => match of(node)? {
                Value::Map(members) => Value::of_json(members.get(&**name).ok_or(Cause::MissingClaim)?),
                Value::Null => return Err(Cause::MissingClaim),
                _ => return Err(Cause::OtherType),
            },
            Node::Index(pair) => self.index(of(&pair.0)?, &of(&pair.1)?)?,
            Node::Has(node) => Value::Bool(self.has(node, item)?),
            Node::IsNull(node) => Value::Bool(matches!(of(node)?, Value::Null)),
            Node::RoleIs(roles) => {
                self.spend(roles.len())?;
                known(Tri::any(roles.iter().map(|role| has::role_holds(self.facts, role))))?
            }
            Node::PermissionIs(name) => known(has::permission_holds(self.facts, name))?,
            Node::OrgIs(..) if !has_org(self.facts) => return Err(Cause::NoOrg),
            Node::OrgIs(namespace, names) => known(Tri::any(names.iter().map(|name| match of(name) {
                Ok(Value::Text(name)) => named(*namespace, self.facts, name.as_bytes()),
                Ok(Value::Null) => Tri::Unknown(Cause::MissingClaim),
                Ok(_) => Tri::Unknown(Cause::OtherType),
                Err(cause) => Tri::Unknown(cause),
            })))?,
            Node::Not(node) => Value::Bool(!self.truth(node, item)?),
            Node::And(pair) => Value::Bool(self.both(pair, item, false)?),
            Node::Or(pair) => Value::Bool(self.both(pair, item, true)?),
            Node::If(three) => of(if self.truth(&three.0, item)? { &three.1 } else { &three.2 })?,
            Node::Compare(comparison, pair) => {
                let (one, other) = (of(&pair.0)?, of(&pair.1)?);
                self.spend_on(&one)?;
                Value::Bool(compare(*comparison, &one, &other)?)
            }
            Node::In(pair) => Value::Bool(self.is_in(&pair.0, &pair.1, item)?),
            Node::Arithmetic(operator, pair) => self.arithmetic(*operator, &of(&pair.0)?, &of(&pair.1)?)?,
            Node::Negate(node) => match of(node)? {
                Value::Int(value) => Value::Int(value.checked_neg().ok_or(Cause::NoNumber)?),
                Value::Double(value) => Value::double(-value)?,
                _ => return Err(Cause::OtherType),
            },
            Node::Size(node) => {
                let value = of(node)?;
                self.spend_on(&value)?;
                size(&value)?
            }
            Node::Convert(conversion, node) => convert(*conversion, of(node)?)?,
            Node::Search(search, pair) => {
                let (Value::Text(text), Value::Text(part)) = (of(&pair.0)?, of(&pair.1)?) else {
                    return Err(Cause::OtherType);
                };
                self.spend(text.len() / 64)?;
                Value::Bool(match search {
                    Search::Contains => text.contains(&*part),
                    Search::StartsWith => text.starts_with(&*part),
                    Search::EndsWith => text.ends_with(&*part),
                })
            }
            Node::Quantified(quantifier, pair) => {
                let list = self.list(&pair.0, item)?;
                Value::Bool(self.quantified(*quantifier, &list, &pair.1)?)
            }
            Node::Collect(three) => {
                let list = self.list(&three.0, item)?;
                let mut found = Vec::new();
                for element in list.elements() {
                    if self.truth(&three.1, Some(&element))? {
                        found.push(self.value(&three.2, Some(&element))?);
                    }
                }
                Value::List(List::Made(found))
            }
        })
    }

    fn source(&self) -> Result<&'a Source<'a, 'a>, Cause> {
        self.source.ok_or(Cause::MissingValue)
    }

    fn fact(&self, fact: Fact) -> Outcome<'a> {
        let facts = self.facts;
        let is_legacy = facts.method.login() == Login::Legacy;
        Ok(match fact {
            Fact::Subject => Value::text(&facts.subject),
            Fact::Org(_) if !has_org(facts) => return Err(Cause::NoOrg),
            Fact::Org(namespace) => {
                let org = facts.org.as_ref();
                let name = match namespace {
                    OrgName::ClerkId => org.map(|org| org.id.as_str()),
                    OrgName::Slug => org.and_then(|org| org.slug.as_deref()),
                    OrgName::LegacyId => facts.legacy_org.as_deref(),
                };
                Value::text(name.ok_or(Cause::Unmapped)?)
            }
            Fact::Role if is_legacy && facts.legacy_org.is_some() => return Err(Cause::UnmappedRole),
            Fact::Role => {
                let org = facts.org.as_ref().ok_or(Cause::NoOrg)?;
                Value::text(org.role.as_deref().ok_or(Cause::MissingClaim)?)
            }
            Fact::Permissions if is_legacy && facts.legacy_org.is_some() => return Err(Cause::MissingClaim),
            Fact::Permissions => {
                let org = facts.org.as_ref().ok_or(Cause::NoOrg)?;
                Value::List(List::Texts(org.permissions.as_deref().ok_or(Cause::UnreadableClaim)?))
            }
            Fact::Workspaces => match &facts.workspaces {
                Workspaces::Missing => return Err(Cause::MissingClaim),
                Workspaces::Unreadable => return Err(Cause::UnreadableClaim),
                Workspaces::Known(known) => Value::List(List::Workspaces(known)),
            },
            Fact::Token => Value::text(facts.token.as_str()),
            Fact::Method => Value::text(facts.method.as_str()),
        })
    }

    fn asked(&self, asked: Asked) -> Outcome<'a> {
        let request = self.source()?.request;
        // Behind such a path may stand another, for an API that decodes or cuts it: what it says cannot be told.
        let is_odd = request.oddities.beyond(Oddities::NONE.with(Oddity::GetBody)).is_some();
        if is_odd && matches!(asked, Asked::Path | Asked::Segments) {
            return Err(Cause::AmbiguousValue);
        }
        Ok(match asked {
            Asked::Method => Value::text(request.method.as_str()),
            Asked::Path => Value::text(request.path.as_str()),
            Asked::Host => Value::text(request.host.as_deref().ok_or(Cause::MissingValue)?),
            Asked::Segments => Value::List(List::Segments(&request.path)),
            Asked::Client => match request.client.address {
                Peer::Ip(address) => Value::Text(Cow::Owned(address.to_canonical().to_string())),
                Peer::Unix => return Err(Cause::MissingValue),
            },
        })
    }

    fn index(&self, value: Value<'a>, index: &Value<'a>) -> Outcome<'a> {
        match (value, index) {
            (Value::List(list), Value::Int(index)) => {
                if matches!(list, List::Segments(_)) {
                    self.spend(usize::try_from(*index).unwrap_or(0) / 8)?;
                }
                usize::try_from(*index).ok().and_then(|index| list.at(index)).ok_or(Cause::MissingValue)
            }
            (Value::Map(members), Value::Text(name)) => {
                members.get(&**name).map(Value::of_json).ok_or(Cause::MissingClaim)
            }
            (Value::Null, _) => Err(Cause::MissingClaim),
            _ => Err(Cause::OtherType),
        }
    }

    /// Presence, as CEL has it: of a member that is there as null too. What it would be a member of has to be there.
    fn has(&self, node: &'a Node, item: Option<&Value<'a>>) -> Result<bool, Cause> {
        match node {
            Node::Claim(name) => Ok(self.facts.claims.contains_key(&**name)),
            Node::Member(of, name) => match self.value(of, item)? {
                Value::Map(members) => Ok(members.contains_key(&**name)),
                Value::Null => Err(Cause::MissingClaim),
                _ => Err(Cause::OtherType),
            },
            _ => match self.value(node, item) {
                Ok(_) => Ok(true),
                Err(Cause::NoOrg | Cause::MissingClaim) => Ok(false),
                // Before there is a request, nobody can tell.
                Err(Cause::MissingValue) if self.source.is_some() => Ok(false),
                Err(cause) => Err(cause),
            },
        }
    }

    /// `&&` and `||`: one operand that decides does so beside an unknown one, on either side.
    fn both(&self, pair: &'a (Node, Node), item: Option<&Value<'a>>, decides: bool) -> Result<bool, Cause> {
        let one = self.truth(&pair.0, item);
        if one == Ok(decides) {
            return Ok(decides);
        }
        match (one, self.truth(&pair.1, item)) {
            (_, Ok(other)) if other == decides => Ok(decides),
            (Err(cause), _) | (_, Err(cause)) => Err(cause),
            (Ok(_), Ok(_)) => Ok(!decides),
        }
    }

    /// One equal element suffices; one that cannot be compared leaves it open.
    fn is_in(&self, one: &'a Node, list: &'a Node, item: Option<&Value<'a>>) -> Result<bool, Cause> {
        let one = self.value(one, item)?;
        let mut unknown = None;
        let mut is = |element: Outcome<'a>| -> Result<bool, Cause> {
            self.spend(1)?;
            match element.and_then(|element| one.equals(&element)) {
                Ok(equal) => Ok(equal),
                Err(Cause::TooLarge) => Err(Cause::TooLarge),
                Err(cause) => {
                    unknown.get_or_insert(cause);
                    Ok(false)
                }
            }
        };
        if let Node::List(nodes) = list {
            for node in nodes {
                if is(self.value(node, item))? {
                    return Ok(true);
                }
            }
        } else {
            match self.value(list, item)? {
                Value::List(list) => {
                    for element in list.elements() {
                        if is(Ok(element))? {
                            return Ok(true);
                        }
                    }
                }
                Value::Map(members) => {
                    let Value::Text(name) = &one else { return Err(Cause::OtherType) };
                    return Ok(members.contains_key(&**name));
                }
                Value::Null => return Err(Cause::MissingClaim),
                _ => return Err(Cause::OtherType),
            }
        }
        unknown.map_or(Ok(false), Err)
    }

    fn list(&self, node: &'a Node, item: Option<&Value<'a>>) -> Result<List<'a>, Cause> {
        let list = match self.value(node, item)? {
            Value::List(list) => list,
            Value::Map(members) => List::Keys(members),
            Value::Null => return Err(Cause::MissingClaim),
            _ => return Err(Cause::OtherType),
        };
        if list.len() > MAX_ELEMENTS { Err(Cause::TooLarge) } else { Ok(list) }
    }

    fn quantified(&self, quantifier: Quantifier, list: &List<'a>, node: &'a Node) -> Result<bool, Cause> {
        let mut unknown = None;
        let mut count = 0_usize;
        for element in list.elements() {
            match (self.truth(node, Some(&element)), quantifier) {
                (Ok(false), Quantifier::All) => return Ok(false),
                (Ok(true), Quantifier::Exists) => return Ok(true),
                (Ok(true), _) => count += 1,
                (Ok(false), _) => {}
                (Err(Cause::TooLarge), _) => return Err(Cause::TooLarge),
                (Err(cause), _) => {
                    unknown.get_or_insert(cause);
                }
            }
        }
        match (unknown, quantifier) {
            // Two of them are more than one, whatever the unknown ones are.
            (_, Quantifier::ExistsOne) if count > 1 => Ok(false),
            (Some(cause), _) => Err(cause),
            (None, Quantifier::All) => Ok(true),
            (None, Quantifier::Exists) => Ok(false),
            (None, Quantifier::ExistsOne) => Ok(count == 1),
        }
    }

    fn arithmetic(&self, operator: Operator, one: &Value<'a>, other: &Value<'a>) -> Outcome<'a> {
        match (one, other) {
            (Value::Int(one), Value::Int(other)) => {
                let value = match operator {
                    Operator::Add => one.checked_add(*other),
                    Operator::Subtract => one.checked_sub(*other),
                    Operator::Multiply => one.checked_mul(*other),
                    Operator::Divide => one.checked_div(*other),
                    Operator::Remainder => one.checked_rem(*other),
                };
                value.map(Value::Int).ok_or(Cause::NoNumber)
            }
            (Value::Double(one), Value::Double(other)) => match operator {
                Operator::Add => Value::double(one + other),
                Operator::Subtract => Value::double(one - other),
                Operator::Multiply => Value::double(one * other),
                Operator::Divide => Value::double(one / other),
                Operator::Remainder => Err(Cause::OtherType),
            },
            (Value::Text(one), Value::Text(other)) if operator == Operator::Add => {
                if one.len().saturating_add(other.len()) > MAX_TEXT {
                    return Err(Cause::TooLarge);
                }
                self.spend((one.len() + other.len()) / 64)?;
                Ok(Value::Text(Cow::Owned(format!("{one}{other}"))))
            }
            (Value::Null, _) | (_, Value::Null) => Err(Cause::MissingClaim),
            _ => Err(Cause::OtherType),
        }
    }

    fn spend_on(&self, value: &Value<'_>) -> Result<(), Cause> {
        match value {
            Value::Text(text) => self.spend(text.len() / 64),
            Value::List(List::Segments(path)) => self.spend(path.as_str().len() / 64),
            _ => Ok(()),
        }
    }
}

fn known<'a>(value: Tri) -> Outcome<'a> {
    match value {
        Tri::True => Ok(Value::Bool(true)),
        Tri::False => Ok(Value::Bool(false)),
        Tri::Unknown(cause) => Err(cause),
    }
}

fn compare(comparison: Comparison, one: &Value<'_>, other: &Value<'_>) -> Result<bool, Cause> {
    Ok(match comparison {
        Comparison::Equal => one.equals(other)?,
        Comparison::Unequal => !one.equals(other)?,
        Comparison::Less => one.order(other)? == Ordering::Less,
        Comparison::LessOrEqual => one.order(other)? != Ordering::Greater,
        Comparison::Greater => one.order(other)? == Ordering::Greater,
        Comparison::GreaterOrEqual => one.order(other)? != Ordering::Less,
    })
}

/// Of a text its code points, as CEL counts them.
fn size<'a>(value: &Value<'_>) -> Outcome<'a> {
    let size = match value {
        Value::Text(text) => text.chars().count(),
        Value::List(list) => list.len(),
        Value::Map(members) => members.len(),
        Value::Null => return Err(Cause::MissingClaim),
        Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) => return Err(Cause::OtherType),
    };
    i64::try_from(size).map(Value::Int).map_err(|_| Cause::NoNumber)
}

fn convert(conversion: Conversion, value: Value<'_>) -> Outcome<'_> {
    /// Beyond it a float stands for many whole numbers.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match (conversion, value) {
        (Conversion::Int, value @ Value::Int(_)) => Ok(value),
        (Conversion::Int, Value::Double(value)) if value.abs() <= EXACT =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "cut towards zero as CEL does, within ±2^53")]
            Ok(Value::Int(value.trunc() as i64))
        }
        (Conversion::Int, Value::Double(_) | Value::Uint(_)) => Err(Cause::NoNumber),
        (Conversion::Int, Value::Text(text)) => {
            // Digits with at most a minus in front: ` 7`, `+7` and `7_0` are numbers to some readers only.
            let digits = text.strip_prefix('-').unwrap_or(&text);
            let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| is_plain).map(Value::Int).ok_or(Cause::NoNumber)
        }
        (Conversion::Double, Value::Double(value)) => Value::double(value),
        #[expect(clippy::cast_precision_loss, reason = "what double() is asked for")]
        (Conversion::Double, Value::Int(value)) => Value::double(value as f64),
        #[expect(clippy::cast_precision_loss, reason = "what double() is asked for")]
        (Conversion::Double, Value::Uint(value)) => Value::double(value as f64),
        (Conversion::Double, Value::Text(text)) => {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'e' | b'E'));
            text.parse().ok().filter(|_| is_plain).map_or(Err(Cause::NoNumber), Value::double)
        }
        (Conversion::Text, value @ Value::Text(_)) => Ok(value),
        (Conversion::Text, Value::Bool(value)) => Ok(Value::text(if value { "true" } else { "false" })),
        (Conversion::Text, Value::Int(value)) => Ok(Value::Text(Cow::Owned(value.to_string()))),
        (Conversion::Text, Value::Uint(value)) => Ok(Value::Text(Cow::Owned(value.to_string()))),
        (Conversion::Text, Value::Double(value)) => Ok(Value::Text(Cow::Owned(value.to_string()))),
        (_, Value::Null) => Err(Cause::MissingClaim),
        _ => Err(Cause::OtherType),
    }
}
