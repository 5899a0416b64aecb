//! Regulated values in texts, found by their form, their check digits and the words around them.
//!
//! ```text
//! text ─ blocks ─▶ anchors ─ scan ─▶ numbers, words, `@`, `:`, `--` ─ checks, context ─▶ findings ─ replace ─▶ text
//! ```
//!
//! One pass. [`blocks`] looks at 64 bytes at a time and passes over most of a text. At what is left, [`scan`] reads what stands there as
//! a number, a word or an address, and asks those that know such: each has its own file. What has check digits is judged by them; what
//! has none counts only where [`context`] says what it is. Characters that only look different are [`fold`]ed first, if there are any.
//!
//! Precision matters as much as recall: what is found is replaced in results that somebody relies on. So a number that is part of a
//! longer identifier is none, and nine digits are nothing as long as nobody says what they are.

mod banking;
mod blocks;
mod cards;
mod config;
mod context;
mod crypto;
mod dates;
mod email;
mod encoded;
mod entity;
mod fold;
mod health;
mod identity;
mod licenses;
mod network;
mod numbers;
mod parts;
mod pending;
mod phones;
mod reach;
mod replace;
mod round;
mod scan;
mod secrets;
mod survey;
mod swapping;
mod terms;
mod text;
mod url;
mod withheld;
mod words;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use tests::PIECES;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::iter;
use std::ops::Range;

pub use config::{CustomPattern, DetectorConfig, DetectorError};
pub use entity::{Entity, EntitySet, UnknownEntity};
pub use parts::{HELD, LEAST, Parts};
pub use replace::Style;
pub use survey::{Confidence, Ground, Proposal, Reading, Survey};
pub use terms::TermList;

use config::Pattern;
use context::Topics;
use replace::Strings;
use scan::Scan;
use terms::Terms;
use text::Text;

/// A text is masked as often as masking brings something to light that its neighbours hid.
const ROUNDS: usize = 8;

/// What stands for a text that could not be cleared otherwise.
const WITHHELD: &str = "[withheld]";

/// A regulated value in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub entity: Entity,
    /// Where it is, in bytes; at boundaries of characters if the text is UTF-8.
    pub span: Range<usize>,
    /// How sure that is, from 0 to 100: check digits and unmistakable forms from 80, what only words say from 60.
    pub score: u8,
}

/// So sure must be what is found in a text inside a text: of what could be read in many ways, one seems to say something by chance.
const CERTAIN: u8 = 80;

/// What is known of where a text comes from. Cheap to keep for each column of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    topics: Topics,
    /// Custom patterns of whose words the column's name has one, by their index.
    patterns: u32,
    json: bool,
}

impl Context {
    /// The text is JSON, and has to stay so: what replaces a number is a string.
    #[must_use]
    pub fn json(self) -> Self {
        Self { json: true, ..self }
    }
}

/// How many values were found, by what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<Entity, u64>);

impl Counts {
    /// What was found, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (Entity, u64)> {
        self.0.iter().map(|(entity, count)| (*entity, *count))
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one.
    pub fn add(&mut self, entity: Entity) {
        *self.0.entry(entity).or_default() += 1;
    }
}

/// Detectors, ready for use. To be shared: nothing in it changes.
#[derive(Debug)]
pub struct Detectors {
    config: DetectorConfig,
    patterns: Vec<Pattern>,
    terms: Terms,
    styles: BTreeMap<Entity, Style>,
}

impl Detectors {
    /// Compiles a configuration.
    pub fn new(config: &DetectorConfig) -> Result<Self, DetectorError> {
        Ok(Self {
            patterns: config.compile()?,
            terms: config.compiled_terms()?,
            styles: config.checked_styles()?,
            config: config.clone(),
        })
    }

    /// What an entity is called, also one of a custom pattern or of a list of terms.
    pub fn name(&self, entity: Entity) -> &str {
        match entity {
            Entity::Custom(index) => self.own_names().nth(usize::from(index)).unwrap_or(entity.name()),
            _ => entity.name(),
        }
    }

    fn own_names(&self) -> impl Iterator<Item = &str> {
        let lists = self.config.terms.iter().map(|list| &*list.name);
        self.patterns.iter().map(|pattern| &*pattern.name).chain(lists)
    }

