//! `clerk`: the instances whose tokens count, with their keys and checks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use super::listen::{above_zero, time};
use super::probe::{self, Addresses};
use super::{at_most, missing, origin};
use crate::config::codes;
use crate::config::places::At;
use crate::config::raw;
use crate::config::report::Problem;
use crate::config::source::Files;
use crate::identity::clerk::{
    Checks, CookieRules, Csrf, InstanceSpec, KeySet, KeySource, KeyUrl, MissingAzp, PendingSessions, PublishableKey,
    PublishableKeyProblem, SetKind,
};

/// Each instance has its own task and its own connection.
const MAX: usize = 64;

pub(super) fn compile(
    raw: Option<Vec<raw::Clerk>>,
    has_legacy: bool,
    root: At<'_>,
    files: &mut Files,
    problems: &mut Vec<Problem>,
) -> Vec<InstanceSpec> {
    let at = root.key("clerk");
    let mut raw = raw.unwrap_or_default();
    at_most(MAX, &mut raw, at, problems);
    if raw.is_empty() && !at.has_gaps() && (at.is_written() || !has_legacy) {
        let help = "add an instance: clerk: [{ publishable_key: pk_live_… }], or a legacy side";
        missing(root, "clerk", help, problems);
    }
    let mut specs: Vec<InstanceSpec> = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let at = at.item(index);
        let Some(spec) = instance(raw, at, files, problems) else { continue };
        let place = if at.key("issuer").is_written() { at.key("issuer") } else { at.key("publishable_key") };
        if specs.iter().any(|other| other.issuer == spec.issuer) {
            let message = format!("another instance has the issuer {}", spec.issuer);
            let help = "instances are told apart by issuer: which keys and checks hold would depend on the order";
            problems.push(Problem::at(codes::INSTANCE_TWICE, place, message).help(help));
            continue;
        }
        if specs.iter().any(|other| other.name == spec.name) {
            let message = format!("another instance is named `{}`", spec.name);
            problems.push(Problem::at(codes::INSTANCE_TWICE, at.key("name"), message));
            continue;
        }
        specs.push(spec);
    }
    specs
}

