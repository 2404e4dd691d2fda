//! Which cases test something that crossgate does not have, and what that is.

use serde_json::Value;

use crate::case::Case;

/// Why a case cannot be replayed, if it cannot.
pub(crate) fn outside(case: &Case) -> Option<&'static str> {
    match case.function.as_str() {
        "verifyToken" | "verifyJwt" | "claimsToAuth" | "cookieSuffix" | "has" | "checkAuthorization" | "pathMatch"
        | "normalizePath" => None,
        "parsePublishableKey" => case.option("proxyUrl").map(|_| "Frontend API proxy"),
        "authenticateRequest" => request(case),
        "verifyMachineAuthToken" | "isMachineToken" | "isTokenTypeAccepted" => Some("machine tokens"),
        "verifyWebhook" => Some("webhooks"),
        "matchProxyPath" => Some("Frontend API proxy"),
        "clerkRequest" => Some("the SDK's own view of URL and cookies; requests are sanitized before"),
        other => panic!("unknown function {other}"),
    }
}

fn request(case: &Case) -> Option<&'static str> {
    let accepts_sessions = match case.option("acceptsToken") {
        None => true,
        Some(Value::String(one)) => one == "any" || one == "session_token",
        Some(Value::Array(list)) => list.iter().any(|kind| kind == "session_token"),
        Some(_) => false,
    };
    let machine = case
        .header("authorization")
        .is_some_and(|line| ["Bearer ak_", "Bearer mt_", "Bearer oat_"].iter().any(|prefix| line.starts_with(prefix)));
    if !accepts_sessions || (machine && case.option("acceptsToken").is_some_and(|kind| kind == "any")) {
        return Some("machine tokens");
    }
    let payload = case.test.contains("Handshake result")
        || case.id.starts_with("handshakeToken#")
        || (case.id.starts_with("handshake#") && ["nonce:", "token:"].iter().any(|kind| case.test.starts_with(kind)));
    payload.then_some("handshake payloads")
}
