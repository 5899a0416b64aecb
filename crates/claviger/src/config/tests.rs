#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::time::Duration;

use claviger_mask::methods::{Method, Unit};
use claviger_model::{Durability, Mode, PrincipalKind, ResponseRecording};
use claviger_protocols::postgres::Version;
use claviger_protocols::{Ask, Auth, ChannelBinding};
use claviger_session::{CredentialRef, Deadlines, FilterBudget, Release, TlsIdentity, UpstreamTlsPolicy};

use super::{Config, IssuerConfig, KeySource};

pub(super) const BASE: &str = r#"
data = "data"
[tls]
certificate = "cert.pem"
key = "key.pem"
[issuer]
url = "https://claviger.internal"
audience = "claviger"
"#;

const BANK: &str = r#"
[[connections]]
name = "bank"
kind = "postgres"
address = "db.internal"
database = "bank"
user = "claviger_bank"
"#;

/// A directory with this file, some certificates and a policy.
fn directory(toml: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["cert.pem", "key.pem", "ca.pem", "corp.jwks.json", "password"] {
        std::fs::write(dir.path().join(name), "x").unwrap();
    }
    let authority = rcgen::generate_simple_self_signed(Vec::new()).unwrap();
    std::fs::write(dir.path().join("mesh.pem"), authority.cert.pem()).unwrap();
    std::fs::create_dir(dir.path().join("policies")).unwrap();
    std::fs::write(dir.path().join("policies/b.cedar"), "permit (principal, action, resource);").unwrap();
    std::fs::write(dir.path().join("policies/a.cedar"), "// none").unwrap();
    std::fs::write(dir.path().join("policies/notes.txt"), "not a policy").unwrap();
    std::fs::write(dir.path().join("claviger.toml"), toml).unwrap();
    dir
}

pub(super) fn load(toml: &str) -> Config {
    let dir = directory(toml);
    Config::load(dir.path()).unwrap_or_else(|error| panic!("{error}\n{toml}"))
}

/// What is wrong with a file, without the directory's name.
pub(super) fn wrong(toml: &str) -> String {
    let dir = directory(toml);
    let error = Config::load(dir.path()).expect_err(toml).to_string();
    error.replace(&format!("{}/", dir.path().display()), "")
}

