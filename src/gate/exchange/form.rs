//! What a token exchange asks for: the form of RFC 8693 2.1, read strictly and without any I/O.
//!
//! What a client sent is never repeated in an answer: each refusal is one of a few stable sentences.

use std::collections::HashSet;

/// More fields than any client sends.
const MAX_FIELDS: usize = 32;
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const TYPES: &str = "urn:ietf:params:oauth:token-type:";
/// What verifiers look at, at most.
const MAX_TOKEN: usize = 8 * 1024;

/// A request that can be read in one way only.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) subject: String,
    /// The subject token is a refresh token: of the legacy side's, then.
    pub(super) is_refresh_token: bool,
    pub(super) kind: Kind,
    /// As they were asked for, each once; `None` for whatever there is.
    pub(super) scopes: Option<Vec<String>>,
    pub(super) audience: Option<String>,
    pub(super) org: Option<String>,
}

/// What the new token is called in the answer: it is the same for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    AccessToken,
    Jwt,
}

impl Kind {
    pub(super) const fn uri(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        }
    }
}

/// `error` of RFC 6749 5.2 and RFC 8693 2.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Error {
    InvalidRequest,
    UnsupportedGrantType,
    InvalidTarget,
    InvalidScope,
    TemporarilyUnavailable,
}

impl Error {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidScope => "invalid_scope",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }
}

