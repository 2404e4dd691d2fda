//! Reloads: what counts as a change, what is taken up, what keeps the last good config, and who hears of it.
//!
//! Files are changed as editors, operators and Kubernetes change them; nothing is signalled unless a test says so.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bed::{Bed, DEADLINE, Running, STORY, until};
use super::tls;
use super::upstreams::{authority, signed};
use super::wire::{Call, Response};

/// [`STORY`] with one more public route.
fn with_route(id: &str) -> String {
    format!("{STORY}  - {{ id: {id}, match: {{ path: /{id} }}, access: public }}\n")
}

fn routes(id: &str) -> String {
    format!("routes:\n  - {{ id: {id}, match: {{ path: /{id} }}, access: public }}\n")
}

/// As editors do it: another file in its place.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

fn touch(path: &Path) {
    let file = fs::File::options().append(true).open(path).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
}

/// What is looked at from outside.
struct Ladder {
    bed: Running,
}

impl Ladder {
    fn reloads(&self, result: &str) -> f64 {
        self.bed.metric(&format!("crossgate_config_reloads_total{{result=\"{result}\"}}"))
    }

    /// The snapshot that serves, of which there is one.
    fn snapshot(&self) -> String {
        let text = self.bed.ask_admin("/metrics").text();
        let ids: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("crossgate_config_info{snapshot=\"")?.strip_suffix("\"} 1"))
            .collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
        ids[0].to_owned()
    }

    fn stale(&self) -> Option<Value> {
        let report = self.bed.ask_admin("/readyz");
        assert_eq!(report.status, 200, "it serves, whatever the files say");
        let report = report.json();
        report["reasons"].as_array().unwrap().iter().find(|reason| reason["code"] == "stale_config").cloned()
    }

    fn is_served(&self, path: &str) -> bool {
        self.bed.get(path).send().status == 200
    }

    /// A state of the files that is taken up.
    fn good(&self, name: &str, change: impl FnOnce(), serves: &[&str], refuses: &[&str]) {
        let (before, taken) = (self.snapshot(), self.reloads("ok"));
        change();
        until(name, || (self.reloads("ok") > taken).then_some(()));
        assert_ne!(self.snapshot(), before, "{name}");
        self.serves(name, serves, refuses);
        assert_eq!(self.stale(), None, "{name}");
        assert_eq!(self.bed.metric("crossgate_config_stale"), 0.0, "{name}");
    }

    /// A state of the files that leaves the last good config serving; the problem that is told.
    fn bad(&self, name: &str, change: impl FnOnce(), serves: &[&str], refuses: &[&str]) -> Value {
        let (before, refused) = (self.snapshot(), self.reloads("refused"));
        change();
        until(name, || (self.reloads("refused") > refused).then_some(()));
        assert_eq!(self.snapshot(), before, "{name}");
        self.serves(name, serves, refuses);
        assert_eq!(self.bed.metric("crossgate_config_stale"), 1.0, "{name}");
        let stale = self.stale().unwrap_or_else(|| panic!("{name}: /readyz does not say so"));
        let first = stale["problems"][0].clone();
        for key in ["code", "file", "message"] {
            assert!(first[key].as_str().is_some_and(|text| !text.is_empty()), "{name}: {key} of {stale}");
        }
        let line = format!("\"code\":\"{}\"", first["code"].as_str().unwrap());
        until("the log", || self.bed.process.stderr.text().contains(&line).then_some(()));
        first
    }

    /// A state of the files that says what is served already.
    fn same(&self, name: &str, change: impl FnOnce(), serves: &[&str]) {
        let (before, unchanged) = (self.snapshot(), self.reloads("unchanged"));
        change();
        until(name, || (self.reloads("unchanged") > unchanged).then_some(()));
        assert_eq!(self.snapshot(), before, "{name}");
        self.serves(name, serves, &[]);
        assert_eq!(self.stale(), None, "{name}");
        assert_eq!(self.bed.metric("crossgate_config_stale"), 0.0, "{name}");
    }

    fn serves(&self, name: &str, serves: &[&str], refuses: &[&str]) {
        for path in serves {
            assert!(self.is_served(path), "{name}: {path} is not served");
        }
        for path in refuses {
            assert_eq!(self.bed.get(path).send().outcome(), "403 no_route", "{name}: {path}");
        }
        assert_eq!(self.bed.get("/me").send().outcome(), "401 no_credential", "{name}");
    }
}

