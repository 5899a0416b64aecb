//! `claviger policy catalog`, and catalogs for the other commands: out of a file, or from the upstream itself.

use std::path::Path;

use anyhow::anyhow;
use bytes::Bytes;
use claviger_model::ConnectionName;
use claviger_proxy::{OWN_APPLICATION, Upstreams};
use claviger_session::Connection;
use claviger_sql::{Catalog, Classification, QUESTION};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::read;
use crate::admin::Admin;
use crate::cli::Failure;
use crate::cli::output::Output;
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The connection
    connection: ConnectionName,
    /// The configuration directory of the gateway, on its own machine
    #[arg(long, value_name = "DIR", env = "CLAVIGER_CONFIG")]
    config: std::path::PathBuf,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let connection = config.connections.iter().find(|one| one.name == args.connection).cloned();
    let connection = connection.ok_or_else(|| Failure::Usage(format!("there is no connection `{}`", args.connection)))?;
    let mut text = Vec::new();
    for row in ask(config, &connection)? {
        let [Some(kind), Some(facts)] = row.as_slice() else {
            return Err(Failure::Failed(anyhow!("the upstream's catalog is not what was asked for")));
        };
        text.extend_from_slice(kind);
        text.push(b'\t');
        // Line breaks stand between JSON's own words only: inside of texts they are escaped.
        text.extend(facts.iter().copied().filter(|byte| *byte != b'\n'));
        text.push(b'\n');
    }
    output.bytes(&text)
}

/// A catalog that was kept in a file.
pub(super) fn of_file(file: &Path, classes: &Classification) -> Result<Catalog, Failure> {
    let text = read(file)?;
    Catalog::read_text(&text, classes).map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))
}

/// The catalog of a connection's database: out of a file if there is one, else from its upstream.
pub(super) fn of(file: Option<&Path>, configured: Option<(Config, &Connection)>) -> Result<Catalog, Failure> {
    match (file, configured) {
        (Some(file), Some((_, connection))) => of_file(file, &connection.classification),
        (Some(file), None) => of_file(file, &Classification::default()),
        (None, Some((config, connection))) => {
            let rows = ask(config, connection)?;
            let catalog = Catalog::read(&rows, &connection.classification);
            catalog.map_err(|error| Failure::Failed(anyhow!("{}: {error}", connection.name)))
        }
        (None, None) => Err(Failure::Usage("which catalog? give --catalog FILE, or --config DIR with the connection".to_owned())),
    }
}

/// Asks an upstream for its catalog, with the connection's own credential. It is noted for the log.
fn ask(config: Config, connection: &Connection) -> Result<Vec<Vec<Option<Bytes>>>, Failure> {
    let within = config.limits.deadlines.login;
    Admin::on_this_machine(config)?.note_local("catalog.read", connection.name.as_str())?;
    let mut nonce = [0; 18];
    SystemRandom::new().fill(&mut nonce).map_err(|_| anyhow!("the system has no randomness"))?;
    let login =
        |password| connection.login(password, OWN_APPLICATION.to_owned(), Bytes::from_static(&[0; 4]), nonce, Default::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(Upstreams::default().ask_by(connection, login, within, QUESTION));
    answer.map(|answer| answer.rows).map_err(|refusal| Failure::Failed(anyhow!("{}: {refusal}", connection.name)))
}
