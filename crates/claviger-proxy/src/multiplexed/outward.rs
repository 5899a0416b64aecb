//! HTTP/2 with upstreams: one socket for all sessions of a thread that go to the same connection.
//!
//! A session has a socket in memory, into which it writes its requests in the words of HTTP/1.1; here they become streams.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread::{self, ThreadId};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use claviger_model::{ConnectionName, Refusal};
use claviger_protocols::http::{Requests, Sent, SentHead, StreamHead, response_head};
use claviger_session::{Connection, TlsFacts, UpstreamTlsPolicy};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{HeaderName, HeaderValue, Request, Uri, uri};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::time::{sleep, timeout};

use super::stream::poll_room;
use super::{ALPN, PIPE, SEND_BUFFER};
use crate::Upstreams;
use crate::kept::Kept;
use crate::leg::Socket;
use crate::upstream::{Registered, unavailable};

/// How long beginning may take.
const BEGIN: Duration = Duration::from_secs(5);
/// How long a socket stays that no session uses.
const IDLE: Duration = Duration::from_secs(30);
/// Bytes of content that an upstream may send ahead in one stream, and in all together.
const STREAM_WINDOW: u32 = 512 * 1024;
/// What one session does not take must not keep the others waiting: only its own stream has a bound.
const WINDOW: u32 = (1 << 31) - 1;
/// The longest list of header fields of a response.
const HEADERS: u32 = 256 * 1024;
/// Streams until an upstream has said how many it bears: more might be too many, for which some end the socket (RFC 9113, section 5.1.2).
const FIRST_STREAMS: usize = 1;
/// So much is read at once.
const READ: usize = 16 * 1024;

/// The sockets that sessions share.
#[derive(Default)]
pub(crate) struct Shared(Mutex<HashMap<(ThreadId, ConnectionName), Arc<Slot>>>);

/// The socket of one connection on one thread. Locked while it is opened, so that it is opened once.
type Slot = tokio::sync::Mutex<Option<Carrying>>;

/// A socket that carries streams.
#[derive(Clone)]
struct Carrying {
    /// What it was opened for: a changed connection is another.
    connection: Arc<Connection>,
    requests: SendRequest<Bytes>,
    secured: Option<TlsFacts>,
    /// Held by each session that uses it.
    used: Arc<()>,
}

/// A socket that was opened.
enum Opened {
    Carrying(Carrying),
    /// The upstream does not offer HTTP/2.
    Other(Kept),
}

impl Shared {
    /// What is open is for those that use it already.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn slot(&self, name: &ConnectionName) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry((thread::current().id(), name.clone())).or_default())
    }
}

impl Upstreams {
    /// A socket in memory, whose requests go through the socket that all sessions share; or a socket of its own, if the upstream does not
    /// offer HTTP/2.
    pub(crate) async fn open_stream(self: &Arc<Self>, connection: &Arc<Connection>) -> Result<Kept, Refusal> {
        match self.carrying(connection).await? {
            Opened::Other(kept) => Ok(kept),
            Opened::Carrying(carrying) => {
                let (ours, theirs) = tokio::io::duplex(PIPE);
                let secured = carrying.secured.clone();
                tokio::spawn(carry(theirs, carrying, Arc::clone(self)));
                Ok(Kept { socket: Socket::Stream(ours), registered: None, secured })
            }
        }
    }

    async fn carrying(&self, connection: &Arc<Connection>) -> Result<Opened, Refusal> {
        let slot = self.shared.slot(&connection.name);
        let mut open = slot.lock().await;
        if let Some(carrying) = open.as_ref().filter(|carrying| *carrying.connection == **connection)
            && carrying.is_open().await
        {
            return Ok(Opened::Carrying(carrying.clone()));
        }
        let inside_tls = connection.tls != UpstreamTlsPolicy::Disable;
        let Kept { socket, registered, secured } = self.open_ready(connection, inside_tls).await?;
        let is_offered = match &socket {
            Socket::Opened(stream) => stream.get_ref().1.alpn_protocol() == Some(ALPN),
            _ => true,
        };
        if !is_offered {
            return Ok(Opened::Other(Kept { socket, registered, secured }));
        }
        let begun = timeout(BEGIN, settings().handshake::<_, Bytes>(socket)).await;
        let begun = begun.map_err(|elapsed| unavailable(connection, &elapsed))?;
        let (requests, driven) = begun.map_err(|error| unavailable(connection, &error))?;
        let carrying = Carrying { connection: Arc::clone(connection), requests, secured, used: Arc::default() };
        *open = Some(carrying.clone());
        tokio::spawn(drive(driven, Arc::clone(&slot), Arc::clone(&carrying.used), registered));
        Ok(Opened::Carrying(carrying))
    }
}

fn settings() -> Builder {
    let mut settings = Builder::new();
    settings.enable_push(false).max_header_list_size(HEADERS).max_send_buffer_size(SEND_BUFFER);
    settings.initial_window_size(STREAM_WINDOW).initial_connection_window_size(WINDOW).initial_max_send_streams(FIRST_STREAMS);
    settings
}

