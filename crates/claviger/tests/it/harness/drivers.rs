//! Ordinary programs of ordinary drivers: those of `tests/drivers`, which know nothing of a gateway.

use std::path::Path;
use std::process::Command;

use super::{Gateway, skip};

/// Runs a program as `alice` on the connection `bank`, with more environment; it must succeed.
pub(crate) fn driver(gateway: &Gateway, name: &str, environment: &[(&str, &str)]) {
    let Some(python) = std::env::var_os("CLAVIGER_TEST_PYTHON") else {
        return skip(&format!("{name}: CLAVIGER_TEST_PYTHON is to name a Python with the drivers"));
    };
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/drivers").join(format!("{name}.py"));
    let output = Command::new("timeout")
        .arg("90")
        .arg(python)
        .arg(program)
        .env("PGHOST", "localhost")
        .env("PGPORT", gateway.port("bank").to_string())
        .env("PGUSER", "alice")
        .env("PGPASSWORD", gateway.token(&["alice"]))
        .env("PGDATABASE", "bank")
        .env("PGSSLMODE", "verify-full")
        .env("PGSSLROOTCERT", gateway.authority())
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    assert!(said.lines().last().is_some_and(|line| line.starts_with("ok ")), "{said}");
}
