//! A shortcut for opening: the tree and what is open at a checkpoint, so that a long log need not be read again.
//!
//! It is believed only if the log's key signed its root. What is open is not covered by that; a verifier finds an operation
//! that was left without an outcome.

use std::io;
use std::path::Path;

use claviger_audit::checkpoint::{Checkpoint, VerifierKey};
use claviger_audit::hex;
use claviger_audit::merkle::Frontier;
use claviger_model::{BootId, OpId, SessionId};
use serde::{Deserialize, Serialize};

use super::notes::replace;
use super::open_set::OpenSet;

/// A place in a sequence of files.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) file: u64,
    pub(super) offset: u64,
}

/// Everything as it was at one moment.
#[derive(Clone)]
pub(super) struct State {
    pub(super) boot: BootId,
    pub(super) tree: Frontier,
    pub(super) open: OpenSet,
    pub(super) log: Place,
    pub(super) recording: Place,
}

impl State {
    pub(super) fn checkpoint(&self) -> Checkpoint {
        Checkpoint { size: self.tree.size(), root: self.tree.root() }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    checkpoint: String,
    boot: String,
    peaks: Vec<String>,
    log: Place,
    recording: Place,
    sessions: Vec<SessionId>,
    operations: Vec<(SessionId, OpId)>,
}

/// Writes the state with the checkpoint over it.
pub(super) fn write(dir: &Path, state: &State, note: &str) -> io::Result<()> {
    let file = File {
        checkpoint: note.to_owned(),
        boot: state.boot.to_string(),
        peaks: state.tree.peaks().iter().map(|peak| hex::encode(peak)).collect(),
        log: state.log,
        recording: state.recording,
        sessions: state.open.sessions.iter().copied().collect(),
        operations: state.open.operations.iter().copied().collect(),
    };
    replace(&dir.join("state"), &serde_json::to_vec(&file)?)
}

/// Reads the state, if there is one and it holds.
pub(super) fn read(dir: &Path, key: &VerifierKey) -> Option<State> {
    let file: File = serde_json::from_slice(&std::fs::read(dir.join("state")).ok()?).ok()?;
    let signed = key.open(&file.checkpoint).ok()?;
    let peaks = file.peaks.iter().map(|peak| hex::decode(peak)).collect::<Option<Vec<_>>>()?;
    let state = State {
        boot: hex::decode(&file.boot).map(BootId::new)?,
        tree: Frontier::from_parts(signed.size, peaks)?,
        open: OpenSet { sessions: file.sessions.into_iter().collect(), operations: file.operations.into_iter().collect() },
        log: file.log,
        recording: file.recording,
    };
    (state.checkpoint() == signed).then_some(state)
}
