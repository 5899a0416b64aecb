//! Texts that come in parts, each in a channel of its own.

use std::collections::BTreeMap;

use super::turn::Turn;
use crate::json::{Value, decode, quote};
use crate::{NotRead, Parts, Place};

/// How many texts may come side by side.
const MOST: usize = 1024;

/// The event that carries what is left of a text: what stands before and after it.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    /// The event's name, if it has one.
    pub(super) name: Option<String>,
    pub(super) before: String,
    pub(super) after: String,
}

impl Shape {
    /// Sends a text.
    pub(super) fn send(&self, text: &str, turn: &mut Turn<'_>) {
        let mut data = String::with_capacity(self.before.len() + text.len() + self.after.len() + 2);
        data.push_str(&self.before);
        quote(text, &mut data);
        data.push_str(&self.after);
        turn.more(self.name.as_deref(), &data);
    }
}

/// A text that comes in parts.
pub(super) struct Channel {
    parts: Box<dyn Parts>,
    /// The first half of a surrogate pair whose other half is in the next part.
    half: Option<u16>,
    shape: Shape,
    /// What has left, where it will be said again.
    said: Option<String>,
    ended: bool,
}

impl Channel {
    /// Takes a part, as it is written. Gives what leaves in its place if that is something else.
    pub(super) fn push(&mut self, part: Value<'_>, turn: &mut Turn<'_>) -> (String, bool) {
        let text = decode(part.inner(), &mut self.half);
        turn.hear(text.len());
        let mut out = String::new();
        self.parts.push(&text, &mut out);
        self.keep(&out);
        // Half a pair in it is not what it says.
        let same = out == *text && self.half.is_none();
        (out, same)
    }

    /// There is no more. Gives what is left.
    pub(super) fn end(&mut self) -> String {
        let mut out = String::new();
        if self.ended {
            return out;
        }
        self.ended = true;
        if self.half.take().is_some() {
            self.parts.push("\u{fffd}", &mut out);
        }
        self.parts.finish(&mut out);
        self.keep(&out);
        out
    }

    /// The same, and sends it.
    pub(super) fn end_and_send(&mut self, turn: &mut Turn<'_>) {
        let left = self.end();
        if !left.is_empty() {
            self.shape.send(&left, turn);
        }
    }

    fn keep(&mut self, out: &str) {
        if let Some(said) = &mut self.said {
            said.push_str(out);
        }
    }

    /// All that has left.
    pub(super) fn said(&self) -> &str {
        self.said.as_deref().unwrap_or_default()
    }
}

/// The texts that have begun.
#[derive(Default)]
pub(super) struct Channels(BTreeMap<String, Channel>);

impl Channels {
    /// The channel of this name; the first time, what it is like is asked for: its path, and the event that carries what is left.
    pub(super) fn at(
        &mut self,
        key: &str,
        keeps: bool,
        turn: &mut Turn<'_>,
        first: impl FnOnce() -> (String, Shape),
    ) -> Result<&mut Channel, NotRead> {
        let fresh = !self.0.contains_key(key);
        if fresh {
            if self.0.len() == MOST {
                return Err(NotRead::TooLong);
            }
            let (path, shape) = first();
            let parts = turn.texts.parts(Place { path: &path, bare: false });
            let channel = Channel { parts, half: None, shape, said: keeps.then(String::new), ended: false };
            self.0.insert(key.to_owned(), channel);
        }
        self.0.get_mut(key).ok_or(NotRead::TooLong)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Channel> {
        self.0.get(key)
    }

    /// Ends those whose names begin so, in their order, and gives what is left of each, where something is.
    pub(super) fn left(&mut self, prefix: &str) -> Vec<(Shape, String)> {
        let channels = self.0.iter_mut().filter(|(key, _)| key.starts_with(prefix));
        let left = channels.map(|(_, channel)| (channel.end(), channel));
        left.filter(|(left, _)| !left.is_empty()).map(|(left, channel)| (channel.shape.clone(), left)).collect()
    }

    /// Ends those whose names begin so, in their order, sends what is left of each, and forgets them.
    pub(super) fn end(&mut self, prefix: &str, turn: &mut Turn<'_>) {
        let (ended, rest) = std::mem::take(&mut self.0).into_iter().partition(|(key, _)| key.starts_with(prefix));
        self.0 = rest;
        for (_, mut channel) in BTreeMap::into_iter(ended) {
            channel.end_and_send(turn);
        }
    }

    /// How much is remembered, in bytes.
    pub(super) fn size(&self) -> usize {
        self.0
            .iter()
            .map(|(key, channel)| key.len() + channel.shape.before.len() + channel.shape.after.len() + channel.said().len())
            .sum()
    }
}
