//! Streams of chat completions and completions, as OpenAI's API and whatever is compatible send them.

use std::collections::BTreeMap;

use super::channel::Channels;
use super::document::{Known, calls, error_object};
use super::frame::Frame;
use super::pending::Pending;
use super::turn::Turn;
use super::{Event, Stream};
use crate::NotRead;
use crate::json::{Edits, Kind, Value};
use crate::texts::{Rules, is_text, member, rewrite_rest};

/// How many calls there may be in a stream at a time.
const MOST_CALLS: usize = 256;
/// The place of the one call that a choice may have in the old form.
const OLD: u64 = u64::MAX;
/// Members of every event that say which answer it is of.
const ENVELOPE: [&str; 7] = ["id", "object", "created", "model", "system_fingerprint", "service_tier", "provider"];

/// A stream of completions.
#[derive(Default)]
pub(super) struct Chat {
    texts: Channels,
    /// Calls that are not yet complete, by choice and place.
    calls: BTreeMap<(u64, u64), Pending>,
    /// What stands around a list of choices.
    envelope: String,
    /// Whether that has a name.
    named: bool,
}

/// What is done to one event.
#[derive(Default)]
struct Work {
    edits: Edits,
    /// What has been dealt with.
    known: Known,
    /// Whether a part of a call was taken out of it.
    taken: bool,
    /// Whether there is something in it that the client must get.
    telling: bool,
    /// Whether texts were changed.
    changed: bool,
}

impl Stream for Chat {
    fn event(&mut self, event: &Event<'_>, root: Value<'_>, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        // Some begin with events that do not yet say which answer they are of.
        let named = root.get("id").is_some_and(|id| id.is_string() && !id.inner().is_empty());
        if self.envelope.is_empty() || (named && !self.named) {
            (self.envelope, self.named) = (envelope(root), named);
        }
        let mut work = Work::default();
        let choices: Vec<_> = root.get("choices").into_iter().flat_map(Value::elements).collect();
        work.telling = choices.is_empty();
        if choices.iter().all(|choice| choice.get("delta").is_none()) {
            calls(root, &mut work.known, turn);
        }
        for choice in choices {
            self.choice(choice, &mut work, turn)?;
        }
        if work.changed
            && let Some(filling) = root.get("obfuscation").filter(|filling| filling.is_string())
        {
            work.edits.replace(filling, "\"\"".to_owned());
        }
        for (name, value) in root.members() {
            let name = name.text().unwrap_or_default();
            if (name == "choices" && value.kind() == Kind::Array) || name == "obfuscation" {
                continue;
            }
            work.telling |= name == "usage" && value.kind() == Kind::Object;
            let mut path = String::new();
            member(&mut path, &name);
            work.rest(value, &path, turn);
        }
        if work.taken && !work.telling {
            turn.beat();
            return Ok(());
        }
        turn.settle(event, root, work.edits);
        Ok(())
    }

    fn finish(&mut self, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        let choices: Vec<u64> = self.calls.keys().map(|(choice, _)| *choice).collect();
        self.texts.end("", turn);
        for choice in choices {
            self.complete(choice, turn);
        }
        Ok(())
    }

    fn kept(&self) -> usize {
        self.texts.size() + self.calls.values().map(Pending::size).sum::<usize>()
    }

    fn error(&self, message: &str) -> String {
        format!("data: {}\n\ndata: [DONE]\n\n", error_object(message))
    }
}

