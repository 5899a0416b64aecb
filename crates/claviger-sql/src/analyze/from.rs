//! What queries select from.

use std::rc::Rc;
use std::sync::Arc;

use claviger_model::TableKind;
use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{self, RangeVar};

use super::bound::Condition;
use super::flow::{Field, Flow, Rows, Tables};
use super::limit::computed;
use super::names::{constant_text, has_parameter, parts, qualified};
use super::query::renamed;
use super::scope::{Item, Scope, fields};
use super::{Analysis, Followed, Result};
use crate::Relation;

impl Analysis<'_> {
    /// Puts into the scope what is selected from, and collects the conditions of joins. What decides which rows there are is given.
    pub(super) fn select_from_all<'n>(
        &mut self,
        list: &'n NodeList,
        scope: &mut Scope<'_>,
        conditions: &mut Vec<Condition<'n>>,
    ) -> Result<Flow> {
        let mut control = Flow::default();
        for node in list {
            control.add(&self.select_from(node, scope, conditions)?);
        }
        Ok(control)
    }

    pub(super) fn select_from<'n>(
        &mut self,
        node: Node<'n>,
        scope: &mut Scope<'_>,
        conditions: &mut Vec<Condition<'n>>,
    ) -> Result<Flow> {
        self.deeper(|this| match node {
            Node::RangeVar(range) => this.select_from_name(range, scope),
            Node::RangeSubselect(select) => this.select_from_query(select, scope),
            Node::JoinExpr(join) => this.select_from_join(join, scope, conditions),
            Node::RangeFunction(function) => this.select_from_function(function, scope),
            Node::RangeTableFunc(table) => this.select_from_xml(table, scope),
            Node::JsonTable(table) => this.select_from_json(table, scope),
            Node::RangeTableSample(sample) => {
                this.sample_method(sample)?;
                let mut control = this.select_from(sample.relation(), scope, conditions)?;
                control.add(&this.condition(scope, Node::NodeList(sample.args()))?);
                control.add(&this.condition(scope, sample.repeatable())?);
                Ok(control)
            }
            node => this.not_understood(scope, node),
        })
    }

    fn select_from_name(&mut self, range: &RangeVar, scope: &mut Scope<'_>) -> Result<Flow> {
        let name = range.relname().unwrap_or_default();
        if range.schemaname().is_none()
            && let Some(rows) = scope.expressions.find(name)
        {
            let rows = rows.clone();
            return Ok(self.push_rows(scope, rows, name, range.alias()));
        }
        let relation = self.relation(range)?;
        let mut item = self.item_of(&relation, range.inh)?;
        item.name = range.alias().and_then(nodes::Alias::aliasname).unwrap_or(name).into();
        item.schema = range.alias().is_none().then(|| Arc::clone(&relation.table.schema));
        let aliases = range.alias().map(|alias| parts(alias.colnames())).unwrap_or_default();
        rename(&mut item.fields, &aliases);
        let control = self.view_control(&relation)?;
        scope.items.push(item);
        Ok(control)
    }

    /// A table or view as something to select from, with or without the rows of its children.
    pub(super) fn item_of(&mut self, relation: &Arc<Relation>, children: bool) -> Result<Item> {
        self.touch(&relation.table);
        let mut item = Item {
            name: Arc::clone(&relation.table.name),
            schema: Some(Arc::clone(&relation.table.schema)),
            fields: fields(relation),
            relation: Some(Arc::clone(relation)),
            bounded: relation.table.kind == TableKind::Sequence,
            ..Item::default()
        };
        item.tables.insert(&relation.table);
        if relation.definition.is_some() && !relation.table.system {
            self.seen_through(relation, &mut item)?;
        }
        self.beside_reading(relation, children)?;
        Ok(item)
    }

    /// What a view shows is what its query gives.
    fn seen_through(&mut self, relation: &Arc<Relation>, item: &mut Item) -> Result<()> {
        let rows = self.view(relation)?;
        let via: Arc<str> = relation.table.to_string().into();
        item.bounded = rows.bounded;
        for (n, field) in item.fields.iter_mut().enumerate() {
            field.via = Some(Arc::clone(&via));
            if relation.table.kind == TableKind::MaterializedView {
                // It has the values itself, and the rights to them are its own.
                continue;
            }
            let Some(found) = rows.fields.get(n) else { continue };
            field.flow = found.flow.clone();
            field.copy.clone_from(&found.copy);
            item.tables.add(&found.flow.value.tables());
        }
        Ok(())
    }

    /// What a view's query gives. Nothing of it counts as read until it is used.
    fn view(&mut self, relation: &Arc<Relation>) -> Result<Rc<Rows>> {
        let id = relation.table.id;
        if let Some(rows) = self.views.get(&(id, self.along)) {
            return Ok(Rc::clone(rows));
        }
        // A view cannot select from itself; a torn snapshot could make it seem so.
        self.views.insert((id, self.along), Rc::default());
        let definition = relation.definition.clone().unwrap_or_default();
        self.quiet += 1;
        let rows = self.by_way_of(&relation.table.to_string(), |this| this.own_query(&definition));
        self.quiet -= 1;
        let rows = Rc::new(self.torn(rows)?);
        self.views.insert((id, self.along), Rc::clone(&rows));
        Ok(rows)
    }

    /// What decides which rows a view shows is read whichever of its columns are.
    fn view_control(&mut self, relation: &Arc<Relation>) -> Result<Flow> {
        if relation.definition.is_none() || relation.table.system || relation.table.kind == TableKind::MaterializedView {
            return Ok(Flow::default());
        }
        let rows = self.view(relation)?;
        let outer = self.through.replace(relation.table.to_string().into());
        self.read_flow(&rows.control);
        self.through = outer;
        let mut control = Flow::default();
        control.controlled_by(&rows.control);
        let mut rows = Rows { order: rows.order.clone(), cut: rows.cut, ..Rows::default() };
        self.passed_on(&mut rows);
        Ok(control)
    }

    /// What reading a table sets off: its row security, and whatever its children have of their own.
    fn beside_reading(&mut self, relation: &Arc<Relation>, children: bool) -> Result<()> {
        for policy in &relation.policies {
            self.own_expression(policy, &relation.table.to_string(), Some(relation))?;
        }
        for rule in relation.rules.iter().filter(|rule| rule.on == crate::Write::default()) {
            self.rule(relation, rule)?;
        }
        let catalog = self.catalog;
        for child in relation.children.iter().filter(|_| children).filter_map(|child| catalog.relation(child.relation)) {
            if self.quiet == 0 && self.is_new(Followed::Children(child.table.id)) {
                self.by_way_of(&relation.table.to_string(), |this| {
                    this.touch(&child.table);
                    this.beside_reading(child, true)
                })?;
            }
        }
        Ok(())
    }

    fn select_from_query(&mut self, select: &nodes::RangeSubselect, scope: &mut Scope<'_>) -> Result<Flow> {
        let outermost = std::mem::replace(&mut self.outermost, usize::MAX);
        let mut depth = 0;
        let rows = if select.lateral {
            // It sees what stands before it.
            let before = Scope {
                items: scope.items.clone(),
                outer: scope.outer,
                expressions: scope.expressions,
                unbounded: Tables::default(),
                merged: Vec::new(),
                equal: Vec::new(),
                known: Vec::new(),
                outputs: Vec::new(),
            };
            depth = before.depth();
            self.query_in_any_order(select.subquery(), scope.expressions, Some(&before))?
        } else {
            self.query_in_any_order(select.subquery(), scope.expressions, scope.outer)?
        };
        let follows = select.lateral && rows.bounded && self.outermost <= depth;
        self.outermost = self.outermost.min(outermost);
        let control = self.push_rows(scope, rows, "", select.alias());
        if let Some(item) = scope.items.last_mut().filter(|_| follows) {
            (item.bounded, item.follows) = (false, true);
        }
        Ok(control)
    }

    /// Rows of a query as something to select from.
    fn push_rows(&mut self, scope: &mut Scope<'_>, mut rows: Rows, name: &str, alias: Option<&nodes::Alias>) -> Flow {
        self.passed_on(&mut rows);
        let aliases = alias.map(|alias| parts(alias.colnames())).unwrap_or_default();
        let rows = renamed(rows, &aliases);
        let mut tables = Tables::default();
        for flow in rows.fields.iter().map(|field| &field.flow).chain(&rows.open) {
            tables.add(&flow.rows.tables());
        }
        scope.items.push(Item {
            name: alias.and_then(nodes::Alias::aliasname).unwrap_or(name).into(),
            fields: rows.fields,
            open: rows.open,
            bounded: rows.bounded || tables.is_empty(),
            tables,
            ..Item::default()
        });
        rows.control
    }

    /// Columns that a query defines for a function that gives any.
    fn defined<'n>(&mut self, columns: impl Iterator<Item = Node<'n>>, flow: &Flow, fields: &mut Vec<Field>) -> Result<()> {
        for column in columns {
            if let Node::ColumnDef(column) = column {
                let name = column.colname().unwrap_or_default().into();
                fields.push(Field { name, flow: flow.clone(), ..Field::default() });
                column.type_name().map_or(Ok(()), |name| self.converted(name))?;
            }
        }
        Ok(())
    }

    fn select_from_function(&mut self, function: &nodes::RangeFunction, scope: &mut Scope<'_>) -> Result<Flow> {
        let alias = function.alias().and_then(nodes::Alias::aliasname);
        let mut rows = Rows { bounded: true, ..Rows::default() };
        for entry in function.functions() {
            let Node::NodeList(entry) = entry else { continue };
            let call = entry.first().unwrap_or(Node::None);
            let flow = self.expression(scope, call)?;
            rows.bounded &= is_short(call);
            self.depends_on_values |= is_series(call) && has_parameter(call);
            self.function_fields(call, &flow, alias, &mut rows);
            if let Some(Node::NodeList(columns)) = entry.get(1) {
                self.defined(columns.iter(), &flow, &mut rows.fields)?;
            }
            rows.control.controlled_by(&flow);
        }
        if !function.coldeflist().is_empty() {
            let flow = rows.open.take().unwrap_or_default();
            rows.fields.clear();
            self.defined(function.coldeflist().iter().map(Node::ColumnDef), &flow, &mut rows.fields)?;
        }
        if function.ordinality {
            rows.fields.push(Field { name: "ordinality".into(), ..Field::default() });
        }
        let control = rows.control.clone();
        let bounded = rows.bounded;
        self.push_rows(scope, rows, alias.unwrap_or_default(), function.alias());
        if let Some(item) = scope.items.last_mut() {
            // Of what no table is behind, the number of rows may matter all the same.
            item.bounded = bounded;
            if item.name.is_empty()
                && let Some((_, name)) = function.functions().first().and_then(called)
            {
                item.name = name.into();
            }
        }
        Ok(control)
    }

    /// The columns that a function in `FROM` gives.
    fn function_fields(&mut self, call: Node<'_>, flow: &Flow, alias: Option<&str>, rows: &mut Rows) {
        let Node::FuncCall(function) = call else {
            let name = alias.unwrap_or("?column?").into();
            return rows.fields.push(Field { name, flow: flow.clone(), ..Field::default() });
        };
        let Some((schema, name)) = qualified(function.funcname()) else { return };
        let own = self.catalog.find_functions(schema, name, &self.path).next().cloned();
        let mut push = |name: &str| rows.fields.push(Field { name: name.into(), flow: flow.clone(), ..Field::default() });
        let Some(own) = own else {
            // What the server's own functions give is not known here: they may give anything, made of what they are given.
            push(alias.unwrap_or(name));
            return rows.open.get_or_insert_with(Flow::default).add(flow);
        };
        let outputs: Vec<_> = own.names.iter().zip(&own.modes).filter(|(_, mode)| matches!(mode, 'o' | 'b' | 't')).collect();
        let relation = self.catalog.kind(own.returns).and_then(|kind| self.catalog.relation(kind.relation));
        if !outputs.is_empty() {
            outputs.iter().for_each(|(name, _)| push(name));
        } else if let Some(relation) = relation {
            relation.columns.iter().for_each(|facts| push(&facts.column.name));
        } else {
            push(alias.unwrap_or(name));
        }
        // What it reads is noted; what of it it gives is not followed.
        rows.open.get_or_insert_with(Flow::default).add(flow);
    }

    fn select_from_xml(&mut self, table: &nodes::RangeTableFunc, scope: &mut Scope<'_>) -> Result<Flow> {
        let mut flow = self.both(scope, table.docexpr(), table.rowexpr())?;
        flow.add(&self.expressions(scope, table.namespaces())?);
        let mut rows = Rows { bounded: true, ..Rows::default() };
        for column in table.columns().iter() {
            flow.add(&self.both(scope, column.colexpr(), column.coldefexpr())?);
            if let Some(name) = column.type_name() {
                self.converted(name)?;
            }
            rows.fields.push(Field { name: column.colname().unwrap_or_default().into(), ..Field::default() });
        }
        // A path with a condition gives rows, or none, by what it finds.
        let columns = table.columns().iter().map(nodes::RangeTableFuncCol::colexpr);
        if [table.rowexpr()].into_iter().chain(columns).any(is_conditional) {
            self.decided(flow.clone());
        }
        rows.fields.iter_mut().for_each(|field| field.flow = flow.clone());
        self.push_rows(scope, rows, "xmltable", table.alias());
        let mut control = Flow::default();
        control.controlled_by(&flow);
        Ok(control.without_values())
    }

    fn select_from_json(&mut self, table: &nodes::JsonTable, scope: &mut Scope<'_>) -> Result<Flow> {
        let mut flow = self.json_value(scope, table.context_item())?;
        flow.add(&self.expressions(scope, table.passing())?);
        let mut rows = Rows { bounded: true, ..Rows::default() };
        self.json_columns(scope, table.columns().iter(), &mut flow, &mut rows)?;
        rows.fields.iter_mut().for_each(|field| field.flow = flow.clone());
        self.push_rows(scope, rows, "json_table", table.alias());
        // Its paths may have conditions: how many rows they give tells.
        self.decided(flow.clone());
        let mut control = Flow::default();
        control.controlled_by(&flow);
        Ok(control.without_values())
    }

    fn json_columns<'n>(
        &mut self,
        scope: &Scope<'_>,
        columns: impl Iterator<Item = &'n nodes::JsonTableColumn>,
        flow: &mut Flow,
        rows: &mut Rows,
    ) -> Result<()> {
        for column in columns {
            self.count()?;
            for behaviour in [column.on_empty(), column.on_error()].into_iter().flatten() {
                flow.add(&self.expression(scope, behaviour.expr())?);
            }
            if let Some(name) = column.type_name() {
                self.converted(name)?;
            }
            if let Some(name) = column.name() {
                rows.fields.push(Field { name: name.into(), ..Field::default() });
            }
            let nested = column.columns().iter().filter_map(|node| match node {
                Node::JsonTableColumn(column) => Some(column),
                _ => None,
            });
            self.deeper(|this| this.json_columns(scope, &mut { nested } as &mut dyn Iterator<Item = _>, flow, rows))?;
        }
        Ok(())
    }
}

