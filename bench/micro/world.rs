//! A snapshot with a thousand routes and one request of a member, shared by the micro benches.

#![allow(dead_code, reason = "each bench uses its own part")]

use std::path::Path;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crossgate::clock;
use crossgate::config;
use crossgate::gate::decide::shadow::Outcome;
use crossgate::gate::decide::{self, Caller, Decided, Tries, decide};
use crossgate::identity::checks::Checks;
use crossgate::identity::clerk::Attempt;
use crossgate::identity::legacy::Answers;
use crossgate::request::{self, Head, Peer, Request, Sanitized, View};
use crossgate::rollout::{Current, control};
use crossgate::snapshot::Snapshot;
use crossgate::telemetry::metrics::Metrics;
use http::{HeaderMap, HeaderValue, Method, Version};
use jsonwebtoken::{Algorithm, DecodingKey};

const ROUTES: usize = 1000;
const ISSUER: &str = "https://clerk.example.com";
const LEGACY_ISSUER: &str = "https://login.example.com";
const USER: &str = "user_2GIpXOEpVyJw51rkZn9Kmnc6Sxr";
const LEGACY_USER: &str = "7f3e9a10-6b1c-4a52-9f6e-2f0d6f3b1c55";
const LEGACY_ORG: &str = "acme";
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What the request carries where both logins are configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// In the header.
    Clerk,
    /// In the header.
    Legacy,
    /// Clerk's in the header, the legacy one in a cookie, of one person; compared by shadow.
    Both,
    /// The same without shadow.
    BothUnshadowed,
}

/// A snapshot with a thousand routes and one request of a member.
pub(crate) struct World {
    pub(crate) snapshot: Snapshot,
    rollout: Option<Current>,
    request: Box<Request>,
    headers: HeaderMap,
    target: String,
    token: String,
    key: DecodingKey,
    _folder: tempfile::TempDir,
}

impl World {
    /// Clerk alone.
    pub(crate) fn new() -> Self {
        Self::with(None)
    }

    /// Both logins, an identity map, and a rollout that stands at half of the people.
    pub(crate) fn logins(sent: Sent) -> Self {
        Self::with(Some(sent))
    }

    fn with(logins: Option<Sent>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let modulus = URL_SAFE_NO_PAD.encode(pair.public_key().modulus().big_endian_without_leading_zero());
        write_config(folder.path(), &modulus, logins);
        let metrics = Metrics::new().unwrap();
        let loaded = config::load(&folder.path().join("crossgate.yaml"), &|_| None, &metrics, None);
        let snapshot = loaded.compiled.unwrap_or_else(|| panic!("{:?}", loaded.problems)).snapshot;
        let now = clock::now().unix_ms;
        let rollout = snapshot.rollout.as_ref().map(|plan| control::peek(plan, folder.path(), now));
        assert!(rollout.as_ref().is_none_or(|rollout| rollout.problem.is_none()), "nobody is dealt by chance");
        let token = sign(&pair);
        let org = if logins.is_some() { LEGACY_ORG } else { "org_1" };
        let target = format!("/api/orgs/{org}/things500/42");
        let headers = match logins {
            None | Some(Sent::Clerk) => headers(&token, None),
            Some(Sent::Legacy) => headers(&sign_legacy(), None),
            Some(Sent::Both | Sent::BothUnshadowed) => headers(&token, Some(&sign_legacy())),
        };
        let world = Self {
            request: sanitized(&headers, &target, &snapshot),
            snapshot,
            rollout,
            headers,
            target,
            token,
            key: DecodingKey::from_rsa_components(&modulus, "AQAB").unwrap(),
            _folder: folder,
        };
        let Decided::Done(done) = world.decide() else { panic!("nothing has to be fetched") };
        assert!(done.outcome.is_ok(), "{:?}", done.outcome);
        if matches!(logins, Some(Sent::Both | Sent::BothUnshadowed)) {
            assert!(done.proven.legacy_cookie && done.proven.clerk.is_some(), "one person: {done:?}");
            let compared =
                done.shadow.as_ref().map(|shadow| shadow.comparison.each().all(|(_, how)| how == Outcome::Agree));
            assert_eq!(compared, (logins == Some(Sent::Both)).then_some(true), "{:?}", done.shadow);
        }
        world
    }

