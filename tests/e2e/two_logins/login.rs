//! `access: login`: the requests of one login reach one arm, whatever moves meanwhile; nobody's identity goes up, and
//! nobody is refused who could sign in.

use std::time::{Duration, Instant};

use serde_json::json;

use super::super::bed::{Bed, Running, crossgate, until};
use super::super::issuer::{Issuer, Keys, tampered, token};
use super::super::origin::{Answer, Origin};
use super::super::wire::{Call, Response, Wire};
use super::{
    By, LEGACY_JWT, SECRET, legacy, linked, order, saw, seen, session, set_percent, two, unknown_key,
    until_keys_are_stale, user, with,
};

const NAME: &str = "__Host-crossgate-arm";

const RULES: &str = r#"
routes:
  - { id: login, match: { path: "/login/{*rest}" }, access: login }
  - { id: fixed, match: { path: "/fixed/{*rest}" }, access: login, upstream: app }
  - { id: public, match: { path: "/public/{*rest}" }, access: public }
  - { id: me, match: { path: "/me/{*rest}" } }
"#;

const ROLLOUT: &str = "{ source: api, percent: 0, unit: user, limits: { max_step: 100 } }";

const FORWARD_BOTH: &str = "credentials: { forward: [legacy, clerk] }";

fn map() -> String {
    linked("1", "user_1")
        + &user("old", "", "legacy_only")
        + &user("sealed", "user_sealed", "sealed")
        + &user("", "user_native", "clerk_native")
        + &user("gone", "user_gone", "deleted")
}

fn bed() -> Bed {
    two(&map(), ROLLOUT).policy(RULES)
}

/// The arm that the API was told, and the cookie that came with the answer, as a browser would send it back.
fn arm(answer: &Response) -> (String, Option<String>) {
    assert_eq!(answer.outcome(), "200 ok", "{}", answer.text());
    (saw(answer, "x-crossgate-arm"), set(answer))
}

fn set(answer: &Response) -> Option<String> {
    let lines: Vec<&String> =
        answer.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, line)| line).collect();
    let own: Vec<&&String> = lines.iter().filter(|line| line.starts_with(NAME)).collect();
    assert!(own.len() < 2, "{lines:?}");
    own.first().map(|line| line.split(';').next().unwrap().to_owned())
}

fn init(bed: &Running) -> (String, Option<String>) {
    arm(&bed.post("/login/init").body("{}").send())
}

fn complete(bed: &Running, cookie: &str) -> (String, Option<String>) {
    arm(&bed.post("/login/complete").cookie(cookie).body("{}").send())
}

fn stays(bed: &Running, cookie: &str, expected: &str, when: &str) {
    assert_eq!(complete(bed, cookie), (expected.to_owned(), None), "{when}");
}

#[test]
fn init_and_complete_reach_one_arm_whatever_the_rollout_does() {
    let bed = bed().start_on_sockets();
    let (first, began_legacy) = init(&bed);
    let began_legacy = began_legacy.unwrap();
    assert_eq!(first, "legacy");
    set_percent(&bed, "100");
    stays(&bed, &began_legacy, "legacy", "0 to 100 %");
    let (second, began_clerk) = init(&bed);
    let began_clerk = began_clerk.unwrap();
    assert_eq!(second, "clerk", "who begins now");
    set_percent(&bed, "0");
    let both = |bed: &Running, when: &str| {
        stays(bed, &began_legacy, "legacy", when);
        stays(bed, &began_clerk, "clerk", when);
    };
    both(&bed, "back to 0 %");
    set_percent(&bed, "100");
    order(&bed, "freeze");
    both(&bed, "frozen");
    order(&bed, "rollback");
    both(&bed, "rolled back");
    assert_eq!(init(&bed).0, "legacy", "rolled back: who begins now");
    order(&bed, "confirm");
    both(&bed, "confirmed");
    assert_eq!(init(&bed).0, "legacy", "confirmed: who begins now");
    order(&bed, "resume");
    both(&bed, "resumed: another generation");
    bed.process.signal("HUP");
    until("the reload", || (bed.process.stderr.text().matches("config loaded").count() >= 2).then_some(()));
    both(&bed, "reloaded");
    let bed = bed.restart();
    both(&bed, "restarted");
    let key = std::fs::read(bed.folder().join("state/bucket.key")).unwrap();

    // Another replica: the same key, a state of its own.
    let replica = two(&map(), ROLLOUT).policy(RULES);
    std::fs::create_dir_all(replica.folder().join("state")).unwrap();
    std::fs::write(replica.folder().join("state/bucket.key"), key).unwrap();
    let replica = replica.start_on_sockets();
    both(&replica, "another replica");
    // Its generation is the first one: what began in a later one is not of this rollout.
    let (_, later) = init(&bed);
    assert!(complete(&replica, &later.unwrap()).1.is_some(), "a later generation");
}

