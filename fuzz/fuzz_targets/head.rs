//! The guard's grammar of a head against httparse: what the guard accepts, httparse reads, in the same way; and however
//! the bytes arrive, the verdict is the same.
#![no_main]

use crossgate::guard::grammar::{Head, Progress};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 8 * 1024;

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let whole = Head::new(LIMIT).feed(bytes);
    assert_eq!(in_pieces(bytes, 1), whole, "byte by byte");
    assert_eq!(in_pieces(bytes, usize::from(cut).max(1)), whole, "in pieces of {cut}");
    let Progress::Ended(length) = whole else { return };
    let head = &bytes[..length];

    let mut lines = [httparse::EMPTY_HEADER; 256];
    let mut request = httparse::Request::new(&mut lines);
    let read = request.parse(head).unwrap_or_else(|problem| panic!("{problem}: {}", head.escape_ascii()));
    assert_eq!(read, httparse::Status::Complete(length), "both see the same end");

    // The reading of the guard, spelt out: lines end with CRLF and nothing else, the first space and the first colon divide.
    let text = head.strip_prefix(b"\r\n").unwrap_or(head);
    let mut own = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut first = own.next().unwrap_or_default().split(|byte| *byte == b' ');
    assert_eq!(request.method.map(str::as_bytes), first.next());
    assert_eq!(request.path.map(str::as_bytes), first.next());
    let version: &[u8] = if request.version == Some(1) { b"HTTP/1.1" } else { b"HTTP/1.0" };
    assert_eq!((first.next(), first.next()), (Some(version), None));
    let mut coded = false;
    for line in request.headers.iter() {
        let own = own.next().unwrap_or_default();
        let colon = own.iter().position(|byte| *byte == b':').unwrap_or(own.len());
        assert_eq!(line.name.as_bytes(), &own[..colon]);
        assert_eq!(line.value, trimmed(own.get(colon + 1..).unwrap_or_default()));
        coded |= line.name.eq_ignore_ascii_case("transfer-encoding");
    }
    assert_eq!(own.next(), Some(&b""[..]), "no line is left out");
    let mut again = Head::new(LIMIT);
    again.feed(bytes);
    assert_eq!(again.is_transfer_coded(), coded);
});

fn trimmed(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

fn in_pieces(bytes: &[u8], size: usize) -> Progress {
    let mut head = Head::new(LIMIT);
    let mut before = 0;
    for piece in bytes.chunks(size) {
        match head.feed(piece) {
            Progress::More => before += piece.len(),
            Progress::Ended(within) => return Progress::Ended(before + within),
            refused @ Progress::Refused(_) => return refused,
        }
    }
    Progress::More
}
