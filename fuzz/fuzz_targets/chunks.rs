//! The guard's grammar of a chunked body against two readers: a strict one of its own, which must agree in everything,
//! and a lenient one as Pingora's, which must find the same end and the same data in whatever the guard accepts.
#![no_main]

use crossgate::guard::chunks::{Chunks, Progress};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let whole = Chunks::default().feed(bytes);
    assert_eq!(in_pieces(bytes, 1), whole, "byte by byte");
    assert_eq!(in_pieces(bytes, usize::from(cut).max(1)), whole, "in pieces of {cut}");
    let strict = strict(bytes);
    match whole {
        Progress::Ended(end) => {
            let (reference, data) = strict.unwrap_or_else(|| panic!("accepted: {}", bytes.escape_ascii()));
            assert_eq!(reference, end, "{}", bytes.escape_ascii());
            assert_eq!(lenient(bytes), Some((end, data)), "{}", bytes.escape_ascii());
        }
        Progress::More | Progress::Refused => assert!(strict.is_none(), "not accepted: {}", bytes.escape_ascii()),
    }
});

fn in_pieces(bytes: &[u8], size: usize) -> Progress {
    let mut chunks = Chunks::default();
    let mut before = 0;
    for piece in bytes.chunks(size) {
        match chunks.feed(piece) {
            Progress::More => before += piece.len(),
            Progress::Ended(within) => return Progress::Ended(before + within),
            Progress::Refused => return Progress::Refused,
        }
    }
    Progress::More
}

/// The next line without its CRLF, and where the one behind begins; no bare CR or LF may stand in it.
fn line(bytes: &[u8], from: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(from..)?;
    let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
    (rest.get(end..end + 2)? == b"\r\n").then(|| (&rest[..end], from + end + 2))
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// RFC 9112 7.1 line by line, with the guard's bounds; the end and the data of a whole body.
fn strict(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (mut at, mut data) = (0, Vec::new());
    loop {
        let (head, next) = line(bytes, at)?;
        let (size, extension) = match head.iter().position(|byte| *byte == b';') {
            Some(semicolon) => (&head[..semicolon], &head[semicolon + 1..]),
            None => (head, &[][..]),
        };
        if size.is_empty() || size.len() > 15 || !size.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        if extension.len() > 256 || !is_text(extension) {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        at = next;
        if size == 0 {
            break;
        }
        data.extend_from_slice(bytes.get(at..at.checked_add(size)?)?);
        at += size;
        if bytes.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    let trailers = at;
    loop {
        let (trailer, next) = line(bytes, at)?;
        at = next;
        if trailer.is_empty() {
            break;
        }
        let colon = trailer.iter().position(|byte| *byte == b':')?;
        if !is_token(&trailer[..colon]) || !is_text(&trailer[colon + 1..]) {
            return None;
        }
    }
    // The last CRLF is not counted by the guard before its LF.
    (at - trailers <= 16 * 1024 + 1).then_some((at, data))
}

/// Sizes as httparse reads them, lines up to any LF, trailers up to the empty line.
fn lenient(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (mut at, mut data) = (0, Vec::new());
    loop {
        let httparse::Status::Complete((length, size)) = httparse::parse_chunk_size(bytes.get(at..)?).ok()? else {
            return None;
        };
        at += length;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).ok()?;
        data.extend_from_slice(bytes.get(at..at.checked_add(size)?)?);
        at += size + 2;
    }
    loop {
        let rest = bytes.get(at..)?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        at += end + 1;
        if rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]).is_empty() {
            return Some((at, data));
        }
    }
}
