//! Text from outside, as people may see it.
//!
//! A terminal obeys control characters, and readers are deceived by characters that have no shape or turn the direction of writing: what
//! looks like a comment may be a statement. All of these are shown by their numbers.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// The text with everything visible; lines stay lines, and tabs tabs.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| if is_hidden(c) { c.escape_unicode().collect() } else { vec![c] };
    Cow::Owned(text.chars().flat_map(shown).collect())
}

/// What in a statement is not what it looks like: hidden characters, and names that mix letters of ASCII with others.
pub(crate) fn deceptive(statement: &str) -> Vec<String> {
    let hidden: BTreeSet<char> = statement.chars().filter(|c| is_hidden(*c)).collect();
    let is_mixed = |word: &&str| {
        word.chars().any(|c| c.is_ascii_alphabetic()) && word.chars().any(|c| c.is_alphabetic() && !c.is_ascii() && !is_latin(c))
    };
    let words = statement.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    let mixed: BTreeSet<&str> = words.filter(is_mixed).take(MOST).collect();
    let other =
        |word: &str| word.chars().filter(|c| !c.is_ascii()).map(number).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
    let hidden = hidden.into_iter().map(|c| format!("hidden {}", number(c)));
    hidden.chain(mixed.into_iter().map(|word| format!("{} in {}", other(word).join(", "), visible(word)))).collect()
}

/// The most names that are told.
const MOST: usize = 20;

fn number(c: char) -> String {
    format!("U+{:04X}", u32::from(c))
}

/// Letters with accents, which words of one language have beside those of ASCII.
fn is_latin(c: char) -> bool {
    matches!(c, '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}')
}

/// Whether a character has no shape of its own, passes for a plain space, or does something to those around it (Unicode's `Cc`, `Cf`,
/// `Zl`, `Zp`, `Zs` but for the space itself, `Default_Ignorable_Code_Point`, and what is private or none).
pub(crate) fn is_hidden(c: char) -> bool {
    match c {
        '\n' | '\t' | ' ' => false,
        c if c.is_control() || c.is_whitespace() => true,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}' => {
            true
        }
        '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' => true,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' => true,
        '\u{3164}' | '\u{ffa0}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' => true,
        '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' => true,
        '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' => true,
        '\u{e0000}'.. => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_hidden_and_nothing_plain_is_changed() {
        assert_eq!(visible("a\u{1b}[2Jb\n\u{202e}c\r\u{a0}\u{feff}"), "a\\u{1b}[2Jb\n\\u{202e}c\\u{d}\\u{a0}\\u{feff}");
        for plain in ["select 'ü, ß, 日本, привет, 👍'\n\t-- é", ""] {
            assert!(matches!(visible(plain), Cow::Borrowed(same) if same == plain));
        }
        // U+043E is a Cyrillic letter.
        assert_eq!(
            deceptive("delete from cust\u{43e}mers -- \u{202e} naïve, привет"),
            ["hidden U+202E", "U+043E in cust\u{43e}mers"]
        );
        assert!(deceptive("select 'größe', naïve from таблица").is_empty());
    }
}
