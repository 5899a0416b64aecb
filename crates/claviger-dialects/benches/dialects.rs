//! What it costs to read requests and to rewrite answers, where nothing is found in them.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use bytes::Bytes;
use claviger_dialects::{Dialect, Request, Untouched};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// A conversation with tools, as agents send it again with each step.
fn conversation(turns: usize) -> String {
    let said = "The branch opened in 1987 and has served the neighbourhood ever since; \\\"customers\\\" come for advice, for loans, and \
                sometimes only to talk.\\nIn spring the garden behind it is open to everybody, and on Thursdays there is music. ";
    let turn = format!(
        "{{\"role\":\"user\",\"content\":\"{said}{said}\"}},{{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{{\"id\":\"call_8f31\",\
         \"type\":\"function\",\"function\":{{\"name\":\"run_query\",\"arguments\":\"{{\\\"sql\\\": \\\"select 1\\\"}}\"}}}}]}},\
         {{\"role\":\"tool\",\"tool_call_id\":\"call_8f31\",\"content\":\"[{{\\\"n\\\": 1, \\\"name\\\": \\\"x\\\"}}]\"}}"
    );
    let tool = "{\"type\":\"function\",\"function\":{\"name\":\"run_query\",\"description\":\"Runs a query.\",\"parameters\":{\"type\":\"object\",\
                \"properties\":{\"sql\":{\"type\":\"string\",\"description\":\"The query.\"}},\"required\":[\"sql\"]}}}";
    format!("{{\"model\":\"gpt-4o\",\"stream\":true,\"messages\":[{}],\"tools\":[{tool}]}}", vec![turn; turns].join(","))
}

fn vectors() -> String {
    let vector = vec!["-0.012345678"; 1536].join(",");
    let one = format!("{{\"object\":\"embedding\",\"index\":0,\"embedding\":[{vector}]}}");
    format!("{{\"object\":\"list\",\"data\":[{}],\"model\":\"e\",\"usage\":{{\"prompt_tokens\":8}}}}", vec![one; 32].join(","))
}

fn stream(events: usize) -> String {
    let event = "data: {\"id\":\"chatcmpl-B1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"gpt-4o-mini\",\
                 \"system_fingerprint\":\"fp_1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" neighbourhood\"},\"logprobs\":null,\
                 \"finish_reason\":null}]}\n\n";
    event.repeat(events) + "data: [DONE]\n\n"
}

fn request<'a>(path: &'a str, content: &'a str) -> Request<'a> {
    let content_type = Some("application/json");
    Request { method: "POST", path, query: None, content_type, prompt: None, content: content.as_bytes() }
}

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    for (name, turns) in [("short", 1), ("long", 800)] {
        let content = conversation(turns);
        let request = request("/v1/chat/completions", &content);
        let reading = Dialect::OpenAi.read(&request).unwrap();
        group.throughput(Throughput::Bytes(content.len() as u64));
        group.bench_function(format!("{name} read"), |bencher| {
            bencher.iter(|| Dialect::OpenAi.read(black_box(&request)).unwrap())
        });
        group.bench_function(format!("{name} rewritten"), |bencher| {
            bencher.iter(|| Dialect::OpenAi.rewrite(black_box(&request), &reading, &mut Untouched).unwrap())
        });
    }
    group.finish();
}

fn answers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("answer");
    let events = stream(1000);
    let cases = [
        ("vectors", "/v1/embeddings", "application/json", vectors()),
        ("conversation", "/v1/chat/completions", "application/json", conversation(800)),
        ("events", "/v1/chat/completions", "text/event-stream", events),
    ];
    for (name, path, content_type, content) in cases {
        let asked = r#"{"model":"m","messages":[],"input":"x"}"#;
        let reading = Dialect::OpenAi.read(&request(path, asked)).unwrap();
        let content = Bytes::from(content);
        group.throughput(Throughput::Bytes(content.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut answer = Dialect::OpenAi.answer(&reading, 16 << 20);
                let mut out = Vec::new();
                answer.begin(200, Some(content_type));
                for start in (0..content.len()).step_by(16_384) {
                    let piece = content.slice(start..content.len().min(start + 16_384));
                    answer.push(piece, &mut Untouched, &mut out).unwrap();
                }
                answer.finish(&mut Untouched, &mut out).unwrap();
                black_box(out)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, requests, answers);
criterion_main!(benches);
