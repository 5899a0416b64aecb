//! OpenAI's responses.

use claviger_dialects::{Dialect, Usage};
use serde_json::{Value, json};

use crate::harness::{Asked, MASK, SECRET, Untouched, called, events, named};

fn stream() -> Asked {
    Asked::to(Dialect::OpenAi, "/v1/responses", "text/event-stream")
}

fn response(status: &str, output: Value) -> Value {
    json!({"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "gpt-4o", "instructions": null,
           "output": output, "parallel_tool_calls": true, "usage": {"input_tokens": 5, "output_tokens": 6, "total_tokens": 11}})
}

/// Numbers events as the service does.
fn numbered(events: Vec<Value>) -> Vec<Value> {
    let number = |(number, mut event): (usize, Value)| {
        event["sequence_number"] = json!(number);
        event
    };
    events.into_iter().enumerate().map(number).collect()
}

/// A text in parts, with its repetitions.
fn message(place: u32, id: &str, parts: &[&str]) -> (Vec<Value>, Value) {
    let text = parts.concat();
    let part = |text: &str| json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text});
    let item = |status: &str, content: Value| json!({"id": id, "type": "message", "status": status, "role": "assistant", "content": content});
    let at = json!({"item_id": id, "output_index": place, "content_index": 0});
    let with = |kind: &str, more: Value| {
        let mut event = at.clone();
        event["type"] = json!(kind);
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let mut events = vec![
        json!({"type": "response.output_item.added", "output_index": place, "item": item("in_progress", json!([]))}),
        with("response.content_part.added", json!({"part": part("")})),
    ];
    events.extend(parts.iter().map(|part| {
        with("response.output_text.delta", json!({"delta": part, "logprobs": [{"token": part}], "obfuscation": "aB"}))
    }));
    let done = item("completed", json!([part(&text)]));
    events.push(with("response.output_text.done", json!({"text": text, "logprobs": []})));
    events.push(with("response.content_part.done", json!({"part": part(&text)})));
    events.push(json!({"type": "response.output_item.done", "output_index": place, "item": done}));
    (events, done)
}

/// A call in parts, with its repetitions.
fn call(place: u32, id: &str, name: &str, parts: &[&str]) -> (Vec<Value>, Value) {
    let item = |status: &str, arguments: &str| json!({"id": id, "type": "function_call", "status": status, "call_id": "call_1", "name": name, "arguments": arguments});
    let at = |kind: &str| json!({"type": kind, "item_id": id, "output_index": place});
    let mut events = vec![json!({"type": "response.output_item.added", "output_index": place, "item": item("in_progress", "")})];
    for part in parts {
        let mut event = at("response.function_call_arguments.delta");
        event["delta"] = json!(part);
        events.push(event);
    }
    let mut done = at("response.function_call_arguments.done");
    done["arguments"] = json!(parts.concat());
    events.push(done);
    let item = item("completed", &parts.concat());
    events.push(json!({"type": "response.output_item.done", "output_index": place, "item": item}));
    (events, item)
}

fn all(parts: Vec<(Vec<Value>, Value)>) -> Vec<Value> {
    let (events, items): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let mut all = vec![
        json!({"type": "response.created", "response": response("in_progress", json!([]))}),
        json!({"type": "response.in_progress", "response": response("in_progress", json!([]))}),
    ];
    all.extend(events.into_iter().flatten());
    all.push(json!({"type": "response.completed", "response": response("completed", json!(items))}));
    numbered(all)
}

/// All deltas of a kind, together.
fn deltas(events: &[Value], kind: &str) -> String {
    events.iter().filter(|event| event["type"] == kind).map(|event| event["delta"].as_str().unwrap()).collect()
}

fn of<'a>(events: &'a [Value], kind: &str) -> &'a Value {
    events.iter().find(|event| event["type"] == kind).unwrap()
}

