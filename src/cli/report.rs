//! `crossgate report`: what the routes in report mode of a running crossgate would have refused, why, and whose.
//!
//! Asks the admin listener and counts nothing itself.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use http::Method;
use serde::Deserialize;

use super::admin::Listener;
use super::screen::{Screen, Style, printable};
use super::{Failure, Format, say};

/// Requests without a refusal that say something about a rule.
const ENOUGH: u64 = 1_000;

#[derive(Debug, Args)]
pub(super) struct Report {
    /// One route, with everybody who is held of it; without it all routes in report mode.
    route: Option<String>,
    #[command(flatten)]
    listener: Listener,
}

#[derive(Debug, Deserialize)]
struct Answer {
    routes: Vec<Route>,
}

#[derive(Debug, Deserialize)]
struct Route {
    route: String,
    access: String,
    since: String,
    seen: u64,
    would_refuse: u64,
    reasons: Vec<Reason>,
}

#[derive(Debug, Deserialize)]
struct Reason {
    status: u16,
    code: String,
    predicate: Option<String>,
    count: u64,
    last: String,
    principals: Vec<Principal>,
    more: More,
}

#[derive(Debug, Deserialize)]
struct Principal {
    subject: Option<String>,
    count: u64,
    last: String,
}

#[derive(Debug, Deserialize)]
struct More {
    principals: u64,
    requests: u64,
    others: bool,
}

impl Report {
    pub(super) fn run(self, format: Option<Format>) -> Result<ExitCode, Failure> {
        let path = match self.route.as_deref() {
            None => "/v1/report".to_owned(),
            Some(route) => format!("/v1/report/{route}"),
        };
        let (target, _) = self.listener.find()?;
        let answer = self.listener.ask(&target, Method::GET, &path, None)?;
        if format == Some(Format::Json) {
            say(&format!("{answer}\n"));
            return Ok(ExitCode::SUCCESS);
        }
        let mut answer: Answer = serde_json::from_value(answer)
            .map_err(|_| format!("{target} answered, and not as crossgate {} does", env!("CARGO_PKG_VERSION")))?;
        answer.routes.sort_by(|one, other| (other.would_refuse, &one.route).cmp(&(one.would_refuse, &other.route)));
        say(&shown(&answer.routes, self.route.is_some(), Screen::of_stdout(format)));
        Ok(ExitCode::SUCCESS)
    }
}

/// For people: each route with its reasons, then what there is to do.
fn shown(routes: &[Route], is_one: bool, screen: Screen) -> String {
    if routes.is_empty() {
        return "no route is in report mode: every refusal is real\n".to_owned();
    }
    let mut out = String::new();
    for route in routes {
        let name = screen.paint(Style::Strong, &printable(&route.route));
        let since = screen.paint(Style::Quiet, &format!("since {}", printable(&route.since)));
        let _ = writeln!(out, "{name}  {}, {since}", printable(&route.access));
        let seen = counted(route.seen, "request");
        if route.would_refuse == 0 {
            let _ = writeln!(out, "  {}", screen.paint(Style::Good, &format!("no refusal in {seen}")));
        } else {
            let reasons: Vec<_> =
                route.reasons.iter().map(|reason| format!("{} {}", grouped(reason.count), reason.word())).collect();
            let told = format!(
                "would refuse {} of {seen} ({}): {}",
                grouped(route.would_refuse),
                share(route.would_refuse, route.seen),
                reasons.join(", ")
            );
            let told = screen.wrap(2, 4, &told);
            let _ = writeln!(out, "  {}", painted(screen, Style::Doubtful, &told));
        }
        for reason in &route.reasons {
            tell(&mut out, reason, is_one, screen);
        }
        out.push('\n');
    }
    out.push_str("next:\n");
    for route in routes {
        let _ = writeln!(out, "  - {}", screen.wrap(4, 4, &next(route)));
    }
    out
}

