use super::{Sources, Template, TemplateProblemKind as Kind};
use crate::policy::Cause;
use crate::policy::tests::Asked;
use crate::route::Pattern;

#[test]
fn a_value_is_taken_decoded_or_not_at_all() {
    let asked = Asked::new(
        "/orgs/{org}/{*rest}",
        "/orgs/a%20b%C3%A9/x/y%2Bz?w=w%201&twice=1&twice=1&bad=%ff",
        &[("x-team", "t 1"), ("x-twice", "a"), ("x-twice", "a")],
    );
    let table = [
        ("fixed", Ok("fixed")),
        ("{org}", Ok("a bé")),
        ("{rest}", Ok("x/y+z")),
        ("o:{org}:{query.w}", Ok("o:a bé:w 1")),
        ("{query.w}", Ok("w 1")),
        ("{query.none}", Err(Cause::MissingValue)),
        ("{query.twice}", Err(Cause::AmbiguousValue)),
        ("{query.bad}", Err(Cause::AmbiguousValue)),
        ("{header.x-team}", Ok("t 1")),
        ("{header.X-Team}", Ok("t 1")),
        ("{header.x-none}", Err(Cause::MissingValue)),
        ("{header.x-twice}", Err(Cause::AmbiguousValue)),
        ("{org}{header.x-none}", Err(Cause::MissingValue)),
    ];
    for (text, expected) in table {
        let template = Template::parse(text, &asked.pattern(), Sources::Request).unwrap();
        let value = asked.with_source(|source| template.resolve(source).map(|value| value.into_owned()));
        assert_eq!(value, expected.map(|text| text.as_bytes().to_vec()), "{text}");
    }
}

#[test]
fn templates_that_mean_nothing_are_problems() {
    let pattern = Pattern::parse("/orgs/{org}").unwrap();
    let table = [
        ("", 0, Kind::Empty),
        ("{", 0, Kind::Brace),
        ("a{org", 1, Kind::Brace),
        ("org}", 3, Kind::Brace),
        ("{org}}", 5, Kind::Brace),
        ("{{org}}", 0, Kind::Brace),
        ("{}", 1, Kind::UnknownSegment(String::new())),
        ("{orgs}", 1, Kind::UnknownSegment("orgs".to_owned())),
        ("x{*org}", 2, Kind::UnknownSegment("*org".to_owned())),
        ("{org}{ORG}", 6, Kind::UnknownSegment("ORG".to_owned())),
        ("{query.}", 1, Kind::BadName),
        ("{header.}", 1, Kind::BadName),
        ("{header.a b}", 1, Kind::BadName),
        ("{headers.a}", 1, Kind::UnknownSource("headers".to_owned())),
        ("{claims.sub}", 1, Kind::UnknownSource("claims".to_owned())),
    ];
    for (text, at, kind) in table {
        let problem = Template::parse(text, &pattern, Sources::Request).unwrap_err();
        assert_eq!((problem.at, problem.kind), (at, kind), "{text}");
    }
}

#[test]
fn a_template_says_which_headers_it_reads() {
    let pattern = Pattern::parse("/{org}").unwrap();
    let template = Template::parse("{header.X-A}-{org}-{header.x-b}", &pattern, Sources::Request).unwrap();
    assert_eq!(template.header_names().map(|name| name.as_str()).collect::<Vec<_>>(), ["x-a", "x-b"]);
}