#[test]
fn every_state_of_the_files_has_its_answer() {
    let ladder = Ladder { bed: Bed::new().start() };
    let folder = ladder.bed.folder().to_owned();
    let policies = folder.join("policies");
    let (main, extra, config) =
        (policies.join("main.yaml"), policies.join("extra.yaml"), folder.join("crossgate.yaml"));
    let at = |name: &str| folder.join(name);
    ladder.serves("the start", &["/public/x"], &["/one", "/two"]);

    ladder.good("written in place", || fs::write(&main, with_route("one")).unwrap(), &["/one"], &["/two"]);
    ladder.good("replaced, as editors do", || replace(&main, &with_route("two")), &["/two"], &["/one"]);
    let typo =
        ladder.bad("a typo", || replace(&main, &with_route("one").replace("access", "acess")), &["/two"], &["/one"]);
    assert_eq!((&typo["line"], typo["file"].as_str()), (&json!(5), main.to_str()), "{typo}");
    ladder.same("mended", || replace(&main, &with_route("two")), &["/two"]);
    ladder.same("touched", || touch(&main), &["/two"]);
    ladder.bad("cut off", || fs::write(&main, &STORY[..STORY.len() / 2]).unwrap(), &["/two"], &[]);
    ladder.bad(
        "cut off elsewhere: tried again, since it changed",
        || fs::write(&main, &STORY[..STORY.len() / 3]).unwrap(),
        &["/two"],
        &[],
    );
    ladder.good("whole", || fs::write(&main, with_route("one")).unwrap(), &["/one"], &["/two"]);
    ladder.good("a new policy file", || fs::write(&extra, routes("two")).unwrap(), &["/one", "/two"], &[]);
    ladder.good("a policy file is gone", || fs::remove_file(&extra).unwrap(), &["/one"], &["/two"]);
    ladder.bad("the last policy file is gone", || fs::rename(&main, at("aside")).unwrap(), &["/one"], &[]);
    ladder.same("it is back", || fs::rename(at("aside"), &main).unwrap(), &["/one"]);
    ladder.bad("what cannot be read: a folder", || fs::create_dir(&extra).unwrap(), &["/one"], &["/two"]);
    ladder.same("the folder is gone", || fs::remove_dir(&extra).unwrap(), &["/one"]);
    ladder.bad("what cannot be read: no text", || fs::write(&extra, b"routes: \xff").unwrap(), &["/one"], &[]);
    ladder.good("a text", || fs::write(&extra, routes("two")).unwrap(), &["/one", "/two"], &[]);
    ladder.good(
        "the folder is swapped",
        || {
            fs::create_dir(at("other")).unwrap();
            fs::write(at("other/main.yaml"), with_route("three")).unwrap();
            fs::rename(&policies, at("before")).unwrap();
            fs::rename(at("other"), &policies).unwrap();
        },
        &["/three"],
        &["/one", "/two"],
    );
    // As the kubelet does it: files are links through `..data`, which is turned when all are there.
    ladder.good(
        "a configuration map",
        || {
            for (name, route) in [("..one", "four"), ("..two", "five")] {
                fs::create_dir(policies.join(name)).unwrap();
                fs::write(policies.join(name).join("map.yaml"), with_route(route)).unwrap();
            }
            symlink("..one", policies.join("..data")).unwrap();
            symlink("..data/map.yaml", policies.join("map.yaml")).unwrap();
            fs::remove_file(&main).unwrap();
        },
        &["/four"],
        &["/three", "/five"],
    );
    ladder.good(
        "its link is turned",
        || {
            symlink("..two", policies.join("..data_tmp")).unwrap();
            fs::rename(policies.join("..data_tmp"), policies.join("..data")).unwrap();
            fs::remove_dir_all(policies.join("..one")).unwrap();
        },
        &["/five"],
        &["/four"],
    );
    let text = fs::read_to_string(&config).unwrap();
    ladder.bad("the config itself", || replace(&config, "listeners: ["), &["/five"], &[]);
    ladder.good("a comment", || replace(&config, &format!("{text}\n# mended\n")), &["/five"], &[]);
    ladder.bad(
        "a file that is not there yet",
        || replace(&config, &format!("{text}\nidentity: {{ map: {{ file: map.jsonl }} }}\n")),
        &["/five"],
        &[],
    );
    ladder.good(
        "it came to be",
        || fs::write(at("map.jsonl"), "{\"kind\":\"org\",\"legacy\":\"acme\",\"clerk\":\"org_1\"}\n").unwrap(),
        &["/five"],
        &[],
    );
}

