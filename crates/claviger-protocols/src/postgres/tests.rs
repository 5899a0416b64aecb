//! Transcripts: what each side says, and what comes of it. Every one runs whole and cut at every byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::cast_possible_truncation)]

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use claviger_model::{OpId, Refusal, RefusalKind, Secret};
use proptest::prelude::*;

use super::frame::frame;
use super::message::{POISON, RESERVED, SSL_REQUEST, write_bare, write_parse, write_probe, write_query, write_startup};
use super::*;
use crate::{BackendKey, Cancel, Probe, Request, TransactionEnd, UpstreamLogin, UpstreamTls};

/// A session with a pipeline that admits what is not on its list, and writes down all that it sees.
struct Rig {
    postgres: Postgres<u64>,
    inputs: [BytesMut; 2],
    log: Vec<String>,
    refuse: Vec<u64>,
    replace: Option<&'static str>,
    /// Operations that the test decides or releases itself.
    hold: Vec<u64>,
    unreleased: Vec<u64>,
    chunk: usize,
}

const OPTIONS: ProtocolOptions = ProtocolOptions {
    limits: Limits { statement: 4096, login: 1024, pending: 4096, control: 4096, response: 4096, statements: 8 },
    tls: true,
    plaintext: true,
};

impl Rig {
    fn new(options: ProtocolOptions, chunk: usize) -> Self {
        let postgres = Postgres::new(options);
        let inputs = Default::default();
        Self {
            postgres,
            inputs,
            log: Vec::new(),
            refuse: Vec::new(),
            replace: None,
            hold: Vec::new(),
            unreleased: Vec::new(),
            chunk,
        }
    }

    fn serving(chunk: usize) -> Self {
        let mut rig = Self::new(OPTIONS, chunk);
        rig.client(&startup(&[("user", "alice")]));
        rig.client(&frame(b'p', &[b"token\0"]));
        rig.postgres.resume(Reply::Authenticated(upstream_login(UpstreamTls::Disable)));
        rig.server(&[auth(0, b""), frame(b'K', &[&[0, 0, 0, 7, 1, 2, 3, 4]]), ready(b'I')].concat());
        rig.postgres.resume(Reply::Serve);
        rig.drain();
        rig.log.clear();
        rig
    }

    fn client(&mut self, bytes: &[u8]) {
        self.feed(Side::Downstream, bytes);
    }

    fn server(&mut self, bytes: &[u8]) {
        self.feed(Side::Upstream, bytes);
    }

    fn feed(&mut self, side: Side, bytes: &[u8]) {
        for chunk in bytes.chunks(self.chunk) {
            let at = usize::from(side == Side::Upstream);
            self.inputs[at].extend_from_slice(chunk);
            let mut input = std::mem::take(&mut self.inputs[at]);
            self.postgres.handle_input(side, &mut input);
            self.inputs[at] = input;
            self.drain();
        }
    }

    fn drain(&mut self) {
        loop {
            while self.postgres.poll_response().is_some() {}
            let Some(event) = self.postgres.poll_event() else { break };
            self.log.push(told(&event));
            match event {
                Event::Operation(operation) => self.decide(operation.id),
                Event::Continue(op) if self.refuse.contains(&op.0) => self.refuse(op),
                Event::Continue(op) => self.postgres.resume(Reply::Continue(op)),
                Event::Outcome(outcome, Admitted(admission)) => {
                    assert_eq!(outcome.op.0, admission);
                    if !self.unreleased.contains(&admission) {
                        self.postgres.resume(Reply::Release(outcome.op));
                    }
                }
                _ => {}
            }
        }
        for (side, sign) in [(Side::Upstream, "-> "), (Side::Downstream, "<- ")] {
            while let Some(transmit) = self.postgres.poll_transmit(side) {
                self.transmitted(sign, &transmit.bytes);
            }
        }
    }

    fn decide(&mut self, op: OpId) {
        if self.refuse.contains(&op.0) {
            self.refuse(op);
        } else if !self.hold.contains(&op.0) {
            let forward = self.replace.map_or(Forward::Original, |text| Forward::Replace(Bytes::from_static(text.as_bytes())));
            self.postgres.resume(Reply::Admit { op, admission: op.0, forward });
        }
    }

    fn refuse(&mut self, op: OpId) {
        self.postgres.resume(Reply::Refuse { op, refusal: Refusal::new(RefusalKind::NotPermitted, "no") });
    }

    fn transmitted(&mut self, sign: &str, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self.log.last_mut() {
            Some(last) if last.starts_with(sign) => last.push_str(&hex),
            _ => self.log.push(format!("{sign}{hex}")),
        }
    }

    /// All bytes that went to one side.
    fn sent(&self, sign: &str) -> String {
        self.log.iter().filter_map(|line| line.strip_prefix(sign)).collect()
    }

