//! What is another in one text than in another, line by line.

use std::fmt::Write as _;

/// Texts of more lines are not compared: all of one is shown, then all of the other.
const MOST: usize = 1000;

/// The lines of both texts: those of the first alone after `-`, those of the second alone after `+`.
pub(crate) fn diff(before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let kept = if old.len().max(new.len()) <= MOST { common(&old, &new) } else { Vec::new() };
    let mut out = String::new();
    let (mut from, mut to) = (0, 0);
    for (n, m) in kept.into_iter().chain([(old.len(), new.len())]) {
        old.iter().take(n).skip(from).for_each(|line| _ = writeln!(out, "- {line}"));
        new.iter().take(m).skip(to).for_each(|line| _ = writeln!(out, "+ {line}"));
        if let Some(line) = old.get(n) {
            _ = writeln!(out, "  {line}");
        }
        (from, to) = (n + 1, m + 1);
    }
    out
}

/// The places of the longest run of lines that both have, in order.
fn common(old: &[&str], new: &[&str]) -> Vec<(usize, usize)> {
    let width = new.len() + 1;
    // How many lines the rest of one has in common with the rest of the other.
    let mut lengths = vec![0_u32; (old.len() + 1) * width];
    let at = |lengths: &[u32], n: usize, m: usize| lengths.get(n * width + m).copied().unwrap_or_default();
    for (n, line) in old.iter().enumerate().rev() {
        for (m, other) in new.iter().enumerate().rev() {
            let longest =
                if line == other { at(&lengths, n + 1, m + 1) + 1 } else { at(&lengths, n + 1, m).max(at(&lengths, n, m + 1)) };
            if let Some(length) = lengths.get_mut(n * width + m) {
                *length = longest;
            }
        }
    }
    let (mut n, mut m, mut places) = (0, 0, Vec::new());
    while let (Some(line), Some(other)) = (old.get(n), new.get(m)) {
        if line == other {
            places.push((n, m));
            (n, m) = (n + 1, m + 1);
        } else if at(&lengths, n + 1, m) >= at(&lengths, n, m + 1) {
            n += 1;
        } else {
            m += 1;
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_have_stays() {
        assert_eq!(
            diff("delete from t\nwhere a\n    and b", "delete from t\nwhere a\n    and c\nreturning *"),
            "  delete from t\n  where a\n-     and b\n+     and c\n+ returning *\n"
        );
        assert_eq!(diff("a\nb\nc", "b\nc\nd"), "- a\n  b\n  c\n+ d\n");
        assert_eq!(diff("", "a"), "+ a\n");
        assert_eq!(diff("same", "same"), "  same\n");
    }
}
