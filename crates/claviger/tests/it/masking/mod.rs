//! What is classified leaves masked, whichever way it goes.

mod bodies;
mod methods;
mod plans;
mod ways;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{
    Conn, Gateway, Major, Message, PERMIT_ALL, Raw, Server, contains, error_field, frame, sqlstate, terminated, text,
};

on_each_server!(
    values_are_masked_in_text,
    values_are_masked_in_binary_and_undescribed,
    what_is_made_of_values_says_nothing,
    cursors_and_resumed_portals_are_masked,
    copies_are_masked,
    errors_lose_their_words,
    placeholders_are_not_written_back,
    what_was_masked_is_on_record,
    what_nobody_labelled_is_found,
    observing_masks_nothing_and_says_what_it_would,
    what_is_renamed_while_nobody_looks_keeps_its_labels,
);

const SETUP: &str = "create type mood as enum ('calm', 'gone');
    create domain code as varchar(12);
    create table people (id int primary key, name text not null, ssn text, card varchar(19), born date, salary numeric(10,2),
        uid uuid, mail text, tax code, doc jsonb, tags text[], feels mood, seen timestamptz);
    insert into people values
        (1, 'Ada', '536-90-4399', '4111 1111 1111 1111', '1987-03-17', 58123.50, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
         'ada@bank.example', 'TX-77', '{\"k\": \"v\"}', '{a,b}', 'gone', '2024-02-03 04:05:06+00'),
        (2, 'Bela', null, null, null, null, null, null, null, null, null, null, null),
        (3, 'Cleo', '536-90-4399', '5555 5555 5555 4444', '1991-12-31', -0.5, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12',
         'cleo@bank.example', 'TX-78', '{\"k\": \"w\"}', '{c}', 'calm', '2024-02-03 04:05:06+00');
    create table log (line text);
    alter table people owner to keeper; alter table log owner to keeper";

const CLASSIFY: &str = r#"detect = false
    [connections.classify]
    "public.people.ssn" = ["ssn", "pii"]
    "public.people.card" = ["card"]
    "public.people.born" = ["born"]
    "public.people.salary" = ["pay"]
    "public.people.uid" = ["uid"]
    "public.people.mail" = ["mail"]
    "public.people.tax" = ["pii"]
    "public.people.doc" = ["pii"]
    "public.people.tags" = ["pii"]
    "public.people.feels" = ["pii"]
    "public.people.seen" = ["pii"]"#;

const MASKS: &str = r#"
    [[masks]]
    label = "ssn"
    method = "partial"
    last = 4
    [[masks]]
    label = "card"
    method = "ff1"
    [[masks]]
    label = "born"
    method = "bucket"
    to = "year"
    [[masks]]
    label = "pay"
    method = "bucket"
    width = 1000
    [[masks]]
    label = "uid"
    method = "token"
    [[masks]]
    label = "mail"
    method = "email_domain"
    "#;

/// Nobody may see any of these.
const SECRETS: &[&str] = &["536-90", "1111 1111", "5555 5555", "58123", "a0eebc99", "ada@", "TX-7", "\"v\"", "gone", "04:05"];

async fn before(server: &Server, lines: &str, masks: &str) -> Gateway {
    server.admin("bank").await.batch_execute(SETUP).await.unwrap();
    let mut gateway = Gateway::configure(&[Conn::to("bank", server).set(lines)], PERMIT_ALL, masks);
    gateway.add(&["user", "alice"]);
    gateway.start();
    gateway
}

fn raw(gateway: &Gateway) -> Raw {
    let mut raw = gateway.raw("bank");
    raw.login("alice", "bank", &gateway.token(&["alice"])).unwrap();
    raw
}

/// The rows of an answer.
fn rows(answer: &[Message]) -> Vec<Vec<Option<Vec<u8>>>> {
    answer.iter().filter(|(kind, _)| *kind == b'D').map(|(_, body)| values(body)).collect()
}

fn values(body: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut rest = &body[2..];
    let mut values = Vec::new();
    while let Some((len, after)) = rest.split_first_chunk::<4>() {
        let len = usize::try_from(i32::from_be_bytes(*len));
        values.push(len.ok().map(|len| after[..len].to_vec()));
        rest = &after[len.unwrap_or(0)..];
    }
    values
}

