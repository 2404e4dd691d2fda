//! A snapshot with a thousand routes and one request of a member, shared by the micro benches.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crossgate::clock;
use crossgate::config;
use crossgate::gate::decide::{self, Caller, Decided, Tries, decide};
use crossgate::identity::clerk::Attempt;
use crossgate::identity::legacy::Answers;
use crossgate::request::{self, Head, Peer, Request, Sanitized, View};
use crossgate::snapshot::Snapshot;
use crossgate::telemetry::metrics::Metrics;
use http::{HeaderMap, HeaderValue, Method, Version};
use jsonwebtoken::{Algorithm, DecodingKey};

const ROUTES: usize = 1000;
const ISSUER: &str = "https://clerk.example.com";

/// A snapshot with a thousand routes and one request of a member.
pub(crate) struct World {
    pub(crate) snapshot: Snapshot,
    request: Box<Request>,
    headers: HeaderMap,
    token: String,
    key: DecodingKey,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let modulus = URL_SAFE_NO_PAD.encode(pair.public_key().modulus().big_endian_without_leading_zero());
        write_config(folder.path(), &modulus);
        let metrics = Metrics::new().unwrap();
        let loaded = config::load(&folder.path().join("crossgate.yaml"), &|_| None, &metrics, None);
        let compiled = loaded.compiled.unwrap_or_else(|| panic!("{:?}", loaded.problems));
        let token = sign(&pair);
        let headers = headers(&token);
        let mut world = Self {
            request: sanitized(&headers, &compiled.snapshot),
            snapshot: compiled.snapshot,
            headers,
            token,
            key: DecodingKey::from_rsa_components(&modulus, "AQAB").unwrap(),
            _folder: folder,
        };
        world.request = world.sanitize();
        assert!(matches!(world.decide(), Decided::Done(done) if done.outcome.is_ok()));
        world
    }

    pub(crate) fn decide(&self) -> Decided {
        let view = View { request: &self.request, headers: &self.headers };
        let tries = Tries { legacy: Attempt::First, clerk: Attempt::First, answers: &Answers::default() };
        let world = decide::World { snapshot: &self.snapshot, rollout: None };
        decide(world, &view, Caller::Credentials(tries), clock::now(), &mut ())
    }

    /// The signature check alone, by the same library.
    pub(crate) fn bare_rs256(&self) -> bool {
        let (input, signature) = self.token.rsplit_once('.').unwrap();
        jsonwebtoken::crypto::verify(signature, input.as_bytes(), &self.key, Algorithm::RS256).unwrap()
    }

    pub(crate) fn sanitize(&self) -> Box<Request> {
        sanitized(&self.headers, &self.snapshot)
    }
}

fn sanitized(headers: &HeaderMap, snapshot: &Snapshot) -> Box<Request> {
    let head = Head {
        method: &Method::GET,
        target: b"/api/orgs/org_1/things500/42",
        authority: None,
        version: Version::HTTP_11,
        headers,
        peer: Peer::Unix,
        tls: false,
    };
    match request::sanitize(&head, &snapshot.request, &|| [1; 16]) {
        Ok(Sanitized::Request(request, _)) => request,
        other => panic!("{other:?}"),
    }
}

/// As a browser sends them.
fn headers(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let lines = [
        ("host", "api.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0"),
        ("accept", "application/json, text/plain, */*"),
        ("accept-language", "en-GB,en;q=0.9"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("origin", "https://app.example.com"),
        ("referer", "https://app.example.com/things"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-dest", "empty"),
    ];
    for (name, value) in lines {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    headers
}

fn write_config(folder: &Path, modulus: &str) {
    let jwks =
        format!(r#"{{"keys":[{{"kty":"RSA","kid":"ins_1","use":"sig","alg":"RS256","n":"{modulus}","e":"AQAB"}}]}}"#);
    std::fs::write(folder.join("jwks.json"), jwks).unwrap();
    let config = format!(
        "listeners: [{{ address: 127.0.0.1:8080 }}]\n\
         upstreams: {{ app: {{ endpoints: [127.0.0.1:3000] }} }}\n\
         clerk: [{{ name: bench, issuer: {ISSUER}, jwks: {{ file: jwks.json }}, authorized_parties: [https://app.example.com] }}]\n\
         policies: [policy.yaml]\n"
    );
    std::fs::write(folder.join("crossgate.yaml"), config).unwrap();
    let mut policy = "routes:\n".to_owned();
    for at in 0..ROUTES {
        policy.push_str(&format!(
            "  - id: thing{at}\n    match: {{ method: [GET], path: \"/api/orgs/{{org}}/things{at}/{{id}}\" }}\n    require: {{ org: \"{{org}}\", role: [org:admin, org:member] }}\n"
        ));
    }
    std::fs::write(folder.join("policy.yaml"), policy).unwrap();
}

fn sign(pair: &KeyPair) -> String {
    let now = clock::now().unix_seconds();
    let header = r#"{"alg":"RS256","cat":"cl_B7d4PD111AAA","kid":"ins_1","typ":"JWT"}"#;
    let claims = format!(
        r#"{{"azp":"https://app.example.com","exp":{},"fea":"o:things","fva":[3,-1],"iat":{now},"iss":"{ISSUER}","jti":"f2c0d8a4e91b","nbf":{},"o":{{"fpm":"3","id":"org_1","per":"read,write","rol":"admin","slg":"acme"}},"pla":"o:pro","sid":"sess_2GbDB4enNdCa5vS1zpC3Xzg9tK9","sts":"active","sub":"user_2GIpXOEpVyJw51rkZn9Kmnc6Sxr","v":2}}"#,
        now + 3600,
        now - 10,
    );
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}
