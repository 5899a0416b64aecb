//! The role that the upstream itself keeps from what is classified, made by the script that the command line prints.

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::harness::{Conn, Gateway, Major, PERMIT_ALL, Server, sqlstate, text};

on_each_server!(
    a_role_reads_masked_views_and_no_classified_column,
    the_gateway_works_with_such_a_role,
    a_script_that_would_not_hold_changes_nothing,
);

const SETUP: &str = r#"
    create type mood as enum ('calm', 'gone');
    create domain code as varchar(12) check (value ~ '^TX');
    create schema "S'1""x";
    create table people (id int primary key, name text not null, ssn text, card varchar(19) collate "C", born date, salary numeric(10,2),
        uid uuid, mail text, tax code, doc jsonb, tags text[], feels mood, seen timestamptz, level smallint, raw bytea, pad char(12));
    insert into people values
        (1, 'Ada', '536-90-4399', '4111 1111 1111 1111', '1987-03-17', 58123.50, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
         'ada@bank.example', 'TX-77', '{"k": "v"}', '{a,b}', 'gone', '2024-02-03 04:05:06+00', 57, '\xdeadbeef', 'ab-12-cd-3'),
        (2, 'Bela', null, null, null, null, null, null, null, null, null, null, null, null, null, null),
        (3, 'Cleo', '12', 'Łódź', '-infinity', 'NaN', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12',
         'nobody', 'TX-78', '{"k": "w"}', '{c}', 'calm', '2024-02-03 04:05:06+00', -32768, '', 'x');
    create table "S'1""x"."T $floor0$ %I.1" ("C""o'l; --" text, "id" int, "Mixed" int) partition by range (id);
    create table "S'1""x"."Part" partition of "S'1""x"."T $floor0$ %I.1" for values from (0) to (10);
    insert into "S'1""x"."T $floor0$ %I.1" values ('536-90-4399', 1, 7);
    create schema "a schema of sixty-three bytes, which is as long as names may be"; create table
        "a schema of sixty-three bytes, which is as long as names may be"."Łódź" ("ß" text);
    insert into "a schema of sixty-three bytes, which is as long as names may be"."Łódź" values ('536-90-4399');
    grant usage on schema "a schema of sixty-three bytes, which is as long as names may be" to keeper;
    grant select on "a schema of sixty-three bytes, which is as long as names may be"."Łódź" to keeper;
    create table open (id int, line text); insert into open values (1, 'all may read');
    create view contacts as select name, upper(mail) as mail from people;
    create materialized view kept as select id, ssn from people;
    create table tenants (id int, ssn text); alter table tenants enable row level security;
    create table parent (id int, ssn text); create table child (extra int) inherits (parent); insert into child values (1, '536-90-4399', 2);
    create function told() returns text security definer language sql as 'select ssn from people limit 1';
    revoke create on schema public from public;
    grant usage on schema "S'1""x" to keeper; grant select on all tables in schema "S'1""x" to keeper; grant select on all tables in schema public to keeper;"#;

const CLASSIFY: &str = r#"[connections.classify]
    "public.people.ssn" = ["ssn"]
    "public.people.card" = ["card"]
    "public.people.born" = ["born"]
    "public.people.salary" = ["pay"]
    "public.people.uid" = ["uid"]
    "public.people.mail" = ["mail"]
    "public.people.tax" = ["pii"]
    "public.people.doc" = ["pii"]
    "public.people.tags" = ["pii"]
    "public.people.feels" = ["pii"]
    "public.people.seen" = ["born"]
    "public.people.level" = ["level"]
    "public.people.raw" = ["pii"]
    "public.people.pad" = ["shape"]
    "public.parent.ssn" = ["pii"]
    "public.tenants.ssn" = ["pii"]
    '"a schema of sixty-three bytes, which is as long as names may be"."Łódź"."ß"' = ["pii"]
    "\"S'1\"\"x\".\"T $floor0$ %I.1\".\"C\"\"o'l; --\"" = ["ssn"]"#;

const MASKS: &str = r#"
    [[masks]]
    label = "ssn"
    method = "partial"
    last = 4
    [[masks]]
    label = "card"
    method = "length"
    [[masks]]
    label = "born"
    method = "bucket"
    to = "year"
    [[masks]]
    label = "pay"
    method = "bucket"
    width = 1000
    [[masks]]
    label = "level"
    method = "bucket"
    width = 10
    [[masks]]
    label = "uid"
    method = "token"
    [[masks]]
    label = "mail"
    method = "email_domain"
    [[masks]]
    label = "shape"
    method = "partial"
    first = 2
    last = 1
    "#;

