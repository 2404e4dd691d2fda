//! The invariants of the table, over everything that can be seen: also over what has no cell of its own.

use std::collections::HashSet;

use super::{
    Beside, Cell, Clerk, Denial, Explicit, Health, Inputs, Issuance, Legacy, Resolved, Same, Sent, Stripped, resolve,
};
use crate::rollout::{Arm, Guard, Side};
use crate::route::Access;

const LEGACY: [Legacy; 4] = [Legacy::Absent, Legacy::Valid, Legacy::Invalid, Legacy::Unverifiable];
const CLERK: [Clerk; 5] = [Clerk::Absent, Clerk::Valid, Clerk::Expired, Clerk::Invalid, Clerk::Unverifiable];
const SAME: [Same; 3] = [Same::Same, Same::Diff, Same::NotApplicable];
const EXPLICIT: [Explicit; 4] = [Explicit::None, Explicit::Legacy, Explicit::Clerk, Explicit::Both];
const ARM: [Arm; 3] = [Arm::Legacy, Arm::Clerk, Arm::Pinned];
const ACCESS: [Access; 3] = [Access::Public, Access::Protected, Access::Privileged];
const HEALTH: [Health; 3] = [Health::Ok, Health::Stale, Health::Outage];
const ISSUANCE: [Issuance; 2] = [Issuance::Up, Issuance::Down];
const GUARD: [Guard; 4] = [Guard::Normal, Guard::Frozen, Guard::RolledAuto, Guard::RolledOp];

type Outcome = Result<Resolved, Denial>;

fn every_sent() -> Vec<Sent> {
    let mut all = Vec::new();
    for legacy in LEGACY {
        for clerk in CLERK {
            for same in SAME {
                all.extend(EXPLICIT.map(|explicit| Sent { legacy, clerk, same, explicit }));
            }
        }
    }
    all
}

fn every_input() -> Vec<Inputs> {
    let mut all = Vec::new();
    for sent in every_sent() {
        for arm in ARM {
            for access in ACCESS {
                for keys in HEALTH {
                    for issuance in ISSUANCE {
                        all.extend(GUARD.map(|guard| Inputs { sent, arm, access, keys, issuance, guard }));
                    }
                }
            }
        }
    }
    assert_eq!(all.len(), 4 * 5 * 3 * 4 * 3 * 3 * 3 * 2 * 4);
    all
}

/// Holds for each of the inputs, or says for which it does not.
fn always(holds: impl Fn(Inputs, Outcome) -> bool) {
    for inputs in every_input() {
        let outcome = resolve(inputs);
        assert!(holds(inputs, outcome), "{inputs:?} gives {outcome:?}");
    }
}

fn side(outcome: Outcome) -> Option<Side> {
    outcome.ok().and_then(Resolved::side)
}

fn status(outcome: Outcome) -> u16 {
    outcome.map_or_else(|denial| denial.code().status(), |_| 200)
}

/// Whether the legacy credential counts: verified, of somebody with a legacy side.
fn is_legacy_good(inputs: Inputs) -> bool {
    inputs.sent.legacy == Legacy::Valid && inputs.arm != Arm::Pinned
}

fn is_explicit(inputs: Inputs, side: Side) -> bool {
    match inputs.sent.explicit {
        Explicit::None => false,
        Explicit::Legacy => side == Side::Legacy,
        Explicit::Clerk => side == Side::Clerk,
        Explicit::Both => true,
    }
}

/// An explicit credential that is definitively bad: invalid, or of a sealed owner.
fn is_explicit_bad(inputs: Inputs) -> bool {
    let legacy = inputs.sent.legacy;
    let is_void = legacy == Legacy::Invalid || (legacy == Legacy::Valid && inputs.arm == Arm::Pinned);
    (is_explicit(inputs, Side::Legacy) && is_void)
        || (is_explicit(inputs, Side::Clerk) && inputs.sent.clerk == Clerk::Invalid)
}

#[test]
fn s1_an_identity_needs_a_verified_credential() {
    always(|inputs, outcome| match side(outcome) {
        Some(Side::Legacy) => inputs.sent.legacy == Legacy::Valid,
        Some(Side::Clerk) => inputs.sent.clerk == Clerk::Valid,
        None => true,
    });
}

