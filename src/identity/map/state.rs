//! How far a person's move has come, as the identity map says it.

/// The state of a user's link.
///
/// | state | a legacy credential | a Clerk credential | arm |
/// |---|---|---|---|
/// | `linked` | proves this person | proves this person | by percentage |
/// | `legacy_only` | proves this person | proves nothing: nobody is linked yet | legacy |
/// | `clerk_native` | proves nothing | proves this person | pinned to Clerk |
/// | `sealed` | proves nothing | proves this person | pinned to Clerk |
/// | `deleted` | proves nothing | proves nothing | none |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    #[default]
    Linked,
    LegacyOnly,
    ClerkNative,
    Sealed,
    Deleted,
}

impl State {
    pub const ALL: [Self; 5] = [Self::Linked, Self::LegacyOnly, Self::ClerkNative, Self::Sealed, Self::Deleted];

    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Linked => "linked",
            Self::LegacyOnly => "legacy_only",
            Self::ClerkNative => "clerk_native",
            Self::Sealed => "sealed",
            Self::Deleted => "deleted",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether a legacy credential that verifies still proves this person. When not, the gate treats it as refused
    /// (`legacy_sealed`), however good its signature.
    pub const fn legacy_proves(self) -> bool {
        match self {
            Self::Linked | Self::LegacyOnly => true,
            Self::ClerkNative | Self::Sealed | Self::Deleted => false,
        }
    }

    /// Whether a Clerk credential that verifies proves this person. A `legacy_only` user has no Clerk id here, so that
    /// only a mapped claim could name them: the map decides over the claim.
    pub const fn clerk_proves(self) -> bool {
        match self {
            Self::Linked | Self::ClerkNative | Self::Sealed => true,
            Self::LegacyOnly | Self::Deleted => false,
        }
    }

    /// Whether the arm is Clerk's, whatever the percentage: there is no legacy side to go back to.
    pub const fn is_pinned(self) -> bool {
        match self {
            Self::ClerkNative | Self::Sealed => true,
            Self::Linked | Self::LegacyOnly | Self::Deleted => false,
        }
    }

    /// For the packed record of a user.
    pub(super) const fn bits(self) -> u32 {
        match self {
            Self::Linked => 0,
            Self::LegacyOnly => 1,
            Self::ClerkNative => 2,
            Self::Sealed => 3,
            Self::Deleted => 4,
        }
    }

    /// Bits that nobody wrote count as deleted: the state that proves nothing.
    pub(super) const fn of_bits(bits: u32) -> Self {
        match bits {
            0 => Self::Linked,
            1 => Self::LegacyOnly,
            2 => Self::ClerkNative,
            3 => Self::Sealed,
            _ => Self::Deleted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::State;

    #[test]
    fn words_and_bits_lead_back() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
            assert_eq!(State::of_bits(state.bits()), state);
        }
        assert_eq!(State::parse("Linked"), None);
        assert_eq!(State::of_bits(7), State::Deleted);
    }

    #[test]
    fn what_each_state_proves() {
        let proves = State::ALL.map(|state| (state.legacy_proves(), state.clerk_proves(), state.is_pinned()));
        assert_eq!(
            proves,
            [
                (true, true, false),
                (true, false, false),
                (false, true, true),
                (false, true, true),
                (false, false, false)
            ]
        );
    }
}
