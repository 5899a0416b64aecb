//! What the tests of the other crates are made of.
//!
//! [`mux`] is a second protocol, multiplexed, that keeps the contract honest. [`conformance`] is the suite that every protocol
//! must pass.

pub mod conformance;
pub mod mux;
