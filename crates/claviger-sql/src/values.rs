//! Statements with the values of their parameters in place.

use crate::lexer::{Kind, tokens};

/// The value of a parameter, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'v> {
    /// NULL.
    Null,
    /// As the type's input function would read it.
    Text(&'v str),
    /// It is not known: the parameter stays.
    Unknown,
}

/// The text with the values of its parameters in place of `$1`, `$2` and so on: only to be understood, never to be run.
pub fn with_values(text: &str, values: &[Value<'_>]) -> String {
    let Some(tokens) = tokens(text) else { return text.to_owned() };
    let mut filled = String::with_capacity(text.len() + 16 * values.len());
    let mut copied = 0;
    for pair in tokens.windows(2) {
        let [dollar, number] = pair else { continue };
        let is_parameter =
            number.kind == Kind::Number && number.start == dollar.end && text.get(dollar.start..dollar.end) == Some("$");
        let index = text.get(number.start..number.end).and_then(|number| number.parse::<usize>().ok()?.checked_sub(1));
        let Some(value) = index.filter(|_| is_parameter).and_then(|index| values.get(index)) else { continue };
        filled.push_str(text.get(copied..dollar.start).unwrap_or_default());
        match value {
            Value::Null => filled.push_str(" NULL "),
            Value::Text(value) => {
                filled.push_str(" '");
                filled.push_str(&value.replace('\'', "''"));
                filled.push_str("' ");
            }
            Value::Unknown => filled.push_str(text.get(dollar.start..number.end).unwrap_or_default()),
        }
        copied = number.end;
    }
    filled.push_str(text.get(copied..).unwrap_or_default());
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_parameters_stood() {
        let filled = with_values(
            "select '$1', \"$1\", $a$ $1 $a$ /* $1 */ from t where a = $1 and b > $2::int or c like $3 limit $4 -- $1",
            &[Value::Text("it's"), Value::Text("10"), Value::Null, Value::Unknown],
        );
        let expected = "select '$1', \"$1\", $a$ $1 $a$ /* $1 */ from t where a =  'it''s'  and b >  '10' ::int or c like  NULL  limit $4 -- $1";
        assert_eq!(filled, expected);
        assert_eq!(with_values("select $1, $12, a$1", &[Value::Text("x")]), "select  'x' , $12, a$1");
        assert_eq!(with_values("select 'open", &[Value::Null]), "select 'open");
    }
}
