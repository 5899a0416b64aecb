//! The routes. Each handler says which act it is and on what; [`App::act`] does the rest.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use axum::{Json, Router};
use claviger_model::{ApprovalId, SessionId};

use crate::extract::{Body, Params, Segments};
use crate::wire::{
    Approval, ApprovalQuery, Connection, Coverage, Delegation, IssuedToken, KillQuery, LoginProvider, NewPrincipal, NewToken,
    Principal, PrincipalPatch, RecordingEntry, Review, RotatedKey, Session, SessionQuery, Token, Usage,
};
use crate::{Act, Backend, Caller, Management, Problem, access, oauth, openapi, tail};

/// The longest request body, in bytes.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// How long a request may take until its response begins.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What handlers share.
#[derive(Clone)]
pub(crate) struct App(pub(crate) Arc<dyn Backend>);

pub(crate) type Answer<T> = Result<Json<T>, Problem>;
type Done = Result<StatusCode, Problem>;

/// What a listener serves.
pub type Routes = Router;

/// All routes.
pub fn router(backend: Arc<dyn Backend>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/openapi.json", get(description))
        .route("/.well-known/jwks.json", get(jwks))
        .route("/.well-known/openid-configuration", get(oauth::metadata))
        .route("/.well-known/claviger-login", get(logins))
        .route("/.well-known/oauth-authorization-server", get(oauth::metadata))
        .route("/oauth/token", post(oauth::token))
        .route("/v1/sessions", get(list_sessions))
        .route("/v1/sessions/{id}", get(show_session).delete(kill_session))
        .route("/v1/sessions/{id}/recording", get(read_recording))
        .route("/v1/sessions/{id}/tail", get(tail::session))
        .route("/v1/tail", get(tail::all))
        .route("/v1/principals", get(list_principals).post(add_principal))
        .route("/v1/principals/{subject}", patch(update_principal))
        .route("/v1/principals/{subject}/tokens", delete(revoke_tokens))
        .route("/v1/delegations/{actor}/{subject}", put(add_delegation).delete(remove_delegation))
        .route("/v1/tokens", get(list_tokens).post(issue_token))
        .route("/v1/tokens/{id}", delete(revoke_token))
        .route("/v1/usage", get(list_usage))
        .route("/v1/keys/rotate", post(rotate_key))
        .route("/v1/approvals", get(list_approvals))
        .route("/v1/approvals/tail", get(tail::approvals))
        .route("/v1/approvals/{id}", get(show_approval))
        .route("/v1/approvals/{id}/count", post(count_rows))
        .route("/v1/approvals/{id}/review", post(review_approval))
        .merge(access::routes())
        .route("/v1/connections", get(list_connections))
        .route("/v1/connections/{name}/coverage", get(coverage))
        .route("/v1/audit/checkpoint", get(checkpoint))
        .route("/v1/audit/key", get(audit_key))
        .fallback(async || Problem::not_found("there is nothing here"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method.not_allowed", "this method is not for this resource")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(time_limit))
        .with_state(App(backend))
}

impl App {
    /// Calls the backend where blocking is allowed.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Backend) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let backend = self.0.clone();
        tokio::task::spawn_blocking(move || work(&*backend)).await.unwrap_or_else(|_panicked| Err(Problem::internal()))
    }

    /// The one road to every act: asked of policy, recorded, then done.
    pub(crate) async fn act<T: Send + 'static>(
        &self,
        caller: Caller,
        act: Act,
        target: impl Into<String>,
        work: impl FnOnce(&dyn Management) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let target = target.into();
        self.call(move |backend| work(&*backend.admit(&caller, act, &target)?)).await
    }
}

/// An answer in time, whatever it says.
pub(crate) async fn time_limit(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "request.timeout", "the request took too long").into_response()
        }
    }
}

/// A session's id in a path; anything else names no session.
pub(crate) fn session_id(text: &str) -> Result<SessionId, Problem> {
    text.parse().map_err(|_| Problem::not_found("there is no such session"))
}

/// A request's id in a path.
fn approval_id(text: &str) -> Result<ApprovalId, Problem> {
    text.parse().map_err(|_| Problem::not_found("there is no such request for approval"))
}

