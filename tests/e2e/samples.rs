//! APIs behind crossgate, as others would write them: the samples of docs/verify.md in four languages, and one that knows
//! only its own HS256 tokens. Each runs as a process of its own; `tests/samples/prepare.sh` sets up what they need.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::bed::{Bed, Process, Running, reserve, until};
use super::issuer::{now, token};
use super::origin::{Answer, Origin};
use super::wire::{Address, Call, Response, Wire};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const ISSUER: &str = "https://gate.internal";
/// What a sample is told where its key server hangs: seconds between two looks for a key id that is not held, and of a
/// look. Whoever waits for one waits for longer than any other step of the test takes.
const COOLDOWN: &str = "1";
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

const MAP: &str = r#"{"kind":"org","legacy":"acme","clerk":"org_1"}
{"kind":"user","legacy":"42","clerk":"user_ada","state":"linked"}
{"kind":"membership","user":"42","org":"acme","role":"admin"}
"#;

const POLICY: &str = r#"
routes:
  - { id: me, match: { path: "/me/{*rest}" } }
  - { id: invoices, match: { method: [GET, POST], path: "/invoices" } }
  - { id: public, match: { method: [GET, POST], path: "/login/{*rest}" }, access: public }
"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Node,
    Python,
    Go,
    Rust,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where cargo puts what it builds: the binary's folder, and the one of all profiles.
fn built() -> (PathBuf, PathBuf) {
    let profile = Path::new(env!("CARGO_BIN_EXE_crossgate")).parent().unwrap();
    (profile.to_owned(), profile.parent().unwrap().to_owned())
}

/// The folder with everything that the samples need.
pub(super) fn prepared() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let (_, target) = built();
        let output = Command::new(root().join("tests/samples/prepare.sh")).arg(&target).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        target.join("samples")
    })
}

/// The sample in Rust. Built here where it was not: `cargo test --test e2e` builds no examples.
fn rust() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let (profile, target) = built();
        let program = profile.join("examples/verify");
        let changed = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        if changed(&program) > changed(&root().join("docs/verify/rust/main.rs")) {
            return program;
        }
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["build", "--quiet", "--locked", "--example", "verify", "--target-dir"]).arg(&target);
        if profile.ends_with("release") {
            command.arg("--release");
        }
        // What cargo tells a test of its package; build scripts would take it for a change and build everything again.
        let told = ["CARGO_BIN_", "CARGO_CRATE_", "CARGO_MANIFEST_", "CARGO_PKG_"];
        for (name, _) in std::env::vars_os() {
            if told.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        let output = command.current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        program
    })
}

fn program(language: Language) -> Command {
    let (program, argument) = match language {
        Language::Node => ("node".into(), Some(prepared().join("node/api.mjs"))),
        Language::Python => (prepared().join("python/bin/python"), Some(root().join("docs/verify/python/api.py"))),
        Language::Go => (prepared().join("go/api"), None),
        Language::Rust => (rust().to_owned(), None),
    };
    let mut command = Command::new(program);
    command.args(argument);
    command
}

/// An API that runs; ends with the test.
pub(super) struct Api {
    pub(super) address: Address,
    _process: Process,
}

impl Api {
    /// A process that another test is just making may hold the port for a moment longer than this one: whoever finds it
    /// taken is started again.
    pub(super) fn start(mut command: Command, port: TcpListener) -> Self {
        let address = Address::Tcp(port.local_addr().unwrap());
        drop(port);
        command.env("PORT", address.host().rsplit(':').next().unwrap());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let process = until("a free port", || {
            let mut process = Process::spawn(&mut command);
            let is_up = until("the API", || match Wire::try_connect(&address) {
                Ok(_) => Some(true),
                Err(_) => process.has_ended().then_some(false),
            });
            if is_up {
                return Some(process);
            }
            let ended = process.wait();
            let told = format!("{}{}", ended.stdout, ended.stderr);
            assert!(told.to_lowercase().contains("address already in use"), "the API ended: {told}");
            None
        });
        Self { address, _process: process }
    }

    fn verifier(language: Language, port: TcpListener, key_set: &str) -> Self {
        Self::verifier_with(language, port, key_set, &[])
    }

