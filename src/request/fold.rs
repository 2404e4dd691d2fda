//! Reserved header names, under every spelling that some framework reads as the same name.
//!
//! CGI, WSGI and PHP turn `-` into `_` and back, so `X_Crossgate_Subject` reaches an API as the header that only
//! crossgate may write; the same hole was mended three times in one neighbour. Names are therefore compared
//! folded: lower case, everything that is not a letter or digit as `-`. One function folds, here.

use std::collections::HashSet;

use http::HeaderName;

/// Written by crossgate on every request, or able to make an API believe in another URL, method or client than
/// the one that was checked. Names of crossgate's own (`x-crossgate-…`) and of Clerk's (`x-clerk-…`) go by prefix.
const RESERVED: [&str; 29] = [
    "forwarded",
    "x-request-id",
    "traceparent",
    "tracestate",
    // Client addresses: proxies and content networks write them, so an API may trust them.
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-envoy-external-address",
    "x-envoy-original-path",
    "x-azure-clientip",
    "x-appengine-user-ip",
    "client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "fastly-client-ip",
    "fly-client-ip",
    // Another URL or method than the one that was checked.
    "x-original-url",
    "x-original-uri",
    "x-original-method",
    "x-original-host",
    "x-rewrite-url",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-host",
    // `HTTP_PROXY` of a CGI program; "this request was already checked" of a framework.
    "proxy",
    "x-middleware-subrequest",
];

const PREFIXES: [&str; 3] = ["x-crossgate-", "x-forwarded-", "x-clerk-"];

/// The names that only crossgate may send to the API.
#[derive(Debug, Clone)]
pub struct Reserved {
    exact: HashSet<Box<str>>,
    /// First bytes of all reserved names: most header names are settled by one look.
    first: [bool; 256],
}

impl Default for Reserved {
    fn default() -> Self {
        Self::new([])
    }
}

impl Reserved {
    /// The names of the contract, plus those that the config gives to identity headers.
    pub fn new(renamed: impl IntoIterator<Item = HeaderName>) -> Self {
        let mut exact: HashSet<Box<str>> = RESERVED.iter().map(|name| (*name).into()).collect();
        exact.extend(renamed.into_iter().map(|name| fold(name.as_str())));
        let mut first = [false; 256];
        let firsts = exact.iter().map(|name| &**name).chain(PREFIXES).filter_map(|name| name.bytes().next());
        for byte in firsts {
            if let Some(slot) = first.get_mut(usize::from(byte)) {
                *slot = true;
            }
        }
        Self { exact, first }
    }

    /// Whether a client's header under this name (in any spelling) must not reach the API.
    pub fn holds(&self, name: &HeaderName) -> bool {
        let bytes = name.as_str().as_bytes();
        let plausible =
            bytes.first().is_some_and(|byte| self.first.get(usize::from(folded(*byte))).copied().unwrap_or(true));
        if !plausible {
            return false;
        }
        let mut buffer = [0_u8; 64];
        let folded_name = match buffer.get_mut(..bytes.len()) {
            Some(short) => {
                for (to, from) in short.iter_mut().zip(bytes) {
                    *to = folded(*from);
                }
                std::str::from_utf8(short).unwrap_or_default()
            }
            None => return self.holds_folded(&fold(name.as_str())),
        };
        self.holds_folded(folded_name)
    }

    fn holds_folded(&self, name: &str) -> bool {
        PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || self.exact.contains(name)
    }
}

/// Whether a name is a spelling of one that is folded already.
pub fn is_spelling(name: &str, of: &str) -> bool {
    name.len() == of.len() && name.bytes().zip(of.bytes()).all(|(byte, own)| folded(byte) == own)
}

/// Lower case, each non-alphanumeric turned into `-`.
pub fn fold(name: &str) -> Box<str> {
    name.bytes().map(|byte| char::from(folded(byte))).collect::<String>().into_boxed_str()
}

const fn folded(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::{RESERVED, Reserved};

    fn reserved() -> Reserved {
        Reserved::new([HeaderName::from_static("x-user-id"), HeaderName::from_static("remote-user")])
    }

    #[test]
    fn names_are_reserved_in_every_spelling() {
        let table = [
            ("x-crossgate-subject", true),
            ("x_crossgate_subject", true),
            ("X.Crossgate.Subject", true),
            ("x-crossgate_subject", true),
            ("x-crossgate-anything-new", true),
            ("x-crossgate-", true),
            ("x-user-id", true),
            ("X_User_Id", true),
            ("remote_user", true),
            ("x-forwarded-uri", true),
            ("x_forwarded_for", true),
            ("forwarded", true),
            ("x-http-method-override", true),
            ("x-clerk-auth-status", true),
            ("proxy", true),
            // The neighbours that must pass.
            ("x-crossgate", false),
            ("x-crossgated-subject", false),
            ("xcrossgatesubject", false),
            ("x-user", false),
            ("x-user-idx", false),
            ("accept", false),
            ("x_tenant", false),
            ("forwarded-by", false),
        ];
        for (name, expected) in table {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            assert_eq!(reserved().holds(&name), expected, "{name}");
        }
    }

    proptest! {
        /// Whatever stands for `-`, and whatever the case, a reserved name stays reserved.
        #[test]
        fn no_separator_hides_a_reserved_name(
            at in 0..RESERVED.len(),
            separators in proptest::collection::vec(prop::sample::select(b"-_.!#$%&'*+^`|~".to_vec()), 8),
            upper in any::<bool>(),
        ) {
            let mut next = separators.iter().cycle();
            let spelt: Vec<u8> = RESERVED[at]
                .bytes()
                .map(|b| if b == b'-' { *next.next().unwrap() } else if upper { b.to_ascii_uppercase() } else { b })
                .collect();
            let name = HeaderName::from_bytes(&spelt).unwrap();
            prop_assert!(reserved().holds(&name));
        }
    }
}
