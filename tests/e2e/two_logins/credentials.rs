//! What reaches the API of credentials, which API it is, and what is told and counted about it.

use std::path::Path;

use serde_json::{Value, json};

use super::super::bed::{Bed, Running, until};
use super::super::issuer::token;
use super::super::origin::{Answer, Origin};
use super::super::wire::Response;
use super::{
    By, LEGACY_JWT, RULES, answer_to, legacy, linked, order, saw, seen, session, set_percent, two, user, with,
};

const ROLLOUT: &str = "{ source: api, percent: 0, unit: user, limits: { max_step: 100 } }";

fn map() -> String {
    linked("42", "user_ada") + &linked("66", "user_bob") + &user("13", "", "legacy_only")
}

fn bed(forward: &str) -> Running {
    two(&map(), ROLLOUT).upstream_option(&format!("credentials: {{ forward: {forward} }}")).start_on_sockets()
}

/// What of a request's lines must reach the API.
struct Expected {
    authorization: String,
    cookies: Vec<String>,
}

fn reached(answer: &Response) -> (String, Vec<String>) {
    let jar = seen(answer, "cookie").join("; ");
    let cookies = jar.split("; ").filter(|cookie| !cookie.is_empty()).map(str::to_owned).collect();
    (saw(answer, "authorization"), cookies)
}

#[test]
fn each_side_is_forwarded_where_it_is_wanted_and_nowhere_else() {
    let (old, new) = (legacy("42").sign(), token("user_ada").sign());
    let clerks: Vec<String> = session(&new).split("; ").map(str::to_owned).collect();
    let foreign = ["theme=dark", "_session=1", "sid=7"];
    for (forward, has_legacy, has_clerk) in
        [("[legacy]", true, false), ("[clerk]", false, true), ("[]", false, false), ("[legacy, clerk]", true, true)]
    {
        let bed = bed(forward);
        for percent in ["0", "100"] {
            set_percent(&bed, percent);
            for (old_by, new_by) in [
                (Some(By::Header), None),
                (Some(By::Cookie), None),
                (None, Some(By::Header)),
                (None, Some(By::Cookie)),
                (Some(By::Header), Some(By::Cookie)),
                (Some(By::Cookie), Some(By::Header)),
                (Some(By::Cookie), Some(By::Cookie)),
            ] {
                let what = format!("forward: {forward}, at {percent} %, legacy {old_by:?}, Clerk {new_by:?}");
                let mut jar: Vec<String> = vec![foreign[0].to_owned()];
                let mut call = bed.get("/me/1");
                let mut expected = Expected { authorization: String::new(), cookies: vec![foreign[0].to_owned()] };
                for (by, bearer, cookies, is_wanted) in [
                    (old_by, &old, vec![format!("session={old}")], has_legacy),
                    (new_by, &new, clerks.clone(), has_clerk),
                ] {
                    match by {
                        Some(By::Header) => {
                            call = call.bearer(bearer);
                            if is_wanted {
                                expected.authorization = format!("Bearer {bearer}");
                            }
                        }
                        Some(By::Cookie) => {
                            jar.extend(cookies.clone());
                            if is_wanted {
                                expected.cookies.extend(cookies);
                            }
                        }
                        None => {}
                    }
                }
                for cookie in &foreign[1..] {
                    jar.push((*cookie).to_owned());
                    expected.cookies.push((*cookie).to_owned());
                }
                let answer = call.cookie(&jar.join("; ")).send();
                assert_eq!(answer.outcome(), "200 ok", "{what}");
                assert_eq!(saw(&answer, "x-crossgate-subject"), "42", "{what}");
                let (authorization, cookies) = reached(&answer);
                assert_eq!(authorization, expected.authorization, "{what}");
                assert_eq!(cookies, expected.cookies, "{what}");
            }
        }
    }
}

