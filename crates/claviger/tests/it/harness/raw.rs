//! A client that sends whatever bytes a test wants, and reads frames one by one (PostgreSQL manual, 55.7).

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// `SSLRequest`.
pub(crate) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// How long a test waits for bytes.
const PATIENCE: Duration = Duration::from_secs(20);

/// One message: its type and its body.
pub(crate) type Message = (u8, Vec<u8>);

/// A raw connection, plain or inside TLS.
pub(crate) struct Raw {
    stream: Box<dyn Duplex>,
    socket: TcpStream,
}

trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

impl Raw {
    /// A connection on which nothing has been said.
    pub(crate) fn plain(port: u16) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).expect("the port is open");
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: Box::new(socket.try_clone().unwrap()), socket }
    }

    /// A connection on which TLS has been asked for and started.
    pub(crate) fn tls(port: u16, trusted: &Path) -> Self {
        let mut raw = Self::plain(port);
        raw.send(&SSL_REQUEST);
        assert_eq!(raw.byte(), Some(b'S'), "TLS is offered");
        raw.start_tls(trusted);
        raw
    }

    pub(crate) fn start_tls(&mut self, trusted: &Path) {
        self.start_tls_of(super::session::client_config(trusted)).expect("the handshake succeeds");
    }

    /// Starts TLS with these settings; the protocol that both sides named, if they did.
    pub(crate) fn start_tls_of(&mut self, config: Arc<ClientConfig>) -> io::Result<Option<Vec<u8>>> {
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = ClientConnection::new(config, name).unwrap();
        let mut socket = self.socket.try_clone().unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        let named = tls.alpn_protocol().map(<[u8]>::to_vec);
        self.stream = Box::new(StreamOwned::new(tls, socket));
        Ok(named)
    }

    /// Logs in; what the server said from its acceptance to its readiness, or the error.
    pub(crate) fn login(&mut self, user: &str, database: &str, password: &str) -> Result<Vec<Message>, Message> {
        self.enter(&startup_packet(&[("user", user), ("database", database)]), password)
    }

    /// Logs in with this start-up message.
    pub(crate) fn enter(&mut self, startup: &[u8], password: &str) -> Result<Vec<Message>, Message> {
        self.send(startup);
        match self.message() {
            Some((b'R', body)) if body == [0, 0, 0, 3] => {}
            Some(error) => return Err(error),
            None => return Err((0, Vec::new())),
        }
        self.send(&frame(b'p', &terminated(password)));
        let answers = self.until_ready();
        match answers.last() {
            Some((b'Z', _)) => Ok(answers),
            Some(error) => Err(error.clone()),
            None => Err((0, Vec::new())),
        }
    }

    /// Sends bytes. The other side may have gone: what it said before is for the reader to find.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
    }

    /// One simple query: all that the server said, to its readiness or the end.
    pub(crate) fn query(&mut self, query: &str) -> Vec<Message> {
        self.send(&frame(b'Q', &terminated(query)));
        self.until_ready()
    }

    /// Messages up to and with `ReadyForQuery`, or up to the end.
    pub(crate) fn until_ready(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.message() {
            let ready = message.0 == b'Z';
            messages.push(message);
            if ready {
                break;
            }
        }
        messages
    }

    /// The next message; `None` at the end.
    pub(crate) fn message(&mut self) -> Option<Message> {
        let kind = self.byte()?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap();
        assert!((4..1 << 30).contains(&length), "message {:?} with a length of {length}", char::from(kind));
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).ok()?;
        Some((kind, body))
    }

    /// The next byte; `None` at the end.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        loop {
            return match self.stream.read(&mut byte) {
                Ok(0) => None,
                Ok(_) => Some(byte[0]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    panic!("nothing came for {PATIENCE:?}")
                }
                // The test itself was stopped, and goes on.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // However rudely: the other side has gone.
                Err(_) => None,
            };
        }
    }

    /// Gives up sending to a side that does not read, after this time.
    pub(crate) fn set_write_timeout(&self, timeout: Duration) {
        self.socket.set_write_timeout(Some(timeout)).unwrap();
    }

    /// Sends no more, and waits until the other side has closed; how many bytes it still sent.
    pub(crate) fn finish(mut self) -> usize {
        let _ = self.stream.flush();
        let _ = self.socket.shutdown(Shutdown::Write);
        let mut count = 0;
        while self.byte().is_some() {
            count += 1;
        }
        count
    }
}

/// A message in its frame.
pub(crate) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// A start-up message of protocol 3.0 with these parameters.
pub(crate) fn startup_packet(parameters: &[(&str, &str)]) -> Vec<u8> {
    startup_of(0, parameters)
}

/// A start-up message of protocol 3 with this minor version.
pub(crate) fn startup_of(minor: u16, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = [[0, 3], minor.to_be_bytes()].concat();
    for (name, value) in parameters {
        body.extend_from_slice(&terminated(name));
        body.extend_from_slice(&terminated(value));
    }
    body.push(0);
    let mut bytes = u32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(&body);
    bytes
}

/// A field of an `ErrorResponse`, such as `C` for the SQLSTATE.
pub(crate) fn error_field(message: &Message, field: u8) -> String {
    assert_eq!(message.0, b'E', "an error is expected, not {:?}", char::from(message.0));
    let found = message.1.split(|byte| *byte == 0).find(|part| part.first() == Some(&field));
    found.map(|part| String::from_utf8_lossy(&part[1..]).into_owned()).unwrap_or_default()
}

/// The value in the first row of an answer.
pub(crate) fn text_value(answer: &[Message]) -> String {
    let row = &answer.iter().find(|(kind, _)| *kind == b'D').unwrap_or_else(|| panic!("{answer:?}")).1;
    String::from_utf8(row[6..].to_vec()).unwrap()
}

/// The cancel key among what a server says at login.
pub(crate) fn cancel_key(answers: &[Message]) -> Vec<u8> {
    answers.iter().find(|(kind, _)| *kind == b'K').expect("a cancel key").1.clone()
}

/// A request to cancel what runs under this key.
pub(crate) fn cancel_request(key: &[u8]) -> Vec<u8> {
    let length = u32::try_from(key.len() + 8).unwrap().to_be_bytes();
    [&length[..], &[4, 210, 22, 46], key].concat()
}

/// A text with its end, as all texts in messages have it.
pub(crate) fn terminated(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}
