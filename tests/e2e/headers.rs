//! The header matrix: whatever a client writes under a reserved name, the API sees the facts and nothing else.

use serde_json::json;

use super::bed::{Bed, Running};
use super::issuer::{tampered, token};
use super::origin::{Answer, Recorded};
use super::wire::Call;

/// Names that only crossgate may write. `x-user-id` and `remote-org` are two facts' other names, see [`bed`].
const RESERVED: [&str; 29] = [
    "x-crossgate-subject",
    "x-crossgate-clerk-user",
    "x-crossgate-legacy-user",
    "x-crossgate-org",
    "x-crossgate-org-slug",
    "x-crossgate-legacy-org",
    "x-crossgate-role",
    "x-crossgate-permissions",
    "x-crossgate-workspaces",
    "x-crossgate-session",
    "x-crossgate-method",
    "x-crossgate-token",
    "x-crossgate-arm",
    "x-crossgate-route",
    "x-crossgate-actor",
    "x-crossgate-request-id",
    "x-crossgate-assertion",
    "x-crossgate-of-tomorrow",
    "x-user-id",
    "remote-org",
    "x-request-id",
    "traceparent",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-user",
    "x-clerk-auth-status",
];

/// Ways to write a name that some framework reads as the same one.
fn spellings(name: &str) -> Vec<(&'static str, Vec<(String, &'static str)>)> {
    let one = |name: String| vec![(name, "evil")];
    let dotted = |separator: &str| name.replace('-', separator);
    let mixed: String = name
        .chars()
        .enumerate()
        .map(|(at, c)| match at % 3 {
            0 => c.to_ascii_uppercase(),
            1 if c == '-' => '_',
            _ => c,
        })
        .collect();
    vec![
        ("as it is", one(name.to_owned())),
        ("underscores", one(dotted("_"))),
        ("dots", one(dotted("."))),
        ("upper case", one(name.to_ascii_uppercase())),
        ("upper case and underscores", one(dotted("_").to_ascii_uppercase())),
        ("mixed", one(mixed)),
        ("twice", vec![(name.to_owned(), "evil"), (name.to_owned(), "evil")]),
        ("twice, two spellings", vec![(name.to_owned(), "evil"), (dotted("_"), "evil")]),
        ("empty", vec![(name.to_owned(), "")]),
    ]
}

fn bed() -> Running {
    Bed::new()
        .section("identity: { headers: { subject: x-user-id, org: remote-org }, workspaces: { claim: workspaces } }")
        .start()
}

