//! `claviger audit`

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use claviger_api::Act;
use claviger_audit::checkpoint::VerifierKey;
use claviger_audit::verify::Report;

use super::Failure;
use super::gateway::GatewayArgs;
use super::output::Output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Verify the log offline: every hash, every checkpoint's signature, every recording's digest
    #[command(after_help = "Example:\n  claviger audit verify --data /var/lib/claviger --key 'claviger+0123abcd+AQ...'\n\n\
        Exit code 3 means that problems were found.")]
    Verify {
        /// The gateway's data directory, or a copy of it
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// The key that signs checkpoints (`claviger audit key`); should come from another place than the data
        #[arg(long, value_name = "VKEY")]
        key: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the log's last checkpoint, a signed note
    Checkpoint {
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Print the key that verifies checkpoints
    Key {
        #[command(flatten)]
        gateway: GatewayArgs,
    },
}

pub(super) fn run(command: Command, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Verify { data, key, json } => verify(&data, key.as_deref(), json, output),
        Command::Checkpoint { gateway } => {
            let note = gateway.open()?.act(Act::ReadAudit, "checkpoint")?.checkpoint()?;
            output.bytes(note.as_bytes())
        }
        Command::Key { gateway } => {
            let key = gateway.open()?.act(Act::ReadAudit, "key")?.audit_key()?;
            output.line(format_args!("{}", key.trim_end()))
        }
    }
}

/// Needs no gateway, no store and no network; the log may be growing meanwhile.
fn verify(data: &Path, key: Option<&str>, json: bool, output: &mut Output) -> Result<(), Failure> {
    if let Some(key) = key {
        compare_key(data, key)?;
    }
    let report = claviger_store::log::verify_dir(data).map_err(anyhow::Error::from)?;
    if json {
        output.json(&report)?;
    } else {
        show(&report, output)?;
    }
    if report.is_sound() {
        Ok(())
    } else {
        let problems = report.problems_omitted + report.problems.len() as u64;
        Err(Failure::Findings(format!("the log of {} does not verify: {problems} problems", report.origin)))
    }
}

/// The log's own key proves that the log is whole, not whose it is; that takes the key from elsewhere.
fn compare_key(data: &Path, expected: &str) -> Result<(), Failure> {
    let expected: VerifierKey = expected.trim().parse().map_err(|error| Failure::Usage(format!("--key: {error}")))?;
    let audit = data.join("audit");
    let file = if audit.is_dir() { audit } else { data.to_owned() }.join("log.vkey");
    let found = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    match found.trim().parse::<VerifierKey>() {
        Ok(found) if found.to_string() == expected.to_string() => Ok(()),
        _ => Err(Failure::Findings(format!("{} is another key: this is not the log that --key signs", file.display()))),
    }
}

fn show(report: &Report, output: &mut Output) -> Result<(), Failure> {
    let root = report.last_root.as_deref().unwrap_or("-");
    output.line(format_args!("log          {}", report.origin))?;
    output.line(format_args!("leaves       {}, {} not yet signed", report.leaves, report.not_yet_checkpointed))?;
    output
        .line(format_args!("checkpoints  {}, the last over {} leaves, root {root}", report.checkpoints, report.checkpointed))?;
    output.line(format_args!("sessions     {}", report.sessions))?;
    output.line(format_args!("operations   {}, {} without an outcome yet", report.operations, report.open_operations))?;
    match report.chunks {
        Some(chunks) => {
            output.line(format_args!("recording    {chunks} chunks, {} lost for want of room", report.lost_chunks))?
        }
        None => output.line(format_args!("recording    not at hand"))?,
    }
    for (word, found) in
        report.remarks.iter().map(|remark| ("remark", remark)).chain(report.problems.iter().map(|problem| ("PROBLEM", problem)))
    {
        let leaf = found.leaf.map_or("-".to_owned(), |leaf| leaf.to_string());
        output.line(format_args!("{word}: leaf {leaf}: {}: {}", found.code, found.detail))?;
    }
    output.line(format_args!("{}", if report.is_sound() { "verified" } else { "NOT verified" }))
}
