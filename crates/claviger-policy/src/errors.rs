//! What is wrong with policies, and where.

use std::fmt;

use miette::Diagnostic;

/// One problem in one policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyProblem {
    /// The name of the file.
    pub file: String,
    /// The line; counts from 1.
    pub line: usize,
    /// The column in characters; counts from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// Written `file:line:column: message`.
impl fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

/// Policies that cannot be loaded, and every reason why, one a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct PolicyErrors(pub Vec<PolicyProblem>);

impl PolicyProblem {
    /// The problem that Cedar reports of this source.
    pub(crate) fn of(diagnostic: &dyn Diagnostic, file: &str, text: &str) -> Self {
        let offset = diagnostic.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset());
        let mut message = diagnostic.to_string();
        if let Some(help) = diagnostic.help() {
            message.push_str(&format!(" ({help})"));
        }
        Self::at(offset, message, file, text)
    }

    /// A problem at a byte offset of a source.
    pub(crate) fn at(offset: usize, message: String, file: &str, text: &str) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            message,
        }
    }
}
