//! A real HTTP server as an upstream: Python's own, which writes down what reaches it (`tests/drivers/http_server.py`).

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{free_port, skip};

/// A server that runs.
pub(crate) struct Api {
    pub(crate) port: u16,
    dir: tempfile::TempDir,
    process: Child,
}

impl Api {
    /// Starts one; `None` where there is no Python for it.
    pub(crate) fn start() -> Option<Self> {
        Self::run("http_server.py", &[])
    }

    /// Starts one that speaks HTTP/2 only, without TLS, and writes nothing down (`tests/drivers/http2_server.py`).
    pub(crate) fn start_http2() -> Option<Self> {
        Self::run("http2_server.py", &[])
    }

    /// Starts one inside TLS, with a certificate and its key, that offers no protocol by name.
    pub(crate) fn start_inside_tls(files: [&Path; 2]) -> Option<Self> {
        Self::run("http_server.py", &files)
    }

    fn run(program: &str, files: &[&Path]) -> Option<Self> {
        let Some(python) = std::env::var_os("CLAVIGER_TEST_PYTHON").map(PathBuf::from) else {
            skip("CLAVIGER_TEST_PYTHON does not name a Python for the HTTP server");
            return None;
        };
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/drivers").join(program);
        let (port, dir) = (free_port(), tempfile::tempdir().unwrap());
        let mut command = Command::new(python);
        command.arg(program).arg(port.to_string()).arg(dir.path().join("seen")).args(files).stdin(Stdio::null());
        let process = command.spawn().unwrap();
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "the HTTP server does not serve");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { port, dir, process })
    }

    /// The requests that have reached it, in order.
    pub(crate) fn seen(&self) -> Vec<Value> {
        let seen = std::fs::read_to_string(self.dir.path().join("seen")).unwrap_or_default();
        seen.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
