//! What requests and answers hold: masked on its way to the upstream, and on its way back.

use serde_json::json;

use super::Rig;
use crate::harness::run;

const CARD: &str = "4111 1111 1111 1111";

#[test]
fn content_is_masked_both_ways() {
    run(async {
        let Some(rig) = Rig::start("detect = true\nclassify = { '**.secret' = ['pii'] }") else { return };
        let kind = "Content-Type: application/json\r\n";
        let content = format!(r#"{{"n": 1.50, "note": "card {CARD}",  "deep": [{{"secret": "anything"}}], "x": null}}"#);
        let answer = rig.dial().ask(rig.request("POST /v1/echo", kind, &content));
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = rig.seen("/v1/echo").remove(0);
        let expected = r#"{"n": 1.50, "note": "card [credit_card]",  "deep": [{"secret": "[masked]"}], "x": null}"#;
        assert_eq!(seen["content"], json!(expected), "all else is as it came");
        // The upstream's answer quotes what has reached it; a value that is there all the same is masked on its way back.
        let query = rig.dial().ask(rig.request(&format!("GET /v1/echo?card={}", CARD.replace(' ', "-")), "", ""));
        assert!(!query.text().contains("4111-1111"), "{query:?}");
        assert!(query.json()["line"].as_str().unwrap().contains("card=[credit_card]"), "{query:?}");
        let outcome = &rig.leaves("OUTCOME")[0];
        assert_eq!(outcome["masked"]["found"], json!([{ "count": 1, "of": "credit_card" }]), "{outcome}");
        rig.gateway.verify();
    });
}

#[test]
fn whoever_may_reveal_sees_what_there_is() {
    run(async {
        let Some(rig) = Rig::start("detect = true\nrequests = \"pass\"") else { return };
        let reveal = r#"@id("reveal") permit (principal == User::"alice", action == Action::"reveal", resource);"#;
        rig.gateway.write_policies(&format!("{}\n{}\n{reveal}", crate::harness::PERMIT_ALL, super::POLICIES));
        assert!(rig.gateway.reload(|config| config).await);
        let kind = "Content-Type: application/json\r\n";
        let get = format!("GET /v1/echo?card={}", CARD.replace(' ', "-"));
        let (alice, bob) = (rig.request(&get, kind, ""), rig.request_of(&rig.bob, &get, kind, ""));
        assert!(rig.dial().ask(alice).text().contains("4111-1111"));
        assert!(rig.dial().ask(bob).text().contains("[credit_card]"));
    });
}

#[test]
fn packed_content_is_unpacked_before_it_is_decided_on() {
    run(async {
        let Some(rig) = Rig::start("detect = true") else { return };
        let packed = {
            use std::io::Write as _;
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(format!(r#"{{"note": "{CARD}"}}"#).as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let head = format!("Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n", packed.len());
        let mut wire = rig.dial();
        wire.send(rig.request("POST /v1/echo", &head, ""));
        let answer = wire.ask(&packed);
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = rig.seen("/v1/echo").remove(0);
        assert_eq!(seen["content"], json!(r#"{"note": "[credit_card]"}"#));
        assert!(!seen["headers"].to_string().contains("content-encoding"), "{seen}");
        let unknown = rig.dial().ask(rig.request("POST /v1/echo", "Content-Encoding: compress\r\n", "x"));
        assert_eq!((unknown.status, rig.seen("/v1/echo").len()), (415, 1), "{unknown:?}");
    });
}

#[test]
fn what_cannot_be_read_in_one_way_is_refused() {
    run(async {
        let Some(rig) = Rig::start("dialect = \"openai\"") else { return };
        let kind = "Content-Type: application/json\r\n";
        let good = r#"{"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}"#;
        let twice = good.replace("{\"model\"", "{\"model\": \"o3\", \"m\\u006fdel\"");
        for content in [&*twice, &good[1..], r#"{"model": "\ud800"}"#, r#"{"model": ["gpt-4o"]}"#, &format!("{good} {good}")] {
            let refused = rig.dial().ask(rig.request("POST /v1/chat/completions", kind, content));
            assert_eq!(refused.status, 400, "{content}: {refused:?}");
        }
        assert!(rig.seen("/chat/completions").is_empty());
        assert_eq!(rig.dial().ask(rig.request("POST /v1/chat/completions", kind, good)).status, 200);
    });
}
