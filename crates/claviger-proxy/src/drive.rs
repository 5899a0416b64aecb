//! The loop that drives one session.

mod opening;

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use claviger_protocols::Side;
use claviger_session::{CancelTarget, Connection, Pipeline, Step, TlsFacts};
use rustls::{CommonState, ServerConnection};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use self::opening::Opening;
use crate::leg::{Leg, Socket};
use crate::listen::Door;
use crate::multiplexed::{self, Carrier};
use crate::places::Place;
use crate::upstream::Registered;
use crate::{Upstreams, cancel};

/// How often a session may take its turn before the others of its thread have theirs.
const TURNS: usize = 2;

/// So much is read of a client whose statement waits for people or the upstream, beyond what the pipeline wants: its end may come after that.
const AHEAD: usize = 1 << 20;

/// A client that takes nothing of its answer for so long is given up.
const STALL: Duration = Duration::from_secs(10);

/// How long a client may take to see the end of its session, and an upstream that of one for which others wait.
const FAREWELL: Duration = Duration::from_secs(1);

/// Drives one session from its first byte to its last.
pub(crate) struct Driver {
    pipeline: Pipeline,
    downstream: Option<Leg>,
    upstream: Option<Leg>,
    connection: Option<Arc<Connection>>,
    opening: Opening,
    cancelling: Option<JoinHandle<()>>,
    timer: Option<Pin<Box<Sleep>>>,
    /// What came of TLS with the client.
    secured: Option<TlsFacts>,
    /// Opens the pipeline of another session on the same socket, for a client that goes on when its session is over.
    door: Arc<Door>,
    upstreams: Arc<Upstreams>,
    /// Until the client is known.
    place: Option<Place>,
    /// Who else is to hear when it is.
    known: Option<Arc<AtomicBool>>,
    /// For as long as the upstream's socket is open.
    registered: Option<Registered>,
}

impl Driver {
    /// For a client on a socket, inside TLS if it was `secured`.
    pub(crate) fn new(pipeline: Pipeline, client: Socket, secured: Option<TlsFacts>, place: Place, door: Arc<Door>) -> Self {
        let upstreams = Arc::clone(&door.upstreams);
        Self {
            pipeline,
            downstream: Some(Leg::new(client)),
            upstream: None,
            connection: None,
            opening: Opening::default(),
            cancelling: None,
            timer: None,
            secured,
            door,
            upstreams,
            place: Some(place),
            known: None,
            registered: None,
        }
    }

    /// Has it told there when the client is known.
    pub(crate) fn telling(self, known: Arc<AtomicBool>) -> Self {
        Self { known: Some(known), ..self }
    }

    /// To the end, or until it is found that the socket carries many streams.
    pub(crate) async fn run(mut self) -> Option<Carrier> {
        loop {
            match poll_fn(|cx| self.poll_step(cx)).await {
                Step::StartTls(Side::Downstream) => {
                    self.accept_tls(false).await;
                    if self.downstream.as_ref().is_some_and(|leg| leg.names(multiplexed::ALPN)) {
                        return self.into_carrier();
                    }
                }
                Step::Multiplex => return self.into_carrier(),
                Step::DirectTls => self.accept_tls(true).await,
                Step::StartTls(Side::Upstream) => self.start_upstream_tls().await,
                Step::Connect(connection) => self.connect(connection),
                Step::Cancel(target) => self.cancel(target).await,
                Step::Close => {
                    if !(self.pipeline.leaves_client() && self.succeed().await) {
                        self.close().await;
                        return None;
                    }
                }
            }
        }
    }

    /// The client's socket for many streams, with what it has said already.
    fn into_carrier(mut self) -> Option<Carrier> {
        let deadline = self.deadline();
        let (socket, begun) = self.downstream.take()?.into_socket()?;
        Some(Carrier { socket, begun, secured: self.secured, place: self.place, door: self.door, deadline })
    }

