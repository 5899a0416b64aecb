//! What clients do with PostgreSQL, they do through the gateway, and see the same.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio_postgres::AsyncMessage;

use crate::harness::{
    Gateway, Major, Raw, cancel_key, cancel_request, error_field, eventually, frame, skip, sqlstate, startup_packet, terminated,
    text_value,
};

on_each_server!(
    simple_queries,
    prepared_statements,
    pipelines,
    copies,
    binary_copies,
    what_does_not_pass,
    psql_is_interrupted,
    cursors,
    notices_and_notifications,
    transactions_and_errors,
    cancels,
    a_cancel_hits_nothing_later,
    the_server_knows_who_it_is,
    psql_works,
    large_values
);

async fn simple_queries(major: Major) {
    let server = server!(major);
    let gateway = Gateway::before(&server);
    let session = gateway.session("bank", "alice").await;
    assert_eq!(session.value("select name from customers where id = 2").await, "Bela");
    let several = session.rows("select 1; select id, ssn from customers order by id; select 'x' where false; select null").await;
    let expected: Vec<Vec<Option<&str>>> = vec![
        vec![Some("1")],
        vec![Some("1"), Some("900-11-2001")],
        vec![Some("2"), Some("900-11-2002")],
        vec![Some("3"), None],
        vec![None],
    ];
    let several: Vec<Vec<Option<&str>>> = several.iter().map(|row| row.iter().map(Option::as_deref).collect()).collect();
    assert_eq!(several, expected);
    session.batch_execute("").await.unwrap();
    session
        .batch_execute("insert into customers values (4, 'Dora', null); update customers set name = 'Cleopatra' where id = 3")
        .await
        .unwrap();
    let there = server.ask("bank", "select name from customers where id > 2 order by id").await;
    assert_eq!(there, [[Some("Cleopatra".to_owned())], [Some("Dora".to_owned())]]);
}

async fn prepared_statements(major: Major) {
    let server = server!(major);
    let gateway = Gateway::before(&server);
    let session = gateway.session("bank", "alice").await;
    let insert = session.prepare("insert into customers values ($1, $2, $3)").await.unwrap();
    for id in 10..20 {
        assert_eq!(session.execute(&insert, &[&id, &format!("n{id}"), &None::<String>]).await.unwrap(), 1);
    }
    drop(insert);
    let row = session
        .query_one("select count(*), max(name), $1::text || 'é' from customers where id >= $2", &[&"x", &10])
        .await
        .unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1), row.get::<_, &str>(2)), (10, "n19", "xé"));
    drop(row);
    assert_eq!(session.value("select count(*) from pg_prepared_statements").await, "0", "what the client closed is closed");
    assert_eq!(server.value("bank", "select count(*) from customers where id >= 10").await, "10");
}

