//! Rewriting what the server answers, by the plan of the operation that it answers.
//!
//! The plan goes by position, and is what counts: a client need not ask how rows look. Where the plan masks something and the client has not
//! asked, the gateway asks in its place. What the server says of where a column comes from is a second witness: if that is a classified
//! column that was not foreseen, or one that is masked elsewhere and not here, nothing of the rows leaves.

mod copy;
mod copy_binary;
mod copy_text;
mod message;
mod row;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use claviger_model::{Cell, MaskPlan, Masked, Refusal, RefusalKind, StatementMask};

use self::copy::Copying;
use crate::masking::{Look, Masker, Slot};
use crate::postgres::Fault;
use crate::postgres::frame::{Header, Reader, Violation};

pub(super) use self::message::{parameter, searched, withheld};

/// Rewrites the answer to one operation.
pub(super) struct Masking {
    masker: Box<dyn Masker>,
    plan: Arc<MaskPlan>,
    /// Which of its statements is being answered, counted from 0.
    statement: usize,
    rows: Rows,
    /// Whether the server has been asked how the rows look, by the client or by us.
    asked: bool,
    /// Whether it has said so since the last statement ended.
    described: bool,
    copying: Option<Copying>,
}

/// What becomes of the rows that come.
enum Rows {
    /// That is not known until it is known how they look.
    Unknown,
    /// They leave as they came.
    Plain,
    /// For each column; `None` leaves as it came.
    Masked(Vec<Option<Slot>>),
}

/// Why nothing of an answer may leave.
pub(super) fn unforeseen(why: &str) -> Fault {
    Fault::Client(Refusal::new(RefusalKind::NotPermitted, format!("{why}: nothing of it leaves")))
}

impl Masking {
    pub(super) fn new(masker: Box<dyn Masker>) -> Self {
        let plan = Arc::clone(masker.plan());
        let mut masking = Self { masker, plan, statement: 0, rows: Rows::Unknown, asked: false, described: false, copying: None };
        if !masking.masks_values() {
            masking.rows = Rows::Plain;
        }
        masking
    }

    fn masks_values(&self) -> bool {
        self.masker.searches()
            || self.plan.witness
            || mask_in(&self.plan, self.statement)
                .is_none_or(|mask| mask.rest != Cell::Plain || mask.cells.iter().any(|cell| *cell != Cell::Plain))
    }

    /// Whether the server is to be asked how the rows look.
    pub(super) fn must_ask(&self) -> bool {
        !self.asked
            && matches!(self.rows, Rows::Unknown)
            && mask_in(&self.plan, self.statement).is_some_and(|mask| mask.copy.is_none())
    }

    pub(super) fn asked(&mut self) {
        self.asked = true;
    }

    /// Whether rows, or what is copied, must be looked into.
    pub(super) fn looks_into(&self, tag: u8) -> bool {
        if tag == b'd' { self.copying.is_some() } else { !matches!(self.rows, Rows::Plain) }
    }

    /// The server has completed a statement: what comes now belongs to the next.
    pub(super) fn completed(&mut self) {
        self.statement += 1;
        (self.described, self.copying) = (false, None);
        self.rows = Rows::Unknown;
    }

    /// A RowDescription says how rows will look (PostgreSQL manual, 55.7).
    pub(super) fn described(&mut self, frame: &Bytes, iso_dates: bool) -> Result<(), Fault> {
        let mut fields = Reader::of(frame);
        let count = fields.count(19).map_err(Fault::Upstream)?;
        let fields = (0..count).map(|_| Field::read(&mut fields)).collect::<Result<Vec<_>, _>>().map_err(Fault::Upstream)?;
        match self.columns(&fields, iso_dates) {
            Ok(rows) => self.rows = rows,
            Err(_) if self.masker.observes() => self.rows = Rows::Plain,
            Err(fault) => return Err(fault),
        }
        self.described = true;
        Ok(())
    }

    fn columns(&mut self, fields: &[Field], iso_dates: bool) -> Result<Rows, Fault> {
        let plan = Arc::clone(&self.plan);
        let Some(mask) = mask_in(&plan, self.statement) else {
            return Err(unforeseen("the answer has more results than statements"));
        };
        // A rule may make one statement answer with the rows of several: nothing is known of the later ones.
        let unknown = self.described && !mask.is_empty();
        if !unknown && !mask.is_empty() && mask.rest == Cell::Plain && mask.cells.len() != fields.len() {
            return Err(unforeseen("the rows have other columns than was foreseen"));
        }
        self.masker.begin();
        let mut slots = Vec::with_capacity(fields.len());
        for (n, field) in fields.iter().enumerate() {
            let cell = if unknown { &Cell::Made } else { mask.cell(n) };
            if !unknown && !self.agrees(mask, cell, field) {
                return Err(unforeseen("the rows come from a classified column of which that was not foreseen"));
            }
            slots.push(self.masker.column(cell, &field.look(iso_dates)));
        }
        Ok(if slots.iter().all(Option::is_none) { Rows::Plain } else { Rows::Masked(slots) })
    }

