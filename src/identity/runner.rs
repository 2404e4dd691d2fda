//! Runner tokens: what one says of a person, written and read in one place so that the two cannot drift apart.
//!
//! A token holds what the person's login said of them at the exchange (their id there, the active org, roles, the session)
//! and nothing that the identity map said: who is linked, sealed or gone, and which workspaces a membership opens, is asked
//! of the map that serves when the token is used. Told from every other token by its `typ` (RFC 9068), its issuer and its
//! audience, and by a key that signs nothing else. Never checks a signature and holds no key: that is `issuer`.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::checks::{self, About, Checks};
use super::clerk::token::{FORBIDDEN, Parts, is_kid};
use super::headers::{self, HeaderNames};
use super::times::{TimeProblem, Times};
use super::{Facts, Identity, Linking, Login, Method, Org, Scoped, TokenKind, Workspace, Workspaces};
use crate::clock::Now;

/// `typ` of the header (RFC 9068 2.1).
pub const TYPE: &str = "at+jwt";
/// [`TYPE`] in base64, at each of the three places in a group of bytes at which it may begin.
const ENCODED: [&str; 3] = ["YXQrand0", "F0K2p3d", "hdCtqd3"];
/// Clocks of replicas differ by less.
const CLOCK_SKEW: Duration = Duration::from_secs(5);

/// Why a runner token proves nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Malformed,
    UnknownKey,
    Signature,
    Issuer,
    Audience,
    /// It is for another use.
    WrongClass,
    Claims,
    NotActiveYet,
    Expired,
    /// The login that vouched for this person is no longer there.
    LoginGone,
    /// The identity map says that the person is gone, or that their legacy side proves nothing any more.
    PersonGone,
    IdentityTooLarge,
}

impl Reason {
    /// Stable name for logs and `explain`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "token-malformed",
            Self::UnknownKey => "unknown-key",
            Self::Signature => "signature-invalid",
            Self::Issuer => "issuer-mismatch",
            Self::Audience => "audience-mismatch",
            Self::WrongClass => "token-type-mismatch",
            Self::Claims => "claims-invalid",
            Self::NotActiveYet => "token-not-active-yet",
            Self::Expired => "token-expired",
            Self::LoginGone => "login-not-configured",
            Self::PersonGone => "person-gone",
            Self::IdentityTooLarge => "identity-too-large",
        }
    }

    /// Whether somebody without a key made it up.
    pub const fn is_forgery(self) -> bool {
        matches!(self, Self::Signature)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// By which names a token says that it is one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub issuer: Box<str>,
    pub audience: Box<str>,
}

/// What a token says beside the person.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    pub names: &'a Names,
    /// Seconds since the epoch.
    pub issued: i64,
    pub expires: i64,
    /// Random.
    pub id: &'a str,
    pub scopes: &'a [&'a str],
    /// Claims of the credential that routes ask for.
    pub carried: &'a [Box<str>],
}

