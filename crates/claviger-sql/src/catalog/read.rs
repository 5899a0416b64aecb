//! Reading the server's answer to the [`QUESTION`](super::QUESTION) into a [`Catalog`].
//!
//! The rows come in any order. They are sorted by kind, and then put together: tables first, with their labels, then what hangs on them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use claviger_model::{Column, Labels, Routine, Table, TableKind};

use super::facts::{self, Fact, Oid};
use super::named::{Named, union};
use super::servers::Servers;
use super::stored;
use super::when::condition;
use super::{
    Cast, Catalog, Child, Classification, ColumnFacts, EventTrigger, Function, FunctionKind, Operator, Reference, Relation, Rule,
    Trigger,
};
use super::{TypeFacts, Write};

/// The most rows of an answer.
const MOST_ROWS: usize = 4_000_000;

/// Why an answer is no catalog. The server is at fault, or whoever speaks in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// A row is not of the form that was asked for.
    #[error("a row of the server's catalog is not what was asked for")]
    Malformed,
    /// What there is exactly once is missing or there twice.
    #[error("the server's catalog is not whole")]
    NotWhole,
    /// There is more than is kept.
    #[error("the server's catalog is too large")]
    TooLarge,
}

impl Catalog {
    /// Reads the answer to the [`QUESTION`](super::QUESTION), and puts labels on what it says; or that to the
    /// [`QUESTION_AGAIN`](super::QUESTION_AGAIN), which is not whole without what was read before. What the server has left out because others
    /// keep it locked is taken from the catalog of the same database that was read before, where it cannot have changed since.
    pub fn read(rows: &[Vec<Option<Bytes>>], classes: &Classification, before: Option<&Self>) -> Result<Self, CatalogError> {
        if rows.len() > MOST_ROWS {
            return Err(CatalogError::TooLarge);
        }
        let facts = rows.iter().map(|row| match row.as_slice() {
            [Some(kind), Some(facts)] => facts::read(kind, facts).ok_or(CatalogError::Malformed),
            _ => Err(CatalogError::Malformed),
        });
        Self::of(facts.collect::<Result<_, _>>()?, classes, before)
    }

    /// Reads an answer that was kept as text: one row a line, its kind and its facts with a tab between them.
    pub fn read_text(text: &str, classes: &Classification) -> Result<Self, CatalogError> {
        let row = |line: &str| line.split_once('\t').and_then(|(kind, facts)| facts::read(kind.as_bytes(), facts.as_bytes()));
        let facts = text.lines().map(|line| row(line).ok_or(CatalogError::Malformed)).collect::<Result<_, _>>()?;
        Self::of(facts, classes, None)
    }

    fn of(mut facts: Vec<Fact>, classes: &Classification, before: Option<&Self>) -> Result<Self, CatalogError> {
        let stored = stored::complete(&mut facts, before);
        let servers = Servers::among(&mut facts, before).ok_or(CatalogError::NotWhole)?;
        Ok(Self { stored, servers, ..Reading::sort(facts)?.build(classes)? })
    }
}

/// The rows, by kind.
#[derive(Default)]
struct Reading {
    paths: Vec<Vec<String>>,
    fingerprints: Vec<String>,
    schemas: HashMap<Arc<str>, bool>,
    relations: Vec<facts::Relation>,
    columns: HashMap<u32, Vec<facts::Column>>,
    views: HashMap<u32, Arc<str>>,
    parents: HashMap<u32, Vec<u32>>,
    triggers: HashMap<u32, Vec<Trigger>>,
    event_triggers: Vec<EventTrigger>,
    rules: HashMap<u32, Vec<Rule>>,
    expressions: HashMap<u32, Vec<Arc<str>>>,
    references: HashMap<u32, Vec<Reference>>,
    policies: HashMap<u32, Vec<Arc<str>>>,
    keys: HashMap<u32, Vec<Vec<i16>>>,
    primary: HashMap<u32, Vec<i16>>,
    functions: Vec<facts::Function>,
    operators: Vec<facts::Operator>,
    casts: Vec<facts::Cast>,
    types: Vec<facts::Type>,
    type_checks: HashMap<u32, Vec<Arc<str>>>,
    type_functions: HashMap<u32, Vec<u32>>,
}

