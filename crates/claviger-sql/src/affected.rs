//! How many rows a statement shows or changes, without running it: a query that gives the same rows and changes nothing.
//!
//! It is made of the statement's tree and read again, and what it reaches decides whether it may be asked: a planner computes what can be
//! computed beforehand, so it runs functions, and nobody has consented to that. A condition that joins other tables asks for each row of
//! the changed one whether there are rows of those.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use claviger_model::{Hazard, Meaning, Object, Routine, Table, TableKind, Verb};
use pg_raw_parse::make::{MemoryToken, Unique, owned};
use pg_raw_parse::nodes::{self, RangeVar, SelectStmt, SubLink, WithClause};
use pg_raw_parse::raw::{DropBehavior, SetOperation, SubLinkType};
use pg_raw_parse::{Node, Owned, deparse};

use crate::builtin::{Builtin, extension};
use crate::lexer::{Kind, Token, tokens};
use crate::{Catalog, Function, NotUnderstood, Session, understand};

/// How the rows of a statement can be told before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Affected {
    /// The text itself lists them: so many.
    Listed(u64),
    /// By asking the server.
    Asked(Question),
}

/// What a server can be asked about the rows of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The query, for a planner; its rows are the statement's.
    pub query: String,
    /// Why the rows of that query are not to be counted, if they are not.
    pub uncounted: Option<Untold>,
    /// Which of the statement's parameters it has, from 1.
    pub parameters: BTreeSet<usize>,
    /// Why there may be fewer.
    pub at_most: Option<&'static str>,
}