/// The payload about a person who came with one of the two logins.
pub fn write(facts: &Facts, terms: Terms<'_>, linking: &Linking) -> Value {
    let Terms { names, issued, expires, id, scopes, carried } = terms;
    // RFC 8693 4.1: whoever acts now stands outside, who acted before within.
    let act = match &facts.actor {
        None => json!({ "sub": names.audience }),
        Some(actor) => json!({ "sub": names.audience, "act": { "sub": actor } }),
    };
    let mut claims = json!({
        "iss": names.issuer, "aud": names.audience, "client_id": names.audience, "sub": facts.subject,
        "iat": issued, "exp": expires, "jti": id, "scope": scopes.join(" "), "act": act,
        "login": facts.method.login().as_str(),
    });
    let mut add = |name: &str, value: Option<Value>| {
        if let (Some(value), Some(claims)) = (value, claims.as_object_mut()) {
            claims.insert(name.to_owned(), value);
        }
    };
    let text = |value: &Option<String>| value.clone().map(Value::String);
    let by_map = linking.said(facts);
    add("sid", text(&facts.session));
    match facts.method.login() {
        Login::Clerk => {
            add("instance", Some(Value::String(facts.instance.to_string())));
            add("clerk_user", text(&facts.clerk_user));
            let org = facts
                .org
                .as_ref()
                .map(|org| json!({ "id": org.id, "slug": org.slug, "role": org.role, "permissions": org.permissions }));
            add("org", org);
            add("features", facts.features.as_ref().map(scoped));
            add("plans", facts.plans.as_ref().map(scoped));
        }
        Login::Legacy => {
            add("legacy_user", text(&facts.legacy_user));
            add("legacy_org", text(&facts.legacy_org));
            let roles = &facts.legacy_roles;
            add("legacy_roles", (!roles.is_empty() && !by_map.roles).then(|| json!(roles)));
        }
    }
    if let Workspaces::Known(known) = &facts.workspaces
        && !by_map.workspaces
    {
        let each = known.iter().map(|workspace| json!({ "id": workspace.id, "role": workspace.role }));
        add("workspaces", Some(each.collect()));
    }
    let mapped = linking.claim.as_ref().and_then(|path| path.first()).map(String::as_str);
    let names = carried.iter().map(|name| &**name).chain(mapped);
    let carried: Map<String, Value> =
        names.filter_map(|name| Some((name.to_owned(), facts.claims.get(name)?.clone()))).collect();
    add("claims", (!carried.is_empty()).then_some(Value::Object(carried)));
    claims
}

fn scoped(granted: &Scoped) -> Value {
    json!({ "org": granted.org, "user": granted.user })
}

/// Whether a token says that it is a runner token of this issuer, whatever it is worth. Cheap for all others: the text is
/// looked for before anything is parsed. Whoever hides it behind an escape has made no token of ours, and the other
/// verifiers refuse it.
pub fn claims_to_be(token: &str, issuer: &str) -> bool {
    let Some((header, _)) = token.split_once('.') else { return false };
    ENCODED.iter().any(|text| header.contains(text))
        && Parts::split(token)
            .and_then(|parts| parts.payload())
            .is_ok_and(|claims| claims.get("iss").is_some_and(|claimed| claimed == issuer))
}

/// Whether a text may hold such a token at all: nearly no other does.
pub fn may_be_in(text: &[u8]) -> bool {
    ENCODED.iter().any(|encoded| memchr::memmem::find(text, encoded.as_bytes()).is_some())
}

/// What the signature of a token covers; `None` of what is no token.
pub fn signing_input(token: &str) -> Option<&str> {
    let parts = Parts::split(token).ok()?;
    parts.header_members().ok().map(|_| parts.signed)
}

/// A token taken apart, of which nothing is believed yet.
#[derive(Debug)]
pub struct Presented<'a> {
    pub kid: String,
    /// What the signature covers.
    pub signed: &'a str,
    pub signature: Vec<u8>,
    /// Its claims are read once the signature holds: who makes tokens up has fewer of them parsed.
    parts: Parts<'a>,
}

impl<'a> Presented<'a> {
    /// Reads it strictly: as crossgate writes it, or not at all.
    ///
    /// # Errors
    /// [`Reason`].
    pub fn read(token: &'a str) -> Result<Self, Reason> {
        let malformed = |_| Reason::Malformed;
        let parts = Parts::split(token).map_err(malformed)?;
        let mut header = parts.header_members().map_err(malformed)?;
        if FORBIDDEN.iter().any(|name| header.contains_key(*name)) {
            return Err(Reason::Malformed);
        }
        let is = |name: &str, value: &str| header.get(name).is_some_and(|found| found == value);
        if !is("typ", TYPE) || !is("alg", "ES256") {
            return Err(Reason::Malformed);
        }
        let Some(Value::String(kid)) = header.remove("kid") else { return Err(Reason::Malformed) };
        if !is_kid(&kid) {
            return Err(Reason::Malformed);
        }
        let signature = URL_SAFE_NO_PAD.decode(parts.signature).map_err(|_| Reason::Signature)?;
        Ok(Self { kid, signed: parts.signed, signature, parts })
    }
}

