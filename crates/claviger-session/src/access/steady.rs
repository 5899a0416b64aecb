//! A time that goes on as it should, whoever sets the machine's clock.

use std::time::Duration;

use claviger_model::Timestamp;

/// The time, from a beginning on, by a clock that nobody can set.
pub struct Steady {
    base: Timestamp,
    running: Box<dyn Fn() -> Duration + Send + Sync>,
}

impl Steady {
    /// It was this time when what is running ran for nothing yet.
    pub fn new(base: Timestamp, running: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { base, running: Box::new(running) }
    }

    /// The same, but not before this.
    #[must_use]
    pub fn not_before(self, earliest: Timestamp) -> Self {
        Self { base: self.base.max(earliest), ..self }
    }

    /// The time by which what is given is given.
    pub(super) fn now(&self) -> Timestamp {
        let micros = i64::try_from((self.running)().as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.base.as_micros().saturating_add(micros))
    }

    /// The time by which it ends: the machine's, where that is later. Setting it back prolongs nothing, and setting it forward gives nothing.
    pub(super) fn latest(&self, clock: Timestamp) -> Timestamp {
        self.now().max(clock)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn it_goes_on_whatever_the_clock_says() {
        let ran = Arc::new(AtomicU64::new(0));
        let running = Arc::clone(&ran);
        let at = Timestamp::from_secs;
        let steady = Steady::new(at(100), move || Duration::from_secs(running.load(Ordering::Relaxed)));
        assert_eq!((steady.now(), steady.latest(at(50)), steady.latest(at(500))), (at(100), at(100), at(500)));
        ran.store(10, Ordering::Relaxed);
        assert_eq!((steady.now(), steady.latest(at(50))), (at(110), at(110)), "neither does what the clock said once stay");
        assert_eq!(steady.not_before(at(300)).now(), at(310));
    }
}
