//! Claviger, one binary: the gateway, and the command line that runs and manages it.
//!
//! This is the only place where the parts meet: the configuration, the composition of the data path, the administration, and
//! the commands. Everything below is given what it needs as arguments.

mod admin;
mod cli;
mod config;
mod diff;
mod http;
mod serve;
mod visible;
mod webhooks;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