#[test]
fn the_least_that_works() {
    let config = load(BASE);
    assert_eq!(config.data, config.dir.join("data"));
    assert_eq!(config.tls.unwrap().key, config.dir.join("key.pem"));
    assert_eq!((config.api, config.connections.len(), config.listeners.len()), (None, 0, 0));
    assert_eq!((config.issuer.max_lifetime, config.audit.origin.as_str()), (86_400, "claviger.internal"));
    assert_eq!(config.audit.checkpoint_interval, Duration::from_secs(1));
    assert_eq!(config.limits.session, claviger_protocols::Limits::default());
    assert_eq!(config.policies.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a.cedar", "b.cedar"]);
}

#[test]
fn everything_at_once() {
    let config = load(&format!(
        r#"{BASE}max_lifetime = "12h"
[api]
listen = "127.0.0.1:8443"
[[issuers]]
name = "corp"
issuer = "https://idp.example.com"
audience = "claviger"
jwks_file = "corp.jwks.json"
algorithms = ["RS256", "ES256"]
groups_claim = "groups"
kind = "workload"
act = true
max_lifetime = "1h"
clock_skew = "30s"
[[issuers]]
name = "ci"
issuer = "https://token.actions.githubusercontent.com"
audience = "claviger"
jwks_url = "https://token.actions.githubusercontent.com/.well-known/jwks"
algorithms = ["RS256"]
subject = "repository:{{repository_id}}"
{BANK}password = "env:BANK_PASSWORD"
tls = "verify-ca"
tls_ca = "ca.pem"
listen = "127.0.0.1:6432"
plaintext = true
mode = "observe"
labels = ["environment.production"]
durability = "synced"
recording = "full"
[[connections]]
name = "ledger"
kind = "postgres"
address = "[2001:db8::1]:6000"
database = "ledger"
user = "u"
password = "file:password"
[[listeners]]
kind = "postgres"
listen = "0.0.0.0:6400"
[recording]
response = "first 64KiB"
[audit]
checkpoint_interval = "5s"
origin = "log.example.com/bank"
[limits]
login_timeout = "3s"
statement = "1MiB"
connections = 7
idle = "5m"
"#
    ));
    let [bank, ledger] = config.connections.as_slice() else { panic!() };
    assert_eq!((bank.host.as_str(), bank.port, bank.kind), ("db.internal", 5432, "postgres"));
    assert_eq!((bank.mode, bank.durability, bank.recording), (Mode::Observe, Durability::Synced, ResponseRecording::Full));
    assert_eq!(bank.password, Some(CredentialRef::Env("BANK_PASSWORD".into())));
    assert_eq!((bank.tls, bank.tls_ca.clone()), (UpstreamTlsPolicy::VerifyCa, Some(config.dir.join("ca.pem"))));
    assert_eq!((ledger.host.as_str(), ledger.port), ("2001:db8::1", 6000));
    assert_eq!(ledger.password, Some(CredentialRef::File(config.dir.join("password"))));
    assert_eq!((ledger.tls, ledger.mode), (UpstreamTlsPolicy::VerifyFull, Mode::Enforce));
    assert_eq!((ledger.recording, ledger.durability), (ResponseRecording::First(65_536), Durability::Auto));
    let [own, shared] = config.listeners.as_slice() else { panic!() };
    assert_eq!(
        (own.addr.to_string().as_str(), own.plaintext, own.connection.as_ref()),
        ("127.0.0.1:6432", true, Some(&bank.name))
    );
    assert_eq!((shared.addr.to_string().as_str(), shared.plaintext, &shared.connection), ("0.0.0.0:6400", false, &None));
    let [local, corp, ci] = &config.trusted()[..] else { panic!() };
    assert_eq!((&*local.name, &*local.issuer, local.max_lifetime), ("local", "https://claviger.internal", 43_200));
    assert_eq!((corp.kind, corp.act_believed, corp.max_lifetime, corp.clock_skew), (PrincipalKind::Workload, true, 3600, 30));
    assert_eq!((ci.kind, ci.subject.to_string().as_str()), (PrincipalKind::User, "repository:{repository_id}"));
    assert_eq!(config.issuers[0].keys, KeySource::File(config.dir.join("corp.jwks.json")));
    assert_eq!((config.limits.bounds.sessions, config.limits.bounds.sessions_each), (7, 4));
    assert_eq!(config.limits.session.statement, 1 << 20);
    let Deadlines { login, drain, idle, max_age, .. } = config.limits.deadlines;
    let seconds = Duration::from_secs;
    assert_eq!((login, drain, idle, max_age), (seconds(3), seconds(30), Some(seconds(300)), None));
    assert_eq!(config.audit.origin.as_str(), "log.example.com/bank");
}

#[test]
fn clients_and_the_gateway_prove_who_they_are() {
    let config = load(&format!(
        r#"{BASE}
[[issuers]]
name = "corp"
issuer = "https://idp.example.com/"
audience = "claviger"
jwks_file = "corp.jwks.json"
algorithms = ["RS256"]
[[authorities]]
name = "mesh"
certificates = "mesh.pem"
subject = "{{uri}}"
{BANK}listen = "127.0.0.1:6432"
auth = ["certificate", "oauth"]
oauth = {{ issuer = "corp", scope = "openid \"x\"" }}
max_protocol_version = "3.2"
channel_binding = "require"
tls_cert = "cert.pem"
tls_key = "env:KEY"
[[listeners]]
kind = "postgres"
listen = "127.0.0.1:6433"
proxy_protocol = ["10.0.0.0/8", "::1"]
auth = ["certificate"]
[[listeners]]
kind = "postgres"
listen = "127.0.0.1:6434"
"#
    ));
    let bank = &config.connections[0];
    assert_eq!((bank.max_protocol_version, bank.channel_binding), (Version::V3_2, ChannelBinding::Require));
    let identity = TlsIdentity { certificate: config.dir.join("cert.pem"), key: CredentialRef::Env("KEY".into()) };
    assert_eq!(bank.tls_identity, Some(identity));
    let [own, certificates, plain] = config.listeners.as_slice() else { panic!() };
    let Auth { certificate: true, ask: Ask::Bearer { discovery } } = &own.auth else { panic!("{:?}", own.auth) };
    let discovery: serde_json::Value = serde_json::from_slice(discovery).unwrap();
    assert_eq!(discovery["openid-configuration"], "https://idp.example.com/.well-known/openid-configuration");
    assert_eq!((&discovery["status"], &discovery["scope"]), (&"invalid_token".into(), &"openid \"x\"".into()));
    assert_eq!(certificates.auth, Auth { certificate: true, ask: Ask::Nothing });
    assert_eq!(certificates.balancers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "::1/128"]);
    assert_eq!((&plain.auth, plain.balancers.len()), (&Auth::PASSWORD, 0));
    assert!(["mesh", "corp", "local"].iter().all(|name| config.names_principals(name)) && !config.names_principals("other"));
}

