//! One side's socket with its two bounded buffers.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{client, server};

/// The least that is read at once, and what an idle session may keep.
const SMALL_READ: usize = 8 * 1024;
/// The most that is read at once.
const LARGE_READ: usize = 128 * 1024;
/// No more is taken from the pipeline while so much waits to be written.
const WRITE_BUFFER: usize = 256 * 1024;
/// Slices in one write.
const SLICES: usize = 64;
/// Up to so many bytes are copied together before they are written: that costs less than a list of slices.
const SMALL_WRITE: usize = 2 * 1024;
/// How long a peer may say nothing until it is asked whether it is still there, and how long each of its answers may take.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(10));

thread_local! {
    /// The buffer of whoever has waited last on this thread, for the next one that has something to read.
    static SPARE: Cell<BytesMut> = Cell::default();
}

/// Sets a new socket up: small messages leave at once, and a peer that vanished without a word is noticed, as its session holds
/// locks upstream and a place here.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (idle, answer) = KEEPALIVE;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_interval(answer))
}

/// A socket, plain or inside TLS, or a stream inside one.
pub(crate) enum Socket {
    Plain(TcpStream),
    Accepted(Box<server::TlsStream<TcpStream>>),
    Opened(Box<client::TlsStream<TcpStream>>),
    Stream(DuplexStream),
}

/// A socket of which something has been read already.
pub(crate) struct Begun {
    socket: Socket,
    begun: BytesMut,
}

impl Begun {
    pub(crate) fn new(socket: Socket, begun: BytesMut) -> Self {
        Self { socket, begun }
    }
}

