//! What a message says of a request for approval, or of access: facts, each of them chosen. No statement and no value is among them.

use std::sync::Arc;

use claviger_audit::{AccessLeaf, ApprovalLeaf};
use claviger_session::{Approval, Reviewing};
use serde_json::{Map, Value, json};

use crate::admin::told;

/// The data of a message.
pub(super) fn of_request(happened: &ApprovalLeaf, request: Option<&Approval>, rules: &Reviewing) -> Value {
    let id = happened.approval;
    let mut data = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            data.insert(key.to_owned(), value);
        }
    };
    put("id", json!(id));
    put("code", json!(id.code()));
    put("link", json!(rules.link_to(id)));
    put("show", json!(format!("claviger approvals show {id}")));
    put("connection", json!(&*happened.connection));
    put("session", json!(happened.session));
    put("op", json!(happened.op.0));
    // Who did it, and for which groups: whoever asks, or a reviewer.
    put("by", json!(&*happened.who));
    put("groups", json!(happened.groups.iter().map(|group| &**group).collect::<Vec<_>>()));
    put("said", json!(happened.reason.as_deref()));
    let Some(request) = request else { return Value::Object(data) };
    let told = told(request);
    put("chain", json!(told.chain));
    put("purpose", json!(told.purpose));
    put("client", json!(told.client));
    put("application", json!(told.application));
    put("reason", json!(told.reason));
    put("policies", json!(told.policies));
    put("effects", json!(told.effects));
    put("hazards", json!(told.hazards));
    put("risk", json!(told.risk));
    put("in_transaction", json!(told.in_transaction));
    put("has_written", json!(told.has_written));
    put("waits", json!(told.waits));
    put("asked", json!(told.asked));
    put("until", json!(told.until));
    put("needs", json!(told.needs));
    Value::Object(data)
}

/// The data of a message about access for a time.
pub(super) fn of_access(happened: &AccessLeaf, rules: &Reviewing) -> Value {
    let texts = |texts: &[Arc<str>]| texts.iter().map(|text| json!(&**text)).collect::<Value>();
    let id = happened.grant;
    let mut data = json!({
        "id": id,
        "code": id.code(),
        "link": rules.link_to(id),
        "show": format!("claviger approvals show {id}"),
        "by": &*happened.who,
        "groups": texts(&happened.groups),
        "said": happened.reason.as_deref(),
        "connection": &*happened.connection,
        "actions": texts(&happened.actions),
        "tables": texts(&happened.tables),
        "seconds": happened.seconds,
        "break_glass": happened.break_glass,
        "until": happened.until.map(|until| until.to_string()),
    });
    if let Some(data) = data.as_object_mut() {
        data.retain(|_, value| !value.is_null());
    }
    data
}

/// The same message with the statement.
pub(super) fn with_statement(body: &str, statement: &str) -> Option<String> {
    let mut body: Value = serde_json::from_str(body).ok()?;
    body.get_mut("data")?.as_object_mut()?.insert("statement".to_owned(), statement.into());
    Some(body.to_string())
}
