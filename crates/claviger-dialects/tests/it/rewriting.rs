//! Requests with their texts rewritten.

use claviger_dialects::{Dialect, NotRead, Request};

use crate::harness::{MASK, Masks, SECRET, Untouched};

/// The content that leaves, and the places that were asked for.
fn rewritten(dialect: Dialect, path: &str, content_type: &str, content: &[u8]) -> (String, Vec<String>) {
    let request = Request { method: "POST", path, query: None, content_type: Some(content_type), prompt: None, content };
    let reading = dialect.read(&request).unwrap();
    assert_eq!(dialect.rewrite(&request, &reading, &mut Untouched).unwrap(), None);
    let mut masks = Masks::default();
    let put = dialect.rewrite(&request, &reading, &mut masks).unwrap();
    let put = put.map_or_else(|| content.to_vec(), |put| put.to_vec());
    (String::from_utf8(put).unwrap(), masks.places)
}

fn json(path: &str, content: &str) -> (String, Vec<String>) {
    rewritten(Dialect::OpenAi, path, "application/json", content.as_bytes())
}

#[test]
fn texts_are_wherever_people_and_models_put_words() {
    let content = r#"{ "model" : "gpt-4o","temperature":0.70, "user":"bob.smith@example.com", "messages":[
        {"role":"system","content":"Be kind to bob.smith\u0040example.com\n"},
        {"role":"user","name":"bob","content":[{"type":"text","text":"I am bob.smith@example.com"},{"type":"image_url","image_url":{"url":"https://x/?u=bob.smith@example.com"}}]},
        {"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"mail","arguments":"{\"to\":\"bob.smith@example.com\",\"n\":536904399}"}}]},
        {"role":"tool","tool_call_id":"call_1","content":"{\"mail\":\"bob.smith\\u0040example.com\"}"}],
        "tools":[{"type":"function","function":{"name":"mail","description":"to bob.smith@example.com","parameters":{"type":"object","properties":{"to":{"type":"string","enum":["bob.smith@example.com"]}},"required":["to"]}}}],
        "metadata":{"for":"bob.smith@example.com","run_name":"daily"}, "x_new": {"deep":["bob.smith@example.com"]}, "stop":["bob.smith@example.com"]}"#;
    let (put, places) = json("/v1/chat/completions", content);
    let expected = content
        .replace("bob.smith\\u0040example.com\\n", "<email>\\n")
        .replace("\\\"n\\\":536904399", "\\\"n\\\":\\\"<ssn>\\\"")
        .replace("bob.smith\\\\u0040example.com", MASK)
        .replace(SECRET, MASK);
    assert_eq!(put, expected);
    for place in [
        "user",
        "messages[].content",
        "messages[].content[].text",
        "messages[].content[].image_url.url",
        "messages[].tool_calls[].function.arguments.to",
        "messages[].tool_calls[].function.arguments.n (bare)",
        "messages[].tool_calls[].function.arguments{}",
        "messages[].content.mail",
        "messages[].name",
        "tools[].function.description",
        "tools[].function.parameters.properties.to.enum[]",
        "metadata.for",
        "x_new.deep[]",
        "stop[]",
    ] {
        assert!(places.iter().any(|asked| asked == place), "{place} of {places:?}");
    }
    let fixed = [
        "model",
        "messages[].role",
        "messages[].content[].type",
        "messages[].tool_calls[].id",
        "messages[].tool_call_id",
        "messages[].tool_calls[].function.name",
        "tools[].function.name",
        "tools[].function.parameters.type",
        "tools[].function.parameters.required[]",
        "temperature",
    ];
    assert!(!places.iter().any(|place| fixed.contains(&&**place)), "{places:?}");
}

#[test]
fn what_only_looks_like_a_word_of_the_api_is_a_text() {
    let content = format!(
        r#"{{"model":"m","metadata":{{"id":"{SECRET}","type":"x y"}},"messages":[{{"role":"{SECRET}","tool_call_id":"{SECRET}","messages[].role":"{SECRET}","content":"x"}}]}}"#
    );
    let (put, places) = json("/v1/chat/completions", &content);
    assert!(!put.contains(SECRET), "{put}");
    assert!(places.contains(&"messages[].\"messages[].role\"".to_owned()), "{places:?}");
}

