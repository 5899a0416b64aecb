//! What is on record, and what is not: every statement that was acknowledged, and no value in plain text.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Conn, Gateway, Major, PERMIT_ALL, binary, files, frame, run, sqlstate, terminated};

/// The ids of all sessions, oldest first.
pub(crate) fn sessions(gateway: &Gateway) -> Vec<String> {
    gateway.leaves_of("SESSION_OPEN").iter().map(|leaf| leaf["session"].as_str().unwrap().to_owned()).collect()
}

/// The statements of a session, by its recording.
pub(crate) fn statements(gateway: &Gateway, session: &str) -> Vec<String> {
    gateway.recording(session).iter().filter_map(|entry| entry["statement"].as_str().map(str::to_owned)).collect()
}

/// What a client copies in is as much part of the record as what it is given.
#[test]
fn rows_that_are_copied_in_are_on_record() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        let mut raw = gateway.raw("bank");
        raw.login("alice", "bank", &gateway.token(&["alice"])).unwrap();
        let rows: String = (1000..1500).map(|n| format!("{n}\tSomebody {n}\t\\N\n")).collect();
        // All at once, before the server has said that it takes rows.
        let copy = [frame(b'Q', &terminated("copy customers from stdin")), frame(b'd', rows.as_bytes()), frame(b'c', &[])];
        raw.send(&copy.concat());
        assert_eq!(raw.until_ready()[1], (b'C', terminated("COPY 500")));
        assert_eq!(server.value("bank", "select count(*) from customers where id >= 1000").await, "500");
        let recorded = gateway.recording(&sessions(&gateway)[0]);
        let copied = recorded.iter().find(|entry| entry["tags"] == json!(["COPY 500"])).expect("the copy");
        assert!(copied["request_bytes"].as_u64().unwrap() > rows.len() as u64, "{copied}");
    });
}

#[test]
fn every_acknowledged_statement_is_on_record() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        let session = gateway.session("bank", "alice").await;
        let script = [
            "select count(*) from customers",
            "insert into customers values (21, 'Eve', null)",
            "begin",
            "update customers set name = 'Eva' where id = 21",
            "commit",
            "select 1; select 2",
            "begin; delete from customers; rollback",
        ];
        for (n, statement) in script.iter().enumerate() {
            session.batch_execute(statement).await.unwrap();
            // The record is ahead of the client: what it has been told is already there.
            let outcomes = gateway.leaves_of("OUTCOME");
            assert_eq!((outcomes.len(), &outcomes[n]["status"]), (n + 1, &json!("completed")), "{statement}");
        }
        let error = session.batch_execute("select 1/0").await.unwrap_err();
        assert_eq!(sqlstate(&error), "22012");
        session.query_one("select name from customers where id = $1 and name like $2", &[&1, &"A%"]).await.unwrap();
        drop(session);
        crate::harness::eventually("the session is closed", std::time::Duration::from_secs(2), async || {
            !gateway.leaves_of("SESSION_CLOSE").is_empty()
        })
        .await;

        let report = gateway.verify();
        assert_eq!((&report["problems"], &report["sessions"], &report["open_operations"]), (&json!([]), &json!(1), &json!(0)));
        let id = &sessions(&gateway)[0];
        let recorded = statements(&gateway, id);
        for statement in script.iter().chain(&["select 1/0", "select name from customers where id = $1 and name like $2"]) {
            assert!(recorded.iter().any(|text| text == statement), "{statement} is not in {recorded:?}");
        }
        // The driver sends its parameters in binary, whose types are the server's affair.
        let parameters: Vec<Value> = gateway.recording(id).iter().map(|entry| entry["parameters"].clone()).collect();
        assert!(
            parameters.iter().any(|list| list.as_array().is_some_and(|list| list.len() == 2 && list[1] == "\\x4125")),
            "{parameters:?}"
        );

        // Each operation is asked for, then meant, then ended.
        for op in gateway.leaves_of("OUTCOME").iter().map(|leaf| leaf["op"].clone()) {
            let kinds: Vec<_> =
                gateway.leaves().iter().filter(|leaf| leaf["op"] == op).map(|leaf| leaf["type"].clone()).collect();
            assert_eq!(kinds, ["REQUEST", "INTENT", "OUTCOME"], "operation {op}");
        }
        let failed = gateway.leaves_of("OUTCOME").into_iter().find(|leaf| leaf["status"] == "error").unwrap();
        assert_eq!(failed["code"], "22012");
        let results: Vec<_> = gateway.leaves_of("TX_END").iter().map(|leaf| leaf["result"].clone()).collect();
        assert!(results.contains(&json!("commit")) && results.contains(&json!("rollback")), "{results:?}");
        let listed = gateway.must(&["sessions", "list", "--all", "--json"]);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        assert_eq!(
            (&listed[0]["id"], &listed[0]["chain"], &listed[0]["live"]),
            (&json!(id), &json!(["alice@local"]), &json!(false))
        );
    });
}

