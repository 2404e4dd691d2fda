//! Policy files: every route with its match, its access and its rule.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use http::{HeaderName, Method};

use super::audit;
use super::header;
use super::identity::Roles;
use super::listen::above_zero;
use super::missing;
use super::origin;
use super::rule::{Rules, Scope};
use super::slip;
use super::status;
use super::template;
use super::upstream::Upstreams;
use crate::audit::{OnFailure, RouteRules};
use crate::config::codes;
use crate::config::lint;
use crate::config::places::At;
use crate::config::raw;
use crate::config::report::Problem;
use crate::policy::{OrgName, Policy, Sources};
use crate::request::fold::Reserved;
use crate::request::{CanonicalPath, Oddities, Oddity};
use crate::rollout::Side;
use crate::rollout::plan::ArmUpstreams;
use crate::route::{Access, Clash, Definition, HostPattern, Mode, Pattern, Place, Routes, WebSocket};

/// Requests with longer ones are refused.
const MAX_METHOD: usize = 16;
/// Most clashing pairs that are told.
const MAX_CLASHES: usize = 100;

/// One decoded policy file.
pub(crate) struct PolicyFile<'a> {
    pub(crate) raw: raw::Policies,
    pub(crate) root: At<'a>,
}

/// What routes refer to.
pub(super) struct Context<'a> {
    pub(super) upstreams: &'a Upstreams,
    pub(super) arms: ArmUpstreams,
    pub(super) reserved: &'a Reserved,
    /// `endpoints.prefix`.
    pub(super) own_paths: &'a str,
    /// `endpoints.status`.
    pub(super) status: Option<&'a status::Claim>,
    pub(super) org_name: OrgName,
    pub(super) has_workspaces: bool,
    pub(super) has_legacy_orgs: bool,
    pub(super) roles: &'a Roles,
    /// `audit.on_failure`.
    pub(super) on_failure: OnFailure,
    /// `runner.scopes`; `None` where nobody gets a runner token.
    pub(super) runner: Option<&'a [Box<str>]>,
}

/// The compiled routes, and what sanitizing has to know of them.
pub(super) struct Compiled {
    pub(super) routes: Routes,
    /// By route index.
    pub(super) policies: Vec<Policy>,
    /// By route index.
    pub(super) audit: Vec<RouteRules>,
    pub(super) extra_methods: HashSet<Method>,
    pub(super) read_headers: HashSet<HeaderName>,
    pub(super) hosts_named: bool,
}

/// What the routes so far have in common.
#[derive(Default)]
struct Seen {
    ids: HashMap<Arc<str>, Place>,
    names: Vec<lint::Name>,
}

