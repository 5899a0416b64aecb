//! What a SQL statement does.
//!
//! [`understand`] takes a text as a client sends it, and says of each of its statements what it does to what: its [`Meaning`]. The
//! text is read by PostgreSQL's own grammar; names are found as the server would find them, in a [`Catalog`] that was read from
//! it, along the search path of the [`Session`] that the text runs in. Views, functions, triggers, rules, defaults, foreign keys,
//! partitions and children are seen through.
//!
//! Never is less said than really happens: what is not understood is [`Verb::Unknown`], and what cannot be parsed is
//! [`NotUnderstood`]. Nothing here reads a clock, a file or a socket.

mod affected;
mod analyze;
mod assigned;
pub mod builtin;
mod catalog;
mod layout;
mod lexer;
mod locks;
mod plan;
mod procedure;
mod resolved;
mod session;
mod shape;
mod state;
mod values;

use std::collections::BTreeSet;
use std::ops::Range;

use claviger_model::Meaning;

pub use affected::{Affected, Question, Untold, affected};
pub use catalog::{
    Binding, Cast, Catalog, CatalogError, Child, Classification, Classified, ColumnFacts, EventTrigger, FINGERPRINT, Function,
    FunctionKind, NotAName, Operator, QUESTION, QUESTION_AGAIN, Reference, Relation, Rule, SNAPSHOT, Trigger, TypeFacts, Write,
};
pub use layout::layout;
pub use locks::{LOCKS, Locks};
pub use plan::expected_rows;
pub use resolved::{Planned, Resolved};
pub use session::{Cursor, Prepared, Session, Transition};
pub use shape::shape;
pub use state::{STATE, State};
pub use values::{Value, with_values};

/// Whether values of one of these types, by OID, may come to be by code of the users' own that changes something or shows what is classified:
/// by the checks of a domain, or by casts.
pub fn types_act(kinds: &[u32], catalog: &Catalog, session: &Session) -> bool {
    analyze::act(kinds, catalog, session)
}

/// One of a text's statements.
#[derive(Clone, Debug)]
pub struct Statement {
    /// What it does.
    pub meaning: Meaning,
    /// Where it stands in the text, in bytes.
    pub span: Range<usize>,
    /// How it changes its session if it succeeds, in order.
    pub transitions: Vec<Transition>,
    /// Whether what it does may depend on the values of its parameters: a limit, an end of a range, a pattern, the name of a setting.
    /// Then it is to be understood once more [`with_values`] when they are known.
    pub depends_on_values: bool,
    /// What names in it, and in what it runs that is planned by itself, stand for. In the statement itself first.
    pub resolved: Vec<Resolved>,
}

/// Why a text is not understood: it must not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotUnderstood {
    /// The grammar does not know it.
    #[error("it is not a statement of PostgreSQL")]
    Syntax,
    /// It is nested too deeply, or has too many parts.
    #[error("it is too complex to be understood")]
    TooComplex,
    /// It names something that is not in the catalog: a server would refuse it with such an error.
    #[error("it names a {} that does not exist", .0.as_str())]
    Undefined(Undefined),
}

/// What a text names that there is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undefined {
    /// A table, view or sequence.
    Relation,
    /// A column.
    Column,
    /// A schema.
    Schema,
    /// A prepared statement.
    Prepared,
    /// A cursor.
    Cursor,
}

impl Undefined {
    /// What it is, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relation => "relation",
            Self::Column => "column",
            Self::Schema => "schema",
            Self::Prepared => "prepared statement",
            Self::Cursor => "cursor",
        }
    }

    /// The server's own code for it (PostgreSQL manual, appendix A).
    pub fn sqlstate(self) -> &'static str {
        match self {
            Self::Relation => "42P01",
            Self::Column => "42703",
            Self::Schema => "3F000",
            Self::Prepared => "26000",
            Self::Cursor => "34000",
        }
    }
}

/// Says what each of a text's statements does, in order, each under the state that those before it leave behind. A text without
/// statements has none.
pub fn understand(text: &str, catalog: &Catalog, session: &Session) -> Result<Vec<Statement>, NotUnderstood> {
    analyze::text(text, catalog, session)
}

/// The texts that a text hangs on and that are not in it: the definitions of views, functions, triggers, rules, defaults and generated
/// columns that it reaches, and what was prepared or declared before. While they are the same, so is what it does.
pub fn reached(text: &str, catalog: &Catalog, session: &Session) -> Result<BTreeSet<String>, NotUnderstood> {
    analyze::reached(text, catalog, session)
}