    /// The events.
    fn told(&self) -> Vec<&str> {
        self.log.iter().filter(|line| !line.starts_with("->") && !line.starts_with("<-")).map(String::as_str).collect()
    }
}

fn told(event: &Event<u64>) -> String {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    match event {
        Event::Operation(operation) => {
            let what = match &operation.request {
                Request::Batch { text: own } => format!("batch {}", text(own)),
                Request::Prepare { name, text: own } => format!("prepare {}={}", text(name), text(own)),
                Request::Execute { text: own, parameters } => format!("execute {} {}", text(own), parameters.len()),
                Request::Call { target } => format!("call {target}"),
            };
            let explicit = if operation.in_transaction { "!" } else { "" };
            format!("op{} tx{}{explicit} {what}", operation.id, operation.tx)
        }
        Event::Outcome(outcome, _) => {
            let tags: Vec<_> = outcome.results.iter().map(|result| result.tag.as_str()).collect();
            let code = outcome.code.as_deref().unwrap_or_default();
            format!("out{} {:?} {} rows{} {code}", outcome.op, outcome.status, tags.join(","), outcome.rows)
        }
        Event::TransactionEnd(TransactionEnd { tx, result }) => format!("tx{tx} {result:?}"),
        Event::Continue(op) => format!("continue{op}"),
        Event::Login(login) => {
            format!("login {:?} {:?} {}", login.user, login.database, text(&Bytes::copy_from_slice(login.credential.expose())))
        }
        other => format!("{other:?}"),
    }
}

/// One step of a transcript.
enum Step {
    C(Bytes),
    S(Bytes),
}
use Step::{C, S};

/// Runs a transcript at every cut, and compares the events and all bytes of each side.
fn check(prepare: impl Fn(&mut Rig), steps: &[Step], events: &[&str], up: &[Bytes], down: &[Bytes]) {
    for chunk in [usize::MAX, 1, 2, 3, 7] {
        let mut rig = Rig::serving(chunk);
        prepare(&mut rig);
        for step in steps {
            match step {
                C(bytes) => rig.client(bytes),
                S(bytes) => rig.server(bytes),
            }
        }
        assert_eq!(rig.told(), events, "events, cut at {chunk}");
        assert_eq!(rig.sent("-> "), hex(up), "to the upstream, cut at {chunk}");
        assert_eq!(rig.sent("<- "), hex(down), "to the client, cut at {chunk}");
    }
}

fn hex(parts: &[Bytes]) -> String {
    parts.concat().iter().map(|byte| format!("{byte:02x}")).collect()
}

// === Messages ===

fn startup(parameters: &[(&str, &str)]) -> Bytes {
    write_startup(parameters.iter().copied())
}

fn upstream_login(tls: UpstreamTls) -> Box<UpstreamLogin> {
    Box::new(UpstreamLogin {
        tls,
        user: "app".into(),
        database: "shop".into(),
        password: Some(Secret::new(*b"pencil")),
        application: "claviger:alice".into(),
        nonce: [7; 18],
        cancel_secret: [9; 4],
        scram_keys: Arc::default(),
    })
}

fn auth(number: i32, rest: &[u8]) -> Bytes {
    frame(b'R', &[&number.to_be_bytes(), rest])
}

fn ready(status: u8) -> Bytes {
    frame(b'Z', &[&[status]])
}

fn tag(tag: &str) -> Bytes {
    frame(b'C', &[tag.as_bytes(), b"\0"])
}

fn failure(severity: &str, code: &str) -> Bytes {
    frame(b'E', &[b"S", severity.as_bytes(), b"\0V", severity.as_bytes(), b"\0C", code.as_bytes(), b"\0Msecret\0\0"])
}

fn ours() -> Bytes {
    refuse::error(&Refusal::new(RefusalKind::NotPermitted, "no"))
}

fn row(value: &[u8]) -> Bytes {
    frame(b'D', &[&[0, 1], &(value.len() as u32).to_be_bytes(), value])
}

fn parse(name: &str, text: &str) -> Bytes {
    write_parse(name.as_bytes(), text.as_bytes(), &[0, 0])
}

fn bind(portal: &str, statement: &str) -> Bytes {
    frame(b'B', &[portal.as_bytes(), b"\0", statement.as_bytes(), b"\0", &[0; 6]])
}

fn execute(portal: &str) -> Bytes {
    frame(b'E', &[portal.as_bytes(), b"\0", &[0; 4]])
}

fn close(kind: u8, name: &str) -> Bytes {
    frame(b'C', &[&[kind], name.as_bytes(), b"\0"])
}

fn poison() -> Bytes {
    write_parse(RESERVED, POISON, &[0, 0])
}

fn bare(kind: u8) -> Bytes {
    write_bare(kind)
}