#[test]
fn the_cookie_is_set_once_and_kept_from_caches_and_from_the_api() {
    let bed = bed().start_on_sockets();
    bed.origin().answers(|asked| {
        let echoed: Vec<_> = asked.values("cookie").iter().map(|value| json!(["cookie", value])).collect();
        Answer::text(200, &json!({ "headers": echoed }).to_string())
            .with("content-type", "application/json")
            .with("cache-control", "public, max-age=60")
            .with("cdn-cache-control", "max-age=60")
            .with("set-cookie", "session=theirs; Path=/")
            .with("set-cookie", "__Host-crossgate-arm=planted; Path=/; Secure")
            .with("set-cookie", "=__Host-crossgate-arm=nameless; Path=/; Secure")
            .with("set-cookie", "other=1")
    });
    let answer = bed.post("/login/init").body("{}").send();
    let lines: Vec<&str> =
        answer.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, line)| line.as_str()).collect();
    assert_eq!(lines[..2], ["session=theirs; Path=/", "other=1"], "the API's own, and nothing planted");
    let (value, attributes) = lines[2].split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Max-Age=900; HttpOnly; Secure; SameSite=Lax");
    assert_eq!(lines.len(), 3);
    let parts: Vec<&str> = value.strip_prefix("__Host-crossgate-arm=").unwrap().split('.').collect();
    assert_eq!((parts.len(), &parts[..4]), (6, &["v1", "auth", "1", "legacy"][..]), "{value}");
    assert_eq!(answer.header("cache-control"), Some("private, max-age=60"), "whoever shares it shares an arm");
    assert_eq!(answer.header("cdn-cache-control"), None, "a CDN goes by it");
    assert!(answer.header("vary").unwrap().contains("Cookie"));

    // On the way up it leaves, in every reading, on every route; an answer without a new one is the API's.
    for target in ["/login/complete", "/public/1"] {
        let jar =
            format!("a=1; {value}; b=2; %5f_Host-crossgate-arm=x; __host-Crossgate-Arm=y; =__Host-crossgate-arm=z");
        let answer = bed.get(target).cookie(&jar).send();
        assert_eq!(seen(&answer, "cookie"), ["a=1; b=2"], "{target}");
        assert_eq!(set(&answer), None, "{target}");
        assert_eq!(answer.header("cache-control"), Some("public, max-age=60"), "{target}");
        assert_eq!(answer.header("cdn-cache-control"), Some("max-age=60"), "{target}");
    }
}

#[test]
fn other_routes_neither_read_nor_set_it() {
    let bed = bed().start_on_sockets();
    set_percent(&bed, "100");
    let cookie = init(&bed).1.unwrap();
    set_percent(&bed, "0");
    let old = legacy("1").sign();
    for target in ["/me/1", "/public/1"] {
        assert_eq!(arm(&bed.get(target).bearer(&old).cookie(&cookie).send()), ("legacy".to_owned(), None), "{target}");
    }
    assert_eq!(arm(&bed.get("/public/1").cookie(&cookie).send()), ("legacy".to_owned(), None));
}

