//! What a consent is good for, and how often.

use std::time::Duration;

use serde_json::{Value, json};

use super::{DYNAMIC, Ground, OLD};
use crate::harness::{Major, Raw, frame, run, sqlstate, startup_packet, terminated, text};

on_each_server!(a_consent_is_for_one_thing_once);

async fn a_consent_is_for_one_thing_once(major: Major) {
    let mut ground = Ground::new(server!(major), "hold = \"refuse\"", "").await;
    let session = ground.session().await;
    let update = "update notes set body = body || '!'";
    let words = text(&session.batch_execute(update).await.unwrap_err());
    let id = ground.request().await;
    assert!(words.contains(&format!("it is asked for as {id}")), "{words}");
    assert!(
        text(&session.batch_execute(update).await.unwrap_err()).contains(&id),
        "it is one request however often it is repeated"
    );
    ground.must_review(&["approve", &id]);
    // Another text, another principal, other values: each is something else.
    for other in ["update notes set body = body || '?'", "update notes set body = body || '!' ", "delete from notes"] {
        assert_eq!(sqlstate(&session.batch_execute(other).await.unwrap_err()), "42501", "{other}");
    }
    let alice = ground.gateway.session_soon("bank", "alice", &ground.gateway.token(&["alice"])).await;
    assert_eq!(sqlstate(&alice.batch_execute(update).await.unwrap_err()), "42501");
    assert_eq!(ground.bodies().await, OLD);
    // It outlives the gateway, and is good once: of two who race, one has it.
    drop((session, alice));
    ground.gateway.kill();
    ground.gateway.start();
    let (one, two) = (ground.session().await, ground.session().await);
    let (first, second) = tokio::join!(one.batch_execute(update), two.batch_execute(update));
    assert_eq!([first.is_ok(), second.is_ok()].into_iter().filter(|done| *done).count(), 1);
    assert_eq!(ground.bodies().await, "old!,old!,old!,old!,old!");
    assert_eq!(sqlstate(&one.batch_execute(update).await.unwrap_err()), "42501");
    ground.gateway.kill();
    ground.gateway.start();
    let session = ground.session().await;
    assert_eq!(sqlstate(&session.batch_execute(update).await.unwrap_err()), "42501", "what is used up stays so");
    // Values are part of it, whatever the statement is called.
    let other = session.prepare("update notes set body = $1").await.unwrap();
    session.execute(&other, &[&"a"]).await.unwrap_err();
    let wanted = ground.pending().pop().unwrap();
    assert_eq!(wanted["parameters"], json!([]), "lists show no values");
    let id = wanted["id"].as_str().unwrap();
    let shown: Value = serde_json::from_str(&ground.review(&ground.dana, &["show", id, "--json"]).1).unwrap();
    assert_eq!(shown["parameters"], json!(["a (or \\x61)"]));
    ground.must_review(&["approve", id]);
    session.execute(&other, &[&"b"]).await.unwrap_err();
    let again = session.prepare("update notes set body = $1").await.unwrap();
    assert_eq!(session.execute(&again, &[&"a"]).await.unwrap(), 5);
    session.execute(&again, &[&"a"]).await.unwrap_err();
    // What a session has set is part of what its statements do.
    session.batch_execute("update notes set body = current_setting('app.tenant', true)").await.unwrap_err();
    let wanted = ground.pending().pop().unwrap();
    ground.must_review(&["approve", wanted["id"].as_str().unwrap()]);
    session.batch_execute("set app.tenant = 'other'").await.unwrap();
    session.batch_execute("update notes set body = current_setting('app.tenant', true)").await.unwrap_err();
    // What is granted can be taken back.
    session.batch_execute("update notes set body = 'z'").await.unwrap_err();
    let wanted = ground.pending().into_iter().find(|one| one["statement"] == "update notes set body = 'z'").unwrap();
    let id = wanted["id"].as_str().unwrap();
    ground.must_review(&["approve", id]);
    ground.must_review(&["deny", id]);
    session.batch_execute("update notes set body = 'z'").await.unwrap_err();
    assert_eq!(ground.bodies().await, "a,a,a,a,a");
    ground.gateway.verify();
}

