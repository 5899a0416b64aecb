//! `claviger access`

use std::fmt::Write as _;
use std::time::Duration;

use clap::Subcommand;
use claviger_api::Management;
use claviger_api::wire::{Access, AccessQuery, NewAccess, RevokeQuery};
use claviger_model::ApprovalId;

use super::Failure;
use super::approvals::{indented, needs};
use super::gateway::GatewayArgs;
use super::output::{Output, complain, or_dash};
use crate::config::units;

/// How often a request that is waited for is looked at.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Ask for access to a connection for a time
    #[command(after_help = "Examples:\n  claviger access request bank --actions read,update --tables public.payments --for 2h \
        --reason 'INC-4711: wrong currency'\n  claviger access request bank --for 30m --reason 'INC-4711: bank is down' --break-glass\n\n\
        Reviewers decide it with `claviger approvals approve ID`, by the same rules as statements.")]
    Request {
        /// The connection
        connection: String,
        /// What is to be done there, in the words of policies: read, write, update, delete, ..; whatever policies permit if absent
        #[arg(long, value_name = "ACTION,..", value_delimiter = ',')]
        actions: Vec<String>,
        /// To which tables, `schema.table` or `schema.*`; to all if absent
        #[arg(long, value_name = "TABLE,..", value_delimiter = ',')]
        tables: Vec<String>,
        /// For how long
        #[arg(long = "for", value_name = "DURATION", value_parser = units::duration)]
        lasts: Duration,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Take it at once, in an emergency; it will be reviewed afterwards
        #[arg(long)]
        break_glass: bool,
        /// Wait until it is decided
        #[arg(long)]
        wait: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// List grants and requests for them: your own, or all if you may see them
    List {
        /// Those that are over too
        #[arg(long)]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Show one
    Show {
        /// The grant
        id: ApprovalId,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Make a token that is good for your grant alone and ends with it; only the token goes to standard output
    Token {
        /// The grant
        id: ApprovalId,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Give a grant back, or withdraw the request for it
    GiveBack {
        /// The grant
        id: ApprovalId,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
}

pub(super) fn run(command: Command, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Request { connection, actions, tables, lasts, reason, break_glass, wait, json, gateway } => {
            let seconds = u32::try_from(lasts.as_secs()).map_err(|_| Failure::Usage("--for is too long".to_owned()))?;
            let new = NewAccess { connection, actions, tables, seconds, reason, break_glass };
            let gateway = gateway.open()?;
            let client = gateway.afar("asking for access")?;
            let mut access = client.request_access(&new)?;
            if wait {
                complain(outcome(&access));
            }
            while wait && access.standing == "pending" {
                std::thread::sleep(LOOK);
                access = client.grant(access.id)?;
            }
            if json {
                output.json(&access)?
            } else {
                output.line(format_args!("{}", outcome(&access)))?
            }
            let is_had = matches!(access.standing.as_str(), "pending" | "active");
            if is_had { Ok(()) } else { Err(Failure::Refused(format!("the request was {}", access.standing))) }
        }
        Command::List { all, json, gateway } => {
            let list = gateway.open()?.afar("access")?.grants(AccessQuery { all })?;
            output.list(json, &list, ["ID", "CODE", "STANDING", "WHO", "CONNECTION", "WHAT", "NEEDS", "UNTIL"], |access| {
                [
                    access.id.to_string(),
                    access.code.clone(),
                    standing(access),
                    access.chain.join(" for "),
                    access.connection.clone(),
                    indented(&what(access), 12),
                    needs(&access.needs),
                    or_dash(access.until.as_deref()),
                ]
            })
        }
        Command::Show { id, json, gateway } => {
            let access = gateway.open()?.afar("access")?.grant(id)?;
            if json { output.json(&access) } else { output.bytes(described(&access).as_bytes()) }
        }
        Command::Token { id, gateway } => {
            let issued = gateway.open()?.afar("access")?.grant_token(id)?;
            complain(format_args!("issued {}, good until {}", issued.id, issued.expires));
            output.line(format_args!("{}", issued.token))
        }
        Command::GiveBack { id, gateway } => {
            let access = gateway.open()?.afar("access")?.revoke_grant(id, &RevokeQuery::default())?;
            output.line(format_args!("{}", outcome(&access)))
        }
    }
}

/// What came of it, on one line.
pub(super) fn outcome(access: &Access) -> String {
    let mut line = format!("{}: {}", access.id, standing(access));
    match (access.standing.as_str(), &access.until) {
        ("active", Some(until)) => _ = write!(line, " until {until}"),
        ("pending", _) => _ = write!(line, " ({}), waits for {}", access.code, needs(&access.needs)),
        _ => {}
    }
    line
}

/// What it is for, on one line.
pub(super) fn what(access: &Access) -> String {
    let all = |list: &[String], all: &str| if list.is_empty() { all.to_owned() } else { list.join(", ") };
    let actions = all(&access.actions, "whatever policy permits");
    let tables = if access.tables.is_empty() { String::new() } else { format!(" on {}", access.tables.join(", ")) };
    let glass = if access.break_glass { "break-glass: " } else { "" };
    format!("{glass}{actions}{tables} for {} s", access.seconds)
}

fn standing(access: &Access) -> String {
    if access.unreviewed { format!("{}, to be reviewed", access.standing) } else { access.standing.clone() }
}

/// A grant as people read it.
pub(super) fn described(access: &Access) -> String {
    let mut text = String::new();
    let mut line = |head: &str, what: &str| {
        if !what.is_empty() {
            _ = writeln!(text, "{head:<12}{}", indented(what, 12));
        }
    };
    line("access", &format!("{} ({})", access.id, access.code));
    line("standing", &standing(access));
    line("who", &access.chain.join(" for "));
    line("purpose", access.purpose.as_deref().unwrap_or_default());
    line("where", &format!("{}, from {}", access.connection, access.client));
    line("what", &what(access));
    line("why", &access.reason);
    line("policies", &access.policies.join(", "));
    line("asked", &format!("{}, to be decided until {}", access.asked, access.decide_by));
    line("until", access.until.as_deref().unwrap_or_default());
    line("needs", &needs(&access.needs));
    for vote in &access.votes {
        let reason = vote.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        line("review", &format!("{} by {} for {}{reason}", vote.verdict, vote.who, vote.group));
    }
    if let Some(by) = &access.revoked_by {
        let reason = access.revoked_because.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        line("ended by", &format!("{by}{reason}"));
    }
    text
}
