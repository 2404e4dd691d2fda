//! Properties of route choice: what some API may read a path as never falls under another rule, the order of
//! definitions plays no part, and the trie agrees with a search that tries every route.

use std::collections::BTreeSet;

use http::{HeaderMap, Method};
use proptest::prelude::*;

use super::pattern::Part;
use super::predicate::Asked;
use super::table::tests::{definition, routes};
use super::{Definition, Reading, Refusal, Route, Routes};
use crate::request::path::Segment;
use crate::request::path::tests::cases;
use crate::request::{CanonicalPath, Oddities};

/// Open catch-alls beside guarded literals, captures beside both, patterns with case, slash and escapes.
const TABLES: [&[&str]; 4] = [
    &["/{*rest}", "/admin", "/admin/{*rest}", "/public/{*rest}", "/api/{*rest}", "/api/admin/{*rest}"],
    &["/{*rest}", "/admin/x", "/api/{org}/x", "/api/{org}/{*rest}", "/users/", "/api/admin"],
    &["/{a}", "/{a}/{b}", "/{a}/x", "/admin/{b}", "/a%20b/{*rest}", "/%C3%A9", "/{a}/{b}/{*rest}"],
    &["/{*rest}", "/admin/{x}", "/admin/x", "/x/admin/", "/public/admin/{*rest}", "/public/{a}/x"],
];

const PIECES: [&str; 42] = [
    "admin", "ADMIN", "Admin", "%61dmin", "%41dmin", "api", "API", "public", "users", "x", "X", "a%20b", "A%20b",
    "org_2Ab", "", "/", "//", ".", "..", "%2e%2e", "%2E.", "...", "%2f", "%2F", "%5c", "\\", ";", ";a=b", "%3b", "#y",
    "%23", "%3F", "%25", "%2525", "%252e", "%252f", "%C3%A9", "%c3%a9", "%00", "%c0%af", "+", "%",
];

fn target() -> impl Strategy<Value = String> {
    let segment = prop::collection::vec(prop::sample::select(&PIECES[..]), 1..3).prop_map(|pieces| pieces.concat());
    let plain = prop::sample::select(&PIECES[..14]).prop_map(str::to_owned);
    let segment = prop_oneof![4 => plain, 1 => segment];
    (prop::collection::vec(segment, 0..5), any::<bool>())
        .prop_map(|(segments, slash)| format!("/{}{}", segments.join("/"), if slash { "/" } else { "" }))
}

/// Mostly what some route tolerates.
fn odd_target() -> impl Strategy<Value = String> {
    const PLAIN: [&str; 8] = ["admin", "ADMIN", "api", "public", "x", "users", "a%20b", "%61dmin"];
    const ODD: [&str; 14] = [
        "%2F",
        "%2f",
        ";",
        ";a=b",
        "%3B",
        "//",
        "%2561",
        "%252F",
        "%253b",
        "%25252F",
        "%2541",
        "..",
        "%252e%252e",
        "/",
    ];
    let piece = prop_oneof![3 => prop::sample::select(&PLAIN[..]), 2 => prop::sample::select(&ODD[..]), 2 => Just("/")];
    (prop::collection::vec(piece, 1..8), any::<bool>())
        .prop_map(|(pieces, slash)| format!("/{}{}", pieces.concat(), if slash { "/" } else { "" }))
}

fn asked<'a>(headers: &'a HeaderMap) -> Asked<'a> {
    Asked { method: &Method::GET, host: None, query: None, headers, oddities: Oddities::NONE }
}

fn find<'r>(routes: &'r Routes, path: &str) -> Result<&'r Route, Refusal> {
    routes.find_asked(path, &asked(&HeaderMap::new())).map(|found| found.route)
}

/// The ways of reading that are combined with each other.
#[derive(Clone, Copy)]
struct Reader {
    decodings: u8,
    fragment_cut: bool,
    parameters_cut: bool,
    escaped_slashes: bool,
    backslashes: bool,
    dots_resolved: bool,
    slashes_merged: bool,
    case_folded: bool,
    slash_dropped: bool,
}

impl Reader {
    fn all() -> impl Iterator<Item = Self> {
        (0..3_u8).flat_map(|decodings| {
            (0..=255_u8).map(move |bits| Self {
                decodings,
                fragment_cut: bits & 1 != 0,
                parameters_cut: bits & 2 != 0,
                escaped_slashes: bits & 4 != 0,
                backslashes: bits & 8 != 0,
                dots_resolved: bits & 16 != 0,
                slashes_merged: bits & 32 != 0,
                case_folded: bits & 64 != 0,
                slash_dropped: bits & 128 != 0,
            })
        })
    }

    /// Of letters and the last slash.
    const fn is_loose(self) -> bool {
        self.case_folded || self.slash_dropped
    }

