#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

fn policy(arguments: &[&str]) -> Result<(), Failure> {
    let line = Line::try_parse_from(["policy"].iter().chain(arguments)).unwrap_or_else(|error| panic!("{error}"));
    run(line.command, &mut Output::discard())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn said(result: Result<(), Failure>) -> String {
    result.err().map(|failure| failure.to_string()).unwrap_or_default()
}

#[test]
fn the_starter_packs_do_what_their_tests_say() {
    let packs = root().join("policies");
    let packs = packs.to_str().unwrap();
    assert_eq!(said(policy(&["check", "--policies", packs])), "");
    assert_eq!(said(policy(&["test", "--policies", packs])), "");
}

/// A directory with one policy and one test.
fn beside(cedar: &str, tests: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("p.cedar"), cedar).unwrap();
    let catalog = root().join("crates/claviger-sql/tests/catalog.tsv");
    std::fs::write(dir.path().join("p.test.toml"), format!("catalog = {catalog:?}\n{tests}")).unwrap();
    dir
}

const READ: &str = r#"@id("read") permit (principal == User::"a", action == Action::"read", resource);"#;

#[test]
fn a_test_can_fail() {
    let run = |tests: &str| {
        let dir = beside(READ, &format!("principals.a = {{}}\n{tests}"));
        said(policy(&["test", "--policies", dir.path().to_str().unwrap()]))
    };
    let test = |rest: &str| format!("[[tests]]\nwho = \"a\"\nsql = \"SELECT id FROM notes LIMIT 1\"\n{rest}\n");
    assert_eq!(run(&test("expect = \"permit\"")), "");
    assert_eq!(run(&test("expect = \"permit\"\nby = [\"read\"]")), "");
    assert_eq!(run(&test("expect = \"deny\"")), "1 of 1 tests failed");
    assert_eq!(run(&test("expect = \"permit\"\nby = [\"write\"]")), "1 of 1 tests failed");
    assert_eq!(run(&test("expect = \"hold\"").replace("SELECT id", "SELECT id, no_such")), "1 of 1 tests failed");
}

#[test]
fn requests_and_calls_are_tested_by_their_dialect() {
    let cedar = r#"@id("chat") permit (principal == User::"a", action == Action::"invoke", resource)
        when { !(resource is Tool) && !(resource is Model && resource.name != "small") };"#;
    let run = |file: &str, test: &str| {
        let dir = beside(cedar, "tests = []");
        let tests = format!("{file}\nprincipals.a = {{}}\n[[tests]]\nwho = \"a\"\n{test}");
        std::fs::write(dir.path().join("p.test.toml"), tests).unwrap();
        said(policy(&["test", "--policies", dir.path().to_str().unwrap()]))
    };
    let http = |test: &str| run("dialect = \"openai\"", test);
    let chat = |model: &str| {
        format!(
            "request = \"POST /v1/chat/completions?x\"\ncontent = {{ model = \"{model}\", messages = [] }}\nexpect = \"permit\""
        )
    };
    assert_eq!(http(&chat("small")), "");
    assert_eq!(http(&chat("large")), "1 of 1 tests failed");
    assert_eq!(http("request = \"GET /v1/models\"\nexpect = \"permit\"\nby = [\"chat\"]"), "");
    assert_eq!(http("request = \"GET /v1/nowhere\"\nexpect = \"permit\""), "1 of 1 tests failed");
    assert_eq!(http("request = \"POST /v1/chat/completions\"\nexpect = \"deny\""), "", "it has no content");
    assert_eq!(http("call = \"tool\"\nexpect = \"deny\""), "");
    for test in [
        "expect = \"deny\"",
        "request = \"GET /v1/models\"\nsql = \"\"\nexpect = \"deny\"",
        "call = \"x\"\ncontent = 1\nexpect = \"deny\"",
        "request = \"TRACE /\"\nexpect = \"deny\"",
        "request = \"/v1/models\"\nexpect = \"deny\"",
    ] {
        assert!(http(test).contains("test 1: one of"), "{test}: {}", http(test));
    }
    assert!(http("sql = \"SELECT 1\"\nexpect = \"deny\"").contains("`SELECT 1` is nothing for a `http` connection"));
    assert!(run("dialect = \"no\"", &chat("small")).contains("there is no dialect `no`"));
}