/// `None` when a problem was told.
pub(super) fn compile(
    files: Vec<PolicyFile<'_>>,
    context: &Context<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Compiled> {
    let mut definitions = Vec::new();
    let mut policies = Vec::new();
    let mut audit = Vec::new();
    let mut places = Vec::new();
    let mut seen = Seen::default();
    // Copies of one route are told one by one here: as pairs they would be half their square.
    let mut alike: HashMap<Alike, (Arc<str>, Place)> = HashMap::new();
    for PolicyFile { raw: raw::Policies { routes, tests: _, waive: _ }, root } in files {
        let at = root.key("routes");
        if routes.is_none() && !root.was_dropped("routes") {
            missing(root, "routes", "a policy file holds a list of routes", problems);
        }
        for (index, raw) in routes.unwrap_or_default().into_iter().enumerate() {
            let at = at.item(index);
            let Some((definition, policy, recorded)) = route(raw, at, context, &mut seen, problems) else { continue };
            if let Some((first, place)) = alike.get(&Alike::of(&definition)) {
                problems.push(clash(&definition.id, at, first, place));
                continue;
            }
            alike.insert(Alike::of(&definition), (Arc::clone(&definition.id), definition.place.clone()));
            definitions.push(definition);
            policies.push(policy);
            audit.push(recorded);
            places.push(at);
        }
    }
    let legacy_roles = context.roles.values().flatten();
    lint::names(&seen.names, context.roles.keys().chain(legacy_roles).map(|role| &**role), problems);
    let read_headers = definitions
        .iter()
        .flat_map(|definition| definition.headers.iter().map(|(name, _)| name.clone()))
        .chain(policies.iter().flat_map(|policy| policy.header_names().into_iter().cloned()))
        .chain(audit.iter().flat_map(RouteRules::header_names).cloned())
        .collect();
    let hosts_named = definitions.iter().any(|definition| definition.host.is_some());
    let extra_methods = definitions
        .iter()
        .flat_map(|definition| &definition.methods)
        .filter(|method| !is_usual(method))
        .cloned()
        .collect();
    let named: Vec<(Arc<str>, Place)> =
        definitions.iter().map(|definition| (Arc::clone(&definition.id), definition.place.clone())).collect();
    match Routes::compile(definitions) {
        Ok(routes) => {
            lint::table(&routes, &places, problems);
            Some(Compiled { routes, policies, audit, extra_methods, read_headers, hosts_named })
        }
        Err(clashes) => {
            let clashes = clashes.into_iter().take(MAX_CLASHES);
            problems.extend(clashes.filter_map(|Clash { first, second }| {
                let (first, place) = named.get(first)?;
                Some(clash(&named.get(second)?.0, *places.get(second)?, first, place))
            }));
            None
        }
    }
}

/// Everything by which a route is matched, whatever its segments are called.
#[derive(PartialEq, Eq, Hash)]
struct Alike {
    path: String,
    methods: Vec<Method>,
    host: Option<HostPattern>,
    headers: Vec<(HeaderName, String)>,
    query: Vec<(String, String)>,
}

impl Alike {
    fn of(definition: &Definition) -> Self {
        let Definition { pattern, methods, host, headers, query, .. } = definition;
        let mut path = pattern.as_str().to_owned();
        for name in pattern.names() {
            path = path.replace(&format!("{name}}}"), "}");
        }
        let mut methods = methods.clone();
        methods.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        Self { path, methods, host: host.clone(), headers: headers.clone(), query: query.clone() }
    }
}

fn clash(second: &str, at: At<'_>, first: &str, place: &Place) -> Problem {
    let message = format!(
        "route `{second}` cannot be told apart from route `{first}` ({}:{}): some request would match both alike",
        place.file, place.line
    );
    let at = at.key("match").key("path");
    Problem::at(codes::ROUTES_CLASH, at, message)
        .help("tell them apart by path, method, host, header or query, or make them one route")
}

fn route(
    raw: raw::Route,
    at: At<'_>,
    context: &Context<'_>,
    seen: &mut Seen,
    problems: &mut Vec<Problem>,
) -> Option<(Definition, Policy, RouteRules)> {
    let raw::Route {
        id,
        matches,
        access,
        require,
        audit,
        upstream,
        timeout,
        mode,
        websocket,
        response,
        tolerate,
        waive: _,
    } = raw;
    let told_before = problems.len();
    let place = Place { file: at.source.name.clone(), line: u32::try_from(at.span().line).unwrap_or(0) };
    let id = route_id(id, at, &place, &mut seen.ids, problems);
    let names_upstream = upstream.is_some();
    let upstream = match (&upstream, context.arms) {
        // Every arm has its own: none is left to be chosen.
        (None, ArmUpstreams { legacy: Some(legacy), clerk: Some(_) }) => Some(legacy),
        _ => context.upstreams.choose(upstream.as_deref(), at, problems),
    };
    if matches.is_none() && !at.was_dropped("match") {
        missing(at, "match", "write match: { method: GET, path: /invoices }", problems);
    }
    let raw::Match { method, path, host, header, query } = matches.unwrap_or_default();
    let in_match = at.key("match");
    let methods = methods(method, in_match.key("method"), problems);
    let host = host.and_then(|text| host_pattern(&text, in_match.key("host"), problems));
    let headers = headers(header, in_match.key("header"), context.reserved, problems);
    let query = query_parameters(query, in_match.key("query"), problems);
    if path.is_none() && in_match.is_written() && !in_match.was_dropped("path") {
        missing(in_match, "path", "write path: /invoices, path: /orgs/{org} or path: /{*rest}", problems);
    }
    let pattern = pattern(path.as_deref()?, in_match.key("path"), problems)?;
    let access = match access {
        Some(raw::Access::Public) => Access::Public,
        Some(raw::Access::Login) => Access::Login,
        None | Some(raw::Access::Protected) => Access::Protected,
        Some(raw::Access::Privileged) => Access::Privileged,
    };
    let mode = match mode.unwrap_or(raw::Mode::Enforce) {
        raw::Mode::Enforce => Mode::Enforce,
        raw::Mode::Report => Mode::Report,
    };
    reachable(&pattern, context.own_paths, in_match.key("path"), problems);
    status::beside_route(id.as_deref(), &pattern, &methods, context, in_match.key("path"), problems);
    let scope = Scope {
        pattern: &pattern,
        org_name: context.org_name,
        has_workspaces: context.has_workspaces,
        has_legacy_orgs: context.has_legacy_orgs,
        roles: context.roles,
        reserved: context.reserved,
        runner: context.runner,
    };
    let mut rules = Rules::new(scope, problems);
    let compiled = require.map(|raw| rules.compile(raw, at.key("require"), false));
    let (compared, names) = (rules.compared, rules.names);
    if matches!(access, Access::Public | Access::Login) && compiled.is_some() {
        let span = at.key("require").key_span();
        let message = match access {
            Access::Login => "a login route lets everyone in as nobody, so that it cannot require anything",
            Access::Public | Access::Protected | Access::Privileged => {
                "a public route lets everyone in, so that it cannot require anything"
            }
        };
        problems.push(
            Problem::at_span(codes::PUBLIC_REQUIRES, at.source, span, message)
                .help("remove `require`, or write access: protected"),
        );
    }
    if access == Access::Login && mode == Mode::Report {
        let message = "a login route refuses nobody by a rule, so that there is nothing to report";
        problems.push(Problem::at(codes::LOGIN_REPORTS, at.key("mode"), message).help("remove `mode`"));
    }
    let around = audit::Surroundings {
        scope: template::Scope { pattern: &pattern, reserved: context.reserved, sources: Sources::RequestAndClaims },
        access,
        on_failure: context.on_failure,
        rules: compiled.as_deref().unwrap_or_default(),
    };
    let recorded = audit::route(audit, around, at.key("audit"), problems);
    // Advice about a route with errors would be advice about something else.
    let lost = at.lost_keys() || in_match.lost_keys() || at.key("require").lost_keys();
    if problems.iter().skip(told_before).all(|problem| !problem.is_error()) && !lost {
        lint::route(&pattern, access, &compared, in_match.key("path"), problems);
        lint::mode(access, mode, at.key("mode"), problems);
        seen.names.extend(names);
    }
    let timeout = timeout.map(|time| above_zero(Some(time), 0, at.key("timeout"), problems));
    let websocket = websocket.map_or_else(WebSocket::default, |raw| tunnel(raw, at.key("websocket"), problems));
    let raw::Response { private } = response.unwrap_or_default();
    let tolerates = tolerates(tolerate, &methods, at.key("tolerate"), problems);
    let upstream = upstream?;
    let definition = Definition {
        id: id?,
        place,
        pattern,
        methods,
        host,
        headers,
        query,
        access,
        mode,
        timeout,
        websocket,
        private: private.unwrap_or(false),
        upstream,
        names_upstream,
        exact_paths: exact_paths(upstream, names_upstream, context),
        tolerates,
    };
    Some((definition, Policy::new(compiled.unwrap_or_default()), recorded))
}

/// Whether each API that may serve the route tells case and trailing slash apart.
fn exact_paths(upstream: usize, names_upstream: bool, context: &Context<'_>) -> bool {
    let is_exact = |index: usize| context.upstreams.specs.get(index).is_some_and(|spec| spec.exact_paths);
    let by_arm = |side| context.arms.of(side).filter(|_| !names_upstream).unwrap_or(upstream);
    [Side::Legacy, Side::Clerk].map(by_arm).into_iter().all(is_exact)
}

/// What the route's API needs. Only of GET a body can be tolerated at all.
fn tolerates(raw: Option<Vec<raw::Tolerate>>, methods: &[Method], at: At<'_>, problems: &mut Vec<Problem>) -> Oddities {
    let mut all = Oddities::NONE;
    for (index, one) in raw.into_iter().flatten().enumerate() {
        let oddity = match one {
            raw::Tolerate::EncodedSlash => Oddity::EncodedSlash,
            raw::Tolerate::Semicolon => Oddity::Semicolon,
            raw::Tolerate::DoubleSlash => Oddity::DoubleSlash,
            raw::Tolerate::DoubleEscape => Oddity::DoubleEscape,
            raw::Tolerate::GetBody => Oddity::GetBody,
        };
        if oddity == Oddity::GetBody && !methods.is_empty() && !methods.contains(&Method::GET) {
            problems.push(
                Problem::at(codes::NO_EFFECT, at.item(index), "this route takes no GET whose body it could tolerate")
                    .help("remove `get_body`, or add GET to match.method")
                    .warning(),
            );
        }
        all = all.with(oddity);
    }
    all
}

/// Which pages may open tunnels, and until when these last.
fn tunnel(raw: raw::WebSocket, at: At<'_>, problems: &mut Vec<Problem>) -> WebSocket {
    let raw::WebSocket { until, origins } = raw;
    let mut checked = Vec::new();
    for (index, text) in origins.iter().flatten().enumerate() {
        if origin::check(text, at.key("origins").item(index), problems).is_some() {
            checked.push(text.as_str().into());
        }
    }
    WebSocket { until_token_exp: matches!(until, Some(raw::Until::TokenExp)), origins: checked }
}

/// Ids become labels of metrics, values of a header and words in logs.
fn route_id(
    id: Option<String>,
    at: At<'_>,
    place: &Place,
    ids: &mut HashMap<Arc<str>, Place>,
    problems: &mut Vec<Problem>,
) -> Option<Arc<str>> {
    let Some(id) = id else {
        if !at.was_dropped("id") {
            missing(at, "id", "give the route a name, as in id: invoice.read", problems);
        }
        return None;
    };
    let at = at.key("id");
    let is_name = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-' | b':' | b'/');
    if id.is_empty() || id.len() > 128 || !id.bytes().all(is_name) {
        problems.push(
            Problem::at(codes::BAD_ROUTE_ID, at, "a route id has 1 to 128 letters, digits, dots, dashes and the like")
                .help("write it as in invoice.read"),
        );
        return None;
    }
    let id: Arc<str> = id.into();
    if let Some(first) = ids.get(&id) {
        let message = format!("route `{id}` stands twice; the first is at {}:{}", first.file, first.line);
        problems.push(Problem::at(codes::ROUTE_TWICE, at, message));
        return None;
    }
    ids.insert(Arc::clone(&id), place.clone());
    Some(id)
}

fn pattern(text: &str, at: At<'_>, problems: &mut Vec<Problem>) -> Option<Pattern> {
    if let Some(slip) = slip::of_path(text) {
        let mut span = at.within(text, slip.at);
        // Exact where the file shows the text as it is.
        if span.width == 1 {
            span.width = slip.width;
        }
        let help =
            if at.is_substituted() { "write {name} for one segment and {*rest} for the tail" } else { &slip.help };
        problems.push(Problem::at_span(codes::BAD_PATTERN, at.source, span, slip.message).help(help));
        return None;
    }
    match Pattern::parse(text) {
        Ok(pattern) => Some(pattern),
        Err(problem) => {
            let span = at.within(text, problem.at);
            let message = format!("this pattern cannot be used: {}", problem.kind);
            problems.push(Problem::at_span(codes::BAD_PATTERN, at.source, span, message));
            None
        }
    }
}

/// What lies below `endpoints.prefix` is answered by crossgate itself, whatever the case of its letters.
fn reachable(pattern: &Pattern, own_paths: &str, at: At<'_>, problems: &mut Vec<Problem>) {
    let literal = pattern.as_str().split('{').next().unwrap_or_default();
    let Ok(path) = CanonicalPath::parse(literal.as_bytes()) else { return };
    let path = path.as_str();
    let is_own = path.get(..own_paths.len()).is_some_and(|head| head.eq_ignore_ascii_case(own_paths))
        && matches!(path.as_bytes().get(own_paths.len()), None | Some(b'/'));
    if is_own {
        let message = format!("nothing reaches this route: crossgate answers everything below {own_paths} itself");
        problems.push(
            Problem::at(codes::UNREACHABLE, at, message)
                .help("choose another path, or another place for crossgate's own with endpoints.prefix"),
        );
    }
}

fn is_usual(method: &Method) -> bool {
    const USUAL: [Method; 9] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
        Method::CONNECT,
    ];
    USUAL.contains(method)
}

