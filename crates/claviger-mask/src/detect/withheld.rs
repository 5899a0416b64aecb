//! What comes of a value that is too long to wait for: it is followed to its end, and not kept.

use super::encoded::is_part;
use super::fold::stands_for;
use super::pending::Threads;
use super::secrets::{HEADER, KEY_END};
use super::{Detectors, Entity};

/// As many characters may be between groups of digits.
const GAP: usize = 3;

/// How a private key begins.
const KEY_BEGIN: &str = "-----BEGIN ";

/// The most of it that is kept.
const MOST: usize = 4096;

/// Something that is withheld, and goes on.
pub(super) struct Withheld {
    /// Of each pattern, what may be a match that has begun.
    patterns: Vec<Threads>,
    kind: Kind,
    /// The last of it: what is said there is said of what follows too.
    last: String,
}

enum Kind {
    /// A private key, and what has been read of its last line.
    Key(Last),
    /// A word, or words without small letters between them, perhaps with a text in a text at their end; and how many spaces stand before
    /// what comes.
    Words { run: bool, gap: usize },
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
    pub(super) fn new(detectors: &Detectors, text: &str, key: bool, run: bool) -> Self {
        let held = text.as_bytes();
        let patterns = detectors.patterns.iter().map(|pattern| pattern.automaton.threads(held)).collect();
        let kind = if key {
            Kind::Key(held.iter().fold(Last::Before(Vec::new()), |last, byte| last.after(*byte)))
        } else {
            Kind::Words { run, gap: 0 }
        };
        let mut withheld = Self { patterns, kind, last: String::new() };
        withheld.keep(detectors, text);
        withheld
    }

    /// Where in a part it ends.
    pub(super) fn end(&mut self, detectors: &Detectors, part: &str) -> Option<usize> {
        let mut end = None;
        let mut from = 0;
        for (at, c) in part.char_indices() {
            if self.goes_on(detectors, part, at, c) {
                continue;
            }
            self.keep(detectors, part.get(from..at).unwrap_or_default());
            from = at;
            // A key that has begun in it goes on up to its own end.
            if matches!(self.kind, Kind::Words { .. }) && !self.has_header() || matches!(self.kind, Kind::Key(Last::Over)) {
                end = Some(at);
                break;
            }
        }
        self.keep(detectors, part.get(from..end.unwrap_or(part.len())).unwrap_or_default());
        end
    }

    /// Keeps the last of what is withheld, and sees whether a private key begins in it.
    fn keep(&mut self, detectors: &Detectors, part: &str) {
        self.last.push_str(part);
        if matches!(self.kind, Kind::Words { .. })
            && detectors.config.on.contains(Entity::PrivateKey)
            && let Some(body) = key_body(&self.last)
            && let last = body.bytes().fold(Last::Before(Vec::new()), Last::after)
            && !matches!(last, Last::Over)
        {
            self.kind = Kind::Key(last);
        }
        if self.last.len() > MOST {
            self.last = self.last(MOST / 2).to_owned();
        }
    }

    /// Whether the first line of a private key may have begun, and not ended.
    fn has_header(&self) -> bool {
        self.last(HEADER).rsplit_once(KEY_BEGIN).is_some_and(|(_, line)| !line.contains("-----"))
    }

    /// Its last bytes.
    pub(super) fn last(&self, most: usize) -> &str {
        self.last.get(self.last.ceil_char_boundary(self.last.len().saturating_sub(most))..).unwrap_or_default()
    }

    /// Whether there was room before what comes behind it.
    pub(super) fn gap(&self) -> bool {
        matches!(self.kind, Kind::Words { gap: 1.., .. })
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
            Kind::Words { run, gap } => {
                *run = *run && ascii.is_some_and(is_part);
                let folded = stands_for(c);
                let first = folded.as_ref().map_or(Some(c), |folded| folded.chars().next());
                let hidden = folded.is_some() && first.is_none();
                let word = first.is_some_and(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '<' | '>' | '`'));
                let small = first.is_some_and(|c| c.is_ascii_lowercase());
                match (*gap, c.is_whitespace()) {
                    // Lines of Base64.
                    (0, true) if c == '\n' => true,
                    _ if hidden || *run => true,
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

/// What follows the first line of the last private key in a text.
fn key_body(text: &str) -> Option<&str> {
    let (line, body) = text.rsplit_once(KEY_BEGIN)?.1.split_once("-----")?;
    line.contains("PRIVATE KEY").then_some(body)
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
