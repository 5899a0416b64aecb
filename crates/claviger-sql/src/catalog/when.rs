//! The condition of a trigger, out of its definition.
//!
//! The server gives the expression of a trigger's `WHEN` only as part of the whole `CREATE TRIGGER`, as it writes that itself.

/// What stands in the parentheses of `WHEN (…)`. In what the server writes, a quote inside quotes is always doubled.
pub(super) fn condition(definition: &str) -> Option<&str> {
    const WHEN: &str = " WHEN (";
    let mut quoted_by = None;
    let mut begun: Option<(usize, usize)> = None;
    for (at, c) in definition.char_indices() {
        match (quoted_by, c) {
            (None, '"' | '\'') => quoted_by = Some(c),
            (Some(quote), _) if quote == c => quoted_by = None,
            (Some(_), _) => {}
            (None, '(') => match &mut begun {
                Some((_, depth)) => *depth += 1,
                None if definition.get(..=at).is_some_and(|before| before.ends_with(WHEN)) => begun = Some((at + 1, 0)),
                None => {}
            },
            (None, ')') => match &mut begun {
                Some((from, 0)) => return definition.get(*from..at),
                Some((_, depth)) => *depth -= 1,
                None => {}
            },
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_quotes_ends_a_condition_or_begins_one() {
        let written = r#"CREATE TRIGGER "a WHEN (b)" AFTER INSERT OR UPDATE OF "x)" ON public.t FOR EACH ROW WHEN (((new.x IS DISTINCT FROM ') EXECUTE ''FUNCTION (') AND (new."y(" > 0))) EXECUTE FUNCTION f(' WHEN (')"#;
        assert_eq!(condition(written), Some(r#"((new.x IS DISTINCT FROM ') EXECUTE ''FUNCTION (') AND (new."y(" > 0))"#));
        assert_eq!(condition("CREATE TRIGGER a AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f(' WHEN (')"), None);
        assert_eq!(condition("CREATE TRIGGER a AFTER INSERT ON t WHEN (x"), None);
        assert_eq!(condition(""), None);
    }
}
