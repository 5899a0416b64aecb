//! What rows are grouped and sorted by, and what that tells of classified columns.
//!
//! Which of their values are equal may be told; in which order a server finds its groups may not, because it goes by the values. So
//! grouping by a classified column is no decision where nothing of that order is seen: where every other column of the rows is sorted by,
//! so that rows of which one might come before the other look alike.

use std::sync::Arc;

use claviger_model::Column;
use pg_raw_parse::Node;
use pg_raw_parse::nodes::SelectStmt;
use pg_raw_parse::raw::LimitOption;

use super::flow::{Field, Flow, Rows, Sources};
use super::names::{constant_number, has_parameter, parts, qualified};
use super::scope::{Found, Scope};
use super::{Analysis, Result};

/// As many rows as may leave of a table at once without being called many.
const FEW: f64 = 1000.0;

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
        let (mut copies, mut all) = (Sources::default(), Vec::new());
        for node in select.group_clause() {
            let field = match (named_output(scope, node, true), node) {
                (Some(output), _) => Some(output.clone()),
                (None, Node::ColumnRef(reference)) => match self.name(scope, &parts(reference.fields())) {
                    Ok(Found::Field(field)) => Some(field),
                    _ => None,
                },
                (None, _) => None,
            };
            if let Some(column) = field.and_then(|field| field.flow.copy) {
                copies.insert(&column);
                all.push((table_column(select, scope, node), column));
            }
        }
        let keyed = |item: &Option<usize>, column: &Column| {
            let has = |number: &i16| all.iter().any(|(other, of)| other == item && of.number == *number);
            let relation = self.catalog.relation(column.table.id).filter(|relation| relation.children.is_empty());
            item.is_some() && relation.is_some_and(|relation| !relation.primary.is_empty() && relation.primary.iter().all(has))
        };
        // A column may be there twice, of a table that is joined with itself.
        let by_key = |column: &Column| {
            let mut same = all.iter().filter(|(_, other)| std::ptr::eq(&**other, column)).peekable();
            same.peek().is_some() && same.all(|(item, _)| keyed(item, column))
        };
        let plain = |column: &Column| copies.iter().any(|copy| std::ptr::eq(&**copy, column));
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

    pub(super) fn sorted(&mut self, select: &SelectStmt, scope: &Scope<'_>, rows: &mut Rows) -> Result<()> {
        for sort in select.sort_clause().iter() {
            if let Some((schema, name)) = qualified(sort.use_op()) {
                self.operator(schema, name)?;
            }
            let flow = self.by_output(scope, sort.node(), false)?;
            if flow.shows.is_empty() || !self.is_sorted_by_sum(scope, sort.node()) {
                rows.control.controlled_by(&self.decided(flow));
            }
        }
        Ok(())
    }

    pub(super) fn limited(&mut self, select: &SelectStmt, scope: &Scope<'_>, rows: &mut Rows) -> Result<()> {
        rows.control.add(&self.condition(scope, select.limit_count())?);
        self.depends_on_values |= has_parameter(select.limit_count());
        rows.control.add(&self.condition(scope, select.limit_offset())?);
        let limited = [select.limit_count(), select.limit_offset()].iter().any(|limit| !matches!(limit, Node::None));
        rows.cut = limited || select.distinct_clause().iter().any(|by| !matches!(by, Node::None));
        if select.limit_option == LimitOption::LIMIT_OPTION_COUNT && is_few(select.limit_count()) {
            rows.bounded = true;
        }
        Ok(())
    }

    /// Whether sorting by this is sorting by that column of the rows.
    pub(super) fn sorts(&mut self, scope: &Scope<'_>, sort: Node<'_>, n: usize, field: &Field, target: Node<'_>) -> bool {
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

/// Which column of a query's own rows they are sorted by, counted from 0.
pub(super) fn output_number(scope: &Scope<'_>, node: Node<'_>) -> Option<usize> {
    let field = named_output(scope, node, false)?;
    scope.outputs.iter().position(|output| std::ptr::eq(output, field))
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

/// The table of this level, by its place, whose column something is that is grouped by.
pub(super) fn table_column(select: &SelectStmt, scope: &Scope<'_>, node: Node<'_>) -> Option<usize> {
    let node = match node {
        Node::ColumnRef(reference) => match parts(reference.fields())[..] {
            // What is selected under this name.
            [name] if scope.index_of(None, name).is_none() => {
                select.target_list().iter().find(|target| target.name() == Some(name))?.val()
            }
            _ => node,
        },
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Node::A_Const(_) if scope.outputs.len() == select.target_list().len() => {
            let number = constant_number(node).filter(|number| *number >= 1.0)?;
            select.target_list().get(number as usize - 1)?.val()
        }
        _ => return None,
    };
    let Node::ColumnRef(reference) = node else { return None };
    let item = match parts(reference.fields())[..] {
        [name] => scope.index_of(None, name)?,
        [table, name] => scope.index_of(Some(table), name)?,
        _ => return None,
    };
    let relation = scope.items.get(item)?.relation.as_ref()?;
    relation.definition.is_none().then_some(item)
}

/// Whether a limit keeps the number of rows small. One that is given as a parameter is what the client asks for.
fn is_few(limit: Node<'_>) -> bool {
    match limit {
        Node::ParamRef(_) => true,
        Node::TypeCast(cast) => is_few(cast.arg()),
        limit => constant_number(limit).is_some_and(|number| number <= FEW),
    }
}

/// Whether both are the same call of a function with plain columns.
pub(super) fn is_same_call(one: Node<'_>, other: Node<'_>) -> bool {
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
