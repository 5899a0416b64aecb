//! What is read of both sides, and what becomes of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod answers;
mod content;
mod reading;

use bytes::BytesMut;
use claviger_model::{OpId, Refusal, RefusalKind, Secret};

use super::Http;
use crate::{
    Admitted, Auth, ChannelBinding, Closed, Content, Event, Forward, Limits, Operation, Outcome, Protocol, ProtocolOptions,
    Reply, Request, Shown, Side, Status, UpstreamLogin, UpstreamTls,
};

const OPTIONS: ProtocolOptions =
    ProtocolOptions { limits: LIMITS, tls: false, plaintext: true, auth: Auth::PASSWORD, shared: false, multiplexes: false };

const LIMITS: Limits =
    Limits { statement: 4096, login: 4096, pending: 4096, control: 4096, response: 4096, row: 4096, statements: 8 };

/// How a pipeline decides that looks into content.
struct Looks {
    /// What leaves in place of the client's content.
    replaces: Option<&'static str>,
    reader: fn() -> Box<dyn Content>,
    /// What becomes of calls of tools; nothing yet if nothing is said.
    calls: Option<bool>,
}

impl Looks {
    fn decide(&self, operation: &Operation) -> Option<Reply<OpId>> {
        let op = operation.id;
        let admit = |forward, content| Reply::Admit { op, admission: op, forward, masker: None, content };
        Some(match &operation.request {
            Request::Exchange(exchange) if exchange.content.is_none() => Reply::Gather(op),
            Request::Tool { .. } => match self.calls? {
                true => admit(Forward::Original, None),
                false => Reply::Refuse { op, refusal: Refusal::new(RefusalKind::NotPermitted, "not this tool") },
            },
            _ => {
                let forward = self.replaces.map_or(Forward::Original, |text| Forward::Replace(text.into()));
                admit(forward, Some((self.reader)()))
            }
        })
    }
}

/// One session whose pipeline admits whatever is asked for.
struct Rig {
    http: Http<OpId>,
    inputs: [BytesMut; 2],
    shown: Shown,
    /// Whether outcomes are released.
    release: bool,
    /// How requests with content are decided, if that is looked into.
    looks: Option<Looks>,
    asked: Vec<u8>,
    received: Vec<u8>,
    recorded: Vec<u8>,
    operations: Vec<Operation>,
    outcomes: Vec<Outcome>,
    closed: Vec<Closed>,
}

impl Rig {
    fn new(options: ProtocolOptions) -> Self {
        Self {
            http: Http::new(options),
            inputs: Default::default(),
            shown: Shown::Bearer,
            release: true,
            looks: None,
            asked: Vec::new(),
            received: Vec::new(),
            recorded: Vec::new(),
            operations: Vec::new(),
            outcomes: Vec::new(),
            closed: Vec::new(),
        }
    }

    /// A session in which this request has been asked.
    fn asking(request: &str) -> Self {
        let mut rig = Self::new(OPTIONS);
        rig.client(request);
        rig
    }

    fn client(&mut self, text: impl AsRef<[u8]>) {
        self.feed(Side::Downstream, text.as_ref());
    }

    fn upstream(&mut self, text: impl AsRef<[u8]>) {
        self.feed(Side::Upstream, text.as_ref());
    }

    fn feed(&mut self, side: Side, bytes: &[u8]) {
        self.inputs[usize::from(side == Side::Upstream)].extend_from_slice(bytes);
        self.turn();
    }

    fn eof(&mut self, side: Side) {
        self.http.handle_eof(side);
        self.turn();
    }

    fn loss(&mut self, side: Side) {
        self.http.handle_loss(side);
        self.turn();
    }

    /// Hands over what there is, as long as something is taken.
    fn turn(&mut self) {
        loop {
            let mut moved = false;
            for side in [Side::Downstream, Side::Upstream] {
                let input = &mut self.inputs[usize::from(side == Side::Upstream)];
                let before = input.len();
                if self.http.wants_input(side) && before > 0 {
                    self.http.handle_input(side, input);
                    moved |= input.len() != before;
                }
                moved |= self.drain();
            }
            if !moved {
                return;
            }
        }
    }

    fn drain(&mut self) -> bool {
        let mut moved = false;
        while let Some(recorded) = self.http.poll_recorded() {
            self.recorded.extend_from_slice(&recorded.bytes);
        }
        while let Some(event) = self.http.poll_event() {
            moved = true;
            self.hear(event);
        }
        while let Some(transmit) = self.http.poll_transmit(Side::Upstream) {
            self.asked.extend_from_slice(&transmit.bytes);
        }
        while let Some(transmit) = self.http.poll_transmit(Side::Downstream) {
            self.received.extend_from_slice(&transmit.bytes);
        }
        moved
    }

    fn hear(&mut self, event: Event<OpId>) {
        let reply = match event {
            Event::StartTls(side) => Reply::TlsStarted(side, None),
            Event::Login(_) => Reply::Authenticated(Box::new(upstream_login(self.shown.clone()))),
            Event::Ready(None) => Reply::Serve,
            Event::Operation(operation) => {
                let op = operation.id;
                self.operations.push(operation);
                if let Some(looks) = &self.looks {
                    let Some(reply) = looks.decide(&self.operations[self.operations.len() - 1]) else { return };
                    return self.http.resume(reply);
                }
                Reply::Admit { op, admission: op, forward: Forward::Original, masker: None, content: None }
            }
            Event::Outcome(outcome, Admitted(admission)) => {
                assert_eq!(outcome.op, admission);
                let op = outcome.op;
                self.outcomes.push(outcome);
                if !self.release {
                    return;
                }
                Reply::Release(op)
            }
            Event::Closed(closed) => return self.closed.push(closed),
            Event::TransactionEnd(_) => return,
            event => panic!("{event:?}"),
        };
        self.http.resume(reply);
    }

    /// How operations have ended.
    fn ended(&self) -> Vec<Status> {
        self.outcomes.iter().map(|outcome| outcome.status).collect()
    }

    fn asked(&self) -> String {
        String::from_utf8_lossy(&self.asked).into_owned()
    }

    fn received(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer token\r\n\r\n")
}

fn post(path: &str, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: gateway\r\nx-api-key: token\r\n{more}\r\n")
}

fn upstream_login(shown: Shown) -> UpstreamLogin {
    UpstreamLogin {
        tls: UpstreamTls::Disable,
        host: "api.test".into(),
        shown,
        user: "service".into(),
        database: String::new(),
        version: crate::postgres::Version::default(),
        password: Some(Secret::new(*b"upstream-key")),
        application: "claviger:alice".into(),
        channel_binding: ChannelBinding::Prefer,
        nonce: [7; 18],
        cancel_secret: bytes::Bytes::new(),
        scram_keys: std::sync::Arc::default(),
    }
}
