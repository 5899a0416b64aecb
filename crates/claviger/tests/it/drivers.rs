//! The drivers that people use, as they use them: the programs of `tests/drivers`, which know nothing of a gateway.

use std::fs;
use std::path::Path;

use crate::harness::{Conn, Gateway, Major, PERMIT_ALL, Server, driver, files, script};

on_each_server!(
    psycopg_sync,
    psycopg_async,
    asyncpg_basic,
    langchain_sqldatabase,
    sqlalchemy_dialects,
    node_postgres,
    jdbc,
    psql,
    pgbench,
    dump_and_restore,
    #[ignore = "a minute to compile"]
    pgx,
);

async fn psycopg_sync(major: Major) {
    program(major, "psycopg_sync").await;
}

async fn psycopg_async(major: Major) {
    program(major, "psycopg_async").await;
}

async fn asyncpg_basic(major: Major) {
    program(major, "asyncpg_basic").await;
}

async fn langchain_sqldatabase(major: Major) {
    program(major, "langchain_sqldatabase").await;
}

async fn sqlalchemy_dialects(major: Major) {
    program(major, "sqlalchemy_dialects").await;
}

async fn node_postgres(major: Major) {
    program(major, "node_postgres").await;
}

async fn jdbc(major: Major) {
    program(major, "Jdbc").await;
}

async fn pgx(major: Major) {
    program(major, "pgx").await;
}

async fn program(major: Major, name: &str) {
    let server = server!(major);
    let gateway = Gateway::before(&server);
    driver(&gateway, name, &[]);
    gateway.verify();
}

/// What psql prints is the same to the byte.
async fn psql(major: Major) {
    let server = server!(major);
    let gateway = before(&server);
    let Some([direct, through]) = script(&gateway, &server, major, "psql", [Path::new(""); 2]) else { return };
    assert!(direct.lines().count() > 500, "{direct}");
    for (line, (one, other)) in direct.lines().zip(through.lines()).enumerate() {
        assert_eq!(one, other, "line {line}, directly and through the gateway");
    }
    assert_eq!(direct, through);
    gateway.verify();
}

async fn pgbench(major: Major) {
    let server = server!(major);
    let gateway = before(&server);
    let Some([_, through]) = script(&gateway, &server, major, "pgbench", [Path::new(""); 2]) else { return };
    assert!(through.ends_with("runs\n"), "{through}");
    gateway.verify();
}

/// Dumps are the same to the byte, and what was dumped can be restored.
async fn dump_and_restore(major: Major) {
    let server = server!(major);
    let gateway = before(&server);
    let dir = tempfile::tempdir().unwrap();
    let [direct, through] = [dir.path().join("direct"), dir.path().join("through")];
    if script(&gateway, &server, major, "dump_and_restore", [&direct, &through]).is_none() {
        return;
    }
    let (ones, others) = (files(&direct), files(&through));
    assert!(ones.len() > 8, "{ones:?}");
    let relative = |files: &[std::path::PathBuf], dir| {
        files.iter().map(|file| file.strip_prefix(dir).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(relative(&ones, &direct), relative(&others, &through));
    for (one, other) in ones.iter().zip(&others) {
        // The table of contents holds the time of the dump; `contents` and the scripts made of it are compared instead.
        if !one.ends_with("custom.dump") && !one.ends_with("directory.dump/toc.dat") {
            assert!(fs::read(one).unwrap() == fs::read(other).unwrap(), "{} differs", other.display());
        }
    }
    gateway.verify();
}

/// Also for programs that speak no TLS.
fn before(server: &Server) -> Gateway {
    let mut gateway = Gateway::configure(&[Conn::to("bank", server).plaintext()], PERMIT_ALL, "");
    gateway.add(&["user", "alice"]);
    gateway.start();
    gateway
}
