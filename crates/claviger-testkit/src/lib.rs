//! What the tests of the other crates are made of.
//!
//! - [`mux`], a second protocol, multiplexed, that keeps the contract honest;
//! - [`postgres`], a client's messages and a scripted server of PostgreSQL;
//! - [`http`], the same of HTTP;
//! - [`conformance`], the suite that every protocol must pass;
//! - [`ledger`], a log in memory;
//! - [`world`], a gateway without sockets, whose sessions a test drives by hand.

pub mod conformance;
pub mod http;
pub mod ledger;
pub mod mux;
pub mod postgres;
pub mod world;
