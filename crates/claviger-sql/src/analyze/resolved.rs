//! What names are found to stand for, by what the server plans together.

use std::cell::RefCell;
use std::fmt::Write;
use std::sync::Arc;

use claviger_model::Hazard;
use pg_raw_parse::Node;

use super::{Analysis, Result};
use crate::{Cast, FunctionKind, Planned, Relation, Resolved, Transition, TypeFacts};

const SYSTEM: &str = "pg_catalog";

/// What was found, and where names are being looked up; nowhere where the catalog holds what they were resolved to when they were stored.
pub(super) struct Found {
    all: Vec<Resolved>,
    at: Option<usize>,
}

impl Found {
    /// Names in the statement itself, along this path.
    pub(super) fn new(path: &[Arc<str>]) -> RefCell<Self> {
        let all = vec![Resolved { of: Planned::Text, path: path.into(), names: Default::default() }];
        RefCell::new(Self { all, at: Some(0) })
    }

    /// Whether anything is called that looks names up by itself.
    pub(super) fn calls(&self) -> bool {
        self.all.iter().any(|resolved| matches!(resolved.of, Planned::Routine(..)))
    }

    /// Whether names are looked up while the statement runs: by routines, or by itself if it is one.
    fn looks_up(&self, is_body: bool) -> bool {
        let runs = |of: &Planned| matches!(of, Planned::Routine(..)) || is_body && *of == Planned::Text;
        self.all.iter().any(|resolved| runs(&resolved.of) && !resolved.names.is_empty())
    }

    /// All that was found, in the statement itself first.
    pub(super) fn into_all(self) -> Vec<Resolved> {
        self.all
    }

    /// What was found of this, which is to be known by another way.
    pub(super) fn take(&mut self, of: &Planned) -> Option<Resolved> {
        let at = self.all.iter().position(|resolved| resolved.of == *of)?;
        Some(self.all.remove(at))
    }

    /// Goes where other names are looked up; gives where it was.
    fn enter(&mut self, of: Planned, path: &[Arc<str>]) -> Option<usize> {
        let at = self.all.iter().position(|resolved| resolved.of == of && resolved.path == path);
        let at = at.unwrap_or_else(|| {
            self.all.push(Resolved { of, path: path.into(), names: Default::default() });
            self.all.len() - 1
        });
        self.at.replace(at)
    }

    fn add(&mut self, name: impl FnOnce() -> String) {
        if let Some(resolved) = self.at.and_then(|at| self.all.get_mut(at)) {
            resolved.names.insert(name());
        }
    }
}

/// What bodies change for what looks names up after them.
#[derive(Clone, Copy, Default)]
pub(super) struct Bodies {
    /// The search path, the role, or the catalog.
    place: bool,
    /// What the names of prepared statements and cursors stand for.
    names: bool,
}

impl Bodies {
    /// A body has done this.
    pub(super) fn add(&mut self, transition: &Transition) {
        match transition {
            Transition::Path(_) | Transition::Resync | Transition::Define => self.place = true,
            Transition::Prepare(..) | Transition::Deallocate(_) | Transition::Declare(..) | Transition::Close(Some(_)) => {
                self.names = true;
            }
            _ => {}
        }
    }
}

