//! Who is asking.
//!
//! A client proves who it is with a JWT from an issuer that the gateway trusts: an external identity provider, or the
//! gateway's own local issuer. [`Authenticator::verify`] turns such a token into an [`Identity`]: a chain of principals with
//! their groups and sponsors, and the moment at which it ends. [`Authenticator::recheck`] asks, at any later moment, whether
//! that identity still stands: a revoked token, a disabled principal, a disabled sponsor or a withdrawn delegation ends it.
//!
//! A principal is the pair (name of the trust record, subject); nothing is ever joined on an e-mail address. The *local*
//! issuer is the one whose name the [`Directory`] carries: its principals must be registered there, while the principals of
//! external issuers exist by virtue of their token unless the directory disables them.
//!
//! Or it proves that it holds the key of a certificate that a trusted authority signed, and
//! [`Authenticator::verify_certificates`] does the same with that.
//!
//! What a token needs and the gateway does not have at hand, a key or the groups of its holder, is an [`Errand`] for somebody who
//! can fetch it; how often that may be done is decided here.
//!
//! Nothing here reads a clock, a file or a socket. Keys, directory snapshots and the time come in from outside, and no
//! message ever carries any part of a token.

mod authenticator;
mod certificate;
mod claim;
mod denied;
mod directory;
mod exchange;
mod groups;
mod issuer;
mod keys;
mod local;
mod metadata;
mod refresh;
mod token;

#[cfg(test)]
mod tests;

pub use authenticator::{Authenticator, Errand, Identity};
pub use certificate::{InvalidAuthority, TrustedAuthority, read_certificate};
pub use claim::{ClaimPath, InvalidPath, InvalidTemplate, Requirement, SubjectTemplate};
pub use denied::Denied;
pub use directory::{Directory, Registered};
pub use exchange::{Exchanged, NotExchanged, Origin};
pub use groups::InvalidUserinfo;
pub use issuer::{Algorithm, TrustedIssuer, UnknownAlgorithm};
pub use keys::{InvalidKeySet, KeySet};
pub use local::{InvalidSigningKey, IssuedToken, LocalIssuer, NoSigningKey, SigningKey, TokenRequest};
pub use metadata::{InvalidMetadata, Metadata, Reach};
pub use token::MAX_TOKEN;
