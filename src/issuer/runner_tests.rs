use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Judged, NotGranted, Once, Ring, Runner, RunnerSpec};
use crate::clock::Now;
use crate::identity::clerk::{Attempt, Instances};
use crate::identity::runner::{Names, Reason, World};
use crate::identity::{Facts, HeaderNames, Linking, Login, Method, Org, TokenKind, Workspace, Workspaces};

const START: i64 = 1_700_000_000_000;

struct Bed {
    _folder: tempfile::TempDir,
    runner: Runner,
    linking: Linking,
    headers: HeaderNames,
    instances: Instances,
}

fn now() -> Now {
    Now::at_unix_ms(START)
}

fn bed() -> Bed {
    let folder = tempfile::tempdir().unwrap();
    let names = Names { issuer: "crossgate".into(), audience: "runner".into() };
    let spec = RunnerSpec { names, ttl: Duration::from_secs(600), scopes: vec!["a".into()], carried: Vec::new() };
    let ring = Arc::new(Ring::new(folder.path().join("keys")));
    let runner = Runner::new(spec, Arc::clone(&ring), Arc::new(Once::new(folder.path().join("once"))));
    ring.tend(runner.schedule(), now()).unwrap();
    let instances = Instances::new(Vec::new(), None).unwrap();
    Bed { _folder: folder, runner, linking: Linking::default(), headers: HeaderNames::default(), instances }
}

/// Somebody who came with a legacy credential: their login needs no instance.
fn bob() -> Facts {
    Facts {
        method: Method::Legacy,
        token: TokenKind::Legacy,
        subject: "43".to_owned(),
        legacy_user: Some("43".to_owned()),
        legacy_org: Some("acme".to_owned()),
        legacy_roles: vec!["admin".to_owned()],
        workspaces: Workspaces::Known(vec![Workspace { id: "w1".to_owned(), role: Some("editor".to_owned()) }]),
        actor: Some("support".to_owned()),
        ..Facts::default()
    }
}

impl Bed {
    fn world(&self) -> World<'_> {
        let Self { linking, headers, instances, .. } = self;
        World { linking, headers, has_legacy: true, instances, checks: crate::identity::checks::Checks::NOBODY }
    }

    fn grant(&self, facts: &Facts) -> String {
        self.runner.grant(facts, &["a", "b"], &self.linking, None, "id", now()).unwrap().token
    }

    fn judge(&self, token: &str, now: Now) -> Judged {
        self.runner.judge(token, self.world(), now, Attempt::First)
    }

    fn reason(&self, token: &str, now: Now) -> Option<Reason> {
        match self.judge(token, now) {
            Judged::Invalid(reason) => Some(reason),
            Judged::Valid(_) | Judged::Unchecked => None,
        }
    }

    /// A payload signed with the right key.
    fn signed(&self, claims: &Value) -> String {
        let key = self.runner.ring().signer(self.runner.schedule(), START).unwrap();
        key.access_token(&claims.to_string()).unwrap()
    }
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[test]
fn what_was_written_is_read() {
    let bed = bed();
    let token = bed.grant(&bob());
    let Judged::Valid(person) = bed.judge(&token, now()) else { panic!("not valid") };
    let facts = &person.facts;
    assert_eq!((facts.method, facts.token), (Method::Runner(Login::Legacy), TokenKind::Runner));
    assert_eq!((facts.subject.as_str(), facts.legacy_org.as_deref()), ("43", Some("acme")));
    assert_eq!((&facts.legacy_roles, &facts.workspaces), (&bob().legacy_roles, &bob().workspaces));
    assert_eq!(claims(&token)["scope"], "a b");
    assert_eq!(facts.scopes.as_deref(), Some(&["a".to_owned()][..]), "what the config names no more is gone");
    assert_eq!(facts.actor.as_deref(), Some("support"), "an impersonator, and not the runner");
    assert_eq!(facts.expires_at_ms, Some(START + 600_000));
}

