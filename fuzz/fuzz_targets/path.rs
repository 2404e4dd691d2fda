//! The canonical path: what is forwarded reads as itself, and as nothing else however a server decodes it.
#![no_main]

use crossgate::request::CanonicalPath;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    let Ok(path) = CanonicalPath::parse(raw) else { return };
    let text = path.as_str();
    let again = CanonicalPath::parse(text.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal}: {text}"));
    assert_eq!(again, path, "read twice, it stays");
    assert!(text.len() <= raw.len() && text.is_ascii() && text.starts_with('/'));

    let decoded: Vec<u8> = path.segments().flat_map(|segment| [b"/".to_vec(), segment.decoded().into_owned()].concat()).collect();
    assert_eq!(decoded.len().max(1), decode(text.as_bytes()).len(), "segments are the whole path");
    // Every view: decoded once and twice, backslashes as slashes, cut at `;`, `#` and NUL.
    for view in [decode(text.as_bytes()), decode(&decode(text.as_bytes()))] {
        assert_eq!(view.iter().filter(|byte| **byte == b'/').count(), text.matches('/').count(), "{text}");
        assert!(!view.iter().any(|byte| matches!(byte, b'\\' | b';' | 0..=0x1f | 0x7f)), "{text}");
        assert!(std::str::from_utf8(&view).is_ok(), "{text}");
        assert!(!view.split(|byte| *byte == b'/').any(|segment| segment == b"." || segment == b".."), "{text}");
        assert!(!view.windows(2).any(|pair| pair == b"//"), "{text}");
    }
    for segment in path.segments() {
        assert!(segment.eq_decoded(&segment.decoded()) && segment.eq_decoded_ignore_case(&segment.decoded()));
    }
});

/// As a lenient server: an escape that is none stays.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let escaped = match text.get(at + 1..at + 3) {
            Some(digits) if *byte == b'%' && digits.iter().all(u8::is_ascii_hexdigit) => {
                std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok())
            }
            _ => None,
        };
        out.push(escaped.unwrap_or(*byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    out
}