fn texts(answer: &[Message]) -> Vec<Vec<Option<String>>> {
    let text = |value: Option<Vec<u8>>| value.map(|value| String::from_utf8(value).unwrap());
    rows(answer).into_iter().map(|row| row.into_iter().map(text).collect()).collect()
}

fn code(answer: &[Message]) -> Option<String> {
    answer.iter().find(|(kind, _)| *kind == b'E').map(|error| error_field(error, b'C'))
}

/// Asserts that nothing of the secrets is in an answer, and that it is no error.
fn assert_clean(what: &str, answer: &[Message]) {
    if let Some(error) = answer.iter().find(|(kind, _)| *kind == b'E') {
        panic!("{what}: {}", error_field(error, b'M'));
    }
    assert_silent(what, answer);
}

fn assert_silent(what: &str, answer: &[Message]) {
    for (kind, body) in answer {
        for secret in SECRETS {
            assert!(!contains(body, secret.as_bytes()), "{what}: `{secret}` in a message {:?}", char::from(*kind));
        }
    }
}

/// Runs texts in a session of their own, none of which may show a secret. The answer to the last.
fn silent(gateway: &Gateway, texts: &[&str]) -> Vec<Message> {
    let mut raw = raw(gateway);
    let mut last = Vec::new();
    for text in texts {
        last = raw.query(text);
        assert_silent(&format!("{text}, of {texts:?}"), &last);
    }
    last
}

/// The same, and the last of them is refused.
fn refused(gateway: &Gateway, texts: &[&str]) {
    let answer = silent(gateway, texts);
    assert_eq!(code(&answer).as_deref(), Some("42501"), "{texts:?}");
}

/// The same, and all of them do what they say. The rows of the last.
fn clean(gateway: &Gateway, texts: &[&str]) -> Vec<Vec<Option<String>>> {
    let mut raw = raw(gateway);
    let mut last = Vec::new();
    for text in texts {
        last = raw.query(text);
        assert_clean(text, &last);
    }
    self::texts(&last)
}

fn only(rows: &[Vec<Option<String>>]) -> Vec<&str> {
    let [row] = rows else { panic!("{rows:?}") };
    row.iter().map(|value| value.as_deref().unwrap_or("null")).collect()
}

/// Parse, Bind with these result formats, perhaps Describe, Execute with this limit, Sync.
fn extended(text: &str, formats: &[u16], described: bool, limit: u32) -> Vec<u8> {
    let count = u16::try_from(formats.len()).unwrap();
    let formats: Vec<u8> = [count].iter().chain(formats).flat_map(|word| word.to_be_bytes()).collect();
    let describe = if described { frame(b'D', b"P\0") } else { Vec::new() };
    [
        frame(b'P', &[terminated(""), terminated(text), vec![0, 0]].concat()),
        frame(b'B', &[&[0, 0, 0, 0, 0, 0][..], &formats].concat()),
        describe,
        frame(b'E', &[&[0][..], &limit.to_be_bytes()].concat()),
        frame(b'S', &[]),
    ]
    .concat()
}

async fn what_is_renamed_while_nobody_looks_keeps_its_labels(major: Major) {
    let server = server!(major);
    let mut gateway = before(&server, CLASSIFY, MASKS).await;
    assert_clean("before", &raw(&gateway).query("select * from people"));
    gateway.stop();
    let admin = server.admin("bank").await;
    admin.batch_execute("alter table people rename column ssn to nothing; alter table people rename to persons").await.unwrap();
    gateway.start();
    let answer = raw(&gateway).query("select nothing, card, name from persons where id = 1");
    assert_clean("after", &answer);
    assert_eq!(texts(&answer)[0][2].as_deref(), Some("Ada"));
    // What has gone is forgotten: a column that is new is only what it is called.
    admin
        .batch_execute("alter table persons drop column nothing; alter table persons add nothing text default 'plain'")
        .await
        .unwrap();
    gateway.kill();
    gateway.start();
    let answer = raw(&gateway).query("select nothing, name from persons where id = 1");
    assert_eq!(texts(&answer)[0][0].as_deref(), Some("plain"));
    // And what takes the old name is classified by it.
    admin.batch_execute("create table people (id int, name text, ssn text); alter table people owner to keeper").await.unwrap();
    admin.batch_execute("insert into people values (1, 'Ada', '536-90-4399')").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_clean("the name's new bearer", &raw(&gateway).query("select ssn from people"));
}

