//! What a server may have planned already, and what names stood for then.
//!
//! It keeps its plans of what was prepared and of what the bodies of functions say, though another table may have taken a name since. The
//! gateway lets a statement run only if along the path that is searched now its names stand for what they stood for whenever it was
//! prepared or run along that path: so whichever plan the server has, it does what is understood.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use claviger_sql::{Planned, Prepared, Resolved, Statement, Transition};
use ring::digest::{Context, SHA256};

use super::Text;

/// The most that is kept of what names stood for, of statements and of routines each. What is beyond does not run.
const MOST: usize = 32 * 1024;

/// Texts are told apart by this.
type Digest = [u8; 32];

/// What names stood for in something that is planned by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    of: Of,
    /// The search path.
    path: Digest,
    found: Digest,
    /// Whether they stood for something else before, in the same text.
    differs: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Of {
    Text,
    Prepared(Arc<str>),
    Routine(Digest),
}

/// What does not run because it may be another thing than it seems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stale {
    /// A prepared statement.
    Statement,
    /// A routine.
    Routine,
}

/// What has been prepared or run in one session.
#[derive(Default)]
pub(super) struct Plans {
    /// By the names of prepared statements and search paths.
    statements: HashMap<Bytes, HashMap<Digest, Digest>>,
    /// How many there are of all statements together.
    count: usize,
    /// By routines and search paths.
    routines: HashMap<(Digest, Digest), Digest>,
}

impl Names {
    fn new(resolved: &Resolved, bodies: &mut HashMap<usize, Digest>) -> Self {
        let of = match &resolved.of {
            Planned::Text => Of::Text,
            Planned::Prepared(name) => Of::Prepared(Arc::clone(name)),
            // One body is called again and again.
            Planned::Routine(id, source) => {
                let own = bodies.entry(source.as_ptr().addr()).or_insert_with(|| digest([&**source]));
                Of::Routine(digest_of([&id.to_be_bytes()[..], &own[..]]))
            }
        };
        let path = digest(resolved.path.iter().map(|schema| &**schema));
        Self { of, path, found: digest(resolved.names.iter().map(String::as_str)), differs: false }
    }

    /// Whether they stand in the body of a routine.
    pub(super) fn is_of_routine(&self) -> bool {
        matches!(self.of, Of::Routine(_))
    }

    /// Whether they stand in a statement itself.
    pub(super) fn is_of_statement(&self) -> bool {
        self.of == Of::Text
    }

    /// Whether both were looked up along one path.
    pub(super) fn is_along_path_of(&self, others: &Self) -> bool {
        self.path == others.path
    }

    /// The same, of the prepared statement of this name.
    pub(super) fn as_prepared(&self, statement: &[u8]) -> Self {
        Self { of: Of::Prepared(String::from_utf8_lossy(statement).into()), ..self.clone() }
    }

    /// Whether these and others, of the same thing, do not stand for two things along one path.
    pub(super) fn go_with(&self, others: &Self) -> bool {
        self.path != others.path || self.found == others.found
    }

    /// Those in the statements of a text after so many of them; and apart from these, those of what the text itself prepares.
    pub(super) fn of_all(statements: &[Statement], first: usize) -> (Arc<[Self]>, Arc<[Self]>) {
        let (mut all, mut new): (Vec<Self>, Vec<Self>) = Default::default();
        // What each of them stood for first, by what is planned and along which path.
        let mut known: HashMap<Of, HashMap<Digest, Digest>> = HashMap::new();
        let mut prepared: HashSet<Of> = HashSet::new();
        let mut bodies = HashMap::new();
        for (at, statement) in statements.iter().enumerate() {
            for resolved in &statement.resolved {
                let mut names = Self::new(resolved, &mut bodies);
                if names.of == Of::Text {
                    // Only what is alone in its text is prepared by the protocol's own means.
                    all.extend((at >= first && statements.len() == first + 1).then_some(names));
                    continue;
                }
                let first = match known.entry(names.of.clone()).or_default().entry(names.path) {
                    Entry::Occupied(first) if *first.get() == names.found => continue,
                    Entry::Occupied(_) => false,
                    Entry::Vacant(place) => {
                        place.insert(names.found);
                        true
                    }
                };
                names.differs = !first;
                if first && prepared.contains(&names.of) { &mut new } else { &mut all }.push(names);
            }
            for transition in &statement.transitions {
                let Transition::Prepare(_, Prepared { resolved: Some(resolved), .. }) = transition else { continue };
                let names = Self::new(resolved, &mut bodies);
                known.insert(names.of.clone(), [(names.path, names.found)].into());
                prepared.insert(names.of.clone());
                new.push(names);
            }
        }
        (all.into(), new.into())
    }