    pub(crate) fn decide(&self) -> Decided {
        let view = View { request: &self.request, headers: &self.headers };
        let answers = Answers::default();
        let tries = Tries {
            legacy: Attempt::First,
            clerk: Attempt::First,
            answers: &answers,
            draw: || None,
            checks: Checks::NOBODY,
        };
        let world = decide::World { snapshot: &self.snapshot, rollout: self.rollout.as_ref() };
        decide(world, &view, Caller::Credentials(tries), clock::now(), &mut ())
    }

    /// The signature check alone, by the same library.
    pub(crate) fn bare_rs256(&self) -> bool {
        let (input, signature) = self.token.rsplit_once('.').unwrap();
        jsonwebtoken::crypto::verify(signature, input.as_bytes(), &self.key, Algorithm::RS256).unwrap()
    }

    pub(crate) fn sanitize(&self) -> Box<Request> {
        sanitized(&self.headers, &self.target, &self.snapshot)
    }
}

fn sanitized(headers: &HeaderMap, target: &str, snapshot: &Snapshot) -> Box<Request> {
    let head = Head {
        method: &Method::GET,
        target: target.as_bytes(),
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
fn headers(token: &str, legacy_cookie: Option<&str>) -> HeaderMap {
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
    if let Some(token) = legacy_cookie {
        headers.insert("cookie", HeaderValue::from_str(&format!("theme=dark; session={token}; lang=en")).unwrap());
    }
    headers
}

fn write_config(folder: &Path, modulus: &str, logins: Option<Sent>) {
    let jwks =
        format!(r#"{{"keys":[{{"kty":"RSA","kid":"ins_1","use":"sig","alg":"RS256","n":"{modulus}","e":"AQAB"}}]}}"#);
    std::fs::write(folder.join("jwks.json"), jwks).unwrap();
    let mut config = format!(
        "listeners: [{{ address: 127.0.0.1:8080 }}]\n\
         upstreams: {{ app: {{ endpoints: [127.0.0.1:3000] }} }}\n\
         clerk: [{{ name: bench, issuer: {ISSUER}, jwks: {{ file: jwks.json }}, authorized_parties: [https://app.example.com] }}]\n\
         policies: [policy.yaml]\n"
    );
    if let Some(sent) = logins {
        let shadow = sent != Sent::BothUnshadowed;
        config.push_str(&format!(
            "state_dir: {}\n\
             legacy:\n  \
               credential: {{ header: authorization, scheme: Bearer, cookie: session }}\n  \
               verify: {{ jwt: {{ algorithms: [HS256], secret_file: legacy.secret, issuer: {LEGACY_ISSUER} }} }}\n\
             identity: {{ map: {{ file: map.jsonl }}, roles: {{ \"org:admin\": [admin] }} }}\n\
             rollout: {{ name: auth, source: file, percent: 50, unit: org, key_file: bucket.key, shadow: {{ enabled: {shadow} }} }}\n",
            folder.display()
        ));
        std::fs::write(folder.join("legacy.secret"), SECRET).unwrap();
        std::fs::write(folder.join("bucket.key"), [7; 32]).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(folder.join("bucket.key"), mode).unwrap();
        let map = format!(
            "{{\"kind\":\"user\",\"legacy\":\"{LEGACY_USER}\",\"clerk\":\"{USER}\",\"state\":\"linked\"}}\n\
             {{\"kind\":\"org\",\"legacy\":\"{LEGACY_ORG}\",\"clerk\":\"org_1\"}}\n"
        );
        std::fs::write(folder.join("map.jsonl"), map).unwrap();
    }
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
        r#"{{"azp":"https://app.example.com","exp":{},"fea":"o:things","fva":[3,-1],"iat":{now},"iss":"{ISSUER}","jti":"f2c0d8a4e91b","nbf":{},"o":{{"fpm":"3","id":"org_1","per":"read,write","rol":"admin","slg":"acme"}},"pla":"o:pro","sid":"sess_2GbDB4enNdCa5vS1zpC3Xzg9tK9","sts":"active","sub":"{USER}","v":2}}"#,
        now + 3600,
        now - 10,
    );
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn sign_legacy() -> String {
    let now = clock::now().unix_seconds();
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    let claims = format!(
        r#"{{"sub":"{LEGACY_USER}","iss":"{LEGACY_ISSUER}","org":"{LEGACY_ORG}","roles":["admin"],"iat":{now},"exp":{}}}"#,
        now + 3600,
    );
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag))
}
