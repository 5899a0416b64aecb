//! `claviger mask scan`: which columns of a database look regulated, by their names and samples of their values.
//!
//! Values are looked at here and go nowhere: what is printed are names and counts.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use claviger_mask::detect::{Confidence, DetectorConfig, Detectors, Entity, EntitySet, Ground, Proposal, Survey};
use claviger_model::ConnectionName;
use claviger_session::Connection;
use claviger_sql::{Catalog, Relation};
use serde::Serialize;

use super::sample::{READABLE, SETTINGS, Sampled, columns, is_sampled, question};
use crate::cli::Failure;
use crate::cli::output::{Output, complain};
use crate::cli::upstream::{self, Row, Upstream};
use crate::config::Config;

/// How long one question may take; the server is told to give up before.
const WITHIN: Duration = Duration::from_secs(30);
/// The most rows of a table that are looked at.
const MOST_ROWS: usize = 100_000;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The connection whose database is looked at
    connection: ConnectionName,
    /// How many rows of each table are looked at
    #[arg(long, value_name = "ROWS", default_value_t = 1000)]
    sample: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The configuration directory of the gateway, on its own machine
    #[arg(long, value_name = "DIR", env = "CLAVIGER_CONFIG")]
    config: PathBuf,
}

/// A column that looks regulated.
#[derive(Debug, Serialize)]
struct Found {
    /// As `classify` takes it.
    column: String,
    detector: String,
    label: String,
    /// How many values are it, or have it in them.
    matched: u64,
    /// Of how many that were looked at, not counting NULL and empty ones.
    values: u64,
    /// `matched` of `values`.
    share: f64,
    confidence: &'static str,
    why: &'static str,
}

/// What was looked at, and what was not.
#[derive(Debug, Default, Serialize)]
struct Report {
    proposals: Vec<Found>,
    /// What a label is proposed for, as `classify` takes it.
    classify: BTreeMap<String, Vec<String>>,
    tables: usize,
    columns: usize,
    /// Columns that have labels already.
    labelled: usize,
    /// Tables and columns that could not be read, and why.
    unread: BTreeMap<String, String>,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<(), Failure> {
    if !(1..=MOST_ROWS).contains(&args.sample) {
        return Err(Failure::Usage(format!("--sample must be 1 to {MOST_ROWS}")));
    }
    let config = Config::load(&args.config)?;
    let connection = upstream::connection(&config, &args.connection)?;
    let detectors = detectors(&connection)?;
    let mut upstream = Upstream::open(config, &connection, "mask.scan")?.with(SETTINGS, WITHIN);
    let catalog = upstream.catalog()?;
    let readable = readable(&upstream.ask(READABLE)?).ok_or_else(|| anyhow!("the upstream's answer is not one"))?;
    let scan = Scan { detectors, catalog, readable, rows: args.sample };
    let report = scan.all(&mut upstream);
    if args.json {
        return output.json(&report);
    }
    print(&report, &connection, output)
}

/// All of them but those of what anybody may know, and the connection's own patterns and terms.
fn detectors(connection: &Connection) -> Result<Detectors, Failure> {
    let mut on = EntitySet::ALL;
    on.remove(Entity::Url);
    let own = connection.detect.as_ref().map(|detecting| detecting.config().clone()).unwrap_or_default();
    Detectors::new(&DetectorConfig { on, styles: Vec::new(), ..own }).map_err(|error| Failure::Usage(error.to_string()))
}

/// The answer to [`READABLE`].
pub(super) fn readable(rows: &[Row]) -> Option<HashSet<(u32, i16)>> {
    fn number<T: std::str::FromStr>(value: Option<&Option<bytes::Bytes>>) -> Option<T> {
        std::str::from_utf8(value?.as_ref()?).ok()?.parse().ok()
    }
    rows.iter().map(|row| Some((number(row.first())?, number(row.get(1))?))).collect()
}

struct Scan {
    detectors: Detectors,
    catalog: Catalog,
    readable: HashSet<(u32, i16)>,
    rows: usize,
}

impl Scan {
    fn all(&self, upstream: &mut Upstream<'_>) -> Report {
        let mut report = Report::default();
        let (pointers, shown) = (self.pointers(), self.shown());
        let mut relations: Vec<&Arc<Relation>> = self.catalog.relations().filter(|one| is_sampled(one)).collect();
        relations.sort_by_key(|relation| (&relation.table.schema, &relation.table.name));
        for relation in relations {
            report.labelled += relation.columns.iter().filter(|facts| !facts.column.labels.is_empty()).count();
            let columns = columns(&self.catalog, relation, &pointers).into_iter();
            let id = relation.table.id;
            let (columns, hidden): (Vec<_>, Vec<_>) = columns
                .filter(|column| !shown.contains(&(id, &column.facts.column.name)))
                .partition(|column| self.readable.contains(&(id, column.facts.column.number)));
            for column in &hidden {
                let why = "the connection's role may not read it".to_owned();
                report.unread.insert(name(relation, Some(&column.facts.column.name)), why);
            }
            if columns.is_empty() {
                continue;
            }
            match self.table(upstream, relation, &columns) {
                Ok(found) => {
                    report.tables += 1;
                    report.columns += columns.len();
                    for one in found {
                        if one.is_proposed() {
                            report.classify.entry(one.column.clone()).or_default().push(one.label.clone());
                        }
                        report.proposals.push(one);
                    }
                }
                Err(failure) => _ = report.unread.insert(name(relation, None), failure.to_string()),
            }
        }
        report.classify.values_mut().for_each(|labels| {
            labels.sort();
            labels.dedup();
        });
        report
    }