#[test]
fn no_value_is_anywhere_in_plain_text() {
    run(async {
        let server = server!(Major::V15);
        let mut gateway = Gateway::configure(&[Conn::to("bank", &server).set("recording = \"full\"")], PERMIT_ALL, "");
        gateway.add(&["user", "alice"]);
        gateway.start();
        let session = gateway.session("bank", "alice").await;
        let secrets: Vec<String> = (1000..1005).map(|n| format!("987-65-{n}")).collect();
        session.batch_execute(&format!("insert into customers values (30, 'F', '{}')", secrets[0])).await.unwrap();
        session.execute("insert into customers values (31, 'G', $1)", &[&secrets[1]]).await.unwrap();
        assert_eq!(session.rows("select ssn from customers where id in (30, 31) order by id").await.len(), 2);
        // In an error's text, in an application's name, in a copy.
        let error = session.batch_execute(&format!("select '{}'::int", secrets[2])).await.unwrap_err();
        assert!(error.as_db_error().unwrap().message().contains(&secrets[2]), "the client sees the server's own error");
        let mut raw = gateway.raw("bank");
        raw.login("alice", "bank", &gateway.token(&["alice"])).unwrap();
        raw.send(&frame(b'Q', &terminated("copy customers from stdin")));
        assert_eq!(raw.message().unwrap().0, b'G');
        raw.send(&[frame(b'd', format!("32\tH\t{}\n", secrets[3]).as_bytes()), frame(b'c', &[])].concat());
        assert_eq!(raw.until_ready()[0], (b'C', terminated("COPY 1")));
        session.batch_execute(&format!("listen \"{0}\"; notify \"{0}\", '{0}'; unlisten *", secrets[4])).await.unwrap();
        drop((raw, session));
        // Both while it runs and after it has put all in order.
        for secret in &secrets {
            gateway.assert_nowhere_on_disk(secret.as_bytes());
        }
        assert!(gateway.stop().success());
        for secret in secrets.iter().map(String::as_str).chain(["900-11-2001", "Ada"]) {
            gateway.assert_nowhere_on_disk(secret.as_bytes());
        }
        // They are not lost: whoever may read the recording finds them.
        let all: String = sessions(&gateway).iter().flat_map(|id| statements(&gateway, id)).collect();
        assert!(all.contains(&secrets[0]) && all.contains(&secrets[2]));
        gateway.verify();
    });
}

#[test]
fn the_data_is_for_the_gateway_alone() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        gateway.session("bank", "alice").await.batch_execute("select 1").await.unwrap();
        let shut = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o077 == 0;
        assert!(shut(&gateway.path("data")), "others can look into the data directory");
        for path in files(&gateway.path("data/keys")) {
            assert!(shut(&path), "others can read {}", path.display());
        }
    });
}

