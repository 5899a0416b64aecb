//! `claviger policy catalog`, and catalogs for the other commands: out of a file, or from the upstream itself.

use std::path::Path;

use anyhow::anyhow;
use claviger_model::ConnectionName;
use claviger_session::Connection;
use claviger_sql::{Catalog, Classification};

use super::read;
use crate::cli::Failure;
use crate::cli::output::Output;
use crate::cli::upstream::{self, Upstream};
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The connection
    connection: ConnectionName,
    /// The configuration directory of the gateway, on its own machine
    #[arg(long, value_name = "DIR", env = "CLAVIGER_CONFIG")]
    config: std::path::PathBuf,
}

/// What it is in the log.
const READING: &str = "catalog.read";

pub(super) fn run(args: &Args, output: &mut Output) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let connection = upstream::connection(&config, &args.connection)?;
    let mut text = Vec::new();
    for row in Upstream::open(config, &connection, READING)?.whole_catalog()?.0 {
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
pub(in crate::cli) fn of(file: Option<&Path>, configured: Option<(Config, &Connection)>) -> Result<Catalog, Failure> {
    match (file, configured) {
        (Some(file), Some((_, connection))) => of_file(file, &connection.classification),
        (Some(file), None) => of_file(file, &Classification::default()),
        (None, Some((config, connection))) => Upstream::open(config, connection, READING)?.catalog(),
        (None, None) => Err(Failure::Usage("which catalog? give --catalog FILE, or --config DIR with the connection".to_owned())),
    }
}
