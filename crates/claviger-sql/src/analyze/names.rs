//! Names as the grammar gives them.

use std::sync::Arc;

use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{RangeVar, TypeName};
use pg_raw_parse::{ConstValue, Node};

use super::limit::only_value;
use super::walk::visit;
use super::{Analysis, Result, undefined};
use crate::lexer::kept;
use crate::{Relation, TypeFacts, Undefined};

/// The parts of a name, such as `schema.function`.
pub(super) fn parts(list: &NodeList) -> Vec<&str> {
    list.iter().filter_map(Node::as_str).collect()
}

/// A name of at most two parts, or three whose first is the database's.
pub(super) fn qualified(list: &NodeList) -> Option<(Option<&str>, &str)> {
    match parts(list)[..] {
        [name] => Some((None, name)),
        [schema, name] | [_, schema, name] => Some((Some(schema), name)),
        _ => None,
    }
}

/// A text that stands in the statement itself, with or without a cast.
pub(super) fn constant_text(node: Node<'_>) -> Option<String> {
    match node {
        Node::A_Const(constant) if !constant.isnull => match constant.val()? {
            ConstValue::String(text) | ConstValue::Float(text) => Some(text.to_owned()),
            ConstValue::Integer(number) => Some(number.to_string()),
            ConstValue::Boolean(truth) => Some(truth.to_string()),
            _ => None,
        },
        Node::TypeCast(cast) if cast.type_name().is_none_or(keeps_text) => constant_text(cast.arg()),
        Node::String(text) => text.sval().map(ToOwned::to_owned),
        _ => None,
    }
}

/// Whether a text is the same as before when it is one of this type: it has no length that would cut it.
pub(super) fn keeps_text(kind: &TypeName) -> bool {
    let last = kind.names().iter().filter_map(pg_raw_parse::nodes::String::sval).next_back();
    kind.typmods().is_empty() && !matches!(last, Some("char" | "bpchar" | "name" | "bit" | "varbit"))
}

/// Whether what stands there is a parameter, or is made of one.
pub(super) fn has_parameter(node: Node<'_>) -> bool {
    let mut found = false;
    visit(node, |node| {
        found |= match node {
            Node::ParamRef(_) => true,
            Node::SubLink(link) => only_value(link).is_some_and(has_parameter),
            _ => false,
        };
    });
    found
}

/// A number that stands in the statement itself.
pub(super) fn constant_number(node: Node<'_>) -> Option<f64> {
    match node {
        Node::A_Expr(expression) if matches!(expression.lexpr(), Node::None) && parts(expression.name()) == ["-"] => {
            constant_number(expression.rexpr()).map(|number| -number)
        }
        node => constant_text(node)?.trim().parse().ok(),
    }
}

/// What a column is called that is given no name (PostgreSQL manual, 7.3.2), as far as names can be told from the text.
pub(super) fn implied_name(node: Node<'_>) -> Arc<str> {
    match node {
        Node::FuncCall(call) => qualified(call.funcname()).map_or("?column?", |(_, name)| name).into(),
        Node::TypeCast(cast) => match implied_name(cast.arg()) {
            name if &*name == "?column?" => {
                let name = cast
                    .type_name()
                    .and_then(|name| name.names().iter().filter_map(pg_raw_parse::nodes::String::sval).next_back());
                name.unwrap_or("?column?").into()
            }
            name => name,
        },
        Node::ColumnRef(reference) => parts(reference.fields()).last().copied().unwrap_or("?column?").into(),
        Node::A_Indirection(indirection) => {
            let last = indirection.indirection().iter().filter_map(Node::as_str).next_back();
            last.map_or_else(|| implied_name(indirection.arg()), Into::into)
        }
        Node::CollateClause(clause) => implied_name(clause.arg()),
        Node::SubLink(link) => match (link.sub_link_type, link.subselect()) {
            (pg_raw_parse::raw::SubLinkType::EXPR_SUBLINK, Node::SelectStmt(select)) => {
                let first = select.target_list().iter().next();
                first.map_or("?column?".into(), |target| target.name().map_or_else(|| implied_name(target.val()), Into::into))
            }
            (pg_raw_parse::raw::SubLinkType::EXISTS_SUBLINK, _) => "exists".into(),
            (pg_raw_parse::raw::SubLinkType::ARRAY_SUBLINK, _) => "array".into(),
            _ => "?column?".into(),
        },
        Node::CaseExpr(case) => match implied_name(case.defresult()) {
            name if &*name == "?column?" => "case".into(),
            name => name,
        },
        Node::A_ArrayExpr(_) => "array".into(),
        Node::RowExpr(_) => "row".into(),
        Node::CoalesceExpr(_) => "coalesce".into(),
        Node::MinMaxExpr(expression) if expression.op == pg_raw_parse::raw::MinMaxOp::IS_GREATEST => "greatest".into(),
        Node::MinMaxExpr(_) => "least".into(),
        Node::GroupingFunc(_) => "grouping".into(),
        _ => "?column?".into(),
    }
}