#[test]
fn s2_nobody_passes_only_on_public_routes() {
    always(|inputs, outcome| !matches!(outcome, Ok(Resolved::Nobody(_))) || inputs.access == Access::Public);
}

#[test]
fn s3_a_conflict_carries_no_identity() {
    always(|inputs, outcome| {
        let Sent { clerk, same, .. } = inputs.sent;
        let is_second = matches!(clerk, Clerk::Valid | Clerk::Expired | Clerk::Unverifiable);
        // Who cannot be told to be the same person is another.
        let is_conflict = is_legacy_good(inputs) && is_second && same != Same::Same;
        let is_answered = match inputs.access {
            Access::Public | Access::Login => outcome == Ok(Resolved::Nobody(Stripped::Conflict)),
            Access::Protected | Access::Privileged => outcome == Err(Denial::Conflict),
        };
        is_conflict == is_answered
    });
}

#[test]
fn s4_a_pinned_person_never_acts_through_the_legacy_side() {
    always(|inputs, outcome| inputs.arm != Arm::Pinned || side(outcome) != Some(Side::Legacy));
}

#[test]
fn s5_privileged_in_the_clerk_arm_is_clerk_unless_an_operator_rolled_back() {
    always(|inputs, outcome| {
        let is_bound = inputs.access == Access::Privileged && inputs.arm == Arm::Clerk;
        !is_bound || inputs.guard == Guard::RolledOp || side(outcome) != Some(Side::Legacy)
    });
}

#[test]
fn s6_a_freeze_or_a_trip_never_widens_what_is_privileged() {
    always(|inputs, outcome| {
        let trips = matches!(inputs.guard, Guard::Frozen | Guard::RolledAuto);
        let normal = resolve(Inputs { guard: Guard::Normal, ..inputs });
        !trips || inputs.access != Access::Privileged || outcome.is_err() || side(outcome) == side(normal)
    });
}

/// What somebody can reach who holds these credentials and sends them, or not, as they like, or junk in their place.
fn reachable(held: Sent, inputs: Inputs) -> HashSet<Option<Side>> {
    let is_keyless = inputs.keys == Health::Outage;
    let held_clerk = match held.clerk {
        Clerk::Valid if is_keyless => Clerk::Unverifiable,
        clerk => clerk,
    };
    let mut reached = HashSet::new();
    for legacy in [Legacy::Absent, Legacy::Invalid, Legacy::Unverifiable, held.legacy] {
        for clerk in [Clerk::Absent, Clerk::Invalid, Clerk::Unverifiable, held_clerk] {
            for explicit in EXPLICIT {
                let sent = Sent { legacy, clerk, explicit, ..held };
                let outcome = resolve(Inputs { sent, ..inputs });
                reached.extend(outcome.ok().map(Resolved::side));
            }
        }
    }
    reached
}

#[test]
fn s7_worse_health_never_widens_what_credentials_reach() {
    for inputs in every_input() {
        let Sent { legacy, clerk, .. } = inputs.sent;
        let is_held = matches!(legacy, Legacy::Absent | Legacy::Valid)
            && matches!(clerk, Clerk::Absent | Clerk::Valid | Clerk::Expired)
            && inputs.sent.explicit == Explicit::None;
        if is_held {
            let well = Inputs { keys: Health::Ok, issuance: Issuance::Up, ..inputs };
            let (now, then) = (reachable(inputs.sent, inputs), reachable(inputs.sent, well));
            assert!(now.is_subset(&then), "{inputs:?} reaches {now:?}, and {then:?} in good health");
        }
    }
}

#[test]
fn s8_junk_never_unlocks() {
    always(|inputs, outcome| {
        let adds = |sent: Sent| {
            SAME.into_iter().flat_map(move |same| EXPLICIT.map(|explicit| Sent { same, explicit, ..sent }))
        };
        let Sent { legacy, clerk, .. } = inputs.sent;
        let mut junk: Vec<Sent> = Vec::new();
        if legacy == Legacy::Absent {
            junk.extend(
                [Legacy::Invalid, Legacy::Unverifiable]
                    .into_iter()
                    .flat_map(|legacy| adds(Sent { legacy, ..inputs.sent })),
            );
        }
        if clerk == Clerk::Absent {
            let kinds = [Clerk::Invalid, Clerk::Unverifiable, Clerk::Expired];
            junk.extend(kinds.into_iter().flat_map(|clerk| adds(Sent { clerk, ..inputs.sent })));
        }
        outcome.is_ok() || junk.into_iter().all(|sent| resolve(Inputs { sent, ..inputs }).is_err())
    });
}

