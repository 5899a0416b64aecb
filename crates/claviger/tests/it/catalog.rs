//! The question that a server is asked for its catalog, put to real servers.

use bytes::Bytes;
use claviger_sql::{Catalog, CatalogError, Classification, FINGERPRINT, QUESTION, QUESTION_AGAIN, SNAPSHOT};

use crate::harness::{Major, Session};

on_each_server!(
    the_whole_catalog_is_read,
    what_came_with_the_server_is_read_once,
    a_hostile_search_path_answers_nothing,
    whatever_is_defined_changes_the_fingerprint,
    a_snapshot_lasts_while_nobody_writes,
    nobodys_lock_is_waited_for,
);

const FIXTURE: &str = include_str!("../../../claviger-sql/tests/fixture.sql");

async fn read(session: &Session) -> Catalog {
    read_after(session, None).await
}

async fn read_after(session: &Session, before: Option<&Catalog>) -> Catalog {
    Catalog::read(&answer(session, QUESTION).await, &Classification::default(), before).unwrap()
}

async fn answer(session: &Session, question: &str) -> Vec<Vec<Option<Bytes>>> {
    let rows = session.rows(question).await;
    rows.into_iter().map(|row| row.into_iter().map(|value| value.map(Bytes::from)).collect()).collect()
}

fn fixture() -> String {
    FIXTURE.replace("create role keeper;", "drop table customers; grant keeper to current_user;")
}

async fn the_whole_catalog_is_read(major: Major) {
    let server = server!(major);
    let admin = server.admin("bank").await;
    admin.batch_execute(&fixture()).await.unwrap();
    let catalog = read(&admin).await;
    let answer = admin.value(FINGERPRINT).await;
    assert_eq!(catalog.fingerprint(), answer);

    // Every relation that the server has, with as many columns.
    let all = admin
        .rows(
            "select n.nspname || '.' || c.relname, count(a.attnum) from pg_class c join pg_namespace n on n.oid = relnamespace \
             left join pg_attribute a on attrelid = c.oid and attnum > 0 and not attisdropped \
             where relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c') group by 1",
        )
        .await;
    let expected = all.into_iter().filter(|row| !row[0].as_ref().unwrap().starts_with("pg_toast."));
    let mut expected: Vec<_> = expected.map(|row| (row[0].clone().unwrap(), row[1].clone().unwrap())).collect();
    let found = catalog.relations().filter(|one| &*one.table.schema != "pg_toast");
    let mut found: Vec<_> =
        found.map(|one| (format!("{}.{}", one.table.schema, one.table.name), one.columns.len().to_string())).collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);

    let customers = catalog.find_relation(None, "customers", catalog.path()).unwrap();
    assert_eq!((customers.triggers.len(), customers.references.len(), customers.keys.len()), (1, 1, 2));
    assert_eq!(customers.children.len(), 1);
    assert!(!customers.table.system && &*customers.owner == "keeper");
    let branches = catalog.find_relation(Some("public"), "branches", &[]).unwrap();
    assert_eq!(branches.rules.len(), 1);
    let scoped = catalog.find_relation(Some("public"), "scoped", &[]).unwrap();
    assert_eq!((scoped.policies.len(), scoped.expressions.len()), (2, 2));
    let view = catalog.find_relation(Some("public"), "v_names", &[]).unwrap();
    assert!(view.definition.as_ref().unwrap().contains("v_customers"));
    for (function, count) in [("f_ssn", 1), ("f_pair", 1), ("p_purge", 1), ("a_sum", 1), ("lower", 0)] {
        assert_eq!(catalog.find_functions(None, function, catalog.path()).count(), count, "{function}");
    }
    assert_eq!(catalog.find_operators(None, "===", catalog.path()).count(), 1);
    assert_eq!(catalog.casts().len(), 2);
    let scratch = catalog.find_relation(None, "scratch", catalog.path()).unwrap();
    assert_eq!(scratch.table.kind.as_str(), "temporary");
}

async fn what_came_with_the_server_is_read_once(major: Major) {
    let server = server!(major);
    let admin = server.admin("bank").await;
    let labels = ["public.customers.ssn", "pg_catalog.pg_authid.rolpassword"];
    let labels: Classification = labels.iter().map(|name| (name.parse().unwrap(), ["secret".into()].into())).collect();
    let before = Catalog::read(&answer(&admin, QUESTION).await, &labels, None).unwrap();
    // What a superuser adds there is not the server's own.
    let more = "create table more (id int, of customers); create type mood as enum ('good'); create view pg_catalog.ours as select 1 as one;
        alter table customers add column extra text; create domain information_schema.ours as text";
    admin.batch_execute(&format!("set allow_system_table_mods = on; {more}")).await.unwrap();
    let (whole, again) = (answer(&admin, QUESTION).await, answer(&admin, &QUESTION_AGAIN).await);
    assert!(again.len() * 5 < whole.len(), "{} of {}", again.len(), whole.len());
    let (whole, again) = (Catalog::read(&whole, &labels, None).unwrap(), Catalog::read(&again, &labels, Some(&before)));
    assert_eq!(told(&again.unwrap()), told(&whole));
    let again = answer(&admin, &QUESTION_AGAIN).await;
    assert_eq!(Catalog::read(&again, &labels, None).map(|_| ()), Err(CatalogError::NotWhole));
}

