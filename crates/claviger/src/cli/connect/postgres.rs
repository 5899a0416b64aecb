//! The PostgreSQL login, played from both sides (PostgreSQL manual, 55.2.1, 55.3 and 55.7).

use anyhow::{Context, bail};
use claviger_model::Secret;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{LOGIN_TIMEOUT, Target};

const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;
/// The protocol's major version 3, whatever the minor.
const PROTOCOL_3: u32 = 3;

/// The longest start-up packet; the server's own limit.
const MAX_STARTUP: u32 = 10_000;
/// The longest message of the gateway before the login is over.
const MAX_MESSAGE: u32 = 64 * 1024;

/// The one SASL mechanism that a gateway offers.
const OAUTHBEARER: &[u8] = b"OAUTHBEARER\0\0";

/// What a client opens with.
#[derive(Debug, PartialEq, Eq)]
enum Opening {
    /// A session: the start-up packet's version and parameters.
    Session { version: u32, parameters: Vec<(String, String)> },
    /// A cancel request, whole.
    Cancel(Vec<u8>),
}

/// Serves one client from its first byte to its last.
pub(super) async fn relay(mut client: TcpStream, target: &Target) -> anyhow::Result<()> {
    client.set_nodelay(true)?;
    let opening = timeout(LOGIN_TIMEOUT, read_opening(&mut client)).await.context("the client took too long")??;
    match connect(client, target, opening).await? {
        Some((mut client, mut gateway)) => {
            // How a session ends is between client and gateway.
            let _ended = copy_bidirectional(&mut client, &mut *gateway).await;
            Ok(())
        }
        None => Ok(()),
    }
}

/// A stream to the gateway, encrypted or on this machine.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Logs a client in. If that fails the client is told why; `None` if there is nothing more to do.
async fn connect(
    mut client: TcpStream,
    target: &Target,
    opening: Opening,
) -> anyhow::Result<Option<(TcpStream, Box<dyn Stream>)>> {
    let attempt = async {
        let mut gateway = open(target).await?;
        match opening {
            Opening::Cancel(packet) => {
                gateway.write_all(&packet).await?;
                gateway.shutdown().await?;
                Ok(None)
            }
            Opening::Session { version, parameters } => {
                gateway.write_all(&startup(version, &parameters, &target.connection)).await?;
                gateway.flush().await?;
                let served = log_in(&mut client, &mut *gateway, || target.token()).await?;
                Ok(served.then_some(gateway))
            }
        }
    };
    match timeout(LOGIN_TIMEOUT, attempt).await.unwrap_or_else(|_| Err(anyhow::anyhow!("the gateway took too long"))) {
        Ok(gateway) => Ok(gateway.map(|gateway| (client, gateway))),
        Err(error) => {
            client.write_all(&error_response(&format!("claviger connect: {error:#}"))).await?;
            Err(error)
        }
    }
}

/// Answers requests for encryption with no, until the client says what it wants.
async fn read_opening(client: &mut (impl Stream + ?Sized)) -> anyhow::Result<Opening> {
    // Each kind of encryption may be asked for once.
    for _ in 0..3 {
        let length = client.read_u32().await?;
        if !(8..=MAX_STARTUP).contains(&length) {
            bail!("the client does not speak PostgreSQL");
        }
        let code = client.read_u32().await?;
        let mut rest = vec![0; usize::try_from(length - 8)?];
        client.read_exact(&mut rest).await?;
        match code {
            SSL_REQUEST | GSSENC_REQUEST => client.write_all(b"N").await?,
            CANCEL_REQUEST => {
                let packet = [&length.to_be_bytes()[..], &code.to_be_bytes(), &rest].concat();
                return Ok(Opening::Cancel(packet));
            }
            version if version >> 16 == PROTOCOL_3 => {
                let parameters = parse_parameters(&rest).context("the client's start-up packet is malformed")?;
                return Ok(Opening::Session { version, parameters });
            }
            _ => bail!("the client speaks another version of the protocol"),
        }
    }
    bail!("the client asks for encryption again and again")
}

/// Name and value by turns, each ended by a zero byte, and one more at the end.
fn parse_parameters(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let mut words = bytes.strip_suffix(b"\0\0")?.split(|byte| *byte == 0).map(|word| String::from_utf8(word.to_vec()).ok());
    let mut parameters = Vec::new();
    while let Some(name) = words.next() {
        parameters.push((name?, words.next()??));
    }
    Some(parameters)
}

