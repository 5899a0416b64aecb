//! A client's requests and a scripted server of HTTP/1.1.

use bytes::BytesMut;
use claviger_model::OpId;
use claviger_protocols::http::Http;
use claviger_protocols::{Auth, Limits, Protocol, ProtocolOptions};

use crate::conformance::{Subject, Upstream};

/// A server that answers by path: what has `fail` in it is an error, what ends with a number has so many bytes, and what has `stream` in it
/// comes in chunks.
#[derive(Debug, Default)]
pub struct HttpUpstream {
    input: BytesMut,
}

impl Upstream for HttpUpstream {
    fn receive(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.input.extend_from_slice(bytes);
        let mut answers = Vec::new();
        while let Some((head, content)) = message(&self.input) {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let length = head.len() + content;
            drop(self.input.split_to(length));
            answers.extend(answer(&path));
        }
        answers
    }
}

/// The answer of such a server.
pub fn answer(path: &str) -> Vec<u8> {
    if path.contains("fail") {
        return response(500, b"it failed");
    }
    if path.contains("stream") {
        return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n".to_vec();
    }
    let count = path.rsplit('/').next().and_then(|count| count.parse().ok());
    response(200, &count.map_or_else(|| b"done".to_vec(), |count| vec![b'x'; count]))
}

fn response(status: u16, content: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} Word\r\ncontent-length: {}\r\n\r\n", content.len());
    [head.as_bytes(), content].concat()
}

/// The head of the first message and the length of its content on the wire, if all of it is there.
fn message(bytes: &[u8]) -> Option<(String, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(bytes.get(..end)?).into_owned();
    let rest = bytes.get(end..)?;
    let value = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    if value("transfer-encoding").is_some() {
        return rest.windows(5).position(|window| window == b"0\r\n\r\n").map(|last| (head, last + 5));
    }
    let length = value("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    (rest.len() >= length).then_some((head, length))
}

/// The statuses of the responses in these bytes that are whole.
pub fn statuses(mut bytes: &[u8]) -> Vec<u16> {
    let mut statuses = Vec::new();
    while let Some((head, content)) = message(bytes) {
        statuses.extend(head.get(9..12).and_then(|status| status.parse::<u16>().ok()));
        bytes = bytes.get(head.len() + content..).unwrap_or_default();
    }
    statuses
}

/// A request with a token.
pub fn request(method: &str, path: &str, more: &str, content: &[u8]) -> Vec<u8> {
    let length = if content.is_empty() { String::new() } else { format!("content-length: {}\r\n", content.len()) };
    let head = format!("{method} {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer token\r\n{more}{length}\r\n");
    [head.as_bytes(), content].concat()
}

/// HTTP under the conformance suite.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpSubject;

impl Subject for HttpSubject {
    fn kind(&self) -> &'static str {
        "http"
    }

    fn open(&self, limits: Limits) -> Box<dyn Protocol<OpId>> {
        Box::new(Http::new(ProtocolOptions {
            limits,
            tls: false,
            plaintext: true,
            auth: Auth::PASSWORD,
            shared: false,
            multiplexes: false,
        }))
    }

    fn upstream(&self) -> Box<dyn Upstream> {
        Box::new(HttpUpstream::default())
    }

    fn login(&self) -> Vec<Vec<u8>> {
        vec![request("GET", "/first", "", b"")]
    }

    fn operation(&self, word: &str) -> Vec<u8> {
        request("POST", &format!("/v1/{word}"), "", b"{\"a\": 1}")
    }

    fn replacement(&self, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn failing(&self) -> Vec<u8> {
        request("GET", "/fail", "", b"")
    }

    fn several(&self, count: usize) -> Vec<u8> {
        let one = |number: usize| match number % 3 {
            0 => request("GET", "/stream", "", b""),
            1 => request("PUT", "/thing", "", b"content"),
            _ => request("DELETE", "/thing", "", b""),
        };
        (0..count).flat_map(one).collect()
    }

    fn large(&self, bytes: usize) -> Vec<u8> {
        request("GET", &format!("/large/{bytes}"), "", b"")
    }

    fn probe(&self) -> Option<String> {
        None
    }

    fn completions(&self, received: &[u8]) -> usize {
        statuses(received).into_iter().filter(|status| *status < 400).count()
    }

    fn errors(&self, received: &[u8]) -> usize {
        statuses(received).into_iter().filter(|status| *status >= 400).count()
    }

    /// Chunks are cut as the pieces come.
    fn parts(&self, received: &[u8]) -> Vec<Vec<u8>> {
        let mut parts = vec![format!("{:?}", statuses(received)).into_bytes()];
        let mut rest = received;
        while let Some((head, content)) = message(rest) {
            let wire = rest.get(head.len()..head.len() + content).unwrap_or_default();
            let is_chunked = head.contains("transfer-encoding: chunked");
            parts.push([head.as_bytes(), &if is_chunked { unchunked(wire) } else { wire.to_vec() }].concat());
            rest = rest.get(head.len() + content..).unwrap_or_default();
        }
        parts
    }
}

/// The content of chunks.
pub fn unchunked(mut wire: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(end) = wire.windows(2).position(|window| window == b"\r\n") {
        let size = wire.get(..end).and_then(|size| usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()).unwrap_or(0);
        content.extend_from_slice(wire.get(end + 2..end + 2 + size).unwrap_or_default());
        wire = wire.get(end + size + 4..).unwrap_or_default();
    }
    content
}
