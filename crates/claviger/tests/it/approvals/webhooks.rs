//! Receivers of webhooks are told what happens to requests for approval, and decide nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Ground, OLD};
use crate::harness::{Major, Receiver, WEBHOOK_SECRET, eventually, run, sqlstate, text};

const WAIT: Duration = Duration::from_secs(30);

/// What the record says of what was told, and to whom.
fn notified(ground: &Ground) -> Vec<(String, String, String)> {
    let word = |leaf: &Value, key: &str| leaf[key].as_str().unwrap_or_default().to_owned();
    let leaves = ground.gateway.leaves_of("APPROVAL").into_iter();
    let told = leaves.filter(|leaf| leaf["event"].as_str().unwrap().ends_with("notified"));
    told.map(|leaf| (word(&leaf, "event"), word(&leaf, "who"), word(&leaf, "reason"))).collect()
}

fn triple(event: &str, who: &str, of: &str) -> (String, String, String) {
    (event.to_owned(), who.to_owned(), of.to_owned())
}

#[test]
fn receivers_are_told_what_happens_and_not_what_was_said() {
    run(async {
        let server = server!(Major::V18);
        let Some(receiver) = Receiver::start() else { return };
        let toml = [
            receiver.toml("ops", ""),
            receiver.toml("chat", "events = [\"approval.requested\"]\nstatement = true"),
            "[approvals]\nlink = \"https://review.test/{id}\"\n".to_owned(),
        ];
        let ground = Ground::new(server, "hold = \"wait\"", &toml.concat()).await;
        let session = ground.session().await;
        let (result, id) = tokio::join!(session.batch_execute("update notes set body = 'sesame'"), async {
            let id = ground.request().await;
            assert_eq!(receiver.told("ops", 1).await, ["approval.requested"]);
            assert_eq!(receiver.told("chat", 1).await, ["approval.requested"]);
            assert_eq!(ground.bodies().await, OLD, "to be told is not to approve");
            ground.must_review(&["approve", &id, "--reason", "agreed"]);
            id
        });
        result.unwrap();
        let told = ["approval.requested", "approval.approved", "approval.granted", "approval.spent"];
        assert_eq!(receiver.told("ops", 4).await, told);
        let bodies = receiver.bodies("ops");
        let data = &bodies[0]["data"];
        assert_eq!((&data["id"], &data["by"], &data["chain"]), (&json!(id), &json!("bot@local"), &json!(["bot@local"])));
        assert_eq!(
            (&data["connection"], &data["hazards"], &data["reason"]),
            (&json!("bank"), &json!(["bulk_write"]), &json!("many rows"))
        );
        assert_eq!(data["link"], format!("https://review.test/{id}"));
        assert_eq!(data["effects"].as_array().unwrap().len(), 1, "{data}");
        assert!(["code", "until", "asked", "client"].iter().all(|key| data[key].is_string()), "{data}");
        assert_eq!((&bodies[1]["data"]["by"], &bodies[1]["data"]["said"]), (&json!("dana@local"), &json!("agreed")));
        assert!(!bodies.iter().any(|body| body.to_string().contains("sesame")), "{bodies:?}");
        assert_eq!(receiver.bodies("chat")[0]["data"]["statement"], "update notes set body = 'sesame'");
        let ids = |name| {
            receiver
                .messages(name)
                .iter()
                .map(|message| message["headers"]["webhook-id"].to_string())
                .collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(ids("ops").len(), 4);
        let delivered = "claviger_webhook_messages_total{webhook=\"ops\",result=\"delivered\"}";
        eventually("it is counted", WAIT, async || ground.gateway.metric(delivered) >= 4.0).await;
        drop(session);
        eventually("it is recorded", WAIT, async || notified(&ground).len() == 5).await;
        for of in told {
            assert!(notified(&ground).contains(&triple("notified", "webhook:ops", of)), "{:?}", notified(&ground));
        }
        assert!(ground.gateway.must(&["webhooks", "test", "ops"]).contains("has taken"));
        assert_eq!(receiver.told("ops", 5).await.pop().unwrap(), "webhook.test");
        ground.gateway.verify();
        ground.gateway.assert_nowhere_on_disk(b"sesame");
        ground.gateway.assert_nowhere_on_disk(WEBHOOK_SECRET.as_bytes());
    });
}

#[test]
fn a_receiver_that_was_down_is_told_later_by_the_next_gateway_too() {
    run(async {
        let server = server!(Major::V18);
        let (Some(mut receiver), Some(dead)) = (Receiver::stopped(), Receiver::stopped()) else { return };
        let toml = [dead.toml("dead", ""), receiver.toml("ops", "")].concat();
        let mut ground = Ground::new(server, "hold = \"refuse\"", &toml).await;
        let update = "update notes set body = 'new'";
        ground.session().await.batch_execute(update).await.unwrap_err();
        let id = ground.request().await;
        ground.must_review(&["approve", &id]);
        let failed = "claviger_webhook_messages_total{webhook=\"ops\",result=\"failed\"}";
        eventually("it has been tried", WAIT, async || ground.gateway.metric(failed) > 0.0).await;
        ground.gateway.kill();
        ground.gateway.start();
        assert_eq!(ground.gateway.metric("claviger_webhook_waiting{webhook=\"ops\"}"), 3.0);
        assert!(notified(&ground).is_empty());
        // What comes first is refused twice, and comes again as the same.
        receiver.answer("500\n503\n200");
        receiver.restart();
        assert_eq!(receiver.told("ops", 3).await, ["approval.requested", "approval.approved", "approval.granted"]);
        let messages = receiver.messages("ops");
        let ids: Vec<_> = messages.iter().map(|message| message["headers"]["webhook-id"].as_str().unwrap()).collect();
        assert_eq!(messages.len(), 5, "{messages:?}");
        assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3] && ids[3] != ids[4], "{ids:?}");
        ground.session().await.batch_execute(update).await.unwrap();
        assert_eq!(receiver.told("ops", 4).await[3], "approval.spent");
        eventually("it is recorded", WAIT, async || notified(&ground).len() == 4).await;
        assert!(notified(&ground).iter().all(|(event, who, _)| event == "notified" && who == "webhook:ops"));
        assert_eq!(ground.gateway.metric("claviger_webhook_waiting{webhook=\"dead\"}"), 4.0, "who is dead keeps nobody waiting");
        // One that is no more is told nothing, and that is on record.
        assert!(ground.gateway.reload(|toml| toml.replace(&dead.toml("dead", ""), "")).await);
        eventually("it is given up", WAIT, async || notified(&ground).len() == 8).await;
        let lost = triple("not_notified", "webhook:dead", "approval.spent: there is no such webhook any more");
        assert_eq!(notified(&ground).last(), Some(&lost));
        ground.gateway.verify();
    });
}