async fn pipelines(major: Major) {
    let server = server!(major);
    let gateway = Gateway::before(&server);
    let session = gateway.session("bank", "alice").await;
    let double = session.prepare("select $1::int * 2").await.unwrap();
    let queries = (0..50).map(|n| {
        let (session, double) = (&session, &double);
        async move { session.query_one(double, &[&n]).await.unwrap().get::<_, i32>(0) }
    });
    let mut doubled = Vec::new();
    let mut queries: Vec<_> = queries.map(Box::pin).collect();
    // Polled together, they all leave before the first answer comes.
    std::future::poll_fn(|cx| {
        queries.retain_mut(|query| match query.as_mut().poll(cx) {
            std::task::Poll::Ready(value) => {
                doubled.push(value);
                false
            }
            std::task::Poll::Pending => true,
        });
        if queries.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    // An answer may come while the others are asked.
    doubled.sort_unstable();
    assert_eq!(doubled, (0..50).map(|n| n * 2).collect::<Vec<_>>());

    // An error in a pipeline: what follows it up to the Sync is passed over, what follows the Sync is done.
    let token = gateway.token(&["alice"]);
    let mut raw = gateway.raw("bank");
    raw.login("alice", "bank", &token).unwrap();
    let step = |sql: &str| {
        [frame(b'P', &[&[0], terminated(sql).as_slice(), &[0, 0]].concat()), frame(b'B', &[0; 8]), frame(b'E', &[0; 5])].concat()
    };
    let sync = frame(b'S', &[]);
    raw.send(
        &[
            step("select 1"),
            step("select 1/0"),
            step("insert into customers values (99, 'never', null)"),
            sync.clone(),
            step("select 2"),
            sync,
        ]
        .concat(),
    );
    let kinds = |raw: &mut Raw| raw.until_ready().iter().map(|(kind, _)| char::from(*kind)).collect::<String>();
    // The division is found to be wrong while it is planned, which is at Bind.
    assert_eq!(kinds(&mut raw), "12DC1EZ");
    assert_eq!(kinds(&mut raw), "12DCZ");
    assert_eq!(server.value("bank", "select count(*) from customers where id = 99").await, "0");
}

async fn copies(major: Major) {
    let server = server!(major);
    let gateway = Gateway::before(&server);
    let token = gateway.token(&["alice"]);
    let mut raw = gateway.raw("bank");
    raw.login("alice", "bank", &token).unwrap();
    raw.send(&frame(b'Q', &terminated("copy customers from stdin")));
    assert_eq!(raw.message().unwrap().0, b'G');
    let mut lines = Vec::new();
    for id in 100..5100 {
        lines.extend_from_slice(&frame(b'd', format!("{id}\tname {id}\t\\N\n").as_bytes()));
    }
    raw.send(&[lines, frame(b'c', &[])].concat());
    let answer = raw.until_ready();
    assert_eq!(answer[0], (b'C', terminated("COPY 5000")));
    assert_eq!(server.value("bank", "select count(*) from customers where name like 'name %'").await, "5000");

    let out = raw.query("copy (select id from customers where id >= 100 order by id) to stdout");
    let data: Vec<u8> = out.iter().filter(|(kind, _)| *kind == b'd').flat_map(|(_, body)| body.clone()).collect();
    let expected: String = (100..5100).map(|id| format!("{id}\n")).collect();
    assert_eq!(String::from_utf8(data).unwrap(), expected);

    raw.send(&frame(b'Q', &terminated("copy customers from stdin")));
    assert_eq!(raw.message().unwrap().0, b'G');
    raw.send(&[frame(b'd', b"9999\tabandoned\t\\N\n"), frame(b'f', &terminated("changed my mind"))].concat());
    let answer = raw.until_ready();
    assert_eq!(error_field(&answer[0], b'C'), "57014");
    assert_eq!(server.value("bank", "select count(*) from customers where id = 9999").await, "0");
    assert_eq!(raw.query("select 1")[1].1, [0, 1, 0, 0, 0, 1, b'1']);
}

/// Rows out in binary are the rows that go in again, byte for byte.
async fn binary_copies(major: Major) {
    let server = server!(major);
    let gateway = Gateway::before(&server);
    let mut raw = gateway.raw("bank");
    raw.login("alice", "bank", &gateway.token(&["alice"])).unwrap();
    raw.query("create temp table blobs (id int, bytes bytea, none text)");
    raw.query("insert into blobs select n, decode(repeat(lpad(to_hex(n % 256), 2, '0'), n), 'hex'), null from generate_series(0, 600) n");
    let digest = "select md5(string_agg(id || ':' || encode(bytes, 'hex'), ',' order by id)) || count(none) from blobs";
    let before = text_value(&raw.query(digest));
    let out = raw.query("copy blobs to stdout (format binary)");
    assert_eq!(out[0], (b'H', vec![1, 0, 3, 0, 1, 0, 1, 0, 1]));
    let data: Vec<u8> = out.iter().filter(|(kind, _)| *kind == b'd').flat_map(|(_, body)| body.clone()).collect();
    assert!(data.starts_with(b"PGCOPY\n\xff\r\n\0") && data.ends_with(&[0xff, 0xff]), "{} bytes", data.len());
    raw.query("truncate blobs");
    raw.send(&frame(b'Q', &terminated("copy blobs from stdin (format binary)")));
    assert_eq!(raw.message().unwrap(), (b'G', vec![1, 0, 3, 0, 1, 0, 1, 0, 1]));
    // Cut where no row ends.
    let messages: Vec<u8> = data.chunks(777).flat_map(|chunk| frame(b'd', chunk)).collect();
    raw.send(&[messages, frame(b'c', &[])].concat());
    assert_eq!(raw.until_ready()[0], (b'C', terminated("COPY 601")));
    assert_eq!(text_value(&raw.query(digest)), before);
}

/// A function called by its number is refused as an error of the server's own would be.
async fn what_does_not_pass(major: Major) {
    let server = server!(major);
    let gateway = Gateway::before(&server);
    let token = gateway.token(&["alice"]);
    let mut raw = gateway.raw("bank");
    raw.login("alice", "bank", &token).unwrap();
    // lo_creat(int) is number 957.
    let call = frame(b'F', &[0, 0, 3, 189, 0, 1, 0, 1, 0, 1, 0, 0, 0, 4, 0, 0, 0, 0, 0, 1]);
    let mut refused = |status: u8| {
        raw.send(&call);
        let answer = raw.until_ready();
        assert_eq!((error_field(&answer[0], b'S').as_str(), error_field(&answer[0], b'C').as_str()), ("ERROR", "0A000"));
        assert_eq!(answer[1..], [(b'Z', vec![status])]);
    };
    refused(b'I');
    assert_eq!(server.value("bank", "select count(*) from pg_largeobject_metadata").await, "0");
    let mut raw = gateway.raw("bank");
    raw.login("alice", "bank", &token).unwrap();
    raw.query("begin");
    raw.send(&call);
    assert_eq!(raw.until_ready().last().unwrap(), &(b'Z', vec![b'E']), "the transaction has failed");
    assert_eq!(error_field(&raw.query("select 1")[0], b'C'), "25P02");
    raw.query("rollback");
    assert_eq!(text_value(&raw.query("select 1")), "1");

    // Messages that are nothing here end the session, and nothing of them reaches the server.
    for kind in [b'z', b'p', b'R', b'W', 0] {
        let mut raw = gateway.raw("bank");
        raw.login("alice", "bank", &token).unwrap();
        raw.send(&frame(kind, &terminated("x")));
        let error = raw.message().unwrap();
        assert_eq!((error_field(&error, b'S').as_str(), error_field(&error, b'C').as_str()), ("FATAL", "08P01"), "{kind}");
        assert_eq!(raw.message(), None);
    }
}

async fn cursors(major: Major) {
    let server = server!(major);
    let gateway = Gateway::before(&server);
    let session = gateway.session("bank", "alice").await;
    session.batch_execute("begin; declare walker cursor for select n from generate_series(1, 1000) n").await.unwrap();
    let mut sum = 0;
    loop {
        let rows = session.rows("fetch 70 from walker").await;
        sum += rows.iter().map(|row| row[0].as_deref().unwrap().parse::<i64>().unwrap()).sum::<i64>();
        if rows.len() < 70 {
            break;
        }
    }
    assert_eq!(sum, 500_500);
    session.batch_execute("commit").await.unwrap();

    // The protocol's own cursors: a portal that is resumed.
    let mut raw = gateway.raw("bank");
    raw.login("alice", "bank", &gateway.token(&["alice"])).unwrap();
    let parse = frame(b'P', &[&[0], terminated("select n from generate_series(1, 5) n").as_slice(), &[0, 0]].concat());
    let bind = frame(b'B', &[terminated("p").as_slice(), &[0; 7]].concat());
    let execute = frame(b'E', &[terminated("p").as_slice(), &[0, 0, 0, 2]].concat());
    let flush = frame(b'H', &[]);
    raw.send(&[parse, bind, execute.clone(), flush.clone()].concat());
    let mut read = |count: usize| (0..count).map(|_| char::from(raw.message().unwrap().0)).collect::<String>();
    assert_eq!(read(5), "12DDs");
    raw.send(&[execute.clone(), flush].concat());
    let mut read = |count: usize| (0..count).map(|_| char::from(raw.message().unwrap().0)).collect::<String>();
    assert_eq!(read(3), "DDs");
    raw.send(&[execute, frame(b'S', &[])].concat());
    assert_eq!(raw.until_ready().iter().map(|(kind, _)| char::from(*kind)).collect::<String>(), "DCZ");
}

async fn notices_and_notifications(major: Major) {
    let server = server!(major);
    let gateway = Gateway::before(&server);
    let mut session = gateway.session("bank", "alice").await;
    session.batch_execute("do $$ begin raise notice 'a word'; end $$").await.unwrap();
    match session.messages.recv().await {
        Some(AsyncMessage::Notice(notice)) => assert_eq!(notice.message(), "a word"),
        other => panic!("{other:?}"),
    }
    session.batch_execute("listen news").await.unwrap();
    server.admin("bank").await.batch_execute("notify news, 'sun'").await.unwrap();
    // It comes while the session is idle.
    match tokio::time::timeout(Duration::from_secs(5), session.messages.recv()).await.unwrap() {
        Some(AsyncMessage::Notification(heard)) => assert_eq!((heard.channel(), heard.payload()), ("news", "sun")),
        other => panic!("{other:?}"),
    }
}

async fn transactions_and_errors(major: Major) {
    let server = server!(major);
    let gateway = Gateway::before(&server);
    let session = gateway.session("bank", "alice").await;
    let count = "select count(*) from customers";
    session.batch_execute("begin; delete from customers").await.unwrap();
    assert_eq!((session.value(count).await.as_str(), server.value("bank", count).await.as_str()), ("0", "3"));
    session.batch_execute("rollback").await.unwrap();
    assert_eq!(session.value(count).await, "3");
    session.batch_execute("begin; savepoint one; delete from customers where id = 1").await.unwrap();
    let error = session.batch_execute("select 1/0").await.unwrap_err();
    assert_eq!(sqlstate(&error), "22012");
    assert_eq!(sqlstate(&session.batch_execute("select 1").await.unwrap_err()), "25P02");
    session.batch_execute("rollback to one; delete from customers where id = 2; commit").await.unwrap();
    assert_eq!(server.value("bank", "select string_agg(name, ',' order by id) from customers").await, "Ada,Cleo");
    for (statement, state) in
        [("selec", "42601"), ("select nothing", "42703"), ("select * from nowhere", "42P01"), ("select 'x'::int", "22P02")]
    {
        assert_eq!(sqlstate(&session.batch_execute(statement).await.unwrap_err()), state, "{statement}");
        assert_eq!(sqlstate(&session.query(statement, &[]).await.unwrap_err()), state, "{statement}, prepared");
    }
    let error = session.execute("insert into customers values (1, 'again', null)", &[]).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!((error.constraint(), error.detail()), (Some("customers_pkey"), Some("Key (id)=(1) already exists.")));
    // A batch that fails in its middle leaves nothing behind.
    let batch = "insert into customers values (50, 'x', null); select 1/0; insert into customers values (51, 'y', null)";
    assert_eq!(sqlstate(&session.batch_execute(batch).await.unwrap_err()), "22012");
    assert_eq!(server.value("bank", "select count(*) from customers where id >= 50").await, "0");
}

async fn cancels(major: Major) {
    let server = server!(major);
    let gateway = Gateway::before(&server);
    let session = gateway.session("bank", "alice").await;
    let began = Instant::now();
    let (slept, ()) = tokio::join!(session.batch_execute("select pg_sleep(60)"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        session.cancel().await;
    });
    assert_eq!(sqlstate(&slept.unwrap_err()), "57014");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(session.value("select 1").await, "1");

    // The secret that the client has is not the upstream's: it does nothing there. Neither does a wrong one at the gateway.
    let mut raw = gateway.raw("bank");
    let answers = raw.login("alice", "bank", &gateway.token(&["alice"])).unwrap();
    let key = cancel_key(&answers);
    let process = u32::from_be_bytes(key[..4].try_into().unwrap());
    raw.send(&frame(b'Q', &terminated("select pg_sleep(2), 'slept'")));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut upstream = Raw::plain(server.port);
    upstream.send(&cancel_request(&key));
    upstream.finish();
    let mut wrong = key.clone();
    *wrong.last_mut().unwrap() ^= 1;
    let mut stranger = gateway.raw("bank");
    stranger.send(&cancel_request(&wrong));
    assert_eq!(stranger.finish(), 0, "a cancel request has no answer");
    let answer = raw.until_ready();
    assert_eq!(answer[1].0, b'D', "not cancelled: {answer:?}");
    assert_eq!(process.to_string(), text_value(&raw.query("select pg_backend_pid()")), "the process id is the upstream's");

    // The right one does, without TLS too, as clients send it.
    raw.send(&frame(b'Q', &terminated("select pg_sleep(60)")));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut canceller = Raw::plain(gateway.port("bank"));
    canceller.send(&cancel_request(&key));
    assert_eq!(canceller.finish(), 0);
    let answer = raw.until_ready();
    assert_eq!(error_field(&answer[answer.len() - 2], b'C'), "57014");
}

/// The upstream signals its process twice. A client that waits for the end of its request must not see its next statement
/// cancelled by the second.
async fn a_cancel_hits_nothing_later(major: Major) {
    let server = server!(major);
    let gateway = Gateway::before(&server);
    let mut raw = gateway.raw("bank");
    let key = cancel_key(&raw.login("alice", "bank", &gateway.token(&["alice"])).unwrap());
    for _ in 0..20 {
        raw.send(&frame(b'Q', &terminated("select pg_sleep(60)")));
        tokio::time::sleep(Duration::from_millis(30)).await;
        let mut canceller = Raw::plain(gateway.port("bank"));
        canceller.send(&cancel_request(&key));
        assert_eq!(canceller.finish(), 0);
        raw.until_ready();
        let next = raw.query("select pg_sleep(0.02)");
        assert_eq!(next[1].0, b'D', "{next:?}");
    }
}

async fn the_server_knows_who_it_is(major: Major) {
    let server = server!(major);
    let gateway = Gateway::before(&server);
    let mut raw = gateway.raw("bank");
    raw.send(&startup_packet(&[("user", "alice"), ("database", "bank"), ("application_name", "reports")]));
    assert_eq!(raw.message().unwrap(), (b'R', vec![0, 0, 0, 3]));
    raw.send(&frame(b'p', &terminated(&gateway.token(&["alice"]))));
    let answers = raw.until_ready();
    assert_eq!(answers.last().unwrap().0, b'Z', "{answers:?}");
    let key = &answers.iter().find(|(kind, _)| *kind == b'K').unwrap().1;
    let process = u32::from_be_bytes(key[..4].try_into().unwrap()).to_string();
    let session = gateway.leaves_of("SESSION_OPEN")[0]["session"].as_str().unwrap().to_owned();

    let seen = server
        .ask("bank", &format!("select usename, datname, application_name from pg_stat_activity where pid = {process}"))
        .await;
    let expected = ["keeper", "bank", &format!("claviger:alice:{session}")].map(|text| Some(text.to_owned()));
    assert_eq!(seen, [expected]);
    assert_eq!(text_value(&raw.query("select current_user")), "keeper");
    let version =
        answers.iter().filter(|(kind, _)| *kind == b'S').find(|(_, body)| body.starts_with(b"server_version\0")).unwrap();
    let real = server.value("bank", "show server_version").await;
    assert_eq!(version.1, [terminated("server_version"), terminated(&real)].concat());
}

async fn psql_works(major: Major) {
    if Command::new("psql").arg("--version").output().is_err() {
        return skip("psql is not there");
    }
    let server = server!(major);
    let gateway = Gateway::before(&server);
    let target = format!(
        "host=localhost port={} dbname=bank user=alice sslmode=verify-full sslrootcert={}",
        gateway.port("bank"),
        gateway.authority().display()
    );
    let psql = |token: &str, commands: &[&str]| {
        let mut command = Command::new("psql");
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", &target]).env("PGPASSWORD", token);
        commands.iter().for_each(|text| {
            command.args(["-c", text]);
        });
        command.output().unwrap()
    };
    let token = gateway.token(&["alice"]);
    let output = psql(
        &token,
        &["select name from customers order by id", "\\d customers", "\\copy (select id from customers) to stdout", "\\conninfo"],
    );
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{complained}");
    assert!(said.starts_with("Ada\nBela\nCleo\n"), "{said}");
    assert!(said.contains("ssn|text|") && said.contains("\n1\n2\n3\n"), "{said}");
    let output = psql("no-token", &["select 1"]);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{complained}");
    assert!(complained.contains("FATAL"), "{complained}");
}

/// Ctrl-C, as a person presses it.
async fn psql_is_interrupted(major: Major) {
    if Command::new("psql").arg("--version").output().is_err() {
        return skip("psql is not there");
    }
    let server = server!(major);
    let gateway = Gateway::before(&server);
    let target = format!("host=localhost port={} dbname=bank user=alice sslmode=require", gateway.port("bank"));
    let mut command = Command::new("psql");
    command.args(["-XAtq", &target, "-c", "select pg_sleep(60)"]);
    command.env("PGPASSWORD", gateway.token(&["alice"])).stdout(Stdio::piped()).stderr(Stdio::piped());
    let psql = command.spawn().unwrap();
    eventually("the statement runs", Duration::from_secs(10), async || {
        server
            .value("bank", "select count(*) from pg_stat_activity where query like 'select pg_sleep(60)%' and state = 'active'")
            .await
            == "1"
    })
    .await;
    Command::new("kill").args(["-INT", &psql.id().to_string()]).status().unwrap();
    let output = psql.wait_with_output().unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(complained.contains("canceling statement due to user request"), "{complained}");
    gateway.verify();
}

async fn large_values(major: Major) {
    let server = server!(major);
    let gateway = Gateway::before(&server);
    let session = gateway.session("bank", "alice").await;
    let big = "x".repeat(5_000_000);
    let row = session.query_one("select length($1), $1 || 'y'", &[&big]).await.unwrap();
    assert_eq!((row.get::<_, i32>(0), row.get::<_, &str>(1).len()), (5_000_000, 5_000_001));
    let rows = session.rows("select n, repeat('z', 300) from generate_series(1, 50000) n").await;
    assert_eq!((rows.len(), rows[49_999][0].as_deref()), (50_000, Some("50000")));
}
