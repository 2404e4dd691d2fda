use super::{Part, Pattern, PatternProblemKind as Kind};
use crate::request::path::PathRefusal;

#[test]
fn patterns_are_read_into_parts() {
    let literal = |text: &str| Part::Literal(text.as_bytes().into());
    let table = [
        ("/", vec![], vec![], false),
        ("/a/b", vec![literal("a"), literal("b")], vec![], false),
        ("/a/", vec![literal("a")], vec![], true),
        ("/{x}/", vec![Part::Segment], vec!["x"], true),
        (
            "/orgs/{org}/w/{work-space_1}",
            vec![literal("orgs"), Part::Segment, literal("w"), Part::Segment],
            vec!["org", "work-space_1"],
            false,
        ),
        ("/a/{*rest}", vec![literal("a"), Part::Tail], vec!["rest"], false),
        ("/{*rest}", vec![Part::Tail], vec!["rest"], false),
        // As request paths are read.
        ("/%61%20b/%c3%a9", vec![literal("a b"), literal("é")], vec![], false),
        ("/a:b/@c", vec![literal("a:b"), literal("@c")], vec![], false),
    ];
    for (text, parts, names, trailing_slash) in table {
        let pattern = Pattern::parse(text).unwrap();
        assert_eq!(pattern.parts(), parts, "{text}");
        assert_eq!(pattern.names().collect::<Vec<_>>(), names, "{text}");
        assert_eq!(pattern.trailing_slash(), trailing_slash, "{text}");
        assert_eq!(pattern.as_str(), text);
    }
}

#[test]
fn patterns_that_could_never_match_are_problems() {
    let table = [
        ("", 0, Kind::Literal(PathRefusal::NotAbsolute)),
        ("a", 0, Kind::Literal(PathRefusal::NotAbsolute)),
        ("//", 1, Kind::Literal(PathRefusal::DoubleSlash)),
        ("/a//b", 3, Kind::Literal(PathRefusal::DoubleSlash)),
        ("/a/./b", 3, Kind::Literal(PathRefusal::DotSegment)),
        ("/a/%2e%2e", 3, Kind::Literal(PathRefusal::DotSegment)),
        ("/a/%zz", 3, Kind::Literal(PathRefusal::BadEscape)),
        ("/a/b?c", 3, Kind::Literal(PathRefusal::NotPchar)),
        ("/a/b#c", 3, Kind::Literal(PathRefusal::Fragment)),
        ("/é", 1, Kind::Literal(PathRefusal::NonAscii)),
        ("/{}", 1, Kind::NoName),
        ("/a/{*}", 3, Kind::NoName),
        ("/{a b}", 2, Kind::BadName),
        ("/{query.x}", 2, Kind::BadName),
        ("/{**rest}", 3, Kind::BadName),
        ("/{a}/{a}", 6, Kind::RepeatedName("a".to_owned())),
        ("/{a}/{*a}", 7, Kind::RepeatedName("a".to_owned())),
        ("/x{a}", 2, Kind::PartialSegment),
        ("/{a}x", 1, Kind::PartialSegment),
        ("/{a}{b}", 1, Kind::PartialSegment),
        ("/{a", 1, Kind::PartialSegment),
        ("/a}", 2, Kind::PartialSegment),
        ("/{*rest}/a", 8, Kind::TailNotLast),
        ("/{*rest}/", 8, Kind::TailNotLast),
        ("/a/{*rest}/{b}", 10, Kind::TailNotLast),
    ];
    for (text, at, kind) in table {
        let problem = Pattern::parse(text).unwrap_err();
        assert_eq!((problem.at, problem.kind), (at, kind), "{text}");
    }
}

#[test]
fn captures_and_segments_are_bounded() {
    let captures = |count: usize| (0..count).map(|n| format!("/{{c{n}}}")).collect::<String>();
    assert!(Pattern::parse(&captures(16)).is_ok());
    assert_eq!(Pattern::parse(&captures(17)).unwrap_err().kind, Kind::TooManyCaptures);
    assert!(Pattern::parse(&"/a".repeat(64)).is_ok());
    assert_eq!(Pattern::parse(&"/a".repeat(65)).unwrap_err().kind, Kind::TooManySegments);
}