#[test]
fn s9_omission_never_unlocks() {
    always(|inputs, outcome| {
        let is_bound = inputs.access == Access::Privileged && inputs.sent.clerk != Clerk::Valid;
        let needs_clerk = match inputs.arm {
            Arm::Legacy => false,
            Arm::Clerk => inputs.guard != Guard::RolledOp,
            Arm::Pinned => true,
        };
        !(is_bound && needs_clerk) || outcome.is_err()
    });
}

#[test]
fn s10_what_is_explicit_and_bad_is_never_papered_over() {
    always(|inputs, outcome| {
        let is_expired = is_explicit(inputs, Side::Clerk) && inputs.sent.clerk == Clerk::Expired;
        let is_carried = inputs.access == Access::Protected
            && is_legacy_good(inputs)
            && (inputs.keys == Health::Outage || inputs.issuance == Issuance::Down);
        let is_final = is_explicit_bad(inputs) || (is_expired && !is_carried);
        inputs.access == Access::Public || !is_final || outcome.is_err()
    });
}

#[test]
fn u0_a_public_route_never_denies() {
    always(|inputs, outcome| inputs.access != Access::Public || outcome.is_ok());
}

#[test]
fn u1_no_step_and_no_guard_logs_anybody_out() {
    always(|inputs, outcome| {
        let moves = [Arm::Legacy, Arm::Clerk].into_iter().flat_map(|arm| GUARD.map(|guard| (arm, guard)));
        inputs.access != Access::Protected
            || inputs.arm == Arm::Pinned
            || moves.into_iter().all(|(arm, guard)| resolve(Inputs { arm, guard, ..inputs }).is_ok() == outcome.is_ok())
    });
}

#[test]
fn u2_no_401_for_what_could_only_not_be_checked() {
    always(|inputs, outcome| {
        let Sent { legacy, clerk, .. } = inputs.sent;
        let is_untold = legacy == Legacy::Unverifiable || clerk == Clerk::Unverifiable;
        let is_up = inputs.keys != Health::Outage && inputs.issuance == Issuance::Up;
        let is_renewable = clerk == Clerk::Expired && is_up;
        !is_untold || status(outcome) != 401 || is_explicit_bad(inputs) || is_renewable
    });
}

#[test]
fn everything_that_can_be_seen_has_a_cell_and_cells_stay_what_they_are() {
    let mut cells = 0;
    for inputs in every_input() {
        let Cell { sent, arm, access, health, guard } = inputs.settle();
        let cell = Cell::new(sent, arm, access, health, guard);
        assert_eq!(cell, Some(inputs.settle()), "{inputs:?} settles where the table has no cell");
        if inputs.issuance == Issuance::Up
            && let Some(cell) = Cell::new(inputs.sent, arm, access, inputs.keys, guard)
        {
            cells += 1;
            assert_eq!(inputs.settle(), cell, "{inputs:?} has a cell, and is brought to another");
        }
    }
    assert_eq!(cells, 5_472);
}

#[test]
fn which_verdict_uses_which_health() {
    use Health::{Ok, Outage, Stale};
    use Issuance::{Down, Up};
    let table = [
        // Verified: by the age of the keys alone.
        (Clerk::Valid, Ok, Up, Ok),
        (Clerk::Valid, Ok, Down, Ok),
        (Clerk::Valid, Stale, Up, Stale),
        (Clerk::Valid, Stale, Down, Stale),
        (Clerk::Valid, Outage, Up, Stale),
        (Clerk::Valid, Outage, Down, Stale),
        // Cannot be told: whether keys are held.
        (Clerk::Unverifiable, Ok, Up, Stale),
        (Clerk::Unverifiable, Ok, Down, Stale),
        (Clerk::Unverifiable, Stale, Up, Stale),
        (Clerk::Unverifiable, Outage, Up, Outage),
        (Clerk::Unverifiable, Outage, Down, Outage),
        // To be renewed or brought: whether Clerk can.
        (Clerk::Expired, Ok, Up, Ok),
        (Clerk::Expired, Ok, Down, Outage),
        (Clerk::Expired, Outage, Up, Outage),
        (Clerk::Absent, Stale, Up, Stale),
        (Clerk::Absent, Ok, Down, Outage),
        (Clerk::Invalid, Ok, Up, Ok),
        (Clerk::Invalid, Stale, Down, Outage),
    ];
    for (clerk, keys, issuance, expected) in table {
        let sent = Sent { legacy: Legacy::Absent, clerk, same: Same::NotApplicable, explicit: Explicit::None };
        let inputs = Inputs { sent, arm: Arm::Clerk, access: Access::Protected, keys, issuance, guard: Guard::Normal };
        assert_eq!(inputs.settle().health, expected, "{clerk:?} {keys:?} {issuance:?}");
    }
}

