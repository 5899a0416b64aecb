//! What a corpus file says: statements to be played through a gateway, and what is to become of each.
//!
//! Cases come in two kinds. A *policy case* says what is decided on a text: `blocked`, `approval` or `allow`. An *attack* plays
//! steps in one session and says which values may not reach the client, by `leak`, or which two statements may not be told
//! apart, by `oracle`. *Controls* are ordinary work, whose rows and tags are to come through as they are.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A whole file.
#[derive(Deserialize)]
pub(super) struct Corpus {
    #[serde(default)]
    pub(super) cases: Vec<Case>,
    #[serde(default)]
    pub(super) controls: Vec<Case>,
}

/// One case or control.
#[derive(Clone, Deserialize)]
pub(super) struct Case {
    pub(super) id: String,
    pub(super) sql: Sql,
    pub(super) expect: String,
    /// Statements that a superuser runs on the server before, outside the gateway.
    #[serde(default)]
    pub(super) setup: Vec<String>,
    /// Who the gateway is on the server.
    pub(super) role: Option<String>,
    /// What must not reach the client.
    #[serde(default)]
    pub(super) leak: Vec<Needle>,
    /// Two statements that must not be told apart; a first `@time` means by how long they take.
    pub(super) oracle: Option<Vec<String>>,
    /// Of a control: the rows that come, NULL as null.
    pub(super) rows: Option<Vec<Vec<Option<String>>>>,
    /// Of a control: what the server says of each statement that it has done.
    pub(super) tags: Option<Vec<String>>,
    /// Of a control: the error that is to come.
    pub(super) sqlstate: Option<String>,
}

/// What is played.
#[derive(Clone)]
pub(super) enum Sql {
    /// One text, by all protocols that can carry it.
    Text(String),
    /// Steps in one session.
    Steps(Vec<Step>),
}

/// One step of a session.
#[derive(Clone, Debug, Default)]
pub(super) struct Step {
    pub(super) what: What,
    /// Parameters of a Bind, or arguments of a function call, as text.
    pub(super) params: Vec<Option<String>>,
    /// The format that results are asked for in: 0 text, 1 binary.
    pub(super) result_format: u16,
    /// Whether a Describe is sent.
    pub(super) describe: bool,
    /// The statement's name.
    pub(super) stmt: String,
    /// The portal's.
    pub(super) portal: String,
    /// So many rows at a time; 0 for all.
    pub(super) max_rows: u32,
    /// The session that sends it; 1 is the client's, others go straight to the server.
    pub(super) session: u32,
    /// Keys that nobody here knows.
    pub(super) unknown: Vec<String>,
}

/// What a step sends.
#[derive(Clone, Debug, Default)]
pub(super) enum What {
    /// Nothing: the step was not understood.
    #[default]
    Nothing,
    /// A simple query.
    Query(String),
    /// Parse, Bind, Describe, Execute, Sync.
    Extended(String),
    /// Bind and Execute of a statement that is there.
    Bind(String),
    /// Execute of a portal that is there.
    Portal(String),
    /// A simple query of these bytes, in hexadecimal.
    Hex(String),
    /// A function call, as `name(types)`.
    FastPath(String),
    /// A replication command.
    Replication(String),
}

/// Something that must not be found.
#[derive(Clone, Deserialize)]
pub(super) struct Needle {
    /// In anything that the client receives, or in its cells put together.
    #[serde(alias = "reassembled")]
    pub(super) text: Option<String>,
    /// These bytes, in hexadecimal.
    pub(super) hex: Option<String>,
    /// A file of the server's machine, with anything in it.
    pub(super) server_file: Option<String>,
}