#[test]
fn what_an_approval_hangs_on_must_stay_what_it_was() {
    run(async {
        let ground = Ground::new(server!(Major::V15), "hold = \"wait\"", "").await;
        let session = ground.session().await;
        let redefine = "create or replace function wipe(which int) returns void language sql as 'update notes set body = ''WIPED'' where id = which'";
        let (result, ()) = tokio::join!(session.batch_execute("select wipe(1)"), async {
            let id = ground.request().await;
            ground.admin.batch_execute(redefine).await.unwrap();
            // The gateway knows of a change that it did not see within a second.
            tokio::time::sleep(Duration::from_millis(1500)).await;
            ground.must_review(&["approve", &id]);
        });
        let words = text(&result.unwrap_err());
        assert!(words.contains("is not what was approved"), "{words}");
        assert_eq!(ground.bodies().await, OLD);
        // What cannot be looked into hangs on all that is defined.
        ground.admin.batch_execute("create function helper() returns int language sql as 'select 1'").await.unwrap();
        ground.admin.batch_execute(DYNAMIC).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let (result, ()) = tokio::join!(session.batch_execute("select dynamic()"), async {
            let id = ground.request().await;
            ground
                .admin
                .batch_execute("create or replace function helper() returns int language sql as 'select 2'")
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(1500)).await;
            ground.must_review(&["approve", &id]);
        });
        assert!(text(&result.unwrap_err()).contains("is not what was approved"));
        // What was prepared before is part of what it does, and is shown.
        for text in ["prepare p as update notes set body = 'p'", "execute p"] {
            let (result, ()) = tokio::join!(session.batch_execute(text), async {
                let id = ground.request().await;
                let shown: Value = serde_json::from_str(&ground.review(&ground.dana, &["show", &id, "--json"]).1).unwrap();
                let statement = shown["statement"].as_str().unwrap();
                assert!(statement.starts_with(text) && statement.ends_with("update notes set body = 'p'"), "{statement}");
                assert_eq!(shown["hazards"], json!(["bulk_write"]));
                ground.must_review(&["approve", &id]);
            });
            result.unwrap();
        }
        assert_eq!(ground.bodies().await, "p,p,p,p,p");
    });
}

/// The same text with the same bytes may be another statement, by what its parameters are said to be.
#[test]
fn what_parameters_are_said_to_be_is_part_of_it() {
    run(async {
        let ground = Ground::new(server!(Major::V15), "hold = \"refuse\"", "").await;
        let mut raw = ground.gateway.raw("bank");
        raw.login("bot", "bank", &ground.gateway.token(&["bot"])).unwrap();
        let mut update = |kind: u32| {
            let text = terminated("update notes set body = $1 || '!'");
            let parse = frame(b'P', &[&terminated("")[..], &text, &[0, 1], &kind.to_be_bytes()].concat());
            let bind = frame(b'B', &[&[0, 0, 0, 0, 0, 1, 0, 0, 0, 1][..], b"7", &[0, 0]].concat());
            raw.send(&[parse, bind, frame(b'E', &[0; 5]), frame(b'S', &[])].concat());
            let answers = raw.until_ready();
            answers.iter().map(|message| char::from(message.0)).filter(|kind| "CE".contains(*kind)).collect::<String>()
        };
        let (int, text) = (23, 25);
        assert_eq!(update(text), "E");
        ground.must_review(&["approve", &ground.request().await]);
        assert_eq!(update(int), "E", "nobody has approved that");
        assert_eq!(ground.bodies().await, OLD);
        assert_eq!(update(text), "C");
        assert_eq!(ground.bodies().await, "7!,7!,7!,7!,7!");
        assert_eq!(update(text), "E", "it is used up");
    });
}

