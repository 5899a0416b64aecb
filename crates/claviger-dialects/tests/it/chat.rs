//! Chat completions.

use std::collections::BTreeMap;

use claviger_dialects::{Dialect, NotRead, Piece, Request, Usage};
use serde_json::{Value, json};

use crate::harness::{Asked, MASK, Masks, SECRET, Untouched, called, events};

fn stream() -> Asked {
    Asked::to(Dialect::OpenAi, "/v1/chat/completions", "text/event-stream")
}

fn document() -> Asked {
    Asked::to(Dialect::OpenAi, "/v1/chat/completions", "application/json")
}

fn chunk(choice: &Value) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "gpt-4o-mini",
           "service_tier": "default", "system_fingerprint": "fp_1", "choices": [choice], "usage": null, "obfuscation": "Xy7"})
}

fn sent(chunks: &[Value]) -> String {
    let events: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    events + "data: [DONE]\n\n"
}

fn says(index: u32, content: &str) -> Value {
    chunk(&json!({"index": index, "delta": {"content": content}, "logprobs": null, "finish_reason": null}))
}

fn ends(index: u32, reason: &str) -> Value {
    chunk(&json!({"index": index, "delta": {}, "logprobs": null, "finish_reason": reason}))
}

/// What a client has heard of each choice by the end, as the SDKs put it together.
fn heard(bytes: &str) -> BTreeMap<u64, BTreeMap<String, String>> {
    let mut heard: BTreeMap<u64, BTreeMap<String, String>> = BTreeMap::new();
    let mut ended = Vec::new();
    for event in events(bytes) {
        for choice in event["choices"].as_array().unwrap() {
            let index = choice["index"].as_u64().unwrap();
            assert!(!ended.contains(&index), "nothing follows the end of a choice: {event}");
            assert_eq!(event["id"], "chatcmpl-1");
            let texts = heard.entry(index).or_default();
            for (name, text) in choice["delta"].as_object().unwrap() {
                if let Some(text) = text.as_str() {
                    texts.entry(name.clone()).or_default().push_str(text);
                }
                for call in text.as_array().into_iter().flatten() {
                    let entry = texts.entry(format!("call {}", call["index"])).or_default();
                    entry.push_str(&format!("{} {}({})", call["id"], call["function"]["name"], call["function"]["arguments"]));
                }
            }
            if !choice["finish_reason"].is_null() {
                ended.push(index);
            }
        }
    }
    heard
}

