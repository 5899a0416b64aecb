//! What a reviewer is shown, held against the server's tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Ground, POLICIES};
use crate::harness::{Major, eventually, frame, run, terminated};

on_each_server!(
    rows_are_estimated_and_counted_as_they_are,
    what_others_have_written_is_not_run_to_find_out,
    what_a_transaction_holds_is_shown,
);

const ITEMS: &str = "create table items (id int primary key, kind text not null);
    insert into items select n, case when n <= 400 then 'a' else 'b' end from generate_series(1, 1000) n; analyze items;
    alter table items owner to keeper; create schema other authorization keeper;
    create table other.items as select * from items where id <= 7; alter table other.items owner to keeper";

/// Every change needs an approval.
const CHANGES: &str = r#"@id("changes") @reason("it changes rows") @approval("dbas")
    forbid (principal, action in Action::"write", resource) unless { context.approvals.contains("dbas") };"#;

impl Ground {
    async fn with_items(major: Major) -> Option<Self> {
        let server = crate::harness::Server::start(major, &["log_statement=all"])?;
        let ground = Self::of(server, "hold = \"wait\"", "", &format!("{POLICIES}\n{CHANGES}")).await;
        ground.admin.batch_execute(ITEMS).await.unwrap();
        Some(ground)
    }

    /// The one request that waits, as soon as its rows are known.
    async fn looked_into(&self) -> Value {
        let id = self.request().await;
        let known = async || self.show(&id)["estimate"] != Value::Null;
        eventually("its rows are estimated", Duration::from_secs(20), known).await;
        self.show(&id)
    }

    fn show(&self, id: &str) -> Value {
        let (good, shown) = self.review(&self.dana, &["show", id, "--json"]);
        assert!(good, "{shown}");
        serde_json::from_str(&shown).unwrap()
    }

    fn count(&self, id: &str) -> Value {
        let (good, shown) = self.review(&self.dana, &["count", id, "--json"]);
        assert!(good, "{shown}");
        serde_json::from_str::<Value>(&shown).unwrap()["count"].take()
    }

    async fn number(&self, query: &str) -> i64 {
        self.admin.value(query).await.parse().unwrap()
    }
}

fn id_of(shown: &Value) -> &str {
    shown["id"].as_str().unwrap()
}

/// What is not known, and why.
fn unknown(rows: &Value) -> &str {
    assert_eq!(rows["rows"], Value::Null, "{rows}");
    rows["unknown"].as_str().unwrap()
}

async fn rows_are_estimated_and_counted_as_they_are(major: Major) {
    let Some(ground) = Ground::with_items(major).await else { return };
    let session = ground.session().await;
    let (result, ()) = tokio::join!(session.execute("delete from items where kind = 'a' and id > 0", &[]), async {
        let shown = ground.looked_into().await;
        let estimate = shown["estimate"]["rows"].as_u64().unwrap();
        assert!((300..=500).contains(&estimate), "{shown}");
        assert_eq!(shown["count"], Value::Null, "nobody has counted");
        assert_eq!(ground.count(id_of(&shown))["rows"], 400);
        let words = ground.review(&ground.dana, &["show", id_of(&shown)]).1;
        assert!(words.contains("rows        counted 400 ("), "{words}");
        assert_eq!(ground.number("select count(*) from items").await, 1000, "nothing has changed");
        ground.must_review(&["approve", id_of(&shown)]);
    });
    assert_eq!(result.unwrap(), 400);
    // With values as the client sends them, of which not all decide which rows these are.
    let (result, ()) = tokio::join!(session.execute("update items set kind = $1 where id > $2", &[&"c", &900_i32]), async {
        let shown = ground.looked_into().await;
        let estimate = shown["estimate"]["rows"].as_u64().unwrap();
        assert!((50..=200).contains(&estimate), "{shown}");
        assert_eq!(ground.count(id_of(&shown))["rows"], 100);
        ground.must_review(&["approve", id_of(&shown)]);
    });
    assert_eq!(result.unwrap(), 100);
    // Where several rows of another table fit one, it is one.
    let joined = "update items set kind = 'd' from generate_series(1, 3) n, other.items o where items.id = o.id + 500";
    for (text, rows) in [
        (joined, 7),
        ("insert into items select id + 5000, kind from items where id <= 600", 200),
        ("insert into items values (7000, 'x'), (7001, 'y')", 2),
        ("begin; delete from items where id > 6000 and id < 7001; commit", 1),
        ("truncate other.items", 7),
    ] {
        let before = ground.number("select count(*) from items").await + ground.number("select count(*) from other.items").await;
        let (result, ()) = tokio::join!(session.simple_query(text), async {
            let shown = ground.looked_into().await;
            assert_eq!(shown["estimate"]["unknown"], Value::Null, "{shown}");
            assert_eq!(ground.count(id_of(&shown))["rows"], rows, "{text}");
            ground.must_review(&["approve", id_of(&shown)]);
        });
        result.unwrap();
        let after = ground.number("select count(*) from items").await + ground.number("select count(*) from other.items").await;
        assert_eq!((after - before).abs(), if text == joined { 0 } else { rows }, "{text}");
    }
    assert_eq!(ground.number("select count(*) from items where kind = 'd' and id <= 1000").await, 7);
    ground.gateway.verify();
}

