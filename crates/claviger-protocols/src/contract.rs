//! The contract between a protocol and the session pipeline.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use claviger_model::{Masked, OpId, Refusal, Secret, Tokens, TxId};

use crate::{Content, Login, Masker};

/// One of the two parties of a proxied connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client.
    Downstream,
    /// The target.
    Upstream,
}

/// Both halves of one proxied connection.
///
/// `A` is the *admission*: a value that only the session pipeline can make, that proves that an operation was decided and its
/// intent recorded. A protocol can carry it and give it back, and needs one to put an operation's bytes in the upstream's
/// queue; it cannot make one.
///
/// The driver calls [`handle_input`](Self::handle_input) as bytes arrive, then drains [`poll_recorded`](Self::poll_recorded)
/// and [`poll_event`](Self::poll_event), answers with [`resume`](Self::resume), and drains
/// [`poll_transmit`](Self::poll_transmit). Deadlines belong to the pipeline, which ends a session with [`Reply::Terminate`].
pub trait Protocol<A>: Send {
    /// Takes whole frames from the front of `input`, and streams the bodies of frames that pass untouched; an incomplete
    /// frame stays for the next call, and so does what would take long. Takes nothing while
    /// [`wants_input`](Self::wants_input) is false.
    fn handle_input(&mut self, from: Side, input: &mut BytesMut);

    /// The peer sends no more.
    fn handle_eof(&mut self, from: Side);

    /// The connection to the peer is lost: it has not said that it sends no more, so what has no other end is cut.
    fn handle_loss(&mut self, from: Side) {
        self.handle_eof(from);
    }

    /// Whether the driver should read from this side: false while too much waits for a decision or for the other side.
    fn wants_input(&self, from: Side) -> bool;

    /// The next thing that the pipeline must know.
    fn poll_event(&mut self) -> Option<Event<A>>;

    /// The next part of what an operation carries beyond its own request, for the recording: its response, and the data that
    /// the client sends along. All of it comes before the operation's [`Event::Outcome`] is polled.
    fn poll_recorded(&mut self) -> Option<Recorded>;

    /// The pipeline's answer to an event, or its own initiative. A reply that fits nothing is ignored.
    fn resume(&mut self, reply: Reply<A>);

    /// The next bytes to write to a side, in order.
    fn poll_transmit(&mut self, to: Side) -> Option<Transmit>;

    /// What an open session waits for, where that has an end.
    fn awaits(&self) -> Option<Awaited> {
        None
    }

    /// Whether what was asked has not left, so that another socket to the upstream does as well if this one is lost.
    fn may_reopen(&self) -> bool {
        false
    }

    /// After [`Event::Closed`]: whether the upstream's socket can go on in another session, whoever's: it owes nothing, and nothing is left of
    /// the session in it.
    fn leaves_upstream(&self) -> bool {
        false
    }

    /// After [`Event::Closed`]: whether only the session is over, and the client's socket goes on. What is left in its input, and what
    /// it sends after that, is for another session, which may be somebody else's.
    fn leaves_client(&self) -> bool {
        false
    }
}

/// What must go on for a session to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The client has begun a message, and must finish it.
    Message,
    /// More of the content is to come that the client has said would follow.
    Content,
    /// The upstream is to answer, or more of its answer is to come.
    Answer,
    /// The client is to take more of what is said to it.
    Room,
}

/// Bytes to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Whole or partial frames, original bytes where nothing was changed.
    pub bytes: Bytes,
}

/// Part of an operation's response as it is delivered to the client, or of the data that the client sends along with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The operation.
    pub op: OpId,
    /// Whose words they are.
    pub from: Side,
    /// Whether they are the request itself, as it left in place of the client's own: kept however little of a response is.
    pub request: bool,
    /// Whole or partial frames.
    pub bytes: Bytes,
}

