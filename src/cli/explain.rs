//! `crossgate explain`: one request, decided by the same code that serves, with every step's reason.

mod persona;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use serde_json::{Map, Value, json};

use super::{ConfigPath, Failure, Format, first_problem, say};
use crate::clock::{self, Now};
use crate::config;
use crate::gate::decide::{Caller, Decided, Decision, Refusal, Tries, Wait, World, decide};
use crate::identity::clerk::{self, Attempt};
use crate::identity::legacy::Answers;
use crate::identity::{Carrier, Identity};
use crate::inject::{self, Context, Issued, Own};
use crate::request::credential::Line;
use crate::request::{self, Authorization, Edits, Head, Peer, Request, Sanitized, View};
use crate::rollout::{self, Side};
use crate::route;
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::Metrics;
use steps::Recorder;

/// How long key sets may take to come.
const KEYS_WAIT: Duration = Duration::from_secs(6);

#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    path: ConfigPath,
    /// `GET`, `POST` …
    method: String,
    /// A path (`/v1/x?y=z`) or a whole URL, whose host becomes the Host header.
    url: String,
    /// A request header as `name: value`; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Decide as this person instead of by credentials: a YAML or JSON file such as `{ user: u1, org: acme, role: org:member }`.
    #[arg(long = "as", value_name = "FILE")]
    persona: Option<PathBuf>,
    /// Decide at this time (RFC 3339) instead of now.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

/// Everything that is shown.
struct Shown {
    decision: Decision,
    request: Option<Box<Request>>,
    headers: Map<String, Value>,
    steps: Vec<steps::Step>,
    /// Whether the person was written down rather than proved.
    assumed: bool,
}

impl Explain {
    pub(super) fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        let metrics = Metrics::new().map_err(|problem| format!("metrics cannot be declared: {problem}"))?;
        let loaded = config::load(&self.path.config, &|name| std::env::var(name).ok(), &metrics, None);
        let Some(compiled) = loaded.compiled else {
            return Err(first_problem(&loaded.problems, &self.path.config).into());
        };
        let snapshot = compiled.snapshot;
        let now = match &self.at {
            None => clock::now(),
            Some(text) => {
                let time: jiff::Timestamp = text.parse().map_err(|_| {
                    Failure::Usage(format!("--at {text}: expected a time such as 2026-01-31T12:00:00Z"))
                })?;
                Now::at_unix_ms(time.as_millisecond())
            }
        };
        let person = match &self.persona {
            None => None,
            Some(path) => Some(persona::read(path, &snapshot)?),
        };
        let shown = self.explain(&snapshot, now, person.as_ref(), &compiled.settings.state_dir)?;
        let allowed = shown.decision.outcome.is_ok();
        if format == Some(Format::Json) {
            say(&format!("{}\n", to_json(&shown, &snapshot)));
        } else {
            say(&to_text(&shown, &snapshot));
        }
        Ok(ExitCode::from(if allowed { 0 } else { 3 }))
    }

    fn explain(
        &self,
        snapshot: &Snapshot,
        now: Now,
        person: Option<&(Arc<Identity>, Option<Side>)>,
        state_dir: &std::path::Path,
    ) -> Result<Shown, Failure> {
        let method = Method::from_bytes(self.method.as_bytes())
            .map_err(|_| Failure::Usage(format!("{}: expected a method such as GET", self.method)))?;
        let (mut headers, target) = self.head().map_err(Failure::Usage)?;
        let head = Head {
            method: &method,
            target: target.as_bytes(),
            authority: None,
            version: Version::HTTP_11,
            headers: &headers,
            peer: Peer::Ip(std::net::Ipv4Addr::LOCALHOST.into()),
            tls: false,
        };
        let mut recorder = Recorder::default();
        let (request, edits) = match request::sanitize(&head, &snapshot.request, &|| [0; 16]) {
            Ok(Sanitized::Request(request, edits)) => (request, edits),
            Ok(Sanitized::Server(_)) => {
                return Err(Failure::Usage("OPTIONS * is answered by crossgate itself".to_owned()));
            }
            Err(refusal) => {
                recorder.add("request", "refused", refusal.reason().to_owned());
                return Ok(Shown {
                    decision: Decision::of(None, Err(Refusal::Request(refusal))),
                    request: None,
                    headers: Map::new(),
                    steps: recorder.steps,
                    assumed: person.is_some(),
                });
            }
        };
        recorder.add("request", "accepted", request.path.as_str().to_owned());
        apply(edits, &mut headers);
        let view = View { request: &request, headers: &headers };
        snapshot.routes.candidates(&view, &mut |route, why| {
            recorder.add("candidate", "passed over", format!("{}: {why}", route.id));
        });
        let rollout = snapshot.rollout.as_ref().map(|plan| rollout::control::peek(plan, state_dir, now.unix_ms));
        if let Some(problem) = rollout.as_ref().and_then(|rollout| rollout.problem.as_deref()) {
            recorder.add("rollout", "unknown", problem.to_owned());
        }
        let world = World { snapshot, rollout: rollout.as_ref() };
        let decision = match person {
            Some((person, arm)) => match decide(world, &view, Caller::Assumed(person, *arm), now, &mut recorder) {
                Decided::Done(decision) => decision,
                Decided::Wait(_) => return Err("a decision about somebody assumed waits for keys".to_owned().into()),
            },
            None => as_sent(world, &view, now, state_dir, &mut recorder)?,
        };
        let injected = injected(snapshot, &decision, &request, headers);
        Ok(Shown {
            decision,
            request: Some(request),
            headers: injected,
            steps: recorder.steps,
            assumed: person.is_some(),
        })
    }

    /// Headers and target as a client would send them.
    fn head(&self) -> Result<(HeaderMap, String), String> {
        let mut headers = HeaderMap::new();
        for line in &self.headers {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("-H '{line}': expected 'name: value'"))?;
            let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| format!("-H '{line}': no name"))?;
            let value =
                HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|_| format!("-H '{line}': no value"))?;
            headers.append(name, value);
        }
        let (host, target) = if self.url.starts_with('/') {
            (None, self.url.clone())
        } else {
            let uri: Uri = self.url.parse().map_err(|_| format!("{}: expected a path or a URL", self.url))?;
            let authority =
                uri.authority().ok_or_else(|| format!("{}: expected a path or a URL", self.url))?.to_string();
            // Cut by hand: parsing a URL would already repair what a client sends as it is.
            let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
            let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
            (Some(authority), path.to_owned())
        };
        if !headers.contains_key(http::header::HOST) {
            let host = host.unwrap_or_else(|| "localhost".to_owned());
            headers.insert(
                http::header::HOST,
                HeaderValue::from_str(&host).map_err(|_| "the host is malformed".to_owned())?,
            );
        }
        Ok((headers, target))
    }
}

