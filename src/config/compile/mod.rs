//! From what people wrote to a snapshot: every problem told, nothing guessed.
//!
//! Called by `load` with decoded files. Each noun has its file; raw structs are taken apart without `..`, so that a
//! new key cannot be forgotten. Checks go on after a problem, with a default in the place of what is wrong, and
//! nothing that came of it is handed out unless there was no error at all.

mod address;
mod admin;
mod audit;
mod clerk;
mod condition;
mod contradiction;
mod header;
mod identity;
mod issued;
mod legacy;
mod linking;
mod listen;
mod origin;
mod pem;
mod probe;
mod rollout;
pub(crate) mod route;
mod rule;
mod runner;
mod slip;
mod status;
mod template;
pub(super) mod test;
mod trust;
mod upstream;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;

use super::codes;
use super::places::At;
use super::raw;
use super::report::Problem;
use super::source::Files;
use super::suite::is_test_file;
use crate::clock;
use crate::identity::cache::TokenCache;
use crate::identity::clerk::{InstanceSpec, Instances};
use crate::identity::legacy::{HeaderCarrier, LegacyVerifier};
use crate::issuer::Mint;
use crate::policy::{OrgName, Policy};
use crate::request::fold::Reserved;
use crate::request::{CanonicalPath, CredentialLine, Oddities, ReadHeaders, Rules};
use crate::route::{Access, Definition, Mode, Route, Routes};
use crate::snapshot::{Cors, Endpoints, Preflight, Settings, Shadow, Snapshot};
use crate::telemetry::metrics::{Metrics, RouteMetrics};
use crate::telemetry::shadow::Comparisons;
use crate::telemetry::tally::Tallies;
use crate::tls::{Material, Tls};
use crate::upstream::{Unusable, Upstream};
use route::PolicyFile;

/// What a configuration without errors becomes.
#[derive(Debug)]
pub struct Compiled {
    /// For the start of the process.
    pub settings: Settings,
    /// For its requests.
    pub snapshot: Snapshot,
}

/// The file, and what it is compiled with.
pub(super) struct Input<'a> {
    pub(super) raw: raw::Config,
    pub(super) root: At<'a>,
    pub(super) policies: Vec<PolicyFile<'a>>,
    pub(super) metrics: &'a Metrics,
    pub(super) previous: Option<&'a Snapshot>,
}

