//! Masking what an operation gives: by the plan that policy made for it, and the methods of the columns' labels.
//!
//! A plan says which values of an answer are those of classified columns, or are made of them. What becomes of a value is for the labels of
//! its column, of which [`Masks`] knows the methods. Texts of which nobody has said what they hold are searched for values, where the
//! connection wants that. The protocol knows where the values are, and asks a [`Masker`] for each.

mod content;
mod fields;
mod fit;
mod parts;
mod search;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use claviger_mask::detect::Context;
use claviger_mask::methods::{Form, Mask, Masks, Type};
use claviger_model::{Cell, Column, MaskPlan, Masked, MaskedColumn, Mode, Object, Refusal, RefusalKind, Verb};
use claviger_protocols::{Look, Masker, Operation, Request, Slot};
use claviger_sql::Catalog;

use self::search::{Content, Search};
use crate::Connection;
use crate::understanding::Understanding;

pub(crate) use self::content::{Contents, contents};
pub use self::fields::{FieldPattern, Fields, InvalidField};
pub use self::fit::{Fit, fits};
pub use self::search::Detecting;

/// So much of what the client has sent before is looked at again, so that nothing escapes that comes in two parts.
const OVERLAP: usize = 64;

/// What masking an operation may depend on.
pub(crate) struct Setting<'a> {
    pub(crate) masks: &'a Arc<Masks>,
    pub(crate) connection: &'a Connection,
    /// The catalog that the operation was understood by.
    pub(crate) catalog: Option<&'a Arc<Catalog>>,
    pub(crate) session: [u8; 16],
}

/// How what an operation gives is rewritten, if anything is; or why it cannot be.
pub(crate) fn masker(
    setting: &Setting<'_>,
    operation: &Operation,
    understanding: Option<&Understanding>,
    plan: Option<Arc<MaskPlan>>,
) -> Result<Option<Box<dyn Masker>>, (&'static str, Refusal)> {
    let Setting { masks, connection, catalog, session } = setting;
    let enforced = connection.mode == Mode::Enforce;
    let masks_anything = !connection.classification.is_empty() || connection.detect.is_some();
    let writes = masks_anything && understanding.is_some_and(writes);
    let ours = Ours { masks: Arc::clone(masks), detecting: connection.detect.clone() };
    if enforced && writes && writes_back(&ours, operation) {
        let why = "what stands for a masked value is not written as if it were one: read the value with the right to it, or leave it out";
        return Err(("mask.write_back", Refusal::new(RefusalKind::NotPermitted, why)));
    }
    if plan.is_none() && !writes {
        return Ok(None);
    }
    let plan = plan.unwrap_or_default();
    if enforced {
        check(masks, *catalog, &plan)?;
    }
    let search = connection.detect.as_ref().filter(|_| plan.detect).map(Detecting::search);
    Ok(Some(Box::new(ByLabels {
        plan,
        ours,
        search,
        catalog: catalog.cloned(),
        session: *session,
        observes: !enforced,
        slots: Vec::new(),
        masked: Masked { observed: !enforced, ..Masked::default() },
        tail: BytesMut::new(),
    })))
}

/// How what belongs to no operation is rewritten, if it is.
pub(crate) fn masker_aside(masks: &Arc<Masks>, connection: &Connection) -> Option<Box<dyn Masker>> {
    let detecting = connection.detect.as_ref().filter(|_| connection.mode == Mode::Enforce)?;
    let ours = Ours { masks: Arc::clone(masks), detecting: None };
    Some(Box::new(ByLabels {
        plan: Arc::default(),
        ours,
        search: Some(detecting.search()),
        catalog: None,
        session: [0; 16],
        observes: false,
        slots: Vec::new(),
        masked: Masked::default(),
        tail: BytesMut::new(),
    }))
}

/// Knows what was put in the place of values.
struct Ours {
    masks: Arc<Masks>,
    detecting: Option<Detecting>,
}

impl Ours {
    fn are_in(&self, text: &[u8]) -> bool {
        self.masks.is_ours(text) || self.detecting.as_ref().is_some_and(|detecting| detecting.is_ours(text))
    }
}

/// Whether rows may come to be, or values be replaced.
fn writes(understanding: &Understanding) -> bool {
    let Understanding::Text(text) = understanding else { return true };
    let Ok(matter) = &text.matter else { return true };
    let writes = |verb| matches!(verb, Verb::Insert | Verb::Update | Verb::Unknown);
    matter.statements().iter().any(|meaning| meaning.effects.iter().any(|effect| writes(effect.verb)))
}

fn writes_back(ours: &Ours, operation: &Operation) -> bool {
    match &operation.request {
        Request::Batch { text } | Request::Prepare { text, .. } => ours.are_in(text),
        Request::Execute { text, parameters, .. } => text.iter().chain(parameters.iter().flatten()).any(|part| ours.are_in(part)),
        Request::Portal { .. } | Request::Call { .. } | Request::Exchange(_) | Request::Tool { .. } => false,
    }
}