fn methods(raw: Option<raw::OneOrMany>, at: At<'_>, problems: &mut Vec<Problem>) -> Vec<Method> {
    let Some(raw::OneOrMany(names)) = raw else { return Vec::new() };
    if names.is_empty() && !at.has_gaps() {
        let help = "leave `method` out when all methods are meant";
        problems.push(Problem::at(codes::NEVER_TRUE, at, "an empty list matches no method").help(help));
    }
    let mut methods = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let at = at.item(index);
        // Methods are case-sensitive (RFC 9110 9.1): `get` would never match.
        if name.bytes().any(|c| c.is_ascii_lowercase()) {
            let help = format!("write {}", name.to_ascii_uppercase());
            problems.push(Problem::at(codes::BAD_MATCH, at, "methods are in upper case").help(help));
            continue;
        }
        match Method::from_bytes(name.as_bytes()) {
            Ok(Method::CONNECT) => {
                problems.push(Problem::at(codes::BAD_MATCH, at, "CONNECT opens tunnels, which crossgate does not do"))
            }
            Ok(Method::TRACE) => {
                problems.push(Problem::at(codes::BAD_MATCH, at, "TRACE would show credentials: it is always refused"))
            }
            Ok(_) if name.len() > MAX_METHOD => {
                problems.push(Problem::at(codes::BAD_MATCH, at, "a method has at most 16 characters"))
            }
            Ok(method) if methods.contains(&method) => {}
            Ok(method) => methods.push(method),
            Err(_) => {
                let each: Vec<&str> = name.split([',', ' ', '|']).filter(|name| !name.is_empty()).collect();
                let help =
                    (each.len() > 1 && !at.is_substituted()).then(|| format!("write a list: [{}]", each.join(", ")));
                problems.push(Problem::at(codes::BAD_MATCH, at, "this is no method").maybe_help(help));
            }
        }
    }
    methods
}

