use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::template::{Source, Sources, Template};
use super::{
    Cause, OrgName, OrgRule, PermissionName, Permit, Policy, Preset, Refusal, ReverificationParams, Reverified,
    RoleName, Rule, Trace, Tri, Why, authorize,
};
use crate::identity::{Facts, Identity, Org, TokenKind};
use crate::request::{CanonicalPath, Client, Credentials, Oddities, Peer, Request, TrustedProxies, View};
use crate::route::{Access, Definition, Found, Mode, Pattern, Place, Routes, WebSocket};

/// One request and the one route that it falls under.
pub(super) struct Asked {
    routes: Routes,
    request: Request,
    headers: HeaderMap,
}

impl Asked {
    pub(super) fn new(pattern: &str, target: &str, lines: &[(&'static str, &str)]) -> Self {
        Self::with(pattern, target, lines, Access::Protected, Mode::Enforce)
    }

    fn with(pattern: &str, target: &str, lines: &[(&'static str, &str)], access: Access, mode: Mode) -> Self {
        let definition = Definition {
            id: "route".into(),
            place: Place { file: "routes.yaml".into(), line: 1 },
            pattern: Pattern::parse(pattern).unwrap(),
            methods: Vec::new(),
            host: None,
            headers: Vec::new(),
            query: Vec::new(),
            access,
            mode,
            timeout: None,
            websocket: WebSocket::default(),
            private: false,
            upstream: 3,
            names_upstream: false,
            exact_paths: false,
            tolerates: crate::request::Oddities::NONE,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let client = Client::read(&headers, None, Peer::Unix, false, &TrustedProxies::default(), &|| [7; 16]);
        let request = Request {
            method: Method::GET,
            host: None,
            authority: None,
            path: CanonicalPath::parse(path.as_bytes()).unwrap(),
            query: query.map(Into::into),
            client,
            credentials: Credentials::default(),
            preflight: None,
            handshake: None,
            oddities: Oddities::NONE,
        };
        Self { routes: Routes::compile(vec![definition]).unwrap(), request, headers }
    }

    pub(super) fn pattern(&self) -> Pattern {
        self.routes.get(0).unwrap().pattern.clone()
    }

    fn view(&self) -> View<'_> {
        View { request: &self.request, headers: &self.headers }
    }

    fn found(&self) -> Found<'_, '_> {
        self.routes.find(&self.view()).unwrap()
    }

    pub(super) fn with_source<T>(&self, read: impl FnOnce(&Source<'_, '_>) -> T) -> T {
        let found = self.found();
        read(&Source::new(&found.captures, &self.view()))
    }

    pub(super) fn label(&self, template: &Template, facts: Option<Facts>) -> String {
        let identity = facts.map(|facts| Identity::new(facts, Vec::new()));
        template.label(&self.found().captures, &self.view(), identity.as_ref())
    }

    fn authorize(&self, policy: &Policy, facts: Option<Facts>, trace: &mut impl Trace) -> Result<Permit, Refusal> {
        let identity = facts.map(|facts| Arc::new(Identity::new(facts, Vec::new())));
        let found = self.found();
        authorize(found.route, policy, identity.as_ref(), &found.captures, &self.view(), trace)
    }
}

pub(super) fn named(namespace: OrgName, template: &str, pattern: &Pattern) -> OrgRule {
    OrgRule::Named { namespace, template: Template::parse(template, pattern, Sources::Request).unwrap() }
}

/// `u1`, active in `org_1` (slug `acme`) as `org:member`, first factor just now and no second one.
pub(super) fn member() -> Facts {
    Facts {
        subject: "u1".to_owned(),
        org: Some(Org {
            id: "org_1".to_owned(),
            slug: Some("acme".to_owned()),
            role: Some("org:member".to_owned()),
            permissions: Some(vec!["org:posts:read".to_owned()]),
        }),
        factor_ages: Some([0.0, -1.0]),
        ..Facts::default()
    }
}

fn forbidden(predicate: &'static str, why: Why) -> Refusal {
    Refusal::Forbidden { predicate, why }
}

fn role(name: &str) -> Rule {
    Rule::Role(vec![RoleName::new(name)])
}

fn reverified(preset: Preset) -> Rule {
    Rule::Reverified(Reverified::from(preset))
}

#[test]
fn the_first_failing_predicate_is_named_in_one_order() {
    let asked = Asked::new("/orgs/{org}", "/orgs/org_1", &[]);
    let org = |text| Rule::Org(vec![named(OrgName::ClerkId, text, &asked.pattern())]);
    let permission = || Rule::Permission(vec![PermissionName::new("posts:write")]);
    let table = [
        ("nothing asked", vec![], Ok(())),
        ("all hold", vec![role("member"), org("{org}")], Ok(())),
        ("org before role", vec![role("admin"), org("org_2")], Err(("org", Why::False))),
        ("role before permission", vec![permission(), role("admin"), org("{org}")], Err(("role", Why::False))),
        (
            "unknown is named with its cause",
            vec![Rule::Workspace(vec![]), role("admin")],
            Err(("workspace", Why::False)),
        ),
        ("any", vec![Rule::Any(vec![role("admin"), permission()])], Err(("any", Why::False))),
        ("any holds", vec![Rule::Any(vec![role("admin"), role("member")])], Ok(())),
        ("not", vec![Rule::Not(Box::new(role("member")))], Err(("not", Why::False))),
        ("not holds", vec![Rule::Not(Box::new(role("admin")))], Ok(())),
        ("inside all", vec![Rule::All(vec![permission(), role("admin")])], Err(("role", Why::False))),
        ("empty any", vec![Rule::Any(vec![])], Err(("any", Why::False))),
        ("other token", vec![Rule::Token(vec![]), role("admin")], Err(("token", Why::False))),
        ("session token", vec![Rule::Token(vec![TokenKind::Session])], Ok(())),
    ];
    for (name, rules, expected) in table {
        let outcome = asked.authorize(&Policy::new(rules), Some(member()), &mut ()).map(|_| ());
        assert_eq!(outcome, expected.map_err(|(predicate, why)| forbidden(predicate, why)), "{name}");
    }
}

#[test]
fn what_cannot_be_told_denies_with_its_cause() {
    let asked = Asked::new("/", "/", &[]);
    let table = [
        ("role", role("guest")),
        ("not", Rule::Not(Box::new(role("guest")))),
        ("not", Rule::Not(Box::new(Rule::Not(Box::new(role("guest")))))),
        ("any", Rule::Any(vec![role("guest"), Rule::Not(Box::new(role("guest")))])),
    ];
    for (predicate, rule) in table {
        let refusal = asked.authorize(&Policy::new(vec![rule]), Some(Facts::default()), &mut ()).unwrap_err();
        assert_eq!(refusal, forbidden(predicate, Why::Unknown(Cause::NoOrg)));
        assert_eq!(refusal.predicate(), predicate);
    }
}

#[test]
fn reverification_is_asked_for_only_when_it_would_help() {
    let asked = Asked::new("/", "/", &[]);
    let stale = || Facts { factor_ages: Some([30.0, -1.0]), ..member() };
    let preset = |preset: Preset| Err(Refusal::Reverification(ReverificationParams::Preset(preset.as_str())));
    let both = |first, second| Rule::All(vec![first, second]);
    let table = [
        ("fresh", member(), vec![reverified(Preset::Strict)], Ok(())),
        ("stale", stale(), vec![reverified(Preset::Strict)], preset(Preset::Strict)),
        ("lax enough", stale(), vec![reverified(Preset::Moderate)], Ok(())),
        ("claim missing", Facts { factor_ages: None, ..member() }, vec![reverified(Preset::Lax)], preset(Preset::Lax)),
        (
            "wrong role too",
            stale(),
            vec![role("admin"), reverified(Preset::Strict)],
            Err(forbidden("role", Why::False)),
        ),
        ("right role", stale(), vec![role("member"), reverified(Preset::Strict)], preset(Preset::Strict)),
        (
            "the branch that would hold",
            stale(),
            vec![Rule::Any(vec![
                both(role("admin"), reverified(Preset::Strict)),
                both(role("member"), reverified(Preset::StrictMfa)),
            ])],
            preset(Preset::StrictMfa),
        ),
        (
            "either branch: the first",
            stale(),
            vec![Rule::Any(vec![reverified(Preset::Strict), reverified(Preset::StrictMfa)])],
            preset(Preset::Strict),
        ),
        (
            "both needed: one after the other",
            stale(),
            vec![reverified(Preset::Strict), reverified(Preset::StrictMfa)],
            preset(Preset::Strict),
        ),
        (
            "under not it never helps",
            member(),
            vec![Rule::Not(Box::new(reverified(Preset::Strict)))],
            Err(forbidden("not", Why::False)),
        ),
        (
            "under not a missing claim lets nobody in",
            Facts { factor_ages: None, ..member() },
            vec![Rule::Not(Box::new(reverified(Preset::Strict)))],
            Err(forbidden("not", Why::Unknown(Cause::MissingClaim))),
        ),
    ];
    for (name, facts, rules, expected) in table {
        let outcome = asked.authorize(&Policy::new(rules), Some(facts), &mut ()).map(|_| ());
        assert_eq!(outcome, expected, "{name}");
    }
}

#[test]
fn access_and_mode_decide_what_a_refusal_does() {
    let policy = || Policy::new(vec![role("admin")]);
    let report = |access, mode, facts| Asked::with("/", "/", &[], access, mode).authorize(&policy(), facts, &mut ());

    let public = report(Access::Public, Mode::Enforce, Some(member())).unwrap();
    assert_eq!(public.identity().unwrap().facts.subject, "u1");
    assert!(public.reported().is_none());
    assert_eq!((public.route_index(), public.upstream()), (0, 3));
    assert!(report(Access::Public, Mode::Enforce, None).unwrap().identity().is_none());

    assert!(report(Access::Protected, Mode::Enforce, Some(member())).is_err());
    let reported = report(Access::Protected, Mode::Report, Some(member())).unwrap();
    assert_eq!(reported.reported().unwrap().to_string(), "role does not hold");
    assert!(reported.identity().is_some());

    for mode in [Mode::Enforce, Mode::Report] {
        let nobody = report(Access::Protected, mode, None).unwrap_err();
        assert_eq!(nobody, forbidden("token", Why::Unknown(Cause::NoIdentity)), "{mode:?}");
    }
}

#[derive(Default)]
struct Heard(Vec<String>);

impl Trace for Heard {
    fn note(&mut self, predicate: &'static str, outcome: Tri, detail: impl FnOnce() -> String) {
        self.0.push(format!("{predicate} {}: {}", outcome.as_str(), detail()));
    }
}

#[test]
fn a_trace_hears_every_predicate_with_what_was_asked_and_what_is_there() {
    let asked = Asked::new("/orgs/{org}", "/orgs/org_2", &[]);
    let policy = Policy::new(vec![
        role("admin"),
        Rule::Org(vec![named(OrgName::ClerkId, "{org}", &asked.pattern())]),
        Rule::Any(vec![Rule::Permission(vec![PermissionName::new("posts:read")]), reverified(Preset::Lax)]),
    ]);
    let mut heard = Heard::default();
    asked.authorize(&policy, Some(member()), &mut heard).unwrap_err();
    let expected = [
        "token true: asked session, legacy; has session",
        "org false: asked {org} = org_2; has org_1, acme",
        "role false: asked org:admin; has org:member",
        "permission true: asked org:posts:read; has org:posts:read",
        "any true: one of 2 must hold",
    ];
    assert_eq!(heard.0, expected);
}

#[test]
fn a_policy_says_which_headers_it_reads() {
    let pattern = Pattern::parse("/").unwrap();
    let org = |text| Rule::Org(vec![OrgRule::Any, named(OrgName::Slug, text, &pattern)]);
    let policy = Policy::new(vec![Rule::Any(vec![org("{header.x-a}"), Rule::Not(Box::new(org("{header.x-b}")))])]);
    assert_eq!(policy.header_names().iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["x-a", "x-b"]);
}

#[test]
fn who_lacks_the_id_that_is_asked_for_is_unmapped_and_who_has_none_forbidden() {
    let asked = Asked::new("/orgs/{org}", "/orgs/acme", &[]);
    let org = || Rule::Org(vec![named(OrgName::LegacyId, "{org}", &asked.pattern())]);
    let unmapped = || Err(Refusal::Unmapped { predicate: "org" });
    let mapped = |id: &str| Facts { legacy_org: Some(id.to_owned()), ..member() };
    let table = [
        ("mapped", mapped("acme"), vec![org()], Ok(())),
        ("unmapped", member(), vec![org()], unmapped()),
        ("unmapped, and no role either", member(), vec![org(), role("admin")], unmapped()),
        ("another org", mapped("globex"), vec![org()], Err(forbidden("org", Why::False))),
        ("no org", Facts { org: None, ..member() }, vec![org()], Err(forbidden("org", Why::False))),
        (
            "another token",
            member(),
            vec![org(), Rule::Token(vec![TokenKind::Legacy])],
            Err(forbidden("token", Why::False)),
        ),
        ("another way in", member(), vec![Rule::Any(vec![org(), role("member")])], Ok(())),
        ("under not", member(), vec![Rule::Not(Box::new(org()))], Err(Refusal::Unmapped { predicate: "not" })),
    ];
    for (name, facts, rules, expected) in table {
        let outcome = asked.authorize(&Policy::new(rules), Some(facts), &mut ()).map(|_| ());
        assert_eq!(outcome, expected, "{name}");
    }
}
