//! Finding the upstream's credential, anew for each session, so that a rotated one is used at once.

use std::path::Path;

use claviger_model::{Refusal, RefusalKind, Secret};
use claviger_session::{Connection, CredentialRef};

/// The longest credential file.
const LONGEST: usize = 64 * 1024;

/// The upstream's credential. What is wrong with it is for the log, not for the client.
pub(crate) async fn find(connection: &Connection) -> Result<Option<Secret>, Refusal> {
    let found = match &connection.password {
        None => return Ok(None),
        Some(CredentialRef::Env(name)) => std::env::var(name).map(Secret::new).map_err(|error| error.to_string()),
        Some(CredentialRef::File(path)) => read(path).await,
    };
    found.map(Some).map_err(|error| {
        tracing::error!(connection = %connection.name, error, "the upstream's credential cannot be found");
        Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream's credential is not available")
    })
}

async fn read(path: &Path) -> Result<Secret, String> {
    let mut bytes = tokio::fs::read(path).await.map_err(|error| format!("{}: {error}", path.display()))?;
    if bytes.len() > LONGEST {
        return Err(format!("{} is longer than {LONGEST} bytes", path.display()));
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(Secret::new(bytes))
}
