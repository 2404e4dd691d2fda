//! Signing keys change under load, by time and by command, and nobody who keeps the published set for less than
//! `overlap` meets an assertion that it cannot verify. `CROSSGATE_ROTATION=600` goes on for that many seconds.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jsonwebtoken::decode_header;

use super::bed::{Bed, Running, until};
use super::issued::{ASSERTION, POLICY, Verifier, files, keys};
use super::issuer::token;
use super::origin::Answer;

/// What verifiers keep a set for; `overlap` is a second more.
const CACHE: Duration = Duration::from_secs(2);
const CLIENTS: usize = 4;

#[test]
fn no_assertion_fails_while_keys_rotate() {
    let timed = ASSERTION.replace("audience: app", "audience: app, ttl: 20s, overlap: 3s, rotate: 9s");
    let bed = Bed::new().policy(POLICY).section(&timed);
    let bed = bed.section("legacy: { verify: { jwt: { secret_file: legacy.secret } } }");
    files(&bed);
    let bed = bed.start();
    // The API says what it was told.
    bed.origin().answers(|asked| Answer::text(200, &asked.values("x-crossgate-assertion").concat()));
    let (is_over, verified) = (AtomicBool::new(false), AtomicUsize::new(0));
    let signers = Mutex::new(BTreeSet::new());
    let longer = std::env::var("CROSSGATE_ROTATION").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
    let end = Instant::now() + Duration::from_secs(longer);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (bed, is_over, verified, signers) = (&bed, &is_over, &verified, &signers);
                scope.spawn(move || {
                    for kid in verify_until(bed, client, is_over, verified) {
                        signers.lock().unwrap().insert(kid);
                    }
                })
            })
            .collect();
        // Refused while a key waits; between two that are not, the clock makes some too.
        let mut made = BTreeSet::new();
        until("three keys that sign", || {
            assert!(clients.iter().all(|client| !client.is_finished()), "a client failed");
            let _ = keys(bed.folder(), "rotate");
            let listed: serde_json::Value = serde_json::from_slice(&keys(bed.folder(), "show").stdout).unwrap();
            for key in listed["keys"].as_array().unwrap().iter().filter(|key| key["stage"] == "signing") {
                made.insert(key["kid"].as_str().unwrap().to_owned());
            }
            (made.len() > 3).then_some(())
        });
        while Instant::now() < end && clients.iter().all(|client| !client.is_finished()) {
            let _ = keys(bed.folder(), "rotate");
            std::thread::sleep(Duration::from_millis(100));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let (signers, verified) = (signers.lock().unwrap().len(), verified.load(Ordering::Relaxed));
    println!("{verified} assertions by {signers} keys");
    assert!(signers >= 3, "{signers} keys");
}

/// In turn somebody new, whose assertion is signed now, and somebody whose assertion is kept. The keys that signed.
fn verify_until(bed: &Running, client: usize, is_over: &AtomicBool, verified: &AtomicUsize) -> BTreeSet<String> {
    let mut signers = BTreeSet::new();
    let mut verifier = Verifier::fetch(bed);
    let person = |name: &str| token(name).org("org_1", "acme", "admin").sign();
    let known = person("user_ada");
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let person = if number % 2 == 0 { person(&format!("user_{client}_{number}")) } else { known.clone() };
        let answer = bed.get("/me/x").bearer(&person).send();
        assert_eq!(answer.outcome(), "200 ok");
        if verifier.fetched.elapsed() > CACHE {
            verifier = Verifier::fetch(bed);
        }
        let told = answer.text();
        if let Err(why) = verifier.verify(&told) {
            is_over.store(true, Ordering::Relaxed);
            panic!("{why}: {} s old, {:?}", verifier.fetched.elapsed().as_secs_f32(), decode_header(&told));
        }
        signers.insert(decode_header(&told).unwrap().kid.unwrap());
        verified.fetch_add(1, Ordering::Relaxed);
    }
    signers
}
