//! How many sessions each upstream bears, and who is next when it bears no more.
//!
//! Logins that must wait are served in turn: one of each principal, and then the next of each, so that a principal who opens a
//! hundred sessions at once makes others wait for one of them and not for all. When the queue is full, a principal who has fewer in it
//! takes the place of the last of whoever has most.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use claviger_model::{ConnectionName, PrincipalKey};

/// The budgets of all connections.
#[derive(Default)]
pub(crate) struct Budgets(Mutex<BTreeMap<ConnectionName, Arc<Budget>>>);

/// How one connection's budget stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetReading {
    /// Sessions upstream, and those on their way there.
    pub used: usize,
    /// The most that there may be, if there is a most.
    pub limit: Option<usize>,
    /// Logins that wait.
    pub waiting: usize,
}

/// One connection's budget.
#[derive(Default)]
pub(crate) struct Budget(Mutex<State>);

#[derive(Default)]
struct State {
    limit: Option<usize>,
    used: usize,
    last_ticket: u64,
    /// Principals that wait, each once, the next in turn first.
    turns: VecDeque<PrincipalKey>,
    /// Their tickets, oldest first.
    tickets: HashMap<PrincipalKey, VecDeque<u64>>,
    /// Who is to be woken for a ticket; tickets that were called have none.
    wakers: HashMap<u64, Option<Waker>>,
    /// Tickets that made way for somebody else's, until their holders have heard of it.
    displaced: HashSet<u64>,
    waiting: usize,
}

/// One session's share of a budget. Dropping it calls the next.
pub(crate) struct Slot(Arc<Budget>);

/// A place in the queue: resolves to a slot, unless it must make way. Dropping it leaves the queue.
pub(crate) struct Ticket {
    budget: Arc<Budget>,
    who: PrincipalKey,
    number: u64,
    done: bool,
}

/// The queue is as long as it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

impl Budgets {
    /// The budget of a connection.
    pub(crate) fn of(&self, connection: &ConnectionName) -> Arc<Budget> {
        Arc::clone(lock(&self.0).entry(connection.clone()).or_default())
    }

    /// Forgets the budgets of connections that are gone, once nobody has a part in them.
    pub(crate) fn keep(&self, is_kept: impl Fn(&ConnectionName) -> bool) {
        lock(&self.0).retain(|name, budget| {
            let state = lock(&budget.0);
            is_kept(name) || state.used > 0 || state.waiting > 0
        });
    }

    pub(crate) fn readings(&self) -> Vec<(ConnectionName, BudgetReading)> {
        let reading = |budget: &Budget| {
            let state = lock(&budget.0);
            BudgetReading { used: state.used, limit: state.limit, waiting: state.waiting }
        };
        lock(&self.0).iter().map(|(name, budget)| (name.clone(), reading(budget))).collect()
    }
}

impl Budget {
    /// Sets the most sessions that there may be, and calls those that there is room for.
    pub(crate) fn set_limit(&self, limit: Option<usize>) {
        let mut state = lock(&self.0);
        state.limit = limit;
        state.call();
    }

    /// A ticket for this principal, unless so many wait already and nobody has more of them. Where there is room, it is called at once.
    pub(crate) fn ask(self: &Arc<Self>, who: &PrincipalKey, most_waiting: usize) -> Result<Ticket, QueueFull> {
        let mut state = lock(&self.0);
        if state.waiting >= most_waiting.max(1) && !state.make_way(who) {
            return Err(QueueFull);
        }
        state.last_ticket += 1;
        let number = state.last_ticket;
        state.wakers.insert(number, None);
        state.waiting += 1;
        let queue = state.tickets.entry(who.clone()).or_default();
        queue.push_back(number);
        if queue.len() == 1 {
            state.turns.push_back(who.clone());
        }
        state.call();
        Ok(Ticket { budget: Arc::clone(self), who: who.clone(), number, done: false })
    }
}

impl State {
    /// Calls as many as there is room for: one ticket of the principal whose turn it is, who then goes to the end.
    fn call(&mut self) {
        while self.limit.is_none_or(|limit| self.used < limit) {
            let Some(who) = self.turns.pop_front() else { return };
            let Some(queue) = self.tickets.get_mut(&who) else { continue };
            let called = queue.pop_front();
            if queue.is_empty() {
                self.tickets.remove(&who);
            } else {
                self.turns.push_back(who);
            }
            if let Some(number) = called {
                self.used += 1;
                self.waiting -= 1;
                if let Some(waker) = self.wakers.remove(&number).flatten() {
                    waker.wake();
                }
            }
        }
    }

    /// Takes the newest ticket from whoever has most, if that leaves them no fewer than this one shall have: whether there was one.
    fn make_way(&mut self, who: &PrincipalKey) -> bool {
        let own = self.tickets.get(who).map_or(0, VecDeque::len);
        let most = self.tickets.values_mut().max_by_key(|queue| queue.len()).filter(|queue| queue.len() > own + 1);
        let Some(number) = most.and_then(VecDeque::pop_back) else { return false };
        self.waiting -= 1;
        self.displaced.insert(number);
        if let Some(waker) = self.wakers.remove(&number).flatten() {
            waker.wake();
        }
        true
    }

    fn give_back(&mut self) {
        self.used = self.used.saturating_sub(1);
        self.call();
    }
}

