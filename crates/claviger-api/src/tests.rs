#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! The router over a backend in memory.

use std::future::ready;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response, StatusCode, header};
use claviger_identity::{Identity, Origin};
use claviger_model::{ApprovalId, Chain, Principal as Link, PrincipalKey, PrincipalKind, Secret, SessionId, Timestamp};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::extract::Peer;
use crate::wire::{
    Access, AccessQuery, Approval, ApprovalQuery, Connection, Coverage, Delegation, IssuedToken, KillQuery, Kind, LoginProvider,
    NewAccess, NewPrincipal, NewToken, Principal, PrincipalPatch, RecordingEntry, Review, RevokeQuery, Session, SessionQuery,
    Token, Usage,
};
use crate::{
    Act, Asked, Backend, Caller, ExchangedToken, Followed, Leaves, Management, OauthError, Problem, TokenExchange, openapi,
    router,
};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
const SESSION: &str = "00000000000000000000000000000001";

/// Admits `good` to everything and `denied` to nothing; notes what it admits and what it is asked to do, in order.
#[derive(Default)]
struct Memory {
    notes: Mutex<Vec<String>>,
    tail: Mutex<Option<mpsc::Sender<Arc<str>>>>,
    fallen: std::sync::atomic::AtomicBool,
}

impl Memory {
    fn note(&self, text: impl Into<String>) {
        self.notes.lock().unwrap().push(text.into());
    }

    fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().drain(..).collect()
    }
}

fn known(id: SessionId) -> Result<(), Problem> {
    if id.to_string() == SESSION { Ok(()) } else { Err(Problem::not_found("there is no such session")) }
}

fn alice(disabled: bool) -> Principal {
    Principal {
        principal: "alice@local".into(),
        kind: Kind::User,
        display: None,
        groups: vec![],
        sponsor: None,
        disabled,
        acts_for: vec![],
    }
}