fn cat(parts: &[Bytes]) -> Bytes {
    parts.concat().into()
}

fn query(text: &str) -> Bytes {
    write_query(text.as_bytes())
}

// === Login ===

#[test]
fn negotiates_and_logs_in() {
    for chunk in [usize::MAX, 1] {
        let mut rig = Rig::new(OPTIONS, chunk);
        rig.client(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30]);
        rig.client(&SSL_REQUEST);
        rig.postgres.resume(Reply::TlsStarted(Side::Downstream));
        let mut hello =
            startup(&[("user", "alice"), ("database", "shop"), ("options", "-c role=x"), ("TimeZone", "UTC"), ("_pq_.x", "1")])
                .to_vec();
        hello[7] = 2;
        rig.client(&hello);
        rig.client(&frame(b'p', &[b"token\0"]));
        assert_eq!(rig.told(), ["StartTls(Downstream)", "login Some(\"alice\") Some(\"shop\") token"]);
        let negotiated = frame(b'v', &[&[0, 3, 0, 0, 0, 0, 0, 1], b"_pq_.x\0"]);
        assert_eq!(rig.sent("<- "), hex(&[Bytes::from_static(b"NS"), negotiated, auth(3, b"")]));
        rig.log.clear();

        rig.postgres.resume(Reply::Authenticated(upstream_login(UpstreamTls::Require)));
        rig.drain();
        rig.server(b"S");
        rig.postgres.resume(Reply::TlsStarted(Side::Upstream));
        rig.server(&auth(5, &[1, 2, 3, 4]));
        let settings = frame(b'S', &[b"server_version\0\x318\0"]);
        rig.server(&cat(&[auth(0, b""), settings.clone(), frame(b'K', &[&[0, 0, 0, 7], b"secret"]), ready(b'I')]));
        let key = BackendKey { process: 7, secret: Bytes::from_static(b"secret") };
        assert_eq!(rig.told(), ["StartTls(Upstream)".to_owned(), format!("Ready({key:?})")]);
        let own = [("user", "app"), ("database", "shop"), ("application_name", "claviger:alice"), ("TimeZone", "UTC")];
        let md5 = md5::answer(b"app", b"pencil", &[1, 2, 3, 4]);
        let answer = frame(b'p', &[md5.as_bytes(), b"\0"]);
        assert_eq!(rig.sent("-> "), hex(&[Bytes::from_static(&SSL_REQUEST), startup(&own), answer]));
        rig.log.clear();
        rig.postgres.resume(Reply::Serve);
        rig.drain();
        let greeting = [auth(0, b""), settings, frame(b'K', &[&[0, 0, 0, 7, 9, 9, 9, 9]]), ready(b'I')];
        assert_eq!(rig.sent("<- "), hex(&greeting));
    }
}

#[test]
fn refuses_what_is_not_a_login() {
    let plain = ProtocolOptions { plaintext: false, ..OPTIONS };
    let injected = [&SSL_REQUEST[..], b"x"].concat();
    for (options, input, kind) in [
        (plain, startup(&[("user", "a")]).to_vec(), RefusalKind::Unauthenticated),
        (OPTIONS, startup(&[("user", "a"), ("replication", "database")]).to_vec(), RefusalKind::Unsupported),
        (OPTIONS, startup(&[("user", "a"), ("USER", "b")]).to_vec(), RefusalKind::ProtocolViolation),
        (OPTIONS, vec![0x16, 3, 1, 2], RefusalKind::TooLarge),
        (OPTIONS, injected, RefusalKind::ProtocolViolation),
        (OPTIONS, [&startup(&[("user", "a")])[..], &query("select 1")].concat(), RefusalKind::ProtocolViolation),
    ] {
        for chunk in [usize::MAX, 1] {
            let mut rig = Rig::new(options, chunk);
            rig.client(&input);
            let closed = format!("Closed(ByGateway(Refusal {{ kind: {kind:?},");
            assert!(rig.told().last().is_some_and(|last| last.starts_with(&closed)), "{:?}", rig.log);
        }
    }
}

#[test]
fn hides_why_the_upstream_refuses() {
    let mut rig = Rig::new(OPTIONS, 1);
    rig.client(&startup(&[("user", "alice")]));
    rig.client(&frame(b'p', &[b"token\0"]));
    rig.postgres.resume(Reply::Authenticated(upstream_login(UpstreamTls::Disable)));
    rig.server(&failure("FATAL", "28P01"));
    let shown = Fault::LoginRefused("28P01".into()).into();
    assert_eq!(rig.sent("<- "), hex(&[auth(3, b""), refuse::fatal(&shown, false)]));
}

