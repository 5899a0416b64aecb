//! Terms: words and phrases of one's own, as lists.
//!
//! All of them are one sorted list. From each place where a word begins, it is narrowed down byte by byte to those that go on so; mostly
//! none is left after two or three.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization as _;

use super::fold::fold;
use super::replace::is_placeholder;
use super::text::{Text, is_word};
use super::{CustomPattern, DetectorError, Entity, Found};

/// The most lists.
pub(super) const LISTS: usize = 32;

/// The most terms, of all lists together.
const TERMS: usize = 200_000;

/// The longest term, and the shortest, in bytes.
const LONGEST: usize = 128;
const SHORTEST: usize = 2;

/// As many bits of a hash are looked at before a term is looked for.
const HASHED: u32 = 20;

/// A list of terms of one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermList {
    /// How the record and placeholders call it: 1 to 40 of `a-z`, `0-9` and `_`.
    pub name: String,
    /// What is looked for: whole words, or several of them with what separates them, of 2 to 128 bytes. Capital letters make no
    /// difference.
    pub words: Arc<[String]>,
}

/// All terms, ready for use.
#[derive(Debug, Default)]
pub(super) struct Terms {
    /// In the order of bytes, in small letters, and what each is.
    sorted: Vec<(Box<[u8]>, Entity)>,
    /// Which of them begin with these two bytes.
    first: HashMap<[u8; SHORTEST], Range<usize>>,
    /// Which four bytes any begins with, as far as a hash tells.
    beginnings: Vec<u64>,
    /// With which bytes any begins.
    bytes: HashSet<u8>,
    /// What placeholders may say.
    names: Vec<String>,
}

impl Terms {
    /// Those of some lists, beside patterns of these names.
    pub(super) fn new(lists: &[TermList], patterns: &[CustomPattern]) -> Result<Self, DetectorError> {
        if lists.len() > LISTS || lists.iter().map(|list| list.words.len()).sum::<usize>() > TERMS {
            return Err(DetectorError::TooManyTerms);
        }
        let mut sorted = Vec::new();
        for (list, index) in lists.iter().zip(patterns.len()..) {
            let entity = Entity::Custom(u8::try_from(index).unwrap_or(u8::MAX));
            for word in list.words.iter() {
                if !(SHORTEST..=LONGEST).contains(&word.len()) || word.trim() != word || word.chars().any(char::is_control) {
                    return Err(DetectorError::Term { name: list.name.clone(), term: word.chars().take(60).collect() });
                }
                sorted.extend(written(word).into_iter().map(|word| (word, entity)));
            }
        }
        sorted.sort();
        sorted.dedup_by(|(a, _), (b, _)| a == b);
        let mut first: HashMap<_, Range<usize>> = HashMap::new();
        for (at, (word, _)) in sorted.iter().enumerate() {
            if let Some(start) = word.first_chunk() {
                first.entry(*start).and_modify(|range| range.end = at + 1).or_insert(at..at + 1);
            }
        }
        let names = patterns.iter().map(|pattern| pattern.name.clone()).chain(lists.iter().map(|list| list.name.clone()));
        let mut beginnings = vec![0; if sorted.is_empty() { 0 } else { 1 << (HASHED - 6) }];
        for (word, bit) in sorted.iter().map(|(word, _)| bit(word)) {
            beginnings.get_mut(word).into_iter().for_each(|word| *word |= bit);
        }
        Ok(Self { beginnings, bytes: first.keys().map(|[byte, _]| *byte).collect(), names: names.collect(), sorted, first })
    }

    /// Calls back for what is in a text from a place on. Says where to go on when there is more of it.
    pub(super) fn each(&self, text: Text<'_>, from: usize, mut found: impl FnMut(Found)) -> usize {
        if self.sorted.is_empty() {
            return text.len();
        }
        let bytes = text.bytes();
        let mut place = from;
        while let Some(pair) = bytes.get(place..).and_then(|rest| rest.first_chunk::<SHORTEST>()) {
            let pair = pair.map(|byte| byte.to_ascii_lowercase());
            if self.may_begin(text.near(place, 4))
                && begins(text, place)
                && let Some(range) = self.first.get(&pair)
            {
                text.close();
                let longest = self.longest(text, place, range.clone());
                if text.is_open() {
                    return place;
                }
                if let Some((end, entity)) = longest {
                    found(Found { entity, span: place..end, score: super::CERTAIN });
                }
            }
            place += 1;
        }
        // A last byte may be the first of two.
        match bytes.get(place) {
            Some(byte) if self.bytes.contains(&byte.to_ascii_lowercase()) && begins(text, place) => place,
            _ => text.len(),
        }
    }

