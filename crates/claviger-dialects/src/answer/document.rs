//! Answers that are JSON, and streams of which nothing is known but that their events are.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::turn::Turn;
use super::{Event, Stream, usage};
use crate::json::{Document, Edits, Kind, Rigor, Value, quoted};
use crate::texts::{Rules, Spot, Visitor, hush, rewrite_arguments, rewrite_rest, rewrite_text, walk};
use crate::{Call, NotRead};

/// What a document may begin with that is no part of it.
pub(super) const MARK: &str = "\u{feff}";

/// What is known to take the place of texts, by where they begin.
pub(super) type Known = BTreeMap<usize, Option<String>>;

/// An answer, all of it.
pub(super) fn whole(content: &[u8], rules: Rules, turn: &mut Turn<'_>) -> Result<(), NotRead> {
    let text = std::str::from_utf8(content).map_err(|_| NotRead::Syntax)?;
    let mark = if text.starts_with(MARK) { MARK } else { "" };
    let text = text.get(mark.len()..).unwrap_or_default();
    let put = match Document::read(text.as_bytes(), rigor(rules)) {
        Ok(document) => rewritten(document.root(), text, rules, turn),
        // What is no JSON, though it is said to be: a line of a server that is in trouble.
        Err(NotRead::Syntax) => rewrite_text(text, "", turn.texts),
        Err(error) => return Err(error),
    };
    turn.raw(mark.as_bytes());
    turn.raw(put.as_deref().unwrap_or(text).as_bytes());
    Ok(())
}

/// Whether it is a document.
pub(super) fn is_one(content: &[u8]) -> bool {
    let content = content.strip_prefix(MARK.as_bytes()).unwrap_or(content);
    Document::read(content, Rigor::Lenient).is_ok_and(|document| matches!(document.root().kind(), Kind::Object | Kind::Array))
}

/// Whether it is several, each in a line.
pub(super) fn is_lines(content: &[u8]) -> bool {
    let first = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let rest = content.get(first.len()..).unwrap_or_default();
    !rest.trim_ascii().is_empty() && is_one(first)
}

/// Where calls are looked for, no member may be there twice.
pub(super) fn rigor(rules: Rules) -> Rigor {
    if rules == Rules::Answers { Rigor::Answer } else { Rigor::Lenient }
}

/// A document with its texts rewritten, its calls told first.
fn rewritten(root: Value<'_>, text: &str, rules: Rules, turn: &mut Turn<'_>) -> Option<String> {
    let mut known = Known::new();
    if rules == Rules::Answers {
        usage::take(root, turn.usage);
        calls(root, &mut known, turn);
    }
    // What was used is estimated where nobody says it.
    if !turn.usage.said {
        let mut heard = Heard(0);
        walk(root, &mut String::new(), rules, &mut heard);
        turn.hear(heard.0);
    }
    let mut edits = Edits::default();
    rewrite_rest(root, "", rules, &known, turn.texts, &mut edits);
    if rules == Rules::Answers && edits.len() > 0 {
        hush(root, &mut edits);
    }
    edits.apply(text)
}

struct Heard(usize);

impl Visitor for Heard {
    fn text(&mut self, _spot: &Spot<'_>, value: Value<'_>) {
        self.0 += value.inner().len();
    }
}

/// Tells of the calls in a document, whichever API it is of.
pub(super) fn calls(root: Value<'_>, known: &mut Known, turn: &mut Turn<'_>) {
    for choice in root.get("choices").into_iter().flat_map(Value::elements) {
        let Some(message) = choice.get("message") else { continue };
        tool_calls(message.get("tool_calls"), known, turn);
        if let Some(function) = message.get("function_call").filter(|function| function.kind() == Kind::Object) {
            call(function.str("name").as_deref(), function.get("arguments"), known, turn);
        }
    }
    for block in root.get("content").into_iter().flat_map(Value::elements) {
        if is_tool_use(block) {
            call(block.str("name").as_deref(), block.get("input"), known, turn);
        }
    }
    for item in root.get("output").into_iter().flat_map(Value::elements) {
        item_call(item, known, turn);
    }
    tool_calls(root.get("message").and_then(|message| message.get("tool_calls")), known, turn);
    let action = root.get("required_action").and_then(|action| action.get("submit_tool_outputs"));
    tool_calls(action.and_then(|action| action.get("tool_calls")), known, turn);
}

