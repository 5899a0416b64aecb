//! Statements are decided by what they do, and what is refused never reaches the upstream.

use serde_json::{Value, json};

use crate::harness::{
    Conn, Gateway, Major, Message, Raw, Server, Session, error_field, frame, sqlstate, terminated, text, text_value,
};

on_each_server!(
    what_policy_forbids_does_not_happen,
    a_refusal_is_an_error_of_the_servers_own,
    names_mean_what_the_session_made_of_them,
    what_was_defined_a_moment_ago_is_known,
    what_a_text_defines_is_there_for_the_rest_of_it,
    what_is_defined_again_in_the_same_transaction_is_another,
    a_catalog_that_cannot_be_read_is_no_permit,
    what_somebody_keeps_locked_holds_up_nobody_else,
    who_waits_for_a_lock_hides_nothing_from_who_has_it,
    observing_refuses_nothing_and_says_what_it_would,
    labels_follow_the_configuration,
    pipelines_are_understood_in_their_order,
    the_protocol_and_sql_share_their_names,
);

const SETUP: &str = "create table notes (id serial primary key, body text); insert into notes (body) values ('a'), ('b'), ('c');
    alter table notes owner to keeper; grant create on schema public to keeper; grant create on database bank to keeper;
    create view secrets as select ssn from customers; alter view secrets owner to keeper";

/// Nobody deletes, drops, or reads `ssn`; whoever changes all rows of a table needs an approval.
const FORBID: &str = r#"@id("all") permit (principal, action == Action::"connect", resource);
    @id("no-riddles") @reason("it must be plain") forbid (principal, action == Action::"unknown", resource);
    @id("no-deletes") @reason("rows stay") forbid (principal, action == Action::"delete", resource);
    @id("no-drops") @reason("tables stay") forbid (principal, action == Action::"drop", resource);
    @id("no-ssn") @reason("that is nobody's business") forbid (principal, action in Action::"read", resource)
        when { resource is Column && resource.name == "ssn" };
    @id("bulk") @reason("many rows") @approval("dba") forbid (principal, action == Action::"update", resource)
        when { context.hazards.contains("bulk_write") } unless { context.approvals.contains("dba") };"#;

async fn prepared(server: &Server) -> Session {
    let admin = server.admin("bank").await;
    admin.batch_execute(SETUP).await.unwrap();
    admin
}

fn gateway(server: &Server, line: &str) -> Gateway {
    let mut gateway = Gateway::configure(&[Conn::to("bank", server).set(line)], FORBID, "");
    gateway.add(&["user", "alice"]);
    gateway.start();
    gateway
}

/// The SQLSTATE and the words that a text is refused with.
async fn refused(session: &Session, text_of_it: &str) -> (String, String) {
    let error = session.batch_execute(text_of_it).await.expect_err(text_of_it);
    (sqlstate(&error).to_owned(), text(&error))
}

