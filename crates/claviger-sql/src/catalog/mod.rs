//! What a database consists of, as far as the meaning of statements depends on it: a snapshot.
//!
//! What belongs to the server itself (the schemas `pg_catalog` and `information_schema`) is here only as tables with their columns; its functions,
//! operators and casts are known without.

mod acting;
mod change;
mod facts;
mod labels;
mod made;
mod named;
mod question;
mod read;
mod servers;
mod stored;
mod when;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use claviger_model::{Column, Routine, Table};

use self::acting::Acting;
use self::labels::Bound;
use self::servers::Servers;
use self::stored::Texts;

pub(crate) use change::Change;
pub use labels::{Binding, Classification, Classified, NotAName};
pub use question::{FINGERPRINT, QUESTION, QUESTION_AGAIN, SNAPSHOT};
pub use read::CatalogError;
pub(crate) use servers::FIRST_OF_OTHERS;

/// The longest chain of domains that is followed.
const DOMAINS: usize = 16;

/// A snapshot of a database's catalog. Immutable: what changes makes another.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The search path that definitions and expressions are written for.
    path: Vec<Arc<str>>,
    /// The answer to [`FINGERPRINT`] when it was read.
    fingerprint: Arc<str>,
    /// What was to get a label and is not there.
    unmatched: Vec<Arc<str>>,
    /// The names of tables that have labels, or columns that have, whether they are there or not.
    labelled: HashSet<Arc<str>>,
    /// What each name that was to get a label stood for, by number.
    bound: Bound,
    /// Columns with labels, by their table's OID and their number.
    classified: HashSet<(u32, i16)>,
    event_triggers: Vec<EventTrigger>,
    /// By OID.
    relations: HashMap<u32, Arc<Relation>>,
    /// Schemas, and whether whoever asked may use them.
    schemas: Arc<HashMap<Arc<str>, bool>>,
    /// OIDs of relations, by schema and name.
    names: HashMap<Arc<str>, HashMap<Arc<str>, u32>>,
    /// Of the users' own, by name.
    functions: HashMap<Arc<str>, Vec<Arc<Function>>>,
    /// Of the users' own, by OID.
    function_ids: HashMap<u32, Arc<Function>>,
    /// Of the users' own, by name.
    operators: HashMap<Arc<str>, Vec<Operator>>,
    /// Those with functions of the users' own.
    casts: Vec<Cast>,
    /// All of them, by OID.
    types: HashMap<u32, Arc<TypeFacts>>,
    /// OIDs of types, by schema and name.
    type_names: HashMap<Arc<str>, HashMap<Arc<str>, u32>>,
    /// Whether any type has code of the users' own, and which types' does more than compute.
    code_of_types: bool,
    acting: Acting,
    /// The texts that the server wrote out of what it has stored, by where.
    stored: Texts,
    /// What need not be asked for again.
    servers: Arc<Servers>,
}

/// A table, view, sequence, or whatever else has columns.
#[derive(Clone, Debug)]
pub struct Relation {
    /// Its names, and what it is.
    pub table: Arc<Table>,
    /// The role that owns it.
    pub owner: Arc<str>,
    /// Those that have not been dropped, by number.
    pub columns: Vec<ColumnFacts>,
    /// Of a view or materialized view: the query that it stands for. If it has none here, that is not known.
    pub definition: Option<Arc<str>>,
    /// Its partitions and those that inherit from it.
    pub children: Vec<Child>,
    /// What fires when its rows change.
    pub triggers: Vec<Trigger>,
    /// What is done beside or in place of a change of its rows. Not the rule that makes a view a view.
    pub rules: Vec<Rule>,
    /// The expressions of its check constraints, of its indexes and their predicates, and of its partition key. One text may hold several,
    /// with commas between them.
    pub expressions: Vec<Arc<str>>,
    /// The foreign keys that point at it.
    pub references: Vec<Reference>,
    /// The expressions of its row security policies, if they are in force.
    pub policies: Vec<Arc<str>>,
    /// The columns of each of its unique keys, by number.
    pub keys: Vec<Vec<i16>>,
    /// The columns of its primary key, likewise; none if it has none.
    pub primary: Vec<i16>,
    /// How many rows the server believes it has; negative if it has never counted.
    pub rows: f32,
    /// The columns, by number, that tell which partition a row belongs to; 0 for an expression.
    pub partitioned_by: Vec<i16>,
}

