//! Taking up what changes in the store, by this process or another: who is disabled, what is revoked, which keys sign.

use std::sync::Arc;

use anyhow::Result;
use claviger_identity::Directory;
use claviger_session::Gateway;
use claviger_store::Store;
use claviger_store::log::AuditLog;
use tokio::sync::watch;

use crate::admin::{Admin, record_local_acts};

/// What the changes touch.
pub(super) struct Watch {
    pub(super) changes: watch::Receiver<Arc<Directory>>,
    pub(super) store: Arc<Store>,
    pub(super) log: Arc<AuditLog>,
    pub(super) gateway: Arc<Gateway>,
    pub(super) admin: Arc<Admin>,
}

impl Watch {
    /// Follows the store for as long as the gateway lives. A revocation ends its sessions at once; the acts that led to it are
    /// taken into the log after that.
    pub(super) async fn run(mut self) {
        while self.changes.changed().await.is_ok() {
            let directory = (**self.changes.borrow_and_update()).clone();
            self.gateway.authenticator().set_directory(directory);
            let ended = self.gateway.end_revoked();
            // Whoever was shut out has nothing left when let in again.
            let gateway = Arc::clone(&self.gateway);
            tokio::task::spawn_blocking(move || gateway.expire_access());
            if let Err(error) = self.take_up() {
                tracing::error!(error = format!("{error:#}"), "a change in the store is not taken up in full");
            }
            tracing::info!(sessions_ended = ended, "the directory has changed");
        }
    }

    /// A key that was retired goes, whether or not the act can be recorded.
    fn take_up(&self) -> Result<()> {
        self.admin.publish_keys(self.gateway.authenticator())?;
        record_local_acts(&self.store, self.log.as_ref())
    }
}