async fn what_policy_forbids_does_not_happen(major: Major) {
    let server = server!(major, &["log_statement=all"]);
    let admin = prepared(&server).await;
    let gateway = gateway(&server, "");
    let session = gateway.session("bank", "alice").await;
    for bad in [
        "delete from notes where id = 1",
        "select 1; /* */ DELETE FROM notes where id = 1",
        "with d as (delete from notes where id = 1 returning id) select * from d",
        "explain analyze delete from notes where id = 1",
        "select ssn from customers where id = 1",
        "select * from customers",
        "select * from secrets",
        "table secrets",
        "begin; drop table notes; commit",
    ] {
        let (state, words) = refused(&session, bad).await;
        assert_eq!(state, "42501", "{bad}: {words}");
        assert!(words.contains("policy no-") && words.contains("reference "), "{bad}: {words}");
        assert!(!words.to_lowercase().contains("notes") && !words.contains("select"), "nothing is echoed: {words}");
    }
    // By the extended protocol too, at Parse.
    let error = session.prepare("delete from notes where id = $1").await.unwrap_err();
    assert_eq!(sqlstate(&error), "42501");
    let (state, words) = refused(&session, "update notes set body = 'x'").await;
    assert_eq!(state, "42501");
    assert!(words.contains("the approval of dba: many rows; it is asked for as"), "{words}");
    // What is prepared may be approved later; what is run is refused now.
    let bulk = session.prepare("update notes set body = 'x'").await.unwrap();
    assert!(text(&session.execute(&bulk, &[]).await.unwrap_err()).contains("the approval of dba: many rows; it is asked for as"));
    for good in ["select 'please drop table notes'", "select name from customers", "update notes set body = 'z' where id = 3"] {
        session.batch_execute(good).await.unwrap_or_else(|error| panic!("{good}: {}", text(&error)));
    }
    assert_eq!(admin.value("select string_agg(body, ',' order by id) from notes").await, "a,b,z");
    let log = server.log().to_lowercase();
    assert!(!log.contains("delete from notes") && !log.contains("begin; drop table"), "it never reached the server");

    let (state, _) = refused(&session, "selec 1").await;
    assert_eq!(state, "42601");
    assert_eq!(refused(&session, "select * from nowhere").await.0, "42P01");

    let refusals: Vec<Value> =
        gateway.leaves_of("REQUEST").into_iter().filter(|leaf| leaf["decision"]["verdict"] == "deny").collect();
    let first = &refusals[0];
    assert_eq!((&first["decision"]["policies"], &first["statements"][0]["class"]), (&json!(["no-deletes"]), &json!("DELETE")));
    let deletes = |effect: &Value| effect["verb"] == "delete" && effect["object"] == "public.notes";
    assert!(first["statements"][0]["effects"].as_array().unwrap().iter().any(deletes), "{first}");
    let held = refusals.iter().find(|leaf| leaf["decision"]["approvals"] == json!(["dba"])).unwrap();
    assert_eq!((&held["decision"]["verdict"], &held["statements"][0]["hazards"]), (&json!("deny"), &json!(["bulk_write"])));
    drop(session);
    gateway.verify();
}

async fn a_refusal_is_an_error_of_the_servers_own(major: Major) {
    let server = server!(major);
    let admin = prepared(&server).await;
    let gateway = gateway(&server, "");
    let session = gateway.session("bank", "alice").await;
    // In a transaction it fails it: nothing more is done, and a commit rolls back.
    session.batch_execute("begin").await.unwrap();
    session.batch_execute("insert into notes (body) values ('lost')").await.unwrap();
    assert_eq!(refused(&session, "delete from notes where id = 1").await.0, "42501");
    assert_eq!(refused(&session, "select 1").await.0, "25P02");
    session.batch_execute("commit").await.unwrap();
    assert_eq!(admin.value("select count(*) from notes").await, "3");
    // A savepoint gets it back.
    session.batch_execute("begin; insert into notes (body) values ('kept'); savepoint s").await.unwrap();
    assert_eq!(refused(&session, "delete from notes where id = 1").await.0, "42501");
    session.batch_execute("rollback to s").await.unwrap();
    session.batch_execute("commit").await.unwrap();
    assert_eq!(admin.value("select count(*) from notes").await, "4");
    // In a batch nothing of it runs.
    assert_eq!(refused(&session, "insert into notes (body) values ('no'); delete from notes where id = 1").await.0, "42501");
    // In a pipeline, what comes after it up to the Sync is passed over, and what comes then is not.
    let insert = session.prepare("insert into notes (body) values ($1)").await.unwrap();
    let bulk = session.prepare("update notes set body = 'x'").await.unwrap();
    let (first, second, third) =
        tokio::join!(session.execute(&insert, &[&"one"]), session.execute(&bulk, &[]), session.execute(&insert, &[&"two"]));
    assert_eq!((first.unwrap(), sqlstate(&second.unwrap_err()), third.unwrap()), (1, "42501", 1));
    assert_eq!(admin.value("select string_agg(body, ',' order by id) from notes where id > 4").await, "kept,one,two");
}

