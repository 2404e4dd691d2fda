//! `require`: from what people write to a tree of predicates, or the reason why it can never be one.
//!
//! A rule that can never hold is an error, since whoever wrote it meant something else; one that always holds is an
//! error too, for the same reason and a worse one.

use std::collections::HashSet;

use super::identity::{Roles, slug_beside_ids};
use super::template;
use super::{condition, contradiction};
use crate::config::codes::{self, Code};
use crate::config::decode::near;
use crate::config::lint::Name;
use crate::config::places::At;
use crate::config::raw;
use crate::config::report::Problem;
use crate::identity::TokenKind;
use crate::policy::{
    ClaimPath, ClaimRule, ClaimValue, Level, OrgName, OrgRule, PermissionName, Preset, Reverified, RoleName, Rule,
    ScopedName, Sources, Template, WorkspaceRule,
};
use crate::request::fold::Reserved;
use crate::route::Pattern;

/// What a rule is compiled against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) pattern: &'a Pattern,
    /// What `org: "{org}"` compares.
    pub(super) org_name: OrgName,
    /// Whether anything says which workspaces somebody may enter.
    pub(super) has_workspaces: bool,
    /// Whether the identity map has legacy ids of orgs.
    pub(super) has_legacy_orgs: bool,
    pub(super) roles: &'a Roles,
    /// Headers that clients cannot send.
    pub(super) reserved: &'a Reserved,
    /// `runner.scopes`; `None` where nobody gets a runner token.
    pub(super) runner: Option<&'a [Box<str>]>,
}

/// Compiles one `require`.
pub(super) struct Rules<'a, 'p> {
    scope: Scope<'a>,
    problems: &'p mut Vec<Problem>,
    /// Segments that some `org` or `workspace` compares with the caller's.
    pub(super) compared: HashSet<String>,
    /// The roles, permissions, features and plans that are asked for.
    pub(super) names: Vec<Name>,
    /// Whether this place lets tokens with scopes in; `None` where no mapping is around it.
    takes_scoped: Option<bool>,
}

impl<'a, 'p> Rules<'a, 'p> {
    pub(super) fn new(scope: Scope<'a>, problems: &'p mut Vec<Problem>) -> Self {
        Self { scope, problems, compared: HashSet::new(), names: Vec::new(), takes_scoped: None }
    }

    /// All keys of one mapping. `org_known`: something around it already asks for an active org.
    pub(super) fn compile(&mut self, raw: raw::Rule, at: At<'_>, org_known: bool) -> Vec<Rule> {
        let raw::Rule {
            token,
            scope,
            org,
            role,
            permission,
            workspace,
            feature,
            plan,
            reverified,
            claim,
            when,
            any,
            all,
            not,
        } = raw;
        // A rule below `all` holds together with its siblings, so that their org is its own.
        let in_all = all.as_ref().is_some_and(|rules| rules.iter().any(|rule| rule.org.is_some()));
        let org_known = org_known || in_all || org.is_some() || at.was_dropped("org");
        let told_before = self.problems.len();
        let mut rules = Vec::new();
        let kinds = token.and_then(|raw| self.token(&raw, at.key("token")));
        let around = self.takes_scoped;
        let takes = kinds.as_ref().map(|kinds| kinds.iter().any(|kind| kind.has_scopes()));
        // Without a list of its own, a route lets none of them in, however much its alternatives list.
        self.takes_scoped = Some(match (around, takes) {
            (None, takes) => takes.unwrap_or(false),
            (Some(around), takes) => around && takes.unwrap_or(true),
        });
        rules.extend(scope.and_then(|raw| self.scope_of(raw, kinds.as_deref(), at.key("scope"))));
        rules.extend(kinds.map(Rule::Token));
        rules.extend(org.and_then(|raw| self.org(raw, at.key("org"))));
        rules.extend(role.and_then(|raw| self.role(&raw, at.key("role"), org_known)));
        rules.extend(permission.and_then(|raw| self.permission(&raw, at.key("permission"), org_known)));
        rules.extend(workspace.and_then(|raw| self.workspace(raw, at.key("workspace"))));
        rules.extend(feature.and_then(|raw| self.scoped("feature", &raw, at.key("feature"))).map(Rule::Feature));
        rules.extend(plan.and_then(|raw| self.scoped("plan", &raw, at.key("plan"))).map(Rule::Plan));
        rules.extend(reverified.and_then(|raw| self.reverified(raw, at.key("reverified"))));
        rules.extend(claim.map(|raw| self.claims(raw, at.key("claim"))).unwrap_or_default());
        rules.extend(when.and_then(|text| self.when(&text, at.key("when"))));
        let alternatives = any.and_then(|raw| self.alternatives(raw, at.key("any"), org_known));
        rules.extend(all.and_then(|raw| self.list(raw, at.key("all"), org_known)).map(Rule::All));
        rules.extend(not.map(|raw| Rule::Not(Box::new(self.nested(*raw, at.key("not"), org_known)))));
        if self.problems.iter().skip(told_before).all(|problem| !problem.is_error()) {
            self.contradictions(&rules, alternatives.as_deref().unwrap_or_default(), at);
        }
        rules.extend(alternatives.map(Rule::Any));
        self.takes_scoped = around;
        rules
    }

