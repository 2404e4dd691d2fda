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

    frontend.serves(Keys::Status(404));
    until("the end", || (bed.metric(ISSUANCE) == 1.0).then_some(()));
    assert!(bed.reasons().is_empty());
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
