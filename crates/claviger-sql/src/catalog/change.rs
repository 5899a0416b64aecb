//! A snapshot as a definition makes it that has not been read from the server yet.

use std::sync::Arc;

use super::{Catalog, Relation, TypeFacts};

/// What a definition makes of a catalog.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// This is there now, in place of what had its number.
    Is(Arc<Relation>),
    /// What has this number is no more.
    Gone(u32),
    /// There is a schema, with nothing in it.
    Schema(Arc<str>),
    /// There is a type.
    Kind(Arc<TypeFacts>),
}

impl Catalog {
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Is(relation) => {
                let table = &relation.table;
                self.relations.insert(table.id, Arc::clone(relation));
                self.names.entry(Arc::clone(&table.schema)).or_default().insert(Arc::clone(&table.name), table.id);
            }
            Change::Gone(id) => {
                let Some(relation) = self.relations.remove(id) else { return };
                if let Some(names) = self.names.get_mut(&relation.table.schema) {
                    names.remove(&relation.table.name);
                }
            }
            Change::Kind(kind) => {
                self.types.insert(kind.id, Arc::clone(kind));
                self.finds_code_of_types();
                self.type_names.entry(Arc::clone(&kind.schema)).or_default().insert(Arc::clone(&kind.name), kind.id);
            }
            Change::Schema(name) => _ = Arc::make_mut(&mut self.schemas).insert(Arc::clone(name), true),
        }
    }

    /// A number that no relation has, after so many of them: the server counts from below.
    pub(crate) fn unused_number(&self, after: usize) -> u32 {
        let mut unused = (0..u32::MAX).map(|below| u32::MAX - below).filter(|number| !self.relations.contains_key(number));
        unused.nth(after).unwrap_or(0)
    }

    /// A number that no type has.
    pub(crate) fn unused_kind(&self) -> u32 {
        (0..u32::MAX).map(|below| u32::MAX - below).find(|number| !self.types.contains_key(number)).unwrap_or(0)
    }

    /// Whether a table of this name, or one of its columns, is to have labels in any schema, whether it is there or not.
    pub(crate) fn gives_labels_to(&self, table: &str) -> bool {
        self.labelled.contains(table)
    }

    /// Whether there is anything of this name in any schema.
    pub(crate) fn has_relation(&self, name: &str) -> bool {
        self.names.values().any(|names| names.contains_key(name))
    }

    /// Whether there is a type of this name in any schema.
    pub(crate) fn has_kind(&self, name: &str) -> bool {
        self.type_names.values().any(|names| names.contains_key(name))
    }

    /// Whether anything of the users' own runs because of the type that a value has.
    pub(crate) fn runs_by_type(&self) -> bool {
        !self.casts.is_empty()
            || self.types.values().any(|kind| {
                let own = !matches!(&*kind.schema, "pg_catalog" | "information_schema");
                own && !(kind.checks.is_empty() && kind.functions.is_empty())
            })
    }

    /// Whether it is a partition, or inherits from another.
    pub(crate) fn is_child(&self, id: u32) -> bool {
        self.relations.values().any(|relation| relation.children.iter().any(|child| child.relation == id))
    }
}
