//! The leaves of the log: what each kind of record says.

mod access;

use std::sync::Arc;

use claviger_model::{ApprovalId, Labels, Masked, Mode, OpId, SessionId, Timestamp, Tokens, TxId};

pub use self::access::{AccessEvent, AccessLeaf};

/// One leaf, before it is given its place in the log. The log adds `seq`, `boot` and `v`.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// When it happened.
    pub time: Timestamp,
    /// What happened.
    pub kind: LeafKind,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum LeafKind {
    /// The gateway started.
    Boot(BootLeaf),
    /// The gateway found and mended what an earlier run left behind.
    Recovery(RecoveryLeaf),
    /// An administrator's act.
    Admin(AdminLeaf),
    /// A session began.
    SessionOpen(SessionOpenLeaf),
    /// A session was refused.
    SessionRefused(SessionRefusedLeaf),
    /// Sessions were refused, too many for a leaf each.
    Refusals(RefusalsLeaf),
    /// A session ended.
    SessionClose(SessionCloseLeaf),
    /// An operation was asked for and decided.
    Request(RequestLeaf),
    /// An operation's bytes are about to leave for the upstream.
    Intent(IntentLeaf),
    /// An operation ended.
    Outcome(OutcomeLeaf),
    /// A transaction ended.
    TxEnd(TxEndLeaf),
    /// Something happened to a request for approval.
    Approval(ApprovalLeaf),
    /// Something happened to access that is given for a time.
    Access(AccessLeaf),
    /// Chunks of a recording were given up for want of room. Written by the log itself.
    Gap(GapLeaf),
}

impl LeafKind {
    /// The kind's name: the leaf's `type`.
    pub fn leaf_type(&self) -> LeafType {
        match self {
            Self::Boot(_) => LeafType::Boot,
            Self::Recovery(_) => LeafType::Recovery,
            Self::Admin(_) => LeafType::Admin,
            Self::SessionOpen(_) => LeafType::SessionOpen,
            Self::SessionRefused(_) => LeafType::SessionRefused,
            Self::Refusals(_) => LeafType::Refusals,
            Self::SessionClose(_) => LeafType::SessionClose,
            Self::Request(_) => LeafType::Request,
            Self::Intent(_) => LeafType::Intent,
            Self::Outcome(_) => LeafType::Outcome,
            Self::TxEnd(_) => LeafType::TxEnd,
            Self::Approval(_) => LeafType::Approval,
            Self::Access(_) => LeafType::Access,
            Self::Gap(_) => LeafType::Gap,
        }
    }
}

/// The name of a kind of leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Each is described at the variant of `LeafKind` with its name.
pub enum LeafType {
    Boot,
    Recovery,
    Admin,
    SessionOpen,
    SessionRefused,
    Refusals,
    SessionClose,
    Request,
    Intent,
    Outcome,
    TxEnd,
    Approval,
    Access,
    Gap,
}

impl LeafType {
    const ALL: [Self; 14] = [
        Self::Boot,
        Self::Recovery,
        Self::Admin,
        Self::SessionOpen,
        Self::SessionRefused,
        Self::Refusals,
        Self::SessionClose,
        Self::Request,
        Self::Intent,
        Self::Outcome,
        Self::TxEnd,
        Self::Approval,
        Self::Access,
        Self::Gap,
    ];

