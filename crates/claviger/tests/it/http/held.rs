//! Requests that wait for people: their clients wait, or come back; what is approved is what leaves, once.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Answer, Rig, Wire};
use crate::harness::{eventually, run};

impl Rig {
    pub(super) fn approvals(&self, arguments: &[&str]) -> String {
        let said = self.gateway.through_api(&self.gateway.token(&["dana"]), &[&["approvals"], arguments].concat());
        let words = [said.stdout, said.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert!(said.status.success(), "{arguments:?}: {words}");
        words
    }

    /// The one request that waits.
    pub(super) async fn request_for_approval(&self) -> String {
        let list = || serde_json::from_str::<Value>(&self.approvals(&["list", "--json"])).unwrap();
        let pending = || list().as_array().unwrap().iter().find(|one| one["standing"] == "pending").cloned();
        eventually("it is asked for", Duration::from_secs(10), async || pending().is_some()).await;
        pending().unwrap()["id"].as_str().unwrap().to_owned()
    }
}

/// Asks on a connection of its own, in a thread.
fn ask(port: u16, request: String) -> std::thread::JoinHandle<Answer> {
    std::thread::spawn(move || Wire::to(port).ask(request))
}

#[test]
fn a_request_waits_for_people_and_leaves_once() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let content = r#"{"delete": "everything"}"#;
        let request = rig.request("POST /v1/held?really=yes", "Content-Type: application/json\r\n", content);
        let asking = ask(rig.port, request.clone());
        let id = rig.request_for_approval().await;
        let shown: Value = serde_json::from_str(&rig.approvals(&["show", &id, "--json"])).unwrap();
        let expected = format!("POST /v1/held?really=yes\ncontent-type: application/json\n\n{content}");
        assert_eq!(shown["statement"], json!(expected));
        assert_eq!(shown["effects"], json!(["invoke endpoint POST /v1/held"]));
        assert!(rig.seen("/held").is_empty(), "nothing leaves before");
        rig.approvals(&["approve", &id]);
        let answer = asking.join().unwrap();
        assert_eq!((answer.status, &answer.json()["content"]), (200, &json!(content)));
        assert_eq!(rig.seen("/held").len(), 1);
        // What it was for is used up.
        let asking = ask(rig.port, request);
        let id = rig.request_for_approval().await;
        rig.approvals(&["deny", &id, "--reason", "once is enough"]);
        let answer = asking.join().unwrap();
        assert_eq!(answer.status, 403);
        assert!(answer.text().contains("once is enough"), "{answer:?}");
        assert_eq!(rig.seen("/held").len(), 1);
        rig.gateway.verify();
    });
}

#[test]
fn who_cannot_wait_comes_back_with_the_same() {
    run(async {
        let Some(rig) = Rig::start("hold = \"refuse\"") else { return };
        let mut wire = rig.dial();
        let of = |content: &str, more: &str| rig.request("POST /v1/held", more, content);
        let refused = wire.ask(of("body", ""));
        assert!(refused.status == 403 && refused.text().contains("repeat the same when it is granted"), "{refused:?}");
        let id = rig.request_for_approval().await;
        assert!(refused.text().contains(&id), "{refused:?}");
        rig.approvals(&["approve", &id]);
        assert_eq!(wire.ask(of("another body", "")).status, 403, "another is not approved");
        assert_eq!(rig.dial().ask(of("body", "Content-Type: text/other\r\n")).status, 403, "nor one of another type");
        assert_eq!(rig.dial().ask(rig.request("POST /v1/held?x", "", "body")).status, 403, "nor another query");
        assert!(rig.seen("/held").is_empty());
        let again = rig.dial().ask(of("body", "Idempotency-Key: another\r\n"));
        assert_eq!((again.status, rig.seen("/held").len()), (200, 1), "{again:?}");
        assert_eq!(wire.ask(of("body", "")).status, 403, "it is used up");
        assert_eq!(rig.seen("/held").len(), 1);
    });
}

#[test]
fn whoever_goes_withdraws_the_request() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let mut wire = rig.dial();
        wire.send(rig.request("POST /v1/held", "", "body"));
        let id = rig.request_for_approval().await;
        drop(wire);
        let over = || serde_json::from_str::<Value>(&rig.approvals(&["show", &id, "--json"])).unwrap()["standing"] == "withdrawn";
        eventually("it is withdrawn", Duration::from_secs(10), async || over()).await;
        assert!(rig.seen("/held").is_empty());
    });
}

#[test]
fn an_upstream_may_close_while_a_request_waits() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        // On a socket that the session has used, and on one that it has just opened or taken.
        for first in [true, false] {
            let before = rig.seen("/held").len();
            let port = rig.port;
            let (brief, held) = (rig.request("GET /v1/brief", "", ""), rig.request("POST /v1/held", "", "body"));
            let asking = std::thread::spawn(move || {
                let mut wire = Wire::to(port);
                if first {
                    assert_eq!(wire.ask(brief).status, 200);
                } else {
                    assert_eq!(Wire::to(port).ask(brief).status, 200);
                }
                wire.ask(held)
            });
            let id = rig.request_for_approval().await;
            tokio::time::sleep(Duration::from_millis(800)).await;
            rig.approvals(&["approve", &id]);
            let answer = asking.join().unwrap();
            assert_eq!((answer.status, rig.seen("/held").len()), (200, before + 1), "{answer:?}");
        }
        assert!(rig.leaves("OUTCOME").iter().all(|leaf| leaf["status"] == "completed"));
        rig.gateway.verify();
    });
}
