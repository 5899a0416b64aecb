//! The packs of `policies/`, under what people and their programs do all day: nothing of it is refused.

use std::path::Path;

use crate::harness::{Conn, Gateway, Major, PERMIT_ALL, Server, driver, run, script};

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

fn engineers_may(work: impl FnOnce(&Gateway, &Server) + Send + 'static) {
    run(async move {
        let server = server!(Major::V18);
        let gateway = under(ENGINEERS, "engineers", &server);
        work(&gateway, &server);
        gateway.verify();
    });
}

#[test]
fn engineers_describe_everything_with_psql() {
    engineers_may(|gateway, server| {
        let Some([direct, through]) = script(gateway, server, Major::V18, "psql", [Path::new(""); 2]) else { return };
        // But for the one thing that the pack keeps from them: a program on the server's machine.
        let refused: Vec<&str> = through.lines().filter(|line| line.contains("policy")).collect();
        assert!(matches!(refused[..], [why, _] if why.contains("files and programs")), "{refused:?}");
        assert!(through.lines().count() + 1 == direct.lines().count(), "{through}");
    });
}

#[test]
fn engineers_run_pgbench() {
    engineers_may(|gateway, server| {
        let Some([_, through]) = script(gateway, server, Major::V18, "pgbench", [Path::new(""); 2]) else { return };
        assert!(through.ends_with("runs\n"), "{through}");
    });
}

#[test]
fn engineers_dump_and_restore() {
    engineers_may(|gateway, server| {
        let dir = tempfile::tempdir().unwrap();
        script(gateway, server, Major::V18, "dump_and_restore", [&dir.path().join("direct"), &dir.path().join("through")]);
    });
}

#[test]
fn engineers_use_sqlalchemy() {
    engineers_may(|gateway, _| driver(gateway, "sqlalchemy_dialects", &[]));
}

#[test]
fn engineers_use_psycopg() {
    engineers_may(|gateway, _| driver(gateway, "psycopg_sync", &[]));
}

#[test]
fn engineers_use_langchain() {
    engineers_may(|gateway, _| driver(gateway, "langchain_sqldatabase", &[]));
}

#[test]
fn agents_use_langchain() {
    run(async {
        let server = server!(Major::V18);
        let gateway = under(AGENTS, "agents", &server);
        driver(&gateway, "langchain_agent", &[]);
        assert_eq!(server.value("bank", "select count(*) from customers").await, "3");
        gateway.verify();
    });
}
