//! Endpoints by the templates of a description: what is permitted by them, what no spelling gets around, and descriptions that change.

use serde_json::{Value, json};

use super::{Rig, Wire};
use crate::harness::{PERMIT_ALL, run};

const USERS: &str = r#"
openapi: 3.1.0
info: { title: Users, version: "1" }
servers:
  - url: https://{region}.example.com/{version}/
    variables: { region: { default: eu }, version: { default: v1, enum: [v1, v2] } }
paths:
  /users:
    get: { operationId: listUsers, responses: { 200: { description: all of them } } }
  /users/{id}:
    parameters: [{ name: id, in: path, required: true, schema: { type: string } }]
    get: { operationId: getUser, responses: { 200: { description: one } } }
    delete: { operationId: deleteUser }
  /users/all:
    delete: { operationId: deleteUsers }
  /reports/{id}:
    post: { operationId: writeReport }
  /reports/{id}:export:
    post: { operationId: exportReport }
"#;

/// What alice may do is said by templates and operations; bob may do whatever is known.
const POLICIES: &str = r#"
    permit (principal == User::"alice", action == Action::"invoke", resource == Endpoint::"api/GET /v1/users/{id}");
    permit (principal == User::"alice", action == Action::"invoke", resource == Endpoint::"api/DELETE /v1/users/{id}")
    when { resource has template && resource.template == "/v1/users/{id}" && resource.name != "/v1/users/1" };
    permit (principal == User::"alice", action == Action::"invoke", resource is Endpoint)
    when { resource has operation && resource.operation == "exportReport" };
    permit (principal == User::"bob", action == Action::"invoke", resource is Endpoint in Connection::"api");
    @id("carefully") @approval("dba")
    forbid (principal == User::"bob", action == Action::"invoke", resource == Endpoint::"api/DELETE /v1/users/{id}")
    unless { context.approvals.contains("dba") };
    @id("dana-reviews") permit (principal == User::"dana", action in Action::"admin", resource);
"#;

impl Rig {
    /// One whose service is described.
    async fn described() -> Option<Self> {
        let rig = Self::start("")?;
        rig.gateway.permit_no_statements();
        rig.gateway.write_policies(&format!("{PERMIT_ALL}\n{POLICIES}"));
        rig.describe(USERS);
        assert!(rig.gateway.reload(|config| config.replace("\"api\"\n", "\"api\"\nopenapi = \"users.yaml\"\n")).await);
        Some(rig)
    }

    fn describe(&self, text: &str) {
        std::fs::write(self.gateway.path("users.yaml"), text).unwrap();
    }

    fn status(&self, token: &str, first: &str) -> u16 {
        let mut wire = self.dial();
        if first.starts_with("HEAD") {
            wire.send(self.request_of(token, first, "Connection: close\r\n", ""));
            return String::from_utf8(wire.rest()).unwrap()[9..12].parse().unwrap();
        }
        wire.ask(self.request_of(token, first, "", "")).status
    }
}

#[test]
fn endpoints_are_permitted_by_their_templates_however_paths_are_spelled() {
    run(async {
        let Some(rig) = Rig::described().await else { return };
        for (first, expected) in [
            ("GET /v1/users/7", 200),
            ("GET /v1/users/b%6Fb%20x?q=1", 200),
            ("DELETE /v1/users/7", 200),
            ("POST /v1/reports/7:export", 200),
            // Others of the description.
            ("DELETE /v1/users/1", 403),
            ("GET /v1/users", 403),
            ("HEAD /v1/users/7", 403),
            ("POST /v1/reports/7", 403),
            ("DELETE /v1/users/all", 403),
            // The same, said otherwise: a server may take each of them for it.
            ("DELETE /v1/users/All", 403),
            ("DELETE /v1/users/al%6C", 403),
            ("DELETE /v1/users/%41LL", 403),
            ("DELETE /v1/users/all/", 403),
            ("DELETE /v1/users/7/", 403),
            ("DELETE /v1//users/all", 400),
            ("DELETE /v1/users/./all", 400),
            ("DELETE /v1/users/7/../all", 400),
            ("DELETE /v1/users/%2e%2e/users/all", 400),
            ("DELETE /v1/users/7%2F..%2Fall", 400),
            ("DELETE /v1/users/all;x=1", 400),
            ("DELETE /v1/users/all%00", 400),
            ("POST /v1/reports/7%3Aexport", 403),
            // None of the description.
            ("GET /users/7", 403),
            ("GET /V1/users/7", 403),
            ("GET /v2/users/7", 403),
            ("GET /v1/users/7/keys", 403),
            ("PUT /v1/users/7", 403),
            ("GET /v1/users/{id}", 400),
        ] {
            assert_eq!(rig.status(&rig.token, first), expected, "{first}");
        }
        let lines: Vec<_> = rig.api.seen().iter().map(|seen| seen["line"].as_str().unwrap().to_owned()).collect();
        let expected = ["GET /v1/users/bob%20x?q=1", "GET /v1/users/7", "DELETE /v1/users/7", "POST /v1/reports/7:export"];
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        assert!(expected.iter().all(|line| lines.iter().any(|seen| seen.contains(line))), "{lines:?}");

        let did = |leaf: &Value| {
            leaf["statements"][0]["effects"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| format!("{} {}", one["verb"].as_str().unwrap(), one["object"].as_str().unwrap()))
                .collect::<Vec<_>>()
        };
        let requests = rig.leaves("REQUEST");
        assert_eq!(did(&requests[0]), ["invoke GET /v1/users/{id}"]);
        let spelled = requests.iter().map(&did).find(|did| did.len() > 1).unwrap();
        assert_eq!(spelled, ["invoke DELETE /v1/users/all", "invoke DELETE /v1/users/{id}"]);
        let unknown = requests.iter().find(|leaf| leaf["statements"][0]["hazards"] == json!(["unknown"])).unwrap();
        assert_eq!(did(unknown), ["unknown DELETE /v1/users/all/"]);
        rig.gateway.verify();
    });
}

