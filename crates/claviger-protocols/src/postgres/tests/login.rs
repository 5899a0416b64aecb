//! From the first byte to the open session.

use bytes::Bytes;
use claviger_model::{Refusal, RefusalKind, Secret};

use super::rig::*;
use crate::postgres::scram::md5_password;
use crate::postgres::{SSL_REQUEST, Version, cancel_request, write};
use crate::{BackendKey, Cancel, Protocol, ProtocolOptions, Reply, Side, UpstreamTls};

/// GSSENCRequest.
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];

#[test]
fn negotiates_and_logs_in() {
    for chunk in [usize::MAX, 1] {
        let mut rig = Rig::new(OPTIONS, chunk);
        rig.client(&GSS_REQUEST);
        rig.client(&SSL_REQUEST);
        rig.postgres.resume(Reply::TlsStarted(Side::Downstream, None));
        let parameters = [
            ("user", "alice"),
            ("database", "shop"),
            ("options", "-c search_path=a --timezone=CET"),
            ("TimeZone", "UTC"),
            ("ssl_renegotiation_limit", "0"),
            ("_pq_.x", "1"),
        ];
        rig.client(&startup_of(0, &parameters));
        rig.client(&frame(b'p', &[b"token\0"]));
        assert_eq!(rig.told(), ["StartTls(Downstream)", "login Some(\"alice\") Some(\"shop\") token"]);
        let negotiated = frame(b'v', &[&[0, 3, 0, 0, 0, 0, 0, 1], b"_pq_.x\0"]);
        assert_eq!(rig.sent("<- "), hex(&[Bytes::from_static(b"NS"), negotiated, auth(3, b"")]));
        rig.log.clear();

        rig.postgres.resume(Reply::Authenticated(upstream_login(UpstreamTls::Require)));
        rig.drain();
        rig.server(b"S");
        rig.postgres.resume(Reply::TlsStarted(Side::Upstream, None));
        rig.server(&auth(5, &[1, 2, 3, 4]));
        let settings = frame(b'S', &[b"server_version\0\x318\0"]);
        rig.server(&cat(&[auth(0, b""), settings.clone(), frame(b'K', &[&[0, 0, 0, 7], b"secret"]), ready(b'I')]));
        let key = Some(BackendKey { process: 7, secret: Bytes::from_static(b"secret") });
        assert_eq!(rig.told(), ["StartTls(Upstream)".to_owned(), format!("Ready({key:?})")]);
        let own = [
            ("user", "app"),
            ("database", "shop"),
            ("application_name", "claviger:alice"),
            ("TimeZone", "UTC"),
            ("search_path", "a"),
        ];
        let md5 = md5_password("app", &Secret::new("pencil"), &[1, 2, 3, 4]);
        let answer = frame(b'p', &[&md5, b"\0"]);
        assert_eq!(rig.sent("-> "), hex(&[Bytes::from_static(&SSL_REQUEST), startup(&own), answer]));
        rig.log.clear();
        rig.postgres.resume(Reply::Serve);
        rig.drain();
        let greeting = [auth(0, b""), settings, frame(b'K', &[&[0, 0, 0, 7, 9, 9, 9, 9]]), ready(b'I')];
        assert_eq!(rig.sent("<- "), hex(&greeting));
    }
}

