//! What models are asked.

use claviger_model::{Hazard, Verb};

use super::multipart::Multipart;
use super::{Found, text_of};
use crate::NotRead;
use crate::json::{Kind, Value};
use crate::texts::is_tokens;

/// Members that decide something; a server that does not tell small letters from capitals must not find others than are looked at here.
const DECIDING: [&str; 19] = [
    "assistant_id",
    "background",
    "conversation",
    "fallbacks",
    "file_ids",
    "functions",
    "input",
    "input_file_id",
    "instructions",
    "mcp_servers",
    "messages",
    "metadata",
    "model",
    "models",
    "previous_response_id",
    "prompt",
    "requests",
    "stream",
    "tools",
];

/// What is asked of a model: which, with which tools, files and prompts.
pub(super) fn read(body: Value<'_>, deployed: bool, found: &mut Found) -> Result<(), NotRead> {
    if body.kind() != Kind::Object {
        return Err(NotRead::Syntax);
    }
    plainly_named(body)?;
    let model = text_of(body, "model")?;
    match model.as_deref().filter(|model| !model.is_empty()) {
        Some(model) => found.model(model)?,
        // What is asked by a kept prompt takes its model from there; moderations have one of their own.
        None if deployed || found.class == "moderations" => {}
        None => found.hazard(Hazard::Unknown),
    }
    found.opaque |= asks_tokens(body);
    for others in ["models", "fallbacks"] {
        instead(body, others, found)?;
    }
    asked(body, found)?;
    if let Some(id) = text_of(body, "previous_response_id")? {
        found.define(Verb::Read, "response", &id)?;
    }
    match body.get("conversation") {
        Some(conversation) if conversation.kind() != Kind::Null => {
            let id = conversation.text().or_else(|| conversation.str("id")).ok_or(NotRead::Form("conversation"))?;
            found.define(Verb::Read, "conversation", &id)?;
            found.define(Verb::Insert, "conversation", &id)?;
            found.reads = false;
        }
        _ => {}
    }
    if body.get("background").is_some_and(|background| background.raw() == "true") {
        found.reads = false;
    }
    Ok(())
}

/// Which models are asked if the one cannot answer, or beside it.
fn instead(body: Value<'_>, name: &'static str, found: &mut Found) -> Result<(), NotRead> {
    let Some(others) = body.get(name).filter(|others| others.kind() != Kind::Null) else { return Ok(()) };
    let one = (others.kind() != Kind::Array).then_some(others);
    for other in one.into_iter().chain(others.elements()) {
        let model = match other.kind() {
            Kind::Object => text_of(other, "model")?,
            _ => Some(other.text().ok_or(NotRead::Form(name))?),
        };
        match model.filter(|model| !model.is_empty()) {
            Some(model) => found.beside(&model)?,
            None => found.hazard(Hazard::Unknown),
        }
    }
    Ok(())
}

/// The same, asked by a form: there is a file in it.
pub(super) fn form(form: &Multipart<'_>, deployed: bool, found: &mut Found) -> Result<(), NotRead> {
    match form.field("model")?.filter(|model| !model.is_empty()) {
        Some(model) => found.model(model)?,
        None if deployed => {}
        None => found.hazard(Hazard::Unknown),
    }
    Ok(())
}

/// Which tools, prompts, files and models are named, wherever a model is asked or will be.
pub(super) fn asked(body: Value<'_>, found: &mut Found) -> Result<(), NotRead> {
    if let Some(tools) = body.get("tools").filter(|tools| tools.kind() != Kind::Null) {
        if tools.kind() != Kind::Array {
            return Err(NotRead::Form("tools"));
        }
        for tool in tools.elements() {
            self::tool(tool, found)?;
        }
    }
    for function in body.get("functions").into_iter().flat_map(Value::elements) {
        found.tool(&function.str("name").ok_or(NotRead::Form("functions"))?)?;
    }
    for server in body.get("mcp_servers").into_iter().flat_map(Value::elements) {
        let name = server.str("name").ok_or(NotRead::Form("mcp_servers"))?;
        found.tool(&format!("mcp:{name}"))?;
    }
    if body.get("web_search_options").is_some_and(|options| options.kind() == Kind::Object) {
        found.tool("web_search")?;
    }
    prompts(body, found)?;
    named_inside(body, found)
}

