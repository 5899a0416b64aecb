//! Forbids that an approval lifts.

use cedar_policy::Policy;
use serde_json::Value;

/// The group whose approval lifts this policy, if it says so.
pub(crate) fn group(policy: &Policy) -> Option<&str> {
    policy.annotation("approval")
}

/// Whether a policy stops to apply when the context's approvals contain this group, whatever else is the case.
///
/// Decided on its text, in three values: what depends on anything else is unknown, and a policy is lifted only if what is known
/// suffices to make it not apply.
pub(crate) fn lifts(policy: &Policy, group: &str) -> bool {
    let Ok(json) = policy.to_json() else { return false };
    let conditions = json.get("conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|condition| {
        let (kind, body) = (condition.get("kind").and_then(Value::as_str), condition.get("body").unwrap_or(&Value::Null));
        matches!((kind, truth(body, group)), (Some("when"), Some(false)) | (Some("unless"), Some(true)))
    })
}

/// What an expression is when the approvals contain the group, if that alone says so.
fn truth(expression: &Value, group: &str) -> Option<bool> {
    let (operator, operand) = expression.as_object()?.iter().next()?;
    let part = |name| operand.get(name).unwrap_or(&Value::Null);
    let both = || (truth(part("left"), group), truth(part("right"), group));
    match operator.as_str() {
        "Value" => operand.as_bool(),
        "!" => truth(part("arg"), group).map(|value| !value),
        "&&" => match both() {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        },
        "||" => match both() {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        "if-then-else" => match truth(part("if"), group) {
            Some(true) => truth(part("then"), group),
            Some(false) => truth(part("else"), group),
            None => truth(part("then"), group).filter(|value| truth(part("else"), group) == Some(*value)),
        },
        "contains" if is_approvals(part("left")) => (part("right").get("Value")? == group).then_some(true),
        "containsAny" if is_approvals(part("left")) => {
            let groups = part("right").get("Set")?.as_array()?;
            groups.iter().any(|one| one.get("Value").is_some_and(|one| one == group)).then_some(true)
        }
        "containsAll" if is_approvals(part("left")) => {
            let groups = part("right").get("Set")?.as_array()?;
            groups.iter().all(|one| one.get("Value").is_some_and(|one| one == group)).then_some(true)
        }
        "isEmpty" if is_approvals(part("arg")) => Some(false),
        _ => None,
    }
}

fn is_approvals(expression: &Value) -> bool {
    let access = expression.get(".");
    access.and_then(|access| access.get("attr")).is_some_and(|attr| attr == "approvals")
        && access.and_then(|access| access.get("left")?.get("Var")).is_some_and(|left| left == "context")
}
