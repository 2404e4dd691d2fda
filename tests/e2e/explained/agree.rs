//! Four voices about one request: live traffic through the binary, `POST /v1/explain` and `crossgate explain` (by the library
//! behind it) with the same signed token, and `explain` and `crossgate test` about the same person written down.
//!
//! Policies, people and requests are made up from a fixed seed. `CROSSGATE_CASES` asks for more of them.

use serde_json::{Value, json};

use super::super::bed::{Bed, Running, crossgate};
use super::super::issuer::{Token, token};
use super::super::wire::{Response, Wire};
use super::{post, question};

/// Requests for each policy.
const EACH: usize = 125;
const CASES: usize = 1000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

const PATTERNS: [&str; 8] = [
    "/open/{*rest}",
    "/orgs/{org}",
    "/orgs/{org}/items/{item}",
    "/orgs/{org}/items/special",
    "/orgs/{org}/runs",
    "/me",
    "/admin/{*rest}",
    "/search",
];
const PATHS: [&str; 14] = [
    "/open/a/b",
    "/orgs/org_1",
    "/orgs/org_2",
    "/orgs/org_1/items/7",
    "/orgs/org_1/items/special",
    "/orgs/org_2/items/special",
    "/orgs/org_1/runs",
    "/me",
    "/me/",
    "/Admin/x",
    "/admin/x",
    "/search?org=org_1",
    "/orgs/org%5F1",
    "/orgs/../me",
];
const METHODS: [&str; 5] = ["GET", "POST", "HEAD", "DELETE", "PATCH"];

/// Somebody, as a token says it and as it is written down.
struct Somebody {
    token: Token,
    persona: Value,
}

fn somebody(random: &mut Random) -> Somebody {
    let user = random.pick(&["user_ada", "user_bob"]);
    let ages = json!([if random.one_in(2) { 0 } else { 50 }, -1]);
    let mut token = token(user).claim("fva", ages.clone());
    let mut persona = json!({ "user": user, "session": "sess_1", "factor_ages": ages });
    if !random.one_in(5) {
        let org = random.pick(&["org_1", "org_2"]);
        let role = random.pick(&["admin", "member", "billing"]);
        token = token.claim("o", json!({ "id": org, "rol": role }));
        persona["org"] = json!(org);
        persona["role"] = json!(format!("org:{role}"));
    }
    if random.one_in(3) {
        let claims = json!({ "level": random.below(4), "staff": random.one_in(2) });
        for (name, value) in claims.as_object().unwrap() {
            token = token.claim(name, value.clone());
        }
        persona["claims"] = claims;
    }
    Somebody { token, persona }
}

fn rule(random: &mut Random, has_org: bool, depth: usize) -> String {
    let org = random.pick(&["org: any", "org: org_1", "org: { slug: acme }"]);
    let org = if has_org && random.one_in(2) { "org: \"{org}\"" } else { org };
    let one = match random.below(6) {
        0 => "role: org:admin",
        1 => "role: [org:admin, org:billing]",
        2 => "claim: { level: [1, 2] }",
        3 => "claim: { staff: true }",
        4 => "reverified: strict",
        _ => "token: [session]",
    };
    if depth == 0 || random.one_in(2) {
        return format!("{org}, {one}");
    }
    let (first, second) = (rule(random, has_org, depth - 1), rule(random, has_org, depth - 1));
    match random.below(3) {
        0 => format!("{org}, any: [ {{ {first} }}, {{ {second} }} ]"),
        1 => format!("{org}, not: {{ {first} }}"),
        _ => format!("all: [ {{ {first} }}, {{ {second} }} ]"),
    }
}

/// Routes of several shapes, each at most once with the same method.
fn policy(random: &mut Random) -> String {
    let mut text = "routes:\n".to_owned();
    for (number, pattern) in PATTERNS.iter().enumerate() {
        if random.one_in(6) {
            continue;
        }
        let by_method: &[&str] = if random.one_in(3) { &["GET", "POST"] } else { &[""] };
        for method in by_method {
            let method_key = if method.is_empty() { String::new() } else { format!("method: {method}, ") };
            let id = format!("r{number}{}", method.to_lowercase());
            let access = random.pick(&["public", "protected", "protected", "protected", "privileged"]);
            text.push_str(&format!(
                "  - id: {id}\n    match: {{ {method_key}path: \"{pattern}\" }}\n    access: {access}\n"
            ));
            if access != "public" && !random.one_in(4) {
                text.push_str(&format!("    require: {{ {} }}\n", rule(random, pattern.contains("{org}"), 2)));
            }
            if random.one_in(6) {
                text.push_str("    mode: report\n");
            }
        }
    }
    // So that there is one whatever was left out.
    text + "  - { id: always, match: { path: /always }, access: public }\n"
}

/// Decision, status, code and route.
type Answer = (String, u64, String, Value);