impl Management for &Memory {
    fn sessions(&self, query: &SessionQuery) -> Result<Vec<Session>, Problem> {
        self.note(format!("sessions live={:?} limit={}", query.live, query.effective_limit()));
        Ok(vec![])
    }
    fn session(&self, id: SessionId) -> Result<Session, Problem> {
        known(id)?;
        Ok(Session {
            id,
            live: true,
            chain: vec!["alice@local".into()],
            sponsor: None,
            connection: "bank".into(),
            client: "127.0.0.1:5".into(),
            application: None,
            opened: Timestamp::from_secs(0).to_string(),
            closed: None,
            reason: None,
            operations: 7,
            expires: None,
        })
    }
    fn recording(&self, id: SessionId) -> Result<Vec<RecordingEntry>, Problem> {
        known(id).map(|()| vec![])
    }
    fn kill_session(&self, id: SessionId, KillQuery { reason, .. }: &KillQuery) -> Result<(), Problem> {
        self.note(format!("kill {reason:?}"));
        known(id)
    }
    fn principals(&self) -> Result<Vec<Principal>, Problem> {
        Ok(vec![alice(false)])
    }
    fn add_principal(&self, new: &NewPrincipal) -> Result<Principal, Problem> {
        self.note(format!("add {}", new.subject));
        if new.subject == "alice" { Err(Problem::conflict("`alice` is registered already")) } else { Ok(alice(false)) }
    }
    fn update_principal(&self, principal: &str, patch: &PrincipalPatch) -> Result<Principal, Problem> {
        self.note(format!("update {principal} {:?}", patch.disabled));
        Ok(alice(patch.disabled == Some(true)))
    }
    fn add_delegation(&self, delegation: &Delegation) -> Result<(), Problem> {
        self.note(format!("delegate {delegation}"));
        Ok(())
    }
    fn remove_delegation(&self, delegation: &Delegation) -> Result<(), Problem> {
        self.note(format!("undelegate {delegation}"));
        Ok(())
    }
    fn tokens(&self) -> Result<Vec<Token>, Problem> {
        Ok(vec![])
    }
    fn issue_token(&self, new: &NewToken) -> Result<IssuedToken, Problem> {
        self.note(format!("issue {new}"));
        Ok(IssuedToken { id: "t1".into(), token: "eyJ".into(), expires: "later".into() })
    }
    fn revoke_token(&self, id: &str) -> Result<(), Problem> {
        self.note(format!("revoke {id}"));
        Ok(())
    }
    fn revoke_tokens(&self, principal: &str) -> Result<(), Problem> {
        self.note(format!("revoke all {principal}"));
        Ok(())
    }
    fn rotate_key(&self) -> Result<String, Problem> {
        Ok("k2".into())
    }
    fn approvals(&self, _: ApprovalQuery) -> Result<Vec<Approval>, Problem> {
        Ok(Vec::new())
    }
    fn count_rows(&self, id: ApprovalId) -> Result<Approval, Problem> {
        self.note(format!("count {id}"));
        Err(Problem::not_found("there is no such request for approval"))
    }
    fn approval(&self, id: ApprovalId) -> Result<Approval, Problem> {
        self.note(format!("look at {id}"));
        Err(Problem::not_found("there is no such request for approval"))
    }
    fn review(&self, id: ApprovalId, review: &Review) -> Result<Approval, Problem> {
        self.note(format!("review {id} {:?} {:?} {:?}", review.verdict, review.statement, review.reason));
        Err(Problem::conflict("the request is denied"))
    }
    fn grants(&self, query: AccessQuery) -> Result<Vec<Access>, Problem> {
        self.note(format!("grants {}", query.all));
        Ok(Vec::new())
    }
    fn grant(&self, id: ApprovalId) -> Result<Access, Problem> {
        self.note(format!("grant {id}"));
        Err(Problem::not_found("there is no such grant"))
    }
    fn request_access(&self, new: &NewAccess) -> Result<Access, Problem> {
        self.note(format!("ask {new:?}"));
        Err(Problem::denied("policy does not permit it"))
    }
    fn review_grant(&self, id: ApprovalId, review: &Review) -> Result<Access, Problem> {
        self.note(format!("review grant {id} {:?}", review.verdict));
        Err(Problem::conflict("the request is denied"))
    }
    fn revoke_grant(&self, id: ApprovalId, how: &RevokeQuery) -> Result<Access, Problem> {
        self.note(format!("revoke {id} {:?}", how.reason));
        Err(Problem::conflict("it is ended"))
    }
    fn grant_token(&self, id: ApprovalId) -> Result<IssuedToken, Problem> {
        self.note(format!("token of {id}"));
        Err(Problem::conflict("it is ended"))
    }
    fn usage(&self) -> Result<Vec<Usage>, Problem> {
        self.note("usage".to_owned());
        Ok(vec![Usage::default()])
    }
    fn connections(&self) -> Result<Vec<Connection>, Problem> {
        panic!("a backend that fails")
    }
    fn coverage(&self, connection: &str) -> Result<Coverage, Problem> {
        self.note(format!("coverage {connection}"));
        Ok(Coverage::default())
    }
    fn checkpoint(&self) -> Result<String, Problem> {
        Ok("claviger\n0\n".into())
    }
    fn audit_key(&self) -> Result<String, Problem> {
        Ok("claviger+0+key".into())
    }
}

/// Whose token it is.
fn identity(token: &Secret) -> Result<Identity, Problem> {
    let subject = match token.expose() {
        b"good" => "admin",
        b"denied" => "mallory",
        _ => return Err(Problem::unauthenticated("token.invalid", "the token is not valid")),
    };
    let key = PrincipalKey::new("local", subject);
    let chain = Chain::of(Link { key, kind: PrincipalKind::User, groups: vec![], sponsor: None });
    let expires = Timestamp::from_secs(i64::MAX);
    let (origin, issuers) = (Origin::default(), Arc::default());
    Ok(Identity { chain, token: "t0".into(), issuer: "local".into(), expires, purpose: None, origin, issuers })
}

impl Backend for Memory {
    fn healthy(&self) -> bool {
        true
    }
    fn jwks(&self) -> Result<Value, Problem> {
        Ok(json!({ "keys": [{ "kty": "OKP", "alg": "EdDSA" }, { "kty": "OKP", "alg": "EdDSA" }] }))
    }
    fn issuer(&self) -> String {
        "https://claviger.test/".into()
    }
    fn logins(&self) -> Vec<LoginProvider> {
        Vec::new()
    }
    fn exchange(self: Arc<Self>, exchange: TokenExchange, _: IpAddr) -> Asked<'static, Result<ExchangedToken, OauthError>> {
        let text = |token: &Secret| token.expose_str().unwrap().to_owned();
        let actor = exchange.actor_token.as_ref().map(text);
        self.note(format!("exchange {} {actor:?} {:?} {:?}", text(&exchange.subject_token), exchange.targets, exchange.scope));
        Box::pin(ready(Ok(ExchangedToken {
            access_token: "eyJ".into(),
            issued_token_type: exchange.issued_type().into(),
            token_type: "Bearer".into(),
            expires_in: 600,
            scope: None,
        })))
    }
    fn authenticate<'a>(&'a self, token: &'a Secret) -> Asked<'a, Result<Identity, Problem>> {
        Box::pin(ready(identity(token)))
    }
    fn stands(&self, _caller: &Caller) -> bool {
        !self.fallen.load(std::sync::atomic::Ordering::Relaxed)
    }
    fn admit(&self, caller: &Caller, act: Act, target: &str) -> Result<Box<dyn Management + '_>, Problem> {
        assert_eq!(caller.address, PEER);
        if caller.identity.chain.actor().key.subject.as_ref() == "mallory" {
            return Err(Problem::denied("policy does not permit it"));
        }
        self.note(format!("admit {} {target}", act.verb()));
        Ok(Box::new(self))
    }
    fn tail(&self, _of: Followed) -> Result<Leaves, Problem> {
        let (sender, receiver) = mpsc::channel(4);
        *self.tail.lock().unwrap() = Some(sender);
        Ok(receiver)
    }
}

