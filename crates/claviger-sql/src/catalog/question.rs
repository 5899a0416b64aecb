//! The questions that a server is asked for its catalog.

use std::sync::LazyLock;

/// What differs whenever anything that a [`Catalog`](crate::Catalog) is read from may have changed: one row of one text. It takes a few
/// milliseconds in a database of a few hundred tables, and more than a tenth of a second in one of 20,000.
pub const FINGERPRINT: &str = include_str!("fingerprint.sql");

/// What differs whenever a transaction that has written anything has ended: one row of one text, in no time. While it is the same, so is
/// the [`FINGERPRINT`] that was asked for in the same statement. NULL on a standby, whose snapshots do not name what is under way there.
pub const SNAPSHOT: &str =
    "select case when not pg_catalog.pg_is_in_recovery() then pg_catalog.pg_current_snapshot()::pg_catalog.text end";

/// What [`Catalog::read`](crate::Catalog::read) reads: rows of two texts, a kind and facts. With the fingerprint of what it says, taken in
/// the same snapshot.
pub const QUESTION: &str = concat!(
    "select 'fingerprint', (",
    include_str!("fingerprint.sql"),
    ") union all select q.kind, q.facts::pg_catalog.text from (",
    include_str!("question.sql"),
    ") q"
);

/// The same, but for columns and types of the server's own that [`Catalog::read`](crate::Catalog::read) knows from before: a third of the work.
pub static QUESTION_AGAIN: LazyLock<String> =
    LazyLock::new(|| QUESTION.replace("(select true as whole)", "(select false as whole)"));
