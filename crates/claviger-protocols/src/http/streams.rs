//! Streams of HTTP/2 (RFC 9113, section 8) in the words of HTTP/1.1: so that there is one reader of requests, which says what is refused.
//!
//! The frames of HTTP/2 are read elsewhere. What is here is how a request's head becomes one of HTTP/1.1, and how a response that the
//! gateway writes is taken apart again.

use bytes::{Bytes, BytesMut};
use claviger_model::Secret;

use super::body::{Body, LAST_CHUNK, chunk};
use super::fields::field;
use super::head::{self, ResponseHead};
use super::write::{self, Manner};
use super::wrong::Wrong;

/// What a client begins with that speaks HTTP/2 (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Fields that are for connections, of which a stream has none (RFC 9113, section 8.2.2).
pub(super) const OF_CONNECTIONS: &[&str] = &["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// Fields that tell one session from another.
const OF_SESSIONS: &[&str] = &["api-key", "authorization", "user-agent", "x-api-key", "x-goog-api-key"];

/// Whether a client begins with HTTP/2; nothing as long as that cannot be told.
pub(super) fn begins(input: &[u8]) -> Option<bool> {
    match input.get(..PREFACE.len()) {
        Some(first) => Some(first == PREFACE),
        None if PREFACE.starts_with(input) => None,
        None => Some(false),
    }
}

/// What a request says beside its fields.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a str,
    /// Where, if it says so.
    pub authority: Option<&'a str>,
    /// The path with the query, if there is one.
    pub path: Option<&'a str>,
    /// Whether it has no content.
    pub ends: bool,
}

/// A request's head in the words of HTTP/1.1.
pub struct StreamHead {
    /// As it stands on the wire.
    pub bytes: Vec<u8>,
    /// Whether content follows in chunks, each framed by [`StreamHead::frame`].
    pub is_chunked: bool,
    /// Whether the response has no content, whatever it declares.
    pub is_head: bool,
    /// Which other requests are for the same session.
    pub kin: Kin,
}

/// What requests of one session have in common, as far as their heads show it. It is no more than a hint to whom a socket is best given.
#[derive(Clone)]
pub struct Kin(Secret);

impl PartialEq for Kin {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose() == other.0.expose()
    }
}

impl StreamHead {
    /// Reads a request of one stream. What it says twice it says twice in the words of HTTP/1.1 too, and is refused for it; only what those
    /// have no words for is refused here: then the error is the response to it.
    pub fn read<'a>(asked: Asked<'a>, fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Self, Bytes> {
        let manner = Manner { is_head: asked.method == "HEAD", ..Manner::default() };
        Self::spell(asked, fields).map_err(|wrong| write::refusal(&wrong.refusal(), Some(wrong.status), manner, false))
    }

    fn spell<'a>(asked: Asked<'a>, fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Self, Wrong> {
        let Asked { method, authority, path, ends } = asked;
        if method == "CONNECT" {
            return Err(Wrong::new(405, "this method does not pass"));
        }
        let path = path.filter(|path| path.starts_with('/')).ok_or(Wrong::request("the request's target is not a path"))?;
        let mut out = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
        let mut kin = path.split(['/', '?']).nth(1).unwrap_or_default().as_bytes().to_vec();
        authority.into_iter().for_each(|authority| field(&mut out, "host", authority.as_bytes()));
        let mut declares = false;
        for (name, value) in fields {
            // The reader would take the end of a line for what it is.
            if value.iter().any(|c| matches!(c, b'\r' | b'\n' | 0)) {
                return Err(Wrong::request("a header field holds control characters"));
            }
            if name.bytes().any(|c| c.is_ascii_uppercase()) || OF_CONNECTIONS.contains(&name) {
                return Err(Wrong::request("a header field has no place in a stream"));
            }
            match (name, authority) {
                ("host", Some(authority)) if value.eq_ignore_ascii_case(authority.as_bytes()) => continue,
                ("host", Some(_)) => return Err(Wrong::request("the request's authority and its Host header differ")),
                _ => field(&mut out, name, value),
            }
            declares |= name == "content-length";
            if OF_SESSIONS.contains(&name) {
                [b"\n", name.as_bytes(), b":", value].into_iter().for_each(|part| kin.extend_from_slice(part));
            }
        }
        let is_chunked = !ends && !declares;
        if is_chunked {
            field(&mut out, "transfer-encoding", b"chunked");
        }
        out.extend_from_slice(b"\r\n");
        Ok(Self { bytes: out, is_chunked, is_head: method == "HEAD", kin: Kin(Secret::new(kin)) })
    }

