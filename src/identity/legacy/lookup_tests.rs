use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::{
    Carriers, Claims, Client, ClientCredentials, ForwardSpec, HeaderCarrier, Incoming, IntrospectionSpec,
    LegacyVerifier, NamedHeaders, Outgoing, Pause, Question, Secret, Spec, Verdict, Verify,
};
use super::{Answers, Exchange, ExchangeProblem};
use crate::clock::Now;
use crate::identity::HeaderNames;
use crate::identity::Linking;
use crate::identity::clerk::testing::{Bench, NOW_S, now};
use crate::identity::clerk::{Attempt, Instances};
use crate::request::credential::Credentials;

fn introspection(url: &str, cache: Duration) -> Verify {
    let client = ClientCredentials { id: "cross:gate".into(), secret: Secret::from_file("c".into(), b"p w").unwrap() };
    Verify::Introspection(IntrospectionSpec { url: url.into(), client: Some(client), cache, claims: Claims::default() })
}

fn forward(url: &str) -> Verify {
    let cache = Duration::from_secs(5);
    Verify::ForwardAuth(ForwardSpec { url: url.into(), headers: NamedHeaders::default(), cache })
}

fn verifier(verify: Verify, network: Arc<dyn Exchange>) -> LegacyVerifier {
    verifier_at(verify, network, now)
}

fn verifier_at(verify: Verify, network: Arc<dyn Exchange>, clock: fn() -> Now) -> LegacyVerifier {
    let carriers = Carriers { header: Some(HeaderCarrier::Bearer), cookie: Some("session".into()) };
    LegacyVerifier::with(Spec { carriers, verify }, HeaderNames::default(), &Arc::default(), None, network, clock)
}

fn bench() -> Bench {
    Bench { instances: Instances::default(), ..Bench::usual() }
}

