//! Clients that hold certificates.

use claviger_model::{PrincipalKey, PrincipalKind, Timestamp};
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
    date_time_ymd,
};

use super::{NOW, NOW_SECS};
use crate::{
    Authenticator, Directory, Identity, InvalidAuthority, Registered, SubjectTemplate, TrustedAuthority, read_certificate,
};

/// An authority of these tests.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

/// What a certificate is to say.
#[derive(Clone, Copy)]
struct Wish<'a> {
    uris: &'a [&'a str],
    dns: &'a [&'a str],
    emails: &'a [&'a str],
    common: &'a [&'a str],
    /// Seconds from now.
    valid: (i64, i64),
    usage: Option<bool>,
}

const WISH: Wish<'static> = Wish { uris: &[], dns: &[], emails: &[], common: &[], valid: (-60, 3600), usage: Some(true) };

impl Ca {
    fn new(name: &str) -> Self {
        Self::make(name, None)
    }

    fn under(name: &str, parent: &Self) -> Self {
        Self::make(name, Some(parent))
    }

    fn make(name: &str, parent: Option<&Self>) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&[name]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = match parent {
            Some(parent) => params.signed_by(&key, &parent.issuer).unwrap(),
            None => params.self_signed(&key).unwrap(),
        };
        let der = certificate.der().to_vec();
        Self { issuer: Issuer::new(params, key), der }
    }

    fn sign(&self, wish: Wish<'_>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(wish.common);
        let text = |text: &&str| (*text).try_into().unwrap();
        params.subject_alt_names.extend(wish.uris.iter().map(|uri| SanType::URI(text(uri))));
        params.subject_alt_names.extend(wish.dns.iter().map(|dns| SanType::DnsName(text(dns))));
        params.subject_alt_names.extend(wish.emails.iter().map(|email| SanType::Rfc822Name(text(email))));
        let at = |seconds: i64| date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs((NOW_SECS + seconds) as u64);
        (params.not_before, params.not_after) = (at(wish.valid.0), at(wish.valid.1));
        params.extended_key_usages = match wish.usage {
            Some(true) => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Some(false) => vec![ExtendedKeyUsagePurpose::ServerAuth],
            None => Vec::new(),
        };
        params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap().der().to_vec()
    }

    fn trusted(&self, name: &str, subject: &str) -> TrustedAuthority {
        let subject = subject.parse().unwrap();
        TrustedAuthority::new(name, [self.der.as_slice()], subject, PrincipalKind::Workload, 24 * 3600).unwrap()
    }
}

fn named(common: &[&str]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    common.iter().for_each(|common| name.push(DnType::CommonName, *common));
    name
}

fn trusting(authorities: Vec<TrustedAuthority>, directory: Directory) -> Authenticator {
    let authenticator = Authenticator::new(Vec::new(), directory);
    authenticator.set_authorities(authorities);
    authenticator
}

fn code(result: Result<Identity, crate::Denied>) -> &'static str {
    result.map_or_else(|denied| denied.code(), |_| "")
}

#[test]
fn the_holder_is_whom_the_template_says() {
    let ca = Ca::new("mesh");
    let all = Wish { uris: &["spiffe://mesh/etl"], dns: &["etl.mesh"], emails: &["etl@mesh"], common: &["etl"], ..WISH };
    for (template, subject) in [
        ("{uri}", "spiffe://mesh/etl"),
        ("{dns}", "etl.mesh"),
        ("{email}", "etl@mesh"),
        ("job:{cn}", "job:etl"),
        ("{cn}/{dns}", "etl/etl.mesh"),
    ] {
        let authenticator = trusting(vec![ca.trusted("mesh", template)], Directory::new("local"));
        let certificate = ca.sign(all);
        let identity = authenticator.verify_certificates(&[&certificate], NOW).unwrap();
        let actor = identity.chain.actor();
        assert_eq!((actor.key.clone(), actor.kind), (PrincipalKey::new("mesh", subject), PrincipalKind::Workload));
        assert_eq!((&*identity.issuer, identity.expires), ("mesh", NOW.plus_secs(3600)), "it ends with the certificate");
        assert!(identity.token.starts_with("sha256-"));
        assert_eq!(code(authenticator.verify_certificates(&[&certificate], NOW.plus_secs(3601))), "certificate.expired");
        assert!(authenticator.recheck(&identity, NOW.plus_secs(3599)).is_ok());
        assert!(authenticator.recheck(&identity, NOW.plus_secs(3600)).is_err());
    }
}

#[test]
fn who_it_is_must_not_be_a_choice() {
    let ca = Ca::new("mesh");
    for (template, wish) in [
        ("{uri}", WISH),
        ("{uri}", Wish { uris: &["spiffe://mesh/a", "spiffe://mesh/b"], ..WISH }),
        ("{dns}", Wish { dns: &["a", "b"], common: &["a"], ..WISH }),
        ("{cn}", Wish { common: &[""], dns: &["a"], ..WISH }),
        ("{cn}", Wish { common: &["a\nb"], ..WISH }),
    ] {
        let authenticator = trusting(vec![ca.trusted("mesh", template)], Directory::new("local"));
        assert_eq!(code(authenticator.verify_certificates(&[&ca.sign(wish)], NOW)), "certificate.subject", "{template}");
    }
}

