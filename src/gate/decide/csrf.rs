//! Cross-site request forgery: a browser attaches a session cookie to whatever page makes it send a request.
//!
//! `SameSite=Lax` does not stop a sibling subdomain, so a cookie session on an unsafe method needs evidence of the
//! page it came from (`cookies.csrf: enforce`). Tokens in a header need none: no other site can set them.

use http::Method;
use http::header::ORIGIN;

use crate::identity::clerk::Csrf;
use crate::identity::{Carrier, Identity};
use crate::request::{SEC_FETCH_SITE, View};
use crate::route::Route;
use crate::snapshot::Snapshot;

/// Whether the request comes from a page of the API's own site or of an authorised party.
pub(super) fn is_own_page(view: &View<'_>, instance: &str, snapshot: &Snapshot) -> bool {
    if matches!(view.request.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return true;
    }
    let Some(instance) = snapshot.instances.named(instance) else { return false };
    if instance.cookies.csrf == Csrf::Off {
        return true;
    }
    if view.headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "same-origin") {
        return true;
    }
    let Some(origin) = view.headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()) else { return false };
    instance.checks.authorized_parties.iter().any(|party| **party == *origin) || is_request_host(origin, view)
}

/// Whether the page that asks for a WebSocket may have one. No browser stops another site's page from opening one and
/// reading from it, so a cookie session needs an authorised `Origin`, whatever `cookies.csrf` says; where the route
/// lists origins, so does whoever sends one (a browser always does).
pub(super) fn may_open(
    view: &View<'_>,
    route: &Route,
    identity: Option<(&Identity, Carrier)>,
    snapshot: &Snapshot,
) -> bool {
    let by_cookie = identity.is_some_and(|(_, carrier)| carrier == Carrier::Cookie);
    let Some(origin) = view.headers.get(ORIGIN) else { return !by_cookie };
    if !by_cookie && route.websocket.origins.is_empty() {
        return true;
    }
    let Ok(origin) = origin.to_str() else { return false };
    let instance = identity.and_then(|(identity, _)| snapshot.instances.named(&identity.facts.instance));
    let parties = instance.map_or(&[][..], |instance| &instance.checks.authorized_parties);
    route.websocket.origins.iter().any(|allowed| **allowed == *origin)
        || parties.iter().any(|party| **party == *origin)
        || is_request_host(origin, view)
}

/// Same host and port as the request's, the scheme's default port filled in on both sides.
fn is_request_host(origin: &str, view: &View<'_>) -> bool {
    let client = &view.request.client;
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let Some(host) = client.host.as_deref().or(view.request.authority.as_deref()) else { return false };
    let with_port = |authority: &str, scheme: &str| -> Option<(String, u16)> {
        let bracket = authority.rfind(']').map_or(0, |at| at + 1);
        match authority.get(bracket..)?.rsplit_once(':') {
            Some((name, port)) => {
                let name = format!("{}{name}", authority.get(..bracket)?);
                Some((name.to_ascii_lowercase(), port.parse().ok()?))
            }
            None => Some((authority.to_ascii_lowercase(), if scheme == "https" { 443 } else { 80 })),
        }
    };
    // Where nothing in front says `https`, a request without a port is at its page's default port: TLS may end in a
    // balancer that is not trusted to say so.
    let portless = |authority: &str| authority.rsplit(']').next().is_some_and(|rest| !rest.contains(':'));
    if portless(authority) && portless(host) {
        return matches!(scheme, "http" | "https") && authority.eq_ignore_ascii_case(host);
    }
    matches!(scheme, "http" | "https") && with_port(authority, scheme) == with_port(host, client.scheme)
}
