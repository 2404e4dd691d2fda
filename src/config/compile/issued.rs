//! Tokens that crossgate makes: `legacy.mint`, `identity.assertion`, and which upstream gets them
//! (`credentials.authorization`, `credentials.legacy_token`).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::clerk::url;
use super::identity::Identity;
use super::listen::time;
use super::upstream::Upstreams;
use super::{header, missing};
use crate::clock;
use crate::config::codes;
use crate::config::decode::near;
use crate::config::places::At;
use crate::config::raw;
use crate::config::report::Problem;
use crate::config::source::Files;
use crate::identity::legacy::{HmacAlgorithm, Secret};
use crate::issuer::{
    Algorithm, Assertion, AssertionSpec, Claims, KeyProblem, MintSpec, Ring, Schedule, SigningKey, TemplateProblem,
    Time,
};
use crate::snapshot::Snapshot;
use crate::upstream::{InAuthorization, Puts, TokenPlace};

/// Shorter, and clocks that differ make every token bad; longer, and it outlives the session that it was made for.
const TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(3600);
/// What verifiers are known to keep a key set for.
const USUAL_CACHE: Duration = Duration::from_secs(600);

/// `legacy.mint`.
pub(super) fn mint(
    raw: Option<raw::Mint>,
    identity: &Identity,
    root: At<'_>,
    files: &mut Files,
    problems: &mut Vec<Problem>,
) -> Option<MintSpec> {
    let at = root.key("legacy").key("mint");
    let raw::Mint { algorithm, key_file, kid, ttl, issuer, audience, claims } = raw?;
    let algorithm = match algorithm.unwrap_or(raw::MintAlgorithm::Hs256) {
        raw::MintAlgorithm::Hs256 => Algorithm::Hmac(HmacAlgorithm::Hs256),
        raw::MintAlgorithm::Hs384 => Algorithm::Hmac(HmacAlgorithm::Hs384),
        raw::MintAlgorithm::Hs512 => Algorithm::Hmac(HmacAlgorithm::Hs512),
        raw::MintAlgorithm::Rs256 => Algorithm::Rs256,
        raw::MintAlgorithm::Es256 => Algorithm::Es256,
    };
    let key = match key_file {
        Some(path) => signing_key(&path, algorithm, at.key("key_file"), files, problems),
        None => {
            missing(at, "key_file", "name the key that the API verifies its tokens by: key_file: …", problems);
            None
        }
    };
    let mut tell = |at: At<'_>, message: &str, help: &str| {
        problems.push(Problem::at(codes::BAD_VALUE, at, message).help(help));
    };
    if kid.as_deref().is_some_and(|kid| kid.is_empty() || kid.len() > 200 || !kid.bytes().all(|b| b.is_ascii_graphic()))
    {
        tell(at.key("kid"), "a kid is one word of visible ASCII", "write what the API looks its keys up by");
    }
    if issuer.as_deref().is_some_and(str::is_empty) {
        tell(at.key("issuer"), "an issuer cannot be empty", "leave it out, or write `iss`");
    }
    let raw::OneOrMany(audience) = audience.unwrap_or(raw::OneOrMany(Vec::new()));
    if audience.iter().any(String::is_empty) {
        tell(at.key("audience"), "an audience cannot be empty", "write it exactly as the API expects `aud`");
    }
    let ttl = life(ttl, at, problems);
    let place = at.key("claims");
    let raw::Named(claims) = claims.unwrap_or_default();
    if claims.is_empty() && !place.lost_keys() {
        let help = "say what the API's tokens hold: claims: { sub: \"{legacy_user}\" }";
        missing(at, "claims", help, problems);
    }
    for (index, (name, value)) in claims.iter().enumerate() {
        let time = Claims::is_time(value);
        let key = match name.as_str() {
            // In another form, but never another time: a token without an end never ends.
            "exp" if time == Some(Time::Expires) => continue,
            "iat" | "nbf" if time == Some(Time::Issued) => continue,
            "exp" | "iat" | "nbf" => "ttl",
            "iss" if issuer.is_some() => "issuer",
            "aud" if !audience.is_empty() => "audience",
            _ => continue,
        };
        let message = format!("`{name}` is set by `{key}`");
        let claim = place.nth(index);
        let problem = Problem::at_span(codes::CLAIM_TEMPLATE, claim.source, claim.key_span(), message);
        problems.push(problem.maybe_help(match name.as_str() {
            "exp" => Some("for another form of it: exp: \"{expires_at:ms}\"".to_owned()),
            "iat" | "nbf" => Some(format!("for the time at which the token is signed: {name}: \"{{issued_at:int}}\"")),
            _ => None,
        }));
    }
    let claims = Claims::compile(claims, |index, why| {
        let problem = Problem::at(codes::CLAIM_TEMPLATE, place.nth(index), why.to_string());
        problems.push(match template_help(&why) {
            Some(help) => problem.help(help),
            None => problem,
        });
    });
    fillable(&claims, identity, root, place, problems);
    Some(MintSpec {
        key: key?,
        kid: kid.map(Into::into),
        ttl,
        issuer: issuer.map(Into::into),
        audience,
        claims,
        roles: identity.roles.clone(),
    })
}

