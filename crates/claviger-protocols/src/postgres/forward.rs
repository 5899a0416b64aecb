//! The queue between the client and the upstream: nothing leaves it undecided, nothing overtakes.

use std::marker::PhantomData;

use bytes::Bytes;
use claviger_model::{OpId, Refusal, RefusalKind};

use super::expect::Expect;
use super::message::{self, POISON, RESERVED};
use super::registry::Statement;
use super::{FRAME_COST, Postgres};
use crate::{Forward, Status};

/// A planned frame.
pub(super) enum Item<A> {
    /// Needs no decision of its own.
    Pass { bytes: Bytes, expect: Option<Expect> },
    /// Waits for the decision on an operation.
    Ask { op: OpId, bytes: Bytes, form: Form, verdict: Option<Verdict> },
    #[expect(dead_code, reason = "ties the queue to its admission")]
    Never(PhantomData<A>),
}

/// What kind of frame waits.
pub(super) enum Form {
    Query,
    Parse { name: Bytes, serial: u64, statement: Statement },
    Bind { portal: Bytes, statement: Statement },
    Execute { portal: Bytes },
}

/// What was decided.
pub(super) enum Verdict {
    Go(Forward),
    Refused(Refusal),
}
