//! The admin API: REST over TLS, described by OpenAPI, every error a problem (RFC 9457).
//!
//! This crate knows HTTP and nothing else of the gateway. What it serves comes through one port, [`Backend`], which the binary
//! implements over the store, the issuers, the policy and the running sessions. What is to be done is asked of [`Management`],
//! which the command line speaks too, from afar or on the gateway's own machine.
//!
//! Every route under `/v1` takes the same road: a bearer token names the caller, policy is asked whether the caller may do
//! this [`Act`], the act (or its denial) is recorded, and only then is it done. No handler reaches the backend by another way.
//!
//! Beside them stands the local issuer's token endpoint (RFC 6749, RFC 8693), whose callers bring their tokens in the request.

mod access;
mod act;
mod backend;
mod extract;
mod oauth;
mod openapi;
mod patient;
mod problem;
mod routes;
mod server;
mod status;
mod tail;
pub mod wire;

#[cfg(test)]
mod tests;

pub use act::Act;
pub use backend::{Asked, Backend, Caller, Followed, Leaves, Management};
pub use oauth::{ExchangedToken, OauthError, TokenExchange};
pub use openapi::openapi;
pub use problem::Problem;
pub use routes::{Routes, router};
pub use server::{Certificate, serve};
pub use status::{Check, Health, Status, status_router};
