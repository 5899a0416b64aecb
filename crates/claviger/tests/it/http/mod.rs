//! HTTP connections, end to end: real clients, and a real server that says what has reached it.

mod codings;
mod content;
mod deadlines;
mod exchanges;
mod flow;
mod held;
mod models;
mod outward;
mod pools;
mod programs;
mod smuggling;
mod streams;
mod templates;
mod usage;
mod words;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Api, Gateway, PERMIT_ALL, free_port};

/// What the upstream is shown, and nobody else.
const KEY: &str = "sk-upstream-4cfa0e2b19";

/// One endpoint that nobody may call, and what `bob` may only look at.
const POLICIES: &str = r#"
    @id("forbidden") @reason("not this one")
    forbid (principal, action == Action::"invoke", resource is Endpoint) when { resource.name like "*/forbidden*" };
    @id("bob-reads")
    forbid (principal == User::"bob", action == Action::"invoke", resource is Endpoint) unless { resource.method == "GET" };
    @id("dana-reviews") permit (principal == User::"dana", action in Action::"admin", resource);
    @id("dba-only") @approval("dba")
    forbid (principal, action == Action::"invoke", resource is Endpoint)
    when { resource.name like "*/held" } unless { context.approvals.contains("dba") };
"#;

/// A gateway before an HTTP server: the connection `api` has a listener of its own, and with `keyed`, whose key is in a header of its own, one
/// that clients of both share, and one inside TLS. The upstream of `outer` and `unverified` is that last listener: the gateway itself.
///
/// So it is that of `doubled`, by HTTP/2; and that of `plainly` is the listener of `api`, likewise.
struct Rig {
    api: Api,
    gateway: Gateway,
    port: u16,
    shared: u16,
    secured: u16,
    token: String,
    bob: String,
}

impl Rig {
    /// `more` is more of the entry of `api`.
    fn start(more: &str) -> Option<Self> {
        let api = Api::start()?;
        let (port, shared, secured) = (free_port(), free_port(), free_port());
        let upstream =
            format!("kind = \"http\"\naddress = \"127.0.0.1:{}\"\ntls = \"disable\"\ncredential = \"file:api.key\"\n", api.port);
        let toml = format!(
            "[[connections]]\nname = \"api\"\n{upstream}listen = \"127.0.0.1:{port}\"\nplaintext = true\n{more}\n\
             [[connections]]\nname = \"keyed\"\n{upstream}credential_as = \"x-api-key\"\n\
             [[connections]]\nname = \"outer\"\nkind = \"http\"\naddress = \"localhost:{secured}\"\ntls_ca = \"ca.pem\"\n\
             credential = \"file:outer.key\"\n\
             [[connections]]\nname = \"doubled\"\nkind = \"http\"\naddress = \"localhost:{secured}\"\ntls_ca = \"ca.pem\"\n\
             credential = \"file:inner.key\"\nhttp2 = true\n\
             [[connections]]\nname = \"plainly\"\nkind = \"http\"\naddress = \"127.0.0.1:{port}\"\ntls = \"disable\"\n\
             credential = \"file:inner.key\"\nhttp2 = true\n\
             [[connections]]\nname = \"unverified\"\nkind = \"http\"\naddress = \"localhost:{secured}\"\n\
             [[listeners]]\nkind = \"http\"\nlisten = \"127.0.0.1:{shared}\"\nplaintext = true\n\
             [[listeners]]\nkind = \"http\"\nlisten = \"127.0.0.1:{secured}\"\n"
        );
        let mut gateway = Gateway::configure(&[], &format!("{PERMIT_ALL}\n{POLICIES}"), &toml);
        std::fs::write(gateway.path("api.key"), format!("{KEY}\n")).unwrap();
        std::fs::write(gateway.path("outer.key"), "").unwrap();
        std::fs::write(gateway.path("inner.key"), "").unwrap();
        gateway.must_not_write(KEY);
        gateway.add(&["user", "alice"]);
        gateway.add(&["user", "bob"]);
        gateway.add(&["user", "dana", "--group", "dba"]);
        gateway.start();
        let (token, bob) = (gateway.token(&["alice"]), gateway.token(&["bob"]));
        std::fs::write(gateway.path("outer.key"), &bob).unwrap();
        std::fs::write(gateway.path("inner.key"), &token).unwrap();
        Some(Self { api, gateway, port, shared, secured, token, bob })
    }

