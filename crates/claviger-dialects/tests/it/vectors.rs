//! Vector databases.

use claviger_dialects::Dialect;
use serde_json::json;

use crate::harness::{Asked, MASK, SECRET};
use crate::requests::{meaning, request};

#[test]
fn what_is_asked_of_qdrant() {
    let table = [
        ("GET", "/", "", ""),
        ("GET", "/collections", "", "read collection *"),
        ("GET", "/collections/kb", "", "read collection kb"),
        ("PUT", "/collections/kb", r#"{"vectors":{"size":3}}"#, "create collection kb"),
        ("PATCH", "/collections/kb", "{}", "alter collection kb"),
        ("DELETE", "/collections/kb", "", "drop collection kb"),
        ("PUT", "/collections/kb/index", r#"{"field_name":"a"}"#, "alter collection kb"),
        ("PUT", "/collections/kb/points", r#"{"points":[{"id":1,"vector":[0.1]}]}"#, "insert collection kb"),
        ("GET", "/collections/kb/points/7", "", "read collection kb"),
        ("POST", "/collections/kb/points/scroll", "{}", "read collection kb"),
        (
            "POST",
            "/collections/kb/points/query",
            r#"{"query":[0.1],"lookup_from":{"collection":"other"}}"#,
            "read collection kb, read collection other",
        ),
        (
            "POST",
            "/collections/kb/points/query/groups",
            r#"{"query":[0.1],"with_lookup":"docs"}"#,
            "read collection docs, read collection kb",
        ),
        ("POST", "/collections/kb/points/delete", r#"{"points":[1]}"#, "delete collection kb"),
        (
            "POST",
            "/collections/kb/points/delete",
            r#"{"filter":{"must":[{"key":"a","match":{"value":1}}]}}"#,
            "delete collection kb",
        ),
        ("POST", "/collections/kb/points/delete", r#"{"filter":{}}"#, "delete collection kb, ! bulk_write"),
        ("POST", "/collections/kb/points/payload/clear", r#"{"filter":{"must":[]}}"#, "update collection kb, ! bulk_write"),
        (
            "POST",
            "/collections/kb/points/batch",
            r#"{"operations":[{"upsert":{"points":[]}},{"delete":{"points":[1]}},{"set_payload":{"points":[1],"payload":{}}}]}"#,
            "insert collection kb, update collection kb, delete collection kb",
        ),
        ("POST", "/collections/kb/points/batch", r#"{"operations":[{"novel":{}}]}"#, "Form(\"operations\")"),
        (
            "POST",
            "/collections/aliases",
            r#"{"actions":[{"create_alias":{"collection_name":"kb","alias_name":"prod"}},{"delete_alias":{"alias_name":"old"}}]}"#,
            "create alias prod, alter collection kb, drop alias old",
        ),
        ("POST", "/collections/kb/snapshots", "", "read collection kb, create snapshot *"),
        ("GET", "/collections/kb/snapshots/s", "", "export collection kb"),
        ("PUT", "/collections/kb/snapshots/recover", r#"{"location":"http://x"}"#, "alter collection kb, ! network"),
        ("GET", "/snapshots/s", "", "export collection *"),
        ("POST", "/locks", r#"{"write":true}"#, "unknown, ! unknown"),
        ("DELETE", "/collections/kb/", "", "unknown, ! unknown"),
        ("POST", "/collections/kb/points/novel", "{}", "unknown, ! unknown"),
    ];
    for (method, path, content, effects) in table {
        assert_eq!(meaning(Dialect::Qdrant, method, path, content), effects, "{method} {path} {content}");
    }
    let reads = |path, content| Dialect::Qdrant.read(&request("POST", path, content)).unwrap().reads;
    assert!(reads("/collections/kb/points/search", "{}") && !reads("/collections/kb/points/delete", r#"{"points":[1]}"#));
}

#[test]
fn what_is_asked_of_chroma() {
    let in_v2 = "/api/v2/tenants/default_tenant/databases/default_database/collections";
    let at = |rest: &str| format!("{in_v2}{rest}");
    let table = [
        ("GET", "/api/v2/heartbeat".to_owned(), "", ""),
        ("POST", "/api/v2/reset".to_owned(), "", "drop collection *"),
        ("GET", at(""), "", "read collection *"),
        ("POST", at(""), r#"{"name":"kb","get_or_create":true}"#, "create collection kb"),
        ("GET", at("/kb"), "", "read collection kb"),
        ("PUT", at("/0197"), r#"{"new_name":"x"}"#, "alter collection 0197"),
        ("DELETE", at("/kb"), "", "drop collection kb"),
        ("POST", at("/0197/add"), r#"{"ids":["1"],"documents":["x"]}"#, "insert collection 0197"),
        ("POST", at("/0197/upsert"), r#"{"ids":["1"]}"#, "insert collection 0197"),
        ("POST", at("/0197/update"), r#"{"ids":["1"]}"#, "update collection 0197"),
        ("POST", at("/0197/get"), "{}", "read collection 0197"),
        ("POST", at("/0197/query"), r#"{"query_embeddings":[[0.1]]}"#, "read collection 0197"),
        ("POST", at("/0197/delete"), r#"{"ids":["1"]}"#, "delete collection 0197"),
        ("POST", at("/0197/fork"), r#"{"new_name":"copy"}"#, "read collection 0197, create collection copy"),
        ("GET", at("/0197/count"), "", "read collection 0197"),
        ("DELETE", "/api/v1/collections/kb".to_owned(), "", "drop collection kb"),
        ("POST", "/api/v1/collections/0197/query".to_owned(), "{}", "read collection 0197"),
        ("DELETE", "/api/v2/tenants/t/databases/d".to_owned(), "", "drop database d"),
        ("POST", "/api/v2/tenants".to_owned(), r#"{"name":"t"}"#, "create tenant t"),
        ("POST", at("/0197/novel"), "{}", "unknown, ! unknown"),
        ("GET", "/docs".to_owned(), "", "unknown, ! unknown"),
    ];
    for (method, path, content, effects) in table {
        assert_eq!(meaning(Dialect::Chroma, method, &path, content), effects, "{method} {path} {content}");
    }
}

#[test]
fn vectors_are_not_looked_into_and_what_is_stored_with_them_is() {
    let content = json!({"result": [{"id": "5c56c793-69f3-4fbf-87e6-c4bf54c28c26", "version": 536_904_399, "score": 0.9, "vector": [0.5, 536_904_399.0],
        "payload": {"mail": SECRET, "ssn": 536_904_399}}], "status": "ok", "time": 0.1});
    let asked = Asked::to(Dialect::Qdrant, "/collections/kb/points/search", "application/json");
    let (answered, _) = asked.answer_cut(content.to_string().as_bytes());
    let mut expected = content;
    expected["result"][0]["payload"] = json!({"mail": MASK, "ssn": "<ssn>"});
    assert_eq!(answered.bytes, expected.to_string());
}
