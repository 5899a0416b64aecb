//! Rows that move from partition to partition.

use std::sync::Arc;

use claviger_model::{Column, Object, Verb};

use super::{Analysis, Result};
use crate::Relation;

impl Analysis<'_> {
    /// Whether a change of these columns can be one of the partition that a row belongs to.
    pub(super) fn moves(&self, relation: &Relation, columns: &[Arc<Column>]) -> bool {
        let decides = |column: &Arc<Column>| relation.partitioned_by.iter().any(|number| [0, column.number].contains(number));
        if !relation.partitioned_by.is_empty() && (columns.is_empty() || columns.iter().any(decides)) {
            return true;
        }
        let parts = relation.children.iter().filter(|child| child.partition);
        parts.filter_map(|child| self.catalog.relation(child.relation)).any(|child| {
            let same = columns.iter().filter_map(|column| child.column(&column.name));
            self.moves(child, &same.map(|facts| Arc::clone(&facts.column)).collect::<Vec<_>>())
        })
    }

    /// A row leaves one partition and comes to be in another (PostgreSQL manual, 5.12.2.3, and `UPDATE`).
    pub(super) fn moved(&mut self, relation: &Arc<Relation>) -> Result<()> {
        let catalog = self.catalog;
        let parts = relation.children.iter().filter(|child| child.partition);
        for child in parts.filter_map(|child| catalog.relation(child.relation)) {
            self.by_way_of(&relation.table.to_string(), |this| {
                for verb in [Verb::Delete, Verb::Insert] {
                    this.note(verb, Object::Table(Arc::clone(&child.table)));
                    this.triggers(child, verb)?;
                }
                this.moved(child)
            })?;
        }
        Ok(())
    }
}
