//! How long to wait before a message is tried again.

use std::time::Duration;

/// The shortest wait and the longest, before chance makes them differ.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

/// After so many attempts a message is given up.
pub(super) const MOST_ATTEMPTS: u32 = 500;

/// How long to wait after so many attempts: twice as long each time, and between half and one and a half of that by chance, so that many do not
/// come back at the same moment.
pub(super) fn wait(attempts: u32, chance: u16) -> Duration {
    let doubled = WAITS.0.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1))).min(WAITS.1);
    doubled / 2 + doubled.mul_f64(f64::from(chance) / f64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_twice_as_long_up_to_a_most() {
        let middle = |attempts| wait(attempts, u16::MAX / 2).as_secs_f64().round();
        assert_eq!([1, 2, 3, 4, 10, 11, 500, u32::MAX].map(middle), [1.0, 2.0, 4.0, 8.0, 512.0, 600.0, 600.0, 600.0]);
        assert_eq!((wait(3, 0), wait(3, u16::MAX)), (Duration::from_secs(2), Duration::from_secs(6)));
    }
}
