//! What it costs to judge a statement: one that was judged before, and one that was not.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use claviger_model::{
    Chain, Column, Effect, Labels, Meaning, Mode, Object, Principal, PrincipalKey, PrincipalKind, Table, TableKind, Timestamp,
    Verb,
};
use claviger_policy::{Context, Grants, Lately, Matter, Moment, Party, PolicySet};
use criterion::{Criterion, criterion_group, criterion_main};

/// The packs of agents and engineers, which are about thirty.
fn packs() -> PolicySet {
    let pack = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let packs = [
        pack("agents.cedar", include_str!("../../../policies/agents.cedar")),
        pack("agents-mass-export.cedar", include_str!("../../../policies/agents-mass-export.cedar")),
        pack("engineers.cedar", include_str!("../../../policies/engineers.cedar")),
    ];
    PolicySet::load(&packs, "local").unwrap()
}

fn principal(name: &str, kind: PrincipalKind, group: &str) -> Principal {
    Principal { key: PrincipalKey::new("local", name), kind, groups: vec![group.into()], sponsor: None }
}

fn party(links: Vec<Principal>) -> Party {
    let chain = Chain::from_links(links).unwrap();
    let context = Context { client_address: IpAddr::from([127, 0, 0, 1]), application: Some("psql"), tls: true, purpose: None };
    Party::new(&chain, &"bank".parse().unwrap(), "postgres", &["environment.production".into()], Mode::Enforce, context)
}

/// Five columns of one table are read, one of which has a label.
fn matter() -> Matter {
    let (none, pii): (Labels, Labels) = (Arc::new([]), Arc::new(["pii.ssn".into()]));
    let table = Arc::new(Table {
        schema: "public".into(),
        name: "customers".into(),
        id: 16_384,
        kind: TableKind::Table,
        system: false,
        labels: Arc::clone(&none),
        holds: Arc::clone(&pii),
    });
    let columns = ["id", "name", "email", "branch", "ssn"].into_iter().zip(1..).map(|(name, number)| {
        let labels = Arc::clone(if name == "ssn" { &pii } else { &none });
        let column = Column { table: Arc::clone(&table), name: name.into(), number, kind: 25, labels };
        Effect { verb: Verb::Read, object: Object::Column(Arc::new(column)), through: None }
    });
    Matter::new([Meaning { class: "SELECT", effects: columns.collect(), ..Meaning::default() }])
}

fn judging(criterion: &mut Criterion) {
    let (policies, none) = (packs(), BTreeSet::new());
    let moment = Moment {
        now: Timestamp::from_secs(1_795_230_245),
        approvals: &none,
        grants: Grants::default(),
        lately: Lately::default(),
    };
    let alone = party(vec![principal("alice", PrincipalKind::User, "engineers")]);
    let agent = party(vec![
        principal("assistant", PrincipalKind::Workload, "agents"),
        principal("alice", PrincipalKind::User, "engineers"),
    ]);
    let matter = matter();
    criterion.bench_function("judged before", |bencher| bencher.iter(|| policies.judge(&agent, &matter, &moment)));
    criterion.bench_function("not judged before", |bencher| bencher.iter(|| policies.examine(&alone, &matter, &moment)));
    criterion.bench_function("not judged before, an agent for somebody", |bencher| {
        bencher.iter(|| policies.examine(&agent, &matter, &moment));
    });
    criterion.bench_function("a matter made", |bencher| bencher.iter(|| Matter::new(matter.statements().to_vec())));
}

criterion_group!(benches, judging);
criterion_main!(benches);