#[test]
fn a_value_that_comes_in_many_parts_does_not_leave() {
    let parts = ["Write to b", "ob", ".", "s", "m", "ith", "@", "example", ".", "com", " or call."];
    let mut chunks = vec![chunk(&json!({"index": 0, "delta": {"role": "assistant", "content": "", "refusal": null},
                                       "logprobs": null, "finish_reason": null}))];
    chunks.extend(parts.iter().map(|part| says(0, part)));
    chunks.push(ends(0, "stop"));
    chunks.push(json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [],
                       "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}}));
    let (answered, usage) = stream().answer_cut(sent(&chunks).as_bytes());
    let heard = heard(&answered.bytes);
    assert_eq!(heard[&0]["content"], format!("Write to {MASK} or call."));
    assert_eq!(heard[&0]["role"], "assistant");
    assert_eq!(usage, Usage { input: 9, output: 12, said: true });
    assert!(answered.bytes.ends_with("data: [DONE]\n\n"));
    // No event is lost, and what is left comes in one more.
    assert_eq!(events(&answered.bytes).len(), chunks.len() + 1);
}

#[test]
fn what_is_not_changed_passes_byte_for_byte() {
    let odd = ": hello\r\n\r\ndata:{\"id\" : \"a\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\\u0020b\\/c\",\"new\":{\"x\":[1e3]}}}]}\r\n\r\n\
               event: x\nid: 7\nretry: 10\ndata: {\"choices\":[],\ndata: \"x\": 1.0}\n\n\n\ndata: not json\n\nfoo: bar\n\ndata: {\"choices\":[{\"index\":0,\
               \"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    for content in [odd, &odd.replace("\r\n", "\r"), &format!("\u{feff}{odd}"), &odd.replace('\n', "\r\n").replace("\r\r", "\r")]
    {
        for size in [1, 2, 3, 7, 10_000] {
            let (answered, _) = stream().answer(content.as_bytes().chunks(size), &mut Untouched).unwrap();
            assert_eq!(answered.bytes, content);
        }
        stream().answer_cut(content.as_bytes());
    }
}

#[test]
fn escapes_hide_nothing() {
    let with = |content: &str| {
        format!("data: {{\"id\":\"chatcmpl-1\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}}}}]}}\n\n")
    };
    let end = "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let content = with("bob.smith") + &with("\\u0040exam") + &with("ple.\\u0063om \\ud83d") + &with("\\ude00 ok\\ud83d") + end;
    let (answered, _) = stream().answer_cut(content.as_bytes());
    assert_eq!(heard(&answered.bytes)[&0]["content"], format!("{MASK} \u{1f600} ok\u{fffd}"));
}

#[test]
fn choices_do_not_mix() {
    let chunks = [
        says(0, "a bob.smith@"),
        says(1, "b bob."),
        chunk(&json!({"index": 0, "delta": {"reasoning_content": "say bob.smith"}, "finish_reason": null})),
        says(1, "smith@example.com"),
        says(0, "example.com"),
        chunk(&json!({"index": 0, "delta": {"reasoning_content": "@example.com?"}, "finish_reason": null})),
        ends(1, "stop"),
        chunk(&json!({"index": 0, "delta": {"content": " tail"}, "finish_reason": "length"})),
    ];
    let (answered, usage) = stream().answer_cut(sent(&chunks).as_bytes());
    let heard = heard(&answered.bytes);
    assert_eq!(heard[&0]["content"], format!("a {MASK} tail"));
    assert_eq!(heard[&0]["reasoning_content"], format!("say {MASK}?"));
    assert_eq!(heard[&1]["content"], format!("b {MASK}"));
    // Counted: a token for each four bytes.
    assert_eq!(usage, Usage { input: 2, output: 20, said: false });
}

#[test]
fn texts_in_members_that_nobody_knows_are_texts() {
    let detail = |text: &str| {
        chunk(&json!({"index": 0, "finish_reason": null, "delta": {"reasoning_details":
            [{"type": "reasoning.text", "text": text, "index": 0, "format": "x-v1"}]}}))
    };
    let chunks = [detail("so bob.smi"), detail("th@example.com"), ends(0, "stop")];
    let (answered, _) = stream().answer_cut(sent(&chunks).as_bytes());
    let texts: String = events(&answered.bytes)
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["reasoning_details"][0]["text"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(texts, format!("so {MASK}"));
    let last = &events(&answered.bytes)[2]["choices"][0]["delta"]["reasoning_details"][0];
    assert_eq!(*last, json!({"index": 0, "type": "reasoning.text", "text": MASK}));
}

#[test]
fn calls_are_told_whole_before_their_clients_hear_of_them() {
    let call = |index: u32, more: Value| {
        let mut call = json!({"index": index});
        call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        chunk(&json!({"index": 0, "delta": {"tool_calls": [call]}, "logprobs": null, "finish_reason": null}))
    };
    let begins = |index, id: &str, name: &str| {
        call(index, json!({"id": id, "type": "function", "function": {"name": name, "arguments": ""}}))
    };
    let given = |index, part: &str| call(index, json!({"function": {"arguments": part}}));
    let chunks = [
        chunk(&json!({"index": 0, "delta": {"role": "assistant", "content": null}, "finish_reason": null})),
        begins(0, "call_1", "send_mail"),
        given(0, "{\"to\": [\"bob.sm"),
        given(0, "ith\\u00"),
        given(0, "40example.com\"], \"n\": 536904399, \"bob.smith@example.com\": 1}"),
        begins(1, "call_2", "ping"),
        ends(0, "tool_calls"),
    ];
    let (answered, _) = stream().answer_cut(sent(&chunks).as_bytes());
    let arguments = format!("{{\"to\": [\"{MASK}\"], \"n\": \"<ssn>\", \"{MASK}\": 1}}");
    assert_eq!(called(&answered), [("send_mail", &*arguments), ("ping", "")]);
    let heard = heard(&answered.bytes);
    assert_eq!(heard[&0]["call 0"], format!("\"call_1\" \"send_mail\"({})", json!(arguments)));
    assert_eq!(heard[&0]["call 1"], "\"call_2\" \"ping\"(\"\")");
    // Nothing of them is among what has left before.
    let before = &answered.bytes[..answered.calls[0].0];
    assert!(!before.contains("send_mail") && !before.contains("call_1") && before.contains("assistant"), "{before}");
    assert!(before.contains(":\n\n"), "somebody is there all the time");

    let mut masks = Masks::default();
    stream().answer([sent(&chunks).as_bytes()], &mut masks).unwrap();
    let asked = ["arguments{}", "arguments.to[]", "arguments.n (bare)"];
    assert!(asked.iter().all(|place| masks.places.iter().any(|asked| asked == place)), "{:?}", masks.places);
}

#[test]
fn calls_of_the_old_form_and_of_one_event_are_calls() {
    let old = |part: Value| chunk(&json!({"index": 0, "delta": {"function_call": part}, "finish_reason": null}));
    let chunks = [
        old(json!({"name": "f", "arguments": ""})),
        old(json!({"arguments": "{\"a\":\"bob.smith@"})),
        old(json!({"arguments": "example.com\"}"})),
        ends(0, "function_call"),
    ];
    let (answered, _) = stream().answer_cut(sent(&chunks).as_bytes());
    assert_eq!(called(&answered), [("f", &*format!("{{\"a\":\"{MASK}\"}}"))]);
    let call = &events(&answered.bytes)[0]["choices"][0]["delta"]["function_call"];
    assert_eq!(*call, json!({"name": "f", "arguments": format!("{{\"a\":\"{MASK}\"}}")}));

    // As some servers send them: without a place, all at once, in the last event.
    let chunks = [chunk(&json!({"index": 0, "finish_reason": "tool_calls", "delta": {"role": "assistant", "tool_calls":
        [{"id": "c", "type": "function", "function": {"name": "g", "arguments": "{}"}, "extra_content": {"x": "y"}}]}}))];
    let (answered, _) = stream().answer_cut(sent(&chunks).as_bytes());
    assert_eq!(called(&answered), [("g", "{}")]);
    let told = events(&answered.bytes);
    assert_eq!(told[0]["choices"][0]["delta"]["tool_calls"][0]["extra_content"], json!({"x": "y"}));
    assert_eq!(told[1]["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(told[1]["choices"][0]["delta"], json!({"role": "assistant"}));
}

#[test]
fn tokens_do_not_say_what_texts_do_not() {
    let token = |token: &str| {
        let logprobs = json!({"content": [{"token": token, "logprob": -0.1, "bytes": [1], "top_logprobs": []}]});
        chunk(&json!({"index": 0, "delta": {"content": token}, "logprobs": logprobs, "finish_reason": null}))
    };
    let chunks = [token("hi "), token("bob.smith@example.com"), token(" x "), ends(0, "stop")];
    let (answered, _) = stream().answer_cut(sent(&chunks).as_bytes());
    let told = events(&answered.bytes);
    assert_eq!(told[0]["choices"][0]["logprobs"]["content"][0]["token"], "hi ");
    assert_eq!(told[1]["choices"][0]["logprobs"], Value::Null);
    assert_eq!((&told[0]["obfuscation"], &told[1]["obfuscation"]), (&json!("Xy7"), &json!("")));

    let content = json!({"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": SECRET},
        "logprobs": {"content": [{"token": SECRET}]}, "finish_reason": "stop"}]});
    let (answered, _) = document().answer_cut(content.to_string().as_bytes());
    assert_eq!(serde_json::from_str::<Value>(&answered.bytes).unwrap()["choices"][0]["logprobs"], Value::Null);
}

#[test]
fn documents_are_rewritten_whole() {
    let content = json!({"id": "chatcmpl-1", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "message":
        {"role": "assistant", "content": format!("to {SECRET}"), "annotations": [{"type": "url_citation", "url_citation": {"title": SECRET}}],
         "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": format!("{{\"a\":\"{SECRET}\"}}")}}]},
        "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 3, "completion_tokens": 4}});
    let pretty = serde_json::to_string_pretty(&content).unwrap();
    let (answered, usage) = document().answer_cut(pretty.as_bytes());
    assert_eq!(answered.bytes, pretty.replace(SECRET, MASK));
    assert_eq!(answered.calls, [(0, "f".to_owned(), format!("{{\"a\":\"{MASK}\"}}"))]);
    assert_eq!(usage, Usage { input: 3, output: 4, said: true });
    let error = format!("{{\"error\":{{\"message\":\"no {SECRET}\",\"type\":\"x\",\"code\":null}}}}");
    assert_eq!(document().answer_cut(error.as_bytes()).0.bytes, error.replace(SECRET, MASK));
    let trouble = format!("upstream {SECRET} is down");
    assert_eq!(document().answer_cut(trouble.as_bytes()).0.bytes, trouble.replace(SECRET, MASK));
}