#[test]
fn refuses_what_is_not_a_login() {
    let plain = ProtocolOptions { plaintext: false, ..OPTIONS };
    for (options, input, kind) in [
        (plain, startup(&[("user", "a")]).to_vec(), RefusalKind::Unauthenticated),
        (OPTIONS, startup(&[("user", "a"), ("replication", "database")]).to_vec(), RefusalKind::Unsupported),
        (OPTIONS, startup(&[("user", "a"), ("role", "postgres")]).to_vec(), RefusalKind::Unsupported),
        (OPTIONS, startup(&[("user", "a"), ("options", "-c role=postgres")]).to_vec(), RefusalKind::Unsupported),
        (OPTIONS, startup(&[("user", "a"), ("options", "-e")]).to_vec(), RefusalKind::Unsupported),
        (OPTIONS, startup(&[("user", "a"), ("user", "b")]).to_vec(), RefusalKind::ProtocolViolation),
        (OPTIONS, startup(&[("user", &"a".repeat(10_000))]).to_vec(), RefusalKind::ProtocolViolation),
        (OPTIONS, [GSS_REQUEST; 2].concat(), RefusalKind::ProtocolViolation),
        (ProtocolOptions { tls: false, ..OPTIONS }, [SSL_REQUEST; 2].concat(), RefusalKind::ProtocolViolation),
        (OPTIONS, vec![0, 0, 0, 15, 4, 210, 22, 46, 0, 0, 0, 7, 1, 2, 3], RefusalKind::ProtocolViolation),
        (ProtocolOptions { tls: false, ..OPTIONS }, vec![0x16, 3, 1, 2], RefusalKind::ProtocolViolation),
        (OPTIONS, [&startup(&[("user", "a")])[..], &query("select 1")].concat(), RefusalKind::ProtocolViolation),
    ] {
        for chunk in [usize::MAX, 1] {
            let mut rig = Rig::new(options.clone(), chunk);
            rig.client(&input);
            let closed = format!("Closed(ByGateway(Refusal {{ kind: {kind:?},");
            assert!(rig.told().last().is_some_and(|last| last.starts_with(&closed)), "{:?}", rig.log);
        }
    }
}

#[test]
fn hides_why_the_upstream_refuses() {
    let mut rig = Rig::new(OPTIONS, 1);
    rig.client(&startup(&[("user", "alice")]));
    rig.client(&frame(b'p', &[b"token\0"]));
    rig.postgres.resume(Reply::Authenticated(upstream_login(UpstreamTls::Disable)));
    rig.server(&failure("FATAL", "28P01"));
    let shown = Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream refused the gateway's login");
    assert_eq!(rig.sent("<- "), hex(&[auth(3, b""), write::error("FATAL", &shown)]));
}

#[test]
fn an_unproven_scram_server_is_refused() {
    let mut rig = Rig::new(OPTIONS, 1);
    rig.client(&startup(&[("user", "alice")]));
    rig.client(&frame(b'p', &[b"token\0"]));
    rig.postgres.resume(Reply::Authenticated(upstream_login(UpstreamTls::Disable)));
    rig.server(&cat(&[auth(10, b"SCRAM-SHA-256\0\0"), auth(0, b"")]));
    assert!(rig.told().last().unwrap().contains("an authentication request out of order"), "{:?}", rig.log);
}

#[test]
fn passes_a_cancel_on_without_an_answer() {
    let mut rig = Rig::new(OPTIONS, 1);
    rig.client(&cancel_request(&BackendKey { process: 7, secret: Bytes::from_static(&[9; 4]) }));
    let cancel = Cancel { process: 7, secret: Bytes::from_static(&[9; 4]) };
    assert_eq!(rig.log, [format!("Cancel({cancel:?})"), "Closed(ByClient)".to_owned()]);
}

/// What is sent in plain text behind the request for TLS must not pass for bytes sent inside it (CVE-2021-23222).
#[test]
fn nothing_may_follow_a_request_for_tls() {
    let injected = [&SSL_REQUEST[..], b"x"].concat();
    let mut rig = Rig::new(OPTIONS, usize::MAX);
    rig.client(&injected);
    assert!(rig.told().last().unwrap().starts_with("Closed(ByGateway("), "{:?}", rig.log);
    // Later, the driver finds the bytes left over.
    let mut rig = Rig::new(OPTIONS, 1);
    rig.client(&injected);
    assert_eq!(rig.told(), ["StartTls(Downstream)"]);
    assert_eq!(&rig.inputs[0][..], b"x");
}

