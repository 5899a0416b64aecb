//! What a grant reaches: access that is given for a time.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;

use claviger_model::{Hazard, Meaning, Object, Table, TableKind, Verb};

use crate::Asked;
use crate::party::{Digest, Sha256};

/// The longest name of a table with its schema, in bytes: two of PostgreSQL's, and a dot.
const LONGEST_NAME: usize = 127;

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
    /// Whether it is good for everything that policies permit.
    fn is_unlimited(&self) -> bool {
        self.tables.is_empty() && self.verbs.is_empty()
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

    /// Whether this is its text, or that of something that belongs to it: `public.notes`, `public.notes.audited`.
    fn holds(&self, through: &str) -> bool {
        let (mut parts, mut given) = (self.0.split('.'), through.split('.'));
        parts.next() == given.next()
            && parts.next().is_some_and(|table| given.next().is_some_and(|given| table == "*" || table == given))
    }
}

impl FromStr for TableName {
    type Err = InvalidTableName;

    fn from_str(text: &str) -> Result<Self, InvalidTableName> {
        let (schema, table) = text.split_once('.').ok_or(InvalidTableName)?;
        // A name with a dot in it could be another.
        let fits = !schema.is_empty() && !table.is_empty() && !table.contains('.');
        let fits = fits && text.len() <= LONGEST_NAME && !text.chars().any(char::is_control);
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
    /// A digest of them; zeros if there is none and nothing is out of reach.
    pub(crate) fn digest(&self) -> Digest {
        if self.scopes.is_empty() && !self.confined { [0; 32] } else { Sha256::of(&(self.scopes, self.confined)) }
    }
}

/// What grants are good for in one statement.
pub(crate) struct Reach<'a> {
    grants: Grants<'a>,
    /// For each of them, what is reached by way of what it names.
    ways: Vec<Ways>,
    /// Whether the statement may do what its text does not say, so that no grant for some things covers it.
    opaque: bool,
}

/// Which grants cover a question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Covered {
    pub(crate) granted: bool,
    /// Whether only such do that were taken in an emergency.
    pub(crate) break_glass: bool,
}

impl<'a> Reach<'a> {
    pub(crate) fn of(grants: Grants<'a>, meaning: &Meaning) -> Self {
        let ways = grants.scopes.iter().map(|scope| Ways::of(scope, meaning)).collect();
        Self { grants, ways, opaque: meaning.hazards.iter().any(is_opaque) }
    }

    /// Which grants cover all that a question is about, by their places.
    pub(crate) fn covering<'s>(&'s self, asked: &'s Asked) -> impl Iterator<Item = usize> + 's {
        let covers = move |scope: &Scope, ways: &Ways| {
            (scope.is_unlimited() || !self.opaque)
                && asked.objects.iter().all(|object| ways.cover(scope, asked.verb, object, asked.through.as_deref()))
        };
        let all = self.grants.scopes.iter().zip(&self.ways).enumerate();
        all.filter(move |(_, (scope, ways))| covers(scope, ways)).map(|(place, _)| place)
    }

    pub(crate) fn covered(&self, asked: &Asked) -> Covered {
        let mut covering = self.covering(asked).filter_map(|place| self.grants.scopes.get(place)).peekable();
        let granted = covering.peek().is_some();
        Covered { granted, break_glass: granted && covering.all(|scope| scope.break_glass) }
    }

    /// Whether this is out of reach whatever policies say.
    pub(crate) fn excludes(&self, asked: &Asked) -> bool {
        let everyones = || !self.opaque && asked.objects.iter().all(|object| is_everyones(asked.verb, object));
        self.grants.confined && !everyones() && !self.covered(asked).granted
    }
}

/// What is reached by way of the tables that a grant names.
#[derive(Default)]
struct Ways {
    /// Functions that run.
    routines: BTreeSet<Arc<str>>,
    /// Partitions, children, and what views read.
    tables: BTreeSet<Arc<str>>,
}

impl Ways {
    fn of(scope: &Scope, meaning: &Meaning) -> Self {
        let mut ways = Self::default();
        loop {
            let before = ways.routines.len() + ways.tables.len();
            for effect in &meaning.effects {
                if !effect.through.as_ref().is_some_and(|through| ways.lead_by(scope, through)) {
                    continue;
                }
                match &effect.object {
                    Object::Routine(_) if effect.verb == Verb::Execute => {
                        ways.routines.insert(effect.object.to_string().into());
                    }
                    Object::Table(table) => _ = ways.tables.insert(named(table)),
                    Object::Column(column) => _ = ways.tables.insert(named(&column.table)),
                    _ => {}
                }
            }
            if ways.routines.len() + ways.tables.len() == before {
                return ways;
            }
        }
    }

