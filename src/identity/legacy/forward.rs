//! `forward_auth`: asks a server of the API's own whether a credential is good, by status and headers.
//!
//! It is sent this one credential in the place where it came, and nothing else of the request: no path, no other
//! cookie, no other header.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::ask::{Said, Useless};
use super::exchange::{Incoming, Outgoing};
use super::reason::Reason;
use super::{Carriers, HeaderCarrier, claims};
use crate::identity::clerk::claims::is_plain_text;
use crate::identity::times::Validity;
use crate::identity::{Carrier, Workspace, Workspaces};

/// `legacy.verify.forward_auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardSpec {
    pub url: Arc<str>,
    pub headers: NamedHeaders,
    /// How long a good answer is believed; zero: not at all.
    pub cache: Duration,
}

/// Which headers of the answer say who it is; lists are joined by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedHeaders {
    pub user: HeaderName,
    pub org: Option<HeaderName>,
    pub roles: Option<HeaderName>,
    pub workspaces: Option<HeaderName>,
}

impl Default for NamedHeaders {
    fn default() -> Self {
        Self {
            user: HeaderName::from_static("x-user-id"),
            org: Some(HeaderName::from_static("x-org-id")),
            roles: Some(HeaderName::from_static("x-roles")),
            workspaces: Some(HeaderName::from_static("x-workspaces")),
        }
    }
}

impl ForwardSpec {
    pub(super) fn question(&self, token: &str, carrier: Carrier, carriers: &Carriers) -> Result<Outgoing, Useless> {
        let (name, value) = match (carrier, &carriers.header, &carriers.cookie) {
            (Carrier::Header, Some(HeaderCarrier::Bearer), _) => (AUTHORIZATION, format!("Bearer {token}")),
            (Carrier::Header, Some(HeaderCarrier::Own(line)), _) => match &line.scheme {
                Some(scheme) => (line.header.clone(), format!("{scheme} {token}")),
                None => (line.header.clone(), token.to_owned()),
            },
            (Carrier::Cookie, _, Some(cookie)) => (COOKIE, format!("{cookie}={token}")),
            (Carrier::Header, None, _) | (Carrier::Cookie, _, None) => return Err(Useless::Unsendable),
        };
        let mut value = HeaderValue::try_from(value).map_err(|_| Useless::Unsendable)?;
        value.set_sensitive(true);
        let headers = HeaderMap::from_iter([(name, value)]);
        Ok(Outgoing { method: Method::GET, url: Arc::clone(&self.url), headers, body: None })
    }

    pub(super) fn read(&self, answer: &Incoming) -> Result<Said, Useless> {
        match answer.status {
            200..=299 => {}
            401 | 403 => return Ok(Said::Bad(Reason::Refused)),
            status => return Err(Useless::Status(status)),
        }
        let NamedHeaders { user, org, roles, workspaces } = &self.headers;
        let user = one(&answer.headers, Some(user))?.ok_or(Useless::Nobody)?;
        let org = one(&answer.headers, org.as_ref())?;
        let roles = list(&answer.headers, roles.as_ref())?.unwrap_or_default();
        let workspaces = match list(&answer.headers, workspaces.as_ref())? {
            None => Workspaces::Missing,
            Some(ids) => Workspaces::Known(ids.into_iter().map(|id| Workspace { id, role: None }).collect()),
        };
        let facts = claims::facts(user, org, roles, workspaces);
        Ok(Said::Good(Box::new(facts), Validity { from_ms: i64::MIN, until_ms: None }))
    }
}

/// The text of a header; empty is absent, two lines or what is no plain text mean nothing.
fn one(headers: &HeaderMap, name: Option<&HeaderName>) -> Result<Option<String>, Useless> {
    let Some(text) = text(headers, name)? else { return Ok(None) };
    if is_plain_text(text) { Ok(Some(text.to_owned())) } else { Err(Useless::Nobody) }
}

fn list(headers: &HeaderMap, name: Option<&HeaderName>) -> Result<Option<Vec<String>>, Useless> {
    let Some(text) = text(headers, name)? else { return Ok(None) };
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let item = |item: &str| if is_plain_text(item) { Ok(item.to_owned()) } else { Err(Useless::Nobody) };
    items.map(item).collect::<Result<_, _>>().map(Some)
}

fn text<'a>(headers: &'a HeaderMap, name: Option<&HeaderName>) -> Result<Option<&'a str>, Useless> {
    let Some(name) = name else { return Ok(None) };
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Useless::Form);
    }
    let text = std::str::from_utf8(line.as_bytes()).map_err(|_| Useless::Nobody)?.trim();
    Ok(Some(text).filter(|text| !text.is_empty()))
}
