//! The dialects, by what goes in and what comes out.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::needless_pass_by_value, clippy::cast_possible_truncation)]

mod chat;
mod harness;
mod messages;
mod others;
mod plain;
mod recorded;
mod requests;
mod responses;
mod rewriting;
mod vectors;
