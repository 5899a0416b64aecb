//! Requests that the gateway writes in the words of HTTP/1.1, for upstreams that speak HTTP/2 (RFC 9113, section 8), and the responses of these
//! in the words of HTTP/1.1: the other way round of `streams`.

use bytes::{Bytes, BytesMut};

use super::body::{Body, Chunk};
use super::fields::{Fields, field};
use super::head;
use super::streams::{NotOne, OF_CONNECTIONS};
use super::wrong::Wrong;

/// Takes the requests apart that a session writes to its upstream, one after the other.
#[derive(Default)]
pub struct Requests {
    seen: usize,
    /// How the content of the one that is under way is framed.
    body: Option<Body>,
}

/// A part of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Its head.
    Head(Box<SentHead>),
    /// Content, never empty.
    Content(Bytes),
    /// There is no more.
    End,
}

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentHead {
    /// The method.
    pub method: String,
    /// The host.
    pub authority: String,
    /// The path with the query.
    pub path: String,
    /// Names in lower case, without those that are for connections.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Whether nothing follows but the end.
    pub ends: bool,
}

impl Requests {
    /// The next part; nothing if more input is needed. An error if it is not a request.
    pub fn take(&mut self, input: &mut BytesMut) -> Result<Option<Sent>, NotOne> {
        self.part(input).map_err(|_| NotOne)
    }

    /// Whether a request is under way.
    pub fn is_within(&self) -> bool {
        self.body.is_some()
    }

    fn part(&mut self, input: &mut BytesMut) -> Result<Option<Sent>, Wrong> {
        let Some(body) = &mut self.body else { return self.head(input) };
        if let Some(piece) = body.take(input)? {
            return Ok(Some(Sent::Content(piece)));
        }
        if !body.is_ended() {
            return Ok(None);
        }
        self.body = None;
        Ok(Some(Sent::End))
    }

    fn head(&mut self, input: &mut BytesMut) -> Result<Option<Sent>, Wrong> {
        // It is the gateway that wrote it, within its limits.
        let Some(length) = head::find(input, usize::MAX, &mut self.seen)? else { return Ok(None) };
        let head = input.split_to(length).freeze();
        let mut lines = head::lines(&head);
        let first = lines.next().and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
        let mut first = first.split(' ');
        let (Some(method), Some(path)) = (first.next(), first.next()) else { return Err(Wrong::request("not a request")) };
        let fields = Fields::read_most(lines, usize::MAX)?;
        let body = match (fields.is_chunked()?, fields.length()?) {
            (true, _) => Body::Chunked(Chunk::Size),
            (false, length) => Body::of_length(length.unwrap_or(0)),
        };
        let host = fields.get("host").and_then(|host| std::str::from_utf8(host).ok()).unwrap_or_default();
        let (method, authority, path) = (method.to_owned(), host.to_owned(), path.to_owned());
        let fields = fields.end_to_end().into_iter().filter(|(name, _)| name != "host").collect();
        self.body = Some(body);
        Ok(Some(Sent::Head(Box::new(SentHead { method, authority, path, fields, ends: body.is_ended() }))))
    }
}

/// A response's head in the words of HTTP/1.1, to a request with this method; `ends` if nothing follows. And whether its content is framed as
/// chunks.
pub fn response_head<'a>(
    status: u16,
    fields: impl Iterator<Item = (&'a str, &'a [u8])>,
    method: &str,
    ends: bool,
) -> (Vec<u8>, bool) {
    let mut out = format!("HTTP/1.1 {status} \r\n").into_bytes();
    let mut declares = false;
    for (name, value) in fields.filter(|(name, _)| !OF_CONNECTIONS.contains(name)) {
        declares |= name == "content-length";
        field(&mut out, name, value);
    }
    let is_empty = method == "HEAD" || status < 200 || matches!(status, 204 | 304);
    let is_chunked = !(ends || declares || is_empty);
    if is_chunked {
        field(&mut out, "transfer-encoding", b"chunked");
    } else if ends && !declares && !is_empty {
        field(&mut out, "content-length", b"0");
    }
    out.extend_from_slice(b"\r\n");
    (out, is_chunked)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn requests_are_taken_apart_however_they_come() {
        let text = "POST /a?b HTTP/1.1\r\nhost: api.test:8443\r\nx-a: b\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
                    PUT /c HTTP/1.1\r\nhost: api.test\r\ncontent-length: 2\r\n\r\nde\
                    GET / HTTP/1.1\r\nhost: api.test\r\n\r\n";
        for step in [1, 5, 1000] {
            let (mut requests, mut input, mut said) = (Requests::default(), BytesMut::new(), Vec::new());
            for piece in text.as_bytes().chunks(step) {
                input.extend_from_slice(piece);
                while let Some(part) = requests.take(&mut input).unwrap() {
                    said.push(match part {
                        Sent::Head(head) => {
                            let SentHead { method, authority, path, fields, ends } = *head;
                            let fields: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
                            format!("{method} {authority} {path} {fields:?} {ends}")
                        }
                        Sent::Content(piece) => String::from_utf8(piece.to_vec()).unwrap(),
                        Sent::End => "end".to_owned(),
                    });
                }
            }
            assert!(!requests.is_within());
            let expected = "POST api.test:8443 /a?b [\"x-a\"] false|abc|end|PUT api.test /c [\"content-length\"] false|de|end|GET api.test / [] true|end";
            if step == 1000 {
                assert_eq!(said.join("|"), expected);
            }
            assert_eq!(said.concat().replace("end", ""), expected.replace(['|'], "").replace("end", ""));
        }
        assert!(Requests::default().take(&mut BytesMut::from("nonsense\r\n\r\n")).is_err());
    }

    #[test]
    fn a_response_is_framed_as_it_ends() {
        let head = |status, fields: &[(&str, &str)], method, ends| {
            let fields = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
            let (head, is_chunked) = response_head(status, fields, method, ends);
            (String::from_utf8(head).unwrap(), is_chunked)
        };
        let length = [("content-length", "5")];
        for (status, fields, method, ends, more, is_chunked) in [
            (200, &[("x-a", "b"), ("connection", "x")][..], "GET", false, "x-a: b\r\ntransfer-encoding: chunked\r\n", true),
            (200, &length, "GET", false, "content-length: 5\r\n", false),
            (200, &length, "HEAD", true, "content-length: 5\r\n", false),
            (200, &[], "HEAD", true, "", false),
            (204, &[], "GET", true, "", false),
            (404, &[], "GET", true, "content-length: 0\r\n", false),
        ] {
            assert_eq!(head(status, fields, method, ends), (format!("HTTP/1.1 {status} \r\n{more}\r\n"), is_chunked));
        }
    }
}