fn apply(edits: Edits, headers: &mut HeaderMap) {
    for name in &edits.remove {
        headers.remove(name);
    }
    for (name, value) in edits.insert {
        headers.insert(name, value);
    }
}

/// The decision about whoever the credentials prove; servers are asked as the gate asks them.
fn as_sent(
    world: World<'_>,
    view: &View<'_>,
    now: Now,
    state_dir: &std::path::Path,
    recorder: &mut Recorder,
) -> Result<Decision, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|problem| format!("key sets cannot be fetched: {problem}"))?;
    let credentials = &view.request.credentials;
    let has_any = credentials.authorization != Authorization::Absent
        || credentials.line != Line::Absent
        || !credentials.cookies.is_empty();
    // Whether Clerk is out is asked there of everybody.
    let is_login = world.snapshot.routes.find(view).is_ok_and(|found| found.route.access == route::Access::Login);
    runtime.block_on(async {
        if has_any || is_login {
            fetch_keys(world.snapshot, state_dir).await;
        }
        let (mut legacy, mut answers) = (Attempt::First, Answers::default());
        loop {
            // Keys were fetched just now: what is missing stays missing.
            // What is left to chance is told as such, and not drawn.
            let tries = Tries { clerk: Attempt::Last, legacy, answers: &answers, draw: || None };
            let mut steps = Recorder::default();
            match decide(world, view, Caller::Credentials(tries), now, &mut steps) {
                Decided::Done(decision) => {
                    recorder.steps.append(&mut steps.steps);
                    return Ok(decision);
                }
                Decided::Wait(Wait::Lookups(lookups)) => answers = Answers::fetch(lookups).await,
                Decided::Wait(Wait::Legacy { .. } | Wait::Clerk { .. }) => {}
            }
            legacy = Attempt::Last;
        }
    })
}

/// Brings the key sets that are not in a file: the last good ones of `state_dir`, else fetched.
async fn fetch_keys(snapshot: &Snapshot, state_dir: &std::path::Path) {
    let of_clerk = snapshot.instances.iter().map(|instance| &instance.keys);
    let of_legacy = snapshot.legacy.iter().filter_map(|legacy| legacy.keys());
    for keys in of_clerk.chain(of_legacy) {
        let task = clerk::refresh::spawn(Arc::clone(keys), state_dir);
        // Without keys the decision says so.
        let _ = tokio::time::timeout(KEYS_WAIT, keys.first_attempt()).await;
        if let Some(task) = task {
            task.abort();
        }
    }
}

