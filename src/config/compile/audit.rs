//! `audit`: where the trail is and what becomes of an action that it does not take; and how a route names its action.

use super::template;
use crate::audit::{EventClass, Events, OnFailure, RouteRules};
use crate::config::codes;
use crate::config::places::At;
use crate::config::raw;
use crate::config::report::Problem;
use crate::policy::{Rule, Template, WorkspaceRule};
use crate::route::Access;
use crate::snapshot::{AccessLog, AuditSettings};

const DEFAULT_SIZE: u64 = 256 << 20;
const DEFAULT_KEEP: usize = 30;
/// Longest text of an action, in bytes.
const MAX_ACTION: usize = 128;
const MAX_RESOURCE: usize = 256;

/// What `audit` of the config says.
pub(super) struct Audit {
    /// `required` as far as the config alone tells.
    pub(super) settings: AuditSettings,
    pub(super) on_failure: OnFailure,
    pub(super) events: Events,
}

pub(super) fn compile(raw: Option<raw::Audit>, root: At<'_>, problems: &mut Vec<Problem>) -> Audit {
    let at = root.key("audit");
    let required = raw.is_some() || root.was_dropped("audit");
    let raw::Audit { file, rotate, on_failure, events, copy_to } = raw.unwrap_or_default();
    let file = file.as_deref().unwrap_or("audit/audit.jsonl");
    if !names_a_file(file) {
        let message = "expected a file, as in audit/audit.jsonl";
        problems.push(Problem::at(codes::BAD_VALUE, at.key("file"), message));
    }
    let file = root.source.resolve(file);
    // As root it would be replaced by one.
    if std::fs::metadata(&file).is_ok_and(|found| !found.is_file()) {
        let message = format!("{} is no regular file", file.display());
        problems.push(
            Problem::at(codes::AUDIT_FILE, at.key("file"), message)
                .help("name a file that only the trail writes, as in audit/audit.jsonl"),
        );
    }
    let raw::Rotate { size, keep } = rotate.unwrap_or_default();
    let rotate_size = size.map_or(DEFAULT_SIZE, |raw::Size(bytes)| bytes);
    // A segment holds at least a few entries, and one that is proven in minutes.
    if !(64 << 10..=64 << 30).contains(&rotate_size) {
        let message = "audit.rotate.size must be 64KiB to 64GiB";
        problems.push(Problem::at(codes::OUT_OF_RANGE, at.key("rotate").key("size"), message));
    }
    let rotate_keep = keep.unwrap_or(DEFAULT_KEEP);
    if !(1..=100_000).contains(&rotate_keep) {
        let message = "audit.rotate.keep must be 1 to 100,000";
        problems.push(Problem::at(codes::OUT_OF_RANGE, at.key("rotate").key("keep"), message));
    }
    let copy_to_stdout = match copy_to {
        None => false,
        Some(raw::CopyTo::Stdout) => true,
    };
    let on_failure = match on_failure {
        None | Some(raw::DenyOrAllow::Deny) => OnFailure::Deny,
        Some(raw::DenyOrAllow::Allow) => OnFailure::Allow,
    };
    let events = events.map_or_else(Events::default, |listed| named_events(&listed, at.key("events"), problems));
    let settings = AuditSettings { file, rotate_size, rotate_keep, copy_to_stdout, required };
    Audit { settings, on_failure, events }
}

/// Lines of another kind between entries would break the chain for ever.
pub(super) fn beside_access_log(settings: &AuditSettings, log: &AccessLog, root: At<'_>, problems: &mut Vec<Problem>) {
    if matches!(log, AccessLog::File(path) if *path == settings.file) {
        let message = "the access log is written to this file";
        problems.push(
            Problem::at(codes::AUDIT_FILE, root.key("audit").key("file"), message)
                .help("give the trail a file of its own, as in audit/audit.jsonl"),
        );
    }
}

/// Segments and checkpoints are named after it, beside it.
fn names_a_file(path: &str) -> bool {
    !path.ends_with('/') && !path.contains('\0') && std::path::Path::new(path).file_name().is_some()
}

fn named_events(listed: &[raw::AuditEvent], at: At<'_>, problems: &mut Vec<Problem>) -> Events {
    if listed.is_empty() && !at.has_gaps() {
        let help = "name some of privileged, denied, authentication, rollout, config, or leave `events` out for all";
        problems.push(Problem::at(codes::AUDIT_EVENTS, at, "an empty list records nothing").help(help));
    }
    let mut events = Events::NONE;
    for (index, event) in listed.iter().enumerate() {
        let class = match event {
            raw::AuditEvent::Privileged => EventClass::Privileged,
            raw::AuditEvent::Denied => EventClass::Denied,
            raw::AuditEvent::Authentication => EventClass::Authentication,
            raw::AuditEvent::Rollout => EventClass::Rollout,
            raw::AuditEvent::Config => EventClass::Config,
        };
        if events.has(class) {
            let message = format!("`{}` stands twice", class.as_str());
            problems.push(Problem::at(codes::AUDIT_EVENTS, at.item(index), message).help("remove one of them"));
        }
        events = events.with(class);
    }
    events
}