#[test]
fn requests_are_tested_by_the_description_of_their_service() {
    let cedar = r#"@id("one") permit (principal, action == Action::"invoke", resource == Endpoint::"bank/GET /v1/users/{id}")
        when { resource has operation && resource.operation == "getUser" && resource.name like "/v1/users/*" };
        @id("all") permit (principal, action, resource is Endpoint) when { !(resource has template) };"#;
    let dir = beside(cedar, "tests = []");
    let swagger = r#"{"swagger": "2.0", "basePath": "/v1", "paths": {"/users/{id}": {"get": {"operationId": "getUser"}}}}"#;
    std::fs::write(dir.path().join("users.json"), swagger).unwrap();
    let run = |head: &str, request: &str, expected: &str| {
        let test = format!("{head}\nprincipals.a = {{}}\n[[tests]]\nwho = \"a\"\nrequest = \"{request}\"\nexpect = \"{expected}");
        std::fs::write(dir.path().join("p.test.toml"), test).unwrap();
        said(policy(&["test", "--policies", dir.path().to_str().unwrap()]))
    };
    let described = "openapi = \"users.json\"";
    assert_eq!(run(described, "GET /v1/users/7", "permit\"\nby = [\"one\"]"), "");
    assert_eq!(run(described, "DELETE /v1/users/7", "deny\"\nby = []"), "");
    assert_eq!(run("dialect = \"plain\"", "GET /v1/users/7", "permit\"\nby = [\"all\"]"), "");
    assert!(run("openapi = \"none.json\"", "GET /v1/users/7", "deny\"").contains("none.json: cannot be read"));
}

