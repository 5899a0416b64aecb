//! The packs of `policies/`, under what people and their programs do all day: nothing of it is refused.

use std::path::Path;

use crate::harness::{Conn, Gateway, Major, PERMIT_ALL, Server, driver, script};

const ENGINEERS: &str = include_str!("../../../../policies/engineers.cedar");
const AGENTS: &str = include_str!("../../../../policies/agents.cedar");

/// A gateway at which Alice is in a group, and its pack is all that there is.
fn under(pack: &str, group: &str, server: &Server) -> Gateway {
    let mut gateway = Gateway::configure(&[Conn::to("bank", server).plaintext()], &format!("{PERMIT_ALL}\n{pack}"), "");
    gateway.permit_no_statements();
    gateway.add(&["user", "alice", "--group", group]);
    gateway.start();
    gateway
}

on_each_server!(
    engineers_describe_everything_with_psql,
    engineers_run_pgbench,
    engineers_dump_and_restore,
    engineers_use_sqlalchemy,
    engineers_use_psycopg,
    engineers_use_langchain,
    agents_use_langchain,
);

async fn engineers_may(major: Major, work: impl FnOnce(&Gateway, &Server)) {
    let server = server!(major);
    let gateway = under(ENGINEERS, "engineers", &server);
    work(&gateway, &server);
    gateway.verify();
}

async fn engineers_describe_everything_with_psql(major: Major) {
    let work = |gateway: &Gateway, server: &Server| {
        let Some([direct, through]) = script(gateway, server, major, "psql", [Path::new(""); 2]) else { return };
        // But for the one thing that the pack keeps from them: a program on the server's machine.
        let refused: Vec<&str> = through.lines().filter(|line| line.contains("policy")).collect();
        assert!(matches!(refused[..], [why, _] if why.contains("files and programs")), "{refused:?}");
        let of_refusal = ["policy", "external program", "Only roles with", "Anyone can COPY"];
        let rest = |said: &str| {
            let lines = said.lines().filter(|line| !of_refusal.iter().any(|words| line.contains(words)));
            lines.map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(rest(&through), rest(&direct));
    };
    engineers_may(major, work).await;
}

async fn engineers_run_pgbench(major: Major) {
    let work = |gateway: &Gateway, server: &Server| {
        let Some([_, through]) = script(gateway, server, major, "pgbench", [Path::new(""); 2]) else { return };
        assert!(through.ends_with("runs\n"), "{through}");
    };
    engineers_may(major, work).await;
}

async fn engineers_dump_and_restore(major: Major) {
    let work = |gateway: &Gateway, server: &Server| {
        let dir = tempfile::tempdir().unwrap();
        script(gateway, server, major, "dump_and_restore", [&dir.path().join("direct"), &dir.path().join("through")]);
    };
    engineers_may(major, work).await;
}

async fn engineers_use_sqlalchemy(major: Major) {
    engineers_may(major, |gateway, _| driver(gateway, "sqlalchemy_dialects", &[])).await;
}

async fn engineers_use_psycopg(major: Major) {
    engineers_may(major, |gateway, _| driver(gateway, "psycopg_sync", &[])).await;
}

async fn engineers_use_langchain(major: Major) {
    engineers_may(major, |gateway, _| driver(gateway, "langchain_sqldatabase", &[])).await;
}

async fn agents_use_langchain(major: Major) {
    let server = server!(major);
    let gateway = under(AGENTS, "agents", &server);
    driver(&gateway, "langchain_agent", &[]);
    assert_eq!(server.value("bank", "select count(*) from customers").await, "3");
    gateway.verify();
}