/// A column, and what happens to it.
#[derive(Clone, Debug)]
pub struct ColumnFacts {
    /// Its name, number and labels.
    pub column: Arc<Column>,
    /// The OID of its type.
    pub kind: u32,
    /// Whether it is never NULL.
    pub not_null: bool,
    /// The expression of its default, or what it is generated from.
    pub default: Option<Arc<str>>,
    /// Whether it is generated from others.
    pub generated: bool,
}

/// A partition or an inheriting table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its OID.
    pub relation: u32,
    /// Whether it is a partition, which new rows go into.
    pub partition: bool,
}

/// Ways to change rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// New ones.
    pub insert: bool,
    /// Other values.
    pub update: bool,
    /// Fewer.
    pub delete: bool,
    /// None.
    pub truncate: bool,
}

/// A trigger, enabled and not the server's own for a foreign key.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// Its name.
    pub name: Arc<str>,
    /// What sets it off.
    pub on: Write,
    /// Whether it runs before each row, which may then be another.
    pub makes_row: bool,
    /// The OID of its function.
    pub function: u32,
    /// Its condition.
    pub when: Option<Arc<str>>,
}

/// An event trigger, enabled.
#[derive(Clone, Debug)]
pub struct EventTrigger {
    /// The OID of its function.
    pub function: u32,
    /// The event: `ddl_command_start`, `sql_drop` and so on.
    pub event: Arc<str>,
    /// The commands that set it off, such as `CREATE TABLE`; any if there are none.
    pub tags: Vec<Arc<str>>,
}

/// A rule, enabled.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name.
    pub name: Arc<str>,
    /// What sets it off: one of them, or none for `SELECT`.
    pub on: Write,
    /// Whether the original is not done.
    pub instead: bool,
    /// The whole `CREATE RULE` statement.
    pub definition: Arc<str>,
}

/// A foreign key, seen from the table that it points at.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The constraint's name.
    pub name: Arc<str>,
    /// The OID of the table whose rows point here.
    pub from: u32,
    /// The columns there, by number.
    pub columns: Vec<i16>,
    /// The columns here, by number.
    pub to: Vec<i16>,
    /// What happens there when a row here goes: `a` and `r` nothing, `c` it goes too, `n` and `d` its columns change (PostgreSQL manual,
    /// 53.13, `pg_constraint`).
    pub on_delete: char,
    /// What happens there when a key here changes, likewise.
    pub on_update: char,
    /// Whether it is here because one of a whole table holds for its partitions, too.
    pub inherited: bool,
}

/// A function, procedure, aggregate or window function of the users' own.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its names.
    pub routine: Arc<Routine>,
    /// Its OID.
    pub id: u32,
    /// Which of those it is.
    pub kind: FunctionKind,
    /// Its language, such as `sql`, `plpgsql`, `c`, `internal`.
    pub language: Arc<str>,
    /// Its source: for `sql` and `plpgsql` the body, for `c` and `internal` a symbol.
    pub source: Arc<str>,
    /// The body of one that was written as SQL proper (`BEGIN ATOMIC`, `RETURN`), as the server writes it.
    pub body: Option<Arc<str>>,
    /// The types of its input arguments, in order.
    pub arguments: Vec<u32>,
    /// How many of them have defaults, the last ones.
    pub defaults: usize,
    /// The expressions of the defaults, as one list.
    pub default_expressions: Option<Arc<str>>,
    /// Whether the last takes any number of values.
    pub variadic: bool,
    /// The names of all arguments, in and out, empty where there is none.
    pub names: Vec<Arc<str>>,
    /// The mode of each: `i`, `o`, `b`, `v`, `t`; empty if all are `i`.
    pub modes: Vec<char>,
    /// The types of all arguments, in and out; empty if all are in.
    pub all_types: Vec<u32>,
    /// The OID of the type that it returns.
    pub returns: u32,
    /// Whether it returns any number of rows.
    pub set: bool,
    /// `i`, `s` or `v`.
    pub volatility: char,
    /// Whether it runs with its owner's rights.
    pub definer: bool,
    /// The role that owns it.
    pub owner: Arc<str>,
    /// Settings while it runs, as `name=value`.
    pub settings: Vec<Arc<str>>,
    /// The extension that it belongs to.
    pub extension: Option<Arc<str>>,
    /// Of an aggregate: the OIDs of the functions of the users' own that it consists of.
    pub parts: Vec<u32>,
}

