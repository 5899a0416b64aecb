//! Statements that are neither queries nor definitions: of the session, of cursors and prepared statements, of copies and locks.

use std::sync::Arc;

use claviger_model::{CopyFormat, Definition, Hazard, Object, TableKind, Verb};
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{self, CopyStmt, RangeVar, VariableSetStmt};
use pg_raw_parse::raw::{DiscardMode, TransactionStmtKind, VariableSetKind};

use super::flow::{Field, Rows};
use super::names::{constant_text, keeps_text};
use super::order::Leaving;
use super::scope::{Expressions, Scope};
use super::{Analysis, Result, undefined};
use crate::builtin::{SettingKind, setting};
use crate::lexer::kept;
use crate::{Cursor, NotUnderstood, Planned, Prepared, Transition, Undefined, Value, with_values};

/// The bit of a cursor's options that says that it outlives its transaction (`CURSOR_OPT_HOLD` of PostgreSQL's parsenodes.h).
const HOLD: i32 = 0x20;
/// The OID of no function: that of a block that is followed as if it were one.
const NO_FUNCTION: u32 = 0;

impl Analysis<'_> {
    /// Follows a statement that is no query; gives its class.
    pub(super) fn utility(&mut self, node: Node<'_>) -> Result<&'static str> {
        match node {
            Node::TransactionStmt(statement) => Ok(self.transaction(statement)),
            Node::VariableSetStmt(statement) => Ok(self.variable(statement)),
            Node::VariableShowStmt(show) => {
                // All of them come with what they are for.
                let columns = if show.name().is_some_and(|name| name.eq_ignore_ascii_case("all")) { 3 } else { 1 };
                self.shown(&Rows { fields: vec![Field::default(); columns], ..Rows::default() });
                Ok("SHOW")
            }
            Node::ExplainStmt(statement) => self.explain(statement),
            Node::PrepareStmt(statement) => self.prepare(statement),
            Node::ExecuteStmt(statement) => self.execute(statement),
            Node::DeallocateStmt(statement) => {
                self.transitions.push(Transition::Deallocate(statement.name().map(Into::into)));
                Ok("DEALLOCATE")
            }
            Node::DeclareCursorStmt(statement) => self.declare(statement),
            Node::FetchStmt(statement) => self.fetch(statement),
            Node::ClosePortalStmt(statement) => {
                self.transitions.push(Transition::Close(statement.portalname().map(Into::into)));
                Ok("CLOSE")
            }
            Node::CopyStmt(statement) => self.copy(statement),
            Node::LockStmt(statement) => {
                self.hazards.insert(Hazard::Blocking);
                self.on_tables(Verb::Lock, statement.relations().iter())?;
                Ok("LOCK TABLE")
            }
            Node::TruncateStmt(statement) => self.truncate(statement),
            Node::VacuumStmt(statement) => self.vacuum(statement),
            Node::ReindexStmt(statement) => {
                self.event_triggers("REINDEX")?;
                self.maintains("REINDEX", statement.relation())
            }
            Node::ClusterStmt(statement) => self.maintains("CLUSTER", statement.relation()),
            Node::RefreshMatViewStmt(statement) => self.refresh(statement),
            Node::CheckPointStmt(_) => self.maintains("CHECKPOINT", None),
            Node::NotifyStmt(statement) => Ok(self.channel("NOTIFY", statement.conditionname())),
            Node::ListenStmt(statement) => Ok(self.channel("LISTEN", statement.conditionname())),
            Node::UnlistenStmt(_) => Ok("UNLISTEN"),
            Node::DoStmt(statement) => self.block(statement),
            Node::CallStmt(statement) => {
                let none = Expressions::default();
                let scope = Scope::new(None, &none);
                if let Some(call) = statement.funccall() {
                    let flow = self.expression(&scope, Node::FuncCall(call))?;
                    // What it gives by its arguments.
                    self.shown(&Rows { open: Some(flow), ..Rows::default() });
                }
                self.transitions.push(Transition::Resync);
                Ok("CALL")
            }
            Node::DiscardStmt(statement) => Ok(self.discard(statement)),
            Node::ConstraintsSetStmt(_) => Ok("SET CONSTRAINTS"),
            Node::LoadStmt(statement) => {
                self.hazards.insert(Hazard::Opaque);
                self.administers("library", statement.filename().unwrap_or_default());
                Ok("LOAD")
            }
            Node::AlterSystemStmt(statement) => {
                let name = statement.setstmt().and_then(VariableSetStmt::name).unwrap_or("all");
                self.note(Verb::Control, Object::Setting(name.to_ascii_lowercase().into()));
                Ok("ALTER SYSTEM")
            }
            node => self.define(node),
        }
    }

    pub(super) fn definition(&self, kind: &'static str, name: &str) -> Object {
        Object::Definition(Arc::new(Definition { kind, schema: None, name: name.into() }))
    }

    pub(super) fn administers(&mut self, kind: &'static str, name: &str) {
        let object = self.definition(kind, name);
        self.note(Verb::Control, object);
    }

    fn transaction(&mut self, statement: &nodes::TransactionStmt) -> &'static str {
        let savepoint = || Arc::from(statement.savepoint_name().unwrap_or_default());
        let (class, transition) = match statement.kind {
            TransactionStmtKind::TRANS_STMT_BEGIN | TransactionStmtKind::TRANS_STMT_START => ("BEGIN", Transition::Begin),
            TransactionStmtKind::TRANS_STMT_COMMIT => ("COMMIT", Transition::Commit),
            TransactionStmtKind::TRANS_STMT_ROLLBACK => ("ROLLBACK", Transition::Rollback),
            TransactionStmtKind::TRANS_STMT_SAVEPOINT => ("SAVEPOINT", Transition::Savepoint(savepoint())),
            TransactionStmtKind::TRANS_STMT_RELEASE => ("RELEASE", Transition::Release(savepoint())),
            TransactionStmtKind::TRANS_STMT_ROLLBACK_TO => ("ROLLBACK TO", Transition::RollbackTo(savepoint())),
            kind => {
                // A transaction that is prepared keeps its locks when its session is gone.
                self.hazards.insert(Hazard::Blocking);
                self.administers("prepared transaction", statement.gid().unwrap_or_default());
                if kind != TransactionStmtKind::TRANS_STMT_PREPARE {
                    // What it has defined, which nobody saw, is seen.
                    self.transitions.extend([Transition::Resync, Transition::Define]);
                }
                ("PREPARE TRANSACTION", Transition::Commit)
            }
        };
        self.transitions.push(transition);
        // Rows of a cursor that stays are made when its transaction ends.
        if class == "COMMIT" && self.session.cursors.values().any(|cursor| cursor.hold && cursor.moves) {
            self.transitions.extend([Transition::Resync, Transition::Define]);
        }
        class
    }

    fn variable(&mut self, statement: &VariableSetStmt) -> &'static str {
        let name = statement.name().unwrap_or_default().to_ascii_lowercase();
        match statement.kind {
            VariableSetKind::VAR_SET_VALUE => {
                let values: Option<Vec<String>> = statement.args().iter().map(value_text).collect();
                match self.through {
                    Some(_) => self.set_meanwhile(&name, values),
                    None => self.set(&name, values),
                }
                "SET"
            }
            // Of a transaction: its isolation and the like.
            VariableSetKind::VAR_SET_MULTI => {
                self.note(Verb::Configure, Object::Setting("transaction".into()));
                "SET"
            }
            VariableSetKind::VAR_RESET_ALL => {
                self.note(Verb::Configure, Object::Setting("all".into()));
                self.transitions.push(Transition::Resync);
                "RESET"
            }
            _ => {
                if !matches!(setting(&name), SettingKind::Harmless | SettingKind::Custom | SettingKind::Leaking(_)) {
                    self.transitions.push(Transition::Resync);
                }
                self.note(Verb::Configure, Object::Setting(name.into()));
                "RESET"
            }
        }
    }

    /// A setting is given these values, `None` if they do not stand in the text, while something else runs.
    pub(super) fn set_meanwhile(&mut self, name: &str, values: Option<Vec<String>>) {
        let is_read_otherwise = matches!(setting(name), SettingKind::Pinned(allowed) if !is_one_of(values.as_deref(), allowed));
        self.set(name, values);
        if is_read_otherwise {
            self.note_unknown(Hazard::SessionEscape);
        }
    }

    /// A setting is given these values; `None` if they do not stand in the text.
    pub(super) fn set(&mut self, name: &str, values: Option<Vec<String>>) {
        self.note(Verb::Configure, Object::Setting(name.into()));
        match setting(name) {
            SettingKind::Harmless | SettingKind::Custom => {}
            SettingKind::Pinned(allowed) | SettingKind::Leaking(allowed) if is_one_of(values.as_deref(), allowed) => {}
            SettingKind::Leaking(_) => _ = self.hazards.insert(Hazard::SessionEscape),
            SettingKind::Pinned(_) => {
                self.hazards.insert(Hazard::SessionEscape);
                self.transitions.push(Transition::Resync);
            }
            SettingKind::Escape => {
                self.hazards.insert(Hazard::SessionEscape);
                self.transitions.push(Transition::Resync);
            }
            SettingKind::Path => match values {
                Some(names) => {
                    let names: Vec<String> = names.iter().map(|name| kept(name)).collect();
                    match self.path_of(&names) {
                        Some(path) => {
                            self.runs_along(path.clone());
                            // What a body says may not run, or not last.
                            if self.through.is_none() {
                                self.transitions.push(Transition::Path(path));
                            }
                        }
                        // What comes after it in a function is read here, not asked for.
                        None if self.through.is_some() => self.note_unknown(Hazard::Unknown),
                        None => {}
                    }
                    self.transitions.push(Transition::Resync);
                }
                None => {
                    self.note_unknown(Hazard::SessionEscape);
                    self.transitions.push(Transition::Resync);
                }
            },
            SettingKind::Unknown => _ = self.hazards.insert(Hazard::Unknown),
        }
    }

    /// What is explained is planned, which runs what can be computed beforehand; it is done only if it is analysed.
    fn explain(&mut self, statement: &nodes::ExplainStmt) -> Result<&'static str> {
        let mut analyzes = false;
        for option in statement.options().iter() {
            if option.defname().is_some_and(|name| name.eq_ignore_ascii_case("analyze")) {
                let off = constant_text(option.arg())
                    .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "false" | "off" | "0"));
                analyzes = !off;
            }
        }
        self.leaving = Leaving::Unseen;
        if analyzes {
            self.statement(statement.query()).map(|_| self.explained())?;
            return Ok("EXPLAIN ANALYZE");
        }
        let (effects, hazards) = (std::mem::take(&mut self.effects), std::mem::take(&mut self.hazards));
        let said = self.transitions.len();
        self.statement(statement.query())?;
        self.explained();
        self.may_move_since(said);
        self.effects
            .retain(|effect| matches!(effect.verb, Verb::Read | Verb::Execute | Verb::Unknown | Verb::Control | Verb::Configure));
        self.hazards
            .retain(|hazard| !matches!(hazard, Hazard::BulkWrite | Hazard::MassExport | Hazard::Cascade | Hazard::Blocking));
        self.effects.extend(effects);
        self.hazards.extend(hazards);
        Ok("EXPLAIN")
    }

    /// What was followed last is planned and does not run, but for what can be computed beforehand.
    fn may_move_since(&mut self, said: usize) {
        if self.transitions.len() > said {
            self.transitions.truncate(said);
            self.transitions.extend([Transition::Resync, Transition::Define]);
        }
    }

    fn prepare(&mut self, statement: &nodes::PrepareStmt) -> Result<&'static str> {
        let name: Arc<str> = statement.name().unwrap_or_default().into();
        let of = Planned::Prepared(Arc::clone(&name));
        statement.argtypes().iter().try_for_each(|kind| self.converted(kind))?;
        let said = self.transitions.len();
        self.planned(of.clone(), self.path.clone(), |this| this.statement(statement.query()))?;
        // Nothing runs yet.
        self.transitions.truncate(said);
        self.shown(&Rows::default());
        let resolved = self.found.get_mut().take(&of).map(Arc::new);
        self.transitions.push(Transition::Prepare(name, Prepared { text: self.text.into(), resolved }));
        Ok("PREPARE")
    }

    fn execute(&mut self, statement: &nodes::ExecuteStmt) -> Result<&'static str> {
        let none = Expressions::default();
        let scope = Scope::new(None, &none);
        // What is given is put in where the statement has parameters, which is not followed.
        if !self.expressions(&scope, statement.params())?.shows.is_empty() {
            self.note_unknown(Hazard::Unknown);
        }
        self.uses_names();
        let Some((name, prepared)) = self.session.prepared.get_key_value(statement.name().unwrap_or_default()) else {
            return undefined(Undefined::Prepared);
        };
        let keeps = keeps_texts(&prepared.text);
        let given: Vec<Option<String>> = statement.params().iter().map(|node| constant_text(node).filter(|_| keeps)).collect();
        let values: Vec<Value<'_>> = given.iter().map(|value| value.as_deref().map_or(Value::Unknown, Value::Text)).collect();
        let text = with_values(&prepared.text, &values);
        self.planned(Planned::Prepared(Arc::clone(name)), self.path.clone(), |this| this.again(&text))?;
        Ok("EXECUTE")
    }

    /// Follows a statement that was given before.
    fn again(&mut self, text: &str) -> Result<()> {
        self.goes_into(text);
        let parsed = pg_raw_parse::parse(text).map_err(|_| NotUnderstood::Syntax)?;
        for raw in parsed.iter() {
            self.statement(match raw.stmt() {
                Node::PrepareStmt(statement) => statement.query(),
                Node::DeclareCursorStmt(statement) => statement.query(),
                node => node,
            })?;
        }
        Ok(())
    }

    fn declare(&mut self, statement: &nodes::DeclareCursorStmt) -> Result<&'static str> {
        // What its query shows by itself, which goes to whoever fetches from it.
        let mut query = Analysis::new(self.catalog, self.session);
        query.text = self.text;
        let class = query.statement(statement.query())?;
        query.casts_unasked()?;
        let calls = query.found.get_mut().calls();
        let said = self.transitions.len();
        self.statement(statement.query())?;
        self.may_move_since(said);
        self.shown(&Rows::default());
        let moves = !query.transitions.is_empty();
        let shown = Some(Arc::new(query.meaning(class)));
        let cursor = Cursor { text: self.text.into(), hold: statement.options & HOLD != 0, shown, calls, moves };
        self.transitions.push(Transition::Declare(statement.portalname().unwrap_or_default().into(), cursor));
        Ok("DECLARE CURSOR")
    }

    fn fetch(&mut self, statement: &nodes::FetchStmt) -> Result<&'static str> {
        self.uses_names();
        match self.session.cursors.get(statement.portalname().unwrap_or_default()) {
            // It goes on as it was declared; what it calls, as that is now.
            Some(Cursor { text, shown: Some(shown), calls, moves, .. }) => {
                if *moves {
                    self.transitions.extend([Transition::Resync, Transition::Define]);
                }
                self.goes_into(text);
                if *calls {
                    let again = self.again(text);
                    self.torn(again)?;
                }
                self.effects.extend(shown.effects.iter().cloned());
                self.hazards.extend(&shown.hazards);
                self.also_shown(&shown.disclosure);
            }
            Some(_) => self.note_unknown(Hazard::Unknown),
            // A function may have opened it, or the protocol.
            None => self.note_unknown(Hazard::Opaque),
        }
        if statement.ismove {
            self.shown(&Rows::default());
        }
        Ok(if statement.ismove { "MOVE" } else { "FETCH" })
    }

    fn copy(&mut self, copy: &CopyStmt) -> Result<&'static str> {
        if copy.is_program {
            self.hazards.insert(Hazard::Program);
            self.administers("program", "");
        } else if copy.filename().is_some() {
            self.hazards.insert(Hazard::FileAccess);
            self.administers("file", "");
        }
        let Some(range) = copy.relation() else {
            let none = Expressions::default();
            let rows = self.query(copy.query(), &none, None)?;
            self.leaves(&rows);
            self.disclosure.copy = copy_format(copy);
            return Ok("COPY TO");
        };
        let relation = self.relation(range)?;
        let names: Vec<&str> = copy.attlist().iter().filter_map(Node::as_str).collect();
        let mut columns = Vec::new();
        for facts in relation.columns.iter().filter(|facts| names.is_empty() || names.contains(&&*facts.column.name)) {
            columns.push(Arc::clone(&facts.column));
        }
        if columns.len() < names.len() {
            return undefined(Undefined::Column);
        }
        if copy.is_from {
            self.hazards.insert(Hazard::BulkWrite);
            self.write(&relation, Verb::Insert, &columns)?;
            self.defaults(&relation, &columns)?;
            self.disclosure.copy = None;
            return Ok("COPY FROM");
        }
        let none = Expressions::default();
        let mut scope = Scope::new(None, &none);
        let item = self.item_of(&relation, false)?;
        scope.items.push(item);
        let mut rows = Rows { bounded: true, ..Rows::default() };
        let fields = self.star(&scope, &[])?;
        // What is generated is left out (PostgreSQL manual, `COPY`).
        let all = || relation.columns.iter().filter(|facts| !facts.generated).map(|facts| &*facts.column.name).collect();
        let order: Vec<&str> = if names.is_empty() { all() } else { names };
        for field in order.iter().filter_map(|name| fields.iter().find(|field| *field.name == **name)) {
            self.used(field);
            rows.fields.push(field.clone());
        }
        self.shown(&rows);
        self.disclosure.copy = copy_format(copy);
        self.condition(&scope, copy.where_clause())?;
        self.hazards.insert(Hazard::MassExport);
        self.note(Verb::Export, Object::Table(Arc::clone(&relation.table)));
        Ok("COPY TO")
    }

    pub(super) fn on_tables<'n>(&mut self, verb: Verb, relations: impl Iterator<Item = Node<'n>>) -> Result<()> {
        for node in relations {
            if let Node::RangeVar(range) = node {
                let relation = self.relation(range)?;
                self.note(verb, Object::Table(Arc::clone(&relation.table)));
            }
        }
        Ok(())
    }

    fn truncate(&mut self, statement: &nodes::TruncateStmt) -> Result<&'static str> {
        let mut relations = Vec::new();
        for node in statement.relations() {
            if let Node::RangeVar(range) = node {
                relations.push(self.relation(range)?);
            }
        }
        self.hazards.insert(Hazard::BulkWrite);
        let cascades = statement.behavior == pg_raw_parse::raw::DropBehavior::DROP_CASCADE;
        let mut n = 0;
        while let Some(relation) = relations.get(n).cloned() {
            self.count()?;
            n += 1;
            self.write(&relation, Verb::Truncate, &[])?;
            for from in
                relation.references.iter().filter(|_| cascades).filter_map(|reference| self.catalog.relation(reference.from))
            {
                if !relations.iter().any(|known| known.table.id == from.table.id) {
                    self.hazards.insert(Hazard::Cascade);
                    relations.push(Arc::clone(from));
                }
            }
        }
        Ok("TRUNCATE")
    }

    fn vacuum(&mut self, statement: &nodes::VacuumStmt) -> Result<&'static str> {
        let relations: Vec<_> = statement.rels().iter().filter_map(nodes::VacuumRelation::relation).collect();
        if relations.is_empty() {
            self.note(Verb::Maintain, Object::Connection);
        }
        for range in relations {
            self.maintains("VACUUM", Some(range))?;
        }
        Ok(if statement.is_vacuumcmd { "VACUUM" } else { "ANALYZE" })
    }

    fn maintains(&mut self, class: &'static str, range: Option<&RangeVar>) -> Result<&'static str> {
        match range.map(|range| self.relation(range)) {
            Some(Ok(relation)) => {
                self.note(Verb::Maintain, Object::Table(Arc::clone(&relation.table)));
                // Expressions of its indexes are computed.
                for expression in &relation.expressions {
                    self.own_expression(expression, &relation.table.to_string(), Some(&relation))?;
                }
            }
            // An index has no columns of its own here.
            Some(Err(NotUnderstood::Undefined(_))) | None => self.note(Verb::Maintain, Object::Connection),
            Some(Err(error)) => return Err(error),
        }
        Ok(class)
    }

    fn refresh(&mut self, statement: &nodes::RefreshMatViewStmt) -> Result<&'static str> {
        let Some(range) = statement.relation() else { return Ok("REFRESH MATERIALIZED VIEW") };
        let relation = self.relation(range)?;
        self.note(Verb::Maintain, Object::Table(Arc::clone(&relation.table)));
        if let Some(definition) = relation.definition.clone() {
            let rows = self.by_way_of(&relation.table.to_string(), |this| this.own_query(&definition));
            let mut rows = self.torn(rows)?;
            self.ordered(&mut rows);
        }
        self.event_triggers("REFRESH MATERIALIZED VIEW")?;
        Ok("REFRESH MATERIALIZED VIEW")
    }

    fn channel(&mut self, class: &'static str, name: Option<&str>) -> &'static str {
        let object = self.definition("channel", name.unwrap_or_default());
        self.note(Verb::Notify, object);
        class
    }

    /// A block of code.
    fn block(&mut self, statement: &nodes::DoStmt) -> Result<&'static str> {
        let option = |name: &str| {
            let mut options = statement.args().iter().filter(|option| option.defname() == Some(name));
            options.next().and_then(|option| constant_text(option.arg()))
        };
        let language = option("language").unwrap_or_else(|| "plpgsql".to_owned());
        let object = self.definition("block", &language);
        self.note(Verb::Execute, object);
        self.hazards.insert(Hazard::Opaque);
        let said = self.transitions.len();
        match option("as") {
            Some(source) if language == "plpgsql" => {
                let outer = std::mem::take(&mut self.inside);
                self.running.push((NO_FUNCTION, self.along, false));
                let result = self.by_way_of("DO", |this| this.procedure(&source));
                self.running.pop();
                let inside = std::mem::replace(&mut self.inside, outer);
                if !self.running.is_empty() {
                    self.inside.add(&inside);
                }
                result?;
            }
            _ => self.note_unknown(Hazard::Opaque),
        }
        let is_known = self.effects.iter().all(|effect| effect.verb != Verb::Unknown);
        if !is_known || self.transitions.len() > said {
            self.transitions.extend([Transition::Resync, Transition::Define]);
        }
        Ok("DO")
    }

    fn discard(&mut self, statement: &nodes::DiscardStmt) -> &'static str {
        match statement.target {
            DiscardMode::DISCARD_ALL => self.transitions.extend([
                Transition::Deallocate(None),
                Transition::Close(None),
                Transition::DiscardPlans,
                Transition::Resync,
                Transition::Define,
            ]),
            DiscardMode::DISCARD_PLANS => self.transitions.push(Transition::DiscardPlans),
            DiscardMode::DISCARD_TEMP => self.transitions.extend([Transition::Resync, Transition::Define]),
            _ => {}
        }
        "DISCARD"
    }

    /// A table comes to be.
    pub(super) fn creates_table(&mut self, range: &RangeVar, kind: TableKind) {
        let temporary = range.relpersistence == b't' as std::ffi::c_char || range.schemaname() == Some("pg_temp");
        let first = self.path.iter().find(|schema| !schema.starts_with("pg_")).cloned();
        let schema = range.schemaname().map(Into::into).or(first).unwrap_or_else(|| "public".into());
        let kind = if temporary && kind == TableKind::Table { TableKind::Temporary } else { kind };
        let schema = if temporary { "pg_temp".into() } else { schema };
        let table = claviger_model::Table {
            schema,
            name: range.relname().unwrap_or_default().into(),
            id: 0,
            kind,
            system: false,
            labels: Arc::new([]),
            holds: Arc::new([]),
        };
        self.note(Verb::Create, Object::Table(Arc::new(table)));
    }
}

