//! The threads that drive sessions.
//!
//! Each thread has a runtime of its own, and a session stays on one thread from its first byte to its last: its two sockets wake
//! nobody else, and nothing is handed from core to core while it runs. A new client goes to the thread with the fewest sessions.

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use claviger_session::{Desk, Gateway};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, oneshot};

/// The threads that drive sessions. Dropping them drops the sessions that are left.
pub struct Workers {
    workers: Vec<Worker>,
    ended: Arc<Notify>,
}

struct Worker {
    runtime: Handle,
    desk: Arc<Desk>,
    sessions: Arc<AtomicUsize>,
    /// Dropped to stop the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Workers {
    /// Starts so many threads for the sessions of a gateway.
    pub fn start(count: NonZeroUsize, gateway: &Gateway) -> io::Result<Self> {
        let ended = Arc::new(Notify::new());
        let workers = (0..count.get()).map(|number| Worker::start(number, gateway, &ended)).collect::<io::Result<_>>()?;
        Ok(Self { workers, ended })
    }

    /// Resolves when a thread has ended by itself, and all its sessions with it, as nothing but a defect of ours makes it.
    pub async fn failed(&self) {
        self.ended.notified().await;
    }

    /// Waits until no session is left, for so long at most: a session that has ended may still have last words to say, and
    /// something to cancel. How many are left.
    pub async fn finish(&self, patience: Duration) -> usize {
        const LOOK: Duration = Duration::from_millis(10);
        let sessions = || self.workers.iter().map(|worker| worker.sessions.load(Ordering::Relaxed)).sum::<usize>();
        let finished = async {
            while sessions() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(patience, finished).await {
            Ok(()) => 0,
            Err(_) => sessions(),
        }
    }

    /// Gives a session to the thread that has the fewest. It is made there, so that its sockets belong to that thread.
    pub(crate) fn spawn<F>(&self, session: impl FnOnce(Arc<Desk>) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send,
    {
        let Some(worker) = self.workers.iter().min_by_key(|worker| worker.sessions.load(Ordering::Relaxed)) else { return };
        let (place, desk) = (Place::take(&worker.sessions), Arc::clone(&worker.desk));
        worker.runtime.spawn(async move {
            session(desk).await;
            drop(place);
        });
    }
}

impl Worker {
    fn start(number: usize, gateway: &Gateway, ended: &Arc<Notify>) -> io::Result<Self> {
        let desk = Arc::new(gateway.desk());
        // The desk knows tasks of the runtime, so the runtime must not hold the desk.
        let resting = Arc::downgrade(&desk);
        let rest = move || resting.upgrade().iter().for_each(|desk| desk.rest());
        let runtime = Builder::new_current_thread().enable_all().on_thread_park(rest).build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let (gatherer, ended) = (Arc::clone(&desk), Arc::clone(ended));
        let thread = thread::Builder::new().name(format!("sessions-{number}")).spawn(move || {
            runtime.block_on(async {
                // A task like the sessions, so that it has its turn after those that are ready.
                let gathering = tokio::spawn(async move { gatherer.gather().await });
                tokio::select! {
                    _ = stopped => {}
                    // Without it nothing is recorded any more, and so nothing passes.
                    _ = gathering => ended.notify_one(),
                }
            });
        })?;
        Ok(Self { runtime: handle, desk, sessions: Arc::default(), stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a thread that drives sessions panicked");
        }
    }
}

/// One session's place on a thread.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(sessions: &Arc<AtomicUsize>) -> Self {
        sessions.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(sessions))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
