//! What names in expressions can stand for.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use claviger_model::Column;
use pg_raw_parse::Node;

use super::flow::{Field, Flow, Rows, Tables};
use super::{Analysis, Result, undefined};
use crate::{Relation, Undefined};

/// What a query selects from, inside what the queries around it select from.
pub(super) struct Scope<'s> {
    pub(super) items: Vec<Item>,
    pub(super) outer: Option<&'s Scope<'s>>,
    pub(super) expressions: &'s Expressions<'s>,
    /// Tables of this level of which any number of rows may be shown.
    pub(super) unbounded: Tables,
    /// The columns that joins made one of, with the join's items, inner joins before outer ones: `*` has these first.
    pub(super) merged: Vec<(Range<usize>, Vec<Arc<str>>)>,
    /// Items that are joined by a column of the same name, and those that this can limit.
    pub(super) equal: Vec<(usize, usize, Range<usize>)>,
    /// Columns of the server's own catalogs that are equal to a text in every row.
    pub(super) known: Vec<(Arc<str>, String)>,
    /// Names that a query gives to its own columns, which `ORDER BY` and `GROUP BY` may use.
    pub(super) outputs: Vec<Field>,
}

/// Common table expressions, inner ones before outer ones.
#[derive(Default)]
pub(super) struct Expressions<'s> {
    pub(super) list: Vec<(Arc<str>, Rows)>,
    pub(super) outer: Option<&'s Expressions<'s>>,
}

impl Expressions<'_> {
    pub(super) fn find(&self, name: &str) -> Option<&Rows> {
        let own = self.list.iter().rev().find(|(known, _)| **known == *name);
        own.map(|(_, rows)| rows).or_else(|| self.outer.and_then(|outer| outer.find(name)))
    }
}

/// Something that is selected from.
#[derive(Clone, Default)]
pub(super) struct Item {
    /// What it is called; empty if it cannot be named.
    pub(super) name: Arc<str>,
    /// Its schema, by which it can be named too.
    pub(super) schema: Option<Arc<str>>,
    pub(super) fields: Vec<Field>,
    /// If there may be more fields: what they depend on.
    pub(super) open: Option<Flow>,
    /// The table or view itself, if it is one.
    pub(super) relation: Option<Arc<Relation>>,
    /// Whether the number of its rows has a bound.
    pub(super) bounded: bool,
    /// Whether it has one for each row of what stands before it.
    pub(super) follows: bool,
    /// The tables whose rows it shows.
    pub(super) tables: Tables,
    /// Fields that a join has merged into another item's.
    pub(super) hidden: Vec<Arc<str>>,
}

impl Found {
    /// All that it depends on.
    pub(super) fn flow(self) -> Flow {
        match self {
            Self::Field(field) => field.flow,
            Self::Row(fields, open) => {
                let mut flow = open.unwrap_or_default();
                fields.iter().for_each(|field| flow.add(&field.flow));
                flow
            }
        }
    }
}

/// What a name stands for.
pub(super) enum Found {
    /// A column of something that is selected from.
    Field(Field),
    /// A row of it: all its columns, and what those depend on that are not known.
    Row(Vec<Field>, Option<Flow>),
}

