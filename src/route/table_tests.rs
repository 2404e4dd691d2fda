use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::super::predicate::Asked;
use super::super::{
    Access, Definition, HostPattern, Mode, Pattern, Place, Reading, Refusal, Routes, WebSocket, WhyNot,
};
use super::Clash;
use crate::request::path::Segment;
use crate::request::{CanonicalPath, Oddities};

/// `[GET,POST] host/path header:x=1 query:y=2 exact`, all but the path optional.
pub(in crate::route) fn definition(text: &str) -> Definition {
    let mut definition = Definition {
        id: text.into(),
        place: Place { file: "routes.yaml".into(), line: 1 },
        pattern: Pattern::parse("/").unwrap(),
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
        tolerates: crate::request::Oddities::NONE,
    };
    for word in text.split(' ') {
        if let Some(methods) = word.strip_prefix('[') {
            let methods = methods.trim_end_matches(']').split(',');
            definition.methods = methods.map(|method| Method::from_bytes(method.as_bytes()).unwrap()).collect();
        } else if let Some((name, value)) = word.strip_prefix("header:").and_then(|pair| pair.split_once('=')) {
            definition.headers.push((name.parse::<HeaderName>().unwrap(), value.to_owned()));
        } else if let Some((name, value)) = word.strip_prefix("query:").and_then(|pair| pair.split_once('=')) {
            definition.query.push((name.to_owned(), value.to_owned()));
        } else if word == "exact" {
            definition.exact_paths = true;
        } else {
            let (host, path) = word.split_at(word.find('/').unwrap());
            definition.pattern = Pattern::parse(path).unwrap();
            definition.host = (!host.is_empty()).then(|| HostPattern::parse(host).unwrap());
        }
    }
    definition
}

pub(in crate::route) fn routes(texts: &[&str]) -> Routes {
    Routes::compile(texts.iter().map(|text| definition(text)).collect()).unwrap()
}

fn clashes(texts: &[&str]) -> Vec<Clash> {
    Routes::compile(texts.iter().map(|text| definition(text)).collect()).map_or_else(|clashes| clashes, |_| Vec::new())
}