/// Drives a socket, and gives it up when no session has used it for a while: it is closed with its last stream.
async fn drive(
    driven: impl Future<Output = Result<(), h2::Error>>,
    slot: Arc<Slot>,
    used: Arc<()>,
    _registered: Option<Registered>,
) {
    /// Here, and in the slot.
    const BY_NOBODY: usize = 2;
    let mut driven = pin!(driven);
    loop {
        tokio::select! {
            _ = &mut driven => return,
            () = sleep(IDLE) => {
                let mut open = slot.lock().await;
                let is_open = open.as_ref().is_some_and(|open| Arc::ptr_eq(&open.used, &used));
                if is_open && Arc::strong_count(&used) <= BY_NOBODY {
                    *open = None;
                }
            }
        }
    }
}

impl Carrying {
    /// Whether more can be asked, be it later: it has so many streams as its upstream bears.
    async fn is_open(&self) -> bool {
        let mut requests = self.requests.clone();
        poll_fn(|cx| Poll::Ready(!matches!(requests.poll_ready(cx), Poll::Ready(Err(_))))).await
    }
}

/// Why a session's socket is closed: the session has gone, or the upstream cannot go on.
struct Ended;

impl From<h2::Error> for Ended {
    fn from(_: h2::Error) -> Self {
        Self
    }
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// Carries a session's requests, one after the other, until either side ends. What ends in the middle is reset as its stream is dropped.
async fn carry(socket: DuplexStream, mut carrying: Carrying, upstreams: Arc<Upstreams>) {
    let (mut read, mut write) = tokio::io::split(socket);
    let mut session = Session { requests: Requests::default(), input: BytesMut::new() };
    while let Ok(Some(Sent::Head(head))) = session.next(&mut read).await {
        // Nothing has left yet, so another socket does as well.
        if !carrying.is_open().await {
            match upstreams.carrying(&carrying.connection).await {
                Ok(Opened::Carrying(other)) => carrying = other,
                Ok(Opened::Other(_)) | Err(_) => return,
            }
        }
        if exchange(&mut session, &mut read, &mut write, &head, &carrying).await.is_err() {
            return;
        }
    }
}

/// What a session writes.
struct Session {
    requests: Requests,
    input: BytesMut,
}

impl Session {
    /// The next part of what it writes; nothing at its end.
    async fn next(&mut self, read: &mut ReadHalf<DuplexStream>) -> Result<Option<Sent>, Ended> {
        loop {
            if let Some(part) = self.requests.take(&mut self.input).map_err(|_| Ended)? {
                return Ok(Some(part));
            }
            self.input.reserve(READ);
            if read.read_buf(&mut self.input).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// One request and its response.
async fn exchange(
    session: &mut Session,
    read: &mut ReadHalf<DuplexStream>,
    write: &mut WriteHalf<DuplexStream>,
    head: &SentHead,
    carrying: &Carrying,
) -> Result<(), Ended> {
    let scheme = if carrying.secured.is_some() { uri::Scheme::HTTPS } else { uri::Scheme::HTTP };
    let request = request(head, scheme).ok_or(Ended)?;
    let mut requests = carrying.requests.clone().ready().await?;
    let (response, content) = requests.send_request(request, head.ends)?;
    let mut answering = pin!(answer(response, write, &head.method));
    tokio::select! {
        biased;
        sent = send(session, read, content, head.ends) => sent?,
        answered = &mut answering => {
            // What is left of the request the session does not send when it has its answer.
            answered?;
            return Err(Ended);
        }
    }
    tokio::select! {
        answered = &mut answering => answered,
        // It asks for nothing before it has its answer, so this is its end: it takes its request along.
        _ = session.next(read) => Err(Ended),
    }
}

/// Sends the content of a request.
async fn send(
    session: &mut Session,
    read: &mut ReadHalf<DuplexStream>,
    mut content: SendStream<Bytes>,
    is_empty: bool,
) -> Result<(), Ended> {
    loop {
        match session.next(read).await? {
            Some(Sent::Content(mut piece)) => {
                while !piece.is_empty() {
                    content.reserve_capacity(piece.len());
                    let room = poll_fn(|cx| poll_room(&mut content, cx)).await?;
                    content.send_data(piece.split_to(room.min(piece.len())), false)?;
                }
            }
            Some(Sent::End) if is_empty => return Ok(()),
            Some(Sent::End) => return Ok(content.send_data(Bytes::new(), true)?),
            Some(Sent::Head(_)) | None => {
                content.send_reset(Reason::CANCEL);
                return Err(Ended);
            }
        }
    }
}

/// Writes a response as it comes. Trailers are dropped.
async fn answer(response: ResponseFuture, write: &mut WriteHalf<DuplexStream>, method: &str) -> Result<(), Ended> {
    let (parts, mut content) = response.await?.into_parts();
    let fields = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let (head, is_chunked) = response_head(parts.status.as_u16(), fields, method, content.is_end_stream());
    write.write_all(&head).await?;
    while let Some(piece) = content.data().await {
        let piece = piece?;
        let length = piece.len();
        if is_chunked {
            for part in StreamHead::frame(Some(&piece)) {
                write.write_all(&part).await?;
            }
        } else {
            write.write_all(&piece).await?;
        }
        content.flow_control().release_capacity(length)?;
    }
    content.trailers().await?;
    if is_chunked {
        for part in StreamHead::frame(None) {
            write.write_all(&part).await?;
        }
    }
    Ok(())
}

fn request(head: &SentHead, scheme: uri::Scheme) -> Option<Request<()>> {
    let uri = Uri::builder().scheme(scheme).authority(head.authority.as_str()).path_and_query(head.path.as_str()).build().ok()?;
    let mut request = Request::builder().method(head.method.as_str()).uri(uri).body(()).ok()?;
    for (name, value) in &head.fields {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(request)
}
