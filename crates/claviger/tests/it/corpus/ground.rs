//! What cases are played on: a fresh server with the corpus's database, which every case finds as it was, and gateways before it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{Conn, Gateway, Major, Server, files, open_to_all, skip, startup_packet, text};

use super::cases::Case;
use super::player::{Message, Player};

/// The database that a fixture is for.
const DATABASE: &str = "bypass";

/// The gateway knows of a change that it did not see within a second.
const CATALOG_AGE: Duration = Duration::from_millis(1500);

/// A corpus asks for more approvals than one client should.
const APPROVALS: &str = "[approvals]\npending = 1000000\npending_per_principal = 1000000\n";

/// A digest of the rows of every table, the server's own among them, and their number.
pub(super) type Snapshot = BTreeMap<String, (String, String)>;

/// Tables that are otherwise than at the beginning, with the number of rows then and now.
pub(super) type Changes = BTreeMap<String, (String, String)>;

/// Where a file finds what it needs.
pub(super) struct Place {
    pub(super) fixture: PathBuf,
    pub(super) policies: String,
    pub(super) classification: String,
    pub(super) major: Major,
}

/// A server, a gateway, and the state that cases begin with.
pub(super) struct Ground {
    server: Server,
    gateway: Gateway,
    token: String,
    pristine: Snapshot,
    /// A directory that the server may write.
    scratch: tempfile::TempDir,
}

impl Ground {
    /// A fresh server and a fresh gateway; `None`, loudly, if there is no such server.
    pub(super) async fn new(place: &Place) -> Option<Self> {
        let scratch = tempfile::Builder::new().prefix("claviger-corpus").tempdir().unwrap();
        open_to_all(scratch.path());
        let writable = scratch.path().join("tmp");
        fs::create_dir(&writable).unwrap();
        fs::set_permissions(&writable, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let server = start(place.major, &trusting(scratch.path()))?;
        load(&server, &place.fixture).await;
        let mut gateway = Gateway::configure(
            &ROLES.map(|(name, role)| conn(&server, name, role, &place.classification)),
            &place.policies,
            APPROVALS,
        );
        gateway.add(&["user", "sponsor"]);
        gateway.add(&["workload", "agent", "--group", "agents", "--sponsor", "sponsor"]);
        gateway.start();
        let token = gateway.token(&["agent", "--ttl", "12h"]);
        let pristine = snapshot(&server).await;
        Some(Self { server, gateway, token, pristine, scratch })
    }

    /// A client's session as one of the roles that cases name.
    pub(super) fn enter(&self, role: &str) -> Player {
        let (connection, _) = ROLES.iter().find(|(name, _)| *name == role).unwrap_or_else(|| panic!("there is no role {role}"));
        Player::enter(self.gateway.raw(connection), "agent", connection, &self.token)
    }

    /// A session straight on the server.
    pub(super) fn direct(&self, role: &str) -> Player {
        let (_, role) = ROLES.iter().find(|(name, _)| *name == role).unwrap_or_else(|| panic!("there is no role {role}"));
        Player::direct(self.server.port, role, DATABASE)
    }

    /// Does what a case needs done before, outside the gateway, and gives the gateway the time to hear of it; what that has changed.
    pub(super) async fn set_up(&self, case: &Case) -> Changes {
        if case.setup.is_empty() {
            return Changes::new();
        }
        let admin = self.server.admin(DATABASE).await;
        for statement in &case.setup {
            admin.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {}", text(&error)));
        }
        tokio::time::sleep(CATALOG_AGE).await;
        self.changes().await
    }

    /// What the gateway decided lately, in order, by the leaves of requests beyond so many: `permit`, `deny`, or `hold` if an approval
    /// would lift the denial.
    pub(super) fn verdicts(&self, beyond: usize) -> Vec<String> {
        let verdict = |decision: &serde_json::Value| match decision["approvals"].as_array() {
            Some(groups) if !groups.is_empty() => "hold".to_owned(),
            _ => decision["verdict"].as_str().unwrap_or("none").to_owned(),
        };
        self.requests()
            .skip(beyond)
            .map(|leaf| verdict(&serde_json::from_str::<serde_json::Value>(&leaf).unwrap()["decision"]))
            .collect()
    }

    /// How many requests the gateway has decided.
    pub(super) fn decided(&self) -> usize {
        self.requests().count()
    }

    fn requests(&self) -> impl Iterator<Item = String> {
        let logs = files(&self.gateway.path("data")).into_iter().filter(|path| path.extension().is_some_and(|of| of == "jsonl"));
        let lines = logs.flat_map(|path| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>());
        lines.filter(|line| line.contains("\"type\":\"REQUEST\""))
    }

    /// How long the server's log is.
    pub(super) fn logged(&self) -> usize {
        self.server.log().len()
    }

    /// Whether the server has been given this text to do since its log was so long. To prepare it, too, unless it may be prepared; not to
    /// plan it, which reviewers are told of and which does nothing.
    pub(super) fn reached(&self, since: usize, text: &str, may_be_prepared: bool) -> bool {
        let log = squeezed(self.server.log().get(since..).unwrap_or_default());
        let text = squeezed(text);
        let prepared = |before: &str| may_be_prepared && before.ends_with(" parse <unnamed>: ");
        let planned = |before: &str| before.ends_with("EXPLAIN (FORMAT JSON) ");
        log.match_indices(&text).any(|(at, _)| !prepared(&log[..at]) && !planned(&log[..at]))
    }

    /// How much the server has written of what it has changed, and where its sequences are, of which it writes ahead.
    pub(super) async fn written(&self) -> String {
        let query = "select concat_ws(' ', pg_current_wal_insert_lsn(),
            (select string_agg(concat_ws('=', schemaname, sequencename, last_value), ' ') from pg_sequences))";
        self.value(query).await
    }

