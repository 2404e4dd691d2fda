//! The key server fails in every way, and nobody who holds a good token notices.

use std::time::{Duration, Instant};

use serde_json::json;

use super::bed::{Bed, Running, STORY, until};
use super::issuer::{self, Keys, first_pem, key_set, token};

const PROTECTED: &str = "/me";

fn outcome(bed: &Running, token: &str) -> String {
    bed.get(PROTECTED).bearer(token).send().outcome()
}

#[test]
fn held_keys_outlive_their_server() {
    let bed = Bed::new().start();
    let before = token("user_ada").sign();
    assert_eq!(outcome(&bed, &before), "200 ok");
    bed.issuer().kill();
    assert_eq!(outcome(&bed, &before), "200 ok", "a token that is cached");
    assert_eq!(outcome(&bed, &token("user_bob").sign()), "200 ok", "a token that is new");
    assert_eq!(outcome(&bed, &issuer::tampered(&before, 2)), "401 clerk_invalid", "a bad one stays bad");
    assert_eq!(bed.ask_admin("/readyz").status, 200);
}

#[test]
fn without_keys_public_traffic_lives_and_the_rest_can_come_back() {
    let bed = Bed::new().section("server: { threads: 2, ready: { wait: 200ms } }");
    bed.issuer().kill();
    let bed = bed.start();
    let good = token("user_ada").sign();
    assert_eq!(bed.get("/public/x").bearer(&good).send().outcome(), "200 ok");
    assert_eq!(bed.get("/public/x").send().outcome(), "200 ok");
    let answer = bed.get(PROTECTED).bearer(&good).send();
    assert_eq!(answer.outcome(), "503 clerk_outage");
    assert!(answer.header("retry-after").is_some());
    assert!(answer.header("www-authenticate").is_none(), "nothing that the client could mend");
    assert_eq!(bed.get(PROTECTED).send().outcome(), "401 no_credential", "needs no key");
    assert_eq!(outcome(&bed, "junk"), "401 clerk_invalid", "needs no key either");
    let pending = token("user_ada").claim("sts", json!("pending")).sign();
    assert_eq!(outcome(&bed, &pending), "401 clerk_invalid", "what no key could make good");
    assert_eq!(bed.reasons(), ["no_keys"]);
    until("ready though degraded", || (bed.ask_admin("/readyz").status == 200).then_some(()));
    assert_eq!(bed.metric("crossgate_auth_decisions_total{access=\"protected\",arm=\"clerk\",decision=\"deny\",fault=\"server\",reason=\"clerk_outage\",rollout=\"auth\"}"), 1.0);

    bed.issuer().revive();
    until("the keys", || (outcome(&bed, &good) == "200 ok").then_some(()));
    assert!(bed.reasons().is_empty());
}

#[test]
fn strict_is_never_ready_without_keys() {
    let bed = Bed::new().section("server: { threads: 2, ready: { wait: 100ms, strict: true } }");
    bed.issuer().kill();
    let bed = bed.start();
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(300) {
        assert_eq!(bed.ask_admin("/readyz").status, 503);
    }
    bed.issuer().revive();
    until("readiness", || (bed.ask_admin("/readyz").status == 200).then_some(()));
}

#[test]
fn a_restart_during_an_outage_uses_the_last_good_keys() {
    let bed = Bed::new().start();
    let good = token("user_ada").sign();
    assert_eq!(outcome(&bed, &good), "200 ok");
    // Written behind the first fetch; nobody waits for it.
    let stored = until("the persisted set", || find(&bed.folder().join("state"), "ins_first"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&stored).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    bed.issuer().kill();
    let bed = bed.restart();
    assert_eq!(outcome(&bed, &good), "200 ok");
    assert_eq!(outcome(&bed, &token("user_bob").by_second_key().issued(60).sign()), "401 clerk_invalid");

    std::fs::write(&stored, "{\"keys\":[").unwrap();
    let bed = bed.restart();
    assert_eq!(outcome(&bed, &good), "503 clerk_outage", "a broken file is no key set");
}

/// [`STORY`] with a privileged route.
fn privileged_story() -> String {
    format!("{STORY}  - {{ id: vault, match: {{ path: \"/vault/{{*rest}}\" }}, access: privileged }}\n")
}

#[test]
fn old_keys_do_for_no_privileged_route() {
    let jwks = "jwks: { url: \"{keys}\", allow_private: true, refresh: 1s, privileged_max_stale: 3s }";
    let bed = Bed::new().policy(&privileged_story()).clerk_option(jwks).start();
    let vault = |token: &str| bed.get("/vault/1").bearer(token).send();
    let known = token("user_ada").issued(30).sign();
    assert_eq!(vault(&known).outcome(), "200 ok");
    bed.issuer().kill();
    let refused = until("old keys", || Some(vault(&known)).filter(|answer| answer.status != 200));
    assert_eq!(refused.outcome(), "503 jwks_stale_privileged", "a token that is cached");
    assert!(refused.header("retry-after").is_some() && refused.header("www-authenticate").is_none());
    until("the count", || (bed.metric(STALE) == 1.0).then_some(()));
    assert_eq!(vault(&token("user_bob").sign()).outcome(), "503 jwks_stale_privileged", "a token that is new");
    assert_eq!(vault(&issuer::tampered(&known, 2)).outcome(), "401 clerk_invalid", "a bad one stays bad");
    assert_eq!(bed.get("/vault/1").send().outcome(), "401 no_credential");
    assert_eq!(outcome(&bed, &known), "200 ok", "what is protected goes on");
    assert_eq!(bed.get("/public/x").bearer(&known).send().outcome(), "200 ok");
    let preflight = bed
        .call("OPTIONS", "/vault/1")
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "GET");
    let seen = bed.origin().count();
    preflight.send();
    assert_eq!(bed.origin().count(), seen + 1, "a preflight passes: its request is judged when it comes");
    let seen = bed.origin().count();
    vault(&known);
    assert_eq!(bed.origin().count(), seen, "nothing reaches the API");
    bed.issuer().revive();
    until("young keys", || (vault(&token("user_ada").sign()).outcome() == "200 ok").then_some(()));
}