#[test]
fn images_stay_and_thoughts_are_not_edited() {
    let image = "iVBORw0KGgo".repeat(12);
    let content = format!(
        r#"{{"model":"claude","messages":[{{"role":"assistant","content":[{{"type":"thinking","thinking":"on {SECRET}","signature":"{image}"}},
        {{"type":"tool_use","id":"toolu_1","name":"mail","input":{{"to":"{SECRET}"}}}}]}},
        {{"role":"user","content":[{{"type":"tool_result","tool_use_id":"toolu_1","content":"sent to {SECRET}"}},
        {{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{image}"}}}},
        {{"type":"document","source":{{"type":"text","media_type":"text/plain","data":"about {SECRET}"}}}}]}}]}}"#
    );
    let (put, places) = rewritten(Dialect::Anthropic, "/v1/messages", "application/json", content.as_bytes());
    assert_eq!(put, content.replace(&format!("on {SECRET}"), "").replace(SECRET, MASK));
    assert!(!places.iter().any(|place| place.ends_with("signature")), "{places:?}");
}

#[test]
fn responses_and_embeddings() {
    let content = format!(
        r#"{{"model":"m","instructions":"for {SECRET}","input":[{{"role":"user","content":[{{"type":"input_text","text":"{SECRET}"}}]}},
        {{"type":"function_call","call_id":"c","name":"f","arguments":"{{\"a\":\"{SECRET}\"}}"}},{{"type":"function_call_output","call_id":"c","output":"{SECRET}"}}],
        "prompt":{{"id":"pmpt_1","variables":{{"name":"{SECRET}"}}}}}}"#
    );
    assert_eq!(json("/v1/responses", &content).0, content.replace(SECRET, MASK));
    let content = format!(r#"{{"model":"m","input":["{SECRET}","b"],"encoding_format":"float"}}"#);
    assert_eq!(json("/v1/embeddings", &content).0, content.replace(SECRET, MASK));
}

fn form(parts: &[(&str, &str)]) -> String {
    let parts: String =
        parts.iter().map(|(head, body)| format!("--XyZ\r\nContent-Disposition: form-data; {head}\r\n\r\n{body}\r\n")).collect();
    parts + "--XyZ--\r\n"
}

const FORM: &str = "multipart/form-data; boundary=XyZ";

#[test]
fn files_are_looked_into_if_they_are_texts() {
    let lines = format!(
        "{{\"custom_id\":\"1\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{{\"model\":\"m\",\"messages\":[{{\"role\":\"user\",\"content\":\"{SECRET}\"}}]}}}}\n"
    );
    let content = form(&[
        ("name=\"purpose\"", "batch"),
        ("name=\"file\"; filename=\"b.jsonl\"\r\nContent-Type: application/octet-stream", &lines),
    ]);
    let (put, places) = rewritten(Dialect::OpenAi, "/v1/files", FORM, content.as_bytes());
    assert_eq!(put, content.replace(SECRET, MASK));
    assert_eq!(places, ["custom_id", "url", "body.messages[].content"]);
    let request = Request {
        method: "POST",
        path: "/v1/files",
        query: None,
        content_type: Some(FORM),
        prompt: None,
        content: content.as_bytes(),
    };
    let reading = Dialect::OpenAi.read(&request).unwrap();
    let names: Vec<_> =
        reading.meaning.effects.iter().map(|effect| format!("{} {}", effect.verb.as_str(), effect.object)).collect();
    assert_eq!(names, ["create \"*\"", "invoke POST /v1/files", "invoke m"]);
    assert!(!reading.opaque);

    let notes =
        form(&[("name=\"purpose\"", "assistants"), ("name=\"file\"; filename=\"n.txt\"", &format!("call {SECRET}\nor not"))]);
    assert_eq!(rewritten(Dialect::OpenAi, "/v1/files", FORM, notes.as_bytes()).0, notes.replace(SECRET, MASK));
    let image = form(&[("name=\"purpose\"", "vision"), ("name=\"file\"; filename=\"n.png\"", "\0\u{1}")]);
    let request = Request { content: image.as_bytes(), ..request };
    assert!(Dialect::OpenAi.read(&request).unwrap().opaque);
    let audio = form(&[("name=\"model\"", "whisper-1"), ("name=\"file\"; filename=\"a.mp3\"", "\0")]);
    let request = Request { path: "/v1/audio/transcriptions", content: audio.as_bytes(), ..request };
    let reading = Dialect::OpenAi.read(&request).unwrap();
    assert_eq!((reading.model.as_deref(), reading.opaque), (Some("whisper-1"), true));
}

