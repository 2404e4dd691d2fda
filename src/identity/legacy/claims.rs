//! Who a payload speaks of: the claims that the config names, for signed tokens and introspection alike.
//!
//! Values become header values and are compared with ids, so that a wrong type is refused and never guessed at. An id
//! may be a whole number, as many an API writes it, and is its decimal text then.

use serde_json::{Map, Value};

use super::reason::Reason;
use crate::identity::clerk::claims::{is_plain_text, read_workspaces};
use crate::identity::{Facts, Method, TokenKind, Workspaces};

/// Where a fact stands in a payload: names from the outside in.
pub type ClaimPath = Vec<String>;

/// `claims` of a legacy verifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    pub user: ClaimPath,
    pub org: ClaimPath,
    pub roles: ClaimPath,
    pub workspaces: ClaimPath,
}

impl Default for Claims {
    fn default() -> Self {
        let path = |name: &str| vec![name.to_owned()];
        Self { user: path("sub"), org: path("org"), roles: path("roles"), workspaces: path("workspaces") }
    }
}

/// More roles than anybody has.
const MAX_ROLES: usize = 64;

impl Claims {
    /// The facts of a payload; its times are the caller's matter.
    pub(super) fn read(&self, claims: Map<String, Value>) -> Result<Facts, Reason> {
        let user = id(find(&claims, &self.user)?)?.ok_or(Reason::Claims)?;
        let org = id(find(&claims, &self.org)?)?;
        let roles = roles(find(&claims, &self.roles)?)?;
        let workspaces = read_workspaces(&claims, &self.workspaces);
        Ok(Facts { claims, ..facts(user, org, roles, workspaces) })
    }
}

/// A legacy person. The canonical id is this side's own; the identity map may know a better one.
pub(super) fn facts(user: String, org: Option<String>, roles: Vec<String>, workspaces: Workspaces) -> Facts {
    Facts {
        method: Method::Legacy,
        token: TokenKind::Legacy,
        subject: user.clone(),
        legacy_user: Some(user),
        legacy_org: org,
        legacy_roles: roles,
        workspaces,
        ..Facts::default()
    }
}

/// The value at a path; a way that ends in something else than an object leads nowhere good.
fn find<'a>(claims: &'a Map<String, Value>, path: &[String]) -> Result<Option<&'a Value>, Reason> {
    let Some((first, rest)) = path.split_first() else { return Ok(None) };
    let mut value = claims.get(first);
    for name in rest {
        value = match value {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(members)) => members.get(name),
            Some(_) => return Err(Reason::Claims),
        };
    }
    Ok(value.filter(|value| !value.is_null()))
}

/// Beyond it a number has neighbours that some parser takes for the same.
const MAX_NUMBER: u64 = 1 << 53;

fn id(value: Option<&Value>) -> Result<Option<String>, Reason> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) if is_plain_text(text) => Ok(Some(text.clone())),
        Some(Value::Number(number)) => {
            let whole = number.as_u64().filter(|number| *number < MAX_NUMBER).ok_or(Reason::Claims)?;
            Ok(Some(whole.to_string()))
        }
        Some(_) => Err(Reason::Claims),
    }
}