#[test]
fn an_unproven_scram_server_is_refused() {
    let mut rig = Rig::new(OPTIONS, 1);
    rig.client(&startup(&[("user", "alice")]));
    rig.client(&frame(b'p', &[b"token\0"]));
    rig.postgres.resume(Reply::Authenticated(upstream_login(UpstreamTls::Disable)));
    rig.server(&cat(&[auth(10, b"SCRAM-SHA-256\0\0"), auth(0, b"")]));
    assert!(rig.told().last().unwrap().contains("the upstream failed the SCRAM exchange"), "{:?}", rig.log);
}

#[test]
fn passes_a_cancel_on_without_an_answer() {
    let mut rig = Rig::new(OPTIONS, 1);
    rig.client(&cancel_request(&BackendKey { process: 7, secret: Bytes::from_static(&[9; 4]) }));
    let cancel = Cancel { process: 7, secret: Bytes::from_static(&[9; 4]) };
    assert_eq!(rig.log, [format!("Cancel({cancel:?})"), "Closed(ByClient)".to_owned()]);
}

// === Serving ===

#[test]
fn runs_batches() {
    let one = cat(&[row(b"1"), tag("SELECT 1"), ready(b'I')]);
    let empty = cat(&[bare(b'I'), ready(b'I')]);
    let several = cat(&[row(b"1"), tag("SELECT 1"), row(b"2"), tag("SELECT 1"), failure("ERROR", "22012"), ready(b'I')]);
    check(
        |_| {},
        &[C(query("a")), S(one.clone()), C(query("")), S(empty.clone()), C(query("x; y; z")), S(several.clone())],
        &[
            "op1 tx1 batch a",
            "out1 Completed SELECT 1 rows1 ",
            "tx1 Commit",
            "op2 tx2 batch ",
            "out2 Completed  rows0 ",
            "tx2 Commit",
            "op3 tx3 batch x; y; z",
            "out3 Error SELECT 1,SELECT 1 rows2 22012",
            "tx3 Rollback",
        ],
        &[query("a"), query(""), query("x; y; z")],
        &[one, empty, several],
    );
}

#[test]
fn follows_transactions() {
    let done = |text: &str, status| cat(&[tag(text), ready(status)]);
    let answers = [done("BEGIN", b'T'), done("INSERT 0 1", b'T'), done("COMMIT", b'I'), done("INSERT 0 1", b'I')];
    check(
        |_| {},
        &[
            C(query("begin")),
            S(answers[0].clone()),
            C(query("insert")),
            S(answers[1].clone()),
            C(query("commit")),
            S(answers[2].clone()),
            C(query("insert")),
            S(answers[3].clone()),
        ],
        &[
            "op1 tx1 batch begin",
            "out1 Completed BEGIN rows0 ",
            "op2 tx1! batch insert",
            "out2 Completed INSERT 0 1 rows0 ",
            "op3 tx1! batch commit",
            "out3 Completed COMMIT rows0 ",
            "tx1 Commit",
            "op4 tx2 batch insert",
            "out4 Completed INSERT 0 1 rows0 ",
            "tx2 Commit",
        ],
        &[query("begin"), query("insert"), query("commit"), query("insert")],
        &answers,
    );
}

#[test]
fn a_refusal_fails_the_transaction_as_an_error_would() {
    let begun = cat(&[tag("BEGIN"), ready(b'T')]);
    check(
        |rig| rig.refuse = vec![2],
        &[
            C(query("begin")),
            S(begun.clone()),
            C(query("drop")),
            S(cat(&[failure("ERROR", "42601"), ready(b'E')])),
            C(query("rollback")),
            S(cat(&[tag("ROLLBACK"), ready(b'I')])),
        ],
        &[
            "op1 tx1 batch begin",
            "out1 Completed BEGIN rows0 ",
            "op2 tx1! batch drop",
            "op3 tx1! batch rollback",
            "out3 Completed ROLLBACK rows0 ",
            "tx1 Rollback",
        ],
        &[query("begin"), write_query(POISON), query("rollback")],
        &[begun, ours(), ready(b'E'), tag("ROLLBACK"), ready(b'I')],
    );
}

#[test]
fn runs_a_pipeline() {
    let client = cat(&[parse("s", "a"), bind("", "s"), execute(""), bind("", "s"), execute(""), bare(b'S')]);
    let server = cat(&[bare(b'1'), bare(b'2'), row(b"1"), tag("SELECT 1"), bare(b'2'), row(b"2"), tag("SELECT 1"), ready(b'I')]);
    check(
        |_| {},
        &[C(client.clone()), S(server.clone())],
        &[
            "op1 tx1 prepare s=a",
            "op2 tx1 execute a 0",
            "op3 tx1 execute a 0",
            "out1 Completed  rows0 ",
            "out2 Completed SELECT 1 rows1 ",
            "out3 Completed SELECT 1 rows1 ",
            "tx1 Commit",
        ],
        &[client],
        &[server],
    );
}

