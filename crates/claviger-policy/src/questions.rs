//! From what a statement does to the questions that policies are asked.

use std::sync::Arc;

use claviger_model::{Effect, Hazard, Meaning, Object, Verb};

use crate::entities::Kind;

/// One question: may this be done to that?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which of the text's statements does it; counts from 0.
    pub statement: usize,
    /// What is done.
    pub verb: Verb,
    /// To what: one object, or columns of one table with the same labels, between which no policy tells a difference.
    pub objects: Vec<Object>,
    /// By way of what, if the statement does not name the object itself.
    pub through: Option<Arc<str>>,
}

/// What policies for an action on a type of thing can tell apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Telling {
    /// Things of the same table with the same labels.
    pub(crate) names: bool,
    /// By way of what it is done.
    pub(crate) through: bool,
}

/// The questions about one statement. `telling` says what policies tell apart, `named` whether one of them names an object itself.
pub(crate) fn questions(
    statement: usize,
    meaning: &Meaning,
    telling: impl Fn(Verb, Kind) -> Telling,
    named: impl Fn(Verb, &Object) -> bool,
) -> Vec<Asked> {
    let mut questions: Vec<Asked> = Vec::new();
    for Effect { verb, object, through } in &meaning.effects {
        let told = telling(*verb, Kind::of(object));
        let through = through.clone().filter(|_| told.through);
        let alone = told.names || named(*verb, object);
        // Effects are sorted, so whatever can be asked together stands together.
        let near = questions.iter_mut().rev().take_while(|asked| asked.verb == *verb && same_owner(asked, object));
        let together = near.into_iter().find(|asked| {
            asked.through == through
                && asked.objects.first().is_some_and(|first| {
                    first == object || (!alone && !told.names && alike(first, object) && !named(*verb, first))
                })
        });
        match together {
            Some(asked) if asked.objects.last() == Some(object) => {}
            Some(asked) => asked.objects.push(object.clone()),
            None => questions.push(Asked { statement, verb: *verb, objects: vec![object.clone()], through }),
        }
    }
    // What is dangerous is asked about even if it is done to nothing.
    if questions.is_empty() && !meaning.hazards.is_empty() {
        let verb = if meaning.hazards.contains(&Hazard::Unknown) { Verb::Unknown } else { Verb::Execute };
        questions.push(Asked { statement, verb, objects: vec![Object::Connection], through: None });
    }
    questions
}

/// Whether an object is the last one asked about, or a column of the same table.
fn same_owner(asked: &Asked, object: &Object) -> bool {
    match (asked.objects.last(), object) {
        (Some(Object::Column(a)), Object::Column(b)) => Arc::ptr_eq(&a.table, &b.table) || a.table == b.table,
        (Some(last), object) => last == object,
        (None, _) => false,
    }
}

/// Whether two are columns with the same labels.
fn alike(a: &Object, b: &Object) -> bool {
    matches!((a, b), (Object::Column(a), Object::Column(b)) if a.labels == b.labels)
}
