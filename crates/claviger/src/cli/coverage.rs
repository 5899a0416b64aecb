//! `claviger coverage`

use anyhow::anyhow;
use claviger_api::Management as _;
use claviger_api::wire::Coverage;

use super::Failure;
use super::gateway::ApiArgs;
use super::output::{Output, or_dash};

/// Look for upstream sessions that did not come through the gateway
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The connection whose upstream is looked at
    connection: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<(), Failure> {
    let coverage = args.api.client()?.coverage(&args.connection)?;
    if args.json {
        output.json(&coverage)?;
    } else {
        print(&coverage, output)?;
    }
    let (around, hidden) = (coverage.around.len(), coverage.hidden.len());
    if around > 0 {
        return Err(Failure::Failed(anyhow!("{around} on `{}` did not come through this gateway", coverage.connection)));
    }
    if hidden > 0 {
        let role = "grant pg_read_all_stats to the connection's role";
        return Err(Failure::Findings(format!(
            "of {hidden} on `{}` it cannot be seen whence they came: {role}",
            coverage.connection
        )));
    }
    Ok(())
}

fn print(coverage: &Coverage, output: &mut Output) -> Result<(), Failure> {
    output.line(format_args!(
        "{} at {}: {} sessions through this gateway",
        coverage.connection, coverage.upstream, coverage.through
    ))?;
    if coverage.around.is_empty() && coverage.hidden.is_empty() {
        return output.line(format_args!("nobody came by another road"));
    }
    if !coverage.around.is_empty() {
        output.line(format_args!("\nby another road:"))?;
        output.list(false, &coverage.around, ["USER", "DATABASE", "FROM", "APPLICATION", "SINCE", "PROCESS"], |session| {
            let from = match (&session.address, session.port) {
                (Some(address), Some(port)) => format!("{address} port {port}"),
                (Some(address), None) => address.clone(),
                (None, _) => "the server's own machine".to_owned(),
            };
            [
                or_dash(session.user.as_deref()),
                or_dash(session.database.as_deref()),
                from,
                or_dash(session.application.as_deref()),
                or_dash(session.since.as_deref()),
                session.process.to_string(),
            ]
        })?;
    }
    if !coverage.hidden.is_empty() {
        output.line(format_args!("\nhidden from the connection's role, which lacks pg_read_all_stats:"))?;
        output.list(false, &coverage.hidden, ["USER", "DATABASE", "PROCESS"], |session| {
            [or_dash(session.user.as_deref()), or_dash(session.database.as_deref()), session.process.to_string()]
        })?;
    }
    for (title, rule) in [
        ("nftables, on the upstream's machine", &coverage.rules.nftables),
        ("pg_hba.conf, in place of what is there", &coverage.rules.pg_hba),
        ("security group", &coverage.rules.security_group),
    ] {
        output.line(format_args!("\nto close that road: {title}\n\n{}", rule.trim_end()))?;
    }
    Ok(())
}