#[test]
fn an_error_skips_to_sync() {
    let client = cat(&[parse("", "a"), bind("", ""), execute(""), parse("", "b"), bind("", ""), execute(""), bare(b'S')]);
    let server = cat(&[bare(b'1'), bare(b'2'), failure("ERROR", "22012"), ready(b'I')]);
    check(
        |_| {},
        &[C(client.clone()), S(server.clone())],
        &[
            "op1 tx1 prepare =a",
            "op2 tx1 execute a 0",
            "op3 tx1 prepare =b",
            "op4 tx1 execute b 0",
            "out1 Completed  rows0 ",
            "out2 Error  rows0 22012",
            "out3 Skipped  rows0 ",
            "out4 Skipped  rows0 ",
            "tx1 Rollback",
        ],
        &[client],
        &[server],
    );
}

#[test]
fn a_poison_in_a_pipeline_skips_what_follows() {
    let first = cat(&[parse("", "a"), bind("", ""), execute("")]);
    let rest = cat(&[bind("", ""), execute(""), parse("", "b"), bare(b'S')]);
    check(
        |rig| rig.refuse = vec![3],
        &[
            C(cat(&[first.clone(), rest])),
            S(cat(&[bare(b'1'), bare(b'2'), tag("SELECT 0"), failure("ERROR", "42601"), ready(b'I')])),
        ],
        &[
            "op1 tx1 prepare =a",
            "op2 tx1 execute a 0",
            "op3 tx1 execute a 0",
            "op4 tx1 prepare =b",
            "out1 Completed  rows0 ",
            "out2 Completed SELECT 0 rows0 ",
            "out4 Skipped  rows0 ",
            "tx1 Rollback",
        ],
        &[first, poison(), execute(""), parse("", "b"), bare(b'S')],
        &[bare(b'1'), bare(b'2'), tag("SELECT 0"), ours(), ready(b'I')],
    );
}

#[test]
fn a_suspended_portal_is_one_operation() {
    let begin = [cat(&[tag("BEGIN"), ready(b'T')])];
    let first = cat(&[parse("", "a"), bind("p", ""), execute("p"), bare(b'S')]);
    let more = cat(&[execute("p"), bare(b'S')]);
    let suspended = cat(&[bare(b'1'), bare(b'2'), row(b"1"), bare(b's'), ready(b'T')]);
    let done = cat(&[row(b"2"), tag("SELECT 1"), ready(b'T')]);
    check(
        |_| {},
        &[
            C(query("begin")),
            S(begin[0].clone()),
            C(first.clone()),
            S(suspended.clone()),
            C(more.clone()),
            S(done.clone()),
            C(execute("p")),
        ],
        &[
            "op1 tx1 batch begin",
            "out1 Completed BEGIN rows0 ",
            "op2 tx1! prepare =a",
            "op3 tx1! execute a 0",
            "out2 Completed  rows0 ",
            "continue3",
            "out3 Completed SELECT 1 rows2 ",
            "op4 tx1! execute a 0",
        ],
        &[query("begin"), first, more, execute("p")],
        &[begin[0].clone(), suspended, done],
    );
}

#[test]
fn a_portal_that_is_never_run_ends_with_its_transaction() {
    let client = cat(&[parse("", "a"), bind("p", ""), bare(b'S'), execute("cursor"), bare(b'S')]);
    let server = [cat(&[bare(b'1'), bare(b'2'), ready(b'I')]), cat(&[failure("ERROR", "34000"), ready(b'I')])];
    check(
        |_| {},
        &[C(client.clone()), S(server[0].clone()), S(server[1].clone())],
        &[
            "op1 tx1 prepare =a",
            "op2 tx1 execute a 0",
            "out1 Completed  rows0 ",
            "out2 Completed  rows0 ",
            "tx1 Commit",
            "op3 tx2 call portal cursor",
            "out3 Error  rows0 34000",
            "tx2 Rollback",
        ],
        &[client],
        &server,
    );
}

#[test]
fn closing_ends_what_was_never_run() {
    let client = cat(&[parse("s", "a"), bind("p", "s"), close(b'P', "p"), close(b'S', "s"), bind("", "s"), bare(b'S')]);
    let server = cat(&[bare(b'1'), bare(b'2'), bare(b'3'), bare(b'3'), failure("ERROR", "26000"), ready(b'I')]);
    check(
        |_| {},
        &[C(client.clone()), S(server.clone())],
        &[
            "op1 tx1 prepare s=a",
            "op2 tx1 execute a 0",
            "op3 tx1 execute  0",
            "out1 Completed  rows0 ",
            "out2 Completed  rows0 ",
            "out3 Error  rows0 26000",
            "tx1 Rollback",
        ],
        &[client],
        &[server],
    );
}

