//! The short names of causes and reasons, with what they mean: for people, where programs and the trail get the name alone.

/// Each name, and the words for it: they follow `cannot be told:` and `has` as well as they stand alone.
const WORDS: &[(&str, &str)] = &[
    // What a predicate cannot be told by.
    ("no-identity", "nobody is known"),
    ("no-active-organization", "no active organization"),
    ("missing-claim", "no such claim"),
    ("no-scopes", "no scopes at all"),
    ("unmapped-role", "no meaning in identity.roles"),
    ("type-mismatch", "a value of another type"),
    ("unreadable-claim", "a claim that cannot be read"),
    ("missing-value", "no such value in the request"),
    ("ambiguous-value", "a value that can be read in two ways"),
    ("no-number", "no number that can be told"),
    ("too-large", "more than a condition looks at"),
    // Why a credential of Clerk's, or a runner token, proves nothing.
    ("token-expired", "the token's time is over"),
    ("token-invalid", "this is no token in the strict form"),
    ("token-invalid-algorithm", "the token is signed by another algorithm than is taken"),
    ("token-invalid-signature", "the signature does not fit the key that the token names"),
    ("token-invalid-issuer", "the token is of no configured issuer"),
    ("token-invalid-audience", "the token is for somebody else"),
    ("token-invalid-authorized-parties", "the token was made for an origin that is not authorized"),
    ("token-verification-failed", "a claim that must be there is missing or means nothing"),
    ("token-not-active-yet", "the token's time has not begun"),
    ("token-iat-in-the-future", "the token says that it was made in the future"),
    ("token-type-mismatch", "the token is of another kind than is taken here"),
    ("jwk-kid-mismatch", "the key set has no such key"),
    ("pending", "the session has tasks left to do"),
    ("session-token-iat-before-client-uat", "the browser signed in or out after this token was made"),
    ("session-token-but-no-client-uat", "the browser is signed out"),
    ("identity-too-large", "what the token says is too long for headers"),
    ("principal-deleted", "the identity map calls this person deleted"),
    ("token-malformed", "this is no token in the strict form"),
    ("unknown-key", "no key that is known signed it"),
    ("signature-invalid", "its signature does not hold"),
    ("issuer-mismatch", "it is of another issuer"),
    ("audience-mismatch", "it is for somebody else"),
    ("claims-invalid", "a claim that must be there is missing or means nothing"),
    ("login-not-configured", "the login that it was made by is gone"),
    ("person-gone", "its person is gone"),
    // Why one of the legacy side's does.
    ("legacy-malformed", "it has no form that is known"),
    ("legacy-algorithm", "it is signed by another algorithm than is taken"),
    ("legacy-unknown-key", "no key that is known signed it"),
    ("legacy-signature", "its signature does not hold"),
    ("legacy-issuer", "it is of another issuer"),
    ("legacy-audience", "it is for somebody else"),
    ("legacy-claims", "a claim that must be there is missing or means nothing"),
    ("legacy-not-active-yet", "its time has not begun"),
    ("legacy-iat-in-the-future", "it says that it was made in the future"),
    ("legacy-expired", "its time is over"),
    ("legacy-inactive", "its server calls it inactive"),
    ("legacy-refused", "its server refuses it"),
    ("legacy-id-is-clerks", "its id is one of Clerk's"),
    ("legacy-identity-too-large", "what it says is too long for headers"),
];

/// A sentence with the words for each name in it, the name behind them.
pub(super) fn plain(text: &str) -> String {
    let words = |name: &str| WORDS.iter().find(|(known, _)| *known == name).map(|(_, words)| *words);
    if let Some(words) = words(text) {
        return format!("{words} ({text})");
    }
    let each = text.split(' ').map(|word| {
        let name = word.trim_end_matches([',', ';']);
        // A name without a hyphen is a word like others.
        match words(name).filter(|_| name.contains('-')) {
            Some(words) => format!("{words} ({name}){}", word.get(name.len()..).unwrap_or_default()),
            None => word.to_owned(),
        }
    });
    each.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{WORDS, plain};
    use crate::policy::Cause;

    #[test]
    fn names_are_told_in_words_and_stay_searchable() {
        let table = [
            ("token-expired", "the token's time is over (token-expired)"),
            ("pending", "the session has tasks left to do (pending)"),
            ("sts: pending", "sts: pending"),
            ("when cannot be told: missing-claim", "when cannot be told: no such claim (missing-claim)"),
            (
                "claims.level is type-mismatch, claims.x is 3",
                "claims.level is a value of another type (type-mismatch), claims.x is 3",
            ),
            ("legacy: legacy-expired", "legacy: its time is over (legacy-expired)"),
            ("asked org:admin; has org:member", "asked org:admin; has org:member"),
        ];
        for (text, expected) in table {
            assert_eq!(plain(text), expected);
        }
    }

    #[test]
    fn every_cause_has_words() {
        let causes = [
            Cause::NoIdentity,
            Cause::NoOrg,
            Cause::MissingClaim,
            Cause::NoScopes,
            Cause::UnmappedRole,
            Cause::OtherType,
            Cause::UnreadableClaim,
            Cause::MissingValue,
            Cause::AmbiguousValue,
            Cause::NoNumber,
            Cause::TooLarge,
        ];
        for cause in causes {
            assert!(WORDS.iter().any(|(name, _)| *name == cause.as_str()), "{cause:?}");
        }
    }
}
