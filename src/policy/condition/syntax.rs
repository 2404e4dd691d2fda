//! The parser of the crate `cel`, and the bounds in front of it: it recurses and copies by what there is.

use cel::common::ast::{IdedExpr, SourceInfo};
use cel::parser::PrattParser;
use cel::parser::pratt_parser::{Lexer, TokenKind};

use super::{ConditionProblem, ConditionProblemKind as Kind};

/// Longest text of a condition, in bytes.
pub(super) const MAX_LENGTH: usize = 4_096;
/// Most words and signs: bounds the parser's own recursion, which its limit of depth does not do for `? :` and `!`.
const MAX_TOKENS: usize = 400;
/// Deepest nesting of parentheses, brackets and arguments.
const MAX_NESTING: u16 = 24;

/// Where each node stands, by its id; `None` where the parser does not say.
pub(super) type Places = Option<std::sync::Arc<SourceInfo>>;

/// The parser's tree, within bounds.
pub(super) fn parse(text: &str) -> Result<(IdedExpr, Places), ConditionProblem> {
    let problem = |at, kind| ConditionProblem { at, kind };
    if text.len() > MAX_LENGTH {
        return Err(problem(MAX_LENGTH, Kind::TooLong { limit: MAX_LENGTH }));
    }
    // Before the parser sees it, which recurses and copies by what there is.
    let mut lexer = Lexer::new(text);
    let mut tokens = 0;
    loop {
        let token = lexer.lex();
        match token.kind {
            TokenKind::TokEnd if tokens == 0 => return Err(problem(0, Kind::Empty)),
            TokenKind::TokEnd => break,
            TokenKind::TokError => {
                let why = lexer.get_error().map(|error| error.message.clone()).unwrap_or_default();
                return Err(problem(token.start, Kind::Syntax(why)));
            }
            TokenKind::TokWhitespace | TokenKind::TokComment => {}
            TokenKind::TokEqual => return Err(problem(token.start, Kind::Assignment)),
            _ => tokens += 1,
        }
        if tokens > MAX_TOKENS {
            return Err(problem(token.start, Kind::TooMany { limit: MAX_TOKENS }));
        }
    }
    let parser = || PrattParser::new().max_recursion_depth(MAX_NESTING).enable_ident_escape_syntax(true);
    match parser().parse(text) {
        // The parser says where its nodes stand only beside an error, so that it is given one, behind everything else.
        Ok(expression) => {
            let places = parser()
                .parse(&format!("{text}\n]"))
                .err()
                .and_then(|errors| errors.errors.into_iter().find_map(|error| error.source_info));
            Ok((expression, places))
        }
        Err(errors) => {
            let first = errors.errors.into_iter().next();
            let (at, why) = first.map_or((0, String::new()), |error| (offset(text, error.pos), error.msg));
            if why.contains("recursion limit") {
                return Err(problem(0, Kind::TooDeep { limit: usize::from(MAX_NESTING) }));
            }
            Err(problem(at, Kind::Syntax(why.trim_start_matches("Syntax error: ").to_owned())))
        }
    }
}

/// The byte of a line and a column, both from 1.
fn offset(text: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line - 1).unwrap_or(0);
    let before: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let at = before.saturating_add(usize::try_from(column - 1).unwrap_or(0)).min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
