//! The audit storage runs full: nothing new passes, nothing under way is lost, and room is all that it takes to go on.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Conn, Gateway, Major, PERMIT_ALL, binary, eventually, run, skip, sqlstate};

/// Runs a program with a small file system of its own over the data directory, in a mount namespace that ends with it.
const WRAPPER: &str = r#"#!/bin/sh
exec unshare -m sh -c 'set -e; cp -a "$0" "$0.copy"; mount -t tmpfs -o size=24m tmpfs "$0"; cp -a "$0.copy/." "$0"; exec "$@"' DATA "$@"
"#;

#[test]
fn a_full_disk_refuses_and_recovers() {
    if !Command::new("unshare")
        .args(["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return skip("a full disk: mounting in a namespace of one's own is not permitted here");
    }
    run(async {
        let server = server!(Major::V15);
        let mut gateway = Gateway::configure(&[Conn::to("bank", &server)], PERMIT_ALL, "");
        gateway.add(&["user", "alice"]);
        gateway.add(&["user", "dana", "--group", "dbas"]);
        let (token, dana) = (gateway.token(&["alice"]), gateway.token(&["dana"]));
        let wrapper = gateway.path("small-disk");
        std::fs::write(&wrapper, WRAPPER.replace("DATA", gateway.path("data").to_str().unwrap())).unwrap();
        std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
        gateway.under(wrapper);
        gateway.start();
        // The data as the gateway sees it.
        let data = PathBuf::from(format!("/proc/{}/root{}", gateway.process_id(), gateway.path("data").display()));
        let filler = data.join("filler");

        let session = gateway.login("bank", "alice", &token).await.unwrap();
        let transaction = gateway.login("bank", "alice", &token).await.unwrap();
        transaction.batch_execute("begin; insert into customers values (41, 'before', null)").await.unwrap();
        let sleeper = gateway.login("bank", "alice", &token).await.unwrap();
        let slept = tokio::spawn(async move { sleeper.batch_execute("select pg_sleep(2)").await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        fill(&filler);

        // There is room left in what the log has reserved, and more when an operation ends; it is soon used up.
        let mut inserted = 0;
        let mut refused = async || loop {
            match session.batch_execute(&format!("insert into customers values ({}, 'full', null)", 1000 + inserted)).await {
                Ok(()) => inserted += 1,
                Err(error) => break error,
            }
            assert!(inserted < 20_000, "the disk is full and nothing is refused");
        };
        assert_eq!(sqlstate(&refused().await), "53100");
        slept.await.unwrap().expect("the outcome of what is under way has its room");
        for _ in 0..5 {
            assert_eq!(sqlstate(&refused().await), "53100");
            assert_eq!(sqlstate(&session.query("select $1::int", &[&1]).await.unwrap_err()), "53100");
        }
        assert!(gateway.get("/healthz").is_err(), "it says that it cannot do its work");
        assert!(!session.is_closed(), "the running session lives on");
        let mut crowd = Vec::new();
        let error = loop {
            match gateway.login("bank", "alice", &token).await {
                Ok(session) => crowd.push(session),
                Err(error) => break error,
            }
            assert!(crowd.len() < 50, "the disk is full and everybody is let in");
        };
        assert_eq!(sqlstate(&error), "53100");
        let count = "select count(*) from customers where name = 'full'";
        assert_eq!(server.value("bank", count).await, inserted.to_string(), "what was refused was not done");

        std::fs::remove_file(&filler).unwrap();
        eventually("there is room again", Duration::from_secs(5), async || session.batch_execute("select 1").await.is_ok()).await;
        session.batch_execute("insert into customers values (43, 'after', null)").await.unwrap();
        // An open transaction that a refusal hit is as if the server had refused.
        if transaction.batch_execute("commit").await.is_err() {
            transaction.batch_execute("rollback").await.unwrap();
        }
        assert_eq!(
            server.value("bank", "select string_agg(name, ',' order by id) from customers where id in (42, 43)").await,
            "after"
        );
        gateway
            .login("bank", "alice", &token)
            .await
            .expect("new sessions are let in again")
            .batch_execute("select 1")
            .await
            .unwrap();
        assert!(gateway.get("/healthz").is_ok());
        // The index of sessions, which is not the record, catches up; it has the one that could not be recorded too.
        let listed = async || {
            let output = gateway.through_api(&dana, &["sessions", "list", "--all", "--json"]);
            let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            listed.as_array().unwrap().len() == 5 + crowd.len()
        };
        eventually("every session is listed", Duration::from_secs(10), listed).await;
        let verified = Command::new(binary()).args(["audit", "verify", "--json", "--data"]).arg(&data).output().unwrap();
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    });
}

fn fill(filler: &std::path::Path) {
    // `dd` ends with an error when there is no room, as it is meant to.
    for size in ["64k", "1k", "1"] {
        Command::new("sh")
            .args(["-c", &format!("dd if=/dev/zero bs={size} of={} oflag=append conv=notrunc 2>/dev/null", filler.display())])
            .status()
            .unwrap();
    }
}
