//! The local issuer as others meet it: its metadata (RFC 8414), and its token endpoint, which exchanges tokens (RFC 8693).

use axum::Json;
use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, Form, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use claviger_model::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::extract::Peer;
use crate::routes::{Answer, App};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// Tokens to be exchanged, as RFC 8693 section 2.1 has them.
pub struct TokenExchange {
    /// Whom the new token is to be about.
    pub subject_token: Secret,
    /// Who is to act for that subject.
    pub actor_token: Option<Secret>,
    /// Where the new token is to be used: audiences and resources.
    pub targets: Vec<String>,
    /// What it is to be good for.
    pub scope: Option<String>,
    issued_type: &'static str,
}

/// The new token. Has no `Debug`, for it is a secret.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct ExchangedToken {
    /// The token.
    pub access_token: String,
    /// Its type, by RFC 8693 section 3.
    #[serde(default)]
    pub issued_token_type: String,
    /// `Bearer`.
    pub token_type: String,
    /// For how many seconds it lasts.
    pub expires_in: u64,
    /// What it is good for, if not for everything that its principals are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// Why there is no token (RFC 6749 section 5.2, RFC 8693 section 2.2.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OauthError {
    /// The code.
    pub error: String,
    /// One plain sentence. Other servers may say none (RFC 6749 section 5.2).
    #[serde(default)]
    pub error_description: String,
    #[serde(skip)]
    status: u16,
}

impl OauthError {
    /// Something is wrong with the request, or with the tokens in it.
    pub fn invalid(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    /// The token is wanted for somewhere else.
    pub fn target() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_target", "tokens are issued for this gateway only")
    }

    /// The scope cannot be given.
    pub fn scope(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_scope", description)
    }

    /// It cannot be done at the moment.
    pub fn unavailable(description: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description)
    }

    fn new(status: StatusCode, error: &str, description: impl Into<String>) -> Self {
        Self { error: error.to_owned(), error_description: description.into(), status: status.as_u16() }
    }
}

impl IntoResponse for OauthError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CACHE_CONTROL, "no-store")], Json(self)).into_response()
    }
}

/// The local issuer's metadata, as far as verifying its tokens and asking for them needs it (RFC 8414; OpenID Connect Discovery).
#[utoipa::path(get, path = "/.well-known/openid-configuration", responses((status = 200, body = serde_json::Value)))]
pub(crate) async fn metadata(State(app): State<App>) -> Answer<serde_json::Value> {
    let (issuer, jwks) = app.call(|backend| Ok((backend.issuer(), backend.jwks()?))).await?;
    let keys = jwks.get("keys").and_then(|keys| keys.as_array()).into_iter().flatten();
    let mut algorithms: Vec<&str> = keys.filter_map(|key| key.get("alg")?.as_str()).collect();
    algorithms.dedup();
    let base = issuer.trim_end_matches('/');
    Ok(Json(serde_json::json!({
        "issuer": issuer,
        "jwks_uri": format!("{base}/.well-known/jwks.json"),
        "token_endpoint": format!("{base}/oauth/token"),
        "token_endpoint_auth_methods_supported": ["none"],
        "grant_types_supported": [EXCHANGE],
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
    })))
}

/// Exchanges a token for a short one of the local issuer, which says nothing that it does not (RFC 8693).
#[utoipa::path(post, path = "/oauth/token", tag = "tokens",
    request_body(content_type = "application/x-www-form-urlencoded", content = Object,
        description = "`grant_type`, `subject_token`, `subject_token_type`, and optionally `actor_token`, `actor_token_type`, \
            `audience`, `resource`, `scope`, `requested_token_type` (RFC 8693 section 2.1)"),
    responses((status = 200, body = ExchangedToken), (status = 400, body = OauthError)))]
pub(crate) async fn token(
    State(app): State<App>,
    Extension(Peer(address)): Extension<Peer>,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Result<Response, OauthError> {
    let Form(form) = form.map_err(|_| OauthError::invalid("the body must be `application/x-www-form-urlencoded`"))?;
    let exchange = TokenExchange::from_form(form)?;
    let exchanged = app.0.exchange(exchange, address).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(exchanged)).into_response())
}

impl TokenExchange {
    /// The type that the new token is asked to have.
    pub fn issued_type(&self) -> &'static str {
        self.issued_type
    }

    fn from_form(form: Vec<(String, String)>) -> Result<Self, OauthError> {
        let mut form = Fields(form);
        match form.one("grant_type")?.as_deref() {
            Some(EXCHANGE) => {}
            None => return Err(OauthError::invalid("`grant_type` is missing")),
            Some(_) => {
                let only = format!("the only `grant_type` is `{EXCHANGE}`");
                return Err(OauthError::new(StatusCode::BAD_REQUEST, "unsupported_grant_type", only));
            }
        }
        let subject_token = form.token("subject_token")?.ok_or_else(|| OauthError::invalid("`subject_token` is missing"))?;
        let actor_token = form.token("actor_token")?;
        let issued_type = match form.one("requested_token_type")?.as_deref() {
            None | Some(ACCESS_TOKEN) => ACCESS_TOKEN,
            Some(JWT) => JWT,
            Some(_) => return Err(OauthError::invalid("`requested_token_type` must be an access token or a JWT")),
        };
        let scope = form.one("scope")?;
        let targets = [form.all("audience"), form.all("resource")].concat();
        Ok(Self { subject_token, actor_token, targets, scope, issued_type })
    }
}

/// The form's parameters. One without a value is one that is not there (RFC 6749 section 3.2).
struct Fields(Vec<(String, String)>);

impl Fields {
    /// A parameter that must not be repeated.
    fn one(&mut self, name: &str) -> Result<Option<String>, OauthError> {
        let mut values = self.all(name).into_iter();
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(OauthError::invalid(format!("`{name}` is repeated"))),
        }
    }

    fn all(&mut self, name: &str) -> Vec<String> {
        let (named, rest) = std::mem::take(&mut self.0).into_iter().partition(|(given, _)| given == name);
        self.0 = rest;
        let named: Vec<(String, String)> = named;
        named.into_iter().map(|(_, value)| value).filter(|value| !value.is_empty()).collect()
    }

    /// A token, and its type, which must be that of a JWT.
    fn token(&mut self, name: &str) -> Result<Option<Secret>, OauthError> {
        let (token, kind) = (self.one(name)?.map(Secret::new), self.one(&format!("{name}_type"))?);
        match (&token, kind.as_deref()) {
            (None, None) | (Some(_), Some(ACCESS_TOKEN | JWT | ID_TOKEN)) => Ok(token),
            (None, Some(_)) => Err(OauthError::invalid(format!("`{name}_type` stands without `{name}`"))),
            (Some(_), None) => Err(OauthError::invalid(format!("`{name}_type` is missing"))),
            (Some(_), Some(_)) => {
                Err(OauthError::invalid(format!("`{name}_type` must be an access token, an ID token or a JWT")))
            }
        }
    }
}
