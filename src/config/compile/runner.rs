//! `runner`: tokens for local runners, and what they may be narrowed to.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::listen::time;
use super::{missing, route};
use crate::config::codes;
use crate::config::places::At;
use crate::config::raw;
use crate::config::report::Problem;
use crate::identity::TokenKind;
use crate::identity::runner::Names;
use crate::issuer::{Assertion, Once, Ring, Runner, RunnerSpec};
use crate::snapshot::Snapshot;

/// Shorter, and a runner does nothing but exchange; longer, and a token that was lost is good for too long.
const TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(300)..=Duration::from_secs(900);
const MAX_SCOPES: usize = 64;
const MAX_SCOPE: usize = 64;
const MAX_NAME: usize = 200;
/// Which legacy credentials were converted, in `state_dir`.
const CONVERTED: &str = "runner-converted";

/// What the config alone says.
pub(super) struct Settings {
    pub(super) scopes: Vec<Box<str>>,
    names: Names,
    ttl: Duration,
    keys_dir: PathBuf,
    converted: PathBuf,
}

/// `None` where it is not enabled.
pub(super) fn compile(
    raw: Option<raw::Runner>,
    assertion: Option<&Assertion>,
    state_dir: &Path,
    root: At<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Settings> {
    let at = root.key("runner");
    let raw::Runner { enabled, audience, issuer, ttl, scopes, keys_dir } = raw?;
    if enabled != Some(true) {
        return None;
    }
    let name = |text: Option<String>, default: &str, key: &str, problems: &mut Vec<Problem>| -> Box<str> {
        let text = text.unwrap_or_else(|| default.to_owned());
        let is_bad =
            text.is_empty() || text.len() > MAX_NAME || text.chars().any(|c| c.is_control() || c.is_whitespace());
        if is_bad {
            let message = format!("`{key}` is one word of at most {MAX_NAME} bytes");
            problems.push(Problem::at(codes::RUNNER, at.key(key), message));
        }
        text.into()
    };
    let issuer = name(issuer, assertion.map_or("crossgate", |assertion| assertion.issuer()), "issuer", problems);
    let audience = name(audience, "runner", "audience", problems);
    if assertion.is_some_and(|assertion| *assertion.issuer() == *issuer && *assertion.audience() == *audience) {
        let message = "assertions have this issuer and this audience, too: an API would take a runner token for one";
        let help = "give one of them another audience, as in audience: runner";
        problems.push(Problem::at(codes::RUNNER, at.key("audience"), message).help(help));
    }
    let ttl = time(ttl, 600_000);
    if !TTL.contains(&ttl) || ttl.subsec_millis() != 0 {
        problems.push(Problem::at(codes::OUT_OF_RANGE, at.key("ttl"), "ttl must be whole seconds, 5m to 15m"));
    }
    let keys_dir = keys_dir.map_or_else(|| state_dir.join("runner-keys"), |path| at.source.resolve(&path));
    if assertion.is_some_and(|assertion| real(assertion.keys_dir()) == real(&keys_dir)) {
        let message = "assertions are signed with the keys of this folder: one would pass for the other";
        let help = "give runner tokens a folder of their own, or leave keys_dir out";
        problems.push(Problem::at(codes::RUNNER, at.key("keys_dir"), message).help(help));
    }
    let scopes = listed(scopes, at, problems);
    Some(Settings { scopes, names: Names { issuer, audience }, ttl, keys_dir, converted: state_dir.join(CONVERTED) })
}

/// Without links and `..`, so that two spellings of one folder are the same; of one that is not there yet, as far as it is.
fn real(path: &Path) -> PathBuf {
    let mut there = path;
    let mut rest = Vec::new();
    loop {
        if let Ok(there) = there.canonicalize() {
            let mut real = there;
            for part in rest.into_iter().rev() {
                match part {
                    Component::ParentDir => drop(real.pop()),
                    part => real.push(part),
                }
            }
            return real;
        }
        let mut parts = there.components();
        match parts.next_back() {
            Some(last) => rest.push(last),
            None => return path.to_owned(),
        }
        // Of a relative path the rest is here.
        there = match parts.as_path() {
            rest if rest.as_os_str().is_empty() && there == Path::new(".") => return path.to_owned(),
            rest if rest.as_os_str().is_empty() => Path::new("."),
            rest => rest,
        };
    }
}

fn listed(scopes: Option<Vec<String>>, at: At<'_>, problems: &mut Vec<Problem>) -> Vec<Box<str>> {
    let place = at.key("scopes");
    let scopes = scopes.unwrap_or_default();
    if scopes.is_empty() && !place.has_gaps() {
        missing(at, "scopes", "say what a runner may be narrowed to: scopes: [executions:write]", problems);
    }
    let mut known: Vec<Box<str>> = Vec::new();
    if scopes.len() > MAX_SCOPES {
        let message = format!("{} scopes are too many: at most {MAX_SCOPES}", scopes.len());
        problems.push(Problem::at(codes::OUT_OF_RANGE, place, message));
    }
    for (index, scope) in scopes.into_iter().take(MAX_SCOPES).enumerate() {
        if !is_scope(&scope) {
            let help = "write it as in executions:write";
            let message = format!("a scope is one word of visible ASCII without quotes, at most {MAX_SCOPE} bytes");
            problems.push(Problem::at(codes::RUNNER, place.item(index), message).help(help));
        } else if known.iter().any(|other| **other == *scope) {
            problems.push(Problem::at(codes::RUNNER, place.item(index), format!("`{scope}` stands twice")));
        } else {
            known.push(scope.into());
        }
    }
    known
}

/// RFC 6749 3.3.
pub(super) fn is_scope(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    !text.is_empty() && text.len() <= MAX_SCOPE && text.bytes().all(is_allowed)
}

/// With what the routes say. Its keys are read here and made when the config is taken into use.
pub(super) fn finish(
    settings: Option<Settings>,
    routes: Option<&route::Compiled>,
    minted: Vec<&str>,
    previous: Option<&Snapshot>,
    root: At<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Arc<Runner>> {
    let Settings { scopes, names, ttl, keys_dir, converted } = settings?;
    let at = root.key("runner");
    let previous = previous.and_then(|snapshot| snapshot.runner.as_ref());
    let ring = match previous.filter(|previous| previous.keys_dir() == keys_dir) {
        Some(previous) => Arc::clone(previous.ring()),
        None => Arc::new(Ring::of_runner(keys_dir)),
    };
    super::issued::read_keys(&ring, at, problems);
    let once = match previous.filter(|previous| previous.once().path() == converted) {
        Some(previous) => Arc::clone(previous.once()),
        None => Arc::new(Once::new(converted)),
    };
    let mut carried = Vec::new();
    if let Some(routes) = routes {
        let takes_runner = || routes.policies.iter().filter(|policy| policy.takes(TokenKind::Runner));
        for (index, scope) in scopes.iter().enumerate() {
            if !takes_runner().any(|policy| policy.scopes().contains(&&**scope)) {
                let message = format!("no route that takes runner tokens asks for `{scope}`: it grants nothing");
                let help = "add require: { token: [runner], scope: […] } to a route, or remove it here";
                let place = at.key("scopes").item(index);
                problems.push(Problem::at(codes::NO_EFFECT, place, message).help(help).warning());
            }
        }
        carried = takes_runner().flat_map(|policy| policy.claims()).map(Box::from).collect();
        if takes_runner().next().is_some() {
            carried.extend(minted.into_iter().map(Box::from));
        }
        carried.sort_unstable();
        carried.dedup();
    }
    let spec = RunnerSpec { names, ttl, scopes, carried };
    Some(Arc::new(Runner::new(spec, ring, once)))
}

#[cfg(test)]
mod tests {
    use super::real;

    #[test]
    fn one_folder_in_many_spellings() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("keys")).unwrap();
        std::os::unix::fs::symlink(at("keys"), at("link")).unwrap();
        std::os::unix::fs::symlink(folder.path(), at("up")).unwrap();
        let table = [
            ("keys", "keys/../keys", true),
            ("keys", "./keys/", true),
            ("keys", "link", true),
            ("keys", "up/keys", true),
            ("new", "keys/../new", true),
            ("new/keys", "up/new/keys", true),
            ("new/keys", "new/../new/keys", true),
            ("keys", "new", false),
            ("new", "keys/new", false),
        ];
        for (one, other, is_same) in table {
            assert_eq!(real(&at(one)) == real(&at(other)), is_same, "{one} {other}");
        }
        assert_eq!(real("no-such/../here".as_ref()), real("here".as_ref()));
    }
}
