//! What llama.cpp's server has sent, asked for an address that the model had to write token by token.

use claviger_dialects::{Dialect, Usage};

use crate::harness::{Asked, MASK, SECRET, called, events};

const CHAT: &str = include_str!("../recorded/chat.txt");
const RESPONSES: &str = include_str!("../recorded/responses.txt");
const MESSAGES: &str = include_str!("../recorded/messages.txt");

#[test]
fn a_chat() {
    assert!(CHAT.matches("\"content\":").count() > 8 && !CHAT.contains(SECRET), "it comes in parts");
    let (answered, _) = Asked::to(Dialect::OpenAi, "/v1/chat/completions", "text/event-stream").answer_cut(CHAT.as_bytes());
    let events = events(&answered.bytes);
    let text: String = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, format!("\"{MASK}\""));
}

#[test]
fn a_response() {
    assert_eq!(RESPONSES.matches(SECRET).count(), 4, "it is said four times at the end");
    let (answered, usage) = Asked::to(Dialect::OpenAi, "/v1/responses", "text/event-stream").answer_cut(RESPONSES.as_bytes());
    let events = events(&answered.bytes);
    let text: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert!(text.starts_with(&format!("Use the tool to lookup {MASK}")), "{text}");
    let whole = |event: &serde_json::Value| event["response"]["output"][0]["content"][0]["text"].as_str().map(str::to_owned);
    assert_eq!(events.iter().filter_map(whole).next_back(), Some(text));
    assert_eq!(usage, Usage { input: 175, output: 60, said: true });
}

#[test]
fn calls() {
    let (answered, usage) = Asked::to(Dialect::Anthropic, "/v1/messages", "text/event-stream").answer_cut(MESSAGES.as_bytes());
    // The second was cut, as there were no more tokens; blocks end together at the end.
    let [(tool, arguments), (other, cut)] = called(&answered)[..] else { panic!("{answered:?}") };
    assert_eq!((tool, other, cut), ("lookup", "lookup", "{\n  \"mail"));
    assert_eq!(serde_json::from_str::<serde_json::Value>(arguments).unwrap(), serde_json::json!({"mail": MASK}));
    assert!(usage.said && usage.input == 175, "{usage:?}");
}
