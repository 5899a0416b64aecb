//! Joins: what they put together, and the columns that they make one of.

use std::sync::Arc;

use pg_raw_parse::nodes;
use pg_raw_parse::raw::JoinType;

use super::bound::Condition;
use super::flow::{Flow, Tables};
use super::from::rename;
use super::names::parts;
use super::scope::{Item, Scope};
use super::{Analysis, Result};

impl Analysis<'_> {
    pub(super) fn select_from_join<'n>(
        &mut self,
        join: &'n nodes::JoinExpr,
        scope: &mut Scope<'_>,
        conditions: &mut Vec<Condition<'n>>,
    ) -> Result<Flow> {
        let start = scope.items.len();
        let mut control = self.select_from(join.larg(), scope, conditions)?;
        let middle = scope.items.len();
        // Of what stands here only.
        let left = if join.is_natural { scope.shown(start) } else { Vec::new() };
        let left: Vec<Arc<str>> = left.into_iter().map(|field| Arc::clone(&field.name)).collect();
        control.add(&self.select_from(join.rarg(), scope, conditions)?);
        let end = scope.items.len();
        let merged: Vec<Arc<str>> = if join.is_natural {
            natural(left, scope.items.get(middle..end).unwrap_or_default())
        } else {
            join.using_clause().iter().filter_map(nodes::String::sval).map(Into::into).collect()
        };
        for name in &merged {
            control.add(&self.merged(scope, name, start, middle)?);
        }
        // The condition, which sees both sides and nothing of what stands beside the join.
        let inner = Scope {
            items: scope.items.get(start..).unwrap_or_default().to_vec(),
            outer: Some(scope),
            expressions: scope.expressions,
            unbounded: Tables::default(),
            merged: Vec::new(),
            equal: Vec::new(),
            known: Vec::new(),
            outputs: Vec::new(),
        };
        control.add(&self.condition(&inner, join.quals())?);
        let limits = match join.jointype {
            JoinType::JOIN_INNER => Some(start..end),
            // The condition says nothing about which rows of the outer side there are.
            JoinType::JOIN_LEFT => Some(middle..end),
            JoinType::JOIN_RIGHT => Some(start..middle),
            _ => None,
        };
        if let Some(limits) = limits {
            conditions.push((join.quals(), Some(limits.clone())));
            for name in &merged {
                let sides = (start..middle, middle..end);
                scope_equal(scope, name, sides, &limits);
            }
        }
        if let Some(alias) = join.join_using_alias() {
            let fields = merged
                .iter()
                .filter_map(|name| scope.items.iter().skip(start).find_map(|item| item.shown_as(name)).cloned())
                .collect();
            let name = alias.aliasname().unwrap_or_default().into();
            scope.items.push(Item { name, fields, hidden: merged.clone(), bounded: true, ..Item::default() });
        }
        scope.merged.push((start..scope.items.len(), merged));
        self.named_join(join, scope, start);
        Ok(control)
    }

    /// A column that both sides of a join have, and that is one from there on.
    fn merged(&mut self, scope: &mut Scope<'_>, name: &Arc<str>, start: usize, middle: usize) -> Result<Flow> {
        self.operator(None, "=")?;
        let mut control = Flow::default();
        let mut right = None;
        for item in scope.items.iter_mut().skip(middle).filter(|item| !item.hidden.contains(name)) {
            if let Some(field) = item.field(name) {
                right = Some(field);
                item.hidden.push(Arc::clone(name));
            }
        }
        let left = scope
            .items
            .iter_mut()
            .take(middle)
            .skip(start)
            .find_map(|item| item.fields.iter_mut().find(|field| field.name == *name));
        if let Some(right) = right {
            self.used(&right);
            control.controlled_by(&right.flow);
            if let Some(left) = left {
                let both = (left.flow.clone(), right.flow.clone());
                left.flow.add(&right.flow);
                left.exact &= right.exact;
                control.controlled_by(&left.flow);
                // Of one kind and equal: what is true of one is true of the other.
                left.flow.copy.clone_from(&both.0.copy);
                let left = left.clone();
                self.used(&left);
                self.compared(both.0, &both.1);
            }
        }
        let control = control.without_values();
        Ok(control)
    }

    /// A join that is given a name hides those of its parts.
    fn named_join(&mut self, join: &nodes::JoinExpr, scope: &mut Scope<'_>, start: usize) {
        let Some(alias) = join.alias() else { return };
        let fields = scope.shown(start).into_iter().cloned().collect();
        let mut whole = Item { name: alias.aliasname().unwrap_or_default().into(), fields, bounded: true, ..Item::default() };
        scope.merged.retain(|(items, _)| items.start < start);
        for item in scope.items.drain(start..) {
            whole.tables.add(&item.tables);
            whole.bounded &= item.bounded;
            if let Some(open) = item.open {
                whole.open.get_or_insert_with(Flow::default).add(&open);
            }
        }
        rename(&mut whole.fields, &parts(alias.colnames()));
        scope.items.push(whole);
    }
}

/// The columns that two sides have in common, in the order of the left one's.
fn natural(mut left: Vec<Arc<str>>, right: &[Item]) -> Vec<Arc<str>> {
    left.retain(|name| right.iter().any(|item| item.shown_as(name).is_some()));
    left
}

/// Where two sides are joined by a column of the same name, a bound of one is a bound of the other.
fn scope_equal(
    scope: &mut Scope<'_>,
    name: &Arc<str>,
    (left, right): (std::ops::Range<usize>, std::ops::Range<usize>),
    limits: &std::ops::Range<usize>,
) {
    let find = |side: std::ops::Range<usize>, scope: &Scope<'_>| {
        side.into_iter().find(|n| scope.items.get(*n).is_some_and(|item| item.fields.iter().any(|field| field.name == *name)))
    };
    if let (Some(one), Some(other)) = (find(left, scope), find(right, scope)) {
        scope.equal.push((one, other, limits.clone()));
    }
}
