//! How the problems of a config look on a screen, and what `check` says at the end.
//!
//! Everything is readable without colour and fits the screen; programs read `--format json`.

use super::screen::{Screen, Style};
use crate::config::Problem;
use crate::route::{Access, Mode, Routes};

/// Most ids of routes that a summary names.
const MAX_NAMED: usize = 12;

/// Place, code and message, the line with its marks, the help; a blank line behind.
pub(super) fn show(problem: &Problem, screen: Screen) -> String {
    let (style, kind) = if problem.is_error() { (Style::Bad, "") } else { (Style::Doubtful, "warning: ") };
    let plain = format!("{}: {} {kind}{}", problem.place(), problem.code, problem.message);
    let head = screen.wrap(0, 2, &plain);
    let mut text = head.replacen(problem.code, &screen.paint(style, problem.code), 1);
    text.push('\n');
    let number = problem.line.to_string();
    let gutter = " ".repeat(number.len());
    // " 12 | "
    let used = number.len() + 4;
    if let Some((line, marks)) = problem.excerpt(screen.width().map(|width| width.saturating_sub(used))) {
        let bar = screen.paint(Style::Quiet, "|");
        let indent = marks.trim_end_matches('^').len();
        let (before, marks) = marks.split_at_checked(indent).unwrap_or(("", &marks));
        text.push_str(&format!(" {} {bar} {line}\n", screen.paint(Style::Quiet, &number)));
        text.push_str(&format!(" {gutter} {bar} {before}{}\n", screen.paint(style, marks)));
    }
    if let Some(help) = &problem.help {
        let wrapped = screen.wrap("help: ".len(), 2, help);
        text.push_str(&format!("{} {wrapped}\n", screen.paint(Style::Strong, "help:")));
    }
    text.push('\n');
    text
}

/// Who may pass where; the open routes by name, since each is an exception.
pub(super) fn routes(routes: &Routes, screen: Screen) -> String {
    let of = |access: Access| routes.iter().filter(move |route| route.access == access);
    let mut parts = Vec::new();
    for access in [Access::Public, Access::Login, Access::Protected, Access::Privileged] {
        let ids: Vec<&str> = of(access).map(|route| &*route.id).collect();
        let named = if access == Access::Public { named(&ids) } else { String::new() };
        if !ids.is_empty() {
            parts.push(format!("{} {}{named}", ids.len(), access.as_str()));
        }
    }
    let reporting: Vec<&str> =
        routes.iter().filter(|route| route.mode == Mode::Report).map(|route| &*route.id).collect();
    let mut text = format!("{}: {}", counted(routes.len(), "route"), parts.join(", "));
    if !reporting.is_empty() {
        text.push_str(&format!("; {} in report mode{}", reporting.len(), named(&reporting)));
    }
    format!("{}\n", screen.wrap(0, 2, &text))
}

fn named(ids: &[&str]) -> String {
    if ids.is_empty() {
        return String::new();
    }
    let shown = ids.get(..MAX_NAMED.min(ids.len())).unwrap_or(ids).join(", ");
    let more = ids.len().saturating_sub(MAX_NAMED);
    if more > 0 { format!(" ({shown} and {more} more)") } else { format!(" ({shown})") }
}

pub(super) fn counted(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}
