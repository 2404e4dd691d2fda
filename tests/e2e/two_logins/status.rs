//! `/auth/status` of an API with both logins: every state of its table (docs/status.md), through the binary.

use serde_json::{Value, json};

use super::super::bed::{Bed, Running, until};
use super::super::issuer::{Issuer, Keys, tampered, token};
use super::super::legacy_server::{Kind, LegacyServer, Mode};
use super::super::wire::Response;
use super::{By, legacy, linked, order, session, set_percent, two, unknown_key, until_keys_are_stale, user, with};

/// `(what, by)`: a credential and where it travels.
type Sent<'a> = Option<(&'a str, By)>;

fn ask(bed: &Running, old: Sent<'_>, new: Sent<'_>) -> Value {
    told(&with(bed.get("/auth/status"), old, new).send())
}

fn by_header(token: &str) -> Sent<'_> {
    Some((token, By::Header))
}

/// The body, once everything that holds for every answer was looked at.
fn told(answer: &Response) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(answer.header("set-cookie").is_none() && answer.header("www-authenticate").is_none());
    let body = answer.json();
    let names: Vec<&String> = body.as_object().unwrap().keys().collect();
    let all = [
        "arm",
        "authenticated",
        "degraded",
        "expiresAt",
        "method",
        "migration",
        "org",
        "retryAfter",
        "serverTime",
        "user",
    ];
    assert_eq!(names, all);
    let is_known = body["authenticated"] == true;
    assert_eq!((body["user"].is_null(), body["arm"].is_null()), (!is_known, !is_known), "{body}");
    // Opaque credentials do not always say.
    assert!(is_known || body["expiresAt"].is_null(), "{body}");
    assert_eq!(body["method"] == "none", !is_known, "{body}");
    assert_eq!(body["retryAfter"].is_null(), body["degraded"] == false, "{body}");
    let server: jiff::Timestamp = body["serverTime"].as_str().unwrap().parse().unwrap();
    assert!((server.as_second() - super::now()).abs() < 60, "{body}");
    if let Some(expires) = body["expiresAt"].as_str() {
        assert!(expires.parse::<jiff::Timestamp>().unwrap() > server, "{body}");
    }
    body
}

/// Method, subject, state, action, arm, degraded.
fn short(body: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let migration = &body["migration"];
    let degraded = if body["degraded"] == true { " degraded" } else { "" };
    format!(
        "{} {} {} {} {}{degraded}",
        text(&body["method"]),
        text(&body["user"]["id"]),
        text(&migration["state"]),
        text(&migration["action"]),
        text(&body["arm"])
    )
}

fn map() -> String {
    linked("1", "user_1")
        + &linked("2", "user_2")
        + &user("old", "", "legacy_only")
        + &user("asked", "", "legacy_only")
        + &user("", "user_native", "clerk_native")
        + &user("gone", "user_sealed", "sealed")
        + &user("dead", "user_dead", "deleted")
}

fn bed() -> Bed {
    two(&map(), "{ source: api, percent: 0, unit: user, include: { users: [asked] }, limits: { max_step: 100 } }")
}

/// An introspection server as the legacy side, beside Clerk and the same map.
fn introspecting() -> (LegacyServer, Bed) {
    let server = LegacyServer::start();
    let people = linked("ada", "user_ada") + &linked("bob", "user_bob");
    let bed = server
        .bed(Kind::Introspection)
        .section("server: { threads: 2, drain: { delay: 0s, limit: 5s }, ready: { wait: 200ms } }")
        .section("identity: { map: { file: map.jsonl } }");
    std::fs::write(bed.folder().join("map.jsonl"), people).unwrap();
    (server, bed)
}

