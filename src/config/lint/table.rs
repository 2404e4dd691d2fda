//! Advice about routes beside one another: who gets nothing, and what is open around what is guarded.
//!
//! Called by `compile::route` once all routes are one table.

use crate::config::codes;
use crate::config::places::At;
use crate::config::report::Problem;
use crate::route::{Access, Instead, Reading, Route, Routes};

/// `places`: by route index.
pub(crate) fn routes(routes: &Routes, places: &[At<'_>], problems: &mut Vec<Problem>) {
    never_found(routes, places, problems);
    open_around(routes, places, problems);
}

fn never_found(routes: &Routes, places: &[At<'_>], problems: &mut Vec<Problem>) {
    for (index, instead) in routes.never_found() {
        let (Some(route), Some(at)) = (routes.get(index), places.get(index)) else { continue };
        let (other, message, help) = match instead {
            Instead::Route(other) => (
                other,
                format!("route `{}` never gets a request: more specific routes take them all, as", route.id),
                "remove it, or the others".to_owned(),
            ),
            Instead::Nobody(other, reading) => {
                let how = match reading {
                    Reading::CaseFolded => "without regard to case",
                    Reading::NoTrailingSlash => "without its slash at the end",
                    Reading::Odd => "as it is decoded or cut where that is tolerated",
                    Reading::Both => "without regard to case and without its slash at the end",
                };
                let message = format!("route `{}` never gets a request: read {how}, its path is that of", route.id);
                (other, message, "remove one, or write paths: exact at an upstream that tells them apart".to_owned())
            }
        };
        let Some(other) = routes.get(other) else { continue };
        let message = format!("{message} route `{}` ({})", other.id, other.place);
        let place = at.key("match").key("path");
        problems.push(Problem::at(codes::NEVER_FOUND, place, message).help(help).warning());
    }
}

/// `/api/{*rest}` for everybody, and `/api/admin` protected: the next path below `/api` is open until somebody thinks of it.
fn open_around(routes: &Routes, places: &[At<'_>], problems: &mut Vec<Problem>) {
    let is_guarded = |route: &&Route| matches!(route.access, Access::Protected | Access::Privileged);
    let mut guarded: Vec<&Route> = routes.iter().filter(is_guarded).collect();
    guarded.sort_by_key(|route| route.pattern.as_str());
    for route in routes.iter().filter(|route| !is_guarded(route)) {
        let Some((base, _)) = route.pattern.as_str().split_once("/{*") else { continue };
        // Of what covers everything, its own route has been told.
        if base.is_empty() {
            continue;
        }
        let below = format!("{base}/");
        let from = guarded.partition_point(|other| other.pattern.as_str() < below.as_str());
        let others = guarded.iter().skip(from).take_while(|other| other.pattern.as_str().starts_with(&below));
        let same_host = |other: &&&Route| other.host == route.host || other.host.is_none() || route.host.is_none();
        let Some(other) = others.into_iter().find(same_host) else { continue };
        let Some(at) = places.get(route.index) else { continue };
        let message = format!(
            "route `{}` ({}) guards a path below this one: what no route names there is open to everyone",
            other.id, other.place
        );
        problems.push(
            Problem::at(codes::PUBLIC_CATCH_ALL, at.key("match").key("path"), message)
                .help("name the public paths one by one, and protect the rest")
                .warning(),
        );
    }
}
