//! What is used: requests, tokens of models and what they cost, rows and bytes; by whom, where, and how much of it there may be.

mod budget;
mod price;
mod table;

use std::sync::Arc;
use std::time::Duration;

use claviger_model::{Chain, ConnectionName, PrincipalKey, Timestamp};

use self::budget::Spending;
pub use self::budget::{Budget, Holder, Measure};
pub use self::price::Price;
pub(crate) use self::price::cost;
use self::table::Table;
pub use self::table::UsageRow;
use crate::memory::Memory;

/// Millionths of the currency that prices are in.
pub const MICROS: u64 = 1_000_000;

/// How much may be used, and what it costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageRules {
    /// How much may be used.
    pub budgets: Vec<Budget>,
    /// What tokens cost; the first that fits counts.
    pub prices: Vec<Price>,
}

/// What something has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Operations.
    pub requests: u64,
    /// Tokens of prompts.
    pub input: u64,
    /// Tokens of answers.
    pub output: u64,
    /// What these cost, in millionths.
    pub cost: u64,
    /// Rows delivered.
    pub rows: u64,
    /// Bytes delivered.
    pub bytes: u64,
}

impl Used {
    /// Adds what something else has used.
    pub fn add(&mut self, other: Self) {
        for (sum, more) in [
            (&mut self.requests, other.requests),
            (&mut self.input, other.input),
            (&mut self.output, other.output),
            (&mut self.cost, other.cost),
            (&mut self.rows, other.rows),
            (&mut self.bytes, other.bytes),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// An operation that has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended<'a> {
    /// The model that it asked, if it asked one.
    pub(crate) model: Option<&'a str>,
    /// What it has used.
    pub(crate) used: Used,
    /// How long its answer took, from when it was decided: until the first byte, and until the end.
    pub(crate) first: Option<Duration>,
    pub(crate) all: Duration,
}

/// What is used: of budgets, and all in all since the gateway was started.
#[derive(Default)]
pub(crate) struct Usage {
    table: Table,
    spending: Spending,
}

impl Usage {
    /// How much of its budgets a chain has used at a connection, in hundredths of the one that is used most; and that one, if it is used up.
    pub(crate) fn standing<'r>(
        &self,
        rules: &'r UsageRules,
        chain: &Chain,
        connection: &ConnectionName,
        now: Timestamp,
    ) -> (u32, Option<Exhausted<'r>>) {
        if rules.budgets.is_empty() { (0, None) } else { self.spending.standing(&rules.budgets, chain, connection, now) }
    }

    /// Notes what an operation of this chain has used at a connection.
    pub(crate) fn note(
        &self,
        rules: &UsageRules,
        (chain, connection): (&Chain, &ConnectionName),
        ended: &Ended<'_>,
        now: Timestamp,
    ) {
        self.spending.note(&rules.budgets, chain, connection, ended.used, now);
        self.table.note(chain, connection, ended);
    }

    /// What of budgets has been used since this was asked last.
    pub(crate) fn take_memories(&self) -> Vec<Memory> {
        self.spending.take_memories()
    }

    /// So much of a budget has been used in this time.
    pub(crate) fn remember(&self, of: (Arc<str>, Option<PrincipalKey>), began: Timestamp, until: Timestamp, used: Used) {
        self.spending.remember(of, began, until, used);
    }

    /// What has been used, by whom, where, and of which model.
    pub(crate) fn rows(&self) -> Vec<UsageRow> {
        self.table.rows()
    }
}

/// A budget that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted<'r> {
    pub(crate) budget: &'r Budget,
    /// Of what.
    pub(crate) measure: Measure,
    /// How long until there is more.
    pub(crate) wait: Duration,
}
