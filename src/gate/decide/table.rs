//! The decision table: what each side's credential proved, the arm, the route, Clerk's health and the guard become one
//! outcome.
//!
//! Pure and total. The six rules below are the book's (`tests/conformance/decision` holds all their 5,472 cells), in
//! order: each decides only where none before it did. What can be seen and has no cell is first brought to one, by
//! [`Inputs::settle`]. Never reads a credential, never chooses an arm, and never says what a person may do.

use std::fmt;

use crate::gate::reply::Code;
use crate::identity::clerk::Health;
pub use crate::identity::clerk::Issuance;
use crate::rollout::{Arm, Guard, Side};
use crate::route::Access;

/// What is known about the legacy credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Legacy {
    Absent,
    Valid,
    Invalid,
    /// Its verifier cannot be asked now.
    Unverifiable,
}

/// What is known about the Clerk credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clerk {
    Absent,
    Valid,
    /// The signature is good, only the time is over.
    Expired,
    Invalid,
    /// No usable key.
    Unverifiable,
}

/// Whether the Clerk credential names the person whom the valid legacy one names. Of an expired or unverifiable one the
/// old or unverified `sub` is compared: what is not verified may only tighten the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Same {
    Same,
    Diff,
    NotApplicable,
}

/// Which of the two a client put where it must have meant it: a header. The others are cookies, which browsers add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Explicit {
    None,
    Legacy,
    Clerk,
    Both,
}

/// What came with the request. A revoked person's credentials are both invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    pub legacy: Legacy,
    pub clerk: Clerk,
    pub same: Same,
    pub explicit: Explicit,
}

/// Everything that the outcome depends on, as it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inputs {
    pub sent: Sent,
    /// Before the guard. Where the two credentials differ, that of the person whom the legacy one names: only a sealed
    /// owner voids it, or a planted Clerk cookie would win over the victim's own login.
    pub arm: Arm,
    pub access: Access,
    /// By age alone.
    pub keys: Health,
    pub issuance: Issuance,
    pub guard: Guard,
}

/// One cell of the table: a combination that has an outcome of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    sent: Sent,
    arm: Arm,
    access: Access,
    health: Health,
    guard: Guard,
}

/// Whose identity goes upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolved {
    /// Nobody's: only on public routes.
    Nobody(Stripped),
    Person(Side, Beside),
}

/// What was taken away from a request that goes on as nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stripped {
    Nothing,
    /// Credentials that prove nothing.
    Credentials,
    /// Two that name two people; audited as `identity_conflict`.
    Conflict,
}

/// What stands beside the identity that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    Nothing,
    /// The other side verified the same person, and only shadows.
    Other,
    /// Nothing, and the client may move to Clerk: `x-crossgate-upgrade: clerk`.
    Upgrade,
}

/// Why nobody goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denial {
    /// Contradictory tokens (RFC 6750 3.1): to pick one would let a planted cookie choose whom the victim acts as.
    Conflict,
    NoCredential,
    /// Clerk can renew it; its SDKs do.
    ClerkExpired,
    /// Explicit, and bad for good.
    ClerkInvalid,
    /// Explicit, and bad for good.
    LegacyInvalid,
    /// Good in itself, of somebody whose legacy side proves nothing any more.
    LegacySealed,
    /// Only ambient leftovers, all bad.
    Invalid,
    /// Privileged: this person is to come with Clerk (RFC 9470).
    StepUpClerk,
    ClerkOutage,
    LegacyOutage,
    /// The token is good, by keys that are too old for a privileged route.
    StaleKeys,
}

/// Whose identity goes upstream, or why nobody's.
pub fn resolve(inputs: Inputs) -> Result<Resolved, Denial> {
    inputs.settle().outcome()
}

impl Inputs {
    /// The cell that answers for these inputs (contract section 5, its last paragraph).
    pub fn settle(self) -> Cell {
        let Self { sent, arm, access, guard, .. } = self;
        Cell { sent: sent.settle(arm), arm, access, health: self.health(), guard }
    }

    /// Clerk's health as far as it concerns this verdict.
    const fn health(self) -> Health {
        match (self.sent.clerk, self.keys, self.issuance) {
            // What is verified stays verified while nothing can be renewed: only the age of the keys speaks against it.
            // No keys at all means that they grew too old since, so that they are old at least.
            (Clerk::Valid, Health::Ok, Issuance::Up | Issuance::Down) => Health::Ok,
            (Clerk::Valid, Health::Stale | Health::Outage, Issuance::Up | Issuance::Down) => Health::Stale,
            // An unknown key while others are held: the fetch that would have told failed, so that the keys are not
            // fresh, and neither are they gone.
            (Clerk::Unverifiable, Health::Ok | Health::Stale, Issuance::Up | Issuance::Down) => Health::Stale,
            (Clerk::Unverifiable, Health::Outage, Issuance::Up | Issuance::Down) => Health::Outage,
            // Who has to come (again) with Clerk can do so only while it issues and can be believed.
            (Clerk::Absent | Clerk::Expired | Clerk::Invalid, keys, Issuance::Up) => keys,
            (Clerk::Absent | Clerk::Expired | Clerk::Invalid, _, Issuance::Down) => Health::Outage,
        }
    }
}

