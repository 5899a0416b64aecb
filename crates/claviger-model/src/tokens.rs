//! What models use.

/// The tokens of a model that an operation has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Those of the prompt, with those that the service had kept.
    pub input: u64,
    /// Those of the answer.
    pub output: u64,
    /// Whether the service has said so; else they are counted by length.
    pub said: bool,
}