/// A file that is written slowly, and one that is removed before it is put back, is read when it is whole.
#[test]
fn nothing_is_read_while_it_is_written() {
    let ladder = Ladder { bed: Bed::new().start() };
    let main = ladder.bed.folder().join("policies/main.yaml");
    // On a machine that stops for long the pieces are no pieces: then nothing is learnt, and it begins anew.
    let deadline = Instant::now() + DEADLINE;
    for round in 0.. {
        assert!(Instant::now() < deadline, "this machine is too slow for this test");
        let (refused, route) = (ladder.reloads("refused"), format!("slow{round}"));
        let text = with_route(&route);
        let mut longest = Duration::ZERO;
        let mut last = Instant::now();
        fs::remove_file(&main).unwrap();
        let mut written = String::new();
        for piece in text.as_bytes().chunks(16) {
            written.push_str(std::str::from_utf8(piece).unwrap());
            // Wait for the next piece as a slow writer does, by asking the gate something meanwhile.
            until("a while", || {
                assert!(ladder.is_served("/public/x"));
                (last.elapsed() > Duration::from_millis(40)).then_some(())
            });
            fs::write(&main, &written).unwrap();
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        until("the whole file", || ladder.is_served(&format!("/{route}")).then_some(()));
        if longest < Duration::from_millis(400) {
            assert_eq!(ladder.reloads("refused"), refused, "it was read in between");
            return;
        }
    }
}

#[test]
fn a_secret_that_was_rotated_and_a_certificate_that_was_renewed_serve() {
    let authority = authority();
    let (first, second) = (signed(&authority, "a.example", false), signed(&authority, "a.example", false));
    let bed = Bed::new().section("listeners: [{ address: \"{gate}\", tls: { certificate: own.crt, key: own.key } }]");
    tls::write(&bed, "own", &first);
    let bed = bed.start();
    assert_eq!(tls::shown(&bed, &authority), tls::der(&first));
    fs::write(bed.folder().join("own.crt"), &second.0).unwrap();
    fs::write(bed.folder().join("own.key"), &second.1).unwrap();
    until("the new certificate", || (tls::shown(&bed, &authority) == tls::der(&second)).then_some(()));

    let bed = with_tokens();
    let come = |token: &str| bed.ask("GET", "/v1/snapshot", Some(token)).status;
    assert_eq!((come(READ), come("rotated-rotated-rotated")), (200, 401));
    replace(&bed.running.folder().join("read.token"), "rotated-rotated-rotated");
    until("the new secret", || (come("rotated-rotated-rotated") == 200).then_some(()));
    assert_eq!(come(READ), 401, "the old one is gone");
}

#[test]
fn settings_that_need_a_restart_are_named_until_the_file_agrees() {
    let bed = with_tokens();
    let config = bed.running.folder().join("crossgate.yaml");
    let text = fs::read_to_string(&config).unwrap();
    let named = || {
        let report = bed.running.ask_admin("/readyz").json();
        let reasons = report["reasons"].as_array().unwrap().clone();
        reasons.iter().find(|reason| reason["code"] == "restart_needed").map(|reason| reason["keys"].clone())
    };
    assert_eq!(named(), None);
    let changed = text
        .replace("threads: 2", "threads: 3")
        .replace("log: info", "log: debug")
        .replace("listeners: [", "listeners: [{ address: \"unix:more.sock\" }, ");
    assert_ne!(changed, text);
    replace(&config, &changed);
    let keys = json!(["listeners", "server.threads", "telemetry.log"]);
    until("the keys", || (named() == Some(keys.clone())).then_some(()));
    assert_eq!(bed.running.ask_admin("/readyz").status, 200);
    assert_eq!(bed.running.get("/public/x").send().status, 200, "the listener of the start goes on");
    assert!(!bed.running.folder().join("more.sock").exists());
    assert_eq!(bed.reload(Some(RELOAD)).json()["restart_needed"], keys);
    until("the log", || {
        bed.running.process.stderr.text().contains("listeners, server.threads, telemetry.log").then_some(())
    });
    replace(&config, &text);
    until("the file agrees again", || named().is_none().then_some(()));
}

const READ: &str = "read-read-read-read";
const RELOAD: &str = "reload-reload-reload";

struct Admin {
    running: Running,
}

/// A gate whose admin listener has tokens, on TCP.
fn with_tokens() -> Admin {
    let bed = Bed::new();
    let tokens = "tokens: [{ name: reader, token_file: read.token, scopes: [read] }, { name: ci, token_file: reload.token, scopes: [reload] }]";
    for (name, token) in [("read.token", READ), ("reload.token", RELOAD)] {
        let path = bed.folder().join(name);
        fs::write(&path, token).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let bed = bed.section(&format!("admin: {{ address: \"{{admin}}\", {tokens} }}"));
    Admin { running: bed.start() }
}

impl Admin {
    fn ask(&self, method: &str, target: &str, token: Option<&str>) -> Response {
        let call = Call::new(&self.running.admin, method, target);
        match token {
            Some(token) => call.bearer(token).send(),
            None => call.send(),
        }
    }

    fn reload(&self, token: Option<&str>) -> Response {
        self.ask("POST", "/v1/reload", token)
    }
}

#[test]
fn who_may_ask_for_a_reload() {
    let bed = with_tokens();
    for (name, method, token, want) in [
        ("nobody", "POST", None, 401),
        ("a wrong token", "POST", Some("wrong-wrong-wrong-wrong"), 401),
        ("a token that may read", "POST", Some(READ), 403),
        ("its token", "POST", Some(RELOAD), 200),
        ("read", "GET", Some(RELOAD), 405),
        ("put", "PUT", Some(RELOAD), 405),
    ] {
        let answer = bed.ask(method, "/v1/reload", token);
        assert_eq!(answer.status, want, "{name}: {}", answer.text());
    }
    assert_eq!(bed.ask("GET", "/v1/reload", Some(RELOAD)).header("allow"), Some("POST"));
    assert_eq!(bed.ask("GET", "/v1/snapshot", Some(RELOAD)).status, 403, "the scope holds no other");
    let call = || Call::new(&bed.running.admin, "POST", "/v1/reload").bearer(RELOAD);
    assert_eq!(call().header("origin", "http://localhost").send().status, 403, "a page");
    assert_eq!(call().body("{}").send().status, 200);
    assert_eq!(call().body("{\"config\":\"other.yaml\"}").send().status, 400);

    let open = Bed::new().start();
    let ask = |bed: &Running| Call::new(&bed.admin, "POST", "/v1/reload").send().status;
    assert_eq!(ask(&open), 403, "over TCP without tokens nothing is changed");
    assert_eq!(ask(&Bed::new().start_on_sockets()), 200, "whoever may open the socket");
}

#[test]
fn a_reload_that_is_asked_for_answers_with_what_came_of_it() {
    let bed = with_tokens();
    let main = bed.running.folder().join("policies/main.yaml");
    let first = bed.ask("GET", "/v1/snapshot", Some(READ)).json();
    replace(&main, &with_route("new"));
    let answer = bed.reload(Some(RELOAD));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let shown = answer.json();
    assert_ne!(shown["snapshot"], first["snapshot"]);
    assert_eq!(shown["restart_needed"], json!([]));
    let second = bed.ask("GET", "/v1/snapshot", Some(READ)).json();
    for (key, value) in second.as_object().unwrap() {
        let is_moving = ["issuers"].contains(&&**key);
        assert!(is_moving || shown[key] == *value, "{key}: {} is not {value}", shown[key]);
    }
    assert_eq!(bed.running.get("/new").send().status, 200, "it serves when it is answered");

    replace(&main, &with_route("newer").replace("role:", "rol:").replace("access", "acess"));
    let answer = bed.reload(Some(RELOAD));
    assert_eq!(answer.outcome(), "422 config_refused", "{}", answer.text());
    let told = answer.json();
    let output = super::bed::crossgate()
        .args(["check", "--format", "json", "-c"])
        .arg(bed.running.folder().join("crossgate.yaml"))
        .output()
        .unwrap();
    let checked: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["problems"], checked["problems"], "the same as `check` says");
    assert_eq!((&told["ok"], &told["errors"]), (&json!(false), &checked["errors"]));
    assert_eq!(told["snapshot"], second["snapshot"], "what goes on");
    let again = bed.reload(Some(RELOAD));
    assert_eq!(again.status, 422, "it is asked again, and still so");
    assert_eq!(bed.running.get("/new").send().status, 200);
    assert_eq!(bed.running.get("/newer").send().outcome(), "403 no_route");
    assert_eq!(bed.ask("GET", "/v1/snapshot", Some(READ)).json()["snapshot"], second["snapshot"]);
}

/// A file that is deleted is taken as meant; whoever did not mean it must see what it guarded.
#[test]
fn routes_that_are_gone_are_told() {
    let bed = with_tokens();
    let policies = bed.running.folder().join("policies");
    let guarded = "routes:\n  - { id: vault, match: { path: /vault } }\n  - { id: lobby, match: { path: /lobby }, access: public }\n";
    replace(&policies.join("more.yaml"), guarded);
    let answer = bed.reload(Some(RELOAD)).json();
    assert_eq!(answer["routes_gone"]["count"], 0, "{answer}");
    fs::remove_file(policies.join("more.yaml")).unwrap();
    let answer = bed.reload(Some(RELOAD)).json();
    assert_eq!(answer["routes_gone"], json!({ "count": 2, "guarded": 1, "ids": ["vault", "lobby"] }), "{answer}");
    let log = until("the warning", || {
        Some(bed.running.process.stderr.text()).filter(|log| log.contains("routes are gone with this reload"))
    });
    assert!(log.contains("vault"), "{log}");
}

/// It asks for keys, too: a set that changed is known at once.
#[test]
fn a_reload_that_is_asked_for_fetches_the_key_sets() {
    let bed = with_tokens();
    let fetched = || {
        bed.running
            .metric(&format!("crossgate_jwks_refresh_total{{issuer=\"{}\",result=\"ok\"}}", super::issuer::ISSUER))
    };
    let before = until("the first key set", || Some(fetched()).filter(|count| *count > 0.0));
    let snapshot = bed.reload(Some(RELOAD)).json()["snapshot"].clone();
    until("the next", || (fetched() > before).then_some(()));
    assert_eq!(bed.reload(Some(RELOAD)).json()["snapshot"], snapshot, "the files say what they said");
}

#[test]
fn many_who_ask_at_once_are_all_answered() {
    let bed = with_tokens();
    let main = bed.running.folder().join("policies/main.yaml");
    replace(&main, &with_route("crowd"));
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..24).map(|_| scope.spawn(|| bed.reload(Some(RELOAD)))).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).map(|answer| answer.json()["snapshot"].clone()).collect()
    });
    assert!(answers.iter().all(|id| *id == answers[0]), "{answers:?}");
    assert_eq!(bed.running.get("/crowd").send().status, 200);
}