/// What the API must have been told under each name; `None` is no line at all.
type Facts = Vec<(&'static str, Option<String>)>;

fn anonymous(route: &str) -> Facts {
    let mut facts: Facts = RESERVED.iter().map(|name| (*name, None)).collect();
    tell(&mut facts, "x-crossgate-method", "none");
    tell(&mut facts, "x-crossgate-arm", "clerk");
    tell(&mut facts, "x-crossgate-route", route);
    facts
}

fn ada(route: &str) -> Facts {
    let mut facts = anonymous(route);
    for (name, value) in [
        ("x-user-id", "user_ada"),
        ("x-crossgate-clerk-user", "user_ada"),
        ("remote-org", "org_acme"),
        ("x-crossgate-org-slug", "acme"),
        ("x-crossgate-role", "org:member"),
        ("x-crossgate-permissions", "org:invoices:read,org:invoices:write"),
        ("x-crossgate-workspaces", "w1,w%2C2"),
        ("x-crossgate-session", "sess_1"),
        ("x-crossgate-method", "clerk"),
        ("x-crossgate-token", "session"),
        ("x-crossgate-actor", "user_support"),
    ] {
        tell(&mut facts, name, value);
    }
    facts
}

fn tell(facts: &mut Facts, name: &'static str, value: &str) {
    facts.iter_mut().find(|(known, _)| *known == name).unwrap().1 = Some(value.to_owned());
}

fn adas_token() -> String {
    let org = json!({ "id": "org_acme", "slg": "acme", "rol": "member", "per": "read,write", "fpm": "3" });
    token("user_ada")
        .claim("o", org)
        .claim("fea", json!("o:invoices"))
        .claim("workspaces", json!(["w1", { "id": "w,2", "role": "editor" }]))
        .claim("act", json!({ "sub": "user_support" }))
        .sign()
}

fn assert_told(name: &str, recorded: &Recorded, facts: &Facts) {
    let text = recorded.text();
    assert!(!text.contains("evil"), "{name}: what the client wrote came through:\n{text}");
    let expected = |fact: &str| facts.iter().find(|(known, _)| *known == fact).and_then(|(_, value)| value.clone());
    for fact in RESERVED {
        let lines = recorded.values(fact);
        match fact {
            // Made anew for each request.
            "x-request-id"
            | "traceparent"
            | "x-crossgate-request-id"
            | "forwarded"
            | "x-forwarded-for"
            | "x-forwarded-proto"
            | "x-forwarded-host" => {
                assert_eq!(lines.len(), 1, "{name}: {fact}: {lines:?}");
                assert!(!lines[0].is_empty(), "{name}: {fact}");
            }
            _ => assert_eq!(lines, Vec::from_iter(expected(fact)), "{name}: {fact}\n{text}"),
        }
    }
    assert_eq!(recorded.values("x-request-id"), recorded.values("x-crossgate-request-id"), "{name}");
}

#[test]
fn the_matrix() {
    let bed = bed();
    let good = adas_token();
    let bad = tampered(&good, 2);
    let kinds: [(&str, Call, Option<Facts>); 6] = [
        ("public, anonymous", bed.get("/public/x"), Some(anonymous("public"))),
        ("public, ada", bed.get("/public/x").bearer(&good), Some(ada("public"))),
        ("public, bad token", bed.get("/public/x").bearer(&bad), Some(anonymous("public"))),
        ("protected, ada", bed.get("/me").bearer(&good), Some(ada("me"))),
        ("protected, nobody", bed.get("/me"), None),
        ("protected, bad token", bed.get("/me").bearer(&bad), None),
    ];
    let mut wire = bed.connect();
    let mut passed = 0;
    for (kind, call, facts) in &kinds {
        for reserved in RESERVED {
            for (spelling, lines) in spellings(reserved) {
                let name = format!("{kind}, {reserved}, {spelling}");
                let call = lines.iter().fold(call.clone(), |call, (line, value)| call.header(line, value));
                let answer = wire.exchange(&call);
                match facts {
                    Some(facts) => {
                        passed += 1;
                        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
                        assert_eq!(bed.origin().count(), passed, "{name}");
                        assert_told(&name, &bed.origin().last(), facts);
                    }
                    None => assert_eq!((answer.status, bed.origin().count()), (401, passed), "{name}"),
                }
            }
        }
    }
}

#[test]
fn a_nomination_of_what_crossgate_writes_or_reads_is_refused() {
    let bed = bed();
    let good = adas_token();
    let others = ["authorization", "cookie", "host", "origin", "content-length", "transfer-encoding", "content-type"];
    for name in RESERVED.iter().chain(&others) {
        for spelling in
            [(*name).to_owned(), name.to_ascii_uppercase(), format!("close, {name}"), format!("keep-alive,{name}")]
        {
            for target in ["/public/x", "/me"] {
                let answer = bed.get(target).bearer(&good).header("connection", &spelling).send();
                assert_eq!(answer.outcome(), "400 bad_header", "{spelling} {target}");
            }
        }
    }
    let answer = bed.get("/me").bearer(&good).header("connection", "x_crossgate_subject").send();
    assert_eq!(answer.outcome(), "400 bad_header");
    assert_eq!(bed.origin().count(), 0);

    let answer = bed.get("/me").bearer(&good).header("connection", "x-hop").header("x-hop", "1").send();
    assert_eq!(answer.outcome(), "200 ok", "others are removed, as the next hop would");
    assert!(bed.origin().last().values("x-hop").is_empty());
}

#[test]
fn what_is_not_reserved_comes_through() {
    let bed = bed();
    let kept = [
        ("x-user", "a"),
        ("x-crossgate", "b"),
        ("x_tenant", "c"),
        ("x-org", "d"),
        ("accept", "e/f"),
        ("te", "trailers"),
    ];
    let call = kept.iter().fold(bed.get("/public/x"), |call, (name, value)| call.header(name, value));
    assert_eq!(call.send().status, 200);
    let recorded = bed.origin().last();
    for (name, value) in kept.iter().take(5) {
        assert!(recorded.text().to_ascii_lowercase().contains(&format!("{name}: {value}\r\n")), "{name}");
    }
}

#[test]
fn forwarding_headers_of_strangers_are_rebuilt() {
    let bed = Bed::new().start();
    let answer = bed
        .get("/public/x")
        .host("api.example.com:8080")
        .header("x-forwarded-for", "1.2.3.4")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "evil.example")
        .header("forwarded", "for=1.2.3.4")
        .header("x-request-id", "mine")
        .header("x-real-ip", "1.2.3.4")
        .send();
    assert_eq!(answer.status, 200);
    let got = bed.origin().last();
    assert_eq!(got.values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(got.values("x-forwarded-proto"), ["http"]);
    assert_eq!(got.values("x-forwarded-host"), ["api.example.com:8080"]);
    assert_eq!(got.values("forwarded"), ["for=127.0.0.1;host=\"api.example.com:8080\";proto=http"]);
    assert!(got.values("x-real-ip").is_empty());
    assert_ne!(got.values("x-request-id"), ["mine"]);
    assert_eq!(got.values("host"), ["api.example.com:8080"], "the API sees the host that was asked for");
    assert_eq!(bed.metric("crossgate_forwarded_dropped_total"), 1.0);
}

#[test]
fn a_trusted_proxy_is_believed() {
    let bed = Bed::new().section("trusted_proxies: [127.0.0.0/8]").start();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer = bed
        .get("/public/x")
        .header("x-forwarded-for", "198.51.100.7")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "app.example.com")
        .header("x-request-id", "req-1")
        .header("traceparent", trace)
        .send();
    assert_eq!(answer.status, 200);
    let got = bed.origin().last();
    assert_eq!(got.values("x-forwarded-for"), ["198.51.100.7, 127.0.0.1"]);
    assert_eq!(got.values("x-forwarded-proto"), ["https"]);
    assert_eq!(got.values("x-forwarded-host"), ["app.example.com"]);
    assert_eq!(got.values("x-request-id"), ["req-1"]);
    assert_eq!(got.values("x-crossgate-request-id"), ["req-1"]);
    assert_eq!(got.values("traceparent"), [trace]);
    let line = &bed.access_lines(1)[0];
    assert_eq!((line["client"].as_str(), line["peer"].as_str()), (Some("198.51.100.7"), Some("127.0.0.1")));
    assert_eq!(line["request_id"], "req-1");
    assert_eq!(bed.metric("crossgate_forwarded_dropped_total"), 0.0);
}

