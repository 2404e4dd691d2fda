//! `legacy` as people write it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::clerk::Jwks;
use super::scalar::{Named, OneOrMany, Time};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { verify: { jwt: { secret_file: legacy.secret } } }")]
#[schemars(extend("required" = ["verify"]))]
pub(crate) struct Legacy {
    /// Where the credential travels; by default in `authorization` with the scheme Bearer.
    #[schemars(extend("examples" = [{ "header": "authorization", "scheme": "Bearer" }]))]
    pub(crate) credential: Option<LegacyCredential>,
    /// How a credential is verified: exactly one way.
    #[schemars(extend("examples" = [{ "jwt": { "secret_file": "legacy.secret" } }]))]
    pub(crate) verify: Option<Verify>,
    /// Tokens in the API's own format for people who came with Clerk.
    #[schemars(extend("examples" = [{ "key_file": "legacy.secret", "claims": { "sub": "{legacy_user}" } }]))]
    pub(crate) mint: Option<Mint>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { key_file: legacy.secret, claims: { … } }")]
#[schemars(extend("required" = ["key_file", "claims"]))]
pub(crate) struct Mint {
    /// How the tokens are signed.
    #[schemars(extend("default" = "HS256"))]
    pub(crate) algorithm: Option<MintAlgorithm>,
    /// The secret's bytes, or a private key in PEM.
    #[schemars(example = &"legacy.secret")]
    pub(crate) key_file: Option<String>,
    /// `kid` in the header; none by default.
    #[schemars(example = &"k1")]
    pub(crate) kid: Option<String>,
    /// How long a token holds, 5s to 1h.
    #[schemars(extend("default" = "60s"))]
    pub(crate) ttl: Option<Time>,
    /// `iss`; none by default.
    #[schemars(example = &"https://login.example.com")]
    pub(crate) issuer: Option<String>,
    /// `aud`, one text or a list; none by default.
    #[schemars(example = &"api")]
    pub(crate) audience: Option<OneOrMany>,
    /// The claims, from `{facts}`: `?` leaves a claim out where there is none, `:int` makes a number.
    #[schemars(extend("minProperties" = 1, "examples" = [{ "sub": "{legacy_user}", "org": "{legacy_org?}", "role": "{role}" }]))]
    pub(crate) claims: Option<Named<serde_json::Value>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
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

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { header: authorization, scheme: Bearer }")]
pub(crate) struct LegacyCredential {
    /// The header that carries it.
    #[schemars(example = &"authorization")]
    pub(crate) header: Option<String>,
    /// The scheme before it, where the header is `authorization`.
    #[schemars(example = &"Bearer")]
    pub(crate) scheme: Option<String>,
    /// The cookie that carries it; a cookie alone means no header.
    #[schemars(example = &"session")]
    pub(crate) cookie: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { jwt: { secret_file: legacy.secret } }")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(crate) struct Verify {
    /// By signature: a JWT, with a shared secret or public keys.
    #[schemars(extend("examples" = [{ "algorithms": ["HS256"], "secret_file": "legacy.secret" }]))]
    pub(crate) jwt: Option<LegacyJwt>,
    /// By asking a server (RFC 7662).
    #[schemars(extend("examples" = [{ "url": "https://login.example.com/introspect", "client_id": "crossgate", "client_secret_file": "introspection.secret" }]))]
    pub(crate) introspection: Option<Introspection>,
    /// By asking a server with the credential alone: status and headers are the answer.
    #[schemars(extend("examples" = [{ "url": "http://127.0.0.1:3000/session" }]))]
    pub(crate) forward_auth: Option<ForwardAuth>,
    /// Not at all: the API keeps checking by itself.
    #[schemars(extend("examples" = [{ "privileged": false }]))]
    pub(crate) passthrough: Option<Passthrough>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { algorithms: [HS256], secret_file: legacy.secret }")]
pub(crate) struct LegacyJwt {
    /// The algorithms that count; never the token's choice.
    #[schemars(extend("default" = ["HS256"], "minItems" = 1))]
    pub(crate) algorithms: Option<Vec<LegacyAlgorithm>>,
    /// For HS*: a file whose bytes are the secret, without one newline at its end.
    #[schemars(example = &"legacy.secret")]
    pub(crate) secret_file: Option<String>,
    /// Further secrets, while one replaces another.
    #[schemars(extend("examples" = [[{ "name": "old", "file": "old.secret" }]]))]
    pub(crate) secrets: Option<Vec<NamedSecret>>,
    /// Public keys for the other algorithms: url, file or pem.
    #[schemars(extend("examples" = [{ "url": "https://login.example.com/jwks.json" }]))]
    pub(crate) jwks: Option<Jwks>,
    /// Exactly `iss`; not compared by default.
    #[schemars(example = &"https://login.example.com")]
    pub(crate) issuer: Option<String>,
    /// One of these in `aud`; not compared by default.
    #[schemars(extend("examples" = [["api"]]))]
    pub(crate) audience: Option<OneOrMany>,
    /// Where the facts stand in the token.
    #[schemars(extend("examples" = [{ "user": "sub", "org": "org", "roles": "roles" }]))]
    pub(crate) claims: Option<LegacyClaims>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
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

/// A further secret.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { name: old, file: old.secret }")]
#[schemars(extend("required" = ["name", "file"]))]
pub(crate) struct NamedSecret {
    /// Tokens may choose the secret by this name (`kid`).
    #[schemars(example = &"old")]
    pub(crate) name: Option<String>,
    /// A file whose bytes are the secret.
    #[schemars(example = &"old.secret")]
    pub(crate) file: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { user: sub, org: org, roles: roles }")]
pub(crate) struct LegacyClaims {
    /// The claim with the id of the person; dots go into objects.
    #[schemars(extend("default" = "sub"))]
    pub(crate) user: Option<String>,
    /// The claim with the org.
    #[schemars(extend("default" = "org"))]
    pub(crate) org: Option<String>,
    /// The claim with the roles, one or a list.
    #[schemars(extend("default" = "roles"))]
    pub(crate) roles: Option<String>,
    /// The claim with the workspaces.
    #[schemars(extend("default" = "workspaces"))]
    pub(crate) workspaces: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { url: https://…, client_id: crossgate }")]
#[schemars(extend("required" = ["url"], "dependencies" = { "client_id": ["client_secret_file"], "client_secret_file": ["client_id"] }))]
pub(crate) struct Introspection {
    /// The address of the server.
    #[schemars(example = &"https://login.example.com/introspect")]
    pub(crate) url: Option<String>,
    /// As whom crossgate asks.
    #[schemars(example = &"crossgate")]
    pub(crate) client_id: Option<String>,
    /// A file with the secret of that client.
    #[schemars(example = &"introspection.secret")]
    pub(crate) client_secret_file: Option<String>,
    /// How long an answer is kept, 0s to 5m.
    #[schemars(extend("default" = "30s"))]
    pub(crate) cache: Option<Time>,
    /// Where the facts stand in the answer.
    #[schemars(extend("examples" = [{ "user": "sub", "org": "org", "roles": "roles" }]))]
    pub(crate) claims: Option<LegacyClaims>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { url: http://127.0.0.1:3000/session }")]
#[schemars(extend("required" = ["url"]))]
pub(crate) struct ForwardAuth {
    /// What is asked by GET with the credential alone.
    #[schemars(example = &"http://127.0.0.1:3000/session")]
    pub(crate) url: Option<String>,
    /// The headers of the answer that hold the facts.
    #[schemars(extend("examples" = [{ "user": "x-user-id", "roles": "x-roles" }]))]
    pub(crate) headers: Option<ForwardHeaders>,
    /// How long an answer is kept, 0s to 5m.
    #[schemars(extend("default" = "5s"))]
    pub(crate) cache: Option<Time>,
}

/// The headers of the answer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { user: x-user-id, roles: x-roles }")]
pub(crate) struct ForwardHeaders {
    /// The header with the id of the person.
    #[schemars(extend("default" = "x-user-id"))]
    pub(crate) user: Option<String>,
    /// The header with the org.
    #[schemars(extend("default" = "x-org-id"))]
    pub(crate) org: Option<String>,
    /// The header with the roles.
    #[schemars(extend("default" = "x-roles"))]
    pub(crate) roles: Option<String>,
    /// The header with the workspaces.
    #[schemars(extend("default" = "x-workspaces"))]
    pub(crate) workspaces: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { privileged: false }")]
pub(crate) struct Passthrough {
    /// Whether that does on privileged routes, too.
    #[schemars(extend("default" = false))]
    pub(crate) privileged: Option<bool>,
}
