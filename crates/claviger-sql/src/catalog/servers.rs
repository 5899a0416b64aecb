//! What of a catalog came with the server, and stays as it is: the columns and types of its own schemas.

use std::collections::HashSet;
use std::sync::Arc;

use super::Catalog;
use super::facts::{self, Fact};

/// The number from which on the server counts what others make (PostgreSQL's `transam.h`, `FirstNormalObjectId`).
pub(crate) const FIRST_OF_OTHERS: u32 = 16384;

/// The facts of what came with the server.
#[derive(Debug, Default)]
pub(super) struct Servers {
    columns: Vec<facts::Column>,
    types: Vec<facts::Type>,
}

impl Servers {
    /// Those among the facts; or those of the catalog that was read before, which are put among the facts, if they were not asked for. None
    /// if there is none.
    pub(super) fn among(facts: &mut Vec<Fact>, before: Option<&Catalog>) -> Option<Arc<Self>> {
        if facts.iter().all(|fact| !matches!(fact, Fact::Asked(facts::Asked { whole: false }))) {
            return Some(Arc::new(Self::of(facts)));
        }
        let servers = before.map(|before| Arc::clone(&before.servers)).filter(|servers| !servers.types.is_empty())?;
        facts.extend(servers.columns.iter().cloned().map(Fact::Column));
        facts.extend(servers.types.iter().cloned().map(Fact::Type));
        Some(servers)
    }

    fn of(facts: &[Fact]) -> Self {
        let relations: HashSet<u32> = facts
            .iter()
            .filter_map(|fact| match fact {
                Fact::Relation(relation) if relation.system && relation.id.0 < FIRST_OF_OTHERS => Some(relation.id.0),
                _ => None,
            })
            .collect();
        let mut servers = Self::default();
        for fact in facts {
            match fact {
                Fact::Column(column) if relations.contains(&column.relation.0) => servers.columns.push(column.clone()),
                Fact::Type(kind) if is_servers(&kind.schema) && kind.id.0 < FIRST_OF_OTHERS => servers.types.push(kind.clone()),
                _ => {}
            }
        }
        servers
    }
}

fn is_servers(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema")
}