#[test]
fn the_trail_names_who_reloaded() {
    let bed = with_tokens();
    let main = bed.running.folder().join("policies/main.yaml");
    assert_eq!(bed.reload(Some(RELOAD)).status, 200);
    replace(&main, &with_route("by-file"));
    until("the files", || (bed.running.get("/by-file").send().status == 200).then_some(()));
    fs::write(&main, "routes: [").unwrap();
    bed.running.process.signal("HUP");
    until("the refusal", || bed.running.reasons().contains(&"stale_config".to_owned()).then_some(()));
    let folder = bed.running.folder().to_owned();
    let entries = until("the entries", || {
        let text = fs::read_to_string(folder.join("audit/audit.jsonl")).ok()?;
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let told: Vec<_> = lines
            .iter()
            .filter(|entry| entry["event"] == "config" && entry["actor"].is_object())
            .map(|entry| {
                format!("{} {} {}", entry["action"], entry["actor"]["method"], entry["actor"]["subject"])
                    .replace('"', "")
            })
            .collect();
        told.iter().any(|entry| entry.starts_with("config.refused")).then_some(told)
    });
    assert!(entries.contains(&"config.reload admin ci".to_owned()), "{entries:?}");
    assert!(entries.contains(&"config.reload file file".to_owned()), "{entries:?}");
    assert!(entries.iter().any(|entry| entry.starts_with("config.refused ")), "{entries:?}");
}

