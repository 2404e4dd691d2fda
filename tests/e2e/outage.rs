//! Servers that crossgate asks in the background are out, and it says so where operators look.

use super::bed::{Bed, Running, until};
use super::issuer::{self, Issuer, Keys, token};

const ISSUANCE: &str = "crossgate_clerk_issuance_up{issuer=\"https://clerk.example.com\"}";

fn issuance(bed: &Running) -> serde_json::Value {
    bed.ask_admin("/v1/snapshot").json()["issuers"][0]["issuance"].clone()
}

#[test]
fn an_outage_of_issuance_is_seen_while_keys_are_served() {
    let frontend = Issuer::start();
    let probe = format!("probe: {{ url: \"http://{}/v1/client\", interval: 1s }}", frontend.address);
    let bed = Bed::new().clerk_option(&probe).start();
    until("the first question", || (frontend.fetches() > 0).then_some(()));
    assert_eq!(bed.metric(ISSUANCE), 1.0);
    assert_eq!(issuance(&bed), "up");
    let good = token("user_ada").sign();

    frontend.serves(Keys::Status(429));
    until("the outage", || (bed.metric(ISSUANCE) == 0.0).then_some(()));
    assert_eq!(issuance(&bed), "down");
    let report = bed.ask_admin("/readyz");
    assert_eq!(report.status, 200, "whoever leaves the balancer takes everybody along");
    let reason = &report.json()["reasons"][0];
    assert_eq!(reason["code"], "issuance_down");
    assert_eq!(reason["issuer"], issuer::ISSUER);
    assert!(reason["detail"].as_str().unwrap().contains("status 429"), "{reason}");
    assert_eq!(bed.get("/me").bearer(&good).send().outcome(), "200 ok", "a good token stays good");
    assert_eq!(
        bed.get("/me").bearer(&issuer::tampered(&good, 2)).send().outcome(),
        "401 clerk_invalid",
        "a bad one bad"
    );

    let expired = token("user_ada").expired().sign();
    let refused = bed.get("/me").bearer(&expired).send();
    assert_eq!(refused.outcome(), "503 clerk_outage", "nobody can renew it");
    assert!(refused.header("www-authenticate").is_none());
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((10..=60).contains(&after), "{after}");
    assert_eq!(bed.get("/me").send().outcome(), "401 no_credential");

    frontend.serves(Keys::Status(404));
    until("the end", || (bed.metric(ISSUANCE) == 1.0).then_some(()));
    assert!(bed.reasons().is_empty());
    assert_eq!(bed.get("/me").bearer(&expired).send().outcome(), "401 clerk_expired");
    frontend.kill();
    until("no connection", || (bed.metric(ISSUANCE) == 0.0).then_some(()));
}

#[test]
fn requests_never_make_the_probe_ask() {
    let frontend = Issuer::start();
    let probe = format!("probe: {{ url: \"http://{}/v1/client\", interval: 5m }}", frontend.address);
    let bed = Bed::new().clerk_option(&probe).start();
    until("the first question", || (frontend.fetches() > 0).then_some(()));
    for n in 0..20 {
        bed.get("/me").bearer(&token(&format!("user_{n}")).expired().sign()).send();
        bed.get("/me").bearer(&issuer::tampered(&token("user_eve").sign(), 2)).send();
    }
    assert_eq!(frontend.fetches(), 1);
}

#[test]
fn a_stand_in_is_not_probed_unasked() {
    let bed = Bed::new().start();
    assert_eq!(bed.get("/me").bearer(&token("user_ada").sign()).send().outcome(), "200 ok");
    assert_eq!(bed.issuer().fetches(), 1, "the keys, and nothing else");
    assert!(!bed.ask_admin("/metrics").text().contains("crossgate_clerk_issuance_up{"));
    assert!(issuance(&bed).is_null());
}

#[test]
fn the_legacy_sides_keys_are_kept_as_clerks_are() {
    const ISSUER: &str = "https://login.example.com";
    let server = Issuer::start();
    let jwks = format!("{{ url: \"http://{}/jwks.json\", allow_private: true }}", server.address);
    let legacy = format!("legacy: {{ verify: {{ jwt: {{ jwks: {jwks}, issuer: \"{ISSUER}\" }} }} }}");
    let bed = Bed::new().section(&legacy).start();
    let signed = |user: &str| token(user).claim("iss", ISSUER.into()).without("sid").sign();
    let me = |bed: &Running, token: &str| bed.get("/me/x").bearer(token).send().outcome();
    assert_eq!(me(&bed, &signed("42")), "200 ok");
    assert_eq!(bed.metric(&format!("crossgate_jwks_refresh_total{{issuer=\"{ISSUER}\",result=\"ok\"}}")), 1.0);
    assert_eq!(bed.ask_admin("/v1/snapshot").json()["legacy"]["keys"]["kids"][0], "ins_first");

    // Written behind the first fetch; the process ends in its own time.
    server.kill();
    let bed = bed.restart();
    assert_eq!(me(&bed, &signed("43")), "200 ok", "the last good keys outlive a restart");
    assert_eq!(me(&bed, &token("user_ada").sign()), "200 ok");

    let state = bed.folder().join("state");
    let bed = {
        std::fs::remove_dir_all(&state).unwrap();
        bed.restart()
    };
    assert_eq!(me(&bed, &signed("44")), "503 legacy_outage");
    assert_eq!(me(&bed, &token("user_ada").sign()), "200 ok", "nobody of Clerk's notices");
    let report = bed.ask_admin("/readyz").json();
    assert_eq!(report["reasons"][0]["code"], "no_keys");
    assert_eq!(report["reasons"][0]["issuer"], ISSUER);
}
