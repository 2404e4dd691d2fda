//! Where a legacy credential goes on that proves nobody: on login routes and in report mode. A sealed person's never does, in
//! no spelling in which an API could read it.

use super::super::bed::{Bed, Running};
use super::super::issuer::token;
use super::super::wire::Call;
use super::{legacy, linked, seen, two, user};

const RULES: &str = r#"
routes:
  - { id: login, match: { path: "/login/{*rest}" }, access: login }
  - { id: reported, match: { path: "/reported/{*rest}" }, require: { org: any }, mode: report }
"#;

const ROLLOUT: &str = "{ source: api, percent: 0, unit: user }";

const PLACES: [&str; 2] = ["/login/x", "/reported/x"];

fn bed() -> Bed {
    two(&(linked("1", "user_1") + &user("sealed", "user_sealed", "sealed")), ROLLOUT).policy(RULES)
}

/// What the API saw of Authorization and Cookie.
fn sent(call: &Call) -> (Vec<String>, Vec<String>) {
    let answer = call.send();
    assert_eq!(answer.outcome(), "200 ok");
    (seen(&answer, "authorization"), seen(&answer, "cookie"))
}

/// A token whose signature ends in bits that a lenient decoder drops, and the same token with them set.
fn with_stray_bits(token: &str) -> String {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = token.chars().next_back().unwrap();
    let at = LETTERS.find(last).unwrap();
    format!("{}{}", &token[..token.len() - 1], &LETTERS[at + 1..=at + 1])
}

/// Found by attack: `Bearer <token>=` is bad here and good to PyJWT.
#[test]
fn a_sealed_token_is_withheld_in_every_spelling() {
    let bed = bed().start();
    let sealed = legacy("sealed").sign();
    let (signed, signature) = sealed.rsplit_once('.').unwrap();
    let (first, rest) = signature.split_at(9);
    let everywhere = [
        ("as it is", sealed.clone()),
        ("padded", format!("{sealed}=")),
        ("padded twice", format!("{sealed}==")),
        ("padded without end", format!("{sealed}{}", "=".repeat(9000))),
        ("a byte between", format!("{signed}.{first}~{rest}")),
        ("stray bits", with_stray_bits(&sealed)),
        ("a dot behind", format!("{sealed}.")),
        ("a fourth part", format!("{sealed}.AA")),
        ("five parts", format!("{sealed}.AA.AA")),
    ];
    for target in PLACES {
        for (name, token) in &everywhere {
            assert!(sent(&bed.get(target).bearer(token)).0.is_empty(), "{target}: {name}");
        }
        for (name, value) in everywhere.iter().map(|(name, token)| (*name, token.clone())).chain([
            ("quoted", format!("\"{sealed}=\"")),
            ("half quoted", format!("'{sealed}")),
            ("blank behind", format!("{sealed} x")),
            ("an escape", format!("{signed}.{first}%{rest}")),
            ("an escape behind", format!("{sealed}%3D")),
        ]) {
            let jar = format!("a=1; session={value}");
            assert_eq!(sent(&bed.get(target).cookie(&jar)).1, ["a=1"], "{target}: {name}");
        }
    }
    // The standard alphabet, of a token that has letters of it.
    let mut tokens = (0..).map(|jti| legacy("sealed").claim("jti", jti.into()).sign());
    let odd = tokens.find(|token| token.rsplit('.').next().unwrap().contains(['-', '_'])).unwrap();
    let (signed, signature) = odd.rsplit_once('.').unwrap();
    let standard = format!("{signed}.{}", signature.replace('-', "+").replace('_', "/"));
    for target in PLACES {
        assert!(sent(&bed.get(target).bearer(&standard)).0.is_empty(), "{target}");
        assert_eq!(sent(&bed.get(target).cookie(&format!("a=1; session={standard}"))).1, ["a=1"], "{target}");
    }
}