#[test]
fn every_repetition_says_what_has_left() {
    let sent = all(vec![message(0, "msg_1", &["Ask b", "ob.smith", "@exam", "ple.com", " or bob.", "smith@example.com"])]);
    let (answered, usage) = stream().answer_cut(named(&sent).as_bytes());
    let told = events(&answered.bytes);
    let text = format!("Ask {MASK} or {MASK}");
    assert_eq!(deltas(&told, "response.output_text.delta"), text);
    assert_eq!(of(&told, "response.output_text.done")["text"], text);
    assert_eq!(of(&told, "response.content_part.done")["part"]["text"], text);
    assert_eq!(of(&told, "response.output_item.done")["item"]["content"][0]["text"], text);
    assert_eq!(of(&told, "response.completed")["response"]["output"][0]["content"][0]["text"], text);
    assert_eq!(usage, Usage { input: 5, output: 6, said: true });
    // What is left comes in one more event of the same form, in its place.
    let kinds: Vec<_> = told.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds.len(), sent.len() + 1);
    let last = kinds.iter().rposition(|kind| *kind == "response.output_text.delta").unwrap();
    assert_eq!(kinds[last + 1], "response.output_text.done");
    let mut keys: Vec<_> = told[last].as_object().unwrap().keys().cloned().collect();
    keys.sort();
    assert_eq!(keys, ["content_index", "delta", "item_id", "logprobs", "output_index", "sequence_number", "type"]);
    let numbers: Vec<_> = told.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    for event in told.iter().filter(|event| event["type"] == "response.output_text.delta") {
        assert!(event["logprobs"][0]["token"].is_null() || event["logprobs"][0]["token"] == event["delta"], "{event}");
    }
}

#[test]
fn what_is_not_changed_passes_byte_for_byte() {
    let sent = all(vec![message(0, "msg_1", &["Hi", " there"]), message(1, "msg_2", &["\u{e9} \"q\""])]);
    let content = named(&sent) + "event: response.novel\ndata: {\"type\":\"response.novel\", \"x\": [1.50]}\n\n";
    for size in [1, 5, 100_000] {
        let (answered, _) = stream().answer(content.as_bytes().chunks(size), &mut Untouched).unwrap();
        assert_eq!(answered.bytes, content);
    }
}

#[test]
fn calls_are_told_once_and_before_anything_of_them() {
    let parts = ["", "{\"to\":\"bob.sm", "ith\\u0040exam", "ple.com\"}"];
    let sent = all(vec![message(0, "msg_1", &["So."]), call(1, "fc_1", "send_mail", &parts), call(2, "fc_2", "ping", &["{}"])]);
    let (answered, _) = stream().answer_cut(named(&sent).as_bytes());
    let arguments = format!("{{\"to\":\"{MASK}\"}}");
    assert_eq!(called(&answered), [("send_mail", &*arguments), ("ping", "{}")]);
    let before = &answered.bytes[..answered.calls[0].0];
    assert!(before.contains("So.") && !before.contains("send_mail") && !before.contains("fc_1"), "{before}");
    assert!(before.ends_with(":\n\n"), "somebody is there all the time");
    let told = events(&answered.bytes);
    assert_eq!(deltas(&told, "response.function_call_arguments.delta"), format!("{arguments}{{}}"));
    assert_eq!(of(&told, "response.function_call_arguments.done")["arguments"], arguments);
    let output = &of(&told, "response.completed")["response"]["output"];
    assert_eq!((&output[1]["arguments"], &output[2]["arguments"]), (&json!(arguments), &json!("{}")));
    let items: Vec<_> = told.iter().filter(|event| event["type"] == "response.output_item.done").collect();
    assert_eq!(items[1]["item"]["arguments"], arguments);
    // However lines end.
    for end in ["\r\n", "\r"] {
        let (other, _) = stream().answer_cut(named(&sent).replace('\n', end).as_bytes());
        assert_eq!(events(&other.bytes.replace("\r\n", "\n").replace('\r', "\n")), told);
    }
    // Deltas stand between what begins the item and what ends it.
    let kinds: Vec<_> = told.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let first = kinds.iter().position(|kind| kind.contains("arguments")).unwrap();
    let expected = [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.output_item.added",
    ];
    assert_eq!(kinds[first - 1..first + 4], expected);
}