#[test]
fn every_state_in_good_health() {
    let bed = bed().start_on_sockets();
    let old = |id: &str| legacy(id).sign();
    let new = |id: &str| token(id).sign();
    let (one, two, sealed, dead) = (old("1"), old("2"), old("gone"), old("dead"));
    let (clerk_one, clerk_two) = (new("user_1"), new("user_2"));
    let (native, moved, stranger) = (new("user_native"), new("user_sealed"), new("user_new"));
    let (late, late_clerk) = (legacy("1").expired().sign(), token("user_1").expired().sign());
    let (bad, bad_clerk) = (tampered(&one, 2), tampered(&clerk_one, 2));
    let (alone, asked) = (old("old"), old("asked"));
    let (header, cookie) = (By::Header, By::Cookie);
    let table: [(&str, Sent<'_>, Sent<'_>, &str, &str); 26] = [
        ("nobody", None, None, "none - anonymous sign_in -", ""),
        ("legacy, linked", Some((&one, header)), None, "legacy 1 linked none legacy", "legacy 1 linked step_up clerk"),
        ("by cookie", Some((&one, cookie)), None, "legacy 1 linked none legacy", "legacy 1 linked step_up clerk"),
        ("legacy only", Some((&alone, header)), None, "legacy old legacy_only none legacy", ""),
        ("legacy only, asked to come", Some((&asked, header)), None, "legacy asked legacy_only link clerk", ""),
        ("clerk, linked", None, Some((&clerk_one, header)), "clerk 1 linked none legacy", "clerk 1 linked none clerk"),
        (
            "clerk by cookie",
            None,
            Some((&clerk_one, cookie)),
            "clerk 1 linked none legacy",
            "clerk 1 linked none clerk",
        ),
        ("clerk native", None, Some((&native, header)), "clerk user_native clerk_native none clerk", ""),
        ("unknown to the map", None, Some((&stranger, header)), "clerk user_new clerk_native none clerk", ""),
        ("clerk, sealed", None, Some((&moved, header)), "clerk gone sealed none clerk", ""),
        (
            "both",
            Some((&one, header)),
            Some((&clerk_one, cookie)),
            "legacy 1 linked none legacy",
            "clerk 1 linked none clerk",
        ),
        (
            "both, the other way",
            Some((&one, cookie)),
            Some((&clerk_one, header)),
            "legacy 1 linked none legacy",
            "clerk 1 linked none clerk",
        ),
        ("two people", Some((&two, header)), Some((&clerk_one, cookie)), "none - conflict sign_in -", ""),
        (
            "two people, the other way",
            Some((&two, cookie)),
            Some((&clerk_one, header)),
            "none - conflict sign_in -",
            "",
        ),
        ("two people, one expired", Some((&two, header)), Some((&late_clerk, cookie)), "none - conflict sign_in -", ""),
        ("sealed", Some((&sealed, header)), None, "none - sealed sign_in -", ""),
        ("sealed by cookie", Some((&sealed, cookie)), None, "none - sealed sign_in -", ""),
        ("deleted", Some((&dead, header)), None, "none - sealed sign_in -", ""),
        (
            "sealed leftover",
            Some((&sealed, cookie)),
            Some((&clerk_two, header)),
            "clerk 2 linked none legacy",
            "clerk 2 linked none clerk",
        ),
        ("expired legacy", Some((&late, header)), None, "none - anonymous sign_in -", ""),
        ("expired clerk", None, Some((&late_clerk, header)), "none - anonymous sign_in -", ""),
        ("expired clerk by cookie", None, Some((&late_clerk, cookie)), "none - anonymous sign_in -", ""),
        ("bad legacy", Some((&bad, header)), None, "none - anonymous sign_in -", ""),
        ("bad clerk", None, Some((&bad_clerk, header)), "none - anonymous sign_in -", ""),
        (
            "expired leftover",
            Some((&one, header)),
            Some((&late_clerk, cookie)),
            "legacy 1 linked none legacy",
            "legacy 1 linked step_up clerk",
        ),
        ("bad on purpose", Some((&one, cookie)), Some((&bad_clerk, header)), "none - anonymous sign_in -", ""),
    ];
    for (name, old, new, expected, _) in table {
        assert_eq!(short(&ask(&bed, old, new)), expected, "{name}");
    }
    set_percent(&bed, "100");
    for (name, old, new, before, after) in table {
        // An empty one says that no percentage moves them.
        let expected = if after.is_empty() { before } else { after };
        assert_eq!(short(&ask(&bed, old, new)), expected, "{name} at 100 %");
    }
    order(&bed, "rollback");
    let back = ask(&bed, Some((&one, header)), None);
    assert_eq!(short(&back), "legacy 1 linked none legacy", "nobody is sent to where they were fetched from");
    assert_eq!(bed.origin().count(), 0, "nothing is proxied");
}

