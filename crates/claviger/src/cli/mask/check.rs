//! `claviger mask check`: how the classified columns of a connection's database are masked, and what of it cannot be.

use std::path::PathBuf;
use std::sync::Arc;

use claviger_mask::methods::{Method, Type};
use claviger_model::{ConnectionName, Object};
use claviger_session::{Fit, fits};
use serde::Serialize;

use crate::cli::output::{Output, complain};
use crate::cli::policy::catalog;
use crate::cli::{Failure, upstream};
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The connection
    connection: ConnectionName,
    /// Its database's catalog, as `claviger policy catalog` printed it; else the upstream is asked
    #[arg(long, value_name = "FILE")]
    catalog: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The configuration directory of the gateway, on its own machine
    #[arg(long, value_name = "DIR", env = "CLAVIGER_CONFIG")]
    config: PathBuf,
}

/// How a column is masked.
#[derive(Serialize)]
struct Shown {
    column: String,
    #[serde(rename = "type")]
    kind: &'static str,
    label: String,
    method: &'static str,
    /// What is to be known of it.
    note: Option<String>,
    fits: bool,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let connection = upstream::connection(&config, &args.connection)?;
    let methods = config.masking.methods.clone();
    let catalog = Arc::new(catalog::of(args.catalog.as_deref(), Some((config, &connection)))?);
    let shown: Vec<Shown> = fits(&methods, &catalog).iter().map(shown).collect();
    output.list(args.json, &shown, ["COLUMN", "TYPE", "LABEL", "METHOD", "NOTE"], |one| {
        let note = one.note.clone().unwrap_or_else(|| "-".to_owned());
        [one.column.clone(), one.kind.to_owned(), one.label.clone(), one.method.to_owned(), note]
    })?;
    for name in catalog.unmatched() {
        complain(format_args!("`classify` names {}, which is not in the database", name.escape_debug()));
    }
    let misfits = shown.iter().filter(|one| !one.fits).count();
    match misfits + catalog.unmatched().len() {
        0 => Ok(()),
        _ => Err(Failure::Findings(format!(
            "{misfits} columns cannot be masked as their labels say, {} names stand for nothing",
            catalog.unmatched().len()
        ))),
    }
}

fn shown(fit: &Fit) -> Shown {
    let note = match (&fit.misfit, fit.kind, fit.method) {
        (Some(misfit), ..) => Some(format!("{misfit}: statements that would show it are refused")),
        (None, Type::Other, Method::Redact) => Some("becomes NULL".to_owned()),
        _ => None,
    };
    Shown {
        column: Object::Column(Arc::clone(&fit.column)).to_string(),
        kind: fit.kind.as_str(),
        label: fit.label.to_string(),
        method: fit.method.as_str(),
        note,
        fits: fit.misfit.is_none(),
    }
}
