//! What can be done through the API, and what the log calls it.

/// One kind of administrative act. Each belongs to one action of policy, asked on the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Lists sessions, or shows one.
    ListSessions,
    /// Reads the content of a session.
    ReadSession,
    /// Follows the records of sessions as they are written.
    TailSessions,
    /// Ends a running session.
    KillSession,
    /// Lists principals and delegations.
    ListPrincipals,
    /// Registers a principal.
    AddPrincipal,
    /// Changes a principal's groups or sponsor.
    UpdatePrincipal,
    /// Shuts a principal out, and ends its sessions.
    DisablePrincipal,
    /// Lets a principal in again.
    EnablePrincipal,
    /// Lets one principal act for another.
    AddDelegation,
    /// Ends that.
    RemoveDelegation,
    /// Lists tokens of the local issuer.
    ListTokens,
    /// Lists who uses how much.
    ListUsage,
    /// Issues a token.
    IssueToken,
    /// Revokes one token.
    RevokeToken,
    /// Revokes every token of a principal issued so far.
    RevokeTokens,
    /// Replaces the local issuer's signing key.
    RotateKey,
    /// Lists requests for approval, or follows what becomes of them.
    ListApprovals,
    /// Shows a request for approval, with what is asked for.
    ShowApproval,
    /// Decides a request for approval.
    DecideApproval,
    /// Asks for access for a time.
    RequestAccess,
    /// Lists grants and requests for them, or shows one.
    ListAccess,
    /// Decides a request for access, or reviews what was taken in an emergency.
    ReviewAccess,
    /// Ends a grant, or withdraws the request for it.
    RevokeAccess,
    /// Makes a token that is good for a grant alone.
    MintAccessToken,
    /// Lists connections.
    ListConnections,
    /// Looks who is on an upstream and did not come through the gateway.
    CheckCoverage,
    /// Reads the log's checkpoint and verification key.
    ReadAudit,
}

impl Act {
    /// The log's word for it.
    pub fn verb(self) -> &'static str {
        match self {
            Self::ListSessions => "session.list",
            Self::ReadSession => "session.read",
            Self::TailSessions => "session.tail",
            Self::KillSession => "session.kill",
            Self::ListPrincipals => "principal.list",
            Self::AddPrincipal => "principal.add",
            Self::UpdatePrincipal => "principal.update",
            Self::DisablePrincipal => "principal.disable",
            Self::EnablePrincipal => "principal.enable",
            Self::AddDelegation => "delegation.add",
            Self::RemoveDelegation => "delegation.remove",
            Self::ListTokens => "token.list",
            Self::ListUsage => "usage.list",
            Self::IssueToken => "token.issue",
            Self::RevokeToken => "token.revoke",
            Self::RevokeTokens => "token.revoke_all",
            Self::RotateKey => "key.rotate",
            Self::ListApprovals => "approval.list",
            Self::ShowApproval => "approval.show",
            Self::DecideApproval => "approval.decide",
            Self::RequestAccess => "access.request",
            Self::ListAccess => "access.list",
            Self::ReviewAccess => "access.review",
            Self::RevokeAccess => "access.revoke",
            Self::MintAccessToken => "access.token",
            Self::ListConnections => "connection.list",
            Self::CheckCoverage => "connection.coverage",
            Self::ReadAudit => "audit.read",
        }
    }

    /// Whether the act is recorded when permitted: it changes something, or shows what was said in a session. A denial is
    /// recorded always. What is done with a request for approval
    /// or for access has leaves of its own.
    pub fn recorded(self) -> bool {
        !matches!(
            self,
            Self::ListSessions
                | Self::ListPrincipals
                | Self::ListTokens
                | Self::ListUsage
                | Self::ListConnections
                | Self::ListApprovals
                | Self::ShowApproval
                | Self::DecideApproval
                | Self::RequestAccess
                | Self::ListAccess
                | Self::ReviewAccess
                | Self::RevokeAccess
                | Self::MintAccessToken
                | Self::ReadAudit
        )
    }
}
