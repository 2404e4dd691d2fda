//! From the text of a condition to its tree, at load, or every reason why it cannot be one.
//!
//! The crate `cel` parses; this file is the gate behind it. What it does not know is refused by name, so that nothing that
//! the parser may learn some day is evaluated by accident. The bounds here are what `eval` relies on.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo, operators};
use http::HeaderName;

use super::shape::{Shape, comparison, holds_comprehension, member, operator, shape, text};
use super::syntax::parse;
use super::tree::{Asked, Comparison, Conversion, Fact, Node, Operator, Search};
use super::words::{Base, FUNCTIONS, OF_IDENTITY, OF_REQUEST, Type, VARIABLES};
use super::{ConditionProblem, ConditionProblemKind as Kind, ConditionScope};
use crate::policy::has::PermissionName;

/// Deepest tree.
const MAX_DEPTH: usize = 64;
/// Most comprehensions in a condition, none within another.
const MAX_COMPREHENSIONS: usize = 4;

/// A tree, and where in the text it reads which header.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) root: Node,
    pub(super) headers: Vec<(HeaderName, usize)>,
}

pub(super) fn read(text: &str, scope: &ConditionScope<'_>) -> Result<Read, Vec<ConditionProblem>> {
    let (expression, places) = parse(text).map_err(|problem| vec![problem])?;
    let mut reader = Reader {
        text,
        scope,
        places: places.as_deref(),
        item: None,
        comprehensions: 0,
        headers: Vec::new(),
        problems: Vec::new(),
    };
    let root = reader.node(&expression, 0);
    if let Some((_, kind)) = &root
        && !matches!(kind, Type::Bool | Type::Any)
    {
        reader.tell_at::<()>(0, Kind::NoAnswer(kind.as_str()));
    }
    match (root, reader.problems.is_empty()) {
        (Some((root, _)), true) => Ok(Read { root, headers: reader.headers }),
        _ => Err(reader.problems),
    }
}

struct Reader<'a> {
    text: &'a str,
    scope: &'a ConditionScope<'a>,
    places: Option<&'a SourceInfo>,
    /// What the comprehension around calls its element.
    item: Option<String>,
    comprehensions: usize,
    headers: Vec<(HeaderName, usize)>,
    problems: Vec<ConditionProblem>,
}

type Typed = (Node, Type);

