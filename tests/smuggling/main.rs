//! The corpus of hostile requests against the real binary: what the client sees, and what reaches the API.
//!
//! `corpus/` holds the cases as text that people can read and extend ([`corpus`] tells the form). All of them go through
//! one crossgate to one API that ignores the bodies of GET ([`recorder`]), so that whatever is smuggled in a body would
//! be recorded as a request. Over the whole run, the API must have seen what the cases say, and nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot set up its world has failed"
)]

#[allow(dead_code, reason = "made for the end-to-end tests")]
#[path = "../e2e/bed.rs"]
mod bed;
#[allow(dead_code, reason = "made for the end-to-end tests")]
#[path = "../e2e/issuer.rs"]
mod issuer;
#[allow(dead_code, reason = "made for the end-to-end tests")]
#[path = "../e2e/origin.rs"]
mod origin;
#[allow(dead_code, reason = "made for the end-to-end tests")]
#[path = "../e2e/wire.rs"]
mod wire;

mod corpus;
mod expect;
mod frames;
mod http1;
mod http2;
mod recorder;
mod rules;
mod text;

use std::net::TcpListener;

use bed::{Bed, Running, reserve};
use corpus::{Case, Kind};
use recorder::Recorder;
use wire::Address;

const POLICY: &str = r#"
routes:
  - { id: public, match: { path: "/public/{*rest}" }, access: public }
  - { id: me, match: { path: "/me/{*rest}" } }
  - { id: invoices, match: { method: [GET], path: "/orgs/{org}/invoices" }, require: { org: "{org}" } }
  - { id: files, match: { path: "/files/{*rest}" }, access: public }
  - { id: files.admin, match: { path: /files/admin } }
  - { id: search, match: { path: "/search/{*rest}" }, access: public }
  - { id: search.all, match: { path: "/search/{*rest}", query: { scope: all } } }
  - { id: tier.gold, match: { path: "/tier/{*rest}", header: { x-tier: gold } }, access: public }
"#;

const LIMITS: &str = "limits: { headers: 16KiB, header_count: 50, uri: 4KiB, body: 64KiB, keepalive: 10s, first_byte: 10s, header_read: 10s, body_read: 10s }";

/// What all cases go through.
struct World {
    bed: Running,
    recorder: Recorder,
    /// The listener that takes HTTP/2 without TLS.
    http2: Address,
    token: String,
}

impl World {
    fn start() -> Self {
        let recorder = Recorder::start();
        let held = [reserve(), reserve(), reserve()];
        let address = |listener: &TcpListener| Address::Tcp(listener.local_addr().unwrap());
        let [gate, admin, http2] = held.each_ref().map(address);
        drop(held);
        let bed = Bed::new()
            .policy(POLICY)
            .section(LIMITS)
            .section(&format!("listeners: [{{ address: \"{gate}\" }}, {{ address: \"{http2}\", h2c: true }}]"))
            .section(&format!("upstreams: {{ app: {{ endpoints: [\"{}\"] }} }}", recorder.address))
            .start_at(gate, admin);
        let token = issuer::token("user_ada").sign();
        Self { bed, recorder, http2, token }
    }

    /// Plays a case with all its ways of delivery, and a good request on a new connection behind each.
    fn play(&self, case: &Case) -> Result<(), String> {
        let case = case.with_token(&self.token);
        match case.kind {
            Kind::Http1 => http1::play(self, &case),
            Kind::Http2 => http2::play(self, &case),
        }
    }
}

/// Fails with everything that differs, not with the first.
fn play_all(cases: &[Case]) {
    let world = World::start();
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| world.play(case).err().map(|what| format!("{} ({}): {what}", case.place, case.id)))
        .collect();
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
    let smuggled: Vec<String> =
        world.recorder.all().iter().map(recorder::Seen::line).filter(|line| line.contains("smuggled")).collect();
    assert!(smuggled.is_empty(), "requests that nobody sent: {smuggled:?}");
    assert!(world.bed.access_lines(1).iter().all(|line| line["status"] != 500), "no case is a bug's");
}

/// Only the cases whose id has this in it: `CASE=chunks cargo test --test smuggling`.
fn chosen(cases: Vec<Case>) -> Vec<Case> {
    match std::env::var("CASE") {
        Ok(part) => cases.into_iter().filter(|case| case.id.contains(&part)).collect(),
        Err(_) => cases,
    }
}

#[test]
fn every_http1_case_ends_as_the_corpus_says() {
    play_all(&chosen(corpus::read(Kind::Http1)));
}

#[test]
fn every_http2_case_ends_as_the_corpus_says() {
    play_all(&chosen(corpus::read(Kind::Http2)));
}

#[test]
fn the_corpus_is_large_and_covers_every_rule() {
    let (http1, http2) = (corpus::read(Kind::Http1), corpus::read(Kind::Http2));
    assert!(http1.len() >= 250, "{} cases of HTTP/1", http1.len());
    assert!(http2.len() >= 60, "{} cases of HTTP/2", http2.len());
    rules::check(http1.iter().chain(&http2));
}
