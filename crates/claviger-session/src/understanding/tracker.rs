//! What a session's statements leave behind for those that follow.
//!
//! Requests are understood in order, each when it is certain what it runs after. Within one *group* of a pipeline a failure makes the
//! server pass over the rest, so what a statement says it changes counts for what follows it; what it changes without saying so leaves
//! the rest of its group unknown. Between groups the server is asked, at a moment at which it has nothing else to do.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use claviger_model::{OpId, TxId};
use claviger_protocols::{Operation, Outcome, Probe, ProbeId, Request, Status};
use claviger_sql::{Catalog, CatalogError, FINGERPRINT, QUESTION, QUESTION_AGAIN, STATE, Session, State, Transition, types_act};
use ring::digest;

use super::before::Before;
use super::cache::{Key, number};
use super::names::{mentions_names, text_of, uses_names};
use super::plans::{Names, Plans, Stale as StalePlan};
use super::text::Changes;
use super::under_way::{UnderWay, What, planned_in, prepare, runs_along};
use super::values::with_its_values;
use super::{Reached, States, Text, Texts, Understanding};
use crate::{CatalogKeeper, Connection, Snapshot};

/// The most names of prepared statements that are followed, and the longest text of one: what is beyond is as if it were not there.
const MOST_NAMES: usize = 10_000;
const LONGEST_TEXT: usize = 64 * 1024;

/// Follows one session.
pub(crate) struct Tracker {
    keeper: Arc<dyn CatalogKeeper>,
    connection: Arc<Connection>,
    sql: Session,
    plans: Plans,
    state: Option<State>,
    /// Numbers of the search path with the roles, and of the names, as they are now.
    state_number: u64,
    names_number: u64,
    /// What is under way and changes something.
    under_way: Vec<UnderWay>,
    /// What is under way and calls what looks names up when it runs, and how often they may have come to stand for something else until
    /// then.
    calling: HashMap<OpId, u64>,
    moves: u64,
    /// The state is not what was last heard of it.
    stale: Option<Stale>,
    /// What has run in this group, if all of it can be followed.
    before: Option<Before>,
    /// The transaction that has changed the state, which its end may undo.
    dirty: Option<TxId>,
    /// The transaction that has changed the catalog, which only it sees.
    defined: Option<TxId>,
    own: Option<Own>,
    /// That catalog is another than any that is at hand.
    differs: bool,
    asked: Option<(ProbeId, Question)>,
    questions: u64,
    failure: Option<Failure>,
    /// The last question was cancelled, with what the client waited for.
    cancelled: bool,
    /// What was understood last: its group, and when.
    last_group: u64,
    last_at: Option<Instant>,
    /// The schemas that there were when the search path was asked for, or later.
    schemas: Option<Arc<HashMap<Arc<str>, bool>>>,
    /// The snapshot that was found to do for the request that is next, whatever somebody on another thread changes meanwhile.
    at_hand: Option<Snapshot>,
    /// The catalog by which something was last understood.
    catalog: Option<Arc<Catalog>>,
    /// A running digest of all that the session has set, one after the other.
    configured: [u8; 32],
}

/// Since when, and by what.
#[derive(Clone, Copy)]
struct Stale {
    /// The group in which it happened; none if it has ended.
    group: Option<u64>,
    changes: Changes,
}

/// The catalog as the session's own transaction sees it.
struct Own {
    snapshot: Snapshot,
    asked: Instant,
    /// Nothing has changed it since.
    certain: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    State,
    Fingerprint,
    Catalog,
    CatalogAgain,
}

/// What the last question came to, for the request that it was asked for.
enum Failure {
    Transaction,
    /// It came too late for the question.
    Pipeline,
    Other(Arc<str>),
}