/// Why it is not told how many rows there are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// It is not understood.
    #[error(transparent)]
    NotUnderstood(#[from] NotUnderstood),
    /// There are several statements, and each may change what the others find.
    #[error("it is several statements")]
    Several,
    /// It neither shows nor changes rows.
    #[error("it is not about rows")]
    NoRows,
    /// No query gives the same rows.
    #[error("{0}")]
    NoQuery(&'static str),
    /// To ask would run what somebody else has written.
    #[error("it calls {0}")]
    Calls(String),
    /// To ask would do more than read.
    #[error("it does more than read rows: {0}")]
    Does(String),
    /// Nobody else sees a table of the session's own.
    #[error("{0} is its session's own")]
    Temporary(String),
    /// To ask would reach another server.
    #[error("{0} is on another server")]
    Foreign(String),
    /// Each time it is another number.
    #[error("{0} gives something else each time")]
    Chance(String),
}

/// Functions of the server's own that give something else each time, where everything else is the same (`pg_proc.provolatile`).
const CHANCE: &[&str] = &["clock_timestamp", "gen_random_uuid", "random", "random_normal", "timeofday", "uuidv4", "uuidv7"];

/// How the rows of a text's statement can be told, where its session sees this catalog. Statements that only begin or end a transaction do not
/// count.
pub fn affected(text: &str, catalog: &Catalog, session: &Session) -> Result<Affected, Untold> {
    let found = catch_unwind(AssertUnwindSafe(|| find(text, catalog, session)));
    let mut question = match found.unwrap_or(Err(Untold::NotUnderstood(NotUnderstood::TooComplex)))? {
        Affected::Asked(question) => question,
        listed @ Affected::Listed(_) => return Ok(listed),
    };
    let read = understand(&question.query, catalog, session)?;
    let [only] = read.as_slice() else { return Err(Untold::Several) };
    may_be_asked(&only.meaning, catalog, session)?;
    let tokens = tokens(&question.query).unwrap_or_default();
    question.parameters = parameters(&question.query, &tokens);
    question.uncounted = question.uncounted.or_else(|| chance(&question.query, &tokens).map(Untold::Chance));
    Ok(Affected::Asked(question))
}

impl Question {
    /// A query that gives one number: how many there are.
    pub fn count(&self) -> Result<String, Untold> {
        match &self.uncounted {
            Some(why) => Err(why.clone()),
            None => Ok(format!("SELECT pg_catalog.count(*) FROM ({}) AS rows", self.query)),
        }
    }
}

/// The query, by the statement's form alone.
fn find(text: &str, catalog: &Catalog, session: &Session) -> Result<Affected, Untold> {
    let parsed = pg_raw_parse::parse(text).map_err(|_| NotUnderstood::Syntax)?;
    let statements = parsed.iter().map(|raw| raw.stmt()).filter(|node| !matches!(node, Node::TransactionStmt(_)));
    let [node] = statements.collect::<Vec<_>>()[..] else { return Err(Untold::Several) };
    match node {
        Node::SelectStmt(select) => rows_of(select),
        Node::DeleteStmt(delete) => {
            let parts = (delete.relation(), delete.using_clause().iter().collect(), delete.where_clause());
            changed(parts, delete.with_clause(), (catalog, session))
        }
        Node::UpdateStmt(update) => {
            let parts = (update.relation(), update.from_clause().iter().collect(), update.where_clause());
            changed(parts, update.with_clause(), (catalog, session))
        }
        Node::InsertStmt(insert) => inserted(insert),
        Node::CreateTableAsStmt(create) => match create.query() {
            Node::SelectStmt(select) => rows_of(select),
            _ => Err(Untold::NoRows),
        },
        Node::DeclareCursorStmt(declare) => match declare.query() {
            Node::SelectStmt(select) => rows_of(select),
            _ => Err(Untold::NoRows),
        },
        Node::CopyStmt(copy) if copy.is_from => Err(Untold::NoQuery("its rows come from the client")),
        Node::CopyStmt(copy) => match (copy.relation(), copy.query()) {
            (Some(relation), _) => asked(&select_from(&[relation], &[], Node::None, None), None),
            (None, Node::SelectStmt(select)) => rows_of(select),
            (None, _) => Err(Untold::NoQuery("what it copies is changed too")),
        },
        Node::TruncateStmt(truncate) if truncate.behavior == DropBehavior::DROP_CASCADE => {
            Err(Untold::NoQuery("it empties more tables than it names"))
        }
        Node::TruncateStmt(truncate) => {
            let tables = truncate.relations().iter().filter_map(|node| <&RangeVar>::try_from(node).ok());
            let each = tables.map(|table| written(&select_from(&[table], &[], Node::None, None)));
            asked_as(each.collect::<Result<Vec<_>, _>>()?.join(" UNION ALL "), None, None)
        }
        Node::MergeStmt(merge) => {
            let row_security = merge.relation().and_then(|relation| row_security(relation, catalog, session));
            let why = Untold::NoQuery("what a MERGE does with its rows is told by running it");
            asked_as(deparse(node).map_err(|_| NotUnderstood::Syntax)?.as_str().to_owned(), row_security, Some(why))
        }
        Node::ExecuteStmt(_) | Node::FetchStmt(_) => Err(Untold::NoQuery("it goes on with what was given before")),
        _ => Err(Untold::NoRows),
    }
}

/// The rows of a query, without what it does to them.
fn rows_of(select: &SelectStmt) -> Result<Affected, Untold> {
    only_reads(select.with_clause())?;
    let copy = owned(|mem| {
        let mut copy = mem.make_unique(select);
        copy.as_mut().set_into_clause(mem.make_unique(None::<&nodes::IntoClause>));
        copy.as_mut().set_locking_clause(mem.cast_empty());
        copy
    });
    asked(&copy, None)
}

/// The rows of a table that a condition picks, which may name other tables.
fn changed(
    (relation, others, condition): (Option<&RangeVar>, Vec<Node<'_>>, Node<'_>),
    with: Option<&WithClause>,
    (catalog, session): (&Catalog, &Session),
) -> Result<Affected, Untold> {
    let relation = relation.ok_or(Untold::NoRows)?;
    if matches!(condition, Node::CurrentOfExpr(_)) {
        return Err(Untold::NoQuery("it is the row at which a cursor stands"));
    }
    only_reads(with)?;
    asked(&select_from(&[relation], &others, condition, with), row_security(relation, catalog, session))
}

fn inserted(insert: &nodes::InsertStmt) -> Result<Affected, Untold> {
    only_reads(insert.with_clause())?;
    let at_most = insert.on_conflict_clause().map(|_| "rows that are there already count, too");
    let Node::SelectStmt(select) = insert.select_stmt() else { return Ok(Affected::Listed(1)) };
    let lists = select.values_lists().len();
    let is_limited = !matches!((select.limit_count(), select.limit_offset()), (Node::None, Node::None));
    if lists > 0 && at_most.is_none() && !is_limited {
        return Ok(Affected::Listed(lists as u64));
    }
    only_reads(select.with_clause())?;
    if insert.with_clause().is_some() && select.with_clause().is_some() {
        return Err(Untold::NoQuery("its query has names of its own twice"));
    }
    let copy = owned(|mem| {
        let mut copy = mem.make_unique(select);
        if let Some(with) = insert.with_clause() {
            copy.as_mut().set_with_clause(mem.make_unique(with).as_option());
        }
        copy
    });
    asked(&copy, at_most)
}

/// What a WITH clause names must only read.
fn only_reads(with: Option<&WithClause>) -> Result<(), Untold> {
    let reads = |query: Node<'_>| matches!(query, Node::SelectStmt(_));
    if with.is_none_or(|with| with.ctes().iter().all(|cte| reads(cte.ctequery()))) {
        Ok(())
    } else {
        Err(Untold::NoQuery("it changes rows in several places"))
    }
}

/// `SELECT FROM tables WHERE condition`, where the condition may name others.
fn select_from(tables: &[&RangeVar], others: &[Node<'_>], condition: Node<'_>, with: Option<&WithClause>) -> Owned<SelectStmt> {
    owned(|mem| {
        let tables: Vec<_> = tables.iter().map(|table| mem.make_unique(Node::RangeVar(table))).collect();
        let condition = if others.is_empty() { copied(mem, condition) } else { exists(mem, others, condition) };
        let mut select = plain(mem, &tables, condition);
        if let Some(with) = with {
            select.as_mut().set_with_clause(mem.make_unique(with).as_option());
        }
        select
    })
}

/// `EXISTS (SELECT FROM others WHERE condition)`
fn exists<'mem>(mem: MemoryToken<'mem>, others: &[Node<'_>], condition: Node<'_>) -> Unique<'mem, Node<'mem>> {
    let others: Vec<_> = others.iter().map(|other| mem.make_unique(*other)).collect();
    let select = plain(mem, &others, copied(mem, condition));
    let mut link = mem.make_node::<SubLink>();
    link.as_mut().set_sub_link_type(SubLinkType::EXISTS_SUBLINK);
    link.as_mut().set_subselect(select.uncast());
    link.uncast()
}

fn plain<'mem>(
    mem: MemoryToken<'mem>,
    from: &[Unique<'mem, Node<'mem>>],
    condition: Unique<'mem, Node<'mem>>,
) -> Unique<'mem, &'mem SelectStmt> {
    let mut select = mem.make_node::<SelectStmt>();
    select.as_mut().set_from_clause(mem.make_list(from));
    select.as_mut().set_where_clause(condition);
    select.as_mut().set_op(SetOperation::SETOP_NONE);
    select
}

fn copied<'mem>(mem: MemoryToken<'mem>, node: Node<'_>) -> Unique<'mem, Node<'mem>> {
    if matches!(node, Node::None) { mem.none() } else { mem.make_unique(node) }
}

