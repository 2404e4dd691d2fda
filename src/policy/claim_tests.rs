use serde_json::{Map, Value, json};

use super::{ClaimPath, ClaimPathProblemKind as Kind, ClaimRule, ClaimValue};
use crate::policy::{Cause, Tri};

fn claims() -> Map<String, Value> {
    let Value::Object(claims) = json!({
        "department": "eng",
        "staff": true,
        "level": 3,
        "half": 2.5,
        "big": 9_007_199_254_740_993_u64,
        "tags": ["a", "b"],
        "mixed": ["a", 1, null],
        "none": [],
        "nothing": null,
        "nested": { "deep": { "x": "y" }, "dot.ted": 1, "": 2 },
        "https://example.com/staff": { "ok": true },
        "lists": [["a"]],
    }) else {
        unreachable!()
    };
    claims
}

#[test]
fn claims_are_compared_by_type_and_value() {
    let no = |cause| Tri::Unknown(cause);
    let table = [
        ("department", json!(["eng", "ops"]), Tri::True),
        ("department", json!(["ops"]), Tri::False),
        ("department", json!(["Eng"]), Tri::False),
        ("department", json!([true]), no(Cause::OtherType)),
        ("department", json!([1, "ops"]), Tri::False),
        ("staff", json!([true]), Tri::True),
        ("staff", json!([false]), Tri::False),
        ("staff", json!(["true"]), no(Cause::OtherType)),
        ("level", json!([3]), Tri::True),
        ("level", json!([3.0]), Tri::True),
        ("level", json!([4]), Tri::False),
        ("level", json!(["3"]), no(Cause::OtherType)),
        ("half", json!([2.5]), Tri::True),
        ("half", json!([2]), Tri::False),
        // Rounded to a float, both would be equal.
        ("big", json!([9_007_199_254_740_992_u64]), Tri::False),
        ("big", json!([9_007_199_254_740_992.0]), Tri::False),
        ("big", json!([9_007_199_254_740_993_u64]), Tri::True),
        ("tags", json!(["b", "z"]), Tri::True),
        ("tags", json!(["z"]), Tri::False),
        ("tags", json!([1]), no(Cause::OtherType)),
        ("mixed", json!(["a"]), Tri::True),
        ("mixed", json!(["z"]), no(Cause::OtherType)),
        ("none", json!(["z"]), Tri::False),
        ("lists", json!(["a"]), no(Cause::OtherType)),
        ("nothing", json!(["a"]), no(Cause::MissingClaim)),
        ("absent", json!(["a"]), no(Cause::MissingClaim)),
        ("nested", json!(["a"]), no(Cause::OtherType)),
        ("nested.deep.x", json!(["y"]), Tri::True),
        ("nested.deep.z", json!(["y"]), no(Cause::MissingClaim)),
        ("nested.\"dot.ted\"", json!([1]), Tri::True),
        ("nested.dot.ted", json!([1]), no(Cause::MissingClaim)),
        ("nothing.x", json!([1]), no(Cause::MissingClaim)),
        ("department.x", json!([1]), no(Cause::OtherType)),
        ("\"https://example.com/staff\".ok", json!([true]), Tri::True),
        ("department", json!([]), no(Cause::OtherType)),
    ];
    for (path, asked, expected) in table {
        let Value::Array(asked) = asked else { unreachable!() };
        let any_of = asked.into_iter().map(|value| ClaimValue::new(value).unwrap()).collect();
        let rule = ClaimRule { path: ClaimPath::parse(path).unwrap(), any_of };
        assert_eq!(rule.holds(&claims()), expected, "{path} {:?}", rule.any_of);
    }
}

#[test]
fn paths_of_claims_have_names() {
    let table = [
        ("", 0, Kind::EmptyName),
        (".", 0, Kind::EmptyName),
        ("a.", 2, Kind::EmptyName),
        ("a..b", 2, Kind::EmptyName),
        ("\"\"", 0, Kind::EmptyName),
        ("\"a", 0, Kind::Quote),
        ("\"a\"b", 0, Kind::Quote),
        ("a.\"b", 2, Kind::Quote),
    ];
    for (text, at, kind) in table {
        let problem = ClaimPath::parse(text).unwrap_err();
        assert_eq!((problem.at, problem.kind), (at, kind), "{text}");
    }
}

#[test]
fn only_scalars_can_be_asked_for() {
    for value in [json!(null), json!([1]), json!({})] {
        assert_eq!(ClaimValue::new(value), None);
    }
}
