//! `claviger policy explain`

use std::collections::BTreeSet;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use claviger_model::{ConnectionName, Mode};
use claviger_policy::{Context, Grants, Lately, Moment, Party, Scope};
use claviger_sql::Session;

use super::judged::{Explanation, LinkShown, QuestionShown, judge};
use super::people::People;
use super::{PoliciesArgs, catalog};
use crate::cli::Failure;
use crate::cli::output::Output;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The SQL text; `-` reads it from standard input
    sql: String,
    /// Who asks, `SUBJECT[@ISSUER]`; `assistant for alice` is a chain
    #[arg(long, value_name = "CHAIN")]
    who: String,
    /// Puts somebody into a group, beside those that the gateway's store says; may be given again
    #[arg(long = "group", value_name = "SUBJECT[@ISSUER]=GROUP")]
    groups: Vec<String>,
    /// Says that somebody whom the store does not know is a workload
    #[arg(long = "workload", value_name = "SUBJECT[@ISSUER]")]
    workloads: Vec<String>,
    /// The connection
    #[arg(long, value_name = "NAME")]
    connection: ConnectionName,
    /// Labels of the connection, if the configuration does not say them
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
    /// A file with the catalog of the connection's database; else its upstream is asked
    #[arg(long, value_name = "FILE")]
    catalog: Option<PathBuf>,
    /// Groups that have approved it
    #[arg(long = "approval", value_name = "GROUP")]
    approvals: Vec<String>,
    /// With a grant for everything in force
    #[arg(long)]
    granted: bool,
    #[command(flatten)]
    policies: PoliciesArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<(), Failure> {
    let policies = args.policies.load()?;
    let config = args.policies.config()?;
    let configured =
        config.as_ref().and_then(|config| config.connections.iter().find(|one| one.name == args.connection).cloned());
    let catalog = catalog::of(args.catalog.as_deref(), config.clone().zip(configured.as_deref()))?;
    let mut people = match config {
        Some(config) => People::registered(config)?,
        None => People::default(),
    };
    for link in args.who.split(" for ") {
        people.know(link.trim());
    }
    args.workloads.iter().for_each(|name| people.is_workload(name));
    people.join_all(&args.groups)?;
    let labels: Vec<Arc<str>> = match &configured {
        Some(connection) if args.labels.is_empty() => connection.labels.clone(),
        _ => args.labels.iter().map(|label| label.as_str().into()).collect(),
    };
    let mode = configured.map_or(Mode::Enforce, |connection| connection.mode);
    let chain = people.chain(&args.who)?;
    // As a client on this machine would be seen, over TLS.
    let context = Context { client_address: IpAddr::from([127, 0, 0, 1]), application: None, tls: true, purpose: None };
    let party = Party::new(&chain, &args.connection, "postgres", &labels, mode, context);
    let session = Session { path: catalog.path().to_vec(), ..Session::default() };
    let approvals: BTreeSet<Arc<str>> = args.approvals.iter().map(|group| group.as_str().into()).collect();
    let scopes = args.granted.then(Arc::<Scope>::default);
    let grants = Grants { scopes: scopes.as_slice(), confined: false };
    let moment = Moment { now: crate::serve::now(), approvals: &approvals, grants, lately: Lately::default() };
    let judged = judge(&policies, &party, (&catalog, &session), &text(&args.sql)?, &moment);
    let explanation = judged.explain(&policies, &party);
    if args.json { output.json(&explanation) } else { print(&explanation, output) }
}

/// The longest text that is read.
const MAX_TEXT: u64 = 16 << 20;

fn text(argument: &str) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut text = String::new();
    std::io::stdin().take(MAX_TEXT).read_to_string(&mut text)?;
    Ok(text)
}

fn print(explanation: &Explanation, output: &mut Output) -> Result<(), Failure> {
    let reason = explanation.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    output.line(format_args!("{}{reason}", explanation.verdict))?;
    let sum: Vec<String> = explanation.risk.contributions.iter().map(|part| format!("{} {}", part.name, part.points)).collect();
    output.line(format_args!(
        "risk {}: {}",
        explanation.risk.score,
        if sum.is_empty() { "nothing".to_owned() } else { sum.join(", ") }
    ))?;
    for control in &explanation.controls {
        output.line(format_args!("control {control}"))?;
    }
    for (n, statement) in explanation.statements.iter().enumerate() {
        output.line(format_args!("\n{}. {}", n + 1, statement.class))?;
        if !statement.hazards.is_empty() {
            output.line(format_args!("   hazards: {}", statement.hazards.join(", ")))?;
        }
        if statement.questions.is_empty() {
            output.line(format_args!("   does nothing to anything"))?;
        }
        for question in &statement.questions {
            print_question(question, output)?;
        }
    }
    if !explanation.changes.is_empty() {
        output.line(format_args!("\nwhat stands in the way:"))?;
    }
    explanation.changes.iter().try_for_each(|change| output.line(format_args!("  {change}")))
}

fn print_question(question: &QuestionShown, output: &mut Output) -> Result<(), Failure> {
    let through = question.through.as_ref().map(|through| format!(" (by way of {through})")).unwrap_or_default();
    output.line(format_args!("   {} {}{through}", question.action, question.objects.join(", ")))?;
    question.links.iter().try_for_each(|link: &LinkShown| {
        let policies: Vec<String> = link.policies.iter().map(|policy| format!("{} ({})", policy.id, policy.at)).collect();
        let by = if policies.is_empty() { "no policy permits it".to_owned() } else { policies.join(", ") };
        output.line(format_args!("     {} {}: {by}", link.principal, link.answer))
    })
}
