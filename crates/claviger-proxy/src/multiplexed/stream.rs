//! One stream, over a socket in memory.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use claviger_protocols::http::{Answer, Kin, Part, StreamHead};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadBuf, WriteHalf};
use tokio::task::yield_now;
use tokio::time::timeout;

/// So much is read at once.
const READ: usize = 16 * 1024;

/// How long the rest of a request is taken after its answer.
const REST: Duration = Duration::from_secs(10);

/// The client's end of a socket in memory, between two streams.
pub(super) struct Vessel(DuplexStream);

/// What came of a stream.
pub(super) struct Carried {
    pub(super) fate: Fate,
    /// The socket with the kin of its last request, if it can be used again.
    pub(super) vessel: Option<(Kin, Vessel)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The client has all of the response.
    Answered,
    /// The response could not be had to its end.
    Cut,
    /// The client did not want it any more.
    Reset,
}

impl Vessel {
    pub(super) fn new(socket: DuplexStream) -> Self {
        Self(socket)
    }

    /// Ready when its session closes it. What it says though nothing was asked is the same as an end.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut byte = [0];
        Pin::new(&mut self.0).poll_read(cx, &mut ReadBuf::new(&mut byte)).map(|_| ())
    }
}

/// Sends a request into a socket and its response back.
pub(super) async fn carry(
    vessel: Vessel,
    head: StreamHead,
    content: RecvStream,
    respond: SendResponse<Bytes>,
    patience: Option<Duration>,
) -> Carried {
    let (mut read, mut write) = tokio::io::split(vessel.0);
    let (kin, is_head) = (head.kin.clone(), head.is_head);
    let (fate, closes, sent) = {
        let mut sending = pin!(send(&mut write, head, content));
        let mut answering = pin!(answer(&mut read, is_head, respond, patience));
        let mut sent = None;
        loop {
            tokio::select! {
                result = &mut sending, if sent.is_none() => match result {
                    Err(Unsent::ByClient) => break (Fate::Reset, true, false),
                    // Then the answer may be there already, or will not come.
                    result => sent = Some(result.is_ok()),
                },
                (fate, closes) = &mut answering => {
                    // Many clients do not hear an answer before they have sent all of their request: its session passes over the rest.
                    if fate == Fate::Answered && !closes && sent.is_none() {
                        sent = timeout(REST, &mut sending).await.ok().map(|sent| sent.is_ok());
                    }
                    break (fate, closes, sent == Some(true));
                }
            }
        }
    };
    let again = fate == Fate::Answered && sent && !closes;
    Carried { fate, vessel: again.then(|| (kin, Vessel(read.unsplit(write)))) }
}

/// Answers a request that no socket has.
pub(super) async fn refuse(refusal: Bytes, is_head: bool, respond: SendResponse<Bytes>) -> Carried {
    let (fate, _) = answer(&mut &*refusal, is_head, respond, Some(REST)).await;
    Carried { fate, vessel: None }
}

/// Why a request could not be sent.
enum Unsent {
    ByClient,
    /// The socket is closed.
    BySession,
}

impl From<io::Error> for Unsent {
    fn from(_: io::Error) -> Self {
        Self::BySession
    }
}

/// Sends a request, its content as it comes. Trailers are dropped.
async fn send(socket: &mut WriteHalf<DuplexStream>, head: StreamHead, mut content: RecvStream) -> Result<(), Unsent> {
    socket.write_all(&head.bytes).await?;
    while let Some(piece) = content.data().await {
        let piece = piece.map_err(|_| Unsent::ByClient)?;
        let length = piece.len();
        if head.is_chunked {
            for part in StreamHead::frame(Some(&piece)) {
                socket.write_all(&part).await?;
            }
        } else {
            socket.write_all(&piece).await?;
        }
        content.flow_control().release_capacity(length).map_err(|_| Unsent::ByClient)?;
    }
    content.trailers().await.map_err(|_| Unsent::ByClient)?;
    if head.is_chunked {
        for part in StreamHead::frame(None) {
            socket.write_all(&part).await?;
        }
    }
    Ok(())
}

/// The response as it is sent to the client.
enum Sending {
    Head(SendResponse<Bytes>),
    Content(SendStream<Bytes>),
    Ended,
}