    /// Whether what the server says of a column's origin goes with what was foreseen.
    fn agrees(&self, mask: &StatementMask, cell: &Cell, field: &Field) -> bool {
        if field.table == 0 || self.plan.statements.is_empty() || !self.masker.is_classified(field.table, field.column) {
            return true;
        }
        let is_masked = |cell: &Cell| match cell {
            Cell::Column(column) | Cell::Grouped(column) => {
                column.table.id == field.table && (column.number == field.column || field.column == 0)
            }
            Cell::Plain | Cell::Made => false,
        };
        let foreseen = field.column == 0 || mask.foreseen.contains(&(field.table, field.column));
        foreseen && (*cell != Cell::Plain || !mask.cells.iter().chain([&mask.rest]).any(is_masked))
    }

    /// Appends a whole row, or a part of what is copied, as it is to leave.
    pub(super) fn put(&mut self, frame: &[u8], out: &mut BytesMut) -> Result<(), Fault> {
        let before = out.len();
        let body = frame.get(Header::LEN..).unwrap_or_default();
        let put = match (&mut self.copying, &self.rows) {
            (Some(copying), _) => copying.put(self.masker.as_mut(), body, out),
            (None, Rows::Masked(slots)) => row::put(self.masker.as_mut(), slots, body, out),
            (None, _) => Err(unforeseen("rows came before it was known how they look")),
        };
        if self.masker.observes() {
            out.truncate(before);
            out.extend_from_slice(frame);
            return Ok(());
        }
        put
    }

    /// A CopyOutResponse says how what is copied will look.
    pub(super) fn copies(&mut self, frame: &Bytes, iso_dates: bool, limit: usize) -> Result<(), Fault> {
        let mut reader = Reader::of(frame);
        let format = reader.byte().map_err(Fault::Upstream)?;
        let count = reader.count(2).map_err(Fault::Upstream)?;
        let plan = Arc::clone(&self.plan);
        let copying = match mask_in(&plan, self.statement) {
            None => Err(unforeseen("the answer has more results than statements")),
            Some(mask) if mask.cells.is_empty() && mask.rest == Cell::Plain && !self.masker.searches() => Ok(None),
            Some(mask) => Copying::begin(self.masker.as_mut(), mask, (format == 1, iso_dates), count, limit).map(Some),
        };
        match copying {
            Ok(copying) => self.copying = copying,
            Err(_) if self.masker.observes() => self.copying = None,
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    /// All that is copied has come.
    pub(super) fn copied(&mut self) -> Result<(), Fault> {
        match self.copying.take() {
            Some(copying) if !copying.is_whole() && !self.masker.observes() => {
                Err(unforeseen("what is copied ends inside a row"))
            }
            _ => Ok(()),
        }
    }

    /// Whether an error or a notice of the current statement may tell of masked values.
    pub(super) fn is_telling(&self) -> bool {
        match self.plan.statements.get(self.statement) {
            Some(mask) => mask.telling,
            // What comes after the last statement's end may be of any.
            None => self.plan.statements.iter().any(|mask| mask.telling),
        }
    }

    /// Whether any of its statements is telling.
    pub(super) fn tells(&self) -> bool {
        self.plan.statements.iter().any(|mask| mask.telling) && !self.masker.observes()
    }

    pub(super) fn masker(&mut self) -> &mut dyn Masker {
        self.masker.as_mut()
    }

    pub(super) fn masked(&mut self) -> Option<Box<Masked>> {
        let masked = self.masker.masked();
        (!masked.is_empty()).then(|| Box::new(masked))
    }
}

/// What is done with what a statement gives; `None` if the plan knows of no such statement.
fn mask_in(plan: &MaskPlan, statement: usize) -> Option<&StatementMask> {
    const NOTHING: &StatementMask = &StatementMask {
        cells: Vec::new(),
        rest: Cell::Plain,
        telling: false,
        foreseen: BTreeSet::new(),
        copy: None,
        insertions: Vec::new(),
        filters: false,
    };
    if plan.statements.is_empty() { Some(NOTHING) } else { plan.statements.get(statement) }
}

/// A field of a RowDescription.
struct Field {
    table: u32,
    column: i16,
    kind: u32,
    modifier: i32,
    binary: bool,
}

impl Field {
    fn read(reader: &mut Reader) -> Result<Self, Violation> {
        reader.text()?;
        let (table, column) = (reader.i32()?.cast_unsigned(), reader.i16()?);
        let (kind, _length, modifier) = (reader.i32()?.cast_unsigned(), reader.i16()?, reader.i32()?);
        Ok(Self { table, column, kind, modifier, binary: reader.i16()? == 1 })
    }

    fn look(&self, iso_dates: bool) -> Look {
        Look { origin: (self.table, self.column), kind: self.kind, modifier: self.modifier, binary: self.binary, iso_dates }
    }
}
