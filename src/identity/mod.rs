//! Who is calling: credentials become an [`Identity`], or a reason why not.
//!
//! Owns verification (Clerk's tokens and cookies, the legacy side's credentials), the facts that policies read, and
//! the header values that tell the API about them. Absent, bad and cannot-tell are three verdicts and three
//! answers (401, 401, 503). Never decides what a person may do: that is `policy`.

mod bounded;
pub mod cache;
pub mod checks;
pub mod clerk;
pub mod headers;
pub mod json;
pub mod kind;
pub mod legacy;
pub mod link;
pub mod map;
pub mod runner;
mod times;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

pub use headers::HeaderNames;
pub use link::{Canonical, Linking};
pub use map::State as Link;

/// A verified caller, ready to be used by any number of requests: facts for policies, header values for the API.
#[derive(Debug)]
pub struct Identity {
    pub facts: Facts,
    /// The identity headers of this person, rendered once; route, arm and request id are added per request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// SHA-256 of the credential, for keyed hashes of it; `None` for somebody who is only assumed.
    pub digest: Option<[u8; 32]>,
    /// Whether the audit trail has heard of this credential: read with each request, so that it must cost nothing.
    pub announced: AtomicBool,
}

impl Identity {
    /// Somebody with these facts and header values, and no credential.
    pub fn new(facts: Facts, headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self { facts, headers, digest: None, announced: AtomicBool::new(false) }
    }
}

/// What a verified credential says. Everything here came out of a checked signature, nothing out of the request.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub method: Method,
    pub token: TokenKind,
    /// Name of the Clerk instance (`clerk[].name`) that the token belongs to; people of two instances are two people.
    /// Empty for the legacy side, as no instance's name is.
    pub instance: Arc<str>,
    /// The canonical id: what `x-crossgate-subject` says.
    pub subject: String,
    pub clerk_user: Option<String>,
    /// Id, org and roles as the legacy side names them.
    pub legacy_user: Option<String>,
    pub legacy_org: Option<String>,
    pub legacy_roles: Vec<String>,
    /// The credential named none: these are the map's, and follow it.
    pub roles_by_map: bool,
    /// Further names of the active org on the other side (legacy ids of a Clerk person's, Clerk ids of a legacy person's), where
    /// the map merges orgs. Compared like the main one, never told to the API.
    pub merged_orgs: Vec<String>,
    /// The active org's canonical id: the same whichever login somebody came with.
    pub canonical_org: Option<String>,
    /// How far this person's move has come.
    pub link: Link,
    pub session: Option<String>,
    /// The active org as Clerk knows it; of a legacy person by the map, and then nothing but its id.
    pub org: Option<Org>,
    /// Enabled features and plans; `None` when the claim cannot be read, which is not the same as empty.
    pub features: Option<Scoped>,
    pub plans: Option<Scoped>,
    /// Minutes since the first and second factor (`fva`), -1 for never; `None` when missing or malformed.
    pub factor_ages: Option<[f64; 2]>,
    /// The impersonator (`act.sub`), when somebody acts in this person's name.
    pub actor: Option<String>,
    pub workspaces: Workspaces,
    /// What the credential was narrowed to; `None` where it is of a kind that has no scopes.
    pub scopes: Option<Vec<String>>,
    /// The whole payload, for `claim` predicates; of a runner token the part of it that was carried over.
    pub claims: Map<String, Value>,
    /// Milliseconds since the epoch, from `iat`.
    pub issued_at_ms: Option<i64>,
    /// Milliseconds since the epoch; when the credential itself stops being good, before any leeway.
    pub expires_at_ms: Option<i64>,
}

/// The active organisation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Org {
    pub id: String,
    /// Chosen by strangers: shown to the API, compared only where a policy asks for a slug.
    pub slug: Option<String>,
    /// Always with the `org:` prefix, whatever the token's version writes.
    pub role: Option<String>,
    /// As in the token, `org:feature:permission`; `None` when `fea`/`fpm` cannot be read.
    pub permissions: Option<Vec<String>>,
}

/// Feature or plan names by scope, as Clerk's `fea` and `pla` claims give them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scoped {
    pub org: Vec<String>,
    pub user: Vec<String>,
}

/// The workspaces that a principal may enter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Workspaces {
    /// No claim is configured, or this token does not carry it.
    #[default]
    Missing,
    /// The claim is there and has another shape than a list of ids or of `{ id, role }`.
    Unreadable,
    Known(Vec<Workspace>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    pub id: String,
    pub role: Option<String>,
}

/// Which login a person came with: `x-crossgate-method`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    #[default]
    Clerk,
    Legacy,
    /// With a token that a credential of this login was exchanged for.
    Runner(Login),
}

/// Whose words the facts are: which roles, ids and orgs somebody has is told by the login that vouched for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    Clerk,
    Legacy,
}

impl Login {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clerk => "clerk",
            Self::Legacy => "legacy",
        }
    }
}

impl Method {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clerk => "clerk",
            Self::Legacy => "legacy",
            Self::Runner(_) => "runner",
        }
    }

    pub const fn login(self) -> Login {
        match self {
            Self::Clerk | Self::Runner(Login::Clerk) => Login::Clerk,
            Self::Legacy | Self::Runner(Login::Legacy) => Login::Legacy,
        }
    }
}

