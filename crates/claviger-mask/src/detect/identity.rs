//! Numbers of taxpayers in the United States: SSN, ITIN and EIN.

use super::Entity;
use super::context::Topics;
use super::numbers::{Cluster, Edge};
use super::scan::Scan;
use super::text::number;

/// What nine digits are: an SSN (areas 000, 666 and 9xx were never given out, nor group 00 or serial 0000; SSA, POMS RM 10201.035) or
/// an ITIN (9xx with groups 50-65, 70-88, 90-92 and 94-99; IRS, Publication 1915).
pub(super) fn kind(digits: &[u8]) -> Option<Entity> {
    let (area, rest) = digits.split_at_checked(3)?;
    let (group, serial) = rest.split_at_checked(2)?;
    let (area, group, serial) = (number(area), number(group), number(serial));
    match (area, group, serial) {
        (900.., 50..=65 | 70..=88 | 90..=92 | 94..=99, _) => Some(Entity::Itin),
        (0 | 666 | 900.., _, _) | (_, 0, _) | (_, _, 0) => None,
        _ => Some(Entity::Ssn),
    }
}

/// Whether an EIN may begin so (IRS, *How EINs are assigned and valid EIN prefixes*).
fn is_ein_prefix(prefix: u32) -> bool {
    !matches!(prefix, 0 | 7..=9 | 17..=19 | 28 | 29 | 49 | 69 | 70 | 78 | 79 | 89 | 96 | 97)
}

impl Scan<'_, '_> {
    pub(super) fn social_security(&mut self, cluster: &Cluster, i: usize) -> Option<usize> {
        if let Some([3, 2, 4]) = cluster.shape(i) {
            return self.three(cluster, i);
        }
        let (end, shape) = (i + 2, cluster.shape::<2>(i)?);
        if !matches!(shape, [3, 6] | [5, 4] | [2, 7]) || cluster.separator(i + 1) != b'-' || !cluster.is_alone(i, end, b'-') {
            return None;
        }
        let entity = match shape {
            [2, 7] => {
                let prefix = cluster.group(i);
                is_ein_prefix(number(self.text.slice(prefix.start..prefix.end))).then_some(Entity::Ein)?
            }
            _ => self.kind_of(cluster, i, end)?,
        };
        let (start, stop) = (cluster.group(i).start, cluster.group(end - 1).end);
        let topics = if entity == Entity::Ein { Topics::TAX } else { Topics::SSN | Topics::TAX };
        if !self.words.about(start, stop).meets(topics) {
            return None;
        }
        self.report(entity, start..stop, 85);
        Some(end)
    }

    /// Three, two and four digits.
    fn three(&mut self, cluster: &Cluster, i: usize) -> Option<usize> {
        let end = i + 3;
        let (first, second) = (cluster.separator(i + 1), cluster.separator(i + 2));
        let entity = self.kind_of(cluster, i, end)?;
        if !cluster.is_alone(i, end, first) {
            return None;
        }
        let (start, stop) = (cluster.group(i).start, cluster.group(end - 1).end);
        let attached = i == 0 && cluster.before == Edge::Letters && first != b'-';
        if first != second || first == b'(' || attached {
            self.words.about(start, stop).meets(Topics::SSN | Topics::TAX).then_some(())?;
        }
        self.report(entity, start..stop, 90);
        Some(end)
    }

    fn kind_of(&self, cluster: &Cluster, i: usize, end: usize) -> Option<Entity> {
        let mut digits = [0; 9];
        self.text.digits(cluster.group(i).start..cluster.group(end - 1).end, &mut digits);
        kind(&digits.map(|digit| digit + b'0'))
    }
}
