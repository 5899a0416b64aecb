//! Transcripts: what each side says, and what comes of it. Every one runs whole and cut at every byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod credentials;
mod hostile;
mod login;
mod masking;
mod masking_copy;
mod rig;
mod serving;
