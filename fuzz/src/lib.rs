//! A session with a pipeline that admits most of what is asked for, shared by the targets.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use claviger_model::{Cell, CopyFormat, MaskPlan, Masked, OpId, Refusal, RefusalKind, Secret, StatementMask};
use claviger_protocols::postgres::Version;
use claviger_protocols::{
    Admitted, Ask, Auth, ChannelBinding, Event, Forward, Limits, Look, Masker, Protocol, ProtocolOptions, Reply, Shown, Side, Slot,
    UpstreamLogin, UpstreamTls, open,
};

/// Small limits, so that they are met.
const OPTIONS: ProtocolOptions = ProtocolOptions {
    limits: Limits { statement: 2048, login: 512, pending: 2048, control: 2048, response: 2048, row: 2048, statements: 8 },
    tls: true,
    plaintext: true,
    auth: Auth::PASSWORD,
    shared: true,
    multiplexes: false,
};

pub struct Rig {
    protocol: Box<dyn Protocol<OpId>>,
    inputs: [BytesMut; 2],
    /// Whether the answers to what is admitted are masked.
    masks: bool,
    /// All that has left for the upstream.
    asked: Vec<u8>,
}

impl Rig {
    /// A connection that has just been accepted.
    pub fn new() -> Self {
        let protocol = open("postgres", OPTIONS).expect("postgres is in the list");
        Self { protocol, inputs: Default::default(), masks: false, asked: Vec::new() }
    }

    /// A client inside TLS that is asked for OAUTHBEARER.
    pub fn asking_for_a_bearer_token() -> Self {
        let ask = Ask::Bearer { discovery: Bytes::from_static(b"{}") };
        let options = ProtocolOptions { auth: Auth { certificate: false, ask }, ..OPTIONS };
        let protocol = open("postgres", options).expect("postgres is in the list");
        let mut rig = Self { protocol, inputs: Default::default(), masks: false, asked: Vec::new() };
        rig.feed(Side::Downstream, b"\0\0\0\x08\x04\xd2\x16\x2f");
        rig.feed(Side::Downstream, b"\0\0\0\x14\0\x03\0\0user\0alice\0\0");
        assert!(rig.protocol.wants_input(Side::Downstream), "an answer is awaited");
        rig
    }

    /// A session that is being served.
    pub fn serving() -> Self {
        let mut rig = Self::new();
        rig.feed(Side::Downstream, b"\0\0\0\x14\0\x03\0\0user\0alice\0\0");
        rig.feed(Side::Downstream, b"p\0\0\0\x0atoken\0");
        rig.feed(Side::Upstream, b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\0\x07abcdZ\0\0\0\x05I");
        assert!(rig.protocol.wants_input(Side::Upstream), "the session is being served");
        rig
    }

    /// A connection of HTTP that has just been accepted.
    pub fn of_http() -> Self {
        let protocol = open("http", ProtocolOptions { tls: false, shared: false, ..OPTIONS }).expect("http is in the list");
        Self { protocol, inputs: Default::default(), masks: false, asked: Vec::new() }
    }

    /// A session of HTTP that has answered one request.
    pub fn serving_http() -> Self {
        let mut rig = Self::of_http();
        rig.feed(Side::Downstream, b"GET / HTTP/1.1\r\nhost: a\r\nx-api-key: t\r\n\r\n");
        rig.feed(Side::Upstream, b"HTTP/1.1 204 None\r\n\r\n");
        assert!(rig.protocol.wants_input(Side::Downstream), "the session is being served");
        rig
    }

    /// What has left is one request after the other, of the gateway's own words, whatever a client made up.
    pub fn assert_canonical(&self) {
        let mut rest = &self.asked[..];
        while let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
            let (head, after) = rest.split_at(end + 4);
            let head = std::str::from_utf8(head.split(|byte| *byte == b'\r').next().unwrap_or_default()).expect("a first line");
            assert!(head.ends_with(" HTTP/1.1") && head.split(' ').count() == 3, "{head}");
            assert!(head.split(' ').nth(1).is_some_and(|target| target.starts_with('/') && !target.contains("/../")), "{head}");
            rest = after;
            let all = &self.asked[..self.asked.len() - rest.len()];
            let fields = String::from_utf8_lossy(&all[all.len() - (end + 4)..]).into_owned();
            let length = fields.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            match length {
                Some(length) => rest = rest.get(length..).unwrap_or_default(),
                // Chunks may hold anything.
                None if fields.contains("transfer-encoding: chunked") => return,
                None => {}
            }
        }
    }

    /// The same, with answers that are masked.
    pub fn masking() -> Self {
        Self { masks: true, ..Self::serving() }
    }

