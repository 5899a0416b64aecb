//! Finding out what a statement would do, without doing it.
//!
//! A session of the gateway's own asks, in a transaction that only reads and is rolled back, with the search path and the role of the
//! session that waits. Before it asks about the statement it makes sure that the catalog is the one by which it was found that nothing
//! which somebody has written would run.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use claviger_model::{ApprovalId, Timestamp};
use claviger_protocols::Question;
use claviger_sql::{Affected, FINGERPRINT, LOCKS, Locks, Session, affected, expected_rows};

use super::view::{Asked, Locked};
use super::{Approval, Approvals, Rows, Subject, View};
use crate::{Answered, Asides, Gateway, Inquiry, Past, Turn, Unanswered};

/// How long the server may take for a plan, and wait for a lock.
const PLANNING: Limits = Limits { statement: Duration::from_secs(2), lock: Duration::from_millis(500) };
/// The same for a count.
const COUNTING: Limits = Limits { statement: Duration::from_secs(15), lock: Duration::from_secs(1) };
/// What is added to that for the way there and back.
const WAY: Duration = Duration::from_secs(5);

/// Why there is no number where there is no upstream to ask.
const NOBODY: &str = "no upstream can be asked about it";

#[derive(Clone, Copy)]
struct Limits {
    statement: Duration,
    lock: Duration,
}

impl Gateway {
    /// Has it found out what reviewers want to know of a request that was made; nobody waits for it.
    pub(super) fn look_into(&self, id: ApprovalId) {
        let Some(approval) = self.approvals.get(id).filter(|approval| approval.view.estimate.is_none()) else { return };
        let (Some(asides), Some(subject)) = (&self.services.asides, approval.view.subject) else {
            let unknown = Found::not(NOBODY).at(self.now());
            return self.approvals.tell(id, |view| view.estimate = Some(unknown));
        };
        let (approvals, clock) = (Arc::clone(&self.approvals), Arc::clone(&self.services.clock));
        let (asking, connection) = (Arc::clone(asides), Arc::clone(&subject.connection));
        let look = async move {
            // Its turn may come when it is over.
            if !approvals.is_open(id) {
                return;
            }
            let locks = locks(&asking, &subject, Turn::Behind).await;
            let estimate = estimate(&asking, &subject).await;
            let at = clock();
            approvals.tell(id, |view| {
                view.locks = Some(Locked { locks, at });
                view.estimate = Some(estimate.at(at));
            });
        };
        Arc::clone(asides).spawn(&connection, Box::pin(look));
    }

    /// What whoever asks has done lately, newest first.
    pub fn history_of(&self, approval: &Approval) -> Vec<Past> {
        self.history.of(&approval.asker.chain.actor().key)
    }

    /// Looks again what the transaction that waits holds.
    pub async fn look_at_locks(&self, id: ApprovalId) {
        let (Some(asides), Some(approval)) = (&self.services.asides, self.approvals.get(id)) else { return };
        let Some(subject) = approval.view.subject.filter(|_| approval.waits) else { return };
        let locks = locks(asides, &subject, Turn::Ahead).await;
        let at = self.now();
        self.approvals.tell(id, |view| view.locks = Some(Locked { locks, at }));
    }
}

impl Gateway {
    /// Has the rows of a request counted.
    pub(super) async fn count(&self, approval: &Approval) {
        let found = match (&self.services.asides, &approval.view.subject) {
            (Some(asides), Some(subject)) => count(asides, subject).await,
            _ => Found::not(NOBODY),
        };
        let at = self.now();
        self.approvals.tell(approval.id, |view| view.count = Some(found.at(at)));
    }
}

impl Approvals {
    fn is_open(&self, id: ApprovalId) -> bool {
        self.book().view(id).is_some()
    }

    /// Tells what was found out about a request.
    fn tell(&self, id: ApprovalId, tell: impl FnOnce(&mut View)) {
        if let Some(view) = self.book().view(id) {
            tell(view);
        }
    }
}

/// A number of rows, or why there is none, and what else is to be known about it.
struct Found(Result<u64, Arc<str>>, Vec<Arc<str>>);

impl Found {
    fn not(why: &str) -> Self {
        Self(Err(why.into()), Vec::new())
    }

    fn at(self, at: Timestamp) -> Rows {
        Rows { rows: self.0, notes: self.1, at }
    }
}

async fn locks(asides: &Arc<dyn Asides>, subject: &Subject, turn: Turn) -> Result<Locks, Arc<str>> {
    let process = Bytes::from(subject.process.to_string());
    let question = Question { parameters: vec![Some(process)], ..Question::from(LOCKS) };
    let within = PLANNING.statement + WAY;
    let inquiries = vec![session_limits(PLANNING).into(), question.into()];
    let (answers, asked) = Arc::clone(asides).ask(Arc::clone(&subject.connection), inquiries, turn, within).await;
    asked.map_err(|why| said(&why, PLANNING))?;
    let locks = answers.last().and_then(|rows| Locks::read(rows));
    locks.ok_or_else(|| "the upstream does not know its session".into())
}

/// How many rows the planner expects.
async fn estimate(asides: &Arc<dyn Asides>, subject: &Subject) -> Found {
    match look(asides, subject, Turn::Behind, PLANNING, |question| Ok(format!("EXPLAIN (FORMAT JSON) {}", question.query))).await
    {
        Ok((Looked::Listed(rows), notes)) => Found(Ok(rows), notes),
        Ok((Looked::Answer(rows), notes)) => {
            Found(expected_rows(&rows).ok_or_else(|| "the upstream's answer is none".into()), notes)
        }
        Err(why) => Found::not(&why),
    }
}

