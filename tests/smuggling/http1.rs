//! Plays an HTTP/1 case: raw bytes in, answers and the API's record compared.

use super::World;
use super::corpus::Case;
use super::expect::{Answer, compare};
use super::recorder::Seen;
use super::wire::Wire;

pub(crate) fn play(world: &World, case: &Case) -> Result<(), String> {
    let bytes = case.bytes();
    deliver(world, case, std::slice::from_ref(&bytes.as_slice()))?;
    if case.expect.split {
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        deliver(world, case, &single).map_err(|what| format!("byte by byte: {what}"))?;
        for at in 1..bytes.len() {
            let (one, two) = bytes.split_at(at);
            deliver(world, case, &[one, two]).map_err(|what| format!("split at {at}: {what}"))?;
        }
    }
    Ok(())
}

fn deliver(world: &World, case: &Case, pieces: &[&[u8]]) -> Result<(), String> {
    let from = world.recorder.count();
    let outcome = exchange(world, case, pieces);
    // On a new connection, so that what was queued before it has come to its end.
    let behind = good_neighbour(world, case);
    let seen = settle(world, case, from, &behind)?;
    outcome?;
    compare(&case.expect.upstream, &seen)
}

/// What reached the API, without the good request that closes each case.
pub(crate) fn settle(
    world: &World,
    case: &Case,
    from: usize,
    behind: &Result<String, String>,
) -> Result<Vec<Seen>, String> {
    let line = behind.clone()?;
    let mut seen = world.recorder.since(from);
    let neighbours = seen.iter().filter(|seen| seen.line() == line).count();
    if neighbours != 1 {
        return Err(format!("the request behind it reached the API {neighbours} times"));
    }
    // What was cut off is recorded when its connection ends: that of the case before may come late.
    let is_of_another = |seen: &Seen| !seen.line().contains(&*case.id);
    seen.retain(|seen| seen.line() != line && !(seen.cut && (case.expect.cut || is_of_another(seen))));
    Ok(seen)
}

pub(crate) fn good_neighbour(world: &World, case: &Case) -> Result<String, String> {
    let target = format!("/public/after-{}", case.id);
    let mut wire = Wire::connect(&world.bed.gate);
    wire.write(format!("GET {target} HTTP/1.1\r\nHost: api.test\r\n\r\n").as_bytes());
    match wire.response("GET") {
        Some(answer) if answer.status == 200 => Ok(format!("GET {target} HTTP/1.1")),
        Some(answer) => Err(format!("behind it, a good request is answered {}", answer.outcome())),
        None => Err("behind it, a good request is not answered".to_owned()),
    }
}

fn exchange(world: &World, case: &Case, pieces: &[&[u8]]) -> Result<(), String> {
    let mut wire = Wire::connect(&world.bed.gate);
    for piece in pieces {
        // Closed while it is still sent to: the answer tells why.
        if !wire.write(piece) {
            break;
        }
    }
    let method = if pieces.concat().trim_ascii_start().starts_with(b"HEAD ") { "HEAD" } else { "GET" };
    let mut closing = false;
    for expected in &case.expect.answers {
        let Answer::Is(status, code) = expected else {
            wire.close_write();
            break;
        };
        let answer = wire.response(method).ok_or_else(|| format!("closed instead of {status} {code}"))?;
        let bodiless = method == "HEAD" || answer.status == 204;
        if answer.status != *status || (!bodiless && !code.split('|').any(|code| answer.code() == code)) {
            return Err(format!("{} instead of {status} {code}", answer.outcome()));
        }
        if answer.header("server").is_some() {
            return Err("the answer says what crossgate is built on".to_owned());
        }
        closing = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    }
    if case.expect.closing && !closing {
        return Err("the answer does not say that the connection ends".to_owned());
    }
    if case.expect.open {
        wire.write(b"GET /public/open HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n");
        let status = wire.response("GET").map(|answer| answer.status);
        if status != Some(200) {
            return Err(format!("the connection does not go on: {status:?}"));
        }
    }
    wire.close_write();
    let behind = wire.rest();
    if behind.is_empty() { Ok(()) } else { Err(format!("and then {}", behind.escape_ascii())) }
}