async fn names_mean_what_the_session_made_of_them(major: Major) {
    let server = server!(major);
    let admin = prepared(&server).await;
    let more = "create schema attic; alter schema attic owner to keeper;
        create table attic.customers (id int, note text); insert into attic.customers values (1, 'old');
        alter table attic.customers owner to keeper";
    admin.batch_execute(more).await.unwrap();
    let gateway = gateway(&server, "");
    let session = gateway.session("bank", "alice").await;
    let all = "select * from customers";
    assert_eq!(refused(&session, all).await.0, "42501");
    // The path is followed, by whatever means it is set.
    session.batch_execute("set search_path = attic, public").await.unwrap();
    assert_eq!(session.value("select note from customers").await, "old");
    session.batch_execute(all).await.unwrap();
    session.batch_execute("select set_config('search_path', 'public', false)").await.unwrap();
    assert_eq!(refused(&session, all).await.0, "42501");
    assert_eq!(
        refused(&session, "set search_path = attic; select 1; reset search_path; select * from customers").await.0,
        "42501"
    );
    session.batch_execute("reset search_path").await.unwrap();
    // What a transaction set goes with it.
    session.batch_execute("begin; set search_path = attic; select * from customers").await.unwrap();
    session.batch_execute(all).await.unwrap();
    session.batch_execute("rollback").await.unwrap();
    assert_eq!(refused(&session, all).await.0, "42501");
    session.batch_execute("begin; set local search_path = attic").await.unwrap();
    session.batch_execute(all).await.unwrap();
    session.batch_execute("commit").await.unwrap();
    assert_eq!(refused(&session, all).await.0, "42501");
    session.batch_execute("begin; savepoint s; set search_path = attic").await.unwrap();
    session.batch_execute(all).await.unwrap();
    session.batch_execute("rollback to s").await.unwrap();
    assert_eq!(refused(&session, all).await.0, "42501");
    session.batch_execute("rollback").await.unwrap();

    // Prepared statements, by SQL and by the protocol, share their names.
    assert_eq!(refused(&session, "prepare d as delete from notes where id = 1").await.0, "42501");
    session.batch_execute("prepare u as update notes set body = 'x' where id = $1").await.unwrap();
    session.batch_execute("execute u(1)").await.unwrap();
    assert_eq!(admin.value("select body from notes where id = 1").await, "x");
    assert_eq!(refused(&session, "execute nothing").await.0, "26000");
    session.batch_execute("deallocate u").await.unwrap();
    assert_eq!(refused(&session, "execute u(1)").await.0, "26000");
    session.batch_execute("declare c cursor with hold for select name from customers order by id").await.unwrap();
    assert_eq!(session.value("fetch 1 from c").await, "Ada");
    session.batch_execute("close c").await.unwrap();
    refused(&session, "fetch 1 from c").await;
    session.batch_execute("discard all").await.unwrap();
    gateway.verify();
}

