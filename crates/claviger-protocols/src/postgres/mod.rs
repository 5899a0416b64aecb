//! PostgreSQL, frontend/backend protocol 3.0 (PostgreSQL manual, chapter 55).

/// This protocol's line in the list.
pub const ENTRY: crate::ProtocolEntry = crate::ProtocolEntry { kind: "postgres", title: "PostgreSQL", default_port: 5432 };

/// Salted passwords of earlier SCRAM logins.
#[derive(Default)]
pub struct ScramKeys {}
