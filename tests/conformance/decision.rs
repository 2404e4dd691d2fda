//! The decision table, cell by cell: each row of `decision/decision_table.csv` is one call and one outcome.

use crossgate::gate::decide::table::{Cell, Clerk, Denial, Explicit, Legacy, Resolved, Same, Sent};
use crossgate::identity::clerk::Health;
use crossgate::rollout::{Arm, Guard, Side};
use crossgate::route::Access;

const TABLE: &str = include_str!("decision/decision_table.csv");
const HEADER: &str =
    "legacy,clerk,same_principal,explicit,arm,route_class,clerk_health,guard,verdict,identity_or_status,detail";

#[test]
fn decision_table() {
    let mut lines = TABLE.lines();
    assert_eq!(lines.next(), Some(HEADER));
    let (mut cells, mut problems) = (0, Vec::new());
    for line in lines {
        let columns: Vec<&str> = line.split(',').collect();
        let [inputs @ .., verdict, identity_or_status, detail] = columns.as_slice() else { panic!("{line}") };
        let expected = [*verdict, identity_or_status, detail];
        let got = words(cell(inputs).unwrap_or_else(|| panic!("no cell for {line}")).outcome());
        if got.each_ref().map(String::as_str) != expected {
            problems.push(format!("{line}: {got:?}"));
        }
        cells += 1;
    }
    println!("conformance: {cells} cells of the decision table");
    assert!(problems.is_empty(), "{} cells differ\n{}", problems.len(), problems.join("\n"));
    assert_eq!(cells, 5_472);
}

/// The other way round: what has no row has no cell, so that nobody adds a state that the table does not answer.
#[test]
fn no_cell_without_a_row() {
    let rows: std::collections::HashSet<&str> =
        TABLE.lines().skip(1).map(|line| line.rsplitn(4, ',').last().unwrap()).collect();
    assert_eq!(rows.len(), 5_472);
    let mut product = vec![Vec::new()];
    for column in COLUMNS {
        product =
            product.iter().flat_map(|row| column.iter().map(|word| [row.as_slice(), &[*word]].concat())).collect();
    }
    assert_eq!(product.len(), 4 * 5 * 3 * 3 * 3 * 3 * 3 * 4);
    for row in product {
        assert_eq!(cell(&row).is_some(), rows.contains(row.join(",").as_str()), "{row:?}");
    }
}

const COLUMNS: [&[&str]; 8] = [
    &["absent", "valid", "invalid", "unverifiable"],
    &["absent", "valid", "expired", "invalid", "unverifiable"],
    &["same", "diff", "-"],
    &["none", "L", "C"],
    &["legacy", "clerk", "pinned"],
    &["public", "protected", "privileged"],
    &["ok", "stale", "outage"],
    &["normal", "frozen", "rolled_auto", "rolled_op"],
];

fn cell(inputs: &[&str]) -> Option<Cell> {
    let [legacy, clerk, same, explicit, arm, access, health, guard] = inputs else { panic!("{inputs:?}") };
    let legacy = match *legacy {
        "absent" => Legacy::Absent,
        "valid" => Legacy::Valid,
        "invalid" => Legacy::Invalid,
        "unverifiable" => Legacy::Unverifiable,
        other => panic!("legacy {other}"),
    };
    let clerk = match *clerk {
        "absent" => Clerk::Absent,
        "valid" => Clerk::Valid,
        "expired" => Clerk::Expired,
        "invalid" => Clerk::Invalid,
        "unverifiable" => Clerk::Unverifiable,
        other => panic!("clerk {other}"),
    };
    let same = match *same {
        "same" => Same::Same,
        "diff" => Same::Diff,
        "-" => Same::NotApplicable,
        other => panic!("same_principal {other}"),
    };
    let explicit = match *explicit {
        "none" => Explicit::None,
        "L" => Explicit::Legacy,
        "C" => Explicit::Clerk,
        other => panic!("explicit {other}"),
    };
    let named = |name: &str, all: &[&'static str]| {
        all.iter().position(|word| *word == name).unwrap_or_else(|| panic!("{name}"))
    };
    let arms = [Arm::Legacy, Arm::Clerk, Arm::Pinned];
    let accesses = [Access::Public, Access::Protected, Access::Privileged];
    let healths = [Health::Ok, Health::Stale, Health::Outage];
    let guards = [Guard::Normal, Guard::Frozen, Guard::RolledAuto, Guard::RolledOp];
    Cell::new(
        Sent { legacy, clerk, same, explicit },
        arms[named(arm, &arms.map(Arm::as_str))],
        accesses[named(access, &accesses.map(Access::as_str))],
        healths[named(health, &healths.map(Health::as_str))],
        guards[named(guard, &guards.map(Guard::as_str))],
    )
}

/// An outcome as the last three columns say it.
fn words(outcome: Result<Resolved, Denial>) -> [String; 3] {
    match outcome {
        Ok(resolved) => {
            let identity = match resolved.side() {
                None => "anon",
                Some(Side::Legacy) => "L",
                Some(Side::Clerk) => "C",
            };
            ["ALLOW", identity, resolved.detail()].map(str::to_owned)
        }
        Err(denial) => {
            let code = denial.code();
            ["DENY".to_owned(), code.status().to_string(), code.as_str().to_owned()]
        }
    }
}
