//! Identity headers (contract: `x-crossgate-*`): their names after renaming, their values rendered from facts.
//!
//! Rendered once per verified token and kept with it. A value can neither end its line nor be split in another
//! place than it was joined: whatever is not visible ASCII is percent-encoded, in lists the comma too. What is
//! known only per request (arm, route, request id, assertion) is added by `inject`.

use std::fmt::Write as _;

use http::{HeaderName, HeaderValue};

use super::{Facts, Login, Workspaces};
use crate::request::fold::{fold, is_spelling};

/// Longest value. Beyond it common servers refuse the request, or cut the list: another answer than was decided.
const MAX_VALUE: usize = 4 * 1024;

/// Names that begin like this are crossgate's.
const OWN: &str = "x-crossgate-";

/// Facts that do not fit into a header. They are not left out, since an API reads a missing list as an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

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
        Self::Subject,
        Self::ClerkUser,
        Self::LegacyUser,
        Self::Org,
        Self::OrgSlug,
        Self::LegacyOrg,
        Self::Role,
        Self::Permissions,
        Self::Workspaces,
        Self::Session,
        Self::Method,
        Self::Token,
        Self::Arm,
        Self::Route,
        Self::Actor,
        Self::RequestId,
        Self::Assertion,
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
    /// Of those that are not [`OWN`].
    folded: Vec<Box<str>>,
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
        let folded =
            names.iter().flatten().map(|name| fold(name.as_str())).filter(|name| !name.starts_with(OWN)).collect();
        Self { names, folded }
    }

    /// The name of one fact.
    pub fn name(&self, fact: Fact) -> Option<&HeaderName> {
        Fact::ALL.iter().position(|f| *f == fact).and_then(|at| self.names.get(at)).and_then(Option::as_ref)
    }

    /// Whether a header, in an answer, has one of the names in use or one of crossgate's own, in any spelling.
    pub fn is_twin(&self, name: &HeaderName) -> bool {
        let name = name.as_str();
        let is_own = name.get(..OWN.len()).is_some_and(|start| is_spelling(start, OWN));
        is_own || self.folded.iter().any(|own| is_spelling(name, own))
    }

    /// All names in use.
    pub fn all(&self) -> impl Iterator<Item = &HeaderName> {
        self.names.iter().flatten()
    }
}

/// The headers of a verified person, under the names in use; facts that are not there have none.
///
/// # Errors
/// [`TooLarge`].
pub fn render(names: &HeaderNames, facts: &Facts) -> Result<Vec<(HeaderName, HeaderValue)>, TooLarge> {
    let org = facts.org.as_ref();
    let permissions = org.and_then(|org| org.permissions.as_deref()).map(|list| join(list.iter().map(String::as_str)));
    let workspaces = match &facts.workspaces {
        Workspaces::Known(list) => Some(join(list.iter().map(|workspace| workspace.id.as_str()))),
        Workspaces::Missing | Workspaces::Unreadable => None,
    };
    let texts = [
        (Fact::Subject, Some(one(&facts.subject))),
        (Fact::ClerkUser, facts.clerk_user.as_deref().map(one)),
        (Fact::LegacyUser, facts.legacy_user.as_deref().map(one)),
        (Fact::LegacyOrg, facts.legacy_org.as_deref().map(one)),
        (Fact::Org, org.map(|org| one(&org.id))),
        (Fact::OrgSlug, org.and_then(|org| org.slug.as_deref()).map(one)),
        (Fact::Role, role(facts)),
        (Fact::Permissions, permissions),
        (Fact::Workspaces, workspaces),
        (Fact::Session, facts.session.as_deref().map(one)),
        (Fact::Method, Some(facts.method.as_str().to_owned())),
        (Fact::Token, Some(facts.token.as_str().to_owned())),
        (Fact::Actor, facts.actor.as_deref().map(one)),
    ];
    let mut headers = Vec::with_capacity(texts.len());
    for (fact, text) in texts {
        let (Some(name), Some(text)) = (names.name(fact), text.filter(|text| !text.is_empty())) else { continue };
        if text.len() > MAX_VALUE {
            return Err(TooLarge);
        }
        headers.push((name.clone(), HeaderValue::try_from(text).map_err(|_| TooLarge)?));
    }
    Ok(headers)
}

