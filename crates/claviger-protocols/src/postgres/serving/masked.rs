//! Where the session's answers meet what rewrites them.

use bytes::{Bytes, BytesMut};
use claviger_model::{OpId, TxId};

use super::expect::Expect;
use super::masking::{Masking, parameter, searched, unforeseen, withheld};
use super::{Active, Serving};
use crate::Masker;
use crate::postgres::frame::{Header, Reader, Violation};
use crate::postgres::io::Io;
use crate::postgres::{Fault, write};

/// What is to be done with a row.
pub(super) enum Row {
    /// It leaves as it came.
    Passes,
    /// It must be looked into, and has not come as a whole.
    Waits,
    /// It was rewritten.
    Rewritten,
}

impl<A> Serving<A> {
    /// An operation has left, whose answer is rewritten by this.
    pub(super) fn mask(&mut self, op: OpId, tx: TxId, mut active: Active<A>, masker: Option<Box<dyn Masker>>) {
        if let Some(masking) = masker.map(Masking::new) {
            if masking.tells() {
                self.told = self.told.max(Some(tx));
            }
            active.masking = Some(Box::new(masking));
        }
        self.active.insert(op, active);
    }

    /// The client is about to have a portal run whose rows are rewritten: if it has not asked how they look, we do.
    pub(super) fn ask_how_rows_look(&mut self, next: Option<&Expect>, frame: &Bytes, io: &mut Io<A>) {
        let (Some(Expect::Execute { op }) | Some(Expect::Describe { op: Some(op), .. })) = next else { return };
        let op = *op;
        let Some(masking) = self.active.get_mut(&op).and_then(|active| active.masking.as_mut()) else { return };
        let must_ask = masking.must_ask();
        masking.asked();
        if let (Some(Expect::Execute { .. }), true, Ok(portal)) = (next, must_ask, Reader::of(frame).text()) {
            io.send_upstream(write::describe_portal(&portal));
            self.expect(Expect::Describe { op: Some(op), own: true }, io);
        }
    }

    /// A row, or a part of what is copied, is next.
    pub(super) fn row(&mut self, tag: u8, len: usize, frame: Option<&[u8]>) -> Result<Row, Fault> {
        const UNASKED: Fault = Fault::Upstream(Violation("a row that nobody asked for"));
        self.skip_copy_ends();
        // Rows of an operation that has ended, or failed, would be in no record.
        let (Some(Expect::Batch { op, .. }) | Some(Expect::Execute { op })) = self.expected.front() else { return Err(UNASKED) };
        let Some(active) = self.active.get_mut(op).filter(|active| active.code.is_none()) else { return Err(UNASKED) };
        let masking = active.masking.as_mut().filter(|masking| masking.looks_into(tag));
        let row = match (masking, frame) {
            (None, _) => Row::Passes,
            (Some(_), _) if len > self.limits.row => {
                return Err(unforeseen("a row with masked values is longer than this gateway keeps (`limits.row`)"));
            }
            (Some(_), None) => return Ok(Row::Waits),
            (Some(masking), Some(frame)) => {
                masking.put(frame, &mut self.rewritten)?;
                Row::Rewritten
            }
        };
        active.rows += u64::from(tag == b'D');
        Ok(row)
    }

    /// Passes on the rows that were rewritten.
    pub(super) fn deliver_rewritten(&mut self, io: &mut Io<A>) {
        if !self.rewritten.is_empty() {
            let bytes = self.rewritten.split().freeze();
            self.deliver(bytes, self.answering(), io);
        }
    }

    /// Looks at a frame that is no row before anything is done with it: how it leaves.
    pub(super) fn look_at(&mut self, tag: u8, frame: Bytes) -> Result<Bytes, Fault> {
        if tag == b'S' {
            self.note_setting(&frame);
        }
        match tag {
            b'T' | b'H' | b'c' => self.look_at_heading(tag, &frame).map(|()| frame),
            b'E' | b'N' => self.reworded(tag, frame).map_err(Fault::Upstream),
            b'A' | b'S' => match &mut self.masker {
                Some(masker) => parameter(masker.as_mut(), tag, &frame).map_err(Fault::Upstream),
                None => Ok(frame),
            },
            _ => Ok(frame),
        }
    }

    fn look_at_heading(&mut self, tag: u8, frame: &Bytes) -> Result<(), Fault> {
        let op = match self.expected.front() {
            Some(Expect::Describe { op, .. }) => *op,
            _ => self.answering(),
        };
        let (iso_dates, limit) = (self.iso_dates, self.limits.row);
        let Some(masking) = op.and_then(|op| self.active.get_mut(&op)).and_then(|active| active.masking.as_mut()) else {
            return Ok(());
        };
        match tag {
            b'T' => masking.described(frame, iso_dates),
            b'H' => masking.copies(frame, iso_dates, limit),
            _ => masking.copied(),
        }
    }

    /// An error or a notice, in the words in which it leaves.
    fn reworded(&mut self, tag: u8, frame: Bytes) -> Result<Bytes, Violation> {
        if let Some(refused) = self.refused_copy(&frame) {
            return Ok(refused);
        }
        let op = self.answering();
        let masking = op.and_then(|op| self.active.get_mut(&op)).and_then(|active| active.masking.as_mut());
        let telling = masking.as_ref().is_some_and(|masking| masking.is_telling());
        // What is checked at a transaction's end, or when somebody says so, tells of what was done before.
        let late = self.told.is_some() && super::error_code(&frame).is_none_or(|code| !code.starts_with("42"));
        let masker: Option<&mut dyn Masker> = match masking {
            Some(masking) => Some(masking.masker()),
            None => self.masker.as_deref_mut().map(|masker| masker as &mut dyn Masker),
        };
        match masker {
            Some(masker) if telling || late => {
                masker.withheld();
                if masker.observes() { Ok(frame) } else { withheld(tag, &frame) }
            }
            Some(masker) => searched(masker, tag, &frame),
            None if late => withheld(tag, &frame),
            None => Ok(frame),
        }
    }

    /// A ParameterStatus: how dates are written.
    fn note_setting(&mut self, frame: &Bytes) {
        let mut reader = Reader::of(frame);
        if let (Ok(name), Ok(value)) = (reader.text(), reader.text())
            && &name[..] == b"DateStyle"
        {
            self.iso_dates = value.starts_with(b"ISO");
        }
    }

    /// What the server said of itself before the session.
    pub(in crate::postgres) fn heard(mut self, greeting: &BytesMut) -> Self {
        let mut rest = Bytes::copy_from_slice(greeting);
        while let Ok(Some(header)) = Header::peek(&rest)
            && header.len <= rest.len()
        {
            let frame = rest.split_to(header.len);
            if header.tag == b'S' {
                self.note_setting(&frame);
            }
        }
        self
    }
}
