//! How values are masked: the methods of labels, and the key that some of them need.

use std::sync::Arc;
use std::time::Duration;

use claviger_mask::methods::{Method, Unit};
use claviger_session::{FilterBudget, Release};

use super::validate::At;
use super::{ConfigError, MaskingConfig, raw};

/// The most days that a date is moved.
const MOST_DAYS: u16 = 3650;
/// The most characters that are kept of one end of a text.
const MOST_KEPT: usize = 64;

impl At<'_> {
    pub(super) fn masking(&self, raw: &raw::Masking, masks: &[raw::Mask]) -> Result<MaskingConfig, ConfigError> {
        let at = self.key("masking");
        let mut methods: Vec<(Arc<str>, Method)> = Vec::with_capacity(masks.len());
        for (n, mask) in masks.iter().enumerate() {
            let at = self.entry("masks", n, &mask.label);
            let label = at.label("label", &mask.label)?;
            if methods.iter().any(|(known, _)| *known == label) {
                return Err(at.error("label", format!("`{label}` is used twice")));
            }
            methods.push((label, at.method(mask)?));
        }
        let key = raw.key.as_ref().map(|key| at.credential("key", key)).transpose()?;
        let release = at.release(raw)?;
        Ok(MaskingConfig { methods, key, key_version: raw.key_version.unwrap_or(1), release })
    }

    fn release(&self, raw: &raw::Masking) -> Result<Release, ConfigError> {
        let groups_of = raw.groups_of.unwrap_or(Release::default().groups_of);
        if groups_of < 2 {
            return Err(self.error("groups_of", "must be at least 2: a sum of one value is that value"));
        }
        let budget = |raw: &raw::FilterBudget| {
            let at = self.key("filter_budget");
            if raw.statements == 0 {
                return Err(at.error("statements", "must be at least 1: who may not filter at all is not given `filter`"));
            }
            let per = at.duration("per", Some(&raw.per), Duration::ZERO)?;
            Ok(FilterBudget { statements: raw.statements, per })
        };
        let filter_budget = raw.filter_budget.as_ref().map(budget).transpose()?;
        let seen_for = self.duration("seen_for", raw.seen_for.as_deref(), Release::default().seen_for)?;
        Ok(Release { groups_of, filter_budget, seen_for })
    }

    fn method(&self, raw: &raw::Mask) -> Result<Method, ConfigError> {
        let words = ["redact", "null", "partial", "length", "token", "ff1", "date_shift", "bucket", "email_domain"];
        if raw.method == "hash" {
            return Err(self.error("method", "what has no key is undone by trying values: `token` is a hash that has one"));
        }
        let method = self.word("method", &raw.method, &words.map(|word| (word, word)))?;
        let parameters: &[&str] = match method {
            "partial" => &["first", "last"],
            "token" => &["session"],
            "date_shift" => &["days", "session"],
            "bucket" => &["width", "to"],
            _ => &[],
        };
        let given = [
            ("first", raw.first.is_some()),
            ("last", raw.last.is_some()),
            ("session", raw.session.is_some()),
            ("days", raw.days.is_some()),
            ("width", raw.width.is_some()),
            ("to", raw.to.is_some()),
        ];
        if let Some((key, _)) = given.iter().find(|(key, given)| *given && !parameters.contains(key)) {
            return Err(self.error(key, format!("means nothing to `{method}`")));
        }
        Ok(match method {
            "null" => Method::Null,
            "partial" => self.partial(raw)?,
            "length" => Method::Length,
            "token" => Method::Token { session: raw.session.unwrap_or(false) },
            "ff1" => Method::Ff1,
            "date_shift" => match raw.days.unwrap_or(365) {
                days @ 1..=MOST_DAYS => Method::DateShift { days, session: raw.session.unwrap_or(false) },
                _ => return Err(self.error("days", format!("must be 1 to {MOST_DAYS}"))),
            },
            "bucket" => self.bucket(raw)?,
            "email_domain" => Method::EmailDomain,
            _ => Method::Redact,
        })
    }

    fn partial(&self, raw: &raw::Mask) -> Result<Method, ConfigError> {
        let (first, last) = (raw.first.unwrap_or(0), raw.last.unwrap_or(0));
        match (first, last) {
            (0, 0) => Err(self.error("last", "`partial` keeps something: `first`, `last`, or both")),
            (0..=MOST_KEPT, 0..=MOST_KEPT) => Ok(Method::Partial { first, last }),
            _ => Err(self.error(if first > MOST_KEPT { "first" } else { "last" }, format!("must be at most {MOST_KEPT}"))),
        }
    }

    fn bucket(&self, raw: &raw::Mask) -> Result<Method, ConfigError> {
        let units = [("month", Unit::Month), ("year", Unit::Year), ("decade", Unit::Decade)];
        match (raw.width, &raw.to) {
            (Some(width @ 1..), None) => Ok(Method::Bucket { width }),
            (None, Some(unit)) => Ok(Method::Truncate { unit: self.word("to", unit, &units)? }),
            _ => Err(self.error("width", "`bucket` needs a `width` of at least 1, for numbers, or `to`, for dates")),
        }
    }
}
