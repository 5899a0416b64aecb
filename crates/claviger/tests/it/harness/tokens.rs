//! Tokens of other issuers: keys to sign them with, and a server that publishes the keys.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::Authority;

/// An issuer's key.
pub(crate) struct SigningKey {
    kid: String,
    der: Vec<u8>,
}

impl SigningKey {
    pub(crate) fn new(kid: &str) -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
        Self { kid: kid.to_owned(), der: der.as_ref().to_vec() }
    }

    /// The public half (RFC 8037).
    pub(crate) fn jwk(&self) -> Value {
        let pair = Ed25519KeyPair::from_pkcs8(&self.der).unwrap();
        json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.kid,
                "x": URL_SAFE_NO_PAD.encode(pair.public_key()) })
    }

    /// A token of these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ed_der(&self.der)).unwrap()
    }
}

/// The public halves as a set.
pub(crate) fn key_set(keys: &[&SigningKey]) -> String {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() }).to_string()
}

/// A token with whatever header, claims and signature.
pub(crate) fn forge(header: &Value, claims: &Value, signature: &[u8]) -> String {
    [header.to_string().as_bytes(), claims.to_string().as_bytes(), signature].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
}

/// The parts of a token that nobody else may learn: its claims and its signature.
pub(crate) fn segments(token: &str) -> Vec<String> {
    token.split('.').skip(1).filter(|part| part.len() > 16).map(str::to_owned).collect()
}

/// The time, in seconds since 1970.
pub(crate) fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// An HTTPS server that publishes a key set, and counts who asks.
pub(crate) struct KeySetServer {
    pub(crate) port: u16,
    body: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl KeySetServer {
    pub(crate) fn start(authority: &Authority, keys: &[&SigningKey]) -> Self {
        let (certificate, key) = authority.certify(&["localhost"]);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let body = Arc::new(Mutex::new(key_set(keys)));
        let asked = Arc::new(AtomicUsize::new(0));
        let (served, counted) = (body.clone(), asked.clone());
        // Ends with the test's process.
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket);
                let mut request = [0; 4096];
                if stream.read(&mut request).is_ok() {
                    counted.fetch_add(1, Ordering::SeqCst);
                    let body = served.lock().unwrap().clone();
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length:";
                    let _ = write!(stream, "{head} {}\r\n\r\n{body}", body.len());
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            }
        });
        Self { port, body, asked }
    }

    /// Publishes these keys from now on.
    pub(crate) fn publish(&self, keys: &[&SigningKey]) {
        *self.body.lock().unwrap() = key_set(keys);
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
