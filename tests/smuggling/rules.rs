//! Every rule of the list has a case here, or says where else it is tested.

use std::collections::BTreeSet;

use super::corpus::Case;

/// Rules that bytes on the wire can show.
const HERE: [&str; 44] = [
    "H-01", "H-02", "H-03", "H-04", "H-05", "H-06", "H-07", "H-08", "H-09", "H-10", "H-11", "H-12", "H-13", "H-14",
    "H-15", "H-16", "H-17", "H-18", "H-19", "H-20", "H-30", "H-31", "H-32", "H-33", "H-34", "H-35", "H-40", "H-41",
    "H-42", "H-43", "H-46", "H-47", "H-50", "H-51", "H-53", "H-57", "H-60", "H-61", "H-62", "H-63", "H-64", "H-66",
    "H-71", "H-73",
];

/// Rules about what is no request of a client's: where they are tested, or why not yet.
pub(crate) const ELSEWHERE: [(&str, &str); 11] = [
    ("H-44", "the audit log is not built yet"),
    ("H-45", "the signed assertion is not built yet"),
    ("H-52", "there is no redirect to a client's address yet"),
    ("H-54", "there are no arms yet"),
    ("H-55", "there are no arms yet"),
    ("H-56", "of answers: tests/e2e"),
    ("H-65", "nothing is rewritten behind the decision: src/gate/decide.rs"),
    ("H-70", "of tunnels: tests/e2e"),
    ("H-72", "of upstreams: tests/e2e"),
    ("H-74", "of streams: tests/e2e"),
    ("H-80", "of logs: tests/e2e/secrets.rs"),
];

pub(crate) fn check<'a>(cases: impl Iterator<Item = &'a Case>) {
    let covered: BTreeSet<&str> = cases.map(|case| &*case.rule).collect();
    let missing: Vec<&str> = HERE.into_iter().filter(|rule| !covered.contains(rule)).collect();
    assert!(missing.is_empty(), "rules without a case: {missing:?}");
    let unknown: Vec<&&str> = covered.iter().filter(|rule| !HERE.contains(rule)).collect();
    assert!(unknown.is_empty(), "cases of rules that are none: {unknown:?}");
    assert!(ELSEWHERE.iter().all(|(rule, _)| !HERE.contains(rule)));
}