#[test]
fn what_makes_no_sense_is_named() {
    let issuer = |rest: &str| {
        format!("{BASE}[[issuers]]\nname = 'corp'\nissuer = 'https://idp'\naudience = 'c'\nalgorithms = ['RS256']\n{rest}")
    };
    let bank = |rest: &str| format!("{BASE}{BANK}{rest}");
    let listening = |rest: &str| format!("{BASE}{BANK}listen = '127.0.0.1:6432'\n{rest}");
    let authority = |rest: &str| format!("{BASE}[[authorities]]\nname = 'mesh'\ncertificates = 'mesh.pem'\n{rest}");
    for (toml, expected) in [
        (String::new(), "claviger.toml:1: missing field `data`"),
        ("data = [".into(), "claviger.toml:1: unclosed array"),
        (
            format!("{BASE}colour = 'blue'"),
            "claviger.toml:9: unknown field `colour`, expected one of `url`, `audience`, `max_lifetime`, `exchange_lifetime`",
        ),
        (bank("colour = 'blue'"), "claviger.toml:16: unknown field `colour`"),
        (
            bank("mode = 'strict'"),
            "claviger.toml: `connections[0] (bank).mode`: `strict` is not one of `record`, `observe`, `enforce`",
        ),
        (bank("tls = 'yes'"), "`connections[0] (bank).tls`: `yes` is not one of `disable`, `prefer`"),
        (bank("tls_ca = 'none.pem'"), "`connections[0] (bank).tls_ca`: there is no file `none.pem`"),
        (bank("tls = 'verify-ca'"), "`connections[0] (bank).tls_ca`: `verify-ca` needs the authority"),
        (bank("max_protocol_version = '4'"), "(bank).max_protocol_version`: `4` is not one of `3.0`, `3.2`"),
        (bank("channel_binding = 'maybe'"), "(bank).channel_binding`: `maybe` is not one of `disable`, `prefer`, `require`"),
        (bank("channel_binding = 'require'\ntls = 'disable'"), "(bank).channel_binding`: without TLS there is no channel"),
        (bank("tls_cert = 'cert.pem'"), "(bank).tls_cert`: goes together with `tls_key`"),
        (bank("tls_cert = 'cert.pem'\ntls_key = 'key.pem'"), "(bank).tls_key`: must be `env:NAME` or `file:PATH`"),
        (bank("auth = ['oauth']"), "(bank).auth`: needs `listen`"),
        (
            listening("auth = ['password', 'oauth']"),
            "(bank).auth`: is a list of `certificate` and of either `password` or `oauth`",
        ),
        (listening("auth = []"), "(bank).auth`: is a list of"),
        (listening("auth = ['certificate', 'certificate']"), "(bank).auth`: is a list of"),
        (listening("auth = ['oauth']"), "(bank).oauth`: must say which issuer"),
        (
            listening("auth = ['oauth']\noauth = { issuer = 'corp' }"),
            "(bank).oauth.issuer`: must be the name of one of `issuers`",
        ),
        (listening("oauth = { issuer = 'corp' }"), "(bank).oauth`: needs `auth` to name `oauth`"),
        (listening("auth = ['certificate']"), "`authorities`: the listener on 127.0.0.1:6432 takes certificates"),
        (listening("auth = ['certificate']\nplaintext = true"), "(bank).plaintext`: goes with `auth = [\"password\"]` only"),
        (listening("proxy_protocol = []"), "(bank).proxy_protocol`: must name the addresses"),
        (listening("proxy_protocol = ['10.0.0.1/8']"), "(bank).proxy_protocol`: `10.0.0.1/8` is not a network"),
        (bank("proxy_protocol = ['10.0.0.0/8']"), "(bank).proxy_protocol`: needs `listen`"),
        (authority("subject = '{sub}'"), "`authorities[0] (mesh).subject`: `sub` is not one of the names in a certificate"),
        (authority("subject = 'etl'"), "`authorities[0] (mesh).subject`: `etl` is not a subject template"),
        (authority("subject = '{cn}'").replace("mesh.pem", "cert.pem"), "`authorities[0] (mesh).certificates`: "),
        (authority("subject = '{cn}'").replace("'mesh'", "'local'"), "`authorities[0] (local).name`: must not contain"),
        (
            issuer("jwks_file = 'corp.jwks.json'\n[[authorities]]\nname = 'corp'\ncertificates = 'mesh.pem'\nsubject = '{cn}'"),
            "`authorities[0] (corp).name`: `corp` is used twice",
        ),
        (bank("durability = 'maybe'"), "`connections[0] (bank).durability`: `maybe` is not one of `auto`, `ordered`, `synced`"),
        (bank("recording = 'some'"), "`connections[0] (bank).recording`: `some` is not one of"),
        (bank("labels = ['Prod']"), "`connections[0] (bank).labels`: a label is"),
        (bank("catalog_max_age = '0s'"), "(bank).catalog_max_age`: must be more than nothing"),
        (bank("classify = { customers = ['pii'] }"), "(bank).classify.customers`: must be `schema.table`"),
        (bank("classify = { 'a.b' = ['PII'] }"), "(bank).labels`: a label is"),
        (bank("classify = { 'a.b' = 'pii' }"), "invalid type: string"),
        (bank("listen = 'localhost:6432'"), "`connections[0] (bank).listen`: `localhost:6432` is not an address and port"),
        (
            bank("listen = '10.0.0.1:6432'\nplaintext = true"),
            "(bank).plaintext`: tokens may cross without TLS on loopback addresses only, not on 10.0.0.1:6432",
        ),
        (bank("plaintext = true"), "`connections[0] (bank).plaintext`: needs `listen`"),
        (bank("password = 'hunter2'"), "(bank).password`: must be `env:NAME` or `file:PATH`"),
        (bank("password = 'file:nowhere'"), "(bank).password`: there is no file `nowhere`"),
        (bank(BANK), "`connections[1] (bank).name`: `bank` is used twice"),
        (bank("").replace("\"bank\"\nkind", "\"Bank\"\nkind"), "`connections[0] (Bank).name`: `Bank` cannot name a connection"),
        (bank("").replace("\"postgres\"", "\"mysql\""), "`connections[0] (bank).kind`: `mysql` is not one of `postgres`"),
        (bank("").replace("db.internal", "db:x"), "(bank).address`: `db:x` is not a host, or a host and port"),
        (bank("").replace("db.internal", "::1"), "(bank).address`: `::1` is not a host, or a host and port"),
        (
            bank("listen = '127.0.0.1:1'\n[[listeners]]\nkind = 'postgres'\nlisten = '127.0.0.1:1'"),
            "`listeners[0] (127.0.0.1:1).listen`: `127.0.0.1:1` is used twice",
        ),
        (
            format!("{BASE}[api]\nlisten = '127.0.0.1:1'\n[[listeners]]\nkind = 'postgres'\nlisten = '127.0.0.1:1'"),
            "`api.listen`: 127.0.0.1:1 is used twice",
        ),
        (BASE.replace("key.pem", "gone.pem"), "`tls.key`: there is no file `gone.pem`"),
        (BASE.replace("\"claviger\"", "\"\""), "`issuer.audience`: must not be empty"),
        (format!("{BASE}max_lifetime = 'long'"), "`issuer.max_lifetime`: `long` is not a duration"),
        (format!("{BASE}exchange_lifetime = '16m'"), "`issuer.exchange_lifetime`: must be at most `15m`"),
        (format!("{BASE}max_lifetime = '0s'"), "`issuer.max_lifetime`: must be more than nothing"),
        (
            issuer("jwks_url = 'https://idp/keys'\njwks_file = 'corp.jwks.json'"),
            "`issuers[0] (corp).jwks_url`: only one of `jwks_url` and `jwks_file`",
        ),
        (issuer("").replace("https://idp", "http://idp"), "(corp).issuer`: must be an `https://` address"),
        (issuer("").replace("https://idp", "spiffe://idp"), "(corp).issuer`: must be an `https://` address"),
        (issuer("").replace("name = 'corp'", "name = ''"), "issuers[0] ().name`: must not be empty"),
        (issuer("tls_ca = 'gone.pem'"), "(corp).tls_ca`: there is no file `gone.pem`"),
        (issuer("keys_refresh = '2h'\nkeys_max_age = '1h'"), "(corp).keys_max_age`: must not be less than `keys_refresh`"),
        (issuer("groups_claim = ['groups', '']"), "(corp).groups_claim`: `` is not a claim"),
        (issuer("groups_claim = 7"), "claviger.toml:"),
        (issuer("userinfo = true"), "(corp).groups_claim`: is needed"),
        (issuer("groups_claim = 'g'\nuserinfo_url = 'http://idp/me'"), "(corp).userinfo_url`: must begin with `https://`"),
        (issuer("require = { a = 1.5 }"), "(corp).require`: `a` must be a text"),
        (issuer("require = { a = [] }"), "(corp).require`: `a` must be a text"),
        (issuer("require = { 'a.' = 'x' }"), "(corp).require`: `a.` is not a claim"),
        (issuer("[issuers.login]\nclient_id = ''"), "(corp).login.client_id`: must not be empty"),
        (issuer("login = { client_id = 'c', token = 'opaque' }"), "(corp).login.token`: `opaque` is not one of `id_token`"),
        (issuer("subject = 'x'"), "(corp).subject`: `x` is not a subject template"),
        (issuer("jwks_url = 'http://idp/keys'"), "`issuers[0] (corp).jwks_url`: must begin with `https://`"),
        (issuer("jwks_url = 'http://localhost:80@evil/keys'"), "`issuers[0] (corp).jwks_url`: must begin with `https://`"),
        (issuer("jwks_url = 'http://127.0.0.1.evil/keys'"), "`issuers[0] (corp).jwks_url`: must begin with `https://`"),
        (issuer("jwks_file = 'corp.jwks.json'\nkind = 'robot'"), "(corp).kind`: `robot` is not one of `user`, `workload`"),
        (issuer("jwks_file = 'corp.jwks.json'").replace("RS256", "none"), "(corp).algorithms`: `none` is not one of"),
        (issuer("jwks_file = 'corp.jwks.json'").replace("'corp'", "'local'"), "(local).name`: must not contain `@` or `/`"),
        (
            issuer("jwks_file = 'corp.jwks.json'").replace("https://idp", "https://claviger.internal"),
            "(corp).issuer`: is the same as that of `local`",
        ),
        (format!("{BASE}[audit]\norigin = 'a b'"), "`audit.origin`: a log's origin is"),
        (format!("{BASE}[limits]\nstatement = '1GB'"), "`limits.statement`: `1GB` is not a size"),
        (format!("{BASE}[limits]\nidle = '0s'"), "`limits.idle`: must be more than nothing"),
        (format!("{BASE}[log]\nformat = 'xml'"), "`log.format`: `xml` is not one of `text`, `json`"),
        (format!("{BASE}[limits]\nconnections = 0"), "`limits.connections`: must be more than nothing"),
    ] {
        let found = wrong(&toml);
        assert!(found.contains(expected), "expected {expected}\nfound    {found}\nin {toml}");
    }
}

