//! What statements do things to, as Cedar's entities.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cedar_policy::{Entity, EntityUid, RestrictedExpression};
use claviger_model::{Object, Table};

use crate::Party;
use crate::decide::{Unaskable, text};
use crate::mentions::Mentions;
use crate::names::Names;

/// The entity types that statements do things to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Connection,
    Schema,
    Table,
    Column,
    Routine,
    Setting,
    Definition,
    Endpoint,
    Model,
    Tool,
    Prompt,
}

impl Kind {
    pub(crate) const ALL: [Self; 11] = [
        Self::Connection,
        Self::Schema,
        Self::Table,
        Self::Column,
        Self::Routine,
        Self::Setting,
        Self::Definition,
        Self::Endpoint,
        Self::Model,
        Self::Tool,
        Self::Prompt,
    ];

    pub(crate) fn of(object: &Object) -> Self {
        match object {
            Object::Connection => Self::Connection,
            Object::Schema(_) => Self::Schema,
            Object::Table(_) => Self::Table,
            Object::Column(_) => Self::Column,
            Object::Routine(_) => Self::Routine,
            Object::Setting(_) => Self::Setting,
            Object::Definition(_) => Self::Definition,
            Object::Endpoint(_) => Self::Endpoint,
            Object::Model(_) => Self::Model,
            Object::Tool(_) => Self::Tool,
            Object::Prompt(_) => Self::Prompt,
        }
    }

    /// The type's name in the schema.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "Connection",
            Self::Schema => "Schema",
            Self::Table => "Table",
            Self::Column => "Column",
            Self::Routine => "Routine",
            Self::Setting => "Setting",
            Self::Definition => "Definition",
            Self::Endpoint => "Endpoint",
            Self::Model => "Model",
            Self::Tool => "Tool",
            Self::Prompt => "Prompt",
        }
    }
}

/// Makes entities of what one party's statements do things to.
pub(crate) struct Entities<'a> {
    pub(crate) names: &'a Names,
    pub(crate) party: &'a Party,
    /// Only what these look at is put in; no attribute is an entity, so what is `in` something is asked for that by its name.
    pub(crate) mentions: &'a Mentions,
}

impl Entities<'_> {
    pub(crate) fn uid(&self, object: &Object) -> EntityUid {
        self.names.object(self.party.connection.as_str(), object)
    }

    /// The connection itself.
    pub(crate) fn connection(&self) -> Result<Entity, Unaskable> {
        let attributes = [
            ("name", text(self.party.connection.as_str())),
            ("kind", text(&self.party.kind)),
            ("mode", text(self.party.mode.as_str())),
            ("labels", texts(&self.party.labels)),
            ("system", flag(false)),
        ];
        self.entity(&Object::Connection, attributes.into_iter().collect(), self.labels(&self.party.labels).collect())
    }

    /// What something is done to, with everything that it is in: Cedar need not look further.
    pub(crate) fn object(&self, object: &Object) -> Result<Entity, Unaskable> {
        let mut attributes = HashMap::new();
        let mut parents: HashSet<EntityUid> = self.labels(&self.party.labels).collect();
        parents.insert(self.uid(&Object::Connection));
        let mut in_schema = |schema: &Arc<str>, attributes: &mut HashMap<_, _>| {
            attributes.insert("schema", text(schema));
            parents.insert(self.uid(&Object::Schema(Arc::clone(schema))));
        };
        let none: &[Arc<str>] = &[];
        let (kind, name, system, labels) = match object {
            Object::Connection => return self.connection(),
            Object::Schema(name) => ("schema", name, is_system(name), none),
            Object::Table(table) => {
                in_schema(&table.schema, &mut attributes);
                attributes.insert("table", text(&table.name));
                attributes.insert("holds", texts(&table.holds));
                (table.kind.as_str(), &table.name, table.system, &*table.labels)
            }
            Object::Column(column) => {
                in_schema(&column.table.schema, &mut attributes);
                attributes.insert("table", text(&column.table.name));
                ("column", &column.name, column.table.system, &*column.labels)
            }
            Object::Routine(routine) => {
                in_schema(&routine.schema, &mut attributes);
                ("routine", &routine.name, routine.system, none)
            }
            Object::Setting(name) => ("setting", name, false, none),
            Object::Definition(definition) => {
                if let Some(schema) = &definition.schema {
                    in_schema(schema, &mut attributes);
                }
                let system = definition.schema.as_deref().is_some_and(is_system);
                (definition.kind, &definition.name, system, none)
            }
            Object::Endpoint(endpoint) => {
                attributes.insert("method", text(endpoint.method));
                let described = [("template", &endpoint.template), ("operation", &endpoint.operation)];
                attributes.extend(described.into_iter().filter_map(|(name, value)| Some((name, text(value.as_ref()?)))));
                ("endpoint", &endpoint.path, false, none)
            }
            Object::Model(name) => ("model", name, false, none),
            Object::Tool(name) => ("tool", name, false, none),
            Object::Prompt(name) => ("prompt", name, false, none),
        };
        if let Object::Column(column) = object {
            parents.insert(self.table(&column.table));
        }
        parents.extend(self.labels(labels));
        attributes.extend([("kind", text(kind)), ("name", text(name)), ("system", flag(system)), ("labels", texts(labels))]);
        self.entity(object, attributes, parents)
    }

    fn entity(
        &self,
        object: &Object,
        attributes: HashMap<&'static str, RestrictedExpression>,
        parents: HashSet<EntityUid>,
    ) -> Result<Entity, Unaskable> {
        let attributes = attributes.into_iter().filter(|(name, _)| self.mentions.attribute(name));
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value)).collect();
        let parents = parents.into_iter().filter(|uid| self.mentions.entity(uid)).collect();
        Ok(Entity::new(self.uid(object), attributes, parents)?)
    }

    fn table(&self, table: &Arc<Table>) -> EntityUid {
        self.uid(&Object::Table(Arc::clone(table)))
    }

    fn labels<'a>(&'a self, labels: &'a [Arc<str>]) -> impl Iterator<Item = EntityUid> + 'a {
        labels.iter().map(|label| self.names.label(label))
    }
}

/// Whether a schema belongs to the server (PostgreSQL manual, 5.10.5: names that begin with `pg_` are its own).
fn is_system(schema: &str) -> bool {
    schema.starts_with("pg_") || schema == "information_schema"
}

fn texts(texts: &[Arc<str>]) -> RestrictedExpression {
    RestrictedExpression::new_set(texts.iter().map(|one| text(one)))
}

fn flag(flag: bool) -> RestrictedExpression {
    RestrictedExpression::new_bool(flag)
}
