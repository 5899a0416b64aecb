//! How approvals are given, and access for a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use claviger_model::PrincipalKey;
use claviger_session::{AccessRules, ReviewGroup, Reviewing};

use super::validate::At;
use super::{ConfigError, raw};

impl At<'_> {
    pub(super) fn reviewing(&self, raw: &raw::Approvals) -> Result<Reviewing, ConfigError> {
        let usual = Reviewing::default();
        let most_each = self.some("pending_per_principal", raw.pending_per_principal.unwrap_or(usual.most_each))?;
        // Who may have more of them at the same time may also ask more often.
        let per_minute = self.some("per_minute", raw.per_minute.unwrap_or(most_each.saturating_mul(3)))?;
        let reviewing = Reviewing {
            groups: raw
                .groups
                .iter()
                .map(|(name, group)| self.review_group(name, group))
                .collect::<Result<BTreeMap<_, _>, _>>()?,
            same_person: raw.same_person.iter().map(|person| self.person(person)).collect::<Result<_, _>>()?,
            wait: self.duration("wait", raw.wait.as_deref(), usual.wait)?,
            wait_in_transaction: self.duration(
                "wait_in_transaction",
                raw.wait_in_transaction.as_deref(),
                usual.wait_in_transaction,
            )?,
            ttl: self.duration("ttl", raw.ttl.as_deref(), usual.ttl)?,
            most_each,
            most: self.some("pending", raw.pending.unwrap_or(usual.most))?,
            per_minute: u32::try_from(per_minute).unwrap_or(u32::MAX),
            link: raw.link.as_deref().map(|link| self.link(link)).transpose()?,
        };
        if reviewing.wait.max(reviewing.wait_in_transaction) > reviewing.ttl {
            return Err(self.error("ttl", "must be at least as long as clients wait"));
        }
        Ok(reviewing)
    }

    pub(super) fn access(&self, raw: &raw::Access) -> Result<AccessRules, ConfigError> {
        let usual = AccessRules::default();
        if raw.reviewers.iter().any(String::is_empty) {
            return Err(self.error("reviewers", "must name groups"));
        }
        Ok(AccessRules {
            ttl: self.duration("ttl", raw.ttl.as_deref(), usual.ttl)?,
            longest: self.duration("longest", raw.longest.as_deref(), usual.longest)?,
            longest_break_glass: self.duration(
                "longest_break_glass",
                raw.longest_break_glass.as_deref(),
                usual.longest_break_glass,
            )?,
            reviewers: raw.reviewers.iter().map(|group| group.as_str().into()).collect(),
            most_unreviewed: self.some("unreviewed", raw.unreviewed.unwrap_or(usual.most_unreviewed))?,
        })
    }

    /// Where a request can be looked at, with `{id}` in place of its id.
    fn link(&self, raw: &str) -> Result<Arc<str>, ConfigError> {
        let good = raw.contains("{id}") && raw.contains("://") && raw.bytes().all(|byte| byte.is_ascii_graphic());
        if good { Ok(raw.into()) } else { Err(self.error("link", "must be an address with `{id}` in it")) }
    }

    fn review_group(&self, name: &str, raw: &raw::ApprovalGroup) -> Result<(Arc<str>, ReviewGroup), ConfigError> {
        let at = self.key("groups").key(name);
        Ok((name.into(), ReviewGroup { quorum: at.some("quorum", raw.quorum.unwrap_or(1))?, reasons: raw.reasons }))
    }

    /// The principals that one person is.
    fn person(&self, raw: &[String]) -> Result<BTreeSet<PrincipalKey>, ConfigError> {
        let key = |text: &String| match text.rsplit_once('@') {
            Some((subject, issuer)) if !subject.is_empty() && !issuer.is_empty() => Ok(PrincipalKey::new(issuer, subject)),
            _ => Err(self.error("same_person", format!("`{text}` is not `subject@issuer`"))),
        };
        raw.iter().map(key).collect()
    }
}