    /// Whether this is a table that the grant names or that comes with one, something of such a table, or a function that runs by way of it.
    fn lead_by(&self, scope: &Scope, through: &str) -> bool {
        self.routines.contains(through) || self.hold(scope, through)
    }

    fn hold(&self, scope: &Scope, through: &str) -> bool {
        let owner = through.rsplit_once('.').map_or("", |(owner, _)| owner);
        scope.tables.iter().any(|name| name.holds(through)) || self.tables.contains(through) || self.tables.contains(owner)
    }

    fn cover(&self, scope: &Scope, verb: Verb, object: &Object, through: Option<&str>) -> bool {
        let may = |verb| scope.verbs.is_empty() || scope.verbs.contains(&verb);
        let holds = |through: &str| self.hold(scope, through);
        let names = |table: &Table| scope.tables.iter().any(|name| name.means(table));
        if scope.tables.is_empty() {
            return may(verb);
        }
        match (object, through) {
            // What a covered table's triggers do is the table's.
            (_, Some(through)) if self.routines.contains(through) => true,
            (Object::Routine(_), Some(through)) if verb == Verb::Execute && holds(through) => true,
            // Its sequences go on as rows come.
            (Object::Table(table), Some(through)) if table.kind == TableKind::Sequence && holds(through) => true,
            (Object::Table(table), through) => may(verb) && (names(table) || through.is_some_and(holds)),
            (Object::Column(column), through) => may(verb) && (names(&column.table) || through.is_some_and(holds)),
            _ => false,
        }
    }
}

/// A table's name as grants and effects write it.
fn named(table: &Arc<Table>) -> Arc<str> {
    Object::Table(Arc::clone(table)).to_string().into()
}

/// What may do anything, whatever else stands in the statement.
fn is_opaque(hazard: &Hazard) -> bool {
    matches!(
        hazard,
        Hazard::DynamicSql
            | Hazard::LargeObject
            | Hazard::SessionEscape
            | Hazard::Opaque
            | Hazard::FileAccess
            | Hazard::Network
            | Hazard::PrivilegeEscape
            | Hazard::Program
            | Hazard::Unknown
    )
}

/// What every session needs, which is for policies alone: the server's functions, the session's settings, and how the database is made.
fn is_everyones(verb: Verb, object: &Object) -> bool {
    let is_plain = |table: &Table| table.system && !TELLING.contains(&&*table.name) && !table.name.starts_with("pg_stat");
    match (verb, object) {
        (Verb::Configure, Object::Setting(_)) => true,
        (Verb::Read, Object::Table(table)) => is_plain(table),
        (Verb::Read, Object::Column(column)) => is_plain(&column.table),
        (Verb::Execute, Object::Routine(routine)) => routine.system,
        _ => false,
    }
}

