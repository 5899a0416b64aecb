//! Texts that the server leaves out of its answer, because it would have to wait for somebody's lock to write them.
//!
//! What is stored is seen without a lock: only the names in it are not, as they are now. So a text is still what it was when it was read
//! before if its row is of the same version and nothing that it can name has another name, and if no name can stand for something new.

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
    let is_left_out = |fact: &mut Fact| fact.text_mut().is_some_and(|(_, text)| text.is_none());
    let before = before.filter(|before| facts.iter_mut().any(is_left_out) && Names::of(before).are_those_of(facts));
    let mut texts = Texts::default();
    for (stored, text) in facts.iter_mut().filter_map(Fact::text_mut) {
        let known = text.take().or_else(|| before?.stored.read.get(&stored).map(Arc::clone));
        texts.partial |= known.is_none();
        texts.read.extend(known.iter().map(|known| (stored, Arc::clone(known))));
        *text = Some(known.unwrap_or_else(|| UNREAD.into()));
    }
    texts
}

/// The names of a catalog.
struct Names<'a> {
    catalog: &'a Catalog,
    relations: HashSet<&'a str>,
    types: HashSet<&'a str>,
}

impl<'a> Names<'a> {
    fn of(catalog: &'a Catalog) -> Self {
        let names = |all: &'a HashMap<Arc<str>, HashMap<Arc<str>, u32>>| all.values().flat_map(HashMap::keys).map(|name| &**name);
        Self { catalog, relations: names(&catalog.names).collect(), types: names(&catalog.type_names).collect() }
    }

    /// Whether all that was there and still is has the same names, and what is new has none that could be mistaken for one of them.
    fn are_those_of(&self, facts: &[Fact]) -> bool {
        facts.iter().all(|fact| match fact {
            Fact::Path(path) => self.catalog.path.iter().map(|schema| &**schema).eq(path.path.iter().map(String::as_str)),
            Fact::Relation(relation) => match self.catalog.relation(relation.id.0) {
                Some(known) => *known.table.schema == *relation.schema && *known.table.name == *relation.name,
                None => !self.relations.contains(&*relation.name),
            },
            Fact::Column(column) => self.has_column(column),
            Fact::Function(function) => self.has_function(function),
            Fact::Operator(operator) => self.has_operator(operator),
            Fact::Type(kind) => match self.catalog.kind(kind.id.0) {
                Some(known) => *known.schema == *kind.schema && *known.name == *kind.name,
                None => !self.types.contains(&*kind.name),
            },
            _ => true,
        })
    }

    /// A new column is nothing that was named before.
    fn has_column(&self, column: &facts::Column) -> bool {
        let known = self.catalog.relation(column.relation.0).map(|relation| &relation.columns);
        let known = known.and_then(|all| all.get(all.binary_search_by_key(&column.number, |one| one.column.number).ok()?));
        known.is_none_or(|known| *known.column.name == *column.name)
    }

    /// A new function may be taken for any, even for one of the server's own.
    fn has_function(&self, function: &facts::Function) -> bool {
        self.catalog.function(function.id.0).is_some_and(|known| {
            let names = known.names.iter().map(|name| &**name);
            *known.routine.schema == *function.schema
                && *known.routine.name == *function.name
                && names.eq(function.names.iter().flatten().map(String::as_str))
        })
    }

    /// So may an operator.
    fn has_operator(&self, operator: &facts::Operator) -> bool {
        let is_it = |known: &super::Operator| {
            *known.schema == *operator.schema && (known.left, known.right) == (operator.left.0, operator.right.0)
        };
        self.catalog.operators.get(&*operator.name).is_some_and(|all| all.iter().any(is_it))
    }
}
