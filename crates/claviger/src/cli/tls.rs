//! `claviger tls`: certificates for a first try, and for closed networks.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Subcommand;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::Failure;
use super::output::Output;

const HOUR: Duration = Duration::from_secs(3600);

/// The longest that strict clients believe a certificate for: 825 days.
const VALIDITY: Duration = Duration::from_secs(825 * 24 * 3600);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a certificate signed by an authority of its own, whose key is not kept
    #[command(
        after_help = "Example:\n  claviger tls self-signed --out /etc/claviger --host gateway.internal --host 10.0.0.7\n\n\
        Writes ca.pem (for clients to trust), cert.pem and key.pem; nothing that exists is overwritten."
    )]
    SelfSigned {
        /// The directory to write to
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// A host name or IP address that clients use; repeatable
        #[arg(long = "host", value_name = "HOST", required = true)]
        hosts: Vec<String>,
    },
}

pub(super) fn run(command: Command, output: &mut Output) -> Result<(), Failure> {
    let Command::SelfSigned { out, hosts } = command;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is set before 1970")?;
    let made = self_signed(hosts, now).context("cannot make the certificate")?;
    std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    for (name, pem, mode) in [("ca.pem", &made.ca, 0o644), ("cert.pem", &made.certificate, 0o644), ("key.pem", &made.key, 0o600)]
    {
        let path = out.join(name);
        write_new(&path, pem, mode).with_context(|| path.display().to_string())?;
        output.line(format_args!("{}", path.display()))?;
    }
    Ok(())
}

/// PEM texts.
struct Made {
    ca: String,
    certificate: String,
    key: String,
}

fn self_signed(hosts: Vec<String>, now: Duration) -> Result<Made, rcgen::Error> {
    // From an hour ago, for clocks that differ.
    let not_before = date_time_ymd(1970, 1, 1) + now - HOUR;
    let not_after = not_before + VALIDITY;
    let (ca_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "Claviger self-signed authority");
    (ca.not_before, ca.not_after) = (not_before, not_after);
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let name = hosts.first().cloned().unwrap_or_default();
    // Names that parse as addresses become IP entries (RFC 5280, section 4.2.1.6).
    let mut leaf = CertificateParams::new(hosts)?;
    leaf.distinguished_name.push(DnType::CommonName, name);
    (leaf.not_before, leaf.not_after) = (not_before, not_after);
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let ca_certificate = ca.self_signed(&ca_key)?;
    let certificate = leaf.signed_by(&key, &Issuer::new(ca, ca_key))?;
    Ok(Made { ca: ca_certificate.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
}

fn write_new(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn make(out: &Path) -> Result<(), Failure> {
        let command = Command::SelfSigned { out: out.to_owned(), hosts: vec!["gw.internal".into(), "10.0.0.7".into()] };
        run(command, &mut Output::discard())
    }

    #[test]
    fn the_key_is_private_and_nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("new");
        make(&out).unwrap();
        for (name, mode, begins) in [
            ("ca.pem", 0o644, "-----BEGIN CERTIFICATE-----"),
            ("cert.pem", 0o644, "-----BEGIN CERTIFICATE-----"),
            ("key.pem", 0o600, "-----BEGIN PRIVATE KEY-----"),
        ] {
            let path = out.join(name);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode, "{name}");
            assert!(std::fs::read_to_string(&path).unwrap().starts_with(begins), "{name}");
        }
        let before = std::fs::read(out.join("key.pem")).unwrap();
        assert!(make(&out).is_err());
        assert_eq!(std::fs::read(out.join("key.pem")).unwrap(), before);
    }
}
