//! What policies look at: only that need be put before them, and only on that can their answers depend.

use std::collections::{BTreeSet, HashSet};

use cedar_policy::{EntityUid, Policy};
use serde_json::Value;

/// What some policies look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mentions {
    /// The names of all attributes that they read or ask for, of whatever: Cedar reads no attribute but by its name.
    attributes: BTreeSet<String>,
    /// Whether they may look at any attribute: what takes the context as a whole does.
    any_attribute: bool,
    /// Whether they may name any entity.
    any_entity: bool,
    /// The entities that they name.
    entities: HashSet<EntityUid>,
}

impl Mentions {
    /// Whatever there is.
    pub(crate) fn everything() -> Self {
        Self { any_attribute: true, any_entity: true, ..Self::default() }
    }

    /// What one policy looks at.
    pub(crate) fn of(policy: &Policy) -> Self {
        let mut mentions = Self { entities: policy.entity_literals().into_iter().collect(), ..Self::default() };
        match policy.to_json() {
            Ok(json) => mentions.walk(json.get("conditions").unwrap_or(&Value::Null)),
            // What cannot be looked into may look at anything.
            Err(_) => mentions.any_attribute = true,
        }
        mentions
    }

    /// Adds what others look at.
    pub(crate) fn add(&mut self, others: &Self) {
        self.attributes.extend(others.attributes.iter().cloned());
        self.any_attribute |= others.any_attribute;
        self.any_entity |= others.any_entity;
        self.entities.extend(others.entities.iter().cloned());
    }

    /// Whether they look at an attribute of this name, of anything.
    pub(crate) fn attribute(&self, name: &str) -> bool {
        self.any_attribute || self.attributes.contains(name)
    }

    /// Whether they name this entity.
    pub(crate) fn entity(&self, uid: &EntityUid) -> bool {
        self.any_entity || self.entities.contains(uid)
    }

    fn walk(&mut self, json: &Value) {
        match json {
            Value::Array(items) => items.iter().for_each(|item| self.walk(item)),
            Value::Object(members) => {
                for (operator, operand) in members {
                    match operator.as_str() {
                        "." | "has" => self.access(operand),
                        "Var" => self.any_attribute |= operand == "context",
                        _ => self.walk(operand),
                    }
                }
            }
            _ => {}
        }
    }

    /// `left.attr`, `left has attr` or `left has a.b`.
    fn access(&mut self, operand: &Value) {
        match operand.get("attr") {
            Some(Value::String(name)) => _ = self.attributes.insert(name.clone()),
            Some(Value::Array(names)) => self.attributes.extend(names.iter().filter_map(Value::as_str).map(ToOwned::to_owned)),
            _ => self.any_attribute = true,
        }
        match operand.get("left") {
            Some(left) if left.get("Var").is_some() => {}
            Some(left) => self.walk(left),
            None => self.any_attribute = true,
        }
    }
}
