//! `claviger mask floor`: a role of the upstream's own that cannot read what is classified, as a script to be run there.
//!
//! The role may read what the connection's role may read, but of columns with labels nothing. In their place it finds views of the same names, in
//! schemas that stand before the tables' own in its search path. The script is one transaction; it can be run again, and makes all of it anew.
//! At its end it looks whether the role can read a classified column nevertheless, and if so nothing of it stays.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use claviger_mask::methods::{Method, Type, method_of};
use claviger_model::{ConnectionName, Labels, TableKind};
use claviger_sql::{Catalog, ColumnFacts, Relation};

use super::expression::Replaced;
use super::sample::{READABLE, literal, quoted};
use super::scan::readable;
use crate::cli::Failure;
use crate::cli::output::{Output, complain};
use crate::cli::upstream::{self, Row, Upstream};
use crate::config::Config;

/// The longest name that the server keeps whole, in bytes (PostgreSQL manual, 4.1.1).
const LONGEST_NAME: usize = 63;
/// By this comment a schema of ours is known.
const OURS: &str = "made by claviger mask floor";

/// Types and collations as SQL writes them, of columns; and of tables and views whether who asks may see other rows than their
/// owner, by policies. NULL is no.
const COLUMNS: &str = "select a.attrelid, a.attnum, pg_catalog.format_type(a.atttypid, a.atttypmod), \
    case when a.attcollation operator(pg_catalog.<>) t.typcollation then (select pg_catalog.format('%I.%I', n.nspname, o.collname) \
        from pg_catalog.pg_collation o join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) o.collnamespace \
        where o.oid operator(pg_catalog.=) a.attcollation) end, \
    c.relrowsecurity or pg_catalog.array_to_string(c.reloptions, ',') operator(pg_catalog.~) 'security_invoker=', t.typtype operator(pg_catalog.=) 'd'::pg_catalog.\"char\", \
    pg_catalog.format_type(t.typbasetype, t.typtypmod) \
    from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid operator(pg_catalog.=) a.attrelid \
    join pg_catalog.pg_type t on t.oid operator(pg_catalog.=) a.atttypid \
    where a.attnum operator(pg_catalog.>) 0 and not a.attisdropped";

/// So that types are written with their schemas.
const SETTINGS: &str = "select pg_catalog.set_config('default_transaction_read_only', 'on', false), \
    pg_catalog.set_config('statement_timeout', '30s', false), pg_catalog.set_config('jit', 'off', false)";
const NO_PATH: &str = "select pg_catalog.set_config('search_path', '', false)";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The connection whose labels and methods count
    connection: ConnectionName,
    /// The role that the script makes
    #[arg(long, value_name = "NAME", default_value = "claviger_masked")]
    role: String,
    /// The schema of views for `public`; those for another schema are in one with its name behind
    #[arg(long, value_name = "NAME", default_value = "masked")]
    schema: String,
    /// The configuration directory of the gateway, on its own machine
    #[arg(long, value_name = "DIR", env = "CLAVIGER_CONFIG")]
    config: PathBuf,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let connection = upstream::connection(&config, &args.connection)?;
    let methods = config.masking.methods.clone();
    let mut upstream = Upstream::open(config, &connection, "mask.floor")?.with(SETTINGS, std::time::Duration::from_secs(40));
    let catalog = upstream.catalog()?;
    for name in catalog.unmatched() {
        complain(format_args!("`classify` names {}, which is not in the database", name.escape_debug()));
    }
    let not_one = || anyhow!("the upstream's answer is not one");
    let readable = readable(&upstream.ask(READABLE)?).ok_or_else(not_one)?;
    upstream.ask(NO_PATH)?;
    let facts = facts(&upstream.ask(COLUMNS)?).ok_or_else(not_one)?;
    let floor =
        Floor { catalog, readable, facts, methods, role: &args.role, schema: &args.schema, database: &connection.database };
    output.bytes(floor.script(connection.name.as_str())?.as_bytes())
}

/// What only the server knows of a column.
struct Written {
    kind: String,
    collation: Option<String>,
    /// Whether policies hide rows of its table.
    rows_hidden: bool,
}

