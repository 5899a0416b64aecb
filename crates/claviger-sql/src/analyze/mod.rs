//! The analysis of one statement: a walk over its tree, in which every name is looked up as the server would.
//!
//! `query.rs` follows queries, `from.rs` what they select from, `order.rs` in which order rows come, `expression.rs` and `call.rs` values, `write.rs`, `cascade.rs` and
//! `partition.rs` changes and all that they set off, `bound.rs`, `limit.rs`, `inner.rs`, `either.rs` and `joined.rs` what limits either, `utility.rs`, `define.rs`
//! and `table.rs` everything else, `routine.rs` the bodies of functions, `implied.rs` what runs without being called.

mod bound;
mod call;
mod cascade;
mod chosen;
mod define;
mod disclose;
mod either;
mod expression;
mod flow;
mod from;
mod grouping;
mod implied;
mod inner;
mod inside;
mod join;
mod joined;
mod kinds;
mod limit;
mod names;
mod order;
mod partition;
mod query;
mod resolved;
mod routine;
mod said;
mod scope;
mod summed;
mod table;
mod utility;
mod walk;
mod write;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use claviger_model::{Column, Disclosure, Effect, Hazard, Insertion, Meaning, Object, Routine, Sum, Table, Verb};
use pg_raw_parse::Node;
use pg_raw_parse::raw::TransactionStmtKind;

pub(crate) use self::disclose::{labels_of_query, names_in};
use self::flow::{Flow, Rows, Sources, Tables};
pub(crate) use self::implied::act;
use self::names::qualified;
use self::resolved::Found;
use crate::catalog::Change;
use crate::{Catalog, NotUnderstood, Relation, Session, Statement, Transition, Undefined};

type Result<T> = std::result::Result<T, NotUnderstood>;

/// How deep a statement may be nested: what its walk takes of the stack is bounded by it.
const DEPTH: u32 = 150;
/// The longest text that is parsed, in bytes: its tree takes some fifty times as much for the moment.
const LONGEST: usize = 4 << 20;
/// How many definitions are followed in one text.
const DEFINITIONS: u32 = 1000;
/// How many nodes may be visited, with those of all views and functions that are seen through.
const NODES: u32 = 1_000_000;

/// Says what one statement does, whose text is given, with where it begins.
fn statement(
    node: Node<'_>,
    (text, start): (&str, usize),
    catalog: &Catalog,
    session: &Session,
    reached: &mut Reached,
) -> Result<Statement> {
    let mut analysis = Analysis::new(catalog, session);
    (analysis.text, analysis.start) = (text, start);
    if let Node::SelectStmt(select) = node {
        (analysis.leaving, analysis.own) = (order::Leaving::Settled, Some(std::ptr::from_ref(select).addr()));
    }
    analysis.reached = reached.is_some().then(BTreeSet::new);
    let class = analysis.statement(node)?;
    analysis.casts_unasked()?;
    analysis.stays_where_it_is(node);
    let meaning = analysis.meaning(class);
    let Analysis { transitions, depends_on_values, reached: texts, found, .. } = analysis;
    if let Some(reached) = reached {
        reached.extend(texts.into_iter().flatten());
    }
    let resolved = found.into_inner().into_all();
    Ok(Statement { meaning, span: 0..text.len(), transitions, depends_on_values, resolved })
}

/// The texts of the catalog's and the session's own that were followed, where somebody wants to know them.
type Reached = Option<BTreeSet<String>>;

/// Something that has been followed, by OID, so that it is not followed again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Followed {
    /// What a change of a table sets off.
    Change(u32, Verb),
    /// A change of these columns of a table.
    Write(u32, Verb, Box<[i16]>),
    /// A change that a foreign key, which is named, carries on from one table to another.
    Cascade(u32, u32, Arc<str>, Verb),
    /// The partitions that rows can move between.
    Moved(u32),
    /// The children of a table that is read.
    Children(u32),
}

