//! What tokens for the API cost: `cargo bench --bench tokens`. At most 2 µs where one is kept; `signed` is what a miss
//! costs.

#![expect(clippy::unwrap_used, reason = "a bench that cannot set up its world has nothing to measure")]

use std::sync::Arc;
use std::time::Duration;

use crossgate::clock;
use crossgate::identity::legacy::{HmacAlgorithm, Secret};
use crossgate::identity::{Facts, Org, Workspace, Workspaces};
use crossgate::issuer::{Algorithm, Assertion, AssertionSpec, Claims, Mint, MintSpec, Ring, Schedule, SigningKey};
use divan::{Bencher, black_box};
use serde_json::json;

fn main() {
    divan::main();
}

fn person(number: u64) -> Facts {
    Facts {
        subject: format!("7f3e9a10-6b1c-4a52-9f6e-{number:012}"),
        clerk_user: Some("user_2abcDEFghiJKLmnoPQRstuVWXyz".to_owned()),
        legacy_user: Some(format!("7f3e9a10-6b1c-4a52-9f6e-{number:012}")),
        legacy_org: Some("acme".to_owned()),
        canonical_org: Some("acme".to_owned()),
        org: Some(Org { id: "org_2ZZtop".to_owned(), role: Some("org:admin".to_owned()), ..Org::default() }),
        workspaces: Workspaces::Known(vec![Workspace { id: "w1".to_owned(), role: None }]),
        ..Facts::default()
    }
}

fn mint() -> Mint {
    let claims = json!({ "sub": "{legacy_user}", "org": "{legacy_org}", "role": "{role}", "ws": "{workspaces}" });
    let claims = claims.as_object().unwrap().clone().into_iter().collect();
    let secret = Secret::from_file("bench".into(), &[b'x'; 32]).unwrap();
    Mint::new(MintSpec {
        key: SigningKey::hmac(HmacAlgorithm::Hs256, &secret),
        kid: None,
        ttl: Duration::from_secs(3600),
        issuer: None,
        audience: Vec::new(),
        claims: Claims::compile(claims, |_, _| {}),
        roles: [("org:admin".into(), vec!["admin".into()])].into(),
    })
}

fn assertion(algorithm: Algorithm, folder: &tempfile::TempDir) -> Assertion {
    let ttl = Duration::from_secs(3600);
    let schedule = Schedule { algorithm, rotate: None, overlap: Duration::from_secs(900), ttl };
    let spec = AssertionSpec {
        issuer: "https://gate.internal".into(),
        audience: "app".into(),
        ttl,
        schedule,
        prefix: "/.crossgate".into(),
    };
    let assertion = Assertion::new(spec, Arc::new(Ring::new(folder.path().to_owned())));
    assertion.ring().tend(assertion.schedule(), clock::now()).unwrap();
    assertion
}

#[divan::bench]
fn mint_kept(bencher: Bencher<'_, '_>) {
    let (mint, facts) = (mint(), person(1));
    bencher
        .bench_local(|| black_box(mint.lacks(&facts).is_none() && mint.token(black_box(&facts), clock::now()).is_ok()));
}

#[divan::bench(args = [Algorithm::Es256, Algorithm::Rs256])]
fn assertion_kept(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let folder = tempfile::tempdir().unwrap();
    let (assertion, facts) = (assertion(algorithm, &folder), person(1));
    bencher.bench_local(|| black_box(assertion.token(black_box(&facts), clock::now())));
}

#[divan::bench(sample_count = 20, sample_size = 20)]
fn mint_signed(bencher: Bencher<'_, '_>) {
    let (mint, mut number) = (mint(), 0);
    bencher.bench_local(|| {
        number += 1;
        black_box(mint.token(&person(number), clock::now()))
    });
}

#[divan::bench(args = [Algorithm::Es256, Algorithm::Rs256], sample_count = 20, sample_size = 20)]
fn assertion_signed(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let folder = tempfile::tempdir().unwrap();
    let (assertion, mut number) = (assertion(algorithm, &folder), 0);
    bencher.bench_local(|| {
        number += 1;
        black_box(assertion.token(&person(number), clock::now()))
    });
}
