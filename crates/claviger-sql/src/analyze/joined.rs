//! Whether a change is limited by what its table is joined with.
//!
//! `UPDATE t … FROM u WHERE t.x = u.y` changes the rows that `u` speaks of, though nothing says how many these are: that is a condition,
//! as `t.x = 5` is one. It is none if it holds for all rows by what the tables are: where `t` is joined with itself, along a foreign key,
//! or key to key.

use std::collections::HashSet;
use std::sync::Arc;

use claviger_model::{Column, TableKind};
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{A_Expr, ColumnRef, RangeVar, SelectStmt, SubLink};
use pg_raw_parse::raw::{A_Expr_Kind, BoolExprType, SubLinkType};

use super::Analysis;
use super::bound::Condition;
use super::expression::SETOP_NONE;
use super::names::{parts, qualified};
use super::scope::{Item, Scope, fields};
use super::walk::visit;
use crate::Relation;

impl Analysis<'_> {
    /// Whether the first of the items is joined with another table in a way that limits its rows.
    pub(super) fn is_joined(&self, scope: &Scope<'_>, conditions: &[Condition<'_>]) -> bool {
        conditions
            .iter()
            .any(|(condition, limits)| limits.as_ref().is_none_or(|limits| limits.contains(&0)) && self.joins(scope, *condition))
    }

    fn joins(&self, scope: &Scope<'_>, condition: Node<'_>) -> bool {
        match condition {
            Node::BoolExpr(expression) => match expression.boolop {
                BoolExprType::AND_EXPR => expression.args().iter().any(|node| self.joins(scope, node)),
                BoolExprType::OR_EXPR => expression.args().iter().all(|node| self.joins(scope, node)),
                _ => false,
            },
            Node::A_Expr(comparison) => scope
                .items
                .iter()
                .enumerate()
                .skip(1)
                .any(|(n, item)| self.equals(scope, comparison, item, |scope, node| self.column_of(scope, n, node))),
            Node::SubLink(link) => self.joins_query(scope, link),
            _ => false,
        }
    }

    /// `t.x IN (SELECT y FROM u)`, `EXISTS (SELECT … FROM u WHERE u.y = t.x)`.
    fn joins_query(&self, scope: &Scope<'_>, link: &SubLink) -> bool {
        let Node::SelectStmt(select) = link.subselect() else { return false };
        let Some(other) = self.only_item(scope, select) else { return false };
        match link.sub_link_type {
            SubLinkType::ANY_SUBLINK => {
                let named = select.target_list().iter().next().map(|target| target.val());
                let Some(node @ Node::ColumnRef(named)) = named else { return false };
                let equals = qualified(link.oper_name()).is_none_or(|(_, name)| name == "=");
                equals
                    && select.target_list().len() == 1
                    && is_column_of(&other, node)
                    && self.column_of(scope, 0, link.testexpr())
                    && self.limits_by(scope, link.testexpr(), &other, named)
            }
            SubLinkType::EXISTS_SUBLINK => {
                let inside = |node: Node<'_>| {
                    let Node::A_Expr(comparison) = node else { return false };
                    self.equals(scope, comparison, &other, |_, node| is_column_of(&other, node))
                };
                match select.where_clause() {
                    Node::BoolExpr(all) if all.boolop == BoolExprType::AND_EXPR => all.args().iter().any(inside),
                    condition => inside(condition),
                }
            }
            _ => false,
        }
    }

    /// The only table that a plain query selects from.
    fn only_item(&self, scope: &Scope<'_>, select: &SelectStmt) -> Option<Item> {
        let plain = select.op == SETOP_NONE
            && select.with_clause().is_none()
            && select.group_clause().is_empty()
            && matches!(select.having_clause(), Node::None);
        let mut from = select.from_clause().iter();
        let (Some(Node::RangeVar(range)), None, true) = (from.next(), from.next(), plain) else { return None };
        if range.schemaname().is_none() && scope.expressions.find(range.relname()?).is_some() {
            return None;
        }
        let relation = self.relation(range).ok()?;
        if relation.definition.is_some() {
            return None;
        }
        let mut item = Item { name: called(range).into(), fields: fields(&relation), ..Item::default() };
        item.tables.insert(&relation.table);
        item.relation = Some(relation);
        Some(item)
    }

    /// Whether a comparison holds a column of the first item equal to one of another's.
    fn equals(
        &self,
        scope: &Scope<'_>,
        comparison: &A_Expr,
        other: &Item,
        is_of_other: impl Fn(&Scope<'_>, Node<'_>) -> bool,
    ) -> bool {
        let (left, right) = (comparison.lexpr(), comparison.rexpr());
        let equal = matches!(comparison.kind, A_Expr_Kind::AEXPR_OP | A_Expr_Kind::AEXPR_NOT_DISTINCT)
            && qualified(comparison.name()).is_some_and(|(_, name)| name == "=");
        let one_way = |own, of_other| {
            self.column_of(scope, 0, own)
                && !is_of_other(scope, own)
                && is_of_other(scope, of_other)
                && only_column(of_other).is_some_and(|named| self.limits_by(scope, own, other, named))
        };
        equal && (one_way(left, right) || one_way(right, left))
    }

    /// Whether not all rows of the first item have such a value in something of another table.
    fn limits_by(&self, scope: &Scope<'_>, own: Node<'_>, other: &Item, named: &ColumnRef) -> bool {
        let (Some(target), Some(own)) = (scope.items.first(), only_column(own)) else { return false };
        let column = |item: &Item, named: &ColumnRef| item.field(parts(named.fields()).last()?)?.copy;
        let (Some(one), Some(two)) = (column(target, own), column(other, named)) else { return false };
        !self.are_kin(target, other) && !self.always(&one, &two)
    }

    /// Whether two items may show the same rows. What a materialized view shows is not told.
    fn are_kin(&self, target: &Item, other: &Item) -> bool {
        let kept = |item: &Item| item.tables.iter().any(|table| table.kind == TableKind::MaterializedView);
        let (one, two) = (self.family(target), self.family(other));
        kept(other) || other.open.is_some() || !one.is_disjoint(&two)
    }

    /// The tables of an item, with all children.
    fn family(&self, item: &Item) -> HashSet<u32> {
        let own = item.relation.iter().map(|relation| relation.table.id);
        let mut waiting: Vec<u32> = item.tables.iter().map(|table| table.id).chain(own).collect();
        let mut all = HashSet::new();
        while let Some(id) = waiting.pop() {
            if all.insert(id) {
                let children = self.catalog.relation(id).into_iter().flat_map(|relation| &relation.children);
                waiting.extend(children.map(|child| child.relation));
            }
        }
        all
    }

    /// Whether one column's values are the other's by what the tables are.
    fn always(&self, one: &Column, two: &Column) -> bool {
        let relation = |column: &Column| self.catalog.relation(column.table.id);
        let (Some(of_one), Some(of_two)) = (relation(one), relation(two)) else { return true };
        points(of_one, one, two) || points(of_two, two, one) || (is_key(of_one, one) && is_key(of_two, two))
    }
}

