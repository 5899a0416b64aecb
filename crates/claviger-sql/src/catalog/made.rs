//! Labels of what is made of columns that have labels: columns that are generated from others, and what materialized views keep.

use std::collections::HashSet;
use std::sync::Arc;

use claviger_model::{Column, Labels, Table, TableKind};

use super::named::union;
use super::{Catalog, ColumnFacts, Relation};
use crate::analyze;

/// How deep materialized views may be made of one another before their labels are no longer followed; then all of them have all labels.
const DEPTH: usize = 16;

impl Catalog {
    /// Labels what is made of what has labels. Does nothing where nothing has.
    pub(super) fn label_what_is_made_of_others(&mut self) {
        self.count_classified();
        if self.classified.is_empty() {
            return;
        }
        let made: Vec<u32> = self.relations().filter(|relation| is_made(relation)).map(|relation| relation.table.id).collect();
        for round in 0..=DEPTH {
            let mut changed = false;
            for id in &made {
                let Some(relation) = self.relation(*id).map(Arc::clone) else { continue };
                let more = if round < DEPTH { self.labels_of(&relation) } else { self.all_labels(&relation) };
                changed |= self.add_labels(&relation, &more);
            }
            if !changed {
                break;
            }
        }
        self.count_classified();
    }

    /// For each column of a relation, its labels and, of a view, those of what its values are made of; all that there are if that is not known.
    pub fn labels_shown(&self, relation: &Relation) -> Vec<Labels> {
        let own = |facts: &ColumnFacts| Arc::clone(&facts.column.labels);
        if relation.table.kind != TableKind::View || self.classified.is_empty() {
            return relation.columns.iter().map(own).collect();
        }
        let made = match &relation.definition {
            Some(definition) => analyze::labels_of_query(definition, self, relation.columns.len()),
            None => None,
        };
        let made = made.unwrap_or_else(|| self.all_labels(relation));
        relation.columns.iter().zip(&made).map(|(facts, made)| union([made].into_iter(), &facts.column.labels)).collect()
    }

    fn count_classified(&mut self) {
        let columns = self.relations.values().flat_map(|relation| &relation.columns).map(|facts| &facts.column);
        let classified: HashSet<_> =
            columns.filter(|column| !column.labels.is_empty()).map(|column| (column.table.id, column.number)).collect();
        self.classified = classified;
    }

    /// For each column, the labels of what it is made of.
    fn labels_of(&self, relation: &Relation) -> Vec<Labels> {
        if relation.table.kind == TableKind::MaterializedView {
            let Some(definition) = &relation.definition else { return self.all_labels(relation) };
            return analyze::labels_of_query(definition, self, relation.columns.len())
                .unwrap_or_else(|| self.all_labels(relation));
        }
        let named = |text: &str| {
            let names = analyze::names_in(text);
            let used = relation
                .columns
                .iter()
                .filter(|facts| names.as_ref().is_none_or(|names| names.iter().any(|name| **name == *facts.column.name)));
            union(used.map(|facts| &facts.column.labels).filter(|labels| !labels.is_empty()), &Arc::from([]))
        };
        let of = |facts: &ColumnFacts| facts.default.as_deref().filter(|_| facts.generated).map(named).unwrap_or_default();
        relation.columns.iter().map(of).collect()
    }

    fn all_labels(&self, relation: &Relation) -> Vec<Labels> {
        let all = self.relations().flat_map(|relation| &relation.columns).map(|facts| &facts.column.labels);
        let all = union(all.filter(|labels| !labels.is_empty()), &Arc::from([]));
        vec![all; relation.columns.len()]
    }

    /// Whether any of them is new.
    fn add_labels(&mut self, relation: &Relation, more: &[Labels]) -> bool {
        let both = |(facts, more): (&ColumnFacts, &Labels)| match more.is_empty() {
            true => Arc::clone(&facts.column.labels),
            false => union([more].into_iter(), &facts.column.labels),
        };
        let labels: Vec<Labels> = relation.columns.iter().zip(more).map(both).collect();
        if relation.columns.iter().zip(&labels).all(|(facts, labels)| facts.column.labels == *labels) {
            return false;
        }
        let holds = union(labels.iter().filter(|labels| !labels.is_empty()), &relation.table.holds);
        let table = Arc::new(Table { holds, ..(*relation.table).clone() });
        let column = |(facts, labels): (&ColumnFacts, Labels)| {
            let column = Column { table: Arc::clone(&table), labels, ..(*facts.column).clone() };
            ColumnFacts { column: Arc::new(column), ..facts.clone() }
        };
        let columns = relation.columns.iter().zip(labels).map(column).collect();
        let relation = Relation { columns, table, ..relation.clone() };
        self.relations.insert(relation.table.id, Arc::new(relation));
        true
    }
}

fn is_made(relation: &Relation) -> bool {
    relation.table.kind == TableKind::MaterializedView || relation.columns.iter().any(|facts| facts.generated)
}
