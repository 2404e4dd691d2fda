//! `when`: problems of a condition with their exact place, and what a condition must not read or always comes to.
//!
//! The language itself is `policy::Condition`'s; this file has the words, the near words and the codes.

use super::header;
use crate::config::codes::{self, Code};
use crate::config::decode::near;
use crate::config::places::At;
use crate::config::report::Problem;
use crate::policy::{
    Condition, ConditionProblem, ConditionProblemKind as Kind, ConditionScope, OrgName, RoleName, Rule, Tri,
};
use crate::request::fold::Reserved;

/// What a condition is compiled against.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) org_name: OrgName,
    /// A role with the legacy ones that mean it.
    pub(super) role: &'a dyn Fn(&str) -> RoleName,
    /// Headers that clients cannot send.
    pub(super) reserved: &'a Reserved,
}

/// `None` when a problem was told that leaves nothing to evaluate.
pub(super) fn compile(text: &str, scope: Scope<'_>, at: At<'_>, problems: &mut Vec<Problem>) -> Option<Rule> {
    let Scope { org_name, role, reserved } = scope;
    let condition = match Condition::parse(text, &ConditionScope { org_name, role }) {
        Ok(condition) => condition,
        Err(found) => {
            for ConditionProblem { at: byte, kind } in found {
                let (code, help) = explained(&kind);
                problems.push(Problem::at_span(code, at.source, at.within(text, byte), kind.to_string()).help(help));
            }
            return None;
        }
    };
    for (name, byte) in condition.headers() {
        if let Some((message, help)) = header::unreadable(name, reserved) {
            let span = at.within(text, byte);
            problems.push(Problem::at_span(codes::CONDITION_NAME, at.source, span, message).help(help));
        }
    }
    match condition.constant() {
        None => {}
        Some(Tri::True) => problems.push(
            Problem::at(codes::ALWAYS_TRUE, at, "this condition reads nothing and always holds")
                .help("remove it, or say what is asked of claims, identity or request")
                .warning(),
        ),
        Some(Tri::False | Tri::Unknown(_)) => problems.push(
            Problem::at(codes::NEVER_TRUE, at, "this condition reads nothing and never holds")
                .help("remove the route, or say what is asked of claims, identity or request"),
        ),
    }
    Some(Rule::When(Box::new(condition)))
}

fn explained(kind: &Kind) -> (Code, String) {
    let help = |text: &str| text.to_owned();
    match kind {
        Kind::Empty => (codes::CONDITION, help("write it as in when: 'claims.level >= 3'")),
        Kind::Syntax(why) if why.contains("has() macro") => {
            (codes::CONDITION, help("write has(claims.name), or \"name\" in claims"))
        }
        Kind::Syntax(why) if why.contains("unsupported syntax") => {
            (codes::CONDITION, help("conditions are plain CEL, without extensions"))
        }
        Kind::Syntax(why) if ["'and'", "'or'"].iter().any(|word| why.contains(word)) => {
            (codes::CONDITION, help("write && for and, || for or"))
        }
        Kind::Syntax(_) => {
            (codes::CONDITION, help("write it as in when: 'claims.level >= 3 && request.method == \"GET\"'"))
        }
        Kind::Assignment => (codes::CONDITION, help("write `==`")),
        Kind::TooLong { .. } | Kind::TooMany { .. } | Kind::TooDeep { .. } | Kind::TooManyLists { .. } => {
            (codes::CONDITION_COST, help("split it over several rules: all: [{ when: … }, { when: … }]"))
        }
        Kind::Nested => (codes::CONDITION_COST, help("ask about one list at a time")),
        Kind::Unknown { name, known, .. } => {
            let help = match near(name, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", known.join(", ")),
            };
            (codes::CONDITION_NAME, help)
        }
        Kind::Whole(base) => {
            (codes::CONDITION_NAME, format!("write {base}.name or {base}[\"name\"], or \"name\" in {base}"))
        }
        Kind::Arguments { wanted, .. } => (codes::CONDITION, format!("write it as in {wanted}")),
        Kind::Matches => (codes::CONDITION_NAME, help("use startsWith, endsWith or contains")),
        Kind::NotOffered(_) => (codes::CONDITION, help("the language is described in docs/policies.md")),
        Kind::BadName(_) => (codes::CONDITION_NAME, help("write the name as it is sent")),
        Kind::UpperCase(name) => (codes::CONDITION_NAME, format!("write {name}")),
        Kind::Shadows(_) => (codes::CONDITION_NAME, help("call it otherwise, as in list.exists(x, x == 1)")),
        Kind::Mismatch(..) | Kind::NoComparison(_) => {
            (codes::NEVER_TRUE, help("compare like with like: int(…), double(…) and string(…) convert"))
        }
        Kind::NoAnswer(_) => (codes::NEVER_TRUE, help("compare it with something")),
    }
}
