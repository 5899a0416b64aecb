//! What is put before the policies: who asks where, what the statements do, and when.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use cedar_policy::RestrictedExpression;
use claviger_model::{Chain, ConnectionName, Meaning, Mode, Timestamp};
use ring::digest;

use crate::{Context, Grants};

/// Over how many values at least a sum may be seen of what is masked, if nobody says.
pub const GROUPS_OF: u32 = 10;

/// SHA-256.
pub(crate) type Digest = [u8; 32];

/// A chain at a connection, and the circumstances that stay what they are while a session lasts. Made once, asked for often.
#[derive(Debug)]
pub struct Party {
    pub(crate) chain: Chain,
    pub(crate) connection: ConnectionName,
    pub(crate) kind: Arc<str>,
    pub(crate) labels: Vec<Arc<str>>,
    pub(crate) mode: Mode,
    pub(crate) address: IpAddr,
    pub(crate) application: Option<Arc<str>>,
    pub(crate) tls: bool,
    pub(crate) purpose: Option<Arc<str>>,
    /// Whether what the connection gives is searched for what should be masked.
    pub(crate) detects: bool,
    /// Whether anything behind it is classified.
    pub(crate) classifies: bool,
    /// Over how many values at least a sum may be seen of what is masked.
    pub(crate) groups_of: u32,
    /// Of the chain, the connection, and those circumstances that count, by [`Counting`].
    digests: [OnceLock<Digest>; Counting::COMBINATIONS],
}

/// Which circumstances count: those that policies look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counting {
    pub(crate) address: bool,
    pub(crate) application: bool,
    pub(crate) tls: bool,
    pub(crate) purpose: bool,
}

impl Counting {
    const COMBINATIONS: usize = 16;

    fn index(self) -> usize {
        [self.address, self.application, self.tls, self.purpose]
            .into_iter()
            .fold(0, |index, counts| index * 2 + usize::from(counts))
    }
}

impl Party {
    /// A chain at a connection: its name, its kind (such as `postgres`), its labels and how strictly it is guarded.
    pub fn new(
        chain: &Chain,
        connection: &ConnectionName,
        kind: &str,
        labels: &[Arc<str>],
        mode: Mode,
        context: Context<'_>,
    ) -> Self {
        Self {
            chain: chain.clone(),
            connection: connection.clone(),
            kind: kind.into(),
            labels: labels.to_vec(),
            mode,
            address: context.client_address,
            application: context.application.map(Into::into),
            tls: context.tls,
            purpose: context.purpose.map(Into::into),
            detects: false,
            classifies: false,
            groups_of: GROUPS_OF,
            digests: Default::default(),
        }
    }

    /// The same, at a connection that is searched for what should be masked.
    #[must_use]
    pub fn detecting(self, detects: bool) -> Self {
        Self { detects, digests: Default::default(), ..self }
    }

    /// The same, at a connection behind which something is classified.
    #[must_use]
    pub fn classifying(self, classifies: bool) -> Self {
        Self { classifies, digests: Default::default(), ..self }
    }

    /// The same, where sums of what is masked may be seen over so many values at least.
    #[must_use]
    pub fn summing_up(self, groups_of: u32) -> Self {
        Self { groups_of, digests: Default::default(), ..self }
    }

    /// Who asks.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The connection's name.
    pub fn connection(&self) -> &ConnectionName {
        &self.connection
    }

    pub(crate) fn digest(&self, counting: Counting) -> Digest {
        let compute = || {
            let mut hasher = Sha256::default();
            for link in self.chain.links() {
                (&link.key, link.kind, &link.groups, &link.sponsor).hash(&mut hasher);
            }
            (self.chain.links().len(), &self.connection, &self.kind, &self.labels, self.mode).hash(&mut hasher);
            (self.detects, self.classifies, self.groups_of).hash(&mut hasher);
            counting.address.then_some(self.address).hash(&mut hasher);
            counting.application.then_some(&self.application).hash(&mut hasher);
            counting.tls.then_some(self.tls).hash(&mut hasher);
            counting.purpose.then_some(&self.purpose).hash(&mut hasher);
            hasher.digest()
        };
        self.digests.get(counting.index()).map_or_else(compute, |digest| *digest.get_or_init(compute))
    }
}

