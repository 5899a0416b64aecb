//! A client's socket that carries many streams, as HTTP/2 has them (RFC 9113).
//!
//! Each stream runs over a socket in memory, on which the sessions of any other socket run, with the same driver, protocol and
//! pipeline. A stream takes such a socket where the last request was of the same kin, so that one session carries many requests;
//! else it has a new one. Nothing of identity, deciding or recording is here, nor is any request read here but to give it to a socket.

mod outward;
mod stream;

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use claviger_protocols::http::{Asked, Kin, StreamHead};
use claviger_session::TlsFacts;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

pub(crate) use self::outward::Shared;
use self::stream::{Carried, Fate, Vessel};
use crate::drive::Driver;
use crate::leg::{Begun, Socket};
use crate::listen::Door;
use crate::places::Place;

/// The protocol's name inside TLS.
pub(crate) const ALPN: &[u8] = b"h2";

/// Streams of one socket at the same time: it says so to its client, who is to wait with more.
const STREAMS: usize = 128;
/// Sockets in memory, of those and of streams that have ended.
const SOCKETS: usize = 2 * STREAMS;
/// Streams that a client may have reset before they were looked at, and others that it has reset before they were answered, less those
/// that were. Who resets more only makes work.
const EARLY_RESETS: usize = 20;
const RESETS: usize = 100;
/// Bytes of content that a client may send ahead in one stream, and in all together.
const STREAM_WINDOW: u32 = 128 * 1024;
const WINDOW: u32 = 2 << 20;
/// Bytes of a response that may wait for the client in one stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Bytes in a socket in memory, each way.
const PIPE: usize = 32 * 1024;
/// How long a client may take to see the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// A client's socket that is to carry many streams.
pub(crate) struct Carrier {
    pub(crate) socket: Socket,
    /// What was read of it already.
    pub(crate) begun: BytesMut,
    pub(crate) secured: Option<TlsFacts>,
    pub(crate) place: Option<Place>,
    pub(crate) door: Arc<Door>,
    /// Until when the client must have begun.
    pub(crate) deadline: Instant,
}

/// What goes on in it.
struct Streams {
    secured: Option<TlsFacts>,
    /// Until somebody is known in one of its streams.
    place: Option<Place>,
    known: Arc<AtomicBool>,
    door: Arc<Door>,
    carried: JoinSet<Carried>,
    /// The sessions of the sockets in memory.
    drivers: JoinSet<()>,
    /// Sockets that no stream uses, and of what kin their last requests were; the one that was used last comes last.
    idle: Vec<(Kin, Vessel)>,
    resets: usize,
    /// When something last happened.
    stirred: Instant,
}

/// Why a carrier is at its end.
enum End {
    /// The client has gone, or has said what cannot be.
    Gone,
    /// It is given up, for this reason.
    GivenUp(Reason),
}

impl Carrier {
    /// Serves its streams, to the end of the last session.
    pub(crate) async fn serve(self) {
        let Self { socket, begun, secured, place, door, deadline } = self;
        let list = u32::try_from(door.limits().login).unwrap_or(u32::MAX);
        let handshake = settings(list).handshake::<_, Bytes>(Begun::new(socket, begun));
        let connection = tokio::select! {
            connection = timeout_at(deadline, handshake) => connection,
            _ = evicted(place.as_ref()) => return,
        };
        let Ok(Ok(mut connection)) = connection else { return };
        let mut streams = Streams {
            secured,
            place,
            known: Arc::default(),
            door,
            carried: JoinSet::new(),
            drivers: JoinSet::new(),
            idle: Vec::new(),
            resets: 0,
            stirred: Instant::now(),
        };
        if let End::GivenUp(reason) = streams.serve(&mut connection).await {
            connection.abrupt_shutdown(reason);
            let _ = timeout(FAREWELL, poll_fn(|cx| connection.poll_closed(cx))).await;
        }
        drop(connection);
        streams.end().await;
    }
}

fn settings(header_list: u32) -> Builder {
    let mut settings = Builder::new();
    settings.max_concurrent_streams(u32::try_from(STREAMS).unwrap_or(u32::MAX)).max_header_list_size(header_list);
    settings.initial_window_size(STREAM_WINDOW).initial_connection_window_size(WINDOW);
    settings.max_pending_accept_reset_streams(EARLY_RESETS).max_send_buffer_size(SEND_BUFFER);
    settings
}

/// A connection of HTTP/2.
type Carrying = Connection<Begun, Bytes>;

