//! Streams of OpenAI's Responses API.
//!
//! Each text comes up to five times: in parts, as the end of the text, of the part, of the item and of all. Whatever has left
//! in parts is what each repetition says.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::channel::Channels;
use super::document::{Known, calls_in, item_call};
use super::frame::Frame;
use super::open::Open;
use super::turn::Turn;
use super::{Event, Stream};
use crate::NotRead;
use crate::json::{Edits, Kind, Value, quote, quoted};
use crate::texts::{Rules, rewrite_arguments, rewrite_rest, rewrite_text};

/// How many items may be open or known at a time.
const MOST_ITEMS: usize = 1024;

/// What calls are made of that comes in parts: of which events, in which member at the end, and whether that is JSON.
const GIVEN: [(&str, &str, bool); 5] = [
    ("response.function_call_arguments", "arguments", true),
    ("response.mcp_call_arguments", "arguments", true),
    ("response.custom_tool_call_input", "input", false),
    ("response.code_interpreter_call_code", "code", false),
    ("response.shell_call_command", "command", false),
];

/// Members that say which text it is that an event has a part of.
const WHICH: [&str; 5] = ["item_id", "output_index", "content_index", "summary_index", "command_index"];

/// A stream of a response.
#[derive(Default)]
pub(super) struct Responses {
    texts: Channels,
    /// The items by their place, as they are called here.
    places: BTreeMap<u64, String>,
    /// Calls that are not yet complete.
    open: BTreeMap<String, Open>,
    /// Calls that have been told of: digests of which item it is and what it calls.
    told: BTreeSet<u64>,
    /// What was put in the place of what calls are made of, by the text that came.
    given: BTreeMap<String, String>,
    /// The number of the last event.
    number: u64,
}

impl Stream for Responses {
    fn event(&mut self, event: &Event<'_>, root: Value<'_>, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        self.number = root.get("sequence_number").and_then(Value::count).unwrap_or(self.number);
        let kind = root.str("type").unwrap_or_default();
        match kind.rsplit_once('.') {
            Some((_, "added")) if root.get("item").is_some() => self.begin(event, root, turn)?,
            Some(("response.audio", "delta")) => turn.put(event, None),
            Some((stem, "delta")) => self.part(event, stem, root, turn)?,
            Some((stem, "done")) if GIVEN.iter().any(|(given, ..)| *given == stem) => self.given(event, stem, root, turn),
            Some((_, "done")) if root.get("item").is_some() => self.item(event, root, turn),
            Some((stem, "done")) => self.done(event, stem, root, turn),
            Some(("response", ending)) if root.get("response").is_some() => {
                let last = matches!(ending, "completed" | "incomplete" | "failed" | "cancelled");
                self.response(event, root, last, turn);
            }
            _ => put(event, root, &Known::new(), Edits::default(), turn),
        }
        let items = self.places.len() + self.open.len() + self.told.len();
        if items > MOST_ITEMS { Err(NotRead::TooLong) } else { Ok(()) }
    }

    fn finish(&mut self, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        self.end("", turn);
        self.tell_open(turn);
        Ok(())
    }

    fn kept(&self) -> usize {
        let open: usize = self.open.iter().map(|(key, open)| key.len() + open.size()).sum();
        self.texts.size() + open + self.given.iter().map(|(came, put)| came.len() + put.len()).sum::<usize>()
    }

    fn error(&self, message: &str) -> String {
        let (number, message) = (self.number + 1, quoted(message));
        format!(
            "event: error\ndata: {{\"type\":\"error\",\"code\":\"not_permitted\",\"message\":{message},\"param\":null,\
             \"sequence_number\":{number},\"error\":{{\"message\":{message},\"type\":\"permission_error\",\"param\":null,\
             \"code\":\"not_permitted\"}}}}\n\n"
        )
    }
}

impl Responses {
    /// An item has begun. If it is a call, all that follows waits until that is complete.
    fn begin(&mut self, event: &Event<'_>, root: Value<'_>, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        let Some(item) = root.get("item") else { return Ok(()) };
        let key = item.str("id").map_or_else(|| self.key(root), Cow::into_owned);
        if let Some(place) = root.get("output_index").and_then(Value::count) {
            self.places.insert(place, key.clone());
        }
        let mut known = Known::new();
        if waits(item) {
            if let Some(before) = self.open.insert(key, Open::begun(item)) {
                before.tell(turn);
            }
            turn.hold();
            turn.beat();
            // Whatever it is called with comes in parts.
            for name in ["arguments", "input", "code"] {
                if let Some(given) = item.get(name).filter(|given| given.is_string()) {
                    known.insert(given.span().start, (!given.inner().is_empty()).then(String::new));
                }
            }
        }
        put(event, root, &known, Edits::default(), turn);
        Ok(())
    }

