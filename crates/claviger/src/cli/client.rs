//! The API's client: [`Management`] from afar.

use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::time::Duration;

use claviger_api::wire::{
    Access, AccessQuery, Approval, ApprovalQuery, Connection, Coverage, Delegation, IssuedToken, KillQuery, NewAccess,
    NewPrincipal, NewToken, Principal, PrincipalPatch, RecordingEntry, Review, RevokeQuery, RotatedKey, Session, SessionQuery,
    Token, Usage,
};
use claviger_api::{Followed, Management, Problem};
use claviger_model::{ApprovalId, Secret, SessionId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::Failure;

/// The longest answer that is read, in bytes. A followed log has no end, and no limit.
const MAX_ANSWER: u64 = 64 << 20;

/// A gateway's API.
pub(crate) struct Client {
    agent: Agent,
    url: String,
    token: Secret,
}

impl Client {
    /// A client of the API at `url`, which trusts these certificates (PEM), or the usual authorities.
    pub(crate) fn new(url: &str, ca: Option<&[u8]>, token: Secret) -> Result<Self, Failure> {
        if !url.starts_with("https://") {
            return Err(Failure::Usage(format!("`{url}` is not an https:// address; the token is not sent without TLS")));
        }
        let roots = ca.map_or(Ok(RootCerts::WebPki), |pem| {
            let certificates: Vec<_> = parse_pem(pem)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            if certificates.is_empty() {
                return Err(Failure::Usage("the file of trusted certificates holds none".to_owned()));
            }
            Ok(RootCerts::Specific(Arc::new(certificates)))
        })?;
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .https_only(true)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(Duration::from_secs(40)))
            .user_agent(concat!("claviger/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: config.into(), url: url.trim_end_matches('/').to_owned(), token })
    }

    /// Follows the log, leaf by leaf, until the gateway ends it.
    pub(super) fn tail(&self, of: Followed, mut leaf: impl FnMut(&str) -> Result<(), Failure>) -> Result<(), Failure> {
        let path = match of {
            Followed::All => "/v1/tail".to_owned(),
            Followed::Session(id) => format!("/v1/sessions/{id}/tail"),
            Followed::Approvals => "/v1/approvals/tail".to_owned(),
        };
        let response = self.send::<()>(Method::GET, &path, None)?;
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            if let Some(data) = line?.strip_prefix("data:") {
                leaf(data.trim_start())?;
            }
        }
        Ok(())
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        answer(self.send::<()>(Method::GET, path, None)?)
    }

    fn text(&self, path: &str) -> Result<String, Problem> {
        let response = self.send::<()>(Method::GET, path, None)?;
        response.into_body().with_config().limit(MAX_ANSWER).read_to_string().map_err(|error| unreachable(&error))
    }

    fn done(&self, method: Method, path: &str) -> Result<(), Problem> {
        self.send::<()>(method, path, None).map(drop)
    }

    /// Sends a request; an answer that is not a success becomes the problem that it tells of.
    fn send<B: Serialize>(&self, method: Method, path: &str, body: Option<&B>) -> Result<Response<Body>, Problem> {
        let bearer = format!("Bearer {}", self.token.expose_str().unwrap_or_default());
        let request = Request::builder().method(method).uri(format!("{}{path}", self.url)).header("authorization", bearer);
        let response = match body {
            Some(body) => {
                let json = serde_json::to_vec(body).map_err(|error| Problem::invalid(error.to_string()))?;
                let request = request.header("content-type", "application/json").body(json);
                self.agent.run(request.map_err(|error| Problem::invalid(error.to_string()))?)
            }
            None => self.agent.run(request.body(()).map_err(|error| Problem::invalid(error.to_string()))?),
        };
        let response = response.map_err(|error| unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let problem = response.into_body().with_config().limit(MAX_ANSWER).read_json::<Problem>();
        Err(problem.unwrap_or_else(|_| Problem::new(status, "unknown", format!("the gateway answered {status}"))))
    }
}

fn answer<T: DeserializeOwned>(response: Response<Body>) -> Result<T, Problem> {
    response.into_body().with_config().limit(MAX_ANSWER).read_json().map_err(|error| unreachable(&error))
}

fn unreachable(error: &ureq::Error) -> Problem {
    Problem::new(StatusCode::BAD_GATEWAY, "gateway.unreachable", format!("the gateway's API cannot be reached: {error}"))
}

/// One segment of a path (RFC 3986, section 3.3): all but the unreserved characters are encoded.
fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn query(query: &SessionQuery) -> String {
    let pairs = [
        ("live", query.live.map(|live| live.to_string())),
        ("who", query.who.clone()),
        ("connection", query.connection.clone()),
        ("limit", query.limit.map(|limit| limit.to_string())),
    ];
    let given = pairs.into_iter().filter_map(|(key, value)| value.map(|value| format!("{key}={}", segment(&value))));
    given.collect::<Vec<_>>().join("&")
}

impl Management for Client {
    fn sessions(&self, filter: &SessionQuery) -> Result<Vec<Session>, Problem> {
        self.get(&format!("/v1/sessions?{}", query(filter)))
    }

    fn session(&self, id: SessionId) -> Result<Session, Problem> {
        self.get(&format!("/v1/sessions/{id}"))
    }

    fn recording(&self, id: SessionId) -> Result<Vec<RecordingEntry>, Problem> {
        self.get(&format!("/v1/sessions/{id}/recording"))
    }

    fn kill_session(&self, id: SessionId, how: &KillQuery) -> Result<(), Problem> {
        let reason = how.reason.as_deref().map(|reason| format!("&reason={}", segment(reason))).unwrap_or_default();
        self.done(Method::DELETE, &format!("/v1/sessions/{id}?drain={}{reason}", how.drain))
    }

    fn principals(&self) -> Result<Vec<Principal>, Problem> {
        self.get("/v1/principals")
    }

    fn add_principal(&self, new: &NewPrincipal) -> Result<Principal, Problem> {
        answer(self.send(Method::POST, "/v1/principals", Some(new))?)
    }

    fn update_principal(&self, principal: &str, patch: &PrincipalPatch) -> Result<Principal, Problem> {
        answer(self.send(Method::PATCH, &format!("/v1/principals/{}", segment(principal)), Some(patch))?)
    }

    fn add_delegation(&self, delegation: &Delegation) -> Result<(), Problem> {
        self.done(Method::PUT, &delegation_path(delegation))
    }

    fn remove_delegation(&self, delegation: &Delegation) -> Result<(), Problem> {
        self.done(Method::DELETE, &delegation_path(delegation))
    }

    fn tokens(&self) -> Result<Vec<Token>, Problem> {
        self.get("/v1/tokens")
    }

    fn issue_token(&self, new: &NewToken) -> Result<IssuedToken, Problem> {
        answer(self.send(Method::POST, "/v1/tokens", Some(new))?)
    }

    fn revoke_token(&self, id: &str) -> Result<(), Problem> {
        self.done(Method::DELETE, &format!("/v1/tokens/{}", segment(id)))
    }

    fn revoke_tokens(&self, principal: &str) -> Result<(), Problem> {
        self.done(Method::DELETE, &format!("/v1/principals/{}/tokens", segment(principal)))
    }

    fn rotate_key(&self) -> Result<String, Problem> {
        answer::<RotatedKey>(self.send::<()>(Method::POST, "/v1/keys/rotate", None)?).map(|rotated| rotated.key)
    }

    fn approvals(&self, query: ApprovalQuery) -> Result<Vec<Approval>, Problem> {
        self.get(&format!("/v1/approvals?all={}", query.all))
    }

    fn count_rows(&self, id: ApprovalId) -> Result<Approval, Problem> {
        answer(self.send(Method::POST, &format!("/v1/approvals/{id}/count"), None::<&()>)?)
    }

    fn approval(&self, id: ApprovalId) -> Result<Approval, Problem> {
        self.get(&format!("/v1/approvals/{id}"))
    }

    fn review(&self, id: ApprovalId, review: &Review) -> Result<Approval, Problem> {
        answer(self.send(Method::POST, &format!("/v1/approvals/{id}/review"), Some(review))?)
    }

    fn grants(&self, query: AccessQuery) -> Result<Vec<Access>, Problem> {
        self.get(&format!("/v1/access?all={}", query.all))
    }

    fn grant(&self, id: ApprovalId) -> Result<Access, Problem> {
        self.get(&format!("/v1/access/{id}"))
    }

    fn request_access(&self, new: &NewAccess) -> Result<Access, Problem> {
        answer(self.send(Method::POST, "/v1/access", Some(new))?)
    }

    fn review_grant(&self, id: ApprovalId, review: &Review) -> Result<Access, Problem> {
        answer(self.send(Method::POST, &format!("/v1/access/{id}/review"), Some(review))?)
    }

    fn revoke_grant(&self, id: ApprovalId, how: &RevokeQuery) -> Result<Access, Problem> {
        let reason = how.reason.as_deref().map(|reason| format!("?reason={}", segment(reason))).unwrap_or_default();
        answer(self.send::<()>(Method::DELETE, &format!("/v1/access/{id}{reason}"), None)?)
    }

    fn grant_token(&self, id: ApprovalId) -> Result<IssuedToken, Problem> {
        answer(self.send::<()>(Method::POST, &format!("/v1/access/{id}/token"), None)?)
    }

    fn usage(&self) -> Result<Vec<Usage>, Problem> {
        self.get("/v1/usage")
    }

    fn connections(&self) -> Result<Vec<Connection>, Problem> {
        self.get("/v1/connections")
    }

    fn coverage(&self, connection: &str) -> Result<Coverage, Problem> {
        self.get(&format!("/v1/connections/{}/coverage", segment(connection)))
    }

    fn checkpoint(&self) -> Result<String, Problem> {
        self.text("/v1/audit/checkpoint")
    }

    fn audit_key(&self) -> Result<String, Problem> {
        self.text("/v1/audit/key")
    }
}

fn delegation_path(delegation: &Delegation) -> String {
    format!("/v1/delegations/{}/{}", segment(&delegation.actor), segment(&delegation.subject))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_encoded() {
        assert_eq!(segment("repo:a/b@corp"), "repo%3Aa%2Fb%40corp");
        assert_eq!(segment("é?#"), "%C3%A9%3F%23");
        let filter = SessionQuery { live: Some(true), who: Some("a&b@local".into()), connection: None, limit: Some(5) };
        assert_eq!(query(&filter), "live=true&who=a%26b%40local&limit=5");
    }

    #[test]
    fn no_token_leaves_without_tls() {
        assert!(matches!(Client::new("http://localhost:1", None, Secret::new("t")), Err(Failure::Usage(_))));
    }
}
