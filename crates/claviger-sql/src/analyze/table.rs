//! Tables: how they are made and altered.

use std::sync::Arc;

use claviger_model::{Hazard, Object, TableKind, Verb};
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{self, AlterTableCmd};
use pg_raw_parse::raw::{AlterTableType, ConstrType, ObjectType};

use super::flow::Flow;
use super::kinds::kind_of;
use super::names::parts;
use super::scope::{Expressions, Item, Scope};
use super::walk::visit;
use super::write::unread;
use super::{Analysis, Result};
use crate::Relation;

impl Analysis<'_> {
    pub(super) fn create_table(&mut self, statement: &nodes::CreateStmt) -> Result<&'static str> {
        for element in statement.table_elts() {
            self.table_element(element)?;
        }
        for constraint in statement.constraints().iter() {
            self.constraint(constraint)?;
        }
        self.bounds_of_partition(statement.partbound())?;
        for parent in statement.inh_relations() {
            if let Node::RangeVar(range) = parent {
                let relation = self.relation(range)?;
                self.note(Verb::Alter, Object::Table(Arc::clone(&relation.table)));
            }
        }
        if let Some(range) = statement.relation() {
            self.creates_table(range, TableKind::Table);
        }
        Ok("CREATE TABLE")
    }

    /// A new check, or one that was not made before, is made of every value that there is.
    pub(super) fn alter_domain(&mut self, statement: &nodes::AlterDomainStmt) -> Result<()> {
        let names: Vec<&str> = parts(statement.type_name());
        let (schema, name) = match names[..] {
            [name] => (None, name),
            [.., schema, name] => (Some(schema), name),
            [] => return Ok(()),
        };
        let kind = self.catalog.find_type(schema.map(|schema| self.schema(schema)), name, &self.path).map(|kind| kind.id);
        kind.map_or(Ok(()), |kind| self.converted_to(kind))?;
        match statement.def() {
            Node::Constraint(constraint) => self.constraint(constraint),
            _ => Ok(()),
        }
    }

    /// What tells which rows go to a partition is computed once, when it is made.
    fn bounds_of_partition(&mut self, bound: Option<&nodes::PartitionBoundSpec>) -> Result<()> {
        let none = Expressions::default();
        let scope = Scope::new(None, &none);
        for node in bound.into_iter().flat_map(|bound| [bound.listdatums(), bound.lowerdatums(), bound.upperdatums()]).flatten() {
            let value = if let Node::PartitionRangeDatum(datum) = node { datum.value() } else { node };
            self.computed(&scope, value)?;
        }
        Ok(())
    }

    pub(super) fn statistics(&mut self, statement: &nodes::CreateStatsStmt) -> Result<()> {
        let none = Expressions::default();
        let mut scope = Scope::new(None, &none);
        for table in statement.relations() {
            scope.items.push(plain(&self.relation(table)?));
        }
        for element in statement.exprs() {
            if let Node::StatsElem(element) = element {
                self.computed(&scope, element.expr())?;
            }
        }
        Ok(())
    }

    /// A column or a constraint of a table.
    fn table_element(&mut self, element: Node<'_>) -> Result<()> {
        match element {
            Node::ColumnDef(column) => {
                let none = Expressions::default();
                let scope = Scope::new(None, &none);
                if let Some(name) = column.type_name() {
                    self.converted(name)?;
                }
                self.computed(&scope, column.raw_default())?;
                for constraint in column.constraints() {
                    if let Node::Constraint(constraint) = constraint {
                        self.constraint(constraint)?;
                    }
                }
                Ok(())
            }
            Node::Constraint(constraint) => self.constraint(constraint),
            _ => Ok(()),
        }
    }

    fn constraint(&mut self, constraint: &nodes::Constraint) -> Result<()> {
        let none = Expressions::default();
        let scope = Scope::new(None, &none);
        self.computed(&scope, constraint.raw_expr())?;
        self.computed(&scope, constraint.where_clause())?;
        if constraint.contype == ConstrType::CONSTR_FOREIGN
            && let Some(range) = constraint.pktable()
        {
            self.on_range(Verb::Read, Some(range), "")?;
        }
        Ok(())
    }

    /// An expression over columns that are not in the catalog yet: only what it calls matters.
    fn computed(&mut self, scope: &Scope<'_>, node: Node<'_>) -> Result<()> {
        let outer = std::mem::replace(&mut self.any_variable, true);
        let result = self.expression(scope, node);
        self.any_variable = outer;
        let mut flow = result?;
        if let Some(relation) = &self.altered {
            visit(node, |node| {
                let Node::ColumnRef(reference) = node else { return };
                let named = parts(reference.fields()).last().and_then(|name| relation.column(name));
                named.into_iter().for_each(|facts| flow.add(&Flow::of(&facts.column)));
            });
        }
        self.carried(&flow, None);
        Ok(())
    }

    pub(super) fn create_table_as(&mut self, statement: &nodes::CreateTableAsStmt) -> Result<&'static str> {
        match statement.query() {
            node @ Node::ExecuteStmt(_) => {
                self.utility(node)?;
                self.kept_outputs();
            }
            node => {
                let rows = self.query(node, &Expressions::default(), None)?;
                self.kept(&rows);
            }
        }
        let materialized = statement.objtype == ObjectType::OBJECT_MATVIEW;
        if let Some(into) = statement.into() {
            if materialized {
                if let Some(range) = into.rel() {
                    self.creates_table(range, TableKind::MaterializedView);
                }
            } else {
                self.creates_from(into)?;
            }
        }
        Ok(if materialized { "CREATE MATERIALIZED VIEW" } else { "CREATE TABLE AS" })
    }

    pub(super) fn create_index(&mut self, statement: &nodes::IndexStmt) -> Result<&'static str> {
        let none = Expressions::default();
        let mut scope = Scope::new(None, &none);
        if let Some(range) = statement.relation() {
            let relation = self.relation(range)?;
            self.note(Verb::Alter, Object::Table(Arc::clone(&relation.table)));
            scope.items.push(plain(&relation));
        }
        for element in statement.index_params().iter() {
            self.computed(&scope, element.expr())?;
        }
        self.computed(&scope, statement.where_clause())?;
        self.creates("index", statement.idxname());
        Ok("CREATE INDEX")
    }

    pub(super) fn alter_table(&mut self, statement: &nodes::AlterTableStmt) -> Result<&'static str> {
        let Some(range) = statement.relation() else { return Ok("ALTER TABLE") };
        let object = self.table_or_name(kind_of(statement.objtype), range)?;
        let relation = self.relation(range).ok();
        self.note(Verb::Alter, object.clone());
        self.altered.clone_from(&relation);
        for command in statement.cmds() {
            if let Node::AlterTableCmd(command) = command {
                self.alter_command(&object, relation.as_deref(), command)?;
            }
        }
        self.altered = None;
        Ok("ALTER TABLE")
    }

    fn alter_command(&mut self, object: &Object, relation: Option<&Relation>, command: &AlterTableCmd) -> Result<()> {
        match command.subtype {
            AlterTableType::AT_DropColumn => {
                let column = command.name().and_then(|name| relation?.column(name));
                let object = column.map_or(object.clone(), |facts| Object::Column(Arc::clone(&facts.column)));
                self.note(Verb::Drop, object);
            }
            // Its values stay, and are made of nothing any more.
            AlterTableType::AT_DropExpression => {
                if let Some(facts) = command.name().and_then(|name| relation?.column(name)) {
                    self.carried(&Flow::of(&facts.column), None);
                }
            }
            // What keeps bad rows out, or tells who wrote them.
            AlterTableType::AT_DropConstraint => self.on(Verb::Drop, "constraint", command.name()),
            AlterTableType::AT_ChangeOwner
            | AlterTableType::AT_EnableRowSecurity
            | AlterTableType::AT_DisableRowSecurity
            | AlterTableType::AT_ForceRowSecurity
            | AlterTableType::AT_NoForceRowSecurity
            | AlterTableType::AT_EnableTrig
            | AlterTableType::AT_EnableAlwaysTrig
            | AlterTableType::AT_EnableReplicaTrig
            | AlterTableType::AT_DisableTrig
            | AlterTableType::AT_EnableTrigAll
            | AlterTableType::AT_DisableTrigAll
            | AlterTableType::AT_EnableTrigUser
            | AlterTableType::AT_DisableTrigUser
            | AlterTableType::AT_EnableRule
            | AlterTableType::AT_EnableAlwaysRule
            | AlterTableType::AT_EnableReplicaRule
            | AlterTableType::AT_DisableRule => {
                self.hazards.insert(Hazard::PrivilegeEscape);
                self.note(Verb::Grant, object.clone());
            }
            _ => {}
        }
        self.deeper(|this| match command.def() {
            // The values of all rows are computed anew.
            node @ (Node::ColumnDef(_) | Node::Constraint(_)) => this.table_element(node),
            Node::RangeVar(range) => this.on_range(Verb::Alter, Some(range), "").map(|_| ()),
            Node::PartitionCmd(partition) => this.bounds_of_partition(partition.bound()),
            Node::NodeList(_) | Node::None => Ok(()),
            node => {
                let none = Expressions::default();
                let scope = Scope::new(None, &none);
                if matches!(command.subtype, AlterTableType::AT_ColumnDefault | AlterTableType::AT_SetExpression) {
                    this.computed(&scope, node)
                } else {
                    Ok(())
                }
            }
        })
    }
}

/// A table whose columns an expression may name.
fn plain(relation: &Arc<Relation>) -> Item {
    Item { name: Arc::clone(&relation.table.name), fields: unread(relation), ..Item::default() }
}
