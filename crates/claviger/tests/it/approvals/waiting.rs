//! Who waits for an approval, and what becomes of it.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::AsyncMessage;

use super::{Ground, OLD};
use crate::harness::{Major, eventually, finish_driver, frame, run, skip, sqlstate, start_driver, terminated, text};

on_each_server!(
    what_is_approved_goes_on_in_its_transaction,
    what_is_denied_is_a_servers_error,
    whoever_goes_withdraws,
    programs_of_drivers_wait,
    a_person_at_psql_waits,
);

async fn what_is_approved_goes_on_in_its_transaction(major: Major) {
    let ground = Ground::new(server!(major), "hold = \"wait\"", "").await;
    let mut session = ground.session().await;
    session.batch_execute("begin; select 1").await.unwrap();
    let (result, ()) = tokio::join!(session.simple_query("update notes set body = 'new'"), async {
        let id = ground.request().await;
        let shown = ground.review(&ground.dana, &["show", &id, "--json"]).1;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["statement"], "update notes set body = 'new'");
        assert_eq!((&shown["chain"], &shown["hazards"]), (&json!(["bot@local"]), &json!(["bulk_write"])));
        assert_eq!((&shown["policies"], &shown["reason"]), (&json!(["bulk"]), &json!("many rows")));
        assert!(shown["effects"].as_array().unwrap().contains(&json!("update column public.notes (body)")), "{shown}");
        assert_eq!(
            (&shown["in_transaction"], &shown["has_written"], &shown["waits"]),
            (&json!(true), &json!(false), &json!(true))
        );
        assert_eq!(ground.bodies().await, OLD, "nothing runs before it is approved");
        ground.must_review(&["approve", &id, "--reason", "agreed"]);
    });
    result.unwrap();
    let Some(AsyncMessage::Notice(notice)) = session.messages.recv().await else { panic!("there is no notice") };
    assert_eq!(notice.message(), "this waits for the approval of dbas: many rows");
    assert!(notice.detail().unwrap().contains("code "), "{notice:?}");
    assert_eq!(session.value("select distinct body from notes").await, "new");
    assert_eq!(ground.bodies().await, OLD, "its transaction is open");
    session.batch_execute("commit").await.unwrap();
    assert_eq!(ground.bodies().await, "new,new,new,new,new");
    // What an approval is for needs another the next time.
    let (result, ()) = tokio::join!(session.execute("update notes set body = $1", &[&"newer"]), async {
        let id = ground.request().await;
        let shown: Value = serde_json::from_str(&ground.review(&ground.dana, &["show", &id, "--json"]).1).unwrap();
        assert_eq!(shown["parameters"], json!(["newer"]));
        ground.must_review(&["approve", &id]);
    });
    assert_eq!(result.unwrap(), 5);
    drop(session);
    let each = ["requested", "seen", "approved", "granted", "spent"];
    assert_eq!(ground.events(), [each, each].concat());
    ground.gateway.verify();
    ground.gateway.assert_nowhere_on_disk(b"newer");
}

async fn what_is_denied_is_a_servers_error(major: Major) {
    let ground = Ground::new(server!(major, &["log_statement=all"]), "hold = \"wait\"", "").await;
    let session = ground.session().await;
    session.batch_execute("begin; select 1").await.unwrap();
    let (result, ()) = tokio::join!(session.batch_execute("select 2; delete from notes; select 3"), async {
        let id = ground.request().await;
        ground.must_review(&["deny", &id, "--reason", "not today"]);
        let (good, words) = ground.review(&ground.gateway.token(&["dirk"]), &["approve", &id]);
        assert!(!good && words.contains("the request is denied"), "{words}");
    });
    let error = result.unwrap_err();
    assert_eq!(sqlstate(&error), "42501");
    assert!(text(&error).contains("dana@local has denied this: not today"), "{}", text(&error));
    assert_eq!(sqlstate(&session.batch_execute("select 1").await.unwrap_err()), "25P02", "its transaction has failed");
    session.batch_execute("commit").await.unwrap();
    assert_eq!(ground.bodies().await, OLD);
    assert!(!ground.server.log().contains("delete from notes"), "nothing of it reached the server");
    // In a pipeline everything up to its end is passed over.
    let mut raw = ground.gateway.raw("bank");
    raw.login("bot", "bank", &ground.gateway.token(&["bot"])).unwrap();
    let parse = |text: &str| frame(b'P', &[&terminated("")[..], &terminated(text), &[0, 0]].concat());
    let rest = [frame(b'B', &[0; 8]), frame(b'E', &[0; 5])].concat();
    let run = |text: &str| [parse(text), rest.clone()].concat();
    let pipeline =
        [run("select 1"), run("update notes set body = 'x'"), run("update notes set body = 'y' where id = 1")].concat();
    raw.send(&[pipeline, frame(b'S', &[])].concat());
    let id = ground.request().await;
    ground.must_review(&["deny", &id]);
    let answers: String = raw.until_ready().iter().map(|message| char::from(message.0)).collect();
    assert_eq!(answers.replace('N', ""), "12DC1EZ");
    assert_eq!(ground.bodies().await, OLD);
}