/// An error and its `error_description`.
pub(super) type Told = (Error, &'static str);

/// Whether a Content-Type is that of a form; parameters do not matter.
pub(super) fn is_form(kind: &[u8]) -> bool {
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

/// Reads a body.
///
/// # Errors
/// What to tell the client.
pub(super) fn parse(body: &[u8]) -> Result<Asked, Told> {
    let bad = |description| (Error::InvalidRequest, description);
    let mut fields = Fields::default();
    let mut seen = HashSet::new();
    for (name, value) in form_urlencoded::parse(body) {
        // RFC 6749 3.2: no parameter stands twice. Two readers would read two of them.
        if seen.len() >= MAX_FIELDS || !seen.insert(name.to_string()) {
            return Err(bad("a parameter stands twice, or there are too many"));
        }
        // The same: one without a value counts as left out.
        if !value.is_empty() {
            fields.put(&name, value.into_owned());
        }
    }
    let Fields { grant_type, subject_token, subject_token_type, requested_token_type, .. } = &fields;
    match grant_type.as_deref() {
        None => return Err(bad("grant_type is missing")),
        Some(GRANT) => {}
        Some(_) => return Err((Error::UnsupportedGrantType, "only token exchange (RFC 8693) is supported")),
    }
    if fields.has_actor {
        return Err(bad("actor tokens are not supported: the audience is the actor"));
    }
    let kind = match requested_token_type.as_deref().map(|kind| kind.strip_prefix(TYPES)) {
        None | Some(Some("access_token")) => Kind::AccessToken,
        Some(Some("jwt")) => Kind::Jwt,
        Some(_) => return Err(bad("requested_token_type is neither access_token nor jwt")),
    };
    if subject_token.is_none() {
        return Err(bad("subject_token is missing"));
    }
    let is_refresh_token = match subject_token_type.as_deref().map(|kind| kind.strip_prefix(TYPES)) {
        None => return Err(bad("subject_token_type is missing")),
        Some(Some("jwt" | "access_token")) => false,
        Some(Some("refresh_token")) => true,
        Some(_) => return Err(bad("subject_token_type is not one of jwt, access_token and refresh_token")),
    };
    if fields.has_resource {
        return Err((Error::InvalidTarget, "resource is not supported: leave it out"));
    }
    let scopes = fields.scope.as_deref().map(scopes).transpose()?;
    let subject = fields.subject_token.unwrap_or_default();
    // Nothing that a header or a cookie could not carry: it is verified as if it had come in one.
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b",;\"\\".contains(&byte);
    if subject.len() > MAX_TOKEN || !subject.bytes().all(is_plain) {
        return Err(INVALID_SUBJECT);
    }
    Ok(Asked { subject, is_refresh_token, kind, scopes, audience: fields.audience, org: fields.org })
}

pub(super) const INVALID_SUBJECT: Told = (Error::InvalidRequest, "the subject token is not valid");

#[derive(Debug, Default)]
struct Fields {
    grant_type: Option<String>,
    subject_token: Option<String>,
    subject_token_type: Option<String>,
    requested_token_type: Option<String>,
    audience: Option<String>,
    scope: Option<String>,
    org: Option<String>,
    has_resource: bool,
    has_actor: bool,
}

impl Fields {
    /// What is unknown is ignored (RFC 6749 3.2).
    fn put(&mut self, name: &str, value: String) {
        match name {
            "grant_type" => self.grant_type = Some(value),
            "subject_token" => self.subject_token = Some(value),
            "subject_token_type" => self.subject_token_type = Some(value),
            "requested_token_type" => self.requested_token_type = Some(value),
            "audience" => self.audience = Some(value),
            "scope" => self.scope = Some(value),
            "org" => self.org = Some(value),
            "resource" => self.has_resource = true,
            "actor_token" | "actor_token_type" => self.has_actor = true,
            _ => {}
        }
    }
}

/// RFC 6749 3.3: separated by single spaces.
fn scopes(text: &str) -> Result<Vec<String>, Told> {
    let mut scopes: Vec<String> = Vec::new();
    for scope in text.split(' ') {
        if scope.is_empty() || scopes.len() >= MAX_FIELDS * 2 {
            return Err((Error::InvalidScope, "scope is not a list of scopes, separated by single spaces"));
        }
        if !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    Ok(scopes)
}

#[cfg(test)]
mod tests {
    use super::{Asked, Error, Kind, is_form, parse};

    const GOOD: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=a.b.c&subject_token_type=urn:ietf:params:oauth:token-type:jwt";

    fn with(more: &str) -> Result<Asked, Error> {
        parse(format!("{GOOD}{more}").as_bytes()).map_err(|(error, _)| error)
    }

    #[test]
    fn what_is_asked_for() {
        let plain = with("").unwrap();
        assert_eq!((plain.subject.as_str(), plain.kind, plain.is_refresh_token), ("a.b.c", Kind::AccessToken, false));
        assert_eq!((&plain.scopes, &plain.audience, &plain.org), (&None, &None, &None));
        let full = with("&audience=runner&scope=a%3Ab+c+a%3Ab&org=acme&requested_token_type=urn:ietf:params:oauth:token-type:jwt&x=1&resource=&actor_token=").unwrap();
        assert_eq!(full.scopes.unwrap(), ["a:b", "c"]);
        assert_eq!(
            (full.audience.as_deref(), full.org.as_deref(), full.kind),
            (Some("runner"), Some("acme"), Kind::Jwt)
        );
    }

    #[test]
    fn what_is_refused() {
        let table = [
            ("a parameter twice", "&audience=a&audience=a", Error::InvalidRequest),
            ("in another spelling", "&%61udience=a&audience=a", Error::InvalidRequest),
            ("once without a value", "&scope=&scope=a", Error::InvalidRequest),
            ("an unknown one twice", "&x=1&x=2", Error::InvalidRequest),
            ("the subject twice", "&subject_token=d", Error::InvalidRequest),
            ("an actor", "&actor_token=a&actor_token_type=b", Error::InvalidRequest),
            (
                "another kind of token",
                "&requested_token_type=urn:ietf:params:oauth:token-type:saml2",
                Error::InvalidRequest,
            ),
            (
                "a refresh token is asked for",
                "&requested_token_type=urn:ietf:params:oauth:token-type:refresh_token",
                Error::InvalidRequest,
            ),
            ("a resource", "&resource=https://api.example.com", Error::InvalidTarget),
            ("two spaces", "&scope=a++b", Error::InvalidScope),
            ("a space in front", "&scope=+a", Error::InvalidScope),
        ];
        for (name, more, expected) in table {
            assert_eq!(with(more).unwrap_err(), expected, "{name}");
        }
        let kind = "urn:ietf:params:oauth:token-type:jwt";
        let grant = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange";
        let table = [
            ("nothing", String::new(), Error::InvalidRequest),
            ("another grant", GOOD.replace("token-exchange", "jwt-bearer"), Error::UnsupportedGrantType),
            ("a password", "grant_type=password&username=a".to_owned(), Error::UnsupportedGrantType),
            ("no subject", format!("{grant}&subject_token_type={kind}"), Error::InvalidRequest),
            ("no type", format!("{grant}&subject_token=a"), Error::InvalidRequest),
            ("an unknown type", format!("{grant}&subject_token=a&subject_token_type=jwt"), Error::InvalidRequest),
            (
                "an id token",
                format!("{grant}&subject_token=a&subject_token_type=urn:ietf:params:oauth:token-type:id_token"),
                Error::InvalidRequest,
            ),
            ("a line break in the token", GOOD.replace("a.b.c", "a.b.c%0d%0ax"), Error::InvalidRequest),
            ("no UTF-8", GOOD.replace("a.b.c", "%ff%fe"), Error::InvalidRequest),
            ("a list", GOOD.replace("a.b.c", "a,b"), Error::InvalidRequest),
            ("a long token", GOOD.replace("a.b.c", &"a".repeat(9000)), Error::InvalidRequest),
            (
                "many fields",
                format!("{GOOD}{}", (0..40).map(|at| format!("&f{at}=1")).collect::<String>()),
                Error::InvalidRequest,
            ),
        ];
        for (name, body, expected) in table {
            assert_eq!(parse(body.as_bytes()).map_err(|(error, _)| error).unwrap_err(), expected, "{name}");
        }
    }

    #[test]
    fn content_types() {
        let table = [
            ("application/x-www-form-urlencoded", true),
            ("Application/X-WWW-Form-Urlencoded ; charset=utf-8", true),
            ("application/json", false),
            ("multipart/form-data; boundary=x", false),
            ("application/x-www-form-urlencodedx", false),
            ("", false),
        ];
        for (kind, expected) in table {
            assert_eq!(is_form(kind.as_bytes()), expected, "{kind}");
        }
    }
}
