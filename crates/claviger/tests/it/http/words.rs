//! Models and tools: what requests say of them is decided, and so is what models call in their answers.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Answer, POLICIES, Rig};
use crate::harness::{PERMIT_ALL, run};

const DIALECT: &str = "dialect = \"openai\"\ndetect = true";

const TOOLS: &str = r#"
    @id("models") @reason("not this model")
    forbid (principal, action == Action::"invoke", resource is Model) unless { resource.name like "gpt-*" };
    @id("no-shell") @reason("nobody runs a shell")
    forbid (principal, action == Action::"offer", resource == Tool::"api/shell");
    @id("no-writes") @reason("models only look")
    forbid (principal, action == Action::"invoke", resource == Tool::"api/write");
    @id("ask-first") @reason("somebody looks at it first") @approval("dba")
    forbid (principal, action == Action::"invoke", resource == Tool::"api/pay") unless { context.approvals.contains("dba") };
"#;

impl Rig {
    async fn with_tools() -> Option<Self> {
        let rig = Self::start(DIALECT)?;
        rig.gateway.write_policies(&format!("{PERMIT_ALL}\n{POLICIES}\n{TOOLS}"));
        assert!(rig.gateway.reload(|config| config).await);
        Some(rig)
    }

    fn chat(&self, model: &str, text: &str, tools: &[&str], stream: bool) -> Answer {
        self.dial().ask(self.chat_request(model, text, tools, stream))
    }

    fn chat_request(&self, model: &str, text: &str, tools: &[&str], stream: bool) -> String {
        let tool = |name: &&str| json!({ "type": "function", "function": { "name": name, "parameters": {} } });
        let mut request = json!({ "model": model, "messages": [{ "role": "user", "content": text }], "stream": stream });
        if !tools.is_empty() {
            request["tools"] = tools.iter().map(tool).collect();
        }
        self.request("POST /v1/chat/completions", "Content-Type: application/json\r\n", &request.to_string())
    }
}

#[test]
fn models_and_tools_are_decided_before_anything_leaves() {
    run(async {
        let Some(rig) = Rig::with_tools().await else { return };
        assert_eq!(rig.chat("gpt-4o", "hello", &["look"], false).status, 200);
        let refused = rig.chat("o3", "hello", &[], false);
        assert!(refused.status == 403 && refused.text().contains("not this model"), "{refused:?}");
        let refused = rig.chat("gpt-4o", "hello", &["look", "shell"], false);
        assert!(refused.status == 403 && refused.text().contains("nobody runs a shell"), "{refused:?}");
        assert_eq!(rig.seen("/chat/completions").len(), 1);
        let effects: Vec<Value> = rig.leaves("REQUEST").iter().map(|leaf| leaf["statements"][0]["effects"].clone()).collect();
        let of = |leaf: &Value| -> Vec<String> {
            let text = |effect: &Value| format!("{} {}", effect["verb"].as_str().unwrap(), effect["object"].as_str().unwrap());
            leaf.as_array().unwrap().iter().map(text).collect()
        };
        let mut first = of(&effects[0]);
        first.sort();
        assert_eq!(first, ["invoke POST /v1/chat/completions", "invoke gpt-4o", "offer look"]);
        assert_eq!(of(&effects[1]), ["invoke look"], "the call is an operation of its own");
        rig.gateway.verify();
    });
}

#[test]
fn a_refused_call_of_a_tool_is_not_told() {
    run(async {
        let Some(rig) = Rig::with_tools().await else { return };
        let refused = rig.chat("gpt-4o", "hello", &["write"], false);
        assert_eq!(refused.status, 403, "{refused:?}");
        assert!(refused.text().contains("models only look") && !refused.text().contains("select 1"), "{refused:?}");
        let streamed = rig.chat("gpt-4o", "hello", &["write"], true);
        let text = streamed.text();
        assert_eq!(streamed.status, 200);
        assert!(text.contains("models only look") && !text.contains("select"), "{text}");
        let passed = rig.chat("gpt-4o", "hello", &["look"], true).text();
        assert!(passed.contains("look") && passed.contains("select 1"), "arguments come in one piece: {passed}");
        let verdicts: Vec<_> = rig.leaves("REQUEST").iter().map(|leaf| leaf["decision"]["verdict"].clone()).collect();
        assert_eq!(verdicts, ["permit", "deny", "permit", "deny", "permit", "permit"]);
        rig.gateway.verify();
    });
}

