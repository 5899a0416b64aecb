//! Texts that come in parts, each in a channel of its own.

use std::collections::BTreeMap;

use super::frame::Frame;
use super::turn::Turn;
use crate::json::{Edits, Kind, Value, decode, quote, quoted};
use crate::texts::is_text;
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
    fn push(&mut self, part: Value<'_>, turn: &mut Turn<'_>) -> (String, bool) {
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
    fn end(&mut self) -> String {
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
    fn end_and_send(&mut self, turn: &mut Turn<'_>) {
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
    /// Takes the parts of texts in a value, wherever they are in it, and notes what leaves in their place.
    pub(super) fn take(
        &mut self,
        value: Value<'_>,
        frame: &Frame,
        name: &str,
        keeps: bool,
        turn: &mut Turn<'_>,
        edits: &mut Edits,
    ) -> Result<(), NotRead> {
        match value.kind() {
            Kind::Object => {
                for (key, value) in value.members() {
                    let key = key.text().unwrap_or_default();
                    self.take(value, &frame.inner(&key), &key, keeps, turn, edits)?;
                }
            }
            Kind::Array => {
                for (place, element) in value.elements().enumerate() {
                    self.take(element, &frame.element(element, place), name, keeps, turn, edits)?;
                }
            }
            Kind::String | Kind::Escaped if is_text(&frame.path, name, value) => {
                self.part(value, &frame.key, frame.ends, keeps, turn, edits, || frame.clone())?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes a part of a text, of which it is asked what stands around it when it is the first; it may be the last. Says whether something else leaves.
    #[allow(clippy::too_many_arguments, reason = "they are of the event and of the text")]
    pub(super) fn part(
        &mut self,
        value: Value<'_>,
        key: &str,
        ends: bool,
        keeps: bool,
        turn: &mut Turn<'_>,
        edits: &mut Edits,
        frame: impl FnOnce() -> Frame,
    ) -> Result<bool, NotRead> {
        let channel = self.at(key, keeps, turn, frame)?;
        let (mut out, mut same) = channel.push(value, turn);
        if ends {
            let left = channel.end();
            same &= left.is_empty();
            out.push_str(&left);
        }
        if !same {
            edits.replace(value, quoted(&out));
        }
        Ok(!same)
    }

    /// The channel of this name; the first time, it is asked what stands around it.
    fn at(
        &mut self,
        key: &str,
        keeps: bool,
        turn: &mut Turn<'_>,
        frame: impl FnOnce() -> Frame,
    ) -> Result<&mut Channel, NotRead> {
        // What goes on after its end begins anew.
        if self.0.get(key).is_none_or(|channel| channel.ended) {
            if self.0.len() == MOST {
                return Err(NotRead::TooLong);
            }
            let frame = frame();
            let parts = turn.texts.parts(Place { path: &frame.path, bare: false });
            let before = self.0.remove(key).and_then(|channel| channel.said);
            let said = keeps.then(|| before.unwrap_or_default());
            self.0.insert(key.to_owned(), Channel { parts, half: None, shape: frame.shape(), said, ended: false });
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
