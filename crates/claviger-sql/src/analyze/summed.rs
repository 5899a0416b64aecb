//! Sums and averages of classified columns, which policy may let be seen over groups that are large enough.
//!
//! What is summed up must be the column itself, of rows each of which counts once: a table's own, and those of others that are joined to it
//! by their keys. Then a sum over many rows says little of any one; a product, a condition or a row that comes a thousand times would single
//! one out. That a group is large enough is for the server to see: the call is put into a `CASE` that counts.

use claviger_model::{Column, Insertion, Output, Sum};
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{A_Expr, FuncCall, SelectStmt};
use pg_raw_parse::raw::{A_Expr_Kind, BoolExprType};

use super::bound::Condition;
use super::grouping::output_number;
use super::names::{constant_number, parts, qualified};
use super::scope::{Found, Scope};
use super::{Analysis, Result};
use crate::lexer::tokens;

/// What the number of rows stands for that a group must have, where a text is tried.
const TRIED: &str = "10 THEN ";

impl Analysis<'_> {
    /// Notes which columns of a statement's rows are sums that may be seen, if they are over enough rows.
    pub(super) fn sums(&mut self, select: &SelectStmt, scope: &Scope<'_>, conditions: &[Condition<'_>]) -> Result<()> {
        let is_own = self.own == Some(std::ptr::from_ref(select).addr());
        let plain = self.grouping.is_empty()
            && self.loose.is_empty()
            && select.distinct_clause().is_empty()
            && select.group_clause().iter().all(|node| !matches!(node, Node::GroupingSet(_)))
            && scope.outputs.len() == select.target_list().len();
        if !is_own || !plain {
            return Ok(());
        }
        for (n, target) in select.target_list().iter().enumerate() {
            self.count()?;
            let (call, least) = counted(target.val()).unwrap_or_else(|| (call_of(target.val()), 0));
            let Some(column) = call.and_then(|call| self.summed(scope, call, conditions)) else { continue };
            let limit = if least == 0 { call.and_then(|call| self.limit(n, call, target.name().is_none())) } else { None };
            self.summed.push((n, Sum { column, least, sorts: false, limit }));
        }
        Ok(())
    }

    /// Whether rows are sorted by such a column.
    pub(super) fn is_sorted_by_sum(&mut self, scope: &Scope<'_>, node: Node<'_>) -> bool {
        let Some(number) = output_number(scope, node) else { return false };
        let mut found = self.summed.iter_mut().filter(|(n, sum)| *n == number && (sum.least > 0 || sum.limit.is_some()));
        found.next().is_some_and(|(_, sum)| {
            sum.sorts = true;
            true
        })
    }

    /// The columns of rows that are such sums, in what a statement discloses.
    pub(super) fn sums_shown(&mut self) {
        for (n, sum) in std::mem::take(&mut self.summed) {
            if let Some(output @ Output::Made(_)) = self.disclosure.outputs.get_mut(n) {
                *output = Output::Summed(sum);
            }
        }
    }

    /// The column that is summed up, if each of its rows counts once.
    fn summed(&mut self, scope: &Scope<'_>, call: &FuncCall, conditions: &[Condition<'_>]) -> Option<std::sync::Arc<Column>> {
        let (None | Some("pg_catalog"), "sum" | "avg") = qualified(call.funcname())? else { return None };
        let name = column_given(call)?;
        if self.is_function_of_users("sum") || self.is_function_of_users("avg") || self.is_function_of_users("count") {
            return None;
        }
        let Ok(Found::Field(field)) = self.name(scope, &parts(name)) else { return None };
        let column = field.flow.copy.filter(|column| !column.labels.is_empty())?;
        let item = place(scope, &parts(name))?;
        self.counts_once(scope, item, conditions).then_some(column)
    }

    /// Whether no row of one table comes twice: all others are joined to it, or to one another, by their keys.
    fn counts_once(&self, scope: &Scope<'_>, item: usize, conditions: &[Condition<'_>]) -> bool {
        let tables = scope.items.iter().all(|item| {
            item.open.is_none()
                && item.relation.as_ref().is_some_and(|relation| relation.definition.is_none() && !relation.table.system)
        });
        if !tables {
            return false;
        }
        let mut equal = Vec::new();
        conditions.iter().for_each(|(condition, _)| self.equalities(scope, *condition, &mut equal));
        let mut joined = vec![item];
        while joined.len() < scope.items.len() {
            let next = equal.iter().find_map(|(one, other)| match (joined.contains(&one.0), joined.contains(&other.0)) {
                (true, false) => is_key(scope, *other).then_some(other.0),
                (false, true) => is_key(scope, *one).then_some(one.0),
                _ => None,
            });
            match next {
                Some(item) => joined.push(item),
                None => return false,
            }
        }
        true
    }

    /// Pairs of columns that a condition holds equal by the server's own rules, each as the place of its table and its number.
    fn equalities(&self, scope: &Scope<'_>, condition: Node<'_>, equal: &mut Vec<(Place, Place)>) {
        match condition {
            Node::BoolExpr(all) if all.boolop == BoolExprType::AND_EXPR => {
                all.args().iter().for_each(|node| self.equalities_of(scope, node, equal));
            }
            node => self.equalities_of(scope, node, equal),
        }
    }

    fn equalities_of(&self, scope: &Scope<'_>, node: Node<'_>, equal: &mut Vec<(Place, Place)>) {
        let Node::A_Expr(comparison) = node else { return };
        let column = |node: Node<'_>| {
            let Node::ColumnRef(reference) = node else { return None };
            let names = parts(reference.fields());
            let item = place(scope, &names)?;
            let column = scope.items.get(item)?.field(names.last()?)?.copy?;
            Some((item, column))
        };
        if !is_equality(comparison) {
            return;
        }
        if let (Some((one, left)), Some((other, right))) = (column(comparison.lexpr()), column(comparison.rexpr()))
            && self.compares_plainly(&left, &right)
        {
            equal.push(((one, left.number), (other, right.number)));
        }
    }

    /// What is to be put around a call so that it is NULL over too few rows: before it, but for their number, and after it.
    fn limit(&self, target: usize, call: &FuncCall, unnamed: bool) -> Option<[Insertion; 2]> {
        let at = usize::try_from(call.location).ok()?.checked_sub(self.start)?;
        let tokens = tokens(self.text)?;
        let first = tokens.iter().position(|token| token.start == at)?;
        let open = first + tokens.get(first..)?.iter().position(|token| token.depth() > 0)?;
        let mut depth = 0;
        let length = tokens.get(open..)?.iter().position(|token| {
            depth += token.depth();
            depth == 0
        })?;
        let (open, close) = (tokens.get(open)?, tokens.get(open + length)?);
        let given = self.text.get(open.end..close.start)?;
        let name = qualified(call.funcname())?.1;
        let after = if unnamed { format!(" END AS \"{name}\"") } else { " END".to_owned() };
        let before = format!("CASE WHEN pg_catalog.count({given}) >= ");
        let limit = [Insertion { at, words: before.into() }, Insertion { at: close.end, words: after.into() }];
        // That it came where it should is for the grammar to say.
        let [before, after] = &limit;
        let text = [
            self.text.get(..before.at)?,
            &before.words,
            TRIED,
            self.text.get(before.at..after.at)?,
            &after.words,
            self.text.get(after.at..)?,
        ];
        let parsed = pg_raw_parse::parse(&text.concat()).ok()?;
        let Some(Node::SelectStmt(select)) = parsed.iter().next().map(|raw| raw.stmt()) else { return None };
        let (Some(tried), _) = counted(select.target_list().get(target)?.val())? else { return None };
        (column_given(tried).map(parts) == column_given(call).map(parts)).then_some(limit)
    }
}

