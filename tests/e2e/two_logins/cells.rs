//! The decision table through the binary: each of its cells by a request that brings it about.
//!
//! A cell's inputs are made from outside: the credentials that are sent and where, people of each arm, routes of each
//! class, key servers that die, probes that fail, and orders to the rollout. All 5,472 cells can be produced so:
//!
//! | Clerk's health | is | cells |
//! |---|---|---|
//! | ok | its key server answers | all |
//! | stale | its key server died, and its keys are older than `privileged_max_stale` | all |
//! | outage, a Clerk credential unverifiable | its key server was dead from the start | all |
//! | outage, the others | keys are at hand, and the probe has no answer | all |
//!
//! Not told apart from outside: the arm of somebody whom no credential proves. Such requests carry credentials that name
//! a person of the cell's arm, so that a gate that believed them would show; the table has one outcome for the three.
//! `rolled_auto` is an operator's `rollback` here: what trips by itself comes later.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::super::bed::{Bed, Running, until};
use super::super::issuer::{Issuer, Keys, token};
use super::super::origin::{Answer, Origin};
use super::super::wire::{Call, Response};
use super::{
    By, LEGACY_ISSUER, answer_to, legacy, linked, order, saw, seen, two, unknown_key, until_keys_are_stale, user, with,
};

/// How many requests are on their way at once.
const CLIENTS: usize = 4;

/// HMAC for what can be verified, and a key set that cannot be fetched for what cannot.
const JWT: &str = r#"legacy:
  credential: { header: authorization, scheme: Bearer, cookie: session }
  verify:
    jwt:
      algorithms: [HS256, RS256]
      secret_file: legacy.secret
      issuer: "https://login.example.com"
      jwks: { url: "http://127.0.0.1:9/keys", allow_private: true }"#;

/// Everybody is moved but those on a list and those whom the map holds.
const ROLLOUT: &str = r#"{ source: api, percent: 100, unit: user, limits: { max_step: 100 },
  include: { users: ["listed"] }, exclude: { users: ["out"] } }"#;

/// A row of the table.
#[derive(Debug, Clone)]
struct Cell {
    legacy: String,
    clerk: String,
    same: String,
    explicit: String,
    arm: String,
    class: String,
    health: String,
    guard: String,
    verdict: String,
    outcome: String,
    detail: String,
}

fn table() -> Vec<Cell> {
    let text = include_str!("../../conformance/decision/decision_table.csv");
    let cells: Vec<Cell> = text
        .lines()
        .skip(1)
        .map(|line| {
            let mut columns = line.split(',').map(str::to_owned);
            let mut next = || columns.next().unwrap();
            Cell {
                legacy: next(),
                clerk: next(),
                same: next(),
                explicit: next(),
                arm: next(),
                class: next(),
                health: next(),
                guard: next(),
                verdict: next(),
                outcome: next(),
                detail: next(),
            }
        })
        .collect();
    assert_eq!(cells.len(), 5472);
    cells
}

/// Somebody, by their two ids; empty where they have none.
#[derive(Debug, Clone, Copy)]
struct Someone {
    legacy: &'static str,
    clerk: &'static str,
}

impl Someone {
    /// `identity.canonical` is `legacy`.
    fn subject(self) -> &'static str {
        if self.legacy.is_empty() { self.clerk } else { self.legacy }
    }
}

const OUT: Someone = Someone { legacy: "out", clerk: "user_out" };
const ALONE: Someone = Someone { legacy: "alone", clerk: "" };
const IN: Someone = Someone { legacy: "in", clerk: "user_in" };
const LISTED: Someone = Someone { legacy: "listed", clerk: "user_listed" };
const SEALED: Someone = Someone { legacy: "sealed", clerk: "user_sealed" };
const NATIVE: Someone = Someone { legacy: "", clerk: "user_native" };
/// Another person than all of these, in the Clerk arm.
const OTHER: Someone = Someone { legacy: "other", clerk: "user_other" };
const OTHER_SEALED: Someone = Someone { legacy: "gone", clerk: "user_gone" };
/// Not in the map.
const STRANGER: Someone = Someone { legacy: "", clerk: "user_stranger" };

fn map() -> String {
    let everybody = [OUT, IN, LISTED, OTHER].map(|person| linked(person.legacy, person.clerk)).concat();
    let pinned = [SEALED, OTHER_SEALED].map(|person| user(person.legacy, person.clerk, "sealed")).concat();
    everybody + &pinned + &user(ALONE.legacy, "", "legacy_only") + &user("", NATIVE.clerk, "clerk_native")
}

