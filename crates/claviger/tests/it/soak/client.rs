//! A client that costs its test next to nothing, so that there can be thousands: frames over a plain socket.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{frame, startup_packet, terminated};

/// A connection on which nothing has been said.
pub(super) async fn connect(port: u16) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// A session, logged in.
pub(super) async fn enter(port: u16, database: &str, token: &str) -> io::Result<TcpStream> {
    let mut socket = connect(port).await?;
    socket.write_all(&startup_packet(&[("user", "soak"), ("database", database)])).await?;
    if message(&mut socket).await?.0 != b'R' {
        return Err(io::Error::other("no password was asked for"));
    }
    socket.write_all(&frame(b'p', &terminated(token))).await?;
    until_ready(&mut socket).await?;
    Ok(socket)
}

/// The value in the first row of a query.
pub(super) async fn value(socket: &mut TcpStream, query: &str) -> io::Result<String> {
    ask(socket, query).await?;
    let mut value = None;
    loop {
        match message(socket).await? {
            (b'D', row) => value = value.or_else(|| row.get(6..).map(|text| String::from_utf8_lossy(text).into_owned())),
            (b'Z', _) => return value.ok_or_else(|| io::Error::other("no row")),
            (b'E', error) => return Err(io::Error::other(String::from_utf8_lossy(&error).into_owned())),
            _ => {}
        }
    }
}

/// Asks without waiting for an answer.
pub(super) async fn ask(socket: &mut TcpStream, query: &str) -> io::Result<()> {
    socket.write_all(&frame(b'Q', &terminated(query))).await
}

/// Passes over messages up to the server's readiness. An error is one.
pub(super) async fn until_ready(socket: &mut TcpStream) -> io::Result<()> {
    loop {
        match message(socket).await? {
            (b'Z', _) => return Ok(()),
            (b'E', error) => return Err(io::Error::other(String::from_utf8_lossy(&error).into_owned())),
            _ => {}
        }
    }
}

/// The next message: its type and body.
pub(super) async fn message(socket: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let kind = socket.read_u8().await?;
    let length = usize::try_from(socket.read_u32().await?).unwrap();
    let mut body = vec![0; length.checked_sub(4).ok_or(io::ErrorKind::InvalidData)?];
    socket.read_exact(&mut body).await?;
    Ok((kind, body))
}

/// Reads whatever comes until the other side has gone; how many bytes that was.
pub(super) async fn until_end(socket: &mut (impl AsyncReadExt + Unpin)) -> u64 {
    let mut block = vec![0; 64 * 1024];
    let mut bytes = 0;
    while let Ok(count @ 1..) = socket.read(&mut block).await {
        bytes += count as u64;
    }
    bytes
}
