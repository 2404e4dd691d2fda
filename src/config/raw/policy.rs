//! A policy file as people write it: routes, what they match and what they require.

use schemars::JsonSchema;
use serde::Deserialize;

use super::audit::RouteAudit;
use super::scalar::{Named, OneOrMany, Scalars, Several, TextOr, Time};
use super::shape;
use super::test::Test;

/// Routes of the API: what they match, and what they require; or, in files that end in `_test.yaml`, tests of them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping with `routes`")]
#[schemars(extend("anyOf" = [{ "required": ["routes"] }, { "required": ["tests"] }]))]
pub(crate) struct Policies {
    /// The routes; the most specific one that matches wins, whatever the order.
    #[schemars(extend("examples" = [[{ "id": "invoice.read", "match": { "method": "GET", "path": "/orgs/{org}/invoices" }, "require": { "org": "{org}" } }]]))]
    pub(crate) routes: Option<Vec<Route>>,
    /// What `crossgate test` asks these routes; never read where they serve.
    #[schemars(extend("examples" = [[{ "name": "members read invoices", "request": "GET /orgs/acme/invoices", "as": { "user": "u1", "org": "acme" }, "expect": "allow" }]]))]
    pub(crate) tests: Option<Vec<Test>>,
    /// Warnings that are meant in this file: codes, each with the reason. By default none.
    #[schemars(extend("examples" = [{ "CG0701": "the API compares tenants itself" }]))]
    pub(crate) waive: Option<Named<String>>,
}

