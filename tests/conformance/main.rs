//! Replays Clerk's own test cases against crossgate: what the SDK says about a token or a cookie, crossgate says too.
//!
//! `clerk/` holds the cases, `mint` makes their tokens, `replay` runs each function, `scope` says which functions
//! crossgate does not have. Where crossgate answers differently on purpose, `deviations.json` says why; a case that
//! differs without a reason fails, and so does a reason without a difference.
//!
//! `decision` holds crossgate's own table of two logins, all of its cells.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test program: what panics here is a failing test"
)]

mod authorization;
mod case;
mod decision;
mod mint;
mod paths;
mod replay;
mod scope;

use std::collections::BTreeMap;

use case::Case;
use mint::Mint;

const FILES: [(&str, &str); 8] = [
    ("unit-request", include_str!("clerk/unit-request.jsonl")),
    ("unit-verify", include_str!("clerk/unit-verify.jsonl")),
    ("unit-authorization", include_str!("clerk/unit-authorization.jsonl")),
    ("unit-jwtPayloadParser", include_str!("clerk/unit-jwtPayloadParser.jsonl")),
    ("unit-keys", include_str!("clerk/unit-keys.jsonl")),
    ("unit-authObjects", include_str!("clerk/unit-authObjects.jsonl")),
    ("unit-extra", include_str!("clerk/unit-extra.jsonl")),
    ("integration-handshake", include_str!("clerk/integration-handshake.jsonl")),
];

fn cases() -> Vec<Case> {
    let lines = FILES.iter().flat_map(|(name, text)| text.lines().map(move |line| (name, line)));
    lines.map(|(name, line)| serde_json::from_str(line).unwrap_or_else(|e| panic!("{name}: {e}: {line}"))).collect()
}

#[test]
fn clerk() {
    let deviations: BTreeMap<String, String> = serde_json::from_str(include_str!("deviations.json")).unwrap();
    let mint = Mint::new();
    let (mut replayed, mut deviating, mut problems) = (0, 0, Vec::new());
    let mut out_of_scope: BTreeMap<&str, usize> = BTreeMap::new();
    let all = cases();
    assert_eq!(all.len(), 374);
    for case in &all {
        let reason = deviations.get(&case.id);
        if let Some(why) = scope::outside(case) {
            *out_of_scope.entry(why).or_default() += 1;
            if reason.is_some() {
                problems.push(format!("{}: out of scope, and listed as a deviation", case.id));
            }
            continue;
        }
        replayed += 1;
        match (replay::replay(case, &mint), reason) {
            (Ok(()), None) => {}
            (Err(_), Some(_)) => deviating += 1,
            (Err(difference), None) => problems.push(format!("{} ({}): {difference}", case.id, case.test)),
            (Ok(()), Some(_)) => problems.push(format!("{}: listed as a deviation, and does not deviate", case.id)),
        }
    }
    for id in deviations.keys().filter(|id| !all.iter().any(|case| case.id == **id)) {
        problems.push(format!("{id}: listed as a deviation, and does not exist"));
    }
    println!("conformance: {replayed} replayed, {deviating} of them deviating with a reason");
    for (why, count) in &out_of_scope {
        println!("conformance: {count} out of scope: {why}");
    }
    assert!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n"));
}
