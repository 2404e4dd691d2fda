//! What is told, over everything that can be seen.

use super::{Judged, Login, Logins, Next, judge};
use crate::gate::decide::table::{self, Beside, Clerk, Explicit, Inputs, Issuance, Legacy, Resolved, Same, Sent};
use crate::identity::Link;
use crate::identity::clerk::Health;
use crate::rollout::{Arm, Guard, Side};
use crate::route::Access;
use crate::status::Action;

const UP: Logins = Logins { legacy: Login::Up, clerk: Login::Up };

const fn sent(legacy: Legacy, clerk: Clerk, same: Same) -> Sent {
    Sent { legacy, clerk, same, explicit: Explicit::None }
}

const fn inputs(sent: Sent, arm: Arm) -> Inputs {
    let (keys, issuance, guard) = (Health::Ok, Issuance::Up, Guard::Normal);
    Inputs { sent, arm, access: Access::Protected, keys, issuance, guard }
}

fn person(side: Side, action: Action) -> Judged {
    let beside = if action == Action::None { Beside::Nothing } else { Beside::Upgrade };
    Judged::Person(side, beside, action)
}

const fn nobody(state: &'static str, action: Action) -> Judged {
    Judged::Nobody(Next { state, action })
}

#[test]
fn the_states() {
    use self::Clerk::{
        Absent as NoClerk, Expired, Invalid as BadClerk, Unverifiable as UnclearClerk, Valid as GoodClerk,
    };
    use self::Legacy::{Absent as NoLegacy, Invalid as BadLegacy, Unverifiable as UnclearLegacy, Valid as GoodLegacy};
    use self::Same::{Diff, NotApplicable as One, Same as Both};
    let (linked, alone) = (Some(Link::Linked), Some(Link::LegacyOnly));
    let table = [
        ("anonymous", sent(NoLegacy, NoClerk, One), Arm::Legacy, None, nobody("anonymous", Action::SignIn)),
        ("legacy", sent(GoodLegacy, NoClerk, One), Arm::Legacy, linked, person(Side::Legacy, Action::None)),
        ("to be moved", sent(GoodLegacy, NoClerk, One), Arm::Clerk, linked, person(Side::Legacy, Action::StepUp)),
        ("to be linked", sent(GoodLegacy, NoClerk, One), Arm::Clerk, alone, person(Side::Legacy, Action::Link)),
        ("sealed", sent(GoodLegacy, NoClerk, One), Arm::Pinned, Some(Link::Sealed), nobody("sealed", Action::SignIn)),
        ("clerk", sent(NoLegacy, GoodClerk, One), Arm::Legacy, None, person(Side::Clerk, Action::None)),
        (
            "both",
            sent(GoodLegacy, GoodClerk, Both),
            Arm::Legacy,
            linked,
            Judged::Person(Side::Legacy, Beside::Other, Action::None),
        ),
        (
            "both, moved",
            sent(GoodLegacy, GoodClerk, Both),
            Arm::Clerk,
            linked,
            Judged::Person(Side::Clerk, Beside::Other, Action::None),
        ),
        ("conflict", sent(GoodLegacy, GoodClerk, Diff), Arm::Clerk, linked, nobody("conflict", Action::SignIn)),
        ("expired", sent(NoLegacy, Expired, One), Arm::Legacy, None, nobody("anonymous", Action::SignIn)),
        ("bad", sent(BadLegacy, BadClerk, One), Arm::Legacy, None, nobody("anonymous", Action::SignIn)),
        ("unclear", sent(NoLegacy, UnclearClerk, One), Arm::Legacy, None, nobody("unverified", Action::None)),
        ("unclear legacy", sent(UnclearLegacy, NoClerk, One), Arm::Legacy, None, nobody("unverified", Action::None)),
        (
            "unclear, and good",
            sent(UnclearLegacy, GoodClerk, One),
            Arm::Legacy,
            None,
            person(Side::Clerk, Action::None),
        ),
        (
            "expired beside good",
            sent(GoodLegacy, Expired, Both),
            Arm::Clerk,
            linked,
            person(Side::Legacy, Action::StepUp),
        ),
    ];
    for (name, sent, arm, link, expected) in table {
        assert_eq!(judge(inputs(sent, arm), link, UP), expected, "{name}");
    }
}