/// A route: which requests, who may make them, and where they go.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a route: a mapping with `id` and `match`")]
#[schemars(extend("required" = ["id", "match"]))]
pub(crate) struct Route {
    /// The route's name in logs, metrics and the trail; no other route has it.
    #[schemars(example = &"invoice.read")]
    pub(crate) id: Option<String>,
    /// Which requests.
    #[serde(rename = "match")]
    #[schemars(extend("examples" = [{ "method": "GET", "path": "/orgs/{org}/invoices" }]))]
    pub(crate) matches: Option<Match>,
    /// Who may: everyone (`public`), everyone as nobody (`login`), whoever is signed in (`protected`), or the same
    /// with fresh keys and a record in the trail (`privileged`).
    #[schemars(extend("default" = "protected"))]
    pub(crate) access: Option<Access>,
    /// What must hold of whoever is signed in; all keys, and a list means any of its items.
    #[schemars(extend("examples" = [{ "org": "any", "role": "org:admin" }]))]
    pub(crate) require: Option<Rule>,
    /// What the audit trail calls this.
    #[schemars(extend("examples" = [{ "action": "invoice.delete", "resource": "invoice:{invoice}" }]))]
    pub(crate) audit: Option<RouteAudit>,
    /// The upstream that the route goes to; by default the arm's, the only one, or `app`.
    #[schemars(example = &"app")]
    pub(crate) upstream: Option<String>,
    /// The longest silence of the API on this route.
    #[schemars(example = &"30s")]
    pub(crate) timeout: Option<Time>,
    /// Whether refusals are made, or only counted and logged.
    #[schemars(extend("default" = "enforce"))]
    pub(crate) mode: Option<Mode>,
    /// What narrows WebSockets on this route; they need no key.
    #[schemars(extend("examples" = [{ "until": "token_exp" }]))]
    pub(crate) websocket: Option<WebSocket>,
    /// What is said about the answers.
    #[schemars(extend("examples" = [{ "private": true }]))]
    pub(crate) response: Option<Response>,
    /// Warnings of this route that are meant: codes, each with the reason. By default none.
    #[schemars(extend("examples" = [{ "CG0701": "the API compares tenants itself" }]))]
    pub(crate) waive: Option<Named<String>>,
    /// What this route's API really needs and every other route refuses; by default nothing.
    #[schemars(extend("examples" = [["encoded_slash"]]))]
    pub(crate) tolerate: Option<Vec<Tolerate>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { until: token_exp }")]
pub(crate) struct WebSocket {
    /// When the tunnel ends: with the token that opened it.
    #[schemars(example = &"token_exp")]
    pub(crate) until: Option<Until>,
    /// Pages that may open one, beside `authorized_parties` and the API's own.
    #[schemars(extend("examples" = [["https://app.example.com"]]))]
    pub(crate) origins: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Until {
    TokenExp,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { private: true }")]
pub(crate) struct Response {
    /// Whether answers that depend on who asks get Cache-Control: private and Vary.
    #[schemars(extend("default" = false))]
    pub(crate) private: Option<bool>,
}

/// One thing that `tolerate` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tolerate {
    /// `%2F` in a segment.
    EncodedSlash,
    /// `;` in a segment.
    Semicolon,
    /// Empty segments.
    DoubleSlash,
    /// `%25` before two hex digits.
    DoubleEscape,
    /// A GET with a body.
    GetBody,
}

/// Which requests a route is about.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { method: GET, path: /invoices }")]
#[schemars(extend("required" = ["path"]))]
pub(crate) struct Match {
    /// The methods; all by default, and HEAD goes with GET.
    #[schemars(extend("examples" = ["GET", ["POST", "PUT"]]))]
    pub(crate) method: Option<OneOrMany>,
    /// The path: literal segments, `{name}` for one segment, `{*rest}` for the tail, also an empty one.
    #[schemars(extend("pattern" = "^/", "errorMessage" = "write a path that begins with /"), example = &"/orgs/{org}/invoices/{*rest}")]
    pub(crate) path: Option<String>,
    /// The host, one name or `*.` and a name.
    #[schemars(example = &"api.example.com")]
    pub(crate) host: Option<String>,
    /// Headers and their exact values.
    #[schemars(extend("examples" = [{ "x-api-version": "2" }]))]
    pub(crate) header: Option<Named<String>>,
    /// Parameters of the query and their exact values.
    #[schemars(extend("examples" = [{ "format": "pdf" }]))]
    pub(crate) query: Option<Named<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Access {
    Public,
    Login,
    Protected,
    Privileged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    Enforce,
    Report,
}

/// A rule: all of its keys must hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a rule: a mapping like { org: \"{org}\" }")]
pub(crate) struct Rule {
    /// Which kinds of credentials: `session`, `legacy`, `runner`; session and legacy without the key.
    #[schemars(with = "shape::Many<shape::Kind>", extend("examples" = ["session", ["session", "runner"]]))]
    pub(crate) token: Option<OneOrMany>,
    /// What a runner token has to be narrowed to; other tokens have no scopes.
    #[schemars(extend("examples" = [["executions:write"]]))]
    pub(crate) scope: Option<OneOrMany>,
    /// The active org: a template such as `"{org}"` (the tenant boundary), `any`, or a name of
    /// another kind such as `{ slug: "{org}" }`.
    #[schemars(extend("examples" = ["{org}", "any"]))]
    pub(crate) org: Option<Several<TextOr<OrgBy>>>,
    /// The role in the active org, by Clerk's name; needs `org`.
    #[schemars(extend("examples" = ["org:admin", ["org:admin", "org:operator"]]))]
    pub(crate) role: Option<OneOrMany>,
    /// A permission in the active org; needs `org`.
    #[schemars(example = &"org:invoices:write")]
    pub(crate) permission: Option<OneOrMany>,
    /// A workspace that the person may enter within its active org, or `{ id: "{workspace}", role: editor }`.
    #[schemars(example = &"{workspace}")]
    pub(crate) workspace: Option<Several<TextOr<WorkspaceBy>>>,
    /// A feature of the org or the user; `org:` or `user:` before it says whose.
    #[schemars(example = &"invoicing")]
    pub(crate) feature: Option<OneOrMany>,
    /// A plan of the org or the user.
    #[schemars(extend("examples" = [["pro", "team"]]))]
    pub(crate) plan: Option<OneOrMany>,
    /// How fresh the proof of who it is must be: a word, or
    /// `{ level: second_factor, after_minutes: 10 }`.
    #[schemars(with = "shape::WordOr<shape::Fresh, Reverified>", example = &"strict")]
    pub(crate) reverified: Option<TextOr<Reverified>>,
    /// Claims of the token and the values that do, one or a list; dots go into objects.
    #[schemars(extend("examples" = [{ "department": ["eng", "ops"], "public_metadata.level": 3 }]))]
    pub(crate) claim: Option<Named<Scalars>>,
    /// A condition in CEL over `claims`, `identity` and `request`, of at most 4096 bytes.
    #[schemars(example = &"claims.level >= 3 && request.method == 'GET'")]
    pub(crate) when: Option<String>,
    /// Rules one of which must hold.
    #[schemars(extend("minItems" = 1, "examples" = [[{ "role": "org:owner" }, { "claim": { "staff": true } }]]))]
    pub(crate) any: Option<Vec<Rule>>,
    /// Rules that must all hold.
    #[schemars(extend("minItems" = 1, "examples" = [[{ "org": "any" }, { "role": "org:admin" }]]))]
    pub(crate) all: Option<Vec<Rule>>,
    /// A rule that must not hold; what cannot be known does not count as not holding.
    #[schemars(extend("examples" = [{ "claim": { "suspended": true } }]))]
    pub(crate) not: Option<Box<Rule>>,
}

/// The active org by a name of another kind than `identity.names.org` says.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { slug: \"{org}\" }")]
pub(crate) struct OrgBy {
    /// By its slug, which strangers choose.
    #[schemars(example = &"{org}")]
    pub(crate) slug: Option<String>,
    /// By Clerk's id.
    #[schemars(example = &"{org}")]
    pub(crate) clerk_id: Option<String>,
    /// By the legacy id.
    #[schemars(example = &"{org}")]
    pub(crate) legacy_id: Option<String>,
}

/// A workspace, and the role in it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { id: \"{workspace}\", role: editor }")]
#[schemars(extend("required" = ["id"]))]
pub(crate) struct WorkspaceBy {
    /// The workspace: a template such as `"{workspace}"`.
    #[schemars(example = &"{workspace}")]
    pub(crate) id: Option<String>,
    /// The role that the person must have in it.
    #[schemars(extend("examples" = ["editor", ["editor", "owner"]]))]
    pub(crate) role: Option<OneOrMany>,
}

/// How fresh, in full.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a mapping like { level: second_factor, after_minutes: 10 }")]
#[schemars(extend("required" = ["level", "after_minutes"]))]
pub(crate) struct Reverified {
    /// Which factor.
    #[schemars(with = "shape::Factor", example = &"second_factor")]
    pub(crate) level: Option<String>,
    /// How many minutes ago at most.
    #[schemars(extend("exclusiveMinimum" = 0), example = 10)]
    pub(crate) after_minutes: Option<f64>,
}
