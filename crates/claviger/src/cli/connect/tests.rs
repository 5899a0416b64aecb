#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use clap::Parser;
use claviger_api::wire::Listener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::postgres::{Stream, relay};
use super::{Args, Target, reachable, split};
use crate::cli::{Cli, Command, execute, output::Output};

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSSENC_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
const STARTUP: &[u8] = b"\0\0\0\x25\0\x03\0\0user\0whoever\0database\0other\0\0";
const ASK: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

fn args(words: &[&str]) -> Args {
    let Command::Connect(args) = Cli::try_parse_from([&["claviger", "connect", "bank"], words].concat()).unwrap().command else {
        panic!()
    };
    args
}

/// One client's relay between a client's socket and a gateway at this address.
async fn client_of(address: &str, token_file: &str, ca: Option<&str>) -> TcpStream {
    let mut words = vec!["--address", address, "--token-file", token_file];
    words.extend(ca.iter().flat_map(|ca| ["--ca", ca]));
    let Args { name, address, api, .. } = args(&words);
    let target = Target::find(name, address, api).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    tokio::spawn(async move { relay(accepted, &target).await });
    client
}

async fn read(stream: &mut (impl Stream + ?Sized), count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

/// The gateway's side of a login; gives the start-up packet and the password message.
async fn let_in(gateway: &mut (impl Stream + ?Sized)) -> (Vec<u8>, Vec<u8>) {
    let mut packets = Vec::new();
    let length = gateway.read_u32().await.unwrap();
    packets.push(read(gateway, length as usize - 4).await);
    gateway.write_all(ASK).await.unwrap();
    assert_eq!(gateway.read_u8().await.unwrap(), b'p');
    let length = gateway.read_u32().await.unwrap();
    packets.push(read(gateway, length as usize - 4).await);
    gateway.write_all(WELCOME).await.unwrap();
    packets.try_into().map(|[startup, password]: [Vec<u8>; 2]| (startup, password)).unwrap()
}

/// What a client and a gateway see of each other, once the gateway has answered the request for TLS.
async fn whole_session<S: Stream>(mut client: TcpStream, accept: impl AsyncFnOnce() -> S) {
    for request in [GSSENC_REQUEST, SSL_REQUEST] {
        client.write_all(request).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'N');
    }
    client.write_all(STARTUP).await.unwrap();
    let mut gateway = accept().await;
    let (startup, password) = let_in(&mut gateway).await;
    assert_eq!(startup, b"\0\x03\0\0user\0whoever\0database\0bank\0\0");
    assert_eq!(password, b"the-token\0");
    assert_eq!(read(&mut client, WELCOME.len()).await, WELCOME);
    client.write_all(b"Q anything").await.unwrap();
    assert_eq!(read(&mut gateway, 10).await, b"Q anything");
    gateway.write_all(b"rows").await.unwrap();
    gateway.flush().await.unwrap();
    assert_eq!(read(&mut client, 4).await, b"rows");
}

async fn answered(listener: &TcpListener, answer: u8) -> TcpStream {
    let (mut gateway, _) = listener.accept().await.unwrap();
    assert_eq!(read(&mut gateway, 8).await, SSL_REQUEST);
    gateway.write_u8(answer).await.unwrap();
    gateway
}

fn token_file(dir: &tempfile::TempDir) -> String {
    let path = dir.path().join("token");
    std::fs::write(&path, "the-token\n").unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_on_this_machine_may_do_without_tls() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client_of(&listener.local_addr().unwrap().to_string(), &token_file(&dir), None).await;
    whole_session(client, async || answered(&listener, b'N').await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_goes_through_tls() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join("tls").join(name).display().to_string();
    let out = dir.path().join("tls").display().to_string();
    let made = Cli::try_parse_from(["claviger", "tls", "self-signed", "--out", &out, "--host", "localhost"]).unwrap();
    execute(made.command, &mut Output::discard()).unwrap();
    let certificate = CertificateDer::from_pem_file(file("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("key.pem")).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = client_of(&format!("localhost:{port}"), &token_file(&dir), Some(&file("ca.pem"))).await;
    let encrypted = async || acceptor.accept(answered(&listener, b'S').await).await.unwrap();
    whole_session(client, encrypted).await;

    // The certificate is not for this name.
    let mut client = client_of(&format!("127.0.0.1:{port}"), &token_file(&dir), Some(&file("ca.pem"))).await;
    client.write_all(STARTUP).await.unwrap();
    assert!(acceptor.accept(answered(&listener, b'S').await).await.is_err());
    assert_eq!(client.read_u8().await.unwrap(), b'E');
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_the_client_in_the_gateways_words() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = client_of(&listener.local_addr().unwrap().to_string(), &token_file(&dir), None).await;
    client.write_all(STARTUP).await.unwrap();
    let mut gateway = answered(&listener, b'N').await;
    read(&mut gateway, 36).await;
    let refusal = b"E\0\0\0\x0dC28000\0\0\0";
    gateway.write_all(refusal).await.unwrap();
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, refusal);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_is_handed_on() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = client_of(&listener.local_addr().unwrap().to_string(), &token_file(&dir), None).await;
    let cancel = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02";
    client.write_all(cancel).await.unwrap();
    let mut gateway = answered(&listener, b'N').await;
    let mut said = Vec::new();
    gateway.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, cancel);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_postgresql_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    for opening in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\0\0\0\x08\0\x02\0\0",
        b"\0\0\0\x04",
        b"\0\0\0\x0b\0\x03\0\0abc",
        &SSL_REQUEST.repeat(4),
    ] {
        let mut client = client_of("127.0.0.1:1", &token_file(&dir), None).await;
        client.write_all(opening).await.unwrap();
        let mut said = Vec::new();
        let _reset = client.read_to_end(&mut said).await;
        assert!(said.iter().all(|byte| *byte == b'N'), "{opening:?}");
    }
}

#[test]
fn addresses() {
    for (text, expected) in [
        ("gateway:6400", Some(("gateway", 6400))),
        ("[::1]:6400", Some(("::1", 6400))),
        ("10.0.0.7:1", Some(("10.0.0.7", 1))),
        ("gateway", None),
        ("gateway:0", None),
        (":6400", None),
        ("a:b:1", None),
    ] {
        assert_eq!(split(text), expected.map(|(host, port)| (host.to_owned(), port)), "{text}");
    }
}

#[test]
fn an_unspecified_listener_is_where_the_api_is() {
    for (listener, url, expected) in [
        ("0.0.0.0:6400", "https://gw.internal:8443", "gw.internal:6400"),
        ("[::]:6400", "https://[2001:db8::1]:8443/", "[2001:db8::1]:6400"),
        ("0.0.0.0:6400", "https://gw.internal", "gw.internal:6400"),
        ("10.1.1.1:6400", "https://gw.internal:8443", "10.1.1.1:6400"),
    ] {
        assert_eq!(reachable(&Listener { address: listener.into(), shared: true }, url), expected);
    }
}