#[test]
fn copies_in() {
    let data = cat(&[frame(b'd', &[b"1\n"]), frame(b'd', &[b"2\n"])]);
    let server = cat(&[frame(b'G', &[&[0, 0, 0]]), tag("COPY 2"), ready(b'I')]);
    check(
        |_| {},
        &[
            C(data.clone()),
            C(query("copy t from stdin")),
            S(server.slice(..8)),
            C(data.clone()),
            C(bare(b'c')),
            S(server.slice(8..)),
            C(cat(&[data.clone(), bare(b'c')])),
        ],
        &["op1 tx1 batch copy t from stdin", "out1 Completed COPY 2 rows0 ", "tx1 Commit"],
        &[query("copy t from stdin"), data, bare(b'c')],
        &[server],
    );
}

/// libpq sends everything up to Sync at once, and another Sync after CopyDone: the server ignores the first.
#[test]
fn copies_in_by_the_extended_protocol() {
    let ask = cat(&[parse("", "copy"), bind("", ""), execute(""), bare(b'S')]);
    let data = cat(&[frame(b'd', &[b"1\n"]), bare(b'c'), bare(b'S')]);
    let open = cat(&[bare(b'1'), bare(b'2'), frame(b'G', &[&[0, 0, 0]])]);
    let done = cat(&[tag("COPY 1"), ready(b'I')]);
    let failed = cat(&[failure("ERROR", "42501"), ready(b'I')]);
    check(
        |_| {},
        &[C(ask.clone()), S(open.clone()), C(data.clone()), S(done.clone()), C(query("x")), S(cat(&[tag("X"), ready(b'I')]))],
        &[
            "op1 tx1 prepare =copy",
            "op2 tx1 execute copy 0",
            "out1 Completed  rows0 ",
            "out2 Completed COPY 1 rows0 ",
            "tx1 Commit",
            "op3 tx2 batch x",
            "out3 Completed X rows0 ",
            "tx2 Commit",
        ],
        &[ask.clone(), data, query("x")],
        &[open.clone(), done, tag("X"), ready(b'I')],
    );
    // A COPY that fails before it reads leaves the first Sync to be answered.
    check(
        |_| {},
        &[C(ask.clone()), S(cat(&[open.clone(), failed.clone()])), C(bare(b'S')), S(ready(b'I'))],
        &["op1 tx1 prepare =copy", "op2 tx1 execute copy 0", "out1 Completed  rows0 ", "out2 Error  rows0 42501", "tx1 Rollback"],
        &[ask, bare(b'S')],
        &[open, failed, ready(b'I')],
    );
}

#[test]
fn copies_out() {
    let server = cat(&[frame(b'H', &[&[0, 0, 0]]), frame(b'd', &[b"1\n"]), bare(b'c'), tag("COPY 1"), ready(b'I')]);
    check(
        |_| {},
        &[C(query("copy t to stdout")), S(server.clone())],
        &["op1 tx1 batch copy t to stdout", "out1 Completed COPY 1 rows0 ", "tx1 Commit"],
        &[query("copy t to stdout")],
        &[server],
    );
}

#[test]
fn a_bind_waits_for_what_may_change_its_statement() {
    let first = cat(&[parse("s", "a"), bare(b'S')]);
    let again = cat(&[parse("s", "b"), bare(b'S')]);
    let use_it = cat(&[bind("", "s"), execute(""), bare(b'S')]);
    let made = cat(&[bare(b'1'), ready(b'I')]);
    let duplicate = cat(&[failure("ERROR", "42P05"), ready(b'I')]);
    let done = cat(&[bare(b'2'), tag("SELECT 0"), ready(b'I')]);
    check(
        |_| {},
        &[
            C(first.clone()),
            S(made.clone()),
            C(cat(&[again.clone(), use_it.clone()])),
            S(duplicate.clone()),
            S(done.clone()),
            C(query("deallocate S")),
            S(cat(&[tag("DEALLOCATE"), ready(b'I')])),
            C(bind("", "s")),
        ],
        &[
            "op1 tx1 prepare s=a",
            "out1 Completed  rows0 ",
            "op2 tx2 prepare s=b",
            "out2 Error  rows0 42P05",
            "op3 tx3 execute a 0",
            "tx2 Rollback",
            "out3 Completed SELECT 0 rows0 ",
            "tx3 Commit",
            "op4 tx4 batch deallocate S",
            "out4 Completed DEALLOCATE rows0 ",
            "tx4 Commit",
            "op5 tx5 execute  0",
        ],
        &[first, again, use_it, query("deallocate S"), bind("", "s")],
        &[made, duplicate, done, tag("DEALLOCATE"), ready(b'I')],
    );
}

