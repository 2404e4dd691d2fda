//! Frames of HTTP/2 by hand, well formed or not: no client library would send what stands in the corpus.
//!
//! Field lines are sent as literals without index and without Huffman; of answers only the status is decoded.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::wire::Address;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
/// What a peer takes in one frame unless it said otherwise.
const MAX_FRAME: usize = 16_384;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// `HEADERS`, with as many `CONTINUATION` frames as the fields need.
pub(crate) fn headers(stream: u32, end: bool, fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        literal(&mut block, name);
        literal(&mut block, value);
    }
    let mut pieces: Vec<&[u8]> = block.chunks(MAX_FRAME).collect();
    if pieces.is_empty() {
        pieces.push(&[]);
    }
    let last = pieces.len() - 1;
    let end_stream = if end { END_STREAM } else { 0 };
    let mut bytes = Vec::new();
    for (index, piece) in pieces.into_iter().enumerate() {
        let kind = if index == 0 { HEADERS } else { CONTINUATION };
        let first = if index == 0 { end_stream } else { 0 };
        let done = if index == last { END_HEADERS } else { 0 };
        bytes.extend(frame(kind, first | done, stream, piece));
    }
    bytes
}

fn literal(block: &mut Vec<u8>, text: &[u8]) {
    // An integer with a prefix of seven bits (RFC 7541 5.1); the eighth, for Huffman, is off.
    if text.len() < 127 {
        block.push(u8::try_from(text.len()).unwrap());
    } else {
        block.push(127);
        let mut left = text.len() - 127;
        while left >= 128 {
            block.push(u8::try_from(left % 128).unwrap() | 128);
            left /= 128;
        }
        block.push(u8::try_from(left).unwrap());
    }
    block.extend_from_slice(text);
}

/// The status at the start of a block: a static entry, or a literal under the static name.
pub(crate) fn status(block: &[u8]) -> Option<u16> {
    // A change of the table's size may stand before it.
    let first = block.iter().position(|byte| byte & 0xe0 != 0x20)?;
    match block[first..] {
        [indexed @ 0x88..=0x8e, ..] => Some([200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]),
        [0x48 | 0x08 | 0x18, length, ref rest @ ..] => {
            let text = rest.get(..usize::from(length & 0x7f))?;
            let digits = if length & 0x80 == 0 { text.to_vec() } else { huffman_digits(text) };
            String::from_utf8(digits).ok()?.parse().ok()
        }
        _ => None,
    }
}

/// RFC 7541 appendix B, digits only: 0 to 2 have five bits, the others six.
fn huffman_digits(bytes: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0, |number, bit| number * 2 + bit);
    let (mut digits, mut at) = (Vec::new(), 0);
    while digits.len() < 3 {
        match bits.get(at..at + 5).map(number) {
            Some(short @ 0..=2) => {
                digits.push(b'0' + short);
                at += 5;
            }
            _ => match bits.get(at..at + 6).map(number) {
                Some(long @ 25..=31) => {
                    digits.push(b'3' + long - 25);
                    at += 6;
                }
                _ => break,
            },
        }
    }
    digits
}

/// What came of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answer {
        status: u16,
        body: Vec<u8>,
    },
    /// `RST_STREAM`, `GOAWAY`, or the end of the connection.
    Reset,
    Silence,
}

pub(crate) struct Connection {
    socket: TcpStream,
    buffer: Vec<u8>,
}

/// Kind, flags, stream and payload.
type Frame = (u8, u8, u32, Vec<u8>);

impl Connection {
    pub(crate) fn open(address: &Address) -> Self {
        let Address::Tcp(address) = address else { panic!("the corpus speaks TCP") };
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // A flood whose answers nobody reads stops both ends.
        socket.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        Self { socket, buffer: Vec::new() }
    }

    /// Sends; whether the other end took it.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    /// The next frame: its kind, flags, stream, payload. `None` at the end; `Some(None)` when nothing comes.
    fn next(&mut self) -> Option<Option<Frame>> {
        loop {
            if let [a, b, c, kind, flags, s0, s1, s2, s3, ..] = self.buffer[..] {
                let length = 9 + usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap();
                if self.buffer.len() >= length {
                    let frame: Vec<u8> = self.buffer.drain(..length).collect();
                    return Some(Some((kind, flags, u32::from_be_bytes([s0, s1, s2, s3]), frame[9..].to_vec())));
                }
            }
            let mut chunk = [0; 16 * 1024];
            match self.socket.read(&mut chunk) {
                Ok(0) => return None,
                Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
                Err(problem) if problem.kind() == std::io::ErrorKind::WouldBlock => return Some(None),
                Err(_) => return None,
            }
        }
    }

    /// Reads until this stream has its answer, or will have none.
    pub(crate) fn outcome(&mut self, wanted: u32) -> Outcome {
        let (mut answer, mut body) = (None, Vec::new());
        loop {
            let Some(next) = self.next() else { return Outcome::Reset };
            let Some((kind, flags, stream, payload)) = next else { return Outcome::Silence };
            match kind {
                HEADERS if stream == wanted => {
                    let read = status(&payload);
                    if answer.is_none() && read.is_none_or(|status| status >= 200) {
                        answer = read;
                    }
                }
                DATA if stream == wanted => body.extend_from_slice(&payload),
                RST_STREAM if stream == wanted && answer.is_none() => return Outcome::Reset,
                // Without error it only says that no further stream is taken.
                GOAWAY if payload.get(4..8) != Some(&[0; 4][..]) && answer.is_none() => return Outcome::Reset,
                _ => continue,
            }
            if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
                let status = answer.unwrap_or_else(|| panic!("a status that is not understood"));
                return Outcome::Answer { status, body };
            }
        }
    }
}

#[test]
fn statuses_are_read() {
    assert_eq!(status(&[0x88]), Some(200));
    assert_eq!(status(&[0x3f, 0xe1, 0x1f, 0x8c]), None);
    assert_eq!(status(&[0x48, 3, b'4', b'0', b'1']), Some(401));
    assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), Some(302), "the example of RFC 7541 C.6.1");
}
