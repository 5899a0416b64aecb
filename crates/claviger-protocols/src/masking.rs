//! What a protocol asks of whoever knows how values are masked.
//!
//! A protocol knows where the values are: which bytes of a row belong to which column, of which type, in which form. What becomes of a
//! value is not its business; it asks a [`Masker`], which comes with the admission of an operation and goes with its outcome.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use claviger_model::{Cell, MaskPlan, Masked};

/// Rewrites what one operation gives. One that belongs to a whole session rewrites texts that belong to no operation.
pub trait Masker: Send {
    /// What is done with what each of the operation's statements gives.
    fn plan(&self) -> &Arc<MaskPlan>;

    /// Whether texts that the plan leaves alone are searched for values.
    fn searches(&self) -> bool;

    /// Whether everything leaves as it came: what would be masked is only counted.
    fn observes(&self) -> bool;

    /// Whether a column is classified, by the server's own numbers for its table and itself; with column 0, whether any of the table is.
    fn is_classified(&self, table: u32, column: i16) -> bool;

    /// Rows of another look begin: the slots that were given are not used any more.
    fn begin(&mut self);

    /// What becomes of the values of a column of these rows; `None` if they leave as they came.
    fn column(&mut self, cell: &Cell, look: &Look) -> Option<Slot>;

    /// Appends what takes the place of a value, `None` being NULL. False if that is NULL.
    fn value(&mut self, slot: Slot, value: Option<&[u8]>, out: &mut BytesMut) -> bool;

    /// What takes the place of a text in which nothing is known to be a value; `None` if it leaves as it came.
    fn text(&mut self, text: &[u8]) -> Option<Bytes>;

    /// Whether what the client sends along may not go on: it holds what stands for a value, on its way to where values are kept. Each call
    /// is given what follows what was given before.
    fn stops(&mut self, sent: &[u8]) -> bool;

    /// A message leaves without its words.
    fn withheld(&mut self);

    /// What was done.
    fn masked(&mut self) -> Masked;
}

/// What the protocol knows of the values of a column.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Which column of which table they come from, by the server's own numbers, as far as it says; 0 if it does not.
    pub origin: (u32, i16),
    /// The server's own number of their type; 0 if it does not say.
    pub kind: u32,
    /// What it says of the type beyond that (PostgreSQL: `atttypmod`), or -1.
    pub modifier: i32,
    /// Whether they are in the type's binary form.
    pub binary: bool,
    /// Whether dates in text are as ISO 8601 writes them.
    pub iso_dates: bool,
}

/// A column of the rows that are being rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub usize);
