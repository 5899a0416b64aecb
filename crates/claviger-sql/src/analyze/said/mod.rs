//! What a definition makes of the catalog, where its text says all of it.
//!
//! What comes after a definition in the same text is understood by a catalog that nobody has read from the server. So that is made only where
//! nothing about it can be wrong: tables of columns of known types, whose defaults and checks do nothing but compute. After any other
//! definition, what follows is unknown.

mod table;

use std::collections::BTreeSet;
use std::sync::Arc;

use claviger_model::{Column, Table, TableKind};
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{self, RangeVar};
use pg_raw_parse::raw::{DropBehavior, ObjectType, OnCommitAction};

use super::Analysis;
use super::names::{parts, qualified};
use super::scope::Expressions;
use super::walk::visit;
use crate::builtin::Builtin;
use crate::catalog::Change;
use crate::{Catalog, ColumnFacts, Relation, TypeFacts};

/// The schema of a session's first temporary table, which has a number on the server.
pub(super) const TEMPORARY: &str = "pg_temp_new";
/// The OID of a type that is not known.
const UNKNOWN_KIND: u32 = 0;

impl Analysis<'_> {
    /// What a definition makes of the catalog; none if that is not said. `schemas`: whether the text has made schemas, which names without
    /// one may then go into.
    pub(super) fn says(&mut self, node: Node<'_>, schemas: bool) -> Option<Vec<Change>> {
        if !self.catalog.event_triggers().is_empty() {
            return None;
        }
        match node {
            Node::CreateStmt(statement) => self.says_table(statement, schemas),
            Node::AlterTableStmt(statement) => self.says_altered(statement),
            Node::DropStmt(statement) => self.says_dropped(statement),
            Node::CreateSeqStmt(statement) => {
                let Some(place) = self.place(statement.sequence()?, statement.if_not_exists, schemas)? else {
                    return Some(Vec::new());
                };
                let table = Table { kind: TableKind::Sequence, ..place };
                Some(vec![Change::Is(Arc::new(self.made(table)))])
            }
            Node::IndexStmt(statement) => {
                let plain = self.computes(statement.where_clause())
                    && statement.index_params().iter().all(|element| self.computes(element.expr()));
                plain.then(Vec::new)
            }
            Node::CreateSchemaStmt(statement) if statement.schema_elts().is_empty() => {
                let name = statement.schemaname()?;
                let there = statement.if_not_exists && self.catalog.has_schema(name);
                Some(if there { Vec::new() } else { vec![Change::Schema(name.into())] })
            }
            Node::CreateTableAsStmt(statement) => self.says_table_as(statement, schemas),
            Node::CreateEnumStmt(statement) => self.says_kind(statement, schemas),
            Node::CreateExtensionStmt(statement) => {
                // The language comes with the server, and brings nothing that names could stand for.
                let has = |name: &str| {
                    name == "plpgsql" || self.catalog.functions().any(|function| function.extension.as_deref() == Some(name))
                };
                (statement.if_not_exists && has(statement.extname()?)).then(Vec::new)
            }
            // Rights to a schema decide whether names are looked for in it.
            Node::GrantStmt(statement) => {
                let of_table = matches!(statement.objtype, ObjectType::OBJECT_TABLE | ObjectType::OBJECT_SEQUENCE);
                of_table.then(Vec::new)
            }
            Node::CommentStmt(_) | Node::CreateRoleStmt(_) => Some(Vec::new()),
            _ => None,
        }
    }

    fn says_table(&self, statement: &nodes::CreateStmt, schemas: bool) -> Option<Vec<Change>> {
        let plain = statement.inh_relations().is_empty()
            && statement.partbound().is_none()
            && statement.partspec().is_none()
            && statement.of_typename().is_none();
        let range = statement.relation().filter(|range| plain && self.stays(range, statement.oncommit))?;
        let Some(table) = self.place(range, statement.if_not_exists, schemas)? else { return Some(Vec::new()) };
        let mut changes = Vec::new();
        let mut relation = self.made(table);
        for element in statement.table_elts() {
            match element {
                Node::ColumnDef(column) => self.add_column(&mut relation, column, &mut changes)?,
                Node::Constraint(constraint) => self.may_add(constraint)?,
                _ => return None,
            }
        }
        changes.push(Change::Is(Arc::new(relation)));
        Some(changes)
    }

    /// The rows that it begins with say what it has.
    fn says_table_as(&mut self, statement: &nodes::CreateTableAsStmt, schemas: bool) -> Option<Vec<Change>> {
        let (into, Node::SelectStmt(_), ObjectType::OBJECT_TABLE) = (statement.into()?, statement.query(), statement.objtype)
        else {
            return None;
        };
        let range = into.rel().filter(|range| self.stays(range, into.on_commit))?;
        let Some(table) = self.place(range, statement.if_not_exists, schemas)? else { return Some(Vec::new()) };
        // What would run because of the columns' types, which are not known.
        if self.catalog.runs_by_type() {
            return None;
        }
        let rows = self.query(statement.query(), &Expressions::default(), None).ok()?;
        let renamed = parts(into.col_names());
        let names = rows
            .fields
            .iter()
            .enumerate()
            .map(|(n, field)| renamed.get(n).map_or_else(|| Arc::clone(&field.name), |name| (*name).into()));
        let names: Vec<Arc<str>> = names.collect();
        let distinct = names.iter().collect::<BTreeSet<_>>().len() == names.len();
        let mut relation = self.made(table);
        for name in rows.open.is_none().then_some(names).filter(|_| distinct)? {
            relation.add(&name, UNKNOWN_KIND)?;
        }
        Some(vec![Change::Is(Arc::new(relation))])
    }

    /// A type whose values are words.
    fn says_kind(&self, statement: &nodes::CreateEnumStmt, schemas: bool) -> Option<Vec<Change>> {
        let names: Vec<&str> = statement.type_name().iter().filter_map(nodes::String::sval).collect();
        let (schema, name): (Arc<str>, _) = match names[..] {
            [schema, name] => (schema.into(), name),
            [name] if !schemas => (self.new_schema(|catalog| !catalog.has_kind(name))?, name),
            _ => return None,
        };
        if schema.starts_with("pg_") || self.catalog.find_type(Some(&schema), name, &[]).is_some() {
            return None;
        }
        let (checks, functions) = Default::default();
        let (id, kind) = (self.catalog.unused_kind(), 'e');
        let made = TypeFacts { id, schema, name: name.into(), kind, element: 0, base: 0, relation: 0, checks, functions };
        Some(vec![Change::Kind(Arc::new(made))])
    }

    /// Whether nothing else is a part of it, nor it of anything.
    pub(super) fn is_alone(&self, relation: &Relation) -> bool {
        relation.children.is_empty() && relation.partitioned_by.is_empty() && !self.catalog.is_child(relation.table.id)
    }

    /// Where what is new goes without a schema. If that is not known for certain, it does not matter only where nothing else has its name.
    fn new_schema(&self, is_alone: impl FnOnce(&Catalog) -> bool) -> Option<Arc<str>> {
        let first = || self.path.iter().find(|schema| !schema.starts_with("pg_")).filter(|_| is_alone(self.catalog));
        self.session.creates_in.as_ref().or_else(first).cloned()
    }

    /// The sequences of its `serial` columns, which go with it.
    fn counters(&self, relation: &Relation) -> impl Iterator<Item = u32> {
        let counts = |facts: &&ColumnFacts| facts.default.as_ref().is_some_and(|default| default.starts_with("nextval("));
        let names =
            relation.columns.iter().filter(counts).map(|facts| format!("{}_{}_seq", relation.table.name, facts.column.name));
        let found = names.filter_map(|name| self.catalog.find_relation(Some(&relation.table.schema), &name, &[]));
        found.filter(|found| found.table.kind == TableKind::Sequence).map(|found| found.table.id)
    }

    fn says_dropped(&self, statement: &nodes::DropStmt) -> Option<Vec<Change>> {
        use ObjectType::{OBJECT_INDEX, OBJECT_SEQUENCE, OBJECT_TABLE, OBJECT_VIEW};
        if statement.missing_ok && statement.objects().iter().all(|object| self.is_missing(statement.remove_type, object)) {
            return Some(Vec::new());
        }
        if statement.behavior != DropBehavior::DROP_RESTRICT {
            return None;
        }
        match statement.remove_type {
            // One that was unique told rows apart that classified values are summed up of.
            OBJECT_INDEX => return (!self.catalog.is_classified()).then(Vec::new),
            OBJECT_TABLE | OBJECT_VIEW | OBJECT_SEQUENCE => {}
            _ => return None,
        }
        let mut changes = Vec::new();
        for object in statement.objects() {
            let Node::NodeList(names) = object else { return None };
            let (schema, name) = qualified(names)?;
            let Some(relation) = self.catalog.find_relation(schema.map(|schema| self.schema(schema)), name, &self.path) else {
                if statement.missing_ok {
                    continue;
                }
                return None;
            };
            self.is_alone(relation).then(|| changes.push(Change::Gone(relation.table.id)))?;
            changes.extend(self.counters(relation).map(Change::Gone));
        }
        Some(changes)
    }

    /// Whether there is certainly nothing of this kind and name.
    fn is_missing(&self, kind: ObjectType::Type, object: Node<'_>) -> bool {
        let named = match object {
            Node::NodeList(names) => qualified(names),
            Node::ObjectWithArgs(routine) => qualified(routine.objname()),
            Node::String(name) => name.sval().map(|name| (None, name)),
            Node::TypeName(kind) => match kind.names().iter().filter_map(nodes::String::sval).collect::<Vec<_>>()[..] {
                [name] => Some((None, name)),
                [schema, name] => Some((Some(schema), name)),
                _ => None,
            },
            _ => None,
        };
        let Some((schema, name)) = named else { return false };
        let schema = schema.map(|schema| self.schema(schema));
        match kind {
            ObjectType::OBJECT_TABLE
            | ObjectType::OBJECT_VIEW
            | ObjectType::OBJECT_MATVIEW
            | ObjectType::OBJECT_SEQUENCE
            | ObjectType::OBJECT_FOREIGN_TABLE => self.catalog.find_relation(schema, name, &self.path).is_none(),
            ObjectType::OBJECT_TYPE | ObjectType::OBJECT_DOMAIN => self.catalog.find_type(schema, name, &self.path).is_none(),
            ObjectType::OBJECT_FUNCTION
            | ObjectType::OBJECT_PROCEDURE
            | ObjectType::OBJECT_ROUTINE
            | ObjectType::OBJECT_AGGREGATE => self.catalog.find_functions(schema, name, &self.path).next().is_none(),
            ObjectType::OBJECT_SCHEMA => !self.catalog.has_schema(name),
            _ => false,
        }
    }

    /// Whether a name goes on to stand for what is made: what goes with its transaction leaves it to another, if there is one.
    fn stays(&self, range: &RangeVar, on_commit: OnCommitAction::Type) -> bool {
        on_commit != OnCommitAction::ONCOMMIT_DROP || range.relname().is_some_and(|name| !self.catalog.has_relation(name))
    }

    /// Where something new of this name goes: nowhere if it need not be made, as something is there. None if that is not certain, or if it may get
    /// labels.
    fn place(&self, range: &RangeVar, if_not_exists: bool, schemas: bool) -> Option<Option<Table>> {
        let name = range.relname()?;
        let temporary = range.relpersistence == b't' as std::ffi::c_char || range.schemaname() == Some("pg_temp");
        let schema: Arc<str> = match range.schemaname() {
            Some(_) if temporary => return None,
            Some(schema) => schema.into(),
            None if temporary => {
                self.path.iter().find(|schema| schema.starts_with("pg_temp_")).cloned().unwrap_or(TEMPORARY.into())
            }
            None if schemas => return None,
            None => self.new_schema(|catalog| !catalog.has_relation(name))?,
        };
        if schema.starts_with("pg_") && !temporary {
            return None;
        }
        if self.catalog.find_relation(Some(&schema), name, &[]).is_some() {
            return if_not_exists.then_some(None);
        }
        if self.catalog.gives_labels_to(name) {
            return None;
        }
        let kind = if temporary { TableKind::Temporary } else { TableKind::Table };
        let id = self.catalog.unused_number(0);
        Some(Some(Table { schema, name: name.into(), id, kind, system: false, labels: none(), holds: none() }))
    }

    pub(super) fn made(&self, table: Table) -> Relation {
        let (columns, children, triggers, rules, expressions, references, policies, keys, primary, partitioned_by) =
            Default::default();
        Relation {
            table: Arc::new(table),
            owner: Arc::clone(&self.session.role),
            columns,
            definition: None,
            children,
            triggers,
            rules,
            expressions,
            references,
            policies,
            keys,
            primary,
            rows: -1.0,
            partitioned_by,
        }
    }

    /// Whether an expression does nothing but compute, by what is the server's own; or is none.
    pub(super) fn computes(&self, node: Node<'_>) -> bool {
        let mut computes = true;
        visit(node, |node| {
            computes &= match node {
                Node::None | Node::ColumnRef(_) | Node::A_Const(_) | Node::SQLValueFunction(_) => true,
                Node::BoolExpr(_) | Node::NullTest(_) | Node::BooleanTest(_) | Node::NodeList(_) | Node::CoalesceExpr(_) => true,
                Node::A_Expr(expression) => match qualified(expression.name()) {
                    Some((None | Some("pg_catalog"), name)) => {
                        self.catalog.find_operators(None, name, &self.path).next().is_none()
                    }
                    _ => false,
                },
                Node::TypeCast(cast) => {
                    cast.type_name().and_then(|name| self.type_of(name)).is_some_and(|kind| &*kind.schema == "pg_catalog")
                }
                Node::FuncCall(call) => qualified(call.funcname()).is_some_and(|(schema, name)| {
                    self.system_function(schema, name) == Some(Builtin::Harmless) && !self.is_function_of_users(name)
                }),
                _ => false,
            };
        });
        computes
    }
}

impl Relation {
    /// Adds a column without labels.
    fn add(&mut self, name: &str, kind: u32) -> Option<()> {
        let number = self.columns.iter().map(|facts| facts.column.number).max().unwrap_or(0).checked_add(1)?;
        let column = Column { table: Arc::clone(&self.table), name: name.into(), number, kind, labels: none() };
        self.columns.push(ColumnFacts { column: Arc::new(column), kind, not_null: false, default: None, generated: false });
        Some(())
    }
}

fn none() -> claviger_model::Labels {
    Arc::new([])
}