#[test]
fn an_address_and_an_audience_are_enough_for_an_issuer() {
    let config = load(&format!("{BASE}[[issuers]]\nissuer = 'https://idp.example.com:8443/t'\naudience = 'c'"));
    let [IssuerConfig { trust, keys, keys_refresh, keys_max_age, tls_ca, userinfo_url, login }] = config.issuers.as_slice()
    else {
        panic!()
    };
    assert_eq!(
        (&*trust.name, &*trust.issuer, keys),
        ("idp.example.com", "https://idp.example.com:8443/t", &KeySource::Discovery)
    );
    assert_eq!((keys_refresh.as_secs(), keys_max_age.as_secs(), trust.algorithms.len()), (300, 86_400, 9));
    assert_eq!((tls_ca, userinfo_url, trust.userinfo, trust.groups.len(), login), (&None, &None, false, 0, &None));
}

/// What the documentation shows can be copied.
#[test]
fn documented_issuers_are_sound() {
    let documentation = include_str!("../../../../docs/identity.md");
    let blocks: Vec<_> = documentation.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let issuers: Vec<_> = blocks.iter().filter(|block| block.contains("[[issuers]]")).collect();
    for block in &issuers {
        let dir = directory(&format!("{BASE}{block}"));
        std::fs::write(dir.path().join("cluster.jwks.json"), "x").unwrap();
        let config = Config::load(dir.path()).unwrap_or_else(|error| panic!("{error}\n{block}"));
        assert_eq!(config.issuers.len(), 1, "{block}");
    }
    assert!(issuers.len() >= 6);
}

