//! Calls: of functions by their names, and by operators, casts and types.

use std::sync::Arc;

use claviger_model::{Hazard, Object, Verb};
use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{self, TypeName};

use super::disclose;
use super::flow::{Flow, Sources};
use super::names::{constant_text, has_parameter, names_of, qualified};
use super::scope::Scope;
use super::walk::visit;
use super::{Analysis, Result};
use crate::builtin::{Builtin, SettingKind, Special, Target, builtin, extension, setting};
use crate::{Cast, Function, FunctionKind, Transition};

/// Aggregates of the server's own that show none of the values that they are given: they say how many there are, or sum them up. The
/// smallest, the largest and the most frequent are single values.
const SUMMARIES: &[&str] = &[
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "every",
    "max",
    "min",
    "mode",
    "percentile_cont",
    "percentile_disc",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "sum",
    "var_pop",
    "var_samp",
    "variance",
    "any_value",
];

const SYSTEM: &str = "pg_catalog";

/// Functions that the server's `information_schema` computes with. JDBC calls the first.
const INFORMATION: &[&str] = &[
    "_pg_expandarray",
    "_pg_index_position",
    "_pg_truetypid",
    "_pg_truetypmod",
    "_pg_char_max_length",
    "_pg_char_octet_length",
    "_pg_numeric_precision",
    "_pg_numeric_precision_radix",
    "_pg_numeric_scale",
    "_pg_datetime_precision",
    "_pg_interval_type",
];

