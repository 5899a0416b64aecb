//! HTTP requests, as the dialect of their connection has it; and what models call in their answers.

use std::sync::Arc;

use claviger_dialects::{Call, NotRead, Reading, Request};
use claviger_model::{Endpoint, Meaning};
use claviger_policy::Matter;
use claviger_protocols::Exchange;

use super::facts::facts;
use super::{Text, Understanding};
use crate::ContentRules;

impl Understanding {
    /// What a request does.
    pub(crate) fn of_exchange(rules: &ContentRules, exchange: &Exchange) -> Self {
        let mut reading = match rules.dialect.read(&request(exchange)) {
            Ok(reading) => reading,
            Err(error) => return Self::of_error(error),
        };
        if let Some(templates) = &rules.templates {
            templates.name(rules.dialect, exchange.sent.as_deref(), &mut reading.meaning);
        }
        Self::Text(Arc::new(Text::of_one(reading.meaning.clone(), Some(reading))))
    }

    /// What a model's call of a tool does.
    pub(crate) fn of_tool(tool: &Arc<str>) -> Self {
        Self::Text(Arc::new(Text::of_one(Call::meaning(tool), None)))
    }

    fn of_error(error: NotRead) -> Self {
        Self::NotRead(error.to_string().into())
    }
}

/// A request as dialects read it.
pub(crate) fn request(exchange: &Exchange) -> Request<'_> {
    Request {
        method: exchange.method,
        path: &exchange.path,
        query: exchange.query.as_deref(),
        content_type: exchange.content_type.as_deref(),
        prompt: exchange.prompt.as_deref(),
        content: exchange.content.as_deref().unwrap_or_default(),
    }
}

impl Text {
    fn of_one(meaning: Meaning, reading: Option<Reading>) -> Self {
        let facts = [facts(&meaning)].into();
        let (transitions, changes) = Default::default();
        let (names, prepares) = ([].into(), [].into());
        Self {
            matter: Ok(Matter::new([meaning])),
            facts,
            transitions,
            changes,
            depends_on_values: false,
            names,
            prepares,
            reading,
        }
    }
}

/// The longest part of a path that may be a word.
const LONGEST_WORD: usize = 24;

/// The longest name that a client gives and that may be no value; and the most digits in a row in it, which a date has.
const LONGEST_NAME: usize = 64;
const MOST_DIGITS: usize = 8;

/// An endpoint as the record names it: its path is whatever a client makes up, so parts of it that look like values are left out, as
/// they are in no leaf. A template says it better. In the recording all of it stands, sealed.
pub(super) fn pattern(endpoint: &Endpoint) -> String {
    if let Some(template) = &endpoint.template {
        return format!("{} {template}", endpoint.method);
    }
    let parts: Vec<&str> = endpoint.path.split('/').map(|part| if is_word(part) { part } else { "*" }).collect();
    format!("{} {}", endpoint.method, parts.join("/"))
}

/// A name that a client gives to a model, a tool or the like, as the record has it: none that looks like a value.
pub(super) fn known(name: &str) -> String {
    let digits = name.as_bytes().split(|c| !c.is_ascii_digit()).map(<[u8]>::len).max().unwrap_or(0);
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.:/".contains(&c);
    let is_known = name.len() <= LONGEST_NAME && name.bytes().all(plain) && digits <= MOST_DIGITS;
    if is_known && name.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) { name.to_owned() } else { "*".to_owned() }
}

/// Lower-case words with dashes and underscores between them, versions such as `v1`, `v1beta` and `v1beta2`, and `.well-known`.
fn is_word(part: &str) -> bool {
    let is_letter = |c: u8| c.is_ascii_lowercase() || matches!(c, b'-' | b'_');
    part.len() <= LONGEST_WORD && (part.bytes().all(is_letter) || is_version(part) || part == ".well-known")
}

fn is_version(part: &str) -> bool {
    let is_number = |text: &str| text.len() <= 2 && text.bytes().all(|c| c.is_ascii_digit());
    let of = |number: &str| {
        let (major, minor) = number.split_once("alpha").or_else(|| number.split_once("beta")).unwrap_or((number, ""));
        !major.is_empty() && is_number(major) && is_number(minor)
    };
    part.strip_prefix('v').is_some_and(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_of_a_name_is_named() {
        for (name, shown) in [
            ("gpt-4o", "gpt-4o"),
            ("claude-sonnet-4-20250514", "claude-sonnet-4-20250514"),
            ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
            ("mcp:bank", "mcp:bank"),
            ("123-45-6789", "*"),
            ("bob@example.com", "*"),
            ("a4111111111111111", "*"),
            ("Bob Smith", "*"),
        ] {
            assert_eq!(known(name), shown);
        }
    }

    #[test]
    fn no_value_of_a_path_is_named() {
        let of = |path: &str, template| Endpoint { method: "GET", path: path.into(), template, operation: None };
        let named = |path: &str| pattern(&of(path, None));
        for (path, pattern) in [
            ("/", "GET /"),
            ("/v1/chat/completions", "GET /v1/chat/completions"),
            ("/v1beta/models", "GET /v1beta/models"),
            ("/v123/models", "GET /*/models"),
            ("/v1alpha2/models/", "GET /v1alpha2/models/"),
            ("/v1/files/file-8Jz", "GET /v1/files/*"),
            ("/customers/123-45-6789", "GET /customers/*"),
            ("/customers/v123456789", "GET /customers/*"),
            ("/customers/bob@example.com", "GET /customers/*"),
            ("/a/%C3%A9", "GET /a/*"),
            ("/a/abcdefghijklmnopqrstuvwxyz", "GET /a/*"),
        ] {
            assert_eq!(named(path), pattern);
        }
        assert_eq!(pattern(&of("/files/bob", Some("/files/{name}".into()))), "GET /files/{name}");
    }
}
