//! The port: what the API needs of the gateway.

use std::sync::Arc;

use claviger_model::{Chain, Secret, SessionId, Timestamp};
use tokio::sync::mpsc;

use crate::wire::{
    Connection, Delegation, IssuedToken, NewPrincipal, NewToken, Principal, PrincipalPatch, RecordingEntry, Session,
    SessionQuery, Token,
};
use crate::{Act, Problem};

/// Leaves of the log in canonical form, one by one as they are written. Closed by the backend when the reader falls behind.
pub type Leaves = mpsc::Receiver<Arc<str>>;

/// Who calls, proven by a token.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The caller, and those it acts for.
    pub chain: Chain,
    /// The id of the token, which is not a secret.
    pub token: Option<Arc<str>>,
    /// When the token ends.
    pub expires: Timestamp,
}

/// What can be asked of a gateway, from afar or on its own machine. Nothing here asks policy or records: that is done before.
///
/// A principal is written `subject` for the local issuer, or `subject@issuer` with the name of another.
pub trait Management {
    /// Sessions, newest first.
    fn sessions(&self, query: &SessionQuery) -> Result<Vec<Session>, Problem>;
    /// One session.
    fn session(&self, id: SessionId) -> Result<Session, Problem>;
    /// What was said in a session.
    fn recording(&self, id: SessionId) -> Result<Vec<RecordingEntry>, Problem>;
    /// Ends a running session.
    fn kill_session(&self, id: SessionId, reason: Option<&str>) -> Result<(), Problem>;
    /// The registered principals.
    fn principals(&self) -> Result<Vec<Principal>, Problem>;
    /// Registers a principal.
    fn add_principal(&self, new: &NewPrincipal) -> Result<Principal, Problem>;
    /// Changes a principal.
    fn update_principal(&self, principal: &str, patch: &PrincipalPatch) -> Result<Principal, Problem>;
    /// Lets `actor` act for `subject`.
    fn add_delegation(&self, delegation: &Delegation) -> Result<(), Problem>;
    /// Ends that.
    fn remove_delegation(&self, delegation: &Delegation) -> Result<(), Problem>;
    /// The tokens of the local issuer that have not expired.
    fn tokens(&self) -> Result<Vec<Token>, Problem>;
    /// Issues a token.
    fn issue_token(&self, new: &NewToken) -> Result<IssuedToken, Problem>;
    /// Revokes a token.
    fn revoke_token(&self, id: &str) -> Result<(), Problem>;
    /// Revokes every token of a principal issued so far.
    fn revoke_tokens(&self, principal: &str) -> Result<(), Problem>;
    /// Replaces the local issuer's signing key; returns the new key's id.
    fn rotate_key(&self) -> Result<String, Problem>;
    /// The registered connections.
    fn connections(&self) -> Result<Vec<Connection>, Problem>;
    /// The log's last checkpoint, a signed note (C2SP).
    fn checkpoint(&self) -> Result<String, Problem>;
    /// The key that verifies checkpoints (C2SP `vkey`).
    fn audit_key(&self) -> Result<String, Problem>;
}

/// A running gateway. Methods may block; the API calls them where that is allowed.
pub trait Backend: Management + Send + Sync + 'static {
    /// Whether the gateway can do its work: it can record, so it can admit.
    fn healthy(&self) -> bool;
    /// The local issuer's public keys, a JSON Web Key Set (RFC 7517).
    fn jwks(&self) -> Result<serde_json::Value, Problem>;
    /// The local issuer's URL.
    fn issuer(&self) -> String;
    /// Verifies a bearer token.
    fn authenticate(&self, token: &Secret) -> Result<Caller, Problem>;
    /// Whether a caller is still who it proved to be: nothing expired, revoked or disabled.
    fn stands(&self, caller: &Caller) -> bool;
    /// Asks policy whether the caller may do this, and records the answer if it is a denial or [`Act::recorded`]. On `Ok`
    /// the record is in the log, and the act may be done.
    fn admit(&self, caller: &Caller, act: Act, target: &str) -> Result<(), Problem>;
    /// Follows the log, or the leaves of one session.
    fn tail(&self, session: Option<SessionId>) -> Result<Leaves, Problem>;
}