/// Whether the gateway can do its work.
#[utoipa::path(get, path = "/healthz", responses((status = 200, content_type = "text/plain", body = str)))]
async fn healthz(State(app): State<App>) -> Result<&'static str, Problem> {
    if app.call(|backend| Ok(backend.healthy())).await? { Ok("ok\n") } else { Err(Problem::audit_unavailable()) }
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, body = serde_json::Value)))]
async fn description() -> Json<utoipa::openapi::OpenApi> {
    Json(openapi())
}

/// The local issuer's public keys (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", responses((status = 200, body = serde_json::Value)))]
async fn jwks(State(app): State<App>) -> Answer<serde_json::Value> {
    app.call(|backend| backend.jwks()).await.map(Json)
}

/// Where people log in, for `claviger login`.
#[utoipa::path(get, path = "/.well-known/claviger-login", responses((status = 200, body = [LoginProvider])))]
async fn logins(State(app): State<App>) -> Json<Vec<LoginProvider>> {
    Json(app.0.logins())
}

/// Lists sessions, newest first.
#[utoipa::path(get, path = "/v1/sessions", tag = "sessions", params(SessionQuery), responses((status = 200, body = [Session])))]
async fn list_sessions(State(app): State<App>, caller: Caller, Params(query): Params<SessionQuery>) -> Answer<Vec<Session>> {
    app.act(caller, Act::ListSessions, "*", move |gateway| gateway.sessions(&query)).await.map(Json)
}

/// Shows one session.
#[utoipa::path(get, path = "/v1/sessions/{id}", tag = "sessions", params(("id" = String, Path, description = "the session's id")),
    responses((status = 200, body = Session)))]
async fn show_session(State(app): State<App>, caller: Caller, Segments(id): Segments<String>) -> Answer<Session> {
    app.act(caller, Act::ListSessions, id.clone(), move |gateway| gateway.session(session_id(&id)?)).await.map(Json)
}

/// Ends a running session.
#[utoipa::path(delete, path = "/v1/sessions/{id}", tag = "sessions",
    params(("id" = String, Path, description = "the session's id"), KillQuery), responses((status = 204)))]
async fn kill_session(
    State(app): State<App>,
    caller: Caller,
    Segments(id): Segments<String>,
    Params(query): Params<KillQuery>,
) -> Done {
    let target = id.clone();
    app.act(caller, Act::KillSession, target, move |gateway| gateway.kill_session(session_id(&id)?, &query)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads what was said in a session. The reading is itself recorded.
#[utoipa::path(get, path = "/v1/sessions/{id}/recording", tag = "sessions",
    params(("id" = String, Path, description = "the session's id")), responses((status = 200, body = [RecordingEntry])))]
async fn read_recording(State(app): State<App>, caller: Caller, Segments(id): Segments<String>) -> Answer<Vec<RecordingEntry>> {
    app.act(caller, Act::ReadSession, id.clone(), move |gateway| gateway.recording(session_id(&id)?)).await.map(Json)
}

/// Lists requests for approval, oldest first.
#[utoipa::path(get, path = "/v1/approvals", tag = "approvals", params(ApprovalQuery), responses((status = 200, body = [Approval])))]
async fn list_approvals(State(app): State<App>, caller: Caller, Params(query): Params<ApprovalQuery>) -> Answer<Vec<Approval>> {
    app.act(caller, Act::ListApprovals, "*", move |gateway| gateway.approvals(query)).await.map(Json)
}

/// Shows one request for approval. That it was looked at is recorded.
#[utoipa::path(get, path = "/v1/approvals/{id}", tag = "approvals",
    params(("id" = String, Path, description = "the request's id")), responses((status = 200, body = Approval)))]
async fn show_approval(State(app): State<App>, caller: Caller, Segments(id): Segments<String>) -> Answer<Approval> {
    app.act(caller, Act::ShowApproval, id.clone(), move |gateway| gateway.approval(approval_id(&id)?)).await.map(Json)
}

