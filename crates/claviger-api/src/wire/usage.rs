//! What is used.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What somebody has used somewhere since the gateway was started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Who, `subject@issuer`: who acts, if somebody acts for another. `*` for all who came when there was no more room.
    pub principal: String,
    /// Where.
    pub connection: String,
    /// Of which model; absent for what is asked of none, `*` for models beyond the first of somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Operations.
    pub requests: u64,
    /// Tokens of prompts.
    pub input_tokens: u64,
    /// Tokens of answers.
    pub output_tokens: u64,
    /// What these cost, in the currency of the prices.
    pub cost: f64,
    /// Rows delivered.
    pub rows: u64,
    /// Bytes delivered.
    pub bytes: u64,
    /// Within how many milliseconds half of the answers began, as exactly as is counted; and ninety-nine of a hundred.
    pub first_p50_ms: f64,
    /// See there.
    pub first_p99_ms: f64,
    /// Within how many milliseconds half of them ended; and ninety-nine of a hundred.
    pub all_p50_ms: f64,
    /// See there.
    pub all_p99_ms: f64,
}
