//! What rows are grouped and sorted by, and what that tells of classified columns.
//!
//! Which of their values are equal may be told; in which order a server finds its groups may not, because it goes by the values. So
//! grouping by a classified column is no decision where nothing of that order is seen: where every other column of the rows is sorted by,
//! so that rows of which one might come before the other look alike.

use std::sync::Arc;

use pg_raw_parse::Node;
use pg_raw_parse::nodes::SelectStmt;

use super::flow::{Field, Flow, Rows, Sources};
use super::names::{constant_number, parts};
use super::scope::{Found, Scope};
use super::{Analysis, Result};

impl Analysis<'_> {
    pub(super) fn grouped(&mut self, select: &SelectStmt, scope: &Scope<'_>) -> Result<Flow> {
        let mut flow = Flow::default();
        for node in select.group_clause() {
            self.operator(None, "=")?;
            flow.add(&self.by_output(scope, node, true)?);
        }
        Ok(self.grouped_by(select, scope, flow))
    }

    /// Groups tell of what they are made by, unless a table's primary key is beside it: then the server groups by that alone.
    fn grouped_by(&mut self, select: &SelectStmt, scope: &Scope<'_>, flow: Flow) -> Flow {
        let mut copies = Sources::default();
        for node in select.group_clause() {
            let copy = match (named_output(scope, node, true), node) {
                (Some(output), _) => output.flow.copy.clone(),
                (None, Node::ColumnRef(reference)) => match self.name(scope, &parts(reference.fields())) {
                    Ok(Found::Field(field)) => field.flow.copy,
                    _ => None,
                },
                (None, _) => None,
            };
            copy.iter().for_each(|column| copies.insert(column));
        }
        let by_key = |column: &claviger_model::Column| {
            let has = |number: i16| copies.iter().any(|copy| copy.table.id == column.table.id && copy.number == number);
            let keyed = |key: &[i16]| !key.is_empty() && key.iter().all(|number| has(*number));
            has(column.number) && self.catalog.relation(column.table.id).is_some_and(|relation| keyed(&relation.primary))
        };
        let plain = |column: &claviger_model::Column| copies.iter().any(|copy| std::ptr::eq(&**copy, column));
        let telling = Flow { shows: flow.shows.filtered(|column| !by_key(column) && !plain(column)), ..Flow::default() };
        self.decided(telling);
        self.grouping.add(&copies.filtered(|column| !column.labels.is_empty() && !by_key(column)));
        flow.without_values()
    }

    pub(super) fn distinct(&mut self, select: &SelectStmt, scope: &Scope<'_>, control: &mut Flow) -> Result<()> {
        for node in select.distinct_clause() {
            self.operator(None, "=")?;
            // All of them, where none is named.
            if matches!(node, Node::None) {
                scope.outputs.iter().for_each(|field| self.grouped_with(&field.flow));
            }
            let flow = self.by_output(scope, node, false)?;
            control.controlled_by(&self.decided(flow));
        }
        Ok(())
    }

    /// Something that is sorted or grouped by: a column of the query's own, by name or number, or any expression. A name alone stands for a
    /// column of the query's own where rows are sorted, and for one of what is selected from where they are grouped, if there is one
    /// (PostgreSQL manual, `SELECT`).
    pub(super) fn by_output(&mut self, scope: &Scope<'_>, node: Node<'_>, grouped: bool) -> Result<Flow> {
        if let Node::GroupingSet(set) = node {
            let mut flow = Flow::default();
            for node in set.content() {
                flow.add(&self.by_output(scope, node, grouped)?);
            }
            return Ok(flow);
        }
        let mut flow = Flow::default();
        match named_output(scope, node, grouped) {
            Some(output) => flow.controlled_by(&output.flow),
            None => flow.controlled_by(&self.expression(scope, node)?),
        }
        Ok(flow)
    }

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

/// The column of a query's own that a number or a name stands for where the query groups or sorts by it.
fn named_output<'s>(scope: &'s Scope<'_>, node: Node<'_>, grouped: bool) -> Option<&'s Field> {
    match node {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Node::A_Const(_) => {
            let number = constant_number(node).filter(|number| *number >= 1.0).map(|number| number as usize - 1)?;
            scope.outputs.get(number)
        }
        Node::ColumnRef(reference) => match parts(reference.fields())[..] {
            [name] if !(grouped && scope.index_of(None, name).is_some()) => {
                scope.outputs.iter().find(|field| *field.name == *name)
            }
            _ => None,
        },
        _ => None,
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
