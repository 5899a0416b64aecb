//! Other streams of models, and files.

use claviger_dialects::{Dialect, Usage};
use serde_json::{Value, json};

use crate::harness::{Asked, MASK, Masks, SECRET, called};

fn asked(path: &'static str, content_type: &'static str) -> Asked {
    Asked::to(Dialect::OpenAi, path, content_type)
}

#[test]
fn lines_of_ollama() {
    let line = |message: Value, done: bool| {
        let mut line = json!({"model": "llama3", "created_at": "2024-01-01T00:00:00Z", "message": message, "done": done});
        if done {
            line.as_object_mut()
                .unwrap()
                .extend([("prompt_eval_count".to_owned(), json!(7)), ("eval_count".to_owned(), json!(9))]);
        }
        format!("{line}\n")
    };
    let says = |content: &str| line(json!({"role": "assistant", "content": content}), false);
    let call =
        json!({"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "mail", "arguments": {"to": SECRET}}}]});
    let content = says("To bob.")
        + &says("smith@exam")
        + &line(call, false)
        + &line(json!({"role": "assistant", "content": "ple.com"}), true);
    let (answered, usage) = asked("/api/chat", "application/x-ndjson").answer_cut(content.as_bytes());
    let lines: Vec<Value> = answered.bytes.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text: String = lines.iter().filter_map(|line| line["message"]["content"].as_str()).collect();
    assert_eq!(text, format!("To {MASK}"));
    assert_eq!(lines[2]["message"]["tool_calls"][0]["function"]["arguments"], json!({"to": MASK}));
    assert_eq!((lines.len(), &lines[3]["done"]), (4, &json!(true)));
    assert_eq!(called(&answered), [("mail", &*format!("{{\"to\":\"{MASK}\"}}"))]);
    assert_eq!(usage, Usage { input: 7, output: 9, said: true });
}

#[test]
fn runs_of_assistants() {
    let delta = |value: &str| {
        let delta = json!({"content": [{"index": 0, "type": "text", "text": {"value": value, "annotations": []}}]});
        format!(
            "event: thread.message.delta\ndata: {}\n\n",
            json!({"id": "msg_1", "object": "thread.message.delta", "delta": delta})
        )
    };
    let done = json!({"id": "msg_1", "object": "thread.message", "content": [{"type": "text", "text": {"value": format!("to {SECRET}")}}]});
    let needs = json!({"id": "run_1", "object": "thread.run", "required_action": {"type": "submit_tool_outputs", "submit_tool_outputs":
        {"tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": format!("{{\"a\":\"{SECRET}\"}}")}}]}}});
    let content = delta("to bob.smi")
        + &delta("th@example.com")
        + &format!("event: thread.message.completed\ndata: {done}\n\n")
        + &format!("event: thread.run.requires_action\ndata: {needs}\n\nevent: done\ndata: [DONE]\n\n");
    let (answered, _) = asked("/v1/threads/th_1/runs", "text/event-stream").answer_cut(content.as_bytes());
    let events: Vec<Value> = crate::harness::events(&answered.bytes);
    let text: String = events.iter().filter_map(|event| event["delta"]["content"][0]["text"]["value"].as_str()).collect();
    assert_eq!(text, format!("to {MASK}"));
    assert_eq!(events[3]["content"][0]["text"]["value"], format!("to {MASK}"));
    assert_eq!(called(&answered), [("f", &*format!("{{\"a\":\"{MASK}\"}}"))]);
    assert!(answered.bytes.ends_with("event: done\ndata: [DONE]\n\n"));
}

#[test]
fn transcripts_come_in_parts() {
    let content = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"to bob.smith@\"}\n\ndata: {\"type\":\"transcript.text.delta\",\
                   \"delta\":\"example.com\"}\n\ndata: {\"type\":\"transcript.text.done\",\"text\":\"to bob.smith@example.com\"}\n\n";
    let request = Asked::to(Dialect::OpenAi, "/v1/audio/transcriptions", "text/event-stream");
    let (answered, _) = request.answer_cut(content.as_bytes());
    let events = crate::harness::events(&answered.bytes);
    let text: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert_eq!((text, &events.last().unwrap()["text"]), (format!("to {MASK}"), &json!(format!("to {MASK}"))));
}

#[test]
fn what_has_no_type_is_told_by_its_beginning() {
    let file = |content_type| asked("GET /v1/files/file-1/content", content_type);
    let lines = format!("{{\"a\":\"bob.smith\\u0040example.com\"}}\n{{\"b\":\"{SECRET}\"}}\n");
    let (answered, _) = file("application/octet-stream").answer_cut(lines.as_bytes());
    assert_eq!(answered.bytes, format!("{{\"a\":\"{MASK}\"}}\n{{\"b\":\"{MASK}\"}}\n"));
    let (answered, _) = file("").answer_cut(format!("{{\"a\":\"{SECRET}\"}}").as_bytes());
    assert_eq!(answered.bytes, format!("{{\"a\":\"{MASK}\"}}"));
    let long = format!("{}to {SECRET} or", "words ".repeat(100));
    let (answered, _) = file("application/octet-stream").answer_cut(long.as_bytes());
    assert_eq!(answered.bytes, long.replace(SECRET, MASK));
    // What is none stays.
    let bytes = format!("PK\u{3}\0{SECRET}");
    assert_eq!(file("application/zip").answer([bytes.as_bytes()], &mut Masks::default()).unwrap().0.bytes, bytes);
}
