//! The one table that turns refusals into answers: status, code, headers, body.
//!
//! A client learns a stable code and nothing else (the exact reason goes to the log and to `explain`); two bad
//! tokens that differ in what is wrong with them get the same bytes. Never writes to a connection itself.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use http::HeaderValue;
use serde::Serialize;

use super::decide::Refusal;
use crate::identity::Refusal as Unauthenticated;
use crate::policy::{self, ReverificationParams};
use crate::request::Oddity;
use crate::{request, route};

/// The stable codes of crossgate's own answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    BadRequest,
    BadPath,
    BadHeader,
    IdentityConflict,
    NoCredential,
    ClerkExpired,
    ClerkInvalid,
    LegacyInvalid,
    LegacySealed,
    Invalid,
    StepUpClerk,
    NoRoute,
    Forbidden,
    Reverification,
    UnmappedPrincipal,
    Csrf,
    BadMethod,
    RequestTimeout,
    TooLarge,
    UriTooLong,
    BadExpect,
    BadAuthority,
    HeadersTooLarge,
    Internal,
    UpstreamUnavailable,
    /// The same code with another status: nothing was tried.
    NoEndpoint,
    ClerkOutage,
    LegacyOutage,
    StaleKeys,
    AuditUnavailable,
    Overloaded,
    UpstreamTimeout,
}

/// Who could have avoided a denial. Only `server` may ever trip a guard: a stranger must not be able to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Client,
    Server,
}

impl Fault {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

impl Code {
    /// Number of codes; [`Code::index`] is below it.
    pub const COUNT: usize = Self::UpstreamTimeout as usize + 1;

    pub const fn index(self) -> usize {
        self as usize
    }

    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    pub const fn status(self) -> u16 {
        self.row().1
    }

    pub const fn title(self) -> &'static str {
        self.row().2
    }

    pub const fn fault(self) -> Fault {
        match self {
            Self::Internal
            | Self::UnmappedPrincipal
            | Self::UpstreamUnavailable
            | Self::NoEndpoint
            | Self::ClerkOutage
            | Self::LegacyOutage
            | Self::StaleKeys
            | Self::AuditUnavailable
            | Self::UpstreamTimeout => Fault::Server,
            _ => Fault::Client,
        }
    }

    /// The status that gRPC clients get (grpc.io, status codes): what they retry, and what they show, hangs on it.
    pub const fn grpc_status(self) -> u16 {
        match self {
            Self::BadRequest
            | Self::BadPath
            | Self::BadHeader
            | Self::IdentityConflict
            | Self::BadExpect
            | Self::UriTooLong => 3, // INVALID_ARGUMENT
            Self::RequestTimeout => 4, // DEADLINE_EXCEEDED
            Self::NoRoute | Self::Forbidden | Self::Reverification | Self::UnmappedPrincipal | Self::Csrf => 7, // PERMISSION_DENIED
            Self::TooLarge | Self::HeadersTooLarge => 8, // RESOURCE_EXHAUSTED
            Self::BadMethod | Self::BadAuthority => 12,  // UNIMPLEMENTED
            Self::Internal => 13,                        // INTERNAL
            Self::UpstreamUnavailable
            | Self::NoEndpoint
            | Self::ClerkOutage
            | Self::LegacyOutage
            | Self::StaleKeys
            | Self::AuditUnavailable
            | Self::Overloaded
            | Self::UpstreamTimeout => 14, // UNAVAILABLE
            Self::NoCredential
            | Self::ClerkExpired
            | Self::ClerkInvalid
            | Self::LegacyInvalid
            | Self::LegacySealed
            | Self::Invalid
            | Self::StepUpClerk => 16, // UNAUTHENTICATED
        }
    }

