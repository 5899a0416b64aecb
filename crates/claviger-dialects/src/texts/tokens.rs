//! Tokens that stand beside texts as numbers.

use super::rules::Zone;
use crate::json::{Edits, Kind, Value};

/// Members that are tokens, if they are lists of numbers.
const TOKENS: [&str; 4] = ["context", "prompt_token_ids", "token_ids", "tokens"];

/// Whether something is a list of numbers, or of such lists.
pub(crate) fn is_tokens(value: Value<'_>) -> bool {
    let number = |value: Value<'_>| value.kind() == Kind::Number;
    value.elements().any(|element| number(element) || element.elements().any(number))
}

/// Empties the tokens in an answer: they would say what its texts do not.
pub(crate) fn hush(answer: Value<'_>, edits: &mut Edits) {
    step(answer, Zone::Known, edits);
}

fn step(value: Value<'_>, zone: Zone, edits: &mut Edits) {
    for element in value.elements() {
        step(element, zone, edits);
    }
    for (name, value) in value.members().filter(|(_, value)| matches!(value.kind(), Kind::Object | Kind::Array)) {
        let name = name.text().unwrap_or_default();
        match zone.within("", &name, value.kind()) {
            Zone::Known if TOKENS.contains(&&*name) && is_tokens(value) => edits.replace(value, "[]".to_owned()),
            Zone::Known => step(value, Zone::Known, edits),
            Zone::Schema | Zone::Free => {}
        }
    }
}
