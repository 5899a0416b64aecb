//! What runs though no text calls it by its name: event triggers, casts that functions look for, ways to take samples.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use claviger_model::{Hazard, Verb};
use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{RangeTableSample, TypeCast};

use super::call::argument;
use super::names::{constant_text, has_parameter, qualified};
use super::{Analysis, Result};
use crate::builtin::{Builtin, extension};
use crate::catalog::FIRST_OF_OTHERS;
use crate::{Catalog, EventTrigger, Function, Session};

/// OIDs of types (PostgreSQL's `pg_type.dat`).
const JSON: u32 = 114;
const JSONB: u32 = 3802;

/// What may run because values of a type are in sight.
#[derive(Default)]
pub(super) struct Unasked {
    /// The functions of casts to JSON, and the OIDs of the types that they are for.
    to_json: Vec<(Arc<Function>, u32)>,
    /// Whether JSON is made of anything.
    makes_json: bool,
    /// Whether any type has code of the users' own.
    any: bool,
    /// The types in sight, with all that they consist of.
    seen: RefCell<HashSet<u32>>,
}

impl Unasked {
    pub(super) fn new(catalog: &Catalog) -> Self {
        let casts = catalog.casts().iter().filter(|cast| matches!(cast.to, JSON | JSONB));
        let to_json = casts.filter_map(|cast| Some((Arc::clone(catalog.function(cast.function)?), cast.from)));
        let to_json: Vec<_> = to_json.filter(|(function, _)| !only_computes(function)).collect();
        Self { any: !to_json.is_empty() || catalog.has_code_of_types(), to_json, ..Self::default() }
    }
}