#[test]
fn claims_that_the_right_key_signed() {
    let bed = bed();
    let good = claims(&bed.grant(&bob()));
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
        bed.reason(&bed.signed(&claims), now())
    };
    let seconds = START / 1000;
    let table = [
        ("as it is", "x", json!(1), None),
        ("another issuer", "iss", json!("crossgate2"), Some(Reason::Issuer)),
        ("no issuer", "iss", Value::Null, Some(Reason::Issuer)),
        ("a list of issuers", "iss", json!(["crossgate"]), Some(Reason::Issuer)),
        ("another audience", "aud", json!("app"), Some(Reason::Audience)),
        ("a list of audiences", "aud", json!(["runner"]), Some(Reason::Audience)),
        ("no audience", "aud", Value::Null, Some(Reason::Audience)),
        ("no end", "exp", Value::Null, Some(Reason::Claims)),
        ("an end as text", "exp", json!("1800000000"), Some(Reason::Claims)),
        ("over", "exp", json!(seconds - 6), Some(Reason::Claims)),
        ("from the future", "iat", json!(seconds + 60), Some(Reason::NotActiveYet)),
        ("no login", "login", Value::Null, Some(Reason::Claims)),
        ("another login", "login", json!("saml"), Some(Reason::Claims)),
        ("an instance that is gone", "login", json!("clerk"), Some(Reason::Claims)),
        ("no scope", "scope", Value::Null, Some(Reason::Claims)),
        ("scopes as a list", "scope", json!(["a"]), Some(Reason::Claims)),
        ("no actor", "act", Value::Null, Some(Reason::Claims)),
        ("an actor within that is none", "act", json!({ "sub": "runner", "act": "support" }), Some(Reason::Claims)),
        ("nobody", "legacy_user", Value::Null, Some(Reason::Claims)),
        ("an empty id", "legacy_user", json!(""), Some(Reason::Claims)),
        ("roles as text", "legacy_roles", json!("admin"), Some(Reason::Claims)),
        ("workspaces as text", "workspaces", json!("w1"), Some(Reason::Claims)),
    ];
    for (name, claim, value, expected) in table {
        assert_eq!(with(claim, value), expected, "{name}");
    }
}

#[test]
fn headers_and_signatures() {
    let bed = bed();
    let token = bed.grant(&bob());
    let (header, rest) = token.split_once('.').unwrap();
    let read: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    let with = |name: &str, value: Value| {
        let mut header = read.clone();
        header[name] = value;
        format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
    };
    let table = [
        ("another typ", with("typ", json!("JWT")), Reason::Malformed),
        ("none", with("alg", json!("none")), Reason::Malformed),
        ("another alg", with("alg", json!("HS256")), Reason::Malformed),
        ("another kid", with("kid", json!("x")), Reason::UnknownKey),
        ("a key within", with("jwk", json!({})), Reason::Malformed),
        ("crit", with("crit", json!(["b64"])), Reason::Malformed),
        ("typ in capitals", with("typ", json!("AT+JWT")), Reason::Malformed),
        ("a header that was not signed", with("x", json!(1)), Reason::Signature),
        ("no signature", format!("{}.AA", token.rsplit_once('.').unwrap().0), Reason::Signature),
        ("padding", format!("{token}="), Reason::Signature),
        ("a payload that is none", format!("{header}.AA.{}", rest.rsplit_once('.').unwrap().1), Reason::Signature),
    ];
    for (name, token, expected) in table {
        assert_eq!(bed.reason(&token, now()), Some(expected), "{name}");
    }
    assert!(bed.runner.owns(&token) && bed.runner.owns(&with("kid", json!("x"))));
    for other in ["", "a.b.c", "eyJhbGciOiJSUzI1NiJ9.e30.AA", &with("typ", json!("JWT"))] {
        assert!(!bed.runner.owns(other), "{other}");
    }
}

#[test]
fn a_token_ends_by_either_clock_and_with_its_key_and_is_checked_once() {
    let bed = bed();
    let token = bed.grant(&bob());
    let unchecked =
        |token: &str| matches!(bed.runner.judge(token, bed.world(), now(), Attempt::KnownOnly), Judged::Unchecked);
    assert!(unchecked(&token), "nothing is known yet");
    assert_eq!(bed.reason(&token, now()), None);
    assert!(!unchecked(&token), "remembered");
    let at = |seconds| now().plus(Duration::from_secs(seconds));
    assert_eq!(bed.reason(&token, at(604)), None);
    assert_eq!(bed.reason(&token, at(606)), Some(Reason::Expired));
    let back = Now { unix_ms: START, ..at(606) };
    assert_eq!(bed.reason(&token, back), Some(Reason::Expired), "a wall clock that was set back revives nothing");
    let fresh = Runner::new(bed.runner.spec().clone(), Arc::clone(bed.runner.ring()), Arc::clone(bed.runner.once()));
    assert!(matches!(fresh.judge(&token, bed.world(), at(606), Attempt::Last), Judged::Invalid(Reason::Expired)));
}

#[test]
fn what_is_not_granted() {
    let bed = bed();
    let grant = |facts: &Facts, until: Option<i64>| {
        bed.runner.grant(facts, &["a"], &bed.linking, until, "id", now()).map(|grant| grant.expires_in)
    };
    assert_eq!(grant(&bob(), None), Ok(600));
    assert_eq!(grant(&bob(), Some(START + 90_500)), Ok(90));
    assert_eq!(grant(&bob(), Some(START + 59_000)), Err(NotGranted::EndsTooSoon));
    assert_eq!(grant(&bob(), Some(START - 59_000)), Err(NotGranted::EndsTooSoon));
    let permissions = Some((0..400).map(|at| format!("org:feature:permission_{at}")).collect());
    let org = Some(Org { id: "org_1".to_owned(), permissions, ..Org::default() });
    let wide = Facts { method: Method::Clerk, clerk_user: Some("user_a".to_owned()), org, ..Facts::default() };
    assert_eq!(grant(&wide, None), Err(NotGranted::TooLarge));
}
