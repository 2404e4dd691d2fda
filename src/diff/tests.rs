//! Typical edits and what is said of them; and random small configs, where all requests and people of a small world are
//! asked one by one and must find what the comparison finds, and nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use http::{HeaderName, Method};
use serde_json::json;

use super::judge::{Asker, judge};
use super::request::{Sample, find};
use super::{Difference, Direction, Effect, FailOn, Landing, Outcome, Version, Written, compare};
use crate::clock;
use crate::config;
use crate::identity::{self, Facts, Identity, Org, Scoped, TokenKind, Workspace, Workspaces};
use crate::rollout::Side;
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::Metrics;

const HEAD: &str = r#"
listeners: [{ address: 127.0.0.1:8080 }]
upstreams: { app: { endpoints: [127.0.0.1:3000] } }
clerk:
  - name: main
    issuer: https://clerk.example.com
    jwks: { file: jwks.json }
    authorized_parties: [https://app.example.com]
identity: { workspaces: { claim: workspaces }, roles: { "org:r1": [m1], "org:r2": [m1, m2] } }
policies: [policy.yaml]
"#;

const LEGACY: &str = r#"
legacy:
  credential: { header: authorization, scheme: Bearer }
  verify: { jwt: { algorithms: [HS256], secret_file: secret } }
"#;

fn version(folder: &Path, head: &str, policy: &str) -> Version {
    std::fs::create_dir_all(folder).unwrap();
    let jwks = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/keys/set.json");
    let keys = std::fs::read(jwks).unwrap();
    std::fs::write(folder.join("jwks.json"), keys).unwrap();
    std::fs::write(folder.join("secret"), "0123456789abcdef0123456789abcdef").unwrap();
    std::fs::write(folder.join("policy.yaml"), policy).unwrap();
    let path = folder.join("crossgate.yaml");
    std::fs::write(&path, head).unwrap();
    let loaded = config::load(&path, &|_| None, &Metrics::new().unwrap(), None);
    let errors: Vec<String> =
        loaded.problems.iter().filter(|problem| problem.is_error()).map(ToString::to_string).collect();
    let compiled = loaded.compiled.unwrap_or_else(|| panic!("{errors:?}\n{policy}"));
    let written = config::written(&path, &|_| None).unwrap();
    Version { snapshot: compiled.snapshot, written: Written { document: written.document, files: written.files } }
}

fn difference(old: &str, new: &str) -> Difference {
    with_heads((HEAD, old), (HEAD, new))
}

fn with_heads(old: (&str, &str), new: (&str, &str)) -> Difference {
    let folder = tempfile::tempdir().unwrap();
    let mut old = version(&folder.path().join("old"), old.0, old.1);
    let mut new = version(&folder.path().join("new"), new.0, new.1);
    compare(&mut old, &mut new, clock::now())
}

fn route(rest: &str) -> String {
    format!("routes:\n  - {{ id: a, match: {{ method: [POST], path: \"/orgs/{{org}}/x\" }}, {rest} }}\n")
}

/// One line a case, without what is the same in each.
fn lines(difference: &Difference) -> Vec<String> {
    let mut lines = Vec::new();
    for change in &difference.changes {
        for case in &change.cases {
            let who: Vec<String> =
                case.who.iter().map(|who| format!("{}: {}", who.kinds.join("/"), who.traits.join(", "))).collect();
            lines.push(format!("{} [{}]", case.direction.as_str(), who.join(" | ")));
        }
    }
    lines
}

#[test]
fn typical_edits() {
    let org = r#"org: "{org}""#;
    let table: Vec<(&str, String, String, Vec<&str>)> = vec![
        ("nothing", route(&format!("require: {{ {org} }}")), route(&format!("require: {{ {org} }}")), vec![]),
        (
            "a role is added to a list",
            route(&format!("require: {{ {org}, role: [org:r1] }}")),
            route(&format!("require: {{ {org}, role: [org:r1, org:r3] }}")),
            vec!["widening [session: org {org}, role org:r3]"],
        ),
        (
            "a role is taken off a list",
            route(&format!("require: {{ {org}, role: [org:r1, org:r3] }}")),
            route(&format!("require: {{ {org}, role: [org:r3] }}")),
            vec!["narrowing [session: org {org}, role org:r1]"],
        ),
        (
            "the tenant rule goes",
            route(&format!("require: {{ {org} }}")),
            route("require: { token: [session] }"),
            vec!["widening [session: another org or no org]"],
        ),
        (
            "made public",
            route(&format!("require: {{ {org} }}")),
            route("access: public"),
            vec!["widening [no credential: ]", "widening [session: another org or no org]"],
        ),
        (
            "enforce becomes report",
            route(&format!("require: {{ {org} }}")),
            route(&format!("mode: report, require: {{ {org} }}")),
            vec!["widening [no credential: ]", "widening [session: another org or no org]"],
        ),
        (
            "one of two becomes both",
            route(&format!("require: {{ {org}, any: [{{ feature: f }}, {{ plan: p }}] }}")),
            route(&format!("require: {{ {org}, feature: f, plan: p }}")),
            vec![
                "narrowing [session: org {org}, feature f, without plan p | session: org {org}, without feature f, plan p]",
                "reason []",
            ],
        ),
        (
            "`not` is turned round",
            route("require: { not: { claim: { blocked: true } } }"),
            route("require: { claim: { blocked: true } }"),
            vec!["widening [session: claim blocked true]", "narrowing [session: claim blocked false]", "reason []"],
        ),
        (
            "fresher factors",
            route("require: { reverified: lax }"),
            route("require: { reverified: strict }"),
            vec![
                "narrowing [session: factor ages, first factor 10 to 1440 min, second factor 10 to 1440 min or no second factor | session: factor ages, second factor 10 to 1440 min]",
            ],
        ),
        (
            "a condition beside a role that is added",
            route("require: { org: any, role: org:r1, when: 'claims.level >= 3' }"),
            route("require: { org: any, role: [org:r1, org:r3], when: 'claims.level  >=  3' }"),
            vec!["widening [session: in an org, role org:r3, condition claims.level >= 3 holds]", "reason []"],
        ),
        (
            "another condition",
            route("require: { when: 'claims.level >= 3' }"),
            route("require: { when: 'claims.level >= 4' }"),
            vec![
                "widening [session: condition claims.level >= 3 fails or condition claims.level >= 3 cannot be told, \
                 condition claims.level >= 4 holds]",
                "narrowing [session: condition claims.level >= 3 holds, condition claims.level >= 4 fails or condition \
                 claims.level >= 4 cannot be told]",
            ],
        ),
        (
            "another workspace",
            route(r#"require: { workspace: "{org}" }"#),
            route(r#"require: { workspace: { id: "{org}", role: [editor] } }"#),
            vec!["narrowing [session: workspace {org} or workspace {org} in another role]"],
        ),
    ];
    let mut failures = Vec::new();
    for (name, old, new, expected) in table {
        let told = lines(&difference(&old, &new));
        if told != expected {
            failures.push(format!("{name}:\n  expected {expected:#?}\n  told {told:#?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn routes(list: &[(&str, &str, &str)]) -> String {
    let line = |(id, matches, rest): &(&str, &str, &str)| {
        let rest = if rest.is_empty() { String::new() } else { format!(", {rest}") };
        format!("  - {{ id: {id}, match: {{ {matches} }}{rest} }}\n")
    };
    format!("routes:\n{}", list.iter().map(line).collect::<String>())
}

/// `old route → new route: paths`, with the directions.
fn moves(difference: &Difference) -> Vec<String> {
    let name = |landing: &Landing| match landing {
        Landing::Route { id, .. } => id.clone(),
        Landing::Refused { code, .. } => (*code).to_owned(),
    };
    let told = difference.changes.iter().map(|change| {
        let paths: Vec<&str> = change.paths.iter().map(String::as_str).collect();
        let methods: Vec<&str> = change.methods.iter().map(String::as_str).collect();
        let directions: Vec<&str> = change.cases.iter().map(|case| case.direction.as_str()).collect();
        format!(
            "{} {}: {} → {}: {}",
            methods.join(","),
            paths.join(" "),
            name(&change.old),
            name(&change.new),
            directions.join(" ")
        )
    });
    told.collect()
}

#[test]
fn routes_that_come_and_go_show_as_requests_that_land_elsewhere() {
    let all = ("all", r#"path: "/api/{*rest}""#, "");
    let public = ("open", r#"path: "/api/{name}/status""#, "access: public");
    let told = moves(&difference(&routes(&[all]), &routes(&[all, public])));
    assert!(told.iter().any(|line| line == "GET /api/{name}/status: all → open: widening"), "{told:?}");
    let told = moves(&difference(&routes(&[all, public]), &routes(&[all])));
    assert!(told.iter().any(|line| line == "GET /api/{name}/status: open → all: narrowing"), "{told:?}");
    let one = ("one", r#"method: [GET], path: "/one""#, "");
    let told = moves(&difference(&routes(&[all, one]), &routes(&[all])));
    assert_eq!(told, ["GET,HEAD /one: one → no_route: narrowing other"], "everybody else had 401 and has 403");
    // A literal that shadows a segment takes other spellings of it from everybody.
    let by_name = ("name", r#"path: "/api/{name}""#, "");
    let admin = ("admin", r#"path: /api/admin"#, "");
    let told = moves(&difference(&routes(&[by_name]), &routes(&[by_name, admin])));
    assert!(told.iter().any(|line| line.contains("/api/ADMIN") && line.contains("name → bad_path")), "{told:?}");
}

#[test]
fn what_is_only_written_otherwise_is_no_change() {
    let old = routes(&[
        ("a", r#"method: [GET, POST], path: "/a/{x}""#, r#"require: { org: "{x}", role: [org:r1, r2] }"#),
        ("b", r#"path: "/b""#, "access: public"),
    ]);
    let new = routes(&[
        ("renamed", r#"path: "/b""#, "access: public"),
        ("a", r#"method: [POST, GET], path: "/a/{y}""#, r#"require: { role: [org:r2, org:r1], org: "{y}" }"#),
    ]);
    let told = difference(&old, &new);
    assert!(told.changes.is_empty() && !told.has(FailOn::Any), "{:?}", lines(&told));
    assert_eq!(told.also.iter().map(|also| also.what.as_str()).collect::<Vec<_>>(), ["route b is now renamed"]);
}

#[test]
fn access_changes_what_becomes_of_a_request_when_things_fail() {
    let told = difference(&route("access: protected"), &route("access: privileged"));
    assert!(told.also.iter().any(|also| also.effect == Effect::Narrows), "{:?}", told.also);
    assert!(!told.has(FailOn::Widening) && told.has(FailOn::Narrowing));
    let told = difference(&route("access: privileged"), &route("access: protected"));
    assert!(told.has(FailOn::Widening) && !told.has(FailOn::Narrowing), "{:?}", told.also);
    // Of people with a legacy credential, those who are in the Clerk arm have to step up.
    let head = format!("{HEAD}{LEGACY}");
    let told = with_heads((&head, &route("access: protected")), (&head, &route("access: privileged")));
    assert_eq!(lines(&told), ["narrowing [legacy: clerk arm]"]);
}

#[test]
fn kinds_of_tokens_and_legacy_roles() {
    let head = format!("{HEAD}{LEGACY}");
    let (old, new) = (route("require: { token: [session] }"), route("require: { token: [session, legacy] }"));
    assert_eq!(lines(&with_heads((&head, &old), (&head, &new))), ["widening [legacy: ]"]);
    let rule = route(r#"require: { org: "{org}", role: org:r2 }"#);
    let fewer = head.replace("[m1, m2]", "[m2]");
    let told = with_heads((&head, &rule), (&fewer, &rule));
    assert_eq!(lines(&told), ["narrowing [legacy: org {org}, legacy role m1]"]);
    assert!(told.also.iter().any(|also| also.what.starts_with("identity.roles")), "{:?}", told.also);
}

#[test]
fn settings_that_change_who_gets_in_are_told() {
    let rule = route(r#"require: { org: "{org}" }"#);
    let told = with_heads((HEAD, &rule), (&format!("{HEAD}{LEGACY}"), &rule));
    assert!(told.has(FailOn::Widening), "{:?}", told.also);
    assert!(told.also.iter().any(|also| also.what == "legacy added"), "{:?}", told.also);
    let other = HEAD.replace("https://app.example.com", "https://other.example.com");
    let told = with_heads((HEAD, &rule), (&other, &rule));
    assert!(told.has(FailOn::Widening) && told.changes.is_empty(), "{:?}", told.also);
}

#[test]
fn too_many_people_to_try_are_told() {
    let permissions: Vec<String> = (0..14).map(|n| format!("p{n}")).collect();
    let rule = |names: &[String]| {
        let each: Vec<String> = names.iter().map(|name| format!("{{ permission: {name} }}")).collect();
        route(&format!("require: {{ org: any, any: [{}] }}", each.join(", ")))
    };
    let told = difference(&rule(&permissions), &rule(&permissions[1..]));
    assert_eq!(told.gaps.len(), 1, "{:?}", told.gaps);
    assert!([FailOn::Any, FailOn::Widening, FailOn::Narrowing].into_iter().all(|what| told.has(what)));
}

/// Second reader: a person with three of four values got in by the new rule and by the old one did not, and was not tried.
#[test]
fn people_have_as_many_values_as_rules_can_ask_for() {
    let claims = |names: &[&str]| {
        let each: Vec<String> = names.iter().map(|name| format!("{{ claim: {{ d: {name} }} }}")).collect();
        route(&format!("require: {{ all: [{}] }}", each.join(", ")))
    };
    let told = difference(&claims(&["v", "w", "x", "y"]), &claims(&["v", "w", "x"]));
    assert!(told.has(FailOn::Widening) && told.gaps.is_empty(), "{:?}", lines(&told));
    assert!(lines(&told)[0].contains(r#"claim d "v" and "w" and "x""#), "{:?}", lines(&told));

    let roles: Vec<String> = (0..9).map(|n| format!("\"org:q{n}\": [l{n}]")).collect();
    let head = format!("{HEAD}{LEGACY}").replace("roles: {", &format!("roles: {{ {},", roles.join(", ")));
    let roles = |numbers: std::ops::Range<usize>| {
        let each: Vec<String> = numbers.map(|n| format!("{{ role: org:q{n} }}")).collect();
        route(&format!(r#"require: {{ org: "{{org}}", all: [{}] }}"#, each.join(", ")))
    };
    let told = with_heads((&head, &roles(0..4)), (&head, &roles(0..3)));
    assert!(lines(&told).iter().any(|line| line.contains("legacy roles l0 and l1 and l2")), "{:?}", lines(&told));
}

#[test]
fn an_org_of_two_namespaces_or_a_long_list_is_bounded() {
    let list = |n: usize, of: &str| (0..n).map(|at| of.replace('#', &at.to_string())).collect::<Vec<_>>().join(", ");
    // 2^40 sets of workspaces: those that matter are one at a time.
    let spaces = |n| route(&format!("require: {{ org: any, workspace: [{}] }}", list(n, "w#")));
    let told = difference(&spaces(40), &spaces(41));
    assert_eq!(
        (lines(&told), told.gaps.len()),
        (vec!["widening [session: in an org, only workspace w40]".to_owned()], 0)
    );
    let values = |n| route(&format!("require: {{ claim: {{ d: [{}] }} }}", list(n, "v#")));
    let told = difference(&values(3000), &values(3001));
    assert_eq!(lines(&told), [r#"widening [session: claim d "v3000"]"#]);
    let orgs = |n| {
        let (slugs, ids) = (list(n, "{ slug: s# }"), list(n, "o#"));
        route(&format!("require: {{ any: [{{ org: [{slugs}] }}, {{ org: [{ids}] }}] }}"))
    };
    let told = difference(&orgs(100), &orgs(101));
    assert!(told.gaps.len() == 1 && told.has(FailOn::Widening), "{:?}", told.gaps);
}

#[test]
fn runner_tokens_of_the_legacy_login_are_asked_about() {
    let head = format!("{HEAD}{LEGACY}runner: {{ enabled: true, audience: runner, scopes: [go] }}\n");
    let rule = route(r#"require: { org: "{org}", token: [runner], scope: [go], role: org:r2 }"#);
    let fewer = head.replace("[m1, m2]", "[m2]");
    let told = with_heads((&fewer, &rule), (&head, &rule));
    let expected = ["widening [runner by the legacy login: org {org}, legacy role m1, scope go]"];
    assert_eq!(lines(&told)[..1], expected, "{:?}", told.also);
}

/// `audit.on_failure` and the route must both say so: the config alone can change it.
#[test]
fn what_goes_on_unrecorded_is_told_where_only_the_config_changes() {
    let rule = route("access: privileged, audit: { best_effort: true }");
    let head = |word: &str| format!("{HEAD}audit: {{ file: audit.jsonl, on_failure: {word} }}\n");
    let told = with_heads((&head("deny"), &rule), (&head("allow"), &rule));
    assert!(told.has(FailOn::Widening) && !told.has(FailOn::Narrowing), "{:?}", told.also);
    let told = with_heads((&head("allow"), &rule), (&head("deny"), &rule));
    assert!(told.has(FailOn::Narrowing) && !told.has(FailOn::Widening), "{:?}", told.also);
}

#[test]
fn another_api_is_a_change_and_one_that_gets_no_minted_token_lets_more_people_in() {
    let head = format!(
        "{HEAD}{LEGACY}  mint: {{ algorithm: HS256, key_file: secret, claims: {{ sub: \"{{clerk_user}}\" }} }}\n"
    );
    let head = head.replace(
        "app: { endpoints: [127.0.0.1:3000] }",
        "app: { endpoints: [127.0.0.1:3000], credentials: { authorization: legacy_token } }, other: { endpoints: [127.0.0.1:3001] }",
    );
    let told = with_heads((&head, &route("upstream: app")), (&head, &route("upstream: other")));
    assert!(told.has(FailOn::Any) && told.has(FailOn::Widening), "{:?}", told.also);
    let told = with_heads((&head, &route("upstream: other")), (&head, &route("upstream: app")));
    assert!(told.has(FailOn::Narrowing) && !told.has(FailOn::Widening), "{:?}", told.also);
}

/// A name that ends in another one's made the shapes differ.
#[test]
fn names_of_segments_that_end_alike_are_names_only() {
    let old = routes(&[("a", r#"path: "/a/{org}/{myorg}""#, "")]);
    let new = routes(&[("a", r#"path: "/a/{x}/{y}""#, "")]);
    let told = difference(&old, &new);
    assert!(!told.has(FailOn::Any) && told.also.is_empty(), "{:?}", told.also);
}

#[test]
fn thousands_of_changed_routes_are_compared_each_by_itself() {
    let all = |access: &str| {
        let each = (0..1000)
            .map(|n| format!("  - {{ id: r{n}, match: {{ path: \"/s{n}/{{org}}/x\" }}, access: {access} }}\n"));
        format!("routes:\n{}", each.collect::<String>())
    };
    let told = difference(&all("protected"), &all("public"));
    assert!(told.gaps.is_empty(), "{:?}", told.gaps);
    assert_eq!(told.changes.len(), 1000);
}

// A small world: every request and everybody in it.

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % sides
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.roll(of.len())]
    }
}

const PATHS: [&str; 9] = ["/a", "/a/{x}", "/{x}/b", "/a/{*x}", "/{*x}", "/A/{x}", "/a/b", "/a/b/", "/{x}"];

fn atom(dice: &mut Dice) -> String {
    match dice.roll(10) {
        0 => r#"org: "{x}""#.to_owned(),
        1 => "org: any".to_owned(),
        2 => format!("org: any, role: [{}]", dice.pick(&["org:r1", "r2", "org:r1, org:r2"])),
        3 => "org: any, permission: p".to_owned(),
        4 => format!("claim: {{ d: [{}] }}", dice.pick(&["eng", "ops", "eng, ops"])),
        5 => "feature: f".to_owned(),
        6 => format!("reverified: {}", dice.pick(&["strict", "moderate"])),
        7 => r#"workspace: "{x}""#.to_owned(),
        8 => format!("token: [{}]", dice.pick(&["session", "legacy", "session, legacy"])),
        _ => r#"org: "{x}", role: org:r1"#.to_owned(),
    }
}

fn rule(dice: &mut Dice, has_capture: bool) -> String {
    let mut one = || loop {
        let atom = atom(dice);
        if has_capture || !atom.contains("{x}") {
            return (atom, dice.roll(12));
        }
    };
    let ((first, how), (second, _)) = (one(), one());
    match how {
        0 => format!("any: [{{ {first} }}, {{ {second} }}]"),
        1 => format!("not: {{ {first} }}"),
        2 => format!("all: [{{ {first} }}, {{ {second} }}]"),
        3 => format!("any: [{{ {first} }}, {{ not: {{ {second} }} }}]"),
        _ => first,
    }
}

/// A route as text, without its id.
fn random_route(dice: &mut Dice) -> String {
    let path = dice.pick(&PATHS);
    let method = dice.pick(&["", "", "method: [GET], ", "method: [POST], ", "method: [GET, POST], "]);
    let host = dice.pick(&["", "", "", "", "host: h.test, ", "host: \"*.h.test\", "]);
    let more = dice.pick(&["", "", "", "", "", "header: { x-env: prod }, ", "query: { v: \"1\" }, "]);
    let matches = format!("match: {{ {method}{host}{more}path: \"{path}\" }}");
    match dice.roll(8) {
        0 => format!("{matches}, access: public"),
        1 => matches,
        2 => format!("{matches}, mode: report, require: {{ {} }}", rule(dice, path.contains('{'))),
        3 => format!("{matches}, access: privileged, require: {{ {} }}", rule(dice, path.contains('{'))),
        _ => format!("{matches}, require: {{ {} }}", rule(dice, path.contains('{'))),
    }
}

fn policy(routes: &BTreeMap<usize, String>) -> String {
    let lines = routes.iter().map(|(id, text)| format!("  - {{ id: r{id}, {text} }}\n"));
    format!("routes:\n{}", lines.collect::<String>())
}

/// Whether the config takes it: routes that cannot be told apart and rules that cannot hold are refused.
fn is_good(folder: &Path, head: &str, text: &str) -> bool {
    std::fs::create_dir_all(folder).unwrap();
    let keys = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/keys/set.json")).unwrap();
    std::fs::write(folder.join("jwks.json"), keys).unwrap();
    std::fs::write(folder.join("secret"), "0123456789abcdef0123456789abcdef").unwrap();
    std::fs::write(folder.join("policy.yaml"), text).unwrap();
    std::fs::write(folder.join("crossgate.yaml"), head).unwrap();
    config::load(&folder.join("crossgate.yaml"), &|_| None, &Metrics::new().unwrap(), None).compiled.is_some()
}

fn everybody(path: &str, has_legacy: bool) -> Vec<Asker> {
    let mut orgs: Vec<Option<String>> = vec![None, Some("q".to_owned())];
    let tails = path.match_indices('/').map(|(at, _)| path[at + 1..].to_owned());
    let segments = path.split('/').map(str::to_owned);
    for name in segments.chain(tails).filter(|name| !name.is_empty()) {
        if !orgs.contains(&Some(name.clone())) {
            orgs.push(Some(name));
        }
    }
    let roles = ["", "org:r1", "org:r2", "org:r9"];
    let places: Vec<Option<String>> = orgs.iter().take(4).cloned().collect();
    let mut all = vec![Asker::Nobody];
    let claims =
        [json!({}), json!({ "d": "eng" }), json!({ "d": "ops" }), json!({ "d": "hr" }), json!({ "d": ["eng", "ops"] })];
    let ages = [None, Some([1.0, 1.0]), Some([30.0, 30.0]), Some([90.0, 90.0])];
    for org in &orgs {
        for role in roles {
            for place in &places {
                for claims in &claims {
                    // The rest is independent enough to be dealt round.
                    for more in 0..8_usize {
                        let legacy = has_legacy && more >= 6;
                        let facts = Facts {
                            method: if legacy { identity::Method::Legacy } else { identity::Method::Clerk },
                            token: if legacy { TokenKind::Legacy } else { TokenKind::Session },
                            subject: "u".to_owned(),
                            clerk_user: (!legacy).then(|| "u".to_owned()),
                            legacy_user: has_legacy.then(|| "u".to_owned()),
                            legacy_org: org.clone().filter(|_| has_legacy),
                            legacy_roles: match role {
                                "org:r1" if legacy => vec!["m1".to_owned()],
                                "org:r2" if legacy => vec!["m2".to_owned()],
                                "org:r9" if legacy => vec!["m9".to_owned()],
                                _ => Vec::new(),
                            },
                            org: org.clone().filter(|_| !legacy).map(|id| Org {
                                id,
                                slug: None,
                                role: (!role.is_empty()).then(|| role.to_owned()),
                                permissions: Some(if more % 2 == 0 { vec!["org:p".to_owned()] } else { Vec::new() }),
                            }),
                            features: (!legacy).then(|| Scoped {
                                org: if more % 4 < 2 { vec!["f".to_owned()] } else { Vec::new() },
                                user: Vec::new(),
                            }),
                            plans: (!legacy).then(Scoped::default),
                            factor_ages: ages[more % 4].filter(|_| !legacy),
                            workspaces: place.clone().map_or(Workspaces::Missing, |id| {
                                Workspaces::Known(vec![Workspace { id, role: None }])
                            }),
                            claims: claims.as_object().unwrap().clone(),
                            ..Facts::default()
                        };
                        let side = match (legacy, has_legacy, more % 2) {
                            (false, _, _) | (true, _, 1) => Side::Clerk,
                            (true, _, _) => Side::Legacy,
                        };
                        all.push(Asker::Person(Arc::new(Identity::new(facts, Vec::new())), side));
                    }
                }
            }
        }
    }
    all
}

fn requests() -> Vec<Sample> {
    let mut paths = vec!["/".to_owned()];
    for first in ["a", "A", "b", "z"] {
        paths.push(format!("/{first}"));
        for second in ["a", "b", "B", "y"] {
            paths.push(format!("/{first}/{second}"));
        }
    }
    paths.push("/a/b/c".to_owned());
    paths.push("/z/y/c".to_owned());
    let slashed: Vec<String> = paths.iter().skip(1).map(|path| format!("{path}/")).collect();
    paths.extend(slashed);
    let mut all = Vec::new();
    let env = HeaderName::from_static("x-env");
    let pair = |value: &str| ("v".to_owned(), value.to_owned());
    for path in &paths {
        for method in [Method::GET, Method::POST, Method::PUT] {
            for host in [None, Some("h.test".to_owned()), Some("www.h.test".to_owned())] {
                for headers in [vec![], vec![(env.clone(), "prod".to_owned())]] {
                    for query in [vec![], vec![pair("1")], vec![pair("1"), pair("1")]] {
                        let (method, host) = (method.clone(), host.clone());
                        all.push(Sample { method, host, path: path.clone(), headers: headers.clone(), query });
                    }
                }
            }
        }
    }
    all
}

type Found = BTreeSet<(String, String, Direction)>;

fn place(sample: &Sample, snapshot: &Snapshot) -> (String, Option<usize>) {
    let read = match sample.read(snapshot) {
        Ok(read) => read,
        Err(refusal) => return (format!("{refusal:?}"), None),
    };
    match find(snapshot, &read.view()) {
        Ok(found) => (found.route.id.to_string(), Some(found.route.index)),
        Err(refusal) => (refusal.code().as_str().to_owned(), None),
    }
}

/// Everything there is, asked one by one.
fn by_force(old: &Snapshot, new: &Snapshot, requests: &[Sample], has_legacy: bool) -> Found {
    let mut found = Found::new();
    let mut asked: HashMap<(String, String, String), usize> = HashMap::new();
    for sample in requests {
        let ((was, was_at), (is, is_at)) = (place(sample, old), place(sample, new));
        // What the rules read of a request is its path alone; where it is found says the rest.
        let times = asked.entry((was.clone(), is.clone(), sample.path.clone())).or_default();
        *times += 1;
        if *times > 1 || (was_at.is_none() && is_at.is_none() && was == is) {
            continue;
        }
        let read = |snapshot| {
            sample.read(snapshot).map_err(|refusal| Outcome::refused(&crate::gate::decide::Refusal::Request(refusal)))
        };
        let (before, after) = (read(old), read(new));
        let (was_at, is_at) = (was_at.and_then(|at| old.routes.get(at)), is_at.and_then(|at| new.routes.get(at)));
        for person in everybody(&sample.path, has_legacy) {
            let now = clock::now();
            let outcomes = (judge(old, &before, was_at, &person, now), judge(new, &after, is_at, &person, now));
            if let Some(direction) = outcomes.0.direction(&outcomes.1) {
                found.insert((was.clone(), is.clone(), direction));
            }
        }
    }
    found
}

fn told(difference: &Difference) -> Found {
    let name = |landing: &Landing| match landing {
        Landing::Route { id, .. } => id.clone(),
        Landing::Refused { code, .. } => (*code).to_owned(),
    };
    let mut found = Found::new();
    for change in &difference.changes {
        for case in &change.cases {
            found.insert((name(&change.old), name(&change.new), case.direction));
        }
    }
    found
}

#[test]
fn brute_force_finds_the_same() {
    let cases: u64 = std::env::var("CROSSGATE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let folder = tempfile::tempdir().unwrap();
    let (all, mut changed) = (requests(), 0);
    for case in 0..cases {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (case + 1).wrapping_mul(0xd134_2543_de82_ef95));
        dice.roll(2);
        let has_legacy = case % 3 == 0;
        let head = if has_legacy { format!("{HEAD}{LEGACY}") } else { HEAD.to_owned() };
        let good = |routes: &mut BTreeMap<usize, String>, dice: &mut Dice, id: usize| loop {
            routes.insert(id, random_route(dice));
            if is_good(&folder.path().join("try"), &head, &policy(routes)) {
                return;
            }
        };
        let mut before = BTreeMap::new();
        for id in 0..1 + dice.roll(3) {
            good(&mut before, &mut dice, id);
        }
        let mut after = before.clone();
        match dice.roll(4) {
            0 => good(&mut after, &mut dice, 7),
            1 if after.len() > 1 => drop(after.pop_first()),
            _ => good(&mut after, &mut dice, 0),
        }
        let mut old = version(&folder.path().join("old"), &head, &policy(&before));
        let mut new = version(&folder.path().join("new"), &head, &policy(&after));
        let difference = compare(&mut old, &mut new, clock::now());
        let forced = by_force(&old.snapshot, &new.snapshot, &all, has_legacy);
        changed += usize::from(!forced.is_empty());
        assert!(difference.gaps.is_empty(), "case {case}: {:?}", difference.gaps);
        let told = told(&difference);
        assert_eq!(
            told,
            forced,
            "case {case}, told and forced:\nold {}\nnew {}\nonly told {:?}\nonly forced {:?}",
            policy(&before),
            policy(&after),
            told.difference(&forced).collect::<Vec<_>>(),
            forced.difference(&told).collect::<Vec<_>>(),
        );
    }
    assert!(changed * 3 > usize::try_from(cases).unwrap(), "{changed} of {cases} change anything");
}
