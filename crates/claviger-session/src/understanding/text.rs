//! A text that was read.

use std::sync::Arc;

use claviger_audit::StatementFacts;
use claviger_dialects::Reading;
use claviger_model::{Disclosure, Effect, Hazard, Meaning, Object, Verb};
use claviger_policy::Matter;
use claviger_sql::{Catalog, NotUnderstood, Session, Statement, Transition, understand};

use super::facts::facts;
use super::plans::Names;

/// A text, and what it does; or the head of an HTTP request.
#[derive(Debug)]
pub struct Text {
    /// What each of its statements does, for policy.
    pub(crate) matter: Result<Matter, NotUnderstood>,
    /// The same for the record.
    pub(crate) facts: Arc<[StatementFacts]>,
    /// How each statement changes its session.
    pub(crate) transitions: Vec<Vec<Transition>>,
    /// What all of it together may change.
    pub(crate) changes: Changes,
    /// Whether what it does may depend on the values of its parameters.
    pub(crate) depends_on_values: bool,
    /// What names in it, and in what it runs that is planned by itself, stand for.
    pub(crate) names: Arc<[Names]>,
    /// The same of what it prepares.
    pub(crate) prepares: Arc<[Names]>,
    /// What else is known of an HTTP request.
    pub(crate) reading: Option<Reading>,
}

/// What a text may change in its session, so that what comes after it may mean something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The search path, the role, or how texts are read, to what the text says, if it says so.
    pub(crate) state: bool,
    /// The same, to what cannot be told from the text.
    pub(crate) unsaid: bool,
    /// What the names of prepared statements or cursors stand for.
    pub(crate) names: bool,
    /// The catalog.
    pub(crate) catalog: bool,
    /// It ends a transaction, or a part of one.
    pub(crate) ends: bool,
    /// It does nothing but that.
    pub(crate) only_ends: bool,
}

/// Settings that decide how a text is read.
const READING: &[&str] = &["client_encoding", "standard_conforming_strings", "names", "all"];

impl Text {
    /// Reads a text.
    pub(crate) fn read(text: &[u8], catalog: &Catalog, session: &Session) -> Self {
        Self::read_from(text, 0, catalog, session)
    }

    /// Reads a text of which only the statements after so many are asked for.
    pub(crate) fn read_from(text: &[u8], first: usize, catalog: &Catalog, session: &Session) -> Self {
        let text = std::str::from_utf8(text).map_err(|_| NotUnderstood::Syntax);
        match text.and_then(|text| understand(text, catalog, session)) {
            Ok(statements) => Self::of(statements, first),
            Err(error) => {
                let (facts, transitions) = Default::default();
                Self {
                    matter: Err(error),
                    facts,
                    transitions,
                    changes: Changes::anything(),
                    depends_on_values: false,
                    names: [].into(),
                    prepares: [].into(),
                    reading: None,
                }
            }
        }
    }

    fn of(mut statements: Vec<Statement>, first: usize) -> Self {
        let (names, prepares) = Names::of_all(&statements, first);
        let statements = statements.split_off(first.min(statements.len()));
        let facts = statements.iter().map(|statement| facts(&statement.meaning)).collect();
        let mut changes = Changes { only_ends: !statements.is_empty(), ..Changes::default() };
        statements.iter().for_each(|statement| changes.add(statement));
        let depends_on_values = statements.iter().any(|statement| statement.depends_on_values);
        let (meanings, transitions): (Vec<_>, Vec<_>) =
            statements.into_iter().map(|statement| (statement.meaning, statement.transitions)).unzip();
        Self { matter: Ok(Matter::new(meanings)), facts, transitions, changes, depends_on_values, names, prepares, reading: None }
    }

    /// Whether all that it does is understood, and nothing is to be put into it, which would have its place in the text that was read.
    pub(crate) fn is_plain(&self) -> bool {
        self.matter.is_ok() && self.effects().all(|effect| effect.verb != Verb::Unknown) && self.takes_nothing_in()
    }

    fn takes_nothing_in(&self) -> bool {
        let mut meanings = self.matter.iter().flat_map(|matter| matter.statements());
        meanings.all(|meaning| meaning.disclosure.clone().insertions().next().is_none())
    }

    /// Whether something comes after what ends a transaction, or undoes a part of one.
    pub(crate) fn goes_on_after_its_end(&self) -> bool {
        let ends =
            |transition: &Transition| matches!(transition, Transition::Commit | Transition::Rollback | Transition::RollbackTo(_));
        let undoes = |of: &Vec<Transition>| of.iter().any(ends);
        let Ok(matter) = &self.matter else { return false };
        let undone = self.transitions.iter().position(undoes);
        undone.is_some_and(|at| matter.statements().iter().skip(at + 1).any(|meaning| !meaning.effects.is_empty()))
    }

    /// Whether it calls what looks names up by itself when it runs.
    pub(super) fn calls(&self) -> bool {
        self.names.iter().any(Names::is_of_routine)
    }

    /// What names in it stand for, if it is one statement.
    pub(super) fn statement_names(&self) -> Option<&Names> {
        self.names.iter().find(|names| names.is_of_statement())
    }

    /// Whether another text, which has parameters where this one has values, does the same whatever the values are.
    pub(crate) fn does_the_same(&self, other: &Self) -> bool {
        let (Ok(own), Ok(its)) = (&self.matter, &other.matter) else { return false };
        // What is to be put into a text has its place in that text alone.
        own.digest() == its.digest()
            && self.takes_nothing_in()
            && (self.changes, &self.names) == (other.changes, &other.names)
            && [self, other].iter().all(|text| !text.depends_on_values && text.transitions.iter().all(Vec::is_empty))
    }

