//! Vector databases: Qdrant's REST API and Chroma's.

use claviger_model::{Hazard, Verb};

use super::content::Content;
use super::{ANY, Found, text_of};
use crate::json::{Kind, Value};
use crate::{NotRead, Request};

const COLLECTION: &str = "collection";

/// What is asked of Qdrant.
pub(super) fn qdrant(request: &Request<'_>, content: &Content<'_>, found: &mut Found) -> Result<(), NotRead> {
    let segments: Vec<&str> = request.path.split('/').skip(1).collect();
    if segments.contains(&"") && segments != [""] {
        return Ok(());
    }
    let method = if request.method == "HEAD" { "GET" } else { request.method };
    let body = content.json();
    let effects: &[(Verb, &'static str, &str)] = match (method, segments.as_slice()) {
        ("GET", [""] | ["healthz" | "livez" | "readyz"]) => &[],
        ("GET", ["collections"]) => &[(Verb::Read, COLLECTION, ANY)],
        ("GET", ["aliases"]) => &[(Verb::Read, "alias", ANY)],
        ("POST", ["collections", "aliases"]) => return aliases(body, found),
        ("GET", ["collections", name] | ["collections", name, "exists" | "aliases" | "optimizations"]) => {
            &[(Verb::Read, COLLECTION, name)]
        }
        ("PUT", ["collections", name]) => &[(Verb::Create, COLLECTION, name)],
        ("PATCH", ["collections", name]) => &[(Verb::Alter, COLLECTION, name)],
        ("DELETE", ["collections", name]) => &[(Verb::Drop, COLLECTION, name)],
        ("PUT", ["collections", name, "index"])
        | ("DELETE", ["collections", name, "index", _])
        | ("PUT" | "DELETE", ["collections", name, "vectors", _])
        | ("PUT", ["collections", name, "shards"])
        | ("POST", ["collections", name, "shards", "delete"]) => &[(Verb::Alter, COLLECTION, name)],
        ("GET", ["collections", name, "snapshots"] | ["collections", name, "shards", _, "snapshots"]) => {
            &[(Verb::Read, COLLECTION, name)]
        }
        ("POST", ["collections", name, "snapshots"]) => &[(Verb::Read, COLLECTION, name), (Verb::Create, "snapshot", ANY)],
        ("GET", ["collections", name, "snapshots", _]) => &[(Verb::Export, COLLECTION, name)],
        ("DELETE", ["collections", _, "snapshots", snapshot]) => &[(Verb::Drop, "snapshot", snapshot)],
        ("PUT", ["collections", name, "snapshots", "recover"]) => {
            // From an address that the server fetches it from.
            found.hazard(Hazard::Network);
            &[(Verb::Alter, COLLECTION, name)]
        }
        ("POST", ["collections", name, "snapshots", "upload"]) => &[(Verb::Alter, COLLECTION, name)],
        ("GET", ["snapshots"]) => &[(Verb::Read, "snapshot", ANY)],
        ("POST", ["snapshots"]) => &[(Verb::Read, COLLECTION, ANY), (Verb::Create, "snapshot", ANY)],
        ("GET", ["snapshots", _]) => &[(Verb::Export, COLLECTION, ANY)],
        ("DELETE", ["snapshots", snapshot]) => &[(Verb::Drop, "snapshot", snapshot)],
        (_, ["collections", name, "points", rest @ ..]) => return points(method, name, rest, body, found),
        _ => return Ok(()),
    };
    found.known = true;
    effects.iter().try_for_each(|(verb, kind, name)| found.define(*verb, kind, name))
}

/// What is done to points of a collection.
fn points(method: &str, name: &str, path: &[&str], body: Option<Value<'_>>, found: &mut Found) -> Result<(), NotRead> {
    let verb = match (method, path) {
        ("POST", []) | ("GET", [_]) => Verb::Read,
        (
            "POST",
            ["scroll" | "count" | "facet" | "search" | "recommend" | "discover" | "query"]
            | ["search" | "recommend" | "query", "batch" | "groups"]
            | ["discover", "batch"]
            | ["search", "matrix", "pairs" | "offsets"],
        ) => Verb::Read,
        ("PUT", []) => Verb::Insert,
        ("POST", ["delete"]) => Verb::Delete,
        ("PUT", ["vectors"]) | ("POST", ["vectors", "delete"]) => Verb::Update,
        ("POST" | "PUT", ["payload"]) | ("POST", ["payload", "delete" | "clear"]) => Verb::Update,
        ("POST", ["batch"]) => {
            found.known = true;
            return batch(name, body, found);
        }
        _ => return Ok(()),
    };
    found.known = true;
    found.reads |= verb == Verb::Read;
    found.class = if method == "POST" && found.reads { "search" } else { found.class };
    if verb == Verb::Delete || verb == Verb::Update {
        bulk(body, found);
    }
    found.define(verb, COLLECTION, name)?;
    body.map_or(Ok(()), |body| looked_up(body, found))
}

/// Several changes at once.
fn batch(name: &str, body: Option<Value<'_>>, found: &mut Found) -> Result<(), NotRead> {
    let operations = body.and_then(|body| body.get("operations")).ok_or(NotRead::Form("operations"))?;
    for (operation, change) in operations.elements().flat_map(Value::members) {
        let verb = match &*operation.text().unwrap_or_default() {
            "upsert" => Verb::Insert,
            "delete" => Verb::Delete,
            "set_payload" | "overwrite_payload" | "delete_payload" | "clear_payload" | "update_vectors" | "delete_vectors" => {
                Verb::Update
            }
            _ => return Err(NotRead::Form("operations")),
        };
        if verb != Verb::Insert {
            bulk(Some(change), found);
        }
        found.define(verb, COLLECTION, name)?;
    }
    Ok(())
}

/// Whether points are chosen by a filter that lets all through.
fn bulk(change: Option<Value<'_>>, found: &mut Found) {
    let Some(filter) = change.and_then(|change| change.get("filter")) else { return };
    let chooses =
        |name: &&str| filter.get(name).is_some_and(|of| of.elements().next().is_some() || of.members().next().is_some());
    if filter.kind() == Kind::Object && !["must", "should", "must_not", "min_should"].iter().any(chooses) {
        found.hazard(Hazard::BulkWrite);
    }
}

/// Collections that are looked into besides, wherever a search says so.
fn looked_up(value: Value<'_>, found: &mut Found) -> Result<(), NotRead> {
    for element in value.elements() {
        looked_up(element, found)?;
    }
    for (name, value) in value.members() {
        if matches!(&*name.text().unwrap_or_default(), "lookup_from" | "with_lookup") && value.kind() != Kind::Null {
            let other = value.text().or_else(|| value.str("collection")).ok_or(NotRead::Form("lookup_from"))?;
            found.define(Verb::Read, COLLECTION, &other)?;
        }
        if matches!(value.kind(), Kind::Object | Kind::Array) && !name.is("payload") {
            looked_up(value, found)?;
        }
    }
    Ok(())
}

/// Other names of collections are made, changed and taken away.
fn aliases(body: Option<Value<'_>>, found: &mut Found) -> Result<(), NotRead> {
    found.known = true;
    let actions = body.and_then(|body| body.get("actions")).ok_or(NotRead::Form("actions"))?;
    for (action, what) in actions.elements().flat_map(Value::members) {
        let named = |name| text_of(what, name)?.ok_or(NotRead::Form(name));
        match &*action.text().unwrap_or_default() {
            "create_alias" => {
                found.define(Verb::Create, "alias", &named("alias_name")?)?;
                found.define(Verb::Alter, COLLECTION, &named("collection_name")?)?;
            }
            "delete_alias" => found.define(Verb::Drop, "alias", &named("alias_name")?)?,
            "rename_alias" => found.define(Verb::Alter, "alias", &named("old_alias_name")?)?,
            _ => return Err(NotRead::Form("actions")),
        }
    }
    Ok(())
}

/// What is asked of Chroma.
pub(super) fn chroma(request: &Request<'_>, content: &Content<'_>, found: &mut Found) -> Result<(), NotRead> {
    let segments: Vec<&str> = request.path.split('/').skip(1).collect();
    if segments.contains(&"") && segments != [""] {
        return Ok(());
    }
    let method = if request.method == "HEAD" { "GET" } else { request.method };
    let body = content.json();
    let given = |name: &'static str| body.map(|body| text_of(body, name)).transpose().map(Option::flatten);
    let path = match segments.as_slice() {
        ["api", "v1" | "v2", path @ ..] => path,
        [] | [""] => &["heartbeat"],
        _ => return Ok(()),
    };
    found.known = true;
    match (method, path) {
        ("GET", ["heartbeat" | "version" | "pre-flight-checks" | "healthcheck"] | ["auth", "identity"]) => Ok(()),
        ("POST", ["reset"]) => found.define(Verb::Drop, COLLECTION, ANY),
        ("POST", ["tenants"]) => found.define(Verb::Create, "tenant", given("name")?.as_deref().unwrap_or(ANY)),
        ("GET", ["tenants", name]) => found.define(Verb::Read, "tenant", name),
        ("PATCH", ["tenants", name]) => found.define(Verb::Alter, "tenant", name),
        ("GET", ["databases"] | ["tenants", _, "databases"]) => found.define(Verb::Read, "database", ANY),
        ("POST", ["databases"] | ["tenants", _, "databases"]) => {
            found.define(Verb::Create, "database", given("name")?.as_deref().unwrap_or(ANY))
        }
        ("GET", ["databases", name] | ["tenants", _, "databases", name]) => found.define(Verb::Read, "database", name),
        ("DELETE", ["databases", name] | ["tenants", _, "databases", name]) => found.define(Verb::Drop, "database", name),
        ("GET", ["tenants", _, "databases", _, "collections_count"] | ["count_collections"]) => {
            found.define(Verb::Read, COLLECTION, ANY)
        }
        (_, ["tenants", _, "databases", _, "collections", rest @ ..] | ["collections", rest @ ..]) => {
            let name = given("name")?;
            let new_name = given("new_name")?;
            collection(method, rest, name.as_deref(), new_name.as_deref(), found)
        }
        _ => {
            found.known = false;
            Ok(())
        }
    }
}

/// What is done to a collection of Chroma's.
fn collection(method: &str, path: &[&str], name: Option<&str>, new_name: Option<&str>, found: &mut Found) -> Result<(), NotRead> {
    let (verb, of) = match (method, path) {
        ("GET", []) => (Verb::Read, ANY),
        ("POST", []) => (Verb::Create, name.unwrap_or(ANY)),
        ("GET", [of] | [of, "count" | "indexing_status"]) => (Verb::Read, *of),
        ("PUT", [of]) => (Verb::Alter, *of),
        ("DELETE", [of]) => (Verb::Drop, *of),
        ("POST", [of, "get" | "query" | "search"]) => {
            (found.reads, found.class) = (true, "search");
            (Verb::Read, *of)
        }
        ("POST", [of, "fork"]) => {
            found.define(Verb::Create, COLLECTION, new_name.unwrap_or(ANY))?;
            (Verb::Read, *of)
        }
        ("POST", [of, "add" | "upsert"]) => (Verb::Insert, *of),
        ("POST", [of, "update"]) => (Verb::Update, *of),
        ("POST", [of, "delete"]) => (Verb::Delete, *of),
        _ => {
            found.known = false;
            return Ok(());
        }
    };
    found.define(verb, COLLECTION, of)
}
