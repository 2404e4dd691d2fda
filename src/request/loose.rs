//! How other servers read what stands in `Cookie` and `Authorization`.
//!
//! crossgate reads by the RFCs, to the letter. Common frameworks do not: they unescape quotes and percents, cut at blanks
//! and commas, and trim bytes that are no ASCII, so that an API could find a credential where crossgate saw none, somebody
//! else's beside the person who was verified. What is found here is taken away before the request goes up; it never proves
//! anything.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{NO_PAD, URL_SAFE_NO_PAD};

use super::credential::is_token68;

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
    if let Some(nameless) = nameless(trimmed) {
        // To the letter a cookie without a name; some drop what stands before the name, and browsers send such.
        let is_said = key_of(nameless) == name.as_bytes() || mentions(nameless, name) != Mention::No;
        return if is_said { Mention::Hidden } else { Mention::No };
    }
    let key = key_of(trimmed);
    if key == name.as_bytes() {
        // The name itself. Where a byte beside it is no text, crossgate does not read the pair at all; others do.
        return if std::str::from_utf8(pair).is_ok() { Mention::No } else { Mention::Hidden };
    }
    if key.eq_ignore_ascii_case(name.as_bytes()) {
        return Mention::OtherCase;
    }
    let is_hidden = is_name(key, name) || is_behind_a_separator(trimmed, name);
    if is_hidden { Mention::Hidden } else { Mention::No }
}

/// What stands behind the `=` with which a pair begins.
fn nameless(pair: &[u8]) -> Option<&[u8]> {
    let at = pair.iter().position(|byte| *byte != b'=' && !is_trimmed(*byte)).unwrap_or(pair.len());
    let (before, rest) = pair.split_at_checked(at)?;
    before.contains(&b'=').then_some(rest)
}

fn key_of(pair: &[u8]) -> &[u8] {
    trim(pair.split(|byte| *byte == b'=').next().unwrap_or_default())
}

/// Whether the key of a pair, or of what somebody takes for one, has one of these prefixes in any reading.
pub fn begins(pair: &[u8], prefixes: &[&[u8]]) -> bool {
    let is_one = |key: &[u8]| {
        let read = decoded(key);
        let read = trim_odd(nameless(&read).unwrap_or(&read));
        prefixes.iter().any(|prefix| read.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix)))
    };
    pair.split(|byte| is_separator(*byte)).any(is_one)
}

/// A name with its escapes decoded, whatever is trimmed around it, in any case, and as PHP folds it: `_` for what its
/// variables cannot be called.
fn is_name(key: &[u8], name: &str) -> bool {
    let folds = |byte: &u8| if matches!(byte, b'.' | b' ' | b'[' | b'+') { b'_' } else { byte.to_ascii_lowercase() };
    let read = decoded(key);
    let read = trim_odd(&read);
    !name.is_empty() && read.iter().map(folds).eq(name.bytes().map(|byte| folds(&byte)))
}

/// Whether the name and `=` stand behind a byte at which somebody begins a new pair.
fn is_behind_a_separator(pair: &[u8], name: &str) -> bool {
    // As nearly always: nothing here that two parsers read in two ways.
    if !pair.iter().any(|byte| is_separator(*byte)) {
        return false;
    }
    let escaped = |piece: &[u8]| {
        let piece = nameless(piece).unwrap_or(piece);
        let at = piece.iter().position(|byte| *byte == b'=');
        at.and_then(|at| piece.get(..at)).is_some_and(|key| is_name(key, name))
    };
    pair.split(|byte| is_separator(*byte)).any(escaped)
        || pair.windows(name.len().max(1)).enumerate().any(|(at, found)| {
            let before = at.checked_sub(1).and_then(|before| pair.get(before));
            let rest = pair.get(at + name.len()..).unwrap_or_default();
            let next = rest.iter().find(|byte| !is_trimmed(**byte));
            found.eq_ignore_ascii_case(name.as_bytes())
                && before.is_none_or(|byte| is_separator(*byte))
                && next == Some(&b'=')
        })
}

const fn is_separator(byte: u8) -> bool {
    is_trimmed(byte) || byte == b','
}