    /// What holds for nobody, together or in one of the alternatives.
    fn contradictions(&mut self, rules: &[Rule], alternatives: &[Rule], at: At<'_>) {
        if let Some(why) = contradiction::among(rules) {
            self.tell(codes::NEVER_TRUE, at, format!("this rule never holds: {why}"), "remove one of the two");
            return;
        }
        for (index, alternative) in alternatives.iter().enumerate() {
            if let Some(why) = contradiction::among(rules.iter().chain([alternative])) {
                let message = format!("this alternative never holds: {why}");
                self.tell(codes::NEVER_TRUE, at.key("any").item(index), message, "remove it, or what excludes it");
            }
        }
    }

    fn tell(&mut self, code: Code, at: At<'_>, message: impl Into<String>, help: &str) {
        self.problems.push(Problem::at(code, at, message).help(help));
    }

    /// An empty list means that none of nothing is needed: it never holds.
    fn never_empty(&mut self, is_empty: bool, at: At<'_>) -> Option<()> {
        if !is_empty {
            return Some(());
        }
        if !at.has_gaps() {
            self.tell(codes::NEVER_TRUE, at, "an empty list never holds", "remove it, or say what is asked for");
        }
        None
    }

    /// A rule within `any`, `all` or `not`.
    fn nested(&mut self, raw: raw::Rule, at: At<'_>, org_known: bool) -> Rule {
        let before = self.problems.len();
        let mut rules = self.compile(raw, at, org_known);
        if rules.is_empty() && self.problems.len() == before && !at.lost_keys() {
            self.tell(codes::BAD_RULE, at, "an empty rule always holds", "remove it, or say what is asked for");
        }
        match (rules.pop(), rules.is_empty()) {
            (Some(only), true) => only,
            (last, _) => Rule::All(rules.into_iter().chain(last).collect()),
        }
    }

    fn list(&mut self, raw: Vec<raw::Rule>, at: At<'_>, org_known: bool) -> Option<Vec<Rule>> {
        self.never_empty(raw.is_empty(), at)?;
        Some(raw.into_iter().enumerate().map(|(index, rule)| self.nested(rule, at.item(index), org_known)).collect())
    }

    fn alternatives(&mut self, raw: Vec<raw::Rule>, at: At<'_>, org_known: bool) -> Option<Vec<Rule>> {
        let rules = self.list(raw, at, org_known)?;
        // Alone in its alternative, `org: any` swallows each one that names an org.
        let any = rules.iter().position(|rule| matches!(rule, Rule::Org(orgs) if orgs.contains(&OrgRule::Any)));
        if let Some(any) = any.filter(|_| rules.iter().any(names_org)) {
            self.any_beside_named(at.item(any));
        }
        Some(rules)
    }

    /// What a token has to be narrowed to. Where a list of kinds names such as have no scopes beside it, these are what
    /// they always were: it would make no sense to list them otherwise.
    fn scope_of(&mut self, raw: raw::OneOrMany, kinds: Option<&[TokenKind]>, at: At<'_>) -> Option<Rule> {
        self.never_empty(raw.0.is_empty(), at)?;
        if self.takes_scoped != Some(true) {
            let span = at.key_span();
            let message = "a scope never holds where no token with scopes may come";
            let help =
                "list it beside `scope` and in every rule around it: token: [runner], or token: [session, runner]";
            self.problems.push(Problem::at_span(codes::SCOPE, at.source, span, message).help(help).warning());
        }
        for (index, scope) in raw.0.iter().enumerate() {
            if !super::runner::is_scope(scope) {
                let help = "write it as in executions:write";
                self.tell(codes::SCOPE, at.item(index), "no token is ever narrowed to such a scope", help);
            } else if self.scope.runner.is_some_and(|known| !known.iter().any(|known| **known == **scope)) {
                let message = format!("`{scope}` is not in runner.scopes, so that no runner token has it");
                let help = match near(scope, self.scope.runner.unwrap_or_default().iter().map(|known| &**known)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "add it to runner.scopes".to_owned(),
                };
                self.problems.push(Problem::at(codes::SCOPE, at.item(index), message).help(help).warning());
            }
        }
        let asked = Rule::Scope(raw.0.into_iter().map(String::into_boxed_str).collect());
        let (scoped, others): (Vec<_>, Vec<_>) =
            kinds.unwrap_or_default().iter().copied().partition(|kind| kind.has_scopes());
        Some(match scoped.is_empty() || others.is_empty() {
            true => asked,
            false => Rule::Any(vec![Rule::Token(others), Rule::All(vec![Rule::Token(scoped), asked])]),
        })
    }