    /// The name as it stands in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Boot => "BOOT",
            Self::Recovery => "RECOVERY",
            Self::Admin => "ADMIN",
            Self::SessionOpen => "SESSION_OPEN",
            Self::SessionRefused => "SESSION_REFUSED",
            Self::Refusals => "REFUSALS",
            Self::SessionClose => "SESSION_CLOSE",
            Self::Request => "REQUEST",
            Self::Intent => "INTENT",
            Self::Outcome => "OUTCOME",
            Self::TxEnd => "TX_END",
            Self::Approval => "APPROVAL",
            Self::Access => "ACCESS",
            Self::Gap => "GAP",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// `BOOT`: the gateway started, or took up a changed configuration.
#[derive(Clone, Debug)]
pub struct BootLeaf {
    /// The gateway's version.
    pub version: Arc<str>,
    /// SHA-256 of the configuration in force, lower-case hexadecimal.
    pub config: Arc<str>,
    /// SHA-256 of the policy set in force, lower-case hexadecimal.
    pub policy: Arc<str>,
    /// Whether this is a reload of a running gateway.
    pub reload: bool,
}

/// `RECOVERY`: what an earlier run left behind was mended.
#[derive(Clone, Debug)]
pub struct RecoveryLeaf {
    /// The boot that left it, if its log could tell.
    pub of_boot: Option<Arc<str>>,
    /// Bytes of a torn last line cut off the log.
    pub log_bytes_cut: u64,
    /// Bytes of a torn last chunk cut off the recording.
    pub recording_bytes_cut: u64,
    /// Operations that had an intent and no outcome; each gets `OUTCOME unknown` after this leaf.
    pub operations_unknown: u64,
}

/// `ADMIN`: an administrator's act through API or command line.
#[derive(Clone, Debug)]
pub struct AdminLeaf {
    /// Who, as a chain text, or `local` for the command line on the gateway's own machine.
    pub who: Arc<str>,
    /// What, such as `principal.disable`, `token.issue`, `session.kill`.
    pub action: Arc<str>,
    /// On what: a principal key, a token id, a session id.
    pub target: Arc<str>,
    /// `permit` or `deny`.
    pub verdict: Verdict,
}

/// `SESSION_OPEN`: a client was let in and the upstream has accepted the gateway.
#[derive(Clone, Debug)]
pub struct SessionOpenLeaf {
    /// The session.
    pub session: SessionId,
    /// The chain, actor first, each `subject@issuer`.
    pub chain: Vec<Arc<str>>,
    /// The human end of the chain.
    pub sponsor: Option<Arc<str>>,
    /// The id (`jti`) of the token, which is not a secret, or that of the certificate.
    pub token: Option<Arc<str>>,
    /// By what the client proved who it is: `password` or `oauthbearer`, with a token, or `certificate`.
    pub proof: &'static str,
    /// The connection.
    pub connection: Arc<str>,
    /// The protocol's kind.
    pub protocol: Arc<str>,
    /// The connection's mode.
    pub mode: Mode,
    /// The client's address and port.
    pub client: Arc<str>,
    /// What the client calls itself.
    pub application: Option<Arc<str>>,
    /// The TLS version on the client's leg; `None` is plain text.
    pub tls: Option<Arc<str>>,
    /// The TLS version on the upstream's leg.
    pub upstream_tls: Option<Arc<str>>,
    /// The upstream's process id for the session.
    pub upstream_process: Option<i64>,
    /// Which data key seals the recording; `None` if nothing is recorded.
    pub recording_key: Option<Arc<str>>,
    /// How `connect` was decided.
    pub decision: DecisionFacts,
}

/// `SESSION_REFUSED`: a client was not let in.
#[derive(Clone, Debug)]
pub struct SessionRefusedLeaf {
    /// The session it would have been.
    pub session: SessionId,
    /// The chain, if the client proved one.
    pub chain: Vec<Arc<str>>,
    /// The connection, if one was selected.
    pub connection: Option<Arc<str>>,
    /// The client's address and port.
    pub client: Arc<str>,
    /// The stable code of the reason, such as `token.expired` or `policy.deny`.
    pub reason: Arc<str>,
    /// How `connect` was decided, if it came to that.
    pub decision: Option<DecisionFacts>,
}

/// `REFUSALS`: sessions of one sort were refused, so many that not each has a leaf.
#[derive(Clone, Debug)]
pub struct RefusalsLeaf {
    /// When the first of these was.
    pub since: Timestamp,
    /// When the last of these was.
    pub until: Timestamp,
    /// The actor, if the clients proved who they are.
    pub who: Option<Arc<str>>,
    /// The connection, if one was selected.
    pub connection: Option<Arc<str>>,
    /// The stable code of the reason.
    pub reason: Arc<str>,
    /// How many there were.
    pub count: u64,
    /// The first addresses that they came from, with how many from each.
    pub addresses: Vec<(String, u64)>,
}

/// `SESSION_CLOSE`: a session ended.
#[derive(Clone, Debug)]
pub struct SessionCloseLeaf {
    /// The session.
    pub session: SessionId,
    /// Why it ended.
    pub reason: CloseReason,
    /// For an end by the gateway, the stable code of the reason, such as `principal.disabled`.
    pub detail: Option<Arc<str>>,
    /// Operations in the session.
    pub operations: u64,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
    /// How long it was open, in microseconds.
    pub duration_us: u64,
}

/// Who ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client.
    Client,
    /// The upstream.
    Upstream,
    /// The gateway.
    Gateway,
}

impl CloseReason {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Gateway => "gateway",
        }
    }
}

