//! Where values come from.

use std::sync::Arc;

use claviger_model::{Column, Table};

/// Columns that something depends on, without doubles. Those of one catalog are compared by address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources(Vec<Arc<Column>>);

impl Sources {
    pub(crate) fn one(column: &Arc<Column>) -> Self {
        Self(vec![Arc::clone(column)])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Column>> {
        self.0.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|column| self.insert(column));
    }

    pub(crate) fn insert(&mut self, column: &Arc<Column>) {
        if !self.0.iter().any(|known| Arc::ptr_eq(known, column)) {
            self.0.push(Arc::clone(column));
        }
    }

    pub(crate) fn filtered(&self, keep: impl Fn(&Column) -> bool) -> Self {
        Self(self.0.iter().filter(|column| keep(column)).cloned().collect())
    }

    /// The tables that the columns belong to, without doubles.
    pub(crate) fn tables(&self) -> Tables {
        let mut tables = Tables::default();
        for column in &self.0 {
            tables.insert(&column.table);
        }
        tables
    }
}

/// Tables, without doubles, compared by address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables(Vec<Arc<Table>>);

impl Tables {
    pub(crate) fn insert(&mut self, table: &Arc<Table>) {
        if !self.contains(table) {
            self.0.push(Arc::clone(table));
        }
    }

    pub(crate) fn contains(&self, table: &Arc<Table>) -> bool {
        self.0.iter().any(|known| Arc::ptr_eq(known, table))
    }

    pub(crate) fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|table| self.insert(table));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.0.iter()
    }
}

/// What one value depends on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flow {
    /// Columns whose values it is made of.
    pub(crate) value: Sources,
    /// Columns that decide what it is made of.
    pub(crate) control: Sources,
    /// Columns of which it shows one value for each row: not those that an aggregate has summed up.
    pub(crate) rows: Sources,
    /// Columns of which it shows the values of many rows at once, and no bound is known.
    pub(crate) gathered: Sources,
    /// Classified columns that it shows something of, also those that only functions on the way have read.
    pub(crate) shows: Sources,
    /// Whether any of those was compared with what whoever asks could choose, or changed by it.
    pub(crate) compared: bool,
    /// The column that it is, unchanged.
    pub(crate) copy: Option<Arc<Column>>,
}

impl Flow {
    pub(crate) fn of(column: &Arc<Column>) -> Self {
        let shows = if column.labels.is_empty() { Sources::default() } else { Sources::one(column) };
        Self { value: Sources::one(column), rows: Sources::one(column), shows, copy: Some(Arc::clone(column)), ..Self::default() }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.value.add(&other.value);
        self.control.add(&other.control);
        self.rows.add(&other.rows);
        self.gathered.add(&other.gathered);
        self.shows.add(&other.shows);
        self.compared |= other.compared;
        self.copy = None;
    }

    /// The other decides what this is.
    pub(crate) fn controlled_by(&mut self, other: &Self) {
        self.control.add(&other.value);
        self.control.add(&other.control);
        self.shows.add(&other.shows);
        self.compared |= !other.shows.is_empty();
        self.copy = None;
    }

    /// Made of this, it shows nothing of what that shows: whether it is there, or how often.
    pub(crate) fn without_values(mut self) -> Self {
        (self.shows, self.compared, self.copy) = Default::default();
        self
    }
}

/// One column of what a query gives, or of what can be selected from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Field {
    /// What it is called.
    pub(crate) name: Arc<str>,
    /// What it depends on.
    pub(crate) flow: Flow,
    /// The column of a table or view that its name stands for.
    pub(crate) own: Option<Arc<Column>>,
    /// The column of a table that it is, unchanged.
    pub(crate) copy: Option<Arc<Column>>,
    /// The view by way of which it comes.
    pub(crate) via: Option<Arc<str>>,
    /// Whether it is a number of which sums are exact.
    pub(crate) exact: bool,
}

/// The rows that a query gives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) fields: Vec<Field>,
    /// Whether it may have more columns than are known, all of which depend on this.
    pub(crate) open: Option<Flow>,
    /// What decides which rows there are.
    pub(crate) control: Flow,
    /// Whether their number has a bound that is small or depends on what was asked for.
    pub(crate) bounded: bool,
    /// Classified columns that decide in which order they come.
    pub(crate) order: Sources,
    /// Whether their order decides which of them there are: there is a limit.
    pub(crate) cut: bool,
}
