//! What is used, in the API's words.

use std::time::Duration;

use claviger_api::wire::Usage;
use claviger_model::Tally;
use claviger_session::{MICROS, UsageRow};

pub(super) fn usage(row: &UsageRow) -> Usage {
    #[allow(clippy::cast_precision_loss)] // An amount of money that is shown.
    let cost = row.used.cost as f64 / MICROS as f64;
    Usage {
        principal: row.who.to_string(),
        connection: row.connection.to_string(),
        model: row.model.as_deref().map(ToOwned::to_owned),
        requests: row.used.requests,
        input_tokens: row.used.input,
        output_tokens: row.used.output,
        cost,
        rows: row.used.rows,
        bytes: row.used.bytes,
        first_p50_ms: millis(&row.first, 50),
        first_p99_ms: millis(&row.first, 99),
        all_p50_ms: millis(&row.all, 50),
        all_p99_ms: millis(&row.all, 99),
    }
}

fn millis(tally: &Tally, percent: u64) -> f64 {
    tally.within(percent).map_or(Duration::ZERO, Duration::from_micros).as_secs_f64() * 1000.0
}
