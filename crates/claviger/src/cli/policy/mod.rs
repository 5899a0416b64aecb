//! `claviger policy`: policies looked at without a gateway that runs them.

mod cases;
pub(super) mod catalog;
mod check;
mod explain;
mod judged;
mod people;
mod simulate;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use claviger_policy::PolicySet;

use super::Failure;
use super::output::Output;
use crate::config::{Config, LOCAL_ISSUER, read_policies};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check policies: what is wrong with them, and where
    Check(check::Args),
    /// Run the table tests that stand beside policies
    Test(cases::Args),
    /// Say how a SQL text would be decided, and why
    Explain(explain::Args),
    /// Say which recorded operations other policies would decide otherwise
    Simulate(simulate::Args),
    /// Print the catalog of a connection's database, for tests to keep beside policies
    Catalog(catalog::Args),
}

pub(super) fn run(command: Command, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Check(args) => check::run(&args, output),
        Command::Test(args) => cases::run(&args, output),
        Command::Explain(args) => explain::run(&args, output),
        Command::Simulate(args) => simulate::run(&args, output),
        Command::Catalog(args) => catalog::run(&args, output),
    }
}

/// Which policies.
#[derive(Debug, clap::Args)]
struct PoliciesArgs {
    /// A directory with policies, `*.cedar`; those of the configuration if absent
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// The configuration directory
    #[arg(long, value_name = "DIR", env = "CLAVIGER_CONFIG")]
    config: Option<PathBuf>,
}

impl PoliciesArgs {
    /// The configuration, if one is given.
    fn config(&self) -> Result<Option<Config>, Failure> {
        Ok(self.config.as_deref().map(Config::load).transpose()?)
    }

    /// The directory that the policies are in.
    fn dir(&self) -> Result<PathBuf, Failure> {
        match (&self.policies, &self.config) {
            (Some(dir), _) => Ok(dir.clone()),
            (None, Some(config)) => Ok(config.join("policies")),
            (None, None) => Err(Failure::Usage("which policies? give --policies DIR or --config DIR".to_owned())),
        }
    }

    fn load(&self) -> Result<PolicySet, Failure> {
        load(&self.dir()?)
    }
}

/// The policies of a directory.
fn load(dir: &Path) -> Result<PolicySet, Failure> {
    if !dir.is_dir() {
        return Err(Failure::Usage(format!("{}: there is no such directory", dir.display())));
    }
    PolicySet::load(&read_policies(dir)?, LOCAL_ISSUER).map_err(|errors| Failure::Usage(errors.to_string()))
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::Usage(format!("{}: cannot be read: {error}", file.display())))
}
