//! What a statement discloses: which of its rows' columns show classified ones, and what classified columns decide.
//!
//! A value that is made of classified ones shows them, whatever is done with it. A condition on one decides which rows there are: that
//! tells of its value as well, and so does an error that only some values lead to. What tells nothing but whether a value is
//! there, or that two classified values are equal, is told apart.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use claviger_model::{Carried, Column, Control, Disclosure, Labels, Output};
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{self, SubLink};
use pg_raw_parse::raw::{A_Expr_Kind, SubLinkType};

use super::chosen;
use super::flow::{Field, Flow, Rows, Sources};
use super::names::{constant_text, parts, qualified};
use super::scope::Scope;
use super::walk::visit;
use super::{Analysis, Result};
use crate::{Catalog, NotUnderstood, Session};

impl Analysis<'_> {
    /// Something that decides which rows there are, and shows nothing itself.
    pub(super) fn condition(&mut self, scope: &Scope<'_>, node: Node<'_>) -> Result<Flow> {
        let mut flow = Flow::default();
        flow.controlled_by(&self.deeper(|this| this.condition_here(scope, node))?);
        Ok(flow.without_values())
    }

    fn condition_here(&mut self, scope: &Scope<'_>, node: Node<'_>) -> Result<Flow> {
        match node {
            Node::BoolExpr(all) => {
                let mut flow = Flow::default();
                for node in all.args() {
                    flow.add(&self.condition(scope, node)?);
                }
                Ok(flow)
            }
            Node::A_Expr(comparison) if is_equality(comparison) && against_nothing(comparison).is_none() => {
                let left = self.expression(scope, comparison.lexpr())?;
                let right = self.expression(scope, comparison.rexpr())?;
                self.operators_of(comparison)?;
                Ok(self.compared(left, &right))
            }
            Node::SubLink(link) if is_membership(link) => self.membership(scope, link),
            node => {
                let flow = self.expression(scope, node)?;
                Ok(self.decided(flow))
            }
        }
    }

    /// `column IN (query)`, `(column, column) IN (query)`.
    fn membership(&mut self, scope: &Scope<'_>, link: &SubLink) -> Result<Flow> {
        let columns: Vec<Node<'_>> = match link.testexpr() {
            Node::RowExpr(row) => row.args().iter().collect(),
            node => vec![node],
        };
        let mut left = Rows::default();
        for node in columns {
            let flow = self.expression(scope, node)?;
            left.fields.push(Field { flow, ..Field::default() });
        }
        self.operator(None, "=")?;
        let rows = self.inner_query(scope, link)?;
        self.compared_rows(&left, &rows);
        let mut flow = rows.control.clone();
        left.fields.iter().chain(&rows.fields).map(|field| &field.flow).chain(&rows.open).for_each(|part| flow.add(part));
        Ok(flow.without_values())
    }

    /// Two values are to be equal. That two classified columns of one kind are is told apart from that one is what somebody says.
    pub(super) fn compared(&mut self, left: Flow, right: &Flow) -> Flow {
        match (&left.copy, &right.copy) {
            (Some(one), Some(other)) if alike(&one.labels, &other.labels) && self.compares_plainly(one, other) => {
                self.decides(one, Some(other));
                self.decides(other, Some(one));
                let mut flow = left.without_values();
                flow.add(&right.clone().without_values());
                flow
            }
            _ => {
                let mut flow = left;
                flow.add(right);
                self.decided(flow)
            }
        }
    }

    /// Whether columns are compared by the server's own rules.
    pub(super) fn compares_plainly(&self, one: &Column, other: &Column) -> bool {
        let own = |kind| [one.kind, other.kind].contains(&kind);
        !self.catalog.find_operators(None, "=", &self.path).any(|operator| own(operator.left) || own(operator.right))
    }

    /// What is decided by this tells of all that it shows.
    pub(super) fn decided(&mut self, flow: Flow) -> Flow {
        for column in flow.shows.iter() {
            self.decides(column, None);
        }
        flow.without_values()
    }

    pub(super) fn decides(&mut self, column: &Arc<Column>, equals: Option<&Arc<Column>>) {
        if !self.aside {
            self.disclosure.control.insert(Control { column: Arc::clone(column), equals: equals.map(Arc::clone) });
        }
    }

    /// A value goes into a column, or into what is no column yet. In one with the same labels it is as well kept as before.
    pub(super) fn carried(&mut self, flow: &Flow, into: Option<&Arc<Column>>) {
        if self.aside {
            return;
        }
        for from in flow.shows.iter() {
            let kept = flow.copy.as_ref().is_some_and(|copy| Arc::ptr_eq(copy, from))
                && into.is_some_and(|into| from.labels.iter().all(|label| into.labels.contains(label)));
            if !kept {
                self.disclosure.carried.insert(Carried { from: Arc::clone(from), into: into.map(Arc::clone) });
            }
        }
    }

    /// Which rows there are is decided by comparing them with others, column by column; what then decides in which order they come.
    pub(super) fn compared_rows(&mut self, one: &Rows, other: &Rows) -> Sources {
        let mut order = Sources::default();
        if one.open.is_some() || other.open.is_some() || one.fields.len() != other.fields.len() {
            let all = [one, other].into_iter().flat_map(|rows| rows.fields.iter().map(|field| &field.flow).chain(&rows.open));
            all.for_each(|flow| _ = self.decided(flow.clone()));
            return order;
        }
        for (left, right) in one.fields.iter().zip(&other.fields) {
            self.compared(left.flow.clone(), &right.flow);
            order.add(&left.flow.shows);
            order.add(&right.flow.shows);
        }
        order
    }

    /// Rows leave for the client.
    pub(super) fn shown(&mut self, rows: &Rows) {
        self.disclosure.outputs = rows.fields.iter().map(|field| output(&field.flow)).collect();
        self.disclosure.rest = rows.open.as_ref().map(|flow| set(&flow.shows));
    }

    /// What was understood before is shown as well, in the same columns.
    pub(super) fn also_shown(&mut self, other: &Disclosure) {
        let Disclosure { outputs, rest, control, order, grouped, carried, told, anything, copy: _ } = other;
        let own = std::mem::take(&mut self.disclosure.outputs);
        self.disclosure.outputs = match (own.len(), outputs.len()) {
            (0, _) => outputs.clone(),
            (n, m) if n == m => own.iter().zip(outputs).map(|(one, other)| either(one, other)).collect(),
            _ => {
                let all = own.iter().chain(outputs).flat_map(Output::columns).map(Arc::clone);
                self.disclosure.rest.get_or_insert_default().extend(all);
                Vec::new()
            }
        };
        if let Some(rest) = rest {
            self.disclosure.rest.get_or_insert_default().extend(rest.iter().map(Arc::clone));
        }
        if let Some(order) = order {
            self.disclosure.order.get_or_insert_default().columns.extend(order.columns.iter().map(Arc::clone));
        }
        self.disclosure.control.extend(control.iter().cloned());
        self.disclosure.carried.extend(carried.iter().cloned());
        self.disclosure.told.extend(told.iter().map(Arc::clone));
        self.disclosure.grouped |= grouped;
        self.disclosure.anything |= anything;
    }

    /// Rows go into a table that there is not yet, or stand for one.
    pub(super) fn kept(&mut self, rows: &Rows) {
        rows.fields.iter().map(|field| &field.flow).chain(&rows.open).for_each(|flow| self.carried(flow, None));
    }

    /// What a statement that was prepared gives goes there.
    pub(super) fn kept_outputs(&mut self) {
        let outputs = std::mem::take(&mut self.disclosure.outputs);
        let rest = self.disclosure.rest.take().unwrap_or_default();
        let columns = outputs.iter().flat_map(Output::columns).chain(&rest);
        self.disclosure.carried.extend(columns.map(|from| Carried { from: Arc::clone(from), into: None }));
    }

    /// Where a rule gives rows, those of the statement itself may be these.
    pub(super) fn given_instead(&mut self) {
        let Some(flow) = self.instead.take() else { return };
        let outputs = std::mem::take(&mut self.disclosure.outputs);
        let rest = self.disclosure.rest.get_or_insert_default();
        rest.extend(set(&flow.shows));
        rest.extend(outputs.iter().flat_map(Output::columns).map(Arc::clone));
    }

    /// What a plan, or an error while planning, tells of the values that are computed beforehand.
    pub(super) fn explained(&mut self) {
        let outputs = std::mem::take(&mut self.disclosure.outputs);
        let rest = self.disclosure.rest.take().unwrap_or_default();
        let made = outputs.into_iter().filter_map(|output| match output {
            Output::Made(columns) => Some(columns),
            Output::Plain | Output::Copy(_) | Output::Summed(_) => None,
        });
        for column in made.flatten().chain(rest) {
            self.decides(&column, None);
        }
        self.disclosure.outputs = vec![Output::Plain];
    }

    /// What becomes of a value in a branch that a classified value chose: if computing it can fail, the failure tells which.
    pub(super) fn branches(&mut self, condition: &Flow, branches: &[Node<'_>]) {
        if !condition.shows.is_empty() && branches.iter().any(|branch| may_fail(*branch)) {
            self.decided(condition.clone());
        }
    }
}