/// A tool that is offered: by its name if it has one, else by what it is.
fn tool(tool: Value<'_>, found: &mut Found) -> Result<(), NotRead> {
    if tool.kind() != Kind::Object {
        return Err(NotRead::Form("tools"));
    }
    let kind = text_of(tool, "type")?;
    let named = |holder: &'static str| tool.get(holder).unwrap_or(tool).str("name").ok_or(NotRead::Form("tools"));
    match kind.as_deref() {
        Some("function") => found.tool(&named("function")?),
        Some("custom") => found.tool(&named("custom")?),
        Some("mcp") => {
            let label = tool.str("server_label").or_else(|| tool.str("name")).ok_or(NotRead::Form("tools"))?;
            found.tool(&format!("mcp:{label}"))
        }
        // What a server of MCP offers, by its name in `mcp_servers`.
        Some("mcp_toolset") => {
            let server = tool.str("mcp_server_name").ok_or(NotRead::Form("tools"))?;
            found.tool(&format!("mcp:{server}"))
        }
        // Tools under one name.
        Some("namespace") => {
            for inner in tool.get("tools").into_iter().flat_map(Value::elements) {
                self::tool(inner, found)?;
            }
            Ok(())
        }
        // Anthropic's own tools have versions in their types, and names besides.
        Some(kind) => match tool.str("name") {
            Some(name) => found.tool(&name),
            None => found.tool(built_in(kind)),
        },
        None => match named("function") {
            Ok(name) => found.tool(&name),
            // By what it is called there: `{"google_search": {}}`.
            Err(error) => {
                let mut names = tool.members().filter_map(|(name, _)| name.text()).peekable();
                names.peek().ok_or(error)?;
                names.try_for_each(|name| found.tool(&name))
            }
        },
    }
}

/// A tool of the service's own, without its version: as it is called by in answers.
fn built_in(kind: &str) -> &str {
    let undated = kind.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
    let name = if undated.is_empty() { kind } else { undated };
    match name.strip_suffix("_preview").unwrap_or(name) {
        "computer_use" => "computer",
        name => name,
    }
}

/// The prompts that it names.
fn prompts(body: Value<'_>, found: &mut Found) -> Result<(), NotRead> {
    if let Some(prompt) = body.get("prompt").filter(|prompt| prompt.kind() == Kind::Object) {
        found.prompt(&prompt.str("id").ok_or(NotRead::Form("prompt"))?)?;
    }
    let metadata = body.get("metadata").into_iter();
    for name in metadata.flat_map(|metadata| [metadata.str("run_name"), metadata.str("prompt")]).flatten() {
        found.prompt(&name)?;
    }
    Ok(())
}

/// Files and what else is kept at the service that is named anywhere inside, where the API has its own members.
fn named_inside(value: Value<'_>, found: &mut Found) -> Result<(), NotRead> {
    for element in value.elements() {
        named_inside(element, found)?;
    }
    for (name, value) in value.members() {
        let name = name.text().unwrap_or_default();
        let kind = match &*name {
            "file_id" | "file_ids" | "input_file_id" | "training_file" | "validation_file" => "file",
            "vector_store_id" | "vector_store_ids" => "vector store",
            "assistant_id" => "assistant",
            "metadata" | "parameters" | "input_schema" | "schema" => continue,
            "arguments" | "input" if value.kind() == Kind::Object => continue,
            _ => {
                if matches!(value.kind(), Kind::Object | Kind::Array) {
                    named_inside(value, found)?;
                }
                continue;
            }
        };
        for id in value.text().into_iter().chain(value.elements().filter_map(Value::text)) {
            found.define(Verb::Read, kind, &id)?;
        }
    }
    Ok(())
}

/// No member could be taken for one that decides by a reader that makes no difference between small letters and capitals.
pub(super) fn plainly_named(body: Value<'_>) -> Result<(), NotRead> {
    for (name, _) in body.members() {
        let name = name.text().unwrap_or_default();
        // Letters that are the same to such readers: the long s and the sign for kelvin.
        let folded = name.replace('\u{17f}', "s").replace('\u{212a}', "k").to_ascii_lowercase();
        if folded != *name
            && let Some(deciding) = DECIDING.iter().find(|deciding| **deciding == folded)
        {
            return Err(NotRead::Form(deciding));
        }
    }
    Ok(())
}

/// Whether a model's input is numbers: tokens, which nobody can read here.
fn asks_tokens(body: Value<'_>) -> bool {
    ["input", "prompt", "context"].into_iter().filter_map(|name| body.get(name)).any(is_tokens)
}
