//! What a grant reaches: access that is given for a time.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;

use claviger_model::{Object, Table, Verb};

use crate::Asked;
use crate::party::{Digest, Sha256};

/// What a grant is good for, inside one connection. It permits nothing by itself: policies that look at `granted` do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    /// What may be done; whatever policies permit, if nothing is said.
    pub verbs: BTreeSet<Verb>,
    /// To which tables; to whatever there is, if nothing is said.
    pub tables: BTreeSet<TableName>,
    /// Whether it was taken in an emergency, without anybody's approval.
    pub break_glass: bool,
}

/// A table as people name it: `schema.table`, or `schema.*` for all of a schema's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName(Arc<str>);

/// A text that names no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a table is named `schema.table`, or `schema.*` for all of a schema")]
pub struct InvalidTableName;

impl Scope {
    /// Whether it is good for this. What is not a table's or a column's is reached only where no table is named.
    pub fn covers(&self, verb: Verb, object: &Object) -> bool {
        let names = |table: &Table| self.tables.iter().any(|name| name.means(table));
        let reached = match object {
            _ if self.tables.is_empty() => true,
            Object::Table(table) => names(table),
            Object::Column(column) => names(&column.table),
            Object::Connection
            | Object::Schema(_)
            | Object::Routine(_)
            | Object::Setting(_)
            | Object::Definition(_)
            | Object::Endpoint(_) => false,
        };
        reached && (self.verbs.is_empty() || self.verbs.contains(&verb))
    }

    /// The verbs that a word of policies stands for: its own, or those of a group of actions.
    pub fn verbs_of(word: &str) -> Option<Vec<Verb>> {
        match word {
            "write" => Some(vec![Verb::Insert, Verb::Update, Verb::Delete, Verb::Truncate]),
            "define" => Some(vec![Verb::Create, Verb::Alter, Verb::Drop]),
            _ => Verb::ALL.into_iter().find(|verb| verb.as_str() == word).map(|verb| vec![verb]),
        }
    }
}

impl TableName {
    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn means(&self, table: &Table) -> bool {
        let rest = self.0.strip_prefix(&*table.schema).and_then(|rest| rest.strip_prefix('.'));
        rest.is_some_and(|name| name == "*" || *name == *table.name)
    }
}

impl FromStr for TableName {
    type Err = InvalidTableName;

    fn from_str(text: &str) -> Result<Self, InvalidTableName> {
        let (schema, table) = text.split_once('.').ok_or(InvalidTableName)?;
        let fits = !schema.is_empty() && !table.is_empty() && text.len() <= 260 && !text.chars().any(char::is_control);
        fits.then(|| Self(text.into())).ok_or(InvalidTableName)
    }
}

/// The grants in force for whoever asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Grants<'a> {
    /// What each is good for.
    pub scopes: &'a [Arc<Scope>],
    /// Whether whoever asks has come with a grant's own token, and may do nothing else with it.
    pub confined: bool,
}

impl Grants<'_> {
    /// Whether one of them is good for this, and whether only one that was taken in an emergency is.
    pub(crate) fn covering(&self, verb: Verb, object: &Object) -> (bool, bool) {
        let covering = || self.scopes.iter().filter(|scope| scope.covers(verb, object));
        let granted = covering().next().is_some();
        (granted, granted && covering().all(|scope| scope.break_glass))
    }

    /// The same of all that a question is about.
    pub(crate) fn covering_all(&self, asked: &Asked) -> (bool, bool) {
        if self.scopes.is_empty() {
            return (false, false);
        }
        let each = asked.objects.iter().map(|object| self.covering(asked.verb, object));
        each.reduce(|(a, x), (b, y)| (a && b, x || y)).map_or((false, false), |(all, glass)| (all, all && glass))
    }

    /// Whether this is out of reach whatever policies say. What every session needs, looking at the server's own tables, calling its
    /// functions and changing the session's settings, is for policies alone.
    pub(crate) fn excludes(&self, verb: Verb, object: &Object) -> bool {
        let everyones = match (verb, object) {
            (Verb::Configure, Object::Setting(_)) => true,
            (Verb::Read, Object::Table(table)) => table.system,
            (Verb::Read, Object::Column(column)) => column.table.system,
            (Verb::Execute, Object::Routine(routine)) => routine.system,
            _ => false,
        };
        self.confined && !everyones && !self.covering(verb, object).0
    }

    /// A digest of them; zeros if there is none and nothing is out of reach.
    pub(crate) fn digest(&self) -> Digest {
        if self.scopes.is_empty() && !self.confined { [0; 32] } else { Sha256::of(&(self.scopes, self.confined)) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use claviger_model::TableKind;

    use super::*;

    fn table(schema: &str, name: &str) -> Object {
        Object::Table(Arc::new(Table {
            schema: schema.into(),
            name: name.into(),
            id: 1,
            kind: TableKind::Table,
            system: false,
            labels: Arc::default(),
            holds: Arc::default(),
        }))
    }

    #[test]
    fn a_grant_reaches_what_it_names_and_nothing_else() {
        let scope = Scope {
            verbs: Scope::verbs_of("write").unwrap().into_iter().chain([Verb::Read]).collect(),
            tables: ["public.notes", "ledger.*"].iter().map(|name| name.parse().unwrap()).collect(),
            break_glass: false,
        };
        for (verb, object, covered) in [
            (Verb::Read, table("public", "notes"), true),
            (Verb::Truncate, table("ledger", "anything"), true),
            (Verb::Read, table("public", "notes2"), false),
            (Verb::Read, table("publi", "c.notes"), false),
            (Verb::Drop, table("public", "notes"), false),
            (Verb::Read, Object::Connection, false),
        ] {
            assert_eq!(scope.covers(verb, &object), covered, "{verb:?} {object}");
        }
        assert!(Scope::default().covers(Verb::Drop, &Object::Connection), "nothing named is everything");
        assert!(Scope::verbs_of("everything").is_none());
        for wrong in ["notes", ".notes", "public.", "a\nb.c"] {
            assert_eq!(wrong.parse::<TableName>(), Err(InvalidTableName), "{wrong}");
        }
    }

    #[test]
    fn whoever_is_confined_has_what_every_session_needs_and_his_grant() {
        let scopes = [Arc::new(Scope { tables: ["public.notes".parse().unwrap()].into(), ..Scope::default() })];
        let grants = Grants { scopes: &scopes, confined: true };
        assert!(!grants.excludes(Verb::Read, &table("public", "notes")));
        assert!(!grants.excludes(Verb::Configure, &Object::Setting("application_name".into())));
        assert!(grants.excludes(Verb::Read, &table("public", "other")));
        assert!(!Grants { confined: false, ..grants }.excludes(Verb::Read, &table("public", "other")));
        assert_ne!(grants.digest(), Grants { confined: false, ..grants }.digest());
    }
}