#[test]
fn credentials_stay_here() {
    let bed = Bed::new().start();
    let good = adas_token();
    let uat = super::issuer::now() - 100;
    let jar = format!("theme=dark; __session={good}; __client_uat={uat}; __refresh_x=r; __clerk_db_jwt=d; lang=\"de\"");
    assert_eq!(bed.get("/me").bearer(&good).send().status, 200);
    assert!(bed.origin().last().values("authorization").is_empty());

    assert_eq!(bed.get("/me").cookie(&jar).send().status, 200);
    assert_eq!(bed.origin().last().values("cookie"), ["theme=dark; lang=\"de\""], "the API keeps its own cookies");

    assert_eq!(bed.get("/public/x").bearer(&tampered(&good, 2)).cookie(&jar).send().status, 200);
    let got = bed.origin().last();
    assert!(got.values("authorization").is_empty(), "a bad token is no token for the API either");
    assert_eq!(got.values("cookie"), ["theme=dark; lang=\"de\""]);

    let basic = "Basic dXNlcjpwYXNz";
    assert_eq!(bed.get("/me").cookie(&jar).header("authorization", basic).send().status, 200);
    assert_eq!(bed.origin().last().values("authorization"), [basic], "another scheme is the API's own affair");
    assert_eq!(bed.get("/public/x").header("authorization", basic).cookie("a=1;b=2").send().status, 200);
    let got = bed.origin().last();
    assert_eq!(got.values("authorization"), [basic]);
    assert_eq!(got.values("cookie"), ["a=1;b=2"], "byte for byte, where nothing is taken out");
    assert!(!bed.origin().all().iter().any(|request| request.text().contains(&good)));
}

