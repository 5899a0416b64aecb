//! What is known of tables and columns beside what the server knows: their labels.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use claviger_model::Labels;

use super::Catalog;

/// Which tables and columns have which labels, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classification {
    names: Vec<(Classified, Labels)>,
    bound: Bound,
}

/// What a name has stood for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binding {
    /// The name, as the configuration writes it.
    pub name: Arc<str>,
    /// The OID of the table.
    pub relation: u32,
    /// The number of the column, if it is one.
    pub column: Option<i16>,
}

/// What names have stood for, and what has had their labels by way of that, sorted.
pub(super) type Bound = HashMap<Arc<str>, Vec<Stood>>;

/// The OID of a table, and the number of a column if it is one.
pub(super) type Stood = (u32, Option<i16>);

/// The name of a table or a column, with its schema: `schema.table` or `schema.table.column`. Each part is read as SQL reads it: what is
/// not in double quotes is in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Classified {
    pub(super) schema: Arc<str>,
    pub(super) table: Arc<str>,
    pub(super) column: Option<Arc<str>>,
    /// As it was written.
    pub(super) text: Arc<str>,
}

/// A name that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be `schema.table` or `schema.table.column`, as SQL would name it")]
pub struct NotAName;

impl Classification {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Classified, &Labels)> {
        self.names.iter().map(|(name, labels)| (name, labels))
    }

    /// Whether nothing is classified.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All labels that anything has.
    pub fn labels(&self) -> impl Iterator<Item = Arc<str>> {
        self.names.iter().flat_map(|(_, labels)| labels.iter().cloned())
    }

    /// The same, and what its names stood for in an earlier snapshot keeps its labels whatever it is called now.
    pub fn bound_by(&self, earlier: &Catalog) -> Self {
        let mut bound = self.clone();
        for (name, all) in &earlier.bound {
            all.iter().for_each(|stood| bound.bind(name, *stood));
        }
        bound
    }

    /// The same, with what names are known to have stood for.
    #[must_use]
    pub fn with_bindings(mut self, bindings: impl IntoIterator<Item = Binding>) -> Self {
        bindings.into_iter().for_each(|Binding { name, relation, column }| self.bind(&name, (relation, column)));
        self
    }

    fn bind(&mut self, name: &Arc<str>, stood: Stood) {
        let all = self.bound.entry(Arc::clone(name)).or_default();
        if let Err(at) = all.binary_search(&stood) {
            all.insert(at, stood);
        }
    }

    pub(super) fn bound(&self, name: &Classified) -> &[Stood] {
        self.bound.get(&name.text).map_or(&[], Vec::as_slice)
    }
}

impl FromIterator<(Classified, Labels)> for Classification {
    fn from_iter<I: IntoIterator<Item = (Classified, Labels)>>(names: I) -> Self {
        Self { names: names.into_iter().collect(), bound: Bound::default() }
    }
}

impl FromStr for Classified {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let mut rest = text;
        let mut parts = Vec::new();
        loop {
            parts.push(part(&mut rest)?);
            match rest.strip_prefix('.') {
                Some(more) => rest = more,
                None if rest.is_empty() => break,
                None => return Err(NotAName),
            }
        }
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(schema), Some(table), column, None) => Ok(Self { schema, table, column, text: text.into() }),
            _ => Err(NotAName),
        }
    }
}

/// Takes one part of a name from the front.
fn part(rest: &mut &str) -> Result<Arc<str>, NotAName> {
    let (name, after) = match rest.strip_prefix('"') {
        Some(quoted) => {
            let mut name = String::new();
            let mut chars = quoted.char_indices();
            let end = loop {
                match chars.next().ok_or(NotAName)? {
                    (at, '"') if quoted.get(at + 1..).is_some_and(|next| next.starts_with('"')) => _ = chars.next(),
                    (at, '"') => break at + 1,
                    (_, c) => {
                        name.push(c);
                        continue;
                    }
                }
                name.push('"');
            };
            (name, quoted.get(end..).unwrap_or_default())
        }
        None => {
            let end = rest.find(['.', '"']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            (name.to_ascii_lowercase(), after)
        }
    };
    *rest = after;
    if name.is_empty() { Err(NotAName) } else { Ok(name.into()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_are_read_as_sql_reads_them() {
        let parts = |text: &str| {
            let name = text.parse::<Classified>().unwrap();
            [Some(name.schema), Some(name.table), name.column]
                .into_iter()
                .flatten()
                .map(|part| part.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(parts("public.Customers"), ["public", "customers"]);
        assert_eq!(parts("public.customers.ssn"), ["public", "customers", "ssn"]);
        assert_eq!(parts(r#"a."B.c"."say ""x""""#), ["a", "B.c", "say \"x\""]);
        for wrong in ["", "customers", "a.b.c.d", "a..b", ".a", "a.", "a.\"b", "a.\"b\"c", "a.\"\"", "a.b\"c\""] {
            assert_eq!(wrong.parse::<Classified>(), Err(NotAName), "{wrong}");
        }
    }
}