impl Sent {
    fn settle(self, arm: Arm) -> Self {
        let same = match (self.same, self.compares()) {
            (_, false) => Same::NotApplicable,
            // Nobody could say: two people then, which is the answer that gives nobody anything.
            (Same::Diff | Same::NotApplicable, true) => Same::Diff,
            (Same::Same, true) => Same::Same,
        };
        let explicit = match self.explicit {
            // Both were meant, so that a bad one is final, legacy first; and where both are good neither is to be
            // preferred for where it travelled.
            Explicit::Both if matches!(Standing::of(self.legacy, arm), Standing::Invalid | Standing::Sealed) => {
                Explicit::Legacy
            }
            Explicit::Both if matches!(self.clerk, Clerk::Invalid | Clerk::Expired) => Explicit::Clerk,
            Explicit::Legacy if self.legacy != Legacy::Absent => Explicit::Legacy,
            Explicit::Clerk if self.clerk != Clerk::Absent => Explicit::Clerk,
            Explicit::Both | Explicit::None | Explicit::Legacy | Explicit::Clerk => Explicit::None,
        };
        Self { same, explicit, ..self }
    }

    /// Whether there are two people to compare.
    const fn compares(self) -> bool {
        matches!((self.legacy, self.clerk), (Legacy::Valid, Clerk::Valid | Clerk::Expired | Clerk::Unverifiable))
    }
}

/// For whoever asks why: what came, on which route, and of the rest only what is not as usual.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sent { legacy, clerk, same, explicit } = self.sent;
        let legacy = match legacy {
            Legacy::Absent => "absent",
            Legacy::Valid => "valid",
            Legacy::Invalid => "invalid",
            Legacy::Unverifiable => "unverifiable now",
        };
        let clerk = match clerk {
            Clerk::Absent => "absent",
            Clerk::Valid => "valid",
            Clerk::Expired => "expired",
            Clerk::Invalid => "invalid",
            Clerk::Unverifiable => "unverifiable now",
        };
        let meant = |is_meant| if is_meant { " (sent on purpose)" } else { "" };
        let of_clerk = meant(matches!(explicit, Explicit::Clerk | Explicit::Both));
        let of_legacy = meant(matches!(explicit, Explicit::Legacy | Explicit::Both));
        write!(f, "legacy {legacy}{of_legacy}, clerk {clerk}{of_clerk}")?;
        f.write_str(match same {
            Same::Same => "; both name one person",
            Same::Diff => "; they name two people",
            Same::NotApplicable => "",
        })?;
        let is_anybody = self.sent.legacy != Legacy::Absent || self.sent.clerk != Clerk::Absent;
        if is_anybody {
            f.write_str(match self.arm {
                Arm::Legacy => "; in the legacy arm",
                Arm::Clerk => "; in the clerk arm",
                Arm::Pinned => "; no legacy side to go back to",
            })?;
            // Of nobody, Clerk's health is never asked.
            f.write_str(match self.health {
                Health::Ok => "",
                Health::Stale => "; Clerk's keys are old",
                Health::Outage => "; Clerk is out",
            })?;
        }
        f.write_str(match self.guard {
            Guard::Normal => "",
            Guard::Frozen => "; the rollout is frozen",
            Guard::RolledAuto => "; the rollout is rolled back by itself",
            Guard::RolledOp => "; the rollout is rolled back by an operator",
        })?;
        write!(f, "; on a {} route", self.access.as_str())
    }
}

impl Cell {
    /// `None` where the table has no cell.
    pub fn new(sent: Sent, arm: Arm, access: Access, health: Health, guard: Guard) -> Option<Self> {
        let is_compared = sent.same != Same::NotApplicable;
        let is_explicit = match sent.explicit {
            Explicit::None => true,
            Explicit::Legacy => sent.legacy != Legacy::Absent,
            Explicit::Clerk => sent.clerk != Clerk::Absent,
            Explicit::Both => false,
        };
        let is_health = match sent.clerk {
            Clerk::Valid => health != Health::Outage,
            Clerk::Unverifiable => health != Health::Ok,
            Clerk::Absent | Clerk::Expired | Clerk::Invalid => true,
        };
        let has_row = is_compared == sent.compares() && is_explicit && is_health;
        has_row.then_some(Self { sent, arm, access, health, guard })
    }

