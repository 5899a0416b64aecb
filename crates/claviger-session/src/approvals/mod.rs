//! Consent to one operation, by others than who asks for it.
//!
//! Policy says which groups must approve ([`Decision::Hold`](crate::Decision::Hold)). The pipeline then parks the operation and makes a
//! request here; reviewers decide it through [`Gateway::review`](crate::Gateway::review); and what was parked is understood and decided
//! once more, with their groups in the context of policy. Consent is bound to a digest of everything that the operation is and reaches
//! ([`binding`]), is good for one operation once, and is never given back.
//!
//! A client that cannot wait is refused with the request's id. When reviewers have granted it, the identical operation of the same
//! chain finds the consent by its digest and spends it. Such consents are durable ([`Consents`]); what waits in a live session is not,
//! as it ends with the session.

mod acts;
mod binding;
mod book;
mod channel;
mod looking;
mod pace;
mod request;
mod reviewing;
mod view;
mod waiting;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use claviger_model::{ApprovalId, OpId, PrincipalKey, Secret, SessionId, Timestamp};

pub(crate) use self::acts::{Petition, cut, spend, spent};
pub(crate) use self::binding::{Bearer, Bound, bind};
use self::book::Book;
pub use self::channel::Channel;
pub(crate) use self::pace::Pace;
pub use self::request::{Approval, Asker, Need, Standing, Vote};
pub(crate) use self::reviewing::{Ballot, Reviewer};
pub use self::reviewing::{ReviewError, ReviewGroup, Reviewing, Said};
pub(crate) use self::view::{Asked, Subject};
pub use self::view::{Locked, Rows, View};
pub(crate) use self::waiting::{Told, Waiting};

/// What consent is bound to.
pub(crate) type Digest = [u8; 32];

/// Requests for approval, and consents that are not spent.
pub struct Approvals {
    book: Mutex<Book>,
    key: Secret,
    consents: Arc<dyn Consents>,
    channel: Option<Arc<dyn Channel>>,
}

/// Keeps consents that nobody waits for, so that each is spent once whatever becomes of the gateway.
pub trait Consents: Send + Sync + 'static {
    /// Keeps a consent until it is spent. On return it is on stable storage. May block.
    fn keep(&self, consent: &Consent) -> Result<(), ConsentsFailed>;
    /// Gives up a consent, so that nobody can spend it any more. On return that is on stable storage. May block.
    fn forget(&self, id: ApprovalId) -> Result<(), ConsentsFailed>;
    /// Forgets those that had their time, and remembers that it was so late. May block.
    fn expire(&self, now: Timestamp) -> Result<(), ConsentsFailed>;
    /// Spends a consent: resolves to whether it was there to be spent, and only when that is on stable storage.
    fn spend(&self, id: ApprovalId) -> Pin<Box<dyn Future<Output = Result<bool, ConsentsFailed>> + Send>>;
}

/// Consents could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("consents cannot be kept: {0}")]
pub struct ConsentsFailed(pub Arc<str>);

/// Consent to one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// The request that was granted.
    pub id: ApprovalId,
    /// What it is bound to.
    pub digest: Digest,
    /// The groups that have approved.
    pub groups: BTreeSet<Arc<str>>,
    /// Who asked, as a chain text.
    pub who: Arc<str>,
    /// Where it is to run.
    pub connection: Arc<str>,
    /// The session that asked.
    pub session: SessionId,
    /// The operation that asked.
    pub op: OpId,
    /// Until when it may be spent.
    pub until: Timestamp,
    /// The text to run in place of what was asked for.
    pub edited: Option<Arc<str>>,
}

impl Approvals {
    /// None yet. The key is for digests; whoever has it and an operation can tell whether that was approved.
    pub fn new(key: Secret, consents: Arc<dyn Consents>) -> Self {
        Self { book: Mutex::default(), key, consents, channel: None }
    }

    /// Takes in consents that an earlier run has kept.
    pub fn restore(&self, kept: impl IntoIterator<Item = Consent>, now: Timestamp) {
        let mut book = self.book();
        kept.into_iter().for_each(|consent| book.restore(consent, now));
    }

    /// All requests of which something is known, oldest first.
    pub fn list(&self) -> Vec<Approval> {
        self.book().list()
    }

    /// The last requests of an actor, newest first; what was asked for is forgotten of those that are over.
    pub fn of(&self, actor: &PrincipalKey, most: usize) -> Vec<Approval> {
        self.book().of(actor, most)
    }

    /// One request.
    pub fn get(&self, id: ApprovalId) -> Option<Approval> {
        self.book().get(id)
    }

    /// How many wait to be decided.
    pub fn pending(&self) -> usize {
        self.book().pending()
    }

    /// Other rules are in force.
    pub(crate) fn ask_more(&self, rules: &Reviewing) {
        self.book().ask_more(rules);
    }

    pub(crate) fn key(&self) -> &Secret {
        &self.key
    }

    pub(crate) fn consents(&self) -> &Arc<dyn Consents> {
        &self.consents
    }

    /// A panic elsewhere leaves a book that is whole: each change of it is one.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
