//! Finding the upstream's credential, anew for each session, so that a rotated one is used at once.

use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use claviger_model::{Refusal, RefusalKind, Secret};
use claviger_session::{Connection, CredentialRef};
use tokio::io::AsyncReadExt as _;

/// The longest credential file.
const LONGEST: u64 = 64 * 1024;

/// The upstream's credential. What is wrong with it is for the log, not for the client.
pub(crate) async fn find(connection: &Connection) -> Result<Option<Secret>, Refusal> {
    let found = match &connection.password {
        None => return Ok(None),
        Some(CredentialRef::Env(name)) => variable(name),
        Some(CredentialRef::File(path)) => read(path).await,
    };
    found.map(Some).map_err(|error| {
        tracing::error!(connection = %connection.name, error, "the upstream's credential cannot be found");
        Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream's credential is not available")
    })
}

/// The system's own error would quote a value that is not UTF-8.
fn variable(name: &str) -> Result<Secret, String> {
    let value = std::env::var_os(name).ok_or_else(|| format!("the environment variable `{name}` is not set"))?;
    Ok(Secret::new(value.into_vec()))
}

async fn read(path: &Path) -> Result<Secret, String> {
    let unreadable = |error| format!("{}: {error}", path.display());
    let mut bytes = Vec::new();
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    file.take(LONGEST + 1).read_to_end(&mut bytes).await.map_err(unreadable)?;
    if bytes.len() as u64 > LONGEST {
        return Err(format!("{} is longer than {LONGEST} bytes", path.display()));
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(Secret::new(bytes))
}
