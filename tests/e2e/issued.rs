//! Tokens of crossgate's own: an API that checks its own tokens serves people who came with Clerk, one that checks the
//! assertion finds its keys, and nobody who was not named ever gets either.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde_json::{Value, json};

use super::bed::{Bed, Running, crossgate, signal, until};
use super::issuer::{now, token};
use super::origin::Answer;
use super::wire::Address;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const PREFIX: &str = "/.crossgate/.well-known";

const MAP: &str = r#"{"kind":"org","legacy":"acme","clerk":"org_1"}
{"kind":"user","legacy":"42","clerk":"user_ada","state":"linked"}
{"kind":"membership","user":"42","org":"acme","role":"admin","workspaces":["w1","w2"]}
"#;

pub(super) const POLICY: &str = r#"
routes:
  - { id: me, match: { path: "/me/{*rest}" } }
  - { id: public, match: { path: "/public/{*rest}" }, access: public }
  - { id: reported, match: { path: "/reported/{*rest}" }, mode: report }
"#;

const MINT: &str = "legacy:\n  verify: { jwt: { secret_file: legacy.secret } }\n  mint: { algorithm: HS256, key_file: legacy.secret, ttl: 60s, claims: { sub: \"{legacy_user}\", org: \"{legacy_org}\", role: \"{role}\", ws: \"{workspaces}\" } }";
const IDENTITY: &str =
    "identity: { canonical: legacy, map: { file: map.jsonl }, roles: { \"org:admin\": [admin, owner] } }";
pub(super) const ASSERTION: &str = "identity:\n  canonical: legacy\n  map: { file: map.jsonl }\n  assertion: { enabled: true, issuer: https://gate.internal, audience: app }";

pub(super) fn files(bed: &Bed) {
    std::fs::write(bed.folder().join("legacy.secret"), SECRET).unwrap();
    std::fs::write(bed.folder().join("map.jsonl"), MAP).unwrap();
}

fn minting(credentials: &str) -> Running {
    let bed = Bed::new().policy(POLICY).section(MINT).section(IDENTITY).upstream_option(credentials);
    files(&bed);
    bed.start()
}

fn asserting(credentials: &str) -> Running {
    let legacy = "legacy: { verify: { jwt: { secret_file: legacy.secret } } }";
    let bed = Bed::new().policy(POLICY).section(legacy).section(ASSERTION).upstream_option(credentials);
    files(&bed);
    bed.start()
}