const SHOWN: &str = "telemetry: { access_log: stdout, log: info, policy_version_header: true }";

#[test]
fn answers_name_the_policy_that_decided_them() {
    let bed = Bed::new().section(SHOWN).start();
    bed.origin().answers(|_| {
        super::origin::Answer::text(200, "").with("x-crossgate-policy", "forged").with("X-Crossgate-Policy", "twice")
    });
    let id = bed.ask_admin("/v1/snapshot").json()["snapshot"].as_str().unwrap().to_owned();
    let shown = |answer: &Response| -> Vec<String> {
        let lines = answer.headers.iter().filter(|(name, _)| name == "x-crossgate-policy");
        lines.map(|(_, value)| value.clone()).collect()
    };
    for (name, call) in [
        ("proxied", bed.get("/public/x").header("x-crossgate-policy", "forged")),
        ("401", bed.get("/me")),
        ("403", bed.get("/nowhere")),
        ("status", bed.get("/auth/status")),
        ("bad path", bed.get("/public/%2e%2e/x")),
    ] {
        assert_eq!(shown(&call.send()), std::slice::from_ref(&id), "{name}");
    }
    assert!(bed.origin().last().values("x-crossgate-policy").is_empty(), "no client writes it");

    let off = Bed::new().start();
    off.origin().answers(|_| super::origin::Answer::text(200, "").with("x-crossgate-policy", "forged"));
    for target in ["/public/x", "/me"] {
        assert!(shown(&off.get(target).send()).is_empty(), "{target}: off by default, and nobody else's");
    }
}