struct Analysis<'a> {
    catalog: &'a Catalog,
    session: &'a Session,
    /// The role that what is followed runs as.
    role: Arc<str>,
    /// The path that names are looked up along.
    path: Vec<Arc<str>>,
    /// The search paths that have been in force, as functions may have their own, and which of them is: what runs looks names up along it,
    /// where what is stored had them looked up before.
    paths: Vec<Vec<Arc<str>>>,
    along: usize,
    /// What names were found to stand for.
    found: RefCell<Found>,
    /// What bodies change for what looks names up after them.
    bodies: resolved::Bodies,
    /// The text of the statement.
    text: &'a str,
    effects: BTreeSet<Effect>,
    hazards: BTreeSet<Hazard>,
    transitions: Vec<Transition>,
    /// By way of what the walk has come where it is.
    through: Option<Arc<str>>,
    /// Above zero where reads are noted only when they are used: inside a view.
    quiet: u32,
    /// Whether a text of the catalog's own was not understood.
    is_torn: bool,
    depth: u32,
    nodes: u32,
    /// Tables that are read, if only to count their rows.
    touched: Vec<(Arc<Table>, Option<Arc<str>>)>,
    /// What views give, with the path in force.
    views: HashMap<(u32, usize), Rc<Rows>>,
    /// Changes of tables that have been followed or are being followed, likewise.
    followed: HashSet<(Followed, usize)>,
    /// Whether the value of a parameter matters.
    depends_on_values: bool,
    /// The names that stand for values where the body of a function is followed.
    variables: Vec<Arc<str>>,
    /// Whether any name may stand for a value.
    any_variable: bool,
    /// What the variables may hold of the body that is being read.
    held: Option<routine::Held>,
    /// What the last piece of a body comes to.
    come_to: routine::ComeTo,
    /// What the function gives whose body is being read.
    gives: routine::Gives,
    /// What may become something else without being asked to.
    unasked: implied::Unasked,
    /// What is shown, and what that hangs on.
    disclosure: Disclosure,
    /// Classified columns that functions have read while the expression at hand was followed.
    beneath: Sources,
    /// Classified columns that the function has read whose body is being read.
    inside: Sources,
    /// What each function that was followed reads of them, with those that it calls; with the path in force, and whether it was followed
    /// aside.
    summaries: HashMap<(u32, usize, bool), Sources>,
    /// Functions whose bodies are being read, with the path in force, and whether what they read is not known to the end because one of
    /// them calls another.
    running: Vec<(u32, usize, bool)>,
    /// Whether what is followed is done by the server's tables on their own account: what that decides is their owner's affair.
    aside: bool,
    /// What rows that a rule gives in place of a statement's own are made of.
    instead: Option<Flow>,
    /// Classified columns by which the rows of the query at hand are grouped.
    grouping: Sources,
    /// Those that decide in which order rows come to it.
    loose: Sources,
    /// How much has been done that happens in the order of rows.
    doings: u32,
    /// What becomes of the order of the statement's own.
    leaving: order::Leaving,
    /// The arguments of calls that a statement computes once, and before anything else happens, by address.
    computed_once: Vec<usize>,
    /// The statement, where it is a query by itself, by its address; and where its text begins in the one that was parsed.
    own: Option<usize>,
    start: usize,
    /// The query whose rows are the statement's, by its address.
    top: Option<usize>,
    /// What queries inside are to be sorted by, and what would decide in which order their rows come.
    inside_sorted: Vec<(BTreeSet<Arc<Column>>, Insertion)>,
    /// Which columns of its rows are sums that may be seen.
    summed: Vec<(usize, Sum)>,
    /// The table that is being altered, whose columns its new expressions can name.
    altered: Option<Arc<Relation>>,
    /// What is known of queries inside conditions.
    inner: HashMap<usize, inner::Inner>,
    /// Whether the next query is to be looked at together with what is outside of it, and what that came to.
    together: Option<Option<inner::Together>>,
    /// The outermost level of queries at which a name was found.
    outermost: usize,
    reached: Reached,
}

impl<'a> Analysis<'a> {
    fn new(catalog: &'a Catalog, session: &'a Session) -> Self {
        Self {
            catalog,
            session,
            role: Arc::clone(&session.role),
            path: session.path.clone(),
            paths: vec![session.path.clone()],
            along: 0,
            found: Found::new(&session.path),
            bodies: resolved::Bodies::default(),
            text: "",
            effects: BTreeSet::new(),
            hazards: BTreeSet::new(),
            transitions: Vec::new(),
            through: None,
            quiet: 0,
            is_torn: false,
            depth: 0,
            nodes: 0,
            touched: Vec::new(),
            views: HashMap::new(),
            followed: HashSet::new(),
            depends_on_values: false,
            variables: Vec::new(),
            any_variable: false,
            held: None,
            come_to: routine::ComeTo::default(),
            gives: routine::Gives::default(),
            unasked: implied::Unasked::new(catalog),
            disclosure: Disclosure::default(),
            beneath: Sources::default(),
            inside: Sources::default(),
            summaries: HashMap::new(),
            running: Vec::new(),
            aside: false,
            instead: None,
            grouping: Sources::default(),
            loose: Sources::default(),
            doings: 0,
            leaving: order::Leaving::default(),
            computed_once: Vec::new(),
            own: None,
            start: 0,
            top: None,
            inside_sorted: Vec::new(),
            summed: Vec::new(),
            altered: None,
            inner: HashMap::new(),
            together: None,
            outermost: usize::MAX,
            reached: None,
        }
    }

