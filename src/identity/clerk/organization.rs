//! The organisation, features and plans of a session token: Clerk's two claim versions read as one.
//!
//! Called by `claims`. Version 1 spells out `org_*`; version 2 packs permissions into bit masks (`fpm`) over the
//! features (`fea`) that belong to organisations. Where the packing cannot be read, permissions are unknown, which
//! is not the same as none.

use serde_json::{Map, Value};

use super::claims::{is_id, is_plain_text};
use super::reason::Reason;
use crate::identity::{Org, Scoped};

/// What the claims say about the organisation and what is paid for.
#[derive(Debug, PartialEq)]
pub(super) struct Organization {
    pub(super) active: Option<Org>,
    pub(super) features: Option<Scoped>,
    pub(super) plans: Option<Scoped>,
}

/// Reads whichever version the token has; a mix of both, and any other version, is refused.
pub(super) fn read(claims: &Map<String, Value>) -> Result<Organization, Reason> {
    let features = scoped(claims.get("fea"));
    let active = match claims.get("v") {
        None => {
            // Whoever reads only `v` and whoever reads only `o` would see two organisations.
            if claims.contains_key("o") {
                return Err(Reason::TokenVerificationFailed);
            }
            version_1(claims)?
        }
        Some(Value::Number(version)) if version.as_f64() == Some(2.0) => {
            if ["org_id", "org_slug", "org_role", "org_permissions"].iter().any(|name| claims.contains_key(*name)) {
                return Err(Reason::TokenVerificationFailed);
            }
            match claims.get("o") {
                None => None,
                Some(Value::Object(org)) => Some(version_2(org, features.as_ref())?),
                Some(_) => return Err(Reason::TokenVerificationFailed),
            }
        }
        Some(_) => return Err(Reason::TokenVerificationFailed),
    };
    Ok(Organization { active, features, plans: scoped(claims.get("pla")) })
}

fn version_1(claims: &Map<String, Value>) -> Result<Option<Org>, Reason> {
    let Some(id) = id(claims.get("org_id"))? else { return Ok(None) };
    let permissions = match claims.get("org_permissions") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        Some(_) => None,
    };
    Ok(Some(Org {
        id,
        slug: text(claims.get("org_slug"))?,
        role: text(claims.get("org_role"))?.map(|role| with_prefix(&role)),
        permissions: checked(permissions)?,
    }))
}

fn version_2(org: &Map<String, Value>, features: Option<&Scoped>) -> Result<Org, Reason> {
    // `o` without an id names no organisation, but something is wrong with it.
    let id = id(org.get("id"))?.ok_or(Reason::TokenVerificationFailed)?;
    Ok(Org {
        id,
        slug: text(org.get("slg"))?,
        role: text(org.get("rol"))?.map(|role| with_prefix(&role)),
        permissions: checked(features.and_then(|list| permissions(org, &list.org)))?,
    })
}

fn id(claim: Option<&Value>) -> Result<Option<String>, Reason> {
    match claim {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if is_id(id, "") => Ok(Some(id.clone())),
        Some(_) => Err(Reason::TokenVerificationFailed),
    }
}

/// An optional text; empty counts as absent, as in Clerk's SDK.
fn text(claim: Option<&Value>) -> Result<Option<String>, Reason> {
    match claim {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if is_plain_text(text) => Ok(Some(text.clone())),
        Some(_) => Err(Reason::TokenVerificationFailed),
    }
}

/// Permissions become a header: one that could not be told apart from two refuses the token.
fn checked(permissions: Option<Vec<String>>) -> Result<Option<Vec<String>>, Reason> {
    match &permissions {
        Some(list) if !list.iter().all(|name| is_plain_text(name)) => Err(Reason::TokenVerificationFailed),
        _ => Ok(permissions),
    }
}

/// `admin`, `org:admin` and `org:org:admin` are one role.
fn with_prefix(role: &str) -> String {
    let mut bare = role;
    while let Some(rest) = bare.strip_prefix("org:") {
        bare = rest;
    }
    ["org:", bare].concat()
}

