//! `claviger mask`: what is regulated in texts and in databases, and what becomes of it.

mod check;
mod expression;
mod floor;
mod sample;
mod scan;
mod test;

use super::Failure;
use super::output::Output;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show what becomes of a text, and which detector finds what in it
    Test(test::Args),
    /// Say how each classified column is masked, and which method does not fit its column
    Check(check::Args),
    /// Look at samples of a database's columns, and propose labels for them
    Scan(scan::Args),
    /// Print SQL for a role of the upstream's own that cannot read what is classified, and finds masked views instead
    Floor(floor::Args),
}

pub(super) fn run(command: Command, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Test(args) => test::run(&args, output),
        Command::Check(args) => check::run(&args, output),
        Command::Scan(args) => scan::run(&args, output),
        Command::Floor(args) => floor::run(&args, output),
    }
}