/// A legacy token, as the login of the API makes it.
fn legacy(user: &str) -> String {
    let claims = json!({ "sub": user, "org": "acme", "roles": ["admin"], "exp": now() + 600 });
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

fn ada() -> String {
    token("user_ada").org("org_1", "acme", "admin").sign()
}

/// What the API makes of a token of its own: a public library with the secret, and nothing else.
fn checked(token: &str) -> Option<Value> {
    let mut rules = Validation::new(Algorithm::HS256);
    rules.leeway = 0;
    rules.validate_aud = false;
    decode::<Value>(token, &DecodingKey::from_secret(SECRET), &rules).ok().map(|data| data.claims)
}

fn bearer(line: &str) -> &str {
    line.strip_prefix("Bearer ").unwrap_or_default()
}

fn seen(bed: &Running, name: &str) -> Vec<String> {
    bed.origin().last().values(name)
}

/// An API that asks for `nbf` and `jti`, and reads `iat` in milliseconds.
#[test]
fn a_minted_token_says_when_and_which_as_the_api_asks() {
    let mint = MINT.replace(
        "ws: ",
        "iat: \"{issued_at:ms}\", nbf: \"{issued_at:int}\", jti: \"{jti}\", until: \"{expires_at}\", ws: ",
    );
    let bed = Bed::new().policy(POLICY).section(&mint).section(IDENTITY);
    let bed = bed.upstream_option("credentials: { authorization: legacy_token }");
    files(&bed);
    let bed = bed.start();
    let minted = |org: &str| {
        let session = token("user_ada").org("org_1", "acme", org).sign();
        assert_eq!(bed.get("/me/x").bearer(&session).send().outcome(), "200 ok");
        checked(bearer(&seen(&bed, "authorization")[0])).unwrap()
    };
    let first = minted("admin");
    let (nbf, jti) = (first["nbf"].as_i64().unwrap(), first["jti"].as_str().unwrap());
    assert_eq!((first["iat"].as_i64().unwrap(), first["exp"].as_i64().unwrap()), (nbf * 1000, nbf + 60));
    assert!((now() - nbf) < 60, "{first}");
    let until: jiff::Timestamp = first["until"].as_str().unwrap().parse().unwrap();
    assert_eq!(until.as_second(), nbf + 60);
    assert!(jti.len() == 32 && jti.bytes().all(|byte| byte.is_ascii_hexdigit()), "{jti}");
    assert_eq!(minted("admin"), first, "one id a signed token, not a request");
    for (series, count) in [
        ("crossgate_tokens_total{kind=\"minted\",result=\"signed\"}", 1.0),
        ("crossgate_tokens_total{kind=\"minted\",result=\"kept\"}", 1.0),
        ("crossgate_tokens_total{kind=\"assertion\",result=\"signed\"}", 0.0),
    ] {
        assert!(bed.ask_admin("/metrics").text().contains(series), "{series} from the start");
        assert_eq!(bed.metric(series), count, "{series}");
    }
    let bed = bed.restart();
    let session = token("user_ada").org("org_1", "acme", "admin").sign();
    assert_eq!(bed.get("/me/x").bearer(&session).send().outcome(), "200 ok");
    let second = checked(bearer(&seen(&bed, "authorization")[0])).unwrap();
    assert_ne!(second["jti"], jti, "another token, another id");
}

/// What the legacy login put into its tokens beside ids, Clerk's session token can say; also where a runner acts for somebody.
#[test]
fn a_minted_token_says_what_the_session_token_says() {
    let mint = MINT.replace("ws: ", "email: \"{claims.email}\", plan: \"{claims.meta.plan?}\", ws: ");
    let runner = "runner: { enabled: true, scopes: [work] }";
    let policy = format!(
        "{POLICY}  - {{ id: work, match: {{ path: \"/runs/{{*rest}}\" }}, require: {{ token: [runner], scope: [work] }} }}\n"
    );
    let bed = Bed::new().policy(&policy).section(&mint).section(IDENTITY).section(runner);
    let bed = bed.upstream_option("credentials: { authorization: legacy_token }");
    files(&bed);
    let bed = bed.start();
    let of = |email: &str| token("user_ada").org("org_1", "acme", "admin").claim("email", json!(email));
    let minted = || checked(bearer(&seen(&bed, "authorization")[0])).unwrap();
    for email in ["ada@example.com", "ada@example.org"] {
        let session = of(email).claim("meta", json!({ "plan": 3 })).sign();
        assert_eq!(bed.get("/me/x").bearer(&session).send().outcome(), "200 ok");
        assert_eq!((&minted()["email"], &minted()["plan"]), (&json!(email), &json!(3)));
    }
    assert_eq!(bed.get("/me/x").bearer(&of("a@b").sign()).send().outcome(), "200 ok");
    assert!(minted().get("plan").is_none());
    assert_eq!(bed.get("/me/x").bearer(&ada()).send().outcome(), "403 unmapped_principal", "no e-mail");

    let form = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token_type=urn:ietf:params:oauth:token-type:jwt&subject_token={}",
        of("ada@example.com").sign()
    );
    let exchange = bed.post("/.crossgate/token").header("content-type", "application/x-www-form-urlencoded");
    let answer = exchange.body(form).send();
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(bed.get("/runs/x").bearer(&token).send().outcome(), "200 ok");
    assert_eq!(minted()["email"], "ada@example.com");
}