    /// Whether it sets something in its session.
    pub(crate) fn configures(&self) -> bool {
        self.effects().any(|effect| effect.verb == Verb::Configure)
    }

    /// Whether it may reach what its text, and the texts that it hangs on, do not tell.
    pub(crate) fn may_reach_anything(&self) -> bool {
        let opaque = [Hazard::Opaque, Hazard::DynamicSql, Hazard::Unknown];
        let matter = self.matter.iter().flat_map(|matter| matter.statements());
        matter.flat_map(|meaning| &meaning.hazards).any(|hazard| opaque.contains(hazard))
            || self.effects().any(|effect| effect.verb == Verb::Unknown)
    }

    /// Whether it leaves its session, and what is asked for after it, as they are; but for the catalog, which is followed.
    pub(crate) fn stands_alone(&self) -> bool {
        let Changes { state, unsaid, names, ends, .. } = self.changes;
        let copies = self.facts.iter().any(|facts| facts.class.starts_with("COPY"));
        let defines = |transition: &Transition| matches!(transition, Transition::Define);
        !(copies || state || unsaid || names || ends) && self.transitions.iter().flatten().all(defines)
    }

    fn effects(&self) -> impl Iterator<Item = &Effect> {
        self.matter.iter().flat_map(|matter| matter.statements()).flat_map(|meaning| &meaning.effects)
    }

    /// A text that is one of these: all of them are judged. What cannot be read with its values is taken as it was read without.
    pub(crate) fn of_any(mut readings: Vec<Self>, without: &Self) -> Self {
        let Ok(matter) = &without.matter else { return readings.pop().unwrap_or_else(Self::nothing) };
        let meanings = readings.iter().flat_map(|reading| match &reading.matter {
            Ok(matter) => matter.statements().to_vec(),
            Err(_) => matter.statements().to_vec(),
        });
        Self {
            matter: Ok(Matter::new(meanings)),
            facts: Arc::clone(&readings.iter().find(|reading| reading.matter.is_ok()).unwrap_or(without).facts),
            transitions: without.transitions.clone(),
            changes: readings.iter().fold(without.changes, |changes, reading| changes.and(reading.changes)),
            depends_on_values: true,
            names: Arc::clone(&without.names),
            prepares: Arc::clone(&without.prepares),
            reading: None,
        }
    }

    fn nothing() -> Self {
        Self::of(Vec::new(), 0)
    }

    /// What is judged where it cannot be told what is done, in a database that has classified columns or none.
    pub(crate) fn unknown(classified: bool) -> Matter {
        let effect = Effect { verb: Verb::Unknown, object: Object::Connection, through: None };
        Matter::new([Meaning {
            class: "UNKNOWN",
            effects: [effect].into(),
            hazards: [Hazard::Unknown].into(),
            disclosure: Disclosure { anything: classified, ..Disclosure::default() },
        }])
    }
}

impl Changes {
    /// What is not understood, and runs all the same, may change anything.
    pub(crate) fn anything() -> Self {
        Self { state: true, unsaid: true, names: true, catalog: true, ends: true, only_ends: false }
    }

    /// All that either may change.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            state: self.state || other.state,
            unsaid: self.unsaid || other.unsaid,
            names: self.names || other.names,
            catalog: self.catalog || other.catalog,
            ends: self.ends || other.ends,
            only_ends: false,
        }
    }

    /// Whether something that follows may mean something else.
    pub(crate) fn any(self) -> bool {
        self.state || self.unsaid || self.names || self.catalog || self.ends
    }

    fn add(&mut self, statement: &Statement) {
        let mut says = false;
        let has = |hazards: &[Hazard]| hazards.iter().any(|hazard| statement.meaning.hazards.contains(hazard));
        let opaque = has(&[Hazard::Opaque, Hazard::DynamicSql, Hazard::Unknown]);
        let mut resyncs = opaque || has(&[Hazard::SessionEscape, Hazard::PrivilegeEscape]);
        self.catalog |= opaque;
        for effect in &statement.meaning.effects {
            match &effect.object {
                Object::Setting(name) if READING.contains(&&**name) => resyncs = true,
                _ => {}
            }
            match effect.verb {
                Verb::Unknown => *self = Self { only_ends: false, ..Self::anything() },
                Verb::Create | Verb::Alter | Verb::Drop | Verb::Grant => self.catalog = true,
                _ => {}
            }
        }
        for transition in &statement.transitions {
            match transition {
                Transition::Begin | Transition::Savepoint(_) | Transition::Release(_) => {}
                // Then other texts may run.
                Transition::DiscardPlans => self.names = true,
                Transition::Commit | Transition::Rollback | Transition::RollbackTo(_) => self.ends = true,
                Transition::Path(_) => says = true,
                Transition::Resync => resyncs = true,
                Transition::Prepare(..) | Transition::Deallocate(_) | Transition::Declare(..) | Transition::Close(_) => {
                    self.names = true
                }
                Transition::Define => self.catalog = true,
            }
        }
        let ends =
            |transition: &Transition| matches!(transition, Transition::Commit | Transition::Rollback | Transition::RollbackTo(_));
        self.only_ends &= matches!(statement.transitions.as_slice(), [only] if ends(only));
        self.state |= resyncs || says;
        self.unsaid |= resyncs && !says;
    }
}