    /// What everything that may be found is called.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let on = Entity::ALL.iter().filter(|entity| self.config.on.contains(**entity)).map(|entity| entity.name());
        on.chain(self.own_names())
    }

    /// What is known of the texts of a column, by its name in its table and the labels that it has. Not by what a query calls it: that
    /// is the client's choice.
    pub fn column<'a>(&self, name: &'a str, labels: impl IntoIterator<Item = &'a str>) -> Context {
        let mut context = Context::default();
        for name in iter::once(name).chain(labels) {
            context.topics |= Topics::of_name(name);
            for (index, pattern) in self.patterns.iter().enumerate() {
                context.patterns |= u32::from(pattern.is_about(name)) << index;
            }
        }
        context
    }

    /// Adds what is in a text, in the order of places. Findings do not overlap.
    pub fn scan(&self, text: &[u8], context: Context, found: &mut Vec<Found>) {
        let others = found.len();
        if self.plainly(text, context, found)
            && let Some(folded) = fold::fold(text)
        {
            found.truncate(others);
            self.plainly(&folded.bytes, context, found);
            for found in found.iter_mut().skip(others) {
                let (start, end) = folded.original(found.span.start, found.span.end);
                found.span = start..end;
            }
        }
        if !self.patterns.is_empty() {
            self.custom(text, context, others, found);
        }
        self.encoded(text, context, others, found);
    }

    /// Adds what is in a text that is not folded; says whether there was anything beyond ASCII.
    fn plainly(&self, text: &[u8], context: Context, found: &mut Vec<Found>) -> bool {
        let others = found.len();
        let foreign = Scan::new(text, context.topics, self.config.on, found).run();
        self.terms.each(Text::new(text), 0, |new| scan::add(found, others, new));
        foreign
    }

    /// What is surely in a text inside a text.
    fn inside(&self, plain: &[u8], context: Context) -> Option<(Entity, u8)> {
        let mut found = Vec::new();
        self.plainly(plain, context, &mut found);
        found.iter().find(|found| found.score >= CERTAIN).map(|found| (found.entity, found.score))
    }

    /// Adds what is in texts inside the text, unless something else has been found there.
    fn encoded(&self, text: &[u8], context: Context, others: usize, found: &mut Vec<Found>) {
        encoded::each(text, |span, plain| {
            let taken = |found: &Found| found.span.start < span.end && span.start < found.span.end;
            if let Some((entity, score)) = self.inside(plain, context)
                && !found.get(others..).unwrap_or_default().iter().any(taken)
            {
                found.push(Found { entity, span, score });
            }
        });
        found.get_mut(others..).unwrap_or_default().sort_by_key(|found| found.span.start);
    }

    /// The text without what is in it: the same if that is nothing. Counts what is replaced.
    pub fn mask<'a>(&self, text: &'a [u8], context: Context, counts: &mut Counts) -> Cow<'a, [u8]> {
        let mut found = Vec::new();
        self.scan(text, context, &mut found);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut masked = text.to_vec();
        for _ in 0..ROUNDS {
            found.iter().for_each(|found| counts.add(found.entity));
            masked = self.replaced(&masked, context, &found, &mut Strings::default());
            found.clear();
            self.scan(&masked, context, &mut found);
            if found.is_empty() {
                return Cow::Owned(masked);
            }
        }
        Cow::Owned(WITHHELD.into())
    }

    /// Puts placeholders where findings are.
    fn replaced(&self, text: &[u8], context: Context, found: &[Found], strings: &mut Strings) -> Vec<u8> {
        let mut masked = Vec::with_capacity(text.len());
        let mut place = 0;
        for Found { entity, span, .. } in found {
            let before = text.get(place..span.start).unwrap_or_default();
            masked.extend_from_slice(before);
            let quote = context.json && !strings.ends_inside(before);
            let style = self.styles.get(entity).copied().unwrap_or_default();
            let value = text.get(span.clone()).unwrap_or_default();
            replace::replace(value, self.name(*entity), style, quote, &mut masked);
            strings.ends_inside(value);
            place = span.end;
        }
        let rest = text.get(place..).unwrap_or_default();
        masked.extend_from_slice(rest);
        strings.ends_inside(rest);
        masked
    }

    /// Adds what custom patterns match, unless something else has been found there.
    fn custom(&self, text: &[u8], context: Context, others: usize, found: &mut Vec<Found>) {
        for (index, pattern) in (0_u8..).zip(&self.patterns) {
            pattern.matches(text, context.patterns >> index & 1 == 1, |span| {
                let taken = |found: &Found| found.span.start < span.end && span.start < found.span.end;
                if !found.get(others..).unwrap_or_default().iter().any(taken) {
                    found.push(Found { entity: Entity::Custom(index), span, score: 80 });
                }
            });
        }
        found.get_mut(others..).unwrap_or_default().sort_by_key(|found| found.span.start);
    }
}

/// All that is on by default.
impl Default for Detectors {
    fn default() -> Self {
        Self { config: DetectorConfig::default(), patterns: Vec::new(), terms: Terms::default(), styles: BTreeMap::new() }
    }
}

/// What is made of the same configuration finds the same.
impl PartialEq for Detectors {
    fn eq(&self, other: &Self) -> bool {
        self.config == other.config
    }
}

impl Eq for Detectors {}