/// The role as the API is told it: of a legacy person the roles as that side names them, even where an org of Clerk's is
/// known as well.
pub fn role(facts: &Facts) -> Option<String> {
    match facts.method.login() {
        Login::Clerk => facts.org.as_ref().and_then(|org| org.role.as_deref()).map(one),
        Login::Legacy => Some(join(facts.legacy_roles.iter().map(String::as_str))),
    }
}

fn one(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_visible(text.as_bytes(), &mut out);
    out
}

/// Appends bytes so that they can be told again and stay on one line: all but visible ASCII is percent-encoded, and `%`.
pub(crate) fn push_visible(bytes: &[u8], out: &mut String) {
    encode(bytes, out, |_| false);
}

fn join<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(',');
        }
        encode(item.as_bytes(), &mut out, |byte| byte == b',');
    }
    out
}

fn encode(bytes: &[u8], out: &mut String, also: impl Fn(u8) -> bool) {
    for &byte in bytes {
        if byte.is_ascii_graphic() && byte != b'%' && !also(byte) {
            out.push(char::from(byte));
        } else {
            // INVARIANT: writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

fn default_name(fact: Fact) -> Option<HeaderName> {
    HeaderName::try_from(format!("x-crossgate-{}", fact.key().replace('_', "-"))).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::{Fact, Facts, HeaderNames, TooLarge, Workspaces, render};
    use crate::identity::{Org, Workspace};

    fn facts(slug: &str, permissions: &[&str]) -> Facts {
        let permissions = permissions.iter().map(|name| (*name).to_owned()).collect();
        Facts {
            subject: "user_1".to_owned(),
            org: Some(Org {
                id: "org_1".to_owned(),
                slug: Some(slug.to_owned()),
                role: Some("org:admin".to_owned()),
                permissions: Some(permissions),
            }),
            ..Facts::default()
        }
    }

    fn value(facts: &Facts, fact: Fact) -> Option<String> {
        let names = HeaderNames::default();
        let headers = render(&names, facts).unwrap();
        let name = names.name(fact).unwrap();
        headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn one_value() {
        let table = [
            ("acme", "acme"),
            ("a,b", "a,b"),
            ("100%", "100%25"),
            ("a b", "a%20b"),
            ("a\r\nx: y", "a%0D%0Ax:%20y"),
            ("z\u{fc}rich", "z%C3%BCrich"),
            ("\u{202e}", "%E2%80%AE"),
            ("\u{7f}\u{0}", "%7F%00"),
        ];
        for (slug, expected) in table {
            assert_eq!(value(&facts(slug, &[]), Fact::OrgSlug).as_deref(), Some(expected), "{slug:?}");
        }
    }

    #[test]
    fn lists() {
        assert_eq!(value(&facts("a", &["x", "y,z", "%"]), Fact::Permissions).as_deref(), Some("x,y%2Cz,%25"));
        assert_eq!(value(&facts("a", &[]), Fact::Permissions), None);
        let mut person = facts("a", &[]);
        person.workspaces = Workspaces::Known(vec![Workspace { id: "w 1".to_owned(), role: Some("owner".to_owned()) }]);
        assert_eq!(value(&person, Fact::Workspaces).as_deref(), Some("w%201"));
        person.workspaces = Workspaces::Unreadable;
        assert_eq!(value(&person, Fact::Workspaces), None);
    }

    #[test]
    fn a_list_that_is_too_long_is_refused_not_cut() {
        let long = "x".repeat(5000);
        assert_eq!(render(&HeaderNames::default(), &facts("a", &[&long])).unwrap_err(), TooLarge);
        // A header that nobody gets may be as long as it likes.
        let dropped = HeaderNames::new(|fact| (fact == Fact::Permissions).then_some(None));
        assert!(render(&dropped, &facts("a", &[&long])).is_ok());
    }

    #[test]
    fn names_may_be_changed() {
        let name = HeaderName::from_static("x-user");
        let names = HeaderNames::new(|fact| match fact {
            Fact::Subject => Some(Some(name.clone())),
            Fact::Method => Some(None),
            _ => None,
        });
        let headers = render(&names, &Facts { subject: "user_1".to_owned(), ..Facts::default() }).unwrap();
        let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x-user", "x-crossgate-token"]);
    }
}