/// `GET host/path?query header:x=1`
fn find(routes: &Routes, request: &str) -> Result<String, Refusal> {
    let mut words = request.split(' ');
    let method = Method::from_bytes(words.next().unwrap().as_bytes()).unwrap();
    let target = words.next().unwrap();
    let mut headers = HeaderMap::new();
    for word in words {
        let (name, value) = word.strip_prefix("header:").and_then(|pair| pair.split_once('=')).unwrap();
        headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let (host, target) = target.split_at(target.find('/').unwrap());
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let path = CanonicalPath::parse(path.as_bytes()).unwrap();
    let asked = Asked {
        method: &method,
        host: (!host.is_empty()).then_some(host),
        query,
        headers: &headers,
        oddities: Oddities::NONE,
    };
    let found = routes.find_asked(path.as_str(), &asked)?;
    let captures: Vec<String> = found.captures.iter().map(|(name, value)| format!(" {name}={}", value.raw())).collect();
    Ok(format!("{}{}", found.route.id, captures.concat()))
}

#[test]
fn the_most_specific_path_wins() {
    let routes = routes(&[
        "/{*rest}",
        "/",
        "/a",
        "/a/{*rest}",
        "/a/{x}",
        "/a/b",
        "/a/b/{*rest}",
        "/a/{x}/c",
        "/a/{x}/c/{y}",
        "/s/{x}/",
        "/a%20b",
    ]);
    let table = [
        ("/", "/"),
        ("/z", "/{*rest} rest=z"),
        ("/z/y", "/{*rest} rest=z/y"),
        ("/z/y/", "/{*rest} rest=z/y/"),
        ("/a", "/a"),
        ("/a/b", "/a/b"),
        ("/a/z", "/a/{x} x=z"),
        ("/a/z%20", "/a/{x} x=z%20"),
        ("/a/b/z", "/a/b/{*rest} rest=z"),
        // A literal in front beats a longer match behind a capture.
        ("/a/b/c", "/a/b/{*rest} rest=c"),
        ("/a/z/c", "/a/{x}/c x=z"),
        ("/a/z/c/d", "/a/{x}/c/{y} x=z y=d"),
        ("/a/z/d", "/a/{*rest} rest=z/d"),
        ("/s/1/", "/s/{x}/ x=1"),
        ("/a%20b", "/a%20b"),
    ];
    for (path, expected) in table {
        assert_eq!(find(&routes, &format!("GET {path}")).as_deref(), Ok(expected), "{path}");
    }
}

#[test]
fn a_tail_is_also_empty_and_a_segment_never_is() {
    let tail = routes(&["/a/{*rest}"]);
    for (path, expected) in [("/a", "/a/{*rest} rest="), ("/a/", "/a/{*rest} rest="), ("/a/b/", "/a/{*rest} rest=b/")] {
        assert_eq!(find(&tail, &format!("GET {path}")).as_deref(), Ok(expected), "{path}");
    }
    assert_eq!(find(&tail, "GET /ab"), Err(Refusal::NoRoute));
    assert_eq!(find(&tail, "GET /"), Err(Refusal::NoRoute));
    let segment = routes(&["/a/{x}"]);
    assert_eq!(find(&segment, "GET /a"), Err(Refusal::NoRoute));
    assert_eq!(find(&segment, "GET /a/"), Err(Refusal::NoRoute));
    assert_eq!(find(&segment, "GET /a/b/"), Err(Refusal::NoRoute));
    assert!(find(&routes(&["/{*rest}"]), "GET /").is_ok());
}

#[test]
fn a_more_specific_path_that_does_not_hold_falls_through() {
    let routes =
        routes(&["[POST] /a/b", "[GET] /a/{x}", "/a/{*rest}", "/a/b header:x-env=prod", "/q query:v=2", "/{*all}"]);
    let table = [
        ("POST /a/b", "[POST] /a/b"),
        ("GET /a/b", "[GET] /a/{x} x=b"),
        ("PUT /a/b", "/a/{*rest} rest=b"),
        ("PUT /a/b header:x-env=prod", "/a/b header:x-env=prod"),
        ("PUT /a/b header:x-env=PROD", "/a/{*rest} rest=b"),
        ("PUT /a/b header:x-env=prod header:x-env=prod", "/a/{*rest} rest=b"),
        ("PUT /q?v=2", "/q query:v=2"),
        ("PUT /q?v=%32", "/q query:v=2"),
        ("PUT /q?w=2", "/{*all} all=q"),
        // The method outranks the number of predicates.
        ("POST /a/b header:x-env=prod", "[POST] /a/b"),
    ];
    for (request, expected) in table {
        assert_eq!(find(&routes, request).as_deref(), Ok(expected), "{request}");
    }
}

/// `?v=2&v=2` fell through to the laxer route, while the API read `v=2`.
#[test]
fn a_repeated_parameter_does_not_lead_past_the_route_that_asks_for_it() {
    let routes = routes(&["/q query:v=2", "/q", "/other"]);
    for request in ["GET /q?v=2&v=2", "GET /q?v=2&%76=3", "GET /q?v=1&V=2", "GET /q?v&v=2", "GET /q?a=1;v=2"] {
        assert_eq!(find(&routes, request), Err(Refusal::AmbiguousQuery), "{request}");
    }
    assert!(find(&routes, "GET /q?v=1").is_ok() && find(&routes, "GET /other?v=2&v=2").is_ok());
}

#[test]
fn then_host_then_method_then_predicates() {
    let routes = routes(&[
        "/a",
        "[GET] /a",
        "*.example.com/a",
        "*.eu.example.com/a",
        "api.eu.example.com/a",
        "[GET] *.example.com/a",
        "/a header:x=1 query:y=2",
        "/a header:x=1",
    ]);
    let table = [
        ("PUT other.net/a", "/a"),
        ("GET other.net/a", "[GET] /a"),
        ("PUT a.example.com/a", "*.example.com/a"),
        ("GET a.example.com/a", "[GET] *.example.com/a"),
        ("GET a.eu.example.com/a", "*.eu.example.com/a"),
        ("GET api.eu.example.com/a", "api.eu.example.com/a"),
        ("PUT /a header:x=1", "/a header:x=1"),
        ("PUT /a?y=2 header:x=1", "/a header:x=1 query:y=2"),
        ("GET /a?y=2 header:x=1", "[GET] /a"),
    ];
    for (request, expected) in table {
        assert_eq!(find(&routes, request).as_deref(), Ok(expected), "{request}");
    }
}

#[test]
fn head_follows_get_unless_named() {
    let follows = routes(&["[GET] /a", "/a"]);
    assert_eq!(find(&follows, "HEAD /a").as_deref(), Ok("[GET] /a"));
    let named = routes(&["[GET] /a", "[HEAD] /a", "/a"]);
    assert_eq!(find(&named, "HEAD /a").as_deref(), Ok("[HEAD] /a"));
    assert_eq!(find(&routes(&["[POST] /a"]), "HEAD /a"), Err(Refusal::NoRoute));
}

#[test]
fn a_host_is_unknown_only_when_every_route_names_one() {
    let all = routes(&["a.net/x", "*.b.net/x"]);
    assert_eq!(find(&all, "GET c.net/x"), Err(Refusal::UnknownHost));
    assert_eq!(find(&all, "GET /x"), Err(Refusal::UnknownHost));
    assert_eq!(find(&all, "GET a.net/y"), Err(Refusal::NoRoute));
    assert_eq!(find(&all, "GET x.b.net/x").as_deref(), Ok("*.b.net/x"));
    assert_eq!(find(&routes(&["a.net/x", "/y"]), "GET c.net/x"), Err(Refusal::NoRoute));
    assert_eq!(find(&routes(&[]), "GET c.net/x"), Err(Refusal::NoRoute));
}

#[test]
fn another_reading_must_not_reach_another_route() {
    let routes = routes(&[
        "/{*rest}",
        "/api/{*rest}",
        "/api/admin/{*rest}",
        "/exact",
        "/users/",
        "/Reports/{x}",
        "/only/{x}",
        "/loose/{*rest} exact",
        "/loose/secret",
    ]);
    let another = |route: &str, reading| Err(Refusal::AnotherReading { route: route.into(), reading });
    let ok = |route: &str| Ok(route.to_owned());
    let table = [
        ("/api/admin/x", ok("/api/admin/{*rest} rest=x")),
        ("/api/admin/X", ok("/api/admin/{*rest} rest=X")),
        ("/api/ADMIN/x", another("/api/admin/{*rest}", Reading::CaseFolded)),
        ("/API/x", another("/api/{*rest}", Reading::CaseFolded)),
        ("/api/Adm/x", ok("/api/{*rest} rest=Adm/x")),
        ("/exact", ok("/exact")),
        ("/exact/", another("/exact", Reading::NoTrailingSlash)),
        ("/EXACT/", another("/exact", Reading::Both)),
        ("/api/", ok("/api/{*rest} rest=")),
        ("/other/", ok("/{*rest} rest=other/")),
        // A pattern's own case and slash are read as loosely as the path's.
        ("/users/", ok("/users/")),
        ("/users", another("/users/", Reading::NoTrailingSlash)),
        ("/Reports/1", ok("/Reports/{x} x=1")),
        ("/reports/1", another("/Reports/{x}", Reading::CaseFolded)),
        ("/only/ABC", ok("/only/{x} x=ABC")),
        // The upstream of the route that was found says that it tells them apart.
        ("/loose/SECRET", ok("/loose/{*rest} exact rest=SECRET")),
    ];
    for (path, expected) in table {
        assert_eq!(find(&routes, &format!("GET {path}")), expected, "{path}");
    }
}

#[test]
fn nothing_found_as_sent_is_no_route_whatever_other_readings_find() {
    let routes = routes(&["/admin/x"]);
    for path in ["/ADMIN/x", "/admin/x/", "/Admin/X/"] {
        assert_eq!(find(&routes, &format!("GET {path}")), Err(Refusal::NoRoute), "{path}");
    }
}

#[test]
fn of_two_spellings_of_one_path_the_folded_one_is_meant() {
    for texts in [["/admin", "/Admin"], ["/Admin", "/admin"]] {
        let routes = routes(&texts);
        assert_eq!(find(&routes, "GET /admin").as_deref(), Ok("/admin"));
        let another = Refusal::AnotherReading { route: "/admin".into(), reading: Reading::CaseFolded };
        assert_eq!(find(&routes, "GET /Admin"), Err(another));
    }
    let routes = routes(&["/a", "/a/"]);
    assert_eq!(find(&routes, "GET /a").as_deref(), Ok("/a"));
    let another = Refusal::AnotherReading { route: "/a".into(), reading: Reading::NoTrailingSlash };
    assert_eq!(find(&routes, "GET /a/"), Err(another));
}

#[test]
fn routes_that_cannot_be_told_apart_clash() {
    let clash = |first, second| Clash { first, second };
    let table: [(&[&str], Vec<Clash>); 16] = [
        (&["/a", "/a"], vec![clash(0, 1)]),
        (&["/a", "/%61"], vec![clash(0, 1)]),
        (&["/a/{x}", "/a/{y}"], vec![clash(0, 1)]),
        (&["/a/{*x}", "/a/{*y}"], vec![clash(0, 1)]),
        (&["[GET] /a", "[GET,POST] /a"], vec![clash(0, 1)]),
        (&["h/a", "h/a"], vec![clash(0, 1)]),
        (&["/a header:x=1", "/a query:x=1"], vec![clash(0, 1)]),
        (&["/a header:x=1", "/a header:x=1"], vec![clash(0, 1)]),
        (&["/a", "/b", "/a", "/a"], vec![clash(0, 2), clash(0, 3), clash(2, 3)]),
        (&["/a", "/a/"], vec![]),
        (&["/a", "/A"], vec![]),
        (&["[GET] /a", "[POST] /a", "[HEAD] /a", "/a"], vec![]),
        (&["h/a", "i/a", "*.h/a", "/a"], vec![]),
        (&["/a header:x=1", "/a header:x=2"], vec![]),
        (&["/a query:x=1", "/a query:x=2"], vec![]),
        (&["/a", "/a header:x=1", "/a header:x=1 query:y=1"], vec![]),
    ];
    for (texts, expected) in table {
        assert_eq!(clashes(texts), expected, "{texts:?}");
    }
}

#[test]
fn captures_are_named_by_the_route_that_was_found() {
    let routes = routes(&["[GET] /a/{x}/{y}", "[POST] /a/{p}/{q}"]);
    let path = CanonicalPath::parse(b"/a/1/2").unwrap();
    let headers = HeaderMap::new();
    let asked = Asked { method: &Method::POST, host: None, query: None, headers: &headers, oddities: Oddities::NONE };
    let found = routes.find_asked(path.as_str(), &asked).unwrap();
    assert_eq!(found.captures.value("p").map(Segment::raw), Some("1"));
    assert_eq!(found.captures.value("q").map(Segment::raw), Some("2"));
    assert!(found.captures.value("x").is_none());
    assert!(found.captures.at(2).is_none());
}

#[test]
fn explain_hears_why_the_others_were_passed_over() {
    let routes = routes(&["[POST] /a/b", "h/a/b", "/a/b header:x=1", "/a/{x}", "/{*rest}", "/c"]);
    let path = CanonicalPath::parse(b"/a/b").unwrap();
    let headers = HeaderMap::new();
    let asked = Asked { method: &Method::GET, host: None, query: None, headers: &headers, oddities: Oddities::NONE };
    let mut heard = Vec::new();
    routes.candidates_asked(path.as_str(), &asked, &mut |route, why| heard.push((route.id.to_string(), why)));
    let x = HeaderName::from_static("x");
    let expected = [
        ("[POST] /a/b", WhyNot::Method),
        ("h/a/b", WhyNot::Host),
        ("/a/b header:x=1", WhyNot::Header(&x)),
        ("/{*rest}", WhyNot::LessSpecific),
    ];
    assert_eq!(heard, expected.map(|(id, why)| (id.to_owned(), why)));
}