#[test]
fn what_a_description_does_not_have_is_unknown() {
    run(async {
        let Some(rig) = Rig::described().await else { return };
        let mut wire = rig.dial();
        let mut status = |first: &str| wire.ask(rig.request_of(&rig.bob, first, "", "")).status;
        // Whoever may call whatever there is may not call what nobody has described.
        for (first, expected) in
            [("GET /v1/users", 200), ("GET /v1/internal", 403), ("PATCH /v1/users", 403), ("OPTIONS /v1/users", 403)]
        {
            assert_eq!(status(first), expected, "{first}");
        }
        assert_eq!(rig.status(&rig.bob, "HEAD /v1/users"), 200, "a head is that of a GET");
        // It is described by now, and a session that runs takes it up.
        rig.describe(
            &USERS.replace("/users/all:", "/internal:").replace("delete: { operationId: deleteUsers }", "get:\n      {}"),
        );
        let boots = rig.leaves("BOOT");
        assert!(rig.gateway.reload(|config| config).await);
        assert_eq!((status("GET /v1/internal"), status("DELETE /v1/internal")), (200, 403));
        let after = rig.leaves("BOOT");
        assert_ne!(boots.last().unwrap()["config"], after.last().unwrap()["config"], "the record tells them apart");
        // What is wrong is not taken up, nor begun with; and it is said where it is wrong.
        for (wrong, place) in [
            (
                USERS.replace("/users/all:", "/users/{name}:"),
                "users.yaml: `paths./users/{name}`: `/v1/users/{name}` fits the same paths as `/v1/users/{id}`",
            ),
            (USERS.replace("/users/all:", "/users/{id:"), "users.yaml: `paths./users/{id`: `/v1/users/{id` has braces"),
            (USERS.replace("paths:", "paths: {}\nx-paths:"), "users.yaml: `paths`: is missing, or empty"),
            (USERS.replace("openapi: 3.1.0", "openapi: 3.1.0\n  x: ["), "users.yaml:3:"),
        ] {
            rig.describe(&wrong);
            assert!(!rig.gateway.reload(|config| config).await, "{place}");
            let served = rig.gateway.command(&["serve"]);
            let complained = String::from_utf8(served.stderr).unwrap();
            assert_eq!(served.status.code(), Some(2), "{complained}");
            assert!(complained.contains(place), "{complained}");
        }
        std::fs::remove_file(rig.gateway.path("users.yaml")).unwrap();
        assert!(!rig.gateway.reload(|config| config).await);
        assert_eq!((status("GET /v1/internal"), status("GET /v1/nowhere")), (200, 403), "what was in force stays so");
        // Without a description, any path is an endpoint.
        assert!(rig.gateway.reload(|config| config.replace("openapi = \"users.yaml\"", "")).await);
        assert_eq!(status("GET /v1/nowhere"), 200);
        let named = "endpoints = [\"GET /v1/{what}\"]";
        assert!(rig.gateway.reload(|config| config.replace("\"api\"\n", &format!("\"api\"\n{named}\n"))).await);
        assert_eq!((status("GET /v1/nowhere"), status("GET /v1/no/where")), (200, 403));
        rig.gateway.verify();
    });
}

