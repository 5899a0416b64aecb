//! Which column of a table each column of an answer is, by the server's own words, beside what it was understood to show.

use std::sync::Arc;

use claviger_model::{Column, Labels, Meaning, TableKind};
use claviger_sql::{Catalog, Classification, Classified};

use crate::corpus::player::Message;

/// A label for every column of every table, so that it is told what any of them shows.
pub(super) fn labels_of_all(catalog: &Catalog) -> Classification {
    let columns = catalog.relations().filter(|relation| !relation.table.system).flat_map(|relation| &relation.columns);
    columns.map(|facts| (name(&facts.column), label(&facts.column))).collect()
}

fn name(column: &Column) -> Classified {
    let quoted = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
    let parts = [&column.table.schema, &column.table.name, &column.name].map(|part| quoted(part));
    parts.join(".").parse().unwrap()
}

fn label(column: &Column) -> Labels {
    [Arc::from(format!("{} {}", column.table.id, column.number))].into()
}

/// The columns of an answer of which it was not said that they show what they are.
pub(super) fn unsaid(answers: &[Message], meanings: &[Meaning], catalog: &Catalog) -> Vec<String> {
    let mut described = answers.iter().filter(|(kind, _)| *kind == b'T').map(|(_, body)| origins(body));
    let ([meaning], Some(origins), None) = (meanings, described.next(), described.next()) else { return Vec::new() };
    if meaning.disclosure.anything {
        return Vec::new();
    }
    // Of columns that have the same labels, one stands for all.
    let is_it =
        |said: &Column, column: &Arc<Column>| *said == **column || column.labels.iter().all(|label| said.labels.contains(label));
    let said = |at: usize, column: &Arc<Column>| {
        let output = meaning.disclosure.outputs.get(at);
        output.is_some_and(|output| output.columns().iter().any(|said| is_it(said, column)))
            || meaning.disclosure.rest.iter().flatten().any(|said| is_it(said, column))
    };
    let mut unsaid = Vec::new();
    for (at, (table, number)) in origins.into_iter().enumerate() {
        let Some(relation) = catalog.relation(table).filter(|relation| !relation.table.system) else { continue };
        // A view is an origin, too, and what is said is what it shows.
        if matches!(relation.table.kind, TableKind::View) {
            continue;
        }
        let found = relation.columns.iter().find(|facts| facts.column.number == number);
        if let Some(facts) = found.filter(|facts| !said(at, &facts.column)) {
            unsaid.push(format!("column {at} is {}.{}", relation.table, facts.column.name));
        }
    }
    unsaid
}

/// The OID of the table and the number of the column that each column is, as far as it is one (PostgreSQL manual, 55.7, `RowDescription`).
fn origins(body: &[u8]) -> Vec<(u32, i16)> {
    let mut rest = &body[2..];
    let mut origins = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        let facts = &rest[end + 1..];
        let table = u32::from_be_bytes(facts[..4].try_into().unwrap());
        origins.push((table, i16::from_be_bytes(facts[4..6].try_into().unwrap())));
        rest = &facts[18..];
    }
    origins
}
