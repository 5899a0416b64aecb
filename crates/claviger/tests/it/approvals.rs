//! What needs an approval waits for it in its session, is bound to it, and runs once. Every outcome is proven by the server's tables.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::AsyncMessage;

use crate::harness::{
    Conn, Gateway, Major, Server, Session, eventually, finish_driver, frame, run, skip, sqlstate, start_driver, terminated, text,
};

on_each_server!(
    what_is_approved_goes_on_in_its_transaction,
    what_is_denied_is_a_servers_error,
    whoever_goes_withdraws,
    a_consent_is_for_one_thing_once,
    other_texts_may_take_its_place,
    programs_of_drivers_wait,
    a_person_at_psql_waits,
);

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
        let admin = server.admin("bank").await;
        admin.batch_execute(SETUP).await.unwrap();
        let mut gateway = Gateway::configure(&[Conn::to("bank", &server).set(line)], POLICIES, more);
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
        for (token, why) in [
            (&bot, "policy does not permit"),
            (&alice, "nobody reviews a request of his own"),
            (&dirk, "nobody reviews a request of his own"),
            (&ground.gateway.token(&["eve"]), "none of your groups"),
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