/// `o:a,u:b,ou:c`. Missing and empty are an empty list; an element without a scope makes all of it unreadable.
fn scoped(claim: Option<&Value>) -> Option<Scoped> {
    let mut by_scope = Scoped::default();
    let text = match claim {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) => text,
        Some(_) => return None,
    };
    for element in text.split(',').map(str::trim).filter(|_| !text.is_empty()) {
        let (scope, name) = element.split_once(':')?;
        if matches!(scope, "o" | "ou" | "uo") {
            by_scope.org.push(name.to_owned());
        }
        if matches!(scope, "u" | "ou" | "uo") {
            by_scope.user.push(name.to_owned());
        }
    }
    Some(by_scope)
}

/// Bit j of the i-th mask grants permission j of the i-th feature *of an organisation*. The documentation and two
/// SDKs count all features; Clerk's JavaScript SDK, which its own tests fix, counts these only.
fn permissions(org: &Map<String, Value>, features: &[String]) -> Option<Vec<String>> {
    let list = |name: &str| match org.get(name) {
        None | Some(Value::Null) => Some(""),
        Some(Value::String(text)) => Some(text.as_str()),
        Some(_) => None,
    };
    let (names, masks) = (list("per")?, list("fpm")?);
    if names.is_empty() || masks.is_empty() {
        return Some(Vec::new());
    }
    let names: Vec<&str> = names.split(',').map(str::trim).collect();
    let mut granted = Vec::new();
    for (feature, mask) in features.iter().zip(masks.split(',')) {
        let bits = Bits::parse(mask.trim(), names.len());
        for (at, name) in names.iter().enumerate() {
            if bits.is_set(at) {
                granted.push(["org:", feature, ":", name].concat());
            }
        }
    }
    Some(granted)
}

/// The low bits of a decimal number of any length.
#[derive(Default)]
struct Bits {
    /// Nearly all tokens need no more than these.
    low: u64,
    high: Vec<u64>,
}

impl Bits {
    /// Keeps `count` bits, rounded up; a text that is no decimal number has none.
    fn parse(decimal: &str, count: usize) -> Self {
        if decimal.is_empty() || !decimal.bytes().all(|b| b.is_ascii_digit()) {
            return Self::default();
        }
        let mut bits = Self { low: 0, high: vec![0; count.div_ceil(64).saturating_sub(1)] };
        for digit in decimal.bytes() {
            // times ten, plus the digit, modulo 2^(64 * words): higher bits never come back down
            let mut carry = u128::from(digit - b'0');
            for word in std::iter::once(&mut bits.low).chain(&mut bits.high) {
                let sum = u128::from(*word) * 10 + carry;
                *word = sum as u64;
                carry = sum >> 64;
            }
        }
        bits
    }

