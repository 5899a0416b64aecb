//! A session's end of a request for approval.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use claviger_model::ApprovalId;

use super::{Approvals, Consent, Standing};

/// What became of a request.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// It was granted.
    Granted(Consent),
    /// This reviewer was against it, for this reason.
    Denied(Arc<str>, Option<Arc<str>>),
    /// The request is over in another way.
    Over(Standing),
    /// The consent could not be used.
    Lost,
}

/// Waits until a request is decided. Dropping it withdraws the request.
pub(crate) struct Waiting {
    id: ApprovalId,
    approvals: Arc<Approvals>,
    ear: Arc<Ear>,
}

/// Where the decision is put.
#[derive(Debug, Default)]
pub(crate) struct Ear(Mutex<Heard>);

#[derive(Debug, Default)]
struct Heard {
    told: Option<Told>,
    waker: Option<Waker>,
}

impl Waiting {
    pub(super) fn new(id: ApprovalId, approvals: Arc<Approvals>, ear: Arc<Ear>) -> Self {
        Self { id, approvals, ear }
    }

    /// Whoever asked does not any more: whether the request is over by that.
    pub(super) fn withdraw(&self) -> bool {
        self.approvals.book().withdraw(self.id, &self.ear)
    }

    pub(crate) fn id(&self) -> ApprovalId {
        self.id
    }

    /// The client does not wait any more, but may repeat what it asked for: the request stays.
    pub(crate) fn leave(self) {
        self.approvals.book().leave(self.id, &self.ear);
    }
}

impl Future for Waiting {
    type Output = Told;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Told> {
        let mut heard = self.ear.lock();
        match heard.told.take() {
            Some(told) => Poll::Ready(told),
            None => {
                heard.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl Ear {
    pub(super) fn tell(&self, told: Told) {
        let mut heard = self.lock();
        heard.told = Some(told);
        if let Some(waker) = heard.waker.take() {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
