//! The drivers that people use, as they use them: the programs of `tests/drivers`, which know nothing of a gateway.

use crate::harness::{Gateway, Major, driver};

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
    let server = server!(major);
    let gateway = Gateway::before(&server);
    driver(&gateway, name, &[]);
    gateway.verify();
}
