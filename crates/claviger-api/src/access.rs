//! The routes for access that is given for a time.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use claviger_model::ApprovalId;

use crate::extract::{Body, Params, Segments};
use crate::routes::{Answer, App};
use crate::wire::{Access, AccessQuery, IssuedToken, NewAccess, Review, RevokeQuery};
use crate::{Act, Caller, Problem};

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/access", get(list_access).post(request_access))
        .route("/v1/access/{id}", get(show_access).delete(revoke_access))
        .route("/v1/access/{id}/review", post(review_access))
        .route("/v1/access/{id}/token", post(access_token))
}

/// Lists grants and requests for them, oldest first: all for who may list them, else the caller's own.
#[utoipa::path(get, path = "/v1/access", tag = "access", params(AccessQuery), responses((status = 200, body = [Access])))]
async fn list_access(State(app): State<App>, caller: Caller, Params(query): Params<AccessQuery>) -> Answer<Vec<Access>> {
    app.act(caller, Act::ListAccess, "*", move |gateway| gateway.grants(query)).await.map(Json)
}

/// Asks for access for a time. It is in force at once if policy wants nobody's approval, else when all have approved who must.
#[utoipa::path(post, path = "/v1/access", tag = "access", request_body = NewAccess, responses((status = 201, body = Access)))]
async fn request_access(
    State(app): State<App>,
    caller: Caller,
    Body(new): Body<NewAccess>,
) -> Result<(StatusCode, Json<Access>), Problem> {
    let asked = app.act(caller, Act::RequestAccess, new.connection.clone(), move |gateway| gateway.request_access(&new)).await?;
    Ok((StatusCode::CREATED, Json(asked)))
}

/// Shows a grant, or the request for it.
#[utoipa::path(get, path = "/v1/access/{id}", tag = "access", params(("id" = String, Path, description = "the grant's id")),
    responses((status = 200, body = Access)))]
async fn show_access(State(app): State<App>, caller: Caller, Segments(id): Segments<String>) -> Answer<Access> {
    app.act(caller, Act::ListAccess, id.clone(), move |gateway| gateway.grant(grant_id(&id)?)).await.map(Json)
}

/// Decides a request, takes back what was given, or reviews what was taken in an emergency.
#[utoipa::path(post, path = "/v1/access/{id}/review", tag = "access",
    params(("id" = String, Path, description = "the grant's id")), request_body = Review, responses((status = 200, body = Access)))]
async fn review_access(
    State(app): State<App>,
    caller: Caller,
    Segments(id): Segments<String>,
    Body(review): Body<Review>,
) -> Answer<Access> {
    app.act(caller, Act::ReviewAccess, id.clone(), move |gateway| gateway.review_grant(grant_id(&id)?, &review)).await.map(Json)
}

/// Ends a grant, or withdraws the request for it: one's own, or anybody's for who may do that.
#[utoipa::path(delete, path = "/v1/access/{id}", tag = "access",
    params(("id" = String, Path, description = "the grant's id"), RevokeQuery), responses((status = 200, body = Access)))]
async fn revoke_access(
    State(app): State<App>,
    caller: Caller,
    Segments(id): Segments<String>,
    Params(query): Params<RevokeQuery>,
) -> Answer<Access> {
    let target = id.clone();
    app.act(caller, Act::RevokeAccess, target, move |gateway| gateway.revoke_grant(grant_id(&id)?, &query)).await.map(Json)
}

/// Makes a token that is good for one's own grant alone, and ends with it. This is the one time it is shown.
#[utoipa::path(post, path = "/v1/access/{id}/token", tag = "access", params(("id" = String, Path, description = "the grant's id")),
    responses((status = 201, body = IssuedToken)))]
async fn access_token(State(app): State<App>, caller: Caller, Segments(id): Segments<String>) -> Result<Response, Problem> {
    let target = id.clone();
    let issued = app.act(caller, Act::MintAccessToken, target, move |gateway| gateway.grant_token(grant_id(&id)?)).await?;
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(issued)).into_response())
}

/// A grant's id in a path.
fn grant_id(text: &str) -> Result<ApprovalId, Problem> {
    text.parse().map_err(|_| Problem::not_found("there is no such grant"))
}
