//! Targets, credentials and content.

use bytes::BytesMut;
use proptest::prelude::*;

use super::super::body::{Body, Chunk};
use super::super::head;
use super::super::path::Target;
use super::{OPTIONS, Rig, get};
use crate::{Protocol as _, ProtocolOptions, Request, Shown};

#[test]
fn a_path_is_read_in_one_way_or_not_at_all() {
    for (raw, read) in [
        ("/", Some("/")),
        ("/v1/chat/completions", Some("/v1/chat/completions")),
        ("/v1/", Some("/v1/")),
        ("/%7euser/%41", Some("/~user/A")),
        ("/caf%c3%a9", Some("/caf%C3%A9")),
        ("/a%20b%3f", Some("/a%20b%3F")),
        ("/a:b@c!$&'()*+,=", Some("/a:b@c!$&'()*+,=")),
        ("/a%3Ab%40c%21%24%26%27%28%29%2a%2B%2c%3D", Some("/a:b@c!$&'()*+,=")),
        ("/...", Some("/...")),
        ("/.well-known/x", Some("/.well-known/x")),
        ("http://gateway", Some("/")),
        ("HTTPS://GATEWAY/x", Some("/x")),
        ("http://gateway?x", None),
        ("http://gateway.evil/x", None),
        ("httpx://gateway/x", None),
        ("x", None),
        ("//gateway/x", None),
        ("/a//b", None),
        ("/a/./b", None),
        ("/a/..", None),
        ("/a/%2E%2e", None),
        ("/a/.%2e/b", None),
        ("/a%2fb", None),
        ("/a%5Cb", None),
        ("/a\\b", None),
        ("/a;b", None),
        ("/a%3bb", None),
        ("/a%00", None),
        ("/a%25", None),
        ("/a%", None),
        ("/a%g0", None),
        ("/%ff", None),
        ("/a{b}", None),
        ("/a#b", None),
        ("/a b", None),
    ] {
        let target = Target::read(raw.as_bytes(), Some("gateway"), false);
        assert_eq!(target.ok().as_ref().map(|target| &*target.path), read, "{raw}");
    }
}

#[test]
fn what_could_stand_as_it_is_is_decided_on_so_and_leaves_as_it_came() {
    for shared in [false, true] {
        let target = Target::read(b"/models/ft%3agpt%2B:x", Some("gateway"), shared).unwrap();
        let mut out = Vec::new();
        target.write(&mut out);
        let (decided, left) =
            if shared { ("/ft:gpt+:x", "/ft%3Agpt%2B:x") } else { ("/models/ft:gpt+:x", "/models/ft%3Agpt%2B:x") };
        assert_eq!((&*target.path, String::from_utf8(out).unwrap().as_str()), (decided, left));
    }
}

#[test]
fn what_clients_say_of_themselves_and_how_they_want_content_stays_here() {
    let request = get("/").replace(
        "Host",
        "Accept-Encoding: gzip\r\nRange: bytes=0-9\r\nImpersonate-User: root\r\nX-Remote-User: x\r\nRemote-User: x\r\nX-Kept: y\r\nHost",
    );
    let asked = Rig::asking(&request).asked().to_ascii_lowercase();
    assert!(asked.contains("x-kept: y") && asked.contains("accept-encoding: identity"), "{asked}");
    assert!(["gzip", "range", "impersonate", "remote-user"].iter().all(|word| !asked.contains(word)), "{asked}");
}

#[test]
fn what_is_decided_on_is_what_leaves() {
    let rig = Rig::asking(&get("/%7Eapi/x?a=%2e%2e/;&b"));
    assert!(rig.asked().starts_with("GET /~api/x?a=%2e%2e/;&b HTTP/1.1\r\nhost: api.test\r\n"), "{}", rig.asked());
    let Request::Exchange(exchange) = &rig.operations[0].request else { panic!() };
    assert_eq!(exchange.method, "GET");
    let path = &exchange.path;
    assert_eq!(&**path, "/~api/x");
    assert!(!String::from_utf8_lossy(&rig.operations[0].bytes).contains("key"), "the credential is not recorded");
}

