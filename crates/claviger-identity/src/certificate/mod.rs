//! Certificates of clients: who holds one that a trusted authority signed (RFC 5280).
//!
//! That a client holds a certificate's key was proved when TLS started. Here the certificate's path to an authority is verified,
//! and what it says becomes a principal by the authority's own rule: no name in a certificate means anything by itself.

mod der;

use std::time::Duration;

use claviger_model::{Chain, PrincipalKey, PrincipalKind, Timestamp};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use serde_json::{Map, Value};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use self::der::Names;
use crate::authenticator::{Authenticator, Identity, check, digest_id, principal};
use crate::denied::{Denied, Reason};
use crate::exchange::Origin;
use crate::token::is_plain;
use crate::{Directory, SubjectTemplate};
use std::sync::Arc;

/// The names in a certificate of which a subject can be made: of its subject alternative name (RFC 5280, section 4.2.1.6) a URI,
/// such as a SPIFFE id, a DNS name or a mail address; and the common name.
const NAMES: [&str; 4] = ["uri", "dns", "email", "cn"];

/// The trust placed in one authority that signs the certificates of clients.
#[derive(Clone, Debug)]
pub struct TrustedAuthority {
    name: Arc<str>,
    anchors: Vec<TrustAnchor<'static>>,
    subject: SubjectTemplate,
    kind: PrincipalKind,
    max_lifetime: u32,
}

/// An authority that cannot be trusted: always the fault of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAuthority {
    /// There is no certificate of it.
    #[error("there is no certificate")]
    NoCertificate,
    /// What is there is not a certificate.
    #[error("a certificate is malformed")]
    Malformed,
    /// The subject is to be made of something that certificates do not have.
    #[error("`{0}` is not one of the names in a certificate: `uri`, `dns`, `email`, `cn`")]
    Subject(String),
}

impl TrustedAuthority {
    /// An authority under the name by which policies, the directory and the log know it, as an issuer's; with its certificates
    /// (DER), how subjects are made from the names in what it signs, what they are, and the most seconds that what it signs may be
    /// valid for.
    pub fn new<'a>(
        name: &str,
        certificates: impl IntoIterator<Item = &'a [u8]>,
        subject: SubjectTemplate,
        kind: PrincipalKind,
        max_lifetime: u32,
    ) -> Result<Self, InvalidAuthority> {
        let anchor = |der: &[u8]| {
            let certificate = CertificateDer::from(der);
            anchor_from_trusted_cert(&certificate).map(|anchor| anchor.to_owned()).map_err(|_| InvalidAuthority::Malformed)
        };
        let anchors = certificates.into_iter().map(anchor).collect::<Result<Vec<_>, _>>()?;
        if anchors.is_empty() {
            return Err(InvalidAuthority::NoCertificate);
        }
        if let Some(unknown) = subject.claims().find(|name| !NAMES.contains(name)) {
            return Err(InvalidAuthority::Subject(unknown.to_owned()));
        }
        Ok(Self { name: name.into(), anchors, subject, kind, max_lifetime })
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}

impl Authenticator {
    /// Who holds the first of these certificates (DER), which its holder has proved; the others may lead from it to an authority.
    pub fn verify_certificates(&self, presented: &[impl AsRef<[u8]>], now: Timestamp) -> Result<Identity, Denied> {
        let (trust, directory) = (self.trust.load(), self.directory.load());
        let presented: Vec<_> = presented.iter().map(|der| CertificateDer::from(der.as_ref())).collect();
        let (own, intermediates) = presented.split_first().ok_or(Reason::CertificateUntrusted)?;
        let certificate = EndEntityCert::try_from(own).map_err(|_| Reason::CertificateMalformed)?;
        let authority = signer(&certificate, intermediates, &trust.authorities, now)?;
        let said = der::read(own).ok_or(Reason::CertificateMalformed)?;
        if said.not_after.as_secs().saturating_sub(said.not_before.as_secs()) > i64::from(authority.max_lifetime) {
            return Err(Reason::CertificateLifetime.into());
        }
        let identity = Identity {
            chain: holder(authority, &said.names, &directory)?,
            token: digest_id(said.signed),
            issuer: Arc::clone(&authority.name),
            expires: said.not_after,
            purpose: None,
            origin: Origin::default(),
            issuers: Arc::default(),
        };
        check(&identity, &trust, &directory, now)?;
        Ok(identity)
    }
}

/// The authority from which a path leads to the certificate, at this time, for a TLS client. Each authority is asked by itself, so
/// that none can speak for the principals of another.
fn signer<'a>(
    certificate: &EndEntityCert<'_>,
    intermediates: &[CertificateDer<'_>],
    authorities: &'a [TrustedAuthority],
    now: Timestamp,
) -> Result<&'a TrustedAuthority, Reason> {
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_secs()).unwrap_or(0)));
    let mut why = Reason::CertificateUntrusted;
    for authority in authorities {
        let usage = KeyUsage::client_auth();
        match certificate.verify_for_usage(ALL_VERIFICATION_ALGS, &authority.anchors, intermediates, time, usage, None, None) {
            Ok(_) => return Ok(authority),
            Err(webpki::Error::CertExpired { .. }) => why = Reason::CertificateExpired,
            Err(webpki::Error::CertNotValidYet { .. }) => why = Reason::CertificateNotYetValid,
            Err(_) => {}
        }
    }
    Err(why)
}

/// The principal that a certificate names. Of the names that the template takes there must be one each: with two it would be
/// somebody's choice who it is.
fn holder(authority: &TrustedAuthority, names: &Names<'_>, directory: &Directory) -> Result<Chain, Reason> {
    let found: Map<String, Value> = NAMES
        .iter()
        .zip([&names.uris, &names.dns, &names.emails, &names.common])
        .filter_map(|(name, values)| match values.as_slice() {
            [one] => Some(((*name).to_owned(), Value::from(*one))),
            _ => None,
        })
        .collect();
    let subject = authority.subject.fill(&found).ok().filter(|subject| is_plain(subject)).ok_or(Reason::CertificateSubject)?;
    let key = PrincipalKey::new(Arc::clone(&authority.name), subject);
    let registered = directory.principal(&key);
    Chain::from_links(vec![principal(key, authority.kind, registered, Vec::new())]).map_err(|_| Reason::CertificateSubject)
}

/// What a certificate (DER) says of its holder, for fuzzing: never panics, whatever the bytes.
#[doc(hidden)]
pub fn read_certificate(certificate: &[u8]) -> bool {
    der::read(certificate).is_some()
}
