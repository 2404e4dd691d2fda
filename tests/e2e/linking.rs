//! Two logins, one person: the identity map and the mapped claim through the proxy, and who they never let in.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::bed::{Bed, Running, until};
use super::issuer::{now, token};
use super::wire::Response;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

const MAP: &str = r#"{"kind":"org","legacy":"acme","clerk":"org_1"}
{"kind":"org","legacy":"globex"}
{"kind":"user","legacy":"41","clerk":"user_sue","state":"sealed"}
{"kind":"user","legacy":"42","clerk":"user_ada","state":"linked"}
{"kind":"user","legacy":"43","state":"legacy_only"}
{"kind":"user","legacy":"44","clerk":"user_dan","state":"deleted"}
{"kind":"membership","user":"42","org":"acme","role":"admin","workspaces":["w1"]}
"#;

const POLICY: &str = r#"
routes:
  - { id: me, match: { path: /me } }
  - { id: read, match: { method: [GET], path: "/orgs/{org}" }, require: { org: "{org}" } }
  - { id: write, match: { method: [POST], path: "/orgs/{org}" }, require: { org: "{org}", role: org:admin } }
  - { id: place, match: { path: "/orgs/{org}/{workspace}" }, require: { org: "{org}", workspace: "{workspace}" } }
  - { id: clerks, match: { path: "/clerk/{org}" }, require: { org: { clerk_id: "{org}" } } }
  - { id: own, match: { method: [POST], path: /own }, require: { org: any, role: org:admin } }
"#;

fn bed(identity: &str) -> Running {
    let bed = Bed::new()
        .policy(POLICY)
        .section("legacy: { verify: { jwt: { secret_file: legacy.secret } } }")
        .section(identity);
    std::fs::write(bed.folder().join("legacy.secret"), SECRET).unwrap();
    std::fs::write(bed.folder().join("map.jsonl"), MAP).unwrap();
    bed.start()
}

fn usual() -> Running {
    bed("identity: { map: { file: map.jsonl, claim: external_id }, roles: { \"org:admin\": [admin, owner] } }")
}