#[test]
fn a_certificate_is_believed_only_if_all_of_it_is_good() {
    let (ca, stranger) = (Ca::new("mesh"), Ca::new("mesh"));
    let authenticator = trusting(vec![ca.trusted("mesh", "{cn}")], Directory::new("local"));
    let wish = Wish { common: &["etl"], ..WISH };
    for (certificate, expected) in [
        (ca.sign(wish), ""),
        (ca.sign(Wish { usage: None, ..wish }), ""),
        (ca.sign(Wish { usage: Some(false), ..wish }), "certificate.untrusted"),
        (ca.sign(Wish { valid: (-7200, -1), ..wish }), "certificate.expired"),
        (ca.sign(Wish { valid: (60, 3600), ..wish }), "certificate.not_yet_valid"),
        (ca.sign(Wish { valid: (-60, 24 * 3600), ..wish }), "certificate.lifetime"),
        (stranger.sign(wish), "certificate.untrusted"),
        (stranger.der, "certificate.untrusted"),
        (ca.der.clone(), "certificate.untrusted"),
        (b"nonsense".to_vec(), "certificate.malformed"),
    ] {
        assert_eq!(code(authenticator.verify_certificates(&[certificate], NOW)), expected);
    }
    assert_eq!(code(authenticator.verify_certificates(&[] as &[Vec<u8>], NOW)), "certificate.untrusted");
    assert_eq!(
        code(trusting(Vec::new(), Directory::new("local")).verify_certificates(&[ca.sign(wish)], NOW)),
        "certificate.untrusted"
    );
}

#[test]
fn a_path_may_lead_over_others_and_each_authority_has_its_own_principals() {
    let (root, other) = (Ca::new("root"), Ca::new("other"));
    let middle = Ca::under("middle", &root);
    let authenticator = trusting(vec![other.trusted("b", "{cn}"), root.trusted("a", "{cn}")], Directory::new("local"));
    let leaf = middle.sign(Wish { common: &["etl"], ..WISH });
    assert_eq!(code(authenticator.verify_certificates(&[&leaf], NOW)), "certificate.untrusted");
    let identity = authenticator.verify_certificates(&[&leaf, &middle.der], NOW).unwrap();
    assert_eq!(identity.chain.actor().key, PrincipalKey::new("a", "etl"));
    let theirs = authenticator.verify_certificates(&[&other.sign(Wish { common: &["etl"], ..WISH })], NOW).unwrap();
    assert_eq!(theirs.chain.actor().key, PrincipalKey::new("b", "etl"));
}

#[test]
fn what_is_registered_counts() {
    let ca = Ca::new("mesh");
    let certificate = ca.sign(Wish { common: &["etl"], ..WISH });
    let key = PrincipalKey::new("mesh", "etl");
    let registered = Registered { kind: PrincipalKind::User, groups: vec!["jobs".into()], sponsor: None, disabled: false };
    let with = |registered| Directory::new("local").with_principal(key.clone(), registered);
    let authenticator = trusting(vec![ca.trusted("mesh", "{cn}")], with(registered.clone()));
    let identity = authenticator.verify_certificates(&[&certificate], NOW).unwrap();
    assert_eq!(identity.chain.actor().groups, ["jobs".into()]);
    authenticator.set_directory(with(Registered { disabled: true, ..registered }));
    assert_eq!(code(authenticator.verify_certificates(&[&certificate], NOW)), "principal.disabled");
    assert!(authenticator.recheck(&identity, NOW).is_err());
    authenticator.set_directory(Directory::new("local").with_revoked("mesh", identity.token.clone()));
    assert_eq!(code(authenticator.verify_certificates(&[&certificate], NOW)), "token.revoked");
    authenticator.set_directory(Directory::new("local"));
    assert!(authenticator.recheck(&identity, NOW).is_ok());
    authenticator.set_authorities(Vec::new());
    assert!(authenticator.recheck(&identity, NOW).is_err(), "an authority that is trusted no more");
}

#[test]
fn an_authority_that_cannot_be_trusted_is_refused() {
    let ca = Ca::new("mesh");
    let new = |der: &[&[u8]], subject: &str| {
        let subject: SubjectTemplate = subject.parse().unwrap();
        TrustedAuthority::new("mesh", der.iter().copied(), subject, PrincipalKind::User, 1).map(|_| ())
    };
    assert_eq!(new(&[], "{cn}"), Err(InvalidAuthority::NoCertificate));
    assert_eq!(new(&[b"x"], "{cn}"), Err(InvalidAuthority::Malformed));
    assert_eq!(new(&[&ca.der], "{sub}"), Err(InvalidAuthority::Subject("sub".into())));
}

proptest! {
    #[test]
    fn altered_certificates_never_panic_nor_pass(at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let ca = Ca::new("mesh");
        let good = ca.sign(Wish { common: &["etl"], uris: &["spiffe://mesh/etl"], ..WISH });
        let authenticator = trusting(vec![ca.trusted("mesh", "{cn}")], Directory::new("local"));
        let mut altered = good.clone();
        let at = at.index(altered.len());
        altered[at] = with;
        let _ = read_certificate(&altered);
        let result = authenticator.verify_certificates(&[&altered], Timestamp::from_secs(NOW_SECS));
        prop_assert!(altered == good || result.is_err());
    }
}
