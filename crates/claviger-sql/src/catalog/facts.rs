//! The rows of the answer, as they stand.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, de};

use super::stored::Stored;

/// What one row says.
pub(super) enum Fact {
    Asked(Asked),
    Path(Path),
    Fingerprint(String),
    Schema(Schema),
    Relation(Relation),
    Column(Column),
    View(View),
    Child(Child),
    Trigger(Trigger),
    EventTrigger(EventTrigger),
    Rule(Rule),
    Expression(Expression),
    Reference(Reference),
    Policy(Policy),
    Key(Key),
    Function(Box<Function>),
    Operator(Operator),
    Cast(Cast),
    Type(Type),
    TypeCheck(TypeCheck),
    TypeFunction(TypeFunction),
}

/// Reads a row. `None` if it is not one that was asked for.
pub(super) fn read(kind: &[u8], facts: &[u8]) -> Option<Fact> {
    fn json<'a, T: Deserialize<'a>>(facts: &'a [u8]) -> Option<T> {
        serde_json::from_slice(facts).ok()
    }
    Some(match kind {
        b"asked" => Fact::Asked(json(facts)?),
        b"path" => Fact::Path(json(facts)?),
        b"fingerprint" => Fact::Fingerprint(String::from_utf8(facts.to_vec()).ok()?),
        b"schema" => Fact::Schema(json(facts)?),
        b"relation" => Fact::Relation(json(facts)?),
        b"column" => Fact::Column(json(facts)?),
        b"view" => Fact::View(json(facts)?),
        b"child" => Fact::Child(json(facts)?),
        b"trigger" => Fact::Trigger(json(facts)?),
        b"event_trigger" => Fact::EventTrigger(json(facts)?),
        b"rule" => Fact::Rule(json(facts)?),
        b"expression" => Fact::Expression(json(facts)?),
        b"reference" => Fact::Reference(json(facts)?),
        b"policy" => Fact::Policy(json(facts)?),
        b"key" => Fact::Key(json(facts)?),
        b"function" => Fact::Function(json(facts)?),
        b"operator" => Fact::Operator(json(facts)?),
        b"cast" => Fact::Cast(json(facts)?),
        b"type" => Fact::Type(json(facts)?),
        b"type_check" => Fact::TypeCheck(json(facts)?),
        b"type_function" => Fact::TypeFunction(json(facts)?),
        _ => return None,
    })
}

impl Fact {
    /// The texts in it that the server can leave out, and where they are stored.
    pub(super) fn texts_mut(&mut self) -> impl Iterator<Item = (Stored, &mut Option<Arc<str>>)> {
        let (first, second) = match self {
            Self::Column(fact) => (Some((fact.stored, &mut fact.default)), None),
            Self::View(fact) => (Some((fact.stored, &mut fact.definition)), None),
            Self::Trigger(fact) => (Some((fact.stored, &mut fact.definition)), None),
            Self::Rule(fact) => (Some((fact.stored, &mut fact.definition)), None),
            Self::Expression(fact) => (Some((fact.stored, &mut fact.text)), None),
            Self::Policy(fact) => (Some((fact.stored, &mut fact.text)), None),
            Self::Function(fact) => {
                let Function { body, stored, default_expressions, defaults_stored, .. } = &mut **fact;
                (Some((*stored, body)), Some((*defaults_stored, default_expressions)))
            }
            Self::Type(fact) => (Some((fact.stored, &mut fact.default)), None),
            Self::TypeCheck(fact) => (Some((fact.stored, &mut fact.text)), None),
            _ => (None, None),
        };
        first.into_iter().chain(second).filter_map(|(stored, text)| Some((stored?, text)))
    }
}

/// An object's number. In JSON it is a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Oid(pub(super) u32);

impl<'a> Deserialize<'a> for Oid {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| de::Error::custom("not a number of an object"))
    }
}

/// What was asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    pub(super) whole: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Path {
    pub(super) path: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Schema {
    pub(super) name: String,
    pub(super) usable: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Relation {
    pub(super) id: Oid,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) kind: RelationKind,
    pub(super) temporary: bool,
    pub(super) system: bool,
    pub(super) owner: String,
    pub(super) rows: f32,
    pub(super) partitioned_by: Option<Vec<i16>>,
}

