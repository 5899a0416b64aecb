//! Which statement a name stands for, and which operation a portal belongs to.
//!
//! The confirmed part follows the server's answers and nothing else. The part that runs ahead holds the changes that are still
//! unanswered, and is believed only inside the same group of messages (up to a Sync): there, if the change fails, whatever
//! relies on it is skipped by the server.

use std::collections::HashMap;

use bytes::Bytes;
use claviger_model::OpId;

use super::access::Nature;

/// A prepared statement.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    /// Empty if it is not known.
    pub(super) text: Bytes,
    pub(super) nature: Nature,
}

impl Statement {
    /// One that the gateway did not see being prepared.
    pub(super) fn unknown() -> Self {
        Self { text: Bytes::new(), nature: Nature::UNKNOWN }
    }
}

/// A portal that the server has confirmed.
#[derive(Clone, Debug)]
pub(super) struct Portal {
    pub(super) op: OpId,
    /// The Bind that made it.
    pub(super) bind: Bytes,
    pub(super) statement: Statement,
    pub(super) done: bool,
}

/// What is to be found under a statement's name.
pub(super) enum Found {
    Statement(Statement),
    Unknown,
    /// Not to be told before the server has answered.
    NotYet,
}

struct Change {
    serial: u64,
    group: u64,
    statement: Option<Statement>,
}

/// The names of one session.
#[derive(Default)]
pub(super) struct Registry {
    statements: HashMap<Bytes, Statement>,
    changes: HashMap<Bytes, Change>,
    serial: u64,
    pub(super) portals: HashMap<Bytes, Portal>,
}

impl Registry {
    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.statements.len() + self.changes.len() + self.portals.len()
    }

    /// Notes a change that is on its way: a Parse, or a Close.
    pub(super) fn change(&mut self, name: Bytes, group: u64, statement: Option<Statement>) -> u64 {
        self.serial += 1;
        self.changes.insert(name, Change { serial: self.serial, group, statement });
        self.serial
    }

    /// A change has been answered, or skipped.
    pub(super) fn settle(&mut self, name: &Bytes, serial: u64) {
        if self.changes.get(name).is_some_and(|change| change.serial == serial) {
            self.changes.remove(name);
        }
    }

    /// The server knows this statement.
    pub(super) fn confirm(&mut self, name: Bytes, statement: Statement) {
        self.statements.insert(name, statement);
    }

    /// The server has dropped this statement.
    pub(super) fn remove(&mut self, name: &[u8]) {
        self.statements.remove(name);
    }

    /// The named statements stand for nothing that is known any more. The unnamed one cannot be touched by a statement.
    pub(super) fn forget_named(&mut self) {
        self.statements.retain(|name, _| name.is_empty());
    }

    /// What a Bind of this group finds under a name.
    pub(super) fn find(&self, name: &[u8], group: u64) -> Found {
        match self.changes.get(name) {
            Some(change) if change.group != group => Found::NotYet,
            Some(Change { statement: Some(statement), .. }) => Found::Statement(statement.clone()),
            Some(_) => Found::Unknown,
            None => self.statements.get(name).cloned().map_or(Found::Unknown, Found::Statement),
        }
    }
}