#[test]
fn an_unreleased_outcome_holds_all_that_follows() {
    let mut rig = Rig::serving(1);
    rig.unreleased = vec![1];
    rig.client(&query("a"));
    rig.server(&cat(&[row(b"1"), tag("SELECT 1"), ready(b'I')]));
    rig.client(&query("b"));
    rig.server(&cat(&[row(b"2"), tag("SELECT 1"), ready(b'I')]));
    assert_eq!(rig.sent("<- "), hex(&[row(b"1")]));
    rig.postgres.resume(Reply::Release(OpId(1)));
    rig.drain();
    let rest = [row(b"1"), tag("SELECT 1"), ready(b'I'), row(b"2"), tag("SELECT 1"), ready(b'I')];
    assert_eq!(rig.sent("<- "), hex(&rest));
}

#[test]
fn an_undecided_operation_holds_all_that_follows() {
    let mut rig = Rig::serving(1);
    rig.hold = vec![2];
    rig.client(&cat(&[parse("", "a"), parse("s", "b"), parse("t", "c"), bare(b'S')]));
    assert_eq!(rig.told(), ["op1 tx1 prepare =a", "op2 tx1 prepare s=b", "op3 tx1 prepare t=c"]);
    assert_eq!(rig.sent("-> "), hex(&[parse("", "a")]));
    rig.hold.clear();
    rig.decide(OpId(2));
    rig.drain();
    assert_eq!(rig.sent("-> "), hex(&[parse("", "a"), parse("s", "b"), parse("t", "c"), bare(b'S')]));
}

#[test]
fn replaces_the_text() {
    let mut rig = Rig::serving(1);
    rig.replace = Some("edited");
    rig.client(&parse("s", "a"));
    rig.server(&bare(b'1'));
    rig.replace = None;
    rig.client(&bind("", "s"));
    assert_eq!(rig.sent("-> "), hex(&[parse("s", "edited"), bind("", "s")]));
    assert_eq!(rig.told().last(), Some(&"op2 tx1 execute edited 0"));
}

#[test]
fn probes_where_nobody_notices() {
    let mut rig = Rig::serving(1);
    rig.client(&query("a"));
    rig.postgres.resume(Reply::Probe(ProbeId(5), "select x".into()));
    rig.drain();
    assert_eq!(rig.sent("-> "), hex(&[query("a")]));
    rig.server(&cat(&[tag("SELECT 0"), ready(b'I')]));
    rig.client(&query("b"));
    assert_eq!(rig.sent("-> "), hex(&[query("a"), write_probe("select x")]));
    rig.server(&cat(&[bare(b'3'), bare(b'1'), bare(b'2'), row(b"7"), tag("SELECT 1"), bare(b'3'), bare(b'3'), ready(b'I')]));
    let probe = Probe::Rows(vec![vec![Some(Bytes::from_static(b"7"))]]);
    assert!(rig.told().contains(&format!("Probe(ProbeId(5), {probe:?})").as_str()), "{:?}", rig.log);
    assert_eq!(rig.sent("-> "), hex(&[query("a"), write_probe("select x"), query("b")]));
    assert_eq!(rig.sent("<- "), hex(&[tag("SELECT 0"), ready(b'I')]));
}

#[test]
fn ends_where_frames_end() {
    let refusal = Refusal::new(RefusalKind::Terminated, "over");
    let mut rig = Rig::serving(usize::MAX);
    rig.client(&query("a"));
    rig.server(&row(b"long")[..9]);
    rig.postgres.resume(Reply::Terminate(refusal.clone()));
    rig.drain();
    assert_eq!(rig.sent("<- "), hex(&[row(b"long").slice(..9)]), "no error inside a row");
    assert_eq!(rig.sent("-> "), hex(&[query("a"), bare(b'X')]));

    let mut rig = Rig::serving(1);
    rig.unreleased = vec![1];
    rig.client(&query("a"));
    rig.server(&cat(&[row(b"1"), tag("SELECT 1"), ready(b'I')]));
    rig.postgres.resume(Reply::Terminate(refusal.clone()));
    rig.drain();
    assert_eq!(rig.sent("<- "), hex(&[row(b"1"), refuse::fatal(&refusal, true)]), "what is not recorded is not told");
}

#[test]
fn fails_closed() {
    let client = [bare(b'p'), bare(b'z'), frame(b'Q', &[&[b'x'; 5000], b"\0"]), frame(b'Q', &[b"a"]), frame(b'S', &[b"x"])];
    for bytes in client {
        let mut rig = Rig::serving(1);
        rig.client(&bytes);
        assert!(rig.told().last().is_some_and(|last| last.starts_with("Closed(ByGateway(")), "{:?}", rig.log);
        assert_eq!(rig.sent("-> "), hex(&[bare(b'X')]));
    }
    for bytes in [row(b"1"), ready(b'I'), bare(b'W'), bare(b'1'), bare(b'?'), frame(b'N', &[&[0; 5000]]), auth(0, b"")] {
        let mut rig = Rig::serving(1);
        rig.server(&bytes);
        assert!(rig.told().last().is_some_and(|last| last.starts_with("Closed(ByGateway(")), "{bytes:?} {:?}", rig.log);
    }
    // A poison that is not rejected.
    let mut rig = Rig::serving(1);
    rig.refuse = vec![1];
    rig.client(&query("a"));
    rig.server(&tag("SELECT 1"));
    assert!(rig.told().last().is_some_and(|last| last.starts_with("Closed(ByGateway(")), "{:?}", rig.log);
}