#[test]
fn what_is_of_neither_side_passes_and_proves_nothing() {
    for forward in ["[legacy]", "[]", "[legacy, clerk]"] {
        let bed = bed(forward);
        let basic = "Basic YWRhOnB3";
        let jar = "JSESSIONID=1; session=opaque; _ga=GA1.2";
        let alone = bed.get("/me/1").header("authorization", basic).cookie(jar).send();
        assert_eq!(alone.outcome(), "401 no_credential", "{forward}");
        let public = bed.get("/public/1").header("authorization", basic).cookie(jar).send();
        assert_eq!(saw(&public, "authorization"), basic, "{forward}");
        assert_eq!(saw(&public, "cookie"), jar, "{forward}: an opaque cookie is no token of the legacy side");
        let beside = bed.get("/me/1").header("authorization", basic).cookie(&session(&token("user_ada").sign())).send();
        assert_eq!(beside.outcome(), "200 ok", "{forward}");
        assert_eq!(saw(&beside, "authorization"), basic, "{forward}");
    }
}

#[test]
fn a_header_of_the_legacy_sides_own() {
    let own = LEGACY_JWT.replace("header: authorization, scheme: Bearer, cookie: session", "header: x-api-token");
    for (forward, is_wanted) in [("[legacy]", true), ("[clerk]", false)] {
        let bed = two(&map(), ROLLOUT)
            .section(&own)
            .upstream_option(&format!("credentials: {{ forward: {forward} }}"))
            .start_on_sockets();
        let old = legacy("42").sign();
        let answer = bed.get("/me/1").header("x-api-token", &old).cookie("session=mine").send();
        assert_eq!(answer.outcome(), "200 ok", "{forward}");
        assert_eq!(saw(&answer, "x-api-token"), if is_wanted { old } else { String::new() }, "{forward}");
        assert_eq!(saw(&answer, "cookie"), "session=mine", "{forward}: not the legacy side's here");
        let spoofed = bed.get("/me/1").header("x_api_token", &legacy("66").sign()).send();
        assert_eq!(spoofed.outcome(), "401 no_credential", "{forward}: another spelling is another header");
        let twin = bed.get("/me/1").header("x-api-token", &legacy("42").sign()).header("X_Api_Token", "forged").send();
        assert_eq!(twin.outcome(), "200 ok", "{forward}");
        assert!(!bed.origin().last().text().contains("forged"), "{forward}: a twin that the API might take for it");
    }
}

#[test]
fn an_upstream_for_each_arm() {
    let next = Origin::start();
    next.answers(|_| Answer::text(200, "next"));
    let bed = two(
        &map(),
        "{ source: api, percent: 0, unit: user, limits: { max_step: 100 }, arms: { legacy: { upstream: app }, clerk: { upstream: next } } }",
    );
    let app = bed.origin().address;
    let bed = bed
        .section(&format!(
            "upstreams: {{ app: {{ endpoints: [\"{app}\"], credentials: {{ forward: [legacy] }} }}, next: {{ endpoints: [\"{}\"], credentials: {{ forward: [clerk] }} }} }}",
            next.address
        ))
        .policy(&format!("{RULES}  - {{ id: fixed, match: {{ path: \"/fixed/{{*rest}}\" }}, upstream: app }}\n"))
        .start_on_sockets();
    let (old, new) = (legacy("42").sign(), token("user_ada").sign());
    let (native, alone) = (token("user_new").sign(), legacy("13").sign());
    let goes = |bearer: &str, path: &str| {
        let (at_app, at_next) = (bed.origin().count(), next.count());
        let answer = answer_to(&bed.get(path).bearer(bearer));
        assert_eq!(answer.outcome(), "200 ok", "{path}");
        match (bed.origin().count() - at_app, next.count() - at_next) {
            (1, 0) => "app",
            (0, 1) => "next",
            other => panic!("{path}: {other:?}"),
        }
    };
    assert_eq!((goes(&old, "/me/1"), goes(&new, "/me/1")), ("app", "app"), "at 0 %, with either");
    assert_eq!(
        bed.origin().last().values("authorization"),
        Vec::<String>::new(),
        "the legacy arm's takes no Clerk token"
    );
    assert_eq!(goes(&native, "/me/1"), "next", "somebody without a legacy side");
    set_percent(&bed, "100");
    assert_eq!((goes(&old, "/me/1"), goes(&new, "/me/1")), ("next", "next"), "at 100 %, with either");
    assert_eq!(next.last().values("authorization"), [format!("Bearer {new}")]);
    assert_eq!(goes(&alone, "/me/1"), "app", "somebody without a Clerk side");
    assert_eq!(goes(&new, "/fixed/1"), "app", "the route's own word");
    assert_eq!(goes(&new, "/vault/1"), "next");
    order(&bed, "rollback");
    assert_eq!((goes(&old, "/me/1"), goes(&new, "/me/1")), ("app", "app"), "rolled back");
    assert_eq!(goes(&new, "/vault/1"), "next", "the bar of privileged routes stays, and so does who serves them");
    assert_eq!(goes(&native, "/me/1"), "next", "nobody gets back a legacy side");
    order(&bed, "confirm");
    assert_eq!(goes(&new, "/vault/1"), "app");
}

