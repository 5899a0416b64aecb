//! How regulated values are found in texts, and what becomes of them.
//!
//! [`methods`] say what takes the place of a value that is known to be regulated, because a label says so of its column. [`detect`] finds
//! them by what they look like, wherever nobody has said what a column holds. [`swap`] puts tokens in their place that can be taken back.
//! Everything here is a function of bytes.

pub mod detect;
pub mod methods;
pub mod swap;
