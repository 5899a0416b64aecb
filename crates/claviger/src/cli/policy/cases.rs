//! `claviger policy test`: table tests that stand beside policies.
//!
//! A file `*.test.toml` says which database the texts are meant for, who asks, and what is expected:
//!
//! ```toml
//! catalog = "bank.catalog"
//! connection = "bank"
//! labels = ["environment.production"]
//! classify = { "public.customers.ssn" = ["pii.ssn"] }
//!
//! [principals.alice]
//! groups = ["engineers"]
//!
//! [[tests]]
//! who = "alice"
//! sql = "DROP TABLE customers"
//! expect = "hold"
//! by = ["engineers-destroy-with-approval"]
//! ```
//!
//! For an HTTP service it names the service's dialect in the place of a catalog, or the description of its paths, and its tests have requests,
//! or calls of tools:
//!
//! ```toml
//! dialect = "openai"
//! openapi = "model.yaml"
//!
//! [[tests]]
//! who = "assistant"
//! request = "POST /v1/chat/completions"
//! content = { model = "gpt-4o", messages = [] }
//! expect = "permit"
//!
//! [[tests]]
//! who = "assistant"
//! call = "transfer_money"
//! expect = "deny"
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use claviger_dialects::{Call, Dialect, Request, Templates};
use claviger_model::{ConnectionName, Mode, Timestamp};
use claviger_policy::{Context, Grants, Lately, Moment, Party, PolicySet, Scope};
use claviger_protocols::http::METHODS;
use claviger_session::Connection;
use claviger_sql::{Catalog, Classification, Classified, Session};
use serde::{Deserialize, Serialize};

use super::judged::{Outcome, judge, judge_request};
use super::people::{People, Person};
use super::{PoliciesArgs, catalog, read};
use crate::cli::Failure;
use crate::cli::output::Output;
use crate::config::{Config, openapi};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Files with tests; the `*.test.toml` beside the policies if absent
    files: Vec<PathBuf>,
    #[command(flatten)]
    policies: PoliciesArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A file with tests.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The file with the catalog, relative to this one; else the connection of the configuration is asked for it.
    catalog: Option<PathBuf>,
    /// The dialect, if the connection is one to an HTTP service.
    dialect: Option<String>,
    /// The description of that service, relative to this file; else what the configuration says of the connection's paths.
    openapi: Option<PathBuf>,
    /// The connection's name.
    #[serde(default = "bank")]
    connection: ConnectionName,
    /// The connection's labels; those of the configuration if absent.
    labels: Option<Vec<Arc<str>>>,
    /// The labels of tables and columns in a catalog that comes out of a file.
    #[serde(default)]
    classify: BTreeMap<String, Vec<Arc<str>>>,
    /// Who may be named in tests.
    #[serde(default)]
    principals: BTreeMap<String, Person>,
    tests: Vec<Test>,
}

fn bank() -> ConnectionName {
    #[allow(clippy::expect_used)] // INVARIANT: a constant that is a name.
    "bank".parse().expect("a name")
}

/// One row of the table.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    /// A chain, `assistant for alice`.
    who: String,
    /// A SQL text;
    sql: Option<String>,
    /// or an HTTP request: its method and its target, `POST /v1/chat/completions`;
    request: Option<String>,
    /// its content, which is sent as JSON;
    content: Option<serde_json::Value>,
    /// or a model's call of a tool, by its name.
    call: Option<Arc<str>>,
    expect: Verdict,
    /// The ids of the policies that determine it; not looked at if absent.
    by: Option<BTreeSet<Arc<str>>>,
    /// Groups that have approved it.
    #[serde(default)]
    approvals: BTreeSet<Arc<str>>,
    /// Whether a grant for everything is in force.
    #[serde(default)]
    granted: bool,
    /// The labels of what the chain has seen lately, and how much of its budgets it has used, in hundredths.
    #[serde(default)]
    seen: BTreeSet<Arc<str>>,
    #[serde(default)]
    budget_used: u32,
    /// Labels of the connection, instead of the file's.
    labels: Option<Vec<Arc<str>>>,
    /// The time, in seconds since 1970 in UTC; a Monday at noon if absent.
    at: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Permit,
    Deny,
    Hold,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
            Self::Hold => "hold",
        }
    }
}

/// A Monday at noon in UTC.
const MONDAY: Timestamp = Timestamp::from_secs(1_795_435_200);