#[test]
fn a_call_of_a_tool_waits_for_people() {
    run(async {
        let Some(rig) = Rig::with_tools().await else { return };
        let (port, request) = (rig.port, rig.chat_request("gpt-4o", "pay", &["pay"], true));
        let (heard, hears) = std::sync::mpsc::sync_channel(1);
        let asking = std::thread::spawn(move || {
            let mut wire = super::Wire::to(port);
            wire.send(request);
            let mut began = wire.until(b": this waits for the approval of dba").expect("a comment");
            heard.send(String::from_utf8(began.clone()).unwrap()).unwrap();
            began.extend(wire.until(b"0\r\n\r\n").expect("the rest"));
            String::from_utf8(began).unwrap()
        });
        let id = rig.request_for_approval().await;
        let began = hears.recv_timeout(Duration::from_secs(10)).expect("the client hears that its stream waits");
        assert!(!began.contains("\"pay\"") && began.starts_with("HTTP/1.1 200"), "{began}");
        let shown: Value = serde_json::from_str(&rig.approvals(&["show", &id, "--json"])).unwrap();
        assert_eq!(shown["statement"], json!("pay {\"query\": \"select 1\"}"));
        rig.approvals(&["approve", &id]);
        let told = asking.join().unwrap();
        assert!(told.contains("\"pay\"") && told.contains("data: [DONE]\n\n"), "{told}");
        rig.gateway.verify();
    });
}

#[test]
fn values_in_words_are_masked_however_they_are_cut() {
    run(async {
        let Some(rig) = Rig::with_tools().await else { return };
        let text = "mail bob.smith@example.com about 4111 1111 1111 1111, please";
        let masked = "mail [email] about [credit_card], please";
        let whole = rig.chat("gpt-4o", text, &[], false).json();
        assert_eq!(whole["choices"][0]["message"]["content"], json!(masked), "the upstream says what it was told");
        assert!(rig.seen("/chat/completions")[0]["content"].as_str().unwrap().contains(masked));
        rig.gateway.reload(|config| config.replace("dialect = \"openai\"", "dialect = \"openai\"\nrequests = \"pass\"")).await;
        let streamed = rig.chat("gpt-4o", text, &[], true).text();
        assert_eq!(said(&streamed), masked, "{streamed}");
        assert!(rig.seen("/chat/completions")[1]["content"].as_str().unwrap().contains(text));
    });
}

#[test]
fn tokens_stand_for_values_on_their_way_out_and_become_values_again_for_whoever_may_see_them() {
    run(async {
        let Some(rig) = Rig::start(&format!("{DIALECT}\nrequests = \"tokens\"")) else { return };
        let reveal = r#"@id("reveal") permit (principal == User::"alice", action == Action::"reveal", resource);
            @id("bob-posts") permit (principal == User::"bob", action, resource);"#;
        rig.gateway.write_policies(&format!("{PERMIT_ALL}\n{reveal}"));
        assert!(rig.gateway.reload(|config| config).await);
        let text = "mail bob.smith@example.com, yes bob.smith@example.com";
        let ask = |token: &str, stream: bool| {
            let content = json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": text }], "stream": stream });
            let more = "Content-Type: application/json\r\n";
            rig.dial().ask(rig.request_of(token, "POST /v1/chat/completions", more, &content.to_string())).text()
        };
        assert!(ask(&rig.token, false).contains(text));
        let seen = rig.seen("/chat/completions")[0]["content"].as_str().unwrap().to_owned();
        let seen: Value = serde_json::from_str(&seen).unwrap();
        let sent = seen["messages"][0]["content"].as_str().unwrap();
        let token = sent.split_once("mail ").unwrap().1.split_once(',').unwrap().0;
        assert!(token.starts_with("[email_") && token.len() == 14, "{sent}");
        assert_eq!(sent, format!("mail {token}, yes {token}"));
        assert_eq!(said(&ask(&rig.token, true)), text, "in parts, too");
        assert_eq!(said(&ask(&rig.bob, true)), sent, "who may not see it sees the token");
        assert_eq!(rig.seen("/chat/completions").len(), 3);
        rig.gateway.assert_nowhere_on_disk(b"bob.smith@example.com");
    });
}

/// What a stream says, all together.
fn said(stream: &str) -> String {
    let events = stream.lines().filter_map(|line| line.strip_prefix("data: {"));
    let event = |line: &str| serde_json::from_str::<Value>(&format!("{{{line}")).unwrap();
    events.filter_map(|line| event(line)["choices"][0]["delta"]["content"].as_str().map(ToOwned::to_owned)).collect()
}