/// Whether there is anybody of whom the templates' fields are known. Without, everybody would be refused.
fn fillable(claims: &Claims, identity: &Identity, root: At<'_>, at: At<'_>, problems: &mut Vec<Problem>) {
    let linking = &identity.linking;
    let at_identity = root.key("identity");
    let lost =
        |key: &str| root.was_dropped("identity") || at_identity.was_dropped(key) || at_identity.key(key).lost_keys();
    let mut tell = |message: &str, help: &str| {
        problems.push(Problem::at(codes::CLAIM_TEMPLATE, at, message).help(help));
    };
    if claims.needs("role") && identity.roles.is_empty() && !lost("roles") {
        let help = "add identity: { roles: { \"org:admin\": [admin] } }, or use {clerk_role}";
        tell("`{role}` is a role of the legacy side, and no role of Clerk's means one", help);
    }
    if claims.needs("legacy_user") && linking.map.is_none() && linking.claim.is_none() && !lost("map") {
        let help = "add identity: { map: { file: map.jsonl } }, or { claim: … }, or use {clerk_user}";
        tell("`{legacy_user}` is known of nobody who comes with Clerk", help);
    }
    if claims.needs("legacy_org") && !identity.has_legacy_orgs && linking.map.is_none() && !lost("map") {
        let help = "add identity: { map: { file: map.jsonl } }, or use {org}, or {legacy_org?} to leave it out";
        tell("`{legacy_org}` is known of nobody who comes with Clerk", help);
    }
}

fn template_help(why: &TemplateProblem) -> Option<String> {
    Some(match why {
        TemplateProblem::Unbalanced => "write {{ and }} for braces that are meant".to_owned(),
        TemplateProblem::UnknownField(name) => match near(name, TemplateProblem::fields()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}, claims.…", TemplateProblem::fields().join(", ")),
        },
        TemplateProblem::UnknownKind(_) => {
            "`int` is the only one, as in {legacy_user:int}; times have `ms`, too".to_owned()
        }
        TemplateProblem::NotAlone(_) => "make it the whole value of its claim".to_owned(),
        TemplateProblem::NoKinds(_) | TemplateProblem::ListAsNumber(_) | TemplateProblem::TooDeep => return None,
    })
}