    /// Columns that point at rows of other tables.
    fn pointers(&self) -> HashSet<(u32, i16)> {
        let references = self.catalog.relations().flat_map(|relation| &relation.references);
        references.flat_map(|one| one.columns.iter().map(|column| (one.from, *column))).collect()
    }

    /// Columns that are seen in another table, whose labels they get: those of partitions, and what children inherit.
    fn shown(&self) -> HashSet<(u32, &str)> {
        let parents =
            self.catalog.relations().flat_map(|parent| parent.children.iter().map(move |child| (parent, child.relation)));
        parents.flat_map(|(parent, child)| parent.columns.iter().map(move |facts| (child, &*facts.column.name))).collect()
    }

    fn table(&self, upstream: &mut Upstream<'_>, relation: &Relation, columns: &[Sampled<'_>]) -> Result<Vec<Found>, Failure> {
        let facts: Vec<_> = columns.iter().map(|column| column.facts).collect();
        let drawn = question(relation, &facts, self.rows);
        let mut rows = upstream.ask(&drawn)?;
        let first = question(&Relation { rows: 0.0, ..relation.clone() }, &facts, self.rows);
        if drawn != first && rows.len() * 4 < self.rows {
            // The server's count was old, or where rows have gone the pages that were drawn are empty.
            let others = upstream.ask(&first)?;
            rows = if others.len() > rows.len() { others } else { rows };
        }
        let mut found = Vec::new();
        for (place, column) in columns.iter().enumerate() {
            let called = &column.facts.column.name;
            let mut survey = Survey::new(&self.detectors, called, column.reading, column.points);
            rows.iter().filter_map(|row| row.get(place)?.as_ref()).for_each(|value| survey.add(value));
            let proposals = survey.proposals();
            found.extend(proposals.iter().map(|one| self.found(name(relation, Some(called)), one, survey.values())));
        }
        Ok(found)
    }