/// A legacy token of a person, active in an org.
fn legacy(user: &str, org: Option<&str>, roles: &[&str]) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({ "sub": user, "org": org, "roles": roles, "exp": now() + 600 });
    let signed = format!("{}.{}", part(json!({ "alg": "HS256", "typ": "JWT" })), part(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn seen(bed: &Running, name: &str) -> Vec<String> {
    bed.origin().last().values(name)
}

fn reach(bed: &Running, method: &str, target: &str, credential: &str) -> Response {
    bed.call(method, target).bearer(credential).send()
}

#[test]
fn both_logins_of_a_person_are_one_person_to_the_api() {
    let bed = usual();
    let clerk = token("user_ada").org("org_1", "whatever", "member").sign();
    let legacy = legacy("42", Some("acme"), &[]);
    for (name, credential) in [("clerk", &clerk), ("legacy", &legacy)] {
        assert_eq!(reach(&bed, "GET", "/orgs/acme", credential).status, 200, "{name}");
        assert_eq!(reach(&bed, "GET", "/clerk/org_1", credential).status, 200, "{name}");
        assert_eq!(reach(&bed, "GET", "/orgs/acme/w1", credential).status, 200, "{name}");
        for (header, value) in [
            ("x-crossgate-subject", "42"),
            ("x-crossgate-legacy-user", "42"),
            ("x-crossgate-clerk-user", "user_ada"),
            ("x-crossgate-legacy-org", "acme"),
            ("x-crossgate-org", "org_1"),
            ("x-crossgate-workspaces", "w1"),
        ] {
            assert_eq!(seen(&bed, header), [value], "{name}: {header}");
        }
        assert_eq!(reach(&bed, "GET", "/orgs/globex", credential).outcome(), "403 forbidden", "{name}");
        assert_eq!(reach(&bed, "GET", "/orgs/acme/w2", credential).outcome(), "403 forbidden", "{name}");
    }
    // The membership's role is the legacy side's, and Clerk's is Clerk's.
    assert_eq!(reach(&bed, "POST", "/orgs/acme", &legacy).status, 200);
    assert_eq!(seen(&bed, "x-crossgate-role"), ["admin"]);
    assert_eq!(reach(&bed, "POST", "/orgs/acme", &clerk).outcome(), "403 forbidden");
    // Beside one another they are one person; with somebody else's they are two.
    let name = |user: &str| token(user).org("org_1", "x", "member").sign();
    let both = |session: &str| {
        let cookies = format!("__session={session}; __client_uat=1");
        bed.get("/me").bearer(&legacy).cookie(&cookies).header("sec-fetch-site", "same-origin").send()
    };
    assert_eq!(both(&clerk).status, 200);
    assert_eq!(both(&name("user_eve")).outcome(), "400 identity_conflict");
}

#[test]
fn a_stranger_reaches_nothing_of_a_legacy_org() {
    let bed = usual();
    let unmapped = "403 unmapped_principal";
    for (name, stranger) in [
        ("slug of a legacy org", token("user_eve").org("org_9", "acme", "admin")),
        ("slug of an org without Clerk's", token("user_eve").org("org_9", "globex", "admin")),
        ("claims an admin's id", token("user_eve").org("org_9", "acme", "admin").claim("external_id", json!("42"))),
        ("claims a free id", token("user_eve").org("org_9", "acme", "admin").claim("external_id", json!("77"))),
        ("a linked person in an own org", token("user_ada").org("org_9", "acme", "admin")),
    ] {
        let stranger = stranger.sign();
        for target in ["/orgs/acme", "/orgs/globex", "/orgs/acme/w1"] {
            for method in ["GET", "POST"] {
                let answer = reach(&bed, method, target, &stranger);
                assert!(answer.outcome() == unmapped || answer.outcome() == "403 no_route", "{name} {method} {target}");
            }
        }
        // In their own org they are who they are.
        assert_eq!(reach(&bed, "POST", "/own", &stranger).status, 200, "{name}");
        assert_eq!(seen(&bed, "x-crossgate-legacy-org"), Vec::<String>::new(), "{name}");
    }
    assert_eq!(reach(&bed, "GET", "/me", &token("user_eve").claim("external_id", json!("42")).sign()).status, 200);
    assert_eq!(seen(&bed, "x-crossgate-subject"), ["user_eve"]);
    assert_eq!(seen(&bed, "x-crossgate-legacy-user"), Vec::<String>::new());
    assert_eq!(bed.metric("crossgate_identity_conflicts_total{kind=\"claim_taken\"}"), 2.0);
    assert_eq!(bed.metric("crossgate_identity_map_entries{kind=\"user\"}"), 4.0);
    // In no org at all nobody is unmapped.
    assert_eq!(reach(&bed, "GET", "/orgs/acme", &token("user_eve").sign()).outcome(), "403 forbidden");
    // And the other way round: a legacy org that the map does not know has no Clerk id.
    let other = legacy("43", Some("org_1"), &["admin"]);
    assert_eq!(reach(&bed, "GET", "/clerk/org_1", &other).outcome(), unmapped);
}

#[test]
fn the_claim_links_whom_the_map_does_not_know() {
    let bed = usual();
    let new = token("user_new").claim("external_id", json!("77")).sign();
    assert_eq!(reach(&bed, "GET", "/me", &new).status, 200);
    assert_eq!(seen(&bed, "x-crossgate-subject"), ["77"]);
    assert_eq!(seen(&bed, "x-crossgate-clerk-user"), ["user_new"]);
}

#[test]
fn sealed_and_deleted_people_prove_nothing_any_more() {
    let bed = usual();
    assert_eq!(reach(&bed, "GET", "/me", &token("user_sue").sign()).status, 200);
    assert_eq!(reach(&bed, "GET", "/me", &legacy("41", None, &[])).outcome(), "401 legacy_sealed");
    assert_eq!(reach(&bed, "GET", "/me", &token("user_dan").sign()).outcome(), "401 clerk_invalid");
    assert_eq!(reach(&bed, "GET", "/me", &token("user_dan").expired().sign()).outcome(), "401 clerk_invalid");
    assert_eq!(reach(&bed, "GET", "/me", &legacy("44", None, &[])).outcome(), "401 legacy_sealed");
}

#[test]
fn the_canonical_id_is_the_configs() {
    let bed = bed("identity: { canonical: clerk, map: { file: map.jsonl } }");
    for credential in [token("user_ada").sign(), legacy("42", None, &[])] {
        assert_eq!(reach(&bed, "GET", "/me", &credential).status, 200);
        assert_eq!(seen(&bed, "x-crossgate-subject"), ["user_ada"]);
    }
    assert_eq!(reach(&bed, "GET", "/me", &legacy("43", None, &[])).status, 200);
    assert_eq!(seen(&bed, "x-crossgate-subject"), ["43"]);
}

#[test]
fn a_broken_map_moves_nobody() {
    let bed = usual();
    let file = bed.folder().join("map.jsonl");
    let cases: [(&str, Option<String>); 6] = [
        ("no JSON", Some(format!("{MAP}nonsense\n"))),
        ("cut off", Some(MAP[..MAP.len() - 20].to_owned())),
        ("an id twice", Some(format!("{MAP}{{\"kind\":\"user\",\"legacy\":\"42\",\"state\":\"sealed\"}}\n"))),
        ("dangling", Some(format!("{MAP}{{\"kind\":\"membership\",\"user\":\"9\",\"org\":\"acme\"}}\n"))),
        ("a state of tomorrow", Some(MAP.replace("legacy_only", "paused"))),
        ("gone", None),
    ];
    let as_before = |name: &str| {
        for credential in [token("user_ada").org("org_1", "x", "member").sign(), legacy("42", Some("acme"), &[])] {
            assert_eq!(reach(&bed, "GET", "/orgs/acme", &credential).status, 200, "{name}");
            assert_eq!(seen(&bed, "x-crossgate-subject"), ["42"], "{name}");
        }
        assert_eq!(reach(&bed, "GET", "/me", &legacy("41", None, &[])).outcome(), "401 legacy_sealed", "{name}");
    };
    as_before("at first");
    for (name, text) in cases {
        match text {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        bed.process.signal("HUP");
        until(name, || bed.reasons().contains(&"stale_config".to_owned()).then_some(()));
        let report = bed.ask_admin("/readyz");
        assert_eq!((report.status, bed.metric("crossgate_config_stale")), (200, 1.0), "{name}");
        assert!(report.text().contains("CG0406"), "{name}: {}", report.text());
        as_before(name);

        std::fs::write(&file, MAP).unwrap();
        bed.process.signal("HUP");
        until("the mended map", || bed.reasons().is_empty().then_some(()));
        as_before(name);
    }
    // And a good one is in force at once, also for tokens that were seen before.
    let ada = legacy("42", Some("acme"), &[]);
    std::fs::write(&file, MAP.replace("\"state\":\"linked\"", "\"state\":\"sealed\"")).unwrap();
    bed.process.signal("HUP");
    until("the new map", || (reach(&bed, "GET", "/me", &ada).outcome() == "401 legacy_sealed").then_some(()));
}

/// A file that was cut between two lines looks whole.
#[test]
fn a_map_that_lost_people_revives_nobody() {
    let bed = usual();
    let file = bed.folder().join("map.jsonl");
    let without = |gone: &str| {
        MAP.lines().filter(|line| !line.contains(gone)).map(|line| format!("{line}\n")).collect::<String>()
    };
    let cases: [(&str, String); 4] = [
        ("emptied", String::new()),
        ("cut between two lines", MAP.lines().take(4).map(|line| format!("{line}\n")).collect()),
        ("without the sealed one", without("sealed")),
        ("without the deleted one", without("deleted")),
    ];
    let as_before = |name: &str| {
        assert_eq!(reach(&bed, "GET", "/me", &legacy("41", None, &[])).outcome(), "401 legacy_sealed", "{name}");
        assert_eq!(reach(&bed, "GET", "/me", &legacy("44", None, &[])).outcome(), "401 legacy_sealed", "{name}");
        assert_eq!(reach(&bed, "GET", "/me", &token("user_ada").sign()).status, 200, "{name}");
        assert_eq!(seen(&bed, "x-crossgate-subject"), ["42"], "{name}");
    };
    for (name, text) in cases {
        std::fs::write(&file, text).unwrap();
        bed.process.signal("HUP");
        until(name, || bed.reasons().contains(&"stale_config".to_owned()).then_some(()));
        assert!(bed.ask_admin("/readyz").text().contains("CG0411"), "{name}");
        as_before(name);
        std::fs::write(&file, MAP).unwrap();
        bed.process.signal("HUP");
        until("the whole map", || bed.reasons().is_empty().then_some(()));
    }
    // What is meant is said by hand.
    let extent = bed.folder().join("state/map.json");
    std::fs::remove_file(&extent).unwrap();
    std::fs::write(&file, without("deleted")).unwrap();
    bed.process.signal("HUP");
    until("the smaller map", || (reach(&bed, "GET", "/me", &legacy("44", None, &[])).status == 200).then_some(()));
    assert!(extent.exists(), "kept again");
    // Nor does a restart forget the others.
    let (bed, _) = bed.stop_keeping_folder();
    let path = bed.folder().join("map.jsonl");
    std::fs::write(&path, "").unwrap();
    let start = || {
        std::process::Command::new(env!("CARGO_BIN_EXE_crossgate"))
            .args(["run", "-c", &bed.folder().join("crossgate.yaml").display().to_string()])
            .output()
            .unwrap()
    };
    let ended = start();
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("it has 0 people and had 3") && told.contains("map.json and load it again"), "{told}");
}

#[test]
fn nothing_starts_with_a_broken_map() {
    let bed = Bed::new().section("identity: { map: { file: map.jsonl } }");
    std::fs::write(bed.folder().join("map.jsonl"), format!("{MAP}nonsense\n")).unwrap();
    let socket = |name: &str| super::wire::Address::Unix(bed.folder().join(name));
    let ended = bed.fail_at(&socket("gate.sock"), &socket("admin.sock"));
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("map.jsonl:8"), "{}", ended.stderr);
}