/// What each client version is answered, and how long the secret is that it gets (manual, 55.2.1 and 55.7).
#[test]
fn speaks_the_versions_that_clients_speak() {
    let v = |version: u8, options: &[&[u8]]| {
        frame(b'v', &[&[0, 3, 0, version, 0, 0, 0, options.len() as u8], options.concat().as_slice()])
    };
    for (minor, option, negotiated, secret) in [
        (0, false, None, 4),
        (0, true, Some(v(0, &[b"_pq_.x\0"])), 4),
        (1, false, None, 4),
        (2, false, None, 32),
        (2, true, Some(v(2, &[b"_pq_.x\0"])), 32),
        (3, false, Some(v(2, &[])), 32),
        (9999, true, Some(v(2, &[b"_pq_.x\0"])), 32),
    ] {
        let mut rig = Rig::new(OPTIONS, 1);
        let parameters = [("user", "alice"), ("_pq_.x", "1")];
        rig.client(&startup_of(minor, if option { &parameters } else { &parameters[..1] }));
        let expected: Vec<_> = negotiated.into_iter().chain([auth(3, b"")]).collect();
        assert_eq!(rig.sent("<- "), hex(&expected), "3.{minor}");
        rig.client(&frame(b'p', &[b"token\0"]));
        assert_eq!(rig.secrets, [secret], "3.{minor}");
    }
}

/// The version asked of the upstream is the connection's affair, and an older server may settle for an older one, once.
#[test]
fn asks_the_upstream_for_a_version_of_its_own() {
    let settled = frame(b'v', &[&[0, 3, 0, 0, 0, 0, 0, 0]]);
    let long = [7; 256];
    let key = |secret: &[u8]| frame(b'K', &[&[0, 0, 0, 7], secret]);
    for (asked, said, fine) in [
        (Version::V3_2, cat(&[auth(0, b""), key(&long), ready(b'I')]), true),
        (Version::V3_2, cat(&[settled.clone(), auth(0, b""), key(&[1, 2, 3, 4]), ready(b'I')]), true),
        (Version::V3_0, cat(&[auth(0, b""), key(&[1, 2, 3, 4]), ready(b'I')]), true),
        (Version::V3_0, settled.clone(), false),
        (Version::V3_2, cat(&[settled.clone(), settled.clone()]), false),
        (Version::V3_2, cat(&[auth(5, &[1, 2, 3, 4]), settled]), false),
        (Version::V3_2, frame(b'v', &[&[0, 3, 0, 1, 0, 0, 0, 0]]), false),
        (Version::V3_2, frame(b'v', &[&[0, 3, 0, 0, 0, 0, 0, 1], b"_pq_.x\0"]), false),
        (Version::V3_2, cat(&[auth(0, b""), key(&[7; 257])]), false),
        (Version::V3_0, cat(&[auth(0, b""), key(&[1, 2, 3])]), false),
    ] {
        let mut rig = Rig::new(OPTIONS, 1);
        rig.client(&startup(&[("user", "alice")]));
        rig.client(&frame(b'p', &[b"token\0"]));
        let mut login = upstream_login(UpstreamTls::Disable);
        login.version = asked;
        rig.postgres.resume(Reply::Authenticated(login));
        rig.server(&said);
        let last = rig.told().pop().unwrap().to_owned();
        assert_eq!(last.starts_with("Ready("), fine, "{asked:?}: {last}");
    }
}

#[test]
fn a_client_learns_that_a_setting_of_its_own_is_wrong() {
    for (code, shown) in [
        ("22023", Refusal::new(RefusalKind::InvalidSetting, "secret")),
        ("42704", Refusal::new(RefusalKind::InvalidSetting, "secret")),
        ("42501", Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream refused the gateway's login")),
    ] {
        let mut rig = Rig::new(OPTIONS, 1);
        rig.client(&startup(&[("user", "alice"), ("work_mem", "much")]));
        rig.client(&frame(b'p', &[b"token\0"]));
        rig.postgres.resume(Reply::Authenticated(upstream_login(UpstreamTls::Disable)));
        rig.server(&cat(&[auth(0, b""), failure("FATAL", code)]));
        assert_eq!(rig.sent("<- "), hex(&[auth(3, b""), write::error("FATAL", &shown)]));
    }
}
