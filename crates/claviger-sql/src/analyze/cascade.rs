//! Changes that foreign keys carry on to other tables (PostgreSQL manual, 5.5.5).

use std::sync::Arc;

use claviger_model::{Column, Hazard, Verb};

use super::{Analysis, Followed, Result};
use crate::{Reference, Relation};

impl Analysis<'_> {
    /// Foreign keys that point at the table carry a change on.
    pub(super) fn references(&mut self, relation: &Arc<Relation>, verb: Verb, columns: &[Arc<Column>]) -> Result<()> {
        if relation.references.is_empty() {
            return Ok(());
        }
        let (catalog, before) = (self.catalog, self.assigned_before(relation));
        for reference in &relation.references {
            let mut keys = relation.columns.iter().filter(|facts| reference.to.contains(&facts.column.number));
            let hit = verb == Verb::Delete
                || columns.is_empty()
                || before.touches(keys.clone().map(|facts| &*facts.column.name))
                || keys.any(|facts| facts.generated || columns.iter().any(|column| Arc::ptr_eq(column, &facts.column)));
            if let Some(from) = catalog.relation(reference.from).filter(|_| hit) {
                self.carried_on(relation, from, reference, verb)?;
            }
        }
        Ok(())
    }

    /// A row leaves a partition for another: foreign keys that point at this very partition take it for gone. Those that point at the
    /// whole table have seen it change.
    pub(super) fn own_references(&mut self, relation: &Relation) -> Result<()> {
        let catalog = self.catalog;
        for reference in relation.references.iter().filter(|reference| !reference.inherited) {
            if let Some(from) = catalog.relation(reference.from) {
                self.carried_on(relation, from, reference, Verb::Delete)?;
            }
        }
        Ok(())
    }

    /// A foreign key carries a change on to the table that it belongs to, if it is one that does.
    fn carried_on(&mut self, relation: &Relation, from: &Arc<Relation>, reference: &Reference, verb: Verb) -> Result<()> {
        let action = if verb == Verb::Delete { reference.on_delete } else { reference.on_update };
        let step = Followed::Cascade(relation.table.id, from.table.id, Arc::clone(&reference.name), verb);
        if !matches!(action, 'c' | 'n' | 'd') || !self.is_new(step) {
            return Ok(());
        }
        self.hazards.insert(Hazard::Cascade);
        let name = format!("{}.{}", from.table, reference.name);
        if (verb, action) == (Verb::Delete, 'c') {
            return self.by_way_of(&name, |this| this.write(from, Verb::Delete, &[]));
        }
        let pointing = from.columns.iter().filter(|facts| reference.columns.contains(&facts.column.number));
        for default in pointing.clone().filter(|_| action == 'd').filter_map(|facts| facts.default.as_ref()) {
            self.own_expression(default, &name, None)?;
        }
        let columns: Vec<_> = pointing.map(|facts| Arc::clone(&facts.column)).collect();
        self.by_way_of(&name, |this| this.update_rows(from, &columns))
    }
}
