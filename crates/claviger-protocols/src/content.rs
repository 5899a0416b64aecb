//! What a protocol asks of whoever knows what content means.
//!
//! A protocol knows where the content of an answer begins and ends, and in which coding it is. What is in it, and what becomes of that, is not its
//! business; it asks a [`Content`], which comes with the admission of an operation and goes with its outcome.

use std::sync::Arc;

use bytes::Bytes;
use claviger_model::{Masked, Refusal, Tokens};

/// Reads and rewrites the content of one answer.
pub trait Content: Send {
    /// Takes the answer's status and type. Whether its head waits until all of the content is here, because another answer may take its place.
    fn begin(&mut self, status: u16, content_type: Option<&str>) -> bool;

    /// Takes content as it comes, and appends what comes of it. An error ends the session: it cannot be told what there is.
    fn push(&mut self, content: Bytes, out: &mut Vec<Said>) -> Result<(), Refusal>;

    /// There is no more: appends the rest.
    fn finish(&mut self, out: &mut Vec<Said>) -> Result<(), Refusal>;

    /// What ends the content in place of everything from a refused call on; `None` if nothing has left, so that a refusal can take the whole
    /// answer's place.
    fn refused(&mut self, refusal: &Refusal) -> Option<Bytes>;

    /// How the client is told something in the middle of the content that is no part of it; `None` where that cannot be.
    fn remark(&self, _words: &str) -> Option<Bytes> {
        None
    }

    /// What was masked.
    fn masked(&mut self) -> Option<Masked>;

    /// The tokens of a model that were used, as far as is known.
    fn tokens(&self) -> Option<Tokens>;
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// For the client.
    Bytes(Bytes),
    /// A model calls a tool, which is an operation of its own. What follows tells the client, and waits until that is decided.
    Call {
        /// The tool.
        tool: Arc<str>,
        /// What it is called with.
        arguments: Arc<str>,
    },
}