#[test]
fn thoughts_refusals_and_tools_of_the_server() {
    let reasoning = json!({"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": format!("on {SECRET}")}],
        "content": [{"type": "reasoning_text", "text": "so bob"}], "encrypted_content": "gAAAAABo"});
    let at = |kind: &str, more: Value| {
        let mut event = json!({"type": kind, "item_id": "rs_1", "output_index": 0});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let search = json!({"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": format!("who is {SECRET}")}});
    let mcp = json!({"id": "mcp_1", "type": "mcp_call", "server_label": "crm", "name": "find", "arguments": format!("{{\"q\":\"{SECRET}\"}}"), "output": format!("is {SECRET}")});
    let refused = json!({"id": "msg_9", "type": "message", "status": "completed", "role": "assistant", "content": [{"type": "refusal", "refusal": format!("not {SECRET}")}]});
    let sent = numbered(vec![
        json!({"type": "response.created", "response": response("in_progress", json!([]))}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"id": "rs_1", "type": "reasoning", "summary": []}}),
        at("response.reasoning_summary_part.added", json!({"summary_index": 0, "part": {"type": "summary_text", "text": ""}})),
        at("response.reasoning_summary_text.delta", json!({"summary_index": 0, "delta": "on bob.smith@"})),
        at("response.reasoning_text.delta", json!({"content_index": 0, "delta": "so bob"})),
        at("response.reasoning_summary_text.delta", json!({"summary_index": 0, "delta": "example.com"})),
        at("response.reasoning_summary_text.done", json!({"summary_index": 0, "text": format!("on {SECRET}")})),
        at(
            "response.reasoning_summary_part.done",
            json!({"summary_index": 0, "part": {"type": "summary_text", "text": format!("on {SECRET}")}}),
        ),
        json!({"type": "response.output_item.done", "output_index": 0, "item": reasoning}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": {"id": "ws_1", "type": "web_search_call", "status": "in_progress"}}),
        json!({"type": "response.web_search_call.searching", "output_index": 1, "item_id": "ws_1"}),
        json!({"type": "response.output_item.done", "output_index": 1, "item": search}),
        json!({"type": "response.output_item.done", "output_index": 2, "item": mcp}),
        json!({"type": "response.refusal.delta", "item_id": "msg_9", "output_index": 3, "content_index": 0, "delta": "not bob.smith@exam"}),
        json!({"type": "response.refusal.delta", "item_id": "msg_9", "output_index": 3, "content_index": 0, "delta": "ple.com"}),
        json!({"type": "response.completed", "response": response("completed", json!([reasoning, search, mcp, refused]))}),
    ]);
    let (answered, _) = stream().answer_cut(named(&sent).as_bytes());
    let told = events(&answered.bytes);
    assert_eq!(deltas(&told, "response.reasoning_summary_text.delta"), format!("on {MASK}"));
    assert_eq!(deltas(&told, "response.reasoning_text.delta"), "so bob");
    assert_eq!(deltas(&told, "response.refusal.delta"), format!("not {MASK}"));
    let output = &of(&told, "response.completed")["response"]["output"];
    assert_eq!(output[0]["summary"][0]["text"], format!("on {MASK}"));
    assert_eq!((&output[0]["content"][0]["text"], &output[0]["encrypted_content"]), (&json!("so bob"), &json!("gAAAAABo")));
    assert_eq!(output[3]["content"][0]["refusal"], format!("not {MASK}"));
    let calls = called(&answered);
    assert_eq!((calls.len(), calls[0].0), (2, "web_search"));
    assert!(calls[0].1.contains(&format!("who is {MASK}")), "{}", calls[0].1);
    assert_eq!(calls[1], ("mcp:crm", &*format!("{{\"name\":\"find\",\"arguments\":{{\"q\":\"{MASK}\"}}}}")));
}