fn signing_key(
    path: &str,
    algorithm: Algorithm,
    at: At<'_>,
    files: &mut Files,
    problems: &mut Vec<Problem>,
) -> Option<SigningKey> {
    let bytes = match files.read(&at.source.resolve(path)) {
        Ok(bytes) => bytes,
        Err(unreadable) => {
            problems.push(Problem::at(unreadable.code, at, unreadable.message));
            return None;
        }
    };
    let mut tell = |code, message: &str, help: &str| problems.push(Problem::at(code, at, message).help(help));
    let Algorithm::Hmac(hmac) = algorithm else {
        return match SigningKey::from_pem(algorithm, &bytes) {
            Ok(key) => Some(key),
            Err(why) => {
                let help = match (why, algorithm) {
                    (KeyProblem::Unfit, Algorithm::Es256) => "ES256 takes a P-256 key, RS256 an RSA key",
                    (KeyProblem::Unfit, _) => "RS256 takes an RSA key of 2048 bits or more, ES256 a P-256 key",
                    (KeyProblem::Encrypted, _) => "write it without a password, readable by crossgate alone",
                    _ => "PEM is needed: the text that begins with BEGIN PRIVATE KEY",
                };
                tell(codes::SIGNING_KEY, &why.to_string(), help);
                None
            }
        };
    };
    match Secret::from_file("mint".into(), &bytes) {
        Ok(secret) => {
            if secret.is_weak_for(hmac) {
                let (bytes, name) = (hmac.hash_bytes(), hmac.as_str());
                let message = format!("this secret has fewer than the {bytes} bytes that {name} asks for");
                let help =
                    "whoever has one token can guess a short secret, and then sign; make one with `openssl rand`";
                problems.push(Problem::at(codes::WEAK_SECRET, at, message).help(help).warning());
            }
            Some(SigningKey::hmac(hmac, &secret))
        }
        Err(why) => {
            let help = "HS256, HS384 and HS512 take the secret's own bytes; a private key serves RS256 and ES256";
            tell(codes::SIGNING_KEY, &why.to_string(), help);
            None
        }
    }
}

/// Reads the keys that are there.
pub(super) fn read_keys(ring: &Ring, at: At<'_>, problems: &mut Vec<Problem>) {
    let place = if at.key("keys_dir").is_written() { at.key("keys_dir") } else { at };
    if let Err(problem) = ring.read(clock::now()) {
        let help = "keys are made by crossgate: remove the file if it is none of them";
        let told = Problem::at(codes::SIGNING_KEY, place, problem.to_string());
        // Operators read the config as somebody else; the service itself ends its start for it.
        problems.push(if problem.is_denied { told.warning() } else { told.help(help) });
    }
    if let Some(problem) = ring.exposed() {
        let help = "chmod 600 its files and 700 the folder; if others had a look: crossgate keys rotate --now";
        problems.push(Problem::at(codes::SECRET_OPEN, place, problem.to_string()).help(help).warning());
    }
}

fn life(given: Option<raw::Time>, at: At<'_>, problems: &mut Vec<Problem>) -> Duration {
    let ttl = time(given, 60_000);
    if !TTL.contains(&ttl) || ttl.subsec_millis() != 0 {
        problems.push(Problem::at(codes::OUT_OF_RANGE, at.key("ttl"), "ttl must be whole seconds, 5s to 1h"));
    }
    ttl
}

/// What an assertion is compiled beside.
pub(super) struct Beside<'a> {
    pub(super) state_dir: &'a Path,
    pub(super) prefix: &'a str,
    pub(super) previous: Option<&'a Snapshot>,
}

