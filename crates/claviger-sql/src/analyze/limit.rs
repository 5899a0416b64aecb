//! Whether a limit or a pattern leaves anything out.

use pg_raw_parse::Node;
use pg_raw_parse::nodes;
use pg_raw_parse::raw::{A_Expr_Kind, SQLValueFunctionOp};

use super::expression::SETOP_NONE;
use super::names::{constant_number, constant_text, qualified};
use super::walk::visit;

/// Numbers beyond which there are no keys.
const MANY: f64 = 1e9;
/// How deep numbers may be nested that are computed.
const DEEPEST: u8 = 16;
/// Years before which nothing was kept.
const LONG_AGO: f64 = 20.0;

/// A limit from below that nothing is beneath: no key is negative, no text before the empty one, no moment before the first.
pub(super) fn is_lowest(limit: Node<'_>) -> bool {
    let limit = plain(limit);
    if let Node::RowExpr(row) = limit {
        return row.args().first().is_some_and(is_lowest);
    }
    if let Some(number) = computed(limit) {
        return number <= 1.0;
    }
    gives_extreme(limit, "min")
        || is_long_ago(limit)
        || constant_text(limit).is_some_and(|text| {
            let text = text.trim();
            text.is_empty()
                || text == "-infinity"
                || text == "epoch"
                || text.get(..4).and_then(|year| year.parse::<u32>().ok()).is_some_and(|year| year <= 1970)
        })
}

/// A limit from above that nothing is beyond.
pub(super) fn is_highest(limit: Node<'_>) -> bool {
    let limit = plain(limit);
    if let Node::RowExpr(row) = limit {
        return row.args().first().is_some_and(is_highest);
    }
    if let Some(number) = computed(limit) {
        return number >= MANY;
    }
    gives_extreme(limit, "max")
        || is_now(limit)
        || is_later(limit)
        || constant_text(limit).is_some_and(|text| {
            let text = text.trim();
            let year = text.split('-').next().and_then(|year| year.parse::<u32>().ok());
            matches!(text, "infinity" | "now" | "today" | "tomorrow")
                || year.is_some_and(|year| year >= 2100)
                || text.chars().all(|c| matches!(c, 'z' | 'Z' | '~' | '\u{10ffff}'))
        })
}

/// A number that constants amount to, if that can be told without the server.
pub(super) fn computed(node: Node<'_>) -> Option<f64> {
    computed_to(node, DEEPEST)
}

fn computed_to(node: Node<'_>, depth: u8) -> Option<f64> {
    if let Some(number) = constant_number(node) {
        return Some(number);
    }
    let depth = depth.checked_sub(1)?;
    let computed = |node| computed_to(node, depth);
    match plain(node) {
        Node::A_Expr(expression) if expression.kind == A_Expr_Kind::AEXPR_OP => {
            let right = computed(expression.rexpr())?;
            let left = if matches!(expression.lexpr(), Node::None) { 0.0 } else { computed(expression.lexpr())? };
            match qualified(expression.name())?.1 {
                "+" => Some(left + right),
                "-" => Some(left - right),
                "*" => Some(left * right),
                "/" if right != 0.0 => Some(left / right),
                "^" => Some(left.powf(right)),
                _ => None,
            }
        }
        Node::FuncCall(call) => {
            let mut arguments = call.args().iter().map(computed);
            match (qualified(call.funcname())?.1, arguments.next()??, arguments.next().flatten()) {
                ("abs", number, None) => Some(number.abs()),
                ("power" | "pow", base, Some(exponent)) => Some(base.powf(exponent)),
                _ => None,
            }
        }
        Node::TypeCast(cast) => computed(cast.arg()),
        node => constant_number(node),
    }
}

