//! Access for a time: who asks for it gets what policies permit to whoever has it, for that time. Proven by the server's tables.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Conn, Gateway, Major, Receiver, Server, Session, eventually, run, sqlstate, text};

on_each_server!(a_grant_is_good_for_what_it_is_for_while_it_lasts);

const SETUP: &str =
    "create table parts (id int, body text) partition by list (id); create table part1 partition of parts for values in (1);
    create table log (id serial, said text); alter table log owner to keeper; alter table parts owner to keeper;
    alter table part1 owner to keeper;
    create function logs() returns trigger language plpgsql as 'begin insert into log (said) values (new.body); return new; end';
    create trigger logged after insert on parts for each row execute function logs();
    create table notes (id int primary key, body text not null); insert into notes select n, 'old' from generate_series(1, 3) n;
    create table others (id int primary key, body text not null); insert into others values (1, 'old');
    alter table notes owner to keeper; alter table others owner to keeper";

/// Engineers read; with a grant they and those on call change rows, but nobody drops anything.
const POLICIES: &str = r#"
    @id("connect") permit (principal in Group::"engineers", action == Action::"connect", resource);
    @id("read") permit (principal in Group::"engineers", action in [Action::"read", Action::"execute", Action::"configure"], resource);
    @id("connect-granted") permit (principal, action == Action::"connect", resource) when { context.granted };
    @id("granted") permit (principal, action in [Action::"read", Action::"write", Action::"drop", Action::"execute", Action::"configure"],
        resource) when { context.granted };
    @id("ask") permit (principal, action == Action::"requestAccess", resource) when { context.seconds <= 3600 };
    @id("ask-dbas") @approval("dbas") forbid (principal, action == Action::"requestAccess", resource)
        unless { context.break_glass || context.approvals.contains("dbas") };
    @id("glass") @reason("only who is on call breaks the glass") forbid (principal, action == Action::"requestAccess", resource)
        when { context.break_glass } unless { principal in Group::"oncall" };
    @id("bulk") @reason("many rows") @approval("dbas") forbid (principal, action in Action::"write", resource)
        when { context.hazards.contains("bulk_write") } unless { context.approvals.contains("dbas") };
    @id("no-drops") @reason("tables stay") forbid (principal, action == Action::"drop", resource);
    @id("admin") permit (principal in Group::"dbas", action in Action::"admin", resource);"#;

/// A gateway with people: `ed`, an engineer; `bot`, which he sponsors; `eva`, on call; `dana` and `dirk`, who approve.
struct Ground {
    admin: Session,
    gateway: Gateway,
    dana: String,
    _server: Server,
}

impl Ground {
    async fn new(server: Server) -> Self {
        Self::with(server, "").await
    }

    async fn with(server: Server, more: &str) -> Self {
        let admin = server.admin("bank").await;
        admin.batch_execute(SETUP).await.unwrap();
        let conn = Conn::to("bank", &server).set("hold = \"wait\"");
        let mut gateway = Gateway::configure(&[conn], POLICIES, &format!("[access]\nunreviewed = 1\n{more}"));
        gateway.permit_no_statements();
        for principal in [
            &["user", "ed", "--group", "engineers", "--group", "dbas"][..],
            &["workload", "bot", "--sponsor", "ed"],
            &["user", "eva", "--group", "oncall"],
            &["user", "dana", "--group", "dbas"],
            &["user", "dirk", "--group", "dbas"],
        ] {
            gateway.add(principal);
        }
        gateway.start();
        let dana = gateway.token(&["dana"]);
        Self { admin, gateway, dana, _server: server }
    }

