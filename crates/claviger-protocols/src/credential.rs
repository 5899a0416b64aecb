//! What clients prove themselves with, and what they are asked for.

use bytes::Bytes;
use claviger_model::Secret;

/// What a client presents to be let in.
pub struct Login {
    /// The user name that the client gave, if any.
    pub user: Option<String>,
    /// The database, or whatever the protocol calls the thing that selects a target, if given.
    pub database: Option<String>,
    /// What it proves itself with.
    pub credential: Credential,
    /// What the client calls itself, for the record; made printable and cut to 63 bytes.
    pub application: Option<String>,
    /// What the client has set for its session at once, as far as it may alter what statements do; names in lower case.
    pub settings: Vec<(String, Bytes)>,
    /// How many bytes the secret of the client's cancel key is to have.
    pub cancel_secret: usize,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).field("database", &self.database).finish_non_exhaustive()
    }
}

/// What a client proves itself with.
pub enum Credential {
    /// A token in the place of a password.
    Password(Secret),
    /// A token by SASL OAUTHBEARER (RFC 7628).
    Bearer(Secret),
    /// A token in a header of HTTP, and the word for where it stood: `bearer`, `basic` or `api-key`.
    Header(Secret, &'static str),
    /// The certificate that it showed when TLS started, whose key it holds. Whether that is believed is not the protocol's affair.
    Certificate,
}

impl Credential {
    /// The word for it in the record.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Password(_) => "password",
            Self::Bearer(_) => "oauthbearer",
            Self::Header(_, place) => place,
            Self::Certificate => "certificate",
        }
    }
}

/// By what clients of one listener may prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// By a certificate: one that shows one is asked for nothing else.
    pub certificate: bool,
    /// What all others are asked for.
    pub ask: Ask,
}

impl Auth {
    /// By a token in the place of a password.
    pub const PASSWORD: Self = Self { certificate: false, ask: Ask::Password };
}

/// What a client without a certificate is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Nothing: it is refused.
    Nothing,
    /// A token in the place of a password.
    Password,
    /// A token by SASL OAUTHBEARER, inside TLS only.
    Bearer {
        /// What a client is told that brings no good token: where it gets one (JSON, RFC 7628, section 3.2.2).
        discovery: Bytes,
    },
}
