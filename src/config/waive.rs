//! Waivers: warnings that somebody looked at and meant, each with the reason for the next reader.
//!
//! Taken out of the raw files before they are compiled, and held against what was told afterwards: whoever warns knows
//! nothing of them. The nearest one counts: a route's before its file's before the config's. Never touches an error, and a
//! waiver that waives nothing is told itself, since it would hide the next warning of its kind.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::codes;
use super::pages::{asked, near_code};
use super::places::{At, Span};
use super::raw;
use super::report::Problem;
use super::source::Source;

/// A place in a file: line and column.
type Point = (usize, usize);

/// All waivers of a configuration.
#[derive(Default)]
pub(super) struct Waivers {
    /// By code, file and where the route begins.
    of_routes: BTreeMap<(&'static str, Arc<str>, Point), Waiver>,
    of_files: HashMap<(&'static str, Arc<str>), Waiver>,
    of_all: HashMap<&'static str, Waiver>,
}

struct Waiver {
    reason: Arc<str>,
    /// Behind the last character that it covers.
    until: Point,
    source: Arc<Source>,
    span: Span,
    used: bool,
}

const END: Point = (usize::MAX, usize::MAX);

impl Waivers {
    /// `waive` of `crossgate.yaml`.
    pub(super) fn of_config(&mut self, raw: &mut raw::Config, root: At<'_>, problems: &mut Vec<Problem>) {
        for (code, waiver) in read(raw.waive.take(), root.key("waive"), END, problems) {
            self.of_all.insert(code, waiver);
        }
    }

    /// `waive` of a policy file and of its routes.
    pub(super) fn of_policies(&mut self, raw: &mut raw::Policies, root: At<'_>, problems: &mut Vec<Problem>) {
        let file = &root.source.name;
        for (code, waiver) in read(raw.waive.take(), root.key("waive"), END, problems) {
            self.of_files.insert((code, Arc::clone(file)), waiver);
        }
        let Some(routes) = &mut raw.routes else { return };
        let at = root.key("routes");
        let begins: Vec<Point> = (0..routes.len()).map(|index| point(at.item(index).span())).collect();
        let keys: Vec<Point> = root.key_spans().map(point).collect();
        for (index, route) in routes.iter_mut().enumerate() {
            let Some(waive) = route.waive.take() else { continue };
            let Some(from) = begins.get(index) else { continue };
            let next = keys.iter().filter(|key| *key > from).min();
            let until = begins.get(index + 1).or(next).copied().unwrap_or(END);
            for (code, waiver) in read(Some(waive), at.item(index).key("waive"), until, problems) {
                self.of_routes.insert((code, Arc::clone(file), *from), waiver);
            }
        }
    }

    /// Marks what is waived, and tells which waivers were of no use.
    pub(super) fn apply(mut self, problems: &mut Vec<Problem>) {
        for problem in problems.iter_mut().filter(|problem| !problem.is_error()) {
            problem.waived = self.find(problem).map(|waiver| {
                waiver.used = true;
                Arc::clone(&waiver.reason)
            });
        }
        // Advice about a route with errors is withheld, so that a waiver of it only seems to be of no use.
        if problems.iter().any(Problem::is_error) {
            return;
        }
        let all = self.of_routes.into_iter().map(|((code, ..), waiver)| (code, waiver));
        let all = all.chain(self.of_files.into_iter().map(|((code, _), waiver)| (code, waiver)));
        for (code, waiver) in all.chain(self.of_all).filter(|(_, waiver)| !waiver.used) {
            let message = format!("nothing here is told as {code}, so that this waiver waives nothing");
            problems.push(
                Problem::at_span(codes::IDLE_WAIVER, &waiver.source, waiver.span, message)
                    .help("remove it: it would hide the next warning of its kind")
                    .warning(),
            );
        }
    }

    fn find(&mut self, problem: &Problem) -> Option<&mut Waiver> {
        let (code, file) = (problem.code, &problem.file);
        let here = (problem.line, problem.column);
        // The last route that begins before it, if it reaches that far.
        let to = (code, Arc::clone(file), here);
        let from = (code, Arc::clone(file), (0, 0));
        let of_route = self.of_routes.range_mut(from..=to).next_back().map(|(_, waiver)| waiver);
        of_route
            .filter(|waiver| here < waiver.until)
            .or_else(|| self.of_files.get_mut(&(code, Arc::clone(file))))
            .or_else(|| self.of_all.get_mut(code))
    }
}

/// The waivers of one mapping that can be used.
fn read(
    raw: Option<raw::Named<String>>,
    at: At<'_>,
    until: Point,
    problems: &mut Vec<Problem>,
) -> Vec<(&'static str, Waiver)> {
    let raw::Named(raw) = raw.unwrap_or_default();
    let mut waivers = Vec::with_capacity(raw.len());
    for (index, (name, reason)) in raw.into_iter().enumerate() {
        let place = at.nth(index);
        let span = place.key_span();
        let mut told = |message: String, help: String| {
            problems.push(Problem::at_span(codes::BAD_WAIVER, at.source, span, message).help(help));
        };
        let Some(code) = codes::ALL.iter().find(|code| code.id == name) else {
            let written_otherwise = asked(&name).filter(|id| codes::waivable().any(|known| known == *id));
            let near = near_code(&name).filter(|id| codes::waivable().any(|known| known == *id));
            let help = match written_otherwise.as_deref().or(near) {
                Some(near) => format!("did you mean {near}?"),
                None => "write the code of a warning, as `check` shows it".to_owned(),
            };
            told(format!("no problem has the code `{name}`"), help);
            continue;
        };
        if !codes::waivable().any(|id| id == code.id) {
            told(format!("{name} is an error ({}): it cannot be waived", code.meaning), "mend what it says".to_owned());
            continue;
        }
        if reason.trim().is_empty() {
            let message = format!("the waiver of {name} gives no reason");
            let help = format!("say why it is meant, as in {name}: \"the API compares it\"");
            problems.push(Problem::at(codes::BAD_WAIVER, place, message).help(help));
            continue;
        }
        let waiver = Waiver { reason: reason.trim().into(), until, source: Arc::clone(at.source), span, used: false };
        waivers.push((code.id, waiver));
    }
    waivers
}

fn point(span: Span) -> Point {
    (span.line, span.column)
}
