//! Values: what they depend on, and what computing them does.

use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes;
use pg_raw_parse::raw::{A_Expr_Kind, SubLinkType};
use pg_raw_parse::{Node, raw};

use super::flow::Flow;
use super::names::{is_parameter, parts, qualified};
use super::scope::Scope;
use super::{Analysis, Result};
use claviger_model::Hazard;

impl Analysis<'_> {
    /// Follows an expression. Nothing there depends on nothing.
    pub(super) fn expression(&mut self, scope: &Scope<'_>, node: Node<'_>) -> Result<Flow> {
        self.deeper(|this| this.expression_here(scope, node))
    }

    /// Several, whose result depends on all of them.
    pub(super) fn expressions(&mut self, scope: &Scope<'_>, list: &NodeList) -> Result<Flow> {
        let mut flow = Flow::default();
        for node in list {
            flow.add(&self.expression(scope, node)?);
        }
        Ok(flow)
    }

    /// Something that decides, and shows nothing itself.
    pub(super) fn control(&mut self, scope: &Scope<'_>, node: Node<'_>) -> Result<Flow> {
        let mut flow = Flow::default();
        flow.controlled_by(&self.expression(scope, node)?);
        Ok(flow)
    }

    fn expression_here(&mut self, scope: &Scope<'_>, node: Node<'_>) -> Result<Flow> {
        match node {
            Node::None
            | Node::A_Const(_)
            | Node::SQLValueFunction(_)
            | Node::SetToDefault(_)
            | Node::MergeSupportFunc(_)
            | Node::Integer(_)
            | Node::Float(_)
            | Node::Boolean(_)
            | Node::String(_)
            | Node::BitString(_)
            | Node::CurrentOfExpr(_) => Ok(Flow::default()),
            Node::ParamRef(_) => {
                self.sees_any();
                Ok(Flow::default())
            }
            Node::ColumnRef(reference) => self.column_reference(scope, reference),
            Node::A_Expr(expression) => self.operation(scope, expression),
            Node::BoolExpr(expression) => self.expressions(scope, expression.args()),
            Node::TypeCast(cast) => self.cast(scope, cast),
            Node::FuncCall(call) => self.call(scope, call),
            Node::SubLink(link) => self.sub_link(scope, link),
            Node::CaseExpr(case) => self.case(scope, case),
            Node::NullTest(test) => self.expression(scope, test.arg()),
            Node::BooleanTest(test) => self.expression(scope, test.arg()),
            Node::CoalesceExpr(expression) => self.expressions(scope, expression.args()),
            Node::MinMaxExpr(expression) => self.expressions(scope, expression.args()),
            Node::RowExpr(row) => self.expressions(scope, row.args()),
            Node::A_ArrayExpr(array) => self.expressions(scope, array.elements()),
            Node::A_Indirection(indirection) => self.indirection(scope, indirection),
            Node::A_Indices(indices) => self.both(scope, indices.lidx(), indices.uidx()),
            Node::CollateClause(clause) => self.expression(scope, clause.arg()),
            Node::NamedArgExpr(argument) => self.expression(scope, argument.arg()),
            Node::MultiAssignRef(reference) => self.expression(scope, reference.source()),
            Node::GroupingFunc(grouping) => self.expressions(scope, grouping.args()),
            Node::NodeList(list) => self.expressions(scope, list),
            Node::ResTarget(target) => self.expression(scope, target.val()),
            Node::SortBy(sort) => self.sort(scope, sort),
            Node::GroupingSet(set) => self.expressions(scope, set.content()),
            Node::XmlExpr(_) | Node::XmlSerialize(_) => self.xml(scope, node),
            node => self.json(scope, node),
        }
    }

    pub(super) fn both(&mut self, scope: &Scope<'_>, one: Node<'_>, other: Node<'_>) -> Result<Flow> {
        let mut flow = self.expression(scope, one)?;
        flow.add(&self.expression(scope, other)?);
        Ok(flow)
    }

    fn column_reference(&mut self, scope: &Scope<'_>, reference: &nodes::ColumnRef) -> Result<Flow> {
        let names = parts(reference.fields());
        if names.len() < reference.fields().len() {
            // A star in an expression, as in `count(t.*)`: the row.
            let mut flow = Flow::default();
            for field in self.star(scope, &names)? {
                self.used(&field);
                flow.add(&field.flow);
            }
            return Ok(flow);
        }
        Ok(self.name(scope, &names)?.flow())
    }

    pub(super) fn sort(&mut self, scope: &Scope<'_>, sort: &nodes::SortBy) -> Result<Flow> {
        if let Some((schema, name)) = qualified(sort.use_op()) {
            self.operator(schema, name)?;
        }
        self.expression(scope, sort.node())
    }

    /// Chains such as `a || b || c` lean to the left, and may be long: they are followed along, not down.
    fn operation(&mut self, scope: &Scope<'_>, expression: &nodes::A_Expr) -> Result<Flow> {
        let mut flow = Flow::default();
        let mut here = expression;
        loop {
            self.count()?;
            self.operators_of(here)?;
            flow.add(&self.expression(scope, here.rexpr())?);
            match here.lexpr() {
                Node::A_Expr(left) => here = left,
                left => {
                    flow.add(&self.expression(scope, left)?);
                    return Ok(flow);
                }
            }
        }
    }

    fn operators_of(&mut self, expression: &nodes::A_Expr) -> Result<()> {
        let compares = !matches!(qualified(expression.name()), Some((_, "=" | "<>")));
        self.depends_on_values |= compares && [expression.lexpr(), expression.rexpr()].into_iter().any(is_parameter);
        match expression.kind {
            // `BETWEEN` and its kin carry a word in place of an operator, and compare by the usual ones.
            A_Expr_Kind::AEXPR_BETWEEN
            | A_Expr_Kind::AEXPR_NOT_BETWEEN
            | A_Expr_Kind::AEXPR_BETWEEN_SYM
            | A_Expr_Kind::AEXPR_NOT_BETWEEN_SYM => {
                self.operator(None, "<=")?;
                self.operator(None, ">=")
            }
            _ => match qualified(expression.name()) {
                Some((schema, name)) => self.operator(schema, name),
                None => Ok(()),
            },
        }
    }

    fn cast(&mut self, scope: &Scope<'_>, cast: &nodes::TypeCast) -> Result<Flow> {
        let flow = self.expression(scope, cast.arg())?;
        match (cast.type_name(), cast.arg()) {
            (Some(name), Node::A_Const(_)) => self.converted_text(name)?,
            (Some(name), _) => self.converted(name)?,
            (None, _) => {}
        }
        Ok(flow)
    }

    fn case(&mut self, scope: &Scope<'_>, case: &nodes::CaseExpr) -> Result<Flow> {
        let mut flow = self.control(scope, case.arg())?;
        if !matches!(case.arg(), Node::None) {
            self.operator(None, "=")?;
        }
        for when in case.args() {
            if let Node::CaseWhen(when) = when {
                flow.add(&self.control(scope, when.expr())?);
                flow.add(&self.expression(scope, when.result())?);
            }
        }
        flow.add(&self.expression(scope, case.defresult())?);
        Ok(flow)
    }

    fn indirection(&mut self, scope: &Scope<'_>, indirection: &nodes::A_Indirection) -> Result<Flow> {
        let mut flow = self.expression(scope, indirection.arg())?;
        for step in indirection.indirection() {
            match step {
                Node::A_Indices(_) => flow.controlled_by(&self.expression(scope, step)?),
                // A field of a row, or a function of it.
                Node::String(name) => {
                    let name = name.sval().unwrap_or_default();
                    if self.is_function(name) {
                        self.call_by_name(None, name, 1)?;
                    }
                }
                _ => {}
            }
        }
        Ok(flow)
    }

    fn sub_link(&mut self, scope: &Scope<'_>, link: &nodes::SubLink) -> Result<Flow> {
        let mut flow = self.expression(scope, link.testexpr())?;
        if let Some((schema, name)) = qualified(link.oper_name()) {
            self.operator(schema, name)?;
        } else if !matches!(link.testexpr(), Node::None) {
            self.operator(None, "=")?;
        }
        let rows = self.query(link.subselect(), scope.expressions, Some(scope))?;
        let mut found = rows.control.clone();
        for field in rows.fields.iter().map(|field| &field.flow).chain(&rows.open) {
            found.add(field);
        }
        match link.sub_link_type {
            SubLinkType::EXISTS_SUBLINK => {
                flow.controlled_by(&found);
            }
            // One value of each row of a table that has no bound is all of them.
            SubLinkType::ARRAY_SUBLINK if !rows.bounded => {
                found.gathered.add(&found.rows.clone());
                flow.add(&found);
            }
            _ => flow.add(&found),
        }
        Ok(flow)
    }

    fn xml(&mut self, scope: &Scope<'_>, node: Node<'_>) -> Result<Flow> {
        match node {
            Node::XmlExpr(xml) => {
                let mut flow = self.expressions(scope, xml.named_args())?;
                flow.add(&self.expressions(scope, xml.args())?);
                Ok(flow)
            }
            Node::XmlSerialize(xml) => {
                if let Some(name) = xml.type_name() {
                    self.converted(name)?;
                }
                self.expression(scope, xml.expr())
            }
            node => self.not_understood(scope, node),
        }
    }

    fn json(&mut self, scope: &Scope<'_>, node: Node<'_>) -> Result<Flow> {
        self.makes_json("json_agg");
        match node {
            Node::JsonValueExpr(value) => self.both(scope, value.raw_expr(), value.formatted_expr()),
            Node::JsonParseExpr(json) => self.json_value(scope, json.expr()),
            Node::JsonScalarExpr(json) => self.expression(scope, json.expr()),
            Node::JsonSerializeExpr(json) => self.json_value(scope, json.expr()),
            Node::JsonIsPredicate(json) => self.expression(scope, json.expr()),
            Node::JsonKeyValue(pair) => {
                let mut flow = self.expression(scope, pair.key())?;
                flow.add(&self.json_value(scope, pair.value())?);
                Ok(flow)
            }
            Node::JsonObjectConstructor(json) => {
                let mut flow = Flow::default();
                for pair in json.exprs().iter() {
                    flow.add(&self.expression(scope, Node::JsonKeyValue(pair))?);
                }
                Ok(flow)
            }
            Node::JsonArrayConstructor(json) => {
                let mut flow = Flow::default();
                for value in json.exprs().iter() {
                    flow.add(&self.expression(scope, Node::JsonValueExpr(value))?);
                }
                Ok(flow)
            }
            Node::JsonArrayQueryConstructor(json) => {
                let rows = self.query(json.query(), scope.expressions, Some(scope))?;
                let mut flow = rows.control;
                rows.fields.iter().for_each(|field| flow.add(&field.flow));
                if !rows.bounded {
                    flow.gathered.add(&flow.rows.clone());
                }
                Ok(flow)
            }
            Node::JsonObjectAgg(json) => {
                let flow = json.arg().map_or(Ok(Flow::default()), |pair| self.expression(scope, Node::JsonKeyValue(pair)))?;
                self.json_aggregate(scope, flow, json.constructor())
            }
            Node::JsonArrayAgg(json) => {
                let flow = self.json_value(scope, json.arg())?;
                self.json_aggregate(scope, flow, json.constructor())
            }
            Node::JsonFuncExpr(json) => self.json_function(scope, json),
            Node::JsonArgument(argument) => self.json_value(scope, argument.val()),
            node => self.not_understood(scope, node),
        }
    }

    pub(super) fn json_value(&mut self, scope: &Scope<'_>, value: Option<&nodes::JsonValueExpr>) -> Result<Flow> {
        value.map_or(Ok(Flow::default()), |value| self.expression(scope, Node::JsonValueExpr(value)))
    }

    fn json_aggregate(
        &mut self,
        scope: &Scope<'_>,
        mut flow: Flow,
        constructor: Option<&nodes::JsonAggConstructor>,
    ) -> Result<Flow> {
        if let Some(constructor) = constructor {
            flow.add(&self.control(scope, constructor.agg_filter())?);
            for sort in constructor.agg_order() {
                flow.add(&self.control(scope, sort)?);
            }
            if let Some(window) = constructor.over() {
                flow.add(&self.window(scope, window)?);
            }
        }
        Ok(Self::gathered(scope, flow))
    }

    fn json_function(&mut self, scope: &Scope<'_>, json: &nodes::JsonFuncExpr) -> Result<Flow> {
        let mut flow = self.json_value(scope, json.context_item())?;
        flow.add(&self.expression(scope, json.pathspec())?);
        flow.add(&self.expressions(scope, json.passing())?);
        for behaviour in [json.on_empty(), json.on_error()].into_iter().flatten() {
            flow.add(&self.expression(scope, behaviour.expr())?);
        }
        if let Some(name) = json.output().and_then(nodes::JsonOutput::type_name) {
            self.converted(name)?;
        }
        Ok(flow)
    }

    pub(super) fn window(&mut self, scope: &Scope<'_>, window: &nodes::WindowDef) -> Result<Flow> {
        let mut flow = Flow::default();
        for node in window.partition_clause() {
            flow.add(&self.control(scope, node)?);
        }
        for sort in window.order_clause().iter() {
            let mut sorted = Flow::default();
            sorted.controlled_by(&self.sort(scope, sort)?);
            flow.add(&sorted);
        }
        flow.add(&self.control(scope, window.start_offset())?);
        flow.add(&self.control(scope, window.end_offset())?);
        Ok(flow)
    }

    /// A kind of node that is not known may do anything with everything in sight.
    pub(super) fn not_understood(&mut self, scope: &Scope<'_>, _: Node<'_>) -> Result<Flow> {
        self.note_unknown(Hazard::Unknown);
        let mut flow = Flow::default();
        let mut level = Some(scope);
        while let Some(scope) = level {
            for item in &scope.items {
                item.fields.iter().for_each(|field| flow.add(&field.flow));
                item.open.iter().for_each(|open| flow.add(open));
            }
            level = scope.outer;
        }
        self.read_flow(&flow);
        Ok(flow)
    }
}

/// Constants of the grammar that are plain numbers there.
pub(super) const SETOP_NONE: raw::SetOperation::Type = raw::SetOperation::SETOP_NONE;