#[test]
fn what_went_wrong_has_used_what_the_service_says() {
    let failed = Asked { status: 429, ..document() };
    let (_, usage) = failed.answer_cut(b"{\"error\":{\"message\":\"slow down, please\"}}");
    assert_eq!(usage, Usage::default());
    let most = u64::MAX;
    let content = format!("{{\"error\":{{}},\"timings\":{{\"prompt_n\":{most},\"cache_n\":{most},\"predicted_n\":1}}}}");
    assert_eq!(failed.answer_cut(content.as_bytes()).1, Usage { input: most, output: 1, said: true });
    let ended = Asked { status: 500, ..stream() };
    assert_eq!(ended.answer_cut(sent(&[says(0, "well")]).as_bytes()).1, Usage::default());
}

#[test]
fn nothing_is_lost_if_it_ends_early() {
    let content = format!("data: {}\n\ndata: {}", says(0, "so bob.smith"), says(0, "@example.com"));
    let (answered, _) = stream().answer_cut(content.as_bytes());
    assert_eq!(heard(&answered.bytes)[&0]["content"], format!("so {MASK}"));
    let texts =
        stream().answer([sent(&[says(0, "one two"), ends(0, "stop")]).as_bytes()], &mut Masks { idle: true, ..Masks::default() });
    assert_eq!(heard(&texts.unwrap().0.bytes)[&0]["content"], "one two");
}

