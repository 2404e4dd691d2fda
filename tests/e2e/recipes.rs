//! The recipes of `conf/recipes`, as they stand, before an API: what each promises is what it does. Express and Flask are real;
//! `tests/samples/prepare.sh` sets them up.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::bed::{Process, crossgate, reserve, until};
use super::issuer::{self, Issuer, now, token};
use super::origin::Origin;
use super::samples::{Api, prepared};
use super::wire::{Address, Call, Wire};

/// A recipe that serves: its folder copied, its Clerk instance the stand-in, its addresses by the environment.
struct Recipe {
    gate: Address,
    folder: TempDir,
    process: Process,
    _issuer: Issuer,
}

fn recipes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/recipes")
}

impl Recipe {
    fn start(name: &str, environment: &[(&str, &Address)]) -> Self {
        let (folder, issuer) = (TempDir::new().unwrap(), Issuer::start());
        let copied =
            Command::new("cp").arg("-R").arg(recipes().join(name).join(".")).arg(folder.path()).status().unwrap();
        assert!(copied.success());
        let config = folder.path().join("crossgate.yaml");
        let text = std::fs::read_to_string(&config).unwrap();
        let key = text.lines().find(|line| line.contains("publishable_key")).unwrap();
        let instance =
            format!("  - issuer: {}\n    jwks: {{ url: \"{}\", allow_private: true }}", issuer::ISSUER, issuer.url());
        let (gate, admin) = (reserve(), reserve());
        let admin_address = admin.local_addr().unwrap();
        let text = format!("{}\nadmin: {{ address: \"{admin_address}\" }}\n", text.replace(key, &instance));
        std::fs::write(&config, text).unwrap();
        let gate_address = Address::Tcp(gate.local_addr().unwrap());
        drop((gate, admin));
        let mut command = crossgate();
        command.arg("run").arg("-c").arg(config).env("LISTEN", gate_address.to_string());
        command.envs(environment.iter().map(|(name, address)| (name, address.to_string())));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process::spawn(command);
        until("the recipe", || {
            assert!(!process.has_ended(), "{name} ended: {}{}", process.stdout.text(), process.stderr.text());
            let mut wire = Wire::try_connect(&Address::Tcp(admin_address)).ok()?;
            wire.write(&Call::new(&Address::Tcp(admin_address), "GET", "/readyz").bytes());
            let report: Value = serde_json::from_slice(&wire.response("GET")?.body).ok()?;
            let starting = report["reasons"].as_array()?.iter().any(|reason| reason["code"] == "starting");
            (!starting && Wire::try_connect(&gate_address).is_ok()).then_some(())
        });
        Self { gate: gate_address, folder, process, _issuer: issuer }
    }

    fn call(&self, method: &str, target: &str) -> Call {
        Call::new(&self.gate, method, target)
    }

    fn get(&self, target: &str) -> Call {
        self.call("GET", target)
    }

    /// A token of the old login, as the recipe's secret signs it.
    fn legacy(&self, user: &str, org: Option<&str>, roles: &[&str]) -> String {
        let secret = std::fs::read(self.folder.path().join("legacy.secret")).unwrap();
        let mut claims = json!({
            "iss": "https://login.example.com", "aud": "api", "sub": user, "roles": roles, "exp": now() + 600,
        });
        if let Some(org) = org {
            claims["org"] = json!(org);
        }
        encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(&secret)).unwrap()
    }
}

fn at(origin: &Origin) -> Address {
    Address::Tcp(origin.address)
}

/// A session of a page that every recipe names.
fn session(user: &str, org: &str, role: &str) -> String {
    token(user).org(org, "a-slug", role).claim("azp", json!("https://app.example.com")).sign()
}

