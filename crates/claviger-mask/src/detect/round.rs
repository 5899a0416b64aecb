//! One round of masking of a text that comes in parts: what is found in it is replaced, and leaves as soon as nothing that follows can
//! change it.
//!
//! Everything that looks for something says from where on it is not certain yet; the earliest of those places is as far as the text
//! leaves, or else where the finding begins that reaches across it. Some of what has left stays as what stands before the rest.

use std::cell::Cell;
use std::ops::Range;

use super::context::REACH_AFTER;
use super::encoded::Runs;
use super::fold::Folding;
use super::pending::Pending;
use super::reach;
use super::replace::{Strings, Style};
use super::scan::{self, Progress, Scan};
use super::secrets::private_key;
use super::text::Text;
use super::withheld::Withheld;
use super::{Context, Counts, Detectors, Entity, Found, WITHHELD};

/// How much of what has left is kept, in bytes: words say something of what follows from less than that.
const CONTEXT: usize = 1024;

/// If so much has left and is kept, it is full of characters that take no room.
const FLOOD: usize = 4 * (CONTEXT + ENOUGH);

/// What stands for a private key, whatever is in it.
const PRIVATE_KEY: &str = "[private_key]";

/// So much is taken off at once.
const ENOUGH: usize = 512;

/// A round, and what waits in it.
#[derive(Default)]
pub(super) struct Round {
    /// Which it is.
    number: usize,
    text: String,
    /// What is before this has left.
    left: usize,
    folded: Folding,
    /// Of the folded text.
    progress: Progress,
    found: Vec<Found>,
    letters: Pass,
    urls: Pass,
    terms: Pass,
    /// Of the text itself, for each pattern.
    patterns: Vec<Pending>,
    runs: Runs,
    encoded: Vec<Found>,
    strings: Strings,
    /// What is being withheld.
    withheld: Option<Withheld>,
}

/// A further pass over the folded text: up to where it came, and what it found.
#[derive(Debug, Default)]
struct Pass {
    at: usize,
    found: Vec<Found>,
}

/// What all rounds have in common.
#[derive(Clone, Copy)]
pub(super) struct With<'a> {
    pub(super) detectors: &'a Detectors,
    pub(super) context: Context,
}

impl Round {
    pub(super) fn new(number: usize, with: With<'_>) -> Self {
        let patterns = with.detectors.patterns.iter().map(|_| Pending::default()).collect();
        Self { number, patterns, ..Self::default() }
    }

    /// How many bytes wait.
    pub(super) fn held(&self) -> usize {
        self.text.len() - self.left
    }

    /// Takes a part, and gives what may leave.
    pub(super) fn push(&mut self, with: With<'_>, part: &str, counts: &mut Counts, out: &mut String) {
        let Some(part) = self.behind_withheld(with, part, out) else { return };
        self.folded.push(part, self.text.len());
        self.text.push_str(part);
        self.advance(with, false);
        self.give(with, self.limit(with), counts, out);
        self.trim();
    }

    /// The text has ended: gives what is left of it.
    pub(super) fn finish(&mut self, with: With<'_>, counts: &mut Counts, out: &mut String) {
        self.advance(with, true);
        self.give(with, self.text.len(), counts, out);
    }

    /// Too much waits: has what can be told without it leave, or be withheld, and all of it that comes. Says whether anything is withheld.
    pub(super) fn withhold(&mut self, with: With<'_>, counts: &mut Counts, out: &mut String) -> bool {
        if self.folded.hides() {
            self.without_hidden();
            return false;
        }
        let text = Text::new(self.folded.bytes());
        let behind = text.run_end(self.progress.at, |byte| byte == b'-');
        let key = private_key(text, behind).map(|(start, _)| self.folded.original(start).start);
        let key = key.filter(|_| with.detectors.config.on.contains(Entity::PrivateKey));
        let key = key.filter(|key| *key >= self.left && self.patterns.iter().all(|pending| pending.pending() >= *key));
        if let Some(key) = key {
            self.give(with, key, counts, out);
            counts.add(Entity::PrivateKey);
        }
        let held = self.text.get(self.left..).unwrap_or_default();
        let withheld = Withheld::new(with.detectors, held, key.is_some(), self.runs.pending().is_some());
        let name = key.map_or(WITHHELD, |_| PRIVATE_KEY);
        let quote = if with.context.json && !self.strings.ends_inside(b"") { "\"" } else { "" };
        self.strings.ends_inside(held.as_bytes());
        out.extend([quote, name, quote]);
        let patterns = self.patterns.iter().map(|_| Pending::default()).collect();
        let strings = std::mem::take(&mut self.strings);
        *self = Self { number: self.number, patterns, strings, withheld: Some(withheld), ..Self::default() };
        true
    }

