//! The privileges that the effects of statements amount to. A role that has these and no others must be able to do the same.

use std::collections::BTreeSet;

use claviger_model::{Meaning, Object, TableKind, Verb};
use claviger_sql::Catalog;

/// The grants that let `probe` do what the statements are said to do; `None` where that takes more than privileges on tables.
pub(super) fn grants(meanings: &[Meaning], catalog: &Catalog) -> Option<Vec<String>> {
    let mut grants = BTreeSet::new();
    for effect in meanings.iter().flat_map(|meaning| &meaning.effects) {
        let privilege = match effect.verb {
            Verb::Read | Verb::Export => "SELECT",
            Verb::Insert => "INSERT",
            Verb::Update => "UPDATE",
            Verb::Delete => "DELETE",
            Verb::Truncate => "TRUNCATE",
            Verb::Execute | Verb::Configure => continue,
            _ => return None,
        };
        match &effect.object {
            Object::Table(table) if table.kind == TableKind::Sequence => {
                grants.insert(format!("GRANT USAGE, SELECT, UPDATE ON SEQUENCE {table} TO probe"));
            }
            // Something of a table, but no column's value, is for whoever may read any column.
            Object::Table(table) if privilege == "SELECT" => {
                let relation = catalog.relation(table.id)?;
                if let Some(facts) = relation.columns.first() {
                    grants.insert(format!("GRANT SELECT ({}) ON {table} TO probe", quoted(&facts.column.name)));
                }
            }
            Object::Table(table) => {
                grants.insert(format!("GRANT {privilege} ON {table} TO probe"));
            }
            Object::Column(column) => {
                grants.insert(format!("GRANT {privilege} ({}) ON {} TO probe", quoted(&column.name), column.table));
            }
            _ => return None,
        }
    }
    Some(grants.into_iter().collect())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
