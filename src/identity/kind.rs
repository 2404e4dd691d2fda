//! What a credential looks like by its content, in words for whoever explains. Believes nothing of it and shows none of
//! it but its issuer and its algorithm.

use super::checks::shown;
use super::clerk::Instances;
use super::clerk::token::{Parts, is_opaque_machine_token};

/// A few words about a text that travels where credentials do.
pub fn describe(text: &str, instances: &Instances) -> String {
    if is_opaque_machine_token(text) {
        return "one of Clerk's opaque machine tokens".to_owned();
    }
    let read = Parts::split(text).and_then(|parts| Ok((parts.header_members()?, parts.payload()?)));
    let Ok((header, claims)) = read else { return "no JWT".to_owned() };
    let issuer = claims.get("iss").and_then(|issuer| issuer.as_str()).unwrap_or_default();
    match instances.by_issuer(issuer) {
        Some((_, instance)) => format!("a JWT of Clerk instance {}, by its iss", instance.name),
        None => format!("a JWT, alg {}, iss {}", shown(header.get("alg")), shown(claims.get("iss"))),
    }
}