async fn what_others_have_written_is_not_run_to_find_out(major: Major) {
    let Some(ground) = Ground::with_items(major).await else { return };
    let pick = "create function pick(int) returns int immutable language plpgsql as
        'begin raise log ''pick was %'', ''run''; return $1; end'; create function public.lower(text) returns text immutable language sql as 'select $1';
        create view picked as select * from items where id < pick(5); alter view picked owner to keeper";
    ground.admin.batch_execute(pick).await.unwrap();
    let session = ground.session().await;
    session.batch_execute("create temporary table scratch as select 1 as id").await.unwrap();
    for (text, why) in [
        ("delete from items where id = pick(1)", "it calls public.pick"),
        ("delete from picked", "it calls public.pick"),
        ("delete from items where id = (select pick(2))", "it calls public.pick"),
        ("update scratch set id = 2", "scratch is its session's own"),
        ("delete from items; delete from other.items", "it is several statements"),
        (
            "delete from items where id = length(query_to_xml('select 1', true, true, '')::text)",
            "it calls pg_catalog.query_to_xml",
        ),
    ] {
        let (result, ()) = tokio::join!(session.simple_query(text), async {
            let shown = ground.looked_into().await;
            let count = ground.count(id_of(&shown));
            assert!(unknown(&shown["estimate"]).ends_with(why) && unknown(&count).ends_with(why), "{text}: {shown} {count}");
            ground.must_review(&["deny", id_of(&shown)]);
        });
        result.unwrap_err();
    }
    assert!(!ground.server.log().contains("pick was run"), "nobody has consented to that");
    // Chance is estimated, and not counted.
    let (result, ()) = tokio::join!(session.simple_query("delete from items where random() < 0.5"), async {
        let shown = ground.looked_into().await;
        assert!(shown["estimate"]["rows"].is_u64(), "{shown}");
        assert_eq!(unknown(&ground.count(id_of(&shown))), "random gives something else each time");
        ground.must_review(&["deny", id_of(&shown)]);
    });
    result.unwrap_err();
    // Names stand for what they stand for in its session.
    session.batch_execute("set search_path = other, public").await.unwrap();
    let (result, ()) = tokio::join!(session.execute("delete from items", &[]), async {
        let shown = ground.looked_into().await;
        let count = ground.count(id_of(&shown));
        assert_eq!(count["rows"], 7, "{count}");
        assert_eq!(count["notes"], json!(["what its session has set is not in force there"]));
        // What is held by others is not waited for long.
        ground.admin.batch_execute("begin; lock table other.items").await.unwrap();
        assert_eq!(unknown(&ground.count(id_of(&shown))), "others keep what it needs locked");
        ground.admin.batch_execute("rollback").await.unwrap();
        ground.must_review(&["approve", id_of(&shown)]);
    });
    assert_eq!(result.unwrap(), 7);
    assert_eq!(ground.number("select count(*) from items").await, 1000);
    let log = ground.server.log();
    assert!(log.contains("READ ONLY") && !log.contains("pick was run"));
    ground.admin.batch_execute("explain delete from items where id = pick(1)").await.unwrap();
    assert!(ground.server.log().contains("pick was run"), "a planner would have run it");
}

