//! What the demo prints: addresses, then one `curl` line for every outcome, each under what to expect.

use std::fmt::Write;
use std::path::Path;

use super::Addresses;
use crate::cli::token::key::SigningKey;
use crate::cli::token::mint::Session;
use crate::clock;

/// Long enough to play; Clerk's own session tokens live for a minute.
const TTL: i64 = 3600;

pub(super) fn story(addresses: &Addresses, key: &SigningKey, trail: &Path) -> Result<String, String> {
    // As it was called: the demo's binary is not on anybody's path.
    let command = std::env::args().next().unwrap_or_else(|| "crossgate".to_owned());
    let Addresses { gate, admin, clerk, api } = addresses;
    let issuer = format!("http://{clerk}");
    let session = |org: &str, role: &str, ttl: i64| {
        let mut session = Session::new(&issuer, "user_ada");
        session.org = Some(org.to_owned());
        session.role = Some(role.to_owned());
        session.azp = Some(super::PARTY.to_owned());
        session.ttl = ttl;
        session
    };
    let token = |org: &str, role: &str, ttl: i64| key.sign(&session(org, role, ttl).claims(clock::now()));
    let (admin_token, member) = (token("org_acme", "org:admin", TTL)?, token("org_acme", "org:member", TTL)?);
    let (stranger, expired) = (token("org_other", "org:admin", TTL)?, token("org_acme", "org:admin", -TTL)?);
    let bearer = |token: &str| format!("-H 'authorization: Bearer {token}' ");
    let mut session = session("org_acme", "org:admin", TTL);
    session.claims.insert("workspaces".to_owned(), serde_json::json!(["w1"]));
    let operator = key.sign(&session.claims(clock::now()))?;
    let executions = format!("http://{gate}/api/orgs/org_acme/workspaces/w1/executions");
    let invoices = format!("http://{gate}/api/orgs/org_acme/invoices");

    let lines = [
        ("200 ok: anybody may read what is public", format!("http://{gate}/public/hello")),
        ("401 no_credential: no token", invoices.clone()),
        ("200 ok: a member of the org reads", format!("{}{invoices}", bearer(&member))),
        ("200 ok: an admin of the org writes", format!("-X POST -d '{{}}' {}{invoices}", bearer(&admin_token))),
        ("403 forbidden: wrong role", format!("-X POST -d '{{}}' {}{invoices}", bearer(&member))),
        ("403 forbidden: an admin of another org", format!("{}{invoices}", bearer(&stranger))),
        (
            "200 ok: a forged identity never reaches the api (look at x-crossgate-subject)",
            format!(
                "-H 'x-crossgate-subject: user_evil' -H 'X_Crossgate_Subject: user_evil' {}{invoices}",
                bearer(&member)
            ),
        ),
        ("401 clerk_expired: the token's time is over", format!("{}{invoices}", bearer(&expired))),
        ("401 clerk_invalid: the token was changed on its way", format!("{}{invoices}", bearer(&tampered(&member)))),
        (
            "400 bad_path: the api could read this path as another one",
            format!("--path-as-is http://{gate}/public/%2e%2e/api/orgs/org_acme/invoices"),
        ),
        (
            "200 ok: a privileged action, on disk before the api hears of it",
            format!("-X POST -d '{{}}' {}{executions}", bearer(&operator)),
        ),
        (
            "403 forbidden: the same without the role; written down before this answer",
            format!("-X POST -d '{{}}' {}{executions}", bearer(&member)),
        ),
        ("403 no_route: what no policy names is not served", format!("http://{gate}/internal")),
    ];

    let mut text = format!(
        "crossgate demo\n\n\
         gate       http://{gate}\n\
         the api    http://{api}   (echoes what reaches it)\n\
         clerk      http://{clerk}   (stand-in: /.well-known/jwks.json, /mint?sub=user_1&org=org_acme&role=org:admin)\n\
         admin      http://{admin}   (/readyz, /metrics, /v1/snapshot)\n\n\
         paste these, from top to bottom; ctrl-c ends the demo\n"
    );
    for (expected, arguments) in lines {
        // A String takes every write.
        let _ = write!(text, "\n# {expected}\ncurl -sS -i {arguments}\n");
    }
    let _ = write!(
        text,
        "\n# the audit trail: what was done and refused, and the proof that nothing is missing\n\
         {command} audit show {folder}\n{command} audit verify {folder}\n\n",
        folder = trail.display(),
    );
    Ok(text)
}

/// The same token with another letter in the middle of its signature.
fn tampered(token: &str) -> String {
    let (rest, signature) = token.rsplit_once('.').unwrap_or((token, ""));
    let changed: String = signature
        .chars()
        .enumerate()
        .map(|(at, letter)| match (at, letter) {
            (40, 'A') => 'B',
            (40, _) => 'A',
            (_, letter) => letter,
        })
        .collect();
    format!("{rest}.{changed}")
}
