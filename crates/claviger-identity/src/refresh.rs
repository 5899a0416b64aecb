//! When to fetch an issuer's keys again, so that strangers with invented key ids cannot make us hammer it.

use std::collections::HashMap;
use std::sync::Arc;

use claviger_model::Timestamp;

/// An issuer's keys are fetched on behalf of unknown keys once in so many seconds, in the long run,
const RATE_SECS: i64 = 10;
/// and so many times in a row: keys may change soon after a start, or twice.
const BURST: i64 = 3;
/// For how many seconds a key id that was asked for once is not asked for again.
const NEGATIVE_SECS: i64 = 300;
/// The most key ids remembered.
const MAX_KIDS: usize = 1024;

/// What was asked for, and when.
#[derive(Default)]
pub(crate) struct RefreshLedger {
    /// When each issuer's allowance is whole again.
    whole: HashMap<Arc<str>, Timestamp>,
    kids: HashMap<WantedKeyId, Timestamp>,
}

type WantedKeyId = (Arc<str>, Arc<str>);

impl RefreshLedger {
    /// Whether the issuer's keys should be fetched for this one; if so, that is remembered.
    pub(crate) fn admit(&mut self, issuer: &Arc<str>, kid: Option<&Arc<str>>, now: Timestamp) -> bool {
        let whole = self.whole.get(issuer).copied().unwrap_or(now).max(now);
        if whole > now.plus_secs(RATE_SECS * (BURST - 1)) {
            return false;
        }
        if let Some(kid) = kid {
            self.kids.retain(|_, asked| now < asked.plus_secs(NEGATIVE_SECS));
            let id = (issuer.clone(), kid.clone());
            if self.kids.contains_key(&id) || self.kids.len() >= MAX_KIDS {
                return false;
            }
            self.kids.insert(id, now);
        }
        self.whole.insert(issuer.clone(), whole.plus_secs(RATE_SECS));
        true
    }

    /// Lets the keys be asked for again at once: nobody answered.
    pub(crate) fn forget(&mut self, issuer: &str) {
        self.kids.retain(|(of, _), _| **of != *issuer);
    }
}