#[test]
fn express_serves_people_of_both_logins_unchanged() {
    let port = reserve();
    let address = Address::Tcp(port.local_addr().unwrap());
    let recipe = Recipe::start("express-api", &[("API", &address)]);
    let mut command = Command::new("node");
    command.arg(prepared().join("express/api.mjs")).env("SECRET_FILE", recipe.folder.path().join("legacy.secret"));
    let api = Api::start(command, port);
    assert_eq!(recipe.get("/healthz").send().json(), json!({ "ok": true }));
    assert_eq!(recipe.get("/api/orders").send().outcome(), "401 no_credential");
    let ada = session("user_ada", "org_acme", "admin");
    let answer = recipe.get("/api/orders").bearer(&ada).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.json(),
        json!({ "user": "41", "org": "acme", "role": "admin", "orders": [] }),
        "as its own login says"
    );
    assert_eq!(recipe.call("POST", "/api/orders").bearer(&ada).body("{}").send().json(), json!({ "by": "41" }));
    let own = recipe.legacy("42", Some("acme"), &["member"]);
    assert_eq!(recipe.get("/api/orders").bearer(&own).send().json()["user"], "42");
    assert_eq!(recipe.call("POST", "/api/orders").bearer(&own).send().outcome(), "403 forbidden");
    let stranger = session("user_nobody", "org_acme", "admin");
    assert_eq!(recipe.get("/api/orders").bearer(&stranger).send().outcome(), "403 unmapped_principal");
    assert_eq!(Call::new(&api.address, "GET", "/api/orders").bearer(&ada).send().status, 401, "it knows no Clerk");
}

#[test]
fn flask_believes_headers_that_nobody_else_can_send() {
    let port = reserve();
    let address = Address::Tcp(port.local_addr().unwrap());
    let mut command = Command::new(prepared().join("flask/bin/python"));
    command.arg(recipes().join("flask-api/api.py"));
    let _api = Api::start(command, port);
    let recipe = Recipe::start("flask-api", &[("API", &address)]);
    assert_eq!(recipe.get("/healthz").send().json(), json!({ "ok": true }));
    let bob = session("user_bob", "org_acme", "member");
    let answer = recipe
        .get("/api/org_acme/projects")
        .bearer(&bob)
        .header("X-User-Id", "user_ada")
        .header("X_User_Role", "org:admin")
        .send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expected = json!({ "user": "user_bob", "org": "org_acme", "role": "org:member", "projects": [] });
    assert_eq!(answer.json(), expected);
    assert_eq!(recipe.get("/api/org_other/projects").bearer(&bob).send().outcome(), "403 forbidden");
    assert_eq!(recipe.call("POST", "/api/org_acme/projects").bearer(&bob).send().outcome(), "403 forbidden");
    let anonymous = recipe.get("/api/org_acme/projects").header("X-User-Id", "user_ada").send();
    assert_eq!(anonymous.outcome(), "401 no_credential");
}

#[test]
fn a_tenant_of_the_path_is_the_callers_own_in_both_logins() {
    let api = Origin::start();
    let recipe = Recipe::start("per-tenant-api", &[("API", &at(&api))]);
    let bob = session("user_bob", "org_acme", "member");
    let own = recipe.legacy("42", Some("acme"), &["member"]);
    for (name, credential) in [("Clerk", &bob), ("the old login", &own)] {
        let status = |path: &str| recipe.get(path).bearer(credential).send().outcome();
        assert_eq!(status("/orgs/acme/workspaces/w2/documents/1"), "200 ok", "{name}");
        assert_eq!(api.last().values("x-crossgate-subject"), ["42"], "{name}");
        assert_eq!(status("/orgs/acme/workspaces/w1/documents/1"), "403 forbidden", "{name}: another workspace");
        assert_eq!(status("/orgs/other/workspaces/w2/documents/1"), "403 forbidden", "{name}: another org");
        assert_eq!(status("/orgs/org_acme/workspaces/w2/documents/1"), "403 forbidden", "{name}: by Clerk's id");
    }
    let ada = session("user_ada", "org_acme", "admin");
    assert_eq!(recipe.call("DELETE", "/orgs/acme/workspaces/w1").bearer(&ada).send().status, 200);
    let trail = std::fs::read_to_string(recipe.folder.path().join("audit/audit.jsonl")).unwrap();
    assert!(trail.contains("\"workspace.delete\"") && trail.contains("\"workspace:w1\""), "{trail}");
    assert_eq!(recipe.call("DELETE", "/orgs/acme/workspaces/w2").bearer(&bob).send().outcome(), "403 forbidden");
}

