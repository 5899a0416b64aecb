//! Tokens in place of what is found, so that it can be put back.

use std::ops::Range;

use super::replace::Strings;
use super::{Context, Counts, Detectors, Entity, ROUNDS, WITHHELD};
use crate::swap::{self, Swaps};

impl Detectors {
    /// The text with tokens in place of what is in it, which `swaps` remembers; `None` if that is nothing. What is a token already stays
    /// one. Counts what is replaced. In a text that is JSON, tokens stand for what its strings mean.
    pub fn swap(&self, text: &str, context: Context, swaps: &mut Swaps, counts: &mut Counts) -> Option<String> {
        let mut swapped: Option<String> = None;
        for _ in 0..ROUNDS {
            let text = swapped.as_deref().unwrap_or(text);
            let found = self.beside_tokens(text, context, swaps);
            if found.is_empty() {
                return swapped;
            }
            found.iter().for_each(|(entity, _)| counts.add(*entity));
            swapped = Some(self.with_tokens(text, context, &found, swaps));
        }
        let text = swapped?;
        Some(if self.beside_tokens(&text, context, swaps).is_empty() { text } else { WITHHELD.to_owned() })
    }

    /// What is found but is not a part of a token; with all of the tokens in it.
    fn beside_tokens(&self, text: &str, context: Context, swaps: &Swaps) -> Vec<(Entity, Range<usize>)> {
        let mut found = Vec::new();
        self.scan(text.as_bytes(), context, &mut found);
        if found.is_empty() {
            return Vec::new();
        }
        let tokens = swaps.tokens_in(text);
        let mut beside: Vec<(Entity, Range<usize>)> = Vec::new();
        for found in found {
            let mut span = text.floor_char_boundary(found.span.start)..text.ceil_char_boundary(found.span.end);
            if tokens.iter().any(|token| token.start <= span.start && span.end <= token.end) {
                continue;
            }
            for token in &tokens {
                if token.start < span.end && span.start < token.end {
                    span = span.start.min(token.start)..span.end.max(token.end);
                }
            }
            match beside.last_mut().filter(|(_, last)| span.start < last.end) {
                Some((_, last)) => last.end = last.end.max(span.end),
                None => beside.push((found.entity, span)),
            }
        }
        beside
    }

    fn with_tokens(&self, text: &str, context: Context, found: &[(Entity, Range<usize>)], swaps: &mut Swaps) -> String {
        let mut swapped = String::with_capacity(text.len());
        let mut strings = Strings::default();
        let mut place = 0;
        for (entity, span) in found {
            let before = text.get(place..span.start).unwrap_or_default();
            let value = text.get(span.clone()).unwrap_or_default();
            swapped.push_str(before);
            let quote = if context.json && !strings.ends_inside(before.as_bytes()) { "\"" } else { "" };
            strings.ends_inside(value.as_bytes());
            let name = self.name(*entity);
            let token = if context.json { swaps.swap_json(name, value) } else { swaps.swap(name, value) };
            swapped.extend([quote, &token.unwrap_or_else(|| swap::bracketed(name)), quote]);
            place = span.end;
        }
        swapped.push_str(text.get(place..).unwrap_or_default());
        swapped
    }
}
