//! The port: what the API needs of the gateway.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use claviger_identity::Identity;
use claviger_model::{ApprovalId, Secret, SessionId};
use tokio::sync::mpsc;

use crate::wire::{
    Access, AccessQuery, Approval, ApprovalQuery, Connection, Coverage, Delegation, IssuedToken, KillQuery, LoginProvider,
    NewAccess, NewPrincipal, NewToken, Principal, PrincipalPatch, RecordingEntry, Review, RevokeQuery, Session, SessionQuery,
    Token, Usage,
};
use crate::{Act, ExchangedToken, OauthError, Problem, TokenExchange};

/// Leaves of the log in canonical form, one by one as they are written. Closed by the backend when the reader falls behind.
pub type Leaves = mpsc::Receiver<Arc<str>>;

/// What may have to wait for an identity provider. It blocks no thread meanwhile: strangers can make it wait.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Which leaves of the log are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// All of them.
    All,
    /// Those of one session.
    Session(SessionId),
    /// Those that say what becomes of requests for approval.
    Approvals,
}

/// Who calls, and from where.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who, proven by a token.
    pub identity: Identity,
    /// From where.
    pub address: IpAddr,
}

/// What can be asked of a gateway, from afar or on its own machine. Nothing here asks policy or records:
/// that was done when this was come by.
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
    fn kill_session(&self, id: SessionId, how: &KillQuery) -> Result<(), Problem>;
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
    /// Who has used how much since the gateway was started.
    fn usage(&self) -> Result<Vec<Usage>, Problem>;
    /// Issues a token.
    fn issue_token(&self, new: &NewToken) -> Result<IssuedToken, Problem>;
    /// Revokes a token.
    fn revoke_token(&self, id: &str) -> Result<(), Problem>;
    /// Revokes every token of a principal issued so far.
    fn revoke_tokens(&self, principal: &str) -> Result<(), Problem>;
    /// Replaces the local issuer's signing key; returns the new key's id.
    fn rotate_key(&self) -> Result<String, Problem>;
    /// Requests for approval, oldest first.
    fn approvals(&self, query: ApprovalQuery) -> Result<Vec<Approval>, Problem>;
    /// One request for approval; that it was looked at is recorded.
    fn approval(&self, id: ApprovalId) -> Result<Approval, Problem>;
    /// Counts the rows that a request for approval is about; it is recorded.
    fn count_rows(&self, id: ApprovalId) -> Result<Approval, Problem>;
    /// Decides a request for approval.
    fn review(&self, id: ApprovalId, review: &Review) -> Result<Approval, Problem>;
    /// Grants and requests for them, oldest first.
    fn grants(&self, query: AccessQuery) -> Result<Vec<Access>, Problem>;
    /// One of them.
    fn grant(&self, id: ApprovalId) -> Result<Access, Problem>;
    /// Asks for access for a time.
    fn request_access(&self, new: &NewAccess) -> Result<Access, Problem>;
    /// Decides a request, takes back what was given, or reviews what was taken in an emergency.
    fn review_grant(&self, id: ApprovalId, review: &Review) -> Result<Access, Problem>;
    /// Ends a grant, or withdraws the request for it.
    fn revoke_grant(&self, id: ApprovalId, how: &RevokeQuery) -> Result<Access, Problem>;
    /// Makes a token that is good for one's own grant alone.
    fn grant_token(&self, id: ApprovalId) -> Result<IssuedToken, Problem>;
    /// The registered connections.
    fn connections(&self) -> Result<Vec<Connection>, Problem>;
    /// Who is on a connection's upstream and did not come through the gateway.
    fn coverage(&self, connection: &str) -> Result<Coverage, Problem>;
    /// The log's last checkpoint, a signed note (C2SP).
    fn checkpoint(&self) -> Result<String, Problem>;
    /// The key that verifies checkpoints (C2SP `vkey`).
    fn audit_key(&self) -> Result<String, Problem>;
}

/// A running gateway. Methods may block, and the API calls them where that is allowed, except where they return [`Asked`].
pub trait Backend: Send + Sync + 'static {
    /// Whether the gateway can do its work: it can record, so it can admit.
    fn healthy(&self) -> bool;
    /// The local issuer's public keys, a JSON Web Key Set (RFC 7517).
    fn jwks(&self) -> Result<serde_json::Value, Problem>;
    /// The local issuer's URL.
    fn issuer(&self) -> String;
    /// Where people log in.
    fn logins(&self) -> Vec<LoginProvider>;
    /// Verifies a bearer token.
    fn authenticate<'a>(&'a self, token: &'a Secret) -> Asked<'a, Result<Identity, Problem>>;
    /// Exchanges tokens for one of the local issuer (RFC 8693), for whoever holds them at this address; it is recorded.
    fn exchange(self: Arc<Self>, exchange: TokenExchange, address: IpAddr) -> Asked<'static, Result<ExchangedToken, OauthError>>;
    /// Whether a caller is still who it proved to be: nothing expired, revoked or disabled.
    fn stands(&self, caller: &Caller) -> bool;
    /// Asks policy whether the caller may do this, and records the answer if it is a denial or [`Act::recorded`]. Only this
    /// gives a caller something to act with, and only when the record is in the log.
    fn admit(&self, caller: &Caller, act: Act, target: &str) -> Result<Box<dyn Management + '_>, Problem>;
    /// Follows the log.
    fn tail(&self, of: Followed) -> Result<Leaves, Problem>;
}
