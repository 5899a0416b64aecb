//! What a service's paths are, where somebody has described it: templates such as `/users/{id}`, and which of them a path fits.
//!
//! A path is compared as policy sees it, segment by segment and unescaped, with the templates that have the request's method. As OpenAPI
//! has it (version 3.1, section 4.8.8.2), what stands in a template literally goes before a parameter; of templates of which neither is
//! more exact than the other, all are called, as nobody but the server knows which. Servers differ in whether letters are capital, whether
//! there is a slash at the end, and whether something is escaped that need not be: a template that a path fits but for its spelling is
//! called, too, unless one that it fits as it is says as much. So no such spelling leads around a template.

mod segment;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use claviger_model::{Effect, Endpoint, Hazard, Meaning, Object, Verb};

use self::segment::{Part, Segment, any_of, folded, template_text};
use crate::Dialect;

/// The longest template, in bytes.
const LONGEST: usize = 1024;
/// The most templates of one service.
const MOST: usize = 65_536;

/// The path templates of a service, ready to be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Templates {
    templates: Vec<Template>,
    /// The first is where paths begin.
    nodes: Vec<Node>,
}

/// An operation of a service, as it is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The method, in upper case.
    pub method: &'static str,
    /// The path's template, all of it: `/v1/users/{id}`.
    pub template: String,
    /// What it is called.
    pub operation: Option<Arc<str>>,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongTemplate {
    /// It does not begin with a slash.
    #[error("does not begin with a slash")]
    NoPath,
    /// Its braces do not stand in pairs, inside one segment, around a name.
    #[error("has braces that are not those of a parameter inside one segment")]
    Braces,
    /// It has a query, an empty segment, or something else that no path has.
    #[error("has {0}, which no path of a request has")]
    Impossible(&'static str),
    /// It is too long.
    #[error("is longer than {LONGEST} bytes")]
    TooLong,
    /// There are too many.
    #[error("is one of more than {MOST}")]
    TooMany,
    /// Another one fits the same paths, with the same method.
    #[error("fits the same paths as `{0}`")]
    SameAs(Arc<str>),
    /// It is there twice with the same method.
    #[error("is there twice with the method {0}")]
    Twice(&'static str),
}

/// What a path fits, with the operations that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Template {
    segments: Vec<Segment>,
    operations: Vec<Operation>,
}

/// What is called with one method.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Operation {
    method: &'static str,
    /// The template as it is written for this method: another may call its parameters otherwise.
    template: Arc<str>,
    /// What it is called.
    name: Option<Arc<str>>,
}

/// What can follow the same beginning of paths: other nodes, by their places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    /// By their folded texts; of those that differ in their capital letters only, each.
    literals: BTreeMap<Box<str>, Vec<(Box<str>, usize)>>,
    /// Segments with something literal in them.
    mixed: Vec<(Segment, usize)>,
    parameter: Option<usize>,
    /// The template that ends here.
    end: Option<usize>,
}

impl Default for Templates {
    fn default() -> Self {
        Self { templates: Vec::new(), nodes: vec![Node::default()] }
    }
}

impl Templates {
    /// Adds an operation; or says why it cannot be one.
    pub fn add(&mut self, described: &Described) -> Result<(), WrongTemplate> {
        if described.template.len() > LONGEST {
            return Err(WrongTemplate::TooLong);
        }
        let path = described.template.strip_prefix('/').ok_or(WrongTemplate::NoPath)?;
        let mut parts = path.split('/').peekable();
        let mut segments = Vec::new();
        while let Some(part) = parts.next() {
            segments.push(Segment::read(part, parts.peek().is_none())?);
        }
        let operation =
            Operation { method: described.method, template: template_text(&segments).into(), name: described.operation.clone() };
        let (new, mut place) = (self.templates.len(), 0);
        for segment in &segments {
            place = self.next(place, segment);
        }
        let end = self.nodes.get_mut(place).map(|node| *node.end.get_or_insert(new));
        match end.and_then(|end| self.templates.get_mut(end)) {
            None if new >= MOST => Err(WrongTemplate::TooMany),
            None => {
                self.templates.push(Template { segments, operations: vec![operation] });
                Ok(())
            }
            Some(known) => known.add(operation),
        }
    }