/// What shows one or the other.
fn either(one: &Output, other: &Output) -> Output {
    if one == other {
        return one.clone();
    }
    let columns: BTreeSet<Arc<Column>> = one.columns().into_iter().chain(other.columns()).map(Arc::clone).collect();
    if columns.is_empty() { Output::Plain } else { Output::Made(columns) }
}

/// Whether one column's values are of the other's kind.
fn alike(one: &Labels, other: &Labels) -> bool {
    one.iter().any(|label| other.contains(label))
}

fn output(flow: &Flow) -> Output {
    if flow.shows.is_empty() {
        return Output::Plain;
    }
    match &flow.copy {
        // Of one kind: which of several columns a value is from does not matter.
        Some(copy) if flow.shows.iter().all(|column| column.labels == copy.labels) => Output::Copy(Arc::clone(copy)),
        _ => Output::Made(set(&flow.shows)),
    }
}

pub(super) fn set(sources: &Sources) -> BTreeSet<Arc<Column>> {
    sources.iter().map(Arc::clone).collect()
}

fn is_equality(comparison: &nodes::A_Expr) -> bool {
    match comparison.kind {
        // That two are not equal tells no more than that they are.
        A_Expr_Kind::AEXPR_OP => matches!(qualified(comparison.name()), Some((None | Some("pg_catalog"), "=" | "<>"))),
        A_Expr_Kind::AEXPR_NOT_DISTINCT | A_Expr_Kind::AEXPR_DISTINCT => true,
        _ => false,
    }
}

