//! The usual slips: a list where one value is meant, `yes` for true, a key one level too high, words of other products.
//!
//! Called by `decode` for the help of a problem; decides nothing. A value is repeated only when it is one of a few words of
//! ours: others may be secrets.

use serde_yaml::Value;

use super::child;
use crate::config::places::Step;

/// What people write elsewhere, and the key that means it here.
const MEANT: &[(&str, &[&str])] = &[
    (
        "require",
        &["requires", "required", "rule", "rules", "authorize", "authorization", "allow", "policy", "condition"],
    ),
    ("access", &["auth", "authentication", "public", "visibility"]),
    ("upstream", &["backend", "service", "target", "origin"]),
    ("id", &["name", "route"]),
    ("routes", &["rules", "policies", "route"]),
    ("role", &["roles"]),
    ("permission", &["permissions", "perms"]),
    ("token", &["tokens", "token_type"]),
    ("org", &["organization", "organisation", "orgs", "tenant"]),
    ("path", &["url", "uri", "paths", "pattern", "prefix"]),
    ("method", &["methods", "verb", "verbs"]),
    ("host", &["hosts", "hostname", "domain"]),
    ("header", &["headers"]),
    ("endpoints", &["servers", "address", "addresses", "url", "hosts"]),
];

/// Keys that stand within another key of the same mapping.
const WITHIN: &[(&str, &str, &[&str])] = &[
    (
        "match",
        "match: { path: /invoices }",
        &["path", "method", "methods", "host", "header", "headers", "query", "url"],
    ),
    (
        "require",
        "require: { org: \"{org}\" }",
        &[
            "org",
            "role",
            "roles",
            "permission",
            "permissions",
            "workspace",
            "feature",
            "plan",
            "claim",
            "scope",
            "token",
            "reverified",
            "any",
            "all",
            "not",
        ],
    ),
];

/// Where an unknown key is at home.
pub(super) fn belongs(name: &str, known: &[String]) -> Option<String> {
    let is_known = |key: &str| known.iter().any(|known| known == key);
    let within = WITHIN.iter().find(|(key, _, names)| is_known(key) && is_known("id") && names.contains(&name));
    if let Some((key, example, _)) = within {
        return Some(format!("it belongs in `{key}`, as in {example}"));
    }
    // A near word is the better guess: `role` for `rols`.
    if super::near(name, known.iter().map(String::as_str)).is_some() {
        return None;
    }
    let meant = MEANT.iter().find(|(key, names)| is_known(key) && names.contains(&name));
    meant.map(|(key, _)| format!("did you mean `{key}`?"))
}

/// Help with a value of another type than is expected.
pub(super) fn help(message: &str, steps: &[Step], root: &Value, substituted: bool) -> Option<String> {
    let value = steps.iter().try_fold(root, |value, step| child(value, step));
    let text = value.and_then(Value::as_str).filter(|_| !substituted);
    let key = steps.iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    let in_list = matches!(steps.last(), Some(Step::Index(_)));
    let (expected, found) = message.strip_prefix("expected ")?.rsplit_once(", found ")?;
    let help = match (expected, found) {
        ("true or false", "text") => match text?.to_ascii_lowercase().as_str() {
            "yes" | "on" => "write true: to YAML 1.2 `yes` and `on` are text".to_owned(),
            "no" | "off" => "write false: to YAML 1.2 `no` and `off` are text".to_owned(),
            "true" | "false" => "take the quotes away".to_owned(),
            _ => "write true or false, without quotes".to_owned(),
        },
        ("true or false", "a number") => "write true or false".to_owned(),
        ("a whole number" | "a number" | "auto or a whole number", "text") => {
            let is_number = text.is_some_and(|text| text.parse::<f64>().is_ok());
            if is_number { "take the quotes away".to_owned() } else { return None }
        }
        ("a list", "a mapping") => match key? {
            "routes" => "begin each route with a dash: - id: …".to_owned(),
            key => format!("begin each item of `{key}` with a dash"),
        },
        ("a list", _) => format!("put it in brackets, as in {}: […]", key?),
        (_, "a list") if in_list => "a list within a list: take the inner brackets away".to_owned(),
        ("text", "a list") => "one value is meant here: take it out of the list".to_owned(),
        ("text", "a mapping") => "one text is meant here; quote it when it begins with a brace".to_owned(),
        (wanted, "a list") if wanted.contains("a mapping") => {
            "one mapping is meant here: take it out of the list".to_owned()
        }
        ("a mapping", "nothing" | "text" | "a number" | "true or false") => {
            format!("write its keys below `{}`, or in braces", key?)
        }
        _ => return None,
    };
    Some(help)
}