    /// Names the endpoint that a request calls by the template that its path fits; each, if it may be several. `sent` is its path as it
    /// leaves, where that is spelled otherwise. Of a path that fits none nothing is known, unless the dialect does.
    pub fn name(&self, dialect: Dialect, sent: Option<&str>, meaning: &mut Meaning) {
        let is_endpoint = |effect: &&Effect| matches!(effect.object, Object::Endpoint(_));
        let Some(effect) = meaning.effects.iter().find(is_endpoint).cloned() else { return };
        let Object::Endpoint(endpoint) = &effect.object else { return };
        let called = self.called(endpoint.method, &endpoint.path, sent);
        if called.is_empty() && dialect != Dialect::Plain {
            return;
        }
        meaning.effects.remove(&effect);
        if called.is_empty() {
            meaning.hazards.insert(Hazard::Unknown);
            meaning.effects.insert(Effect { verb: Verb::Unknown, ..effect });
            return;
        }
        for Operation { template, name, .. } in called {
            let (template, operation) = (Some(Arc::clone(template)), name.clone());
            let object = Object::Endpoint(Endpoint { template, operation, ..(**endpoint).clone() }.into());
            meaning.effects.insert(Effect { object, ..effect.clone() });
        }
    }

    /// What endpoints are named by in the place of this name, `GET /users/7` or `GET /users/{user}`, if none is named so: policies with it
    /// would say nothing of them.
    pub fn named_otherwise(&self, name: &str) -> Option<&Arc<str>> {
        let (method, path) = name.split_once(' ')?;
        let (fitting, near) = self.fitting(method, &any_of(path));
        let named: Vec<_> =
            fitting.iter().chain(&near).filter_map(|fit| Some(&fit.template.operation(method)?.template)).collect();
        let is_known = named.iter().any(|template| ***template == *path);
        named.first().filter(|_| !is_known).copied()
    }

    /// What a request may call; nothing if the description has no such path with this method.
    fn called(&self, method: &str, path: &str, sent: Option<&str>) -> Vec<&Operation> {
        let (mut fitting, near) = self.fitting(method, path);
        if fitting.is_empty() {
            return Vec::new();
        }
        fitting.extend(near);
        if let Some(path) = sent {
            let (as_sent, near) = self.fitting(method, path);
            fitting.extend(as_sent.into_iter().chain(near));
        }
        let mut called = Vec::new();
        for operation in fitting.into_iter().filter_map(|fit| fit.template.operation(method)) {
            if !called.contains(&operation) {
                called.push(operation);
            }
        }
        called
    }

    /// The most exact templates with a method that a path fits, and those that it nearly fits and that say something else of it.
    fn fitting(&self, method: &str, path: &str) -> (Vec<Fit<'_>>, Vec<Fit<'_>>) {
        let mut found = Vec::new();
        let parts = path.strip_prefix('/').and_then(|path| path.split('/').map(Part::of).collect::<Option<Vec<_>>>());
        self.walk(0, parts.as_deref().unwrap_or_default(), true, &mut found);
        // Before one is found to be more exact than another: servers look at methods, too.
        found.retain(|fit| fit.template.operation(method).is_some());
        let (exact, mut near): (Vec<_>, Vec<_>) = found.into_iter().partition(|fit| fit.exact);
        let exact = most_exact(&exact);
        near.retain(|near| !exact.iter().any(|fit| fit.template.says_as_much_as(near.template)));
        (exact, near)
    }