/// What is compared with the empty text: a column, or what stands in for one that is NULL.
pub(super) fn against_nothing(comparison: &nodes::A_Expr) -> Option<Node<'_>> {
    let is_empty = |node: &Node<'_>| matches!(node, Node::A_Const(_)) && constant_text(*node).is_some_and(|text| text.is_empty());
    let plain = comparison.kind == A_Expr_Kind::AEXPR_OP
        && matches!(qualified(comparison.name()), Some((None | Some("pg_catalog"), "=" | "<>")));
    let column = match (comparison.lexpr(), comparison.rexpr()) {
        (column, text) if plain && is_empty(&text) => column,
        (text, column) if plain && is_empty(&text) => column,
        _ => return None,
    };
    match column {
        Node::ColumnRef(_) => Some(column),
        Node::CoalesceExpr(values) => match (values.args().first(), values.args().get(1), values.args().len()) {
            (Some(column @ Node::ColumnRef(_)), Some(text), 2) if is_empty(&text) => Some(column),
            _ => None,
        },
        _ => None,
    }
}

fn is_membership(link: &SubLink) -> bool {
    link.sub_link_type == SubLinkType::ANY_SUBLINK
        && matches!(link.testexpr(), Node::ColumnRef(_) | Node::RowExpr(_))
        && matches!(qualified(link.oper_name()), None | Some((None, "=")))
}

/// Whether computing this can fail, or do something.
fn may_fail(node: Node<'_>) -> bool {
    let mut may = false;
    visit(node, |node| {
        may |= match node {
            Node::FuncCall(_) | Node::SubLink(_) | Node::A_Expr(_) => true,
            Node::TypeCast(cast) => !matches!(cast.arg(), Node::A_Const(_)),
            _ => false,
        };
    });
    may
}

/// Whether whoever asks may have chosen this value, so that comparing with it tells something: anything but punctuation and the time.
pub(super) fn is_chosen(node: Node<'_>, flow: &Flow) -> bool {
    let telling = |node| match node {
        Node::None | Node::SQLValueFunction(_) => false,
        Node::FuncCall(call) => {
            !matches!(qualified(call.funcname()), Some((_, "now" | "clock_timestamp" | "transaction_timestamp")))
        }
        node => constant_text(node).is_none_or(|text| text.chars().any(char::is_alphanumeric)),
    };
    flow.shows.is_empty() && telling(node)
}

