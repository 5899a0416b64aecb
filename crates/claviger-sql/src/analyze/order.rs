//! In which order rows come, where nobody has asked for one.
//!
//! A server finds groups in an order that goes by the values that it groups by. If those are classified, that order must not be seen. It is not
//! where all else that is seen of the rows is sorted by; where it is only passed on to a query around, that one's order may settle it; and a
//! statement's own rows can be sorted further than was asked for, which takes nothing from the answer that was promised.

use std::sync::Arc;

use claviger_model::{Insertion, Order};
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{self, FuncCall, SelectStmt};
use pg_raw_parse::raw::{FRAMEOPTION_DEFAULTS, LimitOption};

use super::flow::{Field, Rows, Sources};
use super::grouping::is_same_call;
use super::names::{parts, qualified};
use super::scope::{Found, Scope};
use super::walk::visit;
use super::{Analysis, disclose};
use crate::lexer::{Kind, Token, tokens};

/// Window functions that give the same for rows that are sorted alike.
const RANKS: &[&str] = &["rank", "dense_rank", "percent_rank", "cume_dist"];

/// Aggregates that come to the same in whichever order their values come.
const IN_ANY_ORDER: &[&str] = &[
    "count",
    "max",
    "min",
    "bool_and",
    "bool_or",
    "every",
    "bit_and",
    "bit_or",
    "bit_xor",
    "percentile_cont",
    "percentile_disc",
];

/// The same where nothing is rounded on the way.
const EXACT: &[&str] = &["sum", "avg"];

/// Functions of the server's own that give something else each time.
const TELLING: &[&str] = &["random", "random_normal", "clock_timestamp", "timeofday", "pg_current_wal_insert_lsn"];

/// How deep an expression may be that is looked at for whether it is exact.
const DEPTH: u32 = 16;

/// Types of whole and decimal numbers, by OID.
const NUMBERS: &[u32] = &[20, 21, 23, 1700];

/// Types of which the server knows no order: `json`, `xml`, points and their kin, by OID.
const UNSORTED: &[u32] = &[114, 142, 600, 601, 602, 603, 604, 628, 718];

/// Words of a query that stand before those of what it is sorted by.
const BEFORE: &[&str] =
    &["select", "from", "where", "group", "having", "window", "order", "union", "intersect", "except", "values"];

/// Words that stand after.
const AFTER: &[&str] = &["limit", "offset", "fetch", "for"];

/// What becomes of the order in which a statement's rows come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It is seen.
    #[default]
    Seen,
    /// It is seen, and can be settled by words in the statement's text.
    Settled,
    /// Nobody sees it.
    Unseen,
}

