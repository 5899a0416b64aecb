//! What clients prove themselves with, and how the gateway proves itself upstream.

use bytes::Bytes;
use claviger_model::{Refusal, RefusalKind};

use super::rig::*;
use crate::postgres::{oauth, write};
use crate::{Ask, Auth, ChannelBinding, Protocol, ProtocolOptions, Reply, Side, UpstreamTls};

const DISCOVERY: &[u8] = b"{\"status\":\"invalid_token\"}";

fn bearer() -> ProtocolOptions {
    let ask = Ask::Bearer { discovery: Bytes::from_static(DISCOVERY) };
    ProtocolOptions { plaintext: false, auth: Auth { certificate: false, ask }, ..OPTIONS }
}

/// A client inside TLS that has said who it wants to be.
fn arrived(options: ProtocolOptions, certificate: Option<Bytes>, chunk: usize) -> Rig {
    let mut rig = Rig::new(options, chunk);
    rig.client(&crate::postgres::SSL_REQUEST);
    rig.postgres.resume(Reply::TlsStarted(Side::Downstream, certificate));
    rig.client(&startup(&[("user", "alice")]));
    rig.log.remove(0);
    rig
}

fn initial(mechanism: &str, message: Option<&[u8]>) -> Bytes {
    let length = message.map_or(-1, |message| message.len() as i32).to_be_bytes();
    frame(b'p', &[mechanism.as_bytes(), b"\0", &length, message.unwrap_or_default()])
}

fn fatal(kind: RefusalKind, message: &str) -> Bytes {
    write::error("FATAL", &Refusal::new(kind, message))
}

#[test]
fn a_client_that_begins_tls_by_itself_is_not_read() {
    let hello = [0x16, 3, 1, 0, 200, 1, 2, 3];
    let mut rig = Rig::new(OPTIONS, usize::MAX);
    rig.client(&hello);
    assert_eq!(rig.log, ["DirectTls"]);
    assert_eq!(&rig.inputs[0][..], hello, "the driver hands it to TLS");
    rig.inputs[0].clear();
    rig.postgres.resume(Reply::TlsStarted(Side::Downstream, None));
    rig.client(&startup(&[("user", "alice")]));
    assert_eq!(rig.sent("<- "), hex(&[auth(3, b"")]));
    // Inside TLS there is no second one.
    let mut rig = Rig::new(OPTIONS, usize::MAX);
    rig.client(&crate::postgres::SSL_REQUEST);
    rig.postgres.resume(Reply::TlsStarted(Side::Downstream, None));
    rig.client(&hello);
    assert!(rig.told().last().unwrap().starts_with("Closed(ByGateway("), "{:?}", rig.log);
}

#[test]
fn a_bearer_token_is_presented() {
    let message = b"n,,\x01auth=Bearer token\x01\x01";
    for chunk in [usize::MAX, 1] {
        let mut rig = arrived(bearer(), None, chunk);
        rig.client(&initial("OAUTHBEARER", Some(message)));
        assert_eq!(rig.told().last().unwrap(), &"login Some(\"alice\") None token");
        // The mechanism first and the message after it.
        let mut rig = arrived(bearer(), None, chunk);
        rig.client(&initial("OAUTHBEARER", None));
        rig.client(&frame(b'p', &[message]));
        assert_eq!(rig.told().last().unwrap(), &"login Some(\"alice\") None token");
        assert!(rig.sent("<- ").ends_with(&hex(&[oauth::offer(), oauth::proceed(b"")])), "{:?}", rig.log);
    }
}

