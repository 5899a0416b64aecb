//! A receiver of webhooks: `tests/webhooks/receiver.py`, in which Standard Webhooks' own library verifies what comes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{eventually, free_port, skip};

/// With what it is signed.
pub(crate) const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(crate) struct Receiver {
    port: u16,
    dir: tempfile::TempDir,
    process: Option<Child>,
    /// Its certificate and key, if it speaks TLS.
    tls: Option<(PathBuf, PathBuf)>,
}

impl Receiver {
    /// One that does not run; `None` where there is no Python for it.
    pub(crate) fn stopped() -> Option<Self> {
        if std::env::var_os("CLAVIGER_TEST_PYTHON").is_none() {
            skip("CLAVIGER_TEST_PYTHON does not name a Python with the receiver's packages");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("claviger-webhooks").tempdir().unwrap();
        fs::write(dir.path().join("secret"), WEBHOOK_SECRET).unwrap();
        let receiver = Self { port: free_port(), dir, process: None, tls: None };
        receiver.answer("204");
        Some(receiver)
    }

    /// One that runs.
    pub(crate) fn start() -> Option<Self> {
        let mut receiver = Self::stopped()?;
        receiver.restart();
        Some(receiver)
    }

    pub(crate) fn with_tls(&mut self, certificate: PathBuf, key: PathBuf) {
        self.tls = Some((certificate, key));
    }

    pub(crate) fn restart(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/webhooks/receiver.py");
        let mut command = Command::new(std::env::var_os("CLAVIGER_TEST_PYTHON").unwrap());
        command.arg(script).arg(self.port.to_string()).arg(self.dir.path()).arg(WEBHOOK_SECRET);
        if let Some((certificate, key)) = &self.tls {
            command.args([certificate, key]);
        }
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "listening\n");
        self.process = Some(process);
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// What it answers from now on, a line for each message: a status, and a body.
    pub(crate) fn answer(&self, lines: &str) {
        let (new, file) = (self.dir.path().join("answers.test"), self.dir.path().join("answers"));
        fs::write(&new, lines).unwrap();
        fs::rename(new, file).unwrap();
    }

    /// A `[[webhooks]]` that leads here, with more of its settings.
    pub(crate) fn toml(&self, name: &str, more: &str) -> String {
        let (scheme, host) = if self.tls.is_some() { ("https", "localhost") } else { ("http", "127.0.0.1") };
        let (port, secret) = (self.port, self.dir.path().join("secret").display().to_string());
        format!(
            "[[webhooks]]\nname = \"{name}\"\nurl = \"{scheme}://{host}:{port}/{name}\"\nsecret = \"file:{secret}\"\n{more}\n"
        )
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What has come for a webhook, each time it came; all of it was signed as it should be.
    pub(crate) fn messages(&self, name: &str) -> Vec<Value> {
        let all = fs::read_to_string(self.dir.path().join("messages")).unwrap_or_default();
        let all = all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let own: Vec<_> = all.filter(|message| message["path"] == format!("/{name}")).collect();
        own.iter().for_each(|message| assert_eq!(message["wrong"], Value::Null, "{message}"));
        own
    }

    /// Whether anything has come by this path and method.
    pub(crate) fn was_asked(&self, path: &str) -> bool {
        fs::read_to_string(self.dir.path().join("messages")).unwrap_or_default().contains(path)
    }

    /// The bodies of those that were taken.
    pub(crate) fn bodies(&self, name: &str) -> Vec<Value> {
        let taken = |message: &Value| message["status"].as_u64().is_some_and(|status| (200..300).contains(&status));
        let body = |message: Value| serde_json::from_str(message["body"].as_str().unwrap()).unwrap();
        self.messages(name).into_iter().filter(taken).map(body).collect()
    }

    /// The types of those that were taken, in order.
    pub(crate) fn types(&self, name: &str) -> Vec<String> {
        self.bodies(name).iter().map(|body| body["type"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until so many were taken; their types.
    pub(crate) async fn told(&self, name: &str, count: usize) -> Vec<String> {
        let all = async || self.types(name).len() >= count;
        eventually(&format!("{count} messages for {name}"), Duration::from_secs(30), all).await;
        self.types(name)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop();
    }
}
