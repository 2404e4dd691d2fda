use serde_json::json;

use super::{Sources, Template, TemplateProblemKind as Kind};
use crate::identity::Facts;
use crate::policy::tests::{Asked, member};
use crate::policy::{Cause, ClaimPathProblemKind};
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

fn claims() -> Facts {
    let claims = json!({
        "sub": "u 1", "level": 3, "staff": true, "none": null, "teams": ["a"], "meta": { "team": "ops\n%", "a.b": 1.5 },
    });
    Facts { claims: claims.as_object().unwrap().clone(), ..member() }
}

#[test]
fn a_label_is_one_line_out_of_which_the_bytes_can_be_told() {
    let asked = Asked::new(
        "/orgs/{org}/{*rest}",
        "/orgs/a%20b%C3%A9/x/y%25?w=w%201%0d%0a&twice=1&twice=1",
        &[("x-team", "t 1"), ("x-twice", "a"), ("x-twice", "a")],
    );
    let table = [
        ("fixed 100%", "fixed 100%"),
        ("{org}", "a%20b%C3%A9"),
        ("{rest}", "x/y%25"),
        ("o:{org}:{query.w}", "o:a%20b%C3%A9:w%201%0D%0A"),
        ("<{query.none}>", "<>"),
        ("<{query.twice}>", "<1 & 1>"),
        ("{header.x-team}<{header.x-none}><{header.x-twice}>", "t%201<><>"),
        ("{claim.sub}", "u%201"),
        ("{claim.level}-{claim.staff}", "3-true"),
        ("{claim.meta.team}", "ops%0A%25"),
        ("{claim.meta.\"a.b\"}", "1.5"),
        ("<{claim.none}><{claim.teams}><{claim.meta}><{claim.sub.x}><{claim.nowhere}>", "<><><><><>"),
    ];
    for (text, expected) in table {
        let template = Template::parse(text, &asked.pattern(), Sources::RequestAndClaims).unwrap();
        assert_eq!(asked.label(&template, Some(claims())), expected, "{text}");
    }
    let template = Template::parse("{org}:{claim.sub}", &asked.pattern(), Sources::RequestAndClaims).unwrap();
    assert_eq!(asked.label(&template, None), "a%20b%C3%A9:", "nobody is named");
}

#[test]
fn claims_are_named_by_the_audit_trail_only() {
    let pattern = Pattern::parse("/orgs/{org}").unwrap();
    let rule = Template::parse("{claim.sub}", &pattern, Sources::Request).unwrap_err();
    assert_eq!(rule.kind, Kind::UnknownSource("claim".to_owned()));
    let table = [
        ("{claim.}", 1, Kind::BadClaim(ClaimPathProblemKind::EmptyName)),
        ("a{claim.a..b}", 2, Kind::BadClaim(ClaimPathProblemKind::EmptyName)),
        ("{claim.\"a}", 1, Kind::BadClaim(ClaimPathProblemKind::Quote)),
        ("{claims.sub}", 1, Kind::UnknownSourceOfAudit("claims".to_owned())),
        ("{claim}", 1, Kind::UnknownSegment("claim".to_owned())),
        ("", 0, Kind::Empty),
    ];
    for (text, at, kind) in table {
        let problem = Template::parse(text, &pattern, Sources::RequestAndClaims).unwrap_err();
        assert_eq!((problem.at, problem.kind), (at, kind), "{text}");
    }
}

#[test]
fn a_claim_that_a_rule_should_ever_read_is_unknown() {
    let asked = Asked::new("/{org}", "/a", &[]);
    let template = Template::parse("{claim.sub}", &asked.pattern(), Sources::RequestAndClaims).unwrap();
    let value = asked.with_source(|source| template.resolve(source).map(|value| value.into_owned()));
    assert_eq!(value, Err(Cause::MissingClaim));
}

/// Found by a reviewer: 16 KiB of a query became a label of 74 MB.
#[test]
fn the_readings_of_a_parameter_are_no_longer_than_the_query() {
    let query = format!("w={}", "%=;".repeat(5000));
    let asked = Asked::new("/x", &format!("/x?{query}"), &[]);
    let template = Template::parse("w:{query.w}", &asked.pattern(), Sources::RequestAndClaims).unwrap();
    let label = asked.label(&template, None);
    assert!(label.starts_with("w:%25=;%25=;") && label.len() < 4 * query.len(), "{}", label.len());
}