#[test]
fn an_api_that_checks_its_own_tokens_serves_people_of_both_logins() {
    let bed = minting("credentials: { authorization: legacy_token }");
    bed.origin().answers(|asked| {
        let lines = asked.values("authorization");
        match lines.first().and_then(|line| checked(bearer(line))) {
            Some(claims) => Answer::text(200, claims["sub"].as_str().unwrap()),
            None => Answer::text(401, "who?"),
        }
    });
    let answer = bed.get("/me/x").bearer(&ada()).send();
    assert_eq!((answer.status, answer.text().as_str()), (200, "42"), "came with Clerk");
    let line = seen(&bed, "authorization").remove(0);
    let claims = checked(bearer(&line)).unwrap();
    assert_eq!(
        (&claims["org"], &claims["role"], &claims["ws"]),
        (&json!("acme"), &json!("admin"), &json!(["w1", "w2"]))
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
    assert_eq!(claims.as_object().unwrap().len(), 6, "nothing else: {claims}");
    // Another session of hers: the same token while it lives.
    let again = token("user_ada").org("org_1", "acme", "admin").claim("sid", json!("sess_2")).sign();
    assert_eq!(bed.get("/me/x").bearer(&again).send().status, 200);
    assert_eq!(seen(&bed, "authorization"), [line]);
    // Their own goes as it came.
    let own = legacy("42");
    let answer = bed.get("/me/x").bearer(&own).send();
    assert_eq!((answer.status, answer.text().as_str()), (200, "42"), "came with the legacy login");
    assert_eq!(seen(&bed, "authorization"), [format!("Bearer {own}")]);
}

#[test]
fn nothing_less_is_minted_for_who_lacks_what_a_token_says() {
    let bed = minting("credentials: { authorization: legacy_token }");
    let strangers = [
        ("no legacy id", token("user_eve").org("org_1", "acme", "admin").sign()),
        ("no org", token("user_ada").sign()),
        ("an org of strangers", token("user_ada").org("org_9", "acme", "admin").sign()),
        ("a role that means nothing", token("user_ada").org("org_1", "acme", "member").sign()),
    ];
    for (name, token) in strangers {
        let before = bed.origin().count();
        assert_eq!(bed.get("/me/x").bearer(&token).send().outcome(), "403 unmapped_principal", "{name}");
        assert_eq!(bed.origin().count(), before, "{name}");
        for target in ["/public/x", "/reported/x"] {
            assert_eq!(bed.get(target).bearer(&token).send().outcome(), "200 ok", "{name} {target}");
            assert!(seen(&bed, "authorization").is_empty(), "{name} {target}");
        }
    }
}

#[test]
fn nobody_gets_a_token_and_nobody_brings_one() {
    for (credentials, header) in [
        ("credentials: { authorization: legacy_token }", "authorization"),
        ("credentials: { legacy_token: { header: x-api-token } }", "x-api-token"),
        ("credentials: { legacy_token: { cookie: session } }", "cookie"),
    ] {
        let bed = minting(credentials);
        let forged = legacy("1");
        let call = |target: &str| bed.get(target).header("X_Api_Token", &forged).header("x-api-token", &forged);
        let with_cookie = |target: &str| call(target).cookie(&format!("a=1; session={forged}; b=2"));
        let own_names = |expected_cookie: &str| {
            assert_eq!(seen(&bed, "cookie"), [expected_cookie], "{header}");
            if header == "x-api-token" {
                assert!(seen(&bed, "x-api-token").is_empty(), "{header}");
            }
        };
        // What this API does not read for its token is the client's own matter.
        let cookie = if header == "cookie" { "a=1; b=2".to_owned() } else { format!("a=1; session={forged}; b=2") };
        assert_eq!(with_cookie("/public/x").send().outcome(), "200 ok");
        own_names(&cookie);
        assert_eq!(with_cookie("/reported/x").send().outcome(), "200 ok", "report mode, nobody");
        own_names(&cookie);
        assert_eq!(with_cookie("/public/x").bearer("nobodys").send().outcome(), "200 ok");
        assert!(seen(&bed, "authorization").is_empty(), "{header}: a bad credential is no credential");
        assert_eq!(with_cookie("/public/x").header("authorization", "Basic eDp5").send().outcome(), "200 ok");
        assert_eq!(seen(&bed, "authorization"), ["Basic eDp5"], "{header}: a foreign scheme passes");
        // Of a person, exactly one, and it is ours.
        assert_eq!(with_cookie("/me/x").bearer(&ada()).send().outcome(), "200 ok");
        let lines = seen(&bed, header);
        assert_eq!(lines.len(), 1, "{header}: {lines:?}");
        let token = match header {
            "authorization" => bearer(&lines[0]).to_owned(),
            "cookie" => lines[0].strip_prefix("a=1; b=2; session=").unwrap_or_default().to_owned(),
            _ => lines[0].clone(),
        };
        assert_eq!(checked(&token).map(|claims| claims["sub"].clone()), Some(json!("42")), "{header}: {lines:?}");
        if header != "authorization" {
            assert!(seen(&bed, "authorization").is_empty(), "{header}: Clerk's own is not forwarded");
        }
    }
}

#[test]
fn the_legacy_sides_own_place_takes_minted_tokens_too() {
    for (credential, place) in [
        ("credential: { cookie: session }", "credentials: { legacy_token: { cookie: session } }"),
        ("credential: { header: x-api-token }", "credentials: { legacy_token: { header: x-api-token } }"),
    ] {
        let legacy_side = MINT.replacen("legacy:", &format!("legacy:\n  {credential}"), 1);
        let bed = Bed::new().policy(POLICY).section(&legacy_side).section(IDENTITY).upstream_option(place);
        files(&bed);
        let bed = bed.start();
        let own = legacy("42");
        let in_place = |token: &str| {
            let call = bed.get("/me/x");
            if place.contains("cookie") {
                call.cookie(&format!("session={token}; a=1"))
            } else {
                call.header("x-api-token", token)
            }
        };
        let sent = || if place.contains("cookie") { seen(&bed, "cookie") } else { seen(&bed, "x-api-token") };
        assert_eq!(in_place(&own).send().outcome(), "200 ok", "{place}");
        let expected = if place.contains("cookie") { format!("session={own}; a=1") } else { own.clone() };
        assert_eq!(sent(), [expected], "{place}: theirs goes as it came");
        // A person who came with Clerk. Of a cookie with something else in it; in a header that would be a bad credential.
        let stale = json!({ "sub": "42", "exp": now() - 600 });
        let stale = encode(&Header::new(Algorithm::HS256), &stale, &EncodingKey::from_secret(SECRET)).unwrap();
        let others = if place.contains("cookie") { vec![stale, "theme".to_owned()] } else { vec![String::new()] };
        for other in others {
            let call = if other.is_empty() { bed.get("/me/x") } else { in_place(&other) };
            assert_eq!(call.bearer(&ada()).send().outcome(), "200 ok", "{place}");
            let lines = sent();
            let token = lines[0].strip_prefix("a=1; session=").unwrap_or(&lines[0]);
            assert!(lines.len() == 1 && checked(token).is_some(), "{place}: {lines:?}");
        }
    }
}

#[test]
fn many_at_once_get_the_same_bytes() {
    let bed = asserting("credentials: { forward: [legacy] }");
    let callers: Vec<_> = (0..16)
        .map(|number| {
            let session =
                token("user_ada").org("org_1", "acme", "admin").claim("sid", json!(format!("sess_{number}"))).sign();
            let call = bed.get("/me/x").bearer(&session);
            std::thread::spawn(move || assert_eq!(call.send().outcome(), "200 ok"))
        })
        .collect();
    for caller in callers {
        caller.join().unwrap();
    }
    let told: BTreeSet<_> = bed.origin().all().iter().flat_map(|asked| asked.values("x-crossgate-assertion")).collect();
    assert_eq!((told.len(), bed.origin().count()), (1, 16));
}

#[test]
fn the_arm_is_no_part_of_an_assertion() {
    let legacy_side = "legacy: { verify: { jwt: { secret_file: legacy.secret } } }";
    let rollout = |percent: u8| format!("rollout: {{ percent: {percent}, limits: {{ max_step: 100 }} }}");
    let told = |percent: u8| {
        let bed = Bed::new().policy(POLICY).section(legacy_side).section(ASSERTION).section(&rollout(percent));
        files(&bed);
        let bed = bed.start();
        let verifier = Verifier::fetch(&bed);
        let mut claims = verifier.verify(&assertion(&bed, &ada())).unwrap();
        let arm = seen(&bed, "x-crossgate-arm").remove(0);
        for time in ["iat", "exp"] {
            claims.as_object_mut().unwrap().remove(time);
        }
        (arm, claims)
    };
    let ((first, before), (second, after)) = (told(0), told(100));
    assert_eq!((first.as_str(), second.as_str()), ("legacy", "clerk"));
    assert_eq!(before, after);
}

#[test]
fn a_foreign_authorization_line_makes_room_for_the_persons_token() {
    let bed = minting("credentials: { authorization: legacy_token }");
    let cookie = format!("__session={}; __client_uat={}", ada(), now() - 100);
    let answer = bed.get("/me/x").cookie(&cookie).header("authorization", "Basic eDp5").send();
    assert_eq!(answer.outcome(), "200 ok");
    let lines = seen(&bed, "authorization");
    assert_eq!(lines.iter().map(|line| checked(bearer(line)).is_some()).collect::<Vec<_>>(), [true]);
}

#[test]
fn keys_of_either_kind_sign_minted_tokens() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256] {
        let (pair, name) = match algorithm {
            Algorithm::RS256 => (rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap(), "RS256"),
            _ => (rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap(), "ES256"),
        };
        let mint = format!(
            "legacy:\n  verify: {{ passthrough: {{}} }}\n  mint: {{ algorithm: {name}, key_file: mint.pem, kid: k1, issuer: https://old.example.com, audience: [a, b], claims: {{ sub: \"{{clerk_user}}\", ctx: {{ staff: true }} }} }}"
        );
        let bed =
            Bed::new().policy(POLICY).section(&mint).upstream_option("credentials: { authorization: legacy_token }");
        std::fs::write(bed.folder().join("mint.pem"), pair.serialize_pem()).unwrap();
        let bed = bed.start();
        assert_eq!(bed.get("/me/x").bearer(&ada()).send().outcome(), "200 ok");
        let line = seen(&bed, "authorization").remove(0);
        let header = decode_header(bearer(&line)).unwrap();
        assert_eq!((header.alg, header.kid.as_deref(), header.typ.as_deref()), (algorithm, Some("k1"), Some("JWT")));
        let key = match algorithm {
            Algorithm::RS256 => DecodingKey::from_rsa_der(pair.public_key_raw()),
            _ => DecodingKey::from_ec_der(pair.public_key_raw()),
        };
        let mut rules = Validation::new(algorithm);
        rules.set_audience(&["b"]);
        rules.set_issuer(&["https://old.example.com"]);
        let claims = decode::<Value>(bearer(&line), &key, &rules).unwrap().claims;
        assert_eq!((&claims["sub"], &claims["ctx"]), (&json!("user_ada"), &json!({ "staff": true })));
        // Whom only the API can name is nobody's to speak for.
        assert_eq!(bed.get("/me/x").bearer("opaque").send().outcome(), "200 ok");
        assert_eq!(seen(&bed, "authorization"), ["Bearer opaque"]);
    }
}