/// What must be there before a request can be understood.
pub(crate) enum Need {
    /// Nothing more.
    Nothing,
    /// An answer of the session's own upstream, which is under way.
    Answer,
    /// An answer to this.
    Question(ProbeId, &'static str),
    /// A fresh snapshot.
    Snapshot,
}

impl Tracker {
    pub(crate) fn new(keeper: Arc<dyn CatalogKeeper>, connection: Arc<Connection>) -> Self {
        Self {
            keeper,
            connection,
            sql: Session::default(),
            plans: Plans::default(),
            state: None,
            state_number: 0,
            names_number: number(),
            under_way: Vec::new(),
            calling: HashMap::new(),
            moves: 0,
            stale: Some(Stale { group: None, changes: Changes::default() }),
            before: None,
            dirty: None,
            defined: None,
            own: None,
            differs: false,
            asked: None,
            questions: 0,
            failure: None,
            cancelled: false,
            last_group: 0,
            last_at: None,
            schemas: None,
            at_hand: None,
            catalog: None,
            configured: [0; 32],
        }
    }

    /// Labels, or how old a snapshot may be, have changed.
    pub(crate) fn keep_by(&mut self, keeper: Arc<dyn CatalogKeeper>, connection: Arc<Connection>) {
        let relabelled = connection.classification != self.connection.classification;
        (self.keeper, self.connection, self.own) = (keeper, connection, None);
        if relabelled {
            // What was declared before had other labels.
            self.sql.cursors.values_mut().for_each(|cursor| cursor.shown = None);
            self.names_number = number();
        }
    }

    pub(crate) fn keeper(&self) -> &Arc<dyn CatalogKeeper> {
        &self.keeper
    }

    /// The catalog by which something was last understood.
    pub(crate) fn catalog(&self) -> Option<&Arc<Catalog>> {
        self.catalog.as_ref()
    }

    /// What must be there before this can be understood.
    pub(crate) fn need(&mut self, operation: &Operation, now: Instant) -> Need {
        if self.asked.is_some() {
            return Need::Answer;
        }
        if self.failure.is_some() {
            return Need::Nothing;
        }
        let group = operation.group;
        match self.stale {
            Some(stale) if stale.group == Some(group) => return self.need_in_pipeline(stale, now),
            Some(_) => return self.ask(Question::State),
            None => {}
        }
        let names = |under_way: &UnderWay| under_way.group != group && under_way.changes.names;
        if self.under_way.iter().any(names) && uses_names(&operation.request) {
            return self.ask(Question::State);
        }
        if self.defined.is_none() {
            return self.need_snapshot(now);
        }
        match &self.own {
            Some(own) if own.certain && now.saturating_duration_since(own.asked) <= self.max_age() => Need::Nothing,
            _ if self.differs && self.known(now).is_some() => self.ask(Question::CatalogAgain),
            _ if self.differs => self.ask(Question::Catalog),
            _ => self.ask(Question::Fingerprint),
        }
    }

    /// What is better asked before anything needs it: where nothing is under way in a group that could go on.
    pub(crate) fn look_ahead(&mut self, now: Instant) -> Option<(ProbeId, &'static str)> {
        let is_due = self.asked.is_none() && self.failure.is_none() && self.stale.is_some_and(|stale| stale.group.is_none());
        if !is_due {
            return None;
        }
        if self.state.is_none() {
            // Somebody will want it soon.
            _ = self.keeper.current(now);
        }
        match self.ask(Question::State) {
            Need::Question(id, text) => Some((id, text)),
            Need::Nothing | Need::Answer | Need::Snapshot => None,
        }
    }

    /// In a pipeline, nothing can be asked before its end.
    fn need_in_pipeline(&mut self, stale: Stale, now: Instant) -> Need {
        if stale.changes.unsaid || stale.changes.catalog || self.own.is_some() { Need::Nothing } else { self.need_snapshot(now) }
    }