const ALL: &str = "select * from people order by id";

async fn values_are_masked_in_text(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let mut raw = raw(&gateway);
    let answer = raw.query(ALL);
    assert_clean(ALL, &answer);
    let rows = texts(&answer);
    let of = |row: usize, column: usize| rows[row][column].as_deref();
    assert_eq!((of(0, 0), of(0, 1), of(0, 2)), (Some("1"), Some("Ada"), Some("*******4399")));
    let card = of(0, 3).unwrap();
    assert!(card.len() == 19 && card.split(' ').all(|part| part.len() == 4), "{card}");
    assert_eq!((of(0, 4), of(0, 5), of(2, 5)), (Some("1987-01-01"), Some("58000"), Some("-1000")));
    assert!(of(0, 6).is_some_and(|uid| uid.len() == 36 && uid.as_bytes()[14] == b'8'), "{rows:?}");
    assert_eq!((of(0, 7), of(0, 8), of(0, 9)), (Some("masked@bank.example"), Some("[masked]"), Some("\"[masked]\"")));
    assert_eq!((of(0, 10), of(0, 11), of(0, 12)), (Some("{}"), None, Some("2000-01-01 00:00:00+00")));
    assert_eq!(rows[1][2..], vec![None; 11], "NULL stays NULL");
    // The same values, whatever they are called and however they came there.
    for way in [
        "select ssn as name, name as ssn from people order by id",
        "with p as (select ssn s from people) select s from p",
        "select p.* from people p join people q using (ssn)",
        "select ssn from people union all select ssn from people",
        "(table people) limit 2",
        "update people set name = name returning *",
        "prepare way as select ssn from people; execute way; deallocate way",
    ] {
        assert_clean(way, &raw.query(way));
    }
    // Statements of one batch have each their own.
    let answer = raw.query("select name from people where id = 1; select ssn from people where id = 1; select 'x'");
    assert_eq!(texts(&answer).concat(), [Some("Ada".into()), Some("*******4399".into()), Some("x".into())]);
    // In another style, dates say nothing.
    assert_clean("set", &raw.query("set datestyle = 'German'"));
    let rows = texts(&raw.query("select born, seen from people where id = 1"));
    assert_eq!(rows, [[None, None]]);
    gateway.verify();
}

async fn values_are_masked_in_binary_and_undescribed(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let mut raw = raw(&gateway);
    let direct = server.admin("bank").await;
    for described in [true, false] {
        raw.send(&extended(ALL, &[], described, 0));
        let answer = raw.until_ready();
        assert_clean(ALL, &answer);
        assert_eq!(answer.iter().filter(|(kind, _)| *kind == b'T').count(), usize::from(described), "as was asked for");
        assert_eq!(texts(&answer)[0][2].as_deref(), Some("*******4399"));

        raw.send(&extended(ALL, &[1], described, 0));
        let answer = raw.until_ready();
        assert_clean("binary", &answer);
        let row = rows(&answer).remove(0);
        assert_eq!(row[0].as_deref(), Some(&1_i32.to_be_bytes()[..]));
        assert_eq!(row[2].as_deref(), Some(&b"*******4399"[..]));
        let year = i32::from_be_bytes(row[4].clone().unwrap().try_into().unwrap());
        assert_eq!(direct.value(&format!("select date '2000-01-01' + {year}")).await, "1987-01-01");
        // 58000 is two digits of base 10,000: 5 and 8000.
        assert_eq!(row[5].as_deref(), Some(&[0, 2, 0, 1, 0, 0, 0, 0, 0, 5, 0x1f, 0x40][..]));
        assert_eq!(row[6].as_ref().map(Vec::len), Some(16));
        assert_eq!(row[9].as_deref(), Some(&b"\x01\"[masked]\""[..]));
        assert_eq!(row[10].as_deref(), Some(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25][..]), "an array of no elements");
        assert_eq!((&row[11], row[12].as_deref()), (&None, Some(&[0; 8][..])));
        // Some columns so and some so.
        raw.send(&extended("select ssn, born, id from people where id = 1", &[0, 1, 0], described, 0));
        let row = rows(&raw.until_ready()).remove(0);
        assert_eq!(
            (row[0].as_deref(), row[1].as_ref().map(Vec::len), row[2].as_deref()),
            (Some(&b"*******4399"[..]), Some(4), Some(&b"1"[..]))
        );
    }
    // A driver that prepares, describes the statement and then only binds: what is not masked is as it was.
    let session = gateway.session("bank", "alice").await;
    let found = session.query("select id, name, ssn from people where id = $1", &[&1_i32]).await.unwrap();
    assert_eq!((found[0].get::<_, i32>(0), found[0].get::<_, &str>(1), found[0].get::<_, &str>(2)), (1, "Ada", "*******4399"));
    // A statement of its own without rows, and an error between Bind and its rows.
    raw.send(&extended("update people set name = name where ssn is null", &[1], false, 0));
    assert_clean("update", &raw.until_ready());
    drop((session, raw));
    gateway.verify();
}