impl AsyncRead for Begun {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.begun.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        }
        let length = self.begun.len().min(buf.remaining());
        buf.put_slice(&self.begun.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Begun {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// One side's socket with what was read from it and not taken, and what is to be written to it.
pub(crate) struct Leg {
    socket: Socket,
    pub(crate) input: BytesMut,
    read_size: usize,
    output: VecDeque<Bytes>,
    queued: usize,
    /// Whether anything was written to it.
    used: bool,
    /// Whether bytes may be waiting inside the socket's own buffer.
    unflushed: bool,
    read_closed: bool,
    /// Whether reading ended with an error.
    lost: bool,
    write_closed: bool,
}

impl Leg {
    pub(crate) fn new(socket: Socket) -> Self {
        Self {
            socket,
            input: BytesMut::new(),
            read_size: SMALL_READ,
            output: VecDeque::new(),
            queued: 0,
            used: false,
            unflushed: false,
            read_closed: false,
            lost: false,
            write_closed: false,
        }
    }

    /// The plain socket, to be wrapped in TLS. `None` if it is already, or if plain bytes are left over, which TLS would hide.
    pub(crate) fn into_plain(self) -> Option<(TcpStream, BytesMut)> {
        self.into_begun().filter(|(_, begun)| begun.is_empty())
    }

    /// The plain socket with what has been read from it: the beginning of TLS.
    pub(crate) fn into_begun(self) -> Option<(TcpStream, BytesMut)> {
        match self.socket {
            Socket::Plain(stream) if self.output.is_empty() => Some((stream, self.input)),
            _ => None,
        }
    }

    /// The socket, and what was read from it and not taken. `None` if something is still to be written.
    pub(crate) fn into_socket(self) -> Option<(Socket, BytesMut)> {
        self.output.is_empty().then_some((self.socket, self.input))
    }

    /// The socket, if it is of use to others: nothing is left in it or for it, and neither side has closed it.
    pub(crate) fn into_spare(self) -> Option<Socket> {
        let is_open = self.can_read() && self.can_write();
        (is_open && self.is_flushed() && self.input.is_empty()).then_some(self.socket)
    }

    /// Whether nothing was ever written to it.
    pub(crate) fn is_unused(&self) -> bool {
        !self.used
    }

    /// What was to be written to it, of which nothing was.
    pub(crate) fn into_unsent(self) -> VecDeque<Bytes> {
        if self.used { VecDeque::new() } else { self.output }
    }

    /// Whether this is the protocol that a client has agreed on inside TLS.
    pub(crate) fn names(&self, alpn: &[u8]) -> bool {
        matches!(&self.socket, Socket::Accepted(stream) if stream.get_ref().1.alpn_protocol() == Some(alpn))
    }

    pub(crate) fn can_read(&self) -> bool {
        !self.read_closed
    }

    pub(crate) fn can_write(&self) -> bool {
        !self.write_closed
    }

    /// How many bytes wait to be written.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Reads once into the input buffer: how many bytes, none at the end. An error ends the reading like an end ([`Leg::is_lost`]).
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if self.input.capacity() == 0 {
            self.input = SPARE.take();
        }
        self.input.reserve(self.read_size);
        let Poll::Ready(result) = poll_read_into(&mut self.socket, cx, &mut self.input, self.read_size) else {
            if self.input.is_empty() {
                // An idle session keeps no buffer, nor does a thread keep a large one.
                let spare = std::mem::take(&mut self.input);
                if spare.capacity() <= 2 * SMALL_READ {
                    SPARE.set(spare);
                }
                self.read_size = SMALL_READ;
            }
            return Poll::Pending;
        };
        self.lost = result.is_err();
        let count = result.unwrap_or(0);
        self.read_closed = count == 0;
        if count == self.read_size {
            self.read_size = (self.read_size * 2).min(LARGE_READ);
        } else if count < self.read_size / 4 {
            self.read_size = (self.read_size / 2).max(SMALL_READ);
        }
        Poll::Ready(count)
    }

    /// Whether the reading has ended without the peer's saying so, as inside TLS without its last message.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether more may be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.queued < WRITE_BUFFER
    }

    pub(crate) fn queue(&mut self, bytes: Bytes) {
        if !(bytes.is_empty() || self.write_closed && self.used) {
            self.queued += bytes.len();
            self.output.push_back(bytes);
        }
    }

    /// Whether everything has been handed to the kernel.
    pub(crate) fn is_flushed(&self) -> bool {
        self.write_closed || (self.output.is_empty() && !self.unflushed)
    }

    /// Writes as much as the socket takes: whether that was anything, or an error, after which nothing more is written.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut wrote = false;
        while !self.output.is_empty() && !self.write_closed {
            match self.poll_write_some(cx) {
                Poll::Pending => return Ok(wrote),
                Poll::Ready(Ok(())) => wrote = true,
                Poll::Ready(Err(error)) => {
                    self.write_closed = true;
                    // What was not even begun may be for another socket.
                    if self.used {
                        self.output.clear();
                        self.queued = 0;
                    }
                    return Err(error);
                }
            }
        }
        if self.unflushed && Pin::new(&mut self.socket).poll_flush(cx).is_ready() {
            self.unflushed = false;
        }
        Ok(wrote)
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.socket).poll_shutdown(cx).map(|_| ())
    }

    fn poll_write_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = ready!(if self.queued <= SMALL_WRITE { self.poll_write_small(cx) } else { self.poll_write_slices(cx) })?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.used = true;
        self.unflushed = !matches!(self.socket, Socket::Plain(_));
        self.advance(written);
        Poll::Ready(Ok(()))
    }

    fn poll_write_small(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut small = [0; SMALL_WRITE];
        let mut filled = 0;
        for bytes in &self.output {
            let Some(place) = small.get_mut(filled..filled + bytes.len()) else { break };
            place.copy_from_slice(bytes);
            filled += bytes.len();
        }
        Pin::new(&mut self.socket).poll_write(cx, small.get(..filled).unwrap_or_default())
    }

    fn poll_write_slices(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(&self.output) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices.get(..count).unwrap_or_default())
    }

    fn advance(&mut self, mut written: usize) {
        self.queued = self.queued.saturating_sub(written);
        while let Some(front) = self.output.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.output.pop_front();
        }
    }
}

/// Reads at most `most` bytes into the spare room of a buffer, without filling that room with zeros first.
fn poll_read_into(socket: &mut Socket, cx: &mut Context<'_>, buffer: &mut BytesMut, most: usize) -> Poll<io::Result<usize>> {
    let mut room = buffer.limit(most);
    let read = std::pin::pin!(socket.read_buf(&mut room));
    read.poll(cx)
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Accepted(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Opened(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Stream(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Accepted(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Opened(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Stream(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Accepted(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Opened(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Stream(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Accepted(stream) => Pin::new(stream).poll_flush(cx),
            Self::Opened(stream) => Pin::new(stream).poll_flush(cx),
            Self::Stream(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Accepted(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Opened(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Stream(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_peer_that_vanished_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        prepare(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && stream.nodelay().unwrap());
        assert_eq!((socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap()), KEEPALIVE);
    }
}
