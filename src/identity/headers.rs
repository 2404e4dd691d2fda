//! Identity headers (contract: `x-crossgate-*`): their names after renaming, their values rendered from facts.

use http::HeaderName;

/// The facts that can become a header, each with its default name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fact {
    Subject,
    ClerkUser,
    LegacyUser,
    Org,
    OrgSlug,
    LegacyOrg,
    Role,
    Permissions,
    Workspaces,
    Session,
    Method,
    Token,
    Arm,
    Route,
    Actor,
    RequestId,
    Assertion,
}

impl Fact {
    pub const ALL: [Self; 17] = [
        Self::Subject, Self::ClerkUser, Self::LegacyUser, Self::Org, Self::OrgSlug, Self::LegacyOrg, Self::Role,
        Self::Permissions, Self::Workspaces, Self::Session, Self::Method, Self::Token, Self::Arm, Self::Route,
        Self::Actor, Self::RequestId, Self::Assertion,
    ];

    /// The key in `identity.headers`, in snake case (`subject`, `clerk_user` …); the default name is
    /// `x-crossgate-` and this with `-`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::ClerkUser => "clerk_user",
            Self::LegacyUser => "legacy_user",
            Self::Org => "org",
            Self::OrgSlug => "org_slug",
            Self::LegacyOrg => "legacy_org",
            Self::Role => "role",
            Self::Permissions => "permissions",
            Self::Workspaces => "workspaces",
            Self::Session => "session",
            Self::Method => "method",
            Self::Token => "token",
            Self::Arm => "arm",
            Self::Route => "route",
            Self::Actor => "actor",
            Self::RequestId => "request_id",
            Self::Assertion => "assertion",
        }
    }
}

/// The name each fact travels under; `None` where the config drops it.
#[derive(Debug, Clone)]
pub struct HeaderNames {
    names: [Option<HeaderName>; 17],
}

impl Default for HeaderNames {
    fn default() -> Self {
        Self::new(|_| None)
    }
}

impl HeaderNames {
    /// `choose` answers `None` for the default name, `Some(None)` to drop, `Some(Some(name))` to rename.
    pub fn new(choose: impl Fn(Fact) -> Option<Option<HeaderName>>) -> Self {
        let names = Fact::ALL.map(|fact| choose(fact).unwrap_or_else(|| default_name(fact)));
        Self { names }
    }

    /// The name of one fact.
    pub fn name(&self, fact: Fact) -> Option<&HeaderName> {
        Fact::ALL.iter().position(|f| *f == fact).and_then(|at| self.names.get(at)).and_then(Option::as_ref)
    }

    /// All names in use.
    pub fn all(&self) -> impl Iterator<Item = &HeaderName> {
        self.names.iter().flatten()
    }
}

fn default_name(fact: Fact) -> Option<HeaderName> {
    HeaderName::try_from(format!("x-crossgate-{}", fact.key().replace('_', "-"))).ok()
}