/// What a client sets as its session begins may alter what its statements do.
#[test]
fn what_a_session_began_with_is_part_of_it() {
    run(async {
        let ground = Ground::new(server!(Major::V15), "hold = \"refuse\"", "").await;
        let token = ground.gateway.token(&["bot"]);
        let began_with = |options: &str| {
            let mut raw = ground.gateway.raw("bank");
            raw.enter(&startup_packet(&[("user", "bot"), ("database", "bank"), ("options", options)]), &token).unwrap();
            raw
        };
        let update = "update notes set body = current_setting('app.tenant')";
        let is_done = |mut raw: Raw| raw.query(update).iter().any(|message| message.0 == b'C');
        assert!(!is_done(began_with("-c app.tenant=one")));
        ground.must_review(&["approve", &ground.request().await]);
        assert!(!is_done(began_with("-c app.tenant=two")), "nobody has approved that");
        assert!(!is_done(began_with("-c app.tenant=one -c search_path=other,public")), "nor that");
        assert_eq!(ground.bodies().await, OLD);
        // What only makes it slower or ends it alters nothing.
        assert!(is_done(began_with("-c app.tenant=one -c statement_timeout=9s -c enable_seqscan=off")));
        assert_eq!(ground.bodies().await, "one,one,one,one,one");
    });
}

#[test]
fn what_is_left_of_consents_is_listed_and_runs_out() {
    run(async {
        let mut ground = Ground::new(server!(Major::V15), "hold = \"refuse\"", "").await;
        let updates = [1, 2, 3].map(|n| format!("update notes set body = 'text {n}'"));
        let session = ground.session().await;
        for update in &updates {
            session.batch_execute(update).await.unwrap_err();
            let pending = ground.pending().into_iter().find(|one| one["standing"] == "pending").unwrap();
            ground.must_review(&["approve", pending["id"].as_str().unwrap()]);
        }
        let before = ground.pending();
        let until = |one: &Value| one["until"].as_str().unwrap().to_owned();
        // Between two runs the clock is set back, by the hour for which the consents are good but for some minutes.
        ground.gateway.kill();
        let at = |minutes: i64| claviger_model::Timestamp::from(std::time::SystemTime::now()).plus_secs(60 * minutes);
        let store = || claviger_store::Store::open(&ground.gateway.path("data"), "local").unwrap();
        store().expire_consents(at(50)).unwrap();
        ground.gateway.start();
        let after = ground.pending();
        assert_eq!(after.len(), 3);
        for (before, after) in before.iter().zip(&after) {
            assert_eq!((&before["id"], &before["chain"]), (&after["id"], &after["chain"]));
            assert!(until(after) < at(11).to_string() && until(after) > at(5).to_string(), "{after}");
            assert_eq!((&after["standing"], &after["statement"]), (&json!("granted"), &json!("")));
        }
        // One is used, one is taken back.
        let session = ground.session().await;
        session.batch_execute(&updates[0]).await.unwrap();
        ground.must_review(&["deny", after[1]["id"].as_str().unwrap()]);
        session.batch_execute(&updates[1]).await.unwrap_err();
        assert_eq!(ground.bodies().await, ["text 1"; 5].join(","));
        // One has run out, whatever the clock says when the gateway starts.
        ground.gateway.kill();
        let store = claviger_store::Store::open(&ground.gateway.path("data"), "local").unwrap();
        assert_eq!(store.consents(at(0)).unwrap().len(), 1);
        store.expire_consents(at(12)).unwrap();
        ground.gateway.start();
        assert!(!ground.pending().iter().any(|one| one["standing"] == "granted"));
        ground.session().await.batch_execute(&updates[2]).await.unwrap_err();
        assert_eq!(ground.bodies().await, ["text 1"; 5].join(","));
        ground.gateway.verify();
    });
}
