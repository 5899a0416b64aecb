//! `claviger principals`

use clap::{Subcommand, ValueEnum};
use claviger_api::Act;
use claviger_api::wire::{Delegation, Kind, NewPrincipal, PrincipalPatch};

use super::Failure;
use super::gateway::GatewayArgs;
use super::output::{Output, or_dash};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register a principal
    #[command(after_help = "Examples:\n  claviger principals add user alice --group dba --display 'Alice Example'\n  \
        claviger principals add workload agent-7 --sponsor alice")]
    Add {
        /// Human or machine
        kind: KindArg,
        /// `SUBJECT` of the local issuer, or `SUBJECT@ISSUER` with the name of another
        subject: String,
        /// A group to put it into; repeatable
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// The human who answers for a workload
        #[arg(long, value_name = "SUBJECT")]
        sponsor: Option<String>,
        /// A name for people to read
        #[arg(long, value_name = "NAME")]
        display: Option<String>,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// List registered principals
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Shut a principal out; its sessions end, and those of everybody who acts for it or answers to it
    Disable {
        /// `SUBJECT`, or `SUBJECT@ISSUER`
        subject: String,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Let a principal in again
    Enable {
        /// `SUBJECT`, or `SUBJECT@ISSUER`
        subject: String,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Let one principal act for another
    #[command(after_help = "Example:\n  claviger principals delegate agent-7 alice   # agent-7 may act for alice")]
    Delegate {
        /// Who acts
        actor: String,
        /// For whom
        subject: String,
        /// End it instead
        #[arg(long)]
        remove: bool,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
}

/// Human or machine.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum KindArg {
    /// A human being
    User,
    /// A service account, CI job or AI agent
    Workload,
}

pub(super) fn run(command: Command, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Add { kind, subject, groups, sponsor, display, gateway } => {
            let kind = match kind {
                KindArg::User => Kind::User,
                KindArg::Workload => Kind::Workload,
            };
            let new = NewPrincipal { subject, kind, display, groups, sponsor };
            let added = gateway.open()?.act(Act::AddPrincipal, &new.subject)?.add_principal(&new)?;
            output.line(format_args!("{}", added.principal))
        }
        Command::List { json, gateway } => {
            let principals = gateway.open()?.act(Act::ListPrincipals, "*")?.principals()?;
            output.list(json, &principals, ["PRINCIPAL", "KIND", "STATE", "GROUPS", "SPONSOR", "ACTS FOR", "NAME"], |principal| {
                [
                    principal.principal.clone(),
                    match principal.kind {
                        Kind::User => "user".to_owned(),
                        Kind::Workload => "workload".to_owned(),
                    },
                    if principal.disabled { "disabled" } else { "enabled" }.to_owned(),
                    principal.groups.join(","),
                    or_dash(principal.sponsor.as_deref()),
                    principal.acts_for.join(","),
                    or_dash(principal.display.as_deref()),
                ]
            })
        }
        Command::Disable { subject, gateway } => set_disabled(&gateway, &subject, true),
        Command::Enable { subject, gateway } => set_disabled(&gateway, &subject, false),
        Command::Delegate { actor, subject, remove, gateway } => {
            let delegation = Delegation { actor, subject };
            let target = delegation.to_string();
            let gateway = gateway.open()?;
            if remove {
                gateway.act(Act::RemoveDelegation, &target)?.remove_delegation(&delegation)?;
            } else {
                gateway.act(Act::AddDelegation, &target)?.add_delegation(&delegation)?;
            }
            Ok(())
        }
    }
}

fn set_disabled(gateway: &GatewayArgs, subject: &str, disabled: bool) -> Result<(), Failure> {
    let act = if disabled { Act::DisablePrincipal } else { Act::EnablePrincipal };
    let patch = PrincipalPatch { disabled: Some(disabled), ..PrincipalPatch::default() };
    gateway.open()?.act(act, subject)?.update_principal(subject, &patch)?;
    Ok(())
}