const STALE: &str = "crossgate_auth_decisions_total{access=\"privileged\",arm=\"clerk\",decision=\"deny\",fault=\"server\",reason=\"jwks_stale_privileged\",rollout=\"auth\"}";

#[test]
fn keys_of_a_file_are_never_too_old_for_a_privileged_route() {
    let bed = Bed::new().policy(&privileged_story()).clerk_option("jwks: { file: keys.json }");
    std::fs::write(bed.folder().join("keys.json"), key_set(&[issuer::first()])).unwrap();
    let bed = bed.start();
    assert_eq!(bed.get("/vault/1").bearer(&token("user_ada").sign()).send().outcome(), "200 ok");
    assert_eq!(
        bed.ask_admin("/v1/snapshot").json()["routes"].as_array().unwrap().last().unwrap()["access"],
        "privileged"
    );
}

/// A complete file below `folder` that holds `text`.
fn find(folder: &std::path::Path, text: &str) -> Option<std::path::PathBuf> {
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find(&path, text) {
                return Some(found);
            }
        } else if path.extension().is_none_or(|ending| ending != "tmp")
            && std::fs::read_to_string(&path).is_ok_and(|content| content.contains(text))
        {
            return Some(path);
        }
    }
    None
}

#[test]
fn rotation() {
    let bed = Bed::new().start();
    let old = token("user_ada").issued(60).sign();
    let new = token("user_ada").by_second_key().sign();
    assert_eq!(outcome(&bed, &old), "200 ok");
    assert_eq!(bed.issuer().fetches(), 1);
    bed.issuer().serves(Keys::Both);
    assert_eq!(outcome(&bed, &new), "200 ok", "an unknown key is fetched while its first request waits");
    assert_eq!(bed.issuer().fetches(), 2);
    assert_eq!(outcome(&bed, &old), "200 ok", "the old key is still published");
}

#[test]
fn a_key_that_is_taken_away_is_refused() {
    let bed = Bed::new().clerk_option("jwks: { url: \"{keys}\", allow_private: true, refresh: 1s }").start();
    let old = token("user_ada").issued(60).sign();
    assert_eq!(outcome(&bed, &old), "200 ok");
    assert_eq!(outcome(&bed, &old), "200 ok", "from the cache");
    bed.issuer().serves(Keys::Second);
    until("the refresh", || (outcome(&bed, &old) == "401 clerk_invalid").then_some(()));
    assert_eq!(outcome(&bed, &token("user_ada").by_second_key().sign()), "200 ok");
}

#[test]
fn invented_keys_buy_one_fetch() {
    let bed = Bed::new().start();
    let invented = |n: usize| token("user_ada").issued(60).in_header("kid", json!(format!("ins_invented_{n}"))).sign();
    for n in 0..20 {
        assert_eq!(outcome(&bed, &invented(n)), "401 clerk_invalid", "{n}");
    }
    assert_eq!(bed.issuer().fetches(), 2, "the first one, and one for all of them");
    assert_eq!(outcome(&bed, &token("user_ada").sign()), "200 ok");
    let newer = token("user_ada").issued(-2).in_header("kid", json!("ins_newer")).sign();
    assert_eq!(outcome(&bed, &newer), "503 clerk_outage", "a key made since the last fetch may exist");
}

#[test]
fn many_at_once_wait_for_one_fetch() {
    let bed = Bed::new().start();
    bed.issuer().serves(Keys::Both);
    let calls: Vec<_> =
        (0..20).map(|n| bed.get(PROTECTED).bearer(&token(&format!("user_{n}")).by_second_key().sign())).collect();
    std::thread::scope(|scope| {
        for call in &calls {
            scope.spawn(move || assert_eq!(call.send().outcome(), "200 ok"));
        }
    });
    assert_eq!(bed.issuer().fetches(), 2);
}