#[test]
fn a_wrong_test_is_no_passed_test() {
    for (tests, word) in [
        ("[[tests]]\nwho = \"b\"\nsql = \"\"\nexpect = \"permit\"", "nobody of that name"),
        ("[[tests]]\nwho = \"a\"\nsql = \"\"\nexpect = \"maybe\"", "unknown variant"),
        ("[[tests]]\nwho = \"a\"\nsql = \"\"\nexpect = \"permit\"\nmood = 1", "unknown field"),
        ("classify.\"public.nothing\" = [\"pii\"]\n[[tests]]\nwho = \"a\"\nsql = \"\"\nexpect = \"permit\"", "public.nothing"),
    ] {
        let (classify, tests) = tests.split_once("[[").map(|(before, after)| (before, format!("[[{after}"))).unwrap();
        let dir = beside(READ, &format!("{classify}principals.a = {{}}\n{tests}"));
        let said = said(policy(&["test", "--policies", dir.path().to_str().unwrap()]));
        assert!(said.contains(word), "{tests}: {said}");
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(said(policy(&["test", "--policies", empty.path().to_str().unwrap()])).contains("no `*.test.toml`"));
}

#[test]
fn what_is_wrong_with_policies_is_told_with_its_place() {
    let dir = beside("// first\npermit (principal, action == Action::\"reed\", resource);", "tests = []");
    for command in ["check", "test"] {
        let failure = policy(&[command, "--policies", dir.path().to_str().unwrap()]).unwrap_err();
        assert!(matches!(&failure, Failure::Usage(said) if said.starts_with("p.cedar:2:")), "{failure}");
    }
    assert!(said(policy(&["check", "--policies", "/no/such/directory"])).contains("no such directory"));
}

#[test]
fn an_explanation_says_who_determined_it_and_what_stands_in_the_way() {
    let catalog =
        catalog::of_file(&root().join("crates/claviger-sql/tests/catalog.tsv"), &claviger_sql::Classification::default())
            .unwrap();
    let policies = load(&root().join("policies")).unwrap();
    let mut people = people::People::default();
    people.join_all(&["assistant=agents".to_owned(), "alice=engineers".to_owned()]).unwrap();
    people.is_workload("assistant");
    let explain = |who: &str, sql: &str| {
        let chain = people.chain(who).unwrap();
        let context = claviger_policy::Context {
            client_address: std::net::IpAddr::from([127, 0, 0, 1]),
            application: None,
            tls: true,
            purpose: None,
        };
        let production = ["environment.production".into()];
        let name = "bank".parse().unwrap();
        let party = claviger_policy::Party::new(&chain, &name, "postgres", &production, claviger_model::Mode::Enforce, context);
        let session = claviger_sql::Session { path: catalog.path().to_vec(), ..claviger_sql::Session::default() };
        let now = claviger_model::Timestamp::from_secs(1_795_435_200);
        let moment = claviger_policy::Moment {
            now,
            approvals: &Default::default(),
            grants: Default::default(),
            lately: Default::default(),
        };
        let judged = judged::judge(&policies, &party, (&catalog, &session), sql, &moment);
        judged.explain(&policies, &party)
    };
    let held = explain("assistant for alice", "DELETE FROM notes");
    assert_eq!((held.verdict, held.changes), ("hold", vec!["the approval of dbas".to_owned()]));
    let names: Vec<&str> = held.risk.contributions.iter().map(|part| &*part.name).collect();
    assert_eq!(names, ["verb.delete", "hazard.bulk_write", "production", "delegated"]);
    let [statement] = held.statements.as_slice() else { panic!("{:?}", held.statements) };
    let question = statement.questions.iter().find(|question| question.action == "delete").unwrap();
    assert_eq!(question.objects, [r#"Table::"bank/public.notes""#]);
    let determining: Vec<&str> = question.links.iter().flat_map(|link| &link.policies).map(|policy| &*policy.id).collect();
    assert_eq!(determining, ["agents-change-many-rows", "engineers-change-many-rows"]);
    assert!(question.links.iter().flat_map(|link| &link.policies).all(|policy| policy.at.contains(".cedar:")));

    let denied = explain("assistant", "DROP TABLE notes");
    assert_eq!((denied.verdict, denied.reason.as_deref()), ("deny", Some("agents do not drop or truncate")));
    assert!(
        denied.changes.iter().any(|change| change.starts_with("`agents-destroy-nothing` (agents.cedar:")),
        "{:?}",
        denied.changes
    );
    let nobody = explain("alice for assistant", "VACUUM notes");
    assert_eq!(nobody.verdict, "deny");
    assert_eq!(explain("assistant", "no sql").changes, ["the text itself: it is not a statement of PostgreSQL"]);
    assert_eq!(explain("alice", "SELECT 1").changes, Vec::<String>::new());
}

#[test]
fn what_no_policy_permits_is_told_as_the_permit_that_is_missing() {
    let dir = beside(READ, "tests = []");
    let policies = load(dir.path()).unwrap();
    let catalog =
        catalog::of_file(&root().join("crates/claviger-sql/tests/catalog.tsv"), &claviger_sql::Classification::default())
            .unwrap();
    let mut people = people::People::default();
    people.know("a");
    let context = claviger_policy::Context { client_address: [127, 0, 0, 1].into(), application: None, tls: true, purpose: None };
    let (chain, name) = (people.chain("a").unwrap(), "bank".parse().unwrap());
    let party = claviger_policy::Party::new(&chain, &name, "postgres", &[], claviger_model::Mode::Enforce, context);
    let session = claviger_sql::Session { path: catalog.path().to_vec(), ..claviger_sql::Session::default() };
    let now = claviger_model::Timestamp::from_secs(0);
    let moment =
        claviger_policy::Moment { now, approvals: &Default::default(), grants: Default::default(), lately: Default::default() };
    let judged = judged::judge(&policies, &party, (&catalog, &session), "TRUNCATE notes", &moment);
    let changes = judged.explain(&policies, &party).changes;
    assert_eq!(changes, [r#"a permit for User::"a" to truncate Table::"bank/public.notes""#]);
}
