//! `claviger policy simulate`

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use claviger_api::wire::SessionQuery;
use claviger_api::{Act, Management as _};
use claviger_model::{Mode, SessionId};
use claviger_policy::{Context, Grants, Lately, Moment, Party, PolicySet};
use claviger_session::Connection;
use claviger_sql::{Catalog, Session};
use serde::Serialize;

use super::judged::judge;
use super::people::People;
use super::{catalog, load};
use crate::admin::{Admin, Replayed};
use crate::cli::Failure;
use crate::cli::output::{self, Output};
use crate::config::Config;

/// The longest statement that is shown, in characters.
const SHOWN: usize = 100;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// A directory with the policies to try, `*.cedar`
    policies: PathBuf,
    /// The configuration directory of the gateway, on its own machine
    #[arg(long, value_name = "DIR", env = "CLAVIGER_CONFIG")]
    config: PathBuf,
    /// The connection whose operations are replayed
    #[arg(long, value_name = "NAME")]
    connection: String,
    /// A file with the catalog of the connection's database; else its upstream is asked
    #[arg(long, value_name = "FILE")]
    catalog: Option<PathBuf>,
    /// Only sessions in whose chain this principal stands, `SUBJECT@ISSUER`
    #[arg(long, value_name = "PRINCIPAL")]
    who: Option<String>,
    /// At most so many sessions, the youngest first
    #[arg(long, value_name = "N", default_value_t = 100)]
    sessions: usize,
    /// Puts somebody whose groups another issuer knows into a group; may be given again
    #[arg(long = "group", value_name = "SUBJECT[@ISSUER]=GROUP")]
    groups: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// An operation that would be decided otherwise.
#[derive(Debug, Serialize)]
struct Change {
    session: SessionId,
    op: u64,
    who: String,
    statement: String,
    was: String,
    would: &'static str,
    policies: Vec<String>,
}

/// What a simulation goes by.
struct Simulation<'a> {
    policies: &'a PolicySet,
    catalog: &'a Catalog,
    people: &'a People,
    connection: &'a Connection,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let connection = config.connections.iter().find(|one| *one.name.as_str() == *args.connection);
    let connection =
        connection.cloned().ok_or_else(|| Failure::Usage(format!("there is no connection `{}`", args.connection)))?;
    let policies = load(&args.policies)?;
    let catalog = catalog::of(args.catalog.as_deref(), Some((config.clone(), &connection)))?;
    let mut people = People::registered(config.clone())?;
    people.join_all(&args.groups)?;
    let admin = Admin::on_this_machine(config)?;
    let query =
        SessionQuery { live: None, who: args.who.clone(), connection: Some(args.connection.clone()), limit: Some(args.sessions) };
    let sessions = admin.admit_local(Act::ListSessions, "*")?.sessions(&query)?;
    let simulation = Simulation { policies: &policies, catalog: &catalog, people: &people, connection: &connection };
    let (mut changes, mut operations, mut unknown) = (Vec::new(), 0, BTreeSet::new());
    for session in &sessions {
        let replayed = admin.admit_local(Act::ReadSession, &session.id.to_string())?.replay(session.id)?;
        unknown.extend(simulation.people.unknown(&replayed.chain));
        let (all, changed) = simulation.replay(session.id, &replayed)?;
        operations += all;
        changes.extend(changed);
    }
    for name in &unknown {
        output::complain(format_args!("`{name}` is not registered here: without groups, unless `--group` says so"));
    }
    if args.json {
        return output.json(&changes);
    }
    if !changes.is_empty() {
        output.list(false, &changes, ["SESSION", "OP", "WHO", "WAS", "WOULD BE", "BY", "STATEMENT"], |change| {
            [
                change.session.to_string(),
                change.op.to_string(),
                change.who.clone(),
                change.was.clone(),
                change.would.to_owned(),
                if change.policies.is_empty() { "-".to_owned() } else { change.policies.join(", ") },
                change.statement.chars().take(SHOWN).collect(),
            ]
        })?;
    }
    output.line(format_args!(
        "{} sessions, {operations} operations, {} would be decided otherwise",
        sessions.len(),
        changes.len()
    ))
}

impl Simulation<'_> {
    /// Replays a session; gives the number of its operations that were decided, and those that would be decided otherwise.
    fn replay(&self, id: SessionId, replayed: &Replayed) -> Result<(usize, Vec<Change>), Failure> {
        let chain = self.people.chain_of_anybody(&replayed.chain)?;
        let context = Context {
            client_address: replayed.address.unwrap_or(IpAddr::from([0, 0, 0, 0])),
            application: replayed.application.as_deref(),
            tls: replayed.tls,
            purpose: None,
        };
        let Connection { name, kind, labels, .. } = self.connection;
        let party = Party::new(&chain, name, kind, labels, Mode::Enforce, context);
        let mut session = Session { path: self.catalog.path().to_vec(), ..Session::default() };
        let (mut operations, mut changes) = (0, Vec::new());
        for operation in &replayed.operations {
            let Some(statement) = &operation.statement else { continue };
            operations += 1;
            let none: BTreeSet<Arc<str>> = BTreeSet::new();
            let moment = Moment { now: operation.at, approvals: &none, grants: Grants::default(), lately: Lately::default() };
            let judged = judge(self.policies, &party, (self.catalog, &session), statement, &moment);
            // What is only prepared may yet be approved when it is to be run.
            let would = if operation.prepares && judged.verdict() == "hold" { "permit" } else { judged.verdict() };
            if would != operation.verdict {
                changes.push(Change {
                    session: id,
                    op: operation.op,
                    who: replayed.chain.join(" for "),
                    statement: statement.clone(),
                    was: operation.verdict.clone(),
                    would,
                    policies: judged.policies().iter().map(ToString::to_string).collect(),
                });
            }
            // What it left behind is taken to have come true.
            session = judged.after;
        }
        Ok((operations, changes))
    }
}