#[test]
fn a_lying_key_server_replaces_nothing() {
    let bed = Bed::new().clerk_option("jwks: { url: \"{keys}\", allow_private: true, refresh: 1s }").start();
    let good = token("user_ada").issued(60).sign();
    let forged = token("user_ada").issued(60).by_second_key().sign();
    assert_eq!(outcome(&bed, &good), "200 ok");
    let elsewhere = issuer::Issuer::start();
    elsewhere.serves(Keys::Second);
    let duplicate = key_set(&[issuer::second(), issuer::second()]);
    for (name, lie) in [
        ("500", Keys::Status(500)),
        ("404", Keys::Status(404)),
        ("html", Keys::Html),
        ("redirect", Keys::Redirect(elsewhere.url())),
        ("huge", Keys::Huge),
        ("empty body", Keys::Body(String::new())),
        ("no JSON", Keys::Body("keys".to_owned())),
        ("no keys", Keys::Body("{}".to_owned())),
        ("one kid twice", Keys::Body(duplicate)),
        ("weak exponent", Keys::Body(key_set(&[issuer::second()]).replace("\"AQAB\"", "\"Aw\""))),
        ("for encryption", Keys::Body(key_set(&[issuer::second()]).replace("\"sig\"", "\"enc\""))),
    ] {
        let before = bed.issuer().fetches();
        bed.issuer().serves(lie);
        until(name, || (bed.issuer().fetches() > before + 1).then_some(()));
        assert_eq!(outcome(&bed, &good), "200 ok", "{name}");
        assert_eq!(outcome(&bed, &forged), "401 clerk_invalid", "{name}");
        // Back to good ones, or the pauses between two fetches grow.
        let failed = bed.issuer().fetches();
        bed.issuer().serves(Keys::First);
        until("a good set", || (bed.issuer().fetches() > failed).then_some(()));
    }
    assert_eq!(elsewhere.fetches(), 0, "redirects are not followed");
}

#[test]
fn a_silent_key_server_blocks_no_start_and_no_request() {
    for silence in [Keys::Hang, Keys::Drip] {
        let bed = Bed::new().section("server: { threads: 2, ready: { wait: 300ms } }");
        bed.issuer().serves(silence);
        let started = Instant::now();
        let bed = bed.start();
        assert!(started.elapsed() < Duration::from_secs(4), "the gate opens after server.ready.wait");
        assert_eq!(bed.get("/public/x").bearer(&token("user_ada").sign()).send().outcome(), "200 ok");
        let asked = Instant::now();
        assert_eq!(outcome(&bed, &token("user_ada").sign()), "503 clerk_outage");
        assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    }
}

#[test]
fn two_instances_are_told_apart_by_issuer() {
    let other = issuer::Issuer::start();
    other.serves(Keys::Second);
    let bed = Bed::new()
        .instance(&format!(
            "{{ name: other, issuer: \"https://clerk.other.example\", jwks: {{ url: \"{}\", allow_private: true }} }}",
            other.url()
        ))
        .start();
    let theirs = token("user_eve").claim("iss", json!("https://clerk.other.example"));
    assert_eq!(outcome(&bed, &token("user_ada").sign()), "200 ok");
    assert_eq!(outcome(&bed, &theirs.clone().by_second_key().sign()), "200 ok");
    let kid = |name: &str| json!(name);
    for (name, crossed) in [
        ("first instance, second key", token("user_ada").issued(60).by_second_key()),
        (
            "first instance, second key, first name",
            token("user_ada").issued(60).by_second_key().in_header("kid", kid("ins_first")),
        ),
        ("second instance, first key", theirs.clone().issued(60)),
        ("second instance, first key, second name", theirs.issued(60).in_header("kid", kid("ins_second"))),
    ] {
        assert_eq!(outcome(&bed, &crossed.sign()), "401 clerk_invalid", "{name}");
    }
}

#[test]
fn keys_out_of_a_file_or_a_pem_need_no_network() {
    let file = Bed::new().clerk_option("jwks: { file: keys.json }");
    std::fs::write(file.folder().join("keys.json"), key_set(&[issuer::first()])).unwrap();
    let inline = first_pem().lines().map(|line| format!("        {line}\n")).collect::<String>();
    let pem = Bed::new().clerk_option(&format!("jwks:\n      pem: |\n{inline}"));
    for (name, bed) in [("file", file), ("pem", pem)] {
        let bed = bed.start();
        assert_eq!(outcome(&bed, &token("user_ada").sign()), "200 ok", "{name}");
        assert_eq!(outcome(&bed, &token("user_ada").by_second_key().sign()), "401 clerk_invalid", "{name}");
        assert_eq!(bed.issuer().fetches(), 0, "{name}");
    }
}