#[test]
fn what_is_tampered_with_is_ignored_and_replaced() {
    let bed = bed().start_on_sockets();
    set_percent(&bed, "100");
    let good = init(&bed).1.unwrap();
    set_percent(&bed, "0");
    stays(&bed, &good, "clerk", "as it was set");
    let value = good.split_once('=').unwrap().1;
    let (text, mac) = value.rsplit_once('.').unwrap();
    let flipped = |at: usize| {
        let mut bytes = value.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
        String::from_utf8(bytes).unwrap()
    };
    let stranger = two(&map(), ROLLOUT).policy(RULES).start_on_sockets();
    set_percent(&stranger, "100");
    let foreign = init(&stranger).1.unwrap();
    let until = value.split('.').nth(4).unwrap();
    let table = [
        ("version", flipped(1)),
        ("rollout", flipped(4)),
        ("generation", value.replacen(".1.", ".0.", 1)),
        ("arm", value.replacen("clerk", "legacy", 1)),
        ("expiry", value.replacen(until, "4000000000", 1)),
        ("signature, first", flipped(text.len() + 1)),
        ("signature, last", flipped(value.len() - 1)),
        ("no signature", text.to_owned()),
        ("an empty signature", format!("{text}.")),
        ("another key", foreign.split_once('=').unwrap().1.to_owned()),
        ("nothing", String::new()),
        ("the plain word", "clerk".to_owned()),
        ("signature of another text", format!("v1.auth.1.clerk.4000000000.{mac}")),
    ];
    for (name, value) in table {
        let (arm, set) = complete(&bed, &format!("{NAME}={value}"));
        assert_eq!(arm, "legacy", "{name}: {value}");
        assert!(set.unwrap().contains(".legacy."), "{name}");
    }
    for jar in [format!("{good}; {good}"), format!("{good}; {NAME}=x"), format!("{NAME}=x; {good}")] {
        let (arm, set) = complete(&bed, &jar);
        assert_eq!((arm.as_str(), set.is_some()), ("legacy", true), "twice: {jar}");
    }
    // No other name, and no other place.
    assert_eq!(complete(&bed, &good.replacen("__Host-", "", 1)).0, "legacy");
    let header = bed.post("/login/x").header("x-crossgate-arm", "clerk").header("X_Crossgate_Arm", "clerk").body("");
    assert_eq!(arm(&header.send()).0, "legacy");
}

