//! A session with a pipeline in a few lines, and the messages of both sides.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use claviger_model::{Masked, OpId, Refusal, RefusalKind, Secret};

use crate::postgres::{Postgres, Version, write};
use crate::{
    Admitted, Auth, ChannelBinding, Commit, Credential, Event, Forward, Limits, Masker, Protocol, ProtocolOptions, Reply,
    Request, Shown, Side, TransactionEnd, UpstreamLogin, UpstreamTls,
};

/// How the answer to an operation is masked.
pub(super) type Masks = fn(u64) -> Option<Box<dyn Masker>>;

/// A session with a pipeline that admits what is not on its list, and writes down all that it sees.
pub(super) struct Rig {
    pub(super) postgres: Postgres<u64>,
    pub(super) inputs: [BytesMut; 2],
    pub(super) log: Vec<String>,
    pub(super) refuse: Vec<u64>,
    pub(super) replace: Option<&'static str>,
    /// How the answers to operations are masked.
    pub(super) mask: Option<Masks>,
    /// Operations that the test decides or releases itself.
    pub(super) hold: Vec<u64>,
    pub(super) unreleased: Vec<u64>,
    /// Groups whose end the test lets leave itself.
    pub(super) uncommitted: Vec<u64>,
    /// How long a secret each login asked for.
    pub(super) secrets: Vec<usize>,
    pub(super) chunk: usize,
    /// What was masked, for each operation that ended.
    pub(super) masked: Vec<Option<Box<Masked>>>,
}

pub(super) const OPTIONS: ProtocolOptions = ProtocolOptions {
    limits: Limits { statement: 4096, login: 1024, pending: 4096, control: 4096, response: 4096, row: 4096, statements: 8 },
    tls: true,
    plaintext: true,
    auth: Auth::PASSWORD,
    shared: true,
    multiplexes: false,
};

impl Rig {
    pub(super) fn new(options: ProtocolOptions, chunk: usize) -> Self {
        let postgres = Postgres::new(options);
        let inputs = Default::default();
        Self {
            postgres,
            inputs,
            log: Vec::new(),
            refuse: Vec::new(),
            replace: None,
            mask: None,
            hold: Vec::new(),
            unreleased: Vec::new(),
            uncommitted: Vec::new(),
            secrets: Vec::new(),
            chunk,
            masked: Vec::new(),
        }
    }