    /// A part of a text.
    fn part(&mut self, event: &Event<'_>, stem: &str, root: Value<'_>, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        if GIVEN.iter().any(|(given, ..)| *given == stem) {
            // It comes whole, before what says that it is complete.
            turn.hear(root.get("delta").map_or(0, |delta| delta.inner().len()));
            turn.hold();
            self.open.entry(self.key(root)).or_default();
            turn.beat();
            return Ok(());
        }
        let mut edits = Edits::default();
        if let Some(delta) = root.get("delta") {
            let frame = self.frame(stem, root);
            self.texts.take(delta, &frame.member("delta"), "delta", true, turn, &mut edits)?;
        }
        if edits.len() > 0 {
            silence(root, &mut edits);
        }
        // Everything else stays as it is.
        turn.settle(event, root, edits);
        Ok(())
    }

    /// What a call is made of is complete.
    fn given(&mut self, event: &Event<'_>, stem: &str, root: Value<'_>, turn: &mut Turn<'_>) {
        let (_, name, json) = GIVEN.iter().find(|(given, ..)| *given == stem).copied().unwrap_or_default();
        turn.hold();
        let open = self.open.entry(self.key(root)).or_default();
        let mut known = Known::new();
        if let Some(value) = root.get(name)
            && let Some(came) = value.text()
        {
            open.give(stem, root, name, &came, turn);
            let put = if json { rewrite_arguments(&came, name, turn.texts) } else { rewrite_text(&came, name, turn.texts) };
            self.send(&self.frame(stem, root).member("delta"), put.as_deref().unwrap_or(&came), turn);
            known.insert(value.span().start, put.clone());
            if let Some(put) = put {
                self.given.insert(came.into_owned(), put);
            }
        }
        put(event, root, &known, Edits::default(), turn);
    }

    /// A text, or a part of an item, is complete.
    fn done(&mut self, event: &Event<'_>, stem: &str, root: Value<'_>, turn: &mut Turn<'_>) {
        let mut known = Known::new();
        let mut edits = Edits::default();
        let key = self.frame(stem, root).key;
        self.end(&key, turn);
        for name in ["text", "refusal", "transcript"] {
            if let Some(text) = root.get(name)
                && self.repeat(text, &format!("{key}delta/"), &mut known)
            {
                silence(root, &mut edits);
            }
        }
        if let Some(part) = root.get("part") {
            self.fix_part(part, &part_key(&self.key(root), root), &mut known, turn);
        }
        put(event, root, &known, edits, turn);
    }

    /// An item is complete.
    fn item(&mut self, event: &Event<'_>, root: Value<'_>, turn: &mut Turn<'_>) {
        let Some(item) = root.get("item") else { return };
        let key = self.key(root);
        let mut known = Known::new();
        self.fix_item(item, &key, &mut known, turn);
        self.tell(item, &key, &mut known, turn);
        put(event, root, &known, Edits::default(), turn);
        if let Some(open) = self.open.remove(&key).filter(|open| !open.is(item)) {
            open.tell(turn);
        }
        if self.open.is_empty() {
            turn.release();
        }
    }

    /// The response as it is by now.
    fn response(&mut self, event: &Event<'_>, root: Value<'_>, last: bool, turn: &mut Turn<'_>) {
        let mut known = Known::new();
        if last {
            self.end("", turn);
        }
        let output = root.get("response").and_then(|response| response.get("output"));
        for (place, item) in output.into_iter().flat_map(Value::elements).enumerate() {
            let placed = self.places.get(&(place as u64)).cloned();
            let key = placed.or_else(|| Some(item.str("id")?.into_owned())).unwrap_or_else(|| format!("#{place}"));
            self.fix_item(item, &key, &mut known, turn);
            if last {
                self.tell(item, &key, &mut known, turn);
                if self.open.get(&key).is_some_and(|open| open.is(item)) {
                    self.open.remove(&key);
                }
            }
        }
        put(event, root, &known, Edits::default(), turn);
        if last {
            self.tell_open(turn);
            turn.release();
        }
    }

    /// Tells of a call, once. What is called with something else is another.
    fn tell(&mut self, item: Value<'_>, key: &str, known: &mut Known, turn: &mut Turn<'_>) {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        for name in ["name", "arguments", "input", "code", "action"] {
            item.get(name).map(Value::raw).hash(&mut hasher);
        }
        if calls_in(item) && self.told.insert(hasher.finish()) {
            item_call(item, known, turn);
        }
    }

    /// Tells of the calls that will not be complete: what is held of them leaves.
    fn tell_open(&mut self, turn: &mut Turn<'_>) {
        for open in std::mem::take(&mut self.open).into_values() {
            open.tell(turn);
        }
    }

