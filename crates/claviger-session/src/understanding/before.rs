//! What runs before a request in the same group of a pipeline and changes what it means.
//!
//! Nothing can be asked of the server before the group's end. But what a statement says of what it defines is known all the same: the group is
//! understood as one text would be that has its statements in it. If one of them fails, none of those after it runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use claviger_sql::{Catalog, Session};

use super::Text;

/// The most that is followed of one group: statements, and bytes of their texts. Each is read again for each that comes after it.
const MOST: usize = 64;
const MOST_BYTES: usize = 64 * 1024;

/// The statements of one group that change what those after them mean.
pub(super) struct Before {
    group: u64,
    /// The catalog and the session before the first of them.
    catalog: Arc<Catalog>,
    session: Session,
    /// When that was so.
    since: Instant,
    /// Their texts, each with what ends it.
    texts: String,
    count: usize,
}

impl Before {
    pub(super) fn new(group: u64, catalog: Arc<Catalog>, session: Session, since: Instant) -> Self {
        Self { group, catalog, session, since, texts: String::new(), count: 0 }
    }

    /// Whether it is about this group.
    pub(super) fn is_of(&self, group: u64) -> bool {
        self.group == group
    }

    /// Whether others may have changed the catalog since: a client may leave a group open for as long as it likes.
    pub(super) fn is_older_than(&self, age: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.since) > age
    }

    /// Another runs. Whether it can be followed.
    pub(super) fn add(&mut self, text: &Bytes) -> bool {
        let Ok(text) = std::str::from_utf8(text) else { return false };
        self.texts.push_str(text);
        // In a line of its own, as the text may end in a comment.
        self.texts.push_str("\n;");
        self.count += 1;
        self.count <= MOST && self.texts.len() <= MOST_BYTES
    }

    /// Reads a text that runs after them.
    pub(super) fn read(&self, text: &[u8]) -> Text {
        let all = [self.texts.as_bytes(), text].concat();
        Text::read_from(&all, self.count, &self.catalog, &self.session)
    }
}
