//! What the gateway must not forget when it starts anew, in the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use claviger_model::PrincipalKey;
use claviger_session::{Gateway, Memory, MemoryOf, Used};
use claviger_store::{MemoryKey, Store, StoreError, StoredMemory};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

/// How often it is written down: so much is lost when the process is killed.
const OFTEN: Duration = Duration::from_secs(1);

/// Writes down what changes.
pub(super) struct Keeper {
    gateway: Arc<Gateway>,
    store: Arc<Store>,
    /// What is not written yet.
    pending: HashMap<MemoryKey, StoredMemory>,
    failed: bool,
}

impl Keeper {
    /// A keeper for a gateway, which remembers what an earlier one has left.
    pub(super) fn new(gateway: Arc<Gateway>, store: Arc<Store>) -> Result<Self, StoreError> {
        let memories: Option<Vec<_>> = store.memories(super::now())?.into_iter().map(read).collect();
        gateway.remember(memories.ok_or(StoreError::Corrupt("memory"))?, Instant::now());
        Ok(Self { gateway, store, pending: HashMap::new(), failed: false })
    }

    /// Until it is told to stop, and once more then.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut often = interval(OFTEN);
        often.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let stops = tokio::select! {
                _ = often.tick() => false,
                _ = &mut stop => true,
            };
            let kept = tokio::task::spawn_blocking(move || {
                self.keep();
                self
            });
            match kept.await {
                Ok(kept) if stops => {
                    if !kept.pending.is_empty() {
                        tracing::error!(
                            "what was used and seen last is not kept: a gateway that starts anew does not know of it"
                        );
                    }
                    return;
                }
                Ok(kept) => self = kept,
                Err(error) => {
                    tracing::error!(%error, "what is used and seen is not kept any more");
                    return;
                }
            }
        }
    }

    /// What cannot be written, as when the disk is full, is tried again.
    fn keep(&mut self) {
        let changed = self.gateway.take_memories(Instant::now()).into_iter().map(stored);
        self.pending.extend(changed.map(|memory| (memory.key.clone(), memory)));
        if self.pending.is_empty() {
            return;
        }
        match self.store.keep_memories(self.pending.values()) {
            Ok(()) => {
                self.pending = HashMap::new();
                self.failed = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    tracing::error!(%error, "what has been used and seen cannot be kept: a gateway that starts anew does not know of it");
                }
            }
        }
    }
}

const BUDGET: &str = "budget";
const FILTERS: &str = "filters";
const SEEN: &str = "seen";

fn stored(memory: Memory) -> StoredMemory {
    let Memory { of, began, until } = memory;
    let key = |kind: &str, name: Arc<str>, who: Option<PrincipalKey>| {
        let PrincipalKey { issuer, subject } = who.unwrap_or_else(|| PrincipalKey::new("", ""));
        (kind.into(), name, issuer, subject)
    };
    let (key, amounts) = match of {
        MemoryOf::Budget { name, holder, used } => {
            let Used { requests, input, output, cost, rows, bytes } = used;
            (key(BUDGET, name, holder), vec![requests, input, output, cost, rows, bytes])
        }
        MemoryOf::Filters { who, statements } => (key(FILTERS, "".into(), Some(who)), vec![statements.into()]),
        MemoryOf::Seen { who, label } => (key(SEEN, label, Some(who)), Vec::new()),
    };
    StoredMemory { key, began, until, amounts }
}

fn read(memory: StoredMemory) -> Option<Memory> {
    let StoredMemory { key: (kind, name, issuer, subject), began, until, amounts } = memory;
    let who = PrincipalKey { issuer, subject };
    let of = match (&*kind, &amounts[..]) {
        (BUDGET, &[requests, input, output, cost, rows, bytes]) => {
            let holder = Some(who).filter(|who| !who.issuer.is_empty());
            MemoryOf::Budget { name, holder, used: Used { requests, input, output, cost, rows, bytes } }
        }
        (FILTERS, &[statements]) => MemoryOf::Filters { who, statements: u32::try_from(statements).ok()? },
        (SEEN, []) => MemoryOf::Seen { who, label: name },
        _ => return None,
    };
    Some(Memory { of, began, until })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use claviger_model::Timestamp;

    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let alice = PrincipalKey::new("local", "alice");
        let used = Used { requests: 1, input: 2, output: 3, cost: 4, rows: 5, bytes: u64::MAX };
        for of in [
            MemoryOf::Budget { name: "a-day".into(), holder: Some(alice.clone()), used },
            MemoryOf::Budget { name: "a-day".into(), holder: None, used },
            MemoryOf::Filters { who: alice.clone(), statements: u32::MAX },
            MemoryOf::Seen { who: alice, label: "pii".into() },
        ] {
            let memory = Memory { of, began: Timestamp::from_secs(1), until: Timestamp::from_secs(2) };
            assert_eq!(read(stored(memory.clone())), Some(memory));
        }
    }
}