#[test]
fn a_canary_gets_its_people_and_nobody_else() {
    let (stable, canary) = (Origin::start(), Origin::start());
    let recipe = Recipe::start("canary-two-upstreams", &[("STABLE", &at(&stable)), ("CANARY", &at(&canary))]);
    let counts = || {
        let counted = |origin: &Origin| origin.all().iter().filter(|call| call.target() == "/api/account").count();
        (counted(&stable), counted(&canary))
    };
    assert_eq!(recipe.get("/api/account").send().outcome(), "401 no_credential");
    for round in 1..=3 {
        assert_eq!(recipe.get("/api/account").bearer(&recipe.legacy("43", None, &[])).send().status, 200, "excluded");
        let volunteer = token("user_ada").claim("azp", json!("https://app.example.com")).sign();
        assert_eq!(recipe.get("/api/account").bearer(&volunteer).send().status, 200, "included");
        assert_eq!(counts(), (round, round));
    }
    assert_eq!(recipe.call("POST", "/api/reports").bearer(&recipe.legacy("41", None, &[])).send().status, 200);
    assert!(canary.all().iter().all(|call| call.target() != "/api/reports"), "the route names its upstream");
}

#[test]
fn the_other_recipes_start_and_keep_their_word() {
    let api = Origin::start();
    let spa = Recipe::start("spa-cookies", &[("API", &at(&api))]);
    let cookies =
        format!("__session={}; __client_uat={}; theme=dark", session("user_ada", "org_acme", "member"), now() - 100);
    let patch = |origin: &str| spa.call("PATCH", "/api/me").cookie(&cookies).header("origin", origin).send().outcome();
    assert_eq!(patch("https://app.example.com"), "200 ok");
    assert_eq!(api.last().values("cookie"), ["theme=dark"], "Clerk's cookies end here");
    assert_eq!(patch("https://evil.example.com"), "403 csrf");
    assert_eq!(spa.get("/auth/status").cookie(&cookies).send().json()["authenticated"], true);
    let runner = Recipe::start("local-runner", &[("API", &at(&api))]);
    let ada = token("user_ada").org("org_acme", "acme", "member").claim("azp", json!("https://app.example.com"));
    let ada = ada.claim("workspaces", json!(["w1"])).sign();
    let form = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token_type=urn:ietf:params:oauth:token-type:jwt&scope=executions:write&subject_token={ada}"
    );
    let exchanged = runner
        .call("POST", "/.crossgate/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send();
    assert_eq!(exchanged.status, 200, "{}", exchanged.text());
    let issued = exchanged.json()["access_token"].as_str().unwrap().to_owned();
    let run = |method: &str, target: &str| runner.call(method, target).bearer(&issued).send().outcome();
    assert_eq!(run("POST", "/orgs/org_acme/workspaces/w1/executions"), "200 ok");
    assert_eq!(run("GET", "/orgs/org_acme/workspaces/w1/executions/1"), "403 forbidden", "not narrowed to that");
    assert_eq!(run("PUT", "/orgs/org_acme/workspaces/w1"), "403 forbidden", "people only");
    let grpc = Recipe::start("grpc-service", &[("API", &at(&api))]);
    let status = |credential: Option<&str>| {
        let call = grpc.call("POST", "/invoices.v1.Invoices/Get").header("content-type", "application/grpc");
        let call = call.header("x-org", "org_other");
        let answer = credential.map_or(call.clone(), |credential| call.bearer(credential)).send();
        (answer.status, answer.header("grpc-status").map(str::to_owned))
    };
    assert_eq!(status(None), (200, Some("16".to_owned())), "unauthenticated");
    assert_eq!(status(Some(&ada)), (200, Some("7".to_owned())), "permission denied");
    let convex = Origin::start();
    let arms = Recipe::start("convex-arm", &[("API", &at(&api)), ("CONVEX", &at(&convex))]);
    let cleo = session("user_cleo", "org_acme", "member");
    assert_eq!(arms.get("/api/orgs/acme/tasks").bearer(&cleo).send().status, 200);
    assert_eq!(convex.last().values("authorization"), [format!("Bearer {cleo}")], "Convex verifies it itself");
    let own = arms.legacy("41", Some("acme"), &["admin"]);
    assert_eq!(arms.get("/api/orgs/acme/tasks").bearer(&own).send().status, 200);
    assert_eq!(api.last().values("authorization"), [format!("Bearer {own}")], "the old API");
    assert!(arms.process.stderr.text().lines().all(|line| !line.contains("ERROR")), "{}", arms.process.stderr.text());
}