    /// Code, status, title.
    const fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::BadRequest => ("bad_request", 400, "the request is malformed"),
            Self::BadPath => ("bad_path", 400, "the path can be read in more than one way"),
            Self::BadHeader => ("bad_header", 400, "a header is malformed or ambiguous"),
            Self::IdentityConflict => ("identity_conflict", 400, "the credentials name two different people"),
            Self::NoCredential => ("no_credential", 401, "a credential is needed"),
            Self::ClerkExpired => ("clerk_expired", 401, "the session token has expired"),
            Self::ClerkInvalid => ("clerk_invalid", 401, "the session token is not valid"),
            Self::LegacyInvalid => ("legacy_invalid", 401, "the legacy credential is not valid"),
            Self::LegacySealed => ("legacy_sealed", 401, "the legacy credential is no longer accepted"),
            Self::Invalid => ("invalid", 401, "no valid credential was sent"),
            Self::StepUpClerk => ("step_up_clerk", 401, "a sign-in with Clerk is needed for this"),
            Self::NoRoute => ("no_route", 403, "nothing is served here"),
            Self::Forbidden => ("forbidden", 403, "not allowed"),
            Self::Reverification => ("reverification", 403, "a fresh verification is needed"),
            Self::UnmappedPrincipal => {
                ("unmapped_principal", 403, "the other login's name for this account is not known")
            }
            Self::Csrf => ("csrf", 403, "the request comes from another site"),
            Self::BadMethod => ("bad_method", 405, "the method is not allowed"),
            Self::RequestTimeout => ("request_timeout", 408, "the request took too long to arrive"),
            Self::TooLarge => ("too_large", 413, "the request body is too large"),
            Self::UriTooLong => ("uri_too_long", 414, "the request target is too long"),
            Self::BadExpect => ("bad_expect", 417, "the expectation is not understood"),
            Self::BadAuthority => ("bad_authority", 421, "this host is not served here"),
            Self::HeadersTooLarge => ("headers_too_large", 431, "the request headers are too large"),
            Self::Internal => ("internal", 500, "an internal error"),
            Self::UpstreamUnavailable => ("upstream_unavailable", 502, "the API cannot be reached"),
            Self::NoEndpoint => ("upstream_unavailable", 503, "the API is not available right now"),
            Self::ClerkOutage => ("clerk_outage", 503, "the session cannot be verified right now"),
            Self::LegacyOutage => ("legacy_outage", 503, "the legacy credential cannot be verified right now"),
            Self::StaleKeys => {
                ("jwks_stale_privileged", 503, "the session cannot be verified well enough for this right now")
            }
            Self::AuditUnavailable => ("audit_unavailable", 503, "the action cannot be recorded right now"),
            Self::Overloaded => ("overloaded", 503, "too many requests are being served right now"),
            Self::UpstreamTimeout => ("upstream_timeout", 504, "the API took too long to answer"),
        }
    }
}

impl Refusal {
    /// The code of the answer.
    pub fn code(&self) -> Code {
        match self {
            Self::Request(refusal) => match refusal {
                request::Refusal::Malformed(_) => Code::BadRequest,
                request::Refusal::Path(_) => Code::BadPath,
                request::Refusal::Header(_) => Code::BadHeader,
                request::Refusal::Method => Code::BadMethod,
                request::Refusal::BodyTooLarge => Code::TooLarge,
                request::Refusal::TargetTooLong => Code::UriTooLong,
                request::Refusal::Expect => Code::BadExpect,
                request::Refusal::HeadersTooLarge => Code::HeadersTooLarge,
            },
            Self::Route(refusal) => match refusal {
                route::Refusal::NoRoute => Code::NoRoute,
                route::Refusal::UnknownHost => Code::BadAuthority,
                route::Refusal::AnotherReading { .. } => Code::BadPath,
                route::Refusal::AmbiguousQuery | route::Refusal::Untolerated(Oddity::GetBody) => Code::BadRequest,
                route::Refusal::Untolerated(_) => Code::BadPath,
            },
            Self::Identity(refusal) => match refusal {
                Unauthenticated::NoCredential => Code::NoCredential,
                Unauthenticated::Expired => Code::ClerkExpired,
                Unauthenticated::Invalid { explicit: true, .. } => Code::ClerkInvalid,
                Unauthenticated::Invalid { explicit: false, .. } | Unauthenticated::Runner(_) => Code::Invalid,
                Unauthenticated::Unverifiable { .. } => Code::ClerkOutage,
                Unauthenticated::StaleKeys => Code::StaleKeys,
                Unauthenticated::LegacyInvalid { explicit: true, .. } => Code::LegacyInvalid,
                Unauthenticated::LegacyInvalid { explicit: false, .. } => Code::Invalid,
                Unauthenticated::LegacySealed => Code::LegacySealed,
                Unauthenticated::LegacyUnverifiable => Code::LegacyOutage,
                Unauthenticated::StepUp => Code::StepUpClerk,
                Unauthenticated::Conflict => Code::IdentityConflict,
                Unauthenticated::Ambiguous => Code::BadHeader,
                Unauthenticated::CrossSite => Code::Csrf,
            },
            Self::Policy(refusal) => match refusal {
                policy::Refusal::Forbidden { .. } => Code::Forbidden,
                policy::Refusal::Reverification(_) => Code::Reverification,
                policy::Refusal::Unmapped { .. } => Code::UnmappedPrincipal,
            },
            Self::Overloaded | Self::Unchecked => Code::Overloaded,
            Self::Audit => Code::AuditUnavailable,
            Self::Upstream(code) => *code,
        }
    }

