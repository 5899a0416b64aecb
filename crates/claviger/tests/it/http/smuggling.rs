//! Requests that two readers would read in two ways: none of them reaches the upstream.

use super::{KEY, Rig, Wire};
use crate::harness::run;

/// What is sent after the first line and the `Host` and `Authorization` headers, or a whole head, and the status that it gets.
const TRICKS: &[(&str, &str, u16)] = &[
    ("two framings", "POST /t HTTP/1.1|H|A|Content-Length: 6|Transfer-Encoding: chunked||0||X", 400),
    ("two framings, the other way", "POST /t HTTP/1.1|H|A|Transfer-Encoding: chunked|Content-Length: 6||0||X", 400),
    ("two lengths", "POST /t HTTP/1.1|H|A|Content-Length: 1|Content-Length: 2||ab", 400),
    ("the same length twice", "POST /t HTTP/1.1|H|A|Content-Length: 1|Content-Length: 1||a", 400),
    ("a list of lengths", "POST /t HTTP/1.1|H|A|Content-Length: 1, 1||a", 400),
    ("a signed length", "POST /t HTTP/1.1|H|A|Content-Length: +1||a", 400),
    ("a length in hexadecimal", "POST /t HTTP/1.1|H|A|Content-Length: 0x1||a", 400),
    ("an empty length", "POST /t HTTP/1.1|H|A|Content-Length:||a", 400),
    ("a length beyond all", "POST /t HTTP/1.1|H|A|Content-Length: 99999999999999999999||a", 400),
    ("chunks twice", "POST /t HTTP/1.1|H|A|Transfer-Encoding: chunked|Transfer-Encoding: chunked||0||", 400),
    ("chunks in something else", "POST /t HTTP/1.1|H|A|Transfer-Encoding: gzip, chunked||0||", 501),
    ("chunks, nearly", "POST /t HTTP/1.1|H|A|Transfer-Encoding: xchunked||0||", 501),
    ("chunks after a tab of another kind", "POST /t HTTP/1.1|H|A|Transfer-Encoding: \u{b}chunked||0||", 400),
    ("a name and a space", "POST /t HTTP/1.1|H|A|Transfer-Encoding : chunked||0||", 400),
    ("a space and a name", "POST /t HTTP/1.1|H|A| Transfer-Encoding: chunked||0||", 400),
    ("a line that goes on", "GET /t HTTP/1.1|H|A|X-A: b| c||", 400),
    ("a line without a colon", "GET /t HTTP/1.1|H|A|nonsense||", 400),
    ("a name that is none", "GET /t HTTP/1.1|H|A|X(A): b||", 400),
    ("chunks in an old version", "POST /t HTTP/1.0|H|A|Transfer-Encoding: chunked||0||", 400),
    ("no host", "GET /t HTTP/1.1|A||", 400),
    ("two hosts", "GET /t HTTP/1.1|H|Host: other|A||", 400),
    ("a host that is none", "GET /t HTTP/1.1|Host: a b|A||", 400),
    ("a target elsewhere", "GET http://other/t HTTP/1.1|H|A||", 400),
    ("a target at a user's", "GET http://gateway@other/t HTTP/1.1|H|A||", 400),
    ("no path", "GET t HTTP/1.1|H|A||", 400),
    ("an asterisk", "OPTIONS * HTTP/1.1|H|A||", 400),
    ("a tunnel", "CONNECT other:443 HTTP/1.1|H|A||", 405),
    ("a trace", "TRACE /t HTTP/1.1|H|A||", 405),
    ("a method that is not known", "PROPFIND /t HTTP/1.1|H|A||", 405),
    ("a method in lower case", "get /t HTTP/1.1|H|A||", 405),
    ("another method inside", "POST /t HTTP/1.1|H|A|X-HTTP-Method-Override: DELETE||", 400),
    ("another path inside", "GET /t HTTP/1.1|H|A|X-Original-URL: /forbidden||", 400),
    ("a web socket", "GET /t HTTP/1.1|H|A|Connection: upgrade|Upgrade: websocket||", 501),
    ("two spaces", "GET  /t HTTP/1.1|H|A||", 400),
    ("a tab", "GET\t/t HTTP/1.1|H|A||", 400),
    ("a space at the end", "GET /t HTTP/1.1 |H|A||", 400),
    ("nearly HTTP/2", "PRI * HTTP/2.0||XX||", 505),
    ("a version that is not known", "GET /t HTTP/1.2|H|A||", 505),
    ("no version", "GET /t||", 400),
    ("a line feed alone", "GET /t HTTP/1.1|H|A|X-A: b\nX-B: c||", 400),
    ("a carriage return alone", "GET /t HTTP/1.1|H|A|X-A: b\rX-B: c||", 400),
    ("a zero", "GET /t HTTP/1.1|H|A|X-A: b\0c||", 400),
    ("an empty line first", "|GET /t HTTP/1.1|H|A||", 400),
    ("two tokens", "GET /t HTTP/1.1|H|A|X-API-Key: another||", 400),
    ("two headers with a token", "GET /t HTTP/1.1|H|A|A||", 400),
    ("another expectation", "POST /t HTTP/1.1|H|A|Expect: 200-ok|Content-Length: 1||a", 417),
    ("dots", "GET /a/../t HTTP/1.1|H|A||", 400),
    ("escaped dots", "GET /a/%2e%2E/t HTTP/1.1|H|A||", 400),
    ("a dot", "GET /./t HTTP/1.1|H|A||", 400),
    ("two slashes", "GET //t HTTP/1.1|H|A||", 400),
    ("an escaped slash", "GET /a%2ft HTTP/1.1|H|A||", 400),
    ("a backslash", "GET /a\\t HTTP/1.1|H|A||", 400),
    ("an escaped backslash", "GET /a%5ct HTTP/1.1|H|A||", 400),
    ("parameters", "GET /t;x=y HTTP/1.1|H|A||", 400),
    ("dots with parameters", "GET /a/..;/t HTTP/1.1|H|A||", 400),
    ("an escape of an escape", "GET /a/%252e%252e/t HTTP/1.1|H|A||", 400),
    ("an escaped zero", "GET /t%00 HTTP/1.1|H|A||", 400),
    ("an escaped line", "GET /t%0d%0a HTTP/1.1|H|A||", 400),
    ("an overlong dot", "GET /%c0%ae%c0%ae/t HTTP/1.1|H|A||", 400),
    ("half an escape", "GET /t%2 HTTP/1.1|H|A||", 400),
    ("a fragment", "GET /t#x HTTP/1.1|H|A||", 400),
    ("more than ASCII", "GET /t\u{e9} HTTP/1.1|H|A||", 400),
    ("a quote", "GET /t\"x HTTP/1.1|H|A||", 400),
];

