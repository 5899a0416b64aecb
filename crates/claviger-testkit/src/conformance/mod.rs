//! The suite that every protocol must pass.
//!
//! A [`Subject`] brings a protocol, a client's transcripts and a scripted upstream; each check is a function that panics when
//! the contract is broken. The suite runs over every entry of [`claviger_protocols::PROTOCOLS`] and over [`Mux`](crate::mux).

mod bench;
mod checks;

use claviger_model::OpId;
use claviger_protocols::{Limits, Protocol};

pub use bench::{Bench, Cut, LIMITS, Verdict, refusal};
pub use checks::{
    a_probe_stays_out_of_sight, a_refusal_leaves_a_usable_session, a_replacement_replaces,
    a_side_that_goes_ends_the_session_once, a_termination_is_told_once, a_withheld_operation_stays_here,
    an_unreleased_completion_stays_here, any_bytes_are_survived, any_cut_gives_the_same, run_all, what_waits_is_bounded,
};

/// An upstream that answers by script: bytes in, bytes out.
pub trait Upstream {
    /// What it says to these bytes, which may end within a frame.
    fn receive(&mut self, bytes: &[u8]) -> Vec<u8>;
}

/// What the suite needs to know of a protocol.
pub trait Subject {
    /// The protocol's kind.
    fn kind(&self) -> &'static str;
    /// A new session.
    fn open(&self, limits: Limits) -> Box<dyn Protocol<OpId>>;
    /// A new upstream.
    fn upstream(&self) -> Box<dyn Upstream>;
    /// What a client sends to be served; each step after the answer to the one before.
    fn login(&self) -> Vec<Vec<u8>>;
    /// A plain operation that succeeds, with this word in its text.
    fn operation(&self, word: &str) -> Vec<u8>;
    /// The text that stands for the client's when an operation is replaced, with this word in it, where that can be.
    fn replacement(&self, word: &str) -> Option<Vec<u8>>;
    /// An operation that the upstream answers with an error.
    fn failing(&self) -> Vec<u8>;
    /// So many operations, sent without waiting.
    fn several(&self, count: usize) -> Vec<u8>;
    /// An operation whose response is at least so many bytes long.
    fn large(&self, bytes: usize) -> Vec<u8>;
    /// Something to ask the upstream of the gateway's own accord, if the protocol can.
    fn probe(&self) -> Option<String>;
    /// How many completions there are in what the client received.
    fn completions(&self, received: &[u8]) -> usize;
    /// How many errors there are in what the client received.
    fn errors(&self, received: &[u8]) -> usize;
    /// What the client received, in parts among which the order may depend on when outcomes are released.
    fn parts(&self, received: &[u8]) -> Vec<Vec<u8>> {
        vec![received.to_vec()]
    }
}