/// A request on a protected route in the Clerk arm, all well.
fn seen(legacy: Legacy, clerk: Clerk, same: Same, explicit: Explicit) -> Inputs {
    Inputs {
        sent: Sent { legacy, clerk, same, explicit },
        arm: Arm::Clerk,
        access: Access::Protected,
        keys: Health::Ok,
        issuance: Issuance::Up,
        guard: Guard::Normal,
    }
}

#[test]
fn a_verified_token_passes_while_nothing_can_be_renewed() {
    let clerk = seen(Legacy::Absent, Clerk::Valid, Same::NotApplicable, Explicit::Clerk);
    let down = Inputs { issuance: Issuance::Down, ..clerk };
    let privileged = Inputs { access: Access::Privileged, ..down };
    let passes = Ok(Resolved::Person(Side::Clerk, Beside::Nothing));
    assert_eq!((resolve(down), resolve(privileged)), (passes, passes));
    // Keys that went while it was judged are no keys to be privileged by.
    assert_eq!(resolve(Inputs { keys: Health::Outage, ..privileged }), Err(Denial::StaleKeys));
}

#[test]
fn an_unknown_key_is_an_outage_whether_or_not_others_are_held() {
    for keys in HEALTH {
        let alone = Inputs { keys, ..seen(Legacy::Absent, Clerk::Unverifiable, Same::NotApplicable, Explicit::Clerk) };
        assert_eq!(resolve(alone), Err(Denial::ClerkOutage), "{keys:?}");
        let both = Inputs { keys, ..seen(Legacy::Valid, Clerk::Unverifiable, Same::Same, Explicit::None) };
        assert_eq!(resolve(both), Ok(Resolved::Person(Side::Legacy, Beside::Upgrade)), "{keys:?}");
        assert_eq!(resolve(Inputs { access: Access::Privileged, ..both }), Err(Denial::ClerkOutage), "{keys:?}");
    }
}

#[test]
fn of_two_explicit_credentials_a_bad_one_is_final_legacy_first() {
    let both = |legacy, clerk, same| seen(legacy, clerk, same, Explicit::Both);
    let table = [
        (both(Legacy::Invalid, Clerk::Invalid, Same::NotApplicable), Err(Denial::LegacyInvalid)),
        (both(Legacy::Invalid, Clerk::Valid, Same::NotApplicable), Err(Denial::LegacyInvalid)),
        (both(Legacy::Invalid, Clerk::Expired, Same::NotApplicable), Err(Denial::LegacyInvalid)),
        (both(Legacy::Valid, Clerk::Invalid, Same::NotApplicable), Err(Denial::ClerkInvalid)),
        (both(Legacy::Valid, Clerk::Expired, Same::Same), Err(Denial::ClerkExpired)),
        (both(Legacy::Unverifiable, Clerk::Invalid, Same::NotApplicable), Err(Denial::ClerkInvalid)),
        // Contradictory before bad, as with one explicit.
        (both(Legacy::Valid, Clerk::Expired, Same::Diff), Err(Denial::Conflict)),
        // Two good ones count as none explicit: the arm's side.
        (both(Legacy::Valid, Clerk::Valid, Same::Same), Ok(Resolved::Person(Side::Clerk, Beside::Other))),
        (both(Legacy::Valid, Clerk::Valid, Same::Diff), Err(Denial::Conflict)),
        // What only could not be checked is not bad.
        (
            both(Legacy::Unverifiable, Clerk::Valid, Same::NotApplicable),
            Ok(Resolved::Person(Side::Clerk, Beside::Nothing)),
        ),
        (both(Legacy::Valid, Clerk::Unverifiable, Same::Same), Ok(Resolved::Person(Side::Legacy, Beside::Upgrade))),
    ];
    for (inputs, expected) in table {
        assert_eq!(resolve(inputs), expected, "{inputs:?}");
    }
    let pinned = Inputs { arm: Arm::Pinned, ..both(Legacy::Valid, Clerk::Valid, Same::Same) };
    assert_eq!(resolve(pinned), Err(Denial::LegacySealed));
    // The one exception of the table holds here too: nobody can renew, and the other credential is the same person's.
    let outage = Inputs { issuance: Issuance::Down, ..both(Legacy::Valid, Clerk::Expired, Same::Same) };
    assert_eq!(resolve(outage), Ok(Resolved::Person(Side::Legacy, Beside::Upgrade)));
    assert_eq!(resolve(Inputs { access: Access::Privileged, ..outage }), Err(Denial::ClerkOutage));
}