#[test]
fn the_hint_is_for_those_who_could_move() {
    let bed = bed("[legacy]");
    let (old, new) = (legacy("42").sign(), token("user_ada").sign());
    let expired = token("user_ada").expired().sign();
    let hint = |path: &str, old: Option<&str>, new: Option<&str>| {
        let (old, new) = (old.map(|token| (token, By::Cookie)), new.map(|token| (token, By::Cookie)));
        let answer = with(bed.get(path), old, new).send();
        assert_eq!(answer.outcome(), "200 ok");
        answer.header("x-crossgate-upgrade").map(str::to_owned)
    };
    let clerk = Some("clerk".to_owned());
    assert_eq!(hint("/me/1", Some(&old), None), None, "the legacy arm");
    set_percent(&bed, "100");
    assert_eq!(hint("/me/1", Some(&old), None), clerk);
    assert_eq!(hint("/me/1", Some(&old), Some(&expired)), clerk, "a session that has run out is none");
    assert_eq!(hint("/me/1", Some(&old), Some(&new)), None, "who is there already");
    assert_eq!(hint("/me/1", None, Some(&new)), None, "who is there already");
    assert_eq!(hint("/me/1", Some(&legacy("13").sign()), None), None, "who has no Clerk side");
    assert_eq!(hint("/public/1", Some(&old), None), None, "a public route is no place to begin a login");
    let refused = answer_to(&bed.get("/vault/1").bearer(&old));
    assert_eq!(refused.outcome(), "401 step_up_clerk");
    assert_eq!(refused.header("x-crossgate-upgrade"), None, "its challenge says so");
    assert!(refused.header("www-authenticate").unwrap().contains("insufficient_user_authentication"));
    bed.origin().answers(|_| Answer::text(500, "broken"));
    let broken = bed.get("/me/1").bearer(&old).send();
    assert_eq!((broken.status, broken.header("x-crossgate-upgrade")), (500, Some("clerk")), "whatever the API says");
    bed.origin().answers(|_| Answer::text(200, "ok"));
    order(&bed, "rollback");
    assert_eq!(hint("/me/1", Some(&old), None), None, "not back to where they were fetched from");
}

