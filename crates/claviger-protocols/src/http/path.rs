//! What a request is sent to: decided on as it is forwarded, and forwarded only if there is one way to read it.
//!
//! Paths are normalised as far as that changes nothing (RFC 3986, section 6.2.2: what need not be escaped is not, and escapes are in
//! upper case). What one server resolves and the next does not is refused: dot segments, empty segments, parameters of segments,
//! and escapes of what separates or escapes.

use std::sync::Arc;

use claviger_model::Endpoint;

use super::wrong::Wrong;

/// The longest target.
const LONGEST: usize = 16 * 1024;

/// What a request is sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The connection that the first segment names, where clients name one. The path is what follows it.
    pub(super) connection: Option<String>,
    /// What is decided on. Begins with a slash; whatever may stand as it is does.
    pub(super) path: Arc<str>,
    /// The same as it leaves: what came escaped and need not be is escaped still, as some servers make a difference.
    sent: String,
    /// What follows the question mark, as it came.
    pub(super) query: Option<String>,
}

impl Target {
    /// Reads the target of a request whose `Host` is this (RFC 9112, section 3.2).
    pub(super) fn read(raw: &[u8], host: Option<&str>, names_connection: bool) -> Result<Self, Wrong> {
        if raw.len() > LONGEST {
            return Err(Wrong::new(414, "the request's target is too long"));
        }
        // Nothing but printable ASCII from here on.
        let visible = |raw: &&str| raw.bytes().all(|c| c.is_ascii_graphic() && c != b'#');
        let text = std::str::from_utf8(raw).ok().filter(visible);
        let text = text.ok_or(Wrong::request("the request's target holds what must be escaped"))?;
        let text = if text.starts_with('/') { text } else { origin(text, host)? };
        let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query.to_owned())));
        let (path, sent) = normalised(path)?;
        if !names_connection {
            return Ok(Self { connection: None, path: path.into(), sent, query });
        }
        let (connection, path) = first_segment(&path);
        let sent = first_segment(&sent).1.to_owned();
        Ok(Self { connection: Some(connection.to_owned()), path: path.into(), sent, query })
    }

    /// The path as it leaves, if that is spelled otherwise than what is decided on.
    pub(super) fn respelled(&self) -> Option<&str> {
        Some(&*self.sent).filter(|sent| **sent != *self.path)
    }

    /// The target that leaves.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.sent.as_bytes());
        if let Some(query) = &self.query {
            out.push(b'?');
            out.extend_from_slice(query.as_bytes());
        }
    }
}

/// The path and query of a target that says where it is, which must be where `Host` says, too.
fn origin<'a>(text: &'a str, host: Option<&str>) -> Result<&'a str, Wrong> {
    let absolute = ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = text.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let rest = absolute.ok_or(Wrong::request("the request's target is not a path"))?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if !host.is_some_and(|host| host.eq_ignore_ascii_case(authority)) {
        return Err(Wrong::request("the request's target and its Host header differ"));
    }
    match path {
        "" => Ok("/"),
        path if path.starts_with('/') => Ok(path),
        _ => Err(Wrong::request("the request's target has no path")),
    }
}

/// The first segment of a path, and the path that follows it.
fn first_segment(path: &str) -> (&str, &str) {
    let rest = path.strip_prefix('/').unwrap_or_default();
    rest.find('/').map_or((rest, "/"), |end| rest.split_at(end))
}

/// The path as it is decided on, and as it leaves.
fn normalised(path: &str) -> Result<(String, String), Wrong> {
    let (mut out, mut sent) = (String::with_capacity(path.len()), String::with_capacity(path.len()));
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        out.push('/');
        sent.push('/');
        let start = out.len();
        let mut bytes = Vec::with_capacity(segment.len());
        let mut rest = segment.bytes();
        while let Some(c) = rest.next() {
            match c {
                b'%' => {
                    let c = escaped(rest.next(), rest.next())?;
                    bytes.push(c);
                    let escape = format!("%{c:02X}");
                    if Endpoint::keeps(c) {
                        out.push(char::from(c))
                    } else {
                        out.push_str(&escape)
                    }
                    if Endpoint::is_unreserved(c) { sent.push(char::from(c)) } else { sent.push_str(&escape) }
                }
                c if Endpoint::keeps(c) => {
                    bytes.push(c);
                    out.push(char::from(c));
                    sent.push(char::from(c));
                }
                _ => return Err(Wrong::request("the path holds what must be escaped, or has parameters")),
            }
        }
        let segment = out.get(start..).unwrap_or_default();
        if segment == "." || segment == ".." || (segment.is_empty() && segments.peek().is_some()) {
            return Err(Wrong::request("the path has segments that are empty or dots"));
        }
        // What is not UTF-8 may be read as whatever a server makes of it: an overlong slash, a dot.
        if std::str::from_utf8(&bytes).is_err() {
            return Err(Wrong::request("the path is not UTF-8"));
        }
    }
    Ok((out, sent))
}

/// The byte that an escape stands for, if it may.
fn escaped(high: Option<u8>, low: Option<u8>) -> Result<u8, Wrong> {
    let digit = |c: Option<u8>| char::from(c?).to_digit(16);
    let byte = digit(high).zip(digit(low)).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
    match byte.ok_or(Wrong::request("the path holds a % that begins no escape"))? {
        b'/' | b'\\' | b'%' | b';' | 0x7f | 0..=0x1f => {
            Err(Wrong::request("the path holds an escape that can be read in two ways"))
        }
        byte => Ok(byte),
    }
}
