//! How often one actor may ask for approvals: as often as is said within a minute, at once or spread, and then as they come back one by one.

use std::collections::HashMap;
use std::time::Duration;

use claviger_model::{PrincipalKey, Timestamp};

/// The most actors who are remembered: those of the last minute.
const MOST_ACTORS: usize = 100_000;
/// From how many on those are looked for who need not be.
const TIDY: usize = 1000;

/// One minute, in microseconds.
const MINUTE: i64 = 60_000_000;

/// For each actor, when all that he may ask for will have come back.
#[derive(Default)]
pub(crate) struct Pace(HashMap<PrincipalKey, Timestamp>);

impl Pace {
    /// Counts a request, unless it is one too many: then the error is how long it takes until one more may be made. The time must never
    /// go back.
    pub(crate) fn take(&mut self, who: &PrincipalKey, per_minute: u32, now: Timestamp) -> Result<(), Duration> {
        let now = now.as_micros();
        if self.0.len() >= TIDY && !self.0.contains_key(who) {
            self.0.retain(|_, full| full.as_micros() > now);
            if self.0.len() >= MOST_ACTORS {
                return Err(Duration::from_micros(MINUTE.unsigned_abs()));
            }
        }
        let one = MINUTE / i64::from(per_minute.max(1));
        let full = self.0.get(who).map_or(now, |full| full.as_micros().max(now));
        let too_early = full + one - now - MINUTE;
        if too_early > 0 {
            return Err(Duration::from_micros(too_early.unsigned_abs()));
        }
        self.0.insert(who.clone(), Timestamp::from_micros(full + one));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_minute_each_and_not_one_more() {
        let mut pace = Pace::default();
        let (bot, ann) = (PrincipalKey::new("local", "bot"), PrincipalKey::new("local", "ann"));
        let at = |millis: i64| Timestamp::from_micros(millis * 1000);
        assert!((0..3).all(|_| pace.take(&bot, 3, at(0)).is_ok()));
        assert_eq!(pace.take(&bot, 3, at(0)), Err(Duration::from_secs(20)));
        assert_eq!(pace.take(&ann, 3, at(0)), Ok(()), "each has his own");
        assert_eq!(pace.take(&bot, 3, at(19_999)), Err(Duration::from_millis(1)), "what is refused costs nothing");
        assert_eq!(pace.take(&bot, 3, at(20_000)), Ok(()));
        assert_eq!(pace.take(&bot, 3, at(20_000)), Err(Duration::from_secs(20)));
        assert!((0..3).all(|_| pace.take(&bot, 3, at(200_000)).is_ok()), "and no more are saved up");
        assert!(pace.take(&bot, 3, at(200_000)).is_err());
    }

    #[test]
    fn only_those_of_the_last_minute_are_remembered() {
        let mut pace = Pace::default();
        for n in 0..10 * TIDY {
            let now = Timestamp::from_secs(i64::try_from(n).unwrap_or_default());
            assert!(pace.take(&PrincipalKey::new("local", format!("bot{n}").as_str()), 1, now).is_ok());
        }
        assert!(pace.0.len() <= TIDY, "{}", pace.0.len());
    }
}