    fn is_set(&self, at: usize) -> bool {
        let word = match (at / 64).checked_sub(1) {
            None => Some(&self.low),
            Some(index) => self.high.get(index),
        };
        word.is_some_and(|word| word >> (at % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Org, Reason, Scoped, read, with_prefix};

    fn org(claims: Value) -> Result<Option<Org>, Reason> {
        let Value::Object(claims) = claims else { panic!("an object") };
        Ok(read(&claims)?.active)
    }

    fn granted(fea: &str, per: &str, fpm: &str) -> Option<Vec<String>> {
        let read = org(json!({"v": 2, "fea": fea, "o": {"id": "org_1", "rol": "admin", "per": per, "fpm": fpm}}));
        read.unwrap().unwrap().permissions
    }

    #[test]
    fn masks() {
        let table: &[(&str, &str, &str, &str, &[&str])] = &[
            (
                "documentation",
                "o:dashboard,o:teams",
                "manage,read",
                "3,2",
                &["dashboard:manage", "dashboard:read", "teams:read"],
            ),
            (
                "user features do not count",
                "o:r,u:d,uo:s,o:i",
                "read,manage",
                "2,3",
                &["r:manage", "s:read", "s:manage"],
            ),
            ("bits beyond the names", "o:a", "read", "255", &["a:read"]),
            ("2^64", "o:a", "read,write", "18446744073709551617", &["a:read"]),
            ("no number", "o:a,o:b", "read", "x,1", &["b:read"]),
            ("negative", "o:a", "read", "-1", &[]),
            ("fewer masks", "o:a,o:b", "read", "1", &["a:read"]),
            ("no masks", "o:a", "read", "", &[]),
            ("no names", "o:a", "", "1", &[]),
            ("spaces", " o:a , o:b ", " read , write ", " 1 , 2 ", &["a:read", "b:write"]),
        ];
        for (name, fea, per, fpm, expected) in table {
            let expected: Vec<String> = expected.iter().map(|p| format!("org:{p}")).collect();
            assert_eq!(granted(fea, per, fpm), Some(expected), "{name}");
        }
        assert_eq!(granted("a", "read", "1"), None, "an element without scope");
    }

    #[test]
    fn the_70th_bit() {
        let names: Vec<String> = (0..71).map(|n| format!("p{n}")).collect();
        let mask = (1_u128 << 70 | 1).to_string();
        assert_eq!(granted("o:a", &names.join(","), &mask).unwrap(), ["org:a:p0", "org:a:p70"]);
    }

    #[test]
    fn versions() {
        let table = [
            ("v1", json!({"org_id": "org_1", "org_role": "admin"}), Ok(Some(("org_1", Some("org:admin"))))),
            ("v1 without", json!({}), Ok(None)),
            ("v2", json!({"v": 2, "o": {"id": "org_1", "rol": "admin"}}), Ok(Some(("org_1", Some("org:admin"))))),
            ("v2 without", json!({"v": 2}), Ok(None)),
            ("v2 empty role", json!({"v": 2, "o": {"id": "org_1", "rol": ""}}), Ok(Some(("org_1", None)))),
            ("v as text", json!({"v": "2"}), Err(())),
            ("v 3", json!({"v": 3}), Err(())),
            ("v null", json!({"v": null}), Err(())),
            ("mixed in v2", json!({"v": 2, "o": {"id": "org_1"}, "org_id": "org_2"}), Err(())),
            ("mixed in v1", json!({"org_id": "org_2", "o": {"id": "org_1"}}), Err(())),
            ("o text", json!({"v": 2, "o": "org_1"}), Err(())),
            ("o array", json!({"v": 2, "o": ["org_1"]}), Err(())),
            ("o null", json!({"v": 2, "o": null}), Err(())),
            ("o empty", json!({"v": 2, "o": {}}), Err(())),
            ("id number", json!({"v": 2, "o": {"id": 1}}), Err(())),
            ("id with line", json!({"v": 2, "o": {"id": "org_1\r\nx: y"}}), Err(())),
            ("role with line", json!({"v": 2, "o": {"id": "org_1", "rol": "a\nb"}}), Err(())),
            ("role with NUL", json!({"v": 2, "o": {"id": "org_1", "rol": "a\u{0}"}}), Err(())),
            ("role turned around", json!({"v": 2, "o": {"id": "org_1", "rol": "a\u{202e}b"}}), Err(())),
            ("role with space", json!({"v": 2, "o": {"id": "org_1", "rol": " admin"}}), Err(())),
            ("role too long", json!({"v": 2, "o": {"id": "org_1", "rol": "a".repeat(5000)}}), Err(())),
            ("role a list", json!({"v": 2, "o": {"id": "org_1", "rol": ["admin"]}}), Err(())),
        ];
        for (name, claims, expected) in table {
            let expected = expected.map(|org| org.map(|(id, role)| (id.to_owned(), role.map(str::to_owned))));
            let read = org(claims).map(|org| org.map(|org| (org.id, org.role))).map_err(|_| ());
            assert_eq!(read, expected, "{name}");
        }
    }

    #[test]
    fn scopes() {
        let Value::Object(claims) = json!({"fea": "o:a, u:b,ou:c,uo:d:e,x:f", "pla": 7}) else { panic!("an object") };
        let read = read(&claims).unwrap();
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(read.features, Some(Scoped { org: list(&["a", "c", "d:e"]), user: list(&["b", "c", "d:e"]) }));
        assert_eq!(read.plans, None);
    }

    #[test]
    fn one_role_under_three_spellings() {
        for role in ["admin", "org:admin", "org:org:admin"] {
            assert_eq!(with_prefix(role), "org:admin");
        }
    }
}