    /// Whether any term may begin so.
    fn may_begin(&self, four: &[u8]) -> bool {
        let has = |bytes: &[u8]| {
            let (word, bit) = bit(bytes);
            self.beginnings.get(word).is_some_and(|word| word & bit != 0)
        };
        has(four) || four.len() < 4 || has(four.get(..3).unwrap_or_default()) || has(four.get(..2).unwrap_or_default())
    }

    /// The longest term that begins here, of those in a range.
    fn longest(&self, text: Text<'_>, start: usize, range: Range<usize>) -> Option<(usize, Entity)> {
        let (mut range, mut longest) = (range, None);
        for length in SHORTEST.. {
            let terms = self.sorted.get(range.clone()).unwrap_or_default();
            let Some((first, entity)) = terms.first() else { break };
            if first.len() == length {
                let known = |name: &str| self.names.iter().any(|known| known == name);
                if ends(text, start + length) && !is_placeholder(text, &(start..start + length), known) {
                    longest = Some((start + length, *entity));
                }
                if terms.len() == 1 {
                    break;
                }
                range.start += 1;
            }
            let next = text.at(start + length).to_ascii_lowercase();
            let byte = |term: &[u8]| term.get(length).copied().unwrap_or(0);
            let terms = self.sorted.get(range.clone()).unwrap_or_default();
            let before = terms.partition_point(|(term, _)| byte(term) < next);
            let those = terms.get(before..).unwrap_or_default().partition_point(|(term, _)| byte(term) == next);
            range = range.start + before..range.start + before + those;
        }
        longest
    }
}

/// The word and the bit of a term's first four bytes, or of all of it.
fn bit(term: &[u8]) -> (usize, u64) {
    let four = term.iter().take(4).fold(0_u32, |four, byte| four << 8 | u32::from(byte.to_ascii_lowercase()));
    let hash = four.wrapping_mul(0x9e37_79b1) >> (u32::BITS - HASHED);
    ((hash >> 6) as usize, 1 << (hash & 63))
}

/// How a term may be written: composed or not, in small letters, in capitals; folded as texts are.
fn written(word: &str) -> Vec<Box<[u8]>> {
    let mut all = vec![word.to_owned()];
    if !word.is_ascii() {
        let cases = [word.to_owned(), word.to_lowercase(), word.to_uppercase()];
        all = cases.iter().flat_map(|word| [word.nfc().collect::<String>(), word.nfd().collect()]).collect();
    }
    let folded = |word: &String| fold(word.as_bytes()).map_or_else(|| word.as_bytes().to_vec(), |folded| folded.bytes);
    let long = all.iter().map(folded).map(|bytes| bytes.to_ascii_lowercase().into_boxed_slice());
    long.filter(|word| word.len() >= SHORTEST).collect()
}

/// Whether a word may begin here.
fn begins(text: Text<'_>, place: usize) -> bool {
    let (last, next) = (text.before(place), text.at(place));
    if next & 0xC0 == 0x80 {
        return false;
    }
    if last.is_ascii() && next.is_ascii() && !(is_word(last) && is_word(next)) {
        return true;
    }
    let (before, behind) = around(text, place);
    !(before.is_some_and(joins) && behind.is_some_and(joins))
        || text.token_start(place + 1, place.saturating_sub(6), is_word) == place
}

/// Whether a word may end here.
fn ends(text: Text<'_>, place: usize) -> bool {
    text.need(place + 1);
    let (before, behind) = around(text, place);
    !(before.is_some_and(joins) && behind.is_some_and(joins))
}

/// The characters before and behind a place.
fn around(text: Text<'_>, place: usize) -> (Option<char>, Option<char>) {
    let before = text.bytes().get(place.saturating_sub(4)..place).unwrap_or_default();
    let behind = text.near(place, 4);
    let last =
        before.utf8_chunks().last().and_then(|chunk| chunk.valid().chars().next_back().filter(|_| chunk.invalid().is_empty()));
    (last, behind.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next()))
}

/// Whether a character is one of a word that is separated from others: not all scripts do so.
fn joins(c: char) -> bool {
    let apart = matches!(u32::from(c), 0xe00..=0xeff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x2e80..=0xd7ff | 0xf900..=0xfaff | 0xff66..=0xffdc | 0x20000..);
    c.is_alphanumeric() && !apart
}

