//! How far before a place something may begin that is only found there.

use super::context::LONGEST_WORD;
use super::dates::is_month;
use super::email::{LOCAL, URL, is_local};
use super::secrets::{is_base64, is_url};
use super::text::Text;
use super::url::{HOST, is_host};
use super::{Entity, EntitySet};

/// The longest secret but for JSON Web Tokens, all of which hangs on its first letters.
const SECRET: usize = 2100;
/// The longest key in Base64.
const KEY: usize = 88;
/// The longest address of a machine, and of hardware.
const ADDRESS: usize = 48;

/// Where what is found at a place, or at any behind it that are not looked at yet, begins at the earliest.
pub(super) fn earliest(text: Text<'_>, place: usize, on: EntitySet, round: usize, stars: bool) -> usize {
    let back = |from: usize, most: usize, is: fn(u8) -> bool| text.run_start(from, from.saturating_sub(most), is);
    let address = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.' | b'-');
    let mut start = back(place, SECRET, is_url).min(back(place, KEY, is_base64)).min(back(place, ADDRESS, address));
    // The name in an address that is yet to come is one piece, because nothing that was put in the place of something is part of it: the
    // first round has kept it together.
    if on.contains(Entity::Email) && (round == 0 || stars || place < text.len()) {
        start = start.min(back(place, LOCAL, is_local));
    }
    if on.contains(Entity::UrlCredentials) {
        start = start.min(credentials(text, place));
    }
    if on.contains(Entity::Url) {
        start = start.min(scheme(text, back(place, HOST, is_host)));
    }
    let start = back(start, 3, |byte| matches!(byte, b'(' | b'+'));
    let month_here = if start == place { start } else { month(text, place) };
    month(text, start).min(month_here).min(start)
}

/// Behind `://`, if that is in the same row of characters.
fn credentials(text: Text<'_>, place: usize) -> usize {
    let floor = place.saturating_sub(URL);
    let start =
        text.run_start(place, floor, |byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'`'));
    let row = text.slice(start..place);
    row.windows(3).rposition(|three| three == b"://").map_or(place, |at| start + at + 3)
}

/// The beginning of `https://`, or of a part of that.
fn scheme(text: Text<'_>, host: usize) -> usize {
    let colon = text.run_start(host, host.saturating_sub(3), |byte| matches!(byte, b':' | b'/'));
    text.run_start(colon, colon.saturating_sub(LONGEST_WORD), |byte| byte.is_ascii_alphabetic())
}

/// The beginning of a month before a day.
fn month(text: Text<'_>, day: usize) -> usize {
    let end = text.run_start(day, day.saturating_sub(2), |byte| matches!(byte, b' ' | b',' | b'-' | b'.' | b'/'));
    let start = text.run_start(end, end.saturating_sub(10), |byte| byte.is_ascii_alphabetic());
    if start < end && is_month(text.slice(start..end)) { start } else { day }
}