/// Whom the two credentials of a request name.
#[derive(Debug, Clone, Copy)]
struct Pair {
    legacy: Someone,
    clerk: Someone,
}

/// The pairs of people by which a cell can be brought about: the first always, the others where they can.
fn pairs(cell: &Cell) -> Vec<Pair> {
    let people: &[Someone] = match cell.arm.as_str() {
        "legacy" => &[OUT, ALONE],
        "clerk" => &[IN, LISTED],
        _ => &[SEALED, NATIVE],
    };
    let mut pairs = Vec::new();
    for person in people {
        let others: &[Someone] = if cell.same == "diff" { &[OTHER, OTHER_SEALED, STRANGER] } else { &[*person] };
        for other in others {
            let pair = Pair { legacy: *person, clerk: *other };
            let has_legacy = cell.legacy == "absent" || !pair.legacy.legacy.is_empty();
            let has_clerk = cell.clerk == "absent" || !pair.clerk.clerk.is_empty();
            if has_legacy && has_clerk {
                pairs.push(pair);
            }
        }
    }
    pairs
}

/// How the legacy side is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verifier {
    Jwt,
    Introspection,
}

impl Verifier {
    /// A credential of that quality, which names this person.
    fn credential(self, quality: &str, person: Someone) -> Option<String> {
        let id = person.legacy;
        Some(match (self, quality) {
            (_, "absent") => return None,
            (Self::Jwt, "valid") => legacy(id).sign(),
            // Not by its signature: a row of those is a flood.
            (Self::Jwt, "invalid") => legacy(id).expired().sign(),
            (Self::Jwt, _) => token(id).claim("iss", json!(LEGACY_ISSUER)).by_second_key().sign(),
            (Self::Introspection, quality) => format!("{quality}-{id}"),
        })
    }
}

fn session_of(quality: &str, person: Someone) -> Option<String> {
    let session = token(person.clerk);
    Some(match quality {
        "absent" => return None,
        "valid" => session.sign(),
        "expired" => session.expired().sign(),
        // What no key could make good.
        "invalid" => session.claim("sts", json!("pending")).sign(),
        _ => unknown_key(person.clerk).sign(),
    })
}

/// The server that is asked about opaque tokens: `valid-ID`, `invalid-ID`, and whatever else it cannot answer.
fn introspection() -> Origin {
    let server = Origin::start();
    server.answers(|request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let token = body.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap_or_default().to_owned();
        let answer = match token.split_once('-') {
            Some(("valid", id)) => json!({ "active": true, "sub": id }),
            Some(("invalid", _)) => json!({ "active": false }),
            // Not 503, of which a few in a row make it not be asked again.
            _ => return Answer::text(500, "no"),
        };
        Answer::text(200, &answer.to_string()).with("content-type", "application/json")
    });
    server
}

fn path(cell: &Cell) -> &'static str {
    match cell.class.as_str() {
        "public" => "/public/1",
        "protected" => "/me/1",
        _ => "/vault/1",
    }
}

/// One request that brings a cell about.
fn request(bed: &Running, verifier: Verifier, cell: &Cell, pair: Pair) -> Call {
    let old = verifier.credential(&cell.legacy, pair.legacy);
    let new = session_of(&cell.clerk, pair.clerk);
    let (old_by, new_by) = match cell.explicit.as_str() {
        "L" => (By::Header, By::Cookie),
        "C" => (By::Cookie, By::Header),
        _ => (By::Cookie, By::Cookie),
    };
    with(bed.get(path(cell)), old.as_deref().map(|token| (token, old_by)), new.as_deref().map(|token| (token, new_by)))
}