    /// Reads, takes turns and writes until the session needs something of the driver.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        for _ in 0..TURNS {
            // Taken before reading, so that an operation's time here begins with its arrival.
            let now = std::time::Instant::now();
            let mut progress = self.poll_connecting(cx);
            progress |= self.poll_read(cx, Side::Downstream);
            progress |= self.poll_read(cx, Side::Upstream);
            if let Poll::Ready(step) = self.pipeline.poll(cx, now) {
                return Poll::Ready(step);
            }
            progress |= self.poll_write(cx, Side::Downstream);
            progress |= self.poll_write(cx, Side::Upstream);
            if self.pipeline.measures() {
                self.pipeline.written(std::time::Instant::now());
            }
            progress |= self.poll_place(cx);
            progress |= self.poll_timer(cx);
            if !progress {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Hands over what was read before, or reads once if nothing of that can be taken.
    fn poll_read(&mut self, cx: &mut Context<'_>, side: Side) -> bool {
        let leg = match side {
            Side::Downstream => self.downstream.as_mut(),
            Side::Upstream => self.upstream.as_mut(),
        };
        let Some(leg) = leg else { return false };
        if !leg.input.is_empty() && self.pipeline.wants_input(side) {
            let before = leg.input.len();
            self.pipeline.handle_input(side, &mut leg.input, 0);
            if leg.input.len() != before {
                return true;
            }
        }
        let wanted = self.pipeline.wants_input(side);
        let ahead = || side == Side::Downstream && self.pipeline.is_waiting() && leg.input.len() < AHEAD;
        if !leg.can_read() || !(wanted || ahead()) {
            return false;
        }
        let Poll::Ready(count) = leg.poll_read(cx) else { return false };
        let is_lost = leg.is_lost();
        match count {
            1.. if wanted => self.pipeline.handle_input(side, &mut leg.input, count),
            1.. => {}
            0 if side == Side::Upstream && self.sets_upstream_aside() => {}
            0 if is_lost => self.pipeline.handle_loss(side),
            0 => self.pipeline.handle_eof(side),
        }
        true
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, side: Side) -> bool {
        let leg = match side {
            Side::Downstream => self.downstream.as_mut(),
            Side::Upstream => self.upstream.as_mut(),
        };
        let Some(leg) = leg else { return side == Side::Upstream && self.reopen() };
        // What is taken for a peer that has gone moves too: it may be what the other side waits for.
        let mut moved = false;
        while leg.has_room()
            && let Some(bytes) = self.pipeline.poll_transmit(side)
        {
            moved = true;
            leg.queue(bytes);
        }
        match leg.poll_write(cx) {
            Ok(wrote) => wrote || moved,
            // It may have said something before it went, which is read first; then its end is found.
            Err(_) if side == Side::Upstream && leg.can_read() => true,
            Err(_) => {
                self.pipeline.handle_eof(side);
                true
            }
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = self.pipeline.deadline().map(Instant::from_std) else {
            self.timer = None;
            return false;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        if timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.timer = None;
        self.pipeline.handle_timeout(std::time::Instant::now());
        true
    }

    /// A client that is known needs no place among strangers; one that is not may lose it.
    fn poll_place(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(place) = &self.place else { return false };
        if self.pipeline.is_known() {
            self.place = None;
            self.known.iter().for_each(|known| known.store(true, Ordering::Relaxed));
            return false;
        }
        let Poll::Ready(code) = place.poll_evicted(cx) else { return false };
        self.place = None;
        self.pipeline.evict(code, std::time::Instant::now());
        true
    }

    /// A client's request to cancel has a connection of its own, whose end tells it that no later statement can be hit. A
    /// session that ends has its last words to say meanwhile.
    async fn cancel(&mut self, target: CancelTarget) {
        let sent = cancel::send(target, Arc::clone(&self.upstreams));
        match self.connection {
            None => sent.await,
            Some(_) => self.cancelling = Some(tokio::spawn(sent)),
        }
    }

    /// The client is silent until TLS has started, so nothing else needs watching meanwhile. One that began by itself must name
    /// the protocol: who speaks another one could be led here by a third.
    async fn accept_tls(&mut self, direct: bool) {
        if let Some(facts) = self.secured.clone() {
            // An earlier session of this socket has done that.
            return self.pipeline.tls_started(Side::Downstream, facts);
        }
        let deadline = self.deadline();
        if timeout_at(deadline, self.flush(Side::Downstream)).await.is_err() {
            return self.pipeline.handle_eof(Side::Downstream);
        }
        let plain = self.downstream.take().and_then(|leg| if direct { leg.into_begun() } else { leg.into_plain() });
        let (Some(config), Some((stream, begun))) = (self.door.tls(), plain) else {
            return self.pipeline.handle_eof(Side::Downstream);
        };
        let evicted = async {
            match &self.place {
                Some(place) => place.evicted().await,
                None => pending().await,
            }
        };
        let accepting = TlsAcceptor::from(config).accept_with(stream, |tls| begin(tls, &begun));
        let accepted = tokio::select! {
            accepted = timeout_at(deadline, accepting) => accepted.ok(),
            code = evicted => {
                self.pipeline.evict(code, std::time::Instant::now());
                None
            }
        };
        match accepted {
            Some(Ok(stream)) if !direct || stream.get_ref().1.alpn_protocol().is_some() => {
                let facts = facts(stream.get_ref().1);
                self.downstream = Some(Leg::new(Socket::Accepted(Box::new(stream))));
                self.secured = Some(facts.clone());
                self.pipeline.tls_started(Side::Downstream, facts);
            }
            Some(_) | None => self.pipeline.handle_eof(Side::Downstream),
        }
    }

    /// Makes way for another session on the client's socket. False if the client does not read its answer to the end, or goes.
    async fn succeed(&mut self) -> bool {
        let deadline = self.deadline();
        let _ = timeout_at(deadline, self.flush(Side::Upstream)).await;
        self.leave_upstream().await;
        if !self.answer_to_the_end().await {
            return false;
        }
        let Some(next) = self.door.next(self.secured.is_some()) else { return false };
        self.pipeline = next;
        (self.connection, self.opening, self.timer, self.place) = (None, Opening::default(), None, None);
        true
    }

    /// Writes all that is left for the client, for as long as it reads. False if it does not, or has gone.
    async fn answer_to_the_end(&mut self) -> bool {
        let mut left = None;
        loop {
            let flushed = timeout(STALL, self.flush(Side::Downstream)).await.is_ok();
            let Some(leg) = self.downstream.as_ref().filter(|leg| leg.can_write()) else { return false };
            if flushed {
                return true;
            }
            if left.replace(leg.queued()) == Some(leg.queued()) {
                return false;
            }
        }
    }

    /// Writes what is left on both sides, for as long as the session lingers, and stays until what runs upstream is cancelled. What
    /// the session holds upstream is given up at once: it does not wait for a client that reads slowly, or not at all.
    async fn close(mut self) {
        let deadline = self.deadline();
        let _ = timeout_at(deadline, self.flush(Side::Upstream)).await;
        self.leave_upstream().await;
        if !self.pipeline.is_ended() {
            // It is an answer that is left, and not an end that the client did not want.
            self.answer_to_the_end().await;
        }
        let deadline = deadline.max(Instant::now() + FAREWELL);
        let _ = timeout_at(deadline, async {
            self.flush(Side::Downstream).await;
            if let Some(leg) = &mut self.downstream {
                poll_fn(|cx| leg.poll_shutdown(cx)).await;
                // A socket that is closed with bytes unread is reset, and its last words may be lost with it.
                let _ = timeout(FAREWELL, drain(leg)).await;
            }
        })
        .await;
        self.downstream = None;
        if let Some(cancelling) = self.cancelling.take() {
            // It has a deadline of its own.
            _ = cancelling.await;
        }
    }

    /// Writes until everything for one side is written. Both are written side by side: one that does not read keeps nothing from
    /// the other.
    async fn flush(&mut self, side: Side) {
        poll_fn(|cx| {
            self.poll_write(cx, Side::Upstream);
            self.poll_write(cx, Side::Downstream);
            let leg = match side {
                Side::Downstream => self.downstream.as_ref(),
                Side::Upstream => self.upstream.as_ref(),
            };
            if leg.is_none_or(Leg::is_flushed) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn deadline(&self) -> Instant {
        self.pipeline.deadline().map_or_else(Instant::now, Instant::from_std)
    }
}

/// Hands over the first bytes of TLS that were read as plain ones. What is wrong with them, the handshake will find again and say.
fn begin(tls: &mut ServerConnection, mut begun: &[u8]) {
    while !begun.is_empty() {
        if !matches!(tls.read_tls(&mut begun), Ok(1..)) || tls.process_new_packets().is_err() {
            return;
        }
    }
}

/// Reads to the other side's end, and keeps nothing.
async fn drain(leg: &mut Leg) {
    let mut read = |cx: &mut Context<'_>| {
        leg.input.clear();
        leg.poll_read(cx)
    };
    while poll_fn(&mut read).await > 0 {}
}

pub(crate) fn facts(tls: &CommonState) -> TlsFacts {
    let version = match tls.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2".into(),
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3".into(),
        _ => "TLS".into(),
    };
    let certificates = tls.peer_certificates().unwrap_or_default();
    TlsFacts { version, certificates: certificates.iter().map(|certificate| Bytes::copy_from_slice(certificate)).collect() }
}
