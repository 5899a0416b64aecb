//! `claviger webhooks`

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use claviger_store::Store;
use serde::Serialize;

use super::output::{Output, or_dash};
use super::{ConfigArgs, Failure};
use crate::config::{Config, LOCAL_ISSUER};
use crate::serve::now;
use crate::webhooks::try_out;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the webhooks, and how much each is still to be told
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Send a message of no consequence, `webhook.test`, and say what its receiver answers
    Test {
        /// The webhook
        name: String,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

/// A webhook, without its address.
#[derive(Serialize)]
struct Listed {
    name: String,
    events: Vec<&'static str>,
    waiting: u64,
    oldest: Option<String>,
}

pub(super) fn run(command: Command, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::List { json, config } => list(&Config::load(&config.config)?, json, output),
        Command::Test { name, config } => {
            let config = Config::load(&config.config)?;
            let webhook = config.webhooks.iter().find(|webhook| *webhook.name == *name);
            let webhook = webhook.ok_or_else(|| Failure::Usage(format!("there is no webhook `{name}`")))?;
            try_out(webhook, &format!("msg_test{}", now().as_micros()))
                .map_err(|why| anyhow!("`{name}` has not taken the message: {why}"))?;
            output.line(format_args!("`{name}` has taken the message"))
        }
    }
}

fn list(config: &Config, json: bool, output: &mut Output) -> Result<(), Failure> {
    let store = Store::open(&config.data, LOCAL_ISSUER).with_context(|| config.data.display().to_string())?;
    let waiting = store.messages_waiting().context("the outbox cannot be read")?;
    let listed = config.webhooks.iter().map(|webhook| {
        let waiting = waiting.iter().find(|waiting| waiting.webhook == webhook.name);
        Listed {
            name: webhook.name.to_string(),
            events: webhook.events.clone(),
            waiting: waiting.map_or(0, |waiting| waiting.messages),
            oldest: waiting.map(|waiting| waiting.oldest.to_string()),
        }
    });
    let listed: Vec<_> = listed.collect();
    output.list(json, &listed, ["NAME", "WAITING", "OLDEST", "EVENTS"], |webhook| {
        [webhook.name.clone(), webhook.waiting.to_string(), or_dash(webhook.oldest.as_deref()), webhook.events.join(" ")]
    })
}