/// All that is said of tables and types, in order.
fn told(catalog: &Catalog) -> Vec<String> {
    let mut told: Vec<_> = catalog.relations().map(|relation| format!("{relation:?}")).collect();
    let types = (1..100_000).filter_map(|id| catalog.kind(id));
    told.extend(types.map(|kind| format!("{kind:?}")));
    let mut classified: Vec<_> = catalog.classified().iter().copied().collect();
    classified.sort_unstable();
    told.push(format!("{classified:?} {:?} {:?}", catalog.bindings(), catalog.unmatched()));
    told.sort_unstable();
    told
}

/// Whoever owns a schema that comes first in the path could answer for the server, if a name were left to the path.
async fn a_hostile_search_path_answers_nothing(major: Major) {
    let server = server!(major);
    let admin = server.admin("bank").await;
    let before = (admin.value(FINGERPRINT).await, admin.rows(QUESTION).await);
    let admin = server.admin("bank").await;
    admin
        .batch_execute(
            "create schema evil;
             create table evil.pg_class (oid oid); create table evil.pg_attribute (attrelid oid);
             create view evil.pg_roles as select 1 as oid;
             create function evil.sum(bigint) returns numeric language sql immutable as 'select 1::numeric';
             create function evil.unnest(oid[]) returns setof oid language sql as 'select 0::oid';
             create function evil.json_build_object(variadic \"any\") returns json language internal as 'json_build_object';
             create function evil.no(oid, oid) returns boolean language sql immutable as 'select false';
             create function evil.no(text, text) returns boolean language sql immutable as 'select false';
             create function evil.no(\"char\", \"char\") returns boolean language sql immutable as 'select false';
             create operator evil.= (leftarg = oid, rightarg = oid, function = evil.no);
             create operator evil.= (leftarg = text, rightarg = text, function = evil.no);
             create operator evil.= (leftarg = \"char\", rightarg = \"char\", function = evil.no);
             create operator evil.<> (leftarg = \"char\", rightarg = \"char\", function = evil.no);
             create domain evil.int2 as text; create domain evil.text as int; create domain evil.oid as text;
             set search_path = evil, pg_catalog",
        )
        .await
        .unwrap();
    let catalog = read(&admin).await;
    assert_eq!(catalog.path().first().map(|schema| &**schema), Some("evil"));
    let straight = server.admin("bank").await;
    assert_eq!(admin.value(FINGERPRINT).await, straight.value(FINGERPRINT).await);
    assert_ne!(straight.value(FINGERPRINT).await, before.0);
    assert!(catalog.relations().count() > before.1.iter().filter(|row| row[0].as_deref() == Some("relation")).count());
    assert_eq!(catalog.find_relation(Some("public"), "customers", &[]).unwrap().columns.len(), 3);
    let rows = admin.rows(QUESTION).await.len();
    assert_eq!(rows, straight.rows(QUESTION).await.len());
}

async fn a_snapshot_lasts_while_nobody_writes(major: Major) {
    let server = server!(major, &["autovacuum=off"]);
    let (admin, other) = (server.admin("bank").await, server.admin("bank").await);
    let mut last = admin.value(SNAPSHOT).await;
    for reading in ["select * from customers", "begin read only; select 1; commit"] {
        other.batch_execute(reading).await.unwrap();
        assert_eq!(admin.value(SNAPSHOT).await, last, "{reading}");
    }
    // A change is seen when it can be seen: not before its transaction ends, and then at once, whatever has begun and ended meanwhile.
    for (change, seen) in [
        ("create table t (id int)", true),
        ("begin; alter table t rename to u", false),
        ("commit", true),
        ("begin; savepoint a; alter table u rename to v; release a", false),
        ("rollback", false),
        ("do $$ begin alter table u rename to w; end $$", true),
    ] {
        other.batch_execute(change).await.unwrap();
        let now = admin.value(SNAPSHOT).await;
        assert!(!seen || now != last, "{change}");
        last = now;
    }
}

/// Somebody is in the middle of changing one thing or another: all is read all the same, and is what it was.
async fn nobodys_lock_is_waited_for(major: Major) {
    let server = server!(major);
    let (admin, other) = (server.admin("bank").await, server.admin("bank").await);
    admin.batch_execute(&fixture().replace("create temporary table", "create table")).await.unwrap();
    admin.batch_execute("reset role; set lock_timeout = '200ms'").await.unwrap();
    other
        .batch_execute(
            "create policy branchy on scoped using (exists (select from branches where code = owner));
             create function f_row(c customers) returns text begin atomic select (c).name; end;
             create domain customer as customers check ((value).id > 0);
             create table log (old customers, new customer default row(1, 'a', null, null, null, 0, null)::customers, check ((old).id > 0));
             create index on log (((old).name));
             create function f_all() returns setof customers language sql stable as 'select * from customers';
             create view v_all as select count(*) from f_all() as c;
             create function f_given(c customers default row(1, 'a', null, null, null, 0, null)::customers) returns int language sql as 'select 1';
             create function f_several() returns bigint begin atomic select count(*) from accounts join branches on true; end",
        )
        .await
        .unwrap();
    let before = read(&admin).await;
    let known = |catalog: &Catalog| {
        let mut all: Vec<String> = catalog.relations().map(|relation| format!("{relation:?}")).collect();
        all.extend(catalog.functions().map(|function| format!("{function:?}")));
        all.sort_unstable();
        all
    };
    let ours = before.relations().filter(|one| !one.table.system && &*one.table.schema != "pg_toast");
    let names: Vec<String> = ours
        .filter(|one| one.table.kind.as_str() != "composite")
        .map(|one| format!("{:?}.{:?}", one.table.schema, one.table.name))
        .collect();
    assert!(names.len() > 15, "{names:?}");
    let mut left_out = 0;
    for name in names {
        other.batch_execute(&format!("begin; alter table {name} rename to something_else")).await.unwrap();
        // One that has looked at nothing yet knows no row's type.
        let fresh = server.admin("bank").await;
        fresh.batch_execute("set lock_timeout = '200ms'").await.unwrap();
        let first = read(&fresh).await;
        left_out += usize::from(first.is_partial());
        let now = read_after(&admin, Some(&before)).await;
        assert!(!now.is_partial(), "{name}");
        assert_eq!(known(&now), known(&before), "{name}");
        other.batch_execute("rollback").await.unwrap();
        assert!(!read_after(&admin, Some(&first)).await.is_partial(), "{name}");
    }
    assert!(left_out > 8, "{left_out}");
}

async fn whatever_is_defined_changes_the_fingerprint(major: Major) {
    let server = server!(major);
    let admin = server.admin("bank").await;
    admin.batch_execute(&fixture()).await.unwrap();
    admin.batch_execute("reset role").await.unwrap();
    let mut last = admin.value(FINGERPRINT).await;
    for harmless in ["select * from customers", "insert into notes (body) values ('x')", "analyze notes", "vacuum customers"] {
        admin.batch_execute(harmless).await.unwrap();
        assert_eq!(admin.value(FINGERPRINT).await, last, "{harmless}");
    }
    for change in [
        "alter table customers rename column email to mail",
        "alter table accounts alter kind type varchar",
        "alter table notes alter body set default 'x'",
        "alter table notes alter body drop default",
        "alter table notes rename to jottings",
        "create index on jottings (lower(body))",
        "create unique index on jottings (body)",
        "alter table customers enable trigger sleeping",
        "alter table customers disable trigger audited",
        "drop trigger audited on customers",
        "create or replace function f_ssn(int) returns text language sql stable as 'select name from customers where id = $1'",
        "alter function f_ssn(int) security definer",
        "create or replace view v_names as select name, branch from v_customers",
        "drop rule noted on branches",
        "alter table scoped disable row level security",
        "alter policy own on scoped using (true)",
        "alter table accounts drop constraint accounts_customer_id_fkey",
        "alter table accounts add foreign key (customer_id) references customers on delete set null",
        "alter table vip_customers no inherit customers",
        "alter table events detach partition events_2025",
        "alter domain positive add check (value < 10)",
        "alter domain positive set default 2",
        "create operator ==== (leftarg = text, rightarg = int, function = f_eq)",
        "drop cast (mood as pair)",
        "alter schema public rename to private",
        "create schema public",
        "alter table private.jottings set schema public",
        "create aggregate a_max(int) (sfunc = int4larger, stype = int)",
        "alter table private.customers owner to postgres",
        "alter role auditor rename to controller",
        "create temporary table t (id int)",
        "drop table t",
        "create function e() returns event_trigger language plpgsql as 'begin end'",
        "create event trigger e on ddl_command_end execute function e()",
        "alter event trigger e disable",
        "create type bigger as enum ('a')",
        "drop table private.scoped",
    ] {
        admin.batch_execute(change).await.unwrap();
        let now = admin.value(FINGERPRINT).await;
        assert_ne!(now, last, "{change}");
        last = now;
    }
    read(&admin).await;
}