/// What a protocol tells the pipeline.
#[derive(Debug)]
pub enum Event<A> {
    /// All bytes to and from this side are TLS from here on, after what [`Protocol::poll_transmit`] has for it now has been
    /// written. The protocol waits for [`Reply::TlsStarted`].
    StartTls(Side),
    /// The client has begun TLS without asking: its first bytes, which are left in the input, are part of it. The listener insists on
    /// the protocol's name in it (ALPN). Otherwise as [`StartTls`](Self::StartTls).
    DirectTls,
    /// The client begins with many streams, each of which is to have sessions of its own. What was read of it stays in the input; nothing
    /// more happens here.
    Multiplex,
    /// The client asks that another session's running operation be cancelled. The protocol then closes.
    Cancel(Cancel),
    /// The client has presented a credential. The protocol waits for [`Reply::Authenticated`] or [`Reply::Terminate`].
    Login(Login),
    /// The upstream has accepted the gateway. The protocol waits for [`Reply::Serve`]. With what names the session there, where
    /// something is cancelled by name; elsewhere closing the socket is all that there is.
    Ready(Option<BackendKey>),
    /// The client asks for an operation. Its bytes wait, in order, for [`Reply::Admit`] or [`Reply::Refuse`].
    Operation(Operation),
    /// The client asks for more of an admitted operation (a suspended portal). Waits for [`Reply::Continue`] or
    /// [`Reply::Refuse`].
    Continue(OpId),
    /// The client asks for something else before it runs this operation, if it ever does. Waits for nothing.
    PutOff(OpId),
    /// The client ends a group, and with it makes lasting what its operations have changed. Waits for [`Reply::Commit`]. With the group.
    Commit(u64),
    /// An admitted operation has ended. Its completion waits for [`Reply::Release`].
    Outcome(Outcome, Admitted<A>),
    /// A transaction has ended. Always polled after the outcomes of all its operations; what tells the client so waits for the
    /// release of the last of them.
    TransactionEnd(TransactionEnd),
    /// The upstream has dropped a prepared statement, as the client asked by the protocol's own means: its name.
    Unprepared(Bytes),
    /// The client makes or closes a portal of this name by the protocol's own means: no statement's cursor has that name any more.
    Portal(Bytes),
    /// The answer to [`Reply::Probe`].
    Probe(ProbeId, Probe),
    /// Nothing more will happen, apart from what is still to be transmitted.
    Closed(Closed),
}

/// An admission, handed back with the operation's outcome.
#[derive(Debug)]
pub struct Admitted<A>(pub A);

/// What the pipeline tells a protocol.
pub enum Reply<A> {
    /// TLS has started on this side. With the peer's own certificate (DER), if it showed one, whose key it holds; whether it is
    /// believed is not said.
    TlsStarted(Side, Option<Bytes>),
    /// The client is who it says, may connect, and the upstream's socket is open: log in there.
    Authenticated(Box<UpstreamLogin>),
    /// The session is recorded as open: tell the client so.
    Serve,
    /// The operation is decided and its intent recorded.
    Admit {
        /// Which one.
        op: OpId,
        /// The proof.
        admission: A,
        /// What leaves for the upstream.
        forward: Forward,
        /// How the rows that it gives are rewritten; `None` if they leave as they came.
        masker: Option<Box<dyn Masker>>,
        /// How the content of its answer is read and rewritten, in a protocol whose answers have content; `None` if it leaves as it came.
        content: Option<Box<dyn Content>>,
    },
    /// The operation cannot be decided before all of its content is here ([`Exchange::content`]): it is asked for once more when it is.
    Gather(OpId),
    /// What belongs to no operation is rewritten by this from here on.
    Mask(Option<Box<dyn Masker>>),
    /// An admitted operation may go on.
    Continue(OpId),
    /// The end of this group may leave.
    Commit(u64),
    /// The operation is refused: the client gets this error, and the session is left as a server's own error would leave it.
    Refuse {
        /// Which one.
        op: OpId,
        /// The error.
        refusal: Refusal,
    },
    /// The outcome of this operation is recorded: its completion may go to the client.
    Release(OpId),
    /// Tell the client something that is no answer to anything it has asked.
    Notice(Notice),
    /// Run a statement of the gateway's own at the next quiescent point, out of the client's sight. In a transaction that has failed it is
    /// not run: the answer is the error that it would get.
    Probe(ProbeId, Question),
    /// End the session with this error.
    Terminate(Refusal),
}

/// Something that a client is told beside its answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// One plain sentence without a final full stop.
    pub message: String,
    /// More of it.
    pub detail: String,
    /// What can be done.
    pub hint: String,
}

/// What leaves for the upstream when an operation is admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The client's own bytes.
    Original,
    /// This statement text in place of the client's; parameters stay. Of an exchange: this content.
    Replace(Bytes),
}