    fn read(self, path: &str) -> String {
        let mut text = path.as_bytes().to_vec();
        if self.fragment_cut {
            // Before decoding, as every URL parser does it.
            text.truncate(text.iter().position(|b| *b == b'#').unwrap_or(text.len()));
        }
        if self.escaped_slashes {
            for escape in ["%2f", "%2F", "%5c", "%5C"] {
                text = String::from_utf8(text).unwrap().replace(escape, "/").into_bytes();
            }
        }
        for _ in 0..self.decodings {
            let once = String::from_utf8_lossy(&text).into_owned();
            text = Segment::new(&once).bytes().collect();
        }
        if self.backslashes {
            text.iter_mut().filter(|b| **b == b'\\').for_each(|b| *b = b'/');
        }
        let mut segments: Vec<Vec<u8>> = text.split(|b| *b == b'/').skip(1).map(<[u8]>::to_vec).collect();
        if self.parameters_cut {
            for segment in &mut segments {
                segment.truncate(segment.iter().position(|b| *b == b';').unwrap_or(segment.len()));
            }
        }
        if self.dots_resolved {
            let mut resolved = Vec::new();
            for segment in segments {
                match segment.as_slice() {
                    b"." => {}
                    b".." => drop(resolved.pop()),
                    _ => resolved.push(segment),
                }
            }
            segments = resolved;
        }
        if self.slashes_merged {
            let last = segments.len().saturating_sub(1);
            let mut at = 0;
            segments.retain(|segment| {
                at += 1;
                !segment.is_empty() || at - 1 == last
            });
        }
        if self.slash_dropped && segments.len() > 1 && segments.last().is_some_and(Vec::is_empty) {
            segments.pop();
        }
        if self.case_folded {
            segments.iter_mut().for_each(|segment| segment.make_ascii_lowercase());
        }
        let written = |segment: &Vec<u8>| match self.decodings {
            0 => String::from_utf8_lossy(segment).into_owned(),
            _ => escaped(segment),
        };
        segments.iter().map(|segment| format!("/{}", written(segment))).collect()
    }
}

/// As a path is written again by whoever read it.
fn escaped(segment: &[u8]) -> String {
    segment.iter().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'+' => text.push(char::from(*byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
        text
    })
}

/// All that an API may read a path as.
fn views(path: &str) -> BTreeSet<String> {
    Reader::all().map(|reader| reader.read(path)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(1_500), ..ProptestConfig::default() })]

    #[test]
    fn no_view_of_a_found_path_falls_under_another_route(raw in target(), table in prop::sample::select(&TABLES[..])) {
        let routes = routes(table);
        let Ok(path) = CanonicalPath::parse(raw.as_bytes()) else { return Ok(()) };
        let Ok(found) = find(&routes, path.as_str()) else { return Ok(()) };
        for view in views(path.as_str()) {
            let Ok(view_path) = CanonicalPath::parse(view.as_bytes()) else {
                return Err(TestCaseError::fail(format!("{raw} may be read as {view}, which is no path")));
            };
            match find(&routes, view_path.as_str()) {
                Ok(other) => prop_assert_eq!(&other.id, &found.id, "{} may be read as {}", raw, view),
                // A view is itself a path that would be refused; what matters is the rule of the route it names.
                Err(Refusal::AnotherReading { route, .. }) => prop_assert_eq!(&route, &found.id, "{} as {}", raw, view),
                Err(Refusal::NoRoute | Refusal::UnknownHost | Refusal::AmbiguousQuery | Refusal::Untolerated(_)) => {}
            }
        }
    }

    /// The same of what routes tolerate.
    #[test]
    fn no_view_of_a_tolerated_path_falls_under_another_route(
        raw in odd_target(),
        table in prop::sample::select(&TABLES[..]),
        exact_paths in any::<bool>(),
    ) {
        let tolerant = |exact_paths| {
            let definition = |text: &&str| Definition { tolerates: Oddities::ALL, exact_paths, ..definition(text) };
            Routes::compile(table.iter().map(definition).collect()).unwrap()
        };
        let (routes, exact) = (tolerant(exact_paths), tolerant(true));
        let Ok((path, oddities)) = CanonicalPath::parse_odd(raw.as_bytes(), Oddities::ALL) else { return Ok(()) };
        let headers = HeaderMap::new();
        let named = |routes: &'_ Routes, path: &str, oddities| {
            let found = routes.find_asked(path, &Asked { oddities, ..asked(&headers) });
            found.map(|found| found.route.id.clone())
        };
        let Ok(found) = named(&routes, path.as_str(), oddities) else { return Ok(()) };
        if oddities.is_empty() {
            return Ok(());
        }
        for view in Reader::all().filter(|reader| !exact_paths || !reader.is_loose()).map(|reader| reader.read(path.as_str())) {
            let Ok((view_path, left)) = CanonicalPath::parse_odd(view.as_bytes(), Oddities::ALL) else {
                return Err(TestCaseError::fail(format!("{raw} may be read as {view}, which is no path")));
            };
            match named(&routes, view_path.as_str(), left) {
                Ok(other) => prop_assert_eq!(&other, &found, "{} may be read as {}", raw, view),
                Err(Refusal::AnotherReading { route, reading }) if reading != Reading::Odd => {
                    prop_assert_eq!(&route, &found, "{} as {}", raw, view);
                }
                // Refused by itself; what counts is whose it would be.
                Err(_) => if let Ok(other) = named(&exact, view_path.as_str(), Oddities::NONE) {
                    prop_assert_eq!(&other, &found, "{} may be read as {}", raw, view);
                },
            }
        }
    }

    #[test]
    fn order_plays_no_part(
        raw in target(),
        (table, shuffled) in prop::sample::select(&TABLES[..]).prop_flat_map(|table| {
            (Just(table), Just(table.to_vec()).prop_shuffle())
        }),
    ) {
        let Ok(path) = CanonicalPath::parse(raw.as_bytes()) else { return Ok(()) };
        let (one, other) = (routes(table), routes(&shuffled));
        let id = |routes| find(routes, path.as_str()).map(|route| route.id.clone());
        prop_assert_eq!(id(&one), id(&other));
    }

    #[test]
    fn the_trie_agrees_with_trying_every_route(raw in target(), texts in prop::collection::btree_set(pattern(), 1..8)) {
        let Ok(path) = CanonicalPath::parse(raw.as_bytes()) else { return Ok(()) };
        let definitions: Vec<Definition> =
            texts.iter().map(|text| Definition { exact_paths: true, ..definition(text) }).collect();
        let Ok(routes) = Routes::compile(definitions) else { return Ok(()) };
        let expected = routes.iter().filter_map(|route| Some((weight(route, &path)?, route))).max_by_key(|(weight, _)| {
            weight.clone()
        });
        let found = find(&routes, path.as_str()).ok();
        prop_assert_eq!(found.map(|route| &route.id), expected.map(|(_, route)| &route.id), "{}", raw);
    }
}

