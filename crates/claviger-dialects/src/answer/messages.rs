//! Streams of Anthropic's Messages API.

use std::collections::BTreeMap;

use super::channel::Channels;
use super::document::is_tool_use;
use super::frame::Frame;
use super::turn::Turn;
use super::{Event, Stream};
use crate::json::{Edits, Kind, Value, decode, quoted};
use crate::texts::{Rules, rewrite_arguments, rewrite_value};
use crate::{Call, NotRead, Parts, Place};

/// How many blocks there may be at a time that are kept until they are complete.
const MOST_BLOCKS: usize = 64;

/// A stream of a message.
#[derive(Default)]
pub(super) struct Messages {
    texts: Channels,
    /// Blocks that are kept until they are complete, by their place.
    kept: BTreeMap<u64, Block>,
}

/// A block that is kept.
enum Block {
    /// A call of a tool: its name, and what it is called with.
    Call {
        name: String,
        given: String,
        half: Option<u16>,
    },
    Thinking(Thoughts),
}

/// Thoughts, whose signature is that of all of them: they leave as they came, up to where something is found in them.
struct Thoughts {
    parts: Box<dyn Parts>,
    half: Option<u16>,
    /// Whether all has left so far.
    flows: bool,
    /// What has come since, and what would leave of it.
    came: String,
    put: String,
}

impl Thoughts {
    fn new(turn: &mut Turn<'_>) -> Self {
        let parts = turn.texts.parts(Place { path: "content[].thinking", bare: false });
        Self { parts, half: None, flows: true, came: String::new(), put: String::new() }
    }

    /// Takes more. Says whether it leaves at once.
    fn take(&mut self, part: Value<'_>, turn: &mut Turn<'_>) -> bool {
        let part = decode(part.inner(), &mut self.half);
        turn.hear(part.len());
        let mut put = String::new();
        self.parts.push(&part, &mut put);
        self.flows &= put == *part && self.half.is_none();
        if !self.flows {
            self.came.push_str(&part);
            self.put.push_str(&put);
        }
        self.flows
    }

    /// There is no more: what is left, if that is as it came.
    fn end(mut self) -> String {
        if self.half.take().is_some() {
            self.came.push('\u{fffd}');
            self.parts.push("\u{fffd}", &mut self.put);
        }
        self.parts.finish(&mut self.put);
        if self.put == self.came { self.came } else { String::new() }
    }
}

impl Stream for Messages {
    fn event(&mut self, event: &Event<'_>, root: Value<'_>, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        let index = root.get("index").and_then(Value::count).unwrap_or(0);
        match &*root.str("type").unwrap_or_default() {
            "content_block_start" => self.begin(event, root, index, turn)?,
            "content_block_delta" => self.delta(event, root, index, turn)?,
            "content_block_stop" => {
                self.end(index, turn);
                turn.put(event, None);
                self.release(turn);
            }
            kind => {
                if matches!(kind, "message_delta" | "message_stop") {
                    self.end_all(turn);
                }
                plain(event, root, turn);
            }
        }
        Ok(())
    }

    fn finish(&mut self, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        self.end_all(turn);
        Ok(())
    }

    fn kept(&self) -> usize {
        self.texts.size() + self.kept.values().map(Block::size).sum::<usize>()
    }

    fn error(&self, message: &str) -> String {
        let message = quoted(message);
        format!(
            "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"permission_error\",\"message\":{message}}}}}\n\n"
        )
    }
}

impl Block {
    fn size(&self) -> usize {
        match self {
            Self::Call { name, given, .. } => name.len() + given.len(),
            Self::Thinking(thoughts) => thoughts.came.len() + thoughts.put.len(),
        }
    }
}

impl Messages {
    fn begin(&mut self, event: &Event<'_>, root: Value<'_>, index: u64, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        self.end(index, turn);
        if self.kept.len() == MOST_BLOCKS {
            return Err(NotRead::TooLong);
        }
        let Some(block) = root.get("content_block") else {
            plain(event, root, turn);
            return Ok(());
        };
        if is_tool_use(block) {
            // A server that does not send parts of it says all of it here.
            let input = block.get("input").filter(|input| input.kind() == Kind::Object && input.members().next().is_some());
            let given = input.map(|input| input.raw().to_owned()).unwrap_or_default();
            let mut edits = Edits::default();
            if let Some(input) = input {
                edits.replace(input, "{}".to_owned());
            }
            turn.hold();
            turn.settle(event, root, edits);
            turn.beat();
            let name = block.str("name").unwrap_or_default().into_owned();
            self.kept.insert(index, Block::Call { name, given, half: None });
            return Ok(());
        }
        match &*block.str("type").unwrap_or_default() {
            "thinking" => {
                let mut thoughts = Thoughts::new(turn);
                let mut edits = Edits::default();
                if let Some(part) = block.get("thinking").filter(|part| part.is_string())
                    && !thoughts.take(part, turn)
                {
                    edits.replace(part, "\"\"".to_owned());
                }
                turn.settle(event, root, edits);
                self.kept.insert(index, Block::Thinking(thoughts));
                Ok(())
            }
            "text" => {
                let mut edits = Edits::default();
                for (name, value) in block.members() {
                    let name = name.text().unwrap_or_default();
                    if name == "text" && value.is_string() {
                        let frame = delta_frame(index, "\"text_delta\"").inner("text");
                        self.texts.take(value, &frame, "text", false, turn, &mut edits)?;
                    } else {
                        rest(value, &format!("content_block.{name}"), turn, &mut edits);
                    }
                }
                turn.settle(event, root, edits);
                Ok(())
            }
            _ => {
                plain(event, root, turn);
                Ok(())
            }
        }
    }

