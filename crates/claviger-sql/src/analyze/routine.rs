//! Texts that the catalog holds: the bodies of functions, the queries of views, and expressions.

use std::collections::HashSet;
use std::sync::Arc;

use claviger_model::{Column, Hazard};
use pg_raw_parse::Node;

use super::flow::{Field, Flow, Rows, Sources};
use super::names::names_of;
use super::scope::{Expressions, Item, Scope, fields};
use super::{Analysis, Result};
use crate::builtin::{Builtin, SettingKind, builtin, setting};
use crate::procedure::{Piece, Procedure};
use crate::{Function, NotUnderstood, Planned, Relation, Rule, Transition};

/// What of the rows that its statements find a function can give to who calls it. Which of its statements does so is not told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Gives {
    /// None.
    #[default]
    Nothing,
    /// One at a time.
    Value,
    /// All.
    Rows,
    /// What is done next hangs on it.
    Way,
}

/// What the last piece of a body comes to.
#[derive(Default)]
pub(super) struct ComeTo {
    /// The columns of its rows that show something classified.
    fields: Vec<Arc<str>>,
    /// Whether something else of it does.
    more: bool,
}

impl ComeTo {
    fn take_in(&mut self, rows: &Rows) {
        for field in rows.fields.iter().filter(|field| !field.flow.shows.is_empty()) {
            self.fields.push(Arc::clone(&field.name));
            // What the server calls it is certain of columns only.
            self.more |= field.flow.copy.is_none();
        }
        self.more |= rows.open.as_ref().is_some_and(|flow| !flow.shows.is_empty());
    }

    /// The names that hold something classified when these variables are given it; those of a record's fields, where it is one.
    fn names(&self, variables: &[String], record: Option<&String>) -> Vec<String> {
        match record {
            _ if self.fields.is_empty() && !self.more => Vec::new(),
            Some(name) if !self.more => {
                self.fields.iter().map(|field| format!("{name}.{field}")).chain([format!("{name}.*")]).collect()
            }
            _ => variables.to_vec(),
        }
    }
}

/// What stands for any argument that is named by its place.
const BY_PLACE: &str = "$";

/// What some variables of a body may hold.
pub(super) struct Held {
    of: Sources,
    /// Their names.
    names: HashSet<String>,
}

impl Gives {
    fn of(function: &Function) -> Self {
        match function.returns {
            _ if function.set => Self::Rows,
            TRIGGER | VOID => Self::Nothing,
            _ => Self::Value,
        }
    }
}

/// OIDs of types (PostgreSQL's `pg_type.dat`).
const TRIGGER: u32 = 2279;
const VOID: u32 = 2278;