    fn token(&mut self, raw: &raw::OneOrMany, at: At<'_>) -> Option<Vec<TokenKind>> {
        self.never_empty(raw.0.is_empty(), at)?;
        const KNOWN: [TokenKind; 3] = TokenKind::ALL;
        let mut kinds = Vec::new();
        for (index, word) in raw.0.iter().enumerate() {
            if let Some(kind) = KNOWN.into_iter().find(|kind| kind.as_str() == word) {
                if kind == TokenKind::Runner && self.scope.runner.is_none() {
                    let message = "nobody has such a token: `runner` is not enabled";
                    let help = "turn it on in the config: runner: { enabled: true, scopes: […] }";
                    self.problems.push(Problem::at(codes::NO_EFFECT, at.item(index), message).help(help).warning());
                }
                kinds.push(kind);
                continue;
            }
            let help = match near(word, KNOWN.map(TokenKind::as_str)) {
                _ if word.contains(',') => "write a list: token: [session, legacy]".to_owned(),
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known values: {}", KNOWN.map(TokenKind::as_str).join(", ")),
            };
            self.tell(codes::UNKNOWN_WORD, at.item(index), "unknown value for `token`", &help);
        }
        Some(kinds)
    }

    fn template(&mut self, text: &str, at: At<'_>) -> Option<Template> {
        let Scope { pattern, reserved, .. } = self.scope;
        let scope = template::Scope { pattern, reserved, sources: Sources::Request };
        let template = template::compile(text, scope, at, self.problems)?;
        self.compared.extend(template::segments(text));
        Some(template)
    }

    fn org(&mut self, raw: raw::Several<raw::TextOr<raw::OrgBy>>, at: At<'_>) -> Option<Rule> {
        self.never_empty(raw.0.is_empty(), at)?;
        let is_any = |org: &raw::TextOr<raw::OrgBy>| matches!(org, raw::TextOr::Text(text) if text == "any");
        if let Some(any) = raw.0.iter().position(is_any).filter(|_| !raw.0.iter().all(is_any)) {
            self.any_beside_named(at.item(any));
        }
        let orgs = raw.0.into_iter().enumerate().filter_map(|(index, org)| self.one_org(org, at.item(index)));
        Some(Rule::Org(orgs.collect()))
    }

    /// The named org looks like a tenant boundary, and there is none.
    fn any_beside_named(&mut self, at: At<'_>) {
        let message = "`any` lets members of every org in, so that the org named beside it has no effect";
        self.tell(codes::ANY_ORG, at, message, "remove `any`, or the named org when every org is meant");
    }

    fn one_org(&mut self, raw: raw::TextOr<raw::OrgBy>, at: At<'_>) -> Option<OrgRule> {
        let named = |namespace, template| OrgRule::Named { namespace, template };
        match raw {
            raw::TextOr::Text(text) if text == "any" => Some(OrgRule::Any),
            raw::TextOr::Text(text) => {
                let namespace = self.scope.org_name;
                self.template(&text, at).map(|template| named(namespace, template))
            }
            raw::TextOr::Full(raw::OrgBy { slug: Some(text), clerk_id: None, legacy_id: None }) => {
                if self.scope.has_legacy_orgs {
                    self.problems.push(slug_beside_ids(at.key("slug"), "org: { legacy_id: … }"));
                }
                self.template(&text, at.key("slug")).map(|template| named(OrgName::Slug, template))
            }
            raw::TextOr::Full(raw::OrgBy { slug: None, clerk_id: Some(text), legacy_id: None }) => {
                self.template(&text, at.key("clerk_id")).map(|template| named(OrgName::ClerkId, template))
            }
            raw::TextOr::Full(raw::OrgBy { slug: None, clerk_id: None, legacy_id: Some(text) }) => {
                self.template(&text, at.key("legacy_id")).map(|template| named(OrgName::LegacyId, template))
            }
            raw::TextOr::Full(raw::OrgBy { .. }) => {
                if !at.lost_keys() {
                    let help = "write org: \"{org}\", org: { slug: \"{org}\" } or org: any";
                    self.tell(
                        codes::BAD_RULE,
                        at,
                        "an org is compared by exactly one of `clerk_id`, `legacy_id` and `slug`",
                        help,
                    );
                }
                None
            }
        }
    }

