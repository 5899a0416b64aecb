//! Statements that define, change and drop objects, and say who may do what.

use std::sync::Arc;

use claviger_model::{Definition, Hazard, Object, Routine, TableKind, Verb};
use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{self, RangeVar};
use pg_raw_parse::raw::ObjectType;

use super::kinds::{is_shared, kind_of};
use super::names::{parts, qualified};
use super::scope::Expressions;
use super::{Analysis, Result};
use crate::{NotUnderstood, Transition};

impl Analysis<'_> {
    pub(super) fn define(&mut self, node: Node<'_>) -> Result<&'static str> {
        self.transitions.push(Transition::Define);
        let class = self.define_relation(node)?;
        if !is_shared(node) {
            self.event_triggers(class)?;
        }
        Ok(class)
    }

    fn define_relation(&mut self, node: Node<'_>) -> Result<&'static str> {
        match node {
            Node::CreateStmt(statement) => self.create_table(statement),
            Node::CreateTableAsStmt(statement) => self.create_table_as(statement),
            Node::ViewStmt(statement) => {
                let none = Expressions::default();
                let rows = self.query(statement.query(), &none, None)?;
                self.kept(&rows);
                if let Some(range) = statement.view() {
                    self.creates_table(range, TableKind::View);
                }
                Ok("CREATE VIEW")
            }
            Node::IndexStmt(statement) => self.create_index(statement),
            Node::CreateSeqStmt(statement) => {
                if let Some(range) = statement.sequence() {
                    self.creates_table(range, TableKind::Sequence);
                }
                Ok("CREATE SEQUENCE")
            }
            Node::AlterSeqStmt(statement) => self.on_range(Verb::Alter, statement.sequence(), "ALTER SEQUENCE"),
            Node::CreateSchemaStmt(statement) => self.create_schema(statement),
            Node::AlterTableStmt(statement) => self.alter_table(statement),
            Node::DropStmt(statement) => self.drop(statement),
            Node::RenameStmt(statement) => self.rename(statement),
            Node::CommentStmt(statement) => {
                self.on_object(Verb::Alter, statement.objtype, None, statement.object())?;
                Ok("COMMENT")
            }
            Node::AlterObjectSchemaStmt(statement) => {
                self.on_object(Verb::Alter, statement.object_type, statement.relation(), statement.object())?;
                Ok("ALTER SET SCHEMA")
            }
            Node::AlterOwnerStmt(statement) => {
                self.hazards.insert(Hazard::PrivilegeEscape);
                self.on_object(Verb::Grant, statement.object_type, statement.relation(), statement.object())?;
                Ok("ALTER OWNER")
            }
            node => self.define_code(node),
        }
    }

    /// Functions and whatever else runs by itself later.
    fn define_code(&mut self, node: Node<'_>) -> Result<&'static str> {
        match node {
            Node::CreateFunctionStmt(statement) => {
                self.creates_routine(statement.funcname());
                Ok(if statement.is_procedure { "CREATE PROCEDURE" } else { "CREATE FUNCTION" })
            }
            Node::AlterFunctionStmt(statement) => {
                if let Some(function) = statement.func() {
                    self.routine(Verb::Alter, function.objname());
                }
                Ok("ALTER FUNCTION")
            }
            Node::CreateTrigStmt(statement) => {
                self.on_range(Verb::Alter, statement.relation(), "")?;
                self.creates("trigger", statement.trigname());
                Ok("CREATE TRIGGER")
            }
            Node::RuleStmt(statement) => {
                self.on_range(Verb::Alter, statement.relation(), "")?;
                self.creates("rule", statement.rulename());
                Ok("CREATE RULE")
            }
            Node::CreateEventTrigStmt(statement) => {
                Ok(self.created("CREATE EVENT TRIGGER", "event trigger", statement.trigname()))
            }
            Node::CreatePLangStmt(statement) => Ok(self.created("CREATE LANGUAGE", "language", statement.plname())),
            Node::CreateExtensionStmt(statement) => Ok(self.created("CREATE EXTENSION", "extension", statement.extname())),
            Node::CreateCastStmt(_) => Ok(self.created("CREATE CAST", "cast", None)),
            Node::CreateTransformStmt(_) => Ok(self.created("CREATE TRANSFORM", "transform", None)),
            Node::CreateOpClassStmt(_) => Ok(self.created("CREATE OPERATOR CLASS", "operator class", None)),
            Node::CreateOpFamilyStmt(_) => Ok(self.created("CREATE OPERATOR FAMILY", "operator family", None)),
            Node::CreateConversionStmt(_) => Ok(self.created("CREATE CONVERSION", "conversion", None)),
            Node::CreateAmStmt(statement) => Ok(self.created("CREATE ACCESS METHOD", "access method", statement.amname())),
            Node::DefineStmt(statement) => {
                let name = statement.defnames().iter().filter_map(nodes::String::sval).next_back();
                let kind = kind_of(statement.kind);
                if statement.kind == ObjectType::OBJECT_AGGREGATE {
                    self.note_routine(Verb::Create, &"".into(), name.unwrap_or_default(), false);
                } else {
                    self.creates(kind, name);
                }
                Ok("CREATE")
            }
            node => self.define_type(node),
        }
    }

    fn define_type(&mut self, node: Node<'_>) -> Result<&'static str> {
        let last = |names: &pg_raw_parse::list::CastNodeList<nodes::String>| {
            names.iter().filter_map(nodes::String::sval).next_back().map(ToOwned::to_owned)
        };
        match node {
            Node::CreateDomainStmt(statement) => {
                if let Some(name) = statement.type_name() {
                    self.converted(name)?;
                }
                Ok(self.created("CREATE DOMAIN", "domain", last(statement.domainname()).as_deref()))
            }
            Node::CreateEnumStmt(statement) => Ok(self.created("CREATE TYPE", "type", last(statement.type_name()).as_deref())),
            Node::CreateRangeStmt(statement) => Ok(self.created("CREATE TYPE", "type", last(statement.type_name()).as_deref())),
            Node::CompositeTypeStmt(statement) => {
                Ok(self.created("CREATE TYPE", "type", statement.typevar().and_then(RangeVar::relname)))
            }
            Node::AlterEnumStmt(statement) => {
                let name = last(statement.type_name());
                self.on(Verb::Alter, "type", name.as_deref());
                Ok("ALTER TYPE")
            }
            Node::AlterDomainStmt(statement) => {
                self.alter_domain(statement)?;
                Ok(self.altered("ALTER DOMAIN", "domain"))
            }
            Node::AlterTypeStmt(_) => Ok(self.altered("ALTER TYPE", "type")),
            Node::AlterCollationStmt(_) => Ok(self.altered("ALTER COLLATION", "collation")),
            Node::AlterOperatorStmt(_) => Ok(self.altered("ALTER OPERATOR", "operator")),
            Node::AlterOpFamilyStmt(_) => Ok(self.altered("ALTER OPERATOR FAMILY", "operator family")),
            Node::AlterTSDictionaryStmt(_) => Ok(self.altered("ALTER TEXT SEARCH DICTIONARY", "text search dictionary")),
            Node::AlterTSConfigurationStmt(_) => Ok(self.altered("ALTER TEXT SEARCH CONFIGURATION", "text search configuration")),
            Node::AlterStatsStmt(_) => Ok(self.altered("ALTER STATISTICS", "statistics")),
            Node::AlterObjectDependsStmt(_) => Ok(self.altered("ALTER DEPENDS", "dependency")),
            Node::AlterExtensionStmt(statement) => {
                self.on(Verb::Alter, "extension", statement.extname());
                Ok("ALTER EXTENSION")
            }
            Node::AlterExtensionContentsStmt(_) => Ok(self.altered("ALTER EXTENSION", "extension")),
            Node::AlterEventTrigStmt(_) => Ok(self.altered("ALTER EVENT TRIGGER", "event trigger")),
            Node::CreateStatsStmt(statement) => {
                let name = last(statement.defnames());
                // Computed whenever the table is analysed.
                self.statistics(statement)?;
                Ok(self.created("CREATE STATISTICS", "statistics", name.as_deref()))
            }
            node => self.define_rights(node),
        }
    }

    /// Who may do what.
    fn define_rights(&mut self, node: Node<'_>) -> Result<&'static str> {
        let (class, kind, name) = match node {
            Node::GrantStmt(statement) if !statement.is_grant => ("REVOKE", "privilege", None),
            Node::GrantStmt(_) => ("GRANT", "privilege", None),
            Node::GrantRoleStmt(_) => ("GRANT ROLE", "role", None),
            Node::AlterDefaultPrivilegesStmt(_) => ("ALTER DEFAULT PRIVILEGES", "privilege", None),
            Node::CreateRoleStmt(statement) => ("CREATE ROLE", "role", statement.role()),
            Node::AlterRoleStmt(_) => ("ALTER ROLE", "role", None),
            Node::AlterRoleSetStmt(_) => ("ALTER ROLE", "role", None),
            Node::DropRoleStmt(_) => ("DROP ROLE", "role", None),
            Node::CreatePolicyStmt(statement) => ("CREATE POLICY", "policy", statement.policy_name()),
            Node::AlterPolicyStmt(statement) => ("ALTER POLICY", "policy", statement.policy_name()),
            Node::ReassignOwnedStmt(_) => ("REASSIGN OWNED", "owner", None),
            Node::CreateUserMappingStmt(_) => ("CREATE USER MAPPING", "user mapping", None),
            Node::AlterUserMappingStmt(_) => ("ALTER USER MAPPING", "user mapping", None),
            Node::DropUserMappingStmt(_) => ("DROP USER MAPPING", "user mapping", None),
            Node::SecLabelStmt(_) => ("SECURITY LABEL", "security label", None),
            node => return self.define_server(node),
        };
        self.hazards.insert(Hazard::PrivilegeEscape);
        self.on(Verb::Grant, kind, name);
        Ok(class)
    }

    /// What belongs to the server as a whole, or reaches for another.
    fn define_server(&mut self, node: Node<'_>) -> Result<&'static str> {
        let (class, verb, kind, network) = match node {
            Node::CreatedbStmt(_) => ("CREATE DATABASE", Verb::Create, "database", false),
            Node::DropdbStmt(_) => ("DROP DATABASE", Verb::Drop, "database", false),
            Node::AlterDatabaseStmt(_) | Node::AlterDatabaseSetStmt(_) | Node::AlterDatabaseRefreshCollStmt(_) => {
                ("ALTER DATABASE", Verb::Control, "database", false)
            }
            Node::CreateTableSpaceStmt(_) => ("CREATE TABLESPACE", Verb::Control, "tablespace", false),
            Node::DropTableSpaceStmt(_) => ("DROP TABLESPACE", Verb::Drop, "tablespace", false),
            Node::AlterTableSpaceOptionsStmt(_) => ("ALTER TABLESPACE", Verb::Control, "tablespace", false),
            Node::AlterTableMoveAllStmt(_) => ("ALTER TABLE ALL", Verb::Maintain, "tablespace", false),
            Node::DropOwnedStmt(_) => ("DROP OWNED", Verb::Drop, "owned", false),
            Node::CreateFdwStmt(_) => ("CREATE FOREIGN DATA WRAPPER", Verb::Create, "foreign data wrapper", true),
            Node::AlterFdwStmt(_) => ("ALTER FOREIGN DATA WRAPPER", Verb::Alter, "foreign data wrapper", true),
            Node::CreateForeignServerStmt(_) => ("CREATE SERVER", Verb::Create, "server", true),
            Node::AlterForeignServerStmt(_) => ("ALTER SERVER", Verb::Alter, "server", true),
            Node::ImportForeignSchemaStmt(_) => ("IMPORT FOREIGN SCHEMA", Verb::Create, "foreign schema", true),
            Node::CreatePublicationStmt(_) => ("CREATE PUBLICATION", Verb::Control, "publication", true),
            Node::AlterPublicationStmt(_) => ("ALTER PUBLICATION", Verb::Control, "publication", true),
            Node::CreateSubscriptionStmt(_) => ("CREATE SUBSCRIPTION", Verb::Control, "subscription", true),
            Node::AlterSubscriptionStmt(_) => ("ALTER SUBSCRIPTION", Verb::Control, "subscription", true),
            Node::DropSubscriptionStmt(_) => ("DROP SUBSCRIPTION", Verb::Control, "subscription", true),
            _ => {
                self.note_unknown(Hazard::Unknown);
                return Ok("UNKNOWN");
            }
        };
        if network {
            self.hazards.insert(Hazard::Network);
        }
        self.on(verb, kind, None);
        Ok(class)
    }

    pub(super) fn on(&mut self, verb: Verb, kind: &'static str, name: Option<&str>) {
        let object = self.definition(kind, name.unwrap_or_default());
        self.note(verb, object);
    }

    pub(super) fn creates(&mut self, kind: &'static str, name: Option<&str>) {
        self.on(Verb::Create, kind, name);
    }

    fn created(&mut self, class: &'static str, kind: &'static str, name: Option<&str>) -> &'static str {
        self.creates(kind, name);
        class
    }

    fn altered(&mut self, class: &'static str, kind: &'static str) -> &'static str {
        self.on(Verb::Alter, kind, None);
        class
    }

    fn creates_routine(&mut self, name: &NodeList) {
        self.routine(Verb::Create, name);
    }

    fn routine(&mut self, verb: Verb, name: &NodeList) {
        let Some((schema, name)) = qualified(name) else { return };
        let first = self.path.iter().find(|schema| !schema.starts_with("pg_")).cloned();
        let schema = schema.map(Into::into).or(first).unwrap_or_else(|| "public".into());
        self.note(verb, Object::Routine(Arc::new(Routine { schema, name: name.into(), system: false })));
    }

    pub(super) fn on_range(&mut self, verb: Verb, range: Option<&RangeVar>, class: &'static str) -> Result<&'static str> {
        if let Some(range) = range {
            let object = self.table_or_name("relation", range)?;
            self.note(verb, object);
        }
        Ok(class)
    }

    /// A table; or something that is called like one and is in no catalog of tables, as an index is.
    pub(super) fn table_or_name(&self, kind: &'static str, range: &RangeVar) -> Result<Object> {
        match self.relation(range) {
            Ok(relation) => Ok(Object::Table(Arc::clone(&relation.table))),
            Err(NotUnderstood::Undefined(_)) => Ok(Object::Definition(Arc::new(Definition {
                kind,
                schema: range.schemaname().map(Into::into),
                name: range.relname().unwrap_or_default().into(),
            }))),
            Err(error) => Err(error),
        }
    }

    fn create_schema(&mut self, statement: &nodes::CreateSchemaStmt) -> Result<&'static str> {
        self.note(Verb::Create, Object::Schema(statement.schemaname().unwrap_or_default().into()));
        for element in statement.schema_elts() {
            self.deeper(|this| this.utility(element))?;
        }
        Ok("CREATE SCHEMA")
    }

    fn drop(&mut self, statement: &nodes::DropStmt) -> Result<&'static str> {
        for object in statement.objects() {
            self.on_object(Verb::Drop, statement.remove_type, None, object)?;
        }
        if statement.behavior == pg_raw_parse::raw::DropBehavior::DROP_CASCADE {
            self.hazards.insert(Hazard::Cascade);
        }
        Ok("DROP")
    }

    fn rename(&mut self, statement: &nodes::RenameStmt) -> Result<&'static str> {
        self.on_object(Verb::Alter, statement.rename_type, statement.relation(), statement.object())?;
        Ok("ALTER RENAME")
    }

    /// Something is done to an object that is named in one of the grammar's ways.
    fn on_object(&mut self, verb: Verb, kind: ObjectType::Type, range: Option<&RangeVar>, object: Node<'_>) -> Result<()> {
        if let Some(range) = range {
            let object = self.table_or_name(kind_of(kind), range)?;
            self.note(verb, object);
            return Ok(());
        }
        match object {
            Node::ObjectWithArgs(function) => self.routine(verb, function.objname()),
            Node::NodeList(names) => self.on_named(verb, kind, &parts(names)),
            Node::String(name) if kind == ObjectType::OBJECT_SCHEMA => {
                self.note(verb, Object::Schema(name.sval().unwrap_or_default().into()));
            }
            Node::String(name) => self.on(verb, kind_of(kind), name.sval()),
            Node::TypeName(name) => {
                let name = name.names().iter().filter_map(nodes::String::sval).next_back().map(ToOwned::to_owned);
                self.on(verb, kind_of(kind), name.as_deref());
            }
            _ => self.on(verb, kind_of(kind), None),
        }
        Ok(())
    }

    fn on_named(&mut self, verb: Verb, kind: ObjectType::Type, names: &[&str]) {
        let is_table = matches!(
            kind,
            ObjectType::OBJECT_TABLE
                | ObjectType::OBJECT_VIEW
                | ObjectType::OBJECT_MATVIEW
                | ObjectType::OBJECT_FOREIGN_TABLE
                | ObjectType::OBJECT_SEQUENCE
        );
        // A column, a constraint, a trigger, a rule or a policy comes after its table.
        let of_table = matches!(
            kind,
            ObjectType::OBJECT_COLUMN
                | ObjectType::OBJECT_TABCONSTRAINT
                | ObjectType::OBJECT_TRIGGER
                | ObjectType::OBJECT_RULE
                | ObjectType::OBJECT_POLICY
        );
        let table = if of_table { names.split_last().map_or(names, |(_, table)| table) } else { names };
        let found = match table {
            [name] => self.catalog.find_relation(None, name, &self.path),
            [schema, name] | [_, schema, name] => self.catalog.find_relation(Some(self.schema(schema)), name, &self.path),
            _ => None,
        };
        let found = found.map(|relation| Object::Table(Arc::clone(&relation.table)));
        match found {
            Some(table) if is_table => self.note(verb, table),
            Some(table) if kind == ObjectType::OBJECT_COLUMN => self.note(verb, table),
            found => {
                let schema = if of_table { None } else { names.iter().rev().nth(1).map(|schema| Arc::from(*schema)) };
                let name = names.last().copied().unwrap_or_default().into();
                self.note(verb, Object::Definition(Arc::new(Definition { kind: kind_of(kind), schema, name })));
                if let Some(table) = found {
                    self.note(Verb::Alter, table);
                }
            }
        }
    }
}
