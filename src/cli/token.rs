//! `crossgate token`: development tokens. Never used by the gate itself.

pub(super) mod key;
pub(super) mod mint;

use std::path::PathBuf;
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::{Failure, Format, say, tell, usage};
use crate::{clock, config};
use key::SigningKey;

#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a session token, signed with a development key.
    #[command(after_help = usage::MINT)]
    Mint(Box<Mint>),
    /// Print header and claims of a token, unverified and without its signature.
    #[command(after_help = usage::DECODE)]
    Decode {
        /// The token; `-` reads it from stdin, which keeps it out of the shell's history.
        token: String,
    },
}

#[derive(Debug, Args)]
struct Mint {
    /// Private RSA key (PKCS#8 PEM). Made, readable by you alone, if the file does not exist.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Key id in the token's header, as in the key set.
    #[arg(long, default_value = "ins_dev")]
    kid: String,
    /// Write the matching key set there, for `clerk[].jwks.file`.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// `iss`, as in `clerk[].issuer`.
    #[arg(long)]
    issuer: String,
    /// `sub`.
    #[arg(long, default_value = "user_dev")]
    sub: String,
    /// `sid`.
    #[arg(long, default_value = "sess_dev")]
    sid: String,
    /// `azp`, as in `clerk[].authorized_parties`.
    #[arg(long)]
    azp: Option<String>,
    /// Id of the active organisation.
    #[arg(long)]
    org: Option<String>,
    /// Slug of the active organisation.
    #[arg(long, requires = "org")]
    slug: Option<String>,
    /// Role in the active organisation, with or without `org:`.
    #[arg(long, requires = "org")]
    role: Option<String>,
    /// How long until it expires, such as 60s, 15m or 1h, or in seconds; with `-` in front for a token that has expired.
    #[arg(long, value_name = "TIME", default_value = "60s", allow_hyphen_values = true, value_parser = ttl)]
    ttl: i64,
    /// A further claim as `name=JSON`; may be repeated.
    #[arg(long, value_name = "NAME=JSON")]
    claim: Vec<String>,
}

/// Whole seconds, of the past with a minus.
fn ttl(text: &str) -> Result<i64, String> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let written = if is_number { format!("{digits}s") } else { digits.to_owned() };
    let time = config::duration(&written).filter(|time| time.subsec_nanos() == 0);
    let seconds = time.and_then(|time| i64::try_from(time.as_secs()).ok());
    seconds.map(|seconds| sign * seconds).ok_or_else(|| "expected whole seconds, as in 60s, 15m, 1h or -5m".to_owned())
}

/// What these ids are not, at Clerk: a policy that is tried with others may hold for nobody real.
fn unlike_clerks(sub: &str, org: Option<&str>) -> Vec<String> {
    let ids = [
        (
            "--sub",
            "user_",
            Some(sub),
            "the ids of people at Clerk begin with user_, and sessions of others are refused",
        ),
        ("--org", "org_", org, "the ids of orgs at Clerk begin with org_"),
    ];
    let odd = ids.into_iter().filter_map(|(option, prefix, id, meaning)| {
        let id = id.filter(|id| !id.starts_with(prefix))?;
        Some(format!("note: {option} {id}: {meaning}"))
    });
    odd.collect()
}

impl Token {
    pub(super) fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        match self.action {
            Action::Mint(mint) => mint.run(format),
            Action::Decode { token } => Ok(decode(&token, format)?),
        }
    }
}

impl Mint {
    fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        let key = SigningKey::read_or_make(&self.key, self.kid)?;
        let odd = unlike_clerks(&self.sub, self.org.as_deref());
        let mut session = mint::Session::new(&self.issuer, &self.sub);
        session.sid = self.sid;
        session.azp = self.azp;
        session.org = self.org;
        session.slug = self.slug;
        session.role = self.role;
        session.ttl = self.ttl;
        for claim in &self.claim {
            let (name, json) =
                claim.split_once('=').ok_or_else(|| Failure::Usage(format!("--claim {claim}: expected NAME=JSON")))?;
            let value = serde_json::from_str(json).unwrap_or_else(|_| Value::String(json.to_owned()));
            session.claims.insert(name.to_owned(), value);
        }
        if let Some(path) = &self.jwks {
            std::fs::write(path, key.jwks().to_string())
                .map_err(|problem| format!("{} cannot be written: {problem}", path.display()))?;
        }
        let token = key.sign(&session.claims(clock::now()))?;
        say(&match format {
            Some(Format::Json) => format!("{}\n", serde_json::json!({ "token": token })),
            Some(Format::Human | Format::Plain) | None => format!("{token}\n"),
        });
        for note in odd {
            tell(&format!("{note}\n"), format);
        }
        tell("development only: whoever holds this key is anybody\n", format);
        Ok(ExitCode::SUCCESS)
    }
}

fn decode(token: &str, format: Option<Format>) -> Result<ExitCode, String> {
    let mut typed = String::new();
    if token == "-" {
        std::io::stdin().read_line(&mut typed).map_err(|problem| format!("stdin cannot be read: {problem}"))?;
    }
    let token = if token == "-" { typed.trim() } else { token.trim() };
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err("not a token: expected three parts with a dot between them".to_owned());
    };
    let part = |text: &str, name: &str| -> Result<Map<String, Value>, String> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("the {name} is not base64url"))?;
        serde_json::from_slice(&bytes).map_err(|_| format!("the {name} is not a JSON object"))
    };
    let shown = serde_json::json!({ "header": part(header, "header")?, "claims": part(payload, "payload")? });
    say(&format!("{shown:#}\n"));
    tell("not verified\n", format);
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::{ttl, unlike_clerks};

    #[test]
    fn a_lifetime_is_written_as_in_the_config_or_in_seconds() {
        let table = [
            ("60", Some(60)),
            ("-60", Some(-60)),
            ("1h", Some(3600)),
            ("15m", Some(900)),
            ("-5m", Some(-300)),
            ("0s", Some(0)),
            ("250ms", None),
            ("", None),
            ("-", None),
            ("1d", None),
            ("--1", None),
            ("99999999999999999999", None),
        ];
        for (text, expected) in table {
            assert_eq!(ttl(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn ids_that_clerk_never_gives_are_noted() {
        assert!(unlike_clerks("user_1", Some("org_1")).is_empty() && unlike_clerks("user_1", None).is_empty());
        let notes = unlike_clerks("u1", Some("acme"));
        assert!(notes[0].contains("--sub u1") && notes[1].contains("--org acme"), "{notes:?}");
    }
}