    #[allow(clippy::cast_precision_loss)]
    fn found(&self, column: String, proposal: &Proposal, values: u64) -> Found {
        let share = proposal.matched as f64 / values.max(1) as f64;
        Found {
            column,
            detector: self.detectors.name(proposal.entity).to_owned(),
            label: self.label(proposal.entity),
            matched: proposal.matched,
            values,
            share: (share * 1000.0).round() / 1000.0,
            confidence: match proposal.confidence {
                Confidence::High => "high",
                Confidence::Medium => "medium",
                Confidence::Low => "low",
            },
            why: match proposal.ground {
                Ground::Values => "values",
                Ground::Within => "inside of values",
                Ground::Name => "name only",
                Ground::NameAgainstValues => "name only, values differ",
            },
        }
    }

    /// The label that is proposed: that of the demo, where it has one.
    fn label(&self, entity: Entity) -> String {
        let label = match entity {
            Entity::CreditCard => "pci.card",
            Entity::Iban | Entity::BankAccount => "pci.account",
            Entity::AbaRouting => "pci.routing",
            Entity::Email | Entity::Phone => "pii.contact",
            Entity::IpAddress | Entity::MacAddress => "pii.device",
            Entity::DateOfBirth => "pii.birth",
            Entity::Npi | Entity::Dea | Entity::Mbi | Entity::Nhs => return format!("phi.{entity}"),
            Entity::UrlCredentials | Entity::Jwt | Entity::PrivateKey | Entity::CloudKey => return format!("secret.{entity}"),
            _ => return format!("pii.{}", self.detectors.name(entity)),
        };
        label.to_owned()
    }
}

impl Found {
    fn is_proposed(&self) -> bool {
        self.confidence != "low"
    }
}

/// The name of a table or a column, as `classify` takes it.
fn name(relation: &Relation, column: Option<&str>) -> String {
    let parts = [Some(&*relation.table.schema), Some(&*relation.table.name), column];
    let part = |part: &str| {
        let plain = part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        if plain && !part.is_empty() { part.to_owned() } else { super::sample::quoted(part) }
    };
    parts.into_iter().flatten().map(part).collect::<Vec<_>>().join(".")
}

fn print(report: &Report, connection: &Connection, output: &mut Output) -> Result<(), Failure> {
    for (name, why) in &report.unread {
        complain(format_args!("{} was not looked at: {why}", name.escape_debug()));
    }
    output.line(format_args!(
        "{}: {} columns of {} tables looked at, {} labelled already",
        connection.name, report.columns, report.tables, report.labelled
    ))?;
    if report.proposals.is_empty() {
        return output.line(format_args!("nothing in them looks regulated"));
    }
    output.line(format_args!(""))?;
    output.list(false, &report.proposals, ["COLUMN", "DETECTOR", "SHARE", "OF", "CONFIDENCE", "BY", "LABEL"], |one| {
        [
            one.column.clone(),
            one.detector.clone(),
            format!("{:.1}%", one.share * 100.0),
            one.values.to_string(),
            one.confidence.to_owned(),
            one.why.to_owned(),
            one.label.clone(),
        ]
    })?;
    output
        .line(format_args!("\n# For `claviger.toml`, below the entry of `{}`. What is not sure is left out.", connection.name))?;
    output.line(format_args!("[connections.classify]"))?;
    for (column, labels) in &report.classify {
        output.line(format_args!("{} = {}", toml(column), toml(labels)))?;
    }
    let mut unsure: BTreeMap<&str, (Vec<&str>, &str)> = BTreeMap::new();
    for one in report.proposals.iter().filter(|one| !report.classify.contains_key(&one.column)) {
        unsure.entry(&one.column).or_insert((Vec::new(), one.why)).0.push(&one.label);
    }
    for (column, (mut labels, why)) in unsure {
        labels.sort_unstable();
        labels.dedup();
        output.line(format_args!("# {} = {} # {why}", toml(column), toml(&labels)))?;
    }
    Ok(())
}

/// A value as TOML writes it.
fn toml(value: &(impl Serialize + ?Sized)) -> String {
    toml::Value::try_from(value).map(|value| value.to_string()).unwrap_or_default()
}