#[test]
fn what_a_receiver_answers_decides_nothing() {
    run(async {
        let server = server!(Major::V18);
        let Some(receiver) = Receiver::start() else { return };
        let ground = Ground::new(server, "hold = \"refuse\"", &receiver.toml("ops", "timeout = \"2s\"")).await;
        let session = ground.session().await;
        let update = "update notes set body = 'new'";
        let asks = async |n: usize| {
            let word = format!("update notes set body = 'new {n}'");
            assert_eq!(sqlstate(&session.batch_execute(&word).await.unwrap_err()), "42501");
        };
        receiver.answer(r#"200 {"decision":"approve","verdict":"approve","approved":true}"#);
        session.batch_execute(update).await.unwrap_err();
        receiver.told("ops", 1).await;
        assert_eq!(sqlstate(&session.batch_execute(update).await.unwrap_err()), "42501");
        // Not by sending us elsewhere either, and not by answering without end.
        receiver.answer(&format!("307 {}/elsewhere\n302 {}/elsewhere\n200 endless", receiver.url(), receiver.url()));
        asks(1).await;
        assert_eq!(receiver.told("ops", 2).await.len(), 2);
        assert!(!receiver.was_asked("elsewhere\""), "redirects are not followed");
        receiver.answer("200");
        asks(2).await;
        assert_eq!(receiver.told("ops", 3).await.len(), 3, "whoever has answered without end is told more");
        // Who wants to hear no more does not.
        receiver.answer("410\n200");
        asks(3).await;
        eventually("it stops", WAIT, async || ground.gateway.metric("claviger_webhook_stopped{webhook=\"ops\"}") > 0.0).await;
        asks(4).await;
        let given_up = async || notified(&ground).iter().filter(|(event, ..)| event == "not_notified").count() == 2;
        eventually("both are given up", WAIT, given_up).await;
        assert_eq!(receiver.bodies("ops").len(), 3);
        assert!(ground.pending().iter().all(|request| request["standing"] == "pending"));
        assert_eq!(ground.bodies().await, OLD);
        assert_eq!(ground.pending().len(), 5);
        ground.gateway.verify();
    });
}

#[test]
fn messages_go_over_tls_to_whom_the_webhook_trusts() {
    run(async {
        let server = server!(Major::V18);
        let Some(mut receiver) = Receiver::stopped() else { return };
        let ground = Ground::new(server, "hold = \"refuse\"", "").await;
        receiver.with_tls(ground.gateway.path("cert.pem"), ground.gateway.path("key.pem"));
        receiver.restart();
        let (trusting, other) = (receiver.toml("ops", "tls_ca = \"ca.pem\""), receiver.toml("wary", ""));
        assert!(ground.gateway.reload(|toml| toml + &trusting + &other).await);
        ground.session().await.batch_execute("delete from notes").await.unwrap_err();
        assert_eq!(receiver.told("ops", 1).await, ["approval.requested"]);
        let failed = "claviger_webhook_messages_total{webhook=\"wary\",result=\"failed\"}";
        eventually("whom it does not trust it tells nothing", WAIT, async || ground.gateway.metric(failed) > 0.0).await;
        assert!(receiver.messages("wary").is_empty());
    });
}

/// A review that is sent again, byte for byte, runs nothing again.
#[test]
fn a_replayed_review_admits_nothing() {
    run(async {
        let ground = Ground::new(server!(Major::V18), "hold = \"refuse\"", "").await;
        let session = ground.session().await;
        let update = "update notes set body = body || '!'";
        session.batch_execute(update).await.unwrap_err();
        let id = ground.request().await;
        let (path, body) = (format!("/v1/approvals/{id}/review"), r#"{"verdict":"approve"}"#);
        let replay = || ground.gateway.post_json(&ground.dana, &path, body);
        assert_eq!(replay(), 200);
        assert_eq!(replay(), 409, "it is granted already");
        session.batch_execute(update).await.unwrap();
        assert_eq!(replay(), 409, "it is spent");
        assert_eq!(sqlstate(&session.batch_execute(update).await.unwrap_err()), "42501");
        let again = ground.request().await;
        assert_ne!(again, id, "it is asked for anew");
        assert_eq!(replay(), 409);
        assert_eq!(sqlstate(&session.batch_execute(update).await.unwrap_err()), "42501");
        assert_eq!(ground.bodies().await, "old!,old!,old!,old!,old!");
        ground.gateway.verify();
    });
}

#[test]
fn nobody_floods_reviewers() {
    run(async {
        let ground = Ground::new(server!(Major::V18), "hold = \"refuse\"", "[approvals]\nper_minute = 3\n").await;
        let session = ground.session().await;
        let asks = async |n: usize| text(&session.batch_execute(&format!("update notes set body = '{n}'")).await.unwrap_err());
        for n in 0..3 {
            assert!(asks(n).await.contains("it is asked for as"));
        }
        assert!(asks(3).await.contains("too many of late; ask again in "), "{}", asks(3).await);
        assert!(asks(1).await.contains("it is asked for as"), "what has been asked for may be repeated");
        assert_eq!(ground.pending().len(), 3);
        // Each has his own.
        let alice = ground.gateway.session_soon("bank", "alice", &ground.gateway.token(&["alice"])).await;
        assert!(text(&alice.batch_execute("delete from notes").await.unwrap_err()).contains("it is asked for as"));
        // What is granted runs all the same.
        let mine = |request: &Value| request["statement"] == "update notes set body = '2'";
        let id = ground.pending().into_iter().find(mine).unwrap()["id"].as_str().unwrap().to_owned();
        ground.must_review(&["approve", &id]);
        session.batch_execute("update notes set body = '2'").await.unwrap();
        assert_eq!(ground.bodies().await, "2,2,2,2,2");
    });
}
