//! The path of an operation, from its bytes to the record, over the multiplexed protocol of the test kit.
//!
//! Most tests compare the *journal*: the leaves in the order in which they were appended, and between them, written `->` and
//! `<-`, the frames as they left for the upstream and for the client.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod arrival;
mod decision;
mod end;
mod record;

use std::sync::Arc;

use claviger_audit::LeafKind;
use claviger_model::{
    Durability, Effect, Meaning, Mode, Object, Refusal, RefusalKind, ResponseRecording, Table, TableKind, Verb,
};
use claviger_policy::{Matter, Moment, Ruling};
use claviger_protocols::Side;
use claviger_session::{ByPolicy, Case, Connections, Decider, Decision, Hold, ReviewError, Route, Said, Standing};
use claviger_testkit::ledger::Storage;
use claviger_testkit::mux::{self, answer, frame, request};
use claviger_testkit::world::{Client, Setup, World, admit, refuse};

fn world() -> World {
    World::new(&Setup::default())
}

fn synced() -> World {
    World::new(&Setup { durability: Durability::Synced, ..Setup::default() })
}

#[track_caller]
fn journal(world: &World, expected: &[&str]) {
    assert_eq!(world.ledger.journal(), expected);
}
