//! Policies tried against what was recorded, with the command line that people use.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Conn, Gateway, Major, eventually, run, sqlstate, text};

/// The catalog of the gateway's connection, in a file.
fn keep_catalog(gateway: &Gateway) -> String {
    let file = gateway.path("bank.catalog");
    fs::write(&file, gateway.must(&["policy", "catalog", "bank"])).unwrap();
    file.to_str().unwrap().to_owned()
}

fn candidate(gateway: &Gateway, policies: &str) -> String {
    let dir = gateway.path("candidate");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("candidate.cedar"), policies).unwrap();
    dir.to_str().unwrap().to_owned()
}

const CANDIDATE: &str = r#"
    @id("read") permit (principal in Group::"engineers", action in Action::"read", resource);
    @id("write") permit (principal in Group::"engineers", action in Action::"write", resource);
    @id("bulk") @approval("dbas")
    forbid (principal, action in Action::"write", resource) when { context.hazards.contains("bulk_write") }
    unless { context.approvals.contains("dbas") };"#;

#[test]
fn a_simulation_lists_what_would_be_decided_otherwise_and_nothing_else() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        let catalog = keep_catalog(&gateway);
        let session = gateway.session("bank", "alice").await;
        session.batch_execute("select count(*) from customers").await.unwrap();
        session.batch_execute("update customers set name = 'Eva' where id = 1").await.unwrap();
        session.query_one("select name from customers where id = $1", &[&1]).await.unwrap();
        session.batch_execute("begin; delete from customers; rollback").await.unwrap();
        session.batch_execute("create table plans (id int)").await.unwrap();
        drop(session);
        eventually("the session is closed", Duration::from_secs(2), async || !gateway.leaves_of("SESSION_CLOSE").is_empty())
            .await;

        let policies = candidate(&gateway, CANDIDATE);
        let simulate = ["policy", "simulate", "--connection", "bank", "--catalog", &catalog, &policies];
        let changes: Value = serde_json::from_str(&gateway.must(&[&simulate[..], &["--json"]].concat())).unwrap();
        let changes: Vec<_> = changes.as_array().unwrap().iter().collect();
        let seen: Vec<_> = changes.iter().map(|change| [&change["statement"], &change["was"], &change["would"]]).collect();
        assert_eq!(
            seen,
            [
                [&json!("begin; delete from customers; rollback"), &json!("permit"), &json!("hold")],
                [&json!("create table plans (id int)"), &json!("permit"), &json!("deny")],
            ]
        );
        assert_eq!((&changes[0]["who"], &changes[0]["policies"]), (&json!("alice@local"), &json!(["bulk"])));
        let said = gateway.must(&simulate);
        assert!(said.contains("would be decided otherwise") && said.contains("create table plans"), "{said}");
        // To read what was said is on record, as soon as the gateway has heard of it.
        eventually("both readings are on record", Duration::from_secs(5), async || {
            let acts: Vec<_> = gateway.leaves_of("ADMIN").iter().map(|leaf| leaf["action"].clone()).collect();
            acts.contains(&json!("session.read")) && acts.contains(&json!("catalog.read"))
        })
        .await;
    });
}

#[test]
fn an_explanation_knows_who_is_registered() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        gateway.add(&["workload", "assistant", "--group", "agents", "--sponsor", "alice"]);
        let catalog = keep_catalog(&gateway);
        let policies = candidate(&gateway, CANDIDATE);
        let explain = |who: &str, sql: &str| {
            let arguments = ["policy", "explain", "--policies", &policies, "--connection"];
            let rest = ["bank", "--catalog", &catalog, "--who", who, "--json", sql];
            serde_json::from_str::<Value>(&gateway.must(&[&arguments[..], &rest[..]].concat())).unwrap()
        };
        assert_eq!(explain("alice", "select * from customers")["verdict"], "permit");
        let held = explain("alice", "delete from customers");
        assert_eq!((&held["verdict"], &held["changes"]), (&json!("hold"), &json!(["the approval of dbas"])));
        let denied = explain("assistant for alice", "select name from customers where id = 1");
        assert_eq!(denied["verdict"], "deny");
        let links = &denied["statements"][0]["questions"][0]["links"];
        assert_eq!((&links[0]["principal"], &links[0]["answer"]), (&json!("assistant@local"), &json!("deny")));
        assert_eq!((&links[1]["answer"], &links[1]["policies"][0]["at"]), (&json!("permit"), &json!("candidate.cedar:2")));
        assert!(denied["changes"][0].as_str().unwrap().starts_with(r#"a permit for Workload::"assistant" to read "#));
    });
}

