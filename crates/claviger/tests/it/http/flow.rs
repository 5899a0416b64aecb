//! What somebody has seen in a database, and where it must not go.

use super::Wire;
use crate::harness::{Api, Conn, Gateway, Major, Server, free_port, run};

const POLICIES: &str = r#"
    @id("in") permit (principal, action == Action::"connect", resource);
    @id("read") permit (principal, action in [Action::"read", Action::"export"], resource);
    @id("ask") permit (principal, action == Action::"invoke", resource);
    @id("reveal") permit (principal == User::"alice", action == Action::"reveal", resource);
    @id("stays-here") @reason("who has seen personal data sends nothing out")
    forbid (principal, action == Action::"invoke", resource in Connection::"api") when { context.seen.contains("pii") };
"#;

#[test]
fn who_has_seen_personal_data_sends_nothing_out() {
    run(async {
        let Some(server) = Server::start(Major::V15, &[]) else { return };
        let Some(api) = Api::start() else { return };
        let admin = server.admin("bank").await;
        admin
            .batch_execute("create table people (id int, ssn text); insert into people values (1, '536-90-4399')")
            .await
            .unwrap();
        admin.batch_execute("grant select on people to keeper").await.unwrap();
        let port = free_port();
        let toml = format!(
            "[[connections]]\nname = \"api\"\nkind = \"http\"\naddress = \"127.0.0.1:{}\"\ntls = \"disable\"\n\
             listen = \"127.0.0.1:{port}\"\nplaintext = true\n[masking]\nseen_for = \"4s\"\n",
            api.port
        );
        let bank = Conn::to("bank", &server).set("classify = { \"public.people.ssn\" = [\"pii\"] }\ndetect = false");
        let mut gateway = Gateway::configure(&[bank], POLICIES, &toml);
        gateway.permit_no_statements();
        for name in ["alice", "bob"] {
            gateway.add(&["user", name]);
        }
        gateway.add(&["workload", "agent", "--sponsor", "alice"]);
        gateway.must(&["principals", "delegate", "agent", "alice"]);
        gateway.start();
        let (alice, bob) = (gateway.token(&["alice"]), gateway.token(&["bob"]));
        let post = |token: &str| {
            let head = format!("POST /v1/x HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {token}\r\nContent-Length: 1\r\n\r\nx");
            Wire::to(port).ask(head)
        };
        let read = async |name: &str, token: &str| {
            let session = gateway.session_soon("bank", name, token).await;
            session.value("select ssn from people").await
        };
        assert_eq!((post(&alice).status, post(&bob).status), (200, 200));
        assert_eq!(read("bob", &bob).await, "[masked]");
        assert_eq!(post(&bob).status, 200, "who has seen a mask has seen nothing");
        assert_eq!(read("alice", &alice).await, "536-90-4399");
        let refused = post(&alice);
        assert!(refused.status == 403 && refused.text().contains("who has seen personal data"), "{refused:?}");
        // Nor does whoever acts for her.
        let agent = gateway.token(&["alice", "--act", "agent"]);
        assert_eq!(post(&agent).status, 403);
        assert_eq!(post(&bob).status, 200);
        assert_eq!(api.seen().len(), 4);
        // A gateway that is killed, and starts anew, knows it still.
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        gateway.kill();
        gateway.start();
        assert_eq!((post(&alice).status, post(&agent).status, post(&bob).status), (403, 403, 200));
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        assert_eq!(post(&alice).status, 200, "it is some time ago");
    });
}
