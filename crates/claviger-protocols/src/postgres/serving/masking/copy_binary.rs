//! COPY's binary form (PostgreSQL manual, `COPY`, binary format): a header, tuples, and a count of -1 at the end.

use bytes::{BufMut, BytesMut};

use super::row::{put_values, split_value};
use super::unforeseen;
use crate::masking::{Masker, Slot};
use crate::postgres::Fault;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Flags of which a reader must know what they mean (bits 16 to 31): OIDs, which servers before 12 could put before each tuple.
const CRITICAL: u32 = 0xffff_0000;

#[derive(Default)]
pub(super) enum Tuples {
    /// The header has not come.
    #[default]
    Beginning,
    Coming,
    Ended,
}

impl Tuples {
    pub(super) fn have_ended(&self) -> bool {
        matches!(self, Self::Ended)
    }

    /// Appends what comes next if it is whole, and gives what follows it.
    pub(super) fn put<'a>(
        &mut self,
        masker: &mut dyn Masker,
        slots: &[Option<Slot>],
        rest: &'a [u8],
        out: &mut BytesMut,
    ) -> Result<Option<&'a [u8]>, Fault> {
        match self {
            Self::Beginning => self.put_header(rest, out),
            Self::Ended if rest.is_empty() => Ok(None),
            Self::Ended => Err(unforeseen("something follows the end of what is copied")),
            Self::Coming => {
                let Some(len) = tuple_len(rest)? else { return Ok(None) };
                let Some((tuple, after)) = rest.split_at_checked(len) else { return Ok(None) };
                if tuple == (-1_i16).to_be_bytes() {
                    *self = Self::Ended;
                    out.put_slice(tuple);
                } else {
                    put_values(masker, slots, tuple, out)?;
                }
                Ok(Some(after))
            }
        }
    }

    fn put_header<'a>(&mut self, rest: &'a [u8], out: &mut BytesMut) -> Result<Option<&'a [u8]>, Fault> {
        let fixed = SIGNATURE.len() + 8;
        let Some((head, after)) = rest.split_at_checked(fixed) else { return Ok(None) };
        let words = head.get(SIGNATURE.len()..).and_then(<[u8]>::first_chunk::<8>).map(|words| u64::from_be_bytes(*words));
        let words = words.filter(|_| head.starts_with(SIGNATURE)).unwrap_or(u64::MAX);
        let (flags, extension) = (u32::try_from(words >> 32).unwrap_or(u32::MAX), words & 0xffff_ffff);
        if flags & CRITICAL != 0 || extension > u64::from(i32::MAX.cast_unsigned()) {
            return Err(unforeseen("what is copied does not begin as it should"));
        }
        let Some((_, after)) = usize::try_from(extension).ok().and_then(|len| after.split_at_checked(len)) else {
            return Ok(None);
        };
        out.put_slice(rest.get(..rest.len() - after.len()).unwrap_or_default());
        *self = Self::Coming;
        Ok(Some(after))
    }
}

/// How long the tuple at the front is, if all of it has come.
fn tuple_len(rest: &[u8]) -> Result<Option<usize>, Fault> {
    let Some((count, mut values)) = rest.split_first_chunk::<2>() else { return Ok(None) };
    for _ in 0..i16::from_be_bytes(*count).max(0) {
        let Some((len, after)) = values.split_first_chunk::<4>() else { return Ok(None) };
        let len = i32::from_be_bytes(*len).max(0);
        if usize::try_from(len).is_ok_and(|len| len > after.len()) {
            return Ok(None);
        }
        (_, values) = split_value(values)?;
    }
    Ok(Some(rest.len() - values.len()))
}
