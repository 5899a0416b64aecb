//! Ordinary programs of ordinary drivers: those of `tests/drivers`, which know nothing of a gateway.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::{Gateway, Major, Server, skip};

/// Runs a program as `alice` on the connection `bank`, with more environment; it must succeed.
pub(crate) fn driver(gateway: &Gateway, name: &str, environment: &[(&str, &str)]) {
    if let Some(running) = start_driver(gateway, name, environment) {
        finish_driver(running);
    }
}

/// Starts a program in the same way, and does not wait for it.
pub(crate) fn start_driver(gateway: &Gateway, name: &str, environment: &[(&str, &str)]) -> Option<Child> {
    let mut command = program(name)?;
    command.envs(through(gateway)).envs(environment.iter().copied());
    Some(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

/// Runs a program with nothing but this environment, which must succeed; what it says last. `None`, loudly, where it cannot be run.
pub(crate) fn run_program(name: &str, environment: &[(&str, &str)]) -> Option<String> {
    let mut command = program(name)?;
    command.envs(environment.iter().copied()).stdin(Stdio::null());
    let said = succeed(command);
    let last = said.lines().last().filter(|line| line.starts_with("ok "));
    Some(last.unwrap_or_else(|| panic!("{said}")).to_owned())
}

/// Waits for a program that was started, and must succeed.
pub(crate) fn finish_driver(running: Child) {
    let said = said(&running.wait_with_output().unwrap());
    assert!(said.lines().last().is_some_and(|line| line.starts_with("ok ")), "{said}");
}

/// Runs a script around the server's own programs of this version directly, as the upstream's user, and then through the gateway;
/// what it says, both times.
///
/// The programs speak TLS to the gateway if they can: those of a server that was built without it take the plaintext that the
/// connection `bank` must then allow.
pub(crate) fn script(gateway: &Gateway, server: &Server, major: Major, name: &str, out: [&Path; 2]) -> Option<[String; 2]> {
    let programs = major.programs()?;
    let ways = [server.as_keeper(), through(gateway)];
    let said = ways.into_iter().zip(out).map(|(environment, out)| {
        let mut command = program(name)?;
        command.env("PG_BIN", &programs).env("OUT", out).envs(environment);
        if server.authority.is_none() {
            command.env("PGSSLMODE", "disable").env_remove("PGSSLROOTCERT");
        }
        Some(succeed(command))
    });
    said.collect::<Option<Vec<_>>>()?.try_into().ok()
}

fn through(gateway: &Gateway) -> Vec<(&'static str, String)> {
    vec![
        ("PGHOST", "localhost".to_owned()),
        ("PGPORT", gateway.port("bank").to_string()),
        ("PGUSER", "alice".to_owned()),
        ("PGPASSWORD", gateway.token(&["alice"])),
        ("PGDATABASE", "bank".to_owned()),
        ("PGSSLMODE", "verify-full".to_owned()),
        ("PGSSLROOTCERT", gateway.authority().display().to_string()),
    ]
}

/// The command that runs a program, by the language that it is in; `None`, loudly, where that is not on the machine.
fn program(name: &str) -> Option<Command> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/drivers");
    let file = |extension: &str| Some(dir.join(format!("{name}.{extension}"))).filter(|file| file.exists());
    let mut command = Command::new("timeout");
    command.arg("300");
    if let Some(file) = file("py") {
        command.arg(tool(name, "CLAVIGER_TEST_PYTHON")?).arg(file);
    } else if let Some(file) = file("cjs") {
        command.env("NODE_PATH", tool(name, "CLAVIGER_TEST_NODE_MODULES")?).arg("node").arg(file);
    } else if let Some(file) = file("java") {
        command.args(["java", "-XX:TieredStopAtLevel=1", "-cp"]).arg(tool(name, "CLAVIGER_TEST_JDBC")?).arg(file);
    } else if let Some(file) = file("sh") {
        command.arg("bash").arg(file);
    } else {
        // Compiled beforehand, because that takes long.
        command.arg(tool(name, &format!("CLAVIGER_TEST_{}", name.to_uppercase()))?);
    }
    Some(command)
}

fn tool(name: &str, variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).filter(|path| !path.is_empty());
    if path.is_none() {
        skip(&format!("{name}: {variable} is to be set, as scripts/setup-tests.sh does"));
    }
    path.map(PathBuf::from)
}

fn succeed(mut command: Command) -> String {
    said(&command.output().unwrap())
}

/// What a program has said that must have succeeded.
fn said(output: &Output) -> String {
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    said.into_owned()
}
