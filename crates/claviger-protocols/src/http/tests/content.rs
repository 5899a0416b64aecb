//! Content that is looked into before a request is decided, and answers that are read.

use bytes::Bytes;
use claviger_model::{Masked, OpId, Refusal, RefusalKind, Tokens};

use super::{Looks, OPTIONS, Rig, post};
use crate::{Content, Forward, Protocol as _, Reply, Request, Said, Side, Status};

/// Takes `!` for a call of the tool `shout`, and gives all else in capital letters; with `whole`, at its end.
struct Reader {
    whole: bool,
    kept: Vec<Said>,
    begun: bool,
}

impl Reader {
    fn streaming() -> Box<dyn Content> {
        Box::new(Self { whole: false, kept: Vec::new(), begun: false })
    }

    fn whole() -> Box<dyn Content> {
        Box::new(Self { whole: true, kept: Vec::new(), begun: false })
    }
}

impl Content for Reader {
    fn begin(&mut self, status: u16, content_type: Option<&str>) -> bool {
        assert_eq!((status, content_type), (200, Some("text/x")));
        self.whole
    }

    fn push(&mut self, content: Bytes, out: &mut Vec<Said>) -> Result<(), Refusal> {
        let mut said = Vec::new();
        for byte in content.iter().map(u8::to_ascii_uppercase) {
            said.extend((byte == b'!').then(|| Said::Call { tool: "shout".into(), arguments: "{}".into() }));
            said.push(Said::Bytes(Bytes::copy_from_slice(&[byte])));
            if byte == b'?' {
                return Err(Refusal::new(RefusalKind::UpstreamUnavailable, "it asks"));
            }
        }
        self.begun |= !self.whole;
        if self.whole {
            self.kept.extend(said)
        } else {
            out.extend(said)
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<Said>) -> Result<(), Refusal> {
        out.append(&mut self.kept);
        out.push(Said::Bytes(Bytes::from_static(b".")));
        Ok(())
    }

    fn refused(&mut self, refusal: &Refusal) -> Option<Bytes> {
        self.begun.then(|| format!("<{}>", refusal.message).into())
    }

    fn masked(&mut self) -> Option<Masked> {
        None
    }

    fn tokens(&self) -> Option<Tokens> {
        Some(Tokens { input: 1, output: 2, said: true })
    }
}

fn rig(reader: fn() -> Box<dyn Content>, calls: Option<bool>) -> Rig {
    let mut rig = Rig::new(OPTIONS);
    rig.looks = Some(Looks { replaces: None, reader, calls });
    rig.client(post("/v1/x", "Content-Length: 4\r\n") + "body");
    rig
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nETag: x\r\nTransfer-Encoding: chunked\r\n\r\n";
const TOLD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/x\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

#[test]
fn a_request_is_decided_with_all_of_its_content() {
    let content = "4;x=y\r\nbody\r\n0\r\n\r\n";
    for cut in 0..=content.len() {
        let mut rig = Rig::new(OPTIONS);
        rig.looks = Some(Looks { replaces: Some("another one"), reader: Reader::streaming, calls: None });
        rig.client(post("/v1/x", "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\nContent-Type: text/y\r\n"));
        assert_eq!((rig.asked(), rig.received()), (String::new(), "HTTP/1.1 100 Continue\r\n\r\n".to_owned()));
        rig.client(&content[..cut]);
        rig.client(&content[cut..]);
        let requests: Vec<_> = rig.operations.iter().map(|operation| (operation.id, operation.request.clone())).collect();
        let [(OpId(1), Request::Exchange(first)), (OpId(1), Request::Exchange(second))] = &requests[..] else { panic!() };
        assert_eq!((&first.content, second.content.as_deref()), (&None, Some(&b"body"[..])));
        assert_eq!((second.content_type.as_deref(), &*second.path), (Some("text/y"), "/v1/x"));
        assert!(rig.asked().ends_with("content-type: text/y\r\naccept-encoding: identity\r\nauthorization: Bearer upstream-key\r\ncontent-length: 11\r\n\r\nanother one"), "{}", rig.asked());
        assert!(rig.operations[1].bytes.ends_with(b"\r\n\r\nbody"), "what the client sent is recorded");
        assert!(rig.recorded.ends_with(b"another one"), "and what left");
    }
}

#[test]
fn what_is_too_long_to_be_looked_into_is_refused() {
    let mut rig = Rig::new(OPTIONS);
    rig.looks = Some(Looks { replaces: None, reader: Reader::streaming, calls: None });
    rig.client(post("/v1/x", "Content-Length: 5000\r\n"));
    rig.client(vec![b'x'; 5000]);
    assert!(rig.received().starts_with("HTTP/1.1 413 "), "{}", rig.received());
    assert_eq!((rig.asked(), rig.closed.len()), (String::new(), 1));
}

#[test]
fn an_answer_is_read_as_it_comes() {
    let mut rig = rig(Reader::streaming, None);
    rig.upstream(HEAD.to_owned() + &chunk("ab"));
    assert_eq!(rig.received(), format!("{TOLD}transfer-encoding: chunked\r\n\r\n1\r\nA\r\n1\r\nB\r\n"));
    rig.upstream(chunk("c") + "0\r\n\r\n");
    assert!(rig.received().ends_with("1\r\nC\r\n1\r\n.\r\n0\r\n\r\n"), "{}", rig.received());
    assert_eq!(rig.outcomes[0].tokens, Some(Tokens { input: 1, output: 2, said: true }));
    assert!(rig.recorded.ends_with(b"ABC."), "as delivered");
}

#[test]
fn the_whole_of_an_answer_has_its_own_length() {
    let mut rig = rig(Reader::whole, Some(true));
    rig.upstream(HEAD.to_owned() + &chunk("a!"));
    assert_eq!(rig.received(), "", "nothing of it is told");
    rig.upstream("0\r\n\r\n");
    assert_eq!(rig.received(), format!("{TOLD}content-length: 3\r\n\r\nA!."));
    assert_eq!(rig.outcomes.iter().map(|outcome| outcome.op.0).collect::<Vec<_>>(), [2, 1], "the call, and the request");
}

#[test]
fn a_call_waits_until_it_is_decided() {
    let mut rig = rig(Reader::streaming, None);
    rig.upstream(HEAD.to_owned() + &chunk("a!b") + &chunk("c") + "0\r\n\r\n");
    assert!(rig.received().ends_with("1\r\nA\r\n"), "{}", rig.received());
    let Request::Tool { tool, arguments } = &rig.operations[2].request else { panic!() };
    assert_eq!((rig.operations[2].id, rig.operations[2].tx.0, &**tool, &**arguments), (OpId(2), 1, "shout", "{}"));
    assert!(rig.outcomes.is_empty());
    let op = OpId(2);
    rig.http.resume(Reply::Admit { op, admission: op, forward: Forward::Original, masker: None, content: None });
    rig.turn();
    assert!(rig.received().ends_with("1\r\n!\r\n1\r\nB\r\n1\r\nC\r\n1\r\n.\r\n0\r\n\r\n"), "{}", rig.received());
    assert_eq!(rig.outcomes.len(), 2);
    rig.client(post("/v1/x", ""));
    assert_eq!(rig.operations.last().unwrap().id, OpId(3), "the session goes on");
}

#[test]
fn a_refused_call_never_reaches_the_client() {
    let mut streamed = rig(Reader::streaming, Some(false));
    streamed.upstream(HEAD.to_owned() + &chunk("a!bc") + &chunk("more"));
    assert!(streamed.received().ends_with("1\r\nA\r\nf\r\n<not this tool>\r\n0\r\n\r\n"), "{}", streamed.received());
    assert!(streamed.http.leaves_client(), "the rest that the upstream says is nobody's");
    let mut whole = rig(Reader::whole, Some(false));
    whole.upstream(HEAD.to_owned() + &chunk("a!bc") + "0\r\n\r\n");
    assert!(whole.received().starts_with("HTTP/1.1 403 Forbidden\r\n"), "{}", whole.received());
    assert!(!whole.received().contains('A') && whole.received().contains("not this tool"));
    assert_eq!(whole.outcomes[0].status, Status::Completed, "the upstream has answered");
    whole.client(post("/v1/x", ""));
    assert_eq!(whole.operations.last().unwrap().id, OpId(3));
}

#[test]
fn an_answer_that_cannot_be_read_ends_the_session() {
    let mut whole = rig(Reader::whole, None);
    whole.upstream(HEAD.to_owned() + &chunk("a?"));
    assert!(whole.received().starts_with("HTTP/1.1 502 "), "{}", whole.received());
    let mut streamed = rig(Reader::streaming, None);
    streamed.upstream(HEAD.to_owned() + &chunk("a"));
    streamed.upstream(chunk("?"));
    assert!(streamed.received().ends_with("1\r\nA\r\n"), "it is cut: {}", streamed.received());
    assert_eq!((whole.closed.len(), streamed.closed.len()), (1, 1));
}

#[test]
fn whoever_goes_does_so_while_a_call_is_decided() {
    for side in [Side::Downstream, Side::Upstream] {
        let mut rig = rig(Reader::streaming, None);
        rig.upstream(HEAD.to_owned() + &chunk("a!b"));
        rig.eof(side);
        assert_eq!(rig.closed.len(), 1);
        assert!(rig.received().ends_with("1\r\nA\r\n"), "{}", rig.received());
        // What it has used by then is told.
        let [outcome] = &rig.outcomes[..] else { panic!("{:?}", rig.outcomes) };
        assert_eq!((outcome.status, outcome.bytes, outcome.tokens.is_some()), (Status::Unknown, 1, true));
    }
}
