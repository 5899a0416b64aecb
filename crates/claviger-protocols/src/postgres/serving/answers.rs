//! Reading what little is read of the server's answers.

use bytes::Bytes;

use crate::postgres::frame::{Reader, Violation};

/// The longest completion tag that is kept.
const TAG: usize = 64;

/// A completion tag.
pub(super) fn tag(frame: &Bytes) -> Result<String, Violation> {
    let text = Reader::of(frame).text()?;
    Ok(String::from_utf8_lossy(text.get(..TAG.min(text.len())).unwrap_or_default()).into_owned())
}

/// The SQLSTATE of an ErrorResponse: five letters or digits.
pub(in crate::postgres) fn error_code(frame: &Bytes) -> Option<String> {
    let code = field(frame, b'C')?;
    (code.len() == 5 && code.iter().all(u8::is_ascii_alphanumeric)).then(|| String::from_utf8_lossy(&code).into_owned())
}

/// Whether the server closes after this ErrorResponse.
pub(super) fn is_fatal(frame: &Bytes) -> bool {
    // `V` is the severity that is never translated; before 9.6 there was only `S`.
    let severity = field(frame, b'V').or_else(|| field(frame, b'S'));
    severity.is_some_and(|severity| matches!(&severity[..], b"FATAL" | b"PANIC"))
}

/// A field of an ErrorResponse or NoticeResponse (PostgreSQL manual, 55.8).
pub(in crate::postgres) fn field(frame: &Bytes, wanted: u8) -> Option<Bytes> {
    let mut reader = Reader::of(frame);
    loop {
        match reader.byte().ok()? {
            0 => return None,
            field => {
                let value = reader.text().ok()?;
                if field == wanted {
                    return Some(value);
                }
            }
        }
    }
}

/// The columns of a DataRow.
pub(in crate::postgres) fn columns(frame: &Bytes) -> Result<Vec<Option<Bytes>>, Violation> {
    let mut reader = Reader::of(frame);
    let count = reader.count(4)?;
    let columns = (0..count).map(|_| reader.value()).collect::<Result<_, _>>()?;
    reader.end()?;
    Ok(columns)
}