impl Analysis<'_> {
    /// Follows a call.
    pub(super) fn call(&mut self, scope: &Scope<'_>, call: &nodes::FuncCall) -> Result<Flow> {
        let (mut flow, mut arguments) = (Flow::default(), Vec::new());
        for node in call.args().iter().map(argument) {
            let one = self.expression(scope, node)?;
            flow.add(&one);
            arguments.push((node, one));
        }
        for sort in call.agg_order().iter() {
            // Ordered-set aggregates are given their values by what they are ordered by.
            let sorted = if call.agg_within_group {
                let mut sorted = self.sort(scope, sort)?;
                sorted.control.add(&sorted.value.clone());
                sorted.rows = Sources::default();
                sorted
            } else {
                self.condition(scope, Node::SortBy(sort))?
            };
            flow.add(&sorted);
        }
        flow.add(&self.condition(scope, call.agg_filter())?);
        if let Some(window) = call.over() {
            flow.add(&self.window(scope, window)?);
        }
        let Some((schema, name)) = qualified(call.funcname()) else {
            self.note_unknown(Hazard::Unknown);
            return Ok(flow);
        };
        let arity = call.args().len();
        self.resolves_functions(schema, name);
        self.does(name);
        if let Some(field) = self.attribute(scope, schema, name, call) {
            return Ok(field);
        }
        flow = self.given(scope, (schema, name), &arguments, flow);
        if self.is_harmless_call(schema, name, call.args())? || self.special(scope, schema, name, call.args())? {
            for function in self.fitting(schema, name, arity) {
                self.follow(&function)?;
            }
        } else {
            self.call_by_name(schema, name, arity)?;
        }
        if call.over().is_some() {
            return Ok(flow);
        }
        // How many were gathered is all that is left of them.
        if matches!(name, "cardinality" | "array_length" | "json_array_length" | "jsonb_array_length")
            && !self.is_function_of_users(name)
        {
            (flow.rows, flow.gathered) = Default::default();
        }
        if self.is_user_aggregate(schema, name) || matches!(self.system_function(schema, name), Some(Builtin::Gathers)) {
            return Ok(Self::gathered(scope, flow));
        }
        if self.is_summary(schema, name) {
            flow.rows = Sources::default();
        }
        Ok(flow)
    }

    /// What a call is made of that is given this.
    fn given(
        &mut self,
        scope: &Scope<'_>,
        (schema, name): (Option<&str>, &str),
        arguments: &[(Node<'_>, Flow)],
        mut flow: Flow,
    ) -> Flow {
        if flow.shows.is_empty() {
            return flow;
        }
        let system = self.system_function(schema, name);
        let own = self.catalog.find_functions(schema, name, &self.path).any(|function| {
            let known = function.extension.as_deref().and_then(|of| extension(of, &function.routine.name));
            !matches!(known, Some(Builtin::Harmless)) && takes(function, arguments.len())
        });
        if !own && system == Some(Builtin::Harmless) && name == "count" && self.is_counted(scope, arguments) {
            return flow.without_values();
        }
        // What is done with a value where nobody looks, or beyond computing, may tell of it in any way.
        let told = own || matches!(system, Some(Builtin::Special(_)));
        let fails = flow.compared && !disclose::is_total(name);
        let compares = self.compares(name, arguments);
        let many = disclose::is_many(name) && (flow.compared || compares || name.starts_with("generate_"));
        if told || fails || many {
            self.decided(flow.clone());
        }
        flow.compared |= compares;
        flow
    }

    /// Whether what is counted is a value as it is, or whole rows: then only whether it is there is told.
    fn is_counted(&mut self, scope: &Scope<'_>, arguments: &[(Node<'_>, Flow)]) -> bool {
        match arguments {
            [(Node::ColumnRef(_), flow)] if flow.copy.is_some() => true,
            [(node, _)] => self.is_row(scope, *node),
            _ => false,
        }
    }

    /// `column(row)` is `row.column` where there is no such function (PostgreSQL manual, 38.5.2).
    fn attribute(&self, scope: &Scope<'_>, schema: Option<&str>, name: &str, call: &nodes::FuncCall) -> Option<Flow> {
        let Some(Node::ColumnRef(row)) = call.args().first() else { return None };
        let parts = super::names::parts(row.fields());
        let (Some(item), 1, None, false) = (parts.last(), call.args().len(), schema, self.is_function(name)) else {
            return None;
        };
        let (_, item) = scope.item(None, item)?;
        item.fields.iter().find(|field| *field.name == *name).map(|field| field.flow.clone())
    }

    /// What an aggregate gathers of tables whose rows have no bound is all of them.
    pub(super) fn gathered(scope: &Scope<'_>, mut flow: Flow) -> Flow {
        let all = flow.rows.filtered(|column| scope.unbounded.contains(&column.table));
        flow.gathered.add(&all);
        // For each row outside there may be others.
        flow.rows = flow.rows.filtered(|column| !scope.unbounded.contains(&column.table));
        flow
    }

    /// Whether a call sums its rows up, so that its query gives one row for each group.
    pub(super) fn is_aggregate(&self, call: &nodes::FuncCall) -> bool {
        let Some((schema, name)) = qualified(call.funcname()) else { return false };
        call.over().is_none()
            && (call.agg_star
                || call.agg_within_group
                || self.is_summary(schema, name)
                || self.is_user_aggregate(schema, name)
                || matches!(self.system_function(schema, name), Some(Builtin::Gathers)))
    }

    fn is_summary(&self, schema: Option<&str>, name: &str) -> bool {
        SUMMARIES.contains(&name) && schema.is_none_or(|schema| schema == SYSTEM)
    }

    fn is_user_aggregate(&self, schema: Option<&str>, name: &str) -> bool {
        self.catalog.find_functions(schema, name, &self.path).any(|function| function.kind == FunctionKind::Aggregate)
    }

    pub(super) fn system_function(&self, schema: Option<&str>, name: &str) -> Option<Builtin> {
        match schema {
            Some("information_schema") => INFORMATION.contains(&name).then_some(Builtin::Harmless),
            schema => schema.is_none_or(|schema| schema == SYSTEM).then(|| builtin(name)).flatten(),
        }
    }

    /// Whether the users have a function of this name.
    pub(super) fn is_function_of_users(&self, name: &str) -> bool {
        self.catalog.find_functions(None, name, &self.path).next().is_some()
    }

    /// Whether there is a function of this name.
    pub(super) fn is_function(&self, name: &str) -> bool {
        builtin(name).is_some() || self.catalog.find_functions(None, name, &self.path).next().is_some()
    }

    /// Follows every function that a name with so many arguments can stand for.
    pub(super) fn call_by_name(&mut self, schema: Option<&str>, name: &str, arity: usize) -> Result<()> {
        let given = schema;
        let schema = schema.map(|schema| self.schema(schema).to_owned());
        let system = self.system_function(schema.as_deref(), name);
        let fitting = self.fitting(schema.as_deref(), name, arity);
        match system {
            Some(Builtin::Special(special)) => self.special_function(name, special),
            Some(Builtin::Harmless | Builtin::Gathers) => self.makes_json(name),
            // It is the server's to say that there is none, and that none takes so many arguments; what is not known may do anything.
            None if fitting.is_empty() && !self.is_conversion(schema.as_deref(), name, arity) => {
                let schema = schema.as_deref().unwrap_or(SYSTEM).into();
                self.hazards.insert(Hazard::Opaque);
                let own = self.catalog.find_functions(given.map(|schema| self.schema(schema)), name, &self.path).next().is_some();
                self.note_routine(Verb::Execute, &schema, name, !own);
                self.note_unknown(Hazard::Unknown);
            }
            None => {}
        }
        for function in &fitting {
            self.follow(function)?;
        }
        Ok(())
    }

    /// The functions of the users' own that a name with so many arguments can stand for.
    fn fitting(&self, schema: Option<&str>, name: &str, arity: usize) -> Vec<Arc<Function>> {
        let schema = schema.map(|schema| self.schema(schema));
        self.catalog.find_functions(schema, name, &self.path).filter(|function| takes(function, arity)).cloned().collect()
    }

    /// `type(value)` is a cast where there is no such function.
    fn is_conversion(&self, schema: Option<&str>, name: &str, arity: usize) -> bool {
        arity == 1 && self.catalog.find_type(schema, name, &self.path).is_some_and(|kind| kind.schema.as_ref() == SYSTEM)
    }

    fn special_function(&mut self, name: &str, special: Special) {
        self.doings += 1;
        self.hazards.extend(special.hazard);
        self.note_routine(special.verb, &SYSTEM.into(), name, true);
    }

    /// Calls whose arguments say what they do it to.
    fn special(&mut self, scope: &Scope<'_>, schema: Option<&str>, name: &str, arguments: &NodeList) -> Result<bool> {
        let Some(Builtin::Special(special)) = self.system_function(schema, name) else { return Ok(false) };
        self.doings += 1;
        self.depends_on_values |= arguments.iter().map(argument).any(has_parameter);
        let first = arguments.first().map(argument).and_then(|first| constant_text(first).or_else(|| scope.known_text(first)));
        let is_plain = |node| scope.known_text(node).is_some() || self.plain_text(node).is_some();
        let is_certain = special.target != Target::Setting || arguments.first().map(argument).is_some_and(is_plain);
        let Some(first) = first.filter(|_| is_certain) else {
            if special.target == Target::Setting {
                self.transitions.push(Transition::Resync);
            }
            return Ok(false);
        };
        match special.target {
            Target::Itself => Ok(false),
            Target::Sequence => self.sequence(&first, special.verb),
            Target::Setting => Ok(self.set_by_call(&first.to_ascii_lowercase(), arguments)),
            Target::Channel => {
                let object = self.definition("channel", &first);
                self.note(special.verb, object);
                Ok(true)
            }
        }
    }

    /// `set_config(name, value, …)`. Whether it can be told what that does.
    fn set_by_call(&mut self, name: &str, arguments: &NodeList) -> bool {
        let value = arguments.get(1).map_or(Node::None, argument);
        // A value out of a table would be told to everybody who asks for the setting.
        let mut of_table = false;
        visit(value, |node| of_table |= matches!(node, Node::ColumnRef(_) | Node::SubLink(_)));
        // One that is yet to come is looked at when it has.
        let is_to_come = has_parameter(value) && matches!(setting(name), SettingKind::Path | SettingKind::Pinned(_));
        // Elsewhere in a query it may not be computed, or more than once.
        let is_certain = self.computed_once.contains(&std::ptr::from_ref(arguments).addr());
        let is_put_off = matches!(setting(name), SettingKind::Path) && !is_certain;
        if of_table || is_to_come || is_put_off {
            self.transitions.push(Transition::Resync);
            return false;
        }
        let value = self.plain_text(value);
        // A search path is a list in itself.
        let values = value.and_then(|value| if name == "search_path" { names_of(&value) } else { Some(vec![value]) });
        self.set_meanwhile(name, values);
        true
    }

    /// A text that stands in the statement, and is not made another by any type.
    fn plain_text(&self, node: Node<'_>) -> Option<String> {
        let is_text = |name: &TypeName| {
            let kind = self.type_of(name).filter(|kind| kind.schema.as_ref() == SYSTEM);
            name.typmods().is_empty() && kind.is_some_and(|kind| matches!(&*kind.name, "text" | "varchar"))
        };
        match node {
            Node::TypeCast(cast) => self.plain_text(cast.arg()).filter(|_| cast.type_name().is_some_and(is_text)),
            node => constant_text(node),
        }
    }

    /// A sequence that a text names, as `regclass` reads it.
    fn sequence(&mut self, text: &str, verb: Verb) -> Result<bool> {
        let Some(name) = unquoted(text) else { return Ok(false) };
        let (schema, name) = match &name[..] {
            [name] => (None, name),
            [schema, name] => (Some(self.schema(schema)), name),
            _ => return Ok(false),
        };
        let Some(relation) = self.catalog.find_relation(schema, name, &self.path) else { return Ok(false) };
        if schema.is_none() {
            self.resolves_relation(relation);
        }
        let table = Arc::clone(&relation.table);
        self.note(verb, Object::Table(table));
        Ok(true)
    }

    /// Follows every operator of the users' own that a name can stand for. The server's own do nothing but compute.
    pub(super) fn operator(&mut self, schema: Option<&str>, name: &str) -> Result<()> {
        let catalog = self.catalog;
        let path = self.path.clone();
        let schema = schema.map(|schema| self.schema(schema).to_owned());
        for operator in catalog.find_operators(schema.as_deref(), name, &path) {
            [operator.left, operator.right].into_iter().try_for_each(|kind| self.converted_to(kind))?;
            if let Some(function) = catalog.function(operator.function) {
                self.follow(function)?;
            }
        }
        Ok(())
    }

    /// A value becomes one of this type because it is asked to: by casts, input functions and checks of the users' own.
    pub(super) fn converted(&mut self, name: &TypeName) -> Result<()> {
        let kind = self.type_of(name);
        kind.map_or(Ok(()), |kind| self.deeper(|this| this.converted_here(kind.id, |_| true)))
    }

    /// The same, of a text that stands in the statement itself: that is the type's own to read.
    pub(super) fn converted_text(&mut self, name: &TypeName) -> Result<()> {
        let kind = self.type_of(name);
        kind.map_or(Ok(()), |kind| self.deeper(|this| this.converted_here(kind.id, |_| false)))
    }

    /// The same, of a value that is assigned, without being asked.
    pub(super) fn converted_to(&mut self, kind: u32) -> Result<()> {
        self.deeper(|this| this.converted_here(kind, |cast| cast.implicit))
    }

    fn converted_here(&mut self, kind: u32, applies: fn(&Cast) -> bool) -> Result<()> {
        self.sees(kind);
        let catalog = self.catalog;
        let casts = catalog.casts().iter().filter(|cast| cast.to == kind && applies(cast));
        self.resolves_casts(casts.clone());
        for cast in casts {
            if let Some(function) = catalog.function(cast.function) {
                self.follow(function)?;
            }
        }
        let Some(facts) = catalog.kind(kind) else { return Ok(()) };
        for function in facts.functions.iter().filter_map(|id| catalog.function(*id)) {
            self.follow(function)?;
        }
        for check in &facts.checks {
            self.own_expression(check, &facts.name, None)?;
        }
        for inner in [facts.base, facts.element].into_iter().filter(|inner| *inner != 0) {
            self.deeper(|this| this.converted_here(inner, applies))?;
        }
        Ok(())
    }

    /// Follows a function of the users' own, once. What it reads, the expression at hand may show.
    pub(super) fn follow(&mut self, function: &Arc<Function>) -> Result<()> {
        self.doings += u32::from(function.volatility == 'v');
        let (function_id, along) = (function.id, self.along);
        let known = self.summaries.get(&(function_id, along, false));
        if let Some(known) = known.or_else(|| self.summaries.get(&(function_id, along, true)).filter(|_| self.aside)) {
            let known = known.clone();
            self.beneath.add(&known);
            self.inside.add(&known);
            return Ok(());
        }
        if let Some(at) = self.running.iter().position(|(id, path, _)| (*id, *path) == (function_id, along)) {
            // One calls the other: what those between read is not known yet.
            self.running.iter_mut().skip(at + 1).for_each(|(.., incomplete)| *incomplete = true);
            return Ok(());
        }
        self.running.push((function_id, along, false));
        let outer = std::mem::take(&mut self.inside);
        let result = self.follow_once(function);
        let inside = std::mem::replace(&mut self.inside, outer);
        self.beneath.add(&inside);
        if !self.running.is_empty() {
            self.inside.add(&inside);
        }
        if let Some((id, path, false)) = self.running.pop() {
            self.summaries.insert((id, path, self.aside), inside);
        }
        result
    }

    fn follow_once(&mut self, function: &Arc<Function>) -> Result<()> {
        self.count()?;
        self.note(Verb::Execute, Object::Routine(Arc::clone(&function.routine)));
        self.converted_by(function)?;
        let known = function.extension.as_deref().and_then(|of| extension(of, &function.routine.name));
        match known {
            Some(Builtin::Special(special)) => {
                self.hazards.extend(special.hazard);
                self.note(special.verb, Object::Routine(Arc::clone(&function.routine)));
                return Ok(());
            }
            // What is written in SQL or PL/pgSQL is read, whoever wrote it.
            Some(_) if !matches!(&*function.language, "sql" | "plpgsql") => return Ok(()),
            _ => {}
        }
        let name = format!("{}.{}", function.routine.schema, function.routine.name);
        let function = Arc::clone(function);
        self.by_way_of(&name, |this| this.body(&function))
    }
}