impl Analysis<'_> {
    /// The relation that a name stands for, if it is not that of a common table expression.
    pub(super) fn relation(&self, range: &RangeVar) -> Result<Arc<Relation>> {
        let name = range.relname().unwrap_or_default();
        let temporary = range.relpersistence == 't' as std::ffi::c_char;
        match self.catalog.find_relation(range.schemaname().map(|schema| self.schema(schema)), name, &self.path) {
            Some(relation) => {
                if range.schemaname().is_none() {
                    self.resolves_relation(relation);
                }
                relation.columns.iter().for_each(|facts| self.sees(facts.kind));
                Ok(Arc::clone(relation))
            }
            None if temporary => undefined(Undefined::Relation),
            None => undefined(match range.schemaname() {
                Some(schema) if !self.catalog.has_schema(schema) => Undefined::Schema,
                _ => Undefined::Relation,
            }),
        }
    }

    /// A schema's name; `pg_temp` is an alias for the session's own temporary one.
    pub(super) fn schema<'n>(&'n self, schema: &'n str) -> &'n str {
        if schema != "pg_temp" {
            return schema;
        }
        self.run_path().iter().map(|schema| &**schema).find(|schema| schema.starts_with("pg_temp_")).unwrap_or(schema)
    }

    /// The type that a name stands for; `None` for one that the catalog does not know.
    pub(super) fn type_of(&self, name: &TypeName) -> Option<Arc<TypeFacts>> {
        let names: Vec<&str> = name.names().iter().filter_map(pg_raw_parse::nodes::String::sval).collect();
        let (schema, name) = match names[..] {
            [name] => (None, name),
            [.., schema, name] => (Some(schema), name),
            [] => return None,
        };
        let kind = self.catalog.find_type(schema.map(|schema| self.schema(schema)), name, &self.path)?;
        self.resolves_type(kind);
        self.sees(kind.id);
        Some(Arc::clone(kind))
    }
}

/// The names of a search path as a setting's value has them, read as the server reads them (`SplitIdentifierString` of its `varlena.c`). `None`
/// where servers differ: what is a space to those from 16 on is a part of a name to others.
pub(super) fn names_of(value: &str) -> Option<Vec<String>> {
    const SPACES: [char; 5] = [' ', '\t', '\n', '\r', '\u{c}'];
    let mut names = Vec::new();
    let mut rest = value.trim_start_matches(SPACES);
    while !rest.is_empty() {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => until_quote(quoted),
            None => {
                let (name, after) = rest.split_at(rest.find(|c| c == ',' || SPACES.contains(&c)).unwrap_or(rest.len()));
                (name.to_ascii_lowercase(), after)
            }
        };
        if !name.is_empty() {
            names.push(kept(&name));
        }
        // What comes before the next comma is not for the server to accept.
        rest = after.split_once(',').map_or("", |(_, next)| next.trim_start_matches(SPACES));
    }
    (!value.contains('\u{b}')).then_some(names)
}

/// What stands before the quote that ends it, and what after.
fn until_quote(quoted: &str) -> (String, &str) {
    let mut name = String::new();
    let mut rest = quoted;
    while let Some((before, after)) = rest.split_once('"') {
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return (name, after),
        }
    }
    name.push_str(rest);
    (name, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_a_search_path_are_read_as_the_server_reads_them() {
        let long = "é".repeat(40);
        for (value, names) in [
            ("", vec![]),
            ("public", vec!["public"]),
            (" \"$user\", Public ,pg_temp", vec!["$user", "public", "pg_temp"]),
            ("\"a,b\",\"C\"\"d\"", vec!["a,b", "C\"d"]),
            ("É,'x'", vec!["É", "'x'"]),
            (&format!("{long}, z"), vec![&*"é".repeat(31), "z"]),
            ("public\u{c},\u{a0}decoy", vec!["public", "\u{a0}decoy"]),
        ] {
            assert_eq!(names_of(value).unwrap(), names, "{value}");
        }
        assert_eq!(names_of("public\u{b}"), None);
    }
}