    /// What of an item has been said before is what it says.
    fn fix_item(&mut self, item: Value<'_>, key: &str, known: &mut Known, turn: &mut Turn<'_>) {
        for list in ["content", "summary"] {
            for (place, part) in item.get(list).into_iter().flat_map(Value::elements).enumerate() {
                self.fix_part(part, &format!("{key}/{place}/"), known, turn);
            }
        }
        for name in ["arguments", "input", "code"] {
            let Some(value) = item.get(name).filter(|value| value.is_string()) else { continue };
            if let Some(put) = value.text().and_then(|came| self.given.get(&*came)) {
                known.insert(value.span().start, Some(put.clone()));
            }
        }
    }

    fn fix_part(&mut self, part: Value<'_>, key: &str, known: &mut Known, turn: &mut Turn<'_>) {
        let (name, stem) = match &*part.str("type").unwrap_or_default() {
            "refusal" => ("refusal", "response.refusal"),
            "summary_text" => ("text", "response.reasoning_summary_text"),
            "reasoning_text" => ("text", "response.reasoning_text"),
            _ => ("text", "response.output_text"),
        };
        let key = format!("{key}{stem}/");
        // For a server that does not say that a text is complete.
        self.end(&key, turn);
        if let Some(text) = part.get(name) {
            self.repeat(text, &format!("{key}delta/"), known);
        }
    }

    /// A text that has been said in parts is said again: as it has left. Says whether that is something else than came.
    fn repeat(&mut self, text: Value<'_>, key: &str, known: &mut Known) -> bool {
        let (Some(came), Some(channel)) = (text.text(), self.texts.get(key)) else { return false };
        let changed = channel.said() != came;
        known.insert(text.span().start, changed.then(|| channel.said().to_owned()));
        changed
    }

    /// Ends texts, and sends what is left of them.
    fn end(&mut self, prefix: &str, turn: &mut Turn<'_>) {
        let left: Vec<_> = self.texts.left(prefix);
        for (shape, text) in left {
            let mut data = format!("{{\"sequence_number\":{},{}", self.number, shape.before);
            quote(&text, &mut data);
            data.push_str(&shape.after);
            turn.more(shape.name.as_deref(), &data);
        }
    }

    fn send(&self, frame: &Frame, text: &str, turn: &mut Turn<'_>) {
        if !text.is_empty() {
            let mut data = format!("{{\"sequence_number\":{},{}", self.number, frame.before);
            quote(text, &mut data);
            data.push_str(&frame.after);
            turn.more(frame.name.as_deref(), &data);
        }
    }

    /// What stands around a part of a text.
    fn frame(&self, stem: &str, root: Value<'_>) -> Frame {
        let kind = format!("{stem}.delta");
        let mut before = format!("\"type\":{},", quoted(&kind));
        for (name, value) in root.members().filter(|(name, _)| WHICH.iter().any(|which| name.is(which))) {
            before.push_str(&format!("{}:{},", name.raw(), value.raw()));
        }
        let logged = root.get("logprobs").is_some_and(|tokens| tokens.kind() == Kind::Array);
        let after = if logged { ",\"logprobs\":[]}" } else { "}" }.to_owned();
        let key = format!("{}{stem}/", part_key(&self.key(root), root));
        Frame { name: Some(kind), key, before, after, ..Frame::default() }
    }

    /// The item that an event is of.
    fn key(&self, root: Value<'_>) -> String {
        let place = root.get("output_index").and_then(Value::count);
        let placed = place.and_then(|place| self.places.get(&place).cloned());
        let item = || root.get("item").and_then(|item| item.str("id"));
        let named = || root.str("item_id").or_else(item).map(Cow::into_owned);
        placed.or_else(named).unwrap_or_else(|| format!("#{}", place.unwrap_or(0)))
    }
}

/// The part of an item that an event is of.
fn part_key(item: &str, root: Value<'_>) -> String {
    let place = ["content_index", "summary_index", "command_index"].iter().find_map(|name| root.get(name)?.count());
    format!("{item}/{}/", place.unwrap_or(0))
}

/// Whether an item is a call that is made of something. Images take long, and are made of what has been said already.
fn waits(item: Value<'_>) -> bool {
    calls_in(item) && !item.get("type").is_some_and(|kind| kind.is("image_generation_call"))
}

/// Tokens and filling, which would say what has been changed.
fn silence(root: Value<'_>, edits: &mut Edits) {
    if let Some(tokens) = root.get("logprobs").filter(|tokens| tokens.kind() == Kind::Array) {
        edits.replace(tokens, "[]".to_owned());
    }
    if let Some(filling) = root.get("obfuscation").filter(|filling| filling.is_string()) {
        edits.replace(filling, "\"\"".to_owned());
    }
}

/// An event leaves with its texts rewritten, of which some are known.
fn put(event: &Event<'_>, root: Value<'_>, known: &Known, mut edits: Edits, turn: &mut Turn<'_>) {
    rewrite_rest(root, "", Rules::Answers, known, turn.texts, &mut edits);
    turn.settle(event, root, edits);
}