struct Api {
    backend: Arc<Memory>,
    service: TowerToHyperService<axum::Router>,
}

impl Api {
    fn new() -> Self {
        let backend = Arc::new(Memory::default());
        Self { service: TowerToHyperService::new(router(backend.clone())), backend }
    }

    async fn send(&self, mut request: Request<Body>) -> Response<Body> {
        request.extensions_mut().insert(Peer(PEER));
        self.service.call(request).await.unwrap()
    }

    async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let response = self.send(request.body(body).unwrap()).await;
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json", "{method} {path}");
        }
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8(bytes.to_vec()).unwrap().into());
        if status.is_client_error() || status.is_server_error() {
            assert_eq!(value["status"], status.as_u16(), "{method} {path}");
        }
        (status, value)
    }
}

/// Every operation of the description, with its path filled in.
fn operations() -> Vec<(String, String)> {
    let description = serde_json::to_value(openapi()).unwrap();
    let mut all = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        let path = path.replace("{id}", SESSION).replace("{subject}", "alice").replace("{actor}", "agent");
        for method in item.as_object().unwrap().keys() {
            all.push((method.to_uppercase(), path.clone()));
        }
    }
    assert!(all.len() > 20);
    all
}

/// A body that each operation with one accepts.
fn body_for(method: &str, path: &str) -> Option<Value> {
    match (method, path) {
        ("POST", "/v1/principals") => Some(json!({ "subject": "bob", "kind": "user" })),
        ("POST", "/v1/tokens") => Some(json!({ "subject": "alice" })),
        ("POST", "/v1/access") => Some(json!({ "connection": "bank", "seconds": 60, "reason": "x" })),
        ("POST", path) if path.ends_with("/review") => Some(json!({ "verdict": "approve", "statement": "select 1" })),
        ("PATCH", _) => Some(json!({ "disabled": true })),
        _ => None,
    }
}

#[tokio::test]
async fn nothing_under_v1_is_done_without_a_token_or_against_policy() {
    let api = Api::new();
    // Whoever asks the token endpoint brings his tokens in the form.
    for (method, path) in operations().into_iter().filter(|(_, path)| path != "/oauth/token") {
        let body = || body_for(&method, &path);
        let (without, _) = api.ask(&method, &path, None, body()).await;
        if !path.starts_with("/v1/") {
            assert_eq!(without, StatusCode::OK, "{method} {path}");
            continue;
        }
        assert_eq!(without, StatusCode::UNAUTHORIZED, "{method} {path}");
        assert_eq!(api.ask(&method, &path, Some("forged"), body()).await.0, StatusCode::UNAUTHORIZED, "{method} {path}");
        assert_eq!(api.ask(&method, &path, Some("denied"), body()).await.0, StatusCode::FORBIDDEN, "{method} {path}");
        assert_eq!(api.backend.notes(), Vec::<String>::new(), "{method} {path}");
    }
}