/// Whether a name stands for a column of what a query inside selects from, which hides those outside.
fn is_column_of(item: &Item, node: Node<'_>) -> bool {
    let Node::ColumnRef(column) = node else { return false };
    match parts(column.fields())[..] {
        [name] => item.field(name).is_some(),
        [table, name] => *table == *item.name && item.field(name).is_some(),
        _ => false,
    }
}

/// Whether a foreign key points from one column at another, which is one of this table.
fn points(relation: &Arc<Relation>, to: &Column, from: &Column) -> bool {
    relation.references.iter().any(|reference| {
        reference.from == from.table.id && reference.columns.contains(&from.number) && reference.to.contains(&to.number)
    })
}

fn is_key(relation: &Arc<Relation>, column: &Column) -> bool {
    relation.keys.iter().any(|key| key.as_slice() == [column.number])
}

/// The only column that an expression names.
fn only_column(node: Node<'_>) -> Option<&ColumnRef> {
    let mut columns = Vec::new();
    visit(node, |node| {
        if let Node::ColumnRef(column) = node {
            columns.push(column);
        }
    });
    match columns[..] {
        [only] => Some(only),
        _ => None,
    }
}

fn called(range: &RangeVar) -> &str {
    range.alias().and_then(pg_raw_parse::nodes::Alias::aliasname).or(range.relname()).unwrap_or_default()
}
