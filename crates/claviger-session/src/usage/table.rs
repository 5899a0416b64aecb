//! What has been used, by whom, where, and of which model.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use claviger_model::{Chain, ConnectionName, Histogram, PrincipalKey, Tally};

use super::{Ended, Used};

/// The most rows. Whoever comes after that is counted together, and so is what a principal asks of models beyond the first.
const MOST: usize = 10_000;
const MOST_MODELS: usize = 64;

/// Who stands for all others.
const OTHERS: &str = "*";

/// What somebody has used somewhere.
#[derive(Clone, Debug)]
pub struct UsageRow {
    /// Who: the acting link of the chain, as `subject@issuer`; `*` for whoever came when there was no more room.
    pub who: Arc<str>,
    /// Where.
    pub connection: ConnectionName,
    /// Of which model; none of what is asked of no model, `*` for models beyond the first of somebody.
    pub model: Option<Arc<str>>,
    /// What.
    pub used: Used,
    /// How long answers took until their first byte.
    pub first: Tally,
    /// How long they took.
    pub all: Tally,
}

#[derive(Default)]
pub(super) struct Table(Mutex<BTreeMap<Key, Row>>);

type Key = (Arc<str>, ConnectionName, Option<Arc<str>>);

#[derive(Default)]
struct Row {
    used: Used,
    first: Histogram,
    all: Histogram,
}

impl Table {
    pub(super) fn note(&self, chain: &Chain, connection: &ConnectionName, ended: &Ended<'_>) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(&rows, &chain.actor().key, connection, ended.model);
        let row = rows.entry(key).or_default();
        row.used.add(ended.used);
        row.all.observe(ended.all);
        ended.first.into_iter().for_each(|first| row.first.observe(first));
    }

    pub(super) fn rows(&self) -> Vec<UsageRow> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let row = |((who, connection, model), row): (&Key, &Row)| UsageRow {
            who: Arc::clone(who),
            connection: connection.clone(),
            model: model.clone(),
            used: row.used,
            first: row.first.tally(),
            all: row.all.tally(),
        };
        rows.iter().map(row).collect()
    }
}

fn key(rows: &BTreeMap<Key, Row>, who: &PrincipalKey, connection: &ConnectionName, model: Option<&str>) -> Key {
    let key = (Arc::from(who.to_string()), connection.clone(), model.map(Arc::from));
    if rows.contains_key(&key) {
        return key;
    }
    let (who, connection, model) = key;
    let of_theirs = rows
        .range((Arc::clone(&who), connection.clone(), None)..)
        .take_while(|((other, at, _), _)| *other == who && *at == connection);
    let model = if of_theirs.count() >= MOST_MODELS { model.map(|_| OTHERS.into()) } else { model };
    match rows.len() >= MOST {
        true => (OTHERS.into(), connection, model.map(|_| OTHERS.into())),
        false => (who, connection, model),
    }
}