/// The start-up packet for the gateway: the client's, with the connection as its database.
fn startup(version: u32, parameters: &[(String, String)], connection: &str) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    let kept = parameters.iter().filter(|(name, _)| name != "database").map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in kept.chain([("database", connection)]) {
        for word in [name, value] {
            body.extend_from_slice(word.as_bytes());
            body.push(0);
        }
    }
    body.push(0);
    framed(None, &body)
}

/// Opens TLS to the gateway. Without TLS only a gateway on this machine is spoken to, for a token follows.
async fn open(target: &Target) -> anyhow::Result<Box<dyn Stream>> {
    let mut stream = target.dial().await?;
    stream.write_all(&framed(None, &SSL_REQUEST.to_be_bytes())).await?;
    match stream.read_u8().await.context("the gateway closed the connection")? {
        b'S' => Ok(Box::new(target.encrypt(stream).await?)),
        b'N' if stream.peer_addr()?.ip().is_loopback() => Ok(Box::new(stream)),
        b'N' => bail!("the gateway offers no TLS; the token is not sent without it"),
        _ => bail!("the gateway does not speak PostgreSQL"),
    }
}

/// Presents the token when the gateway asks for it, and hands the rest on. False if the gateway refused, which the client has
/// been told in the gateway's own words.
async fn log_in(
    client: &mut (impl Stream + ?Sized),
    gateway: &mut (impl Stream + ?Sized),
    token: impl Fn() -> anyhow::Result<Secret>,
) -> anyhow::Result<bool> {
    loop {
        let kind = gateway.read_u8().await.context("the gateway closed the connection")?;
        let length = gateway.read_u32().await?;
        if !(4..=MAX_MESSAGE).contains(&length) {
            bail!("the gateway does not speak PostgreSQL");
        }
        let mut body = vec![0; usize::try_from(length - 4)?];
        gateway.read_exact(&mut body).await?;
        let request = body.first_chunk().map(|code| u32::from_be_bytes(*code));
        match (kind, request) {
            (b'R', Some(3)) => {
                let message = Secret::new(framed(Some(b'p'), &[token()?.expose(), b"\0"].concat()));
                say(gateway, message.expose()).await?;
            }
            (b'R', Some(10)) if body.get(4..) == Some(OAUTHBEARER) => say(gateway, bearer(&token()?).expose()).await?,
            // Where to get a token is of no use here. The gateway says what is wrong with this one when it is understood.
            (b'R', Some(11)) => say(gateway, &framed(Some(b'p'), b"\x01")).await?,
            (b'R', Some(0)) => {
                client.write_all(&framed(Some(kind), &body)).await?;
                return Ok(true);
            }
            // An error, a notice, or which version of the protocol is spoken.
            (b'E' | b'N' | b'v', _) => {
                client.write_all(&framed(Some(kind), &body)).await?;
                if kind == b'E' {
                    return Ok(false);
                }
            }
            _ => bail!("the gateway asks for another kind of login"),
        }
    }
}

async fn say(gateway: &mut (impl Stream + ?Sized), message: &[u8]) -> std::io::Result<()> {
    gateway.write_all(message).await?;
    gateway.flush().await
}

/// SASLInitialResponse with a token (RFC 7628, section 3.1).
fn bearer(token: &Secret) -> Secret {
    let said = Secret::new([b"n,,\x01auth=Bearer ", token.expose(), b"\x01\x01"].concat());
    // INVARIANT: tokens are far below 4 GiB.
    let length = u32::try_from(said.expose().len()).unwrap_or(u32::MAX).to_be_bytes();
    let body = Secret::new([b"OAUTHBEARER\0", &length[..], said.expose()].concat());
    Secret::new(framed(Some(b'p'), body.expose()))
}

/// A message: its kind, if it has one, its length, its body.
fn framed(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
    // INVARIANT: bodies here are far below 4 GiB.
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    let mut message: Vec<u8> = kind.into_iter().collect();
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(body);
    message
}

/// ErrorResponse (PostgreSQL manual, 54.7 and 54.8): 08001, the connection could not be made.
fn error_response(message: &str) -> Vec<u8> {
    let message = message.replace('\0', " ");
    framed(Some(b'E'), format!("SFATAL\0VFATAL\0C08001\0M{message}\0\0").as_bytes())
}