/// What the statements of one text do, to be judged together. Made once for a text, asked for often.
#[derive(Clone, Debug)]
pub struct Matter {
    pub(crate) statements: Arc<[Meaning]>,
    pub(crate) digest: Digest,
}

impl Matter {
    /// What these statements do.
    pub fn new(statements: impl IntoIterator<Item = Meaning>) -> Self {
        let statements: Arc<[Meaning]> = statements.into_iter().collect();
        let mut hasher = Sha256::default();
        for meaning in &*statements {
            (meaning.class, &meaning.effects, &meaning.hazards, &meaning.disclosure).hash(&mut hasher);
        }
        Self { digest: hasher.digest(), statements }
    }

    /// A digest of all that they do.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Each of them.
    pub fn statements(&self) -> &[Meaning] {
        &self.statements
    }
}

/// What may be otherwise the next time.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// When it is.
    pub now: Timestamp,
    /// The groups that have approved this.
    pub approvals: &'a BTreeSet<Arc<str>>,
    /// The grants in force.
    pub grants: Grants<'a>,
    /// What whoever asks has done lately.
    pub lately: Lately<'a>,
}

/// What a chain has done lately, as far as policies look at it ([`PolicySet::looks_at`](crate::PolicySet::looks_at)).
#[derive(Clone, Copy, Debug, Default)]
pub struct Lately<'a> {
    /// The labels of the values that any of its links has seen as they are (`seen`), sorted.
    pub seen: &'a [Arc<str>],
    /// How much of its budgets is used, in hundredths of the one that is used most (`budget_used`).
    pub budget_used: u32,
}

const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const DAY: i64 = 86_400;

impl Moment<'_> {
    /// The hour of the day in UTC, 0 to 23.
    pub(crate) fn hour(&self) -> u8 {
        u8::try_from(self.now.as_secs().rem_euclid(DAY) / 3600).unwrap_or(0)
    }

    /// The day of the week in UTC, 0 for Monday. The epoch was a Thursday.
    pub(crate) fn day(&self) -> u8 {
        u8::try_from((self.now.as_secs().div_euclid(DAY) + 3).rem_euclid(7)).unwrap_or(0)
    }

    pub(crate) fn weekday(&self) -> &'static str {
        WEEKDAYS.get(usize::from(self.day())).copied().unwrap_or_default()
    }

    /// What policies know of the time.
    pub(crate) fn times(&self) -> impl Iterator<Item = (&'static str, RestrictedExpression)> {
        // To the second: `2026-11-21T03:04:05Z`.
        let second = format!("{}Z", self.now.to_string().get(..19).unwrap_or_default());
        let hour = RestrictedExpression::new_long(self.hour().into());
        let weekday = RestrictedExpression::new_string(self.weekday().to_owned());
        [("hour", hour), ("weekday", weekday), ("now", RestrictedExpression::new_datetime(second))].into_iter()
    }

    /// The digest of the approvals; zeros if there is none.
    pub(crate) fn approvals_digest(&self) -> Digest {
        if self.approvals.is_empty() {
            return [0; 32];
        }
        Sha256::of(self.approvals)
    }
}

/// Takes what hashes itself, which Rust makes free of prefixes, into SHA-256.
pub(crate) struct Sha256(digest::Context);

impl Default for Sha256 {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl Sha256 {
    /// The digest of one value.
    pub(crate) fn of(value: &impl Hash) -> Digest {
        let mut hasher = Self::default();
        value.hash(&mut hasher);
        hasher.digest()
    }

    fn digest(self) -> Digest {
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(self.0.finish().as_ref()).for_each(|(to, from)| *to = *from);
        bytes
    }
}

impl Hasher for Sha256 {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Not asked for.
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_told_in_utc() {
        let none = BTreeSet::new();
        for (secs, hour, weekday) in
            [(0, 0, "thursday"), (-1, 23, "wednesday"), (951_782_400, 0, "tuesday"), (1_795_230_245, 3, "saturday")]
        {
            let moment = Moment {
                now: Timestamp::from_secs(secs),
                approvals: &none,
                grants: Grants::default(),
                lately: Lately::default(),
            };
            assert_eq!((moment.hour(), moment.weekday()), (hour, weekday), "{secs}");
        }
    }
}
