//! Results of policy tests as people and programs read them.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::super::plain::plain;
use super::super::screen::{Screen, Style, printable};
use super::Ran;
use crate::config::{Case, Expected, Outcome};
use crate::explain::steps::Step;
use crate::policy::PREDICATES;
use crate::suite::coverage::{Coverage, Covered};
use crate::suite::{Got, Judged, Run};

/// Where results are shown.
pub(super) struct Page<'a> {
    pub(super) screen: Screen,
    pub(super) config: &'a Path,
    pub(super) verbose: bool,
}

impl Page<'_> {
    /// The failures, each with what to do next, and the sum.
    pub(super) fn results(&self, ran: &[Ran]) -> String {
        let mut text = String::new();
        for ran in ran {
            if !ran.passed() {
                text.push_str(&self.failure(ran));
            } else if self.verbose {
                text.push_str(&format!("{}  {}\n", self.screen.paint(Style::Good, "ok  "), printable(&ran.case.name)));
            }
        }
        for (name, code) in ran.iter().filter_map(unmeant) {
            let note = format!("{name}: refused before any route ({code}); write deny: {code} where that is meant");
            let word = self.screen.paint(Style::Doubtful, "note");
            text.push_str(&format!("{word}  {}\n", self.screen.wrap(6, 6, &note)));
        }
        let failed = ran.iter().filter(|ran| !ran.passed()).count();
        let tests = if ran.len() == 1 { "test" } else { "tests" };
        let sum = format!("{} {tests}: {} passed, {failed} failed", ran.len(), ran.len() - failed);
        let style = if failed == 0 { Style::Good } else { Style::Bad };
        format!("{text}{}\n", self.screen.paint(style, &sum))
    }

    fn failure(&self, ran: &Ran) -> String {
        let case = &ran.case;
        let mut text = format!(
            "{}  {}\n      {}\n      {}\n",
            self.screen.paint(Style::Bad, "FAIL"),
            self.screen.paint(Style::Strong, &self.screen.wrap(6, 6, &case.name)),
            case.place,
            self.screen.wrap(6, 6, &question(case)),
        );
        let judged = match &ran.judged {
            Ok(judged) => judged,
            Err(why) => return format!("{text}      {}\n\n", self.screen.wrap(6, 6, why)),
        };
        let Some(run) = judged.told() else { return text };
        text.push('\n');
        text.push_str(&self.differences(run));
        for (name, detail) in mattering(&case.expected, &run.got) {
            let head = format!("{name}: ");
            let used = 6 + head.chars().count();
            text.push_str(&format!("      {head}{}\n", self.screen.wrap(used, 8, &plain(&printable(&detail)))));
        }
        if judged.depends_on_the_bucket() {
            let arm = run.arm.map_or("", crate::rollout::Side::as_str);
            let advice = format!(
                "this fails in the {arm} arm only, and the bucket decides who is in it: write arm: legacy or arm: clerk into `as`, \
                 or a test for each"
            );
            text.push_str(&format!("      {}\n", self.screen.wrap(6, 6, &advice)));
        }
        let more = self.pasted(&explain_words(case, Some(run), self.config));
        format!("{text}{more}\n")
    }

    /// A command in one line, or in several that a shell reads as one.
    fn pasted(&self, words: &[String]) -> String {
        let mut lines: Vec<String> = Vec::new();
        let room = self.screen.width().map_or(usize::MAX, |width| width.saturating_sub(10));
        for word in words {
            match lines.last_mut() {
                Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.clone()),
            }
        }
        let last = lines.len().saturating_sub(1);
        let mut text = String::new();
        for (number, line) in lines.iter().enumerate() {
            let indent = if number == 0 { "      " } else { "        " };
            let end = if number == last { "" } else { " \\" };
            text.push_str(&format!("{indent}{}\n", self.screen.paint(Style::Quiet, &format!("{line}{end}"))));
        }
        text
    }

    /// A table of what was expected and what came.
    fn differences(&self, run: &Run) -> String {
        let width = |of: &dyn Fn(&crate::suite::Difference) -> usize, least: usize| {
            run.differences.iter().map(of).max().unwrap_or_default().max(least).min(32)
        };
        let first = width(&|difference| difference.what.chars().count(), 0);
        let second = width(&|difference| difference.expected.chars().count(), "expected".len());
        let mut text = format!("      {:first$}  {:second$}  got\n", "", "expected");
        for difference in &run.differences {
            let crate::suite::Difference { what, expected, got } = difference;
            let expected = format!("{expected:second$}");
            text.push_str(&format!(
                "      {what:first$}  {}  {}\n",
                self.screen.paint(Style::Good, &expected),
                self.screen.paint(Style::Bad, &printable(got)),
            ));
        }
        text
    }

    /// What is not covered, route by route.
    pub(super) fn coverage(&self, coverage: &Coverage, least: Option<f64>) -> String {
        let mut text = String::new();
        let open: Vec<&Covered> =
            coverage.routes.iter().filter(|route| route.points.iter().any(|point| !point.is_shown)).collect();
        let width = open.iter().map(|route| route.id.chars().count()).max().unwrap_or_default().min(30);
        for route in open {
            let missing: Vec<&str> =
                route.points.iter().filter(|point| !point.is_shown).map(|point| &*point.name).collect();
            let id = format!("{:width$}", route.id);
            let used = id.chars().count() + 2;
            // Broken between points, not within one.
            let points = missing.iter().map(|name| name.replace(' ', "\u{a0}")).collect::<Vec<_>>().join(", ");
            let points = self.screen.wrap(used, width + 2, &points).replace('\u{a0}', " ");
            text.push_str(&format!("{id}  {points}\n"));
        }
        let (shown, all) = coverage.counts();
        let is_short = least.is_some_and(|least| coverage.percent() < least);
        let asked = least.filter(|_| is_short).map(|least| format!(", below {least} %")).unwrap_or_default();
        let sum = format!("coverage: {} %, {shown} of {all} points{asked}", rounded(coverage.percent()));
        let head = if text.is_empty() { "" } else { "\nnot covered\n" };
        format!("{head}{text}{}\n", self.screen.paint(if is_short { Style::Bad } else { Style::Strong }, &sum))
    }
}

