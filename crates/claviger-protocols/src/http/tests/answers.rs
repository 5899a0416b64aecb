//! Responses: how they are framed for whom, and what an upstream must not do.

use super::{OPTIONS, Rig, get, post};
use crate::{Closed, Protocol as _, ProtocolOptions, Side, Status};

const OLD: &str = "GET / HTTP/1.0\r\nx-api-key: token\r\n\r\n";

#[test]
fn responses_are_framed_for_whoever_asked() {
    let new = get("/");
    let head = get("/").replace("GET", "HEAD");
    let closing = get("/").replace("Host", "Connection: close\r\nHost");
    let chunks = "HTTP/1.1 200 Fine\r\nTransfer-Encoding: Chunked\r\nTrailer: X\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n";
    let length = "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nKeep-Alive: x\r\n\r\nabcde";
    let until = "HTTP/1.0 200 Fine\r\n\r\nabcde";
    for (request, response, received, goes_on) in [
        (&*new, chunks, "HTTP/1.1 200 Fine\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", true),
        (&new, length, "HTTP/1.1 200 Fine\r\ncontent-length: 5\r\n\r\nabcde", true),
        (&new, until, "HTTP/1.1 200 Fine\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n", true),
        (OLD, chunks, "HTTP/1.1 200 Fine\r\nconnection: close\r\n\r\nabcde", false),
        (OLD, until, "HTTP/1.1 200 Fine\r\nconnection: close\r\n\r\nabcde", false),
        (&closing, length, "HTTP/1.1 200 Fine\r\ncontent-length: 5\r\nconnection: close\r\n\r\nabcde", false),
        (&head, "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 200 Fine\r\ncontent-length: 5\r\n\r\n", true),
        (&head, "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 Fine\r\n\r\n", true),
        (&new, "HTTP/1.1 204 None\r\n\r\n", "HTTP/1.1 204 None\r\n\r\n", true),
        (&new, "HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 304 Same\r\ncontent-length: 5\r\n\r\n", true),
        (&new, "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 Fine\r\ncontent-length: 0\r\n\r\n", true),
        (&new, "HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 103 Hint\r\n\r\nHTTP/1.1 204\r\n\r\n", "HTTP/1.1 204 \r\n\r\n", true),
    ] {
        for step in [1, 3, 1000] {
            let mut rig = Rig::asking(request);
            response.as_bytes().chunks(step).for_each(|piece| rig.upstream(piece));
            if response == until {
                rig.eof(Side::Upstream);
            }
            assert_eq!(rig.outcomes.len(), 1, "{response}");
            if step == 1000 {
                assert_eq!(rig.received(), received, "{request}{response}");
            }
            assert_eq!(rig.received().lines().next(), received.lines().next());
            let ended = !rig.closed.is_empty();
            assert_eq!(goes_on, !ended || rig.http.leaves_client(), "{request}{response}");
        }
    }
}

