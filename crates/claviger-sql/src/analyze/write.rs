//! Changes of rows, and all that they set off: triggers, rules, defaults, checks, foreign keys, children.

use std::sync::Arc;

use claviger_model::{Column, Hazard, Object, TableKind, Verb};
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{self, DeleteStmt, InsertStmt, MergeStmt, RangeVar, UpdateStmt};
use pg_raw_parse::raw::{CmdType, MergeMatchKind, OnConflictAction};

use super::bound::Condition;
use super::flow::{Field, Flow, Rows, Sources};
use super::query::makes_many;
use super::scope::{Expressions, Item, Scope, fields};
use super::walk::visit;
use super::{Analysis, Followed, Result, undefined};
use crate::{ColumnFacts, Relation, Transition, Undefined};

impl Analysis<'_> {
    pub(super) fn insert(
        &mut self,
        insert: &InsertStmt,
        outer_expressions: &Expressions<'_>,
        outer: Option<&Scope<'_>>,
    ) -> Result<Rows> {
        let expressions = self.with(insert.with_clause(), outer_expressions, outer)?;
        let relation = self.target_relation(insert.relation())?;
        let named: Vec<&str> = insert
            .cols()
            .iter()
            .filter_map(|node| if let Node::ResTarget(target) = node { target.name() } else { None })
            .collect();
        let mut columns = columns_named(&relation, &named)?;
        let scope = Scope::new(outer, &expressions);
        if let Node::SelectStmt(select) = insert.select_stmt() {
            let rows = self.query(insert.select_stmt(), &expressions, outer)?;
            let is_list = !select.values_lists().is_empty();
            if named.is_empty() {
                let count = if rows.open.is_some() { usize::MAX } else { rows.fields.len() };
                columns = relation.columns.iter().take(count).map(|facts| Arc::clone(&facts.column)).collect();
            }
            for (n, column) in columns.iter().enumerate() {
                if let Some(flow) = rows.fields.get(n).map(|field| &field.flow).or(rows.open.as_ref()) {
                    self.carried(flow, Some(column));
                }
            }
            if !is_list && (!rows.bounded || makes_many(select)) {
                self.hazards.insert(Hazard::BulkWrite);
            }
        } else {
            columns.clear();
        }
        self.write(&relation, Verb::Insert, &columns)?;
        self.defaults(&relation, &columns)?;
        if let Some(conflict) = insert.on_conflict_clause() {
            self.conflict(&relation, conflict, &scope)?;
        }
        let mut scope = Scope::new(outer, &expressions);
        scope.items.push(self.target_item(&relation, insert.relation())?);
        self.returning(insert.returning_clause(), scope, &relation, true)
    }

    fn conflict(&mut self, relation: &Arc<Relation>, conflict: &nodes::OnConflictClause, outer: &Scope<'_>) -> Result<()> {
        let mut scope = Scope::new(outer.outer, outer.expressions);
        scope.items.push(Item {
            name: Arc::clone(&relation.table.name),
            fields: fields(relation),
            relation: Some(Arc::clone(relation)),
            ..Item::default()
        });
        if let Some(infer) = conflict.infer() {
            for element in infer.index_elems() {
                if let Node::IndexElem(element) = element {
                    self.condition(&scope, element.expr())?;
                    if let Some(facts) = element.name().and_then(|name| relation.column(name)) {
                        self.read(&Arc::clone(&facts.column));
                        // Whether there is such a row already.
                        self.decided(Flow::of(&facts.column));
                    }
                }
            }
            self.condition(&scope, infer.where_clause())?;
        } else {
            let keyed = relation.columns.iter().filter(|facts| relation.keys.iter().flatten().any(|n| *n == facts.column.number));
            keyed.for_each(|facts| _ = self.decided(Flow::of(&facts.column)));
        }
        if conflict.action != OnConflictAction::ONCONFLICT_UPDATE {
            return Ok(());
        }
        scope.items.push(Item {
            name: "excluded".into(),
            fields: unread(relation),
            hidden: relation.columns.iter().map(|facts| Arc::clone(&facts.column.name)).collect(),
            ..Item::default()
        });
        let columns = self.assignments(&scope, relation, conflict.target_list().iter())?;
        self.condition(&scope, conflict.where_clause())?;
        self.write(relation, Verb::Update, &columns)
    }

    pub(super) fn update(
        &mut self,
        update: &UpdateStmt,
        outer_expressions: &Expressions<'_>,
        outer: Option<&Scope<'_>>,
    ) -> Result<Rows> {
        let expressions = self.with(update.with_clause(), outer_expressions, outer)?;
        let relation = self.target_relation(update.relation())?;
        let mut scope = Scope::new(outer, &expressions);
        scope.items.push(self.target_item(&relation, update.relation())?);
        let mut conditions = Vec::new();
        self.select_from_all(update.from_clause(), &mut scope, &mut conditions)?;
        let columns = self.assignments(&scope, &relation, update.target_list().iter())?;
        self.condition(&scope, update.where_clause())?;
        conditions.push((update.where_clause(), None));
        let bounded = self.target_bounded(&mut scope, &conditions)?;
        self.update_rows(&relation, &columns)?;
        self.returning(update.returning_clause(), scope, &relation, bounded)
    }

    pub(super) fn delete(
        &mut self,
        delete: &DeleteStmt,
        outer_expressions: &Expressions<'_>,
        outer: Option<&Scope<'_>>,
    ) -> Result<Rows> {
        let expressions = self.with(delete.with_clause(), outer_expressions, outer)?;
        let relation = self.target_relation(delete.relation())?;
        let mut scope = Scope::new(outer, &expressions);
        scope.items.push(self.target_item(&relation, delete.relation())?);
        let mut conditions = Vec::new();
        self.select_from_all(delete.using_clause(), &mut scope, &mut conditions)?;
        self.condition(&scope, delete.where_clause())?;
        conditions.push((delete.where_clause(), None));
        let bounded = self.target_bounded(&mut scope, &conditions)?;
        self.write(&relation, Verb::Delete, &[])?;
        self.returning(delete.returning_clause(), scope, &relation, bounded)
    }

    pub(super) fn merge(
        &mut self,
        merge: &MergeStmt,
        outer_expressions: &Expressions<'_>,
        outer: Option<&Scope<'_>>,
    ) -> Result<Rows> {
        let expressions = self.with(merge.with_clause(), outer_expressions, outer)?;
        let relation = self.target_relation(merge.relation())?;
        let mut scope = Scope::new(outer, &expressions);
        scope.items.push(self.target_item(&relation, merge.relation())?);
        // Its rows are matched, whatever is then done with them.
        self.touch(&relation.table);
        let mut conditions = Vec::new();
        self.select_from(merge.source_relation(), &mut scope, &mut conditions)?;
        self.condition(&scope, merge.join_condition())?;
        conditions.push((merge.join_condition(), None));
        let all = self.bound(&mut scope, &conditions)?;
        let bounded = !scope.unbounded.contains(&relation.table) || self.is_joined(&scope, &conditions);
        for when in merge.merge_when_clauses().iter() {
            self.condition(&scope, when.condition())?;
            let by_itself = when.match_kind == MergeMatchKind::MERGE_WHEN_NOT_MATCHED_BY_SOURCE;
            let changes = matches!(when.command_type, CmdType::CMD_UPDATE | CmdType::CMD_DELETE);
            let inserts = when.command_type == CmdType::CMD_INSERT;
            let limited = self.limits(&scope, &[false, true], 0, when.condition());
            if (changes && !limited && (!bounded || by_itself))
                || (inserts && !all && scope.items.len() > 1 && !source_bounded(&scope))
            {
                self.hazards.insert(Hazard::BulkWrite);
            }
            let targets =
                when.target_list().iter().filter_map(|node| if let Node::ResTarget(target) = node { Some(target) } else { None });
            match when.command_type {
                CmdType::CMD_UPDATE => {
                    let columns = self.assignments(&scope, &relation, targets)?;
                    self.update_rows(&relation, &columns)?;
                }
                CmdType::CMD_DELETE => self.write(&relation, Verb::Delete, &[])?,
                CmdType::CMD_INSERT => {
                    let named: Vec<&str> = targets.filter_map(nodes::ResTarget::name).collect();
                    let mut columns = columns_named(&relation, &named)?;
                    if named.is_empty() {
                        columns =
                            relation.columns.iter().take(when.values().len()).map(|facts| Arc::clone(&facts.column)).collect();
                    }
                    for (n, value) in when.values().iter().enumerate() {
                        let flow = self.expression(&scope, value)?;
                        self.carried(&flow, columns.get(n));
                    }
                    self.write(&relation, Verb::Insert, &columns)?;
                    self.defaults(&relation, &columns)?;
                }
                _ => {}
            }
        }
        scope.begin_with(1);
        self.returning(merge.returning_clause(), scope, &relation, all)
    }

    fn target_relation(&mut self, range: Option<&RangeVar>) -> Result<Arc<Relation>> {
        match range {
            Some(range) => self.relation(range),
            None => undefined(Undefined::Relation),
        }
    }

    /// The table that is changed, whose columns can be named.
    fn target_item(&mut self, relation: &Arc<Relation>, range: Option<&RangeVar>) -> Result<Item> {
        let touched = self.touched.len();
        let mut item = self.item_of(relation, range.is_none_or(|range| range.inh))?;
        // To change rows is not to read them.
        self.touched.truncate(touched);
        if let Some(name) = range.and_then(RangeVar::alias).and_then(nodes::Alias::aliasname) {
            item.name = name.into();
            item.schema = None;
        }
        item.bounded = false;
        item.tables.insert(&relation.table);
        Ok(item)
    }

    /// Whether few rows of the target change.
    fn target_bounded(&mut self, scope: &mut Scope<'_>, conditions: &[Condition<'_>]) -> Result<bool> {
        let all = self.bound(scope, conditions)?;
        let target = scope
            .items
            .first()
            .and_then(|item| item.relation.as_ref())
            .is_some_and(|relation| scope.unbounded.contains(&relation.table));
        if target && !self.is_joined(scope, conditions) {
            self.hazards.insert(Hazard::BulkWrite);
        }
        Ok(all)
    }

    /// What is assigned to which columns.
    fn assignments<'n>(
        &mut self,
        scope: &Scope<'_>,
        relation: &Relation,
        targets: impl Iterator<Item = &'n nodes::ResTarget>,
    ) -> Result<Vec<Arc<Column>>> {
        let mut columns = Vec::new();
        for target in targets {
            let name = target.name().unwrap_or_default();
            let Some(facts) = relation.column(name) else { return undefined(Undefined::Column) };
            columns.push(Arc::clone(&facts.column));
            let flow = self.expression(scope, target.val())?;
            self.carried(&flow, Some(&facts.column));
            self.asked_default(relation, facts, target.val())?;
            for step in target.indirection() {
                self.expression(scope, step)?;
            }
        }
        Ok(columns)
    }

    /// `SET column = DEFAULT`, also among several: the expression of the default, which a view has from its table.
    fn asked_default(&mut self, relation: &Relation, facts: &ColumnFacts, value: Node<'_>) -> Result<()> {
        let mut asked = false;
        let value = if let Node::MultiAssignRef(several) = value { several.source() } else { value };
        visit(value, |node| asked |= matches!(node, Node::SetToDefault(_)));
        if !asked || facts.generated {
            return Ok(());
        }
        let name = relation.table.to_string();
        match (&facts.default, &relation.definition) {
            (Some(default), _) => self.own_expression(default, &name, None),
            (None, Some(definition)) => match self.only_relation(definition) {
                Some(base) => self.by_way_of(&name, |this| this.defaults(&base, &[])),
                None => Ok(()),
            },
            (None, None) => Ok(()),
        }
    }

    fn returning(
        &mut self,
        clause: Option<&nodes::ReturningClause>,
        mut scope: Scope<'_>,
        relation: &Arc<Relation>,
        bounded: bool,
    ) -> Result<Rows> {
        let mut rows = Rows { bounded, ..Rows::default() };
        let Some(clause) = clause else { return Ok(rows) };
        let mut names = vec!["old", "new"];
        names.extend(clause.options().iter().filter_map(nodes::ReturningOption::value));
        for name in names {
            if scope.item(None, name).is_none() {
                let hidden = relation.columns.iter().map(|facts| Arc::clone(&facts.column.name)).collect();
                scope.items.push(Item { name: name.into(), fields: fields(relation), hidden, ..Item::default() });
            }
        }
        for node in clause.exprs() {
            if let Node::ResTarget(target) = node {
                self.target(&scope, target, &mut rows)?;
            }
        }
        Ok(rows)
    }

    /// Rows of a table change in a way, with all that this sets off.
    pub(super) fn write(&mut self, relation: &Arc<Relation>, verb: Verb, columns: &[Arc<Column>]) -> Result<()> {
        self.deeper(|this| this.write_here(relation, verb, columns))
    }

    fn write_here(&mut self, relation: &Arc<Relation>, verb: Verb, columns: &[Arc<Column>]) -> Result<()> {
        if relation.table.system && verb == Verb::Update && *relation.table.name == *"pg_settings" {
            // A rule of the server's own sets what is updated there (PostgreSQL manual, 53.24).
            self.note_unknown(Hazard::SessionEscape);
            self.transitions.push(Transition::Resync);
        }
        // An error may show the whole row (PostgreSQL manual, appendix A, class 23).
        relation.columns.iter().for_each(|facts| self.fails_with(&facts.column));
        if columns.is_empty() {
            self.note(verb, Object::Table(Arc::clone(&relation.table)));
        }
        for column in columns {
            self.note(verb, Object::Column(Arc::clone(column)));
        }
        let numbers = columns.iter().map(|column| column.number).collect();
        if !self.is_new(Followed::Write(relation.table.id, verb, numbers)) {
            return Ok(());
        }
        if verb == Verb::Update || verb == Verb::Delete {
            self.references(relation, verb, columns)?;
        }
        if self.is_new(Followed::Change(relation.table.id, verb)) {
            let aside = std::mem::replace(&mut self.aside, true);
            let set_off = self.set_off(relation, verb);
            self.aside = aside;
            set_off?;
        }
        if matches!(verb, Verb::Insert | Verb::Update) {
            self.conversions(relation, columns)?;
        }
        if relation.table.kind == TableKind::View {
            self.view_target(relation, verb, columns)?;
        }
        let catalog = self.catalog;
        // New rows go into partitions; those that only inherit get none of them.
        let gets = |child: &&crate::Child| verb != Verb::Insert || child.partition;
        for child in relation.children.iter().filter(gets).filter_map(|child| catalog.relation(child.relation)) {
            let same: Vec<_> =
                columns.iter().filter_map(|column| child.column(&column.name)).map(|facts| Arc::clone(&facts.column)).collect();
            self.by_way_of(&relation.table.to_string(), |this| this.write(child, verb, &same))?;
        }
        Ok(())
    }

    /// What a change of a table sets off, whichever of its columns are changed.
    fn set_off(&mut self, relation: &Arc<Relation>, verb: Verb) -> Result<()> {
        self.triggers(relation, verb)?;
        self.rules(relation, verb)?;
        if matches!(verb, Verb::Insert | Verb::Update) {
            self.checks(relation)?;
        }
        for policy in &relation.policies {
            self.own_expression(policy, &relation.table.to_string(), Some(relation))?;
        }
        Ok(())
    }

    pub(super) fn triggers(&mut self, relation: &Arc<Relation>, verb: Verb) -> Result<()> {
        let fires = |on: crate::Write| match verb {
            Verb::Insert => on.insert,
            Verb::Update => on.update,
            Verb::Delete => on.delete,
            _ => on.truncate,
        };
        let catalog = self.catalog;
        for trigger in relation.triggers.iter().filter(|trigger| fires(trigger.on)) {
            let name = format!("{}.{}", relation.table, trigger.name);
            if let Some(when) = &trigger.when {
                self.own_condition(when, &name, relation)?;
            }
            // One of the server's own only computes.
            if let Some(function) = catalog.function(trigger.function) {
                self.by_way_of(&name, |this| this.follow(function))?;
            }
        }
        Ok(())
    }

    fn rules(&mut self, relation: &Arc<Relation>, verb: Verb) -> Result<()> {
        let applies = |on: crate::Write| match verb {
            Verb::Insert => on.insert,
            Verb::Update => on.update,
            Verb::Delete => on.delete,
            _ => false,
        };
        for rule in relation.rules.iter().filter(|rule| applies(rule.on)) {
            self.rule(relation, rule)?;
        }
        Ok(())
    }

    /// The checks and indexes of a table, and what is generated from others.
    fn checks(&mut self, relation: &Arc<Relation>) -> Result<()> {
        let name = relation.table.to_string();
        for expression in &relation.expressions {
            self.own_expression(expression, &name, Some(relation))?;
        }
        for facts in relation.columns.iter().filter(|facts| facts.generated) {
            if let Some(expression) = &facts.default {
                self.own_expression(expression, &name, Some(relation))?;
            }
        }
        Ok(())
    }

    /// What is given to columns becomes of their types.
    fn conversions(&mut self, relation: &Arc<Relation>, columns: &[Arc<Column>]) -> Result<()> {
        let name = relation.table.to_string();
        for facts in relation.columns.iter().filter(|facts| columns.iter().any(|column| Arc::ptr_eq(column, &facts.column))) {
            self.by_way_of(&name, |this| this.converted_to(facts.kind))?;
        }
        Ok(())
    }

    /// The defaults of the columns that an insertion does not name. Even those that it does may be asked for their default.
    pub(super) fn defaults(&mut self, relation: &Arc<Relation>, named: &[Arc<Column>]) -> Result<()> {
        let name = relation.table.to_string();
        for facts in relation.columns.iter().filter(|facts| !facts.generated) {
            if named.iter().any(|column| Arc::ptr_eq(column, &facts.column))
                && facts.default.as_deref().is_none_or(|default| default.contains("nextval"))
            {
                continue;
            }
            if let Some(default) = &facts.default {
                let flow = self.own_value(default, &name, None)?;
                self.carried(&flow, Some(&facts.column));
            }
        }
        Ok(())
    }

    /// A change of a view is one of the table that it shows, unless a trigger or a rule takes its place.
    fn view_target(&mut self, relation: &Arc<Relation>, verb: Verb, columns: &[Arc<Column>]) -> Result<()> {
        let item = self.item_of(relation, true)?;
        let definition = relation.definition.clone().unwrap_or_default();
        let Some(base) = self.only_relation(&definition) else {
            // Without a trigger or a rule the server refuses it; those have been followed.
            return Ok(());
        };
        let of_base: Vec<_> = item
            .fields
            .iter()
            .zip(&relation.columns)
            .filter(|(_, facts)| columns.iter().any(|column| Arc::ptr_eq(column, &facts.column)))
            .filter_map(|(field, _)| field.copy.clone())
            .collect();
        self.by_way_of(&relation.table.to_string(), |this| match verb {
            Verb::Update => this.update_rows(&base, &of_base),
            Verb::Insert => {
                this.write(&base, verb, &of_base)?;
                this.defaults(&base, &of_base)
            }
            _ => this.write(&base, verb, &of_base),
        })
    }
}

/// The columns of these names; all if there are none.
fn columns_named(relation: &Relation, names: &[&str]) -> Result<Vec<Arc<Column>>> {
    if names.is_empty() {
        return Ok(relation.columns.iter().map(|facts| Arc::clone(&facts.column)).collect());
    }
    names
        .iter()
        .map(|name| match relation.column(name) {
            Some(facts) => Ok(Arc::clone(&facts.column)),
            None => undefined(Undefined::Column),
        })
        .collect()
}

/// A table's columns whose values are not its own.
pub(super) fn unread(relation: &Relation) -> Vec<Field> {
    let unread = |column: &Arc<Column>| {
        let flow = Flow { value: Sources::default(), rows: Sources::default(), ..Flow::of(column) };
        Field { name: Arc::clone(&column.name), flow, ..Field::default() }
    };
    relation.columns.iter().map(|facts| unread(&facts.column)).collect()
}

fn source_bounded(scope: &Scope<'_>) -> bool {
    scope.items.iter().skip(1).all(|item| item.bounded || item.tables.iter().all(|table| !scope.unbounded.contains(table)))
}
