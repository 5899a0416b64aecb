//! The statements and expressions of a body in PL/pgSQL (PostgreSQL manual, chapter 43).
//!
//! The body is cut at PL/pgSQL's own keywords; what stands between them is SQL, which is read by the grammar. In which order and how
//! often the parts run does not matter here, so blocks, loops and branches are not nested: each part stands for itself. Whatever
//! does not fit is not understood, and a statement that is made of text while running is opaque.

use std::collections::HashSet;

use crate::lexer::{self, Kind, Token, kept};

/// A part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A statement of SQL.
    Statement(String),
    /// An expression, or several with commas.
    Expression(String),
    /// The same, which decides what is done next.
    Condition(String),
    /// What the piece before comes to is given to these.
    Given(Vec<String>),
    /// It comes to anything that the body has read.
    Whatever,
    /// Errors are caught, so that they decide what is done next.
    Catches,
    /// It ends its transaction.
    Ends,
    /// Cursors are opened or closed, whose names are what these variables hold.
    Cursors(Vec<String>),
    /// Something whose doings are not in its text.
    Opaque,
}

/// A body that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Procedure {
    pub(crate) pieces: Vec<Piece>,
    /// Whether its variables may be known by other names: by their place (`$1`), in escapes (`U&"…"`), as an alias.
    pub(crate) names_otherwise: bool,
    /// The variables whose fields are those of whatever query they are given.
    pub(crate) records: HashSet<String>,
    /// Everything that may be a name, those of its variables' types among them.
    pub(crate) words: HashSet<String>,
}

/// Reads a body; `None` if it is not understood.
pub(crate) fn read(source: &str) -> Option<Procedure> {
    let tokens = lexer::tokens(source)?;
    let (pieces, opened, declared) = Default::default();
    let mut body = Body { source, tokens, at: 0, pieces, opened, declared, closes: false, fetches: false, catches: false };
    while body.at < body.tokens.len() {
        body.statement()?;
    }
    if body.catches {
        body.pieces.push(Piece::Catches);
    }
    if body.fetches && body.opened.is_empty() {
        // Somebody else has opened it.
        body.pieces.push(Piece::Opaque);
    }
    if !body.opened.is_empty() || body.closes {
        let opened = std::mem::take(&mut body.opened);
        body.pieces.push(Piece::Cursors(opened));
    }
    let words: HashSet<String> = (0..body.tokens.len()).map(|n| body.name(n)).filter(|name| !name.is_empty()).collect();
    let is_record = |name: &&String| body.declared.iter().all(|(declared, record)| declared != *name || *record);
    let records = body.declared.iter().map(|(name, _)| name).filter(is_record).cloned().collect();
    Some(Procedure { names_otherwise: body.names_otherwise(), pieces: body.pieces, records, words })
}

struct Body<'s> {
    source: &'s str,
    tokens: Vec<Token>,
    at: usize,
    pieces: Vec<Piece>,
    /// The variables that it declares, and whether each is a record.
    declared: Vec<(String, bool)>,
    /// What it does with cursors.
    opened: Vec<String>,
    closes: bool,
    fetches: bool,
    /// Whether it catches errors.
    catches: bool,
}