    /// What the table says.
    pub fn outcome(self) -> Result<Resolved, Denial> {
        // Rule 1: a legacy credential of somebody without a legacy side counts as bad, and what is void cannot conflict.
        let legacy = Standing::of(self.sent.legacy, self.arm);
        let judged = Judged {
            legacy,
            clerk: self.sent.clerk,
            differ: legacy == Standing::Valid && self.sent.same == Same::Diff,
            explicit: self.sent.explicit,
            arm: self.arm.after(self.guard, self.access),
            is_outage: self.health == Health::Outage,
        };
        match self.access {
            // Nobody is anybody on a login route, which asks the table nothing; it answers as the laxest all the same.
            Access::Public | Access::Login => Ok(judged.public()),
            Access::Protected => {
                judged.agree()?;
                judged.final_unless_carried()?;
                judged.protected()
            }
            Access::Privileged => {
                judged.agree()?;
                judged.explicit_is_final()?;
                judged.privileged(self.health)
            }
        }
    }
}

/// What the legacy credential is worth, once the arm had its say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Absent,
    Valid,
    Invalid,
    /// Verified, of a pinned person.
    Sealed,
    Unverifiable,
}

impl Standing {
    const fn of(legacy: Legacy, arm: Arm) -> Self {
        match (legacy, arm) {
            (Legacy::Valid, Arm::Pinned) => Self::Sealed,
            (Legacy::Valid, Arm::Legacy | Arm::Clerk) => Self::Valid,
            (Legacy::Absent, Arm::Legacy | Arm::Clerk | Arm::Pinned) => Self::Absent,
            (Legacy::Invalid, Arm::Legacy | Arm::Clerk | Arm::Pinned) => Self::Invalid,
            (Legacy::Unverifiable, Arm::Legacy | Arm::Clerk | Arm::Pinned) => Self::Unverifiable,
        }
    }
}

/// A cell after rule 1, with the arm that the guard leaves.
#[derive(Debug, Clone, Copy)]
struct Judged {
    legacy: Standing,
    clerk: Clerk,
    differ: bool,
    explicit: Explicit,
    arm: Arm,
    is_outage: bool,
}

impl Judged {
    /// Rule 2. Public: never denied. Who proves nothing, or two people at once, is nobody.
    fn public(self) -> Resolved {
        match (self.legacy, self.clerk) {
            _ if self.differ => Resolved::Nobody(Stripped::Conflict),
            (Standing::Valid, Clerk::Valid) => self.both(),
            (_, Clerk::Valid) => Resolved::Person(Side::Clerk, Beside::Nothing),
            // No hint: a public route is no place to begin a login.
            (Standing::Valid, _) => Resolved::Person(Side::Legacy, Beside::Nothing),
            (Standing::Absent, Clerk::Absent) => Resolved::Nobody(Stripped::Nothing),
            (
                Standing::Absent | Standing::Invalid | Standing::Sealed | Standing::Unverifiable,
                Clerk::Absent | Clerk::Expired | Clerk::Invalid | Clerk::Unverifiable,
            ) => Resolved::Nobody(Stripped::Credentials),
        }
    }

    /// Rule 3. Contradictory tokens are refused, also when one of them is not verified: that may only tighten.
    const fn agree(self) -> Result<(), Denial> {
        if self.differ { Err(Denial::Conflict) } else { Ok(()) }
    }

    /// Rule 4. Explicit and bad is final: who sent it meant it, and would else act as whoever an ambient cookie names.
    const fn explicit_is_final(self) -> Result<(), Denial> {
        match (self.explicit, self.legacy, self.clerk) {
            (Explicit::Legacy, Standing::Invalid, _) => Err(Denial::LegacyInvalid),
            (Explicit::Legacy, Standing::Sealed, _) => Err(Denial::LegacySealed),
            (Explicit::Clerk, _, Clerk::Invalid) => Err(Denial::ClerkInvalid),
            (Explicit::Clerk, _, Clerk::Expired) => Err(self.expired()),
            (_, _, _) => Ok(()),
        }
    }

    /// Rule 4 on protected routes, with its one exception: nobody can renew in an outage, and the valid legacy credential
    /// of the same person carries them over it.
    fn final_unless_carried(self) -> Result<(), Denial> {
        let is_carried = self.is_outage && self.clerk == Clerk::Expired && self.legacy == Standing::Valid;
        if is_carried { Ok(()) } else { self.explicit_is_final() }
    }

    /// Rule 5. Protected: any valid credential will do, whatever the arm; else the worst of what is left, so that nobody
    /// is sent to the login (401) while something could not be checked (503).
    fn protected(self) -> Result<Resolved, Denial> {
        match (self.legacy, self.clerk) {
            (Standing::Valid, Clerk::Valid) => Ok(self.both()),
            (_, Clerk::Valid) => Ok(Resolved::Person(Side::Clerk, Beside::Nothing)),
            (Standing::Valid, _) => Ok(Resolved::Person(Side::Legacy, self.hint())),
            (_, Clerk::Unverifiable) => Err(Denial::ClerkOutage),
            (Standing::Unverifiable, _) => Err(Denial::LegacyOutage),
            (_, Clerk::Expired) => Err(self.expired()),
            (Standing::Absent | Standing::Invalid | Standing::Sealed, Clerk::Absent | Clerk::Invalid) => {
                Err(self.nothing_valid())
            }
        }
    }

