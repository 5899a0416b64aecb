//! What is known of queries that stand inside conditions, as far as it matters to the rows outside.
//!
//! `id IN (SELECT …)` tells rows apart if the query gives few values whatever the row outside is; `EXISTS (SELECT …)` if the query's own
//! condition does so for the row outside, once nothing of that row counts as given.

use std::sync::Arc;

use pg_raw_parse::Node;
use pg_raw_parse::nodes::{SelectStmt, SubLink};
use pg_raw_parse::raw::SubLinkType;

use super::bound::Condition;
use super::expression::SETOP_NONE;
use super::flow::{Rows, Tables};
use super::query::makes_many;
use super::scope::Scope;
use super::{Analysis, Result};

/// What is known of one such query.
#[derive(Clone, Debug, Default)]
pub(super) struct Inner {
    /// Whether it gives few values, for all rows outside together.
    pub(super) few: bool,
    /// Whether its one value does not depend on the row outside, and is not one that holds many.
    pub(super) given: bool,
    /// The names of what is selected from outside and limited by its condition.
    limits: Vec<Arc<str>>,
}

/// What a query inside says of itself and of what is outside, taken together.
#[derive(Clone, Debug, Default)]
pub(super) struct Together {
    few: bool,
    limits: Vec<Arc<str>>,
}

impl Analysis<'_> {
    /// Follows a query inside an expression.
    pub(super) fn inner_query(&mut self, scope: &Scope<'_>, link: &SubLink) -> Result<Rows> {
        let plain = matches!(link.subselect(), Node::SelectStmt(select)
            if select.op == SETOP_NONE && select.with_clause().is_none() && select.values_lists().is_empty());
        let outermost = std::mem::replace(&mut self.outermost, usize::MAX);
        self.together = plain.then_some(None);
        let mut rows = self.query_in_any_order(link.subselect(), scope.expressions, Some(scope))?;
        match link.sub_link_type {
            // Whether there is any does not hang on the order.
            SubLinkType::EXISTS_SUBLINK => rows.cut = false,
            SubLinkType::ANY_SUBLINK | SubLinkType::ALL_SUBLINK | SubLinkType::EXPR_SUBLINK | SubLinkType::ROWCOMPARE_SUBLINK => {
            }
            _ => self.ordered(&mut rows),
        }
        self.passed_on(&mut rows);
        let together = self.together.take().flatten().unwrap_or_default();
        let correlated = self.outermost <= scope.depth();
        self.outermost = self.outermost.min(outermost);
        if let Node::SelectStmt(select) = link.subselect() {
            let many = rows.fields.iter().any(|field| !field.flow.gathered.tables().is_empty()) || makes_many(select);
            let inner = Inner {
                few: !many && rows.bounded && (!correlated || together.few),
                given: !many && !correlated,
                limits: together.limits,
            };
            self.inner.insert(address(select), inner);
        }
        Ok(rows)
    }

    /// What is known of a query inside a condition, which has been followed. Of what has not, nothing.
    pub(super) fn inner(&self, link: &SubLink) -> Inner {
        let Node::SelectStmt(select) = link.subselect() else { return Inner::default() };
        self.inner.get(&address(select)).cloned().unwrap_or_default()
    }

    /// Whether the condition of a query inside limits this item.
    pub(super) fn inner_limits(&self, scope: &Scope<'_>, item: usize, link: &SubLink) -> bool {
        let named = scope.items.get(item).map(|item| &item.name).filter(|name| !name.is_empty());
        named.is_some_and(|name| self.inner(link).limits.contains(name))
    }

    /// Looks at a query together with what is outside of it, if that is asked for.
    pub(super) fn look_together(&mut self, scope: &Scope<'_>, conditions: &[Condition<'_>]) -> Result<Together> {
        let Some(outer) = scope.outer.filter(|outer| self.outermost <= outer.depth()) else { return Ok(Together::default()) };
        let mut all = Scope::new(outer.outer, scope.expressions);
        // Those inside come first: they hide others of the same name.
        all.items = scope.items.iter().chain(&outer.items).cloned().collect();
        all.equal.clone_from(&scope.equal);
        for _ in all.items.iter().flat_map(|item| &item.fields) {
            self.count()?;
        }
        let bounded = self.bounds(&all, conditions)?;
        let (inside, outside) = bounded.split_at(scope.items.len().min(bounded.len()));
        let limited = outer.items.iter().zip(outside).filter(|(item, bounded)| **bounded && !item.bounded);
        Ok(Together {
            few: inside.iter().all(|bounded| *bounded),
            limits: limited.map(|(item, _)| Arc::clone(&item.name)).collect(),
        })
    }

    /// A name has been found at this level of queries.
    pub(super) fn found_at(&mut self, depth: usize) {
        self.outermost = self.outermost.min(depth);
    }

    /// Notes the tables of what has no bound.
    pub(super) fn unbounded(scope: &Scope<'_>, bounded: &[bool]) -> Tables {
        let mut unbounded = Tables::default();
        for (item, _) in scope.items.iter().zip(bounded).filter(|(_, bounded)| !**bounded) {
            unbounded.add(&item.tables);
        }
        unbounded
    }
}

/// A node of a tree that lives; whatever comes to lie at its place later is followed before it is asked about.
fn address(select: &SelectStmt) -> usize {
    std::ptr::from_ref(select).addr()
}
