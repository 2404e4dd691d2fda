//! The parts of a rule that a test can show to matter: each condition, each alternative of an `any`.
//!
//! For coverage. Evaluates them one by one, all of them, and decides nothing.

use super::Policy;
use super::rule::{Context, Rule, is_scope};
use super::template::Source;
use super::tri::Tri;
use crate::identity::{Facts, TokenKind};
use crate::request::View;
use crate::route::Captures;

/// One part.
#[derive(Debug, Clone, Copy)]
pub struct Part<'p> {
    rule: &'p Rule,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Must hold: a test shows it by being refused for it.
    Condition,
    /// One of an `any`: a test shows it by passing while it holds. Its place in the list, from 1.
    Alternative(usize),
}

impl Part<'_> {
    /// What it asks, in short: `role`, or `org + role` of several together.
    pub fn name(&self) -> String {
        brief(self.rule)
    }

    /// Whether it asks only for a token, and each of these kinds will do: then it refuses nobody.
    pub fn takes_all(&self, kinds: &[TokenKind]) -> bool {
        matches!(self.rule, Rule::Token(taken) if kinds.iter().all(|kind| taken.contains(kind)))
    }

    /// Whether it holds for somebody.
    pub fn holds(&self, facts: &Facts, captures: &Captures<'_, '_>, view: &View<'_>) -> bool {
        let context = Context { facts, source: Source::new(captures, view), assumed: &[] };
        self.rule.evaluate(&context, &mut ()).value == Tri::True
    }
}

impl Policy {
    /// The parts in the order of evaluation.
    pub fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = Vec::new();
        collect(&self.rule, &mut parts);
        parts
    }
}

fn collect<'p>(rule: &'p Rule, parts: &mut Vec<Part<'p>>) {
    match rule {
        Rule::All(rules) => rules.iter().for_each(|rule| collect(rule, parts)),
        // What every route asks for that names no tokens: nobody wrote it. What takes all kinds refuses nobody.
        Rule::Token(kinds) if **kinds == [TokenKind::Session, TokenKind::Legacy] => {}
        Rule::Token(kinds) if TokenKind::ALL.iter().all(|kind| kinds.contains(kind)) => {}
        Rule::Any(rules) if !is_scope(rules) => {
            parts.push(Part { rule, kind: Kind::Condition });
            let each = rules.iter().enumerate();
            parts.extend(each.map(|(index, rule)| Part { rule, kind: Kind::Alternative(index + 1) }));
        }
        _ => parts.push(Part { rule, kind: Kind::Condition }),
    }
}

fn brief(rule: &Rule) -> String {
    match rule {
        Rule::All(rules) => rules.iter().map(brief).collect::<Vec<_>>().join(" + "),
        Rule::Not(rule) => format!("not {}", brief(rule)),
        Rule::Claim(rule) => format!("claim {}", rule.path.as_str()),
        _ => rule.name().to_owned(),
    }
}
