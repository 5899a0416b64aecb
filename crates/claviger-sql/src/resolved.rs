//! What names stood for when they were looked up.
//!
//! A server plans what was prepared, and what a function's body says, once, and keeps the plan. If what is in the plan is changed, renamed or
//! dropped, or the search path is another, it looks the names up anew; but not if something else takes a name, by coming before it in the
//! path (PostgreSQL manual, `PREPARE`, Notes). So one text can do two things, and which of them hangs on what its names stood for before.

use std::collections::BTreeSet;
use std::sync::Arc;

/// What the names in something that is planned by itself stood for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What that is.
    pub of: Planned,
    /// The search path that they were looked up along.
    pub path: Vec<Arc<str>>,
    /// What was found. As long as this is the same, so is what a plan is made of.
    pub names: BTreeSet<String>,
}

/// Something that is planned by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Planned {
    /// The statement itself.
    Text,
    /// A statement that was prepared before, by its name.
    Prepared(Arc<str>),
    /// What a routine's body says: its number, and its source.
    Routine(u32, Arc<str>),
}