#[test]
fn a_function_call_is_refused() {
    check(
        |_| {},
        &[C(frame(b'F', &[&[0; 10]])), S(cat(&[failure("ERROR", "42601"), ready(b'I')]))],
        &[],
        &[write_query(POISON)],
        &[refuse::error(&Refusal::new(RefusalKind::Unsupported, "function calls by number are not supported")), ready(b'I')],
    );
}

#[test]
fn a_client_that_leaves_is_recorded_to_the_end() {
    let mut rig = Rig::serving(1);
    rig.client(&query("a"));
    rig.postgres.handle_eof(Side::Downstream);
    rig.server(&cat(&[tag("INSERT 0 1"), ready(b'I')]));
    assert_eq!(rig.told(), ["op1 tx1 batch a", "out1 Completed INSERT 0 1 rows0 ", "tx1 Commit", "Closed(ByClient)"]);
    assert_eq!(rig.sent("<- "), "");
}

// === Arbitrary bytes ===

fn any_message(kinds: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![
        Just(Vec::new()),
        Just(vec![b'I']),
        Just(b"s\0select 1\0\0\0".to_vec()),
        Just(b"\0s\0\0\0\0\0\0\0".to_vec()),
        Just(b"\0\0\0\0\0".to_vec()),
        Just(b"Ss\0".to_vec()),
        Just(b"begin\0".to_vec()),
        Just(b"COMMIT\0".to_vec()),
        prop::collection::vec(any::<u8>(), 0..24),
    ];
    (prop::sample::select(kinds), body).prop_map(|(kind, body)| frame(kind, &[&body]).to_vec())
}

fn any_input() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    let client = any_message(b"QPBEDCSHFdcfXpz").prop_map(|bytes| (true, bytes));
    let server = any_message(b"123CDEGHINSTWZcdnst?").prop_map(|bytes| (false, bytes));
    let noise = (any::<bool>(), prop::collection::vec(any::<u8>(), 0..32));
    prop::collection::vec(prop_oneof![8 => client, 8 => server, 1 => noise], 0..40)
}

proptest! {
    #[test]
    fn arbitrary_frames_never_panic_nor_pile_up(input in any_input(), refuse in prop::collection::vec(1u64..20, 0..4)) {
        let mut rig = Rig::serving(usize::MAX);
        rig.unreleased = vec![3];
        rig.hold = vec![5];
        rig.refuse = refuse;
        for (from_client, bytes) in input {
            if from_client { rig.client(&bytes) } else { rig.server(&bytes) }
            let postgres = &rig.postgres;
            prop_assert!(postgres.inbox_bytes + postgres.queue_bytes <= OPTIONS.limits.pending + 8192);
            prop_assert!(postgres.down.len() <= OPTIONS.limits.response + 8192);
            prop_assert!(postgres.registry.len() <= OPTIONS.limits.statements + 64);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_before_login(input in prop::collection::vec(any::<u8>(), 0..64), at in 0usize..3) {
        let mut rig = Rig::new(OPTIONS, 5);
        if at > 0 { rig.client(&startup(&[("user", "alice")])) }
        if at > 1 {
            rig.client(&frame(b'p', &[b"token\0"]));
            rig.postgres.resume(Reply::Authenticated(upstream_login(UpstreamTls::Prefer)));
            rig.server(b"N");
        }
        rig.client(&input);
        rig.server(&input);
    }

    #[test]
    fn describing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        describe(&bytes, true);
        describe(&bytes, false);
    }
}

#[test]
fn describes_what_was_said() {
    let said = describe(&cat(&[query("a"), parse("s", "b"), query("c").slice(..4)]), true);
    let prepare = Described::Prepare { name: "s".into(), text: "b".into() };
    assert_eq!(said, [Described::Statement("a".into()), prepare, Described::Cut { bytes: 4 }]);
    let said = describe(&cat(&[row(&[0xff]), tag("SELECT 1"), failure("ERROR", "22012")]), false);
    let error = Described::Error { code: "22012".into(), message: "secret".into() };
    assert_eq!(said, [Described::Row(vec![Some("\\xff".into())]), Described::Tag("SELECT 1".into()), error]);
}