fn host_pattern(text: &str, at: At<'_>, problems: &mut Vec<Problem>) -> Option<HostPattern> {
    match HostPattern::parse(text) {
        Ok(host) => Some(host),
        Err(problem) => {
            problems.push(Problem::at(codes::BAD_MATCH, at, format!("this host cannot be used: {problem}")));
            None
        }
    }
}

fn headers(
    raw: Option<raw::Named<String>>,
    at: At<'_>,
    reserved: &Reserved,
    problems: &mut Vec<Problem>,
) -> Vec<(HeaderName, String)> {
    let raw::Named(raw) = raw.unwrap_or_default();
    let mut headers = Vec::with_capacity(raw.len());
    for (index, (name, value)) in raw.into_iter().enumerate() {
        let place = at.nth(index);
        let told = |message: &str| Problem::at_span(codes::BAD_MATCH, at.source, place.key_span(), message);
        let Ok(parsed) = name.parse::<HeaderName>() else {
            problems.push(told("this is no header name"));
            continue;
        };
        if let Some((message, help)) = header::unreadable(&parsed, reserved) {
            problems.push(told(message).help(help));
        } else if http::HeaderValue::from_str(&value).is_err() || value.trim() != value {
            problems.push(Problem::at(codes::BAD_MATCH, place, "no header has such a value"));
        } else {
            headers.push((parsed, value));
        }
    }
    headers
}

fn query_parameters(raw: Option<raw::Named<String>>, at: At<'_>, problems: &mut Vec<Problem>) -> Vec<(String, String)> {
    let raw::Named(raw) = raw.unwrap_or_default();
    if raw.iter().any(|(name, _)| name.is_empty()) {
        problems.push(Problem::at(codes::BAD_MATCH, at, "a query parameter needs a name"));
    }
    raw
}
