//! The variables, members and functions of conditions, and what is known of a value before there is one.

/// What a value is known to be before there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Number,
    Text,
    List,
    Null,
    /// Whatever the claim is.
    Any,
}

impl Type {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Null => "null",
            Self::Any => "a claim",
        }
    }
}

/// What has members that are named, and is no value by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    Claims,
    Identity,
    Request,
    Query,
    Headers,
}

impl Base {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Claims => "claims",
            Self::Identity => "identity",
            Self::Request => "request",
            Self::Query => "request.query",
            Self::Headers => "request.headers",
        }
    }
}

pub(super) const VARIABLES: &[&str] = &["claims", "identity", "request"];
pub(super) const OF_IDENTITY: &[&str] = &["subject", "org", "role", "permissions", "workspaces", "token", "method"];
pub(super) const OF_REQUEST: &[&str] = &["method", "path", "host", "segments", "query", "headers", "client"];
pub(super) const FUNCTIONS: &[&str] = &[
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "int",
    "double",
    "string",
    "has",
    "all",
    "exists",
    "exists_one",
    "filter",
    "map",
];
