//! Queries: what their columns depend on, and whether their rows have a bound.

use std::sync::Arc;

use claviger_model::{Hazard, Object, TableKind, Verb};
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{self, SelectStmt};
use pg_raw_parse::raw::{A_Expr_Kind, BoolExprType, SetOperation};

use super::expression::SETOP_NONE;
use super::flow::{Field, Flow, Rows};
use super::limit::computed;
use super::names::{constant_text, implied_name, parts, qualified};
use super::scope::{Expressions, Found, Item, Scope};
use super::walk::visit;
use super::{Analysis, Result, undefined};
use crate::{NotUnderstood, Undefined};

impl Analysis<'_> {
    /// A statement that can stand in `WITH`, in `PREPARE`, in `COPY`, in `EXPLAIN` or alone: its class, and what it gives.
    pub(super) fn query_statement(&mut self, node: Node<'_>) -> Result<(&'static str, Rows)> {
        let none = Expressions::default();
        let mut rows = self.query_in_any_order(node, &none, None)?;
        match node {
            // They go into the table.
            Node::SelectStmt(select) if goes_into(select) => {
                self.ordered(&mut rows);
                self.kept(&rows);
                Ok(("SELECT INTO", Rows { bounded: true, ..Rows::default() }))
            }
            _ => Ok((class(node), rows)),
        }
    }

    /// A table comes to be with the rows of a query.
    pub(super) fn creates_from(&mut self, into: &nodes::IntoClause) -> Result<()> {
        let Some(range) = into.rel() else { return Ok(()) };
        self.creates_table(range, TableKind::Table);
        self.transitions.push(crate::Transition::Define);
        self.event_triggers("SELECT INTO")
    }

    /// A query or a change with `RETURNING`, inside what is around it.
    pub(super) fn query(&mut self, node: Node<'_>, expressions: &Expressions<'_>, outer: Option<&Scope<'_>>) -> Result<Rows> {
        let mut rows = self.query_in_any_order(node, expressions, outer)?;
        self.ordered(&mut rows);
        Ok(rows)
    }

    /// The same, for whoever sees to it what the order of its rows tells.
    pub(super) fn query_in_any_order(
        &mut self,
        node: Node<'_>,
        expressions: &Expressions<'_>,
        outer: Option<&Scope<'_>>,
    ) -> Result<Rows> {
        self.deeper(|this| match node {
            Node::SelectStmt(select) => this.select(select, expressions, outer),
            Node::InsertStmt(insert) => this.insert(insert, expressions, outer),
            Node::UpdateStmt(update) => this.update(update, expressions, outer),
            Node::DeleteStmt(delete) => this.delete(delete, expressions, outer),
            Node::MergeStmt(merge) => this.merge(merge, expressions, outer),
            _ => {
                this.note_unknown(Hazard::Unknown);
                Ok(Rows::default())
            }
        })
    }

    /// The common table expressions of a statement, each seen by those after it, and by itself if it is recursive.
    pub(super) fn with<'e>(
        &mut self,
        clause: Option<&nodes::WithClause>,
        outer_expressions: &'e Expressions<'e>,
        outer: Option<&Scope<'_>>,
    ) -> Result<Expressions<'e>> {
        let mut own = Expressions { list: Vec::new(), outer: Some(outer_expressions) };
        let Some(clause) = clause else { return Ok(own) };
        for expression in clause.ctes().iter() {
            let name: Arc<str> = expression.ctename().unwrap_or_default().into();
            let aliases = parts(expression.aliascolnames());
            if clause.recursive {
                self.recursive(expression, &name, &aliases, &mut own, outer)?;
            } else {
                let rows = self.query_in_any_order(expression.ctequery(), &own, outer)?;
                own.list.push((name, renamed(rows, &aliases)));
            }
        }
        Ok(own)
    }

    /// A query that may select from itself: followed until what it depends on grows no more.
    fn recursive(
        &mut self,
        expression: &nodes::CommonTableExpr,
        name: &Arc<str>,
        aliases: &[&str],
        own: &mut Expressions<'_>,
        outer: Option<&Scope<'_>>,
    ) -> Result<()> {
        // At first it is taken for something of which nothing is known.
        let start = Rows { open: Some(Flow::default()), bounded: true, ..Rows::default() };
        own.list.push((Arc::clone(name), start));
        let mut size = usize::MAX;
        // Each round adds at least one column to one flow, or is the last; bounded all the same.
        for _ in 0..8 {
            let rows = renamed(self.query(expression.ctequery(), own, outer)?, aliases);
            let rows = self.searched(rows, expression);
            let now = rows.fields.iter().map(|field| field.flow.value.iter().count() + field.flow.control.iter().count()).sum();
            if let Some(known) = own.list.last_mut() {
                known.1 = rows;
            }
            if now == size {
                return Ok(());
            }
            size = now;
        }
        Err(NotUnderstood::TooComplex)
    }

    /// `SEARCH` and `CYCLE` add columns.
    fn searched(&mut self, mut rows: Rows, expression: &nodes::CommonTableExpr) -> Rows {
        let mut flow = Flow::default();
        rows.fields.iter().for_each(|field| flow.add(&field.flow));
        let search = expression.search_clause().and_then(nodes::CTESearchClause::search_seq_column);
        let cycle = expression.cycle_clause();
        let names =
            [search, cycle.and_then(|cycle| cycle.cycle_mark_column()), cycle.and_then(|cycle| cycle.cycle_path_column())];
        for name in names.into_iter().flatten() {
            rows.fields.push(Field { name: name.into(), flow: flow.clone(), ..Field::default() });
        }
        rows
    }

    fn select(&mut self, select: &SelectStmt, expressions: &Expressions<'_>, outer: Option<&Scope<'_>>) -> Result<Rows> {
        let own = self.with(select.with_clause(), expressions, outer)?;
        let mut rows = if select.op != SETOP_NONE {
            self.set_operation(select, &own, outer)?
        } else if !select.values_lists().is_empty() {
            self.values(select, &own, outer)?
        } else {
            return self.simple_select(select, &own, outer);
        };
        // Sorting and limits of a set operation or of `VALUES`, by their own columns.
        let mut scope = Scope::new(outer, &own);
        scope.items.push(Item { fields: rows.fields.clone(), open: rows.open.clone(), ..Item::default() });
        scope.outputs.clone_from(&rows.fields);
        self.sorted(select, &scope, &mut rows)?;
        self.limited(select, &scope, &mut rows)?;
        self.locked(select, &scope, rows.bounded)?;
        self.arms_settled(select, &scope, &mut rows);
        Ok(rows)
    }

    /// Arms to the left may be many; they are not followed one inside the other.
    fn set_operation(&mut self, select: &SelectStmt, expressions: &Expressions<'_>, outer: Option<&Scope<'_>>) -> Result<Rows> {
        let mut arms = Vec::new();
        let mut left = select;
        while let (Some(next), Some(right)) = (left.larg(), left.rarg()) {
            arms.push((right, left.op, left.all));
            left = next;
            let plain = left.with_clause().is_none() && left.sort_clause().is_empty();
            let unlimited = matches!(left.limit_count(), Node::None) && matches!(left.limit_offset(), Node::None);
            if !plain || !unlimited || !left.locking_clause().is_empty() {
                break;
            }
        }
        let mut rows = self.arm(left, expressions, outer)?;
        for (right, operation, all) in arms.into_iter().rev() {
            let other = self.arm(right, expressions, outer)?;
            self.operator(None, "=")?;
            let mut order = rows.order.clone();
            order.add(&other.order);
            // Rows that are compared with one another.
            if !all || operation != SetOperation::SETOP_UNION {
                order.add(&self.compared_rows(&rows, &other));
            }
            rows = joined(rows, &other, operation);
            rows.order = order;
        }
        Ok(rows)
    }

    fn arm(&mut self, select: &SelectStmt, expressions: &Expressions<'_>, outer: Option<&Scope<'_>>) -> Result<Rows> {
        let mut rows = self.query_in_any_order(Node::SelectStmt(select), expressions, outer)?;
        if std::mem::take(&mut rows.cut) {
            self.ordered(&mut rows);
        }
        Ok(rows)
    }

    fn values(&mut self, select: &SelectStmt, expressions: &Expressions<'_>, outer: Option<&Scope<'_>>) -> Result<Rows> {
        let scope = Scope::new(outer, expressions);
        let mut fields: Vec<Field> = Vec::new();
        for row in select.values_lists() {
            let Node::NodeList(row) = row else { continue };
            for (n, value) in row.iter().enumerate() {
                let flow = self.expression(&scope, value)?;
                match fields.get_mut(n) {
                    Some(field) => field.flow.add(&flow),
                    None => fields.push(Field { name: format!("column{}", n + 1).into(), flow, ..Field::default() }),
                }
            }
        }
        Ok(Rows { fields, bounded: true, ..Rows::default() })
    }

    fn simple_select(&mut self, select: &SelectStmt, own: &Expressions<'_>, outer: Option<&Scope<'_>>) -> Result<Rows> {
        let around = (std::mem::take(&mut self.grouping), std::mem::take(&mut self.loose));
        let rows = self.simple_select_here(select, own, outer);
        (self.grouping, self.loose) = around;
        rows
    }

    fn simple_select_here(&mut self, select: &SelectStmt, own: &Expressions<'_>, outer: Option<&Scope<'_>>) -> Result<Rows> {
        if let Some(into) = select.into_clause() {
            self.creates_from(into)?;
        }
        let (together, doings) = (self.together.take(), self.doings);
        let mut scope = Scope::new(outer, own);
        let mut conditions = Vec::new();
        let mut control = self.select_from_all(select.from_clause(), &mut scope, &mut conditions)?;
        control.add(&self.condition(&scope, select.where_clause())?);
        conditions.push((select.where_clause(), None));
        let bounded = self.bound(&mut scope, &conditions)?;
        if together.is_some() {
            self.together = Some(Some(self.look_together(&scope, &conditions)?));
        }
        let together = self.together.take();
        scope.known = known(&scope, select.where_clause());

        let mut rows = Rows { bounded, ..Rows::default() };
        for target in select.target_list().iter() {
            self.target(&scope, target, &mut rows)?;
        }
        for window in select.window_clause() {
            if let Node::WindowDef(window) = window {
                control.add(&self.window(&scope, window)?);
            }
        }
        scope.outputs.clone_from(&rows.fields);
        control.add(&self.grouped(select, &scope)?);
        control.add(&self.condition(&scope, select.having_clause())?);
        self.distinct(select, &scope, &mut control)?;
        self.sums(select, &scope, &conditions)?;
        self.summed_up(select, &mut rows);
        rows.control.controlled_by(&control);
        self.sorted(select, &scope, &mut rows)?;
        self.limited(select, &scope, &mut rows)?;
        self.order_settled(select, &scope, &mut rows, doings);
        self.locked(select, &scope, rows.bounded)?;
        self.together = together;
        Ok(rows)
    }

    /// One entry of a select list: a column, or all of them.
    pub(super) fn target(&mut self, scope: &Scope<'_>, target: &nodes::ResTarget, rows: &mut Rows) -> Result<()> {
        if let Node::ColumnRef(reference) = target.val() {
            let names = parts(reference.fields());
            if names.len() < reference.fields().len() {
                return self.star_target(scope, &names, rows);
            }
            if let Found::Field(field) = self.name(scope, &names)? {
                let name = target.name().map_or_else(|| Arc::clone(&field.name), Into::into);
                rows.fields.push(Field { name, own: None, via: None, ..field });
                return Ok(());
            }
        }
        if let Node::A_Indirection(indirection) = target.val()
            && indirection.indirection().iter().any(|step| matches!(step, Node::A_Star(_)))
        {
            // The columns of a row, whatever they are called.
            let flow = self.expression(scope, indirection.arg())?;
            rows.open.get_or_insert_with(Flow::default).add(&flow);
            return Ok(());
        }
        let flow = self.expression(scope, target.val())?;
        let name = target.name().map_or_else(|| implied_name(target.val()), Into::into);
        let exact = self.is_exact(scope, target.val());
        rows.fields.push(Field { name, flow, exact, ..Field::default() });
        Ok(())
    }

    fn star_target(&mut self, scope: &Scope<'_>, names: &[&str], rows: &mut Rows) -> Result<()> {
        for field in self.star(scope, names)? {
            self.used(&field);
            rows.fields.push(Field { own: None, via: None, ..field });
        }
        for item in self.starred(scope, names)? {
            if let Some(open) = &item.open {
                self.read_flow(open);
                rows.open.get_or_insert_with(Flow::default).add(open);
            }
        }
        if let Some(held) = self.held_star(scope, names) {
            rows.open.get_or_insert_with(Flow::default).add(&held);
        }
        Ok(())
    }

    /// What a variable may hold of which all fields are asked for.
    pub(super) fn held_star(&self, scope: &Scope<'_>, names: &[&str]) -> Option<Flow> {
        let (name, schema) = names.split_last().map(|(name, before)| (*name, before.last().copied()))?;
        if scope.item(schema, name).is_some() { None } else { self.held(names) }
    }

    /// The columns that a star stands for.
    pub(super) fn star(&mut self, scope: &Scope<'_>, names: &[&str]) -> Result<Vec<Field>> {
        if names.is_empty() {
            return Ok(scope.shown(0).into_iter().cloned().collect());
        }
        Ok(self.starred(scope, names)?.into_iter().flat_map(|item| item.fields.iter().cloned()).collect())
    }

    fn starred<'s>(&mut self, scope: &'s Scope<'_>, names: &[&str]) -> Result<Vec<&'s Item>> {
        let found = match names {
            [] => return Ok(scope.items.iter().collect()),
            [table] => scope.item(None, table),
            [schema, table] | [_, schema, table] => scope.item(Some(schema), table),
            _ => None,
        };
        match found {
            Some((level, item)) => {
                self.found_at(scope.depth().saturating_sub(level));
                Ok(vec![item])
            }
            None if self.any_variable
                || names.first().is_some_and(|name| self.variables.iter().any(|known| **known == **name)) =>
            {
                Ok(Vec::new())
            }
            None => undefined(Undefined::Relation),
        }
    }

    /// `FOR UPDATE` and its kin keep others from changing the rows; they need the right to update them.
    fn locked(&mut self, select: &SelectStmt, scope: &Scope<'_>, bounded: bool) -> Result<()> {
        for clause in select.locking_clause().iter() {
            let named: Vec<&str> = clause
                .locked_rels()
                .iter()
                .filter_map(|node| if let Node::RangeVar(range) = node { range.relname() } else { None })
                .collect();
            for item in scope.items.iter().filter(|item| named.is_empty() || named.contains(&&*item.name)) {
                // Those of a view, or of a query in its place, are rows of the tables behind it.
                let mut tables = item.tables.clone();
                if let Some(relation) = &item.relation {
                    tables.insert(&relation.table);
                }
                for table in tables.iter() {
                    self.note(Verb::Update, Object::Table(Arc::clone(table)));
                    if !bounded {
                        self.hazards.insert(Hazard::Blocking);
                        self.note(Verb::Lock, Object::Table(Arc::clone(table)));
                    }
                }
            }
        }
        Ok(())
    }

    /// A query that sums its rows up shows those values of a table that it groups by: all of them if they are regulated or tell rows apart.
    fn summed_up(&self, select: &SelectStmt, rows: &mut Rows) {
        let grouped = !select.group_clause().is_empty() || !select.distinct_clause().is_empty();
        let aggregates = select.target_list().iter().any(|target| self.has_aggregate(target.val()))
            || self.has_aggregate(select.having_clause());
        if grouped {
            for field in &mut rows.fields {
                field.flow.rows = field.flow.rows.filtered(|column| !column.labels.is_empty() || self.is_key(column));
            }
        } else if aggregates {
            // One row.
            rows.bounded = true;
        }
    }

    fn is_key(&self, column: &claviger_model::Column) -> bool {
        self.catalog
            .relation(column.table.id)
            .is_some_and(|relation| relation.keys.iter().any(|key| key.as_slice() == [column.number]))
    }

    /// Whether an expression sums rows up, apart from those of queries inside it.
    pub(super) fn has_aggregate(&self, node: Node<'_>) -> bool {
        let mut found = false;
        visit(node, |node| {
            found |= match node {
                Node::FuncCall(call) => self.is_aggregate(call),
                Node::JsonObjectAgg(_) | Node::JsonArrayAgg(_) => true,
                _ => false,
            };
        });
        found
    }
}

