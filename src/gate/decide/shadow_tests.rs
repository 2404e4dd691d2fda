//! Each dimension by tables of what the two sides said, on a compiled config without a network.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method as Verb, Version};

use super::{Comparison, Dimension, Outcome, Shadow, compare};
use crate::clock::{self, Now};
use crate::config;
use crate::gate::decide::resolve::Moment;
use crate::gate::decide::verify::Verdicts;
use crate::gate::decide::{Case, Decision, World, judge};
use crate::identity::clerk::Reason;
use crate::identity::{Carrier, Facts, Identity, Link, Method, Org, TokenKind, Verdict, legacy};
use crate::request::{self, Head, Peer, Sanitized, View};
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::Metrics;

const CONFIG: &str = r#"
listeners: [{ address: 127.0.0.1:8080 }]
upstreams: { app: { endpoints: [127.0.0.1:3000] } }
clerk: [{ name: first, issuer: https://clerk.example.com, jwks: { file: set.json }, authorized_parties: [https://app.example.com] }]
legacy: { verify: { jwt: { algorithms: [HS256], secret_file: legacy.secret } } }
identity: { map: { file: map.jsonl }, roles: { "org:admin": [admin], "org:member": [editor] } }
rollout: { percent: 0, unit: user }
policies: [policy.yaml]
"#;

const POLICY: &str = r#"
routes:
  - { id: public, match: { path: "/public" }, access: public }
  - { id: me, match: { path: "/me" } }
  - { id: write, match: { path: "/orgs/{org}/write" }, require: { org: "{org}", role: [org:admin] } }
  - { id: vault, match: { path: "/vault" }, access: privileged, require: { org: any, role: [org:admin] } }
  - { id: old, match: { path: "/old" }, access: privileged, require: { token: [legacy] } }
  - { id: dry, match: { path: "/dry" }, mode: report, require: { org: any, role: [org:admin] } }
"#;

fn snapshot() -> Snapshot {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("crossgate.yaml", CONFIG),
        ("legacy.secret", "0123456789abcdef0123456789abcdef0123456789abcdef"),
        ("policy.yaml", POLICY),
        ("set.json", include_str!("../../../tests/config/keys/set.json")),
        ("map.jsonl", "{\"kind\":\"user\",\"legacy\":\"u1\",\"clerk\":\"user_1\",\"state\":\"linked\"}\n"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let loaded = config::load(&folder.path().join("crossgate.yaml"), &|_| None, &Metrics::new().unwrap(), None);
    let problems: String = loaded.problems.iter().map(config::Problem::render).collect();
    loaded.compiled.unwrap_or_else(|| panic!("{problems}")).snapshot
}

/// u1 in `org`, by its canonical name.
fn old(user: &str, org: &str, roles: &[&str]) -> legacy::Verdict {
    let facts = Facts {
        method: Method::Legacy,
        token: TokenKind::Legacy,
        subject: user.to_owned(),
        legacy_user: Some(user.to_owned()),
        legacy_org: Some(org.to_owned()).filter(|org| !org.is_empty()),
        canonical_org: Some(org.to_owned()).filter(|org| !org.is_empty()),
        legacy_roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        link: Link::Linked,
        ..Facts::default()
    };
    legacy::Verdict::Valid { identity: Arc::new(Identity::new(facts, Vec::new())), carrier: Carrier::Header }
}

fn new(user: &str, org: &str, role: &str) -> Verdict {
    let facts = Facts {
        token: TokenKind::Session,
        instance: "first".into(),
        subject: user.to_owned(),
        clerk_user: Some(format!("user_{user}")),
        legacy_user: Some(user.to_owned()),
        legacy_org: Some(org.to_owned()).filter(|org| !org.is_empty()),
        canonical_org: Some(org.to_owned()).filter(|org| !org.is_empty()),
        org: (!org.is_empty()).then(|| Org {
            id: format!("org_{org}"),
            role: Some(role.to_owned()).filter(|role| !role.is_empty()),
            ..Org::default()
        }),
        link: Link::Linked,
        ..Facts::default()
    };
    Verdict::Valid { identity: Arc::new(Identity::new(facts, Vec::new())), carrier: Carrier::Cookie }
}

fn sealed(verdict: legacy::Verdict) -> legacy::Verdict {
    let legacy::Verdict::Valid { identity, carrier } = verdict else { panic!("{verdict:?}") };
    let facts = Facts { link: Link::Sealed, ..identity.facts.clone() };
    legacy::Verdict::Valid { identity: Arc::new(Identity::new(facts, Vec::new())), carrier }
}

fn shadow(
    snapshot: &Snapshot,
    now: Now,
    path: &str,
    legacy: legacy::Verdict,
    clerk: Verdict,
) -> (Decision, Option<Shadow>) {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("api.example.com"));
    let head = Head {
        method: &Verb::GET,
        target: path.as_bytes(),
        authority: None,
        version: Version::HTTP_11,
        headers: &headers,
        peer: Peer::Unix,
        tls: false,
    };
    let Ok(Sanitized::Request(request, _)) = request::sanitize(&head, &snapshot.request, &|| [1; 16]) else {
        panic!("{path}")
    };
    let view = View { request: &request, headers: &headers };
    let found = snapshot.routes.find(&view).unwrap();
    let policy = &snapshot.policies[found.route.index];
    let moment = Moment { now, assumed: None, stand: None, takes_unproven: policy.asks_for_nothing() };
    let world = World { snapshot, rollout: None };
    let case = Case { world, view: &view, found: &found, policy, moment, checks: Default::default() };
    let verdicts = Verdicts { legacy, cookie_agrees: false, took_authorization: true, clerk, refetch: None };
    let (decision, stand) = judge(&case, &verdicts, &mut ());
    let shadow = compare(&case, &verdicts, &decision, stand);
    (decision, shadow)
}

fn letters(comparison: &Comparison) -> String {
    let letter = |outcome| match outcome {
        Outcome::Agree => 'A',
        Outcome::Disagree => 'D',
        Outcome::Incomparable => 'I',
    };
    comparison.each().map(|(_, outcome)| letter(outcome)).collect()
}

/// Identity, org, role, permission, status.
#[test]
fn each_dimension_has_its_table() {
    let (snapshot, now) = (snapshot(), clock::now());
    let admin = || old("u1", "acme", &["admin"]);
    let boss = || new("u1", "acme", "org:admin");
    let bad = || legacy::Verdict::Invalid { reason: legacy::Reason::Expired, carrier: Carrier::Cookie };
    let forged = || Verdict::Invalid { reason: Reason::Pending, carrier: Carrier::Cookie };
    let expired = |who: Option<&str>| Verdict::Expired { carrier: Carrier::Cookie, legacy_user: who.map(Into::into) };
    let untold = |held| Verdict::Unverifiable { held, legacy_user: Some("u1".into()) };
    let table = [
        ("one person", "/me", admin(), boss(), "AAAAA"),
        ("and on a route with a rule", "/orgs/acme/write", admin(), boss(), "AAAAA"),
        ("two people", "/me", admin(), new("u2", "acme", "org:admin"), "DIIIA"),
        ("two people, of whom one may", "/vault", old("u2", "acme", &[]), boss(), "DIIID"),
        ("two orgs", "/me", admin(), new("u1", "beta", "org:admin"), "ADIAA"),
        ("no org on one side", "/me", admin(), new("u1", "", ""), "ADIAA"),
        ("no org on either", "/me", old("u1", "", &["admin"]), new("u1", "", ""), "AAAAA"),
        ("another org than the path's", "/orgs/acme/write", admin(), new("u1", "beta", "org:admin"), "ADIDD"),
        ("two roles", "/me", old("u1", "acme", &["editor"]), boss(), "AADAA"),
        ("two roles, and a rule", "/orgs/acme/write", old("u1", "acme", &["editor"]), boss(), "AADDD"),
        ("neither role is enough", "/orgs/acme/write", old("u1", "acme", &["x"]), new("u1", "acme", "org:y"), "AAIAA"),
        ("no role on the legacy side", "/me", old("u1", "acme", &[]), boss(), "AAIAA"),
        ("report mode", "/dry", old("u1", "acme", &["editor"]), boss(), "AADDA"),
        ("a rule for one side", "/old", admin(), boss(), "AAADD"),
        ("a bad legacy one", "/me", bad(), boss(), "IIIID"),
        ("a bad Clerk one", "/me", admin(), forged(), "IIIID"),
        ("one that has expired", "/me", admin(), expired(Some("u1")), "IIIID"),
        ("one that has expired, of somebody else", "/me", admin(), expired(Some("u2")), "IIIID"),
        ("a key that nobody has", "/me", admin(), untold(true), "IIIII"),
        ("no keys", "/me", admin(), untold(false), "IIIII"),
        (
            "a legacy server that does not answer",
            "/me",
            legacy::Verdict::Unverifiable { carrier: Carrier::Cookie },
            boss(),
            "IIIII",
        ),
        (
            "one that only the API can verify",
            "/me",
            legacy::Verdict::Unproven { carrier: Carrier::Header },
            boss(),
            "IIIII",
        ),
        ("two people's legacy credentials", "/me", legacy::Verdict::Conflict, boss(), "IIIID"),
        ("a sealed one", "/me", sealed(admin()), boss(), "IIIID"),
    ];
    for (name, path, legacy, clerk, expected) in table {
        let (_, shadow) = shadow(&snapshot, now, path, legacy, clerk);
        let shadow = shadow.unwrap_or_else(|| panic!("{name}: not compared"));
        assert_eq!(letters(&shadow.comparison), expected, "{name}: {shadow}");
        assert_eq!(shadow.evidence.is_some(), expected.contains('D'), "{name}");
    }
}

/// Anybody can send two forgeries, and as many as they like: they are no comparison of two logins.
#[test]
fn junk_on_both_sides_is_not_compared() {
    let (snapshot, now) = (snapshot(), clock::now());
    let bad = legacy::Verdict::Invalid { reason: legacy::Reason::Expired, carrier: Carrier::Cookie };
    let forged = Verdict::Invalid { reason: Reason::Pending, carrier: Carrier::Cookie };
    assert!(shadow(&snapshot, now, "/me", bad, forged).1.is_none());
}

#[test]
fn only_one_persons_gain_on_a_privileged_route_widens() {
    let (snapshot, now) = (snapshot(), clock::now());
    let (admin, member) = (|| old("u1", "acme", &["admin"]), || old("u1", "acme", &["editor"]));
    let boss = || new("u1", "acme", "org:admin");
    let table = [
        ("gains", "/vault", member(), boss(), true),
        ("has it on both sides", "/vault", admin(), boss(), false),
        ("loses", "/vault", admin(), new("u1", "acme", "org:member"), false),
        ("two people", "/vault", old("u2", "acme", &["editor"]), boss(), false),
        ("not privileged", "/orgs/acme/write", member(), boss(), false),
        (
            "nobody on the legacy side",
            "/vault",
            legacy::Verdict::Unverifiable { carrier: Carrier::Cookie },
            boss(),
            false,
        ),
        ("sealed", "/vault", sealed(member()), boss(), false),
    ];
    for (name, path, legacy, clerk, expected) in table {
        let (_, shadow) = shadow(&snapshot, now, path, legacy, clerk);
        let widens = shadow.and_then(|shadow| shadow.evidence).is_some_and(|evidence| evidence.widens);
        assert_eq!(widens, expected, "{name}");
    }
}

#[test]
fn nothing_is_compared_where_nobody_is_asked_for_or_one_came_alone() {
    let (snapshot, now) = (snapshot(), clock::now());
    let (admin, boss) = (|| old("u1", "acme", &["admin"]), || new("u1", "acme", "org:admin"));
    assert!(shadow(&snapshot, now, "/public", admin(), boss()).1.is_none());
    assert!(shadow(&snapshot, now, "/me", admin(), Verdict::Absent).1.is_none());
    assert!(shadow(&snapshot, now, "/me", legacy::Verdict::Absent, boss()).1.is_none());
    let off = Snapshot { shadow: None, ..snapshot };
    assert!(shadow(&off, now, "/me", admin(), boss()).1.is_none());
}

#[test]
fn the_bits_of_a_comparison_are_its_disagreements() {
    let (snapshot, now) = (snapshot(), clock::now());
    let (_, shadow) = shadow(&snapshot, now, "/me", old("u1", "acme", &["editor"]), new("u1", "acme", "org:admin"));
    let comparison = shadow.unwrap().comparison;
    assert_eq!(comparison.disagreements(), Dimension::Role.bit());
    assert_eq!(comparison.overall(), Outcome::Disagree);
}
