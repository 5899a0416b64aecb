//! Queries inside, of whose groups a limit takes some.
//!
//! Of groups that look alike, which are taken is seen by what is joined to them outside. So it must not hang on the classified values that
//! they are made by. It does not where groups are told apart by something else: the least key of the rows that are in them, which the
//! gateway has them sorted by.

use std::sync::Arc;

use claviger_model::{Column, Insertion};
use pg_raw_parse::Node;
use pg_raw_parse::nodes::SelectStmt;

use super::flow::Rows;
use super::grouping::{output_number, table_column};
use super::names::{parts, qualified};
use super::order::{Leaving, has_ties, is_same};
use super::scope::{Found, Scope};
use super::{Analysis, disclose};
use crate::lexer::{Kind, tokens};

/// Types of keys of which there is a least one, by OID: numbers, texts and dates.
const WITH_LEAST: &[u32] = &[20, 21, 23, 1700, 25, 1043, 1082, 1114, 1184];

impl Analysis<'_> {
    /// Whether this is the query whose rows are a statement's own.
    pub(super) fn is_top(&self, select: &SelectStmt) -> bool {
        self.top == Some(std::ptr::from_ref(select).addr())
    }

    /// Whether rows that look alike, and that a query outside could tell apart, are taken or left by their order.
    pub(super) fn is_cut_inside(&self, select: &SelectStmt, rows: &Rows) -> bool {
        rows.cut && !self.is_top(select) && rows.fields.iter().any(|field| !field.flow.shows.is_empty())
    }

    /// Whether no two groups are sorted alike, whatever classified values they are made by. If they could be sorted so by words in the
    /// statement's text, they will be.
    pub(super) fn is_total(&mut self, select: &SelectStmt, scope: &Scope<'_>, rows: &Rows) -> bool {
        let Some(keys) = self.keys_of_groups(select, scope, rows) else { return false };
        let sorts: Vec<Node<'_>> = select.sort_clause().iter().map(|sort| sort.node()).collect();
        let sorted = keys.iter().all(|(item, key)| sorts.iter().any(|sort| self.is_least(scope, *sort, *item, key)));
        if sorted && self.is_sorted_whole(select, scope, rows) {
            return true;
        }
        let own = self.leaving == Leaving::Settled && self.quiet == 0 && self.running.is_empty() && self.through.is_none();
        let Some(insertion) = own.then(|| self.total(select, scope, rows, &keys)).flatten() else { return false };
        // A query that selects from itself is followed more than once.
        if !self.inside_sorted.iter().any(|(_, known)| known.at == insertion.at) {
            self.inside_sorted.push((disclose::set(&rows.order), insertion));
        }
        true
    }

    /// The table, by its place, and the key of each classified column that rows are grouped by; none if they are grouped by something else that
    /// is not selected.
    fn keys_of_groups(&mut self, select: &SelectStmt, scope: &Scope<'_>, rows: &Rows) -> Option<Vec<(usize, Arc<Column>)>> {
        let mut keys: Vec<(usize, Arc<Column>)> = Vec::new();
        if select.group_clause().is_empty() || !select.distinct_clause().is_empty() || rows.open.is_some() {
            return None;
        }
        for node in select.group_clause() {
            if matches!(node, Node::GroupingSet(_)) {
                return None;
            }
            let flow = self.by_output(scope, node, true).ok()?;
            if flow.shows.is_empty() {
                is_selected(select, scope, node).then_some(())?;
                continue;
            }
            let item = table_column(select, scope, node)?;
            let relation = scope.items.get(item)?.relation.as_ref()?;
            let [number] = relation.primary[..] else { return None };
            let facts = relation.columns.iter().find(|facts| facts.column.number == number)?;
            let plain = relation.children.is_empty() && facts.column.labels.is_empty() && WITH_LEAST.contains(&facts.kind);
            plain.then(|| keys.push((item, Arc::clone(&facts.column))))?;
        }
        Some(keys)
    }

    /// Whether an expression is the least key of a table's rows.
    fn is_least(&mut self, scope: &Scope<'_>, node: Node<'_>, item: usize, key: &Arc<Column>) -> bool {
        let Node::FuncCall(call) = node else { return false };
        let (Some((None | Some("pg_catalog"), "min")), Some(Node::ColumnRef(reference))) =
            (qualified(call.funcname()), call.args().first())
        else {
            return false;
        };
        let plain = call.over().is_none() && matches!(call.agg_filter(), Node::None) && !self.is_function_of_users("min");
        let names = parts(reference.fields());
        let of_item = match names[..] {
            [name] => scope.index_of(None, name),
            [table, name] => scope.index_of(Some(table), name),
            _ => None,
        };
        let found = self.name(scope, &names);
        let is_key =
            matches!(&found, Ok(Found::Field(field)) if field.flow.copy.as_ref().is_some_and(|copy| Arc::ptr_eq(copy, key)));
        plain && of_item == Some(item) && is_key
    }

    /// What is to be put before a query's limit, so that its groups are sorted by all that is seen of them and by keys.
    fn total(&self, select: &SelectStmt, scope: &Scope<'_>, rows: &Rows, keys: &[(usize, Arc<Column>)]) -> Option<Insertion> {
        let sortable = rows.fields.iter().all(|field| self.is_sortable(field))
            && select.target_list().iter().all(|target| !super::order::makes_unsorted(target.val()));
        if !sortable || has_ties(select) || self.is_function_of_users("min") {
            return None;
        }
        let plain = rows.fields.iter().enumerate().filter(|(_, field)| field.flow.shows.is_empty());
        let mut sorts: Vec<String> = plain.map(|(n, _)| (n + 1).to_string()).collect();
        for (item, key) in keys {
            let item = scope.items.get(*item)?;
            let field = item.fields.iter().find(|field| field.flow.copy.as_ref().is_some_and(|copy| Arc::ptr_eq(copy, key)))?;
            sorts.push(format!("pg_catalog.min({}.{})", quoted(&item.name), quoted(&field.name)));
        }
        let before = if select.sort_clause().is_empty() { " ORDER BY " } else { ", " };
        let insertion = Insertion { at: self.before_limit(select)?, words: format!("{before}{}", sorts.join(", ")).into() };
        let text = [self.text.get(..insertion.at)?, &insertion.words, self.text.get(insertion.at..)?].concat();
        // That it came where it should is for the grammar to say.
        pg_raw_parse::parse(&text).is_ok_and(|parsed| parsed.iter().count() == 1).then_some(insertion)
    }

    /// Where a query's first `LIMIT` or `OFFSET` begins, after what stands before it.
    fn before_limit(&self, select: &SelectStmt) -> Option<usize> {
        let locations = [select.limit_count(), select.limit_offset()].into_iter().filter_map(|node| match node {
            Node::A_Const(constant) => usize::try_from(constant.location).ok(),
            Node::ParamRef(parameter) => usize::try_from(parameter.location).ok(),
            _ => None,
        });
        let at = locations.min()?.checked_sub(self.start)?;
        let tokens = tokens(self.text)?;
        let word = |n: usize, words: &[&str]| {
            let token = tokens.get(n).filter(|token| token.kind == Kind::Word)?;
            let word = self.text.get(token.start..token.end)?;
            words.iter().any(|one| word.eq_ignore_ascii_case(one)).then_some(n)
        };
        let number = tokens.iter().position(|token| token.start == at)?.checked_sub(1)?;
        let first = word(number, &["limit", "offset"])
            .or_else(|| word(number, &["first", "next"]).and_then(|n| word(n.checked_sub(1)?, &["fetch"])))?;
        tokens.get(first.checked_sub(1)?).map(|token| token.end)
    }
}

/// Whether something that rows are grouped by is a column of theirs.
fn is_selected(select: &SelectStmt, scope: &Scope<'_>, node: Node<'_>) -> bool {
    output_number(scope, node).is_some() || select.target_list().iter().any(|target| is_same(node, target.val()))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
