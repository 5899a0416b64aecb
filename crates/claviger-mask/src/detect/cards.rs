//! Payment cards (ISO/IEC 7812): the networks' ranges and lengths, and the Luhn check.

use super::Entity;
use super::context::Topics;
use super::numbers::{Cluster, Edge, Group};
use super::scan::Scan;
use super::text::luhn;

const SHORTEST: usize = 12;
const LONGEST: usize = 19;

/// A network's range of first digits, the lengths of its numbers, and those lengths that are rare enough among other numbers to count
/// without a word about cards.
struct Range {
    first: u32,
    last: u32,
    lengths: Lengths,
    plain: Lengths,
}

/// A set of lengths.
#[derive(Clone, Copy)]
struct Lengths(u32);

impl Lengths {
    const NONE: Self = Self(0);

    const fn from(first: u32, last: u32) -> Self {
        Self((1 << (last + 1)) - (1 << first))
    }

    const fn and(self, other: u32) -> Self {
        Self(self.0 | 1 << other)
    }

    fn has(self, length: usize) -> bool {
        self.0 >> length & 1 == 1
    }
}

const SIXTEEN: Lengths = Lengths::from(16, 16);
const TO_NINETEEN: Lengths = Lengths::from(16, 19);
const ALL: Lengths = Lengths::from(12, 19);

/// First digits as four of them: `51` is 5100 to 5199.
const NETWORKS: &[Range] = &[
    // Visa
    Range { first: 4000, last: 4999, lengths: SIXTEEN.and(13).and(19), plain: SIXTEEN },
    // Mastercard
    Range { first: 5100, last: 5599, lengths: SIXTEEN, plain: SIXTEEN },
    Range { first: 2221, last: 2720, lengths: SIXTEEN, plain: SIXTEEN },
    // American Express
    Range { first: 3400, last: 3499, lengths: Lengths::from(15, 15), plain: Lengths::from(15, 15) },
    Range { first: 3700, last: 3799, lengths: Lengths::from(15, 15), plain: Lengths::from(15, 15) },
    // Diners Club
    Range { first: 3000, last: 3059, lengths: Lengths::from(14, 19), plain: Lengths::from(14, 14).and(16) },
    Range { first: 3095, last: 3095, lengths: Lengths::from(14, 19), plain: Lengths::from(14, 14).and(16) },
    Range { first: 3600, last: 3699, lengths: Lengths::from(14, 19), plain: Lengths::from(14, 14).and(16) },
    Range { first: 3800, last: 3999, lengths: Lengths::from(14, 19), plain: Lengths::from(14, 14).and(16) },
    // JCB
    Range { first: 3500, last: 3599, lengths: TO_NINETEEN, plain: SIXTEEN },
    Range { first: 2131, last: 2131, lengths: Lengths::from(15, 15), plain: Lengths::from(15, 15) },
    Range { first: 1800, last: 1800, lengths: Lengths::from(15, 15), plain: Lengths::from(15, 15) },
    // Discover
    Range { first: 6011, last: 6011, lengths: TO_NINETEEN, plain: SIXTEEN },
    Range { first: 6440, last: 6599, lengths: TO_NINETEEN, plain: SIXTEEN },
    // UnionPay
    Range { first: 6200, last: 6299, lengths: TO_NINETEEN, plain: TO_NINETEEN },
    Range { first: 8100, last: 8171, lengths: TO_NINETEEN, plain: SIXTEEN },
    // Mir
    Range { first: 2200, last: 2204, lengths: TO_NINETEEN, plain: SIXTEEN },
    // RuPay, BC, Verve, Elo, Hipercard
    Range { first: 6000, last: 6099, lengths: SIXTEEN.and(19), plain: SIXTEEN },
    Range { first: 8200, last: 8299, lengths: SIXTEEN, plain: SIXTEEN },
    Range { first: 5061, last: 5099, lengths: SIXTEEN.and(18).and(19), plain: SIXTEEN },
    Range { first: 3841, last: 3841, lengths: SIXTEEN.and(13).and(19), plain: SIXTEEN },
    // Troy, UzCard, Humo
    Range { first: 9792, last: 9792, lengths: SIXTEEN, plain: SIXTEEN },
    Range { first: 8600, last: 8600, lengths: SIXTEEN, plain: SIXTEEN },
    Range { first: 9860, last: 9860, lengths: SIXTEEN, plain: SIXTEEN },
    // UATP
    Range { first: 1000, last: 1999, lengths: Lengths::from(15, 15), plain: Lengths::NONE },
    // Maestro, InstaPayment, InterPayment and others of their ranges
    Range { first: 5000, last: 5099, lengths: ALL, plain: SIXTEEN },
    Range { first: 5600, last: 5899, lengths: ALL, plain: SIXTEEN },
    Range { first: 6000, last: 6999, lengths: ALL, plain: SIXTEEN },
    Range { first: 604, last: 604, lengths: ALL, plain: Lengths::NONE },
];