impl Reading {
    fn sort(facts: Vec<Fact>) -> Result<Self, CatalogError> {
        let mut reading = Self::default();
        for fact in facts {
            match fact {
                Fact::Asked(_) => {}
                Fact::Path(path) => reading.paths.push(path.path),
                Fact::Fingerprint(fingerprint) => reading.fingerprints.push(fingerprint),
                // Each session has its own of these, which come and go.
                Fact::Schema(schema) if schema.name.starts_with("pg_temp_") || schema.name.starts_with("pg_toast") => {}
                Fact::Schema(schema) => _ = reading.schemas.insert(schema.name.into(), schema.usable),
                Fact::Relation(relation) => reading.relations.push(relation),
                Fact::Column(column) => reading.columns.entry(column.relation.0).or_default().push(column),
                Fact::View(view) => reading.views.extend(view.definition.map(|definition| (view.id.0, definition))),
                Fact::Child(child) => reading.parents.entry(child.id.0).or_default().push(child.parent.0),
                Fact::Trigger(trigger) => {
                    let relation = trigger.relation.0;
                    reading.triggers.entry(relation).or_default().push(self::trigger(trigger)?);
                }
                Fact::EventTrigger(trigger) => reading.event_triggers.push(event_trigger(trigger)),
                Fact::Rule(rule) => {
                    let relation = rule.relation.0;
                    reading.rules.entry(relation).or_default().push(self::rule(rule)?);
                }
                // What has gone since the answer began has no text.
                Fact::Expression(expression) => {
                    reading.expressions.entry(expression.relation.0).or_default().extend(expression.text);
                }
                Fact::Reference(reference) => {
                    reading.references.entry(reference.relation.0).or_default().push(self::reference(reference));
                }
                Fact::Policy(policy) => {
                    reading.policies.entry(policy.relation.0).or_default().extend(policy.text);
                }
                Fact::Key(key) => {
                    if key.primary {
                        reading.primary.insert(key.relation.0, key.columns.clone());
                    }
                    reading.keys.entry(key.relation.0).or_default().push(key.columns);
                }
                Fact::Function(function) => reading.functions.push(*function),
                Fact::Operator(operator) => reading.operators.push(operator),
                Fact::Cast(cast) => reading.casts.push(cast),
                Fact::Type(kind) => reading.types.push(kind),
                Fact::TypeCheck(check) => {
                    reading.type_checks.entry(check.kind.0).or_default().extend(check.text);
                }
                Fact::TypeFunction(function) => {
                    reading.type_functions.entry(function.kind.0).or_default().push(function.function.0);
                }
            }
        }
        Ok(reading)
    }

    fn build(mut self, classes: &Classification) -> Result<Catalog, CatalogError> {
        let (Some(path), Some(fingerprint)) = (only(&mut self.paths), only(&mut self.fingerprints)) else {
            return Err(CatalogError::NotWhole);
        };
        let mut catalog = Catalog {
            path: path.into_iter().map(Arc::from).collect(),
            fingerprint: fingerprint.into(),
            schemas: Arc::new(std::mem::take(&mut self.schemas)),
            event_triggers: std::mem::take(&mut self.event_triggers),
            ..Catalog::default()
        };
        catalog.labelled = classes.iter().map(|(name, _)| Arc::clone(&name.table)).collect();
        let mut words = Words::default();
        self.build_relations(&mut catalog, &mut words, classes);
        self.build_functions(&mut catalog, &mut words)?;
        self.build_types(&mut catalog, &mut words);
        for operator in self.operators {
            catalog.operators.entry(words.word(operator.name)).or_default().push(Operator {
                schema: words.word(operator.schema),
                left: operator.left.0,
                right: operator.right.0,
                function: operator.function.0,
            });
        }
        catalog.casts = self.casts.iter().map(cast).collect();
        catalog.finds_code_of_types();
        catalog.label_what_is_made_of_others();
        Ok(catalog)
    }

