//! How many clients may be in at the same time: all together, and each principal by itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use claviger_model::PrincipalKey;

/// The clients that have proved who they are, from then until their last byte.
#[derive(Default)]
pub(crate) struct Seats(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    all: usize,
    by_actor: HashMap<PrincipalKey, usize>,
}

/// One client's seat. Dropping it gives it back.
pub(crate) struct Seat {
    seats: Arc<Seats>,
    actor: PrincipalKey,
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSeat {
    /// All are taken.
    Full,
    /// This principal has as many as it may have.
    OfPrincipal,
}

impl Seats {
    /// A seat for this actor, where there are so many, and so many for each principal.
    pub(crate) fn take(self: &Arc<Self>, actor: &PrincipalKey, all: usize, each: usize) -> Result<Seat, NoSeat> {
        let mut taken = self.lock();
        if taken.all >= all {
            return Err(NoSeat::Full);
        }
        let own = taken.by_actor.entry(actor.clone()).or_default();
        if *own >= each {
            return Err(NoSeat::OfPrincipal);
        }
        *own += 1;
        taken.all += 1;
        Ok(Seat { seats: Arc::clone(self), actor: actor.clone() })
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.lock().all
    }

    /// A poisoned lock guards counters that are right after every statement that can panic, of which there is none.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        taken.all = taken.all.saturating_sub(1);
        if let Some(own) = taken.by_actor.get_mut(&self.actor) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.by_actor.remove(&self.actor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_bounded_in_total_and_for_each_principal() {
        let seats = Arc::new(Seats::default());
        let (ana, eve, bob) =
            (PrincipalKey::new("local", "ana"), PrincipalKey::new("local", "eve"), PrincipalKey::new("local", "bob"));
        let take = |who| seats.take(who, 3, 2);
        let first = take(&ana);
        let _second = take(&ana);
        assert_eq!(take(&ana).err(), Some(NoSeat::OfPrincipal));
        let _third = take(&eve);
        assert_eq!(take(&bob).err(), Some(NoSeat::Full));
        drop(first);
        assert_eq!(seats.taken(), 2);
        let bobs = take(&bob);
        assert!(bobs.is_ok());
        drop((bobs, _second, _third));
        assert_eq!((seats.taken(), seats.lock().by_actor.len()), (0, 0));
    }
}
