//! Heads of messages: read once and strictly, so that nobody behind or before the gateway can read them in another way.
//!
//! Lines end with CR and LF and with nothing else (RFC 9112, section 2.2, allows to take a bare LF; that is how requests are hidden in
//! others).

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::body::{Body, Chunk};
use super::coding::{Decoder, is_packed};
use super::credential::Presented;
use super::fields::{Fields, field, is_token};
use super::origin::Origin;
use super::path::Target;
use super::write::Manner;
use super::wrong::Wrong;

/// Methods that pass. What `CONNECT` and `TRACE` do is not for a gateway, and others are not known.
pub const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// A request's head.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) method: &'static str,
    pub(super) target: Target,
    pub(super) presented: Option<Presented>,
    pub(super) body: Body,
    /// Whether the client waits to be told that its content is wanted.
    pub(super) expects: bool,
    /// Whether the client speaks HTTP/1.0, and so knows no chunks.
    pub(super) is_old: bool,
    /// Whether the client wants the connection closed after this.
    pub(super) is_last: bool,
    /// What the client calls itself.
    pub(super) application: Option<String>,
    /// Whether content leaves otherwise than it came.
    pub(super) is_rewritten: bool,
    fields: Fields,
}

/// A response's head.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) body: Body,
    /// The length that a response without content declares.
    pub(super) length: Option<u64>,
    /// Whether the upstream closes the connection after this.
    pub(super) is_last: bool,
    /// Whether it has no content, whatever it says of its length.
    is_empty: bool,
    /// Whether its content is packed, or would be if it had any.
    is_packed: bool,
    reason: Bytes,
    fields: Fields,
}

