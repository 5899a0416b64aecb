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
use super::flow::Tables;
use super::names::{constant_number, constant_text, parts, qualified};
use super::scope::Scope;
use super::walk::visit;
use super::{Analysis, Result};

/// Something that must hold, and the items whose rows it can limit; all if there are none.
pub(super) type Condition<'n> = (Node<'n>, Option<Range<usize>>);

/// Numbers beyond which there are no keys.
const MANY: f64 = 1e9;

impl Analysis<'_> {
    /// Finds out which items have a bound, and notes the tables of those that have none. Whether all have.
    pub(super) fn bound(&mut self, scope: &mut Scope<'_>, conditions: &[Condition<'_>]) -> Result<bool> {
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
                if (by_condition || by_name)
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
        let mut unbounded = Tables::default();
        for (item, _) in scope.items.iter().zip(&bounded).filter(|(_, bounded)| !**bounded) {
            unbounded.add(&item.tables);
        }
        scope.unbounded = unbounded;
        Ok(bounded.into_iter().all(|bounded| bounded))
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
            A_Expr_Kind::AEXPR_OP_ANY if name == "=" => self.tells(scope, bounded, item, left, right),
            A_Expr_Kind::AEXPR_IN if name == "=" => self.tells(scope, bounded, item, left, right),
            A_Expr_Kind::AEXPR_NOT_DISTINCT => self.tells(scope, bounded, item, left, right),
            A_Expr_Kind::AEXPR_BETWEEN | A_Expr_Kind::AEXPR_BETWEEN_SYM => {
                let Node::NodeList(ends) = right else { return false };
                let (low, high) = (ends.get(0).unwrap_or(Node::None), ends.get(1).unwrap_or(Node::None));
                self.above(scope, bounded, item, left, low) || self.below(scope, bounded, item, left, high)
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
        self.tells(scope, bounded, item, column, limit) && !is_lowest(limit)
    }

    fn below(&self, scope: &Scope<'_>, bounded: &[bool], item: usize, column: Node<'_>, limit: Node<'_>) -> bool {
        self.tells(scope, bounded, item, column, limit) && !is_highest(limit)
    }

    fn matches(&self, scope: &Scope<'_>, bounded: &[bool], item: usize, column: Node<'_>, pattern: Node<'_>, like: bool) -> bool {
        self.tells(scope, bounded, item, column, pattern)
            && constant_text(pattern)
                .is_none_or(|pattern| if like { is_narrow(&pattern) } else { is_narrow_expression(&pattern) })
    }

    fn query_limits(&self, scope: &Scope<'_>, item: usize, link: &nodes::SubLink) -> bool {
        let Node::SelectStmt(select) = link.subselect() else { return false };
        match link.sub_link_type {
            SubLinkType::ANY_SUBLINK => {
                let name = qualified(link.oper_name()).map_or("=", |(_, name)| name);
                let tested = match link.testexpr() {
                    Node::RowExpr(row) => row.args().iter().any(|node| self.column_of(scope, item, node)),
                    node => self.column_of(scope, item, node),
                };
                name == "=" && tested && self.selects_few(select)
            }
            // Rows that something refers to, if that has a bound or says so of its own.
            SubLinkType::EXISTS_SUBLINK => self.refers(scope, item, select),
            _ => false,
        }
    }

    /// Whether a query inside a condition refers to the item by a condition that limits it.
    fn refers(&self, scope: &Scope<'_>, item: usize, select: &nodes::SelectStmt) -> bool {
        let Some(item) = scope.items.get(item) else { return false };
        let mut refers = false;
        visit(select.where_clause(), |node| {
            if let Node::ColumnRef(reference) = node {
                let names = parts(reference.fields());
                refers |= match names[..] {
                    [table, _] => *table == *item.name,
                    _ => false,
                };
            }
        });
        refers && self.selects_few(select)
    }

    /// Whether a query by itself gives few rows: its own conditions limit something, or it is a list. Its names are not looked up again.
    fn selects_few(&self, select: &nodes::SelectStmt) -> bool {
        if !matches!(select.limit_count(), Node::None) {
            return constant_number(select.limit_count()).is_some_and(|number| number <= 1000.0)
                || matches!(select.limit_count(), Node::ParamRef(_));
        }
        if select.from_clause().is_empty() {
            return select.larg().is_none_or(|left| self.selects_few(left))
                && select.rarg().is_none_or(|right| self.selects_few(right));
        }
        let values = |node| match node {
            Node::RangeSubselect(inner) => matches!(inner.subquery(), Node::SelectStmt(inner) if self.selects_few(inner)),
            Node::RangeFunction(_) => true,
            _ => false,
        };
        if select.from_clause().iter().all(values) {
            return true;
        }
        let mut conditions = vec![select.where_clause()];
        joins(select.from_clause().iter(), &mut conditions);
        conditions.into_iter().any(|condition| limits_something(condition))
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
                        "||" | "+" | "-" if is_constant(right) => left,
                        "||" | "+" | "-" if is_constant(left) => right,
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
                given &= matches!(link.sub_link_type, SubLinkType::EXPR_SUBLINK)
                    || matches!(link.subselect(), Node::SelectStmt(select) if self.selects_few(select));
            }
            _ => {}
        };
        visit(node, look);
        given
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

