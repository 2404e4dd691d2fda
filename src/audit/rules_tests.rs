use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Version};

use super::{EventClass, Events, Labels, OnFailure, RouteRules, Rules};
use crate::policy::{Sources, Template};
use crate::request::{self, Head, Peer, Sanitized, View};
use crate::route::{Access, Definition, Mode, Pattern, Place, Routes, WebSocket};

fn definition(pattern: &str) -> Definition {
    Definition {
        id: "execution.start".into(),
        place: Place { file: "routes.yaml".into(), line: 1 },
        pattern: Pattern::parse(pattern).unwrap(),
        methods: Vec::new(),
        host: None,
        headers: Vec::new(),
        query: Vec::new(),
        access: Access::Privileged,
        mode: Mode::Enforce,
        timeout: None,
        websocket: WebSocket::default(),
        private: false,
        upstream: 0,
        names_upstream: false,
        exact_paths: false,
        tolerates: crate::request::Oddities::NONE,
    }
}

#[test]
fn events_are_a_set() {
    let all = Events::default();
    assert!(EventClass::ALL.into_iter().all(|class| all.has(class)));
    assert!(!EventClass::ALL.into_iter().any(|class| Events::NONE.has(class)));
    for class in EventClass::ALL {
        let one = Events::NONE.with(class);
        let held: Vec<_> = EventClass::ALL.into_iter().filter(|class| one.has(*class)).collect();
        assert_eq!(held, [class]);
        assert_eq!(one.with(class), one);
    }
}

#[test]
fn nothing_goes_on_unrecorded_unless_config_and_route_say_so() {
    let route = |best_effort| RouteRules { best_effort, ..RouteRules::default() };
    for (on_failure, expected) in [(OnFailure::Deny, [false, false]), (OnFailure::Allow, [false, true])] {
        let rules = Rules { on_failure, events: Events::default(), routes: vec![route(false), route(true)] };
        assert_eq!([rules.goes_on_unrecorded(0), rules.goes_on_unrecorded(1)], expected, "{on_failure:?}");
        assert!(!rules.goes_on_unrecorded(2), "a route that is not there");
    }
}

#[test]
fn a_request_is_named_in_the_words_of_its_route() {
    let definition = definition("/orgs/{org}/workspaces/{workspace}/executions");
    let template = |text: &str| Template::parse(text, &definition.pattern, Sources::RequestAndClaims).unwrap();
    let rules = RouteRules {
        action: Some(template("execution.start")),
        resource: Some(template("workspace:{workspace}?{header.x-kind}")),
        workspace: Some(template("{workspace}")),
        best_effort: false,
    };
    assert_eq!(rules.header_names().map(|name| name.as_str()).collect::<Vec<_>>(), ["x-kind"]);
    let routes = Routes::compile(vec![definition]).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_static("localhost"));
    headers.insert("x-kind", HeaderValue::from_bytes(b"a\"b\xff").unwrap());
    let head = Head {
        method: &Method::POST,
        target: b"/orgs/acme/workspaces/w%201/executions",
        authority: None,
        version: Version::HTTP_11,
        headers: &headers,
        peer: Peer::Unix,
        tls: false,
    };
    let Ok(Sanitized::Request(request, _)) = request::sanitize(&head, &request::Rules::default(), &|| [0; 16]) else {
        panic!("a request like any other");
    };
    let view = View { request: &request, headers: &headers };
    let found = routes.find(&view).unwrap();
    let labels = rules.labels(&found.captures, &view, None);
    let expected = Labels {
        action: Some("execution.start".to_owned()),
        resource: Some("workspace:w%201?a\"b%FF".to_owned()),
        workspace: Some("w%201".to_owned()),
    };
    assert_eq!(labels, expected);
    assert_eq!(RouteRules::default().labels(&found.captures, &view, None), Labels::default());
}

/// Whoever asks for something must not choose that the record does not say for what.
#[test]
fn a_repeated_parameter_blanks_nothing() {
    let definition = definition("/repos");
    let template = Template::parse("repo:{query.repo}", &definition.pattern, Sources::RequestAndClaims).unwrap();
    let rules = RouteRules { resource: Some(template), ..RouteRules::default() };
    let routes = Routes::compile(vec![definition]).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_static("localhost"));
    for (target, expected) in [
        ("/repos?repo=a%26b", "repo:a&b"),
        ("/repos?x=secret", "repo:"),
        ("/repos?repo=a&x=secret&repo=b", "repo:a & b"),
        ("/repos?repo=a&REPO=b%20c", "repo:a & b%2520c"),
        ("/repos?repo=a;repo=b", "repo:a;repo=b"),
        ("/repos?repo=%ff", "repo:%25ff"),
    ] {
        let head = Head {
            method: &Method::DELETE,
            target: target.as_bytes(),
            authority: None,
            version: Version::HTTP_11,
            headers: &headers,
            peer: Peer::Unix,
            tls: false,
        };
        let Ok(Sanitized::Request(request, _)) = request::sanitize(&head, &request::Rules::default(), &|| [0; 16])
        else {
            panic!("{target}");
        };
        let view = View { request: &request, headers: &headers };
        let found = routes.find(&view).unwrap();
        assert_eq!(rules.labels(&found.captures, &view, None).resource.as_deref(), Some(expected), "{target}");
    }
}
