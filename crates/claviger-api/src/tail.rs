//! Following the log as it is written: server-sent events, one leaf each (HTML standard, section 9.2).

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::extract::Segments;
use crate::routes::{App, session_id};
use crate::{Act, Backend, Caller, Followed, Leaves, Problem};

/// How often a reader is asked after: one whose token is revoked stops reading within this time.
const RECHECK: Duration = Duration::from_secs(1);

/// Leaves that may wait for a slow reader.
const BACKLOG: usize = 64;

/// Follows the leaves of one session.
#[utoipa::path(get, path = "/v1/sessions/{id}/tail", tag = "sessions",
    params(("id" = String, Path, description = "the session's id")),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub(crate) async fn session(State(app): State<App>, caller: Caller, Segments(id): Segments<String>) -> Result<Response, Problem> {
    follow(app, caller, (Act::TailSessions, id.clone()), Followed::Session(session_id(&id)?)).await
}

/// Follows the whole log.
#[utoipa::path(get, path = "/v1/tail", tag = "sessions",
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub(crate) async fn all(State(app): State<App>, caller: Caller) -> Result<Response, Problem> {
    follow(app, caller, (Act::TailSessions, "*".to_owned()), Followed::All).await
}

/// Follows what becomes of requests for approval.
#[utoipa::path(get, path = "/v1/approvals/tail", tag = "approvals",
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub(crate) async fn approvals(State(app): State<App>, caller: Caller) -> Result<Response, Problem> {
    follow(app, caller, (Act::ListApprovals, "*".to_owned()), Followed::Approvals).await
}

async fn follow(app: App, caller: Caller, (act, target): (Act, String), of: Followed) -> Result<Response, Problem> {
    let asking = caller.clone();
    let admitted = move |backend: &dyn Backend| {
        backend.admit(&asking, act, &target)?;
        backend.tail(of)
    };
    let leaves = app.call(admitted).await?;
    let (sender, receiver) = mpsc::channel(BACKLOG);
    tokio::spawn(forward(app.0, caller, leaves, sender));
    Ok(Sse::new(Tail(receiver)).keep_alive(KeepAlive::default()).into_response())
}

/// Hands leaves on for as long as the reader listens and is who it proved to be.
async fn forward(backend: Arc<dyn Backend>, caller: Caller, mut leaves: Leaves, reader: mpsc::Sender<Arc<str>>) {
    let mut recheck = tokio::time::interval(RECHECK);
    recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let leaf = tokio::select! {
            biased;
            () = reader.closed() => return,
            _ = recheck.tick() => {
                let (backend, caller) = (backend.clone(), caller.clone());
                match tokio::task::spawn_blocking(move || backend.stands(&caller)).await {
                    Ok(true) => continue,
                    _ => return,
                }
            }
            leaf = leaves.recv() => leaf,
        };
        let Some(leaf) = leaf else { return };
        // A reader that takes nothing for this long is gone, or would outlive its token here.
        match tokio::time::timeout(RECHECK, reader.send(leaf)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}

/// Leaves as events; the event's name is `leaf`.
struct Tail(mpsc::Receiver<Arc<str>>);

impl Stream for Tail {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|leaf| leaf.map(|leaf| Ok(Event::default().event("leaf").data(leaf.trim_end()))))
    }
}
