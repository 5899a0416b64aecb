//! The index of sessions, kept up as sessions begin and end.

use std::sync::Arc;

use claviger_model::Timestamp;
use claviger_session::{SessionInfo, SessionObserver};
use claviger_store::{SessionEnd, Store, StoredSession};

/// Notes sessions in the store, which writes them when it can.
pub(super) struct Index(pub(super) Arc<Store>);

impl SessionObserver for Index {
    fn opened(&self, session: &SessionInfo) {
        self.0.session_opened(StoredSession {
            id: session.id,
            who: session.chain.to_string().into(),
            sponsor: session.chain.sponsor().map(|key| key.to_string().into()),
            connection: session.connection.as_str().into(),
            client: session.client.to_string().into(),
            opened: session.opened,
            end: None,
        });
    }

    fn closed(&self, session: &SessionInfo, at: Timestamp, reason: &str) {
        let end = SessionEnd { closed: at, reason: reason.into(), operations: session.operations };
        self.0.session_closed(session.id, end);
    }
}
