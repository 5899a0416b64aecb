//! One pass over a text: from anchor to anchor, and what stands at each.

use std::ops::Range;

use super::blocks::{BLOCK, Blocks, LONG_WORD};
use super::context::{Heard, Topics, Words};
use super::numbers::Cluster;
use super::text::{Text, is_word};
use super::{Entity, EntitySet, Found};

/// A text being looked over.
pub(super) struct Scan<'a, 'f> {
    pub(super) text: Text<'a>,
    pub(super) words: Words<'a>,
    pub(super) on: EntitySet,
    pub(super) found: &'f mut Vec<Found>,
    /// How many were found before this text.
    others: usize,
    /// Nothing before this is looked at again.
    pub(super) done: usize,
    /// Words before this are of a token that is known to be no secret.
    pub(super) token_end: usize,
    /// Whether findings that overlap are left as they are.
    apart: bool,
}

/// How far a text has been looked over that is not all there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// What begins before this has been looked at, and nothing that follows changes what it is.
    pub(super) at: usize,
    done: usize,
    token_end: usize,
    heard: Heard,
}

impl Progress {
    /// Of a text of which so many bytes have been dealt with.
    pub(super) fn behind(bytes: usize) -> Self {
        Self { at: bytes, done: bytes, ..Self::default() }
    }

    /// The same, of a text without its first bytes.
    pub(super) fn without(self, bytes: usize) -> Self {
        Self {
            at: self.at.saturating_sub(bytes),
            done: self.done.saturating_sub(bytes),
            token_end: self.token_end.saturating_sub(bytes),
            heard: self.heard.without(bytes),
        }
    }
}

impl<'a, 'f> Scan<'a, 'f> {
    pub(super) fn new(text: &'a [u8], column: Topics, on: EntitySet, found: &'f mut Vec<Found>) -> Self {
        Self::of(Text::new(text), column, on, found)
    }

    pub(super) fn of(text: Text<'a>, column: Topics, on: EntitySet, found: &'f mut Vec<Found>) -> Self {
        let others = found.len();
        Self { text, words: Words::new(text, column), on, others, found, done: 0, token_end: 0, apart: false }
    }

    /// Leaves findings that overlap as they are.
    pub(super) fn apart(self) -> Self {
        Self { apart: true, ..self }
    }

    /// Goes on with a text, as far as what is found does not depend on what follows. All that was found in it before is to be in `found`.
    pub(super) fn go_on(mut self, progress: Progress) -> Progress {
        (self.others, self.done, self.token_end, self.words.heard) = (0, progress.done, progress.token_end, progress.heard);
        let mut blocks = Blocks::behind(self.text.bytes().get(..progress.at).unwrap_or_default());
        let mut base = progress.at;
        while base < self.text.len() {
            let part = self.text.near(base, BLOCK);
            let mut block = [0; BLOCK];
            block.iter_mut().zip(part).for_each(|(place, byte)| *place = *byte);
            let mut places = blocks.anchors(&block, part.len()).places;
            while places != 0 {
                let place = base + places.trailing_zeros() as usize;
                places &= places - 1;
                if place >= self.done && !self.settles(place) {
                    return self.progress(place);
                }
            }
            base += part.len();
        }
        self.progress(base)
    }

    /// Looks at what stands here, unless it depends on what follows.
    fn settles(&mut self, place: usize) -> bool {
        let before = self.progress(place);
        let found = self.found.clone();
        self.text.close();
        let done = self.anchor(place);
        if self.text.is_open() {
            (self.done, self.token_end, self.words.heard) = (before.done, before.token_end, before.heard);
            *self.found = found;
            return false;
        }
        self.done = done;
        true
    }

    fn progress(&self, at: usize) -> Progress {
        Progress { at, done: self.done, token_end: self.token_end, heard: self.words.heard }
    }

    /// Finds everything; says whether there was anything beyond ASCII.
    pub(super) fn run(mut self) -> bool {
        let mut blocks = Blocks::default();
        let mut foreign = false;
        let (whole, rest) = self.text.bytes().as_chunks::<BLOCK>();
        for (i, block) in whole.iter().enumerate() {
            let anchors = blocks.anchors(block, BLOCK);
            foreign |= anchors.foreign;
            if anchors.places != 0 {
                self.look(i * BLOCK, anchors.places);
            }
        }
        if !rest.is_empty() {
            let mut block = [0; BLOCK];
            if let Some(start) = block.get_mut(..rest.len()) {
                start.copy_from_slice(rest);
            }
            let anchors = blocks.anchors(&block, rest.len());
            foreign |= anchors.foreign;
            self.look(whole.len() * BLOCK, anchors.places);
        }
        if self.words.column().meets(Topics::HARDWARE) {
            self.hardware_of_letters();
        }
        if self.on.contains(Entity::Url) {
            self.urls();
        }
        foreign
    }

