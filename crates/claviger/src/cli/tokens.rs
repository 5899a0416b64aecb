//! `claviger token`

use std::time::Duration;

use clap::Subcommand;
use claviger_api::Act;
use claviger_api::wire::NewToken;

use super::Failure;
use super::gateway::GatewayArgs;
use super::output::{Output, complain, or_dash};
use crate::config::units;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Issue a token; only the token goes to standard output
    #[command(after_help = "Examples:\n  claviger token issue alice --config /etc/claviger > alice.token\n  \
        claviger token issue alice --act agent-7 --ttl 1h --purpose 'monthly report'")]
    Issue {
        /// Whose token it is to be
        subject: String,
        /// Who is to act for the subject with it; the pair must be registered (`principals delegate`)
        #[arg(long, value_name = "ACTOR")]
        act: Option<String>,
        /// How long it lasts
        #[arg(long, value_name = "DURATION", default_value = "12h", value_parser = units::duration)]
        ttl: Duration,
        /// What it is for; goes into the record of every session
        #[arg(long, value_name = "TEXT")]
        purpose: Option<String>,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Revoke a token, or all tokens of a principal; sessions that they opened end
    Revoke {
        /// The token's id (`jti`)
        #[arg(value_name = "JTI", required_unless_present = "principal", conflicts_with = "principal")]
        id: Option<String>,
        /// Revoke every token of this principal issued so far
        #[arg(long, value_name = "SUBJECT")]
        principal: Option<String>,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// List tokens that have not expired
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Replace the signing key; tokens that the old key signed stay good until they end
    RotateKey {
        #[command(flatten)]
        gateway: GatewayArgs,
    },
}

pub(super) fn run(command: Command, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Issue { subject, act, ttl, purpose, gateway } => {
            let new = NewToken { subject, actor: act, ttl_seconds: Some(ttl.as_secs()), purpose };
            let issued = gateway.open()?.act(Act::IssueToken, &new.to_string())?.issue_token(&new)?;
            complain(format_args!("issued {}, good until {}", issued.id, issued.expires));
            output.line(format_args!("{}", issued.token))
        }
        Command::Revoke { id: Some(id), gateway, .. } => Ok(gateway.open()?.act(Act::RevokeToken, &id)?.revoke_token(&id)?),
        Command::Revoke { id: None, principal, gateway } => {
            let principal = principal.unwrap_or_default();
            Ok(gateway.open()?.act(Act::RevokeTokens, &principal)?.revoke_tokens(&principal)?)
        }
        Command::List { json, gateway } => {
            let tokens = gateway.open()?.act(Act::ListTokens, "*")?.tokens()?;
            output.list(json, &tokens, ["ID", "SUBJECT", "ACTOR", "ISSUED", "EXPIRES", "REVOKED", "PURPOSE"], |token| {
                [
                    token.id.clone(),
                    token.subject.clone(),
                    or_dash(token.actor.as_deref()),
                    token.issued.clone(),
                    token.expires.clone(),
                    if token.revoked { "yes" } else { "no" }.to_owned(),
                    or_dash(token.purpose.as_deref()),
                ]
            })
        }
        Command::RotateKey { gateway } => {
            let key = gateway.open()?.act(Act::RotateKey, "*")?.rotate_key()?;
            output.line(format_args!("{key}"))
        }
    }
}
