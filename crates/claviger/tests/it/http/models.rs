//! A real language model behind the gateway, asked by the libraries of OpenAI and Anthropic.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Gateway, PERMIT_ALL, eventually, free_port, run, run_program, skip, unique};

/// Two endpoints that nobody may call, a model and a tool that nobody may use, and one who may see what there is.
const POLICIES: &str = r#"
    @id("known") permit (principal, action in [Action::"operation"], resource);
    @id("small") forbid (principal, action == Action::"invoke", resource is Model) unless { resource.name == "smollm2" };
    @id("tools") forbid (principal, action == Action::"offer", resource is Tool) when { resource.name like "delete_*" };
    @id("money") @reason("no money is moved")
    forbid (principal, action == Action::"invoke", resource is Tool) when { resource.name == "transfer_money" };
    @id("kept") @reason("nothing is deleted") forbid (principal, action in Action::"define", resource is Definition);
    @id("batches") forbid (principal, action == Action::"invoke", resource is Endpoint) when { resource.name like "*/batches" };
    @id("dana-sees") permit (principal == User::"dana", action == Action::"reveal", resource);
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

/// What every model here can be made to say.
const ADDRESS: &str = "bob.smith@example.com";

/// How many connections one principal may have.
const SEATS: usize = 6;

/// A gateway before a model, which is reached by way of `model`, and of `told`, where what clients send leaves as it came.
struct Rig {
    model: Model,
    gateway: Gateway,
    ports: [u16; 2],
}

impl Rig {
    fn start() -> Option<Self> {
        let model = Model::start()?;
        let ports = [free_port(), free_port()];
        let connection = |(name, port, more): (&str, u16, &str)| {
            format!(
                "[[connections]]\nname = \"{name}\"\nkind = \"http\"\naddress = \"127.0.0.1:{}\"\ntls = \"disable\"\n\
                 credential = \"env:MODEL_KEY\"\nlisten = \"127.0.0.1:{port}\"\nplaintext = true\ndialect = \"openai\"\n{more}\n\
                 [connections.detect]\nalso = [\"email\"]\n",
                model.port
            )
        };
        let connections = [("model", ports[0], ""), ("told", ports[1], "requests = \"pass\"")].map(connection).concat();
        let toml = format!("{connections}[limits]\nconnections_per_principal = {SEATS}\n");
        let mut gateway = Gateway::configure(&[], &format!("{PERMIT_ALL}\n{POLICIES}"), &toml);
        gateway.permit_no_statements();
        gateway.environment("MODEL_KEY", &model.key);
        gateway.must_not_write(&model.key);
        gateway.add(&["user", "alice"]);
        gateway.add(&["user", "dana"]);
        gateway.add(&["workload", "agent", "--sponsor", "alice"]);
        gateway.start();
        Some(Self { model, gateway, ports })
    }

    /// Runs a program of a client, directly.
    fn directly(&self, program: &str) -> Option<String> {
        let base = base(self.model.port);
        run_program(
            program,
            &[("API_BASE", &base), ("API_TOLD_BASE", &base), ("API_KEY", &self.model.key), ("API_ADDRESS", ADDRESS)],
        )
    }

    /// Runs it through the gateway.
    fn guarded(&self, program: &str, who: &str) -> Option<String> {
        let [base, told] = self.ports.map(base);
        let (token, seats) = (self.gateway.token(&[who]), SEATS.to_string());
        let environment = [("API_BASE", &*base), ("API_TOLD_BASE", &told), ("API_KEY", &token), ("API_ADDRESS", ADDRESS)];
        run_program(program, &[&environment[..], &[("API_GUARDED", "yes"), ("API_SEATS", &seats)]].concat())
    }

    fn of(&self, kind: &'static str) -> impl Iterator<Item = Value> {
        self.gateway.leaves().into_iter().filter(move |leaf| leaf["type"] == kind)
    }

    async fn settle(&self) {
        eventually("all sessions end", Duration::from_secs(20), async || {
            self.of("SESSION_CLOSE").count() == self.of("SESSION_OPEN").count()
        })
        .await;
    }
}