    fn verifier_with(language: Language, port: TcpListener, key_set: &str, more: &[(&str, &str)]) -> Self {
        let mut command = program(language);
        command.envs([("JWKS_URL", key_set), ("ISSUER", ISSUER), ("AUDIENCE", "app")]).envs(more.iter().copied());
        Self::start(command, port)
    }

    fn get(&self, target: &str) -> Call {
        Call::new(&self.address, "GET", target)
    }

    /// Past crossgate, with this token in one of the two places.
    fn direct(&self, place: Place, token: &str) -> Response {
        match place {
            Place::Assertion => self.get("/me/x").header("x-crossgate-assertion", token).send(),
            Place::Bearer => self.get("/me/x").bearer(token).send(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Assertion,
    Bearer,
}

/// crossgate in front of whoever will listen on `port`.
fn gate(port: &TcpListener, algorithm: Algorithm, authorization: &str) -> Running {
    let upstream = format!(
        "upstreams: {{ app: {{ endpoints: [\"{}\"], credentials: {{ forward: [legacy], authorization: {authorization} }} }} }}",
        port.local_addr().unwrap()
    );
    let identity = format!(
        "identity:\n  canonical: legacy\n  map: {{ file: map.jsonl }}\n  assertion: {{ enabled: true, issuer: {ISSUER}, audience: app, algorithm: {algorithm:?} }}"
    );
    let bed = Bed::new().policy(POLICY).section(&upstream).section(&identity);
    let bed = bed.section("legacy: { verify: { jwt: { secret_file: legacy.secret } } }");
    std::fs::write(bed.folder().join("legacy.secret"), SECRET).unwrap();
    std::fs::write(bed.folder().join("map.jsonl"), MAP).unwrap();
    bed.start()
}

fn key_set(bed: &Running) -> String {
    format!("http://{}/.crossgate/.well-known/jwks.json", bed.gate)
}

fn ada() -> String {
    token("user_ada").org("org_1", "acme", "admin").sign()
}

fn legacy() -> String {
    let claims = json!({ "sub": "42", "org": "acme", "exp": now() + 600 });
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

/// A key that signs whatever a test wants.
enum Key {
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    fn of_pem(algorithm: Algorithm, pem: &str) -> Self {
        let (_, key) = pem.split_once("-----BEGIN PRIVATE KEY-----").unwrap();
        let body: String = key.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(body).unwrap();
        match algorithm {
            Algorithm::ES256 => Self::Ec(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).unwrap()),
            _ => Self::Rsa(RsaKeyPair::from_pkcs8(&der).unwrap()),
        }
    }

    /// The key that signs in this bed.
    fn of_bed(bed: &Running, algorithm: Algorithm) -> Self {
        let folder = std::fs::read_dir(bed.folder().join("state/keys")).unwrap();
        let mut paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "pem"));
        assert_eq!(paths.len(), 1, "{paths:?}");
        Self::of_pem(algorithm, &std::fs::read_to_string(&paths[0]).unwrap())
    }

    /// A key of a stranger.
    fn other(algorithm: Algorithm) -> Self {
        let kind = match algorithm {
            Algorithm::ES256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            _ => &rcgen::PKCS_RSA_SHA256,
        };
        Self::of_pem(algorithm, &rcgen::KeyPair::generate_for(kind).unwrap().serialize_pem())
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let input = format!("{}.{}", part(&header.to_string()), part(&claims.to_string()));
        let random = SystemRandom::new();
        let signature = match self {
            Self::Ec(pair) => pair.sign(&random, input.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, input.as_bytes(), &mut signature).unwrap();
                signature
            }
        };
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn header(algorithm: Algorithm, kid: &str) -> Value {
    json!({ "alg": format!("{algorithm:?}"), "kid": kid, "typ": "JWT" })
}

/// Claims as crossgate writes them.
fn claims() -> Value {
    let at = now();
    json!({
        "iss": ISSUER, "aud": "app", "sub": "42", "org": "acme", "role": "org:admin", "method": "clerk",
        "iat": at, "exp": at + 60,
    })
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().unwrap().remove(name);
    object
}

fn part(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// What somebody who reaches the API past crossgate may try, with what the published set shows, and with tokens of
/// crossgate's own key for others and for other times.
fn forgeries(bed: &Running, algorithm: Algorithm, set: &Value, good: &str) -> Vec<(String, String)> {
    let jwk = &set["keys"][0];
    let kid = jwk["kid"].as_str().unwrap();
    let (key, header) = (Key::of_bed(bed, algorithm), header(algorithm, kid));
    let mut tokens: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, token: String| tokens.push((name.to_owned(), token));
    for (name, claims) in [
        ("expired", with(claims(), "exp", json!(now() - 60))),
        ("no end", without(claims(), "exp")),
        ("an end that is no time", with(claims(), "exp", json!("tomorrow"))),
        ("for another API", with(claims(), "aud", json!("other"))),
        ("for several", with(claims(), "aud", json!(["app", "other"]))),
        ("for a list of one", with(claims(), "aud", json!(["app"]))),
        ("for nobody", without(claims(), "aud")),
        ("of another issuer", with(claims(), "iss", json!("https://gate.external"))),
        ("of nearly the issuer", with(claims(), "iss", json!(format!("{ISSUER}/")))),
        ("of several issuers", with(claims(), "iss", json!([ISSUER]))),
        ("of no issuer", without(claims(), "iss")),
        ("about nobody", without(claims(), "sub")),
        ("about a number", with(claims(), "sub", json!(42))),
        ("about an empty name", with(claims(), "sub", json!(""))),
    ] {
        add(name, key.sign(&header, &claims));
    }
    for (name, header) in [
        ("of another type", with(header.clone(), "typ", json!("at+jwt"))),
        ("of no type", without(header.clone(), "typ")),
        ("by no key", without(header.clone(), "kid")),
        ("by a key that is no text", with(header.clone(), "kid", json!(7))),
        ("by an unknown key", with(header.clone(), "kid", json!("unknown"))),
        ("by a key of the language", with(header.clone(), "kid", json!("__proto__"))),
        ("signed otherwise than it says", with(header.clone(), "alg", json!("ES384"))),
    ] {
        add(name, key.sign(&header, &claims()));
    }
    let stranger = Key::other(algorithm);
    add("by a stranger", stranger.sign(&header, &claims()));
    let inside = with(header.clone(), "jwk", jwk.clone());
    add("by a stranger, with a key inside", stranger.sign(&inside, &claims()));
    let other = if algorithm == Algorithm::ES256 { Algorithm::RS256 } else { Algorithm::ES256 };
    let crossed = with(header, "alg", json!(format!("{other:?}")));
    add("by a stranger's key of the other kind", Key::other(other).sign(&crossed, &claims()));

    let body = part(&claims().to_string());
    for alg in ["none", "None", "NONE", ""] {
        let head = part(&json!({ "alg": alg, "typ": "JWT", "kid": kid }).to_string());
        add(&format!("alg {alg:?}"), format!("{head}.{body}."));
        add(&format!("alg {alg:?}, signed"), format!("{head}.{body}.{}", good.rsplit('.').next().unwrap()));
    }
    // The public key as the secret, in each way that a library may take it.
    let point = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let mut secrets = vec![jwk.to_string().into_bytes(), serde_json::to_vec(set).unwrap(), Vec::new()];
    if algorithm == Algorithm::ES256 {
        let mut raw = vec![4];
        raw.extend([point("x"), point("y")].concat());
        let der = [&EC_P256_PREFIX[..], &raw].concat();
        let pem = STANDARD.encode(&der);
        let lines: Vec<_> = pem.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", lines.join("\n"));
        secrets.extend([format!("{pem}\n").into_bytes(), pem.into_bytes(), der, raw]);
    } else {
        secrets.extend([point("n"), jwk["n"].as_str().unwrap().as_bytes().to_vec()]);
    }
    for (number, secret) in secrets.iter().enumerate() {
        for alg in [Algorithm::HS256, Algorithm::HS512] {
            let header = Header { kid: Some(kid.to_owned()), ..Header::new(alg) };
            let token = encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap();
            add(&format!("{alg:?} by the public key, {number}"), token);
        }
    }
    let parts: Vec<&str> = good.split('.').collect();
    let another = part(&with(claims(), "sub", json!("43")).to_string());
    add("another person under the signature", format!("{}.{another}.{}", parts[0], parts[2]));
    let raised = part(&with(claims(), "role", json!("org:owner")).to_string());
    add("another role under the signature", format!("{}.{raised}.{}", parts[0], parts[2]));
    add("no signature", format!("{}.{}.", parts[0], parts[1]));
    add("two parts", format!("{}.{}", parts[0], parts[1]));
    add("four parts", format!("{good}.x"));
    add("twice", format!("{good},{good}"));
    add("a session of Clerk's", ada());
    add("a legacy token", legacy());
    for junk in ["x", "..", "a.b.c", "{}", "null", "\u{e9}.\u{e9}.\u{e9}"] {
        add(&format!("{junk:?}"), junk.to_owned());
    }
    tokens
}

/// `SubjectPublicKeyInfo` of a P-256 key, up to the point.
const EC_P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

fn person(response: &Response) -> (u16, Value) {
    (response.status, if response.status == 200 { response.json() } else { Value::Null })
}

fn verifies(language: Language) {
    for (algorithm, authorization) in [(Algorithm::ES256, "none"), (Algorithm::RS256, "assertion")] {
        let port = reserve();
        let bed = gate(&port, algorithm, authorization);
        let api = Api::verifier(language, port, &key_set(&bed));
        let name = format!("{language:?} {algorithm:?}");
        // Through crossgate: people of both logins, and nobody else.
        let expected = (200, json!({ "sub": "42", "org": "acme", "role": "org:admin" }));
        assert_eq!(person(&bed.get("/me/x").bearer(&ada()).send()), expected, "{name}: came with Clerk");
        let own = person(&bed.get("/me/x").bearer(&legacy()).send());
        assert_eq!(
            (own.0, &own.1["sub"], &own.1["org"]),
            (200, &json!("42"), &json!("acme")),
            "{name}: legacy {own:?}"
        );
        let alone = person(&bed.get("/me/x").bearer(&token("user_ada").sign()).send());
        assert_eq!(alone, (200, json!({ "sub": "42", "org": null, "role": null })), "{name}: without an org");
        let set = bed.get("/.crossgate/.well-known/jwks.json").send().json();
        let good = {
            let kid = set["keys"][0]["kid"].as_str().unwrap();
            Key::of_bed(&bed, algorithm).sign(&header(algorithm, kid), &claims())
        };
        for anonymous in [bed.get("/login/x"), bed.get("/login/x").header("x-crossgate-assertion", &good)] {
            let answer = anonymous.send();
            assert_eq!((answer.status, answer.text().contains("unauthorized")), (401, true), "{name}: nobody");
        }
        let brought = bed.get("/login/x").bearer(&good).send();
        assert_eq!(brought.status, 401, "{name}: an assertion is no login");
        // Past crossgate.
        assert_eq!(api.get("/me/x").send().status, 401, "{name}: no token");
        for place in [Place::Assertion, Place::Bearer] {
            assert_eq!(person(&api.direct(place, &good)), expected, "{name} {place:?}");
            for (what, forged) in forgeries(&bed, algorithm, &set, &good) {
                let answer = api.direct(place, &forged);
                assert_eq!(answer.status, 401, "{name} {place:?}: {what}: {}", answer.text());
                assert!(answer.header("www-authenticate").is_some(), "{name} {place:?}: {what}");
            }
            assert_eq!(person(&api.direct(place, &good)), expected, "{name} {place:?}: afterwards");
        }
        assert_eq!(api.get("/me/x").header("authorization", "Basic eDp5").send().status, 401, "{name}: another scheme");
        // The set is kept: nobody has to ask for it again.
        let ended = bed.stop();
        assert!(ended.status.success(), "{}", ended.stderr);
        assert_eq!(person(&api.direct(Place::Assertion, &good)), expected, "{name}: crossgate is gone");
    }
    fails_closed(language);
}

/// Without the key set nobody is let in and nobody is told to sign in again; keys that nobody knows buy few fetches.
fn fails_closed(language: Language) {
    let gate_port = reserve();
    let bed = gate(&gate_port, Algorithm::ES256, "none");
    let set = bed.get("/.crossgate/.well-known/jwks.json").send();
    let kid = set.json()["keys"][0]["kid"].as_str().unwrap().to_owned();
    let (key, header) = (Key::of_bed(&bed, Algorithm::ES256), header(Algorithm::ES256, &kid));
    let good = key.sign(&header, &claims());
    let server = Origin::start();
    // No key in it is one for assertions.
    for useless in [json!([]), json!([{ "kty": "oct", "kid": kid, "alg": "HS256", "use": "sig", "k": "QUFB" }])] {
        let body = json!({ "keys": useless }).to_string();
        server.answers(move |_| Answer::text(200, &body).with("content-type", "application/jwk-set+json"));
        let api = Api::verifier(language, reserve(), &format!("http://{}/keys", server.address));
        assert_eq!(api.direct(Place::Assertion, &good).status, 503, "{language:?}: {useless}");
    }
    let before = server.count();
    server.answers(|_| Answer::text(500, "{\"keys\":[]}"));
    let api = Api::verifier(language, reserve(), &format!("http://{}/keys", server.address));
    let answer = api.direct(Place::Assertion, &good);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")), "{language:?}: no keys");
    assert_eq!(api.get("/me/x").send().status, 401, "{language:?}: needs no key");
    for _ in 0..20 {
        assert_eq!(api.direct(Place::Assertion, &good).status, 503, "{language:?}: no keys");
    }
    let started = Instant::now();
    assert!(server.count() - before <= 2, "{language:?}: {} fetches", server.count() - before);
    let body = set.text();
    server.answers(move |_| Answer::text(200, &body).with("content-type", "application/jwk-set+json"));
    until("the keys", || (api.direct(Place::Assertion, &good).status == 200).then_some(()));
    let before = server.count();
    for number in 0..50 {
        let unknown = with(header.clone(), "kid", json!(format!("unknown-{number}")));
        let forged = key.sign(&unknown, &claims());
        assert_eq!(api.direct(Place::Assertion, &forged).status, 401, "{language:?}: {number}");
    }
    let allowed = 1 + usize::try_from(started.elapsed().as_secs() / 30).unwrap();
    assert!(server.count() - before <= allowed, "{language:?}: {} fetches", server.count() - before);
    assert_eq!(api.direct(Place::Assertion, &good).status, 200, "{language:?}: still in");
}

/// Forged key ids make a verifier ask for the set once the pause is over. While that hangs, whoever's key is held goes on.
fn serves_while_the_key_server_hangs(language: Language, starting: &Mutex<()>) {
    // One after the other: a process that is just being made still holds the ports that others give to theirs.
    let starts = starting.lock().unwrap_or_else(PoisonError::into_inner);
    let bed = gate(&reserve(), Algorithm::ES256, "none");
    let set = bed.get("/.crossgate/.well-known/jwks.json").send();
    let kid = set.json()["keys"][0]["kid"].as_str().unwrap().to_owned();
    let (key, header) = (Key::of_bed(&bed, Algorithm::ES256), header(Algorithm::ES256, &kid));
    let server = Origin::start();
    let body = set.text();
    server.answers(move |_| Answer::text(200, &body).with("content-type", "application/jwk-set+json"));
    let timeout = FETCH_TIMEOUT.as_secs().to_string();
    let patience = [("JWKS_COOLDOWN", COOLDOWN), ("JWKS_TIMEOUT", &timeout)];
    let api = Api::verifier_with(language, reserve(), &format!("http://{}/keys", server.address), &patience);
    let good = || key.sign(&header, &claims());
    assert_eq!(api.direct(Place::Assertion, &good()).status, 200, "{language:?}");
    drop(starts);
    server.answers(|_| Answer::Hang);
    let (ended, deadline) = (AtomicBool::new(false), Instant::now() + Duration::from_secs(60));
    std::thread::scope(|scope| {
        for number in 0..40 {
            let unknown = with(header.clone(), "kid", json!(format!("unknown-{number}")));
            let forged = key.sign(&unknown, &with(claims(), "exp", json!(now() + 600)));
            let (api, ended) = (&api, &ended);
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) && Instant::now() < deadline {
                    let status = api.direct(Place::Assertion, &forged).status;
                    assert!([401, 503].contains(&status), "{language:?}: {status}");
                    std::thread::sleep(Duration::from_millis(100));
                }
            });
        }
        while server.count() < 2 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let asked = Instant::now();
        let statuses: Vec<_> = (0..10).map(|_| api.direct(Place::Assertion, &good()).status).collect();
        let (took, fetches) = (asked.elapsed(), server.count());
        ended.store(true, Ordering::Relaxed);
        assert_eq!((fetches, statuses), (2, vec![200; 10]), "{language:?}");
        assert!(took < FETCH_TIMEOUT / 2, "{language:?}: waited {took:?}");
    });
}

