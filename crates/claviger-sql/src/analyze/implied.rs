//! What runs though no text calls it by its name: event triggers, casts that functions look for, ways to take samples.

use std::collections::HashSet;
use std::sync::Arc;

use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{RangeTableSample, TypeCast};

use super::call::argument;
use super::names::{constant_text, has_parameter, qualified};
use super::{Analysis, Result};
use crate::builtin::{Builtin, extension};
use crate::{Catalog, EventTrigger, Function};

/// OIDs of types (PostgreSQL's `pg_type.dat`).
const JSON: u32 = 114;
const JSONB: u32 = 3802;

/// What may become JSON by a cast of the users' own, without being asked to.
#[derive(Default)]
pub(super) struct IntoJson {
    /// The functions of such casts, and the OIDs of the types that they are for.
    casts: Vec<(Arc<Function>, u32)>,
    /// Whether JSON is made of anything.
    made: bool,
    /// The types in sight, with all that they consist of.
    seen: HashSet<u32>,
}

impl IntoJson {
    pub(super) fn new(catalog: &Catalog) -> Self {
        let casts = catalog.casts().iter().filter(|cast| matches!(cast.to, JSON | JSONB));
        let casts = casts.filter_map(|cast| Some((Arc::clone(catalog.function(cast.function)?), cast.from)));
        Self { casts: casts.filter(|(function, _)| !only_computes(function)).collect(), ..Self::default() }
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
        self.json.made |= MAKERS.iter().any(|maker| name.starts_with(maker));
    }

    /// Values of a type are in sight.
    pub(super) fn sees(&mut self, kind: u32) {
        if self.json.casts.is_empty() {
            return;
        }
        let mut waiting = vec![kind];
        while let Some(kind) = waiting.pop() {
            let Some(facts) = self.catalog.kind(kind).filter(|_| self.json.seen.insert(kind)) else { continue };
            let row = self.catalog.relation(facts.relation);
            waiting.extend(row.into_iter().flat_map(|relation| &relation.columns).map(|facts| facts.kind));
            waiting.extend([facts.base, facts.element]);
        }
    }

    /// Values of any type may be.
    pub(super) fn sees_any(&mut self) {
        let kinds: Vec<u32> = self.json.casts.iter().map(|(_, from)| *from).collect();
        kinds.into_iter().for_each(|kind| self.sees(kind));
    }

    /// Any value of the statement may have become JSON.
    pub(super) fn casts_to_json(&mut self) -> Result<()> {
        let mut known = 0;
        // What casts do may bring more types into sight.
        while self.json.made && self.json.seen.len() > known {
            known = self.json.seen.len();
            let casts = self.json.casts.iter().filter(|(_, from)| self.json.seen.contains(from));
            for function in casts.map(|(function, _)| Arc::clone(function)).collect::<Vec<_>>() {
                self.follow(&function)?;
            }
        }
        Ok(())
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
