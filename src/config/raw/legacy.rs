//! `legacy` as people write it.

use serde::Deserialize;

use super::clerk::Jwks;
use super::scalar::{Named, OneOrMany, Time};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { verify: { jwt: { secret_file: legacy.secret } } }")]
pub(crate) struct Legacy {
    pub(crate) credential: Option<LegacyCredential>,
    pub(crate) verify: Option<Verify>,
    pub(crate) mint: Option<Mint>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { key_file: legacy.secret, claims: { … } }")]
pub(crate) struct Mint {
    pub(crate) algorithm: Option<MintAlgorithm>,
    pub(crate) key_file: Option<String>,
    pub(crate) kid: Option<String>,
    pub(crate) ttl: Option<Time>,
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<OneOrMany>,
    pub(crate) claims: Option<Named<serde_json::Value>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum MintAlgorithm {
    #[serde(rename = "HS256")]
    Hs256,
    #[serde(rename = "HS384")]
    Hs384,
    #[serde(rename = "HS512")]
    Hs512,
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "ES256")]
    Es256,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { header: authorization, scheme: Bearer }")]
pub(crate) struct LegacyCredential {
    pub(crate) header: Option<String>,
    pub(crate) scheme: Option<String>,
    pub(crate) cookie: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { jwt: { secret_file: legacy.secret } }")]
pub(crate) struct Verify {
    pub(crate) jwt: Option<LegacyJwt>,
    pub(crate) introspection: Option<Introspection>,
    pub(crate) forward_auth: Option<ForwardAuth>,
    pub(crate) passthrough: Option<Passthrough>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { algorithms: [HS256], secret_file: legacy.secret }")]
pub(crate) struct LegacyJwt {
    pub(crate) algorithms: Option<Vec<LegacyAlgorithm>>,
    pub(crate) secret_file: Option<String>,
    pub(crate) secrets: Option<Vec<NamedSecret>>,
    pub(crate) jwks: Option<Jwks>,
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<OneOrMany>,
    pub(crate) claims: Option<LegacyClaims>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum LegacyAlgorithm {
    #[serde(rename = "HS256")]
    Hs256,
    #[serde(rename = "HS384")]
    Hs384,
    #[serde(rename = "HS512")]
    Hs512,
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { name: old, file: old.secret }")]
pub(crate) struct NamedSecret {
    pub(crate) name: Option<String>,
    pub(crate) file: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { user: sub, org: org, roles: roles }")]
pub(crate) struct LegacyClaims {
    pub(crate) user: Option<String>,
    pub(crate) org: Option<String>,
    pub(crate) roles: Option<String>,
    pub(crate) workspaces: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { url: https://…, client_id: crossgate }")]
pub(crate) struct Introspection {
    pub(crate) url: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) client_secret_file: Option<String>,
    pub(crate) cache: Option<Time>,
    pub(crate) claims: Option<LegacyClaims>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { url: http://127.0.0.1:3000/session }")]
pub(crate) struct ForwardAuth {
    pub(crate) url: Option<String>,
    pub(crate) headers: Option<ForwardHeaders>,
    pub(crate) cache: Option<Time>,
}

/// Of the answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { user: x-user-id, roles: x-roles }")]
pub(crate) struct ForwardHeaders {
    pub(crate) user: Option<String>,
    pub(crate) org: Option<String>,
    pub(crate) roles: Option<String>,
    pub(crate) workspaces: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { privileged: false }")]
pub(crate) struct Passthrough {
    pub(crate) privileged: Option<bool>,
}