/// An API that verifies assertions by the published keys.
pub(super) struct Verifier {
    keys: JwkSet,
    pub(super) fetched: Instant,
}

impl Verifier {
    pub(super) fn fetch(bed: &Running) -> Self {
        // Before the question: what is published may change while the answer is on its way.
        let fetched = Instant::now();
        let answer = bed.get(&format!("{PREFIX}/jwks.json")).send();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/jwk-set+json"));
        for private in ["\"d\"", "\"p\"", "\"q\"", "PRIVATE"] {
            assert!(!answer.text().contains(private));
        }
        Self { keys: serde_json::from_value(answer.json()).unwrap(), fetched }
    }

    pub(super) fn verify(&self, token: &str) -> Result<Value, String> {
        let header = decode_header(token).map_err(|why| why.to_string())?;
        let key = self.keys.find(header.kid.as_deref().unwrap_or_default()).ok_or("no such key")?;
        let mut rules = Validation::new(header.alg);
        rules.set_audience(&["app"]);
        rules.set_issuer(&["https://gate.internal"]);
        rules.leeway = 0;
        let key = DecodingKey::from_jwk(key).map_err(|why| why.to_string())?;
        decode::<Value>(token, &key, &rules).map(|data| data.claims).map_err(|why| why.to_string())
    }
}