async fn what_a_transaction_holds_is_shown(major: Major) {
    let Some(ground) = Ground::with_items(major).await else { return };
    let session = ground.session().await;
    session.batch_execute("begin; select from notes").await.unwrap();
    let other = ground.server.admin("bank").await;
    let (result, ()) = tokio::join!(session.simple_query("delete from items where id = 1"), async {
        let shown = ground.looked_into().await;
        let notes = json!([{ "table": "public.notes", "modes": "AccessShareLock" }]);
        assert_eq!((&shown["locks"]["held"], &shown["locks"]["waiting"]), (&notes, &json!(0)));
        let lock = other.batch_execute("begin; lock table notes; rollback");
        let shows = async {
            let waits = async || ground.show(id_of(&shown))["locks"]["waiting"] == 1;
            eventually("somebody waits", Duration::from_secs(20), waits).await;
            let words = ground.review(&ground.dana, &["show", id_of(&shown)]).1;
            assert!(words.contains("locks       public.notes (AccessShareLock); 1 waiting for them"), "{words}");
            ground.must_review(&["deny", id_of(&shown)]);
        };
        // The transaction fails, and its locks go with it.
        tokio::join!(lock, shows).0.unwrap();
    });
    result.unwrap_err();
}

/// However many wait, their upstream is asked about one at a time, and about none that is over.
#[test]
fn one_request_is_looked_into_at_a_time() {
    run(async {
        let Some(ground) = Ground::with_items(Major::V15).await else { return };
        let token = ground.gateway.token(&["bot"]);
        // A look takes as long as it waits for a lock.
        ground.admin.batch_execute("begin; lock table items").await.unwrap();
        let observer = ground.server.admin("postgres").await;
        let over = Arc::<AtomicBool>::default();
        let is_over = Arc::clone(&over);
        let watching = tokio::spawn(async move {
            let looking = "select count(*) from pg_stat_activity
                where application_name = 'claviger:gateway' and wait_event_type = 'Lock'";
            let mut most: u32 = 0;
            while !is_over.load(Ordering::Relaxed) {
                most = most.max(observer.value(looking).await.parse().unwrap());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            most
        });
        let mut waiting = Vec::new();
        for n in 0..8 {
            let mut raw = ground.gateway.raw("bank");
            raw.login("bot", "bank", &token).unwrap();
            raw.send(&frame(b'Q', &terminated(&format!("delete from items where id = {n}"))));
            waiting.push(raw);
        }
        eventually("all are asked for", Duration::from_secs(20), async || ground.pending().len() == 8).await;
        drop(waiting.drain(1..7));
        let is_known = async || {
            let left = ground.pending();
            let known = |request: &Value| ground.show(id_of(request))["estimate"] != Value::Null;
            left.len() == 2 && left.iter().all(known)
        };
        eventually("those that wait are looked into", Duration::from_secs(30), is_known).await;
        over.store(true, Ordering::Relaxed);
        assert_eq!(watching.await.unwrap(), 1);
        let looks = ground.server.log().matches("canceling statement due to lock timeout").count();
        assert!((2..8).contains(&looks), "{looks}");
        ground.admin.batch_execute("rollback").await.unwrap();
        assert_eq!(ground.number("select count(*) from items").await, 1000);
    });
}

#[test]
fn who_may_decide_may_count() {
    run(async {
        let Some(ground) = Ground::with_items(Major::V15).await else { return };
        ground.gateway.add(&["user", "eve"]);
        let eve = ground.gateway.token(&["eve"]);
        let known = async || !ground.review(&eve, &["list"]).1.contains("not registered");
        eventually("the gateway knows of her", Duration::from_secs(20), known).await;
        let session = ground.session().await;
        let (result, ()) = tokio::join!(session.simple_query("delete from items"), async {
            let id = ground.request().await;
            for (who, why) in [
                ("eve", "none of your groups"),
                ("alice", "nobody reviews a request of his own"),
                ("bot", "policy does not permit"),
            ] {
                let (good, words) = ground.review(&ground.gateway.token(&[who]), &["count", &id]);
                assert!(!good && words.contains(why), "{who}: {words}");
            }
            assert!(!ground.events().contains(&"counted".to_owned()));
            assert!(!ground.server.log().contains("pg_catalog.count"));
            assert_eq!(ground.count(&id)["rows"], 1000);
            ground.must_review(&["deny", &id]);
            let (good, words) = ground.review(&ground.dana, &["count", &id]);
            assert!(!good && words.contains("the request is denied"), "{words}");
        });
        result.unwrap_err();
        let leaves = ground.gateway.leaves_of("APPROVAL");
        let counted: Vec<_> = leaves.iter().filter(|leaf| leaf["event"] == "counted").map(|leaf| &leaf["who"]).collect();
        assert_eq!(counted, ["dana@local"]);
        ground.gateway.verify();
    });
}

/// What looks like a comment may be a statement, and a terminal obeys.
#[test]
fn nothing_that_a_reviewer_reads_is_disguised() {
    run(async {
        let Some(ground) = Ground::with_items(Major::V15).await else { return };
        let session = ground.session().await;
        let text = "delete from items/* \u{202e} } \u{2066}only the old ones\u{2069} */ where id < 3 or kind='a\nstanding denied'--\u{1b}[2Jx";
        let (result, ()) = tokio::join!(session.simple_query(text), async {
            let id = ground.looked_into().await["id"].as_str().unwrap().to_owned();
            let shown = ground.show(&id);
            assert_eq!(shown["statement"], text, "as it was sent");
            let laid_out = "delete from items/* \\u{202e} } \\u{2066}only the old ones\\u{2069} */\nwhere id < 3\n    or kind='a\nstanding denied'--\\u{1b}[2Jx";
            assert_eq!(shown["formatted"], laid_out);
            assert_eq!(shown["deceptive"], json!(["hidden U+001B", "hidden U+202E", "hidden U+2066", "hidden U+2069"]));
            for arguments in [&["show", &id][..], &["list"]] {
                let (good, words) = ground.review(&ground.dana, arguments);
                assert!(good && !words.contains(['\u{1b}', '\u{202e}', '\u{2066}']), "{words}");
                assert!(
                    !words.lines().any(|line| line.starts_with("standing denied")),
                    "no line of it passes for one of ours: {words}"
                );
            }
            // What is approved in its place is shown beside it.
            let edit = ["edit", &id, "--json", "--statement", "delete from items where id < 3"];
            let (good, words) = ground.review(&ground.dana, &edit);
            let decided: Value = serde_json::from_str(&words).unwrap();
            let diff = decided["votes"][0]["diff"].as_str().unwrap();
            assert!(
                good && diff.starts_with("- delete from items/*")
                    && diff.contains("\n+ delete from items\n  where id < 3\n-     or kind"),
                "{diff}"
            );
        });
        result.unwrap();
        assert_eq!(ground.number("select count(*) from items").await, 998);
    });
}

#[test]
fn a_reviewer_sees_what_was_done_and_asked_for_before() {
    run(async {
        let Some(ground) = Ground::with_items(Major::V15).await else { return };
        ground.gateway.must_not_write("a secret value");
        let session = ground.session().await;
        session.batch_execute("select 'a secret value' from items where id <= 3").await.unwrap();
        session.batch_execute("drop table notes").await.unwrap_err();
        session.query("select id from items where id <= $1", &[&2_i32]).await.unwrap();
        let alice = ground.gateway.session_soon("bank", "alice", &ground.gateway.token(&["alice"])).await;
        alice.batch_execute("select count(*) from other.items").await.unwrap();
        let (result, denied) = tokio::join!(session.batch_execute("delete from items where id = 1"), async {
            let id = ground.request().await;
            ground.must_review(&["deny", &id]);
            id
        });
        result.unwrap_err();
        let again = ground.session().await;
        let (result, ()) = tokio::join!(again.batch_execute("delete from items where id = 2"), async {
            let shown = ground.looked_into().await;
            let past = shown["history"].as_array().unwrap();
            let line = |past: &Value| {
                let first = |list: &Value| list[0].as_str().unwrap_or_default().to_owned();
                let tag = first(&past["tags"]);
                let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
                format!("{} {} {} {tag}", first(&past["classes"]), text(&past["verdict"]), text(&past["outcome"]))
            };
            let lines: Vec<_> = past.iter().map(line).collect();
            // Newest first: what was denied, what runs with values, what policy refuses, what was read. Not what somebody else did.
            assert_eq!(
                lines,
                ["DELETE deny - ", "SELECT permit completed SELECT 2", "DROP deny - ", "SELECT permit completed SELECT 3"]
            );
            assert!(past[3]["effects"].as_array().unwrap().contains(&json!("read column public.items (id)")), "{past:?}");
            let words = ground.review(&ground.dana, &["show", id_of(&shown)]).1;
            assert!(!shown.to_string().contains("a secret value") && !words.contains("a secret value"), "{words}");
            assert!(words.contains("deny") && words.contains("(SELECT 3)"), "{words}");
            let requests = shown["requests"].as_array().unwrap();
            assert_eq!(requests.len(), 1);
            assert_eq!((&requests[0]["id"], &requests[0]["standing"]), (&json!(denied), &json!("denied")));
            assert_eq!(ground.pending()[0]["history"], json!([]), "lists are short");
            ground.must_review(&["approve", id_of(&shown)]);
        });
        result.unwrap();
    });
}

/// Who sees less in its session sees less when it is counted.
#[test]
fn rows_are_counted_by_the_role_of_the_session() {
    run(async {
        let Some(ground) = Ground::with_items(Major::V18).await else { return };
        let setup = "create role narrow; grant narrow to keeper; create table owned (id int primary key, owner text);
            insert into owned select n, case when n <= 4 then 'narrow' else 'keeper' end from generate_series(1, 10) n;
            grant select, delete on owned to narrow; grant delete on items to narrow; alter table owned enable row level security;
            create policy own on owned using (owner = current_user); alter table owned owner to keeper";
        ground.admin.batch_execute(setup).await.unwrap();
        let session = ground.session().await;
        session.batch_execute("set role narrow").await.unwrap();
        let (result, ()) = tokio::join!(session.execute("delete from owned", &[]), async {
            let shown = ground.looked_into().await;
            let count = ground.count(id_of(&shown));
            assert_eq!(count["rows"], 4, "{count}");
            let spared = "at most: the table has row-level security, which may spare some of them";
            assert!(count["notes"].as_array().unwrap().contains(&json!(spared)), "{count}");
            ground.must_review(&["approve", id_of(&shown)]);
        });
        assert_eq!(result.unwrap(), 4);
        let (result, ()) = tokio::join!(session.execute("delete from items", &[]), async {
            let shown = ground.looked_into().await;
            assert_eq!(unknown(&shown["estimate"]), "its role may not read it");
            assert_eq!(unknown(&ground.count(id_of(&shown))), "its role may not read it");
            ground.must_review(&["approve", id_of(&shown)]);
        });
        assert_eq!(result.unwrap(), 1000, "it may delete what it may not read");
    });
}
