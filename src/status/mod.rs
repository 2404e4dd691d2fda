//! Where somebody stands, as a frontend is told: who they are, by which login, and what to do next.
//!
//! A value ([`Status`]) and the two bodies that it is written as: the one that is documented, and one that an operator makes
//! for a frontend which expects another ([`Body`]). The gate finds out what is true; this only says it. Holds facts that a
//! credential proved and nothing of the credential itself, so that no body can show one.

mod body;

use serde::Serialize;
use serde_json::Value;

pub use body::{Body, BodyProblem, Step};

/// The answer to "who am I here?".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub authenticated: bool,
    /// `clerk`, `legacy` or `none`: the login whose credential counts; `runner` of a runner token.
    pub method: &'static str,
    /// `None` of nobody, as all below.
    pub user: Option<User>,
    pub org: Option<Org>,
    /// RFC 3339: when the credential that counts stops being good.
    pub expires_at: Option<String>,
    /// `legacy` or `clerk`, as `x-crossgate-arm` on an ordinary route.
    pub arm: Option<&'static str>,
    pub migration: Migration,
    /// Something that has to be asked does not answer, so that this is less than usual, or may soon be.
    pub degraded: bool,
    /// Seconds until asking again may tell more; there whenever `degraded` is.
    pub retry_after: Option<u16>,
    /// RFC 3339.
    pub server_time: String,
}

/// A person, by each name that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// The canonical one: `x-crossgate-subject`.
    pub id: String,
    pub legacy_id: Option<String>,
    pub clerk_id: Option<String>,
}

/// The active org and the person's role in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Org {
    /// The name that stands in paths (`identity.names.org`).
    pub id: Option<String>,
    /// As `x-crossgate-role`.
    pub role: Option<String>,
}

/// How far somebody's move has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Migration {
    pub state: &'static str,
    pub action: Action,
}

/// What a client does next, so that nothing it does is refused for how it signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    None,
    SignIn,
    /// This person gets an account at Clerk.
    Link,
    /// This person signs in with Clerk, which they already have an account of.
    StepUp,
}

impl Action {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SignIn => "sign_in",
            Self::Link => "link",
            Self::StepUp => "step_up",
        }
    }
}

impl Status {
    /// The body, as JSON.
    pub fn render(&self, body: Option<&Body>) -> String {
        match body {
            Some(body) => body.render(self).to_string(),
            // INVARIANT: text, numbers and booleans under text keys: this cannot fail.
            None => serde_json::to_string(self).unwrap_or_default(),
        }
    }

    fn field(&self, field: Field) -> Value {
        let user = self.user.as_ref();
        let org = self.org.as_ref();
        match field {
            Field::Authenticated => self.authenticated.into(),
            Field::Method => self.method.into(),
            Field::UserId => user.map(|user| user.id.as_str()).into(),
            Field::UserLegacyId => user.and_then(|user| user.legacy_id.as_deref()).into(),
            Field::UserClerkId => user.and_then(|user| user.clerk_id.as_deref()).into(),
            Field::OrgId => org.and_then(|org| org.id.as_deref()).into(),
            Field::OrgRole => org.and_then(|org| org.role.as_deref()).into(),
            Field::ExpiresAt => self.expires_at.as_deref().into(),
            Field::Arm => self.arm.into(),
            Field::MigrationState => self.migration.state.into(),
            Field::MigrationAction => self.migration.action.as_str().into(),
            Field::Degraded => self.degraded.into(),
            Field::RetryAfter => self.retry_after.into(),
            Field::ServerTime => self.server_time.as_str().into(),
        }
    }
}

/// What a body can name: the paths of the documented one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Authenticated,
    Method,
    UserId,
    UserLegacyId,
    UserClerkId,
    OrgId,
    OrgRole,
    ExpiresAt,
    Arm,
    MigrationState,
    MigrationAction,
    Degraded,
    RetryAfter,
    ServerTime,
}

impl Field {
    const ALL: [Self; 14] = [
        Self::Authenticated,
        Self::Method,
        Self::UserId,
        Self::UserLegacyId,
        Self::UserClerkId,
        Self::OrgId,
        Self::OrgRole,
        Self::ExpiresAt,
        Self::Arm,
        Self::MigrationState,
        Self::MigrationAction,
        Self::Degraded,
        Self::RetryAfter,
        Self::ServerTime,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Authenticated => "authenticated",
            Self::Method => "method",
            Self::UserId => "user.id",
            Self::UserLegacyId => "user.legacyId",
            Self::UserClerkId => "user.clerkId",
            Self::OrgId => "org.id",
            Self::OrgRole => "org.role",
            Self::ExpiresAt => "expiresAt",
            Self::Arm => "arm",
            Self::MigrationState => "migration.state",
            Self::MigrationAction => "migration.action",
            Self::Degraded => "degraded",
            Self::RetryAfter => "retryAfter",
            Self::ServerTime => "serverTime",
        }
    }

    /// Whether it is true or false, and nothing else.
    const fn is_flag(self) -> bool {
        matches!(self, Self::Authenticated | Self::Degraded)
    }
}