    /// Leaves out characters that take no room: what they hide is folded already.
    fn without_hidden(&mut self) {
        self.left -= self.folded.bare(&mut self.text, self.left);
        self.patterns.iter_mut().for_each(|pending| pending.again(self.left));
        self.runs.again(self.left);
        self.encoded.clear();
    }

    /// What is left of a part behind what is withheld.
    fn behind_withheld<'p>(&mut self, with: With<'_>, part: &'p str, out: &mut String) -> Option<&'p str> {
        let Some(withheld) = &mut self.withheld else { return Some(part) };
        let end = withheld.end(with.detectors, part);
        let (gone, rest) = part.split_at(end.unwrap_or(part.len()));
        self.strings.ends_inside(gone.as_bytes());
        end?;
        if withheld.gap() {
            out.push(' ');
        }
        let before = withheld.last(CONTEXT).to_owned();
        self.withheld = None;
        self.begin_behind(before);
        Some(rest)
    }

    /// Begins behind a text that has been dealt with.
    fn begin_behind(&mut self, text: String) {
        self.folded.push(&text, 0);
        let folded = self.folded.bytes().len();
        self.progress = Progress::behind(folded);
        for pass in [&mut self.letters, &mut self.urls, &mut self.terms] {
            pass.at = folded;
        }
        self.patterns.iter_mut().for_each(|pending| pending.again(text.len()));
        self.runs.again(text.len());
        self.left = text.len();
        self.text = text;
    }

    /// Finds whatever is certain.
    fn advance(&mut self, with: With<'_>, ended: bool) {
        let Detectors { config, patterns, .. } = with.detectors;
        let edge = Cell::new(false);
        let bytes = self.folded.bytes();
        let text = if ended { Text::new(bytes) } else { Text::part(bytes, &edge) };
        let topics = with.context.topics;
        self.progress = Scan::of(text, topics, config.on, &mut self.found).go_on(self.progress);
        if topics.meets(super::Topics::HARDWARE) {
            let mut scan = Scan::of(text, topics, config.on, &mut self.letters.found).apart();
            self.letters.at = scan.hardware_of_letters_from(self.letters.at);
        }
        if config.on.contains(Entity::Url) {
            let mut scan = Scan::of(text, topics, config.on, &mut self.urls.found).apart();
            self.urls.at = scan.urls_from(self.urls.at);
        }
        let terms = &mut self.terms;
        terms.at = with.detectors.terms.each(text, terms.at, |found| terms.found.push(found));
        let text = self.text.as_bytes();
        for (pattern, pending) in patterns.iter().zip(&mut self.patterns) {
            pending.go_on(pattern, text, ended);
        }
        let encoded = &mut self.encoded;
        self.runs.go_on(text, ended, |span, plain| {
            if let Some((entity, score)) = with.detectors.inside(plain, with.context) {
                encoded.push(Found { entity, span, score });
            }
        });
    }

    /// What is before this is certain.
    fn limit(&self, with: With<'_>) -> usize {
        let Detectors { config, styles, .. } = with.detectors;
        let text = Text::new(self.folded.bytes());
        let stars = styles.values().any(|style| *style != Style::Placeholder);
        let earliest = |place| reach::earliest(text, place, config.on, self.number, stars);
        let mut folded = earliest(text.len()).min(self.terms.at);
        if self.progress.at < text.len() {
            folded = folded.min(earliest(self.progress.at));
        }
        if with.context.topics.meets(super::Topics::HARDWARE) {
            folded = folded.min(self.letters.at);
        }
        if config.on.contains(Entity::Url) {
            folded = folded.min(earliest(self.urls.at));
        }
        let mut limit = self.text.len().min(self.folded.original(folded).start);
        for (pending, pattern) in self.patterns.iter().zip(&with.detectors.patterns) {
            limit = limit.min(pending.pending());
            if !pattern.words.is_empty() {
                let open = |span: &&Range<usize>| span.end + REACH_AFTER > self.text.len();
                limit = pending.matches.iter().find(open).map_or(limit, |span| limit.min(span.start));
            }
        }
        limit = self.runs.pending().map_or(limit, |start| limit.min(start));
        self.before_findings(limit).max(self.left)
    }

    /// The same place, or where what is found begins that reaches across it.
    fn before_findings(&self, limit: usize) -> usize {
        let limit = self.text.floor_char_boundary(limit);
        if self.has_nothing() {
            return limit;
        }
        let folded = [&self.found, &self.letters.found, &self.urls.found, &self.terms.found]
            .into_iter()
            .flatten()
            .map(|found| self.original(found));
        let matches = self.patterns.iter().flat_map(|pending| pending.matches.iter().cloned());
        let spans: Vec<_> = folded.chain(matches).chain(self.encoded.iter().map(|found| found.span.clone())).collect();
        let mut limit = limit;
        while let Some(span) = spans.iter().find(|span| span.start < limit && limit < span.end) {
            limit = self.text.floor_char_boundary(span.start);
        }
        limit
    }

