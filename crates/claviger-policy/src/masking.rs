//! From what statements disclose to how they are masked.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use claviger_model::{Cell, Column, Disclosure, Insertion, MaskPlan, Meaning, Object, Output, StatementMask, Sum, Verb};

use crate::judge::Asking;
use crate::{Asked, Matter};

/// Why a statement would disclose what no mask hides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disclosed {
    /// The column decides which rows there are, in which order, or whether there is an error.
    Decides(Arc<Column>),
    /// The column's values go where they are no longer masked: into this column, or into what is none yet.
    Carried(Arc<Column>, Option<Arc<Column>>),
    /// It cannot be told what it shows.
    Anything,
}

impl Disclosed {
    /// A stable code, for the record.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Decides(_) => "mask.decides",
            Self::Carried(..) => "mask.carried",
            Self::Anything => "mask.anything",
        }
    }
}

impl fmt::Display for Disclosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |column: &Arc<Column>| Object::Column(Arc::clone(column));
        match self {
            Self::Decides(column) => {
                write!(
                    f,
                    "the masked column {} decides what is shown; it can be selected, counted, tested for NULL ",
                    name(column)
                )?;
                f.write_str("and joined with columns of its own kind")
            }
            Self::Carried(from, Some(into)) => {
                write!(f, "values of the masked column {} would be written to {}", name(from), name(into))
            }
            Self::Carried(from, None) => write!(f, "values of the masked column {} would be kept elsewhere", name(from)),
            Self::Anything => f.write_str("it cannot be told which masked columns it shows"),
        }
    }
}

impl Asking<'_> {
    /// How what these statements give is to be masked; nothing if nothing is.
    pub(crate) fn mask(&self, matter: &Matter, approvals: &BTreeSet<Arc<str>>) -> Result<Option<Arc<MaskPlan>>, Disclosed> {
        let trivial = |meaning: &Meaning| is_trivial(&meaning.disclosure);
        let looks = self.party.detects || self.party.classifies;
        if !looks && matter.statements().iter().all(trivial) {
            return Ok(None);
        }
        let mut plan = MaskPlan::default();
        for (number, meaning) in matter.statements().iter().enumerate() {
            let mut rights = Rights { asking: self, number, meaning, approvals, known: HashMap::new() };
            let looks = looks && !rights.has(Verb::Reveal, Object::Connection);
            plan.detect |= self.party.detects && looks;
            plan.witness |= self.party.classifies && looks;
            let copy = meaning.disclosure.copy.clone();
            let mask = if trivial(meaning) {
                StatementMask { copy, ..StatementMask::default() }
            } else {
                rights.mask(&meaning.disclosure)?
            };
            plan.statements.push(mask);
        }
        Ok(Some(plan).filter(|plan| !plan.is_empty()).map(Arc::new))
    }
}

fn is_trivial(disclosure: &Disclosure) -> bool {
    let Disclosure { outputs, rest, control, order, carried, told, anything, grouped: _, copy: _ } = disclosure;
    !anything
        && order.is_none()
        && control.is_empty()
        && carried.is_empty()
        && told.is_empty()
        && rest.as_ref().is_none_or(BTreeSet::is_empty)
        && outputs.iter().all(|output| *output == Output::Plain)
}

/// What a party may do with classified values in one statement.
struct Rights<'a> {
    asking: &'a Asking<'a>,
    number: usize,
    meaning: &'a Meaning,
    approvals: &'a BTreeSet<Arc<str>>,
    known: HashMap<(Verb, Object), bool>,
}

