//! How many clients may be there that have not said who they are: all together, and from each address.
//!
//! They are counted apart from those who have, so that strangers cannot take the places of clients that are known. Where there
//! is no place left, the one who has been silent longest makes way: somebody who means to log in does so at once, and however
//! many sockets somebody else opens and leaves alone, there is a place for him.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::poll_fn;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// How many unknown clients there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArrivalLimits {
    /// At the same time.
    pub all: usize,
    /// From one address, or from one network of 64 bits in IPv6.
    pub each: usize,
}

/// The places of unknown clients, on all listeners.
pub struct Places(Mutex<State>);

struct State {
    limits: ArrivalLimits,
    last: u64,
    /// By the order of their arrival.
    taken: BTreeMap<u64, Taken>,
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
}

struct Taken {
    address: IpAddr,
    eviction: Arc<Mutex<Eviction>>,
}

/// What a place and its client share.
#[derive(Default)]
struct Eviction {
    /// The stable code of why the client must make way.
    code: Option<&'static str>,
    waker: Option<Waker>,
}

/// One client's place, until it is known. Dropping it gives it back.
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    eviction: Arc<Mutex<Eviction>>,
}

impl Places {
    /// Places within these limits.
    pub fn new(limits: ArrivalLimits) -> Self {
        Self(Mutex::new(State { limits, last: 0, taken: BTreeMap::new(), by_address: HashMap::new() }))
    }

    /// Changes the limits. Who has a place keeps it until somebody else needs it.
    pub fn set_limits(&self, limits: ArrivalLimits) {
        lock(&self.0).limits = limits;
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        lock(&self.0).taken.len()
    }

    /// A place for a client from this address, if need be that of another.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Place {
        let address = network(address);
        let mut state = lock(&self.0);
        while let Some(oldest) =
            state.by_address.get(&address).filter(|own| own.len() >= state.limits.each).and_then(BTreeSet::first)
        {
            let oldest = *oldest;
            state.evict(oldest, "limit.address");
        }
        while state.taken.len() >= state.limits.all {
            let Some(oldest) = state.taken.keys().next().copied() else { break };
            state.evict(oldest, "limit.unauthenticated");
        }
        state.last += 1;
        let (number, eviction) = (state.last, Arc::<Mutex<Eviction>>::default());
        state.taken.insert(number, Taken { address, eviction: Arc::clone(&eviction) });
        state.by_address.entry(address).or_default().insert(number);
        drop(state);
        Place { places: Arc::clone(self), number, eviction }
    }
}

impl State {
    fn evict(&mut self, number: u64, code: &'static str) {
        let Some(taken) = self.forget(number) else { return };
        let mut eviction = lock(&taken.eviction);
        eviction.code = Some(code);
        if let Some(waker) = eviction.waker.take() {
            waker.wake();
        }
    }

    fn forget(&mut self, number: u64) -> Option<Taken> {
        let taken = self.taken.remove(&number)?;
        if let Some(own) = self.by_address.get_mut(&taken.address) {
            own.remove(&number);
            if own.is_empty() {
                self.by_address.remove(&taken.address);
            }
        }
        Some(taken)
    }
}

impl Place {
    /// The stable code of why the client must make way, when it must.
    pub(crate) fn poll_evicted(&self, cx: &mut Context<'_>) -> Poll<&'static str> {
        let mut eviction = lock(&self.eviction);
        if let Some(code) = eviction.code {
            return Poll::Ready(code);
        }
        if !eviction.waker.as_ref().is_some_and(|kept| kept.will_wake(cx.waker())) {
            eviction.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Resolves when the client must make way, to the stable code of why.
    pub(crate) async fn evicted(&self) -> &'static str {
        poll_fn(|cx| self.poll_evicted(cx)).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.places.0).forget(self.number);
    }
}

/// Whoever has an IPv6 network has all its addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// A poisoned lock guards what is whole between statements that cannot panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn places(all: usize, each: usize) -> Arc<Places> {
        Arc::new(Places::new(ArrivalLimits { all, each }))
    }

    fn take(places: &Arc<Places>, address: &str) -> Place {
        places.take(address.parse().unwrap())
    }

    fn evicted(place: &Place) -> Option<&'static str> {
        match place.poll_evicted(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(code) => Some(code),
            Poll::Pending => None,
        }
    }

    #[test]
    fn the_oldest_of_an_address_makes_way_for_its_newest() {
        let places = places(10, 2);
        let other = take(&places, "192.0.2.2");
        let (first, second) = (take(&places, "192.0.2.1"), take(&places, "::ffff:192.0.2.1"));
        assert_eq!(evicted(&first), None);
        let third = take(&places, "192.0.2.1");
        assert_eq!((evicted(&first), evicted(&second), evicted(&third)), (Some("limit.address"), None, None));
        assert_eq!((evicted(&other), places.taken()), (None, 3));
        let (_one, two) = (take(&places, "2001:db8::1"), take(&places, "2001:db8::ffff:1"));
        let _three = take(&places, "2001:db8::2");
        assert_eq!(evicted(&_one), Some("limit.address"), "one network is one address");
        assert_eq!(evicted(&two), None);
    }

    #[test]
    fn the_oldest_of_all_makes_way_when_there_is_no_place() {
        let places = places(2, 2);
        let (first, second) = (take(&places, "192.0.2.1"), take(&places, "192.0.2.2"));
        let third = take(&places, "192.0.2.3");
        assert_eq!((evicted(&first), evicted(&second), evicted(&third)), (Some("limit.unauthenticated"), None, None));
        drop((first, second));
        assert_eq!(places.taken(), 1);
        let _fourth = take(&places, "192.0.2.4");
        assert_eq!(evicted(&third), None, "a place that was given back is used first");
        drop((third, _fourth));
        let state = lock(&places.0);
        assert!(state.taken.is_empty() && state.by_address.is_empty());
    }
}