impl Corpus {
    pub(super) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let text: String = text.lines().map(|line| lenient(line) + "\n").collect();
        serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// A line whose value begins with `@`, which YAML keeps for itself, in quotes.
fn lenient(line: &str) -> String {
    let value =
        line.find(": @").map(|at| at + 2).or_else(|| line.trim_start().starts_with("- @").then(|| line.find('@')).flatten());
    match value {
        Some(at) if !line[..at].contains(['\'', '"', '#']) => format!("{}'{}'", &line[..at], line[at..].replace('\'', "''")),
        _ => line.to_owned(),
    }
}

impl Case {
    /// Whether it is decided by policy alone.
    pub(super) fn is_policy(&self) -> bool {
        self.leak.is_empty() && self.oracle.is_none() && ["blocked", "approval", "allow"].contains(&self.expect.as_str())
    }

    /// The same with other texts for the places that only the run knows.
    pub(super) fn placed(&self, place: impl Fn(&str) -> String) -> Self {
        let mut case = self.clone();
        case.setup.iter_mut().for_each(|text| *text = place(text));
        case.oracle.iter_mut().flatten().for_each(|text| *text = place(text));
        case.leak.iter_mut().filter_map(|needle| needle.server_file.as_mut()).for_each(|file| *file = place(file));
        match &mut case.sql {
            Sql::Text(text) => *text = place(text),
            Sql::Steps(steps) => steps.iter_mut().for_each(|step| step.place(&place)),
        }
        case
    }

    /// Its steps.
    pub(super) fn steps(&self) -> Vec<Step> {
        match &self.sql {
            Sql::Text(text) => vec![Step::query(text)],
            Sql::Steps(steps) => steps.clone(),
        }
    }
}

impl Step {
    pub(super) fn query(text: &str) -> Self {
        Self { what: What::Query(text.to_owned()), describe: true, session: 1, ..Self::default() }
    }

    pub(super) fn extended(text: &str) -> Self {
        Self { what: What::Extended(text.to_owned()), ..Self::query("") }
    }

    /// The text that it sends, if it sends one.
    pub(super) fn text(&self) -> &str {
        match &self.what {
            What::Query(text) | What::Extended(text) => text,
            _ => "",
        }
    }

    fn place(&mut self, place: impl Fn(&str) -> String) {
        match &mut self.what {
            What::Query(text) | What::Extended(text) => *text = place(text),
            _ => {}
        }
    }
}

impl<'de> Deserialize<'de> for Sql {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Sql;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a statement or a list of steps")
            }

            fn visit_str<E>(self, text: &str) -> Result<Sql, E> {
                Ok(Sql::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Sql, A::Error> {
                let mut steps = Vec::new();
                while let Some(step) = list.next_element()? {
                    steps.push(step);
                }
                Ok(Sql::Steps(steps))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Step;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a statement or a step")
            }

            fn visit_str<E>(self, text: &str) -> Result<Step, E> {
                Ok(Step::query(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Step, A::Error> {
                let mut step = Step::query("");
                step.what = What::Nothing;
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "sql" => step.what = What::Query(map.next_value()?),
                        "ext" => step.what = What::Extended(map.next_value()?),
                        "ext_bind_only" => step.what = What::Bind(map.next_value()?),
                        "exec_portal" => step.what = What::Portal(map.next_value()?),
                        "hex" => step.what = What::Hex(map.next_value()?),
                        "fastpath" => step.what = What::FastPath(map.next_value()?),
                        "replication" => step.what = What::Replication(map.next_value()?),
                        "params" | "args" => step.params = map.next_value()?,
                        "result_format" => step.result_format = map.next_value()?,
                        "describe" => step.describe = map.next_value()?,
                        "stmt" => step.stmt = map.next_value()?,
                        "portal" => step.portal = map.next_value()?,
                        "max_rows" | "maxrows" | "fetch" | "chunk" => step.max_rows = map.next_value()?,
                        "session" => step.session = map.next_value()?,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            step.unknown.push(key);
                        }
                    }
                }
                Ok(step)
            }
        }
        deserializer.deserialize_any(Any)
    }
}