/// The columns of the server's own catalogs that a condition holds to one text. Columns of users may be compared by rules of their
/// own, under which several texts are equal.
fn known(scope: &Scope<'_>, condition: Node<'_>) -> Vec<(Arc<str>, String)> {
    let conditions: Vec<Node<'_>> = match condition {
        Node::BoolExpr(all) if all.boolop == BoolExprType::AND_EXPR => all.args().iter().collect(),
        condition => vec![condition],
    };
    let equals = |node| {
        let Node::A_Expr(comparison) = node else { return None };
        let (Node::ColumnRef(column), Some((None, "="))) = (comparison.lexpr(), qualified(comparison.name())) else {
            return None;
        };
        let [name] = parts(column.fields())[..] else { return None };
        let item = scope.items.get(scope.index_of(None, name)?)?;
        let is_system = item.relation.as_ref().is_some_and(|relation| relation.table.system);
        (is_system && comparison.kind == A_Expr_Kind::AEXPR_OP).then_some(())?;
        Some((Arc::from(name), constant_text(comparison.rexpr())?))
    };
    conditions.into_iter().filter_map(equals).collect()
}

/// The rows of two queries as one.
fn joined(mut rows: Rows, other: &Rows, operation: SetOperation::Type) -> Rows {
    let except = operation == SetOperation::SETOP_EXCEPT;
    let nothing = Flow::default();
    let open = other.open.as_ref();
    for (n, field) in rows.fields.iter_mut().enumerate() {
        (field.copy, field.exact) = (None, false);
        let flow = other.fields.get(n).map(|field| &field.flow).or(open).unwrap_or(&nothing);
        let alike = matches!((&field.flow.copy, &flow.copy), (Some(one), Some(other)) if one.labels == other.labels);
        let copy = field.flow.copy.take().filter(|_| alike || except);
        if except {
            field.flow.controlled_by(&flow.clone().without_values());
        } else {
            field.flow.add(flow);
        }
        field.flow.copy = copy;
    }
    if rows.open.is_some() || open.is_some() {
        let all = rows.open.get_or_insert_with(Flow::default);
        other.fields.iter().for_each(|field| all.add(&field.flow));
        open.into_iter().for_each(|open| all.add(open));
    }
    rows.control.add(&other.control);
    rows.bounded = match operation {
        SetOperation::SETOP_UNION => rows.bounded && other.bounded,
        SetOperation::SETOP_INTERSECT => rows.bounded || other.bounded,
        _ => rows.bounded,
    };
    rows
}

