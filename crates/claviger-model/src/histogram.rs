//! How long things take, counted by many at once without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many bounds a histogram has.
const BOUNDS: usize = 20;

/// A histogram of durations, from microseconds to seconds. All its counters are relaxed: a reader sees each of them soon, and
/// not all of them as they stood at one moment.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS + 1],
    nanos: AtomicU64,
}

impl Histogram {
    /// The upper bounds of the buckets, in microseconds; one more bucket holds what is longer than all of them.
    pub const BOUNDS: [u64; BOUNDS] = [
        5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000,
        5_000_000, 10_000_000,
    ];

    /// Counts one.
    pub fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = Self::BOUNDS.partition_point(|bound| bound * 1000 < nanos);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What has been counted so far.
    pub fn tally(&self) -> Tally {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Tally { buckets: self.buckets.each_ref().map(read), nanos: read(&self.nanos) }
    }
}

/// What a histogram has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    buckets: [u64; BOUNDS + 1],
    nanos: u64,
}

impl Tally {
    /// How many were at most as long as each bound (in microseconds), ascending.
    pub fn at_most(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut sum = 0;
        Histogram::BOUNDS.into_iter().zip(self.buckets).map(move |(bound, count)| {
            sum += count;
            (bound, sum)
        })
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The bound, in microseconds, within which so many of a hundred were; the highest bound where they were beyond all of them. `None` if there
    /// were none.
    pub fn within(&self, percent: u64) -> Option<u64> {
        let count = self.count();
        let wanted = (count * percent).div_ceil(100);
        let bound = self.at_most().find(|(_, at_most)| *at_most >= wanted).map(|(bound, _)| bound);
        (count > 0).then(|| bound.or(Histogram::BOUNDS.last().copied()))?
    }

    /// How long all of them took together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// Adds what another has counted.
    pub fn add(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(bucket, more)| *bucket += more);
        self.nanos = self.nanos.saturating_add(other.nanos);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_bucket_that_ends_with_it() {
        let histogram = Histogram::default();
        for nanos in [0, 5000, 5001, 1_000_000, 10_000_000_000, 10_000_000_001, u64::MAX / 4] {
            histogram.observe(Duration::from_nanos(nanos));
        }
        let tally = histogram.tally();
        let at_most: Vec<_> = tally.at_most().collect();
        let of = |bound| at_most.iter().find(|(at, _)| *at == bound).map(|(_, count)| *count);
        assert_eq!((of(5), of(10), of(500), of(1000), of(10_000_000)), (Some(2), Some(3), Some(3), Some(4), Some(5)));
        assert_eq!(tally.count(), 7);
        assert_eq!((tally.within(1), tally.within(50), tally.within(99)), (Some(5), Some(1000), Some(10_000_000)));
        assert_eq!(Tally::default().within(50), None);
        let mut twice = tally.clone();
        twice.add(&tally);
        assert_eq!((twice.count(), twice.sum()), (14, tally.sum() * 2));
    }
}
