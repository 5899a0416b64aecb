//! The drivers that people use, as they use them: the programs of `tests/drivers`, which know nothing of a gateway.

use std::path::Path;
use std::process::Command;

use crate::harness::{Gateway, Major, skip};

on_each_server!(psycopg_sync, psycopg_async, asyncpg_basic, langchain_sqldatabase);

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

async fn program(major: Major, name: &str) {
    let Some(python) = std::env::var_os("CLAVIGER_TEST_PYTHON") else {
        return skip(&format!("{name}: CLAVIGER_TEST_PYTHON is to name a Python with the drivers"));
    };
    let server = server!(major);
    let gateway = Gateway::before(&server);
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/drivers").join(format!("{name}.py"));
    let output = Command::new("timeout")
        .arg("90")
        .arg(python)
        .arg(program)
        .env("PGHOST", "localhost")
        .env("PGPORT", gateway.port("bank").to_string())
        .env("PGUSER", "alice")
        .env("PGPASSWORD", gateway.token(&["alice"]))
        .env("PGDATABASE", "bank")
        .env("PGSSLMODE", "verify-full")
        .env("PGSSLROOTCERT", gateway.authority())
        .output()
        .unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    assert!(said.lines().last().is_some_and(|line| line.starts_with("ok ")), "{said}");
    gateway.verify();
}