async fn what_is_made_of_values_says_nothing(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let mut raw = raw(&gateway);
    for (made, constant) in [
        ("reverse(ssn)", "[masked]"),
        ("ssn || ''", "[masked]"),
        ("length(ssn)", "0"),
        ("md5(ssn)", "[masked]"),
        ("coalesce(ssn, name)", "[masked]"),
        ("doc -> 'k'", "\"[masked]\""),
        ("to_jsonb(people)", "\"[masked]\""),
        ("array[ssn]", "{}"),
        ("seen at time zone 'UTC'", "2000-01-01 00:00:00"),
    ] {
        for text in [format!("select {made} from people"), format!("select x from (select {made} as x from people) as y")] {
            for message in [frame(b'Q', &terminated(&text)), extended(&text, &[], false, 0), extended(&text, &[], true, 0)] {
                raw.send(&message);
                let answer = raw.until_ready();
                assert_clean(&text, &answer);
                let different: BTreeSet<_> = texts(&answer).into_iter().flatten().collect();
                assert_eq!(different, BTreeSet::from([Some(constant.to_owned())]), "{text}: also of NULL");
            }
        }
    }
    gateway.verify();
}

async fn cursors_and_resumed_portals_are_masked(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let mut raw = raw(&gateway);
    raw.query("begin; declare c cursor for select id, ssn from people order by id");
    let mut answer = raw.query("fetch 1 from c");
    raw.send(&[frame(b'E', &[terminated("c"), vec![0, 0, 0, 1]].concat()), frame(b'S', &[])].concat());
    answer.extend(raw.until_ready());
    raw.send(&extended("fetch all from c", &[1], false, 0));
    answer.extend(raw.until_ready());
    assert_clean("a cursor", &answer);
    let ssn: Vec<_> = rows(&answer).into_iter().map(|row| row[1].clone()).collect();
    assert_eq!(ssn, [Some(b"*******4399".to_vec()), None, Some(b"*******4399".to_vec())]);
    // A portal in pieces.
    let mut message = extended("select ssn, id from people order by id", &[], false, 1);
    message.truncate(message.len() - 5);
    raw.send(&[message, frame(b'E', &[&[0][..], &[0; 4]].concat()), frame(b'S', &[])].concat());
    let answer = raw.until_ready();
    assert_clean("a portal in pieces", &answer);
    assert_eq!(rows(&answer).len(), 3);
    assert_eq!(answer.iter().filter(|(kind, _)| *kind == b's').count(), 1);
    raw.query("commit");
    gateway.verify();
}

