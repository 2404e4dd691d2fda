//! `crossgate token`: development tokens. Never used by the gate itself.

pub(super) mod key;
pub(super) mod mint;

use std::path::PathBuf;
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::{Failure, Format, complain, say};
use crate::clock;
use key::SigningKey;

#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a session token, signed with a development key.
    #[command(
        after_help = "Example:\n  crossgate token mint --key dev.pem --jwks keys.json \\\n    --issuer https://clerk.example.com --sub user_1 --org org_1 --role admin"
    )]
    Mint(Box<Mint>),
    /// Print header and claims of a token, unverified and without its signature.
    #[command(
        after_help = "Example:\n  crossgate token mint --key dev.pem --issuer https://clerk.example.com \\\n    | crossgate token decode -"
    )]
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
    /// Seconds until it expires; negative for a token that has expired.
    #[arg(long, default_value_t = 60, allow_negative_numbers = true)]
    ttl: i64,
    /// A further claim as `name=JSON`; may be repeated.
    #[arg(long, value_name = "NAME=JSON")]
    claim: Vec<String>,
}

impl Token {
    pub(super) fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        match self.action {
            Action::Mint(mint) => mint.run(format),
            Action::Decode { token } => Ok(decode(&token)?),
        }
    }
}

impl Mint {
    fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        let key = SigningKey::read_or_make(&self.key, self.kid)?;
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
        complain("development only: whoever holds this key is anybody\n");
        Ok(ExitCode::SUCCESS)
    }
}

fn decode(token: &str) -> Result<ExitCode, String> {
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
    complain("not verified\n");
    Ok(ExitCode::SUCCESS)
}
