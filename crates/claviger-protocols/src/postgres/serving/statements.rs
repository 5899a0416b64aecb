//! Prepared statements and portals: which text a name stands for.
//!
//! A client may send much before it hears of any of it, so what a name stands for is known for certain only when the server
//! has answered. Within one group, up to its Sync, the last word counts: were anything before it to fail, the server would
//! pass over the rest of the group. From one group to the next that does not hold, so a Bind that depends on an unanswered
//! Parse or Close of an earlier group must wait.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use claviger_model::OpId;

use crate::Types;

/// Bytes of texts and of parameters that one session may keep.
const MOST_BYTES: usize = 64 << 20;

/// What the client has prepared and bound.
pub(super) struct Statements {
    most: usize,
    /// Not less than it keeps, in bytes.
    bytes: usize,
    statements: HashMap<Bytes, Statement>,
    /// Names whose meaning hangs on the answers to a group, oldest group first.
    unsettled: VecDeque<(u64, Bytes)>,
    portals: HashMap<Bytes, Portal>,
    /// The last group that asked for what may change the meaning of any name but the unnamed one, until it is answered.
    renaming: Option<u64>,
}

/// What is prepared under a name.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) text: Bytes,
    pub(super) types: Types,
}

/// One name.
#[derive(Default)]
struct Statement {
    /// What the server has accepted.
    accepted: Option<Prepared>,
    /// What was asked since, in order.
    asked: Vec<Change>,
}

/// What a client asked to make of a name; without a statement, that it stand for nothing.
struct Change {
    group: u64,
    prepared: Option<Prepared>,
    /// Whether it is known what leaves: another text may take the place of the client's.
    decided: bool,
}

/// What a name stands for.
pub(super) enum Meaning {
    /// This.
    Prepared(Prepared),
    /// The statement was made in another way, as by SQL's own PREPARE, or not at all.
    Unseen,
    /// It hangs on what is yet to be decided, or on what the server has yet to answer.
    Unsettled,
}

/// A bound statement.
#[derive(Clone)]
pub(super) struct Portal {
    pub(super) op: OpId,
    /// The statement's name.
    pub(super) statement: Bytes,
    /// Its text, if it is known.
    pub(super) text: Option<Bytes>,
    pub(super) parameters: Vec<Option<Bytes>>,
    pub(super) binary: Vec<bool>,
    pub(super) types: Types,
    /// The group of its Bind.
    pub(super) group: u64,
    /// The server has made it.
    pub(super) bound: bool,
    pub(super) executed: bool,
    /// Its operation has ended; running it again is another.
    pub(super) ended: bool,
}

impl Statement {
    fn size(&self) -> usize {
        let asked = self.asked.iter().filter_map(|change| change.prepared.as_ref());
        asked.chain(&self.accepted).map(|prepared| prepared.text.len()).sum()
    }
}

impl Portal {
    fn size(&self) -> usize {
        self.parameters.iter().flatten().map(Bytes::len).sum()
    }
}

/// The client keeps more than it may.
pub(super) struct TooMany;

impl Statements {
    pub(super) fn new(most: usize) -> Self {
        Self { most, bytes: 0, statements: HashMap::new(), unsettled: VecDeque::new(), portals: HashMap::new(), renaming: None }
    }

    /// A Parse in this group.
    pub(super) fn prepare(&mut self, name: &Bytes, text: &[u8], types: &Types, group: u64) -> Result<(), TooMany> {
        if self.statements.len() >= self.most && !self.statements.contains_key(name) {
            return Err(TooMany);
        }
        self.keep(text.len())?;
        // A copy: a slice would keep the whole read buffer alive for as long as the statement.
        let prepared = Some(Prepared { text: Bytes::copy_from_slice(text), types: Arc::clone(types) });
        self.change(name, Change { group, prepared, decided: false });
        Ok(())
    }

    /// Makes room for so many bytes more. What is gone is counted only when there seems to be no room.
    fn keep(&mut self, more: usize) -> Result<(), TooMany> {
        if self.bytes + more > MOST_BYTES {
            let texts = self.statements.values().map(Statement::size);
            self.bytes = texts.chain(self.portals.values().map(Portal::size)).sum();
        }
        if self.bytes + more > MOST_BYTES {
            return Err(TooMany);
        }
        self.bytes += more;
        Ok(())
    }

    /// A Close in this group, or a simple query, which drops the unnamed statement.
    pub(super) fn drop_statement(&mut self, name: &Bytes, group: u64) {
        if self.statements.contains_key(name) {
            self.change(name, Change { group, prepared: None, decided: true });
        }
    }

    fn change(&mut self, name: &[u8], change: Change) {
        let name = Bytes::copy_from_slice(name);
        let asked = &mut self.statements.entry(name.clone()).or_default().asked;
        // Only the last word of a group counts, so that a client that never ends its group does not pile up texts.
        if !asked.iter().any(|earlier| earlier.group == change.group) {
            self.unsettled.push_back((change.group, name));
        }
        asked.retain(|earlier| earlier.group != change.group || !earlier.decided);
        asked.push(change);
    }