fn facts(rows: &[Row]) -> Option<HashMap<(u32, i16), Written>> {
    let text = |value: Option<&Option<bytes::Bytes>>| Some(std::str::from_utf8(value?.as_ref()?).ok()?.to_owned());
    let fact = |row: &Row| {
        let is_domain = text(row.get(5))? == "t";
        let kind = text(row.get(if is_domain { 6 } else { 2 }))?;
        let written =
            Written { kind, collation: text(row.get(3)), rows_hidden: text(row.get(4)).is_some_and(|hidden| hidden == "t") };
        Some(((text(row.first())?.parse().ok()?, text(row.get(1))?.parse().ok()?), written))
    };
    rows.iter().map(fact).collect()
}

struct Floor<'a> {
    catalog: Catalog,
    /// What the connection's role may read.
    readable: HashSet<(u32, i16)>,
    facts: HashMap<(u32, i16), Written>,
    methods: Vec<(Arc<str>, Method)>,
    role: &'a str,
    schema: &'a str,
    database: &'a str,
}

/// A relation that the role reads something of.
struct Read<'c> {
    relation: &'c Relation,
    name: String,
    /// Of each column, in order: its labels.
    columns: Vec<(&'c ColumnFacts, Labels)>,
}

impl Read<'_> {
    fn is_masked(&self) -> bool {
        self.columns.iter().any(|(_, labels)| !labels.is_empty())
    }
}