/// What is wrong with an answer, if anything is.
fn judge(cell: &Cell, pair: Pair, answer: &Response) -> Result<(), String> {
    let must = |holds: bool, what: String| if holds { Ok(()) } else { Err(what) };
    let hint = answer.header("x-crossgate-upgrade").unwrap_or_default();
    let has_hint = if cell.detail == "upgrade_hint" { "clerk" } else { "" };
    must(hint == has_hint, format!("x-crossgate-upgrade is {hint:?}"))?;
    if cell.verdict == "DENY" {
        let code = &cell.detail;
        let expected = format!("{} {code}", cell.outcome);
        must(answer.outcome() == expected, format!("{} and not {expected}", answer.outcome()))?;
        must((answer.status == 401) == answer.header("www-authenticate").is_some(), "www-authenticate".to_owned())?;
        return must((answer.status == 503) == answer.header("retry-after").is_some(), "retry-after".to_owned());
    }
    must(answer.outcome() == "200 ok", format!("{} and not 200 for {}", answer.outcome(), cell.outcome))?;
    let (method, person) = match cell.outcome.as_str() {
        "L" => ("legacy", Some(pair.legacy)),
        "C" => ("clerk", Some(pair.clerk)),
        _ => ("none", None),
    };
    let headers = [
        ("x-crossgate-method", method),
        ("x-crossgate-subject", person.map_or("", Someone::subject)),
        ("x-crossgate-legacy-user", person.map_or("", |person| person.legacy)),
        ("x-crossgate-clerk-user", person.map_or("", |person| person.clerk)),
    ];
    for (name, expected) in headers {
        let found = saw(answer, name);
        must(found == expected, format!("{name} is {found:?} and not {expected:?}"))?;
    }
    if person.is_some() && cell.same != "diff" {
        let arm = match (cell.arm.as_str(), cell.guard.as_str(), cell.class.as_str()) {
            ("legacy", _, _) | ("clerk", "rolled_op", _) => "legacy",
            ("clerk", "rolled_auto", class) if class != "privileged" => "legacy",
            _ => "clerk",
        };
        let found = saw(answer, "x-crossgate-arm");
        must(found == arm, format!("x-crossgate-arm is {found:?} and not {arm:?}"))?;
    }
    let clerks = seen(answer, "cookie").into_iter().any(|line| line.contains("__session"));
    must(!clerks, "Clerk's cookie reached the API".to_owned())
}

/// Sends what these cells need, under each guard in turn; how many distinct cells that were.
fn drive(bed: &Running, verifier: Verifier, cells: &[Cell]) -> usize {
    let driven = Mutex::new(HashSet::new());
    let problems = Mutex::new(Vec::new());
    for (guard, action) in [
        ("normal", None),
        ("frozen", Some("freeze")),
        ("rolled_auto", Some("rollback")),
        ("rolled_op", Some("confirm")),
    ] {
        if let Some(action) = action {
            order(bed, action);
        }
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if cell.guard != guard {
                            continue;
                        }
                        for pair in pairs(cell) {
                            let answer = answer_to(&request(bed, verifier, cell, pair));
                            if let Err(problem) = judge(cell, pair, &answer) {
                                problems.lock().unwrap().push(format!("{problem}\n    {cell:?}\n    {pair:?}"));
                            }
                        }
                        driven.lock().unwrap().insert(format!("{cell:?}"));
                    }
                });
            }
        });
    }
    let problems = problems.into_inner().unwrap();
    let shown: Vec<&str> = problems.iter().take(20).map(String::as_str).collect();
    assert!(problems.is_empty(), "{} answers are not the table's:\n{}", problems.len(), shown.join("\n"));
    driven.into_inner().unwrap().len()
}

/// The part of the table that a bed brings about.
#[derive(Debug, Clone, Copy)]
enum Part {
    GoodHealth,
    StaleKeys,
    NoKeys,
    NoIssuance,
}

impl Part {
    const ALL: [Self; 4] = [Self::GoodHealth, Self::StaleKeys, Self::NoKeys, Self::NoIssuance];

    fn holds(self, cell: &Cell) -> bool {
        match self {
            Self::GoodHealth => cell.health == "ok",
            Self::StaleKeys => cell.health == "stale",
            // What is absent or bad needs no key.
            Self::NoKeys => cell.health == "outage" && cell.clerk != "expired",
            Self::NoIssuance => cell.health == "outage" && cell.clerk != "unverifiable",
        }
    }

    fn cells(self) -> Vec<Cell> {
        chosen(|cell| self.holds(cell))
    }
}

fn chosen(belongs: impl Fn(&Cell) -> bool) -> Vec<Cell> {
    table().into_iter().filter(|cell| belongs(cell)).collect()
}

fn bed() -> Bed {
    two(&map(), ROLLOUT).section(JWT)
}

const YOUNG: &str = "jwks: { url: \"{keys}\", allow_private: true, refresh: 1s, privileged_max_stale: 1s }";

fn introspecting() -> (Origin, Bed) {
    let server = introspection();
    let verify = format!("{{ introspection: {{ url: \"http://{}/introspect\" }} }}", server.address);
    let credential = "{ header: authorization, scheme: Bearer, cookie: session }";
    let bed = two(&map(), ROLLOUT).section(&format!("legacy: {{ credential: {credential}, verify: {verify} }}"));
    (server, bed)
}

