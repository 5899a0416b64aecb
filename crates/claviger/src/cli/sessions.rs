//! `claviger sessions`

use clap::Subcommand;
use claviger_api::wire::{KillQuery, SessionQuery};
use claviger_api::{Act, Followed, Management};
use claviger_model::SessionId;

use super::Failure;
use super::gateway::GatewayArgs;
use super::output::{Output, or_dash};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List running sessions
    List {
        /// Ended sessions too
        #[arg(long)]
        all: bool,
        /// Only sessions in whose chain this principal stands, `SUBJECT@ISSUER`
        #[arg(long, value_name = "PRINCIPAL")]
        who: Option<String>,
        /// Only sessions on this connection
        #[arg(long, value_name = "NAME")]
        connection: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Show one session
    Show {
        /// The session
        id: SessionId,
        /// Also what was said in it, from its recording; the reading is itself recorded
        #[arg(long)]
        recording: bool,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Follow the log, or the records of one session, as JSON lines
    Tail {
        /// The session; all if absent
        id: Option<SessionId>,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// End a running session
    Kill {
        /// The session
        id: SessionId,
        /// A sentence that the client will see
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Let an open transaction end first, within `limits.drain`
        #[arg(long)]
        drain: bool,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
}

pub(super) fn run(command: Command, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::List { all, who, connection, limit, json, gateway } => {
            let query = SessionQuery { live: (!all).then_some(true), who, connection, limit };
            let sessions = gateway.open()?.act(Act::ListSessions, "*")?.sessions(&query)?;
            output.list(json, &sessions, ["ID", "WHO", "CONNECTION", "CLIENT", "OPENED", "CLOSED", "OPERATIONS"], |session| {
                [
                    session.id.to_string(),
                    session.chain.join(" for "),
                    session.connection.clone(),
                    session.client.clone(),
                    session.opened.clone(),
                    or_dash(session.closed.as_deref()),
                    session.operations.to_string(),
                ]
            })
        }
        Command::Show { id, recording, gateway } => {
            let gateway = gateway.open()?;
            let target = id.to_string();
            let session = gateway.act(Act::ListSessions, &target)?.session(id)?;
            output.json(&session)?;
            if recording {
                output.json(&gateway.act(Act::ReadSession, &target)?.recording(id)?)?;
            }
            Ok(())
        }
        Command::Tail { id, gateway } => gateway
            .open()?
            .afar("following the log")?
            .tail(id.map_or(Followed::All, Followed::Session), |leaf| output.line(format_args!("{leaf}"))),
        Command::Kill { id, reason, drain, gateway } => {
            Ok(gateway.open()?.afar("ending a session")?.kill_session(id, &KillQuery { reason, drain })?)
        }
    }
}
