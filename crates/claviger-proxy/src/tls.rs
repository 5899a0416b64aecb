//! TLS settings of both legs. The one provider of cryptography is ring.

use std::path::Path;
use std::sync::Arc;

use claviger_model::Secret;
use claviger_session::UpstreamTlsPolicy;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};

/// Why TLS settings cannot be used: always the fault of the files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read or holds no PEM.
    #[error("cannot read {0}: {1}")]
    Unreadable(String, rustls::pki_types::pem::Error),
    /// The file holds no certificate.
    #[error("{0} holds no certificate")]
    NoCertificate(String),
    /// Certificate and key do not fit, or a certificate is not valid.
    #[error("the TLS files cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// The certificate or key to prove ourselves with holds no PEM.
    #[error("the certificate and key for the upstream cannot be used: {0}")]
    Identity(String),
    /// The trusted certificates cannot be used.
    #[error("the trusted certificates cannot be used: {0}")]
    Untrusted(#[from] rustls::server::VerifierBuilderError),
}

/// The settings of a listener: this certificate chain and key (PEM files), TLS 1.2 and 1.3. `alpn` are the protocol's names inside
/// TLS, the best first: a client that names others only is refused, one that names none is not. With `asks`, clients may show a certificate.
pub fn server(certificate: &Path, key: &Path, alpn: &[&str], asks: bool) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::Unreadable(key.display().to_string(), error))?;
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = if asks { builder.with_client_cert_verifier(Possession::new()) } else { builder.with_no_client_auth() };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

/// A certificate chain and its key, in the words of their files (PEM).
pub(crate) struct Identity {
    pub(crate) chain: Vec<u8>,
    pub(crate) key: Secret,
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain && self.key.expose() == other.key.expose()
    }
}

/// The settings towards an upstream, by the meaning that libpq gives the words (PostgreSQL manual, 34.19). `identity` is what we prove
/// ourselves with, if we are asked.
pub(crate) fn client(
    policy: UpstreamTlsPolicy,
    trusted: Option<&Path>,
    identity: Option<&Identity>,
    alpn: &[&str],
) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier: Arc<dyn ServerCertVerifier> = match policy {
        UpstreamTlsPolicy::Disable | UpstreamTlsPolicy::Prefer | UpstreamTlsPolicy::Require => AnyName::new(None),
        UpstreamTlsPolicy::VerifyCa => AnyName::new(Some(webpki(trusted)?)),
        UpstreamTlsPolicy::VerifyFull => webpki(trusted)?,
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { chain, key }) => {
            let unusable = |error: rustls::pki_types::pem::Error| TlsError::Identity(error.to_string());
            let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(unusable)?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.expose()).map_err(unusable)?)?
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The certificates in a file (PEM).
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |error| TlsError::Unreadable(path.display().to_string(), error);
    let all: Vec<_> = CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)?;
    if all.is_empty() { Err(TlsError::NoCertificate(path.display().to_string())) } else { Ok(all) }
}

fn webpki(trusted: Option<&Path>) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    match trusted {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()?)
}

/// Has clients prove that they hold the key of the certificate that they show, if they show one. Whether it is from anybody who is
/// trusted is not for TLS to say: who the client is, is decided and recorded where all other proofs are, and refused in the
/// client's own protocol.
#[derive(Debug)]
struct Possession(WebPkiSupportedAlgorithms);

impl Possession {
    fn new() -> Arc<Self> {
        Arc::new(Self(provider().signature_verification_algorithms))
    }
}

impl ClientCertVerifier for Possession {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// No hints: clients show what they have.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Accepts a certificate for any name, and from anybody unless an authority must have signed it. The peer must hold its key.
#[derive(Debug)]
struct AnyName {
    authority: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyName {
    fn new(authority: Option<Arc<WebPkiServerVerifier>>) -> Arc<Self> {
        Arc::new(Self { authority, algorithms: provider().signature_verification_algorithms })
    }
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        match authority.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The name is checked last: everything else was good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
