//! Taking up a changed configuration while sessions run.

use std::collections::HashSet;
use std::sync::Arc;

use claviger_audit::{Batch, Ledger};
use claviger_model::{Refusal, RefusalKind};
use claviger_policy::PolicySet;
use claviger_proxy::Upstreams;
use claviger_session::{Connections, Gateway};
use claviger_store::log::AuditLog;

use crate::config::{Config, LOCAL_ISSUER};

/// Reads the directory again. Policy and connections change together or, if anything is wrong with them, not at all;
/// listeners, the API and the limits stay until a restart. New policy holds from the next login on, new addresses and
/// credentials for new sessions; sessions of a removed connection end. Whether it was taken up.
pub(super) fn run(running: &Config, gateway: &Gateway, upstreams: &Upstreams, log: &AuditLog) -> bool {
    let read = Config::load(&running.dir).map_err(anyhow::Error::from).and_then(|config| {
        let policy = PolicySet::load(&config.policies, LOCAL_ISSUER)?;
        Ok((config, policy))
    });
    let (config, policy) = match read {
        Ok(read) => read,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the changed configuration is not taken up");
            return false;
        }
    };
    // A configuration that cannot be recorded is not taken up.
    if let Err(error) = log.append(Batch::of(super::boot_leaf(&config, &policy, true))) {
        tracing::error!(%error, "the changed configuration is not taken up");
        return false;
    }
    let connections: Connections = config.connections.iter().cloned().collect();
    let kept: HashSet<_> = connections.iter().map(|connection| connection.name.clone()).collect();
    gateway.policy.store(Arc::new(policy));
    gateway.connections.store(Arc::new(connections));
    upstreams.reload();
    for session in gateway.registry.list().into_iter().filter(|session| !kept.contains(&session.connection)) {
        let refusal = Refusal::new(RefusalKind::Terminated, "the connection was removed");
        gateway.registry.kill(session.id, refusal, "connection.removed");
    }
    tracing::info!(config = config.hash, "the changed configuration is in force");
    true
}