/// Whether a function can be called with so many arguments.
fn takes(function: &Function, count: usize) -> bool {
    let most = function.arguments.len();
    if matches!(function.kind, FunctionKind::Procedure | FunctionKind::Aggregate) {
        // Procedures are given their output arguments too; ordered-set aggregates get more by what they order.
        return true;
    }
    if function.variadic {
        return count + 1 + function.defaults >= most;
    }
    count <= most && count + function.defaults >= most
}

/// The parts of a name as SQL writes it; `None` if it is not one.
pub(super) fn unquoted(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_part(quoted)?,
            None => {
                let end = rest.find(['.', '"']).unwrap_or(rest.len());
                let (part, after) = rest.split_at(end);
                (part.trim().to_ascii_lowercase(), after)
            }
        };
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        match after.trim_start().strip_prefix('.') {
            Some(more) => rest = more.trim_start(),
            None => return after.trim().is_empty().then_some(parts),
        }
    }
}

/// A part in quotes, after the first: what it says, and what follows it.
fn quoted_part(quoted: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                chars.next();
                part.push('"');
            }
            '"' => return Some((part, quoted.get(at + 1..)?)),
            c => part.push(c),
        }
    }
    None
}

/// The arguments of a call, without their names.
pub(super) fn argument(node: Node<'_>) -> Node<'_> {
    match node {
        Node::NamedArgExpr(named) => named.arg(),
        node => node,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_the_server_reads_them() {
        let read = |text: &str| unquoted(text).map(|parts| parts.join("|"));
        assert_eq!(read("notes_id_seq"), Some("notes_id_seq".into()));
        assert_eq!(read("Public.Notes"), Some("public|notes".into()));
        assert_eq!(read("\"Odd.Name\" . x"), Some("Odd.Name|x".into()));
        assert_eq!(read("\"a\"\"b\""), Some("a\"b".into()));
        assert_eq!(read(""), None);
        assert_eq!(read("a."), None);
        assert_eq!(read("\"a"), None);
        assert_eq!(read("\"a\"b"), None);
    }
}
