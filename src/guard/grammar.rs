//! The strict grammar of an HTTP/1 head, on the bytes before any parser sees them (RFC 9112).
//!
//! Pingora's parser is lenient where other servers differ: it takes a bare line feed for a line's end and escapes
//! illegal bytes of the target instead of refusing them. What two parsers read in two ways is refused here, byte by
//! byte, so that what passes can only be read in one. Owns the form of a head and nothing of its meaning; keeps no
//! bytes; knows no stream.

/// Why bytes are no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Not `method SP target SP HTTP/1.x CRLF`.
    RequestLine,
    /// A byte that no target has; other parsers would escape, cut or decode it.
    Target,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    Version,
    /// A line feed without carriage return, or the other way round.
    LineEnd,
    /// A line that begins with a space: the obsolete folding of a value over two lines.
    Folded,
    /// An empty name, a byte that no name has, or a space before the colon.
    Name,
    /// A control character in a value.
    Value,
    /// More bytes or lines than any head may have.
    TooLarge,
}

/// What is known after some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The head goes on.
    More,
    /// The head ended after this many of the bytes just given.
    Ended(usize),
    Refused(Malformed),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the request line; one empty line is allowed there (RFC 9112 2.2).
    Start,
    StartLf,
    MethodStart,
    Method,
    TargetStart,
    Target,
    /// So many bytes of `HTTP/1.` have come.
    Version(usize),
    VersionDigit,
    LineCr,
    LineLf,
    LineStart,
    Name,
    Value,
    ValueLf,
    EndLf,
}

const VERSION: &[u8] = b"HTTP/1.";
/// Header lines; above, the parser below would refuse with another answer. `limits.header_count` is lower.
const MAX_LINES: usize = 255;

/// Follows one head.
#[derive(Debug, Clone)]
pub struct Head {
    at: At,
    seen: usize,
    lines: usize,
    limit: usize,
    /// How much of `transfer-encoding` the present name has matched; 0 when it is another.
    matched: usize,
    transfer_coded: bool,
}

impl Head {
    /// `limit` is the most bytes that a head may have.
    pub fn new(limit: usize) -> Self {
        Self { at: At::Start, seen: 0, lines: 0, limit, matched: 0, transfer_coded: false }
    }

    /// Whether a `Transfer-Encoding` has been seen; its value is `sanitize`'s to judge.
    pub fn is_transfer_coded(&self) -> bool {
        self.transfer_coded
    }

    /// Follows the name of a header line.
    fn follow_name(&mut self, before: At, byte: u8) {
        const NAME: &[u8] = b"transfer-encoding";
        match (before, self.at) {
            (At::LineStart, At::Name) => self.matched = usize::from(NAME.first() == Some(&byte.to_ascii_lowercase())),
            (At::Name, At::Name) if self.matched > 0 => {
                let goes_on = NAME.get(self.matched) == Some(&byte.to_ascii_lowercase());
                self.matched = if goes_on { self.matched + 1 } else { 0 };
            }
            (At::Name, At::Value) => self.transfer_coded |= self.matched == NAME.len(),
            _ => {}
        }
    }

    /// Takes the next bytes. After [`Progress::Ended`] and [`Progress::Refused`] nothing more is to be given.
    pub fn feed(&mut self, bytes: &[u8]) -> Progress {
        let mut index = 0;
        while let Some(byte) = bytes.get(index) {
            self.seen += 1;
            if self.seen > self.limit {
                return Progress::Refused(Malformed::TooLarge);
            }
            match step(self.at, *byte) {
                Ok(Some(next)) => {
                    let before = std::mem::replace(&mut self.at, next);
                    if matches!(next, At::Name | At::Value) {
                        self.follow_name(before, *byte);
                    }
                    if before == At::LineStart && next == At::Name {
                        self.lines += 1;
                        if self.lines > MAX_LINES {
                            return Progress::Refused(Malformed::TooLarge);
                        }
                    }
                }
                Ok(None) => return Progress::Ended(index + 1),
                Err(malformed) => return Progress::Refused(malformed),
            }
            index += 1;
            let run = self.run(bytes.get(index..).unwrap_or_default());
            self.seen += run;
            index += run;
        }
        Progress::More
    }

