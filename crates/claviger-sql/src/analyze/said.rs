//! What a definition makes of the catalog, where its text says all of it.
//!
//! What comes after a definition in the same text is understood by a catalog that nobody has read from the server. So that is made only where
//! nothing about it can be wrong: tables of columns of known types, whose defaults and checks do nothing but compute. After any other
//! definition, what follows is unknown.

use std::sync::Arc;

use claviger_model::{Column, Table, TableKind};
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{self, AlterTableCmd, RangeVar, TypeName};
use pg_raw_parse::raw::{AlterTableType, ConstrType, DropBehavior, ObjectType};

use super::Analysis;
use super::names::{parts, qualified};
use super::walk::visit;
use crate::builtin::Builtin;
use crate::catalog::Change;
use crate::{ColumnFacts, Relation};

/// The schema of a session's first temporary table, which has a number on the server.
pub(super) const TEMPORARY: &str = "pg_temp_new";
/// The longest names of which another is made by putting them together, in bytes.
const LONGEST: usize = 24;

impl Analysis<'_> {
    /// What a definition makes of the catalog; none if that is not said. `schemas`: whether the text has made schemas, which names without
    /// one may then go into.
    pub(super) fn says(&self, node: Node<'_>, schemas: bool) -> Option<Vec<Change>> {
        if !self.catalog.event_triggers().is_empty() {
            return None;
        }
        match node {
            Node::CreateStmt(statement) => self.says_table(statement, schemas),
            Node::AlterTableStmt(statement) => self.says_altered(statement),
            Node::DropStmt(statement) => self.says_dropped(statement),
            Node::CreateSeqStmt(statement) => {
                let place = match self.place(statement.sequence()?, schemas)? {
                    Place::Taken if statement.if_not_exists => return Some(Vec::new()),
                    Place::Taken => return None,
                    Place::Free(place) => place,
                };
                let table = Table { kind: TableKind::Sequence, ..place };
                Some(vec![Change::Is(Arc::new(self.made(table, Vec::new())))])
            }
            Node::IndexStmt(statement) => {
                let plain = self.computes(statement.where_clause())
                    && statement.index_params().iter().all(|element| self.computes(element.expr()));
                plain.then(Vec::new)
            }
            Node::CreateSchemaStmt(statement) if statement.schema_elts().is_empty() => {
                Some(vec![Change::Schema(statement.schemaname()?.into())])
            }
            Node::CommentStmt(_) | Node::GrantStmt(_) | Node::GrantRoleStmt(_) | Node::CreateRoleStmt(_) => Some(Vec::new()),
            _ => None,
        }
    }

    fn says_table(&self, statement: &nodes::CreateStmt, schemas: bool) -> Option<Vec<Change>> {
        let plain = statement.inh_relations().is_empty()
            && statement.partbound().is_none()
            && statement.partspec().is_none()
            && statement.of_typename().is_none();
        let table = match self.place(statement.relation().filter(|_| plain)?, schemas)? {
            Place::Taken if statement.if_not_exists => return Some(Vec::new()),
            Place::Taken => return None,
            Place::Free(table) => Arc::new(table),
        };
        let mut changes = Vec::new();
        let mut relation = self.made(Table::clone(&table), Vec::new());
        for element in statement.table_elts() {
            match element {
                Node::ColumnDef(column) => self.add_column(&mut relation, column, &mut changes)?,
                Node::Constraint(constraint) => self.add_constraint(&mut relation, constraint, None)?,
                _ => return None,
            }
        }
        changes.push(Change::Is(Arc::new(relation)));
        Some(changes)
    }

    fn says_altered(&self, statement: &nodes::AlterTableStmt) -> Option<Vec<Change>> {
        if statement.objtype != ObjectType::OBJECT_TABLE {
            return None;
        }
        let found = self.relation(statement.relation()?).ok()?;
        let alone = found.children.is_empty() && found.partitioned_by.is_empty() && !self.catalog.is_child(found.table.id);
        let table = &found.table;
        if !alone || !matches!(table.kind, TableKind::Table | TableKind::Temporary) || table.system || !table.labels.is_empty() {
            return None;
        }
        let (mut relation, mut changes) = (Relation::clone(&found), Vec::new());
        for command in statement.cmds() {
            let Node::AlterTableCmd(command) = command else { return None };
            self.alter(&mut relation, command, &mut changes)?;
        }
        changes.push(Change::Is(Arc::new(relation)));
        Some(changes)
    }

    fn alter(&self, relation: &mut Relation, command: &AlterTableCmd, changes: &mut Vec<Change>) -> Option<()> {
        match (command.subtype, command.def()) {
            (AlterTableType::AT_AddColumn, Node::ColumnDef(column)) => {
                let known = relation.column(column.colname()?).is_some();
                let labelled = self.catalog.gives_labels_to(&relation.table.schema, &relation.table.name);
                match (known, labelled) {
                    (true, _) => command.missing_ok.then_some(()),
                    (false, true) => None,
                    (false, false) => self.add_column(relation, column, changes),
                }
            }
            (AlterTableType::AT_DropColumn, Node::None) if command.behavior == DropBehavior::DROP_RESTRICT => {
                let name = command.name()?;
                relation.columns.retain(|facts| *facts.column.name != *name);
                Some(())
            }
            (AlterTableType::AT_AddConstraint, Node::Constraint(constraint)) => self.add_constraint(relation, constraint, None),
            (AlterTableType::AT_ColumnDefault, default) => self.computes(default).then_some(()),
            (AlterTableType::AT_DropNotNull, _) => {
                let name = command.name()?;
                relation.columns.iter_mut().filter(|facts| *facts.column.name == *name).for_each(|facts| facts.not_null = false);
                Some(())
            }
            (
                AlterTableType::AT_SetNotNull
                | AlterTableType::AT_SetStatistics
                | AlterTableType::AT_SetStorage
                | AlterTableType::AT_SetRelOptions
                | AlterTableType::AT_ResetRelOptions
                | AlterTableType::AT_ValidateConstraint
                | AlterTableType::AT_ClusterOn,
                _,
            ) => Some(()),
            _ => None,
        }
    }

    fn says_dropped(&self, statement: &nodes::DropStmt) -> Option<Vec<Change>> {
        use ObjectType::{OBJECT_INDEX, OBJECT_SEQUENCE, OBJECT_TABLE, OBJECT_VIEW};
        if statement.behavior != DropBehavior::DROP_RESTRICT {
            return None;
        }
        match statement.remove_type {
            OBJECT_INDEX => return Some(Vec::new()),
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
            let alone = relation.children.is_empty() && !self.catalog.is_child(relation.table.id);
            alone.then(|| changes.push(Change::Gone(relation.table.id)))?;
        }
        Some(changes)
    }

    /// Where something new of this name goes. None if that is not certain, or if it may get labels.
    fn place(&self, range: &RangeVar, schemas: bool) -> Option<Place> {
        let name = range.relname()?;
        let temporary = range.relpersistence == b't' as std::ffi::c_char || range.schemaname() == Some("pg_temp");
        let schema: Arc<str> = match range.schemaname() {
            Some(_) if temporary => return None,
            Some(schema) => schema.into(),
            None if temporary => {
                self.path.iter().find(|schema| schema.starts_with("pg_temp_")).cloned().unwrap_or(TEMPORARY.into())
            }
            None if schemas => return None,
            None => self.path.iter().find(|schema| !schema.starts_with("pg_")).cloned()?,
        };
        if self.catalog.find_relation(Some(&schema), name, &[]).is_some() {
            return Some(Place::Taken);
        }
        // Where it goes without a schema is not known for certain; that it is found there is, if it is the only one.
        let only = range.schemaname().is_some() || self.catalog.find_relation(None, name, &self.path).is_none();
        if !only || schema.starts_with("pg_") && !temporary || self.catalog.gives_labels_to(&schema, name) {
            return None;
        }
        let kind = if temporary { TableKind::Temporary } else { TableKind::Table };
        let id = self.catalog.unused_number(0);
        Some(Place::Free(Table { schema, name: name.into(), id, kind, system: false, labels: none(), holds: none() }))
    }

    fn made(&self, table: Table, columns: Vec<ColumnFacts>) -> Relation {
        let (children, triggers, rules, expressions, references, policies, keys, primary, partitioned_by) = Default::default();
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

    fn add_column(&self, relation: &mut Relation, column: &nodes::ColumnDef, changes: &mut Vec<Change>) -> Option<()> {
        let (name, number) = (column.colname()?, relation.columns.iter().map(|facts| facts.column.number).max().unwrap_or(0));
        let number = number.checked_add(1)?;
        let (kind, counts) = self.kind_of_column(column.type_name()?)?;
        let default = match counts {
            true => Some(self.counter(relation, name, changes)?),
            false => None,
        };
        let column_of = Column { table: Arc::clone(&relation.table), name: name.into(), number, kind, labels: none() };
        let facts = ColumnFacts { column: Arc::new(column_of), kind, not_null: false, default, generated: false };
        relation.columns.push(facts);
        self.computes(column.raw_default()).then_some(())?;
        for constraint in column.constraints() {
            let Node::Constraint(constraint) = constraint else { return None };
            self.add_constraint(relation, constraint, Some(number))?;
        }
        Some(())
    }

    /// The sequence of a `serial` column, and the default that takes from it.
    fn counter(&self, relation: &Relation, column: &str, changes: &mut Vec<Change>) -> Option<Arc<str>> {
        let table = &relation.table;
        let plain = |name: &str| {
            name.len() <= LONGEST && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let name = format!("{}_{column}_seq", table.name);
        let free = self.catalog.find_relation(Some(&table.schema), &name, &[]).is_none();
        if !(free && plain(&table.schema) && plain(&table.name) && plain(column)) {
            return None;
        }
        let default = format!("nextval('{}.{name}'::regclass)", table.schema);
        // The table's own number is the first that is free.
        let besides = u32::try_from(changes.len()).ok()?.checked_add(1)?;
        let id = self.catalog.unused_number(besides);
        let sequence = Table { name: name.into(), id, kind: TableKind::Sequence, ..Table::clone(table) };
        changes.push(Change::Is(Arc::new(self.made(sequence, Vec::new()))));
        Some(default.into())
    }

    /// The OID of a column's type, and whether its default is to count.
    fn kind_of_column(&self, name: &TypeName) -> Option<(u32, bool)> {
        if name.setof || name.pct_type {
            return None;
        }
        let names: Vec<&str> = name.names().iter().filter_map(nodes::String::sval).collect();
        let counts = match names[..] {
            ["serial" | "serial4"] => Some("int4"),
            ["bigserial" | "serial8"] => Some("int8"),
            ["smallserial" | "serial2"] => Some("int2"),
            _ => None,
        };
        if let Some(counts) = counts {
            return Some((self.catalog.find_type(Some("pg_catalog"), counts, &[])?.id, true));
        }
        let kind = self.type_of(name)?;
        if name.array_bounds().is_empty() {
            return Some((kind.id, false));
        }
        let array = self.catalog.find_type(Some(&kind.schema), &format!("_{}", kind.name), &[])?;
        (array.element == kind.id).then_some((array.id, false))
    }

    fn add_constraint(&self, relation: &mut Relation, constraint: &nodes::Constraint, column: Option<i16>) -> Option<()> {
        match constraint.contype {
            ConstrType::CONSTR_NULL
            | ConstrType::CONSTR_NOTNULL
            | ConstrType::CONSTR_UNIQUE
            | ConstrType::CONSTR_IDENTITY
            | ConstrType::CONSTR_ATTR_DEFERRABLE
            | ConstrType::CONSTR_ATTR_NOT_DEFERRABLE
            | ConstrType::CONSTR_ATTR_DEFERRED
            | ConstrType::CONSTR_ATTR_IMMEDIATE => Some(()),
            ConstrType::CONSTR_DEFAULT | ConstrType::CONSTR_CHECK => self.computes(constraint.raw_expr()).then_some(()),
            ConstrType::CONSTR_PRIMARY => {
                let named = parts(constraint.keys());
                let numbers = relation.columns.iter().filter(|facts| named.contains(&&*facts.column.name));
                relation.primary = column.into_iter().chain(numbers.map(|facts| facts.column.number)).collect();
                Some(())
            }
            // What is done there when a row goes is done by nobody who names this table.
            ConstrType::CONSTR_FOREIGN => {
                let nothing = |action| matches!(u8::try_from(action), Ok(b'a' | b'r'));
                (nothing(constraint.fk_del_action) && nothing(constraint.fk_upd_action)).then_some(())
            }
            _ => None,
        }
    }

    /// Whether an expression does nothing but compute, by what is the server's own; or is none.
    fn computes(&self, node: Node<'_>) -> bool {
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

/// Where something new goes.
enum Place {
    /// Nowhere: there is something of that name.
    Taken,
    Free(Table),
}

fn none() -> claviger_model::Labels {
    Arc::new([])
}