impl<'s> Scope<'s> {
    pub(super) fn new(outer: Option<&'s Scope<'s>>, expressions: &'s Expressions<'s>) -> Self {
        Self {
            items: Vec::new(),
            outer,
            expressions,
            unbounded: Tables::default(),
            merged: Vec::new(),
            equal: Vec::new(),
            known: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// The columns that `*` stands for, from this item on, in order: of a join first those that it made one of (PostgreSQL manual, 7.2.1.1).
    pub(super) fn shown(&self, start: usize) -> Vec<&Field> {
        let (mut shown, mut first) = (Vec::new(), HashSet::new());
        for (n, item) in self.items.iter().enumerate().skip(start) {
            let joins = self.merged.iter().rev().filter(|(items, _)| items.start == n);
            let mut named = HashSet::new();
            for (items, name) in joins.flat_map(|(items, names)| names.iter().map(move |name| (items, name))) {
                if named.insert(&**name) {
                    let field = self.items.get(items.clone()).into_iter().flatten().find_map(|item| item.shown_as(name));
                    shown.extend(field.filter(|field| first.insert(std::ptr::from_ref::<Field>(field))));
                }
            }
            shown.extend(item.shown().filter(|field| !first.contains(&std::ptr::from_ref::<Field>(field))));
        }
        shown
    }

    /// Puts the items before this one behind all others: `MERGE` returns what it has merged before the table (PostgreSQL manual, `MERGE`).
    pub(super) fn begin_with(&mut self, n: usize) {
        let n = n.min(self.items.len());
        self.items.rotate_left(n);
        self.merged.iter_mut().for_each(|(items, _)| *items = items.start.saturating_sub(n)..items.end.saturating_sub(n));
    }

    /// How many queries are around this one.
    pub(super) fn depth(&self) -> usize {
        std::iter::successors(self.outer, |scope| scope.outer).count()
    }

    /// The item of this name, with the number of levels that it is outside.
    pub(super) fn item(&self, schema: Option<&str>, name: &str) -> Option<(usize, &Item)> {
        let matches = |item: &&Item| *item.name == *name && (schema.is_none() || item.schema.as_deref() == schema);
        match self.items.iter().find(matches) {
            Some(item) => Some((0, item)),
            None => self.outer?.item(schema, name).map(|(level, item)| (level + 1, item)),
        }
    }

    /// The text that a column has in every row, if that is known.
    pub(super) fn known_text(&self, node: Node<'_>) -> Option<String> {
        let Node::ColumnRef(column) = node else { return None };
        let [name] = super::names::parts(column.fields())[..] else { return None };
        self.known.iter().find(|(known, _)| **known == *name).map(|(_, text)| text.clone())
    }

    /// The item of this level that a column's name belongs to.
    pub(super) fn index_of(&self, qualifier: Option<&str>, column: &str) -> Option<usize> {
        match qualifier {
            Some(name) => self.items.iter().position(|item| *item.name == *name),
            // A row's place tells it from all others, as a key does.
            None if column == "ctid" => self.items.iter().position(|item| item.relation.is_some()),
            None => self.items.iter().position(|item| item.shows(column)),
        }
    }
}

impl Item {
    pub(super) fn field(&self, name: &str) -> Option<Field> {
        let known = self.fields.iter().find(|field| *field.name == *name).cloned();
        known
            .or_else(|| self.system_field(name))
            .or_else(|| self.open.as_ref().map(|flow| Field { name: name.into(), flow: flow.clone(), ..Field::default() }))
    }

    /// The fields that are not another item's.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| !self.hidden.contains(&field.name))
    }

    pub(super) fn shown_as(&self, name: &str) -> Option<&Field> {
        self.shown().find(|field| *field.name == *name)
    }

    /// Whether the name alone can stand for one of its columns.
    fn shows(&self, name: &str) -> bool {
        self.shown_as(name).is_some()
    }

    /// A column that every table has and that no value is in (PostgreSQL manual, 5.6).
    fn system_field(&self, name: &str) -> Option<Field> {
        let is_table = self.relation.is_some();
        (is_table && matches!(name, "ctid" | "xmin" | "xmax" | "cmin" | "cmax" | "tableoid"))
            .then(|| Field { name: name.into(), ..Field::default() })
    }

    pub(super) fn as_row(&self) -> Found {
        Found::Row(self.fields.clone(), self.open.clone())
    }
}

impl Analysis<'_> {
    /// What a name stands for, and notes that it is read.
    pub(super) fn name(&mut self, scope: &Scope<'_>, names: &[&str]) -> Result<Found> {
        let found = self.look_up(scope, names);
        match found {
            Some(Found::Field(field)) => {
                self.used(&field);
                Ok(Found::Field(field))
            }
            Some(Found::Row(fields, open)) => {
                fields.iter().for_each(|field| self.used(field));
                open.iter().for_each(|flow| self.read_flow(flow));
                Ok(Found::Row(fields, open))
            }
            None if self.is_variable(names) => Ok(Found::Row(Vec::new(), self.held(names))),
            None => undefined(Undefined::Column),
        }
    }

    /// The column itself is read, and whatever it is made of.
    pub(super) fn used(&mut self, field: &Field) {
        if let Some(column) = field.own.as_ref().or(field.copy.as_ref()) {
            self.read(column);
        }
        let through = field.via.clone().or_else(|| self.through.clone());
        let outer = std::mem::replace(&mut self.through, through);
        self.read_flow(&field.flow);
        self.through = outer;
    }