impl Analysis<'_> {
    /// What the body of a function does.
    pub(super) fn body(&mut self, function: &Arc<Function>) -> Result<()> {
        let Function { id, language, settings, definer, owner, source, .. } = &**function;
        self.goes_into(&format!("function {id} {language} {settings:?} {definer} {owner} {source}"));
        for part in &function.parts {
            if let Some(part) = self.catalog.function(*part) {
                self.follow(&Arc::clone(part))?;
            }
        }
        if let Some(defaults) = &function.default_expressions {
            // They are given as arguments, which is not followed.
            if !self.own_value(defaults, &function.routine.name, None)?.shows.is_empty() {
                self.note_unknown(Hazard::Unknown);
            }
        }
        if function.kind == crate::FunctionKind::Aggregate {
            return Ok(());
        }
        let outer_role = definer.then(|| std::mem::replace(&mut self.role, Arc::clone(owner)));
        let path = function.settings.iter().find_map(|setting| setting.strip_prefix("search_path="));
        let path = match (path.map(names_of), &outer_role) {
            (Some(names), _) => names.and_then(|names| self.path_of(&names)),
            // A path with `$user` is another now. Whether it has that is not known.
            (None, Some(outer)) if outer != owner && (self.run_path().contains(outer) || self.catalog.has_schema(owner)) => None,
            (None, _) => Some(self.run_path().to_vec()),
        };
        let path = path.unwrap_or_else(|| {
            self.note_unknown(Hazard::Unknown);
            self.run_path().to_vec()
        });
        if function.settings.iter().any(|setting| reads_otherwise(setting)) {
            self.note_unknown(Hazard::Unknown);
        }
        // An argument can be named after its function, too: `f.argument`.
        let names = function.names.iter().chain([&function.routine.name]).map(Arc::clone).collect();
        let outer_names = (std::mem::replace(&mut self.variables, names), self.held.take());
        // What it reads is read, wherever it is called.
        let quiet = std::mem::take(&mut self.quiet);
        let gives = std::mem::replace(&mut self.gives, Gives::of(function));
        let of = Planned::Routine(*id, Arc::clone(source));
        let result = self.planned(of, path, |this| this.code(function));
        self.gives = gives;
        self.quiet = quiet;
        (self.variables, self.held) = outer_names;
        self.role = outer_role.unwrap_or_else(|| Arc::clone(&self.role));
        result
    }

    fn code(&mut self, function: &Function) -> Result<()> {
        match (&*function.language, &function.body) {
            ("sql", Some(body)) => self.stored(|this| this.own_statements(atomic(body))),
            ("sql", None) if self.reads(&function.source) => self.own_statements(&function.source),
            ("internal", _) if matches!(builtin(&function.source), Some(Builtin::Harmless | Builtin::Gathers)) => Ok(()),
            ("plpgsql", _) => self.procedure(&function.source),
            _ => {
                self.note_unknown(Hazard::Opaque);
                Ok(())
            }
        }
    }

    /// The body of a function in PL/pgSQL, or of `DO`.
    pub(super) fn procedure(&mut self, source: &str) -> Result<()> {
        let Some(procedure) = crate::procedure::read(source).filter(|_| self.reads(source)) else {
            self.note_unknown(Hazard::Opaque);
            return Ok(());
        };
        let outer = (std::mem::replace(&mut self.any_variable, true), self.held.take());
        self.sees_any();
        let result = self.converted_in(&procedure.words).and_then(|()| self.pieces_until_known(&procedure));
        (self.any_variable, self.held) = outer;
        result
    }

    /// Follows the pieces of a body until it is known what its variables may hold: they may be given it anywhere, and in loops.
    fn pieces_until_known(&mut self, procedure: &Procedure) -> Result<()> {
        const ROUNDS: usize = 8;
        let Procedure { names_otherwise, words, .. } = procedure;
        let mut names = HashSet::new();
        if procedure.pieces.contains(&Piece::Catches) {
            names.extend(["sqlerrm", "sqlstate"].map(ToOwned::to_owned));
        }
        for round in 0..=ROUNDS {
            if *names_otherwise || round == ROUNDS {
                names.extend(words.iter().cloned().chain([BY_PLACE.to_owned()]));
            }
            let before = (names.len(), self.inside.iter().count());
            self.held = Some(Held { of: self.inside.clone(), names: names.clone() });
            self.pieces(procedure, &mut names)?;
            if self.inside.is_empty() || before == (names.len(), self.inside.iter().count()) {
                break;
            }
        }
        Ok(())
    }

    /// Follows pieces once. Takes in the names of variables that are given something classified.
    fn pieces(&mut self, procedure: &Procedure, names: &mut HashSet<String>) -> Result<()> {
        let mut is_query = false;
        for piece in &procedure.pieces {
            if let Piece::Given(to) = piece {
                let is_argument = |name: &String| self.variables.iter().any(|known| **known == **name);
                let is_record = |name: &&String| is_query && procedure.records.contains(*name) && !is_argument(name);
                names.extend(self.come_to.names(to, to.first().filter(|name| to.len() == 1 && is_record(name))));
                continue;
            }
            is_query = matches!(piece, Piece::Statement(_));
            self.come_to = ComeTo::default();
            match piece {
                Piece::Statement(text) => self.own_statements(text)?,
                Piece::Expression(text) => self.own_statements(&format!("SELECT {text}"))?,
                Piece::Condition(text) => {
                    let outer = std::mem::replace(&mut self.gives, Gives::Way);
                    let result = self.own_statements(&format!("SELECT {text}"));
                    self.gives = outer;
                    result?;
                }
                Piece::Whatever => self.come_to.more = !self.inside.is_empty(),
                Piece::Catches => self.held_decides(),
                Piece::Ends => self.transitions.extend([Transition::Resync, Transition::Define]),
                Piece::Cursors(opened) => {
                    if opened.iter().any(|name| names.contains(name)) {
                        self.held_decides();
                    }
                    self.transitions.push(Transition::Close(None));
                }
                Piece::Opaque => {
                    self.hazards.insert(Hazard::DynamicSql);
                    self.note_unknown(Hazard::Opaque);
                }
                Piece::Given(_) => {}
            }
        }
        Ok(())
    }

    /// What a variable may hold, of what is classified: all that the body reads, if it is given anything of that; by its place without a name.
    pub(super) fn held(&self, names: &[&str]) -> Option<Flow> {
        let held = self.held.as_ref().filter(|held| !held.of.is_empty())?;
        let has = |name: &str| held.names.contains(name);
        let is_held = match names {
            [] => has(BY_PLACE),
            [name] => has(name) || has(&format!("{name}.*")),
            [.., name, field] => has(name) || has(field) || has(&format!("{name}.{field}")) || has(&format!("{field}.*")),
        };
        is_held.then(|| Flow { shows: held.of.clone(), ..Flow::default() })
    }

    fn held_decides(&mut self) {
        let all = self.held.as_ref().map(|held| Flow { shows: held.of.clone(), ..Flow::default() });
        all.filter(|flow| !flow.shows.is_empty()).into_iter().for_each(|flow| _ = self.decided(flow));
    }

    /// Whether the session reads a text as it is read here (PostgreSQL manual, 20.13.1, `standard_conforming_strings`).
    fn reads(&self, text: &str) -> bool {
        !self.session.reads_otherwise || !text.contains('\\')
    }

    /// Statements that the catalog holds. What they leave behind in the session is not the session's to see, but it may be there.
    fn own_statements(&mut self, text: &str) -> Result<()> {
        let before = self.transitions.len();
        let result = self.own_statements_or_fail(text);
        self.transitions.iter().skip(before).for_each(|transition| self.bodies.add(transition));
        self.torn(result)
    }

    fn own_statements_or_fail(&mut self, text: &str) -> Result<()> {
        self.goes_into(text);
        let parsed = pg_raw_parse::parse(text).map_err(|_| NotUnderstood::Syntax)?;
        for raw in parsed.iter() {
            let node = raw.stmt();
            self.deeper(|this| match node {
                Node::SelectStmt(_) | Node::InsertStmt(_) | Node::UpdateStmt(_) | Node::DeleteStmt(_) | Node::MergeStmt(_) => {
                    let none = Expressions::default();
                    let rows = this.query(node, &none, None)?;
                    this.given_by_body(rows);
                    Ok(())
                }
                node => this.utility(node).map(|_| ()),
            })?;
        }
        Ok(())
    }

    fn given_by_body(&mut self, mut rows: Rows) {
        self.come_to.take_in(&rows);
        match self.gives {
            Gives::Nothing => {}
            Gives::Way => {
                let flows = rows.fields.into_iter().map(|field| field.flow).chain(rows.open);
                flows.for_each(|flow| _ = self.decided(flow));
            }
            Gives::Value | Gives::Rows => {
                rows.bounded |= self.gives == Gives::Value;
                self.leaves(&rows);
            }
        }
    }

    /// The query of a view.
    pub(super) fn own_query(&mut self, text: &str) -> Result<Rows> {
        self.goes_into(text);
        let parsed = pg_raw_parse::parse(text).map_err(|_| NotUnderstood::Syntax)?;
        let none = Expressions::default();
        match parsed.iter().next() {
            Some(raw) => self.stored(|this| this.query_in_any_order(raw.stmt(), &none, None)),
            None => Ok(Rows::default()),
        }
    }

    /// The one table that a view shows, if changes of the view can be changes of it (PostgreSQL manual, `CREATE VIEW`).
    pub(super) fn only_relation(&mut self, definition: &str) -> Option<Arc<Relation>> {
        let parsed = pg_raw_parse::parse(definition).ok()?;
        let raw = parsed.iter().next()?;
        let Node::SelectStmt(select) = raw.stmt() else { return None };
        let mut items = select.from_clause().iter();
        match (items.next(), items.next()) {
            (Some(Node::RangeVar(range)), None) => self.stored(|this| this.relation(range)).ok(),
            _ => None,
        }
    }

    /// An expression, or several with commas, over the columns of a table or over a value.
    pub(super) fn own_expression(&mut self, text: &str, name: &str, relation: Option<&Arc<Relation>>) -> Result<()> {
        self.own_value(text, name, relation).map(|_| ())
    }

    /// The same, and what it shows.
    pub(super) fn own_value(&mut self, text: &str, name: &str, relation: Option<&Arc<Relation>>) -> Result<Flow> {
        let items = relation
            .map(|relation| vec![Item { name: Arc::clone(&relation.table.name), fields: unnoted(relation), ..Item::default() }]);
        self.own_select(text, name, items.unwrap_or_default())
    }

    /// The condition of a trigger, over the old and the new row.
    pub(super) fn own_condition(&mut self, text: &str, name: &str, relation: &Arc<Relation>) -> Result<()> {
        let item = |alias: &str| Item { name: alias.into(), fields: unnoted(relation), ..Item::default() };
        self.own_select(text, name, vec![item("old"), item("new")]).map(|_| ())
    }

    fn own_select(&mut self, text: &str, name: &str, items: Vec<Item>) -> Result<Flow> {
        self.goes_into(text);
        let outer = (std::mem::replace(&mut self.any_variable, true), self.held.take());
        let result = self.by_way_of(name, |this| {
            let parsed = pg_raw_parse::parse(&format!("SELECT {text}")).map_err(|_| NotUnderstood::Syntax)?;
            let mut flow = Flow::default();
            let Some(Node::SelectStmt(select)) = parsed.iter().next().map(|raw| raw.stmt()) else { return Ok(flow) };
            let none = Expressions::default();
            let mut scope = Scope::new(None, &none);
            scope.items = items;
            this.stored(|this| {
                for target in select.target_list().iter() {
                    flow.add(&this.expression(&scope, target.val())?);
                }
                Ok(flow)
            })
        });
        (self.any_variable, self.held) = outer;
        self.torn(result)
    }

    /// What a rule does beside or in place of what set it off.
    pub(super) fn rule(&mut self, relation: &Arc<Relation>, rule: &Rule) -> Result<()> {
        let name = format!("{}.{}", relation.table, rule.name);
        let result = self.by_way_of(&name, |this| this.stored(|this| this.rule_actions(relation, &rule.definition)));
        self.torn(result)
    }

    fn rule_actions(&mut self, relation: &Arc<Relation>, definition: &str) -> Result<()> {
        self.goes_into(definition);
        let parsed = pg_raw_parse::parse(definition).map_err(|_| NotUnderstood::Syntax)?;
        let Some(Node::RuleStmt(rule)) = parsed.iter().next().map(|raw| raw.stmt()) else { return Ok(()) };
        let none = Expressions::default();
        let mut scope = Scope::new(None, &none);
        scope.items = ["old", "new"]
            .map(|alias| Item { name: alias.into(), fields: fields(relation), bounded: true, ..Item::default() })
            .into();
        self.expression(&scope, rule.where_clause())?;
        for action in rule.actions() {
            match action {
                Node::SelectStmt(_) | Node::InsertStmt(_) | Node::UpdateStmt(_) | Node::DeleteStmt(_) => {
                    let rows = self.query(action, &none, Some(&scope))?;
                    let instead = self.instead.get_or_insert_default();
                    rows.fields.iter().map(|field| &field.flow).chain(&rows.open).for_each(|flow| instead.add(flow));
                }
                Node::None => {}
                action => _ = self.utility(action)?,
            }
        }
        Ok(())
    }

    /// The schemas that a search path stands for: those that exist, and those that are searched without being named. `None` if one of them may
    /// be passed over.
    pub(super) fn path_of(&self, names: &[String]) -> Option<Vec<Arc<str>>> {
        let mut path: Vec<Arc<str>> = Vec::new();
        for name in names {
            let name: Arc<str> = match name.as_str() {
                "$user" => Arc::clone(&self.role),
                // Where it is named is where it comes.
                "pg_temp" => {
                    path.extend(self.run_path().iter().find(|schema| schema.starts_with("pg_temp_")).cloned());
                    continue;
                }
                name if name.starts_with("pg_temp_") => return None,
                name => name.into(),
            };
            // Whether another role may use it is not known here.
            let is_others = self.role == self.session.role && self.role != self.session.login && &*name != "pg_catalog";
            if self.catalog.passes_over(&name) || is_others {
                return None;
            }
            if self.catalog.has_schema(&name) {
                path.push(name);
            }
        }
        if !path.iter().any(|schema| **schema == *"pg_catalog") {
            path.insert(0, "pg_catalog".into());
        }
        let temporary = self.run_path().iter().find(|schema| schema.starts_with("pg_temp_"));
        if let Some(temporary) = temporary
            && !path.contains(temporary)
        {
            path.insert(0, Arc::clone(temporary));
        }
        Some(path)
    }
}

/// A table's columns, whose use is part of what the table itself does.
fn unnoted(relation: &Relation) -> Vec<Field> {
    let name = |column: &Arc<Column>| Field { name: Arc::clone(&column.name), flow: Flow::default(), ..Field::default() };
    relation.columns.iter().map(|facts| name(&facts.column)).collect()
}

/// Whether texts are read in another way, or by another role, where this is set.
fn reads_otherwise(assignment: &str) -> bool {
    let (name, value) = assignment.split_once('=').unwrap_or((assignment, ""));
    match setting(name) {
        SettingKind::Pinned(allowed) => !allowed.contains(&value.trim().to_ascii_lowercase().as_str()),
        _ => matches!(name, "role" | "session_authorization"),
    }
}

/// The statements of a body that was written as SQL proper.
fn atomic(body: &str) -> &str {
    let body = body.trim();
    let strip = |body: &'_ str, word: &str| body.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if strip(body, "BEGIN ATOMIC") {
        let inner = body.get("BEGIN ATOMIC".len()..).unwrap_or_default().trim_end();
        return inner.get(..inner.len().saturating_sub(3)).unwrap_or_default();
    }
    body
}