/// Asking where to get a token is no attempt: nothing is presented.
#[test]
fn a_client_without_a_token_learns_where_to_get_one() {
    for auth in ["", "Bearer ", "Basic x"] {
        let mut rig = arrived(bearer(), None, 1);
        rig.client(&initial("OAUTHBEARER", Some(format!("n,,\x01auth={auth}\x01\x01").as_bytes())));
        rig.client(&frame(b'p', &[b"\x01"]));
        let needed = fatal(RefusalKind::Unauthenticated, "a bearer token is needed");
        assert!(rig.sent("<- ").ends_with(&hex(&[oauth::offer(), oauth::proceed(DISCOVERY), needed])), "{:?}", rig.log);
        assert!(rig.told().iter().all(|told| !told.starts_with("login")), "{:?}", rig.log);
        assert!(rig.told().last().unwrap().starts_with("Closed(ByGateway("), "{:?}", rig.log);
    }
}

#[test]
fn a_client_whose_token_is_refused_learns_where_to_get_another() {
    for (kind, asks_again) in [(RefusalKind::Unauthenticated, true), (RefusalKind::NotPermitted, false)] {
        let mut rig = arrived(bearer(), None, 1);
        rig.client(&initial("OAUTHBEARER", Some(b"n,,\x01auth=Bearer token\x01\x01")));
        rig.postgres.resume(Reply::Terminate(Refusal::new(kind, "no")));
        rig.drain();
        let refused = fatal(kind, "no");
        if asks_again {
            assert!(rig.sent("<- ").ends_with(&hex(&[oauth::proceed(DISCOVERY)])), "{:?}", rig.log);
            rig.client(&frame(b'p', &[b"\x01"]));
        }
        assert!(rig.sent("<- ").ends_with(&hex(&[refused])), "{:?}", rig.log);
    }
}

#[test]
fn nonsense_in_sasl_is_refused() {
    let token = Some(&b"n,,\x01auth=Bearer token\x01\x01"[..]);
    let probe = Some(&b"n,,\x01auth=\x01\x01"[..]);
    for said in [
        vec![initial("SCRAM-SHA-256", token)],
        vec![initial("", token)],
        vec![initial("OAUTHBEARER", Some(b""))],
        vec![initial("OAUTHBEARER", Some(b"n,,\x01auth=Bearer token\x01\x01x"))],
        vec![frame(b'p', &[b"token\0"])],
        vec![frame(b'p', &[b"OAUTHBEARER\0\0\0\0\x09short"])],
        vec![frame(b'p', &[b"OAUTHBEARER\0\xff\xff\xff\xfe"])],
        vec![frame(b'p', &[b"OAUTHBEARER\0\0\0\0\0x"])],
        vec![query("select 1")],
        vec![initial("OAUTHBEARER", None), initial("OAUTHBEARER", token)],
        vec![initial("OAUTHBEARER", probe), frame(b'p', &[b"\x02"])],
        vec![initial("OAUTHBEARER", probe), frame(b'p', &[])],
        vec![initial("OAUTHBEARER", probe), initial("OAUTHBEARER", token)],
    ] {
        let mut rig = arrived(bearer(), None, 1);
        said.iter().for_each(|bytes| rig.client(bytes));
        let last = rig.told().pop().unwrap().to_owned();
        assert!(last.contains("kind: ProtocolViolation"), "{last}");
        assert!(rig.told().iter().all(|told| !told.starts_with("login")), "{:?}", rig.log);
        assert!(rig.sent("<- ").contains(&hex(&[Bytes::from_static(b"C08P01\0")])), "{:?}", rig.log);
    }
}

#[test]
fn a_bearer_token_is_never_asked_for_outside_tls() {
    for plaintext in [false, true] {
        let mut rig = Rig::new(ProtocolOptions { plaintext, ..bearer() }, 1);
        rig.client(&startup(&[("user", "alice")]));
        assert!(rig.told().last().unwrap().contains("kind: Unauthenticated"), "{:?}", rig.log);
        assert!(!rig.sent("<- ").contains(&hex(&[oauth::offer()])));
    }
}

