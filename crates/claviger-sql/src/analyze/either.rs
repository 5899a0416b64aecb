//! Whether alternatives leave nothing out: `id > 3 OR id <= 3`, `id < 10 OR id > 5`.

use pg_raw_parse::Node;
use pg_raw_parse::nodes::{self, BoolExpr};
use pg_raw_parse::raw::{A_Expr_Kind, BoolExprType};

use super::names::{constant_number, constant_text, parts, qualified};

/// The most comparisons that are looked at together.
const MOST: usize = 64;

/// What an alternative lets through: a column's values up to a limit, or from one on. Whether the limit itself is in does not matter:
/// all but one is all.
struct Side<'n> {
    column: Vec<&'n str>,
    up: bool,
    limit: Limit,
}

enum Limit {
    Number(f64),
    Text(String),
}

/// Whether two of the alternatives take in all values of a column between them. `limits` says whether a condition lets some rows
/// through and others not.
pub(super) fn either_way<'n>(alternatives: &'n BoolExpr, limits: impl Fn(Node<'n>) -> bool) -> bool {
    let mut sides = Vec::new();
    gather(alternatives, &limits, &mut sides);
    let meet = |upper: &Side<'_>, lower: &Side<'_>| {
        upper.column == lower.column
            && match (&upper.limit, &lower.limit) {
                (Limit::Number(from), Limit::Number(to)) => from <= to,
                (Limit::Text(from), Limit::Text(to)) => from <= to,
                _ => false,
            }
    };
    sides.iter().filter(|side| side.up).any(|upper| sides.iter().filter(|side| !side.up).any(|lower| meet(upper, lower)))
}

fn gather<'n>(alternatives: &'n BoolExpr, limits: &impl Fn(Node<'n>) -> bool, sides: &mut Vec<Side<'n>>) {
    for node in alternatives.args().iter() {
        if sides.len() >= MOST {
            return;
        }
        match node {
            Node::BoolExpr(inner) if inner.boolop == BoolExprType::OR_EXPR => gather(inner, limits, sides),
            // What else must hold does not count if it holds for all rows.
            Node::BoolExpr(inner) if inner.boolop == BoolExprType::AND_EXPR => {
                let mut counting = inner.args().iter().filter(|node| limits(*node));
                if let (Some(Node::A_Expr(only)), None) = (counting.next(), counting.next()) {
                    sides.extend(side(only));
                }
            }
            Node::A_Expr(comparison) => sides.extend(side(comparison)),
            _ => {}
        }
    }
}

fn side(comparison: &nodes::A_Expr) -> Option<Side<'_>> {
    if comparison.kind != A_Expr_Kind::AEXPR_OP {
        return None;
    }
    let up = match qualified(comparison.name())?.1 {
        ">" | ">=" => true,
        "<" | "<=" => false,
        _ => return None,
    };
    match (comparison.lexpr(), comparison.rexpr()) {
        (Node::ColumnRef(column), limit) => Some(Side { column: parts(column.fields()), up, limit: constant(limit)? }),
        (limit, Node::ColumnRef(column)) => Some(Side { column: parts(column.fields()), up: !up, limit: constant(limit)? }),
        _ => None,
    }
}

fn constant(node: Node<'_>) -> Option<Limit> {
    constant_number(node).map(Limit::Number).or_else(|| constant_text(node).map(Limit::Text))
}