fn answer(told: &Value) -> Answer {
    let text = |name: &str| told[name].as_str().unwrap_or_else(|| panic!("{name}: {told}")).to_owned();
    (text("decision"), told["status"].as_u64().unwrap(), text("code"), told["route"].clone())
}

/// What the gate did, by its answer and by the access line of it.
fn live(
    wire: &mut Wire,
    bed: &Running,
    method: &str,
    url: &str,
    token: Option<&str>,
) -> (u16, Option<String>, Option<String>) {
    let call = bed.call(method, url);
    let call = token.map_or(call.clone(), |token| call.bearer(token));
    let before = bed.origin().count();
    if !wire.write(&call.bytes()) {
        *wire = bed.connect();
        wire.write(&call.bytes());
    }
    let response = match wire.response(method) {
        Some(response) => response,
        // Closed after a refusal that came before the request could be read.
        None => {
            *wire = bed.connect();
            wire.write(&call.bytes());
            wire.response(method).unwrap()
        }
    };
    let passed = bed.origin().count() > before;
    let route = passed.then(|| bed.origin().last().values("x-crossgate-route").concat());
    let code = if passed { Some("ok".to_owned()) } else { (method != "HEAD").then(|| code(&response)) };
    (response.status, code, route)
}

/// Asking for a factor again has Clerk's own body, which names no code of crossgate's.
fn code(response: &Response) -> String {
    if response.header("content-type") == Some("application/json") && response.text().contains("reverification") {
        return "reverification".to_owned();
    }
    response.code()
}

#[test]
fn live_traffic_explain_and_policy_tests_agree() {
    let cases = std::env::var("CROSSGATE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES);
    let mut random = Random(8);
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for round in 0..cases.div_ceil(EACH) {
        let bed = Bed::new().policy(&policy(&mut random)).start();
        let config = bed.folder().join("crossgate.yaml");
        let mut wire = bed.connect();
        let mut written = "tests:\n".to_owned();
        let mut wanted = Vec::new();
        for number in 0..EACH {
            let (method, url) = (random.pick(&METHODS), random.pick(&PATHS));
            let person = (!random.one_in(6)).then(|| somebody(&mut random));
            let is_expired = person.is_some() && random.one_in(12);
            let signed = person.as_ref().map(|person| {
                let token = person.token.clone();
                if is_expired { token.expired().sign() } else { token.sign() }
            });
            let name = format!("round {round}, case {number}: {method} {url}");
            let lines: Vec<_> = signed.iter().map(|token| ("authorization", format!("Bearer {token}"))).collect();
            let posted = post(&bed, &question(method, url, &lines)).json();
            let told = answer(&posted);
            *seen.entry(format!("{} {}", told.1, told.2)).or_default() += 1;

            let (status, code, route) = live(&mut wire, &bed, method, url, signed.as_deref());
            assert_eq!(u64::from(status), told.1, "{name}: live {status}, told {posted}");
            assert!(code.as_ref().is_none_or(|code| *code == told.2), "{name}: live {code:?}, told {posted}");
            assert!(route.as_ref().is_none_or(|route| told.3 == json!(route)), "{name}: live {route:?}, told {posted}");

            // Somebody written down has no credential that could be bad.
            if is_expired {
                continue;
            }
            if let Some(person) = &person {
                let assumed = json!({ "method": method, "url": url, "as": person.persona });
                let assumed = post(&bed, &assumed).json();
                assert_eq!(answer(&assumed), told, "{name} as {}: {assumed}", person.persona);
            }
            let who = person.as_ref().map_or_else(String::new, |person| format!("    as: {}\n", person.persona));
            let route = told.3.as_str().map_or_else(String::new, |route| format!(", route: {route}"));
            let expect = if told.0 == "allow" { "allow: true".to_owned() } else { format!("deny: {}", told.2) };
            written.push_str(&format!(
                "  - name: \"{name}\"\n    request: {method} {url}\n{who}    expect: {{ {expect}, status: {}{route} }}\n",
                told.1
            ));
            wanted.push(name);
        }
        std::fs::write(bed.folder().join("policies/main_test.yaml"), &written).unwrap();
        let mut command = crossgate();
        let output = command.args(["test", "-c"]).arg(&config).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(0),
            "round {round}: {said}{error}\n{}",
            std::fs::read_to_string(bed.folder().join("policies/main.yaml")).unwrap()
        );
        assert!(said.contains(&wanted.len().to_string()), "all of them were run: {said}");
    }
    // Of everything that may come of a request there was some: agreeing on little is easy.
    for outcome in [
        "200 ok",
        "400 bad_path",
        "401 no_credential",
        "401 clerk_expired",
        "403 forbidden",
        "403 no_route",
        "403 reverification",
    ] {
        assert!(seen.get(outcome).is_some_and(|count| *count > 0), "{outcome}: {seen:?}");
    }
}
