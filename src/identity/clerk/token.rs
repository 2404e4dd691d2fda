//! A compact JWT, taken apart by one strict reading: size, parts, base64url, JSON, header members.
//!
//! Called by `judge`, by the legacy verifier and, for the payload only, by `cookies`. Everything here happens before the signature is
//! checked, so nothing that it yields may be believed; it may only refuse, or say which key to ask. No header
//! member ever causes a connection (`jku`, `x5u`) or brings a key (`jwk`, `x5c`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::reason::Reason;
use crate::identity::json;

/// Two cookies of 4 KiB is what a browser can carry; nothing longer is looked at, let alone decoded.
pub(crate) const MAX_TOKEN: usize = 8 * 1024;
/// A longer `kid` is not Clerk's (`ins_…`).
pub(in crate::identity) const MAX_KID: usize = 200;

/// The three parts, still encoded.
#[derive(Debug, Clone, Copy)]
pub(in crate::identity) struct Parts<'a> {
    /// Base64url of the header.
    pub(in crate::identity) header: &'a str,
    payload: &'a str,
    /// Base64url of the signature; decoded by whoever verifies it.
    pub(in crate::identity) signature: &'a str,
    /// What the signature covers: header and payload with the dot between.
    pub(in crate::identity) signed: &'a str,
}

impl<'a> Parts<'a> {
    /// Splits without decoding.
    pub(in crate::identity) fn split(token: &'a str) -> Result<Self, Reason> {
        if token.len() > MAX_TOKEN {
            return Err(Reason::TokenInvalid);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Reason::TokenInvalid)?;
        let (header, payload) = signed.split_once('.').ok_or(Reason::TokenInvalid)?;
        if header.is_empty() || payload.is_empty() || signature.is_empty() || payload.contains('.') {
            return Err(Reason::TokenInvalid);
        }
        Ok(Self { header, payload, signature, signed })
    }

    /// The claims, unverified.
    pub(in crate::identity) fn payload(&self) -> Result<Map<String, Value>, Reason> {
        object(self.payload)
    }

    /// The members of the header, unverified and unjudged.
    pub(in crate::identity) fn header_members(&self) -> Result<Map<String, Value>, Reason> {
        object(self.header)
    }

    /// The header, of which nothing but the `kid` is of use once it is checked.
    pub(in crate::identity) fn read_header(&self) -> Result<Header, Reason> {
        Header::check(object(self.header)?)
    }
}

/// Base64url without padding is canonical here: the engine refuses `=`, the standard alphabet and trailing bits
/// that are not zero. Otherwise one token would have many spellings.
fn object(part: &str) -> Result<Map<String, Value>, Reason> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Reason::TokenInvalid)?;
    json::parse_object(&bytes).map_err(|_| Reason::TokenInvalid)
}

/// A header that passed.
#[derive(Debug)]
pub(in crate::identity) struct Header {
    /// `None` when it is missing or no text that Clerk would use; matters only where keys have names.
    pub(in crate::identity) kid: Option<String>,
}

/// Members that change what the signature means, or name a key from outside. RFC 7515 lets a verifier ignore
/// some of them; a token of Clerk has none, and what it would mean elsewhere must not matter.
pub(in crate::identity) const FORBIDDEN: [&str; 9] = ["crit", "b64", "zip", "enc", "cty", "jwk", "jku", "x5u", "x5c"];

const CATEGORY_SESSION: &str = "cl_B7d4PD111AAA";
/// Instances that opted out stamp it on every class; `claims` then tells sessions from the rest.
const CATEGORY_IGNORE: &str = "cl_I7d4PD111III";

impl Header {
    fn check(mut members: Map<String, Value>) -> Result<Self, Reason> {
        if FORBIDDEN.iter().any(|name| members.contains_key(*name)) {
            return Err(Reason::TokenInvalid);
        }
        match members.get("cat") {
            None => {}
            Some(Value::String(category)) if category == CATEGORY_SESSION || category == CATEGORY_IGNORE => {}
            Some(_) => return Err(Reason::TokenTypeMismatch),
        }
        match members.get("typ") {
            None => {}
            Some(Value::String(kind)) if kind == "JWT" => {}
            Some(Value::String(kind)) if kind == "at+jwt" || kind == "application/at+jwt" => {
                return Err(Reason::TokenTypeMismatch);
            }
            Some(_) => return Err(Reason::TokenInvalid),
        }
        match members.get("alg") {
            Some(Value::String(algorithm)) if algorithm == "RS256" => {}
            _ => return Err(Reason::TokenInvalidAlgorithm),
        }
        let kid = match members.remove("kid") {
            Some(Value::String(kid)) if is_kid(&kid) => Some(kid),
            _ => None,
        };
        Ok(Self { kid })
    }
}