/// What is wrong with chunks shows when the head has passed, so the client is told if it has no answer yet, and nothing that
/// follows is a request.
const BAD_CHUNKS: &[(&str, &str)] = &[
    ("a size that is none", "zz|ab|0||"),
    ("a signed size", "+2|ab|0||"),
    ("a size with a prefix", "0x2|ab|0||"),
    ("a size and a space", "2 |ab|0||"),
    ("a size beyond all", "fffffffffffffffff|ab|0||"),
    ("no size", "|ab|0||"),
    ("a size that ends with a line feed alone", "2\nab|0||"),
    ("a chunk that is longer", "2|abc|0||"),
    ("a chunk that ends with a line feed alone", "2|ab\n0||"),
];

fn spelled(rig: &Rig, text: &str) -> Vec<u8> {
    let parts = text.split('|').map(|part| match part {
        "H" => "Host: gateway".to_owned(),
        "A" => format!("Authorization: Bearer {}", rig.token),
        part => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("\r\n").into_bytes()
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        for (what, trick, status) in TRICKS {
            let hidden = rig.request("GET /hidden", "", "");
            // As the first request of its connection, and as one of a session that is open.
            for first in ["", &*rig.request("GET /first", "", "")] {
                let mut wire = rig.dial();
                if !first.is_empty() {
                    assert_eq!(wire.ask(first).status, 200);
                }
                wire.send([spelled(&rig, trick), hidden.clone().into_bytes()].concat());
                let answer = wire.answer();
                assert_eq!(answer.status, *status, "{what}: {answer:?}");
                assert!(answer.closes(), "{what}: {answer:?}");
                assert_eq!(wire.rest(), b"", "{what}: more than one answer");
            }
        }
        assert!(rig.seen("/t").is_empty(), "{:?}", rig.seen("/t"));
        assert!(rig.seen("/hidden").is_empty(), "{:?}", rig.seen("/hidden"));
        rig.gateway.verify();
    });
}