#[test]
fn nobodys_identity_goes_up() {
    let bed = bed().upstream_option(FORWARD_BOTH).start_on_sockets();
    let (old, new) = (legacy("1").sign(), token("user_1").sign());
    let ways = [
        ("nobody", bed.post("/login/x")),
        ("legacy", bed.post("/login/x").bearer(&old)),
        ("Clerk", bed.post("/login/x").bearer(&new)),
        ("both", with(bed.post("/login/x"), Some((&old, By::Cookie)), Some((&new, By::Header)))),
        ("two people", with(bed.post("/login/x"), Some((&legacy("old").sign(), By::Cookie)), Some((&new, By::Header)))),
        ("a bad one", bed.post("/login/x").bearer(&tampered(&new, 2))),
        ("two cookies", bed.post("/login/x").cookie(&format!("session={old}; session={}", legacy("old").sign()))),
        ("a foreign page", bed.post("/login/x").cookie(&session(&new)).header("origin", "https://evil.example")),
    ];
    for (name, call) in ways {
        let call = call.header("x-crossgate-subject", "root").header("X_Crossgate_Org", "acme").body("{}");
        let answer = call.send();
        assert_eq!(answer.outcome(), "200 ok", "{name}");
        let own: Vec<String> = answer.json()["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line[0].as_str().unwrap().to_ascii_lowercase().replace('_', "-"))
            .filter(|header| header.starts_with("x-crossgate-"))
            .collect();
        let mut own = own;
        own.sort();
        assert_eq!(
            own,
            ["x-crossgate-arm", "x-crossgate-method", "x-crossgate-request-id", "x-crossgate-route"],
            "{name}"
        );
        assert_eq!(saw(&answer, "x-crossgate-method"), "none", "{name}");
        assert_eq!(answer.header("x-crossgate-upgrade"), None, "{name}");
    }
}

#[test]
fn the_apis_own_credential_passes_as_it_came_and_clerks_only_verified() {
    let bed = bed().upstream_option(FORWARD_BOTH).start_on_sockets();
    let line = |token: &str| vec![format!("Bearer {token}")];
    let sent = |call: Call| {
        let answer = call.body("{}").send();
        assert_eq!(answer.outcome(), "200 ok");
        (seen(&answer, "authorization"), seen(&answer, "cookie"))
    };
    let passes = [
        ("good", legacy("1").sign()),
        ("of nobody in the map", legacy("7").sign()),
        ("expired", legacy("1").expired().sign()),
        ("badly signed", legacy("1").sign_with(b"another secret of enough bytes, as they say")),
        ("no token at all", "rt_0123456789".to_owned()),
        ("Clerk's", token("user_1").sign()),
    ];
    for (name, token) in passes {
        assert_eq!(sent(bed.post("/login/x").bearer(&token)).0, line(&token), "{name}");
    }
    let leaves = [
        ("sealed", legacy("sealed").sign()),
        ("deleted", legacy("gone").sign()),
        ("Clerk's, expired", token("user_1").expired().sign()),
        ("Clerk's, badly signed", tampered(&token("user_1").sign(), 2)),
        ("Clerk's, by an unknown key", unknown_key("user_1").sign()),
        ("Clerk's, deleted", token("user_gone").sign()),
        ("Clerk's for machines", "mt_0123456789".to_owned()),
    ];
    for (name, token) in leaves {
        assert!(sent(bed.post("/login/x").bearer(&token)).0.is_empty(), "{name}");
    }
    // In cookies, each by itself: a bad header hides no sealed cookie.
    let jar = |token: &str| format!("a=1; session={token}");
    let (sealed, good) = (legacy("sealed").sign(), legacy("1").sign());
    for header in [legacy("1").sign(), legacy("1").expired().sign(), "rt_0123456789".to_owned()] {
        let (authorization, cookie) = sent(bed.post("/login/x").bearer(&header).cookie(&jar(&sealed)));
        assert_eq!((authorization, cookie), (line(&header), vec!["a=1".to_owned()]), "{header}");
    }
    assert_eq!(sent(bed.post("/login/x").bearer(&sealed).cookie(&jar(&good))), (vec![], vec![jar(&good)]));
    // Two under one name: which of them counts cannot be told, and one is sealed.
    let two = format!("session={good}; session={sealed}; a=1");
    assert_eq!(sent(bed.post("/login/x").cookie(&two)).1, ["a=1"]);
    // A Clerk session by cookie: from the API's own pages only.
    let cookie = session(&token("user_1").sign());
    let own = sent(bed.post("/login/x").cookie(&cookie).header("sec-fetch-site", "same-origin"));
    assert_eq!(own.1, std::slice::from_ref(&cookie));
    assert!(sent(bed.post("/login/x").cookie(&cookie).header("origin", "https://evil.example")).1.is_empty());
    // Another login than both.
    let basic = bed.post("/login/x").header("authorization", "Basic dXNlcjpwYXNz");
    assert_eq!(sent(basic).0, ["Basic dXNlcjpwYXNz"]);
}

#[test]
fn nothing_passes_that_the_upstream_is_not_to_have() {
    let bed = bed().upstream_option("credentials: { forward: [] }").start_on_sockets();
    for token in [legacy("1").sign(), legacy("1").expired().sign(), token("user_1").sign(), "rt_01234".to_owned()] {
        let answer = bed.post("/login/x").bearer(&token).cookie(&format!("session={token}")).body("{}").send();
        assert_eq!(answer.outcome(), "200 ok");
        assert!(seen(&answer, "authorization").is_empty(), "{token}");
    }
}

#[test]
fn somebody_who_is_verified_gives_their_arm_and_the_cookie_goes_before() {
    let bed = bed().start_on_sockets();
    let by = |token: &str, cookie: Option<&str>| {
        let call = bed.post("/login/x").bearer(token).body("{}");
        arm(&cookie.map_or(call.clone(), |cookie| call.cookie(cookie)).send())
    };
    let began_legacy = init(&bed).1.unwrap();
    let people = [
        ("linked, legacy", legacy("1").sign(), "legacy", "clerk"),
        ("linked, Clerk", token("user_1").sign(), "legacy", "clerk"),
        ("legacy only", legacy("old").sign(), "legacy", "legacy"),
        ("native", token("user_native").sign(), "clerk", "clerk"),
        ("sealed, by Clerk", token("user_sealed").sign(), "clerk", "clerk"),
        ("sealed, by what is void", legacy("sealed").sign(), "clerk", "clerk"),
    ];
    for percent in ["0", "100"] {
        set_percent(&bed, percent);
        for (name, token, at_0, at_100) in &people {
            let expected = if percent == "0" { at_0 } else { at_100 };
            let (arm, set) = by(token, None);
            assert_eq!((arm.as_str(), set.is_some()), (*expected, true), "{name} at {percent} %");
            assert_eq!(by(token, Some(&began_legacy)), ("legacy".to_owned(), None), "{name} at {percent} %");
        }
    }
}

#[test]
fn strangers_are_dealt_by_chance_and_nobody_else_is() {
    let bed = bed().start_on_sockets();
    set_percent(&bed, "50");
    let arms: Vec<String> = (0..64).map(|_| init(&bed).0).collect();
    // One in 2^63 runs is wrong about it.
    assert!(arms.iter().any(|arm| arm == "clerk") && arms.iter().any(|arm| arm == "legacy"), "{arms:?}");
    let old = legacy("1").sign();
    let same: Vec<String> = (0..16).map(|_| arm(&bed.post("/login/x").bearer(&old).body("").send()).0).collect();
    assert!(same.iter().all(|arm| *arm == same[0]), "{same:?}");
}

#[test]
fn each_arm_has_its_own_api() {
    let (old, new) = (Origin::start(), Origin::start());
    let upstreams = format!(
        "upstreams:\n  old: {{ endpoints: [\"{}\"] }}\n  new: {{ endpoints: [\"{}\"] }}",
        old.address, new.address
    );
    let rollout = ROLLOUT.replacen("{ ", "{ arms: { legacy: { upstream: old }, clerk: { upstream: new } }, ", 1);
    let policy = RULES.replace("upstream: app", "upstream: old");
    let bed = two(&map(), &rollout).policy(&policy).section(&upstreams).start_on_sockets();
    let began_legacy = init(&bed).1.unwrap();
    assert_eq!((old.count(), new.count()), (1, 0));
    set_percent(&bed, "100");
    let began_clerk = init(&bed).1.unwrap();
    assert_eq!((old.count(), new.count()), (1, 1));
    set_percent(&bed, "0");
    stays(&bed, &began_clerk, "clerk", "to the API where it began");
    stays(&bed, &began_legacy, "legacy", "to the API where it began");
    assert_eq!((old.count(), new.count()), (2, 2));
    // A route that names its upstream has that one; the arm is said all the same.
    assert_eq!(arm(&bed.get("/fixed/x").cookie(&began_clerk).send()), ("clerk".to_owned(), None));
    assert_eq!((old.count(), new.count()), (3, 2));
}

fn probed(frontend: &Issuer) -> Running {
    let probe = format!("probe: {{ url: \"http://{}/v1/client\", interval: 1s }}", frontend.address);
    bed().clerk_option(&probe).start_on_sockets()
}

#[test]
fn while_clerk_is_out_the_legacy_flow_serves_who_has_one() {
    let frontend = Issuer::start();
    let bed = probed(&frontend);
    set_percent(&bed, "100");
    let began_clerk = init(&bed).1.unwrap();
    assert!(began_clerk.contains(".clerk."));
    let issuance = "crossgate_clerk_issuance_up{issuer=\"https://clerk.example.com\"}";
    frontend.serves(Keys::Status(429));
    until("the outage", || (bed.metric(issuance) == 0.0).then_some(()));
    assert_eq!(init(&bed).0, "legacy", "anonymous");
    let (arm_now, replaced) = complete(&bed, &began_clerk);
    let replaced = replaced.unwrap();
    assert_eq!(arm_now, "legacy", "also against the cookie");
    for (name, token) in [("linked", token("user_1").sign()), ("legacy only", legacy("old").sign())] {
        assert_eq!(arm(&bed.post("/login/x").bearer(&token).body("").send()).0, "legacy", "{name}");
    }
    let before = bed.origin().count();
    let nowhere = [
        ("native", token("user_native").sign()),
        ("sealed, by Clerk", token("user_sealed").sign()),
        ("sealed, by what is void", legacy("sealed").sign()),
        ("deleted", legacy("gone").sign()),
    ];
    for (name, token) in &nowhere {
        for cookie in [&began_clerk, &replaced] {
            let answer = bed.post("/login/x").bearer(token).cookie(cookie).body("").send();
            assert_eq!(answer.outcome(), "503 clerk_outage", "{name}");
            assert!(answer.header("retry-after").is_some(), "{name}");
            assert_eq!(set(&answer), None, "{name}");
        }
    }
    assert_eq!(bed.origin().count(), before);
    frontend.serves(Keys::Status(404));
    until("its end", || (bed.metric(issuance) == 1.0).then_some(()));
    stays(&bed, &replaced, "legacy", "what began in the outage ends there");
    for (name, token) in &nowhere[..2] {
        assert_eq!(arm(&bed.post("/login/x").bearer(token).body("").send()).0, "clerk", "{name}");
    }
}

#[test]
fn without_keys_it_is_an_outage_and_nobody_waits_for_them() {
    for keys in [Keys::Hang, Keys::Status(500)] {
        let bed = bed();
        bed.issuer().serves(keys);
        let bed = bed.start_on_sockets();
        set_percent(&bed, "100");
        let begun = Instant::now();
        assert_eq!(init(&bed).0, "legacy");
        for token in [token("user_1").sign(), token("user_native").sign(), unknown_key("user_1").sign()] {
            assert_eq!(arm(&bed.post("/login/x").bearer(&token).body("").send()).0, "legacy", "nobody is proven");
        }
        // A fetch that hangs takes 5 s each.
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }
}

#[test]
fn keys_that_are_merely_old_are_no_outage() {
    let young = "jwks: { url: \"{keys}\", allow_private: true, refresh: 1s, privileged_max_stale: 1s }";
    let policy = format!("{RULES}  - {{ id: vault, match: {{ path: \"/vault/{{*rest}}\" }}, access: privileged }}\n");
    let bed = bed().policy(&policy).clerk_option(young).start_on_sockets();
    set_percent(&bed, "100");
    let native = token("user_native").sign();
    bed.issuer().kill();
    until_keys_are_stale(&bed, &native);
    assert_eq!(init(&bed).0, "clerk");
    assert_eq!(arm(&bed.post("/login/x").bearer(&native).body("").send()).0, "clerk");
}

/// The file that signs is made with every algorithm. Without it nobody is drawn anew with each request.
#[test]
fn where_nothing_can_be_signed_nobody_is_left_to_chance() {
    let keyless = ROLLOUT.replacen("{ ", "{ algorithm: unleash, ", 1);
    let signed = two(&map(), &keyless).policy(RULES).start_on_sockets();
    assert!(signed.folder().join("state/bucket.key").exists());
    set_percent(&signed, "100");
    let began = init(&signed).1.unwrap();
    set_percent(&signed, "0");
    stays(&signed, &began, "clerk", "unleash");

    let broken = two(&map(), &keyless).policy(RULES);
    std::fs::create_dir_all(broken.folder().join("state")).unwrap();
    std::fs::write(broken.folder().join("state/bucket.key"), "short").unwrap();
    let broken = broken.start_on_sockets();
    assert!(broken.process.stderr.text().contains("no arm cookie can be signed"));
    set_percent(&broken, "99");
    for _ in 0..16 {
        assert_eq!(init(&broken), ("legacy".to_owned(), None), "below 100 %");
    }
    set_percent(&broken, "100");
    assert_eq!(init(&broken), ("clerk".to_owned(), None), "everybody");
}

#[test]
fn an_unknown_key_is_fetched_behind_the_answer() {
    let bed = bed().upstream_option(FORWARD_BOTH).start_on_sockets();
    set_percent(&bed, "100");
    let began = bed.issuer().fetches();
    bed.issuer().serves(Keys::Hang);
    let begun = Instant::now();
    let answer = bed.post("/login/x").bearer(&unknown_key("user_1").sign()).body("").send();
    assert_eq!(arm(&answer).0, "clerk", "keys are held: no outage");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    until("the fetch", || (bed.issuer().fetches() > began).then_some(()));
}

#[test]
fn a_legacy_server_is_not_asked() {
    use super::super::legacy_server::{Kind, LegacyServer, Mode};
    for kind in [Kind::Introspection, Kind::ForwardAuth] {
        let server = LegacyServer::start();
        let rollout = format!("rollout: {ROLLOUT}");
        let bed = server.bed(kind).policy(RULES).section(&rollout).start_on_sockets();
        let by = |target: &str| bed.get(target).bearer("good-ada").send();
        let answer = by("/login/x");
        assert_eq!((arm(&answer).0.as_str(), server.asked()), ("legacy", 0));
        assert_eq!(seen(&answer, "authorization"), ["Bearer good-ada"], "the API judges it");
        server.does(Mode::Hang);
        let begun = Instant::now();
        assert_eq!(by("/login/x").outcome(), "200 ok");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert_eq!(server.asked(), 0);
        server.does(Mode::Honest);
        assert_eq!(by("/me/x").outcome(), "200 ok");
        assert_eq!(by("/login/x").outcome(), "200 ok");
        assert_eq!(server.asked(), 1);
    }
}

#[test]
fn without_a_rollout_there_is_no_cookie() {
    let only_clerk = Bed::new().policy(RULES).start();
    assert_eq!(init(&only_clerk), ("clerk".to_owned(), None));
    let both = Bed::new().policy(RULES).section(LEGACY_JWT).section("identity: { map: { file: map.jsonl } }");
    std::fs::write(both.folder().join("legacy.secret"), SECRET).unwrap();
    std::fs::write(both.folder().join("map.jsonl"), map()).unwrap();
    let both = both.start();
    assert_eq!(init(&both), ("legacy".to_owned(), None));
    assert_eq!(arm(&both.get("/login/x").bearer(&token("user_native").sign()).send()), ("clerk".to_owned(), None));
}

/// A flood of bad tokens costs its address nothing on login routes.
#[test]
fn who_sent_too_many_bad_tokens_can_still_sign_in() {
    let bed = bed().start();
    let bad = tampered(&token("user_1").sign(), 2);
    let mut wire = bed.connect();
    until("the end of the budget", || {
        let answer = (0..50).map(|_| wire.exchange(&bed.get("/me/1").bearer(&bad))).last()?;
        (answer.outcome() == "503 overloaded").then_some(())
    });
    let mut unchecked = 0;
    for _ in 0..100 {
        let answer = wire.exchange(&bed.get("/login/x").bearer(&bad));
        assert_eq!(arm(&answer).0, "legacy", "treated as nobody");
        unchecked += u32::from(wire.exchange(&bed.get("/me/1").bearer(&bad)).status == 503);
    }
    assert!(unchecked > 0, "the flood was over before it was tried");
}

/// Found by attack: over its budget an address had its sealed tokens passed unchecked.
#[test]
fn a_flood_lets_no_sealed_token_through() {
    let bed = bed().start();
    let bad = legacy("1").sign_with(b"another secret of enough bytes, as they say");
    let mut wire = bed.connect();
    let is_spent = |wire: &mut Wire, at: &str| {
        let fresh = legacy("1").claim("jti", json!(at)).sign_with(b"another secret of enough bytes, as they say");
        wire.exchange(&bed.get("/me/1").bearer(&fresh)).outcome() == "503 overloaded"
    };
    until("the end of the budget", || {
        let answer = (0..50).map(|_| wire.exchange(&bed.get("/me/1").bearer(&bad))).last()?;
        (answer.outcome() == "503 overloaded").then_some(())
    });
    let mut tried = 0;
    until("sealed tokens over the budget", || {
        // Bad ones go on being counted, and refused by nobody.
        let answer = (0..20).map(|_| wire.exchange(&bed.get("/login/x").bearer(&bad))).last()?;
        assert_eq!(seen(&answer, "authorization"), [format!("Bearer {bad}")]);
        let jti = tried.to_string();
        for user in ["sealed", "gone"] {
            let fresh = legacy(user).claim("jti", json!(jti)).sign();
            assert!(seen(&wire.exchange(&bed.get("/login/x").bearer(&fresh)), "authorization").is_empty(), "{user}");
            let fresh = legacy(user).claim("jti", json!(format!("c{jti}"))).sign();
            let answer = wire.exchange(&bed.get("/login/x").cookie(&format!("a=1; session={fresh}")));
            assert_eq!(seen(&answer, "cookie"), ["a=1"], "{user}");
        }
        tried += u32::from(is_spent(&mut wire, &jti));
        (tried > 3).then_some(())
    });
}

#[test]
fn metrics_and_the_access_line_say_the_arm_and_the_trail_nothing() {
    let bed = bed().section("telemetry: { access_log: stdout, log: info }").section("audit: {}").start_on_sockets();
    set_percent(&bed, "100");
    assert_eq!(arm(&bed.get("/login/x").bearer(&legacy("old").sign()).send()).0, "legacy");
    assert_eq!(init(&bed).0, "clerk");
    let lines = bed.access_lines(2);
    assert_eq!((&lines[0]["arm"], &lines[1]["arm"]), (&json!("legacy"), &json!("clerk")));
    assert!(lines.iter().all(|line| line["subject"].is_null()), "{lines:?}");
    let text = bed.ask_admin("/metrics").text();
    let counted = |arm: &str| {
        text.lines().any(|line| {
            line.starts_with("crossgate_auth_decisions_total{")
                && ["access=\"login\"", &format!("arm=\"{arm}\""), "decision=\"allow\""]
                    .iter()
                    .all(|l| line.contains(l))
        })
    };
    assert!(counted("legacy") && counted("clerk"), "{text}");
    let trail = std::fs::read_to_string(bed.folder().join("audit/audit.jsonl")).unwrap_or_default();
    assert!(!trail.contains("\"authentication\"") && !trail.contains("/login/"), "{trail}");
}

#[test]
fn explain_tells_why_and_leaves_nothing_to_chance() {
    let bed = bed().start_on_sockets();
    set_percent(&bed, "50");
    let cookie = until("a login with Clerk", || init(&bed).1.filter(|cookie| cookie.contains(".clerk.")));
    let explain = |headers: &[&str]| {
        let mut command = crossgate();
        command.args(["explain", "POST", "/login/init", "--format", "json", "-c"]);
        command.arg(bed.folder().join("crossgate.yaml"));
        for header in headers {
            command.args(["-H", header]);
        }
        let output = command.output().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&told["decision"], &told["access"]), (&json!("allow"), &json!("login")), "{told}");
        assert!(told["identity"].is_null(), "{told}");
        let steps = told["steps"].as_array().unwrap().clone();
        let step = steps.iter().find(|step| step["step"] == "arm").unwrap();
        assert_eq!(step["outcome"], told["arm"], "{told}");
        (told["arm"].as_str().unwrap().to_owned(), step["detail"].as_str().unwrap().to_owned())
    };
    for _ in 0..3 {
        let (arm, why) = explain(&[]);
        assert_eq!(arm, "legacy");
        assert!(why.starts_with("draw: 50 % "), "{why}");
    }
    let (arm, why) = explain(&[&format!("cookie: {cookie}")]);
    assert_eq!(arm, "clerk");
    assert!(why.starts_with("cookie: "), "{why}");
    let (arm, why) = explain(&[&format!("authorization: Bearer {}", legacy("old").sign())]);
    assert_eq!(arm, "legacy");
    assert!(why.starts_with("person: "), "{why}");
}
