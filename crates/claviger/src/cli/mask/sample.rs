//! The questions by which a database's columns are sampled. Every name in them is written in full and in quotes.

use std::collections::HashSet;

use claviger_mask::detect::Reading;
use claviger_mask::methods::Type;
use claviger_model::TableKind;
use claviger_sql::{Catalog, ColumnFacts, Relation};

/// Settings of a session that samples: it reads only, waits for nobody, and finds nothing by a search path.
pub(super) const SETTINGS: &str = "select pg_catalog.set_config('default_transaction_read_only', 'on', false), \
    pg_catalog.set_config('statement_timeout', '15s', false), pg_catalog.set_config('lock_timeout', '2s', false), \
    pg_catalog.set_config('jit', 'off', false), pg_catalog.set_config('datestyle', 'ISO', false)";

/// The columns that whoever asks may read, by table and number.
pub(super) const READABLE: &str = "select a.attrelid, a.attnum from pg_catalog.pg_attribute a \
    join pg_catalog.pg_class c on c.oid operator(pg_catalog.=) a.attrelid \
    where a.attnum operator(pg_catalog.>) 0 and not a.attisdropped \
    and pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') \
    and pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT')";

/// So much of one table is looked at, in bytes.
const MOST: usize = 16 << 20;
/// And of one value, in characters.
const LONGEST: usize = 2048;
/// Not less of one, so that something can be seen.
const SHORTEST: usize = 256;

/// A column that is sampled.
pub(super) struct Sampled<'c> {
    pub(super) facts: &'c ColumnFacts,
    pub(super) reading: Reading,
    /// Whether it names rows of a table.
    pub(super) points: bool,
}

/// The columns of a table that can be sampled: those without labels whose values can be read as texts.
pub(super) fn columns<'c>(catalog: &Catalog, relation: &'c Relation, pointers: &HashSet<(u32, i16)>) -> Vec<Sampled<'c>> {
    let open = relation.columns.iter().filter(|facts| facts.column.labels.is_empty());
    let sampled = open.filter_map(|facts| {
        let (reading, whole) = reading(catalog, facts.kind)?;
        let points = whole && pointers.contains(&(relation.table.id, facts.column.number));
        Some(Sampled { facts, reading, points })
    });
    sampled.collect()
}

/// How values of a type are read, and whether it is one of whole numbers.
fn reading(catalog: &Catalog, kind: u32) -> Option<(Reading, bool)> {
    const XML: u32 = 142;
    let plain = catalog.plain_kind(kind);
    Some(match Type::of(plain, -1) {
        Type::Text { .. } => (Reading::Text, false),
        Type::Json | Type::Jsonb => (Reading::Json, false),
        Type::Int4 | Type::Int8 => (Reading::Plain, true),
        Type::Numeric | Type::Date | Type::Timestamp | Type::TimestampTz | Type::Inet | Type::Macaddr => (Reading::Plain, false),
        Type::Array { element, .. } => reading(catalog, element).map(|(reading, _)| (reading, false))?,
        Type::Other if plain == XML || catalog.kind(plain).is_some_and(|facts| &*facts.name == "hstore") => {
            (Reading::Text, false)
        }
        _ => return None,
    })
}

/// Whether a relation is sampled. A view shows what tables hold, whose labels it gets; so does a partition.
pub(super) fn is_sampled(relation: &Relation) -> bool {
    !relation.table.system && matches!(relation.table.kind, TableKind::Table | TableKind::MaterializedView | TableKind::Foreign)
}

/// What asks for values of some columns of a table, as texts: of a large one from all over it, of others the first.
pub(super) fn question(relation: &Relation, columns: &[&ColumnFacts], rows: usize) -> String {
    let width = columns.len().max(1);
    let rows = rows.min(MOST / (width * SHORTEST)).max(1);
    let longest = (MOST / (width * rows)).clamp(SHORTEST, LONGEST);
    let value = |facts: &&ColumnFacts| format!("pg_catalog.left(t.{}::pg_catalog.text, {longest})", quoted(&facts.column.name));
    let values: Vec<String> = columns.iter().map(value).collect();
    let table = format!("{}.{}", quoted(&relation.table.schema), quoted(&relation.table.name));
    format!("select {} from {table} t{} limit {rows}", values.join(", "), part(relation, rows))
}

/// The part of a table that is read. Whole pages are taken; half as many again as are needed, because the server's count is old.
fn part(relation: &Relation, rows: usize) -> String {
    #[allow(clippy::cast_precision_loss)]
    let percent = 150.0 * rows as f32 / relation.rows.max(1.0);
    if percent >= 50.0 || relation.table.kind == TableKind::Foreign {
        return String::new();
    }
    format!(" tablesample pg_catalog.system ({percent}) repeatable (0)")
}

/// A name as SQL takes it, whatever it is.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL takes it where `standard_conforming_strings` is on.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