impl Future for Ticket {
    type Output = Result<Slot, QueueFull>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let budget = Arc::clone(&self.budget);
        let mut state = lock(&budget.0);
        if state.displaced.remove(&self.number) {
            self.done = true;
            return Poll::Ready(Err(QueueFull));
        }
        match state.wakers.get_mut(&self.number) {
            Some(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            None => {
                self.done = true;
                Poll::Ready(Ok(Slot(Arc::clone(&budget))))
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut state = lock(&self.budget.0);
        if state.displaced.remove(&self.number) {
            return;
        }
        if state.wakers.remove(&self.number).is_none() {
            // It was called, and nobody came.
            state.give_back();
            return;
        }
        state.waiting -= 1;
        if let Some(queue) = state.tickets.get_mut(&self.who) {
            queue.retain(|number| *number != self.number);
            if queue.is_empty() {
                state.tickets.remove(&self.who);
                state.turns.retain(|who| *who != self.who);
            }
        }
    }
}

impl Slot {
    /// Whether there is a most, so that others may wait for it.
    pub(crate) fn is_limited(&self) -> bool {
        lock(&self.0.0).limit.is_some()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.0.0).give_back();
    }
}

/// A poisoned lock guards what is whole between statements that cannot panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn who(name: &str) -> PrincipalKey {
        PrincipalKey::new("local", name)
    }

    fn poll(ticket: &mut Ticket) -> Option<Slot> {
        match Pin::new(ticket).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(slot) => slot.ok(),
            Poll::Pending => None,
        }
    }

    fn budget(limit: usize) -> Arc<Budget> {
        let budget = Arc::new(Budget::default());
        budget.set_limit(Some(limit));
        budget
    }

    #[test]
    fn principals_take_turns() {
        let budget = budget(1);
        let mut slot = poll(&mut budget.ask(&who("ana"), 100).unwrap());
        let names = ["ana", "ana", "ana", "eve", "bob", "eve"];
        let mut waiting: Vec<(&str, Ticket)> =
            names.into_iter().map(|name| (name, budget.ask(&who(name), 100).unwrap())).collect();
        let mut served = Vec::new();
        while !waiting.is_empty() {
            assert!(waiting.iter_mut().all(|(_, ticket)| poll(ticket).is_none()), "there is one slot, and it is taken");
            drop(slot.take());
            let next = waiting.iter_mut().position(|(_, ticket)| {
                slot = poll(ticket);
                slot.is_some()
            });
            served.push(waiting.remove(next.unwrap()).0);
        }
        assert_eq!(served, ["ana", "eve", "bob", "ana", "eve", "ana"]);
    }

    #[test]
    fn the_queue_is_bounded_and_can_be_left() {
        let budget = budget(1);
        let slot = poll(&mut budget.ask(&who("ana"), 2).unwrap());
        let (first, mut second) = (budget.ask(&who("ana"), 2).unwrap(), budget.ask(&who("ana"), 2).unwrap());
        assert_eq!(budget.ask(&who("ana"), 2).err(), Some(QueueFull));
        drop(first);
        let third = budget.ask(&who("eve"), 2).unwrap();
        drop(slot);
        let slot = poll(&mut second);
        assert!(slot.is_some());
        drop(slot);
        // Called, and gone without having been looked at: its slot is free again.
        drop(third);
        let state = lock(&budget.0);
        assert_eq!((state.used, state.waiting), (0, 0));
        assert!(state.turns.is_empty() && state.tickets.is_empty() && state.wakers.is_empty());
    }

    #[test]
    fn nobody_is_kept_out_of_the_queue_by_one_who_fills_it() {
        let budget = budget(1);
        let slot = poll(&mut budget.ask(&who("eve"), 3).unwrap());
        let mut eves: Vec<_> = (0..3).map(|_| budget.ask(&who("eve"), 3).unwrap()).collect();
        assert_eq!(budget.ask(&who("eve"), 3).err(), Some(QueueFull), "she takes no place from herself");
        let mut bob = budget.ask(&who("bob"), 3).unwrap();
        // Her last one has made way and hears it; the others wait in turn with Bob's.
        let mut last = eves.pop().unwrap();
        let heard = Pin::new(&mut last).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(heard, Poll::Ready(Err(QueueFull))));
        assert_eq!(budget.ask(&who("bob"), 3).err(), Some(QueueFull), "he has as many as she would have left");
        drop(slot);
        let first = poll(&mut eves[0]);
        assert!(first.is_some() && poll(&mut bob).is_none());
        drop(first);
        assert!(poll(&mut bob).is_some());
        // One that made way and never looked leaves nothing behind.
        let slot = poll(&mut eves.pop().unwrap());
        let gone: Vec<_> = (0..3).map(|_| budget.ask(&who("eve"), 3).unwrap()).collect();
        let bob = budget.ask(&who("bob"), 3).unwrap();
        drop((gone, bob, slot));
        let state = lock(&budget.0);
        assert_eq!((state.used, state.waiting), (0, 0));
        assert!(state.turns.is_empty() && state.tickets.is_empty() && state.wakers.is_empty() && state.displaced.is_empty());
    }

    #[test]
    fn a_wider_budget_calls_those_that_wait() {
        let budget = budget(0);
        let mut tickets: Vec<_> = (0..3).map(|_| budget.ask(&who("ana"), 10).unwrap()).collect();
        assert!(tickets.iter_mut().all(|ticket| poll(ticket).is_none()));
        budget.set_limit(Some(2));
        let slots: Vec<_> = tickets.iter_mut().filter_map(poll).collect();
        assert_eq!(slots.len(), 2);
        // A narrower one takes nothing away from those that have.
        budget.set_limit(Some(1));
        drop(slots);
        assert!(tickets.last_mut().and_then(poll).is_some());
        budget.set_limit(None);
        assert!(poll(&mut budget.ask(&who("eve"), 1).unwrap()).is_some());
    }
}
