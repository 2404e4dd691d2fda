//! True, false, or cannot be told: the logic of rules (strong Kleene).
//!
//! What cannot be evaluated must neither let anyone in nor vanish: `not` keeps it unknown, `any` is true despite
//! it, `all` is false despite it, and a rule that stays unknown denies with the cause.

/// The outcome of a predicate or of a whole rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tri {
    True,
    False,
    Unknown(Cause),
}

/// Why something cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The caller is not known at all.
    NoIdentity,
    /// There is no active organisation that a role or permission could belong to.
    NoOrg,
    MissingClaim,
    /// A credential of this kind is not narrowed to any scopes.
    NoScopes,
    /// The route asks for the other side's id of somebody, or of their org, and the identity map has none.
    Unmapped,
    /// Nothing says which legacy roles mean the one that is asked for.
    UnmappedRole,
    /// The claim has another type than the policy asks for.
    OtherType,
    /// The claim is there and its content cannot be read.
    UnreadableClaim,
    /// The request does not have the header or parameter that the policy compares with.
    MissingValue,
    /// The request has it twice, or in a form that two readers read differently.
    AmbiguousValue,
    /// A number that cannot be told: too large, divided by zero, or no number at all.
    NoNumber,
    /// Longer than a condition looks at.
    TooLarge,
}

impl Cause {
    /// Stable name for logs and `explain`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoIdentity => "no-identity",
            Self::NoOrg => "no-active-organization",
            Self::MissingClaim => "missing-claim",
            Self::NoScopes => "no-scopes",
            Self::Unmapped => "unmapped",
            Self::UnmappedRole => "unmapped-role",
            Self::OtherType => "type-mismatch",
            Self::UnreadableClaim => "unreadable-claim",
            Self::MissingValue => "missing-value",
            Self::AmbiguousValue => "ambiguous-value",
            Self::NoNumber => "no-number",
            Self::TooLarge => "too-large",
        }
    }
}

impl From<bool> for Tri {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

impl std::ops::Not for Tri {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown(cause) => Self::Unknown(cause),
        }
    }
}

impl Tri {
    /// False beats unknown beats true; the first cause stays.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::False, _) | (_, Self::False) => Self::False,
            (Self::Unknown(cause), _) | (_, Self::Unknown(cause)) => Self::Unknown(cause),
            (Self::True, Self::True) => Self::True,
        }
    }

    /// True beats unknown beats false; the first cause stays.
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::True, _) | (_, Self::True) => Self::True,
            (Self::Unknown(cause), _) | (_, Self::Unknown(cause)) => Self::Unknown(cause),
            (Self::False, Self::False) => Self::False,
        }
    }

    /// Whether one of several holds; false for none.
    pub fn any(outcomes: impl IntoIterator<Item = Self>) -> Self {
        let mut found = Self::False;
        for outcome in outcomes {
            found = found.or(outcome);
            if found == Self::True {
                break;
            }
        }
        found
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::False => "false",
            Self::Unknown(_) => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, Tri};

    const UNKNOWN: Tri = Tri::Unknown(Cause::MissingClaim);
    const ALL: [Tri; 3] = [Tri::True, Tri::False, UNKNOWN];

    #[test]
    fn the_tables_are_kleenes() {
        use Tri::{False, True};
        let table = [
            (True, True, True, True),
            (True, False, False, True),
            (True, UNKNOWN, UNKNOWN, True),
            (False, False, False, False),
            (False, UNKNOWN, False, UNKNOWN),
            (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN),
        ];
        for (one, other, and, or) in table {
            assert_eq!((one.and(other), other.and(one)), (and, and), "{one:?} and {other:?}");
            assert_eq!((one.or(other), other.or(one)), (or, or), "{one:?} or {other:?}");
        }
        assert_eq!([!True, !False, !UNKNOWN], [False, True, UNKNOWN]);
    }

    #[test]
    fn the_laws_hold() {
        for a in ALL {
            assert_eq!(!!a, a);
            assert_eq!((a.and(a), a.or(a)), (a, a));
            for b in ALL {
                assert_eq!(!a.and(b), (!a).or(!b), "De Morgan");
                assert_eq!(!a.or(b), (!a).and(!b), "De Morgan");
                assert_eq!((a.and(a.or(b)), a.or(a.and(b))), (a, a), "absorption");
                for c in ALL {
                    assert_eq!(a.and(b).and(c), a.and(b.and(c)));
                    assert_eq!(a.or(b).or(c), a.or(b.or(c)));
                    assert_eq!(a.and(b.or(c)), a.and(b).or(a.and(c)));
                    assert_eq!(a.or(b.and(c)), a.or(b).and(a.or(c)));
                }
            }
        }
    }

    #[test]
    fn the_first_cause_is_kept() {
        let (first, second) = (Tri::Unknown(Cause::NoOrg), Tri::Unknown(Cause::OtherType));
        assert_eq!((first.and(second), first.or(second), !first), (first, first, first));
        assert_eq!(Tri::any([Tri::False, first, second]), first);
        assert_eq!(Tri::any([first, Tri::True, second]), Tri::True);
        assert_eq!(Tri::any([]), Tri::False);
    }
}
