//! How other servers read what stands in `Cookie` and `Authorization`.
//!
//! crossgate reads by the RFCs, to the letter. Common frameworks do not: they unescape quotes and percents, cut at blanks
//! and commas, and trim bytes that are no ASCII, so that an API could find a credential where crossgate saw none, somebody
//! else's beside the person who was verified. What is found here is taken away before the request goes up; it never proves
//! anything.

/// Whether a pair of a Cookie line could be read as having a name that it does not have to the letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mention {
    No,
    /// Only in another case: to most another cookie.
    OtherCase,
    /// Behind blanks, quotes, escapes or bytes that somebody trims.
    Hidden,
}

/// Looks for a cookie's name in a pair, which is what stands between two semicolons.
pub fn mentions(pair: &[u8], name: &str) -> Mention {
    let trimmed = trim(pair);
    let key = trimmed.split(|byte| *byte == b'=').next().unwrap_or_default();
    if trim(key) == name.as_bytes() {
        // The name itself. Where a byte beside it is no text, crossgate does not read the pair at all; others do.
        return if std::str::from_utf8(pair).is_ok() { Mention::No } else { Mention::Hidden };
    }
    if trim(key).eq_ignore_ascii_case(name.as_bytes()) {
        return Mention::OtherCase;
    }
    // As nearly always: nothing here that two parsers read in two ways.
    if !trimmed.iter().any(|byte| is_odd(*byte)) {
        return Mention::No;
    }
    let read = decoded(pair);
    let is_hidden = read.windows(name.len().max(1)).enumerate().any(|(at, found)| {
        let before = at.checked_sub(1).and_then(|before| read.get(before));
        let rest = read.get(at + name.len()..).unwrap_or_default();
        let next = rest.iter().find(|byte| !is_trimmed(**byte));
        found.eq_ignore_ascii_case(name.as_bytes())
            && before.is_none_or(|byte| is_trimmed(*byte) || *byte == b',')
            && next == Some(&b'=')
    });
    if is_hidden { Mention::Hidden } else { Mention::No }
}

/// All that looks like a signed token, in any reading: three parts of base64url with dots between.
pub fn tokens(value: &[u8]) -> impl Iterator<Item = String> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let mut found: Vec<String> = Vec::new();
    for read in [value.to_vec(), decoded(value)] {
        for run in read.split(|byte| !is_part(byte)) {
            if run.iter().filter(|byte| **byte == b'.').count() == 2 {
                found.push(String::from_utf8_lossy(run).into_owned());
            }
        }
    }
    found.into_iter()
}

/// Percents and backslashes taken for what they may stand for.
fn decoded(bytes: &[u8]) -> Vec<u8> {
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let octal = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(8));
    let mut read = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let [a, b, c] = [after.first(), after.get(1), after.get(2)];
        let (byte, used) = match first {
            b'%' => match (hex(a), hex(b)) {
                (Some(high), Some(low)) => (high * 16 + low, 2),
                _ => (u32::from(*first), 0),
            },
            b'\\' => match (octal(a), octal(b), octal(c), a) {
                (Some(x), Some(y), Some(z), _) => (x * 64 + y * 8 + z, 3),
                (_, _, _, Some(quoted)) => (u32::from(*quoted), 1),
                (_, _, _, None) => (u32::from(*first), 0),
            },
            _ => (u32::from(*first), 0),
        };
        read.push(u8::try_from(byte).unwrap_or(b'?'));
        rest = after.get(used..).unwrap_or_default();
    }
    read
}

fn trim(bytes: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = bytes.iter().position(|byte| !is_blank(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !is_blank(byte)).map_or(start, |at| at + 1);
    bytes.get(start..end).unwrap_or_default()
}

fn is_odd(byte: u8) -> bool {
    is_trimmed(byte) || matches!(byte, b'%' | b'\\' | b',')
}

/// What somebody trims around a name.
const fn is_trimmed(byte: u8) -> bool {
    !byte.is_ascii_graphic() || matches!(byte, b'"' | b'\'')
}

#[cfg(test)]
mod tests {
    use super::{Mention, mentions, tokens};

    #[test]
    fn names_in_other_readings() {
        use Mention::{Hidden, No, OtherCase};
        let table: [(&[u8], Mention); 22] = [
            (b"session=x\xA0", Hidden),
            (b"session=\xA0x", Hidden),
            (b"session=\"x\"\x85", Hidden),
            (b"session=x", No),
            (b" session = x ", No),
            (b"my_session=x", No),
            (b"a=session", No),
            (b"a=/x?session=1", No),
            (b"a=\"x\"", No),
            (b"a=%7B%22session%22%3A1%7D", No),
            (b"Session=x", OtherCase),
            (b"SESSION=x", OtherCase),
            (b"\xA0session=x", Hidden),
            (b"session\xA0=x", Hidden),
            (b"\xC2\xA0session=x", Hidden),
            (b"session\xC2\xA0=x", Hidden),
            (b"a=1 session=x", Hidden),
            (b"a=1, session=x", Hidden),
            (b"%73ession=x", Hidden),
            (b"\"session\"=x", Hidden),
            (b"\\163ession=x", Hidden),
            (b"a=\"1\" Session=x", Hidden),
        ];
        for (pair, expected) in table {
            assert_eq!(mentions(pair, "session"), expected, "{}", String::from_utf8_lossy(pair));
        }
    }

    #[test]
    fn tokens_in_other_readings() {
        let table: [(&[u8], bool); 11] = [
            (b"eyJ.eyJ.sig", true),
            (b"\"eyJ.eyJ.sig\"", true),
            (b"\"\\145yJ.eyJ.sig\"", true),
            (b"%65yJ.eyJ.sig", true),
            (b"\"eyJ.eyJ.sig x", true),
            (b"eyJ.eyJ.sig\xA0", true),
            (b"Foo eyJ.eyJ.sig", true),
            (b"Basic x, Bearer eyJ.eyJ.sig", true),
            (b"dark", false),
            (b"1.2", false),
            (b"%7B%22a%22%3A1%7D", false),
        ];
        for (value, expected) in table {
            let found = tokens(value).any(|token| token == "eyJ.eyJ.sig");
            assert_eq!(found, expected, "{}", String::from_utf8_lossy(value));
        }
    }
}