fn instance(raw: raw::Clerk, at: At<'_>, files: &mut Files, problems: &mut Vec<Problem>) -> Option<InstanceSpec> {
    let raw::Clerk {
        name,
        publishable_key,
        issuer,
        jwks,
        probe,
        authorized_parties,
        missing_azp,
        audiences,
        clock_skew,
        pending_sessions,
        cookies,
    } = raw;
    let jwks = jwks.unwrap_or_default();
    let key = publishable_key.as_deref().and_then(|text| publishable(text, at.key("publishable_key"), problems));
    // With a private mirror or keys at hand, the issuer is a name and nothing is fetched from it unasked.
    let name_only = jwks.allow_private == Some(true) || jwks.file.is_some() || jwks.pem.is_some();
    let issuer: Option<Arc<str>> = match (issuer, &key) {
        (Some(text), _) => checked_issuer(&text, name_only, at.key("issuer"), problems),
        (None, Some(key)) => Some(key.issuer().into()),
        (None, None) => {
            // A key that could not be read has been told.
            if publishable_key.is_none() && !at.was_dropped("publishable_key") && !at.was_dropped("issuer") {
                problems.push(
                    Problem::at(codes::NO_ISSUER, at, "the instance has neither `publishable_key` nor `issuer`")
                        .help("the publishable key stands in Clerk's dashboard under API keys"),
                );
            }
            None
        }
    };
    let default_url = match (&key, &issuer) {
        (Some(key), _) => Some(key.jwks_url()),
        (None, Some(issuer)) => Some(format!("{}/.well-known/jwks.json", issuer.trim_end_matches('/'))),
        (None, None) => None,
    };
    let frontends =
        [key.as_ref().map(|key| format!("https://{}", key.frontend_api)), issuer.as_deref().map(str::to_owned)];
    let allow_private = jwks.allow_private == Some(true);
    let keys = key_source(jwks, default_url, &SetKind::Clerk, at, files, problems);
    let parties = parties(authorized_parties, at, problems);
    let raw::Cookies { enabled, csrf } = cookies.unwrap_or_default();
    let (issuer, keys) = (issuer?, keys?);
    let fetched = match &keys {
        KeySource::Url(source) => Some(&*source.url),
        KeySource::Set(_) => None,
    };
    let probe = probe::compile(probe, &Addresses { frontends, keys: fetched, allow_private }, at, problems);
    let host = issuer.split_once("://").map_or(&*issuer, |(_, host)| host);
    let name = name.unwrap_or_else(|| host.to_owned());
    if name.is_empty() {
        problems.push(Problem::at(codes::BAD_VALUE, at.key("name"), "a name of an instance cannot be empty"));
        return None;
    }
    Some(InstanceSpec {
        name: name.into(),
        publishable_key: key,
        keys,
        probe,
        checks: Checks {
            authorized_parties: parties,
            missing_azp: match missing_azp.unwrap_or(raw::DenyOrAllow::Deny) {
                raw::DenyOrAllow::Deny => MissingAzp::Deny,
                raw::DenyOrAllow::Allow => MissingAzp::Allow,
            },
            audiences: checked_audiences(audiences.unwrap_or_default(), at.key("audiences"), problems),
            clock_skew: skew(clock_skew, at.key("clock_skew"), problems),
            pending_sessions: match pending_sessions.unwrap_or(raw::DenyOrAllow::Deny) {
                raw::DenyOrAllow::Deny => PendingSessions::Deny,
                raw::DenyOrAllow::Allow => PendingSessions::Allow,
            },
        },
        cookies: CookieRules {
            enabled: enabled.unwrap_or(true),
            csrf: match csrf.unwrap_or(raw::Csrf::Enforce) {
                raw::Csrf::Enforce => Csrf::Enforce,
                raw::Csrf::Off => Csrf::Off,
            },
        },
        issuer,
    })
}

fn publishable(text: &str, at: At<'_>, problems: &mut Vec<Problem>) -> Option<PublishableKey> {
    let problem = match PublishableKey::parse(text) {
        Ok(key) => return Some(key),
        Err(problem) => problem,
    };
    let (message, help) = match problem {
        PublishableKeyProblem::Prefix if text.starts_with("sk_") => (
            "this is a secret key, not a publishable one",
            "it has no business here: take the one that begins with pk_, and rotate this one if the file was shared",
        ),
        PublishableKeyProblem::Prefix => {
            ("a publishable key begins with pk_live_ or pk_test_", "copy it from Clerk's dashboard, under API keys")
        }
        PublishableKeyProblem::Encoding | PublishableKeyProblem::Host => {
            ("this publishable key does not hold a host name", "copy it whole from Clerk's dashboard, under API keys")
        }
    };
    problems.push(Problem::at(codes::BAD_PUBLISHABLE_KEY, at, message).help(help));
    None
}

fn checked_issuer(text: &str, name_only: bool, at: At<'_>, problems: &mut Vec<Problem>) -> Option<Arc<str>> {
    let bad = |message: &str, help: &str| Problem::at(codes::BAD_ISSUER, at, message).help(help);
    match url(text) {
        Some(url) if url.https || name_only => return Some(text.into()),
        Some(_) => problems.push(bad(
            "an issuer must be an https URL",
            "http is for stand-ins: they need jwks.allow_private, jwks.file or jwks.pem",
        )),
        None => {
            problems.push(bad("this is no URL", "write it exactly as `iss` in the tokens: https://clerk.example.com"))
        }
    }
    None
}