fn asked(select: &SelectStmt, at_most: Option<&'static str>) -> Result<Affected, Untold> {
    asked_as(written(select)?, at_most, None)
}

fn asked_as(query: String, at_most: Option<&'static str>, uncounted: Option<Untold>) -> Result<Affected, Untold> {
    Ok(Affected::Asked(Question { query, uncounted, parameters: BTreeSet::new(), at_most }))
}

fn written(select: &SelectStmt) -> Result<String, Untold> {
    Ok(deparse(select).map_err(|_| NotUnderstood::Syntax)?.as_str().to_owned())
}

/// Policies of a table tell its changes apart from its reading.
fn row_security(relation: &RangeVar, catalog: &Catalog, session: &Session) -> Option<&'static str> {
    let table = catalog.find_relation(relation.schemaname(), relation.relname()?, &session.path)?;
    (!table.policies.is_empty()).then_some("the table has row-level security, which may spare some of them")
}

/// Whether what is asked reads, and calls nothing that anybody has written but the server's makers.
fn may_be_asked(meaning: &Meaning, catalog: &Catalog, session: &Session) -> Result<(), Untold> {
    for effect in &meaning.effects {
        match (&effect.verb, &effect.object) {
            (Verb::Execute, Object::Routine(routine)) if is_known(routine, catalog, session) => {}
            (Verb::Execute, Object::Routine(routine)) => {
                return Err(Untold::Calls(Object::Routine(routine.clone()).to_string()));
            }
            (Verb::Read | Verb::Export | Verb::Insert | Verb::Update | Verb::Delete, Object::Table(table)) => seen(table)?,
            (Verb::Read | Verb::Insert | Verb::Update | Verb::Delete, Object::Column(column)) => seen(&column.table)?,
            (Verb::Reveal | Verb::Filter | Verb::Aggregate, _) => {}
            (verb, object) => return Err(Untold::Does(format!("{} {object}", verb.as_str()))),
        }
    }
    let is_of_rows = |hazard: &Hazard| matches!(hazard, Hazard::MassExport | Hazard::BulkWrite | Hazard::Cascade);
    match meaning.hazards.iter().find(|hazard| !is_of_rows(hazard)) {
        Some(hazard) => Err(Untold::Does(hazard.as_str().to_owned())),
        None => Ok(()),
    }
}

