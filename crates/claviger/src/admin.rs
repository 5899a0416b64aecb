//! Administration.

use claviger_api::wire::{
    Connection, Delegation, IssuedToken, NewPrincipal, NewToken, Principal, PrincipalPatch, RecordingEntry, Session,
    SessionQuery, Token,
};
use claviger_api::{Act, Management, Problem};
use claviger_model::SessionId;

use crate::config::Config;

/// Administration.
pub(crate) struct Admin {
    config: Config,
}
impl Admin {
    pub(crate) fn on_this_machine(config: Config) -> anyhow::Result<Self> {
        Ok(Self { config })
    }
    pub(crate) fn record_local(&self, _act: Act, _target: &str) -> Result<(), Problem> {
        Ok(())
    }
}
impl Management for Admin {
    fn sessions(&self, query: &SessionQuery) -> Result<Vec<Session>, Problem> {
        let _ = &self.config;
        Err(Problem::internal())
    }
    fn session(&self, id: SessionId) -> Result<Session, Problem> {
        let _ = &self.config;
        Err(Problem::internal())
    }
    fn recording(&self, id: SessionId) -> Result<Vec<RecordingEntry>, Problem> {
        let _ = &self.config;
        Err(Problem::internal())
    }
    fn kill_session(&self, id: SessionId, reason: Option<&str>) -> Result<(), Problem> {
        let _ = &self.config;
        Err(Problem::internal())
    }
    fn principals(&self) -> Result<Vec<Principal>, Problem> {
        let _ = &self.config;
        Err(Problem::internal())
    }
    fn add_principal(&self, new: &NewPrincipal) -> Result<Principal, Problem> {
        let _ = &self.config;
        Err(Problem::internal())
    }
    fn update_principal(&self, principal: &str, patch: &PrincipalPatch) -> Result<Principal, Problem> {
        let _ = &self.config;
        Err(Problem::internal())
    }
    fn add_delegation(&self, delegation: &Delegation) -> Result<(), Problem> {
        let _ = &self.config;
        Err(Problem::internal())
    }
    fn remove_delegation(&self, delegation: &Delegation) -> Result<(), Problem> {
        let _ = &self.config;
        Err(Problem::internal())
    }
    fn tokens(&self) -> Result<Vec<Token>, Problem> {
        let _ = &self.config;
        Err(Problem::internal())
    }
    fn issue_token(&self, new: &NewToken) -> Result<IssuedToken, Problem> {
        let _ = &self.config;
        Err(Problem::internal())
    }
    fn revoke_token(&self, id: &str) -> Result<(), Problem> {
        let _ = &self.config;
        Err(Problem::internal())
    }
    fn revoke_tokens(&self, principal: &str) -> Result<(), Problem> {
        let _ = &self.config;
        Err(Problem::internal())
    }
    fn rotate_key(&self) -> Result<String, Problem> {
        let _ = &self.config;
        Err(Problem::internal())
    }
    fn connections(&self) -> Result<Vec<Connection>, Problem> {
        let _ = &self.config;
        Err(Problem::internal())
    }
    fn checkpoint(&self) -> Result<String, Problem> {
        let _ = &self.config;
        Err(Problem::internal())
    }
    fn audit_key(&self) -> Result<String, Problem> {
        let _ = &self.config;
        Err(Problem::internal())
    }
}