/// In report mode, too, each by itself.
#[test]
fn a_bad_credential_hides_no_sealed_one() {
    let bed = bed().start();
    let (sealed, bad) = (legacy("sealed").sign(), legacy("1").expired().sign());
    let jar = |token: &str| format!("a=1; session={token}");
    let line = |token: &str| vec![format!("Bearer {token}")];
    for target in PLACES {
        let (authorization, cookie) = sent(&bed.get(target).bearer(&bad).cookie(&jar(&sealed)));
        assert_eq!((authorization, cookie), (line(&bad), vec!["a=1".to_owned()]), "{target}");
        let (authorization, _) = sent(&bed.get(target).bearer(&sealed).cookie(&jar(&bad)));
        assert!(authorization.is_empty(), "{target}");
    }
}

#[test]
fn what_the_api_judges_by_itself_goes_on_as_it_came() {
    let bed = bed().start();
    let passes = [
        legacy("1").expired().sign(),
        legacy("1").sign_with(b"another secret of enough bytes, as they say"),
        legacy("7").claim("exp", 1.into()).sign(),
    ];
    for target in PLACES {
        for token in &passes {
            assert_eq!(sent(&bed.get(target).bearer(token)).0, [format!("Bearer {token}")], "{target}");
            let jar = format!("a=1; session={token}");
            assert_eq!(sent(&bed.get(target).cookie(&jar)).1, std::slice::from_ref(&jar), "{target}");
        }
    }
    assert_eq!(sent(&bed.get("/login/x").bearer("rt_0123+/==")).0, ["Bearer rt_0123+/=="], "an opaque one");
}

/// With a header of its own, and where nobody else signs in.
#[test]
fn in_a_header_of_its_own() {
    let own = r#"legacy:
  credential: { header: x-legacy-token }
  verify: { jwt: { algorithms: [HS256], secret_file: legacy.secret, issuer: "https://login.example.com" } }"#;
    let bed = bed().section(own).start();
    let (sealed, bad) = (legacy("sealed").sign(), legacy("1").expired().sign());
    let got = |bed: &Running, target: &str, value: &str| {
        seen(&bed.get(target).header("x-legacy-token", value).send(), "x-legacy-token")
    };
    for target in PLACES {
        assert_eq!(got(&bed, target, &bad), std::slice::from_ref(&bad), "{target}");
        for value in [&*sealed, &format!("{sealed}="), &format!("\"{sealed}\""), &format!("{sealed} x")] {
            assert!(got(&bed, target, value).is_empty(), "{target}: {value}");
        }
        assert_eq!(bed.get(target).bearer(&token("user_1").sign()).send().outcome(), "200 ok");
    }
}

/// What crossgate is told to leave to the API, it leaves.
#[test]
fn passthrough_judges_no_spelling() {
    let bed = bed().section("legacy: { verify: { passthrough: {} } }").start();
    let padded = format!("{}=", legacy("1").sign());
    assert_eq!(sent(&bed.get("/login/x").bearer(&padded)).0, [format!("Bearer {padded}")]);
}

/// What a server or the API alone judges has whatever form it likes: a refresh with it must reach the API's own login.
#[test]
fn what_a_server_judges_goes_on_in_any_form() {
    for verify in [
        "introspection: { url: http://127.0.0.1:1/introspect, client_id: gate, client_secret_file: client.secret }",
        "passthrough: {}",
    ] {
        let bed = Bed::new().policy(RULES);
        let bed = bed.section(&format!(
            "legacy:\n  credential: {{ header: authorization, scheme: Bearer, cookie: session }}\n  verify: {{ {verify} }}"
        ));
        std::fs::write(bed.folder().join("client.secret"), "gate-secret-of-some-length\n").unwrap();
        let bed = bed.start();
        let token = legacy("1").sign();
        for form in [format!("{token}="), format!("{token}.node1"), format!("{token}~x~")] {
            let call = bed.get("/login/x").bearer(&form).cookie(&format!("session={form}"));
            assert_eq!(call.send().outcome(), "200 ok");
            let asked = bed.origin().last();
            assert_eq!(asked.values("authorization"), [format!("Bearer {form}")], "{verify}");
            assert_eq!(asked.values("cookie"), [format!("session={form}")], "{verify}");
        }
    }
}
