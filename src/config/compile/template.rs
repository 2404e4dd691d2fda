//! Templates: text with `{segment}` and the like, compiled against the path of its route.
//!
//! Called for `require` and for `audit` of a route. Only a problem's words differ between the two; what may be named is
//! said by `policy::Sources`.

use http::HeaderName;

use super::header;
use crate::config::codes;
use crate::config::decode::near;
use crate::config::places::At;
use crate::config::report::Problem;
use crate::policy::{Sources, Template};
use crate::request::fold::Reserved;
use crate::route::Pattern;

/// What a template is compiled against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) pattern: &'a Pattern,
    /// Headers that clients cannot send.
    pub(super) reserved: &'a Reserved,
    pub(super) sources: Sources,
}

/// `None` when it cannot be read; a header that nobody may read is told, and the template is handed out all the same.
pub(super) fn compile(text: &str, scope: Scope<'_>, at: At<'_>, problems: &mut Vec<Problem>) -> Option<Template> {
    let Scope { pattern, reserved, sources } = scope;
    match Template::parse(text, pattern, sources) {
        Ok(template) => {
            headers(text, reserved, at, problems);
            Some(template)
        }
        Err(problem) => {
            let span = at.within(text, problem.at);
            let names: Vec<String> = pattern.names().map(|name| format!("{{{name}}}")).collect();
            let written: String = text.chars().skip(problem.at).take_while(|c| *c != '}').collect();
            let others = match sources {
                Sources::Request => "{query.name} and {header.name}",
                Sources::RequestAndClaims => "{query.name}, {header.name} and {claim.name}",
            };
            let help = match (near(&written, pattern.names()), sources) {
                (Some(near), _) => format!("did you mean `{{{near}}}`?"),
                (None, Sources::RequestAndClaims) if names.is_empty() => format!("there are {others}"),
                (None, Sources::Request) if names.is_empty() => {
                    "the path of this route has no segments with names".to_owned()
                }
                (None, _) => format!("the path has {}; also {others}", names.join(", ")),
            };
            let message = problem.kind.to_string();
            problems.push(Problem::at_span(codes::BAD_TEMPLATE, at.source, span, message).help(help));
            None
        }
    }
}

/// What a template reads besides the path.
fn headers(text: &str, reserved: &Reserved, at: At<'_>, problems: &mut Vec<Problem>) {
    for source in segments(text) {
        let name = source.strip_prefix("header.").and_then(|name| name.parse::<HeaderName>().ok());
        if let Some((message, help)) = name.and_then(|name| header::unreadable(&name, reserved)) {
            let span = at.within(text, text.find(&source).unwrap_or(0));
            problems.push(Problem::at_span(codes::BAD_TEMPLATE, at.source, span, message).help(help));
        }
    }
}

/// What stands in braces.
pub(super) fn segments(text: &str) -> impl Iterator<Item = String> {
    text.split('{').skip(1).filter_map(|piece| piece.split_once('}')).map(|(name, _)| name.to_owned())
}