/// Whether a text is the same when it is a parameter of a statement that was prepared so.
fn keeps_texts(prepared: &str) -> bool {
    let Ok(parsed) = pg_raw_parse::parse(prepared) else { return false };
    parsed.iter().all(|raw| match raw.stmt() {
        Node::PrepareStmt(statement) => statement.argtypes().iter().all(keeps_text),
        _ => true,
    })
}

/// Whether a setting is given one of these values.
fn is_one_of(values: Option<&[String]>, allowed: &[&str]) -> bool {
    matches!(values, Some([value]) if allowed.contains(&value.trim().to_ascii_lowercase().as_str()))
}

/// How `COPY` writes; none if that cannot be told.
fn copy_format(copy: &CopyStmt) -> Option<CopyFormat> {
    let option = |name: &str| {
        let mut options =
            copy.options().iter().filter(|option| option.defname().is_some_and(|own| own.eq_ignore_ascii_case(name)));
        options.next_back()
    };
    let text = |name: &str| option(name).and_then(|option| constant_text(option.arg()));
    // One byte, or nothing that can be told.
    let byte = |name: &str, usual: u8| match text(name) {
        None => Some(usual),
        Some(text) => match *text.as_bytes() {
            [byte] => Some(byte),
            _ => None,
        },
    };
    let header = option("header").is_some_and(|header| match constant_text(header.arg()) {
        Some(value) => !matches!(value.to_ascii_lowercase().as_str(), "false" | "off" | "0"),
        None => true,
    });
    match text("format").unwrap_or_else(|| "text".to_owned()).as_str() {
        "text" => {
            let null = text("null").unwrap_or_else(|| "\\N".to_owned()).into();
            Some(CopyFormat::Text { delimiter: byte("delimiter", b'\t')?, null, header })
        }
        "csv" => {
            let quote = byte("quote", b'"')?;
            let null = text("null").unwrap_or_default().into();
            Some(CopyFormat::Csv { delimiter: byte("delimiter", b',')?, null, quote, escape: byte("escape", quote)?, header })
        }
        "binary" => Some(CopyFormat::Binary),
        _ => None,
    }
}

/// A value in `SET`.
fn value_text(node: Node<'_>) -> Option<String> {
    match node {
        Node::TypeCast(_) | Node::A_Const(_) => constant_text(node),
        Node::String(text) => text.sval().map(ToOwned::to_owned),
        _ => None,
    }
}
