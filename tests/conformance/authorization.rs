//! Clerk's `has()` out of the predicates that routes use: all that is asked must hold, and something must be asked.

use std::sync::Arc;

use crossgate::identity::clerk::{Checks, KeySet, KeySource};
use crossgate::identity::{Facts, Identity};
use crossgate::policy::{
    Level, PermissionName, Preset, Reverified, RoleName, ScopedName, Tri, feature_holds, permission_holds, plan_holds,
    reverified_holds, role_holds,
};
use serde_json::{Map, Value, json};

use crate::case::Case;
use crate::mint::Mint;
use crate::replay::{World, identity_of};

const ISSUER: &str = "https://clerk.example.com";
const NOW_S: i64 = 1_700_000_000;

pub(crate) fn replay(case: &Case, mint: &Mint) -> Result<(), String> {
    let claims = match (&case.claims, &case.auth) {
        (Some(claims), _) => claims.clone(),
        (None, Some(auth)) => claims_of(auth),
        (None, None) => return Err("neither claims nor auth".to_owned()),
    };
    let identity = identity(&claims, mint)?;
    let answers: Vec<bool> = case.has.iter().map(|asked| has(&identity.facts, asked)).collect();
    let org = identity.facts.org.as_ref();
    let got = json!({
        "has": answers,
        "orgId": org.map(|org| &org.id),
        "orgSlug": org.and_then(|org| org.slug.as_ref()),
        "orgRole": org.and_then(|org| org.role.as_ref()),
        "orgPermissions": org.and_then(|org| org.permissions.as_ref()),
        "factorVerificationAge": identity.facts.factor_ages,
    });
    subset(&case.expect, &got)
}

/// Sends these claims the whole way: as a token with whatever every token needs.
pub(crate) fn identity(claims: &Map<String, Value>, mint: &Mint) -> Result<Arc<Identity>, String> {
    let mut payload = claims.clone();
    for (name, prefix) in [("sub", "user_"), ("sid", "sess_")] {
        let id = claims.get(name).and_then(Value::as_str).unwrap_or("1");
        let id = id.strip_prefix(prefix).unwrap_or(id);
        payload.insert(name.to_owned(), json!(format!("{prefix}{id}")));
    }
    for (name, value) in
        [("iss", json!(ISSUER)), ("iat", json!(NOW_S)), ("nbf", json!(NOW_S)), ("exp", json!(NOW_S + 60))]
    {
        payload.insert(name.to_owned(), value);
    }
    let case: Case = serde_json::from_value(json!({
        "id": "", "test": "", "fn": "", "expect": {}, "tokens": {"T": {"payload": payload}},
    }))
    .map_err(|problem| problem.to_string())?;
    let token = mint.tokens(&case, &Map::new())["T"].as_str().unwrap_or("").to_owned();
    let keys = KeySource::Set(KeySet::from_pem(&mint.pem(false)).unwrap());
    let world = World::of(ISSUER, None, keys, Checks::default());
    identity_of(world.verify(&[("authorization", format!("Bearer {token}"))], NOW_S * 1000))
}

/// The auth object of a case, as the claims that would have given it.
fn claims_of(auth: &Map<String, Value>) -> Map<String, Value> {
    let mut claims = Map::new();
    let names = [
        ("userId", "sub"),
        ("orgId", "org_id"),
        ("orgRole", "org_role"),
        ("orgPermissions", "org_permissions"),
        ("features", "fea"),
        ("plans", "pla"),
        ("factorVerificationAge", "fva"),
    ];
    for (name, claim) in names {
        if let Some(value) = auth.get(name).filter(|value| !value.is_null()) {
            claims.insert(claim.to_owned(), value.clone());
        }
    }
    claims
}

fn has(facts: &Facts, asked: &Value) -> bool {
    let Some(asked) = asked.as_object() else { return false };
    !asked.is_empty() && asked.iter().all(|(name, value)| holds(facts, name, value) == Some(Tri::True))
}

/// `None`: asked for in a way that nobody can fulfil.
fn holds(facts: &Facts, name: &str, value: &Value) -> Option<Tri> {
    Some(match name {
        "role" => role_holds(facts, &RoleName::new(value.as_str()?)),
        "permission" => permission_holds(facts, &PermissionName::new(value.as_str()?)),
        "feature" => feature_holds(facts, &ScopedName::parse(value.as_str()?)?),
        "plan" => plan_holds(facts, &ScopedName::parse(value.as_str()?)?),
        "reverification" => {
            let asked = match value {
                Value::String(preset) => Preset::parse(preset)?.into(),
                custom => Reverified::new(
                    Level::parse(custom.get("level")?.as_str()?)?,
                    custom.get("afterMinutes")?.as_f64()?,
                )?,
            };
            reverified_holds(facts, &asked)
        }
        other => panic!("has() with {other}"),
    })
}

/// Whether every expected field is there: objects field by field, everything else by equality, `null` is absence.
pub(crate) fn subset(expected: &Value, got: &Value) -> Result<(), String> {
    let Value::Object(expected) = expected else { return Err("no object expected".to_owned()) };
    for (name, expected) in expected {
        let got = got.get(name).unwrap_or(&Value::Null);
        let equal = match (expected, got) {
            (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
            (a, b) => a == b || numbers(a).is_some_and(|numbers_of_a| Some(numbers_of_a) == numbers(b)),
        };
        if !equal {
            return Err(format!("{name}: expected {expected}, got {got}"));
        }
    }
    Ok(())
}

/// A list of numbers, whether they are written as integers or not.
fn numbers(value: &Value) -> Option<Vec<f64>> {
    value.as_array()?.iter().map(Value::as_f64).collect()
}
