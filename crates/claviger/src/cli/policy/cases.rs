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

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use claviger_model::{ConnectionName, Mode, Timestamp};
use claviger_policy::{Context, Grants, Moment, Party, PolicySet, Scope};
use claviger_sql::{Catalog, Classification, Classified, Session};
use serde::{Deserialize, Serialize};

use super::judged::judge;
use super::people::{People, Person};
use super::{PoliciesArgs, catalog, read};
use crate::cli::Failure;
use crate::cli::output::Output;
use crate::config::Config;

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
    sql: String,
    expect: Verdict,
    /// The ids of the policies that determine it; not looked at if absent.
    by: Option<BTreeSet<Arc<str>>>,
    /// Groups that have approved it.
    #[serde(default)]
    approvals: BTreeSet<Arc<str>>,
    /// Whether a grant for everything is in force.
    #[serde(default)]
    granted: bool,
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
    sql: String,
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
        for Ran { file, test, who, sql, expected, got, .. } in &failed {
            output.line(format_args!("{file}: test {test}: {who}: {sql}\n  expected {expected}\n  got      {got}"))?;
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
    let catalog = match &file.catalog {
        Some(catalog) => {
            let classes = classification(&file, &shown)?;
            catalog::of_file(&path.parent().unwrap_or(Path::new("")).join(catalog), &classes)?
        }
        None => catalog::of(None, config.zip(configured.as_deref()))?,
    };
    let labels = match (&file.labels, &configured) {
        (Some(labels), _) => labels.clone(),
        (None, Some(connection)) => connection.labels.clone(),
        (None, None) => Vec::new(),
    };
    if let [first, ..] = catalog.unmatched() {
        return Err(Failure::Usage(format!("{shown}: `classify`: there is no `{first}` in the catalog")));
    }
    let mut people = People::default();
    file.principals.iter().for_each(|(name, person)| people.add(name, person.clone()));
    let run = |(n, test): (usize, &Test)| {
        run_test(test, (&file.connection, &labels), &people, policies, &catalog).map(|(expected, got)| Ran {
            file: shown.clone(),
            test: n + 1,
            who: test.who.clone(),
            sql: test.sql.clone(),
            passed: expected == got,
            expected,
            got,
        })
    };
    file.tests.iter().enumerate().map(run).collect()
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
    test: &Test,
    (connection, labels): (&ConnectionName, &[Arc<str>]),
    people: &People,
    policies: &PolicySet,
    catalog: &Catalog,
) -> Result<(String, String), Failure> {
    let context = Context { client_address: IpAddr::from([127, 0, 0, 1]), application: None, tls: true, purpose: None };
    let labels = test.labels.as_deref().unwrap_or(labels);
    let party = Party::new(&people.chain(&test.who)?, connection, "postgres", labels, Mode::Enforce, context);
    let session = Session { path: catalog.path().to_vec(), ..Session::default() };
    let now = test.at.map_or(MONDAY, Timestamp::from_secs);
    let scopes = test.granted.then(Arc::<Scope>::default);
    let grants = Grants { scopes: scopes.as_slice(), confined: false };
    let moment = Moment { now, approvals: &test.approvals, grants };
    let judged = judge(policies, &party, (catalog, &session), &test.sql, &moment);
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