/// The class of a credential: `x-crossgate-token` and `require.token`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TokenKind {
    #[default]
    Session,
    /// Whatever the legacy side accepts.
    Legacy,
    /// Made by crossgate in exchange for one of the others.
    Runner,
}

impl TokenKind {
    pub const ALL: [Self; 3] = [Self::Session, Self::Legacy, Self::Runner];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Legacy => "legacy",
            Self::Runner => "runner",
        }
    }

    /// Whether such a credential is narrowed to scopes.
    pub const fn has_scopes(self) -> bool {
        match self {
            Self::Runner => true,
            Self::Session | Self::Legacy => false,
        }
    }
}

/// Where a credential travelled. A header is put there on purpose, a cookie by the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carrier {
    Header,
    Cookie,
}

/// What verification says about the Clerk side of one request.
#[derive(Debug, Clone)]
pub enum Verdict {
    Absent,
    Valid {
        identity: Arc<Identity>,
        carrier: Carrier,
    },
    /// The signature is good and the time is over: Clerk can renew it. `legacy_user`: whom it names, by their id on the
    /// legacy side, if they have one. Only for telling that two credentials name two people.
    Expired {
        carrier: Carrier,
        legacy_user: Option<Box<str>>,
    },
    Invalid {
        reason: Reason,
        carrier: Carrier,
    },
    /// Cannot be told now: 503, never 401. `held` says that there are keys, only not the one that this token names:
    /// a stranger can cause that by making a name up. `legacy_user`: whom it claims to name, unverified.
    Unverifiable {
        held: bool,
        legacy_user: Option<Box<str>>,
    },
    /// Header and cookie both verify and name two people.
    Conflict,
}

impl Verdict {
    /// The verdict in one word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Valid { .. } => "valid",
            Self::Expired { .. } => "expired",
            Self::Invalid { .. } => "invalid",
            Self::Unverifiable { .. } => "unverifiable",
            Self::Conflict => "conflict",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("no Clerk credential was sent"),
            Self::Valid { identity, carrier } => {
                write!(f, "{} of {} in the {carrier}", identity.facts.subject, identity.facts.instance)
            }
            Self::Expired { carrier, .. } => write!(f, "the token in the {carrier} verifies and its time is over"),
            Self::Invalid { reason, carrier } => write!(f, "{} ({carrier})", reason.as_str()),
            Self::Unverifiable { held, .. } => f.write_str(cannot_tell(*held)),
            Self::Conflict => f.write_str("header and cookie verify and name two people"),
        }
    }
}

const fn cannot_tell(held: bool) -> &'static str {
    if held { "the key that the token names cannot be had now" } else { "no usable key can be had now" }
}

impl std::fmt::Display for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Cookie => "cookie",
        })
    }
}

pub use clerk::Reason;

/// Why nobody is let through by name: the outcome for this step, once the verdict has met the route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing was sent: 401.
    NoCredential,
    /// 401; Clerk's SDKs renew and come back.
    Expired,
    /// 401. `explicit` is the Authorization header, which a client set on purpose.
    Invalid { reason: Reason, explicit: bool },
    /// No key can tell now: 503, never 401, or a whole company is logged out by a key server.
    Unverifiable { held: bool },
    /// The token verifies, by keys that are too old for a privileged route: 503.
    StaleKeys,
    /// 401. `explicit` is the header, which a client set on purpose.
    LegacyInvalid { reason: legacy::Reason, explicit: bool },
    /// A legacy credential of somebody who has moved to Clerk for good: 401.
    LegacySealed,
    /// The legacy side cannot be asked now: 503.
    LegacyUnverifiable,
    /// A good legacy credential, where this person is to come with Clerk: 401.
    StepUp,
    /// Two verified people in one request: 400.
    Conflict,
    /// Two sessions under one cookie name: 400.
    Ambiguous,
    /// A cookie session on an unsafe method from another site: 403.
    CrossSite,
    /// A runner token that does not hold: 401.
    Runner(runner::Reason),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoCredential => f.write_str("no credential was sent"),
            Self::Expired => f.write_str("token-expired"),
            Self::Invalid { reason, .. } => f.write_str(reason.as_str()),
            Self::Unverifiable { held } => f.write_str(cannot_tell(*held)),
            Self::StaleKeys => f.write_str("the keys are older than privileged_max_stale and cannot be refreshed"),
            Self::LegacyInvalid { reason, .. } => write!(f, "legacy: {}", reason.as_str()),
            Self::LegacySealed => f.write_str("the legacy side of this person proves nothing any more"),
            Self::LegacyUnverifiable => f.write_str("the legacy credential cannot be verified now"),
            Self::StepUp => f.write_str("this person is to come with Clerk here"),
            Self::Conflict => f.write_str("the credentials name two people"),
            Self::Ambiguous => f.write_str("two sessions under one cookie name"),
            Self::CrossSite => f.write_str("a cookie session on an unsafe method without same-origin evidence"),
            Self::Runner(reason) => write!(f, "runner: {}", reason.as_str()),
        }
    }
}
