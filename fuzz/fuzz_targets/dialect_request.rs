//! Any request to any dialect: what is read of it is the same each time, and with its texts rewritten it does the same.
#![no_main]

use claviger_dialects::{Dialect, Parts, Place, Request, Texts};
use libfuzzer_sys::fuzz_target;

const PATHS: [&str; 14] = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/embeddings",
    "/v1/files",
    "/v1/batches",
    "/v1/messages/batches",
    "/v1/vector_stores",
    "/v1/threads/t/runs",
    "/api/chat",
    "/collections/c/points/batch",
    "/collections/aliases",
    "/collections/c/points/query",
    "/api/v2/tenants/t/databases/d/collections",
];
const TYPES: [&str; 5] = [
    "application/json",
    "multipart/form-data; boundary=b",
    "application/x-www-form-urlencoded",
    "application/x-ndjson",
    "text/plain",
];

/// Takes the letter x away, wherever it may.
struct Takes;

impl Texts for Takes {
    fn whole(&mut self, _place: Place<'_>, text: &str) -> Option<String> {
        text.contains('x').then(|| text.replace('x', "\"\\"))
    }

    fn parts(&mut self, _place: Place<'_>) -> Box<dyn Parts> {
        unreachable!("requests are whole")
    }
}

fuzz_target!(|input: &[u8]| {
    let Some(([dialect, path, kind], content)) = input.split_first_chunk() else { return };
    let (_, dialect) = Dialect::WORDS[usize::from(*dialect) % Dialect::WORDS.len()];
    let path = PATHS[usize::from(*path) % PATHS.len()];
    let content_type = Some(TYPES[usize::from(*kind) % TYPES.len()]);
    let request = Request { method: "POST", path, query: None, content_type, prompt: None, content };
    let Ok(reading) = dialect.read(&request) else { return };
    assert_eq!(dialect.read(&request).as_ref(), Ok(&reading));
    let Ok(Some(rewritten)) = dialect.rewrite(&request, &reading, &mut Takes) else { return };
    let request = Request { content: &rewritten, ..request };
    let again = dialect.read(&request).expect("what is rewritten can be read");
    assert_eq!((again.model, again.opaque), (reading.model, reading.opaque));
});