#[tokio::test]
async fn acts_are_recorded_before_they_are_done() {
    let api = Api::new();
    let session = format!("/v1/sessions/{SESSION}");
    for (method, path, status, notes) in [
        ("GET", "/v1/sessions?live=true&limit=5000", 200, vec!["admit session.list *", "sessions live=Some(true) limit=1000"]),
        (
            "DELETE",
            &format!("{session}?reason=lunch"),
            204,
            vec![&format!("admit session.kill {SESSION}"), "kill Some(\"lunch\")"],
        ),
        ("GET", &format!("{session}/recording"), 200, vec![&format!("admit session.read {SESSION}")]),
        ("POST", "/v1/principals", 201, vec!["admit principal.add bob", "add bob"]),
        (
            "PATCH",
            "/v1/principals/alice%40x%2Fy@corp",
            200,
            vec!["admit principal.disable alice@x/y@corp", "update alice@x/y@corp Some(true)"],
        ),
        ("DELETE", "/v1/principals/alice/tokens", 204, vec!["admit token.revoke_all alice", "revoke all alice"]),
        ("PUT", "/v1/delegations/agent/alice", 204, vec!["admit delegation.add agent for alice", "delegate agent for alice"]),
        (
            "DELETE",
            "/v1/delegations/agent/alice",
            204,
            vec!["admit delegation.remove agent for alice", "undelegate agent for alice"],
        ),
        ("GET", "/v1/usage", 200, vec!["admit usage.list *", "usage"]),
        ("POST", "/v1/tokens", 201, vec!["admit token.issue alice", "issue alice"]),
        ("DELETE", "/v1/tokens/t1", 204, vec!["admit token.revoke t1", "revoke t1"]),
        ("POST", "/v1/keys/rotate", 200, vec!["admit key.rotate *"]),
        (
            "POST",
            &format!("/v1/approvals/{SESSION}/review"),
            409,
            vec![&format!("admit approval.decide {SESSION}"), &format!("review {SESSION} Approve Some(\"select 1\") None")],
        ),
    ] {
        let (answer, body) = api.ask(method, path, Some("good"), body_for(method, path)).await;
        assert_eq!(answer.as_u16(), status, "{method} {path}: {body}");
        assert_eq!(api.backend.notes(), notes, "{method} {path}");
    }
}

#[tokio::test]
async fn a_patch_asks_for_each_thing_that_it_changes() {
    let api = Api::new();
    let patch = json!({ "disabled": false, "groups": ["dba"] });
    assert_eq!(api.ask("PATCH", "/v1/principals/alice", Some("good"), Some(patch)).await.0, StatusCode::OK);
    assert_eq!(api.backend.notes()[..2], ["admit principal.update alice", "admit principal.enable alice"]);
}

#[tokio::test]
async fn what_fails_is_a_problem() {
    let api = Api::new();
    for (method, path, body, status, code) in [
        ("GET", "/nothing", None, 404, "not_found"),
        ("GET", "/v1/sessions/xyz", None, 404, "not_found"),
        ("GET", "/v1/sessions/00000000000000000000000000000002", None, 404, "not_found"),
        ("POST", "/v1/sessions", None, 405, "method.not_allowed"),
        ("GET", "/v1/sessions?colour=blue", None, 400, "request.invalid"),
        ("GET", "/v1/sessions?limit=-1", None, 400, "request.invalid"),
        ("POST", "/v1/tokens", None, 415, "request.media_type"),
        ("POST", "/v1/tokens", Some(json!({ "subject": "alice", "admin": true })), 400, "request.invalid"),
        ("POST", "/v1/tokens", Some(json!("alice")), 400, "request.invalid"),
        ("POST", "/v1/tokens", Some(json!({ "subject": "a".repeat(65 * 1024) })), 413, "request.too_large"),
        ("POST", "/v1/principals", Some(json!({ "subject": "alice", "kind": "user" })), 409, "conflict"),
        ("GET", "/v1/connections", None, 500, "internal"),
    ] {
        let (answer, problem) = api.ask(method, path, Some("good"), body).await;
        assert_eq!((answer.as_u16(), problem["code"].as_str().unwrap()), (status, code), "{method} {path}");
    }
}

#[tokio::test]
async fn the_authorization_header_is_read_as_it_is_specified() {
    let api = Api::new();
    for (values, status) in [
        (vec!["Bearer good"], 200),
        (vec!["bearer good"], 200),
        (vec!["Basic good"], 401),
        (vec!["Bearer "], 401),
        (vec!["good"], 401),
        (vec!["Bearer good", "Bearer denied"], 401),
    ] {
        let mut request = Request::builder().method(Method::GET).uri("/v1/sessions");
        for value in &values {
            request = request.header(header::AUTHORIZATION, *value);
        }
        let response = api.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status().as_u16(), status, "{values:?}");
        assert_eq!(response.headers().contains_key(header::WWW_AUTHENTICATE), status == 401, "{values:?}");
    }
}