#[cfg(test)]
mod tests {
    use super::super::{Context, Counts, DetectorConfig, Detectors, EntitySet};
    use super::*;

    fn detectors(words: &[&str]) -> Result<Detectors, DetectorError> {
        let list = |name: &str, words: &[&str]| TermList {
            name: name.to_owned(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        };
        let patterns = vec![CustomPattern { name: "badge".to_owned(), pattern: r"\bE-\d{4}\b".to_owned(), words: Vec::new() }];
        let terms = vec![list("project", words), list("code", &["x-1", "badge"])];
        Detectors::new(&DetectorConfig { on: EntitySet::ALL, patterns, terms, ..DetectorConfig::default() })
    }

    fn masked(words: &[&str], text: &str) -> String {
        let masked = detectors(words).unwrap().mask(text.as_bytes(), Context::default(), &mut Counts::default()).into_owned();
        String::from_utf8(masked).unwrap()
    }

    #[test]
    fn terms_are_found_as_whole_words() {
        let words = ["Falcon", "Falcon Heavy", "heavy metal", "Blue Heron", "bluebird", "#9", "Müller", "猎鹰", "ssn"];
        for (text, expected) in [
            ("the Falcon flies, FALCON!", "the [project] flies, [project]!"),
            ("falcons, falconry, xfalcon, falcon2", "falcons, falconry, xfalcon, falcon2"),
            ("falcon_team and pre-falcon", "[project]_team and pre-[project]"),
            ("Falcon Heavy", "[project]"),
            ("falcon heavyweight", "[project] heavyweight"),
            ("falcon heavy metal", "[project]"),
            ("blue heron blue bluebird", "[project] blue [project]"),
            ("a #9 and 1#9", "a [project] and 1[project]"),
            ("MÜLLER, Mu\u{308}ller, müllers", "[project], [project], müllers"),
            ("我们的猎鹰项目", "我们的[project]项目"),
            ("Ｆal\u{200b}con", "[project]"),
            ("{\"a\":\"x\\nfalcon\"}", "{\"a\":\"x\\n[project]\"}"),
            ("RmFsY29uIGlzIG91cnM=", "[project]"),
            ("E-1234, X-1, badge", "[badge], [code], [code]"),
            (
                "the [badge], the [project], [project_kxqdpm] and [ssn], ssn",
                "the [badge], the [project], [project_kxqdpm] and [ssn], [project]",
            ),
            ("falcon@example.com", "[email]"),
            ("[project_falcon], [falcon]", "[project_[project]], [[project]]"),
            ("falco", "falco"),
        ] {
            assert_eq!(masked(&words, text), expected, "{text}");
        }
    }

    #[test]
    fn terms_that_cannot_be_are_refused() {
        let long = "x".repeat(LONGEST + 1);
        for word in ["", "x", " falcon", "fal\ncon", &long] {
            assert!(matches!(detectors(&[word]), Err(DetectorError::Term { .. })), "{word:?}");
        }
        let list = |name: &str, words: usize| TermList { name: name.to_owned(), words: vec!["falcon".to_owned(); words].into() };
        let config = |terms| DetectorConfig { terms, ..DetectorConfig::default() };
        for terms in [vec![list("ssn", 1)], vec![list("a", 1), list("a", 1)], vec![list("A", 1)]] {
            assert!(matches!(Detectors::new(&config(terms)), Err(DetectorError::Name(_))));
        }
        assert_eq!(Detectors::new(&config(vec![list("a", TERMS + 1)])).unwrap_err(), DetectorError::TooManyTerms);
        let lists = (0..=LISTS).map(|i| list(&format!("a{i}"), 1)).collect();
        assert_eq!(Detectors::new(&config(lists)).unwrap_err(), DetectorError::TooManyTerms);
    }

    #[test]
    fn each_of_very_many_terms_is_found() {
        let words: Vec<String> = (0..50_000_u64).map(|n| format!("{:x} {n}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        let list = TermList { name: "many".to_owned(), words: words.clone().into() };
        let config = DetectorConfig { on: EntitySet::NONE, terms: vec![list], ..DetectorConfig::default() };
        let detectors = Detectors::new(&config).unwrap();
        let text = words.join(", ");
        let mut found = Vec::new();
        detectors.scan(text.as_bytes(), Context::default(), &mut found);
        assert_eq!(found.len(), words.len());
        assert!(found.iter().zip(&words).all(|(found, word)| text[found.span.clone()] == **word));
    }
}