/// All that looks like a signed token, in any reading: three parts of base64url with dots between. Some take the first three
/// of more, and some drop empty ones.
pub fn tokens(value: &[u8]) -> impl Iterator<Item = String> {
    let mut found = tokens_as_they_stand(value);
    found.extend(tokens_as_they_stand(&decoded(value)));
    found.into_iter()
}

/// Whether some reading holds a token like this. `may_hold` is asked of a whole reading first, and spares nearly all of them
/// the search.
pub fn holds(value: &[u8], may_hold: impl Fn(&[u8]) -> bool, is_one: impl Fn(&str) -> bool) -> bool {
    let is_in = |read: &[u8]| may_hold(read) && tokens_as_they_stand(read).iter().any(|token| is_one(token));
    is_in(value) || memchr::memchr2(b'%', b'\\', value).is_some() && is_in(&decoded(value))
}

fn tokens_as_they_stand(value: &[u8]) -> Vec<String> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let mut found = Vec::new();
    for run in value.split(|byte| !is_part(byte)) {
        let parts: Vec<&[u8]> = run.split(|byte| *byte == b'.').filter(|part| !part.is_empty()).collect();
        found.extend(parts.windows(3).map(|three| String::from_utf8_lossy(&three.join(&b'.')).into_owned()));
    }
    found
}

/// Whether a text looks like a signed token and is not spelled as one is issued, so that a lenient reader finds a token in it
/// which crossgate has not judged. What its signature covers stands as it was signed; the signature itself does not: padding,
/// the standard alphabet, stray bits and bytes between change nothing to many. Nor do parts too many, quotes and escapes.
pub fn is_respelled(token: &str) -> bool {
    let read = decoded(token.as_bytes());
    let parts: Vec<&[u8]> = read.split(|byte| *byte == b'.').collect();
    let mut full = parts.iter().filter(|part| !part.is_empty());
    let (Some(header), Some(_), Some(_)) = (full.next(), full.next(), full.next()) else { return false };
    let header = decoded_leniently(header);
    if !header.trim_ascii_start().starts_with(b"{") {
        return false;
    }
    let is_odd = |byte: &u8| !(is_token68(*byte) && *byte != b'~');
    // An encrypted token has five parts, and says so (RFC 7516 4.1.2).
    let is_encrypted = || parts.len() == 5 && memchr::memmem::find(&header, b"\"enc\"").is_some();
    let is_complete = parts.len() == 3 || is_encrypted();
    let is_canonical = |part: &&[u8]| URL_SAFE_NO_PAD.decode(part).is_ok();
    read != token.as_bytes() || read.iter().any(is_odd) || !is_complete || !parts.last().is_some_and(is_canonical)
}

/// As the most lenient decoder reads it: either alphabet, padded or not, whatever stands between.
fn decoded_leniently(part: &[u8]) -> Vec<u8> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));
    let letter = |byte: &u8| match byte {
        b'+' => Some(b'-'),
        b'/' => Some(b'_'),
        byte => Some(*byte).filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')),
    };
    let mut letters: Vec<u8> = part.iter().filter_map(letter).collect();
    if letters.len() % 4 == 1 {
        letters.pop();
    }
    ENGINE.decode(letters).unwrap_or_default()
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

fn trim_odd(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !is_trimmed(*byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !is_trimmed(*byte)).map_or(start, |at| at + 1);
    bytes.get(start..end).unwrap_or_default()
}

/// What somebody trims around a name.
const fn is_trimmed(byte: u8) -> bool {
    !byte.is_ascii_graphic() || matches!(byte, b'"' | b'\'')
}

#[cfg(test)]
mod tests {
    use super::{Mention, begins, holds, is_respelled, mentions, tokens};

