//! Reverification: whether the caller has proved lately who they are, as Clerk's `fva` claim says.
//!
//! Owns Clerk's presets and the data of the answer that makes Clerk's own client ask for the missing factor.

use super::tri::{Cause, Tri};
use crate::identity::Facts;

/// What a policy asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reverified {
    level: Level,
    after_minutes: f64,
    preset: Option<Preset>,
}

/// The presets that Clerk names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    StrictMfa,
    Strict,
    Moderate,
    Lax,
}

/// Which factors must be fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    First,
    /// The first one counts for people without a second one.
    Second,
    Multi,
}

/// What the answer tells Clerk's client: the preset by name, or level and minutes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ReverificationParams {
    Preset(&'static str),
    Custom { level: &'static str, after_minutes: f64 },
}

impl Preset {
    pub fn parse(name: &str) -> Option<Self> {
        [Self::StrictMfa, Self::Strict, Self::Moderate, Self::Lax].into_iter().find(|preset| preset.as_str() == name)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StrictMfa => "strict_mfa",
            Self::Strict => "strict",
            Self::Moderate => "moderate",
            Self::Lax => "lax",
        }
    }
}

impl Level {
    pub fn parse(name: &str) -> Option<Self> {
        [Self::First, Self::Second, Self::Multi].into_iter().find(|level| level.as_str() == name)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first_factor",
            Self::Second => "second_factor",
            Self::Multi => "multi_factor",
        }
    }
}

impl From<Preset> for Reverified {
    fn from(preset: Preset) -> Self {
        let (level, after_minutes) = match preset {
            Preset::StrictMfa => (Level::Multi, 10.0),
            Preset::Strict => (Level::Second, 10.0),
            Preset::Moderate => (Level::Second, 60.0),
            Preset::Lax => (Level::Second, 1440.0),
        };
        Self { level, after_minutes, preset: Some(preset) }
    }
}

impl Reverified {
    /// `None` unless `after_minutes` is a finite number above zero.
    pub fn new(level: Level, after_minutes: f64) -> Option<Self> {
        (after_minutes.is_finite() && after_minutes > 0.0).then_some(Self { level, after_minutes, preset: None })
    }

    pub fn params(&self) -> ReverificationParams {
        match self.preset {
            Some(preset) => ReverificationParams::Preset(preset.as_str()),
            None => ReverificationParams::Custom { level: self.level.as_str(), after_minutes: self.after_minutes },
        }
    }

    pub fn level(&self) -> Level {
        self.level
    }

    pub fn after_minutes(&self) -> f64 {
        self.after_minutes
    }
}

impl std::fmt::Display for Reverified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.preset {
            Some(preset) => f.write_str(preset.as_str()),
            None => write!(f, "{} within {} min", self.level.as_str(), self.after_minutes),
        }
    }
}

/// Ages are minutes, -1 for a factor that was never used. An age equal to the limit is too old.
pub fn reverified_holds(facts: &Facts, asked: &Reverified) -> Tri {
    let Some([first, second]) = facts.factor_ages else { return Tri::Unknown(Cause::MissingClaim) };
    let is_age = |age: f64| age.is_finite() && (age == NEVER || age >= 0.0);
    if !is_age(first) || !is_age(second) {
        return Tri::Unknown(Cause::UnreadableClaim);
    }
    let fresh = |age: f64| age != NEVER && asked.after_minutes > age;
    Tri::from(match asked.level {
        Level::First => fresh(first),
        Level::Second | Level::Multi if second == NEVER => fresh(first),
        Level::Second => fresh(second),
        Level::Multi => fresh(first) && fresh(second),
    })
}

const NEVER: f64 = -1.0;

#[cfg(test)]
#[path = "reverify_tests.rs"]
mod tests;
