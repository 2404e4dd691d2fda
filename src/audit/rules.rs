//! What of the trail a reload can change: which events are written down, how a route names what is done, and whether a
//! route may go on when nothing can be written.
//!
//! Made by `config::compile`, read by the gate out of the snapshot. Writes nothing and decides nothing.

use std::fmt;

use http::HeaderName;

use crate::identity::Identity;
use crate::policy::Template;
use crate::request::View;
use crate::route::Captures;

/// `audit` of a config and of its routes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    pub on_failure: OnFailure,
    pub events: Events,
    /// By route index.
    pub routes: Vec<RouteRules>,
}

impl Rules {
    /// Whether an action of this route goes on when it cannot be recorded. Both the config and the route must say so,
    /// so that one careless key opens nothing.
    pub fn goes_on_unrecorded(&self, route: usize) -> bool {
        self.on_failure == OnFailure::Allow && self.routes.get(route).is_some_and(|rules| rules.best_effort)
    }
}

/// `audit.on_failure`: what becomes of a privileged action that cannot be recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// 503 `audit_unavailable`; nothing goes upstream.
    #[default]
    Deny,
    /// The same, except on routes with `best_effort`.
    Allow,
}

/// What `audit.events` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventClass {
    /// Attempts on privileged routes and their outcomes.
    Privileged,
    Denied,
    Authentication,
    Rollout,
    Config,
}

impl EventClass {
    pub const ALL: [Self; 5] = [Self::Privileged, Self::Denied, Self::Authentication, Self::Rollout, Self::Config];

    /// The word in the config.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Denied => "denied",
            Self::Authentication => "authentication",
            Self::Rollout => "rollout",
            Self::Config => "config",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// `audit.events`: a set of classes, all of them by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events(u8);

impl Events {
    pub const NONE: Self = Self(0);

    #[must_use]
    pub const fn with(self, class: EventClass) -> Self {
        Self(self.0 | class.bit())
    }

    pub const fn has(self, class: EventClass) -> bool {
        self.0 & class.bit() != 0
    }

    /// What either of two names.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The words of the config.
impl fmt::Display for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = EventClass::ALL.into_iter().filter(|class| self.has(*class)).map(EventClass::as_str);
        f.write_str(words.next().unwrap_or("none"))?;
        words.try_for_each(|word| write!(f, ", {word}"))
    }
}

impl Default for Events {
    fn default() -> Self {
        EventClass::ALL.into_iter().fold(Self::NONE, Self::with)
    }
}

/// `audit` of one route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteRules {
    pub action: Option<Template>,
    pub resource: Option<Template>,
    /// Of `require.workspace`, where that is one template that always has to hold.
    pub workspace: Option<Template>,
    /// Counts only with [`OnFailure::Allow`]; see [`Rules::goes_on_unrecorded`].
    pub best_effort: bool,
}

/// What one request does, in the words of its route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    pub action: Option<String>,
    pub resource: Option<String>,
    pub workspace: Option<String>,
}

impl RouteRules {
    /// The request headers that its words are made of; they must not be repeated in a request.
    pub fn header_names(&self) -> impl Iterator<Item = &HeaderName> {
        [&self.action, &self.resource, &self.workspace].into_iter().flatten().flat_map(Template::header_names)
    }

    /// The places of the route's pattern that its words are made of.
    pub fn positions(&self) -> impl Iterator<Item = usize> {
        [&self.action, &self.resource, &self.workspace].into_iter().flatten().flat_map(Template::positions)
    }

    /// The words for one request. Values are percent-encoded where they are not visible ASCII (`%` too), what the
    /// request or the person does not have is empty, and a query parameter that can be read in several ways is all of
    /// them; as long as the request makes them.
    pub fn labels(&self, captures: &Captures<'_, '_>, view: &View<'_>, identity: Option<&Identity>) -> Labels {
        let text =
            |template: &Option<Template>| template.as_ref().map(|template| template.label(captures, view, identity));
        Labels { action: text(&self.action), resource: text(&self.resource), workspace: text(&self.workspace) }
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