    fn build_relations(&mut self, catalog: &mut Catalog, words: &mut Words, classes: &Classification) {
        let named = Named::new(classes, &self.relations, &self.columns, &self.parents);
        catalog.unmatched = named.unmatched(classes);
        catalog.bound = named.bound();
        let partitioned: HashSet<u32> = self
            .relations
            .iter()
            .filter(|facts| matches!(facts.kind, facts::RelationKind::Partitioned))
            .map(|facts| facts.id.0)
            .collect();
        let mut children: HashMap<u32, Vec<Child>> = HashMap::new();
        for (child, parents) in &self.parents {
            for parent in parents {
                children.entry(*parent).or_default().push(Child { relation: *child, partition: partitioned.contains(parent) });
            }
        }
        for facts in std::mem::take(&mut self.relations) {
            let id = facts.id.0;
            let ancestors = self.ancestors(id);
            let labels = named.of_table(&ancestors);
            let mut columns = self.columns.remove(&id).unwrap_or_default();
            columns.sort_by_key(|column| column.number);
            let of_columns: Vec<_> = columns.iter().map(|column| named.of_column(&ancestors, &column.name, &labels)).collect();
            let holds = union(of_columns.iter().filter(|column| !Arc::ptr_eq(column, &labels)), &labels);
            let table = Arc::new(Table {
                schema: words.word(facts.schema),
                name: facts.name.into(),
                id,
                kind: facts.kind.of(facts.temporary),
                system: facts.system,
                labels,
                holds,
            });
            let described = columns.into_iter().zip(of_columns);
            let described: Vec<_> = described.map(|(column, labels)| column_facts(column, &table, labels, words)).collect();
            let relation = Relation {
                owner: words.word(facts.owner),
                columns: described,
                definition: self.views.remove(&id),
                children: sorted(children.remove(&id).unwrap_or_default()),
                triggers: self.triggers.remove(&id).unwrap_or_default(),
                rules: self.rules.remove(&id).unwrap_or_default(),
                expressions: self.expressions.remove(&id).unwrap_or_default(),
                references: self.references.remove(&id).unwrap_or_default(),
                policies: self.policies.remove(&id).unwrap_or_default(),
                keys: self.keys.remove(&id).unwrap_or_default(),
                primary: self.primary.remove(&id).unwrap_or_default(),
                rows: facts.rows,
                partitioned_by: facts.partitioned_by.unwrap_or_default(),
                table,
            };
            let schema = catalog.names.entry(Arc::clone(&relation.table.schema)).or_default();
            schema.insert(Arc::clone(&relation.table.name), id);
            catalog.relations.insert(id, Arc::new(relation));
        }
    }

    /// A relation, and all that it is a partition of or inherits from.
    fn ancestors(&self, id: u32) -> Vec<u32> {
        let mut all = vec![id];
        let mut next = 0;
        while let Some(parents) = all.get(next).map(|id| self.parents.get(id)) {
            next += 1;
            for parent in parents.into_iter().flatten() {
                if !all.contains(parent) {
                    all.push(*parent);
                }
            }
        }
        all
    }

    fn build_functions(&mut self, catalog: &mut Catalog, words: &mut Words) -> Result<(), CatalogError> {
        let own: HashSet<u32> = self.functions.iter().map(|function| function.id.0).collect();
        for facts in std::mem::take(&mut self.functions) {
            let function = Arc::new(function(facts, &own, words)?);
            catalog.function_ids.insert(function.id, Arc::clone(&function));
            catalog.functions.entry(Arc::clone(&function.routine.name)).or_default().push(function);
        }
        Ok(())
    }

    fn build_types(&mut self, catalog: &mut Catalog, words: &mut Words) {
        for facts in std::mem::take(&mut self.types) {
            let id = facts.id.0;
            let mut checks = self.type_checks.remove(&id).unwrap_or_default();
            checks.extend(facts.default);
            let kind = TypeFacts {
                id,
                schema: words.word(facts.schema),
                name: facts.name.into(),
                kind: facts.kind,
                element: facts.element.map_or(0, |element| element.0),
                base: facts.base.0,
                relation: facts.relation.0,
                checks,
                functions: self.type_functions.remove(&id).unwrap_or_default(),
            };
            catalog.type_names.entry(Arc::clone(&kind.schema)).or_default().insert(Arc::clone(&kind.name), id);
            catalog.types.insert(id, Arc::new(kind));
        }
    }
}

/// Words that many things share, once each.
#[derive(Default)]
struct Words(HashSet<Arc<str>>);

impl Words {
    fn word(&mut self, text: String) -> Arc<str> {
        if let Some(known) = self.0.get(text.as_str()) {
            return Arc::clone(known);
        }
        let word: Arc<str> = text.into();
        self.0.insert(Arc::clone(&word));
        word
    }
}

fn only<T>(all: &mut Vec<T>) -> Option<T> {
    if all.len() == 1 { all.pop() } else { None }
}

fn sorted(mut children: Vec<Child>) -> Vec<Child> {
    children.sort_unstable_by_key(|child| child.relation);
    children
}