/// The conditions of joins.
fn joins<'n>(items: impl Iterator<Item = Node<'n>>, conditions: &mut Vec<Node<'n>>) {
    for item in items {
        if let Node::JoinExpr(join) = item {
            conditions.push(join.quals());
            joins([join.larg(), join.rarg()].into_iter(), conditions);
        }
    }
}

/// Whether a condition compares a column with a constant or parameter so that not all rows pass, whichever column it is.
fn limits_something(node: Node<'_>) -> bool {
    match node {
        Node::BoolExpr(expression) => match expression.boolop {
            BoolExprType::AND_EXPR => expression.args().iter().any(limits_something),
            BoolExprType::OR_EXPR => expression.args().iter().all(|node| is_false(node) || limits_something(node)),
            _ => expression.args().iter().all(|node| matches!(node, Node::ColumnRef(_))),
        },
        Node::ColumnRef(_) => true,
        Node::NullTest(test) => test.nulltesttype == NullTestType::IS_NULL,
        Node::A_Const(_) | Node::TypeCast(_) => is_false(node),
        Node::A_Expr(expression) => {
            let name = qualified(expression.name()).map_or("", |(_, name)| name);
            let (left, right) = (expression.lexpr(), expression.rexpr());
            let one_sided = has_column(left) != has_column(right);
            let value = if has_column(left) { right } else { left };
            match (expression.kind, name) {
                (A_Expr_Kind::AEXPR_OP, "=") | (A_Expr_Kind::AEXPR_IN | A_Expr_Kind::AEXPR_OP_ANY, "=") => one_sided,
                (A_Expr_Kind::AEXPR_OP, "<" | "<=" | ">" | ">=") => one_sided && !is_lowest(value) && !is_highest(value),
                (A_Expr_Kind::AEXPR_LIKE, "~~") | (A_Expr_Kind::AEXPR_ILIKE, "~~*") => {
                    one_sided && constant_text(value).is_none_or(|pattern| is_narrow(&pattern))
                }
                (A_Expr_Kind::AEXPR_BETWEEN, _) => one_sided,
                _ => false,
            }
        }
        _ => false,
    }
}

fn has_column(node: Node<'_>) -> bool {
    let mut found = false;
    visit(node, |node| found |= matches!(node, Node::ColumnRef(_)));
    found
}

fn is_constant(node: Node<'_>) -> bool {
    !has_column(node) && !matches!(node, Node::ParamRef(_) | Node::SubLink(_) | Node::None)
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

/// A limit from below that nothing is beneath: no key is negative, no text before the empty one, no moment before the first.
fn is_lowest(limit: Node<'_>) -> bool {
    if let Some(number) = constant_number(limit) {
        return number <= 1.0;
    }
    constant_text(limit).is_some_and(|text| {
        let text = text.trim();
        text.is_empty()
            || text == "-infinity"
            || text == "epoch"
            || text.get(..4).and_then(|year| year.parse::<u32>().ok()).is_some_and(|year| year <= 1970)
    })
}

/// A limit from above that nothing is beyond.
fn is_highest(limit: Node<'_>) -> bool {
    if let Some(number) = constant_number(limit) {
        return number >= MANY;
    }
    constant_text(limit).is_some_and(|text| {
        let text = text.trim();
        let year = text.split('-').next().and_then(|year| year.parse::<u32>().ok());
        text == "infinity"
            || year.is_some_and(|year| year >= 2100)
            || text.chars().all(|c| matches!(c, 'z' | 'Z' | '~' | '\u{10ffff}'))
    })
}

/// Whether a pattern of `LIKE` asks for anything.
fn is_narrow(pattern: &str) -> bool {
    pattern.chars().any(|c| !matches!(c, '%' | '_'))
}

/// Whether a regular expression asks for anything: a letter or digit that is not optional, as far as can be told without reading it.
fn is_narrow_expression(pattern: &str) -> bool {
    let optional = pattern.contains('|') || pattern.contains("(?");
    let mut chars = pattern.chars().peekable();
    let mut narrow = false;
    while let Some(c) = chars.next() {
        if c == '\\' {
            chars.next();
            continue;
        }
        let repeated_never = matches!(chars.peek(), Some('*' | '?' | '{'));
        narrow |= c.is_alphanumeric() && !repeated_never;
    }
    narrow && !optional
}
