//! A runner token that travels elsewhere than in `Authorization: Bearer`: no API and no legacy server gets to see it.

use super::{RULES, ada, bed, exchange, legacy};
use crate::bed::{Bed, Running};
use crate::legacy_server::{Kind, LegacyServer};
use crate::wire::Call;

const BOTH: &str = "{ header: authorization, scheme: Bearer, cookie: session }";
const OWN: &str = "{ header: x-legacy-token, cookie: session }";

const CLERK_ONLY: &str = r#"
routes:
  - { id: login, match: { path: "/login/{*rest}" }, access: login }
  - { id: public, match: { path: "/public/{*rest}" }, access: public }
  - { id: me, match: { path: "/me/{*rest}" } }
  - id: reported
    match: { path: "/reported/{*rest}" }
    require: { token: [runner], scope: [executions:read] }
    mode: report
"#;

fn rules() -> String {
    format!("{RULES}  - {{ id: login, match: {{ path: \"/login/{{*rest}}\" }}, access: login }}\n")
}

fn side(credential: &str, verify: &str) -> String {
    format!("legacy: {{ credential: {credential}, verify: {{ {verify} }} }}")
}

/// Every way in which it may come, and what else the API gets then.
fn ways(bed: &Running, target: &str, runner: &str) -> Vec<(&'static str, Call)> {
    let cookie = |value: String| bed.get(target).cookie(&format!("a=1; {value}; b=2"));
    vec![
        ("the legacy cookie", cookie(format!("session={runner}"))),
        ("quoted", cookie(format!("session=\"{runner}\""))),
        ("half quoted", cookie(format!("session=\"{runner}"))),
        ("behind a word", cookie(format!("session=Bearer {runner}"))),
        ("escaped", cookie(format!("session={}", runner.replace('.', "%2e")))),
        ("a fourth part", cookie(format!("session={runner}.x"))),
        ("padded", cookie(format!("session={runner}="))),
        ("Clerk's cookie", cookie(format!("__client_uat=1; __session={runner}"))),
        ("any cookie", cookie(format!("foo={runner}"))),
        ("no name", cookie(runner.to_owned())),
        ("the legacy header", bed.get(target).header("x-legacy-token", runner)),
        ("the legacy header, quoted", bed.get(target).header("x-legacy-token", &format!("\"{runner}\""))),
        ("the legacy header, a word", bed.get(target).header("x-legacy-token", &format!("Bearer {runner}"))),
        ("another scheme", bed.get(target).header("authorization", &format!("Foo {runner}"))),
        ("two blanks", bed.get(target).header("authorization", &format!("Bearer  {runner}"))),
        ("a part before", bed.get(target).bearer(&format!("x.{runner}"))),
        ("padded bearer", bed.get(target).bearer(&format!("{runner}="))),
        ("both", bed.get(target).bearer(runner).cookie(&format!("session={runner}"))),
    ]
}

/// Nothing of the token reaches the API; other cookies do.
fn keeps(bed: &Running, credential: &str, runner: &str) {
    let mut reached = 0;
    for target in ["/login/x", "/reported/x", "/public/x", "/me/x"] {
        for (name, call) in ways(bed, target, runner) {
            if name.starts_with("the legacy header") && credential != OWN {
                // Any other header is the sender's own doing: docs/runner.md.
                continue;
            }
            let before = bed.origin().count();
            let answer = call.send();
            let passes = bed.origin().count() > before;
            assert_eq!(passes, answer.status == 200, "{target}: {name}: {}", answer.outcome());
            if !passes {
                assert_eq!(target, "/me/x", "{name}: {}", answer.outcome());
                continue;
            }
            reached += 1;
            let seen = bed.origin().last();
            let text = seen.text().replace("%2e", ".");
            let parts: Vec<&str> = runner.split('.').collect();
            assert!(!text.contains(parts[0]) && !text.contains(parts[2]), "{credential} {target}: {name}: {text}");
            if text.contains("cookie:") {
                assert_eq!(seen.values("cookie"), ["a=1; b=2"], "{target}: {name}");
            }
        }
    }
    assert!(reached > 30, "{reached}");
}

/// Found by attack: login and report routes passed it on as the legacy side's.
#[test]
fn no_api_sees_it() {
    for credential in [BOTH, OWN] {
        for verify in ["jwt: { secret_file: legacy.secret }", "passthrough: {}"] {
            let bed = bed().policy(&rules()).section(&side(credential, verify)).start();
            let runner = exchange(&bed, &ada(), "executions:read");
            keeps(&bed, credential, &runner);
        }
    }
    let runner = "runner: { enabled: true, scopes: [executions:read] }";
    let clerk_only = Bed::new().policy(CLERK_ONLY).section(runner).start();
    keeps(&clerk_only, BOTH, &exchange(&clerk_only, &ada(), ""));
}

/// Found by attack: the legacy server was asked about it, and could use it.
#[test]
fn no_legacy_server_is_asked_about_it() {
    for kind in [Kind::Introspection, Kind::ForwardAuth] {
        for credential in [BOTH, OWN] {
            let server = LegacyServer::start();
            let runner = "runner: { enabled: true, scopes: [executions:read, executions:write] }";
            let bed = server.bed_with(kind, credential).policy(&rules()).section(runner).start();
            let token = exchange(&bed, &ada(), "executions:read");
            let asked = server.asked();
            keeps(&bed, credential, &token);
            for target in ["/api/orgs/acme/executions", "/.crossgate/status", "/auth/status"] {
                for (_, call) in ways(&bed, target, &token) {
                    call.send();
                }
            }
            assert_eq!(server.asked(), asked, "{kind:?} {credential}");
        }
    }
}

/// The legacy side's own credential beside it is judged as if it had come alone.
#[test]
fn it_hides_no_credential() {
    let bed = bed().section(&side(OWN, "jwt: { secret_file: legacy.secret }")).start();
    let runner = exchange(&bed, &ada(), "executions:read");
    let old = legacy("43", 600);
    let jar = format!("session={runner}; session={old}");
    assert_eq!(bed.get("/me/x").header("x-legacy-token", &runner).cookie(&jar).send().outcome(), "200 ok");
    let seen = bed.origin().last();
    assert_eq!(seen.values("x-crossgate-legacy-user"), ["43"]);
    assert_eq!(seen.values("cookie"), [format!("session={old}")]);
    assert!(seen.values("x-legacy-token").is_empty());
}
