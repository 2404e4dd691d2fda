use proptest::prelude::*;

use super::{CanonicalPath, PathRefusal, Segment};

fn parse(raw: &str) -> Result<String, PathRefusal> {
    CanonicalPath::parse(raw.as_bytes()).map(|path| path.as_str().to_owned())
}

#[test]
fn legal_spellings_have_one_form() {
    let table = [
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a/"),
        ("/a/b.c", "/a/b.c"),
        ("/A/b", "/A/b"),
        // Escapes of unreserved characters are decoded, the others upper-cased.
        ("/%61dmin", "/admin"),
        ("/%41", "/A"),
        ("/%7e%2D%2e%5f", "/~-._"),
        ("/a%20b", "/a%20b"),
        ("/a%3ab", "/a%3Ab"),
        ("/a%2ab", "/a%2Ab"),
        ("/%c3%a9", "/%C3%A9"),
        ("/%f0%9f%a6%80", "/%F0%9F%A6%80"),
        // Every pchar that is not `;`.
        ("/!$&'()*+,=:@-._~", "/!$&'()*+,=:@-._~"),
        // Data, since query and fragment are split off before decoding.
        ("/c%23", "/c%23"),
        ("/what%3f", "/what%3F"),
        // A percent sign as data.
        ("/100%25", "/100%25"),
        ("/100%25/a", "/100%25/a"),
        ("/%25zz", "/%25zz"),
        ("/%25a", "/%25a"),
        // Dots that are not dot segments.
        ("/...", "/..."),
        ("/.well-known/x", "/.well-known/x"),
        ("/a..b/..c/d..", "/a..b/..c/d.."),
        ("/%2e%2e%2e", "/..."),
        ("/.a", "/.a"),
    ];
    for (raw, expected) in table {
        assert_eq!(parse(raw).as_deref(), Ok(expected), "{raw}");
    }
}

#[test]
fn spellings_with_two_readings_are_refused() {
    use PathRefusal::*;
    let table: &[(&[u8], PathRefusal)] = &[
        (b"", NotAbsolute),
        (b"admin", NotAbsolute),
        (b"*", NotAbsolute),
        (b"@evil/admin", NotAbsolute),
        (b"http://a/admin", NotAbsolute),
        (b"\\admin", NotAbsolute),
        (b"%2fadmin", NotAbsolute),
        (b"//", DoubleSlash),
        (b"//admin/x", DoubleSlash),
        (b"/admin//x", DoubleSlash),
        (b"/admin/x//", DoubleSlash),
        (b"/.", DotSegment),
        (b"/..", DotSegment),
        (b"/./admin", DotSegment),
        (b"/admin/./x", DotSegment),
        (b"/public/../admin", DotSegment),
        (b"/public/%2e%2e/admin", DotSegment),
        (b"/public/.%2E/admin", DotSegment),
        (b"/public/%2e./admin", DotSegment),
        (b"/a/%2e", DotSegment),
        (b"/a/../", DotSegment),
        (b"/admin%2fx", EncodedSlash),
        (b"/admin%2Fx", EncodedSlash),
        (b"/a/..%2fadmin", EncodedSlash),
        (b"/admin\\x", Backslash),
        (b"/a/..\\admin", Backslash),
        (b"/admin%5cx", EncodedBackslash),
        (b"/admin%5Cx", EncodedBackslash),
        (b"/admin;x", Semicolon),
        (b"/public;/../admin", Semicolon),
        (b"/a/..;/admin", Semicolon),
        (b"/;a=b/admin", Semicolon),
        (b"/admin%3bx", Semicolon),
        (b"/admin%3B", Semicolon),
        (b"/admin/x#y", Fragment),
        (b"/#", Fragment),
        (b"/admin\0", Control),
        (b"/admin\t", Control),
        (b"/admin\x7f", Control),
        (b"/admin%00", Control),
        (b"/admin%0a", Control),
        (b"/admin%0D%0Ax", Control),
        (b"/admin%1f", Control),
        (b"/admin%7F", Control),
        (b"/caf\xc3\xa9", NonAscii),
        (b"/caf\xe9", NonAscii),
        (b"/caf%e9", NonAscii),
        (b"/%c3", NonAscii),
        (b"/%c3a9", NonAscii),
        (b"/%a9", NonAscii),
        // Overlong slash, dot and NUL; a surrogate; above the last code point.
        (b"/a%c0%afb", NonAscii),
        (b"/a%e0%80%afb", NonAscii),
        (b"/%c0%ae%c0%ae/admin", NonAscii),
        (b"/%c0%80", NonAscii),
        (b"/%ed%a0%80", NonAscii),
        (b"/%f4%90%80%80", NonAscii),
        (b"/%", BadEscape),
        (b"/%2", BadEscape),
        (b"/%zz", BadEscape),
        (b"/%2/e", BadEscape),
        (b"/%u002e", BadEscape),
        (b"/%%32%65", BadEscape),
        (b"/%+1", BadEscape),
        (b"/%2561dmin", DoubleEscape),
        (b"/a%252fb", DoubleEscape),
        (b"/a%252Fb", DoubleEscape),
        (b"/%252e%252e/admin", DoubleEscape),
        (b"/%25%32%65", DoubleEscape),
        (b"/%25%32e", DoubleEscape),
        (b"/%2525", DoubleEscape),
        (b"/%2500", DoubleEscape),
        (b"/a b", NotPchar),
        (b"/a\"b", NotPchar),
        (b"/a<b>", NotPchar),
        (b"/a[1]", NotPchar),
        (b"/a^b", NotPchar),
        (b"/a`b", NotPchar),
        (b"/{a}", NotPchar),
        (b"/a|b", NotPchar),
        (b"/a?b", NotPchar),
    ];
    for (raw, expected) in table {
        let name = raw.escape_ascii();
        assert_eq!(CanonicalPath::parse(raw), Err(*expected), "{name}");
    }
}