/// Whether something was let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// It was.
    Permit,
    /// It was not.
    #[default]
    Deny,
    /// It would have waited for an approval.
    Hold,
}

impl Verdict {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
            Self::Hold => "hold",
        }
    }
}

/// How something was decided.
#[derive(Clone, Debug, Default)]
pub struct DecisionFacts {
    /// What applied.
    pub verdict: Verdict,
    /// In `observe` mode, what policy would have done instead.
    pub would: Option<Verdict>,
    /// The ids of the policies that determined it, sorted.
    pub policies: Arc<[Arc<str>]>,
    /// SHA-256 of the policy set, lower-case hexadecimal.
    pub policy_hash: Arc<str>,
    /// For a denial outside policy, the stable code of the reason.
    pub reason: Option<Arc<str>>,
    /// The groups whose approval it needs, sorted.
    pub approvals: Arc<[Arc<str>]>,
    /// The grants in force that are good for a part of it, by their ids, sorted.
    pub grants: Arc<[Arc<str>]>,
    /// How much is at stake, 0 to 100, if that was told.
    pub risk: Option<u8>,
    /// What each of the request's statements does, as far as that was told.
    pub statements: Arc<[StatementFacts]>,
}

/// What a statement does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatementFacts {
    /// What kind of statement it is: `SELECT`, `CREATE TABLE`.
    pub class: &'static str,
    /// What it does to what.
    pub effects: Vec<EffectFacts>,
    /// What is dangerous about it.
    pub hazards: Vec<&'static str>,
}

/// Something that is done to something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectFacts {
    /// What is done: `read`, `update`, `drop`.
    pub verb: &'static str,
    /// What kind of thing it is done to: `table`, `column`, `routine`.
    pub kind: &'static str,
    /// Its name; of columns, their table's.
    pub object: Arc<str>,
    /// The columns, if it is done to columns of one table; they all have the same labels.
    pub columns: Vec<Arc<str>>,
    /// Its labels.
    pub labels: Labels,
    /// By way of what, if the statement does not name it.
    pub through: Option<Arc<str>>,
}

/// `REQUEST`: an operation was asked for and decided.
#[derive(Clone, Debug)]
pub struct RequestLeaf {
    /// The session.
    pub session: SessionId,
    /// The operation.
    pub op: OpId,
    /// The transaction.
    pub tx: TxId,
    /// The chain as text, so that a leaf can stand alone as evidence.
    pub who: Arc<str>,
    /// The connection.
    pub connection: Arc<str>,
    /// The purpose, if the client stated one.
    pub purpose: Option<Arc<str>>,
    /// The form of the request: `batch`, `prepare`, `execute`, `call`.
    pub form: &'static str,
    /// How it was decided.
    pub decision: DecisionFacts,
    /// The recording chunk that holds the request.
    pub rec: Option<ChunkRef>,
}

/// `INTENT`: an operation's bytes are about to leave.
#[derive(Clone, Debug)]
pub struct IntentLeaf {
    /// The session.
    pub session: SessionId,
    /// The operation.
    pub op: OpId,
    /// Whether what leaves is the client's own text (`original`) or another (`replaced`).
    pub replaced: bool,
}

/// `OUTCOME`: an operation ended.
#[derive(Clone, Debug)]
pub struct OutcomeLeaf {
    /// The session.
    pub session: SessionId,
    /// The operation.
    pub op: OpId,
    /// In which way.
    pub status: OutcomeStatus,
    /// Completion tags without values, such as `INSERT 0 3`, one for each statement, at most [`OutcomeLeaf::MAX_TAGS`].
    pub tags: Vec<String>,
    /// The protocol's error code.
    pub code: Option<String>,
    /// Rows delivered.
    pub rows: u64,
    /// Response bytes delivered.
    pub bytes: u64,
    /// Bytes of the response, or of data that the client sent along, that the recording leaves out.
    pub bytes_unrecorded: u64,
    /// From the decision to the end, in microseconds.
    pub duration_us: u64,
    /// What of the response was masked, if anything was: at most [`OutcomeLeaf::MAX_COLUMNS`] columns and
    /// [`OutcomeLeaf::MAX_FOUND`] kinds of values.
    pub masked: Option<Box<Masked>>,
    /// What of a model was used, if one was.
    pub tokens: Option<TokenFacts>,
    /// The recording chunk in which the response ends.
    pub rec: Option<ChunkRef>,
}