#[test]
fn who_cannot_be_compared_is_another_person() {
    let unknown = seen(Legacy::Valid, Clerk::Valid, Same::NotApplicable, Explicit::None);
    assert_eq!(resolve(unknown), Err(Denial::Conflict));
    // And where there is nothing to compare, a comparison says nothing.
    let alone = seen(Legacy::Absent, Clerk::Valid, Same::Diff, Explicit::None);
    assert_eq!(resolve(alone), Ok(Resolved::Person(Side::Clerk, Beside::Nothing)));
}

#[test]
fn what_was_not_sent_was_not_sent_on_purpose() {
    let table = [
        (seen(Legacy::Absent, Clerk::Expired, Same::NotApplicable, Explicit::Legacy), Err(Denial::ClerkExpired)),
        (seen(Legacy::Absent, Clerk::Absent, Same::NotApplicable, Explicit::Both), Err(Denial::NoCredential)),
        (seen(Legacy::Invalid, Clerk::Absent, Same::NotApplicable, Explicit::Clerk), Err(Denial::Invalid)),
    ];
    for (inputs, expected) in table {
        assert_eq!(resolve(inputs), expected, "{inputs:?}");
    }
}

#[test]
fn a_planted_clerk_cookie_does_not_win_over_the_victims_own_login() {
    // The arm is that of the legacy credential's owner, so that a pinned attacker changes nothing.
    let planted = seen(Legacy::Valid, Clerk::Valid, Same::Diff, Explicit::None);
    assert_eq!(resolve(planted), Err(Denial::Conflict));
    let public = resolve(Inputs { access: Access::Public, ..planted }).unwrap();
    assert!(public.is_conflict_stripped() && !public.has_upgrade_hint() && public.side().is_none());
}

/// What shadow builds on: whoever somebody goes on as beside another credential, they would go on as alone; and alone, a good
/// credential is enough on a protected route, whatever the keys and Clerk's health.
#[test]
fn whoever_counts_beside_another_counts_alone() {
    let alone = |inputs: Inputs, side: Side| {
        let sent = match side {
            Side::Legacy => Sent { clerk: Clerk::Absent, ..inputs.sent },
            Side::Clerk => Sent { legacy: Legacy::Absent, ..inputs.sent },
        };
        resolve(Inputs { sent: Sent { same: Same::NotApplicable, ..sent }, ..inputs })
    };
    always(|inputs, outcome| {
        let Some(counts) = side(outcome) else { return true };
        // Nobody's on a public route; there nothing is compared.
        inputs.access == Access::Public || side(alone(inputs, counts)) == Some(counts)
    });
    always(|inputs, _| {
        let is_good = |counts| match counts {
            Side::Legacy => inputs.sent.legacy == Legacy::Valid && inputs.arm != Arm::Pinned,
            Side::Clerk => inputs.sent.clerk == Clerk::Valid,
        };
        let holds = |counts| !is_good(counts) || side(alone(inputs, counts)) == Some(counts);
        inputs.access != Access::Protected || (holds(Side::Legacy) && holds(Side::Clerk))
    });
}
