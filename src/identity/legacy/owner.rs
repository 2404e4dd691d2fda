//! Whose credential it is, told by its content: the table of [the module's docs](super).
//!
//! Everything read here is unverified and only chooses who judges. A wrong guess costs nothing but the code of a 401,
//! since nobody's verifier accepts the other side's credentials.

use serde_json::Value;

use super::Kind;
use crate::identity::clerk::Instances;
use crate::identity::clerk::token::{Parts, is_opaque_machine_token};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Clerk,
    Legacy,
    /// Of neither: a foreign cookie.
    Nobody,
}

/// The only algorithm that Clerk signs with.
const CLERKS: &str = "RS256";

/// Whose the token of `Authorization: Bearer` is, where both sides look.
pub(super) fn of_bearer(token: &str, kind: &Kind, instances: &Instances) -> Owner {
    if instances.is_empty() {
        return Owner::Legacy;
    }
    let shape = Shape::read(token);
    if shape.is_clerks(token, instances) {
        return Owner::Clerk;
    }
    let Kind::Jwt(jwt) = kind else { return Owner::Legacy };
    let algorithm = shape.algorithm.as_deref();
    let is_legacys = shape.issuer.as_deref().is_some_and(|issuer| jwt.is_issuer(issuer))
        || algorithm.is_some_and(|algorithm| jwt.allows(algorithm));
    match algorithm {
        _ if is_legacys => Owner::Legacy,
        // Nobody else is known to sign so; and what has no form at all stays Clerk's, as it is without a legacy side.
        Some(CLERKS) => Owner::Clerk,
        None if !shape.has_header => Owner::Clerk,
        Some(_) | None => Owner::Legacy,
    }
}

/// Whose a value of the legacy side's own cookie is. Other products use any name, so that a value without a token's
/// form is nobody's where tokens are expected.
pub(super) fn of_cookie(value: &str, kind: &Kind, instances: &Instances) -> Owner {
    match kind {
        Kind::Jwt(_) if !Shape::read(value).has_header => Owner::Nobody,
        Kind::Jwt(_) => of_bearer(value, kind, instances),
        Kind::Asked(_) | Kind::Passthrough if value.is_empty() => Owner::Nobody,
        Kind::Asked(_) | Kind::Passthrough => of_bearer(value, kind, instances),
    }
}

/// Whose the value of the legacy side's own header is, where Clerk never looks.
pub(super) fn of_own_header(token: &str, instances: &Instances) -> Owner {
    let is_clerks = !instances.is_empty() && Shape::read(token).is_clerks(token, instances);
    if is_clerks { Owner::Clerk } else { Owner::Legacy }
}

/// Whether a bearer token has neither the form of a JWT nor that of Clerk's opaque ones.
pub(super) fn is_formless(token: &str) -> bool {
    !Shape::read(token).has_header && !is_opaque_machine_token(token)
}

/// Whether text that was found in an unusual place is a token of either side, so that it must not reach the API unproven.
/// Another product's token is none of ours, whatever its form.
pub(super) fn is_ours(token: &str, kind: &Kind, instances: &Instances) -> bool {
    let shape = Shape::read(token);
    let is_legacys = match kind {
        Kind::Jwt(jwt) => {
            shape.issuer.as_deref().is_some_and(|issuer| jwt.is_issuer(issuer))
                || shape.algorithm.as_deref().is_some_and(|algorithm| jwt.allows(algorithm))
        }
        // Whatever is a token may be one that their server knows.
        Kind::Asked(_) | Kind::Passthrough => true,
    };
    shape.has_header && (is_legacys || !instances.is_empty() && shape.is_clerks(token, instances))
}

/// What a token says of itself.
#[derive(Debug, Default)]
struct Shape {
    has_header: bool,
    algorithm: Option<String>,
    issuer: Option<String>,
}

impl Shape {
    fn read(token: &str) -> Self {
        let Ok(parts) = Parts::split(token) else { return Self::default() };
        let header = parts.header_members().ok();
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        Self {
            algorithm: text(header.as_ref().and_then(|members| members.get("alg"))),
            has_header: header.is_some(),
            issuer: text(parts.payload().ok().as_ref().and_then(|claims| claims.get("iss"))),
        }
    }

    fn is_clerks(&self, token: &str, instances: &Instances) -> bool {
        is_opaque_machine_token(token)
            || self.issuer.as_deref().is_some_and(|issuer| instances.by_issuer(issuer).is_some())
    }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;
