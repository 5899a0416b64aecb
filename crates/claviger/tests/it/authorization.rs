//! What policy says holds: before anything reaches the upstream, and for every link of a chain.

use serde_json::json;

use crate::harness::{Conn, Gateway, Major, PERMIT_ALL, Server, run, sqlstate};
use crate::identity::refusal;

const ENGINEERS: &str = r#"@id("engineers-connect") @reason("engineers work with the bank")
    permit (principal in Group::"engineers", action == Action::"connect", resource == Connection::"bank");"#;

/// A gateway with Alice, an engineer, and Mallory, who is nobody; and two workloads, of which one is an engineer too.
fn gateway(server: &Server, policies: &str, line: &str) -> Gateway {
    let mut gateway = Gateway::configure(&[Conn::to("bank", server).set(line)], policies, "");
    gateway.add(&["user", "alice", "--group", "engineers"]);
    gateway.add(&["user", "mallory"]);
    gateway.add(&["workload", "assistant"]);
    gateway.add(&["workload", "helper", "--group", "engineers"]);
    for (actor, subject) in [("assistant", "alice"), ("helper", "mallory"), ("helper", "alice")] {
        gateway.must(&["principals", "delegate", actor, subject]);
    }
    gateway.start();
    gateway
}

/// Whether anybody ever asked the upstream for a session as the gateway's role.
fn reached(server: &Server) -> bool {
    server.log().contains("user=keeper")
}

#[test]
fn without_a_permit_nothing_reaches_the_upstream() {
    run(async {
        let server = server!(Major::V15, &["log_connections=on"]);
        let gateway = gateway(&server, ENGINEERS, "");
        let token = gateway.token(&["mallory"]);
        let received = server.log().matches("connection received").count();
        let (state, message, reason) = refusal(&gateway, "bank", &token);
        assert_eq!((state.as_str(), reason.as_str()), ("42501", "policy.deny"), "{message}");
        assert_eq!(server.log().matches("connection received").count(), received, "not even a socket was opened");
        let refused = &gateway.leaves_of("SESSION_REFUSED")[0];
        assert_eq!((&refused["chain"], &refused["connection"]), (&json!(["mallory@local"]), &json!("bank")));
        assert_eq!(refused["decision"]["verdict"], "deny");
        assert!(!reached(&server));

        gateway.session("bank", "alice").await.batch_execute("select name from customers").await.unwrap();
        assert!(reached(&server));
        let request = &gateway.leaves_of("REQUEST")[0];
        assert_eq!(
            (&request["decision"]["verdict"], &request["decision"]["policies"]),
            (&json!("permit"), &json!(["statements"]))
        );
        gateway.verify();
    });
}

#[test]
fn without_policies_nothing_is_permitted() {
    run(async {
        let server = server!(Major::V15, &["log_connections=on"]);
        let gateway = gateway(&server, "", "");
        assert_eq!(refusal(&gateway, "bank", &gateway.token(&["alice"])).0, "42501");
        assert!(!reached(&server));
    });
}

#[test]
fn one_forbid_outweighs_every_permit_and_says_why() {
    run(async {
        let server = server!(Major::V15);
        let forbid = r#"@id("not-without-tls") @reason("production is reached over TLS only")
            forbid (principal, action == Action::"connect", resource in Label::"environment.production") unless { !context.tls };"#;
        let gateway = gateway(&server, &format!("{PERMIT_ALL}\n{forbid}"), "labels = [\"environment.production\"]");
        let (state, message, _) = refusal(&gateway, "bank", &gateway.token(&["alice"]));
        assert_eq!(state, "42501");
        assert!(message.contains("production is reached over TLS only"), "{message}");
    });
}

#[test]
fn every_link_of_a_chain_needs_a_permit() {
    run(async {
        let server = server!(Major::V15, &["log_connections=on"]);
        let gateway = gateway(&server, ENGINEERS, "");
        let token = |subject: &str, actor: &str| gateway.token(&[subject, "--act", actor]);
        assert_eq!(refusal(&gateway, "bank", &token("alice", "assistant")).0, "42501");
        assert_eq!(refusal(&gateway, "bank", &token("mallory", "helper")).0, "42501");
        assert!(!reached(&server));
        gateway.login("bank", "helper", &token("alice", "helper")).await.unwrap();
    });
}

#[test]
fn observe_lets_pass_and_records_what_it_would_have_done() {
    run(async {
        let server = server!(Major::V15);
        let gateway = gateway(&server, ENGINEERS, "mode = \"observe\"");
        assert_eq!(gateway.session("bank", "mallory").await.value("select count(*) from customers").await, "3");
        let opened = &gateway.leaves_of("SESSION_OPEN")[0];
        assert_eq!(
            (&opened["mode"], &opened["decision"]["verdict"], &opened["decision"]["would"]),
            (&json!("observe"), &json!("permit"), &json!("deny"))
        );
        gateway.session("bank", "alice").await;
        let opened = &gateway.leaves_of("SESSION_OPEN")[1];
        assert_eq!((&opened["decision"]["verdict"], &opened["decision"]["would"]), (&json!("permit"), &json!(null)));
    });
}

#[test]
fn record_asks_no_policy_but_still_wants_an_identity() {
    run(async {
        let server = server!(Major::V15);
        let gateway = gateway(&server, "", "mode = \"record\"");
        assert_eq!(gateway.session("bank", "mallory").await.value("select count(*) from customers").await, "3");
        let request = &gateway.leaves_of("REQUEST")[0];
        assert_eq!((&request["who"], &request["decision"]["reason"]), (&json!("mallory@local"), &json!("mode.record")));
        assert_eq!(refusal(&gateway, "bank", "nobody").0, "28000");
    });
}

#[test]
fn changed_policy_is_taken_up_or_left_whole() {
    run(async {
        let server = server!(Major::V15);
        let gateway = gateway(&server, ENGINEERS, "");
        let (alice, mallory) = (gateway.token(&["alice"]), gateway.token(&["mallory"]));
        let hang_up = async || {
            std::process::Command::new("sh").args(["-c", &format!("kill -HUP {}", gateway.process_id())]).status().unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        };
        gateway.write_policies("permit (principal, action == Action::\"conect\", resource);");
        hang_up().await;
        gateway.login("bank", "alice", &alice).await.expect("a policy that is wrong is not taken up");
        gateway.write_policies(r#"@id("m") permit (principal == User::"mallory", action == Action::"connect", resource);"#);
        hang_up().await;
        gateway.login("bank", "mallory", &mallory).await.expect("the new policy is in force");
        let Err(error) = gateway.login("bank", "alice", &alice).await else { panic!("the old policy is still in force") };
        assert_eq!(sqlstate(&error), "42501");
        assert_eq!(gateway.leaves_of("BOOT").len(), 2);
    });
}