#[test]
fn forged_key_ids_hold_up_nobody_while_the_key_server_hangs() {
    let starting = Mutex::new(());
    std::thread::scope(|scope| {
        for language in [Language::Node, Language::Python, Language::Go, Language::Rust] {
            let starting = &starting;
            scope.spawn(move || serves_while_the_key_server_hangs(language, starting));
        }
    });
}

#[test]
fn the_snippets_for_clients_survive_every_answer() {
    let mut command = Command::new("node");
    command.arg(root().join("tests/samples/clients.mjs")).arg(root().join("docs"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_sample_in_node_verifies() {
    verifies(Language::Node);
}

#[test]
fn the_sample_in_python_verifies() {
    verifies(Language::Python);
}

#[test]
fn the_sample_in_go_verifies() {
    verifies(Language::Go);
}

#[test]
fn the_sample_in_rust_verifies() {
    verifies(Language::Rust);
}

/// `legacy.mint` for `tests/samples/legacy-api`.
const MINT: &str = r#"legacy:
  verify: { jwt: { secret_file: legacy.secret, issuer: "https://old.example.com", audience: api } }
  mint:
    key_file: legacy.secret
    issuer: https://old.example.com
    audience: api
    claims: { sub: "{legacy_user}", uid: "{legacy_user:int}", org: "{legacy_org}", role: "{role}" }"#;

#[test]
fn an_unchanged_api_with_tokens_of_its_own_serves_people_of_both_logins() {
    let port = reserve();
    let upstream = format!(
        "upstreams: {{ app: {{ endpoints: [\"{}\"], credentials: {{ forward: [legacy], authorization: legacy_token }} }} }}",
        port.local_addr().unwrap()
    );
    let identity = "identity: { canonical: legacy, map: { file: map.jsonl }, roles: { \"org:admin\": [admin, owner], \"org:member\": [member] } }";
    let bed = Bed::new().policy(POLICY).section(&upstream).section(MINT).section(identity);
    let secret = bed.folder().join("legacy.secret");
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::write(bed.folder().join("map.jsonl"), MAP).unwrap();
    let bed = bed.start();
    let mut command = Command::new("node");
    command.arg(prepared().join("legacy-api/api.mjs")).env("SECRET_FILE", secret);
    let api = Api::start(command, port);
    // Its own login, through crossgate.
    let login = bed.call("POST", "/login/ada").send();
    assert_eq!(login.status, 200, "{}", login.text());
    let own = login.json()["token"].as_str().unwrap().to_owned();
    let expected = json!({ "user": 42, "role": "admin", "invoices": ["one", "two"] });
    for (name, token) in [("its own login", own.clone()), ("Clerk", ada())] {
        let answer = bed.get("/invoices").bearer(&token).send();
        assert_eq!((answer.status, answer.json()), (200, expected.clone()), "{name}");
        assert_eq!(bed.call("POST", "/invoices").bearer(&token).send().status, 200, "{name}: an admin writes");
    }
    let cookie = format!("__session={}; __client_uat={}", ada(), now() - 100);
    assert_eq!(bed.get("/invoices").cookie(&cookie).send().json(), expected, "a session of Clerk's in a cookie");
    let member = token("user_ada").org("org_1", "acme", "member").sign();
    let answer = bed.get("/invoices").bearer(&member).send();
    assert_eq!((answer.status, &answer.json()["role"]), (200, &json!("member")), "another role in Clerk");
    assert_eq!(bed.call("POST", "/invoices").bearer(&member).send().status, 403, "the API's own rule");
    // It believes nobody whom crossgate did not speak for.
    assert_eq!(api.get("/invoices").bearer(&ada()).send().status, 401, "Clerk's token alone says nothing to it");
    assert_eq!(api.get("/invoices").bearer(&own).send().json(), expected);
    assert_eq!(bed.get("/invoices").send().status, 401);
    assert_eq!(bed.get("/invoices").bearer("x").send().status, 401);
}
