//! Scripts of psql as statements (PostgreSQL manual, psql): PostgreSQL's own regression tests are such scripts.

use std::collections::HashMap;

/// What a script has sent: a statement, and the lines of data that follow a `COPY ... FROM stdin`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) text: String,
    pub(crate) data: String,
}

/// The statements of a script, in order. Of psql's own commands only those that send and those that set are followed.
pub(crate) fn statements(script: &str, variables: &mut HashMap<String, String>) -> Vec<Sent> {
    let mut sent = Vec::new();
    let mut reader = Reader { rest: script, text: String::new(), depth: 0, atomic: 0 };
    while let Some(end) = reader.next_end(variables) {
        let text = std::mem::take(&mut reader.text);
        (reader.depth, reader.atomic) = (0, 0);
        if text.trim().is_empty() {
            continue;
        }
        let data = if reads_data(&text) && end == End::Semicolon { reader.data() } else { String::new() };
        sent.push(Sent { text, data });
    }
    sent
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Semicolon,
    Command,
}

struct Reader<'s> {
    rest: &'s str,
    text: String,
    /// Parentheses that are open.
    depth: u32,
    /// `BEGIN ATOMIC` and `CASE` that are open.
    atomic: u32,
}

impl Reader<'_> {
    /// Reads up to where something is sent.
    fn next_end(&mut self, variables: &mut HashMap<String, String>) -> Option<End> {
        loop {
            let c = self.rest.chars().next()?;
            match c {
                '\'' => self.quoted('\'', self.text.ends_with(['E', 'e'])),
                '"' => self.quoted('"', false),
                '$' => self.dollars(),
                '-' if self.rest.starts_with("--") => self.skip_line(),
                '/' if self.rest.starts_with("/*") => self.comment(),
                '\\' if self.rest.starts_with("\\;") => {
                    self.text.push(';');
                    self.rest = &self.rest[2..];
                }
                '\\' => {
                    if self.command(variables) {
                        return Some(End::Command);
                    }
                }
                ';' if self.depth == 0 && self.atomic == 0 => {
                    self.rest = &self.rest[1..];
                    return Some(End::Semicolon);
                }
                ':' => self.variable(variables),
                c if c.is_ascii_alphabetic() || c == '_' => self.word(),
                c => {
                    match c {
                        '(' => self.depth += 1,
                        ')' => self.depth = self.depth.saturating_sub(1),
                        _ => {}
                    }
                    self.take(c.len_utf8());
                }
            }
        }
    }

    fn take(&mut self, length: usize) {
        let length = length.min(self.rest.len());
        self.text.push_str(&self.rest[..length]);
        self.rest = &self.rest[length..];
    }

    fn word(&mut self) {
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(self.rest.len());
        let word = self.rest[..end].to_ascii_lowercase();
        let after_begin = self.text.trim_end().to_ascii_lowercase().ends_with("begin");
        match word.as_str() {
            "atomic" if after_begin => self.atomic += 1,
            "case" if self.atomic > 0 => self.atomic += 1,
            "end" if self.atomic > 0 => self.atomic -= 1,
            _ => {}
        }
        self.take(end);
    }

    fn quoted(&mut self, quote: char, escapes: bool) {
        self.take(1);
        while let Some(c) = self.rest.chars().next() {
            if escapes && c == '\\' {
                let next = self.rest.chars().nth(1).map_or(0, char::len_utf8);
                self.take(1 + next);
                continue;
            }
            self.take(c.len_utf8());
            if c == quote {
                if !self.rest.starts_with(quote) {
                    return;
                }
                self.take(1);
            }
        }
    }

    fn dollars(&mut self) {
        let tag = self.rest[1..].find('$').map(|end| &self.rest[..end + 2]);
        let is_tag = |tag: &str| tag[1..tag.len() - 1].chars().all(|c| c.is_alphanumeric() || c == '_');
        let within_word = self.text.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        match tag.filter(|tag| is_tag(tag) && !within_word && !tag[1..].starts_with(|c: char| c.is_ascii_digit())) {
            Some(tag) => {
                let end = self.rest[tag.len()..].find(tag).map_or(self.rest.len(), |end| end + 2 * tag.len());
                self.take(end);
            }
            None => self.take(1),
        }
    }

    fn comment(&mut self) {
        let mut depth = 0;
        while !self.rest.is_empty() {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.take(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.take(2);
                if depth == 0 {
                    return;
                }
            } else {
                self.take(self.rest.chars().next().map_or(0, char::len_utf8));
            }
        }
    }

    fn skip_line(&mut self) {
        self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
        self.text.push('\n');
    }

    /// One of psql's own commands; true if it sends what has been read.
    fn command(&mut self, variables: &mut HashMap<String, String>) -> bool {
        let line = self.rest.split('\n').next().unwrap_or_default();
        let mut words = line[1..].split_whitespace();
        let name = words.next().unwrap_or_default();
        match name {
            "set" => {
                if let Some(variable) = words.next() {
                    let value = words.map(|word| expanded(word, variables)).collect();
                    variables.insert(variable.to_owned(), value);
                }
            }
            "getenv" => {
                if let (Some(variable), Some(from)) = (words.next(), words.next())
                    && let Some(value) = variables.get(from).cloned()
                {
                    variables.insert(variable.to_owned(), value);
                }
            }
            _ => {}
        }
        self.skip_line();
        name.starts_with('g') && name != "getenv" || matches!(name, "crosstabview" | "parse" | "bind")
    }

    fn variable(&mut self, variables: &HashMap<String, String>) {
        let rest = &self.rest[1..];
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let name =
            rest[usize::from(quote.is_some())..].split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
        match variables.get(name).filter(|_| !self.text.ends_with(':')) {
            Some(value) => {
                let quotes = quote.map(String::from).unwrap_or_default();
                self.text.push_str(&format!("{quotes}{value}{quotes}"));
                self.rest = &rest[name.len() + 2 * quotes.len()..];
            }
            None => self.take(1),
        }
    }

    /// The lines of data up to `\.`.
    fn data(&mut self) -> String {
        let rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
        let end = rest.find("\\.\n").unwrap_or(rest.len());
        let (data, after) = rest.split_at(end);
        self.rest = after.strip_prefix("\\.\n").unwrap_or_default();
        data.to_owned()
    }
}