    /// The name of the prepared statement that they are of.
    pub(super) fn statement(&self) -> Option<&str> {
        match &self.of {
            Of::Prepared(name) => Some(name),
            Of::Text | Of::Routine(_) => None,
        }
    }
}

impl Plans {
    /// What of a text may be another thing than it seems, if it is run as it is or as the prepared statement of this name. `new`: what names
    /// have stood for in a statement that is prepared just before it; none if it was prepared earlier.
    pub(super) fn stale<'n>(
        &self,
        text: &Text,
        bound: Option<&[u8]>,
        new: impl Fn(&[u8]) -> Option<Vec<&'n Names>>,
    ) -> Option<Stale> {
        let is_stale = |statement: &[u8], names: &Names| match new(statement) {
            None => !self.is_known(statement, names),
            Some(before) => before.is_empty() || !before.iter().all(|before| before.go_with(names)),
        };
        text.names.iter().find_map(|names| match &names.of {
            Of::Text => bound.filter(|bound| is_stale(bound, names)).map(|_| Stale::Statement),
            Of::Prepared(name) => (names.differs || is_stale(name.as_bytes(), names)).then_some(Stale::Statement),
            Of::Routine(_) if names.differs => Some(Stale::Routine),
            Of::Routine(routine) => {
                let is_known = match self.routines.get(&(*routine, names.path)) {
                    Some(found) => *found == names.found,
                    None => self.routines.len() < MOST,
                };
                (!is_known).then_some(Stale::Routine)
            }
        })
    }

    fn is_known(&self, statement: &[u8], names: &Names) -> bool {
        // Of what nothing is known, it is not known what it does along any path.
        let Some(paths) = self.statements.get(statement).filter(|paths| !paths.is_empty()) else { return false };
        paths.get(&names.path).map_or(self.count < MOST, |found| *found == names.found)
    }

    /// A text runs. Of statements that are prepared just before it, `new` is told.
    pub(super) fn runs(&mut self, text: &Text, bound: Option<&[u8]>, mut new: impl FnMut(&[u8], &Names) -> bool) {
        for names in &*text.names {
            let statement = match &names.of {
                Of::Text => bound,
                Of::Prepared(name) => Some(name.as_bytes()),
                Of::Routine(routine) => {
                    if self.routines.len() < MOST {
                        self.routines.entry((*routine, names.path)).or_insert(names.found);
                    }
                    None
                }
            };
            if let Some(statement) = statement
                && !new(statement, names)
            {
                self.runs_along(statement, names);
            }
        }
    }

    fn runs_along(&mut self, statement: &[u8], names: &Names) {
        if self.count < MOST
            && let Some(paths) = self.statements.get_mut(statement)
            && !paths.contains_key(&names.path)
        {
            paths.insert(names.path, names.found);
            self.count += 1;
        }
    }

    /// A statement is prepared, whatever its name stood for before; what names in it have stood for since, along each path.
    pub(super) fn prepared<'n>(&mut self, statement: Bytes, names: impl Iterator<Item = &'n Names>) {
        if self.statements.len() >= MOST && !self.statements.contains_key(&statement) {
            return;
        }
        // The unnamed one is prepared again and again.
        let paths = self.statements.entry(statement).or_default();
        self.count -= paths.len();
        paths.clear();
        let left = MOST.saturating_sub(self.count);
        names.take(left).for_each(|names| _ = paths.entry(names.path).or_insert(names.found));
        self.count += paths.len();
    }

    /// A prepared statement is gone.
    pub(super) fn dropped(&mut self, statement: &[u8]) {
        let paths = self.statements.remove(statement);
        self.count -= paths.map_or(0, |paths| paths.len());
    }

    /// The server has forgotten how it was to run what bodies say.
    pub(super) fn discarded(&mut self) {
        self.routines.clear();
    }

    /// All prepared statements are.
    pub(super) fn all_dropped(&mut self) {
        (self.statements, self.count) = Default::default();
    }
}

