//! What needs an approval waits for it in its session, is bound to it, and runs once. Every outcome is proven by the server's tables.

mod consents;
mod reviewing;
mod view;
mod waiting;
mod webhooks;

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Conn, Gateway, Server, Session, eventually};

const SETUP: &str =
    "create table notes (id int primary key, body text not null); insert into notes select n, 'old' from generate_series(1, 5) n;
    alter table notes owner to keeper; grant create on schema public to keeper;
    create function wipe(which int) returns void language sql as 'update notes set body = ''wiped'' where id = which';
    alter function wipe owner to keeper";

/// Whoever changes all rows of a table, or runs `wipe`, needs an approval; nobody drops anything.
const POLICIES: &str = r#"@id("all") permit (principal, action == Action::"connect", resource);
    @id("admin") permit (principal, action in Action::"admin", resource);
    @id("no-drops") @reason("tables stay") forbid (principal, action == Action::"drop", resource);
    @id("bulk") @reason("many rows") @approval("dbas") forbid (principal, action in Action::"write", resource)
        when { context.hazards.contains("bulk_write") } unless { context.approvals.contains("dbas") };
    @id("dynamic") permit (principal, action == Action::"unknown", resource);
    @id("opaque") @reason("it cannot be looked into") @approval("dbas") forbid (principal, action in Action::"operation", resource)
        when { context.hazards.contains("dynamic_sql") } unless { context.approvals.contains("dbas") };
    @id("wipe") @reason("it wipes") @approval("dbas") forbid (principal, action == Action::"execute", resource)
        when { resource is Routine && resource.name == "wipe" } unless { context.approvals.contains("dbas") };"#;

const DYNAMIC: &str = "create function dynamic() returns int language plpgsql as
    'declare n int; begin execute ''select hel'' || ''per()'' into n; return n; end'";

/// A gateway with people: `alice`, an engineer; `bot`, which she sponsors; `dana` and `dirk`, who approve.
struct Ground {
    server: Server,
    gateway: Gateway,
    admin: Session,
    dana: String,
}

impl Ground {
    async fn new(server: Server, line: &str, more: &str) -> Self {
        Self::of(server, line, more, POLICIES).await
    }

    async fn of(server: Server, line: &str, more: &str, policies: &str) -> Self {
        let admin = server.admin("bank").await;
        admin.batch_execute(SETUP).await.unwrap();
        let mut gateway = Gateway::configure(&[Conn::to("bank", &server).set(line)], policies, more);
        gateway.add(&["user", "alice", "--group", "dbas"]);
        gateway.add(&["workload", "bot", "--sponsor", "alice"]);
        gateway.add(&["user", "dana", "--group", "dbas"]);
        gateway.add(&["user", "dirk", "--group", "dbas"]);
        gateway.start();
        let dana = gateway.token(&["dana"]);
        Self { server, gateway, admin, dana }
    }

    async fn session(&self) -> Session {
        let token = self.gateway.token(&["bot"]);
        self.gateway.session_soon("bank", "bot", &token).await
    }

    /// What waits for approval.
    fn pending(&self) -> Vec<Value> {
        let said = self.gateway.through_api(&self.dana, &["approvals", "list", "--json"]);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        serde_json::from_slice(&said.stdout).unwrap()
    }

    /// The one thing that waits for approval.
    async fn request(&self) -> String {
        let one = async || matches!(self.pending().as_slice(), [request] if request["standing"] == "pending");
        eventually("it is asked for", Duration::from_secs(10), one).await;
        self.pending()[0]["id"].as_str().unwrap().to_owned()
    }

    /// Whether somebody's review counted, and what it came to.
    fn review(&self, token: &str, arguments: &[&str]) -> (bool, String) {
        let said = self.gateway.through_api(token, &[&["approvals"], arguments].concat());
        let words = [said.stdout, said.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (said.status.success(), words)
    }

    #[track_caller]
    fn must_review(&self, arguments: &[&str]) {
        let (good, words) = self.review(&self.dana, arguments);
        assert!(good, "{arguments:?}: {words}");
    }

    async fn bodies(&self) -> String {
        self.admin.value("select string_agg(body, ',' order by id) from notes").await
    }

    /// What happened to requests for approval, in order.
    fn events(&self) -> Vec<String> {
        self.gateway.leaves_of("APPROVAL").iter().map(|leaf| leaf["event"].as_str().unwrap().to_owned()).collect()
    }
}

const OLD: &str = "old,old,old,old,old";
