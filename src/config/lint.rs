//! Advice: what compiles and is probably not what was meant.
//!
//! Called by `compile` for each route, and once for all of them. Only warns; what is wrong for certain is an error where it is compiled.

mod names;
mod table;

use std::collections::HashSet;

use super::codes;
use super::places::At;
use super::report::Problem;
use crate::route::{Access, Mode, Pattern};

pub(super) use names::{Name, tell as names};
pub(super) use table::routes as table;

/// Names that people give to the tenant in a path.
const TENANTS: &[&str] = &[
    "org",
    "orgId",
    "org_id",
    "orgSlug",
    "org_slug",
    "organization",
    "organization_id",
    "organizationId",
    "organisation",
    "tenant",
    "tenant_id",
    "tenantId",
    "workspace",
    "workspace_id",
    "workspaceId",
    "account",
    "account_id",
    "accountId",
    "team",
    "team_id",
    "teamId",
];

/// `compared`: the segments that an `org` or `workspace` rule compares with the caller's.
pub(super) fn route(
    pattern: &Pattern,
    access: Access,
    compared: &HashSet<String>,
    path: At<'_>,
    problems: &mut Vec<Problem>,
) {
    let text = pattern.as_str();
    let at = |needle: &str| {
        let byte = text.find(needle).unwrap_or(0);
        let mut span = path.within(text, byte);
        if span.width == 1 {
            span.width = needle.chars().count();
        }
        span
    };
    match access {
        Access::Protected | Access::Privileged => {
            for name in pattern.names().filter(|name| TENANTS.contains(name) && !compared.contains(*name)) {
                let braced = format!("{{{name}}}");
                let message =
                    format!("nothing compares `{braced}` with the caller's own: members of one reach all others");
                let key = if name.starts_with("work") { "workspace" } else { "org" };
                problems.push(
                    Problem::at_span(codes::TENANT_UNCHECKED, path.source, at(&braced), message)
                        .help(format!("add require: {{ {key}: \"{braced}\" }}"))
                        .warning(),
                );
            }
        }
        Access::Public | Access::Login => {
            if text.starts_with("/{*") {
                let message = "everything that no other route matches is open to everyone";
                problems.push(
                    Problem::at_span(codes::PUBLIC_CATCH_ALL, path.source, path.span(), message)
                        .help("name the public paths one by one, and protect the rest")
                        .warning(),
                );
            }
        }
    }
    if text.len() > 1 && text.ends_with('/') {
        let message = "this pattern matches only with its slash at the end";
        let bare = text.trim_end_matches('/');
        problems.push(
            Problem::at_span(codes::TRAILING_SLASH, path.source, path.within(text, text.len() - 1), message)
                .help(format!("write {bare}, or {bare}/{{*rest}} for all below it"))
                .warning(),
        );
    }
}

/// `mode: report`, which is how a rule is tried and easily forgotten; worst where being let through matters most.
pub(super) fn mode(access: Access, mode: Mode, at: At<'_>, problems: &mut Vec<Problem>) {
    if mode != Mode::Report {
        return;
    }
    let help = "write mode: enforce once the counters show no refusal that surprises you";
    let (code, message) = match access {
        Access::Privileged => {
            (codes::PRIVILEGED_REPORT, "a privileged route in report mode lets through whom it should refuse")
        }
        Access::Protected => (codes::REPORT_MODE, "a route in report mode refuses nobody: it counts, and lets through"),
        // Of a login route it is an error; a public one refuses nobody by a rule anyway.
        Access::Public | Access::Login => return,
    };
    problems.push(Problem::at(code, at, message).help(help).warning());
}