fn column_facts(facts: facts::Column, table: &Arc<Table>, labels: Labels, words: &mut Words) -> ColumnFacts {
    let column =
        Column { table: Arc::clone(table), name: words.word(facts.name), number: facts.number, kind: facts.kind.0, labels };
    ColumnFacts {
        column: Arc::new(column),
        kind: facts.kind.0,
        not_null: facts.not_null,
        default: facts.default,
        generated: facts.generated,
    }
}

/// `pg_trigger.tgtype` (PostgreSQL's `catalog/pg_trigger.h`).
fn trigger(facts: facts::Trigger) -> Result<Trigger, CatalogError> {
    let has = |bit: i16| facts.kind & bit != 0;
    let when = match facts.definition {
        Some(definition) if *definition == *stored::UNREAD => Some(definition),
        Some(definition) => Some(condition(&definition).ok_or(CatalogError::Malformed)?.into()),
        None => None,
    };
    Ok(Trigger {
        name: facts.name.into(),
        on: Write { insert: has(4), delete: has(8), update: has(16), truncate: has(32) },
        // `TRIGGER_TYPE_ROW` and `TRIGGER_TYPE_BEFORE`.
        makes_row: has(1) && has(2),
        function: facts.function.0,
        when,
    })
}

fn event_trigger(facts: facts::EventTrigger) -> EventTrigger {
    let tags = facts.tags.unwrap_or_default().into_iter().map(Arc::from).collect();
    EventTrigger { function: facts.function.0, event: facts.event.into(), tags }
}

/// `pg_rewrite.ev_type` (PostgreSQL manual, 53.44).
fn rule(facts: facts::Rule) -> Result<Rule, CatalogError> {
    let on = match facts.kind {
        '2' => Write { update: true, ..Write::default() },
        '3' => Write { insert: true, ..Write::default() },
        '4' => Write { delete: true, ..Write::default() },
        _ => return Err(CatalogError::Malformed),
    };
    Ok(Rule { name: facts.name.into(), on, instead: facts.instead, definition: facts.definition.unwrap_or_default() })
}

fn reference(facts: facts::Reference) -> Reference {
    Reference {
        name: facts.name.into(),
        from: facts.from.0,
        columns: facts.columns,
        to: facts.to,
        on_delete: facts.on_delete,
        on_update: facts.on_update,
        inherited: facts.inherited,
    }
}

fn cast(facts: &facts::Cast) -> Cast {
    Cast { from: facts.from.0, to: facts.to.0, function: facts.function.0, implicit: facts.implicit }
}

fn function(facts: facts::Function, own: &HashSet<u32>, words: &mut Words) -> Result<Function, CatalogError> {
    let ids = |ids: Vec<Oid>| ids.into_iter().map(|id| id.0).collect::<Vec<_>>();
    let texts = |texts: Option<Vec<String>>| texts.unwrap_or_default().into_iter().map(Arc::from).collect::<Vec<_>>();
    let kind = match facts.kind {
        'f' => FunctionKind::Function,
        'p' => FunctionKind::Procedure,
        'a' => FunctionKind::Aggregate,
        'w' => FunctionKind::Window,
        _ => return Err(CatalogError::Malformed),
    };
    let mut parts = ids(facts.parts.unwrap_or_default());
    parts.retain(|id| own.contains(id));
    Ok(Function {
        routine: Arc::new(Routine { schema: words.word(facts.schema), name: facts.name.into(), system: false }),
        id: facts.id.0,
        kind,
        language: words.word(facts.language),
        source: facts.source.into(),
        body: facts.body,
        arguments: ids(facts.arguments),
        defaults: facts.defaults,
        default_expressions: facts.default_expressions,
        variadic: facts.variadic,
        names: texts(facts.names),
        modes: facts.modes.unwrap_or_default(),
        all_types: ids(facts.all_types.unwrap_or_default()),
        returns: facts.returns.0,
        set: facts.set,
        volatility: facts.volatility,
        definer: facts.definer,
        owner: words.word(facts.owner),
        settings: texts(facts.settings),
        extension: facts.extension.map(|extension| words.word(extension)),
        parts,
    })
}

impl facts::RelationKind {
    fn of(self, temporary: bool) -> TableKind {
        match self {
            Self::Table | Self::Partitioned if temporary => TableKind::Temporary,
            Self::Table | Self::Partitioned => TableKind::Table,
            Self::View => TableKind::View,
            Self::Materialized => TableKind::MaterializedView,
            Self::Foreign => TableKind::Foreign,
            Self::Sequence => TableKind::Sequence,
            Self::Composite => TableKind::Composite,
        }
    }
}