    /// Follows a statement that stands by itself; gives its class.
    fn statement(&mut self, node: Node<'_>) -> Result<&'static str> {
        self.deeper(|this| match node {
            Node::SelectStmt(_) | Node::InsertStmt(_) | Node::UpdateStmt(_) | Node::DeleteStmt(_) | Node::MergeStmt(_) => {
                this.top = if let Node::SelectStmt(select) = node { Some(std::ptr::from_ref(select).addr()) } else { None };
                this.computed_once = computed_once(node);
                let (class, mut rows) = this.query_statement(node)?;
                this.leaves_in_order(node, &mut rows);
                this.leaves(&rows);
                Ok(class)
            }
            node => this.utility(node),
        })
    }

    /// Rows leave for the client: those of whole tables are an export.
    fn leaves(&mut self, rows: &Rows) {
        if self.running.is_empty() {
            self.shown(rows);
        }
        let mut tables = Tables::default();
        for flow in rows.fields.iter().map(|field| &field.flow).chain(&rows.open) {
            tables.add(&flow.gathered.tables());
            if !rows.bounded {
                tables.add(&flow.rows.tables());
            }
        }
        // What a server says of itself is no table of anybody's.
        for table in tables.iter().filter(|table| !table.system) {
            self.hazards.insert(Hazard::MassExport);
            self.note(Verb::Export, Object::Table(Arc::clone(table)));
        }
    }

    fn meaning(&mut self, class: &'static str) -> Meaning {
        for (table, through) in std::mem::take(&mut self.touched) {
            let column_read = self.effects.iter().any(|effect| {
                effect.verb == Verb::Read
                    && effect.through == through
                    && matches!(&effect.object, Object::Column(column) if Arc::ptr_eq(&column.table, &table))
            });
            if !column_read {
                self.effects.insert(Effect { verb: Verb::Read, object: Object::Table(table), through });
            }
        }
        let (effects, hazards) = (std::mem::take(&mut self.effects), std::mem::take(&mut self.hazards));
        std::mem::take(&mut self.loose).iter().for_each(|column| self.decides(column, None));
        for (columns, insertion) in std::mem::take(&mut self.inside_sorted) {
            let order = self.disclosure.order.get_or_insert_default();
            order.columns.extend(columns);
            order.sorted.push(insertion);
        }
        self.sums_shown();
        self.given_instead();
        let mut disclosure = std::mem::take(&mut self.disclosure);
        disclosure.anything = self.catalog.is_classified()
            && (hazards.contains(&Hazard::DynamicSql) || effects.iter().any(|effect| effect.verb == Verb::Unknown));
        Meaning { class, effects, hazards, disclosure }
    }

    fn note(&mut self, verb: Verb, object: Object) {
        self.effects.insert(Effect { verb, object, through: self.through.clone() });
    }

    fn note_unknown(&mut self, hazard: Hazard) {
        self.hazards.insert(hazard);
        self.note(Verb::Unknown, Object::Connection);
    }

    fn note_routine(&mut self, verb: Verb, schema: &Arc<str>, name: &str, system: bool) {
        let routine = Routine { schema: Arc::clone(schema), name: name.into(), system };
        self.note(verb, Object::Routine(Arc::new(routine)));
    }

    /// A value of the column is used.
    fn read(&mut self, column: &Arc<Column>) {
        self.reaches(column);
        if self.quiet == 0 {
            self.note(Verb::Read, Object::Column(Arc::clone(column)));
        }
    }

    /// All that a flow depends on is used.
    fn read_flow(&mut self, flow: &Flow) {
        flow.shows.iter().for_each(|column| self.reaches(column));
        if self.quiet == 0 {
            for column in flow.value.iter().chain(flow.control.iter()) {
                self.note(Verb::Read, Object::Column(Arc::clone(column)));
            }
        }
    }

    /// An error may tell of the column, and so may a function that reads it.
    fn reaches(&mut self, column: &Arc<Column>) {
        self.fails_with(column);
        if !column.labels.is_empty() && !self.running.is_empty() {
            self.inside.insert(column);
        }
    }

    /// An error may tell of the column.
    fn fails_with(&mut self, column: &Arc<Column>) {
        if !column.labels.is_empty() {
            self.disclosure.told.insert(Arc::clone(column));
        }
    }

    /// Whether this is followed for the first time along the path in force.
    fn is_new(&mut self, what: Followed) -> bool {
        self.followed.insert((what, self.along))
    }

    fn touch(&mut self, table: &Arc<Table>) {
        if self.quiet == 0 {
            self.touched.push((Arc::clone(table), self.through.clone()));
        }
    }

    /// Goes one level down, if that is not too deep.
    fn deeper<T>(&mut self, walk: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= DEPTH {
            return Err(NotUnderstood::TooComplex);
        }
        self.count()?;
        self.depth += 1;
        let result = walk(self);
        self.depth -= 1;
        result
    }

    /// What is followed next is not in the statement's own text.
    fn goes_into(&mut self, text: &str) {
        if let Some(reached) = &mut self.reached {
            reached.insert(text.to_owned());
        }
    }

    fn count(&mut self) -> Result<()> {
        self.nodes += 1;
        if self.nodes > NODES { Err(NotUnderstood::TooComplex) } else { Ok(()) }
    }

    /// Follows what is reached by way of something that the text does not name.
    fn by_way_of<T>(&mut self, name: &str, walk: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let (outer, outermost) = (self.through.replace(name.into()), self.outermost);
        let result = self.deeper(walk);
        (self.through, self.outermost) = (outer, outermost);
        result
    }

    /// What the catalog's own texts name must be there; if it is not, the snapshot is torn.
    fn torn<T: Default>(&mut self, result: Result<T>) -> Result<T> {
        match result {
            Err(NotUnderstood::Undefined(_) | NotUnderstood::Syntax) => {
                self.is_torn = true;
                self.note_unknown(Hazard::Unknown);
                Ok(T::default())
            }
            result => result,
        }
    }
}

fn undefined<T>(what: Undefined) -> Result<T> {
    Err(NotUnderstood::Undefined(what))
}

/// The statements of a text, each under the state that those before it leave behind.
///
/// The grammar's library checks with panics that its trees are what they seem: a tree that is not is not understood.
pub(crate) fn text(text: &str, catalog: &Catalog, session: &Session) -> Result<Vec<Statement>> {
    guarded(text, catalog, session, &mut None)
}

/// The texts that a text hangs on, which are not in it.
pub(crate) fn reached(text: &str, catalog: &Catalog, session: &Session) -> Result<BTreeSet<String>> {
    let mut reached = Some(BTreeSet::new());
    guarded(text, catalog, session, &mut reached)?;
    Ok(reached.unwrap_or_default())
}

fn guarded(text: &str, catalog: &Catalog, session: &Session, reached: &mut Reached) -> Result<Vec<Statement>> {
    if text.len() > LONGEST {
        return Err(NotUnderstood::TooComplex);
    }
    catch_unwind(AssertUnwindSafe(|| statements(text, catalog, session, reached))).unwrap_or(Err(NotUnderstood::TooComplex))
}

fn statements(text: &str, catalog: &Catalog, session: &Session, reached: &mut Reached) -> Result<Vec<Statement>> {
    let parsed = pg_raw_parse::parse(text).map_err(|_| NotUnderstood::Syntax)?;
    let mut session = session.clone();
    let mut statements = Vec::new();
    // What a statement changes without saying so leaves those after it unknown, but for what only begins or ends a transaction.
    let mut unsaid = false;
    let mut defined = Defined::default();
    for raw in parsed.iter() {
        let start = usize::try_from(raw.stmt_location).unwrap_or(0).min(text.len());
        let length = usize::try_from(raw.stmt_len).unwrap_or(0);
        let end = if length == 0 { text.len() } else { (start + length).min(text.len()) };
        let own = text.get(start..end).ok_or(NotUnderstood::Syntax)?;
        let mut statement = match raw.stmt() {
            Node::TransactionStmt(_) => statement(raw.stmt(), (own, start), catalog, &session, reached)?,
            node if unsaid && !is_blind(node) => unknown(catalog),
            node => statement(node, (own, start), defined.catalog(catalog), &session, reached)?,
        };
        // What comes last changes nothing for those after it.
        if end < text.len() {
            unsaid |= changes_unsaid(&statement.transitions) || !defined.follow(raw.stmt(), &statement, catalog, &mut session);
        }
        statement.transitions.iter().for_each(|transition| session.apply(transition));
        statement.meaning.disclosure.insertions().for_each(|insertion| insertion.at += start);
        statement.span = start..end;
        statements.push(statement);
    }
    Ok(statements)
}

/// What the statements of a text have defined so far.
#[derive(Default)]
struct Defined {
    /// The catalog as they have made it, if they have.
    catalog: Option<Catalog>,
    schemas: bool,
    /// Whether they have set another path.
    path: bool,
    count: u32,
}

impl Defined {
    fn catalog<'a>(&'a self, before: &'a Catalog) -> &'a Catalog {
        self.catalog.as_ref().unwrap_or(before)
    }

