//! The strict grammar of a chunked body (RFC 9112 7.1), on the bytes before any parser sees them.
//!
//! Pingora takes an empty size for zero and swallows what stands in an extension; another server would not, and would
//! find the next request at another place. Sizes are hexadecimal digits and nothing else, extensions are short, lines
//! end with CRLF, trailers have the form of header lines. Stricter than the RFC on purpose in what nobody sends: no space
//! before `;`, at most 15 digits. Keeps no bytes; knows no stream.

/// Longest extension of one chunk; nobody sends any.
const MAX_EXTENSION: usize = 256;
/// Digits of a size: 2^60 bytes are no chunk.
const MAX_DIGITS: usize = 15;
/// Bytes of all trailers.
const MAX_TRAILERS: usize = 16 * 1024;

/// What is known after some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The body goes on.
    More,
    /// The body ended after this many of the bytes just given.
    Ended(usize),
    /// Not a chunked body.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// So many digits of a size have come.
    Size(usize),
    Extension(usize),
    SizeLf,
    /// So many bytes of a chunk are still to come.
    Data(u64),
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
}

/// Follows one body.
#[derive(Debug, Clone)]
pub struct Chunks {
    at: At,
    size: u64,
    trailers: usize,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { at: At::Size(0), size: 0, trailers: 0 }
    }
}

impl Chunks {
    /// Takes the next bytes. After [`Progress::Ended`] and [`Progress::Refused`] nothing more is to be given.
    pub fn feed(&mut self, bytes: &[u8]) -> Progress {
        let mut index = 0;
        while let Some(byte) = bytes.get(index) {
            if let At::Data(left) = self.at {
                // The inside of a chunk is skipped, not looked at.
                let here = u64::try_from(bytes.len() - index).unwrap_or(u64::MAX).min(left);
                index += usize::try_from(here).unwrap_or(usize::MAX);
                self.at = if left == here { At::DataCr } else { At::Data(left - here) };
                continue;
            }
            index += 1;
            match self.step(*byte) {
                Some(Some(next)) => self.at = next,
                Some(None) => return Progress::Ended(index),
                None => return Progress::Refused,
            }
        }
        Progress::More
    }

    /// One byte further: `None` refuses, `Some(None)` ends the body.
    fn step(&mut self, byte: u8) -> Option<Option<At>> {
        if matches!(self.at, At::TrailerStart | At::TrailerName | At::TrailerValue | At::TrailerLf) {
            self.trailers += 1;
            if self.trailers > MAX_TRAILERS {
                return None;
            }
        }
        Some(Some(match (self.at, byte) {
            (At::Size(digits), byte) if byte.is_ascii_hexdigit() && digits < MAX_DIGITS => {
                let digit = char::from(byte).to_digit(16)?;
                self.size = self.size * 16 + u64::from(digit);
                At::Size(digits + 1)
            }
            (At::Size(1..), b'\r') => At::SizeLf,
            (At::Size(1..), b';') => At::Extension(0),
            (At::Extension(_), b'\r') => At::SizeLf,
            (At::Extension(length), b'\t' | b' '..=0x7e | 0x80..=0xff) if length < MAX_EXTENSION => {
                At::Extension(length + 1)
            }
            (At::SizeLf, b'\n') => match std::mem::take(&mut self.size) {
                0 => At::TrailerStart,
                size => At::Data(size),
            },
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size(0),
            (At::TrailerStart, b'\r') => At::EndLf,
            (At::TrailerStart | At::TrailerName, byte) if super::grammar::is_token(byte) => At::TrailerName,
            (At::TrailerName, b':') => At::TrailerValue,
            (At::TrailerValue, b'\r') => At::TrailerLf,
            (At::TrailerValue, byte) if super::grammar::is_value(byte) => At::TrailerValue,
            (At::TrailerLf, b'\n') => At::TrailerStart,
            (At::EndLf, b'\n') => return Some(None),
            _ => return None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Chunks, Progress};

    fn read(bytes: &[u8]) -> Progress {
        Chunks::default().feed(bytes)
    }

    #[test]
    fn bodies_that_are_read_in_one_way_pass() {
        let table: [&[u8]; 7] = [
            b"0\r\n\r\n",
            b"3\r\nabc\r\n0\r\n\r\n",
            b"A\r\n0123456789\r\n0000\r\n\r\n",
            b"3;a=b;c=\"d\"\r\nabc\r\n0\r\n\r\n",
            b"3;a=\"\xc3\xa9\"\r\n\r\n\r\r\n0\r\n\r\n",
            b"0\r\nx-trailer: a\r\ny:\r\n\r\n",
            b"000000000000003\r\nabc\r\n0\r\n\r\n",
        ];
        for body in table {
            assert_eq!(read(body), Progress::Ended(body.len()), "{}", body.escape_ascii());
        }
        assert_eq!(read(b"0\r\n\r\nGET / HTTP/1.1"), Progress::Ended(5), "what follows is not the body's");
        assert_eq!(read(b"5\r\nab"), Progress::More);
    }

    #[test]
    fn what_two_parsers_could_read_in_two_ways_is_refused() {
        let long = [b"3;".as_slice(), &[b'a'; 300], b"\r\nabc\r\n0\r\n\r\n"].concat();
        let table: [&[u8]; 20] = [
            b"\r\n",
            b";\r\n",
            b" \r\n",
            b"3\nabc\r\n0\r\n\r\n",
            b"3\r\nabc\n0\r\n\r\n",
            b"3\r\nabcd\r\n0\r\n\r\n",
            b"0x3\r\nabc\r\n0\r\n\r\n",
            b"+3\r\nabc\r\n0\r\n\r\n",
            b"-3\r\nabc\r\n0\r\n\r\n",
            b" 3\r\nabc\r\n0\r\n\r\n",
            b"3 \r\nabc\r\n0\r\n\r\n",
            b"3_0\r\nabc\r\n0\r\n\r\n",
            b"ffffffffffffffff\r\n",
            b"3;a\nabc\r\n0\r\n\r\n",
            b"3;a\x00\r\nabc\r\n0\r\n\r\n",
            b"0\r\n\n",
            b"0\r\n x: a\r\n\r\n",
            b"0\r\nx : a\r\n\r\n",
            b"0\r\nx: a\n\r\n",
            &long,
        ];
        for body in table {
            assert_eq!(read(body), Progress::Refused, "{}", body.escape_ascii());
        }
    }

    proptest! {
        /// However the bytes arrive, the answer is the same.
        #[test]
        fn reads_do_not_matter(cuts in proptest::collection::vec(1_usize..9, 1..10), junk in any::<u8>(), at in 0_usize..60) {
            let mut bytes = b"3;x=y\r\nabc\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nx: y\r\n\r\nrest".to_vec();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = junk;
            }
            let whole = read(&bytes);
            let mut chunks = Chunks::default();
            let (mut from, mut outcome) = (0, Progress::More);
            for cut in cuts.iter().cycle() {
                let to = (from + cut).min(bytes.len());
                outcome = match chunks.feed(&bytes[from..to]) {
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
    }
}
