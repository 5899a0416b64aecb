//! What commands print: tables for people, JSON for programs, complaints on standard error.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

use super::Failure;
use crate::visible::visible;

/// Where results go.
pub(super) struct Output(Box<dyn Write>);

impl Output {
    pub(super) fn stdout() -> Self {
        Self(Box::new(io::stdout()))
    }

    /// For tests of what a command does, not of what it says.
    #[cfg(test)]
    pub(super) fn discard() -> Self {
        Self(Box::new(io::sink()))
    }

    pub(super) fn line(&mut self, line: fmt::Arguments<'_>) -> Result<(), Failure> {
        writeln!(self.0, "{line}")?;
        Ok(self.0.flush()?)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.0.write_all(bytes)?;
        Ok(self.0.flush()?)
    }

    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?;
        self.line(format_args!("{text}"))
    }

    /// A list: JSON if asked for, else a table with these columns.
    pub(super) fn list<T: Serialize, const N: usize>(
        &mut self,
        json: bool,
        items: &[T],
        heads: [&str; N],
        row: impl Fn(&T) -> [String; N],
    ) -> Result<(), Failure> {
        if json {
            return self.json(&items);
        }
        let rows: Vec<[String; N]> = items.iter().map(row).collect();
        self.bytes(table(heads, &rows).as_bytes())
    }
}

/// Columns as wide as their widest cell. Control characters are shown escaped: names come from outside, and a terminal obeys.
fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let heads = heads.map(str::to_owned);
    let lines: Vec<Vec<String>> =
        std::iter::once(&heads).chain(rows).map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let mut text = String::new();
    for line in &lines {
        let mut padding = 0;
        for (column, cell) in line.iter().enumerate() {
            let width = lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
            text.extend(std::iter::repeat_n(' ', padding));
            text.push_str(cell);
            padding = width.saturating_sub(cell.chars().count()) + 2;
        }
        text.push('\n');
    }
    text
}

/// In a cell there are no lines and no tabs either.
fn plain(cell: &str) -> String {
    visible(cell).replace('\n', "\\n").replace('\t', "\\t")
}

/// A complaint, or advice, on standard error. Nothing can be done if that fails.
pub(super) fn complain(message: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "claviger: {message}");
}

/// What a cell shows of something that may be absent.
pub(super) fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_terminals_are_safe() {
        let rows = [["a".to_owned(), "x".to_owned()], ["long\u{1b}[2J".to_owned(), "y".to_owned()]];
        assert_eq!(table(["N", "V"], &rows), "N              V\na              x\nlong\\u{1b}[2J  y\n");
    }
}