impl Analysis<'_> {
    /// The order of rows is seen, or decides what else is.
    pub(super) fn ordered(&mut self, rows: &mut Rows) {
        let order = std::mem::take(&mut rows.order);
        order.iter().for_each(|column| self.decides(column, None));
    }

    /// Rows go into a query around, which may make something else of their order. Which of them are taken must not depend on it.
    pub(super) fn passed_on(&mut self, rows: &mut Rows) {
        if rows.cut {
            self.ordered(rows);
        }
        self.loose.add(&std::mem::take(&mut rows.order));
    }

    /// The rows of a statement leave.
    pub(super) fn leaves_in_order(&mut self, node: Node<'_>, rows: &mut Rows) {
        match self.leaving {
            Leaving::Unseen => rows.order = Sources::default(),
            Leaving::Settled if !rows.order.is_empty() => match self.sorted_further(node, rows) {
                Some(sorted) => {
                    let columns = disclose::set(&std::mem::take(&mut rows.order));
                    self.disclosure.order = Some(Order { columns, sorted: vec![sorted] });
                }
                None => self.ordered(rows),
            },
            Leaving::Seen | Leaving::Settled => self.ordered(rows),
        }
    }

    /// What rows were grouped by, and in which order they came from queries inside: whether that is seen in theirs. `doings` is how much
    /// had been done before them that happens in the order of rows.
    pub(super) fn order_settled(&mut self, select: &SelectStmt, scope: &Scope<'_>, rows: &mut Rows, doings: u32) {
        let (grouping, loose) = (std::mem::take(&mut self.grouping), std::mem::take(&mut self.loose));
        if self.aside || (grouping.is_empty() && loose.is_empty()) {
            return;
        }
        self.disclosure.grouped = true;
        let done = self.doings != doings;
        let one = select.group_clause().is_empty() && self.is_summed_up(select);
        if done || (!loose.is_empty() && self.goes_by_order(select, scope, rows)) {
            loose.iter().for_each(|column| self.decides(column, None));
        } else if !one {
            rows.order.add(&loose);
        }
        let after = !select.group_clause().is_empty() && self.has_window(select, scope, rows);
        let equals = !done && !after;
        for column in grouping.iter() {
            self.decides(column, equals.then_some(column));
        }
        let orderly = rows.order.is_empty();
        rows.order.add(&grouping);
        let settled = if self.is_cut_inside(select, rows) {
            orderly && self.is_total(select, scope, rows)
        } else {
            rows.open.is_none() && self.is_sorted_whole(select, scope, rows)
        };
        if settled {
            rows.order = Sources::default();
        }
    }

    /// The same for the arms of a set operation, and what they were compared by.
    pub(super) fn arms_settled(&mut self, select: &SelectStmt, scope: &Scope<'_>, rows: &mut Rows) {
        self.disclosure.grouped |= !rows.order.is_empty();
        if rows.open.is_none() && !self.is_cut_inside(select, rows) && self.is_sorted_whole(select, scope, rows) {
            rows.order = Sources::default();
        }
    }

    /// Whether rows of which one might come before the other look alike, but for what is classified.
    pub(super) fn is_sorted_whole(&mut self, select: &SelectStmt, scope: &Scope<'_>, rows: &Rows) -> bool {
        let sorts: Vec<Node<'_>> = select.sort_clause().iter().map(|sort| sort.node()).collect();
        let stars = rows.fields.len() != select.target_list().len();
        rows.fields.iter().enumerate().all(|(n, field)| {
            let target = select.target_list().get(n).filter(|_| !stars).map_or(Node::None, |target| target.val());
            !field.flow.shows.is_empty()
                || matches!(target, Node::A_Const(_))
                || sorts.iter().any(|sort| self.sorts(scope, *sort, n, field, target))
        })
    }

    /// Whether something comes of the order in which a query is given its rows, beside the order of its own.
    fn goes_by_order(&mut self, select: &SelectStmt, scope: &Scope<'_>, rows: &Rows) -> bool {
        let mut calls = Vec::new();
        let mut gathers = false;
        for node in seen_of(select) {
            visit(node, |node| match node {
                Node::FuncCall(call) => calls.push(call),
                Node::JsonObjectAgg(_) | Node::JsonArrayAgg(_) => gathers = true,
                _ => {}
            });
        }
        gathers
            || calls.into_iter().any(|call| match call.over() {
                Some(window) => self.window_tells(select, scope, rows, call, window),
                None => self.call_goes_by_order(scope, call),
            })
    }

    fn call_goes_by_order(&mut self, scope: &Scope<'_>, call: &FuncCall) -> bool {
        let Some((None | Some("pg_catalog"), name)) = qualified(call.funcname()) else { return true };
        let exact = |this: &mut Self| call.args().iter().all(|node| this.is_exact(scope, node));
        self.is_aggregate(call)
            && !(IN_ANY_ORDER.contains(&name) && !self.is_function_of_users(name)
                || EXACT.contains(&name) && !self.is_function_of_users(name) && exact(self))
    }

    /// Whether a window function tells which of the groups comes first that its window sorts alike.
    fn has_window(&mut self, select: &SelectStmt, scope: &Scope<'_>, rows: &Rows) -> bool {
        let mut calls = Vec::new();
        for node in seen_of(select) {
            visit(node, |node| {
                if let Node::FuncCall(call) = node
                    && let Some(window) = call.over()
                {
                    calls.push((call, window));
                }
            });
        }
        calls.into_iter().any(|(call, window)| self.window_tells(select, scope, rows, call, window))
    }

    /// Whether what a window function gives hangs on the order of rows that its window sorts alike.
    fn window_tells(
        &mut self,
        select: &SelectStmt,
        scope: &Scope<'_>,
        rows: &Rows,
        call: &FuncCall,
        window: &nodes::WindowDef,
    ) -> bool {
        let Some((None | Some("pg_catalog"), name)) = qualified(call.funcname()) else { return true };
        let named = [window.name(), window.refname()].iter().any(Option::is_some);
        let framed = u32::try_from(window.frame_options) != Ok(FRAMEOPTION_DEFAULTS);
        let told = match name {
            _ if RANKS.contains(&name) => false,
            // Those that are sorted alike are given all that is of them together.
            "count" | "min" | "max" => named || framed,
            "sum" | "avg" => named || framed || !call.args().iter().all(|node| self.is_exact(scope, node)),
            // They are numbered one by one: that tells nothing if they look alike.
            "row_number" | "ntile" => named || !sorts_whole(select, rows, window),
            _ => true,
        };
        told || self.is_function_of_users(name)
    }

    fn is_summed_up(&self, select: &SelectStmt) -> bool {
        select.target_list().iter().any(|target| self.has_aggregate(target.val())) || self.has_aggregate(select.having_clause())
    }

    /// Whether a value is a number that nothing was rounded for.
    pub(super) fn is_exact(&mut self, scope: &Scope<'_>, node: Node<'_>) -> bool {
        self.is_exact_within(scope, node, DEPTH)
    }

    fn is_exact_within(&mut self, scope: &Scope<'_>, node: Node<'_>, depth: u32) -> bool {
        let Some(depth) = depth.checked_sub(1) else { return false };
        match node {
            Node::None | Node::A_Const(_) => true,
            Node::ColumnRef(reference) => {
                matches!(self.name(scope, &parts(reference.fields())), Ok(Found::Field(Field { exact: true, .. })))
            }
            Node::FuncCall(call) => match qualified(call.funcname()) {
                Some((None, name @ ("count" | "sum" | "avg" | "min" | "max" | "round" | "abs")))
                    if !self.is_function_of_users(name) =>
                {
                    name == "count" || call.args().iter().all(|node| self.is_exact_within(scope, node, depth))
                }
                _ => false,
            },
            Node::A_Expr(operation) => {
                [operation.lexpr(), operation.rexpr()].into_iter().all(|node| self.is_exact_within(scope, node, depth))
            }
            Node::CoalesceExpr(values) => values.args().iter().all(|node| self.is_exact_within(scope, node, depth)),
            Node::CaseExpr(case) => {
                let results = case.args().iter().filter_map(|when| match when {
                    Node::CaseWhen(when) => Some(when.result()),
                    _ => None,
                });
                results.chain([case.defresult()]).all(|node| self.is_exact_within(scope, node, depth))
            }
            Node::TypeCast(cast) => {
                cast.type_name().and_then(|name| self.type_of(name)).is_some_and(|kind| NUMBERS.contains(&kind.id))
            }
            _ => false,
        }
    }

    /// What is to be put into a statement's text so that its rows are sorted by all that is seen of them.
    fn sorted_further(&self, node: Node<'_>, rows: &Rows) -> Option<Insertion> {
        let Node::SelectStmt(select) = node else { return None };
        let plain = select.into_clause().is_none() && rows.open.is_none() && !has_ties(select);
        let sortable = rows.fields.iter().all(|field| self.is_sortable(field))
            && select.target_list().iter().all(|target| !makes_unsorted(target.val()));
        if !plain || !sortable {
            return None;
        }
        let numbers: Vec<String> = rows
            .fields
            .iter()
            .enumerate()
            .filter(|(_, field)| field.flow.shows.is_empty())
            .map(|(n, _)| (n + 1).to_string())
            .collect();
        let (at, sorts) = end_of_order(self.text)?;
        let before = if sorts { ", " } else { " ORDER BY " };
        let words: Arc<str> = format!("{before}{}", numbers.join(", ")).into();
        let insertion = Insertion { at, words };
        // That it came where it should is for the grammar to say.
        let text = [self.text.get(..at)?, &insertion.words, self.text.get(at..)?].concat();
        let parsed = pg_raw_parse::parse(&text).ok()?;
        let Some(Node::SelectStmt(sorted)) = parsed.iter().next().map(|raw| raw.stmt()) else { return None };
        let as_before = sorted.target_list().len() == select.target_list().len()
            && sorted.sort_clause().len() == select.sort_clause().len() + numbers.len();
        (!numbers.is_empty() && as_before).then_some(insertion)
    }

    pub(super) fn is_sortable(&self, field: &Field) -> bool {
        let Some(column) = &field.copy else { return true };
        let relation = self.catalog.relation(column.table.id);
        let facts = relation.and_then(|relation| relation.columns.iter().find(|facts| facts.column.number == column.number));
        facts.is_none_or(|facts| !UNSORTED.contains(&facts.kind))
    }

    /// Something is done in the order of rows, or tells of it.
    pub(super) fn does(&mut self, name: &str) {
        self.doings += u32::from(TELLING.contains(&name));
    }

    /// Whether a column of this type is a number of which sums are exact.
    pub(super) fn is_number(kind: u32) -> bool {
        NUMBERS.contains(&kind)
    }
}