/// Rows whose columns are called otherwise.
pub(super) fn renamed(mut rows: Rows, names: &[&str]) -> Rows {
    for (field, name) in rows.fields.iter_mut().zip(names) {
        field.name = (*name).into();
    }
    if rows.open.is_some() {
        for name in names.iter().skip(rows.fields.len()) {
            let flow = rows.open.clone().unwrap_or_default();
            rows.fields.push(Field { name: (*name).into(), flow, ..Field::default() });
        }
    }
    rows
}

/// Whether the rows of a query go into a table. Of several with `UNION` and its kin, the first says so.
fn goes_into(mut select: &SelectStmt) -> bool {
    while let Some(first) = select.larg() {
        select = first;
    }
    select.into_clause().is_some()
}

fn class(node: Node<'_>) -> &'static str {
    match node {
        Node::InsertStmt(_) => "INSERT",
        Node::UpdateStmt(_) => "UPDATE",
        Node::DeleteStmt(_) => "DELETE",
        Node::MergeStmt(_) => "MERGE",
        _ => "SELECT",
    }
}

/// Whether a select list makes many rows by itself.
pub(super) fn makes_many(select: &SelectStmt) -> bool {
    select.target_list().iter().any(|target| match target.val() {
        Node::FuncCall(call) if parts(call.funcname()).last() == Some(&"generate_series") => {
            let bound = |n| call.args().get(n).and_then(computed);
            match (bound(0), bound(1)) {
                (Some(first), Some(last)) => (last - first).abs() > 1000.0,
                _ => true,
            }
        }
        _ => false,
    })
}