/// Whether a text can name a key: short and visible ASCII, so that it may be logged as it is.
pub(in crate::identity) fn is_kid(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_KID && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether a credential has the prefix of one of Clerk's opaque machine tokens.
pub(in crate::identity) fn is_opaque_machine_token(token: &str) -> bool {
    ["mt_", "ak_", "oat_"].iter().any(|prefix| token.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::{MAX_TOKEN, Parts, Reason, is_kid};

    fn encode(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    #[test]
    fn parts() {
        let long = format!("a.{}.c", "b".repeat(MAX_TOKEN));
        let fits = format!("a.{}.c", "b".repeat(MAX_TOKEN - 4));
        let table = [
            ("three parts", "a.b.c", true),
            ("as long as can be", &*fits, true),
            ("too long", &*long, false),
            ("two parts", "a.b", false),
            ("four parts", "a.b.c.d", false),
            ("five parts", "a.b.c.d.e", false),
            ("no signature", "a.b.", false),
            ("leading dot", ".b.c", false),
            ("empty payload", "a..c", false),
            ("nothing", "", false),
            ("dots", "..", false),
            ("encoded dots", "a%2Eb%2Ec", false),
        ];
        for (name, token, ok) in table {
            assert_eq!(Parts::split(token).is_ok(), ok, "{name}");
        }
    }

    #[test]
    fn base64url_has_one_spelling() {
        // `{}` is `e30`; two bits are unused, so `e31`, `e32`, `e33` would decode to the same bytes.
        let table = [
            ("canonical", "e30", true),
            ("trailing bits", "e31", false),
            ("more trailing bits", "e33", false),
            ("padded", "e30=", false),
            ("standard alphabet", "e+/0", false),
            ("inner space", "e 30", false),
            ("inner line feed", "e3\n0", false),
            ("inner NUL", "e3\x000", false),
            ("zero width space", "e3\u{200b}0", false),
            ("percent", "e3%30", false),
            ("impossible length", "e30ab", false),
        ];
        for (name, payload, ok) in table {
            let token = format!("a.{payload}.c");
            let read = Parts::split(&token).and_then(|parts| parts.payload());
            assert_eq!(read.is_ok(), ok, "{name}");
        }
    }

    #[test]
    fn headers() {
        use Reason::{TokenInvalid, TokenInvalidAlgorithm, TokenTypeMismatch};
        let table = [
            ("as Clerk writes it", r#"{"alg":"RS256","typ":"JWT","kid":"ins_1","cat":"cl_B7d4PD111AAA"}"#, None),
            ("without typ", r#"{"alg":"RS256","kid":"ins_1"}"#, None),
            ("unknown member", r#"{"alg":"RS256","kid":"ins_1","oiat":1}"#, None),
            ("category ignored", r#"{"alg":"RS256","kid":"ins_1","cat":"cl_I7d4PD111III"}"#, None),
            ("alg none", r#"{"alg":"none","kid":"ins_1"}"#, Some(TokenInvalidAlgorithm)),
            ("alg None", r#"{"alg":"None"}"#, Some(TokenInvalidAlgorithm)),
            ("alg with space", r#"{"alg":" RS256"}"#, Some(TokenInvalidAlgorithm)),
            ("alg empty", r#"{"alg":""}"#, Some(TokenInvalidAlgorithm)),
            ("alg null", r#"{"alg":null}"#, Some(TokenInvalidAlgorithm)),
            ("alg missing", r#"{"kid":"ins_1"}"#, Some(TokenInvalidAlgorithm)),
            ("alg number", r#"{"alg":256}"#, Some(TokenInvalidAlgorithm)),
            ("alg array", r#"{"alg":["RS256"]}"#, Some(TokenInvalidAlgorithm)),
            ("alg lower case", r#"{"alg":"rs256"}"#, Some(TokenInvalidAlgorithm)),
            ("HS256", r#"{"alg":"HS256"}"#, Some(TokenInvalidAlgorithm)),
            ("RS512", r#"{"alg":"RS512"}"#, Some(TokenInvalidAlgorithm)),
            ("PS256", r#"{"alg":"PS256"}"#, Some(TokenInvalidAlgorithm)),
            ("ES256", r#"{"alg":"ES256"}"#, Some(TokenInvalidAlgorithm)),
            ("crit", r#"{"alg":"RS256","crit":["b64"],"b64":false}"#, Some(TokenInvalid)),
            ("crit empty", r#"{"alg":"RS256","crit":[]}"#, Some(TokenInvalid)),
            ("crit null", r#"{"alg":"RS256","crit":null}"#, Some(TokenInvalid)),
            ("b64 alone", r#"{"alg":"RS256","b64":false}"#, Some(TokenInvalid)),
            ("zip", r#"{"alg":"RS256","zip":"DEF"}"#, Some(TokenInvalid)),
            ("enc", r#"{"alg":"RS256","enc":"A128GCM"}"#, Some(TokenInvalid)),
            ("cty", r#"{"alg":"RS256","cty":"JWT"}"#, Some(TokenInvalid)),
            ("jwk", r#"{"alg":"RS256","jwk":{}}"#, Some(TokenInvalid)),
            ("jku", r#"{"alg":"RS256","jku":"https://evil.example"}"#, Some(TokenInvalid)),
            ("x5u", r#"{"alg":"RS256","x5u":"http://169.254.169.254/"}"#, Some(TokenInvalid)),
            ("x5c", r#"{"alg":"RS256","x5c":[]}"#, Some(TokenInvalid)),
            ("at+jwt", r#"{"alg":"RS256","typ":"at+jwt"}"#, Some(TokenTypeMismatch)),
            ("application/at+jwt", r#"{"alg":"RS256","typ":"application/at+jwt"}"#, Some(TokenTypeMismatch)),
            ("typ lower case", r#"{"alg":"RS256","typ":"jwt"}"#, Some(TokenInvalid)),
            ("typ JWE", r#"{"alg":"RS256","typ":"JWE"}"#, Some(TokenInvalid)),
            ("typ null", r#"{"alg":"RS256","typ":null}"#, Some(TokenInvalid)),
            ("template", r#"{"alg":"RS256","cat":"cl_B7d4PD222AAA"}"#, Some(TokenTypeMismatch)),
            ("M2M", r#"{"alg":"RS256","cat":"cl_B7d4PD333AAA"}"#, Some(TokenTypeMismatch)),
            ("category unknown", r#"{"alg":"RS256","cat":"cl_new"}"#, Some(TokenTypeMismatch)),
            ("category empty", r#"{"alg":"RS256","cat":""}"#, Some(TokenTypeMismatch)),
            ("category number", r#"{"alg":"RS256","cat":1}"#, Some(TokenTypeMismatch)),
            ("alg twice", r#"{"alg":"RS256","alg":"none"}"#, Some(TokenInvalid)),
            ("kid twice", r#"{"alg":"RS256","kid":"a","k\u0069d":"b"}"#, Some(TokenInvalid)),
            ("array", r#"["RS256"]"#, Some(TokenInvalid)),
        ];
        for (name, header, expected) in table {
            let token = format!("{}.e30.AA", encode(header));
            assert_eq!(Parts::split(&token).unwrap().read_header().err(), expected, "{name}");
        }
    }

    #[test]
    fn kids() {
        let long = "k".repeat(201);
        let table = [
            ("ins_2GIoQhbUpy0hX7B2cVkuTMinXoD", true),
            ("../../etc/passwd", true),
            ("", false),
            ("a b", false),
            ("ins_\u{200b}1", false),
            ("a\r\nb", false),
            ("\u{1b}[31m", false),
            (&*long, false),
        ];
        for (kid, ok) in table {
            assert_eq!(is_kid(kid), ok, "{kid:?}");
        }
        for header in [r#"{"alg":"RS256"}"#, r#"{"alg":"RS256","kid":null}"#, r#"{"alg":"RS256","kid":["a"]}"#] {
            let token = format!("{}.e30.AA", encode(header));
            assert_eq!(Parts::split(&token).unwrap().read_header().unwrap().kid, None, "{header}");
        }
    }
}
