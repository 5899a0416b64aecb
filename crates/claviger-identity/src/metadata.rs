//! What an issuer says of itself (OpenID Connect Discovery 1.0, RFC 8414): where its keys and its other services are.

use serde::Deserialize;

/// The addresses in an issuer's metadata. Each is one to which a secret may be sent (see [`Reach`]); others are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Its public keys (RFC 7517).
    pub jwks_uri: String,
    /// Says who holds an access token (OpenID Connect Core section 5.3).
    pub userinfo_endpoint: Option<String>,
    /// Gives tokens (RFC 6749 section 3.2).
    pub token_endpoint: Option<String>,
    /// Begins a login on another device (RFC 8628).
    pub device_authorization_endpoint: Option<String>,
    /// Takes tokens back (RFC 7009).
    pub revocation_endpoint: Option<String>,
}

/// A document that is not this issuer's metadata.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMetadata {
    /// It is longer than any honest one.
    #[error("the metadata is longer than {} bytes", Metadata::MAX_BYTES)]
    TooLong,
    /// It is not the metadata of an issuer.
    #[error("the metadata is not a JSON object with `issuer` and `jwks_uri`")]
    Malformed,
    /// It is another issuer's, even if by a slash only.
    #[error("the metadata is that of another issuer")]
    OtherIssuer,
    /// Its keys are where nobody can say who answers.
    #[error("the metadata's `jwks_uri` is neither an https:// address nor, with the issuer itself, on this machine")]
    UnsafeKeys,
}

impl Metadata {
    /// The longest document that is read.
    pub const MAX_BYTES: usize = 256 * 1024;

    /// Where an issuer publishes its metadata (OpenID Connect Discovery section 4.1).
    pub fn address(issuer: &str) -> String {
        format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
    }

    /// Reads the metadata of exactly this issuer (section 4.3).
    pub fn parse(json: &[u8], issuer: &str) -> Result<Self, InvalidMetadata> {
        if json.len() > Self::MAX_BYTES {
            return Err(InvalidMetadata::TooLong);
        }
        let document: Document = serde_json::from_slice(json).map_err(|_| InvalidMetadata::Malformed)?;
        if document.issuer != issuer {
            return Err(InvalidMetadata::OtherIssuer);
        }
        // An issuer elsewhere must not make us ask this machine's own services.
        let near = Reach::of(issuer) == Some(Reach::ThisMachine);
        let safe = |address: &String| match Reach::of(address) {
            Some(Reach::Tls) => true,
            Some(Reach::ThisMachine) => near,
            None => false,
        };
        if !safe(&document.jwks_uri) {
            return Err(InvalidMetadata::UnsafeKeys);
        }
        Ok(Self {
            jwks_uri: document.jwks_uri,
            userinfo_endpoint: document.userinfo_endpoint.filter(safe),
            token_endpoint: document.token_endpoint.filter(safe),
            device_authorization_endpoint: document.device_authorization_endpoint.filter(safe),
            revocation_endpoint: document.revocation_endpoint.filter(safe),
        })
    }
}

/// How it is known who answers at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// By a certificate: `https://`.
    Tls,
    /// It leads nowhere but to this machine: `http://` and a loopback address.
    ThisMachine,
}

impl Reach {
    /// How it is known who answers at this address; `None` if it is not.
    pub fn of(address: &str) -> Option<Self> {
        if !address.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let (scheme, rest) = address.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next().filter(|authority| !authority.is_empty())?;
        // Neither credentials nor what another reader could take for the end of the host.
        if authority.contains(['@', '\\']) {
            return None;
        }
        match scheme {
            "https" => Some(Self::Tls),
            "http" if is_loopback(host(authority)?) => Some(Self::ThisMachine),
            _ => None,
        }
    }
}

/// The host of an authority whose port, if any, is a number.
fn host(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let plausible = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    plausible.then_some(host)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    token_endpoint: Option<String>,
    device_authorization_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
}
