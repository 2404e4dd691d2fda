//! The escapes of the corpus: `\r \n \t \0 \s \\ \xNN`, and `{N*text}` for text N times.

/// Bytes of an escaped text.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        match next {
            '\\' => {
                let escape = rest.chars().next().unwrap_or_else(|| panic!("a backslash at the end of {text}"));
                rest = &rest[escape.len_utf8()..];
                match escape {
                    'r' => out.push(b'\r'),
                    'n' => out.push(b'\n'),
                    't' => out.push(b'\t'),
                    's' => out.push(b' '),
                    '0' => out.push(0),
                    '\\' => out.push(b'\\'),
                    'x' => {
                        out.push(u8::from_str_radix(&rest[..2], 16).unwrap_or_else(|_| panic!("\\x in {text}")));
                        rest = &rest[2..];
                    }
                    other => panic!("\\{other} in {text}"),
                }
            }
            '{' => match repetition(rest) {
                Some((times, inner, after)) => {
                    let inner = bytes(inner);
                    for _ in 0..times {
                        out.extend_from_slice(&inner);
                    }
                    rest = after;
                }
                None => out.push(b'{'),
            },
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out
}

/// `N*text}`, and what follows.
fn repetition(rest: &str) -> Option<(usize, &str, &str)> {
    let (times, rest) = rest.split_once('*')?;
    let times = times.parse().ok()?;
    let (inner, after) = rest.split_once('}')?;
    Some((times, inner, after))
}

#[test]
fn escapes_are_bytes() {
    assert_eq!(bytes(r"a\r\n\x00\\{3*ab}{x}\s"), b"a\r\n\0\\ababab{x} ");
}