impl Floor<'_> {
    fn script(&self, connection: &str) -> Result<String, Failure> {
        let reads = self.reads()?;
        let schemas: BTreeSet<&str> = reads.iter().map(|read| &*read.relation.table.schema).collect();
        let masked: BTreeMap<&str, String> = reads
            .iter()
            .filter(|read| read.is_masked() && !self.hides_rows(read))
            .map(|read| (&*read.relation.table.schema, self.schema_for(&read.relation.table.schema)))
            .collect();
        for name in masked.values().map(|name| &**name).chain([self.role]) {
            if name.is_empty() || name.len() > LONGEST_NAME || name.contains('\0') || name.starts_with("pg_") {
                return Err(Failure::Usage(format!(
                    "`{}` cannot be a name: another is given by --role or --schema",
                    name.escape_debug()
                )));
            }
        }
        let mut sql = self.head(connection);
        self.schemas(&masked, &mut sql);
        self.rights(&schemas, &reads, &mut sql);
        self.views(&masked, &reads, &mut sql);
        self.path(&masked, &mut sql);
        self.proof(&reads, &mut sql);
        self.functions(&mut sql);
        sql.push_str("\ncommit;\n");
        Ok(sql)
    }

    /// What the role is to read something of, by name.
    fn reads(&self) -> Result<Vec<Read<'_>>, Failure> {
        let own: HashSet<String> = self.catalog.relations().map(|relation| self.schema_for(&relation.table.schema)).collect();
        let kept = |kind| matches!(kind, TableKind::Table | TableKind::View | TableKind::MaterializedView | TableKind::Foreign);
        let relations =
            self.catalog.relations().filter(|one| !one.table.system && kept(one.table.kind) && !own.contains(&*one.table.schema));
        let mut reads: Vec<Read<'_>> = Vec::new();
        for relation in relations {
            let id = relation.table.id;
            let may_read = |facts: &ColumnFacts| self.readable.contains(&(id, facts.column.number));
            let columns = relation.columns.iter().zip(self.catalog.labels_shown(relation));
            let columns: Vec<_> = columns.filter(|(facts, labels)| !labels.is_empty() || may_read(facts)).collect();
            // Or its view, where the connection's role is already such a one.
            let view = self.catalog.find_relation(Some(&self.schema_for(&relation.table.schema)), &relation.table.name, &[]);
            let reads_view = view.is_some_and(|view| {
                view.columns.iter().any(|facts| self.readable.contains(&(view.table.id, facts.column.number)))
            });
            if reads_view || columns.iter().any(|(facts, _)| may_read(facts)) {
                let name = format!("{}.{}", quoted(&relation.table.schema), quoted(&relation.table.name));
                reads.push(Read { relation, name, columns });
            }
        }
        reads.sort_by(|a, b| a.name.cmp(&b.name));
        if !reads.iter().any(Read::is_masked) {
            return Err(Failure::Usage("nothing is classified of what the connection's role may read".to_owned()));
        }
        Ok(reads)
    }

    /// Of a name that would be too long the end is told from others by a digest.
    fn schema_for(&self, schema: &str) -> String {
        let mut name = if schema == "public" { self.schema.to_owned() } else { format!("{}_{schema}", self.schema) };
        if name.len() > LONGEST_NAME && schema != "public" {
            let digest = ring::digest::digest(&ring::digest::SHA256, schema.as_bytes());
            let end: String = digest.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            let keep = name.floor_char_boundary(LONGEST_NAME - 1 - end.len());
            name.truncate(keep);
            name = format!("{name}_{end}");
        }
        name
    }

    /// A view reads with its owner's rights, and would show rows that policies hide from who asks.
    fn hides_rows(&self, read: &Read<'_>) -> bool {
        let mut columns = read.relation.columns.iter();
        columns.any(|facts| self.facts.get(&(read.relation.table.id, facts.column.number)).is_none_or(|facts| facts.rows_hidden))
    }

    fn head(&self, connection: &str) -> String {
        let role = quoted(self.role);
        format!(
            "-- A role that cannot read what is classified on the connection `{}`, for the database {}.\n\
             -- To be run there by the owner of the tables, or a superuser; it can be run again, and has to be when labels, methods or tables change.\n\
             -- The role has no password yet: give it one, and name it as the connection's `user`.\n\
             begin;\n\
             set local client_encoding = 'UTF8';\n\
             set local standard_conforming_strings = on;\n\
             set local search_path = pg_catalog, pg_temp;\n\
             set local client_min_messages = warning;\n\n\
             {}\
             alter role {role} with login noinherit;\n",
            comment(connection),
            comment(self.database),
            block(&format!(
                "begin\n  if not exists (select from pg_roles where rolname = {}) then\n    create role {role};\n  end if;\nend",
                literal(self.role)
            )),
        )
    }

    /// Empty schemas for the views. One that is somebody else's is left alone, and ends the script.
    fn schemas(&self, masked: &BTreeMap<&str, String>, sql: &mut String) {
        for name in masked.values() {
            sql.push('\n');
            sql.push_str(&block(&format!(
                "declare\n  known record;\nbegin\n  \
                 for known in select n.oid, obj_description(n.oid, 'pg_namespace') as says from pg_namespace n where n.nspname = {name} loop\n    \
                 if known.says is distinct from '{OURS}' then\n      \
                 raise exception 'there is a schema % already, and it is not ours', quote_ident({name});\n    end if;\n    \
                 for known in select c.relname from pg_class c where c.relnamespace = known.oid and c.relkind = 'v' loop\n      \
                 execute format('drop view %I.%I', {name}, known.relname);\n    end loop;\n  end loop;\nend",
                name = literal(name)
            )));
            _ = writeln!(sql, "create schema if not exists {0};\ncomment on schema {0} is '{OURS}';", quoted(name));
            _ = writeln!(sql, "grant usage on schema {} to {};", quoted(name), quoted(self.role));
        }
    }

    fn rights(&self, schemas: &BTreeSet<&str>, reads: &[Read<'_>], sql: &mut String) {
        let role = quoted(self.role);
        _ = writeln!(sql, "\ngrant connect on database {} to {role};", quoted(self.database));
        for schema in schemas {
            _ = writeln!(
                sql,
                "revoke all on all tables in schema {0} from {role};\ngrant usage on schema {0} to {role};",
                quoted(schema)
            );
        }
        for read in reads {
            let all = read.columns.len() == read.relation.columns.len();
            let open: Vec<String> = read
                .columns
                .iter()
                .filter(|(_, labels)| labels.is_empty())
                .map(|(facts, _)| quoted(&facts.column.name))
                .collect();
            // By name, so that a column that is added later, and that nobody has labelled yet, is not among them.
            if all && !read.is_masked() {
                _ = writeln!(sql, "grant select on {} to {role};", read.name);
            } else if !open.is_empty() {
                _ = writeln!(sql, "grant select ({}) on {} to {role};", open.join(", "), read.name);
            }
        }
    }

    fn views(&self, masked: &BTreeMap<&str, String>, reads: &[Read<'_>], sql: &mut String) {
        for read in reads.iter().filter(|read| read.is_masked()) {
            let table = &read.relation.table;
            if self.hides_rows(read) {
                _ = writeln!(
                    sql,
                    "\n-- {} has row security, which a view would not keep: what is not classified of it is read from the table itself.",
                    comment(&read.name)
                );
                continue;
            }
            let Some(schema) = masked.get(&*table.schema) else { continue };
            let columns: Vec<String> =
                read.columns.iter().map(|(facts, labels)| self.column(read.relation, facts, labels)).collect();
            let view = format!("{}.{}", quoted(schema), quoted(&table.name));
            _ = writeln!(
                sql,
                "\ncreate view {view} with (security_barrier) as select\n    {}\nfrom {} t;\ngrant select on {view} to {};",
                columns.join(",\n    "),
                read.name,
                quoted(self.role)
            );
        }
    }

    fn column(&self, relation: &Relation, facts: &ColumnFacts, labels: &Labels) -> String {
        let name = &facts.column.name;
        let written = self.facts.get(&(relation.table.id, facts.column.number));
        match written {
            Some(written) if !labels.is_empty() => {
                // What a view makes of a value is not known to be as a method keeps it.
                let stored = matches!(relation.table.kind, TableKind::Table | TableKind::Foreign);
                let method = match method_of(&self.methods, labels).1 {
                    Method::Null => Method::Null,
                    method if stored => method,
                    _ => Method::Redact,
                };
                let (plain, kind) = (Type::of(self.catalog.plain_kind(facts.kind), -1), &*written.kind);
                Replaced { name, plain, kind, collation: written.collation.as_deref() }.by(method)
            }
            _ => format!("t.{0} AS {0}", quoted(name)),
        }
    }

    /// What is asked for without a schema is found in the views.
    fn path(&self, masked: &BTreeMap<&str, String>, sql: &mut String) {
        let own: Vec<&String> = masked.values().collect();
        let mut path: Vec<String> = Vec::new();
        for schema in
            self.catalog.path().iter().filter(|schema| &***schema != "pg_catalog" && !own.iter().any(|one| **one == ***schema))
        {
            path.extend(masked.get(&**schema).map(|views| quoted(views)));
            path.push(quoted(schema));
        }
        if path.is_empty() {
            path.push("''".to_owned());
        }
        let (role, database) = (quoted(self.role), quoted(self.database));
        _ = writeln!(sql, "\nalter role {role} in database {database} set search_path = {};", path.join(", "));
    }

    /// Rights come by many ways, and a role may become any that it is in: what it can do in the end is what counts.
    fn proof(&self, reads: &[Read<'_>], sql: &mut String) {
        let mut classified = String::new();
        for read in reads {
            for (facts, _) in read.columns.iter().filter(|(_, labels)| !labels.is_empty()) {
                _ = write!(classified, ",\n    ({}, {})", literal(&read.name), literal(&facts.column.name));
            }
        }
        let Some(classified) = classified.strip_prefix(",\n") else { return };
        sql.push('\n');
        sql.push_str(&block(&format!(
            "declare\n  one record;\nbegin\n  for one in select c.tab, c.col, r.rolname from (values\n{classified}\n  ) c (tab, col)\n    \
             join pg_roles r on pg_has_role({role}, r.oid, 'MEMBER')\n    \
             where has_column_privilege(r.oid, c.tab, c.col, 'SELECT')\n      \
             or r.oid = (select t.relowner from pg_class t where t.oid = c.tab::regclass)\n  loop\n    \
             raise exception '% can read column % of % nevertheless', {role}, quote_ident(one.col), one.tab\n      \
             using detail = format('As the role %I: by a right of its own, of PUBLIC, or as the owner.', one.rolname);\n  \
             end loop;\nend",
            role = literal(self.role)
        )));
    }

    /// What runs with its owner's rights reads what its owner may read.
    fn functions(&self, sql: &mut String) {
        let mut definers: Vec<String> = self
            .catalog
            .functions()
            .filter(|function| function.definer)
            .map(|function| {
                let routine = &function.routine;
                format!("{}.{}", quoted(&routine.schema), quoted(&routine.name))
            })
            .collect();
        definers.sort();
        definers.dedup();
        if definers.is_empty() {
            return;
        }
        sql.push_str("\n-- These run with their owners' rights. Who may not read a column may still be told of it by them: look who may call them.\n");
        for name in definers {
            _ = writeln!(sql, "--   {}", comment(&name));
        }
    }
}

/// A text in a comment: it ends with its line.
fn comment(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// A block of PL/pgSQL, between marks that are not in it.
fn block(body: &str) -> String {
    let mark = (0..).map(|n| format!("$floor{n}$")).find(|mark| !body.contains(mark)).unwrap_or_default();
    format!("do {mark}\n{body}\n{mark};\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_names() {
        assert_eq!(comment("a\nb"), "a\\nb");
        let hostile = block("select '$floor0$; drop table x'");
        assert!(hostile.starts_with("do $floor1$\n") && hostile.ends_with("\n$floor1$;\n"), "{hostile}");
    }
}