/// Whether others than the server's own session see a table's rows, and the server has them itself.
fn seen(table: &Table) -> Result<(), Untold> {
    match table.kind {
        TableKind::Sequence => Err(Untold::Does(table.to_string())),
        TableKind::Temporary => Err(Untold::Temporary(table.to_string())),
        TableKind::Foreign => Err(Untold::Foreign(table.to_string())),
        _ => Ok(()),
    }
}

/// Whether a function is one of an extension that is known to do nothing but compute.
fn is_known(routine: &Routine, catalog: &Catalog, session: &Session) -> bool {
    let computes = |function: &Arc<Function>| {
        let known = function.extension.as_deref().and_then(|of| extension(of, &function.routine.name));
        known == Some(Builtin::Harmless) && !matches!(&*function.language, "sql" | "plpgsql")
    };
    let mut named = catalog.find_functions(Some(&routine.schema), &routine.name, &session.path).peekable();
    named.peek().is_some() && named.all(computes)
}

/// The numbers of the parameters in a query.
fn parameters(query: &str, tokens: &[Token]) -> BTreeSet<usize> {
    let number = |pair: &[Token]| {
        let [dollar, number] = pair else { return None };
        let is_parameter =
            number.kind == Kind::Number && number.start == dollar.end && query.get(dollar.start..dollar.end)? == "$";
        query.get(number.start..number.end).filter(|_| is_parameter)?.parse().ok()
    };
    tokens.windows(2).filter_map(number).collect()
}

/// A function that is called in a query and gives something else each time.
fn chance(query: &str, tokens: &[Token]) -> Option<String> {
    let called = |pair: &[Token]| {
        let [name, bracket] = pair else { return None };
        let name = query.get(name.start..name.end)?.trim_matches('"').to_ascii_lowercase();
        let is_called = query.get(bracket.start..bracket.end) == Some("(") && CHANCE.contains(&name.as_str());
        is_called.then_some(name)
    };
    tokens.windows(2).find_map(called)
}