    /// Content as a chunk; at its end, that end.
    pub fn frame(content: Option<&Bytes>) -> Vec<Bytes> {
        match content {
            Some(content) if content.is_empty() => Vec::new(),
            Some(content) => chunk(content).into(),
            None => vec![LAST_CHUNK],
        }
    }
}

/// Takes a response of the gateway's own apart.
pub struct Answer {
    is_head: bool,
    seen: usize,
    /// How its content is framed, once its head has come.
    body: Option<Body>,
    closes: bool,
    ended: bool,
}

/// A part of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its status and fields, without those that are for connections.
    Head {
        /// Below 200 if another head follows.
        status: u16,
        /// Names in lower case.
        fields: Vec<(String, Vec<u8>)>,
        /// Whether nothing follows but the end.
        ends: bool,
    },
    /// Content, never empty.
    Content(Bytes),
    /// There is no more. Whether the connection is closed with it.
    End {
        /// If so, it cannot be used again.
        closes: bool,
    },
}

impl Answer {
    /// The response to a request with this method or another.
    pub fn new(is_head: bool) -> Self {
        Self { is_head, seen: 0, body: None, closes: false, ended: false }
    }

    /// The next part; nothing if more input is needed. An error if it is not a response.
    pub fn take(&mut self, input: &mut BytesMut) -> Result<Option<Part>, NotOne> {
        self.part(input).map_err(|_| NotOne)
    }

    fn part(&mut self, input: &mut BytesMut) -> Result<Option<Part>, Wrong> {
        if self.ended {
            return Ok(None);
        }
        let Some(body) = &mut self.body else { return self.head(input) };
        if let Some(piece) = body.take(input)? {
            return Ok(Some(Part::Content(piece)));
        }
        self.ended = body.is_ended();
        Ok(self.ended.then_some(Part::End { closes: self.closes }))
    }

    fn head(&mut self, input: &mut BytesMut) -> Result<Option<Part>, Wrong> {
        // It is the gateway that wrote it, within its limits.
        let Some(length) = head::find(input, usize::MAX, &mut self.seen)? else { return Ok(None) };
        let head = ResponseHead::read(&input.split_to(length), if self.is_head { "HEAD" } else { "GET" })?;
        let ends = head.body.is_ended();
        if head.status >= 200 {
            self.body = Some(head.body);
            self.closes = head.is_last;
        }
        Ok(Some(Part::Head { status: head.status, fields: head.into_fields(), ends }))
    }
}

