//! A stand-in Clerk: real RSA keys, tokens with any claims, and a key server that can be made to fail in every way.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use super::wire::Wire;

/// What the tokens of the first instance say in `iss`.
pub(crate) const ISSUER: &str = "https://clerk.example.com";
/// The session category.
const CATEGORY: &str = "cl_B7d4PD111AAA";

/// A signing key with its id.
pub(crate) struct SigningKey {
    pair: KeyPair,
    kid: &'static str,
}

impl SigningKey {
    fn make(kid: &'static str) -> Self {
        Self { pair: KeyPair::generate(KeySize::Rsa2048).unwrap(), kid }
    }

    fn jwk(&self) -> Value {
        let public = self.pair.public_key();
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid,
            "n": part(public.modulus().big_endian_without_leading_zero()),
            "e": part(public.exponent().big_endian_without_leading_zero()),
        })
    }

    fn pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = self.pair.public_key().as_der().unwrap();
        let body = STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    fn sign(&self, header: &Value, claims: &Map<String, Value>) -> String {
        let part = |text: String| URL_SAFE_NO_PAD.encode(text);
        let input = format!("{}.{}", part(header.to_string()), part(json!(claims).to_string()));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The instance's key.
pub(crate) fn first() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::make("ins_first"))
}

/// The key that it rotates to; also another instance's.
pub(crate) fn second() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::make("ins_second"))
}

pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A token in the making: claims as Clerk's second version writes them.
#[derive(Clone)]
pub(crate) struct Token {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    key: &'static str,
}

/// A good token of `user` of the first instance.
pub(crate) fn token(user: &str) -> Token {
    let now = now();
    let claims = json!({
        "iss": ISSUER, "sub": user, "sid": "sess_1", "jti": "j1", "v": 2, "sts": "active", "fva": [0, -1],
        "iat": now - 20, "nbf": now - 30, "exp": now + 600,
    });
    let header = json!({ "alg": "RS256", "typ": "JWT", "cat": CATEGORY });
    Token { header: object(header), claims: object(claims), key: "first" }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("no object: {other}"),
    }
}

impl Token {
    pub(crate) fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    pub(crate) fn in_header(mut self, name: &str, value: Value) -> Self {
        self.header.insert(name.to_owned(), value);
        self
    }

    /// The active organisation, with a role as v2 writes it (`admin`).
    pub(crate) fn org(self, id: &str, slug: &str, role: &str) -> Self {
        self.claim("o", json!({ "id": id, "slg": slug, "rol": role }))
    }

    /// Issued `ago` seconds ago.
    pub(crate) fn issued(self, ago: i64) -> Self {
        let at = now() - ago;
        self.claim("iat", json!(at)).claim("nbf", json!(at - 10))
    }

    pub(crate) fn expired(self) -> Self {
        self.issued(700).claim("exp", json!(now() - 60))
    }

    pub(crate) fn by_second_key(mut self) -> Self {
        self.key = "second";
        self
    }

    pub(crate) fn sign(mut self) -> String {
        let key = if self.key == "first" { first() } else { second() };
        self.header.entry("kid").or_insert_with(|| json!(key.kid));
        key.sign(&Value::Object(self.header), &self.claims)
    }
}

/// The same token with another letter in the middle of one of its parts.
pub(crate) fn tampered(token: &str, part: usize) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let at = parts[part].len() / 2;
    let other = if parts[part].as_bytes()[at] == b'A' { "B" } else { "A" };
    parts[part].replace_range(at..=at, other);
    parts.join(".")
}

/// What the key server does.
#[derive(Debug, Clone)]
pub(crate) enum Keys {
    First,
    Second,
    Both,
    Status(u16),
    Html,
    Redirect(String),
    Huge,
    Hang,
    /// A byte now and then, for ever.
    Drip,
    Body(String),
}

struct Shared {
    keys: Mutex<Keys>,
    fetches: AtomicUsize,
    closing: AtomicBool,
}

/// The key server.
pub(crate) struct Issuer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    listening: Mutex<Option<JoinHandle<()>>>,
}

impl Issuer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            keys: Mutex::new(Keys::First),
            fetches: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
        });
        let address = listener.local_addr().unwrap();
        let listening = Mutex::new(Some(listen(listener, Arc::clone(&shared))));
        Self { address, shared, listening }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/.well-known/jwks.json", self.address)
    }

    pub(crate) fn serves(&self, keys: Keys) {
        *self.shared.keys.lock().unwrap() = keys;
    }

    pub(crate) fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    /// Nothing listens there any more.
    pub(crate) fn kill(&self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        if let Some(thread) = self.listening.lock().unwrap().take() {
            // Wakes the thread, which then lets the listener go.
            let _ = TcpStream::connect(self.address);
            thread.join().unwrap();
        }
    }

    /// Back at the same address.
    pub(crate) fn revive(&self) {
        self.shared.closing.store(false, Ordering::SeqCst);
        let listener = TcpListener::bind(self.address).unwrap();
        *self.listening.lock().unwrap() = Some(listen(listener, Arc::clone(&self.shared)));
    }
}

fn listen(listener: TcpListener, shared: Arc<Shared>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            if shared.closing.load(Ordering::SeqCst) {
                return;
            }
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || serve(socket, &shared));
        }
    })
}

pub(crate) fn key_set(keys: &[&SigningKey]) -> String {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() }).to_string()
}

pub(crate) fn first_pem() -> String {
    first().pem()
}

fn serve(socket: TcpStream, shared: &Shared) {
    let mut wire = Wire::tcp(socket);
    if wire.head().is_none() {
        return;
    }
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    let keys = shared.keys.lock().unwrap().clone();
    let (status, content_type, body, extra) = match keys {
        Keys::First => (200, "application/json", key_set(&[first()]), String::new()),
        Keys::Second => (200, "application/json", key_set(&[second()]), String::new()),
        Keys::Both => (200, "application/json", key_set(&[first(), second()]), String::new()),
        Keys::Status(status) => (status, "application/json", key_set(&[second()]), String::new()),
        Keys::Html => (200, "text/html", key_set(&[second()]), String::new()),
        Keys::Redirect(to) => (302, "application/json", key_set(&[second()]), format!("location: {to}\r\n")),
        Keys::Huge => {
            let padded = key_set(&[second()]).replacen('{', &format!("{{{}", " ".repeat(400 * 1024)), 1);
            (200, "application/json", padded, String::new())
        }
        Keys::Body(body) => (200, "application/json", body, String::new()),
        Keys::Hang => {
            wire.rest();
            return;
        }
        Keys::Drip => {
            wire.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n");
            while wire.write(b" ") {
                std::thread::sleep(Duration::from_millis(50));
            }
            return;
        }
    };
    let head = format!(
        "HTTP/1.1 {status} Keys\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n{extra}\r\n",
        body.len()
    );
    wire.write(format!("{head}{body}").as_bytes());
}
