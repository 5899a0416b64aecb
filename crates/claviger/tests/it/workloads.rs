//! What issuers publish and sign: the shapes of workloads' tokens, groups that are told elsewhere, and misleading metadata.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Asked, Conn, Gateway, Major, PERMIT_ALL, Server, SigningKey, Web, eventually, key_set, now, run};
use crate::identity::refusal;

/// What is fetched is there within this time.
const SOON: Duration = Duration::from_secs(10);

/// An issuer with this key, which answers other questions so.
fn issuer(key: &SigningKey, other: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Web {
    let web = Web::start(|_| (503, String::new()));
    let (url, keys) = (web.url(), key_set(&[key]));
    web.answer(move |asked| match asked.line.as_str() {
        "GET /.well-known/openid-configuration" => {
            let metadata =
                json!({ "issuer": url, "jwks_uri": format!("{url}/jwks"), "userinfo_endpoint": format!("{url}/userinfo") });
            (200, metadata.to_string())
        }
        "GET /jwks" => (200, keys.clone()),
        _ => other(asked),
    });
    web
}

fn nothing_else(_: &Asked) -> (u16, String) {
    (404, String::new())
}

fn record(web: &Web, more: &str) -> String {
    format!("[[issuers]]\nname = \"idp\"\nissuer = \"{}\"\naudience = \"claviger\"\n{more}\n", web.url())
}

fn gateway(server: &Server, policies: &str, issuers: &str) -> Gateway {
    let mut gateway = Gateway::configure(&[Conn::to("bank", server)], policies, issuers);
    gateway.start();
    gateway
}

/// A token of this issuer with these claims besides the usual ones.
fn sign(gateway: &Gateway, key: &SigningKey, issuer: Option<&str>, more: &Value) -> String {
    let mut claims = json!({ "aud": "claviger", "iat": now(), "exp": now() + 300 });
    if let Some(issuer) = issuer {
        claims["iss"] = issuer.into();
    }
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let token = key.sign(&claims);
    gateway.must_not_write_token(&token);
    token
}

/// The documentation's example for an issuer, with another address.
fn documented(name: &str, replace: &[(&str, &str)]) -> String {
    let documentation = include_str!("../../../../docs/identity.md");
    let mut blocks = documentation.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let block = blocks.find(|block| block.contains(&format!("name = \"{name}\""))).expect("it is documented");
    replace.iter().fold(block.to_owned(), |block, (old, new)| {
        assert!(block.contains(old), "{old} is not in {block}");
        block.replace(old, new)
    })
}

/// Signs a token for each row of claims, and compares who that is, or why it is refused.
async fn expect(gateway: &Gateway, key: &SigningKey, issuer: Option<&str>, good: &Value, rows: &[(Value, &str)]) {
    for (changes, expected) in rows {
        let mut claims = good.clone();
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let token = sign(gateway, key, issuer, &claims);
        if expected.contains('@') {
            eventually("the keys are there", SOON, async || gateway.login("bank", "x", &token).await.is_ok()).await;
            assert_eq!(gateway.leaves_of("SESSION_OPEN").last().unwrap()["chain"], json!([expected]));
        } else {
            assert_eq!(refusal(gateway, "bank", &token).2, *expected, "{changes}");
        }
    }
}

#[test]
fn github_actions() {
    run(async {
        let server = server!(Major::V15);
        let key = SigningKey::new("gh");
        let web = issuer(&key, nothing_else);
        let record = documented("github", &[("https://token.actions.githubusercontent.com", &web.url())]);
        let policy = r#"permit (principal == Workload::"github/repository:1296269", action == Action::"connect", resource)
            when { principal in Group::"github/production" };"#;
        let gateway = gateway(&server, policy, &record);
        let good = json!({
            "jti": "bb8f4bd7", "sub": "repo:acme/billing:environment:production", "aud": "claviger",
            "ref": "refs/heads/main", "repository": "acme/billing", "repository_id": "1296269", "repository_owner": "acme",
            "repository_owner_id": "9919", "run_id": "1658821493", "run_attempt": "1", "actor": "octocat", "actor_id": "583231",
            "environment": "production", "ref_protected": "true", "ref_type": "branch", "event_name": "push",
            "repository_visibility": "private", "runner_environment": "github-hosted", "workflow": "deploy",
            "job_workflow_ref": "acme/pipelines/.github/workflows/deploy.yml@refs/heads/main",
        });
        let rows = [
            (json!({}), "repository:1296269@github"),
            // A repository that was renamed, or in the newer form of `sub`, is the same; its namesake is not.
            (json!({ "sub": "repo:acme-9919/billing2-1296269:ref:refs/heads/main" }), "repository:1296269@github"),
            (json!({ "repository_id": "77" }), "policy.deny"),
            (json!({ "environment": "staging" }), "policy.deny"),
            (json!({ "repository_owner_id": "1" }), "token.requirement"),
            (json!({ "job_workflow_ref": "acme/pipelines/.github/workflows/deploy.yml@refs/heads/mine" }), "token.requirement"),
            (json!({ "job_workflow_ref": null }), "token.requirement"),
        ];
        expect(&gateway, &key, Some(&web.url()), &good, &rows).await;
    });
}

#[test]
fn gitlab() {
    run(async {
        let server = server!(Major::V15);
        let key = SigningKey::new("gl");
        let web = issuer(&key, nothing_else);
        let gateway = gateway(&server, PERMIT_ALL, &documented("gitlab", &[("https://gitlab.example.com", &web.url())]));
        let good = json!({
            "sub": "project_path:acme/billing:ref_type:branch:ref:main", "namespace_id": "72", "namespace_path": "acme",
            "project_id": "22", "project_path": "acme/billing", "user_id": "1", "user_login": "sam", "pipeline_id": "574",
            "pipeline_source": "push", "job_id": "302", "ref": "main", "ref_type": "branch", "ref_protected": "true",
            "environment": "production", "environment_protected": "true", "deployment_tier": "production",
        });
        let rows = [
            (json!({}), "project:22:production@gitlab"),
            (json!({ "environment": "staging" }), "project:22:staging@gitlab"),
            (json!({ "ref_protected": "false" }), "token.requirement"),
            (json!({ "environment": "production-mine" }), "token.requirement"),
            (json!({ "namespace_id": "73" }), "token.requirement"),
        ];
        expect(&gateway, &key, Some(&web.url()), &good, &rows).await;
    });
}

#[test]
fn kubernetes() {
    run(async {
        let server = server!(Major::V15);
        let key = SigningKey::new("k8s");
        let policy = r#"permit (principal in Group::"cluster/etl", action == Action::"connect", resource);"#;
        let mut gateway = Gateway::configure(&[Conn::to("bank", &server)], policy, &documented("cluster", &[]));
        std::fs::write(gateway.path("cluster.jwks.json"), key_set(&[&key])).unwrap();
        gateway.start();
        let cluster = |namespace: &str| {
            json!({ "namespace": namespace, "node": { "name": "n1", "uid": "5b3" }, "pod": { "name": "nightly-8xk", "uid": "5e0" },
                "serviceaccount": { "name": "nightly", "uid": "14ee3fa4" }, "warnafter": now() + 200 })
        };
        let good = json!({
            "aud": ["claviger"], "jti": "ea28ed49", "nbf": now(), "sub": "system:serviceaccount:etl:nightly",
            "kubernetes.io": cluster("etl"),
        });
        let rows = [
            (json!({}), "etl:nightly@cluster"),
            (json!({ "kubernetes.io": cluster("reports") }), "policy.deny"),
            (json!({ "kubernetes.io": cluster("default") }), "token.requirement"),
            (json!({ "kubernetes.io": null }), "token.requirement"),
            (json!({ "aud": ["https://kubernetes.default.svc.cluster.local"] }), "token.audience"),
        ];
        expect(&gateway, &key, Some("https://kubernetes.default.svc.cluster.local"), &good, &rows).await;
    });
}

#[test]
fn spiffe() {
    run(async {
        let server = server!(Major::V15);
        let key = SigningKey::new("svid");
        let mut bundle: Value = serde_json::from_str(&key_set(&[&key])).unwrap();
        bundle["keys"][0]["use"] = "jwt-svid".into();
        bundle["spiffe_refresh_hint"] = 300.into();
        let web = Web::start(move |_| (200, bundle.to_string()));
        let record = documented("mesh", &[("https://spire.example.com/bundle", &format!("{}/bundle", web.url()))]);
        let gateway = gateway(&server, PERMIT_ALL, &record);
        let good = json!({ "sub": "spiffe://prod.example.com/ns/etl/sa/nightly", "aud": ["claviger"] });
        let rows = [
            (json!({}), "spiffe://prod.example.com/ns/etl/sa/nightly@mesh"),
            (json!({ "sub": "spiffe://test.example.com/ns/etl/sa/nightly" }), "token.unknown_issuer"),
            (json!({ "sub": "spiffe://prod.example.com" }), "token.trust_domain"),
        ];
        expect(&gateway, &key, None, &good, &rows).await;
    });
}

#[test]
fn one_subject_at_two_issuers_is_two_principals() {
    run(async {
        let server = server!(Major::V15);
        let (one, two) = (SigningKey::new("same"), SigningKey::new("same"));
        let (first, second) = (issuer(&one, nothing_else), issuer(&two, nothing_else));
        let records = record(&first, "") + &record(&second, "").replace("\"idp\"", "\"other\"");
        let policy = r#"permit (principal == User::"idp/erin", action == Action::"connect", resource);"#;
        let gateway = gateway(&server, policy, &records);
        let erin = json!({ "sub": "erin" });
        let good = sign(&gateway, &one, Some(&first.url()), &erin);
        eventually("keys", SOON, async || gateway.login("bank", "x", &good).await.is_ok()).await;
        let namesake = sign(&gateway, &two, Some(&second.url()), &erin);
        eventually("keys", SOON, async || refusal(&gateway, "bank", &namesake).2 == "policy.deny").await;
        // The keys of one speak for nobody of the other, though they have the same id.
        let crossed = sign(&gateway, &two, Some(&first.url()), &erin);
        assert_eq!(refusal(&gateway, "bank", &crossed).2, "token.signature");
    });
}

/// What the userinfo endpoint of a test says of each token.
fn userinfo(sub: &'static str, groups: &'static [&'static str]) -> impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static {
    move |_| (200, json!({ "sub": sub, "groups": groups }).to_string())
}

#[test]
fn groups_are_asked_for_where_a_token_lists_none() {
    run(async {
        let server = server!(Major::V15);
        let key = Arc::new(SigningKey::new("k"));
        let web = issuer(&key, userinfo("erin", &["staff", "dba"]));
        let policy = r#"permit (principal in Group::"idp/dba", action == Action::"connect", resource);"#;
        let gateway = gateway(&server, policy, &record(&web, "groups_claim = \"groups\"\nuserinfo = true"));
        let token = |more: Value| sign(&gateway, &key, Some(&web.url()), &more);
        let listed = token(json!({ "sub": "erin", "groups": ["dba"] }));
        eventually("keys", SOON, async || gateway.login("bank", "x", &listed).await.is_ok()).await;
        assert_eq!(web.asked("/userinfo").len(), 0, "a token that lists its groups needs nobody");
        for (n, left_out) in [
            json!({ "sub": "erin" }),
            json!({ "sub": "erin", "_claim_names": { "groups": "src1" }, "_claim_sources": { "src1": {} } }),
            json!({ "sub": "erin", "hasgroups": true }),
        ]
        .into_iter()
        .enumerate()
        {
            let token = token(left_out);
            for _ in 0..3 {
                gateway.login("bank", "x", &token).await.unwrap();
            }
            let asked = web.asked("/userinfo");
            assert_eq!(asked.len(), n + 1, "the answer is kept");
            assert_eq!(asked[n].authorization.as_deref(), Some(format!("Bearer {token}").as_str()));
        }
        // About somebody else, truncated again, in no group, no answer at all.
        let mallory = token(json!({ "sub": "mallory" }));
        assert_eq!(refusal(&gateway, "bank", &mallory).2, "groups.unavailable");
        assert_eq!(refusal(&gateway, "bank", &mallory).2, "groups.unavailable");
        assert_eq!(web.asked("/userinfo").len(), 4, "nor is nobody asked at every login");
    });
}

#[test]
fn without_an_answer_nobody_is_let_in() {
    run(async {
        let server = server!(Major::V15);
        let key = Arc::new(SigningKey::new("k"));
        let answer = Arc::new(std::sync::Mutex::new((401, String::new())));
        let told = answer.clone();
        let web = issuer(&key, move |_| told.lock().unwrap().clone());
        let gateway = gateway(&server, PERMIT_ALL, &record(&web, "groups_claim = \"groups\"\nuserinfo = true"));
        let token = |n: usize| sign(&gateway, &key, Some(&web.url()), &json!({ "sub": "erin", "jti": n.to_string() }));
        for (n, (status, body)) in [
            (401, "{}".to_owned()),
            (500, "{}".to_owned()),
            (302, format!("{}/jwks", web.url())),
            (200, "no json".to_owned()),
            (200, json!({ "sub": "erin", "groups": [7] }).to_string()),
            (200, json!({ "sub": "erin", "hasgroups": true }).to_string()),
            (200, format!("{{\"sub\":\"erin\",\"x\":\"{}\"}}", "a".repeat(300_000))),
        ]
        .into_iter()
        .enumerate()
        {
            *answer.lock().unwrap() = (status, body.clone());
            let token = token(n);
            eventually("keys", SOON, async || refusal(&gateway, "bank", &token).2 == "groups.unavailable").await;
        }
        *answer.lock().unwrap() = (200, json!({ "sub": "erin" }).to_string());
        gateway.login("bank", "x", &token(99)).await.unwrap();
    });
}

#[test]
fn misleading_metadata_leads_nowhere() {
    run(async {
        let server = server!(Major::V15);
        let key = SigningKey::new("k");
        let keys = key_set(&[&key]);
        let metadata = |issuer: &str, jwks: &str| json!({ "issuer": issuer, "jwks_uri": jwks }).to_string();
        let long = format!("{}{keys}", " ".repeat(300_000));
        // What each answers for its metadata, given its own address, and for its keys.
        type Metadata<'a> = Box<dyn Fn(&str) -> String + 'a>;
        let misleading: Vec<(Metadata<'_>, (u16, String))> = vec![
            (Box::new(|url| metadata(&format!("{url}/"), &format!("{url}/jwks"))), (200, keys.clone())),
            (Box::new(|url| metadata(url, "http://192.0.2.1/jwks")), (200, keys.clone())),
            (Box::new(|url| metadata(url, "ftp://127.0.0.1/jwks")), (200, keys.clone())),
            (Box::new(|url| metadata(url, &format!("{url}/jwks"))), (302, "/more".to_owned())),
            (Box::new(|url| metadata(url, &format!("{url}/jwks"))), (200, long)),
            (Box::new(|url| metadata(url, &format!("{url}/jwks")) + &" ".repeat(300_000)), (200, keys.clone())),
        ];
        let (mut webs, mut records) = (Vec::new(), String::new());
        for (n, (metadata, jwks)) in misleading.into_iter().enumerate() {
            let web = Web::start(|_| (503, String::new()));
            let (metadata, keys) = (metadata(&web.url()), keys.clone());
            web.answer(move |asked| match asked.line.as_str() {
                "GET /.well-known/openid-configuration" => (200, metadata.clone()),
                "GET /jwks" => jwks.clone(),
                _ => (200, keys.clone()),
            });
            records += &record(&web, "").replace("\"idp\"", &format!("\"idp{n}\""));
            webs.push(web);
        }
        let gateway = gateway(&server, PERMIT_ALL, &records);
        for web in &webs {
            eventually("it is asked, and asked again", SOON, async || web.asked("/.well-known").len() > 1).await;
            let token = sign(&gateway, &key, Some(&web.url()), &json!({ "sub": "erin" }));
            assert_eq!(refusal(&gateway, "bank", &token).2, "keys.unavailable");
            assert_eq!(web.asked("/more").len(), 0, "redirects are not followed");
        }
    });
}
