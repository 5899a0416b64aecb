//! A real OpenID provider: npm `oidc-provider`, in a process of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use ureq::Agent;

use super::{free_port, skip};

/// A provider that runs, or can be started again at the same address.
pub(crate) struct Provider {
    pub(crate) port: u16,
    modules: PathBuf,
    dir: tempfile::TempDir,
    settings: Value,
    process: Option<Child>,
}

impl Provider {
    /// Starts one with these settings (see `tests/oidc/provider.mjs`); `None` where there is none.
    pub(crate) fn start(settings: &Value) -> Option<Self> {
        let mut provider = Self::stopped(settings)?;
        provider.restart("first");
        Some(provider)
    }

    /// One that does not run.
    pub(crate) fn stopped(settings: &Value) -> Option<Self> {
        let Some(modules) = std::env::var_os("CLAVIGER_TEST_OIDC").map(PathBuf::from) else {
            skip("CLAVIGER_TEST_OIDC does not name the directory of an OpenID provider");
            return None;
        };
        let dir = tempfile::Builder::new().prefix("claviger-oidc").tempdir().unwrap();
        Some(Self { port: free_port(), modules, dir, settings: settings.clone(), process: None })
    }

    /// Starts it, or starts it anew, with the keys of this name.
    pub(crate) fn restart(&mut self, keys: &str) {
        self.stop();
        let mut settings = self.settings.clone();
        settings["port"] = self.port.into();
        settings["keys"] = self.dir.path().join(keys).to_str().into();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oidc/provider.mjs");
        let mut command = Command::new("node");
        command.arg(script).arg(&self.modules).arg(settings.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("node runs");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("listening"), "the provider does not start: {line:?}");
        self.process = Some(process);
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    pub(crate) fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Whether it still takes this refresh token of a client.
    pub(crate) fn takes_refresh_token(&self, token: &str, client: &str) -> bool {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", client)];
        agent().post(format!("{}/token", self.issuer())).send_form(form).unwrap().status() == 200
    }

    /// A program's own access token for the gateway (RFC 6749 section 4.4, RFC 8707), signed by this algorithm.
    pub(crate) fn token(&self, algorithm: &str) -> String {
        let resource = format!("urn:claviger:{algorithm}");
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "robot"),
            ("client_secret", "robot-secret"),
            ("resource", &resource),
            ("scope", "connect"),
        ];
        let answer = agent().post(format!("{}/token", self.issuer())).send_form(form).unwrap().into_body().read_to_string();
        let answer: Value = serde_json::from_str(&answer.unwrap()).unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(super) fn agent() -> Agent {
    Agent::config_builder().max_redirects(0).max_idle_connections(0).http_status_as_error(false).proxy(None).build().into()
}
