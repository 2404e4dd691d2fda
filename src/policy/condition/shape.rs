//! What the parser made of macros, members and signs, recognised: pieces of its tree become words of ours, or nothing.

use cel::common::ast::{ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators};

use super::tree::{Comparison, Operator, Quantifier};

/// A loop over a list, as the macro of its name was written.
pub(super) enum Shape<'e> {
    Quantified(Quantifier, &'e IdedExpr),
    Collect(Option<&'e IdedExpr>, &'e IdedExpr),
}

/// Which macro the parser made this of.
pub(super) fn shape(made: &ComprehensionExpr) -> Option<Shape<'_>> {
    let Expr::Call(step) = &made.loop_step.expr else { return None };
    let appended = |expr: &'_ IdedExpr| match &expr.expr {
        Expr::Call(add) if add.func_name == operators::ADD => matches!(add.args.as_slice(), [_, _]),
        _ => false,
    };
    match (&made.accu_init.expr, step.func_name.as_str(), step.args.as_slice()) {
        (Expr::Literal(LiteralValue::Boolean(_)), operators::LOGICAL_AND, [_, body]) => {
            Some(Shape::Quantified(Quantifier::All, body))
        }
        (Expr::Literal(LiteralValue::Boolean(_)), operators::LOGICAL_OR, [_, body]) => {
            Some(Shape::Quantified(Quantifier::Exists, body))
        }
        (Expr::Literal(LiteralValue::Int(_)), operators::CONDITIONAL, [body, ..]) => {
            Some(Shape::Quantified(Quantifier::ExistsOne, body))
        }
        (Expr::List(_), operators::CONDITIONAL, [filter, add, _]) if appended(add) => {
            Some(Shape::Collect(Some(filter), appended_item(add)?))
        }
        (Expr::List(_), operators::ADD, _) => Some(Shape::Collect(None, appended_item(&made.loop_step)?)),
        _ => None,
    }
}

/// What `list + [item]` appends.
fn appended_item(add: &IdedExpr) -> Option<&IdedExpr> {
    let Expr::Call(add) = &add.expr else { return None };
    let [_, IdedExpr { expr: Expr::List(list), .. }] = add.args.as_slice() else { return None };
    list.elements.first()
}

pub(super) fn holds_comprehension(expr: &IdedExpr) -> bool {
    match &expr.expr {
        Expr::Comprehension(_) => true,
        Expr::Call(call) => {
            call.target.iter().any(|target| holds_comprehension(target)) || call.args.iter().any(holds_comprehension)
        }
        Expr::Select(select) => holds_comprehension(&select.operand),
        Expr::List(list) => list.elements.iter().any(holds_comprehension),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Map(_) | Expr::Struct(_) => false,
    }
}

/// `of.name` or `of["name"]`.
pub(super) fn member(expr: &IdedExpr) -> Option<(&IdedExpr, &str)> {
    match &expr.expr {
        Expr::Select(select) if !select.test => Some((&select.operand, &select.field)),
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [of, index] => Some((of, text(index)?)),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn text(expr: &IdedExpr) -> Option<&str> {
    match &expr.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

pub(super) fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::Unequal,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

pub(super) fn operator(name: &str) -> Option<Operator> {
    Some(match name {
        operators::ADD => Operator::Add,
        operators::SUBSTRACT => Operator::Subtract,
        operators::MULTIPLY => Operator::Multiply,
        operators::DIVIDE => Operator::Divide,
        operators::MODULO => Operator::Remainder,
        _ => return None,
    })
}
