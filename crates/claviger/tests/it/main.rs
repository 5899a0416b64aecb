//! The gateway between real clients and real PostgreSQL servers.
//!
//! Every test starts its own server and its own gateway, the very binary that people run, and asserts on bytes at the client
//! and rows at the server, and never on the gateway's word alone. Tests share nothing, so they run side by side.
//!
//! `CLAVIGER_TEST_PG15_BIN` and `CLAVIGER_TEST_PG18_BIN` name the directories of the servers' programs, and other variables of that
//! kind the drivers and an OpenID provider; `scripts/setup-tests.sh` finds or installs them all and says what is what. What is not there is
//! skipped, with a line that begins with `SKIPPED`. The long loops are ignored tests: `cargo nextest run --run-ignored only`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

#[macro_use]
mod harness;

mod access;
mod approvals;
mod arrival;
mod authorization;
mod builtins;
mod catalog;
mod command_line;
mod corpus;
mod coverage;
mod credentials;
mod disk;
mod drivers;
mod exchange;
mod floor;
mod groups;
mod hostile;
mod http;
mod identity;
mod issuers;
mod limits;
mod login;
mod masking;
mod noninterference;
mod operation;
mod oracle;
mod packs;
mod policies;
mod providers;
mod proxied;
mod record;
mod recovery;
mod reload;
mod routing;
mod scan;
mod service;
mod soak;
mod statements;
mod upstream;
mod usability;
mod wire;
mod workloads;
