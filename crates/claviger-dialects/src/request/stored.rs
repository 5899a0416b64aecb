//! What services of language models keep: files, vector stores, answers, assistants and the rest.

use claviger_model::{Hazard, Verb};

use super::content::Content;
use super::models::verb_on_one;
use super::multipart::Multipart;
use super::{ANY, Found, inference, text_of};
use crate::NotRead;
use crate::answer::Api;
use crate::json::{Document, Kind, Rigor, Value};

/// Collections, and what one of them holds.
const KEPT: [(&str, &str); 12] = [
    ("assistants", "assistant"),
    ("batches", "batch"),
    ("containers", "container"),
    ("conversations", "conversation"),
    ("files", "file"),
    ("models", "model"),
    ("prompts", "prompt"),
    ("responses", "response"),
    ("skills", "skill"),
    ("threads", "thread"),
    ("uploads", "upload"),
    ("vector_stores", "vector store"),
];

pub(super) fn read(method: &str, path: &[&str], content: &Content<'_>, found: &mut Found) -> Result<(), NotRead> {
    match path {
        ["models", ..] if method == "GET" => {
            (found.known, found.api) = (true, Api::Json);
            Ok(())
        }
        ["api", rest @ ..] => ollama(method, rest, content, found),
        ["chat", "completions", rest @ ..] => kept("chat completion", method, rest, content, found),
        ["messages", "batches", rest @ ..] => kept("batch", method, rest, content, found),
        ["fine_tuning", "jobs", rest @ ..] => kept("fine-tuning job", method, rest, content, found),
        [collection, rest @ ..] => match KEPT.iter().find(|(name, _)| name == collection) {
            Some((_, kind)) => kept(kind, method, rest, content, found),
            None => Ok(()),
        },
        [] => Ok(()),
    }
}

/// What Ollama keeps.
fn ollama(method: &str, path: &[&str], content: &Content<'_>, found: &mut Found) -> Result<(), NotRead> {
    let verb = match (method, path) {
        ("GET", ["tags" | "ps" | "version"]) => {
            (found.known, found.api) = (true, Api::Json);
            return Ok(());
        }
        ("POST", ["show" | "push"]) => Verb::Read,
        ("POST", ["pull" | "create"]) => Verb::Create,
        ("DELETE", ["delete"]) => Verb::Drop,
        ("POST", ["copy"]) => {
            let body = content.json().ok_or(NotRead::Syntax)?;
            found.define(Verb::Read, "model", &text_of(body, "source")?.ok_or(NotRead::Form("source"))?)?;
            let name = text_of(body, "destination")?.ok_or(NotRead::Form("destination"))?;
            (found.known, found.api) = (true, Api::Json);
            return found.define(Verb::Create, "model", &name);
        }
        _ => return Ok(()),
    };
    (found.known, found.api) = (true, Api::Json);
    let body = content.json().ok_or(NotRead::Syntax)?;
    inference::plainly_named(body)?;
    let name = text_of(body, "model")?.or(text_of(body, "name")?).ok_or(NotRead::Form("model"))?;
    found.define(verb, "model", &name)
}

/// What is done to things of a kind.
fn kept(kind: &'static str, method: &str, rest: &[&str], content: &Content<'_>, found: &mut Found) -> Result<(), NotRead> {
    let verb = match (method, rest) {
        ("GET", []) => Some((Verb::Read, ANY)),
        ("POST", []) => return created(kind, content, found),
        ("POST", ["runs"]) if kind == "thread" => {
            found.define(Verb::Create, kind, ANY)?;
            return run(ANY, content, found);
        }
        (_, [id]) => verb_on_one(method).map(|verb| (verb, *id)),
        ("POST", [id, "cancel" | "complete" | "pause" | "resume"]) => Some((Verb::Alter, *id)),
        ("GET", [id, ..]) => Some((Verb::Read, *id)),
        // What is in it: files of vector stores, messages of threads, parts of uploads, items of conversations.
        ("POST", [id, "search"]) if kind == "vector store" => {
            found.reads = true;
            Some((Verb::Read, *id))
        }
        ("POST", [id, "runs"]) if kind == "thread" => return run(id, content, found),
        ("POST", [id, "runs", _, "submit_tool_outputs" | "cancel"]) if kind == "thread" => Some((Verb::Insert, *id)),
        ("POST", [id, _]) => Some((Verb::Insert, *id)),
        ("POST", [id, _, _] | [id, _, _, "cancel"]) => Some((Verb::Update, *id)),
        ("DELETE", [id, _, _]) => Some((Verb::Delete, *id)),
        _ => None,
    };
    let Some((verb, id)) = verb else { return Ok(()) };
    (found.known, found.api) = (true, if kind == "response" { Api::Responses } else { Api::Json });
    found.define(verb, kind, id)?;
    match content.json() {
        Some(body) => inside(body, found),
        None => {
            unread(content, found);
            Ok(())
        }
    }
}

/// What is not JSON may be taken for it.
fn unread(content: &Content<'_>, found: &mut Found) {
    if !matches!(content, Content::None | Content::Json(..) | Content::Parts(_)) {
        found.hazard(Hazard::Unknown);
    }
}

/// Something comes to be.
fn created(kind: &'static str, content: &Content<'_>, found: &mut Found) -> Result<(), NotRead> {
    (found.known, found.api) = (true, Api::Json);
    let body = content.json();
    let name = body.map(|body| text_of(body, "name")).transpose()?.flatten().filter(|name| !name.is_empty());
    found.define(Verb::Create, kind, name.as_deref().unwrap_or(ANY))?;
    if let Content::Parts(form) = content {
        return uploaded(form, found);
    }
    let Some(body) = body else {
        unread(content, found);
        return Ok(());
    };
    if kind == "batch" {
        match body.get("requests") {
            // Anthropic's hold what is asked.
            Some(requests) => {
                for params in requests.elements().filter_map(|request| request.get("params")) {
                    inference::read(params, false, found)?;
                }
                found.reads = false;
            }
            // A file holds it.
            None => found.hazard(Hazard::Opaque),
        }
    }
    inside(body, found)
}

/// A file comes to be. One of requests for later says what will be asked.
fn uploaded(form: &Multipart<'_>, found: &mut Found) -> Result<(), NotRead> {
    if form.field("purpose")? != Some("batch") {
        return Ok(());
    }
    let lines = form.iter().filter(|part| part.is_file).map(|part| part.text().ok_or(NotRead::Form("file")));
    let lines: Vec<&str> = lines.collect::<Result<_, _>>()?;
    for line in lines.into_iter().flat_map(str::lines).filter(|line| !line.trim().is_empty()) {
        let request = Document::read(line.as_bytes(), Rigor::Strict)?;
        let body = request.root().get("body").ok_or(NotRead::Form("body"))?;
        inference::read(body, false, found)?;
    }
    found.reads = false;
    Ok(())
}

/// A thread is gone on with by an assistant.
fn run(thread: &str, content: &Content<'_>, found: &mut Found) -> Result<(), NotRead> {
    (found.known, found.class, found.api) = (true, "runs", Api::Threads);
    found.define(Verb::Insert, "thread", thread)?;
    content.json().map_or(Err(NotRead::Syntax), |body| inside(body, found))
}

/// What a body names, whatever it is for.
fn inside(body: Value<'_>, found: &mut Found) -> Result<(), NotRead> {
    if body.kind() != Kind::Object {
        return Ok(());
    }
    inference::plainly_named(body)?;
    if let Some(model) = text_of(body, "model")?.filter(|model| !model.is_empty()) {
        found.model(&model)?;
    }
    inference::asked(body, found)
}
