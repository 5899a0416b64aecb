//! Anthropic's messages.

use claviger_dialects::{Dialect, Usage};
use serde_json::{Value, json};

use crate::harness::{Asked, MASK, SECRET, Untouched, called, events, named};

fn stream() -> Asked {
    Asked::to(Dialect::Anthropic, "/v1/messages", "text/event-stream")
}

fn start() -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [],
        "stop_reason": null, "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1}}})
}

fn begins(index: u32, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: u32, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn text(index: u32, text: &str) -> Value {
    delta(index, json!({"type": "text_delta", "text": text}))
}

fn stop(index: u32) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

fn end(reason: &str) -> [Value; 2] {
    [
        json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 42}}),
        json!({"type": "message_stop"}),
    ]
}

/// The blocks as the SDKs put them together.
fn heard(bytes: &str) -> Vec<Value> {
    let mut blocks: Vec<Value> = Vec::new();
    let mut open = None;
    for event in events(bytes) {
        let index = event["index"].as_u64().unwrap_or(0) as usize;
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!((index, open), (blocks.len(), None));
                blocks.push(event["content_block"].clone());
                open = Some(index);
            }
            "content_block_delta" => {
                assert_eq!(open, Some(index), "{event}");
                let block = &mut blocks[index];
                let delta = &event["delta"];
                for (name, into) in
                    [("text", "text"), ("thinking", "thinking"), ("partial_json", "json"), ("signature", "signature")]
                {
                    if let Some(more) = delta[name].as_str() {
                        let before = block[into].as_str().unwrap_or_default().to_owned();
                        block[into] = json!(before + more);
                    }
                }
            }
            "content_block_stop" => assert_eq!(open.take(), Some(index)),
            _ => {}
        }
    }
    blocks
}

#[test]
fn texts_come_in_parts_and_calls_whole() {
    let mut sent = vec![
        start(),
        begins(0, json!({"type": "text", "text": ""})),
        json!({"type": "ping"}),
        text(0, "I ask bob.smi"),
        text(0, "th@exam"),
        text(0, "ple.com now"),
        stop(0),
        begins(1, json!({"type": "tool_use", "id": "toolu_1", "name": "lookup", "input": {}})),
        delta(1, json!({"type": "input_json_delta", "partial_json": ""})),
        delta(1, json!({"type": "input_json_delta", "partial_json": "{\"who\": \"bob.sm"})),
        delta(1, json!({"type": "input_json_delta", "partial_json": "ith\\u0040example.com\"}"})),
        stop(1),
        begins(2, json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}})),
        stop(2),
        begins(
            3,
            json!({"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content":
            [{"type": "web_search_result", "title": SECRET, "encrypted_content": "EqgfCioIARgB", "page_age": null}]}),
        ),
        stop(3),
    ];
    sent.extend(end("tool_use"));
    let (answered, usage) = stream().answer_cut(named(&sent).as_bytes());
    let blocks = heard(&answered.bytes);
    assert_eq!(blocks[0]["text"], format!("I ask {MASK} now"));
    assert_eq!(blocks[1]["json"], format!("{{\"who\": \"{MASK}\"}}"));
    assert_eq!(blocks[3]["content"][0]["title"], MASK);
    assert_eq!(blocks[3]["content"][0]["encrypted_content"], "EqgfCioIARgB");
    assert_eq!(called(&answered), [("lookup", &*format!("{{\"who\": \"{MASK}\"}}")), ("web_search", "{}")]);
    let before = &answered.bytes[..answered.calls[0].0];
    assert!(!before.contains("lookup") && before.contains("now"), "{before}");
    assert_eq!(usage, Usage { input: 15, output: 42, said: true });
}

