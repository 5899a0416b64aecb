//! Who may decide, and what he may put in its place.

use std::time::{Duration, SystemTime};

use claviger_model::{PrincipalKey, PrincipalKind, Timestamp};
use claviger_store::{NewPrincipal, Store};
use serde_json::json;

use super::{Ground, OLD};
use crate::harness::{Major, eventually, run, text};

on_each_server!(other_texts_may_take_its_place);

async fn other_texts_may_take_its_place(major: Major) {
    let ground = Ground::new(server!(major), "hold = \"wait\"", "").await;
    let session = ground.session().await;
    let (result, ()) = tokio::join!(session.simple_query("delete from notes"), async {
        let id = ground.request().await;
        ground.must_review(&[
            "edit",
            &id,
            "--statement",
            "delete from notes where id = 1 returning id",
            "--reason",
            "one is enough",
        ]);
    });
    assert!(
        result
            .unwrap()
            .iter()
            .any(|message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(row) if row.get(0) == Some("1")))
    );
    assert_eq!(ground.admin.value("select count(*) from notes").await, "4");
    // The other text is decided as the client's own would be.
    let (result, ()) = tokio::join!(session.simple_query("delete from notes"), async {
        let id = ground.request().await;
        ground.must_review(&["edit", &id, "--statement", "drop table notes"]);
    });
    assert!(text(&result.unwrap_err()).contains("tables stay"));
    for text_of_it in ["begin; delete from notes", "prepare p as select 1", "copy notes from stdin", "set role none"] {
        let (result, ()) = tokio::join!(session.simple_query("delete from notes"), async {
            let id = ground.request().await;
            ground.must_review(&["edit", &id, "--statement", text_of_it]);
        });
        let words = text(&result.unwrap_err());
        assert!(words.contains("cannot take the place of this one"), "{text_of_it}: {words}");
    }
    // A prepared statement's client knows what it gives.
    let statement = session.prepare("delete from notes").await.unwrap();
    let (result, ()) = tokio::join!(session.execute(&statement, &[]), async {
        let id = ground.request().await;
        let (good, words) = ground.review(&ground.dana, &["edit", &id, "--statement", "delete from notes where id = 2"]);
        assert!(!good && words.contains("cannot be edited"), "{words}");
        ground.must_review(&["deny", &id]);
    });
    result.unwrap_err();
    assert_eq!(ground.admin.value("select count(*) from notes").await, "4");
    let of = |event: &str| ground.gateway.leaves_of("APPROVAL").iter().filter(|leaf| leaf["event"] == event).count();
    assert_eq!((of("edited"), of("spent")), (6, 1), "what is not admitted uses nothing");
    let intents = ground.gateway.leaves_of("INTENT");
    assert_eq!(intents.iter().filter(|leaf| leaf["replaced"] == true).count(), 1);
    ground.gateway.verify();
}

#[test]
fn nobody_approves_for_himself() {
    run(async {
        let more = "[approvals]\nsame_person = [[\"dirk@local\", \"alice@local\"]]\n[approvals.groups.dbas]\nreasons = true\n";
        let ground = Ground::new(server!(Major::V15), "hold = \"refuse\"", more).await;
        let (bot, alice, dirk) =
            (ground.gateway.token(&["bot"]), ground.gateway.token(&["alice"]), ground.gateway.token(&["dirk"]));
        ground.gateway.add(&["user", "eve"]);
        ground.gateway.must(&["principals", "delegate", "bot", "dana"]);
        ground.session().await.batch_execute("delete from notes").await.unwrap_err();
        let id = ground.request().await;
        let eve = ground.gateway.token(&["eve"]);
        let known = async || !ground.review(&eve, &["approve", &id]).1.contains("not registered");
        eventually("eve is known", Duration::from_secs(10), known).await;
        for (token, why) in [
            (&bot, "policy does not permit"),
            (&alice, "nobody reviews a request of his own"),
            (&dirk, "nobody reviews a request of his own"),
            (&eve, "none of your groups"),
            (&ground.gateway.token(&["dana", "--act", "bot"]), "policy does not permit"),
        ] {
            for verdict in ["approve", "deny"] {
                let (good, words) = ground.review(token, &[verdict, &id, "--reason", "x"]);
                assert!(!good && words.contains(why), "{verdict}: {words}");
            }
        }
        let (good, words) = ground.review(&ground.dana, &["approve", &id]);
        assert!(!good && words.contains("a reason is required"), "{words}");
        ground.must_review(&["approve", &id, "--reason", "x"]);
        let (good, words) = ground.review(&ground.dana, &["approve", &id, "--reason", "x"]);
        assert!(!good && words.contains("the request is granted"), "{words}");
        // Acting for dana, the agent is somebody else than by itself: her consent is not for this chain, nor can she give it.
        let acting = ground.gateway.token(&["dana", "--act", "bot"]);
        let acting = ground.gateway.session_soon("bank", "dana", &acting).await;
        acting.batch_execute("delete from notes").await.unwrap_err();
        let own = ground.pending().into_iter().find(|one| one["chain"] == json!(["bot@local", "dana@local"])).unwrap();
        let (good, words) = ground.review(&ground.dana, &["approve", own["id"].as_str().unwrap(), "--reason", "x"]);
        assert!(!good && words.contains("nobody reviews a request of his own"), "{words}");
        assert_eq!(ground.bodies().await, OLD);
    });
}

