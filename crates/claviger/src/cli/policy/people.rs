//! Who asks, as the command line and tests name them.

use std::collections::BTreeMap;

use claviger_api::wire::Kind;
use claviger_api::{Act, Management as _};
use claviger_model::{Chain, Principal, PrincipalKey, PrincipalKind};
use serde::Deserialize;

use crate::admin::Admin;
use crate::cli::Failure;
use crate::config::{Config, LOCAL_ISSUER};

/// A principal that policies are tried with.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Person {
    /// `user` or `workload`.
    #[serde(default)]
    pub(super) kind: Option<PrincipalKind>,
    /// The groups that its issuer says it is in.
    #[serde(default)]
    pub(super) groups: Vec<String>,
    /// The human who answers for a workload.
    #[serde(default)]
    pub(super) sponsor: Option<String>,
}

/// Everybody who is known, by `subject@issuer`.
#[derive(Debug, Default)]
pub(super) struct People(BTreeMap<PrincipalKey, Person>);

impl People {
    pub(super) fn add(&mut self, name: &str, person: Person) {
        self.0.insert(key(name), person);
    }

    /// A chain, written `assistant for alice`, of those who are known.
    pub(super) fn chain(&self, text: &str) -> Result<Chain, Failure> {
        let links = text.split(" for ").map(|name| self.principal(name.trim()));
        let links = links.collect::<Result<Vec<_>, _>>()?;
        Chain::from_links(links).map_err(|error| Failure::Usage(error.to_string()))
    }

    fn principal(&self, name: &str) -> Result<Principal, Failure> {
        let key = key(name);
        let person = self.0.get(&key).ok_or_else(|| Failure::Usage(format!("who is `{name}`? nobody of that name is known")))?;
        let mut groups: Vec<_> = person.groups.iter().map(|group| group.as_str().into()).collect();
        groups.sort_unstable();
        groups.dedup();
        Ok(Principal {
            key,
            kind: person.kind.unwrap_or(PrincipalKind::User),
            groups,
            sponsor: person.sponsor.as_deref().map(self::key),
        })
    }
}

/// `alice` of the local issuer, or `alice@corp`.
pub(super) fn key(name: &str) -> PrincipalKey {
    let (subject, issuer) = name.rsplit_once('@').unwrap_or((name, LOCAL_ISSUER));
    PrincipalKey::new(issuer, subject)
}

impl People {
    /// Those whom the gateway of this machine knows.
    pub(super) fn registered(config: Config) -> Result<Self, Failure> {
        let admin = Admin::on_this_machine(config)?;
        let mut people = Self::default();
        for principal in admin.admit_local(Act::ListPrincipals, "*")?.principals()? {
            let kind = Some(if principal.kind == Kind::Workload { PrincipalKind::Workload } else { PrincipalKind::User });
            people.add(&principal.principal, Person { kind, groups: principal.groups, sponsor: principal.sponsor });
        }
        Ok(people)
    }

    /// Takes somebody of whom nothing is known for a user without groups.
    pub(super) fn know(&mut self, name: &str) {
        self.0.entry(key(name)).or_default();
    }

    /// Says that somebody is a workload.
    pub(super) fn is_workload(&mut self, name: &str) {
        self.0.entry(key(name)).or_default().kind = Some(PrincipalKind::Workload);
    }

    /// Puts people into groups, each written `SUBJECT[@ISSUER]=GROUP`.
    pub(super) fn join_all(&mut self, memberships: &[String]) -> Result<(), Failure> {
        for membership in memberships {
            let wrong = || Failure::Usage(format!("`--group {membership}`: must be SUBJECT[@ISSUER]=GROUP"));
            let (name, group) = membership.rsplit_once('=').ok_or_else(wrong)?;
            self.0.entry(key(name)).or_default().groups.push(group.to_owned());
        }
        Ok(())
    }

    /// Those of a chain of whom nothing is known.
    pub(super) fn unknown(&self, chain: &[String]) -> impl Iterator<Item = String> {
        chain.iter().filter(|name| !self.0.contains_key(&key(name))).cloned()
    }

    /// A chain of those who are known, and of others, who are taken for users without groups.
    pub(super) fn chain_of_anybody(&self, chain: &[String]) -> Result<Chain, Failure> {
        let mut people = Self(self.0.clone());
        chain.iter().for_each(|name| people.know(name));
        people.chain(&chain.join(" for "))
    }
}