fn assertion(bed: &Running, credential: &str) -> String {
    assert_eq!(bed.get("/me/x").bearer(credential).send().outcome(), "200 ok");
    let lines = seen(bed, "x-crossgate-assertion");
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].clone()
}

#[test]
fn an_assertion_is_verified_by_the_published_keys() {
    let bed = asserting("credentials: { forward: [legacy] }");
    let verifier = Verifier::fetch(&bed);
    let first = assertion(&bed, &ada());
    let claims = verifier.verify(&first).unwrap();
    let iat = claims["iat"].as_i64().unwrap();
    let expected = json!({
        "iss": "https://gate.internal", "aud": "app", "sub": "42", "org": "acme", "role": "org:admin", "method": "clerk",
        "iat": iat, "exp": iat + 60,
    });
    assert_eq!(claims, expected);
    let header = decode_header(&first).unwrap();
    assert_eq!((header.alg, header.typ.as_deref()), (Algorithm::ES256, Some("JWT")));
    // Byte for byte, whatever the session and the route.
    let other = token("user_ada").org("org_1", "acme", "admin").claim("sid", json!("sess_2")).sign();
    assert_eq!(assertion(&bed, &other), first);
    assert_eq!(bed.get("/public/x").bearer(&ada()).send().outcome(), "200 ok");
    assert_eq!(seen(&bed, "x-crossgate-assertion"), [&*first]);
    // Another role is another token.
    let member = assertion(&bed, &token("user_ada").org("org_1", "acme", "member").sign());
    assert_eq!(verifier.verify(&member).unwrap()["role"], "org:member");
    // The other login: the same person, named as such.
    let own = verifier.verify(&assertion(&bed, &legacy("42"))).unwrap();
    assert_eq!((&own["sub"], &own["org"], &own["method"]), (&json!("42"), &json!("acme"), &json!("legacy")));
    // A reload changes no byte.
    signal(bed.process.id(), "HUP");
    until("the reload", || (bed.process.stderr.text().matches("config loaded").count() >= 2).then_some(()));
    assert_eq!(assertion(&bed, &ada()), first);
    // Nobody gets one, and nobody brings one.
    for target in ["/public/x", "/reported/x"] {
        let forged = bed.get(target).header("x-crossgate-assertion", &first).header("X_Crossgate_Assertion", &first);
        assert_eq!(forged.send().outcome(), "200 ok");
        assert!(seen(&bed, "x-crossgate-assertion").is_empty(), "{target}");
    }
    let forged = bed.get("/me/x").header("x-crossgate-assertion", "forged").bearer(&ada()).send();
    assert_eq!((forged.outcome().as_str(), seen(&bed, "x-crossgate-assertion")), ("200 ok", vec![first.clone()]));
    // It is no login.
    assert_eq!(bed.get("/me/x").bearer(&first).send().status, 401);
    let text = bed.process.stderr.text() + &bed.process.stdout.text();
    assert!(!text.contains("PRIVATE") && !text.contains(&first), "{text}");
}