/// What a [`Function`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionKind {
    /// A function.
    Function,
    /// A procedure.
    Procedure,
    /// An aggregate.
    Aggregate,
    /// A window function.
    Window,
}

/// An operator of the users' own.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Its schema.
    pub schema: Arc<str>,
    /// The OID of the type to its left; 0 for none.
    pub left: u32,
    /// To its right.
    pub right: u32,
    /// The OID of its function, of the users' own or not.
    pub function: u32,
}

/// A cast by a function of the users' own.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    /// From this type.
    pub from: u32,
    /// To this one.
    pub to: u32,
    /// The OID of the function.
    pub function: u32,
    /// Whether it happens without being asked for.
    pub implicit: bool,
}

/// A type.
#[derive(Clone, Debug)]
pub struct TypeFacts {
    /// Its OID.
    pub id: u32,
    /// Its schema's name.
    pub schema: Arc<str>,
    /// Its own.
    pub name: Arc<str>,
    /// `b` base, `c` composite, `d` domain, `e` enum, `p` pseudo, `r` range, `m` multirange.
    pub kind: char,
    /// Of an array: the OID of its elements' type; else 0.
    pub element: u32,
    /// Of a domain: the OID of the type that it is based on; else 0.
    pub base: u32,
    /// Of a composite: the OID of its relation; else 0.
    pub relation: u32,
    /// The expressions of its checks and of its default, as a domain has them.
    pub checks: Vec<Arc<str>>,
    /// The OIDs of its input, output and other functions that are of the users' own; many are of extensions.
    pub functions: Vec<u32>,
}

impl Catalog {
    /// The schemas that names in definitions, bodies, defaults and expressions are to be looked for in: the server leaves out a schema
    /// where whoever asked would find the same without. The source of a function is another matter: it is read along the path of
    /// whoever calls it.
    pub fn path(&self) -> &[Arc<str>] {
        &self.path
    }

    /// What the server answered to [`FINGERPRINT`] when this was read.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether there are texts in it that could not be read, because somebody kept locked what they are about. What depends on one is
    /// unknown.
    pub fn is_partial(&self) -> bool {
        self.stored.is_partial()
    }

    /// The names that were to get labels and that stand for nothing.
    pub fn unmatched(&self) -> &[Arc<str>] {
        &self.unmatched
    }

    /// What the names that have labels stand for, or have stood for, sorted.
    pub fn bindings(&self) -> Vec<Binding> {
        let all = self.bound.iter().flat_map(|(name, all)| all.iter().map(move |stood| (name, *stood)));
        let binding = |(name, (relation, column)): (&Arc<str>, _)| Binding { name: Arc::clone(name), relation, column };
        let mut bindings: Vec<_> = all.map(binding).collect();
        bindings.sort_unstable();
        bindings
    }

    /// Whether anything has labels.
    pub fn is_classified(&self) -> bool {
        !self.classified.is_empty()
    }

    /// The columns with labels, by their table's OID and their number.
    pub fn classified(&self) -> &HashSet<(u32, i16)> {
        &self.classified
    }

    /// What runs when something is defined.
    pub fn event_triggers(&self) -> &[EventTrigger] {
        &self.event_triggers
    }

    /// The relation of this OID.
    pub fn relation(&self, id: u32) -> Option<&Arc<Relation>> {
        self.relations.get(&id)
    }

    /// The relation that a name stands for: in its schema, or else in the first of the path that has one.
    pub fn find_relation(&self, schema: Option<&str>, name: &str, path: &[Arc<str>]) -> Option<&Arc<Relation>> {
        let in_schema = |schema: &str| self.names.get(schema)?.get(name).and_then(|id| self.relations.get(id));
        match schema {
            Some(schema) => in_schema(schema),
            None => path.iter().find_map(|schema| in_schema(schema)),
        }
    }