impl Body<'_> {
    fn statement(&mut self) -> Option<()> {
        if self.skip_symbol("<<") {
            self.until_symbol(">>")?;
            return Some(());
        }
        if self.is_assignment(self.at) {
            return self.plain();
        }
        match self.word(self.at).as_str() {
            "begin" | "loop" | "else" => self.at += 1,
            "exception" => {
                self.at += 1;
                self.catches = true;
            }
            "declare" => {
                self.at += 1;
                while self.word(self.at) != "begin" {
                    self.declaration()?;
                }
            }
            "if" | "elsif" | "elseif" | "when" => {
                self.at += 1;
                let condition = self.until_word(&["then"])?;
                self.condition(condition);
            }
            "case" => {
                self.at += 1;
                let start = self.at;
                while self.word(self.at) != "when" {
                    self.at += 1;
                    self.tokens.get(self.at)?;
                }
                self.condition((start, self.at));
            }
            "while" => {
                self.at += 1;
                let condition = self.until_word(&["loop"])?;
                self.condition(condition);
            }
            "for" | "foreach" => self.cycle()?,
            _ => self.plain()?,
        }
        Some(())
    }

    /// `name type [:= expression];`, `name cursor for query;`, `name alias for other;`
    fn declaration(&mut self) -> Option<()> {
        if self.skip_symbol("<<") {
            self.until_symbol(">>")?;
            return Some(());
        }
        let (start, end) = self.until_end()?;
        self.declared.push((self.name(start), self.word(start + 1) == "record"));
        let mut depth = 0;
        for n in start + 1..end {
            let token = self.tokens.get(n)?;
            depth += token.depth();
            let word = self.word(n);
            if depth == 0 && word == "cursor" {
                let query = (n..end).find(|n| matches!(self.word(*n).as_str(), "for" | "is"))?;
                self.sql((query + 1, end));
                return Some(());
            }
            if depth == 0 && (matches!(self.symbol(n), ":=" | "=") || word == "default") {
                self.expression((n + 1, end));
                self.gives((start, start + 1));
                return Some(());
            }
        }
        Some(())
    }

    /// The head of a loop over numbers, rows, or the elements of an array.
    fn cycle(&mut self) -> Option<()> {
        let (start, end) = {
            self.at += 1;
            self.until_word(&["loop"])?
        };
        let within = (start..end).find(|n| self.word(*n) == "in")? + 1;
        let variables = (start, within - 1);
        match self.word(within).as_str() {
            "execute" => self.pieces.push(Piece::Opaque),
            "array" => {
                self.condition((within + 1, end));
                self.gives(variables);
            }
            "select" | "with" | "values" | "table" | "insert" | "update" | "delete" | "merge" => {
                self.sql((within, end));
                self.gives(variables);
            }
            _ => {
                let first = if self.word(within) == "reverse" { within + 1 } else { within };
                match (first..end).find(|n| self.symbol(*n) == "..") {
                    Some(dots) => {
                        let by = (dots..end).find(|n| self.word(*n) == "by").unwrap_or(end);
                        for bound in [(first, dots), (dots + 1, by), (by + 1, end)] {
                            self.condition(bound);
                            self.gives(variables);
                        }
                    }
                    // A cursor that is declared, with or without arguments.
                    None => {
                        self.expression((first + 1, end));
                        self.gives_whatever(variables);
                    }
                }
            }
        }
        Some(())
    }

    /// A statement that ends with a semicolon.
    fn plain(&mut self) -> Option<()> {
        let (start, end) = self.until_end()?;
        if start == end {
            return Some(());
        }
        let next = self.word(start + 1);
        let first = if self.is_assignment(start) { String::new() } else { self.word(start) };
        match first.as_str() {
            "end" | "null" => {}
            "commit" | "rollback" => self.pieces.push(Piece::Ends),
            "get" => self.gives_whatever((start, end)),
            "fetch" | "move" => {
                self.fetches = true;
                self.direction((start + 1, end));
                let into = (start..end).find(|n| self.word(*n) == "into").unwrap_or(end);
                self.gives_whatever((into, end));
            }
            "close" => self.closes = true,
            "exit" | "continue" => {
                if let Some(when) = (start..end).find(|n| self.word(*n) == "when") {
                    self.condition((when + 1, end));
                }
            }
            "return" => match next.as_str() {
                "query" if self.word(start + 2) == "execute" => self.pieces.push(Piece::Opaque),
                "query" => self.sql((start + 2, end)),
                "next" => self.expression((start + 2, end)),
                _ => self.expression((start + 1, end)),
            },
            "raise" => self.raise((start, end)),
            "assert" => self.condition((start + 1, end)),
            "perform" => {
                let text = format!("SELECT {}", self.text((start + 1, end)));
                self.pieces.push(Piece::Statement(text));
            }
            "execute" => self.pieces.push(Piece::Opaque),
            "open" => self.open((start, end)),
            _ => match self.assigned((start, end)) {
                Some(value) => {
                    // What stands in brackets on the left is computed too.
                    let target = self.text((start, value.0 - 1)).to_owned();
                    if target.contains('[') {
                        self.pieces.push(Piece::Expression(target));
                    }
                    self.expression(value);
                    self.gives((start, value.0 - 1));
                }
                None => self.sql((start, end)),
            },
        }
        Some(())
    }

    /// `[direction] [from | in] cursor …`: how far a cursor goes may be computed.
    fn direction(&mut self, (start, end): (usize, usize)) {
        const WORDS: [&str; 9] = ["next", "prior", "first", "last", "absolute", "relative", "forward", "backward", "all"];
        if let Some(from) = (start..end).find(|n| matches!(self.word(*n).as_str(), "from" | "in")) {
            let first = (start..from).find(|n| !WORDS.contains(&self.word(*n).as_str())).unwrap_or(from);
            self.condition((first, from));
        }
    }

    fn open(&mut self, (start, end): (usize, usize)) {
        self.opened.push(self.name(start + 1));
        match (start..end).find(|n| self.word(*n) == "for") {
            Some(query) if self.word(query + 1) == "execute" => self.pieces.push(Piece::Opaque),
            Some(query) => self.sql((query + 1, end)),
            // One that is declared, with or without arguments.
            None => self.expression((start + 2, end)),
        }
    }

    /// `raise [level] 'format', expression, ... [using option = expression, ...]`
    fn raise(&mut self, (start, end): (usize, usize)) {
        let using = (start..end).find(|n| self.word(*n) == "using").unwrap_or(end);
        if let Some(comma) = (start..using).find(|n| self.symbol(*n) == ",") {
            self.expression((comma + 1, using));
        }
        self.expression((using + 1, end));
    }

    /// Whether a value is given to what is named there: most keywords are names, too.
    fn is_assignment(&self, n: usize) -> bool {
        self.is_name(n) && matches!(self.symbol(n + 1), ":=" | "=" | "[" | ".")
    }

    /// The value of an assignment: what follows `:=` or `=` after a name with fields and brackets.
    fn assigned(&self, (start, end): (usize, usize)) -> Option<(usize, usize)> {
        let mut depth = 0;
        for n in start..end {
            let token = self.tokens.get(n)?;
            depth += token.depth();
            if depth == 0 && matches!(self.symbol(n), ":=" | "=") {
                return Some((n + 1, end));
            }
            let of_name =
                depth > 0 || matches!(token.kind, Kind::Word | Kind::Quoted) || matches!(self.symbol(n), "." | "[" | "]");
            if !of_name || (n > start && depth == 0 && self.is_name(n) && self.is_name(n - 1)) {
                return None;
            }
        }
        None
    }

    fn is_name(&self, n: usize) -> bool {
        self.tokens.get(n).is_some_and(|token| matches!(token.kind, Kind::Word | Kind::Quoted))
    }

    /// A statement of SQL, without what it gives to variables.
    fn sql(&mut self, (start, end): (usize, usize)) {
        if start >= end {
            return;
        }
        let mut depth = 0;
        for n in start..end {
            depth += self.tokens.get(n).map_or(0, Token::depth);
            let before = n.checked_sub(1).map(|n| self.word(n)).unwrap_or_default();
            if depth == 0 && n > start && self.word(n) == "into" && !matches!(before.as_str(), "insert" | "merge") {
                let after = self.after_targets(n + 1, end);
                let text = format!("{} {}", self.text((start, n)), self.text((after, end)));
                self.pieces.push(Piece::Statement(text));
                return self.gives((n + 1, after));
            }
        }
        self.pieces.push(Piece::Statement(self.text((start, end)).to_owned()));
        // What a procedure is called with may be what it gives a value to.
        if self.word(start) == "call" {
            self.gives_whatever((start, end));
        }
    }

    /// Where a list of variables ends.
    fn after_targets(&self, mut n: usize, end: usize) -> usize {
        if self.word(n) == "strict" {
            n += 1;
        }
        while n < end {
            // An argument may be named by its place.
            n += usize::from(self.symbol(n) == "$");
            if !self.is_name(n) && self.symbol(n.saturating_sub(1)) != "$" {
                return n;
            }
            n += 1;
            while self.symbol(n) == "." && n < end {
                n += 2;
            }
            if self.symbol(n) == "[" {
                let mut depth = 0;
                while n < end {
                    depth += self.tokens.get(n).map_or(0, Token::depth);
                    n += 1;
                    if depth == 0 {
                        break;
                    }
                }
            }
            if self.symbol(n) != "," {
                return n;
            }
            n += 1;
        }
        end
    }

    fn expression(&mut self, range: (usize, usize)) {
        self.value(range, Piece::Expression);
    }

    fn condition(&mut self, range: (usize, usize)) {
        self.value(range, Piece::Condition);
    }

    fn value(&mut self, range: (usize, usize), piece: fn(String) -> Piece) {
        let text = self.text(range);
        if !text.trim().is_empty() {
            self.pieces.push(piece(text.to_owned()));
        }
    }

    /// What the last piece comes to is given to all that is named there.
    fn gives(&mut self, (start, end): (usize, usize)) {
        let names: Vec<String> = (start..end).map(|n| self.name(n)).filter(|name| !name.is_empty()).collect();
        self.pieces.push(Piece::Given(names));
    }

    fn gives_whatever(&mut self, range: (usize, usize)) {
        self.pieces.push(Piece::Whatever);
        self.gives(range);
    }

    /// Whether something may be named by its place (`$1`), in escapes (`U&"…"`), or as an alias.
    fn names_otherwise(&self) -> bool {
        let text = |token: &Token| self.source.get(token.start..token.end).unwrap_or_default();
        let mut names = self.tokens.iter().filter(|token| !matches!(token.kind, Kind::Text | Kind::Comment)).map(text);
        names.any(|name| name.contains('$') || name.eq_ignore_ascii_case("alias"))
            || self.source.contains("U&\"")
            || self.source.contains("u&\"")
    }

    /// The name there, as SQL reads it; empty if it is none.
    fn name(&self, n: usize) -> String {
        kept(&self.name_as_written(n))
    }

    fn name_as_written(&self, n: usize) -> String {
        match self.tokens.get(n) {
            Some(token) if token.kind == Kind::Quoted => {
                let quoted = self.source.get(token.start..token.end).unwrap_or_default();
                let inner = quoted.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"'));
                inner.unwrap_or(quoted).replace("\"\"", "\"")
            }
            _ => self.word(n),
        }
    }

    /// The tokens up to a semicolon, which is passed over.
    fn until_end(&mut self) -> Option<(usize, usize)> {
        let start = self.at;
        while self.symbol(self.at) != ";" {
            self.at += 1;
            if self.at >= self.tokens.len() {
                // The last `end` may stand without one.
                let alone = self.word(start) == "end" && self.at - start <= 2;
                return alone.then_some((start, self.at));
            }
        }
        self.at += 1;
        Some((start, self.at - 1))
    }

    /// The tokens up to one of these words, which is passed over. Those inside `CASE` do not count.
    fn until_word(&mut self, words: &[&str]) -> Option<(usize, usize)> {
        let (start, mut cases) = (self.at, 0);
        loop {
            let token = self.tokens.get(self.at)?;
            if token.kind == Kind::Symbol && self.symbol(self.at) == ";" {
                return None;
            }
            let word = self.word(self.at);
            if cases == 0 && words.contains(&word.as_str()) {
                self.at += 1;
                return Some((start, self.at - 1));
            }
            match word.as_str() {
                "case" => cases += 1,
                "end" => cases -= 1,
                _ => {}
            }
            self.at += 1;
        }
    }

    fn until_symbol(&mut self, symbol: &str) -> Option<()> {
        while self.symbol(self.at) != symbol {
            self.at += 1;
            self.tokens.get(self.at)?;
        }
        self.at += 1;
        Some(())
    }

    fn skip_symbol(&mut self, symbol: &str) -> bool {
        let found = self.symbol(self.at) == symbol;
        self.at += usize::from(found);
        found
    }

    /// The word there, in lower case; empty if it is none.
    fn word(&self, n: usize) -> String {
        match self.tokens.get(n) {
            Some(token) if token.kind == Kind::Word => {
                self.source.get(token.start..token.end).unwrap_or_default().to_ascii_lowercase()
            }
            _ => String::new(),
        }
    }

    fn symbol(&self, n: usize) -> &str {
        match self.tokens.get(n) {
            Some(token) if token.kind == Kind::Symbol => self.source.get(token.start..token.end).unwrap_or_default(),
            _ => "",
        }
    }

    fn text(&self, (start, end): (usize, usize)) -> &str {
        if start >= end {
            return "";
        }
        let place = |n: usize| self.tokens.get(n);
        match (place(start), end.checked_sub(1).and_then(place)) {
            (Some(first), Some(last)) => self.source.get(first.start..last.end).unwrap_or_default(),
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn statement(text: &str) -> Piece {
        Piece::Statement(text.to_owned())
    }

    fn expression(text: &str) -> Piece {
        Piece::Expression(text.to_owned())
    }

    fn condition(text: &str) -> Piece {
        Piece::Condition(text.to_owned())
    }

    fn pieces(source: &str) -> Option<Vec<Piece>> {
        let is_said = |piece: &Piece| !matches!(piece, Piece::Given(_) | Piece::Whatever);
        read(source).map(|procedure| procedure.pieces.into_iter().filter(is_said).collect())
    }

    #[test]
    fn every_kind_of_statement_is_cut_out() {
        let source = r"
            <<outer>>
            DECLARE
                n int := 1 + 2; -- a comment; with a semicolon
                c CURSOR (k int) FOR SELECT * FROM t WHERE a = k;
                r record;
                m CONSTANT text NOT NULL DEFAULT 'it''s; begin';
            BEGIN
                IF n > (CASE WHEN a THEN 1 ELSE 2 END) THEN
                    INSERT INTO notes (body) VALUES ('x; y');
                ELSIF f(n) THEN
                    n := n + 1;
                    r.field[2] := g(n);
                    NULL;
                ELSE
                    PERFORM h(n) FROM u;
                END IF;
                SELECT a, b INTO STRICT n, r.b FROM v WHERE c = 1;
                UPDATE t SET a = 1 RETURNING id INTO n;
                FOR r IN SELECT id FROM w LOOP
                    CONTINUE WHEN r.id = 3;
                    DELETE FROM x WHERE id = r.id;
                END LOOP;
                FOR i IN REVERSE 10..lowest(1) BY 2 LOOP NULL; END LOOP;
                WHILE more() LOOP EXIT outer; END LOOP;
                FOREACH n IN ARRAY items(1) LOOP NULL; END LOOP;
                CASE n WHEN 1, 2 THEN n := 3; ELSE n := 4; END CASE;
                RAISE NOTICE 'n is %', n USING HINT = advice();
                RETURN QUERY SELECT 1;
                RETURN NEXT n;
                GET DIAGNOSTICS n = ROW_COUNT;
                OPEN c(7);
            EXCEPTION WHEN unique_violation OR SQLSTATE '22012' THEN
                RETURN NULL;
            END outer";
        let expected = [
            expression("1 + 2"),
            statement("SELECT * FROM t WHERE a = k"),
            expression("'it''s; begin'"),
            condition("n > (CASE WHEN a THEN 1 ELSE 2 END)"),
            statement("INSERT INTO notes (body) VALUES ('x; y')"),
            condition("f(n)"),
            expression("n + 1"),
            expression("r.field[2]"),
            expression("g(n)"),
            statement("SELECT h(n) FROM u"),
            statement("SELECT a, b FROM v WHERE c = 1"),
            statement("UPDATE t SET a = 1 RETURNING id "),
            statement("SELECT id FROM w"),
            condition("r.id = 3"),
            statement("DELETE FROM x WHERE id = r.id"),
            condition("10"),
            condition("lowest(1)"),
            condition("2"),
            condition("more()"),
            condition("items(1)"),
            condition("n"),
            condition("1, 2"),
            expression("3"),
            expression("4"),
            expression("n"),
            expression("HINT = advice()"),
            statement("SELECT 1"),
            expression("n"),
            expression("(7)"),
            condition("unique_violation OR SQLSTATE '22012'"),
            expression("NULL"),
            Piece::Catches,
            Piece::Cursors(vec!["c".to_owned()]),
        ];
        assert_eq!(pieces(source).unwrap(), expected);
    }

    #[test]
    fn what_is_given_to_variables_is_told() {
        let given = |source: &str| -> Vec<Piece> {
            let all = read(&format!("BEGIN {source}; END")).unwrap().pieces;
            all.into_iter().filter(|piece| matches!(piece, Piece::Given(_) | Piece::Whatever)).collect()
        };
        let names = |names: &[&str]| Piece::Given(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(given("f.second := 1"), [names(&["f", "second"])]);
        assert_eq!(given("close = 1"), [names(&["close"])]);
        assert_eq!(given("tenth[n] = 2"), [names(&["tenth", "n"])]);
        assert_eq!(given("SELECT 1, 2 INTO STRICT a.x, \"Odd\" FROM t"), [names(&["strict", "a", "x", "Odd"])]);
        assert_eq!(given("CALL p(third)"), [Piece::Whatever, names(&["call", "p", "third"])]);
        assert_eq!(given("FETCH c INTO fourth"), [Piece::Whatever, names(&["into", "fourth"])]);
        assert_eq!(given("FOR a, b IN SELECT 1, 2 LOOP NULL; END LOOP"), [names(&["a", "b"])]);
        assert_eq!(given("FOR i IN 1..2 LOOP NULL; END LOOP"), [names(&["i"]), names(&["i"]), names(&["i"])]);
        assert_eq!(given("DECLARE n int := 1; BEGIN NULL; END"), [names(&["n"])]);
        assert_eq!(given("PERFORM f(not_this)"), []);
        for otherwise in ["a := $1", "U&\"\\0061\" := 1", "DECLARE b ALIAS FOR a; BEGIN NULL; END"] {
            assert!(read(&format!("BEGIN {otherwise}; END")).unwrap().names_otherwise, "{otherwise}");
        }
    }

    #[test]
    fn who_fetches_from_a_cursor_opens_it() {
        let fetch = "DECLARE r refcursor := 'c'; x text; BEGIN FETCH r INTO x; RETURN x; END";
        assert_eq!(pieces(fetch).unwrap(), [expression("'c'"), expression("x"), Piece::Opaque]);
        let open = "BEGIN OPEN r FOR SELECT 1; FETCH r INTO x; CLOSE r; END";
        assert_eq!(pieces(open).unwrap(), [statement("SELECT 1"), Piece::Cursors(vec!["r".to_owned()])]);
        assert_eq!(pieces("BEGIN CLOSE r; END").unwrap(), [Piece::Cursors(Vec::new())]);
    }

    #[test]
    fn what_is_made_of_text_is_opaque() {
        for source in [
            "begin execute 'delete from ' || t; end",
            "begin return query execute q; end",
            "begin for r in execute q loop null; end loop; end",
            "begin open c for execute q; end",
        ] {
            assert!(pieces(source).unwrap().contains(&Piece::Opaque), "{source}");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_understood() {
        for source in ["begin if a", "begin delete from t", "begin 'abc", "declare x int", "begin $$ x"] {
            assert_eq!(pieces(source), None, "{source}");
        }
    }
}
