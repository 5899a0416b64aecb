//! The questions that a server is asked for its catalog.

/// What differs whenever anything that a [`Catalog`](crate::Catalog) is read from may have changed: one row of one text. It takes a few
/// milliseconds in a database of a few hundred tables.
pub const FINGERPRINT: &str = include_str!("fingerprint.sql");

/// What [`Catalog::read`](crate::Catalog::read) reads: rows of two texts, a kind and facts. With the fingerprint of what it says, taken in
/// the same snapshot.
pub const QUESTION: &str = concat!(
    "select 'fingerprint', (",
    include_str!("fingerprint.sql"),
    ") union all select q.kind, q.facts::pg_catalog.text from (",
    include_str!("question.sql"),
    ") q"
);