    #[test]
    fn names_in_other_readings() {
        use Mention::{Hidden, No, OtherCase};
        let table: [(&[u8], Mention); 34] = [
            (b"a=1 =session=x", Hidden),
            (b"=session=x", Hidden),
            (b"==session=x", Hidden),
            (b" = session=x", Hidden),
            (b"\"=session=x", Hidden),
            (b"=Session=x", Hidden),
            (b"=%73ession=x", Hidden),
            (b"=x=session", No),
            (b"=", No),
            (b"a=1,%73ession=x", Hidden),
            (b"ret=%2Fa%3Fx%3D1%20session%3D2", No),
            (b"%22session%22=x", Hidden),
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
    fn prefixes_in_other_readings() {
        let prefixes: [&[u8]; 1] = [b"__session"];
        let table: [(&[u8], bool); 10] = [
            (b"__session_x=1", true),
            (b"=__session_x=1", true),
            (b"a=1 =__session_x=1", true),
            (b"=a=__session", false),
            (b"\xA0__session_x=1", true),
            (b"a=1 __session_x=1", true),
            (b"%5f_session_x=1", true),
            (b"__Session=1", true),
            (b"my__session=1", false),
            (b"a=__session", false),
        ];
        for (pair, expected) in table {
            assert_eq!(begins(pair, &prefixes), expected, "{}", String::from_utf8_lossy(pair));
        }
    }

    #[test]
    fn names_as_php_reads_them() {
        for key in ["app.session", "app session", "app[session", "app+session", "App.Session", "app%5fsession"] {
            assert_eq!(mentions(format!("{key}=x").as_bytes(), "app_session"), Mention::Hidden, "{key}");
        }
        assert_eq!(mentions(b"app-session=x", "app_session"), Mention::No);
    }

    #[test]
    fn tokens_in_other_readings() {
        let table: [(&[u8], bool); 15] = [
            (b"eyJ.eyJ.sig.", true),
            (b"eyJ.eyJ.sig...", true),
            (b"x.eyJ.eyJ.sig.y", true),
            (b".eyJ..eyJ.sig", true),
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
            let may_hold = |read: &[u8]| read.windows(3).any(|text| text == b"eyJ");
            assert_eq!(holds(value, may_hold, |token| token == "eyJ.eyJ.sig"), expected);
            assert!(!holds(value, |_| false, |_| true), "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn signed_tokens_in_other_spellings() {
        // {"alg":"HS256"} and two bytes, three and four of a signature.
        let (header, short) = ("eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJIUzI1NiJ9.e30.-_8");
        let table = [
            ("as it is issued", short.to_owned(), false),
            ("without stray bits", format!("{header}.e30.AAAA"), false),
            ("padded", format!("{short}="), true),
            ("padded twice", format!("{short}=="), true),
            ("the standard alphabet", format!("{header}.e30.+/8"), true),
            ("half of it", format!("{header}.e30.-/8"), true),
            ("stray bits", format!("{header}.e30.-_9"), true),
            ("a letter too many", format!("{header}.e30.AAAAA"), true),
            ("a byte between", format!("{header}.e30.-!_8"), true),
            ("a tilde between", format!("{header}.e30.-~_8"), true),
            ("a blank behind", format!("{short} x"), true),
            ("quoted", format!("\"{short}\""), true),
            ("half quoted", format!("'{short}"), true),
            ("an escape in the signature", format!("{header}.e30.-%5F8"), true),
            ("an escape in the header", format!("%65{}.e30.-_8", &header[1..]), true),
            ("an octal escape", format!("\\145{}.e30.-_8", &header[1..]), true),
            ("escaped dots", format!("{header}%2Ee30%2E-_8"), true),
            ("a dot behind", format!("{short}."), true),
            ("a dot before", format!(".{short}"), true),
            ("two dots", format!("{header}..e30.-_8"), true),
            ("a fourth part", format!("{short}.AA"), true),
            ("a fifth part", format!("{short}.AA.AA"), true),
            // {"enc":1}
            ("encrypted", "eyJlbmMiOjF9..AA.AA.AA".to_owned(), false),
            ("encrypted, padded", "eyJlbmMiOjF9..AA.AA.AA==".to_owned(), true),
            ("a header that is padded", format!("{header}=.e30.-_8"), false),
            ("two parts", format!("{header}.e30="), false),
            ("no object in front", "WyJhIl0.e30.AA==".to_owned(), false),
            ("opaque", "rt_0123456789+/==".to_owned(), false),
            ("words with dots", "a.b.c=".to_owned(), false),
            ("a percent", "50%.of.all".to_owned(), false),
            ("nothing", String::new(), false),
        ];
        for (name, token, expected) in table {
            assert_eq!(is_respelled(&token), expected, "{name}: {token}");
        }
    }
}