/// What is told once it is known which routes there are: `privileged` says whether one of them is.
pub(super) fn beside_routes(events: Events, privileged: bool, root: At<'_>, problems: &mut Vec<Problem>) {
    let at = root.key("audit").key("events");
    if privileged && !events.has(EventClass::Privileged) && !at.has_gaps() {
        let message = "leaving `privileged` out has no effect: what a privileged route does is always recorded";
        problems.push(
            Problem::at(codes::NO_EFFECT, at, message)
                .help("add privileged, or make the route protected when it need not be recorded")
                .warning(),
        );
    }
}

/// What the rules of a route's `audit` depend on.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) scope: template::Scope<'a>,
    pub(super) access: Access,
    pub(super) on_failure: OnFailure,
    /// The compiled `require`.
    pub(super) rules: &'a [Rule],
}

/// `audit` of one route.
pub(super) fn route(
    raw: Option<raw::RouteAudit>,
    around: Surroundings<'_>,
    at: At<'_>,
    problems: &mut Vec<Problem>,
) -> RouteRules {
    let raw::RouteAudit { action, resource, best_effort } = raw.unwrap_or_default();
    let mut label = |text: Option<String>, key: &str, max: usize| {
        text.and_then(|text| one_line(&text, key, max, around.scope, at.key(key), problems))
    };
    let action = label(action, "action", MAX_ACTION);
    let resource = label(resource, "resource", MAX_RESOURCE);
    let best_effort = best_effort.unwrap_or(false);
    let why = match (around.access, around.on_failure) {
        (Access::Public | Access::Login | Access::Protected, _) => {
            Some("only what a privileged route does has to be recorded first")
        }
        (Access::Privileged, OnFailure::Deny) => Some("audit.on_failure is deny, which lets nothing go on unrecorded"),
        (Access::Privileged, OnFailure::Allow) => None,
    };
    if let Some(why) = why.filter(|_| best_effort) {
        problems.push(
            Problem::at(codes::NO_EFFECT, at.key("best_effort"), format!("`best_effort` has no effect: {why}"))
                .help("remove it, or say access: privileged here and audit: { on_failure: allow } in the config")
                .warning(),
        );
    }
    RouteRules { action, resource, workspace: workspace(around.rules), best_effort }
}

/// A label is shown in tables and in lines of text.
fn one_line(
    text: &str,
    key: &str,
    max: usize,
    scope: template::Scope<'_>,
    at: At<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Template> {
    if text.len() > max || text.chars().any(char::is_control) {
        let message = format!("`{key}` is one line of at most {max} bytes");
        problems.push(Problem::at(codes::AUDIT_LABEL, at, message).help("give it a short name, as in execution.start"));
        return None;
    }
    let template = template::compile(text, scope, at, problems)?;
    for source in template::segments(text).filter(|source| carries_a_secret(source)) {
        let span = at.within(text, text.find(&source).unwrap_or(0));
        let message = format!("`{source}` speaks of a secret, which the trail never holds");
        problems.push(
            Problem::at_span(codes::AUDIT_SECRET, at.source, span, message)
                .help("name the resource by what is no secret; the entry has the caller and the session anyway"),
        );
    }
    Some(template)
}

/// By its name: the trail is kept for years and read by many, so that one careless template would leak for long.
fn carries_a_secret(source: &str) -> bool {
    const WORDS: [&str; 7] = ["secret", "token", "passw", "api-key", "apikey", "credential", "jwt"];
    const CLERKS: [&str; 3] = ["--session", "--clerk-", "--client-uat"];
    let Some(name) = ["query.", "header."].into_iter().find_map(|kind| source.strip_prefix(kind)) else { return false };
    let name = name.to_ascii_lowercase().replace('_', "-");
    WORDS.iter().any(|word| name.contains(word)) || CLERKS.iter().any(|start| name.starts_with(start))
}

/// The workspace that the caller has to be in, where `require` names exactly one.
fn workspace(rules: &[Rule]) -> Option<Template> {
    rules.iter().find_map(|rule| match rule {
        Rule::Workspace(named) => match named.as_slice() {
            [WorkspaceRule { template, .. }] => Some(template.clone()),
            _ => None,
        },
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::carries_a_secret;

    #[test]
    fn secrets_are_known_by_their_names() {
        let table = [
            ("query.access_token", true),
            ("query.__session", true),
            ("query.__clerk_db_jwt", true),
            ("header.X-API-Key", true),
            ("header.x-csrf-token", true),
            ("query.Password", true),
            ("query.session", false),
            ("header.idempotency-key", false),
            ("query.branch", false),
            // A segment of the path is in the entry's path already.
            ("token", false),
            ("claim.token_kind", false),
        ];
        for (source, expected) in table {
            assert_eq!(carries_a_secret(source), expected, "{source}");
        }
    }
}
