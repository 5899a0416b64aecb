//! Texts of answers that come in parts.

use std::sync::{Arc, Mutex, PoisonError};

use claviger_dialects::{Parts, Place, Texts};
use claviger_mask::detect;
use claviger_mask::swap::Restoring;

use super::content::{Finder, Tally};

/// The most of a text that is kept to be masked as a whole, in bytes. What is longer is withheld.
const LONGEST: usize = 1 << 20;

/// A text in which values are found as it comes.
pub(super) struct Searched {
    pub(super) parts: detect::Parts,
    pub(super) tally: Arc<Mutex<Tally>>,
}

impl Parts for Searched {
    fn push(&mut self, part: &str, out: &mut String) {
        self.parts.push(part, out);
    }

    fn finish(&mut self, out: &mut String) {
        self.parts.finish(out);
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.withheld += self.parts.withheld();
        for (entity, count) in self.parts.counts().iter() {
            (0..count).for_each(|_| tally.found.add(entity));
        }
    }
}

/// A text in which values take the places of their tokens.
pub(super) struct Restored(pub(super) Restoring);

impl Parts for Restored {
    fn push(&mut self, part: &str, out: &mut String) {
        self.0.push(part, out);
    }

    fn finish(&mut self, out: &mut String) {
        self.0.finish(out);
    }
}

/// A text that leaves as it comes, and of which is counted what is found in it.
pub(super) struct Counted {
    pub(super) finder: Finder,
    pub(super) path: String,
    pub(super) text: String,
}

impl Parts for Counted {
    fn push(&mut self, part: &str, out: &mut String) {
        if self.text.len() + part.len() <= LONGEST {
            self.text.push_str(part);
        }
        out.push_str(part);
    }

    fn finish(&mut self, _out: &mut String) {
        let text = std::mem::take(&mut self.text);
        self.finder.whole(Place { path: &self.path, bare: false }, &text);
    }
}

/// A text that is masked when it is all here.
pub(super) struct Collected {
    pub(super) finder: Finder,
    pub(super) path: String,
    pub(super) text: String,
}

impl Parts for Collected {
    fn push(&mut self, part: &str, _out: &mut String) {
        let room = LONGEST.saturating_sub(self.text.len());
        self.text.push_str(part.get(..part.floor_char_boundary(room)).unwrap_or_default());
    }

    fn finish(&mut self, out: &mut String) {
        let text = std::mem::take(&mut self.text);
        let replaced = self.finder.whole(Place { path: &self.path, bare: false }, &text);
        out.push_str(&replaced.unwrap_or(text));
    }
}
