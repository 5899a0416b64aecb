//! Which detectors are on, what they put in place of values, and patterns of one's own.

use std::collections::BTreeMap;
use std::ops::Range;

use regex::bytes::{Regex, RegexBuilder};

use super::context;
use super::pending::Automaton;
use super::terms::{LISTS, TermList, Terms};
use super::{Entity, EntitySet, Style};

/// The most custom patterns.
const PATTERNS: usize = 32;

/// The longest custom pattern, in bytes.
const LONGEST_PATTERN: usize = 1024;

/// What a compiled pattern may take, and what it may take while it is used, in bytes.
const COMPILED: usize = 1 << 20;

/// What to look for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DetectorConfig {
    /// The built-in ones that are on.
    pub on: EntitySet,
    /// What stands in place of values, where it is not a placeholder.
    pub styles: Vec<(Entity, Style)>,
    /// Patterns of one's own.
    pub patterns: Vec<CustomPattern>,
    /// Lists of terms of one's own.
    pub terms: Vec<TermList>,
}

/// A pattern of one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomPattern {
    /// How the record and placeholders call it: 1 to 40 of `a-z`, `0-9` and `_`.
    pub name: String,
    /// A regular expression in the syntax of the crate `regex`: linear in time, so without look-around and back-references.
    pub pattern: String,
    /// Words one of which has to stand near a match, if there are any.
    pub words: Vec<String>,
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DetectorError {
    /// Too many patterns.
    #[error("at most {PATTERNS} custom patterns")]
    TooMany,
    /// Too many terms, or lists of them.
    #[error("at most {LISTS} lists, and 200000 terms in all of them")]
    TooManyTerms,
    /// A term that cannot be one.
    #[error("`{name}`: `{term}`: a term has 2 to 128 bytes, neither space around it nor control characters")]
    Term {
        /// The list's name.
        name: String,
        /// Its beginning.
        term: String,
    },
    /// A name that cannot be one.
    #[error("`{0}`: a name is 1 to 40 of a-z, 0-9 and `_`, and no detector has it")]
    Name(String),
    /// A pattern that is none, is too long, or takes too much to match.
    #[error("`{name}`: {reason}")]
    Pattern {
        /// The pattern's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A style that would leave most of a value, or has no meaning for it.
    #[error("`{0}` has too little to keep four characters of it")]
    Style(Entity),
}

impl DetectorConfig {
    pub(super) fn compile(&self) -> Result<Vec<Pattern>, DetectorError> {
        if self.patterns.len() > PATTERNS {
            return Err(DetectorError::TooMany);
        }
        let mut patterns: Vec<Pattern> = Vec::new();
        for custom in &self.patterns {
            let pattern = Pattern::new(custom)?;
            if patterns.iter().any(|other| other.name == pattern.name) {
                return Err(DetectorError::Name(pattern.name));
            }
            patterns.push(pattern);
        }
        Ok(patterns)
    }

    /// The terms of all lists, whose names are no others' either.
    pub(super) fn compiled_terms(&self) -> Result<Terms, DetectorError> {
        for (at, list) in self.terms.iter().enumerate() {
            let same = |other: &TermList| other.name == list.name;
            let taken = self.patterns.iter().any(|pattern| pattern.name == list.name);
            if !is_name(&list.name) || taken || self.terms.get(..at).unwrap_or_default().iter().any(same) {
                return Err(DetectorError::Name(list.name.chars().take(60).collect()));
            }
        }
        Terms::new(&self.terms, &self.patterns)
    }

    pub(super) fn checked_styles(&self) -> Result<BTreeMap<Entity, Style>, DetectorError> {
        let fits = |entity| {
            matches!(entity, Entity::Ssn | Entity::Itin | Entity::CreditCard | Entity::Iban | Entity::BankAccount | Entity::Phone)
        };
        match self.styles.iter().find(|(entity, style)| *style == Style::LastFour && !fits(*entity)) {
            Some((entity, _)) => Err(DetectorError::Style(*entity)),
            None => Ok(self.styles.iter().copied().collect()),
        }
    }
}

/// Whether something may be called so.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=40).contains(&name.len()) && name.bytes().all(plain) && name.parse::<Entity>().is_err()
}

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) name: String,
    regex: Regex,
    pub(super) words: Vec<String>,
    /// The same pattern, as that it can be told whether the end of a text may be the beginning of a match.
    pub(super) automaton: Automaton,
}

impl Pattern {
    fn new(custom: &CustomPattern) -> Result<Self, DetectorError> {
        let name = &custom.name;
        if !is_name(name) {
            return Err(DetectorError::Name(name.chars().take(60).collect()));
        }
        let wrong = |reason: String| DetectorError::Pattern { name: name.clone(), reason };
        if custom.pattern.len() > LONGEST_PATTERN {
            return Err(wrong(format!("longer than {LONGEST_PATTERN} bytes")));
        }
        let mut builder = RegexBuilder::new(&custom.pattern);
        let regex = builder.size_limit(COMPILED).dfa_size_limit(COMPILED).build().map_err(|error| wrong(one_line(&error)))?;
        let placeholder = format!("[{name}]");
        if regex.is_match(b"") || regex.is_match(placeholder.as_bytes()) {
            return Err(wrong("matches nothing at all, or its own placeholder".to_owned()));
        }
        let automaton = Automaton::new(&custom.pattern, COMPILED).ok_or_else(|| wrong("takes too much memory".to_owned()))?;
        let words = custom.words.iter().map(|word| word.to_ascii_lowercase()).collect();
        Ok(Self { name: name.clone(), regex, words, automaton })
    }

    /// Whether the name of a column or label has one of its words.
    pub(super) fn is_about(&self, name: &str) -> bool {
        context::has_word(name.as_bytes(), &(name.len()..name.len()), &self.words)
    }

    /// Calls `each` with what the pattern matches, in a text that is `named` or names it itself.
    pub(super) fn matches(&self, text: &[u8], named: bool, mut each: impl FnMut(Range<usize>)) {
        for found in self.regex.find_iter(text).filter(|found| !found.is_empty()) {
            let span = boundaries(text, found.range());
            if self.counts(text, &span, named) {
                each(span);
            }
        }
    }

    /// The first match from a place on: as such, and as a span.
    pub(super) fn next(&self, text: &[u8], from: usize) -> Option<(Range<usize>, Range<usize>)> {
        let found = self.regex.find_at(text, from.min(text.len())).filter(|found| found.start() >= from)?.range();
        Some((found.clone(), boundaries(text, found)))
    }

    /// Whether a match is what is meant, by the words around it.
    pub(super) fn counts(&self, text: &[u8], span: &Range<usize>, named: bool) -> bool {
        named || self.words.is_empty() || context::has_word(text, span, &self.words)
    }
}

/// A pattern may match a part of a character; all of it is meant.
fn boundaries(text: &[u8], span: Range<usize>) -> Range<usize> {
    let inner = |place: usize| text.get(place).is_some_and(|byte| byte & 0xC0 == 0x80);
    let mut span = span;
    while span.start > 0 && inner(span.start) {
        span.start -= 1;
    }
    while inner(span.end) {
        span.end += 1;
    }
    span
}

fn one_line(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "takes too much memory".to_owned(),
        error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    }
}