fn parties(given: Option<Vec<String>>, at: At<'_>, problems: &mut Vec<Problem>) -> Vec<String> {
    let parties = given.unwrap_or_default();
    let list = at.key("authorized_parties");
    if parties.is_empty() && !list.has_gaps() && !at.was_dropped("authorized_parties") {
        problems.push(
            Problem::at(codes::NO_PARTIES, at, "without `authorized_parties`, tokens made for any page are accepted")
                .help("name the origins of your own pages: authorized_parties: [https://app.example.com]")
                .warning(),
        );
    }
    for (index, party) in parties.iter().enumerate() {
        origin::check(party, list.item(index), problems);
    }
    parties
}

fn checked_audiences(audiences: Vec<String>, at: At<'_>, problems: &mut Vec<Problem>) -> Vec<String> {
    for (index, audience) in audiences.iter().enumerate() {
        if audience.is_empty() || audience.trim() != audience {
            problems.push(
                Problem::at(codes::BAD_VALUE, at.item(index), "no token has such an audience")
                    .help("write it exactly as `aud` in the tokens"),
            );
        }
    }
    audiences
}

fn skew(given: Option<raw::Time>, at: At<'_>, problems: &mut Vec<Problem>) -> Duration {
    let skew = time(given, 5_000);
    if skew > Duration::from_secs(300) {
        problems.push(
            Problem::at(codes::OUT_OF_RANGE, at, "clock_skew must not be above 5m")
                .help("a session token lives for a minute: set the clocks right instead"),
        );
    }
    skew
}

/// `jwks` of the mapping `instance`.
pub(super) fn key_source(
    raw: raw::Jwks,
    default_url: Option<String>,
    kind: &SetKind,
    instance: At<'_>,
    files: &mut Files,
    problems: &mut Vec<Problem>,
) -> Option<KeySource> {
    let at = instance.key("jwks");
    let raw::Jwks { url, file, pem, refresh, max_stale, privileged_max_stale, allow_private } = raw;
    let sources = [url.is_some(), file.is_some(), pem.is_some()].into_iter().filter(|given| *given).count();
    if sources > 1 {
        let message = "keys come from one source only: `url`, `file` or `pem`";
        problems.push(Problem::at_span(codes::KEY_SOURCE, at.source, at.key_span(), message));
        return None;
    }
    if file.is_some() || pem.is_some() {
        let times = [
            ("refresh", refresh.is_some()),
            ("max_stale", max_stale.is_some()),
            ("privileged_max_stale", privileged_max_stale.is_some()),
        ];
        for (key, _) in times.into_iter().filter(|(_, given)| *given) {
            let message = format!("`{key}` has no effect: keys of a file or PEM are never fetched and never go stale");
            problems.push(Problem::at_span(codes::NO_EFFECT, at.source, at.key(key).key_span(), message).warning());
        }
    }
    if let Some(path) = file {
        return key_file(&path, kind, at.key("file"), files, problems);
    }
    if let Some(text) = pem {
        return key_pem(&text, kind, at.key("pem"), problems);
    }
    if ["url", "file", "pem"].into_iter().any(|key| at.was_dropped(key)) || instance.was_dropped("jwks") {
        return None;
    }
    let allow_private = allow_private.unwrap_or(false);
    let (url, place) = match url {
        Some(url) => (url, at.key("url")),
        None => (default_url?, if at.is_written() { at } else { instance }),
    };
    key_url(&url, allow_private, place, problems)?;
    let max_stale = above_zero(max_stale, 86_400_000, at.key("max_stale"), problems);
    Some(KeySource::Url(KeyUrl {
        url,
        refresh: refresh_every(refresh, max_stale, at, problems),
        max_stale,
        privileged_max_stale: above_zero(privileged_max_stale, 3_600_000, at.key("privileged_max_stale"), problems),
        allow_private,
        kind: kind.clone(),
    }))
}