/// Who somebody is by a token whose signature holds, and until when.
#[derive(Debug)]
pub struct Read {
    pub identity: Identity,
    /// Milliseconds since the epoch, leeway included.
    pub good_from_ms: i64,
    pub good_until_ms: i64,
}

/// What the world of now adds to a token.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    pub linking: &'a Linking,
    pub headers: &'a HeaderNames,
    /// Whether there is a legacy login.
    pub has_legacy: bool,
    /// Names of the Clerk instances.
    pub instances: &'a super::clerk::Instances,
    pub checks: Checks<'a>,
}

/// Reads the claims of a token whose signature holds.
///
/// # Errors
/// [`Reason`].
pub fn read(token: &str, presented: &Presented<'_>, names: &Names, world: World<'_>, now: Now) -> Result<Read, Reason> {
    let mut claims = presented.parts.payload().map_err(|_| Reason::Malformed)?;
    let told = world.checks;
    // One text, as it is written: a list would be somebody else's token.
    for (name, value, reason) in [("iss", &names.issuer, Reason::Issuer), ("aud", &names.audience, Reason::Audience)] {
        let is = claims.get(name).is_some_and(|found| *found == **value);
        told.note(About::Runner, name, is, || format!("{}; configured: {value}", checks::shown(claims.get(name))));
        if !is {
            return Err(reason);
        }
    }
    let times = Times::read(&claims, now).ok().filter(Times::has_end).ok_or(Reason::Claims);
    let judged = times.and_then(|times| {
        let validity = times.judge(CLOCK_SKEW, now).map_err(|problem| match problem {
            TimeProblem::NotYet | TimeProblem::IssuedInTheFuture => Reason::NotActiveYet,
            TimeProblem::Over => Reason::Expired,
        })?;
        Ok((times, validity.from_ms, validity.until_ms.ok_or(Reason::Claims)?))
    });
    let (times, good_from_ms, good_until_ms) =
        told.of(About::Runner, checks::TIMES, judged, || Times::told(&claims, CLOCK_SKEW, now))?;
    let facts = told.of(About::Runner, checks::CLAIMS, facts(&mut claims, world).ok_or(Reason::Claims), || {
        "login, person, org and scopes as crossgate writes them".to_owned()
    })?;
    let facts = Facts { issued_at_ms: times.issued_ms(), expires_at_ms: times.expires_ms(), ..facts };
    let subject = if told.is_heard() { facts.subject.clone() } else { String::new() };
    let made = linked(facts, world)
        .and_then(|facts| Ok((headers::render(world.headers, &facts).map_err(|_| Reason::IdentityTooLarge)?, facts)));
    let (rendered, facts) = told.of(About::Runner, checks::PERSON, made, || subject)?;
    let mut identity = Identity::new(facts, rendered);
    identity.digest = digest(&SHA256, token.as_bytes()).as_ref().try_into().ok();
    Ok(Read { identity, good_from_ms, good_until_ms })
}

/// What the login said, as it was written into the token.
fn facts(claims: &mut Map<String, Value>, world: World<'_>) -> Option<Facts> {
    let text = |claims: &mut Map<String, Value>, name: &str| match claims.remove(name) {
        None | Some(Value::Null) => Some(None),
        Some(Value::String(text)) if !text.is_empty() => Some(Some(text)),
        Some(_) => None,
    };
    let login = match claims.get("login")?.as_str()? {
        "clerk" => Login::Clerk,
        "legacy" => Login::Legacy,
        _ => return None,
    };
    let scopes = claims.get("scope")?.as_str()?.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned);
    let mut facts = Facts {
        method: Method::Runner(login),
        token: TokenKind::Runner,
        scopes: Some(scopes.collect()),
        session: text(claims, "sid")?,
        actor: impersonator(claims.get("act")?)?,
        workspaces: match claims.get("workspaces") {
            None => Workspaces::Missing,
            Some(list) => Workspaces::Known(list.as_array()?.iter().map(workspace).collect::<Option<_>>()?),
        },
        ..Facts::default()
    };
    match login {
        Login::Clerk => {
            let user = text(claims, "clerk_user")??;
            facts.instance = world.instances.named(&text(claims, "instance")??).map_or_else(
                // Told apart below: a login that is gone is no malformed token.
                || "".into(),
                |instance| instance.name.clone(),
            );
            facts.subject.clone_from(&user);
            facts.clerk_user = Some(user);
            facts.org = match claims.get("org") {
                None => None,
                Some(org) => Some(read_org(org)?),
            };
            facts.features = claims.get("features").and_then(read_scoped);
            facts.plans = claims.get("plans").and_then(read_scoped);
        }
        Login::Legacy => {
            let user = text(claims, "legacy_user")??;
            facts.subject.clone_from(&user);
            facts.legacy_user = Some(user);
            facts.legacy_org = text(claims, "legacy_org")?;
            facts.legacy_roles = claims.get("legacy_roles").map_or(Some(Vec::new()), texts)?;
        }
    }
    facts.claims = match claims.remove("claims") {
        None => Map::new(),
        Some(Value::Object(carried)) => carried,
        Some(_) => return None,
    };
    Some(facts)
}