/// These bytes are no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a response")]
pub struct NotOne;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ASKED: Asked<'static> = Asked { method: "POST", authority: Some("gateway"), path: Some("/a/b?c"), ends: true };

    fn spelled(asked: Asked<'_>, fields: &[(&str, &str)]) -> Result<String, String> {
        let fields = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        StreamHead::read(asked, fields).map(|head| text(&head.bytes)).map_err(|refusal| text(&refusal))
    }

    #[test]
    fn a_request_is_spelled_as_it_is() {
        let fields = [("host", "GATEWAY"), ("x-a", "b"), ("x-a", "c"), ("te", "trailers")];
        let expected = "POST /a/b?c HTTP/1.1\r\nhost: gateway\r\nx-a: b\r\nx-a: c\r\nte: trailers\r\n\r\n";
        assert_eq!(spelled(ASKED, &fields).unwrap(), expected);
        let streams = Asked { ends: false, ..ASKED };
        assert!(spelled(streams, &[]).unwrap().ends_with("\r\ntransfer-encoding: chunked\r\n\r\n"));
        assert!(spelled(streams, &[("content-length", "3")]).unwrap().ends_with("\r\ncontent-length: 3\r\n\r\n"));
        let hosted = Asked { authority: None, ..ASKED };
        assert!(spelled(hosted, &[("host", "other"), ("host", "other")]).unwrap().contains("host: other\r\nhost: other\r\n"));
    }

    #[test]
    fn what_has_no_place_in_a_stream_is_refused() {
        for (asked, fields, status) in [
            (Asked { method: "CONNECT", path: None, ..ASKED }, &[][..], 405),
            (Asked { path: None, ..ASKED }, &[], 400),
            (Asked { path: Some("*"), ..ASKED }, &[], 400),
            (ASKED, &[("host", "other")], 400),
            (ASKED, &[("host", "gateway"), ("host", "other")], 400),
            (ASKED, &[("connection", "close")], 400),
            (ASKED, &[("transfer-encoding", "chunked")], 400),
            (ASKED, &[("X-A", "b")], 400),
            (ASKED, &[("x-a", "b\r\nx-b: c")], 400),
            (ASKED, &[("x-a", "b\0")], 400),
        ] {
            let refused = spelled(asked, fields).unwrap_err();
            assert!(refused.starts_with(&format!("HTTP/1.1 {status} ")), "{asked:?} {fields:?}: {refused}");
        }
    }

    #[test]
    fn kin_is_who_asks_by_what_for_which_connection() {
        let kin = |path, fields: &[(&str, &str)]| {
            let fields = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
            StreamHead::read(Asked { path: Some(path), ..ASKED }, fields).map(|head| head.kin).ok().unwrap()
        };
        let own = kin("/a/b", &[("authorization", "Bearer a"), ("x-b", "c")]);
        assert!(own == kin("/a/c?d", &[("authorization", "Bearer a"), ("x-b", "d")]));
        assert!(own != kin("/b/b", &[("authorization", "Bearer a")]));
        assert!(own != kin("/a/b", &[("authorization", "Bearer b")]));
        assert!(own != kin("/a/b", &[("authorization", "Bearer a"), ("user-agent", "x")]));
    }

    #[test]
    fn a_response_is_taken_apart_however_it_comes() {
        let text = "HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 Fine\r\nx-a: b\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
                    3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        for step in [1, 3, 1000] {
            let (mut answer, mut input, mut content, mut rest) = (Answer::new(false), BytesMut::new(), Vec::new(), Vec::new());
            for piece in text.as_bytes().chunks(step) {
                input.extend_from_slice(piece);
                while let Some(part) = answer.take(&mut input).unwrap() {
                    match part {
                        Part::Content(piece) => content.extend_from_slice(&piece),
                        part => rest.push(part),
                    }
                }
            }
            let fields = vec![("x-a".to_owned(), b"b".to_vec())];
            let heads =
                [Part::Head { status: 100, fields: Vec::new(), ends: true }, Part::Head { status: 200, fields, ends: false }];
            assert_eq!((&*content, &*rest), (&b"abcde"[..], &[&heads[..], &[Part::End { closes: true }]].concat()[..]));
        }
        let whole = |is_head, text: &str| {
            let (mut answer, mut input) = (Answer::new(is_head), BytesMut::from(text));
            std::iter::from_fn(|| answer.take(&mut input).unwrap()).count()
        };
        assert_eq!(whole(false, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), 2);
        assert_eq!(whole(true, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"), 2);
        assert!(Answer::new(false).take(&mut BytesMut::from("nonsense\r\n\r\n")).is_err());
    }

    #[test]
    fn a_beginning_is_told_from_a_request() {
        for (input, expected) in
            [("", None), ("P", None), ("PRI * HT", None), ("POST", Some(false)), ("PRI * HTTP/2.0\r\n\r\nXX", Some(false))]
        {
            assert_eq!(begins(input.as_bytes()), expected, "{input}");
        }
        assert_eq!(begins(&[PREFACE, b"more"].concat()), Some(true));
    }
}