    /// What the database has become since the server had written so much. A server that has written nothing has changed nothing.
    pub(super) async fn changes_since(&self, written: &str) -> Changes {
        if self.written().await == written { Changes::new() } else { self.changes().await }
    }

    /// What the database has become.
    async fn changes(&self) -> Changes {
        let now = snapshot(&self.server).await;
        let names = self.pristine.keys().chain(now.keys());
        let count = |of: &Snapshot, name: &String| of.get(name).map_or("none".to_owned(), |(_, count)| count.clone());
        names
            .filter(|name| self.pristine.get(*name) != now.get(*name))
            .map(|name| (name.clone(), (count(&self.pristine, name), count(&now, name))))
            .collect()
    }

    /// Makes the database what it was, unless it is. False if that did not suffice: the cluster itself has been changed.
    pub(super) async fn restore(&mut self) -> bool {
        if self.changes().await.is_empty() {
            return true;
        }
        let admin = self.server.admin("postgres").await;
        for statement in [format!("drop database if exists {DATABASE} with (force)"), copy_of_template()] {
            if admin.batch_execute(&statement).await.is_err() {
                return false;
            }
        }
        self.changes().await.is_empty()
    }

    /// The only value that a query finds.
    pub(super) async fn value(&self, query: &str) -> String {
        self.server.value(DATABASE, query).await
    }

    /// A text with the places that only this ground knows.
    pub(super) fn place(&self, text: &str) -> String {
        let scratch = self.scratch.path().join("tmp").display().to_string();
        text.replace("@TMP@", &scratch).replace("@PORT@", &self.server.port.to_string())
    }

    /// Whether a replication command gets anything but a refusal; what it was told.
    pub(super) fn replicate(&self, role: &str, command: &str) -> Vec<Message> {
        let (connection, _) = ROLES.iter().find(|(name, _)| *name == role).unwrap();
        let mut raw = self.gateway.raw(connection);
        let startup = startup_packet(&[("user", "agent"), ("database", connection), ("replication", "true")]);
        match raw.enter(&startup, &self.token) {
            Err(error) => vec![error],
            Ok(_) => raw.query(command),
        }
    }
}

/// Connections, each for a role that cases name, and that role's name on the server.
const ROLES: [(&str, &str); 4] = [("superuser", "postgres"), ("agent", "agent"), ("owner", "app"), ("repl", "repl")];

fn conn(server: &Server, name: &str, role: &str, classification: &str) -> Conn {
    Conn::to(name, server).database(DATABASE).user(role).set(classification)
}

/// The setting with which a server trusts everybody, as whatever role: those of fixtures have no passwords.
pub(crate) fn trusting(dir: &Path) -> String {
    let file = dir.join("hba");
    fs::write(&file, "host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n").unwrap();
    format!("hba_file={}", file.display())
}

fn start(major: Major, trusting: &str) -> Option<Server> {
    let mut settings = vec![
        trusting,
        "log_statement=all",
        "log_min_duration_statement=0",
        "autovacuum=off",
        "wal_level=logical",
        "max_wal_senders=4",
        "max_prepared_transactions=4",
    ];
    let library = major.programs()?.join("../lib");
    let has_statistics = [library.as_path(), Path::new("/usr/lib/postgresql")]
        .iter()
        .flat_map(|dir| files(dir))
        .any(|file| file.ends_with("pg_stat_statements.so"));
    match has_statistics {
        true => settings.push("shared_preload_libraries=pg_stat_statements"),
        false => skip("this server has no pg_stat_statements"),
    }
    Server::start(major, &settings)
}

/// Makes the template that every case's database is a copy of.
async fn load(server: &Server, fixture: &Path) {
    let text = fs::read_to_string(fixture).unwrap_or_else(|error| panic!("{}: {error}", fixture.display()));
    let admin = server.admin("postgres").await;
    admin.batch_execute(&format!("create database {DATABASE}_template")).await.unwrap();
    let database = server.admin(&format!("{DATABASE}_template")).await;
    database.batch_execute(&text).await.unwrap_or_else(|error| panic!("{}: {error}", fixture.display()));
    drop(database);
    // The session is on its way out.
    admin.batch_execute(&format!("alter database {DATABASE}_template with allow_connections false")).await.unwrap();
    admin
        .batch_execute(&format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{DATABASE}_template'"))
        .await
        .unwrap();
    admin.batch_execute(&copy_of_template()).await.unwrap();
}

fn copy_of_template() -> String {
    format!("create database {DATABASE} template {DATABASE}_template")
}

async fn snapshot(server: &Server) -> Snapshot {
    let query = server.value(DATABASE, include_str!("snapshot.sql")).await;
    let rows = server.ask(DATABASE, &query).await;
    rows.into_iter()
        .map(|row| {
            let mut cells = row.into_iter().map(Option::unwrap_or_default);
            (cells.next().unwrap(), (cells.next().unwrap(), cells.next().unwrap()))
        })
        .collect()
}

/// With every stretch of white space as one space: the server indents what it logs.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
