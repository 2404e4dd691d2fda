//! The checks of a verification, told one by one to whoever explains it. On the way of a request nobody listens.
//!
//! Who listens sees every check made: nothing is answered from memory. And a question leaves no trace: while somebody
//! listens, nothing is remembered and nothing is counted. Never told of a token or of a secret; claims are.

use std::fmt::Debug;

/// Whose credential is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    Clerk,
    Legacy,
    Runner,
}

impl About {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clerk => "clerk",
            Self::Legacy => "legacy",
            Self::Runner => "runner",
        }
    }

    /// The checks of a signed token, in the order in which they are made; the first that fails ends it.
    pub const fn order(self) -> &'static [&'static str] {
        match self {
            Self::Clerk => {
                &[FORM, ISSUER, HEADER, KEY, SIGNATURE, SESSION, AUDIENCE, PARTY, STATUS, CLAIMS, TIMES, PERSON]
            }
            Self::Legacy => &[FORM, HEADER, KEY, SIGNATURE, ISSUER, AUDIENCE, CLAIMS, TIMES, PERSON],
            Self::Runner => &[HEADER, KEY, SIGNATURE, ISSUER, AUDIENCE, TIMES, CLAIMS, PERSON],
        }
    }
}

/// The first check of every credential.
pub const FORM: &str = "form";
/// `alg`, `typ`, and no member that changes what the signature means.
pub(super) const HEADER: &str = "header";
pub(super) const ISSUER: &str = "iss";
pub(super) const KEY: &str = "kid";
pub(super) const SIGNATURE: &str = "signature";
/// A session token by its ids, and not one of another class.
pub(super) const SESSION: &str = "sid";
pub(super) const AUDIENCE: &str = "aud";
pub(super) const PARTY: &str = "azp";
pub(super) const STATUS: &str = "sts";
/// The shape of the rest.
pub(super) const CLAIMS: &str = "claims";
pub(super) const TIMES: &str = "times";
/// Whom the identity map and the header names make of it.
pub(super) const PERSON: &str = "person";
/// Which of Clerk's cookies counts, and whether the browser is signed in.
pub(super) const IN_COOKIE: &str = "cookie";
/// What a server said.
pub(super) const ANSWER: &str = "answer";

/// One check that was made.
#[derive(Debug)]
pub struct Check {
    pub about: About,
    pub name: &'static str,
    pub passed: bool,
    pub detail: String,
}

/// Hears them. Shared, so that verifiers stay borrows that can be copied.
pub trait Listener: Debug + Sync {
    fn hear(&self, check: Check);
}

/// Who listens, if anybody does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Checks<'a>(Option<&'a dyn Listener>);

impl<'a> Checks<'a> {
    pub const NOBODY: Checks<'static> = Checks(None);

    pub fn told_to(listener: &'a dyn Listener) -> Self {
        Self(Some(listener))
    }

    /// Told of nothing, and leaving as little behind as they do: for a second look at what they were told of.
    #[must_use]
    pub fn muted(self) -> Self {
        #[derive(Debug)]
        struct Mute;
        impl Listener for Mute {
            fn hear(&self, _: Check) {}
        }
        Self(self.0.map(|_| &Mute as &dyn Listener))
    }

    pub const fn is_heard(self) -> bool {
        self.0.is_some()
    }

    /// `detail` is only built when somebody listens.
    pub(super) fn note(self, about: About, name: &'static str, passed: bool, detail: impl FnOnce() -> String) {
        if let Some(listener) = self.0 {
            listener.hear(Check { about, name, passed, detail: detail() });
        }
    }

    /// The same of a runner token, whose keys are not this module's.
    pub(crate) fn of_runner<T, E>(
        self,
        name: &'static str,
        result: Result<T, E>,
        detail: impl FnOnce() -> String,
    ) -> Result<T, E> {
        self.of(About::Runner, name, result, detail)
    }

    /// Notes whether a step went well, and hands it on.
    pub(super) fn of<T, E>(
        self,
        about: About,
        name: &'static str,
        result: Result<T, E>,
        detail: impl FnOnce() -> String,
    ) -> Result<T, E> {
        self.note(about, name, result.is_ok(), detail);
        result
    }
}

/// A claim as it stands there, bounded; `none` where it does not.
pub(super) fn shown(value: Option<&serde_json::Value>) -> String {
    const LONGEST: usize = 120;
    match value {
        None => "none".to_owned(),
        Some(value) => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if text.chars().count() <= LONGEST { text } else { text.chars().take(LONGEST).chain(['…']).collect() }
        }
    }
}