#[test]
fn no_cell_is_left_out() {
    let missed = chosen(|cell| !Part::ALL.iter().any(|part| part.holds(cell)));
    assert!(missed.is_empty(), "{missed:?}");
    assert!(table().iter().all(|cell| !pairs(cell).is_empty()), "each has people that bring it about");
}

#[test]
fn cells_of_good_health() {
    let bed = bed().start_on_sockets();
    assert_eq!(drive(&bed, Verifier::Jwt, &Part::GoodHealth.cells()), 1656);
}

#[test]
fn cells_of_stale_keys() {
    let bed = bed().clerk_option(YOUNG).start_on_sockets();
    let known = token(NATIVE.clerk).sign();
    assert_eq!(bed.get("/me/1").bearer(&known).send().outcome(), "200 ok");
    bed.issuer().kill();
    until_keys_are_stale(&bed, &known);
    assert_eq!(drive(&bed, Verifier::Jwt, &Part::StaleKeys.cells()), 2160);
}

#[test]
fn cells_without_keys() {
    let bed = bed();
    bed.issuer().kill();
    let bed = bed.start_on_sockets();
    assert_eq!(drive(&bed, Verifier::Jwt, &Part::NoKeys.cells()), 1152);
}

/// Also what has no cell: keys that are held and young make a good token as good as ever, and one with an unknown key
/// stale.
#[test]
fn cells_while_clerk_issues_nothing() {
    let frontend = Issuer::start();
    frontend.serves(Keys::Status(429));
    let probe = format!("probe: {{ url: \"{}\", interval: 1s }}", frontend.url());
    let bed = bed().clerk_option(&probe).start_on_sockets();
    assert_eq!(bed.get("/me/1").bearer(&token(NATIVE.clerk).sign()).send().outcome(), "200 ok");
    let expired = token(NATIVE.clerk).expired().sign();
    until("the probe's word", || {
        (bed.get("/me/1").bearer(&expired).send().outcome() == "503 clerk_outage").then_some(())
    });
    bed.issuer().kill();
    let without = |cell: &Cell| matches!((&*cell.clerk, &*cell.health), ("valid", "ok") | ("unverifiable", "stale"));
    let cells = chosen(|cell| Part::NoIssuance.holds(cell) || without(cell));
    assert_eq!(drive(&bed, Verifier::Jwt, &cells), 1152 + 504 + 504);
}

#[test]
fn cells_of_opaque_legacy_tokens() {
    let (_server, bed) = introspecting();
    let bed = bed.start_on_sockets();
    assert_eq!(drive(&bed, Verifier::Introspection, &Part::GoodHealth.cells()), 1656);
}

#[test]
fn cells_of_opaque_legacy_tokens_without_keys() {
    let (_server, bed) = introspecting();
    bed.issuer().kill();
    let bed = bed.start_on_sockets();
    assert_eq!(drive(&bed, Verifier::Introspection, &Part::NoKeys.cells()), 1152);
}

/// Both on purpose, each in a header of its own: a bad one is final, legacy first; two good ones count as none explicit.
#[test]
fn two_headers_settle_to_a_cell() {
    let own = JWT.replace("header: authorization, scheme: Bearer, cookie: session", "header: x-legacy-token");
    let bed = two(&map(), ROLLOUT).section(&own).start_on_sockets();
    let settled = |cell: &Cell| {
        let is_void = cell.legacy == "invalid" || (cell.legacy == "valid" && cell.arm == "pinned");
        match (is_void, &*cell.clerk) {
            (true, _) => "L",
            (false, "invalid" | "expired") => "C",
            (false, _) => "none",
        }
    };
    let cells = chosen(|cell| {
        let has_both = cell.legacy != "absent" && cell.clerk != "absent";
        cell.health == "ok" && cell.guard == "normal" && has_both && cell.explicit == settled(cell)
    });
    let mut problems = Vec::new();
    for cell in &cells {
        for pair in pairs(cell) {
            let old = Verifier::Jwt.credential(&cell.legacy, pair.legacy).unwrap();
            let new = session_of(&cell.clerk, pair.clerk).unwrap();
            let answer = answer_to(&bed.get(path(cell)).header("x-legacy-token", &old).bearer(&new));
            problems.extend(
                judge(cell, pair, &answer).err().map(|problem| format!("{problem}\n    {cell:?}\n    {pair:?}")),
            );
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert_eq!(cells.len(), 99);
}
