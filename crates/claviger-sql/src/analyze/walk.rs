//! Visits the parts of an expression.

use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes;

/// Visits an expression and all its parts, except queries inside it. They have been followed, so that they are not too deep.
pub(super) fn visit<'n>(node: Node<'n>, look: &mut dyn FnMut(Node<'n>)) {
    look(node);
    match node {
        Node::A_Expr(expression) => each([expression.lexpr(), expression.rexpr()], look),
        Node::BoolExpr(expression) => list(expression.args(), look),
        Node::TypeCast(cast) => visit(cast.arg(), look),
        Node::FuncCall(call) => {
            list(call.args(), look);
            call.agg_order().iter().for_each(|sort| visit(sort.node(), look));
            visit(call.agg_filter(), look);
        }
        Node::SubLink(link) => visit(link.testexpr(), look),
        Node::CaseExpr(case) => {
            each([case.arg(), case.defresult()], look);
            list(case.args(), look);
        }
        Node::CaseWhen(when) => each([when.expr(), when.result()], look),
        Node::NullTest(test) => visit(test.arg(), look),
        Node::BooleanTest(test) => visit(test.arg(), look),
        Node::CoalesceExpr(expression) => list(expression.args(), look),
        Node::MinMaxExpr(expression) => list(expression.args(), look),
        Node::RowExpr(row) => list(row.args(), look),
        Node::A_ArrayExpr(array) => list(array.elements(), look),
        Node::A_Indirection(indirection) => {
            visit(indirection.arg(), look);
            list(indirection.indirection(), look);
        }
        Node::A_Indices(indices) => each([indices.lidx(), indices.uidx()], look),
        Node::CollateClause(clause) => visit(clause.arg(), look),
        Node::NamedArgExpr(argument) => visit(argument.arg(), look),
        Node::NodeList(nodes) => list(nodes, look),
        Node::ResTarget(target) => visit(target.val(), look),
        Node::SortBy(sort) => visit(sort.node(), look),
        Node::XmlExpr(xml) => {
            list(xml.named_args(), look);
            list(xml.args(), look);
        }
        Node::XmlSerialize(xml) => visit(xml.expr(), look),
        node => visit_json(node, look),
    }
}

fn visit_json<'n>(node: Node<'n>, look: &mut dyn FnMut(Node<'n>)) {
    match node {
        Node::JsonValueExpr(value) => each([value.raw_expr(), value.formatted_expr()], look),
        Node::JsonParseExpr(json) => value(json.expr(), look),
        Node::JsonScalarExpr(json) => visit(json.expr(), look),
        Node::JsonSerializeExpr(json) => value(json.expr(), look),
        Node::JsonIsPredicate(json) => visit(json.expr(), look),
        Node::JsonKeyValue(pair) => {
            visit(pair.key(), look);
            value(pair.value(), look);
        }
        Node::JsonObjectConstructor(json) => json.exprs().iter().for_each(|pair| visit(Node::JsonKeyValue(pair), look)),
        Node::JsonArrayConstructor(json) => json.exprs().iter().for_each(|item| visit(Node::JsonValueExpr(item), look)),
        Node::JsonObjectAgg(json) => json.arg().into_iter().for_each(|pair| visit(Node::JsonKeyValue(pair), look)),
        Node::JsonArrayAgg(json) => value(json.arg(), look),
        Node::JsonFuncExpr(json) => {
            value(json.context_item(), look);
            visit(json.pathspec(), look);
            list(json.passing(), look);
        }
        Node::JsonArgument(argument) => value(argument.val(), look),
        _ => {}
    }
}

fn value<'n>(value: Option<&'n nodes::JsonValueExpr>, look: &mut dyn FnMut(Node<'n>)) {
    value.into_iter().for_each(|value| visit(Node::JsonValueExpr(value), look));
}

fn list<'n>(nodes: &'n NodeList, look: &mut dyn FnMut(Node<'n>)) {
    nodes.iter().for_each(|node| visit(node, look));
}

fn each<'n>(nodes: [Node<'n>; 2], look: &mut dyn FnMut(Node<'n>)) {
    nodes.into_iter().for_each(|node| visit(node, look));
}