/// A table of a query, by its place, and the number of one of its columns.
type Place = (usize, i16);

fn place(scope: &Scope<'_>, names: &[&str]) -> Option<usize> {
    match names {
        [name] => scope.index_of(None, name),
        [table, name] => scope.index_of(Some(table), name),
        _ => None,
    }
}

fn is_key(scope: &Scope<'_>, (item, number): Place) -> bool {
    let relation = scope.items.get(item).and_then(|item| item.relation.as_ref());
    relation.is_some_and(|relation| relation.children.is_empty() && relation.keys.iter().any(|key| key.as_slice() == [number]))
}

fn is_equality(comparison: &A_Expr) -> bool {
    comparison.kind == A_Expr_Kind::AEXPR_OP && matches!(qualified(comparison.name()), Some((None | Some("pg_catalog"), "=")))
}

fn call_of(node: Node<'_>) -> Option<&FuncCall> {
    if let Node::FuncCall(call) = node { Some(call) } else { None }
}

/// The column that is all that a call is given.
fn column_given(call: &FuncCall) -> Option<&pg_raw_parse::list::NodeList> {
    let plain = call.over().is_none()
        && matches!(call.agg_filter(), Node::None)
        && call.agg_order().is_empty()
        && !(call.agg_distinct || call.agg_star || call.agg_within_group || call.func_variadic);
    match (call.args().first(), call.args().len()) {
        (Some(Node::ColumnRef(reference)), 1) if plain => Some(reference.fields()),
        _ => None,
    }
}

/// The call in `CASE WHEN count(column) >= number THEN call END`, and the number. It must be the same column.
fn counted(node: Node<'_>) -> Option<(Option<&FuncCall>, u32)> {
    let Node::CaseExpr(case) = node else { return None };
    let (Node::None, Node::None, 1, Some(Node::CaseWhen(when))) =
        (case.arg(), case.defresult(), case.args().len(), case.args().first())
    else {
        return None;
    };
    let (Node::A_Expr(comparison), Node::FuncCall(call)) = (when.expr(), when.result()) else { return None };
    let Node::FuncCall(count) = comparison.lexpr() else { return None };
    let counts = matches!(qualified(count.funcname())?, (None | Some("pg_catalog"), "count"))
        && comparison.kind == A_Expr_Kind::AEXPR_OP
        && matches!(qualified(comparison.name()), Some((None, ">=")))
        && column_given(count).map(parts).is_some_and(|counted| column_given(call).map(parts) == Some(counted));
    let Node::A_Const(_) = comparison.rexpr() else { return None };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let number = constant_number(comparison.rexpr()).filter(|number| *number >= 1.0 && *number < f64::from(u32::MAX))? as u32;
    counts.then_some((Some(call), number))
}
