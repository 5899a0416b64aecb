//! Consents in the store.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use claviger_model::{ApprovalId, Timestamp};
use claviger_session::{Approvals, Consent, Consents, ConsentsFailed};
use claviger_store::{Store, StoreError, StoredConsent};

use super::now;

/// The requests for approval of a gateway with this store, with the consents that an earlier run has left.
pub(crate) fn approvals(store: &Arc<Store>) -> Result<Approvals, StoreError> {
    let approvals = Approvals::new(store.consent_key()?, Arc::new(Kept(Arc::clone(store))));
    let now = now();
    approvals.restore(store.consents(now)?.into_iter().map(consent), now);
    Ok(approvals)
}

struct Kept(Arc<Store>);

impl Consents for Kept {
    fn keep(&self, consent: &Consent) -> Result<(), ConsentsFailed> {
        self.0.keep_consent(&stored(consent)).map_err(|error| failed(&error))
    }

    fn forget(&self, id: ApprovalId) -> Result<(), ConsentsFailed> {
        self.0.spend_consent(id).map(drop).map_err(|error| failed(&error))
    }

    fn expire(&self, now: Timestamp) -> Result<(), ConsentsFailed> {
        self.0.expire_consents(now).map_err(|error| failed(&error))
    }

    fn spend(&self, id: ApprovalId) -> Pin<Box<dyn Future<Output = Result<bool, ConsentsFailed>> + Send>> {
        let store = Arc::clone(&self.0);
        let spending = tokio::task::spawn_blocking(move || store.spend_consent(id).map_err(|error| failed(&error)));
        Box::pin(async move { spending.await.unwrap_or_else(|_| Err(ConsentsFailed("the store failed".into()))) })
    }
}

fn failed(error: &StoreError) -> ConsentsFailed {
    ConsentsFailed(error.to_string().into())
}

fn stored(consent: &Consent) -> StoredConsent {
    StoredConsent {
        id: consent.id,
        digest: consent.digest,
        groups: consent.groups.iter().map(Arc::clone).collect(),
        who: Arc::clone(&consent.who),
        connection: Arc::clone(&consent.connection),
        session: consent.session,
        op: consent.op,
        until: consent.until,
    }
}

fn consent(stored: StoredConsent) -> Consent {
    let StoredConsent { id, digest, groups, who, connection, session, op, until } = stored;
    Consent { id, digest, groups: groups.into_iter().collect(), who, connection, session, op, until, edited: None }
}
