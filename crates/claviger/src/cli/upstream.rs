//! A connection's upstream, asked from the command line with the connection's own credential.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use claviger_model::{ConnectionName, Refusal};
use claviger_protocols::postgres;
use claviger_proxy::{Asking, OWN_APPLICATION, Upstreams};
use claviger_session::Connection;
use claviger_sql::{Catalog, QUESTION};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::Failure;
use crate::admin::Admin;
use crate::config::Config;

/// A row of an answer, of columns as text.
pub(super) type Row = Vec<Option<Bytes>>;

/// Sessions on an upstream, one after the other: a session in which a question failed is left.
pub(super) struct Upstream<'c> {
    connection: &'c Connection,
    within: Duration,
    upstreams: Upstreams,
    /// What each session is asked first.
    settings: Option<&'static str>,
    asking: Option<Asking>,
    runtime: Runtime,
}

/// The connection of this name.
pub(super) fn connection(config: &Config, name: &ConnectionName) -> Result<Arc<Connection>, Failure> {
    let connection = config.connections.iter().find(|one| one.name == *name).cloned();
    connection.ok_or_else(|| Failure::Usage(format!("there is no connection `{name}`")))
}

impl<'c> Upstream<'c> {
    /// Nothing is asked yet, but noted for the log what it will be for.
    pub(super) fn open(config: Config, connection: &'c Connection, action: &str) -> Result<Self, Failure> {
        if connection.kind != postgres::ENTRY.kind {
            return Err(Failure::Usage(format!("`{}` is no database", connection.name)));
        }
        let within = config.limits.deadlines.login;
        Admin::on_this_machine(config)?.note_local(action, connection.name.as_str())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { connection, within, upstreams: Upstreams::default(), settings: None, asking: None, runtime })
    }

    /// Begins every session with this question, and gives each later one so much time.
    pub(super) fn with(mut self, settings: &'static str, within: Duration) -> Self {
        (self.settings, self.within) = (Some(settings), within);
        self
    }

    /// The answer to a question.
    pub(super) fn ask(&mut self, question: &str) -> Result<Vec<Row>, Failure> {
        let mut nonce = [0; 18];
        SystemRandom::new().fill(&mut nonce).map_err(|_| anyhow!("the system has no randomness"))?;
        let connection = self.connection;
        let login = |password| {
            connection.login(password, OWN_APPLICATION.to_owned(), Bytes::from_static(&[0; 4]), nonce, Default::default())
        };
        let (upstreams, settings, kept) = (&self.upstreams, self.settings, self.asking.take());
        let asked = async {
            let mut asking = match kept {
                Some(asking) => asking,
                None => {
                    let mut asking = Asking::open(upstreams, connection, login).await?;
                    if let Some(settings) = settings {
                        asking.ask(settings).await?;
                    }
                    asking
                }
            };
            let rows = asking.ask(question).await?;
            Ok((asking, rows))
        };
        let within = self.within;
        let asked: Result<Result<_, Refusal>, _> = self.runtime.block_on(async { timeout(within, asked).await });
        let failed = |why: String| Failure::Failed(anyhow!("{}: {why}", connection.name));
        match asked {
            Ok(Ok((asking, rows))) => {
                self.asking = Some(asking);
                Ok(rows)
            }
            Ok(Err(refusal)) => Err(failed(refusal.to_string())),
            Err(_) => Err(failed("the upstream took too long".to_owned())),
        }
    }

    /// The catalog, with the connection's labels.
    pub(super) fn catalog(&mut self) -> Result<Catalog, Failure> {
        Ok(self.whole_catalog()?.1)
    }

    /// Its rows, too. One of which others keep a part locked is none.
    pub(super) fn whole_catalog(&mut self) -> Result<(Vec<Row>, Catalog), Failure> {
        let (rows, name) = (self.ask(QUESTION)?, &self.connection.name);
        let catalog = Catalog::read(&rows, &self.connection.classification, None);
        let catalog = catalog.map_err(|error| Failure::Failed(anyhow!("{name}: {error}")))?;
        if catalog.is_partial() {
            return Err(Failure::Failed(anyhow!(
                "{name}: a part of the catalog cannot be read while somebody keeps it locked: try again"
            )));
        }
        Ok((rows, catalog))
    }
}

impl Drop for Upstream<'_> {
    fn drop(&mut self) {
        if let Some(asking) = self.asking.take() {
            let within = self.within;
            // However it ends, the socket is closed.
            _ = self.runtime.block_on(async { timeout(within, asking.close()).await });
        }
    }
}