/// How to log in to the upstream, whose socket is open.
pub struct UpstreamLogin {
    /// Whether to ask for TLS.
    pub tls: UpstreamTls,
    /// The upstream's own name, with its port where that is not the usual one.
    pub host: String,
    /// How the upstream is shown the credential.
    pub shown: Shown,
    /// The upstream's user.
    pub user: String,
    /// The upstream's database.
    pub database: String,
    /// The newest version of the protocol to ask for, whatever the client speaks.
    pub version: crate::postgres::Version,
    /// The upstream's password, if it has one.
    pub password: Option<Secret>,
    /// What the gateway calls the session there.
    pub application: String,
    /// Whether to bind the login to the TLS channel.
    pub channel_binding: ChannelBinding,
    /// Fresh random bytes, for a client nonce.
    pub nonce: [u8; 18],
    /// Fresh random bytes that the client gets in place of the upstream's cancel secret, as many as [`Login`] says.
    pub cancel_secret: Bytes,
    /// Salted passwords of earlier logins, so that key derivation runs once per upstream user.
    pub scram_keys: Arc<crate::postgres::ScramKeys>,
}

/// How an upstream is shown its credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Shown {
    /// As the protocol has it: a password.
    #[default]
    Password,
    /// As a bearer token (RFC 6750, section 2.1).
    Bearer,
    /// As the password of HTTP's basic authentication (RFC 7617), with the upstream's user.
    Basic,
    /// In a header of this name, in lower case.
    Header(String),
}

/// Whether to ask the upstream for TLS. Which certificates are accepted is the driver's affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamTls {
    /// Never.
    Disable,
    /// If the upstream offers it.
    Prefer,
    /// Always; without it the session ends.
    Require,
}

/// Whether a login is bound to its TLS channel, so that nobody in between can have passed it on. The words and meanings are those
/// of libpq's `channel_binding` (PostgreSQL manual, 34.1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// If the upstream offers it.
    #[default]
    Prefer,
    /// Always; without it the session ends.
    Require,
}

/// What names a session to the upstream when an operation of it is to be cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BackendKey {
    /// The upstream's process id, which the client sees too.
    pub process: i32,
    /// The upstream's secret, which the client never sees.
    pub secret: Bytes,
}

/// A client's request to cancel, with the secret that the gateway gave it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cancel {
    /// The process id.
    pub process: i32,
    /// The gateway's own secret.
    pub secret: Bytes,
}

/// What the client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Counts from 1 in each session.
    pub id: OpId,
    /// The transaction that it runs in, explicit or implicit.
    pub tx: TxId,
    /// What makes its effect lasting.
    pub commit: Commit,
    /// The group that it belongs to: if one operation of a group fails, the upstream passes over those after it. What belongs to a later
    /// group runs whatever became of this one.
    pub group: u64,
    /// What the request is.
    pub request: Request,
    /// What can be told of its effect from its form alone.
    pub access: Access,
    /// The original frames, for the recording.
    pub bytes: Bytes,
}

/// What makes the effect of an operation lasting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Its own end.
    Itself,
    /// The end of its group, unless it is a [barrier](Access::Barrier). The group's end waits for leave ([`Event::Commit`]) if anything in
    /// it may have changed something.
    Group,
    /// The end of a transaction that the client has opened explicitly, unless it is a barrier.
    Transaction,
}

/// What a request is, in terms that all protocols share. Text is as the client sent it, not yet known to be valid in any
/// encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// One text, of any number of statements, run as it is.
    Batch {
        /// The statements.
        text: Bytes,
    },
    /// A statement to be parsed and kept, not run.
    Prepare {
        /// Its name; empty for the unnamed one.
        name: Bytes,
        /// The statement; empty if only its name is known, because the client prepared it by a statement.
        text: Bytes,
        /// The types that its parameters are said to have.
        types: Types,
        /// Whether it is kept already, and the server looks at it once more, to describe it.
        again: bool,
    },
    /// A prepared statement with its parameters, to be run.
    Execute {
        /// Its name; empty for the unnamed one.
        name: Bytes,
        /// Its text; `None` if only its name is known, because the client prepared it by a statement.
        text: Option<Bytes>,
        /// Each parameter as sent; `None` is NULL.
        parameters: Vec<Option<Bytes>>,
        /// Whether each is in its type's binary form; empty if none is.
        binary: Vec<bool>,
        /// The types that they were said to have when the statement was prepared.
        types: Types,
    },
    /// A portal that was not made by the protocol's own means, by its name.
    Portal {
        /// The name.
        name: Bytes,
    },
    /// A call by number or name, without statement text.
    Call {
        /// What is called.
        target: String,
    },
    /// An HTTP request. What it means is what these say, and what leaves is made of them.
    Exchange(Box<Exchange>),
    /// A call of a tool that a model makes in its answer, for the client to run.
    Tool {
        /// The tool, as it was offered.
        tool: Arc<str>,
        /// What it is called with, as the client gets it.
        arguments: Arc<str>,
    },
}

