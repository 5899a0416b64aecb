//! The upstream's socket: opened, or taken from those that other sessions have left; replaced if it is lost while nothing has left by it;
//! and left to others.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use claviger_model::{Refusal, RefusalKind, Secret};
use claviger_protocols::Side;
use claviger_session::{Connection, TlsFacts};
use tokio::time::{timeout, timeout_at};

use super::{Driver, FAREWELL, drain, facts};
use crate::credential;
use crate::kept::Kept;
use crate::leg::{Leg, Socket};

/// How far the upstream's socket has come.
#[derive(Default)]
pub(super) struct Opening {
    connecting: Option<Connecting>,
    /// What came of TLS in it.
    secured: Option<TlsFacts>,
    /// Whether another session has used it before.
    reused: bool,
    /// It was lost, and another is opened when there is something to be written: this, if anything.
    lost: Option<VecDeque<Bytes>>,
    reopening: Option<Reopening>,
}

type Connecting = Pin<Box<dyn Future<Output = Result<(Kept, bool, Option<Secret>), Refusal>> + Send>>;
type Reopening = Pin<Box<dyn Future<Output = Result<Kept, Refusal>> + Send>>;

impl Driver {
    pub(super) fn connect(&mut self, connection: Arc<Connection>) {
        self.connection = Some(Arc::clone(&connection));
        let upstreams = Arc::clone(&self.upstreams);
        self.opening.connecting = Some(Box::pin(async move {
            let password = credential::find(&connection).await?;
            if let Some(kept) = upstreams.kept.take(&connection).await {
                return Ok((kept, true, password));
            }
            if connection.http2 {
                return Ok((upstreams.open_stream(&connection).await?, false, password));
            }
            let (stream, registered) = upstreams.open(&connection).await?;
            Ok((Kept { socket: Socket::Plain(stream), registered: Some(registered), secured: None }, false, password))
        }));
    }

    pub(super) fn poll_connecting(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(connecting) = &mut self.opening.connecting else { return self.poll_reopening(cx) };
        let Poll::Ready(result) = connecting.as_mut().poll(cx) else { return false };
        self.opening.connecting = None;
        let password = result.map(|(kept, reused, password)| {
            self.registered = kept.registered;
            self.upstream = Some(Leg::new(kept.socket));
            (self.opening.secured, self.opening.reused) = (kept.secured, reused);
            password
        });
        self.pipeline.connected(password, std::time::Instant::now());
        true
    }

    pub(super) async fn start_upstream_tls(&mut self) {
        if let Some(facts) = self.opening.secured.clone() {
            // An earlier session of this socket has done that.
            return self.pipeline.tls_started(Side::Upstream, facts);
        }
        let deadline = self.deadline();
        if timeout_at(deadline, self.flush(Side::Upstream)).await.is_err() {
            return self.pipeline.handle_eof(Side::Upstream);
        }
        let stream = self.upstream.take().and_then(Leg::into_plain);
        let (Some(connection), Some((stream, _))) = (self.connection.clone(), stream) else {
            return self.pipeline.handle_eof(Side::Upstream);
        };
        let refusal = match timeout_at(deadline, self.upstreams.start_tls(&connection, stream)).await {
            Ok(Ok(stream)) => {
                let facts = facts(stream.get_ref().1);
                self.upstream = Some(Leg::new(Socket::Opened(Box::new(stream))));
                self.opening.secured = Some(facts.clone());
                return self.pipeline.tls_started(Side::Upstream, facts);
            }
            Ok(Err(refusal)) => refusal,
            Err(_) => Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream took too long"),
        };
        self.pipeline.connected(Err(refusal), std::time::Instant::now());
    }

    /// The upstream's socket is lost. True if nothing that was asked has left by it, so that another will do, when there is something to be
    /// written: it may have waited for people for long, or closed as it was taken from those that were kept.
    pub(super) fn sets_upstream_aside(&mut self) -> bool {
        let is_stale = |leg: &Leg| self.opening.reused && leg.is_unused();
        if !(self.pipeline.may_reopen() || self.upstream.as_ref().is_some_and(is_stale)) {
            return false;
        }
        let Some(leg) = self.upstream.take() else { return false };
        (self.opening.lost, self.opening.reused, self.registered) = (Some(leg.into_unsent()), false, None);
        true
    }

    /// Opens another socket in place of one that was lost, if there is something to be written to it.
    pub(super) fn reopen(&mut self) -> bool {
        let Some(unsent) = &mut self.opening.lost else { return false };
        if self.opening.reopening.is_some() {
            return false;
        }
        if unsent.is_empty() {
            unsent.extend(self.pipeline.poll_transmit(Side::Upstream));
        }
        let Some(connection) = self.connection.clone().filter(|_| !unsent.is_empty()) else { return false };
        let (upstreams, inside_tls) = (Arc::clone(&self.upstreams), self.opening.secured.is_some());
        self.opening.reopening = Some(Box::pin(async move {
            match connection.http2 {
                true => upstreams.open_stream(&connection).await,
                false => upstreams.open_ready(&connection, inside_tls).await,
            }
        }));
        true
    }

    fn poll_reopening(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(reopening) = &mut self.opening.reopening else { return false };
        let Poll::Ready(result) = reopening.as_mut().poll(cx) else { return false };
        self.opening.reopening = None;
        let unsent = self.opening.lost.take().unwrap_or_default();
        match result {
            Ok(Kept { socket, registered, .. }) => {
                let mut leg = Leg::new(socket);
                unsent.into_iter().for_each(|bytes| leg.queue(bytes));
                (self.upstream, self.registered) = (Some(leg), registered);
            }
            Err(_) => self.pipeline.handle_eof(Side::Upstream),
        }
        true
    }

    /// Leaves the upstream's socket to other sessions, or closes it. Where others wait for the upstream, waits until it has seen the end
    /// too: only then does it bear another session.
    pub(super) async fn leave_upstream(&mut self) {
        let Some(mut leg) = self.upstream.take() else { return };
        if self.pipeline.is_awaited() {
            let _ = timeout(FAREWELL, async {
                poll_fn(|cx| leg.poll_shutdown(cx)).await;
                drain(&mut leg).await;
            })
            .await;
        }
        let (registered, secured) = (self.registered.take(), self.opening.secured.take());
        if self.pipeline.leaves_upstream()
            && registered.is_some()
            && let (Some(connection), Some(socket)) = (self.connection.clone(), leg.into_spare())
        {
            self.upstreams.kept.keep(connection, Kept { socket, registered, secured });
        }
        self.pipeline.left_upstream();
    }
}