#[test]
fn a_quorum_is_of_different_people() {
    run(async {
        let ground = Ground::new(server!(Major::V15), "hold = \"refuse\"", "[approvals.groups.dbas]\nquorum = 2\n").await;
        let session = ground.session().await;
        session.batch_execute("delete from notes").await.unwrap_err();
        let id = ground.request().await;
        ground.must_review(&["approve", &id]);
        assert!(!ground.review(&ground.dana, &["approve", &id]).0, "nobody counts twice");
        session.batch_execute("delete from notes").await.unwrap_err();
        assert_eq!(ground.bodies().await, OLD);
        let (good, words) = ground.review(&ground.gateway.token(&["dirk"]), &["approve", &id]);
        assert!(good && words.contains("granted"), "{words}");
        session.batch_execute("delete from notes").await.unwrap();
        assert_eq!(ground.admin.value("select count(*) from notes").await, "0");
    });
}

#[test]
fn more_reviewers_may_be_wanted_of_what_waits() {
    run(async {
        let more = "[approvals.groups.dbas]\nquorum = 1\n";
        let ground = Ground::new(server!(Major::V15), "hold = \"refuse\"", more).await;
        let session = ground.session().await;
        session.batch_execute("delete from notes").await.unwrap_err();
        let id = ground.request().await;
        assert!(ground.gateway.reload(|toml| toml.replace("quorum = 1", "quorum = 2\nreasons = true")).await);
        let (good, words) = ground.review(&ground.dana, &["approve", &id]);
        assert!(!good && words.contains("a reason is required"), "{words}");
        let (good, words) = ground.review(&ground.dana, &["approve", &id, "--reason", "x"]);
        assert!(good && words.contains("pending, waits for dbas"), "{words}");
        session.batch_execute("delete from notes").await.unwrap_err();
        assert_eq!(ground.bodies().await, OLD);
        let (good, words) = ground.review(&ground.gateway.token(&["dirk"]), &["approve", &id, "--reason", "x"]);
        assert!(good && words.contains("granted"), "{words}");
        session.batch_execute("delete from notes").await.unwrap();
    });
}

#[test]
fn who_answers_for_an_agent_by_now_does_not_review_what_it_has_asked() {
    run(async {
        let ground = Ground::new(server!(Major::V15), "hold = \"refuse\"", "").await;
        ground.session().await.batch_execute("delete from notes").await.unwrap_err();
        let id = ground.request().await;
        let store = Store::open(&ground.gateway.path("data"), "local").unwrap();
        let key = |subject: &str| PrincipalKey::new("local", subject);
        let (kind, sponsor) = (PrincipalKind::Workload, Some(key("dana")));
        let bot = NewPrincipal { key: key("bot"), kind, display: None, groups: Vec::new(), sponsor };
        store.put_principal(&bot, Timestamp::from(SystemTime::now())).unwrap();
        let own = async || ground.review(&ground.dana, &["count", &id]).1.contains("nobody reviews a request of his own");
        eventually("the gateway knows", Duration::from_secs(20), own).await;
        assert!(!ground.review(&ground.dana, &["approve", &id]).0);
        let (good, words) = ground.review(&ground.gateway.token(&["alice"]), &["approve", &id]);
        assert!(
            !good && words.contains("nobody reviews a request of his own"),
            "who answered for it then does not either: {words}"
        );
        assert_eq!(ground.bodies().await, OLD);
    });
}

/// What policy permits at the time of asking it may not permit when it is approved.
#[test]
fn a_window_that_has_closed_meanwhile_stays_closed() {
    run(async {
        let ground = Ground::new(server!(Major::V15), "hold = \"wait\"", "").await;
        let session = ground.session().await;
        let now = || Timestamp::from(SystemTime::now());
        let closes = now().plus_secs(6).to_string();
        let window = format!(
            r#"@id("window") @reason("it is too late") forbid (principal, action in Action::"write", resource)
                when {{ context.now >= datetime("{}Z") }};"#,
            &closes[..19]
        );
        ground.gateway.write_policies(&format!("{}\n{window}", super::POLICIES));
        assert!(ground.gateway.reload(|toml| toml).await);
        let (result, ()) = tokio::join!(session.batch_execute("delete from notes"), async {
            let id = ground.request().await;
            let is_over = async || now().to_string() > closes;
            eventually("the window closes", Duration::from_secs(20), is_over).await;
            ground.must_review(&["approve", &id]);
        });
        let words = text(&result.unwrap_err());
        assert!(words.contains("it is too late"), "{words}");
        assert_eq!(ground.bodies().await, OLD);
    });
}