/// Tells of the calls in a list of them, as OpenAI's API has it.
fn tool_calls(calls: Option<Value<'_>>, known: &mut Known, turn: &mut Turn<'_>) {
    for tool in calls.into_iter().flat_map(Value::elements) {
        let holder = ["function", "custom"].into_iter().find_map(|name| tool.get(name)).unwrap_or(tool);
        let arguments = holder.get("arguments").or_else(|| holder.get("input"));
        call(holder.str("name").as_deref(), arguments, known, turn);
    }
}

/// Whether a block of Anthropic's calls a tool: `tool_use`, `server_tool_use`, `mcp_tool_use`.
pub(super) fn is_tool_use(block: Value<'_>) -> bool {
    block.str("type").is_some_and(|kind| kind.ends_with("tool_use"))
}

/// Whether an item of the Responses API is a call.
pub(super) fn calls_in(item: Value<'_>) -> bool {
    item.str("type").is_some_and(|kind| kind.ends_with("_call") || kind == "mcp_approval_request")
}

/// Tells of the call that an item of the Responses API is, if it is one.
pub(super) fn item_call(item: Value<'_>, known: &mut Known, turn: &mut Turn<'_>) {
    let Some(kind) = item.str("type") else { return };
    match &*kind {
        "function_call" => call(item.str("name").as_deref(), item.get("arguments"), known, turn),
        "custom_tool_call" => call(item.str("name").as_deref(), item.get("input"), known, turn),
        "mcp_call" | "mcp_approval_request" => {
            let label = item.str("server_label").unwrap_or_default();
            let given = item.get("arguments").map(|arguments| replacement(arguments, known, turn));
            let name = quoted(&item.str("name").unwrap_or_default());
            let given = given.filter(|given| !given.is_empty()).unwrap_or_else(|| "{}".to_owned());
            let arguments = format!("{{\"name\":{name},\"arguments\":{given}}}");
            turn.call(Call { tool: format!("mcp:{label}").into(), arguments: arguments.into() });
        }
        kind => {
            let Some(tool) = kind.strip_suffix("_call") else { return };
            let mut edits = Edits::default();
            rewrite_rest(item, "output[]", Rules::Answers, known, turn.texts, &mut edits);
            let put = edits.apply_in(item);
            let arguments = put.as_deref().unwrap_or(item.raw()).into();
            turn.call(Call { tool: tool.into(), arguments });
            known.insert(item.span().start, put);
        }
    }
}

/// Tells of a call, and remembers what its arguments are for the client.
fn call(tool: Option<&str>, arguments: Option<Value<'_>>, known: &mut Known, turn: &mut Turn<'_>) {
    let given = arguments.map(|arguments| replacement(arguments, known, turn)).unwrap_or_default();
    turn.call(Call { tool: tool.unwrap_or_default().into(), arguments: Arc::from(given) });
}

/// What a tool is called with, as the client gets it.
fn replacement(arguments: Value<'_>, known: &mut Known, turn: &mut Turn<'_>) -> String {
    match arguments.text() {
        Some(text) => {
            let put = rewrite_arguments(&text, "arguments", turn.texts);
            known.insert(arguments.span().start, put.clone());
            put.unwrap_or_else(|| text.into_owned())
        }
        None if arguments.kind() == Kind::Null => String::new(),
        None => {
            let put = rewrite_arguments(arguments.raw(), "arguments", turn.texts);
            known.insert(arguments.span().start, put.clone());
            put.unwrap_or_else(|| arguments.raw().to_owned())
        }
    }
}

/// A stream each of whose events stands for itself.
pub(super) struct Each {
    pub(super) rules: Rules,
}

impl Stream for Each {
    fn event(&mut self, event: &Event<'_>, root: Value<'_>, turn: &mut Turn<'_>) -> Result<(), NotRead> {
        let put = rewritten(root, event.data, self.rules, turn);
        turn.put(event, put);
        Ok(())
    }

    fn rules(&self) -> Rules {
        self.rules
    }

    fn kept(&self) -> usize {
        0
    }

    fn finish(&mut self, _turn: &mut Turn<'_>) -> Result<(), NotRead> {
        Ok(())
    }

    fn error(&self, message: &str) -> String {
        format!("event: error\ndata: {}\n\n", error_object(message))
    }
}

/// An error as OpenAI's API tells of it.
pub(super) fn error_object(message: &str) -> String {
    let message = quoted(message);
    format!("{{\"error\":{{\"message\":{message},\"type\":\"permission_error\",\"param\":null,\"code\":\"not_permitted\"}}}}")
}
