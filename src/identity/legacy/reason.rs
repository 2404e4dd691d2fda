//! Why a legacy credential was not accepted. Goes to the log, the audit and `explain`; carries no bytes of it.

/// The reason of an [`Invalid`](super::Verdict::Invalid) verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No credential in the strict form: size, characters, parts, base64url, JSON, header members.
    Malformed,
    /// An algorithm that is not on the list, or one that the named key is not for.
    Algorithm,
    /// No key of the set has the name that the token names.
    UnknownKey,
    Signature,
    Issuer,
    Audience,
    /// A claim that must be there is missing, or has a form that means nothing.
    Claims,
    NotActiveYet,
    IssuedInTheFuture,
    Expired,
    /// The introspection server says that the token is not active.
    Inactive,
    /// The server of `forward_auth` answered 401 or 403.
    Refused,
    /// Verified, but its id is one of somebody at Clerk: two people would be one to the API.
    ClerksId,
    /// Verified, but too long to be told to the API in headers.
    IdentityTooLarge,
}

impl Reason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "legacy-malformed",
            Self::Algorithm => "legacy-algorithm",
            Self::UnknownKey => "legacy-unknown-key",
            Self::Signature => "legacy-signature",
            Self::Issuer => "legacy-issuer",
            Self::Audience => "legacy-audience",
            Self::Claims => "legacy-claims",
            Self::NotActiveYet => "legacy-not-active-yet",
            Self::IssuedInTheFuture => "legacy-iat-in-the-future",
            Self::Expired => "legacy-expired",
            Self::Inactive => "legacy-inactive",
            Self::Refused => "legacy-refused",
            Self::ClerksId => "legacy-id-is-clerks",
            Self::IdentityTooLarge => "legacy-identity-too-large",
        }
    }

    /// Whether a check was spent on a credential that nobody signed. What a server refused is not among them: questions
    /// have a budget of their own, by what was asked (`Answers::refused`) and not by what is remembered.
    pub const fn is_forgery(self) -> bool {
        matches!(self, Self::Signature)
    }
}
