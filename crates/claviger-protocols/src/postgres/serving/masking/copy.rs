//! What leaves by COPY: rows put together again from the frames that they come in, which may end anywhere.

use bytes::{BufMut, BytesMut};
use claviger_model::{Cell, CopyFormat, StatementMask};

use super::copy_binary::Tuples;
use super::copy_text::Lines;
use super::{row, unforeseen};
use crate::masking::{Look, Masker, Slot};
use crate::postgres::Fault;

/// A COPY that is under way.
pub(super) struct Copying {
    /// What becomes of each column.
    slots: Vec<Option<Slot>>,
    format: Format,
    /// The part of a row that has come.
    part: Vec<u8>,
    /// So much of a row is kept.
    limit: usize,
}

/// How rows are told apart.
enum Format {
    Lines(Lines),
    Tuples(Tuples),
}

impl Copying {
    pub(super) fn begin(
        masker: &mut dyn Masker,
        mask: &StatementMask,
        (binary, iso_dates): (bool, bool),
        count: usize,
        limit: usize,
    ) -> Result<Self, Fault> {
        let format = match &mask.copy {
            Some(CopyFormat::Binary) if binary => Format::Tuples(Tuples::default()),
            Some(CopyFormat::Text { delimiter, null, header }) if !binary => {
                Format::Lines(Lines::text(*delimiter, null.as_bytes(), *header))
            }
            Some(CopyFormat::Csv { delimiter, null, quote, escape, header }) if !binary => {
                Format::Lines(Lines::csv(*delimiter, null.as_bytes(), *quote, *escape, *header))
            }
            _ => return Err(unforeseen("what is copied is written in another form than was foreseen")),
        };
        if mask.rest == Cell::Plain && !mask.cells.is_empty() && mask.cells.len() != count {
            return Err(unforeseen("what is copied has other columns than was foreseen"));
        }
        masker.begin();
        let slots = (0..count).map(|n| {
            let cell = mask.cell(n);
            let (kind, origin) = match cell {
                Cell::Column(column) | Cell::Grouped(column) => (column.kind, (column.table.id, column.number)),
                Cell::Plain | Cell::Made => (0, (0, 0)),
            };
            masker.column(cell, &Look { origin, kind, modifier: -1, binary, iso_dates })
        });
        Ok(Self { slots: slots.collect(), format, part: Vec::new(), limit })
    }

    /// Appends, as one frame, the rows that are whole with what has come now.
    pub(super) fn put(&mut self, masker: &mut dyn Masker, body: &[u8], out: &mut BytesMut) -> Result<(), Fault> {
        let at = out.len();
        out.put_u8(b'd');
        out.put_u32(0);
        let start = out.len();
        let mut joined = std::mem::take(&mut self.part);
        let mut rest = if joined.is_empty() {
            body
        } else {
            joined.extend_from_slice(body);
            &joined
        };
        loop {
            let left = match &mut self.format {
                Format::Lines(lines) => lines.put(masker, &self.slots, rest, out)?,
                Format::Tuples(tuples) => tuples.put(masker, &self.slots, rest, out)?,
            };
            let Some(left) = left else { break };
            rest = left;
        }
        if rest.len() > self.limit {
            return Err(unforeseen("a row with masked values is longer than this gateway keeps (`limits.row`)"));
        }
        self.part = rest.to_vec();
        if out.len() == start {
            out.truncate(at);
            return Ok(());
        }
        row::seal(at + 1, out)
    }

    /// Whether all rows that began have ended.
    pub(super) fn is_whole(&self) -> bool {
        self.part.is_empty() && !matches!(&self.format, Format::Tuples(tuples) if !tuples.have_ended())
    }
}
