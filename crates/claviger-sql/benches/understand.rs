//! What it costs to understand a statement that has not been seen before.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use claviger_sql::{Catalog, Classification, Session, understand};
use criterion::{Criterion, criterion_group, criterion_main};

fn statements(criterion: &mut Criterion) {
    let catalog = Catalog::read_text(include_str!("../tests/catalog.tsv"), &Classification::default()).unwrap();
    let session = Session { path: vec!["pg_catalog".into(), "public".into()], ..Session::default() };
    for (name, text) in [
        ("one", "select 1"),
        ("five columns of a table", "select id, name, email, branch, balance from customers where id = 4711"),
        (
            "a join with groups",
            "select b.name, count(*), sum(c.balance) from customers c join branches b on b.code = c.branch where c.balance > 100 group by b.name order by 2 desc limit 10",
        ),
        ("an update that sets off a trigger", "update customers set name = 'x' where id = 3"),
        ("a view of a view", "select name from v_names where branch = 'NY'"),
    ] {
        criterion.bench_function(name, |bencher| bencher.iter(|| understand(black_box(text), &catalog, &session).unwrap()));
    }
}

criterion_group!(benches, statements);
criterion_main!(benches);