async fn configured(server: &Server) -> Gateway {
    server.admin("bank").await.batch_execute(SETUP).await.unwrap();
    Gateway::configure(&[Conn::to("bank", server).set(CLASSIFY)], PERMIT_ALL, MASKS)
}

const PASSWORD: &str = "floor-secret-77aa1c";

/// The server's own client, logged in as the role that the script made.
async fn as_role(server: &Server, role: &str) -> Client {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(server.port).user(role).password(PASSWORD).dbname("bank");
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn rows(client: &Client, query: &str) -> Vec<Vec<Option<String>>> {
    let answer = client.simple_query(query).await.unwrap_or_else(|error| panic!("{query}: {}", text(&error)));
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|n| row.get(n).map(str::to_owned)).collect()),
        _ => None,
    };
    answer.into_iter().filter_map(row).collect()
}

fn some(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|value| (*value != "NULL").then(|| (*value).to_owned())).collect()
}

async fn a_role_reads_masked_views_and_no_classified_column(major: Major) {
    let server = server!(major);
    let gateway = configured(&server).await;
    let script = gateway.must(&["mask", "floor", "bank", "--role", "Reader \"1\"", "--schema", "veiled"]);
    let admin = server.admin("bank").await;
    for _ in 0..2 {
        admin.batch_execute(&script).await.unwrap_or_else(|error| panic!("{}\n{script}", text(&error)));
    }
    assert!(script.contains("--   \"public\".\"told\""), "{script}");
    let login = server
        .value("bank", "select rolcanlogin::text || coalesce(rolpassword, '-') from pg_authid where rolname = 'Reader \"1\"'");
    assert_eq!(login.await, "true-", "it can log in, and has no password");
    admin.batch_execute(&format!("alter role \"Reader \"\"1\"\"\" password '{PASSWORD}'")).await.unwrap();
    let reader = as_role(&server, "Reader \"1\"").await;

    // What is classified is not to be had, whatever one asks.
    for query in [
        "select ssn from public.people",
        "select * from public.people",
        "select p from public.people p",
        "select count(*) from public.people where ssn like '5%'",
        "select ssn from public.kept",
        "select ssn from public.parent",
        "select ssn from public.child",
        "select mail from public.contacts",
        "select ssn from public.tenants",
        r#"select "C""o'l; --" from "S'1""x"."T $floor0$ %I.1""#,
        r#"select * from "S'1""x"."Part""#,
        "copy public.people to stdout",
        "set role keeper",
        "insert into veiled.people (id, name) values (9, 'x')",
        "update open set line = 'x'",
        "create table veiled.t (a int)",
    ] {
        let error = reader.simple_query(query).await.expect_err(query);
        assert_eq!(sqlstate(&error), "42501", "{query}: {}", text(&error));
    }
    // What is not stays what it is, and statements find the views without being told.
    let ours = rows(&reader, "select id, name from people order by id").await;
    assert_eq!(ours, rows(&reader, "select id, name from public.people order by id").await);
    assert_eq!(rows(&reader, "select * from open").await, [some(&["1", "all may read"])]);
    let names = "select string_agg(attname || ' ' || format_type(atttypid, null), ',' order by attnum) from pg_attribute where attnum > 0 and attrelid = ";
    let veiled = server.value("bank", &format!("{names} 'veiled.people'::regclass")).await;
    let own = server.value("bank", &format!("{names} 'public.people'::regclass")).await;
    assert_eq!(
        veiled,
        own.replace("tax code", "tax character varying"),
        "a domain's values are those of the type that it is made of"
    );
    let collation = "select attcollation::regcollation::text from pg_attribute where attname = 'card' and attrelid = 'veiled.people'::regclass";
    assert_eq!(server.value("bank", collation).await, "\"C\"");

    reader.batch_execute("set timezone = 'UTC'").await.unwrap();
    let masked = rows(&reader, "select * from people order by id").await;
    let redacted =
        ["[masked]", "[masked]", "\"[masked]\"", "{}", "NULL", "2024-01-01 00:00:00+00", "NULL", "\\x5b6d61736b65645d"];
    let ada =
        [&["1", "Ada", "*******4399", "*******************", "1987-01-01", "NULL", "NULL"], &redacted[..], &["ab*******3  "]]
            .concat();
    let cleo = [&["3", "Cleo", "**", "****", "-infinity", "NULL", "NULL"], &redacted[..], &["*           "]].concat();
    assert_eq!((&masked[0], &masked[2]), (&some(&ada), &some(&cleo)));
    assert_eq!(masked[1][2..], vec![None; 14], "NULL stays NULL");
    assert_eq!(rows(&reader, "select * from contacts order by name limit 1").await, [some(&["Ada", "[masked]"])]);
    assert_eq!(rows(&reader, "select * from kept order by id limit 1").await, [some(&["1", "[masked]"])]);
    assert_eq!(rows(&reader, "select * from parent").await, [some(&["1", "[masked]"])]);
    assert_eq!(rows(&reader, "select * from child").await, [some(&["1", "[masked]", "2"])]);
    let long =
        "select format('select * from %I.%I', n.nspname, relname) from pg_class c join pg_namespace n on n.oid = relnamespace
        where relname = 'Łódź' and relkind = 'v'";
    assert_eq!(rows(&reader, &server.value("bank", long).await).await, [some(&["[masked]"])]);
    for table in ["T $floor0$ %I.1", "Part"] {
        let found = rows(&reader, &format!(r#"select * from "veiled_S'1""x"."{table}""#)).await;
        assert_eq!(found, [some(&["*******4399", "1", "7"])], "{table}");
    }
    // A condition that would tell what it sees sees no more than the view shows.
    let tells = "create function pg_temp.tell(text) returns bool cost 0.0001 language plpgsql as \
        'begin if $1 like ''536%'' then raise exception ''seen''; end if; return true; end'";
    reader.batch_execute(tells).await.unwrap();
    assert_eq!(rows(&reader, "select 1 from people where pg_temp.tell(ssn)").await.len(), 3);
}

async fn the_gateway_works_with_such_a_role(major: Major) {
    let server = server!(major);
    let gateway = configured(&server).await;
    let script = gateway.must(&["mask", "floor", "bank"]);
    let admin = server.admin("bank").await;
    admin.batch_execute(&script).await.unwrap();
    admin.batch_execute(&format!("alter role claviger_masked password '{PASSWORD}'")).await.unwrap();
    let conn = Conn::to("bank", &server).user("claviger_masked").password(PASSWORD);
    let mut through = Gateway::configure(&[conn.set(CLASSIFY)], PERMIT_ALL, MASKS);
    through.add(&["user", "alice"]);
    through.start();
    let session = through.session("bank", "alice").await;
    let found = session.rows("select id, name, ssn from people order by id").await;
    assert_eq!(found[0][..2], some(&["1", "Ada"]));
    assert_eq!(found[0][2].as_deref(), Some("[masked]"), "what a view makes of a value says nothing at all");
    for relation in ["people", "contacts", "kept", "parent", "child"] {
        session.rows(&format!("select * from {relation}")).await;
    }
    assert_eq!(session.rows("select line from open").await, [some(&["all may read"])]);
    let error = session.simple_query("select ssn from public.people").await.unwrap_err();
    assert_eq!(sqlstate(&error), "42501");
    // Made by the role itself, the script is the same but for what it may not read.
    let again = through.must(&["mask", "floor", "bank"]);
    let views =
        |script: &str| script.lines().filter(|line| line.starts_with("create view")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(views(&again), views(&script));
    admin.batch_execute(&again).await.unwrap();
    drop(session);
    through.verify();
}

async fn a_script_that_would_not_hold_changes_nothing(major: Major) {
    let server = server!(major);
    let gateway = configured(&server).await;
    let admin = server.admin("bank").await;
    let floor = |more: &[&str]| gateway.must(&[&["mask", "floor", "bank"], more].concat());
    let refused = async |script: &str, why: &str| {
        let error = admin.batch_execute(script).await.expect_err(why);
        assert!(text(&error).contains(why), "{}", text(&error));
        admin.batch_execute("rollback").await.unwrap();
        let left = "select count(*) from pg_roles where rolname = 'claviger_masked'";
        assert_eq!(server.value("bank", left).await, "0", "{why}");
    };
    admin.batch_execute("grant select on people to public").await.unwrap();
    refused(&floor(&[]), "can read column").await;
    admin
        .batch_execute("revoke select on people from public; create schema masked; create view masked.theirs as select 1")
        .await
        .unwrap();
    refused(&floor(&[]), "is not ours").await;
    assert_eq!(server.value("bank", "select count(*) from masked.theirs").await, "1");
    let error = admin.batch_execute(&floor(&["--role", "postgres", "--schema", "m"])).await.unwrap_err();
    assert!(text(&error).contains("can read column"), "{}", text(&error));
    let nothing = Gateway::configure(&[Conn::to("bank", &server)], PERMIT_ALL, "");
    assert_eq!(nothing.command(&["mask", "floor", "bank"]).status.code(), Some(2), "nothing is classified");
    for name in ["pg_x", "", &"x".repeat(64)] {
        assert_eq!(gateway.command(&["mask", "floor", "bank", "--role", name]).status.code(), Some(2), "{name}");
    }
}