    /// Who could have avoided it. A key that only a made-up name asks for is the client's doing, whatever the code says.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Identity(Unauthenticated::Unverifiable { held: true }) => Fault::Client,
            _ => self.code().fault(),
        }
    }

    /// The exact reason: for logs, `explain` and, in development, the answer. No secret, no byte of a token.
    pub fn reason(&self) -> String {
        match self {
            Self::Request(refusal) => refusal.reason().to_owned(),
            Self::Route(refusal) => refusal.to_string(),
            Self::Identity(refusal) => refusal.to_string(),
            Self::Policy(refusal) => refusal.to_string(),
            Self::Overloaded => "limits.in_flight is reached".to_owned(),
            Self::Unchecked => "too many bad signatures came from this address lately".to_owned(),
            Self::Audit => "the audit trail does not take the entry".to_owned(),
            Self::Upstream(code) => code.title().to_owned(),
        }
    }
}

/// The code that a refusal would have had without report mode.
pub fn reported_code(reported: &policy::Reported) -> Code {
    match reported {
        policy::Reported::Unauthenticated(refusal) => Refusal::Identity(refusal.clone()).code(),
        policy::Reported::Refused(refusal) => Refusal::Policy(refusal.clone()).code(),
    }
}

/// An answer that crossgate gives itself.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    /// Besides content type, length and `cache-control: no-store`.
    pub headers: Vec<(&'static str, HeaderValue)>,
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The answer to a refusal. `debug_reasons` is `endpoints.debug_reasons`.
pub fn answer(refusal: &Refusal, request_id: &str, debug_reasons: bool) -> Answer {
    let code = refusal.code();
    if let Refusal::Policy(policy::Refusal::Reverification(params)) = refusal {
        return reverification(params);
    }
    let mut answer = problem(code, request_id, debug_reasons.then(|| refusal.reason()));
    if code.status() == 401 {
        let challenge = match code {
            // RFC 6750 3.1: without a credential no error is named.
            Code::NoCredential => "Bearer",
            // RFC 9470: the credential is good, and not enough.
            Code::StepUpClerk => "Bearer error=\"insufficient_user_authentication\"",
            _ => "Bearer error=\"invalid_token\"",
        };
        answer.headers.push(("www-authenticate", HeaderValue::from_static(challenge)));
    }
    answer
}

/// The same for a gRPC client, which reads a status only from trailers: HTTP 200, and nothing but a head (trailers-only).
/// The message is the code, which needs no escaping.
pub fn grpc(refusal: &Refusal) -> Answer {
    let code = refusal.code();
    let mut headers = vec![
        ("grpc-status", HeaderValue::from(code.grpc_status())),
        ("grpc-message", HeaderValue::from_static(code.as_str())),
    ];
    headers.extend(retry_after(code, random()).map(|seconds| ("retry-after", HeaderValue::from(seconds))));
    Answer { status: 200, content_type: "application/grpc", body: Vec::new(), headers }
}

/// When to come back, in seconds; `random` is 0 to 1. In an outage of a login 10 to 60, since everybody meets it in the same
/// minute and would come back in the same second; 2 to 8 from what is over in a moment.
pub(super) fn retry_after(code: Code, random: f64) -> Option<u16> {
    let (least, most) = match code {
        Code::ClerkOutage | Code::LegacyOutage | Code::StaleKeys => (10, 60),
        _ if code.status() == 503 => (2, 8),
        _ => return None,
    };
    // Each second as likely as any other.
    let above = f64::from(most - least + 1) * random.clamp(0.0, 1.0);
    Some((least + above as u16).min(most))
}

/// The same for an answer that is 503 by other words than its code's.
pub(super) fn come_again(code: Code) -> u16 {
    retry_after(code, random()).or_else(|| retry_after(Code::Overloaded, random())).unwrap_or(8)
}

/// Evenly spread over 0..1. When to come back is no secret: the standard library's hash seeds are random enough.
pub(super) fn random() -> f64 {
    f64::from(RandomState::new().build_hasher().finish() as u32) / f64::from(u32::MAX)
}

/// Whether a request of this content type waits for a gRPC answer: `application/grpc` and its `+proto`, but not gRPC-Web,
/// whose clients read HTTP.
pub fn is_grpc(content_type: &[u8]) -> bool {
    const NAME: &[u8] = b"application/grpc";
    let Some((name, rest)) = content_type.split_at_checked(NAME.len()) else { return false };
    name.eq_ignore_ascii_case(NAME) && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
}

/// The answer for a code alone, where no step refused (upstream errors, bugs).
pub fn problem(code: Code, request_id: &str, reason: Option<String>) -> Answer {
    let body = Problem {
        r#type: "about:blank",
        title: code.title(),
        status: code.status(),
        code: code.as_str(),
        request_id,
        reason,
    };
    let mut headers = Vec::new();
    headers.extend(retry_after(code, random()).map(|seconds| ("retry-after", HeaderValue::from(seconds))));
    if code == Code::BadMethod {
        headers.push(("allow", HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")));
    }
    Answer {
        status: code.status(),
        content_type: "application/problem+json",
        body: serde_json::to_vec(&body).unwrap_or_default(),
        headers,
    }
}

/// Clerk's own body: its client helpers look for it and let the person verify again.
fn reverification(params: &ReverificationParams) -> Answer {
    let asked = match params {
        ReverificationParams::Preset(name) => serde_json::json!(name),
        ReverificationParams::Custom { level, after_minutes } => {
            // As JavaScript writes it: a whole number has no fraction.
            let whole = format!("{after_minutes}").parse::<u64>().ok();
            let minutes = whole.map_or_else(|| serde_json::json!(after_minutes), |whole| serde_json::json!(whole));
            serde_json::json!({ "level": level, "afterMinutes": minutes })
        }
    };
    let body = serde_json::json!({
        "clerk_error": {
            "type": "forbidden",
            "reason": "reverification-error",
            "metadata": { "reverification": asked },
        }
    });
    Answer {
        status: Code::Reverification.status(),
        content_type: "application/json",
        body: serde_json::to_vec(&body).unwrap_or_default(),
        headers: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, answer, grpc, is_grpc, problem, random, retry_after};
    use crate::gate::decide::Refusal;
    use crate::identity::{Reason, Refusal as Unauthenticated};

    #[test]
    fn bad_tokens_are_told_apart_by_nobody_outside() {
        let invalid = |reason| Refusal::Identity(Unauthenticated::Invalid { reason, explicit: true });
        let one = answer(&invalid(Reason::TokenInvalidSignature), "r", false);
        let two = answer(&invalid(Reason::KidMismatch), "r", false);
        assert_eq!((one.status, &one.body, &one.headers), (two.status, &two.body, &two.headers));
        assert_eq!(one.headers[0].1, "Bearer error=\"invalid_token\"");
    }

    #[test]
    fn what_the_client_cannot_mend_is_503_and_says_when_to_come_back() {
        let outage = answer(&Refusal::Identity(Unauthenticated::Unverifiable { held: false }), "r", false);
        assert_eq!(outage.status, 503);
        assert_eq!(outage.headers[0].0, "retry-after");
    }

    #[test]
    fn clients_come_back_one_after_the_other() {
        let table = [
            (Code::ClerkOutage, Some((10, 60))),
            (Code::LegacyOutage, Some((10, 60))),
            (Code::StaleKeys, Some((10, 60))),
            (Code::Overloaded, Some((2, 8))),
            (Code::NoEndpoint, Some((2, 8))),
            (Code::AuditUnavailable, Some((2, 8))),
            (Code::UpstreamUnavailable, None),
            (Code::ClerkExpired, None),
        ];
        for (code, bounds) in table {
            let (least, most) = (retry_after(code, 0.0), retry_after(code, 1.0));
            assert_eq!(least.zip(most), bounds, "{}", code.as_str());
            let Some((least, most)) = bounds else { continue };
            let seen: std::collections::BTreeSet<_> =
                (0..1000).filter_map(|n| retry_after(code, f64::from(n) / 1000.0)).collect();
            assert_eq!(seen.into_iter().collect::<Vec<_>>(), (least..=most).collect::<Vec<_>>(), "every second");
        }
        assert!((0..100).any(|_| random() < 0.5) && (0..100).any(|_| random() >= 0.5));
    }

    #[test]
    fn grpc_clients_get_trailers_only() {
        let refused = grpc(&Refusal::Identity(Unauthenticated::NoCredential));
        assert_eq!((refused.status, refused.content_type, refused.body.len()), (200, "application/grpc", 0));
        assert_eq!(refused.headers[0], ("grpc-status", "16".parse().unwrap()));
        assert_eq!(refused.headers[1], ("grpc-message", "no_credential".parse().unwrap()));
        let outage = grpc(&Refusal::Upstream(Code::UpstreamTimeout));
        assert_eq!(outage.headers[0], ("grpc-status", "14".parse().unwrap()));
        let table: [(&[u8], bool); 8] = [
            (b"application/grpc", true),
            (b"Application/gRPC+proto", true),
            (b"application/grpc; x=y", true),
            (b"application/grpc-web", false),
            (b"application/grpc-web+proto", false),
            (b"application/grpcs", false),
            (b"application/json", false),
            (b"", false),
        ];
        for (kind, expected) in table {
            assert_eq!(is_grpc(kind), expected, "{}", kind.escape_ascii());
        }
    }

    #[test]
    fn a_problem_names_code_and_request() {
        let body = String::from_utf8(problem(Code::NoRoute, "id-1", None).body).unwrap();
        assert_eq!(
            body,
            r#"{"type":"about:blank","title":"nothing is served here","status":403,"code":"no_route","request_id":"id-1"}"#
        );
    }
}
