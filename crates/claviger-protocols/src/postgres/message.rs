//! The messages that are read for their meaning, and those that the gateway writes itself (manual, 55.7).

use bytes::{BufMut, Bytes, BytesMut};

use super::frame::{Malformed, Reader, body, frame};

/// SSLRequest: what a connection that wants TLS sends first, also one that is opened to cancel.
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// The name that the gateway uses for statements and portals of its own. No client text can be mistaken for it, because a
/// client that uses it is refused.
pub(super) const RESERVED: &[u8] = b"claviger\x7f";

/// No statement begins so, in any version: the server must reject it before it looks at anything else.
pub(super) const POISON: &[u8] = b"!claviger: refused";

/// A client's Parse.
pub(super) struct Parse<'a> {
    pub(super) name: &'a [u8],
    pub(super) text: &'a [u8],
    /// The parameter types, as sent.
    pub(super) types: &'a [u8],
}

/// Reads the one text of a Query or a PasswordMessage.
pub(super) fn text(frame: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body(frame));
    let text = reader.text()?;
    reader.finish()?;
    Ok(text)
}

/// Reads a Parse.
pub(super) fn parse(frame: &[u8]) -> Result<Parse<'_>, Malformed> {
    let mut reader = Reader::new(body(frame));
    let (name, text) = (reader.text()?, reader.text()?);
    let types = reader.rest();
    let count = reader.count()?;
    reader.take(count * 4)?;
    reader.finish()?;
    Ok(Parse { name, text, types })
}

/// A client's Bind.
pub(super) struct Bind<'a> {
    pub(super) portal: &'a [u8],
    pub(super) statement: &'a [u8],
    /// Whether each parameter is binary; none: all are text; one: it holds for all.
    pub(super) formats: Vec<bool>,
    pub(super) parameters: Vec<Option<&'a [u8]>>,
}

/// Reads a Bind.
pub(super) fn bind(frame: &[u8]) -> Result<Bind<'_>, Malformed> {
    let mut reader = Reader::new(body(frame));
    let (portal, statement) = (reader.text()?, reader.text()?);
    let formats = reader.count()?;
    let formats = (0..formats).map(|_| reader.count().map(|format| format == 1)).collect::<Result<_, _>>()?;
    let parameters = reader.count()?;
    let parameters = (0..parameters).map(|_| reader.value()).collect::<Result<_, _>>()?;
    let results = reader.count()?;
    reader.take(results * 2)?;
    reader.finish()?;
    Ok(Bind { portal, statement, formats, parameters })
}

/// Reads the portal's name of an Execute.
pub(super) fn execute(frame: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body(frame));
    let portal = reader.text()?;
    reader.i32()?;
    reader.finish()?;
    Ok(portal)
}

/// Reads what a Describe or a Close is about: `S` or `P`, and a name.
pub(super) fn target(frame: &[u8]) -> Result<(u8, &[u8]), Malformed> {
    let mut reader = Reader::new(body(frame));
    let (kind, name) = (reader.u8()?, reader.text()?);
    reader.finish()?;
    if matches!(kind, b'S' | b'P') { Ok((kind, name)) } else { Err(Malformed) }
}

/// Reads the values of a DataRow.
pub(super) fn row(frame: &[u8]) -> Result<Vec<Option<&[u8]>>, Malformed> {
    let mut reader = Reader::new(body(frame));
    let count = reader.count()?;
    let values = (0..count).map(|_| reader.value()).collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok(values)
}

/// Reads one field of an ErrorResponse or NoticeResponse.
pub(super) fn field(frame: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut reader = Reader::new(body(frame));
    loop {
        match reader.u8().ok()? {
            0 => return None,
            kind => {
                let text = reader.text().ok()?;
                if kind == wanted {
                    return Some(text);
                }
            }
        }
    }
}

/// An SQLSTATE, or something harmless where there is none.
pub(super) fn sqlstate(frame: &[u8]) -> String {
    match field(frame, b'C') {
        Some(code) if code.len() == 5 && code.iter().all(u8::is_ascii_alphanumeric) => String::from_utf8_lossy(code).into_owned(),
        _ => "XX000".to_owned(),
    }
}

/// Whether an error ends the session. `V` is the severity that is never translated; servers before 9.6 lack it.
pub(super) fn is_fatal(frame: &[u8]) -> bool {
    matches!(field(frame, b'V').or_else(|| field(frame, b'S')), Some(b"FATAL" | b"PANIC"))
}

/// Query.
pub(super) fn write_query(text: &[u8]) -> Bytes {
    frame(b'Q', &[text, b"\0"])
}

/// Parse; `types` carries its own count.
pub(super) fn write_parse(name: &[u8], text: &[u8], types: &[u8]) -> Bytes {
    frame(b'P', &[name, b"\0", text, b"\0", types])
}

/// A message without a body: Sync, Flush, Terminate.
pub(super) fn write_bare(kind: u8) -> Bytes {
    frame(kind, &[])
}

/// A query of the gateway's own. It goes by the extended protocol, under the reserved name, because a simple Query would drop
/// the client's unnamed statement and portal. The leading Close clears what a failed predecessor may have left.
pub(super) fn write_probe(text: &str) -> Bytes {
    let close_statement = frame(b'C', &[b"S", RESERVED, b"\0"]);
    let parts = [
        close_statement.clone(),
        write_parse(RESERVED, text.as_bytes(), &[0, 0]),
        frame(b'B', &[RESERVED, b"\0", RESERVED, b"\0", &[0; 6]]),
        frame(b'E', &[RESERVED, b"\0", &[0; 4]]),
        frame(b'C', &[b"P", RESERVED, b"\0"]),
        close_statement,
        write_bare(b'S'),
    ];
    parts.concat().into()
}

/// StartupMessage for protocol 3.0.
pub(super) fn write_startup<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Bytes {
    let mut pairs = BytesMut::new();
    for (name, value) in parameters.filter(|(name, value)| !name.contains('\0') && !value.contains('\0')) {
        for text in [name, value] {
            pairs.put_slice(text.as_bytes());
            pairs.put_u8(0);
        }
    }
    let mut out = BytesMut::with_capacity(pairs.len() + 9);
    out.put_u32(u32::try_from(pairs.len() + 9).unwrap_or(u32::MAX));
    out.put_u32(3 << 16);
    out.put_slice(&pairs);
    out.put_u8(0);
    out.freeze()
}

/// CancelRequest, to be sent alone on a connection of its own.
pub fn cancel_request(key: &crate::BackendKey) -> Bytes {
    let mut out = BytesMut::with_capacity(12 + key.secret.len());
    out.put_u32(u32::try_from(12 + key.secret.len()).unwrap_or(u32::MAX));
    out.put_u32(80_877_102);
    out.put_i32(key.process);
    out.put_slice(&key.secret);
    out.freeze()
}