fn digest<'t>(texts: impl IntoIterator<Item = &'t str>) -> Digest {
    digest_of(texts.into_iter().map(str::as_bytes))
}

/// A digest of a list.
fn digest_of<'t>(parts: impl IntoIterator<Item = &'t [u8]>) -> Digest {
    let mut digest = Context::new(&SHA256);
    for part in parts {
        digest.update(&part.len().to_be_bytes());
        digest.update(part);
    }
    let mut short = Digest::default();
    short.iter_mut().zip(digest.finish().as_ref()).for_each(|(to, from)| *to = *from);
    short
}

#[cfg(test)]
mod tests {
    use claviger_model::Meaning;
    use claviger_sql::{Catalog, Prepared, Session};

    use super::*;

    fn resolved(of: Planned, path: &str, name: &str) -> Resolved {
        Resolved { of, path: vec![path.into()], names: [name.to_owned()].into() }
    }

    fn statement(resolved: Vec<Resolved>, transitions: Vec<Transition>) -> Statement {
        Statement { meaning: Meaning::default(), span: 0..0, transitions, depends_on_values: false, resolved }
    }

    /// A text of statements of each of which these are the names.
    fn text(statements: &[Statement]) -> Text {
        let (names, prepares) = Names::of_all(statements, 0);
        Text { names, prepares, ..Text::read(b"", &Catalog::default(), &Session::default()) }
    }

    fn one(of: Planned, path: &str, name: &str) -> Text {
        text(&[statement(vec![resolved(of, path, name)], Vec::new())])
    }

    fn no<'n>(_: &[u8]) -> Option<Vec<&'n Names>> {
        None
    }

    fn old(_: &[u8], _: &Names) -> bool {
        false
    }

    #[test]
    fn a_statement_runs_along_each_path_as_it_did_first() {
        let mut plans = Plans::default();
        let own = |path, name| one(Planned::Text, path, name);
        assert_eq!(plans.stale(&own("a", "a.t"), None, no), None, "what is not bound is planned now");
        assert_eq!(plans.stale(&own("a", "a.t"), Some(b"s"), no), Some(Stale::Statement), "nobody knows it");
        plans.prepared("s".into(), own("a", "a.t").statement_names().into_iter());
        assert_eq!(plans.stale(&own("a", "b.t"), Some(b"s"), no), Some(Stale::Statement));
        // Along another path it is planned anew; along the first, it may be as it was.
        assert_eq!(plans.stale(&own("b", "b.t"), Some(b"s"), no), None);
        plans.runs(&own("b", "b.t"), Some(b"s"), old);
        assert_eq!(plans.stale(&own("b", "c.t"), Some(b"s"), no), Some(Stale::Statement));
        assert_eq!(plans.stale(&own("a", "c.t"), Some(b"s"), no), Some(Stale::Statement));
        assert_eq!(plans.stale(&own("a", "a.t"), Some(b"s"), no), None);
        // The same of what SQL runs by its name.
        let execute = |path, name| one(Planned::Prepared("s".into()), path, name);
        assert_eq!(plans.stale(&execute("a", "a.t"), None, no), None);
        assert_eq!(plans.stale(&execute("a", "b.t"), None, no), Some(Stale::Statement));
        plans.dropped(b"s");
        assert_eq!((plans.stale(&execute("a", "a.t"), None, no), plans.count), (Some(Stale::Statement), 0));
    }

