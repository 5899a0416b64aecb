//! What a request does, as far as it can be told before it runs: what policy decides on, and what the record names.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::Disclosure;

/// What one statement, call or command does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meaning {
    /// What kind of statement it is, in its language's own words: `SELECT`, `CREATE TABLE`.
    pub class: &'static str,
    /// What it does to what. Never fewer than really happen; an empty set means that it does nothing to anything.
    pub effects: BTreeSet<Effect>,
    /// What is dangerous about it.
    pub hazards: BTreeSet<Hazard>,
    /// What it shows of classified columns.
    pub disclosure: Disclosure,
}

/// Something that is done to something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Effect {
    /// What.
    pub verb: Verb,
    /// To what.
    pub object: Object,
    /// The view, function, trigger or constraint by way of which it happens, if the text does not name the object itself.
    pub through: Option<Arc<str>>,
}

/// What can be done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// A value is read, or decides what is read.
    Read,
    /// A row comes to be.
    Insert,
    /// A value is replaced.
    Update,
    /// A row goes away.
    Delete,
    /// All rows go away at once.
    Truncate,
    /// Rows leave in bulk: a whole table, or without a bound.
    Export,
    /// An object comes to be.
    Create,
    /// An object is changed.
    Alter,
    /// An object goes away.
    Drop,
    /// Code is run.
    Execute,
    /// An endpoint, a model or a prompt is called, or a model calls a tool.
    Invoke,
    /// A model is told that it may call a tool.
    Offer,
    /// A session's setting, role or search path is changed.
    Configure,
    /// Others are kept waiting: an explicit lock.
    Lock,
    /// Storage is looked after: vacuum, analyze, reindex, refresh.
    Maintain,
    /// Who may do what is changed.
    Grant,
    /// Other sessions are listened to or called.
    Notify,
    /// The server itself is changed or looked into: its files, its programs, its configuration.
    Control,
    /// It cannot be told what is done.
    Unknown,
    /// A classified value is seen as it is.
    Reveal,
    /// A classified value decides which rows are seen, or whether there is an error.
    Filter,
    /// A sum or an average of a classified column's values is seen, if it is over enough of them.
    Aggregate,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 22] = [
        Self::Read,
        Self::Insert,
        Self::Update,
        Self::Delete,
        Self::Truncate,
        Self::Export,
        Self::Create,
        Self::Alter,
        Self::Drop,
        Self::Execute,
        Self::Invoke,
        Self::Offer,
        Self::Configure,
        Self::Lock,
        Self::Maintain,
        Self::Grant,
        Self::Notify,
        Self::Control,
        Self::Unknown,
        Self::Reveal,
        Self::Filter,
        Self::Aggregate,
    ];

    /// The word for it in policies and in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
            Self::Export => "export",
            Self::Create => "create",
            Self::Alter => "alter",
            Self::Drop => "drop",
            Self::Execute => "execute",
            Self::Invoke => "invoke",
            Self::Offer => "offer",
            Self::Configure => "configure",
            Self::Lock => "lock",
            Self::Maintain => "maintain",
            Self::Grant => "grant",
            Self::Notify => "notify",
            Self::Control => "control",
            Self::Unknown => "unknown",
            Self::Reveal => "reveal",
            Self::Filter => "filter",
            Self::Aggregate => "aggregate",
        }
    }
}

/// What something can be done to, inside one connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// All that the connection leads to: a database.
    Connection,
    /// A schema, by name.
    Schema(Arc<str>),
    /// A table, or what can be read like one.
    Table(Arc<Table>),
    /// A column of one.
    Column(Arc<Column>),
    /// A function, procedure or aggregate.
    Routine(Arc<Routine>),
    /// A setting of the session, by its name in lower case.
    Setting(Arc<str>),
    /// Anything else that has a name.
    Definition(Arc<Definition>),
    /// What HTTP requests are sent to.
    Endpoint(Arc<Endpoint>),
    /// What answers in words, by the name that clients give it: `gpt-4o`.
    Model(Arc<str>),
    /// What a model may ask its client to do, by the name that it is offered under.
    Tool(Arc<str>),
    /// What a model is asked by, where that has a name.
    Prompt(Arc<str>),
}

/// A table, view, materialized view, foreign table or sequence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table {
    /// Its schema's name.
    pub schema: Arc<str>,
    /// Its own.
    pub name: Arc<str>,
    /// What the target calls it inside itself (PostgreSQL: its OID), so that a rename is not another table; 0 if it does not exist yet.
    pub id: u32,
    /// Which of those it is.
    pub kind: TableKind,
    /// Whether it belongs to the server rather than to its users.
    pub system: bool,
    /// Classifications, such as `pii`, sorted.
    pub labels: Labels,
    /// Those of its columns, sorted: what one of its rows would show.
    pub holds: Labels,
}

/// What a [`Table`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableKind {
    /// A table, partitioned or not.
    Table,
    /// A table of one session's own.
    Temporary,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A table on another server.
    Foreign,
    /// A sequence.
    Sequence,
    /// A composite type.
    Composite,
}

impl TableKind {
    /// The word for it in policies and in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Temporary => "temporary",
            Self::View => "view",
            Self::MaterializedView => "materialized_view",
            Self::Foreign => "foreign",
            Self::Sequence => "sequence",
            Self::Composite => "composite",
        }
    }
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Column {
    /// Whose column it is.
    pub table: Arc<Table>,
    /// Its name.
    pub name: Arc<str>,
    /// What the target calls it inside the table (PostgreSQL: its attribute number).
    pub number: i16,
    /// What the target calls its type (PostgreSQL: its OID).
    pub kind: u32,
    /// Its own classifications and its table's, sorted.
    pub labels: Labels,
}

