//! Durations and sizes as people write them: `90s`, `12h`, `16MiB`.

use std::time::Duration;

/// A duration: a whole number and `ms`, `s`, `m`, `h` or `d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{}` is not a duration, such as `90s`, `15m` or `12h`", shown(text));
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

/// A size: a whole number and `B`, `KiB` or `MiB`.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let wrong = || format!("`{}` is not a size, such as `64KiB` or `16MiB`", shown(text));
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let bytes: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return Err(wrong()),
    };
    number.checked_mul(bytes).and_then(|size| usize::try_from(size).ok()).ok_or_else(wrong)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    Some((digits.parse().ok()?, unit.trim_start()))
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("500ms", Some(500)),
            ("1s", Some(1000)),
            ("15m", Some(900_000)),
            ("12h", Some(43_200_000)),
            ("2 d", Some(172_800_000)),
            ("12", None),
            ("h", None),
            ("-1s", None),
            ("1.5h", None),
            ("99999999999999999999s", None),
            ("9999999999999999d", None),
        ] {
            assert_eq!(duration(text).ok(), expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in
            [("1B", Some(1)), ("64KiB", Some(65_536)), ("16 MiB", Some(16 << 20)), ("16MB", None), ("16", None), ("", None)]
        {
            assert_eq!(size(text).ok(), expected, "{text}");
        }
    }
}
