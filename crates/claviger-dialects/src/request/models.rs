//! APIs of language models: OpenAI's, Anthropic's, and those of the servers that speak as they do.

use claviger_model::Verb;

use super::content::Content;
use super::{Found, inference, stored, urlencoded};
use crate::answer::Api;
use crate::{NotRead, Request};

/// How long paths are, in segments.
const SEGMENTS: usize = 16;

/// What stands before the API's own paths, the longest first.
const PREFIXES: [&[&str]; 6] =
    [&["v1beta", "openai"], &["openai", "v1"], &["api", "v1"], &["inference", "v1"], &["openai"], &["v1"]];

pub(super) fn read(request: &Request<'_>, content: &Content<'_>, found: &mut Found) -> Result<(), NotRead> {
    let segments: Vec<&str> = request.path.split('/').skip(1).take(SEGMENTS + 1).collect();
    // A slash at the end is another path for some servers, and the same for others.
    if segments.len() > SEGMENTS || segments.contains(&"") {
        return Ok(());
    }
    let (deployment, path) = match segments.as_slice() {
        ["openai", "deployments", deployment, path @ ..] => (Some(*deployment), path),
        all => (None, PREFIXES.iter().find_map(|prefix| all.strip_prefix(*prefix)).unwrap_or(all)),
    };
    if let Some(deployment) = deployment {
        found.model(deployment)?;
    }
    // A head is what would be answered to `GET`, without the content.
    let method = if request.method == "HEAD" { "GET" } else { request.method };
    // Some servers take it from there.
    if method == "POST" && asked_beside(request.query.unwrap_or_default()) {
        return Err(NotRead::Form("model"));
    }
    let inference = match (method, path) {
        ("POST", ["chat", "completions"]) => Some(("chat", Api::Chat)),
        ("POST", ["completions"]) => Some(("completions", Api::Completions)),
        ("POST", ["responses"]) => Some(("responses", Api::Responses)),
        ("POST", ["responses", "compact" | "input_tokens"]) => Some(("count_tokens", Api::Json)),
        ("POST", ["messages"]) => Some(("messages", Api::Messages)),
        ("POST", ["messages", "count_tokens"]) => Some(("count_tokens", Api::Json)),
        ("POST", ["embeddings"]) => Some(("embeddings", Api::Json)),
        ("POST", ["moderations"]) => Some(("moderations", Api::Json)),
        ("POST", ["rerank" | "score"]) => Some(("rerank", Api::Json)),
        ("POST", ["images", "generations" | "edits" | "variations"]) => Some(("images", Api::Images)),
        ("POST", ["audio", "transcriptions" | "translations"]) => Some(("audio", Api::Audio)),
        ("POST", ["audio", "speech"]) => Some(("audio", Api::Audio)),
        // Ollama's own.
        ("POST", ["api", "chat" | "generate"]) => Some(("chat", Api::Ollama)),
        ("POST", ["api", "embed" | "embeddings"]) => Some(("embeddings", Api::Json)),
        _ => None,
    };
    let Some((class, api)) = inference else {
        return stored::read(method, path, content, found);
    };
    (found.known, found.reads, found.class, found.api) = (true, true, class, api);
    if let Some(body) = content.json() {
        return inference::read(body, deployment.is_some(), found);
    }
    match content {
        Content::Parts(form) => inference::form(form, deployment.is_some(), found),
        _ => Err(NotRead::Syntax),
    }
}

/// Whether a query names a model.
fn asked_beside(query: &str) -> bool {
    let names = query.split(['&', ';']).map(|pair| pair.split('=').next().unwrap_or_default());
    names.into_iter().any(|name| urlencoded::decoded(name).trim().eq_ignore_ascii_case("model"))
}

/// What is done to something that is kept under a name, by its method.
pub(super) fn verb_on_one(method: &str) -> Option<Verb> {
    match method {
        "GET" => Some(Verb::Read),
        "POST" | "PATCH" | "PUT" => Some(Verb::Alter),
        "DELETE" => Some(Verb::Drop),
        _ => None,
    }
}