    /// Follows what a statement makes of the catalog. Whether it can be told.
    fn follow(&mut self, node: Node<'_>, statement: &Statement, before: &Catalog, session: &mut Session) -> bool {
        let is = |transition: fn(&Transition) -> bool| statement.transitions.iter().any(transition);
        self.path |= is(|transition| matches!(transition, Transition::Path(_)));
        if is(|transition| matches!(transition, Transition::Rollback | Transition::RollbackTo(_))) || is_put_off(node) {
            return self.catalog.is_none() && !self.path;
        }
        // What was set for a transaction ends with it.
        if is(|transition| matches!(transition, Transition::Commit)) {
            return !self.path;
        }
        if !is(|transition| matches!(transition, Transition::Define)) {
            return true;
        }
        self.count += 1;
        if self.count > DEFINITIONS {
            return false;
        }
        let Some(changes) = Analysis::new(self.catalog(before), session).says(node, self.schemas) else { return false };
        for change in changes {
            match &change {
                Change::Schema(_) => self.schemas = true,
                Change::Is(relation)
                    if *relation.table.schema == *said::TEMPORARY && !session.path.contains(&relation.table.schema) =>
                {
                    // Where it comes in the path is not known if the path names it.
                    if session.names_temporary {
                        return false;
                    }
                    session.path.insert(0, Arc::clone(&relation.table.schema));
                }
                _ => {}
            }
            self.catalog.get_or_insert_with(|| before.clone()).apply(&change);
        }
        true
    }
}

/// The arguments of the calls of `set_config` that are all that a query consists of, by address.
fn computed_once(node: Node<'_>) -> Vec<usize> {
    let Node::SelectStmt(select) = node else { return Vec::new() };
    let is_plain = select.from_clause().is_empty()
        && select.with_clause().is_none()
        && select.group_clause().is_empty()
        && select.values_lists().is_empty()
        && select.sort_clause().is_empty()
        && [select.where_clause(), select.having_clause(), select.limit_count(), select.limit_offset()]
            .iter()
            .all(|node| matches!(node, Node::None));
    let sets = |node| match node {
        Node::FuncCall(call) => matches!(qualified(call.funcname()), Some((None | Some("pg_catalog"), "set_config"))),
        _ => false,
    };
    // Beside what gives no row, nothing is computed.
    if !is_plain || !select.target_list().iter().all(|target| sets(target.val())) {
        return Vec::new();
    }
    let arguments = |node| if let Node::FuncCall(call) = node { Some(std::ptr::from_ref(call.args()).addr()) } else { None };
    select.target_list().iter().filter_map(|target| arguments(target.val())).collect()
}

/// Whether a statement looks no name up, so that it does the same wherever the session is.
fn is_blind(node: Node<'_>) -> bool {
    match node {
        Node::VariableSetStmt(statement) => !statement.name().is_some_and(|name| name.eq_ignore_ascii_case("search_path")),
        Node::DeallocateStmt(_) | Node::DiscardStmt(_) | Node::ClosePortalStmt(_) | Node::UnlistenStmt(_) => true,
        _ => false,
    }
}

/// Whether this ends a transaction that others are yet to end.
fn is_put_off(node: Node<'_>) -> bool {
    matches!(node, Node::TransactionStmt(statement) if statement.kind == TransactionStmtKind::TRANS_STMT_PREPARE)
}

/// Whether what comes after this in the same text cannot be told: the path or the role is another, to what is not said.
fn changes_unsaid(transitions: &[Transition]) -> bool {
    let says = transitions.iter().any(|transition| matches!(transition, Transition::Path(_)));
    transitions.iter().any(|transition| match transition {
        Transition::Resync => !says,
        _ => false,
    })
}

fn unknown(catalog: &Catalog) -> Statement {
    let effect = Effect { verb: Verb::Unknown, object: Object::Connection, through: None };
    let disclosure = Disclosure { anything: catalog.is_classified(), ..Disclosure::default() };
    let meaning = Meaning { class: "UNKNOWN", effects: [effect].into(), hazards: [Hazard::Unknown].into(), disclosure };
    Statement {
        meaning,
        span: 0..0,
        transitions: vec![Transition::Resync, Transition::Define],
        depends_on_values: false,
        resolved: Vec::new(),
    }
}