/// Counts the rows that a request for approval is about, for whoever may decide it. The counting is itself recorded.
#[utoipa::path(post, path = "/v1/approvals/{id}/count", tag = "approvals",
    params(("id" = String, Path, description = "the request's id")), responses((status = 200, body = Approval)))]
async fn count_rows(State(app): State<App>, caller: Caller, Segments(id): Segments<String>) -> Answer<Approval> {
    app.act(caller, Act::DecideApproval, id.clone(), move |gateway| gateway.count_rows(approval_id(&id)?)).await.map(Json)
}

/// Decides a request for approval.
#[utoipa::path(post, path = "/v1/approvals/{id}/review", tag = "approvals",
    params(("id" = String, Path, description = "the request's id")), request_body = Review,
    responses((status = 200, body = Approval)))]
async fn review_approval(
    State(app): State<App>,
    caller: Caller,
    Segments(id): Segments<String>,
    Body(review): Body<Review>,
) -> Answer<Approval> {
    app.act(caller, Act::DecideApproval, id.clone(), move |gateway| gateway.review(approval_id(&id)?, &review)).await.map(Json)
}

/// Lists the registered principals.
#[utoipa::path(get, path = "/v1/principals", tag = "principals", responses((status = 200, body = [Principal])))]
async fn list_principals(State(app): State<App>, caller: Caller) -> Answer<Vec<Principal>> {
    app.act(caller, Act::ListPrincipals, "*", |gateway| gateway.principals()).await.map(Json)
}

/// Registers a principal.
#[utoipa::path(post, path = "/v1/principals", tag = "principals", request_body = NewPrincipal,
    responses((status = 201, body = Principal)))]
async fn add_principal(
    State(app): State<App>,
    caller: Caller,
    Body(new): Body<NewPrincipal>,
) -> Result<(StatusCode, Json<Principal>), Problem> {
    let added = app.act(caller, Act::AddPrincipal, new.subject.clone(), move |gateway| gateway.add_principal(&new)).await?;
    Ok((StatusCode::CREATED, Json(added)))
}

/// Changes a principal. Disabling it ends its sessions, and those of everybody who acts for it or answers to it.
#[utoipa::path(patch, path = "/v1/principals/{subject}", tag = "principals",
    params(("subject" = String, Path, description = "`subject`, or `subject@issuer`")), request_body = PrincipalPatch,
    responses((status = 200, body = Principal)))]
async fn update_principal(
    State(app): State<App>,
    caller: Caller,
    Segments(subject): Segments<String>,
    Body(patch): Body<PrincipalPatch>,
) -> Answer<Principal> {
    let update = move |backend: &dyn Backend| {
        let admitted: Result<Vec<_>, _> = patch.acts().into_iter().map(|act| backend.admit(&caller, act, &subject)).collect();
        let admitted = admitted?.pop().ok_or_else(Problem::internal)?;
        admitted.update_principal(&subject, &patch)
    };
    app.call(update).await.map(Json)
}

/// Revokes every token of a principal issued so far, and ends its sessions.
#[utoipa::path(delete, path = "/v1/principals/{subject}/tokens", tag = "tokens",
    params(("subject" = String, Path, description = "`subject`, or `subject@issuer`")), responses((status = 204)))]
async fn revoke_tokens(State(app): State<App>, caller: Caller, Segments(subject): Segments<String>) -> Done {
    app.act(caller, Act::RevokeTokens, subject.clone(), move |gateway| gateway.revoke_tokens(&subject)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets one principal act for another.
#[utoipa::path(put, path = "/v1/delegations/{actor}/{subject}", tag = "principals",
    params(("actor" = String, Path, description = "who acts"), ("subject" = String, Path, description = "for whom")),
    responses((status = 204)))]
async fn add_delegation(State(app): State<App>, caller: Caller, Segments(delegation): Segments<Delegation>) -> Done {
    let target = delegation.to_string();
    app.act(caller, Act::AddDelegation, target, move |gateway| gateway.add_delegation(&delegation)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends one principal's acting for another, and the sessions in which it does.
#[utoipa::path(delete, path = "/v1/delegations/{actor}/{subject}", tag = "principals",
    params(("actor" = String, Path, description = "who acts"), ("subject" = String, Path, description = "for whom")),
    responses((status = 204)))]