#[test]
fn both_names_of_a_person_and_the_org_of_their_paths() {
    let people = "{\"kind\":\"org\",\"legacy\":\"acme\",\"clerk\":\"org_1\"}\n".to_owned()
        + &linked("1", "user_1")
        + "{\"kind\":\"membership\",\"user\":\"1\",\"org\":\"acme\",\"role\":\"admin\"}\n";
    for (names, of_clerk, of_legacy) in
        [("legacy_id", "acme", "acme"), ("clerk_id", "org_1", "org_1"), ("slug", "acme-slug", "")]
    {
        let identity =
            format!("identity: {{ canonical: legacy, map: {{ file: map.jsonl }}, names: {{ org: {names} }} }}");
        let bed = two(&people, "{ source: api, percent: 0 }").section(&identity).start_on_sockets();
        let new = token("user_1").org("org_1", "acme-slug", "member").sign();
        let old = legacy("1").claim("org", json!("acme")).claim("roles", json!(["admin", "owner"])).sign();
        let person = json!({ "id": "1", "legacyId": "1", "clerkId": "user_1" });
        let body = ask(&bed, None, Some((&new, By::Header)));
        assert_eq!(
            (&body["user"], &body["org"]),
            (&person, &json!({ "id": of_clerk, "role": "org:member" })),
            "{names}"
        );
        let body = ask(&bed, Some((&old, By::Header)), None);
        let id = if of_legacy.is_empty() { Value::Null } else { json!(of_legacy) };
        assert_eq!((&body["user"], &body["org"]), (&person, &json!({ "id": id, "role": "admin,owner" })), "{names}");
    }
}

#[test]
fn two_under_one_name_are_nobody() {
    let bed = bed().start_on_sockets();
    let jar = format!("session={}; session={}", legacy("1").sign(), legacy("2").sign());
    let body = told(&bed.get("/auth/status").cookie(&jar).send());
    assert_eq!(short(&body), "none - conflict sign_in -");
    let header_and_cookie =
        bed.get("/auth/status").bearer(&legacy("1").sign()).cookie(&format!("session={}", legacy("2").sign())).send();
    assert_eq!(short(&told(&header_and_cookie)), "none - conflict sign_in -");
    for call in [bed.get("/me/1").cookie(&jar), bed.get("/auth/status").cookie(&jar)] {
        let answer = call.send();
        assert!(!answer.text().contains("\"1\"") && !answer.text().contains("\"2\""), "{}", answer.text());
    }
}

#[test]
fn an_outage_of_clerk_is_a_banner_and_no_login() {
    let bed = bed();
    bed.issuer().kill();
    let bed = bed.start_on_sockets();
    set_percent(&bed, "100");
    let (old, new, sealed) = (legacy("1").sign(), token("user_1").sign(), legacy("gone").sign());
    let late = token("user_1").expired().sign();
    let (header, cookie) = (By::Header, By::Cookie);
    let table: [(&str, Sent<'_>, Sent<'_>, &str); 9] = [
        ("a session", None, Some((&new, cookie)), "none - unverified none - degraded"),
        ("a bearer", None, Some((&new, header)), "none - unverified none - degraded"),
        ("nobody can tell that it expired", None, Some((&late, header)), "none - unverified none - degraded"),
        ("legacy", Some((&old, header)), None, "legacy 1 linked none clerk degraded"),
        ("legacy beside a session", Some((&old, header)), Some((&new, cookie)), "legacy 1 linked none clerk degraded"),
        ("the other way", Some((&old, cookie)), Some((&new, header)), "legacy 1 linked none clerk degraded"),
        (
            "somebody else's session",
            Some((&legacy("2").sign(), header)),
            Some((&new, cookie)),
            "none - conflict sign_in - degraded",
        ),
        ("sealed: only Clerk would do", Some((&sealed, header)), None, "none - sealed none - degraded"),
        ("nobody, who may be the legacy login's", None, None, "none - anonymous sign_in - degraded"),
    ];
    for (name, old, new, expected) in table {
        let body = ask(&bed, old, new);
        assert_eq!(short(&body), expected, "{name}");
        assert!((10..=60).contains(&body["retryAfter"].as_u64().unwrap()), "{name}: {body}");
    }
    bed.issuer().revive();
    until("keys", || (short(&ask(&bed, None, Some((&new, header)))) == "clerk 1 linked none clerk").then_some(()));
    assert_eq!(short(&ask(&bed, Some((&old, header)), None)), "legacy 1 linked step_up clerk", "now it can be done");
}

