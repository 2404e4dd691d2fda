//! The tree of a condition: what the language of `when` comes to once every name is known.
//!
//! Made by `read`, walked by `eval`. Holds no value of any request; whatever can be settled at load is.

use http::HeaderName;

use crate::policy::OrgName;
use crate::policy::has::{PermissionName, RoleName};

/// One node. The children of a node are evaluated at most once for each element that the node looks at.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Box<str>),
    List(Vec<Node>),
    /// A first member of the payload. Always named, so that it is known which claims a policy reads.
    Claim(Box<str>),
    Fact(Fact),
    Asked(Asked),
    Query(Box<str>),
    Header(HeaderName),
    /// The element that the comprehension around it looks at.
    Item,
    Member(Box<Node>, Box<str>),
    Index(Box<(Node, Node)>),
    /// Whether there is such a member, fact, parameter or header.
    Has(Box<Node>),
    IsNull(Box<Node>),
    /// The caller's role, permission or org as `role`, `permission` and `org` of `require` compare it; one of these.
    RoleIs(Vec<RoleName>),
    PermissionIs(PermissionName),
    OrgIs(OrgName, Vec<Node>),
    Not(Box<Node>),
    And(Box<(Node, Node)>),
    Or(Box<(Node, Node)>),
    If(Box<(Node, Node, Node)>),
    Compare(Comparison, Box<(Node, Node)>),
    In(Box<(Node, Node)>),
    Arithmetic(Operator, Box<(Node, Node)>),
    Negate(Box<Node>),
    Size(Box<Node>),
    Convert(Conversion, Box<Node>),
    Search(Search, Box<(Node, Node)>),
    /// What holds for each, some or exactly one element.
    Quantified(Quantifier, Box<(Node, Node)>),
    /// `filter` and `map`: the list, what an element must be, and what becomes of it.
    Collect(Box<(Node, Node, Node)>),
}

/// `identity.…`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    Subject,
    /// In the namespace that `identity.names.org` says.
    Org(OrgName),
    Role,
    Permissions,
    Workspaces,
    Token,
    Method,
}

/// `request.…` beside query and headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Method,
    Path,
    Host,
    Segments,
    Client,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conversion {
    Int,
    Double,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    Contains,
    StartsWith,
    EndsWith,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantifier {
    All,
    Exists,
    ExistsOne,
}

impl Node {
    /// The nodes right below it.
    pub(super) fn children(&self) -> Vec<&Self> {
        match self {
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Uint(_)
            | Self::Double(_)
            | Self::Text(_)
            | Self::Claim(_)
            | Self::Fact(_)
            | Self::Asked(_)
            | Self::Query(_)
            | Self::Header(_)
            | Self::Item
            | Self::RoleIs(_)
            | Self::PermissionIs(_) => Vec::new(),
            Self::List(nodes) | Self::OrgIs(_, nodes) => nodes.iter().collect(),
            Self::Member(node, _)
            | Self::Has(node)
            | Self::IsNull(node)
            | Self::Not(node)
            | Self::Negate(node)
            | Self::Size(node)
            | Self::Convert(_, node) => vec![&**node],
            Self::Index(pair)
            | Self::And(pair)
            | Self::Or(pair)
            | Self::Compare(_, pair)
            | Self::In(pair)
            | Self::Arithmetic(_, pair)
            | Self::Search(_, pair)
            | Self::Quantified(_, pair) => vec![&pair.0, &pair.1],
            Self::If(three) | Self::Collect(three) => vec![&three.0, &three.1, &three.2],
        }
    }

    /// Shows each node of the tree.
    pub(super) fn visit<'n>(&'n self, see: &mut impl FnMut(&'n Self)) {
        see(self);
        for child in self.children() {
            child.visit(see);
        }
    }

    pub(super) const fn reads_request(&self) -> bool {
        matches!(self, Self::Asked(_) | Self::Query(_) | Self::Header(_))
    }

    pub(super) const fn reads_caller(&self) -> bool {
        matches!(self, Self::Claim(_) | Self::Fact(_) | Self::RoleIs(_) | Self::PermissionIs(_) | Self::OrgIs(..))
    }
}
