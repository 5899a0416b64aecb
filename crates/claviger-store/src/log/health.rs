//! How the log is, for whoever watches over it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use claviger_model::{Histogram, Tally};

use super::replay::{LOG, RECORDING};
use super::{AuditLog, segment};

/// How the log is at this moment.
#[derive(Clone, Debug)]
pub struct LogHealth {
    /// Whether something new could be recorded now, and so admitted.
    pub admits: bool,
    /// Leaves in the log.
    pub leaves: u64,
    /// Those that are not on stable storage yet.
    pub unflushed: u64,
    /// How long the oldest of them has been waiting.
    pub unflushed_age: Duration,
    /// How long flushes took.
    pub flushes: Tally,
    /// Leaves under the last checkpoint of this run.
    pub signed: u64,
    /// Bytes of all files of leaves.
    pub log_bytes: u64,
    /// Bytes of all files of recordings.
    pub recording_bytes: u64,
    /// Bytes that are free in the file system of the log, for whoever is not root.
    pub free_bytes: u64,
}

impl AuditLog {
    /// How the log is. Reads directories, so it may block.
    pub fn health(&self) -> LogHealth {
        let (shared, lag) = (&self.shared, &self.shared.lag);
        let flushed = shared.flushed_leaves();
        // Read after what is flushed, which cannot be ahead of it.
        let leaves = shared.size().0;
        LogHealth {
            admits: shared.admits(),
            leaves,
            unflushed: leaves.saturating_sub(flushed),
            unflushed_age: lag.age(Instant::now()),
            flushes: lag.flushes.tally(),
            signed: shared.signed_leaves(),
            log_bytes: bytes(&shared.dirs.log, LOG),
            recording_bytes: bytes(&shared.dirs.recordings, RECORDING),
            free_bytes: rustix::fs::statvfs(&shared.dirs.audit).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize)),
        }
    }
}

fn bytes(dir: &Path, extension: &str) -> u64 {
    let length = |number| std::fs::metadata(segment::file_path(dir, number, extension)).map_or(0, |file| file.len());
    segment::numbers(dir, extension).unwrap_or_default().into_iter().map(length).sum()
}

/// How far stable storage lags behind. Times are microseconds after `start`, and one more, so that zero is none.
pub(super) struct Lag {
    start: Instant,
    /// The oldest leaf that no flush has begun on.
    waiting: AtomicU64,
    /// The oldest leaf of the flush under way.
    flushing: AtomicU64,
    flushes: Histogram,
}

impl Lag {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), waiting: AtomicU64::new(0), flushing: AtomicU64::new(0), flushes: Histogram::default() }
    }

    /// The first leaf after a flush was appended.
    pub(super) fn begins(&self) {
        let micros = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX - 1);
        self.waiting.store(micros + 1, Ordering::Relaxed);
    }

    /// A flush begins.
    pub(super) fn flush(&self) -> Instant {
        self.flushing.store(self.waiting.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        Instant::now()
    }

    /// It has succeeded. After one that failed, what it was to flush waits for ever.
    pub(super) fn flushed(&self, began: Instant) {
        self.flushing.store(0, Ordering::Relaxed);
        self.flushes.observe(began.elapsed());
    }

    fn age(&self, now: Instant) -> Duration {
        let since = |mark: &AtomicU64| match mark.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            mark => now.saturating_duration_since(self.start).saturating_sub(Duration::from_micros(mark - 1)),
        };
        since(&self.flushing).max(since(&self.waiting))
    }
}
