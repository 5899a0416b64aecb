//! Other streams of models, and files.

use claviger_dialects::{Dialect, Piece, Request, Texts, Usage};
use serde_json::{Value, json};

use crate::harness::{Asked, MASK, Masks, SECRET, Untouched, called};

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

#[test]
fn what_something_is_said_to_be_hides_nothing() {
    let calls = format!(
        "{{\"id\":\"c\",\"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"to bob.smith\\u0040example.com\",\
         \"tool_calls\":[{{\"id\":\"c\",\"type\":\"function\",\"function\":{{\"name\":\"f\",\"arguments\":\"{{\\\"a\\\":\\\"{SECRET}\\\"}}\"}}}}]}},\
         \"finish_reason\":\"tool_calls\"}}]}}"
    );
    let pretty = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&calls).unwrap()).unwrap();
    let types =
        ["text/plain", "text/html; charset=utf-8", "", "application/octet-stream", "text/event-stream", "application/json"];
    for content_type in types {
        let chat = asked("/v1/chat/completions", content_type);
        for content in [calls.clone(), format!("\u{feff} {calls}\n"), pretty.clone(), format!("{calls}\n{calls}")] {
            let (answered, _) = chat.answer([content.as_bytes()], &mut Masks::default()).unwrap();
            assert!(!answered.bytes.contains("bob.smith"), "{content_type}: {}", answered.bytes);
            assert_eq!(answered.calls[0], (0, "f".to_owned(), format!("{{\"a\":\"{MASK}\"}}")), "{content_type}: {content}");
        }
        let part = |name: &str, arguments: Value| {
            let function = json!({"index": 0, "id": "c", "function": {"name": name, "arguments": arguments}});
            format!("data: {}\n\n", json!({"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": [function]}}]}))
        };
        let stream = part("f", json!("{\"a\":\"bob.sm")) + &part("", json!("ith@example.com\"}")) + "data: [DONE]\n\n";
        for content in [stream.clone(), format!("\n: up\n\n{stream}"), format!("\u{feff}event: x\n{stream}")] {
            let (answered, _) = chat.answer(content.as_bytes().chunks(7), &mut Masks::default()).unwrap();
            assert_eq!(called(&answered), [("f", &*format!("{{\"a\":\"{MASK}\"}}"))], "{content_type}: {content}");
        }
    }
    let (answered, _) = asked("/v1/chat/completions", "text/plain").answer_cut(calls.as_bytes());
    assert_eq!(called(&answered), [("f", &*format!("{{\"a\":\"{MASK}\"}}"))]);
    let masked = |path: &'static str, content: &str| {
        let mut masks = Masks::default();
        Asked::to(Dialect::Plain, path, "text/plain").answer([content.as_bytes()], &mut masks).unwrap();
        masks.places
    };
    assert_eq!(masked("/crm", "{\"mail\":\"x\"}"), ["{}", "mail"]);
    assert_eq!(masked("/crm", "[INFO] up"), ["…"]);
}

#[test]
fn tokens_do_not_say_as_numbers_what_texts_do_not() {
    let line = |text: &str, done: bool| {
        let mut line = json!({"model": "llama3", "response": text, "done": done});
        if done {
            line["context"] = json!([1, 2]);
        }
        format!("{line}\n")
    };
    let last = |content: String, texts: &mut dyn Texts| {
        let (answered, _) = asked("/api/generate", "application/x-ndjson").answer([content.as_bytes()], texts).unwrap();
        serde_json::from_str::<Value>(answered.bytes.lines().last().unwrap()).unwrap()["context"].clone()
    };
    let content = line(&format!("to {SECRET} "), false) + &line("", true);
    assert_eq!(last(content.clone(), &mut Masks::default()), json!([]));
    assert_eq!(last(content, &mut Untouched), json!([1, 2]));

    let choice = |text: &str| json!({"index": 0, "delta": {"content": text}, "token_ids": [7], "finish_reason": null});
    let chunk = |text: &str| format!("data: {}\n\n", json!({"id": "c", "prompt_token_ids": [[1]], "choices": [choice(text)]}));
    let content = chunk("hi ") + &chunk(&format!("{SECRET} ")) + &chunk("x ");
    let (answered, _) = asked("/v1/chat/completions", "text/event-stream").answer_cut(content.as_bytes());
    let told = crate::harness::events(&answered.bytes);
    let tokens: Vec<_> = told.iter().map(|event| (&event["choices"][0]["token_ids"], &event["prompt_token_ids"])).collect();
    let (none, some, prompt) = (json!([]), json!([7]), json!([[1]]));
    assert_eq!(tokens, [(&some, &prompt), (&none, &none), (&none, &none)]);

    let document =
        |text: &str| json!({"choices": [{"text": text, "finish_reason": "stop"}], "tokens": [1], "metadata": {"tokens": [2]}});
    let answer = |text: &str| {
        let content = document(text).to_string();
        asked("/v1/completions", "application/json").answer_cut(content.as_bytes()).0.bytes
    };
    assert_eq!(answer("hi"), document("hi").to_string());
    let told: Value = serde_json::from_str(&answer(SECRET)).unwrap();
    assert_eq!((&told["tokens"], &told["metadata"]["tokens"]), (&json!([]), &json!([2])));
}

#[test]
fn lines_and_events_leave_as_they_come() {
    let line = "{\"model\":\"llama3\",\"response\":\"hi\",\"done\":false}\n";
    let event = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";
    let table = [
        ("/api/generate", "application/x-ndjson", line),
        ("/v1/chat/completions", "text/event-stream", event),
        ("/v1/chat/completions", "text/plain", event),
        ("/v1/chat/completions", "application/json", event),
    ];
    for (path, content_type, content) in table {
        let body = Some("application/json");
        let request =
            Request { method: "POST", path, query: None, content_type: body, prompt: None, content: b"{\"model\":\"m\"}" };
        let mut answer = Dialect::OpenAi.answer(&Dialect::OpenAi.read(&request).unwrap(), 1 << 20);
        let waits = answer.begin(200, Some(content_type));
        assert_eq!(waits, content_type == "application/json");
        let mut out = Vec::new();
        answer.push(content.into(), &mut Untouched, &mut out).unwrap();
        assert_eq!(out, [Piece::Bytes(content.into())], "{content_type}");
    }
}