/// What of a query is seen of its rows, or decides which there are once they are grouped.
fn seen_of(select: &SelectStmt) -> impl Iterator<Item = Node<'_>> {
    let targets = select.target_list().iter().map(|target: &nodes::ResTarget| target.val());
    let sorts = select.sort_clause().iter().map(|sort| sort.node());
    targets.chain(sorts).chain(select.distinct_clause().iter()).chain([select.having_clause()])
}

/// Whether a window sorts by all that is seen of rows, apart from what window functions say of them.
fn sorts_whole(select: &SelectStmt, rows: &Rows, window: &nodes::WindowDef) -> bool {
    let sorts: Vec<Node<'_>> = window.order_clause().iter().map(|sort| sort.node()).collect();
    let apart = window.partition_clause().is_empty() && rows.fields.len() == select.target_list().len();
    apart
        && rows.fields.iter().zip(select.target_list().iter()).all(|(field, target)| {
            let of_window = matches!(target.val(), Node::FuncCall(call) if call.over().is_some());
            !field.flow.shows.is_empty()
                || of_window
                || matches!(target.val(), Node::A_Const(_))
                || sorts.iter().any(|sort| is_same(*sort, target.val()))
        })
}

/// Whether an expression over what is selected from is what a column of the rows is. Names of those mean nothing there.
pub(super) fn is_same(node: Node<'_>, target: Node<'_>) -> bool {
    match (node, target) {
        (Node::ColumnRef(one), Node::ColumnRef(other)) => parts(one.fields()) == parts(other.fields()),
        _ => is_same_call(node, target),
    }
}