    fn need_snapshot(&mut self, now: Instant) -> Need {
        self.at_hand = self.keeper.current(now);
        let Some(snapshot) = &self.at_hand else { return Need::Snapshot };
        let schemas = Arc::clone(snapshot.catalog.schemas());
        let before = self.schemas.replace(Arc::clone(&schemas));
        // Somebody else has made one that the path names, or taken the right to it.
        let differ = before.is_some_and(|before| !Arc::ptr_eq(&before, &schemas) && before != schemas);
        if differ { self.ask(Question::State) } else { Need::Nothing }
    }

    fn max_age(&self) -> Duration {
        self.connection.catalog_max_age
    }

    fn ask(&mut self, question: Question) -> Need {
        self.questions += 1;
        let id = ProbeId(self.questions);
        self.asked = Some((id, question));
        let text = match question {
            Question::State => STATE,
            Question::Fingerprint => FINGERPRINT,
            Question::Catalog => QUESTION,
            Question::CatalogAgain => &QUESTION_AGAIN,
        };
        Need::Question(id, text)
    }

    /// The upstream has answered. Whatever was sent before is answered too; what is under way still is a portal that waits to go on.
    pub(crate) fn answered(&mut self, id: ProbeId, probe: &Probe, states: &States, now: Instant) {
        let Some((_, question)) = self.asked.take_if(|(asked, _)| *asked == id) else { return };
        let rows = match probe {
            Probe::Rows(rows) => rows,
            Probe::TooLate => return self.is_too_late(question, now),
            Probe::Failed(code) if code == "25P02" => return self.failure = Some(Failure::Transaction),
            // It is asked once more.
            Probe::Failed(code) if code == "57014" && !std::mem::replace(&mut self.cancelled, true) => return,
            Probe::Failed(code) => {
                return self.failure = Some(Failure::Other(format!("the upstream does not answer: SQLSTATE {code}").into()));
            }
        };
        self.cancelled = false;
        match question {
            Question::State => match State::read(rows) {
                Some(state) => self.learn(state, states),
                None => self.failure = Some(Failure::Other("the upstream's answer about the session is none".into())),
            },
            Question::Fingerprint => {
                let fingerprint = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
                let base = self.known(now);
                let is_same = |catalog: &Catalog| Some(catalog.fingerprint().as_bytes()) == fingerprint && !catalog.is_partial();
                let same = base.filter(|base| is_same(&base.catalog));
                self.differs = same.is_none();
                self.own = same.map(|snapshot| Own { snapshot, asked: now, certain: true });
            }
            Question::Catalog => self.learn_catalog(rows, true, now),
            Question::CatalogAgain => self.learn_catalog(rows, false, now),
        }
    }

    /// The catalog as the session sees it. What was classified stays so, whatever it is called now.
    fn learn_catalog(&mut self, rows: &[Vec<Option<Bytes>>], whole: bool, now: Instant) {
        let before = self.known(now);
        let before = before.as_ref().map(|before| &*before.catalog);
        // What names stood for when they were last looked at: what this session has changed since makes what others know stale.
        let mut bound = (*self.connection.classification).clone();
        [self.catalog.as_deref(), before].into_iter().flatten().for_each(|earlier| bound = bound.bound_by(earlier));
        match Catalog::read(rows, &bound, before) {
            Ok(catalog) => {
                (self.differs, self.own) = (false, Some(Own { snapshot: Snapshot::new(catalog), asked: now, certain: true }))
            }
            // What was known when it was asked is not known any more: it is asked once more.
            Err(CatalogError::NotWhole) if !whole && before.is_none() => {}
            Err(error) => self.failure = Some(Failure::Other(error.to_string().into())),
        }
    }

    /// The last catalog that is known, of this session or of others.
    fn known(&self, now: Instant) -> Option<Snapshot> {
        self.own.as_ref().map(|own| own.snapshot.clone()).or_else(|| self.keeper.current(now))
    }

    /// It cannot be asked in the middle of a pipeline. What is only old is good until its end.
    fn is_too_late(&mut self, question: Question, now: Instant) {
        match &mut self.own {
            Some(own) if own.certain && question == Question::Fingerprint => own.asked = now,
            _ => self.failure = Some(Failure::Pipeline),
        }
    }

