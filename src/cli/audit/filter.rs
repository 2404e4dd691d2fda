//! Which entries are asked for.
//!
//! Most lines are passed over by their bytes alone: the time and the event stand at fixed places, and a wanted value must
//! be in the line as it would be written. Only what may match is parsed.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use memchr::memmem::Finder;
use serde::Deserialize;

use super::super::Failure;
use crate::audit::Event;
use crate::audit::chain::Line;
use crate::audit::entry::{Text, timestamp};
use crate::audit::keys::TokenKey;
use crate::audit::read::time;
use crate::clock;

#[derive(Debug, Args)]
pub(super) struct Filters {
    /// A subject, Clerk user, legacy user or impersonator, exactly.
    #[arg(long, value_name = "ID")]
    actor: Option<String>,
    /// An organisation's id, exactly.
    #[arg(long, value_name = "ID")]
    org: Option<String>,
    /// A route's id.
    #[arg(long, value_name = "ID")]
    route: Option<String>,
    /// An action as its route names it.
    #[arg(long)]
    action: Option<String>,
    #[arg(long, value_enum)]
    decision: Option<Decided>,
    /// privileged.attempt, privileged.outcome, denied, authentication, rollout, config, system
    #[arg(long, value_name = "EVENT", value_parser = event)]
    event: Option<Event>,
    /// A request's id.
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// From this time on: RFC 3339, or how long ago: 15m, 24h, 7d.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Entries of this token; `-` reads it from stdin, which keeps it out of the shell's history.
    #[arg(long)]
    token: Option<String>,
    /// The key that tokens are hashed with, if not `audit-token.key` of the config's `state_dir`.
    #[arg(long, value_name = "FILE", requires = "token")]
    key: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Decided {
    Allow,
    Deny,
}

fn event(text: &str) -> Result<Event, String> {
    let names = || Event::ALL.iter().map(|event| event.as_str()).collect::<Vec<_>>().join(", ");
    Event::ALL.into_iter().find(|event| event.as_str() == text).ok_or_else(|| format!("expected one of {}", names()))
}

/// An entry, as far as it is asked about or shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Shown {
    pub(super) seq: u64,
    pub(super) id: String,
    pub(super) time: String,
    pub(super) event: String,
    pub(super) decision: String,
    pub(super) code: String,
    pub(super) reason: String,
    pub(super) route: String,
    pub(super) action: String,
    pub(super) resource: String,
    pub(super) actor: Actor,
    pub(super) org: String,
    pub(super) request: Request,
    pub(super) outcome: Option<Outcome>,
    #[serde(rename = "ref")]
    pub(super) attempt: String,
    pub(super) count: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Actor {
    pub(super) subject: String,
    pub(super) clerk_user: String,
    pub(super) legacy_user: String,
    pub(super) impersonator: String,
    token_hash: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Request {
    id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Outcome {
    pub(super) status: u16,
}

/// A value as an entry holds it: long ones are cut there too.
fn written<const N: usize>(value: &str) -> String {
    match serde_json::to_value(Text::<N>(value)) {
        Ok(serde_json::Value::String(text)) => text,
        _ => value.to_owned(),
    }
}

/// What was asked for, ready to be held against lines.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// Bytes that a matching line has.
    needles: Vec<Finder<'static>>,
    since: Option<String>,
    until: Option<String>,
    event: Option<Event>,
    /// As the four fields would hold it.
    actor: Option<[String; 4]>,
    org: Option<String>,
    route: Option<String>,
    action: Option<String>,
    decision: Option<&'static str>,
    request: Option<String>,
    token_hash: Option<String>,
}

impl Filters {
    /// `state_dir` is where the key of token hashes is.
    pub(super) fn compile(&self, state_dir: Option<&Path>) -> Result<Filter, Failure> {
        let mut filter = Filter {
            since: self.since.as_deref().map(|text| moment("--since", text)).transpose()?,
            until: self.until.as_deref().map(|text| moment("--until", text)).transpose()?,
            event: self.event,
            actor: self
                .actor
                .as_deref()
                .map(|id| [written::<128>(id), written::<96>(id), written::<96>(id), written::<96>(id)]),
            org: self.org.as_deref().map(written::<96>),
            route: self.route.as_deref().map(written::<128>),
            action: self.action.as_deref().map(written::<128>),
            decision: self.decision.map(|decided| match decided {
                Decided::Allow => "allow",
                Decided::Deny => "deny",
            }),
            request: self.request.as_deref().map(written::<128>),
            token_hash: self.token.as_deref().map(|token| self.hashed(token, state_dir)).transpose()?,
            needles: Vec::new(),
        };
        let actor = filter
            .actor
            .as_ref()
            .and_then(|[first, rest @ ..]| rest.iter().all(|other| other == first).then_some(first));
        let wanted = [
            ("", actor.map(String::as_str)),
            ("\"org\"", filter.org.as_deref()),
            ("\"route\"", filter.route.as_deref()),
            ("\"action\"", filter.action.as_deref()),
            ("\"decision\"", filter.decision),
            ("\"id\"", filter.request.as_deref()),
            ("\"token_hash\"", filter.token_hash.as_deref()),
        ];
        // What a line writes with an escape is found by parsing alone.
        let plain =
            |value: &str| value.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\');
        let needles = wanted.into_iter().filter_map(|(key, value)| {
            let value = value.filter(|value| plain(value))?;
            Some(Finder::new(&format!("{key}:\"{value}\"")).into_owned())
        });
        filter.needles = needles.collect();
        Ok(filter)
    }

    /// The token itself goes no further than this.
    fn hashed(&self, token: &str, state_dir: Option<&Path>) -> Result<String, Failure> {
        let key = match (&self.key, state_dir) {
            (Some(path), _) => TokenKey::read_file(path)?,
            (None, Some(state_dir)) => TokenKey::read(state_dir)?,
            (None, None) => {
                let message =
                    "--token needs the key that tokens are hashed with: name a config with -c, or the key with --key";
                return Err(Failure::Usage(message.to_owned()));
            }
        };
        let mut typed = String::new();
        if token == "-" {
            std::io::stdin().read_line(&mut typed).map_err(|problem| format!("stdin cannot be read: {problem}"))?;
        }
        let token = if token == "-" { typed.trim() } else { token };
        if token.is_empty() {
            return Err(Failure::Usage("--token: no token".to_owned()));
        }
        Ok(key.hash(token))
    }
}

impl Filter {
    /// The entry, when it is asked for and `wanted` as a whole; an error when the line is none.
    pub(super) fn matches(&self, bytes: &[u8]) -> Result<bool, ()> {
        let line = Line::read(bytes).ok_or(())?;
        if self.event.is_some_and(|event| event.as_str().as_bytes() != line.event()) {
            return Ok(false);
        }
        if self.since.is_some() || self.until.is_some() {
            let time = time(&line).ok_or(())?;
            let early = self.since.as_deref().is_some_and(|since| time < since);
            if early || self.until.as_deref().is_some_and(|until| time >= until) {
                return Ok(false);
            }
        }
        if !self.needles.iter().all(|needle| needle.find(line.body).is_some()) {
            return Ok(false);
        }
        if self.parses_nothing() {
            return Ok(true);
        }
        let shown: Shown = serde_json::from_slice(bytes).map_err(|_| ())?;
        Ok(self.holds(&shown))
    }

    fn parses_nothing(&self) -> bool {
        let Self { needles: _, since: _, until: _, event: _, actor, org, route, action, decision, request, token_hash } =
            self;
        actor.is_none()
            && [org, route, action, request, token_hash].into_iter().all(Option::is_none)
            && decision.is_none()
    }

    fn holds(&self, shown: &Shown) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let Actor { subject, clerk_user, legacy_user, impersonator, token_hash } = &shown.actor;
        let actor = self.actor.as_ref().is_none_or(|wanted| {
            wanted.iter().zip([subject, clerk_user, legacy_user, impersonator]).any(|(wanted, found)| wanted == found)
        });
        actor
            && is(&self.org, &shown.org)
            && is(&self.route, &shown.route)
            && is(&self.action, &shown.action)
            && self.decision.is_none_or(|wanted| wanted == shown.decision)
            && is(&self.request, &shown.request.id)
            && is(&self.token_hash, token_hash)
    }
}

/// RFC 3339, or how long ago; as entries write it.
fn moment(option: &str, text: &str) -> Result<String, Failure> {
    let wrong = || {
        Failure::Usage(format!("{option} {text}: expected a time such as 2026-01-31T12:00:00Z, or 15m, 24h, 7d ago"))
    };
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(timestamp(time.as_microsecond()));
    }
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: i64 =
        text.strip_suffix(unit).and_then(|count| count.parse().ok()).filter(|count| *count >= 0).ok_or_else(wrong)?;
    let ago = count.checked_mul(seconds * 1_000_000).ok_or_else(wrong)?;
    Ok(timestamp(clock::unix_micros().saturating_sub(ago)))
}
