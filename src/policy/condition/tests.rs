use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::identity::{Org, TokenKind, Workspace, Workspaces};
use crate::policy::Cause;
use crate::policy::tests::Asked as Request;

fn parse(text: &str) -> Result<Condition, Vec<ConditionProblem>> {
    Condition::parse(text, &ConditionScope { org_name: OrgName::ClerkId, role: &RoleName::new })
}

fn ada() -> Facts {
    Facts {
        subject: "user_ada".to_owned(),
        token: TokenKind::Session,
        org: Some(Org {
            id: "org_1".to_owned(),
            role: Some("org:admin".to_owned()),
            permissions: Some(vec!["org:x:y".to_owned()]),
            ..Org::default()
        }),
        workspaces: Workspaces::Known(vec![Workspace { id: "w1".to_owned(), role: None }]),
        claims: json!({
            "level": 3, "half": 2.5, "big": u64::MAX, "name": "ada", "staff": true, "none": null, "text3": "3",
            "roles": ["eng", "ops"], "mixed": [1, "a"], "empty": [], "deep": { "a": { "b": [10, 20] }, "null": null },
            "https://example.com/x": 1, "people": [{ "n": 1 }, { "n": 2 }, { "m": 3 }],
            "max": i64::MAX, "min": i64::MIN, "zero": 0,
        })
        .as_object()
        .unwrap()
        .clone(),
        ..Facts::default()
    }
}

fn request() -> Request {
    Request::new(
        "/{*rest}",
        "/api/caf%C3%A9/7?q=a+b&twice=1&twice=2&n=12&odd=%ff",
        &[("x-env", "prod"), ("x-two", "1"), ("x-two", "2")],
    )
}