    /// All templates from a node on that the rest of a path fits, at least nearly. A look-up for each segment, as a rule; never more than a
    /// look at every template.
    fn walk<'s>(&'s self, node: usize, parts: &[Part<'_>], exact: bool, found: &mut Vec<Fit<'s>>) {
        let Some(node) = self.nodes.get(node) else { return };
        let (part, rest, slash) = match parts {
            [] => (None, parts, false),
            [part] if part.text.is_empty() => (None, parts, true),
            [part, rest @ ..] => (Some(part), rest, false),
        };
        let Some(part) = part else {
            self.end(node, exact && !slash, found);
            let slashed = node.literal("").filter_map(|(_, next)| self.nodes.get(next));
            slashed.for_each(|slashed| self.end(slashed, exact && slash, found));
            return;
        };
        for (literal, next) in node.literal(&part.folded) {
            self.walk(next, rest, exact && *literal == *part.text, found);
        }
        for (mixed, next) in node.mixed.iter().filter(|(mixed, _)| mixed.nearly_fits(part)) {
            self.walk(*next, rest, exact && mixed.fits(part), found);
        }
        if let Some(next) = node.parameter.filter(|_| !part.text.is_empty()) {
            self.walk(next, rest, exact, found);
        }
    }

    fn end<'s>(&'s self, node: &Node, exact: bool, found: &mut Vec<Fit<'s>>) {
        found.extend(node.end.and_then(|end| self.templates.get(end)).map(|template| Fit { template, exact }));
    }

    /// The node behind a segment, made if there is none.
    fn next(&mut self, place: usize, segment: &Segment) -> usize {
        let new = self.nodes.len();
        let Some(node) = self.nodes.get_mut(place) else { return place };
        let next = match segment {
            Segment::Literal(text) => {
                let same = node.literals.entry(folded(text).into()).or_default();
                match same.iter().find(|(known, _)| known == text) {
                    Some((_, next)) => *next,
                    None => {
                        same.push((text.clone(), new));
                        new
                    }
                }
            }
            Segment::Mixed { .. } => match node.mixed.iter().find(|(known, _)| known.is_same(segment)) {
                Some((_, next)) => *next,
                None => {
                    node.mixed.push((segment.clone(), new));
                    new
                }
            },
            Segment::Parameter(_) => *node.parameter.get_or_insert(new),
        };
        if next == new {
            self.nodes.push(Node::default());
        }
        next
    }
}

/// A template that a path fits.
#[derive(Clone, Copy)]
struct Fit<'a> {
    template: &'a Template,
    /// Or but for its spelling.
    exact: bool,
}

/// Those than which none of the others is more exact.
fn most_exact<'a>(fits: &[Fit<'a>]) -> Vec<Fit<'a>> {
    let beaten = |fit: &Fit<'_>| fits.iter().any(|other| other.template.is_more_exact(fit.template));
    fits.iter().filter(|fit| !beaten(fit)).copied().collect()
}

impl Node {
    fn literal(&self, folded: &str) -> impl Iterator<Item = (&str, usize)> {
        self.literals.get(folded).into_iter().flatten().map(|(text, next)| (&**text, *next))
    }
}

impl Template {
    fn add(&mut self, operation: Operation) -> Result<(), WrongTemplate> {
        match self.operations.iter().find(|known| known.method == operation.method) {
            Some(known) if known.template == operation.template => Err(WrongTemplate::Twice(operation.method)),
            Some(known) => Err(WrongTemplate::SameAs(Arc::clone(&known.template))),
            None => {
                self.operations.push(operation);
                Ok(())
            }
        }
    }

    /// What is called with this method, if anything is. A head is what would be answered to `GET`, without the content.
    fn operation(&self, method: &str) -> Option<&Operation> {
        let of = |method: &str| self.operations.iter().find(|known| known.method == method);
        of(method).or_else(|| of("GET").filter(|_| method == "HEAD"))
    }

    /// Whether of two templates that the same path fits, this one says as much of it as the other. Their segments are as many, but for a
    /// slash at the end.
    fn says_as_much_as(&self, other: &Self) -> bool {
        self.segments.iter().zip(&other.segments).all(|(own, others)| own.says_as_much_as(others))
    }

    fn is_more_exact(&self, other: &Self) -> bool {
        self.says_as_much_as(other) && !other.says_as_much_as(self)
    }
}