/// Operators that compute numbers and dates: at the ends of a type's range they fail.
pub(super) fn is_arithmetic(name: &str) -> bool {
    matches!(name, "+" | "-" | "*" | "/" | "%" | "^" | "|/" | "||/" | "@" | "!!")
}

/// Operators that put together or take apart, and compare nothing.
pub(super) fn is_composing(name: &str) -> bool {
    matches!(name, "||" | "->" | "->>" | "#>" | "#>>")
}

/// Functions of the server's own that give any number of rows, as many as their arguments say.
pub(super) fn is_many(name: &str) -> bool {
    matches!(
        name,
        "generate_series"
            | "generate_subscripts"
            | "unnest"
            | "string_to_table"
            | "ts_parse"
            | "ts_debug"
            | "jsonb_path_query"
            | "jsonb_path_query_tz"
    ) || name.starts_with("regexp_matches")
        || name.starts_with("regexp_split_to_table")
        || ["json_", "jsonb_"].iter().any(|start| name.starts_with(start))
            && ["_each", "_each_text", "_elements", "_elements_text", "_keys", "set"].iter().any(|end| name.ends_with(end))
}

/// Functions that fail with no text, whatever it is.
pub(super) fn is_total(name: &str) -> bool {
    TOTAL.contains(&name) || chosen::PLACES.contains(&name)
}

const TOTAL: &[&str] = &[
    "array_agg",
    "array_length",
    "ascii",
    "bit_length",
    "bool_and",
    "bool_or",
    "btrim",
    "cardinality",
    "char_length",
    "coalesce",
    "concat",
    "concat_ws",
    "count",
    "encode",
    "every",
    "hashtext",
    "initcap",
    "json_agg",
    "json_build_array",
    "json_build_object",
    "json_object_agg",
    "jsonb_agg",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_object_agg",
    "length",
    "lower",
    "ltrim",
    "max",
    "md5",
    "min",
    "octet_length",
    "position",
    "quote_ident",
    "quote_literal",
    "quote_nullable",
    "replace",
    "reverse",
    "row_to_json",
    "rtrim",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "starts_with",
    "string_agg",
    "strpos",
    "to_json",
    "to_jsonb",
    "to_tsvector",
    "translate",
    "trim",
    "upper",
];

/// For each column of a query that the catalog holds, the labels of what it is made of; none if that cannot be told.
pub(crate) fn labels_of_query(definition: &str, catalog: &Catalog, columns: usize) -> Option<Vec<Labels>> {
    let session = Session { path: catalog.path().to_vec(), ..Session::default() };
    let mut analysis = Analysis::new(catalog, &session);
    let rows: Rows = guarded(|| analysis.own_query(definition))?;
    // Of a view in it nothing may be known.
    if analysis.is_torn {
        return None;
    }
    let open = rows.open.as_ref();
    let labels = |n: usize| {
        let flow = rows.fields.get(n).map(|field| &field.flow).or(open);
        let mut all: Vec<Arc<str>> =
            flow.into_iter().flat_map(|flow| flow.shows.iter()).flat_map(|column| column.labels.iter()).map(Arc::clone).collect();
        all.sort_unstable();
        all.dedup();
        all.into()
    };
    Some((0..columns).map(labels).collect())
}

/// The names in an expression that the catalog holds; none if that cannot be told.
pub(crate) fn names_in(expression: &str) -> Option<Vec<String>> {
    guarded(|| {
        let parsed = pg_raw_parse::parse(&format!("SELECT {expression}")).map_err(|_| NotUnderstood::Syntax)?;
        let Some(Node::SelectStmt(select)) = parsed.iter().next().map(|raw| raw.stmt()) else {
            return Err(NotUnderstood::Syntax);
        };
        let mut names = Vec::new();
        for target in select.target_list().iter() {
            visit(target.val(), |node| {
                if let Node::ColumnRef(reference) = node {
                    names.extend(parts(reference.fields()).last().map(|name| (*name).to_owned()));
                }
            });
        }
        Ok(names)
    })
}

fn guarded<T>(read: impl FnOnce() -> Result<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(read)).ok()?.ok()
}
