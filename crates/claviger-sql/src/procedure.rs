//! The statements and expressions of a body in PL/pgSQL.
//!
//! The body is cut into its statements by PL/pgSQL's own keywords; what stands between them is SQL, which is read by the grammar.
//! Whatever does not fit is opaque, as is every statement that is made of text while running.

/// A part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A statement of SQL.
    Statement(String),
    /// An expression, or several with commas.
    Expression(String),
    /// Something whose doings are not in its text.
    Opaque,
}

/// The parts of a body; `None` if it is not understood.
pub(crate) fn pieces(_source: &str) -> Option<Vec<Piece>> {
    None
}