async fn copies_are_masked(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    server
        .admin("bank")
        .await
        .batch_execute(r#"insert into people (id, name, ssn) values (4, E'a\tb"\\', E'9,"\n\\')"#)
        .await
        .unwrap();
    let mut raw = raw(&gateway);
    let mut copied = |text: &str| {
        let answer = raw.query(text);
        assert_clean(text, &answer);
        answer.into_iter().filter(|(kind, _)| *kind == b'd').flat_map(|(_, data)| data).collect::<Vec<u8>>()
    };
    let mut lines = |text: &str| String::from_utf8(copied(text)).unwrap();
    assert_eq!(
        lines("copy (select id, ssn, name from people order by id) to stdout"),
        "1\t*******4399\tAda\n2\t\\N\tBela\n3\t*******4399\tCleo\n4\t*,\"\\n\\\\\ta\\tb\"\\\\\n"
    );
    assert_eq!(
        lines("copy (select id, ssn, name from people order by id) to stdout with (format csv, header, force_quote (ssn))"),
        "id,ssn,name\n1,\"*******4399\",Ada\n2,,Bela\n3,\"*******4399\",Cleo\n4,\"*,\"\"\n\\\",\"a\tb\"\"\\\"\n"
    );
    let table = lines("copy people to stdout with (format csv, delimiter ';', null 'nil')");
    assert!(table.starts_with("1;Ada;*******4399;") && table.contains("\n2;Bela;nil;"), "{table}");
    assert_eq!(lines("copy (select reverse(ssn) from people order by id) to stdout"), "\\N\n".repeat(4));
    let binary = copied("copy (select id, ssn from people where id < 3 order by id) to stdout with (format binary)");
    let tuples = b"\0\x02\0\0\0\x04\0\0\0\x01\0\0\0\x0b*******4399\0\x02\0\0\0\x04\0\0\0\x02\xff\xff\xff\xff\xff\xff";
    assert_eq!(binary[19..], tuples[..]);
    drop(raw);
    gateway.verify();
}

async fn errors_lose_their_words(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let mut raw = raw(&gateway);
    for (text, state) in [
        ("update people set name = null where id = 1", "23502"),
        ("select ssn::int from people", "22P02"),
        ("select card::uuid from people", "22P02"),
        ("insert into people (id, name) select 1, 'x'", "23505"),
    ] {
        let answer = raw.query(text);
        assert_silent(text, &answer);
        // Refused or withheld: either way nothing is said.
        let code = code(&answer).unwrap_or_else(|| panic!("{text}: no error"));
        assert!(code == state || code == "42501", "{text}: {code}");
    }
    // What tells nothing keeps its words.
    let error = raw.query("select 1/0");
    let error = error.iter().find(|(kind, _)| *kind == b'E').unwrap();
    assert_eq!(error_field(error, b'M'), "division by zero");
    gateway.verify();
}

async fn placeholders_are_not_written_back(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let admin = server.admin("bank").await;
    let session = gateway.session("bank", "alice").await;
    let tax = session.value("select tax from people where id = 1").await;
    assert_eq!(tax, "[masked]");
    let error = session.batch_execute(&format!("update people set tax = '{tax}' where id = 1")).await.unwrap_err();
    assert!(sqlstate(&error) == "42501" && text(&error).contains("stands for a masked value"), "{}", text(&error));
    let error = session.execute("insert into log values ($1)", &[&tax]).await.unwrap_err();
    assert!(text(&error).contains("stands for a masked value"), "{}", text(&error));
    let uid = session.value("select uid from people where id = 1").await;
    let error = session.batch_execute(&format!("update people set uid = '{uid}' where id = 2")).await.unwrap_err();
    assert!(text(&error).contains("stands for a masked value"), "{}", text(&error));
    session.batch_execute("update people set uid = 'b1eebc99-9c0b-8ef8-8b6d-6bb9bd380a11' where id = 2").await.unwrap();
    session.batch_execute("insert into log values ('a mask [of wood]')").await.unwrap();
    assert_eq!(session.value("select count(*) from log where line = '[masked]'").await, "0", "to ask is no harm");
    // By COPY: an error of the statement, and nothing of it is written. The session goes on.
    let mut raw = raw(&gateway);
    raw.send(&frame(b'Q', &terminated("begin; copy log from stdin")));
    while raw.message().map(|(kind, _)| kind) != Some(b'G') {}
    raw.send(&frame(b'd', b"fine\n"));
    raw.send(&frame(b'd', b"[masked]\n"));
    raw.send(&[frame(b'd', b"more\n"), frame(b'c', b"")].concat());
    let answer = raw.until_ready();
    assert_eq!((code(&answer).as_deref(), answer.last().unwrap().1.as_slice()), (Some("42501"), &b"E"[..]));
    assert_silent("the error", &answer);
    assert_clean("after it", &raw.query("rollback"));
    raw.send(&extended("copy log from stdin", &[], false, 0));
    while raw.message().map(|(kind, _)| kind) != Some(b'G') {}
    raw.send(&[frame(b'd', b"fine\nx[mas"), frame(b'd', b"ked]\n"), frame(b'c', b""), frame(b'S', b"")].concat());
    let answer = raw.until_ready();
    assert_eq!(code(&answer).as_deref(), Some("42501"), "{answer:?}");
    assert_eq!(texts(&raw.query("select 'still here'")), [[Some("still here".to_owned())]]);
    assert_eq!(admin.value("select tax from people where id = 1").await, "TX-77");
    assert_eq!(admin.value("select string_agg(line, ';') from log").await, "a mask [of wood]");
    drop(session);
    gateway.verify();
}

async fn what_was_masked_is_on_record(major: Major) {
    let server = server!(major);
    let gateway = before(&server, CLASSIFY, MASKS).await;
    let mut raw = raw(&gateway);
    let answer = raw.query("select ssn, born, reverse(ssn) from people");
    assert_clean("rows", &answer);
    drop(raw);
    let masked: Vec<Value> = gateway.leaves_of("OUTCOME").into_iter().map(|leaf| leaf["masked"].clone()).collect();
    let columns = json!([
        { "column": "public.people.ssn", "method": "partial", "values": 2 },
        { "column": "public.people.born", "method": "bucket", "values": 2 },
    ]);
    let expected = json!({ "columns": columns, "found": [], "made": 3, "withheld": 0 });
    assert_eq!(masked.last(), Some(&expected), "{masked:?}");
    // What was delivered is what was recorded, and not what the server said.
    let delivered: usize = answer.iter().filter(|(kind, _)| *kind != b'Z').map(|(_, body)| body.len() + 5).sum();
    let outcome = gateway.leaves_of("OUTCOME").pop().unwrap();
    let recorded = gateway.recording(outcome["session"].as_str().unwrap());
    assert_eq!((&outcome["bytes"], &recorded[0]["response_bytes"]), (&json!(delivered), &json!(delivered)));
    gateway.verify();
}

async fn what_nobody_labelled_is_found(major: Major) {
    let server = server!(major);
    let gateway = before(&server, &CLASSIFY.replace("detect = false", "detect = true"), MASKS).await;
    let admin = server.admin("bank").await;
    admin.batch_execute("insert into log values ('pay 4111 1111 1111 1111 now'), ('nothing')").await.unwrap();
    let mut raw = raw(&gateway);
    for message in [
        frame(b'Q', &terminated("select line, 7 from log order by line desc")),
        extended("select line, 7 from log order by line desc", &[1], false, 0),
        extended("select line, 7 from log order by line desc", &[1], true, 0),
    ] {
        raw.send(&message);
        let answer = raw.until_ready();
        assert_clean("rows", &answer);
        let found: Vec<_> = rows(&answer).into_iter().map(|row| String::from_utf8(row[0].clone().unwrap()).unwrap()).collect();
        assert_eq!(found, ["pay [credit_card] now", "nothing"]);
    }
    let answer = raw.query("copy log to stdout");
    assert_clean("copy", &answer);
    assert!(answer.iter().any(|(kind, data)| *kind == b'd' && data == b"pay [credit_card] now\n"));
    assert_silent("an error", &raw.query("select line::int from log where line like 'pay%'"));
    raw.query("listen channel");
    admin.batch_execute("notify channel, 'card 4111 1111 1111 1111'").await.unwrap();
    let (kind, body) = raw.message().unwrap();
    assert!(kind == b'A' && contains(&body, b"card [credit_card]"), "{body:?}");
    let found: Vec<Value> = gateway.leaves_of("OUTCOME").into_iter().map(|leaf| leaf["masked"]["found"].clone()).collect();
    assert!(found.contains(&json!([{ "count": 1, "of": "credit_card" }])), "{found:?}");
    gateway.verify();
}

async fn observing_masks_nothing_and_says_what_it_would(major: Major) {
    let server = server!(major);
    let gateway = before(&server, &format!("mode = \"observe\"\n{CLASSIFY}"), MASKS).await;
    let mut raw = raw(&gateway);
    let direct = server.admin("bank").await;
    assert_eq!(texts(&raw.query(ALL)), direct.rows(ALL).await);
    raw.send(&extended(ALL, &[], false, 0));
    assert_eq!(texts(&raw.until_ready()), direct.rows(ALL).await);
    drop(raw);
    let outcome = gateway.leaves_of("OUTCOME").pop().unwrap();
    assert_eq!(outcome["would_mask"]["columns"][0], json!({ "column": "public.people.ssn", "method": "partial", "values": 2 }));
    assert_eq!(outcome["masked"], Value::Null);
    gateway.verify();
}