#[test]
fn credentials_are_forwarded_where_the_upstream_asks_for_them() {
    let bed = Bed::new().upstream_option("credentials: { forward: [clerk] }").start();
    let good = adas_token();
    assert_eq!(bed.get("/me").bearer(&good).send().status, 200);
    assert_eq!(bed.origin().last().values("authorization"), [format!("Bearer {good}")]);
    assert_eq!(bed.get("/public/x").bearer(&tampered(&good, 2)).send().status, 200);
    assert!(bed.origin().last().values("authorization").is_empty(), "only what was verified is passed on");
}

#[test]
fn an_echoed_identity_leaves_in_no_answer() {
    let bed = bed();
    bed.origin().answers(|request| {
        let mut answer = Answer::text(200, "echo").with("x-api", "kept").with("X_Crossgate_Org", "echoed");
        for (name, value) in super::wire::headers(&request.text()) {
            if name.starts_with("x-crossgate") || name == "x-user-id" || name == "remote-org" {
                answer = answer.with(&name, &value);
            }
        }
        answer
    });
    let answer = bed.get("/me").bearer(&adas_token()).send();
    assert_eq!(answer.text(), "echo");
    assert_eq!(answer.header("x-api"), Some("kept"));
    let left: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, value)| {
            // Hex digits may spell a name, too.
            name != "x-request-id" && (value.contains("ada") || value.contains("acme"))
        })
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let named: Vec<_> = answer.headers.iter().filter(|(name, _)| name.starts_with("x-crossgate-")).collect();
    assert!(named.is_empty(), "{named:?}");
}

#[test]
fn dropped_headers_are_absent_and_stay_reserved() {
    let bed = Bed::new().section("identity: { headers: { session: null } }").start();
    assert_eq!(bed.get("/me").bearer(&adas_token()).header("x-crossgate-session", "evil").send().status, 200);
    assert!(bed.origin().last().values("x-crossgate-session").is_empty());
    assert_eq!(bed.origin().last().values("x-crossgate-subject"), ["user_ada"]);
}

#[test]
fn what_the_api_says_to_this_hop_only_ends_here() {
    let bed = Bed::new().start();
    bed.origin().answers(|_| {
        Answer::text(200, "ok")
            .with("keep-alive", "timeout=5")
            .with("proxy-connection", "keep-alive")
            .with("connection", "keep-alive, x-hop")
            .with("x-hop", "1")
            .with("x-end", "1")
    });
    let answer = bed.get("/public/x").send();
    for gone in ["keep-alive", "proxy-connection", "x-hop"] {
        assert_eq!(answer.header(gone), None, "{gone}");
    }
    assert_eq!((answer.status, answer.header("x-end"), &*answer.text()), (200, Some("1"), "ok"));
}
