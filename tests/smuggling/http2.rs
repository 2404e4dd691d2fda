//! Plays an HTTP/2 case: frames in, the stream's outcome and the API's record compared.
//!
//! The lines of a case are steps:
//!
//! ```text
//! REQUEST [end] GET /path   HEADERS with the four usual pseudo-headers; field lines may follow
//! HEADERS [end]             HEADERS with the field lines that follow, and no others
//! TRAILERS                  the same, on the same stream, as its end
//! name: value               a field line, sent as it is written
//! DATA [end] text           a DATA frame
//! FRAME 6 0 0 payload       kind, flags, stream, payload; `1000x FRAME …` sends it so often
//! STREAM                    what follows belongs to the next stream; the last one's outcome counts
//! RAPID 1000                so many streams, each opened and reset
//! RAW bytes                 bytes instead of the preface and SETTINGS; only at the start
//! BYTES                     all is sent byte by byte
//! ```

use super::World;
use super::corpus::Case;
use super::expect::{Answer, compare};
use super::frames::{self, Connection, Outcome, PREFACE};
use super::http1::settle;
use super::text::bytes;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A HEADERS frame that is still taking field lines.
struct Open {
    end: bool,
    fields: Fields,
}

struct Script {
    sent: Vec<u8>,
    stream: u32,
    open: Option<Open>,
    bytewise: bool,
}

impl Script {
    fn flush(&mut self) {
        if let Some(Open { end, fields }) = self.open.take() {
            self.sent.extend(frames::headers(self.stream, end, &fields));
        }
    }

    fn push(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.flush();
        self.sent.extend(frames::frame(kind, flags, stream, payload));
    }

    fn step(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (end, after) = match rest.strip_prefix("end") {
            Some(after) => (true, after.strip_prefix(' ').unwrap_or(after)),
            None => (false, rest),
        };
        match word {
            "REQUEST" => {
                self.flush();
                let (method, path) = after.split_once(' ').unwrap();
                let fields = [(":method", method), (":scheme", "http"), (":authority", "api.test"), (":path", path)];
                let fields = fields.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
                self.open = Some(Open { end, fields });
            }
            "HEADERS" => {
                self.flush();
                self.open = Some(Open { end, fields: Vec::new() });
            }
            "TRAILERS" => {
                self.flush();
                self.open = Some(Open { end: true, fields: Vec::new() });
            }
            "DATA" => self.push(frames::DATA, u8::from(end), self.stream, &bytes(after)),
            "STREAM" => {
                self.flush();
                self.stream += 2;
            }
            "RAPID" => {
                self.flush();
                for _ in 0..rest.parse::<u32>().unwrap() {
                    self.step("REQUEST end GET /me/rapid");
                    let stream = self.stream;
                    self.push(frames::RST_STREAM, 0, stream, &[0, 0, 0, 8]);
                    self.stream += 2;
                }
            }
            "FRAME" => self.frame(1, rest),
            "RAW" => self.sent = bytes(rest),
            "BYTES" => self.bytewise = true,
            times if times.ends_with('x') && rest.starts_with("FRAME ") => {
                self.frame(times.trim_end_matches('x').parse().unwrap(), &rest["FRAME ".len()..]);
            }
            _ => {
                // A pseudo-header has its colon in front.
                let colon = line[1..].find(':').unwrap_or_else(|| panic!("what is {line}?")) + 1;
                let value = line[colon + 1..].strip_prefix(' ').unwrap_or(&line[colon + 1..]);
                let repeated = bytes(&line[..colon]);
                let open = self.open.as_mut().unwrap_or_else(|| panic!("{line} belongs to no HEADERS"));
                open.fields.push((repeated, bytes(value)));
            }
        }
    }

    fn frame(&mut self, times: usize, rest: &str) {
        let mut columns = rest.splitn(4, ' ');
        let mut number = || columns.next().unwrap().parse::<u32>().unwrap();
        let (kind, flags, stream) = (number(), number(), number());
        let payload = bytes(columns.next().unwrap_or(""));
        let (kind, flags) = (u8::try_from(kind).unwrap(), u8::try_from(flags).unwrap());
        for _ in 0..times {
            self.push(kind, flags, stream, &payload);
        }
    }
}

fn script(lines: &[String]) -> Script {
    let mut script = Script { sent: Vec::new(), stream: 1, open: None, bytewise: false };
    script.sent.extend_from_slice(PREFACE);
    script.sent.extend(frames::frame(frames::SETTINGS, 0, 0, &[]));
    lines.iter().for_each(|line| {
        // `64x name: value` is a field line so often.
        match line.split_once("x ").and_then(|(times, field)| Some((times.parse::<usize>().ok()?, field))) {
            Some((times, field)) if !field.starts_with("FRAME ") => (0..times).for_each(|_| script.step(field)),
            _ => script.step(line),
        }
    });
    script.flush();
    script
}

pub(crate) fn play(world: &World, case: &Case) -> Result<(), String> {
    let script = script(&case.send);
    let from = world.recorder.count();
    let outcome = exchange(world, &script);
    let behind = good_neighbour(world, case);
    let seen = settle(world, case, from, &behind)?;
    let code = |body: &[u8]| {
        let json = serde_json::from_slice::<serde_json::Value>(body).ok();
        json.and_then(|json| Some(json["code"].as_str()?.to_owned())).unwrap_or_else(|| "ok".to_owned())
    };
    let expected = &case.expect.answers[0];
    let fits = match (&outcome, expected) {
        (Outcome::Answer { status, body }, Answer::Is(wanted, name)) => {
            status == wanted && (code(body) == *name || name == "own")
        }
        (Outcome::Reset, Answer::Reset | Answer::Close) => true,
        _ => false,
    };
    if !fits {
        let came = match &outcome {
            Outcome::Answer { status, body } => format!("{status} {}", code(body)),
            other => format!("{other:?}"),
        };
        let seen: Vec<String> = seen.iter().map(super::recorder::Seen::line).collect();
        return Err(format!("{came} instead of {expected:?}; at the API: {seen:?}"));
    }
    compare(&case.expect.upstream, &seen)
}

fn exchange(world: &World, script: &Script) -> Outcome {
    let mut connection = Connection::open(&world.http2);
    let size = if script.bytewise { 1 } else { 64 * 1024 };
    for piece in script.sent.chunks(size) {
        if !connection.write(piece) {
            break;
        }
    }
    connection.outcome(script.stream)
}

/// A good request on a new connection.
fn good_neighbour(world: &World, case: &Case) -> Result<String, String> {
    let target = format!("/public/after-{}", case.id);
    let request = script(&[format!("REQUEST end GET {target}")]);
    match exchange(world, &request) {
        Outcome::Answer { status: 200, .. } => Ok(format!("GET {target} HTTP/1.1")),
        other => Err(format!("behind it, a good request comes to {other:?}")),
    }
}