#[test]
fn what_is_left_out_of_a_recording_is_counted() {
    run(async {
        let server = server!(Major::V15);
        let mut gateway = Gateway::configure(&[Conn::to("bank", &server).set("recording = \"none\"")], PERMIT_ALL, "");
        gateway.add(&["user", "alice"]);
        gateway.start();
        gateway.session("bank", "alice").await.batch_execute("select repeat('x', 1000)").await.unwrap();
        let outcome = &gateway.leaves_of("OUTCOME")[0];
        assert!(outcome["bytes"].as_u64().unwrap() > 1000);
        assert_eq!(outcome["bytes"], outcome["bytes_unrecorded"]);
        assert_eq!(statements(&gateway, &sessions(&gateway)[0]), ["select repeat('x', 1000)"]);
    });
}

#[test]
fn changes_to_the_record_are_found() {
    run(async {
        let server = server!(Major::V15);
        let mut gateway = Gateway::before(&server);
        for _ in 0..3 {
            gateway.session("bank", "alice").await.batch_execute("select 'something to record'").await.unwrap();
        }
        assert!(gateway.stop().success());
        gateway.verify();
        let audit = gateway.path("data/audit");
        let log = files(&audit.join("log")).into_iter().find(|path| path.extension().is_some_and(|end| end == "jsonl")).unwrap();
        let recording =
            files(&audit.join("recordings")).into_iter().find(|path| path.extension().is_some_and(|end| end == "rec")).unwrap();
        let verify = || {
            let output = std::process::Command::new(binary())
                .args(["audit", "verify", "--json", "--data"])
                .arg(gateway.path("data"))
                .output();
            output.unwrap().status.code()
        };
        assert_eq!(verify(), Some(0));
        let text = std::fs::read_to_string(&log).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let rewritten = [
            text.replacen("alice@local", "mallory@local", 1),
            text.replacen("\"completed\"", "\"error\"", 1),
            [&lines[..3], &lines[4..]].concat().join("\n") + "\n",
            [&lines[..4], &lines[3..]].concat().join("\n") + "\n",
            lines[..lines.len() - 1].join("\n") + "\n",
        ];
        for changed in rewritten {
            assert_ne!(changed, text);
            std::fs::write(&log, changed).unwrap();
            assert_eq!(verify(), Some(3));
        }
        std::fs::write(&log, &text).unwrap();
        let mut bytes = std::fs::read(&recording).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&recording, &bytes).unwrap();
        assert_eq!(verify(), Some(3));
        bytes[middle] ^= 1;
        std::fs::write(&recording, &bytes).unwrap();
        assert_eq!(verify(), Some(0));
    });
}

#[test]
fn many_sessions_at_once_make_one_sound_log() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        let token = gateway.token(&["alice"]);
        let sessions: Vec<_> = futures(24, |n| {
            let (gateway, token) = (&gateway, &token);
            async move {
                let session = gateway.login("bank", "alice", token).await.unwrap();
                for i in 0..20 {
                    let id = 1000 + n * 100 + i;
                    session.batch_execute(&format!("insert into customers values ({id}, 'many', null)")).await.unwrap();
                }
                session
            }
        })
        .await;
        assert_eq!(server.value("bank", "select count(*) from customers where name = 'many'").await, "480");
        assert_eq!(gateway.leaves_of("OUTCOME").len(), 480);
        drop(sessions);
        gateway.verify();
    });
}

/// Runs many futures side by side.
pub(crate) async fn futures<T, F: Future<Output = T>>(count: usize, make: impl Fn(usize) -> F) -> Vec<T> {
    let mut running: Vec<_> = (0..count).map(|n| (Box::pin(make(n)), None)).collect();
    std::future::poll_fn(move |cx| {
        for (future, result) in running.iter_mut().filter(|(_, result)| result.is_none()) {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(cx) {
                *result = Some(value);
            }
        }
        if running.iter().any(|(_, result)| result.is_none()) {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(running.iter_mut().filter_map(|(_, result)| result.take()).collect())
    })
    .await
}