const PRIVATE: &str = r#"
    @id("read") permit (principal, action == Action::"read", resource);
    @id("private") @reason("no names") forbid (principal, action in Action::"read", resource in Label::"pii.name");"#;

#[test]
fn the_upstream_is_asked_and_the_configuration_says_what_is_classified() {
    run(async {
        let server = server!(Major::V18);
        server.admin("bank").await.batch_execute("create view v_names as select id, name from customers").await.unwrap();
        let classified = Conn::to("bank", &server).set(r#"classify = { "public.customers.name" = ["pii.name"] }"#);
        let gateway = Gateway::configure(&[classified], PRIVATE, "");
        gateway.add(&["user", "alice"]);
        let explain = |sql: &str| {
            let policies = candidate(&gateway, PRIVATE);
            let said = gateway.must(&[
                "policy",
                "explain",
                "--policies",
                &policies,
                "--connection",
                "bank",
                "--who",
                "alice",
                "--json",
                sql,
            ]);
            serde_json::from_str::<Value>(&said).unwrap()
        };
        assert_eq!(explain("select id from v_names where id = 1")["verdict"], "permit");
        let denied = explain("select * from v_names where id = 1");
        assert_eq!((&denied["verdict"], &denied["reason"]), (&json!("deny"), &json!("no names")));

        // The same as a test that stands beside policies.
        let tests = |expect: &str| {
            let table = format!(
                "principals.alice = {{}}\n[[tests]]\nwho = \"alice\"\nsql = \"select name from v_names limit 1\"\nexpect = \"{expect}\"\n"
            );
            fs::write(gateway.path("candidate/names.test.toml"), table).unwrap();
            let policies = gateway.path("candidate");
            gateway.command(&["policy", "test", "--policies", policies.to_str().unwrap()]).status.code()
        };
        assert_eq!([tests("deny"), tests("permit")], [Some(0), Some(1)]);
    });
}

const CONNECT: &str = r#"@id("connect") permit (principal, action == Action::"connect", resource);
    @id("work") permit (principal, action in Action::"operation", resource);"#;

const NO_DELETE: &str = r#"@id("no-delete") @reason("rows stay") forbid (principal, action in Action::"delete", resource);"#;

#[test]
fn policies_that_do_not_load_leave_the_old_ones_in_force() {
    run(async {
        let server = server!(Major::V18);
        let mut gateway = Gateway::configure(&[Conn::to("bank", &server)], &format!("{CONNECT}{NO_DELETE}"), "");
        gateway.permit_no_statements();
        gateway.add(&["user", "alice"]);
        gateway.start();
        let session = gateway.session("bank", "alice").await;
        let rows = async || server.value("bank", "select count(*) from customers").await;
        let before = rows().await;
        let refused = async |statement: &str, why: &str| {
            let error = session.batch_execute(statement).await.unwrap_err();
            assert!(sqlstate(&error) == "42501" && text(&error).contains(why), "{statement}: {}", text(&error));
        };
        refused("delete from customers where id = 1", "rows stay").await;
        for wrong in [
            r#"@approval("dbas") forbid (principal, action == Action::"read", resource);"#,
            r#"permit (principal, action == Action::"delete", resource) when { resource.colour == "red" };"#,
            r#"permit (principal, action == Action::"deleet", resource);"#,
            "permit (principal, action, resource)",
        ] {
            gateway.write_policies(&format!("{CONNECT}{wrong}"));
            assert!(!gateway.reload(|toml| toml).await, "{wrong}");
            refused("delete from customers where id = 1", "rows stay").await;
            session.batch_execute("select count(*) from customers").await.unwrap();
        }

        // A policy that loads and cannot be evaluated.
        let erring = r#"@id("erring") forbid (principal, action == Action::"update", resource)
            when { 9223372036854775807 + context.risk == 0 };"#;
        gateway.write_policies(&format!("{CONNECT}{erring}"));
        assert!(gateway.reload(|toml| toml).await);
        refused("update customers set name = 'Eva' where id = 1", "could not be evaluated").await;
        session.batch_execute("delete from customers where id = 1").await.expect("that is permitted now");
        assert_eq!(rows().await.parse::<u32>().unwrap() + 1, before.parse::<u32>().unwrap());
        assert_eq!(server.value("bank", "select count(*) from customers where name = 'Eva'").await, "0");
        gateway.verify();
    });
}
