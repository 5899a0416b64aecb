//! Whether a condition tells some rows of a table from the others.
//!
//! A table's rows have a bound if something that must hold compares one of its columns with what is not its own: a constant, a
//! parameter, a value from outside, or a column of something that has a bound itself. What is true of every row, or of all but a
//! few, is none: `id = id`, `id IS NOT NULL`, `id <> -1`, `id >= 0`, `body LIKE '%'`.

use std::ops::Range;

use pg_raw_parse::nodes::{self, ColumnRef};
use pg_raw_parse::raw::{A_Expr_Kind, BoolExprType, BoolTestType, NullTestType, SubLinkType};
use pg_raw_parse::{ConstValue, Node};

use super::either::either_way;
use super::limit::{computed, is_highest, is_lowest, is_narrow, is_narrow_expression};
use super::names::{constant_number, constant_text, parts, qualified};
use super::scope::Scope;
use super::walk::visit;
use super::{Analysis, Result};

/// Something that must hold, and the items whose rows it can limit; all if there are none.
pub(super) type Condition<'n> = (Node<'n>, Option<Range<usize>>);

/// As many rows as are few, whatever a condition on their keys says.
const FEW: f64 = 1000.0;

impl Analysis<'_> {
    /// Finds out which items have a bound, and notes the tables of those that have none. Whether all have.
    pub(super) fn bound(&mut self, scope: &mut Scope<'_>, conditions: &[Condition<'_>]) -> Result<bool> {
        let bounded = self.bounds(scope, conditions)?;
        scope.unbounded = Self::unbounded(scope, &bounded);
        Ok(bounded.into_iter().all(|bounded| bounded))
    }

    /// Which items have a bound.
    pub(super) fn bounds(&mut self, scope: &Scope<'_>, conditions: &[Condition<'_>]) -> Result<Vec<bool>> {
        let mut bounded: Vec<bool> = scope.items.iter().map(|item| item.bounded).collect();
        // Each round bounds one more, or is the last.
        for _ in 0..=bounded.len() {
            let mut progress = false;
            for n in 0..bounded.len() {
                if bounded.get(n) == Some(&true) {
                    continue;
                }
                for _ in conditions {
                    self.count()?;
                }
                let by_condition = conditions.iter().any(|(condition, limits)| {
                    limits.as_ref().is_none_or(|limits| limits.contains(&n)) && self.limits(scope, &bounded, n, *condition)
                });
                let is_bounded = |n: &usize| bounded.get(*n) == Some(&true);
                let by_name = scope.equal.iter().any(|(one, other, limits)| {
                    limits.contains(&n) && ((*one == n && is_bounded(other)) || (*other == n && is_bounded(one)))
                });
                let by_those_before =
                    scope.items.get(n).is_some_and(|item| item.follows) && bounded.iter().take(n).all(|bounded| *bounded);
                if (by_condition || by_name || by_those_before)
                    && let Some(bounded) = bounded.get_mut(n)
                {
                    *bounded = true;
                    progress = true;
                }
            }
            if !progress {
                break;
            }
        }
        Ok(bounded)
    }

    /// Whether a condition limits the rows of an item.
    pub(super) fn limits(&self, scope: &Scope<'_>, bounded: &[bool], item: usize, condition: Node<'_>) -> bool {
        let limits = |node| self.limits(scope, bounded, item, node);
        match condition {
            Node::BoolExpr(expression) => match expression.boolop {
                BoolExprType::AND_EXPR => expression.args().iter().any(limits),
                BoolExprType::OR_EXPR => {
                    expression.args().iter().all(|node| is_false(node) || limits(node)) && !either_way(expression, limits)
                }
                _ => expression.args().iter().all(|node| self.is_flag(scope, item, node) || is_true(node)),
            },
            Node::A_Const(_) => is_false(condition),
            Node::TypeCast(_) if is_false(condition) => true,
            Node::CurrentOfExpr(_) => true,
            Node::ColumnRef(_) => self.is_flag(scope, item, condition),
            Node::BooleanTest(test) => match test.booltesttype {
                BoolTestType::IS_TRUE => limits(test.arg()),
                BoolTestType::IS_FALSE | BoolTestType::IS_NOT_TRUE | BoolTestType::IS_NOT_FALSE => {
                    self.is_flag(scope, item, test.arg())
                }
                _ => self.column_of(scope, item, test.arg()),
            },
            Node::NullTest(test) => test.nulltesttype == NullTestType::IS_NULL && self.column_of(scope, item, test.arg()),
            Node::A_Expr(expression) => self.comparison_limits(scope, bounded, item, expression),
            Node::SubLink(link) => self.query_limits(scope, item, link),
            _ => false,
        }
    }

    fn comparison_limits(&self, scope: &Scope<'_>, bounded: &[bool], item: usize, expression: &nodes::A_Expr) -> bool {
        let (left, right) = (expression.lexpr(), expression.rexpr());
        let name = qualified(expression.name()).map_or("", |(_, name)| name);
        match expression.kind {
            A_Expr_Kind::AEXPR_OP => match name {
                "=" if is_constant(left) && is_constant(right) => is_never_equal(left, right),
                "=" => self.tells(scope, bounded, item, left, right) || self.tells(scope, bounded, item, right, left),
                "<" | "<=" => self.below(scope, bounded, item, left, right) || self.above(scope, bounded, item, right, left),
                ">" | ">=" => self.above(scope, bounded, item, left, right) || self.below(scope, bounded, item, right, left),
                "~" | "~*" | "~~" | "~~*" | "^@" => self.matches(scope, bounded, item, left, right, name.starts_with("~~")),
                // Containment and search: of ranges, arrays, JSON, texts.
                "@>" | "<@" | "&&" | "@@" | "?" | "?|" | "?&" | "%" | "<%" | "%>" | "@?" => {
                    self.tells(scope, bounded, item, left, right) || self.tells(scope, bounded, item, right, left)
                }
                _ => false,
            },
            A_Expr_Kind::AEXPR_LIKE if name == "~~" => self.matches(scope, bounded, item, left, right, true),
            A_Expr_Kind::AEXPR_ILIKE if name == "~~*" => self.matches(scope, bounded, item, left, right, true),
            A_Expr_Kind::AEXPR_SIMILAR if name == "~" => self.matches(scope, bounded, item, left, right, false),
            A_Expr_Kind::AEXPR_OP_ANY if name == "=" => !is_rest(left) && self.tells(scope, bounded, item, left, right),
            A_Expr_Kind::AEXPR_IN if name == "=" => !is_rest(left) && self.tells(scope, bounded, item, left, right),
            A_Expr_Kind::AEXPR_NOT_DISTINCT => self.tells(scope, bounded, item, left, right),
            A_Expr_Kind::AEXPR_BETWEEN | A_Expr_Kind::AEXPR_BETWEEN_SYM => {
                let Node::NodeList(ends) = right else { return false };
                let (low, high) = (ends.get(0).unwrap_or(Node::None), ends.get(1).unwrap_or(Node::None));
                let above = |limit| self.above(scope, bounded, item, left, limit);
                let below = |limit| self.below(scope, bounded, item, left, limit);
                match expression.kind {
                    A_Expr_Kind::AEXPR_BETWEEN => above(low) || below(high),
                    _ => (above(low) && above(high)) || (below(low) && below(high)),
                }
            }
            _ => false,
        }
    }

    /// A column of the item against what is not its own.
    fn tells(&self, scope: &Scope<'_>, bounded: &[bool], item: usize, column: Node<'_>, other: Node<'_>) -> bool {
        match (column, other) {
            // One column after the other.
            (Node::RowExpr(columns), Node::RowExpr(values)) => {
                columns.args().iter().zip(values.args()).any(|(column, value)| self.tells(scope, bounded, item, column, value))
            }
            (Node::RowExpr(columns), Node::NodeList(_)) => columns
                .args()
                .iter()
                .any(|column| self.column_of(scope, item, column) && self.is_given(scope, bounded, item, other)),
            _ => self.column_of(scope, item, column) && self.is_given(scope, bounded, item, other),
        }
    }

    fn above(&self, scope: &Scope<'_>, bounded: &[bool], item: usize, column: Node<'_>, limit: Node<'_>) -> bool {
        self.tells(scope, bounded, item, column, limit) && !is_lowest(limit) && !is_rest(column)
    }

    fn below(&self, scope: &Scope<'_>, bounded: &[bool], item: usize, column: Node<'_>, limit: Node<'_>) -> bool {
        self.tells(scope, bounded, item, column, limit)
            && !is_highest(limit)
            && !is_rest(column)
            && !self.is_beyond_all(scope, item, column, limit)
    }

    /// Whether a whole number from which keys count up to a limit would run out of rows before: `id < 1000000` of some thousands. Where
    /// the limit itself is few, that is all that matters; how many rows there are is the server's own estimate.
    fn is_beyond_all(&self, scope: &Scope<'_>, item: usize, column: Node<'_>, limit: Node<'_>) -> bool {
        let (Node::ColumnRef(reference), Some(limit)) = (column, computed(limit)) else { return false };
        let name = parts(reference.fields()).last().copied().unwrap_or_default();
        let Some(column) = scope.items.get(item).and_then(|item| item.field(name)?.copy) else { return false };
        let Some(relation) = self.catalog.relation(column.table.id) else { return false };
        let whole = relation.column(&column.name).is_some_and(|facts| WHOLE_NUMBERS.contains(&facts.kind));
        let key = relation.keys.iter().any(|key| key.as_slice() == [column.number]);
        whole && key && relation.rows >= 0.0 && limit > FEW && limit >= f64::from(relation.rows)
    }

    fn matches(&self, scope: &Scope<'_>, bounded: &[bool], item: usize, column: Node<'_>, pattern: Node<'_>, like: bool) -> bool {
        self.tells(scope, bounded, item, column, pattern)
            && constant_text(pattern)
                .is_none_or(|pattern| if like { is_narrow(&pattern) } else { is_narrow_expression(&pattern) })
    }

    fn query_limits(&self, scope: &Scope<'_>, item: usize, link: &nodes::SubLink) -> bool {
        match link.sub_link_type {
            SubLinkType::ANY_SUBLINK => {
                let name = qualified(link.oper_name()).map_or("=", |(_, name)| name);
                let tested = match link.testexpr() {
                    Node::RowExpr(row) => row.args().iter().any(|node| self.column_of(scope, item, node)),
                    node => self.column_of(scope, item, node),
                };
                name == "=" && tested && self.inner(link).few
            }
            // Rows that something refers to, if that has a bound or says so of its own.
            SubLinkType::EXISTS_SUBLINK => self.inner_limits(scope, item, link),
            _ => false,
        }
    }

    /// Whether an expression is made of a column of the item in a way that keeps its values apart.
    pub(super) fn column_of(&self, scope: &Scope<'_>, item: usize, mut node: Node<'_>) -> bool {
        let of = |node| self.column_of(scope, item, node);
        loop {
            node = match node {
                Node::ColumnRef(reference) => return self.is_column_of(scope, item, reference),
                Node::TypeCast(cast) => cast.arg(),
                Node::CollateClause(clause) => clause.arg(),
                Node::A_Indirection(indirection) => indirection.arg(),
                Node::CoalesceExpr(expression) => expression.args().first().unwrap_or(Node::None),
                Node::FuncCall(call) => {
                    let telling = qualified(call.funcname()).is_some_and(|(_, name)| TELLING.contains(&name));
                    return telling && call.args().iter().any(of);
                }
                Node::A_Expr(expression) if expression.kind == A_Expr_Kind::AEXPR_OP => {
                    let (left, right) = (expression.lexpr(), expression.rexpr());
                    match qualified(expression.name()).map_or("", |(_, name)| name) {
                        "->" | "->>" | "#>" | "#>>" => left,
                        "||" | "+" | "-" if is_fixed(right) => left,
                        "||" | "+" | "-" if is_fixed(left) => right,
                        "*" | "/" if constant_number(right).is_some_and(|number| number != 0.0) => left,
                        "%" if constant_number(right).is_some_and(|number| number.abs() > 1.0) => left,
                        _ => return false,
                    }
                }
                _ => return false,
            };
        }
    }

    fn is_column_of(&self, scope: &Scope<'_>, item: usize, reference: &ColumnRef) -> bool {
        let names = parts(reference.fields());
        if names.len() != reference.fields().len() {
            return false;
        }
        let found = match names[..] {
            [column] => scope.index_of(None, column),
            [table, column] | [_, table, column] => scope.index_of(Some(table), column),
            _ => None,
        };
        found == Some(item) && {
            let column = names.last().copied().unwrap_or_default();
            scope.items.get(item).is_some_and(|item| item.field(column).is_some())
        }
    }

    /// A column of the item that is true or false of each row.
    fn is_flag(&self, scope: &Scope<'_>, item: usize, node: Node<'_>) -> bool {
        matches!(node, Node::ColumnRef(_)) && self.column_of(scope, item, node)
    }

    /// Whether a value comes from outside the item: it names none of its columns, and none of anything that has no bound.
    fn is_given(&self, scope: &Scope<'_>, bounded: &[bool], item: usize, node: Node<'_>) -> bool {
        let mut given = true;
        let look = |node: Node<'_>| match node {
            Node::ColumnRef(reference) => {
                for (n, bounded) in bounded.iter().enumerate() {
                    if (!*bounded || n == item) && self.is_column_of(scope, n, reference) {
                        given = false;
                    }
                }
            }
            Node::SubLink(link) => {
                let inner = self.inner(link);
                given &= if link.sub_link_type == SubLinkType::EXPR_SUBLINK { inner.given } else { inner.few };
            }
            _ => {}
        };
        visit(node, look);
        given
    }
}

