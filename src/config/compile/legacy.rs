//! `legacy`: where the other login's credentials travel and how they are verified.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::clerk::{key_source, url};
use super::identity::claim_path;
use super::listen::time;
use super::{at_most, missing};
use crate::config::codes;
use crate::config::places::At;
use crate::config::raw;
use crate::config::report::Problem;
use crate::config::source::Files;
use crate::identity::clerk::{InstanceSpec, KeyAlgorithm, KeySource, SetKind};
use crate::identity::legacy::{
    Algorithm, Carriers, Claims, ClientCredentials, ForwardSpec, HeaderCarrier, HmacAlgorithm, IntrospectionSpec,
    JwtSpec, NamedHeaders, Passthrough, Secret, Spec, Verify,
};
use crate::request::fold::Reserved;
use crate::request::{ARM_COOKIE, CredentialLine};

/// Each is tried with a token that names none.
const MAX_SECRETS: usize = 16;
/// Longer, and a revoked credential is believed for longer than anybody expects.
const MAX_CACHE: Duration = Duration::from_secs(300);

/// What the legacy side is compiled beside.
pub(super) struct Beside<'a> {
    pub(super) instances: &'a [InstanceSpec],
    pub(super) reserved: &'a Reserved,
}

pub(super) fn compile(
    raw: Option<raw::Legacy>,
    beside: &Beside<'_>,
    root: At<'_>,
    files: &mut Files,
    problems: &mut Vec<Problem>,
) -> Option<Spec> {
    // What is minted is `issued`'s.
    let raw::Legacy { credential, verify, mint: _ } = raw?;
    let at = root.key("legacy");
    let mut legacy = Legacy { files, problems };
    let carriers = legacy.carriers(credential, beside.reserved, at);
    let verify = legacy.verify(verify, at);
    let (carriers, verify) = (carriers?, verify?);
    legacy.beside_clerk(&verify, beside.instances, at);
    Some(Spec { carriers, verify })
}

struct Legacy<'p> {
    files: &'p mut Files,
    problems: &'p mut Vec<Problem>,
}