/// Whether these digits may be a card's: with a word about cards, and without.
fn network(digits: &[u8]) -> (bool, bool) {
    let first = digits.iter().take(4).fold(0, |number, digit| number * 10 + u32::from(*digit));
    let ranges = NETWORKS.iter().filter(|range| (range.first..=range.last).contains(&first));
    ranges.fold((false, false), |(some, plain), range| {
        (some || range.lengths.has(digits.len()), plain || range.plain.has(digits.len()))
    })
}

/// How cards write their numbers in groups.
const LAYOUTS: &[&[usize]] = &[
    &[4, 4, 4, 4],
    &[4, 6, 5],
    &[4, 6, 4],
    &[4, 4, 5],
    &[4, 4, 4],
    &[4, 4, 4, 1],
    &[4, 4, 4, 2],
    &[4, 4, 4, 3],
    &[4, 4, 4, 4, 1],
    &[4, 4, 4, 4, 2],
    &[4, 4, 4, 4, 3],
    &[6, 13],
    &[6, 10],
    &[8, 8],
    &[4, 5, 6],
    &[5, 4, 5, 2],
];

impl Scan<'_, '_> {
    pub(super) fn card(&mut self, cluster: &Cluster, i: usize) -> Option<usize> {
        let mut digits = [0; LONGEST];
        let separator = cluster.separator(i + 1);
        let mut length = 0;
        for end in i + 1..=cluster.count() {
            if end > i + 1 && cluster.separator(end - 1) != separator {
                break;
            }
            let group = cluster.group(end - 1);
            if length + group.len() > LONGEST {
                break;
            }
            length += self.text.digits(group.start..group.end, digits.get_mut(length..).unwrap_or_default());
            if length >= SHORTEST && self.is_card(cluster, i, end, digits.get(..length).unwrap_or_default()) {
                self.report(Entity::CreditCard, cluster.group(i).start..group.end, 90);
                return Some(end);
            }
        }
        None
    }

    /// Whether the groups from `i` up to `end`, which hold these digits, are a card.
    fn is_card(&mut self, cluster: &Cluster, i: usize, end: usize, digits: &[u8]) -> bool {
        if !luhn(digits) || digits.iter().skip(1).all(|digit| digits.first() == Some(digit)) {
            return false;
        }
        let (known, plain) = network(digits);
        // What a text calls a card is one, whoever issues it.
        if !known && (digits.len() < 14 || digits.first() < Some(&2)) {
            return false;
        }
        let lengths = || cluster.between(i, end).map(Group::len);
        let one = end == i + 1;
        let laid_out = LAYOUTS.iter().any(|layout| layout.iter().copied().eq(lengths()));
        // Four of a long row of groups of four are none.
        let beside = (i > 0 && cluster.group(i - 1).len() == 4) || cluster.group(end).len() == 4;
        let single_digits = lengths().all(|length| length == 1);
        let apart = if one {
            // Digits of a bare number are not to be part of something that is joined by hyphens or dots.
            cluster.is_alone(i, end, b'.')
        } else {
            cluster.is_alone(i, end, cluster.separator(i + 1)) || (laid_out && cluster.separator(i + 1) == b' ' && !beside)
        };
        let attached =
            (i == 0 && cluster.before == Edge::Letters) || (one && end == cluster.count() && cluster.after == Edge::Letters);
        if !apart {
            return false;
        }
        if known && !attached && ((one && plain) || laid_out || single_digits) {
            return true;
        }
        let (start, end) = (cluster.group(i).start, cluster.group(end - 1).end);
        self.words.about(start, end).meets(Topics::CARD)
    }
}