    fn learn(&mut self, state: State, states: &States) {
        self.stale = None;
        // Quiet now: what is under way still is a portal that waits to go on, which [`goes_on`](Self::goes_on) tells.
        self.under_way.retain(|under_way| matches!(under_way.what, What::Run(_) | What::Unknown));
        self.under_way.iter_mut().for_each(|under_way| under_way.changes.names = false);
        if self.state.as_ref().is_none_or(|before| (&before.path, &before.role) != (&state.path, &state.role)) {
            self.moved();
        }
        (self.sql.path, self.sql.creates_in) = (state.path.clone(), state.creates_in.clone());
        (self.sql.names_temporary, self.sql.reads_otherwise) = (state.names_temporary, !state.is_conforming);
        (self.sql.role, self.sql.login) = (Arc::clone(&state.role), Arc::clone(&state.login));
        self.state = Some(state);
        self.state_number = states.number(&self.sql);
    }

    /// What a request does. To be called when nothing more is [needed](Self::need), with the snapshot if that was, or the reason why there
    /// is none.
    pub(crate) fn understand(
        &mut self,
        operation: &Operation,
        texts: &Texts,
        seen: Option<Result<Snapshot, Arc<str>>>,
        now: Instant,
    ) -> Understanding {
        let found = self.understand_as_written(operation, texts, seen, now);
        let Understanding::Text(text) = &found else { return found };
        match self.plans.stale(text, bound(operation), |name| planned_in(&self.under_way, operation.group, name)) {
            None => found,
            Some(StalePlan::Statement) => Understanding::PlanChanged,
            Some(StalePlan::Routine) => {
                let why = "a function that it calls may do something else, as names in it stood for something else before";
                Understanding::Unknown("sql.planned", why.into())
            }
        }
    }

    /// The same, if the server does now what its text says.
    fn understand_as_written(
        &mut self,
        operation: &Operation,
        texts: &Texts,
        seen: Option<Result<Snapshot, Arc<str>>>,
        now: Instant,
    ) -> Understanding {
        (self.last_group, self.last_at) = (operation.group, Some(now));
        let at_hand = self.at_hand.take();
        let Some(text) = &text_of(&operation.request) else {
            return Understanding::Unknown("sql.call", "a function is called by its number".into());
        };
        match self.failure.take() {
            Some(Failure::Transaction) => {
                let text = Text::read(text, &Catalog::default(), &self.sql);
                let ends = text.changes.only_ends;
                return if ends { Understanding::Text(Arc::new(text)) } else { Understanding::FailedTransaction };
            }
            Some(Failure::Pipeline) => return self.after_the_unsaid(text, &Catalog::default()),
            Some(Failure::Other(why)) => return Understanding::Undecidable("session.unknown", why),
            None => {}
        }
        let Some(state) = &self.state else {
            return Understanding::Undecidable("session.unknown", "the session's state is not known".into());
        };
        if !state.reads(text) {
            return Understanding::Unreadable;
        }
        if let Some(found) = self.after_those_before(operation, text, now) {
            return found;
        }
        let snapshot = match (&self.own, seen) {
            (Some(own), _) => own.snapshot.clone(),
            (None, Some(Ok(snapshot))) => snapshot,
            (None, Some(Err(why))) => return self.without_snapshot(text, why),
            (None, None) => match at_hand.or_else(|| self.keeper.current(now)) {
                Some(snapshot) => snapshot,
                None => return self.without_snapshot(text, "it takes too long to be read".into()),
            },
        };
        self.catalog = Some(Arc::clone(&snapshot.catalog));
        if types_act(kinds_of(&operation.request), &snapshot.catalog, &self.sql) {
            return Understanding::Unknown("sql.types", "a parameter is of a type whose own code may do anything".into());
        }
        let in_pipeline = |under_way: &UnderWay| under_way.group == operation.group && under_way.changes.names;
        let said = self.stale.is_some_and(|stale| stale.changes.any());
        if let Some(stale) = self.stale
            && (stale.changes.unsaid || stale.changes.catalog)
        {
            return self.after_the_unsaid(text, &snapshot.catalog);
        }
        if said || self.under_way.iter().any(in_pipeline) {
            let session = self.as_it_will_be(operation.group);
            let text = Arc::new(Text::read(text, &snapshot.catalog, &session));
            return Understanding::Text(with_its_values(operation, text, |text| Text::read(text, &snapshot.catalog, &session)));
        }
        let key = Key { catalog: snapshot.id, state: self.state_number, names: 0, text: text.clone() };
        let found = texts.find(&key).unwrap_or_else(|| {
            let names = if mentions_names(text) { self.names_number } else { 0 };
            texts.get(&Key { names, ..key }, |text| Text::read(text, &snapshot.catalog, &self.sql))
        });
        if (self.defined.is_some() || self.dirty.is_some()) && found.goes_on_after_its_end() {
            let why = "what its transaction has changed may end with it";
            return Understanding::Unknown("sql.rollback", why.into());
        }
        Understanding::Text(if found.depends_on_values {
            with_its_values(operation, found, |text| Text::read(text, &snapshot.catalog, &self.sql))
        } else {
            found
        })
    }