/// Reads a response and sends it, as long as the client takes more of it in time. What became of it, and whether the socket is closed after it.
async fn answer<R: AsyncRead + Unpin>(
    socket: &mut R,
    is_head: bool,
    respond: SendResponse<Bytes>,
    patience: Option<Duration>,
) -> (Fate, bool) {
    let (mut answer, mut input, mut sending) = (Answer::new(is_head), BytesMut::new(), Sending::Head(respond));
    loop {
        match answer.take(&mut input) {
            Ok(Some(Part::End { closes })) => {
                return match sending.end() {
                    Ok(()) => (Fate::Answered, closes),
                    Err(_) => (Fate::Reset, true),
                };
            }
            Ok(Some(part)) => match sending.send(part, patience).await {
                Ok(next) => sending = next,
                Err(_) => return (Fate::Reset, true),
            },
            Ok(None) => {
                input.reserve(READ);
                let read = tokio::select! {
                    _ = poll_fn(|cx| sending.poll_reset(cx)) => return (Fate::Reset, true),
                    read = socket.read_buf(&mut input) => read,
                };
                if !matches!(read, Ok(1..)) {
                    // What is reset is not sent: what came before the end has its turn first.
                    yield_now().await;
                    sending.cut();
                    return (Fate::Cut, true);
                }
            }
            Err(_) => {
                sending.cut();
                return (Fate::Cut, true);
            }
        }
    }
}

impl Sending {
    /// Sends a part, when the client has room for it.
    async fn send(self, part: Part, patience: Option<Duration>) -> Result<Self, h2::Error> {
        match (self, part) {
            (Self::Head(mut respond), Part::Head { status, fields, ends }) => {
                let head = head(status, fields)?;
                if status < 200 {
                    respond.send_informational(head)?;
                    return Ok(Self::Head(respond));
                }
                let stream = respond.send_response(head, ends)?;
                Ok(if ends { Self::Ended } else { Self::Content(stream) })
            }
            (Self::Content(mut stream), Part::Content(mut content)) => {
                while !content.is_empty() {
                    stream.reserve_capacity(content.len());
                    let room = poll_fn(|cx| poll_room(&mut stream, cx));
                    let room = match patience {
                        Some(patience) => timeout(patience, room).await,
                        None => Ok(room.await),
                    };
                    let Ok(room) = room else {
                        stream.send_reset(Reason::CANCEL);
                        return Err(Reason::CANCEL.into());
                    };
                    let room = room?;
                    stream.send_data(content.split_to(room.min(content.len())), false)?;
                }
                Ok(Self::Content(stream))
            }
            (sending, _) => Ok(sending),
        }
    }

    /// Nothing follows.
    fn end(self) -> Result<(), h2::Error> {
        match self {
            Self::Content(mut stream) => stream.send_data(Bytes::new(), true),
            Self::Head(_) | Self::Ended => Ok(()),
        }
    }

    /// The rest cannot be had.
    fn cut(self) {
        match self {
            Self::Head(mut respond) => respond.send_reset(Reason::INTERNAL_ERROR),
            Self::Content(mut stream) => stream.send_reset(Reason::INTERNAL_ERROR),
            Self::Ended => {}
        }
    }

    /// Ready when the client does not want it any more.
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Head(respond) => respond.poll_reset(cx).map(|_| ()),
            Self::Content(stream) => stream.poll_reset(cx).map(|_| ()),
            Self::Ended => Poll::Pending,
        }
    }
}

/// How many bytes may be sent, at least one.
pub(super) fn poll_room(stream: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Poll<Result<usize, h2::Error>> {
    if stream.capacity() > 0 {
        return Poll::Ready(Ok(stream.capacity()));
    }
    loop {
        match stream.poll_capacity(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(0))) => {}
            Poll::Ready(Some(room)) => return Poll::Ready(room),
            Poll::Ready(None) => return Poll::Ready(Err(Reason::CANCEL.into())),
        }
    }
}

fn head(status: u16, fields: Vec<(String, Vec<u8>)>) -> Result<Response<()>, h2::Error> {
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::from_u16(status).map_err(|_| Reason::INTERNAL_ERROR)?;
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Reason::INTERNAL_ERROR)?;
        let value = HeaderValue::from_maybe_shared(Bytes::from(value)).map_err(|_| Reason::INTERNAL_ERROR)?;
        head.headers_mut().append(name, value);
    }
    Ok(head)
}
