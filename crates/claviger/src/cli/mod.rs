//! The command line.
//!
//! Commands that manage a gateway speak to its API, or, with `--config`, act on the gateway's own machine; either way they are
//! written once, against [`claviger_api::Management`]. The exit code says how it ended:
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | it failed, or `coverage` found somebody who came by another road |
//! | 2 | the command or the configuration is wrong |
//! | 3 | a verification found problems |
//! | 4 | the gateway refused the caller |

mod access;
mod approvals;
mod audit;
mod client;
mod connect;
mod coverage;
mod gateway;
mod login;
mod mask;
mod output;
mod policy;
mod principals;
mod revoke;
mod sessions;
mod tls;
mod tokens;
mod upstream;
mod usage;
mod webhooks;

#[cfg(test)]
mod tests;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use claviger_api::Problem;
use claviger_policy::PolicySet;

use crate::config::{Config, ConfigError, LOCAL_ISSUER};
#[cfg(test)]
pub(crate) use client::Client;
use output::Output;

/// The gateway that carries the keys, so that nobody else has to.
#[derive(Debug, Parser)]
#[command(name = "claviger", version, max_term_width = 120, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  claviger tls self-signed --out /etc/claviger --host gateway.internal --host 10.0.0.7
  claviger check --config /etc/claviger
  claviger serve --config /etc/claviger
  claviger principals add user alice --group dba --config /etc/claviger
  claviger token issue alice --ttl 8h --config /etc/claviger > alice.token
  psql 'host=gateway.internal port=6400 dbname=bank sslmode=verify-full' # with the token as password
  claviger connect bank --token-file alice.token --address gateway.internal:6400
  claviger login --api-url https://gateway.internal:8443
  claviger sessions list

Exit codes: 0 done, 1 failed, 2 wrong command or configuration, 3 verification found problems, 4 refused by the gateway.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Serve(ConfigArgs),
    /// Check a configuration directory, policies included, without running it
    Check(ConfigArgs),
    /// Issue, revoke and list tokens of the local issuer
    #[command(subcommand)]
    Token(tokens::Command),
    /// Register principals, disable them, and say who may act for whom
    #[command(subcommand)]
    Principals(principals::Command),
    /// List, show, follow and end sessions
    #[command(subcommand)]
    Sessions(sessions::Command),
    /// See what waits for approval, and approve, edit or deny it
    #[command(subcommand)]
    Approvals(approvals::Command),
    /// Ask for access to a connection for a time, see who has it, and give it back
    #[command(subcommand)]
    Access(access::Command),
    /// End what lives by a principal, a sponsor, a token, a session or a grant, at once
    #[command(subcommand)]
    Revoke(revoke::Command),
    /// See which webhooks there are and what they are still to be told, and try one
    #[command(subcommand)]
    Webhooks(webhooks::Command),
    /// Log in at an identity provider, with a browser on any device
    Login(login::Args),
    /// Forget a login, and take back what it was given
    Logout(login::LogoutArgs),
    /// Open a local port that needs no token, for clients that cannot refresh one
    Connect(connect::Args),
    /// Look who is on an upstream and did not come through the gateway, and say how to close that road
    Coverage(coverage::Args),
    Usage(usage::Args),
    /// Check policies, test them, and say how they decide
    #[command(subcommand)]
    Policy(policy::Command),
    /// Try what the content detectors find, and look what a database holds
    #[command(subcommand)]
    Mask(mask::Command),
    /// Verify the audit log
    #[command(subcommand)]
    Audit(audit::Command),
    /// Make certificates
    #[command(subcommand)]
    Tls(tls::Command),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Where the configuration is.
#[derive(Debug, clap::Args)]
struct ConfigArgs {
    /// The configuration directory: `claviger.toml` and `policies/*.cedar`
    #[arg(long, value_name = "DIR", env = "CLAVIGER_CONFIG")]
    config: PathBuf,
}

/// How a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It could not be done.
    #[error("{0:#}")]
    Failed(anyhow::Error),
    /// The command or the configuration is wrong.
    #[error("{0}")]
    Usage(String),
    /// A verification found problems, which have been printed.
    #[error("{0}")]
    Findings(String),
    /// The gateway refused the caller.
    #[error("{0}")]
    Refused(String),
    /// Whoever read our output has read enough.
    #[error("the reader went away")]
    NobodyReads,
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::NobodyReads => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Findings(_) => 3,
            Self::Refused(_) => 4,
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        match problem.status {
            401 | 403 => Self::Refused(problem.to_string()),
            400 => Self::Usage(problem.to_string()),
            _ => Self::Failed(anyhow::anyhow!(problem)),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe { Self::NobodyReads } else { Self::Failed(error.into()) }
    }
}

/// Runs the command that the arguments ask for.
pub(crate) fn run() -> ExitCode {
    let mut output = Output::stdout();
    match execute(Cli::parse().command, &mut output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !matches!(failure, Failure::NobodyReads) {
                output::complain(&failure);
            }
            ExitCode::from(failure.code())
        }
    }
}

fn execute(command: Command, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve(&args),
        Command::Check(args) => check(&args, output),
        Command::Token(command) => tokens::run(command, output),
        Command::Principals(command) => principals::run(command, output),
        Command::Sessions(command) => sessions::run(command, output),
        Command::Approvals(command) => approvals::run(command, output),
        Command::Access(command) => access::run(command, output),
        Command::Revoke(command) => revoke::run(command, output),
        Command::Webhooks(command) => webhooks::run(command, output),
        Command::Login(args) => login::run(&args),
        Command::Logout(args) => login::log_out(&args),
        Command::Connect(args) => connect::run(args, output),
        Command::Coverage(args) => coverage::run(&args, output),
        Command::Usage(args) => usage::run(&args, output),
        Command::Policy(command) => policy::run(command, output),
        Command::Mask(command) => mask::run(command, output),
        Command::Audit(command) => audit::run(command, output),
        Command::Tls(command) => tls::run(command, output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "claviger", &mut script);
            output.bytes(&script)
        }
    }
}

fn serve(args: &ConfigArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let filter = tracing_subscriber::EnvFilter::try_from_env("CLAVIGER_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if config.log.json {
        log.json().flatten_event(true).init();
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).init();
    }
    Ok(crate::serve::run(config)?)
}

fn check(args: &ConfigArgs, output: &mut Output) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let policies = PolicySet::load(&config.policies, LOCAL_ISSUER).map_err(|errors| Failure::Usage(errors.to_string()))?;
    config.check_endpoints(&policies)?;
    for warning in policies.warnings() {
        output::complain(warning);
    }
    output.line(format_args!(
        "{}: {} connections, {} listeners, {} external issuers, {} policy files; sha256 {}",
        args.config.display(),
        config.connections.len(),
        config.listeners.len(),
        config.issuers.len(),
        config.policies.len(),
        config.hash
    ))
}
