//! `rollout`: who moves the percentage, how far and how fast, and where its arms lead.

use std::path::Path;

use super::missing;
use super::upstream::Upstreams;
use crate::config::codes;
use crate::config::places::At;
use crate::config::raw;
use crate::config::report::Problem;
use crate::identity::link::Linking;
use crate::rollout::plan::ArmUpstreams;
use crate::rollout::{Algorithm, Limits, Lists, Percent, Plan, Side, Source, Unit};

const DEFAULT_NAME: &str = "auth";
const DEFAULT_SALT: &str = "auth-clerk";
const MAX_NAME: usize = 64;
const MAX_SALT: usize = 256;
/// Longest id on a list, in bytes.
const MAX_ID: usize = 256;

/// `had` says whether the config that serves has a rollout; `None` at start.
pub(super) fn compile(
    raw: Option<raw::Rollout>,
    root: At<'_>,
    upstreams: &Upstreams,
    state_dir: &Path,
    had: Option<bool>,
    problems: &mut Vec<Problem>,
) -> Option<Plan> {
    let at = root.key("rollout");
    let was_dropped = root.was_dropped("rollout");
    if had.is_some_and(|had| had != raw.is_some()) && !was_dropped {
        let message = match raw {
            Some(_) => "a rollout cannot be begun by a reload",
            None => "`rollout` is gone, and a reload cannot end it: that would move everybody",
        };
        let help = "restart to begin or end it; to take everybody back, `crossgate rollout rollback`";
        let problem = Problem::at(codes::ROLLOUT_RELOAD, at, message).help(help);
        problems.push(if at.is_written() { problem } else { problem.without_excerpt() });
    }
    let raw::Rollout {
        name,
        source,
        percent,
        unit,
        salt,
        key_file,
        algorithm,
        include,
        exclude,
        arms,
        limits: raw_limits,
        shadow,
    } = raw?;
    let name = name.unwrap_or_else(|| DEFAULT_NAME.to_owned());
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_plain) {
        let message = format!("a name has letters, digits, - and _, at most {MAX_NAME}");
        let help = "it stands in paths of the admin listener and in metrics, as in auth";
        problems.push(Problem::at(codes::ROLLOUT_NAME, at.key("name"), message).help(help));
    }
    let salt = salt.unwrap_or_else(|| DEFAULT_SALT.to_owned());
    if salt.is_empty() || salt.len() > MAX_SALT || salt.chars().any(char::is_control) {
        let message = format!("a salt is one line of at most {MAX_SALT} bytes");
        let help = "with unleash it is the groupId, with flagd-2 the flag's key";
        problems.push(Problem::at(codes::ROLLOUT_NAME, at.key("salt"), message).help(help));
    }
    let source = match source {
        None | Some(raw::Source::File) => Source::File,
        Some(raw::Source::Api) => Source::Api,
    };
    // A line that was deleted must not take everybody back; with source api it is the first start's value only.
    if percent.is_none() && source == Source::File {
        missing(at, "percent", "say how many go to Clerk: percent: 10", problems);
    }
    let percent = percent.unwrap_or_default();
    let limits = limits(raw_limits, at.key("limits"), problems);
    if percent > limits.max_percent {
        let message = format!("percent is above limits.max_percent, which is {}", limits.max_percent);
        problems.push(Problem::at(codes::OUT_OF_RANGE, at.key("percent"), message));
    }
    let mut lists = Lists::default();
    // Where both lists name somebody, the second is told.
    listed(include, Side::Clerk, at.key("include"), &mut lists, problems);
    listed(exclude, Side::Legacy, at.key("exclude"), &mut lists, problems);
    let raw::Arms { legacy, clerk } = arms.unwrap_or_default();
    let mut arm = |raw: Option<raw::ArmTo>, key: &str| {
        let raw::ArmTo { upstream } = raw?;
        upstreams.choose(Some(&upstream?), at.key("arms").key(key), problems)
    };
    let arms = ArmUpstreams { legacy: arm(legacy, "legacy"), clerk: arm(clerk, "clerk") };
    let raw::Shadow { enabled } = shadow.unwrap_or_default();
    Some(Plan {
        name: name.into(),
        source,
        percent,
        unit: match unit {
            None | Some(raw::Unit::Org) => Unit::Org,
            Some(raw::Unit::User) => Unit::User,
        },
        salt: salt.into(),
        algorithm: match algorithm {
            None | Some(raw::Algorithm::Crossgate1) => Algorithm::Crossgate1,
            Some(raw::Algorithm::Unleash) => Algorithm::Unleash,
            Some(raw::Algorithm::Flagd2) => Algorithm::Flagd2,
        },
        key_file: key_file.map_or_else(|| state_dir.join("bucket.key"), |path| root.source.resolve(&path)),
        limits,
        lists,
        upstreams: arms,
        is_shadowed: enabled.unwrap_or(true),
    })
}

/// Warns where people are dealt by orgs, of which the two logins name none alike: one person is then in two arms.
pub(super) fn orgs_of_both(plan: &Plan, linking: &Linking, root: At<'_>, problems: &mut Vec<Problem>) {
    // Of a map that is broken, that is what was told.
    if plan.unit != Unit::Org || linking.counts.orgs > 0 || problems.iter().any(Problem::is_error) {
        return;
    }
    let at = root.key("rollout");
    let at = if at.key("unit").is_written() { at.key("unit") } else { at };
    let message =
        "people are dealt by their org, and the identity map has no line for any: one person may be in two arms";
    let help = "add the orgs to the map, or write unit: user";
    problems.push(Problem::at_span(codes::ROLLOUT_ORGS, at.source, at.key_span(), message).help(help).warning());
}

fn limits(raw: Option<raw::RolloutLimits>, at: At<'_>, problems: &mut Vec<Problem>) -> Limits {
    let raw::RolloutLimits { max_percent, max_step, min_dwell } = raw.unwrap_or_default();
    let default = Limits::default();
    if max_step == Some(Percent::ZERO) {
        let message = "limits.max_step must be above 0: nothing could ever rise";
        let help = "to hold the percentage where it is, `crossgate rollout freeze`";
        problems.push(Problem::at(codes::OUT_OF_RANGE, at.key("max_step"), message).help(help));
    }
    Limits {
        max_percent: max_percent.unwrap_or(default.max_percent),
        max_step: max_step.unwrap_or(default.max_step),
        min_dwell: min_dwell.map_or(default.min_dwell, |raw::Time(time)| time),
    }
}

fn listed(raw: Option<raw::Listed>, side: Side, at: At<'_>, lists: &mut Lists, problems: &mut Vec<Problem>) {
    let raw::Listed { users, orgs } = raw.unwrap_or_default();
    for (unit, ids, key) in [(Unit::User, users, "users"), (Unit::Org, orgs, "orgs")] {
        for (index, id) in ids.unwrap_or_default().iter().enumerate() {
            let at = at.key(key).item(index);
            if id.is_empty() || id.len() > MAX_ID {
                let message = format!("an id has 1 to {MAX_ID} bytes");
                problems.push(Problem::at(codes::ROLLOUT_LISTS, at, message));
            } else if !lists.put(unit, id, side) {
                let message = "`include` names the same: nobody is in both arms";
                problems.push(Problem::at(codes::ROLLOUT_LISTS, at, message).help("take it off one of the lists"));
            }
        }
    }
}
