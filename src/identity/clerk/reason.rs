//! Why a Clerk credential was not accepted, in Clerk's own words where Clerk has one.
//!
//! Goes to the log, the audit and `explain`; a client sees it only with `endpoints.debug_reasons`. Carries no
//! bytes of the token.

/// The reason of an [`Invalid`](crate::identity::Verdict::Invalid) verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Not a token in the strict form: parts, base64url, JSON, header members.
    TokenInvalid,
    /// Another algorithm than RS256.
    TokenInvalidAlgorithm,
    /// The signature does not fit the key that the token names.
    TokenInvalidSignature,
    /// From no configured instance, or under the cookie name of another one.
    TokenInvalidIssuer,
    /// `azp` is none of `authorized_parties`.
    TokenInvalidAuthorizedParties,
    /// A claim that must be there is missing, or has a form that means nothing.
    TokenVerificationFailed,
    TokenNotActiveYet,
    TokenIatInTheFuture,
    /// Signed by the instance for another purpose: template, M2M, OAuth, handshake, or an opaque machine token.
    TokenTypeMismatch,
    /// The key set, freshly fetched, has no such key.
    KidMismatch,
    /// The session has tasks to finish (`sts: pending`).
    Pending,
    /// The browser signed in or out after this token was made.
    IatBeforeClientUat,
    /// A session token, while the browser is signed out.
    NoClientUat,
    /// Verified, but too long to be told to the API in headers.
    IdentityTooLarge,
    /// Verified, of somebody whom the identity map calls deleted.
    PrincipalDeleted,
}

impl Reason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenInvalid => "token-invalid",
            Self::TokenInvalidAlgorithm => "token-invalid-algorithm",
            Self::TokenInvalidSignature => "token-invalid-signature",
            Self::TokenInvalidIssuer => "token-invalid-issuer",
            Self::TokenInvalidAuthorizedParties => "token-invalid-authorized-parties",
            Self::TokenVerificationFailed => "token-verification-failed",
            Self::TokenNotActiveYet => "token-not-active-yet",
            Self::TokenIatInTheFuture => "token-iat-in-the-future",
            Self::TokenTypeMismatch => "token-type-mismatch",
            Self::KidMismatch => "jwk-kid-mismatch",
            Self::Pending => "pending",
            Self::IatBeforeClientUat => "session-token-iat-before-client-uat",
            Self::NoClientUat => "session-token-but-no-client-uat",
            Self::IdentityTooLarge => "identity-too-large",
            Self::PrincipalDeleted => "principal-deleted",
        }
    }

    /// Whether a check was spent on a token that the instance never signed.
    pub const fn is_forgery(self) -> bool {
        matches!(self, Self::TokenInvalidSignature)
    }
}
