//! What a statement does, as the record says it.

use std::sync::Arc;

use claviger_audit::{EffectFacts, StatementFacts};
use claviger_model::{Effect, Meaning, Object};
use claviger_sql::builtin::{SettingKind, setting};

use super::exchange::{known, pattern};

/// Things that are not in the catalog, so that their names are whatever a client makes up: values might be among them, which are in no
/// leaf.
const MADE_UP: &[&str] = &["channel", "library", "prepared transaction", "file", "program"];

/// What one statement does. Columns of one table with the same labels, to which the same is done, stand together.
pub(super) fn facts(meaning: &Meaning) -> StatementFacts {
    let mut effects: Vec<EffectFacts> = Vec::new();
    let mut last: Option<&Effect> = None;
    for effect in &meaning.effects {
        match (&effect.object, effects.last_mut()) {
            (Object::Column(column), Some(before)) if last.is_some_and(|last| goes_with(last, effect)) => {
                before.columns.push(Arc::clone(&column.name));
            }
            _ => effects.push(effect_facts(effect)),
        }
        last = Some(effect);
    }
    StatementFacts { class: meaning.class, effects, hazards: meaning.hazards.iter().map(|hazard| hazard.as_str()).collect() }
}

fn goes_with(a: &Effect, b: &Effect) -> bool {
    let (Object::Column(first), Object::Column(second)) = (&a.object, &b.object) else { return false };
    a.verb == b.verb && a.through == b.through && first.table == second.table && first.labels == second.labels
}

fn effect_facts(effect: &Effect) -> EffectFacts {
    let none = || Arc::from([]);
    let (kind, object, columns, labels) = match &effect.object {
        Object::Connection => ("connection", effect.object.to_string(), Vec::new(), none()),
        Object::Schema(_) => ("schema", effect.object.to_string(), Vec::new(), none()),
        Object::Table(table) => (table.kind.as_str(), table.to_string(), Vec::new(), Arc::clone(&table.labels)),
        Object::Column(column) => {
            ("column", column.table.to_string(), vec![Arc::clone(&column.name)], Arc::clone(&column.labels))
        }
        Object::Routine(_) => ("routine", effect.object.to_string(), Vec::new(), none()),
        Object::Setting(name) => ("setting", setting_name(name), Vec::new(), none()),
        Object::Definition(definition) if MADE_UP.contains(&definition.kind) => {
            (definition.kind, "*".to_owned(), Vec::new(), none())
        }
        Object::Definition(definition) => (definition.kind, effect.object.to_string(), Vec::new(), none()),
        Object::Endpoint(endpoint) => ("endpoint", pattern(endpoint), Vec::new(), none()),
        Object::Model(name) => ("model", known(name), Vec::new(), none()),
        Object::Tool(name) => ("tool", known(name), Vec::new(), none()),
        Object::Prompt(name) => ("prompt", known(name), Vec::new(), none()),
    };
    EffectFacts { verb: effect.verb.as_str(), kind, object: object.into(), columns, labels, through: effect.through.clone() }
}

/// The name of a setting that the server knows. An application's own is whatever it makes up.
fn setting_name(name: &str) -> String {
    match setting(name) {
        SettingKind::Custom | SettingKind::Unknown => "*".to_owned(),
        _ => name.to_owned(),
    }
}
