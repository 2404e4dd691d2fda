//! An explained decision as people read it: the verdict first, then every step under what it is about.
//!
//! Nothing is said by colour alone: the word before each line says what it came to. Fits the screen.

use http::Method;

use crate::cli::plain::plain;
use crate::cli::screen::{Screen, Style, printable};
use crate::explain::steps::{Section, Step};
use crate::explain::{Explained, show};
use crate::identity::Identity;
use crate::route::Mode;
use crate::snapshot::Snapshot;

/// Columns of the word that a step came to, and what stands before it.
const WORD: usize = 13;
const MARGIN: usize = 2;

/// All of it, with its last line's end.
pub(super) fn of(explained: &Explained, snapshot: &Snapshot, method: &Method, screen: Screen) -> String {
    let mut text = verdict(explained, screen);
    text.push_str(&summary(explained, snapshot, method, screen));
    for section in Section::ALL {
        let steps: Vec<&Step> =
            explained.steps.iter().filter(|step| step.section() == section && is_told(step)).collect();
        let headers = section == Section::Onward && !explained.headers.is_empty();
        if steps.is_empty() && !headers {
            continue;
        }
        text.push_str(&format!("\n{}\n", screen.paint(Style::Strong, section.as_str())));
        for step in steps {
            text.push_str(&line(step, section, screen));
        }
        if headers {
            for (name, value) in &explained.headers {
                let value = value.as_str().unwrap_or_default();
                let is_each = value.len() == 32 && value.bytes().all(|byte| byte == b'0');
                let detail = format!("{name}: {}", if is_each { "another for each request" } else { value });
                text.push_str(&row("added", Style::Quiet, 0, &detail, screen));
            }
        }
    }
    text
}

/// What the lines above the sections say already is not said again.
fn is_told(step: &Step) -> bool {
    !matches!((step.step, step.outcome), ("request", "accepted") | ("path", "as sent") | ("route", "found"))
}

fn verdict(explained: &Explained, screen: Screen) -> String {
    let (status, code, reason) = show::outcome(&explained.decision);
    let is_reported = explained.decision.outcome.as_ref().is_ok_and(|permit| permit.reported().is_some());
    let (word, style) = match (&explained.decision.outcome, is_reported) {
        (Ok(_), false) => ("ALLOW", Style::Good),
        (Ok(_), true) => ("ALLOW", Style::Doubtful),
        (Err(_), _) => ("DENY", Style::Bad),
    };
    let mut text = format!("{}  {status} {code}\n", screen.paint(style, word));
    if !reason.is_empty() {
        let indent = word.len() + 2;
        text.push_str(&format!("{:indent$}{}\n", "", screen.wrap(indent, indent, &plain(&printable(&reason)))));
    }
    text
}

/// Request, route and person, each in a line.
fn summary(explained: &Explained, snapshot: &Snapshot, method: &Method, screen: Screen) -> String {
    let decision = &explained.decision;
    let mut rows = Vec::new();
    if let Some(request) = &explained.request {
        rows.push(("request", format!("{method} {}", request.path.as_str())));
    }
    if let Some(route) = decision.route.and_then(|index| snapshot.routes.get(index)) {
        let mode = if route.mode == Mode::Report { ", report mode" } else { "" };
        rows.push(("route", format!("{} ({}{mode}) at {}", route.id, route.access.as_str(), route.place)));
    }
    if let Some((identity, carrier)) = &decision.identity {
        let by = if explained.assumed { "assumed".to_owned() } else { format!("by the {carrier}") };
        rows.push(("person", format!("{}, {by}", person(identity))));
    }
    if let Some(side) = decision.side {
        rows.push(("arm", side.as_str().to_owned()));
    }
    let rows = rows.into_iter().map(|(name, value)| {
        let value = screen.wrap(9, 9, &printable(&value));
        let gap = 9 - name.len();
        format!("{}{:gap$}{value}\n", screen.paint(Style::Quiet, name), "")
    });
    let rows: String = rows.collect();
    if rows.is_empty() { rows } else { format!("\n{rows}") }
}

fn person(identity: &Identity) -> String {
    let facts = &identity.facts;
    let org = facts.org.as_ref().map(|org| org.id.as_str()).or(facts.legacy_org.as_deref());
    let org = org.map(|org| format!(" in {org}")).unwrap_or_default();
    format!("{}{org} ({})", facts.subject, facts.token.as_str())
}

fn line(step: &Step, section: Section, screen: Screen) -> String {
    // A section's own step needs no name before it, nor does what its outcome says already.
    let is_plain = step.step == section.as_str()
        || matches!(step.step, "request" | "candidate" | "credential" | "check" | "removed" | "added");
    let detail = if is_plain { step.detail.clone() } else { format!("{}: {}", step.step, step.detail) };
    let word = if step.outcome == "any" { "" } else { step.outcome };
    row(word, style(step.outcome), step.depth, &detail, screen)
}

fn row(word: &str, style: Style, depth: usize, detail: &str, screen: Screen) -> String {
    let indent = MARGIN + WORD + depth * 2;
    let gap = WORD.saturating_sub(word.chars().count()).max(1);
    let used = MARGIN + word.chars().count() + gap + depth * 2;
    let detail = screen.wrap(used, indent, &plain(&printable(detail)));
    let deeper = gap + depth * 2;
    format!("{:MARGIN$}{}{:deeper$}{detail}\n", "", screen.paint(style, word), "")
}

fn style(outcome: &str) -> Style {
    match outcome {
        "pass" | "holds" | "valid" | "allowed" | "chosen" | "accepted" => Style::Good,
        "fail" | "fails" | "refused" | "invalid" | "expired" | "conflict" | "malformed" => Style::Bad,
        "unknown" | "unverifiable" | "repaired" | "repeated" | "report" | "read loosely" | "as sent" | "unproven" => {
            Style::Doubtful
        }
        _ => Style::Quiet,
    }
}