impl Reader<'_> {
    fn at(&self, id: u64) -> usize {
        let start = self.places.and_then(|places| places.offset_for(id)).map_or(0, |(start, _)| start);
        usize::try_from(start).unwrap_or(0).min(self.text.len())
    }

    /// The first place at or behind `from` where the word stands; the parser's places are those of the dot or parenthesis beside.
    fn word(&self, from: usize, word: &str) -> usize {
        self.text.get(from..).and_then(|rest| rest.find(word)).map_or(from, |at| from + at)
    }

    fn tell_at<T>(&mut self, at: usize, kind: Kind) -> Option<T> {
        self.problems.push(ConditionProblem { at, kind });
        None
    }

    fn tell<T>(&mut self, id: u64, kind: Kind) -> Option<T> {
        self.tell_at(self.at(id), kind)
    }

    fn node(&mut self, expr: &IdedExpr, depth: usize) -> Option<Typed> {
        if depth > MAX_DEPTH {
            return self.tell(expr.id, Kind::TooDeep { limit: MAX_DEPTH });
        }
        if let Some(base) = self.base(expr) {
            return self.tell(expr.id, Kind::Whole(base.as_str()));
        }
        match &expr.expr {
            Expr::Literal(literal) => self.literal(expr, literal),
            Expr::Ident(name) if self.item.as_ref() == Some(name) => Some((Node::Item, Type::Any)),
            Expr::Ident(name) => {
                let mut known: Vec<String> = VARIABLES.iter().map(|name| (*name).to_owned()).collect();
                known.extend(self.item.clone());
                self.tell(expr.id, Kind::Unknown { what: "variable", name: name.clone(), known })
            }
            Expr::Select(select) => self.select(expr, select, depth),
            Expr::Call(call) => self.call(expr, call, depth),
            Expr::List(list) if list.optional_indices.is_empty() => {
                let nodes: Vec<_> = list.elements.iter().map(|element| self.node(element, depth + 1)).collect();
                let nodes: Option<Vec<Node>> = nodes.into_iter().map(|typed| Some(typed?.0)).collect();
                Some((Node::List(nodes?), Type::List))
            }
            Expr::Comprehension(comprehension) => self.comprehension(expr, comprehension, depth),
            Expr::List(_) => self.tell(expr.id, Kind::NotOffered("optional elements")),
            Expr::Map(_) => self.tell(expr.id, Kind::NotOffered("maps in braces")),
            Expr::Struct(_) => self.tell(expr.id, Kind::NotOffered("messages in braces")),
            Expr::Unspecified => self.tell(expr.id, Kind::Syntax(String::new())),
        }
    }

    fn literal(&mut self, expr: &IdedExpr, literal: &LiteralValue) -> Option<Typed> {
        Some(match literal {
            LiteralValue::Boolean(value) => (Node::Bool(*value.inner()), Type::Bool),
            LiteralValue::Int(value) => (Node::Int(*value.inner()), Type::Number),
            LiteralValue::UInt(value) => (Node::Uint(*value.inner()), Type::Number),
            LiteralValue::Double(value) => (Node::Double(*value.inner()), Type::Number),
            LiteralValue::String(value) => (Node::Text(value.inner().into()), Type::Text),
            LiteralValue::Null => (Node::Null, Type::Null),
            LiteralValue::Bytes(_) => return self.tell(expr.id, Kind::NotOffered("bytes")),
        })
    }

    /// Which of the things with named members this is.
    fn base(&self, expr: &IdedExpr) -> Option<Base> {
        if let Expr::Ident(name) = &expr.expr {
            return match name.as_str() {
                "claims" => Some(Base::Claims),
                "identity" => Some(Base::Identity),
                "request" => Some(Base::Request),
                _ => None,
            };
        }
        let (of, name) = member(expr)?;
        match (self.base(of)?, name) {
            (Base::Request, "query") => Some(Base::Query),
            (Base::Request, "headers") => Some(Base::Headers),
            _ => None,
        }
    }

    /// A named member of one of these. `at` is where the name is looked for.
    fn leaf(&mut self, base: Base, name: &str, at: usize) -> Option<Typed> {
        let at = self.word(at, name);
        let unknown = |known: &[&str]| Kind::Unknown {
            what: base.as_str(),
            name: name.to_owned(),
            known: known.iter().map(|name| (*name).to_owned()).collect(),
        };
        Some(match (base, name) {
            (Base::Claims, name) => (Node::Claim(name.into()), Type::Any),
            (Base::Identity, "subject") => (Node::Fact(Fact::Subject), Type::Text),
            (Base::Identity, "org") => (Node::Fact(Fact::Org(self.scope.org_name)), Type::Text),
            (Base::Identity, "role") => (Node::Fact(Fact::Role), Type::Text),
            (Base::Identity, "permissions") => (Node::Fact(Fact::Permissions), Type::List),
            (Base::Identity, "workspaces") => (Node::Fact(Fact::Workspaces), Type::List),
            (Base::Identity, "token") => (Node::Fact(Fact::Token), Type::Text),
            (Base::Identity, "method") => (Node::Fact(Fact::Method), Type::Text),
            (Base::Request, "method") => (Node::Asked(Asked::Method), Type::Text),
            (Base::Request, "path") => (Node::Asked(Asked::Path), Type::Text),
            (Base::Request, "host") => (Node::Asked(Asked::Host), Type::Text),
            (Base::Request, "segments") => (Node::Asked(Asked::Segments), Type::List),
            (Base::Request, "client") => (Node::Asked(Asked::Client), Type::Text),
            (Base::Identity, _) => return self.tell_at(at, unknown(OF_IDENTITY)),
            (Base::Request, _) => return self.tell_at(at, unknown(OF_REQUEST)),
            (Base::Query, "") => return self.tell_at(at, Kind::BadName("a query parameter")),
            (Base::Query, name) => (Node::Query(name.into()), Type::Text),
            (Base::Headers, name) => {
                if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    return self.tell_at(at, Kind::UpperCase(name.to_ascii_lowercase()));
                }
                let Ok(parsed) = name.parse::<HeaderName>() else {
                    return self.tell_at(at, Kind::BadName("a header"));
                };
                self.headers.push((parsed.clone(), at));
                (Node::Header(parsed), Type::Text)
            }
        })
    }

    fn select(&mut self, expr: &IdedExpr, select: &SelectExpr, depth: usize) -> Option<Typed> {
        let at = self.at(expr.id);
        let typed = match self.base(&select.operand) {
            Some(base) => self.leaf(base, &select.field, at)?,
            None => {
                let (node, kind) = self.node(&select.operand, depth + 1)?;
                if kind != Type::Any {
                    return self.tell(expr.id, Kind::Mismatch(kind.as_str(), "a member"));
                }
                (Node::Member(Box::new(node), select.field.as_str().into()), Type::Any)
            }
        };
        Some(if select.test { (Node::Has(Box::new(typed.0)), Type::Bool) } else { typed })
    }

    fn call(&mut self, expr: &IdedExpr, call: &CallExpr, depth: usize) -> Option<Typed> {
        let depth = depth + 1;
        match (call.func_name.as_str(), &call.target, call.args.as_slice()) {
            (operators::LOGICAL_AND, None, [one, other]) => {
                let (one, other) = (self.bool(one, depth), self.bool(other, depth));
                Some((Node::And(Box::new((one?, other?))), Type::Bool))
            }
            (operators::LOGICAL_OR, None, [one, other]) => {
                let (one, other) = (self.bool(one, depth), self.bool(other, depth));
                Some((Node::Or(Box::new((one?, other?))), Type::Bool))
            }
            (operators::LOGICAL_NOT, None, [one]) => Some((Node::Not(Box::new(self.bool(one, depth)?)), Type::Bool)),
            (operators::CONDITIONAL, None, [condition, one, other]) => {
                let condition = self.bool(condition, depth);
                let (one, other) = (self.node(one, depth), self.node(other, depth));
                let ((one, of_one), (other, of_other)) = (one?, other?);
                let kind = if of_one == of_other { of_one } else { Type::Any };
                Some((Node::If(Box::new((condition?, one, other))), kind))
            }
            (operators::INDEX, None, [of, index]) => self.index(expr, of, index, depth),
            (operators::NEGATE, None, [one]) => {
                let (node, kind) = self.node(one, depth)?;
                self.is(kind, Type::Number, expr.id)?;
                Some((Node::Negate(Box::new(node)), Type::Number))
            }
            (operators::IN, None, [one, list]) => self.is_in(expr, one, list, depth),
            (name, None, [one, other]) if comparison(name).is_some() => {
                let comparison = comparison(name)?;
                let (one, other) = (self.node(one, depth), self.node(other, depth));
                self.compare(expr, comparison, one?, other?)
            }
            (name, None, [one, other]) if operator(name).is_some() => {
                let operator = operator(name)?;
                let (one, other) = (self.node(one, depth), self.node(other, depth));
                let ((one, of_one), (other, of_other)) = (one?, other?);
                let kind = match (operator, of_one, of_other) {
                    (Operator::Add, Type::Text, Type::Text | Type::Any) | (Operator::Add, Type::Any, Type::Text) => {
                        Type::Text
                    }
                    (Operator::Add, Type::Any, Type::Any) => Type::Any,
                    _ => {
                        self.is(of_one, Type::Number, expr.id)?;
                        self.is(of_other, Type::Number, expr.id)?;
                        Type::Number
                    }
                };
                Some((Node::Arithmetic(operator, Box::new((one, other))), kind))
            }
            (name, target, arguments) => self.function(expr, name, target.as_deref(), arguments, depth),
        }
    }

    fn bool(&mut self, expr: &IdedExpr, depth: usize) -> Option<Node> {
        let (node, kind) = self.node(expr, depth)?;
        self.is(kind, Type::Bool, expr.id)?;
        Some(node)
    }

    fn is(&mut self, kind: Type, wanted: Type, id: u64) -> Option<()> {
        if kind == wanted || kind == Type::Any {
            return Some(());
        }
        self.tell(id, Kind::Mismatch(kind.as_str(), wanted.as_str()))
    }

    fn index(&mut self, expr: &IdedExpr, of: &IdedExpr, index: &IdedExpr, depth: usize) -> Option<Typed> {
        if let Some(base) = self.base(of) {
            let Some(name) = text(index) else { return self.tell(expr.id, Kind::Whole(base.as_str())) };
            return self.leaf(base, name, self.at(expr.id));
        }
        let (node, kind) = self.node(of, depth)?;
        if let (Some(name), Type::Any) = (text(index), kind) {
            return Some((Node::Member(Box::new(node), name.into()), Type::Any));
        }
        let (index, of_index) = self.node(index, depth)?;
        match kind {
            Type::List => self.is(of_index, Type::Number, expr.id)?,
            Type::Any => {}
            _ => return self.tell(expr.id, Kind::Mismatch(kind.as_str(), Type::List.as_str())),
        }
        let is_text = matches!(node, Node::Asked(Asked::Segments) | Node::Fact(Fact::Permissions | Fact::Workspaces));
        Some((Node::Index(Box::new((node, index))), if is_text { Type::Text } else { Type::Any }))
    }

    fn compare(&mut self, expr: &IdedExpr, comparison: Comparison, one: Typed, other: Typed) -> Option<Typed> {
        let is_equality = matches!(comparison, Comparison::Equal | Comparison::Unequal);
        let told = |node: Node| match comparison {
            Comparison::Unequal => (Node::Not(Box::new(node)), Type::Bool),
            _ => (node, Type::Bool),
        };
        let (one, other) = match (one, other) {
            ((node, _), (Node::Null, _)) | ((Node::Null, _), (node, _)) if is_equality => {
                return Some(told(Node::IsNull(Box::new(node))));
            }
            ((Node::Fact(Fact::Role), _), (Node::Text(name), _))
            | ((Node::Text(name), _), (Node::Fact(Fact::Role), _))
                if is_equality =>
            {
                return Some(told(Node::RoleIs(vec![(self.scope.role)(&name)])));
            }
            ((Node::Fact(Fact::Org(name)), _), (node, Type::Text | Type::Any))
            | ((node, Type::Text | Type::Any), (Node::Fact(Fact::Org(name)), _))
                if is_equality =>
            {
                return Some(told(Node::OrgIs(name, vec![node])));
            }
            pair => pair,
        };
        let comparable = |kind| match kind {
            Type::Number | Type::Text | Type::Any => true,
            Type::Bool => is_equality,
            Type::List | Type::Null => false,
        };
        for (_, kind) in [&one, &other] {
            if !comparable(*kind) {
                return self.tell(expr.id, Kind::NoComparison(kind.as_str()));
            }
        }
        if one.1 != other.1 && one.1 != Type::Any && other.1 != Type::Any {
            return self.tell(expr.id, Kind::Mismatch(one.1.as_str(), other.1.as_str()));
        }
        Some((Node::Compare(comparison, Box::new((one.0, other.0))), Type::Bool))
    }

    fn is_in(&mut self, expr: &IdedExpr, one: &IdedExpr, list: &IdedExpr, depth: usize) -> Option<Typed> {
        if let Some(base) = self.base(list) {
            let Some(name) = text(one) else { return self.tell(expr.id, Kind::Whole(base.as_str())) };
            let at = self.at(one.id);
            let (node, _) = self.leaf(base, name, at)?;
            return Some((Node::Has(Box::new(node)), Type::Bool));
        }
        let one_at = one.id;
        let (one, list) = (self.node(one, depth), self.node(list, depth));
        let ((one, of_one), (list, of_list)) = (one?, list?);
        self.is(of_list, Type::List, expr.id)?;
        if matches!(of_one, Type::List | Type::Null) {
            return self.tell(one_at, Kind::NoComparison(of_one.as_str()));
        }
        let node = match (one, list) {
            (Node::Fact(Fact::Role), Node::List(names)) => {
                let mut roles = Vec::new();
                for name in names {
                    let Node::Text(name) = name else { return self.tell(expr.id, Kind::Mismatch("a role", "a text")) };
                    roles.push((self.scope.role)(&name));
                }
                Node::RoleIs(roles)
            }
            (Node::Fact(Fact::Org(name)), Node::List(names)) => Node::OrgIs(name, names),
            (Node::Text(name), Node::Fact(Fact::Permissions)) => Node::PermissionIs(PermissionName::new(&name)),
            (one, list) => Node::In(Box::new((one, list))),
        };
        Some((node, Type::Bool))
    }

    fn function(
        &mut self,
        expr: &IdedExpr,
        name: &str,
        target: Option<&IdedExpr>,
        arguments: &[IdedExpr],
        depth: usize,
    ) -> Option<Typed> {
        // The place of a call on something is its parenthesis, behind the name.
        let at = self.at(expr.id);
        let at = if target.is_some() { at.saturating_sub(name.len()) } else { at };
        if matches!(name, operators::OPT_INDEX | operators::OPT_SELECT) {
            return self.tell(expr.id, Kind::NotOffered("optional members"));
        }
        let wanted = match name {
            "size" => "size(x) or x.size()",
            "contains" => "text.contains(\"part\")",
            "startsWith" => "text.startsWith(\"part\")",
            "endsWith" => "text.endsWith(\"part\")",
            "int" => "int(x)",
            "double" => "double(x)",
            "string" => "string(x)",
            "has" => "has(claims.name)",
            "all" | "exists" | "exists_one" | "existsOne" | "filter" | "map" => "list.exists(x, x == 1)",
            "matches" => return self.tell_at(at, Kind::Matches),
            _ => {
                let known = FUNCTIONS.iter().map(|name| (*name).to_owned()).collect();
                return self.tell_at(at, Kind::Unknown { what: "function", name: name.to_owned(), known });
            }
        };
        match (name, target, arguments) {
            ("size", None, [of]) | ("size", Some(of), []) => {
                let (node, kind) = self.node(of, depth)?;
                if matches!(kind, Type::Bool | Type::Number | Type::Null) {
                    return self.tell(of.id, Kind::Mismatch(kind.as_str(), "a text or a list"));
                }
                Some((Node::Size(Box::new(node)), Type::Number))
            }
            ("contains" | "startsWith" | "endsWith", Some(of), [part]) => {
                let search = match name {
                    "contains" => Search::Contains,
                    "startsWith" => Search::StartsWith,
                    _ => Search::EndsWith,
                };
                let (text, part_of) = (self.node(of, depth), self.node(part, depth));
                let ((text, of_text), (part_node, of_part)) = (text?, part_of?);
                self.is(of_text, Type::Text, of.id)?;
                self.is(of_part, Type::Text, part.id)?;
                Some((Node::Search(search, Box::new((text, part_node))), Type::Bool))
            }
            ("int" | "double" | "string", None, [of]) => {
                let (conversion, kind) = match name {
                    "int" => (Conversion::Int, Type::Number),
                    "double" => (Conversion::Double, Type::Number),
                    _ => (Conversion::Text, Type::Text),
                };
                let (node, of_node) = self.node(of, depth)?;
                if matches!(of_node, Type::List | Type::Null) || (of_node == Type::Bool && kind == Type::Number) {
                    return self.tell(of.id, Kind::Mismatch(of_node.as_str(), kind.as_str()));
                }
                Some((Node::Convert(conversion, Box::new(node)), kind))
            }
            _ => self.tell_at(at, Kind::Arguments { name: name.to_owned(), wanted }),
        }
    }

    fn comprehension(&mut self, expr: &IdedExpr, made: &ComprehensionExpr, depth: usize) -> Option<Typed> {
        self.comprehensions += 1;
        // The parser's place is the parenthesis behind the name.
        let at = self.at(expr.id);
        let at = self.text.get(..at).and_then(|before| before.rfind('.')).map_or(at, |dot| dot + 1);
        if self.item.is_some() || holds_comprehension(&made.iter_range) {
            return self.tell_at(at, Kind::Nested);
        }
        if self.comprehensions > MAX_COMPREHENSIONS {
            return self.tell_at(at, Kind::TooManyLists { limit: MAX_COMPREHENSIONS });
        }
        if VARIABLES.contains(&made.iter_var.as_str()) {
            return self.tell_at(at, Kind::Shadows(made.iter_var.clone()));
        }
        let shape = shape(made);
        let (list, of_list) = self.node(&made.iter_range, depth + 1)?;
        self.is(of_list, Type::List, made.iter_range.id)?;
        self.item = Some(made.iter_var.clone());
        let typed = match shape {
            Some(Shape::Quantified(quantifier, body)) => self
                .bool(body, depth + 1)
                .map(|body| (Node::Quantified(quantifier, Box::new((list, body))), Type::Bool)),
            Some(Shape::Collect(filter, item)) => {
                let filter = match filter {
                    Some(filter) => self.bool(filter, depth + 1),
                    None => Some(Node::Bool(true)),
                };
                let item = self.node(item, depth + 1);
                filter.zip(item).map(|(filter, (item, _))| (Node::Collect(Box::new((list, filter, item))), Type::List))
            }
            None => self.tell(expr.id, Kind::NotOffered("such a loop")),
        };
        self.item = None;
        typed
    }
}
