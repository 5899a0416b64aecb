//! Putting values back into a text that comes in parts.

use std::fmt;
use std::sync::Arc;

use super::{Here, Swaps, put};

/// Restores a text that comes in any parts: what leaves is, all together, what [`Swaps::restore`] makes of the whole. Only what may be the
/// beginning of a token waits.
pub struct Restoring {
    swaps: Arc<Swaps>,
    json: bool,
    held: String,
    restored: u64,
}

impl Restoring {
    /// For one text.
    pub fn new(swaps: Arc<Swaps>) -> Self {
        Self { swaps, json: false, held: String::new(), restored: 0 }
    }

    /// For one that is JSON, in which tokens stand in strings.
    #[must_use]
    pub fn json(self) -> Self {
        Self { json: true, ..self }
    }

    /// Takes a part, and adds what may leave.
    pub fn push(&mut self, part: &str, out: &mut String) {
        if self.held.is_empty() && !part.contains('[') {
            return out.push_str(part);
        }
        self.held.push_str(part);
        let text = std::mem::take(&mut self.held);
        let mut place = 0;
        while let Some(start) = text.get(place..).and_then(|rest| rest.find('[')).map(|at| place + at) {
            out.push_str(text.get(place..start).unwrap_or_default());
            match self.swaps.here(&text, start) {
                Here::Token(end, value) => {
                    put(value, self.json, out);
                    self.restored += 1;
                    place = end;
                }
                Here::Open => {
                    text.get(start..).unwrap_or_default().clone_into(&mut self.held);
                    return;
                }
                Here::No => {
                    out.push('[');
                    place = start + 1;
                }
            }
        }
        out.push_str(text.get(place..).unwrap_or_default());
    }

    /// The text has ended: adds what is left of it.
    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&std::mem::take(&mut self.held));
    }

    /// How many bytes wait.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// How many tokens have become values.
    pub fn restored(&self) -> u64 {
        self.restored
    }
}

/// Nothing of the text.
impl fmt::Debug for Restoring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Restoring")
    }
}
