//! Masking a text that comes in parts.
//!
//! ```text
//! part ─▶ round ─▶ round ─▶ … ─▶ what leaves
//! ```
//!
//! A whole text is masked again and again until nothing is found in it; so each of as many [`Round`]s takes what the one before it lets
//! through. What waits is little: the last word, or a number until it is clear what the words behind it call it. Only a few things have no
//! end that is near, and may have more to wait for than [`HELD`]: private keys, JSON Web Tokens, texts in Base64, URLs, and
//! what patterns match that have no end themselves. Of those, it is withheld what is too long.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use super::round::{Round, With};
use super::{Context, Counts, Detectors, ROUNDS, WITHHELD};

/// Longer parts are taken in pieces, in bytes.
const PIECE: usize = 512;

/// Masks a text that comes in any parts: what leaves is, all together, what [`Detectors::mask`] makes of the whole.
pub struct Parts {
    detectors: Arc<Detectors>,
    context: Context,
    counts: Counts,
    /// What one lets through is what the next one looks at; the last one is to find nothing.
    rounds: Vec<Round>,
    /// Room for what passes from one round to the next.
    room: [String; 2],
    held: usize,
    withheld: u64,
    over: bool,
}

/// The most bytes that wait, unless it is said otherwise.
pub const HELD: usize = 4096;

/// Numbers that belong together, and what is said of them, have less than this.
pub const LEAST: usize = 2048;

impl Parts {
    /// For one text, of which at most [`HELD`] bytes wait.
    pub fn new(detectors: Arc<Detectors>, context: Context) -> Self {
        Self::with_held(detectors, context, HELD)
    }

    /// For one text, of which at most so many bytes wait, but not less than [`LEAST`]. If more would have to, `[withheld]` takes their place.
    pub fn with_held(detectors: Arc<Detectors>, context: Context, held: usize) -> Self {
        Self::with_rounds(detectors, context, held.max(LEAST), ROUNDS)
    }

    fn with_rounds(detectors: Arc<Detectors>, context: Context, held: usize, rounds: usize) -> Self {
        let with = With { detectors: &detectors, context };
        let rounds = (0..=rounds).map(|number| Round::new(number, with)).collect();
        Self { rounds, room: Default::default(), held, detectors, context, counts: Counts::default(), withheld: 0, over: false }
    }

    /// Takes a part, and adds what may leave. Behind the end of the text nothing does.
    pub fn push(&mut self, part: &str, out: &mut String) {
        let mut rest = part;
        while !rest.is_empty() && !self.over {
            let (piece, more) = rest.split_at(rest.ceil_char_boundary(PIECE));
            self.pass(0, piece, false, out);
            while self.held() > self.held && !self.over {
                self.withhold(out);
            }
            rest = more;
        }
    }

    /// The text has ended: adds what is left of it.
    pub fn finish(&mut self, out: &mut String) {
        if !self.over {
            self.pass(0, "", true, out);
        }
        self.over = true;
        self.rounds.clear();
    }

    /// How many bytes wait.
    pub fn held(&self) -> usize {
        self.rounds.iter().map(Round::held).sum()
    }

    /// What was found so far, each time in the round that found it.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How often something was withheld that would have had to wait for too long, or could not be cleared.
    pub fn withheld(&self) -> u64 {
        self.withheld
    }

    /// Withholds what waits in the round where most does.
    fn withhold(&mut self, out: &mut String) {
        let with = With { detectors: &self.detectors, context: self.context };
        let mut text = String::new();
        let Some((number, round)) = self.rounds.iter_mut().enumerate().max_by_key(|(_, round)| round.held()) else { return };
        self.withheld += u64::from(round.withhold(with, &mut self.counts, &mut text));
        self.pass(number + 1, &text, false, out);
    }

    /// Passes a text through rounds from one on.
    fn pass(&mut self, from: usize, piece: &str, ended: bool, out: &mut String) {
        let with = With { detectors: &self.detectors, context: self.context };
        let [mut text, mut next] = std::mem::take(&mut self.room).map(|mut room| {
            room.clear();
            room
        });
        text.push_str(piece);
        let last = self.rounds.len().saturating_sub(1);
        for (number, round) in self.rounds.iter_mut().enumerate().skip(from) {
            let mut late = Counts::default();
            let counts = if number == last { &mut late } else { &mut self.counts };
            if !text.is_empty() {
                round.push(with, &text, counts, &mut next);
            }
            if ended {
                round.finish(with, counts, &mut next);
            }
            if !late.is_empty() {
                self.over = true;
                self.withheld += 1;
                return out.push_str(WITHHELD);
            }
            std::mem::swap(&mut text, &mut next);
            next.clear();
            if text.is_empty() && !ended {
                break;
            }
        }
        out.push_str(&text);
        self.room = [text, next];
    }
}

/// Nothing of the text.
impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parts")
    }
}

#[cfg(test)]
impl Parts {
    pub(super) fn in_rounds(detectors: Arc<Detectors>, held: usize, rounds: usize) -> Self {
        Self::with_rounds(detectors, Context::default(), held, rounds)
    }

    /// How many bytes are kept, waiting or not.
    pub(super) fn kept(&self) -> usize {
        self.rounds.iter().map(Round::kept).sum()
    }
}
