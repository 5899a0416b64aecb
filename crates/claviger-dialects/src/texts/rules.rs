//! Which strings are words of the API's own.

use super::Spot;
use crate::json::{Kind, Value};

/// What is known of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// Nothing: every string, number and name may be anything.
    Every,
    /// It is of an API of language models.
    Models,
    /// It is what one says: tokens stand beside texts, and say the same.
    Answers,
    /// It is of a vector database: numbers are vectors, but for those that are stored with them.
    Vectors,
}

/// What part of a document something stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    /// One whose members are the API's.
    Known,
    /// A JSON Schema.
    Schema,
    /// One whose members are made up by clients and models.
    Free,
}

/// What a string is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Is {
    Text,
    Fixed,
    Media,
}

/// Members whose values are the API's own words or identifiers, if they look like such.
const WORDS: [&str; 47] = [
    "annotations",
    "background",
    "cache_control",
    "detail",
    "display",
    "effort",
    "encoding_format",
    "endpoint",
    "environment",
    "event",
    "finish_reason",
    "format",
    "id",
    "ids",
    "include",
    "include_obfuscation",
    "inference_geo",
    "media_type",
    "method",
    "mime_type",
    "modalities",
    "model",
    "native_finish_reason",
    "object",
    "order",
    "parallel_tool_calls",
    "phase",
    "prompt_cache_retention",
    "purpose",
    "quality",
    "ranker",
    "reasoning_effort",
    "require_approval",
    "response_format",
    "role",
    "search_context_size",
    "server_label",
    "service_tier",
    "size",
    "status",
    "stop_reason",
    "system_fingerprint",
    "tool_choice",
    "truncation",
    "ttl",
    "type",
    "verbosity",
];

/// Members that may be images, sounds and other files.
const MEDIA: [&str; 11] = [
    "audio",
    "b64_json",
    "data",
    "embedding",
    "file_data",
    "file_url",
    "image_url",
    "images",
    "partial_image_b64",
    "result",
    "url",
];

/// Where a member `name` is that of a tool, a form or a server.
const NAMED: [&str; 17] = [
    "allowed_tools[].name",
    "content[].name",
    "content_block.name",
    "custom.name",
    "format.name",
    "function.name",
    "function_call.name",
    "functions[].name",
    "input[].name",
    "item.name",
    "json_schema.name",
    "mcp_servers[].name",
    "output[].name",
    "tool_calls[].name",
    "tool_choice.name",
    "tools[].name",
    "tools[].server_label",
];

impl Zone {
    /// The zone of a member.
    pub(super) fn within(self, path: &str, name: &str, kind: Kind) -> Self {
        if !matches!(kind, Kind::Object | Kind::Array) {
            return self;
        }
        match (self, name) {
            (Self::Free, _) => Self::Free,
            (Self::Schema, "const" | "default" | "enum" | "examples") => Self::Free,
            (Self::Known, "parameters" | "input_schema" | "output_schema" | "schema") => Self::Schema,
            (Self::Known, "metadata" | "variables" | "attributes" | "headers") => Self::Free,
            (Self::Known, "payload" | "metadatas" | "documents" | "filter" | "match" | "where" | "where_document") => Self::Free,
            // What a tool is called with. Elsewhere these are lists.
            (Self::Known, "arguments" | "input") if kind == Kind::Object => Self::Free,
            // A schema that is called by the name of something else, as `format` may be.
            (Self::Known, "format") if kind == Kind::Object && !path.contains('.') => Self::Schema,
            (zone, _) => zone,
        }
    }

    pub(super) fn is(self, spot: &Spot<'_>, value: Value<'_>) -> Is {
        // Words have no escapes, so that what is written tells as much as what it says; bytes may have some of slashes.
        match self {
            Self::Free => Is::Text,
            Self::Schema if matches!(spot.name, "type" | "$ref" | "format" | "required") && is_word(value.inner()) => Is::Fixed,
            Self::Schema => Is::Text,
            Self::Known if MEDIA.contains(&spot.name) => known(spot, &value.text().unwrap_or_default()),
            Self::Known => known(spot, value.inner()),
        }
    }
}

/// What a string is where members are the API's.
pub(super) fn known(spot: &Spot<'_>, text: &str) -> Is {
    match spot.name {
        // What is decided on is what leaves.
        "model" if spot.path == "model" => return Is::Fixed,
        "name" | "server_label" if NAMED.iter().any(|place| ends(spot.path, place)) => return Is::Fixed,
        "signature" | "encrypted_content" | "encrypted_index" | "encrypted_stdout" | "thought_signature" => return Is::Fixed,
        // Thoughts that nobody can read, and that come from the service.
        "data" if spot.path.ends_with("content[].data") => return Is::Fixed,
        // Filling, so that lengths tell nothing.
        "obfuscation" => return Is::Fixed,
        name if !MEDIA.contains(&name) => {}
        "url" | "image_url" | "file_url" if text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:")) => {
            return Is::Media;
        }
        _ if is_base64(text) => return Is::Media,
        _ => {}
    }
    let identifies = WORDS.binary_search(&spot.name).is_ok()
        || ((spot.name.ends_with("_id") || spot.name.ends_with("_ids")) && spot.name != "user_id");
    if identifies && is_word(text) { Is::Fixed } else { Is::Text }
}

/// Whether a path ends with these members.
fn ends(path: &str, place: &str) -> bool {
    path.strip_suffix(place).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// Whether something can be a word or an identifier of an API: not a number, not an address, nothing with spaces.
fn is_word(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"._:/+-$#|".contains(&c);
    text.is_empty() || (text.len() <= 256 && text.bytes().all(allowed) && text.bytes().any(|c| c.is_ascii_alphabetic()))
}

/// Whether something can be bytes in base64: long, and of nothing else.
fn is_base64(text: &str) -> bool {
    let text = text.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")).map_or(text, |(_, data)| data);
    let data = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/' | b'=' | b'-' | b'_' | b'\n' | b'\r');
    text.len() >= 64 && text.bytes().all(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted() {
        assert!(WORDS.is_sorted() && NAMED.is_sorted());
    }

    #[test]
    fn words_look_like_words() {
        for word in ["user", "gpt-4o-2024-08-06", "call_8f3", "text/plain", "ft:gpt-4o:org::x", "", "msg_01|fc_2"] {
            assert!(is_word(word), "{word}");
        }
        for text in ["536-90-4399", "ada@example.com", "two words", "4111111111111111", "\u{e9}t\u{e9}"] {
            assert!(!is_word(text), "{text}");
        }
    }
}
