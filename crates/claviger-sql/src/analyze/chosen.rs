//! What functions compare values with that whoever asks has chosen.

use pg_raw_parse::raw::A_Expr_Kind;
use pg_raw_parse::{ConstValue, Node};

use super::Analysis;
use super::disclose::is_chosen;
use super::flow::Flow;
use super::names::{constant_text, qualified};

impl Analysis<'_> {
    /// Whether a function compares what it is given with what somebody chose.
    pub(super) fn compares(&self, name: &str, arguments: &[(Node<'_>, Flow)]) -> bool {
        let may_be_text = |(node, flow): &(Node<'_>, Flow)| flow.shows.is_empty() && !self.is_place(*node);
        // In one of its forms it looks for what fits a pattern.
        if name == "substring" {
            return arguments.iter().any(may_be_text);
        }
        if PLACES.contains(&name) {
            let filled_with = match name {
                "lpad" | "rpad" => arguments.get(2),
                "overlay" => arguments.get(1),
                _ => None,
            };
            let is_computed = |(node, _): &&(Node<'_>, Flow)| constant_text(*node).is_none();
            return arguments.iter().any(|(node, _)| is_chosen_text(*node))
                || filled_with.filter(is_computed).is_some_and(may_be_text);
        }
        // A path compares where it has a condition or calls something.
        if name.starts_with("jsonb_path_") {
            let path = arguments.get(1).and_then(|(node, _)| constant_text(*node));
            return path.is_none_or(|path| path.contains(['?', '(', '=', '<', '>', '@', '+', '-', '/', '%']))
                || arguments.len() > 2;
        }
        !COMPOSING.contains(&name) && arguments.iter().any(|(node, flow)| is_chosen(*node, flow))
    }

    /// Whether this can only be a number, for a function that takes a text to search for as well: then it is a place in a text.
    fn is_place(&self, node: Node<'_>) -> bool {
        match node {
            Node::A_Const(constant) => match constant.val() {
                Some(ConstValue::String(text)) => !text.chars().any(char::is_alphanumeric),
                _ => true,
            },
            Node::A_Expr(expression) => {
                let Some((None | Some("pg_catalog"), name)) = qualified(expression.name()) else { return false };
                expression.kind == A_Expr_Kind::AEXPR_OP && matches!(name, "+" | "-" | "*" | "/") && !self.has_operator(name)
            }
            Node::FuncCall(call) => {
                let counting = ["position", "strpos", "length", "char_length", "character_length", "octet_length", "bit_length"];
                let Some((None | Some("pg_catalog"), name)) = qualified(call.funcname()) else { return false };
                counting.contains(&name) && !self.is_function_of_users(name)
            }
            Node::TypeCast(cast) => cast.type_name().and_then(|name| self.type_of(name)).is_some_and(|kind| is_whole(&kind)),
            Node::MinMaxExpr(expression) => expression.args().iter().all(|node| self.is_place(node)),
            _ => false,
        }
    }

    /// Whether the users have an operator of this name.
    fn has_operator(&self, name: &str) -> bool {
        self.catalog.find_operators(None, name, &self.path).next().is_some()
    }
}

/// Whether it is a text that somebody chose, where numbers and columns are places and lengths, which tell nothing.
fn is_chosen_text(node: Node<'_>) -> bool {
    constant_text(node).is_some_and(|text| text.chars().any(char::is_alphanumeric) && text.trim().parse::<f64>().is_err())
}

/// Whether it is a whole number of the server's own.
fn is_whole(kind: &crate::TypeFacts) -> bool {
    &*kind.schema == "pg_catalog" && matches!(&*kind.name, "int2" | "int4" | "int8")
}

/// Functions that take numbers for places and lengths.
pub(super) const PLACES: &[&str] =
    &["left", "right", "substr", "substring", "lpad", "rpad", "overlay", "round", "trunc", "repeat"];

/// Functions whose constants say how a value is written or which part of it is meant, and are compared with nothing.
const COMPOSING: &[&str] = &[
    "age",
    "concat",
    "concat_ws",
    "convert_from",
    "convert_to",
    "date_part",
    "date_trunc",
    "decode",
    "digest",
    "encode",
    "extract",
    "format",
    "hmac",
    "json_build_array",
    "json_build_object",
    "json_extract_path",
    "json_extract_path_text",
    "json_object_agg",
    "json_to_recordset",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_extract_path",
    "jsonb_extract_path_text",
    "jsonb_object_agg",
    "jsonb_to_recordset",
    "lag",
    "lead",
    "nth_value",
    "ntile",
    "percentile_cont",
    "percentile_disc",
    "string_agg",
    "timezone",
    "to_char",
    "to_tsvector",
    "ts_debug",
    "ts_parse",
    "xmlelement",
];
