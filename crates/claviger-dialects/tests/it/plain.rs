//! Services of which nothing is known.

use std::time::{Duration, Instant};

use bytes::Bytes;
use claviger_dialects::{Dialect, NotRead, Piece};

use crate::harness::{Asked, MASK, Masks, SECRET, Untouched};

fn plain(content_type: &'static str) -> Asked {
    Asked::to(Dialect::Plain, "/crm/customers", content_type)
}

#[test]
fn json_is_looked_into_everywhere() {
    let content = format!(
        "{{\"id\": \"{SECRET}\", \"n\": 536904399, \"f\": 5.0e1, \"{SECRET}\": [true, null], \"inner\": \"{{\\\"mail\\\": \\\"bob.smith\\\\u0040example.com\\\"}}\"}}"
    );
    let (answered, _) = plain("application/json").answer_cut(content.as_bytes());
    let expected = format!(
        "{{\"id\": \"{MASK}\", \"n\": \"<ssn>\", \"f\": 5.0e1, \"{MASK}\": [true, null], \"inner\": \"{{\\\"mail\\\": \\\"{MASK}\\\"}}\"}}"
    );
    assert_eq!(answered.bytes, expected);
    let mut masks = Masks::default();
    plain("application/problem+json").answer([content.as_bytes()], &mut masks).unwrap();
    assert_eq!(
        masks.places,
        [
            "{}",
            "id",
            "{}",
            "n (bare)",
            "{}",
            "f (bare)",
            "{}",
            "\"bob.smith@example.com\"[] (bare)",
            "{}",
            "inner{}",
            "inner.mail"
        ]
    );
}

#[test]
fn lines_texts_and_events() {
    let lines = format!("{{\"a\":\"{SECRET}\"}}\r\n\n  {{\"b\":1}}\n{SECRET} not json\n{{\"c\":\"{SECRET}\"}}");
    let (answered, _) = plain("application/x-ndjson").answer_cut(lines.as_bytes());
    let expected = format!("{{\"a\":\"{MASK}\"}}\n\n  {{\"b\":1}}\n{MASK} not json\n{{\"c\":\"{MASK}\"}}\n");
    assert_eq!(answered.bytes, expected);
    let (answered, _) = plain("text/csv; charset=utf-8").answer_cut(format!("n\u{e9},{SECRET} \u{1f600}\n").as_bytes());
    assert_eq!(answered.bytes, format!("n\u{e9},{MASK} \u{1f600}\n"));
    let (answered, _) =
        plain("text/event-stream").answer_cut(format!("data: {{\"a\":\"{SECRET}\"}}\n\ndata: to {SECRET}\n\n").as_bytes());
    assert_eq!(answered.bytes, format!("data: {{\"a\":\"{MASK}\"}}\n\ndata: to {MASK}\n\n"));
}

#[test]
fn what_is_too_long_or_no_text_is_not_looked_into() {
    let long = vec![b'a'; (1 << 20) + 1];
    for content_type in ["application/json", "text/event-stream", "application/x-ndjson"] {
        assert_eq!(plain(content_type).answer([&long[..]], &mut Untouched).unwrap_err(), NotRead::TooLong, "{content_type}");
    }
    let (answered, _) = plain("application/octet-stream").answer([&long[..]], &mut Masks::default()).unwrap();
    assert_eq!(answered.bytes.len(), long.len());
    let deep = "[".repeat(200) + &"]".repeat(200);
    assert_eq!(plain("application/json").answer([deep.as_bytes()], &mut Untouched).unwrap_err(), NotRead::TooDeep);
}

#[test]
fn long_lines_are_searched_once() {
    let line = format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 19));
    let begun = Instant::now();
    let (answered, _) = plain("application/x-ndjson").answer(line.as_bytes().chunks(1), &mut Untouched).unwrap();
    assert_eq!(answered.bytes, line);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn whether_something_is_so_may_be_masked() {
    let content = r#"{"pregnant": true, "list": [false], "inner": "{\"pregnant\":false}", "none": null}"#;
    let (answered, _) = plain("application/json").answer_cut(content.as_bytes());
    let expected = r#"{"pregnant": "<so>", "list": [false], "inner": "{\"pregnant\":\"<so>\"}", "none": null}"#;
    assert_eq!(answered.bytes, expected);
    let content = r#"{"stream":true,"metadata":{"pregnant":true},"pregnant":false,"content":[{"type":"tool_use","name":"f","input":{"pregnant":false}}]}"#;
    let (answered, _) = Asked::to(Dialect::Anthropic, "/v1/messages", "application/json").answer_cut(content.as_bytes());
    let expected = r#"{"stream":true,"metadata":{"pregnant":"<so>"},"pregnant":false,"content":[{"type":"tool_use","name":"f","input":{"pregnant":"<so>"}}]}"#;
    assert_eq!(answered.bytes, expected);
    assert_eq!(answered.calls[0].2, r#"{"pregnant":"<so>"}"#);
}

#[test]
fn what_only_begins_like_json_may_be_in_other_characters() {
    let request = crate::requests::request("GET", "/crm", "");
    let mut answer = Dialect::Plain.answer(&Dialect::Plain.read(&request).unwrap(), 1 << 20);
    answer.begin(200, Some("text/html; charset=iso-8859-1"));
    let (mut masks, mut out) = (Masks::default(), Vec::new());
    answer.push(Bytes::from_static(b"{\"a\":\"caf\xe9 bob.smith@example.com \"}"), &mut masks, &mut out).unwrap();
    answer.finish(&mut masks, &mut out).unwrap();
    let left = out.iter().flat_map(|piece| if let Piece::Bytes(bytes) = piece { bytes.to_vec() } else { Vec::new() });
    assert_eq!(left.collect::<Vec<u8>>(), b"{\"a\":\"caf\xe9 <email> \"}");
}