/// Whether what rows are sorted by says how many there are: `FETCH FIRST .. WITH TIES`.
pub(super) fn has_ties(select: &SelectStmt) -> bool {
    select.limit_option == LimitOption::LIMIT_OPTION_WITH_TIES
}

/// Whether an expression may give what the server knows no order of.
pub(super) fn makes_unsorted(node: Node<'_>) -> bool {
    let of = |name: &str| {
        ["json", "to_json", "row_to_json", "array_to_json", "xml", "point"].iter().any(|start| name.starts_with(start))
    };
    let mut makes = false;
    visit(node, |node| {
        makes |= match node {
            Node::FuncCall(call) => qualified(call.funcname()).is_none_or(|(_, name)| of(name) && !name.starts_with("jsonb")),
            Node::TypeCast(cast) => cast.type_name().is_some_and(|name| {
                name.names().iter().filter_map(nodes::String::sval).next_back().is_some_and(|name| of(name) && name != "jsonb")
            }),
            Node::A_Expr(operation) => matches!(qualified(operation.name()), Some((_, "->" | "#>"))),
            Node::XmlExpr(_) | Node::JsonObjectAgg(_) | Node::JsonArrayAgg(_) => true,
            Node::JsonObjectConstructor(_) | Node::JsonArrayConstructor(_) | Node::JsonFuncExpr(_) => true,
            _ => false,
        };
    });
    makes
}

/// Where a query's `ORDER BY` ends, or would stand, in bytes; and whether there is one.
fn end_of_order(text: &str) -> Option<(usize, bool)> {
    let tokens = tokens(text)?;
    let word = |n: usize| -> Option<String> {
        let token: &Token = tokens.get(n)?;
        // After `AS` and a dot, any word is a name.
        let named = n.checked_sub(1).and_then(|n| tokens.get(n)).is_some_and(|before| {
            let before = text.get(before.start..before.end).unwrap_or_default();
            before == "." || before.eq_ignore_ascii_case("as")
        });
        (token.kind == Kind::Word && !named).then(|| text.get(token.start..token.end).map(str::to_ascii_lowercase)).flatten()
    };
    let (mut depth, mut last, mut tail) = (0, None, None);
    for (n, token) in tokens.iter().enumerate() {
        depth += token.depth();
        let Some(word) = word(n).filter(|_| depth == 0) else { continue };
        if BEFORE.contains(&&*word) {
            (last, tail) = (Some(word), None);
        } else if tail.is_none() && AFTER.contains(&&*word) {
            tail = Some(n);
        }
    }
    let end = match tail {
        Some(n) => tokens.get(n.checked_sub(1)?)?,
        None => tokens.iter().rev().find(|token| text.get(token.start..token.end) != Some(";"))?,
    };
    Some((end.end, last? == "order"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_order_is_found() {
        let split = |text: &str| end_of_order(text).map(|(at, sorts)| (text[..at].to_owned(), sorts));
        let found = |text: &str, sorts| Some((text.to_owned(), sorts));
        assert_eq!(split("select a from t"), found("select a from t", false));
        assert_eq!(split("select a from t; -- x"), found("select a from t", false));
        assert_eq!(split("select a from t order by 1 -- x\n limit 3"), found("select a from t order by 1", true));
        assert_eq!(
            split("select a as limit from t order by t.offset"),
            found("select a as limit from t order by t.offset", true)
        );
        assert_eq!(split("select a from t LIMIT 1 OFFSET 2"), found("select a from t", false));
        assert_eq!(
            split("with x as (select 1 order by 1 limit 1) select a from x order by a desc fetch first 2 rows only"),
            found("with x as (select 1 order by 1 limit 1) select a from x order by a desc", true)
        );
        assert_eq!(
            split("select rank() over (order by a) from t limit 2"),
            found("select rank() over (order by a) from t", false)
        );
        assert_eq!(split("(select a from t order by 1) limit 1"), None);
    }
}