/// OIDs of `bigint`, `smallint` and `integer` (PostgreSQL's `pg_type.dat`).
const WHOLE_NUMBERS: [u32; 3] = [20, 21, 23];

/// What is left of a division, of which there are few: several of them, or those up to one, may be all.
fn is_rest(node: Node<'_>) -> bool {
    match node {
        Node::A_Expr(expression) => qualified(expression.name()).is_some_and(|(_, name)| name == "%"),
        Node::FuncCall(call) => qualified(call.funcname()).is_some_and(|(_, name)| name == "mod"),
        Node::TypeCast(cast) => is_rest(cast.arg()),
        _ => false,
    }
}

/// Functions of which one value tells rows apart as a column does.
const TELLING: &[&str] = &[
    "lower",
    "upper",
    "trim",
    "btrim",
    "ltrim",
    "rtrim",
    "substr",
    "substring",
    "left",
    "right",
    "date_trunc",
    "date",
    "extract",
    "date_part",
    "to_char",
    "to_date",
    "to_timestamp",
    "md5",
    "timezone",
    "age",
    "round",
    "trunc",
    "floor",
    "ceil",
    "replace",
    "split_part",
    "jsonb_extract_path",
    "jsonb_extract_path_text",
    "json_extract_path_text",
    "to_tsvector",
    "length",
    "char_length",
    "abs",
    "coalesce",
    "concat",
    "initcap",
    "encode",
    "unaccent",
];