#[test]
fn policies_do_not_name_what_nothing_is_called() {
    run(async {
        let Some(rig) = Rig::described().await else { return };
        let forbid = |name: &str| format!("forbid (principal, action, resource == Endpoint::\"{name}\");");
        let except = |name: &str| {
            format!("permit (principal, action, resource is Endpoint) unless {{ resource == Endpoint::\"{name}\" }};")
        };
        for (name, policy) in [
            ("api/DELETE /v1/users/1", forbid as fn(&str) -> String),
            ("api/DELETE /v1/users/{user}", forbid),
            ("api/DELETE /v1/Users/{id}/", forbid),
            ("api/DELETE /v1/users/1", except),
        ] {
            rig.gateway.write_policies(&format!("{PERMIT_ALL}\n{POLICIES}\n{}", policy(name)));
            assert!(!rig.gateway.reload(|config| config).await, "{name}");
            let checked = rig.gateway.command(&["check"]);
            let complained = String::from_utf8(checked.stderr).unwrap();
            assert_eq!(checked.status.code(), Some(2), "{complained}");
            assert!(
                complained.contains("test.cedar:")
                    && complained.contains(&format!(
                        "Endpoint::\"{name}\": such endpoints are named by their template, `/v1/users/{{id}}`"
                    )),
                "{complained}"
            );
        }
        assert_eq!(rig.status(&rig.token, "DELETE /v1/users/7"), 200, "what was in force stays so");
    });
}

#[test]
fn consent_is_to_a_path_and_not_to_its_template() {
    run(async {
        let Some(rig) = Rig::described().await else { return };
        let ask = |first: &str| {
            let (port, request) = (rig.port, rig.request_of(&rig.bob, first, "", ""));
            std::thread::spawn(move || Wire::to(port).ask(request))
        };
        let asking = ask("DELETE /v1/users/7");
        let id = rig.request_for_approval().await;
        let shown: Value = serde_json::from_str(&rig.approvals(&["show", &id, "--json"])).unwrap();
        assert_eq!(shown["effects"], json!(["invoke endpoint DELETE /v1/users/{id}"]));
        assert!(shown["statement"].as_str().unwrap().starts_with("DELETE /v1/users/7\n"), "{shown}");
        let other = ask("DELETE /v1/users/8");
        rig.approvals(&["approve", &id]);
        assert_eq!(asking.join().unwrap().status, 200);
        let id = rig.request_for_approval().await;
        rig.approvals(&["deny", &id, "--reason", "not this one"]);
        assert_eq!(other.join().unwrap().status, 403);
        assert_eq!((rig.seen("/users/7").len(), rig.seen("/users/8").len()), (1, 0));
        rig.gateway.verify();
    });
}

/// What a service for models is asked goes by its template, and by the model; and likewise over HTTP/2.
#[test]
fn templates_are_those_of_models_services_and_streams_too() {
    run(async {
        let endpoints = r#"endpoints = ["POST /v1/chat/completions", "GET /v1/models/{model}"]"#;
        let Some(rig) = Rig::start(&format!("dialect = \"openai\"\n{endpoints}")) else { return };
        rig.gateway.permit_no_statements();
        let policies = r#"permit (principal, action == Action::"invoke", resource is Endpoint in Connection::"plainly");
            permit (principal, action == Action::"invoke", resource == Endpoint::"api/POST /v1/chat/completions");
            permit (principal, action == Action::"invoke", resource is Model) when { resource.name == "gpt-4o" };
            permit (principal, action == Action::"invoke", resource == Endpoint::"api/GET /v1/models/{model}")
            when { resource.name != "/v1/models/gpt-5" };"#;
        rig.gateway.write_policies(&format!("{PERMIT_ALL}\n{policies}"));
        assert!(rig.gateway.reload(|config| config).await);
        for (port, base) in [(rig.port, ""), (rig.shared, "/plainly")] {
            let asks = |first: &str, model: &str| {
                let content = json!({ "model": model, "messages": [{ "role": "user", "content": "hi" }] }).to_string();
                let (more, content) = if model.is_empty() { ("", "") } else { ("Content-Type: application/json\r\n", &*content) };
                let (method, path) = first.split_once(' ').unwrap();
                Wire::to(port).ask(rig.request(&format!("{method} {base}{path}"), more, content)).status
            };
            for (first, model, expected) in [
                ("POST /v1/chat/completions", "gpt-4o", 200),
                ("POST /v1/chat/completions", "gpt-5", 403),
                ("POST /v1/chat/Completions", "gpt-4o", 403),
                ("POST /v1/embeddings", "gpt-4o", 403),
                ("GET /v1/models/gpt-4o", "", 200),
                ("GET /v1/models/gpt-5", "", 403),
                ("GET /v1/models", "", 403),
            ] {
                assert_eq!(asks(first, model), expected, "{base} {first} {model}");
            }
        }
        assert_eq!((rig.seen("/chat/completions").len(), rig.seen("/models/gpt-4o").len(), rig.api.seen().len()), (2, 2, 4));
        rig.gateway.verify();
    });
}