/// Down to one decimal, so that 100 means all.
fn rounded(percent: f64) -> String {
    let tenths = (percent * 10.0).floor() / 10.0;
    if tenths.fract() == 0.0 { format!("{tenths:.0}") } else { format!("{tenths:.1}") }
}

/// A test that passed for whatever reason it is refused, and meets no route: a slip in its path would go unseen for ever.
fn unmeant(ran: &Ran) -> Option<(&str, &'static str)> {
    let got = &ran.judged.as_ref().ok().filter(|judged| judged.passed())?.told()?.got;
    let is_any = ran.case.expected.outcome == Outcome::Deny(None) && ran.case.expected.status.is_none();
    (is_any && got.route.is_none()).then_some((ran.case.name.as_str(), got.code))
}

/// `POST /api/orgs/acme/invoices as u1 of acme`.
fn question(case: &Case) -> String {
    let who = case.person.as_ref().map_or_else(
        || "as nobody".to_owned(),
        |person| {
            let facts = &person.identity.facts;
            let org = facts.org.as_ref().map(|org| format!(" of {}", org.id)).unwrap_or_default();
            format!("as {}{org}", facts.subject)
        },
    );
    format!("{} {} {who}", case.method, case.url)
}

/// The steps that tell why it came out otherwise.
fn mattering(expected: &Expected, got: &Got) -> Vec<(String, String)> {
    // Within what it is part of.
    let told =
        |step: &Step| (format!("{}{} {}", "  ".repeat(step.depth), step.step, step.outcome), step.detail.clone());
    let is_predicate = |step: &Step| PREDICATES.contains(&step.step);
    match &expected.outcome {
        // What was to refuse, and did not.
        Outcome::Deny(Some(word)) if got.is_allowed => {
            let named: Vec<_> = got.steps.iter().filter(|step| step.step == word).map(told).collect();
            if named.is_empty() && PREDICATES.contains(&word.as_str()) {
                let route = got.route.as_deref().unwrap_or("none");
                return vec![("route".to_owned(), format!("{route} asks for no {word}"))];
            }
            named
        }
        _ => {
            let in_the_way =
                |step: &&Step| matches!(step.outcome, "fails" | "unknown" | "refused") && step.step != "policy";
            let mut steps: Vec<_> = got.steps.iter().filter(in_the_way).map(told).collect();
            let route = |step: &&Step| step.step == "route" && step.outcome == "found";
            if expected.route.is_some() || !got.steps.iter().any(is_predicate) {
                steps.extend(got.steps.iter().find(route).map(told));
            }
            steps
        }
    }
}

/// The same question in full, to be pasted into a shell: words that belong together.
fn explain_words(case: &Case, run: Option<&Run>, config: &Path) -> Vec<String> {
    let config = quoted(&config.display().to_string());
    let mut words = vec![format!("crossgate explain -c {config}"), format!("{} {}", case.method, quoted(&case.url))];
    words.extend(case.headers.iter().map(|(name, value)| format!("-H {}", quoted(&format!("{name}: {value}")))));
    if let Some(written) = case.written.clone() {
        let person = match run.and_then(|run| run.arm) {
            Some(arm) => written.in_arm(arm),
            None => written,
        };
        words.push(format!("--as {}", quoted(&person.to_json())));
    }
    if let Some(at) = case.at_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
        words.push(format!("--at {at}"));
    }
    words
}

/// One word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// One test for programs.
pub(super) fn to_json(ran: &Ran) -> Value {
    let case = &ran.case;
    let run = ran.judged.as_ref().ok().and_then(Judged::told);
    let differences = run.map(|run| {
        let each = run.differences.iter();
        each.map(|one| json!({ "what": one.what, "expected": one.expected, "got": one.got })).collect::<Vec<_>>()
    });
    json!({
        "name": case.name,
        "file": &*case.place.file,
        "line": case.place.line,
        "passed": ran.passed(),
        "expected": expected(&case.expected),
        "got": run.map(|run| run.got.to_json()),
        "differences": differences.unwrap_or_default(),
        "depends_on_the_bucket": ran.judged.as_ref().is_ok_and(Judged::depends_on_the_bucket),
        "problem": ran.judged.as_ref().err(),
        "note": unmeant(ran).map(|(_, code)| format!("refused before any route: {code}")),
    })
}

fn expected(expected: &Expected) -> Value {
    let Expected { outcome, status, route, arm, upstream, headers } = expected;
    let (decision, word) = match outcome {
        Outcome::Allow(word) => ("allow", word),
        Outcome::Deny(word) => ("deny", word),
    };
    let mut members = Map::new();
    members.insert("decision".to_owned(), decision.into());
    let mut add = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(key.to_owned(), value);
        }
    };
    let key = if matches!(outcome, Outcome::Allow(_)) { "reported" } else { "reason" };
    add(key, word.as_deref().map(Value::from));
    add("status", status.map(Value::from));
    add("route", route.as_deref().map(Value::from));
    add("arm", arm.map(|arm| arm.as_str().into()));
    add("upstream", upstream.as_deref().map(Value::from));
    let headers: Map<String, Value> =
        headers.iter().map(|(name, value)| (name.as_str().to_owned(), json!(value))).collect();
    add("headers", Some(Value::Object(headers)).filter(|headers| headers != &json!({})));
    Value::Object(members)
}