/// The identity headers that the API would get.
fn injected(snapshot: &Snapshot, decision: &Decision, request: &Request, mut headers: HeaderMap) -> Map<String, Value> {
    let Ok(permit) = &decision.outcome else { return Map::new() };
    let context = Context {
        names: &snapshot.headers,
        route: snapshot.routes.get(permit.route_index()).map_or("", |route| &route.id),
        arm: decision.side.map_or("none", Side::as_str),
        request_id: &request.client.request_id,
        own: Own::NONE,
        // Tokens are good for whoever reads them; the steps say that there is one.
        issued: &Issued::default(),
    };
    inject::inject(permit, &context, &mut headers);
    let text = |value: &HeaderValue| json!(String::from_utf8_lossy(value.as_bytes()));
    snapshot
        .headers
        .all()
        .filter_map(|name| headers.get(name).map(|value| (name.as_str().to_owned(), text(value))))
        .collect()
}

fn to_json(shown: &Shown, snapshot: &Snapshot) -> Value {
    let decision = &shown.decision;
    let route = decision.route.and_then(|index| snapshot.routes.get(index));
    let (status, code, reason) = outcome(decision);
    json!({
        "decision": if decision.outcome.is_ok() { "allow" } else { "deny" },
        "status": status,
        "code": code,
        "reason": reason,
        "route": route.map(|route| &*route.id),
        "access": route.map(|route| route.access.as_str()),
        "arm": decision.side.unwrap_or(nobodys(snapshot)).as_str(),
        "identity": decision.identity.as_ref().map(|(identity, carrier)| {
            person(identity, Some(*carrier).filter(|_| !shown.assumed))
        }),
        "headers": shown.headers,
        "path": shown.request.as_ref().map(|request| request.path.as_str()),
        "steps": shown.steps,
        "snapshot": &*snapshot.id,
    })
}

/// The side of whoever is not named.
const fn nobodys(snapshot: &Snapshot) -> Side {
    if snapshot.legacy.is_some() { Side::Legacy } else { Side::Clerk }
}

fn outcome(decision: &Decision) -> (u16, &'static str, String) {
    match &decision.outcome {
        Ok(permit) => {
            let reason = permit.reported().map_or_else(String::new, |refusal| format!("report mode: {refusal}"));
            (200, "ok", reason)
        }
        Err(refusal) => (refusal.code().status(), refusal.code().as_str(), refusal.reason()),
    }
}

fn person(identity: &Identity, carrier: Option<Carrier>) -> Value {
    let facts = &identity.facts;
    json!({
        "subject": facts.subject,
        "method": facts.method.as_str(),
        "token": facts.token.as_str(),
        "carrier": carrier.map(|carrier| carrier.to_string()),
        "instance": carrier.map(|_| &*facts.instance),
        "session": facts.session,
        "org": facts.org.as_ref().map(|org| json!({
            "id": org.id, "slug": org.slug, "role": org.role, "permissions": org.permissions,
        })),
        "actor": facts.actor,
    })
}

fn to_text(shown: &Shown, snapshot: &Snapshot) -> String {
    let (status, code, reason) = outcome(&shown.decision);
    let word = if shown.decision.outcome.is_ok() { "allow" } else { "deny" };
    let mut text = format!("{word}  {status} {code}");
    if !reason.is_empty() {
        text.push_str(&format!(": {reason}"));
    }
    text.push('\n');
    if let Some(route) = shown.decision.route.and_then(|index| snapshot.routes.get(index)) {
        text.push_str(&format!("route  {} ({}) at {}\n", route.id, route.access.as_str(), route.place));
    }
    if let Some((identity, _)) = &shown.decision.identity {
        let org = identity.facts.org.as_ref().map(|org| format!(" in {}", org.id)).unwrap_or_default();
        text.push_str(&format!("as     {}{org}\n", identity.facts.subject));
    }
    text.push_str("\nsteps\n");
    let width = shown.steps.iter().map(|step| step.step.len()).max().unwrap_or_default();
    let outcomes = shown.steps.iter().map(|step| step.outcome.len()).max().unwrap_or_default();
    for step in &shown.steps {
        text.push_str(&format!("  {:width$}  {:outcomes$}  {}\n", step.step, step.outcome, step.detail));
    }
    if !shown.headers.is_empty() {
        text.push_str("\nheaders to the api\n");
        for (name, value) in &shown.headers {
            text.push_str(&format!("  {name}: {}\n", value.as_str().unwrap_or_default()));
        }
    }
    text
}
