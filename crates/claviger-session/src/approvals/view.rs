//! What has been found out about a request, for its reviewers.

use std::sync::Arc;

use bytes::Bytes;
use claviger_model::Timestamp;
use claviger_protocols::{Question, Types};
use claviger_sql::{Locks, Session};

use crate::{CatalogKeeper, Connection};

/// What has been found out about a request.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// How many rows it shows or changes, as the planner expects or the text says. `None` while that is being asked.
    pub estimate: Option<Rows>,
    /// The same, as somebody has had it counted.
    pub count: Option<Rows>,
    /// What the transaction that waits holds, or why that is not known.
    pub locks: Option<Locked>,
    /// What is to be asked about.
    pub(crate) subject: Option<Arc<Subject>>,
}

/// How many rows a statement shows or changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// How many, or why that is not known.
    pub rows: Result<u64, Arc<str>>,
    /// What else is to be known about that number.
    pub notes: Vec<Arc<str>>,
    /// When it was asked.
    pub at: Timestamp,
}

/// What a transaction holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// The tables, or why that is not known.
    pub locks: Result<Locks, Arc<str>>,
    /// When it was asked.
    pub at: Timestamp,
}

/// What an upstream can be asked about a request, and in which state its session was.
pub(crate) struct Subject {
    pub(crate) connection: Arc<Connection>,
    pub(crate) keeper: Arc<dyn CatalogKeeper>,
    /// The process that serves the session upstream.
    pub(crate) process: i32,
    /// The statement, or why the gateway cannot ask about it beside its session.
    pub(crate) statement: Result<Asked, &'static str>,
}

/// A statement, and what names in it stand for.
pub(crate) struct Asked {
    pub(crate) text: Arc<str>,
    pub(crate) parameters: Vec<Option<Bytes>>,
    pub(crate) binary: Vec<bool>,
    pub(crate) types: Types,
    pub(crate) session: Session,
    /// What the client has set as its session began.
    pub(crate) settings: Vec<(String, Bytes)>,
    /// Why the answer may be another than in its session.
    pub(crate) notes: Vec<Arc<str>>,
}

impl View {
    /// How much memory it takes, roughly, in bytes.
    pub(super) fn size(&self) -> usize {
        let asked = self.subject.as_ref().and_then(|subject| subject.statement.as_ref().ok());
        asked.map_or(0, |asked| asked.text.len() + asked.parameters.iter().flatten().map(Bytes::len).sum::<usize>())
    }
}

impl Asked {
    /// A question with those of the statement's parameters that it has; the others are there, and nothing.
    pub(super) fn question(&self, text: String, has: impl Fn(usize) -> bool) -> Question {
        /// The OID of `text`.
        const TEXT: u32 = 25;
        let is = |n: &usize| has(n + 1);
        let all = || 0..self.parameters.len();
        Question {
            text,
            parameters: all().map(|n| self.parameters.get(n).filter(|_| is(&n)).cloned().flatten()).collect(),
            binary: all().map(|n| is(&n) && self.binary.get(n) == Some(&true)).collect(),
            types: all().map(|n| if is(&n) { self.types.get(n).copied().unwrap_or(0) } else { TEXT }).collect(),
        }
    }
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").field("process", &self.process).finish_non_exhaustive()
    }
}