#[tokio::test]
async fn an_issued_token_is_not_to_be_cached() {
    let api = Api::new();
    let request = Request::post("/v1/tokens")
        .header(header::AUTHORIZATION, "Bearer good")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(r#"{"subject":"alice","actor":"agent","ttl_seconds":60}"#));
    let response = api.send(request.unwrap()).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(api.backend.notes(), ["admit token.issue agent for alice", "issue agent for alice"]);
}

#[tokio::test]
async fn discovery_names_the_keys() {
    let (status, metadata) = Api::new().ask("GET", "/.well-known/openid-configuration", None, None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(metadata["issuer"], "https://claviger.test/");
    assert_eq!(metadata["jwks_uri"], "https://claviger.test/.well-known/jwks.json");
    assert_eq!(metadata["id_token_signing_alg_values_supported"], json!(["EdDSA"]));
}

#[tokio::test]
async fn a_tail_ends_with_its_readers_right_to_read() {
    let api = Api::new();
    let request = Request::get("/v1/tail").header(header::AUTHORIZATION, "Bearer good").body(Body::empty()).unwrap();
    let response = api.send(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let leaves = api.backend.tail.lock().unwrap().clone().unwrap();
    leaves.send("{\"seq\":1}\n".into()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    api.backend.fallen.store(true, std::sync::atomic::Ordering::Relaxed);
    let body = tokio::time::timeout(std::time::Duration::from_secs(5), to_bytes(response.into_body(), 1 << 16)).await;
    assert_eq!(body.expect("the stream ends").unwrap(), "event: leaf\ndata: {\"seq\":1}\n\n");
    assert_eq!(api.backend.notes(), ["admit session.tail *"]);
}

#[test]
fn the_committed_description_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let current = openapi().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == current, "openapi.json is out of date: run the tests once with BLESS=1");
}

#[tokio::test]
async fn tokens_are_exchanged_as_the_standard_says() {
    const GRANT: &str = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange";
    const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
    let backend = Arc::new(Memory::default());
    let subject = format!("{GRANT}&subject_token=s&subject_token_type={ACCESS}");
    let ask = async |content: &str, body: String| {
        let mut request = Request::builder().method(Method::POST).uri("/oauth/token").header(header::CONTENT_TYPE, content);
        request.extensions_mut().unwrap().insert(Peer(PEER));
        let service = TowerToHyperService::new(router(backend.clone()));
        let response = service.call(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (status, store) = (response.status().as_u16(), response.headers().get(header::CACHE_CONTROL).cloned());
        let body: Value = serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap();
        assert_eq!(store.as_ref().map(|value| value.as_bytes()), Some(b"no-store".as_slice()));
        (status, body)
    };
    let form = "application/x-www-form-urlencoded";
    let id = "urn:ietf:params:oauth:token-type:id_token";
    let whole = format!(
        "{subject}&actor_token=a&actor_token_type={id}&audience=x&resource=y&audience=z&scope=connection%3Abank+connection:b&actor=&\
         requested_token_type=urn:ietf:params:oauth:token-type:jwt"
    );
    for (body, noted) in [
        (subject.clone(), "exchange s None [] None"),
        (whole, "exchange s Some(\"a\") [\"x\", \"z\", \"y\"] Some(\"connection:bank connection:b\")"),
        (format!("{subject}&scope=&unknown=1"), "exchange s None [] None"),
    ] {
        let (status, answer) = ask(form, body).await;
        assert_eq!((status, &answer["token_type"], &answer["expires_in"]), (200, &json!("Bearer"), &json!(600)), "{answer}");
        assert_eq!(backend.notes(), [noted]);
    }
    for (content, body, error) in [
        ("application/json", "{}".to_owned(), "invalid_request"),
        (form, String::new(), "invalid_request"),
        (form, "grant_type=client_credentials".into(), "unsupported_grant_type"),
        (form, GRANT.into(), "invalid_request"),
        (form, format!("{GRANT}&subject_token=s"), "invalid_request"),
        (form, format!("{GRANT}&subject_token_type={ACCESS}"), "invalid_request"),
        (form, format!("{GRANT}&subject_token=s&subject_token_type=urn:ietf:params:oauth:token-type:saml2"), "invalid_request"),
        (form, format!("{subject}&subject_token=t"), "invalid_request"),
        (form, format!("{subject}&actor_token=a"), "invalid_request"),
        (form, format!("{subject}&actor_token_type={ACCESS}"), "invalid_request"),
        (form, format!("{subject}&requested_token_type=urn:ietf:params:oauth:token-type:refresh_token"), "invalid_request"),
    ] {
        let (status, answer) = ask(content, body.clone()).await;
        assert_eq!((status, &answer["error"]), (400, &json!(error)), "{body}");
        assert!(answer["error_description"].is_string() && backend.notes().is_empty());
    }
}