impl Analysis<'_> {
    /// Names of prepared statements or cursors are used: in a body, which may be known by another name of theirs, that is not followed.
    pub(super) fn uses_names(&mut self) {
        self.bodies.names |= self.through.is_some();
    }

    /// What looks names up while the statement runs finds them where they were when it began; else it is not known what it does: one body may
    /// run after another, or again.
    pub(super) fn stays_where_it_is(&mut self, node: Node<'_>) {
        let is_query = matches!(
            node,
            Node::SelectStmt(_)
                | Node::InsertStmt(_)
                | Node::UpdateStmt(_)
                | Node::DeleteStmt(_)
                | Node::MergeStmt(_)
                | Node::CallStmt(_)
                | Node::CopyStmt(_)
                | Node::CreateTableAsStmt(_)
                | Node::ExplainStmt(_)
                | Node::ExecuteStmt(_)
        );
        // Of what a procedure does to its session it is asked afterwards anyway.
        let is_call = matches!(node, Node::CallStmt(_));
        let moves = |transition: &Transition| match transition {
            Transition::Path(_) => true,
            Transition::Resync => !is_call,
            _ => false,
        };
        let moves = self.bodies.place || is_query && self.transitions.iter().any(moves);
        let looks_up = self.found.get_mut().looks_up(matches!(node, Node::DoStmt(_)));
        if self.bodies.names || moves && looks_up {
            self.note_unknown(Hazard::Unknown);
        }
    }

    /// Follows what is planned together with nothing else, along this path.
    pub(super) fn planned<T>(
        &mut self,
        of: Planned,
        path: Vec<Arc<str>>,
        follow: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let at = self.found.get_mut().enter(of, &path);
        let (outer, along) = (std::mem::take(&mut self.path), self.along);
        self.runs_along(path);
        let result = follow(self);
        (self.found.get_mut().at, self.path, self.along) = (at, outer, along);
        result
    }

    /// From here on what runs looks names up along this path.
    pub(super) fn runs_along(&mut self, path: Vec<Arc<str>>) {
        self.along = self.paths.iter().position(|known| *known == path).unwrap_or_else(|| {
            self.paths.push(path.clone());
            self.paths.len() - 1
        });
        self.path = path;
    }

    /// The search path in force.
    pub(super) fn run_path(&self) -> &[Arc<str>] {
        self.paths.get(self.along).map_or(&[], Vec::as_slice)
    }

    /// Follows what the catalog holds, whose names were resolved when it was stored.
    pub(super) fn stored<T>(&mut self, follow: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let outer = std::mem::replace(&mut self.path, self.catalog.path().into());
        let at = self.found.get_mut().at.take();
        let result = follow(self);
        (self.found.get_mut().at, self.path) = (at, outer);
        result
    }

    /// A name without a schema stands for a relation.
    pub(super) fn resolves_relation(&self, relation: &Relation) {
        self.found.borrow_mut().add(|| relation.table.to_string());
    }

    pub(super) fn resolves_type(&self, kind: &TypeFacts) {
        if &*kind.schema != SYSTEM {
            self.found.borrow_mut().add(|| format!("type {}.{} {}", kind.schema, kind.name, kind.id));
        }
    }

    /// A name can stand for aggregates of the users' own, which are followed otherwise. Of all else that it can stand for, everything is
    /// followed, so that nothing comes before another.
    pub(super) fn resolves_functions(&self, schema: Option<&str>, name: &str) {
        let schema = schema.map(|schema| self.schema(schema));
        let all = self.catalog.find_functions(schema, name, &self.path);
        let aggregates = all.filter(|function| function.kind == FunctionKind::Aggregate);
        let one = |function: &Arc<crate::Function>| format!("{}.{name}{:?}", function.routine.schema, function.arguments);
        self.found.borrow_mut().add_sorted("aggregate", aggregates.map(one));
    }

    /// Casts of the users' own may convert a value.
    pub(super) fn resolves_casts<'c>(&self, casts: impl Iterator<Item = &'c Cast>) {
        let one = |cast: &Cast| format!("({},{}) {} {}", cast.from, cast.to, cast.function, cast.implicit);
        self.found.borrow_mut().add_sorted("cast", casts.map(one));
    }
}

impl Found {
    /// All that a name can stand for, as one.
    fn add_sorted(&mut self, what: &str, all: impl Iterator<Item = String>) {
        if self.at.is_none() {
            return;
        }
        let mut all: Vec<String> = all.collect();
        if all.is_empty() {
            return;
        }
        all.sort_unstable();
        self.add(|| {
            let mut said = what.to_owned();
            all.iter().for_each(|one| _ = write!(said, " {one}"));
            said
        });
    }
}
