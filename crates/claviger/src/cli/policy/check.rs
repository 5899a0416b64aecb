//! `claviger policy check`

use claviger_policy::{PolicyProblem, PolicySet};
use serde::Serialize;

use super::PoliciesArgs;
use crate::cli::Failure;
use crate::cli::output::{self, Output};
use crate::config::{LOCAL_ISSUER, read_policies};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    policies: PoliciesArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was found in a policy file.
#[derive(Serialize)]
struct Finding<'a> {
    /// `error` or `warning`.
    severity: &'static str,
    file: &'a str,
    line: usize,
    column: usize,
    message: &'a str,
}

impl<'a> Finding<'a> {
    fn of(severity: &'static str) -> impl Fn(&'a PolicyProblem) -> Self {
        move |PolicyProblem { file, line, column, message }| Self { severity, file, line: *line, column: *column, message }
    }
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<(), Failure> {
    let dir = args.policies.dir()?;
    if !dir.is_dir() {
        return Err(Failure::Usage(format!("{}: there is no such directory", dir.display())));
    }
    let sources = read_policies(&dir)?;
    match PolicySet::load(&sources, LOCAL_ISSUER) {
        Ok(policies) if args.json => output.json(&policies.warnings().iter().map(Finding::of("warning")).collect::<Vec<_>>()),
        Ok(policies) => {
            policies.warnings().iter().for_each(|warning| output::complain(format_args!("warning: {warning}")));
            let (files, count) = (sources.len(), policies.count());
            output.line(format_args!("{}: {files} files, {count} policies; sha256 {}", dir.display(), policies.hash()))
        }
        Err(errors) => {
            if args.json {
                output.json(&errors.0.iter().map(Finding::of("error")).collect::<Vec<_>>())?;
            }
            Err(Failure::Usage(errors.to_string()))
        }
    }
}
