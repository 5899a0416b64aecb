//! Whether the methods of labels fit the types of the columns that have them.

use std::sync::Arc;

use claviger_mask::methods::{Method, Misfit, Type, method_of};
use claviger_model::{Column, Object};
use claviger_sql::Catalog;

use super::plain_kind;

/// How a classified column is masked.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The column.
    pub column: Arc<Column>,
    /// The label whose method counts.
    pub label: Arc<str>,
    /// The method.
    pub method: Method,
    /// The type that its values look like.
    pub kind: Type,
    /// Why statements that would show it are refused, if they are.
    pub misfit: Option<Misfit>,
}

/// How the classified columns of a catalog are masked, by name. Those of the server itself are left out.
pub fn fits(methods: &[(Arc<str>, Method)], catalog: &Arc<Catalog>) -> Vec<Fit> {
    let relations = catalog.relations().filter(|relation| !relation.table.system);
    let columns = relations.flat_map(|relation| &relation.columns).map(|facts| &facts.column);
    let classified = columns.filter(|column| !column.labels.is_empty());
    let mut fits: Vec<Fit> = classified.map(|column| fit(methods, Some(catalog), column)).collect();
    fits.sort_by_cached_key(|fit| Object::Column(Arc::clone(&fit.column)).to_string());
    fits
}

/// How one of them is.
pub(super) fn fit(methods: &[(Arc<str>, Method)], catalog: Option<&Arc<Catalog>>, column: &Arc<Column>) -> Fit {
    let (label, method) = method_of(methods, &column.labels);
    let kind = Type::of(plain_kind(catalog, column.kind), -1);
    Fit { column: Arc::clone(column), label: label.into(), method, kind, misfit: method.check(kind).err() }
}

impl Fit {
    /// What is wrong with it, if anything is.
    pub fn complaint(&self) -> Option<String> {
        let name = Object::Column(Arc::clone(&self.column));
        self.misfit.as_ref().map(|misfit| format!("{name} cannot be masked: {misfit}"))
    }
}