/// What of a model was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenFacts {
    /// Its tokens.
    pub tokens: Tokens,
    /// What they cost, in millionths; 0 where nobody has said what.
    pub cost_micros: u64,
    /// From the decision to the first byte of the answer, in microseconds.
    pub first_us: Option<u64>,
}

impl OutcomeLeaf {
    /// The most completion tags that a leaf names; a batch of more has its rest in the recording.
    pub const MAX_TAGS: usize = 32;
    /// The most columns of which a leaf tells how they were masked.
    pub const MAX_COLUMNS: usize = 16;
    /// The most kinds of values of which a leaf tells how many were found.
    pub const MAX_FOUND: usize = 24;
}

/// In which way an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeStatus {
    /// It completed.
    Completed,
    /// The upstream answered with an error.
    Error,
    /// It reached the upstream, which passed over it because of an earlier error.
    Skipped,
    /// No byte of it left.
    NotSent,
    /// It left, and how it ended is not known.
    Unknown,
}

impl OutcomeStatus {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Error => "error",
            Self::Skipped => "skipped",
            Self::NotSent => "not_sent",
            Self::Unknown => "unknown",
        }
    }
}

/// `TX_END`: a transaction ended.
#[derive(Clone, Debug)]
pub struct TxEndLeaf {
    /// The session.
    pub session: SessionId,
    /// The transaction.
    pub tx: TxId,
    /// How.
    pub result: TxResult,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxResult {
    /// Its effects stay.
    Commit,
    /// Its effects are gone.
    Rollback,
    /// Not known.
    Unknown,
}

impl TxResult {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Rollback => "rollback",
            Self::Unknown => "unknown",
        }
    }
}

/// `APPROVAL`: something happened to a request for approval. What is asked for is in the request's own recording, never here.
#[derive(Clone, Debug)]
pub struct ApprovalLeaf {
    /// The request.
    pub approval: ApprovalId,
    /// What happened.
    pub event: ApprovalEvent,
    /// Who did it: the chain that asks, the reviewer, or the channel.
    pub who: Arc<str>,
    /// Where it is to run.
    pub connection: Arc<str>,
    /// The session that asks.
    pub session: SessionId,
    /// The operation that asks.
    pub op: OpId,
    /// The groups that are to approve, or that the reviewer has approved for, sorted.
    pub groups: Arc<[Arc<str>]>,
    /// What consent is bound to: a keyed digest (HMAC-SHA256) over all that it is about.
    pub digest: [u8; 32],
    /// The id of the token by which the reviewer proved who he is.
    pub token: Option<Arc<str>>,
    /// Why, in the words of who did it; or the stable code of the reason.
    pub reason: Option<Arc<str>>,
}

/// What happens to a request for approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalEvent {
    /// It was made.
    Requested,
    /// A reviewer has looked at it.
    Seen,
    /// A reviewer has its rows counted.
    Counted,
    /// A reviewer is for it.
    Approved,
    /// A reviewer is for it with another text.
    Edited,
    /// A reviewer is against it.
    Denied,
    /// All are for it who must be.
    Granted,
    /// What it is about was admitted by it, which can be done once.
    Spent,
    /// Nobody decided in time.
    Expired,
    /// Whoever asked does not any more.
    Withdrawn,
    /// A channel has told of it.
    Notified,
    /// A channel has given up telling of it.
    NotNotified,
}

impl ApprovalEvent {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Seen => "seen",
            Self::Counted => "counted",
            Self::Approved => "approved",
            Self::Edited => "edited",
            Self::Denied => "denied",
            Self::Granted => "granted",
            Self::Spent => "spent",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Notified => "notified",
            Self::NotNotified => "not_notified",
        }
    }
}

/// `GAP`: sealed chunks were given up because there was room for the record of an outcome but not for its content. In the
/// recording, a frame with the lost chunk's digest stands in place of each, so that the running digest goes on. After a
/// `RECOVERY`: a power failure lost chunks whose leaves it left, and nothing stands in their place.
#[derive(Clone, Debug)]
pub struct GapLeaf {
    /// The session.
    pub session: SessionId,
    /// The first chunk lost.
    pub chunk: u64,
    /// How many, from that one on.
    pub chunks: u64,
}

/// A place in a session's recording, and a commitment to all ciphertext up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRef {
    /// The chunk; counts from 0 in each session.
    pub chunk: u64,
    /// The running digest: SHA-256 over the previous chunk's running digest (for chunk 0, over the session id) and the
    /// SHA-256 of this chunk's frame, which is a header and ciphertext.
    pub digest: [u8; 32],
}