    fn look(&mut self, base: usize, mut places: u64) {
        while places != 0 {
            let place = base + places.trailing_zeros() as usize;
            places &= places - 1;
            if place >= self.done {
                self.done = self.anchor(place);
            }
        }
    }

    /// Looks at what stands here; says up to where everything has been dealt with.
    fn anchor(&mut self, place: usize) -> usize {
        match self.text.at(place) {
            b'0'..=b'9' => self.digits(place),
            b'@' => self.at_sign(place),
            b':' => self.colon(place),
            b'-' => self.armour(place.saturating_sub(1)),
            _ => self.long_word(place),
        }
    }

    /// A long word begins here, or what is just long enough at the end of a block.
    fn long_word(&mut self, place: usize) -> usize {
        let start = self.text.run_start(place, place.saturating_sub(LONG_WORD), |byte| byte.is_ascii_alphabetic());
        let end = self.text.run_end(place, |byte| byte.is_ascii_alphabetic());
        if end - start < LONG_WORD { self.done } else { self.word(place) }
    }

    /// A row of digits begins here.
    fn digits(&mut self, place: usize) -> usize {
        let end = self.text.run_end(place, |byte| byte.is_ascii_digit());
        if let Some(end) = self.small_number(place, end) {
            return end;
        }
        let start = self.text.token_start(place, self.done, is_word);
        let glued = start < place || (self.text.at(end).is_ascii_alphabetic() && !Cluster::may_precede(self.text, end));
        if glued {
            return self.word(place);
        }
        // The digits of `%20` and `\u00a0` are no part of what follows.
        let place = self.text.token_start(end, self.done.max(place), |byte| byte.is_ascii_digit());
        if place == end {
            return end;
        }
        if matches!((end - place, self.text.at(end)), (2, b'-') | (4, b'.'))
            && let Some(end) = self.hardware(place, end)
        {
            return end;
        }
        if matches!(self.text.before(place), b'-' | b'_')
            && let Some(end) = self.secret(place, end)
        {
            return end;
        }
        self.numbers(place)
    }

    /// Most numbers are short and stand alone, or are minutes and seconds.
    fn small_number(&self, place: usize, end: usize) -> Option<usize> {
        let next = self.text.at(end);
        let minutes = end - place == 2 && self.text.before(place) == b':' && self.text.at(place.wrapping_sub(2)).is_ascii_digit();
        if minutes && next == b'.' && self.text.at(end + 1).is_ascii_digit() {
            return Some(self.text.run_end(end + 1, |byte| byte.is_ascii_digit()));
        }
        let ended = match next {
            // `17, 1990`
            b',' => self.text.at(end + 1) != b' ',
            _ => matches!(next, 0 | b'\t' | b'\n' | b'\r' | b'"' | b'\'' | b']' | b'}' | b';' | b'+' | b'|' | b'<' | b'='),
        };
        let alone = ended || (minutes && matches!(next, b':' | b' '));
        (alone && end - place < 6 && !self.text.before(place).is_ascii_alphanumeric()).then_some(end)
    }

    /// Notes a finding. Of those that overlap the longest stays, and covers all of them.
    pub(super) fn report(&mut self, entity: Entity, span: Range<usize>, score: u8) {
        if !self.on.contains(entity) || span.is_empty() {
            return;
        }
        let new = Found { entity, span, score };
        if self.apart {
            self.found.push(new);
        } else {
            add(self.found, self.others, new);
        }
    }
}

/// Adds a finding to those behind the first `others`, which are in the order of places and do not overlap.
pub(super) fn add(all: &mut Vec<Found>, others: usize, mut new: Found) {
    if all.len() == others || all.last().is_some_and(|last| last.span.end <= new.span.start) {
        all.push(new);
        return;
    }
    let mine = all.get(others..).unwrap_or_default();
    let first = others + mine.iter().rposition(|found| found.span.end <= new.span.start).map_or(0, |last| last + 1);
    let mut behind = first;
    while let Some(found) = all.get(behind).filter(|found| found.span.start < new.span.end) {
        if found.span.len() >= new.span.len() {
            (new.entity, new.score) = (found.entity, found.score);
        }
        new.span = new.span.start.min(found.span.start)..new.span.end.max(found.span.end);
        behind += 1;
    }
    all.splice(first..behind, [new]);
}
