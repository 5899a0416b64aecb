//! Rows that are grouped by classified columns.
//!
//! Which of their values are equal may be told; in which order a server finds its groups may not, because it goes by the values. So
//! grouping by a classified column is no decision where nothing of that order is seen: where every other column of the rows is sorted by,
//! so that rows of which one might come before the other look alike.

use std::sync::Arc;

use pg_raw_parse::Node;
use pg_raw_parse::nodes::SelectStmt;

use super::Analysis;
use super::flow::{Field, Flow, Rows};
use super::names::{constant_number, parts};
use super::scope::{Found, Scope};

impl Analysis<'_> {
    /// Rows are grouped by a value.
    pub(super) fn grouped_with(&mut self, flow: &Flow) {
        match &flow.copy {
            Some(copy) if flow.shows.iter().all(|column| Arc::ptr_eq(column, copy)) => self.grouping.add(&flow.shows),
            _ => _ = self.decided(flow.clone()),
        }
    }

    /// What the rows of a query were grouped by decides, unless its order is not seen.
    pub(super) fn grouping_settled(&mut self, select: &SelectStmt, scope: &Scope<'_>, rows: &Rows) {
        if self.grouping.is_empty() {
            return;
        }
        let grouping = std::mem::take(&mut self.grouping);
        let sorts: Vec<Node<'_>> = select.sort_clause().iter().map(|sort| sort.node()).collect();
        let hidden = |this: &mut Self, n: usize, field: &Field| {
            let target = select.target_list().get(n).map_or(Node::None, |target| target.val());
            !field.flow.shows.is_empty()
                || is_constant(target)
                || sorts.iter().any(|sort| this.sorts(scope, *sort, n, field, target))
        };
        let stars = rows.fields.len() != select.target_list().len();
        let unseen = rows.open.is_none()
            && rows
                .fields
                .iter()
                .enumerate()
                .all(|(n, field)| if stars { !field.flow.shows.is_empty() } else { hidden(self, n, field) });
        for column in grouping.iter() {
            self.decides(column, unseen.then_some(column));
        }
    }

    /// Whether sorting by this is sorting by that column of the rows.
    fn sorts(&mut self, scope: &Scope<'_>, sort: Node<'_>, n: usize, field: &Field, target: Node<'_>) -> bool {
        match sort {
            #[allow(clippy::cast_precision_loss)]
            Node::A_Const(_) => constant_number(sort) == Some(n as f64 + 1.0),
            Node::ColumnRef(reference) => {
                let names = parts(reference.fields());
                if matches!(names[..], [name] if *field.name == *name) {
                    return true;
                }
                let found = self.name(scope, &names).ok();
                let same = |copy: &Arc<_>| matches!(&found, Some(Found::Field(by)) if by.flow.copy.as_ref().is_some_and(|by| Arc::ptr_eq(by, copy)));
                field.flow.copy.as_ref().is_some_and(same)
            }
            sort => is_same_call(sort, target),
        }
    }
}

fn is_constant(node: Node<'_>) -> bool {
    matches!(node, Node::A_Const(_))
}

/// Whether both are the same call of a function with plain columns.
fn is_same_call(one: Node<'_>, other: Node<'_>) -> bool {
    let (Node::FuncCall(one), Node::FuncCall(other)) = (one, other) else { return false };
    let columns = |call: &pg_raw_parse::nodes::FuncCall| {
        let name = |node| match node {
            Node::ColumnRef(reference) => Some(parts(reference.fields()).join(".")),
            _ => None,
        };
        call.args().iter().map(name).collect::<Option<Vec<_>>>()
    };
    parts(one.funcname()) == parts(other.funcname())
        && one.agg_distinct == other.agg_distinct
        && [one, other].iter().all(|call| call.over().is_none() && matches!(call.agg_filter(), Node::None))
        && columns(one).is_some_and(|own| columns(other) == Some(own))
}