#[test]
fn segments_are_compared_by_meaning() {
    let segment = Segment::new("A%20b%C3%A9");
    assert_eq!(&*segment.decoded(), "A bé".as_bytes());
    assert!(segment.eq_decoded("A bé".as_bytes()));
    assert!(!segment.eq_decoded("a bé".as_bytes()));
    assert!(segment.eq_decoded_ignore_case("a Bé".as_bytes()));
    assert!(!segment.eq_decoded_ignore_case("a BÉ".as_bytes()), "only ASCII is folded");
    assert!(!segment.eq_decoded(b"A b"));
    assert!(matches!(Segment::new("plain").decoded(), std::borrow::Cow::Borrowed(b"plain")));
}

#[test]
fn a_path_splits_into_segments() {
    let table: [(&str, &[&str]); 4] = [("/", &[]), ("/a", &["a"]), ("/a/", &["a", ""]), ("/a/b%20c", &["a", "b%20c"])];
    for (raw, expected) in table {
        let path = CanonicalPath::parse(raw.as_bytes()).unwrap();
        assert_eq!(path.segments().map(Segment::raw).collect::<Vec<_>>(), expected, "{raw}");
    }
}

/// Bytes that paths are attacked with, more often than the rest.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[a-zA-Z.~_-]{1,3}".prop_map(String::into_bytes),
        3 => "%[0-9a-fA-F]{2}".prop_map(String::into_bytes),
        2 => Just(b"/".to_vec()),
        1 => Just(b"%25".to_vec()),
        1 => Just(b"%C3%A9".to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| [b"/".to_vec(), pieces.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::request::path::tests::cases(4_000), ..ProptestConfig::default() })]

    #[test]
    fn the_canonical_form_is_its_own_canonical_form(raw in hostile()) {
        if let Ok(path) = CanonicalPath::parse(&raw) {
            prop_assert_eq!(CanonicalPath::parse(path.as_str().as_bytes()), Ok(path.clone()));
            prop_assert!(path.as_str().is_ascii());
            prop_assert!(path.as_str().len() <= raw.len());
        }
    }

    #[test]
    fn the_canonical_form_means_the_same(raw in hostile()) {
        if let Ok(path) = CanonicalPath::parse(&raw) {
            let raw = std::str::from_utf8(&raw).unwrap();
            let before: Vec<u8> = Segment::new(raw).bytes().collect();
            let after: Vec<u8> = Segment::new(path.as_str()).bytes().collect();
            prop_assert_eq!(before, after);
        }
    }
}

/// How many cases a property runs; `CROSSGATE_CASES` multiplies it for a long run.
pub(crate) fn cases(default: u32) -> u32 {
    let factor = std::env::var("CROSSGATE_CASES").ok().and_then(|text| text.parse::<u32>().ok()).unwrap_or(1);
    default.saturating_mul(factor)
}