#[test]
fn without_a_certificate_only_loopback_plaintext_is_served() {
    let bare = BASE.replace("[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n", "");
    assert!(wrong(&format!("{bare}[api]\nlisten = '127.0.0.1:1'")).contains("`tls`: the API is served over TLS only"));
    let listener = |rest: &str| format!("{bare}[[listeners]]\nkind = 'postgres'\nlisten = '127.0.0.1:1'\n{rest}");
    assert!(wrong(&listener("")).contains("`tls`: the listener on 127.0.0.1:1 takes tokens over TLS only"));
    assert!(load(&listener("plaintext = true")).listeners[0].plaintext);
}

/// Whatever somebody puts where a reference to a secret belongs, an error does not repeat it.
#[test]
fn a_misplaced_password_is_never_repeated() {
    for value in ["'hunter2'", "'env:'", "4242", "['hunter2']", "{ hunter2 = 4242 }", "'vault:hunter2'"] {
        let message = wrong(&format!("{BASE}{BANK}password = {value}"));
        assert!(message.contains("must be `env:NAME` or `file:PATH`"), "{message}");
        assert!(!message.contains("hunter2") && !message.contains("4242"), "{message}");
    }
    assert!(!wrong(&format!("{BASE}{BANK}password = 'hunter2")).contains("hunter2"));
}