async fn whoever_goes_withdraws(major: Major) {
    let mut ground = Ground::new(server!(major), "hold = \"wait\"", "").await;
    // Interrupted: the session lives on.
    let session = ground.session().await;
    let (result, id) = tokio::join!(session.batch_execute("delete from notes"), async {
        let id = ground.request().await;
        session.cancel().await;
        id
    });
    assert_eq!(sqlstate(&result.unwrap_err()), "57014");
    let (good, words) = ground.review(&ground.dana, &["approve", &id]);
    assert!(!good && words.contains("withdrawn"), "{words}");
    assert_eq!(session.value("select 7").await, "7");
    // Gone.
    let mut raw = ground.gateway.raw("bank");
    raw.login("bot", "bank", &ground.gateway.token(&["bot"])).unwrap();
    raw.send(&frame(b'Q', &terminated("delete from notes")));
    let id = ground.request().await;
    drop(raw);
    eventually("it is withdrawn", Duration::from_secs(20), async || ground.pending().is_empty()).await;
    assert!(!ground.review(&ground.dana, &["approve", &id]).0);
    // Gone, with more sent ahead than is read while it waits.
    let mut raw = ground.gateway.raw("bank");
    raw.login("bot", "bank", &ground.gateway.token(&["bot"])).unwrap();
    let run = |text: &str| {
        let parse = frame(b'P', &[&terminated("")[..], &terminated(text), &[0, 0]].concat());
        [parse, frame(b'B', &[0; 8]), frame(b'E', &[0; 5])].concat()
    };
    raw.send(&[run("delete from notes"), run("select 1"), run("select 2"), frame(b'S', &[])].concat());
    let id = ground.request().await;
    drop(raw);
    eventually("it is withdrawn", Duration::from_secs(20), async || ground.pending().is_empty()).await;
    assert!(!ground.review(&ground.dana, &["approve", &id]).0);
    // Shut out, while it waits.
    let other = ground.session().await;
    let (result, id) = tokio::join!(other.batch_execute("delete from notes"), async {
        let id = ground.request().await;
        ground.gateway.must(&["principals", "disable", "bot"]);
        id
    });
    assert_eq!(sqlstate(&result.unwrap_err()), "28000");
    assert!(!ground.review(&ground.dana, &["approve", &id]).0);
    ground.gateway.must(&["principals", "enable", "bot"]);
    // And with the gateway itself.
    let last = ground.session().await;
    let Ground { gateway, .. } = &mut ground;
    let (result, ()) = tokio::join!(last.batch_execute("delete from notes"), async {
        eventually("it waits", Duration::from_secs(20), async || {
            gateway.metric("claviger_operations_held{connection=\"bank\"}") > 0.0
        })
        .await;
        gateway.kill();
    });
    assert!(result.unwrap_err().as_db_error().is_none());
    ground.gateway.start();
    assert!(ground.pending().is_empty());
    assert_eq!(ground.bodies().await, OLD);
}

/// Whatever is asked for is decided in turn: approved, denied, approved.
async fn programs_of_drivers_wait(major: Major) {
    for (name, left) in [("held_psycopg", "pipeline"), ("HeldJdbc", "batch")] {
        let ground = Ground::new(server!(major), "hold = \"wait\"", "").await;
        let Some(running) = start_driver(&ground.gateway, name, &[]) else { continue };
        for verdict in ["approve", "deny", "approve"] {
            let id = ground.request().await;
            ground.must_review(&[verdict, &id]);
            // The next may be there already.
            let over = async || ground.pending().iter().all(|one| one["id"] != id.as_str());
            eventually("it is over", Duration::from_secs(20), over).await;
        }
        finish_driver(running);
        assert_eq!(ground.bodies().await, [left; 5].join(","), "{name}");
    }
}

