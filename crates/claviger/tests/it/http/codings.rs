//! Content that is packed, whether anybody wants it or not.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::{KEY, Rig};
use crate::harness::run;

#[test]
fn what_an_upstream_packs_is_unpacked() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let stars = format!("the key is Bearer {}", "*".repeat(KEY.len()));
        let text = stars + &", and that is all. ".repeat(1000);
        let mut wire = rig.dial();
        for coding in ["gzip", "deflate", "br", "zstd"] {
            let more = "Accept-Encoding: gzip, deflate, br, zstd\r\n";
            let answer = wire.ask(rig.request(&format!("GET /v1/packed/{coding}/text"), more, ""));
            assert_eq!(answer.status, 200, "{coding}");
            assert!(answer.text() == text, "{coding}: {:.200}", answer.text());
            for gone in ["content-encoding", "etag", "content-digest", "content-length"] {
                assert!(!answer.head.contains(gone), "{coding}: {answer:?}");
            }
            assert!(answer.head.contains("x-shown: yes"));
            wire.send(rig.request(&format!("HEAD /v1/packed/{coding}/text"), "", ""));
            let head = String::from_utf8(wire.until(b"\r\n\r\n").unwrap()).unwrap();
            assert_eq!(head.to_lowercase().matches("content-").count(), 0, "{head}");
            for broken in ["cut", "more"] {
                let rest = broken_answer(&rig, coding, broken);
                assert!(
                    rest.len() < 2 * text.len() && !rest.ends_with("0\r\n\r\n"),
                    "{coding} {broken}: cut, not made up: {rest:.200}"
                );
            }
            let rest = broken_answer(&rig, coding, "bomb");
            assert!(rest.len() < 8 << 20 && !rest.ends_with("0\r\n\r\n"), "{coding}: {} bytes", rest.len());
        }
        for coding in ["compress", "gzip+br"] {
            let answer = rig.dial().ask(rig.request(&format!("GET /v1/packed/{coding}/text"), "", ""));
            assert_eq!((answer.status, &answer.json()["error"]["code"]), (502, &json!("upstream_unavailable")), "{coding}");
        }
        rig.gateway.verify();
    });
}

/// All that comes of a response that cannot be delivered to its end.
fn broken_answer(rig: &Rig, coding: &str, what: &str) -> String {
    let mut wire = rig.dial();
    wire.send(rig.request(&format!("GET /v1/packed/{coding}/{what}"), "", ""));
    String::from_utf8_lossy(&wire.rest()).into_owned()
}

#[test]
fn what_a_client_packs_leaves_as_it_came() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(b"{\"said\": \"by a client\"}").unwrap();
        let packed = encoder.finish().unwrap();
        let more = format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", packed.len());
        let request = [rig.request("POST /v1/packs", &more, "").into_bytes(), packed.clone()].concat();
        let answer = rig.dial().ask(request);
        assert_eq!((answer.status, &answer.json()["length"]), (200, &json!(packed.len())));
        assert!(rig.seen("/packs")[0]["headers"].to_string().contains("[\"content-encoding\",\"gzip\"]"));
    });
}
