//! `claviger usage`

use claviger_api::Management as _;

use super::Failure;
use super::gateway::ApiArgs;
use super::output::{Output, or_dash};

/// List who has used how much since the gateway was started
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<(), Failure> {
    let usage = args.api.client()?.usage()?;
    let columns =
        ["PRINCIPAL", "CONNECTION", "MODEL", "REQUESTS", "IN", "OUT", "COST", "ROWS", "BYTES", "FIRST P50/P99", "ALL P50/P99"];
    output.list(args.json, &usage, columns, |row| {
        [
            row.principal.clone(),
            row.connection.clone(),
            or_dash(row.model.as_deref()),
            row.requests.to_string(),
            row.input_tokens.to_string(),
            row.output_tokens.to_string(),
            format!("{:.4}", row.cost),
            row.rows.to_string(),
            row.bytes.to_string(),
            format!("{}/{} ms", row.first_p50_ms, row.first_p99_ms),
            format!("{}/{} ms", row.all_p50_ms, row.all_p99_ms),
        ]
    })
}
