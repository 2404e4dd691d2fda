//! A config file as people wrote it, for comparing two of them: values with the environment put in, and digests of the
//! files that they name.
//!
//! Behind `crossgate diff`. Tells no problems: whoever asks has loaded the file before.

use std::collections::BTreeMap;
use std::path::Path;

use aws_lc_rs::digest;
use serde_json::Value;

use super::env::Env;
use super::source::{Files, Source};
use super::{open, yaml};

/// The document of the config file itself.
#[derive(Debug)]
pub struct WrittenConfig {
    pub document: Value,
    /// SHA-256 of each file that it names, by the path of the key that names it (`identity.map.file`).
    pub files: BTreeMap<String, String>,
}

/// Reads it again; `None` where it cannot be read.
pub fn written(path: &Path, env: Env<'_>) -> Option<WrittenConfig> {
    let (source, yaml::Document { value, mark: _ }) = open(path, env, &mut Files::new(), &mut Vec::new())?;
    let document = serde_json::to_value(value).ok()?;
    let mut files = BTreeMap::new();
    named(String::new(), &document, &source, &mut files);
    Some(WrittenConfig { document, files })
}

/// Finds the values that are names of files which exist.
fn named(path: String, value: &Value, source: &Source, files: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                named(below, value, source, files);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                let name = item.get("name").and_then(Value::as_str).map_or_else(|| at.to_string(), str::to_owned);
                named(format!("{path}.{name}"), item, source, files);
            }
        }
        Value::String(text) if names_a_file(&path) => {
            if let Some(digest) = digest_of(&source.resolve(text)) {
                files.insert(path, digest);
            }
        }
        _ => {}
    }
}

fn names_a_file(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or_default();
    // The trail is written, not read.
    path != "audit.file"
        && (last == "file" || last.ends_with("_file") || ["certificate", "key", "ca", "client_ca"].contains(&last))
}

fn digest_of(path: &Path) -> Option<String> {
    // Asked before opening: opening a FIFO waits for its writer.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut file = std::fs::File::open(path).ok()?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match std::io::Read::read(&mut file, &mut chunk).ok()? {
            0 => return Some(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()),
            read => context.update(chunk.get(..read)?),
        }
    }
}