impl Rights<'_> {
    fn mask(&mut self, disclosure: &Disclosure) -> Result<StatementMask, Disclosed> {
        if disclosure.anything && !self.has(Verb::Reveal, Object::Connection) {
            return Err(Disclosed::Anything);
        }
        let mut filters = false;
        for control in disclosure.control.iter().filter(|control| control.equals.is_none()) {
            if self.hides(&control.column) {
                if !self.filters(&control.column) {
                    return Err(Disclosed::Decides(Arc::clone(&control.column)));
                }
                filters = true;
            }
        }
        let order = disclosure.order.as_ref();
        let sorted = order.filter(|order| order.columns.iter().any(|column| self.hides(column)));
        for carried in &disclosure.carried {
            if self.hides(&carried.from) {
                return Err(Disclosed::Carried(Arc::clone(&carried.from), carried.into.clone()));
            }
        }
        let (mut insertions, by_sums) = self.limits(disclosure)?;
        insertions.extend(sorted.into_iter().flat_map(|order| order.sorted.iter().cloned()));
        insertions.sort_by_key(|insertion| insertion.at);
        let shown = disclosure.outputs.iter().flat_map(Output::columns).chain(disclosure.rest.iter().flatten());
        Ok(StatementMask {
            foreseen: shown.map(|column| (column.table.id, column.number)).collect(),
            cells: disclosure.outputs.iter().map(|output| self.cell(output, disclosure.grouped)).collect(),
            rest: if self.hides_any(disclosure.rest.iter().flatten()) { Cell::Made } else { Cell::Plain },
            telling: self.hides_any(disclosure.told.iter()),
            copy: disclosure.copy.clone(),
            insertions,
            filters: filters || by_sums,
        })
    }

    /// What is to be put around sums that may be seen over groups that are large enough; and whether rows are sorted by one that may not,
    /// which is no different from being sorted by its values.
    fn limits(&mut self, disclosure: &Disclosure) -> Result<(Vec<Insertion>, bool), Disclosed> {
        let (mut limits, mut filters) = (Vec::new(), false);
        for output in &disclosure.outputs {
            let Output::Summed(sum) = output else { continue };
            if !self.hides(&sum.column) {
                continue;
            }
            if !self.sums(sum) {
                if sum.sorts && !self.filters(&sum.column) {
                    return Err(Disclosed::Decides(Arc::clone(&sum.column)));
                }
                filters |= sum.sorts;
                continue;
            }
            if let Some([before, after]) = sum.limit.as_ref().filter(|_| sum.least < self.asking.party.groups_of) {
                let words = format!("{}{} THEN ", before.words, self.asking.party.groups_of);
                limits.extend([Insertion { at: before.at, words: words.into() }, after.clone()]);
            }
        }
        Ok((limits, filters))
    }

    /// Whether a sum may be seen, if only over enough rows.
    fn sums(&mut self, sum: &Sum) -> bool {
        let large = sum.least >= self.asking.party.groups_of || sum.limit.is_some();
        large && self.has(Verb::Aggregate, Object::Column(Arc::clone(&sum.column)))
    }

    fn cell(&mut self, output: &Output, grouped: bool) -> Cell {
        match output {
            Output::Plain => Cell::Plain,
            Output::Copy(column) if grouped && self.hides(column) => Cell::Grouped(Arc::clone(column)),
            Output::Copy(column) if self.hides(column) => Cell::Column(Arc::clone(column)),
            Output::Made(columns) if self.hides_any(columns.iter()) => Cell::Made,
            Output::Summed(sum) if self.hides(&sum.column) && !self.sums(sum) => Cell::Made,
            Output::Copy(_) | Output::Made(_) | Output::Summed(_) => Cell::Plain,
        }
    }

    fn hides_any<'c>(&mut self, columns: impl Iterator<Item = &'c Arc<Column>>) -> bool {
        columns.fold(false, |any, column| any | self.hides(column))
    }

    fn hides(&mut self, column: &Arc<Column>) -> bool {
        !self.has(Verb::Reveal, Object::Column(Arc::clone(column)))
    }

    fn filters(&mut self, column: &Arc<Column>) -> bool {
        self.has(Verb::Filter, Object::Column(Arc::clone(column)))
    }

    /// Whether every link of the chain may. What cannot be evaluated may not.
    fn has(&mut self, verb: Verb, object: Object) -> bool {
        if let Some(known) = self.known.get(&(verb, object.clone())) {
            return *known;
        }
        let asked = Asked { statement: self.number, verb, objects: vec![object.clone()], through: None };
        let has = self.asking.context(self.meaning, self.approvals).is_ok_and(|context| {
            let mut principals = self.asking.principals.iter();
            principals.all(|principal| self.asking.reply(principal, &asked, &context).permit)
        });
        self.known.insert((verb, object), has);
        has
    }
}
