//! `crossgate map verify`: what loading a map would say, and what it would not.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::super::screen::printable;
use super::{Notation, counts_json, counts_text, problems_json, read, shown};
use crate::cli::{Failure, Format, say};
use crate::identity::map::{IdentityMap, Loaded, Side, twins};

/// Most suspicious ids that are told.
const MAX_SUSPECTS: usize = 20;

pub(super) fn run(path: &Path, format: Option<Format>) -> Result<ExitCode, Failure> {
    let outcome = read(path, Notation::Jsonl);
    let report = match (&outcome, format) {
        (Ok(loaded), Some(Format::Json)) => {
            let warnings: Vec<Value> = warnings(loaded)
                .into_iter()
                .map(|(line, message)| json!({ "line": line, "message": message }))
                .collect();
            let report = json!({
                "ok": true,
                "problems": [],
                "warnings": warnings,
                "digest": loaded.map.digest(),
                "counts": counts_json(&loaded.map.counts()),
            });
            format!("{report}\n")
        }
        (Err(problems), Some(Format::Json)) => {
            format!("{}\n", json!({ "ok": false, "problems": problems_json(problems), "warnings": [] }))
        }
        (Ok(loaded), _) => {
            let mut text = String::new();
            for (line, message) in warnings(loaded) {
                text.push_str(&format!("{}:{line}: warning: {}\n", path.display(), printable(&message)));
            }
            text + &format!("{}: ok, {}\n", path.display(), counts_text(&loaded.map.counts()))
        }
        (Err(problems), _) => {
            let text: String = problems.iter().map(|problem| shown(path, problem)).collect();
            let more = if problems.len() >= 100 { " at least" } else { "" };
            text + &format!("{},{more} {}\n", path.display(), super::counted(problems.len(), "problem"))
        }
    };
    say(&report);
    Ok(ExitCode::from(u8::from(outcome.is_err())))
}

/// Lines that load and may not be meant.
fn warnings(loaded: &Loaded) -> Vec<(usize, String)> {
    let map = &loaded.map;
    let mut warnings: Vec<(usize, String)> = twins(map)
        .into_iter()
        .map(|twin| {
            let side = match twin.side {
                Side::Legacy => "legacy",
                Side::Clerk => "clerk",
            };
            // The later of two users; orgs keep no line.
            let line = [twin.one, twin.other].into_iter().filter(|_| twin.kind == "user").filter_map(|id| {
                let user = match twin.side {
                    Side::Legacy => map.user_by_legacy(id),
                    Side::Clerk => map.user_by_clerk(id),
                };
                user.map(|user| loaded.places.line(user))
            });
            let line = line.max().unwrap_or_default();
            let (kind, one, other) = (twin.kind, twin.one, twin.other);
            (line, format!("{side} {kind} ids `{one}` and `{other}` look alike and are two {kind}s"))
        })
        .collect();
    warnings.extend(suspects(map).map(|(id, user)| {
        (loaded.places.line(user), format!("clerk id `{id}` does not begin with user_: is it a legacy id?"))
    }));
    warnings.sort();
    warnings
}

/// Users whose Clerk id does not look like one: swapped columns, most often.
fn suspects(map: &IdentityMap) -> impl Iterator<Item = (&str, crate::identity::map::User<'_>)> {
    map.users()
        .filter_map(|user| user.clerk().map(|clerk| (clerk, user)))
        .filter(|(clerk, _)| !clerk.starts_with("user_"))
        .take(MAX_SUSPECTS)
}
