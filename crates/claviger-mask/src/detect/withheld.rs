//! What comes of a value that is too long to wait for: it is followed to its end, and not kept.

use super::Detectors;
use super::encoded::is_part;
use super::fold::stands_for;
use super::pending::Threads;
use super::secrets::KEY_END;

/// As many characters may be between groups of digits.
const GAP: usize = 3;

/// Something that is withheld, and goes on.
pub(super) struct Withheld {
    /// Of each pattern, what may be a match that has begun.
    patterns: Vec<Threads>,
    kind: Kind,
}

enum Kind {
    /// A private key, and what has been read of its last line.
    Key(Last),
    /// A text in a text.
    Run,
    /// A word, or words without small letters between them, and how many spaces stand before what comes.
    Words(usize),
}

/// The last line of a private key.
enum Last {
    /// The last bytes before it.
    Before(Vec<u8>),
    Name,
    Hyphens,
    Over,
}

impl Withheld {
    /// Begins with what has waited so far.
    pub(super) fn new(detectors: &Detectors, held: &str, key: bool, run: bool) -> Self {
        let held = held.as_bytes();
        let patterns = detectors.patterns.iter().map(|pattern| pattern.automaton.threads(held)).collect();
        let kind = match (key, run) {
            (true, _) => Kind::Key(held.iter().fold(Last::Before(Vec::new()), |last, byte| last.after(*byte))),
            (false, true) => Kind::Run,
            (false, false) => Kind::Words(0),
        };
        Self { patterns, kind }
    }

    /// Where in a part it ends.
    pub(super) fn end(&mut self, detectors: &Detectors, part: &str) -> Option<usize> {
        part.char_indices().find(|(at, c)| !self.goes_on(detectors, part, *at, *c)).map(|(at, _)| at)
    }

    /// Whether there was room before what comes behind it.
    pub(super) fn gap(&self) -> bool {
        matches!(self.kind, Kind::Words(1..))
    }

    /// Whether a character belongs to it.
    fn goes_on(&mut self, detectors: &Detectors, part: &str, at: usize, c: char) -> bool {
        let is_match = self.may_be_match(detectors, part, at..at + c.len_utf8());
        let ascii = u8::try_from(c).ok().filter(u8::is_ascii);
        let belongs = match &mut self.kind {
            Kind::Key(last) => {
                let over = std::mem::replace(last, Last::Over);
                *last = part.get(at..at + c.len_utf8()).unwrap_or_default().bytes().fold(over, Last::after);
                !matches!(last, Last::Over)
            }
            Kind::Run => ascii.is_some_and(is_part),
            Kind::Words(gap) => {
                let folded = stands_for(c);
                let first = folded.as_ref().map_or(Some(c), |folded| folded.chars().next());
                let hidden = folded.is_some() && first.is_none();
                let word = first.is_some_and(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '<' | '>' | '`'));
                let small = first.is_some_and(|c| c.is_ascii_lowercase());
                match (*gap, c.is_whitespace()) {
                    _ if hidden => true,
                    (_, true) => {
                        *gap += 1;
                        *gap <= GAP
                    }
                    (0, false) => word,
                    (_, false) if word && !small => {
                        *gap = 0;
                        true
                    }
                    _ => false,
                }
            }
        };
        belongs || is_match
    }

    /// Whether a match of a pattern may reach up to here.
    fn may_be_match(&mut self, detectors: &Detectors, part: &str, bytes: std::ops::Range<usize>) -> bool {
        let text = part.as_bytes();
        let mut alive = false;
        for (threads, pattern) in self.patterns.iter_mut().zip(&detectors.patterns) {
            let before = pattern.automaton.is_alive(threads, text);
            bytes.clone().for_each(|at| pattern.automaton.follow(threads, text, at));
            alive |= before;
        }
        alive
    }
}

impl Last {
    fn after(self, byte: u8) -> Self {
        match self {
            Self::Before(mut bytes) => {
                if bytes.len() == KEY_END.len() {
                    bytes.remove(0);
                }
                bytes.push(byte);
                if bytes == KEY_END { Self::Name } else { Self::Before(bytes) }
            }
            Self::Name if byte.is_ascii_uppercase() || byte == b' ' => Self::Name,
            Self::Name | Self::Hyphens if byte == b'-' => Self::Hyphens,
            _ => Self::Over,
        }
    }
}