impl Legacy<'_> {
    fn carriers(
        &mut self,
        raw: Option<raw::LegacyCredential>,
        reserved: &Reserved,
        legacy: At<'_>,
    ) -> Option<Carriers> {
        let at = legacy.key("credential");
        if legacy.was_dropped("credential") || ["header", "scheme", "cookie"].iter().any(|key| at.was_dropped(key)) {
            return None;
        }
        let raw::LegacyCredential { header, scheme, cookie } = raw.unwrap_or_default();
        // A cookie alone is a cookie alone.
        let name = match (header, &scheme, &cookie) {
            (Some(name), ..) => Some(name),
            (None, None, Some(_)) => None,
            (None, ..) => Some("authorization".to_owned()),
        };
        let cookie = cookie.map(|name| self.cookie_name(name, at.key("cookie")));
        let header = name.map(|name| self.header(&name, scheme, reserved, at));
        // What is written and cannot be used is a problem, not an absence.
        let header = header.map_or(Some(None), |header| header.map(Some));
        let cookie = cookie.map_or(Some(None), |cookie| cookie.map(Some));
        Some(Carriers { header: header?, cookie: cookie? })
    }

    fn header(&mut self, name: &str, scheme: Option<String>, reserved: &Reserved, at: At<'_>) -> Option<HeaderCarrier> {
        let place = at.key("header");
        let scheme = match scheme {
            None => None,
            Some(scheme) if is_token(&scheme) => Some(scheme),
            Some(_) => {
                let help = "write the word before the credential, as in Bearer, or leave `scheme` out";
                self.tell(codes::LEGACY_CREDENTIAL, at.key("scheme"), "this is no scheme", help);
                return None;
            }
        };
        let Ok(name) = name.parse::<HeaderName>() else {
            let message = "this is no header name";
            self.tell(codes::LEGACY_CREDENTIAL, place, message, "write letters, digits and dashes, as in x-api-token");
            return None;
        };
        if name == http::header::COOKIE {
            let help = "name the cookie instead: credential: { cookie: session }";
            self.tell(codes::LEGACY_CREDENTIAL, place, "a cookie is no header of its own", help);
            return None;
        }
        if let Some((message, help)) = super::header::unreadable(&name, reserved)
            && name != http::header::AUTHORIZATION
        {
            self.tell(codes::LEGACY_CREDENTIAL, place, message, &help);
            return None;
        }
        let is_authorization = name == http::header::AUTHORIZATION;
        if is_authorization && scheme.as_deref().is_none_or(|scheme| scheme.eq_ignore_ascii_case("bearer")) {
            return Some(HeaderCarrier::Bearer);
        }
        Some(HeaderCarrier::Own(CredentialLine { header: name, scheme: scheme.map(Into::into) }))
    }

    fn cookie_name(&mut self, name: String, at: At<'_>) -> Option<Box<str>> {
        if is_cookie_name(&name) {
            return Some(name.into());
        }
        let help = "write it exactly as browsers send it, without `=` and spaces, and no name of crossgate's own";
        self.tell(codes::LEGACY_CREDENTIAL, at, "this is no cookie name", help);
        None
    }

    fn verify(&mut self, raw: Option<raw::Verify>, legacy: At<'_>) -> Option<Verify> {
        let at = legacy.key("verify");
        let raw::Verify { jwt, introspection, forward_auth, passthrough } = raw.unwrap_or_default();
        let given = [jwt.is_some(), introspection.is_some(), forward_auth.is_some(), passthrough.is_some()];
        let dropped = ["jwt", "introspection", "forward_auth", "passthrough"].iter().any(|key| at.was_dropped(key));
        match given.into_iter().filter(|given| *given).count() {
            0 if dropped || legacy.was_dropped("verify") || at.has_gaps() => return None,
            0 => {
                let place = if at.is_written() { at } else { legacy };
                let help = "choose one of jwt, introspection, forward_auth and passthrough";
                self.tell(codes::LEGACY_VERIFIER, place, "nothing says how legacy credentials are verified", help);
                return None;
            }
            1 => {}
            _ => {
                let message = "legacy credentials are verified in one way only";
                let problem = Problem::at_span(codes::LEGACY_VERIFIER, at.source, at.key_span(), message);
                self.problems.push(problem.help("keep one of jwt, introspection, forward_auth and passthrough"));
                return None;
            }
        }
        let jwt = jwt.map(|raw| self.jwt(raw, at.key("jwt")).map(Verify::Jwt));
        let introspection =
            introspection.map(|raw| self.introspection(raw, at.key("introspection")).map(Verify::Introspection));
        let forward = forward_auth.map(|raw| self.forward_auth(raw, at.key("forward_auth")).map(Verify::ForwardAuth));
        let passthrough = passthrough.map(|raw::Passthrough { privileged }| {
            Some(Verify::Passthrough(Passthrough { privileged: privileged.unwrap_or(false) }))
        });
        jwt.or(introspection).or(forward).or(passthrough)?
    }

    fn jwt(&mut self, raw: raw::LegacyJwt, at: At<'_>) -> Option<JwtSpec> {
        let raw::LegacyJwt { algorithms, secret_file, secrets, jwks, issuer, audience, claims } = raw;
        let has_secrets = secret_file.is_some() || secrets.as_ref().is_some_and(|list| !list.is_empty());
        let secrets = self.secrets(secret_file, secrets.unwrap_or_default(), at);
        let lost = at.lost_keys() || at.key("secrets").has_gaps() || at.key("algorithms").has_gaps();
        let algorithms = match algorithms {
            Some(list) => list.into_iter().map(algorithm).collect(),
            None => vec![match (has_secrets, &jwks) {
                (false, Some(_)) => Algorithm::Public(KeyAlgorithm::Rs256),
                (..) => Algorithm::Hmac(HmacAlgorithm::Hs256),
            }],
        };
        if algorithms.is_empty() && !lost {
            let help = "name what the issuer signs with: algorithms: [HS256]";
            self.tell(codes::LEGACY_KEYS, at.key("algorithms"), "no token can be verified", help);
            return None;
        }
        let public: Box<[KeyAlgorithm]> = algorithms.iter().filter_map(|algorithm| public(*algorithm)).collect();
        let hmacs: Vec<_> = algorithms.iter().filter_map(|algorithm| hmac(*algorithm)).collect();
        let place = if at.key("algorithms").is_written() { at.key("algorithms") } else { at };
        if !hmacs.is_empty() && !has_secrets && !lost {
            let help = "name the file of the secret: secret_file: legacy.secret";
            self.tell(codes::LEGACY_KEYS, place, "HS256, HS384 and HS512 need a secret", help);
            return None;
        }
        if hmacs.is_empty() && !secrets.is_empty() {
            let help = "a secret serves HS256, HS384 and HS512 only; RS256, ES256 and EdDSA take `jwks`";
            self.tell(codes::LEGACY_KEYS, place, "no algorithm on the list uses a secret", help);
            return None;
        }
        self.weak(&secrets, &hmacs);
        let keys = self.keys(jwks, public, place, at, lost)?;
        if issuer.as_deref().is_some_and(str::is_empty) {
            self.tell(codes::BAD_VALUE, at.key("issuer"), "an issuer cannot be empty", "leave it out, or write `iss`");
        }
        let audiences = audience.map_or_else(Vec::new, |raw::OneOrMany(list)| list);
        if audiences.iter().any(String::is_empty) {
            let help = "write it exactly as `aud` in the tokens";
            self.tell(codes::BAD_VALUE, at.key("audience"), "no token has such an audience", help);
        }
        let claims = self.claims(claims, at.key("claims"));
        let secrets = secrets.into_iter().map(|(secret, _)| secret).collect();
        Some(JwtSpec { algorithms, secrets, keys, issuer: issuer.map(Into::into), audiences, claims })
    }

    /// The key set, exactly where an algorithm needs one; the outer `None` after a problem.
    fn keys(
        &mut self,
        raw: Option<raw::Jwks>,
        public: Box<[KeyAlgorithm]>,
        place: At<'_>,
        at: At<'_>,
        lost: bool,
    ) -> Option<Option<KeySource>> {
        match raw {
            None if public.is_empty() || lost => Some(None),
            None => {
                let help = "name the issuer's keys: jwks: { url: https://… }, or { file: … }, or { pem: … }";
                self.tell(codes::LEGACY_KEYS, place, "RS256, ES256 and EdDSA need a key set", help);
                None
            }
            Some(_) if public.is_empty() => {
                let help = "a public key serves RS256, ES256 and EdDSA only, never HS256";
                self.tell(codes::LEGACY_KEYS, place, "no algorithm on the list uses a key set", help);
                None
            }
            Some(raw) => {
                let keys = at.key("jwks");
                let is_given = raw.url.is_some() || raw.file.is_some() || raw.pem.is_some();
                if !is_given && !keys.lost_keys() {
                    let help = "name one of them";
                    self.tell(codes::KEY_SOURCE, keys, "`jwks` has neither `url`, `file` nor `pem`", help);
                    return None;
                }
                key_source(raw, None, &SetKind::Legacy(public), at, self.files, self.problems).map(Some)
            }
        }
    }

    fn secrets<'a>(
        &mut self,
        secret_file: Option<String>,
        mut named: Vec<raw::NamedSecret>,
        at: At<'a>,
    ) -> Vec<(Secret, At<'a>)> {
        let list = at.key("secrets");
        at_most(MAX_SECRETS, &mut named, list, self.problems);
        let mut secrets: Vec<(Secret, At<'a>)> = Vec::new();
        if let Some(path) = secret_file {
            let place = at.key("secret_file");
            secrets.extend(self.secret("default", &path, place).map(|secret| (secret, place)));
        }
        for (index, raw::NamedSecret { name, file }) in named.into_iter().enumerate() {
            let item = list.item(index);
            if name.as_deref().is_none_or(str::is_empty) {
                missing(item, "name", "tokens may choose a secret by its name (`kid`): { name: old, …}", self.problems);
            }
            let Some(path) = file else {
                missing(item, "file", "name the file that holds it: { file: old.secret, … }", self.problems);
                continue;
            };
            let name = name.unwrap_or_default();
            if secrets.iter().any(|(other, _)| **other.name() == *name) {
                let message = format!("another secret is named `{name}`");
                self.problems.push(Problem::at(codes::BAD_SECRET, item.key("name"), message));
                continue;
            }
            let place = item.key("file");
            let Some(secret) = self.secret(&name, &path, place) else { continue };
            if secrets.iter().any(|(other, _)| other.repeats(&secret)) {
                let help = "one of them is not what it should be: each file holds its own secret";
                let problem = Problem::at(codes::BAD_SECRET, place, "another file holds the same secret");
                self.problems.push(problem.help(help).warning());
            }
            secrets.push((secret, place));
        }
        secrets
    }

    fn secret(&mut self, name: &str, path: &str, at: At<'_>) -> Option<Secret> {
        let bytes = match self.files.read(&at.source.resolve(path)) {
            Ok(bytes) => bytes,
            Err(unreadable) => {
                self.problems.push(Problem::at(unreadable.code, at, unreadable.message));
                return None;
            }
        };
        match Secret::from_file(name.into(), &bytes) {
            Ok(secret) => Some(secret),
            Err(problem) => {
                let help = "the file holds the secret's own bytes; one newline at its end is left out";
                self.tell(codes::BAD_SECRET, at, &problem.to_string(), help);
                None
            }
        }
    }

    fn weak(&mut self, secrets: &[(Secret, At<'_>)], algorithms: &[HmacAlgorithm]) {
        for (secret, place) in secrets {
            let weak = algorithms.iter().filter(|algorithm| secret.is_weak_for(**algorithm));
            let Some(algorithm) = weak.max_by_key(|algorithm| algorithm.hash_bytes()) else { continue };
            let (bytes, name) = (algorithm.hash_bytes(), algorithm.as_str());
            let message = format!("this secret has fewer than the {bytes} bytes that {name} asks for");
            let help = "whoever has one token can guess a short secret, and then sign; make one with `openssl rand`";
            self.problems.push(Problem::at(codes::WEAK_SECRET, *place, message).help(help).warning());
        }
    }

    fn claims(&mut self, raw: Option<raw::LegacyClaims>, at: At<'_>) -> Claims {
        let raw::LegacyClaims { user, org, roles, workspaces } = raw.unwrap_or_default();
        let mut path = |text: Option<String>, key: &str, default: Vec<String>| match text {
            None => default,
            Some(text) => claim_path(&text, at.key(key), self.problems).unwrap_or(default),
        };
        let default = Claims::default();
        Claims {
            user: path(user, "user", default.user),
            org: path(org, "org", default.org),
            roles: path(roles, "roles", default.roles),
            workspaces: path(workspaces, "workspaces", default.workspaces),
        }
    }

    fn introspection(&mut self, raw: raw::Introspection, at: At<'_>) -> Option<IntrospectionSpec> {
        let raw::Introspection { url, client_id, client_secret_file, cache, claims } = raw;
        let address = self.address(url, at);
        let client = match (client_id, client_secret_file) {
            (None, None) => Some(None),
            (Some(id), Some(path)) if !id.is_empty() => {
                let secret = self.secret("client", &path, at.key("client_secret_file"));
                secret.map(|secret| Some(ClientCredentials { id: id.into(), secret }))
            }
            _ if at.lost_keys() => None,
            _ => {
                let help = "the server asks for both (HTTP Basic), or for neither";
                self.tell(codes::LEGACY_KEYS, at, "`client_id` and `client_secret_file` go together", help);
                None
            }
        };
        let cache = self.cache(cache, 30_000, at);
        let claims = self.claims(claims, at.key("claims"));
        Some(IntrospectionSpec { url: address?, client: client?, cache, claims })
    }

    fn forward_auth(&mut self, raw: raw::ForwardAuth, at: At<'_>) -> Option<ForwardSpec> {
        let raw::ForwardAuth { url, headers, cache } = raw;
        let address = self.address(url, at);
        let place = at.key("headers");
        let raw::ForwardHeaders { user, org, roles, workspaces } = headers.unwrap_or_default();
        let default = NamedHeaders::default();
        let mut name = |text: Option<String>, key: &str, default: Option<HeaderName>| match text {
            None => default,
            Some(text) => match text.parse::<HeaderName>() {
                Ok(name) => Some(name),
                Err(_) => {
                    let help = "a header name has letters, digits and dashes, as in x-user-id";
                    let problem = Problem::at(codes::BAD_HEADER_NAME, place.key(key), "this is no header name");
                    self.problems.push(problem.help(help));
                    None
                }
            },
        };
        let user = name(user, "user", Some(default.user));
        let org = name(org, "org", default.org);
        let roles = name(roles, "roles", default.roles);
        let workspaces = name(workspaces, "workspaces", default.workspaces);
        let cache = self.cache(cache, 5_000, at);
        Some(ForwardSpec { url: address?, headers: NamedHeaders { user: user?, org, roles, workspaces }, cache })
    }

    fn cache(&mut self, given: Option<raw::Time>, default_ms: u64, at: At<'_>) -> Duration {
        let cache = time(given, default_ms);
        if cache > MAX_CACHE {
            let help = "a credential that was taken back is believed until then";
            self.tell(codes::OUT_OF_RANGE, at.key("cache"), "cache must not be above 5m", help);
        }
        cache
    }

    /// The address of a server that is asked. It may be of the inside; in the clear it should be nowhere else.
    fn address(&mut self, given: Option<String>, at: At<'_>) -> Option<Arc<str>> {
        let Some(text) = given else {
            missing(at, "url", "name the server that is asked: url: https://…", self.problems);
            return None;
        };
        let place = at.key("url");
        let Some(parsed) = url(&text).filter(|_| !text.contains(char::is_whitespace)) else {
            self.tell(codes::LEGACY_URL, place, "this is no URL", "write https://host/path");
            return None;
        };
        if !parsed.https && !parsed.private {
            let message = "credentials would go over the network in the clear";
            let help = "write https://, or keep the server on loopback or a private address";
            self.problems.push(Problem::at(codes::LEGACY_URL, place, message).help(help).warning());
        }
        Some(text.into())
    }

    /// Which side a token belongs to is told by its issuer, so that the two cannot share one.
    fn beside_clerk(&mut self, verify: &Verify, instances: &[InstanceSpec], at: At<'_>) {
        let Verify::Jwt(JwtSpec { issuer, keys, .. }) = verify else { return };
        let Some(issuer) = issuer else {
            let Some(KeySource::Url(keys)) = keys else { return };
            let are_clerks = |instance: &InstanceSpec| matches!(&instance.keys, KeySource::Url(clerks) if clerks.url.eq_ignore_ascii_case(&keys.url));
            if instances.iter().any(are_clerks) {
                let message =
                    "these are the keys of an instance of `clerk`: what Clerk signs for others counts as legacy too";
                let help =
                    "name the keys of the legacy issuer; where they are the same, write the `issuer` of its tokens";
                let place = at.key("verify").key("jwt").key("jwks").key("url");
                self.problems.push(Problem::at(codes::LEGACY_KEYS_CLERKS, place, message).help(help).warning());
            }
            return;
        };
        if instances.iter().any(|instance| instance.issuer == *issuer) {
            let help = "a token with this issuer is Clerk's; write the issuer of the legacy tokens, or leave it out";
            let place = at.key("verify").key("jwt").key("issuer");
            self.tell(codes::LEGACY_ISSUER, place, "an instance of `clerk` has this issuer", help);
        }
    }

    fn tell(&mut self, code: codes::Code, at: At<'_>, message: &str, help: &str) {
        self.problems.push(Problem::at(code, at, message).help(help));
    }
}

const fn algorithm(raw: raw::LegacyAlgorithm) -> Algorithm {
    match raw {
        raw::LegacyAlgorithm::Hs256 => Algorithm::Hmac(HmacAlgorithm::Hs256),
        raw::LegacyAlgorithm::Hs384 => Algorithm::Hmac(HmacAlgorithm::Hs384),
        raw::LegacyAlgorithm::Hs512 => Algorithm::Hmac(HmacAlgorithm::Hs512),
        raw::LegacyAlgorithm::Rs256 => Algorithm::Public(KeyAlgorithm::Rs256),
        raw::LegacyAlgorithm::Es256 => Algorithm::Public(KeyAlgorithm::Es256),
        raw::LegacyAlgorithm::EdDsa => Algorithm::Public(KeyAlgorithm::EdDsa),
    }
}

const fn hmac(algorithm: Algorithm) -> Option<HmacAlgorithm> {
    match algorithm {
        Algorithm::Hmac(algorithm) => Some(algorithm),
        Algorithm::Public(_) => None,
    }
}

const fn public(algorithm: Algorithm) -> Option<KeyAlgorithm> {
    match algorithm {
        Algorithm::Public(algorithm) => Some(algorithm),
        Algorithm::Hmac(_) => None,
    }
}

/// Whether a cookie may be called so. crossgate's own goes to no API.
pub(super) fn is_cookie_name(text: &str) -> bool {
    is_token(text) && !text.eq_ignore_ascii_case(ARM_COOKIE)
}

/// A token of RFC 9110 5.6.2: names of schemes and of cookies.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