#[test]
fn the_hash_covers_every_file() {
    let dir = directory(BASE);
    let mut hashes = std::collections::BTreeSet::new();
    let mut hash = |path: &Path| hashes.insert(Config::load(path).unwrap().hash);
    assert!(hash(dir.path()));
    assert!(!hash(dir.path()));
    std::fs::write(dir.path().join("policies/notes.txt"), "changed").unwrap();
    assert!(!hash(dir.path()));
    std::fs::write(dir.path().join("policies/a.cedar"), "// changed").unwrap();
    assert!(hash(dir.path()));
    std::fs::rename(dir.path().join("policies/a.cedar"), dir.path().join("policies/c.cedar")).unwrap();
    assert!(hash(dir.path()));
    std::fs::write(dir.path().join("claviger.toml"), format!("{BASE}\n# changed")).unwrap();
    assert!(hash(dir.path()));
    assert!(hashes.iter().all(|hash| hash.len() == 64));
}

#[test]
fn masks_are_methods_of_labels() {
    let config = load(&format!(
        r#"{BASE}
        [masking]
        key = "file:password"
        key_version = 3
        groups_of = 25
        filter_budget = {{ statements = 100, per = "1h" }}
        [[masks]]
        label = "card"
        method = "partial"
        last = 4
        [[masks]]
        label = "pii"
        method = "token"
        session = true
        [[masks]]
        label = "age"
        method = "bucket"
        width = 10
        [[masks]]
        label = "born"
        method = "bucket"
        to = "year"
        [[masks]]
        label = "visit"
        method = "date_shift"
        session = true
        "#
    ));
    assert!(matches!(config.masking.key, Some(CredentialRef::File(_))));
    assert_eq!(config.masking.key_version, 3);
    let budget = FilterBudget { statements: 100, per: Duration::from_secs(3600) };
    assert_eq!(config.masking.release, Release { groups_of: 25, filter_budget: Some(budget), ..Release::default() });
    let methods: Vec<_> = config.masking.methods.iter().map(|(label, method)| (&**label, *method)).collect();
    let expected = [
        ("card", Method::Partial { first: 0, last: 4 }),
        ("pii", Method::Token { session: true }),
        ("age", Method::Bucket { width: 10 }),
        ("born", Method::Truncate { unit: Unit::Year }),
        ("visit", Method::DateShift { days: 365, session: true }),
    ];
    assert_eq!(methods, expected);
    assert_eq!(load(BASE).masking.key, None);
}