    /// Feeds a script: a byte says whose turn it is and how much follows.
    pub fn script(&mut self, mut script: &[u8], first: Side) {
        let second = if first == Side::Downstream { Side::Upstream } else { Side::Downstream };
        while let Some((turn, rest)) = script.split_first() {
            let (bytes, rest) = rest.split_at(rest.len().min(usize::from(turn >> 1)));
            self.feed(if turn & 1 == 0 { first } else { second }, bytes);
            script = rest;
        }
        self.protocol.handle_eof(first);
        self.drain();
    }

    pub fn feed(&mut self, side: Side, bytes: &[u8]) {
        let at = usize::from(side == Side::Upstream);
        self.inputs[at].extend_from_slice(bytes);
        let mut input = std::mem::take(&mut self.inputs[at]);
        self.protocol.handle_input(side, &mut input);
        self.inputs[at] = input;
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            while self.protocol.poll_recorded().is_some() {}
            let Some(event) = self.protocol.poll_event() else { break };
            self.answer(event);
        }
        while self.protocol.poll_transmit(Side::Downstream).is_some() {}
        while let Some(transmit) = self.protocol.poll_transmit(Side::Upstream) {
            self.asked.extend_from_slice(&transmit.bytes);
        }
    }

    fn answer(&mut self, event: Event<OpId>) {
        let reply = match event {
            Event::StartTls(side) => Reply::TlsStarted(side, None),
            Event::DirectTls => Reply::TlsStarted(Side::Downstream, None),
            Event::Login(_) => Reply::Authenticated(Box::new(upstream())),
            Event::Ready(_) => Reply::Serve,
            Event::Operation(operation) if operation.id.0 % 5 == 4 => {
                Reply::Refuse { op: operation.id, refusal: Refusal::new(RefusalKind::NotPermitted, "no") }
            }
            Event::Operation(operation) => Reply::Admit { op: operation.id, admission: operation.id, forward: Forward::Original, masker: self.masks.then(Masks::new), content: None },
            Event::Continue(op) => Reply::Continue(op),
            Event::Commit(group) => Reply::Commit(group),
            Event::Outcome(outcome, Admitted(admission)) => {
                assert_eq!(outcome.op, admission, "an admission comes back with its own operation");
                Reply::Release(outcome.op)
            }
            _ => return,
        };
        self.protocol.resume(reply);
    }
}

/// The first column is searched, the second masked. Of `select 1` by itself the rows are known, of its COPYs the form.
struct Masks(Arc<MaskPlan>);

impl Masks {
    fn new() -> Box<dyn Masker> {
        let statement = |copy| StatementMask {
            cells: vec![Cell::Plain, Cell::Made],
            telling: true,
            copy: Some(copy),
            ..StatementMask::default()
        };
        let csv = CopyFormat::Csv { delimiter: b',', null: "".into(), quote: b'"', escape: b'\\', header: true };
        let text = CopyFormat::Text { delimiter: b'\t', null: "\\N".into(), header: false };
        let statements = vec![statement(text), statement(csv), statement(CopyFormat::Binary), StatementMask::default()];
        Box::new(Self(Arc::new(MaskPlan { statements, detect: true, witness: true })))
    }
}

impl Masker for Masks {
    fn plan(&self) -> &Arc<MaskPlan> {
        &self.0
    }

    fn searches(&self) -> bool {
        true
    }

    fn observes(&self) -> bool {
        false
    }

    fn is_classified(&self, table: u32, _: i16) -> bool {
        table == 7
    }

    fn begin(&mut self) {}

    fn column(&mut self, cell: &Cell, _: &Look) -> Option<Slot> {
        Some(Slot(usize::from(*cell == Cell::Made)))
    }

    fn value(&mut self, slot: Slot, value: Option<&[u8]>, out: &mut BytesMut) -> bool {
        let put = if slot.0 == 1 { Some(&b"a\n\"\\,b"[..]) } else { value };
        out.extend_from_slice(put.unwrap_or_default());
        put.is_some()
    }

    fn text(&mut self, text: &[u8]) -> Option<Bytes> {
        text.contains(&b'x').then(|| Bytes::from_static(b"y"))
    }

    fn stops(&mut self, sent: &[u8]) -> bool {
        sent.contains(&b'z')
    }

    fn withheld(&mut self) {}

    fn masked(&mut self) -> Masked {
        Masked::default()
    }
}

fn upstream() -> UpstreamLogin {
    UpstreamLogin {
        tls: UpstreamTls::Disable,
        host: "upstream.test".into(),
        shown: Shown::Bearer,
        user: "app".into(),
        database: "shop".into(),
        version: Version::V3_2,
        password: Some(Secret::new(*b"pencil")),
        application: "claviger".into(),
        channel_binding: ChannelBinding::Prefer,
        nonce: [7; 18],
        cancel_secret: vec![9; 4].into(),
        scram_keys: Arc::default(),
    }
}
