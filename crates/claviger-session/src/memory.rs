//! What a gateway must not forget when it starts anew: what has been used of budgets, and what principals have seen.
//!
//! Whoever keeps it takes what has changed now and then, and gives all of it back to the next gateway. Times are those of day: what was seen or
//! spent, and seems to lie ahead because the clock was set back, counts as of now. For how long it matters is said by the rules of then, so it is
//! kept for [`AT_LEAST`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use claviger_model::{PrincipalKey, Timestamp};

use crate::Gateway;
use crate::usage::Used;

/// One thing that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What it is of.
    pub of: MemoryOf,
    /// When it was, or began.
    pub began: Timestamp,
    /// From when on it is of no use.
    pub until: Timestamp,
}

/// What a memory is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoryOf {
    /// So much of a budget has been used in the time that it is for: by this principal, or by all that share it.
    Budget {
        /// Its name.
        name: Arc<str>,
        /// Whose it is.
        holder: Option<PrincipalKey>,
        /// What has been used.
        used: Used,
    },
    /// In so many statements, masked values have decided for this principal which rows are seen.
    Filters {
        /// For whom.
        who: PrincipalKey,
        /// How many.
        statements: u32,
    },
    /// This principal has seen values with this label.
    Seen {
        /// Who.
        who: PrincipalKey,
        /// Which label.
        label: Arc<str>,
    },
}

/// How long it is kept what somebody has seen or spent, whatever the rules of now say.
const AT_LEAST: Duration = Duration::from_secs(31 * 24 * 3600);

/// From when on it is of no use what began then and matters for so long.
pub(crate) fn until(began: Timestamp, matters: Duration) -> Timestamp {
    began.plus(matters.max(AT_LEAST))
}

/// One moment on both clocks: the one that goes on steadily, and the time of day.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) steady: Instant,
    pub(crate) day: Timestamp,
}

impl Moment {
    /// The time of day at another moment, not later.
    pub(crate) fn day_of(self, at: Instant) -> Timestamp {
        let ago = i64::try_from(self.steady.saturating_duration_since(at).as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.day.as_micros().saturating_sub(ago))
    }

    /// The moment at a time of day. What is too long ago for the steady clock, or seems to come yet, is now.
    pub(crate) fn steady_of(self, at: Timestamp) -> Instant {
        self.steady.checked_sub(at.age(self.day)).unwrap_or(self.steady)
    }
}

impl Gateway {
    /// What has changed since this was asked last, which then does not come again: whoever asks must keep it.
    pub fn take_memories(&self, now: Instant) -> Vec<Memory> {
        let (rules, now) = (self.rules(), Moment { steady: now, day: self.now() });
        let mut memories = self.usage.take_memories();
        memories.extend(rules.release.filter_budget.iter().flat_map(|budget| self.spent.take_memories(*budget, now)));
        memories.extend(self.seen.take_memories(rules.release.seen_for, now));
        memories
    }

    /// Remembers what an earlier gateway has left.
    pub fn remember(&self, memories: impl IntoIterator<Item = Memory>, now: Instant) {
        let now = Moment { steady: now, day: self.now() };
        for Memory { of, began, until } in memories.into_iter().filter(|memory| memory.until > now.day) {
            match of {
                MemoryOf::Budget { name, holder, used } => self.usage.remember((name, holder), began, until, used),
                MemoryOf::Filters { who, statements } => self.spent.remember(who, now.steady_of(began), statements),
                MemoryOf::Seen { who, label } => self.seen.remember(who, label, now.steady_of(began)),
            }
        }
    }
}