/// What came of one test.
#[derive(Debug, Serialize)]
struct Ran {
    file: String,
    /// Which of the file's; counts from 1.
    test: usize,
    who: String,
    /// What was asked for: a SQL text, a request, or a call of a tool.
    asked: String,
    expected: String,
    got: String,
    passed: bool,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<(), Failure> {
    let dir = args.policies.dir()?;
    let policies = args.policies.load()?;
    let files = if args.files.is_empty() { beside(&dir)? } else { args.files.clone() };
    let mut ran = Vec::new();
    for file in &files {
        ran.extend(run_file(file, &policies, args.policies.config()?)?);
    }
    let failed: Vec<&Ran> = ran.iter().filter(|one| !one.passed).collect();
    if args.json {
        output.json(&ran)?;
    } else {
        for Ran { file, test, who, asked, expected, got, .. } in &failed {
            output.line(format_args!("{file}: test {test}: {who}: {asked}\n  expected {expected}\n  got      {got}"))?;
        }
        output.line(format_args!("{} files, {} tests, {} failed", files.len(), ran.len(), failed.len()))?;
    }
    match failed.len() {
        0 => Ok(()),
        failed => Err(Failure::Failed(anyhow!("{failed} of {} tests failed", ran.len()))),
    }
}

/// The files with tests in a directory.
fn beside(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".test.toml")) {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Failure::Usage(format!("{}: there is no `*.test.toml`", dir.display())));
    }
    Ok(files)
}

fn run_file(path: &Path, policies: &PolicySet, config: Option<Config>) -> Result<Vec<Ran>, Failure> {
    let shown = path.display().to_string();
    let file: File = toml::from_str(&read(path)?).map_err(|error| Failure::Usage(format!("{shown}: {error}")))?;
    let configured =
        config.as_ref().and_then(|config| config.connections.iter().find(|one| one.name == file.connection).cloned());
    let target = Target::of(path, &file, config.zip(configured.as_deref()))?;
    let labels = match (&file.labels, &configured) {
        (Some(labels), _) => labels.clone(),
        (None, Some(connection)) => connection.labels.clone(),
        (None, None) => Vec::new(),
    };
    let mut people = People::default();
    file.principals.iter().for_each(|(name, person)| people.add(name, person.clone()));
    let run = |(n, test): (usize, &Test)| {
        let asked = test.asked().ok_or_else(|| {
            Failure::Usage(format!(
                "{shown}: test {}: one of `sql`, `request` and `call`, and `content` with `request` only",
                n + 1
            ))
        })?;
        let (expected, got) = run_test((test, &asked), (&file.connection, &labels), &people, policies, &target)?;
        let passed = expected == got;
        Ok(Ran { file: shown.clone(), test: n + 1, who: test.who.clone(), asked: asked.to_string(), expected, got, passed })
    };
    file.tests.iter().enumerate().map(run).collect()
}

/// What the tests of a file are meant for.
enum Target {
    Database(Box<Catalog>),
    Service(Dialect, Option<Arc<Templates>>),
}

impl Target {
    fn of(path: &Path, file: &File, configured: Option<(Config, &Connection)>) -> Result<Self, Failure> {
        let shown = path.display();
        if file.dialect.is_some() || file.openapi.is_some() {
            let word = file.dialect.as_deref().unwrap_or("plain");
            let known = Dialect::WORDS.iter().find(|(known, _)| *known == word);
            let (_, dialect) = known.ok_or_else(|| Failure::Usage(format!("{shown}: there is no dialect `{word}`")))?;
            let described = file.openapi.as_ref().map(|file| described(&path.with_file_name(file))).transpose()?;
            let configured = || configured.and_then(|(_, connection)| connection.contents.templates.clone());
            return Ok(Self::Service(*dialect, described.or_else(configured)));
        }
        let catalog = match &file.catalog {
            Some(catalog) => {
                let classes = classification(file, &shown.to_string())?;
                catalog::of_file(&path.parent().unwrap_or(Path::new("")).join(catalog), &classes)?
            }
            None => catalog::of(None, configured)?,
        };
        match catalog.unmatched() {
            [first, ..] => Err(Failure::Usage(format!("{shown}: `classify`: there is no `{first}` in the catalog"))),
            [] => Ok(Self::Database(catalog.into())),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Database(_) => "postgres",
            Self::Service(..) => "http",
        }
    }