#[test]
fn an_assertion_travels_as_a_bearer_token_where_the_upstream_says_so() {
    let bed = asserting("credentials: { forward: [legacy], authorization: assertion }");
    let verifier = Verifier::fetch(&bed);
    for credential in [ada(), legacy("42")] {
        let token = assertion(&bed, &credential);
        assert_eq!(seen(&bed, "authorization"), [format!("Bearer {token}")]);
        assert_eq!(verifier.verify(&token).unwrap()["sub"], "42");
    }
    let token = assertion(&bed, &ada());
    assert_eq!(bed.get("/public/x").bearer(&token).send().outcome(), "200 ok");
    assert!(seen(&bed, "authorization").is_empty(), "one that a client brings goes nowhere");
}

#[test]
fn well_known_documents() {
    let bed = asserting("credentials: { forward: [legacy] }");
    let answer = bed.get(&format!("{PREFIX}/openid-configuration")).send();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=60"));
    let document = answer.json();
    assert_eq!(document["issuer"], "https://gate.internal");
    assert_eq!(document["jwks_uri"], format!("https://gate.internal{PREFIX}/jwks.json"));
    assert_eq!(document["id_token_signing_alg_values_supported"], json!(["ES256"]));
    let head = bed.call("HEAD", &format!("{PREFIX}/jwks.json")).send();
    assert_eq!((head.status, head.body.len()), (200, 0));
    for (method, target) in [
        ("POST", format!("{PREFIX}/jwks.json")),
        ("GET", format!("{PREFIX}/jwks.json/x")),
        ("GET", "/.crossgate/keys".to_owned()),
    ] {
        assert_eq!(bed.call(method, &target).send().outcome(), "403 no_route", "{method} {target}");
    }
    assert_eq!(bed.origin().count(), 0);
    let without = Bed::new().start();
    assert_eq!(without.get(&format!("{PREFIX}/jwks.json")).send().outcome(), "403 no_route");
}

