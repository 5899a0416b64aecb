//! Sockets to upstreams that a session has left and another may take: that saves opening one, and TLS with it.
//!
//! A socket stays on the thread on which it was opened. While it waits it is looked after by a task: when the upstream closes it, or says
//! something though nothing was asked, it is nobody's any more.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::{self, ThreadId};
use std::time::Duration;

use claviger_model::ConnectionName;
use claviger_session::{Connection, TlsFacts};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::leg::Socket;
use crate::upstream::Registered;

/// How long a socket waits for a session.
const KEPT: Duration = Duration::from_secs(30);
/// How many of one connection wait on one thread.
const MOST: usize = 32;
/// How long an upstream may take to see that a socket is not wanted any more.
const FAREWELL: Duration = Duration::from_secs(1);

/// A socket to an upstream.
pub(crate) struct Kept {
    pub(crate) socket: Socket,
    /// None if it is a stream of a socket that others use too.
    pub(crate) registered: Option<Registered>,
    /// What came of TLS, inside which it is then.
    pub(crate) secured: Option<TlsFacts>,
}

/// The sockets that wait.
#[derive(Default)]
pub(crate) struct Keeper(Mutex<HashMap<(ThreadId, ConnectionName), Vec<Waiting>>>);

/// A socket that waits, as its task knows it.
struct Waiting {
    /// What it was opened for: a changed connection is another.
    connection: Arc<Connection>,
    wanted: oneshot::Sender<oneshot::Sender<Kept>>,
}

impl Keeper {
    /// Keeps a socket for sessions of this connection on this thread, for a while.
    pub(crate) fn keep(&self, connection: Arc<Connection>, kept: Kept) {
        let (wanted, asked) = oneshot::channel();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = all.entry((thread::current().id(), connection.name.clone())).or_default();
        waiting.retain(|waiting| !waiting.wanted.is_closed());
        if waiting.len() < MOST {
            waiting.push(Waiting { connection, wanted });
            tokio::spawn(rest(kept, asked));
        }
    }

    /// A socket that was kept for sessions of this connection on this thread, and is open: the one that was used last.
    pub(crate) async fn take(&self, connection: &Connection) -> Option<Kept> {
        loop {
            let Waiting { wanted, connection: opened_for } = self.pop(&connection.name)?;
            let (give, given) = oneshot::channel();
            if *opened_for == *connection
                && wanted.send(give).is_ok()
                && let Ok(kept) = given.await
            {
                return Some(kept);
            }
        }
    }

    /// Keeps none of those that wait.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn pop(&self, name: &ConnectionName) -> Option<Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&(thread::current().id(), name.clone()))?.pop()
    }
}

/// Looks after a socket until it is wanted, or of no use.
async fn rest(mut kept: Kept, asked: oneshot::Receiver<oneshot::Sender<Kept>>) {
    tokio::select! {
        biased;
        () = poll_fn(|cx| poll_read(&mut kept.socket, cx)) => return,
        asked = asked => if let Ok(give) = asked {
            // Whoever wanted it may have gone.
            match give.send(kept) {
                Ok(()) => return,
                Err(back) => kept = back,
            }
        },
        () = sleep(KEPT) => {}
    }
    let _ = timeout(FAREWELL, kept.socket.shutdown()).await;
}

/// Ready when anything comes, be it the end.
fn poll_read(socket: &mut Socket, cx: &mut Context<'_>) -> Poll<()> {
    let mut byte = [0];
    Pin::new(socket).poll_read(cx, &mut ReadBuf::new(&mut byte)).map(|_| ())
}