#[test]
fn a_certificate_is_presented_where_it_counts() {
    let shown = || Some(Bytes::from_static(b"certificate"));
    let with = |certificate, ask| ProtocolOptions { auth: Auth { certificate, ask }, ..OPTIONS };
    for (options, certificate, expected) in [
        (with(true, Ask::Password), shown(), "login Some(\"alice\") None certificate"),
        (with(true, Ask::Nothing), shown(), "login Some(\"alice\") None certificate"),
        (with(true, Ask::Password), None, ""),
        (with(false, Ask::Password), shown(), ""),
        (with(true, Ask::Nothing), None, "kind: Unauthenticated"),
    ] {
        let rig = arrived(options, certificate, 1);
        let last = rig.told().pop().unwrap_or_default().to_owned();
        let asked = rig.sent("<- ").ends_with(&hex(&[auth(3, b"")]));
        assert!(last.contains(expected) && asked == expected.is_empty(), "{:?}", rig.log);
    }
}

/// By libpq's rules for `channel_binding`. The certificate's signature is ecdsa-with-SHA256.
#[test]
fn binds_to_the_channel_as_it_is_told() {
    let certificate: &[u8] = &[0x30, 17, 0x30, 0, 0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2, 3, 1, 0];
    let odd: &[u8] = &[0x30, 0];
    let (plain, plus) = ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS");
    use ChannelBinding::{Disable, Prefer, Require};
    for (wish, tls, offered, expected) in [
        (Prefer, Some(certificate), &[plus, plain][..], Some((plus, "p=tls-server-end-point,,"))),
        (Require, Some(certificate), &[plain, plus], Some((plus, "p=tls-server-end-point,,"))),
        (Disable, Some(certificate), &[plus, plain], Some((plain, "n,,"))),
        (Prefer, Some(certificate), &[plain], Some((plain, "y,,"))),
        (Prefer, Some(odd), &[plus, plain], Some((plain, "n,,"))),
        (Prefer, None, &[plus, plain], Some((plain, "n,,"))),
        (Require, Some(certificate), &[plain], None),
        (Require, Some(odd), &[plus, plain], None),
        (Require, None, &[plus, plain], None),
        (Disable, Some(certificate), &[plus], None),
    ] {
        let mut rig = entering(wish, tls);
        let offer = offered.iter().flat_map(|name| [name.as_bytes(), b"\0"].concat()).chain([0]).collect::<Vec<_>>();
        rig.server(&auth(10, &offer));
        match expected {
            Some((mechanism, header)) => {
                let start = format!("{mechanism}\0");
                let sent = rig.sent("-> ");
                assert!(
                    sent.contains(&hex(&[start.into()])) && sent.contains(&hex(&[format!("{header}n=,r=").into()])),
                    "{sent}"
                );
            }
            None => assert!(rig.told().last().unwrap().contains("kind: UpstreamUnavailable"), "{:?}", rig.log),
        }
    }
    // Whoever must be bound takes nothing less, and nothing at all.
    for said in [auth(0, b""), auth(3, b""), auth(5, &[1, 2, 3, 4])] {
        let mut rig = entering(Require, Some(certificate));
        rig.server(&said);
        assert!(rig.told().last().unwrap().contains("does not bind its login"), "{:?}", rig.log);
    }
}

/// A gateway that begins to log in upstream.
fn entering(binding: ChannelBinding, certificate: Option<&'static [u8]>) -> Rig {
    let mut rig = Rig::new(OPTIONS, 1);
    rig.client(&startup(&[("user", "alice")]));
    rig.client(&frame(b'p', &[b"token\0"]));
    let mut login = upstream_login(if certificate.is_some() { UpstreamTls::Require } else { UpstreamTls::Disable });
    login.channel_binding = binding;
    rig.postgres.resume(Reply::Authenticated(login));
    rig.drain();
    if let Some(certificate) = certificate {
        rig.server(b"S");
        rig.postgres.resume(Reply::TlsStarted(Side::Upstream, Some(Bytes::from_static(certificate))));
        rig.drain();
    }
    rig
}