/// `None` when there is an error, each told.
pub(super) fn compile(input: Input<'_>, files: &mut Files, problems: &mut Vec<Problem>) -> Option<Compiled> {
    let Input { raw, root, policies, metrics, previous } = input;
    let raw::Config {
        listeners,
        admin,
        trusted_proxies,
        server,
        cors,
        limits,
        state_dir,
        upstreams,
        clerk,
        legacy,
        identity,
        rollout,
        runner,
        audit,
        policies: patterns,
        endpoints,
        telemetry,
        // Taken out before: it is about what is told here.
        waive: _,
    } = raw;
    let listeners = listen::listeners(listeners, root, files, problems);
    let (admin, access) = admin::compile(admin, root, files, problems);
    listen::admin_apart(&admin, root, &listeners, problems);
    let trusted = trust::compile(trusted_proxies, root, problems);
    let server = listen::server(server, root, problems);
    let limits = listen::limits(limits, root, problems);
    let telemetry = listen::telemetry(telemetry, root, problems);
    let state_dir = listen::state_dir(state_dir.as_deref(), root, problems);
    let upstreams = upstream::compile(upstreams, root, files, problems);
    let has_legacy = legacy.is_some() || root.was_dropped("legacy");
    let instances = clerk::compile(clerk, has_legacy, root, files, problems);
    let beside = linking::Beside {
        has_clerk: !instances.is_empty() || root.was_dropped("clerk"),
        has_legacy,
        previous: previous.map(|snapshot| &*snapshot.linking),
        state_dir: &state_dir,
    };
    let mut identity = identity;
    let assertion = identity.as_mut().and_then(|identity| identity.assertion.take());
    let identity = identity::compile(identity, beside, root, files, problems);
    linking::lists(rollout.as_ref(), &identity.linking, root, problems);
    let had_rollout = previous.map(|snapshot| snapshot.rollout.is_some());
    let rollout = rollout::compile(rollout, root, &upstreams, &state_dir, had_rollout, problems);
    if let Some(plan) = rollout.as_ref().filter(|_| has_legacy && !instances.is_empty()) {
        rollout::orgs_of_both(plan, &identity.linking, root, problems);
    }
    // The files that it names have been read.
    if patterns.unwrap_or_default().is_empty() && !root.key("policies").has_gaps() {
        missing(root, "policies", "name the policy files: policies: [policies/*.yaml]", problems);
    }
    let mut audit = audit::compile(audit, root, problems);
    audit::beside_access_log(&audit.settings, &telemetry.access_log, root, problems);
    let cors = compile_cors(cors, &instances, root, problems);
    let (mut endpoints, status) = compile_endpoints(endpoints, identity.org_name, root, problems);
    let put = issued::reserved(&upstreams, legacy.as_ref());
    let legacy_in_authorization = legacy.as_ref().is_some_and(issued::travels_in_authorization);
    let reserved = Reserved::new(identity.renamed.iter().cloned().chain(put));
    let beside = legacy::Beside { instances: &instances, reserved: &reserved };
    let mut legacy = legacy;
    let mint = legacy.as_mut().and_then(|legacy| legacy.mint.take());
    let legacy = legacy::compile(legacy, &beside, root, files, problems);
    let mint = issued::mint(mint, &identity, root, files, problems);
    let beside = issued::Beside { state_dir: &state_dir, prefix: &endpoints.prefix, previous };
    let assertion = issued::assertion(assertion, &beside, root, problems);
    let made = issued::Made { mint: mint.is_some(), assertion: assertion.is_some(), legacy_in_authorization };
    issued::beside_upstreams(&upstreams, made, &identity.headers, root, problems);
    let runner = runner::compile(runner, assertion.as_deref(), &state_dir, root, problems);
    let context = route::Context {
        upstreams: &upstreams,
        arms: rollout.as_ref().map(|plan| plan.upstreams).unwrap_or_default(),
        reserved: &reserved,
        own_paths: &endpoints.prefix,
        status: status.as_ref(),
        org_name: identity.org_name,
        has_workspaces: identity.has_workspaces,
        has_legacy_orgs: identity.has_legacy_orgs,
        roles: &identity.roles,
        on_failure: audit.on_failure,
        runner: runner.as_ref().map(|runner| &*runner.scopes),
    };
    let routes = route::compile(policies, &context, problems);
    // An exchange is a privileged action, too.
    let privileged =
        runner.is_some() || routes.as_ref().is_some_and(|compiled| compiled.routes.iter().any(is_privileged));
    let minted = mint.iter().flat_map(|mint| mint.claims.named()).collect();
    let runner = runner::finish(runner, routes.as_ref(), minted, previous, root, problems);
    if let (Some(claim), Some(compiled)) = (&status, &routes) {
        endpoints.status = endpoints.status.and_then(|status| claim.give_way(status, compiled.routes.iter()));
    }
    audit::beside_routes(audit.events, privileged, root, problems);
    audit.settings.required |= privileged;
    // Two with one issuer or one name were told with their places when the specs were made.
    let instances = Instances::new(instances, previous.map(|snapshot| &snapshot.instances)).ok();
    let (listeners, material): (Vec<_>, Vec<_>) = listeners.into_iter().unzip();
    let tls = listener_tls(material, previous, root, problems);
    let peers = peers(&upstreams.specs, previous, root, problems);
    if problems.iter().any(Problem::is_error) {
        return None;
    }
    let route::Compiled { routes, policies, audit: recorded, extra_methods, mut read_headers, hosts_named } = routes?;
    let tolerated = routes.iter().fold(Oddities::NONE, |all, route| all.and(route.tolerates));
    let instances = instances?;
    let linking = Arc::new(identity.linking);
    let legacy = legacy.map(|spec| {
        let before = previous.and_then(|snapshot| snapshot.legacy.as_deref());
        Arc::new(LegacyVerifier::new(spec, identity.headers.clone(), &linking, before))
    });
    let credential_line = legacy.as_deref().and_then(credential_line);
    // The API must not find another credential under a twin of the name, nor lose this one by `Connection`.
    read_headers.extend(credential_line.iter().map(|line| line.header.clone()));
    // Without a rollout its name in labels is the one that it has by default.
    let name: Arc<str> = rollout.as_ref().map_or_else(|| "auth".into(), |plan| Arc::clone(&plan.name));
    let by_route =
        routes.iter().map(|route| RouteMetrics::new(metrics, &name, &route.id, route.access.as_str())).collect();
    let is_shadowed = rollout.as_ref().is_some_and(|plan| plan.is_shadowed);
    let shadow = (is_shadowed && legacy.is_some() && !instances.is_empty()).then(|| Shadow {
        roles: identity::listed_roles(&identity.roles),
        comparisons: Comparisons::new(metrics, &name, policies.len()),
    });
    let tallies = tallies(&routes, &policies, previous);
    let id = files.id();
    let snapshot = Snapshot {
        shown_id: telemetry.policy_version_header.then(|| HeaderValue::from_str(&id).ok()).flatten(),
        id,
        request: Rules {
            limits: limits.request,
            reserved,
            trusted,
            extra_methods,
            read_headers: ReadHeaders::new(read_headers),
            hosts_named,
            tolerated,
            credential_line,
        },
        routes,
        policies,
        metrics: by_route,
        tallies,
        unrouted: RouteMetrics::new(metrics, &name, "", "none"),
        instances,
        legacy,
        cache: TokenCache::default(),
        headers: identity.headers,
        org_name: identity.org_name,
        linking,
        workspaces_claim: identity.workspaces_claim,
        mint: mint.map(Mint::new),
        assertion,
        runner,
        rollout,
        shadow,
        upstreams: peers,
        tls,
        cors,
        endpoints,
        admin: access,
        audit: crate::audit::Rules { on_failure: audit.on_failure, events: audit.events, routes: recorded },
        files: files.paths.clone(),
    };
    let settings = Settings {
        listeners,
        admin,
        threads: server.threads,
        drain: server.drain,
        ready: server.ready,
        keepalive: limits.keepalive,
        first_byte: limits.first_byte,
        header_read: limits.header_read,
        access_log: telemetry.access_log,
        log: telemetry.log,
        state_dir,
        audit: audit.settings,
    };
    Some(Compiled { settings, snapshot })
}