    fn needs_org(&mut self, what: &str, at: At<'_>, org_known: bool) {
        if !org_known {
            let span = at.key_span();
            let message = format!("`{what}` without `org`: it would count in whichever org the caller is active");
            self.problems.push(
                Problem::at_span(codes::ROLE_WITHOUT_ORG, at.source, span, message)
                    .help("add org: \"{org}\" with the org's segment of the path, or org: any when that is meant"),
            );
        }
    }

    fn role(&mut self, raw: &raw::OneOrMany, at: At<'_>, org_known: bool) -> Option<Rule> {
        self.needs_org("role", at, org_known);
        self.never_empty(raw.0.is_empty(), at)?;
        self.no_empty_names(&raw.0, at);
        self.names.extend(raw.0.iter().enumerate().map(|(index, name)| Name::new("role", name, at.item(index))));
        Some(Rule::Role(raw.0.iter().map(|name| role_name(self.scope.roles, name)).collect()))
    }

    fn permission(&mut self, raw: &raw::OneOrMany, at: At<'_>, org_known: bool) -> Option<Rule> {
        self.needs_org("permission", at, org_known);
        self.never_empty(raw.0.is_empty(), at)?;
        self.no_empty_names(&raw.0, at);
        for (index, name) in raw.0.iter().enumerate() {
            self.names.push(Name::new("permission", name, at.item(index)));
            if name.trim_start_matches("org:").starts_with("sys_") {
                let help =
                    "Clerk's system permissions are not in session tokens: ask for a role or a custom permission";
                self.tell(codes::NEVER_TRUE, at.item(index), "a system permission never holds", help);
            }
        }
        Some(Rule::Permission(raw.0.iter().map(|name| PermissionName::new(name)).collect()))
    }

    fn when(&mut self, text: &str, at: At<'_>) -> Option<Rule> {
        let Scope { org_name, roles, reserved, .. } = self.scope;
        let role = |name: &str| role_name(roles, name);
        let scope = condition::Scope { org_name, role: &role, reserved };
        condition::compile(text, scope, at, self.problems)
    }

    fn no_empty_names(&mut self, names: &[String], at: At<'_>) {
        for (index, name) in names.iter().enumerate() {
            if name.contains(',') {
                let each: Vec<&str> = name.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
                let list = if at.item(index).is_substituted() { "…".to_owned() } else { each.join(", ") };
                let help = format!("write a list: [{list}]");
                self.tell(codes::NEVER_TRUE, at.item(index), "this is one name, with a comma in it", &help);
            } else if name.trim_start_matches("org:").trim() != name.trim_start_matches("org:")
                || name.trim_start_matches("org:").is_empty()
            {
                self.tell(codes::NEVER_TRUE, at.item(index), "nobody has a name like this", "write it as Clerk does");
            }
        }
    }

    fn workspace(&mut self, raw: raw::Several<raw::TextOr<raw::WorkspaceBy>>, at: At<'_>) -> Option<Rule> {
        if !self.scope.has_workspaces {
            let help = "set identity.workspaces.claim to the claim that lists them, or name a map: identity.map.file";
            let span = at.key_span();
            let message = "a workspace rule never holds while nothing says which workspaces a caller has";
            self.problems.push(Problem::at_span(codes::NEVER_TRUE, at.source, span, message).help(help));
        }
        self.never_empty(raw.0.is_empty(), at)?;
        let mut workspaces = Vec::new();
        for (index, one) in raw.0.into_iter().enumerate() {
            let at = at.item(index);
            let (text, place, roles) = match one {
                raw::TextOr::Text(text) => (text, at, Vec::new()),
                raw::TextOr::Full(raw::WorkspaceBy { id: Some(id), role }) => {
                    if let Some(raw::OneOrMany(roles)) = &role {
                        self.never_empty(roles.is_empty(), at.key("role"));
                        self.no_empty_names(roles, at.key("role"));
                    }
                    (id, at.key("id"), role.map(|raw::OneOrMany(roles)| roles).unwrap_or_default())
                }
                raw::TextOr::Full(raw::WorkspaceBy { id: None, role: _ }) => {
                    if !at.was_dropped("id") {
                        super::missing(
                            at,
                            "id",
                            "write workspace: { id: \"{workspace}\", role: editor }",
                            self.problems,
                        );
                    }
                    continue;
                }
            };
            let Some(template) = self.template(&text, place) else { continue };
            workspaces.push(WorkspaceRule { template, roles: roles.into_iter().map(String::into_boxed_str).collect() });
        }
        Some(Rule::Workspace(workspaces))
    }