impl Chat {
    fn choice(&mut self, choice: Value<'_>, work: &mut Work, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        if choice.kind() != Kind::Object {
            work.telling = true;
            work.rest(choice, "choices[]", turn);
            return Ok(());
        }
        let index = choice.get("index").and_then(Value::count).unwrap_or(0);
        let ends = choice.get("finish_reason").is_some_and(|reason| reason.kind() != Kind::Null);
        work.telling |= ends;
        let changed = std::mem::take(&mut work.changed);
        let frame = Frame {
            path: "choices[]".to_owned(),
            key: format!("{index:08}/"),
            before: self.before(index),
            after: AFTER.to_owned(),
            ends,
            ..Frame::default()
        };
        for (name, value) in choice.members() {
            match &*name.text().unwrap_or_default() {
                "delta" if value.kind() == Kind::Object => self.delta(value, &frame, index, work, turn)?,
                "text" if value.is_string() => {
                    let key = format!("{}text/", frame.key);
                    self.part(value, &key, ends, work, turn, || frame.member("text"))?;
                }
                "index" | "finish_reason" | "logprobs" => {}
                // All that has been said so far, once more.
                "message" if choice.get("delta").is_some() => work.edits.remove(choice, &["message"]),
                "message" => {
                    work.telling = true;
                    work.rest(value, "choices[].message", turn);
                }
                other => work.rest(value, &frame.member(other).path, turn),
            }
        }
        if ends {
            self.texts.end(&frame.key, turn);
            self.complete(index, turn);
        }
        if work.changed
            && let Some(tokens) = choice.get("logprobs").filter(|tokens| tokens.kind() != Kind::Null)
        {
            work.edits.replace(tokens, "null".to_owned());
        }
        work.changed |= changed;
        Ok(())
    }

    fn delta(
        &mut self,
        delta: Value<'_>,
        frame: &Frame,
        index: u64,
        work: &mut Work,
        turn: &mut Turn<'_>,
    ) -> Result<(), NotRead> {
        let mut gone = Vec::new();
        for (name, value) in delta.members() {
            match &*name.text().unwrap_or_default() {
                "tool_calls" if value.kind() == Kind::Array => {
                    for (place, call) in value.elements().enumerate() {
                        let place = call.get("index").and_then(Value::count).unwrap_or(place as u64);
                        self.call(index, place, call, turn)?;
                    }
                    gone.push("tool_calls");
                }
                "function_call" if value.kind() == Kind::Object => {
                    self.call(index, OLD, value, turn)?;
                    gone.push("function_call");
                }
                // Says nothing.
                _ if value.kind() == Kind::Null => {}
                // The way of nearly all events.
                name if value.is_string() && is_text("choices[].delta", name, value) => {
                    let key = format!("{}delta/{name}/", frame.key);
                    self.part(value, &key, frame.ends, work, turn, || frame.member("delta").inner(name))?;
                }
                name => {
                    work.telling = true;
                    let before = work.edits.len();
                    let frame = frame.member("delta").inner(name);
                    self.texts.take(value, &frame, name, false, turn, &mut work.edits)?;
                    work.changed |= work.edits.len() > before;
                }
            }
        }
        if !gone.is_empty() {
            work.taken = true;
            work.edits.remove(delta, &gone);
        } else if delta.members().next().is_none() {
            work.telling = true;
        }
        Ok(())
    }

    /// A part of a text, of which it is asked what stands around it when it is the first.
    fn part(
        &mut self,
        value: Value<'_>,
        key: &str,
        ends: bool,
        work: &mut Work,
        turn: &mut Turn<'_>,
        frame: impl FnOnce() -> Frame,
    ) -> Result<(), NotRead> {
        work.telling = true;
        work.changed |= self.texts.part(value, key, ends, false, turn, &mut work.edits, frame)?;
        Ok(())
    }

    /// Takes a part of a call.
    fn call(&mut self, choice: u64, place: u64, part: Value<'_>, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        if self.calls.len() == MOST_CALLS {
            return Err(NotRead::TooLong);
        }
        self.calls.entry((choice, place)).or_default().add(part, turn);
        Ok(())
    }

    /// The calls of a choice are complete.
    fn complete(&mut self, choice: u64, turn: &mut Turn<'_>) {
        let mut calls = self.calls.split_off(&(choice, 0));
        self.calls.append(&mut calls.split_off(&(choice.saturating_add(1), 0)));
        let old = calls.remove(&(choice, OLD)).map(|call| call.complete(turn));
        let new: Vec<String> =
            calls.into_iter().map(|((_, place), call)| format!("{{\"index\":{place},{}}}", call.complete(turn))).collect();
        let old = old.map(|call| format!("{{{call}}}"));
        let new = (!new.is_empty()).then(|| format!("{{\"tool_calls\":[{}]}}", new.join(",")));
        for delta in [old, new].into_iter().flatten() {
            turn.more(None, &format!("{}\"delta\":{delta}{AFTER}", self.before(choice)));
        }
    }

    /// What stands before what a choice says.
    fn before(&self, choice: u64) -> String {
        format!("{{{}\"choices\":[{{\"index\":{choice},", self.envelope)
    }
}

/// What stands behind it.
const AFTER: &str = ",\"finish_reason\":null}]}";

impl Work {
    /// Whatever else is said.
    fn rest(&mut self, value: Value<'_>, path: &str, turn: &mut Turn<'_>) {
        rewrite_rest(value, path, Rules::Answers, &self.known, turn.texts, &mut self.edits);
    }
}

/// The members of an event that say which answer it is of.
fn envelope(root: Value<'_>) -> String {
    let members = root.members().filter(|(name, _)| ENVELOPE.iter().any(|member| name.is(member)));
    members.map(|(name, value)| format!("{}:{},", name.raw(), value.raw())).collect()
}