/// A function, procedure or aggregate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Routine {
    /// Its schema's name.
    pub schema: Arc<str>,
    /// Its own.
    pub name: Arc<str>,
    /// Whether it belongs to the server rather than to its users.
    pub system: bool,
}

/// Something else that has a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Definition {
    /// What it is, in the target's words and lower case: `index`, `trigger`, `role`, `extension`, `channel`.
    pub kind: &'static str,
    /// Its schema's name, if it is in one.
    pub schema: Option<Arc<str>>,
    /// Its own.
    pub name: Arc<str>,
}

/// What HTTP requests are sent to: a method on a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The method, in upper case: `POST`.
    pub method: &'static str,
    /// The path as it is forwarded, without the query: `/v1/chat/completions`.
    pub path: Arc<str>,
    /// What the path is one of, where the service is described and it is one: `/users/{id}`.
    pub template: Option<Arc<str>>,
    /// What the description calls that, if it calls it anything: `getUser`.
    pub operation: Option<Arc<str>>,
}

impl Endpoint {
    /// Whether a character stands in paths as it is, however it came (RFC 3986, section 3.3, without `;`). All others are escaped.
    pub fn keeps(c: u8) -> bool {
        Self::is_unreserved(c) || b"!$&'()*+,=:@".contains(&c)
    }

    /// Whether a character means the same escaped and unescaped to every server (RFC 3986, section 2.3).
    pub fn is_unreserved(c: u8) -> bool {
        c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'~')
    }
}

/// Classifications, sorted.
pub type Labels = Arc<[Arc<str>]>;

/// What is dangerous about a statement, apart from what it does to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hazard {
    /// Rows are changed or deleted without a condition that tells some from the others.
    BulkWrite,
    /// Rows leave without a bound.
    MassExport,
    /// By way of a foreign key, rows of other tables go or change too.
    Cascade,
    /// Code runs that cannot be looked into.
    Opaque,
    /// Statements are made of text while running.
    DynamicSql,
    /// Files of the server are read or written.
    FileAccess,
    /// A program of the server's machine is run.
    Program,
    /// The server reaches for another.
    Network,
    /// Large objects are used.
    LargeObject,
    /// The session becomes another one: its role, its rules of reading text, what its triggers do.
    SessionEscape,
    /// Rights are widened.
    PrivilegeEscape,
    /// Others are kept waiting.
    Blocking,
    /// The server is kept busy or asleep on purpose.
    Wait,
    /// It is not known what all of it does.
    Unknown,
}

impl Hazard {
    /// Every hazard.
    pub const ALL: [Self; 14] = [
        Self::BulkWrite,
        Self::MassExport,
        Self::Cascade,
        Self::Opaque,
        Self::DynamicSql,
        Self::FileAccess,
        Self::Program,
        Self::Network,
        Self::LargeObject,
        Self::SessionEscape,
        Self::PrivilegeEscape,
        Self::Blocking,
        Self::Wait,
        Self::Unknown,
    ];

    /// The word for it in policies and in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BulkWrite => "bulk_write",
            Self::MassExport => "mass_export",
            Self::Cascade => "cascade",
            Self::Opaque => "opaque",
            Self::DynamicSql => "dynamic_sql",
            Self::FileAccess => "file_access",
            Self::Program => "program",
            Self::Network => "network",
            Self::LargeObject => "large_object",
            Self::SessionEscape => "session_escape",
            Self::PrivilegeEscape => "privilege_escape",
            Self::Blocking => "blocking",
            Self::Wait => "wait",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Object {
    /// As policies name it inside its connection: `schema.table.column`, each part quoted as SQL would if it must be; `POST /path`, by its template
    /// if it has one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection => f.write_str("*"),
            Self::Schema(name) => write!(f, "{}", Quoted(name)),
            Self::Table(table) => write!(f, "{table}"),
            Self::Column(column) => write!(f, "{}.{}", column.table, Quoted(&column.name)),
            Self::Routine(routine) => write!(f, "{}.{}", Quoted(&routine.schema), Quoted(&routine.name)),
            Self::Setting(name) => f.write_str(name),
            Self::Definition(definition) => match &definition.schema {
                Some(schema) => write!(f, "{}.{}", Quoted(schema), Quoted(&definition.name)),
                None => write!(f, "{}", Quoted(&definition.name)),
            },
            // Methods have no space, and no path has braces, so none passes for a template.
            Self::Endpoint(endpoint) => {
                write!(f, "{} {}", endpoint.method, endpoint.template.as_ref().unwrap_or(&endpoint.path))
            }
            Self::Model(name) | Self::Tool(name) | Self::Prompt(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", Quoted(&self.schema), Quoted(&self.name))
    }
}

/// A name as it must be written: with quotes where it holds more than lower-case letters, digits and underscores.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |(n, c): (usize, char)| c == '_' || c.is_ascii_lowercase() || (n > 0 && c.is_ascii_digit());
        if !self.0.is_empty() && self.0.chars().enumerate().all(plain) {
            return f.write_str(self.0);
        }
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_they_could_pass_for_others() {
        let table = |schema: &str, name: &str| {
            let (schema, name) = (schema.into(), name.into());
            Table { schema, name, id: 1, kind: TableKind::Table, system: false, labels: Arc::new([]), holds: Arc::new([]) }
                .to_string()
        };
        assert_eq!(table("public", "customers_2"), "public.customers_2");
        assert_eq!(table("a.b", "c"), "\"a.b\".c");
        assert_eq!(table("a", "b.c"), "a.\"b.c\"");
        assert_eq!(table("a", "say \"x\""), "a.\"say \"\"x\"\"\"");
        assert_eq!(table("a", "1"), "a.\"1\"");
        assert_eq!(table("a", "Über"), "a.\"Über\"");
    }
}
