//! Who may do what on the admin listener: operators' tokens, their scopes, and what needs none.
//!
//! Reads `Authorization` for operators only: no person's credential is ever looked at here, and no operator's token
//! means anything on a data listener. A token is compared by its digest, in a time that tells nothing.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::snapshot::{Access, Address, Scope, Socket};

/// Longest `Authorization` that is looked at.
const MAX_LINE: usize = 8 << 10;

/// Why somebody may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    NoToken,
    /// What was sent is none of the config's, or cannot be read as one.
    BadToken,
    /// The token of this name is valid, and not for this.
    NoScope(Arc<str>, Scope),
    /// Nobody may, over TCP, while no token is named in the config.
    ReadOnly,
}

/// Under which name somebody may do what needs this scope.
pub(super) fn admit(headers: &HeaderMap, socket: &Socket, access: &Access, scope: Scope) -> Result<Arc<str>, Refused> {
    let is_unix = matches!(socket, Socket::Bind(Address::Unix(_)));
    if access.tokens.is_empty() {
        return match (is_unix, scope) {
            // Whoever may open the socket may do all: its mode is 0600.
            (true, _) => Ok(Arc::from("unix")),
            (false, Scope::Read) => Ok(Arc::from("anybody")),
            (false, Scope::RolloutWrite | Scope::RolloutResume | Scope::Reload) => Err(Refused::ReadOnly),
        };
    }
    if is_unix && !headers.contains_key(AUTHORIZATION) {
        return Ok(Arc::from("unix"));
    }
    if !headers.contains_key(AUTHORIZATION) {
        return Err(Refused::NoToken);
    }
    let sent = presented(headers).ok_or(Refused::BadToken)?;
    let sent = digest::digest(&digest::SHA256, &sent);
    // All of them, whichever it is.
    let mut found = None;
    for token in &access.tokens {
        if verify_slices_are_equal(&token.digest, sent.as_ref()).is_ok() {
            found = Some(token);
        }
    }
    let token = found.ok_or(Refused::BadToken)?;
    if token.scopes.contains(&scope) {
        Ok(Arc::clone(&token.name))
    } else {
        Err(Refused::NoScope(Arc::clone(&token.name), scope))
    }
}

/// The token of the one `Authorization` line: Bearer, or the password of Basic (URLs with userinfo send that).
fn presented(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let (scheme, rest) = line.to_str().ok().filter(|line| line.len() <= MAX_LINE)?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = STANDARD.decode(rest).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    pair.get(colon + 1..).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::{Refused, admit};
    use crate::snapshot::{Access, Address, Scope, Socket, Token};
    use aws_lc_rs::digest;
    use base64::Engine as _;
    use http::{HeaderMap, HeaderValue};

    fn access() -> Access {
        let token = |name: &str, secret: &str, scopes: &[Scope]| Token {
            name: name.into(),
            digest: digest::digest(&digest::SHA256, secret.as_bytes()).as_ref().try_into().unwrap(),
            scopes: scopes.to_vec(),
        };
        Access {
            open: [true; 3],
            tokens: vec![
                token("ci", "0123456789abcdef", &[Scope::Read, Scope::RolloutWrite]),
                token("boss", "fedcba9876543210", &[Scope::RolloutResume]),
            ],
        }
    }

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("authorization", HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    #[test]
    fn who_may_do_what() {
        use Scope::{Read, RolloutResume, RolloutWrite};
        let tcp = Socket::Bind(Address::Tcp(([127, 0, 0, 1], 9902).into()));
        let unix = Socket::Bind(Address::Unix("/run/x".into()));
        let passed = Socket::Passed(None);
        let basic = |pair: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        let (ci, boss) = ("Bearer 0123456789abcdef", "bearer fedcba9876543210");
        let (flagger, by_user) = (basic("flagger:0123456789abcdef"), basic("0123456789abcdef:x"));
        let none: &[&str] = &[];
        let no_scope = |name: &str, scope| Refused::NoScope(name.into(), scope);
        type Row<'a> = (bool, &'a Socket, &'a [&'a str], Scope, Result<&'a str, Refused>);
        let table: &[Row<'_>] = &[
            (false, &tcp, none, Read, Ok("anybody")),
            (false, &tcp, &[ci], RolloutWrite, Err(Refused::ReadOnly)),
            (false, &passed, none, RolloutWrite, Err(Refused::ReadOnly)),
            (false, &unix, none, RolloutResume, Ok("unix")),
            (true, &unix, none, RolloutResume, Ok("unix")),
            (true, &unix, &[ci], RolloutResume, Err(no_scope("ci", RolloutResume))),
            (true, &tcp, none, Read, Err(Refused::NoToken)),
            (true, &tcp, &[ci], Read, Ok("ci")),
            (true, &tcp, &[ci], RolloutWrite, Ok("ci")),
            (true, &tcp, &[ci], RolloutResume, Err(no_scope("ci", RolloutResume))),
            (true, &tcp, &[boss], RolloutResume, Ok("boss")),
            (true, &tcp, &[boss], Read, Err(no_scope("boss", Read))),
            (true, &tcp, &[&flagger], RolloutWrite, Ok("ci")),
            (true, &tcp, &[&by_user], RolloutWrite, Err(Refused::BadToken)),
            (true, &tcp, &["Bearer 0123456789abcdeg"], Read, Err(Refused::BadToken)),
            (true, &tcp, &["Bearer "], Read, Err(Refused::BadToken)),
            (true, &tcp, &["0123456789abcdef"], Read, Err(Refused::BadToken)),
            (true, &tcp, &["Basic ???"], Read, Err(Refused::BadToken)),
            // Two lines: which of them was meant?
            (true, &tcp, &[ci, ci], Read, Err(Refused::BadToken)),
        ];
        for (tokens, socket, lines, scope, want) in table {
            let access = if *tokens { access() } else { Access::default() };
            let got = admit(&headers(lines), socket, &access, *scope);
            assert_eq!(got.as_deref().map_err(Clone::clone), *want, "{tokens} {socket} {lines:?} {scope:?}");
        }
    }
}
