//! Demands that exclude each other: rules that hold for nobody, whoever comes.
//!
//! Called for what one mapping asks for together. Tells only what is certain of every caller: a credential has one kind, an
//! active org one name, and nothing both holds and does not. Roles may be several, and so may be claims.

use crate::policy::{OrgName, OrgRule, Rule};

/// More are made by a program, and comparing each with each would take its time.
const MAX_RULES: usize = 64;

/// Why these rules never hold together. `None` as long as somebody might satisfy them.
pub(super) fn among<'r>(rules: impl IntoIterator<Item = &'r Rule>) -> Option<&'static str> {
    let mut flat = Vec::new();
    rules.into_iter().for_each(|rule| flatten(rule, &mut flat));
    let pairs =
        flat.iter().enumerate().flat_map(|(index, one)| flat.iter().skip(index + 1).map(move |other| (one, other)));
    pairs.into_iter().find_map(|(one, other)| excluded(one, other).or_else(|| excluded(other, one)))
}

fn flatten<'r>(rule: &'r Rule, flat: &mut Vec<&'r Rule>) {
    match rule {
        _ if flat.len() >= MAX_RULES => {}
        Rule::All(rules) => rules.iter().for_each(|rule| flatten(rule, flat)),
        rule => flat.push(rule),
    }
}

fn excluded(one: &Rule, other: &Rule) -> Option<&'static str> {
    match (one, other) {
        (Rule::Token(one), Rule::Token(other)) if !one.iter().any(|kind| other.contains(kind)) => {
            Some("a credential has one kind, and these lists of `token` have none in common")
        }
        (Rule::Org(one), Rule::Org(other)) => {
            let (one, other) = (literals(one)?, literals(other)?);
            let may_be_one = one.iter().any(|(space, name)| other.iter().any(|(s, n)| s != space || n == name));
            (!may_be_one).then_some("a caller is active in one org, and these name different ones")
        }
        (rule, Rule::Not(not)) if implies(rule, not) => Some("`not` excludes what is asked for beside it"),
        _ => None,
    }
}

/// Orgs by name, when no part comes from the request.
fn literals(orgs: &[OrgRule]) -> Option<Vec<(OrgName, &str)>> {
    let each = orgs.iter().map(|org| match org {
        OrgRule::Named { namespace, template } => Some((*namespace, template.literal()?)),
        OrgRule::Any => None,
    });
    each.collect()
}

/// Whether the other certainly holds where the first does.
fn implies(rule: &Rule, other: &Rule) -> bool {
    fn within<T: PartialEq>(some: &[T], all: &[T]) -> bool {
        some.iter().all(|one| all.contains(one))
    }
    match (rule, other) {
        (Rule::Org(_), Rule::Org(all)) if all.contains(&OrgRule::Any) => true,
        (Rule::Org(some), Rule::Org(all)) => within(some, all),
        (Rule::Token(some), Rule::Token(all)) => within(some, all),
        (Rule::Scope(some), Rule::Scope(all)) => within(some, all),
        (Rule::Role(some), Rule::Role(all)) => within(some, all),
        (Rule::Permission(some), Rule::Permission(all)) => within(some, all),
        (Rule::Feature(some), Rule::Feature(all)) | (Rule::Plan(some), Rule::Plan(all)) => within(some, all),
        (Rule::Workspace(some), Rule::Workspace(all)) => within(some, all),
        (rule, Rule::Any(all)) => all.iter().any(|other| implies(rule, other)),
        (rule, other) => rule == other,
    }
}

#[cfg(test)]
mod tests {
    use super::among;
    use crate::identity::TokenKind::{Legacy, Runner, Session};
    use crate::policy::{OrgRule, RoleName, Rule};

    fn role(name: &str) -> Rule {
        Rule::Role(vec![RoleName::new(name)])
    }

    fn not(rule: Rule) -> Rule {
        Rule::Not(Box::new(rule))
    }

    #[test]
    fn only_what_is_certain_is_told() {
        let any_org = || Rule::Org(vec![OrgRule::Any]);
        let table = [
            ("nothing", vec![], false),
            ("two kinds", vec![Rule::Token(vec![Session]), Rule::Token(vec![Legacy, Runner])], true),
            ("a kind in common", vec![Rule::Token(vec![Session, Legacy]), Rule::Token(vec![Legacy])], false),
            ("a rule and its opposite", vec![role("a"), not(role("a"))], true),
            ("within all", vec![Rule::All(vec![role("a"), any_org()]), Rule::All(vec![not(role("a"))])], true),
            ("one of the excluded", vec![role("a"), not(Rule::Any(vec![role("b"), role("a")]))], true),
            ("another role", vec![role("a"), not(role("b"))], false),
            ("two roles: some have both", vec![role("a"), role("b")], false),
            ("no org at all", vec![any_org(), not(any_org())], true),
        ];
        for (name, rules, expected) in table {
            assert_eq!(among(&rules).is_some(), expected, "{name}");
        }
    }
}