fn trail(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("audit/audit.jsonl")).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The entry that holds all of this.
fn entry(bed: &Running, what: &str, wanted: &Value) -> Value {
    fn holds(entry: &Value, wanted: &Value) -> bool {
        match (entry, wanted) {
            (Value::Object(entry), Value::Object(wanted)) => {
                wanted.iter().all(|(name, value)| entry.get(name).is_some_and(|found| holds(found, value)))
            }
            (entry, wanted) => entry == wanted,
        }
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    until(what, || {
        let entries = trail(bed.folder());
        let found = entries.iter().find(|entry| holds(entry, wanted)).cloned();
        assert!(found.is_some() || std::time::Instant::now() < deadline, "{what}: {wanted} is not in {entries:#?}");
        found
    })
}

#[test]
fn the_trail_says_in_which_arm_and_at_what_percentage() {
    let bed = bed("[legacy]");
    let (old, new) = (legacy("42").sign(), token("user_ada").sign());
    let here = |arm: &str, generation: u64, percent: u64| json!({ "arm": arm, "rollout": { "generation": generation, "percent": percent } });
    let also = |mut base: Value, more: Value| {
        base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        base
    };
    assert_eq!(answer_to(&bed.get("/vault/1").bearer(&old)).outcome(), "200 ok");
    let actor =
        json!({ "actor": { "subject": "42", "clerk_user": "user_ada", "legacy_user": "42", "method": "legacy" } });
    entry(&bed, "the attempt", &also(also(here("legacy", 1, 0), actor), json!({ "event": "privileged.attempt" })));
    set_percent(&bed, "100");
    assert_eq!(answer_to(&bed.get("/vault/2").bearer(&new)).outcome(), "200 ok");
    let actor =
        json!({ "actor": { "subject": "42", "clerk_user": "user_ada", "legacy_user": "42", "method": "clerk" } });
    entry(&bed, "the attempt", &also(also(here("clerk", 1, 100), actor), json!({ "event": "privileged.attempt" })));
    entry(&bed, "its outcome", &also(here("clerk", 1, 100), json!({ "event": "privileged.outcome" })));
    assert_eq!(answer_to(&bed.get("/vault/3").bearer(&old)).outcome(), "401 step_up_clerk");
    entry(&bed, "the step-up", &also(here("clerk", 1, 100), json!({ "event": "denied", "code": "step_up_clerk" })));
    let eve = token("user_eve").sign();
    let two = |path: &str| with(bed.get(path), Some((&old, By::Header)), Some((&eve, By::Cookie))).send().outcome();
    assert_eq!(two("/me/1"), "400 identity_conflict");
    entry(&bed, "the conflict", &json!({ "event": "denied", "code": "identity_conflict", "route": "me" }));
    order(&bed, "rollback");
    entry(&bed, "the rollback", &json!({ "event": "rollout" }));
    order(&bed, "resume");
    assert_eq!(answer_to(&bed.get("/vault/4").bearer(&new)).outcome(), "200 ok");
    entry(&bed, "the next generation", &json!({ "event": "privileged.attempt", "rollout": { "generation": 2 } }));
}

/// A public route refuses nobody, and somebody tried something nevertheless.
#[test]
fn a_conflict_that_was_stripped_is_in_the_trail() {
    let bed = bed("[legacy]");
    let (old, eve) = (legacy("42").sign(), token("user_eve").sign());
    let answer = with(bed.get("/public/1"), Some((&old, By::Header)), Some((&eve, By::Cookie))).send();
    assert_eq!(answer.outcome(), "200 ok");
    entry(&bed, "what was stripped", &json!({ "code": "identity_conflict", "route": "public" }));
}

#[test]
fn decisions_are_counted_by_arm() {
    let bed = bed("[legacy]");
    let (old, new) = (legacy("42").sign(), token("user_ada").sign());
    let count = |arm: &str, access: &str, decision: &str, fault: &str, reason: &str, expected: f64| {
        let series = format!(
            "crossgate_auth_decisions_total{{access=\"{access}\",arm=\"{arm}\",decision=\"{decision}\",fault=\"{fault}\",reason=\"{reason}\",rollout=\"auth\"}}"
        );
        until(&series, || (bed.metric(&series) == expected).then_some(()));
    };
    let get = |path: &str, bearer: &str| answer_to(&bed.get(path).bearer(bearer)).outcome();
    assert_eq!([get("/me/1", &old), get("/me/1", &new)], ["200 ok", "200 ok"]);
    count("legacy", "protected", "allow", "none", "ok", 2.0);
    set_percent(&bed, "100");
    assert_eq!([get("/me/1", &old), get("/me/1", &new), get("/vault/1", &new)], ["200 ok", "200 ok", "200 ok"]);
    count("clerk", "protected", "allow", "none", "ok", 2.0);
    count("clerk", "privileged", "allow", "none", "ok", 1.0);
    assert_eq!(get("/vault/1", &old), "401 step_up_clerk");
    count("clerk", "privileged", "deny", "client", "step_up_clerk", 1.0);
    assert_eq!(bed.get("/me/1").send().outcome(), "401 no_credential");
    count("none", "protected", "deny", "client", "no_credential", 1.0);
    assert_eq!(get("/me/1", &legacy("42").expired().sign()), "401 legacy_invalid");
    count("none", "protected", "deny", "client", "legacy_invalid", 1.0);
    let eve = token("user_eve").sign();
    let two = with(bed.get("/me/1"), Some((&old, By::Header)), Some((&eve, By::Cookie))).send();
    assert_eq!(two.outcome(), "400 identity_conflict");
    count("clerk", "protected", "deny", "client", "identity_conflict", 1.0);
    assert_eq!(bed.metric("crossgate_rollout_weight_ratio{arm=\"clerk\",rollout=\"auth\"}"), 1.0);
}

/// With `Bed` alone: a config without a legacy side forwards nothing of Clerk's by default, as before.
#[test]
fn without_a_legacy_side_nothing_changes() {
    let bed = Bed::new().start();
    let new = token("user_ada").sign();
    let answer =
        bed.get("/me/1").bearer(&new).cookie(&format!("session={}; {}", legacy("42").sign(), session(&new))).send();
    assert_eq!(answer.outcome(), "200 ok");
    assert_eq!(saw(&answer, "authorization"), "");
    assert_eq!(saw(&answer, "cookie"), format!("session={}", legacy("42").sign()));
    assert_eq!(saw(&answer, "x-crossgate-arm"), "clerk");
    assert_eq!(answer.header("x-crossgate-upgrade"), None);
}

/// Common frameworks read what the RFCs do not: escapes, blanks and commas between pairs, bytes that they trim. A credential
/// that crossgate did not see there was never proven, however it is spelled.
#[test]
fn no_spelling_brings_a_sealed_credential_to_the_api() {
    let map = user("7", "user_sue", "sealed") + &linked("42", "user_ada");
    let bed = two(&map, ROLLOUT).start_on_sockets();
    let (sealed, own) = (legacy("7").sign(), token("user_ada").sign());
    let octal = format!("\"\\145{}\"", &sealed[1..]);
    let percents = format!("%65{}", &sealed[1..]);
    let cookies = [
        format!("session={octal}"),
        format!("session={percents}"),
        format!("session=\"{sealed} x"),
        format!("\u{a0}session={sealed}"),
        format!("session\u{a0}={sealed}"),
        format!("session={sealed}\u{a0}"),
        format!("a=1 session={sealed}"),
        format!("a=1, session={sealed}"),
        format!("%73ession={sealed}"),
        format!("Session={sealed}"),
        format!("session={own}"),
    ];
    for cookie in cookies {
        for target in ["/me/1", "/vault/1", "/public/1"] {
            let answer = answer_to(&bed.get(target).bearer(&own).cookie(&format!("theme=dark; {cookie}")));
            assert_eq!(answer.status, 200, "{cookie}: {}", answer.outcome());
            assert_eq!(saw(&answer, "x-crossgate-subject"), "42");
            assert_eq!(seen(&answer, "cookie"), ["theme=dark"], "{cookie}");
        }
    }
    let lines = [
        (format!("Foo {sealed}"), "200 ok"),
        (format!("JWT {sealed}"), "200 ok"),
        (format!("Basic x, Bearer {sealed}"), "401 clerk_invalid"),
        (format!("Bearer: {sealed}"), "401 clerk_invalid"),
        (format!("Bearer\u{a0}{sealed} x"), "401 clerk_invalid"),
    ];
    for (line, expected) in lines {
        let answer = answer_to(&bed.get("/me/1").header("authorization", &line).cookie(&session(&own)));
        let outcome = answer.outcome();
        assert!(outcome.starts_with(expected.split(' ').next().unwrap()), "{line}: {outcome}");
        if answer.status == 200 {
            assert_eq!(saw(&answer, "authorization"), "", "{line}");
        }
    }
}

/// The header decides. Another org of the same person, in the cookie, was never judged.
#[test]
fn a_cookie_for_another_org_stays_behind() {
    let bed = bed("[legacy]");
    let one = legacy("42").claim("org", json!("acme"));
    let (header, same) = (one.sign(), one.claim("jti", json!("2")).sign());
    let other = legacy("42").claim("org", json!("globex")).claim("roles", json!(["root"])).sign();
    for (cookie, stays) in [(&same, true), (&other, false)] {
        let answer = answer_to(&bed.get("/me/1").bearer(&header).cookie(&format!("session={cookie}")));
        assert_eq!(saw(&answer, "authorization"), format!("Bearer {header}"));
        assert_eq!(!seen(&answer, "cookie").is_empty(), stays);
    }
}

/// With `passthrough` any cookie of the app's is a credential that only the API can judge. Beside a session that verifies it
/// counts only where it can do something.
#[test]
fn a_leftover_never_poisons_a_session() {
    let rules = r#"
routes:
  - { id: me, match: { path: "/me/{*rest}" } }
  - { id: orgs, match: { path: "/orgs/{org}" }, require: { org: { clerk_id: "{org}" } } }
  - { id: vault, match: { path: "/vault/{*rest}" }, access: privileged }
"#;
    let bed = Bed::new()
        .policy(rules)
        .section("server: { threads: 2, drain: { delay: 0s, limit: 5s } }")
        .section("identity: { map: { file: map.jsonl } }")
        .section(&format!("rollout: {ROLLOUT}"))
        .section("legacy: { credential: { cookie: session }, verify: { passthrough: {} } }");
    std::fs::write(bed.folder().join("map.jsonl"), map()).unwrap();
    let bed = bed.start_on_sockets();
    let own = token("user_ada").org("org_1", "acme", "member").sign();
    for leftover in ["", "; session=anonymous"] {
        for (target, method) in [
            ("/me/1", if leftover.is_empty() { "clerk" } else { "none" }),
            ("/orgs/org_1", "clerk"),
            ("/vault/1", "clerk"),
        ] {
            let answer = answer_to(&bed.get(target).cookie(&format!("{}{leftover}", session(&own))));
            assert_eq!(answer.status, 200, "{target}{leftover}: {}", answer.outcome());
            assert_eq!(saw(&answer, "x-crossgate-method"), method, "{target}{leftover}");
        }
        // A frontend that showed the session's person would show somebody else than its calls act as.
        let told = bed.get("/auth/status").cookie(&format!("{}{leftover}", session(&own))).send().json();
        let expected = if leftover.is_empty() { "clerk" } else { "none" };
        assert_eq!(told["method"], expected, "{told}");
    }
}

/// Who is let in for their legacy role, or refused for it, is recorded with it.
#[test]
fn the_trail_names_the_roles_of_legacy_people() {
    const ROUTE: &str = r#"
routes:
  - id: write
    match: { path: "/write" }
    access: privileged
    require: { token: [session, legacy], org: any, role: [org:admin] }
"#;
    let bed = two("", "{ percent: 0, key_file: bucket.key }")
        .policy(ROUTE)
        .section(r#"identity: { map: { file: map.jsonl }, roles: { "org:admin": [admin] } }"#)
        .start_on_sockets();
    for (id, roles, status) in [("1", json!(["admin", "dev,ops"]), 200), ("2", json!(["member"]), 403)] {
        let token = legacy(id).claim("org", json!("acme")).claim("roles", roles).sign();
        assert_eq!(bed.get("/write").bearer(&token).send().status, status, "{id}");
    }
    let sent = bed.origin().last();
    let role = sent.values("x-crossgate-role").remove(0);
    let attempt = crate::audit::entries(bed.folder(), "privileged.attempt").remove(0);
    assert_eq!((attempt["role"].as_str(), &*role), (Some("admin,dev%2Cops"), "admin,dev%2Cops"));
    assert_eq!(crate::audit::entries(bed.folder(), "denied")[0]["role"], "member");
}
