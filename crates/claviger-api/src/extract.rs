//! What handlers take, with every rejection a [`Problem`].

use std::net::IpAddr;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use claviger_model::Secret;
use serde::de::DeserializeOwned;

use crate::routes::App;
use crate::{Caller, Problem};

/// The longest bearer token taken, in bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// The client's address, as the listener saw it.
#[derive(Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

/// The segments of the path.
pub(crate) struct Segments<T>(pub(crate) T);

/// The query's parameters.
pub(crate) struct Params<T>(pub(crate) T);

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let token = bearer(parts).ok_or_else(|| {
            Problem::unauthenticated("token.missing", "a bearer token is needed, in the header `Authorization: Bearer TOKEN`")
        })?;
        // A request that came by no socket is nobody's.
        let Peer(address) = *parts.extensions.get::<Peer>().ok_or_else(Problem::internal)?;
        Ok(Self { identity: app.0.authenticate(&token).await?, address })
    }
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750, section 2.1). The scheme's case does not count (RFC 9110, 11.1).
fn bearer(parts: &Parts) -> Option<Secret> {
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= MAX_TOKEN).then(|| Secret::new(token))
}

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        axum::Json::from_request(request, app).await.map(|axum::Json(body)| Self(body)).map_err(|rejection: JsonRejection| {
            match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "request.too_large", "the body is too large")
                }
                StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "request.media_type", "the body must be `application/json`")
                }
                _ => Problem::invalid(rejection.body_text()),
            }
        })
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, app).await;
        path.map(|Path(segments)| Self(segments)).map_err(|rejection: PathRejection| Problem::invalid(rejection.body_text()))
    }
}

impl<T: DeserializeOwned> FromRequestParts<App> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, app).await;
        query.map(|Query(params)| Self(params)).map_err(|rejection: QueryRejection| Problem::invalid(rejection.body_text()))
    }
}