    /// How many of the next bytes change nothing, within the limit. Most of a head is one long value, and a step for
    /// each of its bytes would cost more than all the rest of the guard.
    fn run(&self, bytes: &[u8]) -> usize {
        let bytes = bytes.get(..self.limit.saturating_sub(self.seen)).unwrap_or(bytes);
        match self.at {
            At::Value => run_of_value(bytes),
            At::Target => bytes.iter().take_while(|byte| is_target(**byte)).count(),
            At::Name if self.matched == 0 => bytes.iter().take_while(|byte| is_token(**byte)).count(),
            _ => 0,
        }
    }
}

/// The bytes before the first that is no value's. In pieces that are looked at without a branch for each byte.
fn run_of_value(bytes: &[u8]) -> usize {
    const PIECE: usize = 32;
    let clean = |piece: &&[u8]| piece.iter().fold(true, |clean, byte| clean & is_value(*byte));
    let whole = bytes.chunks_exact(PIECE).take_while(clean).count() * PIECE;
    let rest = bytes.get(whole..).unwrap_or_default();
    whole + rest.iter().take_while(|byte| is_value(**byte)).count()
}

/// One byte further; `None` when it ends the head.
fn step(at: At, byte: u8) -> Result<Option<At>, Malformed> {
    Ok(Some(match (at, byte) {
        (At::Start, b'\r') => At::StartLf,
        (At::Start | At::MethodStart, byte) if is_token(byte) => At::Method,
        (At::StartLf, b'\n') => At::MethodStart,
        (At::Start | At::StartLf | At::MethodStart, _) => return Err(Malformed::RequestLine),

        (At::Method, b' ') => At::TargetStart,
        (At::Method, byte) if is_token(byte) => At::Method,
        (At::Method, _) => return Err(Malformed::RequestLine),

        (At::TargetStart | At::Target, byte) if is_target(byte) => At::Target,
        (At::Target, b' ') => At::Version(0),
        (At::Target, b'\r' | b'\n') | (At::TargetStart, b' ') => return Err(Malformed::RequestLine),
        (At::TargetStart | At::Target, _) => return Err(Malformed::Target),

        (At::Version(seen), byte) if VERSION.get(seen) == Some(&byte) => {
            if seen + 1 == VERSION.len() {
                At::VersionDigit
            } else {
                At::Version(seen + 1)
            }
        }
        (At::Version(_), _) => return Err(Malformed::Version),
        (At::VersionDigit, b'0' | b'1') => At::LineCr,
        (At::VersionDigit, _) => return Err(Malformed::Version),
        (At::LineCr, b'\r') => At::LineLf,
        (At::LineCr, b'\n') => return Err(Malformed::LineEnd),
        (At::LineCr, _) => return Err(Malformed::Version),

        (At::LineLf | At::ValueLf, b'\n') => At::LineStart,
        (At::LineLf | At::ValueLf, _) => return Err(Malformed::LineEnd),

        (At::LineStart, b'\r') => At::EndLf,
        (At::LineStart, b'\n') => return Err(Malformed::LineEnd),
        (At::LineStart, b' ' | b'\t') => return Err(Malformed::Folded),
        (At::LineStart, byte) if is_token(byte) => At::Name,
        (At::LineStart, _) => return Err(Malformed::Name),

        (At::Name, b':') => At::Value,
        (At::Name, byte) if is_token(byte) => At::Name,
        (At::Name, _) => return Err(Malformed::Name),

        (At::Value, b'\r') => At::ValueLf,
        (At::Value, b'\n') => return Err(Malformed::LineEnd),
        (At::Value, byte) if is_value(byte) => At::Value,
        (At::Value, _) => return Err(Malformed::Value),

        (At::EndLf, b'\n') => return Ok(None),
        (At::EndLf, _) => return Err(Malformed::LineEnd),
    }))
}

