//! Whether the end of a text that is not all there may be the beginning of what a pattern matches.
//!
//! The pattern's own automaton is followed from the earliest place from which it is still alive. What it matches is for the pattern itself
//! to say; here it is only told from where on that is not certain yet. So whatever depends on what follows counts as a yes.

use std::ops::Range;

use regex_automata::nfa::thompson::{NFA, State, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_automata::util::syntax;

use super::config::Pattern;

/// A pattern's automaton.
#[derive(Clone, Debug)]
pub(super) struct Automaton {
    nfa: NFA,
    /// What a match can begin with.
    first: [bool; 256],
}

impl Automaton {
    /// `None` if it takes more memory than this.
    pub(super) fn new(pattern: &str, most: usize) -> Option<Self> {
        let config = NFA::config().utf8(false).which_captures(WhichCaptures::None).nfa_size_limit(Some(most));
        let syntax = syntax::Config::new().utf8(false);
        let nfa = NFA::compiler().configure(config).syntax(syntax).build(pattern).ok()?;
        let mut automaton = Self { nfa, first: [false; 256] };
        let mut threads = Threads::default();
        threads.add(automaton.nfa.start_anchored());
        let mut first = [false; 256];
        for (byte, place) in (0..=u8::MAX).zip(first.iter_mut()) {
            let mut next = Threads::default();
            automaton.step(&threads, &[byte], 0, false, &mut next);
            *place = !next.0.is_empty();
        }
        automaton.first = first;
        Some(automaton)
    }

    /// What becomes of threads with the byte at this place. Of conditions on the surroundings it is asked whether they are met if `exact`;
    /// else they are.
    fn step(&self, threads: &Threads, text: &[u8], at: usize, exact: bool, next: &mut Threads) {
        let Some(byte) = text.get(at).copied() else { return };
        self.each(threads, text, at, exact, |state| {
            let after = match state {
                State::ByteRange { trans } => trans.matches_byte(byte).then_some(trans.next),
                State::Sparse(sparse) => sparse.matches_byte(byte),
                State::Dense(dense) => dense.matches_byte(byte),
                _ => None,
            };
            if let Some(id) = after {
                next.add(id);
            }
        });
    }

    /// The threads of matches that begin anywhere in a text, conditions taken as met.
    pub(super) fn threads(&self, text: &[u8]) -> Threads {
        let mut threads = Threads::default();
        (0..text.len()).for_each(|at| self.follow(&mut threads, text, at));
        threads
    }

    /// Follows threads by a byte, by which a match may begin too.
    pub(super) fn follow(&self, threads: &mut Threads, text: &[u8], at: usize) {
        threads.add(self.nfa.start_anchored());
        let mut next = Threads::default();
        self.step(threads, text, at, false, &mut next);
        *threads = next;
    }

    /// Whether any of these threads may go on, or hangs on what follows, at the end of a text.
    pub(super) fn is_alive(&self, threads: &Threads, text: &[u8]) -> bool {
        let mut alive = false;
        self.each(threads, text, text.len(), false, |state| {
            alive |= !matches!(state, State::Match { .. } | State::Fail);
        });
        alive
    }

    /// All states that these threads are in without reading more; conditions themselves among them.
    fn each(&self, threads: &Threads, text: &[u8], at: usize, exact: bool, mut each: impl FnMut(&State)) {
        let mut open = threads.0.clone();
        let mut seen = threads.clone();
        let mut reach = |id: StateID, open: &mut Vec<StateID>| {
            if seen.add(id) {
                open.push(id);
            }
        };
        while let Some(id) = open.pop() {
            match self.nfa.state(id) {
                State::Look { look, next } => {
                    let met = !exact || self.nfa.look_matcher().matches(*look, text, at);
                    if met {
                        each(self.nfa.state(id));
                        reach(*next, &mut open);
                    }
                }
                State::Union { alternates } => alternates.iter().for_each(|id| reach(*id, &mut open)),
                State::BinaryUnion { alt1, alt2 } => {
                    reach(*alt1, &mut open);
                    reach(*alt2, &mut open);
                }
                State::Capture { next, .. } => reach(*next, &mut open),
                state => each(state),
            }
        }
    }
}

/// A set of states.
#[derive(Clone, Debug, Default)]
pub(super) struct Threads(Vec<StateID>);

impl Threads {
    /// Whether it is new.
    fn add(&mut self, id: StateID) -> bool {
        let new = !self.0.contains(&id);
        if new {
            self.0.push(id);
        }
        new
    }
}

/// What a pattern matches in a text that comes in parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    /// What begins before this is certain.
    start: usize,
    /// The threads that began there have read so far.
    at: usize,
    threads: Threads,
    /// Where a match may begin that has not been looked for.
    from: usize,
    /// Matches that are certain.
    pub(super) matches: Vec<Range<usize>>,
}

impl Pending {
    /// Reads on in a text that goes on, or does not.
    pub(super) fn go_on(&mut self, pattern: &Pattern, text: &[u8], ended: bool) {
        loop {
            if ended {
                self.start = text.len();
            } else {
                self.follow(&pattern.automaton, text);
            }
            let Some((found, span)) = pattern.next(text, self.from).filter(|(found, _)| found.start < self.start || ended) else {
                self.from = self.from.max(self.start);
                return;
            };
            self.from = found.end.max(found.start + 1);
            if !found.is_empty() {
                self.matches.push(span);
            }
            if self.from > self.start {
                self.begin(&pattern.automaton, self.from);
            }
        }
    }

    fn begin(&mut self, automaton: &Automaton, start: usize) {
        (self.start, self.at) = (start, start);
        self.threads = Threads::default();
        self.threads.add(automaton.nfa.start_anchored());
    }

    /// Finds the first place from which a match may go on behind the end of the text.
    fn follow(&mut self, automaton: &Automaton, text: &[u8]) {
        loop {
            if self.at == self.start {
                let rest = text.get(self.start..).unwrap_or_default();
                let skip = rest.iter().position(|byte| automaton.first.get(usize::from(*byte)).is_some_and(|first| *first));
                self.begin(automaton, self.start + skip.unwrap_or(rest.len()));
                if self.start >= text.len() {
                    return;
                }
            }
            while self.at < text.len() && !self.threads.0.is_empty() {
                let mut next = Threads::default();
                automaton.step(&self.threads, text, self.at, true, &mut next);
                self.threads = next;
                self.at += 1;
            }
            if automaton.is_alive(&self.threads, text) {
                return;
            }
            self.begin(automaton, self.start + 1);
        }
    }

    /// From where on nothing is certain.
    pub(super) fn pending(&self) -> usize {
        self.start
    }

    /// Begins anew at a place.
    pub(super) fn again(&mut self, place: usize) {
        *self = Self { start: place, at: place, from: place, ..Self::default() };
    }

    /// Takes off the first bytes of the text.
    pub(super) fn shift(&mut self, bytes: usize) {
        self.start = self.start.saturating_sub(bytes);
        self.at = self.at.saturating_sub(bytes);
        self.from = self.from.saturating_sub(bytes);
        self.matches.iter_mut().for_each(|span| *span = span.start.saturating_sub(bytes)..span.end.saturating_sub(bytes));
    }
}