    /// Judges what is asked for; `None` if it is nothing that this can be asked for.
    fn judge(&self, policies: &PolicySet, party: &Party, asked: &Asked<'_>, moment: &Moment<'_>) -> Option<Outcome> {
        match (self, asked) {
            (Self::Database(catalog), Asked::Sql(text)) => {
                let session = Session { path: catalog.path().to_vec(), ..Session::default() };
                Some(judge(policies, party, (catalog, &session), text, moment).outcome)
            }
            (Self::Service(dialect, templates), Asked::Request { method, target, content }) => {
                let (path, query) = target.split_once('?').map_or((*target, None), |(path, query)| (path, Some(query)));
                let content_type = content.is_some().then_some("application/json");
                let content = content.map(ToString::to_string).unwrap_or_default();
                let request = Request { method, path, query, content_type, prompt: None, content: content.as_bytes() };
                Some(judge_request(policies, party, (*dialect, templates.as_deref()), &request, moment))
            }
            (Self::Service(..), Asked::Call(tool)) => Some(Outcome::asked(policies, party, vec![Call::meaning(tool)], moment)),
            _ => None,
        }
    }
}

/// What one test asks for.
enum Asked<'a> {
    Sql(&'a str),
    Request { method: &'static str, target: &'a str, content: Option<&'a serde_json::Value> },
    Call(&'a Arc<str>),
}

impl Test {
    /// `None` if it is not one thing, or no request.
    fn asked(&self) -> Option<Asked<'_>> {
        match (&self.sql, &self.request, &self.content, &self.call) {
            (Some(sql), None, None, None) => Some(Asked::Sql(sql)),
            (None, Some(request), content, None) => {
                let (method, target) = request.split_once(' ').filter(|(_, target)| target.starts_with('/'))?;
                let method = METHODS.iter().find(|known| **known == method)?;
                Some(Asked::Request { method, target, content: content.as_ref() })
            }
            (None, None, None, Some(tool)) => Some(Asked::Call(tool)),
            _ => None,
        }
    }
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql(text) => f.write_str(text),
            Self::Request { method, target, content: None } => write!(f, "{method} {target}"),
            Self::Request { method, target, content: Some(content) } => write!(f, "{method} {target} {content}"),
            Self::Call(tool) => write!(f, "call of {tool}"),
        }
    }
}

fn described(file: &Path) -> Result<Arc<Templates>, Failure> {
    let text = openapi::read(file);
    let templates = text.and_then(|text| openapi::templates(file, &text));
    templates.map(Arc::new).map_err(|error| Failure::Usage(error.to_string()))
}

fn classification(file: &File, shown: &str) -> Result<Classification, Failure> {
    let entry = |(name, labels): (&String, &Vec<Arc<str>>)| {
        let name = name.parse::<Classified>();
        name.map(|name| (name, labels.clone().into())).map_err(|error| Failure::Usage(format!("{shown}: `classify`: {error}")))
    };
    file.classify.iter().map(entry).collect()
}

/// What was expected and what came, in the same words.
fn run_test(
    (test, asked): (&Test, &Asked<'_>),
    (connection, labels): (&ConnectionName, &[Arc<str>]),
    people: &People,
    policies: &PolicySet,
    target: &Target,
) -> Result<(String, String), Failure> {
    let context = Context { client_address: IpAddr::from([127, 0, 0, 1]), application: None, tls: true, purpose: None };
    let labels = test.labels.as_deref().unwrap_or(labels);
    let party = Party::new(&people.chain(&test.who)?, connection, target.kind(), labels, Mode::Enforce, context);
    let now = test.at.map_or(MONDAY, Timestamp::from_secs);
    let scopes = test.granted.then(Arc::<Scope>::default);
    let grants = Grants { scopes: scopes.as_slice(), confined: false };
    let seen: Vec<Arc<str>> = test.seen.iter().cloned().collect();
    let lately = Lately { seen: &seen, budget_used: test.budget_used };
    let moment = Moment { now, approvals: &test.approvals, grants, lately };
    let judged = target.judge(policies, &party, asked, &moment);
    let judged = judged.ok_or_else(|| Failure::Usage(format!("`{asked}` is nothing for a `{}` connection", target.kind())))?;
    let by = |policies: Vec<&str>| if policies.is_empty() { String::new() } else { format!(" by {}", policies.join(", ")) };
    let (mut expected, mut got) = (test.expect.as_str().to_owned(), judged.verdict().to_owned());
    if let Some(policies) = &test.by {
        expected.push_str(&by(policies.iter().map(|id| &**id).collect()));
    }
    // Whoever looks at a verdict that he did not expect wants to know whose it is.
    if test.by.is_some() || expected != got {
        got.push_str(&by(judged.policies().iter().map(|id| &**id).collect()));
    }
    Ok((expected, got))
}