#[test]
fn what_is_searched_for_is_said_for_each_connection() {
    let searches = |lines: &str| load(&format!("{BASE}{BANK}{lines}")).connections[0].detect.is_some();
    assert!(!searches(""));
    assert!(searches("classify = { \"public.customers.ssn\" = [\"pii\"] }"));
    assert!(!searches("detect = false\nclassify = { \"public.customers.ssn\" = [\"pii\"] }"));
    assert!(searches("detect = true"));
    assert!(searches("detect = [\"ssn\", \"credit_card\"]"));
    assert!(wrong(&format!("{BASE}{BANK}detect = [\"shoe_size\"]")).contains("no detector is called so"));
}

#[test]
fn detectors_are_chosen_and_added() {
    let lines = "[connections.detect]\nalso = [\"url\"]\noff = [\"ip_address\"]\nreplace = { ssn = \"last-four\" }\n\
                 [[connections.detect.patterns]]\nname = \"badge\"\npattern = 'E-\\d{4}'\nwords = [\"badge\"]";
    let config = load(&format!("{BASE}{BANK}{lines}"));
    let detectors = config.connections[0].detect.as_ref().unwrap().detectors();
    let mask = |text: &str| {
        let masked = detectors.mask(text.as_bytes(), Default::default(), &mut Default::default()).into_owned();
        String::from_utf8(masked).unwrap()
    };
    assert_eq!(mask("www.example.com 10.0.0.1 536-90-4399 badge E-1234"), "[url] 10.0.0.1 ***-**-4399 badge [badge]");
    let wrong = |lines: &str| wrong(&format!("{BASE}{BANK}[connections.detect]\n{lines}"));
    assert!(wrong("off = [\"shoe_size\"]").contains("no detector is called so"));
    assert!(wrong("replace = { jwt = \"last-four\" }").contains("too little"));
    assert!(wrong("replace = { ssn = \"blank\" }").contains("`blank` is not one of"));
    assert!(wrong("[[connections.detect.patterns]]\nname = \"ssn\"\npattern = \"x\"").contains("no detector has it"));
    assert!(wrong("[[connections.detect.patterns]]\nname = \"x\"\npattern = \"(\"").contains("detect.patterns"));
    assert!(wrong("sometimes = true").contains("a list of detectors, or a table"));
}