/// How many rows there are.
async fn count(asides: &Arc<dyn Asides>, subject: &Subject) -> Found {
    match look(asides, subject, Turn::Ahead, COUNTING, claviger_sql::Question::count).await {
        Ok((Looked::Listed(rows), notes)) => Found(Ok(rows), notes),
        Ok((Looked::Answer(rows), notes)) => {
            let number = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
            let number = number.and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
            Found(number.ok_or_else(|| "the upstream's answer is none".into()), notes)
        }
        Err(why) => Found::not(&why),
    }
}

/// What came of a look.
enum Looked {
    /// The text itself lists its rows.
    Listed(u64),
    /// The upstream has answered.
    Answer(Vec<Vec<Option<Bytes>>>),
}

/// Asks one question about the rows of a statement.
async fn look(
    asides: &Arc<dyn Asides>,
    subject: &Subject,
    turn: Turn,
    limits: Limits,
    put: impl FnOnce(&claviger_sql::Question) -> Result<String, claviger_sql::Untold>,
) -> Result<(Looked, Vec<Arc<str>>), Arc<str>> {
    let asked = subject.statement.as_ref().map_err(|why| Arc::from(*why))?;
    let snapshot = Arc::clone(&subject.keeper).fresh().await?;
    let told = |why: claviger_sql::Untold| Arc::<str>::from(why.to_string());
    let question = match affected(&asked.text, &snapshot.catalog, &asked.session).map_err(told)? {
        Affected::Listed(rows) => return Ok((Looked::Listed(rows), Vec::new())),
        Affected::Asked(question) => question,
    };
    let text = put(&question).map_err(told)?;
    let notes = question.at_most.map(|why| format!("at most: {why}").into()).into_iter().chain(asked.notes.iter().cloned());
    let asks = asked.question(text, |n| question.parameters.contains(&n));
    let inquiries = inquiries(asked, asks, snapshot.catalog.fingerprint(), limits);
    let within = limits.statement + WAY;
    let (mut answers, ended): Answered = Arc::clone(asides).ask(Arc::clone(&subject.connection), inquiries, turn, within).await;
    ended.map_err(|why| said(&why, limits))?;
    // The last is the end of the transaction.
    answers.pop();
    Ok((Looked::Answer(answers.pop().unwrap_or_default()), notes.collect()))
}

/// All that is asked to ask one thing.
fn inquiries(asked: &Asked, question: Question, fingerprint: &str, limits: Limits) -> Vec<Inquiry> {
    let same = Inquiry { question: FINGERPRINT.into(), expects: Some(Bytes::copy_from_slice(fingerprint.as_bytes())) };
    vec![
        "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY".into(),
        limits_of(limits, true).into(),
        same,
        set(asked).into(),
        standing(&asked.session).into(),
        question.into(),
        "ROLLBACK".into(),
    ]
}

/// What the client has set as its session began, but for how transactions are, and the encoding, which questions have of their own.
fn set(asked: &Asked) -> Question {
    let is_of_transactions = |name: &str| name.contains("transaction_") || name == "client_encoding";
    let settings: Vec<_> = asked.settings.iter().filter(|(name, _)| !is_of_transactions(name)).collect();
    let calls = (0..settings.len())
        .map(|n| format!("pg_catalog.set_config(${}::pg_catalog.text, ${}::pg_catalog.text, true)", 2 * n + 1, 2 * n + 2));
    let values = settings.iter().flat_map(|(name, value)| [Bytes::copy_from_slice(name.as_bytes()), value.clone()]);
    Question { parameters: values.map(Some).collect(), ..format!("select {}", calls.collect::<Vec<_>>().join(", ")).into() }
}

fn session_limits(limits: Limits) -> Question {
    limits_of(limits, false)
}

fn limits_of(limits: Limits, local: bool) -> Question {
    let Limits { statement, lock } = limits;
    format!(
        "select pg_catalog.set_config('statement_timeout', '{}ms', {local}), pg_catalog.set_config('lock_timeout', '{}ms', {local})",
        statement.as_millis(),
        lock.as_millis()
    )
    .into()
}

/// Names are to be found, and rights held, as in the session that waits; both are undone with the transaction.
fn standing(session: &Session) -> Question {
    let quoted = |schema: &Arc<str>| format!("\"{}\"", schema.replace('"', "\"\""));
    // What is the session's own is nobody else's.
    let path = session.path.iter().filter(|schema| !schema.starts_with("pg_temp")).map(quoted).collect::<Vec<_>>().join(", ");
    let role = if session.role == session.login { "none" } else { &session.role };
    let values = [path.as_str(), role].map(|value| Some(Bytes::copy_from_slice(value.as_bytes())));
    let text = "select pg_catalog.set_config('search_path', $1::pg_catalog.text, true), \
        pg_catalog.set_config('role', $2::pg_catalog.text, true)";
    Question { parameters: values.to_vec(), ..text.into() }
}

/// Why there is no answer, for reviewers.
fn said(why: &Unanswered, limits: Limits) -> Arc<str> {
    match why {
        Unanswered::Refused(code) => match code.as_str() {
            "57014" => format!("the upstream takes longer than {} s for it", limits.statement.as_secs()).into(),
            "55P03" => "others keep what it needs locked".into(),
            "42501" => "its role may not read it".into(),
            code => format!("the upstream answers with an error: SQLSTATE {code}").into(),
        },
        Unanswered::Unexpected => "what is defined in the database has just changed; look again".into(),
        Unanswered::Unavailable(why) => Arc::clone(why),
    }
}