/// Whether a path in XML may have a condition, or compute something.
fn is_conditional(path: Node<'_>) -> bool {
    !matches!(path, Node::None) && constant_text(path).is_none_or(|path| path.contains(['[', '(', '=', '<', '>']))
}

pub(super) fn rename(fields: &mut [Field], names: &[&str]) {
    for (field, name) in fields.iter_mut().zip(names) {
        field.name = (*name).into();
    }
}

fn called<'n>(entry: Node<'n>) -> Option<(Option<&'n str>, &'n str)> {
    let Node::NodeList(entry) = entry else { return None };
    match entry.first() {
        Some(Node::FuncCall(call)) => qualified(call.funcname()),
        _ => None,
    }
}

/// Whether a function in `FROM` gives few rows: a short series, or what it is given.
fn is_short(call: Node<'_>) -> bool {
    let Node::FuncCall(function) = call else { return true };
    if !is_series(call) {
        return qualified(function.funcname()).is_some();
    }
    let ends = || function.args().iter().take(2);
    match ends().map(computed).collect::<Option<Vec<_>>>().as_deref() {
        Some([first, last]) => (last - first).abs() <= 1000.0,
        // Moments, or something that is asked for; but not whatever a query gives.
        _ => !ends().any(|end| matches!(end, Node::SubLink(_))),
    }
}

fn is_series(call: Node<'_>) -> bool {
    matches!(call, Node::FuncCall(call) if matches!(qualified(call.funcname()), Some((_, "generate_series"))))
}