/// One text is one role, whatever characters it has; several are a list.
fn roles(value: Option<&Value>) -> Result<Vec<String>, Reason> {
    let role = |value: &Value| match value {
        Value::String(text) if is_plain_text(text) => Ok(text.clone()),
        _ => Err(Reason::Claims),
    };
    match value {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= MAX_ROLES => list.iter().map(role).collect(),
        Some(one) => Ok(vec![role(one)?]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Claims, Reason};
    use crate::identity::{Workspace, Workspaces};

    fn read(claims: &Claims, payload: Value) -> Result<(String, Option<String>, Vec<String>), Reason> {
        let Value::Object(payload) = payload else { panic!("an object") };
        let facts = claims.read(payload)?;
        assert_eq!(facts.legacy_user.as_ref(), Some(&facts.subject));
        Ok((facts.subject, facts.legacy_org, facts.legacy_roles))
    }

    #[test]
    fn ids_and_roles() {
        let bad = Err(Reason::Claims);
        let good = |user: &str, org: Option<&str>, roles: &[&str]| {
            Ok((user.to_owned(), org.map(str::to_owned), roles.iter().map(|role| (*role).to_owned()).collect()))
        };
        let table = [
            ("text", json!({"sub": "42"}), good("42", None, &[])),
            ("whole number", json!({"sub": 42}), good("42", None, &[])),
            ("all", json!({"sub": "a", "org": 7, "roles": ["x", "y"]}), good("a", Some("7"), &["x", "y"])),
            ("one role", json!({"sub": "a", "roles": "x, y"}), good("a", None, &["x, y"])),
            ("nulls", json!({"sub": "a", "org": null, "roles": null}), good("a", None, &[])),
            ("no roles", json!({"sub": "a", "roles": []}), good("a", None, &[])),
            ("nobody", json!({"org": "a"}), bad.clone()),
            ("null", json!({"sub": null}), bad.clone()),
            ("empty", json!({"sub": ""}), bad.clone()),
            ("fraction", json!({"sub": 4.2}), bad.clone()),
            ("negative", json!({"sub": -1}), bad.clone()),
            ("2^53", json!({"sub": 9_007_199_254_740_992_u64}), bad.clone()),
            ("true", json!({"sub": true}), bad.clone()),
            ("list", json!({"sub": ["a"]}), bad.clone()),
            ("CRLF", json!({"sub": "a\r\nx: y"}), bad.clone()),
            ("NUL", json!({"sub": "a\u{0}"}), bad.clone()),
            ("U+202E", json!({"sub": "\u{202e}a"}), bad.clone()),
            ("leading space", json!({"sub": " a"}), bad.clone()),
            ("long", json!({"sub": "a".repeat(5000)}), bad.clone()),
            ("org is an object", json!({"sub": "a", "org": {"id": "x"}}), bad.clone()),
            ("role is a number", json!({"sub": "a", "roles": [1]}), bad.clone()),
            ("role is empty", json!({"sub": "a", "roles": [""]}), bad.clone()),
            ("roles are an object", json!({"sub": "a", "roles": {"x": 1}}), bad.clone()),
            ("a thousand roles", json!({"sub": "a", "roles": vec!["x"; 1000]}), bad),
        ];
        for (name, payload, expected) in table {
            assert_eq!(read(&Claims::default(), payload), expected, "{name}");
        }
    }

    #[test]
    fn paths() {
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let claims = Claims { user: path("user.id"), org: path("user.org.id"), ..Claims::default() };
        let table = [
            (json!({"user": {"id": 1, "org": {"id": "x"}}}), Ok(("1".to_owned(), Some("x".to_owned()), vec![]))),
            (json!({"user": {"id": 1}}), Ok(("1".to_owned(), None, vec![]))),
            (json!({"user": {"id": 1, "org": "x"}}), Err(Reason::Claims)),
            (json!({"user": "1"}), Err(Reason::Claims)),
            (json!({"user.id": "1"}), Err(Reason::Claims)),
        ];
        for (payload, expected) in table {
            assert_eq!(read(&claims, payload.clone()), expected, "{payload}");
        }
    }

    #[test]
    fn workspaces() {
        let Value::Object(payload) = json!({"sub": "a", "workspaces": ["w1", {"id": "w2", "role": "editor"}]}) else {
            panic!("an object")
        };
        let known = Workspaces::Known(vec![
            Workspace { id: "w1".to_owned(), role: None },
            Workspace { id: "w2".to_owned(), role: Some("editor".to_owned()) },
        ]);
        assert_eq!(Claims::default().read(payload).unwrap().workspaces, known);
    }
}