fn expanded(word: &str, variables: &HashMap<String, String>) -> String {
    match word.strip_prefix(':').and_then(|name| variables.get(name)) {
        Some(value) => value.clone(),
        None => word.trim_matches('\'').to_owned(),
    }
}

fn reads_data(text: &str) -> bool {
    let words: Vec<String> = text.split_whitespace().map(str::to_ascii_lowercase).collect();
    words.first().is_some_and(|word| word == "copy")
        && words.windows(2).any(|pair| pair[0] == "from" && pair[1].starts_with("stdin"))
}

#[test]
fn scripts_are_read_as_psql_reads_them() {
    let mut variables = HashMap::from([("PG_ABS_SRCDIR".to_owned(), "/src".to_owned())]);
    let script = "\\getenv abs_srcdir PG_ABS_SRCDIR\n\\set file :abs_srcdir '/data/x.data'\nCOPY t FROM :'file';\n\
        select 1 -- a; comment\n; select ';', E'\\';', $a$;$a$ /* ; /* ; */ ; */;\n\\d t\nselect 2 \\gset\n\
        copy t from stdin;\n1\t2\n\\.\ncreate function f() returns int begin atomic select case when true then 1 end; end;\nselect x::int, a[1:2];";
    let read: Vec<(String, String)> =
        statements(script, &mut variables).into_iter().map(|sent| (sent.text.trim().to_owned(), sent.data)).collect();
    let texts: Vec<&str> = read.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(texts[0], "COPY t FROM '/src/data/x.data'");
    assert_eq!(texts[1], "select 1");
    assert!(texts[2].starts_with("select ';'") && texts[2].ends_with("*/"), "{}", texts[2]);
    assert_eq!(texts[3], "select 2");
    assert_eq!(read[4], ("copy t from stdin".to_owned(), "1\t2\n".to_owned()));
    assert!(texts[5].ends_with("end; end"), "{}", texts[5]);
    assert_eq!(texts[6], "select x::int, a[1:2]");
    assert_eq!(texts.len(), 7);
}