async fn a_person_at_psql_waits(major: Major) {
    if Command::new("psql").arg("--version").output().is_err() {
        return skip("psql is not there");
    }
    let ground = Ground::new(server!(major), "hold = \"wait\"", "").await;
    let psql = |commands: &[&str]| {
        let target = format!("host=localhost port={} dbname=bank user=bot sslmode=require", ground.gateway.port("bank"));
        let mut command = Command::new("psql");
        command.args(["-XAt", &target]).env("PGPASSWORD", ground.gateway.token(&["bot"]));
        commands.iter().for_each(|text| _ = command.args(["-c", text]));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let said = |running: Child| {
        let output = running.wait_with_output().unwrap();
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
    };
    let running = psql(&["begin", "select 1", "update notes set body = 'psql'", "commit"]);
    let id = ground.request().await;
    ground.must_review(&["approve", &id]);
    let [answers, notices] = said(running);
    assert_eq!(answers, "BEGIN\n1\nUPDATE 5\nCOMMIT\n");
    assert!(notices.starts_with("NOTICE:  this waits for the approval of dbas: many rows\nDETAIL:  code "), "{notices}");
    let running = psql(&["begin", "delete from notes", "commit"]);
    let id = ground.request().await;
    ground.must_review(&["deny", &id]);
    let [answers, errors] = said(running);
    assert_eq!(answers, "BEGIN\nROLLBACK\n");
    assert!(errors.contains("ERROR:  dana@local has denied this"), "{errors}");
    // Ctrl-C, as a person presses it.
    let running = psql(&["delete from notes"]);
    ground.request().await;
    assert!(Command::new("kill").args(["-INT", &running.id().to_string()]).status().unwrap().success());
    let [_, errors] = said(running);
    assert!(errors.contains("canceling statement due to user request"), "{errors}");
    assert_eq!(ground.bodies().await, "psql,psql,psql,psql,psql");
}

/// Many wait at once, and whoever has nothing to wait for is served as before.
#[test]
fn many_may_wait() {
    run(async {
        let most = "[approvals]\npending = 2000\npending_per_principal = 2000\n[limits]\nconnections_per_principal = 2000\n";
        let ground = Ground::new(server!(Major::V15, &["max_connections=400"]), "hold = \"wait\"", most).await;
        let token = ground.gateway.token(&["bot"]);
        let mut waiting = Vec::new();
        for n in 0..300 {
            let mut raw = ground.gateway.raw("bank");
            raw.login("bot", "bank", &token).unwrap();
            raw.send(&frame(b'Q', &terminated(&format!("update notes set body = 'held {n}'"))));
            waiting.push(raw);
        }
        eventually("all wait", Duration::from_secs(20), async || ground.pending().len() == 300).await;
        let session = ground.session().await;
        for n in 0..100 {
            assert_eq!(session.value(&format!("select {n}")).await, n.to_string());
        }
        let last = ground.pending().pop().unwrap();
        ground.must_review(&["approve", last["id"].as_str().unwrap()]);
        eventually("it has run", Duration::from_secs(20), async || ground.bodies().await.contains("held")).await;
        drop(waiting);
        eventually("all are withdrawn", Duration::from_secs(20), async || ground.pending().is_empty()).await;
        assert!(ground.bodies().await.split(',').all(|body| body == body_of(&last)), "nobody else's ran");
        ground.gateway.verify();
    });
}

/// What an update sets.
fn body_of(request: &Value) -> &str {
    request["statement"].as_str().unwrap().split('\'').nth(1).unwrap()
}

#[test]
fn who_has_waited_long_enough_may_come_back() {
    run(async {
        let more = "[approvals]\nwait = \"1s\"\nwait_in_transaction = \"500ms\"\nttl = \"12s\"\npending_per_principal = 2\n";
        let ground = Ground::new(server!(Major::V15), "hold = \"wait\"", more).await;
        let session = ground.session().await;
        let update = "update notes set body = body || '!'";
        let words = text(&session.batch_execute(update).await.unwrap_err());
        let id = ground.request().await;
        assert!(words.contains(&id), "{words}");
        ground.must_review(&["approve", &id]);
        session.batch_execute(update).await.unwrap();
        assert_eq!(ground.bodies().await, "old!,old!,old!,old!,old!");
        // What has changed something holds locks, and is refused at once.
        session.batch_execute("begin; update notes set body = 'one' where id = 1").await.unwrap();
        let words = text(&session.batch_execute(update).await.unwrap_err());
        assert!(words.contains("repeat the same"), "{words}");
        session.batch_execute("rollback").await.unwrap();
        // Nobody fills the list.
        session.batch_execute("delete from notes").await.unwrap_err();
        let words = text(&session.batch_execute("update notes set body = 'x'").await.unwrap_err());
        assert!(words.contains("too many"), "{words}");
        // What is too late is over, for reviewers and for consents.
        eventually("it has expired", Duration::from_secs(60), async || ground.pending().is_empty()).await;
        assert!(ground.events().iter().any(|event| event == "expired"));
        assert_eq!(ground.bodies().await, "old!,old!,old!,old!,old!");
        ground.gateway.verify();
    });
}
