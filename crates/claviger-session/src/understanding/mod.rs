//! What a request does: the step before deciding, for connections whose language is understood.
//!
//! The meaning of a statement hangs on what its session has done so far. [`tracker`] follows that: the search path and the role, which only
//! the server knows for certain and is asked for after anything that may have changed them; the names of prepared statements and
//! cursors; and changes of the catalog that the session's own transaction has made and nobody else can see. [`text`] is a text, read and
//! understood; [`cache`] keeps those that were. [`plans`] knows what the server may have planned before. What an HTTP request does is told from it alone ([`exchange`]), by the dialect of its connection.

mod before;
mod cache;
mod exchange;
mod facts;
mod names;
mod plans;
mod text;
mod tracker;
mod under_way;
mod values;

use std::collections::BTreeSet;
use std::sync::Arc;

use claviger_dialects::Reading;
use claviger_model::Verb;

pub(crate) use self::cache::{States, Texts};
pub(crate) use self::exchange::request;
pub(crate) use self::names::text_of;
pub use self::text::Text;
pub(crate) use self::tracker::{Need, Tracker};

/// What is known of what a request does.
#[derive(Clone, Debug)]
pub enum Understanding {
    /// It was read, and either understood or not.
    Text(Arc<Text>),
    /// It cannot be told what it does, for this reason (a stable code, and words for the client).
    Unknown(&'static str, Arc<str>),
    /// It cannot be decided now, for this reason.
    Undecidable(&'static str, Arc<str>),
    /// The text is in an encoding, or is read by rules, under which it says something else than what it seems to.
    Unreadable,
    /// It is of no form that could be understood, for this reason.
    NotRead(Arc<str>),
    /// The transaction has failed, and this does not end it.
    FailedTransaction,
    /// It was prepared when its names stood for something else.
    PlanChanged,
}

/// What a request hangs on beyond its own text.
pub(crate) struct Reached {
    /// The definitions in the catalog that it reaches, and what was given before under a name.
    pub(crate) texts: BTreeSet<String>,
    /// Of these, what was given before.
    pub(crate) given: Vec<Arc<str>>,
    /// Where its session stands: the search path, the roles, and what it has set.
    pub(crate) session: Vec<Vec<u8>>,
    /// The whole catalog's fingerprint.
    pub(crate) fingerprint: Arc<str>,
}

impl Understanding {
    /// What else is known of an HTTP request.
    pub(crate) fn reading(&self) -> Option<&Reading> {
        match self {
            Self::Text(text) => text.reading.as_ref(),
            _ => None,
        }
    }

    /// Whether all that it does is to end a transaction, or a part of one.
    pub(crate) fn only_ends(&self) -> bool {
        matches!(self, Self::Text(text) if text.changes.only_ends)
    }

    /// Whether a transaction in which this has run may hold what others want.
    pub(crate) fn may_change_rows(&self) -> bool {
        let Self::Text(text) = self else { return true };
        let Ok(matter) = &text.matter else { return true };
        let holds_nothing = |verb| {
            matches!(
                verb,
                Verb::Read
                    | Verb::Export
                    | Verb::Execute
                    | Verb::Configure
                    | Verb::Reveal
                    | Verb::Filter
                    | Verb::Invoke
                    | Verb::Offer
            )
        };
        matter.statements().iter().flat_map(|meaning| &meaning.effects).any(|effect| !holds_nothing(effect.verb))
    }
}