fn credentials(lines: &[(&'static str, &str)]) -> Credentials {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    Credentials::read(&headers).unwrap()
}

/// As the gate does it: asks, awaits, asks again.
async fn ask(legacy: &LegacyVerifier, lines: &[(&'static str, &str)], now: Now) -> (String, usize) {
    let (bench, credentials) = (bench(), credentials(lines));
    let question = |answers| Question { credentials: &credentials, clerk: bench.verifier(), foreign: &(), answers };
    let none = Answers::default();
    match legacy.verify(&question(&none), now, Attempt::First) {
        Ok(judged) => (word(&judged.verdict), 0),
        Err(Pause::NeedLookup(lookups)) => {
            let asked = lookups.len();
            let answers = Answers::fetch(lookups).await;
            (word(&legacy.verify(&question(&answers), now, Attempt::Last).unwrap().verdict), asked)
        }
        Err(pause) => panic!("{pause:?}"),
    }
}

async fn bearer(legacy: &LegacyVerifier, token: &str) -> String {
    ask(legacy, &[("authorization", &format!("Bearer {token}"))], now()).await.0
}

fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Valid { identity, .. } => format!("valid {}", identity.facts.subject),
        Verdict::Invalid { reason, .. } => reason.as_str().to_owned(),
        other => other.name().to_owned(),
    }
}

/// Says for each question what this function says, and counts.
struct Told<F>(F, AtomicUsize);

impl<F> std::fmt::Debug for Told<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

#[async_trait]
impl<F: Fn(&Outgoing) -> Result<Incoming, ExchangeProblem> + Send + Sync> Exchange for Told<F> {
    async fn exchange(&self, question: Outgoing) -> Result<Incoming, ExchangeProblem> {
        self.1.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        (self.0)(&question)
    }
}

fn told<F: Fn(&Outgoing) -> Result<Incoming, ExchangeProblem> + Send + Sync + 'static>(answer: F) -> Arc<Told<F>> {
    Arc::new(Told(answer, AtomicUsize::new(0)))
}

fn answer(status: u16, body: &str) -> Result<Incoming, ExchangeProblem> {
    Ok(Incoming { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() })
}

#[tokio::test]
async fn what_an_introspection_server_may_say() {
    let active = |more: &str| format!(r#"{{"active":true,"sub":"ann"{more}}}"#);
    let table = [
        ("active", 200, active(""), "valid ann"),
        ("active until", 200, active(&format!(r#","exp":{}"#, NOW_S + 60)), "valid ann"),
        ("active, but over", 200, active(&format!(r#","exp":{}"#, NOW_S - 60)), "legacy-expired"),
        ("active, but not yet", 200, active(&format!(r#","nbf":{}"#, NOW_S + 60)), "legacy-not-active-yet"),
        ("inactive", 200, r#"{"active":false}"#.to_owned(), "legacy-inactive"),
        ("text", 200, r#"{"active":"true","sub":"ann"}"#.to_owned(), "unverifiable"),
        ("number", 200, r#"{"active":1,"sub":"ann"}"#.to_owned(), "unverifiable"),
        ("neither", 200, r#"{"sub":"ann"}"#.to_owned(), "unverifiable"),
        ("twice", 200, r#"{"active":false,"active":true,"sub":"ann"}"#.to_owned(), "unverifiable"),
        ("list", 200, r#"[true]"#.to_owned(), "unverifiable"),
        ("HTML", 200, "<html>".to_owned(), "unverifiable"),
        ("nothing", 200, String::new(), "unverifiable"),
        ("exp is text", 200, active(r#","exp":"1""#), "unverifiable"),
        ("nobody", 200, r#"{"active":true}"#.to_owned(), "unverifiable"),
        ("somebody odd", 200, r#"{"active":true,"sub":["ann"]}"#.to_owned(), "unverifiable"),
        ("CRLF", 200, r#"{"active":true,"sub":"a\r\nb"}"#.to_owned(), "unverifiable"),
        ("201", 201, active(""), "unverifiable"),
        ("204", 204, String::new(), "unverifiable"),
        ("302", 302, active(""), "unverifiable"),
        ("400", 400, active(""), "unverifiable"),
        ("401", 401, active(""), "unverifiable"),
        ("403", 403, active(""), "unverifiable"),
        ("404", 404, active(""), "unverifiable"),
        ("500", 500, active(""), "unverifiable"),
        ("503", 503, active(""), "unverifiable"),
    ];
    for (name, status, body, expected) in table {
        let network = told(move |_| answer(status, &body));
        let legacy = verifier(introspection("http://a/", Duration::from_secs(30)), network.clone());
        assert_eq!(bearer(&legacy, "abc").await, expected, "{name}");
        // What was told is remembered; what could not be told is asked again.
        assert_eq!(bearer(&legacy, "abc").await, expected, "{name}");
        let asked = if expected == "unverifiable" { 2 } else { 1 };
        assert_eq!(network.1.load(Ordering::SeqCst), asked, "{name}");
        assert_eq!(legacy.ask_stats(now()).unwrap().failed, if expected == "unverifiable" { 2 } else { 0 }, "{name}");
    }
}

#[tokio::test]
async fn what_is_sent() {
    let seen: Arc<Mutex<Vec<Outgoing>>> = Arc::default();
    let record = Arc::clone(&seen);
    let network = told(move |question: &Outgoing| {
        record.lock().unwrap().push(question.clone());
        answer(401, "")
    });
    let asked = introspection("http://a/introspect", Duration::ZERO);
    let lines = [("authorization", "Bearer a+b/c=="), ("cookie", "other=x; session=s1; x=y"), ("x-other", "z")];
    ask(&verifier(asked, network.clone()), &lines, now()).await;
    ask(&verifier(forward("http://a/session"), network), &lines, now()).await;
    let mut sent: Vec<String> = seen.lock().unwrap().iter().map(shown).collect();
    sent.sort();
    assert_eq!(
        sent,
        [
            "GET http://a/session authorization: Bearer a+b/c== ",
            "GET http://a/session cookie: session=s1 ",
            "POST http://a/introspect authorization: Basic Y3Jvc3MlM0FnYXRlOnArdw== token=a%2Bb%2Fc%3D%3D",
            "POST http://a/introspect authorization: Basic Y3Jvc3MlM0FnYXRlOnArdw== token=s1",
        ]
    );
}

fn shown(question: &Outgoing) -> String {
    let Outgoing { method, url, headers, body } = question;
    let lines = headers.iter().filter(|(name, _)| !["accept", "content-type"].contains(&name.as_str()));
    let lines: Vec<_> = lines.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    format!("{method} {url} {} {}", lines.join("; "), body.as_deref().unwrap_or_default())
}

type Lines = &'static [(&'static str, &'static str)];

#[tokio::test]
async fn what_a_forward_auth_server_may_say() {
    let table: [(&str, u16, Lines, &str); 13] = [
        ("200", 200, &[("x-user-id", "ann")], "valid ann"),
        ("204", 204, &[("x-user-id", "ann"), ("x-roles", "a, b")], "valid ann"),
        ("401", 401, &[("x-user-id", "ann")], "legacy-refused"),
        ("403", 403, &[], "legacy-refused"),
        ("302", 302, &[("x-user-id", "ann")], "unverifiable"),
        ("400", 400, &[("x-user-id", "ann")], "unverifiable"),
        ("404", 404, &[("x-user-id", "ann")], "unverifiable"),
        ("500", 500, &[("x-user-id", "ann")], "unverifiable"),
        ("nobody", 200, &[], "unverifiable"),
        ("empty", 200, &[("x-user-id", "  ")], "unverifiable"),
        ("twice", 200, &[("x-user-id", "ann"), ("x-user-id", "bob")], "unverifiable"),
        ("roles twice", 200, &[("x-user-id", "ann"), ("x-roles", "a"), ("x-roles", "b")], "unverifiable"),
        (
            "long",
            200,
            &[(
                "x-user-id",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            )],
            "unverifiable",
        ),
    ];
    for (name, status, lines, expected) in table {
        let headers: HeaderMap = {
            let mut map = HeaderMap::new();
            for (name, value) in lines {
                map.append(*name, value.parse().unwrap());
            }
            map
        };
        let network = told(move |_| Ok(Incoming { status, headers: headers.clone(), body: Vec::new() }));
        let legacy = verifier(forward("http://a/"), network);
        assert_eq!(bearer(&legacy, "abc").await, expected, "{name}");
    }
}

#[tokio::test]
async fn what_is_remembered_ends() {
    let network = told(move |question: &Outgoing| match question.body.as_deref() {
        Some("token=good") => answer(200, &json!({"active": true, "sub": "ann"}).to_string()),
        Some("token=short") => answer(200, &json!({"active": true, "sub": "ann", "exp": NOW_S + 2}).to_string()),
        _ => answer(200, r#"{"active":false}"#),
    });
    let legacy = verifier(introspection("http://a/", Duration::from_secs(30)), network);
    let at = |token: &'static str, after: u64| {
        let legacy = &legacy;
        async move {
            let line = format!("Bearer {token}");
            ask(legacy, &[("authorization", &line)], now().plus(Duration::from_secs(after))).await
        }
    };
    let valid = |asked| ("valid ann".to_owned(), asked);
    let bad = |asked| ("legacy-inactive".to_owned(), asked);
    assert_eq!(at("good", 0).await, valid(1));
    assert_eq!(at("good", 29).await, valid(0));
    assert_eq!(at("good", 30).await, valid(1));
    assert_eq!(at("short", 0).await, valid(1));
    assert_eq!(at("short", 6).await, valid(0), "within the leeway");
    assert_eq!(at("short", 7).await.1, 1, "its own end comes first");
    assert_eq!(at("bad", 0).await, bad(1));
    assert_eq!(at("bad", 4).await, bad(0));
    assert_eq!(at("bad", 5).await, bad(1));
}

#[tokio::test]
async fn nothing_is_remembered_with_a_cache_of_zero() {
    let network = told(|_| answer(200, r#"{"active":true,"sub":"ann"}"#));
    let legacy = verifier(introspection("http://a/", Duration::ZERO), network.clone());
    for asked in 1..=3 {
        assert_eq!(bearer(&legacy, "abc").await, "valid ann");
        assert_eq!(network.1.load(Ordering::SeqCst), asked);
    }
}

#[tokio::test]
async fn header_and_cookie_are_asked_together() {
    let network = told(|question: &Outgoing| {
        let user = question.body.as_deref().unwrap_or_default().trim_start_matches("token=").to_owned();
        answer(200, &json!({"active": true, "sub": &user[..1]}).to_string())
    });
    let legacy = verifier(introspection("http://a/", Duration::from_secs(30)), network);
    let asked = |header: &'static str, cookie: &'static str| ask_two(&legacy, header, cookie);
    assert_eq!(asked("a1", "a2").await, ("valid a".to_owned(), 2));
    assert_eq!(asked("a1", "b1").await, ("conflict".to_owned(), 1));
    assert_eq!(asked("a1", "b1").await, ("conflict".to_owned(), 0));
}

async fn ask_two(legacy: &LegacyVerifier, header: &str, cookie: &str) -> (String, usize) {
    let (line, cookie) = (format!("Bearer {header}"), format!("session={cookie}"));
    ask(legacy, &[("authorization", &line), ("cookie", &cookie)], now()).await
}

#[tokio::test]
async fn a_suspect_is_asked_about_nothing() {
    let network = told(|_| answer(200, r#"{"active":true,"sub":"ann"}"#));
    let legacy = verifier(introspection("http://a/", Duration::from_secs(30)), network);
    let (bench, credentials) = (bench(), credentials(&[("authorization", "Bearer abc")]));
    let question =
        Question { credentials: &credentials, clerk: bench.verifier(), foreign: &(), answers: &Answers::default() };
    assert!(matches!(legacy.verify(&question, now(), Attempt::KnownOnly), Err(Pause::Unchecked)));
    assert_eq!(bearer(&legacy, "abc").await, "valid ann");
    assert!(legacy.verify(&question, now(), Attempt::KnownOnly).is_ok(), "known by now");
    let later = now().plus(Duration::from_secs(31));
    let asked = match legacy.verify(&question, later, Attempt::KnownOnly) {
        Err(Pause::NeedLookup(asked)) => asked,
        other => panic!("{other:?}"),
    };
    assert!(asked.iter().all(super::Lookup::was_good), "nobody's invention, so it is asked about");
    let answers = Answers::fetch(asked).await;
    assert_eq!(answers.refused(), 0);
    let question = Question { answers: &answers, ..question };
    assert!(legacy.verify(&question, later, Attempt::Last).is_ok(), "and the asking comes to an end");
}

/// Traefik CVE-2026-71326: tokens with equal beginnings, each in flight together with all others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_people_at_once_never_cross() {
    let network = told(|question: &Outgoing| {
        let token = question.body.as_deref().and_then(|body| body.rsplit_once('.')).map(|(_, token)| token);
        answer(200, &json!({"active": true, "sub": token}).to_string())
    });
    let legacy = Arc::new(verifier(introspection("http://a/", Duration::from_secs(30)), network.clone()));
    let prefix = "eyJhbGciOiJSUzI1NiJ9.".repeat(20);
    let mut people = tokio::task::JoinSet::new();
    // Each asks twice at once, so that flights are shared.
    for number in 0..20_000 {
        let (legacy, prefix) = (Arc::clone(&legacy), prefix.clone());
        people.spawn(async move {
            let number = number / 2;
            (number, bearer(&legacy, &format!("{prefix}.{number}")).await)
        });
    }
    let mut valid = 0;
    while let Some(person) = people.join_next().await {
        let (number, word) = person.unwrap();
        // Too many at once may be told that nothing can be told, never who somebody else is.
        assert!(word == format!("valid {number}") || word == "unverifiable", "{number} is {word}");
        valid += usize::from(word != "unverifiable");
    }
    assert!(valid > 10_000, "{valid} of 20000");
    assert!(network.1.load(Ordering::SeqCst) <= 10_000, "one flight each");
}

#[tokio::test]
async fn one_flight_for_many_who_ask_the_same() {
    let network = told(|_| answer(200, r#"{"active":true,"sub":"ann"}"#));
    let legacy = Arc::new(verifier(introspection("http://a/", Duration::ZERO), network.clone()));
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let legacy = Arc::clone(&legacy);
        all.spawn(async move { bearer(&legacy, "abc").await });
    }
    while let Some(word) = all.join_next().await {
        assert_eq!(word.unwrap(), "valid ann");
    }
    assert_eq!(network.1.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_nobodys_answer_along() {
    let network = told(|_| answer(200, r#"{"active":true,"sub":"ann"}"#));
    let legacy = verifier(introspection("http://a/", Duration::ZERO), network.clone());
    let (bench, credentials) = (bench(), credentials(&[("authorization", "Bearer abc")]));
    let question =
        Question { credentials: &credentials, clerk: bench.verifier(), foreign: &(), answers: &Answers::default() };
    let pause = || legacy.verify(&question, now(), Attempt::First).unwrap_err();
    let (Pause::NeedLookup(one), Pause::NeedLookup(other)) = (pause(), pause()) else { panic!("lookups") };
    let mut gone = Box::pin(Answers::fetch(one));
    assert!(futures_poll(&mut gone).await.is_none());
    drop(gone);
    let answers = Answers::fetch(other).await;
    let question = Question { answers: &answers, ..question };
    assert_eq!(word(&legacy.verify(&question, now(), Attempt::Last).unwrap().verdict), "valid ann");
    assert_eq!(network.1.load(Ordering::SeqCst), 1);
}

/// Polls once.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| match std::pin::Pin::new(&mut *future).poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn the_breaker_opens_for_silence_only() {
    for (name, problem, opens) in [
        ("timeout", Err(ExchangeProblem::Timeout), true),
        ("network", Err(ExchangeProblem::Network("refused".to_owned())), true),
        ("503", answer(503, ""), true),
        ("500", answer(500, ""), false),
        ("400", answer(400, ""), false),
        ("a flood", Err(ExchangeProblem::TooLarge), false),
        ("not JSON", answer(200, "<html>"), false),
    ] {
        let network = told(move |_| problem.clone());
        let legacy = verifier(introspection("http://a/", Duration::from_secs(30)), network.clone());
        for number in 0..20 {
            assert_eq!(bearer(&legacy, &format!("t{number}")).await, "unverifiable", "{name}");
        }
        let asked = network.1.load(Ordering::SeqCst);
        // Five, the probe, and what is under way with it.
        assert!(if opens { asked < 10 } else { asked == 20 }, "{name}: {asked}");
        assert_eq!(legacy.ask_stats(now()).unwrap().broken, opens, "{name}");
    }
}

#[tokio::test]
async fn a_flood_of_bad_credentials_drives_out_no_good_one() {
    let network = told(|question: &Outgoing| {
        let is_good = question.body.as_deref() == Some("token=good");
        answer(200, if is_good { r#"{"active":true,"sub":"ann"}"# } else { r#"{"active":false}"# })
    });
    let legacy = verifier(introspection("http://a/", Duration::from_secs(30)), network);
    assert_eq!(bearer(&legacy, "good").await, "valid ann");
    for number in 0..12_000 {
        assert_eq!(bearer(&legacy, &format!("bad{number}")).await, "legacy-inactive");
    }
    let super::super::Kind::Asked(lookups) = &legacy.kind else { panic!("asked") };
    let (good, bad) = lookups.in_header.len();
    // Each shard of the cache has its share of the bound, rounded up.
    assert!(good == 1 && bad < 11_000, "{good} good, {bad} bad");
    assert_eq!(ask(&legacy, &[("authorization", "Bearer good")], now()).await, ("valid ann".to_owned(), 0));
}

/// A server that answers each connection with these bytes, and then drips or hangs.
async fn serve(bytes: Vec<u8>, hangs: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(&bytes).await;
                while hangs && stream.write_all(b"").await.is_ok() {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                }
            });
        }
    });
    format!("http://{address}/introspect")
}

#[tokio::test]
async fn a_real_server() {
    let body = |status: &str, more: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{more}\r\n{body}", body.len()).into_bytes()
    };
    let good = r#"{"active":true,"sub":"ann"}"#;
    let mut flood = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..300 {
        flood.extend_from_slice(format!("400\r\n{}\r\n", " ".repeat(1024)).as_bytes());
    }
    let elsewhere = serve(body("200 OK", "", good), false).await;
    let table = [
        ("good", body("200 OK", "content-type: application/json\r\n", good), "valid ann"),
        (
            "a redirect is not followed",
            body("307 Temporary", &format!("location: {elsewhere}\r\n"), good),
            "unverifiable",
        ),
        ("a redirect to GET neither", body("302 Found", &format!("location: {elsewhere}\r\n"), ""), "unverifiable"),
        ("a flood", flood, "unverifiable"),
        ("no HTTP", b"hello\r\n\r\n".to_vec(), "unverifiable"),
        ("cut short", body("200 OK", "", good)[..60].to_vec(), "unverifiable"),
    ];
    for (name, bytes, expected) in table {
        let url = serve(bytes, false).await;
        let legacy = verifier(introspection(&url, Duration::from_secs(30)), Arc::new(Client::default()));
        assert_eq!(bearer(&legacy, "abc").await, expected, "{name}");
    }
    let legacy = verifier(introspection("http://127.0.0.1:1/", Duration::from_secs(30)), Arc::new(Client::default()));
    assert_eq!(bearer(&legacy, "abc").await, "unverifiable", "nobody there");
}

/// The paused clock jumps over the two seconds.
#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_given_up() {
    for bytes in [b"".to_vec(), b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec()] {
        let url = serve(bytes, true).await;
        let legacy = verifier(introspection(&url, Duration::from_secs(30)), Arc::new(Client::default()));
        let started = tokio::time::Instant::now();
        assert_eq!(bearer(&legacy, "abc").await, "unverifiable");
        assert!(started.elapsed() <= Duration::from_millis(2100), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_reload_that_changes_nothing_forgets_nothing() {
    let network = told(|_| answer(200, r#"{"active":true,"sub":"ann"}"#));
    let legacy = verifier(introspection("http://a/", Duration::from_secs(30)), network.clone());
    assert_eq!(bearer(&legacy, "abc").await, "valid ann");
    let again = |url: &str| {
        let spec = Spec { verify: introspection(url, Duration::from_secs(30)), ..legacy.spec.clone() };
        LegacyVerifier::with(spec, HeaderNames::default(), &Arc::default(), Some(&legacy), network.clone(), now)
    };
    let (same, other) = (again("http://a/"), again("http://b/"));
    assert_eq!(ask(&same, &[("authorization", "Bearer abc")], now()).await.1, 0);
    assert_eq!(ask(&other, &[("authorization", "Bearer abc")], now()).await.1, 1);
}

#[tokio::test]
async fn a_person_of_an_old_map_is_not_remembered() {
    let network = told(|_| answer(200, r#"{"active":true,"sub":"ann"}"#));
    let legacy = verifier(introspection("http://a/", Duration::from_secs(30)), network.clone());
    assert_eq!(bearer(&legacy, "abc").await, "valid ann");
    let line = br#"{"kind":"user","legacy":"ann","clerk":"user_ann","state":"linked"}"#;
    let map = crate::identity::map::read(&line[..]).unwrap().map;
    let linking = Arc::new(Linking { map: Some(Arc::new(map)), ..Linking::default() });
    let with_map = |previous: &LegacyVerifier| {
        let spec = previous.spec.clone();
        LegacyVerifier::with(spec, HeaderNames::default(), &linking, Some(previous), network.clone(), now)
    };
    let later = with_map(&legacy);
    let lines = [("authorization", "Bearer abc")];
    assert_eq!(ask(&later, &lines, now()).await, ("valid user_ann".to_owned(), 1));
    assert_eq!(ask(&with_map(&later), &lines, now()).await, ("valid user_ann".to_owned(), 0));
}

/// Answers well, and slowly.
#[derive(Debug)]
struct Slow;

#[async_trait::async_trait]
impl Exchange for Slow {
    async fn exchange(&self, _: Outgoing) -> Result<Incoming, ExchangeProblem> {
        tokio::time::sleep(Duration::from_millis(1900)).await;
        answer(200, r#"{"active":true,"sub":"ann"}"#)
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_row_of_questions_is_no_silence_of_the_server() {
    let legacy = Arc::new(verifier(introspection("http://a/", Duration::from_secs(30)), Arc::new(Slow)));
    let mut people = tokio::task::JoinSet::new();
    for number in 0..300 {
        let legacy = Arc::clone(&legacy);
        people.spawn(async move { bearer(&legacy, &format!("token-{number}")).await });
    }
    let words = people.join_all().await;
    assert!(words.iter().any(|word| word == "unverifiable"), "the row was too long for some");
    assert!(words.iter().any(|word| word == "valid ann"));
    assert!(!legacy.ask_stats(now()).unwrap().broken);
}

/// Moves with the paused clock.
fn ticking() -> Now {
    Now { mono: tokio::time::Instant::now().into_std(), ..now() }
}

async fn bearer_at_once(legacy: &LegacyVerifier, token: &str) -> String {
    ask(legacy, &[("authorization", &format!("Bearer {token}"))], ticking()).await.0
}

fn asked_about(question: &Outgoing) -> String {
    question.body.as_deref().and_then(|body| body.strip_prefix("token=")).unwrap_or_default().to_owned()
}

/// A server that hangs, or whose gateway gives up, over credentials that begin so; what it is asked about.
#[derive(Debug, Default)]
struct Choking {
    is_down: std::sync::atomic::AtomicBool,
    asked: Mutex<Vec<String>>,
}

impl Choking {
    fn is_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    fn asked_since(&self, before: usize) -> Vec<String> {
        self.asked.lock().unwrap()[before..].to_vec()
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

#[async_trait::async_trait]
impl Exchange for Choking {
    async fn exchange(&self, question: Outgoing) -> Result<Incoming, ExchangeProblem> {
        let token = asked_about(&question);
        self.asked.lock().unwrap().push(token.clone());
        if self.is_down.load(Ordering::SeqCst) || token.starts_with("slow") {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        match token {
            token if token.starts_with("gone") => answer(504, ""),
            token if token.starts_with("crossgate-probe-") => answer(200, r#"{"active":false}"#),
            _ => answer(200, r#"{"active":true,"sub":"ann"}"#),
        }
    }
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_stranger_whose_credentials_choke_the_server_shuts_nobody_out() {
    for (kind, strangers) in [("slow", 6), ("slow", 50), ("gone", 6)] {
        let network = Arc::new(Choking::default());
        let verify = introspection("http://a/", Duration::from_secs(30));
        let legacy = Arc::new(verifier_at(verify, network.clone(), ticking));
        let mut attack = tokio::task::JoinSet::new();
        for stranger in 0..strangers {
            let legacy = Arc::clone(&legacy);
            attack.spawn(async move {
                for number in 0.. {
                    assert_eq!(bearer_at_once(&legacy, &format!("{kind}-{stranger}-{number}")).await, "unverifiable");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
        for number in 0..4 {
            // Nobody else came for long: no good answer speaks for the server.
            seconds(20).await;
            assert!(!legacy.ask_stats(ticking()).unwrap().broken, "{kind} {strangers}");
            assert_eq!(bearer_at_once(&legacy, &format!("quiet-{number}")).await, "valid ann", "{kind} {strangers}");
        }
        for number in 0..100 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(bearer_at_once(&legacy, &format!("good-{number}")).await, "valid ann", "{kind} {strangers}");
        }
        let asked = network.asked_since(0);
        let probes = asked.iter().filter(|token| token.starts_with("crossgate-probe-")).count();
        assert!((1..40).contains(&probes), "{kind} {strangers}: {probes} probes in 90 seconds");
        attack.abort_all();
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_asked_little_and_found_again_by_itself() {
    let network = Arc::new(Choking::default());
    let verify = introspection("http://a/", Duration::from_secs(30));
    let legacy = Arc::new(verifier_at(verify, network.clone(), ticking));
    assert_eq!(bearer_at_once(&legacy, "known").await, "valid ann");
    seconds(40).await;
    network.is_down(true);
    let mut number = 0;
    while !legacy.ask_stats(ticking()).unwrap().broken {
        number += 1;
        assert!(number < 10, "it never opens");
        assert_eq!(bearer_at_once(&legacy, &format!("new-{number}")).await, "unverifiable");
    }
    let before = network.count();
    let mut people = tokio::task::JoinSet::new();
    for number in 0..300 {
        let legacy = Arc::clone(&legacy);
        people.spawn(async move { bearer_at_once(&legacy, &format!("newer-{number}")).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(people.join_all().await.iter().all(|word| word == "unverifiable"));
    let asked = network.asked_since(before);
    assert!(asked.len() < 60, "{} questions in 30 seconds", asked.len());
    let before = network.count();
    assert_eq!(bearer_at_once(&legacy, "known").await, "unverifiable");
    assert!(network.asked_since(before).contains(&"known".to_owned()), "one that was good may always be the trial");
    network.is_down(false);
    assert_eq!(bearer_at_once(&legacy, "known").await, "valid ann");
    assert!(!legacy.ask_stats(ticking()).unwrap().broken, "which closes it");
    network.is_down(true);
    seconds(4).await;
    for number in 0..10 {
        assert_eq!(bearer_at_once(&legacy, &format!("newest-{number}")).await, "unverifiable");
    }
    assert!(legacy.ask_stats(ticking()).unwrap().broken);
    network.is_down(false);
    seconds(10).await;
    assert!(!legacy.ask_stats(ticking()).unwrap().broken, "nobody asked, and it is found again");
    assert_eq!(bearer_at_once(&legacy, "bob").await, "valid ann");
}

#[tokio::test(start_paused = true)]
async fn a_credential_without_an_answer_is_not_asked_about_again_at_once() {
    let network = Arc::new(Choking::default());
    let legacy = verifier_at(introspection("http://a/", Duration::ZERO), network.clone(), ticking);
    for _ in 0..20 {
        assert_eq!(bearer_at_once(&legacy, "slow").await, "unverifiable");
    }
    assert_eq!(network.asked_since(0), ["slow"]);
    seconds(2).await;
    assert_eq!(bearer_at_once(&legacy, "slow").await, "unverifiable");
    assert_eq!(network.asked_since(0), ["slow", "slow"]);
}

#[test]
fn alternating_answers_are_told_rarely() {
    let (mut state, mut now) = (super::State::default(), now());
    let problem = |number: u32| Some(format!("status {number}"));
    assert_eq!(state.take(None, now), None, "all is well");
    assert_eq!(state.take(problem(500), now), Some(problem(500)), "at once");
    let mut told = 0;
    for number in 0..2000 {
        now = now.plus(Duration::from_millis(25));
        told += usize::from(state.take(problem(500 + number % 7), now).is_some());
        told += usize::from(state.take(None, now).is_some());
    }
    assert!((3..=5).contains(&told), "{told} lines in 50 seconds");
    let mut news = Vec::new();
    for _ in 0..20 {
        now = now.plus(Duration::from_secs(1));
        news.extend(state.take(problem(503), now));
    }
    assert_eq!(news, [problem(503)], "what lasts is told, once");
}