/// The length of the head at the front of the input, if it is all there. `seen` is how much of the input need not be looked at again.
pub(super) fn find(input: &BytesMut, longest: usize, seen: &mut usize) -> Result<Option<usize>, Wrong> {
    let within = input.get(..input.len().min(longest)).unwrap_or_default();
    let mut from = *seen;
    loop {
        let control = within.iter().skip(from).position(|c| matches!(c, b'\n' | b'\r' | 0)).map(|at| from + at);
        let Some(at) = control else {
            *seen = within.len();
            break;
        };
        // Where the head's end may begin is looked at again.
        *seen = at;
        match within.get(at..).unwrap_or_default() {
            [b'\r', b'\n', b'\r', b'\n', ..] => {
                *seen = 0;
                return Ok(Some(at + 4));
            }
            [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => break,
            [b'\r', b'\n', ..] => from = at + 2,
            _ => return Err(Wrong::request("a line does not end as it must, or holds control characters")),
        }
    }
    if input.len() >= longest { Err(Wrong::new(431, "the head is too long")) } else { Ok(None) }
}

/// The lines of a head, without their ends.
pub(super) fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let head = head.strip_suffix(b"\r\n\r\n").unwrap_or(head);
    head.split(|c| *c == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

impl RequestHead {
    /// Reads a whole head.
    pub(super) fn read(head: &[u8], names_connection: bool) -> Result<Self, Wrong> {
        let mut lines = lines(head);
        let mut first = lines.next().unwrap_or_default().split(|c| *c == b' ');
        let (Some(method), Some(target), Some(version), None) = (first.next(), first.next(), first.next(), first.next()) else {
            return Err(Wrong::request("the first line is not that of a request"));
        };
        let is_old = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            [b'H', b'T', b'T', b'P', b'/', ..] => return Err(Wrong::new(505, "the version of HTTP is not spoken here")),
            _ => return Err(Wrong::request("the first line is not that of a request")),
        };
        let method = method_of(method)?;
        let fields = Fields::read(lines)?;
        fields.check_request()?;
        let target = Target::read(target, host(&fields, is_old)?, names_connection)?;
        let expects = match fields.get("expect") {
            None => false,
            Some(what) if what.eq_ignore_ascii_case(b"100-continue") => !is_old,
            Some(_) => return Err(Wrong::new(417, "what the request expects is not known")),
        };
        // HTTP/2 is offered by some clients wherever they go; going on as before declines it (RFC 9110, section 7.8).
        if fields.all("upgrade").any(|to| !to.eq_ignore_ascii_case(b"h2c")) {
            return Err(Wrong::new(501, "the connection is not upgraded to another protocol"));
        }
        let body = match (fields.is_chunked()?, fields.length()?) {
            (true, None) if !is_old => Body::Chunked(Chunk::Size),
            (true, _) => return Err(Wrong::request("the request's content is framed in two ways")),
            (false, length) => Body::of_length(length.unwrap_or(0)),
        };
        let presented = Presented::read(&fields)?;
        let is_last = is_old || fields.lists("connection", "close");
        let application = fields.get("user-agent").map(printable).filter(|name| !name.is_empty());
        let expects = expects && !body.is_ended();
        Ok(Self { method, target, presented, body, expects, is_old, is_last, application, is_rewritten: false, fields })
    }

    /// How it is to be told what is refused.
    pub(super) fn manner(&self) -> Manner {
        let is_anthropic = self.fields.get("anthropic-version").is_some() || self.target.path.contains("/v1/messages");
        Manner { is_head: self.method == "HEAD", is_anthropic }
    }

    /// The value of a field, as text.
    pub(super) fn text(&self, name: &str) -> Option<Arc<str>> {
        self.fields.get(name).and_then(|value| std::str::from_utf8(value).ok()).map(Arc::from)
    }

    /// What unpacks its content, if that is packed.
    pub(super) fn decoder(&self) -> Result<Option<Decoder>, Wrong> {
        Decoder::new(&self.fields.codings())
    }

    /// The head that leaves for this host, with this line in which the upstream's credential stands. `stays` is a field that is for the
    /// gateway to say.
    pub(super) fn write(&self, host: &str, credential: &[u8], stays: Option<&str>) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(self.method.as_bytes());
        out.push(b' ');
        self.target.write(&mut out);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        field(&mut out, "host", host.as_bytes());
        self.fields.write_request(&mut out, stays, self.is_rewritten);
        // What is packed or cut cannot be looked through for the credential.
        field(&mut out, "accept-encoding", b"identity");
        out.extend_from_slice(credential);
        match self.body {
            Body::Chunked(_) | Body::UntilClose => field(&mut out, "transfer-encoding", b"chunked"),
            Body::Length(length) => field(&mut out, "content-length", length.to_string().as_bytes()),
            // A server may insist on a length where there could be content (RFC 9110, section 8.6).
            Body::Ended if matches!(self.method, "POST" | "PUT" | "PATCH") => field(&mut out, "content-length", b"0"),
            Body::Ended => {}
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

impl ResponseHead {
    /// Reads a whole head, of the response to a request with this method.
    pub(super) fn read(head: &[u8], method: &str) -> Result<Self, Wrong> {
        let mut lines = lines(head);
        let mut first = lines.next().unwrap_or_default().splitn(3, |c| *c == b' ');
        let (version, status, reason) = (first.next(), first.next(), first.next().unwrap_or_default());
        let is_old = match version {
            Some(b"HTTP/1.1") => false,
            Some(b"HTTP/1.0") => true,
            _ => return Err(NOT_A_RESPONSE),
        };
        let status = status.filter(|digits| digits.len() == 3 && digits.iter().all(u8::is_ascii_digit));
        let status = status.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let status: u16 = status.filter(|status| (100..600).contains(status)).ok_or(NOT_A_RESPONSE)?;
        if !reason.iter().all(|c| *c == b'\t' || (*c >= b' ' && *c != 0x7f)) {
            return Err(NOT_A_RESPONSE);
        }
        let fields = Fields::read(lines)?;
        let (is_chunked, length) = (fields.is_chunked()?, fields.length()?);
        if is_chunked && (is_old || length.is_some()) {
            return Err(Wrong::request("the response's content is framed in two ways"));
        }
        let is_empty = method == "HEAD" || status < 200 || matches!(status, 204 | 304);
        let body = match length {
            _ if is_empty => Body::Ended,
            _ if is_chunked => Body::Chunked(Chunk::Size),
            Some(length) => Body::of_length(length),
            None => Body::UntilClose,
        };
        let keeps = fields.lists("connection", "keep-alive") && body != Body::UntilClose;
        let is_last = fields.lists("connection", "close") || (is_old && !keeps);
        let is_packed = is_packed(&fields.codings());
        let length = length.filter(|_| is_empty && status != 204 && !is_packed);
        Ok(Self { status, body, length, is_last, is_empty, is_packed, reason: Bytes::copy_from_slice(reason), fields })
    }

    /// What unpacks its content, if that is packed.
    pub(super) fn decoder(&self) -> Result<Option<Decoder>, Wrong> {
        if self.body.is_ended() { Ok(None) } else { Decoder::new(&self.fields.codings()) }
    }

    /// What the content is said to be.
    pub(super) fn content_type(&self) -> Option<&str> {
        self.fields.get("content-type").and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Its fields, but for those between neighbours.
    pub(super) fn into_fields(self) -> Vec<(String, Vec<u8>)> {
        self.fields.end_to_end()
    }

    /// The head for the client, whose content is framed like this; `rewritten` if it is another than came.
    pub(super) fn write(&self, framed: Body, closes: bool, origin: &Origin, rewritten: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(format!("HTTP/1.1 {} ", self.status).as_bytes());
        out.extend_from_slice(&self.reason);
        out.extend_from_slice(b"\r\n");
        self.fields.write_response(&mut out, origin, self.is_packed || rewritten);
        match (framed, self.length) {
            (Body::Chunked(_), _) => field(&mut out, "transfer-encoding", b"chunked"),
            (Body::Length(length), _) | (Body::Ended, Some(length)) => {
                field(&mut out, "content-length", length.to_string().as_bytes());
            }
            (Body::Ended, None) if !self.is_empty => field(&mut out, "content-length", b"0"),
            (Body::Ended | Body::UntilClose, _) => {}
        }
        if closes {
            field(&mut out, "connection", b"close");
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

const NOT_A_RESPONSE: Wrong = Wrong::request("the first line is not that of a response");

fn method_of(method: &[u8]) -> Result<&'static str, Wrong> {
    match METHODS.iter().find(|known| known.as_bytes() == method) {
        Some(known) => Ok(known),
        None if !method.is_empty() && method.iter().all(|c| is_token(*c)) => Err(Wrong::new(405, "this method does not pass")),
        None => Err(Wrong::request("the first line is not that of a request")),
    }
}

/// Where the request says that it goes, which must be said once.
fn host(fields: &Fields, is_old: bool) -> Result<Option<&str>, Wrong> {
    let valid = |c: &u8| c.is_ascii_alphanumeric() || b"-._:[]".contains(c);
    match fields.get("host") {
        None if is_old => Ok(None),
        None => Err(Wrong::request("the request has no Host header")),
        Some(host) if !host.is_empty() && host.iter().all(valid) => Ok(std::str::from_utf8(host).ok()),
        Some(_) => Err(Wrong::request("the request's Host header is not a host")),
    }
}

/// What the client calls itself, as the record takes it.
fn printable(value: &[u8]) -> String {
    const LONGEST: usize = 63;
    value.iter().take(LONGEST).map(|c| if (b' '..=b'~').contains(c) { char::from(*c) } else { '?' }).collect()
}
