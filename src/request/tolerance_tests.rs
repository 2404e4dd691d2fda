use super::*;

#[test]
fn an_odd_path_is_kept_as_it_came_and_noted() {
    use Oddity::{DoubleEscape, DoubleSlash, EncodedSlash, Semicolon};
    let table: [(&str, &str, &[Oddity]); 12] = [
        ("/a/b", "/a/b", &[]),
        ("/a%2fb", "/a%2Fb", &[EncodedSlash]),
        ("/a;v=1/b", "/a;v=1/b", &[Semicolon]),
        ("/a%3bb", "/a%3Bb", &[Semicolon]),
        ("/a//b", "/a//b", &[DoubleSlash]),
        ("/a//", "/a//", &[DoubleSlash]),
        ("/a%252fb", "/a%252fb", &[DoubleEscape]),
        ("/a%25zz", "/a%25zz", &[]),
        ("/a%2Fb;c//d%2541", "/a%2Fb;c//d%2541", &[EncodedSlash, Semicolon, DoubleSlash, DoubleEscape]),
        ("/%61%2Fb", "/a%2Fb", &[EncodedSlash]),
        ("/a%25%34%31", "/a%2541", &[DoubleEscape]),
        ("/a/", "/a/", &[]),
    ];
    for (raw, canonical, oddities) in table {
        let expected = oddities.iter().fold(Oddities::NONE, |all, one| all.with(*one));
        let (path, found) = CanonicalPath::parse_odd(raw.as_bytes(), Oddities::ALL).unwrap();
        assert_eq!((path.as_str(), found), (canonical, expected), "{raw}");
        let strict = CanonicalPath::parse(raw.as_bytes());
        assert_eq!(strict.is_ok(), expected.is_empty(), "{raw}");
        for missing in oddities {
            let others = oddities.iter().filter(|one| *one != missing).fold(Oddities::NONE, |all, one| all.with(*one));
            let refused = CanonicalPath::parse_odd(raw.as_bytes(), others).unwrap_err();
            assert_eq!(Refusal::Path(refused), missing.refusal(), "{raw}");
        }
    }
}

#[test]
fn what_nobody_tolerates_stays_refused() {
    for raw in [
        "//a",
        "//",
        "/a/../b",
        "/a/.//b",
        "/..;/a//..",
        "/a%5Cb",
        "/a\\b",
        "/a%00",
        "/a#b",
        "a",
        "/%c0%af",
        "/a b",
        "/%2",
    ] {
        assert!(CanonicalPath::parse_odd(raw.as_bytes(), Oddities::ALL).is_err(), "{raw}");
    }
}

#[test]
fn all_that_an_odd_path_may_be_read_as() {
    let table: [(&str, &[&str]); 9] = [
        ("/a/b", &[]),
        ("/a%2Fb", &["/a/b"]),
        ("/a;v=1/b", &["/a/b", "/a"]),
        ("/a%3Bv/b", &["/a/b", "/a"]),
        ("/a//b", &["/a/b"]),
        ("/a%2541", &["/aA"]),
        ("/a%252Fb", &["/a%2Fb", "/a/b"]),
        ("/a%252525252Fb", &[]),
        ("/x%2F%2Fy", &["/x//y", "/x/y"]),
    ];
    for (path, expected) in table {
        let Ok(found) = readings(path) else {
            assert_eq!(path, "/a%252525252Fb");
            continue;
        };
        let mut found: Vec<_> = found.iter().map(CanonicalPath::as_str).collect();
        let mut expected = expected.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{path}");
    }
}

#[test]
fn a_reading_that_leads_elsewhere_is_tolerated_by_nobody() {
    for path in [
        "/a/..%2Fadmin",
        "/a/..;/admin",
        "/a/..;x=1",
        "/a/%252e%252e/admin",
        "/a/%252E%252E%252Fadmin",
        "/%2Fadmin",
        "/a%255Cb",
        "/a%2500",
        "/;x/admin",
        "/a/.;",
        "/%25252e%25252e/x",
    ] {
        assert!(readings(path).is_err(), "{path}: {:?}", readings(path));
    }
}

#[test]
fn readings_of_a_long_path_take_no_time() {
    let started = std::time::Instant::now();
    for piece in ["%25", "%2525", "%252F", "%2F", ";", "//", "%3B/", "a;/", "%25252F"] {
        let path = format!("/a{}", piece.repeat(16_000 / piece.len()));
        let _ = readings(&path);
    }
    assert!(started.elapsed().as_secs() < 10);
}