    fn is_variable(&self, names: &[&str]) -> bool {
        self.any_variable || names.first().is_some_and(|name| self.variables.iter().any(|known| **known == **name))
    }

    fn look_up(&mut self, scope: &Scope<'_>, names: &[&str]) -> Option<Found> {
        match names {
            [name] => self.look_up_alone(scope, name),
            [table, column] => self.in_item(scope, None, table, column).or_else(|| self.row_function(scope, None, table, column)),
            [schema, table, column] | [_, schema, table, column] => {
                self.in_item(scope, Some(schema), table, column).or_else(|| self.row_function(scope, Some(schema), table, column))
            }
            _ => None,
        }
    }

    fn look_up_alone(&mut self, scope: &Scope<'_>, name: &str) -> Option<Found> {
        let mut level = Some(scope);
        // What may have the column, and may not: then it is what it would be without.
        let mut possible: Option<Field> = None;
        while let Some(scope) = level {
            let (certain, perhaps) = Self::alone(scope, name);
            if perhaps.is_some() || certain.is_some() {
                self.found_at(scope.depth());
            }
            merge(&mut possible, perhaps);
            if let Some(mut field) = certain {
                possible.iter().for_each(|possible| field.flow.add(&possible.flow));
                return Some(Found::Field(field));
            }
            if let Some(item) = scope.items.iter().find(|item| *item.name == *name) {
                self.found_at(scope.depth());
                let mut open = item.open.clone();
                if let Some(possible) = possible {
                    open.get_or_insert_with(Flow::default).add(&possible.flow);
                }
                return Some(Found::Row(item.fields.clone(), open));
            }
            level = scope.outer;
        }
        let held = self.held(&[name]).filter(|_| self.is_variable(&[name]));
        possible.map(|mut field| {
            held.iter().for_each(|held| field.flow.add(held));
            Found::Field(field)
        })
    }

    /// The column of this level that a name is, and those that it may be of what may have more columns than are known.
    fn alone(scope: &Scope<'_>, name: &str) -> (Option<Field>, Option<Field>) {
        let (mut certain, mut possible) = (None, None);
        for item in scope.items.iter().filter(|item| !item.hidden.iter().any(|hidden| **hidden == *name)) {
            let known = item.fields.iter().find(|field| *field.name == *name).cloned();
            match known.or_else(|| item.system_field(name)) {
                None => merge(&mut possible, item.field(name)),
                known => merge(&mut certain, known),
            }
        }
        (certain, possible)
    }

    fn in_item(&mut self, scope: &Scope<'_>, schema: Option<&str>, table: &str, column: &str) -> Option<Found> {
        let (level, item) = scope.item(schema, table)?;
        self.found_at(scope.depth().saturating_sub(level));
        item.field(column).map(Found::Field)
    }

    /// `table.function` is `function(table)` where there is no such column (PostgreSQL manual, 38.5.2).
    fn row_function(&mut self, scope: &Scope<'_>, schema: Option<&str>, table: &str, function: &str) -> Option<Found> {
        let (_, item) = scope.item(schema, table)?;
        let row = item.as_row();
        self.is_function(function).then_some(())?;
        self.call_by_name(None, function, 1).ok()?;
        Some(row)
    }
}

/// Takes another field for one that a name may be as well.
fn merge(found: &mut Option<Field>, field: Option<Field>) {
    match (found, field) {
        (Some(found), Some(field)) => {
            found.flow.add(&field.flow);
            found.copy = found.copy.take().or(field.copy);
        }
        (found @ None, field) => *found = field,
        (Some(_), None) => {}
    }
}

/// A table's columns as fields.
pub(super) fn fields(relation: &Relation) -> Vec<Field> {
    let of = |facts: &crate::ColumnFacts| Field { exact: Analysis::is_number(facts.kind), ..field(&facts.column) };
    relation.columns.iter().map(of).collect()
}

fn field(column: &Arc<Column>) -> Field {
    Field {
        name: Arc::clone(&column.name),
        flow: Flow::of(column),
        own: Some(Arc::clone(column)),
        copy: Some(Arc::clone(column)),
        via: None,
        exact: false,
    }
}
