//! From serving to the end: the signals that the gateway obeys, and how it stops.
//!
//! `SIGHUP` takes up a changed configuration. `SIGTERM` and `SIGINT` stop the gateway: it says that it is not ready, accepts
//! nobody any more, ends idle sessions at once and gives the others time to finish their transaction. A second one ends them
//! at once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use claviger_model::{Refusal, RefusalKind};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Running;

/// What sessions get, beyond their own time, to say their last words and leave their last leaves.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// How often it is looked whether all sessions have ended.
const LOOK: Duration = Duration::from_millis(20);

/// The two signals that stop the gateway.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Running {
    /// Serves until it is told to stop, or cannot go on.
    pub(super) async fn serve_until_told(&mut self, watching: &mut JoinSet<()>) -> Result<()> {
        let (mut hangup, mut stop) = (signal(SignalKind::hangup())?, Stop::new()?);
        tracing::info!(connections = self.config.connections.len(), "serving");
        self.notify.ready("serving");
        let housekeeping = tokio::spawn(Self::keep_house(Arc::clone(&self.gateway), Arc::clone(&self.notify)));
        let result = loop {
            tokio::select! {
                _ = hangup.recv() => self.reload().await,
                () = stop.told() => break Ok(()),
                // Without it nobody could be shut out any more.
                _ = watching.join_next() => {
                    self.condition.is_blind();
                    break Err(anyhow!("changes in the store cannot be followed any more"));
                }
                () = self.workers.failed() => break Err(anyhow!("a thread that drives sessions has ended")),
            }
        };
        self.drain(&mut stop, result.is_ok()).await;
        housekeeping.abort();
        self.gateway.record_refusals(true);
        result
    }

    /// Ends every session with a word, also one that was on its way in, and waits for their last leaves. `patient`: those that
    /// are in a transaction have their time.
    async fn drain(&mut self, stop: &mut Stop, patient: bool) {
        self.condition.drains();
        self.notify.stopping("waiting for sessions to end");
        self.listeners.close();
        tracing::info!(sessions = self.gateway.registry.len(), "stopping");
        self.gateway.drain();
        if patient {
            let patience = self.config.limits.deadlines.drain + LAST_WORDS;
            tokio::select! {
                _ = timeout(patience, self.all_gone()) => {}
                () = stop.told() => tracing::info!(sessions = self.gateway.registry.len(), "stopping at once"),
            }
        }
        let refusal = Refusal::new(RefusalKind::Terminated, "the gateway is stopping");
        self.gateway.registry.kill_all(&refusal, "gateway.stop");
        if timeout(LAST_WORDS, self.all_gone()).await.is_err() {
            tracing::warn!(sessions = self.gateway.registry.len(), "sessions did not end in time");
        }
        self.web.close().await;
    }

    /// Until the last byte of the last client, and until what is to be cancelled upstream has been.
    async fn all_gone(&self) {
        while !self.gateway.registry.is_empty() || self.gateway.clients() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }
}