#[test]
fn an_upstream_that_can_be_read_in_two_ways_is_not_believed() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\nX: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "SSH-2.0-x\r\n\r\n",
    ] {
        let mut rig = Rig::asking(&get("/"));
        rig.upstream(response);
        assert!(rig.received().starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{response}: {}", rig.received());
        assert!(rig.ended() == [Status::Unknown] && rig.closed.len() == 1 && !rig.http.leaves_client());
    }
    let mut rig = Rig::asking(&get("/"));
    rig.upstream("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    rig.upstream("x\r\n");
    assert!(rig.received().ends_with("1\r\na\r\n"), "cut, not made up: {}", rig.received());
    assert_eq!(rig.closed.len(), 1);
}

#[test]
fn nothing_that_comes_unasked_is_an_answer() {
    let mut rig = Rig::asking(&get("/"));
    rig.upstream("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    assert!(rig.received().ends_with("\r\n\r\na"), "{}", rig.received());
    assert_eq!(rig.closed, [Closed::ByUpstream]);
    assert!(rig.http.leaves_client(), "the client may ask again, of another socket");
    let mut rig = Rig::asking(&get("/"));
    rig.upstream("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
    rig.upstream("HTTP/1.1 200 OK\r\n");
    assert_eq!(rig.closed, [Closed::ByUpstream]);
}

#[test]
fn the_end_of_a_response_waits_for_its_release() {
    let mut rig = Rig::new(OPTIONS);
    rig.release = false;
    rig.client(get("/"));
    rig.upstream("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    assert!(rig.received().ends_with("first\r\n"), "what comes passes at once");
    rig.upstream("4\r\nlast\r\n0\r\n\r\n");
    assert!(rig.received().ends_with("first\r\n") && rig.outcomes[0].status == Status::Completed);
    assert!(String::from_utf8_lossy(&rig.recorded).ends_with("firstlast"));
    rig.client(get("/next"));
    assert_eq!(rig.operations.len(), 1, "the next request waits");
    rig.http.resume(crate::Reply::Release(rig.outcomes[0].op));
    rig.turn();
    assert!(rig.received().ends_with("4\r\nlast\r\n0\r\n\r\n"));
    assert_eq!(rig.operations.len(), 2);
}

#[test]
fn neither_side_is_read_ahead_of_the_other() {
    let mut rig = Rig::new(OPTIONS);
    rig.client(post("/", "Content-Length: 100000\r\n"));
    let mut input = bytes::BytesMut::new();
    let mut taken = 0;
    while rig.http.wants_input(Side::Downstream) {
        input.extend_from_slice(&[b'x'; 1000]);
        rig.http.handle_input(Side::Downstream, &mut input);
        taken += 1000;
    }
    assert!(taken <= 6000, "{taken} bytes wait for the upstream");
    rig.upstream("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    let mut taken = 0;
    while rig.http.wants_input(Side::Upstream) {
        input.extend_from_slice(&[b'y'; 1000]);
        rig.http.handle_input(Side::Upstream, &mut input);
        taken += 1000;
    }
    assert!(taken <= 6000, "{taken} bytes wait for the client");
}

#[test]
fn a_stream_that_has_ended_when_its_client_goes_has_ended() {
    for (rest, ended) in [("0\r\n\r\n", Status::Completed), ("", Status::Unknown)] {
        let mut rig = Rig::asking(&get("/"));
        rig.upstream("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n[DONE]\r\n");
        // As the driver has it: both sides are read before the pipeline has its turn.
        rig.http.handle_eof(Side::Downstream);
        rig.http.handle_input(Side::Upstream, &mut rest.into());
        rig.turn();
        assert_eq!((&*rig.ended(), &*rig.closed), (&[ended][..], &[Closed::ByClient][..]));
        assert!(!rig.http.leaves_client());
    }
}

#[test]
fn a_refusal_of_a_head_has_no_content() {
    let rig = Rig::asking("HEAD / HTTP/1.1\r\nHost: gateway\r\n\r\n");
    assert!(rig.received().starts_with("HTTP/1.1 401 ") && rig.received().ends_with("\r\n\r\n"), "{}", rig.received());
    assert_eq!(rig.closed.len(), 1);
}

#[test]
fn a_client_inside_tls_is_asked_for_it_first() {
    let options = ProtocolOptions { tls: true, plaintext: false, ..OPTIONS };
    let mut rig = Rig::new(options);
    assert!(!rig.http.wants_input(Side::Downstream));
    rig.turn();
    rig.client(get("/"));
    assert_eq!(rig.operations.len(), 1);
}

#[test]
fn a_credential_that_is_quoted_does_not_come_back() {
    let quoting =
        "HTTP/1.1 200 upstream-key\r\nX-Seen: Bearer upstream-key\r\nContent-Length: 26\r\n\r\n<upstream-key>upstream-key";
    for step in [1, 5, 13, 1000] {
        let mut rig = Rig::asking(&get("/"));
        quoting.as_bytes().chunks(step).for_each(|piece| rig.upstream(piece));
        let stars = quoting
            .replace("upstream-key", "************")
            .replace("X-Seen", "x-seen")
            .replace("Content-Length", "content-length");
        assert_eq!(rig.received(), stars);
        assert!(!String::from_utf8_lossy(&rig.recorded).contains("upstream-key"));
    }
}

#[test]
fn what_has_no_end_but_the_connections_is_cut_when_that_is_lost() {
    for (lost, ended) in [(false, true), (true, false)] {
        let mut rig = Rig::asking(&get("/"));
        rig.upstream("HTTP/1.1 200 Fine\r\n\r\nabc");
        if lost {
            rig.loss(Side::Upstream)
        } else {
            rig.eof(Side::Upstream)
        }
        assert_eq!(rig.received().ends_with("0\r\n\r\n"), ended, "{}", rig.received());
        assert_eq!(rig.ended(), [if ended { Status::Completed } else { Status::Unknown }]);
    }
}

#[test]
fn nothing_leaves_after_the_answer() {
    let mut rig = Rig { release: false, ..Rig::new(OPTIONS) };
    rig.client("POST / HTTP/1.1\r\nHost: gateway\r\nx-api-key: token\r\nContent-Length: 6\r\n\r\nabc");
    rig.upstream("HTTP/1.1 204 None\r\n\r\n");
    assert!(!rig.http.wants_input(Side::Downstream), "what comes now would be in no recording");
    let before = rig.asked();
    rig.client("def");
    assert_eq!(rig.asked(), before);
}

#[test]
fn nobody_is_sent_elsewhere_by_a_response() {
    let mut rig = Rig::asking(&get("/"));
    rig.upstream(
        "HTTP/1.1 307 Go\r\nLocation: https://elsewhere.test/x\r\nRefresh: 0; url=//x\r\nAlt-Svc: h3=\":1\"\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(rig.received(), "HTTP/1.1 307 Go\r\ncontent-length: 0\r\n\r\n");
    let mut rig = Rig::asking(&get("/"));
    rig.upstream("HTTP/1.1 307 Go\r\nLocation: https://api.test/x?y\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(rig.received(), "HTTP/1.1 307 Go\r\nlocation: /x?y\r\ncontent-length: 0\r\n\r\n");
}

#[test]
fn what_comes_packed_leaves_unpacked() {
    // "upstream-key and more", as gzip packs it.
    let packed: &[u8] = &[
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 43, 45, 40, 46, 41, 74, 77, 204, 213, 205, 78, 173, 84, 72, 204, 75, 81, 200, 205, 47,
        74, 5, 0, 109, 69, 196, 58, 21, 0, 0, 0,
    ];
    let more = "ETag: \"a\"\r\nDigest: x\r\nContent-Digest: x\r\nRepr-Digest: x\r\nContent-Range: bytes 0-1/2\r\nX-Shown: y\r\n";
    let head = |coding: &str, framing: &str| format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n{more}{framing}\r\n");
    let length = format!("Content-Length: {}\r\n", packed.len());
    for (request, framing) in [(&*get("/"), &*length), (&get("/"), ""), (OLD, &length)] {
        for step in [1, 5, 1000] {
            let mut rig = Rig::asking(request);
            let response = [head("gzip", framing).as_bytes(), packed].concat();
            response.chunks(step).for_each(|piece| rig.upstream(piece));
            rig.eof(Side::Upstream);
            let received = rig.received();
            let (head, content) = received.split_once("\r\n\r\n").expect("a head");
            let framed = if request == OLD { "connection: close" } else { "transfer-encoding: chunked" };
            assert_eq!(head, format!("HTTP/1.1 200 OK\r\nx-shown: y\r\n{framed}"), "{request}{framing}");
            assert!(!content.contains("upstream-key") && !content.is_empty(), "{received}");
            assert!(String::from_utf8_lossy(&rig.recorded).ends_with("************ and more"));
            assert_eq!(rig.outcomes[0].status, Status::Completed);
        }
    }
    for (coding, content) in [("gzip", &packed[..packed.len() - 1]), ("gzip", b"plain"), ("br, gzip", packed), ("x", packed)] {
        let mut rig = Rig::asking(&get("/"));
        rig.upstream([head(coding, &format!("Content-Length: {}\r\n", content.len())).as_bytes(), content].concat());
        assert!(rig.received().starts_with("HTTP/1.1 502 "), "{coding}: {}", rig.received());
        assert!(rig.ended() == [Status::Unknown] && rig.closed.len() == 1);
    }
    // Where there is no content there is nothing to unpack.
    let mut rig = Rig::asking(&get("/").replace("GET", "HEAD"));
    rig.upstream(head("x, y", "Content-Length: 5\r\n"));
    assert_eq!(rig.received(), "HTTP/1.1 200 OK\r\nx-shown: y\r\n\r\n");
    let mut rig = Rig::asking(&get("/"));
    rig.upstream(format!("HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nETag: a\r\n{}\r\nabc", "Content-Length: 3\r\n"));
    assert!(rig.received().contains("content-encoding: identity\r\netag: a\r\ncontent-length: 3\r\n"), "{}", rig.received());
}
