//! Values: what they depend on, and what computing them does.

use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes;
use pg_raw_parse::raw::{A_Expr_Kind, JsonBehaviorType, SubLinkType};
use pg_raw_parse::{ConstValue, Node, raw};

use super::disclose::{against_nothing, is_arithmetic, is_chosen, is_composing};
use super::flow::{Field, Flow};
use super::names::{has_parameter, parts, qualified};
use super::scope::{Found, Scope};
use super::{Analysis, Result};
use claviger_model::Hazard;

impl Analysis<'_> {
    /// Follows an expression. Nothing there depends on nothing.
    pub(super) fn expression(&mut self, scope: &Scope<'_>, node: Node<'_>) -> Result<Flow> {
        self.deeper(|this| {
            let outer = std::mem::take(&mut this.beneath);
            let flow = this.expression_here(scope, node);
            let beneath = std::mem::replace(&mut this.beneath, outer);
            let mut flow = flow?;
            // Only what is known to pass a value on as it is leaves it a copy.
            if !beneath.is_empty() || !matches!(node, Node::ColumnRef(_) | Node::SubLink(_) | Node::A_Indirection(_)) {
                flow.copy = None;
            }
            flow.shows.add(&beneath);
            Ok(flow)
        })
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
                Ok(self.held(&[]).unwrap_or_default())
            }
            Node::ColumnRef(reference) => self.column_reference(scope, reference),
            Node::A_Expr(expression) => self.operation(scope, expression),
            Node::BoolExpr(expression) => {
                let flow = self.expressions(scope, expression.args())?;
                let args: Vec<_> = expression.args().iter().collect();
                self.branches(&flow, &args);
                Ok(flow)
            }
            Node::TypeCast(cast) => self.cast(scope, cast),
            Node::FuncCall(call) => self.call(scope, call),
            Node::SubLink(link) => self.sub_link(scope, link),
            Node::CaseExpr(case) => self.case(scope, case),
            Node::NullTest(test) => {
                let flow = self.expression(scope, test.arg())?;
                // Whether a value is there is told; what it would be made into is not.
                Ok(if flow.copy.is_some() || self.is_row(scope, test.arg()) { flow.without_values() } else { flow })
            }
            Node::BooleanTest(test) => self.expression(scope, test.arg()),
            Node::CoalesceExpr(expression) => self.expressions(scope, expression.args()),
            Node::MinMaxExpr(expression) => {
                let mut flow = Flow::default();
                let mut chosen = false;
                for node in expression.args() {
                    let one = self.expression(scope, node)?;
                    chosen |= is_chosen(node, &one);
                    flow.add(&one);
                }
                flow.compared |= !flow.shows.is_empty() && chosen;
                Ok(flow)
            }
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
            self.held_star(scope, &names).iter().for_each(|held| flow.add(held));
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
        if let Some(column) = against_nothing(expression) {
            let flow = self.expression(scope, column)?;
            self.operators_of(expression)?;
            // Whether there is a text is told, as it is whether there is a value.
            let plain = flow.copy.as_ref().is_some_and(|column| self.compares_plainly(column, column));
            return Ok(if plain { flow.without_values() } else { Flow { compared: !flow.shows.is_empty(), ..flow } });
        }
        let mut flow = Flow::default();
        let mut here = expression;
        let (mut chosen, mut arithmetic, mut compares, mut weighs) = (false, false, false, false);
        loop {
            self.count()?;
            self.operators_of(here)?;
            weighs |= weighs_values(here);
            self.depends_on_values |= weighs && has_parameter(here.rexpr());
            let name = qualified(here.name()).map_or("", |(_, name)| name);
            let computes = is_arithmetic(name) && here.kind == A_Expr_Kind::AEXPR_OP;
            arithmetic |= computes;
            compares |= !computes && !is_composing(name);
            let right = self.expression(scope, here.rexpr())?;
            chosen |= is_chosen(here.rexpr(), &right);
            flow.add(&right);
            match here.lexpr() {
                Node::A_Expr(left) => here = left,
                left => {
                    self.depends_on_values |= weighs && has_parameter(left);
                    let first = self.expression(scope, left)?;
                    chosen |= is_chosen(left, &first);
                    flow.add(&first);
                    break;
                }
            }
        }
        if flow.shows.is_empty() {
            return Ok(flow);
        }
        // With a number of one's choice, whether it fails tells how large the other is.
        if arithmetic && (chosen || flow.compared) {
            self.decided(flow.clone());
        }
        flow.compared |= compares || (chosen && arithmetic);
        Ok(flow)
    }

    pub(super) fn operators_of(&mut self, expression: &nodes::A_Expr) -> Result<()> {
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
            (Some(name), Node::A_Const(constant)) if is_text(constant) => self.converted_text(name)?,
            (Some(name), _) => self.converted(name)?,
            (None, _) => {}
        }
        // Whether a value can be read as another type tells something of what it was compared with before.
        if flow.compared {
            self.decided(flow.clone());
        }
        Ok(flow)
    }

    fn case(&mut self, scope: &Scope<'_>, case: &nodes::CaseExpr) -> Result<Flow> {
        let mut flow = self.control(scope, case.arg())?;
        if !matches!(case.arg(), Node::None) {
            self.operator(None, "=")?;
        }
        let mut branches = vec![case.defresult()];
        for when in case.args() {
            if let Node::CaseWhen(when) = when {
                flow.add(&self.control(scope, when.expr())?);
                branches.extend([when.expr(), when.result()]);
            }
        }
        self.branches(&flow, &branches);
        for when in case.args() {
            if let Node::CaseWhen(when) = when {
                flow.add(&self.expression(scope, when.result())?);
            }
        }
        flow.add(&self.expression(scope, case.defresult())?);
        Ok(flow)
    }

    fn indirection(&mut self, scope: &Scope<'_>, indirection: &nodes::A_Indirection) -> Result<Flow> {
        if let Some(field) = self.field_of_row(scope, indirection)? {
            return Ok(field.flow);
        }
        let mut flow = self.expression(scope, indirection.arg())?;
        flow.copy = None;
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

    /// `(row).column`, of something that is selected from.
    fn field_of_row(&mut self, scope: &Scope<'_>, indirection: &nodes::A_Indirection) -> Result<Option<Field>> {
        let (Node::ColumnRef(row), Some(Node::String(name)), 1) =
            (indirection.arg(), indirection.indirection().first(), indirection.indirection().len())
        else {
            return Ok(None);
        };
        let names = parts(row.fields());
        if names.len() < row.fields().len() {
            return Ok(None);
        }
        let Found::Row(fields, None) = self.name(scope, &names)? else { return Ok(None) };
        Ok(fields.into_iter().find(|field| name.sval() == Some(&field.name)))
    }

    /// Whether a row stands there, with all its columns.
    pub(super) fn is_row(&mut self, scope: &Scope<'_>, node: Node<'_>) -> bool {
        let Node::ColumnRef(reference) = node else { return false };
        let names = parts(reference.fields());
        names.len() == reference.fields().len() && matches!(self.name(scope, &names), Ok(Found::Row(..)))
    }

    fn sub_link(&mut self, scope: &Scope<'_>, link: &nodes::SubLink) -> Result<Flow> {
        let mut flow = self.expression(scope, link.testexpr())?;
        if let Some((schema, name)) = qualified(link.oper_name()) {
            self.operator(schema, name)?;
        } else if !matches!(link.testexpr(), Node::None) {
            self.operator(None, "=")?;
        }
        let rows = self.inner_query(scope, link)?;
        let mut found = rows.control.clone();
        for field in rows.fields.iter().map(|field| &field.flow).chain(&rows.open) {
            found.add(field);
        }
        if rows.bounded && self.inner(link).given {
            // It is the same for all rows outside.
            found.rows = super::flow::Sources::default();
        }
        match link.sub_link_type {
            // What is selected there is not looked at.
            SubLinkType::EXISTS_SUBLINK => flow.controlled_by(&found.without_values()),
            SubLinkType::EXPR_SUBLINK => {
                let copy = match &rows.fields[..] {
                    [field] if rows.open.is_none() => field.flow.copy.clone(),
                    _ => None,
                };
                flow.add(&found);
                flow.copy = copy;
            }
            SubLinkType::ANY_SUBLINK | SubLinkType::ALL_SUBLINK | SubLinkType::ROWCOMPARE_SUBLINK => {
                flow.add(&found);
                flow.compared |= !flow.shows.is_empty();
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
        if let Some(name) = returned_as(node) {
            self.converted(name)?;
        }
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
            flow.add(&self.condition(scope, constructor.agg_filter())?);
            for sort in constructor.agg_order() {
                flow.add(&self.condition(scope, sort)?);
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
        // A path may compare; where it finds nothing, or too much, an error would tell so.
        flow.compared |= !flow.shows.is_empty();
        let is_error = |behaviour: &nodes::JsonBehavior| behaviour.btype == JsonBehaviorType::JSON_BEHAVIOR_ERROR;
        if [json.on_empty(), json.on_error()].into_iter().flatten().any(is_error) {
            self.decided(flow.clone());
        }
        Ok(flow)
    }

    pub(super) fn window(&mut self, scope: &Scope<'_>, window: &nodes::WindowDef) -> Result<Flow> {
        let mut flow = Flow::default();
        for node in window.partition_clause() {
            let by = self.expression(scope, node)?;
            self.grouped_with(&by);
            flow.controlled_by(&by.without_values());
        }
        for sort in window.order_clause().iter() {
            flow.add(&self.condition(scope, Node::SortBy(sort))?);
        }
        flow.add(&self.condition(scope, window.start_offset())?);
        flow.add(&self.condition(scope, window.end_offset())?);
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
        flow.compared = true;
        Ok(flow)
    }
}

/// Constants of the grammar that are plain numbers there.
pub(super) const SETOP_NONE: raw::SetOperation::Type = raw::SetOperation::SETOP_NONE;

/// Whether what an operator does may hang on a value: to add it, or to ask for it, is one thing whatever it is.
fn weighs_values(expression: &nodes::A_Expr) -> bool {
    !matches!(qualified(expression.name()), Some((_, "=" | "<>" | "+" | "-")))
}

/// The type that JSON, or a part of it, is to be given as.
fn returned_as(node: Node<'_>) -> Option<&nodes::TypeName> {
    let output = match node {
        Node::JsonSerializeExpr(json) => json.output(),
        Node::JsonParseExpr(json) => json.output(),
        Node::JsonScalarExpr(json) => json.output(),
        Node::JsonObjectConstructor(json) => json.output(),
        Node::JsonArrayConstructor(json) => json.output(),
        Node::JsonArrayQueryConstructor(json) => json.output(),
        Node::JsonObjectAgg(json) => json.constructor()?.output(),
        Node::JsonArrayAgg(json) => json.constructor()?.output(),
        Node::JsonFuncExpr(json) => json.output(),
        _ => None,
    };
    output.and_then(nodes::JsonOutput::type_name)
}

/// Whether a constant is a text, which the type's own input function reads; a number is converted by a cast.
fn is_text(constant: &nodes::A_Const) -> bool {
    constant.isnull || matches!(constant.val(), Some(ConstValue::String(_)))
}
