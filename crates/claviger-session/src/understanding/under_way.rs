//! What is under way in a session, and has not ended.

use std::sync::Arc;

use bytes::Bytes;
use claviger_model::OpId;
use claviger_sql::{Prepared, Session, Transition};

use super::plans::Names;
use super::text::{Changes, Text};

/// A request that is admitted and has not ended, and changes something for those after it.
pub(super) struct UnderWay {
    pub(super) op: OpId,
    pub(super) group: u64,
    pub(super) changes: Changes,
    pub(super) what: What,
    /// What names have stood for in what it prepares.
    pub(super) planned: Vec<Names>,
}

/// What it does.
pub(super) enum What {
    /// A statement is prepared by the protocol's own means: its name, and its text.
    Prepare(Bytes, Arc<str>),
    /// A text runs.
    Run(Arc<Text>),
    /// It is not known what runs.
    Unknown,
}

impl UnderWay {
    /// Whether this prepares the statement of this name.
    fn prepares(&self, name: &[u8]) -> bool {
        let prepares = |transition: &Transition| matches!(transition, Transition::Prepare(own, _) if own.as_bytes() == name);
        match &self.what {
            What::Prepare(own, _) => own == name,
            What::Run(text) => text.transitions.iter().flatten().any(prepares),
            What::Unknown => false,
        }
    }

    /// Whether this declares a cursor of this name.
    pub(super) fn declares(&self, name: &[u8]) -> bool {
        let declares = |transition: &Transition| matches!(transition, Transition::Declare(own, _) if own.as_bytes() == name);
        matches!(&self.what, What::Run(text) if text.transitions.iter().flatten().any(declares))
    }

    fn planned_as(&self, name: &[u8]) -> Vec<&Names> {
        let is_alone = matches!(self.what, What::Prepare(..));
        self.planned.iter().filter(|names| is_alone || names.statement().is_some_and(|own| own.as_bytes() == name)).collect()
    }

    /// The session after this, if it does not fail.
    pub(super) fn apply(&self, session: &mut Session) {
        match &self.what {
            What::Prepare(name, text) => prepare(session, name, text),
            What::Run(text) => text.transitions.iter().flatten().for_each(|transition| session.apply(transition)),
            What::Unknown => {}
        }
    }
}

/// What names have stood for in a statement that is prepared in this group: if that fails, nothing that comes after it in the group runs.
pub(super) fn planned_in<'u>(under_way: &'u [UnderWay], group: u64, name: &[u8]) -> Option<Vec<&'u Names>> {
    let prepares = |under_way: &&UnderWay| under_way.group == group && under_way.prepares(name);
    under_way.iter().rev().find(prepares).map(|found| found.planned_as(name))
}

/// A statement runs. Whether it is prepared in this group.
pub(super) fn runs_along(under_way: &mut [UnderWay], group: u64, name: &[u8], names: &Names) -> bool {
    let prepares = |under_way: &&mut UnderWay| under_way.group == group && under_way.prepares(name);
    let Some(found) = under_way.iter_mut().rev().find(prepares) else { return false };
    if !found.planned_as(name).iter().any(|known| known.is_along_path_of(names)) {
        let names = if let What::Run(_) = found.what { names.as_prepared(name) } else { names.clone() };
        found.planned.push(names);
    }
    true
}

/// A statement is prepared by the protocol's own means. Nothing in SQL can name the unnamed one.
pub(super) fn prepare(session: &mut Session, name: &[u8], text: &Arc<str>) {
    if let Ok(name) = std::str::from_utf8(name)
        && !name.is_empty()
        && !text.is_empty()
    {
        session.prepared.insert(name.into(), Prepared { text: Arc::clone(text), resolved: None });
    }
}
