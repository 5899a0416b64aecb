//! Rows (PostgreSQL manual, 55.7, `DataRow`) and the tuples of a binary COPY, which are the same but for their frame.

use bytes::{BufMut, BytesMut};

use super::unforeseen;
use crate::masking::{Masker, Slot};
use crate::postgres::Fault;
use crate::postgres::frame::Violation;

const CUT: Fault = Fault::Upstream(Violation("a row is shorter than its content"));

/// Appends a DataRow, given without its header, with its values rewritten.
pub(super) fn put(masker: &mut dyn Masker, slots: &[Option<Slot>], body: &[u8], out: &mut BytesMut) -> Result<(), Fault> {
    let at = out.len();
    out.reserve(body.len() + 64);
    out.put_u8(b'D');
    out.put_u32(0);
    let left = put_values(masker, slots, body, out)?;
    if !left.is_empty() {
        return Err(Fault::Upstream(Violation("a row is longer than its content")));
    }
    seal(at + 1, out)
}

/// Writes how long the frame is whose length has its place there.
pub(super) fn seal(at: usize, out: &mut BytesMut) -> Result<(), Fault> {
    let len = i32::try_from(out.len() - at).map_err(|_| unforeseen("a row is too long when it is masked"))?;
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&len.to_be_bytes());
    }
    Ok(())
}

/// Appends a count of values and the values, each with its length; gives what follows them. Values that leave as they came are copied
/// together with what is around them.
pub(super) fn put_values<'a>(
    masker: &mut dyn Masker,
    slots: &[Option<Slot>],
    body: &'a [u8],
    out: &mut BytesMut,
) -> Result<&'a [u8], Fault> {
    let Some((count, mut rest)) = body.split_first_chunk::<2>() else { return Err(CUT) };
    if usize::from(u16::from_be_bytes(*count)) != slots.len() {
        return Err(unforeseen("a row has another number of values than its description"));
    }
    // What has been read and not copied.
    let mut from = body;
    for slot in slots {
        let before = rest;
        let (value, after) = split_value(rest)?;
        rest = after;
        let Some(slot) = slot else { continue };
        out.put_slice(from.get(..from.len() - before.len()).unwrap_or_default());
        from = rest;
        let at = out.len();
        out.put_i32(-1);
        if masker.value(*slot, value, out) {
            let len = i32::try_from(out.len() - at - 4).map_err(|_| unforeseen("a value is too long when it is masked"))?;
            if let Some(place) = out.get_mut(at..at + 4) {
                place.copy_from_slice(&len.to_be_bytes());
            }
        }
    }
    out.put_slice(from.get(..from.len() - rest.len()).unwrap_or_default());
    Ok(rest)
}

/// A value with its length before it, -1 being NULL, and what follows it.
pub(super) fn split_value(rest: &[u8]) -> Result<(Option<&[u8]>, &[u8]), Fault> {
    let Some((len, rest)) = rest.split_first_chunk::<4>() else { return Err(CUT) };
    match i32::from_be_bytes(*len) {
        -1 => Ok((None, rest)),
        len => {
            let len = usize::try_from(len).map_err(|_| Fault::Upstream(Violation("a length in a row is negative")))?;
            rest.split_at_checked(len).map(|(value, rest)| (Some(value), rest)).ok_or(CUT)
        }
    }
}
