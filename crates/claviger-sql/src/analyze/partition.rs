//! Rows that move from partition to partition.
//!
//! An update moves a row whose new values belong into another partition of the table that it is of: the row is deleted where it was,
//! and inserted where it belongs (PostgreSQL manual, 5.12 and `UPDATE`). What the statement assigns can be the reason, and so can what a
//! trigger assigns that runs before each row. `ON CONFLICT DO UPDATE` moves none: the server refuses that.

use std::collections::HashSet;
use std::sync::Arc;

use claviger_model::{Column, Object, TableKind, Verb};

use super::{Analysis, Followed, Result};
use crate::Relation;
use crate::assigned::{Assigned, assigned};

/// The OID of `tsvector` (PostgreSQL's `pg_type.dat`), which a trigger of the server's own assigns.
const TSVECTOR: u32 = 3614;

impl Analysis<'_> {
    /// Rows of a table get other values, and may have to move.
    pub(super) fn update_rows(&mut self, relation: &Arc<Relation>, columns: &[Arc<Column>]) -> Result<()> {
        self.write(relation, Verb::Update, columns)?;
        if self.may_move(relation, columns)? && self.is_new(Followed::Moved(relation.table.id)) {
            self.moved(relation)?;
        }
        Ok(())
    }

    /// Whether other values in these columns, or in all if there are none, can mean another partition.
    fn may_move(&mut self, relation: &Arc<Relation>, columns: &[Arc<Column>]) -> Result<bool> {
        let tables = self.partitions(relation)?;
        let (mut keys, mut computed) = (HashSet::new(), false);
        for table in &tables {
            computed |= table.partitioned_by.contains(&0);
            let deciding = table.columns.iter().filter(|facts| table.partitioned_by.contains(&facts.column.number));
            computed |= deciding.clone().any(|facts| facts.generated);
            keys.extend(deciding.map(|facts| Arc::clone(&facts.column.name)));
        }
        if !computed && keys.is_empty() {
            return Ok(false);
        }
        let assigns = |column: &Arc<Column>| computed || keys.contains(&column.name);
        if columns.is_empty() || columns.iter().any(assigns) {
            return Ok(true);
        }
        let before = tables.iter().map(|table| self.assigned_before(table));
        let before = before.reduce(|mut all, one| {
            all.add(one);
            all
        });
        Ok(before.is_some_and(|before| match computed {
            true => !before.is_nothing(),
            false => before.touches(keys.iter().map(|name| &**name)),
        }))
    }

    /// What triggers that run before each row may assign when rows of a table get other values.
    pub(super) fn assigned_before(&self, relation: &Relation) -> Assigned {
        let mut all = Assigned::default();
        for trigger in relation.triggers.iter().filter(|trigger| trigger.on.update && trigger.makes_row) {
            all.add(match self.catalog.function(trigger.function) {
                Some(function) if *function.language == *"plpgsql" => assigned(&function.source),
                Some(_) => Assigned::Any,
                // One of the server's own keeps what is searched for up to date, or does nothing to the row.
                None => {
                    let columns = relation.columns.iter().filter(|facts| facts.kind == TSVECTOR);
                    Assigned::Columns(columns.map(|facts| facts.column.name.to_string()).collect())
                }
            });
        }
        all
    }

    /// A table, and all its partitions and theirs.
    fn partitions(&mut self, relation: &Arc<Relation>) -> Result<Vec<Arc<Relation>>> {
        let (mut tables, mut known) = (vec![Arc::clone(relation)], HashSet::from([relation.table.id]));
        let mut next = 0;
        while let Some(table) = tables.get(next).cloned() {
            self.count()?;
            next += 1;
            let parts = table.children.iter().filter(|child| child.partition && known.insert(child.relation));
            tables.extend(parts.filter_map(|child| self.catalog.relation(child.relation)).cloned());
        }
        Ok(tables)
    }

    /// A row leaves one partition and comes to be in another.
    fn moved(&mut self, relation: &Arc<Relation>) -> Result<()> {
        let (catalog, name) = (self.catalog, relation.table.to_string());
        let parts = relation.children.iter().filter(|child| child.partition);
        for child in parts.filter_map(|child| catalog.relation(child.relation)) {
            self.by_way_of(&name, |this| {
                // Rows get into a foreign table, and stay there.
                if child.table.kind != TableKind::Foreign {
                    this.note(Verb::Delete, Object::Table(Arc::clone(&child.table)));
                    this.triggers(child, Verb::Delete)?;
                    this.own_references(child)?;
                }
                this.note(Verb::Insert, Object::Table(Arc::clone(&child.table)));
                this.triggers(child, Verb::Insert)?;
                this.moved(child)
            })?;
        }
        Ok(())
    }
}