/// What the map of now says of them.
fn linked(facts: Facts, world: World<'_>) -> Result<Facts, Reason> {
    match facts.method.login() {
        Login::Clerk if facts.instance.is_empty() => Err(Reason::LoginGone),
        Login::Clerk => world.linking.of_clerk(facts).map_err(|_| Reason::PersonGone),
        Login::Legacy if !world.has_legacy => Err(Reason::LoginGone),
        Login::Legacy => match world.linking.of_legacy(facts) {
            Ok(facts) if facts.link.legacy_proves() => Ok(facts),
            Ok(_) | Err(_) => Err(Reason::PersonGone),
        },
    }
}

/// The one within the runner's own `act`.
fn impersonator(act: &Value) -> Option<Option<String>> {
    match act.as_object()?.get("act") {
        None => Some(None),
        Some(within) => Some(Some(within.get("sub")?.as_str()?.to_owned())),
    }
}

fn workspace(value: &Value) -> Option<Workspace> {
    let id = value.get("id")?.as_str()?.to_owned();
    let role = value.get("role").and_then(Value::as_str).map(str::to_owned);
    Some(Workspace { id, role })
}

fn read_org(value: &Value) -> Option<Org> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let permissions = match value.get("permissions") {
        None | Some(Value::Null) => None,
        Some(list) => Some(texts(list)?),
    };
    Some(Org { id: text("id")?, slug: text("slug"), role: text("role"), permissions })
}

fn read_scoped(value: &Value) -> Option<Scoped> {
    Some(Scoped { org: texts(value.get("org")?)?, user: texts(value.get("user")?)? })
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::{TYPE, claims_to_be, may_be_in};

    #[test]
    fn a_type_is_found_wherever_it_stands() {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let payload = encode(r#"{"iss":"us"}"#);
        for padding in ["", "a", "ab", "abc", "abcd"] {
            for behind in ["", "x", "xy"] {
                let header = format!(r#"{{"x":"{padding}","typ":"{TYPE}","y":"{behind}"}}"#);
                let token = format!("{}.{payload}.AA", encode(&header));
                assert!(claims_to_be(&token, "us"), "{header}");
                assert!(may_be_in(format!("a=1; b={token}").as_bytes()), "{header}");
                assert!(!claims_to_be(&token, "them"), "{header}");
            }
        }
        let others = [
            format!("{}.{payload}.AA", encode(r#"{"typ":"JWT"}"#)),
            format!("{}.{payload}", encode(r#"{"typ":"at+jwt"}"#)),
            format!("{}.{}.AA", encode(r#"{"typ":"at+jwt"}"#), encode(r#"{"iss":["us"]}"#)),
            "at+jwt".to_owned(),
            "YXQrand0.e30.AA".to_owned(),
            String::new(),
        ];
        for token in others {
            assert!(!claims_to_be(&token, "us"), "{token}");
        }
        assert!(!may_be_in(encode(r#"{"typ":"JWT"}"#).as_bytes()));
    }
}
