//! The operations of a session that are decided and not ended. A pipeline may hold tens of thousands of them.

use std::collections::VecDeque;

use claviger_model::OpId;

use crate::record::Open;

/// In the order of their ids.
#[derive(Default)]
pub(super) struct OpenOperations(VecDeque<Open>);

impl OpenOperations {
    pub(super) fn insert(&mut self, open: Open) {
        // The newest, but for what was held while others passed it.
        let index = self.0.partition_point(|earlier| earlier.op < open.op);
        self.0.insert(index, open);
    }

    pub(super) fn get_mut(&mut self, op: OpId) -> Option<&mut Open> {
        let index = self.index(op)?;
        self.0.get_mut(index)
    }

    pub(super) fn remove(&mut self, op: OpId) -> Option<Open> {
        let index = self.index(op)?;
        self.0.remove(index)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Open> {
        self.0.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn index(&self, op: OpId) -> Option<usize> {
        self.0.binary_search_by_key(&op, |open| open.op).ok()
    }
}

impl IntoIterator for OpenOperations {
    type Item = Open;
    type IntoIter = std::collections::vec_deque::IntoIter<Open>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
