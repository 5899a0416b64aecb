//! What names are found to stand for, by what the server plans together.

use std::cell::RefCell;
use std::fmt::Write;
use std::sync::Arc;

use super::{Analysis, Result};
use crate::{Cast, Cursor, Planned, Relation, Resolved, Seen, TypeFacts};

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

impl<'a> Analysis<'a> {
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
        let then = self.now.take().map(|now| std::mem::replace(&mut self.catalog, now));
        let result = follow(self);
        if let Some(then) = then {
            self.now = Some(std::mem::replace(&mut self.catalog, then));
        }
        (self.found.get_mut().at, self.path, self.along) = (at, outer, along);
        result
    }

    /// Follows what a cursor was declared for: its names stand for what they stood for then; what the functions in it do, they do now.
    pub(super) fn declared<T>(&mut self, cursor: &'a Cursor, follow: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let outer = std::mem::replace(&mut self.path, cursor.path.clone());
        let at = self.found.get_mut().at.take();
        let now = self.catalog;
        if let Seen::Then(then) = &cursor.seen {
            (self.catalog, self.now) = (then, Some(now));
        }
        let result = follow(self);
        (self.catalog, self.now) = (now, None);
        (self.found.get_mut().at, self.path) = (at, outer);
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

    /// A name without a schema stands for a relation. Where it could stand for another further on in the path, too, the server may have planned with that
    /// one while this was called otherwise.
    pub(super) fn resolves_relation(&self, relation: &Relation) {
        self.found.borrow_mut().add(|| {
            let name = &relation.table.name;
            let same = self.path.iter().filter(|schema| self.catalog.find_relation(Some(schema), name, &[]).is_some()).count();
            let version = if same > 1 { &*relation.version } else { "" };
            format!("{}.{name} {version}", relation.table.schema)
        });
    }

    pub(super) fn resolves_type(&self, kind: &TypeFacts) {
        if &*kind.schema != SYSTEM {
            self.found.borrow_mut().add(|| format!("type {}.{} {}", kind.schema, kind.name, kind.id));
        }
    }

    /// A name can stand for these functions of the users' own.
    pub(super) fn resolves_functions(&self, schema: Option<&str>, name: &str) {
        let schema = schema.map(|schema| self.schema(schema));
        let one = |function: &Arc<crate::Function>| format!("{}.{name}{:?}", function.routine.schema, function.arguments);
        self.found.borrow_mut().add_sorted("function", self.catalog.find_functions(schema, name, &self.path).map(one));
    }

    /// A name can stand for these operators of the users' own.
    pub(super) fn resolves_operators(&self, schema: Option<&str>, name: &str) {
        let one = |operator: &crate::Operator| {
            format!("{}.{name}({},{}) {}", operator.schema, operator.left, operator.right, operator.function)
        };
        self.found.borrow_mut().add_sorted("operator", self.catalog.find_operators(schema, name, &self.path).map(one));
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