/// Often enough that a set which can be fetched never goes stale, seldom enough for whoever serves it.
fn refresh_every(given: Option<raw::Time>, max_stale: Duration, jwks: At<'_>, problems: &mut Vec<Problem>) -> Duration {
    let refresh = time(given, 300_000);
    let key = jwks.key("refresh");
    let (place, help) = match key.is_written() {
        true => (key, None),
        false => (jwks.key("max_stale"), Some("refresh is 5m where it is not set".to_owned())),
    };
    let tell = |message: &str| Problem::at(codes::OUT_OF_RANGE, place, message);
    if refresh < Duration::from_secs(1) {
        problems.push(tell("refresh must be at least 1s"));
    } else if refresh > max_stale && !max_stale.is_zero() {
        problems.push(
            tell("keys would be stale before they are fetched again: refresh must not be above max_stale")
                .maybe_help(help),
        );
    }
    refresh
}

fn key_file(
    path: &str,
    kind: &SetKind,
    at: At<'_>,
    files: &mut Files,
    problems: &mut Vec<Problem>,
) -> Option<KeySource> {
    let bytes = match files.read(&at.source.resolve(path)) {
        Ok(bytes) => bytes,
        Err(unreadable) => {
            problems.push(Problem::at(unreadable.code, at, unreadable.message));
            return None;
        }
    };
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let set = match text.trim_start().starts_with("-----BEGIN") {
        true => KeySet::from_pem_of(text, kind),
        false => KeySet::parse_jwks_of(&bytes, kind),
    };
    key_set(set, at, problems)
}

fn key_pem(text: &str, kind: &SetKind, at: At<'_>, problems: &mut Vec<Problem>) -> Option<KeySource> {
    if !text.contains("-----BEGIN") {
        problems.push(
            Problem::at(codes::BAD_KEYS, at, "`pem` is the text of a public key itself")
                .help("write it after `pem: |`, or use `file` for a path"),
        );
        return None;
    }
    key_set(KeySet::from_pem_of(text, kind), at, problems)
}

fn key_set(
    set: Result<KeySet, crate::identity::clerk::KeySetProblem>,
    at: At<'_>,
    problems: &mut Vec<Problem>,
) -> Option<KeySource> {
    match set {
        Ok(set) => {
            if set.leaked {
                let message = "these keys come with their private part: whoever reads it can make tokens";
                problems.push(Problem::at(codes::BAD_KEYS, at, message).warning());
            }
            Some(KeySource::Set(set))
        }
        Err(problem) => {
            problems.push(Problem::at(codes::BAD_KEYS, at, format!("these keys cannot be used: {problem}")));
            None
        }
    }
}

fn key_url(text: &str, allow_private: bool, at: At<'_>, problems: &mut Vec<Problem>) -> Option<()> {
    let bad = |message: &str| Problem::at(codes::KEY_URL, at, message);
    let Some(url) = url(text) else {
        problems.push(bad("this is no URL").help("write https://host/path"));
        return None;
    };
    let help = "allow_private: true permits it, for stand-ins and internal mirrors";
    if !allow_private && !url.https {
        problems.push(bad("a key set must be fetched over https").help(help));
        return None;
    }
    if !allow_private && url.private {
        problems.push(bad("a key set must not be fetched from a private address").help(help));
        return None;
    }
    Some(())
}

pub(super) struct Url {
    pub(super) https: bool,
    /// A loopback, private or local address, written as such.
    pub(super) private: bool,
}

/// An absolute http URL without user, query and fragment.
pub(super) fn url(text: &str) -> Option<Url> {
    let uri: Uri = text.parse().ok()?;
    let authority = uri.authority()?;
    let plain = !authority.as_str().contains('@') && uri.query().is_none() && !text.contains('#');
    let https = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let private = match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => is_private_v4(address),
        Ok(IpAddr::V6(address)) => is_private_v6(address),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    };
    (plain && !host.is_empty()).then_some(Url { https, private })
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || (a == 100 && (64..128).contains(&b))
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    address.is_loopback()
        || address.is_unspecified()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || address.to_ipv4_mapped().is_some_and(is_private_v4)
}
