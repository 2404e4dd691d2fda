//! `admin`: where it listens, what is open, and whose tokens do what.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;

use super::{address, at_most, missing};
use crate::config::codes;
use crate::config::places::At;
use crate::config::raw;
use crate::config::report::Problem;
use crate::config::source::Files;
use crate::snapshot::{Access, Address, Admin, Scope, Socket, Token};

pub(super) const DEFAULT_ADMIN: ([u8; 4], u16) = ([127, 0, 0, 1], 9902);
const MAX_TOKENS: usize = 256;
/// A token that could be guessed is none.
const MIN_TOKEN: usize = 16;
const MAX_TOKEN: usize = 4096;
const MAX_NAME: usize = 64;

/// What `admin` says: the socket for the start, the rest for the snapshot.
pub(super) fn compile(
    raw: Option<raw::Admin>,
    root: At<'_>,
    files: &mut Files,
    problems: &mut Vec<Problem>,
) -> (Admin, Access) {
    let raw::Admin { address, open, tokens } = raw.unwrap_or_default();
    let at = root.key("admin");
    let default = || Socket::Bind(Address::Tcp(DEFAULT_ADMIN.into()));
    let socket = address.and_then(|text| address::listen(&text, at.key("address"), problems)).unwrap_or_else(default);
    let mut raw_tokens = tokens.unwrap_or_default();
    at_most(MAX_TOKENS, &mut raw_tokens, at.key("tokens"), problems);
    if open.is_some() && raw_tokens.is_empty() && !at.was_dropped("tokens") && !at.key("tokens").has_gaps() {
        problems.push(
            Problem::at(codes::NO_EFFECT, at.key("open"), "`open` has no effect: without tokens all can be read")
                .help("name who may do what: tokens: [{ name: ci, token_file: ci.token, scopes: [read] }]")
                .warning(),
        );
    }
    let all = [raw::OpenPath::Healthz, raw::OpenPath::Readyz, raw::OpenPath::Metrics];
    let open = open.unwrap_or_else(|| all.to_vec());
    let mut seen: Vec<Token> = Vec::with_capacity(raw_tokens.len());
    for (index, raw) in raw_tokens.into_iter().enumerate() {
        let at = at.key("tokens").item(index);
        let Some(token) = token(raw, at, files, problems) else { continue };
        if seen.iter().any(|other| other.name == token.name || other.digest == token.digest) {
            problems.push(Problem::at(codes::ADMIN_TOKEN, at, "another token has this name or this very secret"));
            continue;
        }
        seen.push(token);
    }
    let access = Access {
        open: [
            open.contains(&raw::OpenPath::Healthz),
            open.contains(&raw::OpenPath::Readyz),
            open.contains(&raw::OpenPath::Metrics),
        ],
        tokens: seen,
    };
    (Admin { socket }, access)
}

fn token(raw: raw::Token, at: At<'_>, files: &mut Files, problems: &mut Vec<Problem>) -> Option<Token> {
    let raw::Token { name, token_file, scopes } = raw;
    if name.is_none() {
        missing(at, "name", "say whose it is: changes are recorded under this name", problems);
    }
    if token_file.is_none() {
        missing(at, "token_file", "name the file with the token, as in token_file: ci.token", problems);
    }
    let listed = scopes.unwrap_or_default();
    if listed.is_empty() && !at.key("scopes").has_gaps() {
        missing(at, "scopes", "say what it is for: read, rollout:write, rollout:resume, reload", problems);
    }
    let (name, file) = (name?, token_file?);
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(|letter| letter.is_control()) {
        let message = format!("a name is one line of at most {MAX_NAME} bytes");
        problems.push(Problem::at(codes::ADMIN_TOKEN, at.key("name"), message));
    } else if ["unix", "config", "anybody", "signal", "file"].contains(&&*name) {
        let message = format!("`{name}` is what the audit trail calls somebody without a token");
        problems.push(Problem::at(codes::ADMIN_TOKEN, at.key("name"), message).help("choose another name"));
        return None;
    }
    let digest = secret(&at.source.resolve(&file), at.key("token_file"), files, problems)?;
    let scopes = listed
        .into_iter()
        .map(|scope| match scope {
            raw::Scope::Read => Scope::Read,
            raw::Scope::RolloutWrite => Scope::RolloutWrite,
            raw::Scope::RolloutResume => Scope::RolloutResume,
            raw::Scope::Reload => Scope::Reload,
        })
        .collect();
    Some(Token { name: Arc::from(name), digest, scopes })
}

/// The digest of a token: the token itself is not kept.
fn secret(path: &Path, at: At<'_>, files: &mut Files, problems: &mut Vec<Problem>) -> Option<[u8; 32]> {
    let mut bad = |message: String, help: &str| {
        problems.push(Problem::at(codes::ADMIN_TOKEN, at, message).help(help));
    };
    let bytes = match files.read(path) {
        Ok(bytes) => bytes,
        Err(unreadable) => {
            bad(unreadable.message, "make one: head -c 32 /dev/urandom | base64 > FILE, readable by you alone");
            return None;
        }
    };
    let token = bytes.trim_ascii();
    if token.len() < MIN_TOKEN || token.len() > MAX_TOKEN || !token.iter().all(u8::is_ascii_graphic) {
        bad(
            format!("a token has {MIN_TOKEN} to {MAX_TOKEN} visible characters on one line"),
            "make one: head -c 32 /dev/urandom | base64 > FILE",
        );
        return None;
    }
    let mode = std::fs::metadata(path).map_or(0, |meta| meta.permissions().mode());
    if mode & 0o077 != 0 {
        problems.push(
            Problem::at(codes::SECRET_OPEN, at, format!("{} can be read by others", path.display()))
                .help("chmod 600 it: whoever reads it may do what it may")
                .warning(),
        );
    }
    digest::digest(&digest::SHA256, token).as_ref().try_into().ok()
}
