//! The format of gzip (RFC 1952): members, one after the other.

use flate2::{Crc, Decompress};

use super::super::wrong::Wrong;
use super::{BROKEN, GOES_ON, Inflated, Step, inflated};

/// The longest header of a member, with all names and comments.
const LONGEST_HEADER: usize = 4 * 1024;
/// The length of a member's end: a checksum, and the length of what was packed.
const END: usize = 8;

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// Unpacks members.
pub(super) struct Gzip {
    at: At,
    /// Whether a member has ended.
    again: bool,
}

enum At {
    Header(Vec<u8>),
    Content(Box<(Decompress, Crc)>),
    End(Vec<u8>, u32, u32),
}

impl Default for Gzip {
    fn default() -> Self {
        Self { at: At::Header(Vec::new()), again: false }
    }
}

impl Gzip {
    /// Whether the content may end here.
    pub(super) fn is_ended(&self) -> bool {
        self.again && matches!(&self.at, At::Header(header) if header.is_empty())
    }

    pub(super) fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step, Wrong> {
        let (taken, given) = match &mut self.at {
            At::Header(header) => {
                let Some(byte) = input.first() else { return Ok(Step { taken: 0, given: 0 }) };
                header.push(*byte);
                if is_whole(header).map_err(|wrong| if self.again { GOES_ON } else { wrong })? {
                    self.at = At::Content(Box::new((Decompress::new(false), Crc::new())));
                }
                (1, 0)
            }
            At::Content(content) => {
                let (inflate, crc) = &mut **content;
                let Inflated { taken, given, ended } = inflated(inflate, input, out)?;
                crc.update(out.get(..given).unwrap_or_default());
                if ended {
                    self.at = At::End(Vec::with_capacity(END), crc.sum(), crc.amount());
                }
                (taken, given)
            }
            At::End(end, sum, amount) => {
                let wanted = END - end.len();
                let some = input.get(..wanted.min(input.len())).unwrap_or_default();
                end.extend_from_slice(some);
                let taken = some.len();
                if end.len() == END {
                    if *end != [sum.to_le_bytes(), amount.to_le_bytes()].concat() {
                        return Err(BROKEN);
                    }
                    (self.at, self.again) = (At::Header(Vec::new()), true);
                }
                (taken, 0)
            }
        };
        Ok(Step { taken, given })
    }
}

/// Whether these are all bytes of a member's header (RFC 1952, section 2.3). They came one by one, so there are none too many.
fn is_whole(header: &[u8]) -> Result<bool, Wrong> {
    const FIXED: usize = 10;
    const CHECKED: u8 = 0x02;
    const EXTRA: u8 = 0x04;
    const NAME: u8 = 0x08;
    const COMMENT: u8 = 0x10;
    const RESERVED: u8 = 0xe0;
    if header.len() > LONGEST_HEADER || header.iter().zip(MAGIC).any(|(byte, magic)| *byte != magic) {
        return Err(BROKEN);
    }
    let Some(flags) = header.get(3) else { return Ok(false) };
    if flags & RESERVED != 0 {
        return Err(BROKEN);
    }
    let mut at = FIXED;
    if flags & EXTRA != 0 {
        let Some([low, high]) = header.get(at..at + 2) else { return Ok(false) };
        at += 2 + usize::from(u16::from_le_bytes([*low, *high]));
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            let Some(length) = header.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == 0)) else {
                return Ok(false);
            };
            at += length + 1;
        }
    }
    Ok(header.len() >= at + if flags & CHECKED != 0 { 2 } else { 0 })
}