    /// What a request hangs on beyond its own text, by the catalog by which something was last understood.
    pub(crate) fn reached(&self, operation: &Operation) -> Option<Reached> {
        let text = text_of(&operation.request)?;
        let text = std::str::from_utf8(&text).ok()?;
        let (catalog, session) = (self.catalog.as_ref()?, self.as_it_will_be(operation.group));
        let path = session.path.iter().map(|schema| schema.as_bytes().to_vec());
        let names = [&session.role, &session.login].map(|name| name.as_bytes().to_vec());
        let given = |text: &str| {
            let prepared = session.prepared.values().map(|prepared| &prepared.text);
            prepared.chain(session.cursors.values().map(|cursor| &cursor.text)).any(|given| **given == *text)
        };
        let texts = claviger_sql::reached(text, catalog, &session).ok()?;
        Some(Reached {
            given: texts.iter().filter(|text| given(text)).map(|text| text.as_str().into()).collect(),
            texts,
            session: path.chain(names).chain([self.configured.to_vec()]).collect(),
            fingerprint: catalog.fingerprint().into(),
        })
    }

    /// Who keeps the catalog that the session sees, with the upstream that it is of.
    pub(crate) fn upstream(&self) -> (&Arc<dyn CatalogKeeper>, &Arc<Connection>) {
        (&self.keeper, &self.connection)
    }

    /// What names stand for in the session, as others can see it too; or why they cannot.
    pub(crate) fn seen_aside(&self) -> Result<Session, &'static str> {
        if self.defined.is_some() || self.own.is_some() {
            return Err("its transaction has changed what is defined");
        }
        let Session { path, role, login, .. } = self.sql.clone();
        Ok(Session { path, role, login, ..Session::default() })
    }

    /// Whether something was set in the session.
    pub(crate) fn is_configured(&self) -> bool {
        self.configured != [0; 32]
    }

    /// After what has changed the catalog in the same group, as far as it says to what.
    fn after_those_before(&self, operation: &Operation, text: &Bytes, now: Instant) -> Option<Understanding> {
        let changed = self.stale.is_some_and(|stale| stale.group == Some(operation.group) && stale.changes.catalog);
        // What names stand for is followed elsewhere.
        let before = self.before.as_ref().filter(|before| changed && before.is_of(operation.group) && !mentions_names(text))?;
        if before.is_older_than(self.max_age(), now) {
            return None;
        }
        let found = with_its_values(operation, Arc::new(before.read(text)), |text| before.read(text));
        found.is_plain().then_some(Understanding::Text(found))
    }