impl Analysis<'_> {
    /// Event triggers run beside a definition of this class (PostgreSQL manual, chapter 40).
    pub(super) fn event_triggers(&mut self, class: &str) -> Result<()> {
        let catalog = self.catalog;
        for trigger in catalog.event_triggers().iter().filter(|trigger| fires(trigger, class)) {
            if let Some(function) = catalog.function(trigger.function) {
                self.follow(function)?;
            }
        }
        Ok(())
    }

    /// Functions that make JSON make it of a value by its type's cast, if it has one (PostgreSQL manual, 9.16, `to_json`).
    pub(super) fn makes_json(&mut self, name: &str) {
        const MAKERS: [&str; 9] = [
            "to_json",
            "row_to_json",
            "array_to_json",
            "json_build_",
            "jsonb_build_",
            "json_agg",
            "jsonb_agg",
            "json_object_agg",
            "jsonb_object_agg",
        ];
        self.unasked.makes_json |= MAKERS.iter().any(|maker| name.starts_with(maker));
    }

    /// Values of a type are in sight.
    pub(super) fn sees(&self, kind: u32) {
        if self.unasked.any {
            see(self.catalog, kind, &mut self.unasked.seen.borrow_mut());
        }
    }

    /// Values of any type may be, though of what is not named none is to become another.
    pub(super) fn sees_any(&self) {
        self.unasked.to_json.iter().for_each(|(_, kind)| self.sees(*kind));
    }

    /// Any value of the statement may have become JSON, or of another type in sight.
    pub(super) fn casts_unasked(&mut self) -> Result<()> {
        let seen = |this: &Self| this.unasked.seen.borrow().len();
        let mut known = 0;
        // What casts do may bring more types into sight.
        while self.unasked.makes_json && seen(self) > known {
            known = seen(self);
            let casts = self.unasked.to_json.iter().filter(|(_, from)| self.unasked.seen.borrow().contains(from));
            for function in casts.map(|(function, _)| Arc::clone(function)).collect::<Vec<_>>() {
                self.follow(&function)?;
            }
        }
        // Whether the code of the others runs is not told. Most does nothing but compute, and then it does not matter.
        if seen(self) > 0 && !self.types_that_act()?.is_disjoint(&self.unasked.seen.borrow()) {
            self.note_unknown(Hazard::Unknown);
        }
        Ok(())
    }

    /// The types of which a value may come to be, without its being asked for, by code that changes something or shows what is classified:
    /// by implicit casts, or by the checks of domains. For one search path the answer is the same.
    fn types_that_act(&self) -> Result<Arc<HashSet<u32>>> {
        let catalog = self.catalog;
        if let Some(known) = catalog.acting().of(self.run_path()) {
            return Ok(known);
        }
        let mut acting = HashSet::new();
        for cast in catalog.casts().iter().filter(|cast| cast.implicit) {
            let Some(function) = catalog.function(cast.function).filter(|function| !only_computes(function)) else { continue };
            if !self.only_reads(|alone| alone.follow(function))? {
                // Both are there where it is put in: the one that is not the server's own tells more.
                acting.insert(if cast.from < FIRST_OF_OTHERS { cast.to } else { cast.from });
            }
        }
        for kind in catalog.types_with_checks() {
            let checks =
                |alone: &mut Analysis<'_>| kind.checks.iter().try_for_each(|check| alone.own_expression(check, &kind.name, None));
            if !self.only_reads(checks)? {
                acting.insert(kind.id);
            }
        }
        Ok(catalog.acting().put(self.run_path(), acting))
    }

    /// Whether code changes nothing, and shows nothing that is classified.
    fn only_reads(&self, code: impl FnOnce(&mut Analysis<'_>) -> Result<()>) -> Result<bool> {
        let mut alone = Analysis::new(self.catalog, self.session);
        alone.runs_along(self.run_path().to_vec());
        code(&mut alone)?;
        Ok(alone.disclosure.told.is_empty()
            && alone.effects.iter().all(|effect| matches!(effect.verb, Verb::Execute | Verb::Read)))
    }

    /// What is given to a function of the users' own, or given back by it, becomes what it takes.
    pub(super) fn converted_by(&mut self, function: &Function) -> Result<()> {
        let kinds = function.arguments.iter().chain(&function.all_types).chain([&function.returns]);
        kinds.copied().collect::<BTreeSet<u32>>().into_iter().try_for_each(|kind| self.converted_to(kind))
    }

    /// The same of the variables of a body, whose types are among its words; those of a table's columns may be named after it.
    pub(super) fn converted_in(&mut self, words: &HashSet<String>) -> Result<()> {
        let catalog = self.catalog;
        let named = words.iter().filter(|word| catalog.has_schema(word)).map(|word| word.as_str().into());
        let schemas: BTreeSet<Arc<str>> = self.run_path().iter().map(Arc::clone).chain(named).collect();
        let mut kinds = BTreeSet::new();
        for schema in schemas.iter().filter(|schema| ***schema != *"pg_catalog") {
            for kind in words.iter().filter_map(|word| catalog.find_type(Some(schema), word, &[])) {
                let row = catalog.relation(kind.relation);
                kinds.insert(kind.id);
                kinds.extend(row.into_iter().flat_map(|relation| &relation.columns).map(|facts| facts.kind));
            }
        }
        kinds.into_iter().try_for_each(|kind| self.converted_to(kind))
    }

    /// `TABLESAMPLE method (…)`: a method of the users' own is a function of that name.
    pub(super) fn sample_method(&mut self, sample: &RangeTableSample) -> Result<()> {
        match qualified(sample.method()) {
            Some((None | Some("pg_catalog"), "bernoulli" | "system")) => Ok(()),
            Some((schema, name)) => self.call_by_name(schema, name, 1),
            None => Ok(()),
        }
    }

    /// Functions of the server's own of which some calls are harmless, as can be told from what they are given. Whether this is one.
    pub(super) fn is_harmless_call(&mut self, schema: Option<&str>, name: &str, arguments: &NodeList) -> Result<bool> {
        if schema.is_some_and(|schema| schema != "pg_catalog") {
            return Ok(false);
        }
        match (name, arguments.len()) {
            // With two, the second is a statement.
            ("ts_rewrite", 3) => Ok(true),
            // The input function of the type that is named, and the checks of a domain.
            ("pg_input_is_valid" | "pg_input_error_info", 2) => {
                let kind = arguments.get(1).map_or(Node::None, argument);
                self.depends_on_values |= has_parameter(kind);
                let Some(text) = constant_text(kind) else { return Ok(false) };
                let Ok(parsed) = pg_raw_parse::parse(&format!("SELECT NULL::{text}")) else { return Ok(false) };
                let mut statements = parsed.iter();
                let (Some(statement), None) = (statements.next(), statements.next()) else { return Ok(false) };
                let Some(name) = only_cast(statement.stmt()).and_then(TypeCast::type_name) else { return Ok(false) };
                self.converted_text(name)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// A type comes into sight, with all that it consists of.
fn see(catalog: &Catalog, kind: u32, seen: &mut HashSet<u32>) {
    let mut waiting = vec![kind];
    while let Some(kind) = waiting.pop() {
        let Some(facts) = catalog.kind(kind).filter(|_| seen.insert(kind)) else { continue };
        let row = catalog.relation(facts.relation);
        waiting.extend(row.into_iter().flat_map(|relation| &relation.columns).map(|facts| facts.kind));
        waiting.extend([facts.base, facts.element]);
    }
}

/// Whether values of one of these types, by OID, may come to be by code of the users' own that changes something, or shows what is classified.
pub(crate) fn act(kinds: &[u32], catalog: &Catalog, session: &Session) -> bool {
    if !catalog.has_code_of_types() {
        return false;
    }
    let mut seen = HashSet::new();
    kinds.iter().for_each(|kind| see(catalog, *kind, &mut seen));
    // What cannot be told may do anything.
    Analysis::new(catalog, session).types_that_act().map_or(true, |acting| !acting.is_disjoint(&seen))
}

fn fires(trigger: &EventTrigger, class: &str) -> bool {
    let verb = class.split(' ').next().unwrap_or_default();
    let by_event = match &*trigger.event {
        "sql_drop" => matches!(verb, "DROP" | "ALTER" | "REASSIGN" | "REFRESH"),
        "table_rewrite" => verb == "ALTER",
        "login" => false,
        _ => true,
    };
    // A class says less than the server's own tag; each begins with the same verb.
    by_event && (trigger.tags.is_empty() || trigger.tags.iter().any(|tag| tag.split(' ').next() == Some(verb)))
}

fn only_computes(function: &Function) -> bool {
    let known = function.extension.as_deref().and_then(|of| extension(of, &function.routine.name));
    known == Some(Builtin::Harmless) && !matches!(&*function.language, "sql" | "plpgsql")
}

/// The cast that is all that a query consists of.
fn only_cast(node: Node<'_>) -> Option<&TypeCast> {
    let Node::SelectStmt(select) = node else { return None };
    let plain = select.from_clause().is_empty() && matches!(select.where_clause(), Node::None) && select.into_clause().is_none();
    let mut targets = select.target_list().iter();
    match (targets.next().map(|target| target.val()), targets.next(), plain) {
        (Some(Node::TypeCast(cast)), None, true) if matches!(cast.arg(), Node::A_Const(_)) => Some(cast),
        _ => None,
    }
}