    /// Rule 6. Privileged: what the arm asks for, by keys that are young.
    ///
    /// To leave the Clerk credential out must not lower the bar, so that legacy alone is not enough in the Clerk arm.
    fn privileged(self, health: Health) -> Result<Resolved, Denial> {
        match (self.legacy, self.clerk, self.arm) {
            (Standing::Valid, Clerk::Valid, Arm::Legacy) => Ok(self.both()),
            (_, Clerk::Valid, _) if health != Health::Ok => Err(Denial::StaleKeys),
            (Standing::Valid, Clerk::Valid, _) => Ok(self.both()),
            (_, Clerk::Valid, _) => Ok(Resolved::Person(Side::Clerk, Beside::Nothing)),
            (Standing::Valid, _, Arm::Legacy) => Ok(Resolved::Person(Side::Legacy, Beside::Nothing)),
            // 503 where a login could not succeed: a step-up that nobody can make is a logout.
            (_, Clerk::Unverifiable, _) => Err(Denial::ClerkOutage),
            (Standing::Valid, _, _) if self.is_outage => Err(Denial::ClerkOutage),
            (Standing::Valid, _, _) => Err(Denial::StepUpClerk),
            // Before the legacy side, other than on protected routes: here it is Clerk that has to come back.
            (_, Clerk::Expired, _) => Err(self.expired()),
            (Standing::Unverifiable, _, _) => Err(Denial::LegacyOutage),
            (Standing::Absent | Standing::Invalid | Standing::Sealed, Clerk::Absent | Clerk::Invalid, _) => {
                Err(self.nothing_valid())
            }
        }
    }

    /// Two credentials of one person: the arm's side counts, the other shadows.
    const fn both(self) -> Resolved {
        Resolved::Person(self.arm.side(), Beside::Other)
    }

    /// Not once people were rolled back: they would be sent to where they were fetched from.
    const fn hint(self) -> Beside {
        match self.arm {
            Arm::Clerk => Beside::Upgrade,
            Arm::Legacy | Arm::Pinned => Beside::Nothing,
        }
    }

    /// 401 makes SDKs renew and come back, which they cannot in an outage.
    const fn expired(self) -> Denial {
        if self.is_outage { Denial::ClerkOutage } else { Denial::ClerkExpired }
    }

    const fn nothing_valid(self) -> Denial {
        match (self.legacy, self.clerk) {
            (Standing::Absent, Clerk::Absent) => Denial::NoCredential,
            (Standing::Sealed, _) => Denial::LegacySealed,
            (_, _) => Denial::Invalid,
        }
    }
}

impl Resolved {
    /// Whose identity goes upstream.
    pub const fn side(self) -> Option<Side> {
        match self {
            Self::Nobody(_) => None,
            Self::Person(side, _) => Some(side),
        }
    }

    /// Whether the answer says `x-crossgate-upgrade: clerk`.
    pub const fn has_upgrade_hint(self) -> bool {
        matches!(self, Self::Person(_, Beside::Upgrade))
    }

    /// Whether two people's credentials were taken away, which the trail holds as `identity_conflict`.
    pub const fn is_conflict_stripped(self) -> bool {
        matches!(self, Self::Nobody(Stripped::Conflict))
    }

    /// The table's word for what is special, empty for nothing.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Nobody(Stripped::Nothing) | Self::Person(_, Beside::Nothing) => "",
            Self::Nobody(Stripped::Credentials) => "stripped",
            Self::Nobody(Stripped::Conflict) => "conflict_stripped",
            Self::Person(_, Beside::Other) => "both",
            Self::Person(_, Beside::Upgrade) => "upgrade_hint",
        }
    }
}

impl Denial {
    /// The code of the answer.
    pub const fn code(self) -> Code {
        match self {
            Self::Conflict => Code::IdentityConflict,
            Self::NoCredential => Code::NoCredential,
            Self::ClerkExpired => Code::ClerkExpired,
            Self::ClerkInvalid => Code::ClerkInvalid,
            Self::LegacyInvalid => Code::LegacyInvalid,
            Self::LegacySealed => Code::LegacySealed,
            Self::Invalid => Code::Invalid,
            Self::StepUpClerk => Code::StepUpClerk,
            Self::ClerkOutage => Code::ClerkOutage,
            Self::LegacyOutage => Code::LegacyOutage,
            Self::StaleKeys => Code::StaleKeys,
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