    /// In the rest of a pipeline in which something was changed that its text does not say, only what ends a transaction is plain.
    fn after_the_unsaid(&self, text: &[u8], catalog: &Catalog) -> Understanding {
        let text = Text::read(text, catalog, &self.sql);
        if text.changes.only_ends
            || text.transitions.is_empty() && text.matter.as_ref().is_ok_and(|matter| matter.statements().is_empty())
        {
            return Understanding::Text(Arc::new(text));
        }
        let why = "what comes before it in the same pipeline may change what it means";
        Understanding::Unknown("sql.pipeline", why.into())
    }

    fn without_snapshot(&self, text: &[u8], why: Arc<str>) -> Understanding {
        let text = Text::read(text, &Catalog::default(), &self.sql);
        if text.changes.only_ends {
            return Understanding::Text(Arc::new(text));
        }
        Understanding::Undecidable("catalog.unavailable", why)
    }

    /// The session after what is under way in this group, if none of it fails: if it does, nothing more of the group runs.
    fn as_it_will_be(&self, group: u64) -> Session {
        let mut session = self.sql.clone();
        for under_way in self.under_way.iter().filter(|under_way| under_way.group == group) {
            under_way.apply(&mut session);
        }
        session
    }

    /// The request is admitted.
    pub(crate) fn admitted(&mut self, operation: &Operation, understanding: &Understanding) {
        let (op, group) = (operation.id, operation.group);
        if let Request::Prepare { name, text, again: false, .. } = &operation.request {
            let changes = Changes { names: !name.is_empty(), ..Changes::default() };
            // Nothing in SQL can name the unnamed one.
            let text = if name.is_empty() { "" } else { std::str::from_utf8(text).unwrap_or_default() };
            let planned = match understanding {
                Understanding::Text(text) => text.statement_names().into_iter().cloned().collect(),
                _ => Vec::new(),
            };
            // A copy: a slice would keep the whole read buffer alive.
            let what = What::Prepare(Bytes::copy_from_slice(name), text.into());
            self.under_way.push(UnderWay { op, group, changes, what, planned });
            return;
        }
        if let Understanding::Text(text) = understanding {
            let under_way = &mut self.under_way;
            self.plans.runs(text, bound(operation), |name, names| runs_along(under_way, group, name, names));
            if matches!(operation.request, Request::Execute { .. } | Request::Portal { .. }) && text.calls() {
                self.calling.insert(op, self.moves);
            }
        }
        if let Request::Prepare { .. } = &operation.request {
            return;
        }
        if let Understanding::Text(text) = understanding
            && text.configures()
            && let Some(own) = text_of(&operation.request)
        {
            let mut digest = digest::Context::new(&digest::SHA256);
            digest.update(&self.configured);
            digest.update(&own);
            self.configured.iter_mut().zip(digest.finish().as_ref()).for_each(|(to, from)| *to = *from);
        }
        let (changes, what) = match understanding {
            Understanding::Text(text) => (text.changes, What::Run(Arc::clone(text))),
            _ => (Changes::anything(), What::Unknown),
        };
        if !changes.any() {
            return;
        }
        self.follow(operation, changes, &what);
        self.note_changes(changes, Some(group), operation.tx);
        if changes.names || changes.catalog || changes.state {
            let planned = match &what {
                What::Run(text) => text.prepares.to_vec(),
                What::Prepare(..) | What::Unknown => Vec::new(),
            };
            self.under_way.push(UnderWay { op, group, changes, what, planned });
        }
    }