    /// A connection to the listener of `api`.
    fn dial(&self) -> Wire {
        Wire::to(self.port)
    }

    /// A request with the token of `alice`.
    fn request(&self, first: &str, more: &str, content: &str) -> String {
        self.request_of(&self.token, first, more, content)
    }

    fn request_of(&self, token: &str, first: &str, more: &str, content: &str) -> String {
        let length = if content.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", content.len()) };
        format!("{first} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n{more}{length}\r\n{content}")
    }

    /// What has reached the upstream at this path, or below it.
    fn seen(&self, path: &str) -> Vec<Value> {
        let is_there = |seen: &Value| seen["line"].as_str().unwrap().contains(path);
        self.api.seen().into_iter().filter(is_there).collect()
    }

    /// No client's token, and nothing but the gateway's own key, has reached the upstream.
    fn assert_upstream_saw_no_token(&self) {
        let all = self.api.seen();
        assert!(!all.is_empty());
        for seen in all {
            let text = seen.to_string();
            assert!(!text.contains(&self.token) && !text.contains(&self.bob), "{text}");
            assert!(text.contains(KEY), "{text}");
        }
    }

    /// The leaves of one kind, in order.
    fn leaves(&self, kind: &str) -> Vec<Value> {
        self.gateway.leaves().into_iter().filter(|leaf| leaf["type"] == kind).collect()
    }
}

/// A connection that says whatever a test wants.
struct Wire {
    socket: TcpStream,
    input: Vec<u8>,
}

/// A response.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    content: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8(self.content.clone()).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.content).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn closes(&self) -> bool {
        self.head.to_lowercase().contains("connection: close")
    }
}

impl Wire {
    fn to(port: u16) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, input: Vec::new() }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // One that has been closed says so when it is read.
        let _ = self.socket.write_all(bytes.as_ref());
    }

    fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.send(bytes);
        self.answer()
    }

    /// The next response, with its content by its length or its chunks.
    fn answer(&mut self) -> Answer {
        let head = self.until(b"\r\n\r\n").expect("a response");
        let head = String::from_utf8(head).unwrap();
        let field = |name: &str| {
            let line = head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")))?;
            Some(line.split_once(':').unwrap().1.trim().to_owned())
        };
        let status = head[9..12].parse().unwrap();
        let content = match (field("transfer-encoding"), field("content-length")) {
            _ if status < 200 => Vec::new(),
            (Some(_), _) => self.chunks(),
            (None, Some(length)) => self.exactly(length.parse().unwrap()),
            (None, None) => Vec::new(),
        };
        Answer { status, head, content }
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut content = Vec::new();
        loop {
            let line = String::from_utf8(self.until(b"\r\n").expect("a chunk")).unwrap();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            content.extend(self.exactly(size));
            self.exactly(2);
            if size == 0 {
                return content;
            }
        }
    }

    fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.input.len() < length {
            assert!(self.read(), "the end after {} of {length} bytes", self.input.len());
        }
        self.input.drain(..length).collect()
    }

    fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.input.windows(end.len()).position(|window| window == end) {
                return Some(self.input.drain(..at + end.len()).collect());
            }
            if !self.read() {
                return None;
            }
        }
    }

    fn read(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        let count = self.socket.read(&mut piece).unwrap_or(0);
        self.input.extend_from_slice(&piece[..count]);
        count > 0
    }

    /// Everything until the end.
    fn rest(&mut self) -> Vec<u8> {
        while self.read() {}
        std::mem::take(&mut self.input)
    }
}
