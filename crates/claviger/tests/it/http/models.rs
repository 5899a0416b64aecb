//! A real language model behind the gateway, asked by the libraries of OpenAI and Anthropic.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Gateway, PERMIT_ALL, eventually, free_port, run, run_program, skip, unique};

const POLICIES: &str = r#"
    @id("chat") permit (principal, action == Action::"invoke", resource == Endpoint::"model/POST /v1/chat/completions");
    @id("messages") permit (principal, action == Action::"invoke", resource == Endpoint::"model/POST /v1/messages");
    @id("look") permit (principal, action == Action::"invoke", resource is Endpoint) when { resource.name == "/v1/models" };
"#;

/// A server with a model, which asks for a key of its own.
struct Model {
    port: u16,
    key: String,
    process: Child,
}

impl Model {
    fn start() -> Option<Self> {
        let tool = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let (Some(python), Some(model)) = (tool("CLAVIGER_TEST_PYTHON"), tool("CLAVIGER_TEST_MODEL")) else {
            skip("CLAVIGER_TEST_MODEL does not name a language model");
            return None;
        };
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/drivers/model_server.py");
        let (port, key) = (free_port(), unique("sk-"));
        let mut command = Command::new(python);
        command.arg(program).arg(model).arg(port.to_string()).env("MODEL_KEY", &key);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { port, key, process };
        let began = Instant::now();
        while !server.is_ready() {
            assert!(began.elapsed() < Duration::from_secs(120), "the model's server does not serve");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(server)
    }

    /// Its port is open before it is.
    fn is_ready(&self) -> bool {
        let Ok(mut socket) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut answer = String::new();
        let asked = socket.write_all(b"GET /health HTTP/1.1\r\nHost: model\r\nConnection: close\r\n\r\n");
        asked.and_then(|()| socket.read_to_string(&mut answer)).is_ok() && answer.starts_with("HTTP/1.1 200")
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_model_says_the_same_through_the_gateway() {
    run(async {
        let Some(model) = Model::start() else { return };
        let listen = free_port();
        let toml = format!(
            "[[connections]]\nname = \"model\"\nkind = \"http\"\naddress = \"127.0.0.1:{}\"\ntls = \"disable\"\n\
             credential = \"env:MODEL_KEY\"\nlisten = \"127.0.0.1:{listen}\"\nplaintext = true\n",
            model.port
        );
        let mut gateway = Gateway::configure(&[], &format!("{PERMIT_ALL}\n{POLICIES}"), &toml);
        gateway.permit_no_statements();
        gateway.environment("MODEL_KEY", &model.key);
        gateway.must_not_write(&model.key);
        gateway.add(&["user", "alice"]);
        gateway.add(&["workload", "agent", "--sponsor", "alice"]);
        gateway.start();
        let token = gateway.token(&["agent"]);
        let base = |port: u16| format!("http://127.0.0.1:{port}");
        let Some(direct) = run_program("model_clients", &[("API_BASE", &base(model.port)), ("API_KEY", &model.key)]) else {
            return;
        };
        let guarded = [("API_BASE", &*base(listen)), ("API_KEY", &token), ("API_GUARDED", "yes")];
        assert_eq!(run_program("model_clients", &guarded), Some(direct));

        let of = |kind: &'static str| gateway.leaves().into_iter().filter(move |leaf| leaf["type"] == kind);
        eventually("all sessions end", Duration::from_secs(20), async || {
            of("SESSION_CLOSE").count() == of("SESSION_OPEN").count()
        })
        .await;
        let asked = |leaf: &serde_json::Value| leaf["statements"][0]["effects"][0]["object"].clone();
        let requests: Vec<_> = of("REQUEST").map(|leaf| (asked(&leaf), leaf["decision"]["verdict"].clone())).collect();
        let count =
            |object: &str, verdict: &str| requests.iter().filter(|asked| **asked == (json!(object), json!(verdict))).count();
        assert_eq!((count("POST /v1/chat/completions", "permit"), count("GET /v1/models", "permit")), (6, 1), "{requests:?}");
        assert_eq!((count("POST /v1/messages", "permit"), count("GET /v1/messages/batches", "deny")), (2, 1), "{requests:?}");
        assert_eq!((count("POST /v1/completions", "deny"), requests.len()), (1, 11));
        let ended: Vec<_> = of("OUTCOME").map(|leaf| leaf["status"].clone()).collect();
        let count = |word: &str| ended.iter().filter(|status| **status == *word).count();
        // One is abandoned; and libraries close their sockets when they have read a stream's last event, which may be before the stream's end.
        assert_eq!(count("completed") + count("unknown"), 9, "{ended:?}");
        assert!((1..=3).contains(&count("unknown")), "{ended:?}");
        assert_eq!(of("SESSION_REFUSED").count(), 1, "the stranger");
        gateway.verify();
    });
}
