//! Putting grants where they count: for the sessions, on record, on stable storage, and to whoever is to be told.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use claviger_audit::{AccessEvent, AccessLeaf, Batch, Leaf, LeafKind, Position};
use claviger_model::ApprovalId;

use super::{Access, AccessError, Grant, GrantsFailed};
use crate::Gateway;

/// How often it is kept how far time has gone on, in microseconds.
const NOTED: i64 = 10_000_000;

impl Access {
    /// Keeps what a grant is now. What cannot be kept is tried again ([`Access::keep_the_rest`]).
    pub(super) fn keep(&self, id: ApprovalId) -> Result<(), GrantsFailed> {
        let mut rest = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        // Read inside, so that nothing older is kept in place of something newer.
        let Some(grant) = self.get(id) else {
            rest.remove(&id);
            return Ok(());
        };
        let kept = self.grants.keep(&grant);
        match kept {
            Ok(()) => rest.remove(&id),
            Err(_) => rest.insert(id),
        };
        kept
    }

    /// Keeps what a grant is to be when it is given, before it is.
    pub(super) fn keep_given(&self, grant: &Grant) -> Result<(), GrantsFailed> {
        let mut rest = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = self.grants.keep(grant);
        if kept.is_err() {
            rest.insert(grant.id);
        }
        kept
    }

    /// Keeps what could not be kept.
    pub(super) fn keep_the_rest(&self) {
        let rest = self.keeping.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for id in rest {
            if let Err(error) = self.keep(id) {
                tracing::error!(%error, grant = %id, "what a grant is now cannot be kept; it will be tried again");
            }
        }
    }

    /// Keeps how far time has gone on, now and then while something is in force.
    pub(super) fn keep_time(&self) {
        let now = self.time.now();
        let due = self.noted.load(Ordering::Relaxed).saturating_add(NOTED) <= now.as_micros();
        if !due || self.in_force.load().is_empty() {
            return;
        }
        match self.grants.note_time(now) {
            Ok(()) => self.noted.store(now.as_micros(), Ordering::Relaxed),
            Err(error) => tracing::error!(%error, "how far time has gone on cannot be kept"),
        }
    }

    /// Whether what a grant is now could not be kept yet.
    pub(super) fn is_kept(&self, id: ApprovalId) -> bool {
        !self.keeping.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    pub(super) fn forget(&self, id: ApprovalId) {
        if let Err(error) = self.grants.forget(id) {
            tracing::error!(%error, grant = %id, "an old grant cannot be forgotten");
        }
    }
}

impl Gateway {
    /// Changes what a grant is, for every session at once; gives what it is then. Keeping it is another step.
    pub(super) fn change_grant<E>(
        &self,
        id: ApprovalId,
        missing: E,
        change: impl FnOnce(&mut Grant) -> Result<(), E>,
    ) -> Result<Grant, E> {
        let mut book = self.access.book();
        let grant = book.get_mut(id).ok_or(missing)?;
        let before = grant.standing;
        change(grant)?;
        let after = grant.clone();
        let surplus = book.surplus();
        self.access.in_force.store(Arc::new(book.in_force()));
        drop(book);
        if after.standing != before {
            self.look_at_grants(&after);
        }
        surplus.into_iter().for_each(|id| self.access.forget(id));
        Ok(after)
    }

    /// The sessions that a grant may matter to look at once whether they may go on.
    pub(super) fn look_at_grants(&self, grant: &Grant) {
        self.registry.recheck_where(|live| live.connection.name == grant.connection && grant.is_of(&live.identity.chain));
    }

    /// Records that a channel has told of access, or has given up; with what it was to tell of.
    pub fn notified_access(&self, told: bool, channel: Arc<str>, of: Arc<str>, id: ApprovalId) {
        let Some(grant) = self.access.get(id) else { return };
        let event = if told { AccessEvent::Notified } else { AccessEvent::NotNotified };
        _ = self.append_access(&AccessLeaf { who: channel, reason: Some(of), ..leaf(&grant, event) });
    }

    /// Records what happens, and tells of it: on return whoever is to be told will be. What takes something away happens whether or not it can be told.
    pub(super) fn note_access(&self, leaf: &AccessLeaf) -> Result<Position, AccessError> {
        let gives = matches!(leaf.event, AccessEvent::Requested | AccessEvent::Approved | AccessEvent::Granted);
        let position = self.append_access(leaf)?;
        let told = self.approvals.pass_on_access(leaf, self.now());
        if told || !gives { Ok(position) } else { Err(AccessError::NotTold) }
    }

    pub(super) fn append_access(&self, leaf: &AccessLeaf) -> Result<Position, AccessError> {
        let leaf = Leaf { time: self.now(), kind: LeafKind::Access(leaf.clone()) };
        self.services.ledger.append(Batch::of(leaf)).map_err(|error| {
            tracing::error!(%error, "what happened to access could not be recorded");
            AccessError::NotRecorded
        })
    }
}

/// What the record says of a grant, by whoever has it.
pub(super) fn leaf(grant: &Grant, event: AccessEvent) -> AccessLeaf {
    let scope = &grant.scope;
    AccessLeaf {
        grant: grant.id,
        event,
        who: grant.chain.to_string().into(),
        connection: grant.connection.as_str().into(),
        actions: scope.verbs.iter().map(|verb| verb.as_str().into()).collect(),
        tables: scope.tables.iter().map(|table| table.as_str().into()).collect(),
        seconds: grant.seconds,
        break_glass: scope.break_glass,
        groups: grant.needs.iter().map(|need| Arc::clone(&need.group)).collect(),
        policies: Arc::clone(&grant.policies),
        client: matches!(event, AccessEvent::Requested | AccessEvent::Refused).then(|| grant.client.to_string().into()),
        until: grant.until,
        token: None,
        reason: matches!(event, AccessEvent::Requested | AccessEvent::Refused).then(|| Arc::clone(&grant.reason)),
    }
}