async fn what_was_defined_a_moment_ago_is_known(major: Major) {
    let server = server!(major);
    let admin = prepared(&server).await;
    let gateway = gateway(&server, "");
    let session = gateway.session("bank", "alice").await;
    let other = gateway.session("bank", "alice").await;
    session.batch_execute("create table fresh (id int, body text)").await.unwrap();
    session.batch_execute("insert into fresh values (1, 'x')").await.unwrap();
    other.batch_execute("select * from fresh").await.unwrap();
    session.batch_execute("alter table fresh rename body to ssn").await.unwrap();
    for session in [&session, &other] {
        assert_eq!(refused(session, "select * from fresh").await.0, "42501");
        session.batch_execute("select id from fresh").await.unwrap();
    }
    session.batch_execute("create view peek as select id from fresh").await.unwrap();
    other.batch_execute("select * from peek").await.unwrap();
    session.batch_execute("create temporary table mine as select 1 as a").await.unwrap();
    assert_eq!(session.value("select a from mine").await, "1");
    assert_eq!(refused(&other, "select a from mine").await.0, "42P01", "it is in nobody else's path");

    // In an open transaction, only the session itself sees it.
    session.batch_execute("begin").await.unwrap();
    session.batch_execute("create table inner_one (id int)").await.unwrap();
    session.batch_execute("insert into inner_one values (1)").await.unwrap();
    session.batch_execute("alter table fresh rename id to number").await.unwrap();
    assert_eq!(refused(&other, "select * from inner_one").await.0, "42P01");
    session.batch_execute("select * from inner_one").await.unwrap();
    session.batch_execute("select number from fresh").await.unwrap();
    assert_eq!(refused(&session, "select ssn from fresh").await.0, "42501");
    session.batch_execute("rollback").await.unwrap();
    session.batch_execute("select id from fresh").await.unwrap();
    assert_eq!(refused(&session, "select * from inner_one").await.0, "42P01");

    // What somebody defines by another road is known when the snapshot has grown too old.
    admin.batch_execute("create table outside (id int); grant all on outside to keeper").await.unwrap();
    let began = std::time::Instant::now();
    while session.batch_execute("select * from outside").await.is_err() {
        assert!(began.elapsed().as_secs() < 20, "it is never seen");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // In the same text, what follows a definition that does not say all that it makes cannot be told.
    assert_eq!(refused_by_unknown(&server, "create table late (like notes); insert into late values (1)").await, "42501");
}

async fn what_a_text_defines_is_there_for_the_rest_of_it(major: Major) {
    let server = server!(major);
    let admin = prepared(&server).await;
    let policies = r#"permit (principal, action == Action::"connect", resource);
        permit (principal, action in Action::"operation", resource);
        forbid (principal, action == Action::"unknown", resource);
        forbid (principal, action in Action::"read", resource) when { resource is Column && resource.labels.contains("pii.ssn") };"#;
    let conn = Conn::to("bank", &server).set("[connections.classify]\n\"public.customers.ssn\" = [\"pii.ssn\"]");
    let mut gateway = Gateway::configure(&[conn], policies, "");
    gateway.permit_no_statements();
    gateway.add(&["user", "alice"]);
    gateway.start();
    let session = gateway.session("bank", "alice").await;
    for text in [
        "drop table if exists made; create table made (id serial primary key, body text not null default 'x', at timestamptz default now())",
        "insert into made (body) values ('a'), ('b'); alter table made add column extra int default 7; update made set extra = 8 where id = 2",
        "create unique index on made (body); comment on table made is 'it'; create table part (id int references made, how text[])",
        "create schema side; create table side.apart (id int); insert into side.apart values (5); create sequence side.counter",
        "begin; create temp table made_too as select id, body from made where id < 5; insert into made_too values (9, 'c');
            insert into part select id from made_too where id < 3; commit",
        "create type mood as enum ('good', 'bad'); create table felt (how mood); insert into felt values ('good')",
        "create table fresh (id int, body text); insert into fresh select id, body from made where id = 1; drop table part;
            drop table made; create table made (id serial, body text); insert into made select id, body from fresh; insert into made values (3, 'd')",
    ] {
        session.batch_execute(text).await.unwrap_or_else(|error| panic!("{text}: {error:?}"));
    }
    assert_eq!(admin.value("select string_agg(id || body, ',' order by id) from made").await, "1a,3d");
    assert_eq!(admin.value("select (select count(*) from side.apart) + (select count(*) from felt)").await, "2");
    // Where it would be another table than it seems, or one with labels, it is not.
    for text in [
        "create temp table customers (ssn text); select ssn from customers",
        "begin; drop table secrets; create table secrets (id int); rollback; select * from secrets",
        "begin; create schema other; create table other.customers (id int); rollback; select * from customers",
        "drop table notes; select ssn from customers",
        "create table seen as select ssn from customers; select * from seen",
        "create table copied (like customers); select * from copied",
        "create view peek as select ssn from customers; select * from peek",
        "alter table customers rename ssn to note; select note from customers",
        "create schema scratch; create table scratch.customers (id int, ssn text); select ssn from customers",
        "begin; declare c cursor for select ssn from customers; create temp table customers (ssn text); fetch all from c",
        "grant usage on schema side to public; select 1",
        "alter table made rename to unmade; create table made (id int); insert into made values (1)",
        "begin; set search_path = side, public; rollback; select ssn from customers",
        "create function made() returns int language sql as 'select 1'; select 1",
    ] {
        assert_eq!(refused(&session, text).await.0, "42501", "{text}");
    }
    assert_eq!(admin.value("select count(*) from notes").await, "3");
    gateway.verify();
}

/// How a text is refused to somebody who may do all but what cannot be told.
async fn refused_by_unknown(server: &Server, text_of_it: &str) -> String {
    let policies = r#"permit (principal, action == Action::"connect", resource);
        permit (principal, action in Action::"operation", resource);"#;
    let mut gateway = Gateway::configure(&[Conn::to("bank", server)], policies, "");
    gateway.permit_no_statements();
    gateway.add(&["user", "alice"]);
    gateway.start();
    refused(&gateway.session("bank", "alice").await, text_of_it).await.0
}

async fn what_somebody_keeps_locked_holds_up_nobody_else(major: Major) {
    let server = server!(major);
    let admin = prepared(&server).await;
    admin.batch_execute("create view bodies as select body from notes; grant select on bodies to keeper").await.unwrap();
    let known = gateway(&server, "catalog_max_age = \"200ms\"");
    let session = known.session("bank", "alice").await;
    session.batch_execute("select * from bodies").await.unwrap();

    // As a restore does it, or VACUUM FULL; and something else is defined meanwhile.
    admin.batch_execute("begin; truncate notes").await.unwrap();
    server.admin("bank").await.batch_execute("create table more (id int default 1); grant all on more to keeper").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    session.batch_execute("select name from customers; insert into more default values").await.unwrap();
    assert_eq!(refused(&session, "delete from notes where id = 1").await.0, "42501");
    let waits = "set lock_timeout = '200ms'; select * from bodies";
    assert_eq!(refused(&session, waits).await.0, "55P03", "it is the server that has it wait");

    // A gateway that has never seen what is locked does not know what that does.
    let fresh = gateway(&server, "catalog_max_age = \"200ms\"");
    let session = fresh.session("bank", "alice").await;
    session.batch_execute("select name from customers; insert into more default values").await.unwrap();
    let (state, words) = refused(&session, "select * from bodies").await;
    assert!(state == "42501" && words.contains("it must be plain"), "{state} {words}");
    admin.batch_execute("rollback").await.unwrap();
    let began = std::time::Instant::now();
    while session.batch_execute("select * from bodies").await.is_err() {
        assert!(began.elapsed().as_secs() < 20, "it is never read");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(admin.value("select count(*) from notes").await, "3");
    assert_eq!(admin.value("select count(*) from more").await, "2");
}

/// What a transaction changes twice has the same number and the same writer both times.
async fn what_is_defined_again_in_the_same_transaction_is_another(major: Major) {
    let server = server!(major);
    let admin = prepared(&server).await;
    admin.batch_execute("create table mine (a text, b text); alter table mine owner to keeper").await.unwrap();
    let gateway = gateway(&server, "");
    let session = gateway.session("bank", "alice").await;
    for (first, used, second) in [
        (
            "create function f() returns bigint language sql as 'select count(*) from notes'",
            "select f()",
            "create or replace function f() returns bigint language sql as 'delete from notes; select 1::bigint'",
        ),
        (
            "create rule r as on insert to mine do also select 1",
            "insert into mine values ('a', 'b')",
            "create or replace rule r as on insert to mine do also delete from notes",
        ),
    ] {
        session.batch_execute("begin").await.unwrap();
        session.batch_execute(first).await.unwrap();
        session.batch_execute(used).await.unwrap();
        session.batch_execute(second).await.unwrap();
        let (state, words) = refused(&session, used).await;
        assert_eq!(state, "42501", "{second}: {words}");
        session.batch_execute("rollback").await.unwrap();
        // Back to the first of two.
        session.batch_execute(&format!("begin; {first}")).await.unwrap();
        session.batch_execute(used).await.unwrap();
        session.batch_execute(&format!("savepoint s; {second}; rollback to s")).await.unwrap();
        session.batch_execute(used).await.unwrap_or_else(|error| panic!("{used}: {}", text(&error)));
        session.batch_execute("rollback").await.unwrap();
    }
    assert_eq!(admin.value("select count(*) from notes").await, "3");
}

async fn who_waits_for_a_lock_hides_nothing_from_who_has_it(major: Major) {
    let server = server!(major);
    let admin = prepared(&server).await;
    let gateway = gateway(&server, "");
    let session = gateway.session("bank", "alice").await;
    session.batch_execute("begin").await.unwrap();
    session.batch_execute("create temp view v as select body from notes").await.unwrap();
    session.batch_execute("select * from v").await.unwrap();
    let waiting = tokio::spawn(async move { admin.batch_execute("alter table notes add column more text").await });
    let waits = "select count(*) from pg_locks where not granted and mode = 'AccessExclusiveLock'";
    let is_waiting = async || server.value("bank", waits).await == "1";
    crate::harness::eventually("somebody waits", std::time::Duration::from_secs(20), is_waiting).await;
    // It is defined anew, so the catalog is read.
    session.batch_execute("create or replace temp view v as select body from notes where id > 1").await.unwrap();
    session.batch_execute("select * from v").await.unwrap_or_else(|error| panic!("{}", text(&error)));
    session.batch_execute("rollback").await.unwrap();
    waiting.await.unwrap().unwrap();
}

async fn a_catalog_that_cannot_be_read_is_no_permit(major: Major) {
    let server = server!(major);
    let admin = prepared(&server).await;
    let gateway = gateway(&server, "catalog_max_age = \"200ms\"");
    let session = gateway.session("bank", "alice").await;
    session.batch_execute("select name from customers").await.unwrap();
    // The gateway's role may not read what there is any more.
    admin.batch_execute("revoke select on pg_catalog.pg_class from public").await.unwrap();
    let began = std::time::Instant::now();
    let (state, words) = loop {
        if let Err(error) = session.batch_execute("select name from customers").await {
            break (sqlstate(&error).to_owned(), text(&error));
        }
        assert!(began.elapsed().as_secs() < 20, "an old snapshot is used for ever");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(state, "55000", "{words}");
    assert!(words.contains("cannot be decided now") && words.contains("42501"), "{words}");
    let leaf = gateway.leaves_of("REQUEST").pop().unwrap();
    assert_eq!((&leaf["decision"]["verdict"], &leaf["decision"]["reason"]), (&json!("deny"), &json!("catalog.unavailable")));
    admin.batch_execute("grant select on pg_catalog.pg_class to public").await.unwrap();
    let began = std::time::Instant::now();
    while session.batch_execute("select name from customers").await.is_err() {
        assert!(began.elapsed().as_secs() < 20, "it does not recover");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn observing_refuses_nothing_and_says_what_it_would(major: Major) {
    let server = server!(major);
    let admin = prepared(&server).await;
    let gateway = gateway(&server, "mode = \"observe\"");
    let session = gateway.session("bank", "alice").await;
    session.batch_execute("delete from notes where id = 1").await.unwrap();
    session.batch_execute("update notes set body = 'x'").await.unwrap();
    assert_eq!(refused(&session, "selec 1").await, ("42601".to_owned(), "syntax error at or near \"selec\"".to_owned()));
    assert_eq!(admin.value("select string_agg(body, ',') from notes").await, "x,x");
    let would: Vec<Value> = gateway.leaves_of("REQUEST").iter().map(|leaf| leaf["decision"]["would"].clone()).collect();
    assert_eq!(would, [json!("deny"), json!("hold"), json!("deny")]);
    gateway.verify();
}

async fn labels_follow_the_configuration(major: Major) {
    let server = server!(major);
    prepared(&server).await;
    let policies = r#"@id("all") permit (principal, action == Action::"connect", resource);
        @id("pii") forbid (principal, action in Action::"read", resource in Label::"pii");"#;
    let conn = Conn::to("bank", &server).set("classify = { \"public.customers.name\" = [\"pii\"], \"public.gone\" = [\"pii\"] }");
    let mut gateway = Gateway::configure(&[conn], policies, "");
    gateway.add(&["user", "alice"]);
    gateway.start();
    let session = gateway.session("bank", "alice").await;
    assert_eq!(refused(&session, "select name from customers").await.0, "42501");
    session.batch_execute("select ssn from customers").await.unwrap();
    let warned = || gateway.log().contains("public.gone");
    assert!(warned(), "a label for nothing is said to be: {}", gateway.log());
    assert!(gateway.reload(|toml| toml.replace("public.customers.name", "public.customers.ssn")).await);
    session.batch_execute("select name from customers").await.unwrap();
    assert_eq!(refused(&session, "select ssn from customers").await.0, "42501");
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    frame(b'P', &[terminated(name), terminated(text), vec![0, 0]].concat())
}

/// Binds the unnamed portal and runs it.
fn run_bound(statement: &str) -> Vec<u8> {
    let bind = frame(b'B', &[terminated(""), terminated(statement), vec![0; 6]].concat());
    [bind, frame(b'E', &[terminated(""), vec![0; 4]].concat())].concat()
}

/// Parses and runs each of these texts in turn.
fn group(texts: &[&str]) -> Vec<u8> {
    let steps: Vec<u8> = texts.iter().flat_map(|text| [parse("", text), run_bound("")].concat()).collect();
    [steps, sync()].concat()
}

fn sync() -> Vec<u8> {
    frame(b'S', &[])
}

/// The code of the error in an answer, if there is one.
fn code(answer: &[Message]) -> Option<String> {
    answer.iter().find(|(kind, _)| *kind == b'E').map(|error| error_field(error, b'C'))
}

fn raw_session(gateway: &Gateway) -> Raw {
    let mut raw = gateway.raw("bank");
    raw.login("alice", "bank", &gateway.token(&["alice"])).unwrap();
    raw
}

async fn pipelines_are_understood_in_their_order(major: Major) {
    let server = server!(major);
    let admin = prepared(&server).await;
    let more = "create schema attic; grant all on schema attic to keeper; create table attic.customers (id int, note text);
        insert into attic.customers values (1, 'old'); alter table attic.customers owner to keeper";
    admin.batch_execute(more).await.unwrap();
    let gateway = gateway(&server, "");
    let mut raw = raw_session(&gateway);
    let all = "select * from customers";
    // Nothing is waited for between these: each is decided after what it runs after.
    let texts = ["set search_path = attic", all, "set search_path = public", all, "select 1"];
    raw.send(&texts.map(|text| frame(b'Q', &terminated(text))).concat());
    let codes: Vec<_> = texts.iter().map(|_| code(&raw.until_ready())).collect();
    assert_eq!(codes, [None, None, None, Some("42501".to_owned()), None]);
    // In one group: what is said counts, as far as nothing before it fails.
    raw.send(&group(&["set search_path = attic", all]));
    assert_eq!(code(&raw.until_ready()), None);
    raw.send(&group(&["set search_path = public", all]));
    assert_eq!(code(&raw.until_ready()).as_deref(), Some("42501"));
    // The refusal undid the group, so the path is still what it was before it.
    assert_eq!(text_value(&raw.query("select note from customers")), "old");
    raw.query("reset search_path");
    // What is not said leaves the rest of its group unknown, and nothing hangs.
    raw.send(&group(&["reset search_path", "select 1"]));
    assert_eq!(code(&raw.until_ready()).as_deref(), Some("42501"));
    raw.send(&group(&["create table made (like notes)", "insert into made values (1)"]));
    assert_eq!(code(&raw.until_ready()).as_deref(), Some("42501"));
    // What a definition says that it makes is there for the rest of its group.
    let good =
        ["set search_path = attic", "create table grouped (id int)", "insert into grouped values (1)", "select id from grouped"];
    raw.send(&group(&good));
    assert_eq!(code(&raw.until_ready()), None);
    assert_eq!(admin.value("select count(*) from attic.grouped").await, "1");
    raw.query("reset search_path");
    for bad in [
        ["create table later (ssn text)", "select ssn from later"],
        ["create temporary table customers (id int) on commit drop", all],
        ["create function one() returns int language sql as 'select 1'", "select 1"],
        ["create table later (id int)", "rollback"],
    ] {
        raw.send(&group(&[bad[0], bad[1], all]));
        assert_eq!(code(&raw.until_ready()).as_deref(), Some("42501"), "{bad:?}");
    }
    // Also where it takes another's name.
    let mut other = raw_session(&gateway);
    other.send(&group(&["create temporary table customers (id int)", all]));
    let answer = other.until_ready();
    assert_eq!((code(&answer), answer.iter().any(|(kind, _)| *kind == b'D')), (None, false));
    raw.send(&[group(&["create table made (id int)"]), group(&["insert into made values (1)"]), group(&[all])].concat());
    let codes = [(); 3].map(|()| code(&raw.until_ready()));
    assert_eq!(codes, [None, None, Some("42501".to_owned())]);
    assert_eq!(admin.value("select count(*) from made").await, "1");
    // A portal that waits, and changes the session when it goes on.
    raw.query("begin");
    let step = "select set_config('search_path', 'attic', true) from generate_series(1, 2)";
    let bind = frame(b'B', &[terminated("p"), terminated(""), vec![0; 6]].concat());
    let more = frame(b'E', &[terminated("p"), vec![0, 0, 0, 1]].concat());
    raw.send(&[parse("", step), bind, more.clone(), sync()].concat());
    assert_eq!(code(&raw.until_ready()), None);
    raw.send(&frame(b'Q', &terminated(all)));
    assert_eq!(code(&raw.until_ready()), None);
    raw.send(&[more, parse("", "select * from secrets"), run_bound(""), sync()].concat());
    assert!(code(&raw.until_ready()).is_some(), "it is not known what the name stands for, and nobody waits for ever");
    raw.query("rollback");
    assert_eq!(code(&raw.query(all)).as_deref(), Some("42501"));
    gateway.verify();
}

async fn the_protocol_and_sql_share_their_names(major: Major) {
    let server = server!(major);
    let admin = prepared(&server).await;
    let gateway = gateway(&server, "");
    let mut raw = raw_session(&gateway);
    // SQL runs what the protocol prepared, also in a pipeline.
    raw.send(&[parse("one", "update notes set body = 'one' where id = 1"), sync()].concat());
    assert_eq!(code(&raw.until_ready()), None);
    assert_eq!(code(&raw.query("execute one")), None);
    raw.send(&[parse("bulk", "update notes set body = 'all'"), sync(), frame(b'Q', &terminated("execute bulk"))].concat());
    assert_eq!(code(&raw.until_ready()), None, "to prepare it is no harm");
    assert_eq!(code(&raw.until_ready()).as_deref(), Some("42501"));
    // The protocol runs what SQL prepared.
    assert_eq!(code(&raw.query("prepare two as update notes set body = 'two' where id = 2")), None);
    raw.send(&[run_bound("two"), sync()].concat());
    assert_eq!(code(&raw.until_ready()), None);
    assert_eq!(code(&raw.query("prepare many as update notes set body = 'all'")).as_deref(), Some("42501"));
    raw.send(&[run_bound("many"), sync()].concat());
    assert_eq!(code(&raw.until_ready()).as_deref(), Some("26000"));
    raw.send(&[run_bound("bulk"), sync()].concat());
    assert_eq!(code(&raw.until_ready()).as_deref(), Some("42501"));
    // A name is what was last made of it.
    raw.query("deallocate two");
    raw.send(&[parse("two", "select name from customers where id = 1"), run_bound("two"), sync()].concat());
    assert_eq!(text_value(&raw.until_ready()), "Ada");
    assert_eq!(text_value(&raw.query("execute two")), "Ada");
    raw.send(&[frame(b'C', &[b"S".to_vec(), terminated("two")].concat()), sync()].concat());
    assert_eq!(code(&raw.until_ready()), None);
    assert_eq!(code(&raw.query("execute two")).as_deref(), Some("26000"));
    // A cursor of SQL's as a portal.
    raw.query("begin; declare c cursor for select name from customers order by id");
    raw.send(&[frame(b'E', &[terminated("c"), vec![0; 4]].concat()), sync()].concat());
    assert_eq!(text_value(&raw.until_ready()), "Ada");
    raw.query("rollback");
    assert_eq!(admin.value("select string_agg(body, ',' order by id) from notes").await, "one,two,c");
    gateway.verify();
}