fn base(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

#[test]
fn a_model_says_the_same_through_the_gateway() {
    run(async {
        let Some(rig) = Rig::start() else { return };
        let Some(direct) = rig.directly("model_clients") else { return };
        assert_eq!(rig.guarded("model_clients", "agent"), Some(direct));
        rig.settle().await;
        let did = |leaf: &Value, verb: &str, object: &str| {
            let effects = leaf["statements"][0]["effects"].as_array().unwrap();
            leaf["decision"]["verdict"] == "permit" && effects.iter().any(|one| one["verb"] == verb && one["object"] == object)
        };
        let count = |verb: &str, object: &str| rig.of("REQUEST").filter(|leaf| did(leaf, verb, object)).count();
        assert_eq!((count("invoke", "POST /v1/chat/completions"), count("invoke", "GET /v1/models")), (13, 1));
        assert_eq!((count("invoke", "POST /v1/responses"), count("invoke", "POST /v1/messages")), (3, 3));
        // Tools are offered with a request, and each call of a model is an operation of its own.
        assert_eq!((count("invoke", "smollm2"), count("offer", "query_bank"), count("invoke", "query_bank")), (19, 6, 6));
        let ended: Vec<_> = rig.of("OUTCOME").map(|leaf| leaf["status"].clone()).collect();
        let count = |word: &str| ended.iter().filter(|status| **status == *word).count();
        // One is abandoned; and libraries close their sockets when they have read a stream's last event, which may be before the stream's end.
        assert_eq!(count("completed") + count("unknown"), ended.len(), "{ended:?}");
        assert!(count("unknown") >= 1 && count("completed") >= 13, "{ended:?}");
        rig.gateway.verify();
    });
}

#[test]
fn refusals_are_the_usual_exceptions() {
    run(async {
        let Some(rig) = Rig::start() else { return };
        rig.guarded("model_refusals", "agent");
        rig.settle().await;
        let denied = rig.of("REQUEST").filter(|leaf| leaf["decision"]["verdict"] == "deny").count();
        let unknown = rig.of("REQUEST").filter(|leaf| leaf["statements"][0]["hazards"][0] == "unknown").count();
        assert!(denied > 12 && unknown == 1, "{denied} {unknown}");
        rig.gateway.verify();
    });
}

#[test]
fn javascript_is_no_different() {
    run(async {
        let Some(rig) = Rig::start() else { return };
        let Some(direct) = rig.directly("model_node") else { return };
        assert_eq!(rig.guarded("model_node", "agent"), Some(direct));
        rig.gateway.verify();
    });
}

#[test]
fn an_address_is_masked_whichever_way_it_comes() {
    run(async {
        let Some(rig) = Rig::start() else { return };
        let came = |said: Option<String>| {
            let said = said?;
            let ways = serde_json::from_str::<serde_json::Map<String, Value>>(said.trim_start_matches("ok ")).unwrap();
            Some(ways.into_iter().map(|(way, parts)| (way, parts.as_array().unwrap().len())).collect::<Vec<_>>())
        };
        let Some(direct) = came(rig.directly("model_masking")) else { return };
        assert!(direct.len() == 16 && direct.iter().all(|(_, parts)| *parts == 3), "the model does not say it: {direct:?}");
        let masked = came(rig.guarded("model_masking", "agent")).unwrap();
        assert!(masked.iter().all(|(_, parts)| *parts == 0), "it has come: {masked:?}");
        assert_eq!(came(rig.guarded("model_masking", "dana")).unwrap(), direct, "who may see it does");
        rig.settle().await;
        let found: Vec<_> = rig.of("OUTCOME").filter(|leaf| leaf["masked"]["found"][0]["of"] == "email").collect();
        assert!(found.len() >= 16, "{found:?}");
        rig.gateway.verify();
    });
}

#[test]
fn curl_reads_a_stream() {
    run(async {
        let Some(rig) = Rig::start() else { return };
        let curl = |port: u16, key: &str, path: &str, content: &str| {
            let mut command = Command::new("curl");
            command.args([
                "--silent",
                "--show-error",
                "--no-buffer",
                "--max-time",
                "60",
                "--write-out",
                "\n%{http_code} %{content_type}",
            ]);
            command.args([
                "--header",
                &format!("Authorization: Bearer {key}"),
                "--json",
                content,
                &format!("{}{path}", base(port)),
            ]);
            String::from_utf8(command.output().expect("curl is installed, as scripts/setup-tests.sh does").stdout).unwrap()
        };
        let asked = |words: &str| {
            let messages = json!([{ "role": "user", "content": words }]);
            json!({ "model": "smollm2", "messages": messages, "max_tokens": 8, "temperature": 0, "stream": true }).to_string()
        };
        let token = rig.gateway.token(&["agent"]);
        let path = "/v1/chat/completions";
        let (direct, through) =
            (curl(rig.model.port, &rig.model.key, path, &asked("Hello")), curl(rig.ports[0], &token, path, &asked("Hello")));
        let words = |answer: &str| {
            let events = answer.lines().filter_map(|line| line.strip_prefix("data: ")?.parse::<Value>().ok());
            events
                .filter_map(|event| Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned()))
                .collect::<Vec<_>>()
                .concat()
        };
        assert!(direct.ends_with("data: [DONE]\n\n\n200 text/event-stream") && !words(&direct).is_empty(), "{direct}");
        assert!(through.ends_with("data: [DONE]\n\n\n200 text/event-stream"), "{through}");
        assert_eq!(words(&through), words(&direct));
        // What the model was told, as its server has it.
        curl(rig.ports[0], &token, path, &asked(&format!("Write to {ADDRESS}, card 4111 1111 1111 1111")));
        let told = || {
            let mut command = Command::new("curl");
            command.args(["--silent", "--header", &format!("Authorization: Bearer {}", rig.model.key)]);
            String::from_utf8(command.arg(format!("{}/slots", base(rig.model.port))).output().unwrap().stdout).unwrap()
        };
        let seen = told();
        assert!(seen.contains("Write to [email], card [credit_card]") && !seen.contains(ADDRESS), "{seen}");
        let refused = curl(rig.ports[0], &token, "/v1/nowhere", "{}");
        assert!(refused.ends_with("403 application/json") && refused.contains("permission_error"), "{refused}");
        rig.gateway.verify();
    });
}