    pub(super) fn serving(chunk: usize) -> Self {
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

    pub(super) fn client(&mut self, bytes: &[u8]) {
        self.feed(Side::Downstream, bytes);
    }

    pub(super) fn server(&mut self, bytes: &[u8]) {
        self.feed(Side::Upstream, bytes);
    }

    pub(super) fn feed(&mut self, side: Side, bytes: &[u8]) {
        for chunk in bytes.chunks(self.chunk) {
            let at = usize::from(side == Side::Upstream);
            self.inputs[at].extend_from_slice(chunk);
            self.take(side);
            self.drain();
        }
    }

    fn take(&mut self, side: Side) -> bool {
        let input = &mut self.inputs[usize::from(side == Side::Upstream)];
        let before = input.len();
        if before > 0 && self.postgres.wants_input(side) {
            self.postgres.handle_input(side, input);
        }
        input.len() != before
    }

    /// Answers events, and hands over again what was left, until nothing moves.
    pub(super) fn drain(&mut self) {
        loop {
            self.answer();
            self.transmit();
            if !self.take(Side::Downstream) & !self.take(Side::Upstream) {
                self.answer();
                return self.transmit();
            }
        }
    }

    fn answer(&mut self) {
        loop {
            while self.postgres.poll_recorded().is_some() {}
            let Some(event) = self.postgres.poll_event() else { return };
            if !matches!(event, Event::Portal(_) | Event::PutOff(_)) {
                self.log.push(told(&event));
            }
            match event {
                Event::Login(login) => self.secrets.push(login.cancel_secret),
                Event::Operation(operation) => self.decide(operation.id),
                Event::Continue(op) if self.refuse.contains(&op.0) => self.refuse(op),
                Event::Continue(op) => self.postgres.resume(Reply::Continue(op)),
                Event::Commit(group) if self.uncommitted.contains(&group) => {}
                Event::Commit(group) => self.postgres.resume(Reply::Commit(group)),
                Event::Outcome(outcome, Admitted(admission)) => {
                    assert_eq!(outcome.op.0, admission);
                    self.masked.push(outcome.masked);
                    if !self.unreleased.contains(&admission) {
                        self.postgres.resume(Reply::Release(outcome.op));
                    }
                }
                _ => {}
            }
        }
    }

    fn transmit(&mut self) {
        for (side, sign) in [(Side::Upstream, "-> "), (Side::Downstream, "<- ")] {
            while let Some(transmit) = self.postgres.poll_transmit(side) {
                self.transmitted(sign, &transmit.bytes);
            }
        }
    }

    pub(super) fn decide(&mut self, op: OpId) {
        if self.refuse.contains(&op.0) {
            self.refuse(op);
        } else if !self.hold.contains(&op.0) {
            let masker = self.mask.and_then(|mask| mask(op.0));
            let forward = self.replace.map_or(Forward::Original, |text| Forward::Replace(Bytes::from_static(text.as_bytes())));
            self.postgres.resume(Reply::Admit { op, admission: op.0, forward, masker, content: None });
        }
    }

    pub(super) fn refuse(&mut self, op: OpId) {
        self.postgres.resume(Reply::Refuse { op, refusal: Refusal::new(RefusalKind::NotPermitted, "no") });
    }

    pub(super) fn transmitted(&mut self, sign: &str, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self.log.last_mut() {
            Some(last) if last.starts_with(sign) => last.push_str(&hex),
            _ => self.log.push(format!("{sign}{hex}")),
        }
    }

    /// All bytes that went to one side.
    pub(super) fn sent(&self, sign: &str) -> String {
        self.log.iter().filter_map(|line| line.strip_prefix(sign)).collect()
    }

    /// The events.
    pub(super) fn told(&self) -> Vec<&str> {
        self.log.iter().filter(|line| !line.starts_with("->") && !line.starts_with("<-")).map(String::as_str).collect()
    }
}

pub(super) fn told(event: &Event<u64>) -> String {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    match event {
        Event::Operation(operation) => {
            let what = match &operation.request {
                Request::Batch { text: own } => format!("batch {}", text(own)),
                Request::Prepare { name, text: own, .. } => format!("prepare {}={}", text(name), text(own)),
                Request::Execute { name, text: None, parameters, .. } => format!("execute @{} {}", text(name), parameters.len()),
                Request::Portal { name } => format!("portal {}", text(name)),
                Request::Execute { text: Some(own), parameters, .. } => format!("execute {} {}", text(own), parameters.len()),
                Request::Call { target } => format!("call {target}"),
                Request::Exchange(exchange) => format!("{} {}", exchange.method, exchange.path),
                Request::Tool { tool, arguments } => format!("{tool} {arguments}"),
            };
            let explicit = if operation.commit == Commit::Transaction { "!" } else { "" };
            format!("op{} tx{}{explicit} {what}", operation.id, operation.tx)
        }
        Event::Outcome(outcome, _) => {
            let tags: Vec<_> = outcome.results.iter().map(|result| result.tag.as_str()).collect();
            let code = outcome.code.as_deref().unwrap_or_default();
            format!("out{} {:?} {} rows{} {code}", outcome.op, outcome.status, tags.join(","), outcome.rows)
        }
        Event::TransactionEnd(TransactionEnd { tx, result }) => format!("tx{tx} {result:?}"),
        Event::Continue(op) => format!("continue{op}"),
        Event::Commit(group) => format!("commit{group}"),
        Event::Login(login) => {
            let credential = match &login.credential {
                Credential::Password(token) | Credential::Bearer(token) => text(&Bytes::copy_from_slice(token.expose())),
                Credential::Header(token, _) => String::from_utf8_lossy(token.expose()).into_owned(),
                Credential::Certificate => "certificate".to_owned(),
            };
            format!("login {:?} {:?} {credential}", login.user, login.database)
        }
        other => format!("{other:?}"),
    }
}

/// One step of a transcript.
pub(super) enum Step {
    C(Bytes),
    S(Bytes),
}

/// Runs a transcript at every cut, and compares the events and all bytes of each side.
pub(super) fn check(prepare: impl Fn(&mut Rig), steps: &[Step], events: &[&str], up: &[Bytes], down: &[Bytes]) {
    for chunk in [usize::MAX, 1, 2, 3, 7] {
        let mut rig = Rig::serving(chunk);
        prepare(&mut rig);
        for step in steps {
            match step {
                Step::C(bytes) => rig.client(bytes),
                Step::S(bytes) => rig.server(bytes),
            }
        }
        assert_eq!(rig.told(), events, "events, cut at {chunk}");
        assert_eq!(rig.sent("-> "), hex(up), "to the upstream, cut at {chunk}");
        assert_eq!(rig.sent("<- "), hex(down), "to the client, cut at {chunk}");
    }
}

pub(super) fn hex(parts: &[Bytes]) -> String {
    parts.concat().iter().map(|byte| format!("{byte:02x}")).collect()
}

// === Messages ===

pub(super) fn startup(parameters: &[(&str, &str)]) -> Bytes {
    startup_of(0, parameters)
}

/// A start-up message of protocol 3 with this minor version.
pub(super) fn startup_of(minor: u32, parameters: &[(&str, &str)]) -> Bytes {
    write::untyped(|out| {
        out.put_u32(3 << 16 | minor);
        for text in parameters.iter().flat_map(|(name, value)| [name, value]) {
            write::text(out, text.as_bytes());
        }
        out.put_u8(0);
    })
}

pub(super) fn frame(kind: u8, parts: &[&[u8]]) -> Bytes {
    write::frame(kind, |out| out.extend_from_slice(&parts.concat()))
}

pub(super) fn upstream_login(tls: UpstreamTls) -> Box<UpstreamLogin> {
    Box::new(UpstreamLogin {
        tls,
        host: "upstream.test".into(),
        shown: Shown::Password,
        user: "app".into(),
        database: "shop".into(),
        version: Version::V3_0,
        password: Some(Secret::new(*b"pencil")),
        application: "claviger:alice".into(),
        channel_binding: ChannelBinding::Prefer,
        nonce: [7; 18],
        cancel_secret: Bytes::from_static(&[9; 4]),
        scram_keys: Arc::default(),
    })
}

pub(super) fn auth(number: i32, rest: &[u8]) -> Bytes {
    frame(b'R', &[&number.to_be_bytes(), rest])
}

pub(super) fn ready(status: u8) -> Bytes {
    frame(b'Z', &[&[status]])
}

pub(super) fn tag(tag: &str) -> Bytes {
    frame(b'C', &[tag.as_bytes(), b"\0"])
}

pub(super) fn failure(severity: &str, code: &str) -> Bytes {
    frame(b'E', &[b"S", severity.as_bytes(), b"\0V", severity.as_bytes(), b"\0C", code.as_bytes(), b"\0Msecret\0\0"])
}

pub(super) fn ours() -> Bytes {
    write::error("ERROR", &Refusal::new(RefusalKind::NotPermitted, "no"))
}

pub(super) fn row(value: &[u8]) -> Bytes {
    frame(b'D', &[&[0, 1], &(value.len() as u32).to_be_bytes(), value])
}

pub(super) fn parse(name: &str, text: &str) -> Bytes {
    write::parse(name.as_bytes(), text.as_bytes())
}

pub(super) fn bind(portal: &str, statement: &str) -> Bytes {
    frame(b'B', &[portal.as_bytes(), b"\0", statement.as_bytes(), b"\0", &[0; 6]])
}

pub(super) fn execute(portal: &str) -> Bytes {
    frame(b'E', &[portal.as_bytes(), b"\0", &[0; 4]])
}

pub(super) fn close(kind: u8, name: &str) -> Bytes {
    frame(b'C', &[&[kind], name.as_bytes(), b"\0"])
}

pub(super) fn poison() -> Bytes {
    parse("claviger:refused", "!claviger: refused")
}

pub(super) fn bare(kind: u8) -> Bytes {
    frame(kind, &[])
}

pub(super) fn cat(parts: &[Bytes]) -> Bytes {
    parts.concat().into()
}

pub(super) fn query(text: &str) -> Bytes {
    write::query(text.as_bytes())
}

/// A question of the gateway's own.
pub(super) fn probe() -> Bytes {
    let name = "claviger:probe";
    cat(&[
        close(b'S', name),
        parse(name, "select x"),
        bind(name, name),
        execute(name),
        close(b'P', name),
        close(b'S', name),
        bare(b'S'),
    ])
}