/// However long it takes, a request is judged by the policy that it began with.
#[test]
fn a_slow_upload_is_decided_by_the_policy_that_it_began_with() {
    let policy = |id: &str, more: &str| {
        format!(
            "routes:\n  - {{ id: {id}, match: {{ method: [POST], path: /upload }}, access: public }}\n  - {{ id: public, match: {{ path: '/public/{{*rest}}' }}, access: public }}\n{more}"
        )
    };
    let bed = Bed::new().section(SHOWN).policy(&policy("before", "")).start();
    let id = || bed.ask_admin("/v1/snapshot").json()["snapshot"].as_str().unwrap().to_owned();
    let old = id();
    let mut wire = bed.connect();
    assert!(wire.write(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst"));
    until("the request under way", || (bed.origin().connections() > 0).then_some(()));
    let main = bed.folder().join("policies/main.yaml");
    replace(&main, &policy("after", ""));
    until("the new policy", || (id() != old).then_some(()));
    let other = bed.post("/upload").body("second").send();
    assert_eq!(other.header("x-crossgate-policy"), Some(&*id()));
    // Now nobody may come any more.
    replace(&main, &policy("after", "").replace("access: public", "access: protected"));
    until("the stricter policy", || (bed.post("/upload").body("third").send().status == 401).then_some(()));
    assert!(wire.write(b"-last"));
    let answer = wire.response("POST").expect("the answer");
    assert_eq!((answer.status, answer.header("x-crossgate-policy")), (200, Some(&*old)));
    let upload = bed.origin().all().into_iter().find(|request| request.body == b"first-last").unwrap();
    assert_eq!(upload.values("x-crossgate-route"), ["before"]);
    until("its access line", || {
        let lines = bed.access_lines(3);
        lines.iter().any(|line| line["snapshot"] == *old && line["route"] == "before").then_some(())
    });
}

/// A listener that moves in the list would show another one's certificate.
#[test]
fn a_listener_keeps_the_tls_of_its_address() {
    let authority = authority();
    let (own, other) = (signed(&authority, "a.example", false), signed(&authority, "a.example", false));
    let tls_of = |address: &str, name: &str| {
        format!("{{ address: \"{address}\", tls: {{ certificate: {name}.crt, key: {name}.key }} }}")
    };
    let bed = Bed::new().section(&format!(
        "listeners: [{}, {}]",
        tls_of("{gate}", "own"),
        tls_of("unix:other.sock", "other")
    ));
    tls::write(&bed, "own", &own);
    tls::write(&bed, "other", &other);
    let bed = bed.start();
    let before = bed.ask_admin("/v1/snapshot").json()["snapshot"].clone();
    let config = bed.folder().join("crossgate.yaml");
    let text = fs::read_to_string(&config).unwrap();
    let gate = bed.gate.to_string();
    let line = text.lines().find(|line| line.starts_with("listeners:")).unwrap();
    let turned = format!("listeners: [{}, {}]", tls_of("unix:other.sock", "other"), tls_of(&gate, "own"));
    replace(&config, &text.replace(line, &turned));
    until("the reload", || (bed.ask_admin("/v1/snapshot").json()["snapshot"] != before).then_some(()));
    assert_eq!(tls::shown(&bed, &authority), tls::der(&own));
    assert!(bed.reasons().contains(&"restart_needed".to_owned()));
}
