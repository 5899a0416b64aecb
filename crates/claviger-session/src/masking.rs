//! Masking what an operation gives: by the plan that policy made for it, and the methods of the columns' labels.
//!
//! A plan says which values of an answer are those of classified columns, or are made of them. What becomes of a value is for the labels of
//! its column, of which [`Masks`] knows the methods. The protocol knows where the values are, and asks a [`Masker`] for each.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use claviger_mask::methods::{Form, Mask, Masks, Type};
use claviger_model::{Cell, Column, MaskPlan, Masked, MaskedColumn, Mode, Object, Refusal, RefusalKind, Verb};
use claviger_protocols::{Look, Masker, Operation, Request, Slot};
use claviger_sql::Catalog;

use crate::Connection;
use crate::understanding::Understanding;

/// So much of what the client has sent before is looked at again, so that nothing escapes that comes in two parts.
const OVERLAP: usize = 64;
/// The longest chain of domains that is followed.
const DOMAINS: usize = 16;

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
    let writes = understanding.is_some_and(writes) && !connection.classification.is_empty();
    if enforced && writes && writes_back(masks, operation) {
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
    Ok(Some(Box::new(ByLabels {
        plan,
        masks: Arc::clone(masks),
        catalog: catalog.cloned(),
        session: *session,
        observes: !enforced,
        slots: Vec::new(),
        masked: Masked { observed: !enforced, ..Masked::default() },
        tail: BytesMut::new(),
    })))
}

/// Whether rows may come to be, or values be replaced.
fn writes(understanding: &Understanding) -> bool {
    let Understanding::Text(text) = understanding else { return true };
    let Ok(matter) = &text.matter else { return true };
    let writes = |verb| matches!(verb, Verb::Insert | Verb::Update | Verb::Unknown);
    matter.statements().iter().any(|meaning| meaning.effects.iter().any(|effect| writes(effect.verb)))
}

fn writes_back(masks: &Masks, operation: &Operation) -> bool {
    match &operation.request {
        Request::Batch { text } | Request::Prepare { text, .. } => masks.is_ours(text),
        Request::Execute { text, parameters, .. } => {
            masks.is_ours(text) || parameters.iter().flatten().any(|parameter| masks.is_ours(parameter))
        }
        Request::Portal { .. } | Request::Call { .. } => false,
    }
}

/// Whether every column that the plan masks has a method that fits its type.
fn check(masks: &Masks, catalog: Option<&Arc<Catalog>>, plan: &MaskPlan) -> Result<(), (&'static str, Refusal)> {
    let cells = plan.statements.iter().flat_map(|mask| mask.cells.iter().chain([&mask.rest]));
    let columns = cells.filter_map(|cell| if let Cell::Column(column) = cell { Some(column) } else { None });
    for column in columns {
        if let Err(misfit) = masks.method(&column.labels).check(Type::of(plain_kind(catalog, column.kind), -1)) {
            let name = Object::Column(Arc::clone(column));
            let refusal = Refusal::new(RefusalKind::NotPermitted, format!("{name} cannot be masked: {misfit}"));
            return Err(("mask.misfit", refusal));
        }
    }
    Ok(())
}

/// The type that a type's values look like: that of a domain is the one that it is made of, and `citext` is a text.
fn plain_kind(catalog: Option<&Arc<Catalog>>, kind: u32) -> u32 {
    const TEXT: u32 = 25;
    let mut plain = kind;
    for _ in 0..DOMAINS {
        match catalog.and_then(|catalog| catalog.kind(plain)) {
            Some(facts) if facts.kind == 'd' && facts.base != 0 => plain = facts.base,
            Some(facts) if facts.kind == 'b' && &*facts.name == "citext" => return TEXT,
            _ => break,
        }
    }
    plain
}

/// Masks by plan and labels.
struct ByLabels {
    plan: Arc<MaskPlan>,
    masks: Arc<Masks>,
    catalog: Option<Arc<Catalog>>,
    session: [u8; 16],
    observes: bool,
    slots: Vec<Place>,
    masked: Masked,
    /// The end of what the client has sent along.
    tail: BytesMut,
}

/// A column of the rows that are being rewritten.
struct Place {
    mask: Mask,
    /// Where its values are counted; none if they are made.
    counted: Option<usize>,
}

impl ByLabels {
    /// Where the values of a column are counted.
    fn counted(&mut self, column: &Arc<Column>) -> usize {
        let method = self.masks.method(&column.labels).as_str();
        let name: Arc<str> = Object::Column(Arc::clone(column)).to_string().into();
        let known = self.masked.columns.iter().position(|known| known.column == name);
        known.unwrap_or_else(|| {
            self.masked.columns.push(MaskedColumn { column: name, method, values: 0 });
            self.masked.columns.len() - 1
        })
    }
}

impl Masker for ByLabels {
    fn plan(&self) -> &Arc<MaskPlan> {
        &self.plan
    }

    fn searches(&self) -> bool {
        false
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

    fn column(&mut self, cell: &Cell, look: &Look<'_>) -> Option<Slot> {
        let kind = Type::of(plain_kind(self.catalog.as_ref(), look.kind), look.modifier);
        let form = Form { kind, binary: look.binary, iso_dates: look.iso_dates };
        let place = match cell {
            Cell::Plain => return None,
            Cell::Made => Place { mask: Masks::made(form), counted: None },
            // A method that does not fit the type that a column has here is not known to keep what it should.
            Cell::Column(column) => match self.masks.mask(&column.labels, form, &self.session) {
                Ok(mask) => Place { mask, counted: Some(self.counted(column)) },
                Err(_) => Place { mask: Masks::made(form), counted: Some(self.counted(column)) },
            },
        };
        self.slots.push(place);
        Some(Slot(self.slots.len() - 1))
    }

    fn value(&mut self, slot: Slot, value: Option<&[u8]>, out: &mut BytesMut) -> bool {
        let Some(place) = self.slots.get(slot.0) else { return false };
        match place.counted {
            None => self.masked.made += 1,
            Some(counted) if value.is_some() => {
                if let Some(column) = self.masked.columns.get_mut(counted) {
                    column.values += 1;
                }
            }
            Some(_) => {}
        }
        place.mask.put(value, out)
    }

    fn text(&mut self, _text: &[u8]) -> Option<Bytes> {
        None
    }

    fn stops(&mut self, sent: &[u8]) -> bool {
        self.tail.extend_from_slice(sent);
        let found = self.masks.is_ours(&self.tail);
        let kept = self.tail.len().min(OVERLAP);
        self.tail = self.tail.split_off(self.tail.len() - kept);
        found && !self.observes
    }

    fn withheld(&mut self) {
        self.masked.withheld += 1;
    }

    fn masked(&mut self) -> Masked {
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
        MaskPlan { statements: vec![StatementMask { cells, foreseen, ..StatementMask::default() }], detect: false }
    }

    fn masks(method: Method) -> Arc<Masks> {
        Arc::new(Masks::new(vec![("pii".into(), method)], None).unwrap())
    }

    fn by_labels(method: Method, plan: MaskPlan) -> ByLabels {
        let masked = Masked::default();
        let (catalog, slots, tail) = (None, Vec::new(), BytesMut::new());
        ByLabels { plan: Arc::new(plan), masks: masks(method), catalog, session: [0; 16], observes: false, slots, masked, tail }
    }

    #[test]
    fn values_are_masked_by_their_labels_and_counted() {
        let ssn = column(25);
        let mut masker = by_labels(Method::Partial { first: 0, last: 4 }, plan(&ssn));
        let look = Look { name: b"ssn", kind: 25, modifier: -1, binary: false, iso_dates: true };
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
