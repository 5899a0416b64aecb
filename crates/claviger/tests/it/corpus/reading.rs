//! Judging cases without a gateway: a statement is understood against the catalog of a real server, and the starter pack is asked.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use claviger_model::{Chain, ConnectionName, Meaning, Mode, Principal, PrincipalKey, PrincipalKind, Timestamp};
use claviger_policy::{Context, Matter, Moment, Party, PolicySet, Ruling};
use claviger_sql::{Catalog, Classification, NotUnderstood, QUESTION, Session, understand};

use super::cases::Case;
use crate::harness;

/// Reads a server's catalog, as it is now.
pub(crate) async fn catalog(admin: &harness::Session, classes: &Classification) -> Catalog {
    let rows = admin.rows(QUESTION).await;
    let cell = |cell: Option<String>| cell.map(|text| text.into_bytes().into());
    let rows: Vec<Vec<_>> = rows.into_iter().map(|row| row.into_iter().map(cell).collect()).collect();
    Catalog::read(&rows, classes, None).unwrap()
}

/// A session that has just been opened as this role.
pub(crate) fn session(catalog: &Catalog, role: &str) -> Session {
    Session { path: catalog.path().to_vec(), role: role.into(), login: role.into(), ..Session::default() }
}

/// What is understood and decided.
pub(super) struct Judge {
    policies: PolicySet,
    party: Party,
    pub(super) catalog: Catalog,
}

impl Judge {
    pub(super) fn new(policies: &str, catalog: Catalog) -> Self {
        let policies = PolicySet::load(&[("policies".to_owned(), policies.to_owned())], "local").unwrap();
        let agent = Principal {
            key: PrincipalKey::new("local", "agent"),
            kind: PrincipalKind::Workload,
            groups: vec!["agents".into()],
            sponsor: None,
        };
        let chain = Chain::from_links(vec![agent]).unwrap();
        let context = Context { client_address: IpAddr::V4(Ipv4Addr::LOCALHOST), application: None, tls: true, purpose: None };
        let name: ConnectionName = "superuser".parse().unwrap();
        Self { policies, party: Party::new(&chain, &name, "postgres", &[], Mode::Enforce, context), catalog }
    }

    /// What becomes of a case, and what its last statements were understood to do.
    pub(super) fn judge(&self, case: &Case) -> (String, Vec<Meaning>) {
        let mut session = session(&self.catalog, "postgres");
        let mut meanings = Vec::new();
        for step in case.steps() {
            let statements = match understand(step.text(), &self.catalog, &session) {
                Ok(statements) => statements,
                // The server says so itself.
                Err(NotUnderstood::Undefined(_)) => continue,
                Err(error) => return (format!("blocked: {error}"), Vec::new()),
            };
            statements.iter().flat_map(|statement| &statement.transitions).for_each(|change| session.apply(change));
            meanings = statements.into_iter().map(|statement| statement.meaning).collect();
            let matter = Matter::new(meanings.clone());
            let moment = Moment {
                now: Timestamp::from_secs(1_750_000_000),
                approvals: &BTreeSet::<Arc<str>>::new(),
                grants: claviger_policy::Grants::default(),
                lately: claviger_policy::Lately::default(),
            };
            match &self.policies.judge(&self.party, &matter, &moment).ruling {
                Ruling::Permit => {}
                Ruling::Deny => return ("blocked".to_owned(), meanings),
                Ruling::Hold(_) => return ("approval".to_owned(), meanings),
            }
        }
        ("allow".to_owned(), meanings)
    }
}