#[test]
fn thoughts_stand_as_they_were_signed_or_not_at_all() {
    let thinking = |parts: &[&str]| {
        let mut sent = vec![start(), begins(0, json!({"type": "thinking", "thinking": "", "signature": ""}))];
        sent.extend(parts.iter().map(|part| delta(0, json!({"type": "thinking_delta", "thinking": part}))));
        sent.push(delta(0, json!({"type": "signature_delta", "signature": "EqQBCgIYAhIM1gbcDa9GJwZA2b3h"})));
        sent.extend([stop(0), begins(1, json!({"type": "text", "text": ""})), text(1, "Done."), stop(1)]);
        sent.extend(end("end_turn"));
        heard(&stream().answer_cut(named(&sent).as_bytes()).0.bytes)
    };
    let sent = vec![
        start(),
        begins(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "He asks"})),
        delta(0, json!({"type": "signature_delta", "signature": "EqQB"})),
        stop(0),
    ];
    let content = named(&sent);
    assert_eq!(
        stream().answer([content.as_bytes()], &mut Untouched).unwrap().0.bytes,
        content,
        "they flow where nothing is looked for"
    );
    let plain = thinking(&["He asks", " for a", " name."]);
    assert_eq!(
        (&plain[0]["thinking"], &plain[0]["signature"]),
        (&json!("He asks for a name."), &json!("EqQBCgIYAhIM1gbcDa9GJwZA2b3h"))
    );
    assert_eq!(plain[1]["text"], "Done.");
    let told = thinking(&["It is bob.smi", "th@example.com"]);
    assert_eq!((&told[0]["thinking"], &told[0]["signature"]), (&json!(""), &json!("EqQBCgIYAhIM1gbcDa9GJwZA2b3h")));
    let told = thinking(&["It is ", "bob.smi", "th@example.com", " here."]);
    assert_eq!(told[0]["thinking"], "It is ");
}

#[test]
fn what_is_new_passes() {
    let mut sent = vec![start(), begins(0, json!({"type": "novel", "x": 1})), delta(0, json!({"type": "novel_delta", "x": 2}))];
    sent.extend([
        delta(0, json!({"type": "novel_delta", "words": "bob.smith@"})),
        delta(0, json!({"type": "novel_delta", "words": "example.com"})),
    ]);
    sent.push(stop(0));
    sent.extend(end("end_turn"));
    let content = named(&sent);
    let (answered, _) = stream().answer([content.as_bytes()], &mut Untouched).unwrap();
    assert_eq!(answered.bytes, content);
    let words: String = events(&stream().answer_cut(content.as_bytes()).0.bytes)
        .iter()
        .filter_map(|event| event["delta"]["words"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(words, MASK);
    // In the middle of a stream, an error.
    let error =
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let (answered, _) = stream().answer([error.as_bytes()], &mut Untouched).unwrap();
    assert_eq!(answered.bytes, error);
}

#[test]
fn documents_hold_calls_and_thoughts() {
    let content = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [
        {"type": "thinking", "thinking": format!("ask {SECRET}"), "signature": "c2ln"},
        {"type": "text", "text": format!("to {SECRET}")},
        {"type": "tool_use", "id": "toolu_1", "name": "lookup", "input": {"who": SECRET, "n": 536_904_399}}],
        "stop_reason": "tool_use", "usage": {"input_tokens": 3, "output_tokens": 4}});
    let asked = Asked::to(Dialect::Anthropic, "/v1/messages", "application/json");
    let (answered, _) = asked.answer_cut(content.to_string().as_bytes());
    let told: Value = serde_json::from_str(&answered.bytes).unwrap();
    assert_eq!(told["content"][0], json!({"type": "thinking", "thinking": "", "signature": "c2ln"}));
    assert_eq!(told["content"][1]["text"], format!("to {MASK}"));
    assert_eq!(told["content"][2]["input"], json!({"who": MASK, "n": "<ssn>"}));
    assert_eq!(answered.calls.len(), 1);
    assert_eq!(serde_json::from_str::<Value>(&answered.calls[0].2).unwrap(), json!({"who": MASK, "n": "<ssn>"}));
}