fn has_column(node: Node<'_>) -> bool {
    let mut found = false;
    visit(node, |node| found |= matches!(node, Node::ColumnRef(_)));
    found
}

fn is_constant(node: Node<'_>) -> bool {
    !has_column(node) && !matches!(node, Node::ParamRef(_) | Node::SubLink(_) | Node::None)
}

/// Whether it is the same value for every row.
fn is_fixed(node: Node<'_>) -> bool {
    is_constant(node) || matches!(node, Node::ParamRef(_))
}

/// Two constants that differ.
fn is_never_equal(left: Node<'_>, right: Node<'_>) -> bool {
    match (constant_number(left), constant_number(right)) {
        #[allow(clippy::float_cmp)]
        (Some(left), Some(right)) => left != right,
        _ => false,
    }
}

fn truth(node: Node<'_>) -> Option<bool> {
    match node {
        Node::A_Const(constant) => match constant.val()? {
            ConstValue::Boolean(truth) => Some(truth),
            _ => None,
        },
        // `'f'::boolean`.
        Node::TypeCast(cast) => {
            let boolean = cast.type_name()?.names().iter().filter_map(nodes::String::sval).any(|name| name == "bool");
            match constant_text(cast.arg())?.to_ascii_lowercase().as_str() {
                "f" | "false" | "n" | "no" | "off" | "0" if boolean => Some(false),
                "t" | "true" | "y" | "yes" | "on" | "1" if boolean => Some(true),
                _ => None,
            }
        }
        _ => None,
    }
}

pub(super) fn is_false(node: Node<'_>) -> bool {
    truth(node) == Some(false)
}

fn is_true(node: Node<'_>) -> bool {
    truth(node) == Some(true)
}