#[test]
fn terms_are_named_or_stand_in_files() {
    let dir = directory(BASE);
    std::fs::write(dir.path().join("terms.txt"), "Blue Heron\n\n  kestrel\r\n").unwrap();
    let load = |lines: &str| {
        std::fs::write(dir.path().join("claviger.toml"), format!("{BASE}{BANK}[connections.detect]\n{lines}")).unwrap();
        Config::load(dir.path())
    };
    let config = load("terms = [{ name = \"project\", words = [\"Falcon\"], file = \"terms.txt\" }]").unwrap();
    let detectors = config.connections[0].detect.as_ref().unwrap().detectors();
    let masked =
        detectors.mask(b"falcon, blue heron, kestrels, Kestrel", Default::default(), &mut Default::default()).into_owned();
    assert_eq!(String::from_utf8(masked).unwrap(), "[project], [project], kestrels, [project]");
    let wrong = |lines: &str| load(lines).unwrap_err().to_string();
    assert!(wrong("terms = [{ name = \"project\" }]").contains("terms[0] (project).words`: needs"));
    assert!(wrong("terms = [{ name = \"project\", file = \"none.txt\" }]").contains("there is no file"));
    assert!(wrong("terms = [{ name = \"project\", words = [\"x\"] }]").contains("detect.terms`: `project`: `x`"));
    assert!(wrong("terms = [{ name = \"ssn\", words = [\"falcon\"] }]").contains("no detector has it"));
}

#[test]
fn masks_that_make_no_sense_are_refused() {
    let mask = |lines: &str| wrong(&format!("{BASE}\n[[masks]]\nlabel = \"pii\"\n{lines}"));
    for (lines, message) in [
        ("method = \"hide\"", "`hide` is not one of `redact`"),
        ("method = \"redact\"\nlast = 4", "`masks[0] (pii).last`: means nothing to `redact`"),
        ("method = \"partial\"", "`partial` keeps something"),
        ("method = \"partial\"\nfirst = 1000", "must be at most 64"),
        ("method = \"bucket\"\nwidth = 5\nto = \"year\"", "`bucket` needs a `width`"),
        ("method = \"hash\"", "`token` is a hash that has one"),
        ("method = \"bucket\"\nto = \"week\"", "`week` is not one of `month`"),
        ("method = \"date_shift\"\ndays = 0", "must be 1 to 3650"),
        ("method = \"redact\"\nlenght = 4", "unknown field `lenght`"),
        ("method = \"redact\"\n[[masks]]\nlabel = \"pii\"\nmethod = \"null\"", "`pii` is used twice"),
        ("method = \"token\"\n[masking]\nkey = \"hunter2\"", "a reference to the secret and not the secret"),
    ] {
        let error = mask(lines);
        assert!(error.contains(message) && !error.contains("hunter2"), "{error}");
    }
}
