//! SQL that makes of a column's values what a method makes of them, as near as it can in a view that the gateway, too, sees through.
//!
//! What needs a key becomes NULL, because whoever may read a view may read its definition. Nothing here compares a value, computes with it or can
//! fail with it: the gateway would see that values decide, and refuse every statement that reads the view. Names of functions stand as
//! they are: the script that they are for looks them up in `pg_catalog` only.

use claviger_mask::methods::{Form, Method, Type, Unit};

use super::sample::{literal, quoted};

/// A column whose values are to be replaced.
pub(super) struct Replaced<'a> {
    pub(super) name: &'a str,
    /// The type whose values its own look like, without that of a domain.
    pub(super) plain: Type,
    /// The type as SQL writes it; of a domain, that which it is made of.
    pub(super) kind: &'a str,
    /// The collation, as SQL writes it, if it is not that of the type.
    pub(super) collation: Option<&'a str>,
}

impl Replaced<'_> {
    /// What stands in place of the column in the list of a view, whose source is called `t`. What comes out has the column's type.
    pub(super) fn by(&self, method: Method) -> String {
        let masked = match (method.check(self.plain), self.plain) {
            (Ok(()), Type::Array { .. }) if method != Method::Null => self.expression(Method::Redact),
            (Ok(()), _) => self.expression(method),
            (Err(_), _) => None,
        };
        let masked = masked.unwrap_or_else(|| "NULL".to_owned());
        let collation = self.collation.map(|name| format!(" COLLATE {name}")).unwrap_or_default();
        format!("({masked})::{}{collation} AS {}", self.kind, quoted(self.name))
    }

    fn expression(&self, method: Method) -> Option<String> {
        let column = format!("t.{}", quoted(self.name));
        let text = format!("{column}::text");
        match method {
            // NULL stays NULL, and one constant stands for all else. What a domain is cannot be told from what is no address.
            Method::Redact | Method::EmailDomain => {
                let form = Form { kind: self.plain, binary: false, iso_dates: true };
                let constant = String::from_utf8(form.constant()?.to_vec()).ok()?;
                Some(format!("CASE WHEN {column} IS NOT NULL THEN {}::{} END", literal(constant.trim_end()), self.kind))
            }
            Method::Partial { first, last } => Some(partial(&text, first, last)),
            Method::Length => Some(partial(&text, 0, 0)),
            Method::Truncate { unit } => {
                let unit = match unit {
                    Unit::Month => "month",
                    Unit::Year => "year",
                    Unit::Decade => "decade",
                };
                // A date is no timestamp with time zone: whoever reads it may be anywhere.
                let value = if self.plain == Type::Date { format!("{column}::timestamp") } else { column };
                Some(format!("date_trunc('{unit}', {value})"))
            }
            Method::Null | Method::Token { .. } | Method::Ff1 | Method::DateShift { .. } | Method::Bucket { .. } => None,
        }
    }
}

/// Stars as long as the text, with its ends in their places. An end is taken of what is there beyond both of them, so that of a text that has not
/// more nothing is kept, and of one that has little more less. Spaces that only fill it up stay.
fn partial(text: &str, first: usize, last: usize) -> String {
    let content = format!("rtrim({text}, ' ')");
    let beyond = first + last + 1;
    let mut masked = format!("lpad(right(substr({content}, {beyond}), {last}), length({content}), '*')");
    if first > 0 {
        masked = format!("overlay({masked} placing left(reverse(substr(reverse({content}), {beyond})), {first}) from 1)");
    }
    format!("rpad({masked}, length({text}), ' ')")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_method_does_not_fit_or_needs_a_key_is_null() {
        let column = |plain| Replaced { name: "a\"b", plain, kind: "integer", collation: None };
        let number = column(Type::Int4);
        assert_eq!(number.by(Method::Partial { first: 0, last: 4 }), r#"(NULL)::integer AS "a""b""#);
        assert_eq!(number.by(Method::Ff1), r#"(NULL)::integer AS "a""b""#);
        assert_eq!(number.by(Method::Redact), r#"(CASE WHEN t."a""b" IS NOT NULL THEN '0'::integer END)::integer AS "a""b""#);
        assert_eq!(column(Type::Other).by(Method::Redact), r#"(NULL)::integer AS "a""b""#);
    }
}