/// RFC 9110 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    /// Bit by bit, so that a byte is looked up without a branch for each range.
    const TOKEN: u128 = {
        let mut bits = 0;
        let mut byte = 0;
        while byte < 128 {
            if is_token_byte(byte) {
                bits |= 1 << byte;
            }
            byte += 1;
        }
        bits
    };
    byte < 128 && TOKEN >> byte & 1 == 1
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// Visible ASCII but for what parsers escape or end a target at. Which of it a path may have is told by `request`; a
/// fragment is refused there, with its own code.
const fn is_target(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && !matches!(byte, b'"' | b'<' | b'>')
}

/// RFC 9110 5.5: visible bytes, space, tab, and bytes beyond ASCII.
pub(super) const fn is_value(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=0x7e | 0x80..=0xff)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Head, Malformed, Progress};

    fn read(bytes: &[u8]) -> Progress {
        Head::new(4096).feed(bytes)
    }

    #[test]
    fn heads_that_are_read_in_one_way_pass() {
        let table: [&[u8]; 9] = [
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            b"GET / HTTP/1.0\r\n\r\n",
            b"\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
            b"POST /a?b=c|{d}&e=%20 HTTP/1.1\r\nHost:a\r\nX-Empty:\r\nX-Tab:\ta\t\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
            b"GET http://a/b HTTP/1.1\r\nhost: a\r\n\r\n",
            b"M-SEARCH /a HTTP/1.1\r\nx_under.score: 1\r\n\r\n",
            b"GET / HTTP/1.1\r\nx: \xc3\xa9\xff\r\n\r\n",
            b"GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n",
        ];
        for head in table {
            assert_eq!(read(head), Progress::Ended(head.len()), "{}", head.escape_ascii());
        }
    }

    #[test]
    fn what_two_parsers_could_read_in_two_ways_is_refused() {
        let table: [(&[u8], Malformed); 31] = [
            (b"GET / HTTP/1.1\nhost: a\n\n", Malformed::LineEnd),
            (b"GET / HTTP/1.1\r\nhost: a\n\r\n", Malformed::LineEnd),
            (b"GET / HTTP/1.1\r\nx: a\n\nGET /admin HTTP/1.1\r\n\r\n", Malformed::LineEnd),
            (b"GET / HTTP/1.1\r\nhost: a\r\r\n\r\n", Malformed::LineEnd),
            (b"GET / HTTP/1.1\rhost: a\r\n\r\n", Malformed::LineEnd),
            (b"GET / HTTP/1.1\r\nhost: a\r\n\n", Malformed::LineEnd),
            (b"GET / HTTP/1.1\r\nhost: a\r\n\r\r\n", Malformed::LineEnd),
            (b"GET / HTTP/1.1\r\nx: a\r\n b\r\n\r\n", Malformed::Folded),
            (b"GET / HTTP/1.1\r\n x: a\r\n\r\n", Malformed::Folded),
            (b"GET / HTTP/1.1\r\nx : a\r\n\r\n", Malformed::Name),
            (b"GET / HTTP/1.1\r\n: a\r\n\r\n", Malformed::Name),
            (b"GET / HTTP/1.1\r\nx\r\n\r\n", Malformed::Name),
            (b"GET / HTTP/1.1\r\nx y: a\r\n\r\n", Malformed::Name),
            (b"GET / HTTP/1.1\r\nx\x00: a\r\n\r\n", Malformed::Name),
            (b"GET / HTTP/1.1\r\nx\xc3: a\r\n\r\n", Malformed::Name),
            (b"GET / HTTP/1.1\r\nx: a\x00b\r\n\r\n", Malformed::Value),
            (b"GET / HTTP/1.1\r\nx: a\x1bb\r\n\r\n", Malformed::Value),
            (b"GET / HTTP/1.1\r\nx: a\x7fb\r\n\r\n", Malformed::Value),
            (b"GET  / HTTP/1.1\r\n\r\n", Malformed::RequestLine),
            (b"GET\t/ HTTP/1.1\r\n\r\n", Malformed::RequestLine),
            (b" GET / HTTP/1.1\r\n\r\n", Malformed::RequestLine),
            (b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", Malformed::RequestLine),
            (b"\nGET / HTTP/1.1\r\n\r\n", Malformed::RequestLine),
            (b"GET /\r\n\r\n", Malformed::RequestLine),
            (b"GET /a b HTTP/1.1\r\n\r\n", Malformed::Version),
            (b"GET /a\x01 HTTP/1.1\r\n\r\n", Malformed::Target),
            (b"GET /a<b HTTP/1.1\r\n\r\n", Malformed::Target),
            (b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n", Malformed::Target),
            (b"GET / HTTP/1.2\r\n\r\n", Malformed::Version),
            (b"GET / HTTP/2.0\r\n\r\n", Malformed::Version),
            (b"GET / http/1.1\r\n\r\n", Malformed::Version),
        ];
        for (head, expected) in table {
            assert_eq!(read(head), Progress::Refused(expected), "{}", head.escape_ascii());
        }
        assert_eq!(
            Head::new(20).feed(b"GET /aaaaaaaaaaaaaaaaaa HTTP/1.1\r\n\r\n"),
            Progress::Refused(Malformed::TooLarge)
        );
    }

    #[test]
    fn lines_are_counted() {
        let head = |lines: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(lines));
        assert_eq!(Head::new(9000).feed(head(255).as_bytes()), Progress::Ended(head(255).len()));
        assert_eq!(Head::new(9000).feed(head(256).as_bytes()), Progress::Refused(Malformed::TooLarge));
    }

    #[test]
    fn a_transfer_coding_is_noticed() {
        let table = [
            ("transfer-encoding: chunked", true),
            ("Transfer-Encoding:chunked", true),
            ("TRANSFER-ENCODING: gzip", true),
            ("x: transfer-encoding: chunked", false),
            ("transfer-encodin: chunked", false),
            ("transfer-encodings: chunked", false),
            ("xtransfer-encoding: chunked", false),
            ("transfer_encoding: chunked", false),
        ];
        for (line, expected) in table {
            let mut head = Head::new(4096);
            head.feed(format!("POST / HTTP/1.1\r\nhost: a\r\n{line}\r\n\r\n").as_bytes());
            assert_eq!(head.is_transfer_coded(), expected, "{line}");
        }
    }

    proptest! {
        /// However the bytes arrive, the answer is the same.
        #[test]
        fn reads_do_not_matter(cuts in proptest::collection::vec(1_usize..20, 1..10), junk in any::<u8>(), at in 0_usize..60) {
            let mut bytes = b"POST /a?b HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc".to_vec();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = junk;
            }
            let whole = Head::new(4096).feed(&bytes);
            let mut head = Head::new(4096);
            let (mut from, mut outcome) = (0, Progress::More);
            for cut in cuts.iter().cycle() {
                let to = (from + cut).min(bytes.len());
                outcome = match head.feed(&bytes[from..to]) {
                    Progress::Ended(within) => Progress::Ended(from + within),
                    other => other,
                };
                from = to;
                if outcome != Progress::More || from == bytes.len() {
                    break;
                }
            }
            prop_assert_eq!(outcome, whole);
        }

        /// What passes, the parser below reads as well, with the same number of lines.
        #[test]
        fn what_passes_is_read_alike_by_the_parser(
            bytes in proptest::collection::vec(prop::sample::select(b"GE /aH:x1.\r\n \t%".to_vec()), 0..40),
        ) {
            let mut head = b"GET / HTTP/1.1\r\n".to_vec();
            head.extend_from_slice(&bytes);
            head.extend_from_slice(b"\r\n\r\n");
            if let Progress::Ended(end) = Head::new(4096).feed(&head) {
                let mut fields = [httparse::EMPTY_HEADER; 64];
                let mut request = httparse::Request::new(&mut fields);
                let parsed = request.parse(&head).map_err(|error| TestCaseError::fail(format!("{error}")))?;
                prop_assert_eq!(parsed, httparse::Status::Complete(end));
                let lines = head[..end].split(|b| *b == b'\n').count() - 3;
                prop_assert_eq!(request.headers.len(), lines);
            }
        }
    }
}