#[test]
fn documents_hold_calls() {
    let output = json!([
        call(0, "fc_1", "f", &["{\"a\":\"bob.smith@example.com\"}"]).1,
        message(1, "msg_1", &["to bob.smith@example.com"]).1
    ]);
    let content = response("completed", output);
    let asked = Asked::to(Dialect::OpenAi, "/v1/responses", "application/json; charset=utf-8");
    let (answered, _) = asked.answer_cut(content.to_string().as_bytes());
    assert_eq!(answered.bytes, content.to_string().replace(SECRET, MASK));
    assert_eq!(answered.calls, [(0, "f".to_owned(), format!("{{\"a\":\"{MASK}\"}}"))]);
    let later = Asked::to(Dialect::OpenAi, "GET /v1/responses/resp_1", "application/json");
    assert_eq!(later.answer_cut(content.to_string().as_bytes()).0, answered);
}

#[test]
fn servers_that_leave_out_places_are_understood() {
    let item =
        json!({"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": SECRET}]});
    let sent = vec![
        json!({"type": "response.created", "response": {"id": "r", "output": []}}),
        json!({"type": "response.output_item.added", "item": {"id": "msg_1", "type": "message", "content": []}}),
        json!({"type": "response.output_text.delta", "item_id": "msg_1", "delta": "bob.smith@"}),
        json!({"type": "response.output_text.delta", "item_id": "msg_1", "delta": "example.com"}),
        json!({"type": "response.output_item.done", "item": item}),
        json!({"type": "response.completed", "response": {"id": "r", "output": [item]}}),
    ];
    let (answered, _) = stream().answer_cut(named(&sent).as_bytes());
    let told = events(&answered.bytes);
    assert_eq!(deltas(&told, "response.output_text.delta"), MASK);
    assert_eq!(of(&told, "response.completed")["response"]["output"][0]["content"][0]["text"], MASK);
}

#[test]
fn calls_that_nobody_completes_are_told_all_the_same() {
    let (events, item) = call(1, "fc_1", "send_mail", &["{\"to\":\"bob.smith@example.com\"}"]);
    let begun = |count: usize| events.iter().take(count).cloned().collect::<Vec<_>>();
    let failed = json!({"type": "response.failed", "response": response("failed", json!([]))});
    let whole = ("send_mail", &*format!("{{\"to\":\"{MASK}\"}}"));
    let other =
        json!({"type": "response.output_item.done", "output_index": 1, "item": {"id": "fc_1", "type": "message", "content": []}});
    let mut renamed = item.clone();
    renamed["name"] = json!("ping");
    let renamed = json!({"type": "response.output_item.done", "output_index": 1, "item": renamed});
    let completed =
        json!({"type": "response.completed", "response": response("completed", json!([message(0, "m", &["a"]).1, item]))});
    let mut again = events[2].clone();
    again["arguments"] = json!("{}");
    let table = [
        (begun(1), vec![("send_mail", "")]),
        (begun(3), vec![whole]),
        ([begun(3), vec![failed.clone()]].concat(), vec![whole]),
        ([begun(1), vec![failed]].concat(), vec![("send_mail", "")]),
        ([begun(3), vec![other]].concat(), vec![whole]),
        ([begun(3), vec![renamed]].concat(), vec![("ping", whole.1), whole]),
        (events[2..3].to_vec(), vec![("", whole.1)]),
        ([begun(3), begun(3)].concat(), vec![whole, whole]),
        ([begun(3), vec![again], events[3..].to_vec()].concat(), vec![whole, whole, ("send_mail", "{}")]),
        ([begun(3), vec![completed]].concat(), vec![whole]),
    ];
    for (sent, calls) in table {
        let (answered, _) = stream().answer_cut(named(&sent).as_bytes());
        assert_eq!(called(&answered), calls, "{sent:?}");
        let before = &answered.bytes[..answered.calls[0].0];
        assert!(!before.contains("send_mail") && !before.contains("arguments"), "{before}");
        assert!(answered.bytes.contains("fc_1"), "what has waited leaves");
    }
}
