//! When to fetch an issuer's keys again, so that strangers with invented key ids cannot make us hammer it.

use std::collections::HashMap;
use std::sync::Arc;

use claviger_model::Timestamp;

use crate::denied::WantedKey;

/// The least number of seconds between two fetches from one issuer on behalf of unknown keys.
const RATE_SECS: i64 = 10;
/// For how many seconds a key id that was asked for once is not asked for again.
const NEGATIVE_SECS: i64 = 300;
/// The most key ids remembered.
const MAX_KIDS: usize = 1024;

/// What was asked for, and when.
#[derive(Default)]
pub(crate) struct RefreshLedger {
    issuers: HashMap<Arc<str>, Timestamp>,
    kids: HashMap<WantedKeyId, Timestamp>,
}

type WantedKeyId = (Arc<str>, Arc<str>);

impl RefreshLedger {
    /// Whether the issuer's keys should be fetched for this one; if so, that is remembered.
    pub(crate) fn admit(&mut self, wanted: &WantedKey, now: Timestamp) -> bool {
        if self.issuers.get(&wanted.issuer).is_some_and(|last| now < last.plus_secs(RATE_SECS)) {
            return false;
        }
        if let Some(kid) = &wanted.kid {
            self.kids.retain(|_, asked| now < asked.plus_secs(NEGATIVE_SECS));
            let id = (wanted.issuer.clone(), kid.clone());
            if self.kids.contains_key(&id) || self.kids.len() >= MAX_KIDS {
                return false;
            }
            self.kids.insert(id, now);
        }
        self.issuers.insert(wanted.issuer.clone(), now);
        true
    }
}