pub(super) fn keys(folder: &Path, action: &str) -> Output {
    let config = folder.join("crossgate.yaml");
    crossgate().args(["--format", "json", "keys"]).args(action.split(' ')).arg("-c").arg(config).output().unwrap()
}

#[test]
fn a_key_that_leaked_goes_at_once() {
    // Nothing that takes its turn would change within a test.
    let timed = ASSERTION.replace("audience: app", "audience: app, ttl: 1h, overlap: 4s, rotate: none");
    let legacy = "legacy: { verify: { jwt: { secret_file: legacy.secret } } }";
    let bed = Bed::new().policy(POLICY).section(legacy).section(&timed);
    files(&bed);
    let bed = bed.start();
    let leaked = assertion(&bed, &ada());
    let before = Verifier::fetch(&bed);
    assert!(keys(bed.folder(), "rotate").status.success(), "one more that waits");
    let replaced = keys(bed.folder(), "rotate --now");
    assert!(replaced.status.success(), "{replaced:?}");
    let listed: Value = serde_json::from_slice(&replaced.stdout).unwrap();
    let [key] = listed["keys"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!(key["stage"], "signing");
    // The person is still signed in, and what was signed by the old key is not used again.
    let mut after = before;
    let token = until("the new key alone", || {
        after = Verifier::fetch(&bed);
        let token = assertion(&bed, &ada());
        let kid = decode_header(&token).unwrap().kid;
        (after.keys.keys.len() == 1 && kid.as_deref() == key["kid"].as_str()).then_some(token)
    });
    after.verify(&token).unwrap();
    assert!(after.verify(&leaked).is_err(), "by the set of today");
    until("the log", || bed.process.stderr.text().contains("a signing key was removed").then_some(()));
}

#[test]
fn a_rotation_fails_no_verifier_that_keeps_the_keys() {
    let timed = ASSERTION.replace("audience: app", "audience: app, ttl: 5s, overlap: 4s, rotate: none");
    let legacy = "legacy: { verify: { jwt: { secret_file: legacy.secret } } }";
    let bed = Bed::new().policy(POLICY).section(legacy).section(&timed);
    files(&bed);
    let bed = bed.start();
    let mut verifier = Verifier::fetch(&bed);
    let first = decode_header(assertion(&bed, &ada())).unwrap().kid.unwrap();
    let rotated = keys(bed.folder(), "rotate");
    assert!(rotated.status.success(), "{rotated:?}");
    let listed: Value = serde_json::from_slice(&rotated.stdout).unwrap();
    let stages: Vec<_> = listed["keys"].as_array().unwrap().iter().map(|key| key["stage"].clone()).collect();
    assert_eq!(stages, ["signing", "waiting"]);
    let refused = keys(bed.folder(), "rotate");
    assert_eq!(refused.status.code(), Some(1), "one at a time");
    let mut signers = BTreeSet::new();
    let mut number = 0;
    until("the new key", || {
        number += 1;
        // The set is kept for less than the overlap.
        if verifier.fetched.elapsed() > Duration::from_secs(2) {
            verifier = Verifier::fetch(&bed);
        }
        // A new person each time, so that each is signed now; and one whose assertion is kept.
        for user in [format!("user_{number}"), "user_ada".to_owned()] {
            let token = assertion(&bed, &token(&user).org("org_1", "acme", "admin").sign());
            if let Err(why) = verifier.verify(&token) {
                panic!("{user}: {why} {listed}");
            }
            signers.insert(decode_header(&token).unwrap().kid.unwrap());
        }
        (signers.len() == 2).then_some(())
    });
    assert!(signers.contains(&first));
    assert_eq!(Verifier::fetch(&bed).keys.keys.len(), 2, "the old one stays for what it signed");
    until("the end of the old key", || (Verifier::fetch(&bed).keys.keys.len() == 1).then_some(()));
    let token = assertion(&bed, &ada());
    assert_ne!(decode_header(&token).unwrap().kid.unwrap(), first);
    Verifier::fetch(&bed).verify(&token).unwrap();
    // Another start finds them again.
    let kid = decode_header(&token).unwrap().kid;
    let bed = bed.restart();
    assert_eq!(decode_header(assertion(&bed, &ada())).unwrap().kid, kid);
}

#[test]
fn keys_rotate_by_themselves() {
    let timed = ASSERTION.replace("audience: app", "audience: app, algorithm: RS256, ttl: 5s, overlap: 1s, rotate: 4s");
    let legacy = "legacy: { verify: { jwt: { secret_file: legacy.secret } } }";
    let bed = Bed::new().policy(POLICY).section(legacy).section(&timed);
    files(&bed);
    let bed = bed.start();
    let first = assertion(&bed, &ada());
    assert_eq!(Verifier::fetch(&bed).verify(&first).unwrap()["sub"], "42");
    let kid = |token: &str| decode_header(token).unwrap().kid;
    until("another key", || (kid(&assertion(&bed, &ada())) != kid(&first)).then_some(()));
    let folder = bed.folder().join("state/keys");
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    for file in std::fs::read_dir(&folder).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_key_that_cannot_be_used_ends_the_start_and_no_reload() {
    // At start: the minting key is missing, broken; a file among the assertion's keys is none.
    let socket = |bed: &Bed, name: &str| Address::Unix(bed.folder().join(name));
    let fails = |bed: &Bed, why: &str| {
        let ended = bed.fail_at(&socket(bed, "gate.sock"), &socket(bed, "admin.sock"));
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(why) && !ended.stderr.contains("c2VjcmV0"), "{}", ended.stderr);
    };
    let rsa = MINT.replace("HS256, key_file: legacy.secret", "RS256, key_file: mint.pem");
    let bed = Bed::new().policy(POLICY).section(&rsa).section(IDENTITY);
    let bed = bed.upstream_option("credentials: { authorization: legacy_token }");
    files(&bed);
    fails(&bed, "no such file");
    std::fs::write(bed.folder().join("mint.pem"), "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
        .unwrap();
    fails(&bed, "of another kind");
    std::fs::write(
        bed.folder().join("mint.pem"),
        rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().serialize_pem(),
    )
    .unwrap();
    let bed = bed.start();
    assert_eq!(bed.get("/me/x").bearer(&ada()).send().outcome(), "200 ok");
    let line = seen(&bed, "authorization");
    std::fs::write(bed.folder().join("mint.pem"), "nothing").unwrap();
    signal(bed.process.id(), "HUP");
    until("the refusal", || bed.process.stderr.text().contains("reload refused").then_some(()));
    assert_eq!(bed.get("/me/x").bearer(&ada()).send().outcome(), "200 ok");
    assert_eq!(seen(&bed, "authorization"), line, "the last good key signs on");
    let bed = Bed::new()
        .policy(POLICY)
        .section("legacy: { verify: { jwt: { secret_file: legacy.secret } } }")
        .section(ASSERTION);
    files(&bed);
    let folder = bed.folder().join("state/keys");
    std::fs::create_dir_all(&folder).unwrap();
    let broken = folder.join("1700000000-es256.pem");
    std::fs::write(&broken, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n").unwrap();
    fails(&bed, "1700000000-es256.pem");
    std::fs::remove_file(&broken).unwrap();
    // While it runs: the last good ones go on, through a reload too.
    let bed = bed.start();
    let first = assertion(&bed, &ada());
    std::fs::write(&broken, "nothing").unwrap();
    signal(bed.process.id(), "HUP");
    until("the refusal", || bed.process.stderr.text().contains("reload refused").then_some(()));
    assert_eq!(assertion(&bed, &ada()), first);
    Verifier::fetch(&bed).verify(&first).unwrap();
    assert!(bed.reasons().contains(&"signing_keys".to_owned()), "{:?}", bed.reasons());
    assert_eq!(bed.ask_admin("/v1/snapshot").json()["assertion"]["keys"][0]["stage"], "signing");
}
