//! What is found, what is not, and what becomes of it.

use super::*;

/// Findings as `entity:text`, in a text by itself or in one of a column (`column|text`).
fn found(line: &str) -> Vec<String> {
    let detectors = nearly_all();
    let (context, text) = match line.split_once('|') {
        Some((column, text)) => (detectors.column(column, []), text),
        None => (Context::default(), line),
    };
    let mut found = Vec::new();
    detectors.scan(text.as_bytes(), context, &mut found);
    found.iter().map(|found| format!("{}:{}", found.entity, &text[found.span.clone()])).collect()
}

/// All but URLs, which hide what is in them.
fn nearly_all() -> Detectors {
    let mut on = EntitySet::ALL;
    on.remove(Entity::Url);
    Detectors::new(&DetectorConfig { on, ..DetectorConfig::default() }).unwrap()
}

/// Each line of a table is a text, `=>`, and what is to be found in it, with commas between.
fn check(table: &str) {
    let mut wrong = Vec::new();
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (text, expected) = line.split_once(" => ").unwrap_or((line.trim_end_matches(" =>"), ""));
        let text = text.replace("\\n", "\n").replace("\\\\", "\\");
        let expected: Vec<_> =
            expected.split(" ; ").filter(|found| !found.is_empty()).map(|found| found.replace("\\n", "\n")).collect();
        let found = found(&text);
        if found != expected {
            wrong.push(format!("{text:?}: found {found:?}, expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_there_is_found() {
    check(include_str!("found.txt"));
}

#[test]
fn what_only_looks_like_it_is_not() {
    check(include_str!("ordinary.txt"));
}

#[test]
fn masking_leaves_the_rest_as_it_was() {
    let detectors = nearly_all();
    let mut counts = Counts::default();
    let text = "SSN 536-90-4399, card 4111 1111 1111 1111; nothing else.";
    let masked = detectors.mask(text.as_bytes(), Context::default(), &mut counts);
    assert_eq!(std::str::from_utf8(&masked).unwrap(), "SSN [ssn], card [credit_card]; nothing else.");
    assert_eq!(counts.iter().collect::<Vec<_>>(), [(Entity::Ssn, 1), (Entity::CreditCard, 1)]);
    let text = b"nothing at all";
    assert!(matches!(detectors.mask(text, Context::default(), &mut counts), Cow::Borrowed(_)));
}

#[test]
fn masked_json_is_json() {
    let detectors = nearly_all();
    let text = br#"{"a\"": 4111111111111111, "ssn": "536904399", "t": "x\n536-90-4399\"", "b": [4111111111111111]}"#;
    let masked = detectors.mask(text, Context::default().json(), &mut Counts::default());
    let expected = r#"{"a\"": "[credit_card]", "ssn": "[ssn]", "t": "x\n[ssn]\"", "b": ["[credit_card]"]}"#;
    assert_eq!(std::str::from_utf8(&masked).unwrap(), expected);
}

#[test]
fn styles_keep_what_they_say() {
    let styles = vec![(Entity::Ssn, Style::LastFour), (Entity::Email, Style::Stars)];
    let detectors = Detectors::new(&DetectorConfig { styles, on: EntitySet::ALL, ..DetectorConfig::default() }).unwrap();
    let masked = detectors.mask("536-90-4399 and ada@exämple.com".as_bytes(), Context::default(), &mut Counts::default());
    assert_eq!(std::str::from_utf8(&masked).unwrap(), "***-**-4399 and ***@*******.***");
    let styles = vec![(Entity::Jwt, Style::LastFour)];
    assert_eq!(
        Detectors::new(&DetectorConfig { styles, ..DetectorConfig::default() }).unwrap_err(),
        DetectorError::Style(Entity::Jwt)
    );
}

#[test]
fn what_is_off_is_not_found() {
    let mut on = EntitySet::ALL;
    on.remove(Entity::Email);
    on.remove(Entity::Url);
    let detectors = Detectors::new(&DetectorConfig { on, ..DetectorConfig::default() }).unwrap();
    let mut found = Vec::new();
    detectors.scan(b"ada@example.com 536-90-4399", Context::default(), &mut found);
    assert_eq!(found, [Found { entity: Entity::Ssn, span: 16..27, score: 90 }]);
}

fn custom(pattern: &str, words: &[&str]) -> Result<Detectors, DetectorError> {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    let patterns = vec![CustomPattern { name: "employee".to_owned(), pattern: pattern.to_owned(), words }];
    Detectors::new(&DetectorConfig { patterns, ..DetectorConfig::default() })
}

#[test]
fn custom_patterns_match_where_their_words_stand() {
    let detectors = custom(r"\bE-\d{4}\b", &["badge"]).unwrap();
    let mask = |text: &str, context| {
        let mut counts = Counts::default();
        String::from_utf8(detectors.mask(text.as_bytes(), context, &mut counts).into_owned()).unwrap()
    };
    assert_eq!(mask("Badge E-1234", Context::default()), "Badge [employee]");
    assert_eq!(mask("part E-1234", Context::default()), "part E-1234");
    assert_eq!(mask("E-1234", detectors.column("badge_no", [])), "[employee]");
    assert_eq!(detectors.name(Entity::Custom(0)), "employee");
}

#[test]
fn patterns_that_cannot_be_are_refused() {
    assert!(matches!(custom("(", &[]), Err(DetectorError::Pattern { .. })));
    assert!(matches!(custom("x*", &[]), Err(DetectorError::Pattern { .. })));
    assert!(matches!(custom(r"\[[a-z]+\]", &[]), Err(DetectorError::Pattern { .. })));
    assert!(matches!(custom(r"(\w{100}){1000}", &[]), Err(DetectorError::Pattern { .. })));
}

#[test]
fn findings_are_at_boundaries_of_characters() {
    let detectors = nearly_all();
    for text in [
        "é536-90-4399é",
        "５３６-９０-４３９９",
        "5\u{200b}36-90-4399",
        "дом@пример.рф",
        "\u{ff14}111\u{a0}1111\u{2009}1111 1111",
    ] {
        let mut found = Vec::new();
        detectors.scan(text.as_bytes(), Context::default(), &mut found);
        assert_eq!(found.len(), 1, "{text}");
        assert!(text.get(found[0].span.clone()).is_some(), "{text}");
    }
}

/// Values, words and what stands between them, from which texts are made up.
pub(crate) const PIECES: &[&str] = &[
    "536-90-4399",
    "536904399",
    "4111111111111111",
    "4111 1111 1111 1111",
    "ada@example.com",
    "+41 (0)22 345 67 89",
    "415-555-0132",
    "GB82WEST12345698765432",
    "10.0.0.1",
    "2001:db8::1",
    "00:1a:2b:3c:4d:5e",
    "1990-05-17",
    "May 17, 1990",
    "021000021",
    "1EG4-TE5-MK73",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3",
    "-----BEGIN PRIVATE KEY-----",
    "MIIEow==",
    "-----END PRIVATE KEY-----",
    "postgres://a:b@c",
    "AKIAIOSFODNN7EXAMPLE",
    "ssn",
    "account",
    "card",
    "born",
    "phone",
    "passport",
    "license A1234567",
    "order",
    "https://example.com/x",
    "[ssn]",
    "[credit_card]",
    "[withheld]",
    "12",
    "3",
    "2024",
    "x",
    "é",
    "５３６",
    "\u{200b}",
    "\u{a0}",
    " ",
    " ",
    "-",
    ".",
    ",",
    "/",
    ":",
    "@",
    "_",
    "(",
    ")",
    "+",
    "\\n",
    "\n",
    "\"",
    "{",
    "%20",
    "\u{301}",
    "𝟓",
];

proptest::proptest! {
    #[test]
    fn nothing_is_left_of_what_is_found(pieces in proptest::collection::vec(0..PIECES.len(), 0..24), json: bool) {
        let text: String = pieces.iter().map(|piece| PIECES[*piece]).collect();
        let detectors = Detectors::new(&DetectorConfig { on: EntitySet::ALL, ..DetectorConfig::default() }).unwrap();
        let context = if json { Context::default().json() } else { Context::default() };
        let mut found = Vec::new();
        detectors.scan(text.as_bytes(), context, &mut found);
        let mut place = 0;
        for found in &found {
            assert!(place <= found.span.start && text.get(found.span.clone()).is_some_and(|value| !value.is_empty()), "{text:?} {found:?}");
            place = found.span.end;
        }
        let masked = detectors.mask(text.as_bytes(), context, &mut Counts::default()).into_owned();
        found.clear();
        detectors.scan(&masked, context, &mut found);
        assert!(found.is_empty(), "{text:?} {:?} {found:?}", String::from_utf8_lossy(&masked));
        assert!(masked != b"[withheld]" || text.contains("[withheld]"), "{text:?} was given up");
    }
}