    /// This group runs a PREPARE, DEALLOCATE or DISCARD of SQL's own, or what may be one.
    pub(super) fn may_rename(&mut self, group: u64) {
        self.renaming = Some(group);
    }

    /// What a name stands for, for a Bind in this group.
    pub(super) fn meaning(&self, name: &[u8], group: u64) -> Meaning {
        match self.renaming {
            Some(renaming) if !name.is_empty() && renaming == group => return Meaning::Unseen,
            Some(_) if !name.is_empty() => return Meaning::Unsettled,
            _ => {}
        }
        let Some(statement) = self.statements.get(name) else { return Meaning::Unseen };
        let prepared = match statement.asked.last() {
            Some(change) if change.group == group && change.decided => &change.prepared,
            Some(_) => return Meaning::Unsettled,
            None => &statement.accepted,
        };
        prepared.clone().map_or(Meaning::Unseen, Meaning::Prepared)
    }

    /// The server has done what was first asked of a name and is not done yet.
    pub(super) fn accepted(&mut self, name: &[u8], prepared: Option<Prepared>) {
        if let Some(statement) = self.statements.get_mut(name) {
            statement.accepted = prepared;
        }
    }

    /// The first undecided Parse of this name in this group is decided; this text leaves, if it is admitted.
    pub(super) fn decided(&mut self, name: &[u8], group: u64, text: Option<&Bytes>) {
        let changes = self.statements.get_mut(name).map(|statement| statement.asked.iter_mut());
        if let Some(change) = changes.into_iter().flatten().find(|change| change.group == group && !change.decided) {
            change.decided = true;
            if let (Some(text), Some(prepared)) = (text, &mut change.prepared) {
                prepared.text = text.clone();
            }
        }
    }

    /// Everything up to this group is answered.
    pub(super) fn settle(&mut self, group: u64) {
        self.portals.retain(|_, portal| portal.bound || portal.group > group);
        self.renaming = self.renaming.filter(|renaming| *renaming > group);
        while let Some((_, name)) = self.unsettled.pop_front_if(|(asked, _)| *asked <= group) {
            let Some(statement) = self.statements.get_mut(&name) else { continue };
            statement.asked.retain(|change| change.group > group);
            if statement.asked.is_empty() && statement.accepted.is_none() {
                self.statements.remove(&name);
            }
        }
    }

    /// SQL's own PREPARE, DEALLOCATE or DISCARD may have changed what any name stands for.
    pub(super) fn forget_texts(&mut self) {
        self.statements.retain(|name, statement| {
            if name.is_empty() {
                return true;
            }
            statement.accepted = None;
            !statement.asked.is_empty()
        });
    }

    /// Puts a portal in its place; returns the operation of the one that it replaces.
    pub(super) fn bind(&mut self, name: &[u8], portal: Portal) -> Result<Option<OpId>, TooMany> {
        if self.portals.len() >= self.most && !self.portals.contains_key(name) {
            return Err(TooMany);
        }
        self.keep(portal.size())?;
        let name = if name.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(name) };
        Ok(self.portals.insert(name, portal).map(|replaced| replaced.op))
    }

    pub(super) fn portal(&mut self, name: &[u8]) -> Option<&mut Portal> {
        self.portals.get_mut(name)
    }

    /// Whether a portal of an earlier group may yet turn out not to have been made, so that its name stands for an older one.
    pub(super) fn is_portal_unsettled(&self, name: &[u8], group: u64) -> bool {
        self.portals.get(name).is_some_and(|portal| !portal.bound && portal.group != group)
    }

    /// The server has made the portal of this operation.
    pub(super) fn bound(&mut self, op: OpId) {
        for portal in self.portals.values_mut().filter(|portal| portal.op == op) {
            portal.bound = true;
        }
    }

    /// The server says that no portal of this group or an earlier one is left.
    pub(super) fn forget_portals(&mut self, group: u64) {
        self.portals.retain(|_, portal| portal.group > group);
    }

    /// The server may have closed any named portal but the one that runs; returns the operations of those that it had made.
    pub(super) fn forget_named_portals(&mut self, running: Option<OpId>) -> Vec<OpId> {
        let gone = |name: &Bytes, portal: &Portal| portal.bound && !name.is_empty() && Some(portal.op) != running;
        let mut ops: Vec<OpId> =
            self.portals.extract_if(|name, portal| gone(name, portal)).map(|(_, portal)| portal.op).collect();
        ops.sort_unstable();
        ops
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
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_what_is_gone_makes_room() {
        let mut statements = Statements::new(1000);
        let (text, name) = (vec![b'x'; 1 << 20], |n: u64| Bytes::from(format!("s{n}")));
        let prepare = |statements: &mut Statements, n: u64, group: u64| {
            statements.prepare(&name(n), &text, &Types::default(), group).is_ok()
        };
        assert!((0..64).all(|n| prepare(&mut statements, n, n)));
        assert!(!prepare(&mut statements, 64, 64));
        statements.drop_statement(&name(3), 65);
        statements.settle(65);
        for group in 66..200 {
            assert!(prepare(&mut statements, 64, group), "the same name takes the place of itself");
            statements.settle(group);
        }
    }
}
