//! Texts that the server leaves out of its answer, because it would have to wait for somebody's lock to write them.
//!
//! What is stored is seen without a lock: only the names in it are not, as they are now. So a text is still what it was when it was read
//! before if its row is of the same version, and no name occurs in it that stands for something else by now, or for something new.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;

use super::Catalog;
use super::facts::{self, Fact, Oid};

/// In place of a text that could not be read: nothing that can be understood, in whatever it is put.
pub(super) const UNREAD: &str = "(this could not be read";

/// Where a text is stored: the OID of the server's catalog, that of the row in it, which of the row's texts it is, and the transaction that
/// wrote the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "[Oid; 4]")]
pub(super) struct Stored([u32; 4]);

impl From<[Oid; 4]> for Stored {
    fn from(of: [Oid; 4]) -> Self {
        Self(of.map(|oid| oid.0))
    }
}

/// Texts, by where they are stored.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    read: HashMap<Stored, Arc<str>>,
    partial: bool,
}

impl Texts {
    pub(super) fn is_partial(&self) -> bool {
        self.partial
    }
}

/// Puts in what was left out: as it was before, or as what is not known. Gives all texts that are known.
pub(super) fn complete(facts: &mut [Fact], before: Option<&Catalog>) -> Texts {
    let is_left_out = |fact: &mut Fact| fact.texts_mut().any(|(_, text)| text.is_none());
    let before = before.filter(|before| facts.iter_mut().any(is_left_out) && has_its_path(before, facts));
    let before = before.map(|before| (before, Renamed::since(before, facts)));
    let still = |stored: &Stored| {
        let (catalog, renamed) = before.as_ref()?;
        catalog.stored.read.get(stored).filter(|text| !renamed.is_in(text)).map(Arc::clone)
    };
    let mut texts = Texts::default();
    for (stored, text) in facts.iter_mut().flat_map(Fact::texts_mut) {
        let known = text.take().or_else(|| still(&stored));
        texts.partial |= known.is_none();
        texts.read.extend(known.iter().map(|known| (stored, Arc::clone(known))));
        *text = Some(known.unwrap_or_else(|| UNREAD.into()));
    }
    texts
}

/// Whether texts were written for the same path. Temporary tables that come before it are new names, if they matter.
fn has_its_path(catalog: &Catalog, facts: &[Fact]) -> bool {
    let is_kept = |schema: &&str| !is_temporary(schema);
    facts.iter().all(|fact| match fact {
        Fact::Path(path) => {
            let known = catalog.path.iter().map(|schema| &**schema).filter(is_kept);
            known.eq(path.path.iter().map(String::as_str).filter(is_kept))
        }
        _ => true,
    })
}

fn is_temporary(schema: &str) -> bool {
    schema.starts_with("pg_temp_") || schema.starts_with("pg_toast_temp_")
}

/// Names that stand for something else than before, or did, or that are new.
struct Renamed(HashSet<Box<str>>);

impl Renamed {
    fn since(catalog: &Catalog, facts: &[Fact]) -> Self {
        let mut renamed = Self(HashSet::new());
        // Other sessions' temporary tables cannot be named.
        let path = facts.iter().find_map(|fact| if let Fact::Path(path) = fact { Some(&path.path) } else { None });
        let is_anothers = |schema: &String| is_temporary(schema) && !path.is_some_and(|path| path.contains(schema));
        for fact in facts {
            match fact {
                Fact::Relation(relation) if !is_anothers(&relation.schema) => {
                    let known = catalog.relation(relation.id.0).map(|known| (&*known.table.schema, &*known.table.name));
                    renamed.note(known, (&relation.schema, &relation.name));
                }
                Fact::Column(column) => renamed.note_column(catalog, column),
                Fact::Function(function) => renamed.note_function(catalog, function),
                Fact::Operator(operator) if !has_operator(catalog, operator) => renamed.add(&operator.name),
                Fact::Type(kind) if !is_anothers(&kind.schema) => {
                    let known = catalog.kind(kind.id.0).map(|known| (&*known.schema, &*known.name));
                    renamed.note(known, (&kind.schema, &kind.name));
                }
                _ => {}
            }
        }
        renamed
    }

    /// Whether any of them may occur in a text. In quotes, a quote is doubled.
    fn is_in(&self, text: &str) -> bool {
        self.0.iter().any(|name| text.contains(&**name) || name.contains('"') && text.contains(&name.replace('"', "\"\"")))
    }

    fn add(&mut self, name: &str) {
        if !self.0.contains(name) {
            self.0.insert(name.into());
        }
    }

    /// In its schema, if it was there before.
    fn note(&mut self, known: Option<(&str, &str)>, now: (&str, &str)) {
        match known {
            Some(known) if known == now => {}
            Some((schema, name)) => [schema, name, now.0, now.1].into_iter().for_each(|name| self.add(name)),
            None => self.add(now.1),
        }
    }

    /// A new column is nothing that was named before.
    fn note_column(&mut self, catalog: &Catalog, column: &facts::Column) {
        let known = catalog.relation(column.relation.0).map(|relation| &relation.columns);
        let known = known.and_then(|all| all.get(all.binary_search_by_key(&column.number, |one| one.column.number).ok()?));
        if let Some(known) = known.filter(|known| *known.column.name != *column.name) {
            [&*known.column.name, &*column.name].into_iter().for_each(|name| self.add(name));
        }
    }

    fn note_function(&mut self, catalog: &Catalog, function: &facts::Function) {
        let known = catalog.function(function.id.0);
        let names = known.map(|known| (&*known.routine.schema, &*known.routine.name));
        self.note(names, (&function.schema, &function.name));
        let before = known.into_iter().flat_map(|known| &known.names).map(|name| &**name);
        let now = function.names.iter().flatten().map(String::as_str);
        if known.is_some() && !before.clone().eq(now.clone()) {
            before.chain(now).filter(|name| !name.is_empty()).for_each(|name| self.add(name));
        }
    }
}

fn has_operator(catalog: &Catalog, operator: &facts::Operator) -> bool {
    let is_it = |known: &super::Operator| {
        *known.schema == *operator.schema && (known.left, known.right) == (operator.left.0, operator.right.0)
    };
    catalog.operators.get(&*operator.name).is_some_and(|all| all.iter().any(is_it))
}