    /// Where what is found in the folded text is in the text itself.
    fn original(&self, found: &Found) -> Range<usize> {
        let start = self.folded.original(found.span.start).start;
        let end = self.folded.original(found.span.end.saturating_sub(1)).end;
        self.text.floor_char_boundary(start)..self.text.ceil_char_boundary(end)
    }

    /// Gives what is before the limit, with what is found replaced.
    fn give(&mut self, with: With<'_>, limit: usize, counts: &mut Counts, out: &mut String) {
        let Some(text) = self.text.get(self.left..limit).filter(|text| !text.is_empty()) else { return };
        let left = self.left;
        self.left = limit;
        if self.has_nothing() {
            self.strings.ends_inside(text.as_bytes());
            return out.push_str(text);
        }
        let mut found = self.findings(with, limit);
        for found in &mut found {
            counts.add(found.entity);
            found.span = found.span.start.saturating_sub(left)..found.span.end.saturating_sub(left);
        }
        let text = self.text.get(left..limit).unwrap_or_default();
        let masked = with.detectors.replaced(text.as_bytes(), with.context, &found, &mut self.strings);
        out.push_str(&String::from_utf8_lossy(&masked));
    }

    /// Whether nothing has been found that is still here.
    fn has_nothing(&self) -> bool {
        let matches = self.patterns.iter().all(|pending| pending.matches.is_empty());
        matches
            && self.found.is_empty()
            && self.letters.found.is_empty()
            && self.urls.found.is_empty()
            && self.terms.found.is_empty()
            && self.encoded.is_empty()
    }

    /// Takes what is found before the limit, as [`Detectors::scan`] puts it together.
    fn findings(&mut self, with: With<'_>, limit: usize) -> Vec<Found> {
        let folded = self.folded.folded(limit);
        let mut found = taken(&mut self.found, folded);
        for pass in [&mut self.letters, &mut self.urls, &mut self.terms] {
            taken(&mut pass.found, folded).into_iter().for_each(|new| scan::add(&mut found, 0, new));
        }
        for found in &mut found {
            found.span = self.original(found);
        }
        for (index, (pattern, pending)) in (0_u8..).zip(with.detectors.patterns.iter().zip(&mut self.patterns)) {
            let named = with.context.patterns >> index & 1 == 1;
            let behind = pending.matches.partition_point(|span| span.start < limit);
            for span in pending.matches.drain(..behind) {
                if pattern.counts(self.text.as_bytes(), &span, named) {
                    add_new(&mut found, Found { entity: Entity::Custom(index), span, score: 80 });
                }
            }
        }
        found.sort_by_key(|found| found.span.start);
        for new in taken(&mut self.encoded, limit) {
            add_new(&mut found, new);
        }
        found.sort_by_key(|found| found.span.start);
        found
    }

    /// Forgets what is out of reach.
    fn trim(&mut self) {
        if self.left > FLOOD && self.folded.hides() {
            self.without_hidden();
        }
        let left = self.folded.folded(self.left);
        if left < CONTEXT + ENOUGH {
            return;
        }
        let inside = |place: usize| self.folded.bytes().get(place).is_some_and(|byte| byte & 0xC0 == 0x80);
        let folded = (0..=left - CONTEXT).rev().find(|place| !inside(*place)).unwrap_or(0);
        let original = self.text.floor_char_boundary(self.folded.shift(folded));
        self.text.drain(..original);
        self.left -= original;
        self.progress = self.progress.without(folded);
        for (found, bytes) in [
            (&mut self.found, folded),
            (&mut self.letters.found, folded),
            (&mut self.urls.found, folded),
            (&mut self.terms.found, folded),
            (&mut self.encoded, original),
        ] {
            found.iter_mut().for_each(|found| found.span = found.span.start - bytes..found.span.end - bytes);
        }
        self.letters.at = self.letters.at.saturating_sub(folded);
        self.urls.at = self.urls.at.saturating_sub(folded);
        self.terms.at = self.terms.at.saturating_sub(folded);
        self.patterns.iter_mut().for_each(|pending| pending.shift(original));
        self.runs.shift(original);
    }
}

/// Takes out what begins before a place.
fn taken(found: &mut Vec<Found>, before: usize) -> Vec<Found> {
    let (taken, rest) = found.drain(..).partition(|found| found.span.start < before);
    *found = rest;
    taken
}

/// Adds a finding unless something else has been found there.
fn add_new(found: &mut Vec<Found>, new: Found) {
    if !found.iter().any(|found| found.span.start < new.span.end && new.span.start < found.span.end) {
        found.push(new);
    }
}

#[cfg(test)]
impl Round {
    pub(super) fn kept(&self) -> usize {
        self.text.capacity() + self.folded.bytes().len()
    }
}