    #[test]
    fn what_is_prepared_just_before_is_what_it_was_then() {
        let plans = Plans::default();
        let before = one(Planned::Text, "a", "a.t");
        let then = |_: &[u8]| Some(before.statement_names().into_iter().collect());
        let own = |path, name| one(Planned::Text, path, name);
        assert_eq!(plans.stale(&own("a", "a.t"), Some(b"s"), then), None);
        assert_eq!(plans.stale(&own("b", "b.t"), Some(b"s"), then), None);
        assert_eq!(plans.stale(&own("a", "b.t"), Some(b"s"), then), Some(Stale::Statement));
        assert_eq!(plans.stale(&own("a", "a.t"), Some(b"s"), |_: &[u8]| Some(Vec::new())), Some(Stale::Statement));
    }

    #[test]
    fn a_routine_does_the_same_all_along() {
        let mut plans = Plans::default();
        let call = |path, name| one(Planned::Routine(1, "f".into()), path, name);
        assert_eq!(plans.stale(&call("a", "a.t"), None, no), None);
        plans.runs(&call("a", "a.t"), None, old);
        plans.runs(&call("a", "b.t"), None, old);
        assert_eq!(plans.stale(&call("a", "b.t"), None, no), Some(Stale::Routine), "what it did first counts");
        assert_eq!(plans.stale(&call("b", "b.t"), None, no), None);
    }

    #[test]
    fn in_one_text_names_stand_for_one_thing() {
        let plans = Plans::default();
        let call = |name| statement(vec![resolved(Planned::Routine(1, "f".into()), "a", name)], Vec::new());
        assert_eq!(plans.stale(&text(&[call("a.t"), call("a.t")]), None, no), None);
        assert_eq!(plans.stale(&text(&[call("a.t"), call("b.t")]), None, no), Some(Stale::Routine));
        let prepare = |name| {
            let resolved = Some(Arc::new(resolved(Planned::Prepared("s".into()), "a", name)));
            statement(Vec::new(), vec![Transition::Prepare("s".into(), Prepared { text: "".into(), resolved })])
        };
        let execute = |name| statement(vec![resolved(Planned::Prepared("s".into()), "a", name)], Vec::new());
        assert_eq!(plans.stale(&text(&[prepare("a.t"), execute("a.t")]), None, no), None);
        assert_eq!(plans.stale(&text(&[prepare("a.t"), execute("b.t")]), None, no), Some(Stale::Statement));
        assert_eq!(plans.stale(&text(&[execute("b.t"), prepare("a.t"), execute("a.t")]), None, no), Some(Stale::Statement));
    }

    #[test]
    fn what_cannot_be_kept_does_not_run() {
        let mut plans = Plans::default();
        plans.prepared("s".into(), one(Planned::Text, "a", "a.t").statement_names().into_iter());
        for path in 1..MOST {
            plans.runs(&one(Planned::Text, &path.to_string(), "a.t"), Some(b"s"), old);
        }
        assert_eq!(plans.stale(&one(Planned::Text, "1", "a.t"), Some(b"s"), no), None);
        assert_eq!(plans.stale(&one(Planned::Text, "b", "a.t"), Some(b"s"), no), Some(Stale::Statement));
        plans.prepared("s".into(), one(Planned::Text, "b", "a.t").statement_names().into_iter());
        assert_eq!((plans.stale(&one(Planned::Text, "b", "a.t"), Some(b"s"), no), plans.count), (None, 1));
    }
}