    /// Whether a command succeeded, and what it said.
    fn say(&self, token: &str, arguments: &[&str]) -> (bool, String) {
        let said = self.gateway.through_api(token, arguments);
        let words = [said.stdout, said.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (said.status.success(), words)
    }

    #[track_caller]
    fn must(&self, token: &str, arguments: &[&str]) -> String {
        let (good, words) = self.say(token, arguments);
        assert!(good, "{arguments:?}: {words}");
        words
    }

    #[track_caller]
    fn refused(&self, token: &str, arguments: &[&str], why: &str) {
        let (good, words) = self.say(token, arguments);
        assert!(!good && words.contains(why), "{arguments:?}: {words}");
    }

    /// Asks for access to the bank; the grant.
    fn ask(&self, token: &str, arguments: &[&str]) -> Value {
        let always = ["access", "request", "bank", "--reason", "INC-4711", "--json"];
        serde_json::from_str(&self.must(token, &[&always[..], arguments].concat())).unwrap()
    }

    /// Asks for access that dana approves; its id.
    fn granted(&self, token: &str, arguments: &[&str]) -> String {
        let id = id_of(&self.ask(token, arguments));
        assert!(self.must(&self.dana, &["approvals", "approve", &id]).contains("active until"));
        id
    }

    fn grant(&self, token: &str, id: &str) -> Value {
        serde_json::from_str(&self.must(token, &["access", "show", id, "--json"])).unwrap()
    }

    async fn bodies(&self) -> String {
        self.admin.value("select string_agg(body, ',' order by id) from notes").await
    }

    /// What happened to access, in order.
    fn events(&self) -> Vec<String> {
        self.gateway.leaves_of("ACCESS").iter().map(|leaf| leaf["event"].as_str().unwrap().to_owned()).collect()
    }
}

fn id_of(grant: &Value) -> String {
    grant["id"].as_str().unwrap().to_owned()
}

async fn refused(session: &Session, statement: &str) {
    assert_eq!(sqlstate(&session.batch_execute(statement).await.unwrap_err()), "42501", "{statement}");
}

async fn a_grant_is_good_for_what_it_is_for_while_it_lasts(major: Major) {
    let ground = Ground::new(server!(major)).await;
    let (ed, bot) = (ground.gateway.token(&["ed"]), ground.gateway.token(&["bot"]));
    let session = ground.gateway.session_soon("bank", "ed", &ed).await;
    let update = "update notes set body = 'new' where id = 1";
    refused(&session, update).await;
    let asked = ground.ask(&ed, &["--actions", "update,read", "--tables", "public.notes", "--for", "6s"]);
    let id = id_of(&asked);
    assert_eq!((&asked["standing"], &asked["needs"][0]["group"]), (&json!("pending"), &json!("dbas")));
    refused(&session, update).await;
    // He is a `dba` himself, and does not decide what is his own, nor does his agent see it.
    ground.refused(&ed, &["approvals", "approve", &id], "nobody reviews a request of his own");
    ground.refused(&bot, &["access", "show", &id], "there is no such grant");
    assert!(ground.must(&ground.dana, &["approvals", "list"]).contains("access: read, update on public.notes for 6 s"));
    ground.must(&ground.dana, &["approvals", "approve", &id, "--reason", "go on"]);
    session.batch_execute(update).await.unwrap();
    session.execute("update notes set body = $1 where id = 2", &[&"newer"]).await.unwrap();
    assert_eq!(ground.bodies().await, "new,newer,old");
    // Nothing else, nobody else, and never more than policies permit.
    for other in ["delete from notes where id = 1", "update others set body = 'x' where id = 1", "drop table notes"] {
        refused(&session, other).await;
    }
    let agents = ground.gateway.login("bank", "bot", &bot).await;
    assert!(agents.is_err(), "a grant is its chain's alone");
    let until = ground.grant(&ed, &id)["until"].as_str().unwrap().to_owned();
    eventually("it ends", Duration::from_secs(15), async || ground.grant(&ed, &id)["standing"] == "ended").await;
    refused(&session, update).await;
    assert_eq!(session.value("select body from notes where id = 3").await, "old", "what needs no grant goes on");
    let leaves = ground.gateway.leaves_of("ACCESS");
    assert_eq!(ground.events(), ["requested", "approved", "granted", "ended"], "{until}");
    assert_eq!((&leaves[0]["reason"], &leaves[1]["who"]), (&json!("INC-4711"), &json!("dana@local")));
    let used = ground.gateway.leaves_of("REQUEST").into_iter().filter(|leaf| leaf["decision"]["grants"] == json!([id])).count();
    assert!(used >= 2, "the record says which operations a grant was good for");
    // With a grant for more, policies still forbid what they forbid.
    ground.granted(&ed, &["--for", "1h"]);
    session.batch_execute("update others set body = 'x' where id = 1").await.unwrap();
    refused(&session, "drop table notes").await;
    ground.refused(&ed, &["access", "request", "bank", "--reason", "x", "--for", "2h"], "policy does not permit it");
    ground.refused(&ed, &["access", "request", "bank", "--reason", " ", "--for", "1h"], "it must be said why");
    ground.refused(&ed, &["access", "request", "nowhere", "--reason", "x", "--for", "1h"], "there is no such connection");
    ground.refused(&ed, &["access", "request", "bank", "--reason", "x", "--for", "1h", "--tables", "notes"], "schema.table");
    ground.gateway.verify();
}

#[test]
fn whoever_was_let_in_by_a_grant_goes_with_it() {
    run(async {
        let ground = Ground::new(server!(Major::V15)).await;
        let (eva, ed) = (ground.gateway.token(&["eva"]), ground.gateway.token(&["ed"]));
        let words = text(&ground.gateway.login("bank", "eva", &eva).await.err().expect("she is let in"));
        assert!(
            words.contains("policy does not permit this connection; access can be asked for: claviger access request bank"),
            "{words}"
        );
        let id = ground.granted(&eva, &["--for", "1h"]);
        let (idle, busy) =
            (ground.gateway.session_soon("bank", "eva", &eva).await, ground.gateway.session_soon("bank", "eva", &eva).await);
        busy.batch_execute("begin; update notes set body = 'mine' where id = 1").await.unwrap();
        let held = ground.gateway.session_soon("bank", "eva", &eva).await;
        let (result, request) = tokio::join!(held.batch_execute("delete from notes"), async {
            let pending = || serde_json::from_str::<Value>(&ground.must(&ground.dana, &["approvals", "list", "--json"])).unwrap();
            eventually("it waits", Duration::from_secs(10), async || pending().as_array().unwrap().len() == 1).await;
            let request = id_of(&pending()[0]);
            // Taking back is for those who decide, and for administrators.
            ground.refused(&ed, &["revoke", "grant", &"0".repeat(32)], "there is no such grant");
            ground.must(&ground.dana, &["revoke", "grant", &id, "--reason", "enough"]);
            request
        });
        assert_eq!(sqlstate(&result.unwrap_err()), "42501");
        eventually("all are gone", Duration::from_secs(2), async || idle.is_closed() && busy.is_closed()).await;
        assert!(!ground.say(&ground.dana, &["approvals", "approve", &request]).0, "what was held went with it");
        assert!(ground.gateway.login("bank", "eva", &eva).await.is_err());
        assert_eq!(ground.bodies().await, "old,old,old");
        let grant = ground.grant(&eva, &id);
        assert_eq!(
            (&grant["standing"], &grant["revoked_by"], &grant["revoked_because"]),
            (&json!("revoked"), &json!("dana@local"), &json!("enough"))
        );
        // One's own can be given back; and what is asked for, withdrawn.
        let id = ground.granted(&eva, &["--for", "1h"]);
        ground.must(&eva, &["access", "give-back", &id]);
        assert!(ground.gateway.login("bank", "eva", &eva).await.is_err());
        let id = id_of(&ground.ask(&eva, &["--for", "1h"]));
        ground.must(&eva, &["access", "give-back", &id]);
        ground.refused(&ground.dana, &["approvals", "approve", &id], "the request is withdrawn");
        // Whoever is shut out has nothing left when let in again.
        let id = ground.granted(&eva, &["--for", "1h"]);
        let session = ground.gateway.session_soon("bank", "eva", &eva).await;
        ground.must(&ground.dana, &["revoke", "principal", "eva"]);
        eventually("she is gone", Duration::from_secs(2), async || session.is_closed()).await;
        let gone = async || ground.grant(&ground.dana, &id)["standing"] == "revoked";
        eventually("her grant, too", Duration::from_secs(5), gone).await;
        ground.gateway.must(&["principals", "enable", "eva"]);
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(ground.gateway.login("bank", "eva", &eva).await.is_err());
        ground.gateway.verify();
    });
}

#[test]
fn a_grants_token_is_good_for_it_alone_and_ends_with_it() {
    run(async {
        let ground = Ground::new(server!(Major::V15)).await;
        let (ed, eva) = (ground.gateway.token(&["ed"]), ground.gateway.token(&["eva"]));
        let id = ground.granted(&ed, &["--actions", "read,update", "--tables", "public.notes", "--for", "1h"]);
        ground.refused(&eva, &["access", "token", &id], "the grant is somebody else's");
        let token = ground.must(&ed, &["access", "token", &id]);
        let token = token.lines().find(|line| line.starts_with("ey")).unwrap().to_owned();
        let session = ground.gateway.session_soon("bank", "ed", &token).await;
        session.batch_execute("update notes set body = 'new' where id = 1").await.unwrap();
        session.batch_execute("set application_name = 'x'; select count(*) from pg_class").await.unwrap();
        // He may read everything, and with this token he may not.
        refused(&session, "select * from others").await;
        refused(&session, "delete from notes where id = 1").await;
        for way in [
            "select query_to_xml('select * from others', true, false, '')",
            "select * from pg_stats where tablename = 'others'",
            "select lo_unlink(1)",
            "select query from pg_stat_activity",
            "set role postgres",
            "select set_config('role', 'postgres', false)",
            "do $$ begin perform 1 from others; end $$",
            "copy others to stdout",
        ] {
            refused(&session, way).await;
        }
        assert_eq!(ground.bodies().await, "new,old,old");
        // He is an administrator, and with this token he is none; nor is another made of it.
        ground.refused(&token, &["sessions", "list"], "policy does not permit it");
        ground.refused(&token, &["access", "request", "bank", "--reason", "x", "--for", "1h"], "policy does not permit it");
        ground.refused(&token, &["access", "token", &id], "policy does not permit it");
        ground.refused(&token, &["access", "give-back", &id], "policy does not permit it");
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", token.as_str()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ];
        let (status, answer) = ground.gateway.post("/oauth/token", &form);
        assert_eq!(status, 400, "{answer}");
        let other = ground.granted(&ed, &["--for", "1h"]);
        refused(&session, "select * from others").await;
        ground.must(&ed, &["access", "give-back", &id]);
        eventually("its session ends", Duration::from_secs(2), async || session.is_closed()).await;
        let again = ground.gateway.login("bank", "ed", &token).await;
        let words = text(&again.err().expect("a token outlives its grant"));
        assert!(words.contains("the grant that this token is good for is over"), "{words}");
        ground.must(&ed, &["access", "give-back", &other]);
        ground.gateway.must_not_write_token(&token);
    });
}

#[test]
fn what_has_begun_under_a_grant_ends_with_it() {
    run(async {
        let ground = Ground::new(server!(Major::V15)).await;
        let ed = ground.gateway.token(&["ed"]);
        // What may go on without it does.
        let id = ground.granted(&ed, &["--actions", "update,read", "--tables", "public.others", "--for", "1h"]);
        let writes = ground.gateway.session_soon("bank", "ed", &ed).await;
        let reads = ground.gateway.session_soon("bank", "ed", &ed).await;
        let (written, read, ()) = tokio::join!(
            writes.batch_execute("update others set body = 'new' from pg_sleep(3) where id = 1"),
            reads.batch_execute("select count(*) from others, pg_sleep(2)"),
            async {
                tokio::time::sleep(Duration::from_millis(500)).await;
                ground.must(&ground.dana, &["revoke", "grant", &id]);
            }
        );
        let words = text(&written.expect_err("it went on without its grant"));
        assert!(words.contains("the access that was given for a time is over"), "{words}");
        read.unwrap();
        assert!(writes.is_closed() && !reads.is_closed());
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(ground.admin.value("select body from others").await, "old");
    });
}

#[test]
fn what_belongs_to_a_table_comes_with_it() {
    run(async {
        let ground = Ground::new(server!(Major::V15)).await;
        let ed = ground.gateway.token(&["ed"]);
        ground.granted(&ed, &["--actions", "insert,update,read", "--tables", "public.parts", "--for", "1h"]);
        let session = ground.gateway.session_soon("bank", "ed", &ed).await;
        session.batch_execute("insert into parts values (1, 'x')").await.unwrap();
        session.batch_execute("update parts set body = 'y' where id = 1").await.unwrap();
        assert_eq!(ground.admin.value("select said from log").await, "x");
        refused(&session, "insert into log (said) values ('z')").await;
        refused(&session, "delete from parts where id = 1").await;
    });
}

#[test]
fn what_is_decided_is_decided_as_things_are_then() {
    run(async {
        let ground = Ground::new(server!(Major::V15)).await;
        let ed = ground.gateway.token(&["ed"]);
        let asked = id_of(&ground.ask(&ed, &["--for", "30m"]));
        // Meanwhile nobody may have so much any more.
        ground.gateway.write_policies(&POLICIES.replace("context.seconds <= 3600", "context.seconds <= 60"));
        assert!(ground.gateway.reload(|toml| toml).await);
        ground.refused(&ground.dana, &["approvals", "approve", &asked], "policy does not permit it");
        let (good, words) = ground.say(&ground.dana, &["access", "show", &asked]);
        assert!(good && words.contains("revoked"), "{words}");
        let session = ground.gateway.session_soon("bank", "ed", &ed).await;
        refused(&session, "update notes set body = 'x' where id = 1").await;
    });
}

#[test]
fn what_is_taken_in_an_emergency_is_looked_into() {
    run(async {
        let mut ground = Ground::new(server!(Major::V15)).await;
        let (ed, eva) = (ground.gateway.token(&["ed"]), ground.gateway.token(&["eva"]));
        let glass = ["access", "request", "bank", "--break-glass", "--for", "30m", "--reason", "bank is down"];
        ground.refused(&ed, &glass, "only who is on call breaks the glass");
        let id = id_of(&ground.ask(&eva, &["--break-glass", "--for", "30m"]));
        let session = ground.gateway.session_soon("bank", "eva", &eva).await;
        session.batch_execute("update notes set body = 'saved' where id = 1").await.unwrap();
        assert!(ground.gateway.log().contains("access was taken in an emergency"));
        assert!(ground.must(&ground.dana, &["approvals", "list"]).contains("to be reviewed"));
        ground.refused(&eva, &glass, "is to be reviewed first");
        // Nor does an agent that she answers for, or that acts for her.
        ground.gateway.add(&["workload", "runner", "--group", "oncall", "--sponsor", "eva"]);
        let runner = ground.gateway.token(&["runner"]);
        tokio::time::sleep(Duration::from_millis(500)).await;
        ground.refused(&runner, &glass, "is to be reviewed first");
        // The gateway may die meanwhile.
        drop(session);
        ground.gateway.kill();
        ground.gateway.start();
        let session = ground.gateway.session_soon("bank", "eva", &eva).await;
        session.batch_execute("update notes set body = 'saved' where id = 2").await.unwrap();
        ground.must(&eva, &["access", "give-back", &id]);
        ground.refused(&eva, &glass, "is to be reviewed first");
        ground.refused(&eva, &["approvals", "approve", &id, "--reason", "x"], "policy does not permit");
        ground.refused(&ground.dana, &["approvals", "approve", &id], "a reason is required");
        ground.must(&ground.dana, &["approvals", "approve", &id, "--reason", "it was down"]);
        ground.refused(&ground.dana, &["approvals", "approve", &id, "--reason", "again"], "the request is withdrawn");
        // And whoever looks into it can end it.
        let id = id_of(&ground.ask(&eva, &["--break-glass", "--for", "30m"]));
        let session = ground.gateway.session_soon("bank", "eva", &eva).await;
        ground.must(&ground.dana, &["approvals", "deny", &id, "--reason", "it was not down"]);
        eventually("it has ended", Duration::from_secs(2), async || session.is_closed()).await;
        assert!(ground.gateway.login("bank", "eva", &eva).await.is_err());
        assert_eq!(ground.bodies().await, "saved,saved,old");
        let leaves = ground.gateway.leaves_of("ACCESS");
        let reviewed: Vec<_> =
            leaves.iter().filter(|leaf| leaf["event"] == "reviewed").map(|leaf| leaf["reason"].clone()).collect();
        assert_eq!(reviewed, [json!("it was down"), json!("it was not down")]);
        assert!(leaves.iter().all(|leaf| leaf["break_glass"] == json!(true) || leaf["event"] == "refused"), "{leaves:?}");
    });
}

#[test]
fn what_is_asked_for_outlives_the_gateway() {
    run(async {
        let mut ground = Ground::new(server!(Major::V15)).await;
        let ed = ground.gateway.token(&["ed"]);
        let asked = id_of(&ground.ask(&ed, &["--actions", "write,read", "--for", "1h"]));
        let given = ground.granted(&ed, &["--actions", "update,read", "--tables", "public.others", "--for", "1h"]);
        let gone = ground.granted(&ed, &["--for", "1h"]);
        ground.must(&ground.dana, &["revoke", "grant", &gone]);
        ground.gateway.kill();
        ground.gateway.start();
        let session = ground.gateway.session_soon("bank", "ed", &ed).await;
        session.batch_execute("update others set body = 'x' where id = 1").await.unwrap();
        refused(&session, "update notes set body = 'x' where id = 1").await;
        assert_eq!(ground.grant(&ed, &given)["standing"], "active");
        ground.must(&ground.dana, &["approvals", "approve", &asked]);
        session.batch_execute("update notes set body = 'x' where id = 1").await.unwrap();
        assert_eq!(ground.bodies().await, "x,old,old");
        // A rule that is tightened holds for whoever has a grant.
        ground.gateway.write_policies(&POLICIES.replace("context.granted", "context.granted && context.break_glass"));
        assert!(ground.gateway.reload(|toml| toml).await);
        refused(&session, "update notes set body = 'y' where id = 1").await;
    });
}

#[test]
fn receivers_are_told_of_access_and_of_emergencies_before_it_is_given() {
    run(async {
        let server = server!(Major::V15);
        let Some(receiver) = Receiver::start() else { return };
        let ground = Ground::with(server, &receiver.toml("ops", "")).await;
        let (ed, eva) = (ground.gateway.token(&["ed"]), ground.gateway.token(&["eva"]));
        let id = id_of(&ground.ask(&eva, &["--break-glass", "--for", "30m"]));
        assert_eq!(receiver.told("ops", 2).await, ["access.requested", "access.granted"]);
        let taken = &receiver.bodies("ops")[1]["data"];
        assert_eq!((&taken["id"], &taken["break_glass"], &taken["by"]), (&json!(id), &json!(true), &json!("eva@local")));
        assert_eq!(receiver.bodies("ops")[0]["data"]["said"], "INC-4711");
        ground.must(&ground.dana, &["approvals", "approve", &id, "--reason", "it was down"]);
        let id = ground.granted(&ed, &["--actions", "update", "--tables", "public.notes", "--for", "10m"]);
        ground.must(&ground.dana, &["revoke", "grant", &id]);
        let all = ["requested", "granted", "reviewed", "requested", "approved", "granted", "revoked"];
        assert_eq!(receiver.told("ops", all.len()).await, all.map(|event| format!("access.{event}")));
        assert_eq!(receiver.bodies("ops")[5]["data"]["tables"], json!(["public.notes"]));
        let told = || ground.events().iter().filter(|event| *event == "notified").count();
        eventually("it is recorded", Duration::from_secs(20), async || told() == all.len()).await;
        assert_eq!(
            ground.events().iter().filter(|event| *event != "notified").collect::<Vec<_>>(),
            all.iter().collect::<Vec<_>>()
        );
        ground.gateway.verify();
    });
}
