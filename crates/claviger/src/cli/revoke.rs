//! `claviger revoke`

use clap::Subcommand;
use claviger_api::wire::{KillQuery, PrincipalPatch, RevokeQuery};
use claviger_api::{Act, Management};
use claviger_model::{ApprovalId, SessionId};

use super::Failure;
use super::access::outcome;
use super::gateway::{Gateway, GatewayArgs};
use super::output::Output;

/// What takes effect within two seconds on everything that lives by it, also on what waits for approval.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Shut a principal out: its sessions end, and those of whoever acts for it or answers to it (`principals enable` lets it in again)
    Principal {
        /// The principal, `SUBJECT` or `SUBJECT@ISSUER`
        subject: String,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Shut a sponsor out, and everything that answers to him
    Sponsor {
        /// The sponsor, `SUBJECT` or `SUBJECT@ISSUER`
        subject: String,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Revoke a token: sessions that it opened end, and those of tokens made from it
    Token {
        /// The token's id (`jti`), or `ID@ISSUER` for one of another issuer
        id: String,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// End a session
    Session {
        /// The session
        id: SessionId,
        /// A sentence that the client will see
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// End a grant: sessions that it let in end, others go on without it
    Grant {
        /// The grant
        id: ApprovalId,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
}

pub(super) fn run(command: Command, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Principal { subject, gateway } => shut_out(&gateway.open()?, &subject, output).map(drop),
        Command::Sponsor { subject, gateway } => {
            let gateway = gateway.open()?;
            let sponsor = shut_out(&gateway, &subject, output)?;
            // Who that is can be told to whoever may know.
            let principals = gateway.act(Act::ListPrincipals, "*")?.principals().unwrap_or_default();
            let sponsored = principals.iter().filter(|principal| principal.sponsor.as_ref() == Some(&sponsor));
            sponsored.into_iter().try_for_each(|one| output.line(format_args!("{} ends with it", one.principal)))
        }
        Command::Token { id, gateway } => Ok(gateway.open()?.act(Act::RevokeToken, &id)?.revoke_token(&id)?),
        Command::Session { id, reason, gateway } => {
            let how = KillQuery { reason, drain: false };
            Ok(gateway.open()?.act(Act::KillSession, &id.to_string())?.kill_session(id, &how)?)
        }
        Command::Grant { id, reason, gateway } => {
            let access = gateway.open()?.afar("ending a grant")?.revoke_grant(id, &RevokeQuery { reason })?;
            output.line(format_args!("{}", outcome(&access)))
        }
    }
}

fn shut_out(gateway: &Gateway, subject: &str, output: &mut Output) -> Result<String, Failure> {
    let patch = PrincipalPatch { disabled: Some(true), ..PrincipalPatch::default() };
    let principal = gateway.act(Act::DisablePrincipal, subject)?.update_principal(subject, &patch)?;
    output.line(format_args!("{} is shut out", principal.principal))?;
    Ok(principal.principal)
}
