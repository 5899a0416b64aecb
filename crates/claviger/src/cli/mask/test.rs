//! `claviger mask test`

use std::io::{BufRead as _, Read as _};
use std::path::PathBuf;

use claviger_mask::detect::{Context, Counts, DetectorConfig, Detectors, EntitySet, Found};
use serde::Serialize;

use crate::cli::Failure;
use crate::cli::output::Output;
use crate::config::Config;

/// The longest text that is read.
const LONGEST: u64 = 64 << 20;

/// What to look at.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The text; `-` or none reads it from standard input
    text: Option<String>,
    /// The name of the column that it is in
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// A label of that column
    #[arg(long, value_name = "LABEL")]
    label: Vec<String>,
    /// Whether it is JSON, and has to stay so
    #[arg(long)]
    in_json: bool,
    /// Use the detectors of a connection of this configuration directory
    #[arg(long, value_name = "DIR", requires = "connection")]
    config: Option<PathBuf>,
    /// That connection
    #[arg(long, value_name = "NAME", requires = "config")]
    connection: Option<String>,
    /// Use all detectors, also those that are off by default
    #[arg(long, conflicts_with = "config")]
    all: bool,
    /// Each line of standard input is a text of its own, or a JSON string that holds one
    #[arg(long, conflicts_with = "text")]
    lines: bool,
    /// Print JSON: of each text one line, with places counted in characters
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<(), Failure> {
    match (&args.config, &args.connection) {
        (Some(dir), Some(name)) => {
            let config = Config::load(dir)?;
            let connection = config.connections.iter().find(|connection| connection.name.as_str() == name);
            let connection = connection.ok_or_else(|| Failure::Usage(format!("there is no connection `{name}`")))?;
            let detecting = connection.detect.as_ref();
            let detecting =
                detecting.ok_or_else(|| Failure::Usage(format!("nothing is searched for on `{name}`: see `detect`")))?;
            with(args, detecting.detectors(), output)
        }
        _ => {
            let on = if args.all { EntitySet::ALL } else { EntitySet::default() };
            let detectors = Detectors::new(&DetectorConfig { on, ..DetectorConfig::default() });
            with(args, &detectors.map_err(|error| Failure::Usage(error.to_string()))?, output)
        }
    }
}

fn with(args: &Args, detectors: &Detectors, output: &mut Output) -> Result<(), Failure> {
    let mut context = detectors.column(args.column.as_deref().unwrap_or_default(), args.label.iter().map(String::as_str));
    if args.in_json {
        context = context.json();
    }
    let tester = Tester { detectors, context, json: args.json };
    match args.text.as_deref() {
        Some(text) if text != "-" => tester.show(text, output),
        _ if args.lines => {
            for line in std::io::stdin().lock().take(LONGEST).lines() {
                let line = line?;
                tester.show(&serde_json::from_str::<String>(&line).unwrap_or(line), output)?;
            }
            Ok(())
        }
        _ => {
            let mut text = Vec::new();
            std::io::stdin().lock().take(LONGEST).read_to_end(&mut text)?;
            tester.show(&String::from_utf8_lossy(&text), output)
        }
    }
}

struct Tester<'d> {
    detectors: &'d Detectors,
    context: Context,
    json: bool,
}

/// A finding, in JSON.
#[derive(Serialize)]
struct Finding<'a> {
    entity: &'a str,
    /// In characters.
    start: usize,
    end: usize,
    score: u8,
    text: &'a str,
}

/// What became of a text, in JSON.
#[derive(Serialize)]
struct Shown<'a> {
    masked: &'a str,
    found: Vec<Finding<'a>>,
}

impl Tester<'_> {
    fn show(&self, text: &str, output: &mut Output) -> Result<(), Failure> {
        let mut found = Vec::new();
        self.detectors.scan(text.as_bytes(), self.context, &mut found);
        let masked = self.detectors.mask(text.as_bytes(), self.context, &mut Counts::default());
        let masked = String::from_utf8_lossy(&masked);
        let findings = self.findings(text, &found);
        if self.json {
            let line = serde_json::to_string(&Shown { masked: &masked, found: findings }).map_err(anyhow::Error::from)?;
            return output.line(format_args!("{line}"));
        }
        output.line(format_args!("{masked}"))?;
        if !findings.is_empty() {
            output.list(false, &findings, ["DETECTOR", "AT", "SCORE", "TEXT"], |found| {
                [
                    found.entity.to_owned(),
                    format!("{}-{}", found.start, found.end),
                    found.score.to_string(),
                    found.text.to_owned(),
                ]
            })?;
        }
        Ok(())
    }

    fn findings<'a>(&'a self, text: &'a str, found: &[Found]) -> Vec<Finding<'a>> {
        let (mut bytes, mut characters) = (0, 0);
        let mut count = |to: usize| {
            characters += text.get(bytes..to).map_or(0, |text| text.chars().count());
            bytes = to;
            characters
        };
        let finding = |found: &Found| Finding {
            entity: self.detectors.name(found.entity),
            start: count(found.span.start),
            end: count(found.span.end),
            score: found.score,
            text: text.get(found.span.clone()).unwrap_or_default(),
        };
        found.iter().map(finding).collect()
    }
}