#[test]
fn nobody_is_sent_to_a_login_that_is_out() {
    let logins = |legacy, clerk| Logins { legacy, clerk };
    let legacy = inputs(sent(Legacy::Valid, Clerk::Absent, Same::NotApplicable), Arm::Clerk);
    for clerk in [Login::Weak, Login::Down] {
        let told = judge(legacy, Some(Link::Linked), logins(Login::Up, clerk));
        assert_eq!(told, Judged::Person(Side::Legacy, Beside::Upgrade, Action::None), "{clerk:?}");
    }
    let rolled = Inputs { guard: Guard::RolledAuto, ..legacy };
    assert_eq!(judge(rolled, Some(Link::Linked), UP), person(Side::Legacy, Action::None), "fetched back");
    let anonymous = inputs(sent(Legacy::Absent, Clerk::Absent, Same::NotApplicable), Arm::Legacy);
    let sealed = inputs(sent(Legacy::Valid, Clerk::Absent, Same::NotApplicable), Arm::Pinned);
    let table = [
        (logins(Login::Up, Login::Down), Action::SignIn, Action::None),
        (logins(Login::None, Login::Down), Action::None, Action::None),
        (logins(Login::Down, Login::Up), Action::SignIn, Action::SignIn),
        (logins(Login::Down, Login::Down), Action::None, Action::None),
        (logins(Login::Down, Login::None), Action::None, Action::None),
        (logins(Login::None, Login::Weak), Action::SignIn, Action::SignIn),
    ];
    for (logins, of_anonymous, of_sealed) in table {
        assert_eq!(judge(anonymous, None, logins), nobody("anonymous", of_anonymous), "{logins:?}");
        assert_eq!(judge(sealed, Some(Link::Sealed), logins), nobody("sealed", of_sealed), "{logins:?}");
    }
}

/// What is told is what an ordinary route does, in every combination; and what is asked for, a privileged one asks for.
#[test]
fn it_says_what_routes_do() {
    let mut seen = 0;
    for legacy in [Legacy::Absent, Legacy::Valid, Legacy::Invalid, Legacy::Unverifiable] {
        for clerk in [Clerk::Absent, Clerk::Valid, Clerk::Expired, Clerk::Invalid, Clerk::Unverifiable] {
            for same in [Same::Same, Same::Diff] {
                for explicit in [Explicit::None, Explicit::Legacy, Explicit::Clerk, Explicit::Both] {
                    for arm in [Arm::Legacy, Arm::Clerk, Arm::Pinned] {
                        for keys in [Health::Ok, Health::Stale, Health::Outage] {
                            for guard in [Guard::Normal, Guard::Frozen, Guard::RolledAuto, Guard::RolledOp] {
                                let sent = Sent { legacy, clerk, same, explicit };
                                agrees(Inputs { keys, guard, ..inputs(sent, arm) });
                                seen += 1;
                            }
                        }
                    }
                }
            }
        }
    }
    assert_eq!(seen, 4 * 5 * 2 * 4 * 3 * 3 * 4);
}

fn agrees(inputs: Inputs) {
    let clerk = match inputs.keys {
        Health::Ok => Login::Up,
        Health::Stale => Login::Weak,
        Health::Outage => Login::Down,
    };
    let told = judge(inputs, Some(Link::Linked), Logins { legacy: Login::Up, clerk });
    let protected = table::resolve(inputs);
    let privileged = table::resolve(Inputs { access: Access::Privileged, ..inputs });
    match told {
        Judged::Person(side, beside, action) => {
            assert_eq!(protected, Ok(Resolved::Person(side, beside)), "{inputs:?}");
            if action != Action::None {
                assert_eq!(privileged.unwrap_err().code().as_str(), "step_up_clerk", "{inputs:?}");
            }
        }
        Judged::Nobody(next) => {
            let status = protected.unwrap_err().code().status();
            // Who is told to come back later is not sent to a login, and the other way round.
            assert_eq!(
                next.action == Action::None,
                status == 503 || next == SEALED_IN_OUTAGE && clerk == Login::Down,
                "{inputs:?}"
            );
        }
    }
}

const SEALED_IN_OUTAGE: Next = Next { state: "sealed", action: Action::None };
