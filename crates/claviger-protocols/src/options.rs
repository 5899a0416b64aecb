//! How a protocol is spoken: its limits, what a listener asks for, and what the rest of the gateway knows of it.

use crate::Auth;

/// The limits of one session's buffers, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest client message that is kept whole: a statement, or one set of parameters.
    pub statement: usize,
    /// The longest start-up or password message.
    pub login: usize,
    /// Client bytes that may wait for a decision or for the upstream.
    pub pending: usize,
    /// The longest upstream message that is kept whole: an error, a row description.
    pub control: usize,
    /// Response bytes that may wait for the client.
    pub response: usize,
    /// The longest row that is kept whole, because values in it are masked.
    pub row: usize,
    /// Prepared statements and portals that one session may keep.
    pub statements: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            statement: 16 << 20,
            login: 128 << 10,
            pending: 1 << 20,
            control: 4 << 20,
            response: 1 << 20,
            row: 16 << 20,
            statements: 10_000,
        }
    }
}

/// How a listener speaks its protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolOptions {
    /// The limits of each session.
    pub limits: Limits,
    /// Whether the listener has a certificate, so that TLS can be offered.
    pub tls: bool,
    /// Whether a credential is taken outside TLS, as only a loopback listener may.
    pub plaintext: bool,
    /// By what clients may prove who they are.
    pub auth: Auth,
    /// Whether clients name the connection that they mean; else the listener leads to one.
    pub shared: bool,
    /// Whether a client may begin with many streams ([`Event::Multiplex`](crate::Event::Multiplex)): on a socket that has not been used.
    pub multiplexes: bool,
}

/// What the rest of the gateway knows of a protocol: one line of [`PROTOCOLS`](crate::PROTOCOLS).
#[derive(Clone, Copy, Debug)]
pub struct ProtocolEntry {
    /// The word in configuration, policy and record.
    pub kind: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// The upstream's usual port.
    pub default_port: u16,
    /// Its name inside TLS (ALPN, RFC 7301).
    pub alpn: &'static str,
    /// The name there of its form in which many streams share one socket, if it has one.
    pub multiplexed: Option<&'static str>,
}
