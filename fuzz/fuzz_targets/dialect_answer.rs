//! A hostile service's answers: however they are cut, the same comes of them, and nothing that must not leave does.
#![no_main]

use bytes::Bytes;
use claviger_dialects::{Dialect, NotRead, Parts, Piece, Place, Request, Texts};
use libfuzzer_sys::fuzz_target;

const APIS: [(Dialect, &str, &[u8]); 7] = [
    (Dialect::OpenAi, "/v1/chat/completions", b"{\"model\":\"m\"}"),
    (Dialect::OpenAi, "/v1/completions", b"{\"model\":\"m\"}"),
    (Dialect::OpenAi, "/v1/responses", b"{\"model\":\"m\"}"),
    (Dialect::Anthropic, "/v1/messages", b"{\"model\":\"m\"}"),
    (Dialect::OpenAi, "/v1/threads/t/runs", b"{\"assistant_id\":\"a\"}"),
    (Dialect::OpenAi, "/api/chat", b"{\"model\":\"m\"}"),
    (Dialect::Plain, "/", b""),
];
const TYPES: [&str; 5] = ["text/event-stream", "application/json", "application/x-ndjson", "text/plain", ""];

/// Keeps texts back until they end, and takes the letter x away.
#[derive(Default)]
struct Takes(String);

impl Texts for Takes {
    fn whole(&mut self, _place: Place<'_>, text: &str) -> Option<String> {
        text.contains('x').then(|| text.replace('x', ""))
    }

    fn parts(&mut self, _place: Place<'_>) -> Box<dyn Parts> {
        Box::new(Self::default())
    }
}

impl Parts for Takes {
    fn push(&mut self, part: &str, out: &mut String) {
        self.0.push_str(part);
        if self.0.ends_with(' ') {
            self.finish(out);
        }
    }

    fn finish(&mut self, out: &mut String) {
        out.push_str(&std::mem::take(&mut self.0).replace('x', ""));
    }
}

type Answered = Result<(Vec<u8>, Vec<String>), NotRead>;

fn answer<'a>(api: usize, content_type: &str, pieces: impl Iterator<Item = &'a [u8]>) -> Answered {
    let (dialect, path, content) = APIS[api];
    let request = Request { method: "POST", path, query: None, content_type: Some("application/json"), prompt: None, content };
    let reading = dialect.read(&request).expect("it can be read");
    let mut answer = dialect.answer(&reading, 2048);
    answer.begin(200, Some(content_type));
    let mut out = Vec::new();
    for piece in pieces {
        answer.push(Bytes::copy_from_slice(piece), &mut Takes::default(), &mut out)?;
    }
    answer.finish(&mut Takes::default(), &mut out)?;
    let _ = answer.refused("no");
    let (mut bytes, mut calls) = (Vec::new(), Vec::new());
    for piece in out {
        match piece {
            Piece::Bytes(more) => bytes.extend_from_slice(&more),
            Piece::Call(call) => calls.push(format!("{}({})", call.tool, call.arguments)),
        }
    }
    Ok((bytes, calls))
}

/// Comments that say that somebody is there stand wherever pieces end.
fn quiet(answered: Answered) -> Answered {
    answered.map(|(bytes, calls)| (String::from_utf8_lossy(&bytes).replace(":\n\n", "").into_bytes(), calls))
}

fuzz_target!(|input: &[u8]| {
    let Some(([api, kind, size], content)) = input.split_first_chunk() else { return };
    let (api, content_type) = (usize::from(*api) % APIS.len(), TYPES[usize::from(*kind) % TYPES.len()]);
    let whole = answer(api, content_type, std::iter::once(content));
    let cut = answer(api, content_type, content.chunks(usize::from(*size).max(1)));
    // Which of two faults shows first may depend on the cut.
    if whole.is_ok() && cut.is_ok() {
        assert_eq!(quiet(whole), quiet(cut));
    }
});
