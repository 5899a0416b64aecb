//! Prepared statements and portals, as the client has asked for them.

use std::collections::HashMap;

use bytes::Bytes;
use claviger_model::OpId;

/// What the client has prepared and bound. The server may not have agreed yet, and an error may undo it: the names serve to
/// know a text, never to decide whether something exists.
pub(super) struct Statements {
    most: usize,
    statements: HashMap<Bytes, Prepared>,
    portals: HashMap<Bytes, Portal>,
}

struct Prepared {
    op: OpId,
    text: Bytes,
}

/// A bound statement.
#[derive(Clone)]
pub(super) struct Portal {
    pub(super) op: OpId,
    pub(super) text: Bytes,
    pub(super) parameters: Vec<Option<Bytes>>,
    pub(super) executed: bool,
    /// Its operation has ended; running it again is another.
    pub(super) ended: bool,
}

/// The client keeps more than it may.
pub(super) struct TooMany;

impl Statements {
    pub(super) fn new(most: usize) -> Self {
        Self { most, statements: HashMap::new(), portals: HashMap::new() }
    }

    pub(super) fn prepare(&mut self, name: &[u8], text: &[u8], op: OpId) -> Result<(), TooMany> {
        if self.statements.len() >= self.most && !self.statements.contains_key(name) {
            return Err(TooMany);
        }
        // Copies: a slice would keep the whole read buffer alive for as long as the statement.
        let (name, text) = (Bytes::copy_from_slice(name), Bytes::copy_from_slice(text));
        self.statements.insert(name, Prepared { op, text });
        Ok(())
    }

    /// The text of a statement, empty if it was made in another way, as by SQL's own PREPARE.
    pub(super) fn text(&self, name: &[u8]) -> Bytes {
        self.statements.get(name).map(|prepared| prepared.text.clone()).unwrap_or_default()
    }

    /// Puts a portal in its place; returns the operation of the one that it replaces.
    pub(super) fn bind(&mut self, name: &[u8], portal: Portal) -> Result<Option<OpId>, TooMany> {
        if self.portals.len() >= self.most && !self.portals.contains_key(name) {
            return Err(TooMany);
        }
        let name = if name.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(name) };
        Ok(self.portals.insert(name, portal).map(|replaced| replaced.op))
    }

    pub(super) fn portal(&mut self, name: &[u8]) -> Option<&mut Portal> {
        self.portals.get_mut(name)
    }

    pub(super) fn close_statement(&mut self, name: &[u8]) {
        self.statements.remove(name);
    }

    pub(super) fn close_portal(&mut self, name: &[u8]) -> Option<OpId> {
        self.portals.remove(name).map(|portal| portal.op)
    }

    /// Portals end with their transaction.
    pub(super) fn end_transaction(&mut self) {
        self.portals.clear();
    }

    pub(super) fn operation_ended(&mut self, op: OpId) {
        for portal in self.portals.values_mut().filter(|portal| portal.op == op) {
            portal.ended = true;
        }
    }

    /// What a refused or failed operation would have made is not there.
    pub(super) fn forget_operation(&mut self, op: OpId) {
        self.statements.retain(|_, prepared| prepared.op != op);
        self.portals.retain(|_, portal| portal.op != op);
    }
}