impl Streams {
    async fn serve(&mut self, connection: &mut Carrying) -> End {
        let mut stopping = false;
        loop {
            if self.known.load(Ordering::Relaxed) {
                self.place = None;
            }
            if !stopping && self.door.gateway.is_draining() {
                stopping = true;
                connection.graceful_shutdown();
            }
            let (is_full, deadline) = (self.is_full(), self.deadline());
            let idle = &mut self.idle;
            tokio::select! {
                accepted = poll_fn(|cx| {
                    idle.retain_mut(|(_, vessel)| vessel.poll_closed(cx).is_pending());
                    poll_accept(connection, is_full, cx)
                }) => match accepted {
                    Some(Ok((request, respond))) => self.begin(request, respond),
                    Some(Err(_)) | None => return End::Gone,
                },
                Some(carried) = self.carried.join_next() => {
                    self.stirred = Instant::now();
                    if carried.is_ok_and(|carried| !self.settle(carried)) {
                        return End::GivenUp(Reason::ENHANCE_YOUR_CALM);
                    }
                }
                Some(_) = self.drivers.join_next() => self.stirred = Instant::now(),
                _ = evicted(self.place.as_ref()) => match self.known.load(Ordering::Relaxed) {
                    true => self.place = None,
                    false => return End::GivenUp(Reason::ENHANCE_YOUR_CALM),
                },
                () = until(deadline) => return End::GivenUp(Reason::NO_ERROR),
            }
        }
    }

    /// Whether no more streams are taken for the moment.
    fn is_full(&self) -> bool {
        self.carried.len() >= STREAMS || self.drivers.len() >= SOCKETS
    }

    /// How long a client in which nothing goes on may be silent: as long as on any other socket between two sessions.
    fn deadline(&self) -> Option<Instant> {
        let nothing = self.carried.is_empty() && self.drivers.is_empty();
        nothing.then(|| self.stirred + self.door.gateway.rules().deadlines.login)
    }

    /// Gives a request to a socket.
    fn begin(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        self.stirred = Instant::now();
        let (parts, content) = request.into_parts();
        let fields = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let asked = Asked {
            method: parts.method.as_str(),
            authority: parts.uri.authority().map(http::uri::Authority::as_str),
            path: parts.uri.path_and_query().map(http::uri::PathAndQuery::as_str),
            ends: content.is_end_stream(),
        };
        match StreamHead::read(asked, fields) {
            Ok(head) => {
                let Some(vessel) = self.vessel(&head.kin) else {
                    let mut respond = respond;
                    return respond.send_reset(Reason::REFUSED_STREAM);
                };
                let patience = self.door.gateway.rules().deadlines.response;
                self.carried.spawn(stream::carry(vessel, head, content, respond, patience));
            }
            Err(refusal) => {
                self.carried.spawn(stream::refuse(refusal, parts.method == http::Method::HEAD, respond));
            }
        }
    }

    /// A socket for a request: of its kin, or a new one, or any.
    fn vessel(&mut self, kin: &Kin) -> Option<Vessel> {
        let own = self.idle.iter().rposition(|(other, _)| other == kin);
        let any = own.or_else(|| (self.idle.len() + self.carried.len() >= STREAMS && !self.idle.is_empty()).then_some(0));
        match any {
            Some(index) => Some(self.idle.remove(index).1),
            None => self.open(),
        }
    }

    /// A new socket in memory, with whoever drives its sessions.
    fn open(&mut self) -> Option<Vessel> {
        let pipeline = self.door.stream(self.secured.is_some())?;
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let (secured, place, door) = (self.secured.clone(), self.door.place(), Arc::clone(&self.door));
        let driver = Driver::new(pipeline, Socket::Stream(theirs), secured, place, door).telling(Arc::clone(&self.known));
        self.drivers.spawn(async move {
            driver.run().await;
        });
        Some(Vessel::new(ours))
    }

    /// A stream has ended. False if the client has reset too many.
    fn settle(&mut self, carried: Carried) -> bool {
        match carried.fate {
            Fate::Answered => self.resets = self.resets.saturating_sub(1),
            Fate::Cut => {}
            Fate::Reset => self.resets += 1,
        }
        self.idle.extend(carried.vessel);
        self.resets <= RESETS
    }

    /// Ends what is left, as the end of a socket ends its session, and waits for it.
    async fn end(mut self) {
        self.carried.shutdown().await;
        self.idle.clear();
        while self.drivers.join_next().await.is_some() {}
    }
}

type Accepted = Option<Result<(Request<RecvStream>, SendResponse<Bytes>), h2::Error>>;

/// Goes on with what is under way, and takes the next stream unless it is full.
fn poll_accept(connection: &mut Carrying, is_full: bool, cx: &mut Context<'_>) -> Poll<Accepted> {
    if is_full { connection.poll_closed(cx).map(|_| None) } else { connection.poll_accept(cx) }
}

async fn evicted(place: Option<&Place>) -> &'static str {
    match place {
        Some(place) => place.evicted().await,
        None => pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => pin!(sleep_until(deadline)).await,
        None => pending().await,
    }
}
