//! Requests that use what a client has given a name.

use bytes::Bytes;
use claviger_protocols::Request;

/// Whether a request may say what a name stands for that the client gave.
pub(super) fn uses_names(request: &Request) -> bool {
    match request {
        Request::Prepare { again: true, .. } => true,
        Request::Batch { text } | Request::Prepare { text, .. } | Request::Execute { text: Some(text), .. } => {
            mentions_names(text)
        }
        Request::Execute { .. } | Request::Portal { .. } => true,
        Request::Call { .. } | Request::Exchange(_) | Request::Tool { .. } => false,
    }
}

/// Whether a text may use a prepared statement or a cursor: it has a word that would be needed for it.
pub(super) fn mentions_names(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 4] = [b"execute", b"fetch", b"move", b"current"];
    let begins =
        |at: usize| WORDS.iter().any(|word| text.get(at..at + word.len()).is_some_and(|here| here.eq_ignore_ascii_case(word)));
    (0..text.len()).any(begins)
}

/// A name as SQL takes it.
pub(super) fn quoted(name: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for byte in name {
        quoted.push(*byte);
        if *byte == b'"' {
            quoted.push(b'"');
        }
    }
    quoted.push(b'"');
    quoted
}

/// The text that says what a request does; none if it has none.
pub(crate) fn text_of(request: &Request) -> Option<Bytes> {
    match request {
        Request::Prepare { name, text, again: true, .. } if text.is_empty() => {
            Some([b"EXECUTE ", quoted(name).as_slice()].concat().into())
        }
        Request::Execute { name, text: None, .. } => Some([b"EXECUTE ", quoted(name).as_slice()].concat().into()),
        Request::Portal { name } => Some([b"FETCH ALL FROM ", quoted(name).as_slice()].concat().into()),
        Request::Batch { text } | Request::Prepare { text, .. } | Request::Execute { text: Some(text), .. } => Some(text.clone()),
        Request::Call { .. } | Request::Exchange(_) | Request::Tool { .. } => None,
    }
}