    /// Every relation.
    pub fn relations(&self) -> impl Iterator<Item = &Arc<Relation>> {
        self.relations.values()
    }

    /// Every function of the users' own.
    pub fn functions(&self) -> impl Iterator<Item = &Arc<Function>> {
        self.function_ids.values()
    }

    /// The function of the users' own of this OID.
    pub fn function(&self, id: u32) -> Option<&Arc<Function>> {
        self.function_ids.get(&id)
    }

    /// The functions of the users' own that a name can stand for, whatever their arguments: those in its schema, or else all along the path.
    pub fn find_functions<'a>(
        &'a self,
        schema: Option<&'a str>,
        name: &str,
        path: &'a [Arc<str>],
    ) -> impl Iterator<Item = &'a Arc<Function>> {
        self.functions.get(name).into_iter().flatten().filter(move |function| match schema {
            Some(schema) => *function.routine.schema == *schema,
            None => path.iter().any(|schema| *schema == function.routine.schema),
        })
    }

    /// The operators of the users' own that a name can stand for, likewise.
    pub fn find_operators<'a>(
        &'a self,
        schema: Option<&'a str>,
        name: &str,
        path: &'a [Arc<str>],
    ) -> impl Iterator<Item = &'a Operator> {
        self.operators.get(name).into_iter().flatten().filter(move |operator| match schema {
            Some(schema) => *operator.schema == *schema,
            None => path.contains(&operator.schema),
        })
    }

    /// The casts by functions of the users' own.
    pub fn casts(&self) -> &[Cast] {
        &self.casts
    }

    /// The type of this OID.
    pub fn kind(&self, id: u32) -> Option<&Arc<TypeFacts>> {
        self.types.get(&id)
    }

    /// The type that a type's values look like: that of a domain is the one that it is made of, `citext` is a text, and an array of such is an
    /// array of what they are.
    pub fn plain_kind(&self, id: u32) -> u32 {
        let plain = self.without_domains(id);
        let Some(element) = self.kind(plain).map(|facts| facts.element).filter(|element| *element != 0) else { return plain };
        let each = self.without_domains(element);
        let name = self.kind(each).filter(|_| each != element).map(|facts| format!("_{}", facts.name));
        let array = name.and_then(|name| self.find_type(Some("pg_catalog"), &name, &[]));
        array.filter(|array| array.element == each).map_or(plain, |array| array.id)
    }

    fn without_domains(&self, id: u32) -> u32 {
        const TEXT: u32 = 25;
        let mut plain = id;
        for _ in 0..DOMAINS {
            match self.kind(plain) {
                Some(facts) if facts.kind == 'd' && facts.base != 0 => plain = facts.base,
                Some(facts) if facts.kind == 'b' && &*facts.name == "citext" => return TEXT,
                _ => break,
            }
        }
        plain
    }

    /// The type that a name stands for: in its schema, or else in the first of the path that has one.
    pub fn find_type(&self, schema: Option<&str>, name: &str, path: &[Arc<str>]) -> Option<&Arc<TypeFacts>> {
        let in_schema = |schema: &str| self.type_names.get(schema)?.get(name).and_then(|id| self.types.get(id));
        match schema {
            Some(schema) => in_schema(schema),
            None => path.iter().find_map(|schema| in_schema(schema)),
        }
    }

    /// The schemas that there are, and whether whoever asked may use them: by these, a search path may be another.
    pub fn schemas(&self) -> &Arc<HashMap<Arc<str>, bool>> {
        &self.schemas
    }

    /// Whether there is a schema of this name.
    pub fn has_schema(&self, schema: &str) -> bool {
        self.schemas.contains_key(schema)
    }

    /// Whether a search path passes over this schema because whoever asked may not use it.
    pub fn passes_over(&self, schema: &str) -> bool {
        self.schemas.get(schema) == Some(&false)
    }
}

impl Relation {
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&ColumnFacts> {
        self.columns.iter().find(|column| *column.column.name == *name)
    }
}
