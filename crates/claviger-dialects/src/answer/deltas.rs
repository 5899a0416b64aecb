//! Streams of which it is only known that what comes in parts comes in `delta`: those of assistants and whatever else is new, and those
//! of Ollama, whose lines are all parts.

use super::channel::Channels;
use super::document::{Known, calls, error_object};
use super::frame::Frame;
use super::turn::Turn;
use super::{Event, Stream, usage};
use crate::NotRead;
use crate::json::{Document, Edits, Kind, Rigor, Value, quoted};
use crate::texts::{Rules, is_text, member, rewrite_rest, rewrite_text};

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
    fn event(&mut self, event: &Event<'_>, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        let ends = event.name.is_some_and(|name| ENDS.iter().any(|end| name.ends_with(end)));
        if ends || event.data.trim() == "[DONE]" {
            self.texts.end("", turn);
        }
        let document = match Document::read(event.data.as_bytes(), Rigor::Answer) {
            Ok(document) => document,
            Err(NotRead::Syntax) => {
                let put = rewrite_text(event.data, "", turn.texts);
                turn.put(event, put);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let root = document.root();
        usage::take(root, turn.usage);
        let last = root.get("done").is_some_and(|done| done.raw() == "true");
        let (mut known, mut edits) = (Known::new(), Edits::default());
        calls(root, &mut known, turn);
        if root.kind() != Kind::Object {
            rewrite_rest(root, "", Rules::Answers, &known, turn.texts, &mut edits);
        }
        let frame = frame(event, root, last);
        for (name, value) in root.members() {
            let name = name.text().unwrap_or_default();
            if self.parts.contains(&&*name) {
                self.inside(value, &frame.member(&name), &name, &known, turn, &mut edits)?;
            } else {
                let mut path = String::new();
                member(&mut path, &name);
                rewrite_rest(value, &path, Rules::Answers, &known, turn.texts, &mut edits);
            }
        }
        if last {
            self.texts.end("", turn);
        }
        turn.put(event, edits.apply(event.data));
        if self.texts.size() > turn.longest { Err(NotRead::TooLong) } else { Ok(()) }
    }

    fn finish(&mut self, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        self.texts.end("", turn);
        Ok(())
    }

    fn error(&self, message: &str) -> String {
        if self.parts.len() > 1 {
            return format!("{{\"error\":{}}}\n", quoted(message));
        }
        format!("event: error\ndata: {}\n\n", error_object(message))
    }
}

impl Deltas {
    fn inside(
        &mut self,
        value: Value<'_>,
        frame: &Frame,
        name: &str,
        known: &Known,
        turn: &mut Turn<'_>,
        edits: &mut Edits,
    ) -> Result<(), NotRead> {
        match value.kind() {
            Kind::Object => {
                for (key, value) in value.members() {
                    let key = key.text().unwrap_or_default();
                    // Those that are here are complete.
                    if key == "tool_calls" && self.parts.len() > 1 {
                        rewrite_rest(value, "message.tool_calls", Rules::Answers, known, turn.texts, edits);
                    } else {
                        self.inside(value, &frame.inner(&key), &key, known, turn, edits)?;
                    }
                }
            }
            Kind::Array => {
                for (place, element) in value.elements().enumerate() {
                    self.inside(element, &frame.element(element, place), name, known, turn, edits)?;
                }
            }
            Kind::String | Kind::Escaped if is_text(&frame.path, name, value) => {
                let channel = self.texts.at(&frame.key, false, turn, || (frame.path.clone(), frame.shape()))?;
                let (mut out, mut same) = channel.push(value, turn);
                if frame.ends {
                    let left = channel.end();
                    same &= left.is_empty();
                    out.push_str(&left);
                }
                if !same {
                    edits.replace(value, quoted(&out));
                }
            }
            _ => {}
        }
        Ok(())
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
