//! How the gateway is: metrics for Prometheus, and answers for whoever restarts it or sends it clients. Needs no token, and
//! says nothing secret.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use crate::Problem;
use crate::routes::time_limit;

/// How a gateway is. Methods may block; they are called where that is allowed.
pub trait Status: Send + Sync + 'static {
    /// All metrics, in Prometheus' text format 0.0.4.
    fn metrics(&self) -> String;
    /// Whether it is alive and can do its work. If not, restarting it, or giving it room, may help.
    fn health(&self) -> Health;
    /// Whether it takes new clients.
    fn readiness(&self) -> Health;
}

/// The answer to one such question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Whether all that matters is well.
    pub ok: bool,
    /// Why, one by one.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// Whether it is well.
    pub ok: bool,
    /// Whether the whole depends on it.
    pub required: bool,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Health {
    /// The answer that these checks make together.
    pub fn of(checks: Vec<Check>) -> Self {
        Self { ok: checks.iter().all(|check| check.ok || !check.required), checks }
    }
}

/// The routes `/metrics`, `/healthz` and `/readyz`.
pub fn status_router(status: Arc<dyn Status>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|State(status)| health(status, |status| status.health())))
        .route("/readyz", get(|State(status)| health(status, |status| status.readiness())))
        .fallback(async || Problem::not_found("there is nothing here"))
        .layer(from_fn(time_limit))
        .with_state(status)
}

async fn metrics(State(status): State<Arc<dyn Status>>) -> Result<Response, Problem> {
    let text = tokio::task::spawn_blocking(move || status.metrics()).await.map_err(|_panicked| Problem::internal())?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// 200 or 503, with the checks as JSON.
async fn health(status: Arc<dyn Status>, ask: fn(&dyn Status) -> Health) -> Result<Response, Problem> {
    let health = tokio::task::spawn_blocking(move || ask(&*status)).await.map_err(|_panicked| Problem::internal())?;
    let code = if health.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((code, Json(health)).into_response())
}
