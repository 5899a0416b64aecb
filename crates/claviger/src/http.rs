//! Requests to identity providers and receivers of webhooks: over TLS or on this machine, without redirects, bounded in time and size.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use claviger_identity::Reach;
use claviger_model::Secret;
use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

/// How long one request may take, from looking up the name to the last byte of the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer to a form, in bytes.
const LONGEST_ANSWER: usize = 256 * 1024;

/// How much of an answer that nobody reads is waited for, in bytes, so that its connection can be used again.
const IGNORED: u64 = 64 * 1024;

/// Asks identity providers, and tells receivers of webhooks.
pub(crate) struct Http(Agent);

impl Http {
    /// Trusts these authorities (PEM), or those that the system trusts, among which a company's own may be.
    pub(crate) fn new(authorities: Option<&Path>) -> anyhow::Result<Self> {
        Self::within(authorities, PATIENCE)
    }

    /// The same, where one request may take so long.
    pub(crate) fn within(authorities: Option<&Path>, patience: Duration) -> anyhow::Result<Self> {
        let trusted = match authorities {
            Some(file) => authorities_in(file)?,
            None => {
                let trusted = rustls_native_certs::load_native_certs().certs;
                trusted.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
            }
        };
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(trusted))).build())
            .timeout_global(Some(patience))
            // Where an address leads is the operator's choice, not that of whoever answers.
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("claviger/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self(config.into()))
    }

    /// The document at an address, if the answer is 200 and no longer than this many bytes.
    pub(crate) fn get(&self, address: &str, bearer: Option<&Secret>, longest: usize) -> anyhow::Result<Vec<u8>> {
        let mut request = self.0.get(address).header("accept", "application/json");
        if let Some(token) = bearer {
            request = request.header("authorization", format!("Bearer {}", token.expose_str().unwrap_or_default()));
        }
        // No proxy leads to this machine.
        let response = match reach(address)? {
            Reach::Tls => request.call(),
            Reach::ThisMachine => request.config().proxy(None).build().call(),
        };
        let response = response.with_context(|| address.to_owned())?;
        if response.status() != 200 {
            bail!("{address}: answered {}", response.status());
        }
        body(response, longest).with_context(|| address.to_owned())
    }

    /// The status and the body of the answer to a form (RFC 6749, 7009, 8628 and 8693 speak so).
    pub(crate) fn post(&self, address: &str, form: &[(&str, &str)]) -> anyhow::Result<(u16, Vec<u8>)> {
        let request = self.0.post(address).header("accept", "application/json");
        let form = form.iter().copied();
        let response = match reach(address)? {
            Reach::Tls => request.send_form(form),
            Reach::ThisMachine => request.config().proxy(None).build().send_form(form),
        };
        let response = response.with_context(|| address.to_owned())?;
        let status = response.status().as_u16();
        Ok((status, body(response, LONGEST_ANSWER).with_context(|| address.to_owned())?))
    }

    /// The status of the answer to a document; the rest of the answer does not count. The error does not show the address.
    pub(crate) fn tell(&self, address: &str, headers: &[(&str, &str)], json: &str) -> Result<u16, String> {
        let reach = Reach::of(address).ok_or("its address is neither https:// nor on this machine")?;
        let mut request = self.0.post(address).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = match reach {
            Reach::Tls => request.send(json),
            Reach::ThisMachine => request.config().proxy(None).build().send(json),
        };
        let response = response.map_err(|error| match error {
            ureq::Error::BadUri(_) => "its address makes no sense".to_owned(),
            error => error.to_string(),
        })?;
        let status = response.status().as_u16();
        // It has been said what was to be said, whether or not more follows.
        _ = std::io::copy(&mut response.into_body().into_reader().take(IGNORED), &mut std::io::sink());
        Ok(status)
    }
}

fn reach(address: &str) -> anyhow::Result<Reach> {
    Reach::of(address).with_context(|| format!("{address} is neither https:// nor on this machine"))
}

fn body(response: Response<Body>, longest: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    response.into_body().into_reader().take(longest as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > longest {
        bail!("the answer is longer than {longest} bytes");
    }
    Ok(bytes)
}

fn authorities_in(file: &Path) -> anyhow::Result<Vec<Certificate<'static>>> {
    let pem = std::fs::read(file).with_context(|| file.display().to_string())?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        bail!("{}: there is no certificate in it", file.display());
    }
    Ok(certificates)
}