#[test]
fn old_keys_are_a_banner() {
    let bed =
        bed().clerk_option("jwks: { url: \"{keys}\", allow_private: true, refresh: 1s, privileged_max_stale: 1s }");
    let bed = bed.start_on_sockets();
    set_percent(&bed, "100");
    let new = token("user_1").sign();
    let body = ask(&bed, None, Some((&new, By::Header)));
    assert_eq!(short(&body), "clerk 1 linked none clerk");
    let expires: jiff::Timestamp = body["expiresAt"].as_str().unwrap().parse().unwrap();
    assert!((500..=600).contains(&(expires.as_second() - super::now())), "the token's own: {body}");
    bed.issuer().kill();
    until_keys_are_stale(&bed, &new);
    assert_eq!(short(&ask(&bed, None, Some((&new, By::Header)))), "clerk 1 linked none clerk degraded");
    let old = legacy("1").sign();
    assert_eq!(short(&ask(&bed, Some((&old, By::Header)), None)), "legacy 1 linked none clerk degraded");
    assert_eq!(short(&ask(&bed, None, None)), "none - anonymous sign_in - degraded");
    let unknown = unknown_key("user_1").sign();
    assert_eq!(short(&ask(&bed, None, Some((&unknown, By::Header)))), "none - unverified none - degraded");
}

#[test]
fn an_outage_of_issuance_is_a_banner() {
    let frontend = Issuer::start();
    let probe = format!("probe: {{ url: \"{}\", interval: 1s }}", frontend.url());
    let bed = bed().clerk_option(&probe).start_on_sockets();
    set_percent(&bed, "100");
    let (old, new, late) = (legacy("1").sign(), token("user_1").sign(), token("user_1").expired().sign());
    assert_eq!(short(&ask(&bed, None, Some((&late, By::Header)))), "none - anonymous sign_in -");
    frontend.serves(Keys::Status(429));
    until("the outage", || (ask(&bed, None, None)["degraded"] == true).then_some(()));
    let table: [(Sent<'_>, Sent<'_>, &str); 4] = [
        (None, by_header(&new), "clerk 1 linked none clerk degraded"),
        (None, by_header(&late), "none - unverified none - degraded"),
        (by_header(&old), None, "legacy 1 linked none clerk degraded"),
        (None, None, "none - anonymous sign_in - degraded"),
    ];
    for (old, new, expected) in table {
        assert_eq!(short(&ask(&bed, old, new)), expected);
    }
}

#[test]
fn an_outage_of_the_legacy_server_is_a_banner() {
    let (server, bed) = introspecting();
    let bed = bed.start_on_sockets();
    let (ada, bob) = (token("user_ada").sign(), "good-bob");
    assert_eq!(short(&ask(&bed, Some((bob, By::Header)), None)), "legacy bob linked none legacy");
    assert_eq!(short(&ask(&bed, Some(("invented", By::Header)), None)), "none - anonymous sign_in -");
    server.does(Mode::Status(500));
    until("its end", || {
        let body = ask(&bed, Some((bob, By::Header)), None);
        (short(&body) == "none - unverified none - degraded").then_some(())
    });
    let jar = session(&ada);
    let clerk = told(&bed.get("/auth/status").cookie(&jar).send());
    assert!(short(&clerk).starts_with("clerk ada linked none legacy"), "{clerk}");
    let beside = told(&bed.get("/auth/status").bearer("good-ada").cookie(&jar).send());
    assert_eq!(short(&beside), "clerk ada linked none legacy degraded");
}
