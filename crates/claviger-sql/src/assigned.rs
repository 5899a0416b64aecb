//! What a trigger's function in PL/pgSQL gives back: the row as it got it, or another (PostgreSQL manual, 43.10).

use std::collections::BTreeSet;

use crate::lexer::{self, Kind, Token};

/// What may be another in the new row when such a function has run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Assigned {
    /// Columns of these names.
    Columns(BTreeSet<String>),
    /// Any column.
    Any,
}

impl Default for Assigned {
    fn default() -> Self {
        Self::Columns(BTreeSet::new())
    }
}

impl Assigned {
    /// Either may be another.
    pub(crate) fn add(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Columns(own), Self::Columns(others)) => own.extend(others),
            _ => *self = Self::Any,
        }
    }

    /// Whether nothing is.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Self::Columns(columns) if columns.is_empty())
    }

    /// Whether one of these columns may be another.
    pub(crate) fn touches<'n>(&self, mut names: impl Iterator<Item = &'n str>) -> bool {
        match self {
            Self::Columns(columns) => names.any(|name| columns.contains(name)),
            Self::Any => true,
        }
    }
}

/// What the function of this source may change in the new row. What is not understood may change anything.
pub(crate) fn assigned(source: &str) -> Assigned {
    let Some(tokens) = lexer::tokens(source) else { return Assigned::Any };
    let mut body = Body { source, tokens: &tokens, columns: BTreeSet::new() };
    match body.read() {
        Some(()) => Assigned::Columns(body.columns),
        None => Assigned::Any,
    }
}

struct Body<'s> {
    source: &'s str,
    tokens: &'s [Token],
    columns: BTreeSet<String>,
}

impl Body<'_> {
    /// Nothing if any column may be set.
    fn read(&mut self) -> Option<()> {
        // Whether a statement has begun that gives values to what it names.
        let mut gives = false;
        for n in 0..self.tokens.len() {
            let first = n == 0 || self.begins(n - 1);
            let (before, word) = (n.checked_sub(1).map(|n| self.word(n)).unwrap_or_default(), self.word(n));
            gives = if first { matches!(&*word, "call" | "get") } else { gives && self.symbol(n) != ";" };
            match &*word {
                // Under another name it could be set unseen.
                "alias" => return None,
                "return" => self.returned(n + 1)?,
                "into" if !matches!(&*before, "insert" | "merge") => self.targets(n + 1)?,
                "for" | "foreach" if first => self.targets(n + 1)?,
                _ if self.is_new(n) => {
                    let assigns = self.symbol(self.after(n)) == ":=" || (first && self.symbol(self.after(n)) == "=");
                    if assigns || gives {
                        self.set(n)?;
                    }
                }
                _ => {}
            }
        }
        Some(())
    }

    /// The row as it is, or none of it.
    fn returned(&self, n: usize) -> Option<()> {
        let whole = self.is_new(n) || matches!(&*self.word(n), "old" | "null");
        (whole && self.symbol(n + 1) == ";").then_some(())
    }

    /// A list of what is given values.
    fn targets(&mut self, mut n: usize) -> Option<()> {
        if self.word(n) == "strict" {
            n += 1;
        }
        loop {
            if self.is_new(n) {
                self.set(n)?;
            }
            n = self.after(n);
            if self.symbol(n) != "," {
                return Some(());
            }
            n += 1;
        }
    }

    /// The row itself, or a column of it, is given a value.
    fn set(&mut self, n: usize) -> Option<()> {
        let column = (self.symbol(n + 1) == ".").then(|| self.name(n + 2)).flatten()?;
        self.columns.insert(column);
        Some(())
    }

    /// What follows a name with its fields and brackets.
    fn after(&self, mut n: usize) -> usize {
        n += 1;
        loop {
            match self.symbol(n) {
                "." => n += 2,
                "[" => {
                    let mut depth = 0;
                    while let Some(token) = self.tokens.get(n) {
                        depth += token.depth();
                        n += 1;
                        if depth == 0 {
                            break;
                        }
                    }
                }
                _ => return n,
            }
        }
    }

    /// Whether a statement begins after this.
    fn begins(&self, n: usize) -> bool {
        matches!(self.symbol(n), ";" | ">>") || matches!(&*self.word(n), "begin" | "then" | "else" | "loop" | "declare")
    }

    fn is_new(&self, n: usize) -> bool {
        let of_other = n.checked_sub(1).is_some_and(|n| self.symbol(n) == ".");
        !of_other && self.name(n).is_some_and(|name| name == "new")
    }

    /// A name as the server reads it.
    fn name(&self, n: usize) -> Option<String> {
        let token = self.tokens.get(n)?;
        let text = self.source.get(token.start..token.end)?;
        match token.kind {
            Kind::Word => Some(text.to_lowercase()),
            Kind::Quoted => Some(text.get(1..text.len().checked_sub(1)?)?.replace("\"\"", "\"")),
            _ => None,
        }
    }

    /// The word there, in lower case; empty if it is none.
    fn word(&self, n: usize) -> String {
        match self.tokens.get(n) {
            Some(token) if token.kind == Kind::Word => self.name(n).unwrap_or_default(),
            _ => String::new(),
        }
    }

    fn symbol(&self, n: usize) -> &str {
        match self.tokens.get(n) {
            Some(token) if token.kind == Kind::Symbol => self.source.get(token.start..token.end).unwrap_or_default(),
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_read_stays_as_it_is() {
        for source in [
            "begin return new; end",
            "begin insert into log select new.*; return new; end",
            "begin if new.kind = 'x' or new.a <> old.a then raise notice '%', new.kind; end if; return new; end",
            "begin x := new.kind; select count(*) into n from t where t.kind = new.kind; return null; end",
            "declare k text = new.kind; begin perform f(new, new.kind); return old; end",
            "begin new_kind := 1; x.new := 2; return new; end",
        ] {
            assert!(assigned(source).is_nothing(), "{source}");
        }
    }

    #[test]
    fn columns_are_set_in_many_ways() {
        for source in [
            "begin new.kind := 'x'; return new; end",
            "begin NEW.Kind = 'x'; RETURN NEW; end",
            "begin \"new\".\"kind\"[1].part := 'x'; return new; end",
            "begin if a then new.kind = 1; end if; return new; end",
            "begin case when a then new.kind = 1; else null; end case; return new; end",
            "begin <<here>> new.kind = 1; return new; end",
            "begin select a, b into strict x, new.kind from t; return new; end",
            "begin execute q into new.kind using new.a; return new; end",
            "begin insert into t values (new.a) returning id into new.kind; return new; end",
            "begin fetch c into new.kind; return new; end",
            "begin call p(1, new.kind); return new; end",
            "begin get diagnostics new.kind = row_count; return new; end",
            "begin for new.kind in 1..2 loop null; end loop; return new; end",
            "begin for x, new.kind in select 1, 2 loop null; end loop; return new; end",
        ] {
            assert_eq!(assigned(source), Assigned::Columns(["kind".to_owned()].into()), "{source}");
        }
    }

    #[test]
    fn the_whole_row_can_be_another() {
        for source in [
            "begin new := old; return new; end",
            "begin new = jsonb_populate_record(new, '{}'); return new; end",
            "begin select * into new from t; return new; end",
            "begin for new in select * from t loop null; end loop; return new; end",
            "begin return other; end",
            "begin return new #= 'a=>1'::hstore; end",
            "declare n alias for new; begin n.kind := 1; return n; end",
            "begin return (1, 2); end",
            "begin 'x",
        ] {
            assert_eq!(assigned(source), Assigned::Any, "{source}");
        }
    }
}