    fn scoped(&mut self, kind: &'static str, raw: &raw::OneOrMany, at: At<'_>) -> Option<Vec<ScopedName>> {
        self.never_empty(raw.0.is_empty(), at)?;
        let mut names = Vec::new();
        for (index, text) in raw.0.iter().enumerate() {
            let name = ScopedName::parse(text).filter(|_| !text.trim().is_empty());
            if name.is_none() {
                let help = "write a name, or org:name or user:name";
                self.tell(codes::BAD_RULE, at.item(index), "this is no feature or plan", help);
            }
            self.names.push(Name::new(kind, text, at.item(index)));
            names.extend(name);
        }
        Some(names)
    }

    fn reverified(&mut self, raw: raw::TextOr<raw::Reverified>, at: At<'_>) -> Option<Rule> {
        let presets = [Preset::StrictMfa, Preset::Strict, Preset::Moderate, Preset::Lax].map(Preset::as_str);
        let levels = [Level::First, Level::Second, Level::Multi].map(Level::as_str);
        match raw {
            raw::TextOr::Text(text) => {
                let preset = Preset::parse(&text);
                if preset.is_none() {
                    self.unknown_word(&text, "reverified", &presets, at);
                }
                preset.map(Reverified::from).map(Rule::Reverified)
            }
            raw::TextOr::Full(raw::Reverified { level, after_minutes }) => {
                let write = "write reverified: { level: second_factor, after_minutes: 10 }";
                let (Some(level), Some(minutes)) = (level, after_minutes) else {
                    if !at.lost_keys() {
                        self.tell(codes::BAD_RULE, at, "both `level` and `after_minutes` are needed", write);
                    }
                    return None;
                };
                let Some(level) = Level::parse(&level) else {
                    self.unknown_word(&level, "level", &levels, at.key("level"));
                    return None;
                };
                let rule = Reverified::new(level, minutes);
                if rule.is_none() {
                    self.tell(codes::BAD_RULE, at.key("after_minutes"), "after_minutes must be above zero", write);
                }
                rule.map(Rule::Reverified)
            }
        }
    }

    fn unknown_word(&mut self, word: &str, key: &str, known: &[&str], at: At<'_>) {
        let help = match near(word, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known values: {}", known.join(", ")),
        };
        self.tell(codes::UNKNOWN_WORD, at, format!("unknown value for `{key}`"), &help);
    }

    /// Each claim must hold.
    fn claims(&mut self, raw: raw::Named<raw::Scalars>, at: At<'_>) -> Vec<Rule> {
        if raw.0.is_empty() && !at.lost_keys() {
            self.tell(codes::BAD_RULE, at, "no claim is named", "write claim: { department: [eng, ops] }");
        }
        let mut rules = Vec::new();
        for (index, (name, raw::Scalars(values))) in raw.0.into_iter().enumerate() {
            let place = at.nth(index);
            let path = match ClaimPath::parse(&name) {
                Ok(path) => path,
                Err(problem) => {
                    let message = problem.kind.to_string();
                    let help = "write names joined by dots; quote a name that has dots itself";
                    self.problems
                        .push(Problem::at_span(codes::BAD_CLAIM_PATH, at.source, place.key_span(), message).help(help));
                    continue;
                }
            };
            if self.never_empty(values.is_empty(), place).is_none() {
                continue;
            }
            rules.push(Rule::Claim(ClaimRule {
                path,
                any_of: values.into_iter().filter_map(ClaimValue::new).collect(),
            }));
        }
        rules
    }
}

/// A role with the legacy ones that mean it.
fn role_name(roles: &Roles, name: &str) -> RoleName {
    let role = RoleName::new(name);
    match roles.get(role.as_str()) {
        Some(legacy) => role.meant_by(legacy.iter().cloned()),
        None => role,
    }
}

fn names_org(rule: &Rule) -> bool {
    match rule {
        Rule::Org(orgs) => orgs.iter().any(|org| matches!(org, OrgRule::Named { .. })),
        Rule::All(rules) => rules.iter().any(names_org),
        _ => false,
    }
}
