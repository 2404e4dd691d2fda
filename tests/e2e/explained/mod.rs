//! `crossgate explain` and `POST /v1/explain`: one question, told alike by both, and as the gate answers it.

mod agree;
mod posted;
mod screens;

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use super::bed::{Running, crossgate};
use super::wire::{Call, Response};

/// A request header, as it was sent.
type Line<'a> = (&'a str, String);

/// What the command says, with its exit code.
fn command(config: &Path, arguments: &[&str]) -> Output {
    let mut command = crossgate();
    command.arg("explain").arg("-c").arg(config).args(arguments).env("COLUMNS", "80").output().unwrap()
}

/// The JSON of the command.
fn told(config: &Path, method: &str, url: &str, lines: &[Line<'_>], more: &[&str]) -> Value {
    let lines: Vec<String> = lines.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let mut arguments = vec!["--format", "json", method, url];
    arguments.extend(lines.iter().flat_map(|line| ["-H", line.as_str()]));
    arguments.extend(more);
    let output = command(config, &arguments);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|problem| {
        panic!("{problem}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    })
}

/// A question for the admin listener.
fn question(method: &str, url: &str, lines: &[Line<'_>]) -> Value {
    let mut headers = serde_json::Map::new();
    for (name, value) in lines {
        match headers.get_mut(*name).and_then(Value::as_array_mut) {
            Some(values) => values.push(json!(value)),
            None => drop(headers.insert((*name).to_owned(), json!([value]))),
        }
    }
    json!({ "method": method, "url": url, "headers": headers })
}

fn post(bed: &Running, body: &Value) -> Response {
    Call::new(&bed.admin, "POST", "/v1/explain")
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
}

/// The steps of an explanation by their name.
fn steps<'a>(told: &'a Value, step: &str) -> Vec<(&'a str, &'a str)> {
    let all = told["steps"].as_array().unwrap().iter().filter(|one| one["step"] == step);
    all.map(|one| (one["outcome"].as_str().unwrap(), one["detail"].as_str().unwrap())).collect()
}