    fn delta(&mut self, event: &Event<'_>, root: Value<'_>, index: u64, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        let Some(delta) = root.get("delta") else {
            plain(event, root, turn);
            return Ok(());
        };
        let kind = delta.str("type").unwrap_or_default();
        let kept = self.kept.get_mut(&index);
        match (&*kind, kept) {
            ("input_json_delta", Some(Block::Call { given, half, .. })) => {
                if let Some(part) = delta.get("partial_json").filter(|part| part.is_string()) {
                    let part = decode(part.inner(), half);
                    turn.hear(part.len());
                    given.push_str(&part);
                }
                turn.beat();
                return Ok(());
            }
            ("thinking_delta", Some(Block::Thinking(thoughts))) => {
                let mut edits = Edits::default();
                if let Some(part) = delta.get("thinking").filter(|part| part.is_string())
                    && !thoughts.take(part, turn)
                {
                    edits.replace(part, "\"\"".to_owned());
                }
                turn.settle(event, root, edits);
                return Ok(());
            }
            ("signature_delta", Some(Block::Thinking(_))) => {
                self.end(index, turn);
                turn.put(event, None);
                return Ok(());
            }
            ("citations_delta", _) => {
                plain(event, root, turn);
                return Ok(());
            }
            _ => {}
        }
        let mut edits = Edits::default();
        let kind = delta.get("type").map_or("\"text_delta\"", Value::raw);
        self.texts.take(delta, &delta_frame(index, kind), "delta", false, turn, &mut edits)?;
        turn.settle(event, root, edits);
        Ok(())
    }

    /// A block is complete: what is left of it leaves.
    fn end(&mut self, index: u64, turn: &mut Turn<'_>) {
        self.texts.end(&format!("{index:08}/"), turn);
        match self.kept.remove(&index) {
            None => {}
            Some(Block::Thinking(thoughts)) => {
                let left = thoughts.end();
                if !left.is_empty() {
                    delta_frame(index, "\"thinking_delta\"").inner("thinking").shape().send(&left, turn);
                }
            }
            Some(Block::Call { name, mut given, half }) => {
                if half.is_some() {
                    given.push('\u{fffd}');
                }
                let put = rewrite_arguments(&given, "content[].input", turn.texts).unwrap_or(given);
                if !put.is_empty() {
                    delta_frame(index, "\"input_json_delta\"").inner("partial_json").shape().send(&put, turn);
                }
                let arguments = if put.is_empty() { "{}".into() } else { put.into() };
                turn.call(Call { tool: name.into(), arguments });
            }
        }
    }

    fn end_all(&mut self, turn: &mut Turn<'_>) {
        self.texts.end("", turn);
        for index in self.kept.keys().copied().collect::<Vec<_>>() {
            self.end(index, turn);
        }
        self.release(turn);
    }

    /// What waits for calls leaves when all of them are complete.
    fn release(&self, turn: &mut Turn<'_>) {
        if !self.kept.values().any(|block| matches!(block, Block::Call { .. })) {
            turn.release();
        }
    }
}

/// An event of a block: its kind is written as it is in JSON.
fn delta_frame(index: u64, kind: &str) -> Frame {
    Frame {
        name: Some("content_block_delta".to_owned()),
        path: "delta".to_owned(),
        key: format!("{index:08}/{kind}/"),
        before: format!("{{\"type\":\"content_block_delta\",\"index\":{index},\"delta\":"),
        after: "}".to_owned(),
        which: format!("\"type\":{kind},"),
        ends: false,
    }
}

/// An event without texts that come in parts.
fn plain(event: &Event<'_>, root: Value<'_>, turn: &mut Turn<'_>) {
    let mut edits = Edits::default();
    rewrite_value(root, "", Rules::Answers, turn.texts, &mut edits);
    turn.settle(event, root, edits);
}

fn rest(value: Value<'_>, path: &str, turn: &mut Turn<'_>, edits: &mut Edits) {
    rewrite_value(value, path, Rules::Answers, turn.texts, edits);
}
