//! What can go wrong with the store.

use std::path::PathBuf;

use claviger_model::PrincipalKey;

/// Something could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(#[from] rusqlite::Error),
    /// A file could not be written or read.
    #[error("cannot use `{}`: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database was written by a newer version of the program.
    #[error("the database has format {0}, which is newer than this program")]
    Newer(i64),
    /// The database holds what this program never writes there.
    #[error("the database holds an invalid {0}")]
    Corrupt(&'static str),
    /// A name cannot be stored.
    #[error("`{0}` is not a valid {1}")]
    InvalidName(String, &'static str),
    /// A principal is not registered.
    #[error("`{0}` is not registered")]
    UnknownPrincipal(PrincipalKey),
    /// A sponsor must be human.
    #[error("`{0}` is not a user, so it cannot be a sponsor")]
    SponsorNotUser(PrincipalKey),
    /// A token has never been issued.
    #[error("no token `{0}` has been issued")]
    UnknownToken(String),
    /// A signing key does not exist, or is the one in use.
    #[error("`{0}` is not an older signing key")]
    NotAnOlderKey(String),
    /// A signing key cannot be made or read.
    #[error("the signing key cannot be used: {0}")]
    SigningKey(#[from] claviger_identity::InvalidSigningKey),
}