fn tell(out: &mut String, reason: &Reason, is_one: bool, screen: Screen) {
    let code = reason.predicate.as_ref().map(|_| format!(" {}", printable(&reason.code))).unwrap_or_default();
    let answer = format!("{}{code}, last {}", reason.status, printable(&reason.last));
    let _ = writeln!(out, "  {}  {}", reason.word(), screen.paint(Style::Quiet, &answer));
    let width = reason.principals.iter().map(|one| grouped(one.count).len()).max().unwrap_or_default();
    let longest = reason.principals.iter().map(|one| one.name().chars().count()).max().unwrap_or_default().min(40);
    for one in &reason.principals {
        let last = if is_one {
            screen.paint(Style::Quiet, &format!("  last {}", printable(&one.last)))
        } else {
            String::new()
        };
        let name = one.name();
        let name = if is_one { format!("{name:<longest$}") } else { name };
        let _ = writeln!(out, "    {:>width$}  {name}{last}", grouped(one.count));
    }
    let More { principals, requests, others } = reason.more;
    if requests > 0 {
        let who = match (principals, others) {
            (0, _) => "others".to_owned(),
            (more, false) => format!("{} more", grouped(more)),
            (more, true) => format!("{} more and others", grouped(more)),
        };
        let more = format!("and {who}: {}", counted(requests, "request"));
        let _ = writeln!(out, "    {:>width$}  {}", "", screen.paint(Style::Quiet, &more));
    }
}

/// What an operator does with it.
fn next(route: &Route) -> String {
    let (id, since, seen) = (printable(&route.route), printable(&route.since), counted(route.seen, "request"));
    let Some(first) = route.reasons.first() else {
        return match route.seen {
            0 => format!("{id}: wait. Nobody came since {since}"),
            ENOUGH.. => format!("{id}: enforce it. No refusal in {seen} since {since}: take its `mode: report` away"),
            _ => format!("{id}: wait. {seen} since {since} say little, {} are a start", grouped(ENOUGH)),
        };
    };
    if first.status >= 500 {
        return format!(
            "{id}: {} says nothing about callers: what verifies them could not be asked. See /readyz and the log",
            first.word()
        );
    }
    format!(
        "{id}: mend it first, most of all {}. Give these callers what it asks for, or change the rule, which counts anew",
        first.word()
    )
}

impl Reason {
    /// The predicate of the rule, or the code where nobody got as far as the rule.
    fn word(&self) -> String {
        printable(self.predicate.as_deref().unwrap_or(&self.code))
    }
}

impl Principal {
    /// Somebody may be called anonymous.
    fn name(&self) -> String {
        match self.subject.as_deref() {
            None => "anonymous".to_owned(),
            Some("anonymous") => "\"anonymous\"".to_owned(),
            Some(subject) => printable(subject),
        }
    }
}

/// Line by line: colour that runs over a line's end leaks in some pagers.
fn painted(screen: Screen, style: Style, text: &str) -> String {
    text.lines().map(|line| screen.paint(style, line)).collect::<Vec<_>>().join("\n")
}

fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// 10311 as 10,311.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// In percent, with one decimal; what is not nothing never reads as nothing, nor what is not all as all.
fn share(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1000 / u128::from(whole.max(1));
    match tenths {
        0 if part > 0 => "under 0.1 %".to_owned(),
        1000.. => "100 %".to_owned(),
        tenths => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::{grouped, share};

    #[test]
    fn numbers_read_well() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (10_311, "10,311"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        for (part, whole, text) in [
            (0, 0, "0.0 %"),
            (214, 10_311, "2.0 %"),
            (1, 1_000_000, "under 0.1 %"),
            (999_999, 1_000_000, "99.9 %"),
            (7, 7, "100 %"),
            (u64::MAX, u64::MAX, "100 %"),
        ] {
            assert_eq!(share(part, whole), text);
        }
    }
}
