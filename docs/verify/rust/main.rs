//! An API that believes nothing but the assertion of the gate in front of it: docs/verify.md.
//!
//! Needs jsonwebtoken (`aws_lc_rs`), reqwest, serde, serde_json and tokio; hyper is the server here, any other will do.

use std::convert::Infallible;
use std::env::var;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Mutex, RwLock};

/// Never what the token asks for: no HS256 by a public key.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::ES256, Algorithm::RS256];
/// Of the key set.
const LIFE: Duration = Duration::from_secs(600);
/// After a fetch that failed.
const RETRY: Duration = Duration::from_secs(5);
const MAX_BYTES: usize = 1 << 20;

enum Refusal {
    /// No good assertion: 401.
    Unauthorized,
    /// The gate's keys cannot be had: nobody's fault, so 503.
    Unavailable,
}

/// The gate's published key set, kept for ten minutes.
struct Keys {
    url: String,
    client: reqwest::Client,
    /// One fetch at a time.
    fetching: Arc<Mutex<()>>,
    /// Between two looks for a key id that is not in it.
    cooldown: Duration,
    /// Never held while the set is fetched.
    held: RwLock<Held>,
}

#[derive(Default)]
struct Held {
    set: Option<(JwkSet, Instant)>,
    failed: Option<Instant>,
}

impl Held {
    /// `None` where the set must be fetched.
    fn find(&self, kid: &str, cooldown: Duration) -> Option<Result<Jwk, Refusal>> {
        if let Some((set, fetched)) = self.set.as_ref().filter(|(_, fetched)| fetched.elapsed() < LIFE) {
            match set.find(kid) {
                Some(key) => return Some(Ok(key.clone())),
                None if fetched.elapsed() < cooldown => return Some(Err(Refusal::Unauthorized)),
                None => {}
            }
        }
        self.failed.filter(|failed| failed.elapsed() < RETRY).map(|_| Err(Refusal::Unavailable))
    }
}

impl Keys {
    /// Who asks for a key that is held waits for no fetch: else forged key ids would hold up everybody while the key
    /// server hangs.
    async fn get(self: &Arc<Self>, kid: &str) -> Result<Jwk, Refusal> {
        if let Some(found) = self.held.read().await.find(kid, self.cooldown) {
            return found;
        }
        let alone = Arc::clone(&self.fetching).lock_owned().await;
        // The one before may have asked already.
        if let Some(found) = self.held.read().await.find(kid, self.cooldown) {
            return found;
        }
        // A task of its own: a caller that goes away would end the fetch, and the next forger begin another.
        let keys = Arc::clone(self);
        let fetch = tokio::spawn(async move {
            keys.fill().await;
            drop(alone);
        });
        fetch.await.map_err(|_| Refusal::Unavailable)?;
        self.held.read().await.find(kid, self.cooldown).unwrap_or(Err(Refusal::Unavailable))
    }

    async fn fill(&self) {
        let fetched = self.fetch().await;
        let mut held = self.held.write().await;
        match fetched {
            Ok(set) => held.set = Some((set, Instant::now())),
            Err(why) => {
                eprintln!("the key set cannot be fetched: {why}");
                held.failed = Some(Instant::now());
            }
        }
    }

    async fn fetch(&self) -> Result<JwkSet, Box<dyn Error + Send + Sync>> {
        let mut answer = self.client.get(&self.url).send().await?.error_for_status()?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_BYTES {
                return Err("too large".into());
            }
        }
        let mut set: JwkSet = serde_json::from_slice(&bytes)?;
        set.keys.retain(|key| algorithm(key).is_some() && DecodingKey::from_jwk(key).is_ok());
        if set.keys.is_empty() { Err("no key that can be used".into()) } else { Ok(set) }
    }
}

/// What a key of the set may sign with.
fn algorithm(key: &Jwk) -> Option<Algorithm> {
    let named = key.common.key_algorithm.and_then(|algorithm| algorithm.to_string().parse().ok());
    named.filter(|named| ALGORITHMS.contains(named) && key.common.public_key_use == Some(PublicKeyUse::Signature))
}

struct Verifier {
    keys: Arc<Keys>,
    issuer: String,
    audience: String,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    // Exactly one each: a list is no text, and refused.
    #[serde(rename = "iss")]
    _iss: String,
    #[serde(rename = "aud")]
    _aud: String,
    org: Option<String>,
    role: Option<String>,
}

impl Verifier {
    /// Who is calling: the claims of a good assertion.
    async fn caller(&self, headers: &HeaderMap) -> Result<Claims, Refusal> {
        let token = token(headers).ok_or(Refusal::Unauthorized)?;
        let header = decode_header(token).map_err(|_| Refusal::Unauthorized)?;
        let kid = header.kid.as_deref().ok_or(Refusal::Unauthorized)?;
        if !ALGORITHMS.contains(&header.alg) || header.typ.as_deref() != Some("JWT") {
            return Err(Refusal::Unauthorized);
        }
        let jwk = self.keys.get(kid).await?;
        if algorithm(&jwk) != Some(header.alg) {
            return Err(Refusal::Unauthorized);
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| Refusal::Unauthorized)?;
        let mut rules = Validation::new(header.alg);
        rules.set_issuer(&[&self.issuer]);
        rules.set_audience(&[&self.audience]);
        rules.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        rules.leeway = 5;
        let claims = decode::<Claims>(token, &key, &rules).map_err(|_| Refusal::Unauthorized)?.claims;
        if claims.sub.is_empty() { Err(Refusal::Unauthorized) } else { Ok(claims) }
    }
}

fn token(headers: &HeaderMap) -> Option<&str> {
    if let Some(token) = headers.get("x-crossgate-assertion") {
        return token.to_str().ok();
    }
    let (scheme, token) = headers.get("authorization")?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(token)
}

async fn answer(verifier: &Verifier, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, extra, body) = match verifier.caller(request.headers()).await {
        Ok(person) => (200, None, json!({ "sub": person.sub, "org": person.org, "role": person.role })),
        Err(Refusal::Unauthorized) => (401, Some(("www-authenticate", "Bearer")), json!({ "error": "unauthorized" })),
        Err(Refusal::Unavailable) => (503, Some(("retry-after", "5")), json!({ "error": "unavailable" })),
    };
    let mut response = Response::builder().status(status).header("content-type", "application/json");
    if let Some((name, value)) = extra {
        response = response.header(name, value);
    }
    response.body(Full::from(body.to_string())).unwrap_or_default()
}

/// From the environment.
fn seconds(name: &str, standard: u64) -> Result<Duration, Box<dyn Error>> {
    Ok(Duration::from_secs(var(name).map_or(Ok(standard), |given| given.parse())?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Only because this package builds reqwest without one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (cooldown, timeout) = (seconds("JWKS_COOLDOWN", 30)?, seconds("JWKS_TIMEOUT", 5)?);
    let client = reqwest::Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none()).build()?;
    let keys = Keys { url: var("JWKS_URL")?, client, fetching: Arc::default(), cooldown, held: RwLock::default() };
    let verifier = Arc::new(Verifier { keys: Arc::new(keys), issuer: var("ISSUER")?, audience: var("AUDIENCE")? });
    let port = var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        let verifier = Arc::clone(&verifier);
        tokio::spawn(async move {
            let service =
                hyper::service::service_fn(async |request| Ok::<_, Infallible>(answer(&verifier, &request).await));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}
