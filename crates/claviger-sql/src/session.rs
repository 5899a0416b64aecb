//! What of a session's state the meaning of its statements depends on.

use std::collections::HashMap;
use std::sync::Arc;

use claviger_model::Meaning;

use crate::Resolved;

/// The state of a session on the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The schemas that names are looked for in, in order, as `current_schemas(true)` gives them: those that exist, with `pg_catalog` and
    /// the session's own temporary one where they are searched without being named.
    pub path: Vec<Arc<str>>,
    /// The schema that new things go to that are named without one, if that is known.
    pub creates_in: Option<Arc<str>>,
    /// Whether the search path may name the schema of temporary tables, which else comes first as soon as there are any.
    pub names_temporary: bool,
    /// Whether the server reads a backslash in a plain string as more than that.
    pub reads_otherwise: bool,
    /// The role that statements run as.
    pub role: Arc<str>,
    /// The role that the gateway logged in as.
    pub login: Arc<str>,
    /// Statements that were prepared, by name, by SQL or by the protocol: they share their names.
    pub prepared: HashMap<Arc<str>, Prepared>,
    /// Cursors that were declared in SQL, by name.
    pub cursors: HashMap<Arc<str>, Cursor>,
}

/// A prepared statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The statement, or the `PREPARE` that it stands in.
    pub text: Arc<str>,
    /// What its names stood for, where it was prepared in SQL.
    pub resolved: Option<Arc<Resolved>>,
}

/// A declared cursor. What its names stand for is decided once, when it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The `DECLARE` that its query stands in.
    pub text: Arc<str>,
    /// Whether it outlives its transaction.
    pub hold: bool,
    /// What its query was understood to do then; none if that is not certain any more.
    pub shown: Option<Arc<Meaning>>,
    /// Whether it calls what looks names up when it runs.
    pub calls: bool,
    /// Whether it may change the session when it runs.
    pub moves: bool,
}

/// How a statement changes its session, if it succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition {
    /// `BEGIN`.
    Begin,
    /// `COMMIT`, `PREPARE TRANSACTION`.
    Commit,
    /// `ROLLBACK`.
    Rollback,
    /// `SAVEPOINT`, with its name.
    Savepoint(Arc<str>),
    /// `RELEASE`.
    Release(Arc<str>),
    /// `ROLLBACK TO`.
    RollbackTo(Arc<str>),
    /// The search path is another, for the rest of the text at the least. Always with [`Resync`](Self::Resync).
    Path(Vec<Arc<str>>),
    /// The search path or the role may be another: both are to be asked for before the next text.
    Resync,
    /// A statement was prepared.
    Prepare(Arc<str>, Prepared),
    /// A prepared statement was dropped; all of them if there is no name.
    Deallocate(Option<Arc<str>>),
    /// A cursor was declared.
    Declare(Arc<str>, Cursor),
    /// A cursor was closed; all of them if there is no name.
    Close(Option<Arc<str>>),
    /// The catalog has changed.
    Define,
    /// The server has forgotten its plans.
    DiscardPlans,
}

impl Session {
    /// What of a transition concerns the session's own tables of names.
    pub fn apply(&mut self, transition: &Transition) {
        match transition {
            Transition::Path(path) => {
                self.moved();
                (self.path, self.creates_in, self.names_temporary) = (path.clone(), None, true);
            }
            Transition::Define => self.moved(),
            Transition::Prepare(name, prepared) => _ = self.prepared.insert(Arc::clone(name), prepared.clone()),
            Transition::Deallocate(Some(name)) => _ = self.prepared.remove(name),
            Transition::Deallocate(None) => self.prepared.clear(),
            Transition::Declare(name, cursor) => _ = self.cursors.insert(Arc::clone(name), cursor.clone()),
            Transition::Close(Some(name)) => _ = self.cursors.remove(name),
            Transition::Close(None) => self.cursors.clear(),
            Transition::Commit => self.cursors.retain(|_, cursor| cursor.hold),
            // Which of them were there before is not known.
            Transition::Rollback | Transition::RollbackTo(_) => self.cursors.clear(),
            _ => {}
        }
    }

    /// Names may stand for something else by now: what cursors call, which looks them up when it runs, may do something else.
    pub fn moved(&mut self) {
        self.cursors.values_mut().filter(|cursor| cursor.calls).for_each(|cursor| cursor.shown = None);
    }
}