/// `pg_class.relkind` (PostgreSQL manual, 53.11).
#[derive(Clone, Copy, Deserialize)]
pub(super) enum RelationKind {
    #[serde(rename = "r")]
    Table,
    #[serde(rename = "p")]
    Partitioned,
    #[serde(rename = "v")]
    View,
    #[serde(rename = "m")]
    Materialized,
    #[serde(rename = "f")]
    Foreign,
    #[serde(rename = "S")]
    Sequence,
    #[serde(rename = "c")]
    Composite,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Column {
    pub(super) relation: Oid,
    pub(super) number: i16,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: Oid,
    pub(super) not_null: bool,
    pub(super) generated: bool,
    pub(super) default: Option<Arc<str>>,
    #[serde(default)]
    pub(super) stored: Option<Stored>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct View {
    pub(super) id: Oid,
    pub(super) definition: Option<Arc<str>>,
    #[serde(default)]
    pub(super) stored: Option<Stored>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Child {
    pub(super) id: Oid,
    pub(super) parent: Oid,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trigger {
    pub(super) relation: Oid,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: i16,
    pub(super) function: Oid,
    pub(super) definition: Option<Arc<str>>,
    #[serde(default)]
    pub(super) stored: Option<Stored>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventTrigger {
    pub(super) function: Oid,
    pub(super) event: String,
    pub(super) tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) relation: Oid,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: char,
    pub(super) instead: bool,
    pub(super) definition: Option<Arc<str>>,
    #[serde(default)]
    pub(super) stored: Option<Stored>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expression {
    pub(super) relation: Oid,
    pub(super) text: Option<Arc<str>>,
    #[serde(default)]
    pub(super) stored: Option<Stored>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reference {
    pub(super) relation: Oid,
    pub(super) name: String,
    pub(super) from: Oid,
    pub(super) columns: Vec<i16>,
    pub(super) to: Vec<i16>,
    pub(super) on_delete: char,
    pub(super) on_update: char,
    pub(super) inherited: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub(super) relation: Oid,
    pub(super) text: Option<Arc<str>>,
    #[serde(default)]
    pub(super) stored: Option<Stored>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    pub(super) relation: Oid,
    pub(super) primary: bool,
    pub(super) columns: Vec<i16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Function {
    pub(super) id: Oid,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) kind: char,
    pub(super) language: String,
    pub(super) source: String,
    pub(super) body: Option<Arc<str>>,
    #[serde(default)]
    pub(super) stored: Option<Stored>,
    pub(super) arguments: Vec<Oid>,
    pub(super) defaults: usize,
    pub(super) default_expressions: Option<Arc<str>>,
    #[serde(default)]
    pub(super) defaults_stored: Option<Stored>,
    pub(super) variadic: bool,
    pub(super) names: Option<Vec<String>>,
    pub(super) modes: Option<Vec<char>>,
    pub(super) all_types: Option<Vec<Oid>>,
    pub(super) returns: Oid,
    pub(super) set: bool,
    pub(super) volatility: char,
    pub(super) definer: bool,
    pub(super) owner: String,
    pub(super) settings: Option<Vec<String>>,
    pub(super) extension: Option<String>,
    pub(super) parts: Option<Vec<Oid>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Operator {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) left: Oid,
    pub(super) right: Oid,
    pub(super) function: Oid,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cast {
    pub(super) from: Oid,
    pub(super) to: Oid,
    pub(super) function: Oid,
    pub(super) implicit: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Type {
    pub(super) id: Oid,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) kind: char,
    pub(super) element: Option<Oid>,
    pub(super) base: Oid,
    pub(super) relation: Oid,
    pub(super) default: Option<Arc<str>>,
    #[serde(default)]
    pub(super) stored: Option<Stored>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TypeCheck {
    #[serde(rename = "type")]
    pub(super) kind: Oid,
    pub(super) text: Option<Arc<str>>,
    #[serde(default)]
    pub(super) stored: Option<Stored>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TypeFunction {
    #[serde(rename = "type")]
    pub(super) kind: Oid,
    pub(super) function: Oid,
}