    /// Something runs in a group that changes what comes after it.
    fn follow(&mut self, operation: &Operation, changes: Changes, what: &What) {
        let is_name = |under_way: &UnderWay| matches!(under_way.what, What::Prepare(..));
        let begins = (changes.catalog || changes.state)
            && self.stale.is_none_or(|stale| stale.group != Some(operation.group))
            && self.under_way.iter().all(is_name);
        let before = match self.before.take().filter(|before| before.is_of(operation.group)) {
            None if begins => self
                .catalog
                .clone()
                .zip(self.last_at)
                .map(|(catalog, since)| Before::new(operation.group, catalog, self.sql.clone(), since)),
            before => before,
        };
        // What names stand for may be another thing by then.
        let text = text_of(&operation.request).filter(|text| matches!(what, What::Run(_)) && !mentions_names(text));
        self.before = before.zip(text).and_then(|(mut before, text)| before.add(&text).then_some(before));
    }

    fn note_changes(&mut self, changes: Changes, group: Option<u64>, tx: TxId) {
        let undoes = changes.ends && (self.dirty.is_some() || self.defined.is_some());
        if changes.state || changes.unsaid || changes.catalog || undoes {
            let before = self.stale.filter(|stale| stale.group == group).map(|stale| stale.changes).unwrap_or_default();
            self.stale =
                Some(Stale { group, changes: before.and(changes).and(Changes { unsaid: undoes, ..Changes::default() }) });
        }
        if changes.state || changes.unsaid || changes.catalog {
            self.dirty = Some(tx);
        }
        if changes.catalog {
            self.defined = Some(tx);
        }
        if changes.catalog || undoes {
            self.own_is_uncertain();
        }
    }

    fn own_is_uncertain(&mut self) {
        if let Some(own) = &mut self.own {
            own.certain = false;
        }
    }

    /// A name is that of a portal from here on, or of nothing.
    pub(crate) fn takes_cursor(&mut self, name: &[u8]) {
        if let Ok(name) = std::str::from_utf8(name)
            && self.sql.cursors.remove(name).is_some()
        {
            self.names_number = number();
        }
        for under_way in self.under_way.iter_mut().filter(|under_way| under_way.declares(name)) {
            under_way.what = What::Unknown;
        }
    }

    /// A portal that waited goes on; or not, if what it calls may do something else than when it was understood.
    pub(crate) fn goes_on(&mut self, op: OpId) -> bool {
        let moves = self.stale.is_some_and(|stale| stale.changes.state || stale.changes.unsaid || stale.changes.catalog);
        if self.calling.get(&op).is_some_and(|then| moves || *then != self.moves) {
            return false;
        }
        let under_way = self.under_way.iter().find(|under_way| under_way.op == op).map(|under_way| under_way.changes);
        if let Some(changes) = under_way {
            self.before = None;
            self.note_again(changes, self.last_group);
        }
        true
    }

    /// What was noted when it was admitted happens, or may happen, later than that.
    fn note_again(&mut self, changes: Changes, group: u64) {
        self.note_changes(changes, Some(group), self.dirty.max(self.defined).unwrap_or(TxId(0)));
    }

    /// What was admitted last has not run when something else is asked for: whether it ever will is not known.
    pub(crate) fn put_off(&mut self, op: OpId) {
        let moves = |under_way: &&mut UnderWay| under_way.op == op && under_way.changes.state;
        let Some(under_way) = self.under_way.iter_mut().find(moves) else { return };
        under_way.changes.unsaid = true;
        let (changes, group) = (under_way.changes, under_way.group);
        self.note_again(changes, group);
    }

    /// An admitted request has ended. Whether the catalog may have been changed by it.
    pub(crate) fn ended(&mut self, outcome: &Outcome, states: &States) -> bool {
        self.calling.remove(&outcome.op);
        let Some(at) = self.under_way.iter().position(|under_way| under_way.op == outcome.op) else { return false };
        let UnderWay { changes, what, planned, .. } = self.under_way.remove(at);
        match what {
            What::Prepare(name, text) if outcome.status == Status::Completed => self.prepared(name, &text, &planned),
            What::Prepare(..) => {}
            What::Run(text) => self.apply(&text, &planned, outcome, states),
            What::Unknown => self.names_are_lost(),
        }
        changes.catalog
    }

