//! Finding the upstream's credential, anew for each session, so that a rotated one is used at once.

use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use claviger_model::{Refusal, RefusalKind, Secret};
use claviger_session::{Connection, CredentialRef, TlsIdentity};
use tokio::io::AsyncReadExt as _;

use crate::tls::Identity;

/// The longest credential file.
const LONGEST: u64 = 64 * 1024;

/// The upstream's password. What is wrong with it is for the log, not for the client.
pub(crate) async fn find(connection: &Connection) -> Result<Option<Secret>, Refusal> {
    let Some(reference) = &connection.password else { return Ok(None) };
    get(reference).await.map(Some).map_err(|error| unavailable(connection, &error))
}

/// What the gateway proves itself with in the upstream's TLS.
pub(crate) async fn find_identity(connection: &Connection) -> Result<Option<Identity>, Refusal> {
    let Some(TlsIdentity { certificate, key }) = &connection.tls_identity else { return Ok(None) };
    let unavailable = |error: String| unavailable(connection, &error);
    let chain = read(certificate).await.map_err(unavailable)?.expose().to_vec();
    Ok(Some(Identity { chain, key: get(key).await.map_err(unavailable)? }))
}

fn unavailable(connection: &Connection, error: &str) -> Refusal {
    tracing::error!(connection = %connection.name, error, "the upstream's credential cannot be found");
    Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream's credential is not available")
}

/// The secret that a reference names. An error says where it was looked for, and nothing of what was found.
pub async fn get(reference: &CredentialRef) -> Result<Secret, String> {
    match reference {
        CredentialRef::Env(name) => variable(name),
        CredentialRef::File(path) => read(path).await,
    }
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
