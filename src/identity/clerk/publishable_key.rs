//! Clerk's publishable key: names the instance's Frontend API, says production or development, and gives the
//! suffix of its cookies.
//!
//! Parsed once, at load; public by design, so it may be logged.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};

/// `pk_live_…` or `pk_test_…`, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishableKey {
    text: Arc<str>,
    pub kind: InstanceKind,
    /// Host of the Frontend API, as it stands in the key.
    pub frontend_api: Arc<str>,
    suffix: Arc<str>,
}

/// Whether real people or developers sign in here: Clerk's cookie rules differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceKind {
    Production,
    Development,
}

/// Why a text is no publishable key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishableKeyProblem {
    /// Does not start with `pk_live_` or `pk_test_`.
    Prefix,
    /// The rest is not base64 of text.
    Encoding,
    /// The text is not a host name with a dot, followed by one `$`.
    Host,
}

impl PublishableKey {
    /// # Errors
    /// [`PublishableKeyProblem`], which the config reports at the key's place.
    pub fn parse(text: &str) -> Result<Self, PublishableKeyProblem> {
        let (kind, body) = match (text.strip_prefix("pk_live_"), text.strip_prefix("pk_test_")) {
            (Some(body), _) => (InstanceKind::Production, body),
            (_, Some(body)) => (InstanceKind::Development, body),
            (None, None) => return Err(PublishableKeyProblem::Prefix),
        };
        let bytes = PADDING_OPTIONAL.decode(body).map_err(|_| PublishableKeyProblem::Encoding)?;
        let decoded = String::from_utf8(bytes).map_err(|_| PublishableKeyProblem::Encoding)?;
        let host = decoded.strip_suffix('$').ok_or(PublishableKeyProblem::Host)?;
        // The host becomes a URL that keys are fetched from: nothing but a host (and port) may stand here.
        let is_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':');
        if !host.contains('.') || !host.bytes().all(is_host) {
            return Err(PublishableKeyProblem::Host);
        }
        Ok(Self { text: text.into(), kind, frontend_api: host.into(), suffix: cookie_suffix(text).into() })
    }

    /// The key as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `iss` of the tokens of this instance.
    pub fn issuer(&self) -> String {
        format!("https://{}", self.frontend_api)
    }

    /// Where the instance publishes its keys.
    pub fn jwks_url(&self) -> String {
        format!("https://{}/.well-known/jwks.json", self.frontend_api)
    }

    /// What follows `__session_` and `__client_uat_` in this instance's cookie names.
    pub fn cookie_suffix(&self) -> &str {
        &self.suffix
    }
}

/// Eight characters of the SHA-1 of the key as written; padding in the key changes them, as it does for Clerk.
pub fn cookie_suffix(key: &str) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
    let mut suffix = URL_SAFE_NO_PAD.encode(hash.as_ref());
    suffix.truncate(8);
    suffix
}

const PADDING_OPTIONAL: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::{InstanceKind, PublishableKey, PublishableKeyProblem, cookie_suffix};

    #[test]
    fn keys() {
        let table = [
            ("pk_live_Y2xlcmsuY2xlcmsuZGV2JA", Ok((InstanceKind::Production, "clerk.clerk.dev"))),
            ("pk_test_Y2xlcmsuY2xlcmsuZGV2JA", Ok((InstanceKind::Development, "clerk.clerk.dev"))),
            ("pk_live_Y2xlcmsuZXhhbXBsZS1pbnMuY29tJA==", Ok((InstanceKind::Production, "clerk.example-ins.com"))),
            ("", Err(PublishableKeyProblem::Prefix)),
            ("pk_staging_Y2xlcmsuY2xlcmsuZGV2JA", Err(PublishableKeyProblem::Prefix)),
            ("sk_live_Y2xlcmsuY2xlcmsuZGV2JA", Err(PublishableKeyProblem::Prefix)),
            ("pk_live_invalid!@#$", Err(PublishableKeyProblem::Encoding)),
            ("pk_live_", Err(PublishableKeyProblem::Host)),
            ("pk_live_ZmFrZS1jbGVyay1tdWx0aXBsZS5jbGVyay5hY2NvdW50cy5kZXYkJA==", Err(PublishableKeyProblem::Host)),
            ("pk_live_aW52YWxpZGtleSQ=", Err(PublishableKeyProblem::Host)),
            // `evil.com/x$`: the host of the key set's address must not bring a path.
            ("pk_live_ZXZpbC5jb20veCQ", Err(PublishableKeyProblem::Host)),
        ];
        for (text, expected) in table {
            let parsed = PublishableKey::parse(text).map(|key| (key.kind, key.frontend_api.to_string()));
            assert_eq!(parsed, expected.map(|(kind, host)| (kind, host.to_owned())), "{text}");
        }
    }

    #[test]
    fn suffixes() {
        let table = [
            ("pk_live_Y2xlcmsuY2xlcmsuZGV2JA", "1Z8AzTQD"),
            ("pk_test_Y2xlcmsuY2xlcmsuZGV2JA", "QvfNY2dr"),
            ("pk_live_Y2xlcmsuaW5zcGlyZWQucHVtYS03NC5sY2wuZGV2JA", "MqCvchyS"),
            ("pk_test_Y2xlcmsuaW5zcGlyZWQucHVtYS03NC5sY2wuZGV2JA", "vWCgMp3A"),
            ("pk_live_ZmFrZS1jbGVyay10ZXN0LmNsZXJrLmFjY291bnRzLmRldiQ=", "qReyu04C"),
        ];
        for (key, suffix) in table {
            assert_eq!(cookie_suffix(key), suffix, "{key}");
        }
    }
}
