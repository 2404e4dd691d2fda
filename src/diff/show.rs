//! The difference as programs read it. Values of the config are shown only where they are no secret.

use serde_json::{Value, json};

use super::{Case, Change, Difference, Direction, FailOn, Landing, Outcome};

/// One object: `ok` (both could be loaded), `changed`, `widening`, `narrowing`, then everything in the order in which people see it.
pub fn to_json(difference: &Difference) -> Value {
    json!({
        "ok": true,
        "changed": difference.has(FailOn::Any),
        "widening": difference.has(FailOn::Widening),
        "narrowing": difference.has(FailOn::Narrowing),
        "changes": difference.changes.iter().map(change).collect::<Vec<_>>(),
        "also": difference.also.iter().map(|also| json!({
            "effect": also.effect.as_str(),
            "what": also.what,
            "meaning": also.meaning,
        })).collect::<Vec<_>>(),
        "not_compared": difference.gaps,
        "compared": { "requests": difference.compared.requests, "decisions": difference.compared.decisions },
    })
}

fn change(change: &Change) -> Value {
    json!({
        "methods": change.methods,
        "paths": change.paths,
        "conditions": change.conditions,
        "example": change.example,
        "old": landing(&change.old),
        "new": landing(&change.new),
        "cases": change.cases.iter().map(case).collect::<Vec<_>>(),
    })
}

fn landing(landing: &Landing) -> Value {
    match landing {
        Landing::Route { id, place } => json!({ "route": id, "file": &*place.file, "line": place.line }),
        Landing::Refused { status, code } => json!({ "route": null, "status": status, "code": code }),
    }
}

fn case(case: &Case) -> Value {
    let Case { direction, who, more, old, new, predicates } = case;
    json!({
        "direction": direction,
        "old": outcome(old),
        "new": outcome(new),
        "predicates": predicates,
        "who": who.iter().map(|who| json!({ "with": who.kinds, "traits": who.traits })).collect::<Vec<_>>(),
        "more": if *direction == Direction::Reason { 0 } else { *more },
    })
}

fn outcome(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Allow { named, reported } => {
            json!({ "decision": "allow", "status": 200, "code": "ok", "named": named, "reported": reported })
        }
        Outcome::Deny { status, code, predicate: _ } => json!({ "decision": "deny", "status": status, "code": code }),
    }
}