/// Whether every column that the plan masks has a method that fits its type.
fn check(masks: &Masks, catalog: Option<&Arc<Catalog>>, plan: &MaskPlan) -> Result<(), (&'static str, Refusal)> {
    let cells = plan.statements.iter().flat_map(|mask| mask.cells.iter().chain([&mask.rest]));
    let columns = cells.filter_map(|cell| match cell {
        Cell::Column(column) | Cell::Grouped(column) => Some(column),
        Cell::Plain | Cell::Made => None,
    });
    match columns.filter_map(|column| fit::fit(masks.methods(), catalog, column).complaint()).next() {
        Some(why) => Err(("mask.misfit", Refusal::new(RefusalKind::NotPermitted, why))),
        None => Ok(()),
    }
}

/// The type that a type's values look like, as far as that is known.
fn plain_kind(catalog: Option<&Arc<Catalog>>, kind: u32) -> u32 {
    catalog.map_or(kind, |catalog| catalog.plain_kind(kind))
}

/// Masks by plan and labels.
struct ByLabels {
    plan: Arc<MaskPlan>,
    ours: Ours,
    /// Searches what the plan leaves alone.
    search: Option<Search>,
    catalog: Option<Arc<Catalog>>,
    session: [u8; 16],
    observes: bool,
    slots: Vec<Place>,
    masked: Masked,
    /// The end of what the client has sent along.
    tail: BytesMut,
}

/// A column of the rows that are being rewritten.
enum Place {
    /// Its values are made of masked ones.
    Made(Mask),
    /// They are a classified column's, and are counted there.
    Column(Mask, usize),
    /// They are searched.
    Searched(Content, Context),
}

impl ByLabels {
    /// Where the values of a column are counted.
    fn counted(&mut self, column: &Arc<Column>) -> usize {
        let method = self.ours.masks.method(&column.labels).as_str();
        let name: Arc<str> = Object::Column(Arc::clone(column)).to_string().into();
        let known = self.masked.columns.iter().position(|known| known.column == name);
        known.unwrap_or_else(|| {
            self.masked.columns.push(MaskedColumn { column: name, method, values: 0 });
            self.masked.columns.len() - 1
        })
    }
}

impl ByLabels {
    /// What is known of the texts of a column, if they are searched. That of a table counts by its own name, whatever a query calls it.
    fn context(&self, (table, number): (u32, i16)) -> Option<Context> {
        let search = self.search.as_ref()?;
        let relation = self.catalog.as_ref().and_then(|catalog| catalog.relation(table));
        let column = relation.and_then(|relation| relation.columns.iter().find(|facts| facts.column.number == number));
        Some(column.map_or_else(Context::default, |facts| {
            search.detectors.column(&facts.column.name, facts.column.labels.iter().map(|label| &**label))
        }))
    }
}

impl Masker for ByLabels {
    fn plan(&self) -> &Arc<MaskPlan> {
        &self.plan
    }

    fn searches(&self) -> bool {
        self.search.is_some()
    }

    fn observes(&self) -> bool {
        self.observes
    }

    fn is_classified(&self, table: u32, column: i16) -> bool {
        let relation = self.catalog.as_ref().and_then(|catalog| catalog.relation(table));
        relation.is_some_and(|relation| {
            let of = |number: i16| column == 0 || number == column;
            relation.columns.iter().any(|facts| of(facts.column.number) && !facts.column.labels.is_empty())
        })
    }

    fn begin(&mut self) {
        self.slots.clear();
    }

    fn column(&mut self, cell: &Cell, look: &Look) -> Option<Slot> {
        let plain = plain_kind(self.catalog.as_ref(), look.kind);
        let kind = Type::of(plain, look.modifier);
        let form = Form { kind, binary: look.binary, iso_dates: look.iso_dates };
        let place = match cell {
            Cell::Plain => Place::Searched(Content::of(plain, look.binary)?, self.context(look.origin)?),
            Cell::Made => Place::Made(Masks::made(form)),
            Cell::Grouped(column) if self.ours.masks.method(&column.labels).tells_only_nulls() => {
                Place::Column(Masks::made(form), self.counted(column))
            }
            // A method that does not fit the type that a column has here is not known to keep what it should.
            Cell::Column(column) | Cell::Grouped(column) => {
                let mask = self.ours.masks.mask(&column.labels, form, &self.session);
                Place::Column(mask.unwrap_or_else(|_| Masks::made(form)), self.counted(column))
            }
        };
        self.slots.push(place);
        Some(Slot(self.slots.len() - 1))
    }