fn outcome(text: &str) -> Tri {
    let condition = parse(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
    request().with_source(|source| condition.holds(&ada(), source))
}

const T: Tri = Tri::True;
const F: Tri = Tri::False;
const MISSING: Tri = Tri::Unknown(Cause::MissingClaim);
const ABSENT: Tri = Tri::Unknown(Cause::MissingValue);
const OTHER: Tri = Tri::Unknown(Cause::OtherType);
const TWICE: Tri = Tri::Unknown(Cause::AmbiguousValue);
const NO_NUMBER: Tri = Tri::Unknown(Cause::NoNumber);
const LARGE: Tri = Tri::Unknown(Cause::TooLarge);

#[test]
fn what_conditions_come_to() {
    let table = [
        // The example of the contract.
        (r#"claims.level >= 3 && request.headers["x-env"] == "prod""#, T),
        ("claims.level > 3", F),
        ("claims.half > 2 && claims.half < 3", T),
        ("claims.level == 3.0 && 3u == claims.level", T),
        ("claims.big == 18446744073709551615u && claims.big > 1.0", T),
        ("claims.big > 18446744073709551615.0", F),
        ("claims.name == 'ada' && claims.name != 'bob' && claims.name < 'b'", T),
        ("claims.staff", T),
        ("!claims.staff", F),
        ("claims['level'] == 3 && claims[\"https://example.com/x\"] == 1", T),
        ("claims.deep.a.b[1] == 20", T),
        ("claims.deep.a.b[2] == 20", ABSENT),
        ("claims.deep.a.b[-1] == 20", ABSENT),
        ("claims.deep['a'].b.size() == 2 && size(claims.name) == 3 && size('é') == 1", T),
        ("claims.level in [1, 2, 3]", T),
        ("claims.level in [1, 2]", F),
        ("'ops' in claims.roles", T),
        ("'hr' in claims.roles", F),
        ("'a' in claims.deep && !('x' in claims.deep)", T),
        ("'level' in claims && !('nothing' in claims)", T),
        ("claims.level + 1 == 4 && claims.level * 2 - 1 == 5 && claims.level / 2 == 1 && claims.level % 2 == 1", T),
        ("-claims.level == -3", T),
        ("claims.name + '!' == 'ada!'", T),
        ("claims.level > 2 ? claims.staff : false", T),
        ("claims.name.startsWith('a') && claims.name.endsWith('da') && claims.name.contains('d')", T),
        ("string(claims.level) == claims.text3 && int(claims.text3) == 3 && double(claims.text3) == 3.0", T),
        // The caller.
        ("identity.subject == 'user_ada' && identity.org == 'org_1' && 'org_1' == identity.org", T),
        ("identity.org != 'org_1'", F),
        ("identity.org in ['org_0', 'org_1']", T),
        ("identity.role == 'org:admin' && identity.role == 'admin' && identity.role in ['owner', 'admin']", T),
        ("identity.role != 'admin'", F),
        ("'org:x:y' in identity.permissions && 'x:y' in identity.permissions", T),
        ("'w1' in identity.workspaces && identity.workspaces.exists(w, w == 'w1')", T),
        ("identity.token == 'session' && identity.method == 'clerk'", T),
        // The request.
        ("request.method == 'GET' && request.method in ['GET', 'POST']", T),
        ("request.path == '/api/caf%C3%A9/7' && request.path.startsWith('/api/')", T),
        ("request.segments[1] == 'café' && request.segments.size() == 3", T),
        ("request.segments[3] == 'x'", ABSENT),
        ("request.query.q == 'a b' && int(request.query['n']) <= 12", T),
        ("request.query.twice == '1'", TWICE),
        ("request.query.odd == 'x'", TWICE),
        ("request.query.none == 'x'", ABSENT),
        ("has(request.query.none)", F),
        (
            "has(request.query.q) && 'q' in request.query && 'x-env' in request.headers && has(request.headers.`x-env`)",
            T,
        ),
        ("has(request.query.twice)", TWICE),
        ("request.headers['x-two'] == '1'", TWICE),
        ("request.headers.none == '1'", ABSENT),
        ("request.client == '127.0.0.1'", ABSENT),
        ("has(request.client)", F),
        // What cannot be told.
        ("claims.nothing == 1", MISSING),
        ("!(claims.nothing == 1)", MISSING),
        ("claims.nothing != 1", MISSING),
        ("claims.nothing", MISSING),
        ("claims.none == 1", MISSING),
        ("claims.none == null && claims.level != null", T),
        ("claims.nothing == null", MISSING),
        ("claims.level", OTHER),
        ("claims.level == '3'", OTHER),
        ("claims.level != '3'", OTHER),
        ("!(claims.text3 == 3)", OTHER),
        ("claims.staff == 'yes'", OTHER),
        ("claims.roles == claims.roles", OTHER),
        ("claims.roles < 3", OTHER),
        ("claims.level.x == 1", OTHER),
        ("claims.roles['a'] == 1", OTHER),
        ("claims.name[0] == 'a'", OTHER),
        ("'b' in claims.mixed", OTHER),
        ("'a' in claims.mixed", T),
        ("3 in claims.deep", OTHER),
        ("claims.max + 1 > 0", NO_NUMBER),
        ("-claims.min > 0", NO_NUMBER),
        ("claims.min / -1 > 0", NO_NUMBER),
        ("claims.min % -1 == 0", NO_NUMBER),
        ("claims.level / claims.zero > 0", NO_NUMBER),
        ("claims.half / 0.0 > 1.0", NO_NUMBER),
        ("claims.level + claims.half > 1", OTHER),
        ("int(claims.name) == 1", NO_NUMBER),
        ("int('+3') == 3 || int(' 3') == 3", NO_NUMBER),
        ("double('NaN') == 1.0 || double('inf') > 1.0", NO_NUMBER),
        ("int(claims.big) > 0", NO_NUMBER),
        // One side that decides does so beside an unknown one.
        ("claims.nothing == 1 || true", T),
        ("true || claims.nothing == 1", T),
        ("claims.nothing == 1 && false", F),
        ("claims.level == 3 && claims.nothing == 1", MISSING),
        ("claims.nothing || claims.level == 3", T),
        ("claims.level || claims.staff", T),
        ("claims.level && claims.staff", OTHER),
        ("claims.nothing ? true : true", MISSING),
        // Presence.
        ("has(claims.level) && !has(claims.nothing) && has(claims.none)", T),
        ("has(claims.deep.a.b) && !has(claims.deep.x)", T),
        ("has(claims.nothing.x)", MISSING),
        ("has(claims.level.x)", OTHER),
        ("has(claims.nothing) && claims.nothing == 1", F),
        ("has(identity.org) && has(identity.role)", T),
        // Lists.
        ("claims.roles.all(r, r != 'hr') && claims.roles.exists(r, r == 'eng')", T),
        ("claims.roles.exists_one(r, r.startsWith('e'))", T),
        ("claims.empty.all(r, false) && !claims.empty.exists(r, true)", T),
        ("claims.people.exists(p, p.n == 2)", T),
        ("claims.people.exists(p, p.n == 9)", MISSING),
        ("claims.people.all(p, p.n == 9)", F),
        ("claims.people.all(p, p.n > 0)", MISSING),
        ("claims.people.filter(p, has(p.n)).size() == 2", T),
        ("2 in claims.people.map(p, has(p.n), p.n)", T),
        ("claims.deep.exists(k, k == 'a')", T),
        ("claims.level.exists(x, x == 1)", OTHER),
        ("claims.roles.filter(r, claims.nothing).size() == 0", MISSING),
    ];
    for (text, expected) in table {
        assert_eq!(outcome(text), expected, "{text}");
    }
}

#[test]
fn what_is_refused_at_load() {
    let deep = format!("{}claims.a{}", "(".repeat(30), ")".repeat(30));
    let table = [
        ("", 0, "a condition is missing"),
        ("claims.level >=", 15, "cannot be read"),
        ("claims.level = 3", 13, "`=` compares nothing"),
        ("claims.a and claims.b", 9, "cannot be read"),
        ("claims.a == \"x", 12, "unterminated"),
        ("claim.level == 3", 0, "no variable `claim`"),
        ("true && idenity.org == 'x'", 8, "no variable `idenity`"),
        ("identity.orgg == 'x'", 9, "`identity` has no `orgg`"),
        ("claims.a == 1 && request.pth == 'x'", 25, "`request` has no `pth`"),
        ("request['pth'] == 'x'", 9, "`request` has no `pth`"),
        ("claims.name.matches('a')", 12, "regular expressions"),
        ("claims.name.beginsWith('a')", 12, "no function `beginsWith`"),
        ("lower(claims.name) == 'a'", 0, "no function `lower`"),
        ("startsWith(claims.name, 'a')", 0, "other arguments"),
        ("request.headers[request.query.h] == 'x'", 15, "written out"),
        ("request.query[claims.x] == 'x'", 13, "written out"),
        ("claims[request.query.h] == 'x'", 6, "written out"),
        ("request.query.q in claims", 16, "written out"),
        ("size(claims) == 1", 5, "written out"),
        ("request.headers['X-Env'] == 'x'", 17, "lower case"),
        ("request.headers['a b'] == 'x'", 17, "a header cannot have this name"),
        ("claims.a.exists(x, claims.b.exists(y, x == y))", 28, "cannot stand within another"),
        ("claims.a.filter(x, x > 1).exists(x, x > 2)", 26, "cannot stand within another"),
        ("claims.a.exists(claims, claims == 1)", 9, "would hide"),
        (
            "[1].all(x, true) && [1].all(x, true) && [1].all(x, true) && [1].all(x, true) && [1].all(x, true)",
            84,
            "at most 4",
        ),
        ("identity.subject == 3", 17, "a text stands where a number is needed"),
        ("claims.staff < true", 13, "cannot be compared"),
        ("identity.subject", 0, "true or false, and this is a text"),
        ("claims.level + 1", 0, "this is a number"),
        ("identity.subject && true", 8, "a text stands where true or false is needed"),
        ("identity.permissions == ['a']", 21, "a list cannot be compared"),
        ("claims.a == b'x'", 12, "no bytes"),
        ("claims.a == {'x': 1}", 12, "no maps"),
        ("Type{x: 1} == claims.a", 0, "no messages"),
        ("claims.?a == 1", 6, "cannot be read"),
        (deep.as_str(), 0, ""),
    ];
    for (text, at, message) in table {
        let Err(problems) = parse(text) else {
            assert!(message.is_empty(), "{text} is read");
            continue;
        };
        let first = problems.first().unwrap();
        assert!(first.kind.to_string().contains(message), "{text}: {}", first.kind);
        assert_eq!(first.at, at, "{text}: {}", first.kind);
    }
}

#[test]
fn every_problem_of_names_is_told_at_once() {
    let problems = parse("idenity.org == 'x' && request.pth == 'x' && lower('a') == claims.x").unwrap_err();
    assert_eq!(problems.iter().map(|problem| problem.at).collect::<Vec<_>>(), [0, 30, 44]);
}

#[test]
fn hostile_texts_are_refused_in_bounded_time() {
    let started = std::time::Instant::now();
    for piece in [
        "a?",
        "a?b:",
        "!",
        "!-",
        "-",
        "(",
        "[",
        "{",
        "claims.a.exists(x,",
        "a.b(",
        "a[",
        "\"",
        "'''",
        "\\u",
        "é",
        "&&",
        "1e",
        "0x",
        "has(",
        ".",
        "a.f().",
        "a{b:",
    ] {
        for times in [50, 399, 4_000, 1_000_000] {
            let _ = parse(&piece.repeat(times));
        }
    }
    let _ = parse(&"a".repeat(8 << 20));
    assert!(started.elapsed().as_secs() < 20);
}

#[test]
fn hostile_claims_cost_no_more_than_the_budget() {
    let mut facts = ada();
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!({ "a": deep });
    }
    facts.claims.insert("many".to_owned(), json!(vec![1; 100_000]));
    facts.claims.insert("thousand".to_owned(), json!(vec!["x".repeat(100); 1000]));
    facts.claims.insert("long".to_owned(), json!("x".repeat(1 << 20)));
    facts.claims.insert("nul".to_owned(), json!("a\0b"));
    facts.claims.insert("__proto__".to_owned(), json!({ "constructor": true }));
    facts.claims.insert("tree".to_owned(), deep);
    let table = [
        ("claims.many.all(x, x == 1)", LARGE),
        ("2 in claims.many", LARGE),
        ("claims.thousand.all(x, x in claims.thousand)", T),
        ("claims.thousand.all(x, 'y' in claims.thousand)", F),
        ("claims.thousand.exists(x, 'y' in claims.thousand)", LARGE),
        ("claims.thousand.exists_one(x, 'y' in claims.thousand)", LARGE),
        ("claims.many.size() == 100000", T),
        ("claims.long + claims.long == 'x'", LARGE),
        ("claims.thousand.all(x, !claims.long.contains('y'))", LARGE),
        ("claims.thousand.all(x, size(claims.long) > 1)", LARGE),
        ("claims.nul == 'a' || claims.nul.startsWith('b')", F),
        ("claims.nul == 'a\\x00b'", T),
        ("claims.__proto__.constructor", T),
        ("has(claims.constructor) || has(claims.toString)", F),
        ("claims.tree.a.a.a.a == 1", OTHER),
    ];
    for (text, expected) in table {
        let condition = parse(text).unwrap();
        assert_eq!(request().with_source(|source| condition.holds(&facts, source)), expected, "{text}");
    }
}

#[test]
fn what_a_condition_reads_is_known() {
    let condition =
        parse("claims.a.b == 1 && 'c.d' in claims && request.headers['x-a'] == claims.e[claims.f]").unwrap();
    assert_eq!(condition.claims(), ["a", "c.d", "e", "f"]);
    let headers: Vec<_> = condition.headers().map(|(name, at)| (name.as_str(), at)).collect();
    assert_eq!(headers, [("x-a", 55)]);
}

#[test]
fn what_reads_nothing_is_constant() {
    assert_eq!(parse("true").unwrap().constant(), Some(T));
    assert_eq!(parse("1 > 2").unwrap().constant(), Some(F));
    assert_eq!(parse("[1, 2].exists(x, x == 2)").unwrap().constant(), Some(T));
    assert_eq!(parse("claims.a == 1").unwrap().constant(), None);
    assert_eq!(parse("identity.role == 'a'").unwrap().constant(), None);
}

#[test]
fn whether_it_could_hold_for_somebody() {
    let table = [
        ("claims.level == 3", true, false),
        ("claims.level == 4", false, true),
        ("claims.nothing == 4", false, false),
        ("request.method == 'GET'", true, true),
        ("claims.level == 3 && request.method == 'GET'", true, true),
        ("claims.level == 4 && request.method == 'GET'", false, true),
        ("claims.nothing == 4 && request.method == 'GET'", false, true),
        ("claims.level == 3 || request.method == 'GET'", true, false),
        ("!(claims.level == 4 && request.method == 'GET')", true, false),
        ("has(request.query.x)", true, true),
        ("identity.org == request.segments[0]", true, true),
    ];
    for (text, hold, fail) in table {
        assert_eq!(parse(text).unwrap().could(&ada()), Can { hold, fail }, "{text}");
    }
}

#[test]
fn explain_shows_what_was_compared() {
    let show = |text: &str| {
        let condition = parse(text).unwrap();
        request().with_source(|source| condition.shown(&ada(), source))
    };
    assert_eq!(
        show(r#"claims.level >= 4 && request.headers["x-env"] == "prod""#),
        r#"claims.level >= 4 && request.headers["x-env"] == "prod"; claims.level is 3, request.headers["x-env"] is "prod""#
    );
    assert_eq!(show("claims.nothing"), "claims.nothing; claims.nothing is missing-claim");
    assert_eq!(
        show("claims.deep.a.b[0] == 1 || 'x' in claims.roles"),
        "claims.deep.a.b[0] == 1 || 'x' in claims.roles; claims.deep.a.b[0] is 10, claims.roles is [\"eng\", \"ops\"]"
    );
}

/// The pieces of which random conditions are made.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "1",
        "2",
        "3.0",
        "2.5",
        "'a'",
        "'3'",
        "true",
        "false",
        "null",
        "claims.level",
        "claims.half",
        "claims.name",
        "claims.staff",
        "claims.none",
        "claims.nothing",
        "claims.roles",
        "claims.mixed",
        "claims.deep.a.b[0]",
        "claims.big",
        "claims.max",
        "claims.min",
        "claims.zero",
        "[1, 2]",
        "['a', 'eng']",
        "claims.deep",
        "has(claims.nothing)",
        "has(claims.deep.a)",
        "claims.roles[0]",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let operators =
            prop::sample::select(vec!["&&", "||", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "in"]);
        prop_oneof![
            6 => (inner.clone(), operators, inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            1 => inner.clone().prop_map(|a| format!("!({a})")),
            1 => inner.clone().prop_map(|a| format!("-({a})")),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            1 => inner.clone().prop_map(|a| format!("size({a})")),
            1 => inner.clone().prop_map(|a| format!("string({a})")),
            1 => (prop::sample::select(vec!["all", "exists", "exists_one"]), inner.clone())
                .prop_map(|(name, a)| format!("claims.roles.{name}(x, x == {a})")),
            1 => (inner.clone(), inner).prop_map(|(a, b)| format!("({a}).startsWith({b})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Where ours answers, the interpreter of `cel` answers the same. The other way round ours is stricter: it says unknown
    /// where CEL calls values of two types unequal.
    #[test]
    fn the_interpreter_of_cel_agrees(text in expression()) {
        let Ok(condition) = parse(&text) else { return Ok(()) };
        let facts = ada();
        let ours = request().with_source(|source| condition.holds(&facts, source));
        if let Tri::Unknown(_) = ours {
            return Ok(());
        }
        let mut context = cel::Context::default();
        context.add_variable_from_value("claims", theirs(&facts.claims.into()));
        let answer = cel::Program::compile(&text).unwrap().execute(&context);
        prop_assert_eq!(answer, Ok(cel::Value::Bool(ours == Tri::True)), "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,80}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_odd_text_makes_it_panic(text in r#"([a-z]|claims|request\.|identity\.|[\[\](){}.,?:!<>=&|+*/%'"\\` \n-]|[0-9]{1,3}|0x|u|e|é|\.exists\(x, |has\(){0,40}"#) {
        if let Ok(condition) = parse(&text) {
            let facts = ada();
            request().with_source(|source| {
                let _ = condition.holds(&facts, source);
                let _ = condition.shown(&facts, source);
                let _ = condition.could(&facts);
            });
        }
    }

    /// Both of the crate's parsers read a condition alike.
    #[test]
    fn both_parsers_agree(text in expression()) {
        let one = cel::parser::PrattParser::new().parse(&text).unwrap();
        let other = cel::parser::Parser::new().parse(&text).unwrap();
        prop_assert_eq!(stripped(&format!("{one:?}")), stripped(&format!("{other:?}")), "{}", text);
    }
}

/// JSON as CEL has it, whole numbers as `int`.
fn theirs(json: &serde_json::Value) -> cel::Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => cel::Value::Null,
        Json::Bool(value) => cel::Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), ..) => cel::Value::Int(value),
            (None, Some(value), _) => cel::Value::UInt(value),
            (.., value) => cel::Value::Float(value.unwrap()),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(values) => values.iter().map(theirs).collect::<Vec<_>>().into(),
        Json::Object(members) => {
            let members: std::collections::HashMap<String, cel::Value> =
                members.iter().map(|(name, value)| (name.clone(), theirs(value))).collect();
            members.into()
        }
    }
}

/// Without the numbers that the parsers give to nodes.
fn stripped(debug: &str) -> String {
    let mut out = String::new();
    let mut rest = debug;
    while let Some(at) = rest.find("id: ") {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        rest = after.trim_start_matches("id: ").trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out.push_str(rest);
    out
}
