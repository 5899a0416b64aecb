//! Answers, as they come.

use bytes::Bytes;

use crate::{Dialect, NotRead, Piece, Reading, Texts, Usage};

/// How an answer is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) api: Api,
    /// How long the texts were that were asked, in bytes.
    pub(crate) asked: u64,
}

/// Whose words an answer is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Api {
    /// Nobody's in particular.
    #[default]
    Any,
    /// One of models, without texts that come in parts.
    Json,
    Chat,
    Completions,
    Responses,
    Messages,
    Images,
    Audio,
    /// Runs of assistants.
    Threads,
}

/// Reads and rewrites one answer. Sans-io: content goes in as it comes, decoded, and pieces come out.
pub struct Answer {
    usage: Usage,
}

impl Answer {
    pub(crate) fn new(_dialect: Dialect, _reading: &Reading, _longest: usize) -> Self {
        Self { usage: Usage::default() }
    }

    /// Takes the answer's head. Says whether all of the content is kept until its end, so that its length is known when its head leaves.
    pub fn begin(&mut self, _status: u16, _content_type: Option<&str>) -> bool {
        false
    }

    /// Takes content, and appends what comes of it.
    pub fn push(&mut self, content: Bytes, _texts: &mut dyn Texts, out: &mut Vec<Piece>) -> Result<(), NotRead> {
        out.push(Piece::Bytes(content));
        Ok(())
    }

    /// There is no more content: appends the rest.
    pub fn finish(&mut self, _texts: &mut dyn Texts, _out: &mut Vec<Piece>) -> Result<(), NotRead> {
        Ok(())
    }

    /// What ends the content in place of everything from a refused call on, as the service would say that something went wrong in the middle
    /// of an answer; `None` if nothing of it has left, so that another answer can take its place.
    pub fn refused(&mut self, _message: &str) -> Option<Bytes> {
        None
    }

    /// What has been used, as far as is known by now.
    pub fn usage(&self) -> Usage {
        self.usage
    }
}