/// The routes in report mode. What was counted under another rule says nothing about this one.
fn tallies(routes: &Routes, policies: &[Policy], previous: Option<&Snapshot>) -> Tallies {
    let reporting = routes.iter().zip(policies).map(|(route, policy)| {
        let Definition { id, pattern, methods, host, headers, query, access, .. } = &route.definition;
        let rule = || {
            let mut hasher = DefaultHasher::new();
            format!("{:?}", (pattern, methods, host, headers, query, access, policy)).hash(&mut hasher);
            hasher.finish()
        };
        (route.mode == Mode::Report).then(|| (id, rule()))
    });
    Tallies::new(reporting, previous.map(|snapshot| &snapshot.tallies), clock::now().unix_ms)
}

/// Where the legacy side's credentials travel beside `Authorization: Bearer`.
fn credential_line(legacy: &LegacyVerifier) -> Option<CredentialLine> {
    match &legacy.carriers().header {
        Some(HeaderCarrier::Own(line)) => Some(line.clone()),
        Some(HeaderCarrier::Bearer) | None => None,
    }
}

fn is_privileged(route: &Route) -> bool {
    route.access == Access::Privileged
}

/// A key that must be there.
fn missing(at: At<'_>, key: &str, help: &str, problems: &mut Vec<Problem>) {
    if at.was_dropped(key) {
        return;
    }
    let here = at.key(key);
    let what = if here.is_written() { "is empty" } else { "is missing" };
    let problem = Problem::at(codes::MISSING, here, format!("`{key}` {what}")).help(help);
    // Of the file as a whole no line is to blame.
    problems.push(if here.is_root() { problem.without_excerpt() } else { problem });
}

/// Bounds lists whose items are compared with one another.
fn at_most<T>(max: usize, list: &mut Vec<T>, at: At<'_>, problems: &mut Vec<Problem>) {
    if list.len() > max {
        problems.push(Problem::at(codes::OUT_OF_RANGE, at, format!("{} is too many: at most {max}", list.len())));
        list.truncate(max);
    }
}

