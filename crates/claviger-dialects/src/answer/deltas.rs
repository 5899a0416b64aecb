//! Streams of which it is only known that what comes in parts comes in `delta`: those of assistants and whatever else is new, and those
//! of Ollama, whose lines are all parts.

use super::channel::Channels;
use super::document::{Known, calls, error_object};
use super::frame::Frame;
use super::turn::Turn;
use super::{Event, Stream};
use crate::NotRead;
use crate::json::{Edits, Kind, Value, quoted};
use crate::texts::{Rules, is_text, member, rewrite_rest};

/// Ends of names of events after which no more parts come.
const ENDS: [&str; 8] = [".completed", ".done", ".failed", ".incomplete", ".cancelled", ".expired", ".requires_action", "done"];

/// A stream of parts.
#[derive(Default)]
pub(super) struct Deltas {
    texts: Channels,
    /// Members that are parts.
    parts: &'static [&'static str],
}

impl Deltas {
    /// Those in `delta`.
    pub(super) fn new() -> Self {
        Self { texts: Channels::default(), parts: &["delta"] }
    }

    /// Those of Ollama's lines.
    pub(super) fn of_lines() -> Self {
        Self { texts: Channels::default(), parts: &["message", "response", "thinking"] }
    }
}

impl Stream for Deltas {
    fn event(&mut self, event: &Event<'_>, root: Value<'_>, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        let ends = event.name.is_some_and(|name| ENDS.iter().any(|end| name.ends_with(end)));
        if ends {
            self.texts.end("", turn);
        }
        let last = root.get("done").is_some_and(|done| done.raw() == "true");
        let (mut known, mut edits) = (Known::new(), Edits::default());
        calls(root, &mut known, turn);
        let frame = frame(event, root, last);
        for (name, value) in root.members() {
            let name = name.text().unwrap_or_default();
            if self.parts.contains(&&*name) {
                let frame = frame.member(&name);
                let calls = value.get("tool_calls").filter(|_| self.parts.len() > 1);
                let Some(calls) = calls else {
                    self.texts.take(value, &frame, &name, false, turn, &mut edits)?;
                    continue;
                };
                // Those that are here are complete.
                rewrite_rest(calls, "message.tool_calls", Rules::Answers, &known, turn.texts, &mut edits);
                for (name, value) in value.members().filter(|(name, _)| !name.is("tool_calls")) {
                    let name = name.text().unwrap_or_default();
                    self.texts.take(value, &frame.inner(&name), &name, false, turn, &mut edits)?;
                }
            } else {
                let mut path = String::new();
                member(&mut path, &name);
                rewrite_rest(value, &path, Rules::Answers, &known, turn.texts, &mut edits);
            }
        }
        if last {
            self.texts.end("", turn);
        }
        turn.settle(event, root, edits);
        Ok(())
    }

    fn finish(&mut self, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        self.texts.end("", turn);
        Ok(())
    }

    fn kept(&self) -> usize {
        self.texts.size()
    }

    fn error(&self, message: &str) -> String {
        if self.parts.len() > 1 {
            return format!("{{\"error\":{}}}\n", quoted(message));
        }
        format!("event: error\ndata: {}\n\n", error_object(message))
    }
}

/// What stands around the parts of an event: the members that are neither lists nor objects nor parts.
fn frame(event: &Event<'_>, root: Value<'_>, ends: bool) -> Frame {
    let mut before = "{".to_owned();
    let plain = |value: &Value<'_>| matches!(value.kind(), Kind::String | Kind::Escaped | Kind::Number | Kind::Word);
    for (name, value) in root.members().filter(|(_, value)| plain(value)) {
        let name = name.text().unwrap_or_default();
        if !(value.is_string() && is_text(&name, &name, value)) {
            before.push_str(&format!("{}:{},", quoted(&name), if name == "done" { "false" } else { value.raw() }));
        }
    }
    let key = root.str("id").map_or_else(String::new, |id| format!("{id}/"));
    Frame { name: event.name.map(str::to_owned), key, before, after: "}".to_owned(), ends, ..Frame::default() }
}