/// The server's own tables that tell what is in others, or what others have said, beside all that begin with `pg_stat`.
const TELLING: [&str; 8] = [
    "pg_authid",
    "pg_shadow",
    "pg_user_mapping",
    "pg_user_mappings",
    "pg_largeobject",
    "pg_prepared_statements",
    "pg_cursors",
    "pg_hba_file_rules",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use claviger_model::Effect;

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

    fn asked(verb: Verb, object: Object, through: Option<&str>) -> Asked {
        Asked { statement: 0, verb, objects: vec![object], through: through.map(Into::into) }
    }

    fn covers(scope: &Scope, verb: Verb, object: Object, through: Option<&str>) -> bool {
        let scopes = [Arc::new(scope.clone())];
        let reach = Reach::of(Grants { scopes: &scopes, confined: false }, &Meaning::default());
        reach.covered(&asked(verb, object, through)).granted
    }

    #[test]
    fn a_grant_reaches_what_it_names_and_nothing_else() {
        let scope = Scope {
            verbs: Scope::verbs_of("write").unwrap().into_iter().chain([Verb::Read]).collect(),
            tables: ["public.notes", "ledger.*"].iter().map(|name| name.parse().unwrap()).collect(),
            break_glass: false,
        };
        for (verb, object, through, covered) in [
            (Verb::Read, table("public", "notes"), None, true),
            (Verb::Truncate, table("ledger", "anything"), None, true),
            (Verb::Read, table("public", "notes2"), None, false),
            (Verb::Read, table("publi", "c.notes"), None, false),
            (Verb::Drop, table("public", "notes"), None, false),
            (Verb::Read, Object::Connection, None, false),
            (Verb::Read, table("public", "notes_2025"), Some("public.notes"), true),
            (Verb::Drop, table("public", "notes_2025"), Some("public.notes"), false),
            (Verb::Read, table("public", "other"), Some("public.notes2"), false),
            (Verb::Delete, table("public", "other"), Some("public.other.other_fkey"), false),
        ] {
            let words = format!("{verb:?} {object} by way of {through:?}");
            assert_eq!(covers(&scope, verb, object, through), covered, "{words}");
        }
        assert!(covers(&Scope::default(), Verb::Drop, Object::Connection, None), "nothing named is everything");
        assert!(Scope::verbs_of("everything").is_none());
        for wrong in ["notes", ".notes", "public.", "a\nb.c", "a.b.c"] {
            assert_eq!(wrong.parse::<TableName>(), Err(InvalidTableName), "{wrong}");
        }
    }

    #[test]
    fn what_runs_by_way_of_a_table_is_the_tables() {
        let routine = |name: &str| {
            Object::Routine(Arc::new(claviger_model::Routine { schema: "public".into(), name: name.into(), system: false }))
        };
        let effect = |verb, object, through: &str| Effect { verb, object, through: Some(through.into()) };
        let meaning = Meaning {
            effects: [
                effect(Verb::Execute, routine("f_audit"), "public.notes.audited"),
                effect(Verb::Execute, routine("f_deeper"), "public.f_audit"),
                effect(Verb::Insert, table("public", "log"), "public.f_deeper"),
                effect(Verb::Insert, table("public", "other"), "public.f_else"),
            ]
            .into(),
            ..Meaning::default()
        };
        let scopes = [Arc::new(Scope { tables: ["public.notes".parse().unwrap()].into(), ..Scope::default() })];
        let reach = Reach::of(Grants { scopes: &scopes, confined: true }, &meaning);
        let covered =
            |effect: &Effect| reach.covered(&asked(effect.verb, effect.object.clone(), effect.through.as_deref())).granted;
        let covered: Vec<_> =
            meaning.effects.iter().filter(|effect| covered(effect)).map(|effect| effect.object.to_string()).collect();
        assert_eq!(covered.len(), 3, "{covered:?}");
        assert!(!covered.contains(&"public.other".to_owned()));
    }

    #[test]
    fn whoever_is_confined_has_what_every_session_needs_and_his_grant() {
        let scopes = [Arc::new(Scope { tables: ["public.notes".parse().unwrap()].into(), ..Scope::default() })];
        let grants = Grants { scopes: &scopes, confined: true };
        let system = |name: &str| match table("pg_catalog", name) {
            Object::Table(table) => Object::Table(Arc::new(Table { system: true, ..(*table).clone() })),
            other => other,
        };
        let excludes = |grants, hazards: &[Hazard], verb, object| {
            let meaning = Meaning { hazards: hazards.iter().copied().collect(), ..Meaning::default() };
            Reach::of(grants, &meaning).excludes(&asked(verb, object, None))
        };
        let setting = || Object::Setting("application_name".into());
        for (hazards, verb, object, excluded) in [
            (&[][..], Verb::Read, table("public", "notes"), false),
            (&[], Verb::Configure, setting(), false),
            (&[], Verb::Read, system("pg_class"), false),
            (&[], Verb::Read, system("pg_stats"), true),
            (&[], Verb::Read, system("pg_authid"), true),
            (&[], Verb::Read, table("public", "other"), true),
            (&[Hazard::SessionEscape], Verb::Configure, setting(), true),
            (&[Hazard::DynamicSql], Verb::Read, table("public", "notes"), true),
        ] {
            let words = format!("{hazards:?} {verb:?} {object}");
            assert_eq!(excludes(grants, hazards, verb, object), excluded, "{words}");
        }
        assert!(!excludes(Grants { confined: false, ..grants }, &[], Verb::Read, table("public", "other")));
        assert_ne!(grants.digest(), Grants { confined: false, ..grants }.digest());
    }
}
