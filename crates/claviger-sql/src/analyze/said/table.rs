//! What is said of tables: their columns and constraints.

use std::sync::Arc;

use claviger_model::{Table, TableKind};
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{self, AlterTableCmd, TypeName};
use pg_raw_parse::raw::{AlterTableType, ConstrType, DropBehavior, ObjectType};

use super::Analysis;
use crate::Relation;
use crate::catalog::Change;

/// The longest names of which another is made by putting them together, in bytes.
const LONGEST: usize = 24;

impl Analysis<'_> {
    pub(super) fn says_altered(&self, statement: &nodes::AlterTableStmt) -> Option<Vec<Change>> {
        if statement.objtype != ObjectType::OBJECT_TABLE {
            return None;
        }
        let Ok(found) = self.relation(statement.relation()?) else { return statement.missing_ok.then(Vec::new) };
        let table = &found.table;
        if !self.is_alone(&found)
            || !matches!(table.kind, TableKind::Table | TableKind::Temporary)
            || table.system
            || !table.labels.is_empty()
        {
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
                let labelled = self.catalog.gives_labels_to(&relation.table.name);
                match (known, labelled) {
                    (true, _) => command.missing_ok.then_some(()),
                    (false, true) => None,
                    (false, false) => self.add_column(relation, column, changes),
                }
            }
            (AlterTableType::AT_DropColumn, Node::None) if command.behavior == DropBehavior::DROP_RESTRICT => {
                let name = command.name()?;
                relation.columns.retain(|facts| *facts.column.name != *name);
                // Keys that it was in go with it.
                relation.keys.clear();
                relation.primary.clear();
                Some(())
            }
            (AlterTableType::AT_AddConstraint, Node::Constraint(constraint)) => self.may_add(constraint),
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

    pub(super) fn add_column(&self, relation: &mut Relation, column: &nodes::ColumnDef, changes: &mut Vec<Change>) -> Option<()> {
        let name = column.colname()?;
        let (kind, counts) = self.kind_of_column(column.type_name()?)?;
        relation.add(name, kind)?;
        if counts {
            let default = self.counter(relation, name, changes)?;
            relation.columns.last_mut()?.default = Some(default);
        }
        self.computes(column.raw_default()).then_some(())?;
        for constraint in column.constraints() {
            let Node::Constraint(constraint) = constraint else { return None };
            self.may_add(constraint)?;
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
        let id = self.catalog.unused_number(changes.len() + 1);
        let sequence = Table { name: name.into(), id, kind: TableKind::Sequence, ..Table::clone(table) };
        changes.push(Change::Is(Arc::new(self.made(sequence))));
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

    pub(super) fn may_add(&self, constraint: &nodes::Constraint) -> Option<()> {
        match constraint.contype {
            ConstrType::CONSTR_NULL
            | ConstrType::CONSTR_NOTNULL
            | ConstrType::CONSTR_UNIQUE
            | ConstrType::CONSTR_PRIMARY
            | ConstrType::CONSTR_IDENTITY
            | ConstrType::CONSTR_ATTR_DEFERRABLE
            | ConstrType::CONSTR_ATTR_NOT_DEFERRABLE
            | ConstrType::CONSTR_ATTR_DEFERRED
            | ConstrType::CONSTR_ATTR_IMMEDIATE => Some(()),
            ConstrType::CONSTR_DEFAULT | ConstrType::CONSTR_CHECK => self.computes(constraint.raw_expr()).then_some(()),
            // What is done there when a row goes is done by nobody who names this table.
            ConstrType::CONSTR_FOREIGN => {
                let nothing = |action| matches!(u8::try_from(action), Ok(b'a' | b'r'));
                (nothing(constraint.fk_del_action) && nothing(constraint.fk_upd_action)).then_some(())
            }
            _ => None,
        }
    }
}