#[test]
fn forms_that_could_be_read_in_two_ways_are_refused() {
    let read = |content: &str| {
        let path = "/v1/audio/transcriptions";
        let request =
            Request { method: "POST", path, query: None, content_type: Some(FORM), prompt: None, content: content.as_bytes() };
        Dialect::OpenAi.read(&request).map(|reading| reading.model.unwrap_or_default().to_string())
    };
    let good = form(&[("name=\"model\"", "m")]);
    assert_eq!(read(&good), Ok("m".to_owned()));
    assert_eq!(read(&form(&[("name=\"model\"", "m"), ("name=\"model\"", "n")])), Err(NotRead::Twice));
    for twice in
        ["name=\"model\"; name=\"x\"", "name=x; NAME=model", "name=x; y; name=model", "name=model; filename=a; filename=b"]
    {
        assert_eq!(read(&form(&[(twice, "m")])), Err(NotRead::Twice), "{twice}");
    }
    for odd in ["name=\"x\"; name*=UTF-8''model", "name*=UTF-8''model", "name=model; x=\"y"] {
        assert_eq!(read(&form(&[(odd, "m")])), Err(NotRead::Syntax), "{odd}");
    }
    let two = Request {
        content_type: Some("multipart/form-data; boundary=XyZ; boundary=Abc"),
        path: "/v1/audio/transcriptions",
        ..crate::requests::request("POST", "", &good)
    };
    assert_eq!(Dialect::OpenAi.read(&two), Err(NotRead::Twice));
    assert_eq!(read(&form(&[("name=\"model\"; filename=\"x\"", "m")])), Err(NotRead::Form("model")));
    for bad in [
        &*format!("preamble\r\n{good}"),
        &*format!("{good}--XyZ\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nn\r\n--XyZ--\r\n"),
        good.trim_end_matches("--XyZ--\r\n"),
        &*good.replace("\r\n", "\n"),
        &*good.replace("Content-Disposition", "Content-Other"),
        &*good.replace("; name=", ";name;"),
        &*good.replace("form-data; name=\"model\"", "form-data; name=\"model\"\r\nContent-Transfer-Encoding: base64"),
    ] {
        assert_eq!(read(bad), Err(NotRead::Syntax), "{bad}");
    }
}

#[test]
fn plain_requests() {
    let plain = |content_type: &str, content: &str| rewritten(Dialect::Plain, "/crm", content_type, content.as_bytes());
    let (put, places) = plain("application/x-www-form-urlencoded", "a=bob.smith%40example.com&b=x+y&bob.smith@example.com");
    assert_eq!(put, "a=%3Cemail%3E&b=x+y&%3Cemail%3E");
    assert_eq!(places, ["{}", "a", "{}", "b", "{}"]);
    assert_eq!(plain("application/x-ndjson", "{\"a\":\"bob.smith@example.com\"}\n{}\n").0, "{\"a\":\"<email>\"}\n{}\n");
    assert_eq!(plain("text/plain", "to bob.smith@example.com").0, "to <email>");
    // A member that is there twice is for others to wonder about.
    assert_eq!(
        plain("application/json", "{\"a\":\"bob.smith@example.com\",\"a\":536904399}").0,
        "{\"a\":\"<email>\",\"a\":\"<ssn>\"}"
    );
    for (content_type, content) in [
        ("application/json", &b"{\"a\""[..]),
        ("text/plain", b"\xff"),
        ("text/plain", b"b\0o\0b\0"),
        ("application/x-www-form-urlencoded", b"\0a"),
        ("application/zip", b"PK"),
        (FORM, b"x"),
    ] {
        let request =
            Request { method: "POST", path: "/crm", query: None, content_type: Some(content_type), prompt: None, content };
        assert!(Dialect::Plain.read(&request).unwrap().opaque, "{content_type}");
    }
}