    fn prepared(&mut self, name: Bytes, text: &Arc<str>, planned: &[Names]) {
        let has_room = self.sql.prepared.len() < MOST_NAMES
            || std::str::from_utf8(&name).is_ok_and(|name| self.sql.prepared.contains_key(name));
        if !name.is_empty() && text.len() <= LONGEST_TEXT && has_room {
            prepare(&mut self.sql, &name, text);
            self.names_number = number();
        }
        self.plans.prepared(name, planned.iter());
    }

    /// What statements made of names stays, whatever became of those after them and of their transaction.
    fn apply(&mut self, text: &Text, planned: &[Names], outcome: &Outcome, states: &States) {
        let done = match outcome.status {
            Status::Completed => text.transitions.len(),
            Status::Error => outcome.results.len(),
            Status::Skipped | Status::NotSent => 0,
            Status::Unknown => return self.names_are_lost(),
        };
        let path = self.sql.path.clone();
        let mut of_statements: HashMap<&str, Vec<&Names>> = HashMap::new();
        for names in planned {
            of_statements.entry(names.statement().unwrap_or_default()).or_default().push(names);
        }
        for transition in text.transitions.iter().take(done).flatten() {
            self.sql.apply(transition);
            match transition {
                Transition::Path(_) | Transition::Define => self.moved(),
                Transition::Prepare(name, _) => {
                    let own = of_statements.get(&**name).into_iter().flatten();
                    self.plans.prepared(Bytes::copy_from_slice(name.as_bytes()), own.copied());
                }
                Transition::Deallocate(Some(name)) => self.plans.dropped(name.as_bytes()),
                Transition::Deallocate(None) => self.plans.all_dropped(),
                Transition::DiscardPlans => self.plans.discarded(),
                _ => {}
            }
        }
        if self.sql.path != path {
            self.state_number = states.number(&self.sql);
        }
        if text.changes.names || !self.sql.cursors.is_empty() {
            self.names_number = number();
        }
        let too_many = self.sql.prepared.len() > MOST_NAMES || self.sql.cursors.len() > MOST_NAMES;
        if too_many || text.changes == Changes::anything() || text.changes.unsaid && text.changes.catalog {
            self.names_are_lost();
        }
    }

    /// Names may stand for something else.
    fn moved(&mut self) {
        self.moves += 1;
        self.sql.moved();
        self.names_number = number();
    }

    fn names_are_lost(&mut self) {
        self.sql.prepared.clear();
        self.sql.cursors.clear();
        self.names_number = number();
    }

    /// A statement is gone.
    pub(crate) fn unprepared(&mut self, name: &[u8]) {
        self.plans.dropped(name);
        if let Ok(name) = std::str::from_utf8(name)
            && self.sql.prepared.remove(name).is_some()
        {
            self.names_number = number();
        }
    }

    /// A transaction has ended. Whether it may have changed the catalog.
    pub(crate) fn transaction_ended(&mut self, tx: TxId) -> bool {
        let ended = |of: &mut TxId| *of <= tx;
        if self.dirty.take_if(ended).is_some() {
            let changes = self.stale.map(|stale| stale.changes).unwrap_or_default();
            self.stale = Some(Stale { group: None, changes });
        }
        let defined = self.defined.take_if(ended).is_some();
        if defined {
            (self.own, self.differs) = (None, false);
            self.moved();
        }
        defined
    }
}

/// The types that its client says its parameters are of.
fn kinds_of(request: &Request) -> &[u32] {
    match request {
        Request::Prepare { types, .. } | Request::Execute { types, .. } => types,
        _ => &[],
    }
}

/// The name of the statement that a request runs whose text is known.
fn bound(operation: &Operation) -> Option<&[u8]> {
    match &operation.request {
        Request::Execute { name, text: Some(_), .. } => Some(name),
        Request::Prepare { name, text, again: true, .. } if !text.is_empty() => Some(name),
        _ => None,
    }
}
