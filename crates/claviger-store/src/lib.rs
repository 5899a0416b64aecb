//! (to be written)

pub mod log;