#[test]
fn odd_forms_are_looked_into_all_the_same() {
    for content in [
        format!("{{\"id\":\"c\",\"choices\":{{\"a\":\"{SECRET}\"}}}}"),
        format!("{{\"id\":\"c\",\"choices\":[\"{SECRET}\"]}}"),
        format!("{{\"id\":\"c\",\"choices\":[{{\"delta\":\"{SECRET}\"}}]}}"),
        format!(
            "{{\"id\":\"c\",\"choices\":[{{\"delta\":{{\"content\":[{{\"text\":\"{SECRET}\"}}]}},\"finish_reason\":\"stop\"}}]}}"
        ),
        format!("{{\"id\":\"c\",\"choices\":[{{\"message\":{{\"content\":\"{SECRET}\"}}}}]}}"),
        format!("{{\"id\":\"c\",\"choices\":[],\"error\":{{\"message\":\"{SECRET}\"}}}}"),
        format!("\"{SECRET}\""),
        format!("to {SECRET}"),
    ] {
        let (answered, _) = stream().answer_cut(format!("data: {content}\n\n").as_bytes());
        assert!(answered.bytes.contains(MASK), "{content}: {}", answered.bytes);
    }
    // What is said to be a stream of events and is none.
    let (answered, _) = stream().answer_cut(format!("{{\"error\":\"{SECRET}\"}}").as_bytes());
    assert!(answered.bytes.contains(MASK), "{}", answered.bytes);
    // A client might take the one and the gateway the other.
    for twice in ["{\"choices\":[],\"choices\":[]}", "{\"choices\":[{\"delta\":{},\"d\\u0065lta\":{}}]}"] {
        let read = stream().answer([format!("data: {twice}\n\n").as_bytes()], &mut Masks::default());
        assert_eq!(read.unwrap_err(), NotRead::Twice);
        assert_eq!(document().answer([twice.as_bytes()], &mut Masks::default()).unwrap_err(), NotRead::Twice);
    }
}

#[test]
fn an_answer_that_is_refused_ends_as_its_api_ends() {
    let call = chunk(
        &json!({"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]},
                             "finish_reason": "tool_calls"}),
    );
    let content = sent(&[says(0, "hi "), call]);
    let request = Request {
        method: "POST",
        path: "/v1/chat/completions",
        query: None,
        content_type: Some("application/json"),
        prompt: None,
        content: b"{\"model\":\"m\"}",
    };
    let reading = Dialect::OpenAi.read(&request).unwrap();
    let mut answer = Dialect::OpenAi.answer(&reading, 1 << 20);
    assert!(!answer.begin(200, Some("text/event-stream")));
    let early = answer.refused("no").unwrap();
    assert_eq!(events(std::str::from_utf8(&early).unwrap())[0]["error"]["message"], "no", "its head may have left");
    let mut out = Vec::new();
    answer.push(content.into(), &mut Masks::default(), &mut out).unwrap();
    assert!(matches!(&out[1], Piece::Call(call) if &*call.tool == "f"), "{out:?}");
    let end = String::from_utf8(answer.refused("it is \"not\" so").unwrap().to_vec()).unwrap();
    assert_eq!(events(&end)[0]["error"]["message"], "it is \"not\" so");
    assert!(end.ends_with("\n\ndata: [DONE]\n\n"));
    let mut answer = Dialect::OpenAi.answer(&reading, 1 << 20);
    assert!(answer.begin(200, Some("application/json")));
    answer.push("{}".into(), &mut Masks::default(), &mut out).unwrap();
    assert_eq!(answer.refused("no"), None);
}