/// The server side of each listener with TLS.
fn listener_tls(
    material: Vec<Option<Material>>,
    previous: Option<&Snapshot>,
    root: At<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Option<Tls>> {
    let at = root.key("listeners");
    let mut all = Vec::with_capacity(material.len());
    for (index, material) in material.into_iter().enumerate() {
        let before = previous.and_then(|snapshot| snapshot.tls.get(index)?.as_ref());
        all.push(material.and_then(|material| match Tls::new(material, before) {
            Ok(tls) => Some(tls),
            Err(problem) => {
                let message = format!("TLS cannot be set up: {problem}");
                problems.push(Problem::at(codes::BAD_TLS, at.item(index).key("tls"), message));
                None
            }
        }));
    }
    all
}

fn peers(
    specs: &[crate::upstream::Spec],
    previous: Option<&Snapshot>,
    root: At<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Arc<Upstream>> {
    let mut peers = Vec::with_capacity(specs.len());
    // Of what is broken already, only what was told matters.
    if problems.iter().any(Problem::is_error) {
        return peers;
    }
    for spec in specs {
        let at = root.key("upstreams").key(&spec.name);
        let known = previous.and_then(|snapshot| snapshot.upstreams.iter().find(|known| known.name == spec.name));
        match Upstream::prepare(spec, known.map(|known| &**known)) {
            Ok(upstream) => peers.push(Arc::new(upstream)),
            Err(Unusable::Endpoint(address)) => {
                let message = format!("`{address}` cannot be reached");
                problems.push(Problem::at(codes::BAD_ADDRESS, at.key("endpoints"), message));
            }
            Err(Unusable::NoAuthorities) => {
                let message = "this machine has no certificate authorities, so that no API could be verified";
                problems.push(
                    Problem::at(codes::BAD_CERTIFICATE, at.key("tls"), message)
                        .help("name them with `ca`, or install the package ca-certificates"),
                );
            }
            Err(Unusable::Tls(why)) => {
                problems.push(Problem::at(codes::BAD_CERTIFICATE, at.key("tls"), format!("TLS cannot be used: {why}")));
            }
        }
    }
    peers
}

fn compile_cors(raw: Option<raw::Cors>, instances: &[InstanceSpec], root: At<'_>, problems: &mut Vec<Problem>) -> Cors {
    let at = root.key("cors");
    let raw::Cors { origins, credentials, preflight } = raw.unwrap_or_default();
    let origins = match origins {
        Some(list) => {
            let list = list.iter().enumerate();
            list.filter_map(|(index, text)| origin::check(text, at.key("origins").item(index), problems)).collect()
        }
        None => {
            let parties = instances.iter().flat_map(|instance| &instance.checks.authorized_parties);
            parties.filter_map(|party| HeaderValue::from_str(party).ok()).collect()
        }
    };
    let preflight = match preflight.unwrap_or(raw::Preflight::Pass) {
        raw::Preflight::Pass => Preflight::Pass,
        raw::Preflight::Answer => Preflight::Answer,
    };
    Cors { origins, credentials: credentials.unwrap_or(true), preflight }
}

fn compile_endpoints(
    raw: Option<raw::Endpoints>,
    org_name: OrgName,
    root: At<'_>,
    problems: &mut Vec<Problem>,
) -> (Endpoints, Option<status::Claim>) {
    let at = root.key("endpoints").key("prefix");
    let raw::Endpoints { prefix, status, debug_reasons } = raw.unwrap_or_default();
    let prefix = prefix.unwrap_or_else(|| "/.crossgate".to_owned());
    // Compared with canonical request paths, so that it must be one itself.
    let canonical = CanonicalPath::parse(prefix.as_bytes());
    if prefix == "/" || prefix.ends_with('/') || !canonical.is_ok_and(|path| path.as_str() == prefix) {
        problems.push(
            Problem::at(codes::BAD_PREFIX, at, "this prefix cannot be used")
                .help("write a path with a slash in front and none at its end, as in /.crossgate"),
        );
    }
    let (status, claim) = status::compile(status, &prefix, org_name, root, problems).unzip();
    (Endpoints { prefix, status, debug_reasons: debug_reasons.unwrap_or(false) }, claim)
}

/// Paths of policy files, and what they were asked by.
pub(super) fn policy_paths(patterns: &[String], root: At<'_>, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let at = root.key("policies");
    let mut paths: Vec<PathBuf> = Vec::new();
    for (index, pattern) in patterns.iter().enumerate() {
        let at = at.item(index);
        let full = at.source.resolve_glob(pattern);
        let found = match glob::glob(&full) {
            Ok(found) => found,
            Err(error) => {
                problems.push(Problem::at(
                    codes::NO_FILE_MATCHES,
                    at,
                    format!("this is no file pattern: {}", error.msg),
                ));
                continue;
            }
        };
        // Folders and what cannot be looked at are told when they are read.
        let mut found: Vec<PathBuf> =
            found.map(|entry| entry.unwrap_or_else(|error| error.path().to_path_buf())).collect();
        found.sort();
        let before = found.len();
        found.retain(|path| !is_test_file(path));
        if found.is_empty() && before > 0 {
            let message = "only files of tests match: what ends in _test.yaml holds no routes";
            problems.push(Problem::at(codes::TEST_FILE, at, message).help("name a file with `routes`"));
        } else if found.is_empty() {
            let message = "no policy file matches";
            let help = format!("looked for {full}; relative paths start at the folder of this file");
            problems.push(Problem::at(codes::NO_FILE_MATCHES, at, message).help(help));
        }
        for path in found {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    paths
}