/// A value, also where a query only gives it.
fn plain(node: Node<'_>) -> Node<'_> {
    match node {
        Node::SubLink(link) => only_value(link).unwrap_or(node),
        node => node,
    }
}

/// What a query without tables gives.
pub(super) fn only_value(link: &nodes::SubLink) -> Option<Node<'_>> {
    let Node::SelectStmt(select) = link.subselect() else { return None };
    let simple = select.op == SETOP_NONE && select.from_clause().is_empty() && matches!(select.where_clause(), Node::None);
    let mut targets = select.target_list().iter();
    match (targets.next(), targets.next(), simple) {
        (Some(target), None, true) => Some(target.val()),
        _ => None,
    }
}

/// Whether a limit is made of the least or the greatest value that there is, as a query gives it.
fn gives_extreme(limit: Node<'_>, aggregate: &str) -> bool {
    let mut gives = false;
    visit(limit, |node| {
        let Node::SubLink(link) = node else { return };
        let Node::SelectStmt(select) = link.subselect() else { return };
        for target in select.target_list().iter() {
            visit(target.val(), |node| {
                gives |= matches!(node, Node::FuncCall(call)
                    if qualified(call.funcname()).is_some_and(|(_, name)| name == aggregate));
            });
        }
    });
    gives
}

/// The present.
fn is_now(node: Node<'_>) -> bool {
    match node {
        Node::SQLValueFunction(function) => matches!(
            function.op,
            SQLValueFunctionOp::SVFOP_CURRENT_DATE
                | SQLValueFunctionOp::SVFOP_CURRENT_TIMESTAMP
                | SQLValueFunctionOp::SVFOP_CURRENT_TIMESTAMP_N
                | SQLValueFunctionOp::SVFOP_LOCALTIMESTAMP
                | SQLValueFunctionOp::SVFOP_LOCALTIMESTAMP_N
        ),
        Node::FuncCall(call) => qualified(call.funcname())
            .is_some_and(|(_, name)| matches!(name, "now" | "clock_timestamp" | "statement_timestamp" | "transaction_timestamp")),
        Node::TypeCast(cast) => is_now(cast.arg()),
        _ => false,
    }
}

/// The present and something more.
fn is_later(node: Node<'_>) -> bool {
    let Node::A_Expr(expression) = node else { return false };
    qualified(expression.name()).is_some_and(|(_, name)| name == "+")
        && (is_now(expression.lexpr()) || is_now(expression.rexpr()))
}

/// The present less decades.
fn is_long_ago(node: Node<'_>) -> bool {
    let Node::A_Expr(expression) = node else { return false };
    if qualified(expression.name()).is_none_or(|(_, name)| name != "-") || !is_now(expression.lexpr()) {
        return false;
    }
    let Some(text) = constant_text(expression.rexpr()).map(|text| text.to_ascii_lowercase()) else { return false };
    let number = text.split_whitespace().next().and_then(|number| number.parse::<f64>().ok()).unwrap_or(0.0);
    let years = if text.contains("year") { number } else { 0.0 };
    years >= LONG_AGO || ["decade", "centur", "millenni"].iter().any(|word| text.contains(word))
}

/// Whether a pattern of `LIKE` asks for anything.
pub(super) fn is_narrow(pattern: &str) -> bool {
    pattern.chars().any(|c| !matches!(c, '%' | '_'))
}

/// Whether a regular expression asks for anything: a letter or digit that is not optional nor one of a set, as far as can be told
/// without reading it.
pub(super) fn is_narrow_expression(pattern: &str) -> bool {
    let optional = ["|", "(?", ")*", ")?", "){"].iter().any(|part| pattern.contains(part));
    let mut chars = pattern.chars().peekable();
    let (mut narrow, mut set) = (false, false);
    while let Some(c) = chars.next() {
        match c {
            '\\' => _ = chars.next(),
            '[' => set = true,
            ']' => set = false,
            '{' => while chars.next().is_some_and(|c| c != '}') {},
            _ => {
                let repeated_never = matches!(chars.peek(), Some('*' | '?' | '{'));
                narrow |= c.is_alphanumeric() && !set && !repeated_never;
            }
        }
    }
    narrow && !optional
}
