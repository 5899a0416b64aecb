//! A session with a pipeline that admits most of what is asked for, shared by the targets.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use claviger_model::{OpId, Refusal, RefusalKind, Secret};
use claviger_protocols::postgres::Version;
use claviger_protocols::{
    Admitted, Ask, Auth, ChannelBinding, Event, Forward, Limits, Protocol, ProtocolOptions, Reply, Side, UpstreamLogin,
    UpstreamTls, open,
};

/// Small limits, so that they are met.
const OPTIONS: ProtocolOptions = ProtocolOptions {
    limits: Limits { statement: 2048, login: 512, pending: 2048, control: 2048, response: 2048, row: 2048, statements: 8 },
    tls: true,
    plaintext: true,
    auth: Auth::PASSWORD,
};

pub struct Rig {
    protocol: Box<dyn Protocol<OpId>>,
    inputs: [BytesMut; 2],
}

impl Rig {
    /// A connection that has just been accepted.
    pub fn new() -> Self {
        let protocol = open("postgres", OPTIONS).expect("postgres is in the list");
        Self { protocol, inputs: Default::default() }
    }

    /// A client inside TLS that is asked for OAUTHBEARER.
    pub fn asking_for_a_bearer_token() -> Self {
        let ask = Ask::Bearer { discovery: Bytes::from_static(b"{}") };
        let options = ProtocolOptions { auth: Auth { certificate: false, ask }, ..OPTIONS };
        let protocol = open("postgres", options).expect("postgres is in the list");
        let mut rig = Self { protocol, inputs: Default::default() };
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
        for side in [Side::Downstream, Side::Upstream] {
            while self.protocol.poll_transmit(side).is_some() {}
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
            Event::Operation(operation) => Reply::Admit { op: operation.id, admission: operation.id, forward: Forward::Original, masker: None },
            Event::Continue(op) => Reply::Continue(op),
            Event::Outcome(outcome, Admitted(admission)) => {
                assert_eq!(outcome.op, admission, "an admission comes back with its own operation");
                Reply::Release(outcome.op)
            }
            _ => return,
        };
        self.protocol.resume(reply);
    }
}

fn upstream() -> UpstreamLogin {
    UpstreamLogin {
        tls: UpstreamTls::Disable,
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
