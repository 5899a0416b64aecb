//! Dates: days and microseconds since 2000-01-01, as the server counts them, and as ISO 8601 writes them.

use std::io::Write as _;

use bytes::{BufMut, BytesMut};

use super::types::{Form, Type};

/// What is made of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// So many days later.
    Shift(i32),
    /// The first day of its year, its month, or its ten years.
    Truncate(Unit),
}

/// What a date is made less exact to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Its month.
    Month,
    /// Its year.
    Year,
    /// Its ten years.
    Decade,
}

const MICROS: i64 = 86_400_000_000;
/// The first and the last day that a date can be, of the years -4712 and 294276 (PostgreSQL manual, 8.5): those of a timestamp.
const DAYS: std::ops::RangeInclusive<i64> = -2_451_545..=106_751_990;
/// Days from 1970-01-01 to 2000-01-01.
const EPOCH: i64 = 10_957;

/// Appends the date that a date becomes; false if that is none that could be written.
pub(super) fn change(change: Change, form: Form, value: &[u8], out: &mut BytesMut) -> bool {
    if form.binary { in_binary(change, form, value, out) } else { in_text(change, form, value, out) }
}

fn in_binary(change: Change, form: Form, value: &[u8], out: &mut BytesMut) -> bool {
    match form.kind {
        Type::Date => {
            let Ok(days) = <[u8; 4]>::try_from(value).map(i32::from_be_bytes) else { return false };
            let Some(changed) = apply(change, i64::from(days)).and_then(|days| i32::try_from(days).ok()) else { return false };
            out.put_i32(changed);
        }
        _ => {
            let Ok(micros) = <[u8; 8]>::try_from(value).map(i64::from_be_bytes) else { return false };
            let Some(days) = apply(change, micros.div_euclid(MICROS)) else { return false };
            let rest = if matches!(change, Change::Shift(_)) { micros.rem_euclid(MICROS) } else { 0 };
            let Some(changed) = days.checked_mul(MICROS).and_then(|micros| micros.checked_add(rest)) else { return false };
            out.put_i64(changed);
        }
    }
    true
}

/// `YYYY-MM-DD`, perhaps with a time and a zone behind it. Years before 1 or after 9999 are left out.
fn in_text(change: Change, form: Form, value: &[u8], out: &mut BytesMut) -> bool {
    let Some((date, rest)) = value.split_at_checked(10) else { return false };
    let number = |range| std::str::from_utf8(date.get(range)?).ok()?.parse::<i64>().ok();
    let [_, _, _, _, b'-', _, _, b'-', _, _] = date else { return false };
    let (Some(year), Some(month), Some(day)) = (number(0..4), number(5..7), number(8..10)) else { return false };
    let time = rest.is_empty() || rest.first() == Some(&b' ');
    let plain = rest.iter().all(|c| c.is_ascii_digit() || matches!(c, b' ' | b':' | b'.' | b'+' | b'-'));
    if !form.iso_dates || year < 1 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || !time || !plain {
        return false;
    }
    let Some(changed) = apply(change, days(year, month, day)) else { return false };
    let (year, month, day) = civil(changed);
    if !(1..=9999).contains(&year) {
        return false;
    }
    _ = write!(out.writer(), "{year:04}-{month:02}-{day:02}");
    match change {
        Change::Shift(_) => out.put_slice(rest),
        Change::Truncate(_) if form.kind == Type::Timestamp => out.put_slice(b" 00:00:00"),
        Change::Truncate(_) if form.kind == Type::TimestampTz => {
            out.put_slice(b" 00:00:00");
            let zone = rest.iter().rposition(|c| matches!(c, b'+' | b'-'));
            out.put_slice(zone.and_then(|at| rest.get(at..)).unwrap_or(b"+00"));
        }
        Change::Truncate(_) => {}
    }
    true
}

/// What this day becomes. Infinities, which are the ends of the types, are no days.
fn apply(change: Change, day: i64) -> Option<i64> {
    let changed = match change {
        _ if !DAYS.contains(&day) => return None,
        Change::Shift(by) => day + i64::from(by),
        Change::Truncate(unit) => {
            let (year, month, _) = civil(day);
            match unit {
                Unit::Month => days(year, month, 1),
                Unit::Year => days(year, 1, 1),
                Unit::Decade => days(year.div_euclid(10) * 10, 1, 1),
            }
        }
    };
    DAYS.contains(&changed).then_some(changed)
}

/// Days since 2000-01-01 of a day of the Gregorian calendar, by Howard Hinnant's `days_from_civil`.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468 - EPOCH
}

/// The inverse, by his `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn text(change: Change, kind: Type, value: &str) -> Option<String> {
        let mut out = BytesMut::new();
        let form = Form { kind, binary: false, iso_dates: true };
        super::change(change, form, value.as_bytes(), &mut out).then(|| String::from_utf8(out.to_vec()).unwrap())
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(days(2000, 1, 1), 0);
        assert_eq!(days(2024, 2, 29), 8825);
        for day in (*DAYS.start()..800_000).step_by(997) {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }

    #[test]
    fn dates_are_shifted_in_both_forms() {
        assert_eq!(text(Change::Shift(-31), Type::Date, "2024-03-01").as_deref(), Some("2024-01-30"));
        assert_eq!(
            text(Change::Shift(1), Type::TimestampTz, "2023-12-31 23:59:59.25+02").as_deref(),
            Some("2024-01-01 23:59:59.25+02")
        );
        let mut out = BytesMut::new();
        let form = Form { kind: Type::Timestamp, binary: true, iso_dates: true };
        assert!(change(Change::Shift(2), form, &(-1_i64).to_be_bytes(), &mut out));
        assert_eq!(out[..], (2 * MICROS - 1).to_be_bytes());
    }

    #[test]
    fn dates_are_made_less_exact() {
        assert_eq!(text(Change::Truncate(Unit::Month), Type::Date, "2024-03-17").as_deref(), Some("2024-03-01"));
        assert_eq!(text(Change::Truncate(Unit::Decade), Type::Date, "1987-03-17").as_deref(), Some("1980-01-01"));
        assert_eq!(
            text(Change::Truncate(Unit::Year), Type::TimestampTz, "2024-03-17 10:11:12.5-07:30").as_deref(),
            Some("2024-01-01 00:00:00-07:30")
        );
    }

    #[test]
    fn what_is_no_plain_date_is_left() {
        for value in ["infinity", "-infinity", "01/02/2024", "2024-03-17 BC", "2024-3-17", "12024-03-17", "", "2024-13-01"] {
            assert_eq!(text(Change::Shift(1), Type::Date, value), None, "{value}");
        }
        let mut out = BytesMut::new();
        for infinite in [i32::MAX, i32::MIN] {
            let form = Form { kind: Type::Date, binary: true, iso_dates: true };
            assert!(!change(Change::Shift(1), form, &infinite.to_be_bytes(), &mut out));
        }
        for infinite in [i64::MAX, i64::MIN] {
            let form = Form { kind: Type::Timestamp, binary: true, iso_dates: true };
            assert!(!change(Change::Shift(1), form, &infinite.to_be_bytes(), &mut out));
        }
    }
}