#[test]
fn the_first_segment_may_name_the_connection() {
    let mut rig = Rig::new(ProtocolOptions { shared: true, ..OPTIONS });
    rig.client(get("/openai/v1/models"));
    rig.upstream("HTTP/1.1 204 No Content\r\n\r\n");
    assert!(rig.asked().starts_with("GET /v1/models HTTP/1.1\r\n"));
    // Another one is for another session, and its head is left where it is.
    rig.client(get("/other/v1/models"));
    assert!(rig.closed.len() == 1 && rig.http.leaves_client() && rig.inputs[0].starts_with(b"GET /other/"));
    for (raw, connection, path) in
        [("/openai", "openai", "/"), ("/openai/", "openai", "/"), ("/", "", "/"), ("/%61/b", "a", "/b")]
    {
        let target = Target::read(raw.as_bytes(), None, true).unwrap();
        assert_eq!((target.connection.as_deref(), &*target.path), (Some(connection), path), "{raw}");
    }
}

#[test]
fn the_upstream_is_shown_its_own_credential() {
    for (shown, line) in [
        (Shown::Bearer, "authorization: Bearer upstream-key\r\n"),
        (Shown::Basic, "authorization: Basic c2VydmljZTp1cHN0cmVhbS1rZXk=\r\n"),
        (Shown::Header("x-vendor-token".into()), "x-vendor-token: upstream-key\r\n"),
    ] {
        let mut rig = Rig::new(OPTIONS);
        rig.shown = shown;
        rig.client(get("/x").replace("\r\n\r\n", "\r\nX-Vendor-Token: mine\r\nX-Goog-Api-Key: token\r\n\r\n"));
        let asked = rig.asked();
        assert!(asked.contains(line) && !asked.contains("Bearer token") && !asked.contains("goog"), "{asked}");
        assert_eq!(asked.contains("mine"), !line.contains("vendor"), "{asked}");
    }
}

#[test]
fn tokens_are_taken_from_where_they_stand() {
    for (header, status) in [
        ("Authorization: bearer token", None),
        ("Authorization: Basic dXNlcjp0b2tlbg==", None),
        ("api-key: token", None),
        ("x-api-key: token\r\nAuthorization: Bearer token", None),
        ("x-api-key: token\r\nAuthorization: Bearer other", Some("400")),
        ("Authorization: Digest x", Some("401")),
        ("Authorization: Basic !", Some("401")),
        ("Authorization: Basic dXNlcg==", Some("401")),
        ("Authorization: Bearer", Some("401")),
        ("Authorization: Bearer ", Some("401")),
        ("x-api-key:", Some("401")),
        ("X-Other: token", Some("401")),
    ] {
        let rig = Rig::asking(&format!("GET / HTTP/1.1\r\nHost: gateway\r\n{header}\r\n\r\n"));
        assert_eq!(rig.received().get(9..12), status, "{header}: {}", rig.received());
        assert_eq!(rig.asked.is_empty(), status.is_some(), "{header}");
    }
}

#[test]
fn a_head_is_found_however_it_comes() {
    let text = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nrest";
    for cut in 1..text.len() {
        let (mut input, mut seen) = (BytesMut::from(&text[..cut]), 0);
        let first = head::find(&input, 100, &mut seen).unwrap();
        input.extend_from_slice(&text[cut..]);
        let found = first.or(head::find(&input, 100, &mut seen).unwrap());
        assert_eq!(found, Some(text.len() - 4), "cut at {cut}");
    }
    let long = BytesMut::from(&[b'x'; 100][..]);
    assert_eq!(head::find(&long, 100, &mut 0).unwrap_err().status, 431);
}

/// Content in chunks, as some peers would send it.
fn chunked(pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut wire = Vec::new();
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        wire.extend_from_slice(format!("{:X};n=\"v\"\r\n", piece.len()).as_bytes());
        wire.extend_from_slice(piece);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"000\r\nTrailer: x\r\n\r\nnext");
    wire
}

proptest! {
    #[test]
    fn content_is_the_same_however_it_is_cut(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
        cuts in prop::collection::vec(1..20usize, 1..30),
    ) {
        let (wire, content) = (chunked(&pieces), pieces.concat());
        let (mut body, mut input, mut read, mut rest) = (Body::Chunked(Chunk::Size), BytesMut::new(), Vec::new(), &wire[..]);
        for cut in cuts.into_iter().cycle() {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            (input, rest) = ({ input.extend_from_slice(piece); input }, after);
            while let Some(piece) = body.take(&mut input).unwrap() {
                read.extend_from_slice(&piece);
            }
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(read, content);
        prop_assert!(body.is_ended());
        prop_assert_eq!(&input[..], b"next");
    }
}
