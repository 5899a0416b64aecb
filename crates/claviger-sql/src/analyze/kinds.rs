//! The grammar's kinds of objects and of definitions.

use pg_raw_parse::Node;
use pg_raw_parse::raw::ObjectType;

/// The word for a kind of object.
pub(super) fn kind_of(kind: ObjectType::Type) -> &'static str {
    match kind {
        ObjectType::OBJECT_ACCESS_METHOD => "access method",
        ObjectType::OBJECT_AGGREGATE => "aggregate",
        ObjectType::OBJECT_CAST => "cast",
        ObjectType::OBJECT_COLUMN => "column",
        ObjectType::OBJECT_COLLATION => "collation",
        ObjectType::OBJECT_CONVERSION => "conversion",
        ObjectType::OBJECT_DATABASE => "database",
        ObjectType::OBJECT_DOMAIN => "domain",
        ObjectType::OBJECT_EVENT_TRIGGER => "event trigger",
        ObjectType::OBJECT_EXTENSION => "extension",
        ObjectType::OBJECT_FDW => "foreign data wrapper",
        ObjectType::OBJECT_FOREIGN_SERVER => "server",
        ObjectType::OBJECT_FOREIGN_TABLE => "foreign table",
        ObjectType::OBJECT_FUNCTION | ObjectType::OBJECT_PROCEDURE | ObjectType::OBJECT_ROUTINE => "routine",
        ObjectType::OBJECT_INDEX => "index",
        ObjectType::OBJECT_LANGUAGE => "language",
        ObjectType::OBJECT_LARGEOBJECT => "large object",
        ObjectType::OBJECT_MATVIEW => "materialized view",
        ObjectType::OBJECT_OPCLASS => "operator class",
        ObjectType::OBJECT_OPERATOR => "operator",
        ObjectType::OBJECT_OPFAMILY => "operator family",
        ObjectType::OBJECT_POLICY => "policy",
        ObjectType::OBJECT_PUBLICATION => "publication",
        ObjectType::OBJECT_ROLE => "role",
        ObjectType::OBJECT_RULE => "rule",
        ObjectType::OBJECT_SCHEMA => "schema",
        ObjectType::OBJECT_SEQUENCE => "sequence",
        ObjectType::OBJECT_SUBSCRIPTION => "subscription",
        ObjectType::OBJECT_STATISTIC_EXT => "statistics",
        ObjectType::OBJECT_TABCONSTRAINT | ObjectType::OBJECT_DOMCONSTRAINT => "constraint",
        ObjectType::OBJECT_TABLE => "table",
        ObjectType::OBJECT_TABLESPACE => "tablespace",
        ObjectType::OBJECT_TRANSFORM => "transform",
        ObjectType::OBJECT_TRIGGER => "trigger",
        ObjectType::OBJECT_TSCONFIGURATION => "text search configuration",
        ObjectType::OBJECT_TSDICTIONARY => "text search dictionary",
        ObjectType::OBJECT_TSPARSER => "text search parser",
        ObjectType::OBJECT_TSTEMPLATE => "text search template",
        ObjectType::OBJECT_TYPE | ObjectType::OBJECT_ATTRIBUTE => "type",
        ObjectType::OBJECT_USER_MAPPING => "user mapping",
        ObjectType::OBJECT_VIEW => "view",
        _ => "object",
    }
}

/// Whether a statement is about what belongs to all databases, or about event triggers: these set off none (PostgreSQL manual, 40.1).
pub(super) fn is_shared(node: Node<'_>) -> bool {
    matches!(
        node,
        Node::CreatedbStmt(_)
            | Node::DropdbStmt(_)
            | Node::AlterDatabaseStmt(_)
            | Node::AlterDatabaseSetStmt(_)
            | Node::AlterDatabaseRefreshCollStmt(_)
            | Node::CreateRoleStmt(_)
            | Node::AlterRoleStmt(_)
            | Node::AlterRoleSetStmt(_)
            | Node::DropRoleStmt(_)
            | Node::GrantRoleStmt(_)
            | Node::CreateTableSpaceStmt(_)
            | Node::DropTableSpaceStmt(_)
            | Node::AlterTableSpaceOptionsStmt(_)
            | Node::CreateEventTrigStmt(_)
            | Node::AlterEventTrigStmt(_)
    )
}