/// An HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The method.
    pub method: &'static str,
    /// The path, normalised, without the query.
    pub path: Arc<str>,
    /// The path as it leaves, if something in it is escaped that need not be: some servers make a difference.
    pub sent: Option<Arc<str>>,
    /// What follows the question mark.
    pub query: Option<Arc<str>>,
    /// What the content is said to be.
    pub content_type: Option<Arc<str>>,
    /// The name of the prompt, if a header says it.
    pub prompt: Option<Arc<str>>,
    /// All of the content, decoded. `None` if it is still to come: [`Reply::Gather`] waits for it.
    pub content: Option<Bytes>,
}

/// What a client says of which types its parameters are (PostgreSQL: OIDs). Where it says 0 or nothing, that is the server's to tell.
pub type Types = Arc<[u32]>;

impl Request {
    /// The word for this form in the record.
    pub fn form(&self) -> &'static str {
        match self {
            Self::Batch { .. } => "batch",
            Self::Prepare { .. } => "prepare",
            Self::Execute { .. } => "execute",
            Self::Portal { .. } | Self::Call { .. } => "call",
            Self::Exchange(_) => "exchange",
            Self::Tool { .. } => "tool",
        }
    }
}

/// What can be told of an operation's effect from its form alone. Only durability depends on it, never a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// On its face a read, or without lasting effect.
    Read,
    /// A change that a transaction holds back until it commits.
    Write,
    /// Anything else: a commit, an effect outside transactions, or not to be told.
    Barrier,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which one.
    pub op: OpId,
    /// In which way.
    pub status: Status,
    /// One for each statement that completed, in order.
    pub results: Vec<StatementResult>,
    /// Rows delivered.
    pub rows: u64,
    /// Bytes delivered.
    pub bytes: u64,
    /// The protocol's error code (an SQLSTATE), if it failed. Never the message, which may hold values.
    pub code: Option<String>,
    /// What of its response was masked, if anything was.
    pub masked: Option<Box<Masked>>,
    /// The tokens of a model that it has used, if it has.
    pub tokens: Option<Tokens>,
}

/// In which way an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
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

/// What one statement of a batch did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementResult {
    /// The upstream's completion tag, such as `INSERT 0 3`.
    pub tag: String,
}

/// A transaction's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionEnd {
    /// Which one.
    pub tx: TxId,
    /// How.
    pub result: TransactionResult,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionResult {
    /// Its effects stay.
    Commit,
    /// Its effects are gone.
    Rollback,
    /// Not known.
    Unknown,
}

/// A question of the gateway's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// One statement, whose rows are the answer.
    pub text: String,
    /// The values of its parameters; `None` is NULL.
    pub parameters: Vec<Option<Bytes>>,
    /// Whether each is in its type's binary form; empty if none is.
    pub binary: Vec<bool>,
    /// Their types, as far as they are said.
    pub types: Vec<u32>,
}

impl<T: Into<String>> From<T> for Question {
    fn from(text: T) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// Names a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProbeId(pub u64);

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Rows of columns; `None` is NULL.
    Rows(Vec<Vec<Option<Bytes>>>),
    /// The upstream refused it, with this code.
    Failed(String),
    /// There will be no such moment before the operation that waits for its decision is decided: what came before it in its group has
    /// left already.
    TooLate,
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The client said goodbye, or just went.
    ByClient,
    /// The upstream went.
    ByUpstream,
    /// The gateway ended it.
    ByGateway(Refusal),
}