/// `identity.assertion`. Its keys are read here and made when the config is taken into use.
pub(super) fn assertion(
    raw: Option<raw::Assertion>,
    beside: &Beside<'_>,
    root: At<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Arc<Assertion>> {
    let at = root.key("identity").key("assertion");
    let raw::Assertion { enabled, issuer, audience, algorithm, ttl, keys_dir, rotate, overlap } = raw?;
    if enabled != Some(true) {
        return None;
    }
    let issuer = match issuer {
        Some(text) if url(&text).is_some() && !text.contains(char::is_whitespace) => Some(text),
        Some(_) => {
            let help = "write the URL under which verifiers find crossgate, as in https://gate.internal/.crossgate";
            problems.push(Problem::at(codes::ASSERTION, at.key("issuer"), "this issuer is no URL").help(help));
            None
        }
        None => {
            missing(at, "issuer", "say who speaks: issuer: https://gate.internal", problems);
            None
        }
    };
    let audience = match audience {
        Some(text) if text.is_empty() || text.chars().any(char::is_control) => {
            problems.push(Problem::at(codes::ASSERTION, at.key("audience"), "no API takes such an audience"));
            None
        }
        Some(text) => Some(text),
        None => {
            missing(at, "audience", "say who is meant: audience: app; without one, other APIs take it too", problems);
            None
        }
    };
    let ttl = life(ttl, at, problems);
    let algorithm = match algorithm.unwrap_or(raw::AssertionAlgorithm::Es256) {
        raw::AssertionAlgorithm::Es256 => Algorithm::Es256,
        raw::AssertionAlgorithm::Rs256 => Algorithm::Rs256,
    };
    let overlap = time(overlap, 900_000);
    let raw::Lasting(rotate) = rotate.unwrap_or(raw::Lasting(Some(Duration::from_secs(30 * 24 * 3600))));
    if overlap < Duration::from_secs(1) {
        problems.push(Problem::at(codes::OUT_OF_RANGE, at.key("overlap"), "overlap must be at least 1s"));
    } else if overlap <= USUAL_CACHE {
        let message =
            "verifiers keep a key set for 10 minutes, and would meet signatures by keys that they have not seen";
        let help = "make overlap 15m, or longer than your verifiers' caches";
        problems.push(Problem::at(codes::SHORT_OVERLAP, at.key("overlap"), message).help(help).warning());
    }
    if rotate.is_some_and(|rotate| rotate < overlap * 3) {
        let message = "rotate must be at least three times overlap";
        problems.push(Problem::at(codes::OUT_OF_RANGE, at.key("rotate"), message));
    }
    let folder = keys_dir.map_or_else(|| beside.state_dir.join("keys"), |path| at.source.resolve(&path));
    let previous = beside.previous.and_then(|snapshot| snapshot.assertion.as_ref());
    let ring = match previous.filter(|previous| previous.keys_dir() == folder) {
        Some(previous) => Arc::clone(previous.ring()),
        None => Arc::new(Ring::new(folder)),
    };
    read_keys(&ring, at, problems);
    let schedule = Schedule { algorithm, rotate, overlap, ttl };
    let spec = AssertionSpec {
        issuer: issuer?.into(),
        audience: audience?.into(),
        ttl,
        schedule,
        prefix: beside.prefix.into(),
    };
    // The same assertions go on: a reload is no reason for other bytes.
    match previous.filter(|previous| previous.is_of(&spec, &ring)) {
        Some(previous) => Some(Arc::clone(previous)),
        None => Some(Arc::new(Assertion::new(spec, ring))),
    }
}

/// What an upstream says about tokens of crossgate's own.
pub(super) fn puts(
    authorization: Option<raw::InAuthorization>,
    legacy_token: Option<raw::TokenPlace>,
    at: At<'_>,
    problems: &mut Vec<Problem>,
) -> Puts {
    let authorization = match authorization {
        None | Some(raw::InAuthorization::None) => InAuthorization::None,
        Some(raw::InAuthorization::Assertion) => InAuthorization::Assertion,
        Some(raw::InAuthorization::LegacyToken) => InAuthorization::LegacyToken,
    };
    Puts {
        authorization,
        legacy_token: legacy_token.and_then(|raw| token_place(raw, at.key("legacy_token"), problems)),
    }
}

fn token_place(raw: raw::TokenPlace, at: At<'_>, problems: &mut Vec<Problem>) -> Option<TokenPlace> {
    match (raw.header, raw.cookie) {
        (Some(name), None) => header::to_put(&name, at.key("header"), problems).map(TokenPlace::Header),
        (None, Some(name)) if super::legacy::is_cookie_name(&name) => Some(TokenPlace::Cookie(name.into())),
        (None, Some(_)) => {
            let help = "write it exactly as the API reads it, without `=` and spaces, and no name of crossgate's own";
            problems.push(Problem::at(codes::ISSUED_CREDENTIAL, at.key("cookie"), "this is no cookie name").help(help));
            None
        }
        (None, None) if at.lost_keys() => None,
        _ => {
            let help = "write { header: x-api-token } or { cookie: session }";
            problems.push(Problem::at(codes::ISSUED_CREDENTIAL, at, "a token travels in one place").help(help));
            None
        }
    }
}

/// The headers in which APIs look for a minted token: nobody else may send them, but for the legacy side's own.
pub(super) fn reserved(upstreams: &Upstreams, legacy: Option<&raw::Legacy>) -> Vec<HeaderName> {
    let own = legacy.and_then(|legacy| legacy.credential.as_ref()).and_then(|credential| credential.header.as_deref());
    let own: Option<HeaderName> = own.and_then(|name| name.parse().ok());
    let places = upstreams.specs.iter().filter_map(|spec| match &spec.puts.legacy_token {
        Some(TokenPlace::Header(name)) => Some(name.clone()),
        Some(TokenPlace::Cookie(_)) | None => None,
    });
    places.filter(|name| Some(name) != own.as_ref()).collect()
}

/// Where legacy credentials come when nothing else is said.
pub(super) fn travels_in_authorization(legacy: &raw::Legacy) -> bool {
    legacy.credential.as_ref().is_none_or(|credential| match &credential.header {
        Some(name) => name.eq_ignore_ascii_case("authorization"),
        None => credential.cookie.is_none(),
    })
}

/// What there is to be put into requests.
#[derive(Clone, Copy)]
pub(super) struct Made {
    pub(super) mint: bool,
    pub(super) assertion: bool,
    /// Legacy credentials come in `Authorization`.
    pub(super) legacy_in_authorization: bool,
}

/// Whether upstreams get what is made, and only that.
pub(super) fn beside_upstreams(
    upstreams: &Upstreams,
    made: Made,
    names: &crate::identity::HeaderNames,
    root: At<'_>,
    problems: &mut Vec<Problem>,
) {
    let at_mint = root.key("legacy").key("mint");
    let lost_mint = root.was_dropped("legacy") || root.key("legacy").was_dropped("mint") || at_mint.is_written();
    let lost_assertion = root.was_dropped("identity") || root.key("identity").was_dropped("assertion");
    let at_assertion = root.key("identity").key("assertion");
    for (index, spec) in upstreams.specs.iter().enumerate() {
        let at = root.key("upstreams").nth(index).key("credentials");
        let tell = |problems: &mut Vec<Problem>, key: &str, message: &str, help: &str| {
            problems.push(Problem::at(codes::ISSUED_CREDENTIAL, at.key(key), message).help(help));
        };
        if spec.puts.legacy_tokens() && !made.mint && !lost_mint {
            let key = if spec.puts.legacy_token.is_some() { "legacy_token" } else { "authorization" };
            let help = "say how it is made: legacy: { mint: { key_file: …, claims: { … } } }";
            tell(problems, key, "nothing makes a legacy token", help);
        }
        let is_asserted = spec.puts.authorization == InAuthorization::Assertion;
        // One that is written and broken was told.
        if is_asserted && !made.assertion && !lost_assertion && !at_assertion.key("enabled").is_written() {
            let help = "turn it on: identity: { assertion: { enabled: true, issuer: …, audience: … } }";
            tell(problems, "authorization", "nothing makes an assertion", help);
        }
        if is_asserted && made.legacy_in_authorization && spec.forward.legacy && at.key("forward").is_written() {
            let message = "the assertion takes the place of people's legacy tokens, which are not forwarded";
            let help = "leave out `authorization` (x-crossgate-assertion is there anyway), or write forward: []";
            let problem = Problem::at(codes::NO_EFFECT, at.key("authorization"), message);
            problems.push(problem.help(help).warning());
        }
        if let Some(TokenPlace::Header(name)) = &spec.puts.legacy_token
            && names.is_twin(name)
        {
            tell(
                problems,
                "legacy_token",
                "an identity header travels under this name",
                "choose the name that the API reads",
            );
        }
    }
    if made.mint && !upstreams.specs.iter().any(|spec| spec.puts.legacy_tokens()) {
        let help = "add credentials: { authorization: legacy_token } to the upstream that checks these tokens";
        let problem =
            Problem::at_span(codes::NO_EFFECT, at_mint.source, at_mint.key_span(), "no upstream gets minted tokens");
        problems.push(problem.help(help).warning());
    }
}
