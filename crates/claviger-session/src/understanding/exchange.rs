//! HTTP requests: each calls one endpoint, which its method and path name.

use std::sync::Arc;

use claviger_model::{Effect, Endpoint, Meaning, Object, Verb};
use claviger_policy::Matter;

use super::facts::facts;
use super::{Text, Understanding};

impl Understanding {
    /// What a request with this method on this path does.
    pub(crate) fn of_exchange(method: &'static str, path: &Arc<str>) -> Self {
        let object = Object::Endpoint(Arc::new(Endpoint { method, path: Arc::clone(path) }));
        let effects = [Effect { verb: Verb::Invoke, object, through: None }].into();
        Self::Text(Arc::new(Text::of_one(Meaning { class: method, effects, ..Meaning::default() })))
    }
}

impl Text {
    fn of_one(meaning: Meaning) -> Self {
        let facts = [facts(&meaning)].into();
        let (transitions, changes) = Default::default();
        Self { matter: Ok(Matter::new([meaning])), facts, transitions, changes, depends_on_values: false }
    }
}

/// The longest part of a path that may be a word.
const LONGEST_WORD: usize = 24;

/// An endpoint as the record names it: its path is whatever a client makes up, so parts of it that look like values are left out, as
/// they are in no leaf. In the recording all of it stands, sealed.
pub(super) fn pattern(endpoint: &Endpoint) -> String {
    let parts: Vec<&str> = endpoint.path.split('/').map(|part| if is_word(part) { part } else { "*" }).collect();
    format!("{} {}", endpoint.method, parts.join("/"))
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
    fn no_value_of_a_path_is_named() {
        let named = |path: &str| pattern(&Endpoint { method: "GET", path: path.into() });
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
    }
}