fn pattern() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["admin", "api", "x", "public", "{}"]);
    let end = prop::sample::select(vec!["", "/", "/{*rest}"]);
    (prop::collection::vec(segment, 0..4), end).prop_map(|(segments, end)| {
        let path: String = segments
            .iter()
            .enumerate()
            .map(|(at, segment)| if *segment == "{}" { format!("/{{s{at}}}") } else { format!("/{segment}") })
            .collect();
        let whole = format!("{path}{end}");
        if whole.is_empty() { "/".to_owned() } else { whole }
    })
}

/// How specific a route is for a path, segment by segment; `None` when it does not match.
fn weight(route: &Route, path: &CanonicalPath) -> Option<Vec<u8>> {
    let mut segments: Vec<&str> = path.segments().map(Segment::raw).collect();
    let slash = segments.last() == Some(&"");
    if slash {
        segments.pop();
    }
    let mut weight = Vec::new();
    let parts = route.pattern.parts();
    for (at, part) in parts.iter().enumerate() {
        match part {
            Part::Tail => {
                weight.push(0);
                return Some(weight);
            }
            Part::Segment => segments.get(at).map(|_| weight.push(1))?,
            Part::Literal(bytes) => {
                segments.get(at).filter(|segment| Segment::new(segment).eq_decoded(bytes)).map(|_| weight.push(2))?;
            }
        }
    }
    // What ends here beats an empty tail.
    weight.push(2);
    (segments.len() == parts.len() && slash == route.pattern.trailing_slash()).then_some(weight)
}

#[test]
fn the_views_hold_what_is_known_to_be_served() {
    let table = [
        ("/ADMIN/x", "/admin/x"),
        ("/admin/x/", "/admin/x"),
        ("//admin/x", "/admin/x"),
        ("/%61dmin/x", "/admin/x"),
        ("/admin%2fx", "/admin/x"),
        ("/admin%5cx", "/admin/x"),
        ("/admin\\x", "/admin/x"),
        ("/public/../admin/x", "/admin/x"),
        ("/public/%2e%2e/admin/x", "/admin/x"),
        ("/./admin/x", "/admin/x"),
        ("/admin/./x", "/admin/x"),
        ("/admin/x#y", "/admin/x"),
        ("/admin;a=b/x", "/admin/x"),
        ("/public/..;/admin/x", "/admin/x"),
        ("/%2561dmin/x", "/admin/x"),
        ("/public/..%255cADMIN//x/;z", "/admin/x"),
    ];
    for (sent, served) in table {
        assert!(views(sent).contains(served), "{sent}: {:?}", views(sent));
    }
}
