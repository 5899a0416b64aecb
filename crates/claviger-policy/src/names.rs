//! How principals, groups and resources are called in policies.

use std::str::FromStr;
use std::sync::Arc;

use cedar_policy::{EntityId, EntityTypeName, EntityUid, ParseErrors};
use claviger_model::{Object, PrincipalKey, PrincipalKind, Verb};

use crate::Action;
use crate::entities::Kind;

/// The entity types of the schema, and the name of the local issuer.
pub(crate) struct Names {
    local_issuer: Arc<str>,
    user: EntityTypeName,
    workload: EntityTypeName,
    group: EntityTypeName,
    label: EntityTypeName,
    gateway: EntityTypeName,
    action: EntityTypeName,
    /// By [`Kind`].
    kinds: [EntityTypeName; Kind::ALL.len()],
}

/// A name that could pass for another.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a name could pass for another")]
pub(crate) struct Ambiguous;

impl Names {
    pub(crate) fn new(local_issuer: &str) -> Result<Self, Box<ParseErrors>> {
        let name = |text| EntityTypeName::from_str(text).map_err(Box::new);
        Ok(Self {
            local_issuer: local_issuer.into(),
            user: name("User")?,
            workload: name("Workload")?,
            group: name("Group")?,
            label: name("Label")?,
            gateway: name("Gateway")?,
            action: name("Action")?,
            kinds: [
                name(Kind::Connection.as_str())?,
                name(Kind::Schema.as_str())?,
                name(Kind::Table.as_str())?,
                name(Kind::Column.as_str())?,
                name(Kind::Routine.as_str())?,
                name(Kind::Setting.as_str())?,
                name(Kind::Definition.as_str())?,
                name(Kind::Endpoint.as_str())?,
                name(Kind::Model.as_str())?,
                name(Kind::Tool.as_str())?,
                name(Kind::Prompt.as_str())?,
            ],
        })
    }

    pub(crate) fn principal(&self, kind: PrincipalKind, key: &PrincipalKey) -> Result<EntityUid, Ambiguous> {
        let kind = match kind {
            PrincipalKind::User => &self.user,
            PrincipalKind::Workload => &self.workload,
        };
        Ok(uid(kind, &self.qualified(&key.issuer, &key.subject)?))
    }

    pub(crate) fn group(&self, issuer: &str, group: &str) -> Result<EntityUid, Ambiguous> {
        Ok(uid(&self.group, &self.qualified(issuer, group)?))
    }

    pub(crate) fn label(&self, label: &str) -> EntityUid {
        uid(&self.label, label)
    }

    pub(crate) fn connection(&self, connection: &str) -> EntityUid {
        uid(self.kind(Kind::Connection), connection)
    }

    /// What a statement does something to, inside this connection.
    pub(crate) fn object(&self, connection: &str, object: &Object) -> EntityUid {
        match object {
            Object::Connection => self.connection(connection),
            _ => uid(self.kind(Kind::of(object)), &format!("{connection}/{object}")),
        }
    }

    pub(crate) fn kind(&self, kind: Kind) -> &EntityTypeName {
        let [connection, schema, table, column, routine, setting, definition, endpoint, model, tool, prompt] = &self.kinds;
        match kind {
            Kind::Connection => connection,
            Kind::Schema => schema,
            Kind::Table => table,
            Kind::Column => column,
            Kind::Routine => routine,
            Kind::Setting => setting,
            Kind::Definition => definition,
            Kind::Endpoint => endpoint,
            Kind::Model => model,
            Kind::Tool => tool,
            Kind::Prompt => prompt,
        }
    }

    pub(crate) fn gateway(&self) -> EntityUid {
        uid(&self.gateway, "gateway")
    }

    pub(crate) fn action(&self, action: Action) -> EntityUid {
        uid(&self.action, action.as_str())
    }

    pub(crate) fn verb(&self, verb: Verb) -> EntityUid {
        uid(&self.action, verb.as_str())
    }

    /// A name as policies know it. The first slash ends an issuer's name, so neither that nor a local name may hold one.
    pub(crate) fn qualified(&self, issuer: &str, name: &str) -> Result<String, Ambiguous> {
        let (local, prefix) = (*issuer == *self.local_issuer, issuer);
        if prefix.is_empty() || name.is_empty() || prefix.contains('/') || (local && name.contains('/')) {
            return Err(Ambiguous);
        }
        Ok(if local { name.to_owned() } else { format!("{prefix}/{name}") })
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}
