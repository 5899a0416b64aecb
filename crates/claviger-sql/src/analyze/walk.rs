//! Visits the parts of an expression.

use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::JsonValueExpr;

/// Visits an expression and all its parts, in no order, except queries inside it.
pub(super) fn visit<'n>(node: Node<'n>, mut look: impl FnMut(Node<'n>)) {
    // A list and not the stack: a chain of operators may be long.
    let mut waiting = vec![node];
    while let Some(node) = waiting.pop() {
        look(node);
        push_parts(node, &mut waiting);
    }
}

fn push_parts<'n>(node: Node<'n>, parts: &mut Vec<Node<'n>>) {
    let list = |parts: &mut Vec<Node<'n>>, nodes: &'n NodeList| parts.extend(nodes.iter());
    match node {
        Node::A_Expr(expression) => parts.extend([expression.lexpr(), expression.rexpr()]),
        Node::BoolExpr(expression) => list(parts, expression.args()),
        Node::TypeCast(cast) => parts.push(cast.arg()),
        Node::FuncCall(call) => {
            list(parts, call.args());
            parts.extend(call.agg_order().iter().map(|sort| sort.node()));
            parts.push(call.agg_filter());
        }
        Node::SubLink(link) => parts.push(link.testexpr()),
        Node::CaseExpr(case) => {
            parts.extend([case.arg(), case.defresult()]);
            list(parts, case.args());
        }
        Node::CaseWhen(when) => parts.extend([when.expr(), when.result()]),
        Node::NullTest(test) => parts.push(test.arg()),
        Node::BooleanTest(test) => parts.push(test.arg()),
        Node::CoalesceExpr(expression) => list(parts, expression.args()),
        Node::MinMaxExpr(expression) => list(parts, expression.args()),
        Node::RowExpr(row) => list(parts, row.args()),
        Node::A_ArrayExpr(array) => list(parts, array.elements()),
        Node::A_Indirection(indirection) => {
            parts.push(indirection.arg());
            list(parts, indirection.indirection());
        }
        Node::A_Indices(indices) => parts.extend([indices.lidx(), indices.uidx()]),
        Node::CollateClause(clause) => parts.push(clause.arg()),
        Node::NamedArgExpr(argument) => parts.push(argument.arg()),
        Node::NodeList(nodes) => list(parts, nodes),
        Node::ResTarget(target) => parts.push(target.val()),
        Node::SortBy(sort) => parts.push(sort.node()),
        Node::XmlExpr(xml) => {
            list(parts, xml.named_args());
            list(parts, xml.args());
        }
        Node::XmlSerialize(xml) => parts.push(xml.expr()),
        node => push_parts_of_json(node, parts),
    }
}

fn push_parts_of_json<'n>(node: Node<'n>, parts: &mut Vec<Node<'n>>) {
    let value = |parts: &mut Vec<Node<'n>>, value: Option<&'n JsonValueExpr>| parts.extend(value.map(Node::JsonValueExpr));
    match node {
        Node::JsonValueExpr(value) => parts.extend([value.raw_expr(), value.formatted_expr()]),
        Node::JsonParseExpr(json) => value(parts, json.expr()),
        Node::JsonScalarExpr(json) => parts.push(json.expr()),
        Node::JsonSerializeExpr(json) => value(parts, json.expr()),
        Node::JsonIsPredicate(json) => parts.push(json.expr()),
        Node::JsonKeyValue(pair) => {
            parts.push(pair.key());
            value(parts, pair.value());
        }
        Node::JsonObjectConstructor(json) => parts.extend(json.exprs().iter().map(Node::JsonKeyValue)),
        Node::JsonArrayConstructor(json) => parts.extend(json.exprs().iter().map(Node::JsonValueExpr)),
        Node::JsonObjectAgg(json) => parts.extend(json.arg().map(Node::JsonKeyValue)),
        Node::JsonArrayAgg(json) => value(parts, json.arg()),
        Node::JsonFuncExpr(json) => {
            value(parts, json.context_item());
            parts.push(json.pathspec());
            parts.extend(json.passing().iter());
        }
        Node::JsonArgument(argument) => value(parts, argument.val()),
        _ => {}
    }
}