async fn remove_delegation(State(app): State<App>, caller: Caller, Segments(delegation): Segments<Delegation>) -> Done {
    let target = delegation.to_string();
    app.act(caller, Act::RemoveDelegation, target, move |gateway| gateway.remove_delegation(&delegation)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the local issuer's tokens that have not expired.
#[utoipa::path(get, path = "/v1/tokens", tag = "tokens", responses((status = 200, body = [Token])))]
async fn list_tokens(State(app): State<App>, caller: Caller) -> Answer<Vec<Token>> {
    app.act(caller, Act::ListTokens, "*", |gateway| gateway.tokens()).await.map(Json)
}

/// Issues a token. This is the one time it is shown.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", request_body = NewToken, responses((status = 201, body = IssuedToken)))]
async fn issue_token(State(app): State<App>, caller: Caller, Body(new): Body<NewToken>) -> Result<Response, Problem> {
    let issued = app.act(caller, Act::IssueToken, new.to_string(), move |gateway| gateway.issue_token(&new)).await?;
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(issued)).into_response())
}

/// Revokes a token, and ends the sessions that it opened.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "tokens",
    params(("id" = String, Path, description = "the token's id (`jti`)")), responses((status = 204)))]
async fn revoke_token(State(app): State<App>, caller: Caller, Segments(id): Segments<String>) -> Done {
    app.act(caller, Act::RevokeToken, id.clone(), move |gateway| gateway.revoke_token(&id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replaces the local issuer's signing key. Tokens that the old key signed stay good until they end.
#[utoipa::path(post, path = "/v1/keys/rotate", tag = "tokens", responses((status = 200, body = RotatedKey)))]
async fn rotate_key(State(app): State<App>, caller: Caller) -> Answer<RotatedKey> {
    let key = app.act(caller, Act::RotateKey, "*", |gateway| gateway.rotate_key()).await?;
    Ok(Json(RotatedKey { key }))
}

/// Lists who has used how much since the gateway was started.
#[utoipa::path(get, path = "/v1/usage", tag = "usage", responses((status = 200, body = [Usage])))]
async fn list_usage(State(app): State<App>, caller: Caller) -> Answer<Vec<Usage>> {
    app.act(caller, Act::ListUsage, "*", |gateway| gateway.usage()).await.map(Json)
}

/// Lists the registered connections, and where clients reach them: all for who may list them, else those that the caller may open.
#[utoipa::path(get, path = "/v1/connections", tag = "connections", responses((status = 200, body = [Connection])))]
async fn list_connections(State(app): State<App>, caller: Caller) -> Answer<Vec<Connection>> {
    app.act(caller, Act::ListConnections, "*", |gateway| gateway.connections()).await.map(Json)
}

/// Looks who is on a connection's upstream and did not come through the gateway. The looking is itself recorded.
#[utoipa::path(get, path = "/v1/connections/{name}/coverage", tag = "connections",
    params(("name" = String, Path, description = "the connection's name")), responses((status = 200, body = Coverage)))]
async fn coverage(State(app): State<App>, caller: Caller, Segments(name): Segments<String>) -> Answer<Coverage> {
    app.act(caller, Act::CheckCoverage, name.clone(), move |gateway| gateway.coverage(&name)).await.map(Json)
}

/// The log's last checkpoint, a signed note (C2SP).
#[utoipa::path(get, path = "/v1/audit/checkpoint", tag = "audit",
    responses((status = 200, content_type = "text/plain", body = String)))]
async fn checkpoint(State(app): State<App>, caller: Caller) -> Result<String, Problem> {
    app.act(caller, Act::ReadAudit, "checkpoint", |gateway| gateway.checkpoint()).await
}

/// The key that verifies checkpoints (C2SP `vkey`).
#[utoipa::path(get, path = "/v1/audit/key", tag = "audit", responses((status = 200, content_type = "text/plain", body = String)))]
async fn audit_key(State(app): State<App>, caller: Caller) -> Result<String, Problem> {
    app.act(caller, Act::ReadAudit, "key", |gateway| gateway.audit_key()).await
}