    fn value(&mut self, slot: Slot, value: Option<&[u8]>, out: &mut BytesMut) -> bool {
        match self.slots.get(slot.0) {
            None => false,
            Some(Place::Made(mask)) => {
                self.masked.made += 1;
                mask.put(value, out)
            }
            Some(Place::Column(mask, counted)) => {
                if let (Some(column), Some(_)) = (self.masked.columns.get_mut(*counted), value) {
                    column.values += 1;
                }
                mask.put(value, out)
            }
            Some(Place::Searched(content, context)) => {
                let Some(value) = value else { return false };
                match self.search.as_mut().and_then(|search| search.value(*content, *context, value)) {
                    Some(masked) => out.extend_from_slice(&masked),
                    None => out.extend_from_slice(value),
                }
                true
            }
        }
    }

    fn text(&mut self, text: &[u8]) -> Option<Bytes> {
        self.search.as_mut().and_then(|search| search.text(Context::default(), text)).map(Bytes::from)
    }

    fn stops(&mut self, sent: &[u8]) -> bool {
        self.tail.extend_from_slice(sent);
        let found = self.ours.are_in(&self.tail);
        let kept = self.tail.len().min(OVERLAP);
        self.tail = self.tail.split_off(self.tail.len() - kept);
        found && !self.observes
    }

    fn withheld(&mut self) {
        self.masked.withheld += 1;
    }

    fn masked(&mut self) -> Masked {
        if let Some(search) = &mut self.search {
            let found = std::mem::take(&mut search.counts);
            self.masked.found = found.iter().map(|(entity, count)| (search.detectors.name(entity).into(), count)).collect();
        }
        std::mem::take(&mut self.masked)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use claviger_mask::methods::Method;
    use claviger_model::{Labels, StatementMask, Table, TableKind};

    use super::*;

    fn column(kind: u32) -> Arc<Column> {
        let labels: Labels = ["pii".into()].into();
        let (schema, name) = ("public".into(), "customers".into());
        let (system, holds) = (false, Arc::clone(&labels));
        let table = Table { schema, name, id: 7, kind: TableKind::Table, system, labels: Arc::default(), holds };
        Arc::new(Column { table: Arc::new(table), name: "ssn".into(), number: 4, kind, labels })
    }

    fn plan(column: &Arc<Column>) -> MaskPlan {
        let foreseen = BTreeSet::from([(7, 4)]);
        let cells = vec![Cell::Column(Arc::clone(column)), Cell::Made];
        MaskPlan {
            statements: vec![StatementMask { cells, foreseen, ..StatementMask::default() }],
            detect: false,
            witness: false,
        }
    }

    fn masks(method: Method) -> Arc<Masks> {
        Arc::new(Masks::new(vec![("pii".into(), method)], None).unwrap())
    }

    fn by_labels(method: Method, plan: MaskPlan) -> ByLabels {
        let masked = Masked::default();
        let (catalog, slots, tail) = (None, Vec::new(), BytesMut::new());
        let ours = Ours { masks: masks(method), detecting: None };
        ByLabels { plan: Arc::new(plan), ours, search: None, catalog, session: [0; 16], observes: false, slots, masked, tail }
    }

    #[test]
    fn values_are_masked_by_their_labels_and_counted() {
        let ssn = column(25);
        let mut masker = by_labels(Method::Partial { first: 0, last: 4 }, plan(&ssn));
        let look = Look { origin: (7, 4), kind: 25, modifier: -1, binary: false, iso_dates: true };
        let (column, made) = (Cell::Column(ssn), Cell::Made);
        let (first, second) = (masker.column(&column, &look).unwrap(), masker.column(&made, &look).unwrap());
        assert_eq!(masker.column(&Cell::Plain, &look), None);
        let mut out = BytesMut::new();
        assert!(masker.value(first, Some(b"123-45-6789"), &mut out));
        assert!(!masker.value(first, None, &mut out));
        assert!(masker.value(second, None, &mut out));
        assert_eq!(out[..], *b"*******6789[masked]");
        let masked = masker.masked();
        let counted: Vec<_> = masked.columns.iter().map(|column| (&*column.column, column.method, column.values)).collect();
        assert_eq!((counted, masked.made), (vec![("public.customers.ssn", "partial", 1)], 1));
    }

    #[test]
    fn a_method_that_does_not_fit_is_refused() {
        let refused = |kind| check(&masks(Method::Partial { first: 0, last: 4 }), None, &plan(&column(kind)));
        assert!(refused(25).is_ok());
        let (code, refusal) = refused(23).unwrap_err();
        assert_eq!(
            (code, &*refusal.message),
            ("mask.misfit", "public.customers.ssn cannot be masked: `partial` does not mask integer")
        );
    }

    #[test]
    fn what_comes_in_parts_is_seen() {
        let mut masker = by_labels(Method::Redact, plan(&column(25)));
        assert!(!masker.stops(&[b'x'; 1000]));
        assert!(!masker.stops(b"a [mas"));
        assert!(masker.stops(b"ked] value"));
    }
}
