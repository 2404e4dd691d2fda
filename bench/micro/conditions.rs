//! What a condition costs beside a rule without one: `cargo bench --bench conditions`.
//!
//! `rule` is `authorize` with no condition; the others differ from it by one `when`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot set up its world has nothing to measure")]

use std::sync::Arc;

use crossgate::identity::{Facts, Identity};
use crossgate::policy::{Condition, ConditionScope, OrgName, Policy, RoleName, Rule, authorize};
use crossgate::request::{CanonicalPath, Client, Credentials, Oddities, Peer, Request, TrustedProxies, View};
use crossgate::route::{Access, Definition, Mode, Pattern, Place, Routes, WebSocket};
use divan::{AllocProfiler, Bencher, black_box};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::json;

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

struct World {
    routes: Routes,
    policy: Policy,
    identity: Arc<Identity>,
    request: Request,
    headers: HeaderMap,
}

impl World {
    fn new(condition: Option<&str>) -> Self {
        let definition = Definition {
            id: "route".into(),
            place: Place { file: "routes.yaml".into(), line: 1 },
            pattern: Pattern::parse("/api/{*rest}").unwrap(),
            methods: Vec::new(),
            host: None,
            headers: Vec::new(),
            query: Vec::new(),
            access: Access::Protected,
            mode: Mode::Enforce,
            timeout: None,
            websocket: WebSocket::default(),
            private: false,
            upstream: 0,
            names_upstream: false,
            exact_paths: false,
            tolerates: Oddities::NONE,
        };
        let scope = ConditionScope { org_name: OrgName::ClerkId, role: &RoleName::new };
        let rules = condition.map(|text| Rule::When(Box::new(Condition::parse(text, &scope).unwrap())));
        let claims = json!({
            "level": 3, "name": "ada", "teams": (0..20).map(|n| json!({ "name": format!("team{n}") })).collect::<Vec<_>>(),
        });
        let facts =
            Facts { subject: "user_ada".to_owned(), claims: claims.as_object().unwrap().clone(), ..Facts::default() };
        let mut headers = HeaderMap::new();
        for (name, value) in [("accept", "*/*"), ("user-agent", "bench"), ("x-env", "prod"), ("x-other", "1")] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let client = Client::read(&headers, None, Peer::Unix, false, &TrustedProxies::default(), &|| [7; 16]);
        let request = Request {
            method: Method::GET,
            host: None,
            authority: None,
            path: CanonicalPath::parse(b"/api/orgs/org_1/things").unwrap(),
            query: Some("limit=20&sort=name".into()),
            client,
            credentials: Credentials::default(),
            preflight: None,
            handshake: None,
            oddities: Oddities::NONE,
        };
        let routes = Routes::compile(vec![definition]).unwrap();
        let world = Self {
            routes,
            policy: Policy::new(rules.into_iter().collect()),
            identity: Arc::new(Identity::new(facts, Vec::new())),
            request,
            headers,
        };
        assert!(world.is_let_in(), "{condition:?}");
        world
    }

    fn is_let_in(&self) -> bool {
        let view = View { request: &self.request, headers: &self.headers };
        let Ok(found) = self.routes.find(&view) else { panic!("no route") };
        authorize(found.route, &self.policy, Some(&self.identity), &found.captures, &view, &mut ()).is_ok()
    }
}

fn bench(bencher: Bencher<'_, '_>, condition: Option<&str>) {
    let world = World::new(condition);
    bencher.bench_local(|| black_box(world.is_let_in()));
}

#[divan::bench]
fn rule(bencher: Bencher<'_, '_>) {
    bench(bencher, None);
}

#[divan::bench]
fn simple(bencher: Bencher<'_, '_>) {
    bench(bencher, Some("claims.level >= 3 && request.headers[\"x-env\"] == \"prod\""));
}

#[divan::bench]
fn query(bencher: Bencher<'_, '_>) {
    bench(bencher, Some("int(request.query.limit) <= 100 && !(\"debug\" in request.query)"));
}

#[divan::bench]
fn path(bencher: Bencher<'_, '_>) {
    bench(bencher, Some("request.segments[1] == \"orgs\" && request.path.startsWith(\"/api/\")"));
}

#[divan::bench]
fn list_of_20(bencher: Bencher<'_, '_>) {
    bench(bencher, Some("claims.teams.exists(t, t.name == \"team19\")"));
}