#[test]
fn chunks_are_read_as_they_must_be_framed() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        for (what, chunks) in BAD_CHUNKS {
            let mut wire = rig.dial();
            let chunks = chunks.replace('|', "\r\n") + &rig.request("GET /hidden", "", "");
            wire.send(rig.request("POST /v1/chunks", "Transfer-Encoding: chunked\r\n", "") + &chunks);
            let answer = wire.answer();
            assert_eq!((answer.status, answer.closes()), (400, true), "{what}: {answer:?}");
            assert_eq!(wire.rest(), b"", "{what}");
        }
        let mut wire = rig.dial();
        let good = "3;a=b;c=\"d\"\r\nabc\r\n0002\r\nde\r\n0\r\nX-Hidden: yes\r\nContent-Length: 7\r\n\r\n";
        let answer = wire.ask(rig.request("POST /v1/good", "Transfer-Encoding: chunked\r\nTrailer: X-Hidden\r\n", "") + good);
        assert_eq!((answer.status, &answer.json()["content"]), (200, &"abcde".into()));
        assert!(!answer.text().to_lowercase().contains("x-hidden"), "trailers are dropped: {answer:?}");
        assert!(rig.seen("/hidden").is_empty());
    });
}

#[test]
fn what_passes_is_written_anew() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let more = "connection: X-Gone, keep-alive\r\nX-Gone: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nCookie: a=b\r\n\
                    X-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\nX_API_KEY: x\r\nProxy-Authorization: Basic eDp5\r\n\
                    x-kept:\t a  b \t\r\nX-KEPT: second\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n";
        let answer = rig.dial().ask(rig.request("GET http://GATEWAY/%7Ea/caf%c3%a9?q=%2e%2e//;x&y=[z]", more, ""));
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = rig.seen("/~a").remove(0);
        assert_eq!(seen["line"], "GET /~a/caf%C3%A9?q=%2e%2e//;x&y=[z] HTTP/1.1");
        let mut names: Vec<_> = seen["headers"].as_array().unwrap().iter().map(|field| field[0].as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept-encoding", "authorization", "host", "x-kept", "x-kept"]);
        let host = format!("127.0.0.1:{}", rig.api.port);
        assert!(seen["headers"].to_string().contains(&format!("[\"host\",\"{host}\"]")));
        assert!(seen["headers"].to_string().contains("[\"x-kept\",\"a  b\"],[\"x-kept\",\"second\"]"));
        assert!(answer.head.contains("x-shown: yes"), "{answer:?}");
        let text = answer.text();
        assert!(
            text.contains(&format!("Bearer {}", "*".repeat(KEY.len()))) && !text.contains(KEY),
            "the key is not quoted: {text}"
        );
        for hidden in ["set-cookie", "x-internal", "connection"] {
            assert!(!answer.head.contains(hidden), "{answer:?}");
        }
    });
}

#[test]
fn heads_and_headers_have_limits() {
    run(async {
        let Some(rig) = Rig::start("") else { return };
        let many: String = (0..130).map(|n| format!("X-{n}: y\r\n")).collect();
        let long = format!("X-Long: {}\r\n", "y".repeat(200_000));
        for (more, status) in [(&*many, 431), (&*long, 431)] {
            let mut wire = rig.dial();
            assert_eq!(wire.ask(rig.request("GET /t", more, "")).status, status);
        }
        let target = format!("GET /{}", "t".repeat(20_000));
        assert_eq!(rig.dial().ask(rig.request(&target, "", "")).status, 414);
        // A head without an end, byte by byte.
        let mut wire = Wire::to(rig.port);
        for piece in rig.request("GET /v1/slow", "", "").as_bytes().chunks(7) {
            wire.send(piece);
        }
        assert_eq!(wire.answer().status, 200);
        assert!(rig.seen("/t").is_empty());
    });
}
