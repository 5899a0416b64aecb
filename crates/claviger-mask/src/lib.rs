//! How regulated values are found in texts, and what becomes of them.
//!
//! [`detect`] finds them by what they look like, wherever nobody has said what a column holds. Everything here is a function of
//! bytes.

pub mod detect;
